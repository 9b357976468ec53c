"""Use a few target labels, and choose the rows to label.

What works on torch modules loads with its first use and needs the [deep] extra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._embedding import Embedding
from ._episodes import make_episodes
from ._feature_augmentation import FeatureAugmentation
from ._feature_extraction import FeatureExtraction
from ._offset_boosting import OffsetBoosting
from ._prior_centered import PriorCentered
from ._prototypes import Prototypes
from ._rows_to_label import RowsToLabel, rows_to_label
from ._tradaboost import TrAdaBoost
from ._tradaboost_r2 import TrAdaBoostR2
from ._transfer_stack import TransferStack

if TYPE_CHECKING:
    from ._fine_tuning import FineTuning
    from ._learned_optimizer import LearnedOptimizer
    from ._maml import ANIL, MAML
    from ._multi_task import MultiTask
    from ._prototypical_network import PrototypicalNetwork

_TORCH = {
    "LearnedOptimizer": "._learned_optimizer",
    "FineTuning": "._fine_tuning",
    "MultiTask": "._multi_task",
    "ANIL": "._maml",
    "MAML": "._maml",
    "PrototypicalNetwork": "._prototypical_network",
}

__all__ = [
    "ANIL",
    "MAML",
    "Embedding",
    "FeatureAugmentation",
    "FeatureExtraction",
    "FineTuning",
    "LearnedOptimizer",
    "MultiTask",
    "OffsetBoosting",
    "PriorCentered",
    "Prototypes",
    "PrototypicalNetwork",
    "RowsToLabel",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "TransferStack",
    "make_episodes",
    "rows_to_label",
]


def __getattr__(name: str):
    if name not in _TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module("da_toolkit.deep")  # says which extra is missing
    return getattr(importlib.import_module(_TORCH[name], __name__), name)


def __dir__():
    return sorted(__all__)
