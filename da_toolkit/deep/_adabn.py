r"""AdaBN: the target's own statistics in every batch normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shift_detectors._errors import InputError

from ._source_free import SourceFreeMethod


class AdaBN(SourceFreeMethod):
    r"""Replace the running means and variances of batch normalisation by those of the target.

    .. math:: \mathrm{BN}(z) = \gamma \, \frac{z - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} + \beta

    with :math:`\mu_t, \sigma_t^2` pooled over random batches of target rows; nothing is learnt, and a second
    application changes nothing. Without a shift the module stays what it was, up to sampling error. The first such
    layer gets its statistics exactly; those behind it see rows that were normalised batch by batch, which distorts
    theirs where a batch has a few rows only.

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
    """Pool the statistics of every batch normalisation over target batches; False when there is none.

    Variances within batches and of their means are added up. A mean of unbiased variances, as torch would keep it,
    overstates those of deeper layers by n / (n - 1) for batches of n rows: in every batch they see rows that were
    divided by the batch's own deviation.
    """
    layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    moments: dict[nn.Module, list[tuple[Tensor, ...]]] = {part: [] for part in layers}

    def keep(part: nn.Module, inputs: Any) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)  # one row per channel
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        variance, mean = torch.var_mean(values, dim=1, correction=0)
        moments[part].append((torch.full_like(mean, values.shape[1]), mean, variance))

    module.eval()
    handles = [part.register_forward_pre_hook(keep) for part in layers]
    for part in layers:
        part.train()
    with torch.no_grad():
        for inputs in batches() if layers else ():
            module(inputs)
    for handle in handles:
        handle.remove()
    for part, seen in moments.items():
        part.eval()
        if seen:  # the module calls the layer
            count, mean, variance = (torch.stack(each) for each in zip(*seen, strict=True))
            n = count.sum(dim=0)
            center = (count * mean).sum(dim=0) / n
            part.running_mean.copy_(center)  # type: ignore[operator, union-attr]
            part.running_var.copy_((count * (variance + (mean - center).square())).sum(dim=0) / (n - 1))  # type: ignore
    return bool(layers)
