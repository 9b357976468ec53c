"""ReliabilityDisplay: is the model as often right as it says, on the source and on the target?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from shift_detectors import _text as words
from shift_detectors._display import Display, as_percent
from shift_detectors._errors import InputError
from shift_detectors._style import FAINT, SOURCE, TARGET

from .._domains import cast_labels

BINS = 8
Z = 1.959964


class ReliabilityDisplay(Display):
    """Is a confidence of 80 % right in 80 % of the rows? Share of right answers against the model's confidence.

    The confidence is the largest class probability, in bins of equally many rows; lines are 95 % (Wilson) intervals.
    Below the diagonal the model promises too much. A model that keeps its promises on the source need not on the
    target: then estimates from its confidence alone are wrong there, too.

    Parameters
    ----------
    confidence, correct : dict of str to ndarray
        By domain, ``"source"`` and (or) ``"target"``: largest class probability of every row, and whether its class
        was right.

    Attributes
    ----------
    errors : dict of str to float
        Expected calibration error by domain: mean distance to the diagonal, bins weighted by their rows.
    ax_, figure_
        See `plot`.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks. ICML 2017.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> y = X[:, 0] + rng.normal(size=400) > 0
    >>> model = LogisticRegression().fit(X, y)
    >>> display = ReliabilityDisplay.from_estimator(model, X, y, X + [1, 0], rng.random(400) < 0.5)
    >>> display.errors["source"] < 0.1 < display.errors["target"]
    True
    """

    title = "Reliability"

    def __init__(self, confidence: dict[str, np.ndarray], correct: dict[str, np.ndarray]):
        self.confidence = confidence
        self.correct = correct
        self.errors = {}
        for name in confidence:
            x, y, _, rows = self._bins(name)
            self.errors[name] = float(np.abs(x - y) @ rows / rows.sum())
        found = ", ".join(f"{name} {words.share(error)}" for name, error in self.errors.items())
        self.subtitle = f"Mean distance to the line: {found}"

    @classmethod
    def from_estimator(
        cls, estimator: Any, X_source: Any, y_source: Any, X_target: Any = None, y_target: Any = None, *, ax: Any = None
    ) -> ReliabilityDisplay:
        """Draw the reliability of a fitted classifier or adapter.

        Parameters
        ----------
        estimator : fitted classifier with predict_proba
            Source rows of an adapter take the source's path (`predict_proba_source`).
        X_source, y_source : held-out source rows and their labels
            On its own training rows every flexible model looks too modest.
        X_target, y_target : target rows and their labels, optional
            Rows without a label are left out.
        ax : matplotlib Axes, optional
        """
        if not hasattr(estimator, "predict_proba"):
            raise InputError(f"{type(estimator).__name__} has no predict_proba", "a classifier that has one")
        source = getattr(estimator, "predict_proba_source", estimator.predict_proba)
        sides = {"source": (source, X_source, y_source)}
        if X_target is not None:
            sides["target"] = estimator.predict_proba, X_target, y_target
        confidence, correct = {}, {}
        for name, (predict, X, y) in sides.items():
            proba = np.asarray(predict(X))
            labels = np.full(len(proba), None) if y is None else np.asarray(y, object)
            known = ~pd.isna(labels)
            if known.sum() < 2:
                raise InputError(f"y_{name} has {known.sum()} labels", "labelled rows", f"Pass labels, or no X_{name}.")
            right = estimator.classes_[proba[known].argmax(axis=1)] == cast_labels(labels[known], estimator.classes_)
            confidence[name], correct[name] = proba[known].max(axis=1), right
        return cls(confidence, correct).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 3.6

    @property
    def alt(self) -> str:
        return f"Share of right answers against the model's confidence. {self.subtitle}."

    def _bins(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean confidence, share right, Wilson interval and rows of each bin."""
        confidence = self.confidence[name]
        shares = np.linspace(0, 1, max(1, min(BINS, len(confidence) // 5)) + 1)
        code = np.searchsorted(np.unique(np.quantile(confidence, shares[1:-1])), confidence, side="right")
        parts = [np.flatnonzero(code == k) for k in np.unique(code)]  # equal confidences share a bin
        rows = np.array([len(part) for part in parts], float)
        x = np.array([confidence[part].mean() for part in parts])
        y = np.array([self.correct[name][part].mean() for part in parts])
        centre = (y + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
        half = Z * np.sqrt(y * (1 - y) / rows + Z**2 / (4 * rows**2)) / (1 + Z**2 / rows)
        return x, y, np.array([centre - half, centre + half]), rows

    def _draw(self, ax: Any) -> None:
        low = min(0.5, *(self._bins(name)[0].min() for name in self.confidence)) - 0.03
        ax.plot([low, 1], [low, 1], color=FAINT, lw=1.2, zorder=0)
        for name, color in (("source", SOURCE), ("target", TARGET)):
            if name in self.confidence:
                x, y, interval, _ = self._bins(name)
                ax.vlines(x, *interval, color=color, lw=1.4, alpha=0.6)
                face = color if name == "source" else "white"
                ax.plot(x, y, "-", color=color, lw=1.2)
                ax.plot(x, y, "o", ms=6, mfc=face, mec=color, mew=1.4)
        ax.set_xlim(low, 1.02)
        ax.set_ylim(top=1.02)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(as_percent)
        ax.locator_params(nbins=5)
        ax.set_xlabel("confidence of the model")
        ax.set_ylabel("answers that are right")
