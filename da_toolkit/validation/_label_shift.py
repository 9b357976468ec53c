"""Label-shift validation: class-wise source performance, put together by the estimated target frequencies."""

from __future__ import annotations

import numpy as np
from sklearn.base import is_classifier

from shift_detectors._errors import InputError
from shift_detectors._performance import label_shift_risk
from shift_detectors._prior import estimate_prior
from shift_detectors._results import PerformanceEstimate

from ._base import PerformanceScore, on_source, probabilities, values_of


class LabelShiftScore(PerformanceScore):
    """Estimate the target accuracy from the accuracy in each class and the target's class frequencies.

    With q the class frequencies of the target, estimated from the model's own probabilities (`MLLS`)::

        sum over classes y of  q_y * mean(right | y) over held-out source rows

    The interval includes the uncertainty of q.

    Assumes label shift: p(x|y) is the same in both domains. Fails when rows of a class look different in the
    target; the label-shift fit test of `shift_detectors.diagnose` says whether that shows.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Saerens, Latinne, Decaestecker (Neural Computation 2002); Lipton, Wang, Smola (ICML 2018).

    Examples
    --------
    >>> from da_toolkit import SourceOnly
    >>> from da_toolkit.datasets import make_label_shift
    >>> from sklearn.linear_model import LogisticRegression
    >>> pair = make_label_shift(2000, random_state=0)
    >>> X, y, X_target = pair.seen
    >>> model = SourceOnly(LogisticRegression()).fit(X[:1000], y[:1000], X_target)
    >>> found = LabelShiftScore(X_target).estimate(model, X[1000:], y[1000:])
    >>> found.ci[0] < model.score(X_target, pair.y_target) < found.ci[1]
    True
    """

    def _estimate(self, estimator, X, y, X_target) -> PerformanceEstimate:
        if not is_classifier(estimator):
            raise InputError(
                f"LabelShiftScore was given {type(estimator).__name__}, which is no classifier", "a classifier"
            )
        proba_target = probabilities(estimator, X_target, "LabelShiftScore")
        classes = np.asarray(estimator.classes_)
        prior = estimate_prior(on_source(estimator, X, "predict_proba"), y, proba_target, classes)
        return label_shift_risk(values_of(estimator, X, y), y, prior)
