"""Reweight the source so that a numeric y is distributed as in the target, which is unlabelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import nnls
from sklearn.base import is_classifier
from sklearn.model_selection import KFold
from sklearn.preprocessing import SplineTransformer

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, fit_weighted, join_model, refuse_frozen, split_model
from .._parameters import check_counts, is_number
from ..weighting._base import effective_sample_size, group_folds

RIDGES = 10.0 ** np.arange(-3, 4.01, 0.5)  # strengths that "auto" compares; the largest leaves the source as it is
MIN_ESS_SHARE = 0.05


class TargetShiftWeighting(BaseAdapter):
    r"""Fit a regressor on source rows weighted by w(y) = p_target(y) / p_source(y).

    **Question.** A numeric y is distributed otherwise in the target, x given y as before: how should the source
    be weighted, although no target y is known?

    **Formula.** Under target shift :math:`E_t[\varphi(x)] = E_s[w(y)\,\varphi(x)]` for every function
    :math:`\varphi`. With :math:`w(y) = \sum_k c_k B_k(y)`, quadratic B-splines whose knots are quantiles of the
    source's y, and :math:`\varphi` B-splines of the model's own cross-fitted prediction,

    .. math:: \min_{c \ge 0,\; E_s w = 1} \;
              (b - A c)^\top V^{-1} (b - A c) + \lambda \, E_s (w - 1)^2,
              \qquad A = E_s[\varphi B^\top], \; b = E_t[\varphi],

    V the sampling covariance of :math:`b - E_s[\varphi]`. :math:`\lambda` is chosen by cross-validation: the
    moments of one half of the rows predict those of the other half. Where the weights explain nothing the
    largest wins and they are one.

    **Assumption.** p(x|y) is the same in source and target, the source covers the target's y, and the
    prediction depends on y strongly enough to tell its distribution.

    **Fails** when p(x|y) changed, for a model that predicts y poorly (weights stay near one), and beyond the
    largest and smallest y of the source.

    Parameters
    ----------
    estimator : regressor or Pipeline
        The user's model. A model whose ``fit`` takes no ``sample_weight`` is fitted on resampled rows, with a
        `ShiftWarning`.
    n_splines : int
        Functions in the basis of w, at least 3.
    ridge : "auto" or float
        :math:`\lambda`.
    cv : int
        Folds of the cross-fitted predictions.
    random_state : int, Generator, RandomState or None
        Of the folds.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        w(y_i), mean 1; not yet multiplied by the user's ``sample_weight``.
    effective_sample_size_ : float
        Of the `weights_`.
    ridge_ : float
    estimator_ : estimator
        The fitted model, usable without this library.

    References
    ----------
    Zhang, Schoelkopf, Muandet, Wang (ICML 2013), Domain adaptation under target and conditional shift, with
    kernel means of x in place of the moments of a prediction.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = rng.normal(0, 1, 2000), rng.normal(1, 1, 2000)
    >>> x, x_target = y + 0.5 * rng.normal(size=2000), y_target + 0.5 * rng.normal(size=2000)
    >>> model = TargetShiftWeighting(LinearRegression(), random_state=0).fit(x[:, None], y, x_target[:, None])
    >>> float(np.average(y, weights=model.weights_).round(1))
    1.0
    """

    def __init__(
        self,
        estimator: Any,
        *,
        n_splines: int = 6,
        ridge: str | float = "auto",
        cv: int = 5,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.n_splines = n_splines
        self.ridge = ridge
        self.cv = cv
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        self._check_options()
        rng = check_random_state(self.random_state)
        front, head = split_model(self.estimator)
        self.front_, Z, Z_target = fit_front(front, domains)
        y = np.asarray(domains.y, dtype=float)
        own = np.ones(len(y)) if domains.sample_weight is None else domains.sample_weight / domains.sample_weight.mean()

        predicted = self._predictions(head, Z, Z_target, domains, rng)
        self.weights_, self.ridge_ = outcome_weights(y, *predicted, own, rng, self.n_splines, self.ridge)
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        if self.effective_sample_size_ < MIN_ESS_SHARE * len(y):
            warn(
                f"The weights of the {len(y)} source rows carry as much information as "
                f"{self.effective_sample_size_:.0f} equally weighted rows: the source hardly covers "
                "the y of the target."
            )
        self.head_ = fit_weighted(head, Z, domains.y, self.weights_ * own, rng)

    def _predictions(self, head, Z, Z_target, domains: Domains, rng) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of every row by a model that did not see it; a target row by the model of one fold."""
        n, n_target = len(domains.y), Z_target.shape[0]
        if n < 2 * self.cv:
            raise InputError(f"{n} source rows, cv={self.cv}", "two rows per fold", "Use a smaller cv.")
        groups = domains.groups
        if groups is not None:
            folds = group_folds(groups, self.cv)
            splits = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(folds.max() + 1)]
        else:
            splits = list(KFold(self.cv, shuffle=True, random_state=rng.randint(2**31 - 1)).split(np.zeros(n)))
        part = rng.permutation(n_target) % len(splits)
        source, target = np.zeros(n), np.zeros(n_target)
        for fold, (train, test) in enumerate(splits):
            weight = None if domains.sample_weight is None else domains.sample_weight[train]
            model = fit_weighted(head, take_rows(Z, train), domains.y[train], weight, rng)
            source[test] = answers_of(model, take_rows(Z, test))
            rows = np.flatnonzero(part == fold)
            if len(rows):
                target[rows] = answers_of(model, take_rows(Z_target, rows))
        return source, target

    def _check_options(self) -> None:
        refuse_frozen(self.estimator, "TargetShiftWeighting")
        if is_classifier(self.estimator):
            raise InputError(
                f"TargetShiftWeighting was given {type(self.estimator).__name__}, a classifier",
                "a regressor",
                "For classes use PriorCorrection.",
            )
        automatic = isinstance(self.ridge, str) and self.ridge == "auto"
        if not automatic and not (is_number(self.ridge) and 0 <= self.ridge < np.inf):
            raise InputError(f"ridge={self.ridge!r}", "'auto' or a number >= 0", "Choose one.")
        check_counts(self, {"n_splines": 3, "cv": 2})

    @property
    def estimator_(self) -> Any:
        """The fitted model as a whole."""
        return join_model(self.front_, self.head_)


def outcome_weights(
    y: np.ndarray,
    predicted: np.ndarray,
    predicted_target: np.ndarray,
    own: np.ndarray,
    random_state: np.random.RandomState,
    n_splines: int = 6,
    ridge: str | float = "auto",
) -> tuple[np.ndarray, float]:
    """w(y) of every source row, mean 1, and the ridge; formula in `TargetShiftWeighting`.

    `predicted` and `predicted_target` are cross-fitted predictions of y in both domains, `own` the user's weights of
    the source rows.
    """
    least = 4 if isinstance(ridge, str) else 2  # "auto" takes the covariance of either half
    if len(predicted_target) < least:
        raise InputError(f"{len(predicted_target)} target rows", f"at least {least}", "Collect target rows.")
    basis, moments = _splines(y, n_splines)(y), _splines(predicted, n_splines)
    phi, phi_target = moments(predicted), moments(predicted_target)
    halves = random_state.permutation(len(y)) % 2, random_state.permutation(len(phi_target)) % 2
    strength = _choose(phi, phi_target, basis, own, halves) if isinstance(ridge, str) else float(ridge)
    weights = basis @ _solve(phi, phi_target, basis, own, strength)
    return weights / weights.mean(), strength


def _splines(values: np.ndarray, n_splines: int):
    """Quadratic B-splines with knots at quantiles of the values, constant outside; they sum to one."""
    knots = np.unique(np.quantile(values, np.linspace(0, 1, n_splines - 1)))
    if len(knots) < 2:
        raise InputError("y or its prediction is constant", "at least two different values", "Use another model.")
    spline = SplineTransformer(degree=2, knots=knots[:, None], extrapolation="constant").fit(values[:, None])
    return lambda new: spline.transform(new[:, None])


def _solve(phi, phi_target, basis, own, ridge) -> np.ndarray:
    """Coefficients c of w = basis @ c."""
    n = len(phi)
    mean = own @ phi / n
    A, b = (phi * own[:, None]).T @ basis / n, phi_target.mean(axis=0)
    root = _whitener(phi, phi_target)
    mass = own @ basis / n
    gram = (basis * own[:, None]).T @ basis / n
    factor = np.linalg.cholesky(gram + 1e-10 * np.trace(gram) * np.eye(len(gram))).T
    # the splines sum to one, so w = 1 is c = 1
    one = np.ones(len(mass))
    system = np.vstack([root @ A, np.sqrt(ridge) * factor, 1e4 * mass])
    goal = np.r_[root @ (A @ one + b - mean), np.sqrt(ridge) * factor @ one, 1e4 * mass.sum()]
    return nnls(system, goal, maxiter=1000 * len(one))[0]


def _whitener(phi: np.ndarray, phi_target: np.ndarray) -> np.ndarray:
    """Matrix under which the difference of the two means has the identity as covariance."""
    V = np.cov(phi.T) / len(phi) + np.cov(phi_target.T) / len(phi_target)
    values, vectors = np.linalg.eigh(V)
    keep = values > 1e-8 * values.max()  # the splines of the prediction sum to one, too
    return (vectors[:, keep] / np.sqrt(values[keep])).T


def _choose(phi, phi_target, basis, own, halves) -> float:
    """Ridge under which the weights of one half bring the moments of the other half closest together."""
    source, target = halves
    loss = np.zeros(len(RIDGES))
    for half in (0, 1):
        s, t = source == half, target == half
        root = _whitener(phi[~s], phi_target[~t])
        for i, ridge in enumerate(RIDGES):
            w = basis @ _solve(phi[s], phi_target[t], basis[s], own[s] / own[s].mean(), ridge)
            w = w[~s] * own[~s]
            apart = root @ (phi_target[~t].mean(axis=0) - w @ phi[~s] / w.sum())
            loss[i] += apart @ apart
    return float(RIDGES[::-1][np.argmin(loss[::-1])])  # of equals the largest
