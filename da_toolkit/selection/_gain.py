r"""Gain of an adapted model over the model as it is, on the target, with an interval.

All three estimators compare the two models on the *same* held-out rows. With v the value of an answer (1 when a
class is right; minus the loss that is judged otherwise) and d = v(adapted) - v(source-only):

====================== ================================================ =======================================
function               formula                                          right when
====================== ================================================ =======================================
`under_covariate`      mean_s w (d - m(x)) + mean_t m(x)                p(y|x) is the same, overlap
`under_label_shift`    sum_y q_y mean_s(d - m(x) | y) + mean_t m(x)     p(x|y) is the same
`on_labels`            mean of d over labelled target rows              they are a (weighted) random sample
====================== ================================================ =======================================

w is the density ratio, q the estimated class prior of the target, and m(x) any guess of E[d | x]: it leaves the
estimate right and takes variance away (for the first it also makes up for wrong weights). The variance is that of
the influence function, summed over groups where rows belong together; a row's part in q is added to its own. Of
classes, one more row in favour of either side is counted (Agresti and Min 2005): a model that wins 3 : 0 has shown
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from shift_detectors._influence import Part, effective_rows, variance_of, weighted_mean
from shift_detectors._prior import PriorFit
from shift_detectors._results import Effect


@dataclass(frozen=True)
class Gain:
    """An estimated gain.

    Attributes
    ----------
    value, se : float
        In units of the metric; positive is better. `se` is infinite where all rows belong to one group.
    rows : float
        How many equally weighted rows it rests on.
    """

    value: float
    se: float
    rows: float

    def lower(self, level: float) -> float:
        """One-sided lower confidence bound at error level `level`."""
        return self.value - float(student.isf(level, max(self.rows - 1, 1))) * self.se

    def effect(self) -> Effect:
        """With its 95 % interval, where the error is known."""
        half = float(student.isf(0.025, max(self.rows - 1, 1))) * self.se
        return Effect("gain", self.value, (self.value - half, self.value + half) if np.isfinite(half) else None)


def under_covariate(
    d: np.ndarray,
    weights: np.ndarray,
    m_source: np.ndarray,
    m_target: np.ndarray,
    *,
    classes: bool,
    groups: np.ndarray | None = None,
    groups_target: np.ndarray | None = None,
) -> Gain:
    """Doubly robust mean of d over the target, from source rows with density-ratio weights."""
    offset, on_source = weighted_mean(d - m_source, weights, groups)
    expected, on_target = weighted_mean(m_target, groups=groups_target)
    variance = variance_of(on_source, on_target, shares=False)
    if classes:
        variance += 2 * float((on_source.weight**2).mean())
    return Gain(offset + expected, float(np.sqrt(variance)), effective_rows(weights, groups))


def under_label_shift(
    d: np.ndarray,
    y: np.ndarray,
    prior: PriorFit,
    m_source: np.ndarray,
    m_target: np.ndarray,
    *,
    classes: bool,
    weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    groups_target: np.ndarray | None = None,
) -> Gain:
    """Mean of d over the target, from source rows weighted by q_y / p_y.

    `prior` was estimated on the rows of `y` and `m_target`: where they mislead about q they mislead about d, too.
    """
    assert prior.influence is not None
    own = np.ones(len(y)) if weight is None else weight
    codes = np.searchsorted(prior.classes, y)
    mass = np.bincount(codes, weights=own, minlength=len(prior.classes))
    w = own * (prior.prior / mass)[codes]  # sums to 1
    residual = d - m_source
    means = np.bincount(codes, weights=own * residual, minlength=len(mass)) / mass
    expected, on_target = weighted_mean(m_target, groups=groups_target)
    on_source = Part(w * (residual - means[codes]), w, groups)
    variance = prior.influence.variance_with(means, on_source, on_target)
    if classes:
        variance += 2 * float((w**2).mean())
    return Gain(float(prior.prior @ means) + expected, float(np.sqrt(variance)), effective_rows(w, groups))


def on_labels(
    d: np.ndarray, *, classes: bool, weight: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Gain:
    """Mean of d over labelled target rows."""
    n = len(d)
    value, part = weighted_mean(d, weight, groups)
    variance = variance_of(part, shares=False)
    if classes:
        variance += 2 * float((part.weight**2).mean())
    return Gain(value, float(np.sqrt(variance)), effective_rows(np.ones(n) if weight is None else weight, groups))
