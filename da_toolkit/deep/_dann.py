r"""DANN: features from which a discriminator cannot tell the domains apart."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._batch import AlignmentLoss, DomainBatch, row_share, unit_features
from ._critic import Critic, value_and_slope
from ._options import check_not_negative


class DANN(AlignmentLoss):
    r"""Domain-adversarial loss (gradient reversal) with a regularised discriminator.

    Which features serve the task and look the same in both domains? A discriminator :math:`d` learns to tell
    them apart by

    .. math::

        L = \tfrac12 \Big[ \mathbb{E}_s \log(1 + e^{d(z)}) + \mathbb{E}_t \log(1 + e^{-d(z)}) \Big]
            + \gamma\, m\, \mathbb{E}\, \| \nabla_z d(z) \|^2 ,
        \qquad \lambda(p) = \frac{2}{1 + e^{-10 p}} - 1,

    where :math:`z` are the :math:`m` features centred and divided by one number, so that their mean square over the
    two batches is one: neither :math:`\gamma` nor the game depends on their scale. (With the factor :math:`m` the
    slope is that along features of mean squared *length* one; more features do not make a steeper discriminator.)
    :math:`d(z) > 0` says "target". The
    features receive :math:`-\lambda(p)\, \partial L / \partial z` of the first part, with :math:`p` the progress of
    the training: they learn to *raise* the discriminator's loss, gently at first. The second part regularises the
    discriminator alone. When source and target features agree, the best :math:`L` is :math:`\log 2`.

    Without the penalty the game often cycles or pairs the wrong classes.

    Assumes that one labelling function serves both domains in the learned features, and similar class
    frequencies. Fails under label shift (equal features then force wrong classes) and when classes can be
    paired wrongly, as the loss does not look at them.

    Parameters
    ----------
    discriminator : nn.Module, optional
        From features (n, d) to logits (n,) or (n, 1), without a final sigmoid. None: two hidden layers of 64
        rectified units, built for the width of the features.
    gradient_penalty : float
        :math:`\gamma`, at least 0.

    References
    ----------
    Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016. The zero-centred penalty:
    Mescheder, Geiger, Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import DANN, DomainBatch
    >>> discriminator = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.zeros_(discriminator.weight)
    >>> z = torch.tensor([[0.0], [1.0]])
    >>> source, target = DomainBatch(z, z, z), DomainBatch(z, z + 1, z)
    >>> round(DANN(discriminator)(source, target, progress=1.0).item(), 4)  # log 2: it cannot tell
    0.6931
    """

    def __init__(self, discriminator: nn.Module | None = None, *, gradient_penalty: float = 0.08):
        super().__init__()
        self.discriminator = discriminator
        self.gradient_penalty = gradient_penalty
        self.discriminator_: Any = discriminator

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the default discriminator for the width of what it sees."""
        check_not_negative(self, "gradient_penalty")
        if self.discriminator_ is None:
            seen = self.represent(source, source.features)
            self.discriminator_ = Critic(seen.shape[1]).to(seen)

    def represent(self, batch: DomainBatch, features: Tensor) -> Tensor:
        """What the discriminator sees: the features, shape (n, d)."""
        return features

    def row_share(self, batch: DomainBatch) -> Tensor:
        """Weights of the rows that sum to one, shape (n,)."""
        return row_share(batch)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of the discriminator, with the gradient of the features reversed."""
        self.initialize(source, target)
        zs, zt = unit_features(source, target)
        seen = torch.cat([self.represent(source, zs), self.represent(target, zt)])
        logit, slope = value_and_slope(self.discriminator_, reverse_gradient(seen, ramp(progress)))
        n = len(source.features)
        on_source, on_target = F.softplus(logit[:n]), F.softplus(-logit[n:])
        loss = 0.5 * (self.row_share(source) @ on_source + self.row_share(target) @ on_target)
        return loss + self.gradient_penalty * zs.shape[1] * slope.square().sum(dim=1).mean()


def ramp(progress: float) -> float:
    """Strength of an adversary, from 0 to 1 along the training: ``2 / (1 + exp(-10 progress)) - 1``."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """`x` itself, whose gradient comes back multiplied by ``-strength``."""
    return _ReverseGradient.apply(x, strength)  # type: ignore[return-value]


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, *grad):
        return -ctx.strength * grad[0], None
