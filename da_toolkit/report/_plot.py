"""Pictures of the outcome of `adapt`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shift_detectors import _plot as plot
from shift_detectors import _text as words
from shift_detectors._display import Display, Row, draw_rows
from shift_detectors._errors import InputError
from shift_detectors._style import FAINT, TARGET

from . import _text as own

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from da_toolkit.selection._result import AdaptationResult, Candidate
    from shift_detectors._results import PerformanceEstimate

MAX_CANDIDATES = 20


class CandidatesDisplay(Display):
    """Which adapter gains? Every candidate's gain over the model as it was, with its interval.

    The chosen one is filled. Right of the line is better than the model as it was.

    Parameters
    ----------
    candidates : sequence of Candidate
        The first 20 are drawn.
    metric : str

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from da_toolkit.selection._result import Candidate
    >>> from shift_detectors import Effect
    >>> best = Candidate("CORAL", 0.8, Effect("gain", 0.1, (0.05, 0.15)), 1.0, "chosen", "Its gain was shown.")
    >>> CandidatesDisplay([best], "accuracy").plot().ax_.get_xlabel()
    'gain in accuracy on the target, estimated'
    """

    title = "Candidates"
    domains: ClassVar[bool] = False

    def __init__(self, candidates: Sequence[Candidate], metric: str):
        self.candidates = candidates
        self.metric = metric

    @classmethod
    def from_result(cls, result: AdaptationResult, *, ax: Any = None) -> CandidatesDisplay:
        """Draw the candidates of a result of `adapt`."""
        return cls(result.candidates, result.metric).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 0.75 + 0.34 * max(1, min(len(self.candidates), MAX_CANDIDATES))

    @property
    def alt(self) -> str:
        gains = ", ".join(f"{c.name} {own.gain(c)}" for c in self.candidates[:MAX_CANDIDATES])
        return f"Estimated gain of each candidate: {gains}."

    def _draw(self, ax: Axes) -> None:
        rows = [
            Row(
                words.squeeze(c.name, 30),
                None if c.gain is None else c.gain.value,
                None if c.gain is None else c.gain.ci,
                note=c.decision,
                filled=c.decision == "chosen",
                remark=""
                if c.decision == "baseline" or (c.gain is not None and math.isfinite(c.gain.value))
                else "not estimated",
            )
            for c in self.candidates[:MAX_CANDIDATES]
        ]
        ax.axvline(0, color=FAINT, lw=1.2)
        draw_rows(ax, rows, _lines(f"gain in {words.clean(self.metric)} on the target, estimated"))


class BeforeAfterDisplay(Display):
    """Estimated target performance of the model as it was (hollow) and of the one that was returned.

    Parameters
    ----------
    before, after : PerformanceEstimate or None
        One of them at least.
    adapter, metric : str

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import PerformanceEstimate
    >>> before, after = (PerformanceEstimate("", "accuracy", value, None, "") for value in (0.7, 0.8))
    >>> display = BeforeAfterDisplay(before, after, "CORAL", "accuracy").plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['as it was', 'CORAL']
    """

    title = "Before and after"
    domains: ClassVar[bool] = False

    def __init__(
        self, before: PerformanceEstimate | None, after: PerformanceEstimate | None, adapter: str, metric: str
    ):
        if before is None and after is None:
            raise InputError("a result without estimates", "one with before or after", "Draw CandidatesDisplay.")
        self.before = before
        self.after = after
        self.adapter = adapter
        self.metric = metric

    @classmethod
    def from_result(cls, result: AdaptationResult, *, ax: Any = None) -> BeforeAfterDisplay:
        """Draw the performance before and after of a result of `adapt`."""
        return cls(result.before, result.after, result.adapter, result.metric).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 1.5

    @property
    def alt(self) -> str:
        estimates = {"as it was": self.before, self.adapter: self.after}
        found = [f"{name} {words.performance_text(e)}" for name, e in estimates.items() if e is not None]
        return f"Estimated performance {own.place(self.before or self.after)}: {', '.join(found)}."

    def _draw(self, ax: Axes) -> None:
        rows = []
        if self.before is not None:
            rows.append(Row("as it was", self.before.value, self.before.ci, color=TARGET, filled=False))
        if self.after is not None:
            rows.append(Row(words.squeeze(self.adapter, 24), self.after.value, self.after.ci, color=TARGET))
        draw_rows(ax, rows, _lines(f"{words.clean(self.metric)} {own.place(self.before or self.after)}, estimated"))


def _lines(label: str) -> str:
    """A label in lines that are no longer than the picture is wide."""
    return textwrap.fill(label, 42)


def plot_result(result: AdaptationResult) -> Figure:
    """Draw gains, performance before and after, and the evidence of the diagnosis on one figure."""
    from shift_detectors._figure import Panel, assemble

    panels = [Panel(CandidatesDisplay(result.candidates, result.metric), columns=2)]
    if result.before is not None or result.after is not None:
        panels.append(Panel(BeforeAfterDisplay(result.before, result.after, result.adapter, result.metric)))
    panels.append(Panel(plot.EffectsDisplay(result.report), columns=2))
    panels.append(Panel(plot.OverlapDisplay(result.report.overlap)))
    subtitle = f"Status: {result.status} ({own.status(result)}). {own.scores(result)} {result.explanation}"
    return assemble(own.headline(result), subtitle, panels)
