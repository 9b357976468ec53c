"""Level, power and edge cases of the detectors. Long calibration tables: benchmarks/bench_verdict.py."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import binom, norm
from sklearn.base import clone

import shift_detectors
from shift_detectors import (
    ConditionalScoreTest,
    DomainClassifierTest,
    EnergyTest,
    FeatureTest,
    InputError,
    JointTest,
    LabelShiftFitTest,
    LabelTest,
    MMDTest,
    MomentTest,
    ShiftWarning,
    StratifiedTest,
)
from shift_detectors._boundary import read_problem
from shift_detectors._distance_tests import BLOCK, _gaussians, gaussian_rows, mean_rows, squared_bandwidths
from shift_detectors._permutation import permuted_domains

X_TESTS = [FeatureTest, EnergyTest, MMDTest, MomentTest, JointTest, DomainClassifierTest]
ALL = X_TESTS + [LabelTest, StratifiedTest, ConditionalScoreTest, LabelShiftFitTest]


def discrete(rng, n, d=4):
    """Skewed, tied, heavy-tailed and constant columns."""
    return np.column_stack(
        [rng.poisson(1, n), np.round(rng.normal(size=n)), rng.standard_t(2, size=n), np.ones(n)][:d]
    ).astype(float)


def make(detector, seed):
    fast = {"n_permutations": 99} if "n_permutations" in detector().get_params() else {}
    return detector(random_state=seed, **fast)


def level_accepts(hits, n, level=0.05):
    """The number of rejections is no evidence (p < .001) that the level is above `level`."""
    return binom.sf(hits - 1, n, level) > 0.001


@pytest.mark.slow
@pytest.mark.parametrize("detector", X_TESTS)
def test_level_of_p_x_on_ties_and_heavy_tails(detector):
    repeats, hits = 120, 0
    for seed in range(repeats):
        rng = np.random.default_rng([1, seed])
        result = make(detector, seed).test(discrete(rng, 60), discrete(rng, 90))
        hits += result.rejects()
    assert level_accepts(hits, repeats)


@pytest.mark.parametrize("gaps", [False, True])
def test_stratified_test_is_exact_with_a_rare_class(gaps, monkeypatch):
    """Whichever of 20 assignments within classes was the observed one, of all 20 at most k have a p-value of k / 20."""
    rng = np.random.default_rng(0)
    y, target = np.repeat([0, 0, 1, 1], [120, 100, 22, 4]), np.repeat([False, True, False, True], [120, 100, 22, 4])
    X = pd.DataFrame(discrete(rng, len(y)) * rng.choice([1, 1, 30], (len(y), 1)) + y[:, None]).add_prefix("x")
    X["place"] = np.minimum(rng.zipf(1.5, len(y)), 30).astype(str)
    if gaps:
        X.loc[rng.random(len(y)) < 0.2, "x2"] = np.nan
    assignments = permuted_domains(target, 19, rng, strata=y)
    pvalues = []
    for observed in range(20):
        rows = np.argsort(assignments[:, observed], kind="stable")
        drawn = assignments[rows][:, np.r_[observed, np.delete(np.arange(20), observed)]]
        monkeypatch.setattr("shift_detectors._label_tests.permuted_domains", lambda *_, drawn=drawn: drawn)
        source, there = np.split(rows, [int((~target).sum())])
        test = StratifiedTest(n_permutations=19, random_state=0)
        result = test.test(X.iloc[source], X.iloc[there], y_source=y[source], y_target=y[there])
        pvalues.append(result.pvalue)
    assert (np.sort(pvalues) >= np.arange(1, 21) / 20 - 1e-9).all()


@pytest.mark.slow
def test_level_of_stratified_test_under_label_shift():
    repeats, hits = 120, 0
    for seed in range(repeats):
        rng = np.random.default_rng([2, seed])
        y_source, y_target = rng.integers(0, 2, 80), (rng.random(80) < 0.8).astype(int)
        X_source = rng.normal(size=(80, 2)) + y_source[:, None]
        X_target = rng.normal(size=(80, 2)) + y_target[:, None]
        test = make(StratifiedTest, seed)
        hits += test.test(X_source, X_target, y_source=y_source, y_target=y_target).rejects()
    assert level_accepts(hits, repeats)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_level_of_label_test(task):
    repeats, hits = 150, 0
    for seed in range(repeats):
        rng = np.random.default_rng([3, seed])
        y = rng.integers(0, 3, 100) if task == "classification" else rng.exponential(size=100)
        X = rng.normal(size=(100, 1))
        result = make(LabelTest, seed).test(X[:60], X[60:], y_source=y[:60], y_target=y[60:], task=task)
        hits += result.rejects()
    assert level_accepts(hits, repeats)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_level_of_score_test_under_strong_covariate_shift(task):
    """Non-linear p(y|x), effective sample size a fifth of the source; asymptotic, so held to .065."""
    from da_toolkit.datasets import make_covariate_shift

    repeats, hits = 50, 0
    for seed in range(repeats):
        pair = make_covariate_shift(1000, 1000, strength="strong", task=task, n_features=5, random_state=seed)
        test = ConditionalScoreTest(random_state=seed)
        hits += test.test(pair.X_source, pair.X_target, y_source=pair.y_source, y_target=pair.y_target).rejects()
    assert level_accepts(hits, repeats, 0.065)


@pytest.mark.slow
def test_level_of_label_shift_fit():
    from da_toolkit.datasets import make_label_shift

    repeats, hits = 50, 0
    for seed in range(repeats):
        pair = make_label_shift(600, 600, n_features=5, random_state=seed)
        hits += (
            LabelShiftFitTest(random_state=seed).test(pair.X_source, pair.X_target, y_source=pair.y_source).rejects()
        )
    assert level_accepts(hits, repeats, 0.065)


SHIFTS = {
    "mean": lambda X: X + np.r_[0.5, np.zeros(X.shape[1] - 1)],
    "scale": lambda X: X * np.r_[1.6, np.ones(X.shape[1] - 1)],
    "correlation": lambda X: np.column_stack([X[:, 0], 0.7 * X[:, 0] + np.sqrt(0.51) * X[:, 1], X[:, 2:]]),
    "subpopulation": lambda X: np.where((np.arange(len(X)) < 0.1 * len(X))[:, None], X + 2, X),
}


@pytest.mark.parametrize(
    ("detector", "shift"),
    [
        (FeatureTest, "mean"),
        (FeatureTest, "scale"),
        (EnergyTest, "mean"),
        (EnergyTest, "subpopulation"),
        (MMDTest, "mean"),
        (MMDTest, "correlation"),
        (MomentTest, "scale"),
        (MomentTest, "correlation"),
        (MomentTest, "subpopulation"),
        (DomainClassifierTest, "mean"),
        *((JointTest, shift) for shift in SHIFTS),
    ],
)
def test_power(detector, shift):
    hits = 0
    for seed in range(5):
        rng = np.random.default_rng([4, seed])
        source, target = rng.normal(size=(2, 400, 5))
        hits += make(detector, seed).test(source, SHIFTS[shift](target)).rejects()
    assert hits >= 4


def test_feature_test_names_the_feature_and_the_direction():
    rng = np.random.default_rng(0)
    source = pd.DataFrame(
        {"age": rng.normal(50, 10, 300), "sex": rng.choice(["f", "m"], 300), "bmi": rng.normal(size=300)}
    )
    target = pd.DataFrame(
        {
            "age": rng.normal(60, 10, 300),
            "sex": rng.choice(["f", "m", "x"], 300, p=[0.2, 0.7, 0.1]),
            "bmi": rng.normal(size=300),
        }
    )
    target.loc[:80, "bmi"] = np.nan
    by_name = {f.feature: f for f in FeatureTest(random_state=0).test(source, target).per_feature}
    assert all(f.pvalue <= 0.01 for f in by_name.values())
    assert by_name["age"].direction.startswith("higher in the target")
    assert "unseen in the source: 'x'" in by_name["sex"].direction
    assert "missing 0% in the source, 27% in the target" in by_name["bmi"].direction
    assert by_name["sex"].effect.name == by_name["bmi"].effect.name == "total variation"


@pytest.mark.parametrize(
    ("move", "missing", "name", "value", "words"),
    [
        (0.0, (0, 60), "total variation", 0.2, "missing 0% in the source, 20% in the target"),
        (0.2, (0, 15), "total variation", 0.05, "missing 0% in the source, 5% in the target"),  # KS .08, as by chance
        (1.0, (0, 60), "KS distance", 0.38, "higher in the target; missing 0% in the source, 20% in the target"),
        (1.0, (0, 150), "total variation", 0.5, "higher in the target; missing 0% in the source, 50% in the target"),
        (1.0, (30, 33), "KS distance", 0.38, "higher in the target"),
        (0.2, (30, 33), "KS distance", 0.08, "higher in the target; missing 10% in the source, 11% in the target"),
        (0.0, (300, 270), "total variation", 0.1, "missing 100% in the source, 90% in the target"),
    ],
)
def test_the_effect_is_of_what_differs_values_or_missing_rates(move, missing, name, value, words):
    """Of 300 rows a side the values are normal quantiles; those that are missing lie all over them."""
    quantiles, gone = norm.ppf((np.arange(300) + 0.5) / 300), np.arange(300) * 187 % 300
    sides = (np.where(gone < n, np.nan, quantiles + by)[:, None] for n, by in zip(missing, (0, move), strict=True))
    shift = FeatureTest(n_permutations=19, random_state=0).test(*sides).per_feature[0]
    assert shift.effect.name == name and shift.effect.value == pytest.approx(value, abs=0.015)
    assert re.sub(r" \(.* sd\)", "", shift.direction) == words


def test_feature_family_wise_error_with_one_shifted_feature():
    """The unshifted features are rarely called shifted."""
    false = 0
    for seed in range(60):
        rng = np.random.default_rng([5, seed])
        source, target = rng.normal(size=(2, 150, 6))
        target[:, 0] += 1
        found = make(FeatureTest, seed).test(source, target).per_feature
        false += any(f.pvalue <= 0.05 for f in found if f.feature != "x0")
    assert level_accepts(false, 60)


def test_groups_make_the_test_honest():
    """Rows repeated by patient: without groups every null looks shifted, with groups it does not."""
    naive = honest = 0
    repeats = 40
    for seed in range(repeats):
        rng = np.random.default_rng([6, seed])
        patients = rng.normal(size=(40, 2))
        source, target = np.repeat(patients[:20], 10, axis=0), np.repeat(patients[20:], 10, axis=0)
        noise = rng.normal(scale=0.3, size=(2, 200, 2))
        ids = np.repeat(np.arange(40), 10)
        kw = {"groups": ids[:200], "groups_target": ids[200:]}
        with pytest.warns(ShiftWarning, match="Pass groups="):
            naive += make(EnergyTest, seed).test(source + noise[0], target + noise[1]).rejects()
        honest += make(EnergyTest, seed).test(source + noise[0], target + noise[1], **kw).rejects()
    assert naive > 0.5 * repeats
    assert level_accepts(honest, repeats)


def test_sample_weight_undoes_a_known_selection():
    """Source rows drawn with probability r(x) and weighted with 1 / r(x) match the target."""
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(4000, 2))
    r = 1 / (1 + np.exp(-1.5 * pool[:, 0]))
    source = pool[rng.random(4000) < r]
    weight = 1 + np.exp(-1.5 * source[:, 0])
    target = rng.normal(size=(1500, 2))
    plain = EnergyTest(n_permutations=199, random_state=0).test(source, target)
    weighted = EnergyTest(n_permutations=199, random_state=0).test(
        source, target, sample_weight=weight, sample_weight_target=np.ones(1500)
    )
    assert plain.pvalue == 1 / 200
    assert weighted.statistic < 0.1 * plain.statistic


@pytest.mark.parametrize("small", ["source", "target"])
@pytest.mark.parametrize("detector", [FeatureTest, JointTest, LabelTest, StratifiedTest])
def test_weights_on_a_small_side_alone_make_no_shift(detector, small):
    """The null was that of a large, evenly weighted side: half of these draws were rejected."""
    rejected, repeats = 0, 40
    for seed in range(repeats):
        rng = np.random.default_rng([11, seed])
        X, Z, weight = rng.normal(size=(100, 2)), rng.normal(size=(1000, 2)), rng.lognormal(size=100)
        y, v = X[:, 0] + rng.normal(size=100), Z[:, 0] + rng.normal(size=1000)
        few, many = {"X_source": X, "y_source": y, "sample_weight": weight}, {"X_target": Z, "y_target": v}
        if small == "target":
            few = {"X_target": X, "y_target": y, "sample_weight_target": weight}
            many = {"X_source": Z, "y_source": v}
        rejected += make(detector, seed).test(**few, **many).rejects()
    assert level_accepts(rejected, repeats)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_groups_whose_rows_differ_in_y_do_not_turn_a_shift_of_y_into_one_of_x_given_y(task):
    rejected = found = 0
    repeats = 40
    for seed in range(repeats):
        rng = np.random.default_rng([12, seed])
        ids = np.arange(400) // 4
        if task == "classification":
            y, v = rng.random((2, 400)) < np.array([[0.2], [0.8]])
        else:
            y, v = rng.normal(size=(2, 400)) + np.array([[0], [1]])
        X, Z = (np.column_stack([a, a]) + rng.normal(size=(400, 2)) for a in (y, v))
        kw = {"y_source": y, "y_target": v, "groups": ids, "groups_target": ids + 100}
        rejected += make(StratifiedTest, seed).test(X, Z, **kw).rejects()
        found += make(StratifiedTest, seed).test(X, Z + [0.5, 0], **kw).rejects()
    assert level_accepts(rejected, repeats)
    assert found > 0.9 * repeats


def test_the_change_of_a_skewed_y_is_that_of_its_mean():
    """In ranks it rises: +.2 was told where the mean falls."""
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(2, 1000, 2))
    y, v = np.exp(1.5 * rng.normal(size=1000)), np.exp(0.3 + 0.5 * rng.normal(size=1000))
    effect = make(ConditionalScoreTest, 0).test(X, Z, y_source=y, y_target=v).effect
    assert effect.name == "average change of E[y | x] in sd of y"
    assert effect.value == pytest.approx((v.mean() - y.mean()) / np.r_[y, v].std(), abs=0.02)
    assert effect.ci[1] < 0


def test_the_interval_of_the_largest_change_allows_for_the_choice_among_classes():
    outside = 0
    for seed in range(15):
        rng = np.random.default_rng([13, seed])
        X, Z = rng.normal(size=(2, 300, 2))
        y, v = rng.integers(0, 8, (2, 300))
        low, high = make(ConditionalScoreTest, seed).test(X, Z, y_source=y, y_target=v).effect.ci
        outside += low > 0 or high < 0
    assert level_accepts(outside, 15)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_the_distance_of_means_is_its_formula_on_either_side_of_a_square(shape):
    rng = np.random.default_rng(0)
    Z, U = rng.normal(size=shape).astype(np.float32), rng.normal(size=(shape[0], 20)).astype(np.float32)
    centred = (Z - Z.mean(axis=0)).astype(float)
    covariance = centred.T @ centred / len(Z)
    inverse = np.linalg.inv(covariance + np.trace(covariance) / len(Z) * np.eye(shape[1]))
    gap = centred.T @ U
    found, wanted = mean_rows(Z, U)[0], np.einsum("ib,ij,jb->b", gap, inverse, gap)
    near = abs(wanted - wanted[0]) < 2e-3 * wanted[0]  # what rounding might have made is the observed value
    assert near.sum() < 5
    assert found == pytest.approx(np.where(near, wanted[0], wanted), rel=1e-5)


def test_a_rare_class_that_few_labels_miss_by_chance_is_no_change():
    """1 % of the source and none of 150 labels, which happens in one of five samples: was p = .005 in most draws."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, Z = rng.normal(size=(2000, 2)), rng.normal(size=(150, 2))
        y, v = (rng.random(2000) < 0.01).astype(int), np.zeros(150, int)
        result = make(ConditionalScoreTest, seed).test(X, Z, y_source=y, y_target=v)
        assert result.pvalue > 0.05
        assert result.effect.ci[0] < 0 < result.effect.ci[1]


def test_a_rare_class_that_became_frequent_is_seen_in_few_labels():
    hits = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, Z = rng.normal(size=(2000, 2)), rng.normal(size=(150, 2))
        y, v = (rng.random(2000) < 0.01).astype(int), (rng.random(150) < 0.1).astype(int)
        hits += make(ConditionalScoreTest, seed).test(X, Z, y_source=y, y_target=v).rejects()
    assert hits == 3


@pytest.mark.parametrize("detector", ALL)
def test_same_seed_same_answer_and_clone_pickle(detector):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    y_source, y_target = rng.integers(0, 2, 60), rng.integers(0, 2, 50)
    kw = {"y_source": y_source, "y_target": y_target}
    test = make(detector, 3)
    first = test.test(X_source, X_target, **kw)
    again = clone(pickle.loads(pickle.dumps(test))).test(X_source, X_target, **kw)
    assert first.pvalue == again.pvalue
    assert 0 < first.pvalue <= 1
    assert first.to_dict()["pvalue"] == first.pvalue


@pytest.mark.parametrize("detector", [LabelTest, StratifiedTest, ConditionalScoreTest])
def test_labels_that_are_all_missing_are_named(detector):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match="no target label"):
        detector().test(X, X, y_source=np.tile([0, 1], 15), y_target=[None] * 30)


@pytest.mark.parametrize("detector", [LabelTest, StratifiedTest, ConditionalScoreTest, LabelShiftFitTest])
def test_missing_labels_are_named(detector):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match="without y_source|without y_target"):
        detector().test(X, X)


@pytest.mark.parametrize("n_permutations", [0, -1, 2.5, "a"])
@pytest.mark.parametrize("detector", [d for d in ALL if "n_permutations" in d().get_params()])
def test_what_is_no_number_of_permutations_is_refused(detector, n_permutations):
    X, y = np.random.default_rng(0).normal(size=(2, 60, 2)), np.arange(60) % 2
    with pytest.raises(InputError, match=f"n_permutations={n_permutations!r}; accepted: a whole number of at least 1"):
        detector(n_permutations).test(*X, y_source=y, y_target=y)


def test_score_test_sees_a_change_that_cancels_on_average():
    """p(y|x) goes up on one side of x0 = 0 and down on the other."""
    hits = 0
    for seed in range(4):
        rng = np.random.default_rng([7, seed])
        X_source, X_target = rng.normal(size=(2, 1200, 3))
        y_source = X_source[:, 1] + rng.normal(size=1200)
        y_target = X_target[:, 1] + 0.6 * np.sign(X_target[:, 0]) + rng.normal(size=1200)
        hits += (
            ConditionalScoreTest(random_state=seed)
            .test(X_source, X_target, y_source=y_source, y_target=y_target)
            .rejects()
        )
    assert hits >= 3


def test_score_test_effect_is_the_change_of_the_probability():
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(2, 3000, 2))
    y_source = (rng.random(3000) < 0.3).astype(int)
    y_target = (rng.random(3000) < 0.45).astype(int)
    effect = ConditionalScoreTest(random_state=0).test(X_source, X_target, y_source=y_source, y_target=y_target).effect
    assert effect.ci[0] < effect.value < effect.ci[1]
    assert abs(abs(effect.value) - 0.15) < 0.04


def test_stratified_test_ignores_label_shift_and_sees_one_moved_class():
    rng = np.random.default_rng(0)
    y_source, y_target = rng.integers(0, 2, 500), (rng.random(500) < 0.8).astype(int)
    X_source = rng.normal(size=(500, 3)) + 2 * y_source[:, None]
    X_target = rng.normal(size=(500, 3)) + 2 * y_target[:, None]
    X_target[y_target == 1, 0] += 0.5
    result = StratifiedTest(n_permutations=199, random_state=0).test(
        X_source, X_target, y_source=y_source, y_target=y_target
    )
    assert result.pvalue == 1 / 200
    assert result.per_feature[0].feature == "x0"


@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1, 2)])
def test_opposite_moves_of_two_classes_do_not_cancel_in_effects_and_features(labels):
    rng = np.random.default_rng(0)
    y_source, y_target = rng.choice(labels, 600), rng.choice(labels, 600)
    X_source, X_target = rng.normal(size=(600, 3)), rng.normal(size=(600, 3))
    X_target[:, 1] += np.where(y_target == labels[0], 0.8, np.where(y_target == labels[1], -0.8, 0))
    test = StratifiedTest(n_permutations=199, random_state=0)
    result = test.test(X_source, X_target, y_source=y_source, y_target=y_target)
    first, *others = result.per_feature
    assert first.feature == "x1" and first.pvalue == 1 / 200 and first.direction.startswith("where y is")
    assert result.notes == (f"x1 changed most, {first.direction}",)
    assert first.effect == result.effect and 0.2 < first.effect.value < 0.5
    assert all(other.pvalue > 0.05 and "where y" not in other.direction for other in others)


@pytest.mark.parametrize("kind", ["weights", "groups", "categories in groups"])
def test_intervals_of_effects_know_what_weighted_and_grouped_rows_are_worth(kind):
    """Without a change the interval of a distance reaches zero, 95 times of 100 at least."""
    rng, apart = np.random.default_rng(0), 0
    for _ in range(40):
        X, options = rng.normal(size=(600, 1)), {}
        if kind == "weights":
            w = np.exp(1.2 * rng.normal(size=600))
            options = {"sample_weight": w[:300], "sample_weight_target": w[300:]}
        else:
            groups = np.repeat(np.arange(60), 10)
            X = rng.normal(size=(60, 1))[groups] + 0.5 * X
            options = {"groups": groups[:300], "groups_target": groups[300:]}
        X = np.where(X > 0, "high", "low") if kind.startswith("categories") else X
        apart += FeatureTest(99, random_state=0).test(X[:300], X[300:], **options).effect.ci[0] > 0
    assert apart <= binom.ppf(0.999, 40, 0.05)


def test_a_change_that_follows_a_numeric_y_is_told_where_it_is():
    rng = np.random.default_rng(0)
    y_source, y_target = rng.normal(size=800), rng.normal(size=800)
    X_source, X_target = rng.normal(size=(800, 2)), rng.normal(size=(800, 2))
    X_target[:, 0] += np.sign(y_target)
    result = StratifiedTest(n_permutations=199, random_state=0).test(
        X_source, X_target, y_source=y_source, y_target=y_target
    )
    assert result.per_feature[0].feature == "x0" and result.per_feature[0].direction.startswith("where y is")


def test_a_numeric_y_without_an_upper_half():
    rng = np.random.default_rng(0)
    y_source, y_target = (np.where(rng.random(200) < 0.4, 0.5 * np.arange(200) % 7 - 7, 0.0) for _ in range(2))
    X_source, X_target = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + [1, 0]
    result = make(StratifiedTest, 0).test(X_source, X_target, y_source=y_source, y_target=y_target)
    assert result.per_feature[0].feature == "x0" and result.rejects()


def test_class_on_one_side_only_is_left_out_with_a_note():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    result = make(StratifiedTest, 0).test(X, X[:60], y_source=np.repeat([0, 1, 2], 30), y_target=np.repeat([0, 1], 30))
    assert any("one side only: 1 class" in note for note in result.notes)


def test_label_shift_fit_keeps_its_level_with_few_target_rows():
    """At a level of .05 six of 20 draws reject with a chance of 3e-4; here a category is rare."""

    def fits(seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 1030)
        region = rng.choice(list("abcd"), 1030, p=[0.6, 0.25, 0.1, 0.05])
        sex = rng.choice(["f", "m"], 1030)
        X = pd.DataFrame(rng.normal(size=(1030, 2)) + y[:, None], columns=["a", "b"]).assign(region=region, sex=sex)
        return not LabelShiftFitTest(random_state=seed).test(X[:1000], X[1000:], y_source=y[:1000]).rejects(0.05)

    assert sum(map(fits, range(20))) > 14


def test_label_shift_cannot_explain_rows_beyond_every_mixture_of_the_classes():
    """Of the classes 30 % and 60 % have x = 1, of the target 75 %: that would take a class of negative frequency."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    X, beyond, within = (np.asarray(rng.random(1000) < p, float)[:, None] for p in (0.3 + 0.3 * y, 0.75, 0.55))
    test = LabelShiftFitTest(random_state=0)
    assert test.test(X, beyond, y_source=y).pvalue < 1e-3
    assert test.test(X, within, y_source=y).pvalue > 1e-3


def test_label_shift_fit_in_regression():
    rng = np.random.default_rng(0)
    y = rng.normal(size=4000)
    X = np.column_stack([y + 0.5 * rng.normal(size=4000), rng.normal(size=4000)])
    keep = rng.random(4000) < 1 / (1 + np.exp(-1.5 * y))
    test = LabelShiftFitTest(random_state=0)
    assert not test.test(X[:1500], X[1500:][keep[1500:]], y_source=y[:1500]).rejects(0.01)
    moved = X[1500:] + [0, 0.4]
    assert test.test(X[:1500], moved, y_source=y[:1500]).rejects(0.01)


def test_constants_that_differ_have_no_distance_in_standard_deviations():
    source, target = np.full((50, 2), 0.1), np.full((50, 2), 0.3)
    source[:, 1] = target[:, 1] = np.arange(50)
    assert np.full(50, 0.1).std() > 0  # by rounding
    shifts = {f.feature: f.direction for f in FeatureTest(n_permutations=99).test(source, target).per_feature}
    assert shifts == {"x0": "higher in the target, constant in both", "x1": "about the same"}


def test_constant_columns_everywhere_are_no_shift():
    X = np.ones((30, 2))
    for detector in (FeatureTest, EnergyTest, MMDTest, MomentTest, JointTest):
        assert make(detector, 0).test(X, X).pvalue == 1.0


def test_large_samples_subsample_kernels_and_say_so():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 2))
    result = JointTest(n_permutations=19, random_state=0).test(X[:4000], X[4000:])
    assert "6000 of 8000 rows" in result.notes[0]
    assert not result.rejects()
    assert not EnergyTest(n_permutations=19, random_state=0).test(X[:4000], X[4000:]).notes  # by itself it takes all


def test_constant_scores_say_nothing():
    """A model that finds nothing predicts the class frequencies; their rounding is no evidence."""
    for seed in range(5):
        X = np.random.default_rng(seed).normal(size=(300, 2))
        problem = read_problem(X[:150], None, X[150:])
        test = JointTest(n_permutations=99, random_state=seed)
        with_scores = test.run_with_scores(problem, np.full((300, 2), [-3.1, 0.07]))
        assert with_scores.pvalue == test.run_with_scores(problem, None).pvalue


def test_kernel_forms_are_those_of_the_whole_matrix():
    """The blocks on and above the diagonal give u' K u, in units of the root of the mean squared kernel."""
    rng = np.random.default_rng(0)
    Z, U = rng.normal(size=(2 * BLOCK + 50, 3)).astype(np.float32), rng.normal(size=(2 * BLOCK + 50, 2))
    bandwidths = squared_bandwidths(Z, rng, widest=1.0, count=3, step=4.0)
    d2 = ((Z[:, None] - Z[None]).astype(float) ** 2).sum(axis=2)
    kernels = [np.exp(-d2 / s) for s in bandwidths]
    expected = [np.diag(U.T @ K @ U) / np.sqrt((K**2).mean()) for K in kernels]
    np.testing.assert_allclose(gaussian_rows(Z, U.astype(np.float32), bandwidths), expected, rtol=1e-3)


def test_rows_that_are_far_apart_leave_no_denormal_numbers_in_a_kernel():
    """Products with them take several times as long."""
    d2 = np.array([0, 1, 50, 80, 95, 120, 1e6], np.float32)[:, None]
    (kernel,) = _gaussians(d2, [1.0])
    np.testing.assert_allclose(kernel, np.exp(-d2.astype(float)), rtol=1e-6, atol=1e-25)
    assert (kernel / 1e6 > np.finfo(np.float32).tiny).all()


def test_kernels_reach_the_scale_of_clusters():
    """A cluster widens far from the others: at the median distance all rows of a cluster are one."""
    hits = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        source, target = rng.normal(size=(2, 600, 2))
        corners = rng.integers(0, 2, (2, 600, 2))
        target[corners[1].all(axis=1)] *= 2
        source, target = source + 40 * corners[0], target + 40 * corners[1]
        hits.append([t(random_state=0).test(source, target).rejects() for t in (MMDTest, JointTest)])
    assert np.mean(hits) >= 0.8


def test_star_names_exist():
    for name in shift_detectors.__all__:
        assert getattr(shift_detectors, name) is not None


# ------------------------------------------------------------------ samples that overlap


def test_a_labelled_part_does_not_differ_from_its_pool_in_sparse_components():
    pvalues = []
    for seed in range(6):
        pool = sp.random(240, 2000, 0.02, format="csr", random_state=seed)
        pvalues.append(JointTest(99, random_state=0).test(pool[:120], pool).pvalue)
    assert sum(p <= 0.05 for p in pvalues) <= 2  # more have a chance of .002


def test_a_labelled_part_does_not_differ_from_its_pool_in_scores_of_a_model_that_overfits():
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(240, 60))
    y = (pool[:120] @ rng.normal(size=(60, 4)) / 3 + rng.gumbel(size=(120, 4))).argmax(axis=1)
    assert LabelShiftFitTest(random_state=0).test(pool[:120], pool, y_source=y).pvalue > 1e-3


@pytest.mark.parametrize("test", X_TESTS)
def test_a_part_of_the_target_is_compared_with_its_other_rows(test):
    rows = np.random.default_rng(0).normal(size=(300, 2)) + (np.arange(300) >= 150)[:, None] * 0.4
    beside, apart = (test(random_state=0).test(rows[:150], target) for target in (rows, rows[150:]))
    assert beside.pvalue == apart.pvalue < 0.05 and beside.n_target == 150


def test_a_diagnosis_compares_a_part_of_the_target_with_its_other_rows():
    rows = np.random.default_rng(0).normal(size=(300, 2)) + (np.arange(300) >= 150)[:, None] * 0.4
    y = (rows[:150, 0] > 0).astype(int)
    report = shift_detectors.diagnose(rows[:150], y, rows, random_state=0, n_permutations=99)
    assert "p(x)" in report.shifts and report.n_target == 300 and report.tests[1].n_target == 150
    assert len(report.overlap.propensity_target) == 300
