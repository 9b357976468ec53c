"""Pictures and pages of what `adapt` did; names load on first use, and matplotlib with the first picture."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._balance import BalanceDisplay
    from ._embedding import EmbeddingDisplay
    from ._label_curve import LabelCurveDisplay
    from ._plot import BeforeAfterDisplay, CandidatesDisplay
    from ._reliability import ReliabilityDisplay
    from ._training import TrainingDisplay
    from ._transport import TransportPlanDisplay

_HOME = {
    "BalanceDisplay": "._balance",
    "BeforeAfterDisplay": "._plot",
    "CandidatesDisplay": "._plot",
    "EmbeddingDisplay": "._embedding",
    "LabelCurveDisplay": "._label_curve",
    "ReliabilityDisplay": "._reliability",
    "TrainingDisplay": "._training",
    "TransportPlanDisplay": "._transport",
}

__all__ = [
    "BalanceDisplay",
    "BeforeAfterDisplay",
    "CandidatesDisplay",
    "EmbeddingDisplay",
    "LabelCurveDisplay",
    "ReliabilityDisplay",
    "TrainingDisplay",
    "TransportPlanDisplay",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__():
    return sorted(__all__)
