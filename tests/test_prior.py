"""Calibration and class-prior estimation against known truth."""

import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from shift_detectors._calibration import RIDGE, Calibration, fit_calibration
from shift_detectors._errors import InputError
from shift_detectors._prior import _signal, correct_proba, estimate_prior, observed_prior, proportion_interval

CENTRES = {
    2: np.array([[1.0, 0.0], [-1.0, 0.0]]),
    3: np.array([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]]),
    10: 2.5 * np.array([[np.cos(0.63 * k), np.sin(0.63 * k)] for k in range(10)]),
}


def sample(rng, n, prior):
    k = len(prior)
    y = rng.choice(k, n, p=prior)
    return CENTRES[k][y] + rng.normal(size=(n, 2)), y


def posterior(x, k, temperature=1.0, bias=0.4):
    """True posterior under equal priors, distorted by a temperature and class biases."""
    logits = -((x[:, None] - CENTRES[k]) ** 2).sum(-1) / 2
    logits = logits / temperature + bias * np.arange(k) / k
    logits -= logits.max(axis=1, keepdims=True)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def draw(seed, k, n, target, source=None, n_target=None):
    rng = np.random.default_rng([seed, k, n])
    x, y = sample(rng, n, np.full(k, 1 / k) if source is None else source)
    x_target, y_target = sample(rng, n_target or n, target)
    return posterior(x, k, 0.6), y, posterior(x_target, k, 0.6), y_target


def test_calibration_recovers_temperature_and_bias():
    proba, y, _, _ = draw(0, 3, 20000, [1 / 3] * 3)
    calibrated = fit_calibration(proba, y)
    assert calibrated.scale == pytest.approx(0.6, abs=0.03)
    assert calibrated.bias - calibrated.bias[0] == pytest.approx(-0.6 * 0.4 * np.arange(3) / 3, abs=0.07)
    assert np.allclose(fit_calibration(proba, y, kind="vector").scale, 0.6, atol=0.05)


@pytest.mark.parametrize("kind", ["bcts", "vector"])
def test_calibration_is_at_the_optimum_and_its_mean_is_the_label_frequency(kind):
    proba, y, _, _ = draw(1, 3, 2000, [1 / 3] * 3, source=[0.6, 0.3, 0.1])
    fitted = fit_calibration(proba, y, kind=kind)

    def loss(theta):
        scale = theta[:-3] if kind == "vector" else np.full(3, theta[0])
        g = Calibration(kind, scale, theta[-3:], fitted.floor)(proba)
        pull = np.sum((theta[:-3] - 1) ** 2) + np.sum(theta[-3:] ** 2)
        return -np.log(g[np.arange(len(y)), y]).mean() + RIDGE / (2 * len(y)) * pull

    scale = fitted.scale if kind == "vector" else fitted.scale[:1]
    assert np.abs(approx_fprime(np.r_[scale, fitted.bias], loss, 1e-6)).max() < 1e-4
    assert fitted(proba).mean(axis=0) == pytest.approx(np.bincount(y) / len(y), abs=1e-3)


@pytest.mark.parametrize("kind", ["bcts", "vector"])
def test_calibration_survives_zeros_ones_and_separated_classes(kind):
    proba = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    fitted = fit_calibration(proba, np.array([0, 1, 2, 0, 1, 2]), kind=kind)
    assert np.isfinite(fitted(proba)).all() and (fitted.scale < 5).all()
    wrong = fit_calibration(np.vstack([proba] * 50), np.tile([0, 1, 2, 0, 1, 1], 50), kind=kind)
    assert 0.1 < wrong(proba)[2, 1] < 0.9  # a confident zero that was wrong half of the time


def test_calibration_weights_are_repeated_rows():
    proba, y, _, _ = draw(2, 3, 300, [1 / 3] * 3)
    weight = np.random.default_rng(0).integers(1, 4, 300)
    weighted = fit_calibration(proba, y, weight=weight.astype(float))
    repeated = fit_calibration(np.repeat(proba, weight, axis=0), np.repeat(y, weight))
    assert weighted.scale == pytest.approx(repeated.scale, abs=0.02)
    assert weighted(proba) == pytest.approx(repeated(proba), abs=0.01)


def test_source_as_target_is_a_fixed_point():
    proba, y, _, _ = draw(3, 3, 400, [1 / 3] * 3, source=[0.5, 0.3, 0.2])
    fit = estimate_prior(proba, y, proba, [0, 1, 2])
    assert fit.prior == pytest.approx(fit.source_prior, rel=0.01)  # but for the one row more
    assert fit.pvalue == pytest.approx(1)
    assert estimate_prior(proba, y, proba, [0, 1, 2], shrink=True).shrinkage == 0


def test_no_rare_class_is_taken_for_absent():
    target, excess = [0.98, 0.02], []
    for seed in range(40):
        proba, y, proba_target, y_target = draw(seed, 2, 500, target, source=[0.9, 0.1], n_target=200)
        fit = estimate_prior(proba, y, proba_target, [0, 1])
        assert fit.prior.min() > 0
        known = correct_proba(fit.calibration(proba_target), fit.source_prior, np.array(target))
        rows = np.arange(200), y_target
        excess.append(np.mean(np.log(known[rows]) - np.log(fit.correct(proba_target)[rows])))
    assert np.mean(excess) < 0.02


@pytest.mark.parametrize("k", [2, 3, 10])
def test_maximum_satisfies_the_optimality_conditions(k):
    target = np.r_[np.zeros(k // 3), np.ones(k - k // 3)]  # some classes are absent
    proba, y, proba_target, _ = draw(4, k, 1500, target / target.sum())
    fit = estimate_prior(proba, y, proba_target, np.arange(k))
    ratio = fit.calibration(proba_target) / fit.source_prior
    score = (ratio / (ratio @ fit.prior)[:, None]).sum(axis=0)
    assert fit.prior.min() > 0 and fit.prior.sum() == pytest.approx(1)
    assert score + 1 / (k * fit.prior) == pytest.approx(1501, rel=1e-4)
    assert fit.n_iter <= 30
    assert (fit.ci[:, 0] <= fit.prior).all() and (fit.prior <= fit.ci[:, 1]).all()
    assert (fit.ci[: k // 3, 0] == 0).all()  # no class is claimed present that is not there
    assert fit.ci[: k // 3, 1].max(initial=0) < 0.1


def test_estimate_is_close_to_the_truth_and_errors_shrink_with_n():
    errors = []
    for n in (500, 20000):
        proba, y, proba_target, _ = draw(5, 2, n, [0.9, 0.1])
        errors.append(np.abs(estimate_prior(proba, y, proba_target, [0, 1]).prior - [0.9, 0.1]).sum())
    assert errors[0] < 0.15 and errors[1] < 0.02


def test_calibration_matters():
    rng = np.random.default_rng(0)
    (x, y), (x_target, _) = sample(rng, 4000, np.full(3, 1 / 3)), sample(rng, 4000, [0.7, 0.2, 0.1])
    proba, proba_target = posterior(x, 3, 0.3, bias=6), posterior(x_target, 3, 0.3, bias=6)
    error = {
        kind: np.abs(
            estimate_prior(proba, y, proba_target, np.arange(3), calibration=kind).prior - [0.7, 0.2, 0.1]
        ).sum()
        for kind in ("bcts", "vector", None)
    }
    assert error["bcts"] < 0.6 * error[None] and error["vector"] < 0.6 * error[None]


def test_influence_agrees_with_the_bootstrap():
    proba, y, proba_target, _ = draw(7, 3, 600, [0.6, 0.3, 0.1])
    fit = estimate_prior(proba, y, proba_target, [0, 1, 2])
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(150):
        s, t = rng.integers(600, size=600), rng.integers(600, size=600)
        draws.append(estimate_prior(proba[s], y[s], proba_target[t], [0, 1, 2]).prior)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(np.std(draws, axis=0), rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "n", "target"),
    [
        (2, 500, [0.9, 0.1]),
        (2, 1000, [0.9, 0.1]),
        (3, 500, [0.8, 0.15, 0.05]),
        (3, 1000, [1 / 3] * 3),
    ],
)
def test_interval_covers(k, n, target):
    repeats = 400
    covered = np.zeros(k)
    for seed in range(repeats):
        proba, y, proba_target, _ = draw(seed, k, n, target)
        ci = estimate_prior(proba, y, proba_target, np.arange(k)).ci
        covered += (ci[:, 0] <= target) & (target <= ci[:, 1])
    # 93-97 %, three Monte-Carlo standard errors beyond
    margin = 3 * np.sqrt(0.95 * 0.05 / repeats)
    assert (covered / repeats > 0.93 - margin / 2).all() and (covered / repeats < 0.97 + margin / 2).all()


def test_source_error_is_in_the_interval():
    wide = estimate_prior(*draw(8, 2, 150, [0.8, 0.2], n_target=5000)[:3], [0, 1])
    narrow = estimate_prior(*draw(8, 2, 5000, [0.8, 0.2], n_target=5000)[:3], [0, 1])
    assert np.diff(wide.ci[0]) > 2 * np.diff(narrow.ci[0])


@pytest.mark.slow
def test_level_and_power_of_no_change():
    def rate(target):
        return np.mean([estimate_prior(*draw(s, 3, 400, target)[:3], [0, 1, 2]).pvalue <= 0.05 for s in range(400)])

    assert rate([1 / 3] * 3) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert rate([0.45, 0.3, 0.25]) > 0.8


@pytest.mark.slow
def test_level_of_no_change_with_a_small_target_and_labels():
    rejected = np.zeros(2)
    for seed in range(300):
        proba, y, proba_target, y_target = draw(seed, 10, 500, np.full(10, 0.1), n_target=30)
        half = np.where(np.arange(30) < 15, y_target.astype(float), np.nan)
        for i, labels in enumerate((None, half)):
            rejected[i] += estimate_prior(proba, y, proba_target, np.arange(10), y_target=labels).pvalue <= 0.05
    assert (rejected / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "n"),
    [([0.49, 0.49, 0.02], 500), ([1 / 3, 1 / 3, 1 / 3], 60)],  # ten source rows of one class, twenty of each
)
def test_interval_covers_with_few_source_rows_of_a_class(source, n):
    target, repeats, covered = np.array([0.5, 0.3, 0.2]), 1000, np.zeros(3)
    for seed in range(repeats):
        proba, y, proba_target, _ = draw(seed, 3, n, target, source, 500)
        ci = estimate_prior(proba, y, proba_target, np.arange(3)).ci
        covered += (ci[:, 0] <= target) & (target <= ci[:, 1])
    margin = 3 * np.sqrt(0.95 * 0.05 / repeats)
    assert (covered / repeats > 0.93 - margin / 2).all() and (covered / repeats < 0.97 + margin / 2).all()


def beyond_calibration(rng, n, prior):
    """Predictions that no scale and bias can repair: class 1 hides in the tail of class 0 where p says 0."""
    y = rng.choice(3, n, p=prior)
    x = CENTRES[3][y] + rng.normal(size=(n, 2)) * np.array([1.0, 2.0, 0.6])[y, None]
    return posterior(x, 3, bias=0), y


def with_and_without_correction(proba, y, proba_target):
    fit = estimate_prior(proba, y, proba_target, np.arange(proba.shape[1]))
    g, g_target = fit.calibration(proba), fit.calibration(proba_target)
    return fit, estimate_prior(g, y, g_target, fit.classes, calibration=None)


def test_the_correction_repairs_what_calibration_cannot():
    error, covered, taken = [], [], []
    target = np.array([0.15, 0.7, 0.15])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        proba, y = beyond_calibration(rng, 3000, np.full(3, 1 / 3))
        proba_target, _ = beyond_calibration(rng, 3000, target)
        fit, plain = with_and_without_correction(proba, y, proba_target)
        error.append([np.abs(f.prior - target).sum() for f in (fit, plain)])
        covered.append([(f.ci[:, 0] <= target) & (target <= f.ci[:, 1]) for f in (fit, plain)])
        taken.append(fit.corrected)
    assert np.mean(taken) > 0.9
    assert np.mean(error, axis=0)[0] < 0.6 * np.mean(error, axis=0)[1]
    assert np.mean(covered, axis=(0, 2))[0] > 0.85 > 0.65 > np.mean(covered, axis=(0, 2))[1]


def test_the_correction_leaves_a_right_calibration_alone():
    error, taken, target = [], [], np.array([0.6, 0.3, 0.1])
    for seed in range(40):
        fit, plain = with_and_without_correction(*draw(seed, 3, 1000, target)[:3])
        error.append([np.abs(f.prior - target).sum() for f in (fit, plain)])
        taken.append(fit.corrected)
    assert np.mean(taken) < 0.15
    assert np.mean(error, axis=0)[0] < 1.02 * np.mean(error, axis=0)[1]


def test_a_correction_counts_by_what_is_no_noise_in_it():
    rng = np.random.default_rng(0)
    influence = rng.normal(size=(400, 3)) * [1.0, 2.0, 3.0]
    noise = np.trace(influence.T @ influence) / 400**2
    assert _signal(np.array([np.sqrt(4 * noise), 0, 0]), influence) == pytest.approx(0.75)
    assert _signal(np.full(3, np.sqrt(noise / 4)), influence) == 0
    assert _signal(np.zeros(3), np.zeros((400, 3))) == 0
    # a step that is noise and nothing else is hardly ever taken far
    draws = [_signal(influence.T @ rng.normal(size=400) / 400, influence) for _ in range(300)]
    assert np.mean(draws) < 0.2


def test_shrinkage_needs_evidence():
    change = []
    for seed in range(60):
        fits = [
            estimate_prior(*draw(seed, 3, 60, [1 / 3] * 3)[:3], [0, 1, 2], shrink=shrink) for shrink in (True, False)
        ]
        change.append([np.abs(f.prior - 1 / 3).sum() for f in fits])
    assert np.mean(change, axis=0)[0] < 0.9 * np.mean(change, axis=0)[1]
    clear = estimate_prior(*draw(0, 2, 2000, [0.9, 0.1])[:3], [0, 1], shrink=True)
    assert clear.shrinkage > 0.99


def test_interval_ends_where_the_moving_variance_says():
    value, variance, linear, square = 0.3, 0.01, 0.005, 0.04
    inner = (value * 200 + 0.5) / 201
    rest = variance - inner * (1 - inner) / 200
    for end in proportion_interval(value, variance, 200, moving=(linear, square)):
        here = end * (1 - end) / 200 + rest + linear * (end - value) + square * (end**2 - value**2)
        assert abs(end - value) == pytest.approx(norm.ppf(0.975) * np.sqrt(here))
    assert proportion_interval(value, variance, 200, moving=(0.0, 1.0)) == (0.0, 1.0)


def test_known_labels_enter_the_likelihood():
    proba, y, proba_target, y_target = draw(9, 3, 500, [0.6, 0.3, 0.1])
    frequency = np.bincount(y_target) / 500
    full = estimate_prior(proba, y, proba_target, [0, 1, 2], y_target=y_target)
    assert full.prior == pytest.approx(frequency, abs=1e-8)
    assert full.estimate().method == "observed labels" and full.estimate().assumption == ""
    assert full.ci[0] == pytest.approx(proportion_interval(frequency[0], 0.0, 500), abs=2e-3)
    part = np.where(np.arange(500) < 300, y_target.astype(float), np.nan)
    some = estimate_prior(proba, y, proba_target, [0, 1, 2], y_target=part)
    none = estimate_prior(proba, y, proba_target, [0, 1, 2])
    assert some.n_labelled == 300
    assert (np.diag(full.covariance) < np.diag(some.covariance)).all()
    assert (np.diag(some.covariance) < np.diag(none.covariance)).all()


def test_weights_are_repeated_rows():
    proba, y, proba_target, _ = draw(10, 3, 300, [0.6, 0.3, 0.1])
    weight = np.random.default_rng(1).integers(1, 4, 300)
    rows = np.repeat(proba, weight, axis=0), np.repeat(y, weight), np.repeat(proba_target, weight, axis=0)
    for calibration in ("bcts", None):
        options = {"classes": [0, 1, 2], "calibration": calibration}
        weighted = estimate_prior(proba, y, proba_target, **options, weight_source=weight, weight_target=weight)
        repeated = estimate_prior(*rows, **options)
        if calibration is None:
            assert weighted.prior == pytest.approx(repeated.prior, abs=1e-3)  # of which one row more is less
        # weights are no evidence: repeated rows seem to be more, and are corrected and claimed as such
        assert weighted.corrected <= repeated.corrected
        assert (np.diag(weighted.covariance) > np.diag(repeated.covariance)).all()


def test_uninformative_predictions_give_a_wide_interval():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    fit = estimate_prior(np.full((400, 2), 0.5), y, np.full((400, 2), 0.5), [0, 1])
    assert fit.ci[0, 0] < 0.01 and fit.ci[0, 1] > 0.99


def test_correct_proba_is_bayes_rule():
    x = np.random.default_rng(0).normal(size=(50, 2))
    even = posterior(x, 3, bias=0)
    target = np.array([0.7, 0.2, 0.1])
    density = np.exp(-((x[:, None] - CENTRES[3]) ** 2).sum(-1) / 2) * target
    expected = density / density.sum(axis=1, keepdims=True)
    assert correct_proba(even, np.full(3, 1 / 3), target) == pytest.approx(expected)
    assert np.isfinite(correct_proba(np.eye(2), np.array([0.5, 0.5]), np.array([1.0, 0.0]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proba_source": np.ones((4, 2))}, "no probabilities"),
        ({"proba_target": np.full((3, 3), 1 / 3)}, "shape"),
        ({"proba_target": np.array([[np.nan, 1.0]])}, "no probabilities"),
        ({"y_source": [0, 0, 0, 0]}, "no held-out source row of class 1"),
        ({"y_source": [0, 1, 2, 1]}, "class 2"),
        ({"y_source": [0, 1]}, "y_source of shape"),
        ({"y_target": [0, None]}, "y_target of shape"),
        ({"calibration": "platt"}, "platt"),
        ({"weight_source": [-1, 1, 1, 1]}, "weight_source"),
        ({"groups_source": [0, 1]}, "groups_source of shape"),
        ({"groups_target": [0, 1]}, "groups_target of shape"),
    ],
)
def test_bad_input(change, message):
    good = {
        "proba_source": np.full((4, 2), 0.5),
        "y_source": [0, 1, 0, 1],
        "proba_target": np.full((3, 2), 0.5),
        "classes": [0, 1],
    }
    with pytest.raises(InputError, match=message):
        estimate_prior(**(good | change))


def test_input_unchanged_and_result_pickles():
    proba, y, proba_target, _ = draw(11, 3, 100, [0.6, 0.3, 0.1])
    before = proba.copy(), y.copy(), proba_target.copy()
    fit = estimate_prior(proba, y, proba_target, np.array([0, 1, 2]))
    assert all(np.array_equal(a, b) for a, b in zip(before, (proba, y, proba_target), strict=True))
    assert pickle.loads(pickle.dumps(fit)).prior == pytest.approx(fit.prior)
    assert fit.correct(proba_target).sum(axis=1) == pytest.approx(1)


def test_interval_covers_where_the_rows_of_a_group_share_their_class():
    """30 groups of 15 rows a side, each with its own frequency of the classes."""
    repeats, inside = 150, {False: 0, True: 0}
    groups = np.repeat(np.arange(30), 15)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        y, y_target = (
            (rng.random(450) < rng.beta(*shape, 30)[groups]).astype(int) for shape in ((0.5, 0.5), (0.7, 0.3))
        )
        proba, proba_target = (posterior(CENTRES[2][labels] + rng.normal(size=(450, 2)), 2) for labels in (y, y_target))
        for known in inside:
            given = {"groups_source": groups, "groups_target": groups} if known else {}
            low, high = estimate_prior(proba, y, proba_target, [0, 1], **given).ci[1]
            inside[known] += low <= 0.7 <= high
    assert inside[True] / repeats > 0.95 - 3.5 * np.sqrt(0.05 * 0.95 / repeats)
    assert inside[False] / repeats < 0.85


def test_observed_frequencies_are_known_no_better_than_by_their_groups():
    y, groups = np.repeat([0, 1], [120, 280]), np.repeat(np.arange(50), 8)
    rows, whole = (observed_prior(y, y, groups_target=g).ci[1] for g in (None, groups))
    of_groups = observed_prior(y, y[::8]).ci[1]
    assert rows == pytest.approx(proportion_interval(0.7, 0.7 * 0.3 / 400, 400))
    assert whole == pytest.approx(of_groups, abs=0.01) and np.diff(whole) > 2 * np.diff(rows)
