"""Move a classifier to the class frequencies of the target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from shift_detectors._calibration import fit_calibration
from shift_detectors._errors import InputError, ShiftWarning
from shift_detectors._prior import correct_proba
from shift_detectors._random import check_random_state

from .._base import (
    BaseAdapter,
    Domains,
    check_prior,
    fit_weighted,
    is_frozen,
    read_prior,
    refuse_frozen,
    take_rows,
)
from ._mlls import MLLS

CHECK_ROWS = 2000  # rows on which a frozen model is compared with cross-fitted clones


class PriorCorrection(BaseAdapter):
    """Correct the wrapped classifier for another class prior: p_t(y|x) proportional to p_s(y|x) q_y / pi_y.

    The classifier is fitted on the source. Out-of-fold source predictions calibrate its probabilities and
    give their mean pi; the target prior q is estimated from the predictions on the target rows (`MLLS`) or
    given. `predict` is the most probable class after the correction; `predict_source` and
    `predict_proba_source` are those of the uncorrected model. Without any evidence of a change (shrinkage to
    zero) `predict` is the model's own.

    Assumes label shift: p(x|y) is the same in source and target, and the target has no new class. Fails when
    p(x|y) changed. The corrected decision is the most probable class under the target's frequencies, also
    when the model was fitted with balanced class weights.

    An already fitted model goes in scikit-learn's ``FrozenEstimator``, a trained torch module in
    `da_toolkit.deep.frozen_module`; it is never refitted, and (X, y) must be labelled source rows that it was
    *not* trained on. A `ShiftWarning` is given when it scores on them like a model that was.

    Parameters
    ----------
    estimator : classifier with predict_proba
        Also a Pipeline, or a FrozenEstimator around a fitted one.
    prior : estimator, array of shape (n_classes,), dict, Series or None
        An object such as `MLLS`, `BBSE` or `RLLS` estimates the target prior; an array (in the sorted order
        of the classes), a dict from class to frequency or a Series whose index holds the classes is taken as
        known. None means ``MLLS(shrink=True)``.
    refit : bool
        Fit the model again on the source under weights q_y / p_y instead of correcting its probabilities.
        Use it when the model is too simple for p(y|x), so that the best fit depends on the class frequencies.
    calibration : {"bcts", "vector", None}
        Calibration of the corrected probabilities (and of the default `MLLS`).
    cv : int
        Folds of the out-of-fold predictions; fewer where a class has less than two rows per fold.
    random_state : int, Generator, RandomState or None
        Of the folds.

    Attributes
    ----------
    prior_, source_prior_ : ndarray of shape (n_classes,)
        Target prior, and the source prior it is divided by.
    confidence_interval_ : ndarray of shape (n_classes, 2)
        95 % interval of the target prior; of zero width when the prior was given.
    changed_ : bool
        Whether the target prior differs from the source's; False leaves `predict` to the model.
    calibration_ : Calibration
    head_ : fitted classifier
        The uncorrected model.
    target_model_ : fitted classifier
        With ``refit=True``: the model that answers for the target.

    Notes
    -----
    Known target labels (y_target) enter the likelihood of `MLLS` exactly, which narrows the interval; they
    are assumed to be missing at random. When all target rows are labelled, q is their class frequency.

    References
    ----------
    Saerens, Latinne, Decaestecker (Neural Computation 2002); Lipton, Wang, Smola (ICML 2018).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> def sample(n, p):
    ...     y = (rng.random(n) < p).astype(int)
    ...     return rng.normal(2 * y[:, None] - 1, 1.5, (n, 1)), y
    >>> X, y = sample(4000, 0.5)
    >>> X_target, y_target = sample(4000, 0.9)
    >>> model = PriorCorrection(LogisticRegression(), random_state=0).fit(X, y, X_target)
    >>> model.prior_.round(2)
    array([0.1, 0.9])
    >>> float(np.mean(model.predict_source(X_target) == y_target)), model.score(X_target, y_target)
    (0.7575, 0.90675)
    """

    def __init__(
        self,
        estimator: Any,
        prior: Any = None,
        *,
        refit: bool = False,
        calibration: str | None = "bcts",
        cv: int = 5,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.prior = prior
        self.refit = refit
        self.calibration = calibration
        self.cv = cv
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        self._check_estimator()
        check_prior(self.prior, "prior")
        rng = check_random_state(self.random_state)
        X, y, weight = domains.X, domains.y, domains.sample_weight
        self.front_ = None  # nothing happens between the parts of the model
        frozen = is_frozen(self.estimator)
        if frozen:
            if self.refit:
                refuse_frozen(self.estimator, "PriorCorrection(refit=True)")
            model: Any = clone(self.estimator)  # a frozen model stays the same object
            self.head_ = model.fit(X, y)
            unknown = np.setdiff1d(y, self.head_.classes_)
            if len(unknown):
                raise InputError(
                    f"y has the classes {unknown.tolist()}, which the frozen model does not know",
                    f"the classes {self.head_.classes_.tolist()}",
                    "Drop those rows.",
                )
            proba, proba_target = self.head_.predict_proba(X), self.head_.predict_proba(domains.X_target)
            self._warn_if_trained_on(domains, rng)
        else:
            proba, proba_target = self._out_of_fold(self.estimator, X, y, weight, domains.groups, rng, domains.X_target)
            self.head_ = fit_weighted(self.estimator, X, y, weight, rng)

        classes = self.head_.classes_
        self._estimate(proba, proba_target, domains, classes)
        codes = np.searchsorted(classes, y)
        self.calibration_ = fit_calibration(proba, codes, kind=self.calibration, weight=weight)
        self.source_prior_ = np.average(self.calibration_(proba), axis=0, weights=weight)
        if self.refit:
            own = np.ones(len(y)) if weight is None else weight
            frequency = np.bincount(codes, weights=own, minlength=len(classes)) / own.sum()
            own = own * (self.prior_ / frequency)[codes]
            self.target_model_ = fit_weighted(self.estimator, X, y, own, rng)

    def _estimate(self, proba: np.ndarray, proba_target: np.ndarray, domains: Domains, classes: np.ndarray) -> None:
        """Set prior_, confidence_interval_ and changed_."""
        prior = MLLS(self.calibration, shrink=True) if self.prior is None else self.prior
        if not hasattr(prior, "fit"):
            self.prior_ = read_prior(prior, classes, "prior")
            self.confidence_interval_ = np.column_stack([self.prior_, self.prior_])
            self.changed_ = True
            return
        known: dict[str, Any] = {}
        if domains.y_target is not None:
            labels = domains.y_target.astype(object)
            labels[~domains.labelled] = None
            known["y_target"] = labels
        if domains.sample_weight is not None:
            known["weight_source"] = domains.sample_weight
        method: Any = clone(prior)
        method.fit(proba, domains.y, proba_target, classes=classes, **known)
        self.prior_ = method.prior_
        self.confidence_interval_ = method.confidence_interval_
        self.changed_ = not np.array_equal(method.prior_, method.source_prior_)

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        check_is_fitted(self)
        if domain == "target" and self.refit:
            return getattr(self.target_model_, method)(self._check_rows(X))
        if domain == "source" or (method == "predict" and not self.changed_):
            return super()._respond(method, X, domain)
        proba = self.calibration_(super()._respond("predict_proba", X, domain))
        proba = correct_proba(proba, self.source_prior_, self.prior_)
        return self.classes_[proba.argmax(axis=1)] if method == "predict" else proba

    @available_if(lambda self: True)
    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds (two classes) or log-probabilities of *target* rows after the correction."""
        log_proba = np.log(np.maximum(self._respond("predict_proba", X, "target"), np.finfo(float).tiny))
        return log_proba[:, 1] - log_proba[:, 0] if log_proba.shape[1] == 2 else log_proba

    def _check_estimator(self) -> None:
        name = type(self.estimator).__name__
        if hasattr(self.estimator, "predict_source") and not is_frozen(self.estimator):
            raise InputError(
                f"PriorCorrection was given {name}, which adapts itself",
                "a model that is fitted on the source alone",
                "Fit it first and pass FrozenEstimator(it) with rows that it was not trained on; a DeepAdapter also "
                'takes target_prior="estimate".',
            )
        if not is_classifier(self.estimator):
            raise InputError(
                f"PriorCorrection was given {name}, which is no classifier",
                "a classifier with predict_proba",
                "For regression use ImportanceWeighting or FeatureAlignment.",
            )
        if not hasattr(self.estimator, "predict_proba"):
            raise InputError(
                f"{name} has no predict_proba",
                "a classifier with predict_proba",
                "Wrap it: CalibratedClassifierCV(estimator).",
            )

    def _out_of_fold(self, estimator, X, y, weight, groups, rng, X_target) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of source rows from models that did not see the row, and of the target rows.

        A calibration of the folds' models says nothing about a model of all rows, which may be more or less
        sure: every target row is predicted by the model of one fold, too.
        """
        classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        n_folds = min(self.cv, int(counts.min()) // 2)
        if groups is not None:  # a class has to be in the training part of every fold
            n_folds = min(n_folds, *(len(np.unique(groups[codes == k])) for k in range(len(classes))))
        if n_folds < 2:
            raise InputError(
                f"class {classes[counts.argmin()].item()!r} has {counts.min()} source rows, cv={self.cv}",
                "at least two folds with two rows per class each, of groups of their own",
                "Merge rare classes, or leave them out.",
            )
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(n_folds, shuffle=True, random_state=rng.randint(2**31 - 1))
        part = rng.permutation(X_target.shape[0]) % n_folds
        proba, proba_target = np.zeros((len(y), len(classes))), np.zeros((len(part), len(classes)))
        for fold, (train, test) in enumerate(folds.split(np.zeros(len(y)), codes, groups)):
            own = None if weight is None else weight[train]
            model = fit_weighted(estimator, take_rows(X, train), y[train], own, rng)
            columns = np.searchsorted(classes, model.classes_)
            proba[np.ix_(test, columns)] = model.predict_proba(take_rows(X, test))
            rows = np.flatnonzero(part == fold)
            if len(rows):
                proba_target[np.ix_(rows, columns)] = model.predict_proba(take_rows(X_target, rows))
        return proba, proba_target

    def _warn_if_trained_on(self, domains: Domains, rng) -> None:
        """Warn when the frozen model scores on (X, y) as only a model that was trained on them would.

        Clones of the model are fitted on these rows: c is their accuracy out of fold, f that on their own
        training rows. A model that saw the rows scores near f, one that did not near c (better when it
        was trained on more rows). Warned above c + .9 (f - c), when the difference to c is significant.
        """
        model = _thaw(self.estimator)
        if not has_fit_parameter(model, "y") or has_fit_parameter(model, "X_target"):
            return  # a torch module, an adapter: not to be fitted on source rows alone
        rows = rng.permutation(len(domains.y))[:CHECK_ROWS]
        X, y = take_rows(domains.X, rows), domains.y[rows]
        classes, counts = np.unique(y, return_counts=True)
        if counts.min() < 2 * self.cv:
            return  # too few rows for cross-fitting
        groups = None if domains.groups is None else domains.groups[rows]
        held_out = classes[self._out_of_fold(model, X, y, None, groups, rng, X[:0])[0].argmax(axis=1)] == y
        again: Any = clone(model)
        fitted = again.fit(X, y).predict(X) == y
        own = self.head_.predict(X) == y
        difference = own.astype(float) - held_out
        threshold = held_out.mean() + 0.9 * (fitted.mean() - held_out.mean())
        if own.mean() >= threshold and difference.mean() > 3 * difference.std() / np.sqrt(len(y)):
            warnings.warn(
                f"the frozen model scores {own.mean():.3f} on (X, y), a model of the same kind that has not "
                f"seen the row {held_out.mean():.3f}: (X, y) look like its training rows. The prior "
                "may be off; pass labelled source rows that were held out.",
                ShiftWarning,
                stacklevel=4,
            )


def _thaw(estimator: Any) -> Any:
    """The model without its FrozenEstimator."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    name, last = estimator.steps[-1]
    return Pipeline([*estimator.steps[:-1], (name, _thaw(last))])
