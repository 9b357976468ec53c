"""Average thresholded confidence: as many target rows are right as lie above the source's threshold."""

from __future__ import annotations

from shift_detectors._performance import atc
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, confidences


class ATCScore(PerformanceScore):
    """Estimate the target accuracy by the share of target rows whose confidence exceeds a threshold.

    The threshold t is where the source has as many rows below as it has errors::

        P_source(confidence < t) = source error,    estimate = P_target(confidence >= t)

    Of rows that tie at t, as in a leaf of a tree, the part counts that makes the source agree.

    Assumes that confidence orders rows alike in both domains: a row above t is right as often there as here.
    Fails for concept shift, and where the target lies outside the source and the model is sure all the same; and
    it exaggerates: where rows became easier and the accuracy rose by .09, it said .13 (probit model, one feature).

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Garg, Balakrishnan, Lipton, Neyshabur, Sedghi: Leveraging unlabeled data to predict out-of-distribution
    performance (ICLR 2022).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 1)), rng.normal(1, 1, size=(2000, 1))
    >>> y = (X[:, 0] + 0.5 * rng.normal(size=2000) > 0).astype(int)
    >>> y_target = (X_target[:, 0] + 0.5 * rng.normal(size=2000) > 0).astype(int)
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> abs(ATCScore(X_target)(model, X[1000:], y[1000:]) - model.score(X_target, y_target)) < 0.05
    True
    """

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        return atc(*confidences(estimator, X, y, X_target, "ATCScore"))
