"""Coordinates of rows in the space that some rows span."""

from __future__ import annotations

import numpy as np


class LinearMap:
    """The rows themselves; in more columns than rows, their coordinates in the space that these span.

    Lengths and angles among the rows that it is made of stay what they are.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)

    Examples
    --------
    >>> LinearMap(np.ones((2, 5)))(np.eye(5)).shape
    (5, 2)
    """

    def __init__(self, rows: np.ndarray):
        wide = rows.shape[1] > len(rows)
        self._span = np.linalg.svd(rows, full_matrices=False)[2].T if wide else None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows if self._span is None else rows @ self._span

    def back(self, coordinates: np.ndarray) -> np.ndarray:
        """The rows that have these coordinates."""
        return coordinates if self._span is None else coordinates @ self._span.T
