"""Permutations of the domain, as one matrix, and the exact p-values that come from it.

Every permutation statistic of this package is a function of one signed matrix ``U`` of shape (n, B + 1):
column 0 is the observed assignment of rows to domains, the other columns are random ones; a target row has
+w_i / (sum of target weights), a source row -w_i / (sum of source weights). A difference of means is then
``features.T @ U``, a kernel distance the diagonal of ``U.T @ K @ U``, an empirical distribution function a
cumulative sum of ``U``; all permutations at once, as matrix products.

A mean of unequally weighted rows varies more: by sum w^2 / (sum w)^2 instead of 1 / n. An assignment that takes the
heavy rows from a small side to a large one would vary less than the observed one, so that with weights every column of
``U`` is scaled to the length of column 0. Where both sides are weighted alike the p-values stay exact; where only one
has weights, or they depend on x, they hold their level approximately.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammaincc

from ._errors import InputError

BLOCK = 256  # rows over which sums are taken in single precision
ROUNDING = 1e-3  # of what an exchange of all rows gives: what such sums may be off by, with a margin


def check_permutations(n_permutations: Any, least: int = 1) -> None:
    """Raise unless it is a number of permutations that can tell something."""
    if not isinstance(n_permutations, (int, np.integer)) or n_permutations < least:
        raise InputError(
            f"n_permutations={n_permutations!r}",
            f"a whole number of at least {least}",
            "With few permutations no p-value can be small.",
        )


def pvalue(statistics: np.ndarray) -> float:
    """Permutation p-value (1 + #{b : T_b >= T_0}) / (1 + B) of ``statistics[0]`` among all.

    Never 0, and at most `alpha` with probability at most `alpha` for every number of permutations.

    Examples
    --------
    >>> pvalue(np.array([3.0, 1.0, 2.0, 3.0, 0.0]))
    0.4
    """
    statistics = np.asarray(statistics)
    if not np.isfinite(statistics).all():
        raise FloatingPointError("a permutation statistic is not finite: rescale the columns of very large numbers")
    # the tolerance makes rounding errors of equal statistics count as ties
    slack = 1e-9 * max(1.0, abs(float(statistics[0])))
    return float((statistics >= statistics[0] - slack).sum() / len(statistics))


def permuted_domains(
    domain: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """Target membership of every row under the observed and `n_permutations` random assignments.

    Parameters
    ----------
    domain : ndarray of shape (n,)
        0 source, 1 target.
    n_permutations : int
    rng : Generator
    groups : ndarray of shape (n,), optional
        Rows of a group stay together. Groups that lie in one domain are exchanged with each other; in a
        group that spans both domains the rows are exchanged within the group.
    strata : ndarray of shape (n,), optional
        Rows are exchanged only within a stratum.

    Returns
    -------
    ndarray of bool, shape (n, n_permutations + 1)
        Column 0 is the observed assignment.
    """
    check_permutations(n_permutations)
    domain = np.asarray(domain, bool)
    n = len(domain)
    if groups is not None:
        return _permuted_groups(domain, n_permutations, rng, groups, strata)
    members = np.empty((n, n_permutations + 1), bool)
    members[:, 0] = domain
    blocks = [np.arange(n)] if strata is None else [np.flatnonzero(strata == s) for s in np.unique(strata)]
    for rows in blocks:
        n_target = int(domain[rows].sum())
        if not 0 < n_target < len(rows):
            members[rows, 1:] = n_target > 0
            continue
        block = np.zeros((n_permutations, len(rows)), bool)
        block[:, :n_target] = True
        members[rows, 1:] = rng.permuted(block, axis=1, out=block).T
    return members


def _permuted_groups(domain, n_permutations, rng, groups, strata):
    """Group-wise exchange: pure groups move as a whole, mixed groups are shuffled inside."""
    _, code = np.unique(groups, return_inverse=True)
    size = np.bincount(code)
    inside = np.bincount(code, weights=domain)
    mixed = ((inside > 0) & (inside < size))[code]
    members = np.empty((len(domain), n_permutations + 1), bool)
    members[:, 0] = domain
    if mixed.any():
        # rows of a mixed group are exchanged within it (and within its stratum)
        within = code[mixed] if strata is None else _pairs(code[mixed], strata[mixed])
        members[mixed] = permuted_domains(domain[mixed], n_permutations, rng, strata=within)
    pure = ~mixed
    if pure.any():
        ids, first, inverse = np.unique(code[pure], return_index=True, return_inverse=True)
        group_domain = domain[pure][first]
        # a group is one unit: its stratum is that of its first row
        group_strata = None if strata is None else strata[pure][first]
        unit = permuted_domains(group_domain, n_permutations, rng, strata=group_strata)
        members[pure] = unit[inverse]
    return members


def _pairs(a, b):
    """One code per distinct pair of values."""
    return np.unique(np.column_stack([a, b]), axis=0, return_inverse=True)[1].reshape(-1)


def signed(members: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The matrix U of the module docstring, float32, from memberships of shape (n, B + 1)."""
    if weight is None:
        n_target = members.sum(axis=0)
        n_source = len(members) - n_target
        up = (1 / np.maximum(n_target, 1)).astype(np.float32)
        down = (-1 / np.maximum(n_source, 1)).astype(np.float32)
        return np.where(members, up, down)
    mass = weight.astype(np.float32)[:, None]
    target = mass * members
    return difference(target, mass - target)


def difference(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Target less source (n, B + 1), each of mass one in every column, and all columns as long as the first."""
    up, down = (1 / np.maximum(side.sum(axis=0), 1e-12) for side in (target, source))
    U = target * up - source * down
    return U * same_length(np.einsum("ij,ij->j", U, U))


def against_all(members: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Target rows less all rows, which count alike and which the weights of the former are to represent (n, B + 1)."""
    target = weight.astype(np.float32)[:, None] * members
    U = target / np.maximum(target.sum(axis=0), 1e-12) - 1 / len(members)
    return U * same_length(np.einsum("ij,ij->j", U, U))


def same_length(squares: np.ndarray) -> np.ndarray:
    """Factors (B + 1,) that give columns of these squared lengths the length of the first."""
    return np.sqrt(squares[0] / np.maximum(squares, 1e-30))


def squared_length(U: np.ndarray) -> float:
    """Squared length of the observed assignment: what exchanging all rows gives (the mean of standardised values)^2."""
    return max(float(np.einsum("i,i->", U[:, 0], U[:, 0], dtype=np.float64)), 1e-300)


def product(F: np.ndarray, U: np.ndarray) -> np.ndarray:
    """F' U (k, B + 1) in double precision, of single-precision sums over blocks of rows."""
    total = np.zeros((F.shape[1], U.shape[1]))
    for start in range(0, len(U), BLOCK):
        total += F[start : start + BLOCK].T @ U[start : start + BLOCK]
    return total


def settled(statistics: np.ndarray, size: Any) -> np.ndarray:
    """Statistics (k, B + 1) of which those that rounding may have moved away from the observed one equal it.

    Where an exchange leaves a statistic as it is (few groups; the altitude of stations with rows on both sides), its
    values differ by rounding alone, and the observed assignment, whose rows are sorted, is rounded unlike the others.
    `size` (a number, or (k, 1)) is what an exchange of all rows gives on average, in the unit of the statistic.
    """
    observed = statistics[:, :1]
    margin = ROUNDING * np.sqrt(size * (size + np.abs(observed)))
    return np.where(np.abs(statistics - observed) <= margin, observed, statistics)


def random_signs(n: int, n_signs: int, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray:
    """Random signs (n, n_signs + 1), one for all rows of a group; column 0 is +1."""
    check_permutations(n_signs)
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    flips = rng.integers(0, 2, (int(unit.max()) + 1, n_signs), dtype=np.int8) * np.int8(2) - np.int8(1)
    return np.column_stack([np.ones(n, np.float32), flips[unit]])


def flipped(domain: np.ndarray, signs: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The matrix U where groups cannot be exchanged: every row's deviation from the common mean, with a random sign.

    Under the null both domains have one mean, to which each contributes by the worth of its rows. What a row adds to a
    difference of means, its deviation from that mean, is as likely with the other sign (wild bootstrap, Liu 1988; the
    level is approximate). A deviation from a mean that contains the row itself is too small and is enlarged by
    1 / (1 - its share in the mean), as in HC3 (MacKinnon and White 1985), at most to 3 1/3 times its size.
    """
    U = signed(domain[:, None].astype(bool), weight).astype(float)
    squares = np.where(domain, (U[domain == 1] ** 2).sum(), (U[domain == 0] ** 2).sum())[:, None]
    share = np.abs(U) / squares
    share /= share.sum()
    V = U * signs / np.maximum(1 - share, 0.3)
    V -= share * V.sum(axis=0)
    V[:, 0] = U[:, 0]
    return V.astype(np.float32)


def tail_logp(statistics: np.ndarray) -> np.ndarray:
    """Log of a smooth upper-tail probability of every statistic among its own permutations.

    Each value is judged by the shifted gamma distribution with the mean, variance and skewness (Pearson type III)
    of the *other* values of its row (one statistic, B + 1 assignments): an outlier does not widen its own
    distribution. The match is only a scale on which different statistics can be compared: it treats all B + 1
    values alike, so any function of the result that is again ranked by `pvalue` is exact, however rough the match.

    Parameters
    ----------
    statistics : ndarray of shape (k, B + 1)

    Returns
    -------
    ndarray of shape (k, B + 1), values <= 0
    """
    statistics = np.asarray(statistics, float)
    centre = statistics.mean(axis=1, keepdims=True)
    scale = statistics.std(axis=1, keepdims=True)
    constant = scale <= 1e-12 * np.maximum(1e-300, np.abs(centre))
    x = (statistics - centre) / np.where(constant, 1, scale)
    others = statistics.shape[1] - 1
    powers = x, x * x, x * x * x  # x**3 takes ten times as long
    mean, square, cube = ((power.sum(axis=1, keepdims=True) - power) / others for power in powers)
    variance = np.maximum(square - mean**2, 1e-10)
    z = (x - mean) / np.sqrt(variance)
    skew = np.clip((cube - 3 * mean * square + 2 * mean**3) / (variance * np.sqrt(variance)), 0.05, 4.0)
    shape = 4 / skew**2
    y = np.maximum(shape + z * np.sqrt(shape), 0)
    tail = gammaincc(shape, y)
    with np.errstate(divide="ignore"):
        logp = np.log(tail)
    # far tail, where the survival function underflows: log Q(a, x) ~ (a - 1) log x - x - log Gamma(a)
    far = ~(tail > 1e-290)
    if far.any():
        from scipy.special import gammaln

        a = shape[far]
        logp[far] = (a - 1) * np.log(y[far]) - y[far] - gammaln(a)
    logp[np.broadcast_to(constant, logp.shape)] = 0.0
    return np.minimum(logp, 0.0)


def harmonic(logp: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Log of the weighted sum of 1/p over rows: one statistic, large when any row is extreme.

    The heavy tail of 1/p makes it pay little for rows that see nothing (harmonic mean p, Wilson 2019; close
    to the Cauchy combination). Ranked by `pvalue` it is exact.
    """
    score = -np.asarray(logp)
    if weights is not None:
        score = score + np.log(weights)[:, None]
    top = score.max(axis=0)
    return top + np.log(np.exp(score - top).sum(axis=0))


def smallest(logp: np.ndarray) -> np.ndarray:
    """Minus the log of the smallest p over rows: pays little for rows that see the same. Ranked by `pvalue` exact."""
    return -np.asarray(logp).min(axis=0)


def step_down(logp: np.ndarray) -> np.ndarray:
    """Westfall-Young step-down min-p adjusted p-values of column 0 (family-wise, exact by permutation).

    Parameters
    ----------
    logp : ndarray of shape (k, B + 1)
        From `tail_logp`.

    Returns
    -------
    ndarray of shape (k,)

    References
    ----------
    Westfall and Young (1993), Resampling-Based Multiple Testing, algorithm 2.8.
    """
    order = np.argsort(logp[:, 0], kind="stable")
    successive = np.minimum.accumulate(logp[order][::-1], axis=0)[::-1]
    adjusted = (successive <= logp[order, :1] + 1e-12).mean(axis=1)
    result = np.empty(len(order))
    result[order] = np.maximum.accumulate(adjusted)
    return result
