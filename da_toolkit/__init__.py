"""What to do about a dataset shift: adapters that wrap your model, and a guard that keeps it when they do not help.

Names load on first use: importing the package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from shift_detectors._version import __version__

if TYPE_CHECKING:
    from ._base import Target
    from ._source_only import SourceOnly
    from .alignment import (
        CORAL,
        GFK,
        JDA,
        JDOT,
        TCA,
        FeatureAlignment,
        LinearOT,
        LocationScale,
        OptimalTransport,
        OTLabelPropagation,
        SelfTraining,
        SubspaceAlignment,
    )
    from .label_shift import BBSE, MLLS, RLLS, PriorCorrection, TargetShiftWeighting
    from .selection import AdaptationResult, Recommendation, adapt, recommend
    from .transfer import PriorCentered
    from .weighting import (
        KLIEP,
        KMM,
        ClassifierRatio,
        EntropyBalancing,
        GaussianRatio,
        ImportanceWeighting,
        KernelDensityRatio,
        NearestNeighborRatio,
        RuLSIF,
    )

_HOME = {
    "LocationScale": ".alignment",
    "JDA": ".alignment",
    "TCA": ".alignment",
    "GFK": ".alignment",
    "SubspaceAlignment": ".alignment",
    "SelfTraining": ".alignment",
    "OTLabelPropagation": ".alignment",
    "JDOT": ".alignment",
    "TargetShiftWeighting": ".label_shift",
    "RLLS": ".label_shift",
    "BBSE": ".label_shift",
    "OptimalTransport": ".alignment",
    "adapt": ".selection",
    "recommend": ".selection",
    "AdaptationResult": ".selection",
    "Recommendation": ".selection",
    "Target": "._base",
    "SourceOnly": "._source_only",
    "ImportanceWeighting": ".weighting",
    "ClassifierRatio": ".weighting",
    "RuLSIF": ".weighting",
    "KLIEP": ".weighting",
    "KMM": ".weighting",
    "EntropyBalancing": ".weighting",
    "NearestNeighborRatio": ".weighting",
    "GaussianRatio": ".weighting",
    "KernelDensityRatio": ".weighting",
    "PriorCorrection": ".label_shift",
    "MLLS": ".label_shift",
    "FeatureAlignment": ".alignment",
    "CORAL": ".alignment",
    "LinearOT": ".alignment",
    "PriorCentered": ".transfer",
}

__all__ = [
    "LocationScale",
    "JDA",
    "TCA",
    "GFK",
    "SubspaceAlignment",
    "SelfTraining",
    "OTLabelPropagation",
    "JDOT",
    "TargetShiftWeighting",
    "RLLS",
    "BBSE",
    "OptimalTransport",
    "CORAL",
    "MLLS",
    "AdaptationResult",
    "ClassifierRatio",
    "FeatureAlignment",
    "ImportanceWeighting",
    "LinearOT",
    "PriorCentered",
    "PriorCorrection",
    "Recommendation",
    "RuLSIF",
    "SourceOnly",
    "Target",
    "__version__",
    "adapt",
    "recommend",
    "KLIEP",
    "KMM",
    "EntropyBalancing",
    "NearestNeighborRatio",
    "GaussianRatio",
    "KernelDensityRatio",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__():
    return sorted(__all__)
