"""What the tests could find at all: with few groups there are few ways to exchange them, and no small p-value."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from ._table import Problem


def least_by_exchange(domain: np.ndarray, groups: np.ndarray) -> float:
    """Smallest p-value of a permutation test: one over the number of distinct assignments of `permuted_domains`.

    Examples
    --------
    >>> round(1 / least_by_exchange(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3])))  # two groups of four
    6
    >>> round(1 / least_by_exchange(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])))  # two rows of four
    6
    """
    code = np.unique(groups, return_inverse=True)[1]
    size, inside = np.bincount(code), np.bincount(code, weights=domain)
    mixed = (inside > 0) & (inside < size)
    units = np.r_[size[mixed], (~mixed).sum()]
    chosen = np.r_[inside[mixed], (inside[~mixed] > 0).sum()]
    return float(np.exp((gammaln(chosen + 1) + gammaln(units - chosen + 1) - gammaln(units + 1)).sum()))


def least_by_signs(groups: np.ndarray) -> float:
    """Smallest p-value where every group gets a random sign: the probability that all get the same.

    Examples
    --------
    >>> least_by_signs(np.array([0, 0, 1, 2]))
    0.25
    """
    return 2.0 ** (1 - len(np.unique(groups)))


def out_of_reach(problem: Problem, level: float, share: float, labels: bool) -> tuple[str, ...]:
    """Quantities of which no p-value can be as small as `level`; p(x) gets a `share` of it. With `labels` all four."""
    if problem.groups is None:
        return ()
    domain, groups = problem.table.domain, problem.groups
    least = {"p(x)": least_by_exchange(domain, groups) / share}
    if labels:
        known = np.r_[np.ones(problem.table.n_source, bool), problem.labelled]
        exchange, signs = least_by_exchange(domain[known], groups[known]), least_by_signs(groups[known])
        least |= {"p(y)": exchange, "p(x|y)": min(exchange, signs), "p(y|x)": signs}
    return tuple(quantity for quantity, value in least.items() if value > level)
