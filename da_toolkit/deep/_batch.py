"""What an alignment loss is given, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn.base import BaseEstimator
from torch import Tensor, nn


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
