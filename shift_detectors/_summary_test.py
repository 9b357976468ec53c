"""The tests of p(x) and p(y) on two summaries: the statistics of the rows, the null of their bins.

Let a bin b of 256 + 256 have n_b rows and the sums S_b of some features, and let mu be the pooled mean. Then

    r_b = (S_b - n_b mu) / sqrt(n_b),    u_b = + sqrt(n_b) / n_t in the target,  - sqrt(n_b) / n_s in the source,

give the difference of the means of *all* rows as sum_b u_b r_b. Under the null the r_b have equal means and
covariances, whatever n_b: exchanging the entries of u among the bins gives the null distribution. The exchanged u is
made orthogonal to sqrt(n_b), as u is, and gets its length. So every statistic that is a function of such
differences (distribution functions, frequencies, means, products, random waves) has its value and its null from
one matrix product, and they share one exchange, as in `_portfolio`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._distance_tests import moment_rows
from ._domain_summary import KERNELS, UNIT, WAVES, Column, DomainSummary
from ._errors import InputError
from ._feature_test import _categorical_effect, _numeric_effect
from ._permutation import harmonic, pvalue, step_down, tail_logp
from ._portfolio import _family, largest_effect
from ._results import Effect, FeatureShift, ShiftTestResult

FEW = 20  # bins with rows, over both sides, below which exchanging them says nothing


class SummaryEvidence:
    """What `diagnose` takes from two summaries in place of the rows.

    Parameters
    ----------
    source, target : DomainSummary
        Of one plan.
    n_permutations : int
    random_state : int

    Attributes
    ----------
    n_source, n_target, n_labelled : int
        Rows, and labelled target rows, that were counted.
    separators : tuple of str
    counts_labels : bool
        Whether there are more labelled target rows than the row sample holds.
    """

    def __init__(self, source: DomainSummary, target: DomainSummary, n_permutations: int = 499, random_state: int = 0):
        if source.plan is not target.plan and source.plan.fingerprint != target.plan.fingerprint:
            raise InputError("two summaries of different plans", "summaries made with one and the same SummaryPlan")
        self.source, self.target, self.plan = source, target, source.plan
        self.n_source, self.n_target, self.n_labelled = source.n_rows, target.n_rows, target.n_labelled
        self.separators = self.plan.separators
        self.counts_labels = target.sample is None or target.n_labelled > target.sample.size
        rows = np.r_[source.bin_rows, target.bin_rows]
        if (rows > 0).sum() < FEW:
            raise InputError(
                f"only {(rows > 0).sum()} of {len(rows)} bins hold rows",
                f"rows, or groups, in at least {FEW} bins",
                "More groups are needed; fewer rows than some thousands are diagnosed in memory.",
            )
        rng = np.random.default_rng(random_state)
        self.exchange = Exchange(len(source.bin_rows), n_permutations, rng, paired=self.plan.groups is not None)

    def joint(self, names: tuple[str, ...]) -> ShiftTestResult:
        """`JointTest` on the named features."""
        chosen = [j for j, column in enumerate(self.plan.columns) if column.name in set(names)]
        logp = (
            np.vstack([self._feature_logp(j) for j in chosen]) if chosen else np.zeros((0, self.exchange.n_assignments))
        )
        families = [tail_logp(-logp.min(axis=0, keepdims=True))] if len(logp) else []
        families += self._joint_families(chosen)
        row = harmonic(np.vstack(families)) if families else np.zeros(self.exchange.n_assignments)
        features = self._shifts(chosen, step_down(logp)) if chosen else ()
        bins = [int((summary.bin_rows > 0).sum()) for summary in (self.source, self.target)]
        note = f"all rows counted, exchanged in {bins[0]} + {bins[1]} bins"
        return ShiftTestResult(
            "JointTest",
            "p(x)",
            float(row[0]),
            pvalue(row),
            largest_effect(features),
            self.n_source,
            self.n_target,
            features,
            notes=(note,),
        )

    def labels(self) -> ShiftTestResult:
        """`LabelTest` on all labelled rows."""
        j = len(self.plan.columns)
        row = -self._feature_logp(j, missing=False)[0]
        (shift,) = self._shifts([j], np.ones(1), missing=False)
        n_source, n_target = self.source.n_labelled, self.target.n_labelled
        return ShiftTestResult(
            "LabelTest",
            "p(y)",
            float(row[0]),
            pvalue(row),
            shift.effect,
            n_source,
            n_target,
            notes=(shift.direction, "all labelled rows counted"),
        )

    def about(self) -> tuple[str, ...]:
        """A note on what was counted and what was kept."""
        kept = [len(summary.sample) for summary in (self.source, self.target) if summary.sample is not None]
        labels = " and p(y)" if self.n_labelled and self.counts_labels else ""
        return (
            f"all {self.n_source:,} source and {self.n_target:,} target rows were counted for the tests of "
            f"p(x){labels} and the effects of single features; what needs rows (domain classifier, other tests with "
            f"labels, overlap, impact, pictures) used {' and '.join(f'{n:,}' for n in kept)} of them, drawn at random",
        )

    def widest_cells(self) -> dict[str, float]:
        """Largest share of the pooled rows that lies between two edges, by numeric column."""
        shares = {}
        for column, *sides in zip(self.plan.columns, self.source.counts, self.target.counts, strict=False):
            if column.kind != "categorical":
                counts = sides[0][1:] + sides[1][1:]
                open_ends = column.wide | (np.arange(len(counts)) == len(counts) - 1)
                shares[column.name] = float(counts[open_ends].max(initial=0) / max(1, counts.sum()))
        return shares

    # ------------------------------------------------------------------ statistics

    def _stacked(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(self.source, name), getattr(self.target, name)]).astype(float)

    def _gaps(self, sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Difference of means per unit of `mass`, target minus source, under every exchange: (n_features, B + 1)."""
        return residuals(sums, mass).T @ self.exchange.weights(mass)

    def _feature_logp(self, j: int, missing: bool = True) -> np.ndarray:
        """Log tail probability of one feature under every exchange, shape (1, B + 1)."""
        column = self.plan.counted[j]
        cells = np.concatenate([self.source.bin_counts[j], self.target.bin_counts[j]]).astype(float)
        present = cells[:, 1:].sum(axis=1)
        rows = []
        if missing and 0 < present.sum() < cells.sum():
            rows.append(np.abs(self._gaps(cells[:, :1], cells.sum(axis=1))))
        if column.kind == "categorical":
            kept = cells if missing else cells[:, 1:]
            kept = kept[:, kept.any(axis=0)]
            gap = self._gaps(kept, kept.sum(axis=1))
            rows.append((gap**2 / kept.sum(axis=0)[:, None]).sum(axis=0, keepdims=True))
        elif min(part.sum() for part in np.split(present, 2)) > 0:
            kept = cells[:, 1:][:, cells[:, 1:].any(axis=0)]
            gap = np.cumsum(self._gaps(kept, present), axis=0)[:-1]
            if len(gap):
                level = np.cumsum(kept.sum(axis=0))[:-1] / present.sum()
                weights = np.diff(np.r_[0, level]) / (level * (1 - level))
                rows += [np.abs(gap).max(axis=0, keepdims=True), (weights @ gap**2)[None, :]]
        if not rows:
            return np.zeros((1, self.exchange.n_assignments))
        smallest = tail_logp(np.vstack(rows)).min(axis=0, keepdims=True)
        return tail_logp(-smallest) if len(rows) > 1 else smallest

    def _joint_families(self, chosen: list[int]) -> list[np.ndarray]:
        """Means, second moments and random waves, one row of log tail probabilities each."""
        widths = [column.n_design for column in self.plan.columns]
        d = np.flatnonzero(np.repeat(np.isin(np.arange(len(widths)), chosen), widths))
        if not len(d):
            return []
        mass = self._stacked("bin_rows")
        n = mass.sum()
        weights = self.exchange.weights(mass)

        total = self._stacked("bin_design").sum(axis=0)[d] / n
        covariance = (self.source.products + self.target.products)[np.ix_(d, d)] / n - np.outer(total, total)
        values, vectors = np.linalg.eigh(covariance)
        ridged = np.maximum(values, 0) + len(d) / n * values.mean()
        whitened = vectors / np.sqrt(np.maximum(ridged, 1e-12 * UNIT**2))
        means = (residuals(self._stacked("bin_design")[:, d], mass) @ whitened).T @ weights
        families = [tail_logp((means**2).sum(axis=0, keepdims=True))]

        products = residuals(self._stacked("bin_products")[:, np.isin(self.plan.pairs, d).all(axis=0)], mass)
        spread = products.std(axis=0)
        products = products[:, spread > 1e-9 * UNIT**2] / spread[spread > 1e-9 * UNIT**2]
        if products.shape[1]:
            families.append(_family(moment_rows(products, weights)))

        if len(self.plan.joint):
            gaps = residuals(self._stacked("bin_waves"), mass).T @ weights
            families.append(_family((gaps**2).reshape(KERNELS, WAVES, -1).sum(axis=1)))
        return families

    # ------------------------------------------------------------------ effects, from the fine counts

    def _shifts(self, chosen: list[int], adjusted: np.ndarray, missing: bool = True) -> tuple[FeatureShift, ...]:
        shifts = []
        for j, p in zip(chosen, adjusted, strict=True):
            column = self.plan.counted[j]
            sides = [counts[j].copy() for counts in (self.source.counts, self.target.counts)]
            if not missing:
                sides = [np.r_[0, side[1:]] for side in sides]
            effect, direction = (_frequencies if column.kind == "categorical" else _distances)(column, *sides)
            shifts.append(FeatureShift(column.name, float(p), effect, direction, None, column.kind))
        return tuple(sorted(shifts, key=lambda s: (s.pvalue, -s.effect.value)))


class Exchange:
    """Random exchanges of the bins of both domains, the same ones for every statistic.

    Bins without mass stay where they are. With `paired` (groups) the bins of equal number, in which the same groups
    fall on both sides, are exchanged with each other only: a group that spans both domains says as much about one
    as about the other. Where one of the two is empty, the other is exchanged freely.

    Parameters
    ----------
    n_bins : int
        Of each domain.
    n_permutations : int
    rng : Generator
    paired : bool
    """

    def __init__(self, n_bins: int, n_permutations: int, rng: np.random.Generator, paired: bool = False):
        self.n_bins, self.n_assignments, self.paired = n_bins, n_permutations + 1, paired
        self._keys = rng.random((2 * n_bins, n_permutations))
        self._known: dict[bytes, np.ndarray] = {}

    def positions(self, mass: np.ndarray) -> np.ndarray:
        """Which bin stands in every place, shape (2 n_bins, B + 1); column 0 is as observed."""
        held = mass > 0
        if held.tobytes() in self._known:
            return self._known[held.tobytes()]
        half = self.n_bins
        places = np.tile(np.arange(2 * half)[:, None], self.n_assignments)
        twins = np.flatnonzero(held[:half] & held[half:]) if self.paired else np.zeros(0, int)
        swap = self._keys[twins] < 0.5
        places[twins, 1:] = np.where(swap, twins[:, None] + half, twins[:, None])
        places[twins + half, 1:] = np.where(swap, twins[:, None], twins[:, None] + half)
        free = np.setdiff1d(np.flatnonzero(held), np.r_[twins, twins + half])
        if len(free):
            places[free, 1:] = free[np.argsort(self._keys[free], axis=0)]
        self._known[held.tobytes()] = places
        return places

    def weights(self, mass: np.ndarray) -> np.ndarray:
        """The u_b of the module's text under every exchange, shape (2 n_bins, B + 1)."""
        half, root = self.n_bins, np.sqrt(mass)
        observed = root / np.repeat([-mass[:half].sum(), mass[half:].sum()], half)
        weights = observed[self.positions(mass)]
        weights -= np.outer(root, root @ weights / mass.sum())
        weights *= np.sqrt((observed**2).sum() / np.maximum((weights**2).sum(axis=0), 1e-300))
        weights[:, 0] = observed
        return weights


def residuals(sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The r_b of the module's text: (n_bins, n_features) from sums and masses of the bins."""
    mean = sums.sum(axis=0) / mass.sum()
    return (sums - mass[:, None] * mean) / np.sqrt(np.maximum(mass, 1))[:, None]


def _distances(column: Column, source: np.ndarray, target: np.ndarray) -> tuple[Effect, str]:
    """KS distance at the edges; its interval allows for what may happen between two edges.

    Mean and spread in words are those of the cells' upper edges: of a heavy tail they see less.
    """
    points = np.r_[np.nan, column.points, np.nextafter(column.points[-1], np.inf)]
    (x_source, w_source), (x_target, w_target) = ((points[side > 0], side[side > 0]) for side in (source, target))
    effect, direction = _numeric_effect(x_source, x_target, w_source.astype(float), w_target.astype(float))
    n_source, n_target = source[1:].sum(), target[1:].sum()
    if not n_source or not n_target:
        return effect, direction
    F_source, F_target = (np.r_[0, np.cumsum(side[1:]) / side[1:].sum()] for side in (source, target))
    inside = np.maximum(F_source[1:] - F_target[:-1], F_target[1:] - F_source[:-1])[column.wide]
    margin = 1.36 * float(np.sqrt(1 / n_source + 1 / n_target))  # Kolmogorov band of the difference, 95 %
    high = max(effect.value, float(inside.max(initial=0.0))) + margin
    return replace(effect, ci=(max(0.0, effect.value - margin), min(1.0, high))), direction


def _frequencies(column: Column, source: np.ndarray, target: np.ndarray) -> tuple[Effect, str]:
    """Total variation of the frequencies."""
    names = np.append(column.points, "any other value")
    codes = [np.flatnonzero(side) - 1 for side in (source, target)]
    weights = [side[side > 0].astype(float) for side in (source, target)]
    effect, direction = _categorical_effect(codes[0], codes[1], names, weights[0], weights[1])
    variance = 0.0
    for side in (source, target):
        share = side / max(1, side.sum())
        variance = variance + share * (1 - share) / max(1, side.sum())
    sd = 0.5 * float(np.sqrt(variance).sum())
    ci = (max(0.0, effect.value - 1.96 * sd), min(1.0, effect.value + 1.96 * sd))
    return replace(effect, ci=ci), direction
