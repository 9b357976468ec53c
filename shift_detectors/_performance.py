"""How well does a model do on a target without labels, and what did the shift cost it?

Each estimator names the assumption under which it is right; none is right without one (identifying the
accuracy on an unlabelled target is as hard as identifying the best predictor, Garg et al. 2022). All work on
arrays. Intervals are 95 % and come from influence functions: the estimate minus the truth is about a sum of
independent terms, one per source and one per target row. Accuracies get an interval that stays in [0, 1].
Rows with weights (`sample_weight`, `sample_weight_target`) count for as much as they represent; the terms of
rows that belong together (`groups`, `groups_target`; equal values do, also across the sides) are summed first.

============================ ============================================= ===============================
function                     formula                                       right when
============================ ============================================= ===============================
`importance_weighted`        sum w l / sum w                               covariate shift, good weights
`doubly_robust`              sum w (l - m) / sum w + mean_t m              covariate shift, good w or good m
`label_shift_risk`           sum_y q_y mean(l | y)                         label shift
`average_confidence`         mean_t c                                      c, calibrated on s, right on t
`atc`                        share of target scores above a threshold      scores rank errors alike
`doc`                        accuracy_s + mean_t c - mean_s c              c off by the same on both sides
============================ ============================================= ===============================

Reference: Sugiyama, Krauledat, Mueller (JMLR 2007); Garg et al. (ICLR 2022); Guillory et al. (ICCV 2021);
Cai, Namkoong, Yadlowsky (2023) for the split of the loss.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from ._calibration import fit_calibration
from ._columns import row_count
from ._errors import InputError
from ._influence import Part, degrees_of, rows_worth, share_of, variance_of, weighted_mean
from ._model_loss import Loss, loss_of
from ._models import answers_of, predictions, refuse_other_answers
from ._prior import PriorFit, proportion_interval
from ._results import Effect, Impact, PerformanceEstimate
from ._table import chose_labels

ROUNDING = 1e-9  # by which a share of rows may miss a whole number of them, and a difference of losses 0
COVERED = ", and the source covers the target"
COVARIATE = f"covariate shift: p(y|x) is the same in source and target{COVERED}"
LABEL = "label shift: p(x|y) is the same in source and target"
CALIBRATED = "the source-calibrated confidences are right on the target"
SELECTED = "the labelled target rows speak for the others, though they differ in x"
RANKING = "scores above the source threshold are right as often on the target as on the source"
SAME_GAP = "confidence and accuracy differ by the same amount on source and target"


def importance_weighted(
    values: Any, weights: Any, metric: str = "accuracy", *, groups: Any = None
) -> PerformanceEstimate:
    """Self-normalised importance-weighted mean of source values, sum w v / sum w.

    Parameters
    ----------
    values : array of shape (n_source,)
        Correct (0/1) or loss of held-out source rows.
    weights : array of shape (n_source,)
        p_t(x) / p_s(x), any constant factor; times the row's own weight, if there are such. They count as known:
        their own error is not in the interval.
    metric : str
        ``"accuracy"``, or the name of a mean loss.
    groups : array-like of shape (n_source,), optional

    Examples
    --------
    >>> importance_weighted([1, 1, 0, 0], [3, 3, 1, 1]).value
    0.75
    """
    value, part = _mean(values, weights, groups)
    return _estimate("importance weighting", metric, value, [part], COVARIATE)


def doubly_robust(
    values: Any,
    weights: Any,
    fitted_source: Any,
    fitted_target: Any,
    metric: str = "accuracy",
    *,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> PerformanceEstimate:
    """Weighted source residuals around a regression of the values on x, plus its mean over the target.

    Right when either the weights or the regression is right, and less variable than weighting alone. The correction can
    lead out of the range of the metric, where no performance lies; the value is then the nearest one within.

    Parameters
    ----------
    values, weights : array of shape (n_source,)
        As in `importance_weighted`.
    fitted_source, fitted_target : array of shape (n_source,) and (n_target,)
        Cross-fitted regression of the values on x, at the source and at the target rows.
    metric : str
        ``"accuracy"``, or the name of a mean loss.
    sample_weight_target, groups, groups_target : array-like, optional

    Examples
    --------
    >>> doubly_robust([1, 0, 1, 0], [1, 1, 1, 1], [0.5] * 4, [0.75, 0.75]).value
    0.75
    """
    offset, on_source = _mean(_array(values) - _array(fitted_source), weights, groups)
    expected, on_target = _mean(fitted_target, sample_weight_target, groups_target)
    method = "doubly robust importance weighting"
    return _estimate(method, metric, offset + expected, [on_source, on_target], COVARIATE)


def label_shift_risk(
    values: Any, y: Any, prior: PriorFit, metric: str = "accuracy", *, sample_weight: Any = None, groups: Any = None
) -> PerformanceEstimate:
    """Class-wise source performance under the target prior, sum_y q_y mean(values | y).

    The interval includes the covariance of q.

    Parameters
    ----------
    values : array of shape (n_source,)
        Correct (0/1) of held-out source rows.
    y : array-like of shape (n_source,)
        Their labels.
    prior : PriorFit
        From `estimate_prior`.
    metric : str
    sample_weight, groups : array-like of shape (n_source,), optional
    """
    values, y = _array(values), np.asarray(y)
    own = np.ones(len(y)) if sample_weight is None else _array(sample_weight)
    weights = np.array([own * (y == c) for c in prior.classes.tolist()])  # a row for every class
    mass = weights.sum(axis=1)
    if (mass == 0).any():
        raise InputError("a class of the prior without a source row", "labelled source rows of every class")
    means, sizes = weights @ values / mass, mass**2 / (weights**2).sum(axis=1)
    w = prior.prior / mass @ weights
    part = Part(w * values - (prior.prior * means / mass) @ weights, w, groups)
    known = means @ prior.covariance @ means
    if metric == "accuracy":
        # one pseudo-row of each outcome: a class without an error so far is not free of errors
        spread = (means * sizes + 0.5) / (sizes + 1)
        known += prior.prior**2 @ ((spread * (1 - spread) - means * (1 - means)) / sizes)
    return _estimate("label-shift risk", metric, prior.prior @ means, [part], LABEL, known=known)


def average_confidence(
    confidence_target: Any,
    confidence_source: Any = None,
    correct_source: Any = None,
    weight_source: Any = None,
    *,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> PerformanceEstimate:
    """Mean calibrated probability of the predicted class over the target (confidence-based estimate, CBPE).

    Class probabilities whose means are right may be wrong as confidences. So those of held-out source rows are
    calibrated once more, by a logistic regression of correct on their log odds: then they are right on average.

    Parameters
    ----------
    confidence_target : array of shape (n_target,)
        Probability of the predicted class.
    confidence_source, correct_source : array of shape (n_source,), optional
        The same and correct (0/1) on the rows of the calibration, whose sampling error enters the interval.
        Without them the confidences are taken as they are.
    weight_source : array of shape (n_source,), optional
        Of the rows in the calibration: what they represent, times p_t(x) / p_s(x) up to a factor.
    sample_weight_target, groups, groups_target : array-like, optional

    Examples
    --------
    >>> average_confidence([1.0, 0.5]).value
    0.75
    >>> round(average_confidence([0.9] * 10, [0.9] * 100, [1, 0] * 50).value, 2)
    0.5
    """
    confidence, parts = _array(confidence_target), []
    by_row = _share(confidence, sample_weight_target)
    if correct_source is not None:
        target, source = (np.column_stack([1 - c, c]) for c in (confidence, _array(confidence_source)))
        correct = _array(correct_source).astype(int)
        w = _share(correct, weight_source)
        calibrate = fit_calibration(source, correct, weight=w)
        g = calibrate(target)
        confidence = g[:, 1]
        by_bias = confidence[:, None] * ([0, 1] - g)
        gradient = by_row @ np.hstack([by_bias * calibrate.log(target), by_bias])  # by scales and biases
        moved = calibrate.influence(source, correct, w * len(w)) @ gradient
        parts = [Part(moved / len(moved), w, groups)]
    value, on_target = _mean(confidence, sample_weight_target, groups_target)
    return _estimate("average confidence", "accuracy", value, [*parts, on_target], CALIBRATED, counted=False)


def atc(
    score_source: Any,
    correct_source: Any,
    score_target: Any,
    *,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> PerformanceEstimate:
    """Average thresholded confidence: share of target scores above t, where P_s(score < t) = source error.

    Where several source scores equal t, too few of them may lie below and too many with t: of the rows at t, source and
    target, counts as below the share that makes the source agree, as if ties were broken at random.

    Parameters
    ----------
    score_source, score_target : array
        Any score that grows with confidence (largest probability, negative entropy).
    correct_source : array of shape (n_source,)
        Correct (0/1) on held-out source rows.
    sample_weight, sample_weight_target, groups, groups_target : array-like, optional

    Notes
    -----
    The threshold is off by what the count below it and the number of errors are off by; the interval moves
    the quantile by 1.96 standard errors of their difference (as Woodruff 1952 does for quantiles) and adds
    the binomial error of the target share.

    Examples
    --------
    >>> atc([0.5, 0.6, 0.8, 0.9], [0, 1, 1, 1], [0.55, 0.65, 0.7, 0.95]).value
    0.75
    >>> atc([0.8] * 4, [0, 1, 1, 1], [0.8] * 9).value
    0.75
    """
    source, target = _array(score_source), _array(score_target)
    wrong, weight = 1 - _array(correct_source), _share(source, sample_weight)
    order = np.argsort(source)
    reached = np.cumsum(weight[order])[:-1]
    error = float(weight @ wrong)

    def below(scores: np.ndarray, level: float) -> np.ndarray:
        """1 below the source's quantile and 0 above it; at it, the part that makes the source's mean the level."""
        if not ROUNDING < level < 1 - ROUNDING:
            return np.full(len(scores), float(level > 0.5))
        threshold = source[order[np.searchsorted(reached, level + ROUNDING, side="right")]]
        part = (level - weight @ (source < threshold)) / (weight @ (source == threshold))
        return (scores < threshold) + part * (scores == threshold)

    def share_above(level: float) -> tuple[float, Part]:
        return _mean(1 - below(target, level), sample_weight_target, groups_target)

    value, on_target = share_above(error)
    _, on_source = _mean(below(source, error) - wrong, sample_weight, groups)
    move = _quantile(degrees_of(on_source)) * variance_of(on_source) ** 0.5
    low, high = share_above(error + move)[0], share_above(error - move)[0]
    low_t, high_t = _interval("accuracy", value, [on_target])
    ci = (
        max(0.0, value - float(np.hypot(value - low, value - low_t))),
        min(1.0, value + float(np.hypot(high - value, high_t - value))),
    )
    return PerformanceEstimate("average thresholded confidence", "accuracy", value, ci, RANKING)


def doc(
    confidence_source: Any,
    correct_source: Any,
    confidence_target: Any,
    *,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> PerformanceEstimate:
    """Difference of confidences: source accuracy plus the change of the mean confidence.

    Parameters
    ----------
    confidence_source, correct_source : array of shape (n_source,)
        Confidence and correct (0/1) on held-out source rows.
    confidence_target : array of shape (n_target,)
    sample_weight, sample_weight_target, groups, groups_target : array-like, optional

    Examples
    --------
    >>> doc([0.9, 0.9], [1, 1], [0.8, 0.8]).value
    0.9
    """
    gap, on_source = _mean(_array(correct_source) - _array(confidence_source), sample_weight, groups)
    mean, on_target = _mean(confidence_target, sample_weight_target, groups_target)
    parts = [on_source, on_target]
    return _estimate("difference of confidences", "accuracy", gap + mean, parts, SAME_GAP, counted=False)


def measure_impact(
    estimator: Any,
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any = None,
    labelled: Any = None,
    weights: Any = None,
    prior: PriorFit | None = None,
    task: str = "classification",
    *,
    verdict_kind: str = "none",
    propensity: Any = None,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> Impact:
    """What the shift does to a given fitted model.

    Parameters
    ----------
    estimator : fitted estimator
    X_source, y_source : source rows and their labels
        Best held out: on its own training rows a model looks better than it is, here and in every estimate
        without target labels. The notes of the result say so.
    X_target : target rows
    y_target : array-like of shape (n_target,), optional
    labelled : array of bool, shape (n_target,), optional
        Which target rows have a label; all when `y_target` is given alone.
    weights : array of shape (n_source,), optional
        Importance weights, p_t(x) / p_s(x) with what the rows represent in both; they are multiplied by the
        `sample_weight`.
    prior : PriorFit, optional
        Estimated target prior, classification.
    task : {"classification", "regression"}
    verdict_kind : str
        Decides which estimate stands first: ``"covariate"`` importance weighting, ``"label"`` label-shift
        risk, otherwise average confidence.
    propensity : array of shape (n_source + n_target,), optional
        Cross-fitted P(target | x) of the rows with their weights, source rows first; needed to split the loss
        change.
    sample_weight, groups : array-like of shape (n_source,), optional
    sample_weight_target, groups_target : array-like of shape (n_target,), optional

    Returns
    -------
    Impact
        Classifiers are judged by their accuracy, regressors by the squared error, which is least at the mean whatever
        fits it (a Poisson deviance, too); quantile models by their pinball loss, those fitted to the absolute error by
        that. `p_x_part` and `p_y_given_x_part` are changes of the loss (of a classifier the error rate): positive is
        worse on the target.
    """
    if task not in ("classification", "regression"):
        raise InputError(f"task={task!r}", "'classification' or 'regression'")
    classification = task == "classification"
    loss = None if classification else loss_of(estimator)
    metric = "accuracy" if loss is None else loss.name
    y_source = np.asarray(y_source)
    answers = predictions(estimator, X_source, "X_source")
    if classification:
        refuse_other_answers(estimator, answers, y_source)
    values = _values(answers, y_source, loss)
    notes = ["The source score is that of the given source rows; it flatters a model trained on them."]

    on_source = {"sample_weight": sample_weight, "groups": groups}
    on_target = {"sample_weight_target": sample_weight_target, "groups_target": groups_target}
    mask = np.zeros(row_count(X_target), bool)
    if y_target is not None:
        mask = np.ones(len(y_target), bool) if labelled is None else np.asarray(labelled, bool)
    estimates = []
    if classification:
        rows = on_source | on_target
        if sample_weight_target is not None and chose_labels(np.asarray(sample_weight_target), mask):
            rows["sample_weight_target"] = None
        estimates += _confidence_estimates(estimator, X_source, y_source, X_target, values, notes, rows)
    if weights is not None:
        combined = _array(weights) if sample_weight is None else _array(weights) * _array(sample_weight)
        estimates.append(importance_weighted(values, combined, metric, groups=groups))
    if prior is not None and classification:
        estimates.append(label_shift_risk(values, y_source, prior, **on_source))
    first = {"covariate": "importance weighting", "label": "label-shift risk"}.get(verdict_kind)
    estimates.sort(key=lambda e: e.method != first)  # stable: the others keep their order

    target = p_x = p_y_given_x = None
    if mask.any():
        on_labelled = {name: None if given is None else np.asarray(given)[mask] for name, given in on_target.items()}
        predicted = predictions(estimator, X_target, "X_target")[mask]
        values_target = _values(predicted, np.asarray(y_target)[mask], loss)
        target = observed_performance(values_target, metric, "observed labels", "", *on_labelled.values())
        if propensity is not None:
            losses = (1 - values, 1 - values_target) if classification else (values, values_target)
            pi_source, pi_target = np.split(_array(propensity), [len(values)])
            share = len(pi_target) / (len(pi_source) + len(pi_target))
            p_x, p_y_given_x = split_loss_change(*losses, pi_source, pi_target[mask], share, **on_source, **on_labelled)
    return Impact(
        metric,
        observed_performance(values, metric, "source rows", "", sample_weight, groups),
        target,
        tuple(estimates),
        p_x,
        p_y_given_x,
        tuple(notes),
    )


def where_covered(assumption: str) -> str:
    """An assumption that can be meant for those target rows only that lie where the source has rows."""
    return f"{assumption.removesuffix(COVERED)} where the source has rows"


def beyond_support(estimate: PerformanceEstimate, unsupported_share: float, n_target: int) -> PerformanceEstimate:
    """An estimate whose assumption can only hold where the source has rows, with an interval that admits it.

    With a share of the target rows where the source has (nearly) none, the accuracy there may be anything from 0 to 1,
    so an interval [a, b] of the whole becomes [a - u, b + u], cut to [0, 1], with u the upper end of the share's own
    95 % interval. A loss of numbers has no largest value, so its interval is dropped. The value stays.

    Parameters
    ----------
    estimate : PerformanceEstimate
    unsupported_share : float
    n_target : int
        Rows that the share was found in.

    References
    ----------
    Manski (2003), Partial Identification of Probability Distributions.

    Examples
    --------
    >>> estimate = importance_weighted(np.repeat([1, 0], [800, 200]), np.ones(1000))
    >>> [round(end, 2) for end in estimate.ci], [round(end, 2) for end in beyond_support(estimate, 0.3, 1000).ci]
    ([0.77, 0.82], [0.44, 1.0])
    """
    if unsupported_share <= 0 or estimate.ci is None:
        return estimate
    low, high = estimate.ci
    bounded = estimate.metric == "accuracy"
    unknown = proportion_interval(unsupported_share, unsupported_share * (1 - unsupported_share) / n_target, n_target)[
        1
    ]
    ci = (max(0.0, low - unknown), min(1.0, high + unknown)) if bounded else None
    rest = f"whatever holds for the {unsupported_share:.0%} of the target rows where the source has (nearly) none"
    return replace(estimate, ci=ci, assumption=f"{where_covered(estimate.assumption)}, {rest}")


def split_loss_change(
    loss_source: Any,
    loss_target: Any,
    propensity_source: Any,
    propensity_target: Any,
    target_share: float,
    *,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    groups: Any = None,
    groups_target: Any = None,
) -> tuple[Effect, Effect]:
    """Split the change of the mean loss into a p(x) part and a p(y|x) part.

    On the distribution S with density proportional to p_s(x) p_t(x) / ((1-a) p_s(x) + a p_t(x)), which lies
    where source and target overlap, the losses of both domains can be compared at equal x. With R_s(x) and
    R_t(x) the mean losses given x,

    p(y|x) part = E_S[R_t - R_s],   p(x) part = (E_S[R_s] - E_source[R_s]) + (E_target[R_t] - E_S[R_t]).

    Parameters
    ----------
    loss_source, loss_target : array
        Losses of source rows and of labelled target rows.
    propensity_source, propensity_target : array
        Cross-fitted P(target | x) of the same rows. They count as known.
    target_share : float
        Share a of target rows in the sample behind the propensities, by weight where there are weights.
    sample_weight, sample_weight_target, groups, groups_target : array-like, optional

    Returns
    -------
    p_x_part, p_y_given_x_part : Effect
        With 95 % intervals; they add up to mean(loss_target) - mean(loss_source).

    References
    ----------
    Cai, Namkoong, Yadlowsky, "Diagnosing model performance under distribution shift" (2023).
    """
    loss_source, loss_target = _array(loss_source), _array(loss_target)
    pi_source, pi_target = _array(propensity_source), _array(propensity_target)
    w_source = pi_source / ((1 - target_share) * pi_source + target_share * (1 - pi_source))
    w_target = (1 - pi_target) / ((1 - target_share) * pi_target + target_share * (1 - pi_target))
    if w_source.sum() == 0 or w_target.sum() == 0:
        raise InputError(
            "propensities of 0 or 1 only",
            "source and target rows that overlap",
            "Where they do not overlap the loss change cannot be split.",
        )
    own_source, own_target = _share(loss_source, sample_weight), _share(loss_target, sample_weight_target)
    mean_source, plain_source = _mean(loss_source, own_source, groups)
    mean_target, plain_target = _mean(loss_target, own_target, groups_target)
    shared_source, on_shared_source = _mean(loss_source, own_source * w_source, groups)
    shared_target, on_shared_target = _mean(loss_target, own_target * w_target, groups_target)

    smallest = ROUNDING * float(np.abs(np.r_[loss_source, loss_target]).mean())

    def effect(name: str, value: float, source: np.ndarray, target: np.ndarray) -> Effect:
        parts = replace(on_shared_source, terms=source), replace(on_shared_target, terms=target)
        half = _quantile(degrees_of(*parts, shares=False)) * variance_of(*parts, shares=False) ** 0.5
        ends = np.array([value, value - half, value + half])
        value, low, high = np.where(np.abs(ends) < smallest, 0.0, ends).tolist()
        return Effect(name, value, (low, high) if np.isfinite(half) else None)

    p_x = effect(
        "loss change due to p(x)",
        (shared_source - mean_source) + (mean_target - shared_target),
        on_shared_source.terms - plain_source.terms,
        plain_target.terms - on_shared_target.terms,
    )
    p_y_given_x = effect(
        "loss change due to p(y|x)",
        shared_target - shared_source,
        -on_shared_source.terms,
        on_shared_target.terms,
    )
    return p_x, p_y_given_x


def calibrated_confidence(
    classes: np.ndarray,
    proba_source: np.ndarray,
    predicted_source: Any,
    y_source: np.ndarray,
    proba_target: np.ndarray,
    predicted_target: Any,
    weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the predicted class at source and at target rows, calibrated on the labelled source rows.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Columns of the probabilities.
    proba_source, proba_target : ndarray of shape (n_rows, n_classes)
    predicted_source, predicted_target : array-like of shape (n_rows,)
    y_source : ndarray of shape (n_source,)
    weight : ndarray of shape (n_source,), optional
        Of the source rows in the calibration; the density ratio calibrates for the target.
    """
    columns = {c: j for j, c in enumerate(np.asarray(classes).tolist())}

    def code(labels: Any) -> np.ndarray:
        return np.array([columns[c] for c in np.asarray(labels).tolist()])

    calibrate = fit_calibration(proba_source, code(y_source), weight=weight)
    pairs = ((proba_source, predicted_source), (proba_target, predicted_target))
    source, target = (calibrate(p)[np.arange(len(p)), code(predicted)] for p, predicted in pairs)
    return source, target


def _confidence_estimates(
    estimator: Any,
    X_source: Any,
    y_source: np.ndarray,
    X_target: Any,
    correct: np.ndarray,
    notes: list[str],
    rows: dict[str, Any],
) -> list[PerformanceEstimate]:
    """Average confidence, ATC and DoC of a classifier, calibrated on the source rows; `rows`: weights and groups."""
    if not hasattr(estimator, "predict_proba"):
        notes.append("The model has no predict_proba: no estimate from its confidence.")
        return []
    classes = np.asarray(estimator.classes_)
    known = np.isin(y_source, classes)
    if not known.all() or len(np.unique(y_source)) < 2:
        notes.append("The model's classes are not those of the source rows: no estimate from its confidence.")
        return []
    source, target = calibrated_confidence(
        classes,
        estimator.predict_proba(X_source),
        answers_of(estimator, X_source),
        y_source,
        estimator.predict_proba(X_target),
        answers_of(estimator, X_target),
        rows["sample_weight"],
    )
    others = {name: given for name, given in rows.items() if name != "sample_weight"}
    return [
        average_confidence(target, source, correct, rows["sample_weight"], **others),
        atc(source, correct, target, **rows),
        doc(source, correct, target, **rows),
    ]


def _values(predicted: np.ndarray, y: np.ndarray, loss: Loss | None) -> np.ndarray:
    """Correct (0/1), or the loss of a regressor, shape (n,)."""
    return (predicted == y).astype(float) if loss is None else loss(predicted, y)


def observed_performance(
    values: np.ndarray,
    metric: str,
    method: str,
    assumption: str = "",
    sample_weight: Any = None,
    groups: Any = None,
) -> PerformanceEstimate:
    """Mean of correct (0/1) or of losses of labelled rows."""
    value, part = _mean(values, sample_weight, groups)
    return _estimate(method, metric, value, [part], assumption)


def _mean(values: Any, weight: Any = None, groups: Any = None) -> tuple[float, Part]:
    """Weighted mean, and what every row adds to its error."""
    return weighted_mean(_array(values), None if weight is None else _array(weight), groups)


def _share(rows: np.ndarray, weight: Any) -> np.ndarray:
    """Share of every row in a mean; equal ones without weights."""
    return share_of(np.ones(len(rows)) if weight is None else _array(weight))


def _estimate(method, metric, value, parts, assumption, *, known=0.0, counted=True) -> PerformanceEstimate:
    """Value and interval, both within the range of the metric; other arguments as in `_interval`."""
    value = float(np.clip(value, 0.0, 1.0 if metric == "accuracy" else np.inf))
    return PerformanceEstimate(method, metric, value, _interval(metric, value, parts, known, counted), assumption)


def _interval(metric, value, parts, known=0.0, counted=True) -> Any:
    """Interval around a value in the range of the metric; None for a loss of which nothing is known.

    `known` is variance that is not in the parts. `counted`: an accuracy is a share of right rows, and those of the
    parts at most stand behind it.
    """
    shares = metric == "accuracy"
    variance = variance_of(*parts, shares=shares) + float(known)
    degrees = degrees_of(*parts, known=float(known), shares=shares)
    if not shares:
        return loss_interval(value, variance**0.5, degrees)
    if counted:
        return proportion_interval(value, variance, rows_worth(*parts), degrees=degrees)
    half = _quantile(degrees) * variance**0.5
    return max(0.0, value - half), min(1.0, value + half)


def loss_interval(value: float, se: float, degrees: float) -> tuple[float, float] | None:
    """Interval of a mean loss, symmetric on the logarithmic scale: value exp(-h) to value exp(h), h = t se / value.

    Losses are skewed: a mean that lies low has missed the few large ones, and with them its standard error is too
    small. Symmetric intervals then end below the truth: of 30 squared errors of normal noise .90 cover and these .93,
    of noise whose log standard deviation varies by .7 it is .71 and .78, of lognormal values .63 and .69 (a thousand
    rows: .94 and .94, .89 and .91, .87 and .89). Where h > 1 the upper end follows its tangent, e t se, which is
    defined for a value of zero, too. None for an infinite `se`.

    Examples
    --------
    >>> low, high = loss_interval(2.0, 0.2, float("inf"))
    >>> round(low, 2), round(high, 2)
    (1.64, 2.43)
    """
    half = _quantile(degrees) * se
    if not np.isfinite(half):
        return None
    low = value * np.exp(-half / value) if value > 0 else 0.0
    high = value * np.exp(half / value) if half < value else np.e * half
    return float(low), float(high)


def _quantile(degrees: float) -> float:
    return float(student.isf(0.025, degrees))


def _array(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(f"an array of shape {values.shape}, or with missing values", "finite numbers, shape (n,)")
    return values
