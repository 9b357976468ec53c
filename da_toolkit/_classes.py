"""Classes that stand in an order of their own, such as that of the outputs of a trained network."""

from __future__ import annotations

from typing import Any

import numpy as np

from shift_detectors._errors import InputError


def read_classes(classes: Any) -> np.ndarray:
    """Classes of the outputs of a network, as the user names them: all different, in any order."""
    names = np.asarray(classes)
    if names.ndim != 1 or len(names) < 2 or len(np.unique(names)) < len(names):
        raise InputError(
            f"classes={names.tolist()}", "two or more different classes", "Name that of every output, in their order."
        )
    return names


def positions(labels: Any, classes: np.ndarray) -> np.ndarray:
    """Where every label stands among `classes`, which are in any order and hold them all.

    Examples
    --------
    >>> positions(["a", "c", "a"], np.array(["b", "a", "c"]))
    array([1, 2, 1])
    """
    order = np.argsort(classes)
    return order[np.searchsorted(classes, labels, sorter=order)]
