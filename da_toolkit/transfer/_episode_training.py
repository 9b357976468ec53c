"""The training of a prototypical network, one episode a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from shift_detectors._errors import InputError

from ..deep._team import Team
from ..deep._trainer import Trainer

EPISODES = 100  # in an epoch of the history


def train_on_episodes(
    module: nn.Module, inputs: Any, episodes: Iterator, sizes: tuple[int, int, int, int], lr: float
) -> list[dict]:
    """Train the module in place.

    Parameters
    ----------
    module : nn.Module
    inputs : Tensor or DatasetRows
        All rows.
    episodes : iterator of Episode
    sizes : tuple of int
        Classes, support rows and query rows of an episode, number of episodes.
    lr : float

    Returns
    -------
    list of dict
        Mean loss and seconds of every 100 episodes.
    """
    n_way, n_shot, _, n_episodes = sizes
    cosine = LRScheduler("CosineAnnealingLR", step_every="batch", event_name=None, T_max=n_episodes)
    options: dict[str, Any] = {
        "criterion": nn.Identity,  # the module is the loss
        "optimizer": torch.optim.Adam,
        "lr": lr,
        "max_epochs": math.ceil(n_episodes / EPISODES),
        "train_split": None,
        "device": None,
        "verbose": 0,
        "callbacks": [("cosine", cosine)],
        "callbacks__train_loss": None,
        "callbacks__valid_loss": None,
        "callbacks__print_log": None,
    }
    trainer = Trainer(EpisodeLoss(module, n_way, n_shot), **options)
    trainer.run(EpisodeRows(inputs, episodes))  # type: ignore[arg-type]
    module.zero_grad()
    return [{"train_loss": row["train_loss"], "seconds": row["dur"]} for row in trainer.history]


class EpisodeLoss(nn.Module):
    """Loss of one episode, as `Trainer` wants it."""

    def __init__(self, module: nn.Module, n_way: int, n_shot: int):
        super().__init__()
        self.module, self.n_way, self.n_shot = module, n_way, n_shot

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Of support rows, then query rows, each class by class."""
        features = self.module(inputs)
        if not isinstance(features, Tensor) or features.ndim < 2 or len(features) != len(inputs):
            raise InputError("the module gives no features of shape (n, d)", "one row per row", "Change its end.")
        features = features.flatten(1)
        n = self.n_way * self.n_shot
        centers = features[:n].reshape(self.n_way, self.n_shot, -1).mean(dim=1)
        logits = -(features[n:, None] - centers).square().sum(dim=2)
        truth = torch.arange(self.n_way, device=inputs.device).repeat_interleave(len(logits) // self.n_way)
        return F.cross_entropy(logits, truth), None


class EpisodeRows(torch.utils.data.IterableDataset):
    """The rows of up to 100 episodes at a time, until there are no more."""

    def __init__(self, inputs: Any, episodes: Iterator):
        self.inputs, self.episodes = inputs, episodes
        self.team = Team(False)

    def __iter__(self) -> Iterator[tuple[Tensor]]:
        for _, episode in zip(range(EPISODES), self.episodes, strict=False):
            yield (self.inputs[torch.as_tensor(np.concatenate([episode.support, episode.query]))],)
