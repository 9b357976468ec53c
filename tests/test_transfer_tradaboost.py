from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from da_toolkit.transfer._tradaboost import TrAdaBoost
from da_toolkit.transfer._tradaboost_r2 import TrAdaBoostR2, WeightedMedian, forget
from shift_detectors._errors import InputError, ShiftWarning

TREES = {
    "classification": DecisionTreeClassifier(max_depth=2, random_state=0),
    "regression": DecisionTreeRegressor(max_depth=4, random_state=0),
}


def adapter(task, **options):
    return (TrAdaBoost if task == "classification" else TrAdaBoostR2)(TREES[task], **options)


def problem(task, seed, change, m, n=200):
    """A part `change` of the source follows another rule; the target follows the first one."""
    rng = np.random.default_rng(seed)

    def draw(rows, change):
        X = rng.uniform(-2, 2, size=(rows, 3))
        other = (rng.random(rows) < change) & (X[:, 0] > -1)
        if task == "classification":
            return X, np.where(other, X[:, 1] < 0, X[:, 1] > 0).astype(float)
        return X, np.sin(2 * X[:, 1]) + 2 * other + 0.1 * rng.normal(size=rows)

    X, y = draw(n, change)
    X_target, y_target = draw(400, 0.0)
    few = y_target.copy()
    few[m:] = np.nan
    return X, y, X_target, few, *draw(1000, 0.0)


def test_two_classes_are_the_algorithm_of_the_paper():
    """Against its steps, written down in the paper's order and notation."""
    X, y, X_target, few, X_new, _ = problem("classification", 0, 0.3, 40)
    few[:6] = 1 - few[:6]  # so that no round is right everywhere
    weak = LogisticRegression()
    N, n = 4, len(y)
    model = TrAdaBoost(weak, n_rounds=N).fit(X, y, X_target, few)
    T, c = np.vstack([X, X_target[:40]]), np.concatenate([y, few[:40]])
    w, beta, left, right = np.ones(n + 40), 1 / (1 + np.sqrt(2 * np.log(n) / N)), 1.0, 1.0
    for t in range(1, N + 1):
        p = w / w.sum()
        h = clone(weak).fit(T, c, sample_weight=p * len(p))
        off = np.abs(h.predict(T) - c)
        epsilon = (w[n:] * off[n:]).sum() / w[n:].sum()
        assert model.errors_[t - 1] == pytest.approx(epsilon)
        assert 0.001 < epsilon < 0.499
        beta_t = epsilon / (1 - epsilon)
        w[:n] *= beta ** off[:n]
        w[n:] *= beta_t ** -off[n:]
        if t >= np.ceil(N / 2):
            left, right = left * beta_t ** -h.predict(X_new), right * beta_t**-0.5
    np.testing.assert_array_equal(model.predict(X_new), np.where(left >= right, 1.0, 0.0))
    np.testing.assert_allclose(model.source_weights_, w[:n] / w.mean())


def test_the_target_gets_the_share_that_was_asked_for():
    rng = np.random.default_rng(1)
    weight = rng.uniform(size=30)
    weight /= weight.sum()
    error = rng.uniform(size=30)
    share = weight[20:].sum()
    for wanted in (share + 0.1, 0.9, 0.9999, 1.0):
        after = forget(weight, error, 20, wanted)
        assert after.sum() == pytest.approx(1) and after[20:].sum() == pytest.approx(wanted)
        if wanted < 1:  # log weights fall linearly in the error
            fall = np.log(after[:20] / weight[:20])
            assert np.corrcoef(fall, error[:20])[0, 1] == pytest.approx(-1)
    same = forget(weight, np.zeros(30), 20, 0.9)  # no error at all: all are scaled
    np.testing.assert_allclose(same[:20] / weight[:20], same[0] / weight[0])


def test_weighted_median():
    constant = [Ridge().fit([[0.0], [1.0]], [v, v]) for v in (1.0, 5.0, 3.0)]
    X = np.zeros((2, 1))
    np.testing.assert_allclose(WeightedMedian(constant, np.array([1.0, 1.0, 1.0])).predict(X), 3)
    np.testing.assert_allclose(WeightedMedian(constant, np.array([1.0, 5.0, 1.0])).predict(X), 5)


@pytest.mark.parametrize("task", TREES)
def test_gain_where_a_part_of_the_source_is_wrong(task):
    gain = []
    for seed in range(4):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 0.5, 30)
        model = adapter(task, random_state=0).fit(X, y, X_target, few)
        gain.append(model.score(X_new, y_new) - clone(TREES[task]).fit(X, y).score(X_new, y_new))
    assert np.mean(gain) > 0.1


def test_source_rows_that_contradict_lose_their_weight():
    X, y, X_target, few, *_ = problem("classification", 2, 0.5, 60)
    model = adapter("classification").fit(X, y, X_target, few)
    wrong = y != (X[:, 1] > 0)
    assert model.source_weights_[wrong].mean() < 0.1 * model.source_weights_[~wrong].mean()


@pytest.mark.parametrize("task", TREES)
def test_little_is_lost_without_shift(task):
    loss = []
    for seed in range(4):
        X, y, X_target, few, X_new, y_new = problem(task, seed, 0.0, 50)
        model = adapter(task, random_state=0).fit(X, y, X_target, few)
        loss.append(clone(TREES[task]).fit(X, y).score(X_new, y_new) - model.score(X_new, y_new))
    assert np.mean(loss) < 0.03


def test_a_source_that_says_the_contrary_is_given_up():
    """The first rounds are worse than chance on the target; the last ones have heard it."""
    X, y, X_target, few, X_new, y_new = problem("classification", 3, 0.0, 40, n=1000)
    model = adapter("classification").fit(X, 1 - y, X_target, few)
    assert model.errors_[0] > 0.9
    assert model.score(X_new, y_new) > 0.85


def test_many_classes_and_models_without_weights():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(X))
    a, b, c = np.split(order, [500, 900])
    names = np.array([f"digit {k}" for k in range(10)])
    swapped = names[np.where(y < 2, 1 - y, y)]
    few = swapped[b].astype(object)
    few[100:] = None
    model = TrAdaBoost(DecisionTreeClassifier(max_depth=8, random_state=0)).fit(X[a], names[y[a]], X[b], few)
    tree = DecisionTreeClassifier(max_depth=8, random_state=0).fit(X[a], names[y[a]])
    assert model.score(X[c], swapped[c]) > tree.score(X[c], swapped[c]) + 0.05
    np.testing.assert_allclose(model.predict_proba(X[c]).sum(axis=1), 1)
    with pytest.warns(ShiftWarning, match="resampled"):
        drawn = TrAdaBoost(KNeighborsClassifier(), n_rounds=4, random_state=0).fit(X[a], names[y[a]], X[b], few)
    assert list(drawn.classes_) == sorted(names)


@pytest.mark.parametrize("task", TREES)
def test_one_label_and_labels_of_one_class(task):
    X, y, X_target, few, X_new, _ = problem(task, 5, 0.3, 1)
    assert np.isfinite(adapter(task, random_state=0).fit(X, y, X_target, few).predict(X_new)).all()


@pytest.mark.parametrize("task", TREES)
def test_an_estimator_like_others(task):
    X, y, X_target, few, *_ = problem(task, 6, 0.5, 20)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    model = adapter(task, n_rounds=4, random_state=0).set_params(estimator=make_pipeline(StandardScaler(), TREES[task]))
    first = clone(model).fit(X, y, X_target, few)
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)
    frame, frame_target = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(X_target, columns=list("abc"))
    framed = clone(model).fit(frame, y, frame_target, few)
    np.testing.assert_array_equal(framed.predict(frame_target), first.predict(X_target))


@pytest.mark.parametrize("task", TREES)
def test_rows_without_weight_do_not_count(task):
    X, y, X_target, few, X_new, _ = problem(task, 7, 0.5, 20)
    weight = np.where(np.arange(200) < 100, 1.0, 0.0)
    y_other = np.where(weight > 0, y, y[::-1])
    one = adapter(task, n_rounds=3, random_state=0).fit(X, y, X_target, few, sample_weight=weight)
    two = adapter(task, n_rounds=3, random_state=0).fit(X, y_other, X_target, few, sample_weight=weight)
    if task == "classification":
        np.testing.assert_array_equal(one.predict(X_new), two.predict(X_new))
    assert one.predict(X_new).shape == two.predict(X_new).shape


@pytest.mark.parametrize("task", TREES)
def test_bad_calls_are_explained(task):
    X, y, X_target, few, *_ = problem(task, 8, 0.5, 20)
    other = Ridge() if task == "classification" else LogisticRegression()
    with pytest.raises(InputError, match="target labels"):
        adapter(task).fit(X, y, X_target)
    with pytest.raises(InputError, match="FrozenEstimator"):
        adapter(task).set_params(estimator=FrozenEstimator(clone(TREES[task]).fit(X, y))).fit(X, y, X_target, few)
    with pytest.raises(InputError, match="Use TrAdaBoost"):
        adapter(task).set_params(estimator=other).fit(X, (y > 0).astype(float), X_target, (few > 0).astype(float))
    options: list[dict[str, Any]] = [{"n_rounds": 0}]
    for bad in options if task == "classification" else [*options, {"n_steps": 1}, {"n_folds": 1.5}]:
        with pytest.raises(InputError, match=next(iter(bad))):
            adapter(task, **bad).fit(X, y, X_target, few)
