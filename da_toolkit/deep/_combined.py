"""Losses compose by addition: ``DeepCORAL() + 0.5 * MCC()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._batch import AlignmentLoss, DomainBatch, align


class WeightedSum(AlignmentLoss):
    r"""Weighted sum of alignment losses, :math:`L = \sum_k w_k L_k`.

    Written as a sum: ``DeepCORAL() + MCC()`` takes every loss with the weight that it proposes itself
    (`default_weight`), ``0.5 * MCC()`` with half of it.

    Parameters
    ----------
    losses : sequence of AlignmentLoss
    weights : sequence of float, optional
        None: what the losses propose.

    Examples
    --------
    >>> from da_toolkit.deep import DeepCORAL, MCC
    >>> total = DeepCORAL() + 0.5 * MCC()
    >>> total.weights
    (100.0, 0.5)
    """

    def __init__(self, losses: Sequence[AlignmentLoss], weights: Sequence[float] | None = None):
        super().__init__()
        self.losses = losses
        self.weights = weights
        self.losses_: Any = nn.ModuleList(losses)  # so that their parameters are trained

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Let every loss build its networks."""
        for loss in self.losses_:
            loss.initialize(source, target)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Weighted sum of the losses of a pair of batches."""
        weights = [loss.default_weight for loss in self.losses_] if self.weights is None else self.weights
        terms = [w * align(loss, source, target, progress) for w, loss in zip(weights, self.losses_, strict=True)]
        return torch.stack(terms).sum()


def add(first: AlignmentLoss, second: AlignmentLoss) -> WeightedSum:
    """The sum of two losses, sums flattened."""
    losses, weights = [], []
    for loss in (first, second):
        parts = isinstance(loss, WeightedSum)
        losses += loss.losses if parts else [loss]
        weights += (loss.weights or [part.default_weight for part in loss.losses]) if parts else [loss.default_weight]
    return WeightedSum(tuple(losses), tuple(map(float, weights)))


def scale(loss: AlignmentLoss, factor: float) -> WeightedSum:
    """A loss with `factor` times the weight it has."""
    if isinstance(loss, WeightedSum):
        weights = loss.weights or [part.default_weight for part in loss.losses]
        return WeightedSum(tuple(loss.losses), tuple(factor * w for w in weights))
    return WeightedSum((loss,), (factor * loss.default_weight,))
