"""TransferStack: the source model, the target-only model and what lies between, weighed by a few target labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._learners import make_folds
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from .._base import BaseAdapter
from .._classes import positions, refuse_unknown, spread
from .._decision import class_shares, decide, no_scores, scores_classes
from .._domains import Domains
from .._model import fit_front, fit_weighted, is_frozen, split_model, weight_parameter
from .._source_only import SourceOnly
from .._unfitted import spelt_out
from ..weighting._encoder import pool
from ._offset_boosting import OffsetBoosting
from ._prior_centered import NOISE_ROWS, PriorCentered, cross_fitted

# weights before any target label is seen; what is left is shared evenly by the other members
PRIOR = {"source": 0.4, "PriorCentered": 0.2}
TEMPERATURE = 2.0  # the held-out losses of copies fitted on overlapping rows count half
LEAST_WEIGHT = 1e-3  # members below it answer nothing
DOUBT = 0.02  # part of every probability that is spread evenly before its logarithm is taken
UNPAID = 0.5  # part of an excess departure from the source model that is taken for error, at most
UNPAID_ROWS = 4.0  # labelled rows that this guess counts for
DEPARTURE_ROWS = 2000  # unlabelled target rows on which departures are measured


class TransferStack(BaseAdapter):
    r"""Average the source model, models adapted to the target and models of the labelled target rows.

    **Question.** p(y | x) changed, nobody knows how much, and m target rows have labels: is the old model still
    the best, or one corrected by the labels, or one that forgets the source? Which is right differs from problem
    to problem and with m; this is the way to use target labels when you do not know.

    **Members.** ``source``, the model as it is; ``target``, the same model fitted on the labelled target rows;
    ``pooled`` and ``balanced``, fitted on both, all rows equal or both domains of equal mass; `PriorCentered`;
    `OffsetBoosting`; and the `adapted` ones you give.

    **Formula.** With :math:`\ell_i(j)` the loss of member j at labelled row i, predicted by a copy that was
    fitted without it, and :math:`\ell_i(\theta)` that of the average :math:`\sum_j \theta_j f_j`, the weights are

    .. math:: \min_{\theta \in \Delta} \; \tfrac12 \sum_i \ell_i(\theta)
              + \tfrac12 \sum_i \sum_j \theta_j \, \ell_i(j) + m \sum_j \theta_j \, e_j
              + 2 \, \mathrm{KL}(\theta \,\|\, \pi),

    log loss of the averaged probabilities, or squared error in units of twice the noise variance. With
    :math:`e = 0` this is Q-aggregation: without the first term it gives exponential weights (Bayes' rule, every
    label counted half), without the second a penalised stack. For members that do not depend on the labelled
    rows its risk obeys, with probability :math:`1 - \delta` and a constant :math:`c`, the oracle inequality

    .. math:: R(\hat\theta) \le \min_j \Big( R(f_j) + \frac{c}{m} \log \frac{1}{\pi_j \, \delta} \Big).

    **Prior.** :math:`\pi` is .4 on the source model, .2 on `PriorCentered`, which stays near it, and even on the
    others: five labels outvote it when it is plainly wrong, seldom by luck. The noise variance is one at which the
    source model and the best member compare as under an unknown variance (Student's likelihood), of which the
    cross-fitted error on the source is a guess worth four target rows.

    **Excess departure.** The inequality asks for bounded losses, and a regression of ten rows on eleven features
    has none: it can be right on the ten by luck and far off elsewhere. How far a member leaves the source model,
    the mean of :math:`(f_j - f_s)^2`, needs no labels. What the target has of it beyond the labelled rows (where
    it is held out) would all be added error if the member had no reason to leave, and none if it had the best;
    nothing is added where the target has less. How good the reason is say the labels: with the slope :math:`b_j` of
    the source model's residuals on the held-out departures :math:`d_i = f_j(x_i) - f_s(x_i)`, the part

    .. math:: u_j = \min \Big( \tfrac12, \; (1 - b_j)^2 + 2 \sigma^2 / \sum_i d_i^2 \Big)

    remains unpaid (the noise variance twice, as the copies overlap). :math:`e_j`, in the same units, is the excess
    times the mean of :math:`u_j`, for m rows, and of a half, for four. So where the source model is far off the
    labels pay for leaving it, and the luck of which rows were labelled hardly counts. The log loss of probabilities
    is bounded and goes without.

    **Assumption.** The labelled target rows are a random part of the target, one unit each (no patient with
    five rows).

    **Fails** when the labelled rows were chosen by their label or by their ease. With five labels it cannot know
    more than they say: expect it near the source model unless that is far off.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator
        Any regressor; any classifier with `predict_proba` or `decision_function`. A frozen model stays the source
        model; ``target``, ``pooled`` and ``balanced`` are then fresh copies of its last step.
        A model of a quantile other than the median is refused: it would answer means.
    adapted : sequence of adapters
        Further members, such as ``FeatureAlignment(model, CORAL())``: adapters that need no target labels. They
        are fitted without them, once, on the user's own columns.
    at : str, optional
        Step of the Pipeline in front of which the members' features are taken; the last one by default.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    weights_ : dict of str to float
        :math:`\theta`, the weight of every member.
    losses_ : dict of str to float
        Mean held-out loss (log loss, squared error) of every member on the labelled target rows.
    members_ : dict of str to estimator
        The fitted members.

    Notes
    -----
    Held-out predictions come from five folds, of fewer than 10 labels from leave-one-out. Every member is
    fitted once more than there are folds, except that fits on the source rows alone are done once. A member that
    cannot be fitted (five neighbours among four rows) is left out with a `ShiftWarning`. With a single label
    nothing can be held out and `PriorCentered` answers alone.

    References
    ----------
    Dai, Rigollet, Zhang: Deviation optimal learning using greedy Q-aggregation. Annals of Statistics 40(3), 2012.
    Lecue, Rigollet: Optimal learning with Q-aggregation. Annals of Statistics 42(1), 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 5)), rng.normal(size=(500, 5))
    >>> y = X @ [1, 1, 1, 0, 0] + rng.normal(size=500)
    >>> y_target = X_target @ [0, 1, 0, 1, -1] + rng.normal(size=500)
    >>> few = np.where(np.arange(500) < 30, y_target, np.nan)  # 30 labels
    >>> model = TransferStack(Ridge(), random_state=0).fit(X, y, X_target, few)
    >>> round(Ridge().fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (-0.24, 0.7)
    >>> round(model.weights_["source"], 1)
    0.0
    """

    _fits_means = True

    def __init__(
        self,
        estimator: Any,
        adapted: Sequence[Any] = (),
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.adapted = adapted
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        if domains.y_target is None:
            raise InputError(
                "TransferStack.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        for adapter in self.adapted:
            if not isinstance(adapter, BaseAdapter) or is_classifier(adapter) != is_classifier(self.estimator):
                got = f"{type(adapter).__name__} among adapted"
                raise InputError(got, "adapters of the estimator's own task", "Wrap a model in a way of adapting.")
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        inner = dataclasses.replace(domains, X=Z, X_target=Z_target)
        fresh = _Remembered(head.estimator if isinstance(head, FrozenEstimator) else spelt_out(head), {}, seed)
        model = head if is_frozen(head) else fresh
        self._classes = None
        if is_classifier(head):
            self._classes = head.classes_ if is_frozen(head) else np.unique(domains.y)
            refuse_unknown(domains.y, self._classes)

        # name: an adapter that works behind the front
        members: dict[str, Any] = {
            "source": SourceOnly(model, random_state=seed),
            "target": _TargetOnly(fresh),
            "pooled": _Pooled(fresh, random_state=seed),
            "balanced": _Pooled(fresh, balanced=True, random_state=seed),
            "PriorCentered": PriorCentered(model, random_state=seed),
            "OffsetBoosting": OffsetBoosting(model, random_state=seed),
        }
        if weight_parameter(fresh.estimator) is None:
            del members["balanced"]  # resampling would repeat every target row many times
        known = np.flatnonzero(domains.labelled)
        y = domains.y_target[known]
        if len(y) == 1:
            members = {name: members[name] for name in ("source", "PriorCentered")}

        self.members_, held = {}, {}
        for name, adapter in members.items():
            try:
                held[name], self.members_[name] = self._held_out(name, adapter, inner, known, seed)
            except ValueError as error:
                if name == "source":
                    raise
                self._leave_out(name, error)
        for adapter in self.adapted if len(y) > 1 else ():
            name = self._unused(adapter)
            fitted = clone(adapter).fit(
                domains.X,
                domains.y,
                domains.X_target,
                sample_weight=domains.sample_weight,
                groups=domains.groups,
                source_domain=domains.source_domain,
            )
            check_answers(fitted, domains.X_target, adapter.estimator)
            self.members_[name] = fitted
            held[name] = _answer(fitted, take_rows(domains.X_target, known), self._classes)
        source = self.members_["source"].head_
        self.head_ = source if is_frozen(source) else source.fitted_
        self._behind = [name for name in members if name in self.members_]

        if len(y) == 1:
            self.weights_ = {"source": 0.0, "PriorCentered": 1.0}
            self.losses_ = dict.fromkeys(self.weights_, np.nan)
        elif is_classifier(head):
            self._weigh(held, y, "log", 0.0)
        else:
            scale = 2 * self._noise(model, Z, domains, held, y, seed)
            excess = _unpaid(held, y, scale / 2) * self._excess_departure(inner, domains, held, seed)
            self._weigh(held, y, scale, excess / scale)
        fresh.memory.clear()  # the fits of the folds are not needed any more

    def _held_out(self, name: str, adapter: Any, inner: Domains, known: np.ndarray, seed: int):
        """Answers for the labelled rows by copies that were fitted without them, and the adapter fitted on all."""

        def fit(labelled):
            copy = clone(adapter)
            copy._remember_columns(inner.X)
            copy._fit(dataclasses.replace(inner, labelled=labelled))
            return copy

        fitted = fit(inner.labelled)
        check_answers(fitted, inner.X_target, self.estimator)
        held = _answer(fitted, take_rows(inner.X_target, known), self._classes)
        if name == "source" or len(known) == 1:
            return held, fitted
        if len(known) < 10:
            fold = np.arange(len(known))
        else:
            strata = np.asarray(inner.y_target)[known] if is_classifier(adapter) else np.zeros(len(known))
            fold = make_folds(strata, 5, seed)
        for k in np.unique(fold):
            rows, labelled = known[fold == k], inner.labelled.copy()
            labelled[rows] = False
            held[fold == k] = _answer(fit(labelled), take_rows(inner.X_target, rows), self._classes)
        return held, fitted

    def _leave_out(self, name: str, error: ValueError) -> None:
        reason = str(error).splitlines()[0]
        warn(f"TransferStack goes without its member {name!r}: {reason}")

    def _unused(self, adapter: Any) -> str:
        """A name for one of `adapted`."""
        name, number = type(adapter).__name__, 2
        while name in self.members_:
            name, number = f"{type(adapter).__name__} {number}", number + 1
        return name

    def _noise(self, model: Any, Z: Any, domains: Domains, held: dict, y: np.ndarray, seed: int) -> float:
        """Noise variance that makes a difference of squared errors one of Student log likelihoods."""
        if is_frozen(model):
            fitted = answers_of(model, Z)
        else:
            folds = PriorCentered(model, random_state=seed)._folds(model, domains)  # those its fits are remembered for
            fitted = cross_fitted(model, Z, domains, folds, "predict")
        guess = np.average((domains.y - fitted) ** 2, weights=domains.sample_weight)
        guess = max(float(guess), 1e-12 * float(np.var(domains.y)))
        squares = {name: float(((answer - y) ** 2).sum()) for name, answer in held.items()}
        low, high = (NOISE_ROWS * guess + value for value in (min(squares.values()), squares["source"]))
        # (high - low) / (log high - log low), the logarithmic mean, and its limit
        mean = (high - low) / np.log(high / low) if high > (1 + 1e-9) * low else low
        return mean / (NOISE_ROWS + len(y))

    def _excess_departure(self, inner: Domains, domains: Domains, held: dict, seed: int) -> np.ndarray:
        """How much farther every member leaves the source model on all target rows than on the labelled ones."""
        unlabelled = np.flatnonzero(~domains.labelled)
        if not len(unlabelled):
            return np.zeros(len(held))
        rows = np.random.default_rng(seed).permutation(unlabelled)[:DEPARTURE_ROWS]
        Z, X = take_rows(inner.X_target, rows), take_rows(domains.X_target, rows)
        answers = {name: _answer(self.members_[name], Z if name in self._behind else X) for name in held}

        def departures(given: dict) -> np.ndarray:
            return np.array([np.mean((answer - given["source"]) ** 2) for answer in given.values()])

        share = len(unlabelled) / len(domains.labelled)
        return share * np.maximum(departures(answers) - departures(held), 0.0)

    def _weigh(self, held: dict[str, np.ndarray], y: np.ndarray, scale: str | float, excess: Any) -> None:
        """Set `weights_` and `losses_` by aggregation."""
        names = list(held)
        others = max(len(set(names) - set(PRIOR)), 1)
        prior = np.array([PRIOR.get(name, (1 - sum(PRIOR.values())) / others) for name in names])
        prior /= prior.sum()
        if is_classifier(self):
            code = positions(y, self.classes_)
            given = np.array([held[name][np.arange(len(y)), code] for name in names])  # probability of the truth
            given = (1 - DOUBT) * given + DOUBT / len(self.classes_)
            loss = -np.log(given)
        else:
            given = np.array([held[name] - y for name in names])
            loss = given**2
        weight = aggregate(given, prior, scale, excess)
        self.weights_ = dict(zip(names, weight.tolist(), strict=True))
        self.losses_ = dict(zip(names, loss.mean(axis=1).tolist(), strict=True))

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        if domain == "source":
            return super()._respond(method, X, domain)
        check_is_fitted(self)
        X = self._check_rows(X)
        Z = X if self.front_ is None else self.front_.transform(X)
        used = {name: weight for name, weight in self.weights_.items() if weight >= LEAST_WEIGHT}
        answers = [_answer(self.members_[name], Z if name in self._behind else X, self._classes) for name in used]
        answer = np.average(answers, axis=0, weights=list(used.values()))
        if is_classifier(self) and method == "predict":
            return decide(self.head_, answer)
        return _as_method(method, answer, self.classes_) if is_classifier(self) else answer

    def _decided_from(self, X: Any) -> np.ndarray:
        return _answer(self.head_, X if self.front_ is None else self.front_.transform(X))


def _unpaid(held: dict[str, np.ndarray], y: np.ndarray, noise: float) -> np.ndarray:
    """Part of every member's excess departure for which the labels give no reason."""
    departure = np.array([answer - held["source"] for answer in held.values()])
    square = (departure**2).sum(axis=1)
    square[square == 0] = np.inf  # no departure, no reason
    slope = departure @ (y - held["source"]) / square
    told = np.minimum(UNPAID, (1 - slope) ** 2 + TEMPERATURE * noise / square)
    return (UNPAID_ROWS * UNPAID + len(y) * told) / (UNPAID_ROWS + len(y))


def aggregate(given: np.ndarray, prior: np.ndarray, loss: str | float, excess: Any = 0.0) -> np.ndarray:
    """Weights of Q-aggregation.

    Parameters
    ----------
    given : ndarray of shape (n_members, n_rows)
        Probability that a member gives the truth (log loss), or its error (squared error).
    prior : ndarray of shape (n_members,)
    loss : "log" or float
        Log loss, or the scale by which squared errors are divided.
    excess : float or ndarray of shape (n_members,)
        Added to the mean loss of every member, in units of the scale.

    Returns
    -------
    ndarray of shape (n_members,)

    Examples
    --------
    >>> aggregate(np.array([[0.9] * 20, [0.5] * 20]), np.array([0.5, 0.5]), "log").round(3)
    array([0.994, 0.006])
    """

    def losses(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Of the average, and its gradient."""
        mixed = theta @ given
        if loss == "log":
            return -np.log(mixed).sum(), -(given / mixed).sum(axis=1)
        return (mixed**2).sum() / loss, 2 * (given @ mixed) / loss

    each = -np.log(given).sum(axis=1) if loss == "log" else (given**2).sum(axis=1) / loss
    added = given.shape[1] * excess

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        log_theta = log_softmax(free)
        theta = np.exp(log_theta)
        value, slope = losses(theta)
        linear = added + TEMPERATURE * (log_theta - np.log(prior))
        slope = (slope + each) / 2 + linear
        return float((value + theta @ each) / 2 + theta @ linear), theta * (slope - theta @ slope)

    # strictly convex in theta, so there is one minimum, which lies inside; start at Bayes' rule
    start = np.maximum(log_softmax(np.log(prior) - (each + added) / TEMPERATURE), -20)
    return softmax(minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x)


def check_answers(model: Any, X: Any, estimator: Any) -> None:
    """Raise where a classifier, an `estimator` within, gives neither probabilities nor decision values of classes."""
    if is_classifier(model) and not hasattr(model, "predict_proba") and not scores_classes(model, X):
        raise no_scores(estimator)


def _answer(model: Any, X: Any, classes: np.ndarray | None = None) -> np.ndarray:
    """Predictions, or probabilities, shape (n_rows, n_classes), of the model's own classes or of those given."""
    if not is_classifier(model):
        return answers_of(model, X).astype(float)
    if hasattr(model, "predict_proba"):
        proba = np.array(model.predict_proba(X), float)
    else:
        proba = class_shares(model.decision_function(X))
    return proba if classes is None else spread(proba, model.classes_, classes)


def _as_method(method: str, proba: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """What that method of a classifier with these probabilities gives."""
    if method == "predict_proba":
        return proba
    if method == "decision_function":
        logits = np.log(np.maximum(proba, np.finfo(float).tiny))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits
    return classes[proba.argmax(axis=1)]


# --- members that need no file of their own -----------------------------------------------------------------


class _TargetOnly(BaseAdapter):
    """The model of the labelled target rows alone; a class that is not among them is impossible."""

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def _fit(self, domains: Domains) -> None:
        known = np.flatnonzero(domains.labelled)
        Z, y = take_rows(domains.X_target, known), np.asarray(domains.y_target)[known]
        self.front_, self.head_ = None, self.estimator
        self._classes = np.unique(y) if is_classifier(self.estimator) else np.empty(0)
        if len(self._classes) != 1:  # of a single class there is nothing to fit
            self.head_ = fit_weighted(self.estimator, _without_empty(Z), y, None)

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        if not is_classifier(self.estimator):
            return answers_of(self.head_, X)
        proba = np.ones((X.shape[0], 1)) if len(self._classes) == 1 else _answer(self.head_, X)
        return _as_method(method, proba, self._classes)

    @property
    def classes_(self) -> np.ndarray:
        return self._classes


def _without_empty(Z: Any) -> Any:
    """Rows to fit on; a number that all of them lack is 0: it says nothing, and not every model takes it as missing."""
    if isinstance(Z, pd.DataFrame):
        numbers = Z.select_dtypes("number")
        return Z.fillna(dict.fromkeys(numbers.columns[numbers.isna().all()], 0))
    return np.where(np.isnan(Z).all(axis=0), 0, Z) if isinstance(Z, np.ndarray) and Z.dtype.kind == "f" else Z


class _Pooled(BaseAdapter):
    """One model of source and labelled target rows: all rows equal, or the domains."""

    def __init__(self, estimator: Any, balanced: bool = False, random_state: Any = None):
        self.estimator = estimator
        self.balanced = balanced
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        known = np.flatnonzero(domains.labelled)
        Z = pool(domains.X, take_rows(domains.X_target, known))
        y = np.concatenate([domains.y, np.asarray(domains.y_target)[known]])
        mass = np.ones(len(domains.y)) if domains.pooled_weight is None else domains.pooled_weight
        each = mass.sum() / len(known) if self.balanced else 1.0
        weighted = self.balanced or domains.sample_weight is not None
        weight = np.concatenate([mass, np.full(len(known), each)]) if weighted else None
        self.front_ = None
        self.head_ = fit_weighted(self.estimator, Z, y, weight, self.random_state)


class _Remembered(BaseEstimator):
    """The user's model, fitted and cross-fitted once per table: members and folds share it on the same rows."""

    def __init__(self, estimator: Any, memory: dict, random_state: Any = None):
        self.estimator = estimator
        self.memory = memory
        self.random_state = random_state

    def __sklearn_clone__(self):
        return _Remembered(self.estimator, self.memory, self.random_state)  # the same memory

    def fit(self, X: Any, y: Any, sample_weight: Any = None):
        self.fitted_ = self._once(
            (X, y, sample_weight), lambda: fit_weighted(self.estimator, X, y, sample_weight, self.random_state)
        )
        return self

    def _once(self, given: tuple, make: Callable[[], Any]) -> Any:
        """What is made of the given, which is made once."""
        key = joblib.hash(given)
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("estimator", "memory", "fitted_"):
            raise AttributeError(name)
        return getattr(self.__dict__.get("fitted_", self.estimator), name)

    def __sklearn_tags__(self):
        return get_tags(self.estimator)
