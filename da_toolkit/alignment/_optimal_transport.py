"""OptimalTransport: move every source row to where its mass goes when one sample is carried onto the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from sklearn.base import is_regressor
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.multiclass import type_of_target

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._warnings import ignored, warn

from .._parameters import FINITE, check_counts, check_numbers, is_number
from ._base import BaseAligner, check_shrinkage
from ._mass import minimise_on_simplex
from ._plan import ITERATIONS, NO_MASS, at_mass, coordinates, draw, plan_of, potentials

METHODS = ("entropic", "exact", "class-regularised", "unbalanced", "partial")
PLAN_CELLS = 10**6  # larger plans are not kept
SCALE_ROWS = 500  # rows a side whose median distance is the unit of cost
PARTS = 8  # clusters of the source that may be more or less frequent in the target
OUTER = 10  # majorisations of the class penalty
BLOCK = 1024  # new rows at a time
NEIGHBORS = 5  # between whose displacements new rows are interpolated
SLACK = 0.1  # part of a class's frequency that it keeps for unlabelled rows when labelled ones ask for all of it


class OptimalTransport(BaseAligner):
    r"""Carry the source sample onto the target sample with the least total squared distance.

    **Question.** Where would each source row lie in the target, if domains differ by an unknown, possibly
    curved, map that moves the rows little?

    **Formula.** With :math:`C_{ij} = \|x_i - z_j\|^2`, masses :math:`a` of the source and :math:`b` of the
    target,

    .. math:: \gamma = \arg\min_\gamma \langle \gamma, C \rangle
              + \varepsilon\, \mathrm{KL}(\gamma \,|\, a b^\top) + \Omega(\gamma), \qquad
              T(x_i) = \sum_j \gamma_{ij} z_j \Big/ \sum_j \gamma_{ij},

    over plans with marginals :math:`a` and :math:`b`, and :math:`x_i` moves to
    :math:`x_i + (1 - \lambda)(T(x_i) - x_i)`. All costs are relative to the median squared distance within a
    domain: units do not change what a parameter means.

    - ``"entropic"``: :math:`\Omega = 0`. The plan is blurred and so is :math:`T`; the blur :math:`S` of the
      target by transport onto itself is undone by `sharpening` steps :math:`z \leftarrow z + T(x) - S(z)`.
    - ``"exact"``: :math:`\varepsilon = 0`, the network simplex.
    - ``"class-regularised"``: :math:`\Omega = \eta \sum_j b_j \sum_c (\gamma_{cj} / b_j)^{1/2}` with
      :math:`\gamma_{cj}` what row j gets from class c: a target row is to be served by one class.
    - ``"unbalanced"``: marginals may differ, at the price of their KL divergence times `marginal_penalty`.
    - ``"partial"``: exact, but only `transported_mass` of the mass has to go.

    **Translations.** Full transport does not depend on where the domains lie. "unbalanced" leaves behind what lies far
    away, so its costs are taken after a translation of the source to the target's mean. But the mean moves under
    label shift and covariate shift, too, and there mass has to stay behind. So it is asked whether the classes, or 8
    clusters, of the source in other frequencies, translated by what these leave of the difference of the means, come
    nearer to the target (energy distance) than the whole source does; if so, that is the translation. "partial" takes
    the domains as they lie: the farthest rows stay behind.

    **How much.** Two samples of one distribution differ, too, and plain transport carries that noise into the
    rows. :math:`\lambda` is noise / signal: the squared energy distance that two samples of one distribution
    would have on average, over the one observed (James and Stein, for mean embeddings).

    **New rows.** Entropic and unbalanced: by the formula, the weights of :math:`z_j` at any :math:`x` follow
    from the dual potential; training rows get exactly their own image. Otherwise, and wherever target labels
    are known, the image depends on more than x: displacements are interpolated between the 5 nearest training
    rows (weights 1 / distance, exact at a training row; duplicates share their mean). So are those of rows
    with zero mass and, under "partial", of rows that sent less than half of theirs.

    **Many rows.** Above `max_rows` a side the plan is made between that many rows, drawn by mass; all others
    are new rows. Labelled target rows are drawn first, up to half of them.

    **Known target labels** forbid transport from the other classes (the price is finite, so that the problem
    stays solvable; class masses of the other side are raised where they cannot serve the labelled rows).
    Ignored in regression.

    **Assumption.** p(y | T(x)) is the target's, and the true map is close to the one of least effort.

    **Fails** under label shift: full transport must carry the surplus of one class into another. Pass the
    estimated class ratio as `source_weight`; "unbalanced" and "partial" only soften the loss. Fails for
    strong rotations, and when classes move past each other. In many columns blurred images lie closer together
    than the target's rows, and a model that depends on distances may fail on these (an RBF machine fell to chance on
    text): use a linear model, or "exact", there.

    Parameters
    ----------
    method : {"entropic", "exact", "class-regularised", "unbalanced", "partial"}
    regularization : float
        :math:`\varepsilon` in units of the median squared distance within a domain.
    class_regularization : float
        :math:`\eta` in the same units; "class-regularised" only.
    marginal_penalty : float
        Price of created or destroyed mass in the same units; "unbalanced" only.
    transported_mass : float in (0, 1)
        "partial" only.
    sharpening : int
        Steps that undo the blur; 0: the plain barycentre. Not used by "exact" and "partial", which do not blur.
    shrinkage : "auto" or float in [0, 1]
        :math:`\lambda`. 0: the published methods.
    standardize : "auto" or bool
        Whether to measure distance in units of the pooled standard deviations; "auto" does when the largest exceeds
        ten times their lower quartile. In a common unit, as of pixels, the raw columns are better: what hardly varies
        would be blown up.
    max_rows : int
        Largest number of rows a side in the plan.
    random_state : int, Generator, RandomState or None
        Draws the rows of the plan above `max_rows`; otherwise not used.

    Attributes
    ----------
    plan_ : ndarray of shape (n_source, n_target) or None
        Kept for at most 10^6 cells and when no rows were drawn.
    cost_ : float
        Sum of plan times squared distance, after the translation, in the units of `standardize`.
    regularization_ : float
        :math:`\varepsilon` in the units of `cost_`; 0 for "exact" and "partial".
    shrinkage_ : float
        The :math:`\lambda` used.
    transported_mass_ : float
        Sum of the plan.

    References
    ----------
    Courty, Flamary, Tuia, Rakotomamonjy: Optimal transport for domain adaptation. TPAMI 39(9), 2017.
    Chizat, Peyre, Schmitzer, Vialard: Scaling algorithms for unbalanced optimal transport problems.
    Mathematics of Computation 87, 2018.
    Pooladian, Niles-Weed: Entropic estimation of optimal transport maps. arXiv:2109.12004, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + [4, 0]
    >>> OptimalTransport().fit(X_source, X_target).transform_source([[0.0, 1.0]]).round(0)
    array([[4., 1.]])
    """

    plan_: Any
    shrinkage_: float

    def __init__(
        self,
        method: str = "entropic",
        regularization: float = 0.3,
        class_regularization: float = 0.3,
        marginal_penalty: float = 0.3,
        transported_mass: float = 0.8,
        sharpening: int = 1,
        shrinkage: str | float = "auto",
        standardize: str | bool = "auto",
        max_rows: int = 3000,
        random_state: Any = None,
    ):
        self.method = method
        self.regularization = regularization
        self.class_regularization = class_regularization
        self.marginal_penalty = marginal_penalty
        self.transported_mass = transported_mass
        self.sharpening = sharpening
        self.shrinkage = shrinkage
        self.standardize = standardize
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        self._check_parameters()
        self._shape = len(X_source), len(X_target)
        classes, classes_target = self._classes(y_source, y_target, estimator)
        source_mass, target_mass = _servable(source_mass, target_mass, classes, classes_target)
        frame = coordinates(X_source, X_target, source_mass, target_mass, self.standardize)
        self._origin, self._unit, self._jump = frame.origin_source, frame.unit, frame.jump

        rng = check_random_state(self.random_state)
        rows, a = draw(source_mass, classes, self.max_rows, rng)
        rows_target, b = draw(target_mass, classes_target, self.max_rows, rng)
        X = (X_source[rows] - self._origin) / self._unit
        Z = (X_target[rows_target] - frame.origin_target) / self._unit
        classes, classes_target = classes[rows], classes_target[rows_target]

        noise = (source_mass**2).sum() + (target_mass**2).sum()
        self.shrinkage_ = _noise_share(X, Z, a, b, noise) if self.shrinkage == "auto" else float(self.shrinkage)
        self._translation = np.zeros(X.shape[1])
        if self.method == "unbalanced":
            self._translation = _translation(X, Z, a, b, classes)
            X = X + self._translation
        cost = euclidean_distances(X, Z, squared=True)
        blurs = self.method not in ("exact", "partial")
        scale = _scale(X, Z, a, b, cost) if blurs else float(cost.max()) or 1.0  # of no account without blur
        self.regularization_ = self.regularization * scale if blurs else 0.0
        self._support = Z

        priced = cost / scale
        known = (classes[:, None] >= 0) & (classes_target >= 0) & (classes[:, None] != classes_target)
        if known.any():
            # dearer than any detour, yet finite: an impossible demand is met at the least violation
            priced[known] += 2 * priced.max() + 30 * self.regularization
        if blurs:
            plan, potential = self._blurred_plan(priced, a, b, classes)
            self._weights = np.log(b) + (potential - (Z**2).sum(axis=1) / scale) / self.regularization
            if self.sharpening:
                within = euclidean_distances(Z, squared=True) / scale
                _, own, converged = potentials(within, b, b, self.regularization)
                self._warn_unless(converged)
                self._blur = np.log(b) + (own - (Z**2).sum(axis=1) / scale) / self.regularization
        else:
            plan = self._simplex_plan(priced, a, b)
        self.cost_, self.transported_mass_ = float((plan * cost).sum()), float(plan.sum())
        self.plan_ = None
        if max(self._shape) <= self.max_rows and np.prod(self._shape) <= PLAN_CELLS:
            self.plan_ = np.zeros(self._shape)
            self.plan_[np.ix_(rows, rows_target)] = plan

        self._neighbors = None
        if self.method not in ("entropic", "unbalanced") or known.any():
            sent = plan.sum(axis=1)
            least = min(0.5, (sent / a).max()) if self.method == "partial" else np.finfo(float).tiny
            moving = sent / a >= least
            image = plan[moving] @ Z / sent[moving, None]
            if blurs:
                image = self._sharpened(image)
            self._neighbors = _interpolator(X[moving], image - X[moving], a[moving])

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        out = np.empty_like(X)
        for start in range(0, len(X), BLOCK):
            block = slice(start, start + BLOCK)
            rows = (X[block] - self._origin) / self._unit + self._translation
            if self._neighbors is not None:
                moved = self._neighbors.predict(rows)
            else:
                moved = self._sharpened(self._barycentre(rows, self._weights)) - rows
            moved = (moved + self._translation) * self._unit
            out[block] = X[block] + self._jump + (1 - self.shrinkage_) * moved
        return out

    def _barycentre(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Mean of the target rows under the plan that the potential in `weights` gives, at any rows."""
        share = (2 / self.regularization_) * (rows @ self._support.T)
        share += weights
        share -= share.max(axis=1, keepdims=True)
        np.exp(share, out=share)
        return (share @ self._support) / share.sum(axis=1, keepdims=True)

    def _sharpened(self, image: np.ndarray) -> np.ndarray:
        sharp = image
        for _ in range(self.sharpening):
            sharp = sharp + image - self._barycentre(sharp, self._blur)
        return sharp

    def _blurred_plan(self, priced, a, b, classes) -> tuple[np.ndarray, np.ndarray]:
        """Plan and target potential of the three methods with entropy; costs in units of the scale."""
        eps = self.regularization
        penalty = self.marginal_penalty if self.method == "unbalanced" else np.inf
        f, g, converged = potentials(priced, a, b, eps, (penalty, penalty))
        plan = plan_of(priced, a, b, f, g, eps)
        if self.method == "class-regularised":
            # the penalty is concave in the class shares: its tangent is a price, lower where a class already serves
            for _ in range(OUTER):
                tangent = np.full(priced.shape, 0.5 * self.class_regularization)
                for label in np.unique(classes[classes >= 0]):
                    share = plan[classes == label].sum(axis=0) / b
                    tangent[classes == label] /= np.sqrt(share + 1e-3)
                tangent += priced
                f, g, converged = potentials(tangent, a, b, eps, start=g)
                plan = plan_of(tangent, a, b, f, g, eps)
        if not plan.sum() > NO_MASS:
            raise InputError(
                f"marginal_penalty={self.marginal_penalty:g} lets no mass be transported",
                "a penalty at which something moves",
                f"Raise it: the mean cost between the domains is {priced.mean():.3g} in the same units.",
            )
        self._warn_unless(converged)
        return plan, g

    def _simplex_plan(self, priced, a, b) -> np.ndarray:
        import ot

        partial = self.method == "partial"
        if partial:  # a free place for the mass that stays, on either side; none may go from one to the other
            left = 1 - self.transported_mass
            priced = np.pad(priced, ((0, 1), (0, 1)))
            priced[-1, -1] = 2 * priced.max() + 1
            a, b = np.append(a, left), np.append(b, left)
        with ignored():  # said below, with a remedy
            plan, log = ot.emd(a / a.sum(), b / b.sum(), priced, numItermax=10**7, log=True)
        if log["warning"] is not None:
            warn(f"The transport plan is not optimal ({log['warning']}). Lower max_rows.")
        return plan[:-1, :-1] * a.sum() if partial else plan

    def _warn_unless(self, converged: bool) -> None:
        if not converged:
            warn(
                f"The transport plan did not converge in {ITERATIONS} iterations and is approximate. "
                f"Raise regularization (now {self.regularization})."
            )

    def _classes(self, y_source, y_target, estimator) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the classes of all source and target rows; -1 where the class is not known."""
        n_source, n_target = self._shape
        if y_source is not None and y_source.shape != (n_source,):
            raise InputError(f"y_source has shape {y_source.shape}", f"one label per row, shape ({n_source},)")
        if y_target is not None and y_target.shape != (n_target,):
            raise InputError(f"y_target has shape {y_target.shape}", f"one label per row, shape ({n_target},)")
        labels_source = np.full(n_source, None) if y_source is None else y_source.astype(object)
        seen = labels_source[~pd.isna(labels_source)].tolist()
        regression = estimator is not None and is_regressor(estimator)
        if not seen or regression or type_of_target(seen).startswith("continuous"):
            if self.method == "class-regularised":
                raise InputError(
                    f'OptimalTransport(method="class-regularised") was given {"values" if seen else "no labels"}'
                    f" {'that are not classes' if seen else 'of the source'}",
                    "the classes of the source rows",
                    'For regression use method="entropic".',
                )
            return np.full(n_source, -1), np.full(n_target, -1)
        labels = np.full(n_target, None, dtype=object) if y_target is None else y_target
        codes, _ = pd.factorize(np.concatenate([labels_source, labels]))
        return codes[:n_source], codes[n_source:]

    def _check_parameters(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method={self.method!r}", f"one of {METHODS}")
        strengths = ("regularization", "class_regularization", "marginal_penalty")
        check_numbers(self, dict.fromkeys(strengths, FINITE))
        if not (is_number(self.transported_mass) and 0 < self.transported_mass < 1):
            raise InputError(f"transported_mass={self.transported_mass!r}", "a number between 0 and 1")
        check_counts(self, {"sharpening": 0, "max_rows": 2})
        check_shrinkage(self.shrinkage)


def _translation(X, Z, a, b, classes) -> np.ndarray:
    """What brings the source to the target's mean, under the masses that then leave the smallest energy distance.

    These are the given ones, or those of the mixture of classes, or of clusters, that lies nearest to the target.
    """
    n_clusters = min(PARTS, len(np.unique(X, axis=0)))
    clusters = KMeans(n_clusters, n_init=1, random_state=0).fit(X, sample_weight=a).labels_
    options = [a, *(_nearest_mixture(X, Z, a, b, part) for part in (classes, clusters))]
    moves = [b @ Z - own @ X for own in options]
    left = [_excess(X + move, Z, own, b)[0] for move, own in zip(moves, options, strict=True)]
    return moves[int(np.argmin(left))]


def _nearest_mixture(X, Z, a, b, part) -> np.ndarray:
    """Masses of the source rows, in each part in proportion to `a`, with the least energy distance to the target."""
    member = (part == np.unique(part)[:, None]) * a
    member /= member.sum(axis=1, keepdims=True)
    among = member @ euclidean_distances(X) @ member.T
    among[np.diag_indices_from(among)] /= np.maximum(1 - (member**2).sum(axis=1), np.finfo(float).tiny)
    return minimise_on_simplex(-2 * among, -2 * (member @ euclidean_distances(X, Z) @ b)) @ member


def _scale(X, Z, a, b, cost) -> float:
    """Median squared distance within a domain, the mean of both."""
    medians = []
    for rows, mass in ((X, a), (Z, b)):
        some = rows[at_mass(mass, SCALE_ROWS, 0.5)]
        distances = pdist(some, "sqeuclidean")
        distances = distances[distances > 0]  # a heavy row is there more than once
        if distances.size:
            medians.append(np.median(distances))
    return float(np.mean(medians)) if medians else float(cost.mean()) or 1.0


def _noise_share(X, Z, a, b, noise) -> float:
    """Energy distance expected between two samples of one distribution over that observed, at most 1.

    `noise` is the sum of squared masses of *all* rows; where X and Z are a part of them, the distance between
    the distributions is estimated on the part.
    """
    excess, typical = _excess(X, Z, a, b)
    return float(noise * typical / (noise * typical + excess)) if excess > 0 else 1.0


def _excess(X, Z, a, b) -> tuple[float, float]:
    """Energy distance beyond that of two samples of one distribution, and the mean distance within a domain."""
    within_s, within_t = a @ euclidean_distances(X) @ a, b @ euclidean_distances(Z) @ b
    concentration_s, concentration_t = (a**2).sum(), (b**2).sum()
    # a class of one row may have all the mass
    apart_s, apart_t = (max(1 - own, np.finfo(float).tiny) for own in (concentration_s, concentration_t))
    typical = (within_s / apart_s + within_t / apart_t) / 2
    observed = 2 * a @ euclidean_distances(X, Z) @ b - within_s - within_t
    return observed - (concentration_s + concentration_t) * typical, typical


def _servable(source_mass, target_mass, classes, classes_target) -> tuple[np.ndarray, np.ndarray]:
    """Masses for which known labels can be obeyed: each class of the fully labelled side covers the labelled
    mass of the other side, at the expense of the classes with a surplus; labels that nobody can serve lose theirs.
    """
    if (classes >= 0).all():
        return _covering(source_mass, classes, target_mass, classes_target)
    if (classes_target >= 0).all():
        target_mass, source_mass = _covering(target_mass, classes_target, source_mass, classes)
    return source_mass, target_mass


def _covering(supply, classes, demand, wanted) -> tuple[np.ndarray, np.ndarray]:
    """Supply by class raised to what the other side's labelled rows demand; both sum to 1."""
    known = wanted >= 0
    if not known.any():
        return supply, demand
    n_classes = max(classes.max(), wanted.max()) + 1
    offered = np.bincount(classes, supply, n_classes)
    demand = np.where(known & (offered[wanted] == 0), 0.0, demand)
    if (demand > 0).sum() < 2:
        raise InputError(
            "Of the known labels of one domain, fewer than two rows have a class of the other",
            "y_source and y_target with classes in common",
            "Check how both were encoded.",
        )
    demand = demand / demand.sum()
    asked = np.bincount(wanted[known], demand[known], n_classes)
    unlabelled = 1 - asked.sum()
    # a class with nothing left for unlabelled rows would sit on the edge of what is possible, and never converge
    surplus = np.maximum(offered - asked, SLACK * unlabelled * offered)
    served = asked + unlabelled * surplus / (surplus.sum() or 1.0)
    factor = np.divide(served, offered, out=np.zeros(n_classes), where=offered > 0)
    supply = supply * factor[classes]
    return supply / supply.sum(), demand


def _interpolator(rows, moved, mass) -> KNeighborsRegressor:
    """Displacements of the nearest rows, weighted by 1 / distance; equal rows share their mean."""
    unique, where = np.unique(rows, axis=0, return_inverse=True)
    where = where.ravel()
    total = np.bincount(where, mass)
    shared = np.zeros_like(unique)
    np.add.at(shared, where, mass[:, None] * moved)
    return KNeighborsRegressor(min(NEIGHBORS, len(unique)), weights="distance").fit(unique, shared / total[:, None])
