"""Exchanges that leave a statistic as it is: rounding tells them apart, and must not count."""

import numpy as np
import pytest
from scipy.stats import binom

from shift_detectors import EnergyTest, FeatureTest, JointTest, MMDTest, MomentTest
from shift_detectors._distance_tests import gaussian_rows, squared_bandwidths
from shift_detectors._feature_test import _numeric_rows, distribution_rows
from shift_detectors._permutation import permuted_domains, signed


def stations(seed, rows, varying=True):
    """Rows of 30 stations before and after, with the altitude and the region of each; nothing has changed."""
    rng = np.random.default_rng(seed)
    place = np.column_stack([rng.gamma(2, 300, 30), rng.uniform(40, 50, 30), rng.integers(0, 3, 30)])
    sides = []
    for mean in (12, 9):
        group = np.repeat(np.arange(30), rng.poisson(mean, 30) + 1 if rows == "uneven" else mean)
        weather = 15 - 0.006 * place[group, :1] + 3 * rng.normal(size=(len(group), 1))
        sides += [np.hstack([place[group], weather]) if varying else place[group], group]
    return sides


@pytest.mark.parametrize("rows", ["uneven", "even"])
@pytest.mark.parametrize("test", [FeatureTest, MomentTest, MMDTest, EnergyTest, JointTest])
def test_what_no_exchange_changes_is_no_evidence(test, rows):
    """Columns that are constant in a group were told apart by rounding in 9 of 10 draws."""
    X, groups, Z, groups_target = stations(0, rows, varying=False)
    assert test(99, random_state=0).test(X, Z, groups=groups, groups_target=groups_target).pvalue == 1


@pytest.mark.parametrize("rows", ["uneven", "even"])
def test_the_level_is_kept_beside_columns_that_no_exchange_changes(rows):
    rejected = 0
    for seed in range(20):
        X, groups, Z, groups_target = stations(seed, rows)
        rejected += JointTest(99, seed).test(X, Z, groups=groups, groups_target=groups_target).pvalue <= 0.05
    assert binom.sf(rejected - 1, 20, 0.05) > 1e-3


@pytest.mark.parametrize("test", [FeatureTest, MomentTest, MMDTest, EnergyTest, JointTest])
def test_of_few_groups_no_p_value_is_smaller_than_exchanges_allow(test):
    """Three groups a side can be exchanged in twenty ways: p is at least 1/20, but for the draw of permutations."""
    smallest = 1.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        means, group = 20 * rng.normal(size=(6, 3)), np.repeat(np.arange(6), 50)
        X = means[group] + rng.normal(size=(300, 3))
        result = test(199, random_state=seed).test(X[:150], X[150:], groups=group[:150], groups_target=group[150:])
        smallest = min(smallest, result.pvalue)
    assert smallest > 0.02


def test_sums_over_many_rows_are_those_of_double_precision():
    """At a million rows single precision was off by a tenth of what exchanging all rows gives."""
    rng = np.random.default_rng(0)
    n = 300_000
    x, domain = rng.integers(0, 40, n).astype(float), np.repeat([False, True], n // 2)
    U = signed(permuted_domains(domain, 3, rng))
    exact = np.where(domain, 1.0, -1.0) / (n // 2)
    cells = np.bincount(x.astype(int), exact)
    wanted = distribution_rows(cells[:, None], np.bincount(x.astype(int)))[:, 0]
    assert _numeric_rows(x, U, True)[:, 0] == pytest.approx(wanted, abs=1e-3 * 4 / n)


def test_narrow_kernels_among_many_columns_still_tell_exchanges_apart():
    """Nearly all of such a kernel is its diagonal, beside which what differs looks like rounding."""
    rng = np.random.default_rng(0)
    Z, domain = rng.normal(size=(400, 100)), np.repeat([False, True], 200)
    rows = gaussian_rows(Z, signed(permuted_domains(domain, 99, rng)), squared_bandwidths(Z, rng, 1.0, 5, 4.0))
    assert all(len(np.unique(row)) > 95 for row in rows)
