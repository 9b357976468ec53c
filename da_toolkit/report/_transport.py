"""TransportPlanDisplay: which target rows the source rows are carried to."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.decomposition import PCA

from shift_detectors import _text as words
from shift_detectors._display import Display, draw_points
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._style import INK

from .._target import Target
from ._embedding import sides

MAX_ROWS = 600  # rows a side that are drawn
MAX_LINES = 80  # source rows whose mass is followed
LEAST = 0.05  # share of a row's mass that is worth a line


class TransportPlanDisplay(Display):
    """Who is carried where? Rows of both samples, with lines from source rows to the target rows that get their mass.

    A line is as dark as the share of the row's mass that goes along it, shares below 5 % are left out. Many lines that
    cross, or that lead from one class into another: the cheapest plan is not the true one.

    Parameters
    ----------
    plan : ndarray of shape (n_source, n_target)
    source, target : ndarray of shape (n_rows, 2)
        Where the rows lie in the plane.
    explained : float
        Share of variance of the two axes.
    random_state : int, Generator, RandomState or None
        Draws the rows and lines where there are many.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from da_toolkit import OptimalTransport
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(60, 2)), rng.normal(size=(50, 2)) + [5, 0]
    >>> aligner = OptimalTransport("exact").fit(X_source, X_target)
    >>> TransportPlanDisplay.from_estimator(aligner, X_source, X_target).plan.shape
    (60, 50)
    """

    title = "Transport plan"
    domains: ClassVar[bool] = True

    def __init__(
        self, plan: np.ndarray, source: np.ndarray, target: np.ndarray, explained: float, random_state: Any = 0
    ):
        self.plan = plan
        self.source = source
        self.target = target
        self.explained = explained
        self.random_state = random_state

    @classmethod
    def from_estimator(
        cls, estimator: Any, X_source: Any, X_target: Any, *, random_state: Any = 0, ax: Any = None
    ) -> TransportPlanDisplay:
        """Draw the plan of a fitted `OptimalTransport`, alone or in a `FeatureAlignment`.

        Parameters
        ----------
        estimator : fitted OptimalTransport or FeatureAlignment
        X_source, X_target : the rows of fit
        random_state : int, Generator, RandomState or None
        ax : matplotlib Axes, optional
        """
        X_target = X_target.X if isinstance(X_target, Target) else X_target
        aligner = estimator
        if hasattr(estimator, "aligner_"):
            aligner = estimator.aligner_
            (X_source, X_target), _ = sides(estimator, (X_source, X_target))
            X_source, X_target = (estimator._columns.extract(estimator._reduce(X)) for X in (X_source, X_target))
        plan = getattr(aligner, "plan_", None)
        if plan is None:
            raise InputError(
                f"{type(aligner).__name__} holds no plan",
                "a fitted OptimalTransport with at most 10^6 cells in its plan",
                "Draw EmbeddingDisplay, or fit it on fewer rows.",
            )
        source, target = np.asarray(X_source, float), np.asarray(X_target, float)
        if getattr(estimator, "direction", "") == "target_to_source":
            plan = plan.T
        if plan.shape != (len(source), len(target)):
            raise InputError(f"{len(source)} and {len(target)} rows", f"the {plan.shape} rows of fit", "Pass these.")
        pooled = np.vstack([source, target])
        spread = pooled.std(axis=0)
        pooled = (pooled - pooled.mean(axis=0)) / np.where(spread > 0, spread, 1)
        points, explained = np.zeros((len(pooled), 2)), 0.0
        k = min(2, pooled.shape[1])
        if np.ptp(pooled, axis=0).any():
            pca = PCA(k, svd_solver="full")
            points[:, :k], explained = pca.fit_transform(pooled), float(pca.explained_variance_ratio_.sum())
        return cls(plan, points[: len(source)], points[len(source) :], explained, random_state).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 5.2, 3.8

    @property
    def alt(self) -> str:
        largest = self.plan.max(axis=1) / np.maximum(self.plan.sum(axis=1), np.finfo(float).tiny)
        return (
            f"Transport plan between {len(self.source):,} source and {len(self.target):,} target rows; the median row "
            f"sends {words.share(float(np.median(largest)))} of its mass to one target row."
        )

    def _draw(self, ax: Any) -> None:
        from matplotlib.collections import LineCollection

        rng = check_random_state(self.random_state)
        rows = [np.sort(rng.permutation(len(side))[:MAX_ROWS]) for side in (self.source, self.target)]
        mass = self.plan.sum(axis=1)
        sending = np.flatnonzero(mass > 0)
        lines, shares = [], []
        for i in rng.permutation(sending)[:MAX_LINES]:
            share = self.plan[i] / mass[i]
            for j in np.flatnonzero(share >= min(LEAST, share.max())):
                lines.append((self.source[i], self.target[j]))
                shares.append(share[j])
        alpha = 0.06 + 0.4 * np.array(shares)
        colors = [(*_rgb(INK), a) for a in alpha]
        ax.add_collection(LineCollection(lines, colors=colors, linewidths=0.8, zorder=0, rasterized=True))
        draw_points(ax, self.source[rows[0]], self.target[rows[1]])
        ax.set_xlabel(f"two components ({words.share(self.explained)} of variance)")


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
