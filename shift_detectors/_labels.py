"""Labels of both sides: one task, one dtype, missing target labels as a mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ._column_kinds import broken_numbers
from ._columns import ID_LIKE, from_polars_series
from ._errors import InputError
from ._table import new_classes_note
from ._warnings import warn

MAX_INTEGER_CLASSES = 20  # more distinct integers than this are taken as quantities
ROWS_PER_CLASS = 3  # and fewer rows than this per distinct integer, too
MOST_CODES = 200  # integers 0, 1, 2, ... up to here may be codes of classes
TASKS = ("auto", "classification", "regression")


class Labels(NamedTuple):
    """Checked labels, as `Problem` holds them."""

    y_source: np.ndarray
    y_target: np.ndarray | None
    labelled: np.ndarray
    task: str
    classes: np.ndarray | None
    new_classes: tuple
    notes: tuple[str, ...]


def read_labels(
    y_source: Any,
    y_target: Any,
    n_source: int,
    n_target: int,
    task: str = "auto",
    names: tuple[str, str] = ("y_source", "X_source"),
) -> Labels:
    """Check the labels and find the task.

    Text, booleans and categories are classes. Numbers with a fraction are quantities. Whole numbers are
    classes when there are at most 20 distinct ones with three source rows each on average, and quantities
    otherwise; `task` overrides this. Target labels are cast to the dtype of the source's. `names` are what the
    caller calls labels and rows of the source.
    """
    name, rows = names
    if task not in TASKS:
        raise InputError(f"task is {task!r}", " or ".join(map(repr, TASKS)), "Pass one of them.")
    source, missing = _values(y_source, n_source, name, rows)
    if missing.any():
        raise InputError(
            f"{name} has {missing.sum()} missing labels of {n_source}",
            "a label for every source row",
            "Drop those rows, or move them to the target as unlabelled ones.",
        )
    kind = kind_of(source, name)
    notes: list[str] = []
    if task == "auto":
        task = _task(source, kind, notes, name)
        if kind == "text":
            _warn_of_broken_numbers(source, name)
    if task == "regression" and kind == "text":
        raise InputError(f"{name} holds text with task='regression'", "numbers", "Pass task='classification'.")
    if task == "classification" and kind == "fraction":
        raise InputError(
            f"{name} holds numbers with a fraction with task='classification'",
            "whole numbers, text or booleans",
            "Pass task='regression', or turn the labels into text.",
        )
    source = source.astype(float) if task == "regression" else _plain(source, kind)
    classes = np.unique(source)
    if len(classes) < 2:
        what = "one class only" if task == "classification" else "one value only"
        raise InputError(
            f"{name} has {what} ({classes[0]!s})",
            "at least two",
            "Without labels to compare, pass y_source=None." if name == "y_source" else "Pass rows of another, too.",
        )
    target, labelled = None, np.zeros(n_target, bool)
    if y_target is not None:
        values, missing = _values(y_target, n_target, "y_target", "X_target")
        labelled = ~missing
        if labelled.any():
            target = np.full(n_target, np.nan if task == "regression" else classes[0], dtype=source.dtype)
            known = _cast(values, source, kind, task, name)
            if known.dtype.itemsize > target.dtype.itemsize:  # a longer word than any of the source's
                target = target.astype(known.dtype)
            target[labelled] = known
    if task == "regression":
        return Labels(source, target, labelled, task, None, (), tuple(notes))
    new = () if target is None else tuple(np.setdiff1d(target[labelled], classes).tolist())
    notes += new_classes_note(new)
    return Labels(source, target, labelled, task, classes, new, tuple(notes))


def _values(y: Any, n: int, argument: str, rows: str) -> tuple[np.ndarray, np.ndarray]:
    """The non-missing labels as an array of their own type, and the mask of the missing ones."""
    if type(y).__module__.split(".")[0] == "polars" and type(y).__name__ == "Series":
        y = from_polars_series(y)
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    if not isinstance(y, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        y = _one_dimensional(y, argument)
    series = pd.Series(y)
    if len(series) != n:
        raise InputError(
            f"{argument} has {len(series)} labels",
            f"{n}, one per row of {rows}",
            "Pass rows and labels together.",
        )
    missing = series.isna().to_numpy()
    present: Any = series[~missing]
    if isinstance(present.dtype, pd.CategoricalDtype):
        present = present.astype(present.cat.categories.dtype)
    values = present.to_numpy()
    values = values if values.dtype != object else pd.Series(values).infer_objects().to_numpy()
    return values.astype(values.dtype.newbyteorder("="), copy=False), missing  # pandas counts native numbers only


def _one_dimensional(y: Any, argument: str) -> np.ndarray:
    if isinstance(y, (list, tuple)):  # np.asarray would turn [1, "a"] and [True, None] into something else
        array = np.empty(len(y), dtype=object)
        if any(isinstance(value, (list, tuple, np.ndarray)) for value in y):
            array = np.empty((len(y), max(np.size(value) for value in y)), dtype=object)  # to be refused
        else:
            array[:] = y
            array = pd.Series(array, dtype=object).infer_objects().to_numpy()
    else:
        array = np.asarray(y)
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise InputError(
            f"{argument} {f'has shape {array.shape}' if array.ndim else f'is a {type(y).__name__}'}",
            "one label per row, in one dimension",
            "Several labels are diagnosed one at a time." if array.ndim else "Pass an array, a list or a series.",
        )
    return array


def kind_of(values: np.ndarray, argument: str) -> str:
    """One of boolean, whole, fraction, text."""
    code = values.dtype.kind
    if code == "b":
        return "boolean"
    if code in "iu":
        return "whole"
    if code == "O":
        inferred = pd.api.types.infer_dtype(values, skipna=True)
        if inferred == "boolean":
            return "boolean"
        if inferred == "string":
            return "text"
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
            values = values.astype(float)
            code = "f"
    if code in "UST":
        return "text"
    if code == "f":
        if not np.isfinite(values).all():
            raise InputError(
                f"{argument} has {(~np.isfinite(values)).sum()} infinite values",
                "finite labels",
                "Remove them.",
            )
        return "whole" if (values == np.round(values)).all() else "fraction"
    raise InputError(
        f"{argument} holds {'values of several types' if code == 'O' else values.dtype}",
        "numbers, text, booleans or categories",
        "Convert the labels to one of these types.",
    )


def _task(values: np.ndarray, kind: str, notes: list[str], name: str) -> str:
    if kind in ("text", "boolean"):
        return "classification"
    if kind == "fraction":
        return "regression"
    distinct = len(np.unique(values.astype(float)))
    if distinct <= MAX_INTEGER_CLASSES and distinct * ROWS_PER_CLASS <= len(values):
        if distinct > 2:
            notes.append(f"{name} has {distinct} distinct whole numbers: taken as classes (task= overrides).")
        return "classification"
    notes.append(f"{name} has {distinct} distinct whole numbers: taken as quantities (task= overrides).")
    low, high = int(values.min()), int(values.max())
    if low in (0, 1) and high - low + 1 == distinct <= MOST_CODES and distinct * ROWS_PER_CLASS <= len(values):
        warn(
            f"{name} has the whole numbers {low} to {high}, taken as quantities: if they are codes of "
            'classes, pass task="classification"'
        )
    return "regression"


def _warn_of_broken_numbers(source: np.ndarray, name: str) -> None:
    """One word among the numbers of a file makes all of them text, and every number a class."""
    distinct = np.unique(source.astype(str))
    broken = broken_numbers(distinct, len(distinct) > ID_LIKE * len(source))
    if broken is not None:
        warn(f"{name} is text, taken as classes; {broken[0]}. {broken[1]}, or pass task='classification'.")


def _plain(values: np.ndarray, kind: str) -> np.ndarray:
    """Class labels in a plain numpy dtype: bool, int, float or str."""
    if kind == "text":
        return values.astype(str)
    if kind == "boolean":
        return values.astype(bool)
    return values if values.dtype != object else values.astype(float)


def _cast(values: np.ndarray, source: np.ndarray, source_kind: str, task: str, name: str) -> np.ndarray:
    """Known target labels in the dtype of the source's, an error where that would change their meaning."""
    kind = kind_of(values, "y_target")
    if (kind == "text") != (source_kind == "text") or (task == "classification" and kind == "fraction"):
        words = {"text": "text", "boolean": "booleans", "whole": "whole numbers", "fraction": "fractions"}
        raise InputError(
            f"y_target holds {words[kind]} while {name} holds {words[source_kind]}",
            "labels of the same type on both sides",
            f"Convert y_target as {name} was converted.",
        )
    if task == "regression":
        return values.astype(float)
    if kind == "text":
        return values.astype(str)
    numbers = values.astype(float)
    if source_kind == "boolean" and not np.isin(numbers, (0, 1)).all():
        raise InputError(f"y_target holds other numbers than 0 and 1 while {name} is boolean", "booleans, 0 or 1")
    if source.dtype.kind not in "iu":
        return numbers.astype(source.dtype)
    if np.abs(numbers).max() > 2**53:
        raise InputError("y_target holds numbers beyond 2**53", f"the classes of {name}", "Number the classes from 0.")
    whole = values if values.dtype.kind in "iu" else numbers.astype(np.int64)
    return whole.astype(np.promote_types(whole.dtype, source.dtype))  # a wider integer for new classes
