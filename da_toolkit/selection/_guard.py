"""The guard: an adapter must earn deployment, by the evidence that fits the verdict.

======================================= ==================================================== ============
what is known                           evidence                                             can earn
======================================= ==================================================== ============
enough target labels                    paired difference on held-out labelled target rows   verified
the same, chosen by x                   that                                                 plausible
covariate shift with overlap            doubly robust paired difference                      verified
the same, a tenth of the target or more doubly robust paired difference                      plausible
where the source has (nearly) no rows
label shift                             class-wise paired difference under the target prior  verified, or
                                        (only expected by the calibrated probabilities)      plausible
either, beside ten target labels        that or the labels, whichever is more precise; what  verified
                                        corrects p(y|x) by labels; none that loses on them
label shift in regression               paired difference weighted by p_t(y) / p_s(y), and   plausible
                                        no great loss if it was covariate shift, none on
                                        target labels
anything else (classification)          heuristic scores speak for it, and no veto           plausible
======================================= ==================================================== ============

"Verified" needs a one-sided lower confidence bound of the gain above zero, at level .05 divided by the number of
candidates. Heuristics know no error level, so what they support is never called verified (_heuristics.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import norm

from shift_detectors._boundary import read_problem
from shift_detectors._learners import Inputs, crossfit_means, domain_folds
from shift_detectors._performance import (
    COVARIATE,
    LABEL,
    SELECTED,
    average_confidence,
    doubly_robust,
    importance_weighted,
    loss_interval,
    observed_performance,
    where_covered,
)
from shift_detectors._prior import PriorFit, estimate_prior, proportion_interval
from shift_detectors._report import ShiftReport
from shift_detectors._results import Effect, PerformanceEstimate
from shift_detectors._text import amounts, and_join, share
from shift_detectors._verdict import uncovered_share
from shift_detectors._warnings import ignored

from ..label_shift._target_shift import outcome_weights
from ..weighting import ClassifierRatio
from ..weighting._own_weights import expected_weight
from ._crossfit import Trial
from ._evidence import Case, Evidence, Finding, answers_of
from ._gain import Gain, on_labels, under_covariate, under_label_shift
from ._heuristics import VANISHED
from ._recommend import LABELLED

LEVEL = 0.05  # one-sided, over all candidates together
NEAR_ZERO = 0.01  # a gain up to here, in accuracy or as a share of a regressor's loss, is called none
RIVAL = 2.0  # how many times what is lost under covariate shift must be gained under label shift
OTHERS = 0.05  # share of all classes but one in the target up to which label shift is believed only if it is sure
HARDLY = 0.5  # share of a class's estimated frequency below which it is hardly answered
EXPECTED = 5  # target rows of a class below which its absence from the answers says nothing
DOUBTFUL_FIT = 0.15  # p-value of the label-shift fit below which the assumption, though not rejected, is in doubt
NOT_WORTH = 0.002  # an expected gain of accuracy, or share of a loss, that is not worth an unverified change
SAME = "It gives the same answers as the model as it is."
SAME_CLASSES = (
    "It gives the same classes as the model as it is. Its probabilities differ, which accuracy does not see: "
    'scoring="neg_log_loss" judges them.'
)
ONE_GROUP = "The rows that would judge it belong to one group, which says nothing about the others."


def by_labels(case: Case) -> Evidence:
    """Paired comparison on labelled target rows, each answered by models that did not see its label.

    It verifies nothing where these rows differ from the others in x.
    """
    rows = np.flatnonzero(case.domains.labelled)
    groups = None if case.groups_target is None else case.groups_target[rows]
    weight = None if case.weight_target is None else case.weight_target[rows]
    base = case.labelled(case.baseline, rows)
    method = "cross-fitting on the labelled target rows"
    assumption = SELECTED if case.report.labels_selected else LABELLED

    def performance(values: np.ndarray) -> PerformanceEstimate:
        return observed_performance(case.positive(values), case.metric, method, assumption, weight, groups)

    gains, after = {}, {}
    for trial in case.trials:
        values = case.labelled(trial, rows)
        gains[trial.name] = on_labels(values - base, classes=case.counts, weight=weight, groups=groups)
        after[trial.name] = performance(values)
    before = performance(base)
    found = _findings(case, gains, after, before)
    if assumption == SELECTED:
        found = _at_most_plausible(found, " It is one on the labelled rows.")  # no random part of the target
    return Evidence(method, assumption, before, found)


def _at_most_plausible(found: dict[str, Finding], doubt: str) -> dict[str, Finding]:
    """The findings, of which those that earned something carry a doubt and are no longer called verified."""
    return {
        name: replace(finding, earned="plausible", reason=finding.reason + doubt) if finding.earned else finding
        for name, finding in found.items()
    }


def by_weights(case: Case) -> Evidence:
    """Doubly robust paired comparison on source rows, under covariate shift."""
    n = len(case.domains.y)
    with ignored(UserWarning):  # the diagnosis has said it
        X, X_target = case.domains.X, case.domains.X_target
        problem = read_problem(X, None, X_target, representation=case.representation, exclude=case.exclude)
        table = problem.table.without(set(case.report.separators))
        ratio = ClassifierRatio(random_state=case.seed)
        ratio.fit(table.design[:n], table.design[n:], groups=case.domains.groups)
    base = case.as_target(case.baseline)
    values = [case.as_target(trial) for trial in case.trials]

    # what to expect of the values at x, learnt on the source and cross-fitted
    source = np.arange(table.n) < n
    columns = np.zeros((table.n, 1 + len(values)))
    columns[:n] = np.column_stack([base, *(v - base for v in values)])
    fold = domain_folds(table, 5, case.seed, _groups_of_both(case))
    inputs = Inputs.of(table)
    expected = crossfit_means(inputs, columns, fold, train=source)
    weights, own = ratio.weights_, case.domains.sample_weight
    if own is not None:
        rows = Inputs(inputs.linear[:n], inputs.trees[:n], inputs.categorical)
        weights = weights * own / expected_weight(rows, own, fold[:n])

    groups = {"groups": case.domains.groups, "groups_target": case.groups_target}

    def performance(values: np.ndarray, fitted: np.ndarray) -> PerformanceEstimate:
        positive, fitted = case.positive(values), case.positive(fitted)
        return doubly_robust(positive, weights, fitted[:n], fitted[n:], case.metric, **groups)

    gains, after = {}, {}
    for j, trial in enumerate(case.trials, 1):
        gains[trial.name] = under_covariate(
            values[j - 1] - base,
            weights,
            expected[:n, j],
            expected[n:, j],
            classes=case.counts,
            **groups,
        )
        after[trial.name] = performance(values[j - 1], expected[:, 0] + expected[:, j])
    before = performance(base, expected[:, 0])
    method, found = "doubly robust importance weighting", _findings(case, gains, after, before)
    uncovered = uncovered_share(case.report.verdict, case.report.overlap)
    if not uncovered:
        return Evidence(method, COVARIATE, before, found)
    doubt = f" On {uncovered:.0%} of the target rows the source has (nearly) none, and cannot say what it is there."
    return Evidence(method, where_covered(COVARIATE), before, _at_most_plausible(found, doubt))


def _groups_of_both(case: Case) -> np.ndarray | None:
    """Groups of the rows of both domains, source first; rows of a domain without groups stand alone."""
    source, target = case.domains.groups, case.groups_target
    n, n_target = len(case.domains.y), len(case.domains.labelled)
    if source is not None and target is not None:
        return np.unique(np.concatenate([source, target]), return_inverse=True)[1]
    if source is not None:
        return np.r_[np.unique(source, return_inverse=True)[1], n + np.arange(n_target)]
    if target is not None:
        return np.r_[np.arange(n), n + np.unique(target, return_inverse=True)[1]]
    return None


def by_prior(case: Case) -> Evidence:
    """Class-wise paired comparison under the estimated target prior, under label shift."""
    y, weight = case.domains.y, case.domains.sample_weight
    answers = answers_of(case.baseline)
    prior = target_prior(case)
    base = case.as_target(case.baseline)
    method = "label-shift risk with confidence as control"
    if prior is None:
        nothing = Finding("", "The model has no probabilities, from which the target prior is estimated.")
        return Evidence(method, LABEL, None, {trial.name: nothing for trial in case.trials})
    assert answers.source_proba is not None and answers.target_proba is not None
    right = prior.correct(answers.source_proba), prior.correct(answers.target_proba)
    keywords = {"weight": weight, "groups": case.domains.groups, "groups_target": case.groups_target}

    def sure(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
        """What the answers are worth by the probabilities of the target, at source and at target rows."""
        own = answers_of(trial)
        at_source = case.expected(right[0], own.on_source, own.on_source_proba)
        return at_source, case.expected(right[1], own.on_target, own.target_proba)

    def performance(values: np.ndarray, source: np.ndarray, target: np.ndarray) -> PerformanceEstimate:
        found = under_label_shift(values, y, prior, source, target, classes=case.counts, **keywords)
        if not case.counts:
            loss = max(-found.value, 0.0)
            ci = loss_interval(loss, found.se, max(found.rows - 1, 1))
            return PerformanceEstimate(method, case.metric, loss, ci, LABEL)
        value = float(np.clip(found.value, 0, 1))
        degrees = max(found.rows - 1, 1)
        ci = proportion_interval(value, found.se**2, len(y) + len(target), degrees=degrees)
        return PerformanceEstimate(method, case.metric, value, ci, LABEL)

    base_sure = sure(case.baseline)
    before = performance(base, *base_sure)
    gains, after, expected = {}, {}, {}
    for trial in case.trials:
        values = case.as_target(trial)
        own_sure = sure(trial)
        source, target = own_sure[0] - base_sure[0], own_sure[1] - base_sure[1]
        gains[trial.name] = under_label_shift(values - base, y, prior, source, target, classes=case.counts, **keywords)
        after[trial.name] = performance(values, *own_sure)
        expected[trial.name] = on_labels(target, classes=False, groups=case.groups_target)
    found = _findings(case, gains, after, before)
    worth = NOT_WORTH * case.unit(before)
    found = {name: _expected(f, gains[name], expected[name], worth) for name, f in found.items()}
    if case.report.test("p(y)") is None:  # no target labels show the change
        for trial in case.trials:
            if not gives_prior(trial.adapter):
                left = _unless_one_is_left(found[trial.name], prior)
                found[trial.name] = _if_all_are_answered(left, case, trial, prior)
    return Evidence(method, LABEL, before, {name: _if_it_fits(f, case.report) for name, f in found.items()})


def by_outcome_weights(case: Case) -> Evidence:
    """Paired comparison on source rows weighted by w(y), under label shift in regression.

    The weights are estimated from the predictions of the model as it is; their own error is not in the interval, so
    nothing is more than plausible.
    """
    y, own = case.domains.y.astype(float), case.domains.sample_weight
    own = np.ones(len(y)) if own is None else own / own.mean()
    answers = answers_of(case.baseline)
    rng = np.random.RandomState(case.seed)
    weights = own * outcome_weights(y, answers.own_source, answers.on_target, own, rng)[0]
    base = case.as_target(case.baseline)
    nothing = np.zeros(len(case.domains.labelled))
    before = _weighted(case, base, weights)
    gains, after = {}, {}
    for trial in case.trials:
        values = case.as_target(trial)
        gains[trial.name] = under_covariate(
            values - base, weights, np.zeros(len(y)), nothing, classes=False, groups=case.domains.groups
        )
        after[trial.name] = _weighted(case, values, weights)
    doubt = " The error of the weights is not counted."
    unsure = _at_most_plausible(_findings(case, gains, after, before), doubt)
    return Evidence("weighting by the distribution of y", LABEL, before, unsure)


def beside_rival(evidence: Evidence, rival: Evidence) -> Evidence:
    """Nothing for what would lose too much under the other explanation of x, covariate shift.

    Without target labels a numeric y leaves label and covariate shift hard to tell apart; what gains under the one must
    be worth `RIVAL` times what it loses under the other.
    """

    def judged(finding: Finding, other: Finding) -> Finding:
        assert finding.gain is not None and other.gain is not None
        loss = -min(other.gain.value, 0.0)
        if not finding.earned or finding.gain.value > RIVAL * loss:
            return finding
        lost = amounts(loss)[0]
        doubt = f" But if p(y|x) is what stayed, it loses {lost}: without labels that is too much of a risk."
        return replace(finding, earned="", reason=finding.reason + doubt)

    found = {name: judged(f, rival.findings[name]) for name, f in evidence.findings.items()}
    return replace(evidence, findings=found)


def _weighted(case: Case, values: np.ndarray, weights: np.ndarray) -> PerformanceEstimate:
    found = importance_weighted(case.positive(values), weights, case.metric, groups=case.domains.groups)
    return replace(found, method="weighting by the distribution of y", assumption=LABEL)


def gives_prior(adapter: Any) -> bool:
    """Whether the frequencies of the target's classes are the caller's, which no moved class can mislead."""
    return getattr(adapter, "prior", None) is not None and not hasattr(adapter.prior, "fit")


def _unless_one_is_left(finding: Finding, prior: PriorFit) -> Finding:
    """Nothing when label shift may have left the target a single class, and not the source, by x alone.

    A class that moved towards another one looks like one that became rare, and where only one seems to be left, no
    test can tell; the correction would answer that class whatever x is. A class that is rare, but surely there, is not
    what is left where classes moved.
    """
    only = prior.prior.argmax()
    others, before = 1 - prior.prior[only], 1 - prior.source_prior[only]
    there = others > norm.isf(LEVEL) * prior.covariance[only, only] ** 0.5
    if not finding.earned or others > OTHERS or others > VANISHED * before or there:
        return finding
    rest = f"all but {share(others)} of the target rows are {prior.classes[only]}"
    doubt = f" But label shift would mean that {rest}, or all of them: the classes may have moved."
    return replace(finding, earned="", reason=finding.reason + doubt)


def _if_all_are_answered(finding: Finding, case: Case, trial: Trial, prior: PriorFit) -> Finding:
    """No more than plausible when a class is hardly answered any more, for as often as it is estimated to occur.

    Where x says little about y, a small change of p(x|y), which no test sees, moves the estimated frequencies far, and
    the correction answers hardly anything but the class that seems frequent.
    """
    answers = (answers_of(t).on_target[:, None] == prior.classes for t in (case.baseline, trial))
    before, behind = (np.average(one, axis=0, weights=case.weight_target) for one in answers)
    least = HARDLY * prior.prior
    there = prior.prior * len(case.domains.labelled) >= EXPECTED
    dropped = prior.classes[there & (behind < least) & (least <= before)]
    if not finding.earned or not len(dropped):
        return finding
    named = and_join(map(str, dropped))
    doubt = f" But x says too little about y for it to find {named}, which it hardly answers any more."
    return replace(finding, earned="plausible", reason=finding.reason + doubt)


def _if_it_fits(finding: Finding, report: ShiftReport) -> Finding:
    """No more than plausible when label shift fits the target only just: the gain rests on that assumption."""
    fit = report.test("label-shift fit")
    if finding.earned != "verified" or fit is None or fit.pvalue >= DOUBTFUL_FIT:
        return finding
    doubt = f" Label shift fits the target only just (p = {fit.pvalue:.2g}), so this is not called verified."
    return replace(finding, earned="plausible", reason=finding.reason + doubt)


def _expected(finding: Finding, gain: Gain, expected: Gain, worth: float) -> Finding:
    """A gain that the calibrated probabilities expect and the labelled rows do not contradict is plausible."""
    lower = expected.lower(LEVEL)
    if finding.earned or lower <= worth or gain.value <= -gain.se:
        return finding
    likely, least, shown = amounts(expected.value, lower, gain.value, sign=True)
    reason = (
        f"Its calibrated probabilities expect a gain of {likely} on the target (lower bound {least}); the labelled "
        f"source rows are too few to show it, and do not contradict ({shown}, standard error {gain.se:.2g})."
    )
    return replace(finding, earned="plausible", reason=reason)


def target_prior(case: Case) -> PriorFit | None:
    """Class prior of the target from the cross-fitted probabilities of the model as it is."""
    answers = answers_of(case.baseline)
    if case.classes is None or answers.source_proba is None or answers.target_proba is None:
        return None
    known = None
    if case.domains.y_target is not None:
        known = case.domains.y_target.astype(object)
        known[~case.domains.labelled] = None
    return estimate_prior(
        answers.source_proba,
        case.domains.y,
        answers.target_proba,
        case.classes,
        y_target=known,
        weight_source=case.domains.sample_weight,
        groups_source=case.domains.groups,
        groups_target=case.groups_target,
    )


def would(gain: float) -> str:
    """How a gain near zero is put into words."""
    return "would not" if gain <= 0 else "would hardly"


def _findings(
    case: Case, gains: dict[str, Gain], after: dict[str, PerformanceEstimate], before: PerformanceEstimate
) -> dict[str, Finding]:
    """A candidate passes when the lower bound of its gain is above zero, all candidates counted."""
    level = LEVEL / max(len(gains), 1)
    unit, same = case.unit(before), _same(case)
    found = {}
    for name, gain in gains.items():
        lower = gain.lower(level)
        if not np.isfinite(lower):
            found[name] = Finding("", ONE_GROUP, gain.effect(), after[name], gain.value)
            continue
        value, least = amounts(gain.value, lower, sign=True)
        bound = f"one-sided {1 - level:.3g} lower bound {least}"
        if lower > 0:
            reason = f"Its gain of {value} is above zero ({bound})."
        elif name in same:
            reason = same[name]
        elif gain.value <= NEAR_ZERO * unit:
            reason = f"It {would(gain.value)} help this model: estimated gain {value} ({bound})."
        else:
            reason = f"Its gain of {value} cannot be told from zero ({bound})."
        found[name] = Finding("verified" if lower > 0 else "", reason, gain.effect(), after[name], gain.value, gain.se)
    return found


def _same(case: Case) -> dict[str, str]:
    """Candidates whose answers on the target are those of the model as it is, as far as they are judged."""
    own, found = answers_of(case.baseline), {}
    for trial in case.trials:
        answers = answers_of(trial)
        likely = (own.target_proba, answers.target_proba)
        as_likely = any(p is None for p in likely) or np.array_equal(*likely)  # type: ignore[arg-type]
        if np.array_equal(answers.on_target, own.on_target) and (as_likely or case.counts):
            found[trial.name] = SAME if as_likely else SAME_CLASSES
    return found


def beside_labels(guess: Evidence, labels: Evidence) -> Evidence:
    """What heuristics make plausible, where labels are too few to show it; what is worse on these does not pass.

    Every number is the one that the labels measured.
    """

    def both(finding: Finding, own: Finding) -> Finding:
        if finding.silent:
            return own
        assert own.gain is not None
        earned = "" if own.gain.value < 0 else finding.earned
        reason = f"{finding.reason} By the target labels: {own.reason[0].lower()}{own.reason[1:]}"
        return replace(finding, earned=earned, reason=reason, gain=own.gain, after=own.after)

    found = {name: both(finding, labels.findings[name]) for name, finding in guess.findings.items()}
    return replace(labels, assumption=guess.assumption, findings=found)


def best_known(assumed: Evidence, labels: Evidence, by_label: set[str]) -> dict[str, Finding]:
    """Of every candidate what is known more precisely, by the assumption or by the target labels alone.

    Those of `by_label`, which correct what only labels show, are judged by these, and no others where the labelled rows
    differ from the rest. What rests on the assumption must not have lost on them more than their number explains.
    """
    selected = labels.assumption == SELECTED

    def judged(name: str, finding: Finding) -> Finding:
        own = labels.findings[name]
        assert own.gain is not None
        if finding.gain is None or name in by_label:
            return own
        shown = finding.earned == "plausible" and own.earned == "verified"
        if not selected and (shown or _width(own.gain) < _width(finding.gain)):
            return own
        if not finding.earned or own.gain.ci is None or own.gain.ci[1] >= 0:
            return finding
        lost, least = amounts(-own.gain.value, -own.gain.ci[1])
        doubt = f" But on the labelled target rows it loses {lost} ({least} at least)."
        return replace(finding, earned="", reason=finding.reason + doubt)

    return {name: judged(name, finding) for name, finding in assumed.findings.items()}


def _width(gain: Effect) -> float:
    """Of the interval, which knows on how few rows it rests."""
    return np.inf if gain.ci is None else gain.ci[1] - gain.ci[0]


def without_shift(case: Case) -> PerformanceEstimate:
    """Performance on the source out of fold, which is that on the target when nothing shifted."""
    values = case.positive(case.as_source(case.baseline))
    weights = np.ones(len(values)) if case.domains.sample_weight is None else case.domains.sample_weight
    found = importance_weighted(values, weights, case.metric, groups=case.domains.groups)
    return PerformanceEstimate("cross-validation on the source", case.metric, found.value, found.ci, "no shift")


def fallback(case: Case) -> PerformanceEstimate | None:
    """Target performance of the model as it is, where no judge says more."""
    answers = answers_of(case.baseline)
    if not case.counts or answers.source_proba is None or answers.target_proba is None:
        return None
    correct = (answers.own_source == case.domains.y).astype(float)
    return average_confidence(
        answers.target_proba.max(axis=1),
        answers.source_proba.max(axis=1),
        correct,
        case.domains.sample_weight,
        groups=case.domains.groups,
        groups_target=case.groups_target,
    )
