r"""WDGRL: features with a small Wasserstein distance between the domains."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ._batch import AlignmentLoss, DomainBatch, row_share, unit_features
from ._critic import Critic, value_and_slope
from ._options import check_not_negative


class WDGRL(AlignmentLoss):
    r"""Wasserstein distance between the features, estimated by a critic with a gradient penalty.

    .. math::

        L = \mathbb{E}_s\, c(z) - \mathbb{E}_t\, c(z), \qquad
        c = \arg\max_c\; \mathbb{E}_s\, c(z) - \mathbb{E}_t\, c(z)
            - \gamma\, \mathbb{E} \big( \|\nabla_z c(\hat z)\| - 1 \big)^2,

    :math:`\hat z` drawn on the lines between source and target rows; features are scaled as in `DANN`. The critic
    takes `critic_steps` steps of its own optimizer (Adam) on every pair of batches before the features take theirs.
    Unlike a discriminator it has a useful slope also where the domains do not overlap. About zero on equal domains.

    Assumes what `DANN` assumes, and fails where it fails; slower by the critic's steps.

    Parameters
    ----------
    critic : nn.Module, optional
        From features (n, d) to (n,) or (n, 1). None: one hidden layer of 64 rectified units.
    critic_steps : int
    critic_lr : float
    gradient_penalty : float
        :math:`\gamma`, at least 0.

    References
    ----------
    Shen, Qu, Zhang, Yu: Wasserstein distance guided representation learning for domain adaptation. AAAI 2018.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import WDGRL, DomainBatch
    >>> z = torch.tensor([[0.0], [2.0]])
    >>> loss = WDGRL(torch.nn.Linear(1, 1), critic_steps=0)
    >>> loss(DomainBatch(z, z, z), DomainBatch(z, z, z), progress=1.0).item()
    0.0
    """

    default_weight: ClassVar[float] = 0.1

    def __init__(
        self,
        critic: nn.Module | None = None,
        *,
        critic_steps: int = 5,
        critic_lr: float = 1e-3,
        gradient_penalty: float = 10.0,
    ):
        super().__init__()
        self.critic = critic
        self.critic_steps = critic_steps
        self.critic_lr = critic_lr
        self.gradient_penalty = gradient_penalty
        self.critic_: Any = critic
        self._optimizer: Any = None

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the default critic for the width of the features."""
        check_not_negative(self, "gradient_penalty")
        if self.critic_ is None:
            z = source.features
            self.critic_ = Critic(z.shape[1], (64,)).to(z)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Estimated distance; its gradient reaches the features alone, the critic learns by itself."""
        self.initialize(source, target)
        a, b = row_share(source), row_share(target)
        zs, zt = unit_features(source, target)
        if torch.is_grad_enabled():
            self._train_critic(zs.detach(), zt.detach(), a, b)
        self.critic_.requires_grad_(False)
        distance = a @ self.critic_(zs).flatten() - b @ self.critic_(zt).flatten()
        self.critic_.requires_grad_(True)
        return distance

    def _train_critic(self, zs: Tensor, zt: Tensor, a: Tensor, b: Tensor) -> None:
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(self.critic_.parameters(), lr=self.critic_lr)
        n = min(len(zs), len(zt))
        for _ in range(self.critic_steps):
            u = torch.rand(n, 1, dtype=zs.dtype, device=zs.device)
            _, slope = value_and_slope(self.critic_, u * zs[:n] + (1 - u) * zt[:n])
            norm = (slope.square().sum(dim=1) + 1e-12).sqrt()
            distance = a @ self.critic_(zs).flatten() - b @ self.critic_(zt).flatten()
            loss = self.gradient_penalty * (norm - 1).square().mean() - distance
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        self._optimizer.zero_grad()

    def get_extra_state(self) -> Any:
        """State of the critic's optimizer, so that a checkpoint is complete."""
        return None if self._optimizer is None else self._optimizer.state_dict()

    def set_extra_state(self, state: Any) -> None:
        """Go on from that state."""
        if state is not None:
            self._optimizer = torch.optim.Adam(self.critic_.parameters(), lr=self.critic_lr)
            self._optimizer.load_state_dict(state)
