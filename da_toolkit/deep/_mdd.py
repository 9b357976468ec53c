r"""MDD: an adversarial classifier looks for the classes on which the domains disagree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch import AlignmentLoss, DomainBatch, class_logits, row_share, unit_features
from ._critic import Critic, value_and_slope
from ._dann import ramp, reverse_gradient
from ._options import check_not_negative


class MDD(AlignmentLoss):
    r"""Margin disparity discrepancy.

    How much could another classifier :math:`f'` on the same features agree with the model on the source and
    disagree with it on the target? With the model's predicted classes :math:`\hat y` (held constant) and the
    features :math:`z` scaled as in `DANN`,

    .. math::

        L = \frac{1}{1 + \gamma} \Big( \gamma\, \mathbb{E}_s\big[ -\log \sigma_{\hat y}(f'(z)) \big]
            + \mathbb{E}_t\big[ -\log (1 - \sigma_{\hat y}(f'(z))) \big] \Big),

    :math:`\sigma` the softmax. All that enters of :math:`f'` is its probability of :math:`\hat y`, and any function
    between 0 and 1 is that of some classifier; so the log odds of this probability are learnt themselves, by an
    adversary :math:`g` with one output per class: :math:`\sigma_{\hat y}(f') = 1 / (1 + e^{-g_{\hat y}(z)})`. (An
    :math:`f'` with a softmax of its own would have to learn the classes before it could look for a disparity.)
    :math:`g` minimises :math:`L` and, as in `DANN`, a penalty on the squared slope of the log odds; the features,
    through a reversed gradient of strength :math:`\lambda(p)`, raise :math:`L`. On equal domains the best adversary
    says :math:`\gamma / (1 + \gamma)` everywhere, where
    :math:`L = \log(1 + \gamma) - \gamma \log \gamma / (1 + \gamma)`.

    Assumes that the model is right about most target rows, and classes of similar frequency: rows are matched with
    the class they are taken for.

    Parameters
    ----------
    margin : float
        :math:`\gamma`, at least 1.
    adversary : nn.Module, optional
        :math:`g`, from features (n, d) to (n, n_classes). None: one hidden layer of 64 rectified units.
    gradient_penalty : float
        As in `DANN`; larger, as every class has an adversary of its own: a steep one matches classes that were
        confused at the start as they are.

    References
    ----------
    Zhang, Liu, Long, Jordan: Bridging theory and algorithm for domain adaptation. ICML 2019.

    Examples
    --------
    >>> import math, torch
    >>> from da_toolkit.deep import MDD, DomainBatch
    >>> z = torch.zeros(2, 2)  # log odds of 0: the best on equal domains with margin 1, log 2
    >>> loss = MDD(1.0, torch.nn.Identity(), gradient_penalty=0)
    >>> round(loss(DomainBatch(z, z, z), DomainBatch(z, z, z), 1.0).item() / math.log(2), 4)
    1.0
    """

    def __init__(self, margin: float = 4.0, adversary: nn.Module | None = None, *, gradient_penalty: float = 0.8):
        super().__init__()
        self.margin = margin
        self.adversary = adversary
        self.gradient_penalty = gradient_penalty
        self.adversary_: Any = adversary

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the default adversary for the width of the features and the number of classes."""
        check_not_negative(self, "gradient_penalty")
        if self.adversary_ is None:
            z, k = source.features, class_logits(source, "MDD").shape[1]
            self.adversary_ = Critic(z.shape[1], (64,), k).to(z)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of the adversary, with the gradient of the features reversed."""
        self.initialize(source, target)
        z = reverse_gradient(torch.cat(unit_features(source, target)), ramp(progress))
        predicted = torch.cat([class_logits(batch, "MDD").argmax(dim=1) for batch in (source, target)])
        odds, slope = value_and_slope(self.adversary_, z, predicted)
        n = len(source.features)
        agrees, disagrees = row_share(source) @ F.softplus(-odds[:n]), row_share(target) @ F.softplus(odds[n:])
        loss = (self.margin * agrees + disagrees) / (1 + self.margin)
        return loss + self.gradient_penalty * z.shape[1] * slope.square().sum(dim=1).mean()
