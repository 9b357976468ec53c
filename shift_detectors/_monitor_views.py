"""What a monitor looks at: the rows of any table as a few numbers each, cut into bins that are fixed once.

Everything is learned from one part of the reference (the frame) and none of it from the other (the pool), which
therefore stays exchangeable with the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.covariance import ledoit_wolf

from ._table import Table

BINS = 33  # of a view; the last one is for missing values
MAX_INDICATORS = 8  # categories of a feature that are watched one by one
RARE = 5  # rows of the frame below which a category is watched with the other rare ones; of a number, on average
MAX_PRODUCTS = 300  # products of two views, in which correlations and scales are learned
DISTANCE, GAPS, DIRECTION = "distance from the centre", "missing or new values", "combination of features"


@dataclass(frozen=True)
class View:
    """One watched number.

    Attributes
    ----------
    source : str
        The feature it belongs to, or what else evidence is reported for.
    kind : str
        ``"feature"``, ``"distance"``, ``"output"``, ``"label"``, ``"error"`` or ``"direction"``.
    value : str
        The category that is counted, ``""`` for numbers.
    """

    source: str
    kind: str = "feature"
    value: str = ""


class FeatureViews:
    """Numbers per row: every numeric column, an indicator per frequent category, and how much is missing or new.

    A value is new if no row of the frame has it, where the frame has only few values, of numbers, too.

    Parameters
    ----------
    frame : Table
    """

    def __init__(self, plan: list[tuple[str, int, Any]], views: list[View], edges: np.ndarray, ordered: np.ndarray):
        self.plan, self.views, self.edges, self.ordered = plan, views, edges, ordered

    @classmethod
    def of(cls, frame: Table) -> FeatureViews:
        plan, views = [], []
        for j, name in enumerate(frame.numeric_names):
            plan.append(("number", j, None))
            views.append(View(name))
            if 0 < np.isnan(frame.numeric[:, j]).sum() < frame.n:
                plan.append(("missing", j, None))
                views.append(View(name, value="missing"))
        for j, name in enumerate(frame.categorical_names):
            count = np.bincount(frame.codes[:, j] + 1, minlength=len(frame.categories[j]) + 2)
            frequent = [code for code in np.argsort(-count[1:], kind="stable") if count[code + 1] >= RARE]
            frequent = frequent[:MAX_INDICATORS]
            rest = count.sum() - sum(count[code + 1] for code in frequent) - count[0]
            if len(frequent) == 2 and not rest and not count[0]:
                frequent = frequent[1:]
            for code in frequent:
                plan.append(("code", j, [int(code)]))
                views.append(View(name, value=repr(str(frame.categories[j][code]))))
            if rest:
                plan.append(("not", j, [int(code) for code in frequent]))
                views.append(View(name, value="other values"))
            if count[0]:
                plan.append(("code", j, [-1]))
                views.append(View(name, value="missing"))
        plan.append(("gaps", 0, [_known(column) for column in frame.numeric.T]))
        views.append(View(GAPS, value="such rows"))
        self = cls(plan, views, np.zeros((0, 0)), np.ones(len(plan), bool))
        self.edges, self.ordered = edges_of(self.values(frame))
        return self

    def values(self, table: Table) -> np.ndarray:
        """Matrix of shape (n, n_views), NaN where missing."""
        result = np.empty((table.n, len(self.plan)))
        for k, (what, j, codes) in enumerate(self.plan):
            if what == "number":
                column = table.numeric[:, j]
                result[:, k] = column if self.ordered[k] else np.where(np.isnan(column), np.nan, column > 0.5)
            elif what == "missing":
                result[:, k] = np.isnan(table.numeric[:, j])
            elif what == "code":
                result[:, k] = np.isin(table.codes[:, j], codes)
            elif what == "not":
                result[:, k] = ~np.isin(table.codes[:, j], [-1, *codes])
            else:
                new = table.codes >= np.array([len(values) for values in table.categories], int)[None, :]
                result[:, k] = np.isnan(table.numeric).sum(axis=1) + ((table.codes < 0) | new).sum(axis=1)
                for column, known in zip(table.numeric.T, codes, strict=True):
                    if known:
                        result[:, k] += ~(np.isnan(column) | np.isin(column, known))
        return result


def _known(column: np.ndarray) -> list[float]:
    """All values of a column of few numbers, each of several rows: another one is new; none of a measurement."""
    present = column[~np.isnan(column)]
    distinct = np.unique(present)
    few = len(distinct) <= min(BINS - 3, len(present) / RARE)
    return distinct.tolist() if few else []


def edges_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of bins at quantiles of the columns, padded with infinity, and which columns are not 0/1.

    A column of few distinct values has a bin for each, and one for what lies below or above all of them.
    """
    edges = np.full((values.shape[1], BINS - 2), np.inf)
    ordered = np.ones(values.shape[1], bool)
    for k, column in enumerate(values.T):
        present = column[~np.isnan(column)]
        distinct = np.unique(present)
        ordered[k] = not np.isin(distinct, (0, 1)).all()
        if not ordered[k]:
            edges[k, 0] = 0.5
            continue
        if len(distinct) > BINS - 3:
            count = min(BINS - 2, max(4, len(present) // 8))
            places = np.arange(1, count + 1) * len(present) // (count + 1) - 1
            distinct = np.unique(np.sort(present)[np.maximum(places, 0)])
        else:
            between = (distinct[1:] + distinct[:-1]) / 2
            distinct = np.concatenate([np.nextafter(distinct[:1], -np.inf), between, distinct[-1:]])
        edges[k, : len(distinct)] = distinct
    return edges, ordered


def digitise(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bins of every column, the last one for NaN."""
    bins = np.empty(values.shape, np.uint8)
    for k, column in enumerate(values.T):
        bins[:, k] = np.searchsorted(edges[k], column, side="left")
    bins[np.isnan(values)] = BINS - 1
    return bins


def settled(values: np.ndarray) -> np.ndarray:
    """Computed numbers to 32 bits, so that equal rows get equal ones.

    The last bits of a product of matrices depend on how many rows there are; where rows are equal, these bits decide in
    which bin they are.

    Examples
    --------
    >>> settled(np.array([0.1 + 0.2, 1e9])) == settled(np.array([0.3, 1e9]))
    array([ True,  True])
    """
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2.0**32), exponent - 32)


# ------------------------------------------------------------------ what the views say together


class Geometry:
    """Scores of the views as a Euclidean space: distance from the centre, and directions in which rows moved.

    Parameters
    ----------
    first : ndarray of shape (n_views, n_bins)
        Score of every bin.
    pairs : ndarray of int, shape (n_pairs, 2)
        The views that are multiplied.
    frame : ndarray of uint8, shape (n_frame, n_views)
        Bins of the frame.
    """

    STATE = ("first", "pairs", "frame", "centre", "precision", "product_mean", "product_variance")

    def __init__(self, first: np.ndarray, pairs: np.ndarray, frame: np.ndarray):
        self.first, self.frame = first, frame
        linear = self.frame_linear
        varies = np.ptp(linear, axis=0) > 0
        self.pairs = pairs[varies[pairs].all(axis=1)]  # a product with a constant is no product
        products = self.frame_products
        self.centre, self.product_mean = linear.mean(axis=0), products.mean(axis=0)
        self.precision = np.linalg.inv(ledoit_wolf(linear)[0] + 1e-3 * np.eye(linear.shape[1]))
        self.product_variance = products.var(axis=0) + 1e-3

    @cached_property
    def frame_linear(self) -> np.ndarray:
        """First scores of the frame."""
        return self.linear(self.frame)

    @cached_property
    def frame_products(self) -> np.ndarray:
        """Products of the frame."""
        return self.products(self.frame_linear)

    def linear(self, bins: np.ndarray) -> np.ndarray:
        """First scores of the rows, shape (n, n_views)."""
        return self.first[np.arange(self.first.shape[0]), bins]

    def products(self, linear: np.ndarray) -> np.ndarray:
        """Products of two scores, shape (n, n_pairs)."""
        return linear[:, self.pairs[:, 0]] * linear[:, self.pairs[:, 1]]

    def distance(self, linear: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance from the frame's centre."""
        centred = linear - self.centre
        return settled(((centred @ self.precision) * centred).sum(axis=1))

    def directions(self, mean: np.ndarray, product_mean: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
        """Where rows of this mean went: the linear discriminant, and the products that clearly moved.

        The second is a discriminant with a diagonal covariance; a product counts by how far its t-statistic lies
        beyond 2.
        """
        moved = self.precision @ (mean - self.centre)
        change = product_mean - self.product_mean
        t2 = change**2 / (self.product_variance * (1 / n + 1 / len(self.frame_linear)))
        sure = np.maximum(1 - 4 / np.maximum(t2, 1e-12), 0)
        return moved, change / self.product_variance * (sure if sure.any() else 1.0)

    def state(self) -> dict[str, np.ndarray]:
        """What was learned from the frame."""
        return {name: getattr(self, name) for name in self.STATE}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray]) -> Geometry:
        """From `state`, to the last bit."""
        self = cls.__new__(cls)
        for name in cls.STATE:
            setattr(self, name, arrays[name])
        return self


def draw_pairs(ordered: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pairs of views to multiply: all squares of numbers, then pairs at random up to a number."""
    numbers = np.flatnonzero(ordered)
    squares = np.column_stack([numbers, numbers])
    a, b = np.triu_indices(len(ordered), 1)
    if len(a) > MAX_PRODUCTS:
        chosen = np.sort(rng.permutation(len(a))[:MAX_PRODUCTS])
        a, b = a[chosen], b[chosen]
    return np.concatenate([squares, np.column_stack([a, b])])
