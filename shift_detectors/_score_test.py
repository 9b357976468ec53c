"""Test of p(y|x): given the same x, does y behave differently in the target?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.stats import chi2, norm, rankdata

from ._base import BaseDetector
from ._learners import Inputs, crossfit_means, crossfit_probabilities, make_folds
from ._results import Effect, ShiftTestResult
from ._table import Problem

FOLDS = 5


class ConditionalScoreTest(BaseDetector):
    """Is p(y|x) the same in both domains? A cross-fitted, doubly robust score test.

    With D = 1 for target rows, e(x) = P(D = 1 | x), and functions phi of y (class indicators, or the normal
    score of y and its square) with m_phi(x) = E[phi(y) | x] on the pooled rows, the products

        R_i,phi = (D_i - e(x_i)) (phi(y_i) - m_phi(x_i))

    have mean zero when y and D are independent given x. The test adds one column v(x_i) R_i, with v the
    direction in which earlier folds saw a change, so that changes of opposite sign in different regions do
    not cancel; v for a fold is learnt on the preceding folds only, which keeps the sum a martingale (pooling
    a direction that is learnt on all other folds rejects far too often). The statistic
    n R' S^-1 R is compared with its chi-squared distribution. Its bias is the *product* of the two nuisance
    errors, so that strong shift of p(x) is harmless as long as both are learnt reasonably.

    Assumption: both e and m are estimated consistently; overlap. Rows without overlap carry no weight: a
    change there is not seen. The level is asymptotic.

    Parameters
    ----------
    random_state : int, optional

    References
    ----------
    Shah and Peters (2020), The hardness of conditional independence testing and the generalised covariance
    measure, Annals of Statistics 48(3). Lundborg, Kim, Shah and Samworth (2024), The projected covariance
    measure, Annals of Statistics 52(6).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 0.5
    >>> y_source = X_source[:, 0] + rng.normal(size=400)
    >>> same = X_target[:, 0] + rng.normal(size=400)
    >>> test = ConditionalScoreTest(random_state=0)
    >>> test.test(X_source, X_target, y_source=y_source, y_target=same).rejects()
    False
    >>> test.test(X_source, X_target, y_source=y_source, y_target=same + 0.5).rejects()
    True
    """

    quantity: ClassVar[str] = "p(y|x)"
    requires: ClassVar[frozenset[str]] = frozenset({"y_source", "y_target"})

    def __init__(self, random_state=None):
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        part = problem.labelled_part()
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        domain = part.table.domain.astype(int)
        inputs = Inputs.of(part.table)
        classification = part.task == "classification"
        y = class_codes(part) if classification else part.y
        strata = domain * (y.max() + 1) + y if classification else domain
        fold = make_folds(strata, FOLDS, seed, part.groups)
        e = crossfit_probabilities(inputs, domain, fold, 2, weight=part.weight)[:, 1]
        if classification:
            n_classes = int(y.max()) + 1
            phi = np.eye(n_classes)[y]
            m = crossfit_probabilities(inputs, y, fold, n_classes, weight=part.weight)
        else:
            phi = score_functions(y)
            m = crossfit_means(inputs, phi, fold, weight=part.weight)
        return score_test(domain - e, phi - m, e, inputs, fold, part, classification)


def class_codes(problem: Problem) -> np.ndarray:
    """Integer codes of the labels of both sides, target-only classes included."""
    return np.unique(problem.y.astype(object) if problem.y.dtype.kind == "O" else problem.y, return_inverse=True)[1]


def score_functions(y: np.ndarray) -> np.ndarray:
    """Normal scores of y and their centred squares, shape (n, 2): location and spread."""
    z = norm.ppf((rankdata(y) - 0.5) / len(y))
    return np.column_stack([z, (z**2 - 1) / np.sqrt(2)])


def score_test(domain_residual, residual, e, inputs, fold, part, classification) -> ShiftTestResult:
    """The statistic from residuals (n,) of the domain and (n, k) of the functions of y."""
    R = domain_residual[:, None] * residual
    learned = _learned_column(domain_residual, residual, inputs, fold)
    columns = np.column_stack([R[:, : R.shape[1] - 1] if classification else R, learned])
    w = np.ones(len(R)) if part.weight is None else part.weight
    units = columns * w[:, None]
    if part.groups is not None:  # rows of a group are dependent: sum them first
        units = np.stack([np.bincount(part.groups, weights=u) for u in units.T], axis=1)
        units = units[np.bincount(part.groups) > 0]
    total = units.sum(axis=0)
    covariance = units.T @ units - np.outer(total, total) / len(units)
    scale = np.sqrt(np.diag(covariance))
    keep = scale > 1e-9 * max(1e-300, scale.max(initial=0.0))
    notes = []
    if keep.any():
        z = total[keep] / scale[keep]
        correlation = covariance[np.ix_(keep, keep)] / np.outer(scale[keep], scale[keep])
        statistic = float(z @ np.linalg.pinv(correlation, hermitian=True) @ z)
        p = float(chi2.sf(statistic, keep.sum()))
    else:
        statistic, p = 0.0, 1.0
        notes.append("no variation left after accounting for x")
    # overlap-weighted difference of E[phi | x] between the domains
    strength = float((w * e * (1 - e)).sum())
    difference = (R * w[:, None]).sum(axis=0) / strength
    sd = (
        np.sqrt(np.einsum("ij,ij->j", units[:, : R.shape[1]], units[:, : R.shape[1]])) / strength
        if not classification
        else None
    )
    if classification:
        whole = R * w[:, None]
        sd = np.sqrt((whole**2).sum(axis=0)) / strength
        top = int(np.argmax(np.abs(difference)))
        name = "change of P(y = k | x), largest class"
    else:
        top, name = 0, "change of E[y | x] in sd of y"
    low, high = difference[top] - 1.96 * sd[top], difference[top] + 1.96 * sd[top]
    return ShiftTestResult(
        detector="ConditionalScoreTest",
        quantity="p(y|x)",
        statistic=statistic,
        pvalue=p,
        effect=Effect(name, float(difference[top]), (float(low), float(high))),
        n_source=part.table.n_source,
        n_target=part.table.n_target,
        notes=tuple(notes),
    )


def _learned_column(domain_residual, residual, inputs, fold):
    """Sum over phi of v_phi(x_i) R_i,phi with v learnt on preceding folds, standardised per fold.

    v_phi solves the weighted least squares phi-residual ~ domain-residual * v(x) (the R-learner of Nie and
    Wager 2021) with a ridge on the linear expansion.
    """
    n, k = residual.shape
    column = np.zeros(n)
    X = np.column_stack([np.ones(n), inputs.linear])
    for f in range(1, int(fold.max()) + 1):
        past, rows = np.flatnonzero(fold < f), np.flatnonzero(fold == f)
        A = X[past] * domain_residual[past, None]
        penalty = 0.05 * len(past) * (domain_residual[past] ** 2).mean()
        gram = A.T @ A
        gram[np.diag_indices(len(gram))] += penalty
        v = X[rows] @ np.linalg.solve(gram, A.T @ residual[past])
        column[rows] = domain_residual[rows] * (v * residual[rows]).sum(axis=1)
        scale = column[rows].std()
        if scale > 0:
            column[rows] /= scale
    return column
