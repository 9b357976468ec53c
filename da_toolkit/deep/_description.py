"""A text for every parameter that is the same in every process, so that a checkpoint knows its own."""

from __future__ import annotations

import re
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import joblib
import numpy as np


def describe(value: Any, above: tuple = ()) -> str:
    """``repr`` where it names no address in memory; else the parts of the value, each described.

    A function is told by its name, its code, its defaults and what it closes over; a random state by its state.

    Parameters
    ----------
    value : object
    above : tuple
        What is being described already: functions may close over themselves.

    Examples
    --------
    >>> describe(0.5)
    '0.5'
    >>> describe(lambda p: 2 * p) == describe(lambda p: 2 * p), describe(lambda p: 2 * p) == describe(lambda p: 3 * p)
    (True, False)
    """
    if isinstance(value, (set, frozenset)):
        return str(sorted(describe(part, above) for part in value))
    text = repr(value)
    if " at 0x" not in text:
        return text
    if any(value is other for other in above):
        return "itself"
    parts = _parts(value)
    if not parts:
        return re.sub(" at 0x[0-9A-Fa-f]+", "", text)
    return f"{type(value).__name__}({', '.join(describe(part, (*above, value)) for part in parts)})"


def _parts(value: Any) -> list:
    """What tells the value from others of its type; nothing where its ``repr`` has to do."""
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        name = f"{value.__module__}.{value.__qualname__}"
        return [name, value.__code__, value.__defaults__, value.__kwdefaults__, *held]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, *value.co_consts]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, *value.args, value.keywords]
    if isinstance(value, np.random.RandomState):
        return [joblib.hash(value.get_state())]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if hasattr(value, "get_params"):
        return [type(value), value.get_params(deep=False)]
    if type(value).__repr__ is object.__repr__:
        return [type(value), getattr(value, "__dict__", None)]
    return []
