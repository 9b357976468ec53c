r"""SHOT: keep the classifier, move the features until the target falls into its classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch import DomainBatch
from ._mcc import entropy_of
from ._probe import find_head
from ._source_free import SourceFreeMethod


class SHOT(SourceFreeMethod):
    r"""Source hypothesis transfer: information maximisation with pseudo-labels from centroids.

    The head, which holds what the source knew about its classes, is frozen; everything before it learns

    .. math::

        L = \frac1n \sum_i H(p_i) + \mathrm{KL}(\bar p \,\|\, q)
            - \frac{\beta}{n} \sum_i \log p_{i, \hat y_i}

    with the predictions :math:`p_i`, their mean :math:`\bar p` over the batch and the class shares :math:`q` of the
    target (`target_prior` of `SourceFree`; all alike unless told otherwise, as published). The pseudo-label
    :math:`\hat y_i` is the class whose centroid is nearest in angle to the features of the row, a one appended;
    centroids are means weighted by the predictions of the previous epoch, then means of the rows so labelled.

    Assumes that classes form groups on the target, most of them near their own centroid. Under label shift the
    second term forces rows into wrong classes unless :math:`q` is known, and batch normalisation is misled in any
    case.

    Parameters
    ----------
    beta : float
        Weight of the pseudo-labels, at least 0.
    head : str, optional
        Name of the submodule that is frozen, whose input are the features unless `SourceFree` names a layer. None:
        the linear layer that gives the logits.

    Attributes
    ----------
    pseudo_labels_ : Tensor of shape (n_target,)
        Those of the last epoch.

    References
    ----------
    Liang, Hu, Feng: Do we really need to access the source data? Source hypothesis transfer for unsupervised
    domain adaptation. ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep._shot import centroid_labels
    >>> features = torch.tensor([[9.0, 0.0], [8.0, 1.0], [0.0, 9.0], [1.0, 7.0]])
    >>> proba = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
    >>> centroid_labels(features, proba)  # the second row joins its group
    tensor([0, 0, 1, 1])
    """

    def __init__(self, beta: float = 0.3, head: str | None = None):
        self.beta = beta
        self.head = head

    def prepare(self, module: nn.Module, batches: Any) -> list[nn.Parameter]:
        """Everything but the head learns."""
        with torch.random.fork_rng(devices=[]):  # the order of the batches to come stays
            batch = next(iter(batches()))
        head = module.get_submodule(find_head(module, self.head, batch, "SHOT(head=...)"))
        frozen = {id(parameter) for parameter in head.parameters()}
        return [parameter for parameter in module.parameters() if id(parameter) not in frozen]

    def start_epoch(self, target: DomainBatch) -> None:
        """Renew the pseudo-labels."""
        self.pseudo_labels_ = centroid_labels(target.features, target.logits.softmax(dim=1))

    def loss(self, batch: DomainBatch, rows: Tensor) -> Tensor:
        """Information maximisation plus cross entropy with the pseudo-labels."""
        proba = batch.logits.softmax(dim=1)
        mean = proba.mean(dim=0)
        information = (
            entropy_of(batch.logits).mean() + (mean * (mean.clamp_min(1e-8) / self.prior_.clamp_min(1e-8)).log()).sum()
        )
        return information + self.beta * F.cross_entropy(batch.logits, self.pseudo_labels_[rows])


def centroid_labels(features: Tensor, proba: Tensor) -> Tensor:
    """Class of the nearest centroid, shape (n,); classes without a row keep no centroid."""
    rows = F.normalize(torch.cat([features, torch.ones_like(features[:, :1])], dim=1), dim=1)
    share = proba
    for _ in range(2):
        centroids = F.normalize(share.T @ rows, dim=1)
        near = rows @ centroids.T
        near[:, share.sum(dim=0) == 0] = -torch.inf
        labels = near.argmax(dim=1)
        share = F.one_hot(labels, proba.shape[1]).to(proba)
    return labels
