r"""TENT: certain predictions by scaling and shifting the normalised features."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shift_detectors._errors import InputError

from ._adabn import renew_statistics
from ._batch import DomainBatch
from ._mcc import entropy_of
from ._source_free import SourceFreeMethod

NORMALISATIONS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


class TENT(SourceFreeMethod):
    r"""Minimise the entropy of the predictions over the scales and offsets of the normalisation layers.

    .. math:: L = \frac1n \sum_{i : H(p_i) < h \log K} H(p_i)

    after the statistics of batch normalisation were renewed as in `AdaBN`. Rows that are more uncertain than
    :math:`h \log K` teach nothing; a warning says when all of them are. All other parameters stay as they are, which
    keeps the module near to where it was; one pass over the target is enough.

    Assumes that certain predictions are right. Entropy alone rewards putting all rows into one class: more epochs
    or a larger learning rate collapse sooner or later, label shift makes it worse. `SHOT` keeps the classes in
    balance.

    Parameters
    ----------
    threshold : float
        :math:`h`, above 0; 1 keeps all rows.

    References
    ----------
    Wang, Shelhamer, Liu, Olshausen, Darrell: Tent: fully test-time adaptation by entropy minimization. ICLR 2021.
    The threshold: Niu et al.: Efficient test-time model adaptation without forgetting. ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import TENT, DomainBatch
    >>> even = torch.zeros(2, 2)
    >>> round(TENT(threshold=1.1).loss(DomainBatch(even, even, even), torch.arange(2)).item(), 4)  # log 2
    0.6931
    """

    max_epochs = 1

    def __init__(self, threshold: float = 0.4):
        self.threshold = threshold

    def prepare(self, module: nn.Module, batches: Any) -> list[nn.Parameter]:
        """Renew the statistics; the scales and offsets learn."""
        layers = [part for part in module.modules() if isinstance(part, NORMALISATIONS)]
        learn = [parameter for part in layers for parameter in part.parameters(recurse=False)]
        if not learn:
            raise InputError(
                "a module without a normalisation layer that has a scale",
                "one with it",
                "Use SHOT(), which needs none.",
            )
        renew_statistics(module, batches)
        return learn

    def loss(self, batch: DomainBatch, rows: Tensor) -> Tensor:
        """Mean entropy, uncertain rows counted as zero."""
        each = entropy_of(batch.logits)
        return (each * (each.detach() < self.threshold * math.log(batch.logits.shape[1]))).mean()
