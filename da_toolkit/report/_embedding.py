"""EmbeddingDisplay: where the rows of both domains lie, before and after an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from shift_detectors import _text as words
from shift_detectors._columns import take_rows
from shift_detectors._display import Display, draw_points
from shift_detectors._errors import InputError
from shift_detectors._plot import draw_centres
from shift_detectors._random import check_random_state
from shift_detectors._results import DomainMap

from .._base import BaseAdapter
from .._rows import as_rows
from .._target import Target
from ..weighting._encoder import NumberEncoder, pool

if TYPE_CHECKING:
    from da_toolkit.selection._result import AdaptationResult

MAX_ROWS = 600  # rows a side
DOT = 11.0  # area of a row of weight 1


@dataclass(frozen=True, eq=False)
class MapPair:
    """Rows of both domains in the plane, before and after an adapter.

    Attributes
    ----------
    before, after : DomainMap
        Up to 600 rows a side, the same ones.
    weights : ndarray or None
        Weights, mean 1, of the drawn source rows: the adapter moves none but weighs them.
    same_axes : bool
        Whether both stand on the same two axes, so that a row that was not moved lies where it lay.
    """

    before: DomainMap
    after: DomainMap
    weights: np.ndarray | None = None
    same_axes: bool = False


def embed(adapter: Any, X_source: Any, X_target: Any, y_source: Any = None, *, random_state: Any = None) -> MapPair:
    """Rows of both domains in front of an adapter and behind it, on two principal components.

    The components are those of the drawn rows of *both* sides, standardised together. Where the adapter moves one side
    within the space and leaves the other where it was, the axes of "before" serve for "after" as well. Otherwise
    "after" has axes of its own.

    Parameters
    ----------
    adapter : fitted adapter, aligner or ratio
        Anything with its own path for each domain (aligners, `FeatureAlignment`, `DeepAdapter`) or with `weights_`
        (ratios, `ImportanceWeighting`).
    X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        Weights are those of the source rows of `fit`: pass the same ones.
    y_source : array-like of shape (n_source,), optional
        Classes whose centres are named.
    random_state : int, Generator, RandomState or None
        Draws the rows when there are more than 600.

    Returns
    -------
    MapPair
    """
    check_is_fitted(adapter)
    adapter = getattr(adapter, "adapter_", adapter)  # of the average with the model as it is
    X_target = X_target.X if isinstance(X_target, Target) else X_target
    X_source, X_target = _rows(X_source, "X_source"), _rows(X_target, "X_target")
    rng = check_random_state(random_state)
    rows = [np.sort(rng.permutation(X.shape[0])[:MAX_ROWS]) for X in (X_source, X_target)]
    raw = take_rows(X_source, rows[0]), take_rows(X_target, rows[1])
    before, after = sides(adapter, raw)
    weights = None
    if after is None:
        weights = getattr(adapter, "weights_", None)
        if weights is None or len(weights) != X_source.shape[0]:
            raise InputError(
                f"{type(adapter).__name__} moves no rows"
                + ("" if weights is None else f", and its {len(weights)} weights are not of these source rows"),
                "a fitted adapter that moves the rows of fit or weighs them",
                "Correcting probabilities leaves the rows where they are: there is nothing to see.",
            )
        weights = np.asarray(weights, float)[rows[0]]
        weights = weights / weights.mean()
    y = None if y_source is None else np.asarray(y_source)[rows[0]]

    encode = NumberEncoder(pool(*before), rng)
    numbers = tuple(encode(side) for side in before)
    plane = _Plane(numbers)
    first = plane.project(numbers, y)
    if after is None:
        return MapPair(first, first, weights, True)
    if _columns(after[0]) == _columns(before[0]):
        moved = tuple(encode(side) for side in after)
        if any(np.allclose(old, new) for old, new in zip(numbers, moved, strict=True)):
            return MapPair(first, plane.project(moved, y), None, True)
    if hasattr(after[0], "columns"):
        encode = NumberEncoder(pool(*after), rng)
        after = tuple(encode(side) for side in after)
    return MapPair(first, _Plane(after).project(after, y))  # the scale of new features says which of them count


def embed_if_any(adapter: Any, X_source: Any, X_target: Any, y_source: Any, random_state: Any) -> MapPair | None:
    """`embed`, None for an adapter that neither moves rows nor weighs them."""
    try:
        return embed(adapter, X_source, X_target, y_source, random_state=random_state)
    except InputError:
        return None


def _rows(X: Any, name: str) -> Any:
    """A table; images and tensors as rows of pixels are made later, by who needs them."""
    return as_rows(X, name) if hasattr(X, "columns") or np.ndim(X) <= 2 else np.asarray(X)


def sides(adapter: Any, raw: tuple) -> tuple[tuple, tuple | None]:
    """The drawn rows where the adapter gets them, and behind it; None where it moves nothing."""
    if hasattr(adapter, "transform_source"):  # an aligner, or a network's features
        transform = getattr(adapter, "transform_target", None) or adapter.transform
        return (_flat(raw[0]), _flat(raw[1])), (_flat(adapter.transform_source(raw[0])), _flat(transform(raw[1])))
    if not isinstance(adapter, BaseAdapter):
        return raw, None
    maps = type(adapter)._map is not BaseAdapter._map
    if maps or adapter.front_ is not None:
        raw = tuple(adapter._check_rows(side) for side in raw)
    if adapter.front_ is not None:
        raw = tuple(adapter.front_.transform(side) for side in raw)
    if not maps:
        return raw, None
    return raw, (adapter._map(raw[0], "source"), adapter._map(raw[1], "target"))


def _flat(X: Any) -> Any:
    return X if hasattr(X, "columns") or np.ndim(X) <= 2 else np.asarray(X).reshape(len(X), -1)


def _columns(X: Any) -> Any:
    return list(X.columns) if hasattr(X, "columns") else X.shape[1]


class _Plane:
    """The first two principal components of the rows of both sides."""

    def __init__(self, sides: tuple[np.ndarray, ...]):
        pooled = np.vstack(sides).astype(float)
        k = min(2, *pooled.shape) if np.ptp(pooled, axis=0).any() else 0
        self.pca = PCA(k, svd_solver="full").fit(pooled) if k else None

    def project(self, sides: tuple[np.ndarray, ...], y: np.ndarray | None) -> DomainMap:
        points, explained = [np.zeros((len(side), 2)) for side in sides], np.zeros(2)
        if self.pca is not None:
            k = self.pca.n_components_
            for plane, side in zip(points, sides, strict=True):
                plane[:, :k] = self.pca.transform(side)
            explained[:k] = self.pca.explained_variance_ratio_
        return DomainMap(points[0], points[1], y, (float(explained[0]), float(explained[1])))


class PlaneDisplay(Display):
    """One side of a `MapPair`.

    Parameters
    ----------
    embedding : MapPair
    after : bool
    """

    def __init__(self, embedding: MapPair, after: bool):
        self.embedding = embedding
        self.after = after
        self.title = EmbeddingDisplay.panels[after]

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 3.2

    @property
    def alt(self) -> str:
        side = self.embedding.after if self.after else self.embedding.before
        spread = np.vstack([side.source, side.target]).std(axis=0)
        centre = np.average(side.source, axis=0, weights=self.embedding.weights if self.after else None)
        apart = np.linalg.norm((centre - side.target.mean(axis=0)) / np.where(spread > 0, spread, 1))
        return (
            f"Rows of source and target on two principal components, {self.title.lower()}: "
            f"the centres lie {apart:.1f} standard deviations apart."
        )

    def _draw(self, ax: Any) -> None:
        found = self.embedding
        side = found.after if self.after else found.before
        weights = found.weights if self.after else None
        draw_points(ax, side.source, side.target, DOT if weights is None else DOT * weights)
        draw_centres(ax, side)
        drawn = np.vstack([side.source, side.target])
        both = (found.before, found.after) if found.same_axes else (side,)
        outside = _frame(ax, np.vstack([p for each in both for p in (each.source, each.target)]), drawn)
        remark = f", {outside} rows lie outside" if outside else ""
        if weights is not None:
            ax.set_xlabel(f"area of a source row: its weight{remark}")
        elif self.after and found.same_axes:
            ax.set_xlabel(f"the same two components{remark}")
        else:
            first, second = side.explained
            ax.set_xlabel(f"two components ({words.share(first + second)} of variance){remark}")


def _frame(ax: Any, points: np.ndarray, drawn: np.ndarray) -> int:
    """Limits for `points` that a few far ones do not stretch; how many of the drawn ones they leave out."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    room = 0.15 * np.where(high > low, high - low, 1)
    low = np.maximum(low - room, points.min(axis=0) - 0.3 * room)
    high = np.minimum(high + room, points.max(axis=0) + 0.3 * room)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    return int(((drawn < low) | (drawn > high)).any(axis=1).sum())


class EmbeddingDisplay(Display):
    """Does the adapter bring the domains together? Rows of both on two principal components, before and after.

    A view, not a test: two samples can look alike in a plane and still differ, and classes can lie on each other's
    places when the clouds agree.

    Parameters
    ----------
    embedding : MapPair

    Attributes
    ----------
    ax_ : array of two Axes
    figure_ : Figure

    Examples
    --------
    >>> from da_toolkit import CORAL
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(200, 3)), rng.normal(size=(150, 3)) * 2 + 3
    >>> aligner = CORAL().fit(X_source, X_target)
    >>> display = EmbeddingDisplay.from_estimator(aligner, X_source, X_target)
    >>> [ax.get_title(loc="left") for ax in display.ax_]
    ['Before', 'After']
    """

    title = "Rows before and after"
    panels = ("Before", "After")

    def __init__(self, embedding: MapPair):
        self.embedding = embedding
        self.sides = PlaneDisplay(embedding, False), PlaneDisplay(embedding, True)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_source: Any,
        X_target: Any,
        *,
        y_source: Any = None,
        random_state: Any = 0,
        ax: Any = None,
    ) -> EmbeddingDisplay:
        """Draw the rows in front of a fitted adapter, aligner or ratio and behind it; see `embed`."""
        return cls(embed(estimator, X_source, X_target, y_source, random_state=random_state)).plot(ax)

    @classmethod
    def from_result(cls, result: AdaptationResult, *, ax: Any = None) -> EmbeddingDisplay:
        """Draw the rows in front of the adapter that `adapt` chose and behind it."""
        if result.embedding is None:
            raise InputError(f"a result without embedding ({result.adapter})", "an adapter that moves or weighs rows")
        return cls(result.embedding).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 4.4, 3.2

    @property
    def alt(self) -> str:
        return " ".join(side.alt for side in self.sides)

    def _draw(self, *axes: Any) -> None:
        for ax, side in zip(axes, self.sides, strict=True):
            side._draw(ax)
