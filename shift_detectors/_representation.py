"""Rows as seen through a fitted transformer, a function or a layer of a trained torch module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from ._columns import Rows, is_polars, read_rows
from ._errors import InputError, MissingDependencyError
from ._sparse_columns import component_names
from ._text import some

BATCH = 256


def represent(representation: Any, X: Any, argument: str) -> Any:
    """Send rows through `representation`; neither the rows nor the representation are changed.

    Parameters
    ----------
    representation : fitted transformer, function or (torch module, layer name)
        A function takes the rows and returns an array with a row for each, as the ``encode`` of a language model.
    X : whatever the representation takes
    argument : str
        What the caller calls `X`, for messages.

    Returns
    -------
    array, DataFrame or sparse matrix of shape (n_rows, n_outputs)
    """
    if X is None:
        raise InputError(f"{argument} is None", "the rows that the representation takes")
    if isinstance(representation, (tuple, list)):
        return _layer_output(representation, X, argument)
    rows = X.copy() if hasattr(X, "copy") else X  # some transformers work in place
    if hasattr(representation, "transform") and not isinstance(representation, type):
        if hasattr(representation, "fit"):
            check_is_fitted(representation)
        with missing_texts_named(X, argument):
            output = representation.transform(rows)
    elif callable(representation) and not isinstance(representation, type) and not _is_module(representation):
        with missing_texts_named(X, argument):
            output = representation(rows)
    else:
        raise InputError(
            f"representation is a {type(representation).__name__} without transform",
            "a fitted transformer, a Pipeline that ends in one, a function of the rows, or (torch module, layer name)",
            "Of a Pipeline that ends in a model pass pipeline[:-1].",
        )
    output: Any = output if hasattr(output, "ndim") else np.asarray(output)
    if output.ndim != 2:
        raise InputError(f"representation returned shape {tuple(output.shape)} for {argument}", "one row per row, 2-d")
    _check_rows(output, X, argument)
    return output


def _check_rows(output: Any, X: Any, argument: str) -> None:
    """Raise unless there is a row for each; rows that have no shape cannot be counted."""
    n = next(iter(getattr(X, "shape", ())), None)
    if n is None or n == output.shape[0]:
        return
    remedy = "Return a row for each."
    if hasattr(X, "columns"):
        remedy = (
            "A vectoriser takes the names of a frame's columns for its texts: pass the column that holds them, such as "
            f"{argument}[{str(X.columns[0])!r}], or put the vectoriser into a ColumnTransformer."
        )
    raise InputError(
        f"representation returned {output.shape[0]} rows for the {n} of {argument}", "one row per row", remedy
    )


@contextmanager
def missing_texts_named(X: Any, argument: str) -> Iterator[None]:
    """Whatever a representation fails with over texts of which some are missing says which ones these are."""
    try:
        yield
    except Exception as error:
        entries = pd.Series(list(X), dtype=object) if _is_sequence(X) else pd.Series(dtype=object)
        rows = np.flatnonzero(entries.isna())
        if not len(rows) or not all(isinstance(entry, str) for entry in entries.dropna()):
            raise
        raise InputError(
            f"{argument} has no text in row{'s' * (len(rows) > 1)} {some(map(str, rows))}, counted from 0, and the "
            f"representation cannot do without ({error})",
            "a text in every row",
            "Drop these rows, or write '' where a text is empty.",
        ) from error


def _is_sequence(X: Any) -> bool:
    """Whether it is one entry after the other, such as texts."""
    return isinstance(X, (list, tuple, np.ndarray, pd.Series)) or (is_polars(X) and not hasattr(X, "columns"))


def read_represented(representation: Any, X: Any, argument: str) -> Rows:
    """What a representation makes of the rows; its columns have the names that a transformer gives them.

    Components, of a Pipeline that ends in TruncatedSVD, PCA or NMF, are named by their heaviest columns as well.
    """
    rows = read_rows(represent(representation, X, argument), argument)
    names = _output_names(representation)
    distinct = len(set(names)) == len(names) == len(rows.names)
    return rows.renamed(names) if distinct and not rows.named else rows


def _output_names(representation: Any) -> tuple[str, ...]:
    """What a transformer calls its columns, with the columns behind where these are components; else nothing."""
    try:
        names = tuple(str(name) for name in representation.get_feature_names_out())
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # it cannot name them
        return ()
    if len(getattr(representation, "steps", ())) < 2:
        return names
    loadings: Any = getattr(representation[-1], "components_", ())
    before = _output_names(representation[:-1])
    return component_names(loadings, before, names) if np.shape(loadings) == (len(names), len(before)) else names


def _is_module(representation: Any) -> bool:
    """Whether it is a torch module, of which a layer has to be named; says so without importing torch."""
    return hasattr(representation, "named_modules")


def _layer_output(representation: Any, X: Any, argument: str) -> np.ndarray:
    """Flattened output of a named layer, in evaluation mode, without gradients, in batches."""
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "deep") from None
    accepted = "(torch module, name of one of its layers)"
    if len(representation) != 2 or not isinstance(representation[0], torch.nn.Module):
        raise InputError("representation is a tuple of something else", accepted)
    module, layer = representation
    layers = dict(module.named_modules())
    if layer not in layers:
        raise InputError(
            f"the module has no layer {layer!r}",
            ", ".join(repr(name) for name in layers if name),
            "Name one of these.",
        )
    rows = X if isinstance(X, torch.Tensor) else np.asarray(X)
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "O":
        raise InputError(f"{argument} holds objects", "an array or tensor of numbers", "Convert the rows to one array.")
    weight = next(module.parameters(), None)
    captured: list[Any] = []
    outputs = []
    training = {part: part.training for part in module.modules()}
    handle = layers[layer].register_forward_hook(lambda _module, _inputs, output: captured.append(output))
    try:
        module.eval()
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                batch = torch.as_tensor(rows[start : start + BATCH])
                if weight is not None:
                    tokens = batch.dtype in (torch.int32, torch.int64)  # which an embedding takes, and nothing else
                    batch = batch.to(weight.device, batch.dtype if tokens else weight.dtype)
                captured.clear()
                _run(module, batch, argument)
                if len(captured) != 1 or not isinstance(captured[0], torch.Tensor):
                    raise InputError(
                        f"layer {layer!r} ran {len(captured)} times or returned something else than a tensor",
                        "a layer that runs once and returns one tensor",
                        "Name another layer.",
                    )
                outputs.append(captured[0].flatten(1).to("cpu", torch.float64).numpy())
    finally:
        handle.remove()
        for part, flag in training.items():
            part.training = flag
    return np.concatenate(outputs) if outputs else np.zeros((0, 1))


def _run(module: Any, batch: Any, argument: str) -> None:
    """Pass a batch; whatever it fails with is said together with shape and type of the batch."""
    try:
        module(batch)
    except Exception as error:
        raise InputError(
            f"the module of the representation fails on a batch of shape {tuple(batch.shape)}, {batch.dtype}: {error}",
            f"{argument} as the module takes it",
            "Check shape and type: images are (n_rows, channels, height, width), of floating numbers.",
        ) from error
