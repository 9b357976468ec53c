"""Streams of tasks for meta-learning: drawn from source domains, or checked as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from shift_detectors._errors import InputError


def draw_rows(
    parts: list[np.ndarray], groups: np.ndarray | None, support: int, query: int, random: np.random.RandomState
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Support rows, query rows and which of these share no group with the support; the domains take turns.

    All tasks have the same sizes, so that they can be computed in one batch.
    """
    smallest = min(map(len, parts))
    support = min(support, smallest // 2)
    query = min(query, smallest - support)
    while True:
        for i in random.permutation(len(parts)):
            rows = random.permutation(parts[i])
            if groups is None:
                yield rows[:support], rows[support : support + query], np.ones(query)
                continue
            # whole groups in random order: the support takes from the front, the query from the back
            ids, member = np.unique(groups[rows], return_inverse=True)
            rows = rows[np.argsort(random.permutation(len(ids))[member], kind="stable")]
            first, last = rows[:support], rows[-query:]
            apart = ~np.isin(groups[last], groups[first])
            if apart.any():
                yield first, last, apart.astype(float)


def forever(tasks: Iterable, random: np.random.RandomState, skip: int = 0) -> Iterator:
    """What `tasks` gives after the first ones, again and again unless it is an iterator; a sequence in random order."""
    if isinstance(tasks, Iterator):
        yield from islice(tasks, skip, None)
        return
    empty = False
    while not empty:
        empty = True
        if isinstance(tasks, Sequence):
            once: Iterable = (tasks[skip + i] for i in random.permutation(len(tasks) - skip))
        else:
            once = islice(tasks, skip, None)
        for task in once:
            empty = False
            yield task


def four_parts(task: Any) -> tuple:
    if task is None:
        raise InputError("tasks is empty", "at least one task", "Pass tasks.")
    parts = tuple(task)
    if len(parts) != 4:
        raise InputError(
            f"a task of {len(parts)} parts", "(support_X, support_y, query_X, query_y)", "Change what tasks gives."
        )
    return parts


def task_of(y: np.ndarray) -> str:
    fractions = y.dtype.kind == "f" and bool((y != np.round(y)).any())
    return "regression" if fractions else "classification"


def classes_of(y: np.ndarray, n_outputs: int) -> np.ndarray:
    classes = np.unique(y)
    if len(classes) > n_outputs:
        raise InputError(f"a task of {len(classes)} classes", f"at most {n_outputs}, as in the first task", "Split it.")
    return classes
