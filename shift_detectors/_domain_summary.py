"""Everything the tests of p(x), p(y) and p(x|y) need to know of a domain, in a few megabytes, whatever its size.

A `SummaryPlan` is made once from some rows of both domains (the pilot). It fixes what is counted: bin edges,
categories, scales, random directions. A `DomainSummary` counts that over the rows of one domain, batch by batch.
All it holds are sums of whole numbers, so that summaries of parts add up to the summary of the whole *exactly*:
in any order, over any split, on any number of machines.

Every row also falls into one of 256 bins by a seeded hash of its key, and the sums are kept per bin. Under the null
the bins of both domains are exchangeable like the rows themselves, and a few hundred bins can be exchanged as
often as needed without the rows (see `_summary_test`).

Where both domains have classes, the sums are kept per stratum: one for every class, and stratum 0 for rows without a
label or with one that the pilot had not. Sums over the strata are those of all rows. Without classes there is one
stratum, and so there is when the classes are too many for `STRATA_BYTES`.

Memory in bytes, with d columns of the design (one per number, one per frequent category): 165 000 for every column
(128 coarse cells in 256 bins, and 4096 fine ones), 8 d^2 + 2048 times the number of products (d (d + 1) / 2 up to
d = 20, d + 200 above) for second moments, 400 000 for random waves, and the row sample. That is 5 MB for 20 columns and
35 MB for 200, beside the rows, times the number of strata.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ._boundary import read_problem
from ._column_kinds import as_numbers, as_seconds, without_arrow
from ._distance_tests import moment_pairs, squared_bandwidth
from ._errors import InputError
from ._overlap import separators
from ._row_sample import RowSample, as_keys, mixed
from ._table import RARE, Problem

BINS = 256  # hash bins of every domain
EDGES = 4096  # cells of a numeric column, at most; F_s and F_t are known exactly at their ends
COARSE = 128  # cells that are also kept per bin
ATOM = 1 / 1024  # a value with a larger share of the pilot has a cell of its own
INDICATORS = 30  # columns of the design per categorical feature
UNIT = 1024  # one standard deviation in the whole numbers of the design
CLIP = 4  # standard deviations at which the design is cut
WAVES = 64  # random directions; each gives three Gaussian kernels of squared length s, s / 4, s / 16
KERNELS = 3
WAVE_UNIT = 4096
EXACT = 4096  # float32 sums of so many waves in units of 1 / WAVE_UNIT are still whole numbers
SAMPLE = 20_000  # rows of a domain that are kept as they are
STRATA_BYTES = 2**27  # sums of all strata, at most; with more classes there is one stratum
FORMAT = 2


@dataclass(frozen=True)
class Column:
    """How the values of one column become cells 0, 1, ..., of which 0 means missing.

    Attributes
    ----------
    name, kind : str
        kind is "numeric", "datetime" or "categorical".
    points : ndarray
        Numeric: ascending edges, cell k > 0 holds edges[k - 2] < x <= edges[k - 1]. Categorical: the values of
        cells 1, 2, ...; all others share the last cell.
    coarse : ndarray of int
        The coarse cell of every cell.
    scale : tuple of float
        Centre and scale of a number in the design; scale 0: it is not in it.
    indicators : ndarray
        Indicator columns of the design, one row each, in whole numbers: of a categorical column for every
        cell, of a numeric one for "has a value" and "is missing".
    """

    name: str
    kind: str
    points: np.ndarray
    coarse: np.ndarray
    scale: tuple[float, float] = (0.0, 0.0)
    indicators: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def n_cells(self) -> int:
        """Cells, with those for missing and for other values."""
        return len(self.points) + 2

    @property
    def n_design(self) -> int:
        """Columns of the design."""
        return int(self.scale[1] > 0) + len(self.indicators)

    @property
    def wide(self) -> np.ndarray:
        """Which of the cells 1, 2, ... of a numeric column may hold several values of note, shape (n_cells - 1,).

        When there are few, every value of the pilot has a cell of its own, and what is new falls beside it.
        """
        if len(self.points) < EDGES // 2:
            return np.zeros(self.n_cells - 1, bool)
        before = np.r_[-np.inf, self.points]
        return np.nextafter(before, np.inf) < np.r_[self.points, np.inf]

    def read(self, series: pd.Series) -> np.ndarray:
        """Numbers (numeric), or cells (categorical)."""
        if self.kind == "categorical":
            return self._category_cells(series)
        series = without_arrow(series)
        try:
            values = (as_numbers if self.kind == "numeric" else as_seconds)(series)
        except (TypeError, ValueError) as error:
            raise self._misfit(str(error).partition("\n")[0]) from error
        if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
            lost = np.isnan(values) & series.notna().to_numpy()
            if lost.any():
                raise self._misfit(f"such as {series[lost].iloc[0]!r}")
        if np.isinf(values).any():
            raise InputError(
                f"infinite values in {self.name!r} ({np.isinf(values).sum()} of {len(values)} rows)",
                "finite or missing values",
                "Clip them or replace them by NaN.",
            )
        return values

    def _misfit(self, what: str) -> InputError:
        numbers = "numbers" if self.kind == "numeric" else "dates"
        return InputError(
            f"values in {self.name!r} that are no {numbers} ({what}) while the rows looked at first hold {numbers}",
            "values of one kind",
            "Replace them by missing values, or turn the whole column into text.",
        )

    def cells(self, values: np.ndarray) -> np.ndarray:
        """Cells of what `read` returned."""
        if self.kind == "categorical":
            return values
        cells = self._located(values)
        cells[np.isnan(values)] = 0
        return cells

    def put_design(self, values: np.ndarray, out: np.ndarray) -> None:
        """Write the rows of the design, shape (n_design, n)."""
        if self.kind == "categorical":
            for row, numbers in zip(out, self.indicators, strict=True):
                row[:] = numbers[values]
            return
        missing = np.isnan(values)
        if self.scale[1] > 0:
            z = np.clip((values - self.scale[0]) * (UNIT / self.scale[1]), -CLIP * UNIT, CLIP * UNIT)
            out[0] = np.where(missing, 0.0, np.rint(z))
        for row, numbers in zip(out[int(self.scale[1] > 0) :], self.indicators, strict=True):
            row[:] = numbers[missing.astype(np.intp)]

    def _category_cells(self, series: pd.Series) -> np.ndarray:
        if isinstance(series.dtype, pd.CategoricalDtype):
            codes, values = series.cat.codes.to_numpy(), series.cat.categories
        else:
            codes, values = pd.factorize(series)
        place = self._index.get_indexer(pd.Index(np.asarray(values.astype(object)), dtype=object))
        cell = np.append(np.where(place < 0, len(self.points) + 1, place + 1), 0)  # its last place serves the code -1
        return cell[codes]

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.points, dtype=object)

    # -------------------------------------------------------------- locating numbers among the edges

    @cached_property
    def _guess(self) -> tuple[float, float, np.ndarray] | None:
        """A table over equal steps that holds a cell not above the right one; None where it would not help."""
        edges, steps = self.points, 16 * EDGES
        if len(edges) < 32 or not np.isfinite(edges[-1] - edges[0]):
            return None
        factor = (steps - 1) / (edges[-1] - edges[0])
        if not np.isfinite(factor):
            return None
        # a hundredth of a step early: rounding must never make the guess too high
        first = np.searchsorted(edges, edges[0] + (np.arange(steps + 1) - 0.01) / factor, side="left")
        inside = np.diff(first)[((edges - edges[0]) * factor).astype(np.intp)]
        return (float(edges[0]), factor, first[:-1].astype(np.int16)) if inside.mean() <= 4 else None

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # without what is cached

    def _located(self, values: np.ndarray) -> np.ndarray:
        """1 + the number of edges below each value (anything for NaN)."""
        if self._guess is None:
            return np.searchsorted(self.points, values, side="left") + 1
        low, factor, first = self._guess
        step = np.fmax(np.fmin((values - low) * factor, len(first) - 1), 0).astype(np.intp)
        cell = first[step]
        edges = np.append(self.points, np.inf)
        late = np.flatnonzero(edges[cell] < values)
        while len(late):
            cell[late] += 1
            late = late[edges[cell[late]] < values[late]]
        return cell + 1


@dataclass(frozen=True)
class SummaryPlan:
    """What is counted, decided once and shared by all summaries that are to be compared.

    Attributes
    ----------
    columns : tuple of Column
    label : Column or None
        How labels are counted; rows without one are unlabelled.
    task : str or None
    groups : str or None
        The column whose values name rows that belong together.
    joint : ndarray of int
        Columns of the design that enter the random waves (columns that separate the domains alone do not).
    waves : ndarray of shape (WAVES, len(joint) + 1)
        Frequencies, and phases in the last column, in units of 1 / UNIT.
    pairs : ndarray of int, shape (2, n_pairs)
        Columns of the design whose products are compared.
    separators : tuple of str
        Columns that tell the domains of the pilot apart alone.
    sample_size : int
        Rows of each domain that a summary keeps as they are.
    seed : int
    by_class : bool
        Whether every class is a stratum.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pilot = pd.DataFrame({"age": rng.normal(50, 9, 6000), "ward": ["a", "b"] * 3000, "ill": [0, 1] * 3000})
    >>> plan = SummaryPlan.from_rows(pilot, pilot, label="ill")
    >>> [(column.name, column.kind, column.n_cells) for column in plan.counted]
    [('age', 'numeric', 4097), ('ward', 'categorical', 4), ('ill', 'categorical', 4)]
    """

    columns: tuple[Column, ...]
    label: Column | None
    task: str | None
    groups: str | None
    joint: np.ndarray
    waves: np.ndarray
    pairs: np.ndarray
    separators: tuple[str, ...]
    sample_size: int = SAMPLE
    seed: int = 0
    by_class: bool = False

    @classmethod
    def from_rows(
        cls,
        source: pd.DataFrame,
        target: pd.DataFrame,
        *,
        label: str | None = None,
        groups: str | None = None,
        task: str = "auto",
        exclude: Any = (),
        sample_size: int = SAMPLE,
        random_state: int = 0,
    ) -> SummaryPlan:
        """A plan from some rows of both domains.

        Parameters
        ----------
        source, target : DataFrame
            Some rows of each, the more typical the better: a value that is not among them is counted, but in a
            wider cell than need be. Ten thousand rows are plenty.
        label, groups : str, optional
            Columns of the label (it may be missing in the target) and of what belongs together. Classes that both
            sides have labels of are counted one by one, unless they are too many.
        task : {"auto", "classification", "regression"}
        exclude : sequence of str
        sample_size : int
            Rows of each domain that a summary keeps.
        random_state : int
        """
        special = [name for name in (label, groups) if name is not None]
        problem = read_problem(
            source.drop(columns=special),
            None if label is None else source[label],
            target.drop(columns=special, errors="ignore"),
            target[label] if label is not None and label in target.columns else None,
            task=task,
            groups=None if groups is None else source[groups],
            groups_target=None if groups is None else target[groups],
            exclude=exclude,
        )
        return cls.from_problem(problem, label=label, groups=groups, sample_size=sample_size, seed=random_state)

    @classmethod
    def from_problem(
        cls, problem: Problem, *, label: str | None, groups: str | None, sample_size: int = SAMPLE, seed: int = 0
    ) -> SummaryPlan:
        """The same from a checked problem."""
        table, rng = problem.table, np.random.default_rng(seed)
        columns = [
            _numeric_column(name, "datetime" if name in table.datetimes else "numeric", table.numeric[:, j])
            for j, name in enumerate(table.numeric_names)
        ]
        columns += [
            _categorical_column(name, table.codes[:, j], table.categories[j])
            for j, name in enumerate(table.categorical_names)
        ]
        apart = separators(problem)
        within = np.repeat([c.name not in apart for c in columns], [c.n_design for c in columns])
        joint = np.flatnonzero(within)
        bandwidth = squared_bandwidth(table.without(set(apart)).design, rng) if len(joint) else 1.0
        # spectral density of exp(-|x|^2 / s): normal with variance 2 / s
        frequencies = rng.normal(scale=np.sqrt(2 / bandwidth), size=(WAVES, len(joint)))
        phases = rng.uniform(0, 2 * np.pi, WAVES)
        waves = np.rint(np.column_stack([frequencies, phases]) * UNIT)
        plan = cls(
            tuple(columns),
            None if label is None else _label_column(problem, label),
            problem.task,
            groups,
            joint,
            waves,
            np.array(moment_pairs(len(within), rng)),
            apart,
            sample_size,
            seed,
        )
        if label is None or problem.task != "classification" or not problem.n_labelled:
            return plan
        by_class = replace(plan, by_class=True)
        size = by_class.n_strata * sum(np.prod(s) * np.dtype(t).itemsize for s, t in plan.shapes().values())
        return by_class if size <= STRATA_BYTES and by_class.n_strata * BINS <= 2**16 else plan

    @property
    def counted(self) -> tuple[Column, ...]:
        """Features, and the label at the end if there is one."""
        return self.columns if self.label is None else (*self.columns, self.label)

    @property
    def n_design(self) -> int:
        """Columns of the design."""
        return sum(column.n_design for column in self.columns)

    @cached_property
    def strata(self) -> np.ndarray:
        """The stratum of every cell of the label."""
        if self.label is None:
            return np.zeros(1, np.intp)
        cells = np.arange(self.label.n_cells)
        return np.where(cells < len(cells) - 1, cells, 0) * self.by_class

    @property
    def n_strata(self) -> int:
        """1 + the number of classes that are counted one by one."""
        return int(self.strata.max()) + 1

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shape and type of the sums of one stratum, by name."""
        d = self.n_design
        shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "bin_rows": ((BINS,), np.int64),
            "products": ((d, d), np.int64),
            "bin_design": ((BINS, d), np.int64),
            "bin_products": ((BINS, self.pairs.shape[1]), np.int64),
            "bin_waves": ((BINS, KERNELS * WAVES if len(self.joint) else 0), np.int64),
        }
        for j, column in enumerate(self.counted):
            shapes[f"counts/{j}"] = (column.n_cells,), np.int64
            # 2^32 rows in one cell of one bin are out of reach below 10^12 rows
            shapes[f"bin_counts/{j}"] = (BINS, int(column.coarse[-1]) + 1), np.uint32
        return shapes

    def needed(self) -> list[str]:
        """Columns that a batch must have; the label may be missing."""
        return [column.name for column in self.columns] + ([] if self.groups is None else [self.groups])

    # ------------------------------------------------------------------ storage

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and a JSON-ready description."""
        arrays = {"joint": self.joint, "waves": self.waves, "pairs": self.pairs}
        columns = []
        for j, column in enumerate(self.counted):
            about: dict[str, Any] = {"name": column.name, "kind": column.kind, "scale": list(column.scale)}
            if column.kind == "categorical":
                about["values"] = [_plain_value(value, column.name) for value in column.points]
            else:
                arrays[f"points/{j}"] = column.points
            arrays[f"coarse/{j}"], arrays[f"indicators/{j}"] = column.coarse, column.indicators
            columns.append(about)
        return arrays, {
            "columns": columns,
            "labelled": self.label is not None,
            "task": self.task,
            "groups": self.groups,
            "separators": list(self.separators),
            "sample_size": self.sample_size,
            "seed": self.seed,
            "by_class": self.by_class,
        }

    @classmethod
    def from_arrays(cls, arrays: Any, about: dict) -> SummaryPlan:
        """The inverse of `to_arrays`."""
        columns = []
        for j, column in enumerate(about["columns"]):
            points = _objects(column["values"]) if "values" in column else arrays[f"points/{j}"]
            coarse, indicators = arrays[f"coarse/{j}"], arrays[f"indicators/{j}"]
            columns.append(Column(column["name"], column["kind"], points, coarse, tuple(column["scale"]), indicators))
        label = columns.pop() if about["labelled"] else None
        fixed = (about["task"], about["groups"], arrays["joint"], arrays["waves"], arrays["pairs"])
        rest = (tuple(about["separators"]), about["sample_size"], about["seed"], about["by_class"])
        return cls(tuple(columns), label, *fixed, *rest)

    @cached_property
    def fingerprint(self) -> bytes:
        """Equal for equal plans."""
        return _archive(*self.to_arrays())


class DomainSummary:
    """The counts of one domain. Question: what must be kept of rows that are too many to keep?

    Formula: with c_j(x) the cell of column j, z(x) the clipped and standardised columns and h(key) in 0..255 the
    hash bin of a row, the sums over the rows of every bin, or of every class in every bin, of

        1[c_j = k],    z,    z_a z_b,    cos(w_m z + b_m), cos(2 (w_m z + b_m)), cos(4 (w_m z + b_m)),

    all in whole numbers, and a row sample (`RowSample`). From two of these `diagnose` (which takes them in
    place of rows) computes every statistic of `JointTest` and its permutation null, within classes those of
    `StratifiedTest`.

    Assumption: keys identify rows (with `groups`: groups) that are independent of each other. Fails to resolve
    what happens inside a cell: a numeric column is known at up to 4095 of its quantiles, every frequent value by
    itself; categories beyond the 4094 most frequent ones of the pilot are counted together.

    Parameters
    ----------
    plan : SummaryPlan
    keep_rows : bool
        Whether to draw the row sample.

    Attributes
    ----------
    n_rows, n_labelled : int
    sample : RowSample or None
    sums : dict of str to ndarray of shape (n_strata, ...)
        As in `SummaryPlan.shapes`.

    References
    ----------
    Rahimi and Recht (2007), Random features for large-scale kernel machines, NeurIPS. Agarwal et al. (2013),
    Mergeable summaries, ACM Transactions on Database Systems 38(4).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> source, target = (pd.DataFrame(rng.normal(size=(500, 2)), columns=["a", "b"]) for _ in range(2))
    >>> plan = SummaryPlan.from_rows(source, target)
    >>> first = DomainSummary(plan).update(source[:200], np.arange(200))
    >>> second = DomainSummary(plan).update(source[200:], np.arange(200, 500))
    >>> whole = DomainSummary(plan).update(source, np.arange(500))
    >>> second.merge(first).to_bytes() == whole.to_bytes()
    True
    """

    def __init__(self, plan: SummaryPlan, keep_rows: bool = True):
        self.plan = plan
        self.n_rows = 0
        self.sample = RowSample(plan.sample_size, plan.seed, plan.label and plan.label.name) if keep_rows else None
        self.sums = {name: np.zeros((plan.n_strata, *shape), kind) for name, (shape, kind) in plan.shapes().items()}

    @property
    def n_labelled(self) -> int:
        """Rows with a label."""
        if self.plan.label is None:
            return 0
        return self.n_rows - int(self.sums[f"counts/{len(self.plan.columns)}"][:, 0].sum())

    def update(self, batch: Any, keys: Any = None) -> DomainSummary:
        """Count the rows of a batch.

        Parameters
        ----------
        batch : DataFrame, or pyarrow RecordBatch or Table
            With the plan's columns; others are kept in the row sample only.
        keys : array-like of shape (n_rows,), optional
            What identifies a row: whole numbers, text or dates. By default rows are numbered as they come, which
            is right only when the whole domain passes through this one summary.
        """
        names = list(batch.columns if isinstance(batch, pd.DataFrame) else batch.schema.names)
        lacking = [name for name in self.plan.needed() if name not in names]
        if lacking:
            raise InputError(
                f"a batch lacks {', '.join(map(repr, lacking[:8]))}",
                "the columns of the plan",
                "Count what has them.",
            )
        n = len(batch)
        if not n:
            return self
        keys = np.arange(self.n_rows, self.n_rows + n, dtype=np.uint64) if keys is None else as_keys(keys, n, "keys")
        unit = keys if self.plan.groups is None else as_keys(series_of(batch, self.plan.groups), n, "groups")
        bins = (mixed(unit, self.plan.seed + 1) >> np.uint64(56)).astype(np.uint16)  # the first eight bits: 256 bins
        label = self.plan.label
        labels = np.zeros(n, np.intp)
        if label is not None and label.name in names:
            labels = label.cells(label.read(series_of(batch, label.name)))
        bins += (BINS * self.plan.strata[labels]).astype(np.uint16)  # now one after the other in every stratum
        order = np.argsort(bins, kind="stable")
        self._count(batch, labels[order], bins[order], order)
        if self.sample is not None:
            self.sample.update(batch, keys)
        self.n_rows += n
        return self

    def _count(self, batch: Any, labels: np.ndarray, bins: np.ndarray, order: np.ndarray) -> None:
        """Add the rows, sorted by stratum and bin."""
        n_strata, n_bins = self.plan.n_strata, self.plan.n_strata * BINS
        offset, inner = bins.astype(np.intp), np.searchsorted(bins, BINS * np.arange(1, n_strata))
        self.sums["bin_rows"] += np.bincount(bins, minlength=n_bins).reshape(n_strata, BINS)
        Z = np.empty((self.plan.n_design, len(bins)))
        row = 0
        for j, column in enumerate(self.plan.counted):
            if column is self.plan.label:
                cells = labels
            else:
                values = column.read(series_of(batch, column.name))[order]
                cells = column.cells(values)
                column.put_design(values, Z[row : row + column.n_design])
                row += column.n_design
            for counts, part in zip(self.sums[f"counts/{j}"], np.split(cells, inner), strict=True):
                counts += np.bincount(part, minlength=len(counts))
            bin_counts = self.sums[f"bin_counts/{j}"]
            width = bin_counts.shape[2]
            both = np.bincount(offset * width + column.coarse[cells], minlength=n_bins * width)
            bin_counts += both.reshape(bin_counts.shape).astype(np.uint32)
        starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
        a, b = self.plan.pairs
        for start, stop in zip(starts, np.r_[starts[1:], len(bins)], strict=True):
            place, part = divmod(int(bins[start]), BINS), Z[:, start:stop]
            products = (part @ part.T).astype(np.int64)  # exact: whole numbers below 2^53
            self.sums["products"][place[0]] += products
            self.sums["bin_products"][place] += products[a, b]
            self.sums["bin_design"][place] += part.sum(axis=1).astype(np.int64)
        if len(self.plan.joint):
            self._count_waves(Z, bins)

    def _count_waves(self, Z: np.ndarray, bins: np.ndarray) -> None:
        frequencies, phases = self.plan.waves[:, :-1], self.plan.waves[:, -1:] * UNIT
        Z = Z if len(self.plan.joint) == len(Z) else Z[self.plan.joint]
        total = self.sums["bin_waves"].reshape(-1, KERNELS * WAVES)  # a view
        for first in range(0, len(bins), EXACT):  # few rows at a time: float32 sums stay exact, and in the cache
            part = slice(first, first + EXACT)
            # whole numbers again: the angle of a row does not depend on the rows beside it
            angle = (frequencies @ Z[:, part] + phases) * (1 / UNIT**2)
            wave = np.cos(angle.astype(np.float32))
            starts = np.flatnonzero(np.r_[True, np.diff(bins[part]) != 0])
            for k in range(KERNELS):
                sums = np.add.reduceat(np.rint(wave * np.float32(WAVE_UNIT)), starts, axis=1)
                total[bins[part][starts], k * WAVES : (k + 1) * WAVES] += sums.T.astype(np.int64)
                wave = 2 * wave * wave - 1  # the cosine of twice the angle

    def merge(self, other: DomainSummary) -> DomainSummary:
        """Add what `other` has counted; `other` stays as it is."""
        if self.plan is not other.plan and self.plan.fingerprint != other.plan.fingerprint:
            raise InputError("two summaries of different plans", "summaries made with one and the same SummaryPlan")
        for name, array in self.sums.items():
            array += other.sums[name]
        self.n_rows += other.n_rows
        if self.sample is None or other.sample is None:
            self.sample = None
        else:
            self.sample.merge(other.sample)
        return self

    # ------------------------------------------------------------------ storage

    def to_bytes(self) -> bytes:
        """The summary with its plan as bytes (a NumPy archive, no pickle); equal for equal summaries."""
        arrays, plan = self.plan.to_arrays()
        about: dict[str, Any] = {"format": FORMAT, "plan": plan, "n_rows": self.n_rows, "sample": None}
        if self.sample is not None:
            rows, about["sample"] = self.sample.to_arrays()
            arrays |= rows
        return _archive(arrays | {f"sums/{name}": array for name, array in self.sums.items()}, about)

    @classmethod
    def from_bytes(cls, data: bytes) -> DomainSummary:
        """The inverse of `to_bytes`."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = dict(archive)
            about = json.loads(arrays.pop("about").tobytes())
        except Exception as error:  # zip, npy and JSON each have errors of their own
            raise InputError(f"bytes that are no summary ({error})", "what DomainSummary.to_bytes wrote") from error
        if about.get("format") != FORMAT:
            raise InputError(f"a summary of format {about.get('format')}", f"format {FORMAT}", "Count again.")
        summary = cls(SummaryPlan.from_arrays(arrays, about["plan"]), keep_rows=False)
        for name, array in summary.sums.items():
            array += arrays[f"sums/{name}"]
        summary.n_rows = about["n_rows"]
        if about["sample"] is not None:
            summary.sample = RowSample.from_arrays(arrays, about["sample"])
        return summary

    def __repr__(self) -> str:
        return f"DomainSummary(n_rows={self.n_rows}, n_labelled={self.n_labelled}, columns={len(self.plan.columns)})"


def series_of(batch: Any, name: str) -> pd.Series:
    """One column of a batch; text of Arrow comes as categories, decimals as numbers."""
    if isinstance(batch, pd.DataFrame):
        return batch[name]
    import pyarrow as pa

    array = batch.column(name)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.dictionary_encode()
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return array.to_pandas()


def _archive(arrays: dict[str, Any], about: dict) -> bytes:
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(stream, about=text, **arrays)
    return stream.getvalue()


def _plain_value(value: Any, name: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (str, bool, int, float)):
        raise InputError(f"column {name!r} has categories of type {type(value).__name__}", "text, numbers or booleans")
    return value


def _objects(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


# ------------------------------------------------------------------ from the pilot's columns to cells


def _numeric_column(name: str, kind: str, values: np.ndarray, design: bool = True) -> Column:
    missing = np.isnan(values)
    present = np.sort(values[~missing])
    edges = _edges(present)
    share = np.diff(np.r_[0, np.searchsorted(present, edges, side="right")]) / len(present)
    coarse = np.r_[0, 1 + _grouped(share), 0]
    coarse[-1] = coarse[-2]  # beyond the last edge
    if not design:
        return Column(name, kind, edges, coarse)
    low, q1, q3, high = np.quantile(present, [0.001, 0.25, 0.75, 0.999])
    margin = 3 * (q3 - q1)
    clipped = np.clip(present, low - margin, high + margin)
    centre, scale = float(clipped.mean()), float(clipped.std())
    if not scale > 1e-12 * max(abs(centre), 1e-300):
        scale = 0.0
    rows = []
    if missing.any():
        rate = missing.mean()
        rows.append(np.array([-rate, 1 - rate]) / np.sqrt(rate * (1 - rate)))
    return Column(name, kind, edges, coarse, (centre, scale), _whole(rows, 2))


def _edges(present: np.ndarray) -> np.ndarray:
    """At most `EDGES` - 1 edges: every value when there are few, else quantiles, and every atom on both sides."""
    values, counts = np.unique(present, return_counts=True)
    if len(values) < EDGES:
        return values
    atoms = values[counts > ATOM * len(present)]
    before = np.nextafter(atoms, -np.inf)
    places = np.linspace(0, 1, EDGES - 2 * len(atoms))[1:]
    quantiles = present[np.ceil(places * len(present)).astype(int) - 1]
    return np.unique(np.r_[quantiles, atoms, before])


def _grouped(share: np.ndarray) -> np.ndarray:
    """A coarse cell for every fine one, of about equal shares, `COARSE` - 1 at most."""
    middle = np.cumsum(share) - share / 2
    return np.unique(np.minimum((middle * (COARSE - 1)).astype(int), COARSE - 2), return_inverse=True)[1]


def _categorical_column(name: str, codes: np.ndarray, values: np.ndarray, design: bool = True) -> Column:
    values = values[: EDGES - 2]  # most frequent first
    frequency = np.bincount(np.minimum(codes, len(values)) + 1, minlength=len(values) + 2)
    coarse = np.minimum(np.arange(len(values) + 2), COARSE - 1)
    rows = []
    if design:
        n, frequent = frequency.sum(), np.argsort(-frequency, kind="stable")[:INDICATORS]
        frequent = [k for k in frequent if RARE <= frequency[k] < n]
        if len(frequent) == 2 and frequency[frequent].sum() == n:
            frequent = frequent[:1]
        for k in frequent:
            rate = frequency[k] / n
            spread = np.sqrt(rate * (1 - rate)) * np.sqrt(max(1, len(frequent) - 1))
            rows.append(((np.arange(len(frequency)) == k) - rate) / spread)
    return Column(name, "categorical", values, coarse, (0.0, 0.0), _whole(rows, len(frequency)))


def _whole(rows: list[np.ndarray], width: int) -> np.ndarray:
    return np.rint(np.clip(np.array(rows).reshape(-1, width), -CLIP, CLIP) * UNIT)


def _label_column(problem: Problem, name: str) -> Column:
    known = problem.y_target[problem.labelled] if problem.n_labelled else problem.y_source[:0]
    if problem.task == "regression":
        return _numeric_column(name, "numeric", np.r_[problem.y_source, known].astype(float), design=False)
    classes = np.r_[problem.classes, np.array(problem.new_classes, problem.classes.dtype)].tolist()
    return _categorical_column(name, np.zeros(0, int), _objects(classes), design=False)
