"""TrAdaBoostR2: two-stage boosting for regression, the source forgotten step by step as far as it helps."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq
from sklearn.base import BaseEstimator, RegressorMixin, is_classifier

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._learners import make_folds
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, fit_weighted, refuse_frozen, split_model
from ..weighting._encoder import pool


class TrAdaBoostR2(BaseAdapter):
    r"""Lower the weight of source rows step by step, boost on the target rows at each, keep the best step.

    **Question.** As in `TrAdaBoost`, for regression: which source rows agree with the labelled target rows, and
    how much should the source count at all?

    **Formula.** n source and m labelled target rows start with equal weights. At step t = 1, ..., S

    1. AdaBoost.R2 is run on all rows from these weights, with the source's held fixed; its error on the target is
       estimated by cross-validation over the target rows, the source rows being in every training fold;
    2. the model is fitted by the weights, with errors :math:`e_i = |y_i - h(x_i)| / \max_j |y_j - h(x_j)|`, and

       .. math:: w_i \leftarrow w_i \, \beta^{e_i} \; (source), \qquad w_i \leftarrow w_i \; (target),

       normalised, with the :math:`\beta` that gives the target the share
       :math:`m / (n + m) + t / (S - 1) \; (1 - m / (n + m))` of the weight.

    The boosted model of the step with the least cross-validated error predicts. AdaBoost.R2 with the source held
    fixed measures a round by :math:`\epsilon = \sum w_i e_i / \sum w_i` over the target rows, whose weights alone
    it changes, by :math:`\beta_k^{1 - e_i}` with :math:`\beta_k = \epsilon / (1 - \epsilon)` and their total kept; it
    ends at :math:`\epsilon \ge 1/2` and answers with the median weighted by :math:`\ln 1 / \beta_k`.

    **Assumption.** The labelled target rows are a random part of the target; some source rows agree with it.

    **Fails** with few labels, on which S steps are compared, and it is slow; `TransferStack` is the safer default.

    Parameters
    ----------
    estimator : regressor or Pipeline
        A weak one is meant, such as ``DecisionTreeRegressor(max_depth=4)``.
        A model of a quantile other than the median is refused: it would answer means.
    n_steps : int
        S, at least 2; at the last step the source has no weight.
    n_rounds : int
        Rounds of AdaBoost.R2 at most.
    n_folds : int
        Of the cross-validation.
    at : str, optional
        Step of the Pipeline in front of which the boosting happens; the last one by default.
    random_state : int, Generator, RandomState or None
        Of the folds (and of resampling when the model takes no weights).

    Attributes
    ----------
    cv_errors_ : ndarray of shape (n_steps,)
        Mean squared error on held-out target rows.
    step_ : int
        The step that was kept, counted from 0: at 0 all rows have equal weights.

    Notes
    -----
    Cost: about ``n_steps * n_rounds * (n_folds + 1)`` fits of the model. A single label cannot be validated
    on, and the first step is kept.

    References
    ----------
    Pardoe, Stone: Boosting for regression transfer. ICML 2010.
    Drucker: Improving regressors using boosting techniques. ICML 1997 (AdaBoost.R2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.uniform(-2, 2, size=(200, 1)), rng.uniform(-2, 2, size=(300, 1))
    >>> y = np.sin(2 * X[:, 0]) + 2 * (rng.random(200) < 0.4) + 0.1 * rng.normal(size=200)  # two tasks are mixed
    >>> y_target = np.sin(2 * X_target[:, 0]) + 0.1 * rng.normal(size=300)
    >>> few = np.where(np.arange(300) < 15, y_target, np.nan)  # 15 labels
    >>> tree = DecisionTreeRegressor(max_depth=4, random_state=0)
    >>> model = TrAdaBoostR2(tree, random_state=0).fit(X, y, X_target, few)
    >>> round(tree.fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (-1.12, 0.6)
    """

    _fits_means = True

    def __init__(
        self,
        estimator: Any,
        n_steps: int = 10,
        n_rounds: int = 10,
        n_folds: int = 5,
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.n_steps = n_steps
        self.n_rounds = n_rounds
        self.n_folds = n_folds
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        refuse_frozen(self.estimator, "TrAdaBoostR2")
        if is_classifier(self.estimator):
            raise InputError("TrAdaBoostR2 around a classifier", "a regressor", "Use TrAdaBoost.")
        for name, least in (("n_steps", 2), ("n_rounds", 1), ("n_folds", 2)):
            if not (isinstance(getattr(self, name), (int, np.integer)) and getattr(self, name) >= least):
                raise InputError(f"{name}={getattr(self, name)!r}", f"an integer >= {least}")
        if domains.y_target is None:
            raise InputError(
                "TrAdaBoostR2.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        rng = check_random_state(self.random_state)
        self._seed = rng.randint(2**31 - 1)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        known, n = np.flatnonzero(domains.labelled), len(domains.y)
        m = len(known)
        rows = pool(Z, take_rows(Z_target, known))
        y = np.concatenate([domains.y, domains.y_target[known]]).astype(float)
        mass = np.ones(n) if domains.pooled_weight is None else domains.pooled_weight
        weight = np.concatenate([mass, np.ones(m)])
        weight /= weight.sum()
        start = weight[n:].sum()
        fold = make_folds(np.zeros(m), min(self.n_folds, m), self._seed) if m > 1 else np.zeros(1, int)

        errors, boosted = [], []
        for step in range(self.n_steps):
            squares = np.zeros(m)
            for k in np.unique(fold) if m > 1 else ():
                kept = np.concatenate([np.ones(n, bool), fold != k])
                part = self._boost(head, take_rows(rows, np.flatnonzero(kept)), y[kept], weight[kept], n)
                held = n + np.flatnonzero(fold == k)
                squares[fold == k] = (y[held] - part.predict(take_rows(rows, held))) ** 2
            errors.append(squares.mean())
            boosted.append(self._boost(head, rows, y, weight, n))
            if step < self.n_steps - 1:
                error = np.abs(y - answers_of(fit_weighted(head, rows, y, weight, self._seed), rows))
                share = start + (step + 1) / (self.n_steps - 1) * (1 - start)
                weight = forget(weight, error / max(error.max(), np.finfo(float).tiny), n, share)
        self.cv_errors_ = np.array(errors)
        self.step_ = int(self.cv_errors_.argmin())
        self.head_ = boosted[self.step_]

    def _boost(self, head: Any, rows: Any, y: np.ndarray, weight: np.ndarray, n: int) -> WeightedMedian:
        """AdaBoost.R2 that changes the weights of the rows after the first `n` only."""
        weight, total = weight.copy(), weight[n:].sum()
        models, votes = [], []
        for _ in range(self.n_rounds):
            model = fit_weighted(head, rows, y, weight * (len(weight) / weight.sum()), self._seed)
            error = np.abs(y - answers_of(model, rows))[n:]
            largest = error.max()
            epsilon = float(np.average(error / largest, weights=weight[n:])) if largest > 0 else 0.0
            if epsilon >= 0.5:
                break
            beta = max(epsilon, 1e-10) / (1 - epsilon)
            models.append(model)
            votes.append(-np.log(beta))
            if epsilon == 0:
                break  # nothing is left to learn
            weight[n:] *= beta ** (1 - error / largest)
            weight[n:] *= total / weight[n:].sum()
        if not models:
            models, votes = [model], [1.0]
        return WeightedMedian(models, np.array(votes))


def forget(weight: np.ndarray, error: np.ndarray, n: int, share: float) -> np.ndarray:
    """Lower the first `n` weights by beta ** error until the others have the given share of the total, 1.

    Examples
    --------
    >>> forget(np.full(4, 0.25), np.array([0.0, 1.0, 0.5, 0.5]), 2, 0.6).round(3)
    array([0.3, 0.1, 0.3, 0.3])
    """
    if share >= 1:
        weight = np.concatenate([np.zeros(n), weight[n:]])  # beta -> 0
        return weight / weight.sum()
    wanted = weight[n:].sum() * (1 - share) / share  # total of the source weights beside untouched target weights

    def excess(log_beta: float) -> float:
        return float((weight[:n] * np.exp(log_beta * error[:n])).sum() - wanted)

    low = -1.0
    while excess(low) > 0 and low > -700:
        low *= 2
    if excess(low) > 0 or excess(0.0) < 0:  # rows without any error keep their weight: scale them all
        source = weight[:n] * (wanted / weight[:n].sum())
    else:
        source = weight[:n] * np.exp(brentq(excess, low, 0.0) * error[:n])
    weight = np.concatenate([source, weight[n:]])
    return weight / weight.sum()


class WeightedMedian(RegressorMixin, BaseEstimator):
    """Fitted regressors that answer with their weighted median."""

    def __init__(self, models: list, votes: np.ndarray):
        self.models = models
        self.votes = votes

    def predict(self, X: Any) -> np.ndarray:
        """Smallest answer that has half of the votes at or below it."""
        answers = np.array([answers_of(model, X) for model in self.models])
        order = answers.argsort(axis=0)
        below = self.votes[order].cumsum(axis=0)
        median = (below >= 0.5 * self.votes.sum()).argmax(axis=0)
        return np.take_along_axis(answers, np.take_along_axis(order, median[None], axis=0), axis=0)[0]
