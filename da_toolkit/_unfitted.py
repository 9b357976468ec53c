"""Which methods a model will have once it is fitted."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV


def will_have(estimator: Any, method: str) -> bool:
    """Whether a model has that method, or will have it once it is fitted."""
    return hasattr(estimator, method) or hasattr(spelt_out(estimator), method)


def ask_for_probabilities(estimator: Any) -> str:
    """What to do about a classifier without them; only decision values can be calibrated, labels cannot."""
    if will_have(estimator, "decision_function"):
        return "Wrap it in CalibratedClassifierCV"
    return 'It gives labels alone, which nothing can calibrate: take one with predict_proba (of a vote, voting="soft")'


def spelt_out(estimator: Any) -> Any:
    """The model with the default of ``final_estimator`` named in its stacks, which have no ``predict`` before the fit.

    Examples
    --------
    >>> model = StackingClassifier([("line", LogisticRegression())])
    >>> hasattr(model, "predict"), hasattr(spelt_out(model), "predict"), model.final_estimator
    (False, True, None)
    """
    if not isinstance(estimator, BaseEstimator) or not any(map(_lacks_methods, _parts(estimator))):
        return estimator
    estimator = clone(estimator)
    for stack in filter(_lacks_methods, _parts(estimator)):
        stack.set_params(final_estimator=LogisticRegression() if is_classifier(stack) else RidgeCV())
    return estimator


def _parts(estimator: BaseEstimator) -> list:
    return [estimator, *estimator.get_params().values()]


def _lacks_methods(part: Any) -> bool:
    stack = isinstance(part, StackingClassifier | StackingRegressor)
    return stack and part.final_estimator is None and not hasattr(part, "final_estimator_")
