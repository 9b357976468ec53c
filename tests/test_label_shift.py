"""MLLS and PriorCorrection: gain under label shift, nothing otherwise."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import make_label_shift
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from da_toolkit import BBSE, MLLS, RLLS, FeatureAlignment, PriorCorrection, TargetShiftWeighting
from da_toolkit.label_shift._rlls import _penalised
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


@pytest.mark.parametrize("share", [0.9, 0.1])  # nine of ten target rows are of one class; all alike
def test_weights_are_as_good_as_the_likelihoods_on_digits(share):
    """The correction for a wrong calibration must not cost what the likelihood gains under extreme shifts."""
    X, y = load_digits(return_X_y=True)
    train, held, pool = np.split(np.random.default_rng(0).permutation(len(y)), [450, 1120])
    proba = LogisticRegression(max_iter=1000).fit(X[train] / 16, y[train]).predict_proba(X / 16)
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        prior = np.full(10, (1 - share) / 9)
        prior[rng.integers(10)] = share
        target = np.concatenate([rng.choice(pool[y[pool] == k], m) for k, m in enumerate(rng.multinomial(2000, prior))])
        fit = MLLS().fit(proba[held], y[held], proba[target])
        g, g_target = fit.result_.calibration(proba[held]), fit.result_.calibration(proba[target])
        plain = MLLS(None).fit(g, y[held], g_target)
        true = np.bincount(y[target], minlength=10) / np.bincount(y[held]) * len(held) / len(target)
        errors.append([np.mean((f.prior_ / f.source_prior_ - true) ** 2) for f in (fit, plain)])
    worse = np.diff(errors, axis=1)[:, 0] * -1
    assert worse.mean() < 2 * worse.std(ddof=1) / np.sqrt(20)


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


def test_predict_proba_is_calibrated_under_the_target_prior():
    cuts, excess = (0.3, 0.6, 0.8, 0.95), []
    for seed in range(8):
        X, y = two_classes(seed, 1000, 0.5)
        X_new, y_new = two_classes(seed + 100, 20000, 0.9)
        model = PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_new[:1000])
        proba = model.predict_proba(X_new)[:, 1]
        between = np.digitize(proba, cuts)
        excess.append([np.mean(y_new[between == k] - proba[between == k]) for k in range(1, 5)])
    # a standard error of .014 of the prior moves a probability of .5 by .04 and the mean of eight by .014
    assert np.mean(excess, axis=0) == pytest.approx(0, abs=3 * 0.014)


def test_scores_agree_with_predictions(fitted):
    X_new, _ = two_classes(7, 20000, 0.9)
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
    for known in ({"yes": 0.9, "no": 0.1}, pd.Series({"yes": 0.9, "no": 0.1})):  # as value_counts orders them
        given = PriorCorrection(pipeline, known, random_state=0).fit(frame, labels, frame_target)
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


class Recording(MLLS):
    """Remembers the groups that it is given."""

    def fit(self, *args, classes=None, groups_source=None, **known):
        Recording.groups = groups_source
        return super().fit(*args, classes=classes, groups_source=groups_source, **known)


class WithoutGroups(BaseEstimator):
    """Of a user: `fit` takes no groups."""

    def fit(self, proba_source, y_source, proba_target, *, classes):
        self.prior_ = self.source_prior_ = np.full(len(classes), 1 / len(classes))
        self.confidence_interval_ = np.column_stack([self.prior_, self.prior_])
        return self


@pytest.mark.parametrize(
    "model",
    [
        PriorCorrection(LogisticRegression(), Recording(), random_state=0),
        FeatureAlignment(LogisticRegression(), class_prior=Recording(), random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_groups_reach_a_prior_that_takes_them(model):
    X, y = two_classes(0, 300, 0.5)
    X_target, _ = two_classes(1, 300, 0.9)
    groups = np.arange(300) // 3
    model.fit(X, y, X_target, groups=groups)
    assert np.array_equal(Recording.groups, groups)
    name = "prior" if isinstance(model, PriorCorrection) else "class_prior"
    clone(model).set_params(**{name: WithoutGroups()}).fit(X, y, X_target, groups=groups)


@pytest.mark.parametrize("prior", [MLLS(), BBSE()], ids=lambda prior: type(prior).__name__)
def test_copies_of_rows_in_groups_know_no_more_than_the_rows(prior):
    X, y = two_classes(0, 60, 0.5)
    proba = LogisticRegression().fit(*two_classes(1, 500, 0.5)).predict_proba(X)
    proba_target = LogisticRegression().fit(*two_classes(1, 500, 0.5)).predict_proba(two_classes(2, 1000, 0.65)[0])
    copies = np.repeat(np.arange(60), 10)
    alone, unknown, known = (
        clone(prior).fit(proba[rows], y[rows], proba_target, groups_source=groups)
        for rows, groups in ((np.arange(60), None), (copies, None), (copies, copies))
    )
    widths = [np.diff(fit.confidence_interval_[0])[0] for fit in (alone, unknown, known)]
    assert widths[2] == pytest.approx(widths[0], rel=0.15) and widths[1] < 0.7 * widths[0]
    assert known.pvalue_ == pytest.approx(alone.pvalue_, rel=0.3) and unknown.pvalue_ < 0.3 * alone.pvalue_
    single = clone(prior).fit(proba, y, proba_target, groups_source=np.arange(60), groups_target=np.arange(1000))
    assert single.pvalue_ == pytest.approx(alone.pvalue_) and single.prior_ == pytest.approx(alone.prior_)


@pytest.mark.parametrize("prior", [MLLS(shrink=True), BBSE()], ids=lambda prior: type(prior).__name__)
@pytest.mark.parametrize("labelled", [0, 150])
def test_no_change_is_not_rejected_where_the_rows_of_a_group_share_their_class(prior, labelled):
    """30 groups of 15 rows a side, each with its own frequency of the classes."""
    groups, classifier = np.repeat(np.arange(30), 15), LogisticRegression().fit(*two_classes(0, 500, 0.5))
    rejected, inside, shrunk = np.zeros(2), np.zeros(2), np.zeros(2)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y, y_target = ((rng.random(450) < rng.beta(0.5, 0.5, 30)[groups]).astype(int) for _ in range(2))
        signs = (np.r_[y, y_target] * 2 - 1)[:, None]
        proba = classifier.predict_proba(rng.normal(size=(900, 5)) + signs * [0.96, 0.48, 0, 0, 0])
        known = np.where(np.arange(450) < labelled, y_target, None)
        for i, given in enumerate(({}, {"groups_source": groups, "groups_target": groups})):
            fit = clone(prior).fit(proba[:450], y, proba[450:], y_target=known, **given)
            low, high = fit.confidence_interval_[1]
            rejected[i] += fit.pvalue_ <= 0.05
            inside[i] += low <= 0.5 <= high
            shrunk[i] += np.array_equal(fit.prior_, fit.source_prior_)
    margin = 3.5 * np.sqrt(0.05 * 0.95 / 150)
    assert rejected[1] / 150 < 0.05 + margin < 0.25 < rejected[0] / 150
    assert inside[1] / 150 > 0.95 - margin and inside[0] / 150 < 0.85
    assert isinstance(prior, BBSE) or shrunk[1] > shrunk[0] + 30


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


@pytest.mark.parametrize("method", [MLLS(), BBSE(), RLLS()], ids=lambda m: type(m).__name__)
def test_labels_of_another_type_than_the_classes(method):
    proba, y = three_classes(0, 200, [0.5, 0.3, 0.2])[:2]
    proba, y = np.column_stack([proba[:, 0], 1 - proba[:, 0]]), y > 0
    labelled = np.arange(200) < 50
    expected = method.fit(proba, y.astype(int), proba, y_target=np.where(labelled, y, np.nan)).prior_
    for labels in (y, y.astype(float), pd.array(y, dtype="boolean")):
        found = clone(method).fit(proba, labels, proba, y_target=np.where(labelled, y, None), classes=[0, 1]).prior_
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="y_source has the class 'yes'"):
        method.fit(proba, np.where(y, "yes", "no"), proba, classes=["no", "maybe"])


@pytest.mark.parametrize("n_rare", [1, 2, 3])
@pytest.mark.parametrize("prior", [None, BBSE()])
def test_rare_classes_keep_their_share_and_the_others_are_corrected(n_rare, prior):
    X, y = two_classes(0, 600, 0.5)
    X_target, y_target = two_classes(1, 600, 0.9)
    rare = np.random.default_rng(0).normal(8.0, 0.1, (n_rare, X.shape[1]))
    X, y = np.r_[X, rare], np.r_[y, np.full(n_rare, 2)]
    model = PriorCorrection(LogisticRegression(), prior, random_state=0)
    with pytest.warns(ShiftWarning, match=rf"Too few source rows of 2 \({n_rare} row"):
        model.fit(X, y, X_target)
    share = n_rare / len(y)
    assert model.rare_classes_.tolist() == [2]
    assert model.prior_[2] == model.source_prior_[2] == pytest.approx(share)
    assert model.prior_ == pytest.approx(np.array([0.1 * (1 - share), 0.9 * (1 - share), share]), abs=0.06)
    assert np.isnan(model.confidence_interval_[2]).all() and np.isfinite(model.confidence_interval_[:2]).all()
    assert model.score(X_target, y_target) > LogisticRegression().fit(X, y).score(X_target, y_target) + 0.02
    assert model.predict_proba(X_target).sum(axis=1) == pytest.approx(1)
    groups = np.r_[np.arange(600), np.zeros(n_rare)]
    labels = np.r_[y_target[:50], [2], np.full(549, -1)].astype(object)
    labels[labels == -1] = None
    with pytest.warns(ShiftWarning, match="of two groups"):
        grouped = model.fit(X, y, X_target, labels, groups=groups)
    assert grouped.prior_[1] == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("prior", [[0.7, 0.3], [0.5, 0.3, 0.2]])
def test_predictions_that_are_all_alike_are_no_evidence(prior):
    y = np.random.default_rng(0).choice(len(prior), 500, p=prior)
    proba = np.tile(prior, (500, 1))
    fit = MLLS(shrink=True).fit(proba, y, proba[:300])
    assert fit.pvalue_ == 1 and np.array_equal(fit.prior_, fit.source_prior_)


@pytest.mark.parametrize(
    ("estimator", "change", "message"),
    [
        (LinearRegression(), {}, "no classifier"),
        (LinearSVC(), {}, "CalibratedClassifierCV"),
        (LogisticRegression(), {"y": np.zeros(60, int)}, "single class"),
        (
            LogisticRegression(),
            {"y": np.r_[np.ones(3, int), np.zeros(57, int)]},
            r"too few source rows of 1 \(3 rows\); accepted: two classes with 4 rows each",
        ),
        (LogisticRegression(), {"X_target": None}, "X_target"),
        (LogisticRegression(), {"prior": [0.5, 0.6]}, "sum to 1"),
        (LogisticRegression(), {"prior": {0: 0.5, 2: 0.5}}, "classes"),
        (LogisticRegression(), {"cv": 1}, "cv=1"),
        (LogisticRegression(), {"cv": 2.5}, "cv=2.5"),
    ],
)
def test_bad_input(estimator, change, message):
    X, y = two_classes(0, 60, 0.5)
    change = {"y": y, "X_target": X, "prior": None, "cv": 5} | change
    with pytest.raises(InputError, match=message):
        PriorCorrection(estimator, change["prior"], cv=change["cv"]).fit(X, change["y"], change["X_target"])


# --- BBSE and RLLS ------------------------------------------------------------------------------------------


def three_classes(seed, n, target, n_target=None, source=(0.5, 0.3, 0.2)):
    """Gaussian classes seen through the true posterior of equal classes, sharpened: wrong, but informative."""
    rng = np.random.default_rng([seed, n])
    centres = np.array([[1.5, 0.0], [-0.75, 1.2], [-0.75, -1.2]])

    def draw(m, p):
        y = rng.choice(3, m, p=p)
        logits = 1.5 * (centres[y] + rng.normal(size=(m, 2))) @ centres.T
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        return proba / proba.sum(axis=1, keepdims=True), y

    proba, y = draw(n, source)
    proba_target, y_target = draw(n_target or n, target)
    return proba, y, proba_target, y_target


@pytest.mark.parametrize("soft", [False, True])
def test_bbse_is_the_solution_of_its_equation(soft):
    proba, y, proba_target, _ = three_classes(0, 800, [0.2, 0.5, 0.3])
    said = [p if soft else np.eye(3)[p.argmax(axis=1)] for p in (proba, proba_target)]
    C = np.array([[np.mean(said[0][:, i] * (y == j)) for j in range(3)] for i in range(3)])
    expected = np.linalg.solve(C, said[1].mean(axis=0)) * np.bincount(y) / len(y)
    fit = BBSE(soft).fit(proba, y, proba_target)
    assert fit.prior_ == pytest.approx(expected) and (expected > 0).all()
    assert fit.weights_ == pytest.approx(fit.prior_ / fit.source_prior_)
    assert (fit.confidence_interval_[:, 0] < fit.prior_).all() and (fit.prior_ < fit.confidence_interval_[:, 1]).all()
    same = BBSE(soft).fit(proba, y, proba)
    assert same.prior_ == pytest.approx(same.source_prior_) and same.pvalue_ == pytest.approx(1)
    assert fit.pvalue_ < 1e-6


def test_rlls_minimises_its_objective():
    proba, y, proba_target, _ = three_classes(1, 150, [0.25, 0.45, 0.3])
    fit = RLLS(alpha=0.05).fit(proba, y, proba_target)
    said, said_target = (np.eye(3)[p.argmax(axis=1)] for p in (proba, proba_target))
    C, p = said.T @ np.eye(3)[y] / 150, np.bincount(y) / 150
    b = said_target.mean(axis=0) - C.sum(axis=1)
    bound = 2 * np.log(2 * 3 / 0.05) / 150
    assert fit.penalty_ == pytest.approx(0.05 * 3 * (bound / 3 + np.sqrt(bound)))

    def objective(theta):
        return np.linalg.norm(C @ theta - b) + fit.penalty_ * np.linalg.norm(theta)

    best = minimize(
        objective,
        np.full(3, 0.01),
        method="SLSQP",
        bounds=[(-1, None)] * 3,
        constraints={"type": "eq", "fun": lambda theta: p @ theta},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    theta = _penalised(C, b, p, fit.penalty_)
    assert objective(theta) <= best.fun + 1e-7
    assert fit.prior_ == pytest.approx(p * (1 + theta))
    assert RLLS(alpha=10).fit(proba, y, proba_target).prior_ == pytest.approx(p)
    assert RLLS(alpha=0).fit(proba, y, proba_target).prior_ == pytest.approx(
        BBSE().fit(proba, y, proba_target).prior_, abs=1e-4
    )


def test_clipping_keeps_frequencies():
    proba, y, proba_target, _ = three_classes(2, 60, [1.0, 0.0, 0.0])
    for method in (BBSE(), BBSE(soft=True), RLLS(), RLLS(soft=True)):
        fit = method.fit(proba, y, proba_target)
        assert fit.prior_.min() >= 0 and fit.prior_.sum() == pytest.approx(1)
        assert (fit.confidence_interval_ >= 0).all() and (fit.confidence_interval_ <= 1).all()


@pytest.mark.parametrize("method", [BBSE(), BBSE(soft=True), RLLS()])
def test_blind_classifiers_are_told(method):
    y = np.tile([0, 1], 100)
    with pytest.warns(ShiftWarning, match="singular value"):
        fit = method.fit(np.full((200, 2), 0.5), y, np.full((100, 2), 0.5))
    assert fit.prior_ == pytest.approx([0.5, 0.5])  # no change where none can be seen
    assert fit.confidence_interval_[0, 0] < 0.05 and fit.confidence_interval_[0, 1] > 0.95


@pytest.mark.parametrize(("right", "wrong", "on_target"), [(0, 1, 0), (0, 1, 3), (0, 2, 1), (1, 0, 5), (2, 3, 9)])
def test_the_few_answers_of_a_rare_class_are_not_inverted(right, wrong, on_target):
    """`right` of the 60 rows of class 1 are answered 1, and `wrong` of the 3,940 others: that may be chance."""
    y = np.repeat([1, 0], [60, 3940])
    said = np.r_[np.arange(60) < right, np.arange(3940) < wrong].astype(int)
    proba, proba_target = np.eye(2)[said], np.eye(2)[(np.arange(4000) < on_target).astype(int)]
    with pytest.warns(ShiftWarning, match="nothing is seen of how their frequencies changed"):
        fit = BBSE().fit(proba, y, proba_target)
    assert np.array_equal(fit.prior_, fit.source_prior_) and fit.pvalue_ == 1
    assert fit.confidence_interval_.tolist() == [[0, 1], [0, 1]]


def test_answers_of_a_rare_class_that_are_no_chance_count():
    y = np.repeat([1, 0], [60, 3940])
    said = np.r_[np.arange(60) < 20, np.arange(3940) < 10].astype(int)
    proba, proba_target = np.eye(2)[said], np.eye(2)[(np.arange(4000) < 70).astype(int)]
    expected = (70 / 4000 - 10 / 3940) / (20 / 60 - 10 / 3940)
    assert BBSE().fit(proba, y, proba_target).prior_[1] == pytest.approx(expected)


def test_a_prior_without_evidence_leaves_the_answers_alone():
    rng = np.random.default_rng(4)
    y = (rng.random(4000) < 0.01).astype(int)
    X, X_target = rng.normal(1.3 * y)[:, None], rng.normal(1.3 * (rng.random(4000) < 0.01))[:, None]
    with pytest.warns(ShiftWarning, match="nothing is seen"):
        model = PriorCorrection(LogisticRegression(), BBSE(), random_state=0).fit(X, y, X_target)
    assert not model.changed_ and model.predict_proba(X_target)[:, 1].mean() < 0.02


@pytest.mark.parametrize("method", [BBSE(), RLLS(soft=True)])
def test_known_labels_join_in_proportion(method):
    proba, y, proba_target, y_target = three_classes(3, 600, [0.2, 0.5, 0.3])
    full = method.fit(proba, y, proba_target, y_target=y_target)
    frequency = np.bincount(y_target) / 600
    assert full.prior_ == pytest.approx(frequency)
    widths = [np.diff(full.confidence_interval_, axis=1)]
    for labels in (np.where(np.arange(600) < 300, y_target, np.nan), None):
        widths.append(np.diff(clone(method).fit(proba, y, proba_target, y_target=labels).confidence_interval_, axis=1))
    assert (widths[0] < widths[1]).all() and (widths[1] < widths[2]).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", [BBSE(), BBSE(soft=True)])
@pytest.mark.parametrize(("n", "n_target"), [(500, 500), (60, 500)])
def test_interval_of_bbse_covers(method, n, n_target):
    target, repeats = np.array([0.2, 0.5, 0.3]), 1000
    covered = np.zeros(3)
    for seed in range(repeats):
        ci = method.fit(*three_classes(seed, n, target, n_target)[:3]).confidence_interval_
        covered += (ci[:, 0] <= target) & (target <= ci[:, 1])
    margin = 3 * np.sqrt(0.95 * 0.05 / repeats)
    assert (covered / repeats > 0.93 - margin / 2).all() and (covered / repeats < 0.97 + margin / 2).all()


@pytest.mark.slow
def test_level_of_bbse():
    rejected = [BBSE().fit(*three_classes(s, 400, [0.5, 0.3, 0.2])[:3]).pvalue_ <= 0.05 for s in range(1000)]
    assert np.mean(rejected) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("method", [BBSE(), BBSE(soft=True), RLLS()], ids=str)
@pytest.mark.parametrize(("share", "n_target", "labelled"), [(0.05, 40, 0), (0.02, 100, 0), (0.02, 200, 100)])
def test_level_with_a_rare_class_and_few_target_rows(method, share, n_target, labelled):
    """A class that is absent by chance is not known to be absent."""
    source, rejected = (0.5, 0.5 - share, share), 0
    for seed in range(400):
        proba, y, proba_target, y_target = three_classes(seed, 1000, source, n_target, source)
        known = np.where(np.arange(n_target) < labelled, y_target, None)
        rejected += method.fit(proba, y, proba_target, y_target=known).pvalue_ <= 0.05
    assert rejected / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("prior", [BBSE(), BBSE(soft=True), RLLS(), RLLS(soft=True)])
def test_every_prior_serves_the_correction(prior):
    X, y = two_classes(0, 1000, 0.5)
    X_target, y_target = two_classes(1, 1000, 0.9)
    model = PriorCorrection(LogisticRegression(), prior, random_state=0).fit(X, y, X_target)
    assert model.score(X_target, y_target) > np.mean(model.predict_source(X_target) == y_target) + 0.04
    assert model.prior_ == pytest.approx([0.1, 0.9], abs=0.06)
    again = clone(model).fit(X, y, X_target)
    assert np.array_equal(again.prior_, model.prior_)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    X_same, _ = two_classes(2, 1000, 0.5)
    same = clone(model).fit(X, y, X_same)
    assert np.mean(same.predict(X_same) != same.predict_source(X_same)) < 0.05


def test_bad_options_of_priors():
    good = np.full((4, 2), 0.5), [0, 1, 0, 1], np.full((3, 2), 0.5)
    for alpha in (-1, "a"):
        with pytest.raises(InputError, match="alpha"), pytest.warns(ShiftWarning):
            RLLS(alpha=alpha).fit(*good)
    with pytest.raises(InputError, match="no probabilities"):
        BBSE().fit(np.ones((4, 2)), good[1], good[2])
    with pytest.raises(InputError, match="no held-out source row"):
        BBSE().fit(*good, classes=[0, 1], weight_source=[1, 0, 1, 0])


# --- regression ---------------------------------------------------------------------------------------------


def test_target_shift_gains_as_the_true_weights():
    gain = []
    for seed in range(5):
        pair = make_label_shift(task="regression", random_state=seed)
        model = TargetShiftWeighting(Ridge(), random_state=0).fit(pair.X_source, pair.y_source, pair.X_target)
        best = Ridge().fit(pair.X_source, pair.y_source, pair.true_weights).score(pair.X_target, pair.y_target)
        before = Ridge().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
        after = model.score(pair.X_target, pair.y_target)
        gain.append([after - before, after - best])
        assert np.corrcoef(model.weights_, pair.true_weights)[0, 1] > 0.8
        assert model.weights_.min() >= 0 and model.weights_.mean() == pytest.approx(1)
    assert np.mean(gain, axis=0)[0] > 0.05 and np.mean(gain, axis=0)[1] > -0.01


def test_target_shift_without_shift_and_with_a_large_ridge():
    change = []
    for seed in range(5):
        pair = make_label_shift(task="regression", strength=0, random_state=seed)
        model = TargetShiftWeighting(Ridge(), random_state=0).fit(pair.X_source, pair.y_source, pair.X_target)
        before = Ridge().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
        change.append(model.score(pair.X_target, pair.y_target) - before)
        assert model.effective_sample_size_ > 950
    assert np.mean(change) > -0.005
    still = TargetShiftWeighting(Ridge(), ridge=1e9, random_state=0).fit(*pair.seen)
    assert still.weights_ == pytest.approx(1, abs=1e-3)


def test_target_shift_matches_the_moments():
    rng = np.random.default_rng(0)
    y, y_target = rng.uniform(-1, 1, 5000), np.sqrt(rng.uniform(0, 1, 5000)) * 2 - 1  # p_t / p_s = 1 + y
    x, x_target = (v + 0.05 * rng.normal(size=5000) for v in (y, y_target))
    model = TargetShiftWeighting(Ridge(), random_state=0).fit(x[:, None], y, x_target[:, None])
    for power in (1, 2):
        assert np.average(y**power, weights=model.weights_) == pytest.approx((y_target**power).mean(), abs=0.02)
    assert model.weights_ == pytest.approx(1 + y, abs=0.35)


def test_target_shift_contract():
    pair = make_label_shift(task="regression", random_state=0)
    pipeline = make_pipeline(StandardScaler(), Ridge())
    model = TargetShiftWeighting(pipeline, random_state=0).fit(*pair.seen)
    again = clone(model).fit(*pair.seen)
    assert np.array_equal(model.weights_, again.weights_)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(pair.X_target), model.predict(pair.X_target))
    assert np.array_equal(model.estimator_.predict(pair.X_target), model.predict(pair.X_target))
    X, y, X_target = pair.seen[:3]
    with pytest.warns(ShiftWarning, match="sample_weight"):
        TargetShiftWeighting(KNeighborsRegressor(), ridge=1.0, random_state=0).fit(X, y, X_target)
    for options, message in (
        ({"estimator": LogisticRegression()}, "classifier"),
        ({"estimator": FrozenEstimator(Ridge())}, "FrozenEstimator"),
        ({"ridge": -1}, "ridge"),
        ({"ridge": None}, "ridge"),
        ({"n_splines": 2}, "n_splines"),
    ):
        with pytest.raises(InputError, match=message):
            TargetShiftWeighting(**({"estimator": Ridge()} | options)).fit(X, np.round(y), X_target)
    for ridge, least in (("auto", 4), (1.0, 2)):
        with pytest.raises(InputError, match=f"{least - 1} target rows; accepted: at least {least}"):
            TargetShiftWeighting(Ridge(), ridge=ridge).fit(X, y, X_target[: least - 1])
        TargetShiftWeighting(Ridge(), ridge=ridge, random_state=0).fit(X, y, X_target[:least])
    with pytest.raises(InputError, match="constant"):
        TargetShiftWeighting(Ridge()).fit(X, np.ones(len(X)), X_target)
    with pytest.raises(InputError, match="a single group; accepted: at least 2 groups"):
        TargetShiftWeighting(Ridge()).fit(X, y, X_target, groups=np.zeros(len(X)))


def test_frequencies_of_a_wholly_labelled_target_are_taken_or_shrunken():
    for seed in range(3):
        (X, y), (X_target, y_target) = two_classes(seed, 300, 0.5), two_classes(100 + seed, 300, 0.6)
        plain, default = (
            PriorCorrection(LogisticRegression(), prior=prior, random_state=0).fit(X, y, X_target, y_target)
            for prior in (MLLS(), None)
        )
        assert plain.prior_[1] == pytest.approx(y_target.mean())
        low, high = sorted([default.source_prior_[1], plain.prior_[1]])
        assert low - 1e-9 <= default.prior_[1] <= high + 1e-9


def test_a_rare_class_is_cross_fitted_in_fewer_folds():
    X, _ = two_classes(0, 60, 0.5)
    y = np.r_[np.ones(6, int), np.zeros(54, int)]
    few, three = (PriorCorrection(LogisticRegression(), cv=cv, random_state=0).fit(X, y, X) for cv in (5, 3))
    np.testing.assert_array_equal(few.predict_proba(X), three.predict_proba(X))
    with pytest.raises(InputError, match=r"1 \(6 rows\); accepted: two classes with 4 rows each, of two groups"):
        PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X, groups=np.r_[np.zeros(6), np.arange(1, 55)])


def test_a_class_of_weight_zero_is_refused():
    pair = make_label_shift(n_source=200, n_target=100, random_state=0)
    with pytest.raises(InputError, match="sample_weight is zero in every row of the class 1.*drop these rows"):
        PriorCorrection(LogisticRegression()).fit(*pair.seen, sample_weight=(pair.y_source == 0).astype(float))
