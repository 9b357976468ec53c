"""Figures of several panels, made without pyplot."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from . import _text as words
from ._display import Display, set_heading
from ._style import SOURCE, TARGET, style


class ReportFigure(Figure):
    """A matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True)
class Panel:
    """One panel of a figure: a display of one panel, one or more columns wide."""

    display: Display
    columns: int = 1


def legend_handles() -> list:
    """Handles of the legend: source and target."""
    return [
        Patch(facecolor=SOURCE, alpha=0.5, edgecolor=SOURCE, label="source"),
        Patch(facecolor="none", edgecolor=TARGET, lw=1.7, label="target"),
    ]


def assemble(title: str, subtitle: str, panels: Sequence[Panel], legend: bool = True) -> Figure:
    """Put panels on rows of three columns under a headline."""
    cells, row, column = [], 0, 0
    for panel in panels:
        if column + panel.columns > 3:
            row, column = row + 1, 0
        cells.append((row, column, panel))
        column += panel.columns
    heading = textwrap.wrap(words.clean(title, 200), 92)
    body = textwrap.wrap(words.clean(subtitle, 1200), 175)
    head = 0.3 * len(heading) + 0.19 * len(body) + 0.45
    heights = [head, *[2.6] * (row + 1)]
    with style():
        figure = ReportFigure(figsize=(12, sum(heights)), facecolor="white", layout="constrained")
        figure.get_layout_engine().set(w_pad=0.13, h_pad=0.1)  # type: ignore[union-attr]
        grid = figure.add_gridspec(row + 2, 3, height_ratios=heights, wspace=0, hspace=0)
        top = figure.add_subfigure(grid[0, :], facecolor="none")
        line = 0.3 * len(heading) / head
        top.text(0.012, 0.93, "\n".join(heading), fontsize=15, fontweight="bold", va="top", parse_math=False)
        top.text(0.012, 0.9 - line, "\n".join(body), va="top", linespacing=1.4, parse_math=False)
        if legend:
            top.legend(handles=legend_handles(), loc="lower left", bbox_to_anchor=(0.004, -0.02), ncols=2)
        for row, column, panel in cells:
            # a figure of its own, so that long labels in one panel take no room from the others
            part = figure.add_subfigure(grid[row + 1, column : column + panel.columns], facecolor="none")
            ax = part.add_subplot()
            panel.display.plot(ax)
            set_heading(ax, panel.display.title, panel.display.subtitle)
    return figure
