"""KLIEP: the ratio that makes the target likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._linear_map import LinearMap
from .._parameters import check_choices, check_counts
from ._base import BaseRatio, check_clip, group_folds
from ._encoder import NumberEncoder, pool

BANDWIDTHS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, np.inf)  # times the median distance; infinite: equal weights
COMPONENTS = (1, 2, 4)  # directions tried, besides all columns when they are few
ALL_UP_TO = 10  # columns up to which all of them are tried: bumps need neighbours
ROWS_PER_COMPONENT = 5  # rows of the smaller domain for every principal component that is searched
SELECT_ON = 1000  # rows per side on which bandwidth and directions are chosen
CHUNK = 20_000  # rows of which the bumps are computed at once


class KLIEP(BaseRatio):
    """Under which ratio is the target likeliest, if it is the source reweighted?

    The ratio is a mixture of a constant and of Gaussian bumps phi_j around target rows::

        maximise over theta >= 0   mean_target log w,   w(x) = theta' phi(x),   mean_source w = 1

    which minimises the Kullback-Leibler divergence of the target from the reweighted source. With
    ``u_j = theta_j mean_source(phi_j)`` and ``psi_j = phi_j / mean_source(phi_j)`` it is the estimation of mixture
    proportions: u lies on the simplex, w = u' psi, and every step

        u_j  <-  mean_target( u_j psi_j / u' psi )

    makes the target likelier (EM; there is no step size), sped up by squared extrapolation. The bandwidth maximises
    the likelihood of rows left out (five folds); the infinite one, equal weights, is a candidate, and stays unless the
    gain over it exceeds its standard error.

    Bumps fail in many columns, where all distances look alike. But the ratio is a function of those directions
    alone along which the domains differ: their difference in mean and in covariance (directional regression of the
    domain on the whitened rows). Their number, 1, 2, 4 or, up to 10 columns, all columns as they are, is chosen with
    the bandwidth; in each fold the directions are found anew, so that no noise passes for a difference.

    Parameters
    ----------
    n_centers : int, default 100
        Target rows, drawn at random, that carry a bump.
    n_components : int or None, default None
        Number of directions; None chooses.
    bandwidths : sequence of float, optional
        Candidates, in units of the median distance between rows; .1 to 2 and infinity by default.
    cv : int, default 5
        Folds; no more than there are groups.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, Generator, RandomState or None
        Centers, folds, rows for the choice, reduction of sparse matrices.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Mean 1.
    effective_sample_size_ : float
    bandwidth_ : float
        Chosen value, in units of the whitened directions; infinite when no shift was found.
    n_components_ : int
        Chosen number of directions.
    objective_ : ndarray of shape (n_numbers_of_directions, n_bandwidths)
        ``mean_target(log w) - mean_source(w) + 1`` of the rows left out; 0 for equal weights.

    Notes
    -----
    `weights_` are those of the model fitted to all rows: a source row enters it only through means over the source
    (and through the directions), so that leaving it out changes its own weight little. The choice rests on rows left
    out; it is made on at most 1000 rows per side.

    Assumes that the source has rows wherever the target has. The likelihood hardly notices source rows far from the
    target, and where the source is thin, single rows get large weights: hence the clipping. Frames are encoded,
    columns standardised, sparse matrices reduced to 50 components. References: Sugiyama, Nakajima, Kashima, von
    Bünau, Kawanabe (2008), NIPS 20; Varadhan and Roland (2008), Scand. J. Statistics 35:335-353; Li and Wang (2007),
    On directional regression for dimension reduction, JASA 102:997-1008; Sugiyama et al. (2011), Direct density-
    ratio estimation with dimensionality reduction, Neural Networks 24:183-198.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> KLIEP(random_state=0).fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.3, 0.7, 2.6])
    """

    def __init__(
        self,
        n_centers: int = 100,
        n_components: int | None = None,
        bandwidths: Sequence[float] | None = None,
        cv: int = 5,
        clip: float | None = None,
        random_state: Any = None,
    ):
        self.n_centers = n_centers
        self.n_components = n_components
        self.bandwidths = bandwidths
        self.cv = cv
        self.clip = clip
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        self._check(min(X_source.shape[0], X_target.shape[0]))
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        orders = [rng.permutation(len(rows)) for rows in (source, target)]
        kept = orders[0][:SELECT_ON]
        self._choose(source[kept], target[orders[1][:SELECT_ON]], None if groups is None else groups[kept])
        self._projection = projection(source, target, self.n_components_)
        projected, projected_target = source @ self._projection, target @ self._projection
        self.centers_ = projected_target[orders[1][: self.n_centers]]
        self.bandwidth_ = self._multiple * median_distance(projected[orders[0]], self.centers_)
        self._theta = kliep(*(bumps(rows, self.centers_, self.bandwidth_) for rows in (projected, projected_target)))
        raw = bumps(projected, self.centers_, self.bandwidth_) @ self._theta
        return self._clipped(raw)

    def _predict(self, X: Any) -> np.ndarray:
        phi = bumps(self._encode(X) @ self._projection, self.centers_, self.bandwidth_)
        return np.minimum(phi @ self._theta, self._largest)

    def _choose(self, source: np.ndarray, target: np.ndarray, groups: np.ndarray | None) -> None:
        """Set ``n_components_`` and the multiple of the median distance that serve rows left out best."""
        d = source.shape[1]
        numbers = [k for k in COMPONENTS if k < d] + [d] * (d <= ALL_UP_TO)
        if self.n_components is not None:
            numbers = [min(self.n_components, d)]
        multiples = np.asarray(BANDWIDTHS if self.bandwidths is None else self.bandwidths, float)
        clip = self._most(len(source))
        gain = np.empty((len(numbers), len(multiples), len(source)))
        gain_target = np.empty((len(numbers), len(multiples), len(target)))
        for out, out_target in self._folds(len(source), len(target), groups):
            for i, k in enumerate(numbers):
                directions = projection(source[~out], target[~out_target], k)
                rows = [X @ directions for X in (source[~out], target[~out_target], source[out], target[out_target])]
                centers = rows[1][: self.n_centers]
                median = median_distance(rows[0], centers)
                for j, multiple in enumerate(multiples):
                    phi, phi_target, *left_out = (bumps(X, centers, multiple * median) for X in rows)
                    theta = kliep(phi, phi_target)
                    w, w_target = (np.clip(p @ theta, 1e-300, clip) for p in left_out)
                    gain[i, j, out], gain_target[i, j, out_target] = 1 - w, np.log(w_target)
        self.objective_ = gain.mean(axis=2) + gain_target.mean(axis=2)
        i, j = np.unravel_index(np.argmax(self.objective_), self.objective_.shape)
        deviations = gain[i, j] - gain[i, j].mean()
        if groups is not None:  # rows of a group are one observation
            deviations = np.bincount(np.unique(groups, return_inverse=True)[1], deviations)
        noise = np.sqrt(np.sum(deviations**2) / len(source) ** 2 + gain_target[i, j].var() / len(target))
        if np.inf in multiples and self.objective_[i, j] <= noise:
            j = np.argmax(multiples)
        self.n_components_, self._multiple = numbers[i], multiples[j]

    def _folds(self, n_source: int, n_target: int, groups: np.ndarray | None):
        """Masks of the source and target rows left out together; the rows are in random order already."""
        fold = np.arange(n_source) % self.cv if groups is None else group_folds(groups, self.cv)
        cv = fold.max() + 1
        return [(fold == k, np.arange(n_target) % cv == k) for k in range(cv)]

    def _check(self, n: int) -> None:
        check_clip(self.clip)
        given = [name for name in ("n_centers", "n_components") if getattr(self, name) is not None]
        check_counts(self, {"cv": 2} | dict.fromkeys(given, 1))
        check_choices(self, "bandwidths")
        if self.cv > n // 2:
            raise InputError(
                f"cv={self.cv} folds for {n} rows in the smaller domain",
                "at least 2 folds, and two rows of each domain in every fold",
                "Lower cv or collect rows.",
            )


def bumps(X: np.ndarray, centers: np.ndarray, bandwidth: float) -> np.ndarray:
    """The constant and a Gaussian bump around each center; shape (n_rows, 1 + n_centers)."""
    phi = np.ones((len(X), 1 + len(centers)))
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        squared = pairwise_distances(X[rows], centers, metric="sqeuclidean")
        phi[rows, 1:] = np.exp(squared / (-2 * bandwidth**2))
    return phi


def median_distance(X: np.ndarray, centers: np.ndarray) -> float:
    """Median distance of the first rows from the centers, 1 if it is 0."""
    return float(np.median(pairwise_distances(X[:SELECT_ON], centers))) or 1.0


def kliep(phi: np.ndarray, phi_target: np.ndarray) -> np.ndarray:
    """Coefficients theta >= 0 with mean_source(theta' phi) = 1 that make the target likeliest."""
    # a bump where the source has no row at all would take infinite weight: such centers cannot be reached
    means = phi.mean(axis=0)
    reached = means > 1e-6
    theta = np.zeros(len(means))
    theta[reached] = proportions(phi_target[:, reached] / means[reached]) / means[reached]
    return theta


def proportions(psi: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Mixture proportions u that maximise ``mean log(psi u)``; shape (n_components,).

    EM steps with squared extrapolation (SQUAREM): of two successive steps, the line through them is followed as
    far as their ratio tells, and only when that makes the likelihood larger than the steps did.
    """

    def step(u):
        density = psi @ u
        return u * (psi.T @ (1 / density)) / len(psi), np.log(density).mean()

    u = np.full(psi.shape[1], 1 / psi.shape[1])
    reached = -np.inf
    for _ in range(500):
        once, _ = step(u)
        twice, likelihood = step(once)
        first, second = once - u, twice - 2 * once + u
        length = max(1.0, np.sqrt(first @ first / max(second @ second, 1e-300)))
        # inside the simplex: a proportion that is 0 once remains so
        ahead = np.maximum(u + 2 * length * first + length**2 * second, 1e-3 * twice)
        landed, ahead_likelihood = step(ahead / ahead.sum())
        u = landed if ahead_likelihood >= likelihood else twice
        likelihood = max(likelihood, ahead_likelihood)
        if likelihood - reached < tolerance:
            break
        reached = likelihood
    return u / u.sum()


def projection(source: np.ndarray, target: np.ndarray, k: int) -> np.ndarray:
    """The k directions along which the domains differ most; shape (n_columns, k). All columns: as they are.

    The principal components of the rows within the domains, as many as the rows carry, are whitened; on them, with D
    the difference of the means and C that of the covariances, the directions are the first eigenvectors of
    ``D D' + C C / 4``.
    """
    d = source.shape[1]
    if k >= d:
        return np.eye(d)
    n = min(len(source), len(target))
    centred = np.concatenate([source - source.mean(axis=0), target - target.mean(axis=0)])
    linear = LinearMap(centred)
    coordinates = linear(centred)
    values, vectors = np.linalg.eigh(coordinates.T @ coordinates / len(centred))
    usable = values > 1e-8 * max(values[-1], 1e-8)
    usable[: max(0, len(values) - max(k, n // ROWS_PER_COMPONENT))] = False
    if not usable.any():  # nothing varies
        return np.eye(d)[:, :k]
    whitening = linear.back((vectors[:, usable] / np.sqrt(values[usable])).T).T
    means = (target.mean(axis=0) - source.mean(axis=0)) @ whitening
    covariances = [np.atleast_2d(np.cov((rows @ whitening).T)) for rows in (source, target)]
    difference = covariances[1] - covariances[0]
    _, directions = np.linalg.eigh(np.outer(means, means) + difference @ difference / 4)
    return whitening @ directions[:, ::-1][:, :k]
