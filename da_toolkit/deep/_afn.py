r"""AFN: target features of the norm that source features have."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch, row_share


class AFN(AlignmentLoss):
    r"""Stepwise adaptive feature norm, bounded by the source.

    Target features are often shorter than source features, and short features carry little evidence. Each step
    asks target rows for a norm that is a little larger than it is now, up to the mean norm of the source:

    .. math:: L = \mathbb{E}_t \Big( \frac{\min(\|z\|_0 + \Delta r\, R, \; R) - \|z\|}{R} \Big)_+^2,
              \qquad R = \mathbb{E}_s \|z\|_0

    with :math:`\|z\|_0, R` held constant. Zero when no target row is shorter than the average source row.
    The published loss has no bound (every row of both domains grows, by :math:`\Delta r = 1`). It is made for a
    pretrained network with a small learning rate; in a network that starts from random weights its gradient,
    the same for all rows, outgrows the task's and the features become collinear.

    Assumes nothing about class frequencies, which makes it mild under label shift, and that the target lost
    contrast but not its directions. It does not compare the domains otherwise: expect little.

    Parameters
    ----------
    step : float
        :math:`\Delta r`, as a share of the source's mean norm.

    References
    ----------
    Xu, Li, Yang, Lin: Larger norm more transferable: an adaptive feature norm approach for unsupervised domain
    adaptation. ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import AFN, DomainBatch
    >>> long, short = torch.tensor([[6.0, 8.0]]), torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> loss = AFN(step=0.2)(DomainBatch(long, long, long), DomainBatch(short, short, short), 0.5)
    >>> loss.backward()
    >>> round(loss.item(), 4), short.grad  # -2 * .2 / 10 along z / |z|
    (0.04, tensor([[-0.0240, -0.0320]]))
    """

    default_weight: ClassVar[float] = 0.001

    def __init__(self, step: float = 0.1):
        super().__init__()
        self.step = step

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        norm = feature_norm(target)
        level = row_share(source) @ feature_norm(source).detach()
        wanted = torch.minimum(norm.detach() + self.step * level, level)
        return row_share(target) @ ((wanted - norm) / level.clamp_min(1e-8)).clamp_min(0).square()


def feature_norm(batch: DomainBatch) -> Tensor:
    """Euclidean norm of every row of features, with a gradient also at zero; shape (n,)."""
    return (batch.features.square().sum(dim=1) + 1e-12).sqrt()
