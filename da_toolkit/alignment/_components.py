r"""Components that vary much and differ little between the domains: what TCA and JDA compute on.

Rows enter as features phi(x) of a kernel, centred on the pooled mean: the columns themselves (linear), or the
Nystroem features of a Gaussian kernel on landmark rows, exact where all rows are landmarks. With the covariance
C of the pooled features, their total variance s^2 = tr C, and mean differences d_1, d_2, ... that ought to
vanish, both methods look for directions v with a large

    v'C v / v'L v,        L = I + sum_j w_j d_j d_j' / (mu s^2 noise_j).

noise_j is the sum of the squared masses behind d_j (1/n_s + 1/n_t for plain means), so that s^2 noise_j is the
value that sampling alone gives to |d_j|^2. Every term is free of units, and mu has a meaning: a difference
d is damped to

    |L^(-1/2) d|^2 = |d|^2 / (1 + |d|^2 / (mu s^2 noise)) < mu s^2 noise,

with mu = 1 to less than what two samples of one distribution show.

What makes plain implementations collapse, and what is done here:

1. The constraint V'KHKV = I gives every component the same variance, of 1/n. Noise is inflated to the size of
   the signal, and a penalised model sees features of size .03. Here V'LV = I: a component has its own variance,
   and without mean differences the result is kernel PCA. ``whiten=True`` gives unit variance.
2. inv(KLK + mu I) KHK is not symmetric: a symmetric solver returns something else than its eigenvectors. Here
   L is I plus a few rank-one terms, its root is explicit, and one symmetric problem is left.
3. mu I is added to matrices that grow with n and with the units. Here mu is relative to the sampling noise.
4. A Gaussian kernel of fixed width is constant or diagonal in other units. Here the width is the median
   distance, and the features are multiplied so that their total variance is that of the rows: the wider the
   kernel, the nearer they come to the columns themselves, and the penalty of a model keeps its meaning.

The ridge is on |v|, the norm in feature space, as in JDA's primal form; TCA as published penalises the dual
coefficients, which ranks components by the squares of their variances. For w -> 0 both are kernel PCA.

**How many.** As many as hold 99 % of the variance that is left, and no more than samples tell: an axis needs five
rows of the smaller domain, and ten where it holds no more variance than the axis of its rank does when every
column is shuffled by itself (parallel analysis; Horn, Psychometrika 30, 1965). In few columns that unrelated variance
may well be what the classes differ in; in hundreds it is mostly noise.

**What the source cannot teach.** A direction in which the target varies and the n_s source rows do not (a stratum that
the source lacks) has variance, and becomes part of components; the slope that a model finds along it is noise, with
which it answers the target. Of variance 1 over both domains and rho over the source, its slope has the variance
sigma^2 / (n_s rho): beyond that of a row itself where n_s rho < 1. For a regressor, whose answers have no bounds, TCA
leaves such directions out, with a warning where whole columns are of this kind. A source that moved, or is narrower,
has next to none. A classifier keeps them: it tells classes along them that moved far, and differently (of the
mushrooms, whose one-hot columns are often constant in one domain, .79 are recognised with them and .49 without).

**Without a shift** there is nothing to gain, and every axis left out is a loss: where the rows of the domains lie as
near to each other as two samples of one distribution (their energy distance, `_mass.told_apart`) and the number of
components is not prescribed, columns are left as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._text import some
from shift_detectors._warnings import warn

from .._linear_map import LinearMap
from .._parameters import FINITE, check_counts, check_numbers
from ._base import BaseAligner, column_units, varying
from ._mass import told_apart
from ._subspace import RANK, ROWS_PER_AXIS, check_n_components, n_axes, n_leading

KERNELS = ("rbf", "linear")
ROWS_PER_UNSEEN_AXIS = 10.0  # where shuffled columns would have that axis, too
BLOCK = 4096  # rows whose kernel values are held at once


class ComponentAligner(BaseAligner):
    """Both domains go through one map, x -> V'(phi(x) - mean), which a subclass learns.

    Parameters
    ----------
    n_components : "auto" or int
        "auto": as many as hold 99 % of the variance that is left, at most one for every five rows of the
        smaller domain, or for every ten rows where shuffled columns have as large ones; and the columns as they
        are where the domains cannot be told apart.
    kernel : {"rbf", "linear"}
    mu : float
        What is left of a mean difference, as a multiple of what sampling alone would show.
    bandwidth : "auto" or float
        h of the Gaussian kernel exp(-|x - z|^2 / h^2); "auto": the median distance between pooled rows.
    whiten : bool
        Give all components unit variance.
    n_landmarks : int
        Rows that carry the Gaussian kernel, drawn at random from both domains; all, if there are no more.
    standardize : "auto" or bool
        Whether to measure columns in their pooled standard deviations; "auto" does when the largest of these
        exceeds ten times their lower quartile.
    random_state : int, Generator, RandomState or None
    """

    def __init__(
        self,
        n_components: str | int = "auto",
        kernel: str = "rbf",
        mu: float = 1.0,
        bandwidth: str | float = "auto",
        whiten: bool = False,
        n_landmarks: int = 500,
        standardize: str | bool = "auto",
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.mu = mu
        self.bandwidth = bandwidth
        self.whiten = whiten
        self.n_landmarks = n_landmarks
        self.standardize = standardize
        self.random_state = random_state

    def _features(self, X_source, X_target, source_mass, target_mass, rng) -> tuple[np.ndarray, np.ndarray]:
        """Choose the feature map and return the centred features of both domains; or the columns: no shift."""
        self._check_parameters()
        # every row counts the same, whichever its domain
        mass = np.concatenate([source_mass * len(X_source), target_mass * len(X_target)])
        mass /= mass.sum()
        pooled = np.vstack([X_source, X_target])
        self._offset = mass @ pooled
        variance = mass @ (pooled - self._offset) ** 2
        self.told_apart_ = self.n_components != "auto" or told_apart(X_source, X_target, source_mass, target_mass)
        if not self.told_apart_:
            self.variance_, self.n_components_ = variance, len(variance)
            return X_source, X_target
        varies = varying(variance, self._offset)
        self._scale = np.where(varies, column_units(variance, varies, self.standardize), np.inf)
        pooled = self._rows(pooled)
        self._map, phi = self._feature_map(pooled, mass, rng)
        self._covariance = _covariance(phi, mass)
        if self.n_components == "auto":
            rows = 1 / max((source_mass**2).sum(), (target_mass**2).sum())
            self._most = self._most_components(pooled, mass, rows, rng)
        return phi[: len(X_source)], phi[len(X_source) :]

    def _most_components(self, pooled: np.ndarray, mass: np.ndarray, n: float, rng: np.random.RandomState) -> int:
        """How many axes samples of `n` rows tell: see the module docstring."""
        most, granted = (max(1, n_axes(n, rows)) for rows in (ROWS_PER_AXIS, ROWS_PER_UNSEEN_AXIS))
        variances = np.linalg.eigvalsh(self._covariance)[::-1]
        if n_leading(variances) <= granted:
            return most
        apart = np.column_stack([rng.permutation(column) for column in pooled.T])
        by_chance = np.linalg.eigvalsh(_covariance(self._feature_map(apart, mass, rng)[1], mass))[::-1]
        shared = min(len(variances), len(by_chance))
        beyond = int((variances[:shared] > by_chance[:shared]).sum())
        return min(most, max(granted, beyond))

    def _rows(self, X: np.ndarray) -> np.ndarray:
        return (X - self._offset) / self._scale

    def _feature_map(self, rows: np.ndarray, mass: np.ndarray, rng: np.random.RandomState) -> tuple[Any, np.ndarray]:
        """A map and the features of the rows."""
        if self.kernel == "linear":
            linear = LinearMap(rows)
            return linear, linear(rows)
        gaussian = GaussianMap(rows, self.n_landmarks, self.bandwidth, rng)
        return gaussian, gaussian.normalise(rows, mass)

    def _check_parameters(self) -> None:
        if self.kernel not in KERNELS:
            raise InputError(f"kernel={self.kernel!r}", f"one of {KERNELS}")
        automatic = isinstance(self.bandwidth, str) and self.bandwidth == "auto"
        check_numbers(self, dict.fromkeys(["mu"] if automatic else ["mu", "bandwidth"], FINITE))
        check_counts(self, {"n_landmarks": 2})
        if self.n_components != "auto":
            check_n_components(self.n_components)

    def _solve(self, differences: np.ndarray, source: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None) -> None:
        """Components for given mean differences, one a column, each divided by the root of its noise.

        `source`: its rows, their features and masses; the directions in which it does not vary are left out.
        """
        if not self.told_apart_:
            return
        total = np.trace(self._covariance)
        if total > 0:
            damp = inverse_root(differences / np.sqrt(self.mu * total))
        else:  # nothing varies
            damp = np.eye(len(self._covariance))
        values, vectors = np.linalg.eigh(damp @ self._covariance @ damp)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        if self.n_components == "auto":
            k = min(n_leading(values), self._most)
        else:
            k = min(check_n_components(self.n_components), int((values > RANK * values[0]).sum()))
        k = max(k, 1)
        directions = damp @ vectors[:, :k]
        if source is not None:
            values, directions = self._seen_in_source(values[:k], directions, *source)
        k = directions.shape[1]
        self.variance_, self.n_components_, self._directions = values[:k], k, directions
        if self.whiten:
            self._directions /= np.sqrt(np.where(self.variance_ > 0, self.variance_, 1.0))

    def _seen_in_source(self, variance, directions, X_source, phi_source, source_mass) -> tuple[np.ndarray, np.ndarray]:
        """The components, without the directions among them that the source leaves unknown: see the module docstring.

        Those are found where source and pooled covariance are diagonal at once; the others are turned until their
        pooled covariance is diagonal again.
        """
        unit = directions / np.sqrt(np.where(variance > 0, variance, np.inf))
        of_source = (phi_source - source_mass @ phi_source) @ unit
        share, turn = np.linalg.eigh(_covariance(of_source, source_mass))
        seen = share / (source_mass**2).sum() >= 1
        if seen.all() or not seen.any():
            return variance, directions
        fixed = np.flatnonzero(np.isfinite(self._scale) & (np.ptp(X_source, axis=0) == 0))
        if len(fixed):
            names = some(f"x{j}" for j in fixed)
            warn(
                f"{names} with one value in the source and others in the target: the source cannot teach a "
                f"model what these mean. {(~seen).sum()} of {len(seen)} components, which hardly vary in the source, "
                "are left out."
            )
        kept = np.linalg.qr(turn[:, seen] / np.sqrt(variance)[:, None])[0]
        values, vectors = np.linalg.eigh((kept.T * variance) @ kept)
        return values[::-1], directions @ kept @ vectors[:, ::-1]

    def _components(self, phi: np.ndarray) -> np.ndarray:
        return phi @ self._directions if self.told_apart_ else phi

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        return self._components(self._map(self._rows(X))) if self.told_apart_ else X

    def _transform_target(self, X: np.ndarray) -> np.ndarray:
        return self._transform_source(X)

    def _generator(self) -> np.random.RandomState:
        return check_random_state(self.random_state)


class GaussianMap:
    """Nystroem features of exp(-|x - z|^2 / h^2); once normalised, of mean zero and the total variance of the rows."""

    def __init__(self, rows: np.ndarray, n_landmarks: int, bandwidth: str | float, rng: np.random.RandomState):
        few = len(rows) <= n_landmarks
        self._landmarks = rows if few else rows[np.sort(rng.choice(len(rows), n_landmarks, replace=False))]
        squared = squared_distances(self._landmarks, self._landmarks)
        if bandwidth == "auto":
            between = squared[np.triu_indices(len(squared), 1)]
            # most rows equal: the mean, which is positive unless all are
            self._squared_bandwidth = float(np.median(between)) or float(between.mean()) or 1.0
        else:
            self._squared_bandwidth = float(bandwidth) ** 2
        values, vectors = np.linalg.eigh(np.exp(-squared / self._squared_bandwidth))
        seen = values > RANK * values[-1]
        self._root, self._mean = vectors[:, seen] / np.sqrt(values[seen]), 0.0

    def normalise(self, rows: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Give the features of the rows mean zero and the variance of the rows, and return them."""
        phi = self(rows)
        unit = np.sqrt(_total_variance(rows, mass) / (_total_variance(phi, mass) or 1.0))
        self._root, self._mean = self._root * unit, mass @ phi * unit
        phi *= unit
        phi -= self._mean
        return phi

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self._root.shape[1]))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            kernel = squared_distances(rows[part], self._landmarks)
            kernel /= -self._squared_bandwidth
            out[part] = np.exp(kernel, out=kernel) @ self._root - self._mean
        return out


def _total_variance(phi: np.ndarray, mass: np.ndarray) -> float:
    """Trace of the covariance."""
    return float(np.einsum("i,ij,ij->", mass, phi, phi) - ((mass @ phi) ** 2).sum())


def _covariance(phi: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Of centred rows, without a second matrix of their size."""
    covariance = np.zeros((phi.shape[1], phi.shape[1]))
    for start in range(0, len(phi), BLOCK):
        part = slice(start, start + BLOCK)
        weighted = phi[part] * np.sqrt(mass[part, None])
        covariance += weighted.T @ weighted  # of one matrix with itself BLAS computes a half
    return covariance


def mean_difference(phi_source, phi_target, source_mass, target_mass) -> np.ndarray:
    """Difference of two weighted means, divided by the root of its sampling noise per unit of variance."""
    noise = (source_mass**2).sum() + (target_mass**2).sum()
    return (source_mass @ phi_source - target_mass @ phi_target) / np.sqrt(noise)


def inverse_root(columns: np.ndarray) -> np.ndarray:
    """(I + B B')^(-1/2) for a tall matrix B of few columns."""
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    return np.eye(len(columns)) - (left * (1 - 1 / np.sqrt(1 + singular**2))) @ left.T


def squared_distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """|a - b|^2 of all pairs of rows."""
    squared = (-2 * A) @ B.T
    squared += (A * A).sum(axis=1)[:, None]
    squared += (B * B).sum(axis=1)
    return np.maximum(squared, 0, out=squared)
