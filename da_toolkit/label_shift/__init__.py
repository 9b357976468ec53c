"""Correct a classifier for the class frequencies of the target."""

from ._bbse import BBSE
from ._mlls import MLLS
from ._prior_correction import PriorCorrection
from ._rlls import RLLS
from ._target_shift import TargetShiftWeighting

__all__ = [
    "BBSE",
    "MLLS",
    "RLLS",
    "PriorCorrection",
    "TargetShiftWeighting",
]
