"""What every shallow adapter is: an sklearn estimator around the user's model that also sees the target.

Read `BaseAdapter` first. A method implements ``_fit(domains)``, which sets

``front_``
    the fitted first part of the model, a transformer, or None; applied to the rows of both domains.
``head_``
    the fitted last part of the model; it answers ``predict``.

and, when the two domains take different paths between the two, ``_map(Z, domain)``.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeGuard

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from shift_detectors._boundary import read_ids, refuse_swapped
from shift_detectors._columns import from_polars, is_polars, refuse_lazy, take_rows
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._table import UNLABELLED
from shift_detectors._version import __version__
from shift_detectors._warnings import said_once, warn

from ._decision import other_decisions
from ._loss import refuse_quantile
from ._unfitted import spelt_out

SAVED_BY = "_da_toolkit_version"  # name in a pickle

# pass sample_weight on to all their models, which their signature does not say
ENSEMBLES = (StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor)


class Target:
    """The target domain as one object that scikit-learn passes on whole.

    ``GridSearchCV(adapter, grid).fit(X, y, X_target=Xt)`` would slice ``Xt`` together with ``X`` when both
    have the same number of rows. ``X_target=Target(Xt)`` is never sliced: it has no length. Adapters, ratios,
    aligners, scorers, `adapt` and `cross_validate` accept it for ``X_target``; tests and `diagnose` take the rows.

    Parameters
    ----------
    X : array, DataFrame or sparse matrix of shape (n_target, n_features)
        For a torch module whatever its adapter takes, such as images or a data set.
    y : array-like of shape (n_target,), optional
        Target labels; a missing value means "unlabelled".

    Examples
    --------
    >>> import numpy as np
    >>> Target(np.zeros((3, 2)))
    Target(3 rows, 2 columns, no labels)
    """

    def __init__(self, X: Any, y: Any = None):
        self.X = X
        self.y = y

    def __repr__(self) -> str:
        if isinstance(self.X, list) or hasattr(self.X, "shape"):
            n, *row = np.shape(self.X)
            rows = f"{n} rows, {row[0]} columns" if len(row) == 1 else f"{n} rows of shape {tuple(row)}"
        else:
            rows = type(self.X).__name__  # a data set, of which numpy would read every row
        return f"Target({rows}, {'no labels' if self.y is None else 'labels'})"


@dataclass(frozen=True)
class Domains:
    """The checked arguments of ``fit``; the caller's rows themselves, untouched.

    Attributes
    ----------
    X, X_target : array, DataFrame or sparse matrix
        As passed (lists become arrays); `X_target` is brought into the form of `X`, see `in_form_of`.
    y : ndarray of shape (n_source,)
        As passed; beside a regressor floats, whatever numbers were passed.
    y_target : ndarray of shape (n_target,) or None
        In the dtype of `y`; what stands in unlabelled rows is meaningless.
    labelled : ndarray of bool, shape (n_target,)
        Which target rows have a label.
    sample_weight, groups, source_domain : ndarray of shape (n_source,) or None
    """

    X: Any
    y: np.ndarray
    X_target: Any
    y_target: np.ndarray | None
    labelled: np.ndarray
    sample_weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    source_domain: np.ndarray | None = None

    def without_labels(self) -> Domains:
        """The same rows, those of the target unlabelled: what the model as it is may see."""
        return replace(self, y_target=None, labelled=np.zeros_like(self.labelled))

    @property
    def pooled_weight(self) -> np.ndarray | None:
        """`sample_weight` beside labelled target rows that weigh 1 each: mean 1 where above zero, whatever its unit."""
        if self.sample_weight is None:
            return None
        return self.sample_weight / self.sample_weight[self.sample_weight > 0].mean()


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
        return getattr(self.head_, method)(self._map(Z, domain))

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


# --- the wrapped model -------------------------------------------------------------------------------------


def classifies(estimator: Any) -> bool | None:
    """Whether the model predicts classes; None where only its labels tell, as of a network before its fit."""
    kind = get_tags(estimator).estimator_type
    return None if kind is None else kind == "classifier"


def is_frozen(estimator: Any) -> bool:
    """Whether the model (of a Pipeline: its last step) must not be refitted."""
    if isinstance(estimator, Pipeline):
        return is_frozen(estimator.steps[-1][1])
    return isinstance(estimator, FrozenEstimator)


def frozen_classes(estimator: Any) -> Any:
    """Classes that a frozen classifier knows, whatever the rows show; none of any other model."""
    return estimator.classes_ if is_frozen(estimator) and is_classifier(estimator) else ()


def refuse_frozen(estimator: Any, adapter: str) -> None:
    """Raise when an adapter that has to refit is given a frozen model."""
    if is_frozen(estimator):
        raise InputError(
            f"{adapter} was given a FrozenEstimator, which must not be refitted",
            "a model that may be fitted again",
            f"{adapter} works by refitting: pass the unfrozen estimator, or use PriorCorrection or "
            "SourceOnly, which leave a fitted model as it is.",
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


def untagged(name: str) -> InputError:
    """The error of a model of that class, which does not say what it predicts."""
    return InputError(
        f"{name} does not say whether it is a classifier or a regressor",
        "a model whose scikit-learn tags say it",
        "Let its class inherit from ClassifierMixin or RegressorMixin of sklearn.base, and then from BaseEstimator.",
    )


def check_method(method: Any, name: str, keyword: str, accepted: str) -> None:
    """Raise unless `method` is an object, not a class, whose ``fit`` takes `keyword`: what tells the kinds apart."""
    if isinstance(method, type) or not has_fit_parameter(method, keyword):
        raise InputError(f"{name}={method!r}", accepted, "Pass one.")


def check_ratio(ratio: Any) -> None:
    """Raise unless it is a density ratio or None."""
    if ratio is not None:
        check_method(ratio, "ratio", "groups", "a ratio object such as RuLSIF(), or None")


def check_aligner(aligner: Any) -> None:
    """Raise unless it is an aligner or None."""
    if aligner is not None:
        check_method(aligner, "aligner", "estimator", "an aligner object such as CORAL(), or None")


def check_prior(prior: Any, name: str) -> None:
    """Raise when it is neither class frequencies nor an object that estimates them."""
    if hasattr(prior, "fit") or isinstance(prior, str):
        check_method(prior, name, "classes", "a prior object such as MLLS(), frequencies, or None")


def read_prior(prior: Any, classes: np.ndarray, name: str) -> np.ndarray:
    """Class frequencies that a user gives, in the order of `classes`.

    Parameters
    ----------
    prior : mapping, Series or array-like of shape (n_classes,)
        A mapping from class to frequency and a Series, whose index holds the classes, are matched by class, and name
        all of them. Anything else is taken in the order of `classes`.
    classes : ndarray of shape (n_classes,)
    name : str
        Of the argument, for the message.

    Examples
    --------
    >>> read_prior(pd.Series(["b", "b", "b", "a"]).value_counts(normalize=True), np.array(["a", "b"]), "prior")
    array([0.25, 0.75])
    """
    if isinstance(prior, pd.Series):
        prior = prior.to_dict()
    if isinstance(prior, Mapping):
        if set(prior) != set(classes.tolist()):
            raise InputError(
                f"{name} with frequencies of the classes {_first(list(prior))}",
                f"frequencies of the classes {_first(classes.tolist())}",
                "Name all of them: a class that the target lacks has the frequency 0.",
            )
        prior = [prior[c] for c in classes.tolist()]
    values = np.asarray(prior, dtype=float)
    if values.shape != classes.shape or not (values >= 0).all() or not np.isclose(values.sum(), 1, atol=1e-6):
        raise InputError(
            f"{name} of shape {values.shape}, {values}",
            f"{len(classes)} frequencies >= 0 that sum to 1, in the order {_first(classes.tolist())}",
            "Divide counts by their sum.",
        )
    return values / values.sum()


def split_model(estimator: Any, at: str | None = None) -> tuple[Any, Any]:
    """Split a model into the part in front of the adaptation and the part behind it.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator around one
    at : str, optional
        None: in front of the last step of a Pipeline. A step name: in front of that step. ``"input"``: in
        front of everything.

    Returns
    -------
    front : transformer or None
        Unfitted (frozen when the estimator is), None when adaptation happens on the input itself.
    head : estimator

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> split_model(make_pipeline(StandardScaler(), LogisticRegression()))
    (Pipeline(steps=[('standardscaler', StandardScaler())]), LogisticRegression())
    """
    if isinstance(estimator, FrozenEstimator):
        front, head = split_model(estimator.estimator, at)
        return None if front is None else FrozenEstimator(front), FrozenEstimator(head)
    if at == "input":
        return None, estimator
    names = [name for name, _ in estimator.steps] if isinstance(estimator, Pipeline) else []
    if at is None:
        index = len(names) - 1
    elif at in names:
        index = names.index(at)
    else:
        raise InputError(f"at={at!r}", f"None, 'input' or one of the steps {names}", "Name a step of the Pipeline.")
    if index < 1:
        return None, estimator.steps[-1][1] if len(names) == 1 else estimator
    head = estimator.steps[-1][1] if index == len(names) - 1 else estimator[index:]
    return estimator[:index], head


def join_model(front: Any, head: Any) -> Any:
    """The two fitted parts of `split_model` as one fitted model again."""
    if front is None:
        return head
    frozen = isinstance(front, FrozenEstimator) and isinstance(head, FrozenEstimator)
    if frozen:
        return FrozenEstimator(join_model(front.estimator, head.estimator))
    first = list(front.steps) if isinstance(front, Pipeline) else [("front", front)]
    last = list(head.steps) if isinstance(head, Pipeline) else [("head", head)]
    return Pipeline(first + last)


def fit_front(front: Any, domains: Domains) -> tuple[Any, Any, Any]:
    """Fit the front part on the source and pass both domains through it.

    Returns
    -------
    front_ : fitted transformer or None
    Z, Z_target : the rows of source and target behind it
    """
    if front is None:
        return None, domains.X, domains.X_target
    front = clone(front)  # a FrozenEstimator stays the object it is
    if isinstance(front, FrozenEstimator):
        return front, front.transform(domains.X), front.transform(domains.X_target)
    Z = front.fit_transform(domains.X, domains.y)  # as Pipeline.fit does
    return front, Z, front.transform(domains.X_target)


def weight_parameter(estimator: Any) -> str | None:
    """Keyword under which ``estimator.fit`` takes sample weights, None when it takes none."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_parameter(last)
        return None if inner is None else f"{name}__{inner}"
    if isinstance(estimator, BaseSearchCV):
        return weight_parameter(estimator.estimator)
    if isinstance(estimator, TransformedTargetRegressor):
        return weight_parameter(LinearRegression() if estimator.regressor is None else estimator.regressor)
    if isinstance(estimator, CalibratedClassifierCV):  # would take them for the calibration alone
        model = LinearSVC() if estimator.estimator is None else estimator.estimator
        return "sample_weight" if is_frozen(model) or weight_parameter(model) == "sample_weight" else None
    if isinstance(estimator, ENSEMBLES):
        parts = [part for _, part in estimator.estimators] + [getattr(estimator, "final_estimator", None)]
        models = [part for part in parts if part not in (None, "drop", "passthrough")]
        return "sample_weight" if all(weight_parameter(model) == "sample_weight" for model in models) else None
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def fit_weighted(estimator: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, random_state: Any = None):
    """Fit a clone of the estimator under sample weights, which are never dropped.

    Where ``fit`` (of a Pipeline: of its last step) takes weights, they are passed. Otherwise as many rows as
    there are get drawn by weight (systematic resampling: row i comes floor or ceil of n w_i / sum(w) times,
    so equal weights give back the sample itself) with a `ShiftWarning`.

    Parameters
    ----------
    estimator : estimator
    X : array, DataFrame or sparse matrix of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,) or None
    random_state : int, Generator, RandomState or None
        Of the resampling.

    Returns
    -------
    fitted clone
    """
    estimator = clone(estimator)
    if sample_weight is None:
        return estimator.fit(X, y)
    parameter = weight_parameter(estimator)
    if parameter is not None:
        with config_context(enable_metadata_routing=False):  # passed by name, whatever the user routes elsewhere
            return estimator.fit(X, y, **{parameter: sample_weight})
    model = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    inside = " for the model in it" if has_fit_parameter(model, "sample_weight") else ""
    warn(f"{type(model).__name__}.fit takes no sample_weight{inside}: source rows are resampled by weight instead.")
    rows = _resample(sample_weight, y if is_classifier(estimator) else None, check_random_state(random_state))
    return estimator.fit(take_rows(X, rows), y[rows])


def _resample(weight: np.ndarray, classes: np.ndarray | None, rng: np.random.RandomState) -> np.ndarray:
    """Systematic resampling by weight, stratified by class; every class keeps at least its heaviest row."""
    n = len(weight)
    order = np.arange(n) if classes is None else np.argsort(classes, kind="stable")
    upper = np.cumsum(weight[order]) * (n / weight.sum())
    drawn = order[np.minimum(np.searchsorted(upper, np.arange(n) + rng.uniform(), side="right"), n - 1)]
    if classes is not None:
        lost = np.setdiff1d(classes, classes[drawn])
        heaviest = [np.flatnonzero(classes == c)[np.argmax(weight[classes == c])] for c in lost]
        drawn = np.r_[drawn, np.array(heaviest, int)]
    return np.sort(drawn)


# --- parameters --------------------------------------------------------------------------------------------

FINITE = float(np.finfo(float).max)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one number; True and False are none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def check_numbers(method: Any, highest: dict[str, float]) -> None:
    """Each named parameter is a number above 0 and at most the given one."""
    for name, high in highest.items():
        value = getattr(method, name)
        if not is_number(value) or not 0 < value <= high:
            raise InputError(f"{name}={value!r}", "a number above 0")


def check_counts(method: Any, lowest: dict[str, int]) -> None:
    """Each named parameter is a whole number from the given one on."""
    for name, low in lowest.items():
        value = getattr(method, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise InputError(f"{name}={value!r}", f"a whole number from {low}")


def check_choices(method: Any, *names: str) -> None:
    """Each named parameter holds numbers above 0 to choose from, or is None for the default ones."""
    for name in names:
        values = getattr(method, name)
        if values is None:
            continue
        if np.ndim(values) != 1 or not len(values) or not all(is_number(value) and value > 0 for value in values):
            raise InputError(f"{name}={values!r}", "positive numbers, at least one", "None takes the default ones.")


# --- rows and labels ---------------------------------------------------------------------------------------


def unpack_target(X_target: Any, y_target: Any) -> tuple[Any, Any]:
    """Target rows and labels, taken out of a `Target`; what is none stays as it is."""
    if not isinstance(X_target, Target):
        return X_target, y_target
    if y_target is not None and X_target.y is not None:
        raise InputError("target labels both in Target(X, y) and in y_target", "one of them", "Leave y_target out.")
    return X_target.X, X_target.y if y_target is None else y_target


def read_domains(
    X: Any,
    y: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    classification: bool | None,
    sample_weight: Any = None,
    groups: Any = None,
    source_domain: Any = None,
    adapter: str = "fit",
    classes: Any = (),
) -> Domains:
    """Check the arguments of ``fit``; every complaint says what was got, what is accepted and what to do.

    Where `classification` is False the labels are quantities. None, if the model finds out, leaves them as they are.
    `classes` are those that a frozen model knows: target labels may be of these, too.
    """
    X_target, y_target = unpack_target(X_target, y_target)
    if X_target is None:
        raise InputError(
            f"{adapter}.fit was called without X_target",
            "fit(X, y, X_target)",
            "Pass the target rows: without them nothing would be adapted.",
        )
    refuse_swapped(y, X_target)
    X, X_target = read_both(X, X_target, "X")
    check_names(X, "X")
    n = X.shape[0]
    y = _per_row(y, "y", n, adapter)
    missing = int(pd.isna(y).sum())
    if missing:
        raise InputError(
            f"{missing} of the {n} values of y are missing",
            "a label for every source row",
            "Drop those rows.",
        )
    y = _plain(y)
    if classification is False:
        y = as_quantities(y, "y")
    if classification and len(np.unique(y)) < 2:
        raise InputError("y has a single class", "at least two classes", "A classifier needs two classes.")
    if y_target is None:
        labelled = np.zeros(X_target.shape[0], bool)
    else:
        y_target, labelled = _target_labels(y_target, y, X_target.shape[0], classification, adapter, classes)
    sample_weight = _weights(sample_weight, n, adapter)
    groups, source_domain = _ids(groups, "groups", n, adapter), _ids(source_domain, "source_domain", n, adapter)
    return Domains(X, y, X_target, y_target, labelled, sample_weight, groups, source_domain)


def as_rows(X: Any, name: str) -> Any:
    """A table with rows and columns: frames and sparse matrices as they are, lists as arrays, masked as missing."""
    if isinstance(X, Target):
        X = X.X
    refuse_lazy(X, name)
    if sparse.issparse(X):
        X = X if X.format == "csr" else X.tocsr()
    elif isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(float), np.nan)
    elif column_names(X) is None:
        X = np.asarray(X)
    types = [X.dtype] if column_names(X) is None else X.dtypes
    if any(getattr(dtype, "kind", "") == "c" for dtype in types):
        raise InputError(f"{name} holds complex numbers", "real numbers", "Pass real and imaginary parts as columns.")
    if len(X.shape) != 2:
        text = len(X.shape) == 1 and all(isinstance(value, str) for value in X)
        raise InputError(
            f"{name} {'is a list of texts' if text else f'has shape {tuple(X.shape)}'}",
            "a table of shape (n_rows, n_features)",
            'Pass a frame with a column of them, pandas.DataFrame({"text": X}), and a model that reads it: '
            'make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), ...).'
            if text
            else "Use numpy.reshape(X, (-1, 1)) for a single feature."
            if len(X.shape) < 2
            else "Flatten the rows: X.reshape(len(X), -1); a torch module can start with nn.Unflatten.",
        )
    if 0 in X.shape:
        raise InputError(f"{name} has {X.shape[0]} rows and {X.shape[1]} columns", "at least one of each", "Pass data.")
    return X


def read_both(X: Any, X_target: Any, name: str) -> tuple[Any, Any]:
    """The rows of both domains, checked to have the same columns, those of the target in the form of the source's."""
    X, X_target = as_rows(X, name), as_rows(X_target, "X_target")
    check_columns(X_target, "X_target", X.shape[1], column_names(X), other=name)
    return X, in_form_of(X, X_target, "X_target", name)


def read_new(form: Any, X: Any) -> Any:
    """New rows, checked to have the columns of `form`, the source's rows of fit, and in that form."""
    X = as_rows(X, "X")
    check_columns(X, "X", form.shape[1], column_names(form))
    return in_form_of(form, X, "X", "X_source of fit")


def in_form_of(form: Any, X: Any, name: str, other: str) -> Any:
    """Rows as the kind of table that `form` is: an array, a sparse matrix or a frame, whose names they take.

    Of two frames the columns go by name, so a pandas frame beside a polars one becomes one (and the other way round)
    with the names it has.

    Parameters
    ----------
    form, X : array, DataFrame or sparse matrix
        With as many columns.
    name, other : str
        What the caller calls `X` and `form`, for messages.

    Examples
    --------
    >>> import pandas as pd
    >>> in_form_of(pd.DataFrame([[0, 1]]), np.array([[2.5, 3]]), "X_target", "X")
         0    1
    0  2.5  3.0
    """
    names, own = column_names(form), column_names(X)
    if (names is None) == (own is None) and sparse.issparse(form) == sparse.issparse(X):
        if names is None or is_polars(form) == is_polars(X):
            return X
        return from_polars(X, name) if is_polars(X) else _to_polars(X, type(form))
    if any(isinstance(column, str) for column in names or own or []):
        warn(f"Only {name if names is None else other} has names of columns: these were matched by position.")
    if sparse.issparse(X):
        X = X.toarray()
    elif names is None:
        X = _as_array(X, form.dtype, name, other)
    if names is None:
        return type(form)(X) if sparse.issparse(form) else X
    if hasattr(form, "iloc"):
        return pd.DataFrame(X, columns=form.columns).infer_objects()
    return type(form)({column: X[:, j].tolist() for j, column in enumerate(names)})


def _to_polars(X: pd.DataFrame, frame: type) -> Any:
    """A polars frame of a pandas one, column by column, without pyarrow."""

    def values(column: pd.Series) -> Any:
        if column.dtype.kind in "biufM" and getattr(column.dtype, "tz", None) is None:
            return column.to_numpy()
        return [None if lacking else value for value, lacking in zip(column, column.isna(), strict=True)]

    return frame({name: values(X[name]) for name in X})


def _as_array(X: Any, dtype: np.dtype, name: str, other: str) -> np.ndarray:
    """The values of a table beside one of that type: numbers beside numbers."""
    frame = from_polars(X, name) if is_polars(X) else pd.DataFrame(X)
    try:
        return frame.to_numpy(dtype=float if dtype.kind in "biuf" else object, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} has values that are not numbers ({error})", f"numbers, as in {other}", "Encode them first."
        ) from error


def without_rows(X: Any) -> Any:
    """A table with the same columns and no rows."""
    return take_rows(X, np.zeros(0, int))


def check_names(X: Any, name: str) -> None:
    """Raise where columns share a name, or only some names are text, which scikit-learn's models refuse."""
    names = column_names(X) or []
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{name} has several columns called {_first(repeated)}", "distinct names", "Rename them.")
    other = [column for column in names if not isinstance(column, str)]
    if 0 < len(other) < len(names):
        raise InputError(
            f"{name} has names of columns that are text, and others such as {other[0]!r}",
            "names that are all text",
            f"Make them text in both domains: {name}.columns = {name}.columns.map(str).",
        )


def column_names(X: Any) -> list | None:
    """Column names of a pandas or polars frame, None for anything else."""
    columns = getattr(X, "columns", None)
    return None if columns is None else list(columns)


def remember_names(estimator: Any, names: list | None) -> None:
    """The names of the columns as scikit-learn keeps them: where all are text."""
    if names is not None and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.asarray(names, object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_  # a refit on an array after a fit on a frame


def ordered_like(X: Any, X_target: Any) -> Any:
    """The target's frame with its columns in the order of the source's, where both have the same names."""
    names, own = column_names(X), column_names(X_target)
    if names is None or own is None or own == names or not hasattr(X_target, "shape"):
        return X_target
    same = set(names) == set(own) and len(set(names)) == len(names) == len(own)
    return X_target[names] if same else X_target


def clone_keeping(estimator: Any, *names: str) -> Any:
    """A clone that holds the very same objects as its parameters `names`: what is trained stays trained."""
    params = estimator.get_params(deep=False)
    new = type(estimator)(**{k: v if k in names else clone(v, safe=False) for k, v in params.items()})
    for own in ("_metadata_request", "_sklearn_output_config"):  # as scikit-learn's clones have them
        if hasattr(estimator, own):
            setattr(new, own, copy.deepcopy(getattr(estimator, own)))
    return new


def check_columns(
    X: Any, name: str, n_features: int, names: Sequence | np.ndarray | None, other: str = "fit", order: str = ""
) -> None:
    """Same number of columns, and where both sides have names the same names in the same order.

    `order` is how a user writes the names in the right order, where `other` is no table.
    """
    own = column_names(X)
    known = [] if own is None or names is None else list(names)
    missing, extra = _without(known, own or []), _without(own or [], known) if known else []
    if missing or extra:
        lacks = f"lacks the columns {_first(missing)}" if missing else ""
        has = f"has the columns {_first(extra)}" if extra else ""
        raise InputError(
            f"{name} {lacks}{' and ' if lacks and has else ''}{has}",
            f"the {n_features} columns of {other}",
            "Rename, add or drop them.",
        )
    if X.shape[1] != n_features:
        raise InputError(
            f"{name} has {X.shape[1]} columns",
            f"the {n_features} columns of {other}",
            "Pass both domains through the same preprocessing.",
        )
    if known and own != known:
        order = order or (str(known) if other == "fit" else f"list({other}.columns)")
        raise InputError(
            f"{name} has the columns of {other} in another order", "the same order", f"Order them: {name}[{order}]."
        )


def _without(names: Sequence, others: Sequence) -> list:
    """Those of the names that the others lack, in their order."""
    known = set(others)
    return [name for name in names if name not in known]


def _first(names: Sequence) -> str:
    """The names as a list; of many the first."""
    return f"[{', '.join(map(repr, names[:8]))}{', ...' if len(names) > 8 else ''}]"


def _per_row(values: Any, name: str, n: int, adapter: str) -> np.ndarray:
    if values is None:
        raise InputError(f"{adapter}.fit was called without {name}", f"{name} of length {n}", "Pass it.")
    # of a list, numpy would turn a missing label among strings into "nan"
    array = np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}", f"shape ({n},), one value per row", "Check the rows.")
    return array


def _weights(values: Any, n: int, adapter: str) -> np.ndarray | None:
    """Weights of the source rows, in the unit in which the user's own model would be given them."""
    if values is None:
        return None
    given, accepted = _per_row(values, "sample_weight", n, adapter), "finite weights >= 0, not all of them zero"
    try:
        weight = given.astype(float)
    except (TypeError, ValueError):
        raise InputError("sample_weight with values that are no numbers", accepted, "Check them.") from None
    if not np.all(np.isfinite(weight)) or np.any(weight < 0) or weight.sum() <= 0:
        raise InputError("sample_weight with negative, missing or only zero values", accepted, "Check them.")
    return weight


def _ids(values: Any, name: str, n: int, adapter: str) -> np.ndarray | None:
    """One identifier per source row, none missing."""
    return None if values is None else _plain(read_ids(_per_row(values, name, n, adapter), n, name, "X"))


def _plain(values: np.ndarray) -> np.ndarray:
    """Object arrays in the dtype that their values have (nullable pandas columns, lists of str)."""
    return np.array(values.tolist()) if values.dtype == object else values


def _target_labels(
    y_target: Any, y: np.ndarray, n_target: int, classification: bool | None, adapter: str, classes: Any
) -> tuple[np.ndarray | None, np.ndarray]:
    """Target labels in the dtype of `y`, and which rows have one."""
    raw = _per_row(y_target, "y_target", n_target, adapter)
    labelled = ~pd.isna(raw)
    if not labelled.any():
        return None, labelled
    known = cast_labels(raw[labelled], y)
    if classification is False:
        known = as_quantities(known, "y_target")
    values = np.full(n_target, y[0], dtype=np.result_type(known, y))
    values[labelled] = known
    if classification:
        accepted = np.union1d(y, classes) if len(classes) else np.unique(y)
        refuse_new_classes(np.setdiff1d(known, accepted).tolist(), accepted.tolist())
    return values, labelled


def as_quantities(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers as finite floats, of which whole ones are no other kind; what is no number is left for `check_kind`.

    Examples
    --------
    >>> as_quantities(np.array([3, 1]), "y")
    array([3., 1.])
    """
    if values.dtype.kind not in "biuf":
        return values
    values = values.astype(floating_type(values), copy=False)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise InputError(
            f"{infinite} of the {len(values)} labels in {name} are infinite",
            "finite numbers",
            "Drop those rows, or leave them unlabelled in the target; the logarithm of 0 is infinite.",
        )
    return values


def refuse_new_classes(new: Sequence, classes: Sequence) -> None:
    """Raise when the target has classes that the source has not; of many the first are named."""

    def named(values: Sequence) -> str:
        first = ", ".join(map(repr, values[:8]))
        return f"[{first}]" if len(values) <= 8 else f"[{first}, ...] ({len(values)} in all)"

    if not new:
        return
    quantities = any(isinstance(value, float) and not value.is_integer() for value in classes)
    raise InputError(
        f"y_target has the classes {named(new)}, which y has not",
        f"the source classes {named(classes)}",
        "For quantities, which y seems to hold, take a regressor."
        if quantities
        else "Unlabelled rows have a missing label (None or NaN), not -1."
        if tuple(new) == UNLABELLED
        else "No adapter can learn them: label more of their rows and retrain with these, or set the labels of their "
        "rows to missing (None or NaN) to adapt to the others.",
    )


def cast_labels(labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Labels in the dtype of `like`; an error when that changes them (1.5 to an integer)."""
    labels = _plain(labels)
    if like.dtype.kind in "USO" or labels.dtype == like.dtype:
        return labels.astype(str) if like.dtype.kind in "US" else labels
    try:
        cast = labels.astype(like.dtype)
        same = like.dtype.kind == "f" or np.array_equal(cast.astype(float), labels.astype(float))
    except (ValueError, TypeError):
        cast, same = labels, False
    if not same:
        raise InputError(
            f"target labels such as {labels.tolist()[0]!r}",
            f"labels of type {like.dtype}, like those of y",
            "Convert them.",
        )
    return cast


class NumericColumns:
    """The numeric columns of a table as one float array, and back.

    Arrays are numeric as a whole. Of a pandas or polars frame the numeric columns (not boolean, not
    categorical) are worked on, the others passed through, and the frame type and column order are kept.

    Parameters
    ----------
    X : array or DataFrame
        The table that decides which columns are numeric.

    Attributes
    ----------
    names : list or None
        Names of the numeric columns; None for arrays.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"a": [1, 2], "b": ["u", "v"]})
    >>> part = NumericColumns(X)
    >>> part.replace(X, 10.0 * part.extract(X))
          a  b
    0  10.0  u
    1  20.0  v
    """

    def __init__(self, X: Any):
        if sparse.issparse(X):
            raise InputError(
                "a sparse matrix",
                "an array or a frame",
                "Reduce it first, for example with TruncatedSVD in a Pipeline.",
            )
        columns = column_names(X)
        self.names: list | None = None
        if columns is not None:
            if hasattr(X, "iloc"):
                self.names = [c for c, t in zip(columns, X.dtypes, strict=True) if _is_numeric(t)]
            else:
                self.names = [c for c in columns if X.schema[c].is_numeric()]
            if not self.names:
                raise InputError(f"no numeric column among {columns}", "at least one", "Encode the columns first.")

    def extract(self, X: Any) -> np.ndarray:
        """Float64 array of the numeric columns, NaN where missing; shape (n_rows, n_numeric)."""
        if self.names is None:
            try:
                return np.array(X, dtype=float)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"an array with values that are not numbers ({error})",
                    "a numeric array",
                    "Encode it first.",
                ) from error
        if hasattr(X, "iloc"):
            return X[self.names].to_numpy(dtype=float, na_value=np.nan)
        return X.select(self.names).to_numpy().astype(float)

    def floating_type(self, X: Any) -> np.dtype:
        """The floating type in which a model meets the numeric columns."""
        if self.names is not None:
            X = (X[self.names].iloc[:0] if hasattr(X, "iloc") else X.select(self.names).head(0)).to_numpy()
        return floating_type(X)

    def replace(self, X: Any, values: np.ndarray) -> Any:
        """A new table like `X` with the numeric columns replaced by `values`."""
        if self.names is None:
            return values
        columns = {name: values[:, j] for j, name in enumerate(self.names)}
        if not hasattr(X, "iloc"):
            return X.with_columns(**columns)
        out = X.copy()
        for name, column in columns.items():
            out[name] = column
        return out


def floating_type(X: Any) -> np.dtype:
    """The floating type of an array or sparse matrix, float64 where it holds something else."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(float)


def _is_numeric(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
