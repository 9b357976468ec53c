"""Averaged: an adapter that is not trusted alone, held back by the model as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError

from .._base import BaseAdapter, Domains
from .._decision import decide
from .._folds import fit
from .._source_only import SourceOnly
from .._unfitted import will_have


class Averaged(BaseAdapter):
    """Average of an adapter's answers and those of the model as it is.

    Of a row x it answers (1 - s) f_adapted(x) + s f(x), where f are class probabilities or predicted numbers and s is
    `source_share`; classes are read off the averaged probabilities, by the model's threshold where it has one. Where
    the adapter's assumption holds with probability 1 - s, and the model's own answer is right otherwise, that is the
    answer of least squared error: half of a bias that the adapter should have taken away costs a quarter of it, and
    half of one that it brings in as well.

    `adapt` deploys it where an adapter is plausible and not verified.

    Parameters
    ----------
    adapter : adapter
        Around the user's model, such as ``FeatureAlignment(model, CORAL())``; not of a torch module. A classifier has
        to give probabilities.
    source_share : float
        Weight of the model as it is, 0 to 1.

    Attributes
    ----------
    adapter_ : adapter
        Fitted, for its own answers and attributes.
    source_only_ : SourceOnly
        The model as it is, fitted on the source.

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
        if is_classifier(self.estimator) and not will_have(self.estimator, "predict_proba"):
            raise InputError(
                f"{type(self.estimator).__name__} has no predict_proba",
                "a classifier with probabilities, which can be averaged",
                "Wrap it in CalibratedClassifierCV.",
            )
        self.adapter_ = fit(self.adapter, domains)
        self.source_only_ = fit(SourceOnly(self.estimator, getattr(self.adapter, "random_state", None)), domains)
        self.front_, self.head_ = None, self.source_only_.head_
        if is_classifier(self.estimator) and not np.array_equal(self.adapter_.classes_, self.classes_):
            raise InputError(
                f"an adapter with the classes {self.adapter_.classes_.tolist()}",
                f"those of the model, {self.classes_.tolist()}",
                "Use the adapter alone.",
            )

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        check_is_fitted(self)
        X = self._check_rows(X)
        if method == "predict" and is_classifier(self):
            return decide(self.head_, self._respond("predict_proba", X, domain))
        adapted, own = (model._respond(method, X, domain) for model in (self.adapter_, self.source_only_))
        return average(own, adapted, self.source_share)

    @available_if(lambda self: False)
    def decision_function(self, X: Any) -> np.ndarray:
        """Not offered: decision values of two models share no scale."""
        raise AttributeError("decision_function")


def average(own: np.ndarray, adapted: np.ndarray, source_share: float) -> np.ndarray:
    """What the model answers and what the adapter answers, as one."""
    return (1 - source_share) * adapted + source_share * own
