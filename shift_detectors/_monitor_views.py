"""What a monitor looks at: the rows of any table as a few numbers each, cut into bins that are fixed once.

Everything is learned from one part of the reference (the frame) and none of it from the other (the pool), which
therefore stays exchangeable with the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf

from ._columns import Rows, read_rows, read_table
from ._errors import InputError
from ._monitor_bets import scores
from ._representation import represent
from ._table import Table

BINS = 33  # of a view; the last one is for missing values
MAX_INDICATORS = 8  # categories of a feature that are watched one by one
RARE = 5  # rows of the frame below which a category is watched with the other rare ones
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


class Reader:
    """Reads rows of any supported type into the columns of the reference.

    Parameters
    ----------
    schema : list of dict
        Per watched column its name, and for categories their values.
    named : bool
        False: columns are matched by position.
    left_out : list of str
        Columns that are not watched.
    """

    def __init__(self, schema: list[dict], named: bool, left_out: list[str]):
        self.schema, self.named, self.left_out = schema, named, left_out

    @classmethod
    def of(cls, X: Any, exclude: Any, representation: Any) -> tuple[Reader, Table, list[str]]:
        """The reader of a reference, the reference as a table, and notes."""
        rows = _rows(X, representation, "X_reference")
        table, notes = read_table(rows, rows, exclude, ("X_reference", "X_reference"))
        if table.datetimes:
            names = ", ".join(map(repr, sorted(table.datetimes)))
            notes.append(f"Left out: {names}, because dates move on in every stream.")
            table = table.without(table.datetimes)
        if not table.names:
            raise InputError("X_reference has no column that can be watched", "numbers or categories")
        table = table.take(np.arange(table.n_source), table.n_source)
        schema: list[dict] = [{"name": name} for name in table.numeric_names]
        for name, values in zip(table.categorical_names, table.categories, strict=True):
            schema.append({"name": name, "values": _plain(values)})
        order = {name: k for k, name in enumerate(rows.names)}
        schema.sort(key=lambda column: order[column["name"]])
        watched = {column["name"] for column in schema}
        return cls(schema, rows.named, [name for name in rows.names if name not in watched]), table, notes

    def read(self, X: Any, representation: Any) -> Table:
        """The rows of a batch as a table like the reference's; unknown categories get the code after the last one."""
        rows = _rows(X, representation, "X_batch")
        if rows.data.shape[0] == 0:
            raise InputError("X_batch is empty", "at least one row", "Skip batches without rows.")
        exclude = [name for name in self.left_out if name in rows.names]
        table, _ = read_table(self._prototype(rows), rows, exclude, ("X_reference", "X_batch"))
        n = rows.data.shape[0]
        table = table.take(np.arange(table.n - n, table.n), 0)
        numeric, codes = [], []
        for column in self.schema:
            name = column["name"]
            among = table.categorical_names if "values" in column else table.numeric_names
            if name not in among:
                kinds = ("numbers", "categories") if "values" in column else ("categories", "numbers")
                raise InputError(
                    f"column {name!r} of X_batch holds {kinds[0]}",
                    f"{kinds[1]}, as in the reference",
                    "Convert it as the reference was converted.",
                )
            j = among.index(name)
            if "values" not in column:
                numeric.append(table.numeric[:, j])
                continue
            place = {value: k for k, value in enumerate(column["values"])}
            known = np.array([place.get(value, len(place)) for value in _plain(table.categories[j])] + [-1])
            codes.append(known[table.codes[:, j]])
        return Table(
            np.column_stack(numeric) if numeric else np.empty((n, 0)),
            np.column_stack(codes).astype(np.int32) if codes else np.empty((n, 0), np.int32),
            tuple(column["name"] for column in self.schema if "values" not in column),
            tuple(column["name"] for column in self.schema if "values" in column),
            tuple(np.array(column["values"], object) for column in self.schema if "values" in column),
            0,
        )

    def _prototype(self, batch: Rows) -> Rows:
        """Two rows with the types of the reference, beside which a batch is read and checked."""
        names = tuple(column["name"] for column in self.schema)
        if not self.named:
            names = tuple(sorted([*names, *self.left_out], key=lambda name: int(name[1:])))
        if not any("values" in column for column in self.schema) and isinstance(batch.data, np.ndarray):
            return Rows(np.zeros((2, len(names))), names, self.named)
        columns: dict[str, Any] = dict.fromkeys(names, np.zeros(2))
        for column in self.schema:
            if "values" in column:
                boolean = all(isinstance(value, bool) for value in column["values"])
                # beside a declared category, text is read as categories however many distinct ones it has
                columns[column["name"]] = [True, False] if boolean else pd.Categorical([column["values"][0]] * 2)
        return Rows(pd.DataFrame(columns), names, self.named)


def _rows(X: Any, representation: Any, argument: str) -> Rows:
    if representation is not None:
        X = represent(representation, X, argument)
    rows = read_rows(X, argument)
    if hasattr(rows.data, "tocsr"):
        if len(rows.names) > 1000:
            raise InputError(
                f"{argument} is sparse with {len(rows.names)} columns",
                "at most 1000 sparse columns",
                "Pass representation= (a fitted TruncatedSVD, say).",
            )
        rows = Rows(np.asarray(rows.data.toarray(), float), rows.names, rows.named)
    return rows


def _plain(values: Any) -> list:
    """Category values as JSON keeps them: whatever is no text, number or boolean by its text."""
    plain = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [value if isinstance(value, (str, int, float, bool)) else str(value) for value in plain]


# ------------------------------------------------------------------ views of features


class FeatureViews:
    """Numbers per row: every numeric column, an indicator per frequent category, and how much is missing or new.

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
        plan.append(("gaps", 0, None))
        views.append(View(GAPS, value="such rows"))
        self = cls(plan, views, np.zeros((0, 0)), np.zeros(0, bool))
        self.edges, self.ordered = edges_of(self.values(frame))
        return self

    def values(self, table: Table) -> np.ndarray:
        """Matrix of shape (n, n_views), NaN where missing."""
        result = np.empty((table.n, len(self.plan)))
        for k, (what, j, codes) in enumerate(self.plan):
            if what == "number":
                result[:, k] = table.numeric[:, j]
            elif what == "missing":
                result[:, k] = np.isnan(table.numeric[:, j])
            elif what == "code":
                result[:, k] = np.isin(table.codes[:, j], codes)
            elif what == "not":
                result[:, k] = ~np.isin(table.codes[:, j], [-1, *codes])
            else:
                new = table.codes >= np.array([len(values) for values in table.categories], int)[None, :]
                result[:, k] = np.isnan(table.numeric).sum(axis=1) + ((table.codes < 0) | new).sum(axis=1)
        return result

    def bins(self, table: Table) -> np.ndarray:
        """Bins of the views, uint8."""
        return digitise(self.values(table), self.edges)


def edges_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of bins at quantiles of the columns, padded with infinity, and which columns are not 0/1.

    A column of few distinct values has a bin for each.
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
        if len(distinct) >= BINS:
            count = min(BINS - 2, max(4, len(present) // 8))
            places = np.arange(1, count + 1) * len(present) // (count + 1) - 1
            distinct = np.unique(np.sort(present)[np.maximum(places, 0)])
        else:
            distinct = distinct[: BINS - 2] + np.append(np.diff(distinct), 1.0)[: BINS - 2] / 2  # between the values
        edges[k, : len(distinct)] = distinct
    return edges, ordered


def digitise(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bins of every column, the last one for NaN."""
    bins = np.empty(values.shape, np.uint8)
    for k, column in enumerate(values.T):
        bins[:, k] = np.searchsorted(edges[k], column, side="left")
    bins[np.isnan(values)] = BINS - 1
    return bins


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
        self.first, self.pairs, self.frame = first, pairs, frame
        linear = self.frame_linear
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
        return ((centred @ self.precision) * centred).sum(axis=1)

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


def bin_scores(bins: np.ndarray, n_bins: int, ordered: np.ndarray) -> np.ndarray:
    """First scores of the bins under the frequencies of the frame."""
    counts = np.array([np.bincount(column, minlength=n_bins) for column in bins.T]).astype(float)
    return scores((counts / counts.sum(axis=1, keepdims=True)), ordered)[0]
