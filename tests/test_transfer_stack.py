from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from da_toolkit._target import Target
from da_toolkit.alignment import CORAL, FeatureAlignment
from da_toolkit.transfer import _prior_centered
from da_toolkit.transfer._transfer_stack import (
    TEMPERATURE,
    TransferStack,
    _answer,
    _Pooled,
    _Remembered,
    _unpaid,
    aggregate,
)
from shift_detectors._errors import InputError, ShiftWarning

MODELS = {"regression": Ridge(), "classification": LogisticRegression()}
MEMBERS = {"source", "target", "pooled", "balanced", "PriorCentered", "OffsetBoosting"}


def problem(task, seed, change, m, d=5, n=300):
    """Linear source, target coefficients turned by `change` (0: none, 1: unrelated); m target labels."""
    rng = np.random.default_rng(seed)
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
    X_target, y_target = draw(600, beta_target, shift)
    few = y_target.copy()
    few[m:] = np.nan
    return X, y, X_target, few, *draw(2000, beta_target, shift)


def scores(task, change, m, repeats):
    """Mean scores on new target rows of source-only, target-only and the stack."""
    rows = []
    for seed in range(repeats):
        X, y, X_target, few, X_new, y_new = problem(task, seed, change, m)
        model = MODELS[task]
        stack = TransferStack(model, random_state=0).fit(X, y, X_target, few)
        alone = clone(model).fit(X_target[:m], few[:m]) if len(set(few[:m])) > 1 else None
        chance = np.mean(y_new == few[0])
        rows.append(
            [
                clone(model).fit(X, y).score(X_new, y_new),
                alone.score(X_new, y_new) if alone else chance,
                stack.score(X_new, y_new),
            ]
        )
    return np.mean(rows, axis=0)


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # the general solver of SciPy 1.15
def test_aggregation_minimises_its_formula_over_the_simplex():
    """Against a general constrained solver, for both losses."""
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.15, 0.05])
    chance = rng.uniform(0.3, 0.9, size=(4, 30))
    errors = rng.normal(size=(4, 30)) * np.array([[1.0], [0.9], [0.8], [2.0]])

    def objective(theta, loss, each):
        mixed = -np.log(theta @ chance).sum() if loss == "log" else ((theta @ errors) ** 2).sum() / loss
        return mixed / 2 + theta @ each + TEMPERATURE * theta @ np.log(theta / prior)

    excess = np.array([0.0, 0.02, 0.1, 0.0])
    for given, loss, added in ((chance, "log", 0.0), (errors, 1.7, 0.0), (errors, 1.7, excess)):
        each = -np.log(chance).sum(axis=1) if loss == "log" else (errors**2).sum(axis=1) / loss
        found = aggregate(given, prior, loss, added)
        best = minimize(
            objective,
            prior,
            args=(loss, each / 2 + 30 * added),
            method="SLSQP",
            bounds=[(1e-9, 1)] * 4,
            constraints={"type": "eq", "fun": lambda theta: theta.sum() - 1},
            options={"ftol": 1e-12},
        ).x
        assert found.sum() == pytest.approx(1)
        np.testing.assert_allclose(found, best, atol=1e-3)


def test_without_evidence_the_prior_stays_and_with_much_the_best_wins():
    prior = np.array([0.4, 0.6])
    np.testing.assert_allclose(aggregate(np.full((2, 5), 0.7), prior, "log"), prior, atol=1e-6)
    assert aggregate(np.array([[0.1] * 200, [2.0] * 200]), prior, 1.0)[0] > 0.9


@pytest.mark.parametrize("m", [5, 20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", MODELS)
def test_little_harm_without_shift(task, m):
    """At most a third of the gap to target-only and a point."""
    source, target, stack = scores(task, 0.0, m, 5)
    assert source - stack < max(source - target, 0) / 3 * (m < 50) + 0.01


@pytest.mark.parametrize("change", [pytest.param(0.5, marks=pytest.mark.slow), 1.0])
@pytest.mark.parametrize("m", [10, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", MODELS)
def test_regret_under_concept_shift(task, m, change):
    """To the better of both; never below the worse."""
    source, target, stack = scores(task, change, m, 5)
    assert stack > min(source, target)
    gap = abs(source - target)
    assert max(source, target) - stack < (gap / 3 + 0.01 if m < 50 else 0.03)


def test_weights_and_members():
    X, y, X_target, few, X_new, _ = problem("regression", 1, 1.0, 40)
    stack = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few)
    assert set(stack.weights_) == set(stack.losses_) == set(stack.members_) == MEMBERS
    assert sum(stack.weights_.values()) == pytest.approx(1) and min(stack.weights_.values()) >= 0
    assert stack.weights_["source"] < 0.01 < stack.losses_["source"] - stack.losses_["target"]
    known = stack.members_["target"].predict(X_new)
    np.testing.assert_allclose(known, Ridge().fit(X_target[:40], few[:40]).predict(X_new))
    pooled = Ridge().fit(np.r_[X, X_target[:40]], np.r_[y, few[:40]])
    np.testing.assert_allclose(stack.members_["pooled"].predict(X_new), pooled.predict(X_new))
    expected = sum(w * stack.members_[k].predict(X_new) for k, w in stack.weights_.items())
    np.testing.assert_allclose(stack.predict(X_new), expected, atol=0.02)
    np.testing.assert_allclose(stack.predict_source(X), Ridge().fit(X, y).predict(X))


def test_held_out_losses_are_of_rows_not_seen():
    """Below ten labels: leave-one-out of the target-only model, by hand."""
    X, y, X_target, few, *_ = problem("regression", 2, 0.5, 7)
    stack = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few)
    rows = np.arange(7)
    errors = [
        few[i] - Ridge().fit(X_target[rows[rows != i]], few[rows[rows != i]]).predict(X_target[[i]])[0] for i in rows
    ]
    assert stack.losses_["target"] == pytest.approx(np.mean(np.square(errors)))


def test_excess_departure_by_hand():
    """(f_j - f_s)^2 on all target rows beyond that on the labelled ones; none where all are labelled."""
    X, y, X_target, few, *_ = problem("regression", 2, 0.5, 7)
    stack = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few)
    source, target = Ridge().fit(X, y).predict(X_target), stack.members_["target"].predict(X_target)
    known = SimpleNamespace(X_target=X_target, labelled=np.arange(600) < 7)
    for step in (0.1, 9.0):
        held = {"source": source[:7], "target": source[:7] + step}
        beyond = (7 * step**2 + ((target - source)[7:] ** 2).sum()) / 600 - step**2
        np.testing.assert_allclose(stack._excess_departure(known, known, held, 0), [0, max(beyond, 0)], rtol=1e-6)
    known.labelled = np.full(600, True)
    np.testing.assert_array_equal(stack._excess_departure(known, known, held, 0), 0)


def test_what_the_labels_do_not_pay_for_by_hand():
    """(1 - slope)^2 + 2 noise / sum of squares, at most a half; with four rows of a half."""
    held = {"source": np.zeros(4), "right": np.full(4, 2.0), "half": np.full(4, 1.0), "wrong": np.full(4, -2.0)}
    found = _unpaid(held, np.full(4, 2.0), 0.4)
    np.testing.assert_allclose(found, [0.5, (2 + 4 * 0.05) / 8, 0.5, 0.5])
    assert _unpaid(held, np.full(4, 1.5), 0.2)[2] == pytest.approx((2 + 4 * 0.35) / 8)


def test_the_luck_of_which_rows_were_labelled_does_not_count():
    """All effects turned round, 40 labels: draws in which they happen to lie where the source model is less wrong."""
    beta = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    for seed in (6, 9):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(300, 6)), rng.normal(size=(600, 6))
        y, y_target = X @ beta + 0.7 * rng.normal(size=300), -X_target @ beta + 0.7 * rng.normal(size=600)
        few = np.where(np.arange(600) < 40, y_target, np.nan)
        stack = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few)
        alone = Ridge().fit(X_target[:40], y_target[:40])
        assert stack.score(X_target[40:], y_target[40:]) > alone.score(X_target[40:], y_target[40:]) - 0.05


def test_little_harm_where_the_target_model_interpolates():
    """Twelve correlated features, weak effects that did not change, ten labels: target-only is wild, and lucky."""
    lost, lost_alone = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        beta, mixing = 0.5 * rng.normal(size=12) / np.sqrt(12), rng.normal(size=(4, 12)) / 2
        X, X_target, X_new = (
            rng.normal(size=(n, 4)) @ mixing + 0.4 * rng.normal(size=(n, 12)) for n in (300, 300, 999)
        )
        y, y_target, y_new = (rows @ beta + rng.standard_t(5, size=len(rows)) for rows in (X, X_target, X_new))
        few = np.where(np.arange(300) < 10, y_target, np.nan)
        source = Ridge().fit(X, y).score(X_new, y_new)
        lost_alone.append(source - Ridge().fit(X_target[:10], y_target[:10]).score(X_new, y_new))
        lost.append(source - TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few).score(X_new, y_new))
    assert np.mean(lost_alone) > 0.3
    assert np.mean(lost) < np.mean(lost_alone) / 10


def test_adapted_members_take_part():
    """An affine change of the sensor: CORAL undoes it, and the labels say so."""
    rng = np.random.default_rng(3)
    X, y, X_target, few, X_new, y_new = problem("classification", 3, 0.0, 30)
    turn = np.eye(5) + 0.8 * rng.normal(size=(5, 5))
    model = LogisticRegression()
    adapted = [FeatureAlignment(model, CORAL()), FeatureAlignment(model, CORAL())]
    stack = TransferStack(model, adapted=adapted, random_state=0).fit(X, y, X_target @ turn, few)
    assert {"FeatureAlignment", "FeatureAlignment 2"} <= set(stack.weights_)
    source = clone(model).fit(X, y).score(X_new @ turn, y_new)
    assert stack.score(X_new @ turn, y_new) > source


def test_many_classes_some_without_a_label():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(X))
    a, b, c = np.split(order, [400, 700])
    names = np.array([f"digit {k}" for k in range(10)])
    swapped = names[np.where(y < 2, 1 - y, y)]
    few = swapped[b].astype(object)
    few[15:] = None
    stack = TransferStack(make_pipeline(StandardScaler(), LogisticRegression()), random_state=0)
    stack.fit(X[a], names[y[a]], X[b], few)
    proba = stack.predict_proba(X[c])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert proba.shape[1] == 10 and list(stack.classes_) == sorted(names)
    assert stack.score(X[c], swapped[c]) > 0.65


def test_decision_function_of_models_without_probabilities():
    X, y, X_target, few, X_new, y_new = problem("classification", 5, 1.0, 40)
    stack = TransferStack(SVC(), random_state=0).fit(X, y, X_target, few)
    assert not hasattr(stack, "predict_proba")
    np.testing.assert_array_equal(stack.decision_function(X_new) > 0, stack.predict(X_new) == stack.classes_[1])
    assert stack.score(X_new, y_new) > SVC().fit(X, y).score(X_new, y_new)


@pytest.mark.parametrize("k, n_labels", [(2, 30), (3, 30), (4, 3)])  # three labels lack a class of the four
def test_models_without_probabilities_do_not_depend_on_the_names_of_the_classes(k, n_labels):
    rng = np.random.default_rng(k)
    X, X_target, W = rng.normal(size=(200, 5)), rng.normal(size=(100, 5)), rng.normal(size=(5, k))
    y, y_target = (X @ W).argmax(axis=1), (X_target @ (W + 0.5 * rng.normal(size=W.shape))).argmax(axis=1)
    found = []
    for names in (10 - 2 * np.arange(k)[::-1], np.array(list("abcd")[:k])):
        few = names[y_target].astype(object)
        few[n_labels:] = np.nan
        stack = TransferStack(LinearSVC(random_state=0), random_state=0).fit(X, names[y], X_target, few)
        found.append([*stack.losses_.values(), *stack.weights_.values(), stack.score(X_target, names[y_target])])
    np.testing.assert_allclose(*found)
    target = stack.members_["target"]
    proba = _answer(target, X_target)
    np.testing.assert_array_equal(target.classes_[proba.argmax(axis=1)], target.predict(X_target))
    known = LinearSVC(random_state=0).fit(X_target[:n_labels], few[:n_labels].astype(str))
    np.testing.assert_array_equal(target.predict(X_target), known.predict(X_target))


def test_a_frozen_model_is_not_refitted():
    X, y, X_target, few, X_new, y_new = problem("classification", 6, 1.0, 50)
    source = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:150], y[:150])
    before = source.predict_proba(X_new)
    stack = TransferStack(FrozenEstimator(source), random_state=0).fit(X[150:], y[150:], X_target, few)
    assert stack.score(X_new, y_new) > source.score(X_new, y_new)
    np.testing.assert_array_equal(source.predict_proba(X_new), before)
    np.testing.assert_array_equal(stack.predict_proba_source(X_new), before)


def test_what_cannot_be_fitted_is_left_out_with_a_warning():
    X, y, X_target, few, X_new, _ = problem("classification", 7, 0.5, 4)
    with pytest.warns(ShiftWarning, match="'target'"):
        stack = TransferStack(KNeighborsClassifier(6), random_state=0).fit(X, y, X_target, few)
    assert set(stack.weights_) == MEMBERS - {"target", "balanced"}  # neighbours take no weights
    assert len(stack.predict(X_new)) == len(X_new)


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame])
def test_a_column_that_no_labelled_row_has_does_not_cost_a_member(form):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(120, 3)), rng.normal(size=(60, 3))
    y, y_target = (X[:, 0] > 0).astype(int), (X_target[:, 0] < 0).astype(float)
    y_target[30:] = np.nan
    X_target[:30, 2] = np.nan  # as a measurement that this hospital hardly takes
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5)
    stack = TransferStack(model, random_state=0).fit(form(X), y, form(X_target), y_target)
    assert "target" in stack.members_ and stack.predict(form(X_target)).shape == (60,)


def test_one_label_leaves_it_to_prior_centered():
    for task in MODELS:
        X, y, X_target, few, X_new, _ = problem(task, 8, 0.5, 1)
        stack = TransferStack(MODELS[task], random_state=0).fit(X, y, X_target, few)
        assert stack.weights_["PriorCentered"] == 1
        np.testing.assert_allclose(stack.predict(X_new), stack.members_["PriorCentered"].predict(X_new))


def test_labels_of_a_single_class():
    X, y, X_target, few, X_new, _ = problem("classification", 9, 0.0, 300)
    ones = np.where(few == 1, few, np.nan)
    ones[np.flatnonzero(ones == 1)[6:]] = np.nan
    proba = TransferStack(LogisticRegression(), random_state=0).fit(X, y, X_target, ones).predict_proba(X_new)
    assert np.isfinite(proba).all()


def test_frames_with_categories_and_sparse_rows():
    X, y, X_target, few, *_ = problem("classification", 10, 0.8, 30)
    frame, frame_target = (pd.DataFrame(rows, columns=list("abcde")) for rows in (X, X_target))
    frame["kind"] = pd.Categorical(np.where(X[:, 0] > 0, "u", "v"))
    frame_target["kind"] = pd.Categorical(np.where(X_target[:, 0] > 0, "u", "w"))
    trees = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype", random_state=0)
    stack = TransferStack(trees, random_state=0).fit(frame, y, frame_target, few)
    assert set(stack.weights_) == MEMBERS and len(stack.predict(frame_target)) == len(X_target)

    light = TransferStack(LogisticRegression(), random_state=0)
    light.fit(sparse.csr_matrix(X), y, sparse.csr_matrix(X_target), few)
    assert set(light.weights_) == MEMBERS and light.predict(sparse.csr_matrix(X_target)).shape == (len(X_target),)


def test_weights_of_source_rows_are_kept():
    X, y, X_target, few, X_new, _ = problem("regression", 11, 0.5, 20)
    weight = np.where(np.arange(300) < 150, 1.0, 0.0)
    stack = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few, sample_weight=weight)
    np.testing.assert_allclose(stack.predict_source(X_new), Ridge().fit(X[:150], y[:150]).predict(X_new))
    pooled = Ridge().fit(np.r_[X[:150], X_target[:20]], np.r_[y[:150], few[:20]])
    np.testing.assert_allclose(stack.members_["pooled"].predict(X_new), pooled.predict(X_new))


def test_the_source_is_cross_fitted_once(monkeypatch):
    calls = []

    def counted(*given, **options):
        calls.append(len(given[1]))
        return crossed(*given, **options)

    crossed = _prior_centered.cross_val_predict
    monkeypatch.setattr(_prior_centered, "cross_val_predict", counted)
    X, y, X_target, y_target = problem("classification", 0, 0.5, 30)[:4]
    TransferStack(LogisticRegression(), random_state=0).fit(X, y, X_target, y_target)
    assert calls == [len(X)]


def test_remembered_fits_are_shared():
    X, y, *_ = problem("regression", 12, 0.5, 20)
    first = _Remembered(Ridge(), {}, 0).fit(X, y)
    again = clone(first).fit(X.copy(), y.copy())
    assert again.fitted_ is first.fitted_ and clone(first).fit(X, y + 1).fitted_ is not first.fitted_
    np.testing.assert_array_equal(first.predict(X), Ridge().fit(X, y).predict(X))


@pytest.mark.parametrize("task", MODELS)
def test_an_estimator_like_others(task):
    X, y, X_target, few, *_ = problem(task, 13, 0.5, 20)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    adapter = TransferStack(make_pipeline(StandardScaler(), MODELS[task]), random_state=0)
    first = clone(adapter).fit(X, y, X_target=Target(X_target, few))
    again = pickle.loads(pickle.dumps(clone(adapter).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict(X_target), again.predict(X_target))
    np.testing.assert_array_equal(first.fit(X, y, X_target, few).predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_bad_calls_are_explained():
    X, y, X_target, few, *_ = problem("classification", 14, 0.5, 20)
    values = np.arange(200) + 0.5
    with pytest.raises(InputError, match=r"\(200 in all\).*take a regressor") as error:
        TransferStack(LogisticRegression()).fit(values[:, None], values, values[:, None], values + 0.25)
    assert len(str(error.value)) < 400
    with pytest.raises(InputError, match="target labels"):
        TransferStack(LogisticRegression()).fit(X, y, X_target)
    for adapted in ([CORAL()], [FeatureAlignment(Ridge(), CORAL())]):
        with pytest.raises(InputError, match="among adapted"):
            TransferStack(LogisticRegression(), adapted=adapted).fit(X, y, X_target, few)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_pooled_model_does_not_depend_on_the_unit_of_the_weights(balanced):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(100, 3)), rng.normal(size=(40, 3))
    y, y_target = X[:, 0] + rng.normal(size=100), X_target[:, 1] + rng.normal(size=40)
    weight = rng.uniform(0.5, 2, 100)
    expected = _Pooled(Ridge(), balanced).fit(X, y, X_target, y_target, sample_weight=weight).predict(X)
    got = _Pooled(Ridge(), balanced).fit(X, y, X_target, y_target, sample_weight=1e4 * weight).predict(X)
    np.testing.assert_allclose(got, expected)
