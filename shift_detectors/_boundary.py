"""The one place where the caller's data enter: everything is checked here, nothing is modified.

`read_problem` turns (X_source, y_source, X_target, y_target) of any supported type into a `Problem`, whose
`table` is what the tests compute on. The caller's model never sees that table: it keeps the caller's columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ._columns import from_polars_series, is_polars, read_rows, read_table
from ._copies import compared_target, copies
from ._dependence import serial_columns
from ._errors import InputError
from ._labels import TASKS, read_labels
from ._representation import fit_clone, read_represented, unfitted, warn_of_own_rows
from ._table import Problem
from ._warnings import warn

MIN_ROWS = 10  # fewer rows on a side cannot carry any of the tests
FEW_GROUPS = 5  # on a side, below which the tests have hardly any power
MANY_COPIES = 0.2  # a larger share of copied rows is worth a word
POOLED = "fitted on the rows of both sides together"  # what becomes of a representation that is not fitted


def read_problem(
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    task: str = "auto",
    groups: Any = None,
    groups_target: Any = None,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    source_domain: Any = None,
    representation: Any = None,
    exclude: Any = (),
) -> Problem:
    """Check both samples and bring them into the form the tests compute on.

    Parameters
    ----------
    X_source, X_target : array, DataFrame, sparse matrix or list of rows of shape (n_rows, n_features)
        Frames are of pandas or polars; their columns are matched by name. Numbers, timedeltas (seconds) and
        datetimes (seconds since 1970) become numeric columns; text, categories and booleans become
        categorical ones; values may be missing, not infinite. Text that is all ISO 8601 dates is read as
        dates. Left out with a note: columns without any value, text whose values are nearly all distinct,
        and named columns that merely number the rows. Sparse rows with more than 50 columns are reduced to
        50 components of the pooled rows, named by their heaviest columns. At least 10 rows a side. Rows may stand on
        both sides: the tests keep their level, at a loss of power; where the source is a part of the target, p(x) is
        compared with the other rows.
    y_source : array-like of shape (n_source,) or None
        Labels without missing values; None when only p(x) is asked about.
    y_target : array-like of shape (n_target,), optional
        Labels where known, missing values (None, NaN, NA, NaT) elsewhere. Cast to the dtype of `y_source`.
    task : {"auto", "classification", "regression"}
        "auto": text, booleans and categories are classes, numbers with a fraction are quantities; whole
        numbers are classes when there are at most 20 distinct ones, with three source rows each on average.
    groups, groups_target : array-like of shape (n_rows,), optional
        Rows with equal values belong together, also across the sides. Both or neither.
    sample_weight, sample_weight_target : array-like of shape (n_rows,), optional
        Positive; scaled to mean 1 on each side. A side without weights has weight 1.
    source_domain : array-like of shape (n_source,), optional
        Which of several sources a row comes from.
    representation : transformer, Pipeline of transformers, function, or (torch module, layer name), optional
        The tests see its output instead of the rows; `X` may then be whatever it takes (texts, images). Columns have
        the names of ``get_feature_names_out``, where a transformer has that. An unfitted transformer is cloned and
        fitted, without labels, on the rows of both sides together. A fitted one, or a trained module, is used as it is:
        it must not have seen the rows of one side only. What was fitted on the source treats its rows unlike those of
        any target, and p-values are then small without a shift.
    exclude : sequence of str or int
        Columns to leave out: names, or positions where columns have no names. With a `representation`,
        columns of its output.

    Returns
    -------
    Problem

    Raises
    ------
    InputError
        Whatever cannot be used; says what was got, what is accepted and what to do.

    Warns
    -----
    ShiftWarning
        When a `representation` was evidently fitted on the rows of one side. When `groups` or `groups_target` is one
        group, which counts as one observation. Without groups, when many rows of a side are copies of each other, or
        when rows resemble the row before them: permutation p-values are then wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> source = pd.DataFrame({"age": rng.normal(50, 9, 40), "ward": ["a", "b"] * 20})
    >>> target = pd.DataFrame({"ward": ["c"] * 10, "age": rng.normal(60, 9, 10)})
    >>> problem = read_problem(source, ["ill", "well"] * 20, target)
    >>> problem.task, problem.classes.tolist(), problem.table.names
    ('classification', ['ill', 'well'], ('age', 'ward'))
    >>> problem.table.categories[0].tolist()
    ['a', 'b', 'c']
    >>> problem.notes
    ('The columns of X_target stand in another order and were matched by name.',)
    """
    refuse_swapped(y_source, X_target)
    notes: list[str] = []
    if representation is None:
        source, target = read_rows(X_source, "X_source"), read_rows(X_target, "X_target")
    else:
        ours = unfitted(representation)
        if ours:
            representation = fit_clone(representation, X_source=X_source, X_target=X_target)
        source = read_represented(representation, X_source, "X_source")
        target = read_represented(representation, X_target, "X_target")
        notes.append(f"The tests see the rows through the given representation{f', {POOLED}' if ours else ''}.")
        if not ours:
            for X, argument in ((X_source, "X_source"), (X_target, "X_target")):
                warn_of_own_rows(representation, X, argument, f"it is then {POOLED}")
    for rows, argument in ((source, "X_source"), (target, "X_target")):
        n = rows.data.shape[0]
        if n < MIN_ROWS:
            raise InputError(
                f"{argument} has {n} rows" if n else f"{argument} is empty",
                f"at least {MIN_ROWS} rows a side",
                "Collect more rows before testing for shift.",
            )
    table, table_notes = read_table(source, target, exclude)
    notes += table_notes
    n_source, n_target = table.n_source, table.n_target

    labels = None
    if y_source is not None:
        labels = read_labels(y_source, y_target, n_source, n_target, task)
        notes += labels.notes
    elif y_target is not None:
        raise InputError("y_target was given without y_source", "both, or y_source alone", "Pass y_source as well.")
    elif task not in TASKS:
        raise InputError(f"task is {task!r}", " or ".join(map(repr, TASKS)), "Pass one of them.")

    group_codes = _groups(groups, groups_target, n_source, n_target)
    if group_codes is not None:
        if labels is not None and len(np.unique(group_codes[:n_source])) == 1:
            raise InputError(
                "groups has 1 group in all",
                "two or more groups of labelled source rows, which are held out in turn",
                "Leave groups and groups_target out if the question is about exactly this group.",
            )
        notes += _on_both_sides(group_codes[:n_source], group_codes[n_source:])
        notes += _few_groups(group_codes[:n_source], group_codes[n_source:])
    weight = _weights(sample_weight, sample_weight_target, n_source, n_target)
    domain = None if source_domain is None else read_ids(source_domain, n_source, "source_domain", "X_source")
    within, across = copies(table)
    if across > MANY_COPIES:
        notes.append(
            f"{across:.0%} of the target rows stand in the source as well: the samples overlap. These rows tell no "
            "difference, and tests that see them see less."
        )
    if group_codes is None:
        warn_of_dependence(within, serial_columns(table, None if labels is None else labels.y_source))
    problem = Problem(
        table,
        y_source=None if labels is None else labels.y_source,
        y_target=None if labels is None else labels.y_target,
        labelled=np.zeros(n_target, bool) if labels is None else labels.labelled,
        task=None if labels is None else labels.task,
        classes=None if labels is None else labels.classes,
        new_classes=() if labels is None else labels.new_classes,
        groups=group_codes,
        weight=weight,
        source_domain=domain,
        notes=tuple(notes),
    )
    others = compared_target(problem)
    if len(others) < n_target:
        note = (
            "The source is a part of the target: p(x) of the source is compared with that of the other "
            f"{len(others)} target rows."
        )
        problem = replace(problem, notes=(*problem.notes, note))
    return problem


def refuse_swapped(y_source: Any, X_target: Any) -> None:
    """An error where the table stands in the place of the labels and the labels in that of the table."""
    width = np.shape(y_source)[1:] if hasattr(y_source, "shape") else ()
    if width and width[0] > 1 and len(getattr(X_target, "shape", (0, 0))) == 1:
        raise InputError(
            "a table was passed as the source's labels and a single column as the target's rows",
            "the source's rows, its labels, and then the target's rows",
            "Swap the second and the third argument.",
        )


def read_ids(values: Any, n: int, argument: str, rows: str) -> np.ndarray:
    """One identifier per row, none missing."""
    if is_polars(values) and type(values).__name__ == "Series":
        values = from_polars_series(values)
    array = np.asarray(values)
    if array.shape != (n,):
        raise InputError(f"{argument} has shape {array.shape}", f"({n},), one value per row of {rows}")
    missing = pd.isna(array)
    if missing.any():
        raise InputError(
            f"{argument} has {missing.sum()} missing values",
            "an identifier for every row",
            "Give each row without one an identifier of its own.",
        )
    return array


def _groups(groups: Any, groups_target: Any, n_source: int, n_target: int) -> np.ndarray | None:
    """Codes 0, 1, ... over both sides; equal identifiers get equal codes."""
    if groups is None and groups_target is None:
        return None
    if groups is None or groups_target is None:
        given, lacking = ("groups", "groups_target") if groups_target is None else ("groups_target", "groups")
        raise InputError(
            f"{given} was given without {lacking}",
            "both or neither",
            "If every row of that side stands alone, give each an identifier that occurs nowhere else.",
        )
    source = read_ids(groups, n_source, "groups", "X_source")
    target = read_ids(groups_target, n_target, "groups_target", "X_target")
    if (source.dtype.kind in "biuf") != (target.dtype.kind in "biuf"):
        raise InputError(
            f"groups has dtype {source.dtype} and groups_target {target.dtype}",
            "identifiers of the same type",
            "Convert them the same way: equal identifiers mean the same group.",
        )
    return pd.factorize(np.concatenate([source, target]))[0]


def _on_both_sides(source: np.ndarray, target: np.ndarray) -> list[str]:
    """A note where groups have rows in both domains, as equal numbers by accident would make it seem."""
    shared, all_of_them = len(np.intersect1d(source, target)), len(np.union1d(source, target))
    if not shared:
        return []
    return [
        f"{shared} of {all_of_them} groups have rows on both sides: equal identifiers in groups and groups_target mean "
        "one and the same group (a patient before and after). Number the groups of the target otherwise if they are "
        "others."
    ]


def _few_groups(source: np.ndarray, target: np.ndarray) -> list[str]:
    """A note where a side has so few groups that the tests can hardly find a difference; of one, a warning, too."""
    notes = []
    for codes, argument in ((source, "groups"), (target, "groups_target")):
        n = len(np.unique(codes))
        if n < FEW_GROUPS:
            few, these = ("1 group", "it") if n == 1 else (f"{n} groups", "these")
            notes.append(
                f"{argument} has {few}: the rows of a group count as one observation, so that a shift of p(x) can "
                "hardly be found. Groups are what could have been drawn anew, such as patients or days; if the "
                f"question is about exactly {these}, leave groups out."
            )
            if n == 1:
                warn(notes[-1])
    return notes


def _weights(weight: Any, weight_target: Any, n_source: int, n_target: int) -> np.ndarray | None:
    """Weights of both sides, mean 1 on each."""
    if weight is None and weight_target is None:
        return None
    sides = []
    for values, n, argument, rows in (
        (weight, n_source, "sample_weight", "X_source"),
        (weight_target, n_target, "sample_weight_target", "X_target"),
    ):
        if values is None:
            sides.append(np.ones(n))
            continue
        accepted = f"({n},), one finite positive weight per row of {rows}"
        try:
            array = np.asarray(values, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"{argument} is not numeric", accepted) from None
        if array.shape != (n,):
            raise InputError(f"{argument} has shape {array.shape}", accepted)
        if not np.isfinite(array).all():
            raise InputError(f"{argument} has {(~np.isfinite(array)).sum()} missing or infinite values", accepted)
        if (array < 0).any():
            raise InputError(f"{argument} has {(array < 0).sum()} negative values", accepted)
        if not array.all():
            raise InputError(
                f"{argument} is zero in {(array == 0).sum()} of {n} rows",
                accepted,
                "A row of weight zero says nothing: drop it, with its label.",
            )
        sides.append(array / array.mean())
    return np.concatenate(sides)


def warn_of_dependence(duplicated: float, serial: list[tuple[str, float]]) -> None:
    if duplicated > MANY_COPIES:
        warn(
            f"{duplicated:.0%} of the rows are copies of another row of their side, and no groups were "
            "given: permutation p-values treat them as independent and come out too small. Drop the copies, "
            "or pass groups= and groups_target=."
        )
    if serial:
        shown = ", ".join(f"{name!r} {r:.2f}" for name, r in serial[:3])
        warn(
            f"Neighbouring rows resemble each other (lag-1 autocorrelation of {shown}) and no groups were "
            "given: permutation p-values are then too small. Pass groups= (a stretch of time, a patient, a "
            "site); if the rows are merely sorted, shuffle them."
        )


def check_n_jobs(n_jobs: Any) -> None:
    """Raise unless it is a number of workers as joblib counts them, or None."""
    if n_jobs is not None and not (isinstance(n_jobs, (int, np.integer)) and n_jobs != 0):
        raise InputError(f"n_jobs={n_jobs!r}", "a whole number other than 0, or None", "-1 takes all processors.")
