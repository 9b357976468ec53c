"""What kernel mean matching and entropy balancing share: weights under which the source has the target's moments.

Both solve, over weights w of the n source rows,

    minimise  1/2 | mean_source(w * phi) - mean_target(phi) |^2  +  lambda * mean_source D(w),   mean w = 1,

and differ in the distance D of w from 1 alone. The dual has one unknown per feature, not one per row,

    minimise over theta  mean_source psi(phi' theta) - mean_target(phi)' theta + lambda/2 |theta|^2,

psi the conjugate of D: convex, solved by Newton's method, and its solution w = psi'(phi' theta) is a function of
x, so that new rows have weights too. The constant is a feature without penalty, which is what keeps mean w = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from sklearn.metrics import pairwise_distances

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._linear_map import LinearMap
from .._parameters import check_choices, check_counts
from ._base import BaseRatio, check_clip
from ._encoder import NumberEncoder, pool

BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)  # times the median distance
PENALTIES = tuple(10.0 ** np.arange(3, -2.1, -0.5))  # per row: lambda is penalty / number of rows
SELECT_ON = 1000  # rows per side on which bandwidth and penalty are chosen
CHUNK = 20_000  # rows of which the kernel is computed at once
TINY = 1e-9


class Link:
    """A distance D(w) of a weight from 1, by its conjugate psi."""

    largest: float

    def conjugate(self, u: np.ndarray) -> np.ndarray:
        """psi(u), the largest w * u - D(w)."""
        raise NotImplementedError

    def weights(self, u: np.ndarray) -> np.ndarray:
        """psi'(u)."""
        raise NotImplementedError

    def slope(self, u: np.ndarray) -> np.ndarray:
        """psi''(u)."""
        raise NotImplementedError

    def loss(self, w_source: np.ndarray, w_target: np.ndarray) -> float:
        """Divergence of w * p_source from p_target, up to a constant, that goes with D; smallest at the ratio."""
        raise NotImplementedError


class KernelFeatures:
    """Constant, columns and Gaussian kernel as explicit features.

    phi(x)' phi(z) = 1 + x'z / d + exp(-|x - z|^2 / (2 bandwidth^2)), the Gaussian in its Nystroem approximation by
    landmark rows. The constant carries the constraint on the mean weight. The linear part holds the means together
    where the Gaussian one fades: in many columns, where all distances look alike, and in the tails.
    It is taken in the space that the rows span: the ridge leaves no coefficient beyond.
    """

    def __init__(self, landmarks: np.ndarray, bandwidth: float, linear: LinearMap):
        self.landmarks, self.bandwidth, self.linear = landmarks, bandwidth, linear
        values, vectors = np.linalg.eigh(self._gaussian(landmarks))
        kept = values > 1e-6 * values[-1]
        self.whitening = vectors[:, kept] / np.sqrt(values[kept])

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Feature matrix of shape (n_rows, n_features), the constant first."""
        linear = self.linear(X)
        first = 1 + linear.shape[1]
        Z = np.empty((len(X), first + self.whitening.shape[1]))
        Z[:, 0] = 1
        Z[:, 1:first] = linear / np.sqrt(X.shape[1])
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            Z[rows, first:] = self._gaussian(X[rows]) @ self.whitening
        return Z

    def _gaussian(self, X: np.ndarray) -> np.ndarray:
        return np.exp(pairwise_distances(X, self.landmarks, metric="sqeuclidean") / (-2 * self.bandwidth**2))


class MatchingRatio(BaseRatio):
    """Base of `KMM` and `EntropyBalancing`: choice of bandwidth and penalty, features, solution."""

    n_landmarks: int
    bandwidths: Sequence[float] | None
    penalties: Sequence[float] | None
    slack: float = 0.0
    random_state: Any

    def _link(self, largest: float) -> Link:
        """The distance from 1, on weights up to `largest`."""
        raise NotImplementedError

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        self._check(min(X_source.shape[0], X_target.shape[0]))
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        orders = [rng.permutation(len(rows)) for rows in (source, target)]
        half = -(-self.n_landmarks // 2)
        landmarks = np.concatenate([source[orders[0][:half]], target[orders[1][:half]]])
        self._choose(
            source[orders[0][:SELECT_ON]],
            target[orders[1][:SELECT_ON]],
            landmarks,
            None if groups is None else groups[orders[0][:SELECT_ON]],
        )
        self._features = KernelFeatures(landmarks, self.bandwidth_, LinearMap(np.concatenate([source, target])))
        self._bounded = self._link(self._most(len(source)))
        Z = self._features(source)
        moments = np.zeros(Z.shape[1])
        for start in range(0, len(target), CHUNK):  # of the target nothing but its mean is needed
            moments += self._features(target[start : start + CHUNK]).sum(axis=0) / len(target)
        strength = per_row(self.penalty_, len(source), len(target))
        self._theta = match(Z, moments, strength, self._bounded, self.slack)
        return self._bounded.weights(Z @ self._theta)

    def _predict(self, X: Any) -> np.ndarray:
        return self._bounded.weights(self._features(self._encode(X)) @ self._theta)

    def _choose(self, source: np.ndarray, target: np.ndarray, landmarks: np.ndarray, groups) -> None:
        """Set ``bandwidth_`` and ``penalty_`` to those with the smallest leave-one-out loss."""
        median = np.median(pairwise_distances(source, landmarks)) or 1.0
        bandwidths = np.asarray(BANDWIDTHS if self.bandwidths is None else self.bandwidths, float) * median
        penalties = np.sort(np.asarray(PENALTIES if self.penalties is None else self.penalties, float))[::-1]
        link, linear = self._link(self._most(len(source))), LinearMap(np.concatenate([source, target]))
        self.objective_ = np.full((len(bandwidths), len(penalties)), np.inf)
        for i, bandwidth in enumerate(bandwidths):
            features = KernelFeatures(landmarks, bandwidth, linear)
            Z, Z_target = features(source), features(target)
            theta = None
            for j, penalty in enumerate(penalties):
                strength = per_row(penalty, len(source), len(target))
                theta = match(Z, Z_target.mean(0), strength, link, self.slack, theta)
                left_out = leave_one_out(Z, Z_target, theta, strength, link, self.slack, groups)
                self.objective_[i, j] = link.loss(*(link.weights(u) for u in left_out))
                if j > 1 and self.objective_[i, j] > self.objective_[i, j - 1] > self.objective_[i, j - 2]:
                    break  # past the minimum, and the weaker the penalty the dearer
        i, j = np.unravel_index(np.argmin(self.objective_), self.objective_.shape)
        self.bandwidth_, self.penalty_ = float(bandwidths[i]), float(penalties[j])

    def _check(self, n: int) -> None:
        check_clip(self.clip)
        check_counts(self, {"n_landmarks": 2})
        check_choices(self, "bandwidths", "penalties")
        if n < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")


def per_row(penalty: float, n_source: int, n_target: int) -> float:
    """lambda: the noise of the two means, which the penalty answers, falls like 1/n_source + 1/n_target."""
    return penalty * (1 / n_source + 1 / n_target) / 2


def match(
    Z: np.ndarray,
    moments: np.ndarray,
    strength: float,
    link: Link,
    slack: float = 0.0,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Coefficients theta of the features, of which the first is constant; shape (n_features,).

    With slack the mean weight may lie anywhere in [1 - slack, 1 + slack]: the constant is left out, and enters
    only when the mean comes to lie outside, which it then keeps at the nearer end.
    """
    if slack:
        theta = np.r_[0, _newton(Z[:, 1:], moments[1:], strength, link, None if start is None else start[1:], False)]
        mean = link.weights(Z @ theta).mean()
        if abs(mean - 1) <= slack:
            return theta
        moments = np.r_[np.clip(mean, 1 - slack, 1 + slack), moments[1:]]
    return _newton(Z, moments, strength, link, start, True)


def _newton(Z, moments, strength, link, start, constant) -> np.ndarray:
    """Damped Newton steps on the dual; the first column is the unpenalised constant if `constant`."""
    theta = np.zeros(Z.shape[1]) if start is None else start
    ridge = np.full(len(theta), strength)
    ridge[0] = TINY if constant else strength

    def objective(theta):
        u = Z @ theta
        return link.conjugate(u).mean() - moments @ theta + (ridge * theta) @ theta / 2, u

    value, u = objective(theta)
    for _ in range(100):
        gradient = Z.T @ link.weights(u) / len(Z) - moments + ridge * theta
        step = -cho_solve(cho_factor(_hessian(Z, u, ridge, link)), gradient)
        decrease = -gradient @ step
        if decrease < 1e-10:
            break
        size = 1.0
        while size > 1e-6:
            new_value, new_u = objective(theta + size * step)
            if new_value <= value - 1e-4 * size * decrease:
                break
            size /= 2
        else:
            break  # no progress in double precision
        theta, value, u = theta + size * step, new_value, new_u
    return theta


def _hessian(Z, u, ridge, link) -> np.ndarray:
    slope = link.slope(u)
    active = slope > 0
    rows = Z[active]
    H = (rows * slope[active, None]).T @ rows / len(Z)
    H[np.diag_indices(len(H))] += ridge
    return H


def leave_one_out(
    Z: np.ndarray,
    Z_target: np.ndarray,
    theta: np.ndarray,
    strength: float,
    link: Link,
    slack: float = 0.0,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Value phi' theta of every row by the solution without it, to first order (one Newton step).

    Without source row x the gradient loses ``w phi / n`` and the Hessian H loses ``psi'' phi phi' / n``, so
    phi' theta moves by ``h w / (1 - h psi'')``, h = phi' H^-1 phi / n; rows of one group leave together. Without
    target row z the moments lose ``(phi - mean) / (n_target - 1)``.

    Returns
    -------
    on_source : ndarray of shape (n_source,)
    on_target : ndarray of shape (n_target,)
    """
    ridge = np.full(Z.shape[1], strength)
    held = slack and theta[0] == 0  # the constant, while the mean is within its slack
    ridge[0] = 1 / TINY if held else TINY
    u, moments = Z @ theta, Z_target.mean(axis=0)
    lower = np.linalg.cholesky(_hessian(Z, u, ridge, link))
    A = solve_triangular(lower, Z.T, lower=True)  # of source row i the h is |A_i|^2 / n
    w, slope = link.weights(u) / len(Z), link.slope(u) / len(Z)
    if groups is None:
        h = (A**2).sum(axis=0)
        on_source = u + h * w / (1 - h * slope)
    else:
        on_source = u.copy()
        codes = np.unique(groups, return_inverse=True)[1]
        for rows in np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1]):
            h = A[:, rows].T @ A[:, rows]
            on_source[rows] += np.linalg.solve(np.eye(len(rows)) - h * slope[rows], h @ w[rows])
    T = solve_triangular(lower, Z_target.T, lower=True)
    centre = solve_triangular(lower, moments, lower=True)
    on_target = Z_target @ theta - (T * (T - centre[:, None])).sum(axis=0) / (len(Z_target) - 1)
    return on_source, on_target
