"""What every scorer is: it holds the target rows and judges a fitted model with held-out source rows."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._performance import calibrated_confidence
from shift_detectors._results import PerformanceEstimate

from .._base import BaseAdapter
from .._loss import loss_of
from .._parameters import check_ratio
from .._rows import as_rows
from .._target import Target
from .._unfitted import ask_for_probabilities
from ..weighting import ClassifierRatio


class TargetScore:
    """A scorer that holds the target: larger is better, and no target label is used.

    It is called as ``score(fitted_model, X, y)`` with held-out *source* rows, so that `GridSearchCV` selects for
    the target; of an adapter the source rows take the source's own path (``predict_source``). A subclass
    implements ``_score(estimator, X, y, X_target)``.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target, optional
        None only for `da_toolkit.validation.cross_validate`, which hands out the held-out target rows itself.

    Examples
    --------
    A scorer of one's own:

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> class Sureness(TargetScore):
    ...     def _score(self, estimator, X, y, X_target):
    ...         return estimator.predict_proba(X_target).max(axis=1).mean()
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> model = LogisticRegression().fit(X, y)
    >>> round(Sureness(np.zeros((3, 1)))(model, X, y), 2)
    0.5
    """

    def __init__(self, X_target: Any = None):
        self.X_target = X_target

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Score of a fitted adapter or plain model on held-out source rows."""
        return float(self._score(estimator, X, check_labels(X, y), self._target()))

    def with_target(self, X_target: Any):
        """The same scorer, holding other target rows."""
        other = copy.copy(self)
        other.X_target = X_target
        return other

    def _score(self, estimator: Any, X: Any, y: np.ndarray, X_target: Any) -> float:
        raise NotImplementedError

    def _target(self) -> Any:
        if self.X_target is None:
            raise InputError(
                f"{type(self).__name__} without target rows",
                f"{type(self).__name__}(X_target)",
                "Only cross_validate(..., X_target) hands them out itself.",
            )
        return as_rows(self.X_target, "X_target")

    def __repr__(self) -> str:
        target = "None" if self.X_target is None else repr(Target(self._target()))
        others = [name for name in inspect.signature(type(self)).parameters if name != "X_target"]
        return f"{type(self).__name__}({', '.join([target, *(f'{o}={getattr(self, o)!r}' for o in others)])})"


class PerformanceScore(TargetScore):
    """A scorer that estimates the performance on the target; `estimate` says how sure it is.

    A subclass implements ``_estimate(estimator, X, y, X_target)``.
    """

    def estimate(self, estimator: Any, X: Any, y: Any) -> PerformanceEstimate:
        """Estimated accuracy, or mean loss of a regressor, on the target, with interval."""
        return self._estimate(estimator, X, check_labels(X, y), self._target())

    def _estimate(self, estimator: Any, X: Any, y: np.ndarray, X_target: Any) -> PerformanceEstimate:
        raise NotImplementedError

    def _score(self, estimator: Any, X: Any, y: np.ndarray, X_target: Any) -> float:
        found = self._estimate(estimator, X, y, X_target)
        return found.value if found.metric == "accuracy" else -found.value


def check_labels(X: Any, y: Any) -> np.ndarray:
    """Labels as an array with one entry per row."""
    y = np.asarray(y)
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if y.shape != (n,):
        raise InputError(f"y of shape {y.shape}", f"shape ({n},), one label per row of X", "Check the rows.")
    return y


def on_source(estimator: Any, X: Any, method: str = "predict") -> np.ndarray:
    """Answer for source rows, which of an adapter take the source's own path."""
    own = f"{method}_source"
    return np.asarray(answers_of(estimator, X, own if hasattr(estimator, own) else method))


def metric_of(estimator: Any) -> str:
    """Name of the performance measure of a model."""
    return "accuracy" if is_classifier(estimator) else loss_of(estimator).name


def values_of(estimator: Any, X: Any, y: np.ndarray) -> np.ndarray:
    """Correct (0/1) or the regressor's loss, of every source row."""
    predicted = on_source(estimator, X)
    if is_classifier(estimator):
        return (predicted == y).astype(float)
    return loss_of(estimator)(predicted, y)


def probabilities(estimator: Any, X_target: Any, score: str) -> np.ndarray:
    """Class probabilities of the target rows, shape (n_target, n_classes)."""
    if not hasattr(estimator, "predict_proba"):
        raise InputError(
            f"{score} was given {type(estimator).__name__}, which has no predict_proba",
            "a classifier with probabilities",
            f"{ask_for_probabilities(estimator)}, or use CircularScore.",
        )
    return np.asarray(estimator.predict_proba(X_target), float)


def confidences(
    estimator: Any, X: Any, y: np.ndarray, X_target: Any, score: str, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated probability of the predicted class, and correct (0/1), at source rows; the first at target rows.

    `weight` of the source rows enters the calibration.
    """
    proba_target = probabilities(estimator, X_target, score)
    classes = np.asarray(estimator.classes_)
    strange = sorted(set(np.unique(y).tolist()) - set(classes.tolist()), key=str)
    if strange:
        raise InputError(f"source rows of class {strange[0]!r}, which the model does not know", f"{classes.tolist()}")
    predicted = on_source(estimator, X)
    source, target = calibrated_confidence(
        classes,
        on_source(estimator, X, "predict_proba"),
        predicted,
        y,
        proba_target,
        answers_of(estimator, X_target),
        weight,
    )
    return source, (predicted == y).astype(float), target


def ratio_weights(ratio: Any, X: Any, X_target: Any, random_state: Any = None) -> np.ndarray:
    """Density-ratio weights of held-out source rows; a fitted `ratio` is used as it is."""
    check_ratio(ratio)
    if ratio is not None and hasattr(ratio, "weights_"):
        check_is_fitted(ratio)
        return ratio.predict(X)
    ratio = ClassifierRatio(random_state=random_state) if ratio is None else clone(ratio)
    return ratio.fit(X, X_target).weights_


def features(estimator: Any, X: Any, domain: str) -> Any:
    """What the last step of a model sees of the rows of a domain."""
    if hasattr(estimator, "transform_source"):  # a DeepAdapter: its named layer
        return estimator.transform_source(X) if domain == "source" else estimator.transform(X)
    if isinstance(estimator, BaseAdapter):
        Z = X if estimator.front_ is None else estimator.front_.transform(X)
        return estimator._map(Z, domain)
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1].transform(X)
    return X
