"""``da-toolkit diagnose``, and the gate of ``--fail-on``."""

from __future__ import annotations

import argparse
from typing import Any

from shift_detectors._columns import IDENTIFIER
from shift_detectors._text import quoted, some

from ._input import check_outputs, in_pieces, name_pair, read_pair, trusted_model
from ._output import FOUND, OK, progress, say, show

# the words of --fail-on, and the quantity that each one names, whatever the verdict
SHIFTS = {
    "covariate": "p(x)",
    "label": "p(y)",
    "conditional": "p(x|y)",
    "concept": "p(y|x)",
    "mixed": None,
    "support": None,
    "any": None,
}

NEED_LABELS = ("conditional", "concept", "mixed")  # never found without target labels


def diagnose(options: argparse.Namespace) -> int:
    """Which distributions differ between two tables."""
    check_outputs((options.source, options.target, options.estimator), options.json, options.report)
    data, keywords = name_pair(options) if in_pieces(options.source, options.target) else read_pair(options)
    estimator = None if options.estimator is None else trusted_model(options.estimator, options.quiet)

    from shift_detectors import diagnose as diagnose_tables

    report = diagnose_tables(
        *data,
        estimator=estimator,
        task=options.task,
        alpha=options.alpha,
        exclude=options.exclude,
        random_state=options.random_state,
        progress=progress(options),
        **keywords,
    )
    show(report, options)
    for note in report.notes if options.fail_on else ():
        if IDENTIFIER in note:
            say(f"da-toolkit: --fail-on: {note}")
    for unseen in _unseen(report, options.fail_on):
        say(f"da-toolkit: --fail-on: {unseen}")
    hit = _gate(report, options.fail_on)
    if hit:
        say(f"da-toolkit: --fail-on: found {hit}", options.quiet)
    return FOUND if hit else OK


def _gate(report: Any, words: list[str]) -> str:
    """The found shift when one of `words` names it, else an empty string.

    Whatever the verdict is called, a word names its quantity, too: a gate for concept shift must not open because p(x)
    changed as well. "any" closes on a column that was set aside, too, as it may be a broken sensor, and on a class that
    only the target has.
    """
    kind = report.verdict.kind
    if kind == "none":
        return "; ".join(_beside(report)) if "any" in words else ""
    if not any(word in (kind, "any") or SHIFTS[word] in report.shifts for word in words):
        return ""
    return f"{kind} shift ({report.verdict.strength}): what differs is {', '.join(sorted(report.shifts))}"


def _unseen(report: Any, words: list[str]) -> list[str]:
    """What a gate that names `words` cannot see, in sentences: it may be open because of that."""
    verdict = report.verdict
    said = [] if "any" in words or not words else [f"only 'any' stops at {found}" for found in _beside(report)]
    labelled = report.test("p(y|x)") is not None and not report.labels_by_y
    unknown = {word for word, quantity in SHIFTS.items() if quantity in verdict.untestable}
    if "p(y|x)" in verdict.untestable:
        unknown |= {"mixed"} if labelled else set(NEED_LABELS)
    if "p(x)" in verdict.untestable:
        unknown |= {"support"} if labelled else set(words)
    blind = [word for word in words if word in unknown and SHIFTS[word] not in report.shifts]
    if blind:
        support = verdict.kind == "support"
        by = "x or y" if report.labels_by_y else "x"
        chosen = f"the labelled rows were chosen by {by}" if report.labels_selected else "there are too few groups"
        why = "the target lies where the source has no rows" if support else chosen
        known = labelled or report.labels_by_y or "p(x)" in verdict.untestable
        said.append(f"{', '.join(blind)} cannot be found {f'({why})' if known else 'without labels in TARGET'}")
    return said


def _beside(report: Any) -> list[str]:
    """What is known to differ, and no part of the verdict."""
    found = []
    if report.separators:
        alone = some(report.separators, 30)
        found.append(f"what tells SOURCE and TARGET apart alone: {alone} (--exclude identifiers and dates)")
    if report.verdict.kind == "none" and report.prior is not None and report.prior.new_classes:
        found.append(f"classes that only TARGET has: {some(map(quoted, report.prior.new_classes), 30)}")
    return found
