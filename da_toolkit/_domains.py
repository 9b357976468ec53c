"""The arguments of ``fit``, checked: rows and labels of both domains, weights and groups of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from shift_detectors._boundary import read_ids, refuse_swapped
from shift_detectors._errors import InputError
from shift_detectors._table import UNLABELLED

from ._numeric_columns import floating_type
from ._rows import check_names, read_both
from ._target import unpack_target


@dataclass(frozen=True)
class Domains:
    """The checked arguments of ``fit``; the caller's rows themselves, untouched.

    Attributes
    ----------
    X, X_target : array, DataFrame or sparse matrix
        As passed (lists become arrays); `X_target` is brought into the form of `X`, see `in_form_of`.
    y : ndarray of shape (n_source,)
        As passed; beside a regressor floats, whatever numbers were passed.
    y_target : ndarray of shape (n_target,) or None
        In the dtype of `y`; what stands in unlabelled rows is meaningless.
    labelled : ndarray of bool, shape (n_target,)
        Which target rows have a label.
    sample_weight, groups, source_domain : ndarray of shape (n_source,) or None
    """

    X: Any
    y: np.ndarray
    X_target: Any
    y_target: np.ndarray | None
    labelled: np.ndarray
    sample_weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    source_domain: np.ndarray | None = None

    def without_labels(self) -> Domains:
        """The same rows, those of the target unlabelled: what the model as it is may see."""
        return replace(self, y_target=None, labelled=np.zeros_like(self.labelled))

    @property
    def pooled_weight(self) -> np.ndarray | None:
        """`sample_weight` beside labelled target rows that weigh 1 each: mean 1 where above zero, whatever its unit."""
        if self.sample_weight is None:
            return None
        return self.sample_weight / self.sample_weight[self.sample_weight > 0].mean()


def read_domains(
    X: Any,
    y: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    classification: bool | None,
    sample_weight: Any = None,
    groups: Any = None,
    source_domain: Any = None,
    adapter: str = "fit",
    classes: Any = (),
) -> Domains:
    """Check the arguments of ``fit``; every complaint says what was got, what is accepted and what to do.

    Where `classification` is False the labels are quantities. None, if the model finds out, leaves them as they are.
    `classes` are those that a frozen model knows: target labels may be of these, too.
    """
    X_target, y_target = unpack_target(X_target, y_target)
    if X_target is None:
        raise InputError(
            f"{adapter}.fit was called without X_target",
            "fit(X, y, X_target)",
            "Pass the target rows: without them nothing would be adapted.",
        )
    refuse_swapped(y, X_target)
    X, X_target = read_both(X, X_target, "X")
    check_names(X, "X")
    n = X.shape[0]
    if y is None:
        raise InputError(f"{adapter}.fit was called without y", f"y of length {n}", "Pass it.")
    y = _per_row(y, "y", n)
    missing = int(pd.isna(y).sum())
    if missing:
        raise InputError(
            f"{missing} of the {n} values of y are missing",
            "a label for every source row",
            "Drop those rows.",
        )
    y = _plain(y)
    if classification is False:
        y = as_quantities(y, "y")
    if classification and len(np.unique(y)) < 2:
        raise InputError("y has a single class", "at least two classes", "A classifier needs two classes.")
    if y_target is None:
        labelled = np.zeros(X_target.shape[0], bool)
    else:
        y_target, labelled = _target_labels(y_target, y, X_target.shape[0], classification, classes)
    sample_weight = read_weights(sample_weight, n)
    groups, source_domain = read_row_ids(groups, "groups", n), read_row_ids(source_domain, "source_domain", n)
    return Domains(X, y, X_target, y_target, labelled, sample_weight, groups, source_domain)


def _per_row(values: Any, name: str, n: int) -> np.ndarray:
    # of a list, numpy would turn a missing label among strings into "nan"
    array = np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        several = array.ndim == 2 and len(array) == n
        advice = "Several outputs are adapted one at a time." if name in ("y", "y_target") else "Pass one column."
        raise InputError(
            f"{name} has shape {array.shape}",
            f"shape ({n},), one value per row",
            advice if several else "Check the rows.",
        )
    return array


def read_weights(values: Any, n: int) -> np.ndarray | None:
    """Weights of the source rows, in the unit in which the user's own model would be given them."""
    if values is None:
        return None
    given, accepted = _per_row(values, "sample_weight", n), "finite weights >= 0, not all of them zero"
    try:
        weight = given.astype(float)
    except (TypeError, ValueError):
        raise InputError("sample_weight with values that are no numbers", accepted, "Check them.") from None
    if not np.all(np.isfinite(weight)) or np.any(weight < 0) or weight.sum() <= 0:
        raise InputError("sample_weight with negative, missing or only zero values", accepted, "Check them.")
    return weight


def read_row_ids(values: Any, name: str, n: int) -> np.ndarray | None:
    """One identifier per source row, none missing."""
    return None if values is None else _plain(read_ids(_per_row(values, name, n), n, name, "X"))


def _plain(values: np.ndarray) -> np.ndarray:
    """Object arrays in the dtype that their values have (nullable pandas columns, lists of str)."""
    return np.array(values.tolist()) if values.dtype == object else values


def _target_labels(
    y_target: Any, y: np.ndarray, n_target: int, classification: bool | None, classes: Any
) -> tuple[np.ndarray | None, np.ndarray]:
    """Target labels in the dtype of `y`, and which rows have one."""
    raw = _per_row(y_target, "y_target", n_target)
    labelled = ~pd.isna(raw)
    if not labelled.any():
        return None, labelled
    known = cast_labels(raw[labelled], y)
    if classification is False:
        known = as_quantities(known, "y_target")
    values = np.full(n_target, y[0], dtype=np.result_type(known, y))
    values[labelled] = known
    if classification:
        accepted = np.union1d(y, classes) if len(classes) else np.unique(y)
        refuse_new_classes(np.setdiff1d(known, accepted).tolist(), accepted.tolist())
    return values, labelled


def as_quantities(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers as finite floats, of which whole ones are no other kind; what is no number is left for `check_kind`.

    Examples
    --------
    >>> as_quantities(np.array([3, 1]), "y")
    array([3., 1.])
    """
    if values.dtype.kind not in "biuf":
        return values
    values = values.astype(floating_type(values), copy=False)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise InputError(
            f"{infinite} of the {len(values)} labels in {name} are infinite",
            "finite numbers",
            "Drop those rows, or leave them unlabelled in the target; the logarithm of 0 is infinite.",
        )
    return values


def refuse_new_classes(new: Sequence, classes: Sequence) -> None:
    """Raise when the target has classes that the source has not; of many the first are named."""

    def named(values: Sequence) -> str:
        first = ", ".join(map(repr, values[:8]))
        return f"[{first}]" if len(values) <= 8 else f"[{first}, ...] ({len(values)} in all)"

    if not new:
        return
    quantities = any(isinstance(value, float) and not value.is_integer() for value in classes)
    raise InputError(
        f"y_target has the classes {named(new)}, which y has not",
        f"the source classes {named(classes)}",
        "For quantities, which y seems to hold, take a regressor."
        if quantities
        else "Unlabelled rows have a missing label (None or NaN), not -1."
        if tuple(new) == UNLABELLED
        else "No adapter can learn them: label more of their rows and retrain with these, or set the labels of their "
        "rows to missing (None or NaN) to adapt to the others.",
    )


def cast_labels(labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Labels in the dtype of `like`; an error when that changes them (1.5 to an integer)."""
    labels = _plain(labels)
    if like.dtype.kind in "USO" or labels.dtype == like.dtype:
        return labels.astype(str) if like.dtype.kind in "US" else labels
    try:
        cast = labels.astype(like.dtype)
        same = like.dtype.kind == "f" or np.array_equal(cast.astype(float), labels.astype(float))
    except (ValueError, TypeError):
        cast, same = labels, False
    if not same:
        raise InputError(
            f"target labels such as {labels.tolist()[0]!r}",
            f"labels of type {like.dtype}, like those of y",
            "Convert them.",
        )
    return cast
