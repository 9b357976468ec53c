r"""DeepCORAL: features with the same covariance in both domains."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch


class DeepCORAL(AlignmentLoss):
    r"""Squared distance between the feature covariances of source and target.

    .. math:: L = \frac{1}{4 d^2} \, \| C_s - C_t \|_F^2

    with :math:`C` the (weighted) covariance of the :math:`d` features in a batch, divisor :math:`n - 1` for
    equal weights. Zero on equal batches, cheap, without an adversary, and it does not collapse.

    Assumes that what differs shows in second moments; means are left alone. The factor :math:`1/4d^2` makes
    the loss small: weights of 100 to 1000 are usual, `DeepAdapter` takes 100 unless told otherwise. Batches
    much smaller than the width of the features make a noisy covariance.

    References
    ----------
    Sun and Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", ECCV workshops 2016.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import DeepCORAL, DomainBatch
    >>> z = torch.tensor([[-1.0], [1.0]])  # variance 2, twice the values: 8; (2 - 8)^2 / 4 = 9
    >>> DeepCORAL()(DomainBatch(z, z, z), DomainBatch(z, 2 * z, z), progress=0.5).item()
    9.0
    """

    default_weight: ClassVar[float] = 100.0

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        difference = covariance(source) - covariance(target)
        return difference.square().sum() / (4 * len(difference) ** 2)


def covariance(batch: DomainBatch) -> Tensor:
    """Weighted covariance of the features, shape (d, d); unbiased, divisor n - 1 for equal weights."""
    return torch.atleast_2d(torch.cov(batch.features.T, aweights=batch.weight))
