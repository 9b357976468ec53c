"""Domain pairs made from any labelled table by choosing which rows are source and which are target.

The rows are real and unchanged (but for the one thing that a concept or conditional shift changes in the
target, in a copy), source and target share none, and the rule of selection is the known truth. Frames keep
their columns, dtypes and index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import expit, ndtri
from scipy.stats import rankdata

from da_toolkit._parameters import read_prior
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from ._pair import DomainPair


def induce_no_shift(
    X: Any,
    y: Any,
    *,
    target_fraction: float = 0.5,
    task: str = "auto",
    name: str = "no_shift",
    random_state: Any = None,
) -> DomainPair:
    """Split a table at random: nothing shifts.

    Parameters
    ----------
    X : array, DataFrame or sparse matrix of shape (n_rows, n_features)
    y : array-like of shape (n_rows,)
        Labels, none missing.
    target_fraction : float
        Expected share of the rows that go to the target, between 0 and 1.
    task : {"auto", "classification", "regression"}
        "auto": numbers with more than 20 distinct values are a regression.
    name : str
        Name of the pair.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        Of kind "none".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> pair = induce_no_shift(X, y, random_state=0)
    >>> pair.n_source + pair.n_target, bool((pair.true_weights == 1).all())
    (150, True)
    """
    X, y, task = _read(X, y, task)
    rng = check_random_state(random_state)
    source, target = _split(len(y), target_fraction, rng)
    return _pair(
        X,
        y,
        source,
        target,
        kind="none",
        task=task,
        name=name,
        description="One table split at random.",
        true_weights=np.ones(len(source)),
    )


def induce_covariate_shift(
    X: Any,
    y: Any,
    feature: Any,
    *,
    strength: float = 1.0,
    target_fraction: float = 0.5,
    task: str = "auto",
    name: str = "covariate_shift",
    random_state: Any = None,
) -> DomainPair:
    r"""Select target rows by one feature: p(x) differs, p(y|x) cannot.

    A row goes to the target with probability :math:`e(x) = \sigma(a + s\,z(x))`, z being the normal score of
    the feature's rank, s the strength and a such that the target has the wanted share. All rows have a chance
    of both sides, so the domains overlap, and the true weight of a source row is
    :math:`e(x) / (1 - e(x))` times the ratio of the two shares.

    Parameters
    ----------
    X, y, target_fraction, task, name, random_state
        As in `induce_no_shift`.
    feature : str, int or array-like of shape (n_rows,)
        Column by name or position, or a score for every row that depends on x only. Rows with a higher value
        go to the target more often; categories count in sorted order, a missing value as the median.
    strength : float
        Log odds per standard deviation; negative values select low rows. 1 is moderate (domain AUC about .7,
        ESS/n about .45), 2 is strong (about .85 and .15).

    Returns
    -------
    DomainPair
        Of kind "covariate", with `true_weights`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> pair = induce_covariate_shift(X, y, "sepal width (cm)", strength=2, random_state=0)
    >>> bool(pair.X_target["sepal width (cm)"].mean() > pair.X_source["sepal width (cm)"].mean() + 0.3)
    True
    """
    X, y, task = _read(X, y, task)
    rng = check_random_state(random_state)
    log_odds = _check_strength(strength) * _normal_score(_column(X, feature))
    source, target, weights = _select(log_odds, target_fraction, rng)
    label = feature if isinstance(feature, str) else f"column {feature}" if np.ndim(feature) == 0 else "a score"
    return _pair(
        X,
        y,
        source,
        target,
        kind="covariate" if strength else "none",
        task=task,
        name=name,
        description=f"Rows with {'high' if strength >= 0 else 'low'} {label} go to the target more often; "
        "the selection looks at x only, so p(y|x) is the same.",
        true_weights=weights,
    )


def induce_label_shift(
    X: Any,
    y: Any,
    *,
    target_prior: Any = None,
    concentration: float = 1.0,
    strength: float = 1.0,
    target_fraction: float = 0.5,
    task: str = "auto",
    name: str = "label_shift",
    random_state: Any = None,
) -> DomainPair:
    """Select target rows by their label: p(y) differs, p(x|y) cannot.

    Classification: the table is split at random, then a target row of class k stays with a probability
    proportional to q_k / p_k, p being the class shares of the table and q the wanted ones. The rows that do
    not stay are left out. Regression: rows are selected by y as `induce_covariate_shift` selects by x.

    Parameters
    ----------
    X, y, target_fraction, task, name, random_state
        As in `induce_no_shift`.
    target_prior : array-like of shape (n_classes,), mapping or Series, optional
        Wanted class probabilities q (classification), an array in sorted order of the classes, or by class.
    concentration : float
        Without `target_prior`, q is drawn from a Dirichlet distribution with this parameter for every class.
    strength : float
        Log odds per standard deviation of y (regression).

    Returns
    -------
    DomainPair
        Of kind "label", with `true_weights` and, in classification, `true_prior`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> pair = induce_label_shift(X, y, target_prior=[0.6, 0.3, 0.1], random_state=0)
    >>> np.bincount(pair.y_source), np.bincount(pair.y_target)
    (array([30, 19, 33]), array([20, 18,  3]))
    """
    X, y, task = _read(X, y, task)
    rng = check_random_state(random_state)
    if task == "regression":
        if target_prior is not None:
            raise InputError("target_prior with a regression task", "strength", "Regression has no class prior.")
        source, target, weights = _select(_check_strength(strength) * _normal_score(y), target_fraction, rng)
        prior = None
    else:
        classes, code, counts = np.unique(y, return_inverse=True, return_counts=True)
        if target_prior is None:
            prior = rng.dirichlet(np.full(len(classes), concentration))
        else:
            prior = read_prior(target_prior, classes, "target_prior")
        ratio = prior / (counts / len(y))
        source, target = _split(len(y), target_fraction, rng)
        target = target[rng.random_sample(len(target)) < ratio[code[target]] / ratio.max()]
        weights = ratio[code[source]]
    return _pair(
        X,
        y,
        source,
        target,
        kind="label" if np.ptp(weights) > 0 else "none",
        task=task,
        name=name,
        description="Target rows are selected by their label only, so p(x|y) is the same.",
        true_weights=weights,
        true_prior=prior,
    )


def induce_concept_shift(
    X: Any,
    y: Any,
    region: Any,
    *,
    change: Callable[[np.ndarray], Any] | None = None,
    strength: float = 1.0,
    target_fraction: float = 0.5,
    task: str = "auto",
    name: str = "concept_shift",
    random_state: Any = None,
) -> DomainPair:
    """Relabel or re-price a region of the target: p(x) is the same, p(y|x) differs there.

    Parameters
    ----------
    X, y, target_fraction, task, name, random_state
        As in `induce_no_shift`.
    region : str, int or boolean array of shape (n_rows,)
        Which rows change when they fall into the target: a mask, or a column (by name or position) of which
        the upper 30 % change.
    change : callable, optional
        Takes the labels of the region's target rows, returns the new ones.
    strength : float
        Without `change`: a class becomes the next one (in sorted order, cyclic) with probability
        ``1 - 2 ** -strength``; a number gains `strength` standard deviations of y.

    Returns
    -------
    DomainPair
        Of kind "concept".

    Examples
    --------
    >>> X, y = np.arange(100.0).reshape(50, 2), np.zeros(50)
    >>> pair = induce_concept_shift(X, y, region=0, change=lambda prices: prices + 1, random_state=0)
    >>> bool(pair.y_source.any()), bool((pair.y_target == (pair.X_target[:, 0] >= 70)).all())
    (False, True)
    """
    X, y, task = _read(X, y, task)
    rng = check_random_state(random_state)
    source, target = _split(len(y), target_fraction, rng)
    if np.ndim(region):
        mask = np.asarray(region)
        if mask.dtype != bool or mask.shape != y.shape:
            raise InputError(
                f"region of dtype {mask.dtype} and shape {mask.shape}",
                f"a column, or booleans of shape ({len(y)},)",
                "Pass a mask with one entry per row.",
            )
    else:
        mask = _normal_score(_column(X, region)) > ndtri(0.7)
    pair = _pair(
        X,
        y,
        source,
        target,
        kind="concept",
        task=task,
        name=name,
        description=f"In a region that holds {mask[target].mean():.0%} of the target rows the labels mean "
        "something else than in the source; p(x) is the same.",
    )
    rows = np.flatnonzero(mask[target])
    old = pair.y_target[rows]
    if change is not None:
        new = np.asarray(change(old.copy()))
        if new.shape != old.shape:
            raise InputError(
                f"change returned shape {new.shape} for {old.shape}",
                "one label per row",
                "Return as many labels.",
            )
    elif task == "regression":
        new = old + _check_strength(strength) * y.std()
    else:
        classes = np.unique(y)
        moved = rng.random_sample(len(old)) < 1 - 2.0 ** -_check_strength(strength, least=0)
        new = np.where(moved, classes[(np.searchsorted(classes, old) + 1) % len(classes)], old)
    y_target = pair.y_target.astype(np.result_type(pair.y_target, new))
    y_target[rows] = new
    return replace(pair, y_target=y_target, kind="concept" if (new != old).any() else "none")


def induce_conditional_shift(
    X: Any,
    y: Any,
    transform: Callable[[Any], Any],
    *,
    target_fraction: float = 0.5,
    task: str = "auto",
    name: str = "conditional_shift",
    random_state: Any = None,
) -> DomainPair:
    """See the target through another sensor: p(x|y) moves by `transform`, p(y) is the same.

    Parameters
    ----------
    X, y, target_fraction, task, name, random_state
        As in `induce_no_shift`.
    transform : callable
        Takes a copy of the target rows (same type as `X`), returns as many rows with the same columns.

    Returns
    -------
    DomainPair
        Of kind "conditional".

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    >>> pair = induce_conditional_shift(X, y, lambda rows: 1.1 * rows + 3, random_state=0)
    >>> pair.kind, bool((X == np.arange(20.0).reshape(10, 2)).all())
    ('conditional', True)
    """
    X, y, task = _read(X, y, task)
    source, target = _split(len(y), target_fraction, check_random_state(random_state))
    pair = _pair(
        X,
        y,
        source,
        target,
        kind="conditional",
        task=task,
        name=name,
        description="The target's rows went through another sensor; p(y) is the same.",
    )
    rows = transform(pair.X_target)
    if getattr(rows, "shape", None) != pair.X_target.shape:
        raise InputError(
            f"transform returned shape {getattr(rows, 'shape', None)}",
            f"shape {pair.X_target.shape}",
            "Return one row for each row, with the same columns.",
        )
    return replace(pair, X_target=rows)


def _read(X: Any, y: Any, task: str) -> tuple[Any, np.ndarray, str]:
    """The table as it is (lists become arrays), labels as an array, the task by name."""
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    elif sparse.issparse(X):
        X = X.tocsr()
    y = np.asarray(y)
    if len(X.shape) != 2 or y.shape != (X.shape[0],):
        raise InputError(
            f"X of shape {X.shape} and y of shape {y.shape}",
            "a table and one label per row",
            "Pass X of shape (n_rows, n_features) and y of shape (n_rows,).",
        )
    if pd.isna(y).any():
        raise InputError(f"{pd.isna(y).sum()} missing labels", "a label in every row", "Drop the unlabelled rows.")
    if task == "auto":
        numeric = np.issubdtype(y.dtype, np.number)
        task = "regression" if numeric and len(np.unique(y)) > 20 else "classification"
    return X, y, task


def _column(X: Any, feature: Any) -> np.ndarray:
    """One number per row: the column, or the given score; NaN where missing."""
    if np.ndim(feature):
        values = np.asarray(feature)
        if values.shape != (X.shape[0],):
            raise InputError(
                f"a score of shape {values.shape}",
                f"shape ({X.shape[0]},)",
                "Pass one value per row, or a column.",
            )
    else:
        columns = list(getattr(X, "columns", range(X.shape[1])))
        if feature in columns:
            j = columns.index(feature)
        elif isinstance(feature, (int, np.integer)) and -len(columns) <= feature < len(columns):
            j = int(feature)
        else:
            raise InputError(f"feature {feature!r}", f"one of {columns}", "Name a column of X, or pass a score.")
        values = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
        values = values.toarray().ravel() if hasattr(values, "toarray") else np.asarray(values)
    if np.issubdtype(values.dtype, np.number) or values.dtype == bool:
        return values.astype(float)
    codes = pd.factorize(values, sort=True)[0]
    return np.where(codes < 0, np.nan, codes)


def _normal_score(values: np.ndarray) -> np.ndarray:
    """Normal quantiles of the ranks, ties averaged; 0, the median, where a value is missing."""
    present = ~np.isnan(values)
    score = np.zeros(len(values))
    score[present] = ndtri((rankdata(values[present]) - 0.5) / present.sum())
    return score


def _select(
    log_odds: np.ndarray, target_fraction: float, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source rows, target rows and the true weights of the source rows, by selection with known odds."""
    _check_fraction(target_fraction)
    low, high = -40 - log_odds.max(), 40 - log_odds.min()
    intercept = brentq(lambda a: expit(a + log_odds).mean() - target_fraction, low, high)
    chosen = rng.random_sample(len(log_odds)) < expit(intercept + log_odds)
    source, target = _sides(chosen)
    odds = np.exp(intercept + log_odds[source])
    return source, target, odds * (1 - target_fraction) / target_fraction


def _split(n: int, target_fraction: float, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Rows of source and target, at random."""
    _check_fraction(target_fraction)
    return _sides(rng.random_sample(n) < target_fraction)


def _sides(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if chosen.all() or not chosen.any():
        raise InputError(
            f"{len(chosen)} rows of which {chosen.sum()} fell into the target",
            "rows on both sides",
            "Pass more rows, or change target_fraction.",
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _pair(X: Any, y: np.ndarray, source: np.ndarray, target: np.ndarray, **fields: Any) -> DomainPair:
    """Both sides as copies of the rows."""
    if not len(target):
        raise InputError("no target row was left", "rows on both sides", "Pass more rows, or a milder target_prior.")
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    names = tuple(str(c) for c in getattr(X, "columns", [f"x{j}" for j in range(1, X.shape[1] + 1)]))
    return DomainPair(take(source), y[source], take(target), y[target], feature_names=names, **fields)


def _check_fraction(target_fraction: float) -> None:
    if not 0 < target_fraction < 1:
        raise InputError(f"target_fraction={target_fraction}", "a number between 0 and 1", "0.5 halves the table.")


def _check_strength(strength: float, least: float = -np.inf) -> float:
    if isinstance(strength, str) or not (np.isfinite(strength) and strength >= least):
        accepted = "a finite number" if least == -np.inf else f"a finite number >= {least}"
        raise InputError(f"strength={strength!r}", accepted, "1 is moderate.")
    return strength
