"""Scorers that estimate target performance, heuristic ones, and cross-validation of both domains."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import make_label_shift
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from da_toolkit import FeatureAlignment, ImportanceWeighting, LinearOT, PriorCentered, SourceOnly, Target
from da_toolkit.validation import (
    ATCScore,
    CBPEScore,
    CircularScore,
    DEVScore,
    DoCScore,
    DoublyRobustScore,
    EntropyScore,
    ImportanceWeightedScore,
    InfoMaxScore,
    LabelShiftScore,
    MixValScore,
    NuclearNormScore,
    SNDScore,
    TargetScore,
    cross_validate,
)
from da_toolkit.validation._dev import controlled_risk
from da_toolkit.weighting import ClassifierRatio, GaussianRatio
from shift_detectors import InputError

ESTIMATES = [ImportanceWeightedScore, DoublyRobustScore, LabelShiftScore, CBPEScore, ATCScore, DoCScore]
HEURISTICS = [EntropyScore, InfoMaxScore, NuclearNormScore, SNDScore, MixValScore]
ALL = [*ESTIMATES, *HEURISTICS, DEVScore, CircularScore]


class Answers(ClassifierMixin, BaseEstimator):
    """A model whose probabilities are the columns it is given."""

    def __init__(self, classes=(0, 1)):
        self.classes_ = np.array(classes)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.asarray(X, float)

    def predict(self, X):
        return self.classes_[np.argmax(np.asarray(X), axis=1)]


def covariate_shift(seed, n=1500):
    """A model too simple for the truth, and a target where it is worse than at home."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(2 * n, 2)), rng.normal(size=(n, 2)) * [0.6, 1] + [1.0, 0]
    y, y_target = (
        (np.abs(rows[:, 0] - 0.2) + 0.3 * rng.normal(size=len(rows)) > 0.8).astype(int) for rows in (X, X_target)
    )
    model = LogisticRegression().fit(X[:n], y[:n])
    return model, X[n:], y[n:], X_target, model.score(X_target, y_target)


# --- estimates of the performance --------------------------------------------------------------------------


@pytest.mark.parametrize("score", [DoublyRobustScore, ImportanceWeightedScore])
def test_covariate_shift_is_estimated_and_covered(score):
    errors, covered, plain = [], 0, []
    for seed in range(20):
        model, X, y, X_target, truth = covariate_shift(seed, 600)
        found = score(X_target, GaussianRatio(), 0).estimate(model, X, y)
        covered += found.ci[0] <= truth <= found.ci[1]
        errors.append(found.value - truth)
        plain.append(model.score(X, y) - truth)
    assert abs(np.mean(errors)) < 0.25 * abs(np.mean(plain))
    assert covered >= 16  # 19 expected; the error of the weights themselves is not in the interval


def test_the_regression_makes_up_for_useless_weights():
    """Doubly robust: with all weights 1 the weighted estimate is the source's, this one is not."""

    class Even(GaussianRatio):
        def _fit(self, X_source, X_target, groups):
            return np.ones(len(X_source))

    model, X, y, X_target, truth = covariate_shift(0)
    weighted = ImportanceWeightedScore(X_target, Even())(model, X, y)
    robust = DoublyRobustScore(X_target, Even(), 0)(model, X, y)
    assert weighted == pytest.approx(model.score(X, y))
    assert abs(robust - truth) < 0.35 * abs(weighted - truth)


def test_label_shift_is_estimated_and_covered():
    covered = 0
    for seed in range(20):
        pair = make_label_shift(1000, random_state=seed)
        X, y, X_target = pair.seen
        model = LogisticRegression().fit(X[:500], y[:500])
        found = LabelShiftScore(X_target).estimate(model, X[500:], y[500:])
        many = make_label_shift(20_000, random_state=1000 + seed)  # the target itself, not the sample of it
        truth = model.score(many.X_target, many.y_target)
        covered += found.ci[0] <= truth <= found.ci[1]
    assert covered >= 17


@pytest.mark.parametrize(("score", "left"), [(CBPEScore, 0.2), (DoCScore, 0.2), (ATCScore, 0.6)])
def test_confidence_estimates_follow_the_target(score, left):
    """A right model, asked where rows are easy: its accuracy rises, and so do the estimates (ATC's too much)."""
    errors, gaps = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(2000, 1)), rng.normal(1.2, 1, size=(2000, 1))
        y, y_target = ((Z[:, 0] + rng.normal(size=2000) > 0).astype(int) for Z in (X, X_target))
        model = LogisticRegression().fit(X[:1000], y[:1000])
        truth = model.score(X_target, y_target)
        errors.append(score(X_target)(model, X[1000:], y[1000:]) - truth)
        gaps.append(model.score(X[1000:], y[1000:]) - truth)
    assert abs(np.mean(errors)) < left * abs(np.mean(gaps))


def test_weights_repair_a_calibration_that_is_right_on_the_source_only():
    plain, weighted = [], []
    for seed in range(3):
        model, X, y, X_target, truth = covariate_shift(seed)
        plain.append(CBPEScore(X_target)(model, X, y) - truth)
        found = CBPEScore(X_target, ClassifierRatio(random_state=0)).estimate(model, X, y)
        assert found.assumption.startswith("covariate shift") and found.ci[0] < found.value < found.ci[1]
        weighted.append(found.value - truth)
    assert abs(np.mean(weighted)) < 0.5 * abs(np.mean(plain))


@pytest.mark.parametrize("ratio", [None, GaussianRatio()], ids=["no shift", "weighted"])
def test_confidence_of_a_model_that_is_too_simple_is_calibrated(ratio):
    """Class frequencies can be met by confidences that are not: of a line through a wave."""
    errors, covered, mean = [], 0, 0 if ratio is None else 1
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(4000, 2)), rng.normal(mean, 1, size=(10_000, 2))
        y, y_target = ((rng.random(len(Z)) < expit(4 * np.sin(2 * Z[:, 0]))).astype(int) for Z in (X, X_target))
        model = LogisticRegression().fit(X[:2000], y[:2000])
        found = CBPEScore(X_target[:2000], ratio).estimate(model, X[2000:], y[2000:])
        truth = model.score(X_target, y_target)
        errors.append(found.value - truth)
        covered += found.ci[0] <= truth <= found.ci[1]
    assert abs(np.mean(errors)) < 0.04 and covered >= 7


@pytest.mark.parametrize("score", ESTIMATES)
def test_without_shift_the_estimate_is_the_source_accuracy(score):
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(1200, 2)), rng.normal(size=(1200, 2))
    y = (X[:, 0] + rng.normal(size=1200) > 0).astype(int)
    model = LogisticRegression().fit(X[:600], y[:600])
    assert score(X_target)(model, X[600:], y[600:]) == pytest.approx(model.score(X[600:], y[600:]), abs=0.03)


def test_regression_is_minus_the_squared_error():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(800, 1)), rng.normal(1.5, 0.5, size=(800, 1))
    y, y_target = (np.sin(2 * Z[:, 0]) + 0.1 * rng.normal(size=800) for Z in (X, X_target))
    model = LinearRegression().fit(X[:400], y[:400])
    truth = -np.mean((model.predict(X_target) - y_target) ** 2)
    at_home = -np.mean((model.predict(X[400:]) - y[400:]) ** 2)
    for score in (ImportanceWeightedScore(X_target, random_state=0), DoublyRobustScore(X_target, random_state=0)):
        assert abs(score(model, X[400:], y[400:]) - truth) < 0.5 * abs(at_home - truth)
    for score in (LabelShiftScore, CBPEScore, ATCScore, DoCScore, InfoMaxScore, MixValScore):
        with pytest.raises(InputError, match=f"{score.__name__} was given LinearRegression"):
            score(X_target)(model, X[400:], y[400:])


# --- DEV ---------------------------------------------------------------------------------------------------


def test_control_variate_by_hand():
    loss, w = np.array([1.0, 0, 0, 1]), np.array([2.0, 1, 0, 2])
    wl = w * loss
    eta = -np.mean((wl - wl.mean()) * (w - w.mean())) / np.mean((w - w.mean()) ** 2)
    assert controlled_risk(loss, w) == pytest.approx(wl.mean() + eta * (w.mean() - 1))
    assert controlled_risk(loss, np.ones(4)) == 0.5  # no spread: no control variate
    assert controlled_risk(np.ones(4), w) == pytest.approx(1.0)  # exact for a constant loss, whatever the weights


def test_dev_is_blind_to_collapsed_features():
    """As its docstring says: features that lost everything look alike, and the source's loss comes back."""
    model, X, y, X_target, truth = covariate_shift(0)

    class Nothing(StandardScaler):
        def transform(self, X, copy=None):
            return np.zeros((len(X), 1))

    collapsed = make_pipeline(Nothing(), LogisticRegression()).fit(X, y)
    at_home = np.mean(collapsed.predict(X) == y)
    assert DEVScore(X_target, 0)(collapsed, X, y) == pytest.approx(at_home, abs=0.02)
    assert abs(DEVScore(X_target, 0)(model, X, y) - truth) < 0.5 * abs(model.score(X, y) - truth)


def test_dev_works_in_the_space_of_the_last_step():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 2)), 2 * rng.normal(size=(400, 2)) + 3
    y = (X[:, 0] > 0).astype(int)
    aligned = FeatureAlignment(LogisticRegression(), class_prior=None).fit(X[:200], y[:200], X_target)
    assert DEVScore(X_target, 0)(aligned, X[200:], y[200:]) > 0.95


# --- heuristics --------------------------------------------------------------------------------------------


def test_entropies_by_hand():
    P = np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
    y = np.array([0, 0, 1])
    H = np.array([np.log(2), 0, -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))])
    mean = P.mean(axis=0)
    assert EntropyScore(P)(Answers(), P, y) == pytest.approx(-H.mean())
    assert InfoMaxScore(P)(Answers(), P, y) == pytest.approx(-(mean @ np.log(mean)) - H.mean())
    nuclear = np.linalg.svd(P, compute_uv=False).sum()
    assert NuclearNormScore(P)(Answers(), P, y) == pytest.approx(nuclear / np.sqrt(6))


def test_snd_by_hand(monkeypatch):
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), size=7)
    unit = P / np.linalg.norm(P, axis=1)[:, None]
    total = 0.0
    for i in range(7):
        others = np.exp([unit[i] @ unit[j] / 0.05 for j in range(7) if j != i])
        s = others / others.sum()
        total -= (s * np.log(s)).sum()
    y = np.zeros(7)
    assert SNDScore(P)(Answers((0, 1, 2)), P, y) == pytest.approx(total / 7)
    monkeypatch.setattr("da_toolkit.validation._snd.BLOCK", 3)
    assert SNDScore(P)(Answers((0, 1, 2)), P, y) == pytest.approx(total / 7)


def test_collapse_wins_plain_entropy_and_loses_the_others():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(-1.5, 1, (200, 1)), rng.normal(1.5, 1, (200, 1))]
    y = np.repeat([0, 1], 200)
    good, collapsed = LogisticRegression().fit(X, y), DummyClassifier(strategy="most_frequent").fit(X, y)
    for score in (EntropyScore, SNDScore):
        assert score(X)(collapsed, X, y) > score(X)(good, X, y)
    for score in (InfoMaxScore, NuclearNormScore, MixValScore):
        assert score(X)(collapsed, X, y) < score(X)(good, X, y)


def test_mixval_by_hand():
    """Two clusters on a line, half-way boundary: every mixture is answered as its nearer row."""
    X, y = np.repeat([[-1.0], [1.0]], 20, axis=0), np.repeat([0, 1], 20)
    model = LogisticRegression().fit(X, y)
    assert MixValScore(X, random_state=0)(model, X, y) == 1.0
    moved = LogisticRegression().fit(X + 0.5, y)  # boundary at 0.5: mixtures of (1, -1) at 0.1 change side
    assert MixValScore(X, "intra", random_state=0)(moved, X, y) == 1.0
    assert MixValScore(X, "inter", random_state=0)(moved, X, y) == 0.5
    for wrong in ({"kind": "all"}, {"mix": 0.5}):
        with pytest.raises(InputError):
            MixValScore(X, **wrong)(model, X, y)


# --- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ALL)
def test_scorers_are_plain_objects(score):
    model, X, y, X_target, _ = covariate_shift(0, 200)
    before = [X.copy(), y.copy(), X_target.copy()]
    seed = {"random_state": 0} if "random_state" in vars(score(X_target)) else {}
    scorer = score(X_target, **seed)
    value = scorer(model, X, y)
    assert isinstance(scorer, TargetScore) and isinstance(value, float) and np.isfinite(value)
    assert scorer(model, X, y) == value == pickle.loads(pickle.dumps(scorer))(model, X, y)
    assert score(Target(X_target), **seed)(model, X, y) == value
    assert repr(scorer).startswith(f"{score.__name__}(Target(200 rows, 2 columns, no labels)")
    for kept, now in zip(before, [X, y, X_target], strict=True):
        np.testing.assert_array_equal(kept, now)
    with pytest.raises(InputError, match="y of shape"):
        scorer(model, X, y[:-1])
    with pytest.raises(InputError, match="without target rows"):
        score()(model, X, y)


@pytest.mark.parametrize(
    ("scoring", "value"), [(None, 0.6), ("accuracy", 0.6), ("balanced_accuracy", 0.5), ("roc_auc", 0.5)]
)
def test_collapse_is_scored_like_any_other_way_back(scoring, value):
    X = np.random.default_rng(0).normal(size=(100, 2))
    y = np.repeat(["no", "yes"], [60, 40])
    collapsed = DummyClassifier(strategy="most_frequent").fit(X, y)
    assert CircularScore(X, scoring)(collapsed, X, y) == pytest.approx(value)


def test_labels_of_pandas_dtype_boolean_are_those_of_the_model():
    model, X, y, X_target, _ = covariate_shift(0, 300)
    labels = pd.Series(y == 1, dtype="boolean")
    again = LogisticRegression().fit(X, labels)  # its classes are 0.0 and 1.0
    expected = LabelShiftScore(X_target)(LogisticRegression().fit(X, y), X, y)
    assert LabelShiftScore(X_target)(again, X, labels) == pytest.approx(expected)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score"])
def test_collapse_loses_under_a_loss(scoring):
    X, X_target = np.random.default_rng(0).normal(size=(2, 200, 2))
    y = (X[:, 0] > 0).astype(int)
    score = CircularScore(X_target, scoring)
    collapsed = DummyClassifier(strategy="most_frequent").fit(X, y)
    assert score(collapsed, X, y) < score(LogisticRegression().fit(X, y), X, y) < 0


@pytest.mark.parametrize("score", [LabelShiftScore, CBPEScore, ATCScore, DoCScore, *HEURISTICS[:-1]])
def test_models_without_probabilities_are_refused(score):
    model, X, y, X_target, _ = covariate_shift(0, 100)
    with pytest.raises(InputError, match="no predict_proba"):
        score(X_target)(LinearSVC().fit(X, y), X, y)


def test_unknown_classes_are_named():
    model, X, y, X_target, _ = covariate_shift(0, 100)
    with pytest.raises(InputError, match="class 7"):
        ATCScore(X_target)(model, X, np.where(np.arange(len(y)) == 0, 7, y))


def test_frames_and_sparse_targets():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=100), "b": rng.choice(["u", "v"], size=100)})
    y = (frame["a"] > 0).astype(int).to_numpy()

    class FirstColumn(Answers):
        def predict_proba(self, X):
            p = 1 / (1 + np.exp(-X["a"].to_numpy()))
            return np.column_stack([1 - p, p])

        def predict(self, X):
            return (X["a"].to_numpy() > 0).astype(int)

    kept = frame.copy()
    assert 0.5 < MixValScore(frame, random_state=0)(FirstColumn(), frame, y) <= 1
    pd.testing.assert_frame_equal(frame, kept)
    X = np.r_[rng.normal(-3, 1, (50, 2)), rng.normal(3, 1, (50, 2))]
    y = np.repeat([0, 1], 50)
    model = LogisticRegression().fit(X, y)
    dense, thin = (MixValScore(Z, random_state=0)(model, Z, y) for Z in (X, sparse.csr_matrix(X)))
    assert dense == thin


def test_grid_search_over_the_strength_of_weighting():
    """The doubly robust score selects for the target, the source's own score for the source."""
    model, X, y, X_target, _ = covariate_shift(3)
    grid = {"exponent": [0.0, 1.0]}
    adapter = ImportanceWeighting(LogisticRegression(), GaussianRatio(), random_state=0)
    found = GridSearchCV(adapter, grid, scoring=DoublyRobustScore(X_target, GaussianRatio(), 0), cv=3)
    assert found.fit(X, y, X_target=Target(X_target)).best_params_ == {"exponent": 1.0}


# --- cross-validation --------------------------------------------------------------------------------------


def test_both_domains_are_held_out():
    """No row of either domain is scored by a model that saw it."""
    seen = []

    class Watched(SourceOnly):
        def fit(self, X, y, X_target=None, y_target=None, **options):
            self.rows_ = set(X[:, 0]), set(X_target[:, 0])
            return super().fit(X, y, X_target, y_target, **options)

    class Spy(TargetScore):
        def _score(self, estimator, X, y, X_target):
            source, target = estimator.rows_
            assert not source & set(X[:, 0]) and not target & set(X_target[:, 0])
            seen.append((len(X), len(X_target)))
            return 0.0

    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    y = (X[:, 0] > 0).astype(int)
    cross_validate(Watched(LogisticRegression()), X, y, X_target, scoring=Spy(X_target), cv=4, random_state=0)
    assert np.sum(seen, axis=0).tolist() == [60, 40] and len(seen) == 4


def test_groups_stay_together_and_weights_arrive():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    y, groups = (X[:, 0] > 0).astype(int), np.repeat(np.arange(12), 5)
    together = []

    class Whole(TargetScore):
        def _score(self, estimator, X_test, y, X_target):
            rows = [int(np.flatnonzero((X == row).all(axis=1))[0]) for row in X_test]
            together.append(all(np.isin(np.flatnonzero(np.isin(groups, groups[rows])), rows)))
            return 0.0

    cross_validate(
        SourceOnly(LogisticRegression()),
        X,
        y,
        X_target,
        scoring=Whole(),
        cv=3,
        groups=groups,
        sample_weight=np.ones(60),
        random_state=0,
    )
    assert together == [True] * 3


def test_results_labels_and_seeds():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(200, 2)), rng.normal(size=(100, 2)) + 1
    y, y_target = (X[:, 0] > 0).astype(int), (X_target[:, 0] < 1).astype(float)
    few = np.where(np.arange(100) < 40, y_target, np.nan)
    scoring = {
        "weighted": ImportanceWeightedScore(ratio=GaussianRatio()),
        "atc": ATCScore(),
        "stock": make_scorer(lambda a, b: 1.0),
    }
    adapter = PriorCentered(LogisticRegression())
    first, again, parallel = (
        cross_validate(adapter, X, y, X_target, few, scoring=scoring, cv=3, random_state=5, n_jobs=jobs)
        for jobs in (None, None, 2)
    )
    tested = {"test_weighted", "test_atc", "test_stock", "test_target", "test_target_stock"}
    assert set(first) == {"fit_time", "score_time"} | tested
    for other, key in itertools.product((again, parallel), ("test_weighted", "test_atc", "test_target")):
        np.testing.assert_array_equal(first[key], other[key])
    assert first["test_target"].mean() > 0.6  # the labels that it was given turned the model round
    assert not hasattr(adapter, "head_") and scoring["weighted"].X_target is None
    plain = cross_validate(LogisticRegression(), X, y, Target(X_target), cv=3, random_state=5)
    assert set(plain) == {"fit_time", "score_time", "test_score"}
    for wrong in ({"cv": 1}, {"scoring": CircularScore}, {"scoring": {"target": CircularScore()}}):
        with pytest.raises(InputError):
            cross_validate(adapter, X, y, X_target, few, **wrong)


@pytest.mark.parametrize("head", [LogisticRegression(), LinearSVC()], ids=["probabilities", "decisions"])
def test_stock_scorers_ask_about_source_rows(head):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(300, 2)), 2 * rng.normal(size=(300, 2)) + 3
    y = (X[:, 0] > 0).astype(int)
    scoring = {
        "by_name": "accuracy",
        "ranks": "roc_auc",
        "made": make_scorer(accuracy_score),
        "own": lambda model, X, y: np.mean(model.predict_source(X) == y),
        "astray": lambda model, X, y: np.mean(model.predict(X) == y),
    }
    adapter = FeatureAlignment(head, direction="target_to_source")
    found = cross_validate(adapter, X, y, X_target, scoring=scoring, cv=3, random_state=0)
    mean = {name: found[f"test_{name}"].mean() for name in scoring}
    assert mean["by_name"] == mean["made"] == mean["own"] > 0.9 > mean["astray"] and mean["ranks"] > 0.95
    with pytest.raises(ValueError, match="accurately"):
        cross_validate(adapter, X, y, X_target, scoring="accurately")


@pytest.mark.parametrize(
    ("scoring", "key", "known"),
    [
        ("neg_log_loss", "test_target", True),
        ({"loss": "neg_log_loss"}, "test_target_loss", True),
        ({"loss": "neg_log_loss"}, "test_target", False),
        (CircularScore(), "test_target", False),
    ],
)
def test_target_labels_are_scored_by_the_given_scorer(scoring, key, known):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(90, 2))
    y, y_target = ((rows[:, 0] + rng.normal(size=len(rows)) > 0).astype(int) for rows in (X, X_target))
    found = cross_validate(LogisticRegression(), X, y, X_target, y_target, scoring=scoring, cv=3, random_state=0)
    assert np.all(found[key] < 0) if known else np.all(found[key] > 0.5)


def test_a_fold_that_a_scorer_refuses_has_no_score():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    few = np.where(np.arange(60) < 8, 1.0, np.nan)
    y = (X[:, 0] > 0).astype(int)
    found = cross_validate(LogisticRegression(), X, y, X_target, few, scoring="neg_log_loss", cv=3, random_state=0)
    assert np.isnan(found["test_target"]).all() and np.isfinite(found["test_score"]).all()


def test_alignment_is_chosen_where_it_helps_and_not_elsewhere():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = (X[:, 0] > 0).astype(int)
    moved = 2 * rng.normal(size=(400, 2)) + 3
    gain = {}
    for name, X_target in {"moved": moved, "same": rng.normal(size=(400, 2))}.items():
        scores = [
            cross_validate(a, X, y, X_target, scoring=CircularScore(), cv=3, random_state=0)["test_score"].mean()
            for a in (FeatureAlignment(LogisticRegression(), LinearOT()), SourceOnly(LogisticRegression()))
        ]
        gain[name] = scores[0] - scores[1]
    assert gain["moved"] > 0.05 and abs(gain["same"]) < 0.02
