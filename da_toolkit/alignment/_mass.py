"""How much every source row counts before domains are aligned: class frequencies, and similarity of the sources.

An aligner makes two samples alike, class frequencies included. Where these differ, source rows have to count as
often as their class occurs in the target, or classes are mixed; and of several sources those that are like the
target should count more. Both are one question: which mixture of parts of the source (its classes, or its domains)
lies nearest to the target? With D the mean Euclidean distance between rows of two parts, columns in units of their
standard deviation, the energy distance of the mixture q to the target t is

    E(q) = 2 sum_k q_k D(k, t) - sum_jk q_j q_k D(j, k) - D(t, t),

zero exactly when the two distributions agree, and convex in q: a quadratic program on the simplex. D(k, k) leaves
out the distance of a row to itself, so that the estimate of E(q) at a given q is unbiased.

References: Szekely, Rizzo: Energy statistics. J. Statistical Planning and Inference 143(8), 2013. Zhang,
Schoelkopf, Muandet, Wang: Domain adaptation under target and conditional shift. ICML 2013. Kawakubo, du Plessis,
Sugiyama: Computationally efficient class-prior estimation under class balance change using energy distance.
IEICE Transactions E99-D(1), 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.special import logit
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.validation import has_fit_parameter

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError

from .._model import fit_weighted, weight_parameter
from .._numeric_columns import NumericColumns
from .._parameters import check_prior, read_prior
from ..label_shift._mlls import MLLS
from ._linear_ot import LinearOT
from ._pseudo_labels import class_probabilities

ROWS = 1000  # rows a side between which distances are computed
FEW = 10  # rows of each part that are among them, if there are that many
NOISE = 2.0  # standard deviations of E(q) that may be noise
EXPLAINED = 0.85  # share of the distance between the domains that class frequencies must explain
FOLDS = 5
MIN_ROWS = 4  # of every class, and of the target, below which frequencies are not estimated
SURE = 1e-3  # log-odds of probabilities nearer to 0 or 1 are not told apart
CAUTION = 4.0  # how strongly weights are held back from sources that are no better than the others


@dataclass(frozen=True)
class Parts:
    """Distances between parts of the source and the target, which comes last.

    Attributes
    ----------
    share : ndarray of shape (k,)
        Mass of each part in the source.
    distance : ndarray of shape (k + 1, k + 1)
        Mean distance between two different rows.
    own : ndarray of shape (k,)
        Distance of a sample of the size of the part to its distribution, in expectation.
    spread : ndarray of shape (k + 1, k + 1)
        Contribution of pairs of rows to the variance of E(q).
    """

    share: np.ndarray
    distance: np.ndarray
    own: np.ndarray
    spread: np.ndarray

    def energy(self, q: np.ndarray) -> float:
        """E(q); estimates may fall below zero."""
        v = np.r_[q, -1.0]
        return float(-v @ self.distance @ v)

    def noise(self, q: np.ndarray) -> float:
        """Standard deviation that E(q) has where the mixture is the target: that of a degenerate U-statistic."""
        v = np.r_[q, 1.0] ** 2
        return float(2 * np.sqrt(2 * v @ self.spread @ v))

    def nearest(self, caution: float = 0.0) -> np.ndarray:
        """The mixture with the smallest E(q) + caution * (what its finite parts add to it), shape (k,)."""
        among, across = self.distance[:-1, :-1], self.distance[:-1, -1]
        return minimise_on_simplex(2 * (caution * np.diag(self.own) - among), -2 * across)


def told_apart(X: np.ndarray, X_target: np.ndarray, mass: np.ndarray, target_mass: np.ndarray) -> bool:
    """Whether the rows of two domains lie otherwise than two samples of one distribution would.

    Also of domains that are nearer to each other than samples are, because each was centred by itself: what they
    differ in is not seen so. And of rows whose mass differs: it was chosen because something does.
    """
    if np.ptp(mass) > 0 or np.ptp(target_mass) > 0:
        return True
    rng, whole = np.random.RandomState(0), np.ones(1)
    parts = measure_parts(X, np.zeros(len(X), dtype=int), X_target, mass, rng)
    return abs(parts.energy(whole)) > NOISE * parts.noise(whole)


def measure_parts(X: np.ndarray, part: np.ndarray, X_target: np.ndarray, mass: np.ndarray, rng: Any) -> Parts:
    """Distances among the parts of the source and the target, on at most about `ROWS` rows a side.

    Parameters
    ----------
    X, X_target : ndarray of shape (n_rows, n_features)
    part : ndarray of int, shape (n_source,)
        Number of the part, 0 to k - 1; two rows or more with mass each.
    mass : ndarray of shape (n_source,)
    rng : RandomState
    """
    share = np.bincount(part, weights=mass) / mass.sum()
    order = rng.permutation(np.flatnonzero(mass > 0))
    rare = [order[part[order] == k][:FEW] for k in range(len(share))]
    rows = np.unique(np.concatenate([order[:ROWS], *rare]))
    X_target = X_target[np.sort(rng.permutation(len(X_target))[:ROWS])]
    pooled = np.vstack([X[rows], X_target])
    deviation = pooled.std(axis=0)
    varies = deviation > 1e-9 * np.abs(pooled).max(axis=0)
    if varies.any():
        distances = euclidean_distances(pooled[:, varies] / deviation[varies])
    else:
        distances = np.zeros((len(pooled), len(pooled)))

    group = np.r_[part[rows], np.full(len(X_target), len(share))]
    member = np.zeros((len(pooled), len(share) + 1))  # column g: the rows of group g by mass, sum 1
    member[np.arange(len(pooled)), group] = np.r_[mass[rows], np.ones(len(X_target))]
    member /= member.sum(axis=0)
    repeated = (member**2).sum(axis=0)  # chance to draw one row twice
    to_group = distances @ member
    between = member.T @ to_group
    # the kernel -distance / 2, centred in every group, is what the noise consists of
    centre = (to_group - 0.5 * between[group])[:, group]
    kernel = np.subtract(distances, centre, out=distances)
    kernel -= centre.T
    np.fill_diagonal(kernel, 0.0)
    spread = (member**2).T @ np.square(kernel, out=kernel) @ member**2 / 4
    within = np.diag(between) / (1 - repeated)
    np.fill_diagonal(between, within)
    return Parts(share, between, (within * repeated)[:-1], spread)


def minimise_on_simplex(H: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The q >= 0 with sum 1 that minimises q'Hq / 2 - g'q; directions of negative curvature are left out."""
    k = len(g)
    centre, project = np.full(k, 1 / k), np.eye(k) - 1 / k
    values, vectors = np.linalg.eigh(project @ H @ project)
    keep = values > 1e-9 * max(values[-1], np.finfo(float).tiny)
    if not keep.any():
        return centre
    root = np.sqrt(values[keep])
    A = (vectors[:, keep] * root).T
    b = vectors[:, keep].T @ (project @ (g - H @ centre)) / root + A @ centre
    heavy = 1e4 * root.max()  # the constraint as a heavy row of the least-squares problem
    q, _ = nnls(np.vstack([A, np.full(k, heavy)]), np.r_[b, heavy], maxiter=100 * k)
    return q / q.sum()


# --- class frequencies -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassPrior:
    """Class frequencies of source and target, as far as they are to be used.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    source, target : ndarray of shape (n_classes,)
        Equal where the frequencies are left as they are.
    explained : float
        Share of the energy distance between the domains that changed class frequencies explain; NaN where that
        was not asked, or where the domains cannot be told apart.
    """

    classes: np.ndarray
    source: np.ndarray
    target: np.ndarray
    explained: float = np.nan

    def ratio(self, y: np.ndarray) -> np.ndarray | None:
        """Target over source frequency of the class of each row; None when all are 1."""
        if np.array_equal(self.source, self.target):
            return None
        return (self.target / self.source)[np.searchsorted(self.classes, y)]


@dataclass(frozen=True)
class Rows:
    """Both domains where they are aligned.

    Attributes
    ----------
    Z, Z_target : array or frame
    y : ndarray of shape (n_source,)
    y_target : ndarray of shape (n_target,) or None
        None where unknown.
    weight, groups : ndarray of shape (n_source,) or None
    """

    Z: Any
    y: np.ndarray
    Z_target: Any
    y_target: np.ndarray | None = None
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None


def choose_prior(class_prior: Any, head: Any, rows: Rows, rng: Any) -> ClassPrior:
    """The class frequencies that source rows are to be counted with.

    Parameters
    ----------
    class_prior : "auto", None, array, dict, Series or estimator
        See `FeatureAlignment`.
    head : classifier
        Unfitted, or frozen.
    rows : Rows
    rng : RandomState

    Returns
    -------
    ClassPrior
    """
    classes, codes = np.unique(rows.y, return_inverse=True)
    mass = np.ones(len(codes)) if rows.weight is None else rows.weight
    source = np.bincount(codes, weights=mass) / mass.sum()
    unchanged = ClassPrior(classes, source, source)
    if class_prior is None:
        return unchanged
    counts = np.bincount(codes[mass > 0], minlength=len(classes))
    if isinstance(class_prior, str):
        if class_prior != "auto":
            raise InputError(f"class_prior={class_prior!r}", '"auto", None, frequencies, or an estimator as MLLS()')
        if min(counts.min(), rows.Z_target.shape[0]) < MIN_ROWS:
            return unchanged
        return _if_it_explains(head, rows, unchanged, codes, mass, rng)
    check_prior(class_prior, "class_prior")
    least = MIN_ROWS if hasattr(class_prior, "fit") else 1
    if counts.min() < least:
        raise InputError(
            f"class {classes[counts.argmin()].item()!r} has {counts.min()} source rows of positive weight",
            f"{least} or more, for class_prior={class_prior!r}",
            "Merge rare classes, or pass class_prior=None.",
        )
    if not hasattr(class_prior, "fit"):
        return replace(unchanged, target=read_prior(class_prior, classes, "class_prior"))
    proba, (proba_target,) = _out_of_fold(head, rows, [rows.Z_target], rng)
    return replace(unchanged, target=_estimate(class_prior, rows, proba, proba_target))


def _if_it_explains(
    head: Any, rows: Rows, unchanged: ClassPrior, codes: np.ndarray, mass: np.ndarray, rng: Any
) -> ClassPrior:
    """The target's class frequencies where label shift is believed, the source's elsewhere.

    Label shift is believed when some frequencies q bring the source (nearly) onto the target, E(q) <= .15 E(p), in
    two views. That of the rows sees what moved in any direction, and where even the nearest mixture is too far away
    no model is fitted. But with many columns what the classes do is lost in the noise of the others. So the model's
    out-of-fold log-odds are asked, too, and there q has to do as well as its rival: a linear movement of the rows.
    """
    p, columns = unchanged.source, NumericColumns(rows.Z)
    X, X_target = columns.extract(rows.Z), columns.extract(rows.Z_target)
    parts = measure_parts(X, codes, X_target, mass, rng)
    nearest = parts.nearest()
    gap, left = parts.energy(p), parts.energy(nearest)
    if left > (1 - EXPLAINED) * gap + NOISE * parts.noise(nearest):
        return replace(unchanged, explained=1 - left / gap)

    moved_back = LinearOT().fit(X_target, X, target_weight=mass).transform_source(X_target)
    tables = [rows.Z_target, columns.replace(rows.Z_target, moved_back)]
    proba, answers = _out_of_fold(head, rows, tables, rng)
    parts, moved = (measure_parts(_log_odds(proba), codes, _log_odds(answer), mass, rng) for answer in answers)
    gap = parts.energy(p)
    if gap <= NOISE * parts.noise(p):
        return unchanged
    found = _estimate(MLLS(shrink=True), rows, proba, answers[0])
    left = parts.energy(found)
    believed = left <= (1 - EXPLAINED) * gap and left <= moved.energy(p) + parts.noise(found)
    return replace(unchanged, target=found if believed else p, explained=1 - left / gap)


def _log_odds(proba: np.ndarray) -> np.ndarray:
    columns = proba[:, 1:] if proba.shape[1] == 2 else proba
    return logit(np.clip(columns, SURE, 1 - SURE))


def _estimate(prior: Any, rows: Rows, proba: np.ndarray, proba_target: np.ndarray) -> np.ndarray:
    """Target frequencies by an estimator such as `MLLS`."""
    known: dict[str, Any] = {} if rows.y_target is None else {"y_target": rows.y_target}
    if rows.weight is not None:
        known["weight_source"] = rows.weight
    if rows.groups is not None and has_fit_parameter(prior, "groups_source"):
        known["groups_source"] = rows.groups
    return clone(prior).fit(proba, rows.y, proba_target, classes=np.unique(rows.y), **known).prior_


def _out_of_fold(head: Any, rows: Rows, tables: list, rng: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Class probabilities of the source rows and of tables of target rows, by models that did not see the row.

    Every target row is answered by the model of one fold, too: a calibration holds for models of as many rows.
    """
    y, n_target = rows.y, rows.Z_target.shape[0]
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    weight = rows.weight if weight_parameter(head) is not None else None  # a model that takes none need not resample
    # what no model answers, as few groups may cause, is left at the class frequencies
    proba, *answers = (np.tile(counts / len(y), (n, 1)) for n in (len(y), *[n_target] * len(tables)))
    folds = _folds(codes, counts, rows.groups, rng)
    part = rng.permutation(n_target) % max(len(folds), 1)
    for fold, (train, test) in enumerate(folds):
        if len(np.unique(y[train])) < 2:
            continue
        model = fit_weighted(head, take_rows(rows.Z, train), y[train], None if weight is None else weight[train], rng)
        proba[test] = class_probabilities(model, take_rows(rows.Z, test), classes)
        asked = np.flatnonzero(part == fold)
        for table, answer in zip(tables, answers, strict=True):
            if len(asked):
                answer[asked] = class_probabilities(model, take_rows(table, asked), classes)
    return proba, answers


def _folds(codes: np.ndarray, counts: np.ndarray, groups: np.ndarray | None, rng: Any) -> list:
    """(train, test) of up to `FOLDS` stratified folds, none where there is a single group."""
    n_folds = min(FOLDS, counts.min() // 2, len(codes) if groups is None else len(np.unique(groups)))
    if n_folds < 2:
        return []
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(int(n_folds), shuffle=True, random_state=rng.randint(2**31 - 1))
    return list(splitter.split(np.zeros(len(codes)), codes, groups))


# --- several sources ---------------------------------------------------------------------------------------


def source_similarity(
    X: np.ndarray, source_domain: np.ndarray, X_target: np.ndarray, mass: np.ndarray | None, rng: Any
) -> tuple[dict[Any, float], np.ndarray]:
    r"""How much each of several sources counts for a target: the mixture of sources that lies nearest to it.

    **Formula.** With the energy distance of the module's head, :math:`\min_{v \ge 0, \sum v = 1} E(v) + c \sum_k
    v_k^2 e_k`, where :math:`e_k` is the distance that a sample of the size of source k has from its own
    distribution: sources that are equally near count by their size, and a large source is not given up for a
    small one by chance.

    **Assumption.** A source whose rows are like the target's has labels like the target's. **Fails** where a
    source is labelled otherwise than the target, which rows cannot show.

    Parameters
    ----------
    X, X_target : ndarray of shape (n_rows, n_features)
    source_domain : ndarray of shape (n_source,)
        Which source each row is from.
    mass : ndarray of shape (n_source,), optional
    rng : RandomState

    Returns
    -------
    similarity : dict
        Domain to weight; the weights sum to 1.
    factor : ndarray of shape (n_source,)
        For every row: the weight of its domain over the domain's share of the mass.

    Examples
    --------
    >>> rng = np.random.RandomState(0)
    >>> X, X_target = rng.normal(size=(300, 2)) + np.repeat([0, 0, 4], 100)[:, None], rng.normal(size=(200, 2))
    >>> found, _ = source_similarity(X, np.repeat(["a", "b", "far"], 100), X_target, None, rng)
    >>> found["far"] < 0.05 < 0.3 < found["a"]
    True
    """
    names, codes = np.unique(source_domain, return_inverse=True)
    mass = np.ones(len(codes)) if mass is None else mass
    counts = np.bincount(codes[mass > 0], minlength=len(names))
    if counts.min() < 2:
        raise InputError(
            f"source domain {names[counts.argmin()].item()!r} has {counts.min()} row(s) of positive weight",
            "two rows or more of every source",
            "Merge it with another one, or drop it.",
        )
    parts = measure_parts(X, codes, X_target, mass, rng)
    found = parts.nearest(CAUTION)
    return dict(zip(names.tolist(), found.tolist(), strict=True)), (found / parts.share)[codes]
