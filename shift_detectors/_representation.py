"""Rows as seen through a fitted transformer or a layer of a trained torch module."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._errors import InputError, MissingDependencyError

BATCH = 256


def represent(representation: Any, X: Any, argument: str) -> Any:
    """Send rows through `representation`; neither the rows nor the representation are changed.

    Parameters
    ----------
    representation : fitted transformer or (torch module, layer name)
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
    if not hasattr(representation, "transform"):
        raise InputError(
            f"representation is a {type(representation).__name__} without transform",
            "a fitted transformer, a Pipeline that ends in one, or (torch module, layer name)",
            "Of a Pipeline that ends in a model pass pipeline[:-1].",
        )
    if hasattr(representation, "fit"):
        check_is_fitted(representation)
    output = representation.transform(X.copy() if hasattr(X, "copy") else X)  # some transformers work in place
    if getattr(output, "ndim", 2) != 2:
        raise InputError(f"representation returned shape {output.shape} for {argument}", "one row per row, 2-d")
    return output


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
                    batch = batch.to(weight.device, weight.dtype if batch.is_floating_point() else batch.dtype)
                captured.clear()
                module(batch)
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
