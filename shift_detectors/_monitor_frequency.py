"""Evidence that a frequency has changed: of a 0/1 column, a category, a class, however rare.

Ranks of two values are ties, and where they are cut has to be fixed beforehand, by a frame of few ones. Yet all that is
unknown is one frequency p, so that the bets are on the values themselves. Let Q predict every row from those of the
frame and all rows before (a beta-binomial distribution). Of the frequency m that Q expects before a batch, a bet of `a`
standard deviations multiplies the odds by

    1 + |a| / sqrt(m (1 - m)),   or divides them if a < 0:

a rate of 1 % doubles with a = 0.1. Staked from block s on, a bet predicts as Q does up to there. With B the mixture of
all these predictions over bets and blocks, and P_p independent rows of frequency p,

    M_t = B(rows of pool and stream) / max_p P_p(rows of pool and stream)

is at most B / P_p, whichever p is true, and that is a non-negative martingale that starts at 1: again, P(sup_t M_t >=
1 / alpha) <= alpha. The price of not knowing p is Q / max_p P_p, about the root of frame rows / all rows.

References
----------
Wasserman, Ramdas and Balakrishnan (2020), Universal inference, PNAS 117(29).
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, log_expit, logit, xlogy


def gains(bets: np.ndarray, frame: np.ndarray, pool: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """What every bet gains on a batch over Q, natural logarithm, shape (n_views, n_bets).

    Parameters
    ----------
    bets : ndarray of shape (n_bets,)
        Standard deviations by which the frequency of the ones moves.
    frame, pool, batch : ndarray of shape (n_views, 2)
        Numbers of zeros and ones: in the frame (plus a half), in the other rows before the batch, and in the batch.

    Examples
    --------
    >>> frame, pool = np.array([[99.5, 1.5]]), np.array([[990, 10]])
    >>> gains(np.array([0.1, -0.1]), frame, pool, np.array([[196, 4]])).round(1).tolist()  # two were expected
    [[0.7, -1.7]]
    """
    expected = frame + pool
    share = expected[:, 1:] / expected.sum(axis=1, keepdims=True)
    tilt = np.sign(bets) * np.log1p(np.abs(bets) / np.sqrt(share * (1 - share)))
    log_odds = logit(share) + tilt
    staked = batch[:, 1:] * log_expit(log_odds) + batch[:, :1] * log_expit(-log_odds)
    return staked - (_learned(frame, pool + batch) - _learned(frame, pool))[:, None]


def log_price(frame: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Logarithm of Q / max_p P_p of all rows, at most 0: what is paid for not knowing the frequency."""
    shares = pool / np.maximum(pool.sum(axis=1, keepdims=True), 1)
    return _learned(frame, pool) - xlogy(pool, shares).sum(axis=1)


def _learned(frame: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Log probability of rows in their order, each predicted from the frame and the rows before."""
    return betaln(*(frame + rows).T) - betaln(*frame.T)
