"""A sign that rows are not independent: neighbours that resemble each other (copies of rows: _copies.py).

Permutation p-values need exchangeable rows. The sign is no proof, so it leads to a warning, and the rule errs on the
side of silence: a sorted table is normal.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ._table import Table

SERIAL = 0.4  # smallest lag-1 autocorrelation worth a warning
SERIAL_ROWS = 2_000  # leading rows of each side that are looked at


def serial_columns(table: Table, y_source: np.ndarray | None = None) -> list[tuple[str, float]]:
    """Numeric columns whose lag-1 rank autocorrelation exceeds .4 and five standard errors, largest first.

    A side that is sorted by one of its columns (datetimes aside) or by its labels is not judged: sorting
    looks the same. The first rows of each side are enough.
    """
    values = [j for j, name in enumerate(table.numeric_names) if name not in table.datetimes]
    found: dict[str, float] = {}
    for start, stop, y in ((0, table.n_source, y_source), (table.n_source, table.n, None)):
        rows = slice(start, min(stop, start + SERIAL_ROWS))
        keys = [table.codes[rows]] if y is None else [table.codes[rows], pd.factorize(y[:SERIAL_ROWS], sort=True)[0]]
        ranks = pd.DataFrame(table.numeric[rows][:, values]).rank().to_numpy()
        if _is_sorted(ranks).any() or any(_is_sorted(key).any() for key in keys):
            continue
        centred = np.nan_to_num(ranks - (np.isfinite(ranks).sum(axis=0) + 1) / 2)
        variance = (centred**2).sum(axis=0)
        r = (centred[:-1] * centred[1:]).sum(axis=0) / np.where(variance > 0, variance, 1)
        for j in np.flatnonzero(r > max(SERIAL, 5 / np.sqrt(len(ranks)))):
            name = table.numeric_names[values[j]]
            found[name] = max(float(r[j]), found.get(name, 0.0))
    return sorted(found.items(), key=lambda item: -item[1])


def _is_sorted(columns: np.ndarray) -> np.ndarray:
    """Whether a column runs up or down nearly all the way."""
    steps = np.diff(columns, axis=0)
    down, up = (steps < 0).mean(axis=0), (steps > 0).mean(axis=0)
    return (np.minimum(down, up) < 0.02) & (down + up > 0)
