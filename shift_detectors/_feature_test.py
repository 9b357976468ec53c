"""Feature-wise test of p(x): which features differ, with family-wise adjusted p-values."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import sparse

from . import _text
from ._base import BaseDetector
from ._influence import rows_worth, weighted_mean
from ._permutation import (
    BLOCK,
    permuted_domains,
    pvalue,
    same_length,
    settled,
    signed,
    smallest,
    squared_length,
    step_down,
    tail_logp,
)
from ._random import generator
from ._results import Effect, FeatureShift, ShiftTestResult
from ._table import Problem, Table

BINS = 128  # cells between pooled quantiles, at most, in which the rows of a numeric feature are counted
FIRST = 3.0  # how much more the first statistic of a feature counts than another: most changes move the mean
CHUNK = 16 * BLOCK  # rows that are counted at a time
DEGREE = 6  # of the polynomials in the ranks: location, scale, asymmetry, number of humps, and what is between them
Found = tuple[Effect, str]  # how large a difference is, and its direction in words


class FeatureTest(BaseDetector):
    """Does any single feature have another distribution in the target, and which?

    For a numeric feature the Anderson-Darling distance of the two empirical distribution functions F_s, F_t
    and Neyman's smooth distance of the ranks,

        AD = sum_v h(v) (F_s(v) - F_t(v))^2 / (H(v) (1 - H(v))),    S = sum_k (mean_t b_k - mean_s b_k)^2,

    over the values v with pooled frequency h and distribution function H. The b_k, k = 1, ..., 6, are the polynomials
    of degree k in the pooled mid-rank, orthonormal over the pooled rows. AD gives the k-th one about the weight
    1 / (k (k + 1)), which suits a change of location; S weighs all alike and sees changes of scale (k = 2), of
    asymmetry (k = 3) and of the number of humps (k = 4). Above 128 distinct values both are computed on as many
    pooled quantile cells.

    For a categorical feature the chi-squared distance sum_c (p_s(c) - p_t(c))^2 / h(c), and for any feature with
    missing values the difference of the missing rates. A feature's p-value is the smallest one of its statistics',
    of which all but the first (AD or chi-squared) are multiplied by 3, ranked again. All features are permuted
    *jointly*: the smallest p-value over features is compared with its own permutation distribution (Westfall and
    Young 1993), which is exact under ties and discreteness and uses the dependence between features.

    The effect is the KS distance of the values, or the total variation of the frequencies. Where numbers are missing,
    their total variation is the difference of the missing rates: the effect, and the words beside it, are those of the
    one of the two, values or missing rates, whose 95 % interval excludes 0, or the larger one of both.

    Assumption: rows (or groups) are exchangeable between domains under the null. Fails to see changes in
    dependence between features that leave every single one as it was (see `MomentTest`, `MMDTest`), and changes
    finer than a polynomial of degree six in the ranks.

    Parameters
    ----------
    n_permutations : int
    random_state : int, Generator, RandomState or None

    References
    ----------
    Westfall and Young (1993), Resampling-Based Multiple Testing. Neyman (1937), "Smooth test" for goodness of fit,
    Skandinavisk Aktuarietidskrift 20. Janic-Wroblewska and Ledwina (2000), Data driven rank test for two-sample
    problem, Scandinavian Journal of Statistics 27(2).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + [0, 0.8, 0]
    >>> result = FeatureTest(random_state=0).test(X_source, X_target)
    >>> result.pvalue, result.per_feature[0].feature
    (0.002, 'x1')
    """

    quantity: ClassVar[str] = "p(x)"

    def __init__(self, n_permutations: int = 499, random_state=None):
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        table = problem.table
        rng = generator(self.random_state)
        members = permuted_domains(table.domain, self.n_permutations, rng, problem.groups)
        logp = feature_logp(table, signed(members, problem.weight))
        row = smallest(logp) if len(logp) else np.zeros(self.n_permutations + 1)
        features = feature_shifts(table, step_down(logp), problem.weight, problem.groups)
        return ShiftTestResult(
            detector="FeatureTest",
            quantity=self.quantity,
            statistic=float(row[0]),
            pvalue=pvalue(row),
            effect=features[0].effect if features else None,
            n_source=table.n_source,
            n_target=table.n_target,
            per_feature=features,
        )


def feature_logp(table: Table, U: np.ndarray, *, two_samples: bool = True) -> np.ndarray:
    """Log tail probability of every feature under every assignment, shape (n_features, B + 1).

    A feature's value is the smallest one of its statistics' (AD, S, missing rate), ranked again. With
    `two_samples` the positive and the negative part of U are two samples, each rescaled to mass one among the
    rows where the feature is present; otherwise U is any signed measure.
    """
    rows = []
    for j in range(table.numeric.shape[1]):
        rows.append(_numeric_rows(table.numeric[:, j], U, two_samples))
    for j in range(table.codes.shape[1]):
        rows.append(_categorical_rows(table.codes[:, j], U))
    return smallest_logp(rows) if rows else np.zeros((0, U.shape[1]))


def smallest_logp(statistics: list[np.ndarray]) -> np.ndarray:
    """Log tail probability of every feature, (n_features, B + 1), from the statistics (k_j, B + 1) of each.

    The first statistic of a feature counts `FIRST` times as much as each other one.
    """
    sizes = np.array([len(rows) for rows in statistics])
    first = np.cumsum(sizes) - sizes
    logp = tail_logp(np.vstack(statistics)) + np.log(FIRST)
    logp[first] -= np.log(FIRST)
    smallest = np.minimum.reduceat(logp, first, axis=0)
    several = sizes > 1
    # features with more statistics would otherwise have smaller minima
    smallest[several] = tail_logp(-smallest[several])
    return smallest


def _numeric_rows(column: np.ndarray, U: np.ndarray, two_samples: bool) -> np.ndarray:
    missing = np.isnan(column)
    any_missing = missing.any()
    values = column[~missing] if any_missing else column
    if values.size == 0 or values.min() == values.max():
        rows = np.zeros((1, U.shape[1]))
    else:
        rows = distribution_rows(*_ordered_cells(column, missing, U, renormalise=any_missing and two_samples))
    rows = settled(rows, squared_length(U))
    if any_missing and not missing.all():
        rows = np.vstack([rows, missing_rates(U[missing].sum(axis=0, dtype=np.float64), missing.mean(), U)])
    return rows


def missing_rates(gap: np.ndarray, share: float, U: np.ndarray) -> np.ndarray:
    """Statistic (1, B + 1) of a difference of missing rates (B + 1,); `share` of all rows are missing."""
    return settled(np.abs(gap)[None, :], np.sqrt(share * (1 - share) * squared_length(U)))


def _ordered_cells(column, missing, U, renormalise):
    """Sum of U (k, B + 1) and number of rows (k,) of at most `BINS` cells between pooled quantiles, in their order."""
    present = np.flatnonzero(~missing)
    order = present[np.argsort(column[present])]
    sorted_values = column[order]
    ends = np.flatnonzero(np.r_[sorted_values[1:] != sorted_values[:-1], True])  # last row of each tie
    if len(ends) > BINS:
        ends = ends[np.unique(np.searchsorted(ends, np.linspace(0, len(order) - 1, BINS)))]
    counts = np.diff(np.r_[-1, ends])
    cell = np.full(len(column), -1, np.int32)
    cell[order] = np.repeat(np.arange(len(ends), dtype=np.int32), counts)
    cells = _cell_sums(cell, len(ends), U)
    if renormalise:
        # U sums to something else than 0 over the present rows: each side is scaled to mass one, as in `difference`
        part, is_in = np.maximum(U, 0), (~missing).astype(U.dtype)
        target = _cell_sums(cell, len(ends), part)
        source = target - cells
        up, down = (1 / np.maximum(side.sum(axis=0), 1e-12) for side in (target, source))
        squares_target = np.einsum("i,ij,ij->j", is_in, part, part)
        squares_source = np.einsum("i,ij,ij->j", is_in, U, U) - squares_target
        cells = (target * up - source * down) * same_length(squares_target * up**2 + squares_source * down**2)
    return cells, counts


def distribution_rows(cells: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Anderson-Darling and smooth distance of two distributions on ordered cells, shape (2, B + 1).

    Parameters
    ----------
    cells : ndarray of shape (k, B + 1)
        Target minus source frequency of every cell.
    counts : ndarray of shape (k,)
        Pooled rows of every cell, all positive.
    """
    share = counts / counts.sum()
    level = np.cumsum(share)
    weights = share[:-1] / (level[:-1] * (1 - level[:-1]))
    gap = np.cumsum(cells, axis=0)[:-1]
    smooth = _rank_polynomials(tuple(counts.tolist())).T @ cells
    return np.vstack([weights @ gap**2, (smooth**2).sum(axis=0)])


@lru_cache(maxsize=8)  # columns without ties have the same cells
def _rank_polynomials(counts: tuple[int, ...]) -> np.ndarray:
    """The b_k of `FeatureTest` at every cell, shape (k, min(`DEGREE`, k - 1)); of two cells, b_1 is their contrast."""
    share = np.array(counts) / sum(counts)
    middle = np.cumsum(share) - share / 2
    powers = np.polynomial.legendre.legvander(2 * middle - 1, min(DEGREE, len(share) - 1))
    orthonormal, _ = np.linalg.qr(np.sqrt(share)[:, None] * powers)
    return orthonormal[:, 1:] / np.sqrt(share)[:, None]


def _cell_sums(cell: np.ndarray, n_cells: int, U: np.ndarray) -> np.ndarray:
    """Sum of the rows of U in every cell, shape (n_cells, B + 1); rows in cell -1 count nowhere.

    As products with sparse matrices of one entry a row: U is read once, from top to bottom, and never copied. Sums of
    more than `BLOCK` rows are taken in double precision: where a cell has more, every `BLOCK` rows have their own.
    """
    total = np.zeros((n_cells, U.shape[1]))
    for start in range(0, len(cell), CHUNK):
        part = cell[start : start + CHUNK]
        counted = part >= 0
        most = np.bincount(part[counted], minlength=1).max()
        block = np.arange(len(part)) // (BLOCK if most > BLOCK else CHUNK)
        entries = np.ones(int(counted.sum()), U.dtype), (part + n_cells * block)[counted], np.r_[0, np.cumsum(counted)]
        sums = sparse.csc_array(entries, shape=(n_cells * (block[-1] + 1), len(part))) @ U[start : start + CHUNK]
        total += sums.reshape(-1, *total.shape).sum(axis=0, dtype=np.float64)
    return total


def _categorical_rows(codes: np.ndarray, U: np.ndarray) -> np.ndarray:
    values, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return np.zeros((1, U.shape[1]))
    gap = _cell_sums(inverse, len(values), U)
    chi2 = chi_squared(gap, counts, U)
    if values[0] == -1:  # missing
        return np.vstack([chi2, missing_rates(gap[0], counts[0] / len(codes), U)])
    return chi2


def chi_squared(gap: np.ndarray, counts: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Statistic (1, B + 1) of differences of frequencies (k, B + 1), of which there are `counts` (k,) rows in all."""
    return settled(((1 / counts) @ gap**2)[None, :], squared_length(U) / counts.sum())


def feature_shifts(
    table: Table, adjusted: np.ndarray, weight: np.ndarray | None = None, groups: np.ndarray | None = None
) -> tuple[FeatureShift, ...]:
    """Effect and direction of every feature, sorted by adjusted p-value and effect.

    Intervals count weighted rows, and rows that belong together, by what they are worth.
    """
    n_source = table.n_source
    weight = np.ones(table.n) if weight is None else weight
    sides = (None, None) if groups is None else (groups[:n_source], groups[n_source:])
    rest = (weight[:n_source], weight[n_source:], *sides)
    shifts = []
    for j, name in enumerate(table.names):
        if j < len(table.numeric_names):
            column = table.numeric[:, j]
            effect, direction = numeric_effect(column[:n_source], column[n_source:], *rest)
            kind = "datetime" if name in table.datetimes else "numeric"
        else:
            k = j - len(table.numeric_names)
            codes = table.codes[:, k]
            effect, direction = categorical_effect(codes[:n_source], codes[n_source:], table.categories[k], *rest)
            kind = "categorical"
        shifts.append(FeatureShift(name, float(adjusted[j]), effect, direction, None, kind))
    return tuple(sorted(shifts, key=lambda s: (s.pvalue, -s.effect.value)))


def numeric_effect(source, target, w_source, w_target, g_source=None, g_target=None) -> Found:
    """Effect of one numeric column on the two sides, and its direction in words."""
    gone_s, gone_t = np.isnan(source), np.isnan(target)
    if not (gone_s.any() or gone_t.any()):
        return value_effect(source, target, w_source, w_target, g_source, g_target)
    codes_s, codes_t = -gone_s.astype(np.int32), -gone_t.astype(np.int32)
    gap, _ = categorical_effect(codes_s, codes_t, ("present",), w_source, w_target, g_source, g_target)
    missing = gap, missing_phrase(np.average(gone_s, weights=w_source), np.average(gone_t, weights=w_target))
    if gone_s.all() or gone_t.all():
        return missing
    source, w_source, g_source = _kept(~gone_s, source, w_source, g_source)
    target, w_target, g_target = _kept(~gone_t, target, w_target, g_target)
    return carrying(value_effect(source, target, w_source, w_target, g_source, g_target), missing)


def _kept(rows: np.ndarray, values: np.ndarray, weight: np.ndarray, groups: np.ndarray | None):
    """Those rows of a side."""
    return values[rows], weight[rows], None if groups is None else groups[rows]


def carrying(values: Found, missing: Found) -> Found:
    """Effect and words of what carries the difference of a column: its values, how often they are missing, or both.

    Those whose 95 % interval excludes 0, or both where neither does; of two the larger effect.
    """
    both = [values, missing]
    clear = [(effect, words) for effect, words in both if effect.ci and effect.ci[0] > 0] or both
    effect = max((effect for effect, _ in clear), key=lambda effect: effect.value)
    return effect, "; ".join(words for _, words in clear if words)


def value_effect(source, target, w_source, w_target, g_source=None, g_target=None) -> Found:
    """Effect and direction of the values that are present."""
    both = np.r_[source, target]
    jump = np.r_[-w_source / w_source.sum(), w_target / w_target.sum()]
    # the order among equal values matters to groups only
    order = np.argsort(both, kind=None if g_source is None else "stable")
    cdf = np.cumsum(jump[order])
    ends = np.r_[np.diff(both[order]) != 0, True]
    ks = float(np.abs(cdf[ends]).max())
    mean_s, mean_t = np.average(source, weights=w_source), np.average(target, weights=w_target)
    sd_s, sd_t = (
        np.sqrt(np.average((side - mean) ** 2, weights=w)) if np.ptp(side) else 0.0  # not what rounding leaves
        for side, mean, w in ((source, mean_s, w_source), (target, mean_t, w_target))
    )
    sd = np.sqrt((sd_s**2 + sd_t**2) / 2)
    move = (mean_t - mean_s) / sd if sd > 0 else 0.0
    if abs(move) >= 0.1:
        direction = f"{'higher' if move > 0 else 'lower'} in the target ({move:+.2f} sd)"
    elif sd_s > 0 and sd_t > 0 and abs(np.log(sd_t / sd_s)) > 0.1:
        direction = f"{'wider' if sd_t > sd_s else 'narrower'} in the target (sd x {sd_t / sd_s:.2f})"
    elif sd_s == 0 and sd_t > 0:
        direction = "constant in the source only"
    elif sd_t == 0 and sd_s > 0:
        direction = "constant in the target"
    elif sd == 0 and mean_s != mean_t:
        direction = f"{'higher' if mean_t > mean_s else 'lower'} in the target, constant in both"
    else:
        direction = "other shape" if ks >= 0.05 else "about the same"
    place = np.empty(len(both))
    place[order] = np.arange(len(both))
    n = _worth(place[: len(source)], w_source, g_source)
    m = _worth(place[len(source) :], w_target, g_target)
    margin = 1.36 * np.sqrt(1 / n + 1 / m)  # Kolmogorov band of the difference, 95 %
    return Effect("KS distance", ks, (max(0.0, ks - margin), min(1.0, ks + margin))), direction


def categorical_effect(source, target, categories, w_source, w_target, g_source=None, g_target=None):
    """Effect of one column of category codes on the two sides, and its direction in words."""
    k = len(categories) + 1  # place 0 is "missing"
    share_s = np.bincount(source + 1, weights=w_source, minlength=k) / w_source.sum()
    share_t = np.bincount(target + 1, weights=w_target, minlength=k) / w_target.sum()
    gap = share_t - share_s
    tv = float(np.abs(gap).sum() / 2)
    # half the L1 norm: its sampling sd is at most half the sum of the cells' sds
    spread_s, spread_t = np.maximum(share_s * (1 - share_s), 0), np.maximum(share_t * (1 - share_t), 0)
    names = ["missing", *map(str, categories)]
    most = int(np.argmax(np.abs(gap)))
    n = _worth(source + 1 == most, w_source, g_source)
    m = _worth(target + 1 == most, w_target, g_target)
    sd = 0.5 * np.sqrt(spread_s / n + spread_t / m).sum()
    new = [names[i] for i in range(1, k) if share_s[i] == 0 and share_t[i] > 0]
    direction = f"{'more' if gap[most] > 0 else 'fewer'} {names[most]!r} ({share_s[most]:.0%} to {share_t[most]:.0%})"
    if new:
        direction += f"; unseen in the source: {', '.join(map(repr, new[:3]))}{' ...' if len(new) > 3 else ''}"
    effect = Effect("total variation", tv, (max(0.0, tv - 1.96 * sd), min(1.0, tv + 1.96 * sd)))
    return effect, direction if tv > 0 else "the same"


def _worth(values: np.ndarray, weight: np.ndarray, groups: np.ndarray | None) -> float:
    """How many independent, equally weighted rows know the mean of some values as well."""
    return rows_worth(weighted_mean(values, weight, groups)[1])


def missing_phrase(rate_s: float, rate_t: float) -> str:
    """How often a value is missing: ``"missing 0% in the source, 22% in the target"``; "" where that is the same."""
    part_s, part_t = _text.share(rate_s), _text.share(rate_t)
    return "" if part_s == part_t else f"missing {part_s} in the source, {part_t} in the target"
