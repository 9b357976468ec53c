"""How sure an estimate is, from what every row adds to its error; rows may count unequally and belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ROUNDING = 1e-9  # by which an effective number of groups may miss 1


@dataclass(frozen=True)
class Part:
    """Rows of one domain in an estimate.

    Attributes
    ----------
    terms : ndarray of shape (n,)
        What each row adds to the error of the estimate.
    weight : ndarray of shape (n,)
        How much each row counts, up to a factor.
    groups : ndarray of shape (n,) or None
        Rows of equal value belong together, also across parts.
    """

    terms: np.ndarray
    weight: np.ndarray
    groups: np.ndarray | None = None


def share_of(weight: np.ndarray) -> np.ndarray:
    """Weights that sum to 1."""
    return weight / weight.sum()


def weighted_mean(
    values: np.ndarray, weight: np.ndarray | None = None, groups: np.ndarray | None = None
) -> tuple[float, Part]:
    """Mean of the values, and what every row adds to its error.

    Examples
    --------
    >>> value, part = weighted_mean(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    >>> value, part.terms.tolist()
    (0.25, [-0.1875, 0.1875])
    """
    share = share_of(np.ones(len(values)) if weight is None else weight)
    value = float(np.average(values, weights=weight))
    return value, Part(share * (values - value), share, groups)


def sum_within(rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Sums of the rows (n,) or (n, k) of every group; without groups the rows themselves.

    Examples
    --------
    >>> sum_within(np.array([1.0, 2.0, 4.0]), np.array(["a", "b", "a"])).tolist()
    [5.0, 2.0]
    """
    if groups is None:
        return rows
    names, code = np.unique(groups, return_inverse=True)
    total = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(total, code, rows)
    return total


def sampled_groups(groups: np.ndarray | None) -> np.ndarray | None:
    """The groups of a domain; None where it is a single one: that is what is asked about, its rows are the sample.

    Examples
    --------
    >>> sampled_groups(np.array([7, 7, 7])) is None
    True
    """
    return None if groups is None or (groups == groups[0]).all() else groups


def variance_of(*parts: Part, shares: bool = True) -> float:
    """Variance of the sum of all terms, which are independent between groups.

    The terms of k groups (or rows) are measured from their own mean, around which they vary by (k - 1) / k of what
    they do around the true one; a single group leaves no variance, and the error is unknown: infinite. Of `shares` of
    rows without groups the variance follows from the share.

    Examples
    --------
    >>> terms, groups = np.array([1.0, 1.0, -1.0, -1.0]), np.array([0, 0, 1, 1])
    >>> variance_of(Part(terms, np.ones(4))), round(variance_of(Part(terms, np.ones(4), groups)), 6)
    (4.0, 16.0)
    >>> variance_of(Part(terms, np.ones(4), np.zeros(4)))
    inf
    """
    terms: list[np.ndarray] = []
    together: list[tuple[np.ndarray, np.ndarray]] = []
    for part in parts:
        factor = 1.0
        if part.groups is not None or not shares:
            k = effective_rows(part.weight, part.groups)
            if k < 1 + ROUNDING:
                return np.inf
            factor = (k / (k - 1)) ** 0.5
        if part.groups is None:
            terms.append(factor * part.terms)
        else:
            together.append((factor * part.terms, np.asarray(part.groups)))
    if together:
        terms.append(sum_within(*(np.concatenate(both) for both in zip(*together, strict=True))))
    return float(sum(own @ own for own in terms))


def effective_rows(weight: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Kish's effective number of rows, or of groups, (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_rows(np.ones(4)), effective_rows(np.ones(4), np.array([0, 0, 1, 1]))
    (4.0, 2.0)
    """
    weight = sum_within(weight, groups)
    return float(weight.sum() ** 2 / (weight @ weight))


def design_effect(*parts: Part) -> float:
    """How many times groups of similar rows widen the variance, at least 1."""
    if all(part.groups is None for part in parts):
        return 1.0
    together, alone = variance_of(*parts), variance_of(*(replace(part, groups=None) for part in parts))
    return max(1.0, together / alone) if alone > 0 else 1.0


def rows_worth(*parts: Part) -> float:
    """How many independent, equally weighted rows know as much, at least 1: effective rows over the design effect.

    Examples
    --------
    >>> terms = np.tile([1.0, 1.0, -1.0, -1.0], 50)  # pairs of like rows
    >>> round(rows_worth(Part(terms, np.ones(200), np.repeat(np.arange(100), 2))))
    99
    """
    return max(1.0, sum(effective_rows(part.weight) for part in parts) / design_effect(*parts))


def degrees_of(*parts: Part, known: float = 0.0, shares: bool = True) -> float:
    """Degrees of freedom of the variance (Satterthwaite), besides a part of it that is `known`.

    Those of the effective number of groups, or of rows. Of `shares` of rows they are infinite without groups: the
    variance of a share follows from the share.
    """
    variance, squares = variance_of(*parts, shares=shares), 0.0
    if variance == np.inf:
        return 1.0
    for part in parts:
        if part.groups is not None or not shares:
            squares += variance_of(part, shares=shares) ** 2 / max(effective_rows(part.weight, part.groups) - 1, 1)
    return max((variance + known) ** 2 / squares, 1.0) if squares > 0 else np.inf
