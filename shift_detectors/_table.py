"""The two samples as one typed table, and its two encodings.

Everything here looks at source and target *pooled*, never at which row belongs to which: an encoding that
peeked at the domain would invalidate every permutation p-value computed on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ._influence import sampled_groups
from ._results import MIN_LABELS
from ._text import quoted

if TYPE_CHECKING:
    from ._sparse_columns import SparseColumns

RARE = 10  # categories with fewer pooled rows share one column of the design
TREE_LEVELS = 60  # categories told apart by tree learners (their histograms have 64 bins)
MAX_LEVELS = 30  # columns of the design per categorical feature


@dataclass(frozen=True)
class Table:
    """Source rows stacked on target rows, columns separated by kind.

    Attributes
    ----------
    numeric : ndarray of shape (n, n_numeric)
        Float64, NaN where missing. Datetimes are seconds since 1970.
    codes : ndarray of shape (n, n_categorical)
        Int32 category codes into `categories`, -1 where missing. Booleans are categorical.
    numeric_names, categorical_names : tuple of str
    categories : tuple of ndarray
        One array of category values per column of `codes`.
    n_source : int
        The first `n_source` rows are the source.
    datetimes : frozenset of str
        Names among `numeric_names` that hold datetimes.
    sparse : SparseColumns or None
        Of the table of sparse rows as they were read, not of parts of it: what its columns are components of.
    """

    numeric: np.ndarray
    codes: np.ndarray
    numeric_names: tuple[str, ...]
    categorical_names: tuple[str, ...]
    categories: tuple[np.ndarray, ...]
    n_source: int
    datetimes: frozenset[str] = field(default_factory=frozenset)
    sparse: SparseColumns | None = None

    @property
    def n(self) -> int:
        """Rows of both sides."""
        return len(self.numeric)

    @property
    def n_target(self) -> int:
        """Rows of the target."""
        return self.n - self.n_source

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, numeric ones first."""
        return self.numeric_names + self.categorical_names

    @property
    def domain(self) -> np.ndarray:
        """0 for source rows, 1 for target rows, shape (n,)."""
        return (np.arange(self.n) >= self.n_source).astype(np.int8)

    def take(self, rows: np.ndarray, n_source: int) -> Table:
        """The table of some rows, of which the first `n_source` are the source."""
        return replace(self, numeric=self.numeric[rows], codes=self.codes[rows], n_source=n_source, sparse=None)

    def without(self, names: frozenset[str] | set[str]) -> Table:
        """The table without the named features."""
        keep_numeric = [i for i, name in enumerate(self.numeric_names) if name not in names]
        keep_codes = [i for i, name in enumerate(self.categorical_names) if name not in names]
        return Table(
            self.numeric[:, keep_numeric],
            self.codes[:, keep_codes],
            tuple(self.numeric_names[i] for i in keep_numeric),
            tuple(self.categorical_names[i] for i in keep_codes),
            tuple(self.categories[i] for i in keep_codes),
            self.n_source,
            self.datetimes - set(names),
        )

    @cached_property
    def design(self) -> np.ndarray:
        """Dense float32 design without missing values, shape (n, d).

        Numeric columns are centred and scaled by pooled mean and standard deviation after clipping at the
        pooled 0.1 % and 99.9 % quantiles widened by three interquartile ranges; a missing value becomes the
        mean and sets an indicator column. Categories become indicator columns, rare ones share a column;
        each indicator is centred and scaled so that one categorical feature has about the variance of one
        numeric feature. Constant columns are dropped.
        """
        blocks = []
        for j in range(self.numeric.shape[1]):
            column = self.numeric[:, j]
            missing = np.isnan(column)
            present = column[~missing]
            if present.size and present.min() < present.max():
                present = present / max(1.0, np.abs(present).max())  # no overflow in the variance
                low, q1, q3, high = np.quantile(present, [0.001, 0.25, 0.75, 0.999])
                margin = 3 * (q3 - q1)
                clipped = np.clip(present, low - margin, high + margin)
                scale = clipped.std()
                if scale > 0:
                    z = np.zeros(self.n)
                    z[~missing] = (clipped - clipped.mean()) / scale
                    blocks.append(z)
            if 0 < missing.sum() < self.n:
                blocks.append((missing - missing.mean()) / missing.std())
        for j in range(self.codes.shape[1]):
            indicators = _indicators(self.codes[:, j])
            scale = np.sqrt(np.maximum(1, indicators.shape[1] - 1))
            for column in indicators.T:
                blocks.append((column - column.mean()) / column.std() / scale)
        if not blocks:
            return np.zeros((self.n, 0), np.float32)
        return np.column_stack(blocks).astype(np.float32)

    @cached_property
    def row_hashes(self) -> np.ndarray:
        """One 64-bit hash per row, mixed column by column (NaN equals NaN, -0 equals 0)."""
        hashes = np.zeros(self.n, np.uint64)
        for column in (*self.numeric.T, *self.codes.T):
            hashes ^= (column + 0.0).view(np.uint64)
            hashes *= np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        return hashes

    @cached_property
    def tree_input(self) -> np.ndarray:
        """Float matrix for tree learners, shape (n, n_numeric + n_categorical), NaN where missing.

        Categories beyond the `TREE_LEVELS` first codes share the last one.
        """
        codes = np.where(self.codes < 0, np.nan, self.codes)
        return np.column_stack([self.numeric, np.minimum(codes, TREE_LEVELS - 1)])

    @property
    def tree_categorical(self) -> np.ndarray | None:
        """Mask of the categorical columns of `tree_input`, None when there is none."""
        if not self.codes.shape[1]:
            return None
        return np.arange(len(self.names)) >= self.numeric.shape[1]


def _indicators(codes: np.ndarray) -> np.ndarray:
    """0/1 columns of the frequent codes (missing is a code of its own), rare ones together."""
    values, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return np.zeros((len(codes), 0))
    frequent = np.argsort(-counts, kind="stable")[:MAX_LEVELS]
    frequent = frequent[counts[frequent] >= RARE]
    group = np.full(len(values), len(frequent))
    group[frequent] = np.arange(len(frequent))
    columns = (group[inverse][:, None] == np.arange(len(frequent) + 1)).astype(float)
    columns = columns[:, (columns.std(axis=0) > 0)]
    return columns[:, :1] if columns.shape[1] == 2 else columns


@dataclass(frozen=True)
class Problem:
    """A checked problem: the caller's objects untouched, beside what the tests compute on.

    Attributes
    ----------
    table : Table
        Both samples as the tests see them (through `representation`, without `exclude`).
    y_source : ndarray of shape (n_source,) or None
        Class labels or float targets.
    y_target : ndarray of shape (n_target,) or None
        As `y_source`; what stands in unlabelled rows is meaningless.
    labelled : ndarray of bool, shape (n_target,)
        Which target rows have a label; all False when there are none.
    task : str or None
        ``"classification"`` or ``"regression"``; None without `y_source`.
    classes : ndarray or None
        Sorted source classes; target-only classes are in `new_classes`.
    new_classes : tuple
        Classes seen in the target only.
    groups : ndarray of int, shape (n,) or None
        Rows with the same value belong together (over both sides).
    weight : ndarray of shape (n,) or None
        Sample weights of both sides, mean 1 on each side.
    source_domain : ndarray of shape (n_source,) or None
    notes : tuple of str
    """

    table: Table
    y_source: Any = None  # typed loosely: a test that requires labels need not repeat that they are there
    y_target: Any = None
    labelled: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    task: Any = None
    classes: Any = None
    new_classes: tuple = ()
    groups: np.ndarray | None = None
    weight: np.ndarray | None = None
    source_domain: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_labelled(self) -> int:
        """Labelled target rows."""
        return int(self.labelled.sum())

    @property
    def new_class_shares(self) -> dict[Any, float]:
        """Shares of the classes that only the target has in its labels."""
        return {c: float((self.y_target[self.labelled] == c).mean()) for c in self.new_classes}

    def sides(self, values: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """What is known of all rows, such as `groups`, for the source and for the target."""
        return (None, None) if values is None else (values[: self.table.n_source], values[self.table.n_source :])

    def sampled_groups(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """`groups` of the source and of the target, as the units of estimates: None of a side that is one group."""
        source, target = self.sides(self.groups)
        return sampled_groups(source), sampled_groups(target)

    def seen(self) -> Problem:
        """The problem as questions about x see it: weights that say how labelled target rows were chosen are dropped.

        Such weights differ, while those of the unlabelled rows are equal. The labelled rows then speak for the whole
        target, the unlabelled ones only for those that are seldom labelled; together, as they are, for the target.
        """
        source, target = self.sides(self.weight)
        if source is None or target is None or not chose_labels(target, self.labelled):
            return self
        weight = None if np.ptp(source) == 0 else np.concatenate([source, np.ones_like(target)])
        return replace(self, weight=weight)

    def without_labels(self) -> Problem:
        """The same rows, those of the target unlabelled."""
        return replace(self, y_target=None, labelled=np.zeros_like(self.labelled))

    def labelled_part(self) -> Problem:
        """The problem restricted to rows with a label: all of the source, the labelled target rows."""
        return self.with_target(np.flatnonzero(self.labelled))

    def with_target(self, kept: np.ndarray) -> Problem:
        """The problem restricted to some rows of the target."""
        if len(kept) == self.table.n_target:
            return self
        n_source = self.table.n_source
        rows = np.r_[np.arange(n_source), n_source + kept]
        return replace(
            self,
            table=self.table.take(rows, n_source),
            y_target=None if self.y_target is None else self.y_target[kept],
            labelled=self.labelled[kept],
            groups=None if self.groups is None else self.groups[rows],
            weight=None if self.weight is None else self.weight[rows],
        )

    def with_new_classes(self, new: tuple) -> Problem:
        """The same problem, of which it turned out that only `new` are missing from the source."""
        notes = [note for note in self.notes if note not in new_classes_note(self.new_classes)]
        return replace(self, new_classes=new, notes=(*notes, *new_classes_note(new)))

    @property
    def y(self) -> np.ndarray:
        """Labels of both sides, shape (n,); only for fully labelled problems (see `labelled_part`)."""
        return np.concatenate([self.y_source, self.y_target])


UNLABELLED = (-1,)  # as the only new class: scikit-learn's sign for unlabelled rows in semi-supervised learning


def new_classes_note(new: tuple) -> list[str]:
    """What is said of classes seen in the target only."""
    if not new:
        return []
    hint = " Rows without a label have a missing one (None, NaN), not -1." if new == UNLABELLED else ""
    return [f"The target has classes that the source has not: {', '.join(map(quoted, new))}.{hint}"]


def chose_labels(weight: np.ndarray, labelled: np.ndarray) -> bool:
    """Whether weights of target rows say how the labelled ones were chosen: those of the unlabelled rows are equal."""
    unlabelled = weight[~labelled]
    return len(unlabelled) >= MIN_LABELS and np.ptp(unlabelled) == 0 < np.ptp(weight)
