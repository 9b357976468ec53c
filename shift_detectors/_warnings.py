"""Warnings set aside for a while, in one thread alone.

``warnings.catch_warnings`` changes the filters of the process and puts back those that it found: of two threads that
do so at once, one leaves the filters of the other behind.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

OURS = "(?#da-toolkit)"  # a comment, by which copies of our filters are known

_lock = Lock()
_inside = 0  # how many threads and levels ignore something


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
    try:
        yield mine.texts
    finally:
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
