"""From a diagnosis to the model to use: recommendations, a race, and a guard."""

from ._adapt import adapt
from ._averaged import Averaged
from ._recommend import recommend
from ._result import AdaptationResult, Candidate, Recommendation

__all__ = ["AdaptationResult", "Averaged", "Candidate", "Recommendation", "adapt", "recommend"]
