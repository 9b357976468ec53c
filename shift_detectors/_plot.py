"""Pictures of a report, one display for each of its parts, and all of them on one figure."""

from __future__ import annotations

import textwrap
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _text as words
from ._display import (
    Display,
    Row,
    as_number,
    as_percent,
    draw_histogram,
    draw_pair,
    draw_points,
    draw_rows,
    hide_counts,
    name_rows,
    need,
    share_axis,
)
from ._errors import InputError
from ._influence import effective_rows
from ._plot_budget import LabelBudgetDisplay
from ._plot_impact import ImpactDisplay, LossSplitDisplay
from ._results import DomainMap, FeatureShift, FeatureSummary, Overlap, PriorEstimate, Region, ShiftTestResult
from ._style import FAINT, INK, SOURCE, TARGET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._report import ShiftReport

MAX_CLASSES = 12  # classes drawn, those that changed most
MAX_CENTROIDS = 10  # classes whose centre is named on the map
PROPENSITY_BINS = 30


class EffectsDisplay(Display):
    """What differs, and how much: the effect size of every quantity, with its interval.

    Filled where source and target differ. The grey band runs from "equal" to the smallest effect that matters. What
    the data cannot say stands as a line of its own.

    Parameters
    ----------
    report : ShiftReport

    Attributes
    ----------
    tests : tuple of ShiftTestResult
        The decisive test of every quantity.
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors import diagnose
    >>> rng = np.random.default_rng(0)
    >>> report = diagnose(rng.normal(size=(100, 2)), None, rng.normal(size=(80, 2)) + 1, random_state=0)
    >>> EffectsDisplay.from_report(report).ax_.get_xlabel()
    'effect size (filled: differs, grey: too small to matter)'
    """

    title = "What differs, and how much"
    domains: ClassVar[bool] = False

    def __init__(self, report: ShiftReport):
        self.report = report
        self.tests: tuple[ShiftTestResult, ...] = words.decisive_tests(report)

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> EffectsDisplay:
        """Draw the tests of a report."""
        return cls(report).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 0.75 + 0.45 * (len(self.tests) + len(words.unseen(self.report)))

    @property
    def alt(self) -> str:
        found = [f"{t.quantity}: {words.outcome(self.report, t)} {words.effect_text(t.effect)}" for t in self.tests]
        return f"Effect size of every quantity. {'; '.join(found)}."

    def _draw(self, ax: Axes) -> None:
        report, rows = self.report, []
        for test in self.tests:
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
        unknown = "cannot be seen in these data, cannot be excluded"
        rows += [Row(quantity, None, remark=unknown) for quantity in words.unseen(report)]
        draw_rows(ax, rows, "effect size (filled: differs, grey: too small to matter)", (0, 1))


class FeatureDisplay(Display):
    """The distribution of one feature in source and target.

    Parameters
    ----------
    summary : FeatureSummary
    shift : FeatureShift, optional
        What changed, for the line below the title.
    alpha : float
        Level at which it counts as a change.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import FeatureSummary
    >>> summary = FeatureSummary("ward", "categorical", ("a", "b"), np.array([0.5, 0.5]), np.array([0.2, 0.8]))
    >>> [label.get_text() for label in FeatureDisplay(summary).plot().ax_.get_yticklabels()]
    ['a', 'b']
    """

    def __init__(self, summary: FeatureSummary, shift: FeatureShift | None = None, alpha: float = 0.05):
        self.summary = summary
        self.shift = shift
        self.alpha = alpha

    @classmethod
    def from_report(cls, report: ShiftReport, feature: str | None = None, *, ax: Any = None) -> FeatureDisplay:
        """Draw a feature of a report, without a name the most important one."""
        drawable = drawable_features(report)
        if not drawable:
            raise InputError("a report without features", "one that compared features", "Draw OverlapDisplay.")
        chosen = [pair for pair in drawable if feature is None or pair[0].feature == feature]
        if not chosen:
            names = ", ".join(repr(shift.feature) for shift, _ in drawable[:5])
            raise InputError(f"feature={feature!r}", f"a feature of the report, such as {names}")
        shift, summary = chosen[0]
        return cls(summary, shift, report.alpha).plot(ax)

    @property
    def title(self) -> str:  # type: ignore[override]
        room = int(0.7 * self._room)  # bold and larger
        return textwrap.fill(words.squeeze(self.summary.feature, 40), room)

    @property
    def subtitle(self) -> str:  # type: ignore[override]
        if self.shift is None:
            return ""
        text = words.change(self.shift, self.alpha) or words.effect_text(self.shift.effect)
        return textwrap.fill(words.squeeze(text, 2 * self._room), self._room)

    @property
    def _names(self) -> list[str]:
        """The categories, as they stand beside the picture."""
        return [words.squeeze(name, 20) for name in self.summary.bins] if self.summary.kind == "categorical" else []

    @property
    def _room(self) -> int:
        """Characters of a line above the picture, which begins right of the categories."""
        return 44 - max(map(len, self._names), default=0)

    @property
    def size(self) -> tuple[float, float]:
        rows = len(self.summary.bins) if self.summary.kind == "categorical" else 0
        return 3.1, max(1.75, 0.5 + 0.19 * rows)

    @property
    def alt(self) -> str:
        change = "" if self.shift is None else f": {words.feature_line(self.shift, self.alpha)}"
        return f"Distribution of {words.clean(self.summary.feature)} in source and target{change}."

    def _draw(self, ax: Axes) -> None:
        summary = self.summary
        if summary.kind == "categorical":
            names = self._names
            rows = np.arange(len(names))
            ax.barh(rows, summary.source, 0.72, color=SOURCE, alpha=0.4, lw=0)
            ax.barh(rows, summary.target, 0.72, fill=False, edgecolor=TARGET, lw=1.7)
            name_rows(ax, names, fontsize=8 if len(names) <= 8 else 7)
            ax.locator_params(axis="x", nbins=4)
            ax.xaxis.set_major_formatter(as_percent)
            return
        edges = np.asarray(summary.bins, float)
        draw_histogram(ax, summary.source, edges, SOURCE, fill=True)
        draw_histogram(ax, summary.target, edges, TARGET, fill=False)
        hide_counts(ax)
        whole = bool(np.all(np.mod(edges, 1) == 0.5))  # bins of whole numbers
        ax.locator_params(axis="x", nbins=3 if summary.kind == "datetime" else 4, integer=whole)
        if summary.kind == "datetime":
            ax.xaxis.set_major_formatter(_date)


def _date(seconds: float, _position: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


class RegionsDisplay(Display):
    """Where the shift lives: parts of the table, and how frequent they are in source and target.

    Parameters
    ----------
    regions : tuple of Region

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import Effect, Region
    >>> regions = (Region(("age > 61",), 0.2, 0.5, Effect("times as frequent", 2.5, (2.2, 2.8))),)
    >>> [label.get_text() for label in RegionsDisplay(regions).plot().ax_.get_yticklabels()]
    ['age > 61']
    """

    title = "Where the shift lives"

    def __init__(self, regions: tuple[Region, ...]):
        self.regions = regions

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> RegionsDisplay:
        """Draw the regions of a report."""
        if not report.regions:
            raise InputError("a report without regions", "one with rows that are more frequent in the target")
        return cls(report.regions).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 0.7 + sum(0.22 + 0.16 * len(region.rule) for region in self.regions)

    @property
    def alt(self) -> str:
        return f"Parts of the table by frequency: {'; '.join(words.region_line(region) for region in self.regions)}."

    def _draw(self, ax: Axes) -> None:
        for k, region in enumerate(self.regions):
            ends = None
            if region.ratio.ci is not None and region.source > 0:
                ends = np.clip(np.array(region.ratio.ci) * region.target / region.ratio.value, 0, 1)
            draw_pair(ax, k, region.source, region.target, ends)
        name_rows(
            ax, ["\n".join(words.squeeze(condition, 34) for condition in r.rule) for r in self.regions], fontsize=8
        )
        share_axis(ax, "share of rows")


class OverlapDisplay(Display):
    """Do the domains overlap? Histograms of the cross-fitted probability of being a target row.

    Parameters
    ----------
    overlap : Overlap

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import Effect, Overlap
    >>> propensity = np.array([0.2, 0.3, 0.4]), np.array([0.6, 0.7])
    >>> OverlapDisplay(Overlap(2.0, 0.67, Effect("domain AUC", 1.0), 0.0, 0.4, *propensity)).plot().ax_.get_xlabel()
    'probability of being a target row'
    """

    title = "Overlap"

    def __init__(self, overlap: Overlap):
        self.overlap = overlap

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> OverlapDisplay:
        """Draw the overlap that a report found."""
        return cls(report.overlap).plot(ax)

    @property
    def alt(self) -> str:
        return (
            "Histograms of the probability of being a target row, for source and target rows; "
            f"{words.effect_text(self.overlap.domain_auc)}."
        )

    def _draw(self, ax: Axes) -> None:
        edges = np.linspace(0, 1, PROPENSITY_BINS + 1)
        sides = (self.overlap.propensity_source, SOURCE, True), (self.overlap.propensity_target, TARGET, False)
        for values, color, fill in sides:
            if len(values):
                draw_histogram(ax, np.histogram(values, edges)[0] / len(values), edges, color, fill)
        hide_counts(ax)
        ax.set_xlim(0, 1)
        ax.set_xlabel("probability of being a target row")


class WeightsDisplay(Display):
    """What weighting would do to the source rows: how many of them get which weight, on a logarithmic scale.

    Right of 1 are the rows that look like the target. Few rows far to the right: a weighted model rests on them.

    Parameters
    ----------
    weights : ndarray of shape (n_source,)
        Non-negative; drawn in multiples of their mean.
    subtitle : str, optional
        The line below the title. None: what the weighted rows are worth.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> WeightsDisplay(np.array([0.5, 0.5, 2.0])).plot().ax_.get_xscale()
    'log'
    """

    title = "Weights of the source rows"
    domains: ClassVar[bool] = False

    def __init__(self, weights: np.ndarray, subtitle: str | None = None):
        self.weights = np.asarray(weights, float) / np.mean(weights)
        ess = effective_rows(self.weights) / len(self.weights)
        self.subtitle = (
            f"They are worth {words.share(ess)} of as many unweighted rows" if subtitle is None else subtitle
        )

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> WeightsDisplay:
        """Draw the weights that the report's propensities give the source rows."""
        overlap = report.overlap
        if not len(overlap.propensity_source):
            raise InputError("a report without propensities", "a report of diagnose", "Call diagnose again.")
        return cls(*_weights(overlap)).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> WeightsDisplay:
        """Draw the `weights_` of a fitted ratio or `ImportanceWeighting`."""
        weights = getattr(estimator, "weights_", None)
        if weights is None:
            raise InputError(f"{type(estimator).__name__} has no weights_", "a fitted ratio or ImportanceWeighting")
        return cls(weights).plot(ax)

    @property
    def alt(self) -> str:
        low, middle, high = np.quantile(self.weights, [0, 0.5, 1])
        return (
            f"Histogram of the source rows' weights, from {words.number(low)} to {words.number(high)} times the mean, "
            f"median {words.number(middle)}. {self.subtitle}."
        )

    def _draw(self, ax: Axes) -> None:
        positive = self.weights[self.weights > 0]
        low = max(positive.min(), 1e-3)  # what is lighter counts as that: it has no say
        high = max(positive.max(), 1.01, low * 1.01)
        edges = np.geomspace(min(low, 0.99), high, PROPENSITY_BINS + 1)
        counts = np.histogram(np.clip(self.weights, edges[0], edges[-1]), edges)[0]
        draw_histogram(ax, counts / len(self.weights), edges, SOURCE, fill=True)
        ax.axvline(1, color=FAINT, lw=1.2)
        ax.set_xscale("log")
        ticks = [t for t in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if low <= t <= high]
        ax.set_xticks(ticks if len(ticks) <= 6 else [t for t in ticks if np.log10(t) % 1 == 0])
        ax.set_xticks([], minor=True)
        ax.xaxis.set_major_formatter(as_number)
        hide_counts(ax)
        ax.set_xlabel("weight, in multiples of the mean")


def _weights(overlap: Overlap) -> tuple[np.ndarray, str]:
    """Weights of the drawn source rows, and what they are worth by all of them."""
    from ._overlap import importance_weights

    source = np.clip(overlap.propensity_source, 1e-9, 1 - 1e-9)
    subtitle = (
        f"They are worth {overlap.effective_sample_size:,.0f} unweighted rows ({words.share(overlap.ess_fraction)})"
    )
    return importance_weights(source, len(source)), subtitle


class PriorDisplay(Display):
    """Class frequencies of source and target, with the target's interval; the classes that changed most.

    Parameters
    ----------
    prior : PriorEstimate

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import PriorEstimate
    >>> prior = PriorEstimate(("a", "b"), np.array([0.5, 0.5]), np.array([0.2, 0.8]), np.zeros((2, 2)), "MLLS")
    >>> PriorDisplay(prior).plot().ax_.get_xlabel()
    'share of rows'
    """

    def __init__(self, prior: PriorEstimate):
        self.prior = prior

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> PriorDisplay:
        """Draw the class frequencies of a report."""
        return cls(need(report, "prior", "Pass y_source with classes to diagnose.")).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> PriorDisplay:
        """Draw the `prior_` of a fitted `PriorCorrection`, `MLLS`, `BBSE` or `RLLS`."""
        if not all(hasattr(estimator, name) for name in ("prior_", "source_prior_", "confidence_interval_")):
            raise InputError(
                f"{type(estimator).__name__} has no prior_", "a fitted PriorCorrection, MLLS, BBSE or RLLS"
            )
        method = getattr(estimator, "prior", estimator)
        name = "MLLS" if method is None else type(method).__name__ if hasattr(method, "fit") else "given"
        classes = tuple(np.asarray(estimator.classes_).tolist())
        return cls(
            PriorEstimate(classes, estimator.source_prior_, estimator.prior_, estimator.confidence_interval_, name)
        ).plot(ax)

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Class frequencies ({self.prior.method})"

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 0.8 + 0.36 * min(len(self.prior.classes), MAX_CLASSES)

    @property
    def alt(self) -> str:
        return words.prior_sentence(self.prior)

    def _draw(self, ax: Axes) -> None:
        prior = self.prior
        order = np.sort(np.argsort(-np.abs(prior.target - prior.source), kind="stable")[:MAX_CLASSES])
        for k, c in enumerate(order):
            draw_pair(ax, k, prior.source[c], prior.target[c], prior.ci[c])
        name_rows(ax, [words.squeeze(prior.classes[c]) for c in order])
        left_out = len(prior.classes) - len(order)
        less = f"\n({left_out} class{'es' * (left_out > 1)} that changed less not drawn)" if left_out else ""
        share_axis(ax, f"share of rows{less}")


class DomainMapDisplay(Display):
    """Rows of both samples on their first two principal components; centres of the source classes by name.

    Parameters
    ----------
    domain_map : DomainMap

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from shift_detectors._results import DomainMap
    >>> rng = np.random.default_rng(0)
    >>> rows = DomainMap(rng.normal(size=(50, 2)), rng.normal(size=(40, 2)), None, (0.6, 0.3))
    >>> DomainMapDisplay(rows).plot().ax_.get_xlabel()
    'first component (60% of variance)'
    """

    title = "Rows of both samples"

    def __init__(self, domain_map: DomainMap):
        self.domain_map = domain_map

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> DomainMapDisplay:
        """Draw the map of a report."""
        return cls(need(report, "domain_map", "Call diagnose again.")).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 3.2

    @property
    def alt(self) -> str:
        return "Rows of source and target on the first two principal components."

    def _draw(self, ax: Axes) -> None:
        found = self.domain_map
        draw_points(ax, found.source, found.target)
        draw_centres(ax, found)
        first, second = found.explained
        ax.set_xlabel(f"first component ({words.share(first)} of variance)")
        ax.set_ylabel(f"second ({words.share(second)})")


def draw_centres(ax: Axes, found: DomainMap) -> None:
    """Names of the source classes at their centres; none for many classes or where the names would collide."""
    y = found.y_source
    classes = [] if y is None else sorted(set(y.tolist()), key=str)
    if y is None or not 2 <= len(classes) <= MAX_CENTROIDS:
        return
    centres = np.array([found.source[y == c].mean(axis=0) for c in classes])
    span = np.ptp(np.vstack([found.source, found.target]), axis=0)
    apart = np.abs(centres[:, None] - centres) / np.where(span > 0, span, 1)
    clear = (apart > (0.25, 0.1)).any(axis=2) | np.eye(len(classes), dtype=bool)
    if clear.all():
        box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": SOURCE, "lw": 0.8, "alpha": 0.9}
        for c, (x0, x1) in zip(classes, centres, strict=True):
            name = words.squeeze(c, 14)
            ax.text(x0, x1, name, bbox=box, color=INK, ha="center", va="center", fontsize=8, parse_math=False)


def drawable_features(report: ShiftReport) -> list[tuple[FeatureShift, FeatureSummary]]:
    """Features with their distributions, most important first."""
    summaries = {summary.feature: summary for summary in report.summaries}
    return [(shift, summaries[shift.feature]) for shift in report.features if shift.feature in summaries]


def report_displays(report: ShiftReport) -> dict[str, Display]:
    """A display of every part that the report has, features apart, in the order in which they are shown."""
    displays: dict[str, Display] = {"tests": EffectsDisplay(report), "overlap": OverlapDisplay(report.overlap)}
    if report.regions:
        displays["regions"] = RegionsDisplay(report.regions)
    if len(report.overlap.propensity_source):
        displays["weights"] = WeightsDisplay(*_weights(report.overlap))
    if report.prior is not None:
        displays["prior"] = PriorDisplay(report.prior)
    if report.impact is not None:
        displays["impact"] = ImpactDisplay(report.impact)
        if report.impact.p_x_part is not None and report.impact.target is not None:
            displays["split"] = LossSplitDisplay(report.impact)
    if report.domain_map is not None:
        displays["map"] = DomainMapDisplay(report.domain_map)
    if report.task is not None and report.verdict.kind != "support":  # there labels do not tell
        displays["budget"] = LabelBudgetDisplay._of(report)
    return displays


def plot_report(report: ShiftReport) -> Figure:
    """Draw verdict, effects, overlap, prior, impact, map and the most important features on one figure."""
    from ._figure import Panel, assemble

    displays = report_displays(report)
    panels = [Panel(displays["tests"], columns=2), Panel(displays["overlap"])]
    panels += [Panel(displays[name]) for name in ("prior", "impact", "split", "map") if name in displays]
    room = 3 + -len(panels[2:]) % 3  # a row of features, and what is left of the row above
    shown = drawable_features(report)[:room]
    panels += [Panel(FeatureDisplay(summary, shift, report.alpha)) for shift, summary in shown]
    return assemble(words.headline(report), _subtitle(report), panels)


def _subtitle(report: ShiftReport) -> str:
    return f"Strength: {words.strength(report)}. {words.size_line(report)}. {report.verdict.explanation}"
