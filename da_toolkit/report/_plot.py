"""Pictures of the outcome of `adapt`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shift_detectors import _plot as plot
from shift_detectors import _text as words
from shift_detectors._plot import Panel, Row
from shift_detectors._style import FAINT, TARGET

from . import _text as own

if TYPE_CHECKING:
    from da_toolkit.selection._result import AdaptationResult, Candidate

MAX_CANDIDATES = 20


def draw_gains(ax: Axes, candidates: Sequence[Candidate], metric: str) -> Axes:
    """Gain of each candidate over the model as it was, with its interval; the chosen one is filled."""
    rows = [
        Row(
            words.clean(c.name, 26),
            None if c.gain is None else c.gain.value,
            None if c.gain is None else c.gain.ci,
            note=c.decision,
            filled=c.decision == "chosen",
            remark=""
            if c.decision == "baseline" or (c.gain is not None and math.isfinite(c.gain.value))
            else "not estimated",
        )
        for c in candidates[:MAX_CANDIDATES]
    ]
    ax.axvline(0, color=FAINT, lw=1.2)
    return plot.draw_rows(ax, rows, f"gain in {words.clean(metric)} on the target, estimated")


def draw_scores(ax: Axes, result: AdaptationResult) -> Axes:
    """Estimated target performance of the model as it was and of the one that was returned."""
    rows = []
    if result.before is not None:
        rows.append(Row("as it was", result.before.value, result.before.ci, color=TARGET, filled=False))
    if result.after is not None:
        rows.append(Row(words.clean(result.adapter, 22), result.after.value, result.after.ci, color=TARGET))
    return plot.draw_rows(ax, rows, f"{words.clean(result.metric)} on the target, estimated")


def plot_result(result: AdaptationResult) -> Figure:
    """Draw gains, performance before and after, and the evidence of the diagnosis on one figure."""
    panels = [Panel("Candidates", draw_gains, (result.candidates, result.metric), columns=2)]
    if result.before is not None or result.after is not None:
        panels.append(Panel("Before and after", draw_scores, (result,)))
    panels.append(Panel("What differs, and how much", plot.draw_tests, (result.report,), columns=2))
    panels.append(Panel("Overlap", plot.draw_overlap, (result.report.overlap,)))
    subtitle = f"Status: {result.status} ({own.status(result)}). {own.scores(result)} {result.explanation}"
    return plot.assemble(own.headline(result), subtitle, panels)
