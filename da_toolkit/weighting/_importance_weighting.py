"""Reweight the source so that the model is trained for where the target lies."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError, ShiftWarning
from shift_detectors._learners import Inputs, expansion
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state
from shift_detectors._warnings import ignored, warn

from .._base import BaseAdapter
from .._domains import Domains
from .._loss import loss_of
from .._model import fit_front, fit_weighted, join_model, refuse_frozen, split_model
from .._parameters import check_ratio, is_number
from ._base import effective_sample_size, group_folds
from ._classifier_ratio import ClassifierRatio
from ._diagnosis import WeightDiagnosis, diagnose_weights
from ._encoder import NumberEncoder
from ._own_weights import expected_weight

EXPONENTS = (0.0, 0.5, 1.0)  # what exponent="auto" tries
MIN_ESS_SHARE = 0.05
EVEN_ESS_SHARE = 0.95  # from here on all exponents give the same model: nothing to choose


class ImportanceWeighting(BaseAdapter):
    """Fit the model to minimise its risk on the target, when only p(x) differs.

    With w(x) = p_target(x) / p_source(x), the weighted risk of the source is the risk of the target::

        minimise  sum_i  w(x_i)^exponent * loss(y_i, f(x_i))

    An exponent below 1 flattens the weights: more bias, less variance; 0 is the plain fit.

    Parameters
    ----------
    estimator : estimator or Pipeline
        The user's model. Of a Pipeline everything but the last step is fitted on the source without weights;
        the ratio is learnt, and the weights are used, in front of the last step. A model whose ``fit`` takes
        no ``sample_weight`` is fitted on rows resampled by weight, with a `ShiftWarning`.
    ratio : ratio estimator, optional
        `ClassifierRatio` by default.
    exponent : float in [0, 1] or "auto", default "auto"
        "auto" chooses among 0, .5 and 1 by the importance-weighted, 5-fold cross-validation loss (log-loss, 0-1
        loss without probabilities, squared error in regression, pinball loss of quantile models), which costs 15
        more fits of the last step. Of the exponents within one standard error of the smallest loss a regressor gets
        the smallest and a classifier the largest. Without visible shift nothing is tried and the exponent is 1.
    at : str, optional
        Step of the Pipeline in front of which to work instead, or "input".
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    ratio_ : fitted ratio
    weights_ : ndarray of shape (n_source,)
        ``w(x_i) ** exponent_``, mean 1; not yet multiplied by the user's ``sample_weight``.
    effective_sample_size_ : float
        Of the `weights_`.
    exponent_ : float
    estimator_ : estimator
        The fitted model, usable without this library.

    Notes
    -----
    Assumes that p(y|x) is the same in both domains and that the source covers the target. It changes little
    for a flexible model that is right everywhere, and helps a simple one that cannot be: then weights tell it
    where to be right.

    With ``sample_weight`` the source is what its weighted rows represent (a survey's population): the ratio to the
    rows as they lie is divided by the expected weight at x, and the product of both is what the model is fitted with.
    Rows with weights that only depend on x so count as without.

    Ties are broken by task since variance hurts by task: a squared error feels the whole variance of heavy weights,
    while decisions go on improving after over-confidence has turned the log-loss.
    Shimodaira (2000), J. Stat. Plan. Inference 90:227-244; Sugiyama, Krauledat, Müller (2007), JMLR
    8:985-1005.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(0.5, 0.5, (400, 1)), rng.normal(0, 0.3, (400, 1))
    >>> y = -X[:, 0] + X[:, 0] ** 3
    >>> float(LinearRegression().fit(X, y).coef_[0].round(1))
    0.5
    >>> model = ImportanceWeighting(LinearRegression(), random_state=0).fit(X, y, X_target)
    >>> float(model.estimator_.coef_[0].round(1))
    -0.6
    """

    def __init__(
        self,
        estimator: Any,
        ratio: Any = None,
        exponent: float | str = "auto",
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.ratio = ratio
        self.exponent = exponent
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        refuse_frozen(self.estimator, "ImportanceWeighting")
        check_ratio(self.ratio)
        automatic = isinstance(self.exponent, str) and self.exponent == "auto"
        if not automatic and not (is_number(self.exponent) and 0 <= self.exponent <= 1):
            raise InputError(f"exponent={self.exponent!r}", "a number from 0 to 1, or 'auto'", "Choose one.")
        rng = check_random_state(self.random_state)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)

        ratio: Any = ClassifierRatio() if self.ratio is None else clone(self.ratio)
        if ratio.get_params().get("random_state", 0) is None:
            ratio.set_params(random_state=int(rng.randint(2**31 - 1)))
        self.ratio_ = ratio.fit(Z, Z_target, groups=domains.groups)
        ess, n = self.ratio_.effective_sample_size_, len(domains.y)
        if ess < MIN_ESS_SHARE * n:
            warn(
                f"The weights of the {n} source rows carry as much information as {ess:.0f} equally weighted "
                "rows: source and target hardly overlap, and the weighted model rests on those few."
            )
        w = self.ratio_.weights_
        if domains.sample_weight is not None:
            numbers = NumberEncoder(Z, rng)(Z)
            inputs = Inputs(expansion(numbers), numbers, None)
            w = w / expected_weight(inputs, domains.sample_weight, _folds(domains, False, rng))
        self.exponent_ = self._choose(head, Z, w / w.mean(), domains, rng) if automatic else float(self.exponent)
        flattened = w**self.exponent_
        self.weights_ = flattened / flattened.mean()
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        weight = self.weights_
        if domains.sample_weight is not None:
            weight = weight * domains.sample_weight
        self.head_ = fit_weighted(head, Z, domains.y, weight, rng)

    def _choose(self, head: Any, Z: Any, ratio: np.ndarray, domains: Domains, rng: np.random.RandomState) -> float:
        """Exponent with the smallest importance-weighted cross-validation loss, up to one standard error."""
        n, classification = len(domains.y), is_classifier(head)
        folds = _folds(domains, classification, rng)
        one_class = classification and any(len(np.unique(domains.y[folds != k])) < 2 for k in range(folds.max() + 1))
        if effective_sample_size(ratio) > EVEN_ESS_SHARE * n or one_class:
            return EXPONENTS[-1]
        user = np.ones(n) if domains.sample_weight is None else domains.sample_weight
        losses = np.empty((len(EXPONENTS), n))
        with ignored(ShiftWarning):  # "resampled by weight" is told by the final fit
            for fold in range(folds.max() + 1):
                train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                for k, exponent in enumerate(EXPONENTS):
                    flattened = ratio[train] ** exponent
                    weight = flattened / flattened.mean() * user[train]  # the scale a penalty sees stays the same
                    model = fit_weighted(head, take_rows(Z, train), domains.y[train], weight, rng)
                    losses[k, test] = _loss(model, take_rows(Z, test), domains.y[test])
        tied = within_one_standard_error(losses, ratio * user, domains.groups)
        return EXPONENTS[tied[-1] if classification else tied[0]]

    def diagnose(self, X: Any, X_target: Any) -> WeightDiagnosis:
        """How much closer the `weights_` bring the source to the target; see `diagnose_weights`.

        Parameters
        ----------
        X, X_target : array, DataFrame or sparse matrix
            The rows that were given to `fit`; compared where the weights were learnt, behind the `front_`.
        """
        check_is_fitted(self)
        X, X_target = self._check_rows(X), self._check_rows(X_target)
        names = None
        if self.front_ is not None:
            X, X_target = self.front_.transform(X), self.front_.transform(X_target)
            with suppress(AttributeError, ValueError):  # a transformer that cannot name its columns
                names = self.front_.get_feature_names_out().tolist()
        return diagnose_weights(X, X_target, self.weights_, feature_names=names)

    @property
    def estimator_(self) -> Any:
        """The fitted model as a whole."""
        return join_model(self.front_, self.head_)


def within_one_standard_error(losses: np.ndarray, weights: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Candidates whose weighted mean loss exceeds the smallest by at most one standard error of the difference.

    Parameters
    ----------
    losses : ndarray of shape (n_candidates, n_rows)
    weights : ndarray of shape (n_rows,)
    groups : ndarray of shape (n_rows,) or None
        Rows of a group count as one observation.

    Returns
    -------
    ndarray of int
        Their numbers, in increasing order.
    """
    weights = weights / weights.sum()
    risks = losses @ weights
    best = int(np.argmin(risks))
    excess = risks - risks[best]
    # linearised variance of a ratio of two sums, as the weights are normalised by their own
    terms = weights * (losses - losses[best] - excess[:, None])
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        terms = np.array([np.bincount(codes, row) for row in terms])
    return np.flatnonzero(excess <= np.sqrt(np.sum(terms**2, axis=1)))


def _folds(domains: Domains, classification: bool, rng: np.random.RandomState) -> np.ndarray:
    """Fold of every row, at most 5: classes (or all rows) are dealt out in turn, groups stay whole."""
    n = len(domains.y)
    if domains.groups is not None:
        return group_folds(domains.groups, 5)
    folds = np.empty(n, int)
    strata = np.unique(domains.y, return_inverse=True)[1] if classification else np.zeros(n)
    folds[np.lexsort((rng.uniform(size=n), strata))] = np.arange(n) % min(5, n)
    return folds


def _loss(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    """Loss of every row: log-loss with probabilities, else 0-1 loss; a regressor's own, see `loss_of`."""
    if not is_classifier(model):
        return loss_of(model)(answers_of(model, X), y)
    if not hasattr(model, "predict_proba"):
        return (y != answers_of(model, X)).astype(float)
    column = np.minimum(np.searchsorted(model.classes_, y), len(model.classes_) - 1)
    known = model.classes_[column] == y
    p = np.where(known, model.predict_proba(X)[np.arange(len(y)), column], 0.0)
    return -np.log(np.maximum(p, 1e-6))
