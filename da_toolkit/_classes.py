"""Classes in an order of their own, as the outputs of a trained network, or other ones than those of the rows."""

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


def spread(proba: np.ndarray, known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probabilities of the classes `known`, with a column for each of `classes`: those of the others are zero.

    Examples
    --------
    >>> spread(np.array([[0.9, 0.1]]), np.array(["c", "a"]), np.array(["a", "b", "c"]))
    array([[0.1, 0. , 0.9]])
    """
    full = np.zeros((len(proba), len(classes)))
    full[:, positions(known, classes)] = proba
    return full


def refuse_unknown(y: np.ndarray, classes: np.ndarray) -> None:
    """Raise when source rows have classes that a frozen model has not."""
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise InputError(
            f"y has the classes {unknown.tolist()}, which the frozen model does not know",
            f"the classes {classes.tolist()}",
            "Drop those rows.",
        )
