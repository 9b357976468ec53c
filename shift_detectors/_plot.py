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
    as_points,
    draw_histogram,
    draw_pair,
    draw_points,
    draw_rows,
    hide_counts,
    name_rows,
    need,
    share_axis,
    short_ticks,
)
from ._errors import InputError
from ._influence import effective_rows
from ._results import DomainMap, FeatureShift, FeatureSummary, Impact, Overlap, PriorEstimate, Region, ShiftTestResult
from ._style import FAINT, INK, SOURCE, TARGET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._report import ShiftReport

MAX_CLASSES = 12  # classes drawn, those that changed most
MAX_CENTROIDS = 10  # classes whose centre is named on the map
POWERS = (0.5, 0.8, 0.95)
NAMED_CHANGE = 0.1  # of p(y|x): the one that a report names
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
        return 4.4, 0.75 + 0.45 * (len(self.tests) + len(self.report.verdict.untestable))

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
        rows += [Row(quantity, None, remark=unknown) for quantity in report.verdict.untestable]
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
        return textwrap.fill(words.squeeze(self.summary.feature, 30), room)

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
        name_rows(ax, ["\n".join(words.clean(condition, 34) for condition in r.rule) for r in self.regions], fontsize=8)
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


class LabelBudgetDisplay(Display):
    """How many labelled target rows would reveal a change of p(y|x) of which size?

    One curve for each power, the probability of seeing the change. Where the target has no more rows the ground is
    grey.

    Parameters
    ----------
    effects : ndarray of shape (k,)
        Changes of p(y|x): of a class probability, or in standard deviations of y.
    labels : dict of float to ndarray of shape (k,)
        By power: rows with labels that would reveal them; infinite where no number does.
    n_target, n_labelled : int
        Rows of the target, and how many of them have a label.
    task : str

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> effects = np.array([0.05, 0.1, 0.2])
    >>> LabelBudgetDisplay(effects, {0.8: 2 / effects**2}, 500, 0, "classification").plot().ax_.get_xlabel()
    'labelled target rows'
    """

    title = "Labels that would show a change of p(y|x)"
    domains: ClassVar[bool] = False

    def __init__(self, effects: np.ndarray, labels: dict[float, np.ndarray], n_target: int, n_labelled: int, task: str):
        self.effects = effects
        self.labels = labels
        self.n_target = n_target
        self.n_labelled = n_labelled
        self.task = task

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> LabelBudgetDisplay:
        """Draw the label budget of a report."""
        return cls._of(report).plot(ax)

    @classmethod
    def _of(cls, report: ShiftReport) -> LabelBudgetDisplay:
        """The display of a report, not drawn yet."""
        task = need(report, "task", "Pass y_source to diagnose.")
        effects = np.union1d(np.geomspace(0.02, 0.4, 60), NAMED_CHANGE)
        labels = {p: np.array([report.label_budget(p, e).labels or np.inf for e in effects]) for p in POWERS}
        return cls(effects, labels, report.n_target, report.n_labelled, task)

    @property
    def alt(self) -> str:
        k = np.abs(self.effects - NAMED_CHANGE).argmin()
        found = [
            f"{f'{labels[k]:,.0f}' if np.isfinite(labels[k]) else 'no number'} with power {words.share(power)}"
            for power, labels in self.labels.items()
        ]
        return (
            f"Labelled target rows that would reveal a change of p(y|x) by {self.effects[k]:.2g}: {', '.join(found)}."
        )

    def _draw(self, ax: Axes) -> None:
        # every curve is seen from the largest effect down to a third of the way, or as far as a number suffices
        third = len(self.effects) // 3
        ends = [labels[max(third, int(np.isfinite(labels).argmax()))] for labels in self.labels.values()]
        few = min(self.n_labelled or self.n_target, self.n_target, *(labels[-1] for labels in self.labels.values()))
        many = max(self.n_target, *(end for end in ends if np.isfinite(end)), 1)
        ax.set_xlim(max(few * 0.8, 0.8), many * (1.3 if many > self.n_target else 2))
        for k, (power, labels) in enumerate(self.labels.items()):
            main = power == 0.8
            ax.plot(labels, self.effects, color=INK if main else FAINT, lw=1.8 if main else 1.2)
            away = np.abs(self.effects - (0.33, 0.3, 0.27)[k % 3] / 0.4 * self.effects[-1])
            at = int(np.where(labels <= many, away, np.inf).argmin())
            if labels[at] > many:
                continue
            ax.text(
                labels[at], self.effects[at], words.share(power), ha="center", va="center", fontsize=8,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
            )  # fmt: skip
        if not any(np.isfinite(labels).any() for labels in self.labels.values()):
            ax.text(
                0.5, 0.5, "no number of labels shows these:\nthe source has too few rows", ha="center", va="center",
                fontsize=8, transform=ax.transAxes,
            )  # fmt: skip
        ax.set_ylim(0, self.effects[-1] * 1.05)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(as_number)
        ax.set_xticks([], minor=True)
        left, right = ax.get_xlim()
        ax.axvspan(self.n_target, right, color=FAINT, alpha=0.25, lw=0)
        ax.axvline(self.n_target, color=FAINT, lw=1)
        # the words stand where no curve is: above them where they are low, else below
        seen = max(np.interp(self.n_target, labels[::-1], self.effects[::-1]) for labels in self.labels.values())
        room = np.log(right / self.n_target) > 0.35 * np.log(right / left)
        self._mark(ax, self.n_target, "target rows", seen < 0.6 * self.effects[-1], bool(room))
        if 0 < self.n_labelled < self.n_target:
            ax.axvline(self.n_labelled, color=TARGET, lw=1.6)
            self._mark(ax, self.n_labelled, "labelled", False, self.n_labelled**2 < left * self.n_target, line=1)
        if self.task == "classification":
            ax.yaxis.set_major_formatter(as_points)
            ax.set_ylabel("change, in points")
        else:
            ax.set_ylabel("change, in sd of y")
        ax.set_xlabel("labelled target rows")

    def _mark(self, ax: Axes, rows: int, name: str, top: bool, after: bool, line: int = 0) -> None:
        at, offset = (rows, float(top)), (3 if after else -3, -3 if top else 3 + 12 * line)
        ax.annotate(
            f"{rows:,} {name}", at, offset, ("data", "axes fraction"), "offset points", fontsize=8,
            ha="left" if after else "right", va="top" if top else "bottom",
        )  # fmt: skip


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
