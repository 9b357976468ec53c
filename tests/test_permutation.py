"""The permutation machinery: exactness, groups, strata, smooth tails, step-down."""

import numpy as np
import pytest

from shift_detectors._permutation import (
    flipped,
    harmonic,
    permuted_domains,
    pvalue,
    random_signs,
    signed,
    step_down,
    tail_logp,
)


def test_pvalue_counts_ties_and_is_never_zero():
    assert pvalue(np.array([5.0, 1, 2, 3])) == 0.25
    assert pvalue(np.array([1.0, 1, 1, 1])) == 1.0
    assert pvalue(np.array([1.0, 2, 1, 0])) == 0.75


def test_sizes_are_kept_and_first_column_is_observed():
    rng = np.random.default_rng(0)
    domain = np.r_[np.zeros(30, int), np.ones(70, int)]
    members = permuted_domains(domain, 50, rng)
    assert (members[:, 0] == domain).all()
    assert (members.sum(axis=0) == 70).all()
    assert len(np.unique(members, axis=1).T) > 40


def test_every_row_is_as_often_in_the_target():
    members = permuted_domains(np.r_[np.zeros(8, int), np.ones(2, int)], 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(members[:, 1:].mean(axis=1), 0.2, atol=0.015)


def test_strata_keep_their_counts():
    domain = np.array([0, 0, 1, 1, 1, 0])
    strata = np.array([0, 0, 0, 1, 1, 1])
    members = permuted_domains(domain, 100, np.random.default_rng(0), strata=strata)
    assert (members[:3].sum(axis=0) == 1).all()
    assert (members[3:].sum(axis=0) == 2).all()


def test_pure_groups_move_as_a_whole_and_mixed_groups_inside():
    domain = np.array([0, 0, 0, 0, 1, 1, 1, 0, 1])
    groups = np.array([1, 1, 2, 2, 3, 3, 4, 5, 5])
    members = permuted_domains(domain, 200, np.random.default_rng(0), groups)
    for g in (1, 2, 3):
        rows = members[groups == g]
        assert (rows[0] == rows[1]).all()
    assert (members[groups == 5].sum(axis=0) == 1).all()
    # four pure groups, two of them in the target
    firsts = members[[0, 2, 4, 6]]
    assert (firsts.sum(axis=0) == 2).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_signed_columns_are_differences_of_weighted_means(weighted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    w = rng.random(50) + 0.5 if weighted else np.ones(50)
    domain = rng.random(50) < 0.4
    U = signed(permuted_domains(domain, 3, rng), w if weighted else None)
    expected = np.average(x[domain], weights=w[domain]) - np.average(x[~domain], weights=w[~domain])
    np.testing.assert_allclose(x @ U[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(U.sum(axis=0), 0, atol=1e-6)


def test_weighted_means_vary_as_much_under_every_assignment():
    """Heavy rows that leave a small side for a large one would make the null too narrow."""
    rng = np.random.default_rng(0)
    domain, weight = np.arange(400) < 40, np.where(np.arange(400) < 40, rng.lognormal(size=400), 1.0)
    U = signed(permuted_domains(domain, 99, rng), weight)
    np.testing.assert_allclose((U**2).sum(axis=0), (U[:, 0] ** 2).sum(), rtol=1e-4)
    np.testing.assert_allclose(U.sum(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_signed_deviations_vary_like_the_difference_of_means(weighted):
    rng = np.random.default_rng(0)
    domain, groups = np.arange(300) < 60, np.arange(300) // 3
    weight = rng.random(300) + 0.5 if weighted else None
    V = flipped(domain, random_signs(300, 2000, rng, groups), weight)
    observed = signed(domain[:, None], weight)[:, 0]
    np.testing.assert_allclose(V[:, 0], observed, rtol=1e-5)
    np.testing.assert_allclose(V.sum(axis=0), 0, atol=1e-5)
    for rho in (0.0, 0.8):  # correlation of the rows of a group
        x = np.sqrt(rho) * rng.normal(size=(100, 50)).repeat(3, axis=0) + np.sqrt(1 - rho) * rng.normal(size=(300, 50))
        variance = (1 - rho) * (observed**2).sum() + rho * (np.bincount(groups, weights=observed) ** 2).sum()
        assert ((x.T @ V[:, 1:]) ** 2).mean() == pytest.approx(variance, rel=0.1)
        assert (x.T @ V[:, 1:]).mean() == pytest.approx(0, abs=0.1 * np.sqrt(variance))


def test_tail_logp_orders_like_the_statistic_and_is_near_uniform():
    rng = np.random.default_rng(0)
    statistics = rng.chisquare(3, size=(1, 5000))
    p = np.exp(tail_logp(statistics))[0]
    assert (np.argsort(-statistics[0]) == np.argsort(p, kind="stable")).mean() > 0.99
    np.testing.assert_allclose(np.quantile(p, [0.01, 0.05, 0.5]), [0.01, 0.05, 0.5], atol=0.02)


def test_tail_logp_of_a_constant_statistic_is_one():
    assert (tail_logp(np.full((1, 10), 3.0)) == 0).all()


def test_tail_logp_stays_finite_far_out():
    row = np.r_[1e6, np.random.default_rng(0).random(100_000)][None]
    assert np.isfinite(tail_logp(row)).all()


def test_step_down_controls_the_family_and_orders():
    rng = np.random.default_rng(1)
    logp = tail_logp(rng.chisquare(1, size=(20, 500)))
    adjusted = step_down(logp)
    raw = np.array([pvalue(-row) for row in logp])
    assert (adjusted >= raw - 1e-12).all()
    order = np.argsort(logp[:, 0])
    assert (np.diff(adjusted[order]) >= 0).all()


def test_step_down_family_wise_error():
    """Any adjusted p <= .05 under the complete null in about 5 % of families."""
    rng = np.random.default_rng(2)
    errors = sum(step_down(tail_logp(rng.chisquare(1, size=(10, 200)))).min() <= 0.05 for _ in range(400))
    assert errors / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_harmonic_is_exchangeable_over_assignments():
    logp = np.log(np.random.default_rng(0).random((4, 30)))
    shuffled = np.random.default_rng(1).permutation(30)
    np.testing.assert_allclose(harmonic(logp[:, shuffled]), harmonic(logp)[shuffled])
