"""The statistics of single features and second moments, and their weights in the one decision on p(x)."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, rankdata

from shift_detectors import FeatureTest, JointTest
from shift_detectors._distance_tests import moment_rows, second_moments
from shift_detectors._feature_test import DEGREE, _numeric_rows, distribution_rows
from shift_detectors._permutation import permuted_domains, signed
from shift_detectors._portfolio import WEIGHTS, combined


def assignments(n, n_source, seed=0, b=40):
    domain = (np.arange(n) >= n_source).astype(np.int8)
    return signed(permuted_domains(domain, b, np.random.default_rng(seed)))


def smooth_by_hand(values, u, degree=DEGREE):
    """Gram-Schmidt of powers of the mid-rank over the rows, one direction after the other."""
    middle = (rankdata(values) - 0.5) / len(values)
    basis = [np.ones(len(values))]
    for k in range(1, min(degree, len(np.unique(values)) - 1) + 1):
        b = (2 * middle - 1) ** k
        for _ in range(2):
            for other in basis:
                b = b - (b * other).mean() * other
        basis.append(b / np.sqrt((b**2).mean()))
    return sum((b @ u) ** 2 for b in basis[1:])


def anderson_darling_by_hand(values, u):
    n, total = len(values), 0.0
    for v in np.unique(values)[:-1]:
        below = (values <= v).mean()
        total += (values == v).sum() / n * u[values <= v].sum() ** 2 / (below * (1 - below))
    return total


@pytest.mark.parametrize("kind", ["continuous", "ties", "two values", "three values", "one and the rest"])
def test_both_distances_follow_their_formulas(kind):
    rng = np.random.default_rng(1)
    values = {
        "continuous": rng.normal(size=90),
        "ties": rng.poisson(2, 90).astype(float),
        "two values": rng.integers(0, 2, 90).astype(float),
        "three values": rng.integers(0, 3, 90) ** 2.0,
        "one and the rest": np.r_[5.0, np.zeros(89)],
    }[kind]
    U = assignments(90, 40)
    rows = _numeric_rows(values, U, two_samples=True)
    for b in range(3):
        u = U[:, b].astype(float)
        np.testing.assert_allclose(rows[0, b], anderson_darling_by_hand(values, u), rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(rows[1, b], smooth_by_hand(values, u), rtol=1e-3, atol=1e-7)


def test_with_few_values_the_smooth_distance_is_chi_squared():
    rng = np.random.default_rng(2)
    counts = np.array([[30, 12, 5, 3], [22, 18, 4, 9]])
    p_source, p_target = counts / counts.sum(axis=1, keepdims=True)
    pooled = counts.sum(axis=0)
    chi_squared = ((p_target - p_source) ** 2 / (pooled / pooled.sum())).sum()
    rows = distribution_rows((p_target - p_source)[:, None], pooled)
    assert rows[1, 0] == pytest.approx(chi_squared, rel=1e-5)
    order = rng.permutation(4)  # then the order of the values does not matter
    assert distribution_rows((p_target - p_source)[order, None], pooled[order])[1, 0] == pytest.approx(chi_squared)


def test_only_ranks_matter_and_missing_values_compare_what_is_present():
    rng = np.random.default_rng(3)
    values, U = rng.normal(size=120), assignments(120, 70)
    rows = _numeric_rows(values, U, two_samples=True)
    np.testing.assert_allclose(_numeric_rows(np.exp(3 * values), U, True), rows, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(_numeric_rows(-values, U, True)[1], rows[1], rtol=1e-3, atol=1e-6)

    holes = values.copy()
    holes[rng.random(120) < 0.3] = np.nan
    present = ~np.isnan(holes)
    rows = _numeric_rows(holes, U, two_samples=True)
    assert rows.shape == (3, U.shape[1])
    length = None
    for b in range(3):
        u = U[present, b].astype(float)
        u = np.where(u > 0, u / u[u > 0].sum(), -u / u[u < 0].sum())
        length = length or np.linalg.norm(u)
        u *= length / np.linalg.norm(u)  # with fewer present rows on a side, or unequal ones, means vary more
        np.testing.assert_allclose(rows[0, b], anderson_darling_by_hand(holes[present], u), rtol=1e-4)
        np.testing.assert_allclose(rows[1, b], smooth_by_hand(holes[present], u), rtol=1e-3)
        np.testing.assert_allclose(rows[2, b], abs(U[~present, b].sum()), rtol=1e-4, atol=1e-7)


def test_any_signed_measure_will_do():
    rng = np.random.default_rng(4)
    values, U = rng.normal(size=100), rng.normal(size=(100, 5)).astype(np.float32)
    U -= U.mean(axis=0)
    rows = _numeric_rows(values, U, two_samples=False)
    np.testing.assert_allclose(rows[1, 0], smooth_by_hand(values, U[:, 0].astype(float)), rtol=1e-3)


def test_a_rare_value_among_many_rows_stays_finite():
    values = np.r_[np.zeros(20_000), 1.0, 2.0, 3.0]
    rows = _numeric_rows(values, assignments(len(values), 10_000, b=9), two_samples=True)
    assert np.isfinite(rows).all()


def test_squares_and_products_have_a_maximum_each():
    rng = np.random.default_rng(5)
    Z, U = rng.normal(size=(80, 4)).astype(np.float32), assignments(80, 30)
    Q, squares = second_moments(Z, rng)
    assert squares.sum() == 4 and len(squares) == 10
    gaps = np.abs(Q.T @ U)
    rows = moment_rows(Q, U, squares)
    np.testing.assert_allclose(rows[0], gaps[squares].max(axis=0))
    np.testing.assert_allclose(rows[1], gaps[~squares].max(axis=0))
    np.testing.assert_allclose(rows[2], (gaps**2).sum(axis=0), rtol=1e-5)
    Q, squares = second_moments(Z[:, :1], rng)  # one column has no products
    assert (moment_rows(Q, U, squares)[1] == 0).all()


def test_families_are_combined_by_their_weights():
    rng = np.random.default_rng(6)
    families = {name: np.log(rng.random((1, 50))) for name in WEIGHTS}
    by_hand = sum(WEIGHTS[name] / np.exp(row[0]) for name, row in families.items())
    np.testing.assert_allclose(np.exp(combined(families)), by_hand)


def two_humps(rng, n):
    return 0.9 * rng.choice([-1.0, 1.0], n) + np.sqrt(1 - 0.81) * rng.normal(size=n)


@pytest.mark.parametrize("shift", ["humps", "scale"])
def test_shape_and_scale_of_one_column_among_ten(shift):
    """Rates about .95 and .57 by simulation (200 repeats); with KS and Anderson-Darling alone .13 and .44."""
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng([7, seed])
        X, Z = rng.normal(size=(2, 200, 10))
        Z[:, 0] = two_humps(rng, 200) if shift == "humps" else 1.3 * Z[:, 0]
        hits += JointTest(199, seed).test(X, Z).rejects()
    assert hits >= (16 if shift == "humps" else 6)


def mixed(rng, n):
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "holes": np.where(rng.random(n) < 0.2, np.nan, x),
            "count": rng.poisson(1, n),
            "rounded": np.round(x),
            "heavy": rng.standard_t(2, n),
            "word": rng.choice(["a", "b", "c"], n, p=[0.7, 0.25, 0.05]),
            "flag": rng.random(n) < 0.03,
        }
    )


@pytest.mark.parametrize("detector", [FeatureTest, JointTest])
def test_level_on_ties_missing_values_and_mixed_columns(detector):
    repeats, hits = 100, 0
    for seed in range(repeats):
        rng = np.random.default_rng([8, seed])
        hits += detector(99, seed).test(mixed(rng, 60), mixed(rng, 90)).rejects()
    assert binom.sf(hits - 1, repeats, 0.05) > 0.001
    assert binom.cdf(hits, repeats, 0.05) > 0.001  # exact by permutation, so not far below either
