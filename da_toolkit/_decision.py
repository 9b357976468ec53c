"""What a model answers at given probabilities, by its own threshold if any, and whether its scores say the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of

from ._classes import positions
from ._unfitted import ask_for_probabilities

NOISE = 0.01  # share of rows that may be answered otherwise: ties, rounding
ROWS = 2000  # at most, on which answers are compared
AGREED = 0.75  # share of the rows of a class, on average over the classes, that its own decision value has to win


def decide(model: Any, proba: np.ndarray) -> np.ndarray:
    """Classes that a fitted classifier would answer, had it given these probabilities.

    The likeliest ones, or those that the threshold of a `FixedThresholdClassifier` or `TunedThresholdClassifierCV`
    says, also as the last step of a Pipeline and inside a FrozenEstimator. A threshold on probabilities is a ratio of
    costs, which does not change with the domain.

    Parameters
    ----------
    model : fitted classifier
    proba : ndarray of shape (n_rows, n_classes)

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit([[0.0], [1.0]], [0, 1])
    >>> decide(model, np.array([[0.8, 0.2], [0.95, 0.05]]))
    array([1, 0])
    """
    last = last_step(model)
    if not isinstance(last, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return model.classes_[proba.argmax(axis=1)]
    if last.response_method == "decision_function" or not hasattr(last, "predict_proba"):
        return model.classes_[proba.argmax(axis=1)]  # a threshold on another scale
    rule = copy.copy(last)
    rule.estimator_ = _Given(model.classes_)
    return rule.predict(proba)


def last_step(model: Any) -> Any:
    """What answers in a Pipeline or a FrozenEstimator."""
    if isinstance(model, Pipeline):
        return last_step(model.steps[-1][1])
    return last_step(model.estimator) if isinstance(model, FrozenEstimator) else model


def other_decisions(adapter: Any, X: Any) -> str:
    """What to say of an adapter that reads classes off probabilities, where the model itself answers others than these.

    Empty where the two agree, and for adapters that leave the answer to the model.
    """
    X = _some(X)
    proba = adapter._decided_from(X) if is_classifier(adapter) else None
    if proba is None:
        return ""
    share = np.mean(adapter.predict_source(X) != decide(adapter.head_, proba))
    if share <= NOISE:
        return ""
    model, name = type(last_step(adapter.estimator)).__name__, type(adapter).__name__
    return (
        f"{model} answers other classes than its probabilities say in {share:.0%} of the target rows, and {name} "
        "corrects probabilities alone: that rule of its own is dropped. A threshold on probabilities is kept in "
        "FixedThresholdClassifier(FrozenEstimator(fitted model), threshold=...)."
    )


def scores_classes(model: Any, X: Any, path: str = "") -> bool:
    """Whether the decision values of a fitted classifier are those of its classes.

    One value per row is that of the second class, over the first. Of several there is one for each class, and the
    largest stands where the model answers: three classes have three *pairs*, too, and an ``SVC`` may give these.

    Parameters
    ----------
    model : fitted classifier
    X : array, DataFrame or sparse matrix
        Rows on which that is seen, such as the model was fitted on: far from all of these an ``SVC`` knows only votes,
        and answers ties otherwise.
    path : {"", "_source"}
        "_source": an adapter's answers to source rows, as ``predict_source``.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> X, y = np.eye(3).repeat(5, axis=0), np.arange(3).repeat(5)
    >>> [scores_classes(SVC(decision_function_shape=shape).fit(X, y), X) for shape in ("ovr", "ovo")]
    [True, False]
    """
    if not hasattr(model, "decision_function"):
        return False
    X = _some(X)
    values = np.asarray(getattr(model, f"decision_function{path}")(X))
    if values.ndim == 1:
        return True
    if values.shape[1] != len(model.classes_):
        return False
    answered = positions(answers_of(model, X, f"predict{path}"), model.classes_)
    wins = np.bincount(answered, values.argmax(axis=1) == answered)
    rows = np.bincount(answered)
    return bool(np.mean(wins[rows > 0] / rows[rows > 0]) >= AGREED)


def class_shares(values: np.ndarray) -> np.ndarray:
    """Decision values as probabilities, shape (n_rows, n_classes).

    One value per row is taken for the log-odds of the second class, several for logarithms of those of the classes, up
    to a constant.

    Examples
    --------
    >>> class_shares(np.array([0.0, np.log(3)])).round(2).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    return softmax(values if values.ndim == 2 else np.column_stack([np.zeros(len(values)), values]), axis=1)


def no_scores(model: Any) -> InputError:
    """The error of a classifier that gives neither probabilities nor a decision value for every class."""
    others = hasattr(model, "decision_function")
    name = type(last_step(model)).__name__
    return InputError(
        f"{name} has decision values that are not those of its classes" if others else f"{name} predicts labels only",
        "a classifier with predict_proba, or with a decision_function that has a value for every class",
        'Set decision_function_shape="ovr".' if others else f"{ask_for_probabilities(model)}.",
    )


def _some(X: Any) -> Any:
    """Rows of all parts of a table, `ROWS` or a few more."""
    return take_rows(X, np.arange(0, X.shape[0], max(X.shape[0] // ROWS, 1)))


class _Given(ClassifierMixin, BaseEstimator):
    """A classifier whose rows are their probabilities."""

    def __init__(self, classes_: np.ndarray):
        self.classes_ = classes_

    def fit(self, X: Any, y: Any):
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X
