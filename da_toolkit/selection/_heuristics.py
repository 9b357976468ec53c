"""The judge without an interval: heuristic scores of the answers on the target, and vetoes.

Either circular validation (a model that learns from the answers on the target is right on the source) improves by two
standard errors of the paired difference; or, where it does not fall as much or cannot be had, thresholded confidence
(ATC) and information maximisation (answers that are sure and diverse) both improve by more than their error. They alone
would miss what a model that is sure of itself where the source has no rows can gain. A veto ends it: a class that
vanishes from the answers, a model that got worse on the source itself, domains that the adapter did not bring together.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from shift_detectors._influence import variance_of, weighted_mean
from shift_detectors._performance import atc
from shift_detectors._results import Effect, PerformanceEstimate

from ._crossfit import Answers
from ._evidence import Case, Evidence, Finding, answers_of
from ._recommend import ALIGNED

CONFIDENCE = "thresholded confidence"
CIRCULAR = "circular validation"
INFORMATION = "information"
CLEARLY = 2.0  # standard errors by which circular validation must improve
VANISHED = 0.2  # share of its expected frequency below which a class has vanished
SOURCE_DROP = 0.05  # accuracy on the source that an alignment may cost
DISTANCE_KEPT = 0.5  # of the distance between the domains that may be left


def by_heuristics(case: Case, distances: dict[str, tuple[float, float] | None]) -> Evidence:
    """Heuristic scores speak for it and nothing contradicts; classification only.

    Parameters
    ----------
    case : Case
    distances : dict from name to (float, float) or None
        `domain_distance` before and behind each adapter, None where it moves no features.
    """
    baseline = answers_of(case.baseline)
    method = f"{CIRCULAR}, {CONFIDENCE}, information maximisation"
    if not case.counts or baseline.source_proba is None or baseline.target_proba is None:
        unknown = "In regression" if case.classes is None else f"Of the {case.metric}"
        missing = "For a model that scores no classes" if case.counts else unknown
        reason = f"{missing} nothing can be said about this without target labels."
        return Evidence(method, ALIGNED, None, {t.name: Finding("", reason, silent=True) for t in case.trials})
    before = _confidence_estimate(baseline, case)
    base = _scores(baseline, before, case)
    found = {}
    for trial in case.trials:
        answers = answers_of(trial)
        if answers.target_proba is None or distances.get(trial.name) is None:
            lacks = "scores no classes" if answers.target_proba is None else "moves no features"
            reason = f"It {lacks}: without target labels nothing can be said about it here."
            found[trial.name] = Finding("", reason, silent=True)
            continue
        after = _confidence_estimate(answers, case)
        scores = _scores(answers, after, case)
        improved = [name for name in scores if name in base and _improves(scores[name], base[name])]
        gain = Effect("gain", after.value - before.value)
        vetoes = list(_vetoes(case, answers, distances.get(trial.name)))
        said = f"{len(improved)} of {len(scores)} scores improve" + (f" ({', '.join(improved)})" if improved else "")
        back = _way_back(baseline, answers, case)
        sure = {CONFIDENCE, INFORMATION} <= set(improved)
        passed = sure if back is None else back[0] > CLEARLY * back[1] or (sure and back[0] > -CLEARLY * back[1])
        if answers.of_scores and len(improved) < 2:
            passed = False  # what one score says is averaged with the model as it is, which takes its probabilities
        if back is not None:
            said += f"; circular validation changes by {back[0]:+.3f} (standard error {back[1]:.3f})"
        if vetoes:
            reason = f"Veto: {'; '.join(vetoes)}."
        else:
            reason = f"{said}, and nothing contradicts." if passed else f"Only {said}."
        earned = "plausible" if passed and not vetoes else ""
        rank, unsure = (round(after.value, 2), 0.0) if back is None else back
        if earned and CONFIDENCE not in improved:  # its numbers would contradict the choice
            reason += " Confidence does not rise, as with a model that is too sure of itself: it tells no gain."
            gain, after = None, None
        found[trial.name] = Finding(earned, reason, gain, after, rank, unsure, alone=len(improved) < 2)
    return Evidence(method, ALIGNED, before, found)


def averaged_heuristics(case: Case, evidence: Evidence) -> Finding:
    """Estimated performance of the one trial there is, the average of an adapter with the model as it is.

    Nothing where it does not rise: where the two disagree, averaged probabilities are less sure, and confidence takes
    that for errors.
    """
    assert evidence.before is not None
    after = _confidence_estimate(answers_of(case.trials[0]), case)
    if after.value <= evidence.before.value:
        reason = "Where the two disagree, the average is less sure, so that confidence no longer tells a gain."
        return Finding("", reason)
    return Finding("", "", Effect("gain", after.value - evidence.before.value), after)


def _scores(answers: Answers, estimate: PerformanceEstimate, case: Case) -> dict[str, tuple[float, float]]:
    """Score and standard error of each heuristic, larger is better; `estimate` is the answers' confidence estimate."""
    target = answers.target_proba
    low, high = estimate.ci  # type: ignore[misc]
    scores = {CONFIDENCE: (estimate.value, (high - low) / 3.92)}
    entropy = -(target * np.log(np.maximum(target, 1e-12))).sum(axis=1)  # type: ignore[operator]
    mean = target.mean(axis=0)  # type: ignore[union-attr]
    diversity = -(mean * np.log(np.maximum(mean, 1e-12))).sum()
    unsure, part = weighted_mean(entropy, groups=case.groups_target)
    scores[INFORMATION] = (float(diversity - unsure), variance_of(part) ** 0.5)
    if answers.circular is not None:
        back = (answers.circular == case.domains.y).astype(float)
        value, part = weighted_mean(back, case.domains.sample_weight, case.domains.groups)
        scores[CIRCULAR] = (value, variance_of(part) ** 0.5)
    return scores


def _way_back(baseline: Answers, answers: Answers, case: Case) -> tuple[float, float] | None:
    """Change of the accuracy of circular validation, and its standard error on the same rows; None without it."""
    if baseline.circular is None or answers.circular is None:
        return None
    d = (answers.circular == case.domains.y).astype(float) - (baseline.circular == case.domains.y)
    value, part = weighted_mean(d, case.domains.sample_weight, case.domains.groups)
    return value, float(np.sqrt(variance_of(part) + 2 * (part.weight**2).mean()))


def _improves(new: tuple[float, float], old: tuple[float, float]) -> bool:
    return new[0] - old[0] > np.hypot(new[1], old[1])


def _vetoes(case: Case, answers: Answers, distances: tuple[float, float] | None):
    """Reasons against an alignment, whatever its scores."""
    classes, y = case.classes, case.domains.y
    assert classes is not None
    expected = np.array([np.average(y == c, weights=case.domains.sample_weight) for c in classes])
    n, baseline = len(answers.on_target), answers_of(case.baseline)
    lost, lost_anyway = (
        np.array([(a.on_target == c).mean() for c in classes]) < VANISHED * expected for a in (answers, baseline)
    )
    vanished = classes[lost & ~lost_anyway & (expected * n >= 5)]
    if len(vanished):
        yield f"class {', '.join(map(str, vanished))} (nearly) vanishes from the predictions"
    base, own = (np.average(a.own_source == y, weights=case.domains.sample_weight) for a in (baseline, answers))
    if base - own > SOURCE_DROP:
        yield f"accuracy on the source itself falls from {base:.3f} to {own:.3f}"
    if distances is not None and distances[1] > DISTANCE_KEPT * distances[0]:
        yield f"the domains stay apart (distance {distances[0]:.3f} before, {distances[1]:.3f} behind it)"


def domain_distance(source: np.ndarray, target: np.ndarray, seed: int) -> float:
    """Energy distance as a share of the mean distance across, 0 (alike) to 1; on up to 1000 rows a side.

    E = 2 E|S - T| - E|S - S'| - E|T - T'|, divided by 2 E|S - T| (the coefficient of inhomogeneity, Rizzo and
    Szekely 2016): free of scale, and blind to marks such as rounding that a classifier would find but that do
    not matter to a model.
    """
    rng = np.random.default_rng(seed)
    source, target = (rows[rng.permutation(len(rows))[:1000]] for rows in (source, target))
    across = float(cdist(source, target).mean())
    within = [float(cdist(rows, rows).sum()) / (len(rows) * (len(rows) - 1)) for rows in (source, target)]
    return max(0.0, 1 - sum(within) / (2 * across)) if across > 0 else 0.0


def _confidence_estimate(answers: Answers, case: Case) -> PerformanceEstimate:
    """Target accuracy by average thresholded confidence."""
    correct = (answers.own_source == case.domains.y).astype(float)
    assert answers.source_proba is not None and answers.target_proba is not None
    return atc(
        answers.source_proba.max(axis=1),
        correct,
        answers.target_proba.max(axis=1),
        sample_weight=case.domains.sample_weight,
        groups=case.domains.groups,
        groups_target=case.groups_target,
    )
