"""Labels as tasks: the columns of a table of labels, or the domains of one column."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from shift_detectors._errors import InputError
from shift_detectors._labels import read_labels

from .._domains import as_quantities
from .._rows import column_names
from ..deep._rows import plain

TARGET = "target"


class Task(NamedTuple):
    """What one task predicts, and which rows have a label for it."""

    classes: np.ndarray | None
    center: float
    scale: float
    rows: np.ndarray
    y: np.ndarray

    @property
    def n_outputs(self) -> int:
        """Classes, or 1 for a regression."""
        return 1 if self.classes is None else len(self.classes)

    def codes(self) -> Tensor:
        """Labels of the rows, as the loss takes them."""
        if self.classes is None:
            return torch.as_tensor((self.y - self.center) / self.scale)
        return torch.as_tensor(np.searchsorted(self.classes, self.y))


def column_tasks(tables: dict, y_target: Any, n: int, m: int, domain: Any, kinds: Any) -> dict[Hashable, Task]:
    """A task for each column of labels; labelled target rows are more rows of the same columns."""
    if domain is not None and len(np.unique(domain)) > 1:
        raise InputError("label columns and several source domains", "one of the two", "Leave source_domain out.")
    more = None if not m or y_target is None else label_columns(plain(y_target))
    if more is not None and list(more) != list(tables):
        raise InputError(f"y_target has the columns {list(more)}", f"those of y, {list(tables)}", "Order them alike.")
    tasks: dict[Hashable, Task] = {}
    for name, column in tables.items():
        target = np.full(m, None, object) if more is None else more[name]
        for values, size, what in ((column, n, "y"), (target, m, "y_target")):
            if len(values) != size:
                raise InputError(f"{what} has {len(values)} rows", f"{size}, one per row", "Check the rows.")
        both = np.concatenate([column, target])
        tasks[name] = _task(name, both, np.flatnonzero(~pd.isna(both)), kinds)
    return tasks


def domain_tasks(y: Any, y_target: Any, n: int, m: int, domain: Any, kinds: Any) -> dict[Hashable, Task]:
    """A task for each source domain, and one for the target."""
    y = label_column(y)
    if len(y) != n:
        raise InputError(f"y has {len(y)} labels for {n} rows", "one label per row", "Check the rows.")
    missing = int(pd.isna(y).sum())
    if missing:
        raise InputError(f"{missing} of the {n} values of y are missing", "a label for every row", "Drop those rows.")
    ids = ["source"] if domain is None else np.unique(domain).tolist()
    if TARGET in ids and m:
        raise InputError("a source domain called 'target' beside X_target", "another name", "Rename it.")
    if len(ids) == 1 and not m:
        raise InputError(
            "MultiTask was given a single task",
            "a y with several columns, source_domain, or labelled target rows",
            "One task needs no MultiTask.",
        )
    parts = [np.arange(n)] if domain is None else [np.flatnonzero(domain == i) for i in ids]
    tasks: dict[Hashable, Task] = {i: _task(i, y, part, kinds) for i, part in zip(ids, parts, strict=True)}
    classes = [set(task.classes.tolist()) for task in tasks.values() if task.classes is not None]
    for name, task in tasks.items():  # few rows do not show that their numbers are classes; another domain does
        if task.classes is None and _kind(name, kinds) == "auto" and any(set(y[task.rows]) <= c for c in classes):
            tasks[name] = _task(name, y, task.rows, "classification")
    if m:
        known = np.empty(0, int) if y_target is None else np.flatnonzero(~pd.isna(label_column(y_target)))
        if not len(known):
            raise InputError(
                "MultiTask.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or leave X_target out.",
            )
        if len(label_column(y_target)) != m:
            raise InputError(f"y_target has {len(label_column(y_target))} labels for {m} rows", "one label per row")
        both = np.concatenate([y, label_column(y_target)])
        tasks[TARGET] = _target_task(both, n + known, tasks.values(), kinds)
    return tasks


def _task(name: Hashable, y: np.ndarray, rows: np.ndarray, kinds: Any) -> Task:
    if not len(rows):
        raise InputError(f"task {name!r} has no label", "one label at least", "Leave the task out.")
    try:
        labels = read_labels(y[rows].tolist(), None, len(rows), 0, _kind(name, kinds), ("y", "X"))
    except InputError as error:
        raise InputError(f"task {name!r}: {error}") from error
    values = labels.y_source
    if labels.classes is not None:
        return Task(labels.classes, 0.0, 1.0, rows, values)
    return Task(None, float(values.mean()), float(values.std()), rows, values)


def _target_task(y: np.ndarray, rows: np.ndarray, sources: Iterable[Task], kinds: Any) -> Task:
    """The target is read like a source that knows all of its labels: few labels do not show their kind."""
    known = y[rows]
    kind = _kind(TARGET, kinds)
    alike: list[Any] = [s.classes for s in sources if s.classes is not None]
    alike = [classes for classes in alike if set(known) <= set(classes.tolist())]
    if alike and kind != "regression":
        classes = min(alike, key=len)
        return Task(classes, 0.0, 1.0, rows, np.array(known.tolist(), dtype=classes.dtype))
    regressions = [s for s in sources if s.classes is None]
    numbers = all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in known)
    if kind == "regression" or (kind == "auto" and regressions and not alike and numbers):
        values = as_quantities(known.astype(float), "y_target")
        scale = float(np.mean([s.scale for s in regressions] or [1.0]))  # a few labels tell the level, not more
        return Task(None, float(values.mean()), scale, rows, values)
    return _task(TARGET, y, rows, kinds)


def _kind(name: Hashable, kinds: str | dict) -> str:
    return kinds.get(name, "auto") if isinstance(kinds, dict) else kinds


def label_column(y: Any) -> np.ndarray:
    """Labels as an object array, so that numbers and words can stand beside each other."""
    if isinstance(y, Mapping):
        raise InputError(
            f"labels in a {type(y).__name__}",
            "a label per row, or a table with a column for each task",
            "Pass pandas.DataFrame(y).",
        )
    return np.fromiter(iter(y), dtype=object, count=len(y))


def label_columns(y: Any) -> dict[Hashable, np.ndarray]:
    """The columns of a table of labels by their names, or by 0, 1, ..."""
    names = column_names(y)
    if names is None:
        array = np.asarray(y, object)
        return {j: array[:, j] for j in range(array.shape[1])}
    return {name: label_column(y[name].to_list()) for name in names}
