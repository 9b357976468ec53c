"""Rows that do not fit into memory, read in batches: Parquet, CSV, Arrow datasets, iterators, Dask partitions.

A `Domain` knows how to pass over its rows twice: once to draw the row sample, from which the plan of the summaries is
made, and once to count. Rows are numbered as they stand (files in natural order of their names), so that neither the
size of the batches nor the number of threads or machines changes anything. An iterator can be read once only; its
first rows then serve for the plan.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ._column_kinds import kind_of
from ._columns import as_tuple, from_polars, from_polars_series
from ._csv import BROKEN, broken, check_lengths, header_of
from ._domain_summary import BINS, DomainSummary, SummaryPlan
from ._errors import InputError, MissingDependencyError
from ._file_names import CSV, PARQUET
from ._row_sample import RowSample, frame_of

BATCH = 2**16  # rows that are worked on at a time
MANY = 100_000  # rows of both sides from which rows in memory are counted too: permutations take n x 500 numbers
HEAD = 2_000  # leading rows that are looked at for serial dependence
MISSING = "__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark and Arrow call a folder whose key is missing
WHOLE = re.compile(r"-?[0-9]{1,18}")  # of int64
INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls a frame's nameless index in a file: no column of it
ACCEPTED = (
    "rows in memory, a Parquet or CSV file, folder or glob, a pyarrow dataset, a Dask DataFrame, or an iterator or "
    "list of DataFrames"
)


def is_large(X: Any) -> bool:
    """Whether `X` is read in batches instead of being held."""
    if isinstance(X, (str, Path, Files, DomainSummary)):
        return True
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(x, (pd.DataFrame, Path)) or str(x).lower().endswith(PARQUET + CSV) for x in X)
    package = type(X).__module__.split(".")[0]
    if package in ("dask", "dask_expr"):
        return hasattr(X, "to_delayed")
    if package == "pyarrow":
        return hasattr(X, "to_batches") or hasattr(X, "read_next_batch")
    return isinstance(X, Iterator)


class Domain:
    """One domain, read in batches.

    Parameters
    ----------
    argument : str
        What the caller calls it.
    names : dict
        Columns that get another name: {theirs: ours}.
    dropped : tuple of str
        Columns that are left aside.
    """

    columns: list[str]  # the caller's names, where they are known before reading
    once = False  # whether the rows can be passed over once only
    n_rows: int | None = None

    def __init__(self, argument: str, names: dict[str, str], dropped: tuple[str, ...] = ()):
        self.argument, self.names, self.dropped = argument, names, dropped
        self.head = pd.DataFrame()

    def raw(self, columns: list[str] | None) -> Iterator[Any]:
        """Batches of any size with the caller's names; of all columns, or of these."""
        raise NotImplementedError

    def batches(self, columns: list[str] | None = None) -> Iterator[tuple[int, Any]]:
        """(number of the first row, batch) with our names, `BATCH` rows at most."""
        theirs = {ours: name for name, ours in self.names.items()}
        wanted = None if columns is None else [theirs.get(name, name) for name in columns]
        first = 0
        for whole in self.raw(wanted):
            for start in range(0, len(whole), BATCH):
                yield first + start, self._ours(_slice(whole, start, start + BATCH))
            first += len(whole)

    def _ours(self, batch: Any) -> Any:
        if isinstance(batch, pd.DataFrame):
            return batch.drop(columns=list(self.dropped), errors="ignore").rename(columns=self.names)
        kept = [name for name in columns_in(batch.schema) if name not in self.dropped]
        return batch.select(kept).rename_columns([self.names.get(name, name) for name in kept])

    def draw(self, size: int, seed: int, label: str | None, step: Callable[[str], None]) -> RowSample:
        """The row sample (of an iterator: its first rows)."""
        sample, said = RowSample(size, seed, label), _Rows(f"reading {self.argument}", self.n_rows, step)
        for first, batch in self.batches():
            if not first:
                self.head = frame_of(batch, np.arange(min(HEAD, len(batch))))
            sample.update(batch, np.arange(first, first + len(batch), dtype=np.uint64))
            said(len(batch))
        return sample

    def count(self, plan: SummaryPlan, n_jobs: int, step: Callable[[str], None]) -> DomainSummary:
        """The summary of all rows; an iterator's has the row sample."""
        said, lock, stop = _Rows(f"counting {self.argument}", self.n_rows, step), Lock(), Event()
        label = [] if plan.label is None or not self._has(plan.label.name) else [plan.label.name]
        stream = self.batches(None if self.once else plan.needed() + label)

        def work(_: int) -> DomainSummary:
            summary = DomainSummary(plan, keep_rows=self.once)
            while not stop.is_set():
                with lock:
                    first, batch = next(stream, (0, None))
                if batch is None:
                    break
                try:
                    summary.update(batch, np.arange(first, first + len(batch), dtype=np.uint64))
                except InputError as error:
                    stop.set()
                    raise InputError(f"{self.argument}, rows {first:,} to {first + len(batch):,}: {error}") from error
                said(len(batch))
            return summary

        # NumPy works outside of Python's lock: threads share batches, each with sums of its own
        with _one_blas_thread(), ThreadPoolExecutor(n_jobs) as pool:
            try:
                parts = list(pool.map(work, range(n_jobs)))
            finally:
                stop.set()  # after an error or an interrupt the other threads have nothing to finish
        for part in parts[1:]:
            parts[0].merge(part)
        return parts[0]

    def _has(self, name: str) -> bool:
        return name in self.head.columns


_limit = Lock()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, unless another thread does: the limit is the process's.

    Of two that overlap, the last to leave would put back the limit of the other, for good.
    """
    mine = _limit.acquire(blocking=False)
    try:
        with threadpool_limits(1, user_api="blas") if mine else nullcontext():
            yield
    finally:
        if mine:
            _limit.release()


class Frames(Domain):
    """A list of frames, or an iterator of frames or Arrow batches."""

    def __init__(self, X: Any, argument: str, names: dict[str, str], dropped: tuple[str, ...] = ()):
        super().__init__(argument, names, dropped)
        self.once = not isinstance(X, (list, tuple))
        self._batches = X
        self._seen: list[Any] = []  # of an iterator: what was read for the plan
        self._columns: list[str] = []
        self.n_rows = None if self.once else sum(len(self._checked(batch, k)) for k, batch in enumerate(X))

    def raw(self, columns: list[str] | None) -> Iterator[Any]:
        for number, batch in enumerate(chain(self._seen, self._batches)):
            batch = self._checked(batch, number)
            if columns is not None:
                batch = batch[columns] if isinstance(batch, pd.DataFrame) else batch.select(columns)
            yield batch

    def draw(self, size: int, seed: int, label: str | None, step: Callable[[str], None]) -> RowSample:
        """The row sample; of an iterator its first rows, until the sample is full."""
        if not self.once:
            return super().draw(size, seed, label, step)
        sample, first = RowSample(size, seed, label), 0
        for batch in self._batches:
            batch = self._checked(batch, len(self._seen))
            self._seen.append(batch)
            ours = self._ours(batch)
            self.head = self.head if first else frame_of(ours, np.arange(min(HEAD, len(ours))))
            sample.update(ours, np.arange(first, first + len(ours), dtype=np.uint64))
            first += len(ours)
            if not sample.complete:
                break
        return sample

    def draw_on(self, sample: RowSample) -> None:
        """Let the sample see what an iterator still holds."""
        first = int(sample.n_seen.sum())
        for batch in self._batches:
            batch = self._ours(self._checked(batch, len(self._seen)))
            sample.update(batch, np.arange(first, first + len(batch), dtype=np.uint64))
            first += len(batch)

    def _checked(self, batch: Any, number: int) -> Any:
        """A frame with text for names, or an Arrow batch."""
        here = f"batch {number} of {self.argument}"
        if type(batch).__module__.split(".")[0] == "polars":
            batch = from_polars(batch, here)
        if not isinstance(batch, pd.DataFrame) and not hasattr(batch, "schema"):
            raise InputError(
                f"{here} is a {type(batch).__name__}",
                "DataFrames (pandas or polars) or Arrow batches",
                "Let the iterator yield frames, as pandas.read_csv(..., chunksize=100_000) does.",
            )
        if isinstance(batch, pd.DataFrame):
            batch = batch.set_axis([str(name) for name in batch.columns], axis=1)
        names = list(batch.columns) if isinstance(batch, pd.DataFrame) else columns_in(batch.schema)
        self._columns = self._columns or names
        _same_columns(names, here, self._columns, "batch 0")
        return batch


class Parquet(Domain):
    """Parquet files, and the columns that the names of their folders hold."""

    def __init__(self, files: list[Path], root: Path, argument: str, names: dict[str, str], dropped: tuple[str, ...]):
        super().__init__(argument, names, dropped)
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise MissingDependencyError("pyarrow", "parquet") from None
        self.parts = _with_folders(files, root)
        self.n_rows, expected = 0, None
        for path, keys in self.parts:
            with _opened(path) as file:
                self.n_rows += file.metadata.num_rows
                schema = file.schema_arrow
            types = {name: _family(schema.field(name).type) for name in columns_in(schema)}
            types |= dict.fromkeys(_lacking(keys, types), "key")
            if expected is None:
                expected = types
            _same_columns(list(types), str(path), list(expected), str(files[0]))
            for name, family in types.items():
                if family != expected[name] and "empty" not in (family, expected[name]):
                    raise InputError(
                        f"column {name!r} of {path} holds {family}, that of {files[0]} {expected[name]}",
                        "files with the same columns",
                        "Write the file again with the other files' types.",
                    )

        self.columns = list(expected or ())

    def raw(self, columns: list[str] | None) -> Iterator[Any]:
        for path, keys in self.parts:
            with _opened(path) as file:
                keys = _lacking(keys, file.schema_arrow.names, columns)
                stored = None if columns is None else [name for name in columns if name not in keys]
                try:
                    for batch in file.iter_batches(BATCH, columns=stored):
                        yield _with_keys(batch, keys)
                except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
                    raise _unreadable(path, error) from error


@dataclass(frozen=True)
class Files:
    """Parquet or CSV files, the latter with marks of their own between columns and in numbers.

    Attributes
    ----------
    path : str or Path
        A file, a folder, or a pattern.
    separator : str
    decimal : str
        The decimal mark.
    """

    path: Any
    separator: str = ","
    decimal: str = "."


class Csv(Domain):
    """CSV files, parsed anew in each pass; a column that holds text anywhere is text everywhere, as in memory."""

    def __init__(
        self,
        files: list[Path],
        root: Path,
        marks: Files,
        argument: str,
        names: dict[str, str],
        dropped: tuple[str, ...],
    ):
        super().__init__(argument, names, dropped)
        self.marks = marks
        headers = [header_of(path, marks.separator, "The separator seems to be {}.") for path in files]
        self.parts = [
            (path, header, _lacking(keys, header))
            for (path, keys), header in zip(_with_folders(files, root), headers, strict=True)
        ]
        self.columns = [*headers[0], *self.parts[0][2]]
        for path, header, keys in self.parts:
            _same_columns([*header, *keys], str(path), self.columns, str(files[0]))
        self._kinds: dict[str, set[str]] = {}  # of every column: what its batches hold
        self._text: dict[str, type] = {}  # columns that are read as text, though some batch looks like numbers

    def draw(self, size: int, seed: int, label: str | None, step: Callable[[str], None]) -> RowSample:
        """The row sample; drawn again if a column of numbers turned out to hold text further down."""
        sample = super().draw(size, seed, label, step)
        self._text = {name: str for name, kinds in self._kinds.items() if len(kinds - {"empty"}) > 1}
        return super().draw(size, seed, label, step) if self._text else sample

    def raw(self, columns: list[str] | None) -> Iterator[Any]:
        for path, header, keys in self.parts:
            wanted = _lacking(keys, (), columns)
            stored = None if columns is None else [name for name in columns if name not in keys] or header[:1]
            try:
                with pd.read_csv(
                    path,
                    sep=self.marks.separator,
                    decimal=self.marks.decimal,
                    usecols=stored,
                    dtype=self._text,
                    chunksize=BATCH,
                    low_memory=False,
                ) as batches:
                    gaps = False
                    for batch in batches:
                        for name, values in batch.items():
                            self._kinds.setdefault(name, set()).add(kind_of(values))
                        gaps |= columns is None and bool(batch.iloc[:, -1].isna().any())
                        yield _with_keys(batch, wanted)
                if gaps:
                    check_lengths(path, self.marks.separator)
            except BROKEN as error:
                raise broken(path, error) from error


class Dataset(Domain):
    """A pyarrow dataset of any format, with its filter if it has one."""

    def __init__(self, X: Any, argument: str, names: dict[str, str], dropped: tuple[str, ...] = ()):
        super().__init__(argument, names, dropped)
        self.dataset = X
        expected = columns_in(X.schema)
        for fragment in X.get_fragments():
            if not hasattr(fragment, "path"):
                continue
            try:
                stored = columns_in(fragment.physical_schema)
            except (OSError, ValueError) as error:
                raise _unreadable(fragment.path, error) from error
            from pyarrow.dataset import get_partition_keys

            keys = get_partition_keys(fragment.partition_expression)
            # pyarrow would fill what a file lacks with missing values, without a word
            _same_columns(stored + [key for key in keys if key not in stored], fragment.path, expected, "the dataset")
        self.n_rows = X.count_rows()

    def raw(self, columns: list[str] | None) -> Iterator[Any]:
        try:
            yield from self.dataset.to_batches(
                columns=columns, batch_size=BATCH, batch_readahead=2, fragment_readahead=1
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.argument} cannot be read ({_first_line(error)})", "a dataset of whole files"
            ) from error


def open_domain(X: Any, argument: str, names: dict[str, str], dropped: tuple[str, ...] = ()) -> Domain:
    """The domain of what the caller passed."""
    if isinstance(X, pd.DataFrame):
        return Frames([X], argument, names, dropped)
    if isinstance(X, (list, tuple)) and isinstance(X[0], pd.DataFrame):
        return Frames(X, argument, names, dropped)
    if isinstance(X, (str, Path, list, tuple)):
        X = Files(X)
    if isinstance(X, Files):
        files = files_of(X.path, argument)
        root = _root_of(X.path, files)
        if _is_csv(files[0]):
            return Csv(files, root, X, argument, names, dropped)
        return Parquet(files, root, argument, names, dropped)
    package = type(X).__module__.split(".")[0]
    if package in ("dask", "dask_expr"):
        from ._dask import Partitions

        return Partitions(X, argument, names, dropped)
    if package == "pyarrow" and hasattr(X, "to_batches"):
        if hasattr(X, "get_fragments"):
            return Dataset(X, argument, names, dropped)
        return Frames([X], argument, names, dropped)  # a table
    if isinstance(X, Iterator) or hasattr(X, "read_next_batch"):
        return Frames(X, argument, names, dropped)
    raise InputError(
        f"{argument} is a {type(X).__name__} while the other side is read in batches",
        ACCEPTED,
        "Pass a DataFrame, whose columns can be matched by name.",
    )


def many_rows(
    X_source: Any, y_source: Any, X_target: Any, y_target: Any, groups: Any, groups_target: Any, exclude: Any
) -> tuple[Any, Any, Any, Any, Any, Any] | None:
    """The arguments as frames and columns, if they are plain tables with so many rows that counting them pays.

    None for the rest, and for what `read_problem` must refuse.
    """
    if not all(isinstance(X, (pd.DataFrame, np.ndarray)) or hasattr(X, "get_columns") for X in (X_source, X_target)):
        return None
    if len(X_source) + len(X_target) <= MANY:
        return None
    if any(isinstance(name, (int, np.integer)) for name in as_tuple(exclude)):
        return None  # a position
    arrays = [X for X in (X_source, X_target) if isinstance(X, np.ndarray)]
    if len(arrays) == 1 or any(X.ndim != 2 or X.dtype.kind not in "iuf" or not X.dtype.isnative for X in arrays):
        return None
    if len({X.shape[1:] for X in arrays}) > 1:
        return None
    found = []
    for X, y, group, argument in (
        (X_source, y_source, groups, "X_source"),
        (X_target, y_target, groups_target, "X_target"),
    ):
        columns = [_column(values) for values in (y, group)]
        if any(column is not None and len(column) != len(X) for column in columns):
            return None
        if columns[1] is not None and len(pd.unique(columns[1])) < BINS:
            return None  # groups that can be exchanged one by one need no bins
        if isinstance(X, np.ndarray):
            X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])], copy=False)
        X = X if isinstance(X, pd.DataFrame) else from_polars(X, argument)
        names = columns_of(X) or []
        if len({*names}) < len(names) or not names:
            return None
        found.append((X.set_axis(names, axis=1), *columns))
    (X_source, y_source, groups), (X_target, y_target, groups_target) = found
    if y_source is not None and pd.isna(y_source).any():
        return None
    return X_source, y_source, X_target, y_target, groups, groups_target


def _column(values: Any) -> Any:
    """One-dimensional values without an index, by which a frame would rearrange them; () for anything else."""
    if values is None:
        return None
    if type(values).__module__.split(".")[0] == "polars":
        values = () if hasattr(values, "get_columns") else from_polars_series(values)
    if isinstance(values, (pd.Series, pd.Index)):
        return values.array
    values = np.asarray(values, dtype=object) if isinstance(values, (list, tuple)) else values
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return ()  # pandas does not compare these bytes with text
    return values if isinstance(values, (np.ndarray, pd.api.extensions.ExtensionArray)) and values.ndim == 1 else ()


def columns_of(X: Any) -> list[str] | None:
    """Names of the columns of a frame in memory, None for anything else."""
    return [str(name) for name in X.columns] if isinstance(X, pd.DataFrame) else None


# ------------------------------------------------------------------ files


def files_of(X: Any, argument: str) -> list[Path]:
    """Parquet or CSV files of a path, a list of paths, a folder or a pattern, in natural order."""
    if isinstance(X, (list, tuple)):
        found, what = [Path(x) for x in X], ""
    elif Path(text := str(X)).is_dir():
        found = [p for p in Path(text).rglob("*") if str(p).lower().endswith(PARQUET + CSV)]
        found = [p for p in found if not any(part.startswith(("_", ".")) for part in p.relative_to(text).parts)]
        found, what = _in_order(found), f"the folder {text} holds no Parquet or CSV file"
    elif Path(text).exists():
        found, what = [Path(text)], ""
    elif glob.has_magic(text):
        found, what = _in_order(glob.glob(text, recursive=True)), f"no file matches {text}"
    else:
        found, what = [], f"{text} does not exist"
    if not found:
        raise InputError(
            f"{argument}: {what}", 'a Parquet or CSV file, a folder of them, or a pattern such as "part-*.parquet"'
        )
    for path in found:
        if not str(path).lower().endswith(PARQUET + CSV):
            raise InputError(
                f"{argument}: {path} is of an unknown type", f"names that end in {', '.join(PARQUET + CSV)}"
            )
        if _is_csv(path) != _is_csv(found[0]):
            raise InputError(f"{argument}: {found[0]} and {path} are of two kinds", "files of one kind")
    return found


def _in_order(paths: Any) -> list[Path]:
    """part-2 before part-10"""
    return sorted(map(Path, paths), key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", str(p))])


def _is_csv(path: Path) -> bool:
    return str(path).lower().endswith(CSV)


def _root_of(X: Any, files: list[Path]) -> Path:
    """What the caller passed as a folder: of a pattern the part without wildcards, of a list what its files share."""
    if isinstance(X, (list, tuple)):
        return Path(os.path.commonpath([path.absolute().parent for path in files]))
    if Path(X).is_dir():
        return Path(X)
    if Path(X).exists():
        return Path(X).parent
    return Path(*takewhile(lambda part: not glob.has_magic(part), Path(X).parts))


def _with_folders(files: list[Path], root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Files, and the columns that are written in the names of their folders below `root`: year=2024/rows.parquet."""
    found = []
    for path in files:
        folders = path.absolute().relative_to(root.absolute()).parent.parts
        pairs = (folder.partition("=") for folder in folders if "=" in folder)
        found.append({unquote(name): unquote(written) for name, _, written in pairs})
    values = {name: _values_of({keys[name] for keys in found if name in keys}) for name in set().union(*found)}
    return [
        (path, {name: values[name][written] for name, written in keys.items()})
        for path, keys in zip(files, found, strict=True)
    ]


def _values_of(written: set[str]) -> dict[str, Any]:
    """What the values of a key stand for: whole numbers where all are, else text; or a missing value."""
    known = written - {MISSING}
    if not known or not all(map(WHOLE.fullmatch, known)):
        return {value: value for value in known} | {MISSING: None}
    return {value: (float if MISSING in written else int)(value) for value in known} | {MISSING: np.nan}


def _lacking(keys: dict[str, Any], stored: Collection[str], columns: list[str] | None = None) -> dict[str, Any]:
    """The keys that a file does not store itself; of all columns, or of these."""
    return {k: v for k, v in keys.items() if k not in stored and (columns is None or k in columns)}


def _with_keys(batch: Any, keys: dict[str, Any]) -> Any:
    if isinstance(batch, pd.DataFrame):
        return batch.assign(**keys)
    import pyarrow as pa

    for name, value in keys.items():
        kind = {int: pa.int64(), float: pa.float64()}.get(type(value), pa.string())
        batch = batch.append_column(name, pa.array([value] * len(batch), kind, from_pandas=True))
    return batch


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "a Parquet file") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Any, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read as Parquet ({_first_line(error)})",
        "whole Parquet files",
        "It may be cut off: write or copy it again, or leave it out.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _family(kind: Any) -> str:
    """What a column holds, in a word; files may differ in width, not in this."""
    import pyarrow.types as pat

    if pat.is_dictionary(kind):
        kind = kind.value_type
    for name, tests in (
        ("nothing", (pat.is_null,)),
        ("booleans", (pat.is_boolean,)),
        ("numbers", (pat.is_integer, pat.is_floating, pat.is_decimal)),
        ("text", (pat.is_string, pat.is_large_string)),
        ("times", (pat.is_temporal,)),
    ):
        if any(test(kind) for test in tests):
            return "empty" if name == "nothing" else name
    return str(kind)


def columns_in(schema: Any) -> list[str]:
    """Names of the columns of an Arrow schema, without a frame's index."""
    return [name for name in schema.names if not INDEX.fullmatch(name)]


def _same_columns(names: list[str], here: str, expected: list[str], there: str) -> None:
    missing, extra = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
    if missing or extra:
        parts = [f"{here} lacks {', '.join(map(repr, missing[:8]))}"] if missing else []
        parts += [f"{here} has {', '.join(map(repr, extra[:8]))} that {there} has not"] if extra else []
        raise InputError(" and ".join(parts), "the same columns everywhere", "Write it again with the same columns.")


def _slice(batch: Any, start: int, stop: int) -> Any:
    if isinstance(batch, pd.DataFrame):
        return batch.iloc[start:stop]
    return batch.slice(start, stop - start)


class _Rows:
    """Says how many rows are done."""

    def __init__(self, what: str, total: int | None, step: Callable[[str], None]):
        self.what, self.of, self.step, self.done = what, "" if total is None else f" of {total:,}", step, 0

    def __call__(self, n: int) -> None:
        self.done += n
        self.step(f"{self.what}: {self.done:,}{self.of} rows")
