"""A bounded sample of rows that many machines can draw together.

Every row has a key (its number, or an identifier). The sample consists of the rows whose keys have the smallest
hashes: which rows these are depends neither on the order in which rows come, nor on how they are split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ._errors import InputError


def mixed(keys: np.ndarray, seed: int) -> np.ndarray:
    """Uniform 64-bit hashes of 64-bit keys (splitmix64, Steele, Lea and Flood 2014); distinct keys stay distinct.

    Examples
    --------
    >>> mixed(np.array([0, 1], np.uint64), 0).tolist()
    [16294208416658607535, 10451216379200822465]
    """
    z = keys.astype(np.uint64)
    with np.errstate(over="ignore"):
        z += np.uint64((0x9E3779B97F4A7C15 * (2 * seed + 1)) % 2**64)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


def as_keys(values: Any, n: int, argument: str) -> np.ndarray:
    """64-bit keys of identifiers: whole numbers are themselves, anything else is hashed, the same in every process."""
    series = pd.Series(values)
    if len(series) != n:
        raise InputError(f"{argument} has {len(series)} values", f"{n}, one per row")
    if series.isna().any():
        raise InputError(
            f"{argument} has {series.isna().sum()} missing values",
            "an identifier for every row",
            "Give each row without one an identifier of its own.",
        )
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_numeric_dtype(series.dtype):
        numbers = series.to_numpy()
        if numbers.dtype.kind == "f" and (numbers == np.rint(numbers)).all():
            numbers = numbers.astype(np.int64)  # whole numbers that were beside missing values in another batch
        if numbers.dtype.kind in "iub":
            return numbers.astype(np.int64).view(np.uint64)
        series = pd.Series(numbers)
    elif not pd.api.types.is_datetime64_any_dtype(series.dtype):
        series = series.astype(str).astype(object)
    return np.asarray(pd.util.hash_pandas_object(series, index=False), np.uint64)


class RowSample:
    """The `size` rows with the smallest hashes of their keys.

    Two strata are kept apart, rows with and rows without a label: a thousand labels among a billion rows are all
    in the sample. Within a stratum the sample is uniform.

    Parameters
    ----------
    size : int
        Most rows of a stratum that are kept; memory holds at most three times as many.
    seed : int
    label : str, optional
        The column that tells the strata apart by where it is missing.

    Attributes
    ----------
    n_seen : ndarray of shape (2,)
        Rows without and with a label that were seen.
    """

    def __init__(self, size: int, seed: int = 0, label: str | None = None):
        self.size, self.seed, self.label = size, seed, label
        self.n_seen = np.zeros(2, np.int64)
        # per stratum: hashes, keys and rows that may still be among the smallest
        self._held: list[list[tuple[np.ndarray, np.ndarray, pd.DataFrame]]] = [[], []]
        self._limit: list[Any] = [np.uint64(2**64 - 1)] * 2

    def __len__(self) -> int:
        self._settle()
        return sum(len(held[0][0]) for held in self._held if held)

    @property
    def complete(self) -> bool:
        """Whether every row that was seen is in the sample."""
        return len(self) == int(self.n_seen.sum())

    def update(self, batch: Any, keys: np.ndarray) -> RowSample:
        """See the rows of a batch.

        Parameters
        ----------
        batch : DataFrame, or pyarrow RecordBatch or Table
        keys : ndarray of uint64, shape (n_rows,)
            One key per row, distinct over everything that is merged.
        """
        hashes = mixed(keys, self.seed)
        labelled = _known(batch, self.label, len(keys))
        for stratum in (0, 1):
            mask = labelled == bool(stratum)
            self.n_seen[stratum] += mask.sum()
            rows = np.flatnonzero(mask & (hashes <= self._limit[stratum]))
            if len(rows) > self.size:
                rows = np.sort(rows[np.argpartition(hashes[rows], self.size - 1)[: self.size]])
            if len(rows):
                self._held[stratum].append((hashes[rows], keys[rows], frame_of(batch, rows)))
                if sum(len(h) for h, _, _ in self._held[stratum]) > 2 * self.size:
                    self._settle()
        return self

    def merge(self, other: RowSample) -> RowSample:
        """Add the rows that `other` has seen."""
        if (self.size, self.seed, self.label) != (other.size, other.seed, other.label):
            raise InputError("two row samples drawn by different rules", "equal size, seed and label")
        other._settle()
        for stratum in (0, 1):
            self._held[stratum] = self._held[stratum] + other._held[stratum]
        self.n_seen += other.n_seen
        self._settle()
        return self

    def rows(self) -> pd.DataFrame:
        """The sample in the order of the keys."""
        return self._in_order()[1]

    def keys(self) -> np.ndarray:
        """The keys of `rows()`."""
        return self._in_order()[0]

    def _in_order(self) -> tuple[np.ndarray, pd.DataFrame]:
        self._settle()
        parts = [held[0] for held in self._held if held]
        if not parts:
            return np.zeros(0, np.uint64), pd.DataFrame()
        keys = np.concatenate([part[1] for part in parts])
        order = np.argsort(keys, kind="stable")
        return keys[order], _stacked([part[2] for part in parts]).iloc[order].reset_index(drop=True)

    def _settle(self) -> None:
        """Reduce what is held to the smallest hashes."""
        for stratum, held in enumerate(self._held):
            total = sum(len(hashes) for hashes, _, _ in held)
            if len(held) < 2 and total <= self.size:
                continue
            hashes = np.concatenate([part[0] for part in held])
            keys = np.concatenate([part[1] for part in held])
            frame = _stacked([part[2] for part in held])
            order = np.argsort(hashes, kind="stable")[: self.size]
            self._held[stratum] = [(hashes[order], keys[order], frame.iloc[order])]
            if len(order) == self.size:
                self._limit[stratum] = hashes[order[-1]]

    # ------------------------------------------------------------------ storage

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and a JSON-ready description."""
        keys, frame = self._in_order()
        arrays, columns = {"sample/keys": keys}, []
        for j, name in enumerate(frame.columns):
            values, dtype = _packed(frame[name])
            if isinstance(values, np.ndarray):
                arrays[f"sample/{j}"] = values
                values = None
            columns.append({"name": name, "dtype": dtype, "values": values})
        about = {"size": self.size, "seed": self.seed, "label": self.label, "n_seen": self.n_seen.tolist()}
        return arrays, about | {"columns": columns}

    @classmethod
    def from_arrays(cls, arrays: Any, about: dict) -> RowSample:
        """The inverse of `to_arrays`."""
        sample = cls(about["size"], about["seed"], about["label"])
        keys = arrays["sample/keys"]
        columns = {
            column["name"]: _unpacked(arrays[f"sample/{j}"] if column["values"] is None else column["values"], column)
            for j, column in enumerate(about["columns"])
        }
        if len(keys):
            sample.update(pd.DataFrame(columns), keys)
        sample.n_seen = np.array(about["n_seen"], np.int64)
        sample._settle()
        return sample


def frame_of(batch: Any, rows: np.ndarray) -> pd.DataFrame:
    """Some rows of a batch as a pandas frame of its own."""
    if isinstance(batch, pd.DataFrame):
        return batch.iloc[rows].reset_index(drop=True)
    return batch.take(rows).to_pandas()


def _known(batch: Any, label: str | None, n: int) -> np.ndarray:
    """Which rows have a label."""
    if label is None:
        return np.zeros(n, bool)
    if isinstance(batch, pd.DataFrame):
        return batch[label].notna().to_numpy() if label in batch.columns else np.zeros(n, bool)
    if label not in batch.schema.names:
        return np.zeros(n, bool)
    return batch.column(label).to_pandas().notna().to_numpy()


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames below each other; a column without any value takes the type that it has elsewhere."""
    if len(frames) == 1:
        return frames[0]
    columns = {}
    for name in frames[0].columns:
        parts = [frame[name] for frame in frames]
        valued = [part for part in parts if part.notna().any()] or parts[:1]
        dtype = valued[0].dtype
        if isinstance(dtype, pd.CategoricalDtype) and any(part.dtype != dtype for part in parts):
            whole = pd.concat([part.astype(object) for part in parts], ignore_index=True).astype("category")
        else:
            parts = [
                part
                if part.notna().any() or part.dtype == dtype
                else pd.Series(np.nan, part.index).astype(dtype)
                if dtype.kind not in "biu"
                else pd.Series(np.nan, part.index)
                for part in parts
            ]
            whole = pd.concat(parts, ignore_index=True)
        columns[name] = whole
    return pd.DataFrame(columns)


def _packed(series: pd.Series) -> tuple[Any, str]:
    """A column as a plain array, or as a list for JSON, and its type in words."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return series.to_numpy(), str(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return series.to_numpy().view(np.int64), str(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().view(np.int64), str(dtype)
    values = [None if missing else value for value, missing in zip(series.astype(object), series.isna(), strict=True)]
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    strange = {type(value).__name__ for value in values if not isinstance(value, (str, bool, int, float, type(None)))}
    if strange:
        raise InputError(
            f"column {series.name!r} holds values of type {', '.join(sorted(strange))}",
            "numbers, text, booleans, dates or categories of these",
            "Convert the column, or drop it, before it is summarised.",
        )
    return values, "category" if isinstance(dtype, pd.CategoricalDtype) else str(dtype)


def _unpacked(values: Any, column: dict) -> pd.Series:
    dtype = column["dtype"]
    if not isinstance(values, np.ndarray):
        series = pd.Series(values, dtype=object)
        return series if dtype == "object" else series.astype(dtype)
    if not dtype.startswith("datetime64["):
        return pd.Series(values.view(dtype) if dtype.startswith("timedelta64") else values)
    unit = dtype[len("datetime64[") : -1].split(",")[0]
    series = pd.Series(values.view(f"datetime64[{unit}]"))
    return series.dt.tz_localize("UTC").astype(dtype) if "," in dtype else series
