"""The discriminators' default network, which knows its own slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """Hidden layers of rectified units and one output; gives value and slope in one pass.

    The slope of such a network is a product of its weights, with the rows of inactive units left out. Written out,
    its squared norm needs no second derivative by automatic differentiation, which takes about twice as long.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...] = (64, 64)):
        super().__init__()
        widths = (n_features, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, z: Tensor) -> Tensor:
        """Values, shape (n,)."""
        return self.with_slope(z, want_slope=False)[0]

    def with_slope(self, z: Tensor, want_slope: bool = True) -> tuple[Tensor, Tensor]:
        """Values (n,) and slopes (n, d); the gradient of the slopes reaches the weights alone."""
        active = []
        *hidden, last = self.layers
        for layer in hidden:
            z = torch.relu(layer(z))
            active.append(z)
        value = last(z).squeeze(1)
        slope: Any = last.weight
        if want_slope:
            for layer, unit in zip(reversed(hidden), reversed(active), strict=True):
                slope = (slope * (unit > 0)) @ layer.weight
        return value, slope


def value_and_slope(function: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """Values (n,) of a function at rows, and its slopes (n, d) there; rows are held constant in the slopes."""
    if isinstance(function, Critic):
        return function.with_slope(z)
    with torch.enable_grad():
        held = z.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(function(held).sum(), held, create_graph=True)
    return function(z).flatten(), slope
