"""A few characters that stand for the data of a report, so that it is not taken for a report of other data."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ._column_kinds import as_numbers, kind_of
from ._columns import from_polars_series, is_polars, read_rows, take_rows
from ._errors import InputError

MOST = 10_000  # rows that are looked at, evenly spaced


def digest_of(X: Any, y: Any = None) -> str:
    """The same for the same values in the same rows, whatever holds them and however the columns are ordered.

    Parameters
    ----------
    X : array, DataFrame, sparse matrix or list of rows
    y : array-like of shape (n_rows,), optional
        All values missing is the same as None.

    Returns
    -------
    str
        Empty for rows that are no table in memory.
    """
    if not isinstance(X, (np.ndarray, pd.DataFrame, list)) and not sp.issparse(X) and not is_polars(X):
        return ""
    n = len(X) if isinstance(X, list) else X.shape[0]
    which = np.unique(np.linspace(0, n - 1, min(n, MOST)).astype(np.intp))
    try:
        data = read_rows(take_rows(X, which), "X").data
    except InputError:  # images, texts: what a representation takes
        return ""
    if sp.issparse(data):
        data = data.tocsc()
        data.sum_duplicates()
        columns = [_of_numbers(part) for part in (data.data, data.indices, data.indptr)]
    elif isinstance(data, pd.DataFrame):
        columns = sorted(_of_column(data[name]) for name in data.columns)
    else:
        columns = sorted(_of_numbers(column) for column in data.T)
    if y is not None:
        labels = from_polars_series(y) if is_polars(y) else pd.Series(np.ravel(np.asarray(y, dtype=object)))
        if labels.notna().any():
            columns.append(_of_column(labels.iloc[which]))
    return _short(f"{n} {' '.join(columns)}".encode())


def names_digest(X: Any) -> str:
    """The same for the same column names in any order; empty for rows without."""
    if not isinstance(X, pd.DataFrame) and not (is_polars(X) and hasattr(X, "columns")):
        return ""
    return _short("\n".join(sorted(map(str, X.columns))).encode())


def _of_column(values: pd.Series) -> str:
    """Numbers and truth values by value, everything else by its text; missing is missing."""
    values = values.astype(object)
    if kind_of(values) in ("number", "boolean"):
        return _of_numbers(as_numbers(values))
    texts = ("" if missing else str(value) for value, missing in zip(values, values.isna(), strict=True))
    return _short("\n".join(texts).encode())


def _of_numbers(values: np.ndarray) -> str:
    values = np.array(values, dtype=float) + 0.0  # one zero
    values[np.isnan(values)] = np.nan  # and one NaN
    return _short(values.tobytes())


def _short(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()
