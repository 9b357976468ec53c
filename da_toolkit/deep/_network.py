"""The network for people who bring none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shift_detectors._errors import InputError


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


def default_network(X: Any, n_outputs: int) -> MLP:
    """An `MLP` on the columns of a table in their units."""
    center, scale = column_units(X)
    return MLP(X.shape[1], n_outputs, center=center, scale=scale)


def column_units(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the columns of a table, constant columns with deviation 1."""
    if X.ndim != 2 or not isinstance(X, Tensor):
        raise InputError(
            f"module=None and rows of shape {tuple(X.shape[1:])}",
            "a table for the default network",
            "Pass a module for such rows.",
        )
    columns = X.double().cpu().numpy()
    scale = columns.std(axis=0)
    return columns.mean(axis=0), np.where(scale > 0, scale, 1.0)


def _column(values: np.ndarray | None, n: int, default: float) -> Tensor:
    return torch.full((n,), default) if values is None else torch.as_tensor(values, dtype=torch.float32).clone()
