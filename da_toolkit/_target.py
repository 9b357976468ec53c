"""The target domain as one object, and what is in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from shift_detectors._errors import InputError


class Target:
    """The target domain as one object that scikit-learn passes on whole.

    ``GridSearchCV(adapter, grid).fit(X, y, X_target=Xt)`` would slice ``Xt`` together with ``X`` when both
    have the same number of rows. ``X_target=Target(Xt)`` is never sliced: it has no length. Adapters, ratios,
    aligners, scorers, `adapt` and `cross_validate` accept it for ``X_target``; tests and `diagnose` take the rows.

    Parameters
    ----------
    X : array, DataFrame or sparse matrix of shape (n_target, n_features)
        For a torch module whatever its adapter takes, such as images or a data set.
    y : array-like of shape (n_target,), optional
        Target labels; a missing value means "unlabelled".

    Examples
    --------
    >>> import numpy as np
    >>> Target(np.zeros((3, 2)))
    Target(3 rows, 2 columns, no labels)
    """

    def __init__(self, X: Any, y: Any = None):
        self.X = X
        self.y = y

    def __repr__(self) -> str:
        if isinstance(self.X, list) or hasattr(self.X, "shape"):
            n, *row = np.shape(self.X)
            rows = f"{n} rows, {row[0]} columns" if len(row) == 1 else f"{n} rows of shape {tuple(row)}"
        else:
            rows = type(self.X).__name__  # a data set, of which numpy would read every row
        return f"Target({rows}, {'no labels' if self.y is None else 'labels'})"


def unpack_target(X_target: Any, y_target: Any) -> tuple[Any, Any]:
    """Target rows and labels, taken out of a `Target`; what is none stays as it is."""
    if not isinstance(X_target, Target):
        return X_target, y_target
    if y_target is not None and X_target.y is not None:
        raise InputError("target labels both in Target(X, y) and in y_target", "one of them", "Leave y_target out.")
    return X_target.X, X_target.y if y_target is None else y_target
