"""Signs that rows are not independent: copies, and neighbours that resemble each other.

Permutation p-values need exchangeable rows. Neither sign is proof, so they lead to warnings, and each rule
errs on the side of silence: ties between discrete values are normal, and so is a sorted table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ._table import Problem, Table

SERIAL = 0.4  # smallest lag-1 autocorrelation worth a warning
CHANCE_PAIRS = 0.1  # of the pairs of equal rows within a side to those across, up to which the latter are no chance
PART = 0.95  # of the source rows that stand in the target from which on the source is a part of it
MIN_OTHERS = 10  # further target rows that such a source can be compared with
SERIAL_ROWS = 2_000  # leading rows of each side that are looked at


def copies(table: Table) -> tuple[float, float]:
    """Share of rows that copy another row of their side, and share of target rows that copy a source row.

    Both are 0 when ties are natural: when no column is continuous (its distinct values lie on a grid), when
    columns with these ties would agree by chance if they were independent (a row is expected to have
    n prod_j sum_v f_j(v)^2 > .1 twins, f_j the frequencies of column j), or, within a side, when the copies
    are of few rows (under five, or under 5 % of the distinct ones), such as the zeros of a zero-inflated
    column.
    """
    hashes = _row_hashes(table)
    source, target = hashes[: table.n_source], hashes[table.n_source :]
    counts = np.concatenate([np.unique(side, return_counts=True)[1] for side in (source, target)])
    repeated = counts[counts > 1]
    within = repeated.sum() / table.n if len(repeated) >= max(5, 0.05 * len(counts)) else 0.0
    across = np.isin(target, source).mean()
    if not (within or across) or not any(_off_grid(column) for column in table.numeric.T):
        return 0.0, 0.0
    twins = float(table.n)
    for column in (*table.numeric.T, *table.codes.T):
        twins *= np.sum((np.unique(column, return_counts=True)[1] / table.n) ** 2)
    return (0.0, 0.0) if twins > 0.1 else (float(within), float(across))


def twins(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the source and the rows of the target that are the same ones, as positions.

    Rows that stand once on each side, where the samples overlap. Two equal rows that are drawn independently are on the
    same side as often as not, or oftener: unless nearly all pairs lie across, ties are natural and there are no twins.
    """
    _, code, counts = np.unique(_row_hashes(table), return_inverse=True, return_counts=True)
    of_two = np.flatnonzero(counts[code] == 2)
    first, second = of_two[np.argsort(code[of_two], kind="stable")].reshape(-1, 2).T
    across = (first < table.n_source) & (second >= table.n_source)
    if (~across).sum() > CHANCE_PAIRS * across.sum():
        return first[:0], second[:0]
    return first[across], second[across]


def compared_target(problem: Problem) -> np.ndarray:
    """Target rows that p(x) is compared on: where the source is a part of the target its other rows, else all of them.

    The target is then a mixture of the source and of these rows: it differs from the source if and only if they do. And
    they are exchangeable with a source that was drawn at random, which makes permutation tests exact; copies on both
    sides would leave them valid, but with far less power. With groups or weights a copy need not be worth its twin.
    """
    table = problem.table
    everything = np.arange(table.n_target)
    if problem.groups is not None or problem.weight is not None:
        return everything
    source, target = twins(table)
    others = np.setdiff1d(everything, target - table.n_source)
    if len(source) < PART * table.n_source or len(others) < MIN_OTHERS:
        return everything
    return others


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


def _row_hashes(table: Table) -> np.ndarray:
    """One 64-bit hash per row, mixed column by column (NaN equals NaN, -0 equals 0)."""
    hashes = np.zeros(table.n, np.uint64)
    for column in (*table.numeric.T, *table.codes.T):
        hashes ^= (column + 0.0).view(np.uint64)
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _off_grid(column: np.ndarray) -> bool:
    """Whether the distinct values of a column look continuous: 20 at least, not multiples of one step."""
    values = np.unique(column[~np.isnan(column)][:SERIAL_ROWS])
    if len(values) < 20:
        return False
    steps = np.diff(values)
    multiples = (values - values[0]) / steps.min()
    return bool((np.abs(multiples - np.round(multiples)) > 0.01).mean() > 0.1)


def _is_sorted(columns: np.ndarray) -> np.ndarray:
    """Whether a column runs up or down nearly all the way."""
    steps = np.diff(columns, axis=0)
    down, up = (steps < 0).mean(axis=0), (steps > 0).mean(axis=0)
    return (np.minimum(down, up) < 0.02) & (down + up > 0)
