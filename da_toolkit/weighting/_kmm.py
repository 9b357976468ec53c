"""Kernel mean matching: weights under which the source's kernel mean is the target's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shift_detectors._errors import InputError

from .._parameters import is_number
from ._matching import Link, MatchingRatio


class KMM(MatchingRatio):
    """Which weights make the source look like the target to every smooth function?

    With k a kernel, phi its features and `lambda = penalty * (1 / n_source + 1 / n_target) / 2`::

        minimise over w   1/2 | mean_source(w phi) - mean_target(phi) |^2  +  lambda/2 * mean_source (w - 1)^2
        subject to        0 <= w <= clip   and   | mean w - 1 | <= slack

    The first term is the squared maximum mean discrepancy (MMD) of the weighted source from the target. The ridge,
    which the original lacks, pulls the weights towards 1, "no shift", and makes them a function of x, so that new
    rows are weighted by the same formula and need no regression on the weights::

        w(x) = min(clip, max(0, 1 + phi(x)' theta)),    theta = (mean_target(phi) - mean_source(w phi)) / lambda

    k is Gaussian (Nystroem approximation) plus linear: theta has as many entries as there are landmarks and
    columns (or rows, where they are fewer), and is found by Newton's method on the dual, in time and memory linear
    in the rows. Bandwidth and penalty, which matching itself cannot choose (the narrower, the better the match), are
    those with the smallest leave-one-out value of ``mean_source(w^2) / 2 - mean_target(w)``, which is the squared
    error of w up to a constant, on at most 1000 rows per side.

    Parameters
    ----------
    clip : float or None, default None
        Largest weight; None means ``sqrt(n_source)``, ``numpy.inf`` no bound.
    slack : float in [0, 1], default 0
        How far the mean weight may lie from 1; ``1 - 1 / sqrt(n_source)`` is the original's.
    n_landmarks : int, default 100
        Rows of both domains, drawn at random, that span the Gaussian part.
    bandwidths : sequence of float, optional
        Candidates, in units of the median distance between rows; .5, 1, 2 and 4 by default.
    penalties : sequence of float, optional
        Candidates; .01 to 1000 by default.
    random_state : int, Generator, RandomState or None
        Landmarks, rows for the choice, reduction of sparse matrices.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Scaled to mean 1.
    effective_sample_size_ : float
    bandwidth_, penalty_ : float
        Chosen values; the bandwidth in standardised units.
    objective_ : ndarray of shape (n_bandwidths, n_penalties)
        Leave-one-out losses, strongest penalty first; infinite where not tried.

    Notes
    -----
    `weights_` solve the matching problem on the very rows that they weigh: weights of rows left out would match
    worse. What leaving out is for, not to read noise as shift, happens in the choice of bandwidth and penalty;
    `groups` leave together there.

    Assumes that the source has rows wherever the target has. In many columns (some 20 and more) all distances look
    alike and the Gaussian part says little at any bandwidth; the linear part still matches the means. Frames are
    encoded, columns standardised, sparse matrices reduced to 50 components. References: Huang, Smola, Gretton,
    Borgwardt, Schölkopf (2006), NIPS 19; Gretton et al. (2009), Covariate shift by kernel mean matching, in Dataset
    Shift in Machine Learning, MIT Press; Kanamori, Suzuki, Sugiyama (2012), Machine Learning 86:335-367.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> KMM(random_state=0).fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.2, 0.6, 2.5])
    """

    def __init__(
        self,
        clip: float | None = None,
        slack: float = 0.0,
        n_landmarks: int = 100,
        bandwidths: Sequence[float] | None = None,
        penalties: Sequence[float] | None = None,
        random_state: Any = None,
    ):
        self.clip = clip
        self.slack = slack
        self.n_landmarks = n_landmarks
        self.bandwidths = bandwidths
        self.penalties = penalties
        self.random_state = random_state

    def _link(self, largest: float) -> Link:
        return Squared(largest)

    def _check(self, n: int) -> None:
        super()._check(n)
        if not (is_number(self.slack) and 0 <= self.slack <= 1):
            raise InputError(f"slack={self.slack!r}", "a number from 0 to 1", "0 holds the mean weight at 1.")


class Squared(Link):
    """D(w) = (w - 1)^2 / 2 for 0 <= w <= largest."""

    def __init__(self, largest: float):
        self.largest = largest

    def conjugate(self, u: np.ndarray) -> np.ndarray:
        w = self.weights(u)
        return w * u - (w - 1) ** 2 / 2

    def weights(self, u: np.ndarray) -> np.ndarray:
        return np.clip(1 + u, 0, self.largest)

    def slope(self, u: np.ndarray) -> np.ndarray:
        return ((u > -1) & (u < self.largest - 1)).astype(float)

    def loss(self, w_source: np.ndarray, w_target: np.ndarray) -> float:
        return float((w_source**2).mean() / 2 - w_target.mean())
