"""The loss by which a regressor is judged: the one that is least where it answers what it is trained for.

Quantiles are judged as quantiles, the mean of y by the squared error, also where a Poisson or gamma deviance fits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import QuantileRegressor

ABSOLUTE = {"absolute_error", "regression_l1", "l1", "mae", "reg:absoluteerror"}
QUANTILE = {"quantile", "reg:quantileerror"}
INNER = ("estimator", "regressor")  # of grid searches, bags, transformed targets and of our own adapters


@dataclass(frozen=True)
class Loss:
    """The loss of one answer.

    Attributes
    ----------
    quantile : float or None
        Level in (0, 1) of the pinball loss ``max(q (y - f), (q - 1) (y - f))``; .5 means the absolute error, which is
        twice that; None the squared error.
    """

    quantile: float | None = None

    @property
    def name(self) -> str:
        """Of its mean."""
        if self.quantile is None:
            return "mean squared error"
        return "mean absolute error" if self.quantile == 0.5 else f"mean pinball loss at {self.quantile:g}"

    def __call__(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of every row."""
        above = y.astype(float) - predicted.astype(float)
        if self.quantile is None:
            return above**2
        pinball = np.maximum(self.quantile * above, (self.quantile - 1) * above)
        return 2 * pinball if self.quantile == 0.5 else pinball


def loss_of(estimator: Any) -> Loss:
    """The loss that a regressor minimises, if that is a quantile's; the squared error for all others, which fit means.

    Known are sklearn's quantile and absolute-error models, and those of LightGBM and XGBoost by their ``objective``;
    the last step counts of a Pipeline, the inner model of what wraps one.
    """
    if hasattr(estimator, "steps"):
        return loss_of(estimator.steps[-1][1])
    for name in INNER:
        if getattr(estimator, name, None) is not None:
            return loss_of(getattr(estimator, name))
    params = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    goals = {str(params.get(name)) for name in ("loss", "criterion", "objective")}
    if goals & ABSOLUTE:
        return Loss(0.5)
    if isinstance(estimator, QuantileRegressor) or goals & QUANTILE:
        level = next((params[name] for name in ("quantile", "quantile_alpha", "alpha") if params.get(name)), None)
        return Loss(level) if isinstance(level, float) and 0 < level < 1 else Loss()
    return Loss()
