"""Rows that are equal: within a side a sign that rows are not independent, across the sides that the samples overlap.

Ties between discrete values are normal, so each rule errs on the side of silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ._table import Problem, Table

CHANCE_PAIRS = 0.1  # of the pairs of equal rows within a side to those across, up to which the latter are no chance
PART = 0.95  # of the source rows that stand in the target from which on the source is a part of it
MIN_OTHERS = 10  # further target rows that such a source can be compared with
LEADING_ROWS = 2_000  # in which it is seen whether a column is continuous


def copies(table: Table) -> tuple[float, float]:
    """Share of rows that copy another row of their side, and share of target rows that copy a source row.

    Both are 0 when ties are natural: when no column is continuous (its distinct values lie on a grid), when
    columns with these ties would agree by chance if they were independent (a row is expected to have
    n prod_j sum_v f_j(v)^2 > .1 twins, f_j the frequencies of column j), or, within a side, when the copies
    are of few rows (under five, or under 5 % of the distinct ones), such as the zeros of a zero-inflated
    column.
    """
    hashes = table.row_hashes
    source, target = hashes[: table.n_source], hashes[table.n_source :]
    counts = np.concatenate([np.unique(side, return_counts=True)[1] for side in (source, target)])
    repeated = counts[counts > 1]
    within = repeated.sum() / table.n if len(repeated) >= max(5, 0.05 * len(counts)) else 0.0
    across = np.isin(target, source).mean()
    if not (within or across) or not any(_off_grid(column) for column in table.numeric.T):
        return 0.0, 0.0
    expected = float(table.n)
    for column in (*table.numeric.T, *table.codes.T):
        expected *= np.sum((np.unique(column, return_counts=True)[1] / table.n) ** 2)
    return (0.0, 0.0) if expected > 0.1 else (float(within), float(across))


def twins(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the source and the rows of the target that are the same ones, as positions.

    Rows that stand once on each side, where the samples overlap. Two equal rows that are drawn independently are on the
    same side as often as not, or oftener: unless nearly all pairs lie across, ties are natural and there are no twins.
    """
    _, code, counts = np.unique(table.row_hashes, return_inverse=True, return_counts=True)
    of_two = np.flatnonzero(counts[code] == 2)
    first, second = of_two[np.argsort(code[of_two], kind="stable")].reshape(-1, 2).T
    across = (first < table.n_source) & (second >= table.n_source)
    if (~across).sum() > CHANCE_PAIRS * across.sum():
        return first[:0], second[:0]
    return first[across], second[across]


def compared_target(problem: Problem) -> np.ndarray:
    """Target rows that p(x) is compared on: where the source is a part of the target its other rows, else all of them.

    The target is then a mixture of the source and of these rows: it differs from the source if and only if they do. And
    they are exchangeable with a source that was drawn at random, which makes permutation tests exact; copies on both
    sides would leave them valid, but with far less power. With groups or weights a copy need not be worth its twin.
    """
    table = problem.table
    everything = np.arange(table.n_target)
    if problem.groups is not None or problem.weight is not None:
        return everything
    source, target = twins(table)
    others = np.setdiff1d(everything, target - table.n_source)
    if len(source) < PART * table.n_source or len(others) < MIN_OTHERS:
        return everything
    return others


def _off_grid(column: np.ndarray) -> bool:
    """Whether the distinct values of a column look continuous: 20 at least, not multiples of one step."""
    values = np.unique(column[~np.isnan(column)][:LEADING_ROWS])
    if len(values) < 20:
        return False
    steps = np.diff(values)
    multiples = (values - values[0]) / steps.min()
    return bool((np.abs(multiples - np.round(multiples)) > 0.01).mean() > 0.1)


def half_of_copies(X: Any) -> np.ndarray:
    """Rows to fit a representation on: of rows that are equal every second, all others, as positions.

    Rows that stand on both sides would count twice in a fit on the pooled rows. It would then suit them better than the
    rows of one side alone, and tell the sides apart. What is left out depends on the pooled rows only, not on the side
    they belong to, and frequencies of values that are often repeated stay what they are.

    Examples
    --------
    >>> half_of_copies(["a", "b", "a", "c", "c", "c"]).tolist()
    [0, 1, 3, 5]
    """
    keys = pd.Series(_row_keys(X))
    return np.flatnonzero(keys.groupby(keys, sort=False, dropna=False).cumcount() % 2 == 0)


def _row_keys(X: Any) -> np.ndarray:
    """The same number for equal rows of whatever `take_rows` takes; rows that cannot be compared differ."""
    if sp.issparse(X):
        rows = sp.csr_array(X)
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        return rows @ np.random.default_rng(0).random(rows.shape[1])
    if hasattr(X, "hash_rows"):
        return X.hash_rows().to_numpy()
    try:
        if isinstance(X, pd.DataFrame):
            return pd.util.hash_pandas_object(X, index=False).to_numpy()
        if isinstance(X, np.ndarray) and X.ndim > 1 and X.dtype != object:
            return pd.factorize(np.array([row.tobytes() for row in X], object))[0]
        return pd.factorize(np.fromiter(X, object, len(X)))[0]
    except TypeError:
        return np.arange(len(X))
