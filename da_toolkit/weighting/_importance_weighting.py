"""Reweight the source so that the model is trained for where the target lies."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.utils import check_random_state

from shift_detectors._errors import InputError, ShiftWarning

from .._base import (
    BaseAdapter,
    Domains,
    fit_front,
    fit_weighted,
    join_model,
    refuse_frozen,
    split_model,
    take_rows,
)
from ._base import effective_sample_size
from ._classifier_ratio import ClassifierRatio

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # what exponent="auto" tries
MIN_ESS_SHARE = 0.05


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
    exponent : float in [0, 1] or "auto", default 1.0
        "auto" takes the one of 0, .25, .5, .75 and 1 with the smallest importance-weighted cross-validation
        loss (log-loss, 0-1 loss without probabilities, squared error in regression).
    at : str, optional
        Step of the Pipeline in front of which to work instead, or "input".
    random_state : int, RandomState or None

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
    where to be right. The user's ``sample_weight`` multiplies the weights and does not enter the ratio.
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
        exponent: float | str = 1.0,
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
        automatic = isinstance(self.exponent, str) and self.exponent == "auto"
        if not automatic and (isinstance(self.exponent, str) or not 0 <= self.exponent <= 1):
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
            warnings.warn(
                f"The weights of the {n} source rows carry as much information as {ess:.0f} equally weighted "
                "rows: source and target hardly overlap, and the weighted model rests on those few.",
                ShiftWarning,
                stacklevel=3,
            )
        self.exponent_ = self._choose(head, Z, domains, rng) if automatic else float(self.exponent)
        flattened = self.ratio_.weights_**self.exponent_
        self.weights_ = flattened / flattened.mean()
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        weight = self.weights_
        if domains.sample_weight is not None:
            weight = weight * domains.sample_weight
        self.head_ = fit_weighted(head, Z, domains.y, weight, rng)

    def _choose(self, head: Any, Z: Any, domains: Domains, rng: np.random.RandomState) -> float:
        """Exponent with the smallest importance-weighted cross-validation loss."""
        user = np.ones(len(domains.y)) if domains.sample_weight is None else domains.sample_weight
        ratio = self.ratio_.weights_
        losses = np.empty((len(EXPONENTS), len(domains.y)))
        for train, test in _folds(domains, is_classifier(head), rng):
            for k, exponent in enumerate(EXPONENTS):
                weight = ratio[train] ** exponent * user[train]
                model = fit_weighted(head, take_rows(Z, train), domains.y[train], weight, rng)
                losses[k, test] = _loss(model, take_rows(Z, test), domains.y[test])
        return EXPONENTS[int(np.argmin(losses @ (ratio * user)))]

    @property
    def estimator_(self) -> Any:
        """The fitted model as a whole."""
        return join_model(self.front_, self.head_)


def _folds(domains: Domains, classification: bool, rng: np.random.RandomState):
    if domains.groups is not None:
        splitter: Any = GroupKFold(min(5, len(np.unique(domains.groups))))
    elif classification and np.unique(domains.y, return_counts=True)[1].min() >= 5:
        splitter = StratifiedKFold(5, shuffle=True, random_state=rng)
    else:
        splitter = KFold(5, shuffle=True, random_state=rng)
    return splitter.split(np.zeros(len(domains.y)), domains.y, domains.groups)


def _loss(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    """Loss of every row: log-loss with probabilities, else 0-1 loss; squared error in regression."""
    if not is_classifier(model):
        return (y - model.predict(X)) ** 2
    if not hasattr(model, "predict_proba"):
        return (y != model.predict(X)).astype(float)
    column = np.minimum(np.searchsorted(model.classes_, y), len(model.classes_) - 1)
    known = model.classes_[column] == y
    p = np.where(known, model.predict_proba(X)[np.arange(len(y)), column], 0.0)
    return -np.log(np.maximum(p, 1e-6))
