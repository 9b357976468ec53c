"""What a fitted model is asked before it is judged: its task, and which columns its answers depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier, is_regressor

from ._columns import read_rows, row_count, take_rows
from ._errors import InputError

READ = 200  # rows on which is tried which columns a model reads


def task_of(estimator: Any) -> str:
    """What a model is for, as far as it says so: one that says nothing and has classes classifies."""
    if hasattr(estimator, "__sklearn_tags__") and (is_classifier(estimator) or is_regressor(estimator)):
        return "classification" if is_classifier(estimator) else "regression"
    classes = getattr(estimator, "classes_", None)
    return "auto" if classes is None or not len(classes) else "classification"


def answers_of(model: Any, X: Any, method: str = "predict") -> np.ndarray:
    """What a method of a fitted model gives for the rows; of predictions one for every row, shape (n_rows,)."""
    given = getattr(model, method)(X)
    return as_answers(given, row_count(X), model) if method in ("predict", "predict_source") else given


def as_answers(given: Any, n_rows: int, model: Any) -> np.ndarray:
    """Predictions of a model in one dimension; some models give them as a table of one column.

    CatBoost does so with three classes or more, and scikit-learn's regressors that were fitted on such a table.

    Examples
    --------
    >>> as_answers([["a"], ["b"]], 2, None).tolist()
    ['a', 'b']
    """
    answers = np.asarray(given)
    if answers.ndim == 2 and answers.shape[1] == 1:
        answers = answers[:, 0]
    if answers.shape != (n_rows,):
        several = answers.ndim == 2 and len(answers) == n_rows
        raise InputError(
            f"{type(model).__name__}.predict gave shape {np.shape(given)} for {n_rows} rows",
            f"one answer for every row, shape ({n_rows},)",
            "Of several outputs one is treated at a time: pass a model that was fitted on one column of y."
            if several
            else "Let predict answer every row, and nothing else.",
        )
    return answers


def predictions(estimator: Any, X: Any, name: str) -> np.ndarray:
    """Of a model the caller gave, which may not be fitted, or fitted on other columns; shape (n_rows,)."""
    try:
        given = estimator.predict(X)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"the estimator cannot predict {name} ({what})", "a model fitted on rows with the same columns"
        ) from error
    return as_answers(given, row_count(X), estimator)


def refuse_other_answers(estimator: Any, answers: np.ndarray, y: np.ndarray) -> None:
    """Raise where labels are classes and a model that names no classes of its own answers something else.

    A regressor that does not say that it is one would be right about never.
    """
    if len(getattr(estimator, "classes_", ())):
        return
    classes = set(y.tolist())
    other = next((answer for answer in answers.tolist() if answer not in classes), None)
    if other is not None:
        said = f"{other:.4g}" if isinstance(other, float) else repr(other)
        some = ", ".join(map(repr, sorted(classes)[:8])) + ", ..." * (len(classes) > 8)
        raise InputError(
            f"{type(estimator).__name__}.predict gave {said}, and y_source is read as the classes {some}",
            "a model that answers one of the classes, or names its own in classes_",
            'Pass a classifier of these classes, or task="regression" if y is a quantity.',
        )


def reads_columns(
    estimator: Any, X_source: Any, X_target: Any, names: Sequence[str], random_state: int = 0
) -> tuple[bool, float]:
    """Whether a fitted model's answers on the target depend on these columns, and in how many rows they do.

    Its answers are compared with those to the same rows that carry the values of random source rows in the columns.

    Parameters
    ----------
    estimator : fitted estimator
    X_source, X_target : rows as the model takes them
        Of sparse rows, texts and images it is taken for granted.
    names : sequence of str
        As reports name columns, ``"x0"``, ``"x1"``, ... in a table without names.
    random_state : int

    Returns
    -------
    reads : bool
        Whether any probability, or prediction, changes.
    share : float
        Share of the target rows whose prediction changes.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> model = LogisticRegression().fit(X * [1, 0], X[:, 0] > 0)
    >>> [reads_columns(model, X, X + 9, [name]) for name in ("x0", "x1")]
    [(True, 0.63), (False, 0.0)]
    """
    try:
        target, donors = read_rows(X_target, "X_target"), read_rows(X_source, "X_source")
    except InputError:  # texts or images, whose columns are those of a representation
        return True, 1.0
    if issparse(target.data) or issparse(donors.data):
        return True, 1.0
    rng = np.random.default_rng(random_state)
    rows = rng.permutation(target.data.shape[0])[:READ]
    X_source, X_target = (X if hasattr(X, "columns") else np.asarray(X) for X in (X_source, X_target))
    as_it_is, swapped = take_rows(X_target, rows), take_rows(X_target, rows)
    values = take_rows(X_source, rng.integers(donors.data.shape[0], size=len(rows)))
    for name in names:
        if name in target.names and name in donors.names:
            swapped = _with_column(swapped, target.names.index(name), values, donors.names.index(name))
    changed = answers_of(estimator, as_it_is) != answers_of(estimator, swapped)
    reads = bool(changed.any())
    if not reads and hasattr(estimator, "predict_proba"):
        reads = not np.array_equal(estimator.predict_proba(as_it_is), estimator.predict_proba(swapped))
    return reads, float(changed.mean())


def _with_column(X: Any, j: int, values: Any, k: int) -> Any:
    """A copy of rows (array, pandas or polars frame) whose column j is column k of other rows of the same kind."""
    if hasattr(X, "get_columns"):
        return X.clone().replace_column(j, values.to_series(k).alias(X.columns[j]))
    X = X.copy()
    if hasattr(X, "iloc"):
        X.isetitem(j, values.iloc[:, k].to_numpy())
    else:
        X[:, j] = values[:, k]
    return X
