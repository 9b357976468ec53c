"""Importance-weighted validation: held-out source rows count as often as the target has rows like them."""

from __future__ import annotations

from typing import Any

from shift_detectors._performance import importance_weighted
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, metric_of, ratio_weights, values_of


class ImportanceWeightedScore(PerformanceScore):
    """Estimate the performance on the target from held-out source rows, weighted.

    With w(x) = p_target(x) / p_source(x) the weighted mean over held-out source rows::

        sum_i w(x_i) v_i / sum_i w(x_i)

    estimates the target's mean of v: 1 where the prediction is right (classification), minus the loss
    (regression: the squared error, of quantile models the pinball loss). An adapter is asked through
    ``predict_source``, since source rows follow the source's path.

    Assumes covariate shift: p(y|x) is the same in both domains and the source covers the target. Fails without
    overlap, and says nothing about whether an alignment was right: use `CircularScore` there.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    ratio : ratio estimator, optional
        `ClassifierRatio` by default. One that is fitted already is used as it is (quicker in a grid search);
        otherwise a clone is fitted on the held-out source rows of each call against the target.
    random_state : int, Generator, RandomState or None
        Of the default ratio.

    References
    ----------
    Sugiyama, Krauledat, Müller (JMLR 2007).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 1)), rng.normal(1.5, 0.5, size=(2000, 1))
    >>> y = (np.abs(X[:, 0]) > 0.7).astype(int)  # mostly 1 in the target
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> round(model.score(X[1000:], y[1000:]), 2)
    0.5
    >>> score = ImportanceWeightedScore(X_target, random_state=0)(model, X[1000:], y[1000:])
    >>> truth = model.score(X_target, (np.abs(X_target[:, 0]) > 0.7).astype(int))
    >>> abs(score - truth) < 0.1
    True
    """

    def __init__(self, X_target: Any = None, ratio: Any = None, random_state: Any = None):
        super().__init__(X_target)
        self.ratio = ratio
        self.random_state = random_state

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        weights = ratio_weights(self.ratio, X, X_target, self.random_state)
        return importance_weighted(values_of(estimator, X, y), weights, metric_of(estimator))
