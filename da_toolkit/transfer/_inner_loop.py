"""The inner loop of meta-learning: gradient descent on a task, itself differentiable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from ..deep._trainer import read_outputs

STEEPEST = 8.0  # norm to which the gradient of a support loss is shortened: a steep task is left in steps, not leaps


class Episode(NamedTuple):
    """A task: what the inner loop learns from, and what it is judged by."""

    x: Tensor
    y: Tensor
    weight: Tensor
    x_query: Tensor
    y_query: Tensor
    weight_query: Tensor


class Learner:
    r"""A module whose parameters are arguments: its inner loop is a differentiable function of them.

    Parameters
    ----------
    module : nn.Module
        Its batch normalisations have no running statistics.
    moved : list of str
        The parameters that the inner loop moves.
    n_outputs : int
        Classes, or 1 for a regression.
    first_order : bool
        Take the inner gradients for constants.
    """

    def __init__(self, module: nn.Module, moved: list[str], n_outputs: int, first_order: bool):
        self.module = module
        self.moved = moved
        self.n_outputs = n_outputs
        self.first_order = first_order

    def loss(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean loss of the module with these parameters."""
        outputs = read_outputs(functional_call(self.module, parameters, (x,)), self.n_outputs)
        loss = F.mse_loss if self.n_outputs == 1 else F.cross_entropy
        return (loss(outputs, y, reduction="none") * weight).sum() / weight.sum()

    def adapt(self, parameters: dict, rates: dict, x: Tensor, y: Tensor, weight: Tensor, steps: int) -> dict:
        """The parameters after some steps of gradient descent on a task."""
        adapted = {name: parameters[name] for name in self.moved}
        gradient = grad(lambda moved: self.loss({**parameters, **moved}, x, y, weight))
        for _ in range(steps):
            slope = gradient(adapted)
            if self.first_order:
                slope = {name: part.detach() for name, part in slope.items()}
            slope = shortened(slope)
            adapted = {name: value - rates[name] * slope[name] for name, value in adapted.items()}
        return {**parameters, **adapted}

    def query_loss(self, parameters: dict, rates: dict, steps: int, episode: Episode) -> Tensor:
        """Loss after the inner loop, on the rows that it has not seen."""
        adapted = self.adapt(parameters, rates, *episode[:3], steps)
        return self.loss(adapted, *episode[3:])

    def query_losses(self, parameters: dict, rates: dict, steps: int, episodes: list[Episode]) -> Tensor:
        """`query_loss` of several tasks; in one batched call where their shapes and the module allow it."""

        def one(*parts: Tensor) -> Tensor:
            return self.query_loss(parameters, rates, steps, Episode(*parts))

        shapes = {tuple(part.shape for part in episode) for episode in episodes}
        if len(episodes) > 1 and len(shapes) == 1:
            stacked = [torch.stack(parts) for parts in zip(*episodes, strict=True)]
            try:
                return vmap(one, randomness="different")(*stacked)
            except RuntimeError:
                pass  # an operation that cannot be batched; what else is wrong comes up below again
        return torch.stack([one(*episode) for episode in episodes])


def shortened(slope: dict[str, Tensor]) -> dict[str, Tensor]:
    """A gradient whose norm is `STEEPEST` at most.

    Examples
    --------
    >>> shortened({"a": torch.tensor([30.0, 40.0])}), shortened({"a": torch.tensor([3.0, 4.0])})
    ({'a': tensor([4.8000, 6.4000])}, {'a': tensor([3., 4.])})
    """
    square = torch.stack([part.square().sum() for part in slope.values()]).sum()
    factor = STEEPEST * square.clamp_min(STEEPEST**2).rsqrt()  # smooth at a gradient of zero, too
    return {name: factor * part for name, part in slope.items()}
