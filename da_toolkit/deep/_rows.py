"""The caller's rows as tensors: arrays, frames and tensors at once, torch data sets row by row."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from da_toolkit._rows import check_columns, column_names
from shift_detectors._errors import InputError


class DatasetRows:
    """The first part of every element of a torch data set, read when it is asked for.

    Indexing with a tensor of row numbers gives their batch on the device; everything else about it looks like
    a tensor of shape (n, ...).
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.device, self.dtype = torch.device("cpu"), torch.float32
        first = self[torch.tensor([0])]
        self.shape, self.ndim = (len(dataset), *first.shape[1:]), first.ndim
        self.is_floating = first.is_floating_point()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Batch of those rows."""
        read = getattr(self.dataset, "__getitems__", None)
        chosen = rows.tolist()
        elements = read(chosen) if read else [self.dataset[i] for i in chosen]
        parts = [element[0] if isinstance(element, (tuple, list)) else element for element in elements]
        batch = default_collate(parts)
        if not isinstance(batch, Tensor):
            raise InputError(
                f"the data set gives {type(parts[0]).__name__}",
                "a tensor or array, alone or before the label",
                "Convert images to tensors in the data set's transform.",
            )
        return batch.to(self.device, self.dtype if batch.is_floating_point() else batch.dtype)

    def to(self, device: torch.device, dtype: torch.dtype) -> DatasetRows:
        """The same rows, given in that type on that device."""
        moved = DatasetRows(self.dataset)
        moved.device, moved.dtype = device, dtype
        return moved

    def labels(self) -> Any:
        """The second part of every element; at once from `targets`, as far as the data set gives the same."""
        targets: Any = getattr(self.dataset, "targets", None)
        targets = targets.to_numpy() if hasattr(targets, "to_numpy") else targets  # a Series is asked by its labels
        if targets is None or not self._gives(targets):
            elements = (self.dataset[i] for i in range(len(self)))
            targets = [element[1] for element in elements if isinstance(element, (tuple, list)) and len(element) > 1]
        if len(targets) != len(self):
            raise InputError("a data set without labels", "(row, label) elements, or y", "Pass y.")
        return torch.as_tensor(targets).numpy() if isinstance(targets[0], Tensor) else np.asarray(targets)

    def _gives(self, targets: Any) -> bool:
        """Whether these are the second parts of a few elements that are spread over the data set."""
        if len(targets) != len(self) or getattr(self.dataset, "target_transform", None) is not None:
            return False
        spread = np.unique(np.linspace(0, len(self) - 1, 16).astype(int)).tolist()
        elements = ((i, self.dataset[i]) for i in spread)
        return all(
            isinstance(element, (tuple, list)) and len(element) > 1 and np.array_equal(element[1], targets[i])
            for i, element in elements
        )


def digest(name: str, *values: Any) -> bytes:
    """Digest of tensors, the same in every process; what is no tensor (a data set, None) counts by its length."""
    found = hashlib.blake2b(name.encode(), digest_size=16)
    for value in values:
        if isinstance(value, Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(f"{None if value is None else len(value)}".encode())
    return found.digest()


def read_source(X: Any, y: Any) -> tuple[Any, Any]:
    """Source rows and labels; the labels of a data set are its second parts unless `y` is given."""
    rows = read_rows(X, "X")
    return rows, rows.labels() if y is None and isinstance(rows, DatasetRows) else y


def read_rows(X: Any, name: str) -> Any:
    """Rows as a tensor of shape (n, ...), checked to be finite, or as `DatasetRows`; the caller's data stay."""
    loader = X if isinstance(X, DataLoader) else None
    if loader is not None:
        X = loader.dataset
    if isinstance(X, IterableDataset):
        raise InputError(f"{name} is an iterable data set", "one with len() and rows by number", "Collect its rows.")
    if loader is not None and not _gives_its_rows(loader):
        raise InputError(
            f"{name} is a DataLoader with a sampler, batch_sampler or collate_fn of its own",
            "a loader that gives every row of its data set once, as it is: its data set is taken",
            "Choose rows by torch.utils.data.Subset and weigh them by sample_weight; change them in the data set.",
        )
    if isinstance(X, Dataset):
        return DatasetRows(X)
    if isinstance(X, tuple) and any(np.ndim(part) > 1 for part in X):
        raise InputError(
            f"{name} is a tuple of {len(X)} arrays",
            "one array, tensor, frame or data set",
            "Put the inputs of a module that takes several side by side, and take them apart in its forward.",
        )
    if sparse.issparse(X):
        raise InputError(f"{name} is sparse", "a dense array, tensor or frame", f"Pass {name}.toarray().")
    if isinstance(X, Tensor):
        rows = X.detach()
    else:
        rows = torch.from_numpy(_numbers(X, name))
    if rows.ndim < 2 or 0 in rows.shape:
        raise InputError(
            f"{name} has shape {tuple(rows.shape)}",
            "shape (n_rows, n_features) or (n_rows, ...)",
            "Pass rows.",
        )
    if rows.is_floating_point():
        bad = int((~rows.isfinite()).flatten(1).any(dim=1).sum())
        if bad:
            raise InputError(
                f"{name} has missing or infinite values in {bad} of {len(rows)} rows",
                "finite numbers",
                "Impute or drop them, in the same way in both domains.",
            )
    return rows


def _gives_its_rows(loader: DataLoader) -> bool:
    """Whether a loader gives every row of its data set once, and as the data set does."""
    sampler: Any = loader.sampler
    once = type(sampler) in (SequentialSampler, RandomSampler) and not getattr(sampler, "replacement", False)
    once = once and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    batches: Any = loader.batch_sampler
    plain = batches is None or (type(batches) is BatchSampler and batches.sampler is sampler)
    return once and plain and loader.collate_fn in (default_collate, default_convert)


def _numbers(X: Any, name: str) -> np.ndarray:
    """A new float array of a table or array; text is refused."""
    columns = column_names(X)
    try:
        if columns is not None and hasattr(X, "iloc"):
            text = [c for c, t in X.dtypes.items() if getattr(t, "kind", "O") not in "biuf"]
            if not text:
                return np.array(X.to_numpy(dtype=float, na_value=np.nan), order="C")
        elif columns is not None:
            text = [c for c in columns if not (X.schema[c].is_numeric() or str(X.schema[c]) == "Boolean")]
            if not text:
                return X.to_numpy().astype(float, order="C")
        else:
            array = np.asarray(X)
            text = [] if array.dtype.kind in "biufO" else [array.dtype]
            if not text:
                return array.astype(np.float32 if array.dtype == np.float32 else float, order="C")
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} has values that are not numbers ({error})", "numbers", "Encode it first.") from error
    raise InputError(
        f"{name} has columns or values of type text, category or date: {', '.join(map(str, text))}",
        "numbers",
        "Encode them first, in the same way in both domains.",
    )


def to_device(rows: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A copy on the device; floating numbers in the type of the module."""
    if isinstance(rows, DatasetRows):
        return rows.to(device, dtype)
    return rows.to(device, dtype if rows.is_floating_point() else rows.dtype, copy=True)


def float_type(module: torch.nn.Module) -> torch.dtype:
    """Floating type of the module's parameters."""
    types = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(types, torch.float32)


def plain(y: Any) -> Any:
    return y.detach().cpu().numpy() if isinstance(y, Tensor) else y


def column(y: Any) -> Any:
    """Labels as they are, those of a table with a single column in one dimension."""
    y = plain(y)
    return np.asarray(y)[:, 0] if np.ndim(y) == 2 and np.shape(y)[1] == 1 else y


def same_rows(rows: Any, X: Any, name: str, shape: Any, names: Any, other: str = "X") -> None:
    if column_names(X) is not None or (rows.ndim == 2 and len(shape) == 1):
        check_columns(rows if column_names(X) is None else X, name, shape[0], names, other)
    elif tuple(rows.shape[1:]) != tuple(shape):
        raise InputError(
            f"{name} has rows of shape {tuple(rows.shape[1:])}",
            f"shape {tuple(shape)}, as in {other}",
            "Pass both domains through the same preprocessing.",
        )
