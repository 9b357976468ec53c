from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from da_toolkit.transfer import TransferStack
from da_toolkit.transfer._offset_boosting import OffsetBoosting
from da_toolkit.transfer._prior_centered import PriorCentered
from shift_detectors._errors import InputError

MODELS = {"regression": Ridge(), "classification": LogisticRegression()}


def problem(task, seed, change, m, n=500):
    """Linear source; where the first feature is above 1/2 the target's answer is another one."""
    rng = np.random.default_rng(seed)

    def draw(rows, change):
        X = rng.normal(size=(rows, 4))
        f = 2 * X @ [0.0, 1.0, 1.0, 0.0]
        region = X[:, 0] > 0.5
        if task == "regression":
            return X, f + change * 3 * region + rng.normal(size=rows)
        y = (rng.random(rows) < expit(2 * f)).astype(float)
        return X, np.where(region & (rng.random(rows) < change), 1 - y, y)

    X, y = draw(n, 0.0)
    X_target, y_target = draw(1000, change)
    few = y_target.copy()
    few[m:] = np.nan
    return X, y, X_target, few, *draw(2000, change)


def test_one_tree_by_hand():
    """The root splits the residuals at 0; the leaves hold learning_rate * sum / (count + 1)."""
    X = np.arange(-10.0, 10.0)[:, None]
    y = np.tile([-1.0, 1.0], 10)
    X_target = np.array([[-2.0], [-1.0], [1.0], [2.0], [3.0]])
    y_target = np.array([0.0, 0.0, 6.0, 6.0, 6.0])
    model = OffsetBoosting(
        FrozenEstimator(Ridge().fit(X, 0 * y)), max_iter=1, learning_rate=0.5, max_depth=1, min_samples_leaf=1
    ).fit(X, y, X_target, y_target)
    assert model.n_iter_ == 1
    np.testing.assert_allclose(model.predict([[-5.0], [5.0]]), [0.0, 0.5 * 18 / 4])
    # leave-one-out: a row on the right is answered by a leaf of the other two
    np.testing.assert_allclose(model.cv_loss_, [3 * 36 / 5, 3 * (6 - 0.5 * 12 / 3) ** 2 / 5])


def test_two_classes_follow_the_newton_recursion():
    """Against a plain implementation: residuals y - p, leaves sum(y - p) / (sum p (1 - p) + 1)."""
    X, y, X_target, few, X_new, _ = problem("classification", 0, 0.9, 80)
    model = OffsetBoosting(LogisticRegression(), random_state=0).fit(X, y, X_target, few)
    assert model.n_iter_ > 0
    start = PriorCentered(LogisticRegression(), float("inf"), random_state=0).fit(X, y, X_target, few)
    F, new = start.decision_function(X_target[:80]), start.decision_function(X_new)
    seen = np.column_stack([X_target[:80], F]), np.column_stack([X_new, new])
    known, fresh = (model.scaler_.transform(rows).astype(np.float32) for rows in seen)
    for tree in model.trees_:
        p, leaf, step = expit(F), tree.apply(known), {}
        for node in set(leaf):
            at = leaf == node
            step[node] = 0.2 * (few[:80] - p)[at].sum() / ((p * (1 - p))[at].sum() + 1)
        F = F + [step[node] for node in leaf]
        new = new + [step[node] for node in tree.apply(fresh)]
    np.testing.assert_allclose(model.decision_function(X_new), new)
    np.testing.assert_allclose(model.predict_proba(X_new)[:, 1], expit(new))


@pytest.mark.parametrize("task", MODELS)
def test_gain_on_a_local_change(task):
    """More than the source model, more than any linear correction of it."""
    gain, beyond = [], []
    for seed in range(4):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 1.0, 100)
        model = OffsetBoosting(MODELS[task], random_state=0).fit(X, y, X_target, few)
        gain.append(model.score(X_new, y_new) - clone(MODELS[task]).fit(X, y).score(X_new, y_new))
        linear = PriorCentered(MODELS[task], random_state=0).fit(X, y, X_target, few)
        beyond.append(model.score(X_new, y_new) - linear.score(X_new, y_new))
    assert np.mean(gain) > 0.05
    assert np.mean(beyond) > 0.02


@pytest.mark.parametrize("m", [5, 30, 100])
@pytest.mark.parametrize("task", MODELS)
def test_no_harm_without_shift(task, m):
    loss = []
    for seed in range(8):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 0.0, m)
        model = OffsetBoosting(MODELS[task], random_state=0).fit(X, y, X_target, few)
        loss.append(clone(MODELS[task]).fit(X, y).score(X_new, y_new) - model.score(X_new, y_new))
    assert np.mean(loss) < 0.01


def test_no_label_says_nothing_alone():
    X, y, X_target, few, X_new, _ = problem("regression", 1, 1.0, 1)
    model = OffsetBoosting(Ridge(), random_state=0).fit(X, y, X_target, few)
    assert model.n_iter_ == 0 and model.trees_ == []
    np.testing.assert_allclose(model.predict(X_new), Ridge().fit(X, y).predict(X_new))


@pytest.mark.parametrize("model", [RandomForestClassifier(20, random_state=0), SVC()], ids=["forest", "svc"])
def test_many_classes(model):
    """Digits whose labels 0 and 1 changed places; string labels come back as strings."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(X))
    a, b, c = np.split(order, [600, 1000])
    swapped = np.where(y < 2, 1 - y, y).astype(str)
    few = swapped[b].astype(object)
    few[200:] = None
    adapted = OffsetBoosting(model, random_state=0).fit(X[a], y[a].astype(str), X[b], few)
    assert adapted.score(X[c], swapped[c]) > clone(model).fit(X[a], y[a].astype(str)).score(X[c], swapped[c]) + 0.05
    assert set(adapted.predict(X[c])) <= set(adapted.classes_)
    if hasattr(adapted, "predict_proba"):
        np.testing.assert_allclose(adapted.predict_proba(X[c]).sum(axis=1), 1)


def test_a_frozen_model_is_not_refitted():
    X, y, X_target, few, X_new, y_new = problem("classification", 5, 1.0, 100)
    source = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:250], y[:250])
    before = source.predict_proba(X_new)
    adapted = OffsetBoosting(FrozenEstimator(source), random_state=0).fit(X[250:], y[250:], X_target, few)
    assert adapted.score(X_new, y_new) > source.score(X_new, y_new)
    np.testing.assert_array_equal(source.predict_proba(X_new), before)
    np.testing.assert_array_equal(adapted.predict_proba_source(X_new), before)


def test_frames_missing_values_and_sparse_features():
    X, y, X_target, few, *_ = problem("regression", 6, 1.0, 80)
    dense = OffsetBoosting(Ridge(), random_state=0).fit(X, y, X_target, few)
    frame, frame_target = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, X_target))
    framed = OffsetBoosting(Ridge(), random_state=0).fit(frame, y, frame_target, few)
    np.testing.assert_allclose(framed.predict(frame_target), dense.predict(X_target))
    light = OffsetBoosting(Ridge(), random_state=0).fit(sparse.csr_matrix(X), y, sparse.csr_matrix(X_target), few)
    np.testing.assert_allclose(light.predict(sparse.csr_matrix(X_target)), dense.predict(X_target), atol=0.5)
    X_target[::3, 0] = np.nan
    holes = OffsetBoosting(RandomForestClassifier(5, random_state=0), random_state=0)
    signs = np.where(np.isnan(few), None, few > 0)
    assert np.isfinite(holes.fit(X, y > 0, X_target, signs).predict(X_target)).all()


@pytest.mark.parametrize("task", MODELS)
def test_an_estimator_like_others(task):
    X, y, X_target, few, *_ = problem(task, 8, 1.0, 60)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    adapter = OffsetBoosting(make_pipeline(StandardScaler(), MODELS[task]), random_state=0)
    first = clone(adapter).fit(X, y, X_target, few)
    again = pickle.loads(pickle.dumps(clone(adapter).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict(X_target), again.predict(X_target))
    np.testing.assert_array_equal(first.fit(X, y, X_target, few).predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_bad_calls_are_explained():
    X, y, X_target, few, *_ = problem("classification", 9, 0.5, 30)
    with pytest.raises(InputError, match="target labels"):
        OffsetBoosting(LogisticRegression()).fit(X, y, X_target)
    options: list[dict[str, Any]] = [
        {"learning_rate": 0},
        {"max_iter": 0},
        {"max_depth": 1.5},
        {"min_samples_leaf": -1},
    ]
    for bad in options:
        with pytest.raises(InputError, match=next(iter(bad))):
            OffsetBoosting(LogisticRegression(), **bad).fit(X, y, X_target, few)


@pytest.mark.parametrize("way", [OffsetBoosting, TransferStack])
@pytest.mark.parametrize(("unit", "unit_of_x", "zero"), [(1e-9, 1, 0), (1e9, 1, 0), (1, 1e-9, 0), (1, 1, 1e6)])
def test_answers_do_not_depend_on_units(way, unit, unit_of_x, zero):
    X, y, X_target, few, X_new, _ = problem("regression", 1, 0.9, 60)
    expected = way(Ridge(1e-9), random_state=0).fit(X, y, X_target, few).predict(X_new)
    adapter = way(Ridge(1e-9 * unit_of_x**2), random_state=0)
    adapter.fit(X * unit_of_x, y * unit + zero, X_target * unit_of_x, few * unit + zero)
    np.testing.assert_allclose((adapter.predict(X_new * unit_of_x) - zero) / unit, expected, rtol=1e-4, atol=1e-4)
