r"""MDD: an adversarial classifier looks for the classes on which the domains disagree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch import AlignmentLoss, DomainBatch, class_logits, row_share
from ._dann import ramp, reverse_gradient


class MDD(AlignmentLoss):
    r"""Margin disparity discrepancy.

    How much could another classifier :math:`f'` on the same features agree with the model on the source and
    disagree with it on the target? With the model's predicted classes :math:`\hat y` (held constant),

    .. math::

        L = \gamma\, \mathbb{E}_s\big[ -\log \sigma_{\hat y}(f'(z)) \big]
            + \mathbb{E}_t\big[ -\log (1 - \sigma_{\hat y}(f'(z))) \big],

    :math:`\sigma` the softmax. The adversary :math:`f'` minimises :math:`L`; the features, through a reversed
    gradient of strength :math:`.1\,\lambda(p)` as in `DANN`, raise it. On equal domains the best adversary says
    :math:`\sigma_{\hat y} = \gamma / (1 + \gamma)` everywhere, where
    :math:`L = (1 + \gamma) \log(1 + \gamma) - \gamma \log \gamma`.

    Assumes that the model is right about most target rows, and classes of similar frequency. More delicate than
    `MCC` or `DeepCORAL`.

    Parameters
    ----------
    margin : float
        :math:`\gamma`, at least 1.
    adversary : nn.Module, optional
        From features (n, d) to logits (n, n_classes). None: one hidden layer of 128 rectified units.

    References
    ----------
    Zhang, Liu, Long, Jordan: Bridging theory and algorithm for domain adaptation. ICML 2019.

    Examples
    --------
    >>> import math, torch
    >>> from da_toolkit.deep import MDD, DomainBatch
    >>> z = torch.zeros(2, 2)
    >>> unsure = torch.nn.Identity()  # says 1/2: with margin 1 the best on equal domains, 2 log 2
    >>> round(MDD(1.0, unsure)(DomainBatch(z, z, z), DomainBatch(z, z, z), 1.0).item() / math.log(2), 4)
    2.0
    """

    def __init__(self, margin: float = 4.0, adversary: nn.Module | None = None):
        super().__init__()
        self.margin = margin
        self.adversary = adversary
        self.adversary_: Any = adversary

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the default adversary for the width of the features and the number of classes."""
        if self.adversary_ is None:
            z, k = source.features, class_logits(source, "MDD").shape[1]
            self.adversary_ = nn.Sequential(nn.Linear(z.shape[1], 128), nn.ReLU(), nn.Linear(128, k)).to(z)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of the adversary, with the gradient of the features reversed."""
        self.initialize(source, target)
        strength = 0.1 * ramp(progress)
        on_source, on_target = (
            self.adversary_(reverse_gradient(batch.features, strength)) for batch in (source, target)
        )
        agrees = F.cross_entropy(on_source, class_logits(source, "MDD").argmax(dim=1), reduction="none")
        chosen = class_logits(target, "MDD").argmax(dim=1, keepdim=True)
        # log(1 - softmax_c) = logsumexp of the other classes - logsumexp of all
        others = on_target.scatter(1, chosen, -torch.inf)
        disagrees = torch.logsumexp(on_target, dim=1) - torch.logsumexp(others, dim=1)
        return self.margin * (row_share(source) @ agrees) + row_share(target) @ disagrees
