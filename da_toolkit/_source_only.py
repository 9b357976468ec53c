"""Do nothing: the baseline every adapter has to beat."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from ._base import BaseAdapter
from ._domains import Domains
from ._model import fit_weighted


class SourceOnly(BaseAdapter):
    """The model fitted on the source alone; the target is checked, then ignored.

    It is right when source and target do not differ, when the model is flexible enough that reweighting
    would not change it, and whenever adapting cannot be shown to help. A `FrozenEstimator` is used as it is.

    Parameters
    ----------
    estimator : estimator or Pipeline
        The user's model.
    random_state : int, Generator, RandomState or None
        Only used when ``fit`` gets a `sample_weight` that the model cannot take (see `fit_weighted`).

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> SourceOnly(LogisticRegression()).fit(X, y, X_target=X + 1).predict([[0.0], [3.0]])
    array([0, 1])
    """

    def __init__(self, estimator: Any, random_state: Any = None):
        self.estimator = estimator
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        self.front_ = None
        if isinstance(self.estimator, FrozenEstimator):
            check_is_fitted(self.estimator)
            self.head_ = self.estimator
        else:
            self.head_ = fit_weighted(self.estimator, domains.X, domains.y, domains.sample_weight, self.random_state)

    @property
    def estimator_(self) -> Any:
        """The fitted model."""
        return self.head_
