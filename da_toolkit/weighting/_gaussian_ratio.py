"""Density ratio of two Gaussians, somewhere between linear and quadratic discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._linear_map import LinearMap
from .._parameters import is_number
from ._base import BaseRatio, check_clip, group_folds
from ._encoder import NumberEncoder, pool

SHARED = (1.0, 0.9, 0.7, 0.4, 0.0)  # shares of the common covariance: 1 is linear, 0 quadratic
DIAGONAL = (0.001, 0.05, 0.2, 0.6)  # shares of the diagonal
SLOPES = tuple(np.linspace(1, 0, 11))
FOLDS = 5  # of groups
SELECT_ON = 10_000  # rows per side on which the shares are chosen


class GaussianRatio(BaseRatio):
    """How much more likely is a row in the target than in the source, if both are Gaussian?

    The ratio of two Gaussian densities is closed-form::

        log w(x) = slope * (1/2) ( log|S_s| - log|S_t| + (x - m_s)' S_s^-1 (x - m_s) - (x - m_t)' S_t^-1 (x - m_t) )

    Each covariance is shrunk towards the one that both domains share, and that towards its diagonal::

        S_k = (1 - diagonal) M_k + diagonal * diag(Cov_within),    M_k = (1 - shared) Cov_k + shared * Cov_within

    shared = 1 makes log w linear (linear discriminant analysis), 0 quadratic. The two shares and the slope in
    [0, 1] are those with the smallest leave-one-out log-loss of "source or target?", which is exact and needs no
    refit: without row x a covariance changes by rank one. (With `groups`, source rows are left out in five folds of
    groups.) Slope 0, equal weights, is what remains when the two Gaussians cannot tell the domains apart.

    Parameters
    ----------
    shared : float in [0, 1] or None, default None
        Share of the common covariance; None chooses.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, Generator, RandomState or None
        Of the reduction of sparse matrices, and of the rows on which the shares are chosen when there are more
        than 10 000 on a side.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Leave-one-out weights of the source rows, mean 1.
    effective_sample_size_ : float
    shared_, diagonal_, slope_ : float
        Chosen values.

    Notes
    -----
    Assumes that both domains are Gaussian (in the encoded, standardised columns); then no ratio needs fewer rows.
    It fails on several clusters and on heavy tails, where the quadratic extrapolates: prefer `ClassifierRatio`,
    which has the two Gaussians among its learners. References: Shimodaira (2000), J. Stat. Plan. Inference
    90:227-244; Friedman (1989), Regularized discriminant analysis, JASA 84:165-175.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> GaussianRatio().fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.3, 0.8, 2.3])
    """

    def __init__(self, shared: float | None = None, clip: float | None = None, random_state: Any = None):
        self.shared = shared
        self.clip = clip
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        check_clip(self.clip)
        if self.shared is not None and not (is_number(self.shared) and 0 <= self.shared <= 1):
            raise InputError(f"shared={self.shared!r}", "a number from 0 to 1, or None", "Choose one.")
        if min(X_source.shape[0], X_target.shape[0]) < 4:
            raise InputError("fewer than 4 rows on a side", "at least 4", "Collect more rows.")
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        few, few_target = (rng.permutation(len(rows))[:SELECT_ON] for rows in (source, target))
        self.shared_, self.diagonal_, self.slope_ = choose_shares(
            source[few],
            target[few_target],
            SHARED if self.shared is None else (self.shared,),
            None if groups is None else group_folds(groups[few], FOLDS),
        )
        self._gaussians = TwoGaussians(source, target, self.shared_, self.diagonal_)
        if groups is None:
            (logs,) = self._gaussians.left_out(self._gaussians.coordinates(source), 0, [self.diagonal_])
        else:
            parts = without_folds(source, target, group_folds(groups, FOLDS))
            logs = fold_by_fold(parts, source, self.shared_, self.diagonal_)
        return self._clipped(np.exp(self.slope_ * logs))

    def _predict(self, X: Any) -> np.ndarray:
        return np.minimum(np.exp(self.slope_ * self._gaussians.log_ratio(self._encode(X))), self._largest)


class TwoGaussians:
    """The two shrunken Gaussians of `GaussianRatio`.

    They are computed in units in which the diagonal is the identity, and in the space that the rows span: beyond it
    the two densities are the same.

    Parameters
    ----------
    source, target : ndarray of shape (n_rows, n_columns)
    shared, diagonal : float
    """

    def __init__(self, source: np.ndarray, target: np.ndarray, shared: float, diagonal: float):
        self.shared, self.diagonal = shared, diagonal
        self.n = np.array([len(source), len(target)])
        self.origin = source.mean(0)
        within = sum(((rows - rows.mean(0)) ** 2).sum(0) for rows in (source, target)) / (self.n.sum() - 2)
        # columns that never vary get variance 1 and thus no say
        self.unit = np.sqrt(np.where(within > 1e-12, within, 1.0))
        sides = [(rows - self.origin) / self.unit for rows in (source, target)]
        self._map = LinearMap(np.concatenate(sides))
        sides = [self._map(rows) for rows in sides]
        self.means = [rows.mean(0) for rows in sides]
        centred = [rows - mean for rows, mean in zip(sides, self.means, strict=True)]
        self.scatters = [rows.T @ rows for rows in centred]
        self.variances = np.ones(len(self.means[0]))

    def shrunk(self, shared: float, diagonal: float) -> TwoGaussians:
        """Those of the same rows with other shares."""
        other = copy(self)
        other.shared, other.diagonal = shared, diagonal
        return other

    def coordinates(self, X: np.ndarray) -> np.ndarray:
        """Rows in the units and the space of the Gaussians."""
        return self._map((X - self.origin) / self.unit)

    def log_ratio(self, X: np.ndarray) -> np.ndarray:
        """Log p_target(x) - log p_source(x) of new rows."""
        logs, Z = [], self.coordinates(X)
        for mean, covariance in zip(self.means, self._covariances(None), strict=True):
            shrunk = (1 - self.diagonal) * covariance + self.diagonal * np.diag(self.variances)
            scale = np.linalg.cholesky(shrunk)
            white = solve_triangular(scale, (Z - mean).T, lower=True)
            logs.append(-0.5 * (white**2).sum(0) - np.log(np.diag(scale)).sum())
        return np.clip(logs[1] - logs[0], -300, 300)

    def left_out(self, Z: np.ndarray, own: int, diagonals: Sequence[float]) -> np.ndarray:
        """The same of the coordinates of the fitted rows of domain `own`, each by the Gaussians without it.

        Without row x the scatter of its domain is ``W - n / (n - 1) d d'``, d = x - mean, so that both covariances
        become ``S - c d d'``: Sherman and Morrison give the inverse, the determinant lemma the determinant. In the
        axes of M, S is diagonal for every share of the diagonal.

        Returns
        -------
        ndarray of shape (len(diagonals), len(Z))
            A row for each of these shares of the diagonal, in place of that of the Gaussians.
        """
        n, d = self.n[own], Z - self.means[own]
        degrees, b = self._degrees(own), np.asarray(diagonals)[:, None]
        logs = []
        for k, covariance in enumerate(self._covariances(own)):
            c = self.shared / degrees[2] + (k == own) * (1 - self.shared) / degrees[k]
            c = c * (1 - b) * n / (n - 1)
            values, axes = np.linalg.eigh(covariance)
            values = (1 - b) * np.maximum(values, 0) + b
            v = n / (n - 1) * d if k == own else Z - self.means[k]
            turned_d, turned_v = ((rows @ axes).T for rows in (d, v))
            inverse = 1 / values
            remains = np.maximum(1 - c * (inverse @ turned_d**2), 1e-12)
            distance = inverse @ turned_v**2 + c * (inverse @ (turned_v * turned_d)) ** 2 / remains
            logs.append(-0.5 * (distance + np.log(remains) + np.log(values).sum(axis=1, keepdims=True)))
        return np.clip(logs[1] - logs[0], -300, 300)

    def _degrees(self, own: int | None) -> tuple[float, float, float]:
        """Degrees of freedom of the source's, target's and common covariance, with a row of `own` left out."""
        degrees = self.n[0] - 1 - (own == 0), self.n[1] - 1 - (own == 1), self.n.sum() - 2 - (own is not None)
        return max(degrees[0], 1), max(degrees[1], 1), max(degrees[2], 1)

    def _covariances(self, own: int | None) -> list[np.ndarray]:
        """M of both domains, the covariances before their diagonal is added: scatters over the degrees of freedom."""
        *single, common = self._degrees(own)
        within = self.shared * sum(self.scatters) / common
        sides = zip(self.scatters, single, strict=True)
        return [(1 - self.shared) * scatter / degrees + within for scatter, degrees in sides]


def without_folds(source: np.ndarray, target: np.ndarray, folds: np.ndarray) -> list[tuple[np.ndarray, TwoGaussians]]:
    """The source rows of each fold, as a mask, and the Gaussians of the others and the target."""
    masks = [folds == k for k in range(folds.max() + 1)]
    return [(out, TwoGaussians(source[~out], target, 1.0, 1.0)) for out in masks]


def fold_by_fold(
    parts: list[tuple[np.ndarray, TwoGaussians]], source: np.ndarray, shared: float, diagonal: float
) -> np.ndarray:
    """Log-ratio of the source rows, each by the Gaussians without its fold."""
    logs = np.empty(len(source))
    for out, gaussians in parts:
        logs[out] = gaussians.shrunk(shared, diagonal).log_ratio(source[out])
    return logs


def choose_shares(
    source: np.ndarray,
    target: np.ndarray,
    shared: Sequence[float] = SHARED,
    folds: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Shares and slope with the smallest leave-one-out log-loss, both domains counting alike."""
    best, choice = np.inf, (1.0, DIAGONAL[-1], 0.0)
    rows = TwoGaussians(source, target, 1.0, 1.0)
    Z, Z_target = rows.coordinates(source), rows.coordinates(target)
    parts = [] if folds is None else without_folds(source, target, folds)
    for a in shared:
        gaussians = rows.shrunk(a, 1.0)
        if parts:
            of_source = np.array([fold_by_fold(parts, source, a, b) for b in DIAGONAL])
        else:
            of_source = gaussians.left_out(Z, 0, DIAGONAL)
        of_target = gaussians.left_out(Z_target, 1, DIAGONAL)
        for b, on_source, on_target in zip(DIAGONAL, of_source, of_target, strict=True):
            for slope in SLOPES:
                loss = sum(np.log1p(np.exp(slope * logs)).mean() for logs in (on_source, -on_target))
                if loss < best:
                    best, choice = loss, (a, b, float(slope))
    return choice
