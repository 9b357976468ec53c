"""What `adapt` says: the table of the candidates, why one was chosen, what is known of the model as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binom

from shift_detectors._performance import SELECTED, beyond_support
from shift_detectors._report import ShiftReport
from shift_detectors._results import PerformanceEstimate
from shift_detectors._text import amounts, measured, pvalue, some
from shift_detectors._verdict import uncovered_share

from .._decision import last_step
from . import _guard as guarding
from ._candidates import SOURCE_ONLY
from ._crossfit import Trial
from ._evidence import Case, Evidence, Finding
from ._recommend import ALIGNED, LABELLED, MIN_LABELS, nothing_found
from ._result import Candidate, Recommendation

CONTRADICTS = 0.01  # p-value of an estimated accuracy on a few target labels up to which these deny it
RARE = 0.1  # share of a class below which accuracy is not about it


def performance_before(case: Case, evidence: Evidence | None, no_shift: bool) -> PerformanceEstimate | None:
    """Estimated target performance of a model that is left alone."""
    if case.n_judging >= MIN_LABELS and not case.report.labels_selected:
        return guarding.by_labels(replace(case, trials=())).before  # labels assume least
    if no_shift:
        return guarding.without_shift(case)
    judged = None if evidence is None else evidence.before
    return as_covered(judged or guarding.fallback(case), case.report)


def contradiction(case: Case, estimate: PerformanceEstimate | None) -> str:
    """What target labels that are too few to compare models on say against an accuracy of the model as it is.

    Empty where they do not contradict: an exact two-sided test at `CONTRADICTS` of the end of the interval that is next
    to them. Rows of one group, and weighted ones, are no such trials.
    """
    rows = np.flatnonzero(case.domains.labelled)
    alone = case.groups_target is None and case.weight_target is None
    if not 0 < len(rows) < MIN_LABELS or not (case.counts and alone) or estimate is None or estimate.ci is None:
        return ""
    right, (low, high) = case.labelled(case.baseline, rows).sum(), estimate.ci
    p = 2 * min(binom.cdf(right, len(rows), low), binom.sf(right - 1, len(rows), high))
    if p > CONTRADICTS:
        return ""
    return (
        f" The model is right on {right:.0f} of the {len(rows)} target labels, and an accuracy of "
        f"{measured(estimate.value, estimate.ci)} ({estimate.method}) is not believable beside that ({pvalue(p)}): "
        "p(y|x) changed, or these rows were chosen."
    )


def as_covered(estimate: PerformanceEstimate | None, report: ShiftReport) -> PerformanceEstimate | None:
    """What is known of a model's performance, when much of the target lies where the source has no rows."""
    if estimate is None or estimate.assumption in (LABELLED, SELECTED):
        return estimate  # labelled rows may lie anywhere
    return beyond_support(estimate, uncovered_share(report.verdict, report.overlap), report.n_target)


def candidate_table(
    case: Case,
    evidence: Evidence | None,
    name: str,
    status: str,
    refused: list[Trial],
    before: PerformanceEstimate | None,
) -> tuple[Candidate, ...]:
    """One row per candidate; the model as it is comes first."""
    found = {} if evidence is None else evidence.findings
    method = "" if evidence is None else evidence.method
    rows = [
        Candidate(
            SOURCE_ONLY,
            None if before is None else before.value,
            None,
            case.baseline.seconds,
            "chosen" if name == SOURCE_ONLY else "baseline",
            "The model as it is; nothing has earned its place." if name == SOURCE_ONLY else "The model as it is.",
            "" if before is None else before.method,
        )
    ]
    for trial in case.trials:
        finding = found.get(trial.name) or Finding("", "Nothing can be said about its gain without target labels.")
        reason = finding.reason
        if trial.name == name:
            reason += " Used on request." if status == "unverified" else ""
        elif finding.earned:
            better = name not in found or found[name].rank > finding.rank
            by = " by these scores" if evidence is not None and evidence.assumption == ALIGNED else ""
            reason += f" {name} does {'better' if better else 'as well, and comes first'}{by}."
        notes = [w for w in trial.warnings if "hardly overlap" in w or "takes no sample_weight" in w]
        rows.append(
            Candidate(
                trial.name,
                None if finding.after is None else finding.after.value,
                finding.gain,
                trial.seconds,
                "chosen" if trial.name == name else "dropped",
                " ".join([reason, *notes]),
                method if finding.after is None else finding.after.method,
            )
        )
    rows += [Candidate(t.name, None, None, t.seconds, "dropped", t.failure) for t in refused]
    return tuple(rows)


def explain(
    case: Case,
    evidence: Evidence | None,
    name: str,
    status: str,
    refused: list[Trial],
    recommendations: tuple[Recommendation, ...],
) -> str:
    kind = case.report.verdict.kind
    if status == "unverified":
        return f"{name} was used on request: guard=False, and no gain could be shown."
    if status == "verified":
        assert evidence is not None
        gain = evidence.findings[name].gain
        assert gain is not None and gain.ci is not None
        value, low, high = amounts(gain.value, *gain.ci, sign=case.counts)
        gains = f"gain {value} in" if case.counts else f"reduction by {value} of the"
        return (
            f"{name} raises the estimated performance on the target: {gains} {case.metric} ({evidence.method}), "
            f"95 % interval {low} to {high}. This holds under the assumption: {evidence.assumption}."
        )
    if status == "plausible":
        assert evidence is not None
        reason, labelled = evidence.findings[name].reason, case.report.n_labelled
        known = f"With so few target labels ({labelled})" if labelled else "Without target labels"
        known = "By labels of rows that were chosen by x" if case.report.labels_selected else known
        known = "Without labels of randomly chosen target rows" if case.report.labels_by_y else known
        return (
            f"{name} is plausible: {reason[0].lower()}{reason[1:]} {known} its gain cannot be verified; it rests on: "
            f"{evidence.assumption}. {_to_label(case.report)}"
        )
    if kind == "none":
        beside = f" outside {some(case.report.separators)}" if case.report.separators else ""
        return f"{nothing_found(case.report)}{beside}, so the model was left alone and nothing was tried."
    if not case.trials:
        if refused:
            return f"The model was left alone. {refused[0].name} could not be used: {refused[0].failure}"
        return f"The model was left alone. {recommendations[0].reason}"
    if evidence is None:
        return "The model was left alone: without target labels no gain can be shown under this shift."
    best = max(evidence.findings, key=lambda key: evidence.findings[key].rank)
    finding = evidence.findings[best]
    if finding.gain is not None and finding.gain.ci is not None and finding.after is not None:
        gain, weighting = finding.gain, best.startswith("ImportanceWeighting")
        if finding.reason in (guarding.SAME, guarding.SAME_CLASSES):
            return f"The model was left alone. {best}: {finding.reason[0].lower()}{finding.reason[1:]}"
        if gain.value <= guarding.NEAR_ZERO * case.unit(evidence.before):
            weights = "Weights" if weighting else best
            where = f"estimated gain {amounts(gain.value, sign=True)[0]} in {case.metric} ({finding.after.method})"
            why = "there is a shift, but weights that favour the target's rows make no better model of this kind"
            return (
                f"{weights} {guarding.would(gain.value)} help this model: {where}. The model was left alone"
                f"{f'; {why}' if weighting else ''}.{_rare(case)}"
            )
    return f"The model was left alone: {best} did not earn its place. {finding.reason}"


def _rare(case: Case) -> str:
    """A word on a class so rare that accuracy is nearly what the others make it."""
    if not case.counts:
        return ""
    classes, counts = np.unique(case.domains.y, return_counts=True)
    if counts.min() >= RARE * counts.sum():
        return ""
    share = counts.min() / counts.sum()
    return (
        f" Accuracy sees little of a class as rare as {classes[counts.argmin()]} ({share:.1%}): "
        'scoring="neg_log_loss" judges the probabilities.'
    )


def unused_labels(case: Case, status: str) -> str:
    """A word on target labels that nothing was compared on."""
    labels = int(case.domains.labelled.sum())
    if labels and not case.n_judging:
        return f" All {labels} target labels belong to one group, which says nothing about the others: none was used."
    if not 0 < labels < MIN_LABELS or status == "plausible":  # plausible: said there
        return ""
    return f" {labels} target labels are too few to compare models on; {MIN_LABELS} or more are used for it."


def selected_labels(report: ShiftReport) -> str:
    """A word on target labels that do not speak for the target."""
    if not report.labels_selected:
        return ""
    if report.labels_by_y:
        return (
            f" The {report.n_labelled} target labels were not used: their rows differ from the others in x, and may "
            "have been chosen by y. Labels of randomly chosen rows would speak for the target."
        )
    return (
        " The labelled target rows differ from the others in x: what is measured on them holds for rows like them. "
        "Labels of randomly chosen rows, or weights that undo how they were chosen (sample_weight_target), would speak "
        "for the target."
    )


def class_weights_dropped(name: str, estimator: Any) -> str:
    """A word on weights of classes, which go with the correction of their frequencies."""
    given = {k: v for k, v in last_step(estimator).get_params().items() if k.endswith("class_weight")}
    weighed = next((v for v in given.values() if v is not None), None)
    if name != "PriorCorrection" or weighed is None:
        return ""
    return (
        f" The model was fitted with class_weight={weighed!r}; {name} answers by the frequencies of the target and "
        "takes that back, so that rare classes are answered less often."
    )


def gains(gain: float) -> str:
    """An estimated gain as what it is."""
    return f"loses {amounts(-gain)[0]}" if gain < 0 else f"gains {amounts(gain, sign=True)[0]}"


def _to_label(report: ShiftReport) -> str:
    """How many labels would check a plausible gain, those that there are counted if they speak for the target."""
    budget, labelled = report.label_budget().labels, 0 if report.labels_selected else report.n_labelled
    if budget is not None and not labelled:
        return f"Label {budget} randomly chosen target rows to check it."
    if budget is None and report.shared_noise is not None:
        return "Labelled target rows of further groups would check it."
    if budget is None or budget <= labelled:
        return "More randomly chosen target rows with labels would check it."
    return f"Label {budget - labelled} more randomly chosen target rows, {budget} in all, to check it."
