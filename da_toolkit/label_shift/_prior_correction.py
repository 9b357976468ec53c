"""Move a classifier to the class frequencies of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from shift_detectors._calibration import fit_calibration
from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._prior import among, correct_proba, counted, widen, widen_interval
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from .._base import BaseAdapter
from .._classes import positions, refuse_unknown
from .._decision import decide
from .._domains import Domains
from .._model import fit_weighted, is_frozen, refuse_frozen
from .._parameters import check_counts, check_prior, read_prior
from .._unfitted import ask_for_probabilities, will_have
from ._mlls import MLLS

MIN_CLASS_ROWS = 4  # of a class, for two folds
CHECK_ROWS = 2000  # rows on which a frozen model is compared with cross-fitted clones


class PriorCorrection(BaseAdapter):
    """Correct the wrapped classifier for another class prior: p_t(y|x) proportional to p_s(y|x) q_y / pi_y.

    The classifier is fitted on the source. Out-of-fold source predictions calibrate its probabilities and
    give their mean pi; the target prior q is estimated from the predictions on the target rows (`MLLS`) or
    given. `predict` is the most probable class after the correction, or, of a `FixedThresholdClassifier` or
    `TunedThresholdClassifierCV`, the class that its threshold says then; `predict_source` and `predict_proba_source`
    are those of the uncorrected model. Without any evidence of a change (shrinkage to zero) `predict` is the model's
    own.

    A class with fewer than four source rows (or rows of a single group) cannot be cross-fitted: a `ShiftWarning` names
    it, it keeps its frequency in the source, and the others are corrected.

    With `groups`, source rows that belong together share a fold, and count as one group in the interval and in the
    evidence of a change. Target rows count one by one: where these belong together, fit `MLLS` with `groups_target`.

    Assumes label shift: p(x|y) is the same in source and target, and the target has no new class. Fails when
    p(x|y) changed. The corrected decision is the most probable class under the target's frequencies, also
    when the model was fitted with balanced class weights: a rare class is then answered less often than before. A
    threshold stands for a ratio of costs, which stays; one that was tuned for a score that asks for other decisions
    where a class gets rarer (balanced accuracy) has to be tuned again.

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
    rare_classes_ : ndarray
        Classes with too few source rows, which keep their frequency in the source.
    confidence_interval_ : ndarray of shape (n_classes, 2)
        95 % interval of the target prior; of zero width when the prior was given, NaN for the rare classes.
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
    are assumed to be missing at random. When all target rows are labelled, q is their class frequency (of rare classes:
    the source's) with ``prior=MLLS()``; the default draws that, too, towards the source's frequency as far as the
    difference may be chance.

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
    (0.7575, 0.90725)
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
        check_counts(self, {"cv": 2})
        rng = check_random_state(self.random_state)
        X, y, weight = domains.X, domains.y, domains.sample_weight
        self.front_ = None  # nothing happens between the parts of the model
        frozen = is_frozen(self.estimator)
        if frozen:
            if self.refit:
                refuse_frozen(self.estimator, "PriorCorrection(refit=True)")
            model: Any = clone(self.estimator)  # a frozen model stays the same object
            self.head_ = model.fit(X, y)
            refuse_unknown(y, self.head_.classes_)
            self.rare_classes_ = self.head_.classes_[:0]
            proba, proba_target = self.head_.predict_proba(X), self.head_.predict_proba(domains.X_target)
            self._warn_if_trained_on(domains, rng)
        else:
            self.rare_classes_ = self._rare(y, weight, domains.groups)
            proba, proba_target = self._out_of_fold(self.estimator, X, y, weight, domains.groups, rng, domains.X_target)
            self.head_ = fit_weighted(self.estimator, X, y, weight, rng)

        classes = self.head_.classes_
        columns = np.flatnonzero(~np.isin(classes, self.rare_classes_))
        rows = ~np.isin(y, self.rare_classes_)
        proba, proba_target = among(proba[rows], columns), among(proba_target, columns)
        codes, own = positions(y, classes), np.ones(len(y)) if weight is None else weight
        frequency = np.bincount(codes, weights=own, minlength=len(classes)) / own.sum()
        self._estimate(proba, proba_target, domains, columns, frequency)
        y_columns, inside = positions(y[rows], classes[columns]), None if weight is None else weight[rows]
        calibration = fit_calibration(proba, y_columns, kind=self.calibration, weight=inside)
        self.calibration_ = calibration.widened(columns, len(classes))
        self.source_prior_ = widen(np.average(calibration(proba), axis=0, weights=inside), columns, frequency)
        if self.refit:
            own = own * (self.prior_ / frequency)[codes]
            self.target_model_ = fit_weighted(self.estimator, X, y, own, rng)

    def _estimate(
        self, proba: np.ndarray, proba_target: np.ndarray, domains: Domains, columns: np.ndarray, frequency: np.ndarray
    ) -> None:
        """Set prior_, confidence_interval_ and changed_, from probabilities of the classes in `columns`."""
        prior = MLLS(self.calibration, shrink=True) if self.prior is None else self.prior
        classes = self.head_.classes_
        if not hasattr(prior, "fit"):
            self.prior_ = read_prior(prior, classes, "prior")
            self.confidence_interval_ = np.column_stack([self.prior_, self.prior_])
            self.changed_ = True
            return
        rows, rows_target = ~np.isin(domains.y, self.rare_classes_), slice(None)
        known: dict[str, Any] = {}
        if domains.y_target is not None:
            rows_target = ~(domains.labelled & np.isin(domains.y_target, self.rare_classes_))
            labels = domains.y_target.astype(object)
            labels[~domains.labelled] = None
            known["y_target"] = labels[rows_target]
        if domains.sample_weight is not None:
            known["weight_source"] = domains.sample_weight[rows]
        if domains.groups is not None and has_fit_parameter(prior, "groups_source"):
            known["groups_source"] = domains.groups[rows]
        method: Any = clone(prior)
        method.fit(proba, domains.y[rows], proba_target[rows_target], classes=classes[columns], **known)
        self.prior_ = widen(method.prior_, columns, frequency)
        self.confidence_interval_ = widen_interval(method.confidence_interval_, columns, frequency)
        self.changed_ = not np.array_equal(method.prior_, method.source_prior_)

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        check_is_fitted(self)
        if domain == "target" and self.refit:
            return answers_of(self.target_model_, self._check_rows(X), method)
        if domain == "source" or (method == "predict" and not self.changed_):
            return super()._respond(method, X, domain)
        proba = self.calibration_(super()._respond("predict_proba", X, domain))
        proba = correct_proba(proba, self.source_prior_, self.prior_)
        return decide(self.head_, proba) if method == "predict" else proba

    def _decided_from(self, X: Any) -> np.ndarray | None:
        return None if self.refit else self.predict_proba_source(X)

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
        if not will_have(self.estimator, "predict_proba"):
            raise InputError(
                f"{name} has no predict_proba",
                "a classifier with predict_proba",
                f"{ask_for_probabilities(self.estimator)}.",
            )

    def _rare(self, y: np.ndarray, weight: np.ndarray | None, groups: np.ndarray | None) -> np.ndarray:
        """Classes that cannot be cross-fitted, which the user is told; an error when less than two are left."""
        classes, counts, rare = _too_rare(y, groups, weight)
        if not counts.all():
            raise InputError(
                f"sample_weight is zero in every row of the class {classes[counts == 0].tolist()[0]!r}",
                "a weight above zero in some rows of every class",
                "A row of weight zero says nothing: drop these rows, with their labels.",
            )
        if not rare.any():
            return classes[:0]
        few = counted(classes[rare].tolist(), counts[rare].tolist())
        of_groups = "" if groups is None else ", of two groups"
        if (~rare).sum() < 2:
            raise InputError(
                f"too few source rows of {few}",
                f"two classes with {MIN_CLASS_ROWS} rows each{of_groups}",
                "Collect rows of them, or pass FrozenEstimator(fitted model) with held-out rows.",
            )
        warn(
            f"Too few source rows of {few} for cross-fitting ({MIN_CLASS_ROWS}{of_groups}): taken to be as frequent in "
            "the target as in the source; the frequencies of the other classes are corrected."
        )
        return classes[rare]

    def _out_of_fold(self, estimator, X, y, weight, groups, rng, X_target) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of source rows from models that did not see the row, and of the target rows.

        A calibration of the folds' models says nothing about a model of all rows, which may be more or less
        sure: every target row is predicted by the model of one fold, too. Rows of rare classes are always trained
        on (but for groups that are held out) and not predicted.
        """
        classes, codes = np.unique(y, return_inverse=True)
        rows = np.flatnonzero(~np.isin(y, self.rare_classes_))
        n_folds = min(self.cv, int(np.unique(y[rows], return_counts=True)[1].min()) // 2)
        if groups is not None:  # a class has to be in the training part of every fold
            n_folds = min(n_folds, *(len(np.unique(groups[rows][y[rows] == c])) for c in np.unique(y[rows])))
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(n_folds, shuffle=True, random_state=rng.randint(2**31 - 1))
        part = rng.permutation(X_target.shape[0]) % n_folds
        proba, proba_target = np.zeros((len(y), len(classes))), np.zeros((len(part), len(classes)))
        splits = folds.split(np.zeros(len(rows)), codes[rows], None if groups is None else groups[rows])
        for fold, (_, test) in enumerate(splits):
            test = rows[test]
            held_out = np.isin(np.arange(len(y)), test) if groups is None else np.isin(groups, groups[test])
            train = np.flatnonzero(~held_out)
            own = None if weight is None else weight[train]
            model = fit_weighted(estimator, take_rows(X, train), y[train], own, rng)
            columns = np.searchsorted(classes, model.classes_)
            proba[np.ix_(test, columns)] = model.predict_proba(take_rows(X, test))
            there = np.flatnonzero(part == fold)
            if len(there):
                proba_target[np.ix_(there, columns)] = model.predict_proba(take_rows(X_target, there))
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
        groups = None if domains.groups is None else domains.groups[rows]
        classes, counts, rare = _too_rare(y, groups)
        if counts.min() < 2 * self.cv or rare.any():
            return  # too few rows for cross-fitting
        held_out = classes[self._out_of_fold(model, X, y, None, groups, rng, X[:0])[0].argmax(axis=1)] == y
        again: Any = clone(model)
        fitted = answers_of(again.fit(X, y), X) == y
        own = answers_of(self.head_, X) == y
        difference = own.astype(float) - held_out
        threshold = held_out.mean() + 0.9 * (fitted.mean() - held_out.mean())
        if own.mean() >= threshold and difference.mean() > 3 * difference.std() / np.sqrt(len(y)):
            warn(
                f"the frozen model scores {own.mean():.3f} on (X, y), a model of the same kind that has not "
                f"seen the row {held_out.mean():.3f}: (X, y) look like its training rows. The prior "
                "may be off; pass labelled source rows that were held out."
            )


def _too_rare(
    y: np.ndarray, groups: np.ndarray | None, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, their rows of positive weight, and which have too few of these, or groups of them, for two folds."""
    classes, codes = np.unique(y, return_inverse=True)
    counted_in = np.ones(len(y), bool) if weight is None else weight > 0
    counts = np.bincount(codes[counted_in], minlength=len(classes))
    rare = counts < MIN_CLASS_ROWS
    if groups is not None:
        rare |= np.array([len(np.unique(groups[counted_in & (codes == k)])) < 2 for k in range(len(classes))])
    return classes, counts, rare


def _thaw(estimator: Any) -> Any:
    """The model without its FrozenEstimator."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    name, last = estimator.steps[-1]
    return Pipeline([*estimator.steps[:-1], (name, _thaw(last))])
