"""The class prior of an unlabelled target, with an interval, by maximum likelihood under label shift.

Question: how frequent is each class in the target?
Formula: with calibrated probabilities g(x) and their mean pi over held-out source rows, the target density
is p_s(x) * sum_y q_y g_y(x) / pi_y, so q maximises mean log sum_y q_y g_y(x) / pi_y over the target rows
(concave; expectation-maximisation to start, then Newton with q >= 0). Because pi is the mean *calibrated*
prediction and not the label frequency, a target that equals the source gives q = pi.
Estimate: the maximum with one labelled row more, spread evenly over the classes (were all rows labelled, the mean under
Perks' prior): its log q_y keeps classes from zero, the further the less the rows say about them. To take a class for
absent that is not may cost any log loss. The intervals are those of the likelihood alone.
Intervals: the influence function of q on every target row and on every held-out source row (through the
calibration and through pi), turned into a Wilson interval with the effective number of rows and Student's
quantiles, the degrees of freedom those of the rows of each source class (Welch, Satterthwaite).
Correction: if g is right, s(x) = (g(x) / pi) / sum_k q_k g_k(x) / pi_k (or any other function) has the same
mean over source rows weighted by q_y / pi_y, the label, as weighted by sum_k q_k g_k(x) / pi_k, the prediction.
One Newton step delta with the difference makes the estimate consistent without a right calibration, at the
price of variance. It is taken as far as it is no noise, as James and Stein do: q + lambda * delta with
lambda = max(0, 1 - tr V / |delta|^2), V the covariance of delta. The covariance reported is that of a draw that
takes the corrected estimate with probability lambda and else the likelihood's,
(1 - lambda) C + lambda C' + lambda (1 - lambda) delta delta^T.
Assumption: label shift, p(x|y) is the same in source and target, and every target class occurs in the source.
Fails when: p(x|y) changed (look at the label-shift fit test), the classes overlap almost completely (the
interval becomes wide), or the source rows are no independent draws (copies make any calibration too sure).
Reference: Saerens, Latinne, Decaestecker (Neural Computation 2002); Alexandari, Kundaje, Shrikumar
(ICML 2020); Garg, Wu, Balakrishnan, Lipton (NeurIPS 2020); solver after Kim, Carbonetto, Stephens (2020);
the weight of the correction after Green, Strawderman (Journal of the American Statistical Association 1991).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import f as f_distribution
from scipy.stats import t as student

from ._calibration import Calibration, fit_calibration
from ._errors import InputError
from ._influence import Part, degrees_of, rows_worth, sum_within, variance_of, weighted_mean
from ._results import PriorEstimate

BOUND = 0.1  # share of the source prior in the weights of the correction
RIDGE = 1e-9  # of matrices that are inverted
ROUNDING = 1e-20  # smaller variances of mean probabilities are rounding errors of rows that are all alike
ASSUMPTION = "label shift: p(x|y) is the same in source and target"


@dataclass(frozen=True)
class Influence:
    """What every row adds to the error of an estimated prior.

    Attributes
    ----------
    on_source : tuple of (float, ndarray of shape (n_source, n_classes))
        Shares that sum to 1, and terms: the source's part of the covariance is the mixture of theirs.
    on_target : ndarray of shape (n_target, n_classes)
    rest : ndarray of shape (n_classes, n_classes)
        Covariance that comes from no row.
    """

    on_source: tuple[tuple[float, np.ndarray], ...]
    on_target: np.ndarray
    rest: np.ndarray

    def variance_with(self, direction: np.ndarray, on_source: Part, on_target: Part) -> float:
        """Variance of direction @ prior plus a sum with these terms, which are of the same rows."""
        target = replace(on_target, terms=on_target.terms + self.on_target @ direction)
        total = float(direction @ self.rest @ direction)
        for share, terms in self.on_source:
            source = replace(on_source, terms=on_source.terms + terms @ direction)
            total += share * variance_of(source, target, shares=False)
        return total


@dataclass(frozen=True)
class PriorFit:
    """Estimated class prior of the target.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    prior : ndarray of shape (n_classes,)
        Target prior; with one row more, spread over the classes, so that none is zero (but where every target row is
        labelled); shrunk to the source prior when that was asked for.
    source_prior : ndarray of shape (n_classes,)
        Mean calibrated prediction over the held-out source rows.
    ci : ndarray of shape (n_classes, 2)
        95 % interval of the maximum-likelihood target prior, each class by itself.
    covariance : ndarray of shape (n_classes, n_classes)
        Of the maximum-likelihood target prior, sampling of target and held-out source included.
    pvalue : float
        Score test of "target prior = source prior".
    shrinkage : float
        Weight of the target's rows in `prior`, beside the source prior; 1 without shrinkage.
    corrected : float
        How far the correction for what the calibration could not repair was taken, from 0 to 1.
    n_iter : int
        Newton steps.
    calibration : Calibration
        Fitted on the held-out source rows.
    n_source, n_target, n_labelled : int
    influence : Influence or None
        Of the maximum-likelihood target prior; None where classes were added to those that were estimated.
    """

    classes: np.ndarray
    prior: np.ndarray
    source_prior: np.ndarray
    ci: np.ndarray
    covariance: np.ndarray = field(repr=False)
    pvalue: float
    shrinkage: float
    corrected: float
    n_iter: int
    calibration: Calibration = field(repr=False)
    n_source: int
    n_target: int
    n_labelled: int = 0
    influence: Influence | None = field(default=None, repr=False)

    def moved(self, least: float = 0.0) -> bool:
        """Whether the interval of some class leaves out all within `least` of its frequency in the source."""
        low, high = self.source_prior - least, self.source_prior + least
        return bool(((high < self.ci[:, 0]) | (low > self.ci[:, 1])).any())

    def estimate(self) -> PriorEstimate:
        """What a report shows."""
        if self.n_labelled == self.n_target:
            method, assumption = "observed labels", ""
        elif self.n_labelled:
            method, assumption = "MLLS and observed labels", ASSUMPTION
        else:
            method, assumption = "MLLS", ASSUMPTION
        classes = tuple(self.classes.tolist())
        return PriorEstimate(classes, self.source_prior, self.prior, self.ci, method, assumption)

    def widened(self, classes: np.ndarray, columns: np.ndarray, source: np.ndarray) -> PriorFit:
        """The same for more classes, of which those outside of `columns` keep their frequency in `source`."""
        covariance = np.zeros((len(classes), len(classes)))
        covariance[np.ix_(columns, columns)] = self.covariance * source[columns].sum() ** 2
        return replace(
            self,
            classes=classes,
            prior=widen(self.prior, columns, source),
            source_prior=widen(self.source_prior, columns, source),
            ci=widen_interval(self.ci, columns, source),
            covariance=covariance,
            calibration=self.calibration.widened(columns, len(classes)),
            influence=None,
        )

    def correct(self, proba: np.ndarray) -> np.ndarray:
        """Calibrate a source model's probabilities of target rows and move them to the target prior."""
        return correct_proba(self.calibration(proba), self.source_prior, self.prior)


def estimate_prior(
    proba_source: Any,
    y_source: Any,
    proba_target: Any,
    classes: Any,
    *,
    y_target: Any = None,
    calibration: str | None = "bcts",
    shrink: bool = False,
    weight_source: Any = None,
    weight_target: Any = None,
    groups_source: Any = None,
    groups_target: Any = None,
) -> PriorFit:
    """Estimate the class prior of the target from the predictions of a source classifier.

    Parameters
    ----------
    proba_source : array of shape (n_source, n_classes)
        Predictions on *held-out* (or out-of-fold) source rows.
    y_source : array-like of shape (n_source,)
        Their labels; every class must occur.
    proba_target : array of shape (n_target, n_classes)
    classes : array-like of shape (n_classes,)
        Class of each column.
    y_target : array-like of shape (n_target,), optional
        Known target labels, missing values where unknown. A labelled row is a row whose class need not be
        guessed: it enters the same likelihood as log q_y. Assumes that labels are missing at random.
    calibration : {"bcts", "vector", None}
        See `fit_calibration`. None trusts the probabilities as they are, and corrects nothing.
    shrink : bool
        Return lambda * q + (1 - lambda) * source prior with lambda = max(0, 1 - (c / T)^2), T the score
        statistic of "no change" on df = n_classes - 1 degrees of freedom and c = df + 2 sqrt(2 df), two standard
        deviations above its mean: without evidence of a change the source prior is kept, with strong evidence
        nothing happens.
    weight_source, weight_target : array-like, optional
        Row weights.
    groups_source, groups_target : array-like, optional
        Rows of equal value belong together, in the covariance, the interval, the p-value and how far correction and
        shrinkage are taken; not in the calibration, which copies of rows still make too sure.

    Returns
    -------
    PriorFit

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def sample(n, p):
    ...     y = (rng.random(n) < p).astype(int)
    ...     x = rng.normal(2 * y - 1)
    ...     return np.c_[1 / (1 + np.exp(2 * x)), 1 / (1 + np.exp(-2 * x))], y
    >>> proba_source, y_source = sample(1000, 0.5)
    >>> proba_target, _ = sample(1000, 0.9)
    >>> fit = estimate_prior(proba_source, y_source, proba_target, [0, 1])
    >>> fit.prior.round(2), fit.ci[1].round(2)
    (array([0.07, 0.93]), array([0.89, 0.96]))
    """
    classes = np.asarray(classes)
    rows = read_predictions(
        proba_source, y_source, proba_target, classes, y_target, weight_source, groups_source, groups_target
    )
    proba_source, y, proba_target = rows.proba_source, rows.y, rows.proba_target
    labelled, w_source = rows.labelled, rows.weight
    w_target = _check_weight(weight_target, "weight_target", len(proba_target))

    calibrate = fit_calibration(proba_source, y, kind=calibration, weight=w_source)
    g_source, g_target = calibrate(proba_source), calibrate(proba_target)
    pi = w_source @ g_source / len(g_source)
    ratio = g_target / pi  # p(x|y) / p_s(x)
    ratio[labelled] = np.eye(len(classes))[rows.known]

    q, n_iter = _maximise(ratio, w_target, pi)
    pull = np.zeros(len(q)) if labelled.all() else _maximise(*_and_one_row(ratio, w_target), pi)[0] - q
    moved = calibrate.influence(proba_source, y, w_source)
    log_source, log_target = calibrate.log(proba_source), calibrate.log(proba_target)
    on_source, on_target, blind = _influence(
        q, pi, ratio, labelled, g_source, log_source, log_target, moved, w_source, w_target
    )
    corrected, step, instead = 0.0, np.zeros(len(q)), on_source
    if calibration is not None:
        step, instead = _correction(q, pi, g_source, y, w_source, ratio, labelled, w_target)
        corrected = _signal(step, instead - on_source, rows.groups)
        q = np.maximum(q + corrected * step, 0)
        q /= q.sum()
    mixture = [(1 - corrected, on_source), (corrected, instead)]
    covariance, degrees = sandwich(on_target, mixture, y, rows.groups, rows.groups_target)
    rest = corrected * (1 - corrected) * np.outer(step, step) + blind
    covariance = covariance + rest
    by_source = tuple((share, terms / len(y)) for share, terms in mixture if share > 0)
    influence = Influence(by_source, on_target / len(on_target), rest)
    n_effective = float(len(w_target) ** 2 / (w_target @ w_target))
    ci = np.array(
        [
            proportion_interval(p, v, n_effective, degrees=d)
            for p, v, d in zip(q, np.diag(covariance), degrees, strict=True)
        ]
    )
    said = np.where(labelled[:, None], ratio, g_target)
    statistic, pvalue = _no_change(g_source, said, labelled, w_source, w_target, rows.groups, rows.groups_target)
    weight = 1.0
    if shrink:
        df = len(classes) - 1
        doubt = df + 2 * np.sqrt(2 * df)
        weight = float(1 - (doubt / max(statistic, doubt)) ** 2)
    if pull.any():
        q = np.maximum(q + pull, _inside(np.zeros(len(q)), len(w_target)))
        q /= q.sum()
    return PriorFit(
        classes,
        weight * q + (1 - weight) * pi,
        pi,
        ci,
        covariance,
        pvalue,
        weight,
        corrected,
        n_iter,
        calibrate,
        len(proba_source),
        len(proba_target),
        int(labelled.sum()),
        influence,
    )


def observed_prior(
    y_source: np.ndarray,
    y_target: np.ndarray,
    weight_source: Any = None,
    weight_target: Any = None,
    groups_target: Any = None,
) -> PriorEstimate:
    """Class frequencies of labelled rows of both sides, with Wilson's intervals; classes of either side count.

    Examples
    --------
    >>> found = observed_prior(np.array([0, 1, 1, 1]), np.array([0] * 50 + [2] * 50))
    >>> found.classes, found.source.tolist(), found.target.tolist()
    ((0, 1, 2), [0.25, 0.75, 0.0], [0.5, 0.0, 0.5])
    """
    classes = np.union1d(y_source, y_target)
    source = np.array([np.average(y_source == c, weights=weight_source) for c in classes])
    found = [weighted_mean((y_target == c).astype(float), weight_target, groups_target) for c in classes]
    target, ci = np.array([q for q, _ in found]), np.array([_frequency_interval(q, part) for q, part in found])
    return PriorEstimate(tuple(classes.tolist()), source, target, ci, "observed labels")


def _frequency_interval(value: float, part: Part) -> tuple[float, float]:
    return proportion_interval(value, variance_of(part), rows_worth(part), degrees=degrees_of(part))


def among(proba: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Probabilities of some classes, given that it is one of them; what none of them explains counts for all alike.

    Examples
    --------
    >>> among(np.array([[0.5, 0.4, 0.1], [1.0, 0.0, 0.0]]), np.array([1, 2]))
    array([[0.8, 0.2],
           [0.5, 0.5]])
    """
    part = proba[:, columns]
    total = part.sum(axis=1, keepdims=True)
    return np.where(total > 0, part / np.where(total > 0, total, 1), 1 / len(columns))


def widen(prior: np.ndarray, columns: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Frequencies among the classes in `columns`, beside the others, which keep their frequency in `source`.

    Examples
    --------
    >>> widen(np.array([0.75, 0.25]), np.array([0, 2]), np.array([0.4, 0.2, 0.4]))
    array([0.6, 0.2, 0.2])
    """
    wide = np.array(source, dtype=float)
    wide[columns] = prior * wide[columns].sum()
    return wide


def widen_interval(ci: np.ndarray, columns: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Intervals that go with `widen`; NaN for the frequencies that are kept, of which nothing was estimated."""
    wide = np.full((len(source), 2), np.nan)
    wide[columns] = ci * source[columns].sum()
    return wide


def counted(classes: Any, counts: Any) -> str:
    """Classes with their numbers of rows, of many the first: ``"'a' (1 row), 'b' (2 rows)"``."""
    first = [f"{c!r} ({n} row{'s' * (n != 1)})" for c, n in zip(list(classes)[:5], counts, strict=False)]
    return ", ".join(first) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")


def correct_proba(proba: np.ndarray, source_prior: np.ndarray, target_prior: np.ndarray) -> np.ndarray:
    """Posterior under another prior: p_t(y|x) proportional to p_s(y|x) * target_prior_y / source_prior_y.

    Parameters
    ----------
    proba : ndarray of shape (n, n_classes)
        Calibrated source posteriors.
    source_prior, target_prior : ndarray of shape (n_classes,)

    Returns
    -------
    ndarray of shape (n, n_classes)

    Examples
    --------
    >>> correct_proba(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    array([[0.9, 0.1]])
    """
    corrected = proba * (np.asarray(target_prior) / source_prior)
    total = corrected.sum(axis=1, keepdims=True)
    # a row that only classes of target prior zero explain keeps its source posterior
    return np.where(total > 0, corrected / np.where(total > 0, total, 1), proba)


def proportion_interval(
    value: float,
    variance: float,
    n_max: float,
    confidence: float = 0.95,
    degrees: float = np.inf,
    moving: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, float]:
    """Interval of an estimated proportion or probability, sensible up to 0 and 1.

    The variance is split into the binomial part value (1 - value) / n_max and the rest, which stays the same
    when the value moves; the interval inverts |value - p| <= z * sqrt(p (1 - p) / n_max + rest). Without a
    rest this is Wilson's interval, with a large rest value +- z standard errors; both cut to [0, 1]. A value
    that stands for less than one row of `n_max` is compatible with zero. With finite `degrees` of freedom of the
    variance, z is Student's quantile. With `moving` = (a, b) the rest is no constant but changes by
    a (p - value) + b (p^2 - value^2), as in Fieller's interval of a ratio. With infinite variance nothing is excluded.

    Examples
    --------
    >>> low, high = proportion_interval(0.0, 0.0, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    if variance == np.inf:
        return 0.0, 1.0
    z2 = student.ppf(0.5 + confidence / 2, degrees) ** 2
    inner = (value * n_max + 0.5) / (n_max + 1)
    linear, square = moving
    rest = max(0.0, variance - inner * (1 - inner) / n_max) - linear * value - square * value**2
    bend = 1 + z2 / n_max - z2 * square
    if bend <= 0:
        return 0.0, 1.0  # the variance grows as fast as the distance: nothing is excluded
    centre = (value + z2 / (2 * n_max) + z2 * linear / 2) / bend
    half = np.sqrt(max(centre**2 - (value**2 - z2 * rest) / bend, 0.0))
    low = 0.0 if value * n_max < 1 else max(0.0, centre - half)
    high = 1.0 if (1 - value) * n_max < 1 else min(1.0, centre + half)
    return float(min(low, value)), float(max(high, value))


def _maximise(ratio: np.ndarray, weight: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, int]:
    """Maximise mean w log(ratio @ q) - sum(q) over q >= 0; the maximum has sum(q) = 1."""
    n, k = ratio.shape
    q = start / start.sum()
    for _ in range(10):  # expectation-maximisation: monotone, from anywhere
        q = q * (weight @ (ratio / (ratio @ q)[:, None])) / n
    n_iter = 0
    while n_iter < 100:
        n_iter += 1
        mixture = ratio @ q
        score = ratio / mixture[:, None]
        gradient = weight @ score / n - 1
        if max(gradient.max(), np.abs(gradient * q).max()) < 1e-9:
            break
        # Newton step under q >= 0 is a least-squares problem with the Cholesky factor of the Hessian
        hessian = (weight[:, None] * score).T @ score / n
        root = np.linalg.cholesky(hessian + 1e-10 * np.trace(hessian) * np.eye(k)).T
        new, _ = nnls(root, root @ q + np.linalg.solve(root.T, gradient), maxiter=100 * k)
        direction = new - q
        slope = gradient @ direction
        size, value = 1.0, weight @ np.log(mixture) / n - q.sum()
        while size > 1e-8:
            trial = q + size * direction
            inside = ratio @ trial
            if inside.min() > 0 and weight @ np.log(inside) / n - trial.sum() >= value + 1e-4 * size * slope:
                break
            size /= 2
        else:
            break  # no further progress in double precision
        q = trial
    return q / q.sum(), n_iter


def _and_one_row(ratio: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The target rows and one labelled row more, spread evenly over the classes."""
    k = ratio.shape[1]
    weight = np.append(weight, np.full(k, 1 / k))
    return np.vstack([ratio, np.eye(k)]), weight / weight.mean()


def _influence(
    q: np.ndarray,
    pi: np.ndarray,
    ratio: np.ndarray,
    labelled: np.ndarray,
    g_source: np.ndarray,
    log_source: np.ndarray,
    log_target: np.ndarray,
    moved: np.ndarray,
    w_source: np.ndarray,
    w_target: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How every held-out source row and every target row moved q: estimate - truth is about the two means.

    Third comes the covariance of q where the rows say nothing: huge.

    `moved` is the influence of the source rows on the calibration.

    The score of a target row is s_y = ratio_y / (ratio @ q). It depends on the calibration through
    d s_y / d z_k = s_y (1{y=k} - r_k) with r = q * s and z = scale * log p + bias, and on pi through
    d s_y / d pi_k = -s_y (1{y=k} - r_k) / pi_k. Labelled rows depend on neither.
    """
    n_source, n_target, k = len(g_source), len(ratio), len(q)
    q = _inside(q, n_target)
    score = ratio / (ratio @ q)[:, None]
    free = w_target * ~labelled

    def derivative(factor):  # mean of d s_y / d z_k * factor_k, shape (k, k)
        moved_score = score * factor
        return (np.diag(free @ moved_score) - (free[:, None] * score).T @ (q * moved_score)) / n_target

    by_bias = derivative(np.ones(k))
    by_calibration = np.hstack([derivative(log_target), by_bias])
    by_pi = -by_bias / pi

    # mean of d g_y / d(scale_k, bias_k) over the source
    weighted = w_source[:, None] * g_source
    g_log = g_source * log_source
    g_by_scale = (np.diag(w_source @ g_log) - weighted.T @ g_log) / n_source
    g_by_bias = (np.diag(w_source @ g_source) - weighted.T @ g_source) / n_source
    pi_influence = w_source[:, None] * (g_source - pi) + moved @ np.hstack([g_by_scale, g_by_bias]).T

    on_source = moved @ by_calibration.T + pi_influence @ by_pi.T
    on_target = w_target[:, None] * (score - w_target @ score / n_target)
    hessian = (w_target[:, None] * score).T @ score / n_target
    solve = _within_simplex(hessian)
    return on_source @ solve.T, on_target @ solve.T, RIDGE / n_target * max(np.trace(hessian), 1.0) * solve @ solve.T


def _within_simplex(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a matrix on the changes of q that keep its sum; directions without information: a huge one."""
    tangent = np.linalg.svd(np.ones((1, len(matrix))))[2][1:].T
    bread = tangent.T @ matrix @ tangent
    ridge = RIDGE * max(np.trace(bread), 1.0) * np.eye(len(bread))
    return tangent @ np.linalg.inv(bread + ridge) @ tangent.T


def _inside(q: np.ndarray, n: int) -> np.ndarray:
    """One pseudo-row keeps classes with an estimate of zero from claiming certainty."""
    return (n * q + 1 / len(q)) / (n + 1)


def _correction(q, pi, g_source, y, w_source, ratio, labelled, w_target) -> tuple[np.ndarray, np.ndarray]:
    """Step to the estimate that needs no right calibration, and the influence of the source rows on it.

    The influence is the corrected estimate's own: the calibration drops out of it, and every class enters by
    its own mean. The classes of the labelled target rows need no guess and no correction.
    """
    n_target = len(w_target)
    q = _inside(q, n_target)
    bounded = (1 - BOUND) * q + BOUND * pi  # near the boundary single rows would have huge scores
    likelihood = g_source / pi
    score = likelihood / (likelihood @ bounded)[:, None]
    free = w_target @ ~labelled / n_target
    weight = free * w_source * (q / pi)[y]
    expected = free * w_source * (likelihood @ q)
    residual = (expected - weight) @ score / len(y)
    known = ratio[labelled] / (ratio[labelled] @ bounded)[:, None]
    slope = free * (w_source[:, None] * score).T @ likelihood / len(y)
    slope = slope + (w_target[labelled, None] * known).T @ known / n_target
    solve = _within_simplex(slope)
    return solve @ residual, -centred_by_class(score, y, w_source) * weight[:, None] @ solve.T


def centred_by_class(values: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rows minus the weighted mean of their class, times n / (n - 1) as in the jackknife."""
    counts = np.bincount(y)
    indicator = np.eye(len(counts))[y] * weight[:, None]
    means = indicator.T @ values / indicator.sum(axis=0)[:, None]
    return (values - means[y]) * (counts / np.maximum(counts - 1, 1))[y, None]


def _signal(step: np.ndarray, influence: np.ndarray, groups: Any = None) -> float:
    """Share of the squared length of a step that is no noise, max(0, 1 - tr V / |step|^2), from its influences."""
    length, noise = step @ step, (sum_within(influence, groups) ** 2).sum() / len(influence) ** 2
    return float(1 - noise / length) if length > noise else 0.0


def sandwich(
    on_target: np.ndarray, on_source: list, y: np.ndarray, groups: Any = None, groups_target: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of an estimate from influences, and the degrees of freedom of its diagonal (Satterthwaite).

    Parameters
    ----------
    on_target : ndarray of shape (n_target, n_classes)
    on_source : list of (float, ndarray of shape (n_source, n_classes))
        Shares and influences: the source's part of the covariance is the mixture of theirs.
    y : ndarray of int, shape (n_source,)
    groups, groups_target : array-like of shape (n_source,) and (n_target,), optional
        Groups, and not the rows of each class, give the degrees of freedom.

    Returns
    -------
    covariance : ndarray of shape (n_classes, n_classes)
    degrees : ndarray of shape (n_classes,)
    """
    moved = sum_within(on_target / len(on_target), groups_target)
    total = moved.T @ moved
    squares = np.diag(total) ** 2 / max(len(moved) - 1, 1)
    kind = y if groups is None else np.zeros(len(np.unique(groups)), int)
    pieces = np.zeros((len(kind), total.shape[1]))
    for share, influence in on_source:
        scaled = sum_within(influence / len(y), groups)
        total = total + share * scaled.T @ scaled
        pieces += share * scaled**2
    for k, n in enumerate(np.bincount(kind)):
        squares = squares + pieces[kind == k].sum(axis=0) ** 2 / max(n - 1, 1)
    return total, np.maximum(np.diag(total) ** 2 / np.maximum(squares, 1e-300), 1.0)


def _no_change(g_source, g_target, labelled, w_source, w_target, groups, groups_target) -> tuple[float, float]:
    """Score test of q = pi: Hotelling's test that the mean calibrated predictions agree.

    At q = pi the score is the difference of the mean calibrated predictions over pi, and errors of the
    calibration cancel to first order, so that neither they nor the boundary of the simplex disturb the level.
    The covariance is the common one under "no change": of a small target's own, a class that is absent by chance
    would seem certain to be. Labelled rows (their label in place of a prediction) vary as the classes do.
    """
    pi = w_source @ g_source / len(g_source)
    mean = w_target @ g_target / len(g_target)
    free = w_target * ~labelled
    within = g_target - free @ g_target / max(free.sum(), 1e-300)
    n = len(g_source) + int((~labelled).sum()) - 2
    common = (w_source[:, None] * (g_source - pi)).T @ (g_source - pi) + (free[:, None] * within).T @ within
    common = common / max(n, 1) * (w_source @ w_source / len(w_source) ** 2 + free @ free / len(w_target) ** 2)
    known = w_target[labelled]
    common = common + (np.diag(pi) - np.outer(pi, pi)) * (known @ known) / len(w_target) ** 2
    on_source = w_source[:, None] * (g_source - pi) / len(g_source)
    on_target = w_target[:, None] * (g_target - mean) / len(g_target)
    common = common * design_effect(common, (on_source, groups), (on_target, groups_target))
    return hotelling(mean - pi, common, degrees_of_change(labelled, len(g_source), groups, groups_target))


def design_effect(covariance: np.ndarray, *errors: tuple[np.ndarray, np.ndarray | None]) -> float:
    """How many times groups widen a covariance of independent rows, at least 1: the mean over its directions.

    Divided by it, a test statistic that took rows for independent has its mean back (Rao and Scott, Journal of the
    American Statistical Association 1981).

    Parameters
    ----------
    covariance : ndarray of shape (n_classes, n_classes)
    *errors : (ndarray of shape (n_rows, n_classes), ndarray of shape (n_rows,) or None)
        What each row adds to the error, and the groups, of each domain.

    Examples
    --------
    >>> rows = np.array([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])
    >>> design_effect(rows.T @ rows, (rows, None)), design_effect(rows.T @ rows, (rows, np.array([0, 0, 1, 1])))
    (1.0, 2.0)
    """
    metric = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)

    def size(rows: np.ndarray) -> float:
        return float(((rows @ metric) * rows).sum())

    alone = sum(size(rows) for rows, _ in errors)
    together = sum(size(sum_within(rows, groups)) for rows, groups in errors)
    return max(1.0, together / alone) if alone > 0 else 1.0


def degrees_of_change(
    labelled: np.ndarray, n_source: int, groups: np.ndarray | None, groups_target: np.ndarray | None
) -> int:
    """Degrees of freedom of the variance of predictions: source and unlabelled target rows, or groups of them."""
    n = n_source if groups is None else len(np.unique(groups))
    n_target = int((~labelled).sum()) if groups_target is None else len(np.unique(groups_target[~labelled]))
    return n + n_target - 2


def hotelling(move: np.ndarray, covariance: np.ndarray, n: int) -> tuple[float, float]:
    """Test of "the mean move is zero" whose covariance was estimated from `n` degrees of freedom.

    Returns
    -------
    statistic : float
        Scaled to have about the mean of a chi-squared with as many degrees of freedom.
    pvalue : float
        Of Hotelling's test, on the directions that vary at all.
    """
    values, vectors = np.linalg.eigh(covariance)
    keep = values > max(1e-10 * values.max(), ROUNDING)
    if not keep.any():
        return 0.0, 1.0
    df = int(keep.sum())
    residual = max(n - df + 1, 1)
    statistic = float(((vectors[:, keep].T @ move) ** 2 / values[keep]).sum()) * residual / max(n, 1)
    return statistic, float(f_distribution.sf(statistic / df, df, residual))


@dataclass(frozen=True)
class Predictions:
    """Checked arguments of an estimate of the prior.

    Attributes
    ----------
    proba_source : ndarray of shape (n_source, n_classes)
    y : ndarray of int, shape (n_source,)
        Column of the source label.
    proba_target : ndarray of shape (n_target, n_classes)
    labelled : ndarray of bool, shape (n_target,)
    known : ndarray of int
        Columns of the known target labels.
    weight : ndarray of shape (n_source,)
        Mean 1.
    groups, groups_target : ndarray of shape (n_source,) and (n_target,), or None
    """

    proba_source: np.ndarray
    y: np.ndarray
    proba_target: np.ndarray
    labelled: np.ndarray
    known: np.ndarray
    weight: np.ndarray
    groups: np.ndarray | None
    groups_target: np.ndarray | None


def read_predictions(
    proba_source: Any,
    y_source: Any,
    proba_target: Any,
    classes: np.ndarray,
    y_target: Any = None,
    weight_source: Any = None,
    groups_source: Any = None,
    groups_target: Any = None,
) -> Predictions:
    """Check what an estimate of the prior is given; every class needs a held-out source row."""
    proba_source = _check_proba(proba_source, "proba_source", len(classes))
    proba_target = _check_proba(proba_target, "proba_target", len(classes))
    y = _columns(y_source, classes, "y_source", len(proba_source))
    weight = _check_weight(weight_source, "weight_source", len(proba_source))
    mass = np.bincount(y, weights=weight, minlength=len(classes))
    if (mass == 0).any():
        raise InputError(
            f"no held-out source row of class {classes[mass == 0].tolist()[0]!r}",
            "held-out source rows of every class",
            "Use stratified folds, or merge rare classes.",
        )
    labelled, known = _known_labels(y_target, classes, len(proba_target))
    groups = _check_groups(groups_source, "groups_source", len(proba_source))
    groups_target = _check_groups(groups_target, "groups_target", len(proba_target))
    return Predictions(proba_source, y, proba_target, labelled, known, weight, groups, groups_target)


def _check_proba(proba: Any, name: str, k: int) -> np.ndarray:
    proba = np.asarray(proba, dtype=float)
    if proba.ndim != 2 or proba.shape[1] != k or k < 2:
        raise InputError(f"{name} of shape {proba.shape} for {k} classes", "(n_rows, n_classes), two classes or more")
    if not len(proba):
        raise InputError(f"{name} without rows", "at least one row")
    if not np.isfinite(proba).all() or proba.min() < 0 or not np.allclose(proba.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            f"{name} has rows that are no probabilities",
            "finite values >= 0 that sum to 1 in every row",
            "Pass predict_proba of the classifier, or the softmax of its scores.",
        )
    return proba


def _check_weight(weight: Any, name: str, n: int) -> np.ndarray:
    if weight is None:
        return np.ones(n)
    weight = np.asarray(weight, dtype=float)
    if weight.shape != (n,) or not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() == 0:
        raise InputError(f"{name} of shape {weight.shape}", f"{n} finite numbers >= 0, not all zero")
    return weight / weight.mean()


def _check_groups(groups: Any, name: str, n: int) -> np.ndarray | None:
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise InputError(f"{name} of shape {groups.shape} beside {n} rows of probabilities", f"shape ({n},)")
    return groups


def _columns(y: Any, classes: np.ndarray, name: str, n: int) -> np.ndarray:
    """Column of each label in `classes`; True is 1."""
    y = np.asarray(y)
    if y.shape != (n,):
        raise InputError(f"{name} of shape {y.shape} beside {n} rows of probabilities", f"shape ({n},)")
    columns = pd.Index(classes, dtype=object).get_indexer(pd.Index(y, dtype=object))
    if (columns < 0).any():
        unknown = y[columns < 0].tolist()[0]
        raise InputError(f"{name} has the class {unknown!r}", f"the classes {classes.tolist()}")
    return columns


def _known_labels(y_target: Any, classes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mask of the labelled target rows and the columns of their labels."""
    if y_target is None:
        return np.zeros(n, bool), np.zeros(0, int)
    y_target = np.asarray(y_target)
    if y_target.shape != (n,):
        raise InputError(f"y_target of shape {y_target.shape} beside {n} rows of probabilities", f"shape ({n},)")
    labelled = ~pd.isna(y_target)
    return labelled, _columns(y_target[labelled], classes, "y_target", int(labelled.sum()))
