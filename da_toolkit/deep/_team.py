"""Several processes that train one module together, each on its share of every batch."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch import distributed as dist

from shift_detectors._errors import InputError


class Team:
    """The processes of torch's default group; a team of one does nothing.

    accelerate, Lightning Fabric and torchrun start the processes and connect them. What is left is to average
    gradients, which is done as soon as each is there: also in the steps that a loss takes on its own, such as those
    of the critic of `WDGRL`, which a wrapper around the module would not see.

    Parameters
    ----------
    together : bool
        False: a team of one, even where there is a group.
    """

    def __init__(self, together: bool):
        if together and not (dist.is_available() and dist.is_initialized()):
            raise InputError(
                "distributed=True in a process without a process group",
                "processes started and connected by accelerate, Lightning Fabric or torchrun",
                "Make an accelerate.Accelerator() first, and start the script with `accelerate launch`.",
            )
        self.size = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0

    def mean(self, tensor: Tensor) -> Tensor:
        """Mean over the processes, the same in all of them."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def first(self, value: Any) -> Any:
        """What the first process holds."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def all(self, value: Any) -> list:
        """What every process holds."""
        if self.size == 1:
            return [value]
        every: list = [None] * self.size
        dist.all_gather_object(every, value)
        return every

    def join(self, module: nn.Module) -> None:
        """Give all processes the first one's weights, and from now on the mean of their gradients."""
        if self.size == 1:
            return
        with torch.no_grad():
            for part in [*module.parameters(), *module.buffers()]:
                dist.broadcast(part, src=0)
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._average)

    def _average(self, parameter: Tensor) -> None:
        parameter.grad = self.mean(parameter.grad)  # type: ignore[arg-type]


class MeanStatistics(Callback):
    """After every epoch, average what batch normalisation has seen, and all other floating buffers."""

    def __init__(self, team: Team):
        self.team = team

    def on_epoch_end(self, net, **kwargs):
        """Average the buffers."""
        with torch.no_grad():
            for buffer in net.module_.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.team.mean(buffer))
