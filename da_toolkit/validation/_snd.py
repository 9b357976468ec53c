"""Soft neighbourhood density: target rows should lie among many that are answered alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax

from ._base import TargetScore, probabilities

BLOCK = 1000  # rows whose similarities are held at once


class SNDScore(TargetScore):
    r"""Mean entropy of the similarity to other target rows.

    With :math:`\bar p_i` the predicted probabilities scaled to length 1 and :math:`\tau` a temperature,

    .. math:: s_{ij} = \mathrm{softmax}_{j \ne i}(\bar p_i^\top \bar p_j / \tau), \qquad
              \mathrm{SND} = \mathrm{mean}_i \Big(-\sum_j s_{ij} \log s_{ij}\Big),

    at most log(n_target - 1): rows with large, even neighbourhoods.

    Assumes clustered target features, one class a cluster. Fails when the model collapsed (everything is alike:
    the largest score there is), so never use it alone. It is here because it is known; on shallow models it
    ranks adapters worse than chance in published comparisons.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    temperature : float, default 0.05

    References
    ----------
    Saito, Kim, Teterwak, Sclaroff, Darrell, Saenko: Tune it the right way (ICCV 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> X, y = np.zeros((5, 1)), np.array([0, 0, 0, 1, 1])
    >>> bool(np.isclose(SNDScore(X)(DummyClassifier().fit(X, y), X, y), np.log(4)))  # all alike
    True
    """

    def __init__(self, X_target: Any = None, temperature: float = 0.05):
        super().__init__(X_target)
        self.temperature = temperature

    def _score(self, estimator, X, y, X_target) -> float:
        proba = probabilities(estimator, X_target, "SNDScore")
        unit = proba / np.linalg.norm(proba, axis=1, keepdims=True)
        total = 0.0
        for start in range(0, len(unit), BLOCK):
            similarity = unit[start : start + BLOCK] @ unit.T / self.temperature
            rows = np.arange(len(similarity))
            similarity[rows, start + rows] = -np.inf
            log_s = log_softmax(similarity, axis=1)
            log_s[rows, start + rows] = 0.0
            s = np.exp(log_s)
            s[rows, start + rows] = 0.0
            total -= float((s * log_s).sum())
        return total / len(unit)
