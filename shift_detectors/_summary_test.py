"""The tests of p(x), p(y) and p(x|y) on two summaries: the statistics of the rows, the null of their bins.

Let a bin b of 256 + 256 have n_b rows and the sums S_b of some features, and let mu be the pooled mean. Then

    r_b = (S_b - n_b mu) / sqrt(n_b),    u_b = + sqrt(n_b) / n_t in the target,  - sqrt(n_b) / n_s in the source,

give the difference of the means of *all* rows as sum_b u_b r_b. Under the null the r_b have equal means and
covariances, whatever n_b: exchanging the entries of u among the bins gives the null distribution. The exchanged u is
made orthogonal to sqrt(n_b), as u is, and gets its length. So every statistic that is a function of such
differences (distribution functions, frequencies, means, products, random waves) has its value and its null from
one matrix product, and they share one exchange, as in `_portfolio`.

Within classes (p(x|y)) every class has its own r and u, and its own mean mu; the differences of the classes are added
up with their frequencies as weights, as `StratifiedTest` does. All classes share one exchange of the bins, since a
group may have rows of several. Tests of p(x) are the case of one class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from ._distance_tests import moment_rows
from ._domain_summary import BINS, KERNELS, UNIT, WAVES, Column, DomainSummary
from ._errors import InputError
from ._feature_test import (
    Found,
    carrying,
    categorical_effect,
    chi_squared,
    distribution_rows,
    missing_phrase,
    missing_rates,
    smallest_logp,
    value_effect,
)
from ._label_tests import moved_most, over_strata, where_clearer
from ._permutation import pvalue, settled, smallest, squared_length, step_down, tail_logp
from ._portfolio import _family, combined, largest_effect
from ._results import FeatureShift, ShiftTestResult

FEW = 20  # bins with rows, over both sides, below which exchanging them says nothing
FEW_OF_CLASS = 100  # rows of a class on one side below which its bins are too unlike sums of many rows


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
    counts_labels, counts_classes : bool
        Whether there are more labelled target rows than the row sample holds, and whether these are counted by class.
    shared : ndarray of int
        Strata of the classes that both sides have enough rows of.
    """

    def __init__(self, source: DomainSummary, target: DomainSummary, n_permutations: int = 499, random_state: int = 0):
        if source.plan is not target.plan and source.plan.fingerprint != target.plan.fingerprint:
            raise InputError("two summaries of different plans", "summaries made with one and the same SummaryPlan")
        self.source, self.target, self.plan = source, target, source.plan
        self.n_source, self.n_target, self.n_labelled = source.n_rows, target.n_rows, target.n_labelled
        self.separators = self.plan.separators
        self.counts_labels = target.sample is None or target.n_labelled > target.sample.size
        self._of_class = [summary.sums["bin_rows"].sum(axis=1)[1:] for summary in (source, target)]
        self.shared = 1 + np.flatnonzero(np.minimum(*self._of_class) >= FEW_OF_CLASS)
        self.counts_classes = self.counts_labels and len(self.shared) > 0
        rows = np.r_[source.sums["bin_rows"].sum(axis=0), target.sums["bin_rows"].sum(axis=0)]
        if (rows > 0).sum() < FEW:
            raise InputError(
                f"only {(rows > 0).sum()} of {len(rows)} bins hold rows",
                f"rows, or groups, in at least {FEW} bins",
                "More groups are needed; fewer rows than some thousands are diagnosed in memory.",
            )
        rng = np.random.default_rng(random_state)
        self.exchange = Exchange(BINS, n_permutations, rng, paired=self.plan.groups is not None)
        self._rows = Strata(source, target, self.exchange)

    def joint(self, names: tuple[str, ...]) -> ShiftTestResult:
        """`JointTest` on the named features."""
        chosen = self._places(names)
        row, per_feature = self._rows.joint(chosen)
        features = self._rows.shifts(chosen, step_down(per_feature))
        bins = [int((summary.sums["bin_rows"].sum(axis=0) > 0).sum()) for summary in (self.source, self.target)]
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

    def classes(self, names: tuple[str, ...]) -> ShiftTestResult:
        """`StratifiedTest` on the named features and all labelled rows."""
        chosen = self._places(names)
        left = int((np.maximum(*self._of_class) > 0).sum()) - len(self.shared)
        notes = [f"all labelled rows counted, in {len(self.shared)} {'class' if len(self.shared) == 1 else 'classes'}"]
        if left:
            few = f"one side has fewer than {FEW_OF_CLASS} rows of them"
            notes.append(f"left out because {few}: {left} {'class' if left == 1 else 'classes'}")
        mixture = Strata(self.source, self.target, self.exchange, self.shared)
        found = [mixture.joint(chosen)]
        if len(self.shared) == 2:
            found.append(replace(mixture, signs=(-1, 1)).joint(chosen))
        inside = [replace(mixture, strata=np.array([k])).joint(chosen) for k in self.shared]
        per_feature = np.minimum.reduce([by_feature for _, by_feature in found + inside])
        row = over_strata([joint for joint, _ in found], [joint for joint, _ in inside])
        features = mixture.shifts(chosen, step_down(per_feature))
        labels = self.plan.counted[len(self.plan.columns)].points
        features = where_clearer(features, {labels[k - 1]: partial(self._within, int(k)) for k in self.shared})
        return ShiftTestResult(
            "StratifiedTest",
            "p(x|y)",
            float(row[0]),
            pvalue(row),
            largest_effect(features),
            self.source.n_labelled,
            self.target.n_labelled,
            features,
            notes=tuple(notes) + moved_most(features),
        )

    def _within(self, k: int, names: list[str]) -> tuple[FeatureShift, ...]:
        chosen = self._places(tuple(names))
        return Strata(self.source, self.target, self.exchange, np.array([k])).shifts(chosen, np.ones(len(chosen)))

    def labels(self) -> ShiftTestResult:
        """`LabelTest` on all labelled rows."""
        j = len(self.plan.columns)
        row = -self._rows.feature_logp(j, missing=False)[0]
        (shift,) = self._rows.shifts([j], np.ones(1), missing=False)
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

    def absent(self, classes: tuple) -> tuple:
        """Those of `classes`, which the source's row sample lacks, that none of its rows has."""
        if self.plan.label is None or not classes:
            return classes
        return tuple(name for name, share in zip(classes, self.frequencies(classes), strict=True) if not share)

    def frequencies(self, classes: tuple) -> np.ndarray:
        """Shares of classes among all labelled source rows."""
        assert self.plan.label is not None
        counts = self.source.sums[f"counts/{len(self.plan.columns)}"].sum(axis=0)
        cells = self.plan.label.read(pd.Series(np.array(classes), dtype=object))
        return counts[cells] / counts[1:].sum()

    def about(self) -> tuple[str, ...]:
        """A note on what was counted and what was kept."""
        frequencies = "class frequencies of the target, " * (self.plan.task == "classification")
        kept = [len(summary.sample) for summary in (self.source, self.target) if summary.sample is not None]
        counted = ["p(x)"]
        if self.n_labelled:
            counted += ["p(y)"] * self.counts_labels + ["p(x|y)"] * self.counts_classes
        return (
            f"all {self.n_source:,} source and {self.n_target:,} target rows were counted for the tests of "
            f"{', '.join(counted)} and the effects of single features; what needs rows (domain classifier, other tests "
            f"with labels, {frequencies}overlap, impact, pictures) used {' and '.join(f'{n:,}' for n in kept)} of "
            "them, drawn at random",
        )

    def widest_cells(self) -> dict[str, float]:
        """Largest share of the pooled rows that lies between two edges, by numeric column."""
        shares = {}
        for j, column in enumerate(self.plan.columns):
            if column.kind != "categorical":
                counts = self._rows.counts(j).sum(axis=(0, 1))[1:]
                open_ends = column.wide | (np.arange(len(counts)) == len(counts) - 1)
                shares[column.name] = float(counts[open_ends].max(initial=0) / max(1, counts.sum()))
        return shares

    def _places(self, names: tuple[str, ...]) -> list[int]:
        return [j for j, column in enumerate(self.plan.columns) if column.name in set(names)]


@dataclass(frozen=True)
class Strata:
    """Differences between two summaries within strata, added up with the strata's frequencies.

    Attributes
    ----------
    source, target : DomainSummary
    exchange : Exchange
    strata : ndarray of int or None
        Which ones; None takes all rows as one stratum.
    signs : tuple of int
        Of two strata whose contrast is looked at: factors of their differences.
    """

    source: DomainSummary
    target: DomainSummary
    exchange: Exchange
    strata: np.ndarray | None = None
    signs: tuple[int, int] | None = None

    def joint(self, chosen: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """`portfolio` of some columns: the combined statistic (B + 1,), and logp by feature (n_chosen, B + 1)."""
        empty = np.zeros((0, self.exchange.n_assignments))
        per_feature = np.vstack([empty, *(self.feature_logp(j) for j in chosen)])
        families = {"features": tail_logp(smallest(per_feature)[None, :])} if chosen else {}
        families.update(self._joint_families(chosen))
        return combined(families) if families else np.zeros(self.exchange.n_assignments), per_feature

    def feature_logp(self, j: int, missing: bool = True) -> np.ndarray:
        """Log tail probability of one column under every exchange, shape (1, B + 1)."""
        column = self.source.plan.counted[j]
        cells = self._both(f"bin_counts/{j}")
        rows = []
        kept = cells if missing and column.kind == "categorical" else cells[..., 1:]
        kept = kept[(kept.reshape(len(kept), 2, -1).sum(axis=2) > 0).all(axis=1)]  # strata with values on both sides
        kept = kept[..., kept.any(axis=(0, 1))]
        if column.kind == "categorical" and len(kept):
            gap, weights = self._gaps(kept, kept.sum(axis=2))
            rows.append(chi_squared(gap, kept.sum(axis=(0, 1)), weights))
        elif kept.shape[2] > 1:
            gap, weights = self._gaps(kept, kept.sum(axis=2))
            rows.append(settled(distribution_rows(gap, kept.sum(axis=(0, 1))), squared_length(weights)))
        if missing and 0 < cells[..., 1:].sum() < cells.sum():
            gap, weights = self._gaps(cells[..., :1], cells.sum(axis=2))
            rows.append(missing_rates(gap[0], cells[..., 0].sum() / cells.sum(), weights))
        return smallest_logp([np.vstack(rows)]) if rows else np.zeros((1, self.exchange.n_assignments))

    def shifts(self, chosen: list[int], adjusted: np.ndarray, missing: bool = True) -> tuple[FeatureShift, ...]:
        """Effects from the fine counts, both sides with the strata's pooled frequencies."""
        shifts = []
        for j, p in zip(chosen, adjusted, strict=True):
            column, counts = self.source.plan.counted[j], self.counts(j)
            if not missing:
                counts = np.concatenate([np.zeros_like(counts[..., :1]), counts[..., 1:]], axis=2)
            rows = counts.sum(axis=2)
            share = rows.sum(axis=0) / rows.sum()
            sides = (counts * (share * rows.sum(axis=1, keepdims=True) / np.maximum(rows, 1))[..., None]).sum(axis=1)
            if column.kind == "categorical":
                effect, direction = _frequencies(np.append(column.points, "any other value"), *sides)
            else:
                effect, direction = _distances(column, *sides)
            shifts.append(FeatureShift(column.name, float(p), effect, direction, None, column.kind))
        return tuple(sorted(shifts, key=lambda s: (s.pvalue, -s.effect.value)))

    def counts(self, j: int) -> np.ndarray:
        """Fine counts of a column, shape (2, n_strata, n_cells)."""
        return np.array([self._chosen(summary.sums[f"counts/{j}"]) for summary in (self.source, self.target)])

    def _chosen(self, sums: np.ndarray) -> np.ndarray:
        return sums.sum(axis=0, keepdims=True) if self.strata is None else sums[self.strata]

    def _both(self, name: str) -> np.ndarray:
        """Sums of the bins of both sides, shape (n_strata, 2 n_bins, ...)."""
        sides = [self._chosen(summary.sums[name]) for summary in (self.source, self.target)]
        return np.concatenate(sides, axis=1).astype(float)

    def _gaps(self, sums: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Difference of means per unit of `mass`, target minus source, under every exchange, and the bins' weights.

        The former has the shape (n_features, B + 1), the latter that of `_weights`.
        """
        weights = self._weights(mass)
        return self._residuals(sums, mass).T @ weights, weights

    def _residuals(self, sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """The r_b of all strata below each other."""
        return np.vstack([residuals(*stratum) for stratum in zip(sums, mass, strict=True)])

    def _weights(self, mass: np.ndarray) -> np.ndarray:
        """The u_b of all strata below each other, with the strata's weights."""
        share = mass.sum(axis=1) / mass.sum()
        if self.signs is not None and len(mass) == 2:  # a column may have values in one of the two only
            share = np.array(self.signs)
        return np.vstack([w * self.exchange.weights(m) for w, m in zip(share, mass, strict=True)])

    def _joint_families(self, chosen: list[int]) -> dict[str, np.ndarray]:
        """Means, second moments and random waves, one row of log tail probabilities each."""
        plan = self.source.plan
        widths = [column.n_design for column in plan.columns]
        d = np.flatnonzero(np.repeat(np.isin(np.arange(len(widths)), chosen), widths))
        if not len(d):
            return {}
        mass = self._both("bin_rows")
        n = mass.sum()
        weights = self._weights(mass)

        design = self._both("bin_design")[..., d]
        total = design.sum(axis=(0, 1)) / n
        products = np.add(*(self._chosen(side.sums["products"]).sum(axis=0) for side in (self.source, self.target)))
        covariance = products[np.ix_(d, d)] / n - np.outer(total, total)
        values, vectors = np.linalg.eigh(covariance)
        ridged = np.maximum(values, 0) + len(d) / n * values.mean()
        whitened = vectors / np.sqrt(np.maximum(ridged, 1e-12 * UNIT**2))
        means = (self._residuals(design, mass) @ whitened).T @ weights
        distance = settled((means**2).sum(axis=0, keepdims=True), len(d) * squared_length(weights))
        families = {"means": tail_logp(distance)}
        if len(plan.joint):
            gaps, _ = self._gaps(self._both("bin_waves"), mass)
            families["distances"] = _family((gaps**2).reshape(KERNELS, WAVES, -1).sum(axis=1))

        within = np.isin(plan.pairs, d).all(axis=0)
        moments, (a, b) = self._residuals(self._both("bin_products")[..., within], mass), plan.pairs[:, within]
        spread = moments.std(axis=0)
        keep = spread > 1e-9 * UNIT**2
        if keep.any():
            families["moments"] = _family(moment_rows(moments[:, keep] / spread[keep], weights, (a == b)[keep]))
        return families


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


def _distances(column: Column, source: np.ndarray, target: np.ndarray) -> Found:
    """KS distance of the values at the edges, or total variation of their being missing, see `carrying`.

    The interval of the former allows for what may happen between two edges. Mean and spread in words are those of the
    cells' upper edges: of a heavy tail they see less.
    """
    sides = np.array([source, target])
    present = sides[:, 1:]
    n = present.sum(axis=1)
    gap, _ = _frequencies(np.array(["present"]), *np.column_stack([sides[:, 0], n]))
    missing = gap, missing_phrase(*sides[:, 0] / np.maximum(sides.sum(axis=1), 1))
    if not n.all():
        return missing
    points = np.r_[column.points, np.nextafter(column.points[-1], np.inf)]
    (x_source, w_source), (x_target, w_target) = ((points[side > 0], side[side > 0].astype(float)) for side in present)
    effect, direction = value_effect(x_source, x_target, w_source, w_target)
    F_source, F_target = (np.r_[0, np.cumsum(side) / side.sum()] for side in present)
    inside = np.maximum(F_source[1:] - F_target[:-1], F_target[1:] - F_source[:-1])[column.wide]
    margin = 1.36 * float(np.sqrt((1 / n).sum()))  # Kolmogorov band of the difference, 95 %
    high = max(effect.value, float(inside.max(initial=0.0))) + margin
    return carrying((replace(effect, ci=(max(0.0, effect.value - margin), min(1.0, high))), direction), missing)


def _frequencies(names: np.ndarray, source: np.ndarray, target: np.ndarray) -> Found:
    """Total variation of the frequencies of what is missing, and of these names."""
    codes = [np.flatnonzero(side) - 1 for side in (source, target)]
    weights = [side[side > 0].astype(float) for side in (source, target)]
    effect, direction = categorical_effect(codes[0], codes[1], names, weights[0], weights[1])
    variance = 0.0
    for side in (source, target):
        share = side / max(1, side.sum())
        variance = variance + share * (1 - share) / max(1, side.sum())
    sd = 0.5 * float(np.sqrt(variance).sum())
    ci = (max(0.0, effect.value - 1.96 * sd), min(1.0, effect.value + 1.96 * sd))
    return replace(effect, ci=ci), direction
