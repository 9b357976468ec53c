"""The user's own model: what kind it is, its parts in front of and behind an adaptation, and its fit under weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import ClassifierTags, RegressorTags, get_tags
from sklearn.utils.validation import has_fit_parameter

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from ._domains import Domains
from ._unfitted import will_have

# pass sample_weight on to all their models, which their signature does not say
ENSEMBLES = (StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor)


def classifies(estimator: Any) -> bool | None:
    """Whether the model predicts classes; None where only its labels tell, as of a network before its fit."""
    try:
        kind = get_tags(estimator).estimator_type
    except AttributeError:  # scikit-learn asks for a BaseEstimator, here or in what it wraps
        while hasattr(estimator, "__sklearn_tags__") and hasattr(estimator, "estimator"):
            estimator = estimator.estimator
        raise untagged(type(estimator).__name__) from None
    return None if kind is None else kind == "classifier"


def untagged(name: str) -> InputError:
    """The error of a model of that class, which does not say what it predicts."""
    return InputError(
        f"{name} does not say whether it is a classifier or a regressor",
        "a model whose scikit-learn tags say it",
        "Let its class inherit from ClassifierMixin or RegressorMixin of sklearn.base, and then from BaseEstimator.",
    )


def tag_task(tags: Any, task: Any) -> Any:
    """Tags of an adapter that learns from labels, as one of classes or of quantities where it knows its task."""
    if task == "classification":
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
    elif task == "regression":
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
    tags.target_tags.required = True
    return tags


def is_frozen(estimator: Any) -> bool:
    """Whether the model (of a Pipeline: its last step) must not be refitted."""
    if isinstance(estimator, Pipeline):
        return is_frozen(estimator.steps[-1][1])
    return isinstance(estimator, FrozenEstimator)


def can_be_calibrated(estimator: Any) -> bool:
    """Whether a `CalibratedClassifierCV` around the model can be fitted."""
    scores = will_have(estimator, "predict_proba") or will_have(estimator, "decision_function")
    return scores and not is_frozen(estimator)


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


def clone_keeping(estimator: Any, *names: str) -> Any:
    """A clone that holds the very same objects as its parameters `names`: what is trained stays trained."""
    params = estimator.get_params(deep=False)
    new = type(estimator)(**{k: v if k in names else clone(v, safe=False) for k, v in params.items()})
    for own in ("_metadata_request", "_sklearn_output_config"):  # as scikit-learn's clones have them
        if hasattr(estimator, own):
            setattr(new, own, copy.deepcopy(getattr(estimator, own)))
    return new
