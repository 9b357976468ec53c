"""Calibration of predicted class probabilities on held-out rows, with the influence of every row on it.

Question: what probability should stand where the classifier says p?
Formula: g(p) = softmax(a * log p + b). Bias-corrected temperature scaling ("bcts") shares one scale
a = 1/T among the classes and gives each class a bias b_k; vector scaling ("vector") also gives each class
its own scale. Both minimise the negative log-likelihood of held-out labels, which is convex in (a, b), plus
ridge / (2n) * (|a - 1|^2 + |b|^2): a perfectly separated or tiny held-out set stays near the identity.
Assumption: the rows were not used to fit the classifier.
Fails when: the miscalibration is not monotone in log p, or a class has almost no held-out row.
Reference: Guo, Pleiss, Sun, Weinberger (ICML 2017); Alexandari, Kundaje, Shrikumar (ICML 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ._errors import InputError

KINDS = ("bcts", "vector", None)
RIDGE = 0.1  # pull towards the identity, in held-out rows: more would bias rare classes
SMALLEST = 1e-12  # no probability counts as less


@dataclass(frozen=True)
class Calibration:
    """A fitted map from predicted to calibrated class probabilities, softmax(scale * log p + bias).

    Attributes
    ----------
    kind : str or None
        ``"bcts"``, ``"vector"`` or None (the identity).
    scale, bias : ndarray of shape (n_classes,)
    floor : float
        Smaller probabilities are raised to it before the logarithm.
    """

    kind: str | None
    scale: np.ndarray
    bias: np.ndarray
    floor: float

    def log(self, proba: np.ndarray) -> np.ndarray:
        """Logarithm of the clipped, renormalised probabilities, shape (n, n_classes)."""
        clipped = np.maximum(proba, self.floor)
        return np.log(clipped / clipped.sum(axis=1, keepdims=True))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, shape (n, n_classes)."""
        return softmax(self.scale * self.log(np.asarray(proba, float)) + self.bias, axis=1)

    def widened(self, columns: np.ndarray, n_classes: int) -> Calibration:
        """The same for more classes, of which it was fitted on those in `columns`; the others keep their odds."""
        scale, bias = np.ones(n_classes), np.zeros(n_classes)
        scale[columns], bias[columns] = self.scale, self.bias
        return Calibration(self.kind, scale, bias, self.floor)

    def influence(self, proba: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """How each held-out row moved (scale, bias): estimate - truth is about the mean of these rows.

        Parameters
        ----------
        proba : ndarray of shape (n, n_classes)
        y : ndarray of int, shape (n,)
            Column of the true class.
        weight : ndarray of shape (n,)
            Mean 1.

        Returns
        -------
        ndarray of shape (n, 2 * n_classes)
            Row weights included; zero for the identity.
        """
        log_p, g = self.log(proba), self(proba)
        n, k = g.shape
        tie = _tie(self.kind, k)
        residual = g.copy()
        residual[np.arange(n), y] -= 1
        gradient = np.hstack([residual * log_p, residual]) @ tie
        moved = np.hstack([g * log_p, g])
        weighted = weight[:, None] * moved
        cross = np.diag((weighted[:, :k]).mean(axis=0))
        diagonal = np.block(
            [
                [np.diag((weighted[:, :k] * log_p).mean(axis=0)), cross],
                [cross, np.diag(weighted[:, k:].mean(axis=0))],
            ]
        )
        hessian = tie.T @ (diagonal - weighted.T @ moved / n) @ tie + RIDGE / n * np.eye(tie.shape[1])
        inverse = np.linalg.inv(hessian)
        # leverage, as in the jackknife: a row pulled the fit towards itself and hides a part of its residual
        spread = tie @ inverse @ tie.T
        own = np.diag(spread)[:k] * log_p**2 + 2 * np.diag(spread[:k, k:]) * log_p + np.diag(spread)[k:]
        leverage = weight / n * ((g * own).sum(axis=1) - (moved @ spread * moved).sum(axis=1))
        return -(weight / (1 - np.minimum(leverage, 0.5)))[:, None] * (gradient @ inverse @ tie.T)


def fit_calibration(
    proba: Any, y: np.ndarray, *, kind: str | None = "bcts", weight: np.ndarray | None = None
) -> Calibration:
    """Fit a calibration map on held-out predictions.

    Parameters
    ----------
    proba : ndarray of shape (n, n_classes)
        Predicted probabilities of held-out rows; zeros and ones are allowed.
    y : ndarray of int, shape (n,)
        Column of the true class.
    kind : {"bcts", "vector", None}
    weight : ndarray of shape (n,), optional

    Returns
    -------
    Calibration

    Examples
    --------
    An overconfident classifier: it says .99 and is right in three of four cases.

    >>> proba = np.tile([[0.99, 0.01], [0.01, 0.99]], (200, 1))
    >>> y = np.tile([0, 1, 0, 1, 0, 1, 1, 0], 50)
    >>> fit_calibration(proba, y)(proba[:2]).round(2)
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    if kind not in KINDS:
        raise InputError(f"calibration={kind!r}", "'bcts', 'vector' or None")
    proba = np.asarray(proba, float)
    n, k = proba.shape
    w = np.ones(n) if weight is None else weight / weight.mean()
    # a zero means "below the resolution of the classifier": half of the smallest number it did say
    floor = SMALLEST
    if (proba == 0).any():
        floor = float(np.clip(proba[proba > 0].min() / 2, SMALLEST, 1e-3))
    identity = Calibration(None, np.ones(k), np.zeros(k), floor)
    if kind is None:
        return identity
    log_p, tie = identity.log(proba), _tie(kind, k)
    start = np.r_[np.ones(tie.shape[1] - k), np.zeros(k)]
    rows = np.arange(n)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.split(tie @ theta, 2)
        log_g = log_softmax(scale * log_p + bias, axis=1)
        residual = np.exp(log_g)
        residual[rows, y] -= 1
        residual *= w[:, None]
        gradient = np.r_[(residual * log_p).mean(axis=0), residual.mean(axis=0)] @ tie
        pull = theta - start
        value = -(w * log_g[rows, y]).mean() + RIDGE / (2 * n) * pull @ pull
        return value, gradient + RIDGE / n * pull

    # a positive scale: calibration never turns the order of the classes round
    bounds = [(1e-3, None)] * (tie.shape[1] - k) + [(None, None)] * k
    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8}
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    scale, bias = np.split(tie @ theta, 2)
    return Calibration(kind, scale, bias, floor)


def _tie(kind: str | None, k: int) -> np.ndarray:
    """Matrix from free parameters to (scale, bias), shape (2k, n_free)."""
    if kind is None:
        return np.zeros((2 * k, 0))
    scales = np.eye(k) if kind == "vector" else np.ones((k, 1))
    return np.block([[scales, np.zeros((k, k))], [np.zeros((k, scales.shape[1])), np.eye(k)]])
