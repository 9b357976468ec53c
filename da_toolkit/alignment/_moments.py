"""Means and covariances of two domains, shrunk towards each other: what CORAL and LinearOT compute on.

Both methods are a formula in (Sigma_s, Sigma_t), and both fail in the same way: with few rows the two
*estimates* differ although the domains do not, and the map chases noise. The usual remedy, shrinking each
covariance towards a multiple of the identity, keeps that difference. Here each is shrunk towards the mean of
both, P = (S_s + S_t) / 2,

    S_k* = (1 - rho) S_k + rho P,       k = s, t,

so that rho = 1 means "no difference" and both maps become the identity. In the coordinates in which P = I the
squared error is smallest, as in Ledoit and Wolf (2004), at

    rho = (sampling variance of S_s + sampling variance of S_t) / ||S_s - S_t||_F^2, at most 1,

which goes to 0 as the samples grow, if the domains do differ. Axes of P beyond 99.9 % of the variance are
left alone: with more columns than rows they are many, all noise, and would decide rho. The difference of the
means is shrunk by the positive part of 1 - noise / signal in units of the pooled standard deviation (James
and Stein, 1961).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._base import BaseAligner, check_shrinkage, column_units, shrunk_mean, varying

RANK = 1e-10  # directions with less than this share of the largest variance are taken as constant
FLOOR = 1e-6  # least shrinkage: bounds the map where one domain alone is constant
SHARE = 0.999  # "auto": part of the variance whose axes are aligned


class Moments(NamedTuple):
    """First two moments of both domains; x is written as mean + scale * (basis coordinates)."""

    mean_source: np.ndarray  # (d,)
    mean_target: np.ndarray  # (d,)
    scale: np.ndarray  # (d,) unit of every column
    basis: np.ndarray  # (d, r) orthonormal: the joint principal space, in which something varies
    cov_source: np.ndarray  # (r, r) in the basis, shrunk
    cov_target: np.ndarray  # (r, r)
    shrinkage: float  # rho


class GaussianAligner(BaseAligner):
    """Maps x to m + M (x - mean_s), with a matrix M that depends on the two covariances only.

    A subclass gives ``_matrix(cov_source, cov_target)``, the formula of its method.

    Parameters
    ----------
    shrinkage : "auto" or float in [0, 1]
        Weight of the pooled covariance in the estimate of either covariance (0: the raw estimates,
        1: only the means are aligned). "auto" estimates the best weight, and shrinks the difference of the
        means as well.
    standardize : "auto" or bool
        Work in units of the pooled standard deviation of every column. "auto": when the largest exceeds
        ten times their lower quartile, as in columns measured in different units. In one common unit the raw
        columns are better, since a rotation stays a rotation.
    """

    mean_source_: np.ndarray
    mean_target_: np.ndarray
    shrinkage_: float

    def __init__(self, shrinkage: str | float = "auto", standardize: str | bool = "auto"):
        self.shrinkage = shrinkage
        self.standardize = standardize

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        moments = shrunk_moments(X_source, X_target, source_mass, target_mass, self.shrinkage, self.standardize)
        self.mean_source_, self.mean_target_ = moments.mean_source, moments.mean_target
        self.shrinkage_ = moments.shrinkage
        matrix = self._matrix(moments.cov_source, moments.cov_target)
        # x - mean -> coordinates in the joint space -> what is added to x
        self._into = moments.basis / moments.scale[:, None]
        self._out = ((matrix - np.eye(len(matrix))) @ moments.basis.T) * moments.scale

    def _matrix(self, cov_source: np.ndarray, cov_target: np.ndarray) -> np.ndarray:
        """M for row vectors, z -> z M."""
        raise NotImplementedError

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        turned = ((X - self.mean_source_) @ self._into) @ self._out
        return X + (self.mean_target_ - self.mean_source_) + turned


def shrunk_moments(
    X_source: np.ndarray,
    X_target: np.ndarray,
    source_mass: np.ndarray,
    target_mass: np.ndarray,
    shrinkage: Any,
    standardize: Any,
) -> Moments:
    """The moments of both domains in their joint principal space; masses sum to 1."""
    auto = check_shrinkage(shrinkage)
    mean_s, mean_t = source_mass @ X_source, target_mass @ X_target
    # rows whose covariance is A'A: the square root of the mass is inside
    A, B = X_source - mean_s, X_target - mean_t
    A *= np.sqrt(source_mass)[:, None]
    B *= np.sqrt(target_mass)[:, None]
    noise_s, noise_t = (source_mass**2).sum(), (target_mass**2).sum()  # 1 / n with equal weights

    var_s, var_t = np.einsum("ij,ij->j", A, A), np.einsum("ij,ij->j", B, B)
    variance = (var_s + var_t) / 2
    varies = varying(variance, mean_s, mean_t)
    if auto:
        mean_t = shrunk_mean(mean_s, mean_t, var_s, var_t, noise_s, noise_t, varies)

    scale = column_units(variance, varies, standardize)
    for rows in (A, B):
        rows /= scale
        rows[:, ~varies] = 0.0
    basis, spread = _joint_space(A, B, SHARE if auto else 1.0)
    A, B = A @ basis, B @ basis
    cov_s, cov_t = A.T @ A, B.T @ B
    rho = _intensity(A / spread, B / spread, noise_s, noise_t) if auto else float(shrinkage)
    weight = max(rho, FLOOR)
    pooled = np.diag(spread**2)
    cov_s, cov_t = ((1 - weight) * cov + weight * pooled for cov in (cov_s, cov_t))
    return Moments(mean_s, mean_t, scale, basis, cov_s, cov_t, rho)


def _joint_space(A: np.ndarray, B: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes of (A'A + B'B) / 2, shape (d, r), and the standard deviations along them, (r,).

    The leading axes that hold `share` of the variance, without those along which nothing varies.
    """
    if A.shape[1] <= len(A) + len(B):
        variances, axes = np.linalg.eigh((A.T @ A + B.T @ B) / 2)
    else:  # more columns than rows: the same axes without a d x d matrix
        _, deviations, rows = np.linalg.svd(np.vstack([A, B]) / np.sqrt(2), full_matrices=False)
        variances, axes = deviations**2, rows.T
    order = np.argsort(-variances, kind="stable")
    variances, axes = variances[order], axes[:, order]
    before = np.cumsum(variances) - variances  # variance along the axes in front of each
    keep = (variances > RANK * variances[:1]) & (before < share * variances.sum())
    return axes[:, keep], np.sqrt(variances[keep])


def _intensity(A: np.ndarray, B: np.ndarray, noise_s: float, noise_t: float) -> float:
    """Best weight of the pooled covariance, from rows in the coordinates in which it is the identity."""
    cov_s, cov_t = A.T @ A, B.T @ B
    fourth_s, fourth_t = ((np.einsum("ij,ij->i", rows, rows) ** 2).sum() for rows in (A, B))
    noise = fourth_s - noise_s * (cov_s**2).sum() + fourth_t - noise_t * (cov_t**2).sum()
    difference = ((cov_s - cov_t) ** 2).sum()
    return float(min(1.0, max(0.0, noise) / difference)) if difference > 0 else 1.0


def power(cov: np.ndarray, exponent: float) -> np.ndarray:
    """Power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.maximum(values, np.finfo(float).tiny) ** exponent) @ vectors.T
