"""Reweight the source: density ratios, and the adapter that trains with them."""

from ._base import BaseRatio, effective_sample_size
from ._classifier_ratio import ClassifierRatio
from ._importance_weighting import ImportanceWeighting
from ._rulsif import RuLSIF

__all__ = ["BaseRatio", "ClassifierRatio", "ImportanceWeighting", "RuLSIF", "effective_sample_size"]
