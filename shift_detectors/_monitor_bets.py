"""Evidence against "nothing has changed": ranks in a growing pool, bets on them, wealth that is valid at any time.

A view is one number per row (a feature, a distance, a model's output), cut into bins that were fixed on rows the pool
does not hold. If pool and stream are exchangeable, the rank of a new value among *all* values seen so far,

    u = (#smaller + U (1 + #equal)) / (1 + #all),    U uniform on (0, 1),

is exactly uniform and independent of all earlier ranks of the view, whatever the distribution and however small the
reference (a reference used over and over as if it were the truth would raise an alarm on its own error one day).
A bet is a density f on (0, 1). Staked from block s on, it has the wealth prod_{i in s, s+1, ...} f(u_i), and a mixture
over f and s, with prior weights w_s that sum to one,

    M_t = mean_f { sum_{s <= t} w_s prod_{i = s..t} f(u_i) + sum_{s > t} w_s },

is a non-negative martingale that starts at 1: by Ville's inequality P(sup_t M_t >= 1 / alpha) <= alpha over the whole
run. The sum over s needs no memory: S_t = f(batch t) (S_{t-1} + w_t).

A view that is 0 or 1 is not ranked: its wealth comes from bets on the frequency (_monitor_frequency.py).

References
----------
Vovk, Gammerman and Shafer (2022), Algorithmic Learning in a Random World, 2nd edition, chapter 8 (conformal test
martingales). Ville (1939), Etude critique de la notion de collectif. Shiryaev (1963), On optimum methods in quickest
detection problems (mixtures over the moment of change).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from ._monitor_frequency import gains, log_price

CHUNK = 64  # rows ranked among each other at once
PATIENCE = 20  # blocks after which half of the prior's exponent is spent: most changes are bet on early, none never


def remaining(block: int) -> float:
    """Prior mass of a change that begins after `block` blocks: (1 + block / 20)^(-1/2), so any start has its share."""
    return (1 + block / PATIENCE) ** -0.5


def starting(block: int) -> float:
    """Prior weight of a change that begins in `block` (1, 2, ...)."""
    return remaining(block - 1) - remaining(block)


def two_sided(min_effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Bets on a change of location and of scale: coefficients of the two scores of a view.

    Locations double from `min_effect` to 16 times as much, up and down; a shift below half of the smallest bet lets
    wealth shrink, so that it is never called. Scales: 0.67, 0.8, 1.3 and 1.8 times the old one. A frequency has
    one score, for which the coefficients of both count.
    """
    steps = min_effect * 2.0 ** np.arange(5)
    scales = (1 - np.array([0.67, 0.8, 1.3, 1.8]) ** -2) / np.sqrt(2)
    location = np.concatenate([steps, -steps, np.zeros(len(scales))])
    return location, np.concatenate([np.zeros(2 * len(steps)), scales])


def one_sided() -> tuple[np.ndarray, np.ndarray]:
    """Bets on a move along a direction that was learned from earlier rows."""
    location = np.array([0.25, 0.5, 1.0, 2.0])
    return location, np.zeros(len(location))


def frequencies(bins: np.ndarray, n_bins: int, ordered: np.ndarray) -> np.ndarray:
    """Shares of the bins of every column, half a row added to those that may be met: up to one beyond the highest."""
    counts = np.array([np.bincount(column, minlength=n_bins) for column in bins.T], float).reshape(-1, n_bins)
    highest = np.where(ordered, n_bins - 2 - np.argmax(counts[:, -2::-1] > 0, axis=1), 0)
    counts[np.arange(n_bins) <= np.minimum(highest + 1, n_bins - 2)[:, None]] += 0.5
    return counts / counts.sum(axis=1, keepdims=True)


def scores(probability: np.ndarray, ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second score of every bin, mean 0 and variance 1 under `probability`.

    Parameters
    ----------
    probability : ndarray of shape (n_views, n_bins)
        The last bin holds missing values and has score 0.
    ordered : ndarray of bool, shape (n_views,)
        True: the mean normal score of the bin, and its square. False (0/1 columns): the standardised value alone.

    Examples
    --------
    >>> p = np.array([[0.25, 0.25, 0.5, 0.0]])
    >>> first, second = scores(p, np.array([True]))
    >>> np.round(first, 2).tolist(), np.round(second, 2).tolist()
    ([[-1.47, -0.38, 0.92, 0.0]], [[1.59, -1.18, -0.21, 0.0]])
    """
    present = probability[:, :-1] / np.maximum(probability[:, :-1].sum(axis=1, keepdims=True), 1e-300)
    cuts = ndtri(np.clip(np.concatenate([np.zeros((len(present), 1)), present.cumsum(axis=1)], axis=1), 0, 1))
    density = np.exp(-(cuts**2) / 2) / np.sqrt(2 * np.pi)
    mean = -np.diff(density, axis=1) / np.maximum(present, 1e-300)
    mean = np.where(ordered[:, None], np.where(present > 0, mean, 0.0), np.arange(present.shape[1]) > 0)
    first = _standardised(mean, present)
    second = _standardised(first**2, present)
    blank = np.zeros((len(present), 1))
    return np.concatenate([first, blank], axis=1), np.concatenate([second, blank], axis=1)


def _standardised(values: np.ndarray, probability: np.ndarray) -> np.ndarray:
    centred = values - (values * probability).sum(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2 * probability).sum(axis=1, keepdims=True))
    return np.where(deviation > 1e-9, centred / np.maximum(deviation, 1e-9), 0.0) * (probability > 0)


class Bank:
    """Views with their pools, bets and wealth.

    Parameters
    ----------
    n_views, n_bins : int
    bets : tuple of ndarray
        Coefficients (a, b) of the bets f(u) ~ exp(a first + b second); a frequency moves by a + b standard deviations.

    Attributes
    ----------
    counts : ndarray of int, shape (n_views, n_bins)
        The pool.
    first : ndarray of shape (n_views, n_bins)
        Score of every bin.
    frame : ndarray of shape (n_views, 2)
        Numbers of zeros and ones in the frame, plus a half, of views that are 0 or 1.
    probability : ndarray of shape (n_views, n_bins)
        Widths of the cells of (0, 1) on which a bet on ranks is constant. The last one is the share of missing values,
        whose rank says nothing.
    log_wealth : ndarray of shape (n_views, n_bets)
        log S_t of the module docstring, of every bet; -inf before the first stake.
    gain : ndarray of shape (n_views, n_bets)
        What the bets gained on the last rows (natural logarithm).
    """

    STATE = ("frame", "probability", "first", "ordered", "counts", "log_wealth")

    def __init__(self, n_views: int, n_bins: int, bets: tuple[np.ndarray, np.ndarray]):
        self.bets = bets
        self.frame = np.ones((n_views, 2))
        self.probability = np.full((n_views, n_bins), 1 / n_bins)
        self.first = np.zeros((n_views, n_bins))
        self.ordered = np.ones(n_views, bool)
        self.counts = np.zeros((n_views, n_bins), np.int64)
        self.log_wealth = np.full((n_views, len(bets[0])), -np.inf)
        self.gain = np.zeros_like(self.log_wealth)
        self._steps = np.zeros((n_views, n_bins - 1))
        self._pays = np.zeros((n_views, n_bins, len(bets[0])))
        self._prepare(np.arange(n_views))

    def place(self, frame: np.ndarray, pool: np.ndarray, ordered: np.ndarray, views: Any = None) -> None:
        """Start views anew: bins of frame rows shape the bets, bins of pool rows are what ranks are taken among."""
        n_bins = self.counts.shape[1]
        views = np.arange(len(self.counts)) if views is None else views
        shares = frequencies(frame, n_bins, ordered)
        self.first[views] = scores(shares, ordered)[0]
        missing = shares[:, -1:]
        cells = np.diff(ndtr(np.r_[-np.inf, np.linspace(-2.75, 2.75, n_bins - 2), np.inf]))
        self.probability[views] = np.concatenate([cells * (1 - missing), missing], axis=1)
        self.frame[views] = np.column_stack([(frame == 0).sum(axis=0), (frame == 1).sum(axis=0)]) + 0.5
        for k, view in enumerate(views):
            self.counts[view] = np.bincount(pool[:, k], minlength=n_bins)
        self.ordered[views] = ordered
        self.log_wealth[views] = -np.inf
        self._prepare(views)

    def _prepare(self, views: np.ndarray) -> None:
        """Tables that follow from `probability`: where a rank falls, and what every bet pays there."""
        p = self.probability[views]
        self._steps[views] = np.minimum(p.cumsum(axis=1)[:, :-1], 1 - 1e-12)
        first, second = scores(p, np.ones(len(views), bool))
        a, b = self.bets
        tilt = first[:, :, None] * a + second[:, :, None] * b
        self._pays[views] = tilt - np.log((p[:, :, None] * np.exp(tilt)).sum(axis=1, keepdims=True))

    def update(self, bins: np.ndarray, stake: np.ndarray | float, rng: np.random.Generator) -> None:
        """Settle the bets on the rows, add the rows to the pool.

        Parameters
        ----------
        bins : ndarray of int, shape (n_rows, n_views)
            In random order: rows of a batch that come sorted are no evidence.
        stake : float or ndarray of shape (n_views,)
            Prior weight of the bets that begin with these rows.
        """
        n_views, n_bins = self.counts.shape
        views = np.arange(n_views)
        offsets = views * n_bins
        ladder = (self._steps + views[:, None]).ravel()
        before = self.counts[:, :2].copy()
        gain = np.zeros_like(self.log_wealth)
        for start in range(0, len(bins), CHUNK):
            chunk = bins[start : start + CHUNK].astype(np.int64)
            m = len(chunk)
            total = self.counts.sum(axis=1)
            upto = self.counts.cumsum(axis=1)
            equal = self.counts[views, chunk]
            below = upto[views, chunk] - equal
            earlier = np.tri(m, k=-1, dtype=bool)[:, :, None]
            below = below + (earlier & (chunk[None] < chunk[:, None])).sum(axis=1)
            equal = equal + (earlier & (chunk[None] == chunk[:, None])).sum(axis=1)
            u = (below + rng.random((m, n_views)) * (equal + 1)) / (total + 1 + np.arange(m)[:, None])
            cell = np.searchsorted(ladder, np.minimum(u, 1 - 1e-12) + views, side="right") - views * (n_bins - 1)
            gain += self._pays[views, cell].sum(axis=0)
            self.counts += np.bincount((chunk + offsets).ravel(), minlength=n_views * n_bins).reshape(n_views, n_bins)
        of_two = gains(self.bets[0] + self.bets[1], self.frame, before, self.counts[:, :2] - before)
        gain = np.where(self.ordered[:, None], gain, of_two)
        with np.errstate(divide="ignore"):
            staked = np.log(np.broadcast_to(np.asarray(stake, float), n_views))[:, None]
        self.log_wealth, self.gain = np.logaddexp(self.log_wealth, staked) + gain, gain

    def log_evidence(self, unspent: float) -> np.ndarray:
        """Logarithm of M_t of every view, `unspent` being the prior mass of changes yet to begin."""
        with np.errstate(divide="ignore"):
            mean = np.logaddexp.reduce(self.log_wealth, axis=1) - np.log(self.log_wealth.shape[1])
            evidence = np.logaddexp(mean, np.log(unspent))
        return evidence + np.where(self.ordered, 0.0, log_price(self.frame, self.counts[:, :2]))

    def state(self) -> dict[str, np.ndarray]:
        """All that later evidence depends on."""
        return {name: getattr(self, name) for name in self.STATE}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from `state`."""
        for name in self.STATE:
            setattr(self, name, arrays[name])
        self._prepare(np.arange(len(self.counts)))
