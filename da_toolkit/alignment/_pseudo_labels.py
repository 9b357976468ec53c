"""Guessed classes of target rows: what JDA, LocationScale, JDOT and SelfTraining alternate with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from shift_detectors._errors import InputError
from shift_detectors._models import answers_of

from .._classes import spread
from .._decision import class_shares, scores_classes
from .._model import is_frozen

PASSES = 3  # few: where classes are far apart, chance in their frequencies must not change the class of a row


def check_labels(y_source: np.ndarray, name: str) -> None:
    """An `InputError` where a source row has no class, as in the direction "target_to_source"."""
    if pd.isna(y_source).any():
        raise InputError(
            "y_source has missing values",
            "the class of every source row",
            f'{name} guesses labels of the target only; in FeatureAlignment, use direction="source_to_target".',
        )


def choose_labeller(estimator: Any, default: Any) -> Any:
    """The model that guesses: the one that is served, if it is a classifier that may be fitted."""
    return estimator if estimator is not None and is_classifier(estimator) and not is_frozen(estimator) else default


def class_probabilities(model: Any, X: Any, classes: np.ndarray) -> np.ndarray:
    """Shape (n_rows, n_classes); of a model without probabilities from its decision values, or its labels.

    Decision values count, as `class_shares`, if they are those of the classes.
    """
    if hasattr(model, "predict_proba"):
        own = model.predict_proba(X)
    elif scores_classes(model, X):
        own = class_shares(model.decision_function(X))
    else:
        return (answers_of(model, X)[:, None] == classes).astype(float)
    return spread(own, model.classes_, classes)


def memberships(model: Any, Z: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Class probabilities of the rows, 0 or 1 where the model gives only labels; shape (n_rows, n_classes)."""
    if not hasattr(model, "predict_proba"):
        return indicators(answers_of(model, Z), classes, len(Z))
    return class_probabilities(model, Z, classes)


def indicators(y: Any, classes: np.ndarray, n_rows: int) -> np.ndarray:
    """1 in the column of a row's class, zeros for rows whose label is missing or not among `classes`."""
    out = np.zeros((n_rows, len(classes)))
    if y is not None:
        for c, name in enumerate(classes):
            out[:, c] = [label is not None and label == name for label in y]
    return out


def balanced(guess: np.ndarray, prior: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Class probabilities with their odds scaled towards the class frequencies `prior` (first passes of Sinkhorn).

    Unchecked, a class that takes a few rows too many grows from round to round. A probability of 0 stays 0.
    """
    for _ in range(PASSES):
        frequency = mass @ guess
        scaled = guess * np.where(frequency > 0, prior / np.where(frequency > 0, frequency, 1.0), 0.0)
        total = scaled.sum(axis=1, keepdims=True)
        guess = np.where(total > 0, scaled / np.where(total > 0, total, 1.0), guess)
    return guess
