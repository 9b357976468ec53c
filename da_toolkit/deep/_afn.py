r"""AFN: target features as far from their mean as source features are from theirs."""

from __future__ import annotations

import torch
from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch, row_share


class AFN(AlignmentLoss):
    r"""Stepwise adaptive feature norm, bounded by the source.

    Target features often lie closer together than source features, and features without contrast carry little
    evidence. Each step asks target rows for a norm that is a little larger than it is now, up to the mean norm of
    the source, norms taken from the mean of the own domain:

    .. math:: L = \mathbb{E}_t \Big( \frac{\min(\|z - \bar z_t\|_0 + \Delta r\, R, \; R) - \|z - \bar z_t\|}{R}
              \Big)_+^2, \qquad R = \mathbb{E}_s \|z - \bar z_s\|_0

    with :math:`\|\cdot\|_0, R` held constant. Zero when no target row is closer to its mean than the average source
    row.

    The published loss takes norms from zero and has no bound: every row of both domains grows, by
    :math:`\Delta r = 1`. It is made for a pretrained network with a small learning rate. After rectified units all
    features are positive, so that longer means further along one direction; in a network that starts from random
    weights this outgrows the task, and the features become collinear.

    Assumes that the target lost contrast but not its directions. Mild under label shift, as no row is paired with
    a source row; for the same reason it cannot mend what is not contrast.

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
    >>> wide, narrow = torch.tensor([[-9.0], [11.0]]), torch.tensor([[-5.0], [5.0]], requires_grad=True)
    >>> loss = AFN(step=0.2)(DomainBatch(wide, wide, wide), DomainBatch(narrow, narrow, narrow), 0.5)
    >>> loss.backward()
    >>> round(loss.item(), 4), narrow.grad.flatten()  # .2 squared; away from the mean
    (0.04, tensor([ 0.0200, -0.0200]))
    """

    def __init__(self, step: float = 0.1):
        super().__init__()
        self.step = step

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        norm = distance_from_mean(target)
        radius = row_share(source) @ distance_from_mean(source).detach()
        wanted = torch.minimum(norm.detach() + self.step * radius, radius)
        return row_share(target) @ ((wanted - norm) / radius.clamp_min(1e-8)).clamp_min(0).square()


def distance_from_mean(batch: DomainBatch) -> Tensor:
    """Distance of every row of features from their weighted mean, with a gradient also at zero; shape (n,)."""
    centred = batch.features - row_share(batch) @ batch.features
    return (centred.square().sum(dim=1) + 1e-12).sqrt()
