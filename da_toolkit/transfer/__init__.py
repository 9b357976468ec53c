"""Use a few target labels."""

from ._prior_centered import PriorCentered

__all__ = ["PriorCentered"]
