r"""MCC: predictions on the target that do not waver between the same two classes."""

from __future__ import annotations

import torch
from torch import Tensor

from ._batch import AlignmentLoss, DomainBatch, class_logits
from ._options import check_positive


class MCC(AlignmentLoss):
    r"""Minimum class confusion on the target.

    Which pairs of classes does the classifier mix up on the target? With the tempered predictions
    :math:`p_i = \mathrm{softmax}(\text{logits}_i / T)` of :math:`n` target rows, their entropies :math:`H_i` and
    certainty weights :math:`w_i \propto 1 + e^{-H_i}` of mean one (held constant),

    .. math::

        C_{jk} = \sum_i w_i\, p_{ij}\, p_{ik}, \qquad
        L = \frac1K \sum_{j \ne k} \frac{C_{jk}}{\sum_l C_{jl}} .

    Zero when every prediction is certain and all classes occur, at most :math:`1 - 1/K`. Unlike entropy it does
    not ask for more certainty of rows that are merely uncertain among many classes, nor does a class gain from
    swallowing another one. No adversary, no pairing of domains: source features do not enter.

    Assumes classes that form groups on the target, with the decision boundary near a gap between them. Fails
    when the source model is wrong about whole groups, which it then confirms. Batches should hold several rows
    per class.

    Parameters
    ----------
    temperature : float
        :math:`T > 0`. Above one, nearly certain predictions still count: 2.5 is usual with large pretrained
        networks.

    References
    ----------
    Jin, Wang, Long, Wang: Minimum class confusion for versatile domain adaptation. ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import MCC, DomainBatch
    >>> sure, unsure = 50 * torch.eye(2), torch.zeros(2, 2)
    >>> [MCC()(DomainBatch(z, z, z), DomainBatch(z, z, z), 1.0).item() for z in (sure, unsure)]
    [0.0, 0.5]
    """

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Nothing to build; the temperature is checked."""
        check_positive(self, "temperature")

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of the target batch; `source` and `progress` are not used."""
        proba = torch.softmax(class_logits(target, "MCC") / self.temperature, dim=1)
        certainty = 1 + torch.exp(-entropy(proba.detach()))
        weight = certainty / certainty.mean()
        confusion = (weight[:, None] * proba).T @ proba
        confusion = confusion / confusion.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return 1 - confusion.diagonal().mean()


def entropy(proba: Tensor) -> Tensor:
    """Entropy of every row in nats, shape (n,)."""
    return torch.special.entr(proba).sum(dim=1)


def entropy_of(logits: Tensor) -> Tensor:
    """The same from logits, with a finite gradient for certain predictions, too."""
    log_proba = torch.log_softmax(logits, dim=1)
    return -(log_proba.exp() * log_proba).sum(dim=1)
