"""Regions: found where they were put, honest where there are none, said in words."""

from __future__ import annotations

import numpy as np
import pytest

from shift_detectors._regions import MAX_REGIONS, find_regions
from shift_detectors._table import Table


def table_of(source, target, codes=None, categories=(), names=None, datetimes=frozenset()):
    numeric = np.vstack([source, target]).astype(float)
    names = tuple(f"x{j}" for j in range(numeric.shape[1])) if names is None else names
    codes = np.empty((len(numeric), 0), np.int32) if codes is None else np.asarray(codes, np.int32)
    named = tuple(f"c{j}" for j in range(codes.shape[1]))
    return Table(numeric, codes, names, named, categories, len(source), datetimes)


def bounds(region) -> tuple[float, float]:
    assert region.ratio.ci is not None
    return region.ratio.ci


@pytest.mark.parametrize("seed", range(3))
def test_a_corner_is_found_and_its_shares_are_right(seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(size=(4000, 5))
    target = rng.uniform(size=(3000, 5))
    corner = rng.random(3000) < 0.3
    target[corner, 0], target[corner, 3] = rng.uniform(0.8, 1, corner.sum()), rng.uniform(0, 0.2, corner.sum())
    first = find_regions(table_of(source, target), random_state=seed)[0]
    assert {condition.split()[0] for condition in first.rule} >= {"x0", "x3"}
    assert first.target - first.source > 0.2
    low, high = bounds(first)
    assert 1 < low < first.ratio.value < high


def test_without_a_shift_hardly_ever_a_region():
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(600, 4))
        found += bool(find_regions(table_of(rows[:300], rows[300:]), random_state=seed))
    assert found <= 8  # .05 of 60 is 3; with probability .99 at most 8


def test_intervals_cover_the_true_ratio():
    inside = total = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        source, target = rng.uniform(size=(800, 1)), np.sqrt(rng.uniform(size=(800, 1)))  # densities 1 and 2x
        for region in find_regions(table_of(source, target), random_state=seed):
            (condition,) = region.rule
            numbers = [float(word) for word in condition.split() if word[0].isdigit()]
            low, high = numbers if "from" in condition else (0, numbers[0]) if "≤" in condition else (numbers[0], 1)
            truth = (high**2 - low**2) / (high - low)
            total += 1
            inside += bounds(region)[0] <= truth <= bounds(region)[1]
    assert total > 60 and inside / total > 0.95


def test_categories_missing_values_whole_numbers_and_dates_in_words():
    rng = np.random.default_rng(0)
    n = 2000
    target = np.repeat([False, True], n)
    ward = np.where(target, rng.choice(3, 2 * n, p=[0.1, 0.2, 0.7]), rng.choice(3, 2 * n, p=[0.4, 0.4, 0.2]))
    smoker = np.where(rng.random(2 * n) < 0.05, -1, rng.integers(0, 2, 2 * n))
    numeric = np.zeros((2 * n, 1))
    table = table_of(
        numeric[:n], numeric[n:], np.column_stack([ward, smoker]), (np.array(["A", "B", "C"]), np.array([False, True]))
    )
    found = find_regions(table, random_state=0)
    assert found[0].rule[0] in ("c0 is 'C'", "c0 is not 'C'")
    words = {"c0 is 'A'", "c0 is 'B'", "c0 is 'C'", "c0 is not 'A'", "c0 is not 'B'", "c0 is not 'C'"}
    words |= {"c1 is 'True'", "c1 is 'False'", "c1 is not 'True'", "c1 is not 'False'", "c1 is known", "c1 is missing"}
    assert {rule for region in found for rule in region.rule} <= words

    lab = rng.normal(size=2 * n)
    lab[rng.random(2 * n) < np.where(target, 0.5, 0.05)] = np.nan
    (more, *_) = find_regions(table_of(lab[:n, None], lab[n:, None]), random_state=0)
    assert more.rule in (("x0 is missing",), ("x0 is known",))

    visits = np.where(target, rng.poisson(4, 2 * n), rng.poisson(1, 2 * n)).astype(float)[:, None]
    rules = [r for region in find_regions(table_of(visits[:n], visits[n:]), random_state=0) for r in region.rule]
    assert any(rule.startswith("x0 ≥ ") for rule in rules) and not any("." in rule for rule in rules)

    day = 1.7e9 + 86400 * (rng.integers(0, 100, 2 * n) + 80.0 * target)[:, None]
    rules = [
        r
        for region in find_regions(table_of(day[:n], day[n:], datetimes=frozenset({"x0"})), random_state=0)
        for r in region.rule
    ]
    assert all("20" in rule and "-" in rule for rule in rules)


def test_regions_do_not_overlap_and_are_few():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 4)) * 1.5 + 0.5
    found = find_regions(table_of(source, target), random_state=0)
    assert 2 <= len(found) <= MAX_REGIONS
    assert sum(region.source for region in found) <= 1 + 1e-9 and sum(region.target for region in found) <= 1 + 1e-9
    parts = [(region.target - region.source) * np.log(region.ratio.value) for region in found]
    np.testing.assert_allclose(parts, sorted(parts, reverse=True), atol=1e-3)


def test_groups_stay_in_one_half():
    """Ten rows that are copies of each other are one: a region of one group is not found."""
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(40, 3))
        rows = np.repeat(centres, 20, axis=0) + 0.01 * rng.normal(size=(800, 3))
        groups = np.repeat(np.arange(40), 20)
        hits += any(bounds(r)[0] > 20 for r in find_regions(table_of(rows[:400], rows[400:]), groups, seed))
    assert hits <= 2


@pytest.mark.parametrize("columns", [0, 1])
def test_nothing_to_find(columns):
    constant = np.ones((100, columns))
    assert find_regions(table_of(constant, constant), random_state=0) == ()
    few = np.random.default_rng(0).normal(size=(12, 1))
    assert find_regions(table_of(few, few + 9), random_state=0) == ()


def test_same_seed_same_regions():
    rng = np.random.default_rng(0)
    table = table_of(rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + 1)
    assert find_regions(table, random_state=3) == find_regions(table, random_state=3)


def test_a_bound_beside_a_frequent_value_is_said_with_the_digits_that_it_takes():
    """Values below a detection limit of -0.5 are recorded as -0.5: "x0 ≤ -0.5" would hold these rows."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2000, 1)), np.maximum(rng.normal(size=(2000, 1)), -0.5)
    below = min(find_regions(table_of(source, target), random_state=0), key=lambda region: region.target)
    assert below.target == 0
    bound = float(below.rule[0].removeprefix("x0 ≤ "))
    assert bound < -0.5
    assert np.mean(source <= bound) == pytest.approx(below.source, abs=0.05)
