"""Confidence-based performance estimation: a calibrated model's own word for how often it is right."""

from __future__ import annotations

from typing import Any

from shift_detectors._performance import COVARIATE, average_confidence
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, confidences, ratio_weights


class CBPEScore(PerformanceScore):
    """Estimate the target accuracy by the mean calibrated probability of the predicted class.

    The model's probabilities are calibrated on the held-out source rows, and so is what they say of the predicted
    class, c(x), against what was right there; the estimate is the mean of c over the target. With a `ratio`, source
    rows count by p_target(x) / p_source(x) in the calibrations: c is right on average where the target is.

    Assumes that confidences which are right on the source are right on the target: p(y | model output) is the
    same in both, and its log odds are linear in those of the model. With a `ratio` covariate shift is enough. Fails
    for concept shift and under label shift.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    ratio : ratio estimator, optional
        Such as ``ClassifierRatio(random_state=0)``; fitted or not. None: no weights.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (ICML 2017) for the calibration; Białek, Kuberski, Perrakis, Bifet: Estimating
    model performance under covariate shift without labels (2024) for the weighted form.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> y = (X[:, 0] + rng.normal(size=2000) > 0).astype(int)
    >>> y_target = (X_target[:, 0] + rng.normal(size=2000) > 0).astype(int)
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> found = CBPEScore(X_target).estimate(model, X[1000:], y[1000:])
    >>> found.ci[0] < model.score(X_target, y_target) < found.ci[1]
    True
    """

    def __init__(self, X_target: Any = None, ratio: Any = None):
        super().__init__(X_target)
        self.ratio = ratio

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        weight = None if self.ratio is None else ratio_weights(self.ratio, X, X_target)
        source, correct, target = confidences(estimator, X, y, X_target, "CBPEScore", weight)
        if weight is None:
            return average_confidence(target, source, correct)
        found = average_confidence(target, source, correct, weight)
        return PerformanceEstimate("weighted average confidence", found.metric, found.value, found.ci, COVARIATE)
