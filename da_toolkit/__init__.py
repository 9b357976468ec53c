"""What to do about a dataset shift: adapters that wrap your model, and a guard that keeps it when they do not help.

Names load on first use: importing the package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from shift_detectors._version import __version__

if TYPE_CHECKING:
    from ._source_only import SourceOnly
    from ._target import Target
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
    from .report import (
        BalanceDisplay,
        BeforeAfterDisplay,
        CandidatesDisplay,
        EmbeddingDisplay,
        LabelCurveDisplay,
        ReliabilityDisplay,
        TrainingDisplay,
        TransportPlanDisplay,
    )
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
    "Target": "._target",
    "SourceOnly": "._source_only",
    "CORAL": ".alignment",
    "FeatureAlignment": ".alignment",
    "GFK": ".alignment",
    "JDA": ".alignment",
    "JDOT": ".alignment",
    "LinearOT": ".alignment",
    "LocationScale": ".alignment",
    "OTLabelPropagation": ".alignment",
    "OptimalTransport": ".alignment",
    "SelfTraining": ".alignment",
    "SubspaceAlignment": ".alignment",
    "TCA": ".alignment",
    "BBSE": ".label_shift",
    "MLLS": ".label_shift",
    "PriorCorrection": ".label_shift",
    "RLLS": ".label_shift",
    "TargetShiftWeighting": ".label_shift",
    "BalanceDisplay": ".report",
    "EmbeddingDisplay": ".report",
    "LabelCurveDisplay": ".report",
    "BeforeAfterDisplay": ".report",
    "CandidatesDisplay": ".report",
    "ReliabilityDisplay": ".report",
    "TrainingDisplay": ".report",
    "TransportPlanDisplay": ".report",
    "AdaptationResult": ".selection",
    "Recommendation": ".selection",
    "adapt": ".selection",
    "recommend": ".selection",
    "PriorCentered": ".transfer",
    "ClassifierRatio": ".weighting",
    "EntropyBalancing": ".weighting",
    "GaussianRatio": ".weighting",
    "ImportanceWeighting": ".weighting",
    "KLIEP": ".weighting",
    "KMM": ".weighting",
    "KernelDensityRatio": ".weighting",
    "NearestNeighborRatio": ".weighting",
    "RuLSIF": ".weighting",
}

__all__ = [
    "AdaptationResult",
    "BBSE",
    "BalanceDisplay",
    "BeforeAfterDisplay",
    "CORAL",
    "CandidatesDisplay",
    "ClassifierRatio",
    "EmbeddingDisplay",
    "EntropyBalancing",
    "FeatureAlignment",
    "GFK",
    "GaussianRatio",
    "ImportanceWeighting",
    "JDA",
    "JDOT",
    "KLIEP",
    "KMM",
    "KernelDensityRatio",
    "LabelCurveDisplay",
    "LinearOT",
    "LocationScale",
    "MLLS",
    "NearestNeighborRatio",
    "OTLabelPropagation",
    "OptimalTransport",
    "PriorCentered",
    "PriorCorrection",
    "RLLS",
    "Recommendation",
    "ReliabilityDisplay",
    "RuLSIF",
    "SelfTraining",
    "SourceOnly",
    "SubspaceAlignment",
    "TCA",
    "Target",
    "TargetShiftWeighting",
    "TrainingDisplay",
    "TransportPlanDisplay",
    "__version__",
    "adapt",
    "recommend",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__():
    return sorted(__all__)
