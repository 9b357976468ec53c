"""Deep embedded validation: importance weighting in the model's own feature space, with a control variate."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..weighting import ClassifierRatio
from ._base import TargetScore, features, metric_of, values_of


class DEVScore(TargetScore):
    r"""Estimate the performance on the target with a density ratio of what the model's last step sees.

    With w the density ratio of *features* (the output of a `DeepAdapter`'s layer, of an adapter's map, or of a
    Pipeline in front of its last step), :math:`\ell` the loss (0/1 or squared) on held-out source rows and the
    control variate :math:`\eta = -\mathrm{Cov}(w \ell, w) / \mathrm{Var}(w)`,

    .. math:: \mathrm{DEV} = \mathrm{mean}(w \ell) + \eta \, (\mathrm{mean}(w) - 1),

    since a density ratio has mean 1. The score is 1 - DEV (classification) or - DEV (regression).

    Assumes covariate shift in feature space: features lose nothing that matters. Fails, badly, where they do:
    features that collapsed look alike in both domains, so the weights are 1 and the source's loss is returned.
    It is not bounded below or above. It is here because it is known; prefer `CircularScore` after an alignment.

    Parameters
    ----------
    X_target : array, DataFrame, sparse matrix or Target
    random_state : int, Generator, RandomState or None
        Of the `ClassifierRatio`.

    References
    ----------
    You, Wang, Long, Jordan: Towards accurate model selection in deep unsupervised domain adaptation (ICML 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit import SourceOnly
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(600, 2)), rng.normal(size=(600, 2)) + [1, 0]
    >>> y = (X[:, 0] ** 2 > 1).astype(int)
    >>> model = SourceOnly(LogisticRegression()).fit(X[:300], y[:300], X_target)
    >>> truth = model.score(X_target, (X_target[:, 0] ** 2 > 1).astype(int))
    >>> abs(DEVScore(X_target, random_state=0)(model, X[300:], y[300:]) - truth) < 0.12
    True
    """

    def __init__(self, X_target: Any = None, random_state: Any = None):
        super().__init__(X_target)
        self.random_state = random_state

    def _score(self, estimator, X, y, X_target) -> float:
        on_source, on_target = features(estimator, X, "source"), features(estimator, X_target, "target")
        ratio = ClassifierRatio(random_state=self.random_state).fit(on_source, on_target)
        n, n_target = len(y), on_target.shape[0]
        weights = np.minimum(np.exp(ratio.log_odds_[:n]) * n / n_target, np.sqrt(n))  # not scaled to mean 1
        accuracy = metric_of(estimator) == "accuracy"
        values = values_of(estimator, X, y)
        risk = controlled_risk(1 - values if accuracy else values, weights)
        return 1 - risk if accuracy else -risk


def controlled_risk(loss: np.ndarray, weights: np.ndarray) -> float:
    """mean(w l) + eta (mean(w) - 1) with eta = -Cov(w l, w) / Var(w)."""
    weighted = weights * loss
    spread = weights.var()
    # eta would be rounding error divided by rounding error
    eta = -np.cov(weighted, weights, ddof=0)[0, 1] / spread if spread > 1e-12 else 0.0
    return float(weighted.mean() + eta * (weights.mean() - 1))
