"""The discriminators' default network, which knows its own slope."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """Hidden layers of rectified units and linear outputs; gives value and slope in one pass.

    The slope of such a network is a product of its weights, with the rows of inactive units left out. Written out,
    its squared norm needs no second derivative by automatic differentiation, which takes about twice as long.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
    n_outputs : int
    """

    def __init__(self, n_features: int, hidden: tuple[int, ...] = (64, 64), n_outputs: int = 1):
        super().__init__()
        widths = (n_features, *hidden, n_outputs)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, z: Tensor) -> Tensor:
        """Values, shape (n,), or (n, n_outputs) of several outputs."""
        for layer in self.layers[:-1]:
            z = torch.relu(layer(z))
        return self.layers[-1](z).squeeze(1)

    def with_slope(self, z: Tensor, output: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values (n,) and slopes (n, d) of the only output, or of one output per row.

        The gradient of the slopes reaches the weights alone.
        """
        active = []
        *hidden, last = self.layers
        for layer in hidden:
            z = torch.relu(layer(z))
            active.append(z)
        weight: Any = last.weight
        slope = weight if output is None else weight[output]
        for layer, unit in zip(reversed(hidden), reversed(active), strict=True):
            slope = (slope * (unit > 0)) @ layer.weight
        return chosen(last(z), output), slope


def value_and_slope(function: Any, z: Tensor, output: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Values (n,) of a function at rows, and its slopes (n, d) there; rows are held constant in the slopes.

    `output` (n,) names one output of the function for every row; without it there is only one.
    """
    if isinstance(function, Critic):
        return function.with_slope(z, output)
    with torch.enable_grad():
        held = z.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(chosen(function(held), output).sum(), held, create_graph=True)
    return chosen(function(z), output), slope


def chosen(values: Tensor, output: Tensor | None) -> Tensor:
    """The named output of every row, or the only one; shape (n,)."""
    return values.flatten() if output is None else values.gather(1, output[:, None]).squeeze(1)
