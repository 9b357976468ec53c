"""LabelCurveDisplay: what do a few, and a few more, target labels bring?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone, is_classifier

from shift_detectors import _text as words
from shift_detectors._columns import take_rows
from shift_detectors._display import Display, as_number
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._style import OTHERS, SOURCE, TARGET

from .._rows import as_rows

MARKERS = "osD^vPX"
COLORS = (TARGET, SOURCE, *OTHERS)


class LabelCurveDisplay(Display):
    """How good are the adapters with m target labels? Score on target rows that none of them saw, against m.

    Mean over random draws of the labelled rows; the band is one standard error of the draws. All adapters get the same
    draws and are scored on the same rows.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of labels.
    scores : dict of str to ndarray of shape (n_sizes, n_draws)
        By name.
    metric : str

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : The same over rows of one domain.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from da_toolkit import PriorCentered, datasets
    >>> pair = datasets.make_concept_shift(n_source=200, n_target=300, random_state=0)
    >>> adapter = PriorCentered(LogisticRegression())
    >>> display = LabelCurveDisplay.from_estimator(
    ...     adapter, pair.X_source, pair.y_source, pair.X_target, pair.y_target, sizes=(10, 40), n_draws=2
    ... )
    >>> display.scores["PriorCentered"].shape
    (2, 2)
    """

    title = "Score against target labels"
    domains: ClassVar[bool] = False

    def __init__(self, sizes: Sequence[int], scores: dict[str, np.ndarray], metric: str):
        self.sizes = np.asarray(sizes)
        self.scores = scores
        self.metric = metric

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_source: Any,
        y_source: Any,
        X_target: Any,
        y_target: Any,
        *,
        sizes: Sequence[int] = (10, 20, 50, 100),
        n_draws: int = 5,
        random_state: Any = 0,
        ax: Any = None,
    ) -> LabelCurveDisplay:
        """Fit and score one or more adapters with growing numbers of target labels, and draw that.

        Parameters
        ----------
        estimator : adapter, or dict of str to adapter
            Unfitted; cloned. Its `score` (accuracy or R2) is drawn.
        X_source, y_source : source rows and labels
        X_target, y_target : target rows, all labelled
            Of each draw a third, or what `sizes` leaves if that is less, is kept for scoring; the others are target
            rows of `fit`, of which as many as the size says show their label.
        sizes : sequence of int
        n_draws : int
        random_state : int, Generator, RandomState or None
        ax : matplotlib Axes, optional
        """
        estimators = estimator if isinstance(estimator, dict) else {type(estimator).__name__: estimator}
        X_target, y_target = as_rows(X_target, "X_target"), np.asarray(y_target)
        n = X_target.shape[0]
        sizes = sorted(sizes)
        if not sizes or sizes[0] < 1 or sizes[-1] >= n - 1:
            raise InputError(f"sizes={tuple(sizes)}", f"numbers of labels from 1 to {n - 2}, fewer than target rows")
        rng = check_random_state(random_state)
        held = min(n // 3, n - sizes[-1])
        scores = {name: np.empty((len(sizes), n_draws)) for name in estimators}
        for draw in range(n_draws):
            order = rng.permutation(n)
            seen, test = order[held:], order[:held]
            rows, X_test = take_rows(X_target, seen), take_rows(X_target, test)
            for k, size in enumerate(sizes):
                labels = np.array([*y_target[seen[:size]], *[None] * (len(seen) - size)], object)
                for name, each in estimators.items():
                    fitted = clone(each).fit(X_source, y_source, rows, labels)
                    scores[name][k, draw] = fitted.score(X_test, y_target[test])
        metric = "accuracy" if is_classifier(next(iter(estimators.values()))) else "R2"
        return cls(sizes, scores, metric).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.8, 3.0

    @property
    def alt(self) -> str:
        found = [
            f"{words.clean(name)} from {words.number(values[0].mean())} with {self.sizes[0]} labels to "
            f"{words.number(values[-1].mean())} with {self.sizes[-1]}"
            for name, values in self.scores.items()
        ]
        return f"Mean {self.metric} on the target: {'; '.join(found)}."

    def _draw(self, ax: Any) -> None:
        for k, (name, values) in enumerate(self.scores.items()):
            mean, color = values.mean(axis=1), COLORS[k % len(COLORS)]
            if values.shape[1] > 1:
                error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
                ax.fill_between(self.sizes, mean - error, mean + error, color=color, alpha=0.15, lw=0)
            ax.plot(
                self.sizes,
                mean,
                color=color,
                lw=1.6,
                marker=MARKERS[k % len(MARKERS)],
                ms=5,
                label=words.squeeze(name, 30),
            )
        ax.set_xscale("log")
        ax.set_xticks(self.sizes)
        ax.set_xticks([], minor=True)
        ax.xaxis.set_major_formatter(as_number)
        ax.locator_params(axis="y", nbins=5)
        ax.set_xlabel("labelled target rows")
        ax.set_ylabel(f"{self.metric} on the target")
        ax.legend(loc="best")
