"""Embedding: rows as the features that something trained elsewhere gives them, each row passed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator

from shift_detectors._errors import InputError
from shift_detectors._representation import represent

from .._model import clone_keeping
from .._rows import check_columns, column_names

KINDS = "a trained torch module, a fitted DeepAdapter, a frozen_module, a fitted transformer, a table or None"


class Embedding(TransformerMixin, BaseEstimator):
    """A trained network, a fitted transformer or a table of vectors as a transformer that is never fitted.

    The features of a row are the flattened output of a layer, in evaluation mode and without gradients; the module
    itself is neither changed nor copied. What was computed is remembered under the content of the row and of the
    module's parameters, so that the rows of a cross-validation pass the network once. Clones share that memory
    (and the module); it is bounded, and is left out of pickles.

    Parameters
    ----------
    module : nn.Module, DeepAdapter, frozen_module, transformer, DataFrame, mapping or None
        Trained. A `DeepAdapter` gives target rows by its target's path, source rows by the source's. Of a
        transformer the output is taken. A table (a frame by its index, a mapping by its keys) holds one vector
        per key: rows are then one or several columns of keys, whose vectors are put side by side. None: the rows
        are the features.
    layer : str, optional
        Name of a submodule of the network; ``""`` is its own output. None: what a `DeepAdapter` calls its layer,
        else the input of the linear layer that is called last.
    batch_size : int
        Rows that pass the network at a time.
    cache_mb : float
        Megabytes of features to remember; the oldest go first. 0: none.

    Examples
    --------
    >>> import numpy as np
    >>> words = {"cat": [1.0, 0.0], "dog": [0.9, 0.1], "car": [0.0, 1.0]}
    >>> Embedding(words).transform(np.array([["dog", "car"]]))
    array([[0.9, 0.1, 0. , 1. ]])
    """

    def __init__(self, module: Any = None, layer: str | None = None, batch_size: int = 256, cache_mb: float = 256.0):
        self.module = module
        self.layer = layer
        self.batch_size = batch_size
        self.cache_mb = cache_mb

    def fit(self, X: Any = None, y: Any = None) -> Embedding:
        """Nothing: the module is trained."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Embedding:
        return share(self, "module")

    def transform(self, X: Any) -> np.ndarray:
        """Features of (target) rows; shape (n_rows, d)."""
        return self._transform(X, "target", "X")

    def transform_source(self, X: Any) -> np.ndarray:
        """Features of source rows; shape (n_rows, d)."""
        return self._transform(X, "source", "X")

    def _transform(self, X: Any, domain: str, argument: str) -> Any:
        module, layer = self.module, self.layer
        if module is None:
            return X
        if isinstance(module, (Mapping, pd.DataFrame)):
            return _look_up(module, X, argument)
        module, layer = _network(module, layer, domain)
        if module is not None:
            return self._pass(module, layer, X, argument)
        if hasattr(self.module, "transform"):
            return represent(self.module, X, argument)
        raise InputError(f"module is a {type(self.module).__name__}", KINDS, "Of a Pipeline pass pipeline[:-1].")

    def _pass(self, module: Any, layer: str | None, X: Any, argument: str) -> np.ndarray:
        """Features of the rows by the network, those that are not remembered."""
        import torch

        from ..deep._probe import find_layer
        from ..deep._rows import float_type, read_rows
        from ..deep._trainer import Layer, to_numpy

        if not isinstance(self.batch_size, (int, np.integer)) or self.batch_size < 1:
            raise InputError(f"batch_size={self.batch_size!r}", "a whole number of at least 1", "Change it.")
        rows, memory = read_rows(X, argument), memory_of(self)
        parameter = next(module.parameters(), torch.empty(0))
        state = _digest_of(module, repr(layer)) if self.cache_mb > 0 else b""
        answer: list[np.ndarray] = []
        place: Layer | None = None

        def run(batch: Any) -> np.ndarray:
            nonlocal place
            if place is None and layer != "":
                place = find_layer(module, layer, batch)
            return _run(module, place, batch)

        for part in torch.arange(len(rows)).split(int(self.batch_size)):
            batch = rows[part]
            batch = batch.to(float_type(module)) if batch.is_floating_point() else batch
            if self.cache_mb <= 0:
                answer.extend(run(batch.to(parameter.device)))
                continue
            plain = to_numpy(batch)
            keys = [hashlib.blake2b(row.tobytes(), digest_size=16, key=state).digest() for row in plain]
            found = [memory.get(key) for key in keys]
            new = [i for i, vector in enumerate(found) if vector is None]
            if new:
                for i, vector in zip(new, run(batch[new].to(parameter.device)), strict=True):
                    found[i] = memory[keys[i]] = vector
                room = self.cache_mb * 2**20 / max(vector.nbytes + 100, 1)  # a key and an entry take about 100 bytes
                while len(memory) > room:
                    memory.pop(next(iter(memory)), None)
            answer.extend(found)  # type: ignore[arg-type]
        return np.array(answer, dtype=float)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_memory"}  # type: ignore[union-attr]


def form_of(X: Any) -> tuple[tuple[int, ...] | None, list | None]:
    """Shape of a row, None where that takes reading it, and the column names."""
    shape = getattr(X, "shape", None)
    if shape is None and isinstance(X, list | tuple):
        shape = np.shape(X)
    return None if shape is None else tuple(shape[1:]), column_names(X)


def check_form(X: Any, name: str, form: tuple[tuple[int, ...] | None, list | None], other: str) -> None:
    """Rows of the shape, and columns under the names, of those whose `form_of` is `form`."""
    (shape, names), own = form, form_of(X)[0]
    if shape is None or own is None:
        return  # a data set says when it is read
    if len(shape) == 1 and len(own) == 1:
        check_columns(X if hasattr(X, "shape") else np.asarray(X), name, shape[0], names, other)
    elif own != shape:
        raise InputError(
            f"{name} has rows of shape {own}",
            f"shape {shape}, as in {other}",
            "Pass both domains through the same preprocessing.",
        )


def share(estimator: Any, name: str) -> Any:
    """A clone that holds the very same trained object as its parameter `name`, and the same memory."""
    copy = clone_keeping(estimator, name)
    copy._memory = memory_of(estimator)
    return copy


def memory_of(estimator: Any) -> dict[bytes, np.ndarray]:
    """What an estimator and its clones remember: features by content."""
    if not hasattr(estimator, "_memory"):
        estimator._memory = {}
    return estimator._memory


def _network(module: Any, layer: str | None, domain: str) -> tuple[Any, str | None]:
    """The torch module behind `module` and the name of the layer; None for what is no network."""
    model = module.estimator if isinstance(module, FrozenEstimator) else module
    if hasattr(model, "named_modules"):
        return model, layer
    if hasattr(model, "module_"):  # a fitted DeepAdapter, SourceFree or FineTuning
        path = getattr(model, "source_module_", model.module_) if domain == "source" else model.module_
        return path, getattr(model, "layer", None) if layer is None else layer
    inner = getattr(model, "module", None) if isinstance(module, FrozenEstimator) else None  # of a frozen_module
    return (inner, layer) if hasattr(inner, "named_modules") else (None, layer)


def _run(module: Any, place: Any, batch: Any) -> np.ndarray:
    """Output of a layer, or input of one, for a batch of rows; without a place the module's own output."""
    import torch

    from ..deep._trainer import to_numpy, watch

    seen: list[Any] = []
    training = {part: part.training for part in module.modules()}
    try:
        module.eval()
        with nullcontext() if place is None else watch(module, place, seen), torch.no_grad():
            output = module(batch)
    finally:
        for part, flag in training.items():
            part.training = flag
    seen = [output] if place is None else seen
    if not seen or not isinstance(seen[-1], torch.Tensor) or len(seen[-1]) != len(batch):
        raise InputError(
            f"layer {place.name if place else ''!r} gave no tensor with one row per row",
            "a layer that the module calls and that gives one tensor",
            "Name another layer.",
        )
    return to_numpy(seen[-1].flatten(1))


def _digest_of(module: Any, layer: str) -> bytes:
    """Digest of everything that decides the features: architecture, layer, parameters, buffers."""
    from ..deep._rows import digest

    return digest(f"{module}{layer}", *module.parameters(), *module.buffers())


def _look_up(table: Any, X: Any, argument: str) -> np.ndarray:
    """The vectors of one or several columns of keys, side by side."""
    keys = np.asarray(X, dtype=object)
    keys = keys[:, None] if keys.ndim == 1 else keys
    if isinstance(table, pd.DataFrame):
        table = dict(zip(table.index, table.to_numpy(float), strict=True))
    unknown = sorted({str(key) for key in keys.ravel() if key not in table})
    if unknown:
        raise InputError(
            f"{argument} has {len(unknown)} keys that the table lacks, such as {', '.join(unknown[:3])}",
            f"keys among the {len(table)} of the table",
            "Add their vectors, or drop those rows.",
        )
    return np.array([np.concatenate([np.ravel(table[key]) for key in row]) for row in keys], dtype=float)
