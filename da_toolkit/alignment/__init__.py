"""Move the source rows to where the target rows are: one aligner per file, one estimator that uses them."""

from ._base import BaseAligner
from ._coral import CORAL
from ._feature_alignment import FeatureAlignment
from ._gfk import GFK
from ._jda import JDA
from ._jdot import JDOT
from ._label_propagation import OTLabelPropagation
from ._linear_ot import LinearOT
from ._location_scale import LocationScale
from ._optimal_transport import OptimalTransport
from ._self_training import SelfTraining
from ._subspace_alignment import SubspaceAlignment
from ._tca import TCA

__all__ = [
    "CORAL",
    "GFK",
    "JDA",
    "JDOT",
    "TCA",
    "BaseAligner",
    "FeatureAlignment",
    "LinearOT",
    "LocationScale",
    "OTLabelPropagation",
    "OptimalTransport",
    "SelfTraining",
    "SubspaceAlignment",
]
