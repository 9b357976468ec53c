"""Warnings of the toolkit, and those of others set aside for a while, in one thread alone.

``warnings.catch_warnings`` changes the filters of the process and puts back those that it found: of two threads that
do so at once, one leaves the filters of the other behind.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, get_ident
from typing import Any

from ._errors import ShiftWarning

NOT_THE_USER = {"shift_detectors", "da_toolkit", "sklearn", "joblib", "threading", "concurrent"}
OURS = "(?#da-toolkit)"  # a comment, by which copies of our filters are known

_lock = Lock()
_inside = 0  # how many threads and levels ignore something
_said: ContextVar[set[str] | None] = ContextVar("_said", default=None)  # texts said within `said_once`


def warn(text: str) -> None:
    """A `ShiftWarning` that points at the user's line, the first outside of this library and of scikit-learn."""
    said = _said.get()
    if said is not None:
        if text in said:
            return
        said.add(text)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in NOT_THE_USER:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ShiftWarning, stacklevel=level)


@contextmanager
def said_once() -> Iterator[None]:
    """Within it `warn` says the same text once."""
    token = _said.set(set() if _said.get() is None else _said.get())
    try:
        yield
    finally:
        _said.reset(token)


class _Unheard(Warning):
    """Never raised."""


class _Mine:
    """A pattern for filters, which texts match in one thread only."""

    def __init__(self, message: str):
        self.pattern = OURS + message  # copied by scikit-learn for the threads and processes that it starts
        self.begins = re.compile(message).match
        self.thread: int | None = get_ident()
        self.texts: list[str] = []

    def match(self, text: str) -> bool:
        if get_ident() != self.thread or not self.begins(text):
            return False
        self.texts.append(text)
        return True


@contextmanager
def ignored(category: type[Warning] = Warning, message: str = "") -> Iterator[list[str]]:
    """Ignore the warnings of this thread that are of the category and begin with the message, a regular expression.

    Other threads keep their warnings, and no filter stays behind. Of all warnings (`Warning`) the list holds the texts.

    Examples
    --------
    >>> with ignored() as texts:
    ...     warnings.warn("no news")
    >>> texts
    ['no news']
    """
    global _inside
    mine: Any = _Mine(message)
    entry = ("ignore", mine, category, None, 0)
    with _lock:
        _inside += 1
        filters: Any = warnings.filters
        filters.insert(0, entry)
        warnings.simplefilter("ignore", _Unheard)  # lets texts come again that were shown once
        _remove(("ignore", None, _Unheard, None, 0), filters)
    token = _said.set(None)  # what is ignored has not been said
    try:
        yield mine.texts
    finally:
        _said.reset(token)
        mine.thread = None  # also in copies of the filters
        with _lock:
            _inside -= 1
            _remove(entry, filters)
            if not _inside:
                _remove_copies()


def no_filters_left():
    """Around all that ignores something: filters that scikit-learn's threads left behind go with the last one."""
    return ignored(_Unheard)


def _remove(entry: tuple, filters: Any) -> None:
    """Take an entry out of these filters, and out of those of now: others, where somebody catches warnings."""
    current: Any = warnings.filters
    for known in (filters, current):
        if entry in known:
            known.remove(entry)


def _remove_copies() -> None:
    current: Any = warnings.filters
    current[:] = [entry for entry in current if not str(getattr(entry[1], "pattern", "")).startswith(OURS)]
