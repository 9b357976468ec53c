"""Goodness of fit of label shift, without target labels: can changed class frequencies explain p_t(x)?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import logit
from scipy.stats import chi2, norm, rankdata
from scipy.stats import f as f_distribution
from sklearn.preprocessing import SplineTransformer

from ._base import BaseDetector
from ._domain_classifier import prequential_scores
from ._learners import Inputs, crossfit_means, crossfit_probabilities, domain_folds
from ._random import generator
from ._results import Effect, ShiftTestResult
from ._table import Problem

FOLDS = 5
ROWS_PER_MOMENT = 40  # rows of the smallest class per moment
TARGET_ROWS_PER_MOMENT = 20
DOUBT = 0.2  # below this p-value "p(x|y) is equal" is doubtful though not rejected
MAX_COSINES = 12
MAX_COMPONENTS = 10
SPLINE_FUNCTIONS = 5


@dataclass(frozen=True)
class LabelShiftFit:
    """Fitted mixture sum_y q(y) p_s(x|y).

    Attributes
    ----------
    q : ndarray of shape (k,)
        Coefficients: the target prior for classes.
    statistic, degrees, pvalue : float
        Of the test that the mixture fits.
    change_pvalue : float
        Of the (Wald) test that q is the source's own p(y), given that the mixture fits.
    """

    q: np.ndarray
    statistic: float
    degrees: int
    pvalue: float
    change_pvalue: float


class LabelShiftFitTest(BaseDetector):
    """Is p_t(x) = sum_y q(y) p_s(x|y) for *some* class frequencies q? Needs source labels only.

    Under label shift the target is a mixture of the source's class conditionals: a model with K - 1
    parameters for the whole distribution of x, hence testable. With moments h(x) (class scores, leading
    components, their squares, random cosines), A_k = mean of h in source class k and b = mean of h in the target,

        q = argmin (b - A q)' V(q)^-1 (b - A q),  sum q = 1, q >= 0,   V(q) = Cov_t h / n_t + sum_k q_k^2 Cov_k h / n_k,

    the minimum J is chi-squared with rank(V) - (K - 1) degrees of freedom (Sargan-Hansen), K the number of classes
    whose q is not zero (given these: Bartholomew), compared with Hotelling's F law because V is estimated. A second
    fit has as moments the class scores and the score of a domain classifier that saw only preceding folds (together
    with the first moments, from which it was learnt, it would not follow the F law); the p-value is twice the
    smaller one. For a numeric y the ratio q(y) / p(y) is a spline in y.

    A small p-value contradicts *pure* label shift. A large one is consistent with it, no more: covariate
    shift can never be refuted without target labels, so preferring label shift is an argument by parsimony.

    Assumption: independent rows and the asymptotic chi-squared law; moments are dropped when the smallest class has
    fewer than 40 rows for each, or the target fewer than 20. With `groups` no test is made (p-value 1 and a note):
    rows of a group are dependent, and summing them first leaves too few units for the law to hold.

    Parameters
    ----------
    random_state : int, Generator, RandomState or None

    References
    ----------
    Bartholomew (1961), A test of homogeneity of means under restricted alternatives, JRSS B 23(2).
    Hansen (1982), Large sample properties of generalized method of moments estimators, Econometrica 50(4).
    Lipton, Wang and Smola (2018), Detecting and correcting for label shift, ICML.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_source, y_target = rng.integers(0, 2, 500), (rng.random(500) < 0.8).astype(int)
    >>> X_source = rng.normal(size=(500, 2)) + 1.5 * y_source[:, None]
    >>> X_target = rng.normal(size=(500, 2)) + 1.5 * y_target[:, None]
    >>> test = LabelShiftFitTest(random_state=0)
    >>> test.test(X_source, X_target, y_source=y_source).rejects()
    False
    >>> test.test(X_source, X_target + [0, 1.0], y_source=y_source).rejects()
    True
    """

    quantity: ClassVar[str] = "label-shift fit"
    requires: ClassVar[frozenset[str]] = frozenset({"y_source"})

    def __init__(self, random_state=None):
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        seed = int(generator(self.random_state).integers(2**31))
        table = problem.table
        domain = table.domain.astype(int)
        fold = domain_folds(table, FOLDS, seed, problem.groups)
        inputs = Inputs.of(table)
        scores = source_scores(problem, inputs, fold)
        fit = fit_label_shift(problem, scores, prequential_scores(inputs, domain, fold, problem.weight), seed)
        return fit_result(fit, problem)


def fit_result(fit: LabelShiftFit, problem: Problem) -> ShiftTestResult:
    """The fit as a test result."""
    effect = None
    notes = (f"chi-squared with {fit.degrees} degrees of freedom",)
    if problem.task == "classification":
        w = None if problem.weight is None else problem.weight[: len(problem.y_source)]
        p = np.bincount(np.searchsorted(problem.classes, problem.y_source), weights=w) / len(problem.y_source)
        q = np.maximum(fit.q, 0) / np.maximum(fit.q, 0).sum()
        effect = Effect("total variation of the fitted p(y)", float(np.abs(q - p).sum() / 2))
    if fit.degrees == 0:
        notes = ("no test with groups" if problem.groups is not None else "too few rows for a test",)
    return ShiftTestResult(
        detector="LabelShiftFitTest",
        quantity="label-shift fit",
        statistic=fit.statistic,
        pvalue=fit.pvalue,
        effect=effect,
        n_source=problem.table.n_source,
        n_target=problem.table.n_target,
        notes=notes,
    )


def source_scores(problem: Problem, inputs: Inputs, fold: np.ndarray) -> np.ndarray:
    """Out-of-fold predictions of y by models of the source alone, for every row of both sides.

    Classification: probabilities (n, n_classes). Regression: conditional mean (n, 1).
    """
    n, n_source = problem.table.n, problem.table.n_source
    known = np.arange(n) < n_source
    if problem.task == "classification":
        codes = np.zeros(n, int)
        codes[:n_source] = np.searchsorted(problem.classes, problem.y_source)
        return crossfit_probabilities(inputs, codes, fold, len(problem.classes), train=known, weight=problem.weight)
    values = np.zeros((n, 1))
    values[:n_source, 0] = problem.y_source
    return crossfit_means(inputs, values, fold, train=known, weight=problem.weight)


def predicts_p_x(problem: Problem, scores: np.ndarray, p_x: float, p_x_given_y: float) -> bool:
    """Whether x moved as the observed change of p(y) predicts, rather than not at all.

    With target labels the change of p(y) is known; pure label shift then predicts the mean of any score h(x) in
    the target, sum_y q(y) E_s[h | y], while a change of p(y|x) alone leaves it where it was. The nearer of the
    two wins, unless "p(x|y) is equal" is doubtful (p < .2) and fits worse than "p(x) is equal". When the two
    predictions lie within one standard error of each other, x says nothing about y and label shift is the
    sparser explanation. Numbers are compared in tenths of the source; those beyond its range count as its outermost.

    Parameters
    ----------
    problem : Problem
        With at least some target labels.
    scores : ndarray of shape (n, k)
        From `source_scores`.
    p_x, p_x_given_y : float
        P-values of the tests of p(x) and p(x|y).
    """
    n_source = problem.table.n_source
    weights = (problem.weight, problem.seen().weight)
    weight, weight_of_x = (np.ones(problem.table.n) if given is None else given for given in weights)
    w_source, w_target = weight[:n_source], weight[n_source:]
    known = problem.labelled
    y_source, y_target = problem.y_source, problem.y_target[known]
    if problem.task != "classification":
        edges = np.unique(np.quantile(y_source, np.linspace(0, 1, 11)[1:-1], method="inverted_cdf"))
        edges = edges[edges < y_source.max()]  # the source has rows in every cell
        y_source, y_target = np.searchsorted(edges, y_source), np.searchsorted(edges, y_target)
    values, code = np.unique(y_source, return_inverse=True)
    p = np.bincount(code, weights=w_source) / w_source.sum()
    q = np.array([w_target[known][y_target == v].sum() for v in values]) / w_target[known].sum()
    H = scores[:, : max(1, scores.shape[1] - 1)]  # class probabilities sum to one
    centre = np.average(H[:n_source], axis=0, weights=w_source)
    moved = np.average(H[n_source:], axis=0, weights=weight_of_x[n_source:]) - centre
    predicted = np.average((H[:n_source] - centre) * (q / p)[code][:, None], axis=0, weights=w_source)
    covariance = np.cov(H.T).reshape(len(moved), -1) * (1 / n_source + 1 / (problem.table.n - n_source))
    metric = np.linalg.pinv(covariance, hermitian=True)
    if predicted @ metric @ predicted < 1:
        return True
    if p_x_given_y < min(DOUBT, p_x):
        return False
    return bool((moved - predicted) @ metric @ (moved - predicted) <= moved @ metric @ moved)


def fit_label_shift(problem: Problem, scores: np.ndarray, domain_score: np.ndarray, seed: int) -> LabelShiftFit:
    """Fit the mixture and test it; `scores` from `source_scores`, `domain_score` from `prequential_scores`."""
    n_source = problem.table.n_source
    y = problem.y_source
    weight = np.ones(problem.table.n) if problem.weight is None else problem.weight
    w_source, w_target = weight[:n_source], weight[n_source:]
    if problem.task == "classification":
        indicator = (y[:, None] == problem.classes[None, :]).astype(float)
        frequency = np.average(indicator, axis=0, weights=w_source)
        basis = indicator / frequency
        smallest = int(indicator.sum(axis=0).min())
        H = logit(np.clip(scores[:, :-1], 1e-3, 1 - 1e-3))
        H = np.column_stack([H, scores[:, :-1]]) if smallest >= 2 * ROWS_PER_MOMENT * H.shape[1] else H
    else:
        basis = SplineTransformer(SPLINE_FUNCTIONS - 1, degree=2, knots="quantile").fit_transform(y[:, None])
        basis = basis[:, basis.std(axis=0) > 1e-6]
        frequency = None
        smallest = n_source // basis.shape[1]
        H = np.column_stack([scores, scores**2])
    learnt = np.column_stack([H[:, : scores.shape[1]], _normal_scores(domain_score)])
    fit, other = (
        _gmm(columns[:n_source], columns[n_source:], basis, frequency, w_source, w_target)
        for columns in (moments(problem, H, basis.shape[1], smallest, seed), standardised(learnt))
    )
    if problem.groups is not None:
        return replace(fit, statistic=0.0, degrees=0, pvalue=1.0, change_pvalue=1.0)
    decisive = min(fit, other, key=lambda f: f.pvalue)
    return replace(fit, statistic=decisive.statistic, degrees=decisive.degrees, pvalue=min(1.0, 2 * decisive.pvalue))


def _normal_scores(score: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks of what is not zero (the first fold, which nothing preceded, is)."""
    result = np.zeros(len(score))
    seen = score != 0
    result[seen] = norm.ppf((rankdata(score[seen]) - 0.5) / seen.sum())
    return result


def standardised(columns: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1, without constant ones."""
    scale = columns.std(axis=0)
    return (columns[:, scale > 1e-9] - columns[:, scale > 1e-9].mean(axis=0)) / scale[scale > 1e-9]


def moments(problem, H, k, smallest, seed) -> np.ndarray:
    """Moment columns, as many as the smallest class can carry, the most informative first."""
    rng = np.random.default_rng(seed)
    Z = problem.table.design.astype(float)
    centred = Z - Z.mean(axis=0)
    d = min(MAX_COMPONENTS, Z.shape[1])
    if Z.shape[1] > d:
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        P = centred @ vectors[:, ::-1][:, :d]
    else:
        P = centred
    P = np.clip(P / np.where(P.std(axis=0) > 0, P.std(axis=0), 1), -4, 4)
    cosines = np.cos(
        P @ (rng.normal(size=(d, MAX_COSINES)) / np.sqrt(max(d, 1))) * 1.5 + rng.uniform(0, 6.28, MAX_COSINES)
    )
    columns = np.column_stack([H, P, P**2, cosines])
    n_target = problem.table.n - problem.table.n_source
    room = max(k + 2, min(smallest // ROWS_PER_MOMENT, n_target // TARGET_ROWS_PER_MOMENT))
    columns = columns[:, :room]
    return standardised(columns)


def _gmm(H_source, H_target, basis, frequency, w_source, w_target) -> LabelShiftFit:
    """Iterated generalised least squares under the constraint that the mixture has mass one."""
    n, m, k = len(H_source), len(H_target), basis.shape[1]
    ws, wt = w_source / w_source.sum(), w_target / w_target.sum()
    A = H_source.T @ (basis * ws[:, None])
    b = wt @ H_target
    mass = ws @ basis  # constraint mass'c = 1
    deviations = (H_target - b) * wt[:, None]
    V_target = deviations.T @ deviations
    start = np.ones(k) if frequency is None else frequency.copy()
    start = start / (mass @ start)
    if not len(b):  # features that do not vary say nothing
        return LabelShiftFit(start, 0.0, 0, 1.0, 1.0)

    def centred(c):
        ratio = basis @ c
        if frequency is None:  # the influence of a source row on A c, given the constraint
            centre = H_source - b
        else:  # within-class deviations: empirical frequencies carry no error here
            centre = H_source - (A @ (basis * frequency).T).T
        return centre * (ratio * ws)[:, None]

    def covariance(c):
        rows = centred(c)
        return V_target + rows.T @ rows

    def solve(c, classes):
        V = covariance(np.maximum(c, 0) / max(mass @ np.maximum(c, 0), 1e-12))
        values, vectors = np.linalg.eigh(V)
        keep = values > 1e-8 * values[-1]
        root = vectors[:, keep] / np.sqrt(values[keep])
        G, g = root.T @ A[:, classes], root.T @ b
        size = len(classes)
        system = np.zeros((size + 1, size + 1))
        system[:size, :size] = G.T @ G + 1e-10 * np.trace(G.T @ G) * np.eye(size)
        system[:size, size] = system[size, :size] = mass[classes]
        inverse = np.linalg.pinv(system, hermitian=True)
        part = (inverse @ np.r_[G.T @ g, 1.0])[:size]
        c = np.zeros(k)
        c[classes] = part
        return c, inverse[:size, :size], float(((g - G @ part) ** 2).sum()), int(keep.sum())

    c, present = start, np.arange(k)
    for _ in range(4):
        c, inverse, J, rank = solve(c, present)
    move = c - start
    while frequency is not None and c.min() < 0:  # no class has a negative part in a mixture
        present = present[c[present] >= 0]
        c, _, J, rank = solve(c, present)
    degrees = rank - (len(present) - 1)  # given which classes are absent
    if degrees <= 0 or min(n, m) < 2 * rank:
        return LabelShiftFit(c, 0.0, 0, 1.0, 1.0)
    spread = inverse
    if frequency is not None:  # the source frequencies, with which q is compared, are estimates too
        spread = inverse + (np.diag(frequency) - np.outer(frequency, frequency)) * (ws**2).sum()
    # V is estimated: Hotelling's F law, with the degrees of freedom of a sum of covariances (Welch, Satterthwaite)
    rows = centred(c)
    parts = [np.trace(V_target) ** 2 / (m - 1)]
    for column in (basis * frequency).T if frequency is not None else np.ones((1, n)):
        parts.append(((rows * column[:, None]) ** 2).sum() ** 2 / max(column.sum() - 1, 1))
    nu = max((np.trace(V_target) + (rows**2).sum()) ** 2 / sum(parts), degrees + 2)
    p = float(f_distribution.sf(J * (nu - degrees + 1) / (nu * degrees), degrees, nu - degrees + 1))
    wald = float(move @ np.linalg.pinv(spread, rcond=1e-8, hermitian=True) @ move)
    return LabelShiftFit(c, J, degrees, p, float(chi2.sf(wald, k - 1)))
