"""Overlap of the domains: effective sample size, unsupported target rows, separating columns, importance."""

from __future__ import annotations

from itertools import chain

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier

from ._domain_classifier import auc_effect
from ._influence import effective_rows
from ._learners import binnable, one_thread
from ._results import Overlap
from ._table import Problem, Table

SEPARATOR_AUC = 0.99
CHANCE = 1e-3  # probability up to which it is no accident that all values of a column stand on one side
UNSUPPORTED = 0.95  # P(target | x) at equal sizes above which a target row has (nearly) no source neighbour
DRAWN = 2000
RELATED = (0.02, 15.0)  # squared correlation, and n times it, above which a column and y are related
MOST_FREQUENT = 20


def balanced_propensity(propensity: np.ndarray, n_source: int) -> np.ndarray:
    """P(target | x) if both domains had the same number of rows."""
    odds = propensity / (1 - propensity) * n_source / (len(propensity) - n_source)
    return odds / (1 + odds)


def importance_weights(propensity: np.ndarray, n_source: int) -> np.ndarray:
    """p_t(x) / p_s(x) on the source rows, mean 1, from cross-fitted propensities of all rows.

    Clipped at sqrt(n_source) times the mean: a single row whose propensity is all but 1 would otherwise
    stand for the whole target.
    """
    e = propensity[:n_source]
    weights = e / (1 - e)
    weights = np.minimum(weights, np.sqrt(n_source) * weights.mean())
    return weights / weights.mean()


def measure_overlap(
    propensity: np.ndarray, domain: np.ndarray, weight: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Overlap:
    """Summary of the propensities of all rows, source rows first, with their own weights and groups (n,)."""
    n_source = int((domain == 0).sum())
    own = np.ones(len(domain)) if weight is None else weight
    weights = importance_weights(propensity, n_source) * own[:n_source]
    ess = effective_rows(weights)
    heaviest = np.sort(weights)[::-1][: max(1, n_source // 100)]
    balanced = balanced_propensity(propensity, n_source)
    step_s, step_t = -(-n_source // DRAWN), -(-(len(domain) - n_source) // DRAWN)
    return Overlap(
        effective_sample_size=ess,
        ess_fraction=ess / n_source,
        domain_auc=auc_effect(propensity, domain, weight, groups),
        unsupported_share=float(np.average(balanced[n_source:] > UNSUPPORTED, weights=own[n_source:])),
        top_weight_share=float(heaviest.sum() / weights.sum()),
        propensity_source=balanced[:n_source:step_s],
        propensity_target=balanced[n_source::step_t],
    )


def separators(problem: Problem) -> tuple[str, ...]:
    """Columns that tell the domains apart alone: identifiers, dates, leaks, records that began later.

    Their AUC is above .99, or they have one value (or none) in one domain that the other does not know, or one domain
    did not measure them. Numbers on which y depends in the source are no leaks but measurements that moved far, and
    stay. When leaks are more than a fifth of the columns, it is the data that moved and not a column that leaks: of
    these then only datetimes are returned. Of numbers, those that order the rows alike count as one column, and those
    that only rise, or only fall, with such a datetime (the number of the week beside its date) are dates themselves.
    """
    table = problem.table
    apart, leaking, frozen = {}, [], [name for names in unmeasured(table).values() for name in names]
    domain = table.domain.astype(int)
    for j, name in enumerate(table.numeric_names):
        values = np.where(np.isnan(table.numeric[:, j]), -np.inf, table.numeric[:, j])
        auc = _auc(values, domain)
        if _frozen(values, domain):
            frozen.append(name)
        elif max(auc, 1 - auc) > SEPARATOR_AUC:
            apart[name] = values
    for names in _alike(apart, table.datetimes):
        if table.datetimes.intersection(names) or not any(depends_on_y(problem, name) for name in names):
            leaking.append(names)
    for j, name in enumerate(table.categorical_names):
        codes = table.codes[:, j] + 1
        size = np.bincount(codes)
        # share of target rows in the category without the row itself: no credit for a category of one row.
        # It is oriented: where a category has equal shares on both sides its AUC is 0, not 1
        own = np.bincount(codes, weights=domain)[codes] - domain
        others = np.maximum(size[codes] - 1, 1)
        share = np.where(size[codes] > 1, own / others, domain.mean())
        if _frozen(codes, domain):
            frozen.append(name)
        elif _auc(share, domain) > SEPARATOR_AUC:
            leaking.append([name])
    if len(leaking) > max(1, len(table.names) // 5):
        leaking = [names for names in leaking if table.datetimes.intersection(names)]
    found = [name for name in table.names if name in {*chain(*leaking), *frozen}]
    return tuple(found) if len(found) < len(table.names) else ()


def _alike(columns: dict[str, np.ndarray], datetimes: frozenset[str]) -> list[list[str]]:
    """Names of columns in sets: those that follow a datetime, and those that order the rows alike, up or down."""
    sets: dict[str | bytes, list[str]] = {}
    for name, values in columns.items():
        ranks = rankdata(values)
        date = next((date for date in columns if date in datetimes and _follows(ranks, columns[date])), None)
        sets.setdefault(date or min(ranks.tobytes(), (len(ranks) + 1 - ranks).tobytes()), []).append(name)
    return list(sets.values())


def _follows(ranks: np.ndarray, other: np.ndarray) -> bool:
    """Whether a column, by the ranks of its values, only rises, or only falls, along another one."""
    return any((np.diff(side[np.lexsort((side, other))]) >= 0).all() for side in (ranks, -ranks))


def unmeasured(table: Table) -> dict[str, tuple[str, ...]]:
    """Columns that have values in one domain only, by the domain that has none ("source", "target").

    However many of the other one's values are missing: they are too many to be all on that side by accident.
    """
    present = np.column_stack([~np.isnan(table.numeric), table.codes >= 0])
    sides = {"source": present[: table.n_source], "target": present[table.n_source :]}
    count = present.sum(axis=0)
    found = {}
    for side, rows in sides.items():
        by_accident = (1 - len(rows) / table.n) ** count
        lacking = ~rows.any(axis=0) & (by_accident <= CHANCE)
        found[side] = tuple(np.array(table.names, object)[lacking])
    return {side: names for side, names in found.items() if names}


def depends_on_y(problem: Problem, name: str) -> bool:
    """Whether a column and y are related in the source: a correlation of ranks or indicators is clear, and not tiny."""
    table = problem.table
    if problem.task is None:
        return False
    numeric = name in table.numeric_names
    j = (table.numeric_names if numeric else table.categorical_names).index(name)
    values = (table.numeric if numeric else table.codes)[: table.n_source, j]
    known = ~np.isnan(values)
    if not known.any():
        return False
    y = np.asarray(problem.y_source)[known]
    one, other = _standardised(values[known], numeric), _standardised(y, problem.task == "regression")
    related = np.max((one.T @ other) ** 2, initial=0.0)
    return bool(related > RELATED[0] and related * known.sum() > RELATED[1])


def _standardised(values: np.ndarray, numeric: bool) -> np.ndarray:
    """Ranks (n, 1), or indicators (n, k) of the most frequent values; columns of mean zero and length one."""
    if numeric:
        columns = rankdata(values)[:, None]
    else:
        kinds, counts = np.unique(values, return_counts=True)
        columns = (values[:, None] == kinds[np.argsort(-counts, kind="stable")[:MOST_FREQUENT]]).astype(float)
    columns = columns - columns.mean(axis=0)
    length = np.sqrt((columns**2).sum(axis=0))
    return columns / np.where(length > 1e-12, length, np.inf)


def _frozen(values: np.ndarray, domain: np.ndarray) -> bool:
    """Whether nearly all rows of one domain share a value that nearly no row of the other has."""
    sides = values[domain == 0], values[domain == 1]
    for side, other in (sides, sides[::-1]):
        middle = np.partition(side, len(side) // 2)[len(side) // 2]
        if (side == middle).mean() > SEPARATOR_AUC and (other == middle).mean() < 1 - SEPARATOR_AUC:
            return True
    return False


def _auc(values: np.ndarray, domain: np.ndarray) -> float:
    source, target = (np.sort(values[domain == side]) for side in (0, 1))
    below = sum(np.searchsorted(source, target, side).sum() for side in ("left", "right"))  # equal ones count half
    return below / (2 * len(source) * len(target))


def feature_importance(table: Table, random_state: int, limit: int = 60) -> dict[str, float]:
    """Loss of domain AUC on a held-out half when one feature is permuted there, for up to `limit` features.

    Trees are fitted on the other half. With more features than `limit`, those that separate the domains best
    by themselves are taken.
    """
    rng = np.random.default_rng(random_state)
    domain = table.domain.astype(int)
    order = rng.permutation(table.n)[:10_000]
    train, held = order[: len(order) // 2], order[len(order) // 2 :]
    if min(np.bincount(domain[train], minlength=2).min(), np.bincount(domain[held], minlength=2).min()) < 5:
        return {}
    with one_thread(len(train)):
        return _permutation_importance(table, train, held, domain, rng, limit)


def _permutation_importance(table, train, held, domain, rng, limit) -> dict[str, float]:
    keep = binnable(table.tree_input[train], table.tree_categorical)
    if not keep.any():
        return {}
    names = [name for name, kept in zip(table.names, keep, strict=True) if kept]
    past, X = table.tree_input[train][:, keep], table.tree_input[held][:, keep]
    model = HistGradientBoostingClassifier(
        max_iter=30,
        learning_rate=0.2,
        max_leaf_nodes=12,
        early_stopping=False,
        random_state=0,
        categorical_features=None if table.tree_categorical is None else table.tree_categorical[keep],
    ).fit(past, domain[train])
    base = _auc(model.predict_proba(X)[:, 1], domain[held])
    columns = range(X.shape[1])
    if X.shape[1] > limit:
        alone = [_auc(np.nan_to_num(past[:, j], nan=-np.inf), domain[train]) for j in columns]
        columns = np.argsort(np.abs(np.array(alone) - 0.5))[::-1][:limit]
    result = {}
    for j in columns:
        kept = X[:, j].copy()
        X[:, j] = rng.permutation(kept)
        result[names[j]] = max(0.0, float(base - _auc(model.predict_proba(X)[:, 1], domain[held])))
        X[:, j] = kept
    return result
