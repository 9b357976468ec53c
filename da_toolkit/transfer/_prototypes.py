"""Prototypes: the nearest class mean, with means that the source lends where labels are few."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.covariance import ledoit_wolf
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from shift_detectors._boundary import read_ids
from shift_detectors._errors import InputError

from .._base import BaseAdapter
from .._domains import cast_labels
from .._parameters import check_aligner
from .._rows import remember_names
from .._target import unpack_target
from ._embedding import check_form, form_of
from ._episodes import make_episodes

METRICS = ("euclidean", "cosine", "mahalanobis")
STRENGTHS = np.array([0.3, 1.0, 3.0, 10.0, 30.0, np.inf])  # rows that the source counts for
SOURCE_ROWS = 10.0  # target rows that the source's rows count for in the choice of the temperature


class Prototypes(ClassifierMixin, BaseEstimator):
    r"""Answer with the class whose mean is nearest, in features made elsewhere.

    **Question.** A few labels per class must do, perhaps of classes that the source has never seen: what can be
    said with nothing but means?

    **Formula.** In the features :math:`z` a class is its prototype :math:`c_k`, and
    :math:`p(k \mid z) = \mathrm{softmax}_k(-d(z, c_k)^2 / T)`. When source and target share their classes, source
    means :math:`p_k` and labelled target rows :math:`z_i` of class :math:`y_i` with residuals
    :math:`r_i = z_i - p_{y_i}` give

    .. math:: c_k = p_k + b + u_k, \qquad b = \frac{\sum_i r_i}{m + s}, \qquad
              u_k = \frac{\sum_{i \in k} (r_i - b)}{m_k + t},

    a displacement of the whole domain and one of every class, shrunken as if s and t rows had shown none. "auto" takes
    the s and t of the least squared distance from a row to the prototype made without it (leave-one-out), and
    the source's own prototypes when that is within one standard error of it. A new class stands beside those of the
    source, at the mean of its labelled rows. Target labels of two or more new classes, and of no other, are a new
    task: the source then serves for the rest, which is features, alignment, metric and temperature.

    **Metric.** "cosine": rows and prototypes are scaled to length one. "mahalanobis": distances in units of the
    covariance within classes, shrunken after Ledoit and Wolf, learnt from the (aligned) source rows: what varies
    within the classes of the source is not what tells classes apart.

    **Assumption.** Rows of a class lie round one point; with few labels, the target's prototypes are displaced from
    the source's by less than classes are apart. Labelled target rows are random ones of their class.

    **Fails** for classes made of several kinds, and for differences that only show in combinations of columns:
    train the features (`PrototypicalNetwork`), or use `TransferStack` when there are labels enough.

    Parameters
    ----------
    embedding : transformer, optional
        Fitted on the source rows: a Pipeline that ends in ``PCA``, a `PrototypicalNetwork`; in a FrozenEstimator it
        is left as it is. `Embedding` makes one of a trained network or a table. None: the rows are the features.
    metric : {"euclidean", "cosine", "mahalanobis"}
    aligner : aligner, optional
        Such as `CORAL`, between the embedding and the metric, fitted on source and target rows.
    strength : "auto" or float
        s and t; 0 are the target's own means, ``float("inf")`` the source's.
    random_state : int, Generator, RandomState or None
        Of the episodes that find the temperature of a new task.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Of the target: the source's and new ones beside them, or those of the new task.
    prototypes_ : ndarray of shape (n_classes, d)
        In the space of the metric.
    source_classes_, source_prototypes_ : ndarray
    strength_ : tuple of float
        s and t.
    temperature_ : float
        T, by the log loss of held-out rows.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, when ``X`` is a frame whose names are strings.

    References
    ----------
    Snell, Swersky, Zemel: Prototypical networks for few-shot learning. NeurIPS 2017.
    Tibshirani, Hastie, Narasimhan, Chu: Diagnosis of multiple cancer types by shrunken centroids of gene
    expression. PNAS 99(10), 2002.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = rng.integers(3, size=(2, 300))
    >>> means = 2 * rng.normal(size=(3, 5))
    >>> X, X_target = means[y] + rng.normal(size=(300, 5)), means[y_target] + 2 + rng.normal(size=(300, 5))
    >>> few = np.where(np.arange(300) < 5, y_target, np.nan)  # 5 labels
    >>> source, model = Prototypes().fit(X, y, X_target), Prototypes().fit(X, y, X_target, few)
    >>> round(source.score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (0.92, 0.96)
    """

    def __init__(
        self,
        embedding: Any = None,
        metric: str = "euclidean",
        aligner: Any = None,
        strength: str | float = "auto",
        random_state: Any = None,
    ):
        self.embedding = embedding
        self.metric = metric
        self.aligner = aligner
        self.strength = strength
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        X_target: Any = None,
        y_target: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        source_domain: Any = None,
    ) -> Prototypes:
        """Find the prototypes of the target's classes.

        Parameters
        ----------
        X : array, DataFrame or what the embedding takes, n_source rows
            Source rows.
        y : array-like of shape (n_source,)
            Source classes, none missing.
        X_target : array, DataFrame, Target or what the embedding takes, n_target rows
            Target rows. Required.
        y_target : array-like of shape (n_target,), optional
            Target classes; a missing value (None, NaN, pd.NA) means "unlabelled". Two or more, none of them a class of
            the source, are a new task; a single new class stands beside the source's.
        sample_weight, groups, source_domain : array-like of shape (n_source,), optional
            Weights of the source rows in their prototypes; accepted, without effect; which source each comes from, for
            the episodes of a `PrototypicalNetwork`.

        Returns
        -------
        self
        """
        self._check_options()
        X_target, y_target = unpack_target(X_target, y_target)
        if X_target is None:
            got = "Prototypes.fit was called without X_target"
            raise InputError(got, "fit(X, y, X_target)", "Pass the target rows.")
        y = _classes_of(y, "y")
        if pd.isna(y).any() or len(np.unique(y)) < 2:
            got = "y with missing values or a single class"
            raise InputError(got, "two or more classes, none missing", "Drop those rows.")
        self._input = form_of(X)
        check_form(X_target, "X_target", self._input, "X")
        self.embedding_ = None
        if self.embedding is not None:
            by_domain = source_domain is not None and has_fit_parameter(self.embedding, "domain")
            ids = {"domain": read_ids(source_domain, len(y), "source_domain", "X")} if by_domain else {}
            self.embedding_ = clone(self.embedding).fit(X, y, **ids)
        Z, Z_target = self._embed(X, "source", "X"), self._embed(X_target, "target", "X_target")
        if len(y) != len(Z) or Z_target.shape[1] != Z.shape[1]:
            raise InputError(
                f"{len(y)} labels for {len(Z)} rows, {Z_target.shape[1]} target features for {Z.shape[1]}",
                "one label per source row, the same columns in both domains",
                "Check the rows.",
            )
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        if weight.shape != y.shape or not np.isfinite(weight).all() or (weight < 0).any():
            raise InputError(f"sample_weight of shape {weight.shape}", "finite weights >= 0, one per row", "Check it.")
        self.aligner_ = None
        if self.aligner is not None:
            self.aligner_ = clone(self.aligner).fit(Z, Z_target, y_source=y)
            Z, Z_target = self.aligner_.transform_source(Z), self.aligner_.transform_target(Z_target)
        self.source_classes_, code = np.unique(y, return_inverse=True)
        self._whitening = _whitening(Z, code, weight) if self.metric == "mahalanobis" else None
        Z, Z_target = self._scaled(Z), self._scaled(Z_target)
        self.source_prototypes_ = _means(Z, code, len(self.source_classes_), weight)
        self._source, self._temperatures = (Z, code), {}
        shape, names = self._input
        self.n_features_in_ = shape[0] if shape else 1
        remember_names(self, names)

        if y_target is None:
            few, known = y[:0], np.zeros(len(Z_target), bool)
        else:
            few = _classes_of(y_target, "y_target")
            known = ~pd.isna(few)
            if few.shape != (len(Z_target),):
                raise InputError(f"y_target has shape {few.shape}", f"shape ({len(Z_target)},)", "One per target row.")
            few = cast_labels(few[known], y)
        self._learn(Z_target[known], few)
        return self

    def new_task(self, X: Any, y: Any) -> Prototypes:
        """A copy for other classes: features, alignment and metric stay, the rows given make the prototypes.

        Parameters
        ----------
        X : rows of the target
        y : array-like of shape (n_rows,)
            Their classes, each with one row at least.

        Returns
        -------
        Prototypes
            Fitted.
        """
        check_is_fitted(self)
        y = _classes_of(y, "y")
        Z = self._map(X, "target")
        if pd.isna(y).any() or len(np.unique(y)) < 2 or y.shape != (len(Z),):
            got = f"y of shape {y.shape} for {len(Z)} rows, or with missing values or a single class"
            raise InputError(got, "one class per row, two or more classes", "Check the labels.")
        task = copy(self)
        task._new(Z, y)
        return task

    def _learn(self, Z: np.ndarray, y: np.ndarray) -> None:
        """Prototypes and temperature from the labelled target rows."""
        shared = np.isin(y, self.source_classes_)
        if not shared.any() and len(np.unique(y)) > 1:  # one class alone would leave nothing to decide
            self._new(Z, y)
            return
        self.classes_ = np.unique(np.concatenate([self.source_classes_, y])) if len(y) else self.source_classes_
        code = np.searchsorted(self.classes_, y)
        n_classes = len(self.classes_)
        prior = np.full((n_classes, Z.shape[1]), np.nan)
        prior[np.searchsorted(self.classes_, self.source_classes_)] = self.source_prototypes_
        residual, group = Z[shared] - prior[code[shared]], code[shared]
        if isinstance(self.strength, str):
            s, t = self._choose(residual, group, n_classes)
        else:
            s = t = float(self.strength)
        self.strength_ = (s, t)
        b, u = _displacement(residual, group, n_classes, s, t)
        self.prototypes_ = prior + b + u
        for k in set(code[~shared].tolist()):  # new ones beside those of the source
            self.prototypes_[k] = Z[code == k].mean(axis=0)
        self.prototypes_ = self._unit(self.prototypes_)

        left_out = prior[group] + _left_out(residual, group, n_classes, s, t)
        target = _distances(Z[shared], self.prototypes_)
        target[np.arange(len(group)), group] = np.square(Z[shared] - self._unit(left_out)).sum(axis=1)
        self.temperature_ = _temperature([(self._source_distances(), self._source[1])], (target, group))

    def _choose(self, residual: np.ndarray, group: np.ndarray, n_classes: int) -> tuple[float, float]:
        """The strengths of the least leave-one-out error; the source's prototypes within one standard error of it."""
        source = np.square(residual).sum(axis=1)
        best, least = (np.inf, np.inf), source.sum()
        for s in STRENGTHS[::-1]:
            for t in STRENGTHS[::-1]:
                error = np.square(residual - _left_out(residual, group, n_classes, s, t)).sum(axis=1)
                if error.sum() < least:
                    best, least, gain = (float(s), float(t)), error.sum(), source - error
        if best == (np.inf, np.inf) or len(gain) < 2:
            return np.inf, np.inf
        return best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else (np.inf, np.inf)

    def _new(self, Z: np.ndarray, y: np.ndarray) -> None:
        """Prototypes of a new task, and the temperature of such tasks on the source."""
        self.classes_, code = np.unique(y, return_inverse=True)
        self.prototypes_ = self._unit(_means(Z, code, len(self.classes_), np.ones(len(code))))
        self.strength_ = (0.0, 0.0)
        shots = int(np.median(np.bincount(code)))
        if (len(self.classes_), shots) not in self._temperatures:  # tasks of one size share it
            self._temperatures[len(self.classes_), shots] = self._task_temperature(len(self.classes_), shots)
        self.temperature_ = self._temperatures[len(self.classes_), shots]

    def _task_temperature(self, n_way: int, shots: int) -> float:
        """The temperature of tasks of that size, on such tasks cut out of the source."""
        rows, source = self._source
        count = np.bincount(source)
        shots = int(min(shots, count.max() - 1))
        n_way = int(min(n_way, (count > shots).sum()))
        if n_way < 2:
            return _temperature([(self._source_distances(), source)])
        known = []
        for episode in make_episodes(source, n_way, shots, 1, 50, random_state=self.random_state):
            truth = np.arange(n_way)
            centers = self._unit(_means(rows[episode.support], np.repeat(truth, shots), n_way, np.ones(n_way * shots)))
            known.append((_distances(rows[episode.query], centers), truth))
        return _temperature(known)

    def _source_distances(self) -> np.ndarray:
        """Of the source rows to the source's prototypes, to their own class's without the row itself."""
        rows, code = self._source
        distances = _distances(rows, self._unit(self.source_prototypes_))
        count = np.bincount(code)[code][:, None]
        without = (count * self.source_prototypes_[code] - rows) / np.maximum(count - 1, 1)
        held_out = np.square(rows - self._unit(without)).sum(axis=1)
        own = np.arange(len(rows)), code
        distances[own] = np.where(count[:, 0] > 1, held_out, distances[own])
        return distances

    # --- features -----------------------------------------------------------------------------------------

    def _embed(self, X: Any, domain: str, argument: str) -> np.ndarray:
        if self.embedding_ is not None:
            own = getattr(self.embedding_, "transform_source", None) if domain == "source" else None
            X = (own or self.embedding_.transform)(X)
        Z = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
        try:
            Z = np.array(Z, dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(f"{argument} has values that are not numbers", "numeric features", "Embed it.") from error
        if Z.ndim != 2 or not np.isfinite(Z).all():
            got = f"{argument} gives features of shape {Z.shape}, or missing values among them"
            raise InputError(got, "finite features of shape (n_rows, d)", "Embed or impute the rows.")
        return Z

    def _scaled(self, Z: np.ndarray) -> np.ndarray:
        """Features in the space of the metric."""
        return self._unit(Z if self._whitening is None else Z @ self._whitening)

    def _unit(self, Z: np.ndarray) -> np.ndarray:
        if self.metric != "cosine":
            return Z
        length = np.linalg.norm(Z, axis=1, keepdims=True)
        return Z / np.where(length > 0, length, 1.0)

    def _map(self, X: Any, domain: str) -> np.ndarray:
        check_form(X, "X", self._input, "fit")
        Z = self._embed(X, domain, "X")
        if self.aligner_ is not None:
            Z = self.aligner_.transform_source(Z) if domain == "source" else self.aligner_.transform_target(Z)
        width = len(self._whitening) if self._whitening is not None else self.source_prototypes_.shape[1]
        if Z.shape[1] != width:
            raise InputError(f"X gives {Z.shape[1]} features", f"the {width} of fit", "Pass the same columns.")
        return self._scaled(Z)

    # --- predictions --------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of *target* rows; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        return softmax(-_distances(self._map(X, "target"), self.prototypes_) / self.temperature_, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Classes of *target* rows; shape (n_rows,)."""
        check_is_fitted(self)
        return self.classes_[_distances(self._map(X, "target"), self.prototypes_).argmin(axis=1)]

    def predict_source(self, X: Any) -> np.ndarray:
        """Classes of *source* rows, by the source's own prototypes; shape (n_rows,)."""
        return self.source_classes_[self._to_source(X).argmin(axis=1)]

    def predict_proba_source(self, X: Any) -> np.ndarray:
        """Class probabilities of *source* rows, likewise; shape (n_rows, n_source_classes)."""
        return softmax(-self._to_source(X) / self.temperature_, axis=1)

    def _to_source(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return _distances(self._map(X, "source"), self._unit(self.source_prototypes_))

    score = BaseAdapter.score  # type: ignore[assignment]

    def _check_options(self) -> None:
        check_aligner(self.aligner)
        if self.metric not in METRICS:
            raise InputError(f"metric={self.metric!r}", f"one of {', '.join(METRICS)}", "Pass one of them.")
        auto = isinstance(self.strength, str) and self.strength == "auto"
        if not auto and not (isinstance(self.strength, (int, float)) and self.strength >= 0):
            raise InputError(f"strength={self.strength!r}", '"auto" or a number >= 0', "Pass one of them.")
        if self.embedding is not None and not hasattr(self.embedding, "transform"):
            raise InputError(
                f"embedding is a {type(self.embedding).__name__}",
                "a transformer",
                "Of a trained network make one: Embedding(module, layer); of an untrained one PrototypicalNetwork.",
            )


def _classes_of(y: Any, name: str) -> np.ndarray:
    """Labels as they are, of a list with its missing values kept apart; a table of one column is that column."""
    array = np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}", "one class per row", "Pass one column.")
    missing = pd.isna(array)
    return array if missing.any() or array.dtype != object else np.array(array.tolist())


def _means(Z: np.ndarray, code: np.ndarray, n_classes: int, weight: np.ndarray) -> np.ndarray:
    total = np.bincount(code, weight, minlength=n_classes)
    if (total <= 0).any():
        raise InputError("a class whose rows have no weight", "some weight for every class", "Drop the class.")
    member = np.zeros((n_classes, len(Z)))
    member[code, np.arange(len(Z))] = weight
    return member @ Z / total[:, None]


def _distances(Z: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances, shape (n_rows, n_classes)."""
    square = (Z**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * Z @ centers.T
    return np.maximum(square, 0.0)


def _displacement(residual, group, n_classes, s: float, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the domain, shape (d,), and of every class, shape (n_classes, d)."""
    member = np.eye(n_classes)[group]
    b = residual.sum(axis=0) / max(len(residual) + s, 1e-9)
    u = (member.T @ (residual - b)) / np.maximum(member.sum(axis=0) + t, 1e-9)[:, None]
    return b, u


def _left_out(residual, group, n_classes, s: float, t: float) -> np.ndarray:
    """Displacement of every row's class, made without the row; shape (n_rows, d)."""
    member = np.eye(n_classes)[group]
    sums, count = (member.T @ residual)[group], member.sum(axis=0)[group][:, None]
    b = (residual.sum(axis=0) - residual) / max(len(residual) - 1 + s, 1e-9)
    return b + (sums - residual - (count - 1) * b) / np.maximum(count - 1 + t, 1e-9)


def _whitening(Z: np.ndarray, code: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Matrix W with W W' the inverse of the shrunken covariance within classes."""
    centered = Z - _means(Z, code, code.max() + 1, weight)[code]
    covariance, _ = ledoit_wolf(centered * np.sqrt(weight / weight.mean())[:, None], assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 1e-12 * max(values.max(), 1e-300)))


def _temperature(source: list, target: tuple | None = None) -> float:
    """T of the least log loss, over the rows of the source and, each counting in full, of the target."""
    scale = np.median(np.concatenate([np.ptp(distances, axis=1) for distances, _ in source]))
    if not scale > 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        def total(distances, truth):
            return -log_softmax(-distances / np.exp(log_temperature), axis=1)[np.arange(len(truth)), truth].sum()

        rows = sum(len(truth) for _, truth in source)
        mean = sum(total(*part) for part in source) / rows
        return SOURCE_ROWS * mean + (total(*target) if target is not None and len(target[1]) else 0.0)

    middle = np.log(scale)
    return float(np.exp(minimize_scalar(loss, bounds=(middle - 7, middle + 7), method="bounded").x))
