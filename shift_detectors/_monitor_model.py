"""What a model says of the rows, what their labels are, and how the two disagree, as numbers that can be watched."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._errors import InputError
from ._labels import read_labels
from ._models import answers_of, task_of
from ._monitor_views import settled

SHOWN = 8  # classes and outputs that are watched one by one


class Model:
    """Predictions of the user's fitted model; without one, of a ridge regression on the scores of the frame.

    Parameters
    ----------
    estimator : fitted scikit-learn model or None
    classes : ndarray or None
        Of its predictions; None for quantities.
    weights : ndarray of shape (n_views + 1, n_outputs)
        Of the ridge regression; without columns when there is nothing to predict.
    """

    def __init__(self, estimator: Any, classes: Any, weights: np.ndarray):
        self.estimator, self.classes, self.weights = estimator, classes, weights

    @classmethod
    def of(cls, estimator: Any, classes: Any, y: Any, linear: np.ndarray) -> Model:
        """The user's model, or a ridge regression of the labels, where there are any."""
        if estimator is not None:
            if not hasattr(estimator, "predict"):
                raise InputError(
                    f"estimator is a {type(estimator).__name__} without predict", "a fitted scikit-learn estimator"
                )
            classes = np.asarray(getattr(estimator, "classes_", [])) if task_of(estimator) == "classification" else None
            return cls(estimator, classes, np.zeros((linear.shape[1] + 1, 0)))
        if y is None:
            return cls(None, None, np.zeros((linear.shape[1] + 1, 0)))
        aims = y[:, None].astype(float) if classes is None else (y[:, None] == classes).astype(float)
        design = np.column_stack([np.ones(len(linear)), linear])
        penalty = np.diag(np.r_[0.0, np.full(linear.shape[1], 1.0 + linear.shape[1])])
        return cls(None, classes, np.linalg.solve(design.T @ design + penalty, design.T @ aims))

    def predict(self, X: Any, linear: np.ndarray) -> np.ndarray:
        """Probability of every class, or one value, per row: shape (n, n_outputs)."""
        return settled(self._computed(X, linear))

    def _computed(self, X: Any, linear: np.ndarray) -> np.ndarray:
        n = len(linear)
        if self.estimator is None:
            return np.column_stack([np.ones(n), linear]) @ self.weights
        proba = self.classes is not None and hasattr(self.estimator, "predict_proba")
        try:
            outputs = np.asarray(self.estimator.predict_proba(X)) if proba else answers_of(self.estimator, X)
        except InputError:
            raise
        except Exception as error:  # the user's model, the user's rows: the message belongs to them
            raise InputError(
                f"the estimator cannot predict these rows ({type(error).__name__}: {error})",
                "rows with the columns that it was fitted on",
                "A model with preparation steps is passed as one Pipeline.",
            ) from error
        if self.classes is not None and not proba:
            return (outputs[:, None] == self.classes).astype(float)
        if outputs.dtype.kind not in "biuf" or outputs.shape[:1] != (n,):
            raise InputError(
                f"the estimator gave {outputs.dtype} of shape {outputs.shape} for {n} rows",
                "numbers, one row per row",
                "Pass the model that is in use, fitted, with the columns it takes.",
            )
        return outputs.reshape(n, -1).astype(float)

    @property
    def watched(self) -> list[int]:
        """The outputs that are watched: one of two classes, at most eight of more."""
        n = self.weights.shape[1] if self.estimator is None else 1 if self.classes is None else len(self.classes)
        return [1] if self.classes is not None and n == 2 else list(range(min(n, SHOWN)))

    @property
    def names(self) -> list[str]:
        """What the watched outputs are called."""
        return ["" if self.classes is None else repr(str(self.classes[k])) for k in self.watched]

    def errors(self, y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """One minus the probability of the true class (1 for a class the model does not know), or the residual.

        Of all rows, and of those of every watched class (NaN elsewhere): a rare class is lost among all.
        """
        if self.classes is None:
            return y.astype(float)[:, None] - predictions
        right = y[:, None] == self.classes
        error = 1 - np.where(right, predictions, 0.0).sum(axis=1, keepdims=True)
        return np.column_stack([error, np.where(right[:, self.split], error, np.nan)])

    @property
    def split(self) -> list[int]:
        """The classes whose rows are watched on their own."""
        return [] if self.classes is None else list(range(min(len(self.classes), SHOWN)))


def checked_labels(y_reference: Any, y_batch: Any, n_reference: int, n_batch: int, task: str) -> Any:
    """What `read_labels` makes of them; its errors use the names that the arguments have here."""
    try:
        return read_labels(y_reference, y_batch, n_reference, n_batch, task)
    except InputError as error:
        text = str(error)
        for name in "Xy":
            text = text.replace(f"{name}_source", f"{name}_reference").replace(f"{name}_target", f"{name}_batch")
        raise InputError(text) from None


class Labels:
    """Labels as numbers: an indicator per frequent class, or the quantity itself.

    Parameters
    ----------
    classes : ndarray or None
        All classes of the reference; None for quantities.
    shown : ndarray of int
        The classes that are watched.
    """

    def __init__(self, classes: Any, shown: np.ndarray):
        self.classes, self.shown = classes, shown

    @classmethod
    def of(cls, y: np.ndarray, classes: Any) -> Labels:
        """From the labels of the frame, which choose the classes that are watched among those of the reference."""
        if classes is None:
            return cls(None, np.zeros(0, int))
        counts = (y[:, None] == classes).sum(axis=0)
        seen = np.flatnonzero(counts)
        frequent = seen[np.argsort(-counts[seen], kind="stable")]
        return cls(classes, seen[1:] if len(seen) == 2 else np.sort(frequent[:SHOWN]))

    @property
    def names(self) -> list[str]:
        """What the numbers are called."""
        return [""] if self.classes is None else [repr(str(self.classes[k])) for k in self.shown]

    def values(self, y: np.ndarray) -> np.ndarray:
        """Numbers of labelled rows, shape (n, n_names)."""
        if self.classes is None:
            return y[:, None].astype(float)
        return (y[:, None] == self.classes[self.shown]).astype(float)

    def read(self, y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The labels of a batch in the reference's type, and which rows have one."""
        example = np.array([0.0, 1.0]) if self.classes is None else self.classes
        task = "regression" if self.classes is None else "classification"
        labels = checked_labels(example, y, len(example), n, task)
        target = np.zeros(n) if labels.y_target is None else labels.y_target
        return target, labels.labelled
