"""The outcome of `adapt` in words: what every way of showing it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shift_detectors import _text as words
from shift_detectors._performance import SELECTED

if TYPE_CHECKING:
    from da_toolkit.selection._result import AdaptationResult, Candidate
    from shift_detectors._results import PerformanceEstimate

STATUSES = {
    "verified": "the gain was shown",
    "plausible": "heuristic scores speak for it and nothing contradicts, but the gain was not shown",
    "unverified": "used on request, without evidence of a gain",
    "unchanged": "no adapter earned its place",
}


def headline(result: AdaptationResult) -> str:
    """The decision in one line."""
    if result.adapter == "SourceOnly":
        return "Keep the model as it is"
    return {
        "verified": f"Use {result.adapter}: its gain on the target was shown",
        "plausible": f"Use {result.adapter}: a gain on the target is plausible",
    }.get(result.status, f"{result.adapter} was used without evidence that it helps")


def status(result: AdaptationResult) -> str:
    """What the status means here, with the assumption under which it holds."""
    condition = f", if {result.assumption}" if result.assumption else ""
    if result.assumption == SELECTED:
        return f"the gain was shown on the labelled target rows; it is one on the target{condition}"
    return f"{STATUSES[result.status]}{condition}"


def place(estimate: PerformanceEstimate | None) -> str:
    """Where the performance is that of an estimate."""
    chosen = estimate is not None and estimate.assumption == SELECTED
    return "on the labelled target rows" if chosen else "on the target"


def scores(result: AdaptationResult) -> str:
    """Estimated target performance before and after, nothing when neither was estimated."""
    if result.before is None:
        return ""
    before = f"Estimated {place(result.before)}: {words.performance_text(result.before)} for the model as it was"
    if result.adapter == "SourceOnly" or result.after is None:
        return f"{before} ({result.before.method})."
    after = words.measured(result.after.value, result.after.ci)
    return f"{before}, {after} for {result.adapter} ({result.after.method})."


def gain(candidate: Candidate) -> str:
    """A candidate's gain with its interval, a dash when it was not estimated."""
    return "–" if candidate.gain is None else words.signed(candidate.gain)


def result_to_text(result: AdaptationResult) -> str:
    """The decision, the candidates and the verdict behind it, in plain text."""
    lines = words.paragraph(f"{headline(result)}.")
    lines += words.paragraph(f"Status: {result.status} ({status(result)}).")
    lines += words.paragraph(scores(result))
    lines += ["", *words.paragraph(result.explanation)]
    if result.candidates:
        names = [words.clean(candidate.name, 30) for candidate in result.candidates]
        gains = [gain(candidate) for candidate in result.candidates]
        name_width, gain_width = max(map(len, names)), max(map(len, gains))
        lines += [
            "",
            f"Candidates (gain in {result.metric} over the model as it was, estimated on the target)",
        ]
        for name, gained, candidate in zip(names, gains, result.candidates, strict=True):
            row = f"  {name:<{name_width}}  {candidate.decision:<8}  {gained:<{gain_width}}  "
            lines += words.item(candidate.reason or " ", row) or [row.rstrip()]
    report = result.report
    lines += ["", *words.paragraph(f"Diagnosis: {words.headline(report)}; {report.verdict.strength}.")]
    for sentence in words.unknowns(report):
        lines += words.item(sentence)
    return "\n".join(lines)
