from __future__ import annotations

import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from da_toolkit._target import Target
from da_toolkit.alignment import (
    CORAL,
    GFK,
    JDA,
    TCA,
    FeatureAlignment,
    LinearOT,
    LocationScale,
    OptimalTransport,
    SubspaceAlignment,
)
from shift_detectors._errors import InputError

ALIGNERS = [CORAL(), LinearOT()]
PUBLISHED = [CORAL(shrinkage=0.0), LinearOT(shrinkage=0.0)]


def correlated(n, d, rng):
    """Skewed, correlated rows."""
    mix = np.eye(d) + 0.5 * rng.normal(size=(d, d)) / np.sqrt(d)
    return rng.exponential(size=(n, d)) @ mix


def moved(n, rng, d=4):
    """A linear problem on the source; the target went through a positive definite affine map."""
    X, X_target = correlated(2 * n, d, rng).reshape(2, n, d)
    beta = np.array([1.0, -1.0, 2.0, 0.0])
    cut = np.median(X @ beta)
    root = rng.normal(size=(d, d))
    A, shift = np.eye(d) + root @ root.T / d, 3 * rng.normal(size=d)
    return X, X @ beta > cut, X_target @ A + shift, X_target @ beta > cut


# --- the aligners -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligner", ALIGNERS + PUBLISHED, ids=repr)
@pytest.mark.parametrize("shape", [(50, 3), (30, 100)])
def test_identical_samples_are_not_moved(aligner, shape):
    X = correlated(*shape, np.random.default_rng(0))
    np.testing.assert_allclose(clone(aligner).fit(X, X).transform_source(X), X, atol=1e-6)


@pytest.mark.parametrize("aligner", PUBLISHED, ids=repr)
def test_published_formula_matches_mean_and_covariance(aligner):
    rng = np.random.default_rng(1)
    X, X_target = correlated(200, 5, rng), correlated(300, 5, rng) * 3 + 1
    out = clone(aligner).fit(X, X_target).transform_source(X)
    np.testing.assert_allclose(out.mean(axis=0), X_target.mean(axis=0))
    np.testing.assert_allclose(np.cov(out.T, bias=True), np.cov(X_target.T, bias=True), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("standardize", [True, False])
def test_map_is_the_formula(standardize):
    rng = np.random.default_rng(2)
    X, X_target = correlated(80, 3, rng), correlated(90, 3, rng) * 2
    unit = np.sqrt((X.var(axis=0) + X_target.var(axis=0)) / 2) if standardize else np.ones(3)
    S, T = np.cov((X / unit).T, bias=True), np.cov((X_target / unit).T, bias=True)

    def root(matrix, exponent=0.5):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**exponent) @ vectors.T

    coral = root(S, -0.5) @ root(T)
    monge = root(S, -0.5) @ root(root(S) @ T @ root(S)) @ root(S, -0.5)
    for method, matrix in ((CORAL, coral), (LinearOT, monge)):
        aligner = method(shrinkage=0.0, standardize=standardize).fit(X, X_target)
        expected = X_target.mean(axis=0) + ((X - X.mean(axis=0)) / unit) @ matrix * unit
        np.testing.assert_allclose(aligner.transform_source(X), expected, atol=1e-4)


def test_linear_ot_recovers_a_positive_definite_map_of_skewed_rows():
    rng = np.random.default_rng(3)
    X = correlated(500, 4, rng)
    root = rng.normal(size=(4, 4))
    A, shift = root @ root.T + np.eye(4), rng.normal(size=4)
    aligner = LinearOT(shrinkage=0.0, standardize=False).fit(X, X @ A + shift)
    new = rng.normal(size=(10, 4))
    np.testing.assert_allclose(aligner.transform_source(new), new @ A + shift, rtol=1e-3, atol=1e-3)
    # independent samples, estimated shrinkage: the larger, the closer
    errors = []
    for n in (200, 20000):
        X, X_target = correlated(2 * n, 4, np.random.default_rng(4)).reshape(2, n, 4)
        aligner = LinearOT(standardize=False).fit(X, X_target @ A + shift)
        errors.append(np.abs(aligner.transform_source(new) - new @ A - shift).mean())
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("method", [CORAL, LinearOT])
def test_shrinkage_removes_the_noise_of_equal_domains(method):
    """Two samples of one distribution: rows move by a fraction of what the raw estimates move them."""
    rng = np.random.default_rng(5)
    ratios, weights = [], []
    for _ in range(10):
        X, X_target = rng.normal(size=(2, 100, 20))
        auto, raw = method().fit(X, X_target), method(shrinkage=0.0).fit(X, X_target)
        ratios.append(np.std(auto.transform_source(X) - X) / np.std(raw.transform_source(X) - X))
        weights.append(auto.shrinkage_)
    assert np.mean(ratios) < 0.25
    assert np.mean(weights) > 0.9


@pytest.mark.parametrize("method", [CORAL, LinearOT])
def test_shrinkage_vanishes_where_domains_differ(method):
    rng = np.random.default_rng(6)
    weights = [method().fit(rng.normal(size=(n, 5)), 3 * rng.normal(size=(n, 5)) + 1).shrinkage_ for n in (100, 10000)]
    assert weights[1] < 0.01 and weights[1] < weights[0]


@pytest.mark.parametrize("method", [CORAL, LinearOT])
def test_weights_are_repetitions(method):
    rng = np.random.default_rng(7)
    X, X_target = correlated(60, 3, rng), correlated(50, 3, rng) + 2
    times, times_target = rng.integers(0, 4, size=60), rng.integers(0, 4, size=50)
    weighted = method(shrinkage=0.1).fit(X, X_target, source_weight=5.0 * times, target_weight=times_target)
    repeated = method(shrinkage=0.1).fit(np.repeat(X, times, axis=0), np.repeat(X_target, times_target, axis=0))
    np.testing.assert_allclose(weighted.transform_source(X), repeated.transform_source(X))


@pytest.mark.parametrize("method", [CORAL, LinearOT])
def test_class_weights_undo_label_shift(method):
    """Where only class frequencies differ, weighting the source by them leaves nothing to align."""
    rng = np.random.default_rng(8)
    y, y_target = rng.random(4000) < 0.5, rng.random(4000) < 0.9
    X, X_target = (rng.normal(size=(4000, 2)) + 3 * labels[:, None] for labels in (y, y_target))
    plain = method().fit(X, X_target).transform_source(X)
    weighted = method().fit(X, X_target, source_weight=np.where(y, 0.9, 0.1)).transform_source(X)
    assert np.abs(weighted - X).mean() < 0.1 < 0.5 < np.abs(plain - X).mean()


@pytest.mark.parametrize("aligner", ALIGNERS + PUBLISHED, ids=repr)
def test_degenerate_columns(aligner):
    rng = np.random.default_rng(9)
    X, X_target = rng.normal(size=(60, 3)), 2 * rng.normal(size=(60, 3)) + 1

    def widen(Z, constant):
        one = np.ones(len(Z))
        return np.column_stack([Z, Z[:, 0] + Z[:, 1], 7 * one, constant * one])

    X, X_target = widen(X, 0.1), widen(X_target, 1e6)
    aligner = clone(aligner).fit(X, X_target)
    out = aligner.transform_source(X)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[:, 3], out[:, 0] + out[:, 1], atol=1e-6)  # collinear stays collinear
    np.testing.assert_allclose(out[:, 4], 7)
    np.testing.assert_allclose(out[:, 5], 1e6)  # a constant goes to the target's constant
    X[:, 4] = rng.normal(size=60)  # constant in the target alone
    assert np.isfinite(aligner.fit(X, X_target).transform_source(X)).all()
    assert np.isfinite(aligner.fit(X_target, X).transform_source(X)).all()


@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_more_columns_than_rows(aligner):
    rng = np.random.default_rng(10)
    loading = rng.normal(size=(2, 300))
    X = rng.normal(size=(40, 2)) @ loading + 0.01 * rng.normal(size=(40, 300))
    X_target = 5 * rng.normal(size=(40, 2)) @ loading + 0.01 * rng.normal(size=(40, 300)) + 2
    out = clone(aligner).fit(X, X_target).transform_source(X)
    assert abs(np.log(out.std() / X_target.std())) < 0.5 < np.log(X_target.std() / X.std())
    assert abs(out.mean() - X_target.mean()) < 0.5


def test_units_of_columns_do_not_matter():
    rng = np.random.default_rng(11)
    X, X_target = correlated(200, 3, rng), correlated(200, 3, rng) * 2 + 1
    unit = np.array([1e-6, 1.0, 1e6])
    plain = LinearOT(standardize=True).fit(X, X_target).transform_source(X)
    scaled = LinearOT().fit(X * unit, X_target * unit).transform_source(X * unit) / unit
    np.testing.assert_allclose(scaled, plain, atol=1e-8)


def test_coral_without_mean():
    rng = np.random.default_rng(12)
    X, X_target = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) * 4 + 9
    out = CORAL(align_mean=False).fit(X, X_target).transform_source(X)
    np.testing.assert_allclose(out.mean(axis=0), X.mean(axis=0))
    assert out.std() > 3


@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
def test_aligner_is_an_object_like_others(aligner):
    rng = np.random.default_rng(13)
    X, X_target = rng.normal(size=(50, 2)), rng.normal(size=(60, 2)) * 2
    before = X.copy(), X_target.copy()
    fitted = clone(aligner).fit(pd.DataFrame(X), X_target)
    again = pickle.loads(pickle.dumps(fitted))
    new = rng.normal(size=(3, 2))
    np.testing.assert_array_equal(again.transform_source(new), fitted.transform_source(new))
    np.testing.assert_array_equal(fitted.transform_target(new), new)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(X_target, before[1])


@pytest.mark.parametrize(
    ("X", "X_target", "arguments", "message"),
    [
        (np.ones((3, 2)), np.ones((3, 3)), {}, "3 columns"),
        (np.array([[1.0, np.nan]] * 3), np.ones((3, 2)), {}, "Impute"),
        (np.ones((3, 2)), np.array([[1.0, np.inf]] * 3), {}, "infinite"),
        (sparse.csr_matrix(np.ones((3, 2))), np.ones((3, 2)), {}, "TruncatedSVD"),
        (np.array([["a", "b"]] * 3), np.ones((3, 2)), {}, "Encode"),
        (np.ones(3), np.ones((3, 2)), {}, "reshape"),
        (np.ones((1, 2)), np.ones((3, 2)), {}, "2 rows"),
        (np.ones((3, 2)), np.ones((3, 2)), {"source_weight": [1, 1]}, "source_weight"),
        (np.ones((3, 2)), np.ones((3, 2)), {"source_weight": [1, -1, 1]}, "source_weight"),
    ],
)
def test_bad_input_is_explained(X, X_target, arguments, message):
    with pytest.raises(InputError, match=message):
        LinearOT().fit(X, X_target, **arguments)


@pytest.mark.parametrize(
    "aligner",
    [
        CORAL(),
        LinearOT(),
        OptimalTransport("exact"),
        SubspaceAlignment(1),
        GFK(1),
        TCA(1),
        JDA(1),
        LocationScale(random_state=0),
    ],
    ids=lambda aligner: type(aligner).__name__,
)
def test_columns_of_frames_go_by_name(aligner):
    rng = np.random.default_rng(0)
    X, X_target = (pd.DataFrame(rng.normal(size=(40, 2)), columns=["age", "dose"]) for _ in range(2))
    y, turned = np.arange(40) % 2, X_target[["dose", "age"]]
    with pytest.raises(InputError, match=r"another order.*X_target\[list\(X_source.columns\)\]"):
        aligner.fit(X, turned, y_source=y)
    with pytest.raises(InputError, match="lacks the columns"):
        aligner.fit(X, X_target.rename(columns={"age": "years"}), y_source=y)
    fitted = clone(aligner).fit(X, Target(X_target), y_source=y)
    plain = clone(aligner).fit(X.to_numpy(), X_target.to_numpy(), y_source=y)
    for transform in ("transform_source", "transform_target"):
        with pytest.raises(InputError, match=r"another order.*X\[\['age', 'dose'\]\]"):
            getattr(fitted, transform)(turned)
        np.testing.assert_array_equal(
            getattr(fitted, transform)(X_target), getattr(plain, transform)(X_target.to_numpy())
        )


def test_bad_options_are_explained():
    X = np.random.default_rng(0).normal(size=(5, 2))
    for aligner in (CORAL(shrinkage=2), CORAL(shrinkage="lw"), LinearOT(standardize="yes")):
        with pytest.raises(InputError, match="accepted"):
            aligner.fit(X, X)
    with pytest.raises(InputError, match="2 columns"):
        LinearOT().fit(X, X).transform_source(X[:, :1])
    with pytest.raises(ValueError, match="not fitted"):
        LinearOT().transform_source(X)


def test_cost_is_that_of_a_few_covariances():
    X, X_target = np.random.default_rng(14).normal(size=(2, 50000, 30))

    def seconds(work):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    fit = min(seconds(lambda: LinearOT().fit(X, X_target)) for _ in range(3))
    covariance = min(seconds(lambda: (np.cov(X.T), np.cov(X_target.T))) for _ in range(3))
    assert fit < 10 * covariance


# --- the estimator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligner", [None, *ALIGNERS], ids=repr)
@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_a_moved_target_is_recovered(aligner, direction):
    X, y, X_target, y_target = moved(1000, np.random.default_rng(15))
    source_only = LogisticRegression(max_iter=1000).fit(X, y)
    adapted = FeatureAlignment(LogisticRegression(max_iter=1000), aligner, direction=direction).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > 0.93
    assert source_only.score(X_target, y_target) < 0.8
    assert (adapted.predict_source(X) == y).mean() > 0.93
    assert adapted.predict_proba(X_target).shape == (1000, 2)


def test_regression():
    rng = np.random.default_rng(16)
    X, X_target = correlated(2000, 3, rng).reshape(2, 1000, 3)
    y, y_target = X.sum(axis=1), X_target.sum(axis=1)
    X_target = X_target * 2 + 5
    adapted = FeatureAlignment(LinearRegression()).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > 0.95 > 0 > LinearRegression().fit(X, y).score(X_target, y_target)


def test_no_harm_where_nothing_moved():
    """Fresh samples of one distribution: accuracy within a point of the source-only model."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    changes = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        a, b, c = np.split(order, [300, 600])
        source_only = LogisticRegression(max_iter=2000).fit(X[a], y[a]).score(X[c], y[c])
        for aligner in ALIGNERS:
            adapted = FeatureAlignment(LogisticRegression(max_iter=2000), aligner).fit(X[a], y[a], X[b])
            changes.append(adapted.score(X[c], y[c]) - source_only)
    assert np.mean(changes) > -0.01


def test_alignment_happens_in_front_of_the_last_step():
    X, y, X_target, _ = moved(200, np.random.default_rng(17))
    scaler = StandardScaler().fit(X)
    whole = FeatureAlignment(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y, X_target)
    by_hand = FeatureAlignment(LogisticRegression()).fit(scaler.transform(X), y, scaler.transform(X_target))
    np.testing.assert_array_equal(whole.predict_proba(X_target), by_hand.predict_proba(scaler.transform(X_target)))
    at_input = FeatureAlignment(make_pipeline(StandardScaler(), LogisticRegression()), at="input")
    raw = LinearOT().fit(X, X_target).transform_source(X)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(raw, y)
    np.testing.assert_allclose(at_input.fit(X, y, X_target).predict_proba(X_target), model.predict_proba(X_target))


def kinds(X):
    """The numeric column alone."""
    return np.asarray(X["a"], float)[:, None]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_keep_their_type_and_other_columns(frame):
    rng = np.random.default_rng(18)
    a, a_target = rng.normal(size=200), rng.normal(size=200) * 3 + 5
    text = np.where(rng.random(200) < 0.5, "u", "v")
    X, X_target = frame({"a": a, "text": text}), frame({"a": a_target, "text": text})
    model = make_pipeline(FunctionTransformer(kinds), LogisticRegression())
    adapted = FeatureAlignment(model, at="input").fit(X, a > 0, X_target, np.where(a_target > 10, True, None))
    assert adapted.score(X_target, a_target > 5) > 0.9
    middle = adapted._map(X, "source")
    assert isinstance(middle, frame) and list(middle.columns) == ["a", "text"]
    assert list(middle["text"]) == list(text)
    assert np.array_equal(np.asarray(X["a"]), a)


def test_labelled_target_rows_join_the_fit():
    """Classes that sit on the other side in the target: labels turn the model around."""
    X, y, X_target, y_target = moved(300, np.random.default_rng(19))
    y_target = ~y_target
    known = np.where(np.arange(300) < 250, y_target, None)
    without = FeatureAlignment(HistGradientBoostingClassifier(max_iter=20)).fit(X, y, X_target)
    with_labels = FeatureAlignment(HistGradientBoostingClassifier(max_iter=20)).fit(X, y, X_target, known)
    assert with_labels.score(X_target, y_target) > without.score(X_target, y_target) + 0.2
    # labelled target rows weigh as much as the average source row
    weight = np.full(300, 2.0)
    weighted = FeatureAlignment(LogisticRegression(C=0.5)).fit(X, y, X_target, known, sample_weight=weight)
    plain = FeatureAlignment(LogisticRegression(C=1.0)).fit(X, y, X_target, known)
    np.testing.assert_allclose(weighted.predict_proba(X_target), plain.predict_proba(X_target), atol=1e-3)


def test_frozen_model_is_served_mapped_rows():
    X, y, X_target, y_target = moved(500, np.random.default_rng(20))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    before = model.predict_proba(X)
    adapted = FeatureAlignment(FrozenEstimator(model), direction="target_to_source").fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > 0.93
    np.testing.assert_array_equal(adapted.predict_proba_source(X), before)
    with pytest.raises(InputError, match="target_to_source"):
        FeatureAlignment(FrozenEstimator(model)).fit(X, y, X_target)


def test_clone_pickle_and_grid_search_over_the_aligner():
    X, y, X_target, y_target = moved(100, np.random.default_rng(21))
    adapter = FeatureAlignment(LogisticRegression(), LinearOT())
    assert clone(adapter).get_params()["aligner__shrinkage"] == "auto"
    fitted = adapter.fit(X, y, X_target)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X_target), fitted.predict(X_target))
    assert not hasattr(adapter.aligner, "mean_source_")  # the parameter itself stays unfitted

    def target_score(estimator, X, y):
        return estimator.score(X_target, y_target)

    grid = {"aligner": [CORAL(), LinearOT()], "aligner__shrinkage": [0.0, 1.0]}
    search = GridSearchCV(adapter, grid, scoring=target_score, cv=3).fit(X, y, X_target=Target(X_target))
    assert search.best_params_["aligner__shrinkage"] == 0.0


def test_bad_calls_of_the_estimator_are_explained():
    X, y, X_target, _ = moved(50, np.random.default_rng(22))
    with pytest.raises(InputError, match="X_target"):
        FeatureAlignment(LogisticRegression()).fit(X, y)
    with pytest.raises(InputError, match="direction"):
        FeatureAlignment(LogisticRegression(), direction="both").fit(X, y, X_target)
    X_target[0, 0] = np.nan
    with pytest.raises(InputError, match="Impute"):
        FeatureAlignment(LogisticRegression()).fit(X, y, X_target)
