"""FeatureAugmentation: every feature three times, for both domains, for the source and for the target."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, fit_weighted, refuse_frozen, split_model
from .._numeric_columns import NumericColumns
from ..weighting._encoder import pool


class FeatureAugmentation(BaseAdapter):
    r"""Let the model decide, feature by feature, what both domains share and what each has of its own.

    **Question.** Some effects are the same in both domains, others are not: which of them may the target learn
    from the source?

    **Formula.** With z = (1, x) and a factor c, a source row becomes (z, cz, 0) and a labelled target row (z, 0, cz);
    the model is fitted on both kinds together and target rows are predicted as (z, 0, cz). A linear model with
    coefficients (w, u, v) then answers the source by w + cu and the target by w + cv, under its own penalty
    :math:`\|w\|^2 + \|u\|^2 + \|v\|^2`: before any label, the effects of the two domains correlate by
    :math:`1 / (1 + c^2)`. That is 1/2 in the published algorithm, where c = 1; the default c = 1/2 takes it for .8.
    The column of ones gives each domain an intercept of its own.

    **Assumption.** The labelled target rows are a random part of the target, and the model is penalised (ridge,
    logistic regression, linear SVM): without a penalty the copies are not identified and the target's own labels
    decide alone.

    **Fails** for few labels. The penalty splits the source's effects between w and u, and the target keeps only that
    part :math:`1 / (1 + c^2)` which the penalty leaves in w until its own labels supply the rest: where nothing changed
    it lies below the source model. Where much did, w still leads the wrong way. `PriorCentered` and `TransferStack`
    start from the source model and weigh that. It does little for trees, which may split on the copies but need not.

    Parameters
    ----------
    estimator : estimator or Pipeline
    own_scale : float
        c: smaller, and the target follows the source more closely; 1 is the published algorithm.
    at : str, optional
        Step of the Pipeline in front of which the columns are copied; the last one by default.
    random_state : int, Generator, RandomState or None
        Only used when ``fit`` gets a `sample_weight` that the model cannot take (see `fit_weighted`).

    Notes
    -----
    With `sample_weight` a labelled target row weighs as much as source rows do on average.

    Of a frame the numeric columns are copied, as ``x | source`` and ``x | target``; categorical, boolean and text
    columns stay single, shared by both domains: encode them in front of the last step and they are copied, too. A
    missing value is missing in the copy of its own domain and 0 in the other's.

    References
    ----------
    Daume: Frustratingly easy domain adaptation. ACL 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 5)), rng.normal(size=(500, 5))
    >>> y = X @ [1, 1, 1, 0, 0] + 0.5 * rng.normal(size=200)
    >>> y_target = X_target @ [1, 1, -1, 0, 0] + 2 + 0.5 * rng.normal(size=500)
    >>> few = np.where(np.arange(500) < 20, y_target, np.nan)  # 20 labels
    >>> model = FeatureAugmentation(Ridge()).fit(X, y, X_target, few)
    >>> round(Ridge().fit(X, y).score(X_target, y_target), 2), round(model.score(X_target, y_target), 2)
    (-1.5, 0.85)
    """

    def __init__(self, estimator: Any, own_scale: float = 0.5, at: str | None = None, random_state: Any = None):
        self.estimator = estimator
        self.own_scale = own_scale
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        refuse_frozen(self.estimator, "FeatureAugmentation")
        if not 0 < self.own_scale < np.inf:
            raise InputError(f"own_scale={self.own_scale!r}", "a number > 0", "1 is the published algorithm.")
        if domains.y_target is None:
            raise InputError(
                "FeatureAugmentation.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        self._columns = None if sparse.issparse(Z) else NumericColumns(Z)
        known = np.flatnonzero(domains.labelled)
        rows = pool(self._map(Z, "source"), self._map(take_rows(Z_target, known), "target"))
        y = np.concatenate([domains.y, domains.y_target[known]])
        weight = domains.pooled_weight
        if weight is not None:
            weight = np.concatenate([weight, np.ones(len(known))])
        self.head_ = fit_weighted(head, rows, y, weight, self.random_state)

    def _map(self, Z: Any, domain: str) -> Any:
        ones = np.ones((Z.shape[0], 1))
        if self._columns is None:
            own = self.own_scale * sparse.hstack([Z, ones])
            blank = sparse.csr_matrix(own.shape)
            return sparse.csr_matrix(sparse.hstack([Z, own, blank] if domain == "source" else [Z, blank, own]))
        z = self._columns.extract(Z)
        own = self.own_scale * np.column_stack([z, ones])
        blank = np.zeros_like(own)
        copies = np.column_stack([own, blank] if domain == "source" else [blank, own])
        if self._columns.names is None:
            return np.column_stack([z, copies])
        names = [f"{name} | {side}" for side in ("source", "target") for name in [*self._columns.names, "one"]]
        columns = dict(zip(names, copies.T, strict=True))
        if not hasattr(Z, "iloc"):
            return Z.with_columns(**columns)
        return Z.rename(columns=str).assign(**columns)  # numbers beside the copies' text are no names for scikit-learn
