"""What an alignment loss is given, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from shift_detectors._errors import InputError


@dataclass
class DomainBatch:
    """Rows of one domain on their way through the module.

    Attributes
    ----------
    inputs : Tensor of shape (n, ...)
        The rows as the module gets them.
    features : Tensor of shape (n, d)
        Flattened output of the named layer.
    logits : Tensor of shape (n, n_classes) or (n,)
        Output of the module: logits, or values of a regression.
    y : Tensor of shape (n,), optional
        Class indices, or values of a regression; meaningless where not `labelled`. None: no labels.
    weight : Tensor of shape (n,), optional
        Row weights, mean 1 over the whole sample. None: all 1.
    labelled : Tensor of bool, shape (n,), optional
        Which rows have a label. None: all of them, when there is `y`.
    """

    inputs: Tensor
    features: Tensor
    logits: Tensor
    y: Tensor | None = None
    weight: Tensor | None = None
    labelled: Tensor | None = None


class AlignmentLoss(BaseEstimator, nn.Module):
    """A scalar that is small when source and target features agree; added to the task loss.

    A subclass implements ``forward`` and, when it has networks of its own, ``initialize``. It is a torch
    module, so its parameters are trained along, and an sklearn estimator, so it clones (without what it
    learnt) and ``loss__...`` can be searched over.

    Attributes
    ----------
    default_weight : float
        Weight that `DeepAdapter` gives the loss unless told otherwise.
    """

    default_weight: ClassVar[float] = 1.0

    def __init__(self):  # without the *args of nn.Module, which sklearn refuses
        super().__init__()

    def initialize(self, source: DomainBatch, target: DomainBatch) -> None:
        """Build what depends on the width of the features; called once, before training."""

    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """Loss of a pair of batches.

        Parameters
        ----------
        source, target : DomainBatch
        progress : float
            Share of the training that is done, from 0 to 1.

        Returns
        -------
        Tensor of shape ()
        """
        raise NotImplementedError

    def __add__(self, other: AlignmentLoss) -> AlignmentLoss:
        from ._combined import add

        return add(self, other) if isinstance(other, AlignmentLoss) else NotImplemented

    def __radd__(self, other: Any) -> AlignmentLoss:
        return self if other == 0 else NotImplemented  # sum() begins with 0

    def __rmul__(self, factor: float) -> AlignmentLoss:
        from ._combined import scale

        return scale(self, factor) if isinstance(factor, (int, float)) else NotImplemented

    __mul__ = __rmul__


def align(loss: nn.Module, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
    """An alignment loss of a pair of batches, shape (); refused when it is not one number."""
    value = loss(source, target, progress)
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.reshape(())
    is_tensor = isinstance(value, Tensor)
    raise InputError(
        f"{type(loss).__name__} gives a loss of "
        + (f"shape {tuple(value.shape)}" if is_tensor else f"type {type(value).__name__}"),
        "a tensor with one number per pair of batches",
        "Average it over the rows." if is_tensor else "Keep it a tensor: its gradient is needed.",
    )


def class_logits(batch: DomainBatch, loss: str) -> Tensor:
    """Logits of a classification, shape (n, n_classes); an error for a regression."""
    if batch.logits.ndim != 2 or batch.logits.shape[1] < 2:
        raise InputError(
            f"{loss} was given a module for regression",
            "a classification",
            "It works on class probabilities: use DANN, DeepCORAL, DAN, WDGRL, AFN, DeepJDOT, DSN for a regression.",
        )
    return batch.logits


def unit_features(source: DomainBatch, target: DomainBatch) -> tuple[Tensor, Tensor]:
    """Features of both domains, centred on their common mean, with a mean square of one over all entries.

    The gradient passes through mean and divisor: a loss that does not change with the scale of the features
    must not pull along it either. With a constant divisor, shrinking all features would always look like
    progress, and they would collapse into a point.
    """
    both = torch.cat([source.features, target.features])
    both = both - both.mean(dim=0)
    both = both / (both.square().mean() + 1e-12).sqrt()
    return both[: len(source.features)], both[len(source.features) :]


def row_share(batch: DomainBatch) -> Tensor:
    """Weights of the rows of a batch that sum to one, shape (n,)."""
    weight = batch.weight
    if weight is None:
        weight = torch.ones(len(batch.features), dtype=batch.features.dtype, device=batch.features.device)
    return weight / weight.sum()
