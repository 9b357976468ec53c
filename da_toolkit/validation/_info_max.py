"""Information maximisation: a model that is sure of every target row, and not always of the same class."""

from __future__ import annotations

from ._base import TargetScore, probabilities
from ._entropy import entropy


class InfoMaxScore(TargetScore):
    r"""Mutual information of rows and predicted classes, :math:`H(\mathrm{mean}_t \, p) - \mathrm{mean}_t H(p)`.

    Between 0 (all rows get the same answer) and :math:`\log K`. The first term is what plain entropy lacks: a
    model that collapsed to one class scores 0.

    Assumes that target rows lie in clusters, and classes about as frequent as each other. Fails for models that
    are sure and wrong, and prefers even class frequencies where the true ones are uneven.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Shi, Sha: Information-theoretical learning of discriminative clusters (ICML 2012).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])
    >>> collapsed, good = (model.fit(X, y) for model in (DummyClassifier(), DecisionTreeClassifier()))
    >>> round(InfoMaxScore(X)(collapsed, X, y), 2), round(InfoMaxScore(X)(good, X, y), 2)
    (0.0, 0.69)
    """

    def _score(self, estimator, X, y, X_target) -> float:
        proba = probabilities(estimator, X_target, "InfoMaxScore")
        return float(entropy(proba.mean(axis=0)) - entropy(proba).mean())
