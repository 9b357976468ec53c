"""Rows that stand on both sides, in a fit on the rows of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp


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
