r"""DAN: features with the same kernel mean embedding in both domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch, row_share

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the mean squared distance


class DAN(AlignmentLoss):
    r"""Squared maximum mean discrepancy between the features, over several bandwidths.

    .. math::

        L = \sum_{i,i'} a_i a_{i'} k(z^s_i, z^s_{i'}) + \sum_{j,j'} b_j b_{j'} k(z^t_j, z^t_{j'})
            - 2 \sum_{i,j} a_i b_j k(z^s_i, z^t_j), \qquad
        k(z, z') = \frac1m \sum_{l=1}^m \exp\!\Big(\!-\frac{\|z - z'\|^2}{c_l\, \delta}\Big)

    with row weights :math:`a, b` that sum to one and :math:`\delta` the mean squared distance between all pairs
    of rows of the two batches. The gradient passes through :math:`\delta`, too: neither the loss nor what it asks of
    the features depends on their scale. (With a constant divisor features that shrink to a point look like progress.)
    Zero when the batches are equal, below 2 always; `DeepAdapter` gives it three times the weight of the task loss
    unless told otherwise. Sensitive to every difference between the distributions, not to second moments alone; no
    adversary.

    Assumes one labelling function on the learned features and similar class frequencies; blind to classes.

    Parameters
    ----------
    bandwidths : sequence of float
        :math:`c_l`.

    References
    ----------
    Long, Cao, Wang, Jordan: Learning transferable features with deep adaptation networks. ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import DAN, DomainBatch
    >>> z = torch.tensor([[0.0], [1.0]])
    >>> equal, apart = (DomainBatch(z, z + step, z) for step in (0, 5))
    >>> round(abs(DAN()(equal, equal, 1.0).item()), 6), DAN()(equal, apart, 1.0).item() > 0.5
    (0.0, True)
    """

    default_weight: ClassVar[float] = 3.0

    def __init__(self, bandwidths: Sequence[float] = BANDWIDTHS):
        super().__init__()
        self.bandwidths = bandwidths

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        return discrepancy(self.kernel(torch.cat([source.features, target.features])), source, target)

    def kernel(self, rows: Tensor) -> Tensor:
        """Mean of Gaussian kernels between all rows of both batches, shape (n, n)."""
        squared, n = squared_distances(rows), len(rows)
        unit = (squared.sum() / max(n * (n - 1), 1)).clamp_min(1e-12)
        return torch.stack([torch.exp(-squared / (c * unit)) for c in self.bandwidths]).mean(dim=0)


def squared_distances(rows: Tensor) -> Tensor:
    """Between all rows, shape (n, n); centred first, so that digits are not lost far from zero."""
    rows = rows - rows.detach().mean(dim=0)
    squares = rows.square().sum(dim=1)
    return (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(0)


def discrepancy(kernel: Tensor, source: DomainBatch, target: DomainBatch) -> Tensor:
    """Squared maximum mean discrepancy of the rows of two batches, source rows first."""
    sign = torch.cat([row_share(source), -row_share(target)])
    return sign @ kernel @ sign
