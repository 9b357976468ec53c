"""TrAdaBoost: boosting in which source rows that contradict the target lose their weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, fit_weighted, refuse_frozen, split_model
from ..weighting._encoder import pool

LEAST_ERROR = 1e-3  # errors of 0 and 1 would give infinite weights


class TrAdaBoost(BaseAdapter):
    r"""Boost on source and labelled target rows; what is wrong counts more in the target, less in the source.

    **Question.** Some source rows still tell the truth about the target, others no longer do: which ones?

    **Formula.** With n source and m labelled target rows, T rounds, K classes and weights that start even, each
    round fits the model h on all rows by weight, measures its error on the target rows,
    :math:`\epsilon = \sum_{target} w_i 1[h(x_i) \ne y_i] / \sum_{target} w_i`, and sets

    .. math:: w_i \leftarrow w_i \, \beta^{1[h(x_i) \ne y_i]} \; (source), \qquad
              w_i \leftarrow w_i \, \beta_t^{-1[h(x_i) \ne y_i]} \; (target),

    .. math:: \beta = 1 / (1 + \sqrt{2 \ln n / T}), \qquad \beta_t = \frac{\epsilon}{(1 - \epsilon)(K - 1)}.

    The rounds from the half on vote, each with :math:`\ln 1 / \beta_t`. For K = 2 this is the algorithm of the
    paper; K > 2 as in multi-class AdaBoost (SAMME). The paper asks for errors below chance (:math:`\beta_t < 1`); a
    round that fails has no vote, and its wrong target rows grow by :math:`1 / \beta`, so that a source that says
    the contrary is overruled in the end.

    **Assumption.** The labelled target rows are a random part of the target; some source rows agree with it.

    **Fails** with few labels: source rows are dropped by what m labels say, and the target rows are fitted ever
    closer. Noisy labels are chased, as by every boosting of weights: where even the right model errs often, the vote
    can end below chance. It has no way back to the source model when nothing changed; `TransferStack` has.

    Parameters
    ----------
    estimator : classifier or Pipeline
        A weak one is meant, such as ``DecisionTreeClassifier(max_depth=3)``. One without `sample_weight` is fitted
        on rows drawn by weight, every class among them.
    n_rounds : int
        T.
    at : str, optional
        Step of the Pipeline in front of which the boosting happens; the last one by default.
    random_state : int, Generator, RandomState or None
        Only used when the model takes no weights (see `fit_weighted`).

    Attributes
    ----------
    errors_ : ndarray of shape (n_rounds,)
        :math:`\epsilon` of every round.
    source_weights_ : ndarray of shape (n_source,)
        Final weights of the source rows, with mean 1 over all rows of both domains.

    Notes
    -----
    ``predict_proba`` gives shares of the vote, which are no calibrated probabilities.

    References
    ----------
    Dai, Yang, Xue, Yu: Boosting for transfer learning. ICML 2007.
    Zhu, Zou, Rosset, Hastie: Multi-class AdaBoost. Statistics and Its Interface 2, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    >>> y = ((X[:, 0] > 0) & (rng.random(400) < 0.5) | (X[:, 1] > 0)).astype(int)  # two rules are mixed
    >>> y_target = (X_target[:, 1] > 0).astype(int)  # one of them holds in the target
    >>> few = np.where(np.arange(400) < 30, y_target, np.nan)  # 30 labels
    >>> tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    >>> model = TrAdaBoost(tree).fit(X, y, X_target, few)
    >>> round(tree.fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (0.73, 1.0)
    """

    def __init__(self, estimator: Any, n_rounds: int = 50, at: str | None = None, random_state: Any = None):
        self.estimator = estimator
        self.n_rounds = n_rounds
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        refuse_frozen(self.estimator, "TrAdaBoost")
        if not is_classifier(self.estimator):
            raise InputError("TrAdaBoost around a regressor", "a classifier", "Use TrAdaBoostR2.")
        if not (isinstance(self.n_rounds, (int, np.integer)) and self.n_rounds >= 1):
            raise InputError(f"n_rounds={self.n_rounds!r}", "an integer >= 1")
        if domains.y_target is None:
            raise InputError(
                "TrAdaBoost.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        known, n = np.flatnonzero(domains.labelled), len(domains.y)
        rows = pool(Z, take_rows(Z_target, known))
        y = np.concatenate([domains.y, domains.y_target[known]])
        classes, source = np.unique(domains.y), np.arange(len(y)) < n
        weight = np.ones(len(y))
        if domains.pooled_weight is not None:
            weight[:n] = domains.pooled_weight
        beta = 1 / (1 + np.sqrt(2 * np.log(n) / self.n_rounds))

        models, errors, votes = [], [], []
        for _ in range(self.n_rounds):
            weight *= len(weight) / weight.sum()
            model = fit_weighted(head, rows, y, weight, self.random_state)
            wrong = answers_of(model, rows) != y
            error = float(np.average(wrong[~source], weights=weight[~source]))
            error = min(max(error, LEAST_ERROR), 1 - LEAST_ERROR)
            vote = np.log((1 - error) * (len(classes) - 1) / error)  # ln 1 / beta_t
            weight[source & wrong] *= beta
            weight[~source & wrong] *= np.exp(vote) if vote > 0 else 1 / beta
            models.append(model)
            errors.append(error)
            votes.append(max(vote, 0.0))
        half = self.n_rounds // 2  # rounds ceil(T / 2), ..., T of the paper, counted from 1
        half = half - 1 if self.n_rounds % 2 == 0 else half
        if not any(votes[half:]):
            votes[-1] = 1.0  # nothing beat chance: the round that heard the target most
        self.head_ = Vote(classes, models[half:], np.array(votes[half:]))
        self.errors_ = np.array(errors)
        self.source_weights_ = weight[:n] * (len(weight) / weight.sum())


class Vote(ClassifierMixin, BaseEstimator):
    """Fitted classifiers that vote, each with its weight."""

    def __init__(self, classes: np.ndarray, models: list, votes: np.ndarray):
        self.classes = classes
        self.models = models
        self.votes = votes

    @property
    def classes_(self) -> np.ndarray:
        """The classes."""
        return self.classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Shares of the vote, shape (n_rows, n_classes)."""
        share = np.zeros((X.shape[0], len(self.classes)))
        for model, vote in zip(self.models, self.votes, strict=True):
            share += vote * (answers_of(model, X)[:, None] == self.classes)
        return share / self.votes.sum()

    def predict(self, X: Any) -> np.ndarray:
        """The class with most votes."""
        return self.classes[self.predict_proba(X).argmax(axis=1)]
