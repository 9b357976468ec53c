"""Density ratio by relative least squares, with leave-one-out in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._parameters import check_choices, check_counts, is_number
from ._base import BaseRatio, group_folds
from ._classifier_ratio import ClassifierRatio
from ._encoder import NumberEncoder, pool

BANDWIDTHS = (0.4, 0.6, 0.8, 1.0, 1.5, 2.5)  # times the median distance
PENALTIES = tuple(10.0 ** np.arange(-4, 2.5, 0.5))
SELECT_ON = 5000  # rows per domain on which bandwidth and penalty are chosen
FOLDS = 5  # of groups
HIGH_DIMENSION = 30  # columns from which on the ratio is learnt along the log-odds of a domain classifier
BLOCK = 10_000  # rows whose bumps are in memory at once


class RuLSIF(BaseRatio):
    """How much more likely is a row in the target than in a mixture that is mostly source?

    The relative ratio is bounded by 1 / alpha, so that single rows cannot run away with the weight::

        r(x) = p_target(x) / (alpha * p_target(x) + (1 - alpha) * p_source(x))

    It is fitted by least squares as r(x) = max(0, 1 + theta' phi(x)), phi Gaussian bumps around target rows::

        theta = (H + penalty * I)^-1 (1 - alpha) (mean_target phi - mean_source phi)
        H     = alpha * mean_target phi phi' + (1 - alpha) * mean_source phi phi'

    The ridge thus pulls the ratio towards 1, which is "no shift" (the original pulls it towards 0). Bandwidth
    and penalty minimise the leave-one-out objective, which is exact and costs one eigendecomposition per
    bandwidth and side: removing row x from H is a rank-one change. With `groups`, source rows are left out in five
    folds of groups instead. They are chosen on at most 5000 random rows per domain; coefficients and weights use all
    rows.

    Distances all look alike in many columns. From 30 columns on (after encoding) x is therefore replaced by the
    cross-fitted log-odds of `ClassifierRatio`: the ratio of the densities of the true log-odds is the ratio of the
    densities of x itself.

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
    random_state : int, Generator, RandomState or None
        Choice of the centers and of the rows for the selection; the classifier in many columns.

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
    Frames are encoded, all columns standardised. Assumes overlap, as every ratio, and a ratio that is as smooth
    everywhere: one bandwidth serves all rows. References: Kanamori, Hido, Sugiyama (2009), JMLR 10:1391-1445;
    Yamada, Suzuki, Kanamori, Hachiya, Sugiyama (2013), Neural Computation 25(5):1324-1370.

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
        self._check(min(X_source.shape[0], X_target.shape[0]))
        rng = check_random_state(self.random_state)
        source, target = self._view(X_source, X_target, groups, rng)
        self.centers_ = target[_some(len(target), self.n_centers, rng)]
        median = np.median(pairwise_distances(source[_some(len(source), self.n_centers, rng)], self.centers_))
        few, few_target = _some(len(source), SELECT_ON, rng), _some(len(target), SELECT_ON, rng)
        folds = None if groups is None else group_folds(groups[few], FOLDS)
        samples = source[few], target[few_target]
        distances = [pairwise_distances(rows, self.centers_, metric="sqeuclidean") for rows in samples]

        bandwidths = np.asarray(BANDWIDTHS if self.bandwidths is None else self.bandwidths, float) * (median or 1.0)
        penalties = np.asarray(PENALTIES if self.penalties is None else self.penalties, float)
        self.objective_ = np.empty((len(bandwidths), len(penalties)))
        for i, bandwidth in enumerate(bandwidths):
            phi_source, phi_target = (np.exp(-d / (2 * bandwidth**2)) for d in distances)
            on_source, on_target = leave_one_out(phi_source, phi_target, self.alpha, penalties, folds)
            mixture = self.alpha * (on_target**2).mean(0) + (1 - self.alpha) * (on_source**2).mean(0)
            self.objective_[i] = mixture / 2 - on_target.mean(0)
        i, j = np.unravel_index(np.argmin(self.objective_), self.objective_.shape)
        self.bandwidth_, self.penalty_ = float(bandwidths[i]), float(penalties[j])

        of_source, of_target = (self._moments(rows) for rows in (source, target))
        self._theta = _theta(of_source, of_target, self.alpha, self.penalty_)
        chosen = np.array([self.penalty_])
        self.relative_ratio_ = np.empty(len(source))
        if groups is None:
            for rows in _blocks(len(source)):
                phi = self._bumps(source[rows])
                self.relative_ratio_[rows] = left_out_source(phi, of_source, of_target, self.alpha, chosen)[:, 0]
            return self.relative_ratio_
        folds = group_folds(groups, FOLDS)
        for k in range(folds.max() + 1):
            out = source[folds == k]
            theta = _theta(of_source - self._moments(out), of_target, self.alpha, self.penalty_)
            self.relative_ratio_[folds == k] = self._ratio(out, theta)
        return self.relative_ratio_

    def _check(self, n: int) -> None:
        if not (is_number(self.alpha) and 0 <= self.alpha < 1):
            raise InputError(f"alpha={self.alpha!r}", "0 <= alpha < 1", "Use 0 for uLSIF, 0.1 for RuLSIF.")
        check_counts(self, {"n_centers": 1})
        check_choices(self, "bandwidths", "penalties")
        if n < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")

    def _view(self, X_source: Any, X_target: Any, groups: Any, rng: np.random.RandomState) -> list[np.ndarray]:
        """Both domains as numbers; in many columns as the log-odds of a classifier."""
        self._numbers, self._classifier = NumberEncoder(pool(X_source, X_target), rng), None
        source, target = self._numbers(X_source), self._numbers(X_target)
        if source.shape[1] < HIGH_DIMENSION:
            return [source, target]
        folds = min(5, len(source), len(target))
        self._classifier = ClassifierRatio(cv=folds, random_state=rng).fit(X_source, X_target, groups=groups)
        log_odds = self._classifier.log_odds_[:, None]
        return [log_odds[: len(source)], log_odds[len(source) :]]

    def _covered(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> float:
        """As the classifier saw it, which has warned itself."""
        return 1.0 if self._classifier is not None else super()._covered(X_source, X_target, groups)

    def _encode(self, X: Any) -> np.ndarray:
        return self._numbers(X) if self._classifier is None else self._classifier.predict_log_odds(X)[:, None]

    def predict_relative(self, X: Any) -> np.ndarray:
        """Raw relative ratio r(x) of new rows; shape (n_rows,)."""
        check_is_fitted(self)
        return self._predict(self._read(X))

    def _predict(self, X: Any) -> np.ndarray:
        return self._ratio(self._encode(X), self._theta)

    def _ratio(self, rows: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return np.concatenate([np.maximum(0, 1 + self._bumps(rows[b]) @ theta) for b in _blocks(len(rows))])

    def _moments(self, rows: np.ndarray) -> Moments:
        return Moments.of(self._bumps(rows[b]) for b in _blocks(len(rows)))

    def _bumps(self, rows: np.ndarray) -> np.ndarray:
        squared = pairwise_distances(rows, self.centers_, metric="sqeuclidean")
        return np.exp(-squared / (2 * self.bandwidth_**2))


def _some(n_rows: int, n: int, rng: np.random.RandomState) -> np.ndarray:
    """Numbers of at most n random rows, in order."""
    return np.sort(rng.permutation(n_rows)[:n])


def _blocks(n_rows: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, max(n_rows, 1), BLOCK))


@dataclass(frozen=True)
class Moments:
    """All that the least-squares problem needs of one domain: rows, sum and Gram matrix of the bumps."""

    n: int
    total: np.ndarray
    gram: np.ndarray

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Moments:
        """Sum over blocks of rows."""
        n, total, gram = 0, 0.0, 0.0
        for phi in blocks:
            n, total, gram = n + len(phi), total + phi.sum(0), gram + phi.T @ phi
        return cls(n, np.asarray(total), np.asarray(gram))

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.n - other.n, self.total - other.total, self.gram - other.gram)


def solve(phi_source: np.ndarray, phi_target: np.ndarray, alpha: float, penalty: float) -> np.ndarray:
    """Coefficients theta of the relative ratio ``1 + phi theta``; shape (n_centers,)."""
    return _theta(Moments.of([phi_source]), Moments.of([phi_target]), alpha, penalty)


def _theta(source: Moments, target: Moments, alpha: float, penalty: float) -> np.ndarray:
    H, h = _system(source, target, alpha)
    return np.linalg.solve(H + penalty * np.eye(len(H)), h)


def _system(source: Moments, target: Moments, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    H = alpha * target.gram / target.n + (1 - alpha) * source.gram / source.n
    return H, (1 - alpha) * (target.total / target.n - source.total / source.n)


def leave_one_out(
    phi_source: np.ndarray,
    phi_target: np.ndarray,
    alpha: float,
    penalties: np.ndarray,
    folds: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of every row by the model fitted without it, for every penalty.

    Without source row x the matrix is ``A - c phi phi'`` and the right-hand side ``b + c phi``, with
    c = (1 - alpha) / (n_source - 1) and A, b those of the sums over n_source - 1; by Sherman and Morrison
    its own value is ``1 + (phi' A^-1 b + c q) / (1 - c q)``, q = phi' A^-1 phi. Target rows alike, with
    c = alpha / (n_target - 1) in the matrix and ``b - e phi``, e = (1 - alpha) / (n_target - 1), on the
    right. Given folds, the source rows are left out by fold.

    Returns
    -------
    on_source : ndarray of shape (n_source, n_penalties)
    on_target : ndarray of shape (n_target, n_penalties)
    """
    source, target = Moments.of([phi_source]), Moments.of([phi_target])
    on_target = _own_values(
        phi_target,
        alpha * target.gram / (target.n - 1) + (1 - alpha) * source.gram / source.n,
        (1 - alpha) * (target.total / (target.n - 1) - source.total / source.n),
        alpha / (target.n - 1),
        -(1 - alpha) / (target.n - 1),
        penalties,
    )
    if folds is None:
        return left_out_source(phi_source, source, target, alpha, penalties), on_target
    on_source = np.empty((len(phi_source), len(penalties)))
    for k in range(folds.max() + 1):
        out = phi_source[folds == k]
        system = _system(source - Moments.of([out]), target, alpha)
        on_source[folds == k] = _own_values(out, *system, 0.0, 0.0, penalties)
    return on_source, on_target


def left_out_source(
    phi: np.ndarray, source: Moments, target: Moments, alpha: float, penalties: np.ndarray
) -> np.ndarray:
    """The same for some of the source rows, given what the sums over all rows are."""
    return _own_values(
        phi,
        alpha * target.gram / target.n + (1 - alpha) * source.gram / (source.n - 1),
        (1 - alpha) * (target.total / target.n - source.total / (source.n - 1)),
        (1 - alpha) / (source.n - 1),
        (1 - alpha) / (source.n - 1),
        penalties,
    )


def _own_values(phi: np.ndarray, A: np.ndarray, b: np.ndarray, c: float, e: float, penalties: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(A)
    inverse = 1 / (np.maximum(values, 0)[:, None] + penalties)  # (n_centers, n_penalties)
    rotated = phi @ vectors
    q = rotated**2 @ inverse
    fit = rotated @ (inverse * (vectors.T @ b)[:, None])
    return np.maximum(0, 1 + (fit + e * q) / (1 - c * q))
