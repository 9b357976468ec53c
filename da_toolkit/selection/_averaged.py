"""Averaged: an adapter that is not trusted alone, held back by the model as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError

from .._base import BaseAdapter
from .._decision import NOISE, decide, no_scores, scores_classes
from .._domains import Domains
from .._folds import fit
from .._source_only import SourceOnly
from .._unfitted import will_have


class Averaged(BaseAdapter):
    """Average of an adapter's answers and those of the model as it is.

    Of a row x it answers (1 - s) f_adapted(x) + s f(x), where f are class probabilities or predicted numbers and s is
    `source_share`; classes are read off the averaged probabilities, by the model's threshold where it has one. Of a
    classifier without probabilities f are its decision values, each model's divided by their root mean square over
    the source rows (and classes, of which a row has mean 0), and the largest wins. Where the adapter's assumption
    holds with probability 1 - s, and the model's own answer is right otherwise, that is the answer of least squared
    error: half of a bias that the adapter should have taken away costs a quarter of it, and half of one that it
    brings in as well.

    `adapt` deploys it where an adapter is plausible and not verified.

    Parameters
    ----------
    adapter : adapter
        Around the user's model, such as ``FeatureAlignment(model, CORAL())``; not of a torch module. A classifier has
        to give probabilities, or a decision value for every class.
    source_share : float
        Weight of the model as it is, 0 to 1.

    Attributes
    ----------
    adapter_ : adapter
        Fitted, for its own answers and attributes.
    source_only_ : SourceOnly
        The model as it is, fitted on the source.
    scales_ : tuple of float
        Of a classifier without probabilities: root mean square of the decision values of both, in this order.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from da_toolkit import TargetShiftWeighting
    >>> from da_toolkit.datasets import make_label_shift
    >>> pair = make_label_shift(task="regression", random_state=0)
    >>> model = Averaged(TargetShiftWeighting(Ridge(), random_state=0), source_share=0.5).fit(*pair.seen)
    >>> both = model.adapter_.predict(pair.X_target), model.source_only_.predict(pair.X_target)
    >>> bool(abs(model.predict(pair.X_target) - sum(both) / 2).max() < 1e-9)
    True
    """

    def __init__(self, adapter: Any, source_share: float = 0.5):
        self.adapter = adapter
        self.source_share = source_share

    @property
    def estimator(self) -> Any:
        """The user's model, as the adapter holds it."""
        if not isinstance(self.adapter, BaseAdapter):
            raise InputError(
                f"adapter is {self.adapter!r}",
                "an adapter around a scikit-learn model",
                "Wrap the model first: Averaged(FeatureAlignment(model, CORAL())).",
            )
        return self.adapter.estimator

    def _fit(self, domains: Domains) -> None:
        share = self.source_share
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise InputError(f"source_share={share!r}", "a number from 0 to 1")
        self.adapter_ = fit(self.adapter, domains)
        self.source_only_ = fit(SourceOnly(self.estimator, getattr(self.adapter, "random_state", None)), domains)
        self.front_, self.head_ = None, self.source_only_.head_
        if is_classifier(self.estimator) and not np.array_equal(self.adapter_.classes_, self.classes_):
            raise InputError(
                f"an adapter with the classes {self.adapter_.classes_.tolist()}",
                f"those of the model, {self.classes_.tolist()}",
                "Use the adapter alone.",
            )
        if self._by_scores():
            self.scales_ = tuple(_scale(model, domains.X) for model in (self.adapter_, self.source_only_))

    def _by_scores(self) -> bool:
        """Whether decision values are averaged: of classifiers without probabilities."""
        return is_classifier(self.estimator) and not will_have(self.estimator, "predict_proba")

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        check_is_fitted(self)
        X = self._check_rows(X)
        if method == "predict" and is_classifier(self):
            if self._by_scores():
                return _read(self.classes_, self._respond("decision_function", X, domain))
            return decide(self.head_, self._respond("predict_proba", X, domain))
        adapted, own = (model._respond(method, X, domain) for model in (self.adapter_, self.source_only_))
        if method == "decision_function":
            adapted, own = (_centred(f) / scale for f, scale in zip((adapted, own), self.scales_, strict=True))
        return average(own, adapted, self.source_share)

    @available_if(_by_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """Averaged decision values of *target* rows, where there are no probabilities."""
        return self._respond("decision_function", X, "target")

    @available_if(_by_scores)
    def decision_function_source(self, X: Any) -> np.ndarray:
        """Averaged decision values of *source* rows, where there are no probabilities."""
        return self._respond("decision_function", X, "source")


def average(own: np.ndarray, adapted: np.ndarray, source_share: float) -> np.ndarray:
    """What the model answers and what the adapter answers, as one."""
    return (1 - source_share) * adapted + source_share * own


def _scale(model: BaseAdapter, X: Any) -> float:
    """Root mean square of a model's decision values of source rows, by which those of two models are compared."""
    if not scores_classes(model, X, "_source"):
        raise no_scores(model.estimator)
    values = model._respond("decision_function", X, "source")
    if values.ndim == 1 and np.mean(model.predict_source(X) != _read(model.classes_, values)) > NOISE:
        raise InputError(
            f"{type(model.estimator).__name__} answers other classes than the sign of its decision values says",
            "a classifier that answers the class of the largest decision value, or one with probabilities",
            "Use the adapter alone.",
        )
    return float(np.sqrt(np.mean(_centred(values) ** 2))) or 1.0


def _centred(values: np.ndarray) -> np.ndarray:
    """Decision values without what is common to all classes of a row."""
    return values if values.ndim == 1 else values - values.mean(axis=1, keepdims=True)


def _read(classes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The classes that decision values say."""
    return classes[(values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)]
