"""Learn features that serve source and target: the user's own torch module, one loss per method.

``import da_toolkit`` does not import this package; it needs the [deep] extra (torch and skorch).
"""

from shift_detectors._errors import MissingDependencyError

try:
    import skorch as _skorch  # noqa: F401
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(error.name or "torch", "deep") from error

from ._adabn import AdaBN
from ._adapter import DeepAdapter
from ._afn import AFN
from ._batch import AlignmentLoss, DomainBatch
from ._cdan import CDAN
from ._combined import WeightedSum
from ._dan import DAN
from ._dann import DANN
from ._deep_coral import DeepCORAL
from ._deep_jdot import DeepJDOT
from ._dsn import DSN
from ._frozen_module import frozen_module
from ._jan import JAN
from ._mcc import MCC
from ._mdd import MDD
from ._network import MLP
from ._shot import SHOT
from ._source_free import SourceFree, SourceFreeMethod
from ._tent import TENT
from ._wdgrl import WDGRL

__all__ = [
    "AFN",
    "CDAN",
    "DAN",
    "DANN",
    "DSN",
    "JAN",
    "MCC",
    "MDD",
    "MLP",
    "SHOT",
    "TENT",
    "WDGRL",
    "AdaBN",
    "AlignmentLoss",
    "DeepAdapter",
    "DeepCORAL",
    "DeepJDOT",
    "DomainBatch",
    "SourceFree",
    "SourceFreeMethod",
    "WeightedSum",
    "frozen_module",
]
