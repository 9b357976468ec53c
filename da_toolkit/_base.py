"""What every shallow adapter is: an sklearn estimator around the user's model that also sees the target.

Read `BaseAdapter` first. A method implements ``_fit(domains)``, which sets

``front_``
    the fitted first part of the model, a transformer, or None; applied to the rows of both domains.
``head_``
    the fitted last part of the model; it answers ``predict``.

and, when the two domains take different paths between the two, ``_map(Z, domain)``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._version import __version__
from shift_detectors._warnings import said_once, warn

from ._decision import other_decisions
from ._domains import Domains, cast_labels, read_domains
from ._loss import refuse_quantile
from ._model import classifies, frozen_classes, is_frozen, untagged
from ._rows import as_rows, check_columns, column_names, in_form_of, remember_names, without_rows
from ._unfitted import spelt_out

SAVED_BY = "_da_toolkit_version"  # name in a pickle


def _has(method: str):
    """Whether the wrapped model (the fitted one, when there is one) offers `method`."""

    def check(self: BaseAdapter) -> bool:
        model = self.head_ if hasattr(self, "head_") else spelt_out(self.estimator)
        getattr(model, method)  # its AttributeError is the message
        return True

    return check


class BaseAdapter(MetaEstimatorMixin, BaseEstimator):
    """An estimator that wraps a model, learns from source *and* target, and predicts target rows.

    A subclass has a parameter ``estimator`` and implements ``_fit(domains)`` (see the module docstring).

    What the model predicts, classes or numbers, is read from scikit-learn's tags: one that inherits from neither
    ``ClassifierMixin`` nor ``RegressorMixin`` is refused, and so are labels that are not numbers without a classifier.

    Attributes
    ----------
    front_ : transformer or None
        Fitted first part of the model, which both domains pass through.
    head_ : estimator
        Fitted last part of the model.
    n_features_in_ : int
        Columns of ``X``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, when ``X`` is a frame whose names are strings.
    classes_ : ndarray of shape (n_classes,)
        Classes, when the model is a classifier.
    """

    estimator: Any
    front_: Any
    head_: Any

    # whether what is fitted beside the model, or the labels given to it, are means
    _fits_means: ClassVar[bool] = False

    def fit(
        self,
        X: Any,
        y: Any,
        X_target: Any = None,
        y_target: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        source_domain: Any = None,
    ):
        """Fit the model on the source so that it serves the target.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (n_source, n_features)
            Source rows.
        y : array-like of shape (n_source,)
            Source labels or values, none missing.
        X_target : array, DataFrame, sparse matrix or Target, of shape (n_target, n_features)
            Target rows. Required. Beside an `X` of another kind, as a frame beside an array, columns go by position.
        y_target : array-like of shape (n_target,), optional
            Target labels; a missing value (None, NaN, pd.NA) means "unlabelled".
        sample_weight, groups, source_domain : array-like of shape (n_source,), optional
            Weights of the source rows, which a model is given as they are; which of them belong together; which source
            each comes from. None is missing.

        Returns
        -------
        self
        """
        domains = read_domains(
            X,
            y,
            X_target,
            y_target,
            classification=classifies(self.estimator),
            sample_weight=sample_weight,
            groups=groups,
            source_domain=source_domain,
            adapter=type(self).__name__,
            classes=frozen_classes(self.estimator),
        )
        check_kind(self.estimator, domains.y)
        if self._fits_means:
            refuse_quantile(self.estimator, type(self).__name__)
        self._remember_columns(domains.X)
        with said_once():
            self._fit(domains)
        dropped = other_decisions(self, domains.X_target)
        if dropped:
            warn(dropped)
        return self

    def _remember_columns(self, X: Any) -> None:
        """What rows to predict have to be like."""
        self.n_features_in_ = X.shape[1]
        self._form = without_rows(X)
        remember_names(self, column_names(X))

    def _fit(self, domains: Domains) -> None:
        """Set ``front_`` and ``head_`` and whatever the method learns."""
        raise NotImplementedError

    def _map(self, Z: Any, domain: str) -> Any:
        """Rows between ``front_`` and ``head_``; `domain` is ``"source"`` or ``"target"``."""
        return Z

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        """Answer of ``head_`` for rows that follow the path of `domain`."""
        check_is_fitted(self)
        X = self._check_rows(X)
        Z = X if self.front_ is None else self.front_.transform(X)
        return answers_of(self.head_, self._map(Z, domain), method)

    def _decided_from(self, X: Any) -> np.ndarray | None:
        """Probabilities of source rows that `predict` reads classes off; None where the model answers itself."""
        return None

    def _check_rows(self, X: Any) -> Any:
        """Rows to predict: as many columns, under the same names, as in ``fit``, and in the same form."""
        X = as_rows(X, "X")
        names = getattr(self, "feature_names_in_", None)
        check_columns(X, "X", self.n_features_in_, names, order="list(model.feature_names_in_)")
        return in_form_of(self._form, X, "X", "X of fit")

    def predict(self, X: Any) -> np.ndarray:
        """Predict *target* rows; shape (n_rows,)."""
        return self._respond("predict", X, "target")

    def predict_source(self, X: Any) -> np.ndarray:
        """Predict *source* rows, which follow the source's own path; shape (n_rows,)."""
        return self._respond("predict", X, "source")

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of *target* rows; shape (n_rows, n_classes)."""
        return self._respond("predict_proba", X, "target")

    @available_if(_has("predict_proba"))
    def predict_proba_source(self, X: Any) -> np.ndarray:
        """Class probabilities of *source* rows; shape (n_rows, n_classes)."""
        return self._respond("predict_proba", X, "source")

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values of *target* rows; shape (n_rows,) or (n_rows, n_classes)."""
        return self._respond("decision_function", X, "target")

    @available_if(_has("decision_function"))
    def decision_function_source(self, X: Any) -> np.ndarray:
        """Decision values of *source* rows; shape (n_rows,) or (n_rows, n_classes)."""
        return self._respond("decision_function", X, "source")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy (classifier) or R2 (regressor) on labelled *target* rows; unlabelled rows are left out."""
        labelled = ~pd.isna(np.asarray(y, object))
        if not labelled.any():
            raise InputError("y has no label", "labelled target rows", "Label some of the rows.")
        y = cast_labels(np.asarray(y, object)[labelled], self.classes_ if is_classifier(self) else np.zeros(1))
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[labelled]
        metric = accuracy_score if is_classifier(self) else r2_score
        return float(metric(y, self.predict(X)[labelled], sample_weight=sample_weight))

    @property
    def classes_(self) -> np.ndarray:
        """Classes of the wrapped classifier, in the order of ``predict_proba``."""
        return self.head_.classes_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.input_tags = inner.input_tags
        tags.target_tags.required = True
        return tags

    def __getstate__(self):
        """State with the version that a pickle was written by, as scikit-learn has it for estimators of its own."""
        return {**super().__getstate__(), SAVED_BY: __version__}  # type: ignore[dict-item]

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved_by = state.get(SAVED_BY, "of an unknown version")
        super().__setstate__({name: value for name, value in state.items() if name != SAVED_BY})
        if saved_by != __version__:
            warn(
                f"{type(self).__name__} was saved by da-toolkit {saved_by} and is loaded by {__version__}: it may "
                "fail, or predict something else. Load it with the version that saved it, or fit it anew."
            )


def check_kind(estimator: Any, y: np.ndarray) -> None:
    """Raise unless the model says what it predicts, and `y` can be that; one that adapts itself sees that in `fit`."""
    refuse_adapter_step(estimator)
    kind = get_tags(estimator).estimator_type
    name = type(estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator).__name__
    if kind is None and not hasattr(estimator, "predict_source"):
        raise untagged(name)
    if kind not in ("classifier", None) and y.dtype.kind not in "biuf":
        raise InputError(
            f"{name} is no classifier, and y has values such as {str(y[0])!r}",
            "a classifier for labels that are not numbers",
            "Pass a classifier, or numbers as y.",
        )


def refuse_adapter_step(estimator: Any) -> None:
    """Raise when a Pipeline ends in what adapts itself, to which it cannot pass the target rows."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else None
    if is_frozen(estimator) or not hasattr(last, "predict_source"):
        return
    name = type(last).__name__
    raise InputError(
        f"a Pipeline that ends in {name}, which needs the target rows in fit",
        f"{name} around the Pipeline of the model" if isinstance(last, BaseAdapter) else f"a {name} that stands alone",
        f"Pass {name}(make_pipeline(...))."
        if isinstance(last, BaseAdapter)
        else "Scale the rows of both domains before, as in StandardScaler().fit(X_source), or in the module "
        "(nn.BatchNorm1d as its first layer).",
    )
