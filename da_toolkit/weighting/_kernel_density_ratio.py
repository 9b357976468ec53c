"""Density ratio of two kernel density estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._parameters import check_choices
from ._base import BaseRatio, check_clip
from ._classifier_ratio import stack
from ._encoder import NumberEncoder, pool

BANDWIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # times Scott's n^(-1 / (d + 4))
BUMPS = 5000  # rows per domain that carry one
SELECT_ON = 2000  # of them, on which bandwidths and slope are chosen
FARTHEST = 1e6  # squared distance
WORKING_MEMORY = 32  # MB of distances at once


class KernelDensityRatio(BaseRatio):
    """How much more likely is a row in the target than in the source, by two kernel density estimates?

    With K Gaussian bumps of one bandwidth h per domain on the standardised columns::

        r(x) = mean_target K((x - x_j) / h_t) / h_t^d  /  mean_source K((x - x_i) / h_s) / h_s^d,   w(x) = r(x)^slope

    A row carries no bump for itself or for its group. The slope, between 0 and 1, is that of a logistic regression of
    the domain on log r: noise of the estimates, which grows with the number of columns, is not taken for a difference,
    and without a shift all weights come out near 1. The bandwidth of a domain is the one of seven multiples of Scott's
    n^(-1 / (d + 4)) with the largest leave-one-out likelihood. At most 5000 random rows per domain carry bumps, so
    that costs are linear in the rows. Sums are taken on the log scale, so that rows far from everything get a finite
    ratio, not 0 / 0.

    Parameters
    ----------
    bandwidths : sequence of float, optional
        Candidates, in units of Scott's rule; .25 to 2 by default.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, Generator, RandomState or None
        Of the reduction of sparse matrices, of the rows with bumps, and of the at most 2000 of them per domain on
        which bandwidths and slope are chosen.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Leave-one-out weights of the source rows, mean 1.
    effective_sample_size_ : float
    bandwidths_ : tuple of two floats
        Chosen for source and target, in standardised units.
    slope_ : float
        Exponent of the raw ratio.

    Notes
    -----
    Assumes smooth densities in few dimensions. It fails above some five columns, where densities need rows without
    number and their ratio more so: estimate the ratio itself there (`ClassifierRatio`, `RuLSIF`). Reference: Sugiyama,
    Suzuki, Kanamori (2012), Density Ratio Estimation in Machine Learning, chapter 2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> KernelDensityRatio().fit(source, target).predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.3, 0.8, 2.3])
    """

    def __init__(self, bandwidths: Sequence[float] | None = None, clip: float | None = None, random_state: Any = None):
        self.bandwidths = bandwidths
        self.clip = clip
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        check_clip(self.clip)
        check_choices(self, "bandwidths")
        factors = np.asarray(BANDWIDTHS if self.bandwidths is None else self.bandwidths, float)
        if min(X_source.shape[0], X_target.shape[0]) < 3:
            raise InputError("fewer than 3 rows on a side", "at least 3", "Collect more rows.")
        rng = check_random_state(self.random_state)
        self._encode = NumberEncoder(pool(X_source, X_target), rng)
        source, target = self._encode(X_source), self._encode(X_target)
        own = np.arange(len(source)) if groups is None else groups
        bumps = [rng.permutation(len(rows))[:BUMPS] for rows in (source, target)]
        self._rows = source[bumps[0]], target[bumps[1]]
        codes = own[bumps[0]], np.arange(len(self._rows[1]))
        chosen = []
        for rows, code in zip(self._rows, codes, strict=True):
            candidates = factors * len(rows) ** (-1 / (rows.shape[1] + 4))
            few = slice(SELECT_ON)
            likelihood = log_density(rows, rows[few], candidates, code, code[few]).mean(axis=0)
            chosen.append(float(candidates[np.argmax(likelihood)]))
        self.bandwidths_ = (chosen[0], chosen[1])
        of_source, of_target = self._rows
        few_target = of_target[:SELECT_ON]
        on_source = log_density(of_target, source, [chosen[1]]) - log_density(
            of_source, source, [chosen[0]], codes[0], own
        )
        on_target = log_density(of_target, few_target, [chosen[1]], codes[1], codes[1][:SELECT_ON]) - log_density(
            of_source, few_target, [chosen[0]]
        )
        logs = np.r_[on_source[bumps[0][:SELECT_ON]], on_target]
        unit = max(float(logs.std()), 1e-12)
        domain = np.r_[np.zeros(len(logs) - len(on_target)), np.ones(len(on_target))]
        coef, _, _ = stack(logs / unit, domain, "logistic")
        self.slope_ = min(float(coef[0]) / unit, 1.0)
        raw = self.slope_ * on_source[:, 0]
        self._shift = raw.max()  # the scale is free, so the largest may be 1
        ratio = np.exp(raw - self._shift)
        return self._clipped(ratio)

    def _predict(self, X: Any) -> np.ndarray:
        rows = self._encode(X)
        logs = [log_density(own, rows, [h])[:, 0] for own, h in zip(self._rows, self.bandwidths_, strict=True)]
        raw = self.slope_ * (logs[1] - logs[0])
        return np.minimum(np.exp(np.minimum(raw - self._shift, 300)), self._largest)


def log_density(
    rows: np.ndarray,
    at: np.ndarray,
    bandwidths: Sequence[float] | np.ndarray,
    groups: np.ndarray | None = None,
    own: np.ndarray | None = None,
) -> np.ndarray:
    """Log of the kernel density estimate of `rows` at other rows; shape (len(at), n_bandwidths).

    Parameters
    ----------
    groups, own : ndarrays of shape (len(rows),) and (len(at),), optional
        Group of every row of `rows` and of `at`: bumps of the own group do not count.
    """
    d, start = rows.shape[1], 0
    out = np.empty((len(at), len(bandwidths)))
    for squared in pairwise_distances_chunked(at, rows, metric="sqeuclidean", working_memory=WORKING_MEMORY):
        block, n_bumps = slice(start, start + len(squared)), np.full(len(squared), len(rows))
        if groups is not None and own is not None:
            left_out = groups == own[block, None]
            squared[left_out] = np.inf
            n_bumps = np.maximum(n_bumps - left_out.sum(axis=1), 1)
        nearest = np.minimum(squared.min(axis=1), FARTHEST)  # no other row at all: as far as can be
        squared -= nearest[:, None]
        for j, h in enumerate(bandwidths):
            total = np.maximum(np.exp(squared / (-2 * h**2)).sum(axis=1), 1e-300)
            out[block, j] = np.log(total / n_bumps) - nearest / (2 * h**2) - d * np.log(h * np.sqrt(2 * np.pi))
        start = block.stop
    return out
