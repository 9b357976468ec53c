"""The density ratios beside ClassifierRatio and RuLSIF: the true ratio, no shift, formulas, the estimator contract."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import norm, spearmanr
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression

from da_toolkit.weighting import (
    KLIEP,
    KMM,
    ClassifierRatio,
    EntropyBalancing,
    GaussianRatio,
    ImportanceWeighting,
    KernelDensityRatio,
    NearestNeighborRatio,
    RuLSIF,
    diagnose_weights,
)
from da_toolkit.weighting._diagnosis import covered_share
from shift_detectors._errors import InputError, ShiftWarning

RATIOS = [KLIEP, KMM, EntropyBalancing, NearestNeighborRatio, GaussianRatio, KernelDensityRatio]
every_ratio = pytest.mark.parametrize("kind", RATIOS, ids=lambda kind: kind.__name__)


def make(kind, **options):
    ratio = kind(**options)
    return ratio.set_params(random_state=0) if "random_state" in ratio.get_params() else ratio


def shifted(n=500, d=2, shift=1.0, seed=0):
    """Standard normal source, first column of the target moved; the true ratio of the source rows."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    X_target[:, 0] += shift
    return X, X_target, np.exp(shift * X[:, 0] - shift**2 / 2)


@every_ratio
def test_weights_follow_the_true_ratio(kind):
    rank, error, plain = [], [], []
    for seed in range(4):
        X, X_target, true = shifted(seed=seed)
        ratio = make(kind).fit(X, X_target)
        assert ratio.weights_.min() >= 0 and ratio.weights_.mean() == pytest.approx(1)
        rank.append(spearmanr(ratio.weights_, true)[0])
        means = [np.average(X[:, 0], weights=w) for w in (ratio.weights_, true)]
        error.append(abs(means[0] - means[1]))
        plain.append(abs(X[:, 0].mean() - means[1]))
    assert np.mean(rank) > 0.8
    assert np.mean(error) < 0.35 * np.mean(plain)


@every_ratio
@pytest.mark.parametrize("d", [2, 10, 20])
def test_without_shift_weights_are_near_one(kind, d):
    shares = []
    for seed in range(3):
        X, X_target, _ = shifted(d=d, shift=0.0, seed=seed)
        shares.append(make(kind).fit(X, X_target).effective_sample_size_ / len(X))
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("kind", [*RATIOS, ClassifierRatio, RuLSIF], ids=lambda kind: kind.__name__)
def test_missing_overlap_is_told_once(kind, d):
    X, X_target, _ = shifted(n=200, d=d, shift=20.0)
    with pytest.warns(ShiftWarning, match="of the target lies where the source has rows") as told:
        make(kind).fit(X, X_target)
    assert len(told) == 1


@pytest.mark.parametrize("d", [1, 10, 50])
@pytest.mark.parametrize("copies", [1, 5])
def test_share_of_the_target_near_the_source(d, copies):
    """Rows that are nearly the same say nothing about how far away others may be."""
    rng = np.random.default_rng(0)
    X, X_target = (np.repeat(rng.normal(size=(100, d)), copies, axis=0) for _ in range(2))
    X, X_target = (rows + 1e-6 * rng.normal(size=rows.shape) for rows in (X, X_target))
    assert covered_share(X, X_target) > 0.8 and covered_share(X.round(), X_target) > 0.8
    assert covered_share(X, X_target + 2 * np.eye(d)[0]) > 0.3
    assert covered_share(X, X_target + 10) < 0.01
    many, groups = np.repeat(X, 20, axis=0), np.repeat(np.arange(len(X)), 20)
    assert covered_share(many + 1e-6 * rng.normal(size=many.shape), X_target, groups // copies) > 0.8


@every_ratio
def test_same_seed_same_weights_pickle_and_clone(kind):
    X, X_target, _ = shifted(n=150)
    before = X.copy(), X_target.copy()
    ratio = make(kind).fit(X, X_target)
    np.testing.assert_array_equal(make(kind).fit(X, X_target).weights_, ratio.weights_)
    np.testing.assert_array_equal(clone(ratio).fit(X, X_target).predict(X_target), ratio.predict(X_target))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ratio)).predict(X_target), ratio.predict(X_target))
    for now, then in zip((X, X_target), before, strict=True):
        np.testing.assert_array_equal(now, then)


@every_ratio
def test_new_rows_are_weighted_on_the_same_scale(kind):
    X, X_target, _ = shifted(n=400)
    ratio = make(kind).fit(X, X_target)
    fresh = np.random.default_rng(9).normal(size=(4000, 2))
    new = ratio.predict(fresh)
    assert new.shape == (4000,) and np.isfinite(new).all() and new.min() >= 0
    assert new.mean() == pytest.approx(1, abs=0.35)
    assert spearmanr(new, fresh[:, 0])[0] > 0.7


@every_ratio
def test_units_do_not_matter(kind):
    X, X_target, _ = shifted(n=200)
    unit = np.array([1000.0, 0.01])
    one, other = (make(kind).fit(X * u, X_target * u).weights_ for u in (1.0, unit))
    np.testing.assert_allclose(one, other, rtol=0.02, atol=0.02)


@every_ratio
def test_mixed_frames_and_sparse_rows(kind):
    rng = np.random.default_rng(0)
    n = 200

    def frame(shift, share):
        return pd.DataFrame(
            {
                "x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(shift, 1, n)),
                "c": pd.Categorical(np.where(rng.random(n) < share, "a", "b")),
            }
        )

    source, target = frame(0.0, 0.5), frame(1.0, 0.8)
    weights = make(kind).fit(source, target).weights_
    assert np.average(source["c"] == "a", weights=weights) > (source["c"] == "a").mean()
    wide = sparse.random(120, 300, 0.1, format="csr", random_state=0)
    ratio = make(kind).fit(wide[:60], wide[60:])
    assert ratio.weights_.shape == (60,) and np.isfinite(ratio.predict(wide[60:])).all()


@pytest.mark.parametrize("kind", [*RATIOS, ClassifierRatio, RuLSIF], ids=lambda kind: kind.__name__)
def test_a_column_that_tells_the_domains_apart_alone_is_left_out(kind):
    X, X_target, _ = shifted(n=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShiftWarning)  # of other kinds
        plain = make(kind).fit(X, X_target)

    def sides(form):
        return form(X, "a", 1.0, np.nan), form(X_target, "b", 2.0, 0.0)

    def frame(rows, site, year, empty):
        return pd.DataFrame({"site": site, "x": rows[:, 0], "year": year, "z": rows[:, 1], "empty": empty})

    def array(rows, site, year, empty):
        return np.column_stack([np.full(len(rows), year), rows, np.full(len(rows), empty)])

    for source, target in [sides(frame), sides(array)]:
        with pytest.warns(ShiftWarning, match="Left out of the ratio: (site, year and empty|column 0 and column 3)"):
            ratio = make(kind).fit(source, target)
        np.testing.assert_allclose(ratio.weights_, plain.weights_)
        np.testing.assert_allclose(ratio.predict(target), plain.predict(X_target))


def test_only_what_no_target_row_has_is_left_out():
    X, X_target, _ = shifted(n=150)
    source, target = np.column_stack([X, np.zeros(150)]), np.column_stack([X_target, np.arange(150) % 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rows of the target's third do have a 0
        EntropyBalancing().fit(source, target)
        EntropyBalancing().fit(sparse.csr_matrix(source), sparse.csr_matrix(target))
    target[:, 2] = 1
    with pytest.warns(ShiftWarning, match="Left out of the ratio: column 2"):
        ratio = EntropyBalancing().fit(sparse.csr_matrix(source), sparse.csr_matrix(target))
    assert ratio.predict(sparse.csr_matrix(source)) == pytest.approx(ratio.weights_)
    with pytest.raises(InputError, match="every column has one value"):
        EntropyBalancing().fit(source[:, 2:], target[:, 2:])


@every_ratio
def test_bad_input_is_explained(kind):
    X, X_target, _ = shifted(n=50)
    with pytest.raises(InputError, match="columns"):
        make(kind).fit(X, X_target[:, :1])
    with pytest.raises(InputError, match="row"):
        make(kind).fit(X[:1], X_target)
    with pytest.raises(InputError):
        make(kind).fit(X[:0], X_target)


@pytest.mark.parametrize("kind", [KLIEP, KMM, EntropyBalancing, GaussianRatio])
def test_a_misspecified_model_gains_from_the_weights(kind):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(0.5, 0.5, (400, 1)), rng.normal(0, 0.3, (400, 1))
    y, y_target = ((x - x**3)[:, 0] + 0.05 * rng.normal(size=400) for x in (X, X_target))
    model = ImportanceWeighting(LinearRegression(), ratio=make(kind), random_state=0).fit(X, y, X_target)
    assert model.score(X_target, y_target) > LinearRegression().fit(X, y).score(X_target, y_target) + 0.05


# --- formulas -----------------------------------------------------------------------------------------------


def test_kernel_density_ratio_is_the_tempered_ratio_of_two_estimates():
    X, X_target, _ = shifted(n=60, d=1)
    ratio = KernelDensityRatio(bandwidths=[1.0], clip=np.inf).fit(X, X_target)
    pooled = np.r_[X, X_target]
    scale = pooled.std()
    h = ratio.bandwidths_
    s, t, x = X[:, 0] / scale, X_target[:, 0] / scale, np.array([-1.0, 0.0, 2.0]) / scale
    density = [
        norm.pdf((x[:, None] - rows) / width).mean(axis=1) / width for rows, width in zip((s, t), h, strict=True)
    ]
    expected = (density[1] / density[0]) ** ratio.slope_
    found = ratio.predict(x[:, None] * scale)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-6)
    assert 0 < ratio.slope_ <= 1


def test_entropy_balancing_brings_the_weighted_means_to_the_target():
    X, X_target, _ = shifted(n=2000, d=3)
    ratio = make(EntropyBalancing).fit(X, X_target)
    before = np.abs(X.mean(axis=0) - X_target.mean(axis=0)).max()
    after = np.abs(np.average(X, axis=0, weights=ratio.weights_) - X_target.mean(axis=0)).max()
    assert after < 0.1 * before


def test_kmm_closes_the_discrepancy_under_its_bounds():
    X, X_target, _ = shifted(n=400)
    ratio = make(KMM, clip=3.0).fit(X, X_target)

    def discrepancy(weights):
        kernel = lambda a, b: np.exp(-((a[:, None] - b) ** 2).sum(axis=2) / 2)  # noqa: E731
        w = weights / len(weights)
        return w @ kernel(X, X) @ w + kernel(X_target, X_target).mean() - 2 * (w @ kernel(X, X_target)).mean()

    assert discrepancy(ratio.weights_) < 0.2 * discrepancy(np.ones(len(X)))
    assert ratio.weights_.max() <= 3.0 * 1.05  # scaled to mean one after the bound


def test_kliep_makes_the_target_likelier_than_equal_weights():
    X, X_target, _ = shifted(n=400)
    ratio = make(KLIEP).fit(X, X_target)
    fresh, fresh_target, _ = shifted(n=4000, seed=5)
    gain = np.log(ratio.predict(fresh_target) / ratio.predict(fresh).mean()).mean()
    assert gain > 0.25  # the Kullback-Leibler divergence, its upper limit, is .5


def test_gaussian_ratio_is_the_closed_form_for_gaussians():
    X, X_target, true = shifted(n=5000)
    weights = GaussianRatio().fit(X, X_target).weights_
    assert np.corrcoef(weights, true)[0, 1] > 0.98


# --- diagnosis of weights -----------------------------------------------------------------------------------


def test_diagnosis_shows_balance_and_the_heaviest_rows():
    X, X_target, _ = shifted(n=1000, d=3)
    ratio = make(EntropyBalancing).fit(X, X_target)
    diagnosis = ratio.diagnose(X, X_target)
    assert "1 of 3 columns differ" in str(diagnosis)
    assert f"row {ratio.weights_.argmax()}: {ratio.weights_.max():.1f}" in str(diagnosis)
    pickle.loads(pickle.dumps(diagnosis))
    assert isinstance(diagnosis.to_dict(), dict)
    assert str(diagnose_weights(X, X_target, ratio.weights_)) == str(diagnosis)


def test_diagnosis_plots():
    pytest.importorskip("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    X, X_target, _ = shifted(n=300, d=3)
    assert make(GaussianRatio).fit(X, X_target).diagnose(X, X_target).plot() is not None


def test_weighting_a_classifier_through_every_ratio_runs():
    X, X_target, _ = shifted(n=200)
    y = (X[:, 0] > 0).astype(int)
    for kind in RATIOS:
        model = ImportanceWeighting(LogisticRegression(), ratio=make(kind), random_state=0).fit(X, y, X_target)
        assert set(model.predict(X_target)) <= {0, 1}
