r"""How far class frequencies are to be believed that a network's answers on the target suggest.

Answers tell class frequencies where p(x|y) is the same in both domains. Where it is not, and an alignment is there for
such cases, they follow the movement of the rows as well. So they are asked of calibrated answers, and go as far from
the source's as other class frequencies are seen to explain how the domains differ: with the energy distance E of
`da_toolkit.alignment` between the target and a mixture q of the source's classes, in the features before any training
by an alignment, and :math:`E_m` the same after the target's mean was moved onto the mixture's,

.. math:: 1 - \min_q E_m(q) / E_m(p), \quad \text{or} \quad 1 - \min_q E(q) / E(p)

where that is more and q does at least as well as the movement, :math:`\min_q E(q) \le E_m(p)`.
"""

from __future__ import annotations

import numpy as np

from ..alignment._mass import FEW, MIN_ROWS, NOISE, Parts, measure_parts
from ..label_shift import MLLS

SAMPLE = 2000  # rows of each domain whose features are looked at
ROUNDS = 5  # of moving the target and asking for the nearest mixture


def sample_of_classes(y: np.ndarray) -> np.ndarray:
    """Numbers of at most about `SAMPLE` rows, a few of every class among them."""
    order = np.random.RandomState(0).permutation(len(y))
    return np.unique(np.concatenate([order[:SAMPLE], *(order[y[order] == k][:FEW] for k in np.unique(y))]))


def explained_share(Z: np.ndarray, y: np.ndarray, Z_target: np.ndarray, mass: np.ndarray) -> float:
    """Share of the distance between the domains that other class frequencies explain, from 0 to 1.

    0 where a class, or the target, has too few rows to tell.

    Parameters
    ----------
    Z, Z_target : ndarray of shape (n_rows, d)
    y : ndarray of int, shape (n_source,)
    mass : ndarray of shape (n_source,)
    """
    code = np.unique(y, return_inverse=True)[1]
    if min(np.bincount(code).min(), len(Z_target)) < MIN_ROWS:
        return 0.0
    p = np.bincount(code, mass) / mass.sum()
    centres = np.stack([np.average(Z[code == k], axis=0, weights=mass[code == k]) for k in range(len(p))])

    def measure(moved_to: np.ndarray | None = None) -> Parts:
        moved = Z_target if moved_to is None else Z_target + (moved_to @ centres - Z_target.mean(axis=0))
        return measure_parts(Z, code, moved, mass, np.random.RandomState(0))

    def share(left: float, parts: Parts) -> float:
        gap = parts.energy(p)
        return float(np.clip(1 - left / gap, 0, 1)) if gap > NOISE * parts.noise(p) else 0.0

    still, moved = measure(), measure(p)
    q = still.nearest()
    left, left_moved = still.energy(q), moved.energy(p)
    alone = share(left, still) if left <= left_moved else 0.0
    for _ in range(ROUNDS):
        parts = measure(q)
        left_moved = min(left_moved, parts.energy(q))
        q = parts.nearest()
    return max(alone, share(left_moved, moved))


def estimated_shares(
    proba: np.ndarray, y: np.ndarray, proba_target: np.ndarray, y_target: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Class frequencies of the target by the answers of a network to both domains (`MLLS`, shrunk).

    Parameters
    ----------
    proba, proba_target : ndarray of shape (n_rows, n_classes)
    y : ndarray of int, shape (n_source,)
    y_target : ndarray of float, shape (n_target,)
        NaN where unknown.
    weight : ndarray of shape (n_source,) or None
    """
    classes = np.arange(proba.shape[1])
    fit = MLLS(shrink=True).fit(proba, y, proba_target, y_target=y_target, classes=classes, weight_source=weight)
    return fit.prior_
