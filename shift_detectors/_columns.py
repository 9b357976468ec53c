"""From two sets of rows, of whatever type, to one `Table`: columns are matched, typed and encoded *pooled*.

Each side becomes either a numeric matrix (fast path) or a pandas frame; a column then gets one kind from
both sides together: number, datetime or category. Whatever is left out of the tests is said in a note.
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ._column_kinds import (
    as_numbers,
    as_seconds,
    broken_numbers,
    by_frequency,
    counts_rows,
    kind_of_pair,
    pooled_codes,
    without_arrow,
)
from ._errors import InputError
from ._sparse_columns import COMPONENTS, SparseColumns, components, empty_rows
from ._table import Table

ID_LIKE = 0.9  # a text column with a larger share of distinct values is an identifier or free text

# why a column is left out of the tests
NO_VALUE = "all values are missing"
ROW_NUMBER = "it numbers the rows"
IDENTIFIER = "nearly every value is distinct (an identifier or free text)"
NESTED = "its values are of a type that cannot be compared (lists, times of day, complex numbers)"
UNUSED_KINDS = {"empty": NO_VALUE, "nested": NESTED}


class Rows(NamedTuple):
    """One side as read: `data` is a float/int matrix, a sparse matrix or a pandas frame."""

    data: Any
    names: tuple[str, ...]
    named: bool  # False: the names are only positions

    def renamed(self, names: tuple[str, ...]) -> Rows:
        """The same columns under names of their own."""
        data = self.data.set_axis(list(names), axis=1) if isinstance(self.data, pd.DataFrame) else self.data
        return Rows(data, names, True)


def read_rows(X: Any, argument: str) -> Rows:
    """Recognise the type of `X` without copying or changing it.

    Parameters
    ----------
    X : array, DataFrame (pandas or polars), sparse matrix or list of rows
    argument : str
        What the caller calls it, for messages.
    """
    accepted = "a 2-d array, a pandas or polars DataFrame, a scipy sparse matrix or a list of rows"
    if X is None:
        raise InputError(f"{argument} is None", accepted, f"Pass the rows as {argument}.")
    if sp.issparse(X):
        _check_2d(X, argument, accepted)
        if X.dtype.kind not in "biuf":
            raise InputError(f"{argument} is sparse with dtype {X.dtype}", "a sparse matrix of real numbers")
        return Rows(X, _positions(X.shape[1]), False)
    if is_polars(X):
        X = from_polars(X, argument)
    if isinstance(X, (pd.Series, pd.Index)):
        got = f"{argument} is one-dimensional ({type(X).__name__})"
        raise InputError(got, accepted, _two_dimensional(X, f"{argument}.to_frame()"))
    if isinstance(X, pd.DataFrame):
        return _named_frame(X, argument)
    if isinstance(X, (list, tuple)):
        X = _from_list(X, argument, accepted)
    elif isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(float), np.nan)
    array = np.asarray(X)
    if array.ndim == 0:
        raise InputError(
            f"{argument} is a {type(X).__name__}", accepted, "Convert it, for example with pandas.DataFrame."
        )
    if array.size == 0 and array.ndim == 1:
        raise InputError(f"{argument} is empty", accepted)
    if array.dtype.names is not None:
        raise InputError(f"{argument} is a structured array", accepted, f"Pass pandas.DataFrame({argument}).")
    _check_2d(array, argument, accepted)
    if array.dtype.kind == "c":
        raise InputError(f"{argument} holds complex numbers", accepted, "Pass real and imaginary parts as columns.")
    names = _positions(array.shape[1])
    if array.dtype.kind in "iuf":
        return Rows(array, names, False)
    frame = pd.DataFrame(array.astype(object) if array.dtype.kind in "US" else array, columns=list(names))
    return Rows(frame.infer_objects(), names, False)


def read_table(
    source: Rows, target: Rows, exclude: Any = (), arguments: tuple[str, str] = ("X_source", "X_target")
) -> tuple[Table, list[str]]:
    """Match the columns of both sides and encode them pooled.

    Parameters
    ----------
    source, target : Rows
    exclude : sequence of str or int
        Column names (or positions) left out; a column may stand on one side alone.

    Returns
    -------
    table : Table
    notes : list of str
    """
    notes: list[str] = []
    excluded = _excluded(exclude, source, target)
    source, target = (_drop(side, excluded) for side in (source, target))
    source, target = _matched(source, target, arguments, notes)
    if not source.names:
        raise InputError("no column is left", "at least one feature", "Exclude fewer columns.")
    n_source = source.data.shape[0]
    if sp.issparse(source.data) or sp.issparse(target.data):
        pooled = _pooled(source, target, arguments)
        notes += empty_rows(pooled.rows, n_source)
        if len(pooled.names) > COMPONENTS:
            matrix, names, note = components(pooled)
            table = Table(matrix, np.zeros((len(matrix), 0), np.int32), names, (), (), n_source, sparse=pooled)
            return table, [*notes, note]
        matrix, names = np.asfortranarray(pooled.rows.toarray()), pooled.names
    elif isinstance(source.data, np.ndarray) and isinstance(target.data, np.ndarray):
        matrix = np.empty((n_source + len(target.data), len(source.names)), order="F")
        matrix[:n_source], matrix[n_source:] = source.data, target.data
        names = source.names
    else:
        return _typed_table(source, target, arguments, notes), notes
    _refuse_infinite(matrix, names, n_source, arguments)
    columns = dict(zip(names, matrix.T, strict=True))
    left_out = {NO_VALUE: [name for name, column in columns.items() if np.isnan(column).all()]}
    if source.named:
        left_out[ROW_NUMBER] = [
            name for name, column in columns.items() if counts_rows(column[:n_source], column[n_source:])
        ]
    _note_left_out(left_out, notes)
    table = Table(matrix, np.zeros((len(matrix), 0), np.int32), names, (), (), n_source)
    out = {name for left in left_out.values() for name in left}
    if len(out) == len(names):
        raise _nothing_left(notes)
    return (table.without(out) if out else table), notes


# ------------------------------------------------------------------ recognising one side


def _two_dimensional(values: Any, column: str) -> str:
    """How one-dimensional values become rows: texts through a representation, a feature as a `column`."""
    if not sp.issparse(values) and all(isinstance(value, str) for value in values):
        return f"For texts pass representation= (a vectoriser), for a single feature of categories {column}."
    return f"For a single feature pass {column}."


def _check_2d(X: Any, argument: str, accepted: str) -> None:
    if X.ndim == 1:
        got = f"{argument} is one-dimensional (shape {X.shape})"
        raise InputError(got, accepted, _two_dimensional(X, f"numpy.reshape({argument}, (-1, 1))"))
    if X.ndim != 2:
        raise InputError(
            f"{argument} has {X.ndim} dimensions (shape {X.shape})",
            accepted,
            "Flatten the rows, or pass representation= (a transformer, or a torch module and a layer name).",
        )
    if X.shape[1] == 0:
        raise InputError(f"{argument} has no columns", accepted)


def _positions(width: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(width))


def _named_frame(X: pd.DataFrame, argument: str) -> Rows:
    names = tuple(str(name) for name in X.columns)
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise InputError(
            f"{argument} has several columns called {_listed(repeated)}",
            "distinct column names",
            "Rename them.",
        )
    if not names:
        raise InputError(f"{argument} has no columns", "at least one feature")
    if all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in X.dtypes):
        return Rows(X.to_numpy(dtype=float), names, True)
    frame = X.copy(deep=False)
    frame.columns = list(names)
    return Rows(frame, names, True)


def _from_list(X: Any, argument: str, accepted: str) -> np.ndarray:
    """Rows given as lists, every value keeping its type (``np.array`` makes numbers beside text to text)."""
    try:
        array = np.array(X, dtype=object)
    except ValueError:
        array = np.empty(len(X), dtype=object)
    if array.ndim == 1 and len(array) and isinstance(X[0], (list, tuple, np.ndarray)):
        raise InputError(f"{argument} has rows of different lengths", accepted, "Give every row the same columns.")
    if array.ndim == 2 and all(isinstance(value, (float, int)) for row in X for value in row):
        if not any(isinstance(value, bool) for row in X for value in row):
            return array.astype(float)
    return array


def is_polars(X: Any) -> bool:
    """Whether it is a frame or a series of polars; says so without importing it."""
    return type(X).__module__.split(".")[0] == "polars"


def refuse_lazy(X: Any, argument: str) -> None:
    """Raise for a frame of polars whose rows are still to be computed."""
    if is_polars(X) and type(X).__name__ == "LazyFrame":
        raise InputError(f"{argument} is a polars LazyFrame", "a polars DataFrame", f"Pass {argument}.collect().")


def from_polars(X: Any, argument: str) -> pd.DataFrame | pd.Series:
    """A pandas frame of a polars one, column by column, without pyarrow."""
    import polars as pl

    refuse_lazy(X, argument)
    if isinstance(X, pl.Series):
        got = f"{argument} is one-dimensional (polars Series)"
        raise InputError(got, "a polars DataFrame", _two_dimensional(X, f"{argument}.to_frame()"))
    return pd.DataFrame({column.name: from_polars_series(column) for column in X.get_columns()})


def from_polars_series(column: Any) -> pd.Series:
    """A pandas series of a polars one: null becomes missing, categories become strings."""
    import polars as pl

    dtype = column.dtype
    if dtype.is_integer() and not column.null_count():
        return pd.Series(column.to_numpy())
    if dtype.is_numeric():
        return pd.Series(column.cast(pl.Float64).to_numpy())
    if dtype == pl.Datetime and dtype.time_zone is not None:
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return pd.Series(utc.to_numpy()).dt.tz_localize("UTC")
    if dtype.is_temporal() and dtype != pl.Time:
        return pd.Series(column.to_numpy())
    if dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    return pd.Series(column.to_list(), dtype=object)


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Rows of an array, frame, sparse matrix or list; the kind is kept."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, (list, tuple)):
        return [X[k] for k in rows]
    return (X.tocsr() if sp.issparse(X) else X)[rows]


def row_count(X: Any) -> int:
    """Rows of whatever `take_rows` takes."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


# ------------------------------------------------------------------ matching the two sides


def as_tuple(exclude: Any) -> tuple:
    """What is excluded: one name or position, several, or None."""
    if exclude is None:
        return ()
    return (exclude,) if np.isscalar(exclude) else tuple(exclude)


def _excluded(exclude: Any, *sides: Rows) -> frozenset[str]:
    """Names of the excluded columns; positions are allowed where the columns have no names."""
    known = {name for side in sides for name in side.names}
    excluded = set()
    for entry in as_tuple(exclude):
        name = str(entry)
        if isinstance(entry, (int, np.integer)) and not any(side.named for side in sides):
            width = len(sides[0].names)
            if not -width <= entry < width:
                raise InputError(
                    f"exclude names column {entry}", f"positions 0 to {width - 1}", "Correct the position."
                )
            name = f"x{entry % width}"
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3)
            raise InputError(
                f"exclude names an unknown column {name!r}",
                _listed(sorted(known)),
                f"Did you mean {_listed(near)}?" if near else "Correct the name.",
            )
        excluded.add(name)
    return frozenset(excluded)


def _drop(side: Rows, excluded: frozenset[str]) -> Rows:
    if not excluded:
        return side
    return _selected(side, tuple(name for name in side.names if name not in excluded))


def _selected(side: Rows, names: tuple[str, ...]) -> Rows:
    """Some columns, in the given order."""
    if isinstance(side.data, pd.DataFrame):
        return Rows(side.data[list(names)], names, side.named)
    place = {name: j for j, name in enumerate(side.names)}
    data = side.data.tocsc() if sp.issparse(side.data) else side.data
    return Rows(data[:, [place[name] for name in names]], names, side.named)


def _matched(source: Rows, target: Rows, arguments: tuple[str, str], notes: list[str]) -> tuple[Rows, Rows]:
    """Both sides with the same columns in the source's order."""
    if source.named and target.named:
        here, there = set(source.names), set(target.names)
        missing = [name for name in source.names if name not in there]
        extra = [name for name in target.names if name not in here]
        if missing or extra:
            parts = [f"{arguments[1]} lacks {_listed(missing)}"] if missing else []
            parts += [f"{arguments[1]} has {_listed(extra)} that {arguments[0]} has not"] if extra else []
            raise InputError(
                " and ".join(parts),
                "the same columns on both sides, in any order",
                "Drop what stands on one side only, or name it in exclude=.",
            )
        if source.names != target.names:
            notes.append(f"The columns of {arguments[1]} stand in another order and were matched by name.")
            target = _selected(target, source.names)
        return source, target
    if len(source.names) != len(target.names):
        raise InputError(
            f"{arguments[1]} has {len(target.names)} columns, {arguments[0]} has {len(source.names)}",
            "the same columns on both sides",
            "Apply the same preprocessing to both.",
        )
    if source.named or target.named:
        names, without = (source.names, arguments[1]) if source.named else (target.names, arguments[0])
        notes.append(f"{without} has no column names: its columns were matched by position.")
        return source.renamed(names), target.renamed(names)
    return source, target


def _pooled(source: Rows, target: Rows, arguments: tuple[str, str]) -> SparseColumns:
    """Both sides as one sparse matrix; dense numbers join it."""
    width, sides = len(source.names), []
    for side, argument in zip((source, target), arguments, strict=True):
        if isinstance(side.data, pd.DataFrame):
            raise InputError(
                f"{argument} has columns that are not of a numeric type while the other side is sparse",
                "numbers beside a sparse matrix",
                "Encode them as those of the other side.",
            )
        sides.append(sp.csr_array(side.data))
        bad = (~np.isfinite(sides[-1].data)).sum() if width > COMPONENTS else 0
        if bad:
            got = f"{argument} has {bad} missing or infinite values in {width} sparse columns"
            raise InputError(got, "finite values", "Impute them.")
    pooled = sp.csr_array(sp.vstack(sides, format="csr").astype(float))
    pooled.eliminate_zeros()
    return SparseColumns(pooled, source.names)


# ------------------------------------------------------------------ kinds and encoding


def _typed_table(source: Rows, target: Rows, arguments: tuple[str, str], notes: list[str]) -> Table:
    """The table of two frames (a numeric matrix beside a frame becomes a frame)."""
    frames: list[Any] = [
        side.data if isinstance(side.data, pd.DataFrame) else pd.DataFrame(side.data, columns=list(side.names))
        for side in (source, target)
    ]
    n_source, n = len(frames[0]), len(frames[0]) + len(frames[1])
    numbers: dict[str, np.ndarray] = {}
    coded: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    datetimes: set[str] = set()
    left_out: dict[str, list[str]] = {}
    for name in source.names:
        pair = (without_arrow(frames[0][name]), without_arrow(frames[1][name]))
        kind = kind_of_pair(name, pair, arguments, notes)
        reason = UNUSED_KINDS.get(kind)
        if kind in ("number", "datetime"):
            convert = as_numbers if kind == "number" else as_seconds
            column = np.concatenate([convert(series) for series in pair])
            if source.named and kind == "number" and counts_rows(column[:n_source], column[n_source:]):
                reason = ROW_NUMBER
            else:
                numbers[name] = column
                if kind == "datetime":
                    datetimes.add(name)
        elif reason is None:
            found, reason = _coded(name, pair, kind == "text")
            if found is not None:
                coded[name] = found
        if reason is not None:
            left_out.setdefault(reason, []).append(name)
    _note_left_out(left_out, notes)
    if not numbers and not coded:
        raise _nothing_left(notes)
    numeric = np.empty((n, len(numbers)), order="F")
    for j, column in enumerate(numbers.values()):
        numeric[:, j] = column
    _refuse_infinite(numeric, tuple(numbers), n_source, arguments)
    codes = [codes for codes, _ in coded.values()]
    return Table(
        numeric,
        np.column_stack(codes).astype(np.int32) if codes else np.zeros((n, 0), np.int32),
        tuple(numbers),
        tuple(coded),
        tuple(values for _, values in coded.values()),
        n_source,
        frozenset(datetimes),
    )


def _coded(
    name: str, pair: tuple[pd.Series, pd.Series], text: bool
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str | None]:
    """Codes and categories of a column, or why it is left out; an error for numbers that were read as text."""
    try:
        codes, values = pooled_codes(*pair)
    except TypeError:  # a list or dict among the values, behind the rows that `kind_of` looks at
        return None, NESTED
    if text:
        distinct = len(values) > ID_LIKE * (codes >= 0).sum()
        broken = broken_numbers(values, distinct)
        if broken is not None:
            raise InputError(
                f"column {name!r} is text; {broken[0]}",
                "numbers, or a column of a categorical type",
                f"{broken[1]}, or name it in exclude=.",
            )
        if distinct:
            return None, IDENTIFIER
    return by_frequency(codes, values), None


# ------------------------------------------------------------------ checks of numbers


def _refuse_infinite(matrix: np.ndarray, names: tuple[str, ...], n_source: int, arguments: tuple[str, str]) -> None:
    found = {}
    for j, name in enumerate(names):
        infinite = np.isinf(matrix[:, j])
        if infinite.any():
            found[name] = (int(infinite[:n_source].sum()), int(infinite[n_source:].sum()))
    if found:
        shown = ", ".join(
            f"{name!r} ({a} in {arguments[0]}, {b} in {arguments[1]})" for name, (a, b) in list(found.items())[:5]
        )
        more = f" and {len(found) - 5} more columns" if len(found) > 5 else ""
        raise InputError(
            f"infinite values in {shown}{more}",
            "finite or missing values",
            "Clip them or replace them by NaN.",
        )


def _note_left_out(left_out: dict[str, list[str]], notes: list[str]) -> None:
    for reason, names in left_out.items():
        if names:
            notes.append(f"Left out of the tests: {_listed(names)}, because {reason}.")


def _nothing_left(notes: list[str]) -> InputError:
    return InputError(
        f"no column can be tested ({' '.join(notes)})",
        "at least one numeric, datetime or categorical column with values",
        "For texts pass representation= (a vectoriser, unfitted).",
    )


def _listed(names: Any, most: int = 8) -> str:
    names = [repr(str(name)) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
