from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from da_toolkit._domains import read_domains
from da_toolkit._target import Target
from da_toolkit.transfer import OffsetBoosting, PriorCentered, TransferStack
from da_toolkit.transfer._prior_centered import bounds_of, within
from shift_detectors._errors import InputError

MODELS = {"regression": Ridge(), "classification": LogisticRegression()}


def problem(task, rng, change, m, d=5, n=500):
    """Linear source, target coefficients turned by `change` (0: none, 1: unrelated); m target labels."""
    beta, other = 1.5 * rng.normal(size=(2, d)) / np.sqrt(d)
    beta_target = np.sqrt(1 - change**2) * beta + change * other

    def draw(rows, coef, shift):
        X = rng.normal(size=(rows, d))
        f = X @ coef + shift
        if task == "regression":
            return X, f + rng.normal(size=rows)
        return X, (rng.random(rows) < 1 / (1 + np.exp(-2 * f))).astype(float)

    X, y = draw(n, beta, 0.0)
    shift = change * rng.normal()
    X_target, y_target = draw(1000, beta_target, shift)
    few = y_target.copy()
    few[m:] = np.nan
    X_new, y_new = draw(2000, beta_target, shift)
    return X, y, X_target, few, X_new, y_new


def scores(task, change, m, repeats):
    """Mean new-row scores of source-only, target-only and PriorCentered, shape (repeats, 3)."""
    rows = []
    for seed in range(repeats):
        X, y, X_target, few, X_new, y_new = problem(task, np.random.default_rng(seed), change, m)
        model = MODELS[task]
        adapted = PriorCentered(model, random_state=0).fit(X, y, X_target, few)
        known = few[:m]
        alone = clone(model).fit(X_target[:m], known).score(X_new, y_new) if len(set(known)) > 1 else 0.5
        rows.append([clone(model).fit(X, y).score(X_new, y_new), alone, adapted.score(X_new, y_new)])
    return np.array(rows)


@pytest.mark.parametrize("m", [5, 20, 100])
@pytest.mark.parametrize("task", MODELS)
def test_no_harm_without_shift(task, m):
    """Not significantly worse than the source model by more than a point of accuracy or R2."""
    result = scores(task, 0.0, m, 12)
    loss = result[:, 0] - result[:, 2]
    assert loss.mean() - 2 * loss.std() / np.sqrt(len(loss)) < 0.01
    assert loss.mean() < 0.03


@pytest.mark.parametrize("change", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("m", [5, 20, 100])
@pytest.mark.parametrize("task", MODELS)
def test_concept_shift(task, m, change):
    """Above the worse of source-only and target-only; with 100 labels within two points of the better."""
    source, target, adapted = scores(task, change, m, 8).mean(axis=0)
    assert adapted > min(source, target)
    if m == 100:
        assert adapted > max(source, target) - 0.02


def test_belief_follows_the_labels():
    """The probability of the unchanged model rises without shift and falls to nothing with it."""
    for change, low, high in ((0.0, 0.9, 1.0), (1.0, 0.0, 0.02)):
        believed = []
        for seed in range(5):
            X, y, X_target, few, *_ = problem("regression", np.random.default_rng(seed), change, 100)
            believed.append(PriorCentered(Ridge(), random_state=0).fit(X, y, X_target, few).source_probability_)
        assert low <= np.mean(believed) <= high


def test_fixed_strength_is_ridge_centred_on_the_source():
    """Minimises sum (y - x beta - b)^2 + strength (|beta - beta_s|^2 + (b - b_s)^2 / d), standardised."""
    X, y, X_target, few, X_new, _ = problem("regression", np.random.default_rng(0), 0.7, 30)
    model = PriorCentered(Ridge(), strength=7.0).fit(X, y, X_target, few)
    source = Ridge().fit(X, y)
    pooled = np.vstack([X, X_target])
    center, scale = pooled.mean(axis=0), pooled.std(axis=0)
    Q = np.column_stack([np.ones(30), (X_target[:30] - center) / scale])
    penalty = np.diag([7.0 / 5, *[7.0] * 5])
    delta = np.linalg.solve(Q.T @ Q + penalty, Q.T @ (few[:30] - source.predict(X_target[:30])))
    expected = source.predict(X_new) + np.column_stack([np.ones(2000), (X_new - center) / scale]) @ delta
    np.testing.assert_allclose(model.predict(X_new), expected)
    assert model.coef_.shape == (5,)


def test_fixed_strength_minimises_the_logistic_objective():
    X, y, X_target, few, *_ = problem("classification", np.random.default_rng(1), 0.7, 40)
    model = PriorCentered(LogisticRegression(), strength=3.0, random_state=0).fit(X, y, X_target, few)
    np.testing.assert_allclose(model.coef_.sum(axis=1), 0, atol=1e-8)
    # at the minimum: X' (y - p) = strength * coefficients, in standardised features
    pooled = np.vstack([X, X_target])
    center, scale = pooled.mean(axis=0), pooled.std(axis=0)
    residual = few[:40] - model.predict_proba(X_target[:40])[:, 1]
    gradient = ((X_target[:40] - center) / scale).T @ residual
    np.testing.assert_allclose(gradient, 3.0 * model.coef_[:, 1] * scale, atol=1e-2)


@pytest.mark.parametrize("task", MODELS)
def test_end_points(task):
    X, y, X_target, few, X_new, y_new = problem(task, np.random.default_rng(2), 0.8, 200)
    source = clone(MODELS[task]).fit(X, y)
    kept = PriorCentered(MODELS[task], strength=float("inf"), random_state=0).fit(X, y, X_target, few)
    np.testing.assert_allclose(kept.predict(X_new), source.predict(X_new))
    assert not kept.coef_.any() and kept.source_share_ == 1
    weak = PriorCentered(MODELS[task], strength=1e-6, random_state=0).fit(X, y, X_target, few)
    alone = clone(MODELS[task]).fit(X_target[:200], few[:200])
    assert abs(weak.score(X_new, y_new) - alone.score(X_new, y_new)) < 0.02


@pytest.mark.parametrize("noise", [0.1, 0.0])  # of the source; that of the target is 1
@pytest.mark.parametrize("m", [3, 5])
def test_noisier_labels_do_not_refute_a_right_model(m, noise):
    scores = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(300, 6)), rng.normal(size=(600, 6))
        beta = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        y, truth = X @ beta + noise * rng.normal(size=300), X_target @ beta
        few = np.where(np.arange(600) < m, truth + rng.normal(size=600), np.nan)
        scores.append(PriorCentered(Ridge(1e-3), random_state=0).fit(X, y, X_target, few).score(X_target, truth))
    assert np.mean(scores) > 0.9 and min(scores) > 0.3


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_source_whose_labels_are_all_equal_is_corrected(level):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    y_target = level + 1 + X_target[:, 0]
    few = np.where(np.arange(50) < 10, y_target, np.nan)
    assert PriorCentered(Ridge()).fit(X, np.full(50, level), X_target, few).score(X_target, y_target) > 0.9


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_unit_of_the_decision_values_does_not_matter(n_classes, unit):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    y, y_target = ((rows[:, :3] + rng.normal(size=(300, 3)))[:, :n_classes].argmax(axis=1) for rows in (X, X_target))
    few = np.where(np.arange(300) < 10, y_target, np.nan)

    class Scaled(LogisticRegression):
        def decision_function(self, X):
            return unit * super().decision_function(X)

    for adapter in (PriorCentered, OffsetBoosting):
        plain, scaled = (
            adapter(model, random_state=0).fit(X, y, X_target, few) for model in (LogisticRegression(), Scaled())
        )
        np.testing.assert_allclose(scaled.predict_proba(X_target), plain.predict_proba(X_target), atol=1e-3)


def test_any_model_is_corrected():
    """A forest in front, an intercept and one slope changed: the correction is linear, the gain is real."""
    rng = np.random.default_rng(3)
    X, X_target = rng.normal(size=(500, 4)), rng.normal(size=(500, 4))

    def f(Z):
        return np.sin(2 * Z[:, 0]) + Z[:, 1] ** 2

    y = f(X) + 0.1 * rng.normal(size=500)
    y_target = f(X_target) + 2 - X_target[:, 2]
    few = np.where(np.arange(500) < 15, y_target, np.nan)
    forest = RandomForestRegressor(30, random_state=0)
    adapted = PriorCentered(forest, random_state=0).fit(X, y, X_target, few)
    assert adapted.score(X_target, y_target) > forest.fit(X, y).score(X_target, y_target) + 0.5
    np.testing.assert_allclose(adapted.predict_source(X), forest.predict(X))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        SVC(),
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_many_classes_with_any_classifier(model):
    """Digits whose labels 0 and 1 changed places: 100 labels help, none of the models is too odd."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(X))
    a, b, c = np.split(order, [600, 1000])
    swapped = np.where(y < 2, 1 - y, y)
    few = swapped[b].astype(float)
    few[100:] = np.nan
    adapted = PriorCentered(model, random_state=0).fit(X[a], y[a], X[b], few)
    assert adapted.score(X[c], swapped[c]) > clone(model).fit(X[a], y[a]).score(X[c], swapped[c]) + 0.05
    assert adapted.predict(X[c]).dtype == y.dtype
    if hasattr(adapted, "predict_proba"):
        np.testing.assert_allclose(adapted.predict_proba(X[c]).sum(axis=1), 1)


@pytest.mark.parametrize("adapter", [PriorCentered, TransferStack, OffsetBoosting])
def test_a_positive_regressor_stays_positive(adapter):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 4)), rng.normal(size=(400, 4))
    y, y_target = (np.exp(1.2 + Z @ [0.5, 0.3, 0, 0] + 0.6 * rng.normal(size=400)) for Z in (X, X_target))
    y_target *= 1.8  # which no sum follows
    few = np.where(np.arange(400) < 60, y_target, np.nan)
    model = adapter(GammaRegressor(), random_state=0).fit(X, y, X_target, few)
    assert model.predict(X_target).min() > 0 and model.predict(10 * X_target).min() > 0
    below = adapter(Ridge(), random_state=0).fit(X, y - 8, X_target, few - 8)  # nothing is known of a floor
    assert below.predict(X_target).min() < -8


@pytest.mark.parametrize("adapter", [PriorCentered, TransferStack, OffsetBoosting])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_proportion_stays_one(adapter, sign):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) + [0.5 * sign, 0, 0]
    p, p_target = expit(sign + 2 * X[:, 0]), expit(3 * sign + 2 * X_target[:, 0])
    y, y_target = (rng.beta(5 * mean, 5 * (1 - mean)) for mean in (p, p_target))
    few = np.where(np.arange(400) < 60, y_target, np.nan)
    forest = RandomForestRegressor(20, min_samples_leaf=5, random_state=0)
    model = adapter(forest, random_state=0).fit(X, y, X_target, few)
    for rows in (X_target, 10 * X_target):
        assert 0 <= model.predict(rows).min() and model.predict(rows).max() <= 1
    beyond = adapter(forest, random_state=0).fit(X, y, X_target, np.where(np.arange(400) == 7, 1.01, few))
    assert sign < 0 or beyond.predict(X_target).max() > 1  # no proportion


@pytest.mark.parametrize("adapter", [PriorCentered, TransferStack, OffsetBoosting])
def test_counts_may_become_rarer_than_the_source_model_answers_them(adapter):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, 400, 3))
    y, y_target = rng.poisson(np.exp(0.5 + 0.3 * X[:, 0])), rng.poisson(np.exp(-1.5 + 0.3 * X_target[:, 0]))
    few = np.where(np.arange(400) < 60, y_target, np.nan)
    source = PoissonRegressor().fit(X, y)
    assert source.predict(X_target).min() > 0.5  # which no rate of the target is
    model = adapter(PoissonRegressor(), random_state=0).fit(X, y, X_target, few)
    answers = model.predict(X_target)
    assert 0 < answers.min() and abs(answers.mean() - y_target.mean()) < 0.25


def test_bounds_are_those_of_labels_and_answers():
    X = np.linspace(0, 1, 50)[:, None]
    for y, few, expected in (
        (X[:, 0] ** 2, 0.5, (0.0, 1.0)),
        (X[:, 0] ** 2, 1.5, (0.0, np.inf)),
        (X[:, 0] ** 2 - 0.1, 0.5, (-np.inf, np.inf)),
        (X[:, 0] * 3, 0.5, (0.0, np.inf)),
        (np.round(4 * X[:, 0]), 1.0, (0.0, np.inf)),  # the model answers zeros
    ):
        domains = read_domains(X, y, X, np.where(np.arange(50) == 3, few, np.nan), classification=False)
        model = KNeighborsRegressor(1).fit(X, y)
        assert bounds_of(model, X, X, domains) == expected
    counts = read_domains(X, np.round(4 * X[:, 0]), X, np.where(np.arange(50) < 5, 2.0, np.nan), classification=False)
    assert bounds_of(KNeighborsRegressor(1).fit(X, 0.5 + X[:, 0]), X, X, counts) == (pytest.approx(1 / 10), np.inf)
    own = LinearRegression().fit(X, 1.1 * X[:, 0])  # exceeds 1 itself
    assert bounds_of(own, X, X, read_domains(X, X[:, 0], X, classification=False))[1] == np.inf
    np.testing.assert_array_equal(
        within(np.array([-1.0, 2.0, 2.0, 0.5]), np.array([0.5, 0.5, 1.2, 0.5]), (0.1, 1.0)), [0.1, 1.0, 1.2, 0.5]
    )


def test_a_model_that_is_not_corrected_keeps_its_smallest_predictions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = np.exp(X[:, 0])
    model = PriorCentered(GammaRegressor(), strength=float("inf")).fit(X, y, X, y)
    far = X - [5, 0]
    np.testing.assert_array_equal(model.predict(far), model.predict_source(far))


def test_a_frozen_model_is_corrected_but_not_refitted():
    X, y, X_target, few, X_new, y_new = problem("classification", np.random.default_rng(5), 0.9, 60)
    source = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:250], y[:250])
    before = source.predict_proba(X_new)
    adapted = PriorCentered(FrozenEstimator(source)).fit(X[250:], y[250:], X_target, few)
    assert adapted.score(X_new, y_new) > source.score(X_new, y_new)
    np.testing.assert_array_equal(source.predict_proba(X_new), before)
    np.testing.assert_array_equal(adapted.predict_proba_source(X_new), before)


def test_frames_missing_values_and_sparse_features():
    X, y, X_target, few, *_ = problem("regression", np.random.default_rng(6), 0.8, 40)
    dense = PriorCentered(Ridge(), random_state=0).fit(X, y, X_target, few)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame_target = pd.DataFrame(X_target, columns=list("abcde"))
    framed = PriorCentered(Ridge(), random_state=0).fit(frame, y, frame_target, few)
    np.testing.assert_allclose(framed.predict(frame_target), dense.predict(X_target))
    light = PriorCentered(Ridge(), random_state=0).fit(sparse.csr_matrix(X), y, sparse.csr_matrix(X_target), few)
    np.testing.assert_allclose(light.predict(sparse.csr_matrix(X_target)), dense.predict(X_target), atol=0.2)

    X_target[5:, 0] = np.nan  # a model that takes missing values gets them; the correction takes the mean
    X_target[:, 1] = 4.0
    holes = PriorCentered(RandomForestRegressor(10, random_state=0), random_state=0)
    assert np.isfinite(holes.fit(X, y, X_target, few).predict(X_target)).all()


def test_groups_and_weights_are_respected():
    X, y, X_target, few, *_ = problem("classification", np.random.default_rng(7), 0.5, 30)
    weight = np.where(np.arange(500) < 250, 1.0, 0.0)
    weighted = PriorCentered(LogisticRegression(), random_state=0).fit(
        X, y, X_target, few, sample_weight=weight, groups=np.arange(500) % 10
    )
    np.testing.assert_allclose(weighted.predict_source(X), LogisticRegression().fit(X[:250], y[:250]).predict(X))


@pytest.mark.parametrize("task", MODELS)
def test_an_estimator_like_others(task):
    X, y, X_target, few, *_ = problem(task, np.random.default_rng(8), 0.5, 30)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    adapter = PriorCentered(make_pipeline(StandardScaler(), MODELS[task]), random_state=0)
    first = clone(adapter).fit(X, y, X_target, few)
    again = pickle.loads(pickle.dumps(clone(adapter).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)

    def labelled_score(estimator, X, y):
        return estimator.score(X_target, few)

    search = GridSearchCV(adapter, {"strength": [1.0, 1e6]}, scoring=labelled_score, cv=2)
    search.fit(X, y, X_target=Target(X_target, few))
    assert search.best_params_["strength"] == 1.0


def test_one_label_is_enough_to_start():
    for task in MODELS:
        X, y, X_target, few, X_new, y_new = problem(task, np.random.default_rng(9), 0.0, 1)
        adapted = PriorCentered(MODELS[task], random_state=0).fit(X, y, X_target, few)
        assert adapted.score(X_new, y_new) > clone(MODELS[task]).fit(X, y).score(X_new, y_new) - 0.05


def test_bad_calls_are_explained():
    X, y, X_target, few, *_ = problem("classification", np.random.default_rng(10), 0.5, 30)
    with pytest.raises(InputError, match="target labels"):
        PriorCentered(LogisticRegression()).fit(X, y, X_target)
    with pytest.raises(InputError, match="target labels"):
        PriorCentered(LogisticRegression()).fit(X, y, X_target, np.full(len(few), np.nan))
    for strength in (-1.0, "loo", float("nan")):
        with pytest.raises(InputError, match="strength"):
            PriorCentered(LogisticRegression(), strength=strength).fit(X, y, X_target, few)
    with pytest.raises(InputError, match="single group"):
        PriorCentered(LogisticRegression()).fit(X, y, X_target, few, groups=np.zeros(500))

    class LabelsOnly(Perceptron):
        decision_function = property()

    with pytest.raises(InputError, match="predicts labels only.*which nothing can calibrate"):
        PriorCentered(FrozenEstimator(LabelsOnly().fit(X, y))).fit(X, y, X_target, few)


ADAPTERS = [PriorCentered, OffsetBoosting, TransferStack]


def three_classes(rng, n):
    y = rng.integers(3, size=n)
    return np.array([[0, 0], [3, 0], [0, 3.0]])[y] + rng.normal(size=(n, 2)), y


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_decision_values_of_pairs_are_not_those_of_the_classes(adapter):
    rng = np.random.default_rng(0)
    (X, y), (X_target, y_target) = three_classes(rng, 300), three_classes(rng, 300)
    few = np.where(np.arange(300) < 12, y_target, np.nan)
    found = []
    for shape in ("ovr", "ovo"):  # three pairs, too
        calibrated = FrozenEstimator(WithProbabilities(decision_function_shape=shape).fit(X, y))
        found.append(adapter(calibrated, random_state=0).fit(X, y, X_target, few).score(X_target, y_target))
    assert min(found) > SVC().fit(X, y).score(X_target, y_target) - 0.03
    with pytest.raises(InputError, match="SVC .* not those of its classes.*ovr"):
        adapter(SVC(decision_function_shape="ovo"), random_state=0).fit(X, y, X_target, few)


class WithProbabilities(SVC):
    """Some that agree with the answers."""

    def predict_proba(self, X):
        """The answer has a probability of .8."""
        return 0.1 + 0.7 * np.eye(3)[self.predict(X)]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("absent", [1, 2])
def test_a_frozen_model_may_know_other_classes_than_the_rows_show(adapter, absent):
    rng = np.random.default_rng(0)
    (X, y), (X_target, y_target) = three_classes(rng, 300), three_classes(rng, 300)
    names = np.array(["a", "bb", "c"])
    kept, first = y != absent, np.arange(300) < 12
    knows = FrozenEstimator(LogisticRegression().fit(X, names[y]))
    for labelled in (first & (y_target != absent), first):
        few = np.where(labelled, names[y_target].astype(object), None)
        adapted = adapter(knows, random_state=0).fit(X[kept], names[y][kept], X_target, few)
        assert adapted.predict_proba(X_target).shape == (300, 3)
        assert adapted.score(X_target, names[y_target]) > knows.score(X_target, names[y_target]) - 0.05
    knows_not = FrozenEstimator(LogisticRegression().fit(X[kept], names[y][kept]))
    with pytest.raises(InputError, match=f"{str(names[absent])!r}.*the frozen model does not know"):
        adapter(knows_not, random_state=0).fit(X, names[y], X_target, few)
    with pytest.raises(InputError, match="No adapter can learn"):
        adapter(knows, random_state=0).fit(X, names[y], X_target, np.where(first, "d", None))
