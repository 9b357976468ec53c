"""Cross-validation of an adapter: held-out rows of both domains, judged by scorers that hold the target."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.metrics import get_scorer
from sklearn.metrics._scorer import _BaseScorer
from sklearn.utils import get_tags

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._domains import Domains, read_domains
from .._folds import FOLDS, fit, split
from .._model import classifies, frozen_classes
from .._source_only import SourceOnly
from .._target import unpack_target
from ._base import TargetScore
from ._importance_weighted import ImportanceWeightedScore

SINGLE = "score"  # name of the one scorer that is not in a dict


def cross_validate(
    adapter: Any,
    X: Any,
    y: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    scoring: Any = None,
    cv: int = FOLDS,
    sample_weight: Any = None,
    groups: Any = None,
    groups_target: Any = None,
    source_domain: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> dict[str, np.ndarray]:
    """Fit an adapter on folds of both domains and score it on the rows left out.

    In every fold the adapter sees the other folds of the source and of the target; the scorer gets the held-out
    source rows, with labels, and the held-out target rows. With few labelled target rows, these are folded, too:
    ``test_target`` is the score on held-out labelled target rows, which needs no assumption. It is by the scorer of
    scikit-learn where one is given, and otherwise accuracy or R2.

    Parameters
    ----------
    adapter : adapter or plain estimator
        Never modified. A plain estimator is fitted on the source alone.
    X, y : source rows and their labels
    X_target : array, DataFrame, sparse matrix or Target
    y_target : array-like of shape (n_target,), optional
        Target labels; missing values mean "unlabelled". Those of the other folds are given to the adapter.
    scoring : scorer or str, or dict from name to scorer, optional
        Such as ``CircularScore()``: target rows, if it holds any, are exchanged for the held-out ones. Scorers of
        scikit-learn (``"accuracy"``, ``make_scorer(...)``) are told what the adapter says of source rows; a function of
        one's own gets the adapter and asks its ``predict_source``. `ImportanceWeightedScore` by default.
    cv : int
        Number of folds; rows of a group share one, classes are balanced.
    sample_weight, groups, source_domain : array-like of shape (n_source,), optional
    groups_target : array-like of shape (n_target,), optional
    random_state : int, Generator, RandomState or None
        Of the folds, and of scorers and adapters without a seed of their own.
    n_jobs : int, optional

    Returns
    -------
    dict of str to ndarray of shape (cv,)
        ``fit_time``, ``score_time``, ``test_score`` (or ``test_<name>`` of several scorers), and ``test_target``
        where target labels are given. With a dict of scorers ``test_target`` is accuracy or R2, and
        ``test_target_<name>`` is by each scorer of scikit-learn. NaN in folds without a target label, and in those
        without a class that the scorer needs.

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit import FeatureAlignment, SourceOnly
    >>> from da_toolkit.validation import CircularScore, cross_validate
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(400, 2)), 2 * rng.normal(size=(400, 2)) + 3
    >>> y = (X[:, 0] > 0).astype(int)
    >>> for adapter in (SourceOnly(LogisticRegression()), FeatureAlignment(LogisticRegression())):
    ...     found = cross_validate(adapter, X, y, X_target, scoring=CircularScore(), random_state=0)
    ...     print(type(adapter).__name__, found["test_score"].mean().round(2))
    SourceOnly 0.75
    FeatureAlignment 0.93
    """
    X_target, y_target = unpack_target(X_target, y_target)
    if not hasattr(adapter, "predict_source"):
        adapter = SourceOnly(adapter)
    domains = read_domains(
        X,
        y,
        X_target,
        y_target,
        classification=classifies(adapter),
        sample_weight=sample_weight,
        groups=groups,
        source_domain=source_domain,
        adapter="cross_validate",
        classes=frozen_classes(getattr(adapter, "estimator", None)),
    )
    if not isinstance(cv, (int, np.integer)) or cv < 2:
        raise InputError(f"cv={cv!r}", "an integer of at least 2")
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    scorers = _scorers(scoring, seed)
    adapter = _seeded(clone(adapter), seed)
    groups_target = None if groups_target is None else np.asarray(groups_target)
    source_fold, target_fold = split(domains, groups_target, is_classifier(adapter), seed, cv)
    parts: Any = Parallel(n_jobs=n_jobs)(
        delayed(_one_fold)(adapter, scorers, domains, source_fold != k, target_fold != k)
        for k in range(source_fold.max() + 1)
    )
    return {key: np.array([part[key] for part in parts]) for key in parts[0]}


class OnSource:
    """A fitted adapter as scikit-learn's scorers, which know one path, ask it: what it answers is for source rows."""

    def __init__(self, model: Any):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        answers = ("predict", "predict_proba", "decision_function")
        return getattr(self._model, f"{name}_source" if name in answers else name)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self._model)


def _one_fold(adapter: Any, scorers: dict, domains: Domains, in_source: np.ndarray, in_target: np.ndarray) -> dict:
    """Fit on the rows of the two masks, score on the others."""
    test, target_test = np.flatnonzero(~in_source), np.flatnonzero(~in_target)
    started = time.perf_counter()
    model = fit(adapter, domains, in_source, in_target)
    found = {"fit_time": time.perf_counter() - started}
    started = time.perf_counter()
    X_test, X_target = take_rows(domains.X, test), take_rows(domains.X_target, target_test)
    for name, scorer in scorers.items():
        scorer = scorer.with_target(X_target) if isinstance(scorer, TargetScore) else scorer
        judged = OnSource(model) if isinstance(scorer, _BaseScorer) else model
        found[f"test_{name}"] = float(scorer(judged, X_test, domains.y[test]))
    if domains.y_target is not None:
        known = target_test[domains.labelled[target_test]]
        X_known, truth = take_rows(domains.X_target, known), domains.y_target[known]
        for name, scorer in _target_scorers(scorers).items():
            found[f"test_{name}"] = _on_target(scorer, model, X_known, truth)
    found["score_time"] = time.perf_counter() - started
    return found


def _target_scorers(scorers: dict) -> dict[str, Any]:
    """What judges labelled target rows: the model's own score, or the one scorer of scikit-learn; several beside it."""
    stock = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, _BaseScorer)}
    named = {"target" if name == SINGLE else f"target_{name}": scorer for name, scorer in stock.items()}
    return {"target": _own_score} | named


def _own_score(model: Any, X: Any, y: np.ndarray) -> float:
    return model.score(X, y)


def _on_target(scorer: Any, model: Any, X: Any, y: np.ndarray) -> float:
    """Score on labelled target rows; NaN where there are none, or where they lack a class that the scorer needs."""
    if not len(y):
        return np.nan
    try:
        return float(scorer(model, X, y))
    except ValueError:
        if not is_classifier(model) or np.isin(model.classes_, y).all():
            raise
        return np.nan


def _scorers(scoring: Any, seed: int) -> dict[str, Any]:
    """Scorers by name, each with a seed."""
    if scoring is None:
        scoring = ImportanceWeightedScore()
    named = dict(scoring) if isinstance(scoring, Mapping) else {SINGLE: scoring}
    named = {name: get_scorer(scorer) if isinstance(scorer, str) else scorer for name, scorer in named.items()}
    for name, scorer in named.items():
        if isinstance(scorer, type) or not callable(scorer):
            raise InputError(
                f"scoring={scorer!r}",
                "a scorer such as CircularScore(), or a dict of scorers",
                "A scorer is called as scorer(model, X, y).",
            )
        if str(name).startswith("target"):
            raise InputError(f"a scorer named {name!r}", "another name", "test_target is the score on target labels.")
    return {name: _seeded_score(scorer, seed) for name, scorer in named.items()}


def _seeded_score(scorer: Any, seed: int) -> Any:
    if isinstance(scorer, TargetScore) and getattr(scorer, "random_state", 0) is None:
        scorer = scorer.with_target(None)
        scorer.random_state = seed
    return scorer


def _seeded(adapter: Any, seed: int) -> Any:
    if adapter.get_params(deep=False).get("random_state", 0) is None:
        adapter.set_params(random_state=seed)
    return adapter
