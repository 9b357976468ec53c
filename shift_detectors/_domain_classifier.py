"""Classifier two-sample test: can a model tell source rows from target rows?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import logit
from scipy.stats import norm, rankdata

from ._base import BaseDetector
from ._influence import sum_within
from ._learners import (
    Inputs,
    best_blend,
    blend_probabilities,
    crossfit_learners,
    domain_folds,
    fit_probabilities,
)
from ._permutation import permuted_domains, pvalue, settled, signed, squared_length
from ._random import generator
from ._results import Effect, ShiftTestResult
from ._table import Problem

FOLDS = 5
PERMUTATIONS = 499


class DomainClassifierTest(BaseDetector):
    """Can a classifier tell the domains apart better than by chance?

    The rows are cut into five folds. Fold k is scored by a classifier (logistic model and boosted trees,
    blended) that was fitted on folds 1..k-1 only, and the Wilcoxon rank-sum statistic z_k of its scores
    compares the domains within fold k; the test statistic is the weighted sum

        Z = sum_k a_k z_k / sqrt(sum_k a_k^2),   a_k^2 = rows of fold k times the share of rows before it.

    Given the past each z_k has mean 0 and variance 1 under the null, so Z is a normalised martingale, close
    to N(0, 1). (The usual pooled k-fold AUC uses every pair of folds in both roles: for a linear
    classifier its variance is twice the nominal one.) The effect is the cross-fitted AUC.

    Assumption: rows (or groups) are exchangeable between domains under the null, together with their weights if
    there are any; with groups or weights every z_k is calibrated by permutation within its fold.

    Parameters
    ----------
    random_state : int, Generator, RandomState or None

    References
    ----------
    Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests, ICLR. Kim, Ramdas, Singh and Wasserman
    (2021), Classification accuracy as a proxy for two-sample testing, Annals of Statistics 49(1).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) * [1, 2]
    >>> result = DomainClassifierTest(random_state=0).test(X_source, X_target)
    >>> result.rejects(), round(result.effect.value, 1)
    (True, 0.7)
    """

    quantity: ClassVar[str] = "p(x)"

    def __init__(self, random_state=None):
        self.random_state = random_state

    def _test(self, problem: Problem) -> ShiftTestResult:
        table = problem.table
        domain = table.domain.astype(int)
        rng = generator(self.random_state)
        fold = domain_folds(table, FOLDS, int(rng.integers(2**31)), problem.groups)
        inputs = Inputs.of(table)
        learners = crossfit_learners(inputs, domain, fold, 2, weight=problem.weight)
        scores = prequential_scores(inputs, domain, fold, problem.weight, learners)
        statistic, p = rank_sum(scores, domain, fold, problem.groups, problem.weight, rng)
        propensity = best_blend(learners, domain, weight=problem.weight)[:, 1]
        return ShiftTestResult(
            detector=type(self).__name__,
            quantity=self.quantity,
            statistic=statistic,
            pvalue=p,
            effect=auc_effect(propensity, domain, problem.weight, problem.groups),
            n_source=table.n_source,
            n_target=table.n_target,
        )


def prequential_scores(inputs: Inputs, domain, fold, weight=None, learners=None) -> np.ndarray:
    """Log-odds of the target for every row, from models fitted on preceding folds; 0 in the first fold.

    `learners`, from `crossfit_learners` on the same rows, saves the fit for the last fold, which all others precede.
    """
    scores, last = np.zeros(len(domain)), int(fold.max())
    for k in range(1, last + 1):
        past, rows = np.flatnonzero(fold < k), np.flatnonzero(fold == k)
        if k == last and learners is not None:
            parts = [part[rows] for part in learners]
        else:
            parts = fit_probabilities(inputs, past, domain, rows, 2, weight)
        base = np.bincount(domain[past], weights=None if weight is None else weight[past], minlength=2)
        base = base / base.sum()
        scores[rows] = logit(blend_probabilities(parts, base, (0.5, 0.5))[:, 1]) - logit(base[1])
    return scores


def rank_sum(scores, domain, fold, groups, weight, rng) -> tuple[float, float]:
    """Weighted sum of the folds' rank-sum statistics, and its one-sided p-value."""
    simple = groups is None and weight is None
    total, null, norm_squared = 0.0, np.zeros(PERMUTATIONS + 1), 0.0
    for k in range(1, int(fold.max()) + 1):
        rows = np.flatnonzero(fold == k)
        n, m = len(rows), int(domain[rows].sum())
        ranks = rankdata(scores[rows])
        variance = m * (n - m) / n * ranks.var(ddof=1) if 0 < m < n else 0.0
        if variance <= 0:
            continue
        a = np.sqrt(n * (fold < k).mean())
        norm_squared += a**2
        if simple:
            total += a * (ranks[domain[rows] == 1].sum() - m * (n + 1) / 2) / np.sqrt(variance)
        else:  # dependent or weighted rows: their own permutations give the scale
            members = permuted_domains(domain[rows], PERMUTATIONS, rng, None if groups is None else groups[rows])
            U = signed(members, None if weight is None else weight[rows])
            size = ranks.std() * np.sqrt(squared_length(U))
            (gap,) = settled(((ranks - ranks.mean()) @ U)[None, :], size)
            null += a * (gap - gap.mean()) / max(gap.std(), 1e-12)
    if norm_squared == 0:
        return 0.0, 1.0
    if not simple:
        return float(null[0] / np.sqrt(norm_squared)), pvalue(null)
    statistic = total / np.sqrt(norm_squared)
    return float(statistic), float(norm.sf(statistic))


def auc_effect(
    score: np.ndarray, domain: np.ndarray, weight: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Effect:
    """AUC, weighted if there are weights, with DeLong's 95 % interval (DeLong, DeLong and Clarke-Pearson 1988).

    A classifier that found nothing scores all rows alike, and its AUC of 1/2 does not vary; that the domains are
    alike is known no better for it. So the standard deviation is at least 4 AUC (1 - AUC) times that of scores
    without ties and without information. With groups (n,) the terms of DeLong's variance are summed within them.
    """
    weight = np.ones(len(score)) if weight is None else weight
    target, source = domain == 1, domain == 0
    w_target, w_source = weight[target] / weight[target].sum(), weight[source] / weight[source].sum()
    over = _share_below(score[target], score[source], w_source)
    under = 1 - _share_below(score[source], score[target], w_target)
    auc = float(w_target @ over)
    terms = np.empty(len(score))
    terms[target], terms[source] = w_target * (over - auc), w_source * (under - auc)
    variance = (sum_within(terms, groups) ** 2).sum()
    without_information = ((w_target**2).sum() + (w_source**2).sum()) / 12
    sd = np.sqrt(max(variance, (4 * auc * (1 - auc)) ** 2 * without_information))
    return Effect("domain AUC", auc, (max(0.0, auc - 1.96 * sd), min(1.0, auc + 1.96 * sd)))


def _share_below(values: np.ndarray, others: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted share of `others` below each value, half of the equal ones included."""
    order = np.argsort(others)
    mass = np.r_[0.0, np.cumsum(weight[order])]
    low, high = (np.searchsorted(others[order], values, side=side) for side in ("left", "right"))
    return (mass[low] + mass[high]) / 2
