"""Maximum-likelihood label shift estimation as an object; the computation lives in shift_detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from shift_detectors._prior import estimate_prior


class MLLS(BaseEstimator):
    """Estimate the class prior of the target by maximum likelihood under label shift.

    q maximises the mean over target rows of log sum_y q_y g_y(x) / pi_y, where g are calibrated source
    posteriors and pi is their mean over held-out source rows. What the calibration could not repair is estimated
    from the held-out labels and taken back as far as it is more than noise. One labelled row, spread evenly over the
    classes, is added to the target's: no class is estimated at zero, which would cost any log loss if it does occur.
    Assumes that p(x|y) is the same in source and target. Works for any number of classes, also when some are absent
    from the target. Fails when p(x|y) changed. See `shift_detectors._prior`.

    Parameters
    ----------
    calibration : {"bcts", "vector", None}
        Bias-corrected temperature scaling, vector scaling, or none (only for calibrated classifiers).
    shrink : bool
        Move the estimate towards the source prior as far as the evidence for a change is weak.

    Attributes
    ----------
    prior_, source_prior_ : ndarray of shape (n_classes,)
    confidence_interval_ : ndarray of shape (n_classes, 2)
        95 %, each class by itself; of the maximum-likelihood estimate, without the row added and without shrinkage.
    pvalue_ : float
        Test of "the prior did not change".
    classes_ : ndarray of shape (n_classes,)
    result_ : PriorFit
        Everything, covariance and calibration included.

    References
    ----------
    Saerens, Latinne, Decaestecker (Neural Computation 2002); Alexandari, Kundaje, Shrikumar (ICML 2020).

    Examples
    --------
    A target without class 0:

    >>> rng = np.random.default_rng(0)
    >>> x_source = rng.normal(size=1000)
    >>> y_source = (rng.random(1000) < 1 / (1 + np.exp(-3 * x_source))).astype(int)
    >>> x_target = rng.choice(x_source[y_source == 1], 1000)
    >>> proba = lambda x: np.c_[1 / (1 + np.exp(3 * x)), 1 / (1 + np.exp(-3 * x))]
    >>> MLLS().fit(proba(x_source), y_source, proba(x_target)).prior_.round(2)
    array([0., 1.])
    """

    def __init__(self, calibration: str | None = "bcts", shrink: bool = False):
        self.calibration = calibration
        self.shrink = shrink

    def fit(
        self,
        proba_source: Any,
        y_source: Any,
        proba_target: Any,
        *,
        y_target: Any = None,
        classes: Any = None,
        weight_source: Any = None,
        groups_source: Any = None,
        groups_target: Any = None,
    ) -> MLLS:
        """Estimate the target prior.

        Parameters
        ----------
        proba_source : array of shape (n_source, n_classes)
            Predictions on held-out (or out-of-fold) source rows.
        y_source : array-like of shape (n_source,)
        proba_target : array of shape (n_target, n_classes)
        y_target : array-like of shape (n_target,), optional
            Known target labels, missing values elsewhere; they enter the likelihood exactly.
        classes : array-like of shape (n_classes,), optional
            Class of each column; the sorted labels of `y_source` when not given.
        weight_source : array-like of shape (n_source,), optional
        groups_source, groups_target : array-like of shape (n_source,) and (n_target,), optional
            Rows of equal value belong together: they count as a group in interval, covariance and p-value, and in how
            far correction and shrinkage are taken. The calibration counts rows; copies of rows make it too sure.

        Returns
        -------
        self
        """
        self.classes_ = np.unique(np.asarray(y_source)) if classes is None else np.asarray(classes)
        self.result_ = estimate_prior(
            proba_source,
            y_source,
            proba_target,
            self.classes_,
            y_target=y_target,
            calibration=self.calibration,
            shrink=self.shrink,
            weight_source=weight_source,
            groups_source=groups_source,
            groups_target=groups_target,
        )
        self.prior_ = self.result_.prior
        self.source_prior_ = self.result_.source_prior
        self.confidence_interval_ = self.result_.ci
        self.pvalue_ = self.result_.pvalue
        return self
