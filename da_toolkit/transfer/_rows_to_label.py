"""rows_to_label: which target rows to send to the annotators, drawn so that statistics on them stay valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.base import is_classifier

from shift_detectors._boundary import read_ids
from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError, ShiftWarning
from shift_detectors._random import check_random_state
from shift_detectors._warnings import ignored

from .._decision import no_scores, scores_classes
from .._rows import read_both
from .._target import unpack_target
from ..weighting._classifier_ratio import ClassifierRatio
from ..weighting._encoder import RowEncoder, pool


@dataclass(frozen=True, eq=False)
class RowsToLabel:
    """What `rows_to_label` drew.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Positions in `X_target`, ascending.
    inclusion_probability : ndarray of shape (n,)
        How probable it was that each of them would be drawn.
    size : ndarray of shape (n_target,)
        Inclusion probability of every target row; 0 of those that have a label already.

    Examples
    --------
    >>> drawn = RowsToLabel(np.array([0, 3]), np.array([0.5, 0.25]), np.array([0.5, 0.5, 0.25, 0.25, 0.5]))
    >>> drawn.sample_weight.round(2)
    array([0.67, 1.33])
    """

    rows: np.ndarray
    inclusion_probability: np.ndarray
    size: np.ndarray

    @property
    def sample_weight(self) -> np.ndarray:
        """Weights 1 / inclusion probability, mean 1: weighted means over the drawn rows estimate the target's."""
        weight = 1 / self.inclusion_probability
        return weight / weight.mean()

    @property
    def sample_weight_target(self) -> np.ndarray:
        """Of every target row, for `diagnose` and `adapt`: `sample_weight` of those drawn, 1 of the others."""
        weight = np.ones(len(self.size))
        weight[self.rows] = self.sample_weight
        return weight


def rows_to_label(
    estimator: Any,
    X_source: Any,
    X_target: Any,
    n: int,
    *,
    y_target: Any = None,
    groups_target: Any = None,
    random_state: Any = None,
) -> RowsToLabel:
    r"""Draw target rows worth a label: unlike the source, uncertain to the model, spread over the target.

    **Question.** You can afford n labels. Which rows teach most about the target, without making every later test
    and score on them a biased one?

    **How.** Each unlabelled target row gets the size

    .. math:: s_i = \tfrac12 + \tfrac12 \big( r_i^{domain} + r_i^{doubt} \big),

    with r the rank, from 0 to 1, of its out-of-fold log-odds of being a target row (`ClassifierRatio`) and of the
    model's doubt, 1 minus its largest probability (a regressor: the domain's rank twice). The inclusion
    probabilities are :math:`\pi_i = n s_i / \sum_j s_j`, at most 1. So every row can be drawn, none more than three
    times as probably as another. The local pivotal method draws exactly n rows with exactly these probabilities: two
    neighbouring rows fight for their joint probability until each is in or out, hence near duplicates are seldom
    both drawn.

    **Groups.** Of rows that belong together one is drawn at most: five of one patient are no five labels. A group is
    drawn as probably as its rows together would be, at most for certain; then one of its rows, in proportion to size.

    **Then.** Weigh what you compute on the drawn rows by `sample_weight` (Horvitz and Thompson): accuracies, tests
    and means refer to the whole target again. `diagnose` and `adapt` take `sample_weight_target`. The few-label
    adapters take the rows as they are, slightly tilted towards what is new to the model.

    Parameters
    ----------
    estimator : fitted estimator
        The source model. A classifier needs `predict_proba` or `decision_function`.
    X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
    n : int
        Labels wanted, at most the unlabelled target rows.
    y_target : array-like of shape (n_target,), optional
        Labels that are known already; those rows are not drawn, nor others of their groups.
    groups_target : array-like of shape (n_target,), optional
        Which target rows belong together, none missing; n is at most the number of groups without a label.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    RowsToLabel

    Notes
    -----
    Distances are Euclidean on encoded, standardised columns. Cost grows with the square of the unlabelled rows:
    seconds for ten thousand, draw from a random part of more.

    References
    ----------
    Grafstroem, Lundstroem, Schelin: Spatially balanced sampling through the pivotal method. Biometrics 68(2), 2012.
    Prabhu, Chandrasekaran, Saenko, Hoffman: Active domain adaptation via clustering uncertainty-weighted
    embeddings. ICCV 2021.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + [1, 0]
    >>> model = LogisticRegression().fit(X, X.sum(axis=1) > 0)
    >>> chosen = rows_to_label(model, X, X_target, 5, random_state=0)
    >>> len(chosen.rows), float(chosen.size.sum().round(6))
    (5, 5.0)
    """
    X_target, y_target = unpack_target(X_target, y_target)
    X_source, X_target = read_both(X_source, X_target, "X_source")
    m = X_target.shape[0]
    groups = np.arange(m) if groups_target is None else read_ids(groups_target, m, "groups_target", "X_target")
    known = np.zeros(m, bool) if y_target is None else ~pd.isna(np.asarray(y_target, object))
    if known.shape != (m,):
        raise InputError(f"y_target has shape {known.shape}", f"shape ({m},)", "One value per target row.")
    free = ~np.isin(groups, groups[known])
    most = len(np.unique(groups[free]))
    if not (isinstance(n, (int, np.integer)) and 1 <= n <= most):
        what = "rows" if groups_target is None else "groups"
        raise InputError(f"n={n!r}", f"an integer from 1 to {most}, the unlabelled target {what}")
    rng = check_random_state(random_state)

    with ignored(ShiftWarning):  # no overlap: then the rows beyond the source are wanted
        ratio = ClassifierRatio(random_state=rng.randint(2**31 - 1)).fit(X_source, X_target)
    rows = np.flatnonzero(free)
    candidates = take_rows(X_target, rows)
    domain = _rank(ratio.log_odds_[X_source.shape[0] :][rows])
    doubt = _rank(_doubt(estimator, candidates)) if is_classifier(estimator) else domain
    share = 0.5 + 0.5 * (domain + doubt)
    code = np.unique(groups[rows], return_inverse=True)[1]
    together = np.bincount(code, weights=share)
    chance = _inclusion(together, int(n))  # of every group; without groups every row is one
    one = code if groups_target is None else _one_of_each(code, share, rng)
    Z = np.asarray(RowEncoder(pool(X_source, X_target)).linear(candidates), float)
    drawn = np.sort(rows[one[local_pivotal(chance, Z[one], rng)]])
    size = np.zeros(m)
    size[rows] = (chance / together)[code] * share
    return RowsToLabel(drawn, size[drawn], size)


def _one_of_each(code: np.ndarray, share: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Position of a row of every group, drawn in proportion to its share: the first to ring of clocks at that rate."""
    order = np.lexsort((rng.exponential(size=len(share)) / share, code))
    return order[np.unique(code[order], return_index=True)[1]]


def _rank(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1, ties shared."""
    return (rankdata(values) - 1) / max(len(values) - 1, 1)


def _doubt(estimator: Any, X: Any) -> np.ndarray:
    """How little the most probable class stands out."""
    if hasattr(estimator, "predict_proba"):
        return 1 - np.max(estimator.predict_proba(X), axis=1)
    if not scores_classes(estimator, X):
        raise no_scores(estimator)
    values = np.asarray(estimator.decision_function(X))
    if values.ndim == 1:
        return -np.abs(values)
    top = np.partition(values, -2, axis=1)
    return top[:, -2] - top[:, -1]


def _inclusion(size: np.ndarray, n: int) -> np.ndarray:
    """Probabilities proportional to size that sum to n, none above 1."""
    probability, certain = np.zeros(len(size)), np.zeros(len(size), bool)
    while True:
        probability[~certain] = (n - certain.sum()) * size[~certain] / max(size[~certain].sum(), 1e-300)
        above = probability > 1
        if not above.any():
            return probability
        certain |= above
        probability[certain] = 1.0


def local_pivotal(probability: np.ndarray, Z: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Positions drawn with the given probabilities, which sum to a whole number; neighbours are seldom both drawn.

    Examples
    --------
    >>> local_pivotal(np.array([0.5, 0.5, 1.0]), np.zeros((3, 1)), np.random.RandomState(0)).shape
    (2,)
    """
    chance = probability.copy()
    undecided = np.flatnonzero((chance > 1e-9) & (chance < 1 - 1e-9))
    chance = np.where(chance > 0.5, 1.0, 0.0) if not len(undecided) else chance
    while len(undecided) > 1:
        at = rng.randint(len(undecided))
        distance = ((Z[undecided] - Z[undecided[at]]) ** 2).sum(axis=1)
        distance[at] = np.inf
        near = rng.choice(np.flatnonzero(distance == distance.min()))
        i, j = undecided[at], undecided[near]
        total = chance[i] + chance[j]
        # one of the two is decided: both keep their expectation
        if total < 1:
            winner, loser = (i, j) if rng.uniform() < chance[i] / total else (j, i)
            chance[winner], chance[loser] = total, 0.0
        else:
            winner, loser = (i, j) if rng.uniform() < (1 - chance[j]) / (2 - total) else (j, i)
            chance[winner], chance[loser] = 1.0, total - 1
        open_ = [k for k, unit in ((at, i), (near, j)) if 1e-9 < chance[unit] < 1 - 1e-9]
        undecided = np.delete(undecided, [k for k in (at, near) if k not in open_])
    return np.flatnonzero(chance > 0.5)  # what is left is whole but for rounding
