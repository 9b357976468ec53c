"""From two sets of rows, of whatever type, to one `Table`: columns are matched, typed and encoded *pooled*.

Each side becomes either a numeric matrix (fast path) or a pandas frame; a column then gets one kind from
both sides together: number, datetime or category. Whatever is left out of the tests is said in a note.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ._errors import InputError
from ._sparse_columns import COMPONENTS, SparseColumns, components, empty_rows
from ._table import Table

ID_LIKE = 0.9  # a text column with a larger share of distinct values is an identifier or free text
NUMERIC = 0.9  # a text column with a smaller share of numbers among its distinct values is text
MANY_NUMBERS = 30  # so many distinct numbers in text may be names of categories
PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([,'\s]\d{3})+(\.\d*)?")
LOCAL_DATE = re.compile(r"(\d{1,2}([./-])\d{1,2}\2\d{4}|\d{4}/\d{1,2}/\d{1,2})(\s.*)?")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$")

# why a column is left out of the tests
NO_VALUE = "all values are missing"
ROW_NUMBER = "it numbers the rows"
IDENTIFIER = "nearly every value is distinct (an identifier or free text)"
NESTED = "its values are of a type that cannot be compared (lists, times of day, complex numbers)"

# what pandas' infer_dtype says of an object column (missing values skipped), as our kinds
OBJECT_KINDS = {
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "boolean": "boolean",
    "datetime": "datetime",
    "datetime64": "datetime",
    "date": "datetime",
    "timedelta": "number",
    "timedelta64": "number",
    "string": "category",
    "bytes": "category",
    "mixed-integer": "category",
    "mixed": "category",
    "empty": "empty",
}


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
            name for name, column in columns.items() if _counts_rows(column[:n_source], column[n_source:])
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
    numbers, numeric_names, datetimes = [], [], []
    codes, categorical_names, categories = [], [], []
    left_out: dict[str, list[str]] = {}
    for name in source.names:
        pair = (_without_arrow(frames[0][name]), _without_arrow(frames[1][name]))
        kind = _kind_of_pair(name, pair, arguments, notes)
        if kind == "empty":
            left_out.setdefault(NO_VALUE, []).append(name)
        elif kind == "nested":
            left_out.setdefault(NESTED, []).append(name)
        elif kind in ("number", "datetime"):
            convert = _numbers if kind == "number" else _seconds
            column = np.concatenate([convert(series) for series in pair])
            if source.named and kind == "number" and _counts_rows(column[:n_source], column[n_source:]):
                left_out.setdefault(ROW_NUMBER, []).append(name)
                continue
            numbers.append(column)
            numeric_names.append(name)
            if kind == "datetime":
                datetimes.append(name)
        else:
            try:
                column, values = _pooled_codes(*pair)
            except TypeError:  # a list or dict among the values, behind the rows that `_kind` looks at
                left_out.setdefault(NESTED, []).append(name)
                continue
            if kind == "text":
                distinct = len(values) > ID_LIKE * (column >= 0).sum()
                broken = broken_numbers(values, distinct)
                if broken is not None:
                    raise InputError(
                        f"column {name!r} is text; {broken[0]}",
                        "numbers, or a column of a categorical type",
                        f"{broken[1]}, or name it in exclude=.",
                    )
                if distinct:
                    left_out.setdefault(IDENTIFIER, []).append(name)
                    continue
            column, values = by_frequency(column, values)
            codes.append(column)
            categorical_names.append(name)
            categories.append(values)
    _note_left_out(left_out, notes)
    if not numbers and not codes:
        raise _nothing_left(notes)
    numeric = np.empty((n, len(numbers)), order="F")
    for j, column in enumerate(numbers):
        numeric[:, j] = column
    _refuse_infinite(numeric, tuple(numeric_names), n_source, arguments)
    return Table(
        numeric,
        np.column_stack(codes).astype(np.int32) if codes else np.zeros((n, 0), np.int32),
        tuple(numeric_names),
        tuple(categorical_names),
        tuple(categories),
        n_source,
        frozenset(datetimes),
    )


def _without_arrow(series: pd.Series) -> pd.Series:
    """Arrow-backed dates, decimals and nested values as Python objects, everything else as it is."""
    if isinstance(series.dtype, pd.ArrowDtype) and series.dtype.kind not in "biuf":
        return series.astype(object)
    return series


def _kind(series: pd.Series) -> str:
    """One of number, boolean, datetime, category (declared as such), text, empty, nested."""
    dtype = series.dtype
    if series.isna().all():
        return "empty"
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_complex_dtype(dtype):
        return "nested"
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "datetime"
    if isinstance(dtype, pd.IntervalDtype):
        return "category"
    kind = OBJECT_KINDS.get(pd.api.types.infer_dtype(series, skipna=True), "nested")
    if kind != "category":
        return kind
    try:
        series.head(1000).map(hash)
    except TypeError:
        return "nested"
    return "text"


def _kind_of_pair(name: str, pair: tuple[pd.Series, pd.Series], arguments: tuple[str, str], notes: list[str]) -> str:
    """The kind a column has on both sides together; an error where they disagree."""
    kinds = [_kind(series) for series in pair]
    present = [(kind, series) for kind, series in zip(kinds, pair, strict=True) if kind != "empty"]
    together = {kind for kind, _ in present}
    if not together:
        return "empty"
    if "nested" in together:
        return "nested"
    strings = [series for kind, series in present if kind == "text"]
    if together == {"text"}:
        if all(_is_text_of_dates(series) for series in strings):
            notes.append(f"Column {name!r} holds dates as text and was read as dates.")
            return "datetime"
        values = pd.concat(strings).dropna().tolist()
        if all(isinstance(value, str) and LOCAL_DATE.fullmatch(value) for value in values):
            notes.append(
                f"Column {name!r} holds dates as text (such as {values[0]!r}) but not as year-month-day, and "
                "was read as text. Convert it by pandas.to_datetime with its format, or exclude it."
            )
        return "text"
    if together == {"datetime"} and len({_has_zone(series) for _, series in present}) > 1:
        raise InputError(
            f"column {name!r} has a time zone on one side only",
            "datetimes with a zone on both sides or on neither",
            "Use .dt.tz_localize on the side without.",
        )
    if len(together) == 1:
        return together.pop()
    if together == {"number", "boolean"}:
        notes.append(f"Column {name!r} is boolean on one side and numeric on the other; it was read as numbers.")
        return "number"
    if together == {"category", "number"} and all(
        _kind(series.cat.categories.to_series()) == "number" for kind, series in present if kind == "category"
    ):
        notes.append(f"Column {name!r} is categorical on one side and numeric on the other; it was read as categories.")
        return "category"
    if together == {"category", "text"} or together == {"category", "boolean"}:
        return "category"
    if together == {"number", "text"} and all(_is_text_of_numbers(series) for series in strings):
        notes.append(f"Column {name!r} holds numbers as text on one side; it was read as numbers.")
        return "number"
    if together == {"datetime", "text"} and all(_is_text_of_dates(series) for series in strings):
        notes.append(f"Column {name!r} holds dates as text on one side; it was read as dates.")
        return "datetime"
    shown = [
        f"{kind} in {argument} (such as {_example(series, kind)!r})"
        for kind, series, argument in zip(kinds, pair, arguments, strict=True)
    ]
    raise InputError(
        f"column {name!r} is {' but '.join(shown)}",
        "the same kind on both sides",
        "Convert it the same way on both.",
    )


def _example(series: pd.Series, kind: str) -> Any:
    """A value that shows the kind: of text one that is no number, where there is any."""
    present = series.dropna()
    words = present[_no_numbers(present)] if kind == "text" else present
    return (words if len(words) else present).iloc[:1].tolist()[0]


def _no_numbers(present: pd.Series) -> np.ndarray:
    return np.isnan(np.asarray(pd.to_numeric(present, errors="coerce"), dtype=float))


def _is_text_of_numbers(series: pd.Series) -> bool:
    return not _no_numbers(series.dropna()).any()


def _is_text_of_dates(series: pd.Series) -> bool:
    present = series.dropna()
    if not all(isinstance(value, str) and ISO_DATE.match(value) for value in present.head(20)):
        return False
    return bool(pd.to_datetime(present, format="ISO8601", errors="coerce", utc=True).notna().all())


def broken_numbers(values: np.ndarray, distinct: bool) -> tuple[str, str] | None:
    """Numbers that were read as text for a word among them, or for a mark that is not a decimal point.

    Codes are text, too: whole numbers (zip codes), some with leading zeros or letters; few numbers are categories.

    Parameters
    ----------
    values : ndarray
        The distinct values of the column.
    distinct : bool
        Whether nearly every row has a value of its own.

    Returns
    -------
    (got, remedy) : words for the error, or None where they are no such numbers

    Examples
    --------
    >>> broken_numbers(np.array(["1.5", "2.25", "3.5"]), distinct=True)
    ("all 3 distinct values are numbers, such as '1.5'", 'Convert it by pandas.to_numeric')
    """
    texts = [str(value).strip() for value in values]
    marked = [text for text in texts if DECIMAL_COMMA.fullmatch(text) or THOUSANDS.fullmatch(text)]
    plain = [text for text in texts if PLAIN_NUMBER.fullmatch(text)]
    count = len(plain) + len(marked)
    if count < NUMERIC * len(texts) or (count <= MANY_NUMBERS and not distinct):
        return None
    known = {*plain, *marked}
    words = [text for text in texts if text not in known]
    codes = any(re.search(r"\d", word) for word in words) or any(re.match(r"[+-]?0\d", text) for text in plain)
    fractions = len(marked) + sum(not text.lstrip("+-").isdigit() for text in plain) > count / 2
    if codes and not (distinct and fractions) or not (words or fractions):
        return None
    if words:
        more = f" and {len(words) - 1} more are" if len(words) > 1 else " is"
        got = f"{count} of {len(texts)} distinct values are numbers, {words[0]!r}{more} not"
        remedy = f"Mark {words[0]!r} as missing"
    else:
        got = f"all {count} distinct values are numbers, such as {texts[0]!r}"
        remedy = "Convert it by pandas.to_numeric"
    if marked:
        commas = [text for text in marked if not THOUSANDS.fullmatch(text)]
        how = "read it with decimal=','" if commas else "write it without separators of thousands"
        got += f", such as {(commas or marked)[0]!r}" if words else ""
        remedy = f"{remedy} and {how}" if words else how[0].upper() + how[1:]
    return got, remedy


def _has_zone(series: pd.Series) -> bool:
    if series.dtype == object:
        return getattr(series.dropna().iloc[0], "tzinfo", None) is not None
    return isinstance(series.dtype, pd.DatetimeTZDtype)


def _numbers(series: pd.Series) -> np.ndarray:
    """Float64 with NaN where missing; timedeltas in seconds, booleans as 0 and 1, numbers in text read."""
    if pd.api.types.infer_dtype(series, skipna=True).startswith("timedelta"):
        return pd.to_timedelta(series).to_numpy() / np.timedelta64(1, "s")
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
        # Decimal, Python numbers beside None, text: element by element
        series = pd.Series(pd.to_numeric(series.where(series.notna(), np.nan), errors="coerce"))
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _seconds(series: pd.Series) -> np.ndarray:
    """Seconds since 1970 (UTC where there is a zone), NaN where missing."""
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        text = isinstance(series.dropna().iloc[0], str) if series.notna().any() else False
        series = pd.to_datetime(series, utc=True, format="ISO8601" if text else None)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return (series.to_numpy() - np.datetime64(0, "s")) / np.timedelta64(1, "s")


def _pooled_codes(source: pd.Series, target: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes of both sides into the distinct values that occur, -1 where missing."""
    if isinstance(source.dtype, pd.CategoricalDtype) and source.dtype == target.dtype:
        # equal types may hold the same categories in another order
        both = np.concatenate([source.cat.codes, target.cat.set_categories(source.cat.categories).cat.codes])
        present, codes = np.unique(both[both >= 0], return_inverse=True)
        pooled = np.full(len(both), -1)
        pooled[both >= 0] = codes
        return pooled, source.cat.categories.to_numpy()[present]
    both = np.concatenate([series.astype(object).to_numpy() for series in (source, target)])
    codes, values = pd.factorize(both)
    return codes, np.asarray(values, dtype=object)


def by_frequency(codes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same codes and values with the most frequent value first."""
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted(range(len(values)), key=lambda k: (-counts[k], str(values[k])))
    rank = np.full(len(values) + 1, -1, np.int32)  # its last place serves the code -1
    rank[order] = np.arange(len(order))
    ordered = np.empty(len(order), dtype=object)
    ordered[:] = [values[k] for k in order]
    return rank[codes], ordered


def _counts_rows(source: np.ndarray, target: np.ndarray) -> bool:
    """Whether a column is a row number: exactly one more in every row of each side."""
    sides = [side for side in (source, target) if len(side)]
    with np.errstate(invalid="ignore"):  # between infinite values, which are refused later
        return all(len(side) > 1 and side[1] - side[0] == 1 and bool((np.diff(side) == 1).all()) for side in sides)


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
