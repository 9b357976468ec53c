"""OffsetBoosting: small trees, grown on a few target labels, on top of the source model's prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.base import is_classifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._learners import make_folds
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state
from shift_detectors._warnings import ignored

from .._base import BaseAdapter
from .._classes import positions
from .._decision import decide
from .._domains import Domains
from .._numeric_columns import NumericColumns
from ._prior_centered import PriorCentered, _logits, within

LEAF_PENALTY = 1.0  # added to the curvature of a leaf: as if it held one more row that asks for no change
PATIENCE = 5  # trees without a fall of the held-out loss after which no more are tried


class OffsetBoosting(BaseAdapter):
    r"""Boost the source model on the labelled target rows, from where the source model stands.

    **Question.** p(y | x) changed here and there, by no linear function of the features: in which regions is the
    source model wrong, and by how much?

    **Formula.** Gradient boosting whose first stage is the source model :math:`f_s` (in classification its
    calibrated log-odds) in place of a constant,

    .. math:: F_0 = f_s, \qquad F_t(x) = F_{t-1}(x) + \nu \, g_t(x, f_s(x)), \qquad \hat y = F_T(x).

    The tree :math:`g_t` is grown on the residuals :math:`r = -\partial \ell / \partial F_{t-1}` of the labelled
    target rows and answers with a shrunken Newton step, in a leaf R with curvatures h,
    :math:`\sum_R r / (\sum_R h + 1)`. It sees the features and what the source model says, so that "where the
    model says yes, the answer is now no" is one split. Several classes share the trees, a vector in every leaf.

    **Stopping.** T is chosen by cross-validation on the labelled rows, in five folds: the smallest T whose loss is
    within one standard error (of the paired difference) of the least. T = 0, the source model itself, is among them
    and is what remains when the labels say nothing.

    **Assumption.** The labelled target rows are a random part of the target; the change is piecewise constant on
    few regions, each with labels in it.

    **Fails** with fewer than about twenty labels (the trees then hardly split; `PriorCentered` and
    `TransferStack` make more of them) and for a smooth change along many features. A regressor's correction is added,
    within the bounds of `PriorCentered`: where the change is a factor, correct the logarithm.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator
        Any regressor; any classifier with `predict_proba` or `decision_function`. A frozen model is not refitted.
        A model of a quantile other than the median is refused: it would answer means.
    max_iter : int
        Trees at most.
    learning_rate : float
        :math:`\nu`, between 0 and 1.
    max_depth : int
        Of a tree.
    min_samples_leaf : int
        Labelled rows that a leaf holds at least.
    at : str, optional
        Step of the Pipeline in front of which the features are taken; the last one by default.
    random_state : int, Generator, RandomState or None
        Of the folds.

    Attributes
    ----------
    n_iter_ : int
        T.
    trees_ : list of DecisionTreeRegressor
        Of the features and what the source model says, as `scaler_` gives them.
    scaler_ : StandardScaler
        To standard deviations of the labelled target rows.
    cv_loss_ : ndarray
        Mean squared error or log loss of held-out labelled rows after 0, 1, ... trees, as far as it was followed.

    Notes
    -----
    Of a frame the trees see the numeric columns; missing values go the way that separates best. With a single
    label there is nothing to validate on and T = 0. Cost: at most six times `max_iter` trees on the
    labelled rows.

    References
    ----------
    Friedman: Greedy function approximation: a gradient boosting machine. Annals of Statistics 29(5), 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 5)), rng.normal(size=(500, 5))
    >>> y = X @ [1, 1, 1, 0, 0] + 0.3 * rng.normal(size=500)
    >>> y_target = X_target @ [1, 1, 1, 0, 0] + 2 * (X_target[:, 3] > 0.5) + 0.3 * rng.normal(size=500)
    >>> few = np.where(np.arange(500) < 60, y_target, np.nan)  # 60 labels
    >>> model = OffsetBoosting(Ridge(), random_state=0).fit(X, y, X_target, few)
    >>> round(Ridge().fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (0.65, 0.96)
    """

    _fits_means = True

    def __init__(
        self,
        estimator: Any,
        max_iter: int = 100,
        learning_rate: float = 0.2,
        max_depth: int = 3,
        min_samples_leaf: int = 5,
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        if not 0 < self.learning_rate <= 1:
            raise InputError(f"learning_rate={self.learning_rate!r}", "a number in (0, 1]")
        for name in ("max_iter", "max_depth", "min_samples_leaf"):
            if not (isinstance(getattr(self, name), (int, np.integer)) and getattr(self, name) >= 1):
                raise InputError(f"{name}={getattr(self, name)!r}", "an integer >= 1")
        if domains.y_target is None:
            raise InputError(
                "OffsetBoosting.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        # the source model, its probabilities calibrated on rows that it has not seen
        start = PriorCentered(self.estimator, float("inf"), at=self.at, random_state=self.random_state)
        start._remember_columns(domains.X)
        start._fit(domains)
        self.front_, self.head_, self._temperature = start.front_, start.head_, start._temperature
        self._method, self._bounds = start._method, start._bounds

        known = np.flatnonzero(domains.labelled)
        Z = self._front(take_rows(domains.X_target, known))
        self._columns = None if sparse.issparse(Z) else NumericColumns(Z)
        offset = self._offset(Z)
        seen = self._columns_seen(Z, offset)
        with ignored(RuntimeWarning):  # a column of which the labelled rows have no value stays without one
            self.scaler_ = StandardScaler(with_mean=not sparse.issparse(seen)).fit(seen)
        rows, y = self._scaled(seen), domains.y_target[known]
        if is_classifier(self.head_):
            code = positions(y, self.classes_)
            truth = np.eye(len(self.classes_))[code]
            truth = truth[:, 1:] if len(self.classes_) == 2 else truth
        else:
            code, truth = np.zeros(len(y)), y[:, None].astype(float)
        rng = check_random_state(self.random_state)
        seed = rng.randint(2**31 - 1)

        fold = np.arange(len(y)) if len(y) < 6 else make_folds(code, 5, seed)
        losses = self._losses(rows, truth, offset, fold, seed) if len(y) > 1 else self._loss(truth, offset)[None]
        self.cv_loss_ = losses.mean(axis=1)
        worse = losses - losses[self.cv_loss_.argmin()]
        within = worse.mean(axis=1) <= worse.std(axis=1, ddof=min(1, len(y) - 1)) / np.sqrt(len(y))
        self.n_iter_ = int(within.argmax())
        F, self.trees_ = offset.copy(), []
        for t in range(self.n_iter_):
            self.trees_.append(self._tree(rows, truth, F, seed + t))
            F += _values(self.trees_[-1], rows)

    def _front(self, X: Any) -> Any:
        return X if self.front_ is None else self.front_.transform(X)

    def _offset(self, Z: Any) -> np.ndarray:
        """What the source model says, shape (n_rows, n_outputs): one output in regression and for two classes."""
        if not is_classifier(self.head_):
            return answers_of(self.head_, Z).astype(float)[:, None]
        logits = _logits(self.head_, Z, self._method) / self._temperature
        return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else log_softmax(logits, axis=1)

    def _features(self, Z: Any, offset: np.ndarray) -> Any:
        """What the trees see."""
        return self._scaled(self._columns_seen(Z, offset))

    def _scaled(self, seen: Any) -> Any:
        """In standard deviations, since values within 1e-7 are equal to trees; float32."""
        return self.scaler_.transform(seen).astype(np.float32)

    def _columns_seen(self, Z: Any, offset: np.ndarray) -> Any:
        if self._columns is None:
            return sparse.csr_matrix(sparse.hstack([Z, offset]), dtype=float)
        values = self._columns.extract(Z)
        if np.isinf(values).any():
            raise InputError("infinite values", "finite or missing numbers", "Clip or drop them.")
        return np.column_stack([values, offset])

    def _losses(self, rows: Any, truth: np.ndarray, offset: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
        """Held-out loss of every row after 0, 1, ... trees, until it has not fallen for `PATIENCE` trees."""
        # all folds grow side by side; each has its own prediction for all rows
        folds = [(fold != k, fold == k, offset.copy()) for k in np.unique(fold)]
        losses = [self._loss(truth, offset)]
        best = losses[0].mean(), 0
        for t in range(self.max_iter):
            loss = np.empty(len(truth))
            for kept, held, F in folds:
                F += _values(self._tree(rows[kept], truth[kept], F[kept], seed + t), rows)
                loss[held] = self._loss(truth[held], F[held])
            losses.append(loss)
            best = min(best, (loss.mean(), t + 1))
            if t + 1 - best[1] >= PATIENCE:
                break
        return np.array(losses)

    def _tree(self, rows: Any, truth: np.ndarray, F: np.ndarray, seed: int) -> DecisionTreeRegressor:
        """One tree whose leaves hold Newton steps times the learning rate."""
        residual, curvature = self._derivatives(truth, F)
        tree = DecisionTreeRegressor(
            max_depth=self.max_depth, min_samples_leaf=self.min_samples_leaf, random_state=seed % 2**31
        )
        # of so few rows a tree takes less time than sklearn's checks, which it needs to look for missing values
        unsure = sparse.issparse(rows) or np.isnan(rows).any()
        with config_context(skip_parameter_validation=True):
            tree.fit(rows, _whole(residual), check_input=unsure)
        value = tree.tree_.value  # the tree's own memory, shape (n_nodes, n_outputs, 1)
        leaf, node = np.unique(tree.tree_.apply(rows), return_inverse=True)
        member = node == np.arange(len(leaf))[:, None]
        value[leaf, :, 0] = self.learning_rate * (member @ residual) / (member @ curvature + LEAF_PENALTY)
        return tree

    def _derivatives(self, truth: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Negative gradient and curvature of the loss."""
        if not is_classifier(self.head_):
            return truth - F, np.ones_like(F)
        proba = _softmax(F)
        return truth - proba, proba * (1 - proba)

    def _loss(self, truth: np.ndarray, F: np.ndarray) -> np.ndarray:
        if not is_classifier(self.head_):
            return ((truth - F) ** 2)[:, 0]
        if F.shape[1] == 1:
            return np.logaddexp(0, (1 - 2 * truth) * F)[:, 0]
        return -(truth * log_softmax(F, axis=1)).sum(axis=1)

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        if domain == "source":
            return super()._respond(method, X, domain)
        check_is_fitted(self)
        Z = self._front(self._check_rows(X))
        own = self._offset(Z)
        rows = self._features(Z, own)
        F = own + sum((_values(tree, rows) for tree in self.trees_), np.zeros_like(own))
        if not is_classifier(self.head_):
            return within(F[:, 0], own[:, 0], self._bounds)
        if method == "decision_function":
            return F[:, 0] if F.shape[1] == 1 else F
        proba = _softmax(F)
        proba = np.column_stack([1 - proba, proba]) if F.shape[1] == 1 else proba
        return proba if method == "predict_proba" else decide(self.head_, proba)

    def _decided_from(self, X: Any) -> np.ndarray:
        return softmax(_logits(self.head_, self._front(X), self._method), axis=1)


def _values(tree: DecisionTreeRegressor, rows: Any) -> np.ndarray:
    """Answer of a tree, shape (n_rows, n_outputs)."""
    return tree.tree_.value[tree.tree_.apply(rows), :, 0]


def _whole(residual: np.ndarray) -> np.ndarray:
    """Residuals to 24 bits of the largest, as whole numbers.

    Their sums are exact, so that splits that are equally good are so to a tree, whatever the unit of y; and none has a
    variance below 1e-16, which a tree takes for none.
    """
    largest = np.abs(residual).max()
    return np.rint(residual / largest * 2**24) if largest > 0 else residual


def _softmax(F: np.ndarray) -> np.ndarray:
    """Probabilities; of two classes those of the second one."""
    return 1 / (1 + np.exp(-np.clip(F, -500, 500))) if F.shape[1] == 1 else softmax(F, axis=1)
