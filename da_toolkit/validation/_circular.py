"""Circular validation: train back on the predicted target and see whether the source is still understood."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.metrics import check_scoring

from shift_detectors._models import answers_of

from ._base import TargetScore

PRIORS = ("prior", "class_prior", "target_prior")  # parameters that name the class frequencies of the target


class CircularScore(TargetScore):
    """Scorer for `GridSearchCV` that judges an adapted model by the way back (reverse validation).

    The fitted model labels the target; a clone of it is trained on these labels with the roles of the domains
    exchanged, and scored on the held-out source rows, whose labels are known::

        score = metric(y, reverse(x)),   reverse = clone(model).fit(X_target, model.predict(X_target), X)

    A model that labels the target at random cannot be learnt back. Labels of the target are not used.

    Assumes that an adaptation that is right there is right on the way back. Fails for wrong but invertible
    adaptations (a map that exchanges two classes comes back unharmed), so it supports a choice and proves none.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    scoring : str or callable, optional
        Metric on the source rows; accuracy or R2 by default.

    References
    ----------
    Bruzzone, Marconcini (TPAMI 2010); Zhong, Fan, Yang, Verscheure, Ren (ECML-PKDD 2010).

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit import FeatureAlignment, SourceOnly
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(400, 2)), 2 * rng.normal(size=(400, 2)) + 3
    >>> y = (X[:, 0] > 0).astype(int)
    >>> score = CircularScore(X_target)
    >>> for adapter in (SourceOnly(LogisticRegression()), FeatureAlignment(LogisticRegression())):
    ...     model = adapter.fit(X[:200], y[:200], X_target)
    ...     print(type(adapter).__name__, round(score(model, X[200:], y[200:]), 2))
    SourceOnly 0.84
    FeatureAlignment 0.98
    """

    def __init__(self, X_target: Any = None, scoring: Any = None):
        super().__init__(X_target)
        self.scoring = scoring

    def _score(self, estimator, X, y, X_target) -> float:
        reverse = reverse_model(estimator, X_target, X, y)
        if reverse is None:  # one class for every target row: only that class can come back
            classes = np.asarray(estimator.classes_)
            only = answers_of(estimator, X_target)[0]
            reverse = DummyClassifier(strategy="constant", constant=only).fit(classes[:, None], classes)
        return check_scoring(reverse, scoring=self.scoring)(reverse, X, y)


def reverse_model(model: Any, X_target: Any, X_source: Any, y_source: Any) -> Any:
    """A clone of a fitted model, trained on the target as the model labels it and adapted to the source rows.

    It can answer the classes that the model gave to target rows; a network keeps the outputs of the others, which it
    learns to leave alone. Class frequencies of the target that the model was told are on the way back those of
    `y_source`. None when a classifier gave every target row the same class.
    """
    predicted = answers_of(model, X_target)
    reverse: Any = clone(model)
    if is_classifier(model):
        answered = np.unique(predicted)
        if len(answered) < 2:
            return None
        reverse.set_params(**_of_the_way_back(reverse.get_params(deep=False), model.classes_, answered, y_source))
    if "X_target" in inspect.signature(reverse.fit).parameters:
        return reverse.fit(X_target, predicted, X_source)
    return reverse.fit(X_target, predicted)


def _of_the_way_back(params: dict[str, Any], classes: np.ndarray, answered: np.ndarray, y_source: Any) -> dict:
    """Parameters of a classifier that depend on the direction: its classes, and their known frequencies."""
    known = [
        name
        for name in PRIORS
        if params.get(name) is not None and not isinstance(params[name], str) and not hasattr(params[name], "fit")
    ]
    counts = (np.asarray(y_source)[:, None] == answered).sum(0) + 1.0  # few rows may lack a class
    shares = dict(zip(answered.tolist(), (counts / counts.sum()).tolist(), strict=True))
    if "classes" not in params:
        return dict.fromkeys(known, shares)
    return {"classes": classes} | dict.fromkeys(known, dict.fromkeys(classes.tolist(), 0.0) | shares)
