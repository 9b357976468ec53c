r"""Six ways in which the networks of several tasks share what they learn.

Each is a module ``forward(x)`` that gives the features of every task, a list of tensors of shape (n, d), and a
penalty, a scalar. A *trunk* is the network from rows to features; `make` gives a new one with every call.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shift_detectors._errors import InputError

Features = tuple[list[Tensor], Tensor]


class HardSharing(nn.Module):
    """One trunk for all tasks."""

    def __init__(self, make: Callable[[], nn.Module], n_tasks: int):
        super().__init__()
        self.trunk = make()
        self.n_tasks = n_tasks

    def forward(self, x: Tensor) -> Features:
        """The same features for every task."""
        z = self.trunk(x).flatten(1)
        return [z] * self.n_tasks, z.new_zeros(())


class SoftSharing(nn.Module):
    r"""A trunk for each task, held together by the distance of their parameters from the mean.

    .. math:: \sum_t \|\theta_t - \bar\theta\|^2
    """

    def __init__(self, make: Callable[[], nn.Module], n_tasks: int):
        super().__init__()
        self.trunks = copies(make(), n_tasks)

    def forward(self, x: Tensor) -> Features:
        """Features of each trunk; the sum of squared distances."""
        penalty = x.new_zeros(())
        for same in zip(*(trunk.parameters() for trunk in self.trunks), strict=True):
            stacked = torch.stack(same)
            penalty = penalty + (stacked - stacked.mean(dim=0)).square().sum()
        return [trunk(x).flatten(1) for trunk in self.trunks], penalty


class CrossStitch(nn.Module):
    r"""A trunk for each task; after every stage each of them goes on with a mixture of all.

    .. math:: \tilde h_t = \sum_s A_{ts} h_s

    with one matrix A per stage, learnt from .9 on the diagonal and .1 spread over the others. The trunks start
    alike, so that unit i means the same in all of them.
    """

    def __init__(self, make: Callable[[], nn.Module], n_tasks: int):
        super().__init__()
        self.trunks = nn.ModuleList(stages(trunk) for trunk in copies(make(), n_tasks))
        mixture = torch.full((n_tasks, n_tasks), 0.1 / max(n_tasks - 1, 1)).fill_diagonal_(0.9)
        depth = len(self.trunks[0])  # type: ignore[arg-type]
        self.units = nn.ParameterList([mixture.clone() for _ in range(depth)])

    def forward(self, x: Tensor) -> Features:
        """Features after the last mixture."""
        h = [x] * len(self.trunks)
        for unit, same in zip(self.units, zip(*self.trunks, strict=True), strict=True):  # type: ignore[arg-type]
            stacked = torch.stack([stage(part) for stage, part in zip(same, h, strict=True)])
            h = list(torch.tensordot(unit.to(stacked), stacked, dims=1))
        return [part.flatten(1) for part in h], x.new_zeros(())


class Attention(nn.Module):
    r"""A trunk for each task, which adds, row by row, what the other tasks' features hold for it.

    .. math:: \tilde z_t = z_t + \sum_{s \ne t} a_{ts} V z_s, \qquad
              a_t = \mathrm{softmax}_{s \ne t} \big( \langle Q_t z_t, K_s z_s \rangle / \sqrt d \big)

    V starts at zero: at first every task is on its own.
    """

    def __init__(self, make: Callable[[], nn.Module], n_tasks: int, width: int):
        super().__init__()
        self.trunks = copies(make(), n_tasks)
        bound = 1 / math.sqrt(width)
        self.query, self.key = (nn.Parameter(torch.empty(n_tasks, width, width).uniform_(-bound, bound)) for _ in "qk")
        self.value = nn.Parameter(torch.zeros(width, width))

    def forward(self, x: Tensor) -> Features:
        """Features with what was taken from the others."""
        z = torch.stack([trunk(x).flatten(1) for trunk in self.trunks])  # task, row, feature
        scores = torch.einsum("tnd,snd->nts", z @ self.query, z @ self.key) / math.sqrt(z.shape[2])
        own = torch.eye(len(z), dtype=torch.bool, device=z.device)
        share = scores.masked_fill(own, -math.inf).softmax(dim=2)
        return list(z + torch.einsum("nts,snd->tnd", share, z @ self.value)), x.new_zeros(())


class HierarchicalSharing(nn.Module):
    """One trunk, tapped at the depth of each task: later stages belong to the deeper tasks alone.

    Parameters
    ----------
    make : callable
    depths : list of int
        After how many stages each task is tapped.
    """

    def __init__(self, make: Callable[[], nn.Module], depths: list[int]):
        super().__init__()
        self.stages = stages(make())
        self.depths = depths

    def forward(self, x: Tensor) -> Features:
        """Features of each task's own depth."""
        taps, h = [], x
        for stage in self.stages:
            h = stage(h)
            taps.append(h.flatten(1))
        return [taps[depth - 1] for depth in self.depths], x.new_zeros(())


class SharedPrivate(nn.Module):
    r"""A trunk for all tasks beside one for each, kept apart.

    The features of a task are (s, p): shared and private. With rows centred over the batch and of unit length,
    the penalty is

    .. math:: \sum_t \big\| \tfrac1n \hat S^\top \hat P_t \big\|_F^2

    so that private trunks do not repeat what the shared one holds. Widths may differ.
    """

    def __init__(self, make: Callable[[], nn.Module], make_private: Callable[[], nn.Module], n_tasks: int):
        super().__init__()
        self.shared = make()
        self.private = nn.ModuleList(make_private() for _ in range(n_tasks))

    def forward(self, x: Tensor) -> Features:
        """Shared and private features side by side; their overlap."""
        shared = self.shared(x).flatten(1)
        private = [trunk(x).flatten(1) for trunk in self.private]
        overlap = [(unit_rows(shared).T @ unit_rows(part) / len(x)).square().sum() for part in private]
        return [torch.cat([shared, part], dim=1) for part in private], torch.stack(overlap).sum()


class Network(nn.Module):
    """A way of sharing and a linear head for each task.

    Parameters
    ----------
    sharing : nn.Module
    widths, n_outputs : list of int
        Features and outputs of each task.
    """

    def __init__(self, sharing: nn.Module, widths: list[int], n_outputs: list[int]):
        super().__init__()
        self.sharing = sharing
        self.heads = nn.ModuleList(nn.Linear(w, k) for w, k in zip(widths, n_outputs, strict=True))

    def forward(self, x: Tensor) -> Features:
        """Outputs of every task and the penalty."""
        features, penalty = self.sharing(x)
        return [head(z) for head, z in zip(self.heads, features, strict=True)], penalty


class Standardise(nn.Module):
    """Columns less their mean, over their deviation."""

    def __init__(self, center: np.ndarray, scale: np.ndarray):
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised columns."""
        return (x - self.center) / self.scale


def copies(trunk: nn.Module, n: int) -> nn.ModuleList:
    """The trunk n times, with parameters of their own that start alike."""
    return nn.ModuleList([trunk, *(copy.deepcopy(trunk) for _ in range(n - 1))])


def stages(trunk: nn.Module) -> nn.Sequential:
    """Parts of a Sequential, each from one layer with parameters to the next."""
    if not isinstance(trunk, nn.Sequential):
        raise InputError(
            f"a module of type {type(trunk).__name__}, which has no stages",
            "an nn.Sequential for cross-stitch and hierarchical sharing",
            "Wrap its parts in nn.Sequential, or choose another sharing.",
        )
    parts: list[list[nn.Module]] = [[]]
    for layer in trunk:
        learns = any(True for _ in layer.parameters())
        if learns and any(True for earlier in parts[-1] for _ in earlier.parameters()):
            parts.append([])
        parts[-1].append(layer)
    return nn.Sequential(*(nn.Sequential(*part) for part in parts))


def unit_rows(features: Tensor) -> Tensor:
    """Rows centred over the batch, of unit length."""
    return F.normalize(features - features.mean(dim=0), dim=1)
