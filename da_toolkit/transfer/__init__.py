"""Use a few target labels."""

from ._offset_boosting import OffsetBoosting
from ._prior_centered import PriorCentered

__all__ = [
    "OffsetBoosting",
    "PriorCentered",
]
