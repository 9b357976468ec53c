r"""CDAN: a discriminator that sees features together with the predicted class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._batch import DomainBatch, class_logits
from ._dann import DANN
from ._mcc import entropy

PRODUCT_UP_TO = 4096  # entries of features times classes; above, both are projected at random


class CDAN(DANN):
    r"""Conditional domain-adversarial loss, with entropy weights (CDAN+E).

    Which features look the same in both domains *given the class*? As `DANN`, but the discriminator sees

    .. math:: h = p \otimes z, \qquad w_i \propto 1 + e^{-H(p_i)} \ \text{(mean one in each domain)},

    the outer product of the predicted class probabilities :math:`p` (held constant) and the features :math:`z`
    (scaled as in `DANN`), so that matching the two domains matches every class with its own; rows with
    uncertain predictions count less. More than 4096 products are replaced by :math:`(R_1 p) \odot (R_2 z) /
    \sqrt m` with fixed random :math:`R`, whose inner products agree in expectation with those of :math:`p
    \otimes z`.

    Assumes that the source model is right about most target rows; where it is confidently wrong, classes are
    paired wrongly. Fails under label shift, though less than `DANN`.

    Parameters
    ----------
    discriminator : nn.Module, optional
        From (n, n_classes * d), or (n, 1024) when projected, to logits. None: two hidden layers of 64 units.
    entropy_weight : bool
        Whether uncertain rows count less.
    gradient_penalty : float
        As in `DANN`; larger, because the products tell the domains apart within every class.

    References
    ----------
    Long, Cao, Wang, Jordan: Conditional adversarial domain adaptation. NeurIPS 2018.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import CDAN, DomainBatch
    >>> z, logits = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])
    >>> CDAN().represent(DomainBatch(z, z, logits), z)
    tensor([[0.5000, 1.5000, 0.5000, 1.5000]])
    """

    def __init__(
        self,
        discriminator: nn.Module | None = None,
        *,
        entropy_weight: bool = True,
        gradient_penalty: float = 0.3,
    ):
        super().__init__(discriminator, gradient_penalty=gradient_penalty)
        self.entropy_weight = entropy_weight
        self.on_classes: Tensor | None
        self.on_features: Tensor | None
        self.register_buffer("on_classes", None)
        self.register_buffer("on_features", None)

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Draw the projections, where needed, and build the default discriminator."""
        k, d = class_logits(source, "CDAN").shape[1], source.features.shape[1]
        if k * d > PRODUCT_UP_TO and self.on_classes is None:
            new = {"dtype": source.features.dtype, "device": source.features.device}
            self.on_classes, self.on_features = torch.randn(k, 1024, **new), torch.randn(d, 1024, **new)
        super().initialize(source, target)

    def represent(self, batch: DomainBatch, features: Tensor) -> Tensor:
        """What the discriminator sees, shape (n, n_classes * d) or (n, 1024)."""
        proba = torch.softmax(class_logits(batch, "CDAN").detach(), dim=1)
        if self.on_classes is None or self.on_features is None:
            return (proba[:, :, None] * features[:, None, :]).flatten(1)
        return (proba @ self.on_classes) * (features @ self.on_features) / math.sqrt(self.on_classes.shape[1])

    def row_share(self, batch: DomainBatch) -> Tensor:
        """Weights of the rows that sum to one, shape (n,)."""
        share = super().row_share(batch)
        if self.entropy_weight:
            proba = torch.softmax(class_logits(batch, "CDAN").detach(), dim=1)
            share = share * (1 + torch.exp(-entropy(proba)))
        return share / share.sum()
