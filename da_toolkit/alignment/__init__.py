"""Move the source rows to where the target rows are: one aligner per file, one estimator that uses them."""

from ._base import BaseAligner
from ._coral import CORAL
from ._feature_alignment import FeatureAlignment
from ._linear_ot import LinearOT
from ._optimal_transport import OptimalTransport

__all__ = [
    "CORAL",
    "BaseAligner",
    "FeatureAlignment",
    "LinearOT",
    "OptimalTransport",
]
