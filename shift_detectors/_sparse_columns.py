"""Many sparse columns, such as words: reduced to components for the tests, and named behind what the tests find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ._copies import half_of_copies
from ._permutation import pvalue, settled, signed, squared_length, tail_logp
from ._results import ColumnShift
from ._text import clean

COMPONENTS = 50  # sparse input with more columns is reduced to this many components
HEAVIEST = 3  # columns that name a component
LIGHT = 0.1  # of the heaviest loading: columns with less do not name it
ROUNDING = 1e-11  # of the largest entry of all components: smaller differences are rounding errors
RARE = 10  # columns that are zero, or not zero, in fewer rows are not compared
MOST = 20  # columns that are listed
BLOCK = 500  # columns that are compared at a time


class SparseColumns(NamedTuple):
    """Source rows above target rows as they were before their reduction; the names of their columns."""

    rows: sp.csr_array
    names: tuple[str, ...]


def components(pooled: SparseColumns) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Truncated singular value decomposition: the components of the rows, their names, and a note.

    Rounding errors are cut off: where rows have nothing of a component, it is 0 and not a number that varies.
    """
    from sklearn.decomposition import TruncatedSVD

    fitted = pooled.rows[half_of_copies(pooled.rows)]
    count, width = min(COMPONENTS, fitted.shape[0]), fitted.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):  # of rows that do not differ there is no variance to explain
        svd = TruncatedSVD(count, random_state=0).fit(fitted)
    found = np.asfortranarray(svd.transform(pooled.rows))
    grid = ROUNDING * np.abs(found).max() or 1.0
    found = np.rint(found / grid) * grid
    kept = "of rows that do not differ"
    if np.ptp(found, axis=0).any():
        kept = f"{svd.explained_variance_ratio_.sum():.0%} of the variance"  # pyright: ignore[reportOptionalSubscript]
    note = (
        f"The {width} sparse columns were reduced to {count} components of the pooled rows (truncated singular value "
        f"decomposition, {kept}), named by their heaviest columns."
    )
    return found, component_names(svd.components_, pooled.names), note


def component_names(loadings: np.ndarray, columns: Sequence[str], names: Sequence[str] = ()) -> tuple[str, ...]:
    """Components by the columns that weigh most in them; a minus marks those that lower the component.

    Parameters
    ----------
    loadings : ndarray of shape (n_components, n_columns)
    columns : sequence of str
    names : sequence of str, optional
        Of the components, without the columns; by default they are numbered.

    Examples
    --------
    >>> component_names(np.array([[0.8, -0.6, 0.0], [0.0, 0.0, 1.0]]), ["goal", "film", "team"])
    ('component 1 (goal, −film)', 'component 2 (team)')
    """
    said = []
    for k, row in enumerate(loadings):
        size = np.abs(row)
        heaviest = np.argsort(-size, kind="stable")[:HEAVIEST]
        heaviest = heaviest[size[heaviest] > LIGHT * size.max()]
        listed = ", ".join(f"{'−' if row[j] < 0 else ''}{clean(columns[j], 16)}" for j in heaviest)
        name = names[k] if names else f"component {k + 1}"
        said.append(f"{name} ({listed})" if listed else name)
    return tuple(said)


def empty_rows(rows: sp.csr_array, n_source: int) -> list[str]:
    """A note where the share of rows without any entry, such as empty texts, differs by a point or more."""
    empty = np.diff(rows.indptr) == 0
    source, target = empty[:n_source].mean(), empty[n_source:].mean()
    if abs(target - source) < 0.01:
        return []
    return [f"Rows without any entry (such as empty texts): {source:.0%} of the source, {target:.0%} of the target."]


def column_shifts(
    columns: SparseColumns, members: np.ndarray, weight: np.ndarray | None = None
) -> tuple[tuple[ColumnShift, ...], str]:
    r"""Which columns are not zero in more, or in fewer, of the target's rows?

    The difference of the shares, target less source, is compared with that under every permuted assignment of rows to
    domains, and put on a tail-probability scale within its own permutations. With :math:`p_{jb}` of column j under
    assignment b (0: the observed one), the adjusted p-value is the share of assignments whose smallest one is as small,

    .. math:: \frac{1}{B + 1} \#\{b : \min_k p_{kb} \le p_{j0}\} ,

    over all columns that are zero, and not zero, in at least 10 rows (single-step min-p; Westfall and Young 1993).

    Assumption: rows (or groups) are exchangeable between domains under the null.

    Parameters
    ----------
    columns : SparseColumns
    members : ndarray of bool, shape (n, B + 1)
        From `permuted_domains`.
    weight : ndarray of shape (n,), optional

    Returns
    -------
    shifts : tuple of ColumnShift
        At most 20, the clearest first.
    note : str
        How many columns were compared.
    """
    rows = sp.csc_array(columns.rows)
    n, width = rows.shape
    count = np.diff(rows.indptr)
    enough = np.flatnonzero(np.minimum(count, n - count) >= RARE)
    U = signed(members, weight)
    least = np.zeros(members.shape[1])
    observed = np.empty(len(enough))
    for start in range(0, len(enough), BLOCK):
        part = _occurs(rows[:, enough[start : start + BLOCK]])
        share = count[enough[start : start + BLOCK], None] / n
        logp = tail_logp(settled(np.abs(part.T @ U), np.sqrt(share * (1 - share) * squared_length(U))))
        observed[start : start + BLOCK] = logp[:, 0]
        least = np.minimum(least, logp.min(axis=0))
    top = np.argsort(observed, kind="stable")[:MOST]
    occurs = _occurs(rows[:, enough[top]])
    in_target = members[:, 0]
    mass = np.ones(n) if weight is None else weight
    source, target = (occurs.T @ (mass * side) / (mass @ side) for side in (~in_target, in_target))
    shifts = tuple(
        ColumnShift(columns.names[enough[j]], float(s), float(t), pvalue(np.r_[-observed[j], -least[1:]]))
        for j, s, t in zip(top, source, target, strict=True)
    )
    return shifts, (
        f"Of the {width:,} sparse columns the {len(enough):,} that are zero, and not zero, in at least {RARE} rows "
        "were compared one by one; their p-values are adjusted for that number and do not enter the verdict."
    )


def _occurs(part: sp.csc_array) -> sp.csc_array:
    """1 where an entry is not zero."""
    return sp.csc_array((np.ones(part.nnz, np.float32), part.indices, part.indptr), shape=part.shape)
