"""Is an adapted model better on the target? Scorers that hold the target, for a choice without its labels.

======================== ================================================ ============================
scorer                   what it is                                       right under
======================== ================================================ ============================
ImportanceWeightedScore  weighted source rows                             covariate shift
DoublyRobustScore        the same, and a regression of the loss           covariate shift
DEVScore                 weights in the model's feature space             covariate shift of features
LabelShiftScore          class-wise source performance, target prior      label shift
CBPEScore                mean calibrated confidence                       the same calibration
ATCScore                 share of rows above a confidence                 confidence orders rows alike
DoCScore                 source accuracy + change of mean confidence      the same gap to the truth
CircularScore            training back from the predicted target          heuristic
MixValScore              mixtures of target rows                          heuristic, clusters
EntropyScore             sure predictions                                 heuristic; prefers collapse
InfoMaxScore             sure and diverse predictions                     heuristic, clusters
NuclearNormScore         the same without logarithms                      heuristic, clusters
SNDScore                 dense neighbourhoods of like predictions         heuristic; prefers collapse
======================== ================================================ ============================

The first seven estimate the performance on the target, all but DEVScore with an interval (``estimate``).
"""

from ._atc import ATCScore
from ._base import TargetScore
from ._cbpe import CBPEScore
from ._circular import CircularScore
from ._cross_validate import cross_validate
from ._dev import DEVScore
from ._doc import DoCScore
from ._doubly_robust import DoublyRobustScore
from ._entropy import EntropyScore
from ._importance_weighted import ImportanceWeightedScore
from ._info_max import InfoMaxScore
from ._label_shift import LabelShiftScore
from ._mix_val import MixValScore
from ._nuclear_norm import NuclearNormScore
from ._snd import SNDScore

__all__ = [
    "ATCScore",
    "CBPEScore",
    "CircularScore",
    "DEVScore",
    "DoCScore",
    "DoublyRobustScore",
    "EntropyScore",
    "ImportanceWeightedScore",
    "InfoMaxScore",
    "LabelShiftScore",
    "MixValScore",
    "NuclearNormScore",
    "SNDScore",
    "TargetScore",
    "cross_validate",
]
