"""Density ratio by counting neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from shift_detectors._errors import InputError

from ._base import BaseRatio, check_clip
from ._classifier_ratio import stack
from ._encoder import NumberEncoder, pool

SIZES = (5, 10, 20, 40, 80, 160, 320)  # neighbourhoods that are tried, as far as n allows
SHARE = 0.25  # of the smaller domain: the largest neighbourhood
AMONG = 20_000  # rows per domain among which neighbours are looked for
SELECT_ON = 2000  # rows per domain on which size and slope are chosen
CHUNK = 5000  # rows whose neighbours are in memory at once


class NearestNeighborRatio(BaseRatio):
    """How many of a row's neighbours are from the target?

    Two ways of counting, both smoothed after Laplace so that no weight is 0::

        "neighbors"   r(x) = (n_source + 1) / (n_target + 1) * (k_target(x) + 1) / (k_source(x) + 1),  w(x) = r(x)^slope
                      with k_target and k_source the domains of the k nearest *other* rows of the pooled sample
        "voronoi"     w(x_i) = target rows nearer to x_i than to any other source row, + 1

    A source row is no neighbour of itself or of its group. The size k is the one of 5, 10, 20, ... up to a quarter of
    the smaller domain, with the smallest leave-one-out log-loss of "source or target?". The slope, between 0 and 1, is
    that of a logistic regression of the domain on log r, so that the noise of counting is not taken for a difference.
    Neighbours are looked for among at most 20 000 random rows per domain. Voronoi weights are honest by construction,
    as the cells are of the source alone, but noisy: most hold no or one target row.

    Parameters
    ----------
    counting : {"neighbors", "voronoi"}, default "neighbors"
    n_neighbors : int or None, default None
        k of "neighbors"; None chooses.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, RandomState or None
        Of the reduction of sparse matrices, of the rows that may be neighbours, and of the at most 2000 rows per
        domain on which k and the slope are chosen.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Weights of the source rows, each judged by the other rows, mean 1.
    effective_sample_size_ : float
    n_neighbors_ : int
        Chosen size; 1 for "voronoi".
    slope_ : float
        Exponent of the counted ratio; 1 for "voronoi".

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
        self._check(n_source, n_target, groups)
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        if self.counting == "voronoi":
            self.n_neighbors_, self.slope_ = 1, 1.0
            self._index = NearestNeighbors(n_neighbors=1).fit(source)
            cell = self._index.kneighbors(target, return_distance=False)[:, 0]
            self._counts = np.bincount(cell, minlength=n_source) + 1.0
            ratio = self._counts
        else:
            own = np.arange(n_source) if groups is None else groups
            among = [rng.permutation(len(rows))[:AMONG] for rows in (source, target)]
            self._index = NearestNeighbors().fit(np.concatenate([source[among[0]], target[among[1]]]))
            self._domain = np.repeat([0, 1], [len(rows) for rows in among])
            self._group = np.r_[own[among[0]], own.max() + 1 + among[1]]
            few = among[0][:SELECT_ON], among[1][:SELECT_ON]
            self.n_neighbors_, self.slope_ = self._choose(
                (source[few[0]], own[few[0]]), (target[few[1]], own.max() + 1 + few[1])
            )
            ratio = self._smoothed(self._others(source, own, self.n_neighbors_).sum(axis=1), self.n_neighbors_)
        self._largest = (np.sqrt(n_source) if self.clip is None else self.clip) * ratio.mean()
        return np.minimum(ratio, self._largest)

    def _predict(self, X: Any) -> np.ndarray:
        found = self._index.kneighbors(self._encode(X), self.n_neighbors_, return_distance=False)
        if self.counting == "voronoi":
            ratio = self._counts[found[:, 0]]
        else:
            ratio = self._smoothed(self._domain[found].sum(axis=1), self.n_neighbors_)
        return np.minimum(ratio, self._largest)

    def _others(self, rows: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
        """Domains of the k nearest rows that are of another group than `own`; shape (n_rows, k), nearest first."""
        reach = min(k + np.bincount(self._group).max(), len(self._group))  # so many hold k rows of other groups
        domains = np.empty((len(rows), k), np.int8)
        for start in range(0, len(rows), CHUNK):
            block = slice(start, start + CHUNK)
            found = self._index.kneighbors(rows[block], reach, return_distance=False)
            others_first = np.argsort(self._group[found] == own[block, None], axis=1, kind="stable")[:, :k]
            domains[block] = self._domain[np.take_along_axis(found, others_first, axis=1)]
        return domains

    def _smoothed(self, from_target: np.ndarray, k: Any) -> np.ndarray:
        n_target = self._domain.sum()
        n_source = len(self._domain) - n_target
        return ((n_source + 1) / (n_target + 1) * (from_target + 1) / (k - from_target + 1)) ** self.slope_

    def _choose(self, *sides: tuple[np.ndarray, np.ndarray]) -> tuple[int, float]:
        """Size with the smallest leave-one-out log-loss, both domains counting alike, and slope on top of it."""
        smaller = min(np.bincount(self._domain))
        sizes = [k for k in SIZES if k <= SHARE * smaller] or [min(SIZES[0], smaller)]
        if self.n_neighbors is not None:
            sizes = [self.n_neighbors]
        self.slope_ = 1.0
        logs = []  # log-ratios of each domain, a column per size
        for rows, own in sides:
            counts = np.cumsum(self._others(rows, own, sizes[-1]), axis=1)
            logs.append(np.log(np.column_stack([self._smoothed(counts[:, k - 1], k) for k in sizes])))
        loss = np.logaddexp(0, logs[0]).mean(axis=0) + np.logaddexp(0, -logs[1]).mean(axis=0)
        best = int(np.argmin(loss))
        domain = np.repeat([0.0, 1.0], [len(side) for side in logs])
        coef, _, _ = stack(np.concatenate(logs)[:, [best]], domain, "logistic")
        return sizes[best], min(float(coef[0]), 1.0)

    def _check(self, n_source: int, n_target: int, groups: np.ndarray | None) -> None:
        check_clip(self.clip)
        if self.counting not in ("neighbors", "voronoi"):
            raise InputError(f"counting={self.counting!r}", "'neighbors' or 'voronoi'", "Choose one.")
        if min(n_source, n_target) < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")
        others = min(n_source, AMONG) + min(n_target, AMONG) - (1 if groups is None else np.bincount(groups).max())
        if self.n_neighbors is not None and not 1 <= self.n_neighbors <= others:
            raise InputError(f"n_neighbors={self.n_neighbors!r}", f"1 to {others}, or None", "Choose one.")
