"""Correct a classifier for the class frequencies of the target."""

from ._mlls import MLLS
from ._prior_correction import PriorCorrection

__all__ = ["MLLS", "PriorCorrection"]
