"""Folds of both domains, and fits on a part of them: what comparing adapters is made of."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone

from shift_detectors._errors import InputError
from shift_detectors._learners import make_folds

from ._base import Domains

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


def fit(adapter: Any, X: Any, y: Any, X_target: Any, y_target: Any, **options: Any) -> Any:
    """Fit a clone; of the options it gets those that are set, and an error says which it cannot take."""
    model = clone(adapter)
    taken = inspect.signature(model.fit).parameters
    given = {name: value for name, value in options.items() if value is not None}
    if "sample_weight" in given and "sample_weight" not in taken:
        raise InputError(f"{type(model).__name__}.fit takes no sample_weight", "an adapter that does")
    # groups and source_domain steer folds and several sources inside; without a use for them nothing is lost
    given = {name: value for name, value in given.items() if name in taken}
    return model.fit(X, y, X_target, y_target, **given)


def labels(domains: Domains, rows: np.ndarray) -> np.ndarray | None:
    """Target labels of some rows, None where unknown; None when there are none at all."""
    known = domains.labelled[rows]
    if domains.y_target is None or not known.any():
        return None
    values = domains.y_target[rows].astype(object)
    values[~known] = None
    return values


def _codes(y: np.ndarray) -> np.ndarray:
    return np.unique(y, return_inverse=True)[1]
