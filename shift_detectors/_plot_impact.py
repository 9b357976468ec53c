"""Pictures of what a shift does to a model: its performance, and where its loss comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _text as words
from ._display import Display, Row, draw_rows, name_rows, need, short_ticks
from ._errors import InputError
from ._results import Impact
from ._style import FAINT, INK, SOURCE, TARGET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._report import ShiftReport


class ImpactDisplay(Display):
    """Performance of the model on the source and, observed or estimated, on the target.

    Parameters
    ----------
    impact : Impact

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import Impact, PerformanceEstimate
    >>> impact = Impact("accuracy", PerformanceEstimate("source rows", "accuracy", 0.9, (0.88, 0.92), ""))
    >>> ImpactDisplay(impact).plot().ax_.get_xlabel()
    'accuracy'
    """

    title = "Performance of the model"

    def __init__(self, impact: Impact):
        self.impact = impact

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> ImpactDisplay:
        """Draw what a shift does to the model that `diagnose` was given."""
        return cls(need(report, "impact", "Pass a fitted estimator to diagnose.")).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 0.8 + 0.36 * (1 + (self.impact.target is not None) + len(self.impact.estimates))

    @property
    def alt(self) -> str:
        return " ".join(words.impact_sentences(self.impact))

    def _draw(self, ax: Axes) -> None:
        impact = self.impact
        rows = [Row("source", impact.source.value, impact.source.ci, color=SOURCE)]
        if impact.target is not None:
            rows.append(Row("target, labelled rows", impact.target.value, impact.target.ci, color=TARGET))
        rows += [Row(words.clean(e.method, 30), e.value, e.ci, color=TARGET, filled=False) for e in impact.estimates]
        draw_rows(ax, rows, words.clean(impact.metric))


class LossSplitDisplay(Display):
    """Why does the model lose? Its loss from source to target, split into a p(x) and a p(y|x) part.

    Each bar starts where the one above ends; the line is the 95 % interval of its length.

    Parameters
    ----------
    impact : Impact
        With target labels: both parts are there.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import Effect, Impact, PerformanceEstimate
    >>> accuracy = [PerformanceEstimate("", "accuracy", value, None, "") for value in (0.9, 0.8)]
    >>> parts = Effect("p(x) part", 0.08, (0.05, 0.11)), Effect("p(y|x) part", 0.02, (-0.01, 0.05))
    >>> LossSplitDisplay(Impact("accuracy", *accuracy, (), *parts)).plot().ax_.get_xlabel()
    'error rate'
    """

    title = "Where the loss comes from"

    def __init__(self, impact: Impact):
        if impact.target is None or impact.p_x_part is None or impact.p_y_given_x_part is None:
            raise InputError(
                "an impact without its two parts", "one measured with target labels", "Pass y_target to diagnose."
            )
        self.impact = impact
        ends = np.array([impact.source.value, impact.target.value])
        self.loss_source, self.loss_target = 1 - ends if impact.metric == "accuracy" else ends
        self.parts = impact.p_x_part, impact.p_y_given_x_part

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> LossSplitDisplay:
        """Draw the split of the loss that a report with an estimator and target labels has."""
        return cls(need(report, "impact", "Pass a fitted estimator to diagnose.")).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 2.1

    @property
    def alt(self) -> str:
        return words.split_sentence(*self.parts)

    def _draw(self, ax: Axes) -> None:
        at = [self.loss_source, self.loss_source + self.parts[0].value, self.loss_target]
        for k, value, color, face in ((0, at[0], SOURCE, SOURCE), (3, at[2], TARGET, TARGET)):
            ax.plot(value, k, "o", ms=7, mfc=face, mec=color, zorder=3)
        for k, (start, part) in enumerate(zip(at, self.parts, strict=False), start=1):
            ax.barh(k, part.value, left=start, height=0.42, color=FAINT, alpha=0.55, lw=0)
            if part.ci is not None and np.isfinite(part.ci).all():
                ax.plot(start + np.array(part.ci), [k, k], color=INK, lw=1.6, solid_capstyle="round")
            ax.text(
                1.02,
                k,
                words.signed(part),
                transform=ax.get_yaxis_transform(),
                va="center",
                fontsize=8,
                parse_math=False,
            )
        for k, value in enumerate(at):
            ax.plot([value, value], [k, k + 1], color=FAINT, lw=1, zorder=0)
        name_rows(ax, ["source", "due to p(x)", "due to p(y|x)", "target"])
        ax.spines["left"].set_visible(False)
        ax.use_sticky_edges = False
        ax.margins(x=0.08)
        ax.locator_params(axis="x", nbins=4)
        short_ticks(ax.xaxis)
        ax.set_xlabel("error rate" if self.impact.metric == "accuracy" else words.clean(self.impact.metric))
