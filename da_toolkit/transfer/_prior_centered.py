"""PriorCentered: a few target labels correct the source model, by as much as they are evidence for."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import helmert
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of, as_answers
from shift_detectors._random import check_random_state

from .._base import BaseAdapter
from .._classes import positions, refuse_unknown
from .._decision import decide, no_scores, scores_classes
from .._domains import Domains
from .._model import fit_front, fit_weighted, is_frozen, split_model, weight_parameter
from .._numeric_columns import NumericColumns
from .._unfitted import spelt_out

STRENGTHS = 10.0 ** np.arange(-4, 2.01, 0.5)  # times the number of features: strengths that "auto" weighs
SOURCE_BELIEF = 0.9  # probability, before any target label is seen, that the source model is right
ROUNDING = 1e-6  # by which the mean of ones may exceed 1
NOISE_ROWS = 4.0  # target rows that the noise seen on the source counts for (regression)
NOISE_BELIEF = np.r_[0.9, np.full(25, 0.1 / 25)]  # in the source's noise, and in levels from it to the variance of y


class PriorCentered(BaseAdapter):
    r"""Fit a linear correction of the source model on a few target labels, shrunk towards no correction.

    **Question.** p(y | x) changed and m target rows have labels, too few to start anew: how far should they
    pull the model?

    **Formula.** With the source model's prediction :math:`f_s` (classification: its logits) and standardised
    features :math:`z`, the corrected model is :math:`f(x) = f_s(x) + b + z^\top \delta`, with

    .. math:: \min_{b, \delta} \; \sum_{\text{labelled } i} \ell(y_i, f(x_i)) +
              \lambda \, (b^2 / d + \|\delta\|^2),

    squared error or log loss. For a linear source model this is ridge or logistic regression with
    :math:`\lambda \|\beta - \beta_s\|^2`, centred on the source's coefficients; stated as a correction it
    holds for any model. :math:`\lambda \to \infty` is the source model, :math:`\lambda \to 0` (with the
    constant prediction in place of :math:`f_s`) the linear model of the target labels alone.

    **Strength.** Leave-one-out on five rows cannot choose between these. "auto" averages over them instead,
    by how probable each makes the labels (the marginal likelihood: closed form for squared error, Laplace's
    approximation for log loss): nine tenths of the prior belief on the unchanged source model, since one who
    asks for five labels would rather not lose by them, and a twentieth each on corrections of it and on the
    target labels alone, spread evenly over a grid of :math:`\lambda`. All are linear in the same features, so
    the average is one corrected model again. What the source rows know about noise enters: in regression the
    cross-fitted residual variance, worth four target rows, with nine tenths of the belief; the tenth left is
    spread evenly, in the logarithm, from there to the variance of y, so that labels which larger noise explains as
    well as another function do not refute the source model. In classification it is a temperature, so that an
    overconfident model is not taken at its word.

    **Assumption.** The labelled target rows are a random part of the target, and what changed is close to
    linear in the features that the last step sees.

    **Fails** when the labelled rows were chosen by their label or by their ease, and for local changes that
    no linear function of the features follows; then more labels and a flexible correction are needed. Five labels
    whose noise exceeds the spread of y may still pull the model anywhere. A regressor's
    correction is added: where the change is a factor (all stays last twice as long) correct the logarithm, with
    ``np.log`` of both y and ``np.exp`` of the predictions. Where no label and no prediction of the source model is
    negative, no corrected one is: it ends at the smallest of these (if that is a label of zero and the model predicts
    none, at half of the smallest above zero, divided by the number of target labels). Where all of these lie between
    0 and 1, as proportions do, no corrected one exceeds 1.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator
        Any regressor; any classifier with `predict_proba` or `decision_function`. A frozen model is corrected
        without being refitted; it may know classes that `y` lacks. A model of a quantile other than the median is
        refused: it would answer means.
    strength : "auto" or float
        :math:`\lambda`; ``float("inf")`` predicts as the source model does (its probabilities calibrated).
    at : str, optional
        Step of the Pipeline in front of which the features are taken; the last one by default.
    random_state : int, Generator, RandomState or None
        Of the folds on the source (and of resampling when the model takes no weights).

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_features, n_classes)
        The correction, in the units of the features in front of the last step.
    intercept_ : float or ndarray of shape (n_classes,)
    source_share_ : float
        Part of the source model's prediction that is kept, between 0 and 1; the rest is the constant
        prediction (mean or class frequencies of the source).
    source_probability_ : float
        How probable the labels leave the unchanged source model, 0.9 before they were seen.
    strength_ : float
        The most probable strength.

    Notes
    -----
    Of a frame the numeric columns take part in the correction; missing values count as the mean. Sparse
    features are scaled, not centred; the labelled rows are made dense. Cost: one singular value decomposition
    of the labelled rows, and in classification 26 small convex problems.

    References
    ----------
    Schoelkopf, Herbrich, Smola: A generalized representer theorem. COLT 2001 (biased regularisation).
    MacKay: Bayesian interpolation. Neural Computation 4(3), 1992 (the evidence).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 5)), rng.normal(size=(500, 5))
    >>> y = X @ [1, 1, 1, 0, 0] + rng.normal(size=500)
    >>> y_target = X_target @ [1, 1, -1, 0, 0] + 2 + rng.normal(size=500)
    >>> few = np.where(np.arange(500) < 15, y_target, np.nan)  # 15 labels
    >>> model = PriorCentered(Ridge()).fit(X, y, X_target, few)
    >>> round(Ridge().fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (-1.2, 0.64)
    """

    _fits_means = True

    def __init__(
        self,
        estimator: Any,
        strength: str | float = "auto",
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.strength = strength
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        auto = isinstance(self.strength, str) and self.strength == "auto"
        if not auto and not (isinstance(self.strength, (int, float)) and self.strength > 0):
            raise InputError(f"strength={self.strength!r}", '"auto" or a number > 0')
        if domains.y_target is None:
            raise InputError(
                "PriorCentered.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        frozen = is_frozen(head)
        self.head_ = head if frozen else fit_weighted(head, Z, domains.y, domains.sample_weight, self.random_state)
        self._columns = None if sparse.issparse(Z) else NumericColumns(Z)
        center, scale = self._standardize(Z, Z_target)

        known = np.flatnonzero(domains.labelled)
        Z_known = take_rows(Z_target, known)
        rows = self._features(Z_known)
        rows = rows.toarray() if sparse.issparse(rows) else rows
        d = rows.shape[1]
        design = np.column_stack([np.full(len(rows), np.sqrt(d)), (rows - center) / scale])
        U, s, Vt = np.linalg.svd(design, full_matrices=False)

        y = domains.y_target[known]
        fold = None if frozen else self._folds(head, domains)
        problem = (_Classification if is_classifier(self.head_) else _Regression)(
            self.head_, head, Z, domains, fold, Z_known, y, U, s
        )
        self._temperature, self._constant, self._method = problem.temperature, problem.constant, problem.method

        # every model that is weighed: log probability, share of the source model, strength, coefficients
        nothing = np.zeros((len(s), problem.n_outputs))
        if auto:
            log_each = np.log((1 - SOURCE_BELIEF) / (2 * len(STRENGTHS)))
            models = [(np.log(SOURCE_BELIEF) + problem.log_likelihood(), 1.0, np.inf, nothing)]
            for share in (1.0, 0.0):
                for strength in STRENGTHS[::-1] * d:
                    evidence, coef = problem.solve(share, strength)
                    models.append((log_each + evidence, share, strength, coef))
        elif np.isinf(self.strength):
            models = [(0.0, 1.0, np.inf, nothing)]
        else:
            models = [(0.0, 1.0, float(self.strength), problem.solve(1.0, float(self.strength))[1])]
        log_probability, shares, strengths, coefs = zip(*models, strict=True)
        probability = softmax(log_probability)
        self.source_share_ = float(probability @ shares)
        self.source_probability_ = float(probability @ np.isinf(strengths))
        self.strength_ = float(strengths[np.argmax(probability)])

        thin = np.tensordot(probability, np.array(coefs), axes=1)
        correction = problem.expand(Vt.T @ thin)  # (1 + d, n_outputs) in units of the design
        coef = correction[1:] / scale[:, None]
        intercept = correction[0] * np.sqrt(d) - center @ coef
        regression = not is_classifier(self.head_)
        self.coef_ = coef[:, 0] if regression else coef
        self.intercept_ = float(intercept[0]) if regression else intercept
        self._bounds = bounds_of(self.head_, Z, Z_target, domains) if regression else (-np.inf, np.inf)

    def _standardize(self, Z: Any, Z_target: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every feature over the rows of both domains."""
        if self._columns is None:
            pooled = sparse.vstack([Z, Z_target])
            center = np.zeros(Z.shape[1])
            scale = np.sqrt(np.asarray(pooled.multiply(pooled).mean(axis=0)).ravel())
        else:
            pooled = np.vstack([self._columns.extract(Z), self._columns.extract(Z_target)])
            missing = np.isnan(pooled)
            if not np.isfinite(pooled[~missing]).all():
                raise InputError("infinite values", "finite or missing numbers", "Clip or drop them.")
            count = np.maximum((~missing).sum(axis=0), 1)
            center = np.where(missing, 0.0, pooled).sum(axis=0) / count
            scale = np.sqrt((np.where(missing, 0.0, pooled - center) ** 2).sum(axis=0) / count)
        self._center = center
        return center, np.where(scale > 1e-12 * (np.abs(center) + scale.max(initial=0.0)), scale, np.inf)

    def _features(self, Z: Any) -> Any:
        """Numeric features in front of the head; a missing value is the mean."""
        if self._columns is None:
            return Z
        values = self._columns.extract(Z)
        return np.where(np.isnan(values), self._center, values)

    def _folds(self, head: Any, domains: Domains) -> list:
        """Splits of the source rows for cross-fitting."""
        if domains.groups is not None:
            units = len(np.unique(domains.groups))
        elif is_classifier(head):
            units = np.unique(domains.y, return_counts=True)[1].min()
        else:
            units = len(domains.y)
        if units < 2:
            raise InputError(
                "source rows with a single group, or a class with a single row",
                "two groups, two rows of every class",
                "The noise of the source model is measured by cross-fitting: add rows or freeze the model.",
            )
        n_splits = int(min(5, units))
        if domains.groups is not None:
            splitter: Any = GroupKFold(n_splits)
        else:
            kind = StratifiedKFold if is_classifier(head) else KFold
            splitter = kind(n_splits, shuffle=True, random_state=check_random_state(self.random_state))
        return list(splitter.split(np.zeros(len(domains.y)), domains.y, domains.groups))

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        if domain == "source":
            return super()._respond(method, X, domain)
        check_is_fitted(self)
        X = self._check_rows(X)
        Z = X if self.front_ is None else self.front_.transform(X)
        correction = self._features(Z) @ self.coef_ + self.intercept_
        share, constant = self.source_share_, self._constant
        if not is_classifier(self.head_):
            own = answers_of(self.head_, Z)
            return within(share * own + (1 - share) * constant + correction, own, self._bounds)
        logits = share * _logits(self.head_, Z, self._method) / self._temperature + (1 - share) * constant + correction
        if method == "predict_proba":
            return softmax(logits, axis=1)
        if method == "decision_function":
            return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits
        return decide(self.head_, softmax(logits, axis=1))

    def _decided_from(self, X: Any) -> np.ndarray:
        return softmax(
            _logits(self.head_, X if self.front_ is None else self.front_.transform(X), self._method), axis=1
        )


class _Regression:
    """Squared error in the thin coordinates U s of the labelled rows."""

    n_outputs = 1
    temperature = 1.0
    method = "predict"

    def __init__(self, model, head, Z, domains: Domains, fold, Z_known, y, U, s):
        fitted = answers_of(model, Z) if fold is None else cross_fitted(head, Z, domains, fold, "predict")
        noise = np.average((domains.y - fitted) ** 2, weights=domains.sample_weight)
        noise = max(float(noise), 1e-12 * float(np.var(np.append(domains.y, y))), np.finfo(float).tiny)
        self.constant = float(np.average(domains.y, weights=domains.sample_weight))
        variance = float(np.average((domains.y - self.constant) ** 2, weights=domains.sample_weight))
        self.noises = np.r_[noise, np.geomspace(noise, max(noise, variance), len(NOISE_BELIEF) - 1)]
        self.offset, self.y, self.U, self.s = answers_of(model, Z_known), y, U, s

    def log_likelihood(self) -> float:
        """Of the unchanged source model."""
        return self._student(((self.y - self.offset) ** 2).sum(), 0.0)

    def solve(self, share: float, strength: float) -> tuple[float, np.ndarray]:
        """Evidence and ridge coefficients of a correction of share * source + (1 - share) * constant."""
        residual = self.y - share * self.offset - (1 - share) * self.constant
        along = self.U.T @ residual
        growth = 1 + self.s**2 / strength  # prior variance of the labels along U, in units of noise
        squares = residual @ residual - along @ along + (along**2 / growth).sum()
        coef = self.s * along / (self.s**2 + strength)
        return self._student(squares, np.log(growth).sum()), coef[:, None]

    def _student(self, squares: float, log_determinant: float) -> float:
        # the noise variance integrated over its prior, a mixture of scaled inverse chi-squared ones
        n, unexpected = len(self.y), np.log1p(squares / (NOISE_ROWS * self.noises))
        log_each = -0.5 * (n * np.log(self.noises / self.noises[0]) + (n + NOISE_ROWS) * unexpected)
        return float(-0.5 * log_determinant + logsumexp(log_each, b=NOISE_BELIEF))

    def expand(self, coef: np.ndarray) -> np.ndarray:
        return coef


class _Classification:
    """Log loss in the thin coordinates U s; coefficients sum to zero over the classes (contrasts)."""

    def __init__(self, model, head, Z, domains: Domains, fold, Z_known, y, U, s):
        classes, weight = model.classes_, domains.sample_weight
        refuse_unknown(domains.y, classes)
        labels = positions(domains.y, classes)
        self.method = method = _logit_method(model, Z)
        given = getattr(model, method)(Z) if fold is None else cross_fitted(head, Z, domains, fold, method)
        logits = _as_logits(given, method)
        self.temperature = _temperature(logits, labels, weight)
        mass = np.bincount(labels, weights=weight, minlength=len(classes))
        self.constant = np.log((mass + 0.5) / (mass.sum() + 0.5 * len(classes)))
        self.contrasts = helmert(len(classes)).T  # (n_classes, n_classes - 1), orthonormal
        self.n_outputs = len(classes) - 1
        self.offset = _logits(model, Z_known, self.method) / self.temperature
        self.truth = np.eye(len(classes))[positions(y, classes)]
        self.rows, self.s = U * s, s
        self._start: dict[float, np.ndarray] = {}

    def log_likelihood(self) -> float:
        """Of the unchanged source model."""
        return float((self.truth * log_softmax(self.offset, axis=1)).sum())

    def solve(self, share: float, strength: float) -> tuple[float, np.ndarray]:
        """Evidence (Laplace) and coefficients of a correction of share * source + (1 - share) * constant."""
        offset = share * self.offset + (1 - share) * self.constant
        shape = (len(self.s), self.n_outputs)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            log_proba = log_softmax(offset + self.rows @ flat.reshape(shape) @ self.contrasts.T, axis=1)
            slope = self.rows.T @ (np.exp(log_proba) - self.truth) @ self.contrasts
            return (
                -(self.truth * log_proba).sum() + strength / 2 * flat @ flat,
                slope.ravel() + strength * flat,
            )

        start = self._start.get(share, np.zeros(shape))  # "auto" goes from strong to weak
        solution = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        coef = self._start[share] = solution.x.reshape(shape)
        # curvature of the loss: mean over rows of the class part, times the row part s^2
        proba = softmax(offset + self.rows @ coef @ self.contrasts.T, axis=1)
        spread = np.diag(proba.mean(axis=0)) - proba.T @ proba / len(proba)
        curvature = np.maximum(np.linalg.eigvalsh(self.contrasts.T @ spread @ self.contrasts), 0.0)
        log_determinant = np.log1p(np.outer(self.s**2, curvature) / strength).sum()
        return float(-solution.fun - 0.5 * log_determinant), coef

    def expand(self, coef: np.ndarray) -> np.ndarray:
        return coef @ self.contrasts.T


def _temperature(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> float:
    """What the logits are divided by for the least log loss; sought around their spread, as they have any unit."""
    truth = np.arange(len(labels)), labels
    spread = np.ptp(logits, axis=1).mean() or 1.0

    def loss(log_temperature: float) -> float:
        log_proba = log_softmax(logits / (spread * np.exp(log_temperature)), axis=1)
        return -np.average(log_proba[truth], weights=weight)

    return float(spread * np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def bounds_of(model: Any, Z: Any, Z_target: Any, domains: Domains) -> tuple[float, float]:
    """Where a quantity that is never negative ends below, and one that is a proportion, too, above; else infinite.

    Labels and the model's own answers say which it is. Below it is the least of them. Where that is a label of zero and
    the model avoids zero, of which a deviance has no value, it is half of the smallest label above zero in m labelled
    rows: a rate of counts as low as they can tell it (the mean by Jeffreys' prior where all m are zero). Above it is 1:
    where that is the bound, no answer gets worse by it, and if the labels kept below 1 by chance, one row of the target
    in m + 1 exceeds the m of them.
    """
    known = [] if domains.y_target is None else domains.y_target[domains.labelled]
    labels = np.append(domains.y, known).astype(float)
    answers = np.concatenate([answers_of(model, rows) for rows in (Z, Z_target)])
    if min(answers.min(), labels.min()) < 0:
        return -np.inf, np.inf
    least = float(labels[labels > 0].min(initial=np.inf))
    if labels.min() == 0:
        least /= 2 * max(len(known), 1)
    low = min(float(answers.min()), least)
    return low, 1.0 if max(answers.max(), labels.max()) <= 1 + ROUNDING else np.inf


def within(corrected: np.ndarray, own: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """A correction that is added ends at the bounds, or at what the model itself answers where that lies beyond."""
    low, high = bounds
    return np.clip(corrected, np.minimum(own, low), np.maximum(own, high))


def cross_fitted(head: Any, Z: Any, domains: Domains, fold: list, method: str) -> np.ndarray:
    """Answers for every source row by a clone that was fitted without it."""

    def answers() -> Any:
        parameter = weight_parameter(head)
        weighted = domains.sample_weight is not None and parameter is not None
        params = {parameter: domains.sample_weight} if weighted else None
        with config_context(enable_metadata_routing=False):  # passed by name, as in `fit_weighted`
            given = cross_val_predict(spelt_out(clone(head)), Z, domains.y, cv=fold, method=method, params=params)
        return as_answers(given, len(domains.y), head) if method == "predict" else given

    once = getattr(head, "_once", None)  # a model that is shared remembers
    return answers() if once is None else once((Z, domains.y, domains.sample_weight, fold, method), answers)


def _logit_method(model: Any, Z: Any) -> str:
    """The method that gives logits: decision values where they are those of the classes, else probabilities."""
    if scores_classes(model, Z):
        return "decision_function"
    if hasattr(model, "predict_proba"):
        return "predict_proba"
    raise no_scores(model)


def _as_logits(values: Any, method: str) -> np.ndarray:
    """Logits, shape (n_rows, n_classes), up to a constant per row."""
    if method == "predict_proba":
        return np.log(np.maximum(values, 1e-3))  # a vote of 100 trees is no proof
    return np.column_stack([np.zeros_like(values), values]) if values.ndim == 1 else values


def _logits(model: Any, Z: Any, method: str) -> np.ndarray:
    return _as_logits(getattr(model, method)(Z), method)
