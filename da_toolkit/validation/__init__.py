"""Scorers that hold the target: grid search then selects for the target without its labels."""

from ._circular import CircularScore
from ._importance_weighted import ImportanceWeightedScore

__all__ = ["CircularScore", "ImportanceWeightedScore"]
