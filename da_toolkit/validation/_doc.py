"""Difference of confidences: the accuracy moves as the mean confidence does."""

from __future__ import annotations

from shift_detectors._performance import doc
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, confidences


class DoCScore(PerformanceScore):
    """Estimate the target accuracy by the source accuracy plus the change of the mean confidence::

        accuracy_source + mean_target(confidence) - mean_source(confidence)

    The probabilities are calibrated on the held-out source rows. What that leaves over as a confidence is added as a
    constant here, and repaired by a second calibration in `CBPEScore`.

    Assumes that confidence and accuracy differ by as much on the target as on the source. Fails for concept
    shift, and where the target lies outside the source.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Guillory, Shankar, Ebrahimi, Darrell, Schmidt: Predicting with confidence on unseen distributions (ICCV 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> y = (X[:, 0] + 0.5 * rng.normal(size=2000) > 0).astype(int)
    >>> y_target = (X_target[:, 0] + 0.5 * rng.normal(size=2000) > 0).astype(int)
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> abs(DoCScore(X_target)(model, X[1000:], y[1000:]) - model.score(X_target, y_target)) < 0.05
    True
    """

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        source, correct, target = confidences(estimator, X, y, X_target, "DoCScore")
        return doc(source, correct, target)
