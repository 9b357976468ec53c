"""Entropy balancing: the most even weights under which the source has the target's means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._matching import Link, MatchingRatio


class EntropyBalancing(MatchingRatio):
    """Which are the most even weights under which the source has the target's means?

    With phi the standardised columns and features of a Gaussian kernel, and
    `lambda = penalty * (1 / n_source + 1 / n_target) / 2`::

        minimise over w   1/2 | mean_source(w phi) - mean_target(phi) |^2  +  lambda * mean_source(w log w)
        subject to        mean w = 1,   w <= clip

    Evenness is measured by entropy, the distance of w from 1 that makes the ratio log-linear, hence positive
    everywhere and good for means that have moved far::

        w(x) = min(clip, exp(phi(x)' theta)),    theta = (mean_target(phi) - mean_source(w phi)) / lambda

    Exact balance (lambda = 0) would chase the noise of the two means, and is impossible when they are far apart.
    The penalty sets how much imbalance is taken for noise: as for the bandwidth of the kernel, it is the one with
    the smallest leave-one-out value of ``mean_source(w) - mean_target(log w)``, the Kullback-Leibler divergence of
    the target from the weighted source up to a constant, on at most 1000 rows per side. Without shift that is the
    strongest one, and all weights come out near 1.

    Parameters
    ----------
    clip : float or None, default None
        Largest weight; None means ``n_source``, which weights of mean 1 cannot exceed: a bound for new rows alone.
    n_landmarks : int, default 100
        Rows of both domains, drawn at random, that span the Gaussian kernel.
    bandwidths : sequence of float, optional
        Candidates, in units of the median distance between rows; .5, 1, 2 and 4 by default.
    penalties : sequence of float, optional
        Candidates; .01 to 1000 by default.
    random_state : int, Generator, RandomState or None
        Landmarks, rows for the choice, reduction of sparse matrices.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Mean 1.
    effective_sample_size_ : float
    bandwidth_, penalty_ : float
        Chosen values; the bandwidth in standardised units.
    objective_ : ndarray of shape (n_bandwidths, n_penalties)
        Leave-one-out losses, strongest penalty first; infinite where not tried.

    Notes
    -----
    `weights_` balance the very rows that they weigh: weights of rows left out would balance worse. What leaving out
    is for, not to read noise as shift, happens in the choice of bandwidth and penalty; `groups` leave together
    there.

    Assumes that the source has rows wherever the target has. Extrapolates exponentially: a few rows at the edge can
    carry much of the weight, which `effective_sample_size_` shows. Frames are encoded, columns standardised, sparse
    matrices reduced to 50 components. References: Hainmueller (2012), Political Analysis 20(1):25-46; Zhao and
    Percival (2017), J. Causal Inference 5(1); Tsuboi, Kashima, Hido, Bickel, Sugiyama (2009), J. Information
    Processing 17:138-155.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> ratio = EntropyBalancing(random_state=0).fit(source, target)
    >>> ratio.predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.3, 0.8, 2.4])
    """

    def __init__(
        self,
        clip: float | None = None,
        n_landmarks: int = 100,
        bandwidths: Sequence[float] | None = None,
        penalties: Sequence[float] | None = None,
        random_state: Any = None,
    ):
        self.clip = clip
        self.n_landmarks = n_landmarks
        self.bandwidths = bandwidths
        self.penalties = penalties
        self.random_state = random_state

    def _link(self, largest: float) -> Link:
        return Entropy(largest)

    def _most(self, n_source: int) -> float:
        return n_source if self.clip is None else min(self.clip, n_source)


class Entropy(Link):
    """D(w) = w log w - w for 0 <= w <= largest."""

    def __init__(self, largest: float):
        self.largest = largest

    def conjugate(self, u: np.ndarray) -> np.ndarray:
        w = self.weights(u)
        return w * u - np.where(w > 0, w * (np.log(np.maximum(w, 1e-300)) - 1), 0)

    def weights(self, u: np.ndarray) -> np.ndarray:
        return np.exp(np.minimum(u, np.log(self.largest)))

    def slope(self, u: np.ndarray) -> np.ndarray:
        return np.where(u < np.log(self.largest), self.weights(u), 0)

    def loss(self, w_source: np.ndarray, w_target: np.ndarray) -> float:
        return float(w_source.mean() - np.log(np.maximum(w_target, 1e-300)).mean())
