"""Errors and warnings of the toolkit: each says what was got, what is accepted and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """The caller's data or options cannot be used.

    Parameters
    ----------
    got : str
        What was passed.
    accepted : str
        What would have been accepted.
    remedy : str
        What to do about it.

    Examples
    --------
    >>> print(InputError("X_target has 5 columns", "the 4 columns of X_source", "Drop 'id'."))
    X_target has 5 columns; accepted: the 4 columns of X_source. Drop 'id'.
    """

    def __init__(self, got: str, accepted: str = "", remedy: str = ""):
        message = got
        if accepted:
            message += f"; accepted: {accepted}"
        if remedy:
            message = f"{message.rstrip('.')}. {remedy}"
        super().__init__(message)


class MissingDependencyError(ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str):
        super().__init__(f'{package} is not installed. Install it with: pip install "da-toolkit[{extra}]"')


class ShiftWarning(UserWarning):
    """Something about the data deserves attention, but the computation went on as documented."""
