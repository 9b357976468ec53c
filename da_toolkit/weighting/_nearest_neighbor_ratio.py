"""Density ratio by counting neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from shift_detectors._errors import InputError

from ._base import BaseRatio, check_clip
from ._encoder import NumberEncoder, pool

SIZES = (5, 10, 20, 40, 80, 160, 320)  # neighbourhoods that are tried, as far as n allows
SHARE = 0.25  # of the smaller domain: the largest neighbourhood
SELECT_ON = 2000  # rows per domain on which the size is chosen


class NearestNeighborRatio(BaseRatio):
    """How many of a row's neighbours are from the target?

    Two ways of counting, both smoothed after Laplace so that no weight is 0::

        "neighbors"   w(x) = (n_source + 1) / (n_target + 1) * (k_target(x) + 1) / (k_source(x) + 1)
                      with k_target and k_source the domains of the k nearest *other* rows of the pooled sample
        "voronoi"     w(x_i) = target rows nearer to x_i than to any other source row, + 1

    A source row is no neighbour of itself. The cell of a source row is that of the source itself, so Voronoi weights
    are honest by construction, but noisy: most cells hold no or one target row. The size k is the one of 5, 10, 20,
    ... up to a quarter of the smaller domain, with the smallest leave-one-out log-loss of "source or target?".

    Parameters
    ----------
    counting : {"neighbors", "voronoi"}, default "neighbors"
    n_neighbors : int or None, default None
        k of "neighbors"; None chooses.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, RandomState or None
        Of the reduction of sparse matrices, and of the at most 2000 rows per domain on which k is chosen.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, each judged by the other rows, mean 1.
    effective_sample_size_ : float
    n_neighbors_ : int
        Chosen size; 1 for "voronoi".

    Notes
    -----
    Assumes that the ratio hardly changes within a neighbourhood, in standardised columns. It fails in high
    dimension, where neighbours are far: prefer `ClassifierRatio` there. Reference: Loog (2012), Nearest
    neighbor-based importance weighting, IEEE Workshop on Machine Learning for Signal Processing.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> NearestNeighborRatio().fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.4, 0.8, 2.4])
    """

    def __init__(
        self,
        counting: str = "neighbors",
        n_neighbors: int | None = None,
        clip: float | None = None,
        random_state: Any = None,
    ):
        self.counting = counting
        self.n_neighbors = n_neighbors
        self.clip = clip
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        n_source, n_target = X_source.shape[0], X_target.shape[0]
        self._check(n_source, n_target)
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        self._domain = np.r_[np.zeros(n_source, int), np.ones(n_target, int)]
        if self.counting == "voronoi":
            self.n_neighbors_ = 1
            self._index = NearestNeighbors(n_neighbors=1).fit(source)
            cell = self._index.kneighbors(target, return_distance=False)[:, 0]
            self._counts = np.bincount(cell, minlength=n_source) + 1.0
            ratio = self._counts
        else:
            self._rows = np.concatenate([source, target])
            self._index = NearestNeighbors().fit(self._rows)
            self.n_neighbors_ = self.n_neighbors or self._choose(rng)
            ratio = self._smoothed(self._neighbors(np.arange(n_source), self.n_neighbors_).sum(1), self.n_neighbors_)
        self._largest = (np.sqrt(n_source) if self.clip is None else self.clip) * ratio.mean()
        return np.minimum(ratio, self._largest)

    def _predict(self, X: Any) -> np.ndarray:
        found = self._index.kneighbors(self._encode(X), self.n_neighbors_, return_distance=False)
        if self.counting == "voronoi":
            ratio = self._counts[found[:, 0]]
        else:
            ratio = self._smoothed(self._domain[found].sum(1), self.n_neighbors_)
        return np.minimum(ratio, self._largest)

    def _neighbors(self, rows: np.ndarray, k: int) -> np.ndarray:
        """Domains of the k nearest other rows of pooled rows, nearest first; shape (n_rows, k)."""
        found = self._index.kneighbors(self._rows[rows], k + 1, return_distance=False)
        own = found == rows[:, None]
        own[~own.any(axis=1), -1] = True  # more than k copies of the row: any of them may stand for itself
        return self._domain[found[~own].reshape(len(rows), k)]

    def _smoothed(self, from_target: np.ndarray, k: Any) -> np.ndarray:
        n_target = self._domain.sum()
        n_source = len(self._domain) - n_target
        return (n_source + 1) / (n_target + 1) * (from_target + 1) / (k - from_target + 1)

    def _choose(self, rng: np.random.RandomState) -> int:
        """Size with the smallest leave-one-out log-loss, both domains counting alike."""
        sides = [np.flatnonzero(self._domain == domain) for domain in (0, 1)]
        smaller = min(len(side) for side in sides)
        sizes = [k for k in SIZES if k <= SHARE * smaller] or [min(SIZES[0], smaller)]
        loss = np.zeros(len(sizes))
        for side, sign in zip(sides, (1, -1), strict=True):
            rows = rng.permutation(side)[:SELECT_ON]
            found = np.cumsum(self._neighbors(rows, sizes[-1]), axis=1)
            for j, k in enumerate(sizes):
                loss[j] += np.logaddexp(0, sign * np.log(self._smoothed(found[:, k - 1], k))).mean()
        return sizes[int(np.argmin(loss))]

    def _check(self, n_source: int, n_target: int) -> None:
        check_clip(self.clip)
        if self.counting not in ("neighbors", "voronoi"):
            raise InputError(f"counting={self.counting!r}", "'neighbors' or 'voronoi'", "Choose one.")
        if min(n_source, n_target) < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")
        if self.n_neighbors is not None and not 1 <= self.n_neighbors < n_source + n_target:
            raise InputError(
                f"n_neighbors={self.n_neighbors!r}", f"1 to {n_source + n_target - 1}, or None", "Choose one."
            )
