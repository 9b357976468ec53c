"""Folds of both domains, and fits on a part of them: what comparing adapters is made of."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._learners import make_folds

from ._domains import Domains

FOLDS = 5


def split(
    domains: Domains, groups_target: np.ndarray | None, classification: bool, seed: int, n_folds: int = FOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Fold numbers of the source rows and of the target rows; groups stay together, classes are balanced."""
    if domains.groups is not None:
        n_folds = min(n_folds, len(np.unique(domains.groups)))
    n_folds = min(n_folds, len(domains.y) // 2, len(domains.labelled) // 2)
    if n_folds < 2:
        raise InputError(
            f"{len(domains.y)} source and {len(domains.labelled)} target rows (or a single group)",
            "enough for two folds",
            "Nothing can be compared on so few rows.",
        )
    source = make_folds(
        _codes(domains.y) if classification else np.zeros(len(domains.y)), n_folds, seed, domains.groups
    )
    strata = domains.labelled.astype(int)
    if classification and domains.y_target is not None:
        strata = strata * (1 + _codes(domains.y_target))
    target = make_folds(strata, n_folds, seed, groups_target)
    return source, target


def fit(
    adapter: Any, domains: Domains, in_source: np.ndarray | None = None, in_target: np.ndarray | None = None
) -> Any:
    """A clone fitted on both domains, or on the rows of two masks.

    It gets the weights, groups and sources that there are; an error says when it cannot take weights.
    """
    model = clone(adapter)
    taken = inspect.signature(model.fit).parameters
    if domains.sample_weight is not None and "sample_weight" not in taken:
        raise InputError(f"{type(model).__name__}.fit takes no sample_weight", "an adapter that does")
    X = domains.X if in_source is None else take_rows(domains.X, np.flatnonzero(in_source))
    X_target = domains.X_target if in_target is None else take_rows(domains.X_target, np.flatnonzero(in_target))
    source, target = (slice(None) if mask is None else mask for mask in (in_source, in_target))
    # groups and source_domain steer folds and several sources inside; without a use for them nothing is lost
    options = {name: getattr(domains, name) for name in ("sample_weight", "groups", "source_domain")}
    given = {name: values[source] for name, values in options.items() if values is not None and name in taken}
    return model.fit(X, domains.y[source], X_target, _labels(domains, target), **given)


def _labels(domains: Domains, rows: np.ndarray | slice) -> np.ndarray | None:
    """Target labels of some rows, None where unknown; None when there are none at all."""
    known = domains.labelled[rows]
    if domains.y_target is None or not known.any():
        return None
    values = domains.y_target[rows].astype(object)
    values[~known] = None
    return values


def _codes(y: np.ndarray) -> np.ndarray:
    return np.unique(y, return_inverse=True)[1]
