from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC

from da_toolkit.alignment import FeatureAlignment
from da_toolkit.alignment._optimal_transport import METHODS, OptimalTransport
from shift_detectors._errors import InputError, ShiftWarning

PLAIN = {"shrinkage": 0.0, "sharpening": 0, "standardize": False}


def moons(n, rng, degrees=0.0):
    y, t = rng.integers(0, 2, n), np.pi * rng.random(n)
    X = np.where(y[:, None] == 1, np.c_[1 - np.cos(t), 0.5 - np.sin(t)], np.c_[np.cos(t), np.sin(t)])
    a = np.deg2rad(degrees)
    X = X - [0.5, 0.25] + 0.1 * rng.normal(size=(n, 2))
    return X @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]), y


def naive_sinkhorn(C, a, b, eps, softness=1.0, n=1500):
    f, g = np.zeros(len(a)), np.zeros(len(b))
    for _ in range(n):
        f = -softness * eps * logsumexp(np.log(b) + (g - C) / eps, axis=1)
        g = -softness * eps * logsumexp(np.log(a)[:, None] + (f[:, None] - C) / eps, axis=0)
    return np.exp((f[:, None] + g - C) / eps) * a[:, None] * b


# --- the formulas -------------------------------------------------------------------------------------------


def test_exact_is_the_best_assignment():
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(2, 60, 3))
    cost = cdist(X, Z, "sqeuclidean")
    rows, columns = linear_sum_assignment(cost)
    aligner = OptimalTransport("exact", **PLAIN).fit(X, Z)
    np.testing.assert_allclose(aligner.transform_source(X), Z[columns], atol=1e-6)
    np.testing.assert_allclose(aligner.cost_, cost[rows, columns].mean())
    assert aligner.regularization_ == 0


@pytest.mark.parametrize("method", ["entropic", "unbalanced"])
@pytest.mark.parametrize("regularization", [0.05, 0.5])
def test_blurred_plan_is_that_of_a_naive_solver(method, regularization):
    rng = np.random.default_rng(1)
    X, Z = rng.normal(size=(40, 2)), rng.normal(size=(50, 2)) + 1
    a, b = rng.random(40), rng.random(50)
    aligner = OptimalTransport(method, regularization, **PLAIN).fit(X, Z, source_weight=a, target_weight=b)
    eps = aligner.regularization_
    softness = 0.3 / (0.3 + regularization) if method == "unbalanced" else 1.0
    plan = naive_sinkhorn(cdist(X + aligner._translation, Z, "sqeuclidean"), a / a.sum(), b / b.sum(), eps, softness)
    np.testing.assert_allclose(aligner.plan_, plan, atol=2e-6)
    np.testing.assert_allclose(aligner.transported_mass_, plan.sum(), rtol=1e-4)
    np.testing.assert_allclose(aligner.transform_source(X), plan @ Z / plan.sum(axis=1, keepdims=True), atol=1e-4)


def test_partial_plan_solves_the_linear_program():
    from scipy.optimize import linprog

    rng = np.random.default_rng(2)
    X, Z = rng.normal(size=(12, 2)), rng.normal(size=(15, 2)) + 1
    aligner = OptimalTransport("partial", transported_mass=0.6, **PLAIN).fit(X, Z)
    cost = cdist(X, Z, "sqeuclidean")
    rows = np.kron(np.eye(12), np.ones(15))
    columns = np.kron(np.ones(12), np.eye(15))
    best = linprog(
        cost.ravel(),
        A_ub=np.vstack([rows, columns]),
        b_ub=np.r_[np.full(12, 1 / 12), np.full(15, 1 / 15)],
        A_eq=np.ones((1, 180)),
        b_eq=[0.6],
    )
    np.testing.assert_allclose([aligner.cost_, aligner.transported_mass_], [best.fun, 0.6], rtol=1e-6)


def test_class_penalty_makes_target_rows_take_from_one_class():
    rng = np.random.default_rng(3)
    (X, y), (Z, _) = moons(200, rng), moons(200, rng, 40)

    def mixing(eta):
        aligner = OptimalTransport("class-regularised", class_regularization=eta, **PLAIN).fit(X, Z, y_source=y)
        np.testing.assert_allclose(aligner.plan_.sum(axis=1), 1 / 200, atol=1e-5)
        share = np.array([aligner.plan_[y == c].sum(axis=0) for c in (0, 1)]) * 200
        return np.sqrt(share).sum(axis=0).mean() - 1

    plain = OptimalTransport("entropic", **PLAIN).fit(X, Z)
    none = np.sqrt(np.array([plain.plan_[y == c].sum(axis=0) for c in (0, 1)]) * 200).sum(axis=0).mean() - 1
    assert mixing(1e-9) == pytest.approx(none, abs=1e-4)
    assert mixing(0.5) < mixing(0.1) < none


def test_shrinkage_is_expected_over_observed_energy_distance():
    rng = np.random.default_rng(4)
    X, Z = rng.normal(size=(80, 3)), rng.normal(size=(90, 3)) + 0.5
    within_s, within_t = cdist(X, X).sum() / (80 * 79), cdist(Z, Z).sum() / (90 * 89)
    observed = 2 * cdist(X, Z).mean() - cdist(X, X).mean() - cdist(Z, Z).mean()
    aligner = OptimalTransport(standardize=False).fit(X, Z)
    np.testing.assert_allclose(aligner.shrinkage_, (1 / 80 + 1 / 90) * (within_s + within_t) / 2 / observed)


# --- harm and gain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_identical_samples_are_not_moved(method):
    X, y = moons(100, np.random.default_rng(5))
    aligner = OptimalTransport(method).fit(X, X, y_source=y)
    np.testing.assert_allclose(aligner.transform_source(X), X, atol=1e-9)
    assert aligner.shrinkage_ == 1
    if method == "exact":
        plain = OptimalTransport(method, shrinkage=0.0).fit(X, X)
        np.testing.assert_allclose(plain.transform_source(X), X, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_no_shift_no_harm_and_a_gain_under_rotation(method):
    """Mean of six draws: within a point of the source model without shift, better with it."""
    gains = {0: [], 30: []}
    for degrees, seeds in ((0, range(6)), (30, range(6))):
        for seed in seeds:
            rng = np.random.default_rng([seed, degrees])
            (X, y), (Z, _), (new, y_new) = moons(300, rng), moons(300, rng, degrees), moons(3000, rng, degrees)
            model = SVC(gamma=2.0, C=10.0)
            source_only = clone(model).fit(X, y).score(new, y_new)
            moved = OptimalTransport(method).fit(X, Z, y_source=y).transform_source(X)
            gains[degrees].append(model.fit(moved, y).score(new, y_new) - source_only)
    assert np.mean(gains[0]) > -0.01
    if method not in ("exact", "partial"):  # without blur the plan follows the noise of the sample
        assert np.mean(gains[30]) > 0.02


def test_class_ratio_as_mass_undoes_label_shift():
    rng = np.random.default_rng(6)
    losses = {"plain": [], "weighted": []}
    for _ in range(4):
        y, y_target, y_new = rng.random(500) < 0.5, rng.random(500) < 0.9, rng.random(3000) < 0.9
        X, Z, new = (
            rng.normal(size=(len(t), 5)) + np.outer(2 * t - 1, [1, 0.5, 0, 0, 0]) for t in (y, y_target, y_new)
        )
        source_only = LogisticRegression().fit(X, y).score(new, y_new)
        for name, weight in (("plain", None), ("weighted", np.where(y, 1.8, 0.2))):
            moved = OptimalTransport().fit(X, Z, source_weight=weight).transform_source(X)
            losses[name].append(LogisticRegression().fit(moved, y).score(new, y_new) - source_only)
    assert np.mean(losses["weighted"]) > -0.01 > -0.1 > np.mean(losses["plain"])


@pytest.mark.parametrize(
    ("move", "prior", "loss"),
    [
        ([2, 0, 0], 0.5, 0.03),
        ([4, 4, 0], 0.5, 0.03),
        ([30, 30, 0], 0.5, 0.03),
        ([0, 0, 0], 0.2, 0.07),
        ([0, 4, 0], 0.2, 0.1),
    ],
)
def test_unbalanced_transport_survives_translation_or_label_shift(move, prior, loss):
    """Full transport loses .15 under this label shift."""
    rng = np.random.default_rng(23)
    both = prior != 0.5 and any(move)  # told apart by the labels only
    losses: dict = {labels: [] for labels in ((True,) if both else (True, False))}
    for _ in range(4):
        y, y_target = rng.random(300) < 0.5, rng.random(300) < prior
        X, Z = (rng.normal(size=(300, 3)) + np.outer(t, [3, 0, 0]) for t in (y, y_target))
        source_only = LogisticRegression().fit(X, y).score(Z, y_target)  # had nothing moved
        for labels in losses:
            moved = OptimalTransport("unbalanced").fit(X, Z + move, y_source=y if labels else None).transform_source(X)
            losses[labels].append(source_only - LogisticRegression().fit(moved, y).score(Z + move, y_target))
    assert max(map(np.mean, losses.values())) < loss


@pytest.mark.parametrize("method", ["unbalanced", "partial"])
def test_relaxed_transport_leaves_a_part_of_the_source_where_it_is(method):
    """The target is the right half of the source."""
    rng = np.random.default_rng(24)
    X, Z = rng.uniform(-1, 1, size=(2, 400, 2))
    Z = Z[Z[:, 0] > 0]
    aligner, full = OptimalTransport(method).fit(X, Z), OptimalTransport().fit(X, Z)
    right = X[:, 0] > 0.2
    moved, moved_by_all = (np.abs(a.transform_source(X) - X)[right, 0].mean() for a in (aligner, full))
    assert moved < 0.6 * moved_by_all


# --- invariance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_units_and_translation_change_nothing(method):
    rng = np.random.default_rng(7)
    (X, y), (Z, _) = moons(80, rng), moons(90, rng, 30)
    plain = OptimalTransport(method, shrinkage=0.0).fit(X, Z, y_source=y).transform_source(X)
    scaled = OptimalTransport(method, shrinkage=0.0).fit(1e4 * X, 1e4 * Z, y_source=y).transform_source(1e4 * X)
    np.testing.assert_allclose(scaled / 1e4, plain, atol=1e-5)
    if method == "partial":  # the farthest rows stay behind
        return
    near = 20 if method == "unbalanced" else 0  # further than other class frequencies explain
    plain = OptimalTransport(method, shrinkage=0.0).fit(X, Z + near, y_source=y).transform_source(X) - near
    far = OptimalTransport(method, shrinkage=0.0).fit(X, Z + 50, y_source=y).transform_source(X)
    np.testing.assert_allclose(far - 50, plain, atol=1e-3)


def test_weights_are_repetitions():
    rng = np.random.default_rng(8)
    X, Z = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) + 1
    times = rng.integers(0, 4, size=60)
    new = rng.normal(size=(5, 3))
    weighted = OptimalTransport(shrinkage=0.0).fit(X, Z, source_weight=times).transform_source(new)
    repeated = OptimalTransport(shrinkage=0.0).fit(np.repeat(X, times, axis=0), Z).transform_source(new)
    np.testing.assert_allclose(weighted, repeated, atol=1e-4)


def test_columns_are_scaled_when_units_differ_but_not_for_a_nearly_constant_one():
    rng = np.random.default_rng(21)
    X, Z = rng.normal(size=(60, 5)), rng.normal(size=(60, 5)) + 1

    def moved(factor, **parameters):
        fitted = OptimalTransport(shrinkage=0.0, **parameters).fit(X * factor, Z * factor)
        return fitted.transform_source(X * factor)

    for factor, same in (([1, 1, 1, 1, 1e-3], False), ([1e3, 1, 1, 1, 1e-3], True)):
        np.testing.assert_array_equal(moved(factor), moved(factor, standardize=same))


def test_degenerate_columns():
    rng = np.random.default_rng(9)
    X, Z = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 3
    X, Z = np.c_[X, np.full(60, 7.0), np.full(60, 0.1)], np.c_[Z, np.full(60, 7.0), np.full(60, 1e6)]
    for method in ("entropic", "exact"):
        out = OptimalTransport(method).fit(X, Z).transform_source(X)
        np.testing.assert_allclose(out[:, 2], 7)
        np.testing.assert_allclose(out[:, 3], 1e6)
    constant = OptimalTransport().fit(np.ones((5, 2)), np.full((6, 2), 3.0))
    np.testing.assert_allclose(constant.transform_source(np.ones((5, 2))), 3)


# --- new rows, many rows, known labels ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_training_rows_and_duplicates_get_their_own_image(method):
    rng = np.random.default_rng(10)
    (X, y), (Z, _) = moons(60, rng), moons(80, rng, 30)
    X, y = np.r_[X, X[:20]], np.r_[y, y[:20]]
    aligner = OptimalTransport(method, shrinkage=0.0, sharpening=0).fit(X, Z, y_source=y)
    out = aligner.transform_source(X)
    np.testing.assert_allclose(out[60:], out[:20])
    sent = aligner.plan_.sum(axis=1)
    if method != "partial":
        own = aligner.plan_ @ Z
        own[:20] = own[60:] = own[:20] + own[60:]
        sent[:20] = sent[60:] = sent[:20] + sent[60:]
        np.testing.assert_allclose(out, own / sent[:, None], atol=1e-4)
    np.testing.assert_allclose(aligner.transform_source(X[:3]), out[:3])  # one row at a time, the same


def test_rows_without_mass_follow_their_neighbours():
    rng = np.random.default_rng(11)
    X, Z = rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 5
    weight = np.r_[np.zeros(10), np.ones(40)]
    for method in ("entropic", "exact", "unbalanced"):
        out = OptimalTransport(method, marginal_penalty=5.0).fit(X, Z, source_weight=weight).transform_source(X)
        assert np.abs(out[:10] - X[:10] - 5).mean() < 1.5


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_drawn_above_the_limit(method):
    """The moved sample is as close to the target as with the full plan, up to what drawing 300 rows costs."""
    rng = np.random.default_rng(12)
    (X, y), (Z, _) = moons(1000, rng), moons(900, rng, 30)

    def energy(moved):
        return 2 * cdist(moved, Z).mean() - cdist(moved, moved).mean() - cdist(Z, Z).mean()

    full = OptimalTransport(method).fit(X, Z, y_source=y)
    excess = []
    for seed in range(3):
        few = OptimalTransport(method, max_rows=300, random_state=seed).fit(X, Z, y_source=y)
        assert few.plan_ is None
        assert abs(few.shrinkage_ - full.shrinkage_) < 0.05
        excess.append(energy(few.transform_source(X)) - energy(full.transform_source(X)))
    drawing = 2 / 300 * cdist(Z, Z).mean()  # expected energy distance of two samples of 300 rows
    assert np.mean(excess) < 2 * drawing < energy(X) - energy(full.transform_source(X))
    again = OptimalTransport(method, max_rows=300, random_state=2).fit(X, Z, y_source=y)
    np.testing.assert_array_equal(few.transform_source(X), again.transform_source(X))


@pytest.mark.parametrize("method", METHODS)
def test_known_target_labels_forbid_other_classes(method):
    rng = np.random.default_rng(13)
    (X, y), (Z, y_target) = moons(100, rng), moons(120, rng, 60)
    some = y_target.astype(object)
    some[30:] = [None, np.nan] * 45
    for labels in (some, y_target):  # a few; all, with other class frequencies
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            aligner = OptimalTransport(method).fit(X, Z, y_source=y, y_target=labels)
        known = np.flatnonzero([value in (0, 1) for value in labels])
        wrong = y[:, None] != y_target[known]
        assert aligner.plan_[:, known][wrong].sum() < 1e-8
        assert np.isfinite(aligner.transform_source(X)).all()


def test_labels_that_the_source_lacks_or_has_too_few_of():
    rng = np.random.default_rng(14)
    X, Z = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    y = np.r_[np.zeros(55), np.ones(5)].astype(int)
    labels = np.array([1] * 20 + [2] * 5 + [None] * 15, dtype=object)
    aligner = OptimalTransport().fit(X, Z, y_source=y, y_target=labels)
    np.testing.assert_allclose(aligner.plan_.sum(axis=0), np.where(labels == 2, 0, 1 / 35), atol=1e-5)
    assert aligner.plan_[y == 0, :20].sum() < 1e-8
    with pytest.raises(InputError, match="classes in common"):
        OptimalTransport().fit(X, Z, y_source=y, y_target=np.full(40, "a"))


def test_inside_feature_alignment():
    rng = np.random.default_rng(15)
    (X, y), (Z, _), (new, y_new) = moons(300, rng), moons(300, rng, 30), moons(2000, rng, 30)
    adapter = FeatureAlignment(SVC(gamma=2.0), OptimalTransport()).fit(X, y, Z)
    assert adapter.score(new, y_new) > SVC(gamma=2.0).fit(X, y).score(new, y_new)
    FeatureAlignment(LinearRegression(), OptimalTransport()).fit(X, X[:, 0], Z)  # regression


@pytest.mark.parametrize("method", METHODS)
def test_target_rows_moved_to_the_source(method):
    """New target rows, labels of the source known, none or some of the target: the other direction."""
    rng = np.random.default_rng(20)
    (X, y), (Z, y_target), (new, y_new) = moons(300, rng), moons(300, rng), moons(2000, rng)
    Z, new = Z + [1.5, -1.0], new + [1.5, -1.0]
    labels = y_target.astype(object)
    labels[60:] = None
    adapter = FeatureAlignment(SVC(gamma=2.0), OptimalTransport(method), direction="target_to_source")
    score = adapter.fit(X, y, Z, labels).score(new, y_new)
    assert score > SVC(gamma=2.0).fit(X, y).score(new, y_new) + 0.2


# --- an object like others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_clone_pickle_refit_and_untouched_input(method):
    rng = np.random.default_rng(16)
    (X, y), (Z, _) = moons(60, rng), moons(70, rng, 30)
    before = X.copy(), Z.copy(), y.copy()
    aligner = OptimalTransport(method, random_state=0)
    parameters = aligner.get_params()
    first = aligner.fit(X, Z, y_source=y).transform_source(Z)
    assert aligner.get_params() == parameters
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(aligner)).transform_source(Z), first)
    np.testing.assert_array_equal(aligner.fit(X, Z, y_source=y).transform_source(Z), first)
    np.testing.assert_array_equal(clone(aligner).fit(X, Z, y_source=y).transform_source(Z), first)
    np.testing.assert_array_equal(aligner.transform_target(Z), Z)
    for kept, now in zip(before, (X, Z, y), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize(
    "parameters",
    [
        {"method": "sinkhorn"},
        {"regularization": 0},
        {"class_regularization": -1},
        {"marginal_penalty": "auto"},
        {"transported_mass": 1},
        {"sharpening": -1},
        {"sharpening": True},
        {"max_rows": 1},
        {"shrinkage": 2},
        {"shrinkage": "none"},
        {"standardize": "yes"},
    ],
)
def test_parameters_are_checked(parameters):
    X = np.random.default_rng(17).normal(size=(10, 2))
    with pytest.raises(InputError, match=next(iter(parameters))):
        OptimalTransport(**parameters).fit(X, X)


def test_class_regularised_needs_classes():
    X = np.random.default_rng(18).normal(size=(20, 2))
    for y in (None, X[:, 0]):
        with pytest.raises(InputError, match='method="entropic"'):
            OptimalTransport("class-regularised").fit(X, X, y_source=y)
    with pytest.raises(InputError, match='method="entropic"'):
        OptimalTransport("class-regularised").fit(X, X, y_source=np.arange(20) % 4, estimator=LinearRegression())
    with pytest.raises(InputError, match="y_source has shape"):
        OptimalTransport().fit(X, X, y_source=np.zeros(3))


def test_what_cannot_be_solved_is_said():
    rng = np.random.default_rng(19)
    X, Z = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) ** 3
    with pytest.warns(ShiftWarning, match="Raise regularization"):
        OptimalTransport(regularization=1e-5).fit(X, Z)
    with pytest.raises(InputError, match="marginal_penalty"):
        X, Z = rng.normal(size=(2, 50, 20))
        OptimalTransport("unbalanced", regularization=0.01, marginal_penalty=0.001).fit(X, Z)
