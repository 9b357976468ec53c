r"""JAN: features and predictions with the same joint kernel mean embedding in both domains."""

from __future__ import annotations

import torch
from torch import Tensor

from ._batch import DomainBatch, class_logits
from ._dan import DAN, discrepancy, squared_distances


class JAN(DAN):
    r"""Squared maximum mean discrepancy between the *joint* distributions of features and predictions.

    As `DAN` with the product kernel

    .. math:: k\big((z, p), (z', p')\big) = k(z, z') \cdot \exp\Big(-\frac{\|p - p'\|^2}{2 (1 - 1/K)}\Big)

    on features :math:`z` and predicted probabilities :math:`p` of :math:`K` classes; the divisor is the mean squared
    distance between two certain predictions of classes drawn at random. While the predictions are still alike, this
    is `DAN`; once they are certain, rows are mostly compared with rows of the same predicted class, so that classes
    are matched with their own. (A divisor learnt from the predictions would magnify their noise at the beginning and
    keep a network from learning.) Zero when the batches are equal.

    Assumes that the source model is right about most target rows. Fails as `CDAN` does.

    Parameters
    ----------
    bandwidths : sequence of float
        Of the feature kernel, in units of the mean squared distance.

    References
    ----------
    Long, Zhu, Wang, Jordan: Deep transfer learning with joint adaptation networks. ICML 2017.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import JAN, DomainBatch
    >>> z, first, second = torch.tensor([[0.0], [1.0]]), 9 * torch.eye(2), 9 * torch.eye(2).flip(0)
    >>> one, other = DomainBatch(z, z, first), DomainBatch(z, z, second)  # same features, classes exchanged
    >>> round(abs(JAN()(one, one, 1.0).item()), 6), JAN()(one, other, 1.0).item() > 0.1
    (0.0, True)
    """

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches; `progress` is not used."""
        logits = torch.cat([class_logits(source, "JAN"), class_logits(target, "JAN")])
        on_features = self.kernel(torch.cat([source.features, target.features]))
        apart = 2 * (1 - 1 / logits.shape[1])
        on_classes = torch.exp(-squared_distances(torch.softmax(logits, dim=1)) / apart)
        return discrepancy(on_features * on_classes, source, target)
