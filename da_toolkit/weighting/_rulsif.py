"""Density ratio by relative least squares, with leave-one-out in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError

from .._base import as_rows, take_rows
from ._base import BaseRatio
from ._encoder import RowEncoder, pool

BANDWIDTHS = (0.4, 0.6, 0.8, 1.0, 1.5, 2.5)  # times the median distance
PENALTIES = tuple(10.0 ** np.arange(-4, 2.5, 0.5))
SPARSE_COMPONENTS = 50  # sparse rows are reduced to this many components


class RuLSIF(BaseRatio):
    """How much more likely is a row in the target than in a mixture that is mostly source?

    The relative ratio is bounded by 1 / alpha, so that single rows cannot run away with the weight::

        r(x) = p_target(x) / (alpha * p_target(x) + (1 - alpha) * p_source(x))

    It is fitted by least squares as r(x) = max(0, 1 + theta' phi(x)), phi Gaussian bumps around target rows::

        theta = (H + penalty * I)^-1 (1 - alpha) (mean_target phi - mean_source phi)
        H     = alpha * mean_target phi phi' + (1 - alpha) * mean_source phi phi'

    The ridge thus pulls the ratio towards 1, which is "no shift" (the original pulls it towards 0). Bandwidth
    and penalty minimise the leave-one-out objective, which is exact and costs one eigendecomposition per
    bandwidth and side: removing row x from H is a rank-one change.

    Parameters
    ----------
    alpha : float in [0, 1), default 0.1
        0 is uLSIF, the plain ratio p_target / p_source.
    n_centers : int, default 200
        Target rows, drawn at random, that carry a bump.
    bandwidths : sequence of float, optional
        Candidates, in units of the median distance between rows; .4 to 2.5 by default.
    penalties : sequence of float, optional
        Candidates for the ridge; 1e-4 to 100 by default.
    random_state : int, RandomState or None
        Choice of the centers.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Leave-one-out relative ratios of the source rows, scaled to mean 1.
    relative_ratio_ : ndarray of shape (n_source,)
        The same unscaled: r(x), at most about 1 / alpha.
    effective_sample_size_ : float
    bandwidth_, penalty_ : float
        Chosen values; the bandwidth in standardised units.
    objective_ : ndarray of shape (n_bandwidths, n_penalties)
        Leave-one-out values of ``.5 * E_mixture[r^2] - E_target[r]``.

    Notes
    -----
    Frames are encoded, all columns standardised; sparse matrices are reduced to 50 components. Assumes
    overlap, as every ratio; fails in high dimension, where distances all look alike: prefer `ClassifierRatio`
    there. References: Kanamori, Hido, Sugiyama (2009), JMLR 10:1391-1445; Yamada, Suzuki, Kanamori, Hachiya,
    Sugiyama (2013), Neural Computation 25(5):1324-1370.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> RuLSIF(random_state=0).fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.2, 0.8, 2.3])
    """

    def __init__(
        self,
        alpha: float = 0.1,
        n_centers: int = 200,
        bandwidths: Sequence[float] | None = None,
        penalties: Sequence[float] | None = None,
        random_state: Any = None,
    ):
        self.alpha = alpha
        self.n_centers = n_centers
        self.bandwidths = bandwidths
        self.penalties = penalties
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        if not 0 <= self.alpha < 1:
            raise InputError(f"alpha={self.alpha!r}", "0 <= alpha < 1", "Use 0 for uLSIF, 0.1 for RuLSIF.")
        if min(X_source.shape[0], X_target.shape[0]) < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")
        rng = check_random_state(self.random_state)
        rows = pool(X_source, X_target)
        self._reduce = None
        if sparse.issparse(rows) and min(rows.shape) > SPARSE_COMPONENTS:
            self._reduce = TruncatedSVD(SPARSE_COMPONENTS, random_state=rng).fit(rows)
        self._encoder = RowEncoder(self._dense(rows))
        source, target = self._encode(X_source), self._encode(X_target)
        n_target = len(target)
        self.centers_ = target[np.sort(rng.permutation(n_target)[: self.n_centers])]
        sample = take_rows(source, rng.permutation(len(source))[: self.n_centers])
        median = np.median(pairwise_distances(sample, self.centers_))
        distances = [pairwise_distances(rows, self.centers_, metric="sqeuclidean") for rows in (source, target)]

        bandwidths = np.asarray(self.bandwidths or BANDWIDTHS, float) * (median or 1.0)
        penalties = np.asarray(self.penalties or PENALTIES, float)
        self.objective_ = np.empty((len(bandwidths), len(penalties)))
        best = np.inf
        for i, bandwidth in enumerate(bandwidths):
            phi_source, phi_target = (np.exp(-d / (2 * bandwidth**2)) for d in distances)
            on_source, on_target = leave_one_out(phi_source, phi_target, self.alpha, penalties)
            mixture = self.alpha * (on_target**2).mean(0) + (1 - self.alpha) * (on_source**2).mean(0)
            self.objective_[i] = mixture / 2 - on_target.mean(0)
            j = int(np.argmin(self.objective_[i]))
            if self.objective_[i, j] < best:
                best = self.objective_[i, j]
                self.bandwidth_, self.penalty_ = float(bandwidth), float(penalties[j])
                self.relative_ratio_ = on_source[:, j]
                self._theta = solve(phi_source, phi_target, self.alpha, self.penalty_)
        return self.relative_ratio_

    def predict_relative(self, X: Any) -> np.ndarray:
        """Raw relative ratio r(x) of new rows; shape (n_rows,)."""
        check_is_fitted(self)
        return self._predict(as_rows(X, "X"))

    def _predict(self, X: Any) -> np.ndarray:
        squared = pairwise_distances(self._encode(X), self.centers_, metric="sqeuclidean")
        return np.maximum(0, 1 + np.exp(-squared / (2 * self.bandwidth_**2)) @ self._theta)

    def _encode(self, X: Any) -> np.ndarray:
        return self._encoder.linear(self._dense(X))

    def _dense(self, X: Any) -> Any:
        if self._reduce is not None:
            return self._reduce.transform(X)
        return X.toarray() if sparse.issparse(X) else X


def solve(phi_source: np.ndarray, phi_target: np.ndarray, alpha: float, penalty: float) -> np.ndarray:
    """Coefficients theta of the relative ratio ``1 + phi theta``; shape (n_centers,)."""
    H = alpha * phi_target.T @ phi_target / len(phi_target) + (
        (1 - alpha) * phi_source.T @ phi_source / len(phi_source)
    )
    h = (1 - alpha) * (phi_target.mean(0) - phi_source.mean(0))
    return np.linalg.solve(H + penalty * np.eye(len(H)), h)


def leave_one_out(
    phi_source: np.ndarray, phi_target: np.ndarray, alpha: float, penalties: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of every row by the model fitted without it, for every penalty.

    Without source row x the matrix is ``A - c phi phi'`` and the right-hand side ``b + c phi``, with
    c = (1 - alpha) / (n_source - 1) and A, b those of the sums over n_source - 1; by Sherman and Morrison
    its own value is ``1 + (phi' A^-1 b + c q) / (1 - c q)``, q = phi' A^-1 phi. Target rows alike, with
    c = alpha / (n_target - 1) in the matrix and ``b - e phi``, e = (1 - alpha) / (n_target - 1), on the
    right.

    Returns
    -------
    on_source : ndarray of shape (n_source, n_penalties)
    on_target : ndarray of shape (n_target, n_penalties)
    """
    ns, nt = len(phi_source), len(phi_target)
    gram_source, gram_target = phi_source.T @ phi_source, phi_target.T @ phi_target
    sum_source, sum_target = phi_source.sum(0), phi_target.sum(0)

    def own_values(phi, A, b, c, e):
        values, vectors = np.linalg.eigh(A)
        inverse = 1 / (np.maximum(values, 0)[:, None] + penalties)  # (n_centers, n_penalties)
        rotated = phi @ vectors
        q = rotated**2 @ inverse
        fit = rotated @ (inverse * (vectors.T @ b)[:, None])
        return np.maximum(0, 1 + (fit + e * q) / (1 - c * q))

    on_source = own_values(
        phi_source,
        alpha * gram_target / nt + (1 - alpha) * gram_source / (ns - 1),
        (1 - alpha) * (sum_target / nt - sum_source / (ns - 1)),
        (1 - alpha) / (ns - 1),
        (1 - alpha) / (ns - 1),
    )
    on_target = own_values(
        phi_target,
        alpha * gram_target / (nt - 1) + (1 - alpha) * gram_source / ns,
        (1 - alpha) * (sum_target / (nt - 1) - sum_source / ns),
        alpha / (nt - 1),
        -(1 - alpha) / (nt - 1),
    )
    return on_source, on_target
