"""What kind of values a column has, and its values as numbers, seconds or codes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from ._errors import InputError
from ._text import and_join

NUMERIC = 0.9  # a text column with a smaller share of numbers among its distinct values is text
MANY_NUMBERS = 30  # so many distinct numbers in text may be names of categories
PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}([.'\s]\d{3})+),\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([,'\s]\d{3})+(\.\d*)?")
LOCAL_DATE = re.compile(r"(\d{1,2}([./-])\d{1,2}\2\d{4}|\d{4}/\d{1,2}/\d{1,2})(\s.*)?")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$")

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


def without_arrow(series: pd.Series) -> pd.Series:
    """Arrow-backed dates, decimals and nested values as Python objects, everything else as it is."""
    if isinstance(series.dtype, pd.ArrowDtype) and series.dtype.kind not in "biuf":
        return series.astype(object)
    return series


def kind_of(series: pd.Series) -> str:
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


def kind_of_pair(name: str, pair: tuple[pd.Series, pd.Series], arguments: tuple[str, str], notes: list[str]) -> str:
    """The kind a column has on both sides together; an error where they disagree."""
    kinds = [kind_of(series) for series in pair]
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
        kind_of(series.cat.categories.to_series()) == "number" for kind, series in present if kind == "category"
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
    else:
        got = f"all {count} distinct values are numbers, such as {texts[0]!r}"
    steps = [f"mark {words[0]!r} as missing"] if words else [] if marked else ["convert it by pandas.to_numeric"]
    if marked:
        commas = [text for text in marked if not THOUSANDS.fullmatch(text)]
        separated = [text for text in commas if len(re.findall(r"[.,'\s]", text)) > 1] if commas else marked
        steps += ["write it without separators of thousands"] if separated else []
        steps += ["read it with decimal=','"] if commas else []
        got += f", such as {(separated or commas)[0]!r}" if words else ""
    remedy = and_join(steps)
    return got, remedy[0].upper() + remedy[1:]


def _has_zone(series: pd.Series) -> bool:
    if series.dtype == object:
        return getattr(series.dropna().iloc[0], "tzinfo", None) is not None
    return isinstance(series.dtype, pd.DatetimeTZDtype)


def as_numbers(series: pd.Series) -> np.ndarray:
    """Float64 with NaN where missing; timedeltas in seconds, booleans as 0 and 1, numbers in text read."""
    if pd.api.types.infer_dtype(series, skipna=True).startswith("timedelta"):
        return pd.to_timedelta(series).to_numpy() / np.timedelta64(1, "s")
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
        # Decimal, Python numbers beside None, text: element by element
        series = pd.Series(pd.to_numeric(series.where(series.notna(), np.nan), errors="coerce"))
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def as_seconds(series: pd.Series) -> np.ndarray:
    """Seconds since 1970 (UTC where there is a zone), NaN where missing."""
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        text = isinstance(series.dropna().iloc[0], str) if series.notna().any() else False
        series = pd.to_datetime(series, utc=True, format="ISO8601" if text else None)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return (series.to_numpy() - np.datetime64(0, "s")) / np.timedelta64(1, "s")


def pooled_codes(source: pd.Series, target: pd.Series) -> tuple[np.ndarray, np.ndarray]:
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


def counts_rows(source: np.ndarray, target: np.ndarray) -> bool:
    """Whether a column is a row number: exactly one more in every row of each side."""
    sides = [side for side in (source, target) if len(side)]
    with np.errstate(invalid="ignore"):  # between infinite values, which are refused later
        return all(len(side) > 1 and side[1] - side[0] == 1 and bool((np.diff(side) == 1).all()) for side in sides)
