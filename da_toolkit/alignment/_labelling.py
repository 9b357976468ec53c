"""Both domains and what is known of their labels, and a model fitted on labels that may be divided among classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of

from .._domains import Domains
from .._model import fit_weighted, weight_parameter
from .._numeric_columns import NumericColumns
from ..weighting._encoder import pool
from ._base import as_matrix
from ._mass import Rows, choose_prior, measure_parts, source_similarity
from ._pseudo_labels import class_probabilities

FAINT = 1e-3  # least weight of a source row: keeps every class known
MINOR = 0.02  # parts of a label below this are left out of the fit


@dataclass(frozen=True)
class Labelling:
    """Both domains and their labels as rows of "values": class indicators (k columns) or numbers (k = 1).

    Attributes
    ----------
    Z, Z_target : array or frame
        What the model is fitted on.
    X, X_target : ndarray of shape (n_rows, n_features)
        What is compared: the numeric columns.
    y : ndarray of shape (n_source,)
    classes : ndarray of shape (k,) or None
        None in regression.
    values : ndarray of shape (n_source, k)
    mass : ndarray of shape (n_source,)
        Of the source rows, sum 1; target class frequencies included.
    known : ndarray of bool, shape (n_target,)
    known_values : ndarray of shape (n_target, k)
        Zero where unknown.
    share : float
        See `source_share`.
    """

    Z: Any
    Z_target: Any
    X: np.ndarray
    X_target: np.ndarray
    y: np.ndarray
    classes: np.ndarray | None
    values: np.ndarray
    mass: np.ndarray
    known: np.ndarray
    known_values: np.ndarray
    share: float

    @property
    def class_prior(self) -> np.ndarray | None:
        """Mass of each class."""
        return None if self.classes is None else self.mass @ self.values

    @property
    def spread(self) -> float:
        """Mean squared difference of the values of two random source rows: the unit of the loss."""
        return float(2 * (self.mass @ (self.values - self.mass @ self.values) ** 2).sum()) or 1.0

    def fit(self, head: Any, labels: np.ndarray, rng: Any, share: float | None = None):
        """A clone of the model, fitted on target rows under `labels` and on the source rows.

        Target rows weigh 1 - (the task's share), those of known label 1.

        Parameters
        ----------
        head : estimator
        labels : ndarray of shape (n_target, k)
            Of a classifier: parts of classes; a row enters once for every class of more than 2 %, or under the
            largest alone when the model takes no weights.
        rng : RandomState
        share : float, optional
            Mean weight of the source rows; that of the task by default, a thousandth at least.
        """
        source_weight = len(self.mass) * max(self.share if share is None else share, FAINT) * self.mass
        weight = np.where(self.known, 1.0, 1 - self.share)
        if self.classes is None:
            row = np.flatnonzero(weight)
            y, weight = labels[row, 0], weight[row]
        else:
            if weight_parameter(head) is None:  # drawing rows by weight would draw labels at random
                labels = labels.sum(axis=1, keepdims=True) * np.eye(len(self.classes))[labels.argmax(axis=1)]
            row, column = np.nonzero((labels > MINOR) & (weight > 0)[:, None])
            y, weight = self.classes[column], labels[row, column] * weight[row]
        source = np.flatnonzero(source_weight)
        Z = pool(take_rows(self.Z_target, row), take_rows(self.Z, source))
        y, weight = np.concatenate([y, self.y[source]]), np.concatenate([weight, source_weight[source]])
        return fit_weighted(head, Z, y, weight, rng)

    def answers(self, model: Any) -> np.ndarray:
        """What the model says about each target row, shape (n_target, k): values, or probabilities of classes."""
        if self.classes is None:
            return answers_of(model, self.Z_target)[:, None]
        return class_probabilities(model, self.Z_target, self.classes)


def read_labelling(head: Any, Z: Any, Z_target: Any, domains: Domains, class_prior: Any, rng: Any) -> Labelling:
    """Numeric columns, values, and how much each source row counts."""
    columns = NumericColumns(Z)
    X, X_target = as_matrix(columns.extract(Z), "X"), as_matrix(columns.extract(Z_target), "X_target")
    n, m = len(X), len(X_target)
    if min(n, m) < 2:
        raise InputError(f"{n} source and {m} target row(s)", "at least 2 of each", "Pass more rows.")
    classes, part, values = None, np.zeros(n, int), domains.y[:, None]
    if is_classifier(head):
        classes, part = np.unique(domains.y, return_inverse=True)
        values = np.eye(len(classes))[part]
    elif not (class_prior is None or (isinstance(class_prior, str) and class_prior == "auto")):
        raise InputError("class_prior with a regressor", '"auto" or None', "Use relaxation.")

    labels, known_values = None, np.zeros((m, values.shape[1]))
    if domains.y_target is not None:
        labels = domains.y_target.astype(object)
        labels[~domains.labelled] = None
        seen = domains.y_target[domains.labelled]
        known_values[domains.labelled] = seen[:, None] if classes is None else seen[:, None] == classes

    mass = np.ones(n) if domains.sample_weight is None else domains.sample_weight
    if domains.source_domain is not None:
        mass = mass * source_similarity(X, domains.source_domain, X_target, mass, rng)[1]
    if classes is not None:
        rows = Rows(Z, domains.y, Z_target, labels, mass, domains.groups)
        ratio = choose_prior(class_prior, head, rows, rng).ratio(domains.y)
        mass = mass if ratio is None else mass * ratio
    mass = mass / mass.sum()
    share = source_share(X, part, X_target, mass, rng)
    values = values.astype(float)
    return Labelling(Z, Z_target, X, X_target, domains.y, classes, values, mass, domains.labelled, known_values, share)


def source_share(X: np.ndarray, part: np.ndarray, X_target: np.ndarray, mass: np.ndarray, rng: Any) -> float:
    """Energy distance of the target to the nearest mixture of the classes: expected by chance over observed, at most 1.

    Parameters
    ----------
    X, X_target : ndarray of shape (n_rows, n_features)
    part : ndarray of int, shape (n_source,)
        Number of the class.
    mass : ndarray of shape (n_source,)
    rng : RandomState
    """
    _, part = np.unique(np.where(mass > 0, part, part[mass > 0][0]), return_inverse=True)
    if np.bincount(part[mass > 0]).min() < 2:
        part = np.zeros(len(X), int)  # a class of one row has no distance to itself
    parts = measure_parts(X, part, X_target, mass, rng)
    nearest = parts.nearest()
    observed = parts.energy(nearest)
    chance = nearest**2 @ parts.own + parts.distance[-1, -1] / len(X_target)
    return float(min(1.0, chance / observed)) if observed > 0 else 1.0
