from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit.transfer._feature_augmentation import FeatureAugmentation
from shift_detectors._errors import InputError

MODELS = {"regression": Ridge(), "classification": LogisticRegression()}


def problem(task, seed, change, m, n=300):
    """Two of five effects and the level change in the target; m target labels."""
    rng = np.random.default_rng(seed)
    beta = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    turned = beta + change * np.array([0.0, 0.0, -2.0, 1.0, 0.0])

    def draw(rows, coef, level):
        X = rng.normal(size=(rows, 5))
        f = X @ coef + level
        if task == "regression":
            return X, f + 0.5 * rng.normal(size=rows)
        return X, (rng.random(rows) < 1 / (1 + np.exp(-2 * f))).astype(float)

    X, y = draw(n, beta, 0.0)
    X_target, y_target = draw(500, turned, change)
    few = y_target.copy()
    few[m:] = np.nan
    return X, y, X_target, few, *draw(2000, turned, change)


@pytest.mark.parametrize("c", [1.0, 0.5])
def test_it_is_ridge_with_a_shared_and_two_own_coefficients(c):
    """Minimises the squared error plus |w|^2 + |u|^2 + |v|^2, solved here by the normal equations."""
    X, y, X_target, few, X_new, _ = problem("regression", 0, 1.0, 20)
    model = FeatureAugmentation(Ridge(alpha=2.0, fit_intercept=False), own_scale=c).fit(X, y, X_target, few)
    one, ones = np.ones((300, 1)), np.ones((20, 1))
    source = np.hstack([X, c * X, c * one, np.zeros((300, 6))])
    target = np.hstack([X_target[:20], np.zeros((20, 6)), c * X_target[:20], c * ones])
    rows, labels = np.vstack([source, target]), np.concatenate([y, few[:20]])
    coef = np.linalg.solve(rows.T @ rows + 2.0 * np.eye(17), rows.T @ labels)
    np.testing.assert_allclose(model.predict(X_new), X_new @ (coef[:5] + c * coef[11:16]) + c * coef[16])
    np.testing.assert_allclose(model.predict_source(X), X @ (coef[:5] + c * coef[5:10]) + c * coef[10])


def test_without_news_the_target_keeps_the_part_of_the_source_that_is_shared():
    """One label, at the mean of both domains: 1 / (1 + c^2) of the source's effect."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    X -= X.mean()
    few = np.where(np.arange(2000) < 1, 0.0, np.nan)
    for c in (1.0, 0.5, 0.1):
        model = FeatureAugmentation(Ridge(), own_scale=c).fit(X, 2 * X[:, 0], X - X[0], few)
        slope = np.diff(model.predict(np.array([[0.0], [1.0]])))
        assert slope == pytest.approx(2 / (1 + c**2), rel=0.01)


@pytest.mark.parametrize("task", MODELS)
def test_gain_over_both_sides_alone(task):
    """When most effects are shared: above the source model and above the labels alone."""
    gain = []
    for seed in range(10):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 0.5, 15)
        model = FeatureAugmentation(MODELS[task]).fit(X, y, X_target, few)
        sides = [clone(MODELS[task]).fit(X, y), clone(MODELS[task]).fit(X_target[:15], few[:15])]
        gain.append([model.score(X_new, y_new) - side.score(X_new, y_new) for side in sides])
    assert (np.mean(gain, axis=0) > 0.01).all()


@pytest.mark.parametrize("task", MODELS)
def test_little_is_lost_without_shift(task):
    loss = []
    for seed in range(8):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 0.0, 50)
        model = FeatureAugmentation(MODELS[task]).fit(X, y, X_target, few)
        loss.append(clone(MODELS[task]).fit(X, y).score(X_new, y_new) - model.score(X_new, y_new))
    assert np.mean(loss) < 0.02


def test_frames_and_sparse_rows():
    X, y, X_target, few, *_ = problem("regression", 1, 1.0, 20)
    dense = FeatureAugmentation(Ridge()).fit(X, y, X_target, few).predict(X_target)
    frame, frame_target = (pd.DataFrame(rows, columns=list("abcde")) for rows in (X, X_target))
    model = FeatureAugmentation(Ridge()).fit(frame, y, frame_target, few)
    np.testing.assert_allclose(model.predict(frame_target), dense)
    assert list(model._map(frame, "source").columns)[4:7] == ["e", "a | source", "b | source"]
    frame, frame_target = pd.DataFrame(X), pd.DataFrame(X_target)  # columns 0, 1, ...
    model = FeatureAugmentation(Ridge()).fit(frame, y, frame_target, few)
    np.testing.assert_allclose(model.predict(frame_target), dense)
    assert list(frame.columns) == [0, 1, 2, 3, 4]
    light = FeatureAugmentation(Ridge(solver="lsqr", tol=1e-10))
    light.fit(sparse.csr_matrix(X), y, sparse.csr_matrix(X_target), few)
    np.testing.assert_allclose(light.predict(sparse.csr_matrix(X_target)), dense, atol=1e-4)


@pytest.mark.parametrize("task", MODELS)
def test_an_estimator_like_others(task):
    X, y, X_target, few, *_ = problem(task, 2, 1.0, 30)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    adapter = FeatureAugmentation(make_pipeline(StandardScaler(), MODELS[task]))
    first = clone(adapter).fit(X, y, X_target, few)
    again = pickle.loads(pickle.dumps(clone(adapter).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_weights_of_source_rows_are_kept():
    X, y, X_target, few, X_new, _ = problem("regression", 3, 1.0, 30)
    weight = np.where(np.arange(300) < 150, 1.0, 0.0)
    weighted = FeatureAugmentation(Ridge()).fit(X, y, X_target, few, sample_weight=weight)
    half = FeatureAugmentation(Ridge()).fit(X[:150], y[:150], X_target, few)
    np.testing.assert_allclose(weighted.predict(X_new), half.predict(X_new))


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_unit_of_weights_does_not_move_the_target_labels(unit):
    X, y, X_target, few, X_new, _ = problem("regression", 3, 1.0, 30)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    expected = FeatureAugmentation(Ridge()).fit(X, y, X_target, few, sample_weight=weight).predict(X_new)
    got = FeatureAugmentation(Ridge()).fit(X, y, X_target, few, sample_weight=unit * weight).predict(X_new)
    np.testing.assert_allclose(got, expected)


def test_bad_calls_are_explained():
    X, y, X_target, few, *_ = problem("regression", 4, 1.0, 30)
    with pytest.raises(InputError, match="target labels"):
        FeatureAugmentation(Ridge()).fit(X, y, X_target)
    with pytest.raises(InputError, match="FrozenEstimator"):
        FeatureAugmentation(FrozenEstimator(Ridge().fit(X, y))).fit(X, y, X_target, few)
    with pytest.raises(InputError, match="own_scale"):
        FeatureAugmentation(Ridge(), own_scale=0.0).fit(X, y, X_target, few)
    with pytest.raises(InputError, match="no numeric column"):
        texts = pd.DataFrame({"a": ["u"] * 300})
        FeatureAugmentation(Ridge()).fit(texts, y, texts.iloc[:9], y[:9])
