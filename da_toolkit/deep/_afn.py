r"""AFN: features of larger norm, in both domains alike."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch, row_share


class AFN(AlignmentLoss):
    r"""Stepwise adaptive feature norm.

    Target features are often shorter than source features, and short features carry little evidence. Each step
    asks every row of both domains for a norm that is larger by a constant than it is now:

    .. math:: L = \tfrac12 \sum_{D \in \{s, t\}} \mathbb{E}_D \big( \|z\| - (\|z\|_0 + \Delta r) \big)^2

    with :math:`\|z\|_0` the same norm held constant. The value is :math:`\Delta r^2` always; what matters is its
    gradient, :math:`-2 \Delta r` along every feature vector. The task loss keeps the norms from running away.

    Assumes nothing about class frequencies, which makes it mild under label shift; helps when the target is a
    degraded (blurred, dimmed) version of the source. Does not compare the domains at all.

    Parameters
    ----------
    step : float
        :math:`\Delta r`, above 0.

    References
    ----------
    Xu, Li, Yang, Lin: Larger norm more transferable: an adaptive feature norm approach for unsupervised domain
    adaptation. ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import AFN, DomainBatch
    >>> z = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> loss = AFN(step=2.0)(DomainBatch(z, z, z), DomainBatch(z, z.detach(), z), 0.5)
    >>> loss.backward()
    >>> loss.item(), z.grad  # half of -2 * 2 * z / |z|: the source's half
    (4.0, tensor([[-1.2000, -1.6000]]))
    """

    default_weight: ClassVar[float] = 0.05

    def __init__(self, step: float = 1.0):
        super().__init__()
        self.step = step

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        return 0.5 * (self._longer(source) + self._longer(target))

    def _longer(self, batch: DomainBatch) -> Tensor:
        norm = (batch.features.square().sum(dim=1) + 1e-12).sqrt()
        return row_share(batch) @ (norm - norm.detach() - self.step).square()
