"""Tests that need labels on both sides: p(y), and p(x|y) within classes or bins of y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import SplineTransformer

from ._base import BaseDetector
from ._feature_test import feature_logp, feature_shifts
from ._permutation import flipped, harmonic, permuted_domains, pvalue, random_signs, signed, step_down, tail_logp
from ._portfolio import largest_effect, portfolio
from ._random import generator
from ._results import FeatureShift, ShiftTestResult
from ._score_test import class_codes
from ._table import Problem, Table

Y_BINS = 20
CHANGED = 0.05  # adjusted p-value up to which a feature's effect is looked for in single classes
MIXTURE = 3.0  # weight of what moves in all classes alike (a sensor) against what differs between them


def label_table(problem: Problem) -> Table:
    """The labels of both sides as a table with the one feature ``y``."""
    n, n_source = len(problem.y), problem.table.n_source
    if problem.task == "classification":
        codes = class_codes(problem)
        names = np.unique(problem.y)
        return Table(np.zeros((n, 0)), codes[:, None].astype(np.int32), (), ("y",), (names,), n_source)
    return Table(problem.y[:, None].astype(float), np.zeros((n, 0), np.int32), ("y",), (), (), n_source)


class LabelTest(BaseDetector):
    """Has p(y) changed? Needs labels on both sides.

    Classes: chi-squared distance of the frequencies. Numbers: Anderson-Darling and smooth distance of the
    ranks (see `FeatureTest`), mean and spread. Permutation null: exact for small counts and ties. Partly
    labelled targets are used through their labelled rows, assumed to be labelled at random.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y_source, y_target = rng.integers(0, 2, 200), (rng.random(200) < 0.7).astype(int)
    >>> result = LabelTest(random_state=0).test(X, X, y_source=y_source, y_target=y_target)
    >>> result.pvalue, result.effect.name
    (0.002, 'total variation')
    """

    quantity: ClassVar[str] = "p(y)"
    requires: ClassVar[frozenset[str]] = frozenset({"y_source", "y_target"})

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        part = problem.labelled_part()
        table = label_table(part)
        rng = generator(self.random_state)
        U = signed(permuted_domains(table.domain, self.n_permutations, rng, part.groups), part.weight)
        if part.task == "classification":  # one indicator per class says all there is
            row = -feature_logp(table, U)[0]
        else:
            row, _, _ = portfolio(table, U, rng, kernels=False)
        features = feature_shifts(table, np.ones(1), part.weight, part.groups)
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=float(row[0]),
            pvalue=pvalue(row),
            effect=features[0].effect,
            n_source=table.n_source,
            n_target=table.n_target,
            per_feature=(),
            notes=(features[0].direction,),
        )


class StratifiedTest(BaseDetector):
    """Has p(x|y) changed? All statistics of `JointTest`, permuted within classes or bins of y.

    Exchanging the domain only among rows with the same y keeps p(y) of both sides as it is, so that a change
    of class frequencies alone is never counted. Compared are the class-standardised mixtures
    sum_c pi_c p(x|c) (pi_c pooled frequencies, numeric features relative to their mean in the class), their
    contrast (of two classes the difference, of a numeric y weighted by its rank: changes of opposite sign cancel
    in the mixture, as under concept shift), and every class by itself, combined by the sum of 1/p, where the
    mixture counts three times, and ranked among the same permutations.

    Features are adjusted for their number by their smallest p among mixture, contrast and classes. The effect of a
    feature is that of the mixture, or, if p <= .05, of one class (of the lower or upper half of a numeric y) where its
    95 % interval lies above that.

    Assumption: classification - rows within a class (or groups, when all rows of a group have one class) are
    exchangeable under the null; then the level is exact. Regression - y is cut into up to 20 pooled quantile
    bins (a frequent single value is a bin by itself), and the numeric features are replaced by their residuals
    from a spline regression on y, so that little of x still depends on y within a bin; the level is
    approximate. Groups with several classes or bins cannot be exchanged without exchanging their y, too: then the
    deviations of their rows from the mean of the class or bin get a random sign per group, and the level is
    approximate. A class seen on one side only is left out, with a note.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    References
    ----------
    Kim, Neykov, Balakrishnan and Wasserman (2022), Local permutation tests for conditional independence,
    Annals of Statistics 50(6).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_source, y_target = rng.integers(0, 2, 300), (rng.random(300) < 0.8).astype(int)
    >>> X_source = rng.normal(size=(300, 3)) + 2 * y_source[:, None]
    >>> X_target = rng.normal(size=(300, 3)) + 2 * y_target[:, None]
    >>> test = StratifiedTest(random_state=0)
    >>> test.test(X_source, X_target, y_source=y_source, y_target=y_target).rejects()  # p(y) moved, not p(x|y)
    False
    >>> test.test(X_source, X_target + 0.4, y_source=y_source, y_target=y_target).pvalue
    0.002
    """

    quantity: ClassVar[str] = "p(x|y)"
    requires: ClassVar[frozenset[str]] = frozenset({"y_source", "y_target"})

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        part = problem.labelled_part()
        rng = generator(self.random_state)
        if part.task == "classification":
            strata = class_codes(part)
            table = centred_table(part.table, strata)
        else:
            table, strata = residual_table(part.table, part.y), quantile_bins(part.y, Y_BINS)
        domain = table.domain
        exchange = part.groups is None or not _across(part.groups, strata)
        if exchange:
            drawn = permuted_domains(domain, self.n_permutations, rng, part.groups, strata)
        else:
            drawn = random_signs(len(domain), self.n_permutations, rng, part.groups)
        both = [s for s in np.unique(strata) if 0 < domain[strata == s].sum() < (strata == s).sum()]
        notes = []
        if len(both) < len(np.unique(strata)):
            left = len(np.unique(strata)) - len(both)
            one, many = ("class", "classes") if part.task == "classification" else ("bin of y", "bins of y")
            notes.append(f"left out because seen on one side only: {left} {one if left == 1 else many}")
        U = np.zeros(drawn.shape, np.float32)
        per_stratum, clearest = [], None  # log p of every feature where it is smallest
        for s in both:
            rows = np.flatnonzero(strata == s)
            weight = None if part.weight is None else part.weight[rows]
            inside = signed(drawn[rows], weight) if exchange else flipped(domain[rows], drawn[rows], weight)
            U[rows] = inside * np.float32(len(rows) / len(strata))
            if part.task == "classification":
                sub = table.take(rows, 0)
                inner, by_feature, _ = portfolio(sub, inside, rng, kernels=False, two_samples=exchange)
                per_stratum.append(inner)
                clearest = by_feature if clearest is None else np.minimum(clearest, by_feature)
        if not both:
            return ShiftTestResult(
                type(self).__name__,
                self.quantity,
                0.0,
                1.0,
                None,
                table.n_source,
                table.n_target,
                notes=tuple(notes),
            )
        joint, per_feature, more = portfolio(table, U, rng, two_samples=exchange)
        families = [joint]
        if part.task == "regression" or len(both) == 2:
            position = np.searchsorted(np.unique(strata), strata) if part.task == "classification" else rankdata(part.y)
            contrast = (position - position.mean()) / position.std()
            turned = portfolio(table, U * contrast[:, None].astype(np.float32), rng, two_samples=False)
            families.append(turned[0])
            per_feature = np.minimum(per_feature, turned[1])
        if clearest is not None:
            per_feature = np.minimum(per_feature, clearest)
        row = over_strata(families, per_stratum)
        shown = part.table if part.task == "classification" else table
        adjusted = step_down(per_feature)
        balanced, groups = _balanced_weight(strata, domain, part.weight), part.groups
        features = feature_shifts(shown, adjusted, balanced, groups)

        def shifts(rows: np.ndarray, names: list[str]) -> tuple[FeatureShift, ...]:
            some = shown.without(set(shown.names) - set(names)).take(rows, int((rows < shown.n_source).sum()))
            return feature_shifts(some, np.ones(len(names)), balanced[rows], None if groups is None else groups[rows])

        places = _places(part, balanced)
        features = where_clearer(features, {label: partial(shifts, rows) for label, rows in places.items()})
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=float(row[0]),
            pvalue=pvalue(row),
            effect=largest_effect(features),
            n_source=table.n_source,
            n_target=table.n_target,
            per_feature=features,
            notes=tuple(notes) + more + moved_most(features),
        )


def _across(groups: np.ndarray, strata: np.ndarray) -> bool:
    """Whether any group has rows of several strata."""
    pairs = np.unique(np.column_stack([groups, strata]), axis=0)
    return len(pairs) > len(np.unique(groups))


def _places(part: Problem, balanced: np.ndarray) -> dict[Any, np.ndarray]:
    """Rows of every class, or of the lower and the upper half of a numeric y, that count and are of both domains."""
    if part.task == "classification":
        masks = {label: part.y == label for label in np.unique(part.y)}
    else:
        low = part.y <= np.median(part.y)
        masks = {"low": low, "high": ~low}
    places = {label: np.flatnonzero(mask & (balanced > 0)) for label, mask in masks.items()}
    return {label: rows for label, rows in places.items() if len(set(part.table.domain[rows])) == 2}


def moved_most(features: tuple[FeatureShift, ...]) -> tuple[str, ...]:
    """Which feature the effect is of, where one changed."""
    f = max(features, key=lambda f: f.effect.value, default=None)
    return () if f is None or f.pvalue > CHANGED else (f"{f.feature} changed most, {f.direction}",)


def where_clearer(
    features: tuple[FeatureShift, ...], shifts_of: dict[Any, Callable[[list[str]], tuple[FeatureShift, ...]]]
) -> tuple[FeatureShift, ...]:
    """Features with the effect of the class where it is largest, if they changed and its interval lies above.

    `shifts_of` gives, by class, the effects of the named features within it.
    """
    changed = [f.feature for f in features if f.pvalue <= CHANGED]
    if not changed:
        return features
    within = [(label, {f.feature: f for f in shifts(changed)}) for label, shifts in shifts_of.items()]
    shown = []
    for f in features:
        inside = [(label, found[f.feature]) for label, found in within if f.feature in found]
        label, most = max(inside, key=lambda pair: pair[1].effect.value, default=(None, f))
        if most.effect.ci is not None and most.effect.ci[0] > f.effect.value:
            f = replace(f, effect=most.effect, direction=f"where y is {label}: {most.direction}")
        shown.append(f)
    return tuple(sorted(shown, key=lambda s: (s.pvalue, -s.effect.value)))


def over_strata(families: list[np.ndarray], per_stratum: list[np.ndarray]) -> np.ndarray:
    """One statistic (B + 1,) from those of the mixture, first, of its contrast, and of every stratum by itself."""
    if len(per_stratum) > 1:
        families = [*families, harmonic(tail_logp(np.array(per_stratum)))]
    return harmonic(tail_logp(np.array(families)), np.r_[MIXTURE, np.ones(len(families) - 1)])


def quantile_bins(y: np.ndarray, n_bins: int) -> np.ndarray:
    """Pooled quantile bin of every value, at least 20 rows each where ties allow.

    A value that fills a bin by itself (zeros of a zero-inflated y) gets one of its own.
    """
    n_bins = int(np.clip(len(y) // 20, 2, n_bins))
    values, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    atom = (counts > len(y) / n_bins)[inverse]
    bins = -1 - inverse  # atoms: one negative number each
    if not atom.all():
        rest = y[~atom]
        edges = np.unique(np.quantile(rest, np.linspace(0, 1, max(2, round(n_bins * (~atom).mean())) + 1)[1:-1]))
        bins[~atom] = np.searchsorted(edges, rest, side="left")
    return bins


def centred_table(table: Table, strata: np.ndarray) -> Table:
    """The table with the numeric features relative to the mean of their class.

    How far apart the classes lie is then no part of the spread by which a change within them is judged.
    """
    codes = np.unique(strata, return_inverse=True)[1]
    numeric = table.numeric.copy()
    for column in numeric.T:
        present = ~np.isnan(column)
        counts = np.bincount(codes[present], minlength=codes.max() + 1)
        means = np.bincount(codes[present], column[present], codes.max() + 1) / np.maximum(counts, 1)
        column[present] -= means[codes[present]]
    return replace(table, numeric=numeric)


def residual_table(table: Table, y: np.ndarray) -> Table:
    """The table with its numeric features replaced by residuals of a pooled spline regression on y."""
    if not table.numeric.shape[1]:
        return table
    basis = y[:, None].astype(float)
    if len(np.unique(y)) > 10:
        basis = SplineTransformer(n_knots=6, knots="quantile", extrapolation="linear").fit_transform(basis)
    numeric = table.numeric.copy()
    for j in range(numeric.shape[1]):
        present = ~np.isnan(numeric[:, j])
        if present.sum() > basis.shape[1] + 5:
            x, b = numeric[present, j], basis[present]
            numeric[present, j] = x - LinearRegression().fit(b, x).predict(b)
    return replace(table, numeric=numeric)


def _balanced_weight(strata, domain, weight):
    """Row weights under which both sides have the pooled stratum frequencies (zero where one side is empty)."""
    weight = np.ones(len(strata)) if weight is None else weight
    balanced = np.zeros(len(strata))
    for s in np.unique(strata):
        rows = strata == s
        sides = [rows & (domain == side) for side in (0, 1)]
        if all(side.any() for side in sides):
            for side in sides:
                balanced[side] = rows.mean() * weight[side] / weight[side].sum()
    return balanced
