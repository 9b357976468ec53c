"""The outcome of `adapt` as one page: the decision on top, then the page of the diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shift_detectors._html import picture, render, report_context, verdict_context

from . import _plot as plot
from . import _text as own

if TYPE_CHECKING:
    from da_toolkit.selection._result import AdaptationResult

TEMPLATES = "da_toolkit.report"


def result_to_html(result: AdaptationResult) -> str:
    """The whole page."""
    context = report_context(result.report) | decision_context(result)
    return render("result.html", TEMPLATES, **context, gains=_gains_picture(result))


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
        "candidates": [{"candidate": c, "gain": own.gain(c)} for c in result.candidates],
    }


def _gains_picture(result: AdaptationResult) -> Markup:
    drawn = result.candidates[: plot.MAX_CANDIDATES]
    alt = "Estimated gain of each candidate: " + ", ".join(f"{c.name} {own.gain(c)}" for c in drawn) + "."
    size = (4.4, 0.75 + 0.34 * max(1, len(drawn)))
    return picture("gains", alt, plot.draw_gains, drawn, result.metric, size=size)
