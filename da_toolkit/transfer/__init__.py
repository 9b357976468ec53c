"""Use a few target labels, and choose the rows to label."""

from ._embedding import Embedding
from ._feature_augmentation import FeatureAugmentation
from ._feature_extraction import FeatureExtraction
from ._offset_boosting import OffsetBoosting
from ._prior_centered import PriorCentered
from ._rows_to_label import RowsToLabel, rows_to_label
from ._tradaboost import TrAdaBoost
from ._tradaboost_r2 import TrAdaBoostR2
from ._transfer_stack import TransferStack

__all__ = [
    "Embedding",
    "FeatureAugmentation",
    "FeatureExtraction",
    "OffsetBoosting",
    "PriorCentered",
    "RowsToLabel",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "TransferStack",
    "rows_to_label",
]
