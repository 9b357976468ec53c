"""Small summaries of both samples, enough to draw them without keeping the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from ._random import check_random_state
from ._results import DomainMap, FeatureSummary
from ._table import Table

MAX_BINS = 30
MAX_CATEGORIES = 12
MAX_ROWS = 600  # rows a side on the map
TAIL = 0.005  # share of each side's rows that an axis may leave to its end bins


def summarise(table: Table, order: Sequence[str], weight: np.ndarray | None = None) -> tuple[FeatureSummary, ...]:
    """Bin every feature of both samples on common edges.

    Numeric features: at most 30 bins of equal width between the smaller of the two 0.5 % quantiles and the
    larger of the two 99.5 % quantiles, so that neither one outlier nor a small side is lost; values beyond
    are counted in the end bins. Bins of whole numbers have whole widths. Categories: the 12 that are most
    frequent in the mean of both sides, the others together.

    Parameters
    ----------
    table : Table
    order : sequence of str
        Names of the features to summarise, in this order.
    weight : ndarray of shape (n,), optional
        What the rows represent: shares are those of the weight. The edges are those of the rows.

    Returns
    -------
    tuple of FeatureSummary

    Examples
    --------
    >>> import numpy as np
    >>> from shift_detectors._table import Table
    >>> x = np.r_[0.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0, np.nan][:, None]
    >>> table = Table(x, np.empty((8, 0), np.int32), ("visits",), (), (), n_source=4)
    >>> (visits,) = summarise(table, ["visits"])
    >>> visits.bins
    (-0.5, 0.5, 1.5, 2.5)
    >>> visits.source.tolist(), round(visits.missing_target, 2)
    ([0.25, 0.5, 0.25], 0.25)
    """
    numeric = {name: j for j, name in enumerate(table.numeric_names)}
    categorical = {name: j for j, name in enumerate(table.categorical_names)}
    weights = np.split(np.ones(table.n) if weight is None else weight, [table.n_source])
    return tuple(
        _numeric(table, numeric[name], weights) if name in numeric else _categorical(table, categorical[name], weights)
        for name in order
    )


def _numeric(table: Table, j: int, weights: list[np.ndarray]) -> FeatureSummary:
    name, column = table.numeric_names[j], table.numeric[:, j]
    sides = np.split(column, [table.n_source])
    finite = [np.isfinite(side) for side in sides]
    edges = _edges(*(side[rows] for side, rows in zip(sides, finite, strict=True)))
    shares = [
        _shares(np.searchsorted(edges[1:-1], side[rows], "right"), w[rows], len(edges) - 1)
        for side, rows, w in zip(sides, finite, weights, strict=True)
    ]
    missing = [_missing(np.isnan(side), w) for side, w in zip(sides, weights, strict=True)]
    kind = "datetime" if name in table.datetimes else "numeric"
    return FeatureSummary(name, kind, tuple(edges.tolist()), shares[0], shares[1], *missing)


def _edges(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Common bin edges of two samples without missing values."""
    sides = [side for side in (source, target) if side.size]
    if not sides:
        return np.array([0.0, 1.0])
    quantiles = np.array([np.quantile(side, [TAIL, 1 - TAIL]) for side in sides])
    low, high = quantiles[:, 0].min(), quantiles[:, 1].max()
    bins = int(np.clip(2 * min(side.size for side in sides) ** (1 / 3), 6, MAX_BINS))
    if max(abs(low), abs(high)) < 2**52 and all(np.all(side == np.rint(side)) for side in sides):
        low, high = np.floor(low), np.ceil(high)
        width = np.ceil((high - low + 1) / (MAX_BINS if high - low < MAX_BINS else bins))
        return low - 0.5 + width * np.arange(int(np.ceil((high - low + 1) / width)) + 1)
    if not high > low:
        low, high = low - 0.5 * max(1, abs(low)), high + 0.5 * max(1, abs(high))
    return np.linspace(low, high, bins + 1)


def _categorical(table: Table, j: int, weights: list[np.ndarray]) -> FeatureSummary:
    sides, values = np.split(table.codes[:, j], [table.n_source]), table.categories[j]
    shares = np.array(
        [_shares(side[side >= 0], w[side >= 0], len(values)) for side, w in zip(sides, weights, strict=True)]
    )
    used = np.flatnonzero(shares.sum(axis=0))
    used = used[np.argsort(-shares.sum(axis=0)[used], kind="stable")]
    top, rest = used[:MAX_CATEGORIES], used[MAX_CATEGORIES:]
    names = [str(values[k]) for k in top]
    drawn = shares[:, top]
    if len(rest):
        names.append(f"other ({len(rest)})")
        drawn = np.column_stack([drawn, shares[:, rest].sum(axis=1)])
    missing = [_missing(side < 0, w) for side, w in zip(sides, weights, strict=True)]
    return FeatureSummary(table.categorical_names[j], "categorical", tuple(names), drawn[0], drawn[1], *missing)


def _shares(bins: np.ndarray, weight: np.ndarray, n_bins: int) -> np.ndarray:
    """Share of the weight that lies in each bin; zero where there is none."""
    mass = np.bincount(bins, weights=weight, minlength=n_bins)
    return mass / (mass.sum() or 1.0)


def _missing(mask: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(mask, weights=weight)) if mask.size else 0.0


def domain_map(table: Table, y_source: np.ndarray | None = None, random_state=None) -> DomainMap:
    """Project both samples on the first two principal components of the encoded table.

    The components are those of the drawn rows, as many of each side as there are (up to 600), so that the
    larger sample does not choose the view.

    Parameters
    ----------
    table : Table
    y_source : ndarray of shape (n_source,), optional
        Labels; those of the drawn rows are kept.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainMap
    """
    rng = check_random_state(random_state)
    source = np.sort(rng.permutation(table.n_source)[:MAX_ROWS])
    target = np.sort(rng.permutation(table.n_target)[:MAX_ROWS])
    rows = table.design[np.r_[source, table.n_source + target]].astype(float)
    points, explained = np.zeros((len(rows), 2)), np.zeros(2)
    k = min(2, *rows.shape)
    if k and np.ptp(rows, axis=0).any():
        pca = PCA(k, random_state=rng.randint(2**31 - 1))
        points[:, :k] = pca.fit_transform(rows)
        explained[:k] = pca.explained_variance_ratio_
    return DomainMap(
        points[: len(source)],
        points[len(source) :],
        None if y_source is None else np.asarray(y_source)[source],
        (float(explained[0]), float(explained[1])),
    )
