"""Rows of any supported table as numbers, also rows that come later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from shift_detectors._errors import InputError
from shift_detectors._sparse_columns import COMPONENTS, component_names

from .._rows import column_names

RARE = 10  # categories with fewer rows share one column
MAX_LEVELS = 30  # indicator columns per categorical feature
CUTS = (0.001, 0.25, 0.75, 0.999)  # quantiles: clipping reaches three interquartile ranges beyond the outer ones
MAX_CODES = 62  # the trees take 64 bins: rarer categories share the last code


class RowEncoder:
    """Learn from the pooled rows how to turn a table into numbers.

    Numbers, booleans and datetimes (seconds) are numeric; text and categories are categorical. A category
    that was rare or not seen at all joins "other"; a missing value is a level of its own.

    Parameters
    ----------
    X : array or DataFrame of shape (n_rows, n_features)
        The pooled rows; which domain a row is from must not enter.
    """

    def __init__(self, X: Any):
        frame = as_frame(X)
        numeric = [_is_numeric(dtype) for dtype in frame.dtypes]
        self.categorical = [j for j, is_number in enumerate(numeric) if not is_number]
        self.numeric = [j for j, is_number in enumerate(numeric) if is_number]
        counts = [frame.iloc[:, j].value_counts() for j in self.categorical]  # by falling frequency
        self.levels = [count.index for count in counts]
        self.frequent = [int(np.sum(count.to_numpy()[:MAX_LEVELS] >= RARE)) for count in counts]
        values = self._numbers(frame)
        with np.errstate(invalid="ignore"):
            self.has_missing = np.isnan(values).any(axis=0)
            empty = np.isnan(values).all(axis=0)
            filled = np.where(empty, 0.0, values)
            quantiles = np.quantile(filled, CUTS, axis=0)
            quantiles[:, self.has_missing] = np.nanquantile(filled[:, self.has_missing], CUTS, axis=0)
            low, q1, q3, high = quantiles.reshape(4, -1)  # also without any numeric column
            self.low, self.high = low - 3 * (q3 - q1), high + 3 * (q3 - q1)
            clipped = np.clip(filled, self.low, self.high)
            self.centre, self.spread = np.nanmean(clipped, axis=0), np.nanstd(clipped, axis=0)
        self.spread[self.spread == 0] = 1.0

    @property
    def n_linear(self) -> int:
        """Columns of `linear`."""
        return len(self.numeric) + int(self.has_missing.sum()) + sum(self.frequent) + len(self.frequent)

    @property
    def tree_categorical(self) -> np.ndarray | None:
        """Which columns of `trees` are categories, None when none is."""
        if not self.categorical:
            return None
        return np.arange(len(self.numeric) + len(self.categorical)) >= len(self.numeric)

    def trees(self, X: Any) -> np.ndarray:
        """Float matrix with NaN where missing and category codes behind the numbers."""
        frame = as_frame(X)
        codes = self._codes(frame).astype(float)
        codes[codes < 0] = np.nan
        return np.column_stack([self._numbers(frame), np.minimum(codes, MAX_CODES)])

    def linear(self, X: Any) -> np.ndarray:
        """Standardised, clipped numbers without missing values, and indicator columns."""
        frame = as_frame(X)
        values = self._numbers(frame)
        missing = np.isnan(values)
        z = (np.clip(values, self.low, self.high) - self.centre) / self.spread
        blocks = [np.where(missing, 0.0, z), missing[:, self.has_missing].astype(float)]
        for codes, frequent in zip(self._codes(frame).T, self.frequent, strict=True):
            # one column per frequent level and one for "missing"; "other" has none
            blocks.append((codes[:, None] == np.arange(frequent)).astype(float))
            blocks.append((codes == MISSING).astype(float)[:, None])
        return np.column_stack(blocks)

    def linear_names(self, columns: Any) -> list[str]:
        """Names of the columns of `linear`, given those of the table (None: x0, x1, ...)."""
        if columns is None:
            columns = [f"x{j}" for j in range(len(self.numeric) + len(self.categorical))]
        numeric = [str(columns[j]) for j in self.numeric]
        names = numeric + [f"{numeric[k]} is missing" for k in np.flatnonzero(self.has_missing)]
        for j, levels, frequent in zip(self.categorical, self.levels, self.frequent, strict=True):
            names += [f"{columns[j]} = {level}" for level in levels[:frequent]] + [f"{columns[j]} is missing"]
        return names

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        part = frame.iloc[:, self.numeric]
        if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in part.dtypes):
            return _finite(part.to_numpy(dtype=float))  # at once: hundreds of columns are common
        values = np.empty((len(frame), len(self.numeric)))
        for k, j in enumerate(self.numeric):
            values[:, k] = _to_float(frame.iloc[:, j])
        return values

    def _codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Codes by falling frequency; unseen levels get the code behind the last, missing ones `MISSING`."""
        codes = np.empty((len(frame), len(self.categorical)), int)
        for k, (j, levels) in enumerate(zip(self.categorical, self.levels, strict=True)):
            column = frame.iloc[:, j]
            found = levels.get_indexer(column)
            codes[:, k] = np.where(found >= 0, found, np.where(column.isna(), MISSING, len(levels)))
        return codes


MISSING = -1


class NumberEncoder:
    """Rows of any supported table as standardised numbers without missing values, for ratios that need distances.

    Frames go through `RowEncoder.linear`. Sparse matrices with more than 50 columns are reduced to 50 components
    first (truncated singular value decomposition of the pooled rows).

    Parameters
    ----------
    rows : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        The pooled rows.
    rng : RandomState
        Of the decomposition.
    """

    def __init__(self, rows: Any, rng: np.random.RandomState):
        self._reduce = None
        if sparse.issparse(rows) and min(rows.shape) > COMPONENTS:
            self._reduce = TruncatedSVD(COMPONENTS, random_state=rng).fit(rows)
        self._encoder = RowEncoder(self._dense(rows))

    def __call__(self, X: Any) -> np.ndarray:
        return self._encoder.linear(self._dense(X))

    def names(self, columns: Any) -> list[str]:
        """Names of the numbers, given those of the columns (None: x0, x1, ...)."""
        if self._reduce is not None:
            loadings = self._reduce.components_
            return list(component_names(loadings, columns or [f"x{j}" for j in range(loadings.shape[1])]))
        return self._encoder.linear_names(columns)

    def _dense(self, X: Any) -> Any:
        if self._reduce is not None:
            return self._reduce.transform(X)
        return X.toarray() if sparse.issparse(X) else X


def pool(X_source: Any, X_target: Any) -> Any:
    """Source rows above target rows, as the kind of table they are; a category column has the categories of both."""
    if sparse.issparse(X_source) or sparse.issparse(X_target):
        return sparse.vstack([X_source, X_target], format="csr")
    names = column_names(X_source) or column_names(X_target)
    if names is None:
        return np.concatenate([X_source, X_target])
    if all(column_names(X) is not None and not hasattr(X, "iloc") for X in (X_source, X_target)):
        import polars  # the caller has it: both are polars frames

        for name, own in X_source.schema.items():
            other = X_target.schema[name]
            if own != other and isinstance(own, polars.Enum) and isinstance(other, polars.Enum):
                both = polars.Enum(polars.concat([own.categories, other.categories]).unique(maintain_order=True))
                X_source, X_target = (X.with_columns(polars.col(name).cast(both)) for X in (X_source, X_target))
        return polars.concat([X_source, X_target], how="vertical_relaxed")
    parts = []
    for X in (X_source, X_target):
        if column_names(X) is None:
            X = pd.DataFrame(X, columns=names)
        parts.append(X if hasattr(X, "iloc") else as_frame(X).set_axis(names, axis=1))
    rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    for j, dtypes in enumerate(zip(parts[0].dtypes, parts[1].dtypes, strict=True)):
        if all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes) and dtypes[0] != dtypes[1]:
            categories = dtypes[0].categories.union(dtypes[1].categories, sort=False)
            rows.isetitem(j, pd.Categorical(rows.iloc[:, j], categories=categories))
    return rows


def as_frame(X: Any) -> pd.DataFrame:
    """A pandas frame with columns 0, 1, ...; categoricals as plain values."""
    if not hasattr(X, "iloc") and column_names(X) is not None:  # polars
        X = pd.DataFrame({j: X[name].to_numpy() for j, name in enumerate(X.columns)})
    if isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
        return pd.DataFrame(X)
    frame = pd.DataFrame(X)
    frame = frame.set_axis(range(frame.shape[1]), axis=1)
    plain = {}
    for j in frame.columns:
        column = frame[j]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        plain[j] = column.infer_objects() if column.dtype == object else column
    return pd.DataFrame(plain, index=frame.index)


def _is_numeric(dtype: Any) -> bool:
    kinds = pd.api.types
    return bool(
        kinds.is_numeric_dtype(dtype) or kinds.is_datetime64_any_dtype(dtype) or kinds.is_timedelta64_dtype(dtype)
    )


def _to_float(column: pd.Series) -> np.ndarray:
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(column.dtype):
        stamps = column.dt.tz_localize(None) if column.dt.tz is not None else column
        return ((stamps - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).to_numpy(dtype=float, na_value=np.nan)
    if kinds.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds().to_numpy(dtype=float, na_value=np.nan)
    try:
        values = column.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {column.name} stopped being numeric", "numbers as in fit", "Convert it.") from error
    return _finite(values)


def _finite(values: np.ndarray) -> np.ndarray:
    if np.isinf(values).any():
        raise InputError("infinite values in X", "finite or missing values", "Replace or drop them.")
    return values
