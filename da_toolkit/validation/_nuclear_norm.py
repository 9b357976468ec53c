"""Batch nuclear norm: predictions that are sure and of many kinds."""

from __future__ import annotations

import numpy as np

from ._base import TargetScore, probabilities


class NuclearNormScore(TargetScore):
    r"""Nuclear norm of the target predictions P (n x K), :math:`\|P\|_* / \sqrt{n \min(n, K)}`, at most 1.

    The sum of singular values grows with sure rows (a large Frobenius norm) and with rows that differ (a full
    rank): a model that collapsed to one class scores :math:`1 / \sqrt{K}`.

    Assumes and fails like `InfoMaxScore`, of which it is a cousin without logarithms.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target

    References
    ----------
    Cui, Wang, Zhuo, Li, Huang, Tian: Towards discriminability and diversity (CVPR 2020).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])
    >>> collapsed, good = DummyClassifier(strategy="most_frequent").fit(X, y), DecisionTreeClassifier().fit(X, y)
    >>> round(NuclearNormScore(X)(collapsed, X, y), 2), round(NuclearNormScore(X)(good, X, y), 2)
    (0.71, 1.0)
    """

    def _score(self, estimator, X, y, X_target) -> float:
        proba = probabilities(estimator, X_target, "NuclearNormScore")
        # of the small matrix P'P: n may be large
        squares = np.linalg.eigvalsh(proba.T @ proba)
        return float(np.sqrt(np.maximum(squares, 0.0)).sum() / np.sqrt(len(proba) * min(proba.shape)))
