"""Regressors are judged by the squared error or a quantile's loss, class probabilities by a proper one on request."""

from __future__ import annotations

import numpy as np
import pytest
from da_toolkit.datasets import make_covariate_shift, make_label_shift
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.metrics import brier_score_loss, log_loss, mean_gamma_deviance, mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from da_toolkit import FeatureAlignment, ImportanceWeighting, PriorCentered, adapt
from da_toolkit._loss import SCORINGS, Loss, ProbabilityLoss, judged_by, loss_of
from da_toolkit.alignment import JDOT, OTLabelPropagation
from da_toolkit.transfer import OffsetBoosting, TrAdaBoostR2, TransferStack
from da_toolkit.validation import ImportanceWeightedScore
from da_toolkit.weighting import GaussianRatio
from shift_detectors._errors import InputError


class Boosted:
    """With the parameters of LightGBM and XGBoost."""

    def __init__(self, **params):
        self.params = params

    def get_params(self, deep=True):
        return self.params


@pytest.mark.parametrize(
    "model, quantile",
    [
        (LinearRegression(), None),
        (PoissonRegressor(), None),
        (Ridge(alpha=0.5), None),
        (QuantileRegressor(quantile=0.9), 0.9),
        (HistGradientBoostingRegressor(loss="quantile", quantile=0.8), 0.8),
        (GradientBoostingRegressor(loss="quantile", alpha=0.7), 0.7),
        (GradientBoostingRegressor(loss="huber"), None),
        (HistGradientBoostingRegressor(loss="absolute_error"), 0.5),
        (DecisionTreeRegressor(criterion="absolute_error"), 0.5),
        (make_pipeline(StandardScaler(), QuantileRegressor(quantile=0.1)), 0.1),
        (TransformedTargetRegressor(QuantileRegressor(quantile=0.1), func=np.log, inverse_func=np.exp), 0.1),
        (GridSearchCV(BaggingRegressor(QuantileRegressor(quantile=0.1)), {}), 0.1),
        (FeatureAlignment(QuantileRegressor(quantile=0.1)), 0.1),
        (Boosted(objective="quantile", alpha=0.3), 0.3),
        (Boosted(objective="reg:quantileerror", quantile_alpha=0.3), 0.3),
        (Boosted(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]), None),
        (Boosted(objective="regression_l1"), 0.5),
    ],
)
def test_the_loss_is_the_models_own(model, quantile):
    assert loss_of(model) == Loss(quantile)


def test_losses_equal_their_formulas():
    y, predicted = np.array([1, 2, 3]), np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(Loss()(predicted, y), [4, 0, 4])
    np.testing.assert_allclose(Loss(0.5)(predicted, y), [2, 0, 2])
    np.testing.assert_allclose(Loss(0.9)(predicted, y), [0.2, 0, 1.8])
    assert [Loss(q).name for q in (None, 0.5, 0.9)] == [
        "mean squared error",
        "mean absolute error",
        "mean pinball loss at 0.9",
    ]


def moved(rng, n=800):
    X, X_target = rng.normal(0, 1, (n, 2)), rng.normal([0.7, 0], 1, (n, 2))
    y, y_target = (Z @ [0.7, 0.5] + 1.5 * rng.normal(size=n) for Z in (X, X_target))
    return X, y, X_target, y_target


def test_adapt_keeps_the_share_below_a_quantile():
    X, y, X_target, y_target = moved(np.random.default_rng(1))
    model = QuantileRegressor(quantile=0.9, alpha=0)
    result = adapt(model, X, y, X_target, candidates=["CORAL", "ImportanceWeighting"], random_state=0)
    assert result.metric == "mean pinball loss at 0.9" == result.before.metric
    assert np.mean(y_target <= result.predict(X_target)) == pytest.approx(0.9, abs=0.03)


def test_scores_are_of_the_models_own_loss():
    X, y, X_target, y_target = moved(np.random.default_rng(0))
    model = QuantileRegressor(quantile=0.9, alpha=0).fit(X[:400], y[:400])
    found = ImportanceWeightedScore(X_target, GaussianRatio()).estimate(model, X[400:], y[400:])
    assert found.metric == "mean pinball loss at 0.9"
    assert found.ci[0] < Loss(0.9)(model.predict(X_target), y_target).mean() < found.ci[1]


def test_the_exponent_is_chosen_by_the_models_own_loss():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(0, 1, (600, 1)), rng.normal(1.2, 0.5, (600, 1))
    y = X[:, 0] ** 2 + np.where(rng.random(600) < 0.05, 60.0, 0.0)  # outliers that only a mean feels
    absolute = ImportanceWeighting(QuantileRegressor(quantile=0.5, alpha=0), random_state=0).fit(X, y, X_target)
    squared = ImportanceWeighting(LinearRegression(), random_state=0).fit(X, y, X_target)
    assert absolute.exponent_ > squared.exponent_


# --- probabilities ------------------------------------------------------------------------------------------


def test_losses_of_probabilities_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    proba, codes = rng.dirichlet([1, 2], size=50), rng.integers(2, size=50)
    log, brier = (SCORINGS["classification"][name] for name in ("neg_log_loss", "neg_brier_score"))
    assert log(proba, codes).mean() == pytest.approx(log_loss(codes, proba))
    assert brier(proba, codes).mean() == pytest.approx(brier_score_loss(codes, proba[:, 1]))
    sure = np.array([[1.0, 0.0]])
    assert np.isfinite(log(sure, np.array([1]))).all()


@pytest.mark.parametrize("loss", [ProbabilityLoss("log loss"), ProbabilityLoss("Brier score")], ids=repr)
def test_a_proper_loss_is_least_at_the_truth(loss):
    truth = np.array([0.2, 0.5, 0.3])
    others = np.random.default_rng(1).dirichlet([2, 5, 3], size=200)
    expected = loss.of_every_class(np.vstack([truth, others])) @ truth
    assert (expected[1:] > expected[0]).all()


def test_a_scoring_that_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="roc_auc.*neg_log_loss.*no value of a single row"):
        judged_by("roc_auc", LogisticRegression(), "classification")
    with pytest.raises(InputError, match="no predict_proba.*CalibratedClassifierCV"):
        judged_by("neg_log_loss", LinearSVC(), "classification")
    for scoring in ("balanced_accuracy", "f1_macro", "matthews_corrcoef"):
        with pytest.raises(InputError, match="of all rows at once.*balanced accuracy, F1"):
            judged_by(scoring, LogisticRegression(), "classification")
    with pytest.raises(InputError, match="None takes the squared error, as R2 and its root do"):
        judged_by("r2", Ridge(), "regression")
    with pytest.raises(InputError, match="accepted: None or one of neg_mean_squared_error"):
        judged_by("neg_log_loss", Ridge(), "regression")
    assert judged_by("neg_mean_absolute_error", Ridge(), "regression") == Loss(0.5)
    assert judged_by(None, LogisticRegression(), "classification") is None


def test_probabilities_of_a_rare_class_are_worth_adapting():
    """No class changes, so accuracy sees nothing; the ranking of the rows is turned round."""
    rng = np.random.default_rng(0)

    def sample(sign):
        X = rng.normal(size=(1500, 3))
        return X, (rng.random(1500) < 1 / (1 + np.exp(3 - sign * 0.8 * X[:, 0] - 0.5 * X[:, 1]))).astype(int)

    (X, y), (X_target, truth) = sample(1), sample(-1)
    known = np.where(np.arange(1500) < 300, truth.astype(float), np.nan)
    data = X, y, X_target, known
    counted = adapt(LogisticRegression(), *data, candidates=["PriorCentered"], random_state=0)
    assert counted.status == "unchanged" and 'scoring="neg_log_loss"' in counted.explanation
    result = adapt(
        LogisticRegression(),
        *data,
        candidates=["PriorCentered"],
        scoring="neg_log_loss",
        report=counted.report,
        random_state=0,
    )
    assert (result.adapter, result.status, result.metric) == ("PriorCentered", "verified", "log loss")
    assert 'guard=True, scoring="neg_log_loss", random_state=0)' in result.to_html()
    left = [log_loss(truth[300:], model.predict_proba(X_target[300:])) for model in (counted, result)]
    assert result.candidates[1].gain.ci[0] < left[0] - left[1] < result.candidates[1].gain.ci[1]
    assert result.before.ci[0] < left[0] < result.before.ci[1]


def test_a_corrected_prior_gains_log_loss():
    pair = make_label_shift(600, 3000, random_state=0)
    seen, rest = pair.X_target[:600], slice(600, None)
    result = adapt(LogisticRegression(), pair.X_source, pair.y_source, seen, scoring="neg_log_loss", random_state=0)
    assert (result.adapter, result.status) == ("PriorCorrection", "verified")
    before = log_loss(
        pair.y_target[rest], LogisticRegression().fit(pair.X_source, pair.y_source).predict_proba(pair.X_target[rest])
    )
    after = log_loss(pair.y_target[rest], result.predict_proba(pair.X_target[rest]))
    gain = result.candidates[1].gain
    assert after < before and gain.ci[0] < before - after < gain.ci[1]
    assert result.before.ci[0] < before < result.before.ci[1]


def test_heuristics_know_no_probabilities():
    pair = make_covariate_shift(300, 300, strength="strong", random_state=0)
    result = adapt(
        LogisticRegression(),
        pair.X_source,
        pair.y_source,
        pair.X_target + 9.0,
        candidates=["CORAL"],
        scoring="neg_brier_score",
        random_state=0,
    )
    assert result.report.verdict.kind == "support" and result.status == "unchanged"
    assert "Of the Brier score nothing can be said" in result.candidates[1].reason


# --- deviances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scoring", "known"),
    [("neg_mean_poisson_deviance", mean_poisson_deviance), ("neg_mean_gamma_deviance", mean_gamma_deviance)],
)
def test_deviances_are_those_of_scikit_learn(scoring, known):
    rng = np.random.default_rng(0)
    y, predicted = rng.poisson(2, 50) + ("gamma" in scoring), rng.gamma(2, size=50)
    assert SCORINGS["regression"][scoring](predicted, y).mean() == pytest.approx(known(y, predicted))


def prices(level, n=400, seed=0):
    """Of several orders of magnitude, with noise in proportion; those of the target are all lower by one factor."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.exp(2 * X[:, 0] + level) * rng.gamma(2, 0.5, size=n)


def test_a_deviance_sees_what_a_few_large_prices_hide():
    (X, y), (X_target, truth) = prices(0.0), prices(-0.7, seed=1)
    data = X, y, X_target, np.where(np.arange(400) < 100, truth, np.nan)
    model, options = GammaRegressor(alpha=0.01), {"candidates": ["FeatureAugmentation"], "random_state": 0}
    squared = adapt(model, *data, **options)
    assert squared.status == "unchanged"
    result = adapt(model, *data, scoring="neg_mean_gamma_deviance", report=squared.report, **options)
    assert (result.status, result.metric) == ("verified", "mean gamma deviance")
    before, after = (mean_gamma_deviance(truth[100:], m.predict(X_target[100:])) for m in (squared, result))
    gain = result.candidates[1].gain
    assert gain.ci[0] < before - after < gain.ci[1] and result.before.ci[0] < before < result.before.ci[1]


def test_a_deviance_that_is_not_defined_is_refused():
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.arange(60.0) % 7
    with pytest.raises(InputError, match="labels below zero, of which there is no mean Poisson deviance"):
        adapt(PoissonRegressor(), X, y - 5, X, scoring="neg_mean_poisson_deviance")
    with pytest.raises(InputError, match="labels not above zero, of which there is no mean gamma deviance"):
        adapt(PoissonRegressor(), X, y, X, scoring="neg_mean_gamma_deviance")
    with pytest.raises(InputError, match="the model answers .* rows with zero or less"):
        adapt(LinearRegression(), X, X[:, 0] ** 4, X + 1.0, scoring="neg_mean_poisson_deviance", random_state=0)


# --- quantiles ----------------------------------------------------------------------------------------------

QUANTILE = QuantileRegressor(quantile=0.9, alpha=0.001)


def skewed(n=250, seed=0):
    """A target whose values lie three higher, 100 of them known; gamma noise."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    y, y_target = (5 + rows[:, 0] + rng.gamma(2, size=n) for rows in (X, X_target))
    return X, y, X_target, y_target + 3, np.where(np.arange(n) < 100, y_target + 3, np.nan)


@pytest.mark.parametrize(
    "adapter", [PriorCentered, TransferStack, OffsetBoosting, TrAdaBoostR2, JDOT, OTLabelPropagation]
)
@pytest.mark.parametrize("frozen", [False, True])
def test_no_mean_is_answered_for_a_quantile(adapter, frozen):
    X, y, X_target, _, few = skewed()
    model = FrozenEstimator(QUANTILE.fit(X, y)) if frozen else make_pipeline(StandardScaler(), QUANTILE)
    with pytest.raises(InputError, match=f"{adapter.__name__} was given a model of the 0.9 quantile"):
        adapter(model).fit(X, y, X_target, few)


def test_a_model_of_the_median_is_corrected():
    X, y, X_target, y_target, few = skewed()
    model = QuantileRegressor(quantile=0.5, alpha=0)
    fitted = PriorCentered(model).fit(X, y, X_target, few)
    errors = [np.abs(y_target - m.predict(X_target))[100:].mean() for m in (model.fit(X, y), fitted)]
    assert errors[1] < 0.6 * errors[0] and abs((y_target <= fitted.predict(X_target))[100:].mean() - 0.5) < 0.15


def test_adapt_keeps_a_quantile_a_quantile():
    X, y, X_target, y_target, few = skewed()
    result = adapt(QUANTILE, X, y, X_target, few, random_state=0)
    assert (result.adapter, result.status) == ("FeatureAugmentation", "verified")
    assert 0.8 < (y_target <= result.predict(X_target))[100:].mean() < 0.97
    frozen = FrozenEstimator(QUANTILE.fit(X, y))
    result = adapt(frozen, X, y, X_target, few, report=result.report, candidates=["PriorCentered"], random_state=0)
    assert result.estimator is frozen and "PriorCentered fits means" in result.explanation
