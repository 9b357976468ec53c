"""Scorers that hold the target: what they estimate, and what a grid search does with them."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from da_toolkit import CORAL, FeatureAlignment, ImportanceWeighting, LinearOT, PriorCorrection, SourceOnly, Target
from da_toolkit.alignment import BaseAligner
from da_toolkit.validation import CircularScore, ImportanceWeightedScore
from da_toolkit.validation._circular import reverse_model
from da_toolkit.weighting import ClassifierRatio, RuLSIF
from shift_detectors import InputError


class NoAlignment(BaseAligner):
    """Leaves the rows where they are."""

    def _fit(self, *arguments):
        pass


@pytest.fixture(scope="module")
def moons():
    """Two moons, turned by 40 degrees in the target."""
    X, y = make_moons(300, noise=0.1, random_state=0)
    X_target, y_target = make_moons(300, noise=0.1, random_state=1)
    angle = np.deg2rad(40)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return X, y, X_target @ turn, y_target


def search(moons, scoring):
    X, y, X_target, _ = moons
    grid = {"aligner": [NoAlignment(), CORAL(), LinearOT()]}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return GridSearchCV(FeatureAlignment(SVC()), grid, scoring=scoring, cv=folds).fit(X, y, X_target=Target(X_target))


def test_grid_search_selects_for_the_target(moons):
    """A stock grid search judges on source folds and prefers no alignment; with the target it is the reverse."""
    _, _, X_target, y_target = moons
    stock, circular = search(moons, None), search(moons, CircularScore(X_target))
    assert isinstance(stock.best_params_["aligner"], NoAlignment)
    assert isinstance(circular.best_params_["aligner"], LinearOT)
    assert circular.best_estimator_.score(X_target, y_target) > stock.best_estimator_.score(X_target, y_target) + 0.1


def test_importance_weighting_follows_the_source_path(moons):
    """An alignment is not punished for source rows it does not serve, nor is it shown to be right."""
    X, y, X_target, _ = moons
    model = FeatureAlignment(SVC()).fit(X[:200], y[:200], X_target)
    score = ImportanceWeightedScore(X_target, random_state=0)(model, X[200:], y[200:])
    assert score > 0.95 > model.score(X[200:], y[200:])


def shifted(seed, n=2000):
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) * [0.5, 1] + [1.2, 0]
    truth = [(np.abs(rows[:, 0]) + 0.3 * rng.normal(size=n) > 0.8).astype(int) for rows in (X, X_target)]
    return X, truth[0], X_target, truth[1]


@pytest.mark.parametrize("ratio", [None, RuLSIF(random_state=0)])
def test_importance_weighted_score_is_near_the_target_score(ratio):
    errors, plain = [], []
    for seed in range(4):
        X, y, X_target, y_target = shifted(seed)
        model = LogisticRegression().fit(X[:1000], y[:1000])
        scorer = ImportanceWeightedScore(X_target, ratio, random_state=0)
        errors.append(scorer(model, X[1000:], y[1000:]) - model.score(X_target, y_target))
        plain.append(model.score(X[1000:], y[1000:]) - model.score(X_target, y_target))
    assert abs(np.mean(errors)) < 0.5 * abs(np.mean(plain)) and abs(np.mean(errors)) < 0.08


def test_without_shift_the_score_is_the_plain_one():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(600, 2)), rng.normal(size=(600, 2))
    y = (X[:, 0] + rng.normal(size=600) > 0).astype(int)
    model = LogisticRegression().fit(X, y)
    score = ImportanceWeightedScore(X_target, random_state=0)(model, X, y)
    assert score == pytest.approx(model.score(X, y), abs=0.01)


def test_a_fitted_ratio_is_used_as_it_is():
    X, y, X_target, _ = shifted(0, 400)
    ratio = ClassifierRatio(random_state=0).fit(X, X_target)
    model = LogisticRegression().fit(X[:200], y[:200])
    expected = np.average(model.predict(X[200:]) == y[200:], weights=ratio.predict(X[200:]))
    assert ImportanceWeightedScore(X_target, ratio)(model, X[200:], y[200:]) == pytest.approx(expected)


def test_regression_is_scored_by_minus_the_squared_error():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    y = X[:, 0] + rng.normal(size=400)
    model = ImportanceWeighting(LinearRegression(), random_state=0).fit(X, y, X_target)
    score = ImportanceWeightedScore(X_target, random_state=0)(model, X, y)
    assert score == pytest.approx(-np.mean((model.predict(X) - y) ** 2), rel=0.1)
    assert CircularScore(X_target)(SourceOnly(LinearRegression()).fit(X, y, X_target), X, y) > 0.4


def test_a_model_of_one_class_comes_back_as_one_class():
    X, y, X_target, _ = shifted(0, 200)
    model = LogisticRegression().fit(X, y)
    far = np.full_like(X_target, 100.0)
    assert len(np.unique(model.predict(far))) == 1
    only = model.predict(far)[0]
    assert CircularScore(far)(model, X, y) == pytest.approx(np.mean(y == only))


def test_frequencies_that_a_model_was_told_are_those_of_the_source_on_the_way_back():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], 100))
    truth = rng.permutation(np.repeat([0, 1, 2], [270, 30, 0]))  # the third class is never answered
    X, X_target = (rng.normal(size=(300, 2)) + 4 * np.c_[classes == 1, classes == 2] for classes in (y, truth))
    for adapter, name in (
        (PriorCorrection(LogisticRegression(), [0.9, 0.1, 0.0]), "prior"),
        (FeatureAlignment(LogisticRegression(), class_prior={0: 0.9, 1: 0.1, 2: 0.0}), "class_prior"),
    ):
        model = adapter.fit(X, y, X_target)
        reverse = reverse_model(model, X_target, X, y)
        assert reverse.get_params()[name] == pytest.approx({0: 0.5, 1: 0.5})
        assert CircularScore(X_target)(model, X, y) > 0.6  # of 2/3 that can come back


def test_plain_models_targets_and_pickles():
    X, y, X_target, _ = shifted(0, 300)
    kept = copy.deepcopy((X, y, X_target))
    model = LogisticRegression().fit(X, y)
    for kind in (CircularScore, ImportanceWeightedScore):
        options = {"random_state": 0} if kind is ImportanceWeightedScore else {}
        scorer, held = kind(X_target, **options), kind(Target(X_target), **options)
        assert scorer(model, X, y) == held(model, X, y) == pickle.loads(pickle.dumps(scorer))(model, X, y)
        assert repr(scorer).startswith(f"{kind.__name__}(Target(300 rows, 2 columns, no labels)")
    for before, after in zip(kept, (X, y, X_target), strict=True):
        np.testing.assert_array_equal(before, after)


def test_rows_and_labels_must_match():
    X, y, X_target, _ = shifted(0, 100)
    model = LogisticRegression().fit(X, y)
    with pytest.raises(InputError, match=r"y of shape \(90,\); accepted: shape \(100,\)"):
        ImportanceWeightedScore(X_target, random_state=0)(model, X, y[:90])
