import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from da_toolkit._target import Target
from da_toolkit.weighting import BaseRatio, ClassifierRatio, ImportanceWeighting, RuLSIF, effective_sample_size
from da_toolkit.weighting._rulsif import leave_one_out, solve
from shift_detectors._errors import InputError, ShiftWarning

RATIOS = [ClassifierRatio(random_state=0), RuLSIF(random_state=0)]


def gaussian_pair(kind, d, n=500, seed=0):
    """Source N(0, I); target moved by .7, or narrowed to .6, in two coordinates; and the true ratio."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    first = source[:, :2]
    if kind == "mean":
        target[:, :2] += 0.7
        return source, target, np.exp(0.7 * first.sum(1) - 0.49)
    if kind == "scale":
        target[:, :2] *= 0.6
        return source, target, np.exp(-0.5 * (first**2).sum(1) * (1 / 0.36 - 1)) / 0.36
    return source, target, np.ones(n)


def against_truth(estimate, truth):
    """Rank correlation and mean squared error in units of the variance of the true weights."""
    truth = truth / truth.mean()
    return spearmanr(estimate, truth)[0], np.mean((estimate - truth) ** 2) / truth.var()


def covariate_shift(n, centre, rng):
    """The target lies where a straight line needs another slope; p(y|x) is one and the same."""
    X = np.column_stack([rng.normal(centre, 1, n), rng.normal(0, 1, n)])
    y = (X[:, 1] - 0.25 * X[:, 0] ** 2 + 0.5 * np.sin(2 * X[:, 0]) > 0).astype(int)
    return X, np.where(rng.uniform(size=n) < 0.05, 1 - y, y)


# --- the ratios ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("kind", "d", "rank", "error"),
    [
        ("mean", 2, 0.95, 0.4),
        ("mean", 10, 0.9, 0.4),
        ("mean", 20, 0.85, 0.5),
        ("scale", 2, 0.9, 0.3),
        ("scale", 10, 0.8, 0.6),
        ("scale", 20, 0.75, 0.7),
    ],
)
def test_classifier_ratio_finds_the_known_ratio(kind, d, rank, error, seed):
    source, target, truth = gaussian_pair(kind, d, seed=seed)
    found = against_truth(ClassifierRatio(random_state=0).fit(source, target).weights_, truth)
    assert found[0] > rank and found[1] < error


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "d"), [("mean", 2), ("mean", 10), ("mean", 20), ("scale", 2)])
def test_rulsif_finds_the_known_relative_ratio(kind, d, seed):
    source, target, truth = gaussian_pair(kind, d, seed=seed)
    ratio = RuLSIF(alpha=0.1, random_state=0).fit(source, target)
    relative = truth / (0.1 * truth + 0.9)
    assert spearmanr(ratio.relative_ratio_, truth)[0] > 0.75
    assert np.mean((ratio.relative_ratio_ - relative) ** 2) < 0.5 * relative.var()


@pytest.mark.parametrize("ratio", [*RATIOS, RuLSIF(alpha=0, random_state=0)])
@pytest.mark.parametrize("d", [2, 10])
def test_no_shift_gives_equal_weights(ratio, d):
    for seed in range(3):
        source, target, _ = gaussian_pair("none", d, seed=seed)
        fitted = clone(ratio).fit(source, target)
        assert fitted.effective_sample_size_ >= 0.9 * 500


@pytest.mark.parametrize("ratio", RATIOS)
def test_weights_are_weights(ratio):
    source, target, truth = gaussian_pair("mean", 3, n=300)
    before = source.copy(), target.copy()
    fitted = clone(ratio).fit(source, target)
    assert fitted.weights_.mean() == pytest.approx(1) and fitted.weights_.min() >= 0
    assert fitted.effective_sample_size_ == pytest.approx(300**2 / np.sum(fitted.weights_**2))
    # new rows: same constant, so predictions average 1 over the source too
    fresh, _, fresh_truth = gaussian_pair("mean", 3, n=2000, seed=9)
    assert fitted.predict(fresh).mean() == pytest.approx(1, abs=0.15)
    assert spearmanr(fitted.predict(fresh), fresh_truth)[0] > 0.8
    np.testing.assert_array_equal(fitted.weights_, clone(ratio).fit(source, target).weights_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(fresh), fitted.predict(fresh))
    np.testing.assert_array_equal(source, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize("ratio", RATIOS)
def test_weighted_source_looks_like_the_target(ratio):
    source, target, _ = gaussian_pair("mean", 5, n=1000)
    weights = clone(ratio).fit(source, target).weights_
    gap = np.abs(source.mean(0) - target.mean(0)).max()
    assert np.abs(np.average(source, axis=0, weights=weights) - target.mean(0)).max() < 0.4 * gap


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        LinearSVC(),  # decision_function only
        RandomForestClassifier(30, min_samples_leaf=5),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
)
@pytest.mark.parametrize("calibration", ["logistic", "isotonic"])
def test_any_classifier_is_never_inverted(classifier, calibration):
    source, target, truth = gaussian_pair("mean", 3)
    ratio = ClassifierRatio(classifier, calibration=calibration, random_state=0).fit(source, target)
    assert spearmanr(ratio.weights_, truth)[0] > 0.8
    assert isinstance(ratio.classifier, type(classifier)) and not hasattr(classifier, "classes_")


def test_raw_odds():
    source, target, truth = gaussian_pair("mean", 2)
    ratio = ClassifierRatio(LogisticRegression(), calibration=None, clip=np.inf, random_state=0).fit(source, target)
    assert against_truth(ratio.weights_, truth)[0] > 0.95


def test_clip_bounds_the_weights():
    source, target, _ = gaussian_pair("mean", 2)
    loose = ClassifierRatio(random_state=0, clip=np.inf).fit(source, target)
    tight = ClassifierRatio(random_state=0, clip=2.0).fit(source, target)
    assert tight.weights_.max() < loose.weights_.max() and tight.weights_.max() / tight.weights_.mean() < 2.7
    assert tight.effective_sample_size_ > loose.effective_sample_size_


def test_missing_overlap_is_told():
    rng = np.random.default_rng(0)
    with pytest.warns(ShiftWarning, match="Only about 0.0% of the target"):
        ratio = ClassifierRatio(random_state=0).fit(rng.normal(size=(200, 3)), rng.normal(20, 1, size=(200, 3)))
    assert ratio.coverage_ < 0.01 and ratio.auc_ > 0.99
    source, target, _ = gaussian_pair("mean", 2)
    assert ClassifierRatio(random_state=0).fit(source, target).coverage_ > 0.8


def mixed_frame(n, rng, shifted):
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "visits": rng.poisson(3, n),
            "ward": rng.choice(["a", "b", "c"], n, p=[0.1, 0.3, 0.6] if shifted else [0.6, 0.3, 0.1]),
            "smoker": rng.uniform(size=n) < 0.3,
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.1, "age"] = np.nan
    frame.loc[rng.uniform(size=n) < 0.1, "ward"] = None
    return frame


def in_polars(frame):
    polars = pytest.importorskip("polars")
    columns = {name: column.to_numpy() for name, column in frame.items() if name != "ward"}
    columns["ward"] = [None if pd.isna(value) else value for value in frame["ward"]]
    return polars.DataFrame(columns).select(list(frame.columns))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("kind", ["text", "category", "polars"])
def test_frames(ratio, kind):
    rng = np.random.default_rng(0)
    source, target = mixed_frame(400, rng, False), mixed_frame(400, rng, True)
    fresh = mixed_frame(50, rng, True)
    fresh.loc[0, "ward"] = "never seen"
    ward = source["ward"].to_numpy(object)
    if kind == "category":
        source, target, fresh = (f.astype({"ward": "category"}) for f in (source, target, fresh))
    elif kind == "polars":
        source, target, fresh = (in_polars(f) for f in (source, target, fresh))
    fitted = clone(ratio).fit(source, target)
    mean = pd.Series(fitted.weights_).groupby(ward).mean()
    assert mean["a"] < mean["b"] < mean["c"]  # true ratios 1/6, 1 and 6
    assert np.isfinite(fitted.predict(fresh)).all()


def test_user_classifier_sees_the_user_columns():
    rng = np.random.default_rng(0)
    source, target = mixed_frame(300, rng, False), mixed_frame(300, rng, True)
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["ward"]))
    ratio = ClassifierRatio(make_pipeline(encode, LogisticRegression()), random_state=0).fit(source, target)
    assert ratio.predict(source[source["ward"] == "c"]).mean() > 2 * ratio.predict(source[source["ward"] == "a"]).mean()


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("d", [8, 120])
def test_sparse(ratio, d):
    rng = np.random.default_rng(0)
    source, target = rng.poisson(0.2, (300, d)), rng.poisson(0.2, (300, d))
    source[:, 0], target[:, 0] = rng.poisson(1, 300), rng.poisson(3, 300)
    fitted = clone(ratio).fit(sparse.csr_array(source), sparse.csr_array(target))
    assert spearmanr(fitted.weights_, source[:, 0])[0] > 0.5
    fresh = rng.poisson(0.2, (300, d))
    fresh[:, 0] = rng.poisson(1, 300)
    assert fitted.predict(sparse.csc_array(fresh)).mean() == pytest.approx(1, abs=0.35)


def test_groups_share_a_fold():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 2)), 5, axis=0)  # five copies of each row
    target = rng.normal(size=(300, 2))
    forest = RandomForestClassifier(30, min_samples_leaf=1)
    leaky = ClassifierRatio(forest, random_state=0).fit(X, target)
    honest = ClassifierRatio(forest, random_state=0).fit(X, target, groups=np.repeat(np.arange(60), 5))
    assert leaky.auc_ > honest.auc_ + 0.1


@pytest.mark.parametrize("ratio", RATIOS)
def test_columns_without_information(ratio):
    rng = np.random.default_rng(0)
    source, target, truth = gaussian_pair("mean", 2, n=300)
    useless = {"constant": 1.0, "empty": np.nan, "none": pd.Series([None] * 300, dtype=object)}
    frames = [
        pd.DataFrame(X, columns=["a", "b"]).assign(**useless, id=rng.permutation(300).astype(str))
        for X in (source, target)
    ]
    assert spearmanr(clone(ratio).fit(*frames).weights_, truth)[0] > 0.8


def test_only_categories():
    rng = np.random.default_rng(0)
    source = pd.DataFrame({"ward": rng.choice(["a", "b"], 300, p=[0.8, 0.2])})
    target = pd.DataFrame({"ward": rng.choice(["a", "b"], 300, p=[0.2, 0.8])})
    ratio = ClassifierRatio(random_state=0).fit(source, target)
    np.testing.assert_allclose(ratio.predict(pd.DataFrame({"ward": ["a", "b"]})), [0.25, 4], rtol=0.3)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        (ClassifierRatio(cv=1), "cv=1"),
        (ClassifierRatio(cv=1000), "cv=1000"),
        (ClassifierRatio(cv=2.5), "cv=2.5"),  # type: ignore[arg-type]
        (ClassifierRatio(calibration="platt"), "calibration='platt'"),
        (ClassifierRatio(calibration=None), "calibration=None"),
        (ClassifierRatio(clip=0.5), "clip=0.5"),
        (RuLSIF(alpha=1), "alpha=1"),
    ],
)
def test_bad_options(ratio, message):
    with pytest.raises(InputError, match=message):
        ratio.fit(np.zeros((20, 2)), np.zeros((20, 2)))


@pytest.mark.parametrize("ratio", RATIOS)
def test_bad_rows(ratio):
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(InputError, match="3 columns"):
        clone(ratio).fit(X, np.zeros((40, 3)))
    with pytest.raises(InputError, match="3 columns"):
        clone(ratio).fit(X, X).predict(np.zeros((4, 3)))
    with pytest.raises(InputError, match="infinite"):
        clone(ratio).fit(np.where(X > 1, np.inf, X), X)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_leave_one_out_is_exact(alpha):
    rng = np.random.default_rng(0)
    phi_s, phi_t, penalties = rng.uniform(size=(12, 4)), rng.uniform(size=(9, 4)) + 0.2, np.array([0.01, 1.0])
    on_source, on_target = leave_one_out(phi_s, phi_t, alpha, penalties)
    for j, penalty in enumerate(penalties):
        for i in range(12):
            theta = solve(np.delete(phi_s, i, 0), phi_t, alpha, penalty)
            assert on_source[i, j] == pytest.approx(max(0, 1 + phi_s[i] @ theta))
        for i in range(9):
            theta = solve(phi_s, np.delete(phi_t, i, 0), alpha, penalty)
            assert on_target[i, j] == pytest.approx(max(0, 1 + phi_t[i] @ theta))


def test_solution_minimises_the_objective():
    rng = np.random.default_rng(0)
    phi_s, phi_t, alpha, penalty = rng.uniform(size=(30, 3)), rng.uniform(size=(20, 3)) + 0.3, 0.2, 0.1
    theta = solve(phi_s, phi_t, alpha, penalty)

    def objective(theta):
        r_s, r_t = 1 + phi_s @ theta, 1 + phi_t @ theta
        mixture = alpha * np.mean(r_t**2) + (1 - alpha) * np.mean(r_s**2)
        return mixture / 2 - np.mean(r_t) + penalty / 2 * theta @ theta

    for step in 1e-3 * rng.normal(size=(20, 3)):
        assert objective(theta) < objective(theta + step)


def test_rulsif_is_bounded_and_fast():
    source, target, _ = gaussian_pair("mean", 20, n=2000)
    start = time.process_time()
    ratio = RuLSIF(random_state=0).fit(source, target)
    assert time.process_time() - start < 2  # .2 s on one idle core
    assert ratio.relative_ratio_.max() < 1.2 / 0.1
    np.testing.assert_allclose(ratio.predict(source), ratio.predict_relative(source) * ratio.scale_)


def test_effective_sample_size():
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 0, 0])) == pytest.approx(1)


# --- the adapter --------------------------------------------------------------------------------------------


def test_gain_on_covariate_shift_with_a_misspecified_model():
    scores = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = covariate_shift(500, -0.75, rng)
        X_target, _ = covariate_shift(500, 1, rng)
        X_test, y_test = covariate_shift(4000, 1, rng)
        truth = np.exp((0.75 + X[:, 0]) ** 2 / 2 - (X[:, 0] - 1) ** 2 / 2)
        ours = ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target)
        scores.append(
            [
                LogisticRegression().fit(X, y).score(X_test, y_test),
                LogisticRegression().fit(X, y, truth).score(X_test, y_test),
                ours.score(X_test, y_test),
            ]
        )
    source_only, oracle, ours = np.mean(scores, axis=0)
    assert ours > source_only + 0.04
    assert ours > oracle - 0.015


def test_regression_gain():
    rng = np.random.default_rng(0)
    X, X_target, X_test = (
        rng.normal(0.5, 0.5, (500, 1)),
        rng.normal(0, 0.3, (500, 1)),
        rng.normal(0, 0.3, (3000, 1)),
    )

    def f(X):
        return -X[:, 0] + X[:, 0] ** 3

    y = f(X) + 0.1 * rng.normal(size=500)
    weighted = ImportanceWeighting(LinearRegression(), random_state=0).fit(X, y, X_target)
    plain = LinearRegression().fit(X, y)
    assert np.mean((weighted.predict(X_test) - f(X_test)) ** 2) < 0.3 * np.mean(
        (plain.predict(X_test) - f(X_test)) ** 2
    )
    assert weighted.score(X_test, f(X_test)) > 0.5 > plain.score(X_test, f(X_test))


def test_no_shift_leaves_the_model_alone():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(500, 0, rng)
    X_target, _ = covariate_shift(500, 0, rng)
    adapter = ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target)
    assert np.mean(adapter.predict(X_target) != LogisticRegression().fit(X, y).predict(X_target)) < 0.02


def test_exponent():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(400, -0.75, rng)
    X_target, _ = covariate_shift(400, 1, rng)
    fits = {e: ImportanceWeighting(LogisticRegression(), exponent=e, random_state=0) for e in (0, 0.5, 1.0, "auto")}
    fits = {e: f.fit(X, y, X_target) for e, f in fits.items()}
    np.testing.assert_allclose(fits[0].weights_, 1)
    np.testing.assert_allclose(fits[0].head_.coef_, LogisticRegression().fit(X, y).coef_, atol=1e-6)
    assert fits[1.0].effective_sample_size_ < fits[0.5].effective_sample_size_ < 400
    half = np.sqrt(fits[1.0].weights_)
    np.testing.assert_allclose(fits[0.5].weights_, half / half.mean())
    assert fits["auto"].exponent_ > 0
    for bad in (-1, 2, "best", None):
        with pytest.raises(InputError, match="exponent"):
            ImportanceWeighting(LogisticRegression(), exponent=bad).fit(X, y, X_target)


def test_user_weights_multiply():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(300, -0.75, rng)
    X_target, _ = covariate_shift(300, 1, rng)
    user = rng.uniform(0.1, 2, 300)
    adapter = ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target, sample_weight=user)
    expected = LogisticRegression().fit(X, y, user * adapter.weights_)
    np.testing.assert_allclose(adapter.head_.coef_, expected.coef_, atol=1e-6)


def test_weights_of_a_survey_are_not_corrected_twice():
    rng = np.random.default_rng(0)
    population = rng.normal(size=(6000, 1))
    chance = 1 / (1 + np.exp(-population[:, 0]))
    X = population[rng.random(6000) < chance]
    survey = 1 + np.exp(-X[:, 0])  # 1 / chance: the weighted rows are the population again
    y = X[:, 0] ** 2 + 0.5 * rng.normal(size=len(X))
    for mean in (0.0, 0.7):
        X_target = rng.normal(mean, 1, (3000, 1))
        adapter = ImportanceWeighting(LinearRegression(), exponent=1, random_state=0)
        for weights in (survey, survey * rng.gamma(2, size=len(X))):  # noise says nothing of x
            adapter.fit(X, y, X_target, sample_weight=weights)
            assert np.average(X[:, 0], weights=adapter.weights_ * weights) == pytest.approx(mean, abs=0.1)
        trained = LinearRegression().fit(X_target, X_target[:, 0] ** 2)
        assert adapter.estimator_.coef_[0] == pytest.approx(trained.coef_[0], abs=0.25)


def test_own_weights_and_few_groups():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(300, -0.75, rng)
    X_target, _ = covariate_shift(300, 1, rng)
    options = {"sample_weight": rng.uniform(0.5, 2, 300), "groups": np.arange(300) % 3}
    adapter = ImportanceWeighting(LogisticRegression(), exponent=1, random_state=0).fit(X, y, X_target, **options)
    assert np.corrcoef(adapter.weights_, adapter.ratio_.weights_)[0, 1] > 0.95


def test_some_rows_may_weigh_nothing():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(600, -0.75, rng)
    X_target, _ = covariate_shift(300, -0.75, rng)
    few = (X[:, 0] < -0.75).astype(float)  # half of the source counts, where half of the target is
    adapter = ImportanceWeighting(LogisticRegression(), exponent=1, random_state=0).fit(
        X, y, X_target, sample_weight=few
    )
    own = adapter.weights_[few > 0]
    assert own.max() / own.min() < 3


def test_weights_live_in_front_of_the_last_step():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(300, -0.75, rng)
    X_target, _ = covariate_shift(300, 1, rng)
    pipe = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), LogisticRegression())
    last = ImportanceWeighting(pipe, random_state=0).fit(X, y, X_target)
    assert last.ratio_.n_features_in_ == 5
    middle = ImportanceWeighting(pipe, at="polynomialfeatures", random_state=0).fit(X, y, X_target)
    first = ImportanceWeighting(pipe, at="input", random_state=0).fit(X, y, X_target)
    assert middle.ratio_.n_features_in_ == first.ratio_.n_features_in_ == 2
    for adapter in (last, middle, first):
        np.testing.assert_array_equal(adapter.estimator_.predict(X), adapter.predict(X))
        expected = clone(pipe).fit(X, y, logisticregression__sample_weight=adapter.weights_)
        np.testing.assert_allclose(adapter.predict_proba(X), expected.predict_proba(X), atol=1e-6)


def test_model_without_sample_weight_is_resampled():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(300, -0.75, rng)
    X_target, _ = covariate_shift(300, 1, rng)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier())
    with pytest.warns(ShiftWarning, match="resampled by weight"):
        adapter = ImportanceWeighting(model, random_state=0).fit(X, y, X_target)
    fitted_rows = adapter.head_._fit_X
    assert fitted_rows[:, 0].mean() > adapter.front_.transform(X)[:, 0].mean() + 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShiftWarning)
        again = ImportanceWeighting(model, random_state=0).fit(X, y, X_target)
    np.testing.assert_array_equal(again.head_._fit_X, fitted_rows)


def test_frame_with_categories_and_missing_values():
    rng = np.random.default_rng(0)
    source, target = mixed_frame(400, rng, False), mixed_frame(400, rng, True)
    before = source.copy(), target.copy()
    y = np.where(source["visits"] + (source["ward"] == "c") * 2 > 3, "ill", "well")
    model = make_pipeline(
        make_column_transformer(
            (SimpleImputer(), ["age", "visits"]), (OneHotEncoder(handle_unknown="ignore"), ["ward"])
        ),
        LogisticRegression(max_iter=1000),
    )
    adapter = ImportanceWeighting(model, random_state=0).fit(source, y, target)
    assert set(adapter.predict(target)) <= {"ill", "well"}
    assert adapter.feature_names_in_.tolist() == source.columns.tolist()
    # the usual Pipeline at="input": the ratio sees the raw frame
    raw = ImportanceWeighting(model, at="input", random_state=0).fit(source, y, target)
    assert pd.Series(raw.weights_).groupby(source["ward"].to_numpy(object)).mean()["c"] > 1.5
    pd.testing.assert_frame_equal(source, before[0])
    pd.testing.assert_frame_equal(target, before[1])


def test_frozen_models_are_refused():
    X, y, X_target = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2, np.zeros((50, 2))
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(InputError, match="must not be refitted"):
        ImportanceWeighting(frozen).fit(X, y, X_target)


def test_grid_search_over_ratio_and_model():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(200, -0.5, rng)
    X_target, _ = covariate_shift(200, 0.5, rng)
    adapter = ImportanceWeighting(LogisticRegression(), ratio=RuLSIF(), random_state=0)
    grid = {"estimator__C": [0.1, 1], "ratio__alpha": [0, 0.1]}
    search = GridSearchCV(adapter, grid, cv=3).fit(X, y, X_target=Target(X_target))
    assert len(search.best_estimator_.weights_) == 200 and search.best_estimator_.ratio_.alpha in (0, 0.1)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X_target), search.predict(X_target))


def test_as_last_step_of_a_pipeline():
    rng = np.random.default_rng(0)
    X, y = covariate_shift(200, -0.5, rng)
    X_target, _ = covariate_shift(150, 0.5, rng)
    with config_context(enable_metadata_routing=True):
        adapter = ImportanceWeighting(LogisticRegression(), random_state=0).set_fit_request(X_target=True)
        steps = [("scale", StandardScaler()), ("adapt", adapter)]
        outer = Pipeline(steps, transform_input=["X_target"]).fit(X, y, X_target=X_target)
    inner = ImportanceWeighting(make_pipeline(StandardScaler(), LogisticRegression()), random_state=0)
    np.testing.assert_array_equal(outer.predict(X_target), inner.fit(X, y, X_target).predict(X_target))


def test_tiny_effective_sample_size_is_told():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(0, 1, (400, 1)), rng.normal(4, 1, (400, 1))
    with pytest.warns(ShiftWarning, match="hardly overlap"):
        ImportanceWeighting(Ridge(), random_state=0).fit(X, X[:, 0], X_target)


def test_weights_are_no_remedy_for_concept_shift():
    """Same p(x), labels turned round: weights stay 1 and the score does not improve."""
    rng = np.random.default_rng(0)
    X, y = covariate_shift(500, 0, rng)
    X_target, y_target = covariate_shift(500, 0, rng)
    adapter = ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target)
    assert adapter.effective_sample_size_ > 450
    plain = LogisticRegression().fit(X, y)
    assert adapter.score(X_target, 1 - y_target) == pytest.approx(plain.score(X_target, 1 - y_target), abs=0.02)


@pytest.mark.parametrize(
    "model",
    [
        TransformedTargetRegressor(Ridge()),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
        TransformedTargetRegressor(),
        VotingRegressor([("a", Ridge()), ("b", LinearRegression())]),
        StackingRegressor([("a", Ridge())], final_estimator=LinearRegression()),
    ],
    ids=str,
)
def test_weights_reach_models_that_pass_them_on(model):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(200, 2)) + 1
    y = X[:, 0] ** 2 + 0.1 * rng.normal(size=300)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShiftWarning)
        weighted = ImportanceWeighting(model, exponent=1.0, random_state=0).fit(X, y, X_target)
    assert np.abs(weighted.predict(X_target) - clone(model).fit(X, y).predict(X_target)).max() > 0.1


def test_models_that_cannot_pass_weights_on_are_resampled():
    X, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
    model = VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())])
    with pytest.warns(ShiftWarning, match="takes no sample_weight"):
        ImportanceWeighting(model, exponent=1.0, random_state=0).fit(X, y, X + 5)


@pytest.mark.parametrize("bad", [None, -1.0, np.nan])
def test_a_ratio_of_ones_own_is_checked(bad):
    class Own(BaseRatio):
        def _fit(self, X_source, X_target, groups):
            return bad if bad is None else np.r_[bad, np.ones(len(X_source) - 1)]

        def _predict(self, X):
            return -np.ones(len(X))

    with pytest.raises(InputError, match="Own._fit gave"):
        Own().fit(np.ones((20, 2)), np.ones((20, 2)))
    right = Own()
    right._fit = lambda X_source, X_target, groups: np.ones(len(X_source))
    with pytest.raises(InputError, match="Own._predict gave 20 negative"):
        right.fit(np.ones((20, 2)), np.ones((20, 2))).predict(np.ones((20, 2)))
