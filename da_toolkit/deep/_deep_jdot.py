r"""DeepJDOT: target rows are coupled with source rows that are near in features and in label."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ._batch import AlignmentLoss, DomainBatch, row_share, unit_features


class DeepJDOT(AlignmentLoss):
    r"""Joint distribution optimal transport on batches.

    .. math::

        L = \min_{\gamma \in \Pi(a, b)} \sum_{ij} \gamma_{ij}
            \Big[ \frac{\alpha}{d}\, \|z^s_i - z^t_j\|^2 + \beta\, \ell(y_i, f(x^t_j)) \Big]

    with the cross entropy (classification) or squared error (regression) for :math:`\ell`, row weights :math:`a, b`
    that sum to one, and the :math:`d` features centred and scaled by one number to a mean square of one. The
    gradient passes through that number, so that nothing is gained by shrinking the features. The coupling
    :math:`\gamma` is exact (network simplex) and held constant; features *and* classifier follow the gradient:
    source rows hand their labels to the target rows they are coupled with. Zero when the batches are equal and
    predicted with certainty.

    Assumes similar class frequencies in both domains: batches are coupled as wholes, so that under label shift
    some rows get the wrong label.

    Parameters
    ----------
    alpha, beta : float
        Weights of the distance between features and of the label loss.

    References
    ----------
    Damodaran, Kellenberger, Flamary, Tuia, Courty: DeepJDOT: deep joint distribution optimal transport for
    unsupervised domain adaptation. ECCV 2018.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import DeepJDOT, DomainBatch
    >>> z, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> loss = DeepJDOT()(DomainBatch(z, z, logits, y), DomainBatch(z, z, logits), progress=1.0)
    >>> round(loss.item(), 4)  # features agree, predictions are even: log 2
    0.6931
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0):
        super().__init__()
        self.alpha = alpha
        self.beta = beta

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Cost of the best coupling of a pair of batches; `progress` is not used."""
        zs, zt = unit_features(source, target)
        squared = (zs.square().sum(1)[:, None] + zt.square().sum(1) - 2 * zs @ zt.T).clamp_min(0)
        cost = self.alpha * squared / zs.shape[1]
        cost = cost + self.beta * label_cost(source, target)
        return (coupling(cost, source, target) * cost).sum()


def label_cost(source: DomainBatch, target: DomainBatch) -> Tensor:
    """Loss of every target prediction under every source label, shape (n_source, n_target)."""
    assert source.y is not None
    if target.logits.ndim == 1:
        return (source.y[:, None] - target.logits).square()
    return -F.log_softmax(target.logits, dim=1)[:, source.y].T


def coupling(cost: Tensor, source: DomainBatch, target: DomainBatch) -> Tensor:
    """The cheapest coupling of the rows of two batches, shape (n_source, n_target); without gradient."""
    import ot

    mass: list[Any] = [row_share(batch).detach().cpu().double().numpy() for batch in (source, target)]
    # POT asks for equal sums to the last digit
    plan = ot.emd(*(m / m.sum() for m in mass), np.ascontiguousarray(cost.detach().cpu().double().numpy()))
    return torch.as_tensor(plan, dtype=cost.dtype, device=cost.device)
