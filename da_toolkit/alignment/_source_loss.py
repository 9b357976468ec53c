"""What a model loses on the source itself behind an aligner that leaves dimensions out."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from shift_detectors._columns import take_rows
from shift_detectors._learners import make_folds
from shift_detectors._models import answers_of
from shift_detectors._warnings import ignored

from .._model import fit_weighted, weight_parameter

LOSS = 0.1  # of accuracy or R2 that is much
CLEARLY = 2.0  # standard errors by which a loss exceeds it
FOLDS = 3
FEWEST = 12  # rows or groups


def much_lost(
    head: Any, Z: Any, moved: Any, y: np.ndarray, weight: np.ndarray | None, groups: np.ndarray | None, rng: Any
) -> tuple[float, float] | None:
    """Accuracy (or R2) on source rows as they are, and as they are `moved`, where the second is clearly much less.

    Each third of the rows is answered by a model of the others. None where not much is lost, or it cannot be told.
    """
    classes, codes = np.unique(y, return_inverse=True)
    independent = len(y) if groups is None else len(np.unique(groups))
    if len(classes) < 2 or independent < FEWEST:
        return None
    classification = is_classifier(head)
    fold = make_folds(codes if classification else np.zeros(len(y)), FOLDS, rng.randint(2**31 - 1), groups)
    if any(len(np.unique(y[fold != k])) < len(classes) for k in range(FOLDS) if classification):
        return None
    mass = np.ones(len(y)) if weight is None else weight
    passed = weight if weight_parameter(head) is not None else None  # a model that takes none need not resample
    right = []
    for table in (Z, moved):
        answers = np.empty_like(y)
        for k in range(FOLDS):
            train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            with ignored():
                model = fit_weighted(head, take_rows(table, train), y[train], None if passed is None else passed[train])
                answers[test] = answers_of(model, take_rows(table, test))
        if classification:
            right.append((answers == y).astype(float))
        else:
            variance = np.average((y - np.average(y, weights=mass)) ** 2, weights=mass)
            right.append(1 - (answers - y) ** 2 / variance)
    before, behind = (float(np.average(values, weights=mass)) for values in right)
    deviations = mass * (right[0] - right[1] - (before - behind))
    if groups is not None:
        deviations = np.bincount(np.unique(groups, return_inverse=True)[1], deviations)
    noise = np.sqrt((deviations**2).sum()) / mass.sum()
    return (before, behind) if before - behind - CLEARLY * noise > LOSS else None
