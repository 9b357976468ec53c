"""MLLS and PriorCorrection: gain under label shift, nothing otherwise."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from da_toolkit.label_shift._mlls import MLLS
from da_toolkit.label_shift._prior_correction import PriorCorrection
from shift_detectors._errors import InputError, ShiftWarning


def two_classes(seed, n, p):
    rng = np.random.default_rng([seed, n])
    y = (rng.random(n) < p).astype(int)
    x = rng.normal(size=(n, 5))
    x[:, :2] += (2 * y[:, None] - 1) * [0.96, 0.48]
    return x, y


def digits(seed, n):
    """Disjoint images on both sides, target prior Dirichlet(.5)."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    source, pool = order[:n], order[n:]
    prior = rng.dirichlet(np.full(10, 0.5))
    target = np.concatenate([rng.choice(pool[y[pool] == k], m) for k, m in enumerate(rng.multinomial(1000, prior))])
    X = X / 16 + 0.25 * rng.normal(size=X.shape)
    return X[source], y[source], X[target], y[target], prior


@pytest.fixture(scope="module")
def fitted():
    X, y = two_classes(0, 1000, 0.5)
    X_target, _ = two_classes(1, 1000, 0.9)
    return PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_target)


def test_two_classes_gain_as_the_true_prior():
    gains, errors = [], []
    for seed in range(10):
        X, y = two_classes(seed, 500, 0.5)
        X_target, y_target = two_classes(seed + 100, 500, 0.9)
        X_new, y_new = two_classes(seed + 200, 4000, 0.9)
        model = PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_target)
        oracle = PriorCorrection(LogisticRegression(), [0.1, 0.9], random_state=0).fit(X, y, X_target)
        source = np.mean(model.predict_source(X_new) == y_new)
        gains.append([model.score(X_new, y_new) - source, oracle.score(X_new, y_new) - source])
        errors.append(np.abs(model.prior_ - [0.1, 0.9]).sum())
    gain, best = np.mean(gains, axis=0)
    assert gain > 0.05 and gain > best - 0.01
    assert np.mean(errors) < 0.06


def test_ten_digits_gain_as_the_true_prior():
    rows = []
    for seed in range(4):
        X, y, X_target, y_target, prior = digits(seed, 700)
        model = PriorCorrection(LogisticRegression(max_iter=500), MLLS(), random_state=0).fit(X, y, X_target)
        oracle = PriorCorrection(model.estimator, np.maximum(prior, 1e-6) / np.maximum(prior, 1e-6).sum())
        oracle.set_params(random_state=0).fit(X, y, X_target)
        source = np.mean(model.predict_source(X_target) == y_target)
        error = np.abs(model.prior_ - prior).sum()
        rows.append([model.score(X_target, y_target) - source, oracle.score(X_target, y_target) - source, error])
    gain, best, error = np.mean(rows, axis=0)
    assert gain > 0 and gain > best - 0.01 and error < 0.13


def test_calibration_rescues_a_forest():
    X, y, X_target, _, prior = digits(0, 700)
    forest = RandomForestClassifier(30, random_state=0)
    error = {
        kind: np.abs(PriorCorrection(forest, MLLS(kind), random_state=0).fit(X, y, X_target).prior_ - prior).sum()
        for kind in ("bcts", None)
    }
    assert error["bcts"] < 0.5 * error[None]


def test_no_shift_leaves_predictions_alone():
    changed, gain, kept = [], [], 0
    for seed in range(20):
        X, y = two_classes(seed, 500, 0.6)
        X_target, _ = two_classes(seed + 50, 500, 0.6)
        X_new, y_new = two_classes(seed + 100, 2000, 0.6)
        model = PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_target)
        before, after = model.predict_source(X_new), model.predict(X_new)
        changed.append(np.mean(before != after))
        gain.append(np.mean(after == y_new) - np.mean(before == y_new))
        kept += not model.changed_
        assert model.changed_ or np.array_equal(before, after)
    assert kept >= 8  # exactly the model's own answer in most repeats
    assert np.mean(changed) < 0.01 and abs(np.mean(gain)) < 0.005


def test_small_targets_do_no_harm():
    gain = []
    for seed in range(30):
        X, y = two_classes(seed, 400, 0.5)
        X_target, _ = two_classes(seed + 50, 20, 0.5)
        X_new, y_new = two_classes(seed + 100, 2000, 0.5)
        model = PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_target)
        gain.append(model.score(X_new, y_new) - np.mean(model.predict_source(X_new) == y_new))
    assert np.mean(gain) > -0.01


def test_refit_and_posterior_correction_agree():
    X, y = two_classes(0, 2000, 0.5)
    X_target, y_target = two_classes(1, 2000, 0.9)
    scores = [
        PriorCorrection(LogisticRegression(), refit=refit, random_state=0).fit(X, y, X_target).score(X_target, y_target)
        for refit in (True, False)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    with pytest.warns(ShiftWarning, match="sample_weight"):
        model = PriorCorrection(KNeighborsClassifier(15), refit=True, random_state=0).fit(X, y, X_target)
    assert model.score(X_target, y_target) > np.mean(model.predict_source(X_target) == y_target)


def test_predict_proba_is_calibrated_under_the_target_prior(fitted):
    X_new, y_new = two_classes(7, 20000, 0.9)
    proba = fitted.predict_proba(X_new)[:, 1]
    for low, high in ((0.3, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1)):
        rows = (proba >= low) & (proba < high)
        assert y_new[rows].mean() == pytest.approx(proba[rows].mean(), abs=0.07)
    assert np.array_equal(fitted.decision_function(X_new) > 0, fitted.predict(X_new) == 1)
    assert fitted.predict_proba_source(X_new) == pytest.approx(fitted.head_.predict_proba(X_new))


def test_frozen_model_is_never_refitted():
    X, y = two_classes(0, 1000, 0.5)
    X_held, y_held = two_classes(1, 500, 0.5)
    X_target, y_target = two_classes(2, 1000, 0.9)
    forest = RandomForestClassifier(50, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = PriorCorrection(FrozenEstimator(forest), random_state=0).fit(X_held, y_held, X_target)
    assert model.head_.estimator is forest
    held_out_error = np.abs(model.prior_ - [0.1, 0.9]).sum()
    assert held_out_error < 0.12
    with pytest.warns(ShiftWarning, match="training rows"):
        on_training_rows = PriorCorrection(FrozenEstimator(forest), random_state=0).fit(X, y, X_target)
    assert np.abs(on_training_rows.prior_ - [0.1, 0.9]).sum() > held_out_error
    with pytest.raises(InputError, match="FrozenEstimator"):
        PriorCorrection(FrozenEstimator(forest), refit=True).fit(X_held, y_held, X_target)


def test_frames_strings_pipelines_and_partial_labels():
    X, y = two_classes(0, 600, 0.5)
    X_target, y_target = two_classes(1, 600, 0.9)
    names = [f"f{j}" for j in range(5)]
    frame, frame_target = pd.DataFrame(X, columns=names), pd.DataFrame(X_target, columns=names)
    frame["site"], frame_target["site"] = (
        np.where(X[:, 2] > 0, "a", "b"),
        np.where(X_target[:, 2] > 0, "a", "c"),
    )
    labels, labels_target = np.array(["no", "yes"])[y], np.array(["no", "yes"])[y_target].astype(object)
    labels_target[200:] = None
    before = frame.copy(), frame_target.copy(), labels_target.copy()
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["site"]), (StandardScaler(), names))
    pipeline = make_pipeline(encode, LogisticRegression())
    some = PriorCorrection(pipeline, random_state=0).fit(frame, labels, frame_target, labels_target)
    none = PriorCorrection(pipeline, random_state=0).fit(frame, labels, frame_target)
    assert set(some.predict(frame_target)) <= {"no", "yes"}
    assert np.diff(some.confidence_interval_[0]) < np.diff(none.confidence_interval_[0])
    pd.testing.assert_frame_equal(frame, before[0])
    pd.testing.assert_frame_equal(frame_target, before[1])
    assert np.array_equal(labels_target, before[2])
    given = PriorCorrection(pipeline, {"yes": 0.9, "no": 0.1}, random_state=0).fit(frame, labels, frame_target)
    assert given.prior_ == pytest.approx([0.1, 0.9])
    assert given.confidence_interval_ == pytest.approx(np.array([[0.1, 0.1], [0.9, 0.9]]))


def test_groups_keep_copies_out_of_the_folds():
    X, y = two_classes(0, 300, 0.5)
    X, y, groups = np.repeat(X, 3, axis=0), np.repeat(y, 3), np.repeat(np.arange(300), 3)
    X_target, _ = two_classes(1, 1000, 0.9)
    tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0)  # memorises copies
    error = [
        np.abs(PriorCorrection(tree, MLLS(), random_state=0).fit(X, y, X_target, groups=g).prior_ - [0.1, 0.9]).sum()
        for g in (groups, None)
    ]
    assert error[0] < error[1]


def test_clone_pickle_seed_and_nesting(fitted):
    X, y = two_classes(0, 1000, 0.5)
    X_target, _ = two_classes(1, 1000, 0.9)
    again = clone(fitted).fit(X, y, X_target)
    assert again.prior_ == pytest.approx(fitted.prior_, abs=0)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    model = PriorCorrection(LogisticRegression(), MLLS())
    model.set_params(estimator__C=0.5, prior__calibration="vector")
    assert model.estimator.C == 0.5 and model.prior.calibration == "vector"
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_mlls_alone(fitted):
    X, y = two_classes(3, 500, 0.5)
    X_target, _ = two_classes(4, 500, 0.9)
    proba, proba_target = fitted.predict_proba_source(X), fitted.predict_proba_source(X_target)
    method = MLLS().fit(proba, y, proba_target)
    assert method.prior_.shape == (2,) and method.confidence_interval_.shape == (2, 2)
    assert method.confidence_interval_[1, 0] < 0.9 < method.confidence_interval_[1, 1]
    assert method.pvalue_ < 0.01
    assert clone(method).get_params() == {"calibration": "bcts", "shrink": False}


@pytest.mark.parametrize(
    ("estimator", "change", "message"),
    [
        (LinearRegression(), {}, "no classifier"),
        (LinearSVC(), {}, "CalibratedClassifierCV"),
        (LogisticRegression(), {"y": np.zeros(60, int)}, "single class"),
        (
            LogisticRegression(),
            {"y": np.r_[np.ones(9, int), np.zeros(51, int)]},
            "two rows per class and fold",
        ),
        (LogisticRegression(), {"X_target": None}, "X_target"),
        (LogisticRegression(), {"prior": [0.5, 0.6]}, "sum to 1"),
        (LogisticRegression(), {"prior": {0: 0.5, 2: 0.5}}, "classes"),
    ],
)
def test_bad_input(estimator, change, message):
    X, y = two_classes(0, 60, 0.5)
    change = {"y": y, "X_target": X, "prior": None} | change
    with pytest.raises(InputError, match=message):
        PriorCorrection(estimator, change["prior"]).fit(X, change["y"], change["X_target"])
