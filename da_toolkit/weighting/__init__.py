"""Reweight the source: density ratios, and the adapter that trains with them."""

from ._base import BaseRatio, effective_sample_size
from ._classifier_ratio import ClassifierRatio
from ._diagnosis import WeightDiagnosis, diagnose_weights
from ._entropy_balancing import EntropyBalancing
from ._gaussian_ratio import GaussianRatio
from ._importance_weighting import ImportanceWeighting
from ._kernel_density_ratio import KernelDensityRatio
from ._kliep import KLIEP
from ._kmm import KMM
from ._nearest_neighbor_ratio import NearestNeighborRatio
from ._rulsif import RuLSIF

__all__ = [
    "KLIEP",
    "KMM",
    "BaseRatio",
    "ClassifierRatio",
    "EntropyBalancing",
    "GaussianRatio",
    "ImportanceWeighting",
    "KernelDensityRatio",
    "NearestNeighborRatio",
    "RuLSIF",
    "WeightDiagnosis",
    "diagnose_weights",
    "effective_sample_size",
]
