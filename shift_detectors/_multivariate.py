"""Tests of p(x) as a whole: energy distance, multi-kernel MMD, moments, and all of them as one decision."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ._base import BaseDetector
from ._distance_tests import (
    energy_rows,
    gaussian_rows,
    kernel_subsample,
    mean_rows,
    moment_rows,
    second_moments,
    squared_bandwidths,
)
from ._feature_test import feature_shifts
from ._permutation import harmonic, permuted_domains, pvalue, signed, smallest, step_down, tail_logp
from ._portfolio import largest_effect, portfolio
from ._random import generator
from ._results import ShiftTestResult
from ._table import Problem

ROW_LIMIT = 20_000  # pooled rows up to which a kernel test by itself takes them all
KERNELS, STEP = 5, 4.0


class _PermutationTest(BaseDetector):
    """A test whose statistic is one row of values, one per assignment of rows to domains."""

    quantity: ClassVar[str] = "p(x)"
    quadratic: ClassVar[bool] = True  # in the number of rows

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        rng = generator(self.random_state)
        table = problem.table
        members = permuted_domains(table.domain, self.n_permutations, rng, problem.groups)
        U = signed(members, problem.weight)
        Z, notes = table.design, []
        rows = kernel_subsample(table.n, rng, ROW_LIMIT) if self.quadratic else None
        if rows is not None:
            Z = Z[rows]
            U = signed(members[rows], None if problem.weight is None else problem.weight[rows])
            notes.append(f"computed on {len(rows)} of {table.n} rows, drawn at random")
        row = self._row(Z, U, rng)
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=float(row[0]),
            pvalue=pvalue(row),
            n_source=table.n_source,
            n_target=table.n_target,
            notes=tuple(notes),
        )

    def _row(self, Z, U, rng):
        raise NotImplementedError


class EnergyTest(_PermutationTest):
    """Has p(x) as a whole moved? Energy distance with a permutation null.

    With S, S' source rows and T, T' target rows (columns standardised on the pooled rows),

        E = 2 E|S - T| - E|S - S'| - E|T - T'|,

    zero if and only if the distributions agree. Bandwidth-free and strong against shifts of location; weak
    against changes of scale, dependence or small subpopulations (see `MMDTest`, `MomentTest`).

    Assumption: rows (or groups) are exchangeable between domains under the null; then the level is exact.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    References
    ----------
    Szekely and Rizzo (2013), Energy statistics, J. Statistical Planning and Inference 143(8).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> EnergyTest(random_state=0).test(rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + 0.3).pvalue
    0.002
    """

    def _row(self, Z, U, rng):
        return energy_rows(Z, U)[0]


class MMDTest(_PermutationTest):
    """Has p(x) as a whole moved, at any scale? Maximum mean discrepancy over several Gaussian kernels.

    For k_j(x, x') = exp(-|x - x'|^2 / s_j), with s_0 the median pooled squared distance, s_1 = s_0 / 2, ..., s_4,

        MMD_j^2 = mean k_j(S, S') + mean k_j(T, T') - 2 mean k_j(S, T).

    Where many rows are closer together than that (clusters, few dimensions) the s_j reach down to the 5 % quantile of
    the squared distances, in more kernels if need be. Every kernel's value is ranked among its own permutations and
    the smallest p counts, again ranked by the same permutations: one exact test, no data split, no bandwidth to choose
    (in the spirit of MMDAgg and MMD-FUSE). Wide kernels see nearly the same, and a sum over kernels would count that
    several times. Above 20 000 pooled rows that many are drawn at
    random.

    Assumption: rows (or groups) are exchangeable between domains under the null. In many dimensions
    differences in a few features are diluted (see `FeatureTest`).

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, JMLR 13. Schrab et al. (2023), MMD aggregated two-sample
    test, JMLR 24. Biggs, Schrab and Gretton (2023), MMD-FUSE, NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    >>> target[:, 1] = 0.8 * target[:, 0] + 0.6 * target[:, 1]  # same margins, now correlated
    >>> MMDTest(random_state=0).test(source, target).pvalue
    0.002
    """

    def _row(self, Z, U, rng):
        return smallest(tail_logp(gaussian_rows(Z, U, squared_bandwidths(Z, rng, 1.0, KERNELS, STEP))))


class MomentTest(_PermutationTest):
    """Have means, scales or correlations changed? A score test on first and second moments.

    Hotelling's distance of means, u' Z C^+ Z' u, and of the pooled-standardised squares and pairwise products of the
    (clipped) columns the largest difference of the squares, the largest of the products and the summed squared
    difference; the four are ranked among their permutations and combined by the sum of 1/p.

    Assumption: rows (or groups) are exchangeable between domains under the null. Blind to changes that leave
    the first two moments alone.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)) * [1, 1, 1, 1, 1.4]
    >>> MomentTest(random_state=0).test(source, target).pvalue
    0.002
    """

    quadratic: ClassVar[bool] = False

    def _row(self, Z, U, rng):
        products, squares = second_moments(Z, rng)
        rows = np.vstack([mean_rows(Z, U), moment_rows(products, U, squares)])
        return harmonic(tail_logp(rows))


class JointTest(BaseDetector):
    """Has p(x) changed in any way? All permutation statistics as one exact decision.

    Four families see different changes: single features (Anderson-Darling, smooth, chi-squared, missing rates; see
    `FeatureTest`), second moments (largest of the squares, largest of the products, summed), means (Hotelling) and
    distances (energy, Gaussian kernels of three widths); a fifth one compares the means of extra score columns, if
    given. All are functions of the *same* permuted assignments. Each statistic is put on a tail-probability scale
    within its own permutations, families are combined by

        3 / p_features + 2 / p_moments + 2 / p_means + 1 / p_distances (+ 2 / p_scores),

    since most changes show in single features or pairs of them, and the combination is ranked among the same
    permutations: exact level for any number of statistics, at a small price in power against the best single one.

    Assumption: rows (or groups) are exchangeable between domains under the null.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    >>> X_target[:, 2] += 0.5
    >>> result = JointTest(random_state=0).test(X_source, X_target)
    >>> result.pvalue, result.per_feature[0].feature
    (0.002, 'x2')
    """

    quantity: ClassVar[str] = "p(x)"

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        return self.run_with_scores(problem, None)

    def run_with_scores(self, problem: Problem, scores: np.ndarray | None) -> ShiftTestResult:
        """Test with extra columns (n, k) whose means are compared, such as out-of-fold class scores.

        Out-of-fold scores differ a little between folds, so the level is then exact only approximately.
        """
        table = problem.table
        rng = generator(self.random_state)
        members = permuted_domains(table.domain, self.n_permutations, rng, problem.groups)
        joint, per_feature, notes = portfolio(table, signed(members, problem.weight), rng, scores=scores)
        features = feature_shifts(table, step_down(per_feature), problem.weight, problem.groups)
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=float(joint[0]),
            pvalue=pvalue(joint),
            effect=largest_effect(features),
            n_source=table.n_source,
            n_target=table.n_target,
            per_feature=features,
            notes=notes,
        )
