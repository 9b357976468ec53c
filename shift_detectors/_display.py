"""What every picture is: an object that holds its numbers and draws them on any axes.

Nothing here imports matplotlib before something is drawn, so that the displays can stand in the package's
namespace. Figures are made without pyplot: no backend is chosen, nothing is registered, and no setting of matplotlib
outlives the call.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._errors import InputError
from ._style import FAINT, INK, SOURCE, TARGET, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from ._report import ShiftReport

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Display:
    """Base of the displays.

    In scikit-learn's manner: ``from_report``, ``from_estimator`` or ``from_result`` computes the numbers and draws
    them, the constructor takes numbers that are there already, and `plot` draws (again). In a notebook a display
    shows itself.

    A subclass sets `title`, `size` and implements ``_draw(ax)``; one of several panels names them in `panels` and gets
    as many axes.

    Attributes
    ----------
    ax_ : matplotlib Axes, or array of them
        What was drawn on.
    figure_ : matplotlib Figure
    """

    title: str = ""
    subtitle: str = ""
    panels: ClassVar[tuple[str, ...]] = ("",)
    domains: ClassVar[bool] = True  # whether the colours of source and target are in the picture
    ax_: Any
    figure_: Any

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches that suit the picture, for one panel."""
        return 4.4, 2.4

    @property
    def alt(self) -> str:
        """The picture in words, for those who do not see it."""
        return f"{self.title}."

    def plot(self, ax: Any = None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of them for more than one panel, optional
            Where to draw; title and legend are then yours. None: a figure of its own, with both.

        Returns
        -------
        self
        """
        with style():
            if ax is None:
                axes = self._new_axes()
            else:
                axes = np.ravel(np.array(ax, dtype=object))
                if len(axes) != len(self.panels):
                    raise InputError(
                        f"{len(axes)} axes for {type(self).__name__}", f"{len(self.panels)}", "Or leave ax out."
                    )
                for each in axes:
                    each.spines[["top", "right"]].set_visible(False)
            self._draw(*axes)
        self.ax_ = axes[0] if len(axes) == 1 else axes
        self.figure_ = axes[0].figure.figure  # the whole one, where the axes stand on a subfigure
        return self

    def _draw(self, *axes: Axes) -> None:
        raise NotImplementedError

    def _new_axes(self) -> Any:
        from ._figure import ReportFigure, legend_handles

        width, height = self.size
        figure = ReportFigure(
            figsize=(width * len(self.panels), height + 0.3 + 0.25 * self.domains),
            facecolor="white",
            layout="constrained",
        )
        axes = figure.subplots(1, len(self.panels), squeeze=False)[0]
        for each, name in zip(axes, self.panels, strict=True):
            set_heading(each, name or self.title, self.subtitle)
        if self.domains:
            figure.legend(handles=legend_handles(), loc="outside lower left", ncols=2)
        return axes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r})"

    def _repr_png_(self) -> bytes:
        if not hasattr(self, "figure_"):
            self.plot()
        buffer = io.BytesIO()
        self.figure_.savefig(buffer, format="png")
        return buffer.getvalue()


def need(report: ShiftReport, part: str, remedy: str) -> Any:
    """A part of a report; an error that says how to get it when it is not there."""
    value = getattr(report, part)
    if value is None:
        raise InputError(f"a report without {part}", f"one that has {part}", remedy)
    return value


@dataclass(frozen=True)
class Row:
    """One row of `draw_rows`: a value with its interval, filled when it counts, or a remark in its place."""

    label: str
    value: float | None
    ci: tuple[float, float] | None = None
    note: str = ""
    color: str = INK
    filled: bool = True
    grey: tuple[float, float] | None = None
    zero: float | None = None
    remark: str = ""


def draw_rows(ax: Axes, rows: Sequence[Row], xlabel: str, limits: tuple[float, float] | None = None) -> None:
    """Draw values with intervals, one row each: grey band where a value is negligible, note on the right."""
    for k, row in enumerate(rows):
        if row.grey is not None:
            ax.barh(k, row.grey[1] - row.grey[0], left=row.grey[0], height=0.62, color=FAINT, alpha=0.28, lw=0)
        if row.zero is not None:
            ax.plot([row.zero] * 2, [k - 0.31, k + 0.31], color=FAINT, lw=1.2)
        if row.value is not None and math.isfinite(row.value):
            if row.ci is not None and np.isfinite(row.ci).all():
                ax.plot(row.ci, [k, k], color=row.color, lw=2.2, solid_capstyle="round", zorder=2)
            face = row.color if row.filled else "white"
            ax.plot(row.value, k, "o", ms=6.5, mfc=face, mec=row.color, mew=1.4, zorder=3)
        ax.text(0.01, k, row.remark, transform=ax.get_yaxis_transform(), va="center", fontsize=8, parse_math=False)
        ax.text(1.02, k, row.note, transform=ax.get_yaxis_transform(), va="center", fontsize=8, parse_math=False)
    name_rows(ax, [row.label for row in rows])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4)
    if limits is not None:
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, limits[0]), max(high, limits[1]))
    short_ticks(ax.xaxis)
    ax.set_xlabel(xlabel, parse_math=False)


def set_heading(ax: Axes, title: str, subtitle: str = "") -> None:
    """A title, and below it lines in plain type."""
    lines = subtitle.count("\n") + 1 if subtitle else 0
    ax.set_title(title, parse_math=False, pad=6 + 12 * lines)
    ax.annotate(subtitle, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8.5, parse_math=False)


def name_rows(ax: Axes, names: Sequence[str], **text: Any) -> None:
    """Rows 0, 1, ... from top to bottom, each with its name."""
    ax.set_yticks(range(len(names)), names, parse_math=False, **text)
    ax.set_ylim(max(len(names), 1) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)


def draw_pair(ax: Axes, k: int, source: Any, target: Any, ci: Any) -> None:
    """Row k: a frequency in the source and in the target, with the interval of the latter unless it is None or NaN."""
    ax.plot([source, target], [k, k], color=FAINT, lw=1, zorder=1)
    ax.plot(source, k, "o", ms=7, color=SOURCE, alpha=0.75, mew=0, zorder=2)
    if ci is not None and np.isfinite(ci).all():
        ax.plot(ci, [k, k], color=TARGET, lw=2.2, solid_capstyle="round", zorder=3)
    ax.plot(target, k, "D", ms=5.5, mfc="white", mec=TARGET, mew=1.6, zorder=4)


def share_axis(ax: Axes, xlabel: str) -> None:
    """A horizontal axis of frequencies, from zero on."""
    ax.set_xlim(left=min(0, ax.get_xlim()[0]))
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(as_percent)
    ax.set_xlabel(xlabel)


def draw_histogram(ax: Axes, values: np.ndarray, edges: np.ndarray, color: str, fill: bool) -> None:
    """Shares per bin: the source filled, the target as an outline, so that they can be told apart in grey, too."""
    if fill:
        ax.stairs(values, edges, fill=True, color=color, alpha=0.4, lw=0)
    ax.stairs(values, edges, color=color, lw=0.8 if fill else 1.7)


def draw_points(ax: Axes, source: np.ndarray, target: np.ndarray, source_size: Any = 11.0) -> None:
    """Rows of both samples in the plane: source filled, target as rings."""
    look: dict[str, Any] = {"rasterized": True}
    ax.scatter(*source.T, s=source_size, color=SOURCE, alpha=0.45, lw=0, **look)
    ax.scatter(*target.T, s=11, facecolors="none", edgecolors=TARGET, alpha=0.7, lw=0.8, **look)
    ax.set_xticks([])
    ax.set_yticks([])


# formatters of axes: plain functions, so that figures can be pickled


def as_percent(value: float, _position: float) -> str:
    """0.25 as "25%"."""
    return f"{100 * value:.0f}%"


def as_points(value: float, _position: float) -> str:
    """0.25 as "25"."""
    return f"{100 * value:.0f}"


def as_number(value: float, _position: float) -> str:
    """1000.0 as "1,000", 0.1 as "0.1"."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def as_short(value: float, _position: float, zero: float = 0.0) -> str:
    """1500000.0 as "1.5M", 2000.0 as "2k", 2e-06 as "2e-06"; what is not beyond `zero` as "0"."""
    if abs(value) <= zero:
        return "0"
    size, unit = next((pair for pair in UNITS if abs(value) >= pair[0]), (1.0, ""))
    return f"{value / size:.10g}{unit}".replace("-", "\N{MINUS SIGN}")


def short_ticks(axis: Axis) -> None:
    """Short numbers on an axis of very large or small values: a common exponent would stand in the label's way."""
    largest = max(abs(end) for end in axis.get_view_interval())
    if not 1e-4 <= largest < 1e4:
        axis.set_major_formatter(partial(as_short, zero=1e-9 * largest))


def hide_counts(ax: Axes) -> None:
    """No numbers on a vertical axis whose heights only compare."""
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(bottom=0)
