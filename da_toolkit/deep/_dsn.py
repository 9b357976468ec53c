r"""DSN: what is common to the domains in shared features, what is not in private ones."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from shift_detectors._errors import InputError

from ._batch import AlignmentLoss, DomainBatch, row_share
from ._dann import DANN


class DSN(AlignmentLoss):
    r"""Domain separation: a private encoder per domain takes up what the shared features should not hold.

    With the shared features :math:`z` (the named layer), private features :math:`h = E_D(x)` of each domain's
    own encoder, and a decoder :math:`R` that both domains share,

    .. math::

        L = A(z^s, z^t) + \sum_{D \in \{s, t\}} \Big[
            \beta \, \Big\| \sum_i a_i \hat z_i \hat h_i^\top \Big\|_F^2
            + \alpha \sum_i a_i \big( \tfrac1k \|e_i\|^2 - \tfrac1{k^2} (e_i \cdot 1)^2 \big) \Big]

    where :math:`A` is another alignment loss, hats mean rows centred over the batch and of unit length,
    :math:`a_i` are row weights that sum to one, and :math:`e = R(z + h) - x` is the error of the reconstruction
    of the :math:`k` inputs, up to a constant per row. The second term keeps the two kinds of features apart, the
    third keeps the private ones from being idle: style may go there, and the shared features need not carry it.

    Assumes that what differs between the domains can be told from what decides the class, and inputs that can be
    reconstructed (numbers, not tokens). Under label shift it fails as its similarity loss does.

    Parameters
    ----------
    similarity : AlignmentLoss, optional
        :math:`A`. None: `DANN`.
    private : nn.Module, optional
        From inputs to features of the width of the shared ones; copied for each domain. None: one hidden layer of
        128 rectified units on the flattened rows.
    decoder : nn.Module, optional
        From features to flattened inputs. None: one hidden layer of 128 rectified units.
    reconstruction, difference : float
        :math:`\alpha, \beta`.

    References
    ----------
    Bousmalis, Trigeorgis, Silberman, Krishnan, Erhan: Domain separation networks. NeurIPS 2016.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import DAN, DSN, DomainBatch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = DSN(DAN(), private=torch.nn.Identity(), decoder=torch.nn.Identity(), difference=0.0)
    >>> batch = DomainBatch(x, torch.zeros(2, 2), x)  # all of x is private: nothing left to reconstruct
    >>> round(loss(batch, batch, progress=1.0).item(), 6)
    0.0
    """

    default_weight: ClassVar[float] = 1.0

    def __init__(
        self,
        similarity: AlignmentLoss | None = None,
        *,
        private: nn.Module | None = None,
        decoder: nn.Module | None = None,
        reconstruction: float = 0.1,
        difference: float = 0.05,
    ):
        super().__init__()
        self.similarity = similarity
        self.private = private
        self.decoder = decoder
        self.reconstruction = reconstruction
        self.difference = difference
        self.similarity_: Any = DANN() if similarity is None else similarity
        self.private_: Any = None
        self.decoder_: Any = decoder

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build the private encoders and the decoder for the widths of inputs and features."""
        if not source.inputs.is_floating_point():
            raise InputError("DSN was given whole numbers", "inputs that can be reconstructed", "Use DANN or DAN.")
        self.similarity_.initialize(source, target)
        k, z = source.inputs[0].numel(), source.features
        if self.private_ is None:
            first = self.private or nn.Sequential(
                nn.Flatten(), nn.Linear(k, 128), nn.ReLU(), nn.Linear(128, z.shape[1])
            ).to(z)
            self.private_ = nn.ModuleList([first, copy.deepcopy(first)])
        if self.decoder_ is None:
            self.decoder_ = nn.Sequential(nn.Linear(z.shape[1], 128), nn.ReLU(), nn.Linear(128, k)).to(z)

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Similarity, difference and reconstruction of a pair of batches."""
        self.initialize(source, target)
        loss = self.similarity_(source, target, progress)
        for batch, encoder in zip((source, target), self.private_, strict=True):
            share, private = row_share(batch), encoder(batch.inputs)
            if private.shape != batch.features.shape:
                raise InputError(
                    f"the private encoder gives shape {tuple(private.shape)}",
                    f"{tuple(batch.features.shape)}, as the shared features",
                    "Change its last layer.",
                )
            overlap = (unit_rows(batch.features) * share[:, None]).T @ unit_rows(private)
            error = self.decoder_(batch.features + private) - batch.inputs.flatten(1)
            unlike = error.square().mean(dim=1) - error.mean(dim=1).square()
            loss = loss + self.difference * overlap.square().sum() + self.reconstruction * (share @ unlike)
        return loss


def unit_rows(features: Tensor) -> Tensor:
    """Rows centred over the batch, of unit length."""
    return F.normalize(features - features.mean(dim=0), dim=1)
