"""Test of p(y|x): given the same x, does y behave differently in the target?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.stats import norm, rankdata

from ._base import BaseDetector
from ._distance_tests import second_moments
from ._influence import sum_within
from ._learners import Inputs, crossfit_means, crossfit_probabilities, domain_folds
from ._permutation import check_permutations, harmonic, pvalue, random_signs, tail_logp
from ._portfolio import portfolio
from ._random import generator
from ._results import Effect, ShiftTestResult
from ._table import Problem, Table

FOLDS = 5
DIRECTIONS_UP_TO = 10  # functions of y whose changes are sought in every direction: those that vary most
KERNELS_UP_TO = 3  # functions of y up to which distances join: their cost grows with each
COLUMNS, RIDGE = 200, 6.0  # of the linear change of E[y | x]: the clearest columns, and ridge per column
LOCATION = 2.0  # weight of a numeric y that moves as a whole, against its spread, and against changes that depend on x


class ConditionalScoreTest(BaseDetector):
    """Is p(y|x) the same in both domains? A cross-fitted, doubly robust score test in many directions.

    With D = 1 for target rows, e(x) = P(D = 1 | x), and functions phi of y (class indicators, or the normal
    score of y and its square) with m_phi(x) = E[phi(y) | x] on the pooled rows, the products

        R_i = (D_i - e(x_i)) (phi(y_i) - m_phi(x_i))

    have mean zero *at every x* when y and D are independent given x. Their mean (the generalised covariance
    measure) shows a change of one sign; a change that is local or of opposite signs in different regions
    shows in sums of R weighted by functions of x. As such functions serve all those of `JointTest`: cumulative sums
    along every feature and polynomials of its ranks, first and second moments, kernels; R takes the place of the
    signed assignment. The place of the permutations take domains D_i* drawn anew with probability e(x_i) (conditional
    randomisation; the same draws for all directions), which have the right distribution also where a class is so rare
    that chance decides whether a few labels hold any of it. With groups or weights, whose rows do not change domains
    one by one, random signs of R do (wild bootstrap). Statistics are combined as there, a moved numeric y counting
    twice, and ranked among the same draws. (Of more than ten classes those ten whose R vary most are searched in
    every direction.) The bias is the *product* of the two nuisance errors, so that strong shift of p(x) does no harm
    as long as both are learnt reasonably.

    The effect is the average change of E[phi(y) | x], E[R] / E[e(1 - e)], with the class indicator whose change is
    largest (its interval allows for the choice) or a numeric y itself as phi, in pooled standard deviations. Where
    changes of opposite signs cancel in it, it is their root mean square over the same rows, of which any function g of
    x gives a lower bound,

        E[R g] / sqrt(E[e(1 - e) g^2] E[e(1 - e)])    (Cauchy and Schwarz),

    here a cross-fitted one, linear in the columns, their squares and products; shown when its 95 % interval lies above
    the average change.

    Assumption: both e and m are estimated consistently; overlap. Rows without overlap carry no weight: a
    change there is not seen. The level is asymptotic.

    Parameters
    ----------
    n_permutations : int
        Draws of the domains.
    random_state : int, Generator, RandomState or None

    References
    ----------
    Shah and Peters (2020), The hardness of conditional independence testing and the generalised covariance
    measure, Annals of Statistics 48(3). Candes, Fan, Janson and Lv (2018), Panning for gold: model-X knockoffs, JRSS B
    80(3), section 4, for conditional randomisation. Stute, Gonzalez Manteiga and Presedo Quindimil (1998), Bootstrap
    approximations in model checks for regression, JASA 93(441).

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

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        part = problem.labelled_part()
        seed = int(generator(self.random_state).integers(2**31))
        domain = part.table.domain.astype(int)
        fold = domain_folds(part.table, FOLDS, seed, part.groups)
        e = crossfit_probabilities(Inputs.of(part.table), domain, fold, 2, weight=part.weight)[:, 1]
        return self.test_given(part, e, fold)

    def test_given(self, part: Problem, e: np.ndarray, fold: np.ndarray) -> ShiftTestResult:
        """Test a fully labelled problem with known cross-fitted propensities e (n,) and their folds (n,)."""
        rng = generator(self.random_state)
        domain = part.table.domain.astype(int)
        inputs = Inputs.of(part.table)
        classification = part.task == "classification"
        y = class_codes(part) if classification else part.y
        if classification:
            n_classes = int(y.max()) + 1
            phi = np.eye(n_classes)[y]
            m = crossfit_probabilities(inputs, y, fold, n_classes, weight=part.weight)
        else:
            # the test sees ranks, which no outlier moves; the effect is that of y itself
            phi = np.column_stack([score_functions(y), (y - y.mean()) / max(y.std(), 1e-12)])
            m = crossfit_means(inputs, phi, fold, weight=part.weight)
        w = np.ones(len(e)) if part.weight is None else part.weight
        residual = w[:, None] * (phi - m)
        # of two classes one says it all
        columns = residual if classification and residual.shape[1] != 2 else residual[:, :-1]
        means = np.ones(columns.shape[1])
        if not classification:
            means[0] = LOCATION
        moves = deviations(part, e, self.n_permutations, rng)
        row, notes = combined_row(part.table, columns, means, moves, rng)
        overlap = w * e * (1 - e)
        residual = residual if classification else residual[:, -1:]
        changes = (domain - e)[:, None] * residual
        variance = (e * (1 - e))[:, None] * residual**2
        Z = part.table.design
        along = predicted_change(np.column_stack([Z, second_moments(Z, rng)[0]]), changes, overlap, fold)
        effect, most = _change(changes, variance, along, overlap, classification, part.groups)
        if classification:
            notes += (f"P(y = {np.unique(part.y)[most]} | x) changed most",)
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=float(row[0]),
            pvalue=pvalue(row),
            effect=effect,
            n_source=part.table.n_source,
            n_target=part.table.n_target,
            notes=notes,
        )


def deviations(problem: Problem, e: np.ndarray, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """D - e(x) as it is (column 0) and as it might have been if y did not matter, float32 of shape (n, n_draws + 1)."""
    domain = problem.table.domain.astype(np.float32)
    e = e.astype(np.float32)[:, None]
    if problem.groups is not None or problem.weight is not None:
        return (domain[:, None] - e) * random_signs(len(e), n_draws, rng, problem.groups)
    check_permutations(n_draws)
    drawn = rng.random((len(e), n_draws), dtype=np.float32) < e
    return np.column_stack([domain, drawn]) - e


def combined_row(
    table: Table, residual: np.ndarray, weights: np.ndarray, moves: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Combined statistic of the products of `moves` (n, B + 1) and `residual` (n, k), shape (B + 1,).

    `weights` (k,) are those of the means of the products, 1 is that of their directions.
    """
    rows, counts, notes = [], [], ()
    most = np.argsort(-((moves[:, :1] * residual) ** 2).sum(axis=0), kind="stable")[:DIRECTIONS_UP_TO]
    for j, r in enumerate(residual.T):
        U = (moves * r[:, None].astype(np.float32)) / np.float32(len(residual))
        rows.append(tail_logp(np.abs(U.sum(axis=0, dtype=np.float64))[None, :]))
        counts.append(weights[j])
        if j in most:
            kernels = residual.shape[1] <= KERNELS_UP_TO
            joint, _, notes = portfolio(table, U - U.mean(axis=0), rng, kernels=kernels, two_samples=False)
            rows.append(tail_logp(joint[None, :]))
            counts.append(1.0)
    return harmonic(np.vstack(rows), np.array(counts)), notes


def predicted_change(Z: np.ndarray, R: np.ndarray, overlap: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Cross-fitted linear prediction of E[R | x] / (e(1 - e)), the change at x; shape (n, k)."""
    change = np.zeros(R.shape)
    for k in np.unique(fold):
        rest, held = fold != k, fold == k
        columns = np.argsort(-np.abs(Z[rest].T @ R[rest]).max(axis=1), kind="stable")[:COLUMNS]
        design = np.column_stack([np.ones(len(Z)), Z[:, columns]])
        some = design[rest]
        gram = some.T @ (some * overlap[rest, None]) + RIDGE * design.shape[1] * np.eye(design.shape[1])
        change[held] = design[held] @ np.linalg.solve(gram, some.T @ R[rest])
    return change


def _change(R, variance, along, overlap, classification, groups) -> tuple[Effect, int]:
    """Average or root mean square change, see `ConditionalScoreTest`, where it is largest, and of which class.

    `variance` (n, k) is that of every R if nothing changed: where a rare class is missing among few labels by chance,
    the rows at hand vary too little.
    """
    what = "P(y = k | x)" if classification else "E[y | x] in sd of y"
    difference, sd = _total(R, variance, groups)
    average, top = _largest(difference / overlap.sum(), sd / overlap.sum())
    length = np.sqrt(np.maximum((overlap[:, None] * along**2).sum(axis=0), 1e-12) * overlap.sum())
    product, sd = _total(R * along, variance * along**2, groups)
    spread, most = _largest(product / length, sd / length)
    if spread[1][0] > abs(average[0]):
        return Effect(f"root mean square change of {what}", *spread), most
    return Effect(f"{'largest ' if classification else ''}average change of {what}", *average), top


def _total(terms, variance, groups) -> tuple[np.ndarray, np.ndarray]:
    """Sums (k,) of terms (n, k), and their standard deviations with rows, or groups, as units."""
    squares = (sum_within(terms, groups) ** 2).sum(axis=0)
    return terms.sum(axis=0), np.sqrt(np.maximum(squares, variance.sum(axis=0)))


def _largest(values, sd) -> tuple[tuple[float, tuple[float, float]], int]:
    """The largest of some values with its 95 % interval, one for all of them (Bonferroni), and which it is."""
    top = int(np.argmax(np.abs(values)))
    several = 1 if len(values) == 2 else len(values)  # two classes change alike
    value, half = float(values[top]), float(norm.isf(0.025 / several) * sd[top])
    return (value, (value - half, value + half)), top


def class_codes(problem: Problem) -> np.ndarray:
    """Integer codes of the labels of both sides, target-only classes included."""
    return np.unique(problem.y, return_inverse=True)[1]


def score_functions(y: np.ndarray) -> np.ndarray:
    """Normal scores of y and their centred squares, shape (n, 2): location and spread."""
    z = norm.ppf((rankdata(y) - 0.5) / len(y))
    return np.column_stack([z, (z**2 - 1) / np.sqrt(2)])
