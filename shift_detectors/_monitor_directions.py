"""Directions learned from the stream, each tested only on rows that came after it was learned.

A shift of many features by a little shows in no single one. So the stream itself says where to look: whenever a
block of rows is complete, the direction in which the last blocks moved away from the frame is frozen, and a new bank
ranks the rows that follow along it, among reference rows that had no part in learning it. Given all earlier rows
those are exchangeable with the new ones under the null, so the wealth of each direction is a martingale of its own;
the prior weights of all directions that are ever learned sum to one, and with them the chances of a false alarm.
"""

from __future__ import annotations

import numpy as np

from ._monitor_bets import Bank, one_sided, starting
from ._monitor_views import BINS, Geometry, digitise, edges_of, settled

LEVELS, LIVES = 6, 3  # learned from the last 1, 2, 4, ..., 32 blocks, in turns; the latest three of each are bet on
SLOTS = LEVELS * LIVES


class Directions:
    """The latest directions, linear ones and ones of products, with their bank.

    Parameters
    ----------
    geometry : Geometry
    pool : ndarray of uint8, shape (n_rows, n_views)
        Bins of the reference rows that new ones are ranked among.
    """

    STATE = ("linear_weight", "product_weight", "edges", "log_prior", "fresh", "linear_sums", "product_sums", "rows")

    def __init__(self, geometry: Geometry, pool: np.ndarray):
        self.pool = pool
        n_views, n_pairs = pool.shape[1], len(geometry.pairs)
        self.bank = Bank(2 * SLOTS, BINS, one_sided())
        self.linear_weight, self.product_weight = np.zeros((SLOTS, n_views)), np.zeros((SLOTS, n_pairs))
        self.edges = np.full((2 * SLOTS, BINS - 2), np.inf)
        self.log_prior = np.full(2 * SLOTS, -np.inf)
        self.fresh = np.zeros(2 * SLOTS)
        ring = 2 ** (LEVELS - 1)
        self.linear_sums, self.product_sums = np.zeros((ring, n_views)), np.zeros((ring, n_pairs))
        self.rows = np.zeros(ring)
        self._pool_linear = geometry.linear(pool)
        self._pool_products = geometry.products(self._pool_linear)

    def learn(self, geometry: Geometry, block: int) -> None:
        """Freeze the directions of the blocks up to `block`, and begin the next block."""
        if block:
            level = min((block & -block).bit_length() - 1, LEVELS - 1)
            recent = (block - 1 - np.arange(min(2**level, block))) % len(self.rows)
            n = self.rows[recent].sum()
            means = self.linear_sums[recent].sum(axis=0) / n, self.product_sums[recent].sum(axis=0) / n
            linear, products = geometry.directions(*means, n)
            slot = level * LIVES + (block >> (level + 1)) % LIVES
            self.linear_weight[slot], self.product_weight[slot] = linear, products
            views = np.array([slot, SLOTS + slot])
            frame = _projected(geometry.frame_linear, geometry.frame_products, linear, products)
            pool = _projected(self._pool_linear, self._pool_products, linear, products)
            edges, ordered = edges_of(frame)
            self.edges[views] = edges
            self.bank.place(digitise(frame, edges), digitise(pool, edges), ordered, views)
            self.log_prior[views] = np.log(starting(block) / 2)
            self.fresh[views] = 1.0
        place = block % len(self.rows)
        self.linear_sums[place] = self.product_sums[place] = self.rows[place] = 0

    def update(self, geometry: Geometry, block: int, linear: np.ndarray, rng: np.random.Generator) -> None:
        """Bet on the rows, then count them to the present block."""
        products = geometry.products(linear)
        values = _projected(linear, products, self.linear_weight.T, self.product_weight.T)
        self.bank.update(digitise(values, self.edges), self.fresh, rng)
        self.fresh[:] = 0
        place = (block - 1) % len(self.rows)
        self.linear_sums[place] += linear.sum(axis=0)
        self.product_sums[place] += products.sum(axis=0)
        self.rows[place] += len(linear)

    def log_evidence(self) -> np.ndarray:
        """Weighted log evidence of every direction."""
        return self.bank.log_evidence(0.0) + self.log_prior

    def strongest(self) -> tuple[np.ndarray, bool]:
        """Weights of the direction with the most evidence, and whether they belong to products of views."""
        best = int(np.argmax(self.log_evidence()))
        if best < SLOTS:
            return self.linear_weight[best], False
        return self.product_weight[best - SLOTS], True

    def state(self) -> dict[str, np.ndarray]:
        """All that later evidence depends on."""
        return {name: getattr(self, name) for name in self.STATE}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from `state`."""
        for name in self.STATE:
            setattr(self, name, arrays[name])


def _projected(linear: np.ndarray, products: np.ndarray, weight: np.ndarray, product_weight: np.ndarray) -> np.ndarray:
    """Rows along linear directions, then along those of products."""
    return settled(np.column_stack([linear @ weight, products @ product_weight]))
