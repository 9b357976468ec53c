"""One domain pair: two labelled samples and everything that is known about the shift between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shift_detectors._errors import InputError

KINDS = ("none", "covariate", "label", "conditional", "concept", "mixed", "support")
TASKS = ("classification", "regression")


@dataclass(frozen=True, eq=False, repr=False)
class DomainPair:
    """A source and a target sample whose shift is known.

    Attributes
    ----------
    X_source, X_target : ndarray or DataFrame of shape (n_rows, n_features)
    y_source : ndarray of shape (n_source,)
    y_target : ndarray of shape (n_target,)
        The *true* target labels. They are for the reader and for benchmarks: an adapter must not see them.
        `seen` is what an adapter may see.
    kind : str
        One of "none", "covariate", "label", "conditional", "concept", "mixed", "support".
    task : str
        "classification" or "regression".
    name : str
        Short identifier.
    description : str
        One or two sentences: what differs and how it was made.
    true_weights : ndarray of shape (n_source,) or None
        The true density ratio p_t(x, y) / p_s(x, y) at the source rows, of expectation 1 over the source:
        p_t(x) / p_s(x) under covariate shift, p_t(y) / p_s(y) under label shift. None where it is unknown
        or does not exist.
    true_prior : ndarray of shape (n_classes,) or None
        The true target class probabilities in the order of ``np.unique(y_source)``, where they are known.
    feature_names : tuple of str

    Examples
    --------
    >>> from da_toolkit.datasets import make_label_shift
    >>> pair = make_label_shift(n_source=200, n_target=100, random_state=0)
    >>> pair
    DomainPair('label_shift', kind='label', task='classification', n_source=200, n_target=100, n_features=10)
    >>> X_source, y_source, X_target = pair.seen
    """

    X_source: Any
    y_source: np.ndarray
    X_target: Any
    y_target: np.ndarray
    kind: str
    task: str
    name: str
    description: str
    true_weights: np.ndarray | None = None
    true_prior: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(f"kind={self.kind!r}", f"one of {', '.join(KINDS)}", "Name the kind of shift.")
        if self.task not in TASKS:
            raise InputError(f"task={self.task!r}", " or ".join(TASKS), "Name the task.")
        for side in ("source", "target"):
            rows, labels = getattr(self, f"X_{side}").shape[0], len(getattr(self, f"y_{side}"))
            if rows != labels:
                got = f"X_{side} has {rows} rows, y_{side} has {labels}"
                raise InputError(got, "one label per row", "Pass matching arrays.")
        if self.true_weights is not None and len(self.true_weights) != self.n_source:
            got = f"{len(self.true_weights)} true weights for {self.n_source} source rows"
            raise InputError(got, "one weight per source row", "Pass matching arrays.")
        classes = np.unique(self.y_source)
        if self.true_prior is not None and len(self.true_prior) != len(classes):
            got = f"{len(classes)} classes in the source, {len(self.true_prior)} in the true prior"
            raise InputError(got, "source rows of every class", "Use more source rows.")

    @property
    def seen(self) -> tuple[Any, np.ndarray, Any]:
        """What an adapter may see: ``(X_source, y_source, X_target)``."""
        return self.X_source, self.y_source, self.X_target

    @property
    def n_source(self) -> int:
        """Source rows."""
        return len(self.y_source)

    @property
    def n_target(self) -> int:
        """Target rows."""
        return len(self.y_target)

    @property
    def effective_sample_size(self) -> float | None:
        """(sum w)^2 / sum w^2 of the true weights, in rows; None where they are unknown."""
        w = self.true_weights
        return None if w is None else float(w.sum() ** 2 / (w @ w))

    def summary(self) -> str:
        """The pair in a few lines, for a person."""
        lines = [
            f"{self.name}: {'no' if self.kind == 'none' else self.kind} shift, {self.task}",
            self.description,
            f"source: {self.n_source} rows, {_describe(self.y_source, self.task)}",
            f"target: {self.n_target} rows, {_describe(self.y_target, self.task)}",
        ]
        size = self.effective_sample_size
        if size is not None:
            lines.append(f"true weights: effective sample size {size:.0f} of {self.n_source}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"DomainPair({self.name!r}, kind={self.kind!r}, task={self.task!r}, n_source={self.n_source}, "
            f"n_target={self.n_target}, n_features={self.X_source.shape[1]})"
        )


def _describe(y: np.ndarray, task: str) -> str:
    if task == "regression":
        return f"y mean {np.mean(y):.3g}, sd {np.std(y):.3g}"
    classes, counts = np.unique(y, return_counts=True)
    return "classes " + ", ".join(f"{c}: {n / len(y):.0%}" for c, n in zip(classes, counts, strict=True))
