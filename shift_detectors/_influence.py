"""How sure an estimate is, from what every row adds to its error; rows may count unequally and belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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


def variance_of(*parts: Part) -> float:
    """Variance of the sum of all terms, which are independent between groups.

    Examples
    --------
    >>> terms = np.array([1.0, 1.0, -2.0])
    >>> variance_of(Part(terms, np.ones(3))), variance_of(Part(terms, np.ones(3), np.array([0, 0, 1])))
    (6.0, 8.0)
    """
    apart = [part.terms for part in parts if part.groups is None]
    together = [part for part in parts if part.groups is not None]
    if together:
        labels = np.concatenate([np.asarray(part.groups) for part in together])
        apart.append(sum_within(np.concatenate([part.terms for part in together]), labels))
    return float(sum(terms @ terms for terms in apart))


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
    alone = float(sum(part.terms @ part.terms for part in parts))
    return max(1.0, variance_of(*parts) / alone) if alone > 0 else 1.0


def rows_worth(*parts: Part) -> float:
    """How many independent, equally weighted rows know as much: Kish's effective rows over the design effect.

    Examples
    --------
    >>> rows_worth(Part(np.array([1.0, 1.0, -1.0, -1.0]), np.ones(4), np.array([0, 0, 1, 1])))
    2.0
    """
    return sum(effective_rows(part.weight) for part in parts) / design_effect(*parts)


def degrees_of(*parts: Part, known: float = 0.0, shares: bool = True) -> float:
    """Degrees of freedom of the variance (Satterthwaite), besides a part of it that is `known`.

    Those of the effective number of groups, or of rows. Of `shares` of rows they are infinite without groups: the
    variance of a share follows from the share.
    """
    squares = 0.0
    for part in parts:
        if part.groups is not None or not shares:
            squares += variance_of(part) ** 2 / max(effective_rows(part.weight, part.groups) - 1, 1)
    return max((variance_of(*parts) + known) ** 2 / squares, 1.0) if squares > 0 else np.inf
