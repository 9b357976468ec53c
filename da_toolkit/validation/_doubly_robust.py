"""Doubly robust validation: weighted source rows, corrected by what a regression of the loss expects."""

from __future__ import annotations

from typing import Any

import numpy as np

from shift_detectors._boundary import read_problem
from shift_detectors._learners import Inputs, crossfit_means, domain_folds
from shift_detectors._performance import doubly_robust
from shift_detectors._random import check_random_state
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, metric_of, ratio_weights, values_of


class DoublyRobustScore(PerformanceScore):
    """Estimate the performance on the target from weighted source rows and a regression of their values.

    With w(x) = p_target(x) / p_source(x), v the value of an answer (right or not; minus the loss of a
    regressor) and m(x) a cross-fitted regression of v on x::

        mean over source rows of w (v - m) / mean w  +  mean over target rows of m

    Right when the weights *or* the regression are right, and less variable than `ImportanceWeightedScore`; its
    interval comes from the influence function.

    Assumes covariate shift: p(y|x) is the same in both domains and the source covers the target. Fails without
    overlap, where both the weights and the regression extrapolate.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    ratio : ratio estimator, optional
        As in `ImportanceWeightedScore`.
    random_state : int, Generator, RandomState or None
        Of the folds and of the default ratio.

    References
    ----------
    Robins, Rotnitzky, Zhao (JASA 1994); Chernozhukov et al. (Econometrics Journal 2018) for cross-fitting.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 1)), rng.normal(1.5, 0.5, size=(2000, 1))
    >>> y = (np.abs(X[:, 0]) > 0.7).astype(int)
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> found = DoublyRobustScore(X_target, random_state=0).estimate(model, X[1000:], y[1000:])
    >>> truth = model.score(X_target, (np.abs(X_target[:, 0]) > 0.7).astype(int))
    >>> found.ci[0] < truth < found.ci[1]
    True
    """

    def __init__(self, X_target: Any = None, ratio: Any = None, random_state: Any = None):
        super().__init__(X_target)
        self.ratio = ratio
        self.random_state = random_state

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        weights = ratio_weights(self.ratio, X, X_target, seed)
        values = values_of(estimator, X, y)
        table = read_problem(X, None, X_target).table
        source = np.arange(table.n) < len(values)
        column = np.zeros((table.n, 1))
        column[source, 0] = values
        fitted = crossfit_means(Inputs.of(table), column, domain_folds(table, 5, seed), train=source)[:, 0]
        return doubly_robust(values, weights, fitted[source], fitted[~source], metric_of(estimator))
