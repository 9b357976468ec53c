"""How far y given x varies without any change, for rows that stand alone and for rows that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._exchanges import least_by_signs
from ._influence import sum_within
from ._table import Problem


@dataclass(frozen=True)
class SharedNoise:
    """What rows of one group have in common, where groups were given.

    Attributes
    ----------
    share : float
        Part of the residual variance of y given x that is common to the rows of a group: the correlation of the
        residuals of two of them, between 0 and 1.
    source, target, across : float
        How probable it is that two rows are of one group: two of the source, two of the target, one of each.
    n_groups : int
        Of both sides.
    """

    share: float
    source: float
    target: float
    across: float
    n_groups: int

    @property
    def least_pvalue(self) -> float:
        """That `ConditionalScoreTest` can give."""
        return least_by_signs(np.arange(self.n_groups))


def label_noise(problem: Problem, predicted: Any) -> tuple[float | None, SharedNoise | None]:
    """Residual variance of y given x on the source, of a class indicator or relative to var(y), and what groups share.

    Of the class indicator that varies most. `predicted` is from `source_scores`.
    """
    if problem.task is None:
        return None, None
    predicted = predicted[: problem.table.n_source]
    if problem.task == "classification":
        residual = (problem.y_source[:, None] == problem.classes) - predicted
        residual = residual[:, (residual**2).mean(axis=0).argmax()]
    else:
        y = problem.y_source.astype(float)
        residual = (y - predicted[:, 0]) / y.std() if y.std() > 0 else np.ones(len(y))
    shared = None if problem.groups is None else shared_noise(residual, problem.groups)
    return float((residual**2).mean()), shared


def shared_noise(residual: np.ndarray, groups: np.ndarray) -> SharedNoise:
    """From the cross-fitted residuals (n_source,) of the source and the groups (n,) of all rows, source first.

    Examples
    --------
    >>> noise = shared_noise(np.array([1.0, 1.0, -1.0, -1.0]), np.array([0, 0, 1, 1, 2, 2, 2, 3]))
    >>> noise.share, round(noise.source, 2), noise.target, noise.across, noise.n_groups
    (1.0, 0.33, 0.5, 0.0, 4)
    """
    own, other = groups[: len(residual)], groups[len(residual) :]
    counts = np.array([np.bincount(side, minlength=groups.max() + 1) for side in (own, other)], float)
    pairs = counts @ counts.T - np.diag(counts.sum(axis=1))
    source, target = (pairs[k, k] / max(len(side) * (len(side) - 1), 1) for k, side in enumerate((own, other)))
    products = (sum_within(residual, own) ** 2).sum() - (residual**2).sum()
    # where no two rows of the source belong together all of it may be common
    covariance = products / pairs[0, 0] if pairs[0, 0] else np.inf
    share = float(np.clip(covariance / max((residual**2).mean(), 1e-300), 0, 1))
    across = float(pairs[0, 1] / (len(own) * len(other)))
    return SharedNoise(share, float(source), float(target), across, len(np.unique(groups)))


def noise_of_difference(labels: float, n_source: int, shared: SharedNoise | None) -> tuple[float, float]:
    """Variance of the difference of two means of y given x, in residual variances of a row, and degrees of freedom.

    Of so many target rows, drawn at random, from those of the source. The rows of a group share an effect, which more
    rows do not average out, and which cancels as far as both domains have the same groups. The degrees of freedom are
    those of the effective number of groups, of rows where they stand alone, in the domain that has fewer.

    Examples
    --------
    >>> noise_of_difference(50, 50, None)
    (0.04, 49.0)
    >>> ten_groups_a_side = SharedNoise(share=1.0, source=0.1, target=0.1, across=0.0, n_groups=20)
    >>> [round(value, 3) for value in noise_of_difference(10**9, 10**9, ten_groups_a_side)]
    [0.2, 9.0]
    """
    alone = 1 / labels, 1 / n_source
    if shared is None:
        return sum(alone), min(labels, n_source) - 1.0
    same = [one + (1 - one) * of for one, of in zip(alone, (shared.target, shared.source), strict=True)]
    common = max(sum(same) - sum(alone) - 2 * shared.across, 0.0)
    return sum(alone) + shared.share * common, max(1 / max(same) - 1, 0.0)
