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


def summarise(table: Table, order: Sequence[str]) -> tuple[FeatureSummary, ...]:
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
    return tuple(
        _numeric(table, numeric[name]) if name in numeric else _categorical(table, categorical[name]) for name in order
    )


def _numeric(table: Table, j: int) -> FeatureSummary:
    name, column = table.numeric_names[j], table.numeric[:, j]
    sides = column[: table.n_source], column[table.n_source :]
    finite = tuple(side[np.isfinite(side)] for side in sides)
    edges = _edges(*finite)
    inner = edges[1:-1]
    shares = [np.bincount(np.searchsorted(inner, side, "right"), minlength=len(edges) - 1) for side in finite]
    return FeatureSummary(
        name,
        "datetime" if name in table.datetimes else "numeric",
        tuple(edges.tolist()),
        shares[0] / max(1, len(finite[0])),
        shares[1] / max(1, len(finite[1])),
        _missing(np.isnan(sides[0])),
        _missing(np.isnan(sides[1])),
    )


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


def _categorical(table: Table, j: int) -> FeatureSummary:
    codes, values = table.codes[:, j], table.categories[j]
    sides = codes[: table.n_source], codes[table.n_source :]
    counts = np.array([np.bincount(side[side >= 0], minlength=len(values)) for side in sides], float)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    used = np.flatnonzero(shares.sum(axis=0))
    used = used[np.argsort(-shares.sum(axis=0)[used], kind="stable")]
    top, rest = used[:MAX_CATEGORIES], used[MAX_CATEGORIES:]
    names = [str(values[k]) for k in top]
    drawn = shares[:, top]
    if len(rest):
        names.append(f"other ({len(rest)})")
        drawn = np.column_stack([drawn, shares[:, rest].sum(axis=1)])
    missing = [_missing(side < 0) for side in sides]
    return FeatureSummary(table.categorical_names[j], "categorical", tuple(names), drawn[0], drawn[1], *missing)


def _missing(mask: np.ndarray) -> float:
    return float(mask.mean()) if mask.size else 0.0


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
