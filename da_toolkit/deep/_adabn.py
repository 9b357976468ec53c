r"""AdaBN: the target's own statistics in every batch normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from shift_detectors._errors import InputError

from ._source_free import SourceFreeMethod


class AdaBN(SourceFreeMethod):
    r"""Replace the running means and variances of batch normalisation by those of the target.

    .. math:: \mathrm{BN}(z) = \gamma \, \frac{z - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} + \beta

    with :math:`\mu_t, \sigma_t^2` averaged over random batches of target rows; nothing is learnt, and a second
    application changes nothing. Without a shift the module stays what it was, up to sampling error.

    Assumes that the domains differ by shifts and scales of channels, and share class frequencies: under label
    shift the statistics move although nothing is wrong. Needs a module with batch normalisation.

    References
    ----------
    Li, Wang, Shi, Hou, Liu: Adaptive batch normalization for practical domain adaptation. Pattern Recognition 2018.

    Examples
    --------
    >>> import torch
    >>> from da_toolkit.deep import AdaBN, SourceFree
    >>> module = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 2))
    >>> adapted = SourceFree(module, AdaBN()).fit([[3.0], [5.0], [7.0], [5.0]])
    >>> round(adapted.module_[0].running_mean.item(), 4)
    5.0
    """

    def prepare(self, module: nn.Module, batches: Any) -> list[nn.Parameter]:
        """Renew the statistics; no parameter learns."""
        if not renew_statistics(module, batches):
            raise InputError("a module without batch normalisation", "one with it", "Use SHOT().")
        return []


def renew_statistics(module: nn.Module, batches: Any) -> bool:
    """Average the statistics of every batch normalisation over target batches; False when there is none."""
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    momenta = [part.momentum for part in layers]
    module.eval()
    for part in layers:
        part.reset_running_stats()
        part.momentum = None  # a plain average over all batches
        part.train()
    with torch.no_grad():
        for inputs in batches() if layers else ():
            module(inputs)
    for part, momentum in zip(layers, momenta, strict=True):
        part.momentum = momentum
        part.eval()
    return bool(layers)
