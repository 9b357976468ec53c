r"""MDD: an adversarial classifier looks for the classes on which the domains disagree."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch import AlignmentLoss, DomainBatch, class_logits, row_share, unit_features
from ._critic import value_and_slope
from ._dann import ramp, reverse_gradient


class MDD(AlignmentLoss):
    r"""Margin disparity discrepancy.

    How much could another classifier :math:`f'` on the same features agree with the model on the source and
    disagree with it on the target? With the model's predicted classes :math:`\hat y` (held constant) and the
    features :math:`z` scaled as in `DANN`,

    .. math::

        L = \gamma\, \mathbb{E}_s\big[ -\log \sigma_{\hat y}(f'(z)) \big]
            + \mathbb{E}_t\big[ -\log (1 - \sigma_{\hat y}(f'(z))) \big],

    :math:`\sigma` the softmax. The adversary is the model plus a correction, :math:`f' = f + g` with :math:`f`
    held constant: it need not learn the classes before it can look for a disparity. :math:`g` minimises
    :math:`L` and, as in `DANN`, a penalty on the squared slope of the log odds; the features, through a reversed
    gradient of strength :math:`\lambda(p)`, raise :math:`L`. On equal domains the best adversary says
    :math:`\sigma_{\hat y} = \gamma / (1 + \gamma)` everywhere, where
    :math:`L = (1 + \gamma) \log(1 + \gamma) - \gamma \log \gamma`.

    Assumes that the model is right about most target rows, and classes of similar frequency. More delicate than
    `MCC` or `DeepCORAL`.

    Parameters
    ----------
    margin : float
        :math:`\gamma`, at least 1.
    adversary : nn.Module, optional
        The correction :math:`g`, from features (n, d) to (n, n_classes). None: one hidden layer of 128 rectified
        units.
    gradient_penalty : float

    References
    ----------
    Zhang, Liu, Long, Jordan: Bridging theory and algorithm for domain adaptation. ICML 2019.

    Examples
    --------
    >>> import math, torch
    >>> from da_toolkit.deep import MDD, DomainBatch
    >>> z = torch.zeros(2, 2)  # everyone says 1/2: with margin 1 the best on equal domains, 2 log 2
    >>> loss = MDD(1.0, torch.nn.Identity(), gradient_penalty=0)
    >>> round(loss(DomainBatch(z, z, z), DomainBatch(z, z, z), 1.0).item() / math.log(2), 4)
    2.0
    """

    default_weight: ClassVar[float] = 0.03

    def __init__(self, margin: float = 4.0, adversary: nn.Module | None = None, *, gradient_penalty: float = 5.0):
        super().__init__()
        self.margin = margin
        self.adversary = adversary
        self.gradient_penalty = gradient_penalty
        self.adversary_: Any = adversary

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the default adversary for the width of the features and the number of classes."""
        if self.adversary_ is None:
            z, k = source.features, class_logits(source, "MDD").shape[1]
            self.adversary_ = nn.Sequential(nn.Linear(z.shape[1], 128), nn.ReLU(), nn.Linear(128, k)).to(z)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of the adversary, with the gradient of the features reversed."""
        self.initialize(source, target)
        z = torch.cat(unit_features(source, target))
        chosen = torch.cat([class_logits(batch, "MDD").argmax(dim=1, keepdim=True) for batch in (source, target)])

        own = torch.cat([source.logits, target.logits]).detach()

        def against(z: Tensor) -> Tensor:
            """Log odds of the adversary against the class that the model predicts."""
            logits = own + self.adversary_(z)
            others = logits.scatter(1, chosen, -torch.inf)
            return torch.logsumexp(others, dim=1) - logits.gather(1, chosen).squeeze(1)

        odds, slope = value_and_slope(against, reverse_gradient(z, ramp(progress)))
        n = len(source.features)
        loss = self.margin * (row_share(source) @ F.softplus(odds[:n])) + row_share(target) @ F.softplus(-odds[n:])
        return loss + self.gradient_penalty * slope.square().sum(dim=1).mean()
