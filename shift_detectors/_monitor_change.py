"""By how much a view has changed: the mean of the rows since the change began, beside that of all rows before.

A bet gains on the rows after a change and loses on those before. For the bet, the change therefore most likely began
with the batch since which it gained most (Page's cumulative sum). Of all bets the one that has gained most proposes its
batch. It replaces the one proposed earlier if the mean changed the other way, or explains more of the squares.

References
----------
Page (1954), Continuous inspection schemes, Biometrika 41. Lorden (1971), Procedures for reacting to a change in
distribution, Annals of Mathematical Statistics 42.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CLIP = 10.0  # robust standard deviations beyond which a value counts no further
PASSED = 10.0  # a change has passed when a bet has lost so much (natural logarithm) of its largest gain


class Changes:
    """Sums of all rows, and of those since a change began, for every view and bet.

    Parameters
    ----------
    n_views, n_bets : int
    least : float
        What a bet must have gained (natural logarithm) before a change is told.

    Attributes
    ----------
    centre, scale, unit : ndarray of shape (n_views,)
        Median and robust standard deviation of the reference, and the standard deviation of what they make of it; 0, 1
        and 1 for 0/1 columns.
    total : ndarray of shape (3, n_views)
        Number and sum of all values, the reference's among them, and number of missing ones.
    since : ndarray of shape (3, n_views, n_bets)
        The same of the rows since the change that a bet sees.
    gained, most : ndarray of shape (n_views, n_bets)
        Log wealth of a bet since then, now and at its largest.
    told : ndarray of shape (3, n_views)
        The same of the rows since the change that is told; 0 where none is.
    """

    STATE = ("centre", "scale", "unit", "total", "since", "gained", "most", "told")

    def __init__(self, n_views: int, n_bets: int, least: float):
        self.least = least
        self.centre, self.scale, self.unit = np.zeros(n_views), np.ones(n_views), np.ones(n_views)
        self.total, self.told = np.zeros((3, n_views)), np.zeros((3, n_views))
        self.since = np.zeros((3, n_views, n_bets))
        self.gained, self.most = np.zeros((n_views, n_bets)), np.zeros((n_views, n_bets))

    def place(self, values: np.ndarray, ordered: np.ndarray) -> None:
        """Start with the values of the reference, shape (n_rows, n_views)."""
        for k in np.flatnonzero(ordered):
            present = values[~np.isnan(values[:, k]), k]
            if len(present):
                low, self.centre[k], high = np.quantile(present, [0.25, 0.5, 0.75])
                smallest = max(1e-12 * abs(self.centre[k]), 1e-300)
                self.scale[k] = max((high - low) / 1.349 or present.std(), smallest)
                self.unit[k] = self._standardised(present[:, None], [k]).std() or 1.0
        self.total = self._sums(values)

    def _standardised(self, values: np.ndarray, views: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            robust = np.clip((values - self.centre[views]) / self.scale[views], -CLIP, CLIP)
        return robust / self.unit[views]

    def _sums(self, values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values).sum(axis=0)
        return np.array([len(values) - missing, np.nansum(self._standardised(values, slice(None)), axis=0), missing])

    def update(self, values: np.ndarray, gain: np.ndarray) -> None:
        """Count the values of a batch, on which every bet gained `gain` (natural logarithm)."""
        sums = self._sums(values)
        none = (self.gained <= 0) | (self.most - self.gained > PASSED)
        self.total = self.total + sums
        self.since = np.where(none, 0.0, self.since) + sums[:, :, None]
        self.gained = np.where(none, 0.0, self.gained) + gain
        self.most = np.maximum(np.where(none, 0.0, self.most), self.gained)
        views, best = np.arange(len(gain)), np.argmax(self.gained, axis=1)
        old, new = self.told + sums, self.since[:, views, best]
        explained, explains = self._explained(old), self._explained(new)
        better = (np.abs(explains) > np.abs(explained)) | (explains * explained < 0)
        self.told = np.where(self.gained[views, best] < self.least, 0.0, np.where(better, new, old))

    def _explained(self, since: np.ndarray) -> np.ndarray:
        """Root of the squares that a change of the mean explains, with the sign of the change."""
        before, after = self._means(since)
        return (after - before) * np.sqrt(since[0] * (self.total[0] - since[0]) / np.maximum(self.total[0], 1))

    def _means(self, since: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, total, _ = self.total - since
        before = total / np.maximum(n, 1)
        return before, np.where(since[0] > 0, since[1] / np.maximum(since[0], 1), before)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of every view before and since the change; twice the same where none is told."""
        return self._means(self.told)

    def missing(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of missing values of every view before and since the change; twice the same where none is told."""
        shares = [gaps / np.maximum(n + gaps, 1) for n, _, gaps in (self.total - self.told, self.told)]
        return shares[0], np.where(self.told.any(axis=0), shares[1], shares[0])

    def state(self) -> dict[str, np.ndarray]:
        """All that later changes depend on."""
        return {name: getattr(self, name) for name in self.STATE}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from `state`."""
        for name in self.STATE:
            setattr(self, name, arrays[name])
