"""BBSE: the class prior of the target from the frequencies of the predictions and a confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from shift_detectors._influence import sum_within
from shift_detectors._prior import (
    centred_by_class,
    degrees_of_change,
    design_effect,
    hotelling,
    proportion_interval,
    read_predictions,
    sandwich,
)
from shift_detectors._warnings import warn

SMALLEST_SINGULAR_VALUE = 0.1  # of the matrix of p(prediction | class): below it errors grow tenfold
SEEN = 2.0  # standard errors that such a one must exceed: what may be zero cannot be inverted
BLIND = 1e-6  # smaller singular values are zero


class BBSE(BaseEstimator):
    """Estimate the class prior of the target by black-box shift estimation.

    **Question.** How frequent is each class in the target, if the classifier errs there as on the source?

    **Formula.** With the joint frequencies C_ij = P_s(prediction i, class j) on held-out source rows and the
    frequencies mu_i = P_t(prediction i),

        w = C^-1 mu,   q_j = w_j p_j,

    where p is the class frequency of the source; what is below zero is cut off and the rest scaled to sum to
    one. ``soft=True`` counts probabilities in place of decisions. The interval holds the values that a Wald test
    with their own variance keeps: target rows move mu by their prediction, source rows of class j move column j
    of C, and the error of a column counts in proportion to the frequency of its class. With ten source
    rows of a class it is too short (all of them may be predicted rightly by chance): that of `MLLS` holds.

    **Assumption.** p(x|y) is the same in source and target, and no new class. The classifier may be arbitrarily
    wrong and uncalibrated, as long as C is invertible.

    **Fails** when the predictions hardly depend on the class (C nearly singular: a `ShiftWarning`, and a wide
    interval), as those of a rare class that is hardly ever the most probable one. Where its own error explains that C
    is not singular, a change is not seen: the source prior stays, and the interval excludes nothing. It uses less of
    what the probabilities say than `MLLS`, so its variance is larger.

    Parameters
    ----------
    soft : bool
        Average probabilities instead of counting the most probable classes.

    Attributes
    ----------
    prior_, source_prior_ : ndarray of shape (n_classes,)
        Target prior, and class frequency of the source rows.
    weights_ : ndarray of shape (n_classes,)
        prior_ / source_prior_.
    confidence_interval_ : ndarray of shape (n_classes, 2)
        95 %, each class by itself.
    covariance_ : ndarray of shape (n_classes, n_classes)
        Of the prior before negative values were cut off.
    pvalue_ : float
        Score test of "the prior did not change".
    singular_value_ : float
        The smallest of the matrix P_s(prediction i | class j).
    classes_ : ndarray of shape (n_classes,)

    References
    ----------
    Lipton, Wang, Smola (ICML 2018), Detecting and correcting for label shift with black box predictors.

    Examples
    --------
    Three of four source rows are classified rightly, and 60 % of the target rows are called class 0:

    >>> proba = np.tile([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], (50, 1))
    >>> proba_source, y_source = np.vstack([proba, proba[:, ::-1]]), np.repeat([0, 1], 200)
    >>> proba_target = np.repeat([[0.9, 0.1], [0.1, 0.9]], [60, 40], axis=0)
    >>> BBSE().fit(proba_source, y_source, proba_target).prior_.round(2)
    array([0.7, 0.3])
    """

    def __init__(self, soft: bool = False):
        self.soft = soft

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
    ):
        """Estimate the target prior.

        Parameters
        ----------
        proba_source : array of shape (n_source, n_classes)
            Predictions on held-out (or out-of-fold) source rows.
        y_source : array-like of shape (n_source,)
        proba_target : array of shape (n_target, n_classes)
        y_target : array-like of shape (n_target,), optional
            Known target labels, missing values elsewhere: their frequencies count in proportion to their
            number, those of the other rows are estimated. They are assumed to be missing at random.
        classes : array-like of shape (n_classes,), optional
            Class of each column; the sorted labels of `y_source` when not given.
        weight_source : array-like of shape (n_source,), optional
        groups_source, groups_target : array-like of shape (n_source,) and (n_target,), optional
            Rows of equal value belong together: they count as a group in interval, covariance and p-value, which do
            not move the prior. (The penalty of `RLLS` counts rows.)

        Returns
        -------
        self
        """
        self.classes_ = np.unique(np.asarray(y_source)) if classes is None else np.asarray(classes)
        rows = read_predictions(
            proba_source, y_source, proba_target, self.classes_, y_target, weight_source, groups_source, groups_target
        )
        k, n, m = len(self.classes_), len(rows.y), len(rows.proba_target)
        own = np.eye(k)[rows.y] * rows.weight[:, None]
        p = own.sum(axis=0) / n
        said_source, said_target = (self._said(proba) for proba in (rows.proba_source, rows.proba_target))
        given = said_source.T @ own / (n * p)  # P_s(prediction i | class j)
        self.singular_value_ = float(np.linalg.svd(given, compute_uv=False).min())
        within = centred_by_class(said_source, rows.y, rows.weight)
        solve, unseen = _inverse(given, within, rows.weight / (n * p[rows.y]), rows.y, rows.groups)
        if len(unseen) or self.singular_value_ < SMALLEST_SINGULAR_VALUE:
            what = "nothing is seen of how their frequencies changed" if len(unseen) else "the prior is unreliable"
            warn(
                f"The smallest singular value of the {k} x {k} matrix of predictions given the class is "
                f"{self.singular_value_:.2g}: some classes are hardly told apart, and {what}. Merge such classes, use "
                "a better classifier, or MLLS."
            )
        free = ~rows.labelled
        share = free.mean()
        mu = said_target[free].mean(axis=0) if free.any() else given @ p
        q = p + solve @ (mu - given @ p)
        known = np.eye(k)[rows.known]
        frequency = known.mean(axis=0) if len(known) else q

        # how each row moved q; a source row of class j moves column j of `given`
        on_target = np.empty((m, k))
        on_target[free] = (said_target[free] - mu) @ solve.T
        on_target[rows.labelled] = known - frequency
        weight = share * rows.weight / p[rows.y]
        columns = -weight[:, None] * within @ solve.T
        self.covariance_, degrees = sandwich(
            on_target, [(1.0, q[rows.y, None] * columns)], rows.y, rows.groups, rows.groups_target
        )
        self.covariance_ += share * unseen.T @ unseen  # where nothing is seen anything is possible

        estimate = share * q + (1 - share) * frequency
        unshrunk = _on_simplex(estimate)
        # as q_k moves, the others move along, and with them the weight of the errors in each column
        variance = np.diag(self.covariance_)
        along = self.covariance_ / np.maximum(variance, 1e-300)
        kind, moved = _within_classes(columns, rows.y, rows.groups)
        by_column = np.eye(k)[kind].T @ moved**2 / n**2
        square = (by_column * along**2).sum(axis=0)
        linear = 2 * (by_column * along * (q[:, None] - along * unshrunk)).sum(axis=0)
        self.confidence_interval_ = np.array(
            [
                proportion_interval(unshrunk[j], variance[j], m, degrees=degrees[j], moving=(linear[j], square[j]))
                for j in range(k)
            ]
        )
        self.source_prior_ = p
        self.prior_ = _on_simplex(share * self._shrink(q, given, mu, p, n) + (1 - share) * frequency)
        self.weights_ = self.prior_ / p
        # Without a change the predictions of both domains vary alike: of a small target's own, a class that is absent
        # by chance would seem certain to be. What a source row says, in terms of q, has the classes' covariance with
        # its class, whose frequency q is compared with where target rows are labelled.
        on_source, on_free = (said_source - given @ p) @ solve.T, (said_target[free] - mu) @ solve.T
        n_free = n + len(on_free) - 2
        common = ((rows.weight[:, None] * on_source).T @ on_source + on_free.T @ on_free) / max(n_free, 1)
        classes = np.diag(p) - np.outer(p, p)
        per_source = (rows.weight @ rows.weight) / n**2
        no_change = common * (share**2 * per_source + share / m)
        no_change += classes * ((1 - share**2) * per_source + (1 - share) / m)
        both = share * on_source + (1 - share) * (np.eye(k)[rows.y] - p)
        errors = (rows.weight[:, None] * both / n, rows.groups), (on_target / m, rows.groups_target)
        no_change = no_change * design_effect(no_change, *errors)
        self.pvalue_ = hotelling(
            estimate - p, no_change, degrees_of_change(rows.labelled, n, rows.groups, rows.groups_target)
        )[1]
        return self

    def _said(self, proba: np.ndarray) -> np.ndarray:
        return proba if self.soft else np.eye(proba.shape[1])[proba.argmax(axis=1)]

    def _shrink(self, q: np.ndarray, given: np.ndarray, mu: np.ndarray, p: np.ndarray, n: int) -> np.ndarray:
        """The estimate from unlabelled rows that is reported; `n` source rows."""
        return q


def _inverse(
    given: np.ndarray, within: np.ndarray, mass: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of p(prediction | class) on the changes of q that keep its sum, and the directions that are not seen.

    These have a small singular value, u' C v, that its error explains: the deviations `within` each class along u, by
    what a row counts in the mean of its class (`mass`), times v. All classes are given the mean variance where that
    makes more of it: the predictions of few rows may be all alike by chance.
    """
    tangent = np.linalg.svd(np.ones((1, len(given))))[2][1:].T
    left, singular, right = np.linalg.svd(given @ tangent, full_matrices=False)
    right = right @ tangent.T
    off, counts = within @ left, mass[:, None] * right.T[y]
    own, common = sum_within(counts * off, groups) ** 2, (off**2).mean(axis=0) * counts**2
    error = np.sqrt(np.maximum(own.sum(axis=0), common.sum(axis=0)))
    seen = singular > np.clip(SEEN * error, BLIND, SMALLEST_SINGULAR_VALUE)
    return right[seen].T @ (left[:, seen] / singular[seen]).T, right[~seen]


def _within_classes(values: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Classes and sums of the rows of every class in every group; without groups the rows themselves."""
    if groups is None:
        return y, values
    k = y.max() + 1
    cell = np.unique(groups, return_inverse=True)[1] * k + y
    return np.unique(cell) % k, sum_within(values, cell)


def _on_simplex(q: np.ndarray) -> np.ndarray:
    return np.maximum(q, 0) / np.maximum(q, 0).sum()
