"""Where the shift lives: parts of the table, in words, that are more or less frequent in the target."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import numpy as np
from scipy.stats import norm
from sklearn.tree import DecisionTreeClassifier

from ._random import check_random_state
from ._results import Effect, Region
from ._table import Table
from ._text import number, squeeze

MAX_ROWS = 20_000  # of both sides, half of them to find the regions
MAX_REGIONS = 6
MAX_LEVELS = 10  # categories of a column that a rule may name
DEPTH = 3
SMALLEST = 0.03  # share of the rows
SLIP = 0.005  # share of the rows that rounding may put on the other side of a bound
CHI_SQUARE = 15.0  # of a split that is worth a condition


def find_regions(table: Table, groups: np.ndarray | None = None, random_state=None) -> tuple[Region, ...]:
    r"""Which rows are more, and which less, frequent in the target?

    A decision tree of depth 3 learns on one half of the rows (at most 10 000) who is in the target, both sides with
    equal mass; a split that chance could have made is not made. Its leaves are the regions: they do not overlap and
    can be said in words. How frequent each is, is measured on the *other* half, so that the tree is not believed where
    it saw what is not there. With the shares :math:`p_s, p_t` of a region on :math:`n_s, n_t` rows, each counted with
    half a row more,

    .. math:: \log \frac{p_t}{p_s} \pm z \sqrt{\frac{1 - p_t}{n_t p_t} + \frac{1 - p_s}{n_s p_s}} .

    Regions whose interval holds 1 are left out. Rows count alike: weights are not used.

    Assumption: the shift can be cut out along the columns. Fails where only a combination of many columns changed:
    then no region may be found although the samples differ.

    Parameters
    ----------
    table : Table
    groups : ndarray of int, shape (n,), optional
        Rows of a group stay in one half.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    tuple of Region
        At most 6, by :math:`(p_t - p_s) \log (p_t / p_s)`, their part in the divergence of the domains.

    References
    ----------
    Katz, Baptista, Azen, Pike, Obtaining confidence intervals for the risk ratio in cohort studies, Biometrics 34
    (1978).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = np.r_[rng.uniform(0, 100, 2000), rng.uniform(40, 100, 2000)][:, None]
    >>> table = Table(rows, np.empty((4000, 0), np.int32), ("age",), (), (), n_source=2000)
    >>> missing = find_regions(table, random_state=0)[0]
    >>> missing.rule, round(missing.source, 1), missing.target
    (('age ≤ 39.9',), 0.4, 0.0)
    """
    rng = check_random_state(random_state)
    learn, measure = _halves(table, groups, rng)
    conditions = _Conditions(table)
    domain = table.domain
    if not table.names or min(np.bincount(domain[half], minlength=2).min() for half in (learn, measure)) < 20:
        return ()
    X = conditions.columns(learn)
    tree = DecisionTreeClassifier(
        max_depth=DEPTH,
        min_samples_leaf=max(10, int(SMALLEST * len(learn))),
        # a chi-square statistic of that size, in units of the Gini index: beyond the best of many splits by chance
        min_impurity_decrease=0.5 * (CHI_SQUARE + 2 * math.log(X.shape[1])) / len(learn),
        class_weight="balanced",
        random_state=0,
    ).fit(X, domain[learn])
    leaf = tree.apply(conditions.columns(measure))
    rules = {node: rule for node, rule in conditions.rules(tree) if rule}
    z = norm.isf(0.025 / max(1, len(rules)))
    n_source, n_target = np.bincount(domain[measure])
    regions: list[tuple[float, Region]] = []
    for node, rule in rules.items():
        in_source, in_target = np.bincount(domain[measure][leaf == node], minlength=2)
        p_s, p_t = (in_source + 0.5) / (n_source + 1), (in_target + 0.5) / (n_target + 1)
        half = z * math.sqrt((1 - p_t) / (n_target * p_t) + (1 - p_s) / (n_source * p_s))
        value = float(p_t / p_s)
        low, high = value * math.exp(-half), value * math.exp(half)
        if low > 1 or high < 1:
            ratio = Effect("times as frequent in the target", value, (low, high))
            part = (p_t - p_s) * math.log(p_t / p_s)
            regions.append((part, Region(rule, float(in_source / n_source), float(in_target / n_target), ratio)))
    return tuple(region for _, region in sorted(regions, key=lambda pair: -pair[0])[:MAX_REGIONS])


def _halves(table: Table, groups: np.ndarray | None, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of up to 20 000 rows; no group in both."""
    rows = np.sort(rng.permutation(table.n)[:MAX_ROWS])
    code = rows if groups is None else groups[rows]
    values = np.unique(code)
    first = np.isin(code, values[rng.permutation(len(values))[: len(values) // 2]])
    return rows[first], rows[~first]


class _Conditions:
    """Columns that a tree may split, and their splits in words.

    Numbers, with the median where they are missing; one column of 0 and 1 for each frequent category; and one that
    says that a number is missing.
    """

    def __init__(self, table: Table):
        self.table = table
        self.whole = [_is_whole(column) for column in table.numeric.T]
        gaps = np.isnan(table.numeric)
        self.gaps = np.flatnonzero(gaps.any(axis=0) & ~gaps.all(axis=0))
        self.fill = np.array([np.nanmedian(column) if np.isfinite(column).any() else 0.0 for column in table.numeric.T])
        self.levels: list[tuple[int, int]] = []
        for j in range(len(table.categorical_names)):
            codes, counts = np.unique(table.codes[:, j], return_counts=True)
            top = codes[np.argsort(-counts, kind="stable")[:MAX_LEVELS]]
            self.levels += [(j, int(code)) for code in (top[:1] if len(codes) == 2 else top)]

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """Float matrix: numbers, then which are missing, then categories."""
        numeric = self.table.numeric[rows]
        missing = np.isnan(numeric)
        filled = np.clip(np.where(missing, self.fill, numeric), -1e38, 1e38)
        categories = [self.table.codes[rows, j] == code for j, code in self.levels]
        return np.column_stack([filled, missing[:, self.gaps], *categories])

    def rules(self, fitted: DecisionTreeClassifier) -> list[tuple[int, tuple[str, ...]]]:
        """Every leaf with its conditions."""
        tree = fitted.tree_
        found, stack = [], [(0, {})]
        while stack:
            node, bounds = stack.pop()
            left, right = tree.children_left[node], tree.children_right[node]
            if left == right:
                found.append((node, self._say(bounds)))
                continue
            column, threshold = int(tree.feature[node]), float(tree.threshold[node])
            low, high = bounds.get(column, (-math.inf, math.inf))
            stack.append((right, {**bounds, column: (max(low, threshold), high)}))
            stack.append((left, {**bounds, column: (low, min(high, threshold))}))
        return found

    def _say(self, bounds: dict[int, tuple[float, float]]) -> tuple[str, ...]:
        """Rows with low < value ≤ high in every column, in words."""
        n, said = len(self.whole), []
        for column, (low, high) in bounds.items():
            k = column - n
            if k >= len(self.gaps):
                said.append(self._category(*self.levels[k - len(self.gaps)], low > 0))
            elif k >= 0:
                name = squeeze(self.table.numeric_names[self.gaps[k]], 30)
                said.append(f"{name} is {'missing' if low > 0 else 'known'}")
            else:
                gap = np.flatnonzero(self.gaps == column)
                known = not len(gap) or n + gap[0] in bounds  # or another condition says so
                or_missing = "" if known or not low < self.fill[column] <= high else ", or missing"
                said.append(self._range(column, low, high) + or_missing)
        return tuple(said)

    def _category(self, j: int, code: int, inside: bool) -> str:
        name, levels = squeeze(self.table.categorical_names[j], 30), np.unique(self.table.codes[:, j])
        if code >= 0 and len(levels) == 2 and not inside:  # the other one, by its own name
            code, inside = int(levels[levels != code][0]), True
        if code < 0:
            return f"{name} is {'missing' if inside else 'known'}"
        return f"{name} is {'' if inside else 'not '}{squeeze(repr(str(self.table.categories[j][code])), 24)}"

    def _range(self, column: int, low: float, high: float) -> str:
        name, whole = squeeze(self.table.numeric_names[column], 40), self.whole[column]
        first = self._number(column, math.floor(low) + 1 if whole and low > -math.inf else low)
        last = self._number(column, math.floor(high) if whole and high < math.inf else high)
        if high == math.inf:
            return f"{name} {'≥' if whole else '>'} {first}"
        if low == -math.inf:
            return f"{name} ≤ {last}"
        return f"{name} = {first}" if first == last else f"{name} from {first} to {last}"

    def _number(self, column: int, value: float) -> str:
        if not math.isfinite(value):
            return ""
        if self.table.numeric_names[column] in self.table.datetimes:
            return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d")
        below = self.table.numeric[:, column] <= value
        for digits in range(3, 17):
            text = number(value, digits)
            if (below != (self.table.numeric[:, column] <= float(text.replace(",", "")))).mean() <= SLIP:
                break
        return text


def _is_whole(values: np.ndarray) -> bool:
    present = values[np.isfinite(values)]
    return bool(present.size and np.abs(present).max() < 1e9 and np.array_equal(present, np.rint(present)))
