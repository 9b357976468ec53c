"""What every density ratio is: weights that make the source look like the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._influence import effective_rows
from shift_detectors._text import some
from shift_detectors._warnings import warn

from .._parameters import is_number
from .._rows import column_names, read_both, read_new, without_rows
from ._diagnosis import WeightDiagnosis, covered_share, diagnose_weights
from ._encoder import as_frame

MIN_COVERAGE = 0.05
FIRST = 20


def effective_sample_size(weights: np.ndarray) -> float:
    """How many equally weighted rows carry as much information: ``sum(w)^2 / sum(w^2)`` (Kish).

    Parameters
    ----------
    weights : array-like of shape (n_rows,)
        Non-negative, not all zero.

    Examples
    --------
    >>> effective_sample_size([1, 1, 1, 1]), effective_sample_size([2, 2, 0, 0])
    (4.0, 2.0)
    """
    weights = np.asarray(weights, float)
    if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise InputError(
            f"weights of shape {weights.shape} with negative, missing, infinite or only zero values",
            "finite weights >= 0, one above 0",
            "Check them.",
        )
    return effective_rows(weights)


def check_clip(clip: float | None) -> None:
    """Raise unless `clip` is None or a multiple of the mean weight above 1."""
    if clip is not None and not (is_number(clip) and clip > 1):
        raise InputError(f"clip={clip!r}", "a number above 1 (times the mean weight) or None", "Choose one.")


def check_groups(groups: np.ndarray) -> int:
    """The number of groups; raise unless there are two."""
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise InputError("a single group", "at least 2 groups", "Groups are judged apart: leave them out.")
    return n_groups


def group_folds(groups: np.ndarray, n_folds: int) -> np.ndarray:
    """Fold of every row, 0, 1, ..., groups whole; no more folds than there are groups."""
    n_groups = check_groups(groups)
    folds = np.empty(len(groups), int)
    for k, (_, rows) in enumerate(GroupKFold(min(n_folds, n_groups)).split(folds, groups=groups)):
        folds[rows] = k
    return folds


class BaseRatio(BaseEstimator):
    """An estimate of w(x) = p_target(x) / p_source(x).

    A subclass implements ``_fit(X_source, X_target, groups)``, which learns the ratio and returns it for the
    source rows, each judged without itself and its group, and ``_predict(X)`` for new rows; both up to one constant.

    A column with one value in the source that no target row has (a site, a year) makes p_target(x) zero at every
    source row. It is left out, with a `ShiftWarning`: the weights are those of the other columns, and right where
    p(y | x) does not depend on it. Where (nearly) no target row lies near the source `fit` gives a `ShiftWarning`, too:
    the effective sample size need not tell, as many rows may be equally far away.

    Rows count alike; `ImportanceWeighting` puts right what the user's ``sample_weight`` changes.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Out-of-fold weights of the source rows, non-negative, mean 1.
    effective_sample_size_ : float
        ``sum(w)^2 / sum(w^2)`` of `weights_`, between 1 and n_source.
    scale_ : float
        The constant that makes `weights_` have mean 1; `predict` uses the same one.
    """

    clip: float | None  # of the subclasses that call `_most`

    def fit(self, X_source: Any, X_target: Any, *, groups: Any = None):
        """Learn the ratio.

        Parameters
        ----------
        X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        groups : array-like of shape (n_source,), optional
            Source rows that belong together (patients, sites), which must not vouch for each other.

        Returns
        -------
        self
        """
        X_source, X_target = read_both(X_source, X_target, "X_source")
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != (X_source.shape[0],):
                raise InputError(f"groups has shape {groups.shape}", f"shape ({X_source.shape[0]},)", "Check it.")
            groups = np.unique(groups, return_inverse=True)[1]
            check_groups(groups)
        self.n_features_in_ = X_source.shape[1]
        self._form = without_rows(X_source)
        self._left_out = _apart(X_source, X_target)
        if self._left_out:
            self._warn_left_out()
        X_source, X_target = self._seen(X_source), self._seen(X_target)
        raw = self._fit(X_source, X_target, groups)
        raw = self._checked(raw, "_fit", X_source.shape[0])
        if not raw.sum() > 0:
            raise InputError(
                "no source row looks like the target: every weight is 0",
                "domains that overlap",
                "Weighting cannot help here; align the features instead.",
            )
        self.scale_ = float(1 / raw.mean())
        self.weights_ = raw * self.scale_
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        covered = self._covered(X_source, X_target, groups)
        if covered < MIN_COVERAGE:
            warn(
                f"Only about {covered:.1%} of the target lies where the source has rows: without overlap no weights "
                "make the source look like the target."
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Weights of new source rows, on the scale of `weights_`; shape (n_rows,)."""
        check_is_fitted(self)
        X = self._read(X)
        return self._checked(self._predict(X), "_predict", X.shape[0]) * self.scale_

    def diagnose(self, X_source: Any, X_target: Any) -> WeightDiagnosis:
        """How much closer `weights_` bring the source to the target; see `diagnose_weights`.

        Parameters
        ----------
        X_source, X_target : array, DataFrame or sparse matrix
            The rows that were given to `fit`.
        """
        check_is_fitted(self)
        return diagnose_weights(X_source, X_target, self.weights_)

    def _covered(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> float:
        """Estimated share of the target that lies where the source has rows."""
        return covered_share(X_source, X_target, groups)

    def _read(self, X: Any) -> Any:
        """New rows as those of `fit`: the columns that the ratio is of."""
        return self._seen(read_new(self._form, X))

    def _seen(self, X: Any) -> Any:
        """The columns that the ratio is of."""
        if not self._left_out:
            return X
        kept = np.setdiff1d(np.arange(X.shape[1]), self._left_out)
        if hasattr(X, "iloc"):
            return X.iloc[:, kept]
        return X[:, kept]

    def _warn_left_out(self) -> None:
        known = column_names(self._form)
        names = [f"column {j}" if known is None else str(known[j]) for j in self._left_out]
        if len(names) == self.n_features_in_:
            raise InputError(
                "every column has one value in X_source that no row of X_target has",
                "domains that overlap",
                "Weighting cannot help here; align the features instead.",
            )
        warn(
            f"Left out of the ratio: {some(names)}, with one value in the source that no target row has. The weights "
            f"are right where y does not depend on {'it' if len(names) == 1 else 'them'}."
        )

    def _most(self, n_source: int) -> float:
        """Largest weight, as a multiple of the mean."""
        return np.sqrt(n_source) if self.clip is None else self.clip

    def _clipped(self, raw: np.ndarray) -> np.ndarray:
        """The weights of the source rows, none above the largest, which `_predict` reads in `_largest`."""
        self._largest = self._most(len(raw)) * raw.mean()
        return np.minimum(raw, self._largest)

    def _checked(self, weights: Any, method: str, n: int) -> np.ndarray:
        """What a subclass returned, if it can be weights."""
        weights = np.asarray(weights)
        if weights.shape != (n,) or weights.dtype.kind not in "fiu":
            what = f"{weights.dtype} values of shape {weights.shape}"
        elif (bad := ~np.isfinite(weights) | (weights < 0)).any():
            what = f"{bad.sum()} negative, infinite or missing weights"
        else:
            return weights
        raise InputError(
            f"{type(self).__name__}.{method} gave {what}",
            f"finite weights >= 0 of shape ({n},)",
            "A ratio of densities is not negative: clip it.",
        )

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        raise NotImplementedError

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError


def _apart(X_source: Any, X_target: Any) -> list[int]:
    """Columns with one value in the source that no target row has."""
    if sparse.issparse(X_source):
        constant = np.flatnonzero(X_source.min(axis=0).toarray() == X_source.max(axis=0).toarray())
        source, target = (as_frame(X[:, constant].toarray()) for X in (X_source, X_target))
    else:
        source, target = (X if hasattr(X, "iloc") else as_frame(X) for X in (X_source, X_target))
        constant = np.arange(source.shape[1])
    return [int(constant[k]) for k in _alike(source) if _is_apart(source.iloc[:, k], target.iloc[:, k])]


def _alike(frame: pd.DataFrame) -> np.ndarray:
    """Columns whose first rows hold one value; to look at all rows of thousands of columns takes seconds."""
    first = frame.iloc[:FIRST].to_numpy(object)
    first = np.where(pd.isna(first), None, first)
    return np.flatnonzero(np.equal(first, first[0]).all(axis=0))


def _is_apart(source: pd.Series, target: pd.Series) -> bool:
    value = source.iloc[0]
    if pd.isna(value):
        return bool(source.isna().all() and target.notna().all())
    return bool((source == value).all() and not (target == value).any())
