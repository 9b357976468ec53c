"""The outcome of `adapt` as one page: the decision on top, then the page of the diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shift_detectors._display import Display
from shift_detectors._html import picture, render, report_context, verdict_context

from . import _plot as plot
from . import _text as own
from ._embedding import EmbeddingDisplay

if TYPE_CHECKING:
    from da_toolkit.selection._result import AdaptationResult

TEMPLATES = "da_toolkit.report"


def result_to_html(result: AdaptationResult) -> str:
    """The whole page."""
    context = report_context(result.report) | decision_context(result)
    displays = result_displays(result)
    drawn = {name: picture(name, display) for name, display in displays.items()}
    return render("result.html", TEMPLATES, **context, drawn=drawn)


def result_displays(result: AdaptationResult) -> dict[str, Display]:
    """A display, of one panel, of every part that the result has."""
    displays: dict[str, Display] = {}
    if result.candidates:
        displays["gains"] = plot.CandidatesDisplay(result.candidates, result.metric)
    if result.before is not None or result.after is not None:
        displays["scores"] = plot.BeforeAfterDisplay(result.before, result.after, result.adapter, result.metric)
    if result.embedding is not None:
        displays["map_before"], displays["map_after"] = EmbeddingDisplay(result.embedding).sides
    return displays


def result_to_snippet(result: AdaptationResult) -> str:
    """A short piece of HTML for notebooks: the decision and the candidates."""
    return render("result_snippet.html", TEMPLATES, **(verdict_context(result.report) | decision_context(result)))


def decision_context(result: AdaptationResult) -> dict[str, Any]:
    """What the decision's part of the page says."""
    return {
        "result": result,
        "decision": own.headline(result),
        "status_meaning": own.status(result),
        "scores": own.scores(result),
        "place": own.place(result.before or result.after),
        "candidates": [{"candidate": c, "gain": own.gain(c)} for c in result.candidates],
    }
