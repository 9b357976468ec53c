"""Averaged: a plausible adapter is held back by the model as it is, where that model has a claim."""

import pickle

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import load_digits_label, make_conditional_shift, make_covariate_shift, make_label_shift
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from da_toolkit import CORAL, FeatureAlignment, ImportanceWeighting, PriorCorrection, TargetShiftWeighting, adapt
from da_toolkit._domains import read_domains
from da_toolkit._folds import split
from da_toolkit._source_only import SourceOnly
from da_toolkit.report._embedding import embed
from da_toolkit.selection import Averaged, _heuristics
from da_toolkit.selection._crossfit import averaged, gather, run_fold
from shift_detectors import InputError

ADAPTERS = {
    "weights": ImportanceWeighting(LogisticRegression(), random_state=0),
    "prior": PriorCorrection(LogisticRegression(), random_state=0),
    "frozen": PriorCorrection(FrozenEstimator(LogisticRegression().fit([[0.0] * 10, [1.0] * 10], [0, 1]))),
    "alignment": FeatureAlignment(make_pipeline(StandardScaler(), LogisticRegression()), CORAL(), random_state=0),
    "regression": TargetShiftWeighting(Ridge(), random_state=0),
}


class KNeighborsNoScores(ClassifierMixin, BaseEstimator):
    """Nearest neighbours without probabilities."""

    def fit(self, X, y):
        self.model_ = KNeighborsClassifier().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)


def thresholded(model):
    return FixedThresholdClassifier(model, threshold=0.8, response_method="decision_function")


def moved(seed=0, n=500):
    """Two classes; in the target all rows are moved, within reach of the source."""
    rng = np.random.default_rng(seed)
    y, y_target = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X, X_target = (rng.normal(size=(n, 4)) + 2 * labels[:, None] * [1, 1, 0, 0] for labels in (y, y_target))
    return X, y, X_target + [1.2, -1.2, 0, 0], y_target


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_average_is_that_of_its_formula(name):
    task = "regression" if name == "regression" else "classification"
    pair = make_covariate_shift(300, 300, task=task, random_state=0)
    adapter, share = ADAPTERS[name], 0.3
    model = Averaged(adapter, share).fit(*pair.seen)
    alone = clone(adapter).fit(*pair.seen)
    own = SourceOnly(clone(adapter.estimator)).fit(*pair.seen)
    for method in ("predict", "predict_source") if task == "regression" else ("predict_proba", "predict_proba_source"):
        adapted, plain = (getattr(m, method)(pair.X_target) for m in (alone, own))
        np.testing.assert_allclose(getattr(model, method)(pair.X_target), 0.7 * adapted + 0.3 * plain)
    if task == "classification":
        assert (model.predict(pair.X_target) == model.classes_[model.predict_proba(pair.X_target).argmax(1)]).all()
        assert not hasattr(model, "decision_function")


def test_decision_values_are_averaged_on_one_scale():
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 3, (2, 300))
    X, X_target = (rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels] for labels in (y, y_target))
    for seen, model in (((X, y > 0, X_target + 1), SVC()), ((X, y, X_target + 1), LinearSVC())):
        adapter = FeatureAlignment(make_pipeline(StandardScaler(), model), CORAL(), class_prior=None)
        mixed = Averaged(adapter, 0.3).fit(*seen)
        wanted = 0.0
        for weight, alone in ((0.7, clone(adapter)), (0.3, SourceOnly(clone(adapter.estimator)))):
            alone.fit(*seen)
            f, f_source = (g(x) for g, x in ((alone.decision_function, seen[2]), (alone.decision_function_source, X)))
            if f.ndim == 2:
                f, f_source = (g - g.mean(axis=1, keepdims=True) for g in (f, f_source))
            wanted = wanted + weight * f / np.sqrt(np.mean(f_source**2))
        np.testing.assert_allclose(mixed.decision_function(seen[2]), wanted)
        best = wanted.argmax(axis=1) if wanted.ndim == 2 else (wanted > 0).astype(int)
        np.testing.assert_array_equal(mixed.predict(seen[2]), mixed.classes_[best])
        assert not hasattr(mixed, "predict_proba")


@pytest.mark.parametrize("share, same", [(0, "adapter_"), (1, "source_only_")])
def test_the_ends_are_the_adapter_and_the_model_as_it_is(share, same):
    X, y, X_target, _ = moved()
    model = Averaged(FeatureAlignment(LogisticRegression(), CORAL()), share).fit(X, y, X_target)
    np.testing.assert_array_equal(model.predict(X_target), getattr(model, same).predict(X_target))


def test_it_clones_pickles_takes_frames_and_shows_its_adapter():
    X, y, X_target, y_target = moved()
    X, X_target = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, X_target))
    y = np.array(["no", "yes"])[y]
    model = clone(Averaged(FeatureAlignment(LogisticRegression(), CORAL()))).fit(X, y, X_target)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X_target), model.predict_proba(X_target))
    assert model.get_params()["adapter__aligner"] is model.adapter.aligner
    assert 0.5 < model.score(X_target, np.array(["no", "yes"])[y_target]) <= 1
    drawn, wanted = (embed(m, X, X_target, random_state=0).after for m in (model, model.adapter_))
    np.testing.assert_array_equal(drawn.source, wanted.source)
    with pytest.raises(InputError, match="column"):
        model.predict(X_target[["a"]])


@pytest.mark.parametrize(
    "adapter, share, match",
    [
        (LogisticRegression(), 0.5, "an adapter around a scikit-learn model"),
        (FeatureAlignment(LogisticRegression()), 1.5, "a number from 0 to 1"),
        (FeatureAlignment(LogisticRegression()), True, "a number from 0 to 1"),
        (FeatureAlignment(KNeighborsNoScores()), 0.5, "KNeighborsNoScores predicts labels only"),
        (FeatureAlignment(thresholded(SVC())), 0.5, "other classes than the sign of its decision values"),
    ],
)
def test_what_it_does_not_take(adapter, share, match):
    X, y, X_target, _ = moved()
    with pytest.raises(InputError, match=match):
        Averaged(adapter, share).fit(X, y, X_target)


@pytest.mark.parametrize("name", ["prior", "alignment", "regression"])
def test_cross_fitted_answers_are_those_of_the_average(name):
    """The guard's arithmetic on the answers of both equals cross-fitting the average itself."""
    task = "regression" if name == "regression" else "classification"
    pair = make_label_shift(200, 200, task=task, random_state=0)
    domains = read_domains(*pair.seen, classification=task == "classification", adapter="test")
    source_fold, target_fold = split(domains, None, task == "classification", 0)

    def trial(adapter):
        parts = [
            run_fold(adapter, domains, source_fold != k, target_fold != k, False) for k in range(source_fold.max() + 1)
        ]
        return gather("x", adapter, parts, source_fold, target_fold)

    adapter = ADAPTERS[name]
    classes = None if task == "regression" else np.unique(pair.y_source)
    mixed = averaged(trial(adapter), trial(SourceOnly(adapter.estimator)), 0.3, classes).answers
    direct = trial(Averaged(adapter, 0.3)).answers
    for path in ("on_source", "own_source", "on_target", "source_proba", "target_proba"):
        found, wanted = getattr(mixed, path), getattr(direct, path)
        if wanted is not None:
            np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_adapt_holds_a_plausible_adapter_back_where_the_source_has_rows():
    pair = make_label_shift(600, 2000, task="regression", random_state=0)
    result = adapt(Ridge(), *pair.seen, candidates=["TargetShiftWeighting"], random_state=0)
    assert result.status == "plausible" and result.adapter == "TargetShiftWeighting"
    assert isinstance(result.estimator, Averaged) and result.estimator.source_share == 0.5
    assert result.settings["source_share"] == 0.5
    assert "averaged with the model as it is, which counts 50%" in result.explanation
    model = result.estimator
    full, half = (np.mean((m.predict(pair.X_target) - pair.y_target) ** 2) for m in (model.adapter_, model))
    own = np.mean((model.source_only_.predict(pair.X_target) - pair.y_target) ** 2)
    said = result.candidates[1].gain.value  # of what is deployed, not of the adapter alone
    assert abs(said - (own - half)) < abs(said - (own - full))


def test_adapt_does_not_average_where_the_source_has_no_rows_or_a_threshold_is_set():
    X, y, X_target, _ = moved()
    far = adapt(LogisticRegression(), X, y, 0.5 * X_target + [8, 3, 0, -5], candidates=["CORAL"], random_state=0)
    assert far.status == "plausible" and isinstance(far.estimator, FeatureAlignment)
    assert far.settings["source_share"] == 0 and "averaged" not in far.explanation
    pair = make_label_shift(600, 600, task="classification", random_state=0)
    threshold = FixedThresholdClassifier(LogisticRegression(), threshold=0.3)
    result = adapt(threshold, *pair.seen, random_state=0)
    assert result.settings["source_share"] == 0


def test_adapt_averages_decision_values_where_there_are_no_probabilities():
    X, y, X_target, y_target = moved(n=400)
    result = adapt(SVC(), X, y, X_target + [0.8, -0.8, 0.6, 0], candidates=["CORAL"], random_state=0)
    assert result.status == "plausible" and isinstance(result.estimator, Averaged)
    assert 0 < result.settings["source_share"] <= 0.5
    assert result.estimator.score(X_target + [0.8, -0.8, 0.6, 0], y_target) > 0.9
    assert result.before.value < result.after.value


def test_adapt_keeps_a_third_of_the_model_where_one_score_alone_speaks_for_the_adapter(monkeypatch):
    X, y, X_target, _ = moved()
    seen = X, y, 0.5 * X_target + [8, 3, 0, -5]  # where the source has no rows
    every = _heuristics._scores
    for alone, share in ((_heuristics.CIRCULAR, 0.33), (None, 0.0)):
        monkeypatch.setattr(
            _heuristics, "_scores", lambda *a, alone=alone: {k: v for k, v in every(*a).items() if alone in (k, None)}
        )
        result = adapt(LogisticRegression(), *seen, candidates=["CORAL"], random_state=0)
        assert result.status == "plausible" and result.settings["source_share"] == share


def test_what_is_plausible_under_label_shift_is_averaged_where_frequencies_fit_well_too():
    shares, model = [], make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for seed in range(8):
        pair = load_digits_label(random_state=seed)
        result = adapt(model, *pair.seen, random_state=seed)
        if result.status == "plausible":
            shares.append(result.settings["source_share"])
    assert shares and set(shares) == {0.5}


@pytest.mark.slow
def test_half_of_a_shift_of_y_that_was_none_costs_less_than_half_and_keeps_more():
    """Regression whose verdict says label shift: it was one, or p(x|y) changed instead."""
    lost, kept = [], []
    for seed in range(6):
        for maker, changes in ((make_conditional_shift, lost), (make_label_shift, kept)):
            pair = maker(600, 2000, task="regression", random_state=seed)
            adapter = TargetShiftWeighting(Ridge(), random_state=0)
            model = Averaged(adapter, 0.5).fit(*pair.seen)
            error = {
                name: np.mean((m.predict(pair.X_target) - pair.y_target) ** 2)
                for name, m in (("own", model.source_only_), ("adapted", model.adapter_), ("half", model))
            }
            changes.append((error["adapted"] - error["own"], error["half"] - error["own"]))
    (harm, harm_half), (gain, gain_half) = np.mean(lost, axis=0), np.mean(kept, axis=0)
    assert harm > 0 and harm_half < 0.5 * harm
    assert gain < 0 and gain_half < 0.6 * gain
