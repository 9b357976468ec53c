"""Do the weights make the source look like the target, and how many rows do they rest on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._influence import effective_rows
from shift_detectors._random import check_random_state

from .._rows import column_names, read_both
from ._encoder import NumberEncoder, pool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BALANCED = 0.1  # |standardised mean difference| up to which a column counts as balanced
LARGEST = 10  # rows named
DRAWN = 20  # columns drawn and printed, those that differed most
COMPARED = 2000  # rows per domain whose nearest neighbours are looked up
NEAR = 10  # neighbour whose distance says whether a row lies where the source has rows
FEWEST = 30  # distinct source rows among which that can be judged


@dataclass(frozen=True)
class WeightDiagnosis:
    """What weights do to a source sample, as `diagnose_weights` found it.

    Attributes
    ----------
    features : tuple of str
        Columns that vary; a category counts as one column per frequent level.
    before, after : tuple of float
        Standardised mean difference of every column, target minus source, without and with the weights.
    effective_sample_size : float
        ``sum(w)^2 / sum(w^2)``.
    n_source, n_target : int
    largest : tuple of (int, float)
        Row number and weight (in multiples of the mean) of the heaviest source rows, heaviest first.
    top_weight_share : float
        Share of the weight on the heaviest percent of the rows.
    coverage : float
        Share of the target rows that have a source row as near as source rows have each other: no farther than
        99 % of them. About .99 without shift; weights cannot help the rest.
    weights : ndarray of shape (n_source,)
        Mean 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (2000, 2)), rng.normal([0.5, 0], 1, (2000, 2))
    >>> round(diagnose_weights(source, target, np.ones(2000)).effective_sample_size)
    2000
    """

    features: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    effective_sample_size: float
    n_source: int
    n_target: int
    largest: tuple[tuple[int, float], ...]
    top_weight_share: float
    coverage: float
    weights: np.ndarray = field(repr=False, compare=False)

    @property
    def unbalanced(self) -> tuple[str, ...]:
        """Columns whose weighted mean is still more than .1 standard deviations away from the target's."""
        return tuple(f for f, after in zip(self.features, self.after, strict=True) if abs(after) > BALANCED)

    @property
    def summary(self) -> str:
        """The findings in three sentences."""
        n_before = sum(abs(b) > BALANCED for b in self.before)
        share = self.effective_sample_size / self.n_source
        return (
            f"{n_before} of {len(self.features)} columns differ by more than {BALANCED} standard deviations before "
            f"weighting, {len(self.unbalanced)} after. The effective sample size is "
            f"{self.effective_sample_size:.0f} of {self.n_source} source rows ({share:.0%}); the heaviest percent has "
            f"{self.top_weight_share:.0%} of the weight. {self.coverage:.0%} of the target lies near source rows."
        )

    def __str__(self) -> str:
        width = max(len(name) for name in self.features)
        lines = [self.summary, "", f"{'':{width}}  before   after"]
        lines += [f"{name:{width}}  {b:+6.2f}  {a:+6.2f}" for name, b, a in self.ranked()]
        if len(self.features) > DRAWN:
            lines.append(f"... and {len(self.features) - DRAWN} more")
        heaviest = ", ".join(f"row {row}: {weight:.1f}" for row, weight in self.largest[:5])
        return "\n".join([*lines, "", f"Largest weights (mean 1): {heaviest}"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td>{b:+.2f}</td><td>{a:+.2f}</td></tr>"
            for name, b, a in self.ranked()
        )
        return (
            f"<div style='max-width:60rem'><p>{escape(self.summary)}</p><details><summary>Balance</summary>"
            f"<table><tr><th></th><th>before</th><th>after</th></tr>{cells}</table></details>"
            "<p>Picture: <code>.plot()</code></p></div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single weights, as plain values for JSON."""
        rows = zip(self.features, self.before, self.after, strict=True)
        return {
            "balance": [{"feature": name, "before": b, "after": a} for name, b, a in rows],
            "effective_sample_size": self.effective_sample_size,
            "n_source": self.n_source,
            "n_target": self.n_target,
            "largest": [{"row": row, "weight": weight} for row, weight in self.largest],
            "top_weight_share": self.top_weight_share,
            "coverage": self.coverage,
        }

    def plot(self, ax: Any = None) -> Figure:
        """Draw the balance before and after, and the histogram of the weights.

        Parameters
        ----------
        ax : pair of matplotlib Axes, or one, optional
            Axes of the two pictures; on a single one only the balance is drawn. By default a new figure.

        Returns
        -------
        matplotlib Figure
        """
        from shift_detectors._display import set_heading
        from shift_detectors._figure import ReportFigure
        from shift_detectors._plot import WeightsDisplay
        from shift_detectors._style import style

        from ..report._balance import BalanceDisplay

        balance = BalanceDisplay(self)
        with style():
            if ax is None:
                figure = ReportFigure(figsize=(9, balance.size[1] + 0.6), layout="constrained")
                ax = figure.subplots(1, 2, width_ratios=[3, 2])
            axes = np.ravel(ax)
            balance.plot(axes[0])
            set_heading(axes[0], balance.title, balance.subtitle)
            if len(axes) > 1:
                WeightsDisplay(self.weights).plot(axes[1])
                largest = ", ".join(f"{weight:.1f}" for _, weight in self.largest[:3])
                share = f"The heaviest percent has {self.top_weight_share:.0%} of the weight"
                set_heading(axes[1], f"Largest weights {largest}", share)
        return axes[0].figure

    def ranked(self) -> list[tuple[str, float, float]]:
        """The columns that are shown, with their two differences, the largest first."""
        rows = zip(self.features, self.before, self.after, strict=True)
        return sorted(rows, key=lambda row: -max(abs(row[1]), abs(row[2])))[:DRAWN]


def diagnose_weights(
    X_source: Any, X_target: Any, weights: Any, *, feature_names: Sequence[str] | None = None
) -> WeightDiagnosis:
    """Compare the source with the target, without and with weights.

    The standardised mean difference of a column is::

        ( mean_target - sum_i w_i x_i / sum_i w_i ) / sqrt( (var_source + var_target) / 2 )

    with the same denominator before (w = 1) and after. Balanced means are necessary, not sufficient: weights from a
    wrong ratio may balance means and miss everything else.

    Parameters
    ----------
    X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        A sparse matrix with more than 50 columns is compared on 50 components, named by their heaviest columns.
    weights : array-like of shape (n_source,)
        Non-negative, on any scale.
    feature_names : sequence of str, optional
        Names of the columns of arrays.

    Returns
    -------
    WeightDiagnosis

    References
    ----------
    Austin, Stuart (2015), Moving towards best practice when using inverse probability of treatment weighting,
    Statistics in Medicine 34(28):3661-3679.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (2000, 2)), rng.normal([0.5, 0], 1, (2000, 2))
    >>> found = diagnose_weights(source, target, np.exp(0.5 * source[:, 0]), feature_names=["age", "weight"])
    >>> np.round(found.before, 1).tolist(), np.round(found.after, 1).tolist()
    ([0.5, 0.0], [0.1, 0.0])
    >>> found.unbalanced
    ()
    """
    X_source, X_target = read_both(X_source, X_target, "X_source")
    names = column_names(X_source)
    weights = np.asarray(weights, float)
    if weights.shape != (X_source.shape[0],):
        raise InputError(
            f"weights of shape {weights.shape}",
            f"shape ({X_source.shape[0]},), one per row of X_source",
            "Pass the source rows that the weights are of.",
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise InputError("negative, missing, infinite or only zero weights", "finite weights >= 0", "Check them.")
    if feature_names is not None and len(feature_names) != X_source.shape[1]:
        raise InputError(f"{len(feature_names)} feature_names", f"{X_source.shape[1]}", "Name every column.")
    encode = NumberEncoder(pool(X_source, X_target), check_random_state(0))
    source, target = encode(X_source), encode(X_target)
    weights = weights / weights.mean()
    names = encode.names(names if feature_names is None else feature_names)
    spread = np.sqrt((source.var(axis=0) + target.var(axis=0)) / 2)
    varies = np.flatnonzero((spread > 1e-12) | (np.abs(target.mean(0) - source.mean(0)) > 1e-12))
    if not len(varies):
        raise InputError("only constant columns", "at least one that varies", "There is nothing to balance.")
    spread = np.maximum(spread, 1e-12)  # constant in each domain but at two values: infinitely far apart, nearly
    before = (target.mean(0) - source.mean(0)) / spread
    after = (target.mean(0) - np.average(source, axis=0, weights=weights)) / spread
    heaviest = np.argsort(-weights, kind="stable")[: max(LARGEST, len(weights) // 100)]
    return WeightDiagnosis(
        features=tuple(names[j] for j in varies),
        before=tuple(before[varies].tolist()),
        after=tuple(after[varies].tolist()),
        effective_sample_size=effective_rows(weights),
        n_source=len(source),
        n_target=len(target),
        largest=tuple((int(row), float(weights[row])) for row in heaviest[:LARGEST]),
        top_weight_share=float(weights[heaviest[: max(1, len(weights) // 100)]].sum() / weights.sum()),
        coverage=_coverage(source, target),
        weights=weights,
    )


def covered_share(X_source: Any, X_target: Any, groups: np.ndarray | None = None) -> float:
    """Share of target rows as near to the source as 99 % of its rows, and in each column between them.

    Near is the distance to the tenth distinct source row, one per group: rows that are nearly the same are near to each
    other wherever they lie. Among many columns one that lies apart hardly counts as a distance, hence the second. Of at
    most 2000 rows a side; with fewer than 30 distinct source rows nothing is far, and the share is 1.
    """
    rng = np.random.RandomState(0)
    apart = np.arange(X_source.shape[0]) if groups is None else np.unique(groups, return_index=True)[1]
    X_source = take_rows(X_source, rng.permutation(apart)[:COMPARED])
    X_target = take_rows(X_target, rng.permutation(X_target.shape[0])[:COMPARED])
    encode = NumberEncoder(pool(X_source, X_target), rng)
    source = np.unique(encode(X_source), axis=0)
    if len(source) < FEWEST:
        return 1.0
    index = NearestNeighbors(n_neighbors=NEAR).fit(source)
    target = encode(X_target)
    own, distances = index.kneighbors()[0][:, -1], index.kneighbors(target)[0][:, -1]
    between = (source.min(axis=0) <= target) & (target <= source.max(axis=0))
    return float(min(np.mean(distances <= np.quantile(own, 0.99)), between.mean(axis=0).min()))


def _coverage(source: np.ndarray, target: np.ndarray) -> float:
    """Share of target rows as near to a source row as 99 % of the source rows are to another."""
    index = NearestNeighbors().fit(source)
    own = index.kneighbors(source[:: -(-len(source) // COMPARED)], min(2, len(source)))[0][:, -1]
    distances = index.kneighbors(target[:: -(-len(target) // COMPARED)], 1)[0][:, 0]
    return float(np.mean(distances <= np.quantile(own, 0.99)))
