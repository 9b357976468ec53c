"""What every aligner is: it moves source rows to where the target rows are."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import type_of_target

from shift_detectors._errors import InputError

from .._parameters import is_number
from .._rows import read_both, read_new, without_rows
from .._target import unpack_target

UNITS = 10.0  # standard deviations further apart than this mean different units


class BaseAligner(BaseEstimator):
    """A map between the feature spaces of two domains, learnt from dense numeric rows of both.

    A subclass implements ``_fit(X_source, X_target, y_source, y_target, source_mass, target_mass, estimator)``
    on checked float matrices and masses that sum to 1, and overrides `_transform_source`, `_transform_target`
    or both; what it does not override leaves the rows where they are. Its ``__init__`` stores its parameters
    unchanged. A method that works class by class says ``class_wise = True``: it is then given `y_source`,
    with classes, or refuses.
    """

    class_wise: ClassVar[bool] = False
    n_features_in_: int

    def fit(
        self,
        X_source: Any,
        X_target: Any,
        *,
        y_source: Any = None,
        y_target: Any = None,
        source_weight: Any = None,
        target_weight: Any = None,
        estimator: Any = None,
    ):
        """Learn the map.

        Parameters
        ----------
        X_source, X_target : array or DataFrame of shape (n_rows, n_features)
            Dense, numeric, finite; two frames with the same names in the same order. The target also as a `Target`.
        y_source, y_target : array-like of shape (n_rows,), optional
            Used by the aligners that can; missing values in `y_target` mean "unlabelled".
        source_weight, target_weight : array-like of shape (n_rows,), optional
            Mass of every row, for example estimated target class frequencies over source class frequencies.
        estimator : classifier or regressor, optional
            Unfitted; cloned by the methods that alternate with pseudo-labels of the target.

        Returns
        -------
        self
        """
        X_target, y_target = unpack_target(X_target, y_target)
        X_source, X_target = read_both(X_source, X_target, "X_source")
        form = without_rows(X_source)
        X_source, X_target = as_matrix(X_source, "X_source"), as_matrix(X_target, "X_target")
        for name, X in (("X_source", X_source), ("X_target", X_target)):
            if len(X) < 2:
                raise InputError(f"{name} has {len(X)} row(s)", "at least 2 rows", "A spread needs two rows.")
        if self.class_wise:
            self._check_classes(y_source)
        self.n_features_in_, self._form = X_source.shape[1], form
        self._fit(
            X_source,
            X_target,
            None if y_source is None else np.asarray(y_source),
            None if y_target is None else np.asarray(y_target, dtype=object),
            _as_mass(source_weight, len(X_source), "source_weight"),
            _as_mass(target_weight, len(X_target), "target_weight"),
            estimator,
        )
        return self

    def transform_source(self, X: Any) -> np.ndarray:
        """Source rows, also new ones, in the common space; shape (n_rows, n_features_out)."""
        return self._transform_source(self._checked(X))

    def transform_target(self, X: Any) -> np.ndarray:
        """Target rows, also new ones, in the common space; shape (n_rows, n_features_out)."""
        return self._transform_target(self._checked(X))

    def _checked(self, X: Any) -> np.ndarray:
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted. Call fit first.")
        return as_matrix(read_new(self._form, X), "X")

    def _check_classes(self, y_source: Any) -> None:
        kind = None if y_source is None else type_of_target(y_source)
        if kind is None or kind.startswith("continuous"):
            raise InputError(
                f"{type(self).__name__} was given {'no y_source' if kind is None else 'a continuous y_source'}",
                "the classes of the source rows",
                "It works class by class: for regression use CORAL, LinearOT, OptimalTransport or TCA.",
            )

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        raise NotImplementedError

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        return X

    def _transform_target(self, X: np.ndarray) -> np.ndarray:
        return X

    def _transform_fitted(self, X: np.ndarray) -> np.ndarray:
        """The source rows of `fit`, in their order, of which more may be known than their values."""
        return self._transform_source(X)


def as_matrix(X: Any, name: str) -> np.ndarray:
    """A table as a finite float64 matrix, or an `InputError` that says what to do."""
    if sparse.issparse(X):
        raise InputError(
            f"{name} is a sparse matrix",
            "dense numeric rows",
            "Put TruncatedSVD in front, or call .toarray() when there are few columns.",
        )
    try:
        matrix = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} has values that are not numbers",
            "dense numeric rows",
            "Encode categories and dates first, or wrap a Pipeline that does.",
        ) from None
    if not np.isfinite(matrix).all():
        raise InputError(
            f"{name} has missing or infinite values",
            "finite numbers",
            "Impute first, or wrap a Pipeline that does: the alignment then happens behind the imputation.",
        )
    return matrix


def _as_mass(weight: Any, n_rows: int, name: str) -> np.ndarray:
    """Weights that sum to 1; equal ones when none are given."""
    if weight is None:
        return np.full(n_rows, 1 / n_rows)
    mass = np.asarray(weight, dtype=float)
    if mass.shape != (n_rows,):
        raise InputError(f"{name} has shape {mass.shape}", f"one weight per row, shape ({n_rows},)")
    if not np.isfinite(mass).all() or (mass < 0).any() or (mass > 0).sum() < 2:
        raise InputError(
            f"{name} has negative, missing or infinite values, or fewer than two positive ones",
            "finite weights >= 0",
            "Check the ratio or prior they come from.",
        )
    return mass / mass.sum()


def check_shrinkage(shrinkage: Any) -> bool:
    """Whether it is "auto"; an `InputError` unless it is that or a number from 0 to 1."""
    if isinstance(shrinkage, str) and shrinkage == "auto":
        return True
    if not (is_number(shrinkage) and 0 <= shrinkage <= 1):
        raise InputError(f"shrinkage={shrinkage!r}", '"auto" or a number from 0 to 1')
    return False


def column_units(variance: np.ndarray, varies: np.ndarray, standardize: Any) -> np.ndarray:
    """Unit of every column, shape (d,): 1, or its pooled standard deviation.

    "auto" takes columns as measured in different units when the largest standard deviation is ten times the one that
    a quarter of the columns fall below: the few pixels at the border of an image that hardly vary decide nothing.
    """
    deviation = np.sqrt(variance)
    if isinstance(standardize, str):
        if standardize != "auto":
            raise InputError(f"standardize={standardize!r}", '"auto", True or False')
        seen = deviation[varies]
        standardize = seen.size > 0 and seen.max() > UNITS * np.quantile(seen, 0.25, method="lower")
    return np.where(varies, deviation, 1.0) if standardize else np.ones_like(deviation)


def varying(variance: np.ndarray, *means: np.ndarray) -> np.ndarray:
    """Which columns vary by more than the rounding errors of their means."""
    rounding = 100 * np.finfo(float).eps * sum(np.abs(mean) for mean in means)
    return variance > rounding**2


def shrunk_mean(mean_s, mean_t, variance_s, variance_t, noise_s: float, noise_t: float, varies) -> np.ndarray:
    """The target's mean, drawn towards the source's as far as the difference is noise (James and Stein).

    `noise_s` and `noise_t` are the sums of the squared masses, 1 / n with equal ones.
    """
    variance = ((variance_s + variance_t) / 2)[varies]
    signal = ((mean_t - mean_s)[varies] ** 2 / variance).sum()
    noise = ((variance_s * noise_s + variance_t * noise_t)[varies] / variance).sum()
    return np.where(varies, mean_s + kept(signal, noise) * (mean_t - mean_s), mean_t)


def kept(signal: float, noise: float) -> float:
    """Part of a squared difference that its sampling noise does not explain."""
    return max(0.0, 1 - noise / signal) if signal > 0 else 0.0
