from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from da_toolkit import JDOT, FeatureAlignment, OTLabelPropagation, SelfTraining
from da_toolkit.alignment._labelling import source_share
from da_toolkit.alignment._self_training import surest
from shift_detectors._errors import InputError, ShiftWarning

METHODS = (JDOT, OTLabelPropagation, SelfTraining)
TRANSPORT = (JDOT, OTLabelPropagation)
HEAD = LogisticRegression(max_iter=1000)


def moons(n, rng, degrees=0.0):
    y, t = rng.integers(0, 2, n), np.pi * rng.random(n)
    X = np.where(y[:, None] == 1, np.c_[1 - np.cos(t), 0.5 - np.sin(t)], np.c_[np.cos(t), np.sin(t)])
    a = np.deg2rad(degrees)
    X = X - [0.5, 0.25] + 0.1 * rng.normal(size=(n, 2))
    return X @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]), y


def blobs(n, rng, move=0.0, prior=(0.4, 0.3, 0.3)):
    y = rng.choice(3, n, p=prior)
    return rng.normal(size=(n, 2)) + np.array([[0, 0], [4, 0], [2, 3.5]])[y] + move, y


def curve(n, rng, moved=False):
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, -0.5, 0.3] + 0.2 * rng.normal(size=n)
    return (X * [1.5, 0.7, 1.0] + [2.0, 0.0, -1.0] if moved else X), y


def naive_shares(C, a, eps, relaxation, n=1500):
    """Part of every source row in every target row, shape (n_source, n_target)."""
    m = C.shape[1]
    f, g, soft = np.zeros(len(a)), np.zeros(m), 1.0 if np.isinf(relaxation) else relaxation / (relaxation + eps)
    for _ in range(n):
        f = -soft * eps * logsumexp((g - C) / eps - np.log(m), axis=1)
        g = -eps * logsumexp(np.log(a)[:, None] + (f[:, None] - C) / eps, axis=0)
    return np.exp((f[:, None] + g - C) / eps) * a[:, None]


def relative_cost(X, Z):
    return cdist(X, Z, "sqeuclidean") / (X.var(axis=0).sum() + Z.var(axis=0).sum())


# --- the formulas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relaxation", [0.2, np.inf])
def test_propagated_labels_are_those_of_a_naive_solver(relaxation):
    rng = np.random.default_rng(0)
    (X, y), (Z, _) = blobs(60, rng), blobs(50, rng, 1.0)
    weight = rng.random(60)
    adapter = OTLabelPropagation(HEAD, class_prior=None, relaxation=relaxation).fit(X, y, Z, sample_weight=weight)
    share = naive_shares(relative_cost(X, Z), weight / weight.sum(), 0.1, relaxation)
    np.testing.assert_allclose(adapter.target_labels_, share.T @ np.eye(3)[y], atol=1e-4)
    np.testing.assert_allclose(adapter.class_prior_, np.bincount(y, weight) / weight.sum())

    value = X[:, 0]
    regression = OTLabelPropagation(Ridge(), relaxation=relaxation).fit(X, value, Z, sample_weight=weight)
    np.testing.assert_allclose(regression.target_labels_, share.T @ value, atol=1e-3)


def test_two_rounds_of_jdot_are_those_of_a_naive_loop():
    rng = np.random.default_rng(1)
    (X, y), (Z, _) = curve(60, rng), curve(50, rng, True)
    adapter = JDOT(Ridge(), alpha=0.7, max_iter=2).fit(X, y, Z)
    assert adapter.n_iter_ == 2
    a, rho = np.full(60, 1 / 60), max(adapter.source_share_, 1e-3)
    C = 0.7 * relative_cost(X, Z)
    first = naive_shares(C, a, 0.1, 1.0).T @ y
    rows, weight = np.r_[Z, X], np.r_[np.full(50, 1 - adapter.source_share_), np.full(60, rho)]
    model = Ridge().fit(rows, np.r_[first, y], sample_weight=weight)
    C = C + (y[:, None] - model.predict(Z)) ** 2 / (2 * y.var())
    second = naive_shares(C, a, 0.1, 1.0).T @ y
    np.testing.assert_allclose(adapter.target_labels_, second, atol=1e-3)
    expected = Ridge().fit(rows, np.r_[second, y], sample_weight=weight)
    np.testing.assert_allclose(adapter.predict(Z), expected.predict(Z), atol=1e-3)


def test_jdot_with_one_round_is_label_propagation():
    rng = np.random.default_rng(2)
    (X, y), (Z, _) = blobs(100, rng), blobs(100, rng, 1.0)
    one = JDOT(HEAD, max_iter=1, random_state=0).fit(X, y, Z)
    np.testing.assert_array_equal(
        one.target_labels_, OTLabelPropagation(HEAD, random_state=0).fit(X, y, Z).target_labels_
    )
    assert JDOT(HEAD, max_iter=50, random_state=0).fit(X, y, Z).n_iter_ < 50


class Decisions(LogisticRegression):
    """A logistic regression that keeps its probabilities to itself."""

    @property
    def predict_proba(self):
        raise AttributeError("predict_proba")


@pytest.mark.parametrize("prior", [(0.5, 0.5, 0.0), (0.4, 0.3, 0.3)])
@pytest.mark.parametrize("method", [JDOT, SelfTraining])
def test_decision_values_are_log_odds(method, prior):
    rng = np.random.default_rng(8)
    (X, y), (Z, _) = blobs(150, rng, 0.0, prior), blobs(150, rng, 1.0, prior)
    hidden, shown = (method(model, random_state=0).fit(X, y, Z) for model in (Decisions(max_iter=1000), HEAD))
    np.testing.assert_allclose(hidden.target_labels_, shown.target_labels_, atol=1e-9)
    assert hidden.class_prior_ == pytest.approx(shown.class_prior_)


def test_a_divided_label_counts_by_its_parts():
    rng = np.random.default_rng(3)
    (X, y), (Z, _) = blobs(80, rng), blobs(70, rng, 1.0)
    adapter = OTLabelPropagation(HEAD).fit(X, y, Z)
    labels, rho = adapter.target_labels_, max(adapter.source_share_, 1e-3)
    row, column = np.nonzero(labels > 0.02)
    assert len(row) > 70
    mass = adapter.class_prior_[y] / np.bincount(y)[y]
    weight = np.r_[(1 - adapter.source_share_) * labels[row, column], 80 * rho * mass]
    expected = clone(HEAD).fit(np.r_[Z[row], X], np.r_[column, y], sample_weight=weight)
    np.testing.assert_allclose(adapter.predict_proba(Z), expected.predict_proba(Z), atol=1e-6)


def test_source_share_is_one_without_shift_and_falls_with_it():
    shares = {}
    for move in (0.0, 1.0, 3.0):
        shares[move] = []
        for seed in range(20):
            rng = np.random.RandomState(seed)
            X, Z = rng.normal(size=(200, 4)), rng.normal(size=(150, 4)) + move
            shares[move].append(source_share(X, np.zeros(200, int), Z, np.ones(200), rng))
    assert np.median(shares[0.0]) == 1 and np.mean(shares[0.0]) > 0.8
    assert 0.1 > np.mean(shares[1.0]) > np.mean(shares[3.0]) > 0


def test_self_training_takes_the_surest_rows_of_each_class_by_its_frequency():
    class Task:
        known = np.array([False] * 5 + [True])
        known_values = np.array([[0.0, 0.0]] * 5 + [[0.0, 1.0]])
        mass, values = np.array([2 / 3, 1 / 3]), np.eye(2)

    first = np.array([0.9, 0.6, 0.8, 0.7, 0.1, 0.9])
    proba = np.c_[first, 1 - first]
    # half of six rows: two of class 0; one of class 1, which is the row whose label is known
    expected = np.zeros((6, 2))
    expected[[0, 2], 0] = expected[5, 1] = 1
    np.testing.assert_array_equal(surest(Task(), proba, 0.5), expected)  # type: ignore[arg-type]
    expected[[1, 3], 0] = expected[4, 1] = 1
    np.testing.assert_array_equal(surest(Task(), proba, 1.0), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("prior", [(0.8, 0.2), {0: 0.3, 1: 0.7}])
def test_self_training_obeys_the_prior(prior):
    rng = np.random.default_rng(4)
    (X, y), (Z, _) = moons(200, rng), moons(300, rng, 30)
    adapter = SelfTraining(HEAD, class_prior=prior).fit(X, y, Z)
    q = np.array([prior[0], prior[1]])
    np.testing.assert_allclose(adapter.class_prior_, q)
    assert (adapter.target_labels_.sum(axis=0) <= np.ceil(300 * q)).all()
    assert set(adapter.target_labels_.sum(axis=1)) <= {0, 1}


# --- harm and gain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_gain_under_rotation_and_no_harm_without_shift(method):
    gains = {0: [], 30: []}
    for degrees, draws in gains.items():
        for seed in range(4):
            rng = np.random.default_rng([seed, degrees])
            (X, y), (Z, _), (new, y_new) = moons(300, rng), moons(300, rng, degrees), moons(2000, rng, degrees)
            model = SVC(gamma=2.0, C=10.0)
            adapted = method(model, random_state=0).fit(X, y, Z)
            draws.append(adapted.score(new, y_new) - clone(model).fit(X, y).score(new, y_new))
    assert np.mean(gains[0]) > -0.01
    assert np.mean(gains[30]) > 0.02


@pytest.mark.parametrize("method", METHODS)
def test_no_harm_under_label_shift(method):
    losses = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y, y_target, y_new = (rng.random(n) < p for n, p in ((400, 0.5), (400, 0.9), (3000, 0.9)))
        X, Z, new = (
            rng.normal(size=(len(t), 5)) + np.outer(2 * t - 1, [1, 0.5, 0, 0, 0]) for t in (y, y_target, y_new)
        )
        adapted = method(HEAD, random_state=0).fit(X, y, Z)
        losses.append(adapted.score(new, y_new) - clone(HEAD).fit(X, y).score(new, y_new))
    assert np.mean(losses) > -0.01


@pytest.mark.parametrize("method", TRANSPORT)
def test_regression(method):
    errors = {False: [], True: []}
    for moved, seed in ((False, 0), (False, 1), (False, 2), (True, 0), (True, 1), (True, 2)):
        rng = np.random.default_rng([seed, 5])
        (X, y), (Z, _), (new, y_new) = curve(300, rng), curve(300, rng, moved), curve(2000, rng, moved)
        adapted = method(Ridge(), random_state=0).fit(X, y, Z)
        assert adapted.class_prior_ is None and adapted.target_labels_.shape == (300,)
        errors[moved].append(adapted.score(new, y_new) - Ridge().fit(X, y).score(new, y_new))
    assert np.mean(errors[False]) > -0.02
    assert np.mean(errors[True]) > 0.5


# --- known labels, many rows, several sources ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_known_labels_stay_and_help(method):
    rng = np.random.default_rng(6)
    (X, y), (Z, y_target), (new, y_new) = moons(200, rng), moons(200, rng, 60), moons(2000, rng, 60)
    some = y_target.astype(object)
    some[40:] = None
    model = SVC(gamma=2.0, C=10.0)
    adapter = method(model, random_state=0).fit(X, y, Z, some)
    np.testing.assert_array_equal(adapter.target_labels_[:40], np.eye(2)[y_target[:40]])
    assert adapter.score(new, y_new) > method(model, random_state=0).fit(X, y, Z).score(new, y_new)


@pytest.mark.parametrize("method", TRANSPORT)
def test_known_values_stay(method):
    rng = np.random.default_rng(7)
    (X, y), (Z, y_target) = curve(100, rng), curve(80, rng, True)
    some = np.where(np.arange(80) < 20, y_target, np.nan)
    adapter = method(Ridge(), random_state=0).fit(X, y, Z, some)
    np.testing.assert_array_equal(adapter.target_labels_[:20], y_target[:20])


@pytest.mark.parametrize("method", TRANSPORT)
def test_rows_are_drawn_above_the_limit(method):
    """The plan of 200 rows a side labels 1000 nearly as well as that of all."""
    rng = np.random.default_rng(8)
    (X, y), (Z, _), (new, y_new) = blobs(1000, rng), blobs(1000, rng, 1.0), blobs(2000, rng, 1.0)
    full = method(HEAD, random_state=0).fit(X, y, Z).score(new, y_new)
    few = method(HEAD, max_rows=200, random_state=0).fit(X, y, Z)
    assert few.target_labels_.shape == (1000, 3)
    assert few.score(new, y_new) > full - 0.02


def test_drawn_and_undrawn_rows_are_labelled_by_one_formula():
    rng = np.random.default_rng(9)
    (X, y), (Z, _) = blobs(80, rng), blobs(90, rng, 1.0)
    adapter = OTLabelPropagation(HEAD, class_prior=None, max_rows=60, random_state=0).fit(X, y, Z)
    full = OTLabelPropagation(HEAD, class_prior=None, max_rows=90, random_state=0).fit(X, y, Z)
    np.testing.assert_allclose(adapter.target_labels_.sum(axis=1), 1)
    assert (adapter.target_labels_.argmax(axis=1) == full.target_labels_.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_source_that_is_far_away_counts_little(method):
    rng = np.random.default_rng(10)
    (near, y_near), (far, y_far), (Z, y_target) = blobs(150, rng), blobs(150, rng, 15.0), blobs(150, rng, 0.3)
    X, y, domain = np.r_[near, far], np.r_[y_near, (y_far + 1) % 3], np.repeat(["near", "far"], 150)
    assert method(HEAD, random_state=0).fit(X, y, Z, source_domain=domain).score(Z, y_target) > 0.93


def test_a_translation_does_not_change_the_plan():
    rng = np.random.default_rng(11)
    (X, y), (Z, _) = blobs(80, rng), blobs(80, rng)
    kept = {"class_prior": None, "relaxation": np.inf}
    here = OTLabelPropagation(HEAD, **kept).fit(X, y, Z).target_labels_
    far = OTLabelPropagation(HEAD, **kept).fit(X, y, Z + 30).target_labels_
    np.testing.assert_allclose(here, far, atol=1e-3)


# --- adapters like others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_clone_pickle_refit_and_untouched_input(method):
    rng = np.random.default_rng(12)
    (X, y), (Z, _) = blobs(120, rng), blobs(110, rng, 1.0)
    before = X.copy(), y.copy(), Z.copy()
    adapter = method(HEAD, random_state=0)
    parameters = adapter.get_params()
    first = adapter.fit(X, y, Z).predict_proba(Z)
    assert adapter.get_params().keys() == parameters.keys()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(adapter)).predict_proba(Z), first)
    np.testing.assert_array_equal(adapter.fit(X, y, Z).predict_proba(Z), first)
    np.testing.assert_array_equal(clone(adapter).fit(X, y, Z).predict_proba(Z), first)
    for kept, now in zip(before, (X, y, Z), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize("method", METHODS)
def test_tables_pipelines_string_classes_and_models_without_weights(method):
    rng = np.random.default_rng(13)
    (X, y), (Z, y_target) = blobs(120, rng), blobs(110, rng, 0.5)
    names = np.array(["red", "green", "blue"])
    frame, frame_target = pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(Z, columns=["a", "b"])
    piped = method(make_pipeline(StandardScaler(), HEAD), random_state=0).fit(frame, names[y], frame_target)
    assert piped.score(frame_target, names[y_target]) > 0.85
    assert list(piped.classes_) == sorted(names)
    with pytest.warns(ShiftWarning, match="takes no sample_weight"):
        neighbours = method(KNeighborsClassifier(5), random_state=0).fit(X, y, Z)
    assert neighbours.score(Z, y_target) > 0.85


@pytest.mark.parametrize("kind", ["pandas", "unnamed", "polars"])
@pytest.mark.parametrize("labelled", [0, 10])
@pytest.mark.parametrize("method", [FeatureAlignment, JDOT, OTLabelPropagation, SelfTraining])
def test_category_columns_may_have_other_categories_in_the_target(method, labelled, kind, reads_polars):
    if kind == "polars" and not reads_polars:
        pytest.skip("the model itself reads no polars frames")
    rng = np.random.default_rng(0)

    def frame(levels, order):
        level = rng.choice(levels, 80)
        value = rng.normal(size=80) + 3 * (level == "p")
        if kind == "polars":
            return pl.DataFrame({"a": value, "c": pl.Series(level, dtype=pl.Enum(order))})
        rows = pd.DataFrame({"a": value, "c": pd.Categorical(level, categories=order)})
        return rows if kind == "pandas" else rows.set_axis([0, 1], axis=1)

    X, X_target, X_new = frame(["p", "q", "r"], ["r", "q", "p"]), frame(["p", "s"], ["s", "p"]), frame(["p"], ["p"])
    y, y_target, y_new = (np.array(Z)[:, 1] == "p" for Z in (X, X_target, X_new))
    known = np.where(np.arange(80) < labelled, y_target.astype(float), np.nan)
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
    adapter = method(model, random_state=0).fit(X, y.astype(int), X_target, known)
    assert adapter.score(X_target, y_target.astype(int)) > 0.9
    assert adapter.score(X_new, y_new.astype(int)) > 0.9


def test_sparse_rows_are_reduced_in_the_pipeline():
    from scipy import sparse

    rng = np.random.default_rng(14)
    (X, y), (Z, y_target) = blobs(120, rng), blobs(110, rng, 0.3)
    with pytest.raises(InputError, match="TruncatedSVD"):
        OTLabelPropagation(HEAD).fit(sparse.csr_matrix(X), y, sparse.csr_matrix(Z))
    model = make_pipeline(TruncatedSVD(2, random_state=0), HEAD)
    adapter = OTLabelPropagation(model).fit(sparse.csr_matrix(X), y, sparse.csr_matrix(Z))
    assert adapter.score(sparse.csr_matrix(Z), y_target) > 0.85


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_the_target_lacks_stays_known(method):
    rng = np.random.default_rng(15)
    (X, y), (Z, _) = blobs(200, rng), blobs(200, rng, 0.0, (0.5, 0.5, 0.0))
    adapter = method(HEAD, random_state=0).fit(X, y, Z)
    assert list(adapter.classes_) == [0, 1, 2]
    assert adapter.predict_proba(Z).shape == (200, 3)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        *((method, {"regularization": 0.0}) for method in TRANSPORT),
        *((method, {"relaxation": -1}) for method in TRANSPORT),
        *((method, {"max_rows": 1}) for method in TRANSPORT),
        (JDOT, {"alpha": "auto"}),
        (JDOT, {"max_iter": 0}),
        (SelfTraining, {"n_rounds": 0}),
        *((method, {"class_prior": "MLLS"}) for method in METHODS),
    ],
)
def test_parameters_are_checked(method, parameters):
    X, y = blobs(40, np.random.default_rng(16))
    with pytest.raises(InputError, match=next(iter(parameters))):
        method(HEAD, **parameters).fit(X, y, X)


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_done_is_said(method):
    rng = np.random.default_rng(17)
    X, y = blobs(40, rng)
    with pytest.raises(InputError, match="FrozenEstimator"):
        method(FrozenEstimator(clone(HEAD).fit(X, y))).fit(X, y, X)
    with pytest.raises(InputError, match="at least 2"):
        method(HEAD).fit(X, y, X[:1])
    with pytest.raises(InputError, match="regressor"):
        method(Ridge(), **({} if method is SelfTraining else {"class_prior": [0.5, 0.5]})).fit(X, X[:, 0], X)


def test_a_plan_that_does_not_converge_is_said(monkeypatch):
    rng = np.random.default_rng(18)
    (X, y), (Z, _) = blobs(60, rng), blobs(60, rng, 1.0)
    monkeypatch.setattr("da_toolkit.alignment._plan.ITERATIONS", 2)
    with pytest.warns(ShiftWarning, match="Raise regularization"):
        OTLabelPropagation(HEAD).fit(X, y, Z)


def test_columns_that_are_constant_play_no_part():
    rng = np.random.default_rng(19)
    (X, y), (Z, _) = blobs(60, rng), blobs(60, rng, 1.0)
    plain = OTLabelPropagation(HEAD, class_prior=None).fit(X, y, Z).target_labels_
    padded = OTLabelPropagation(HEAD, class_prior=None).fit(np.c_[X, np.full(60, 3.0)], y, np.c_[Z, np.full(60, 9.0)])
    np.testing.assert_allclose(padded.target_labels_, plain, atol=1e-6)


@pytest.mark.parametrize("method", TRANSPORT)
def test_a_model_without_weights_gets_the_likeliest_class(method):
    """Rows drawn by weight would give a nearest-neighbour model labels drawn at random."""
    rng = np.random.default_rng(10)
    (X, y), (Z, _) = blobs(300, rng), blobs(300, rng, 1.0)
    with pytest.warns(ShiftWarning):
        adapter = method(KNeighborsClassifier(1), random_state=0).fit(X, y, Z)
    assert np.mean(adapter.predict(Z) == adapter.target_labels_.argmax(axis=1)) > 0.95
