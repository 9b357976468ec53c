"""The picture of a monitor: evidence over the batches, and the level at which it becomes an alarm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from . import _text as words
from ._figure import ReportFigure
from ._style import FAINT, INK, TARGET, style

# Okabe and Ito (2008) without yellow, which is too pale for a line
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FLOOR, CEILING = -4.0, 12.0  # powers of ten that are drawn


def draw_evidence(
    ax: Axes | None, history: np.ndarray, names: list[str], threshold: float, alarms: np.ndarray, top: int
) -> Axes:
    """Draw the curves.

    Parameters
    ----------
    ax : Axes or None
    history : ndarray of shape (n_points, 1 + n_sources)
        Batch, and log evidence of every source.
    names : list of str
    threshold : float
        log(1 / alpha).
    alarms : ndarray of int, shape (n_sources,)
        The batch at which a source raised an alarm, 0 for none.
    top : int
        Sources drawn in colour, by their largest evidence; the others are grey.
    """
    with style():
        if ax is None:  # a figure without pyplot registers nothing
            figure = ReportFigure(figsize=(8.5, 3.8), facecolor="white", layout="constrained")
            return _draw(figure.add_subplot(), history, names, threshold, alarms, top)
        return _draw(ax, history, names, threshold, alarms, top)


def _draw(ax: Axes, history: np.ndarray, names: list[str], threshold: float, alarms: np.ndarray, top: int) -> Axes:
    batch, whole = history[:, 0], history[:, 1:] / math.log(10)
    curves = np.clip(whole, FLOOR, CEILING)
    level = threshold / math.log(10)
    order = np.argsort(-whole.max(axis=0, initial=FLOOR), kind="stable")
    for k in order[top:]:
        ax.plot(batch, curves[:, k], color=FAINT, lw=0.7, alpha=0.45, zorder=1)
    ax.axhline(level, color=INK, lw=1, ls=(0, (4, 3)), zorder=2)
    labels = []
    for k, color in zip(order[:top], COLORS * (1 + top // len(COLORS)), strict=False):
        ax.plot(batch, curves[:, k], color=color, lw=1.8, zorder=4, solid_joinstyle="round")
        if len(batch):
            labels.append((max(float(whole[-1, k]), FLOOR), words.clean(names[k], 30), color))
    raised = alarms[alarms > 0]
    highest = max(float(curves.max(initial=FLOOR)), level)
    ax.set_ylim(float(np.clip(curves.min(initial=level - 2), FLOOR, level - 2)), highest + 0.12 * (highest + 3))
    if raised.size:
        first = int(raised.min())
        ax.axvline(first, color=TARGET, lw=1, alpha=0.5, zorder=1)
        ax.annotate(
            f"alarm at batch {first:,}",
            (first, 1),
            (-4, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if first > 0.25 * batch[-1] else "left",
            va="top",
            color=TARGET,
            fontsize=8.5,
        )
    ax.annotate(
        f"alarm from 1/alpha = {words.number(math.exp(threshold))}",
        (0, level),
        (4, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=8.5,
    )
    _label_ends(ax, sorted(labels))
    ax.set_xlim(0, max(float(batch[-1]) if len(batch) else 1.0, 1.0))
    ax.set_xlabel("batch")
    ax.set_ylabel("evidence")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(_power))
    ax.set_title("Evidence that something changed since the reference")
    return ax


def _label_ends(ax: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Names at the right ends of the curves, moved apart where they would overlap."""
    low, high = ax.get_ylim()
    gap = (high - low) * 0.065
    places: list[float] = []
    for value, _, _ in labels:
        places.append(max(min(value, CEILING), places[-1] + gap) if places else value)
    for k in reversed(range(len(places))):  # and back again where they would leave the axes at the top
        places[k] = min(places[k], high - gap / 2 if k == len(places) - 1 else places[k + 1] - gap)
    for place, (_, name, color) in zip(places, labels, strict=True):
        ax.annotate(
            name,
            (1, place),
            (5, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=8.5,
            parse_math=False,
            annotation_clip=False,
        )


def _power(value: float, _position: Any) -> str:
    """Small powers of ten as numbers; the ends of the axis hold whatever lies beyond."""
    if abs(value) <= 3:
        return f"{10**value:,g}"
    beyond = "\u2265 " if value >= CEILING else "\u2264 " if value <= FLOOR else ""
    return f"{beyond}$10^{{{value:.0f}}}$"
