"""Is there a dataset shift, of which kind, how large, and where?

``diagnose`` answers in one call; every test is also usable alone. Names load on first use, so that
importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from ._diagnose import diagnose
    from ._domain_classifier import DomainClassifierTest
    from ._errors import InputError, MissingDependencyError, ShiftWarning
    from ._feature_test import FeatureTest
    from ._label_shift_fit import LabelShiftFitTest
    from ._label_tests import LabelTest, StratifiedTest
    from ._multivariate import EnergyTest, JointTest, MMDTest, MomentTest
    from ._report import ShiftReport
    from ._results import Effect, FeatureShift, ShiftTestResult, Verdict
    from ._score_test import ConditionalScoreTest

_HOME = {
    "diagnose": "_diagnose",
    "ShiftReport": "_report",
    "Verdict": "_results",
    "ShiftTestResult": "_results",
    "FeatureShift": "_results",
    "Effect": "_results",
    "FeatureTest": "_feature_test",
    "EnergyTest": "_multivariate",
    "MMDTest": "_multivariate",
    "MomentTest": "_multivariate",
    "JointTest": "_multivariate",
    "DomainClassifierTest": "_domain_classifier",
    "LabelTest": "_label_tests",
    "StratifiedTest": "_label_tests",
    "ConditionalScoreTest": "_score_test",
    "LabelShiftFitTest": "_label_shift_fit",
    "InputError": "_errors",
    "MissingDependencyError": "_errors",
    "ShiftWarning": "_errors",
}

__all__ = [
    "ConditionalScoreTest",
    "DomainClassifierTest",
    "Effect",
    "EnergyTest",
    "FeatureShift",
    "FeatureTest",
    "InputError",
    "JointTest",
    "LabelShiftFitTest",
    "LabelTest",
    "MMDTest",
    "MissingDependencyError",
    "MomentTest",
    "ShiftReport",
    "ShiftTestResult",
    "ShiftWarning",
    "StratifiedTest",
    "Verdict",
    "__version__",
    "diagnose",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
