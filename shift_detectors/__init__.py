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
    from ._domain_summary import DomainSummary, SummaryPlan
    from ._errors import InputError, MissingDependencyError, ShiftWarning
    from ._feature_test import FeatureTest
    from ._label_shift_fit import LabelShiftFitTest
    from ._label_tests import LabelTest, StratifiedTest
    from ._monitor import Evidence, MonitorStep, ShiftMonitor
    from ._multivariate import EnergyTest, JointTest, MMDTest, MomentTest
    from ._plot import (
        DomainMapDisplay,
        EffectsDisplay,
        FeatureDisplay,
        OverlapDisplay,
        PriorDisplay,
        RegionsDisplay,
        WeightsDisplay,
    )
    from ._plot_budget import LabelBudgetDisplay
    from ._plot_impact import ImpactDisplay, LossSplitDisplay
    from ._report import ShiftReport
    from ._results import (
        ColumnShift,
        DomainMap,
        Effect,
        FeatureShift,
        FeatureSummary,
        Impact,
        LabelBudget,
        Overlap,
        PerformanceEstimate,
        PriorEstimate,
        Region,
        ShiftTestResult,
        Verdict,
    )
    from ._score_test import ConditionalScoreTest

_HOME = {
    "ColumnShift": "_results",
    "Region": "_results",
    "RegionsDisplay": "_plot",
    "DomainSummary": "_domain_summary",
    "SummaryPlan": "_domain_summary",
    "ShiftMonitor": "_monitor",
    "MonitorStep": "_monitor",
    "Evidence": "_monitor",
    "diagnose": "_diagnose",
    "ShiftReport": "_report",
    "Verdict": "_results",
    "ShiftTestResult": "_results",
    "FeatureShift": "_results",
    "DomainMap": "_results",
    "FeatureSummary": "_results",
    "Impact": "_results",
    "LabelBudget": "_results",
    "Overlap": "_results",
    "PerformanceEstimate": "_results",
    "PriorEstimate": "_results",
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
    "DomainMapDisplay": "_plot",
    "EffectsDisplay": "_plot",
    "FeatureDisplay": "_plot",
    "ImpactDisplay": "_plot_impact",
    "LabelBudgetDisplay": "_plot_budget",
    "LossSplitDisplay": "_plot_impact",
    "OverlapDisplay": "_plot",
    "PriorDisplay": "_plot",
    "WeightsDisplay": "_plot",
    "InputError": "_errors",
    "MissingDependencyError": "_errors",
    "ShiftWarning": "_errors",
}

__all__ = [
    "DomainMap",
    "FeatureSummary",
    "Impact",
    "LabelBudget",
    "Overlap",
    "PerformanceEstimate",
    "PriorEstimate",
    "ColumnShift",
    "ConditionalScoreTest",
    "DomainClassifierTest",
    "DomainMapDisplay",
    "DomainSummary",
    "Effect",
    "EffectsDisplay",
    "EnergyTest",
    "Evidence",
    "FeatureDisplay",
    "FeatureShift",
    "FeatureTest",
    "ImpactDisplay",
    "InputError",
    "JointTest",
    "LabelBudgetDisplay",
    "LabelShiftFitTest",
    "LabelTest",
    "LossSplitDisplay",
    "MMDTest",
    "MissingDependencyError",
    "MomentTest",
    "MonitorStep",
    "OverlapDisplay",
    "PriorDisplay",
    "Region",
    "RegionsDisplay",
    "ShiftMonitor",
    "ShiftReport",
    "ShiftTestResult",
    "ShiftWarning",
    "StratifiedTest",
    "SummaryPlan",
    "Verdict",
    "WeightsDisplay",
    "__version__",
    "diagnose",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
