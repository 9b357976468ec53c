"""Results as frozen dataclasses: every number has a name, every object prints, pickles and becomes JSON.

Those that hold arrays, or others that do, are equal to themselves alone; compare what they hold, or their JSON.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._text import effect_text

MIN_LABELS = 10  # labelled target rows from which on what has to do with y is tested


def to_plain(value: Any) -> Any:
    """Turn a result into dicts, lists, str, float, int, bool and None, ready for ``json.dumps``.

    NaN and infinities become None, since JSON has no word for them.

    Examples
    --------
    >>> to_plain({"a": np.float64(1.5), "b": (np.int64(2), float("nan"))})
    {'a': 1.5, 'b': [2, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.metadata.get("json", True)
        }
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return [to_plain(v) for v in sorted(value, key=str)]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def _cast_to_floats(result: Any) -> None:
    """Numbers of numpy in `value` and `ci` as those of Python, which print as what they are."""
    object.__setattr__(result, "value", float(result.value))
    if result.ci is not None:
        object.__setattr__(result, "ci", tuple(map(float, result.ci)))


@dataclass(frozen=True)
class Effect:
    """An effect size: how large a difference is, beside the p-value that says whether it is there.

    Attributes
    ----------
    name : str
        For example ``"domain AUC"``, ``"KS distance"``, ``"total variation"``.
    value : float
    ci : tuple of float or None
        95 % interval (lower, upper), where one was computed.
    """

    name: str
    value: float
    ci: tuple[float, float] | None = None

    def __post_init__(self):
        _cast_to_floats(self)

    def __str__(self) -> str:
        return effect_text(self)


@dataclass(frozen=True)
class FeatureShift:
    """How one feature differs between source and target.

    Attributes
    ----------
    feature : str
    pvalue : float
        Adjusted over all features (family-wise).
    effect : Effect
        KS distance of the values (numeric) or total variation (categorical), between 0 and 1. Of numbers that are
        missing more or less often the total variation of missing and present, the difference of the two rates, where
        it carries the difference: where its 95 % interval alone excludes 0, or it is the larger of the two.
    direction : str
        In words, for example ``"higher in the target (+0.8 sd)"``, ``"more 'private'"`` or ``"missing 0% in the source,
        22% in the target"``; of what carries the difference.
    importance : float or None
        Share of the domain classifier's discrimination that is lost when the feature is permuted.
    kind : str
        ``"numeric"``, ``"categorical"`` or ``"datetime"``.
    """

    feature: str
    pvalue: float
    effect: Effect
    direction: str = ""
    importance: float | None = None
    kind: str = "numeric"


@dataclass(frozen=True)
class ColumnShift:
    """How often one of many sparse columns, such as a word, is not zero in source and target.

    Attributes
    ----------
    column : str
    source, target : float
        Share of the side's rows in which it is not zero, by their weights where there are such.
    pvalue : float
        Of a permutation test that the shares are equal, adjusted over all columns that were compared (family-wise).
    """

    column: str
    source: float
    target: float
    pvalue: float


@dataclass(frozen=True)
class Region:
    """A part of the table that is more, or less, frequent in the target.

    Attributes
    ----------
    rule : tuple of str
        Conditions that all hold in it, such as ``"age > 61"`` and ``"ward is 'B'"``.
    source, target : float
        Share of each side's rows that lie in it.
    ratio : Effect
        How many times as frequent it is in the target, with a 95 % interval; the intervals of all regions of a report
        hold together.
    """

    rule: tuple[str, ...]
    source: float
    target: float
    ratio: Effect


@dataclass(frozen=True)
class ShiftTestResult:
    """Outcome of one test of equality between source and target.

    Attributes
    ----------
    detector : str
        Name of the test.
    quantity : str
        What was compared: ``"p(x)"``, ``"p(y)"``, ``"p(x|y)"``, ``"p(y|x)"`` or ``"label-shift fit"``.
    statistic, pvalue : float
    effect : Effect or None
    n_source, n_target : int
        Rows that entered the test.
    per_feature : tuple of FeatureShift
    seconds : float
    notes : tuple of str
        Whatever a reader must know: subsampling, approximations, dropped columns.
    """

    detector: str
    quantity: str
    statistic: float
    pvalue: float
    effect: Effect | None = None
    n_source: int = 0
    n_target: int = 0
    per_feature: tuple[FeatureShift, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def rejects(self, alpha: float = 0.05) -> bool:
        """Whether equality is rejected at level `alpha`."""
        return bool(self.pvalue <= alpha)

    def __str__(self) -> str:
        effect = "" if self.effect is None else f", {self.effect}"
        return f"{self.quantity}: {self.detector}, p = {self.pvalue:.3g}{effect}"

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, ready for JSON."""
        return to_plain(self)


@dataclass(frozen=True, eq=False)
class Overlap:
    """How well the source covers the target.

    Attributes
    ----------
    effective_sample_size : float
        (sum w)^2 / sum w^2 of the estimated importance weights on the source rows.
    ess_fraction : float
        The same divided by n_source: 1 means nothing is lost by weighting.
    domain_auc : Effect
        Cross-fitted AUC of a classifier that tells source from target, .5 when it cannot.
    unsupported_share : float
        Share of target rows that were found in regions with (nearly) no source row: a classifier is sure of 19 to 1
        that they are of the target. Where it takes a combination of columns to tell, few rows may not show it.
    top_weight_share : float
        Share of the total weight that the heaviest 1 % of the source rows carry.
    propensity_source, propensity_target : ndarray
        Cross-fitted P(target | x) of up to 2000 rows a side, as it were if both sides had equally many rows; for
        plotting.
    """

    effective_sample_size: float
    ess_fraction: float
    domain_auc: Effect
    unsupported_share: float
    top_weight_share: float
    propensity_source: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))
    propensity_target: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class PriorEstimate:
    """Class frequencies of the source and (estimated or observed) of the target.

    Attributes
    ----------
    classes : tuple
    source, target : ndarray of shape (n_classes,)
    ci : ndarray of shape (n_classes, 2)
        95 % interval of `target`.
    method : str
        ``"observed labels"``, ``"MLLS"`` or ``"MLLS and observed labels"``; where an estimator's prior is drawn its
        name (``"BBSE"``) or ``"given"``.
    assumption : str
        What must hold for the estimate to be right; empty when labels were counted.
    """

    classes: tuple
    source: np.ndarray
    target: np.ndarray
    ci: np.ndarray
    method: str
    assumption: str = ""

    @property
    def new_classes(self) -> tuple:
        """Classes that were seen in the target and not in the source."""
        seen = (np.asarray(self.source) == 0) & (np.asarray(self.target) > 0)
        return tuple(c for c, new in zip(self.classes, seen, strict=True) if new)


@dataclass(frozen=True)
class PerformanceEstimate:
    """Estimated performance of a model on the target.

    Attributes
    ----------
    method : str
        For example ``"importance weighting"``, ``"label-shift risk"``, ``"average confidence"``.
    metric : str
        ``"accuracy"``, or the name of a mean loss such as ``"mean squared error"``.
    value : float
    ci : tuple of float or None
    assumption : str
        Under which the number is right.
    """

    method: str
    metric: str
    value: float
    ci: tuple[float, float] | None
    assumption: str

    def __post_init__(self):
        _cast_to_floats(self)


@dataclass(frozen=True)
class Impact:
    """What the shift does to a given fitted model.

    Attributes
    ----------
    metric : str
        ``"accuracy"``; of a regressor ``"mean squared error"``, of one of a quantile ``"mean absolute error"`` or such
        as ``"mean pinball loss at 0.9"``.
    source : PerformanceEstimate
        On the given source rows: it flatters a model that was trained on them, as a note says.
    target : PerformanceEstimate or None
        On the labelled target rows, where there are any.
    estimates : tuple of PerformanceEstimate
        Target performance without labels; the first one is the one that fits the verdict.
    p_x_part, p_y_given_x_part : Effect or None
        The change of the loss from source to target split into the part due to p(x) and the part due to
        p(y|x); needs target labels.
    notes : tuple of str
    """

    metric: str
    source: PerformanceEstimate
    target: PerformanceEstimate | None = None
    estimates: tuple[PerformanceEstimate, ...] = ()
    p_x_part: Effect | None = None
    p_y_given_x_part: Effect | None = None
    notes: tuple[str, ...] = ()


VERDICT_KINDS = ("none", "covariate", "label", "conditional", "concept", "mixed", "support")
STRENGTHS = ("confirmed", "consistent", "assumed")


@dataclass(frozen=True)
class Verdict:
    """The diagnosis in one word, how sure it is, and in plain sentences.

    Attributes
    ----------
    kind : str
        One of ``"none"``, ``"covariate"``, ``"label"``, ``"conditional"``, ``"concept"``, ``"mixed"``,
        ``"support"``.
    strength : str
        ``"confirmed"`` (tested and bounded), ``"consistent"`` (not contradicted by a test that could have
        contradicted it) or ``"assumed"`` (not testable with these data).
    explanation : str
        Plain sentences.
    untestable : tuple of str
        Quantities about which these data can say nothing, such as ``"p(y|x)"``.
    """

    kind: str
    strength: str
    explanation: str
    untestable: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelBudget:
    """How many target labels would settle the open question.

    Attributes
    ----------
    labels : int or None
        Randomly chosen target rows to label; None where no number suffices: the source has no labels or too few rows,
        or there are too few groups.
    effect : float
        The change of p(y|x) (classification: of a class probability; regression: of the mean, in standard
        deviations of y) that they would detect.
    power, alpha : float
    """

    labels: int | None
    effect: float
    power: float
    alpha: float


@dataclass(frozen=True, eq=False)
class FeatureSummary:
    """Binned distributions of one feature, enough to draw it.

    Attributes
    ----------
    feature : str
    kind : str
        ``"numeric"``, ``"datetime"`` or ``"categorical"``.
    bins : tuple
        Bin edges (numeric, datetime: seconds since 1970; one more than shares) or category names.
    source, target : ndarray
        Share of the side's non-missing rows per bin, by their weights where there are such.
    missing_source, missing_target : float
        Share of missing values, likewise.
    """

    feature: str
    kind: str
    bins: tuple
    source: np.ndarray
    target: np.ndarray
    missing_source: float = 0.0
    missing_target: float = 0.0


@dataclass(frozen=True, eq=False)
class DomainMap:
    """Two-dimensional picture of both domains (principal components of the encoded table).

    Attributes
    ----------
    source, target : ndarray of shape (m, 2)
        Up to 600 rows a side.
    y_source : ndarray or None
        Labels of the drawn source rows.
    explained : tuple of float
        Share of variance of the two axes.
    """

    source: np.ndarray
    target: np.ndarray
    y_source: np.ndarray | None
    explained: tuple[float, float]
