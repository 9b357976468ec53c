"""FeatureAlignment: fit the model on source rows that were moved to where the target rows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from shift_detectors._errors import InputError

from .._base import (
    BaseAdapter,
    Domains,
    NumericColumns,
    fit_front,
    fit_weighted,
    is_frozen,
    split_model,
    take_rows,
)
from ._linear_ot import LinearOT

DIRECTIONS = ("source_to_target", "target_to_source")


class FeatureAlignment(BaseAdapter):
    r"""Bring the features of both domains together, and let the model work there.

    **Question.** The target was measured through other optics (another scanner, site, unit): what would the
    model have learnt, had the source been measured like that too?

    **How.** An aligner learns a map :math:`T` from the rows of both domains, without labels.
    ``direction="source_to_target"`` fits the model on :math:`(T(x), y)` of the source and applies it to
    target rows as they are. ``direction="target_to_source"`` fits the model on the source as it is (or
    leaves a ``FrozenEstimator`` alone) and maps target rows before they are predicted.

    **Where.** Of a Pipeline, everything but the last step is fitted on the source and applied to both
    domains; the alignment happens in front of the last step, or of the step named by `at`. Of a frame the
    numeric columns are aligned and the others passed through.

    **Assumption.** p(y | T(x)) of the source is p(y | x) of the target: the classes moved together. It holds
    for a changed instrument; no test without target labels can confirm it.

    **Fails** when the class frequencies differ (they are part of what is aligned; `sample_weight` then has to
    carry the estimated class ratio), when classes moved differently, and when the rows differ because other
    units were sampled (covariate shift): their features then are right as they are.

    **Labelled target rows.** Where `y_target` has labels, these rows join the fit as they are, next to the
    aligned source rows: both are draws from the same distribution if the assumption holds. They do not join
    a frozen model, nor are they counted more than source rows: under concept shift use `PriorCentered`.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator
        Classifier or regressor.
    aligner : BaseAligner, optional
        ``LinearOT()`` when None.
    direction : {"source_to_target", "target_to_source"}
    at : str, optional
        Step of the Pipeline in front of which to align; "input": in front of everything.
    random_state : int, RandomState or None
        Used only to resample rows when the model takes no `sample_weight`.

    Attributes
    ----------
    aligner_ : BaseAligner
        Fitted; with "target_to_source" its `transform_source` maps target rows.

    References
    ----------
    Courty, Flamary, Tuia, Rakotomamonjy: Optimal transport for domain adaptation. TPAMI 39(9), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    >>> y, y_target = X[:, 0] > 0, X_target[:, 0] > 0
    >>> X_target = X_target * 2 + 3  # another instrument
    >>> source_only = LogisticRegression().fit(X, y)
    >>> adapted = FeatureAlignment(LogisticRegression()).fit(X, y, X_target)
    >>> round(source_only.score(X_target, y_target), 2), round(adapted.score(X_target, y_target), 2)
    (0.49, 0.99)
    """

    aligner_: Any

    def __init__(
        self,
        estimator: Any,
        aligner: Any = None,
        direction: str = "source_to_target",
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.aligner = aligner
        self.direction = direction
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        if self.direction not in DIRECTIONS:
            raise InputError(f"direction={self.direction!r}", f"one of {DIRECTIONS}")
        frozen = is_frozen(self.estimator)
        if frozen and self.direction == "source_to_target":
            raise InputError(
                'FeatureAlignment(direction="source_to_target") was given a FrozenEstimator',
                "a model that may be fitted again",
                'Use direction="target_to_source", which maps target rows to where the model was fitted.',
            )
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        self._columns = NumericColumns(Z)
        numeric, numeric_target = self._columns.extract(Z), self._columns.extract(Z_target)
        labels = None
        if domains.y_target is not None:
            labels = domains.y_target.astype(object)
            labels[~domains.labelled] = None
        aligner: Any = LinearOT() if self.aligner is None else clone(self.aligner)
        if self.direction == "source_to_target":
            self.aligner_ = aligner.fit(
                numeric,
                numeric_target,
                y_source=domains.y,
                y_target=labels,
                source_weight=domains.sample_weight,
                estimator=head,
            )
        else:
            self.aligner_ = aligner.fit(
                numeric_target,
                numeric,
                y_source=labels,
                y_target=domains.y,
                target_weight=domains.sample_weight,
                estimator=head,
            )
        if frozen:
            self.head_ = head
            return
        Z, y, weight = self._map(Z, "source"), domains.y, domains.sample_weight
        if domains.y_target is not None:
            known = np.flatnonzero(domains.labelled)
            Z = _stack(Z, self._map(take_rows(Z_target, known), "target"))
            y = np.concatenate([y, domains.y_target[known]])
            if weight is not None:
                weight = np.concatenate([weight, np.full(len(known), weight.mean())])
        self.head_ = fit_weighted(head, Z, y, weight, self.random_state)

    def _map(self, Z: Any, domain: str) -> Any:
        # the aligner's own "source" is the domain that is moved
        moved = "source" if self.direction == "source_to_target" else "target"
        transform = self.aligner_.transform_source if domain == moved else self.aligner_.transform_target
        return self._columns.replace(Z, transform(self._columns.extract(Z)))


def _stack(top: Any, bottom: Any) -> Any:
    """Rows of two tables of the same kind, one below the other."""
    if isinstance(top, pd.DataFrame):
        return pd.concat([top, bottom], ignore_index=True)
    if hasattr(top, "vstack"):  # polars
        return top.vstack(bottom)
    return np.vstack([top, bottom])
