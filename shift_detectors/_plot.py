"""Pictures of a report, each drawn by one small function on the axes it is given.

Figures are made without pyplot: no backend is chosen, nothing is registered, no setting of matplotlib
outlives the call. The source is always a filled blue shape, the target an orange outline, so that they can
be told apart in grey, too.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from . import _text as words
from ._results import DomainMap, FeatureShift, FeatureSummary, Impact, Overlap, PriorEstimate
from ._style import FAINT, INK, SOURCE, TARGET, style

if TYPE_CHECKING:
    from ._report import ShiftReport

MAX_CLASSES = 12  # classes drawn, those that changed most
MAX_CENTROIDS = 10  # classes whose centre is named on the map


class ReportFigure(Figure):
    """A matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


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


@dataclass(frozen=True)
class Panel:
    """One panel of a figure: ``draw(ax, *arguments)``, one or more columns wide."""

    title: str
    draw: Callable[..., Axes]
    arguments: tuple
    columns: int = 1


def draw_rows(ax: Axes, rows: Sequence[Row], xlabel: str, limits: tuple[float, float] | None = None) -> Axes:
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
    ax.set_yticks(range(len(rows)), [row.label for row in rows], parse_math=False)
    ax.set_ylim(max(len(rows), 1) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if limits is not None:
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, limits[0]), max(high, limits[1]))
    ax.set_xlabel(xlabel)
    return ax


def draw_tests(ax: Axes, report: ShiftReport) -> Axes:
    """Effect size per quantity with its interval; filled where a difference counts.

    The grey band runs from "equal" to the smallest effect of interest.
    """
    rows = []
    for test in words.decisive_tests(report):
        effect, note, outcome = test.effect, words.pvalue(test.pvalue), words.outcome(report, test)
        if effect is None or test.quantity == "label-shift fit":  # a question of fit, not of size
            rows.append(Row(test.quantity, None, note=note, remark=outcome))
            continue
        zero = words.NO_EFFECT.get(effect.name, 0.0)
        least = report.min_effect.get(effect.name)
        rows.append(
            Row(
                f"{test.quantity}\n{textwrap.fill(words.clean(effect.name), 24)}",
                effect.value,
                effect.ci,
                note,
                filled=outcome == "differs",
                grey=None if least is None else (zero if effect.value >= zero else 2 * zero - least, least),
                zero=zero,
            )
        )
    rows += [Row(q, None, remark="cannot be seen in these data, cannot be excluded") for q in report.verdict.untestable]
    return draw_rows(ax, rows, "effect size (filled: differs, grey: too small to matter)", (0, 1))


def draw_feature(ax: Axes, summary: FeatureSummary, shift: FeatureShift | None = None) -> Axes:
    """Distributions of one feature: source filled, target outlined; title and change above."""
    if summary.kind == "categorical":
        _paired_bars(ax, [words.clean(name, 18) for name in summary.bins], summary.source, summary.target)
    else:
        edges = np.asarray(summary.bins, float)
        ax.stairs(summary.source, edges, fill=True, color=SOURCE, alpha=0.4, lw=0)
        ax.stairs(summary.source, edges, color=SOURCE, lw=0.8)
        ax.stairs(summary.target, edges, color=TARGET, lw=1.7)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylim(bottom=0)
        whole = bool(np.all(np.mod(edges, 1) == 0.5))  # bins of whole numbers
        ax.xaxis.set_major_locator(MaxNLocator(3 if summary.kind == "datetime" else 4, integer=whole))
        if summary.kind == "datetime":
            ax.xaxis.set_major_formatter(FuncFormatter(_date))
    if shift is not None:
        lines = [words.clean(summary.feature, 34)]
        ax.set_title(lines[0], parse_math=False, pad=16, fontsize=9.5)
        ax.annotate(
            words.clean(shift.direction or words.effect_text(shift.effect), 46),
            (0, 1),
            (0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
        )
    return ax


def _paired_bars(ax: Axes, names: list[str], source: np.ndarray, target: np.ndarray) -> None:
    rows = np.arange(len(names))
    ax.barh(rows, source, 0.72, color=SOURCE, alpha=0.4, lw=0)
    ax.barh(rows, target, 0.72, fill=False, edgecolor=TARGET, lw=1.7)
    ax.set_yticks(rows, names, parse_math=False, fontsize=8 if len(names) <= 8 else 7)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _date(seconds: float, _position: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


def draw_overlap(ax: Axes, overlap: Overlap) -> Axes:
    """Histograms of the cross-fitted probability of being a target row, both sides."""
    edges = np.linspace(0, 1, 31)
    for values, color, fill in (
        (overlap.propensity_source, SOURCE, True),
        (overlap.propensity_target, TARGET, False),
    ):
        if len(values):
            shares = np.histogram(values, edges)[0] / len(values)
            if fill:
                ax.stairs(shares, edges, fill=True, color=color, alpha=0.4, lw=0)
            ax.stairs(shares, edges, color=color, lw=0.8 if fill else 1.7)
    ax.set_xlim(0, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("probability of being a target row")
    return ax


def draw_prior(ax: Axes, prior: PriorEstimate) -> Axes:
    """Class frequencies of source and target with the target's interval, the classes that changed most."""
    order = np.argsort(-np.abs(prior.target - prior.source), kind="stable")[:MAX_CLASSES]
    order = np.sort(order)
    for k, c in enumerate(order):
        ax.plot([prior.source[c], prior.target[c]], [k, k], color=FAINT, lw=1, zorder=1)
        ax.plot(prior.source[c], k, "o", ms=7, color=SOURCE, alpha=0.75, mew=0, zorder=2)
        if np.isfinite(prior.ci[c]).all():
            ax.plot(prior.ci[c], [k, k], color=TARGET, lw=2.2, solid_capstyle="round", zorder=3)
        ax.plot(prior.target[c], k, "D", ms=5.5, mfc="white", mec=TARGET, mew=1.6, zorder=4)
    names = [words.clean(prior.classes[c], 18) for c in order]
    ax.set_yticks(range(len(order)), names, parse_math=False)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlim(left=min(0, ax.get_xlim()[0]))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    left_out = len(prior.classes) - len(order)
    ax.set_xlabel("share of rows" + (f" ({left_out} classes that changed less not drawn)" if left_out else ""))
    return ax


def draw_impact(ax: Axes, impact: Impact) -> Axes:
    """Performance of the model on the source and, observed or estimated, on the target."""
    rows = [Row("source", impact.source.value, impact.source.ci, color=SOURCE)]
    if impact.target is not None:
        rows.append(Row("target, labelled rows", impact.target.value, impact.target.ci, color=TARGET))
    rows += [Row(words.clean(e.method, 26), e.value, e.ci, color=TARGET, filled=False) for e in impact.estimates]
    return draw_rows(ax, rows, words.clean(impact.metric))


def draw_map(ax: Axes, domain_map: DomainMap) -> Axes:
    """Both samples on the first two principal components; centres of the source classes by name."""
    source, target = domain_map.source, domain_map.target
    look: dict[str, Any] = {"s": 11, "lw": 0.5, "rasterized": True}
    ax.scatter(*source.T, color=SOURCE, alpha=0.45, **look)
    ax.scatter(*target.T, facecolors="none", edgecolors=TARGET, alpha=0.7, **(look | {"lw": 0.8}))
    for label, (x0, x1) in _centres(domain_map).items():
        box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": SOURCE, "lw": 0.8, "alpha": 0.9}
        ax.text(x0, x1, label, bbox=box, color=SOURCE, ha="center", va="center", fontsize=8, parse_math=False)
    first, second = domain_map.explained
    ax.set_xlabel(f"first component ({words.share(first)} of variance)")
    ax.set_ylabel(f"second ({words.share(second)})")
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _centres(domain_map: DomainMap) -> dict[str, np.ndarray]:
    """Centres of the source classes by name; none for many classes or where the names would collide."""
    y = domain_map.y_source
    classes = [] if y is None else sorted(set(y.tolist()), key=str)
    if y is None or not 2 <= len(classes) <= MAX_CENTROIDS:
        return {}
    centres = np.array([domain_map.source[y == c].mean(axis=0) for c in classes])
    span = np.ptp(np.vstack([domain_map.source, domain_map.target]), axis=0)
    apart = np.abs(centres[:, None] - centres) / np.where(span > 0, span, 1)
    clear = (apart > (0.25, 0.1)).any(axis=2) | np.eye(len(classes), dtype=bool)
    return {words.clean(c, 14): centre for c, centre in zip(classes, centres, strict=True)} if clear.all() else {}


def legend_handles() -> list:
    """Handles of the legend: source and target."""
    return [
        Patch(facecolor=SOURCE, alpha=0.5, edgecolor=SOURCE, label="source"),
        Patch(facecolor="none", edgecolor=TARGET, lw=1.7, label="target"),
    ]


def plot_report(report: ShiftReport) -> Figure:
    """Draw verdict, effects, overlap, prior, impact, map and the most important features on one figure."""
    panels = [
        Panel("What differs, and how much", draw_tests, (report,), columns=2),
        Panel("Overlap", draw_overlap, (report.overlap,)),
    ]
    if report.prior is not None:
        panels.append(Panel(f"Class frequencies ({report.prior.method})", draw_prior, (report.prior,)))
    if report.impact is not None:
        panels.append(Panel("Performance of the model", draw_impact, (report.impact,)))
    if report.domain_map is not None:
        panels.append(Panel("Rows of both samples", draw_map, (report.domain_map,)))
    room = 3 + -len(panels[2:]) % 3  # a row of features, and what is left of the row above
    for shift, summary in drawable_features(report)[:room]:
        panels.append(Panel("", draw_feature, (summary, shift)))
    return assemble(words.headline(report), _subtitle(report), panels)


def drawable_features(report: ShiftReport) -> list[tuple[FeatureShift, FeatureSummary]]:
    """Features with their distributions, most important first."""
    summaries = {summary.feature: summary for summary in report.summaries}
    return [(shift, summaries[shift.feature]) for shift in report.features if shift.feature in summaries]


def _subtitle(report: ShiftReport) -> str:
    return f"Strength: {words.strength(report)}. {words.size_line(report)}. {report.verdict.explanation}"


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
            panel.draw(ax, *panel.arguments)
            if panel.title:
                ax.set_title(panel.title, parse_math=False)
    return figure
