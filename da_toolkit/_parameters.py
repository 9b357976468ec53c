"""Checks of the parameters of adapters and methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from sklearn.utils.validation import has_fit_parameter

from shift_detectors._errors import InputError

from ._rows import listed


def check_method(method: Any, name: str, keyword: str, accepted: str) -> None:
    """Raise unless `method` is an object, not a class, whose ``fit`` takes `keyword`: what tells the kinds apart."""
    if isinstance(method, type) or not has_fit_parameter(method, keyword):
        raise InputError(f"{name}={method!r}", accepted, "Pass one.")


def check_ratio(ratio: Any) -> None:
    """Raise unless it is a density ratio or None."""
    if ratio is not None:
        check_method(ratio, "ratio", "groups", "a ratio object such as RuLSIF(), or None")


def check_aligner(aligner: Any) -> None:
    """Raise unless it is an aligner or None."""
    if aligner is not None:
        check_method(aligner, "aligner", "estimator", "an aligner object such as CORAL(), or None")


def check_prior(prior: Any, name: str) -> None:
    """Raise when it is neither class frequencies nor an object that estimates them."""
    if hasattr(prior, "fit") or isinstance(prior, str):
        check_method(prior, name, "classes", "a prior object such as MLLS(), frequencies, or None")


def read_prior(prior: Any, classes: np.ndarray, name: str) -> np.ndarray:
    """Class frequencies that a user gives, in the order of `classes`.

    Parameters
    ----------
    prior : mapping, Series or array-like of shape (n_classes,)
        A mapping from class to frequency and a Series, whose index holds the classes, are matched by class, and name
        all of them. Anything else is taken in the order of `classes`.
    classes : ndarray of shape (n_classes,)
    name : str
        Of the argument, for the message.

    Examples
    --------
    >>> read_prior(pd.Series(["b", "b", "b", "a"]).value_counts(normalize=True), np.array(["a", "b"]), "prior")
    array([0.25, 0.75])
    """
    if isinstance(prior, pd.Series):
        prior = prior.to_dict()
    if isinstance(prior, Mapping):
        if set(prior) != set(classes.tolist()):
            raise InputError(
                f"{name} with frequencies of the classes {listed(list(prior))}",
                f"frequencies of the classes {listed(classes.tolist())}",
                "Name all of them: a class that the target lacks has the frequency 0.",
            )
        prior = [prior[c] for c in classes.tolist()]
    values = np.asarray(prior, dtype=float)
    if values.shape != classes.shape or not (values >= 0).all() or not np.isclose(values.sum(), 1, atol=1e-6):
        raise InputError(
            f"{name} of shape {values.shape}, {values}",
            f"{len(classes)} frequencies >= 0 that sum to 1, in the order {listed(classes.tolist())}",
            "Divide counts by their sum.",
        )
    return values / values.sum()


FINITE = float(np.finfo(float).max)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one number; True and False are none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def check_numbers(method: Any, highest: dict[str, float]) -> None:
    """Each named parameter is a number above 0 and at most the given one."""
    for name, high in highest.items():
        value = getattr(method, name)
        if not is_number(value) or not 0 < value <= high:
            raise InputError(f"{name}={value!r}", "a number above 0")


def check_counts(method: Any, lowest: dict[str, int]) -> None:
    """Each named parameter is a whole number from the given one on."""
    for name, low in lowest.items():
        value = getattr(method, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise InputError(f"{name}={value!r}", f"a whole number from {low}")


def check_choices(method: Any, *names: str) -> None:
    """Each named parameter holds numbers above 0 to choose from, or is None for the default ones."""
    for name in names:
        values = getattr(method, name)
        if values is None:
            continue
        if np.ndim(values) != 1 or not len(values) or not all(is_number(value) and value > 0 for value in values):
            raise InputError(f"{name}={values!r}", "positive numbers, at least one", "None takes the default ones.")
