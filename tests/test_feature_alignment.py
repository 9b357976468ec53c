"""FeatureAlignment as a whole: class frequencies, sparse rows, several sources, new columns."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from da_toolkit.datasets import make_conditional_shift, make_label_shift, make_no_shift
from scipy import sparse
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from da_toolkit.alignment import CORAL, JDA, TCA, FeatureAlignment, LinearOT, LocationScale
from da_toolkit.alignment._base import BaseAligner
from da_toolkit.alignment._mass import (
    Rows,
    choose_prior,
    measure_parts,
    minimise_on_simplex,
    source_similarity,
)
from da_toolkit.alignment._pseudo_labels import class_probabilities
from da_toolkit.label_shift import MLLS, PriorCorrection
from shift_detectors._errors import InputError, ShiftWarning

ALIGNERS = [CORAL(), LinearOT()]


def logistic():
    return LogisticRegression(max_iter=1000)


def two_classes(n, share, rng, move=0.0, d=4):
    """Gaussian classes 2.5 apart; `share` of the rows are of class 1."""
    y = (rng.random(n) < share).astype(int)
    X = rng.normal(size=(n, d))
    X[:, 0] += 2.5 * y
    return X + move, y


# --- the nearest mixture ------------------------------------------------------------------------------------


def test_energy_is_its_formula():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) * [1, 2, 5] + 1
    part, mass = rng.integers(0, 3, 60), rng.random(60)
    mass[:5] = 0.0
    parts = measure_parts(X, part, X_target, mass, np.random.RandomState(0))
    seen = mass > 0
    unit = np.vstack([X[seen], X_target]).std(axis=0)

    def mean(A, B, a, b, same):
        pairs = np.outer(a, b)
        if same:
            np.fill_diagonal(pairs, 0)
        return (pairs * cdist(A / unit, B / unit)).sum() / pairs.sum()

    q = np.array([0.2, 0.5, 0.3])
    expected = -mean(X_target, X_target, np.ones(50), np.ones(50), True)
    for j in range(3):
        a = part == j
        expected += 2 * q[j] * mean(X[a], X_target, mass[a], np.ones(50), False)
        for k in range(3):
            b = part == k
            expected -= q[j] * q[k] * mean(X[a], X[b], mass[a], mass[b], j == k)
    assert parts.energy(q) == pytest.approx(expected)
    np.testing.assert_allclose(parts.share, np.bincount(part, weights=mass) / mass.sum())


def test_energy_is_unbiased_and_its_noise_known():
    """Where the mixture is the target: mean zero, standard deviation as stated."""
    rng = np.random.default_rng(1)
    part, q = np.repeat([0, 1], [30, 60]), np.array([0.2, 0.8])
    found = []
    for _ in range(300):
        X = rng.normal(size=(90, 4)) + 2.0 * part[:, None]
        X_target = rng.normal(size=(80, 4)) + 2.0 * (rng.random(80) < 0.8)[:, None]
        parts = measure_parts(X, part, X_target, np.ones(90), rng_state())
        found.append([parts.energy(q), parts.noise(q)])
    energy, noise = np.transpose(found)
    assert abs(energy.mean()) < 4 * energy.std() / np.sqrt(300)
    assert 0.75 < energy.std() / noise.mean() < 1.25


def rng_state():
    return np.random.RandomState(0)


@pytest.mark.parametrize("k", [2, 3, 8])
def test_simplex_minimum_is_that_of_a_general_solver(k):
    rng = np.random.default_rng(2)
    for _ in range(5):
        root, g = rng.normal(size=(k, k)), rng.normal(size=k)
        H = root @ root.T
        q = minimise_on_simplex(H, g)
        assert q.min() >= 0 and q.sum() == pytest.approx(1)

        def value(q, H=H, g=g):
            return q @ H @ q / 2 - g @ q

        general = minimize(
            value,
            np.full(k, 1 / k),
            bounds=[(0, 1)] * k,
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
            options={"ftol": 1e-12},
        )
        assert value(q) <= general.fun + 1e-5


def test_nearest_mixture_recovers_the_shares():
    rng = np.random.default_rng(3)
    part, other = rng.integers(0, 3, 900), rng.choice(3, 900, p=[0.7, 0.1, 0.2])
    centre = np.array([[0, 0], [3, 0], [0, 3]])
    X, X_target = centre[part] + rng.normal(size=(900, 2)), centre[other] + rng.normal(size=(900, 2))
    found = measure_parts(X, part, X_target, np.ones(900), rng_state()).nearest()
    np.testing.assert_allclose(found, np.bincount(other) / 900, atol=0.04)


def test_many_rows_are_sampled_and_constant_columns_do_not_matter():
    rng = np.random.default_rng(4)
    X, X_target = rng.normal(size=(5000, 2)), rng.normal(size=(3000, 2))
    part = (np.arange(5000) < 5).astype(int)  # a part of five rows is not lost
    parts = measure_parts(X, part, X_target, np.ones(5000), rng_state())
    assert np.isfinite(parts.distance).all() and parts.share[1] == 0.001
    constant = [np.column_stack([A, np.full(len(A), 7.0)]) for A in (X, X_target)]
    wider = measure_parts(constant[0], part, constant[1], np.ones(5000), rng_state())
    np.testing.assert_allclose(wider.distance, parts.distance)
    moved = np.column_stack([X_target, np.full(3000, 8.0)])  # constant in both, but at another value
    assert measure_parts(constant[0], part, moved, np.ones(5000), rng_state()).energy(parts.share) > 0.1


# --- class frequencies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligner", ALIGNERS, ids=repr)
@pytest.mark.parametrize(
    "settings",
    [
        {"target_prior": [0.95, 0.05]},
        {"n_classes": 4, "strength": 1.5},
        {"n_features": 40},
    ],
    ids=repr,
)
def test_label_shift_does_not_mix_the_classes(aligner, settings):
    """As good as the correction of the prior, where plain alignment falls below the unadapted model."""
    pair = make_label_shift(1000, 1000, random_state=0, **settings)
    source_only = logistic().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    corrected = PriorCorrection(logistic(), random_state=0).fit(*pair.seen).score(pair.X_target, pair.y_target)
    plain = FeatureAlignment(logistic(), aligner, class_prior=None).fit(*pair.seen)
    adapted = FeatureAlignment(logistic(), aligner, random_state=0).fit(*pair.seen)
    assert adapted.explained_by_prior_ > 0.85
    assert adapted.score(pair.X_target, pair.y_target) > max(source_only, corrected - 0.02)
    assert plain.score(pair.X_target, pair.y_target) < source_only - 0.01
    assert np.abs(adapted.class_prior_ - pair.true_prior).sum() < 0.15


@pytest.mark.parametrize("model", [SVC(), logistic(), KNeighborsClassifier(25)], ids=repr)
@pytest.mark.filterwarnings("ignore:KNeighborsClassifier")
def test_any_classifier_will_do(model):
    rng = np.random.default_rng(5)
    X, y = two_classes(500, 0.5, rng)
    X_target, y_target = two_classes(500, 0.9, rng)
    adapted = FeatureAlignment(model, random_state=0).fit(X, y, X_target)
    assert abs(adapted.class_prior_[1] - 0.9) < 0.05
    assert adapted.score(X_target, y_target) > clone(model).fit(X, y).score(X_target, y_target)


@pytest.mark.parametrize("k", [3, 4])  # of four classes there are six pairs
def test_probabilities_are_not_made_of_decision_values_of_pairs(k):
    rng = np.random.default_rng(6)
    y = rng.integers(k, size=200)
    X = 3 * np.eye(k)[y] + rng.normal(size=(200, k))
    proba = class_probabilities(SVC(decision_function_shape="ovo").fit(X, y), X, np.arange(k))
    np.testing.assert_array_equal(proba.argmax(axis=1), SVC().fit(X, y).predict(X))
    assert proba.max() == 1 and class_probabilities(SVC().fit(X, y), X, np.arange(k)).max() < 1


@pytest.mark.filterwarnings("error:LogisticRegression")
def test_model_without_weights_is_resampled_and_says_so():
    rng = np.random.default_rng(5)
    X, y = two_classes(500, 0.5, rng)
    X_target, _ = two_classes(500, 0.9, rng)
    with pytest.warns(ShiftWarning, match="resampled") as caught:
        FeatureAlignment(KNeighborsClassifier(), random_state=0).fit(X, y, X_target)
    assert len([w for w in caught if "resampled" in str(w.message)]) == 1


def blurred_digits(n=500):
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(6).permutation(len(X))
    images = np.pad(X.reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1)), mode="edge")
    blurred = np.mean([images[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)], axis=0)
    a, b = order[:n], order[n : 2 * n]
    return X[a] / 16, y[a], (0.7 * blurred[b] + 0.2).reshape(n, 64), y[b]


@pytest.mark.parametrize("case", ["affine", "wide", "digits"])
def test_a_conditional_shift_is_aligned_as_before(case):
    if case == "digits":
        X, y, X_target, y_target = blurred_digits()
    else:
        pair = make_conditional_shift(n_features=10 if case == "affine" else 40, random_state=0)
        X, y, X_target, y_target = *pair.seen[:3], pair.y_target
    adapted = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target)
    plain = FeatureAlignment(logistic(), class_prior=None).fit(X, y, X_target)
    np.testing.assert_array_equal(adapted.predict_proba(X_target), plain.predict_proba(X_target))
    assert adapted.explained_by_prior_ < 0.85 and adapted.source_mass_ is None
    assert adapted.score(X_target, y_target) > logistic().fit(X, y).score(X_target, y_target)


def test_a_movement_from_class_to_class_is_told_from_label_shift():
    """Two overlapping classes moved along their difference: frequencies explain 90 %, a movement all of it."""
    believed = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = two_classes(600, 0.5, rng)
        X_target, _ = two_classes(600, 0.5, rng, move=[0.8, 0, 0, 0])
        adapted = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target)
        believed.append(adapted.source_mass_ is not None)
    assert np.mean(believed) < 0.2


def test_nothing_is_lost_without_a_shift():
    changes = []
    for seed in range(6):
        pair = make_no_shift(400, 2000, random_state=seed)
        source_only = logistic().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
        adapted = FeatureAlignment(logistic(), random_state=0).fit(*pair.seen)
        changes.append(adapted.score(pair.X_target, pair.y_target) - source_only)
    assert np.mean(changes) > -0.01


def test_a_known_prior_is_the_mass_of_the_rows():
    rng = np.random.default_rng(7)
    X, y = two_classes(200, 0.5, rng)
    X_target, _ = two_classes(200, 0.8, rng)
    weight = rng.random(200)
    adapted = FeatureAlignment(logistic(), class_prior=[0.2, 0.8]).fit(X, y, X_target, sample_weight=weight)
    p = np.bincount(y, weights=weight) / weight.sum()
    mass = weight * (np.array([0.2, 0.8]) / p)[y]
    np.testing.assert_allclose(adapted.source_mass_, mass)
    aligner = LinearOT().fit(X, X_target, source_weight=mass)
    head = logistic().fit(aligner.transform_source(X), y, sample_weight=mass)
    np.testing.assert_allclose(adapted.predict_proba(X_target), head.predict_proba(X_target))
    for prior in ({0: 0.2, 1: 0.8}, pd.Series({1: 0.8, 0: 0.2})):
        same = FeatureAlignment(logistic(), class_prior=prior).fit(X, y, X_target, sample_weight=weight)
        np.testing.assert_array_equal(same.predict_proba(X_target), adapted.predict_proba(X_target))
    assert np.isnan(adapted.explained_by_prior_)


def test_an_estimator_of_the_prior_is_not_questioned():
    pair = make_conditional_shift(500, 500, random_state=0)
    asked = FeatureAlignment(logistic(), class_prior=MLLS(), random_state=0).fit(*pair.seen)
    assert asked.source_mass_ is not None and np.isnan(asked.explained_by_prior_)
    assert np.bincount(pair.y_source, weights=asked.source_mass_) / 500 == pytest.approx(asked.class_prior_)


def test_known_target_labels_enter_the_estimate():
    rng = np.random.default_rng(8)
    X, y = two_classes(300, 0.5, rng)
    X_target, y_target = two_classes(300, 0.9, rng)
    adapted = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target, y_target)
    assert adapted.class_prior_[1] == pytest.approx(y_target.mean(), abs=0.01)


def test_a_frozen_model_is_served_rows_aligned_with_the_mass():
    rng = np.random.default_rng(9)
    X, y = two_classes(600, 0.5, rng)
    X_target, y_target = two_classes(600, 0.95, rng)
    model = logistic().fit(X, y)
    scores = [
        FeatureAlignment(FrozenEstimator(model), direction="target_to_source", class_prior=prior, random_state=0)
        .fit(X, y, X_target)
        .score(X_target, y_target)
        for prior in ("auto", None)
    ]
    assert scores[0] > model.score(X_target, y_target) - 0.01 > scores[1] + 0.1


def test_few_rows_are_left_alone():
    rng = np.random.default_rng(10)
    X, y = two_classes(100, 0.5, rng)
    X_target, _ = two_classes(100, 0.95, rng)
    y[:3] = 2  # a class of three rows
    adapted = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target)
    assert adapted.source_mass_ is None and np.isnan(adapted.explained_by_prior_)
    with pytest.raises(InputError, match="class 2 has 3 source rows"):
        FeatureAlignment(logistic(), class_prior=MLLS()).fit(X, y, X_target)


@pytest.mark.parametrize("n_groups", [1, 2, 7])
def test_groups_are_folded_together(n_groups):
    rng = np.random.default_rng(11)
    X, y = two_classes(300, 0.5, rng)
    X_target, _ = two_classes(300, 0.9, rng)
    groups = y if n_groups == 2 else rng.integers(0, n_groups, 300)  # two: each of one class, no fold has a model
    adapted = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target, groups=groups)
    assert (adapted.source_mass_ is not None) == (n_groups == 7)


def wide_tables(task, seed=0):
    """Ten strong factors of 600 columns, 40 of which y moves in a small way of its own; the target moved."""
    rng = np.random.default_rng(seed)
    loadings, effect = rng.normal(size=(10, 600)), np.r_[rng.choice([-1.0, 1.0], 40), np.zeros(560)]
    sides = []
    for n in (90, 60):
        signal = rng.normal(size=n) if task == "regression" else rng.choice([-1.0, 1.0], n)
        sides += [rng.normal(size=(n, 10)) @ loadings + 1.2 * signal[:, None] * effect + rng.normal(size=(n, 600))]
        sides += [signal + 0.2 * rng.normal(size=n) if task == "regression" else signal.astype(int)]
    X, y, X_target, _ = sides
    return X, y, X_target + 2 * rng.normal(size=600)


@pytest.mark.parametrize(
    ("task", "aligner", "lost"),
    [
        ("classification", TCA(), True),
        ("classification", JDA(), True),
        ("regression", TCA(), True),
        ("classification", TCA(n_components=30), False),
        ("regression", LinearOT(), False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("grouped", [False, True])
def test_dimensions_cut_that_y_depends_on_are_told(task, aligner, lost, grouped):
    X, y, X_target = wide_tables(task)
    model = FeatureAlignment(Ridge(100.0) if task == "regression" else logistic(), aligner=aligner, random_state=0)
    groups = np.arange(90) // 3 if grouped else None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(X, y, X_target, groups=groups)
    told = [str(w.message) for w in said if "of 600 dimensions" in str(w.message)]
    assert len(told) == lost and all(("R2" if task == "regression" else "accuracy") in text for text in told)


def test_nothing_is_lost_where_y_depends_on_nothing():
    X, y, X_target = wide_tables("classification")
    FeatureAlignment(logistic(), aligner=TCA()).fit(X, np.random.default_rng(1).permutation(y), X_target)


def test_regression_has_no_classes():
    rng = np.random.default_rng(12)
    X, X_target = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 1
    adapted = FeatureAlignment(LinearRegression()).fit(X, X[:, 0], X_target)
    assert adapted.class_prior_ is None and adapted.source_mass_ is None
    with pytest.raises(InputError, match="regressor"):
        FeatureAlignment(LinearRegression(), class_prior=[0.5, 0.5]).fit(X, X[:, 0], X_target)


def test_bad_priors_are_explained():
    X, y = two_classes(60, 0.5, np.random.default_rng(13))
    for prior, message in (("MLLS", "auto"), ([0.5, 0.6], "sum to 1"), ({0: 1.0}, "classes"), ([1.0], "frequencies")):
        with pytest.raises(InputError, match=message):
            FeatureAlignment(logistic(), class_prior=prior).fit(X, y, X)
    with pytest.raises(InputError, match="positive weight"):
        FeatureAlignment(logistic(), class_prior=[0.5, 0.5]).fit(X, y, X, sample_weight=y)


def test_prior_of_a_model_that_knows_nothing():
    """Log-odds that carry no class are no reason to believe anything."""
    rng = np.random.default_rng(14)
    X, y = rng.normal(size=(300, 2)), rng.integers(0, 2, 300)
    assert choose_prior("auto", logistic(), Rows(X, y, X + 0.02), rng_state()).ratio(y) is None


# --- sparse rows --------------------------------------------------------------------------------------------


def documents(n, rng, share=0.5, words=400):
    """Counts of words; a fifth of them depend on the class. Rows have length one."""
    y = (rng.random(n) < share).astype(int)
    rate = np.full((2, words), 0.05)
    rate[0, :40], rate[1, 40:80] = 0.25, 0.25
    X = rng.poisson(rate[y]).astype(float)
    return sparse.csr_matrix(X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1)), y


def test_sparse_rows_are_reduced_and_predicted():
    rng = np.random.default_rng(15)
    X, y = documents(300, rng)
    X_target, y_target = documents(500, rng)
    before = X.copy(), X_target.copy()
    adapted = FeatureAlignment(logistic(), n_components=20, random_state=0).fit(X, y, X_target)
    assert isinstance(adapted.reduction_, TruncatedSVD)
    assert adapted.reduction_.n_components == adapted.head_.n_features_in_ == 20
    assert adapted.score(X_target, y_target) > 0.85
    assert (adapted.predict_source(X) == y).mean() > 0.85
    np.testing.assert_allclose(adapted.predict_proba(X_target.toarray()), adapted.predict_proba(X_target), atol=1e-8)
    for kept, now in zip(before, (X, X_target), strict=True):
        assert (kept != now).nnz == 0


def test_reduction_gives_both_domains_the_same_say():
    rng = np.random.default_rng(16)
    X, y = documents(100, rng)
    X_target, _ = documents(1000, rng)
    adapted = FeatureAlignment(logistic(), n_components=10, random_state=0).fit(X, y, X_target)
    often = sparse.vstack([X] * 10, format="csr")
    again = FeatureAlignment(logistic(), n_components=10, class_prior=None, random_state=0).fit(
        often, np.tile(y, 10), X_target
    )
    ours, theirs = adapted.reduction_.components_, again.reduction_.components_
    np.testing.assert_allclose(np.linalg.svd(ours[:2] @ theirs[:2].T)[1], 1, atol=1e-3)


def test_few_sparse_columns_are_made_dense():
    rng = np.random.default_rng(17)
    X, y = two_classes(200, 0.5, rng)
    X_target, _ = two_classes(200, 0.5, rng, move=1.0)
    dense = FeatureAlignment(logistic(), random_state=0).fit(X, y, X_target)
    for kind in (sparse.csr_matrix, sparse.csc_array):
        thin = FeatureAlignment(logistic(), random_state=0).fit(kind(X), y, kind(X_target))
        np.testing.assert_allclose(thin.predict_proba(kind(X_target)), dense.predict_proba(X_target))


def test_sparse_rows_and_a_frozen_model():
    rng = np.random.default_rng(18)
    X, y = documents(200, rng)
    model = logistic().fit(X, y)
    with pytest.raises(InputError, match="Freeze a Pipeline"):
        FeatureAlignment(FrozenEstimator(model), direction="target_to_source").fit(X, y, X)
    reduced = make_pipeline(TruncatedSVD(5, random_state=0), logistic()).fit(X, y)
    adapted = FeatureAlignment(FrozenEstimator(reduced), direction="target_to_source").fit(X, y, X)
    assert adapted.reduction_ is None and adapted.predict(X).shape == (200,)
    with pytest.raises(InputError, match="n_components=0"):
        FeatureAlignment(logistic(), n_components=0).fit(X, y, X)


# --- several sources ----------------------------------------------------------------------------------------


def sources(specification, rng):
    """Rows of several sources (n, move) whose labels follow one linear rule around their own centre."""
    blocks = []
    for n, move in specification:
        X = rng.normal(size=(n, 4))
        blocks.append((X + move, X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=n) > 0))
    X, y = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return X, y.astype(int), np.repeat(np.arange(len(blocks)), [len(b[0]) for b in blocks])


@pytest.mark.parametrize(
    ("specification", "low", "high"),
    [
        ([(200, 0)], [1], [1]),
        ([(150, 0)] * 3, [0.2] * 3, [0.47] * 3),  # equally near: by size
        ([(80, 0), (320, 0)], [0.1, 0.7], [0.3, 0.9]),
        ([(150, 0), (150, 0), (150, 1.5)], [0.3, 0.3, 0], [0.6, 0.6, 0.08]),
        ([(150, -0.7), (150, 0.7)], [0.35, 0.35], [0.65, 0.65]),  # the target lies between them
        ([(150, -1), (150, 2)], [0.5, 0], [1, 0.4]),
    ],
    ids=["one", "equal", "sizes", "far", "between", "nearer"],
)
def test_similarity(specification, low, high):
    rng = np.random.default_rng(20)
    X, _, domain = sources(specification, rng)
    found, factor = source_similarity(X, domain, rng.normal(size=(300, 4)), None, rng_state())
    weight = np.array(list(found.values()))
    assert weight.sum() == pytest.approx(1)
    assert (weight >= low).all() and (weight <= np.array(high) + 1e-9).all()
    assert factor.mean() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(domain, weights=factor) / len(domain), weight)


@pytest.mark.parametrize("frame", [None, pd.DataFrame])
def test_a_source_far_away_does_little_harm(frame):
    """The rows of one source are unlike the target's, and its labels follow the opposite rule."""
    rng = np.random.default_rng(23)
    X, y, domain = sources([(150, 0), (150, 0), (400, 3)], rng)
    y = np.where(domain == 2, 1 - y, y)
    X_target, y_target, _ = sources([(400, 0)], rng)
    X_target = X_target - 0.3
    if frame is not None:
        X, X_target = (frame(A, columns=list("abcd")) for A in (X, X_target))
    names = np.array(["a", "b", "far"])[domain]
    pooled = FeatureAlignment(logistic()).fit(X, y, X_target)
    weighed = FeatureAlignment(logistic()).fit(X, y, X_target, source_domain=names)
    assert weighed.source_similarity_["far"] < 0.05
    assert weighed.score(X_target, y_target) > 0.85 > pooled.score(X_target, y_target)
    np.testing.assert_allclose(
        weighed.source_mass_[domain == 2].sum() / weighed.source_mass_.sum(), weighed.source_similarity_["far"]
    )


def test_one_source_changes_nothing_and_a_single_row_is_refused():
    rng = np.random.default_rng(24)
    X, y, domain = sources([(100, 0)], rng)
    X_target = rng.normal(size=(100, 4)) + 1
    plain = FeatureAlignment(logistic()).fit(X, y, X_target)
    one = FeatureAlignment(logistic()).fit(X, y, X_target, source_domain=domain)
    np.testing.assert_allclose(one.predict_proba(X_target), plain.predict_proba(X_target), atol=1e-6)
    domain[0] = 5
    with pytest.raises(InputError, match="1 row"):
        FeatureAlignment(logistic()).fit(X, y, X_target, source_domain=domain)


# --- aligners into another space ----------------------------------------------------------------------------


class Leading(BaseAligner):
    """Both domains on the first principal axes of the pooled rows."""

    def __init__(self, n_components=2):
        self.n_components = n_components

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator):
        self.centre_ = X_source.mean(axis=0), X_target.mean(axis=0)
        pooled = np.vstack([X_source - self.centre_[0], X_target - self.centre_[1]])
        self.axes_ = np.linalg.svd(pooled, full_matrices=False)[2][: self.n_components].T

    def _transform_source(self, X):
        return (X - self.centre_[0]) @ self.axes_

    def _transform_target(self, X):
        return (X - self.centre_[1]) @ self.axes_


def moved_pair(n=400):
    rng = np.random.default_rng(25)
    X, y = two_classes(n, 0.5, rng)
    X_target, y_target = two_classes(n, 0.5, rng, move=4.0)
    return X, y, X_target, y_target


@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_fewer_columns_come_out_of_arrays(direction):
    X, y, X_target, y_target = moved_pair()
    adapted = FeatureAlignment(logistic(), Leading(), direction=direction).fit(X, y, X_target)
    assert adapted.head_.n_features_in_ == 2
    assert adapted.score(X_target, y_target) > 0.85 and (adapted.predict_source(X) == y).mean() > 0.85


class Named(LogisticRegression):
    """Logistic regression on the columns whose names begin with z; insists on the others being there."""

    def _columns(self, X):
        assert "text" in list(X.columns)
        names = [name for name in X.columns if name.startswith("z")]
        return np.asarray(X[names], float)

    def fit(self, X, y, sample_weight=None):
        return super().fit(self._columns(X), y, sample_weight)

    def predict(self, X):
        return super().predict(self._columns(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_new_columns_of_frames_are_named(frame):
    X, y, X_target, y_target = moved_pair()
    tables = []
    for A in (X, X_target):
        columns = {f"x{j}": A[:, j] for j in range(4)}
        tables.append(frame({"text": ["u", "v"] * (len(A) // 2), **columns}))
    adapted = FeatureAlignment(Named(), Leading(3), class_prior=None).fit(tables[0], y, tables[1])
    middle = adapted._map(tables[1], "target")
    assert isinstance(middle, frame) and list(middle.columns) == ["text", "z0", "z1", "z2"]
    assert adapted.score(tables[1], y_target) > 0.85
    some = np.where(np.arange(len(y)) < 20, y_target.astype(object), None)
    assert FeatureAlignment(Named(), Leading(3), class_prior=None).fit(tables[0], y, tables[1], some) is not None
    clash = [
        table.rename({"text": "z1"}) if frame is pl.DataFrame else table.rename(columns={"text": "z1"})
        for table in tables
    ]
    with pytest.raises(InputError, match="z1"):
        FeatureAlignment(Named(), Leading(3), class_prior=None).fit(clash[0], y, clash[1])


@pytest.mark.parametrize("aligner", [TCA(), JDA(), Leading()], ids=repr)
@pytest.mark.parametrize("in_front", [False, True])
def test_frames_of_numbers_alone_may_become_fewer_or_more_columns(aligner, in_front, reads_polars):
    X, y, X_target, y_target = moved_pair(100)
    answers = []
    for kind, frame in (("polars", pl.DataFrame), ("pandas", pd.DataFrame)):
        model = make_pipeline(StandardScaler().set_output(transform=kind), logistic()) if in_front else logistic()
        tables = [frame({name: A[:, j] for j, name in enumerate(["a", "b", "z0", "d"])}) for A in (X, X_target)]
        adapted = FeatureAlignment(model, aligner, random_state=0).fit(tables[0], y, tables[1])
        if kind == "pandas" or reads_polars:
            assert list(adapted.head_.feature_names_in_) == [f"z{j}" for j in range(adapted.head_.n_features_in_)]
        answers.append(adapted.predict_proba(tables[1]))
    assert np.array_equal(*answers)


class OfOneType(LogisticRegression):
    """Refuses what a network refuses: rows of another floating type than its weights."""

    def fit(self, X, y, sample_weight=None):
        assert np.asarray(X).dtype == np.float32
        return super().fit(X, y, sample_weight)

    def decision_function(self, X):
        assert np.asarray(X).dtype == np.float32
        return super().decision_function(X)


# OpenBLAS now and then flags a product of finite rows of single precision
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, pl.DataFrame, sparse.csr_array], ids=lambda f: f.__name__)
@pytest.mark.parametrize("aligner", [CORAL(), LinearOT(), TCA(), LocationScale()], ids=repr)
@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_a_model_meets_the_floating_type_of_the_rows(form, aligner, direction):
    rng = np.random.default_rng(0)
    (X, y), (X_target, y_target) = two_classes(60, 0.5, rng), two_classes(50, 0.5, rng, move=1.0)
    rows, rows_target = (form(part.astype(np.float32)) for part in (X, X_target))
    labels = y_target if direction == "target_to_source" else None
    model = FeatureAlignment(OfOneType(), aligner, direction, n_components=2).fit(rows, y, rows_target, labels)
    assert model.predict(rows_target).shape == (50,) and np.isfinite(model.predict_proba(rows_target)).all()


def test_a_frozen_model_keeps_its_space():
    X, y, X_target, _ = moved_pair()
    model = FrozenEstimator(logistic().fit(X, y))
    for aligner in (Leading(2), Leading(4)):
        with pytest.raises(InputError, match="new space"):
            FeatureAlignment(model, aligner, direction="target_to_source").fit(X, y, X_target)


# --- an estimator like others -------------------------------------------------------------------------------


def test_same_seed_same_answer_and_pickle():
    pair = make_label_shift(1500, 1200, random_state=0)
    before = [np.copy(part) for part in pair.seen[:3]]
    adapter = FeatureAlignment(logistic(), random_state=3)
    fitted = adapter.fit(*pair.seen)
    answer = fitted.predict_proba(pair.X_target)
    again = clone(adapter).fit(*pair.seen)
    np.testing.assert_array_equal(again.predict_proba(pair.X_target), answer)
    np.testing.assert_array_equal(adapter.fit(*pair.seen).predict_proba(pair.X_target), answer)  # refitted
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).predict_proba(pair.X_target), answer)
    for kept, now in zip(before, pair.seen, strict=False):
        np.testing.assert_array_equal(kept, now)
    other = FeatureAlignment(logistic(), random_state=4).fit(*pair.seen)
    assert np.abs(other.class_prior_ - again.class_prior_).max() < 0.02


@pytest.mark.parametrize("aligner", [LocationScale(), JDA()])
def test_what_moves_class_by_class_cannot_move_unlabelled_rows(aligner):
    pair = make_conditional_shift(200, 200, random_state=0)
    model = FeatureAlignment(LogisticRegression(), aligner, direction="target_to_source")
    with pytest.raises(InputError, match='direction="target_to_source".*target rows that all have labels'):
        model.fit(*pair.seen)
