"""Regressors are judged by the loss that they minimise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, PoissonRegressor, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from da_toolkit import FeatureAlignment, ImportanceWeighting, adapt
from da_toolkit._loss import Loss, loss_of
from da_toolkit.validation import ImportanceWeightedScore
from da_toolkit.weighting import GaussianRatio


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
