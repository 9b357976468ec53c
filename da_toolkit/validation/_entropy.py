"""Prediction entropy: a model that is sure of the target."""

from __future__ import annotations

import numpy as np

from ._base import TargetScore, probabilities


class EntropyScore(TargetScore):
    r"""Minus the mean entropy of the target predictions, :math:`\mathrm{mean}_t \sum_k p_k \log p_k`, at most 0.

    Assumes that target rows lie in clusters, one class each. Fails for models that are sure and wrong; the
    surest of all is the one that says the same class everywhere. It is here because it is known, and because
    `InfoMaxScore`, which mends this, is made of it.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Morerio, Cavazza, Murino: Minimal-entropy correlation alignment (ICLR 2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> X, y = np.zeros((4, 1)), np.array([0, 0, 0, 1])
    >>> sure, unsure = (DummyClassifier(strategy=s).fit(X, y) for s in ("most_frequent", "uniform"))
    >>> bool(EntropyScore(X)(sure, X, y) == 0), round(EntropyScore(X)(unsure, X, y), 2)
    (True, -0.69)
    """

    def _score(self, estimator, X, y, X_target) -> float:
        return -float(entropy(probabilities(estimator, X_target, "EntropyScore")).mean())


def entropy(proba: np.ndarray) -> np.ndarray:
    """Entropy in nats along the last axis."""
    return -(proba * np.log(np.maximum(proba, 1e-300))).sum(axis=-1)
