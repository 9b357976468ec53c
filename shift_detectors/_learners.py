"""Cross-fitted nuisance models: who is in the target, what is y, given x.

Two learners of different character, a regularised linear model on a quadratic expansion and gradient-boosted
trees, are blended with each other and with the constant, by the weights with the smallest out-of-fold loss.
Smooth truths favour the first, local and mixed-type ones the second, "no relation" the constant; conditional
tests need whichever is right, since their level rests on it. Of many columns, such as embeddings, the trees are shown
those that are most correlated with what they predict: their cost grows with columns times classes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import ThreadpoolController

from ._copies import twins
from ._errors import InputError
from ._table import Table
from ._warnings import ignored

PRODUCTS_UP_TO = 12  # columns of the design up to which pairwise products join the linear model
TREE_COLUMNS = 100  # numeric columns that trees are fitted to, at most
FLOOR = 1e-4  # probabilities are kept this far from 0 and 1
SMALL = 50_000  # rows up to which trees are fitted by one thread
# shares of (linear, trees); the rest goes to the constant
BLENDS = tuple((a / 4, b / 4) for a in range(5) for b in range(5 - a))


@cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


def one_thread(n_rows: int):
    """Context in which trees on a small table are fitted by one OpenMP thread.

    Splitting a fit of milliseconds over threads that wait for each other costs up to fifty times as much on a busy
    machine. The caller's setting comes back afterwards.
    """
    return _openmp().limit(limits=1) if n_rows <= SMALL else nullcontext()


def make_folds(strata: np.ndarray, n_folds: int, random_state: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Fold number of every row, balanced over `strata`; rows of a group share a fold.

    Parameters
    ----------
    strata : ndarray of shape (n,)
        Usually the domain, or domain and class.
    n_folds : int
    random_state : int
    groups : ndarray of shape (n,), optional

    Returns
    -------
    ndarray of int, shape (n,)
    """
    if groups is not None:
        n_groups = len(np.unique(groups))
        if n_groups < 4:
            raise InputError(
                f"{n_groups} groups",
                "at least 4 groups over both sides",
                "With fewer nothing can be said about groups that were not seen.",
            )
        n_folds = min(n_folds, n_groups // 2)
    # classes smaller than the number of folds share one stratum: StratifiedKFold would complain
    _, code, counts = np.unique(strata, return_inverse=True, return_counts=True)
    code = np.where(counts[code] < n_folds, -1, code)
    fold = np.zeros(len(strata), int)
    if groups is None:
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        splits = splitter.split(np.zeros(len(strata)), code)
    else:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)
        splits = splitter.split(np.zeros(len(strata)), code, groups)
    with ignored(UserWarning):  # "least populated class": handled by the shared stratum
        for k, (_, rows) in enumerate(splits):
            fold[rows] = k
    return fold


def domain_folds(table: Table, n_folds: int, random_state: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Folds balanced over the domains, in which a row shares the fold of its twin on the other side.

    Predictions for the target's copies of source rows would otherwise come from models that saw these rows and their
    labels, those for the source rows from models that did not: the two differ without a shift.
    """
    fold = make_folds(table.domain.astype(int), n_folds, random_state, groups)
    if groups is None:
        source, target = twins(table)
        fold[target] = fold[source]
    return fold


def expansion(design: np.ndarray) -> np.ndarray:
    """Standardised columns with squares, and pairwise products when there are few; standardised float64."""
    Z = np.clip(design, -4, 4).astype(float)
    d = Z.shape[1]
    if d == 0:
        return Z
    if d <= PRODUCTS_UP_TO:
        a, b = np.triu_indices(d)
    else:
        a = b = np.arange(d)
    products = Z[:, a] * Z[:, b]
    scale = products.std(axis=0)
    keep = scale > 1e-6
    products = (products[:, keep] - products[:, keep].mean(axis=0)) / scale[keep]
    return np.column_stack([Z, products])


@dataclass(frozen=True)
class Inputs:
    """Both encodings of a table, computed once."""

    linear: np.ndarray
    trees: np.ndarray
    categorical: np.ndarray | None

    @classmethod
    def of(cls, table: Table) -> Inputs:
        """Encode a table."""
        return cls(expansion(table.design), table.tree_input, table.tree_categorical)


def _linear_classifier(inputs, train, target, weight, rows):
    """(n_rows, n_classes) probabilities; columns follow the sorted classes of `target[train]`."""
    if not inputs.linear.shape[1]:
        return None
    model = LogisticRegression(C=_C(inputs.linear.shape[1], len(train)), max_iter=200, tol=1e-3)
    with ignored(ConvergenceWarning):
        model.fit(inputs.linear[train], target[train], sample_weight=None if weight is None else weight[train])
    return model.predict_proba(inputs.linear[rows])


def _C(d, n):
    """Ridge strength of the logistic model: stronger when there are many columns per row."""
    return float(np.clip(0.05 * n / max(d, 1), 0.02, 1.0))


def _trees(n_train: int, n_outputs: int) -> dict:
    """Few, small trees: nuisances must be good enough, not perfect, and are fitted many times."""
    return {
        "max_iter": 30 if n_outputs <= 3 else 20,
        "learning_rate": 0.2,
        "max_leaf_nodes": 12,
        "min_samples_leaf": int(np.clip(n_train // 50, 5, 40)),
        "l2_regularization": 5.0,
        "early_stopping": False,
        "max_bins": 64,
        "random_state": 0,
    }


def _tree_classifier(inputs, train, target, weight, rows):
    n_classes = len(np.unique(target[train]))
    X, new, categorical = _usable(inputs, train, rows, np.eye(target.max() + 1)[target[train]])
    if not X.shape[1]:
        return np.tile(np.bincount(target[train])[np.unique(target[train])] / len(train), (len(rows), 1))
    model = HistGradientBoostingClassifier(**_trees(len(train), n_classes), categorical_features=categorical)
    with one_thread(len(train)):
        return model.fit(X, target[train], None if weight is None else weight[train]).predict_proba(new)


def _usable(inputs, train, rows, outputs):
    """Training and new rows of the columns that trees can bin: categories, and at most `TREE_COLUMNS` numbers."""
    X = inputs.trees[train]
    keep = binnable(X, inputs.categorical)
    numbers = np.flatnonzero(keep if inputs.categorical is None else keep & ~inputs.categorical)
    if len(numbers) > TREE_COLUMNS:
        keep[numbers] = False
        keep[numbers[most_correlated(X[:, numbers], outputs, TREE_COLUMNS)]] = True
    categorical = None if inputs.categorical is None else inputs.categorical[keep]
    return X[:, keep], inputs.trees[rows][:, keep], categorical


def most_correlated(X: np.ndarray, outputs: np.ndarray, n_columns: int) -> np.ndarray:
    """The columns of X (n, d) most correlated with any of the outputs (n, k): their values, squares or gaps."""
    gap = np.isnan(X)
    filled = np.where(gap, 0, X - np.nanmean(X, axis=0))
    squares = filled**2
    best = np.zeros(X.shape[1])
    T = outputs - outputs.mean(axis=0)
    T = T / np.maximum(np.linalg.norm(T, axis=0), 1e-12)
    for part in (filled, squares, gap.astype(float)):
        part = part - part.mean(axis=0)
        length = np.maximum(np.linalg.norm(part, axis=0), 1e-12)
        best = np.maximum(best, np.abs(part.T @ T).max(axis=1) / length)
    return np.argsort(-best, kind="stable")[:n_columns]


def binnable(X: np.ndarray, categorical: np.ndarray | None) -> np.ndarray:
    """Mask of the columns that trees can bin: not those without a value, or with a single number."""
    low, high = np.fmin.reduce(X), np.fmax.reduce(X)  # NaN where all are missing
    return high > low if categorical is None else (high > low) | (categorical & ~np.isnan(low))


def fit_probabilities(inputs, train, target, rows, n_classes, weight=None) -> list[np.ndarray]:
    """Probabilities of the two learners on `rows`, fitted on `train`; integer targets 0..n_classes-1."""
    seen = np.unique(target[train])
    result = []
    for learner in (_linear_classifier, _tree_classifier):
        if len(seen) == 1:
            proba = np.ones((len(rows), 1))
        else:
            with ignored(UserWarning, "The number of unique classes"):  # the boundary tells of classes that may be none
                proba = learner(inputs, train, target, weight, rows)
        if proba is None:
            continue
        full = np.full((len(rows), n_classes), FLOOR)
        full[:, seen] = np.clip(proba, FLOOR, 1)
        result.append(full / full.sum(axis=1, keepdims=True))
    return result


def blend_probabilities(parts: list[np.ndarray], base: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """Geometric blend of the learners and the class frequencies `base`."""
    logits = shares[0] * np.log(parts[0]) + shares[1] * np.log(parts[-1])
    logits += (1 - sum(shares)) * np.log(np.clip(base, FLOOR, 1))
    blend = np.exp(logits)
    return blend / blend.sum(axis=1, keepdims=True)


def crossfit_probabilities(
    inputs: Inputs,
    target: np.ndarray,
    fold: np.ndarray,
    n_classes: int,
    *,
    train: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Out-of-fold class probabilities of every row, shape (n, n_classes): `crossfit_learners`, blended.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
        Only the entries where `train` is True are used.
    fold : ndarray of int, shape (n,)
        Row i is predicted by models that saw no row of its fold.
    train : ndarray of bool, shape (n,), optional
        Rows that may be used for fitting (all).
    """
    parts = crossfit_learners(inputs, target, fold, n_classes, train=train, weight=weight)
    return best_blend(parts, target, train, weight)


def crossfit_learners(inputs, target, fold, n_classes, *, train=None, weight=None) -> list[np.ndarray]:
    """Out-of-fold class probabilities (n, n_classes) of every row by each of the two learners."""
    train = np.ones(len(fold), bool) if train is None else train
    parts = [np.empty((len(fold), n_classes)) for _ in range(2)]
    for k in np.unique(fold):
        rows = np.flatnonzero(fold == k)
        found = fit_probabilities(inputs, np.flatnonzero(train & (fold != k)), target, rows, n_classes, weight)
        parts[0][rows], parts[1][rows] = found[0], found[-1]
    return parts


def best_blend(parts, target, train=None, weight=None) -> np.ndarray:
    """The blend of the learners' probabilities, and of the class frequencies, with the smallest out-of-fold loss."""
    known = np.arange(len(target)) if train is None else np.flatnonzero(train)
    w = None if weight is None else weight[known]
    counts = np.bincount(target[known], weights=w, minlength=parts[0].shape[1])
    base = counts / (len(known) if w is None else w.sum())
    seen = [part[known] for part in parts]

    def loss(shares):
        p = blend_probabilities(seen, base, shares)
        return -np.average(np.log(p[np.arange(len(known)), target[known]]), weights=w)

    return blend_probabilities(parts, base, min(BLENDS, key=loss))


def crossfit_means(
    inputs: Inputs,
    values: np.ndarray,
    fold: np.ndarray,
    *,
    train: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Out-of-fold conditional means of every column of `values` (n, k), blended per column.

    `train` as in `crossfit_probabilities`.
    """
    n, k = values.shape
    train = np.ones(n, bool) if train is None else train
    first, second = np.empty((n, k)), np.empty((n, k))
    linear = inputs.linear.shape[1] > 0
    for f in np.unique(fold):
        past, rows = np.flatnonzero(train & (fold != f)), np.flatnonzero(fold == f)
        w = None if weight is None else weight[past]
        if linear:
            ridge = Ridge(alpha=max(1.0, 0.02 * inputs.linear.shape[1]))
            fitted = ridge.fit(inputs.linear[past], values[past], w).predict(inputs.linear[rows])
            first[rows] = fitted.reshape(len(rows), k)
        X, new, categorical = _usable(inputs, past, rows, values[past])
        if not X.shape[1]:
            second[rows] = np.average(values[past], axis=0, weights=w)
            continue
        for j in range(k):
            model = HistGradientBoostingRegressor(**_trees(len(past), 1), categorical_features=categorical)
            with one_thread(len(past)):
                second[rows, j] = model.fit(X, values[past, j], w).predict(new)
    if not linear:
        first[:] = second
    known = np.flatnonzero(train)
    w = None if weight is None else weight[known]
    base = np.average(values[known], axis=0, weights=w)
    result = np.empty((n, k))
    for j in range(k):

        def mean(shares, rows, j=j):
            return shares[0] * first[rows, j] + shares[1] * second[rows, j] + (1 - sum(shares)) * base[j]

        def loss(shares, j=j):
            return np.average((values[known, j] - mean(shares, known, j)) ** 2, weights=w)

        result[:, j] = mean(min(BLENDS, key=loss), slice(None))
    return result
