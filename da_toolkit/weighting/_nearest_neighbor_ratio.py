"""Density ratio by counting neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._parameters import check_counts
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
        "voronoi"     w(x_i) = (cell_i + 1) / (copies_i + n_source / n_target)
                      with cell_i the target rows nearer to x_i than to any other source row, which it shares with the
                      copies_i source rows that are like it (itself among them)

    Equal rows (categories, rounded numbers) count together: all that are like the last of the k neighbours are
    neighbours, too. A source row is no neighbour of itself or of its group. The size k is the one of 5, 10, 20, ... up
    to a quarter of the smaller domain, with the smallest leave-one-out log-loss of "source or target?". The slope,
    between 0 and 1, is that of a logistic regression of the domain on log r, so that the noise of counting is not taken
    for a difference. Neighbours are looked for among at most 20 000 random rows per domain. Voronoi weights are honest
    by construction, as the cells are of the source alone, but noisy: most hold no or one target row. New source rows
    fall into large cells more often: `predict` gives them Voronoi weights of a mean above 1, about 1.2 without a shift.

    Parameters
    ----------
    counting : {"neighbors", "voronoi"}, default "neighbors"
    n_neighbors : int or None, default None
        k of "neighbors", the least number of rows; None chooses.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, Generator, RandomState or None
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
            places, place = _distinct(source)
            self._index = NearestNeighbors(n_neighbors=1).fit(places)
            cell = self._index.kneighbors(target, return_distance=False)[:, 0]
            rows_of_cell = np.bincount(cell, minlength=len(places))
            self._cell_ratio = (rows_of_cell + 1) / (np.bincount(place) + n_source / n_target)
            ratio = self._cell_ratio[place]
        else:
            owners = np.arange(n_source) if groups is None else groups, np.arange(n_target)
            among = [rng.permutation(n)[:AMONG] for n in (n_source, n_target)]
            places, place = _distinct(np.concatenate([source[among[0]], target[among[1]]]))
            self._index = NearestNeighbors().fit(places)
            self._owned = [
                _owned(group[rows], part, (group.max() + 1, len(places)))
                for group, rows, part in zip(owners, among, np.split(place, [len(among[0])]), strict=True)
            ]
            self._rows_at = np.column_stack([owned.sum(axis=0) for owned in self._owned])
            few = [rows[:SELECT_ON] for rows in among]
            self.n_neighbors_, self.slope_ = self._choose(
                (source[few[0]], owners[0][few[0]]), (target[few[1]], owners[1][few[1]])
            )
            ratio = self._smoothed(self._near(source, [self.n_neighbors_], owners[0]))[:, 0]
        return self._clipped(ratio)

    def _predict(self, X: Any) -> np.ndarray:
        rows = self._encode(X)
        if self.counting == "voronoi":
            ratio = self._cell_ratio[self._index.kneighbors(rows, return_distance=False)[:, 0]]
        else:
            ratio = self._smoothed(self._near(rows, [self.n_neighbors_]))[:, 0]
        return np.minimum(ratio, self._largest)

    def _near(self, rows: np.ndarray, sizes: list[int], own: np.ndarray | None = None, domain: int = 0) -> np.ndarray:
        """Source and target rows at the nearest places that hold k rows; shape (n_rows, n_sizes, 2).

        Those of the group `own` of the `domain` do not count.
        """
        owned = self._owned[domain]
        aside = 0 if own is None else np.diff(owned.indptr).max()  # places at which a group has rows
        reach = min(sizes[-1] + aside, len(self._rows_at))
        near = np.empty((len(rows), len(sizes), 2))
        for start in range(0, len(rows), CHUNK):
            block = slice(start, start + CHUNK)
            found = self._index.kneighbors(rows[block], reach, return_distance=False)
            counts = self._rows_at[found]
            if own is not None:
                counts[..., domain] -= owned[own[block, None], found].toarray()
            counts = counts.cumsum(axis=1)
            last = [(counts.sum(axis=2) < k).sum(axis=1) for k in sizes]
            near[block] = np.take_along_axis(counts, np.minimum(last, reach - 1).T[:, :, None], axis=1)
        return near

    def _smoothed(self, near: np.ndarray) -> np.ndarray:
        n_source, n_target = self._rows_at.sum(axis=0)
        return ((n_source + 1) / (n_target + 1) * (near[..., 1] + 1) / (near[..., 0] + 1)) ** self.slope_

    def _choose(self, *sides: tuple[np.ndarray, np.ndarray]) -> tuple[int, float]:
        """Size with the smallest leave-one-out log-loss, both domains counting alike, and slope on top of it."""
        smaller = int(self._rows_at.sum(axis=0).min())
        sizes = [k for k in SIZES if k <= SHARE * smaller] or [min(SIZES[0], smaller)]
        if self.n_neighbors is not None:
            sizes = [self.n_neighbors]
        self.slope_ = 1.0
        # log-ratios of each domain, a column per size
        logs = [np.log(self._smoothed(self._near(rows, sizes, own, d))) for d, (rows, own) in enumerate(sides)]
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
        if self.n_neighbors is None:
            return
        check_counts(self, {"n_neighbors": 1})
        if self.n_neighbors > others:
            raise InputError(f"n_neighbors={self.n_neighbors!r}", f"1 to {others}, or None", "Choose one.")


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, the places, and the place of every row."""
    places, place = np.unique(rows, axis=0, return_inverse=True)
    return places, place.ravel()


def _owned(group: np.ndarray, place: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """How many rows each group has at each place."""
    return sparse.csr_array((np.ones(len(group), int), (group, place)), shape=shape)
