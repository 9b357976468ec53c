"""The network that is trained: a copy of the user's, or one for people who bring none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shift_detectors._errors import InputError
from shift_detectors._text import some
from shift_detectors._warnings import warn

from ._probe import copy_module

COARSE = 0.01  # of a column's standard deviation: an error of rounding that is said


class MLP(nn.Module):
    """Standardised columns, two hidden layers of rectified units, one linear layer.

    Parameters
    ----------
    n_features : int
    n_outputs : int
        Classes, or 1 for a regression.
    hidden : tuple of int
        Units of the hidden layers; ``encoder`` names their output.
    center, scale : ndarray of shape (n_features,), optional
        Subtracted from the columns and divided by; part of the network, the same for both domains.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import MLP
    >>> MLP(4, 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden: tuple[int, ...] = (128, 64),
        center: np.ndarray | None = None,
        scale: np.ndarray | None = None,
    ):
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", _column(center, n_features, 0.0))
        self.register_buffer("scale", _column(scale, n_features, 1.0))
        widths = (n_features, *hidden)
        layers: list[nn.Module] = []
        for i, o in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n, n_outputs)."""
        return self.head(self.encoder((x - self.center) / self.scale))


def new_module(
    module: nn.Module | Callable[[], nn.Module] | None, X: Any, n_outputs: int, names: Iterable | None = None
) -> nn.Module:
    """A copy of the user's module, what the user's function makes, or an `MLP` on the columns of a table."""
    if isinstance(module, nn.Module):
        return copy_module(module)
    if module is None:
        center, scale = column_units(X, names)
        return MLP(X.shape[1], n_outputs, center=center, scale=scale)
    made = module() if callable(module) else module
    if not isinstance(made, nn.Module):
        got = "module() returned" if callable(module) else "module is of type"
        raise InputError(
            f"{got} {type(made).__name__}",
            "a torch nn.Module, or a class or function that makes one",
            "Estimators of scikit-learn are adapted by the adapters outside of da_toolkit.deep, such as TransferStack.",
        )
    return made


def column_units(X: Any, names: Iterable | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the columns of a table, constant columns with deviation 1.

    Warns of columns, called by their `names`, that single precision rounds away.
    """
    if X.ndim != 2 or not isinstance(X, Tensor):
        raise InputError(
            f"module=None and rows of shape {tuple(X.shape[1:])}",
            "a table for the default network",
            "Pass a module for such rows.",
        )
    columns = X.double().cpu().numpy()
    scale = columns.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    rounded = np.abs(columns - columns.astype(np.float32)).max(axis=0) > COARSE * scale
    if rounded.any():
        names = range(X.shape[1]) if names is None else names
        which = some(str(name) for name, coarse in zip(names, rounded, strict=True) if coarse)
        warn(
            f"the columns {which} vary so little beside their size that single precision, in which the network reads "
            "them, rounds their values away. Subtract the source's mean from the columns of both domains before."
        )
    return columns.mean(axis=0), scale


def _column(values: np.ndarray | None, n: int, default: float) -> Tensor:
    return torch.full((n,), default) if values is None else torch.as_tensor(values, dtype=torch.float32).clone()
