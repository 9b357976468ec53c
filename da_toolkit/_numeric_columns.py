"""The numeric columns of a table, and the floating type in which a model meets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from shift_detectors._errors import InputError

from ._rows import column_names


class NumericColumns:
    """The numeric columns of a table as one float array, and back.

    Arrays are numeric as a whole. Of a pandas or polars frame the numeric columns (not boolean, not
    categorical) are worked on, the others passed through, and the frame type and column order are kept.

    Parameters
    ----------
    X : array or DataFrame
        The table that decides which columns are numeric.

    Attributes
    ----------
    names : list or None
        Names of the numeric columns; None for arrays.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"a": [1, 2], "b": ["u", "v"]})
    >>> part = NumericColumns(X)
    >>> part.replace(X, 10.0 * part.extract(X))
          a  b
    0  10.0  u
    1  20.0  v
    """

    def __init__(self, X: Any):
        if sparse.issparse(X):
            raise InputError(
                "a sparse matrix",
                "an array or a frame",
                "Reduce it first, for example with TruncatedSVD in a Pipeline.",
            )
        columns = column_names(X)
        self.names: list | None = None
        if columns is not None:
            if hasattr(X, "iloc"):
                self.names = [c for c, t in zip(columns, X.dtypes, strict=True) if _is_numeric(t)]
            else:
                self.names = [c for c in columns if X.schema[c].is_numeric()]
            if not self.names:
                raise InputError(f"no numeric column among {columns}", "at least one", "Encode the columns first.")

    def extract(self, X: Any) -> np.ndarray:
        """Float64 array of the numeric columns, NaN where missing; shape (n_rows, n_numeric)."""
        if self.names is None:
            try:
                return np.array(X, dtype=float)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"an array with values that are not numbers ({error})",
                    "a numeric array",
                    "Encode it first.",
                ) from error
        if hasattr(X, "iloc"):
            return X[self.names].to_numpy(dtype=float, na_value=np.nan)
        return X.select(self.names).to_numpy().astype(float)

    def floating_type(self, X: Any) -> np.dtype:
        """The floating type in which a model meets the numeric columns."""
        if self.names is not None:
            X = (X[self.names].iloc[:0] if hasattr(X, "iloc") else X.select(self.names).head(0)).to_numpy()
        return floating_type(X)

    def replace(self, X: Any, values: np.ndarray) -> Any:
        """A new table like `X` with the numeric columns replaced by `values`."""
        if self.names is None:
            return values
        columns = {name: values[:, j] for j, name in enumerate(self.names)}
        if not hasattr(X, "iloc"):
            return X.with_columns(**columns)
        out = X.copy()
        for name, column in columns.items():
            out[name] = column
        return out


def floating_type(X: Any) -> np.dtype:
    """The floating type of an array or sparse matrix, float64 where it holds something else."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(float)


def _is_numeric(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
