"""Rows as tables with columns: checked, matched between the domains and brought into one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from shift_detectors._columns import from_polars, is_polars, refuse_lazy, take_rows
from shift_detectors._errors import InputError
from shift_detectors._warnings import warn

from ._target import Target


def as_rows(X: Any, name: str) -> Any:
    """A table with rows and columns: frames and sparse matrices as they are, lists as arrays, masked as missing."""
    if isinstance(X, Target):
        X = X.X
    refuse_lazy(X, name)
    if sparse.issparse(X):
        X = X if X.format == "csr" else X.tocsr()
    elif isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(float), np.nan)
    elif column_names(X) is None:
        X = np.asarray(X)
    types = [X.dtype] if column_names(X) is None else X.dtypes
    if any(getattr(dtype, "kind", "") == "c" for dtype in types):
        raise InputError(f"{name} holds complex numbers", "real numbers", "Pass real and imaginary parts as columns.")
    if len(X.shape) != 2:
        text = len(X.shape) == 1 and all(isinstance(value, str) for value in X)
        raise InputError(
            f"{name} {'is a list of texts' if text else f'has shape {tuple(X.shape)}'}",
            "a table of shape (n_rows, n_features)",
            'Pass a frame with a column of them, pandas.DataFrame({"text": X}), and a model that reads it: '
            'make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), ...).'
            if text
            else "Use numpy.reshape(X, (-1, 1)) for a single feature."
            if len(X.shape) < 2
            else "Flatten the rows: X.reshape(len(X), -1); a torch module can start with nn.Unflatten.",
        )
    if 0 in X.shape:
        raise InputError(f"{name} has {X.shape[0]} rows and {X.shape[1]} columns", "at least one of each", "Pass data.")
    return X


def read_both(X: Any, X_target: Any, name: str) -> tuple[Any, Any]:
    """The rows of both domains, checked to have the same columns, those of the target in the form of the source's."""
    X, X_target = as_rows(X, name), as_rows(X_target, "X_target")
    check_columns(X_target, "X_target", X.shape[1], column_names(X), other=name)
    return X, in_form_of(X, X_target, "X_target", name)


def read_new(form: Any, X: Any) -> Any:
    """New rows, checked to have the columns of `form`, the source's rows of fit, and in that form."""
    X = as_rows(X, "X")
    check_columns(X, "X", form.shape[1], column_names(form))
    return in_form_of(form, X, "X", "X_source of fit")


def in_form_of(form: Any, X: Any, name: str, other: str) -> Any:
    """Rows as the kind of table that `form` is: an array, a sparse matrix or a frame, whose names they take.

    Of two frames the columns go by name, so a pandas frame beside a polars one becomes one (and the other way round)
    with the names it has.

    Parameters
    ----------
    form, X : array, DataFrame or sparse matrix
        With as many columns.
    name, other : str
        What the caller calls `X` and `form`, for messages.

    Examples
    --------
    >>> import pandas as pd
    >>> in_form_of(pd.DataFrame([[0, 1]]), np.array([[2.5, 3]]), "X_target", "X")
         0    1
    0  2.5  3.0
    """
    names, own = column_names(form), column_names(X)
    if (names is None) == (own is None) and sparse.issparse(form) == sparse.issparse(X):
        if names is None or is_polars(form) == is_polars(X):
            return X
        return from_polars(X, name) if is_polars(X) else _to_polars(X, type(form))
    if any(isinstance(column, str) for column in names or own or []):
        warn(f"Only {name if names is None else other} has names of columns: these were matched by position.")
    if sparse.issparse(X):
        X = X.toarray()
    elif names is None:
        X = _as_array(X, form.dtype, name, other)
    if names is None:
        return type(form)(X) if sparse.issparse(form) else X
    if hasattr(form, "iloc"):
        return pd.DataFrame(X, columns=form.columns).infer_objects()
    return type(form)({column: X[:, j].tolist() for j, column in enumerate(names)})


def _to_polars(X: pd.DataFrame, frame: type) -> Any:
    """A polars frame of a pandas one, column by column, without pyarrow."""

    def values(column: pd.Series) -> Any:
        if column.dtype.kind in "biufmM" and getattr(column.dtype, "tz", None) is None:
            return column.to_numpy()
        return [None if lacking else value for value, lacking in zip(column, column.isna(), strict=True)]

    return frame({name: values(X[name]) for name in X})


def _as_array(X: Any, dtype: np.dtype, name: str, other: str) -> np.ndarray:
    """The values of a table beside one of that type: numbers beside numbers."""
    frame = from_polars(X, name) if is_polars(X) else pd.DataFrame(X)
    try:
        return frame.to_numpy(dtype=float if dtype.kind in "biuf" else object, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} has values that are not numbers ({error})", f"numbers, as in {other}", "Encode them first."
        ) from error


def without_rows(X: Any) -> Any:
    """A table with the same columns and no rows."""
    return take_rows(X, np.zeros(0, int))


def check_names(X: Any, name: str) -> None:
    """Raise where columns share a name, or only some names are text, which scikit-learn's models refuse."""
    names = column_names(X) or []
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{name} has several columns called {listed(repeated)}", "distinct names", "Rename them.")
    other = [column for column in names if not isinstance(column, str)]
    if 0 < len(other) < len(names):
        raise InputError(
            f"{name} has names of columns that are text, and others such as {other[0]!r}",
            "names that are all text",
            f"Make them text in both domains: {name}.columns = {name}.columns.map(str).",
        )


def column_names(X: Any) -> list | None:
    """Column names of a pandas or polars frame, None for anything else."""
    columns = getattr(X, "columns", None)
    return None if columns is None else list(columns)


def remember_names(estimator: Any, names: list | None) -> None:
    """The names of the columns as scikit-learn keeps them: where all are text."""
    if names is not None and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.asarray(names, object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_  # a refit on an array after a fit on a frame


def ordered_like(X: Any, X_target: Any) -> Any:
    """The target's frame with its columns in the order of the source's, where both have the same names."""
    names, own = column_names(X), column_names(X_target)
    if names is None or own is None or own == names or not hasattr(X_target, "shape"):
        return X_target
    same = set(names) == set(own) and len(set(names)) == len(names) == len(own)
    return X_target[names] if same else X_target


def check_columns(
    X: Any, name: str, n_features: int, names: Sequence | np.ndarray | None, other: str = "fit", order: str = ""
) -> None:
    """Same number of columns, and where both sides have names the same names in the same order.

    `order` is how a user writes the names in the right order, where `other` is no table.
    """
    own = column_names(X)
    known = [] if own is None or names is None else list(names)
    missing, extra = _without(known, own or []), _without(own or [], known) if known else []
    if missing or extra:
        lacks = f"lacks the columns {listed(missing)}" if missing else ""
        has = f"has the columns {listed(extra)}" if extra else ""
        raise InputError(
            f"{name} {lacks}{' and ' if lacks and has else ''}{has}",
            f"the {n_features} columns of {other}",
            "Rename, add or drop them.",
        )
    if X.shape[1] != n_features:
        raise InputError(
            f"{name} has {X.shape[1]} columns",
            f"the {n_features} columns of {other}",
            "Pass both domains through the same preprocessing.",
        )
    if known and own != known:
        order = order or (str(known) if other == "fit" else f"list({other}.columns)")
        raise InputError(
            f"{name} has the columns of {other} in another order", "the same order", f"Order them: {name}[{order}]."
        )


def _without(names: Sequence, others: Sequence) -> list:
    """Those of the names that the others lack, in their order."""
    known = set(others)
    return [name for name in names if name not in known]


def listed(names: Sequence) -> str:
    """The names as a list; of many the first."""
    return f"[{', '.join(map(repr, names[:8]))}{', ...' if len(names) > 8 else ''}]"
