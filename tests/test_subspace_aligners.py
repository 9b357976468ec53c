"""SubspaceAlignment, GFK, TCA, JDA and LocationScale."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from da_toolkit.datasets import make_label_shift
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from da_toolkit.alignment import FeatureAlignment
from da_toolkit.alignment._gfk import GFK, kernel_root
from da_toolkit.alignment._jda import JDA, joint_differences
from da_toolkit.alignment._location_scale import LocationScale, step
from da_toolkit.alignment._pseudo_labels import balanced
from da_toolkit.alignment._subspace import n_axes, n_leading, principal_axes, subspaces
from da_toolkit.alignment._subspace_alignment import SubspaceAlignment
from da_toolkit.alignment._tca import TCA
from shift_detectors._errors import InputError, ShiftWarning

BLIND = [SubspaceAlignment(), GFK(), TCA(random_state=0), TCA(kernel="linear")]  # to classes
CLASS_WISE = [JDA(random_state=0), LocationScale(random_state=0)]
EVERY = BLIND + CLASS_WISE


def logistic():
    return LogisticRegression(max_iter=1000)


def equal(n):
    return np.full(n, 1 / n)


def classes(n, rng, k=3, d=10, move=0.0):
    """Gaussian classes around centres that are always the same."""
    y = rng.integers(0, k, n)
    centre = np.random.default_rng(99).normal(size=(k, d))
    return 1.2 * centre[y] + rng.normal(size=(n, d)) + move, y


def moved_pair(rng, n=300):
    """Every column of the target scaled and moved."""
    X, y = classes(n, rng)
    X_target, y_target = classes(n, rng)
    return X, y, X_target * np.linspace(0.7, 1.6, 10) + np.linspace(-2, 2, 10), y_target


def test_the_number_of_axes_does_not_depend_on_the_last_bit():
    for n in range(5, 1000):
        assert n_axes(1 / (equal(n) ** 2).sum(), 5.0) == n // 5


# --- subspaces ----------------------------------------------------------------------------------------------


def test_subspace_alignment_is_its_formula():
    rng = np.random.default_rng(0)
    X, X_target = (rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) for n in (80, 90))
    aligner = SubspaceAlignment(n_components=3, standardize=False).fit(X, X_target)
    P_s, P_t = (np.linalg.svd(A - A.mean(axis=0))[2][:3].T for A in (X, X_target))
    kept = aligner.beyond_noise_
    assert 0.5 < kept < 1
    center = aligner.mean_target_
    source = (X - X.mean(axis=0)) @ P_s @ P_s.T @ P_t  # published coordinates
    ours = aligner.transform_source(X) - center
    np.testing.assert_allclose(ours, kept * source @ P_t.T + (1 - kept) * (X - X.mean(axis=0)), atol=1e-8)
    target = (X_target - center) @ P_t @ P_t.T
    ours = aligner.transform_target(X_target) - center
    np.testing.assert_allclose(ours, kept * target + (1 - kept) * (X_target - center), atol=1e-8)


@pytest.mark.parametrize("n, n_target, d", [(200, 200, 100), (300, 100, 60), (100, 400, 300)])
def test_subspace_alignment_keeps_the_rows_where_subspaces_differ_by_noise_alone(n, n_target, d):
    """Two samples of one distribution, in many columns; then the target's columns are turned."""
    spread = 1 / np.sqrt(1 + np.arange(d))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    same, turned = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, X_target = (rng.normal(size=(rows, d)) * spread for rows in (n, n_target))
        same.append(SubspaceAlignment().fit(X, X_target).beyond_noise_)
        turned.append(SubspaceAlignment().fit(X, X_target @ turn).beyond_noise_)
    assert np.mean(same) < 0.03 and min(turned) > np.mean(same) + 0.05


def test_gfk_is_the_integral_over_the_geodesic():
    rng = np.random.default_rng(1)
    P_s, P_t = (np.linalg.qr(rng.normal(size=(7, 3)))[0] for _ in range(2))
    left, right, angles = kernel_root(P_s, P_t)
    u, cosine, vt = np.linalg.svd(P_s.T @ P_t)
    np.testing.assert_allclose(np.cos(angles), cosine)
    start, end = P_s @ u, P_t @ vt.T
    ahead = (end - start * cosine) / np.sin(angles)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    G = np.zeros((7, 7))
    for t, w in zip((nodes + 1) / 2, weights / 2, strict=True):
        phi = start * np.cos(t * angles) + ahead * np.sin(t * angles)
        np.testing.assert_allclose(phi.T @ phi, np.eye(3), atol=1e-10)
        G += w * phi @ phi.T
    root = left @ right
    np.testing.assert_allclose(root, root.T, atol=1e-10)
    np.testing.assert_allclose(root @ root, G, atol=1e-10)


def test_gfk_between_equal_subspaces_is_the_projection():
    P = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 2)))[0]
    left, right, angles = kernel_root(P, P @ np.array([[0.6, -0.8], [0.8, 0.6]]))
    np.testing.assert_allclose(angles, 0, atol=1e-7)
    np.testing.assert_allclose(left @ right, P @ P.T, atol=1e-7)


@pytest.mark.parametrize("shape", [(50, 4), (20, 60)])
def test_principal_axes(shape):
    rng = np.random.default_rng(3)
    rows, mass = rng.normal(size=shape), rng.random(shape[0])
    mass /= mass.sum()
    rows -= mass @ rows
    axes, variances = principal_axes(rows, mass)
    covariance = (rows * mass[:, None]).T @ rows
    np.testing.assert_allclose(covariance @ axes, axes * variances, atol=1e-8)
    assert (np.diff(variances) <= 0).all() and variances.sum() == pytest.approx(np.trace(covariance))


def test_number_of_axes():
    assert n_leading(np.array([90.0, 9.0, 1.0])) == 2
    assert n_leading(np.array([90.0, 9.0, 1.1])) == 3
    rng = np.random.default_rng(4)
    X, X_target = rng.normal(size=(100, 40)), rng.normal(size=(60, 40))
    found = subspaces(X, X_target, equal(100), equal(60), "auto", "auto")
    assert found.axes_source.shape == (40, 12)  # one for five rows of the smaller domain
    low = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 40))
    assert SubspaceAlignment().fit(low, low[:50]).n_components_ == 2


def test_units():
    """Columns in very different units are measured in their standard deviations."""
    rng = np.random.default_rng(5)
    X, X_target = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) + 1
    unit = np.array([1e-3, 1, 1e3, 1e4])
    for method in (SubspaceAlignment, GFK):
        plain = method(2, standardize=True).fit(X, X_target).transform_source(X)
        scaled = method(2).fit(X * unit, X_target * unit).transform_source(X * unit)
        np.testing.assert_allclose(scaled / unit, plain, atol=1e-6)
    plain = TCA(standardize=True, random_state=0).fit(X, X_target).transform_source(X)
    scaled = TCA(random_state=0).fit(X * unit, X_target * unit).transform_source(X * unit)
    np.testing.assert_allclose(np.abs(scaled), np.abs(plain), atol=1e-6)


@pytest.mark.parametrize("aligner", [SubspaceAlignment(), GFK()], ids=repr)
def test_identical_samples_are_not_moved(aligner):
    X = np.random.default_rng(6).normal(size=(200, 5))
    fitted = clone(aligner).fit(X, X)
    np.testing.assert_allclose(fitted.transform_source(X), X, atol=1e-7)
    np.testing.assert_allclose(fitted.transform_target(X), X, atol=1e-7)


@pytest.mark.parametrize("aligner", [GFK(), TCA(random_state=0), JDA(random_state=0)], ids=repr)
def test_columns_are_left_where_the_domains_cannot_be_told_apart(aligner):
    """In many columns the axes left out cost accuracy, and without a shift nothing is gained by it."""
    rng = np.random.default_rng(13)
    X, y = classes(300, rng, d=200)
    alike, _ = classes(200, rng, d=200)
    left = clone(aligner).fit(X, alike, y_source=y)
    assert not left.told_apart_
    assert left.n_components_ == 200
    np.testing.assert_array_equal(left.transform_source(X), X)
    np.testing.assert_array_equal(left.transform_target(alike), alike)
    assert clone(aligner).fit(X, alike + 1.0, y_source=y).told_apart_
    assert clone(aligner).set_params(n_components=5).fit(X, alike, y_source=y).told_apart_


def test_weighted_rows_count_as_told_apart():
    X, X_target = np.random.default_rng(14).normal(size=(2, 300, 3))
    assert not GFK().fit(X, X_target).told_apart_
    assert GFK().fit(X, X_target, source_weight=np.repeat([1.0, 2.0], 150)).told_apart_


def test_domains_standardised_each_by_itself_are_told_apart():
    rng = np.random.default_rng(15)
    X, X_target = rng.normal(size=(2, 300, 200)) @ np.diag(np.linspace(1, 3, 200))
    X, X_target = ((rows - rows.mean(axis=0)) / rows.std(axis=0) for rows in (X, X_target))
    assert GFK().fit(X, X_target).told_apart_


# --- components ---------------------------------------------------------------------------------------------


def test_tca_solves_its_eigenproblem():
    rng = np.random.default_rng(7)
    X, X_target = rng.normal(size=(70, 5)) * [3, 1, 2, 1, 1], rng.normal(size=(50, 5)) + [2, 0, 0, 1, 0]
    mu = 2.0
    aligner = TCA(n_components=5, kernel="linear", mu=mu, standardize=False).fit(X, X_target)
    C = np.cov(np.vstack([X, X_target]).T, bias=True)
    d = X.mean(axis=0) - X_target.mean(axis=0)
    allowed = mu * np.trace(C) * (1 / 70 + 1 / 50)
    values, vectors = eigh(C, np.eye(5) + np.outer(d, d) / allowed)
    np.testing.assert_allclose(aligner.variance_, values[::-1])
    centred = X - np.vstack([X, X_target]).mean(axis=0)
    np.testing.assert_allclose(np.abs(aligner.transform_source(X)), np.abs(centred @ vectors[:, ::-1]), atol=1e-8)
    left = aligner.transform_source(X).mean(axis=0) - aligner.transform_target(X_target).mean(axis=0)
    assert left @ left < allowed < d @ d
    assert left @ left == pytest.approx(d @ d / (1 + d @ d / allowed))


def test_tca_of_one_sample_is_kernel_pca():
    X, _ = make_moons(120, noise=0.1, random_state=0)
    aligner = TCA(n_components=6, bandwidth=0.8, n_landmarks=240).fit(X, X)
    z = aligner.transform_source(X)
    expected = KernelPCA(6, kernel="rbf", gamma=1 / 0.8**2).fit_transform(X)
    scale = np.sqrt(X.var(axis=0).sum() / (1 - rbf_kernel(X, gamma=1 / 0.8**2).mean()))
    np.testing.assert_allclose(np.abs(z), scale * np.abs(expected), atol=1e-6)
    white = clone(aligner).set_params(whiten=True).fit(X, X)
    np.testing.assert_allclose(white.transform_source(X).std(axis=0), 1, atol=1e-6)


def test_a_wide_kernel_is_linear():
    rng = np.random.default_rng(8)
    X, X_target = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    wide = TCA(n_components=3, bandwidth=300.0).fit(X, X_target)
    linear = TCA(n_components=3, kernel="linear").fit(X, X_target)
    np.testing.assert_allclose(np.abs(wide.transform_source(X)), np.abs(linear.transform_source(X)), atol=0.02)


def test_landmarks_come_close_to_all_rows():
    rng = np.random.default_rng(9)
    X, y, X_target, _ = moved_pair(rng)
    few, every = (TCA(4, n_landmarks=n, random_state=0).fit(X, X_target) for n in (150, 600))
    for a, b in zip(few.transform_target(X_target).T, every.transform_target(X_target).T, strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) > 0.95


def test_joint_differences_are_those_of_the_classes():
    rng = np.random.default_rng(10)
    phi, phi_target = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
    y, guess = rng.integers(0, 2, 40), rng.random((30, 2))
    guess /= guess.sum(axis=1, keepdims=True)
    found = joint_differences(phi, phi_target, np.eye(2)[y], guess, equal(40), equal(30))
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found[:, 0], (phi.mean(axis=0) - phi_target.mean(axis=0)) / np.sqrt(1 / 40 + 1 / 30))
    for c in range(2):
        share = guess[:, c] / guess[:, c].sum()
        noise = 1 / (y == c).sum() + (share**2).sum()
        difference = phi[y == c].mean(axis=0) - share @ phi_target
        np.testing.assert_allclose(found[:, 1 + c], np.sqrt((y == c).mean() / noise) * difference)


def test_balanced_guesses_have_nearly_the_frequencies():
    rng = np.random.default_rng(11)
    guess, mass = rng.dirichlet([1, 2, 3], size=200), rng.random(200)
    mass /= mass.sum()
    out = balanced(guess, np.array([0.5, 0.3, 0.2]), mass)
    np.testing.assert_allclose(mass @ out, [0.5, 0.3, 0.2], atol=0.01)
    np.testing.assert_allclose(out.sum(axis=1), 1)
    ratio = out / guess  # odds of every row are changed by the same factors
    np.testing.assert_allclose(ratio[:, 0] / ratio[:, 1], (ratio[:, 0] / ratio[:, 1])[0])
    hard = np.eye(3)[rng.integers(0, 3, 200)]
    np.testing.assert_array_equal(balanced(hard, np.array([0.5, 0.5, 0.0]), mass), hard)


# --- location and scale -------------------------------------------------------------------------------------


def test_step_gives_classes_the_moments_of_the_target():
    rng = np.random.default_rng(12)
    y, y_target = np.repeat([0, 1], 5000), np.repeat([1, 0], 4000)
    X = rng.normal(size=(10000, 3)) + 100
    X_target = rng.normal(size=(8000, 3)) * np.where(y_target, 3, 0.5)[:, None] + y_target[:, None] + 100
    scale, location = step(X, X_target, np.eye(2)[y], np.eye(2)[y_target], equal(10000), equal(8000))
    moved = scale[y] * X + location[y]
    for c in range(2):
        ours, theirs = moved[y == c], X_target[y_target == c]
        np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.03)
        np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.03)


def test_step_leaves_two_samples_of_one_distribution_alone():
    rng = np.random.default_rng(13)
    moved = []
    for _ in range(20):
        X, X_target = rng.normal(size=(2, 60, 20))
        one = np.ones((60, 1))
        scale, location = step(X, X_target, one, one, equal(60), equal(60))
        moved.append(np.abs((scale - 1) * X + location).mean())
    raw = np.sqrt(2 / 60)
    assert np.mean(moved) < 0.3 * raw


def test_constant_columns_are_not_stretched():
    X = np.column_stack([np.random.default_rng(14).normal(size=50), np.ones(50)])
    X_target = X + [0, 5]
    scale, location = step(X, X_target, np.ones((50, 1)), np.ones((50, 1)), equal(50), equal(50))
    np.testing.assert_allclose(scale[:, 1] * X[:, [1]] + location[:, 1], 6, atol=0.3)
    assert np.isfinite(LocationScale(random_state=0).fit(X, X_target, y_source=X[:, 0] > 0).scale_).all()


@pytest.mark.parametrize("seed", range(3))
def test_standard_deviations_of_rare_counts_are_known_badly(seed):
    """Taken for those of normal columns they were stretched by a third between samples of one distribution."""
    rng = np.random.default_rng(seed)
    (y, y_target), rate = rng.integers(2, size=(2, 300)), rng.uniform(0.01, 0.1, 60)
    more = 1 + 2 * (np.arange(60) < 10)
    X, X_target = (rng.poisson(np.where(v[:, None] == 1, rate * more, rate)).astype(float) for v in (y, y_target))
    aligner = LocationScale(random_state=0).fit(X, X_target, y_source=y)
    assert np.abs(np.log(aligner.scale_)).mean() < 0.2
    changed = LocationScale(random_state=0).fit(X, 3 * X_target, y_source=y)
    assert np.log(changed.scale_).mean() == pytest.approx(np.log(3), abs=0.25)


@pytest.mark.parametrize("unit", [[1, 100], [1, 1e4], [1e-4, 1]])
def test_columns_are_stretched_in_any_units(unit):
    rng = np.random.default_rng(17)
    y, y_target = rng.integers(2, size=(2, 500))
    X, X_target = (rng.normal(size=(500, 2)) + 1.5 * np.c_[labels, 0 * labels] for labels in (y, y_target))
    X_target = X_target * [3, 1] + [2, 0]
    plain = LocationScale(random_state=0).fit(X, X_target, y_source=y)
    scaled = LocationScale(random_state=0).fit(X * unit, X_target * unit, y_source=y)
    np.testing.assert_allclose(plain.scale_[:, 0], 3, atol=0.5)
    np.testing.assert_allclose(scaled.scale_, plain.scale_, rtol=1e-6)
    other = LocationScale(random_state=0).fit(X, X_target * 1e3, y_source=y)  # units of the target alone
    np.testing.assert_allclose(other.scale_, 1e3 * plain.scale_, rtol=0.1)


def test_every_class_is_found_where_it_moved():
    rng = np.random.default_rng(15)
    y, y_target = rng.integers(2, size=(2, 600))
    X, X_target = (rng.normal(size=(600, 2)) + 6 * np.eye(2)[labels] for labels in (y, y_target))
    scale, location = np.array([[1, 2], [0.5, 1]]), np.array([[0, -2], [1.5, 2]])
    X_target = scale[y_target] * X_target + location[y_target]
    aligner = LocationScale(random_state=0).fit(X, X_target, y_source=y)
    np.testing.assert_allclose(aligner.scale_, scale, atol=0.2)
    assert (aligner.pseudo_labels_ == y_target).mean() > 0.97
    np.testing.assert_allclose(aligner.transform_source(X), aligner.scale_[y] * X + aligner.location_[y])
    new = X[:50] + 1e-3  # not the training rows: the class is guessed
    np.testing.assert_allclose(aligner.transform_source(new), aligner.transform_source(X[:50]), atol=0.5)
    shuffled = rng.permutation(600)
    np.testing.assert_allclose(aligner.transform_source(X[shuffled]), aligner.transform_source(X)[shuffled])


def test_equal_rows_of_several_classes_are_moved_with_their_own():
    rng = np.random.default_rng(18)
    y, y_target = rng.integers(2, size=(2, 600))
    X, X_target = (np.round(rng.normal(size=(600, 1)) + 2 * labels[:, None]) for labels in (y, y_target))
    X_target += np.array([[0], [6]])[y_target]
    apart = X + 1e-9 * rng.normal(size=X.shape)

    def fit(X, y):
        return FeatureAlignment(logistic(), LocationScale(), class_prior=None, random_state=0).fit(X, y, X_target)

    fitted = fit(X, y)
    np.testing.assert_allclose(fitted.head_.coef_, fit(apart, y).head_.coef_, rtol=1e-3)
    aligner = fitted.aligner_
    own = aligner.scale_[y] * X + aligner.location_[y]
    np.testing.assert_allclose(aligner._transform_fitted(X), own)
    np.testing.assert_allclose(aligner.transform_source(X[X == 1][:, None]), own[X == 1].mean())


@pytest.mark.parametrize("aligner", CLASS_WISE, ids=repr)
def test_labelled_target_rows_are_moved_to_the_source(aligner):
    """Classes that are numbers, too; the model is fitted on them under the map of their own class."""
    rng = np.random.default_rng(19)
    y, y_target = rng.integers(2, size=(2, 200))
    X, X_target = (rng.normal(size=(200, 2)) + 4 * labels[:, None] for labels in (y, y_target))
    X_target += [3, -3]
    adapter = FeatureAlignment(logistic(), clone(aligner), "target_to_source", class_prior=None, random_state=0)
    adapter.fit(X, y, X_target, y_target)
    assert adapter.score(X_target, y_target) > 0.95
    own = adapter.aligner_._transform_fitted(X_target)
    rows = np.r_[adapter.aligner_.transform_target(X), own]
    np.testing.assert_allclose(adapter.head_.coef_, logistic().fit(rows, np.r_[y, y_target]).coef_, rtol=1e-3)


# --- what they are for --------------------------------------------------------------------------------------


def rotated_moons(seed, degrees=30):
    X, y = make_moons(400, noise=0.1, random_state=seed)
    X_target, y_target = make_moons(400, noise=0.1, random_state=seed + 1000)
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    centre = [0.5, 0.25]
    return X - centre, y, (X_target - centre) @ turn, y_target


def digits(seed, change=lambda images: images):
    X, y = load_digits(return_X_y=True)
    a, b, c = np.split(np.random.default_rng(seed).permutation(len(X)), [500, 1000])
    target, test = (change(X[rows].reshape(-1, 8, 8) / 16).reshape(-1, 64) for rows in (b, c))
    return X[a] / 16, y[a], target, test, y[c]


def blur(images):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return 0.2 + 0.7 * np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).mean(axis=(3, 4))


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_moved_columns_are_aligned(aligner):
    X, y, X_target, y_target = moved_pair(np.random.default_rng(16))
    source_only = logistic().fit(X, y).score(X_target, y_target)
    adapted = FeatureAlignment(logistic(), clone(aligner), class_prior=None).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > source_only + 0.05
    assert (adapted.predict_source(X) == y).mean() > 0.9


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_blurred_digits_gain(aligner):
    X, y, X_target, X_test, y_test = digits(0, blur)
    source_only = logistic().fit(X, y).score(X_test, y_test)
    adapted = FeatureAlignment(logistic(), clone(aligner), random_state=0).fit(X, y, X_target)
    assert adapted.score(X_test, y_test) > source_only + 0.1


@pytest.mark.parametrize("aligner", CLASS_WISE, ids=repr)
def test_class_wise_methods_gain_on_rotated_moons(aligner):
    gains = []
    for seed in range(3):
        X, y, X_target, y_target = rotated_moons(seed)
        model = SVC(gamma=2.0, C=10.0)
        adapted = FeatureAlignment(model, clone(aligner), random_state=0).fit(X, y, X_target)
        gains.append(adapted.score(X_target, y_target) - model.fit(X, y).score(X_target, y_target))
    assert np.mean(gains) > 0.005


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_no_collapse(aligner):
    """Where the method has nothing to offer it loses little."""
    X, y, X_target, y_target = rotated_moons(5, degrees=20)
    model = SVC(gamma=2.0, C=10.0)
    adapted = FeatureAlignment(model, clone(aligner), random_state=0).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > model.fit(X, y).score(X_target, y_target) - 0.1


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_nothing_is_lost_without_a_shift(aligner):
    changes = []
    for seed in range(2):
        X, y, X_target, X_test, y_test = digits(seed)
        problems = [(X, y, X_target, X_test, y_test)]
        rng = np.random.default_rng(seed)
        problems.append((*classes(300, rng), classes(300, rng)[0], *classes(1000, rng)))
        for X, y, X_target, X_test, y_test in problems:
            adapted = FeatureAlignment(logistic(), clone(aligner), random_state=0).fit(X, y, X_target)
            changes.append(adapted.score(X_test, y_test) - logistic().fit(X, y).score(X_test, y_test))
    assert np.mean(changes) > -0.01


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_label_shift_is_weighted_away(aligner):
    pair = make_label_shift(800, 800, target_prior=[0.95, 0.05], random_state=0)
    source_only = logistic().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    adapted = FeatureAlignment(logistic(), clone(aligner), random_state=0).fit(*pair.seen)
    assert adapted.score(pair.X_target, pair.y_target) > source_only


@pytest.mark.parametrize("aligner", BLIND, ids=repr)
def test_regression(aligner):
    rng = np.random.default_rng(17)
    X, X_target = rng.normal(size=(2, 400, 3)) * [2, 1, 1]
    y, y_target = X[:, 0] + 0.5 * X[:, 1], X_target[:, 0] + 0.5 * X_target[:, 1]
    X_target[:, 2] += 3  # a column that does not matter
    adapted = FeatureAlignment(LinearRegression(), clone(aligner)).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > 0.9


@pytest.mark.parametrize("aligner", CLASS_WISE, ids=repr)
def test_class_wise_methods_refuse_what_has_no_classes(aligner):
    X, y, X_target, _ = moved_pair(np.random.default_rng(18), 60)
    with pytest.raises(InputError, match="for regression use"):
        FeatureAlignment(LinearRegression(), clone(aligner)).fit(X, X[:, 0], X_target)
    with pytest.raises(InputError, match="classes of the source"):
        clone(aligner).fit(X, X_target)
    with pytest.raises(InputError, match="source_to_target"):
        clone(aligner).fit(X, X_target, y_source=[None, *map(str, y[1:])])


@pytest.mark.parametrize("aligner", CLASS_WISE, ids=repr)
def test_known_target_labels_are_not_guessed(aligner):
    X, y, X_target, y_target = moved_pair(np.random.default_rng(19), 90)
    wrong = np.where(np.arange(90) < 30, (y_target + 1) % 3, y_target).astype(object)
    wrong[45:] = None
    fitted = clone(aligner).fit(X, X_target, y_source=y, y_target=wrong, estimator=logistic())
    np.testing.assert_array_equal(fitted.pseudo_labels_[:45], wrong[:45].astype(int))


@pytest.mark.parametrize("labels", [["a", "b", "c"], [1.0, 2.0, 5.0]])
@pytest.mark.parametrize("aligner", CLASS_WISE, ids=repr)
def test_classes_of_any_name(aligner, labels):
    X, y, X_target, _ = moved_pair(np.random.default_rng(20), 90)
    names = np.array(labels)
    plain = clone(aligner).fit(X, X_target, y_source=y, estimator=logistic())
    named = clone(aligner).fit(X, X_target, y_source=names[y], estimator=logistic())
    np.testing.assert_array_equal(named.pseudo_labels_, names[plain.pseudo_labels_])
    np.testing.assert_allclose(named.transform_source(X), plain.transform_source(X))


# --- objects like others ------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_refit_clone_and_pickle(aligner):
    X, y, X_target, _ = moved_pair(np.random.default_rng(21), 80)
    before = X.copy(), X_target.copy()
    fitted = clone(aligner).fit(X, X_target, y_source=y, estimator=KNeighborsClassifier(3))
    out, new = fitted.transform_source(X), fitted.transform_target(X_target[:7] + 0.1)
    assert out.shape[1] == new.shape[1] and np.isfinite(out).all() and np.isfinite(new).all()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform_source(X), out)
    fitted.fit(X, X_target, y_source=y, estimator=KNeighborsClassifier(3))
    np.testing.assert_array_equal(fitted.transform_source(X), out)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(X_target, before[1])


@pytest.mark.parametrize("aligner", EVERY, ids=repr)
@pytest.mark.parametrize("case", ["constant", "wide", "one column", "equal rows", "few"])
def test_degenerate_rows(aligner, case):
    rng = np.random.default_rng(22)
    X, X_target = {
        "constant": lambda: (
            np.c_[rng.normal(size=(40, 2)), np.ones(40)],
            np.c_[rng.normal(size=(30, 2)), np.zeros(30)],
        ),
        "wide": lambda: (rng.normal(size=(20, 80)), rng.normal(size=(25, 80)) + 1),
        "one column": lambda: (rng.normal(size=(40, 1)), rng.normal(size=(40, 1)) * 2),
        "equal rows": lambda: (np.ones((20, 2)), np.ones((20, 2))),
        "few": lambda: (rng.normal(size=(4, 2)), rng.normal(size=(2, 2))),
    }[case]()
    y = np.arange(len(X)) % 2
    fitted = clone(aligner).fit(X, X_target, y_source=y, estimator=logistic())
    for out in (fitted.transform_source(X), fitted.transform_target(X_target), fitted.transform_source(X[:1])):
        assert np.isfinite(out).all() and np.abs(out).max() < 100


@pytest.mark.parametrize("method", [SubspaceAlignment, GFK, TCA])
def test_mass_decides_what_is_aligned(method):
    """Rows without mass might as well be absent."""
    rng = np.random.default_rng(23)
    X, X_target = rng.normal(size=(80, 3)) * [3, 2, 1], rng.normal(size=(60, 3)) + 1
    far = np.vstack([X, rng.normal(size=(40, 3)) * [1, 9, 1] + 50])
    options = {"n_landmarks": 1000} if method is TCA else {"standardize": False}
    if method is TCA:
        options |= {"kernel": "linear"}
    alone = method(2, **options).fit(X, X_target)
    weighed = method(2, **options).fit(far, X_target, source_weight=np.r_[np.ones(80), np.zeros(40)])
    if method is not TCA:  # there the numbers of rows decide how much either domain counts
        np.testing.assert_allclose(weighed.transform_source(X), alone.transform_source(X), atol=1e-8)
    assert np.abs(weighed.transform_source(X)).max() < 20


def test_a_frozen_model_needs_its_columns():
    X, y, X_target, _ = moved_pair(np.random.default_rng(24), 60)
    model = FrozenEstimator(logistic().fit(X, y))
    for aligner in (TCA(), SubspaceAlignment(n_components=2)):
        with pytest.raises(InputError, match="new space"):
            FeatureAlignment(model, aligner, direction="target_to_source").fit(X, y, X_target)


@pytest.mark.parametrize(
    ("aligner", "message"),
    [
        (SubspaceAlignment(n_components=0), "n_components"),
        (GFK(n_components="all"), "n_components"),
        (GFK(standardize="yes"), "standardize"),
        (TCA(n_components=1.5), "n_components"),
        (TCA(kernel="poly"), "kernel"),
        (TCA(mu=0), "mu"),
        (TCA(bandwidth=-1.0), "bandwidth"),
        (TCA(bandwidth="wide"), "bandwidth"),
        (TCA(n_landmarks=1), "n_landmarks"),
        (TCA(standardize="yes"), "standardize"),
        (JDA(max_iter=0), "max_iter"),
        (JDA(max_iter=True), "max_iter"),
        (TCA(mu=True), "mu"),
        (LocationScale(max_iter=2.5), "max_iter"),
    ],
    ids=repr,
)
def test_bad_options_are_explained(aligner, message):
    X, y, X_target, _ = moved_pair(np.random.default_rng(25), 30)
    with pytest.raises(InputError, match=message):
        aligner.fit(X, X_target, y_source=y)


def test_a_class_with_one_row():
    X, y, X_target, _ = moved_pair(np.random.default_rng(26), 30)
    y = np.where(np.arange(30) == 0, 7, y)
    with pytest.raises(InputError, match="class 7 has a single"):
        LocationScale().fit(X, X_target, y_source=y)
    assert JDA(random_state=0).fit(X, X_target, y_source=y, estimator=logistic()).classes_[-1] == 7


@pytest.mark.slow
@pytest.mark.parametrize("aligner", EVERY, ids=repr)
def test_many_rows(aligner):
    rng = np.random.default_rng(27)
    X, y = classes(20_000, rng)
    X_target, y_target = classes(20_000, rng, move=0.7)
    adapted = FeatureAlignment(logistic(), clone(aligner), random_state=0).fit(X, y, X_target)
    assert adapted.score(X_target, y_target) > logistic().fit(X, y).score(X_target, y_target)


def test_what_the_source_never_varied_in_does_not_answer_the_target():
    """The third column is 1 in the source, and 0 in half of the target: of these rows no slope can be learnt."""
    rng = np.random.default_rng(0)
    X_source = np.column_stack([rng.normal(size=(400, 2)), np.ones(400)])
    X_target = np.column_stack([rng.normal(size=(500, 2)) + [0.8, 0], rng.random(500) < 0.5])
    y = X_source[:, 0] ** 2 + rng.normal(size=400)
    with pytest.warns(ShiftWarning, match="^x2 with one value in the source.* components"):
        aligner = TCA(random_state=0).fit(X_source, X_target, y_source=y, estimator=LinearRegression())
    source, target = aligner.transform_source(X_source), aligner.transform_target(X_target)
    assert aligner.n_components_ == source.shape[1] == len(aligner.variance_)
    pooled = np.cov(np.vstack([source, target]).T, bias=True)
    np.testing.assert_allclose(pooled, np.diag(aligner.variance_), atol=1e-8)
    # the least of what the source varies in, beside both: slopes there are no worse known than a row's own noise
    least = eigh(np.cov(source.T, bias=True), pooled, eigvals_only=True).min()
    assert least * 400 > 0.999
    answers = LinearRegression().fit(source, y).predict(target)
    assert np.abs(answers).max() < 2 * y.max()
    # the answers of a classifier are bounded, and it tells classes along these directions
    kept = TCA(random_state=0).fit(X_source, X_target, y_source=y > 0, estimator=LogisticRegression())
    assert kept.n_components_ > aligner.n_components_


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_a_source_that_moved_keeps_all_components(shift):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + [shift, 0, 0]
    aligner = TCA(n_components=30, random_state=0).fit(X_source, X_target, estimator=LinearRegression())
    assert aligner.n_components_ == 30
