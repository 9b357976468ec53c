"""diagnose: the right verdict on known shifts, and honest behaviour at the edges."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from da_toolkit import datasets
from shift_detectors import InputError, JointTest, MMDTest, ShiftWarning, diagnose
from shift_detectors._domain_classifier import auc_effect
from shift_detectors._overlap import _auc

MAKE = {
    "none": datasets.make_no_shift,
    "covariate": datasets.make_covariate_shift,
    "label": datasets.make_label_shift,
    "concept": datasets.make_concept_shift,
    "conditional": datasets.make_conditional_shift,
    "mixed": datasets.make_mixed_shift,
    "support": datasets.make_support_shift,
}


def run(pair, labels=False, **kw):
    y_target = pair.y_target if labels else None
    return diagnose(pair.X_source, pair.y_source, pair.X_target, y_target, random_state=0, n_permutations=199, **kw)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", list(MAKE))
def test_verdict_with_target_labels(kind, task):
    # twice the moderate strength, so that one draw is enough
    pair = MAKE[kind](800, 800, n_features=6, strength=2.0 if kind != "covariate" else 1.5, task=task, random_state=3)
    report = run(pair, labels=True)
    # where p(y) happens to stay as it was, a mixed shift shows as a conditional one
    assert report.verdict.kind in ((kind, "conditional") if kind == "mixed" else (kind,))
    assert report.n_labelled == 800


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["none", "covariate", "label", "support"])
def test_verdict_without_target_labels(kind, task):
    pair = MAKE[kind](800, 800, n_features=6, strength=1.5, task=task, random_state=4)
    report = run(pair)
    assert report.verdict.kind == kind
    assert "p(y|x)" in report.verdict.untestable
    assert report.test("p(y|x)") is None
    asked = any("If a change of p(y|x) would matter, label" in step for step in report.next_steps)
    assert asked == (kind != "support") and ("labels of the target do not tell either" in str(report)) != asked


def test_concept_shift_without_labels_is_not_seen_and_not_denied():
    pair = datasets.make_concept_shift(600, 600, strength=2, random_state=0)
    report = run(pair)
    assert report.verdict.kind == "none"
    assert "cannot" in report.verdict.explanation
    assert report.verdict.untestable == ("p(y|x)",)


def test_mixed_frame_with_everything_in_it():
    rng = np.random.default_rng(0)

    def frame(n, shift):
        return pd.DataFrame(
            {
                "age": rng.normal(50 + shift, 10, n),
                "site": pd.Categorical(rng.choice(list("abc"), n)),
                "smoker": rng.random(n) < 0.3,
                "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
                "note": [f"row {i} {rng.random()}" for i in range(n)],
                "lab": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
                "constant": 1,
            }
        )

    source, target = frame(300, 0), frame(280, 8)
    copies = source.copy(deep=True), target.copy(deep=True)
    y = rng.integers(0, 2, 300)
    report = diagnose(source, y, target, random_state=0, n_permutations=199)
    assert report.features[0].feature == "age"
    assert any("note" in note for note in report.notes)
    pd.testing.assert_frame_equal(source, copies[0])
    pd.testing.assert_frame_equal(target, copies[1])
    json.loads(report.to_json())
    assert pickle.loads(pickle.dumps(report)).verdict == report.verdict


def test_separating_column_is_named_and_set_aside():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    X[:, 4] = np.arange(600) + rng.normal(size=600)  # a row counter: the target comes later
    with pytest.warns(ShiftWarning, match="Neighbouring rows"):
        report = diagnose(X[:300], rng.integers(0, 2, 300), X[300:], random_state=0, n_permutations=199)
    assert report.separators == ("x4",)
    assert report.verdict.kind == "none"
    assert report.verdict_with_separators.kind == "support"
    assert str(report).startswith("No shift found, setting aside what tells source and target apart alone: x4.")
    assert "With all columns: support shift." in " ".join(str(report).split())
    assert report.verdict.explanation.startswith(
        "With x4 set aside: the inputs of source and target cannot be told apart"
    )
    assert report.next_steps[0].startswith("Look at x4") and report.next_steps[1].startswith(
        "Keep a model that does not"
    )


def test_a_moved_sensor_is_not_a_separator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    report = diagnose(X[:200], rng.integers(0, 2, 200), X[200:] + 8, random_state=0, n_permutations=199)
    assert report.separators == ()
    assert report.verdict.kind == "support"


def test_partly_labelled_target():
    pair = datasets.make_concept_shift(800, 800, strength=2, n_features=5, random_state=0)
    y_target = pair.y_target.astype(float)
    y_target[300:] = np.nan
    report = diagnose(pair.X_source, pair.y_source, pair.X_target, y_target, random_state=0, n_permutations=199)
    assert report.n_labelled == 300
    assert report.verdict.kind == "concept"
    assert any("labelled and unlabelled" in note for note in report.notes)


@pytest.mark.parametrize("kind", ["label", "covariate"])
def test_twenty_labels_do_not_overrule_all_other_rows(kind):
    told = 0
    for seed in range(3):
        pair = MAKE[kind](400, 400, n_features=4, strength=2, random_state=seed)
        few = np.full(400, np.nan)
        few[:20] = pair.y_target[:20]
        report = diagnose(pair.X_source, pair.y_source, pair.X_target, few, random_state=0, n_permutations=99)
        assert report.verdict.kind == kind
        assert ("p(y)" in report.shifts) == (kind == "label")
        told += "too few to show that change themselves" in report.verdict.explanation
    assert told == (kind == "label")  # once the labels alone show no change of p(y)


def test_labels_of_a_selected_part_are_reported():
    pair = datasets.make_no_shift(500, 600, n_features=4, random_state=0)
    y_target = pair.y_target.astype(object)
    y_target[pair.X_target[:, 0] > 0.3] = None
    report = diagnose(pair.X_source, pair.y_source, pair.X_target, y_target, random_state=0, n_permutations=199)
    assert any("differ in x" in note for note in report.notes)
    assert report.labels_selected and json.loads(report.to_json())["labels_selected"]
    for p in (0.002, 0.5):  # what they say of the labelled rows is not a matter of correction
        tests = tuple(replace(test, pvalue=p) if test.quantity in ("p(y)", "p(x|y)") else test for test in report.tests)
        text = str(replace(report, tests=tests))
        assert text.count("set aside: labels chosen by x") == 2 and "not after correction" not in text


@pytest.mark.parametrize("changed", [False, True])
def test_labels_chosen_by_y_show_no_change_of_y_at_equal_x(changed):
    """A class is known first: nothing changed. Labels chosen by x show a change of p(y|x) as before."""
    rng = np.random.default_rng(0)

    def draw(n, sign):
        X = rng.normal(size=(n, 3))
        return X, (rng.uniform(size=n) < 1 / (1 + np.exp(2.5 - 1.5 * sign * X[:, 0]))).astype(int)

    (X, y), (X_target, y_target) = draw(800, 1), draw(800, -1 if changed else 1)
    chosen = X_target[:, 0] > 0.7 if changed else y_target == 1
    chosen[rng.choice(800, 40, replace=False)] = True
    known = np.where(chosen, y_target, np.nan)
    report = diagnose(X, y, X_target, known, random_state=0, n_permutations=199)
    assert report.labels_selected and report.test("p(y|x)").rejects(report.alpha)
    assert report.labels_by_y != changed and ("p(y|x)" in report.shifts) == changed
    if not changed:
        assert report.verdict.kind == "none" and "p(y|x)" in report.verdict.untestable
        assert report.prior.ci[1][0] <= y_target.mean() <= report.prior.ci[1][1]
        assert str(report).count("set aside: labels chosen by x or y") == 3


def test_weights_undo_how_labelled_rows_were_chosen():
    """Of many rows that were labelled by x, so that the rest alone is far from the target."""
    pair = datasets.make_no_shift(100, 600, n_features=3, random_state=0)
    rng = np.random.default_rng(0)
    inclusion = 1 / (1 + np.exp(-1.5 * pair.X_target[:, 0]))
    drawn = rng.uniform(size=600) < inclusion
    known = np.where(drawn, pair.y_target, np.nan)
    weight = np.where(drawn, 1 / inclusion, 1.0)
    weight[drawn] /= weight[drawn].mean()
    found = [
        diagnose(*pair.seen, known, sample_weight_target=w, random_state=0, n_permutations=99).labels_selected
        for w in (None, weight, 1 / weight)
    ]
    assert found == [True, False, True]


def test_weights_of_the_labelled_rows_make_no_shift_of_x():
    """Beside labelled rows that speak for all, the other target rows are not counted a second time."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, 500, 2))
    inclusion = 1 / (1 + np.exp(-1.5 * X_target[:, 0]))
    drawn = rng.uniform(size=500) < inclusion
    known, weight = np.where(drawn, X_target[:, 0] > 0, np.nan), np.where(drawn, 1 / inclusion, 1.0)
    weight[drawn] /= weight[drawn].mean()
    given = {"y_source": X[:, 0] > 0, "y_target": known}
    test = JointTest(n_permutations=99, random_state=0)
    plain, weighted = (test.test(X, X_target, sample_weight_target=w, **given).pvalue for w in (None, weight))
    assert weighted == plain
    assert test.test(X, X_target, sample_weight_target=weight).pvalue < plain  # without labels they are what rows count

    model = LogisticRegression().fit(X, X[:, 0] + rng.normal(size=500) > 0)
    data = (X, given["y_source"], X_target, known)
    found, unweighted = (
        diagnose(*data, estimator=model, sample_weight_target=w, random_state=0, n_permutations=99)
        for w in (weight, None)
    )
    assert found.verdict.kind == "none"
    assert found.overlap.domain_auc == unweighted.overlap.domain_auc
    assert found.impact.estimates == unweighted.impact.estimates
    assert found.impact.target != unweighted.impact.target


def test_a_handful_of_labels_is_not_used_for_tests():
    pair = datasets.make_no_shift(200, 200, random_state=0)
    y_target = np.full(200, np.nan)
    y_target[:5] = pair.y_target[:5]
    report = diagnose(pair.X_source, pair.y_source, pair.X_target, y_target, random_state=0, n_permutations=99)
    assert "5 target labels are too few for tests" in report.notes
    assert "p(y|x)" in report.verdict.untestable and report.prior.method == "MLLS and observed labels"


def test_new_class_in_the_target_is_reported():
    pair = datasets.make_label_shift(400, 400, n_classes=3, random_state=0)
    keep = pair.y_source != 2
    report = diagnose(
        pair.X_source[keep], pair.y_source[keep], pair.X_target, pair.y_target, random_state=0, n_permutations=99
    )
    assert report.verdict.kind == "mixed"
    assert "a class that the source does not have, '2' (" in report.verdict.explanation
    assert str(report).startswith("Mixed shift: the target has a class that the source has not, '2'.")
    assert len(report.next_steps) == 1 and "Label more target rows of the class '2'" in report.next_steps[0]


def test_a_few_rows_of_a_new_class_are_always_shown():
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    X, X_target = (np.eye(5)[part] + rng.normal(size=(300, 5)) for part in (y, y_target))
    y_target[:2] = -1
    report = diagnose(X, y, X_target, y_target, random_state=0, n_permutations=99)
    assert report.verdict.kind == "none" and "that the source does not have, '-1' (0.67%" in report.verdict.explanation
    frequencies = " ".join(str(report).split())
    assert "(observed labels): '-1' 0% -> 0.67%" in frequencies and "and 4 more classes." in frequencies
    assert "Rows without a label have a missing one (None, NaN), not -1." in " ".join(report.notes)
    assert report.next_steps[0].startswith("If -1 marks unlabelled rows")


def test_what_follows_a_date_is_a_date():
    """Numbers of the week, on which sales depend, beside its date; without a date they count as one column."""
    rng = np.random.default_rng(0)
    week = np.r_[np.arange(80).repeat(5), np.arange(80, 100).repeat(5)]
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * week, unit="D")
    frame = pd.DataFrame({"left": 200 - week, "week": week / 52, "price": rng.normal(size=500), "date": dates})
    frame["promo"] = rng.random(500) < 0.2
    y = week[:400] / 20 + rng.normal(size=400)
    data = frame[:400].sample(frac=1, random_state=0), None, frame[400:]
    for columns in (["date"], ["left", "date"], ["left", "week", "date"]):
        sides = [part[[*columns, "price", "promo"]] for part in (data[0], data[2])]
        report = diagnose(sides[0], y[data[0].index], sides[1], random_state=0, n_permutations=99)
        assert set(report.separators) == set(columns) and report.verdict.kind == "none"
        assert "y depends on" not in report.verdict.explanation  # nothing was found to depend on them
    sides = [part[["left", "week", "price", "promo"]] for part in (data[0], data[2])]
    assert set(diagnose(sides[0], None, sides[1], n_permutations=99).separators) == {"left", "week"}


def test_columns_frozen_in_one_domain_are_separators_however_many():
    """Records that began later: constant, or missing, on one side and in the middle of its values on the other."""
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    X_source[:, 1], X_source[:, 2], X_target[:, 3] = 0.1, np.nan, -0.2
    report = diagnose(X_source, None, X_target, random_state=0)
    assert report.separators == ("x1", "x2", "x3") and [shift.feature for shift in report.features] == ["x0"]
    assert report.verdict.kind != "support" and report.verdict_with_separators.kind == "support"
    # a word that one side never uses and the other seldom tells little
    rare = np.c_[X_source[:, :1], np.zeros(300)], np.c_[X_target[:, :1], rng.random(200) < 0.3]
    assert diagnose(rare[0], None, rare[1], random_state=0).separators == ()


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_what_one_domain_did_not_measure_is_named_and_no_covariate_shift(side, kind):
    """Half of the values are missing in the other one, too: the column does not separate the domains alone."""
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"]) for n in (120, 90)]
    measured = frames[side == "source"]
    present = rng.random(len(measured)) < 0.5
    measured["c"] = np.where(present, measured["c"] if kind == "number" else rng.choice(["x", "y"], len(present)), None)
    frames[side == "target"]["c"] = None
    y = (frames[0]["a"] + rng.normal(size=120) > 0).astype(int)
    report = diagnose(frames[0], y, frames[1], random_state=0, n_permutations=99)
    assert report.separators == ("c",) and report.unmeasured == {side: ("c",)}
    assert report.verdict.kind == "none" and report.verdict_with_separators.kind != "none"
    assert f"Not measured in the {side}: c." in " ".join(str(report).split())
    assert f"Not measured in the {side}: <b>c</b>." in report.to_html()
    assert report.next_steps[0] == f"Leave c out of the model, or measure it in the {side}."
    assert not any("ImportanceWeighting" in step for step in report.next_steps)


def test_what_is_measured_seldom_may_be_missing_on_one_side_by_accident():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(100, 2)), rng.normal(size=(60, 2))
    X[5:, 1] = X_target[:, 1] = np.nan
    report = diagnose(X, rng.integers(0, 2, 100), X_target, random_state=0, n_permutations=99)
    assert report.separators == () and report.unmeasured == {} and report.verdict.kind == "none"


def test_columns_with_equal_shares_are_no_separators():
    rng = np.random.default_rng(0)
    half = np.tile([True, False], 100)
    frame = pd.DataFrame({"half": half, "three": np.resize(list("abc"), 200), "one": "c", "x": rng.normal(size=200)})
    rare = np.zeros(200, bool)
    rare[0] = True
    target = frame.assign(x=rng.normal(size=200) + 1, rare=rare)
    report = diagnose(frame.assign(rare=rare), rng.integers(0, 2, 200), target, random_state=0, n_permutations=99)
    assert report.separators == ()
    assert report.features[0].feature == "x"


def test_label_shift_with_uninformative_x_is_label_shift():
    """Both "p(x|y) is equal" and "p(x) is equal" hold; the change of p(y) is the sparser explanation."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3))
    y_source, y_target = rng.integers(0, 2, 400), (rng.random(400) < 0.75).astype(int)
    report = diagnose(X[:400], y_source, X[400:], y_target, random_state=0, n_permutations=99)
    assert report.verdict.kind == "label"


def test_equal_class_counts_do_not_hide_a_concept_shift():
    pair = datasets.make_concept_shift(1000, 1000, strength=2, random_state=0)
    rows = [np.r_[np.flatnonzero(y == 0)[:400], np.flatnonzero(y == 1)[:400]] for y in (pair.y_source, pair.y_target)]
    report = diagnose(
        pair.X_source[rows[0]],
        pair.y_source[rows[0]],
        pair.X_target[rows[1]],
        pair.y_target[rows[1]],
        random_state=0,
        n_permutations=199,
    )
    assert report.test("p(y)").pvalue == 1
    assert "p(y|x)" in report.shifts


def test_negligible_covariate_shift_with_labels_is_not_called_concept():
    rng = np.random.default_rng(1)
    X_source, X_target = rng.normal(size=(2, 8000, 3))
    X_target += [0.06, 0, 0]
    y_source, y_target = (X[:, 0] + X[:, 1] ** 2 + rng.normal(size=8000) for X in (X_source, X_target))
    report = diagnose(X_source, y_source, X_target, y_target, random_state=0, n_permutations=99)
    assert report.verdict.kind in ("none", "covariate")


def test_column_missing_on_one_side_everywhere():
    rng = np.random.default_rng(0)
    source, target = pd.DataFrame({"a": np.full(50, np.nan)}), pd.DataFrame({"a": rng.normal(size=50)})
    report = diagnose(source, rng.integers(0, 2, 50), target, random_state=0, n_permutations=99)
    assert report.test("p(x)").pvalue < 0.05


def test_weights_enter_the_classifier_and_the_overlap():
    """Source rows weighted to the target's distribution: the domain AUC falls to about one half."""
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(1500, 1)), rng.normal(size=(1500, 1)) + 0.7
    weight = np.exp(0.7 * X_source[:, 0])
    kw = {"random_state": 0, "n_permutations": 99}
    plain = diagnose(X_source, None, X_target, **kw)
    weighted = diagnose(X_source, None, X_target, sample_weight=weight, **kw)
    assert plain.overlap.domain_auc.value > 0.65
    assert abs(weighted.overlap.domain_auc.value - 0.5) < 0.04


def test_negligible_difference_in_a_large_sample_is_called_negligible():
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(20_000, 2)), rng.normal(size=(20_000, 2)) + 0.05
    report = diagnose(X_source, None, X_target, random_state=0, n_permutations=199)
    assert report.test("p(x)").pvalue < 0.05
    assert report.verdict.kind == "none"
    assert any("negligibly" in note for note in report.notes)
    assert "differ significantly, but negligibly" in report.verdict.explanation


@pytest.mark.parametrize(("share", "kind"), [(0.14, "label"), (0.04, "none")])
def test_a_change_of_a_rare_class_is_not_negligible(share, kind):
    """It moves p(x) by less than any `min_effect`."""

    def sample(n, p):
        y = (rng.random(n) < p).astype(int)
        return rng.normal(size=(n, 4)) + y[:, None] * [1, 0.8, 0, 0], y

    rng = np.random.default_rng(2)
    (X, y), (X_target, _) = sample(4000, 0.04), sample(4000, share)
    report = diagnose(X, y, X_target, random_state=0, n_permutations=99)
    assert report.verdict.kind == kind
    assert report.overlap.domain_auc.value < report.min_effect["domain AUC"]


def test_what_follows_from_a_small_change_of_p_y_is_not_called_a_concept_shift():
    """p(y) moves by less than `min_effect`, and p(y|x) with it: rows of a class look the same."""

    def sample(n, p):
        y = (rng.random(n) < p).astype(int)
        return rng.normal(size=(n, 2)) + y[:, None] * [2, 1.5], y

    rng = np.random.default_rng(0)
    (X, y), (X_target, y_target) = sample(4000, 0.02), sample(4000, 0.06)
    report = diagnose(X, y, X_target, y_target, random_state=0, n_permutations=99)
    assert report.test("p(y)").effect.value < report.min_effect["total variation"]
    assert report.verdict.kind == "label" and report.shifts == {"p(y)", "p(y|x)"}


def test_without_source_labels_only_p_x_is_compared():
    rng = np.random.default_rng(0)
    report = diagnose(rng.normal(size=(100, 2)), None, rng.normal(size=(100, 2)) + 1, random_state=0, n_permutations=99)
    assert {t.quantity for t in report.tests} == {"p(x)"}
    assert set(report.verdict.untestable) == {"p(y|x)", "p(x|y)", "p(y)"}
    assert report.task is None
    assert "labels of the target do not tell either" in " ".join(str(report).split())
    assert "would reveal" not in str(report)


def test_pictures_of_features_count_rows_by_their_weight():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"visits": rng.integers(0, 4, 60).astype(float), "ward": rng.choice(list("ab"), 60)})
    X.loc[:9, "visits"] = np.nan
    weight = rng.integers(1, 4, 60)
    report = diagnose(X, None, X, sample_weight=weight, random_state=0, n_permutations=99)
    visits, ward = sorted(report.summaries, key=lambda summary: summary.feature)
    known = X["visits"].notna()
    counted = [weight[X["visits"] == k].sum() / weight[known].sum() for k in range(4)]
    np.testing.assert_allclose(visits.source, counted)
    np.testing.assert_allclose(visits.target, [(X["visits"] == k).sum() / known.sum() for k in range(4)])
    assert visits.missing_source == pytest.approx(weight[~known].sum() / weight.sum())
    np.testing.assert_allclose(ward.source, [weight[X["ward"] == name].sum() / weight.sum() for name in ward.bins])


def test_impact_takes_the_weights_of_both_sides():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, 300, 2))
    y, y_target = (
        np.where(rng.random(300) < 0.8, rows[:, 0] > 0, rows[:, 1] > 0).astype(int) for rows in (X, X_target)
    )
    model = LogisticRegression().fit(rng.normal(size=(100, 2)), np.arange(100) % 2)
    weight, weight_target = np.where(y == 1, 3.0, 1.0), np.where(y_target == 1, 1.0, 2.0)
    given = {"sample_weight": weight, "sample_weight_target": weight_target, "estimator": model}
    impact = diagnose(X, y, X_target, y_target, **given, random_state=0, n_permutations=99).impact
    assert impact.source.value == pytest.approx(np.average(model.predict(X) == y, weights=weight))
    assert impact.target.value == pytest.approx(np.average(model.predict(X_target) == y_target, weights=weight_target))
    assert impact.p_x_part.value + impact.p_y_given_x_part.value == pytest.approx(
        impact.source.value - impact.target.value
    )


def test_groups_widen_the_intervals_of_the_impact():
    rng = np.random.default_rng(0)
    rows, rows_target = rng.normal(size=(2, 50, 2))
    X, X_target = np.repeat(rows, 8, axis=0), np.repeat(rows_target, 8, axis=0)
    y, y_target = (X[:, 1] > 0).astype(int), (X_target[:, 1] > 0).astype(int)
    model = LogisticRegression().fit(X[:, :2] * [1, 0], X[:, 0] > 0)
    options = {"estimator": model, "random_state": 0, "n_permutations": 99}
    alone, together = (
        diagnose(X, y, X_target, y_target, groups=groups[:400], groups_target=groups[400:], **options).impact
        for groups in (np.arange(800), np.repeat(np.arange(100), 8))
    )
    for name in ("source", "target", "p_y_given_x_part"):
        narrow, wide = (np.diff(getattr(impact, name).ci) for impact in (alone, together))
        assert wide > 2 * narrow, name


def test_impact_of_a_covariate_shift_on_a_model():
    pair = datasets.make_misspecified(1500, 1500, random_state=0)
    model = LogisticRegression().fit(pair.X_source, pair.y_source)
    report = run(pair, labels=True, estimator=model)
    assert report.impact.estimates[0].method == "importance weighting"
    truth = model.score(pair.X_target, pair.y_target)
    assert abs(report.impact.estimates[0].value - truth) < 0.12
    assert report.impact.target.value == pytest.approx(truth)
    total = report.impact.p_x_part.value + report.impact.p_y_given_x_part.value
    assert total == pytest.approx(report.impact.source.value - truth, abs=1e-9)


def test_same_seed_same_report_and_extra_detectors():
    pair = datasets.make_covariate_shift(200, 200, n_features=3, random_state=0)
    first = run(pair, detectors=[MMDTest(99, random_state=0)])
    second = run(pair, detectors=[MMDTest(99, random_state=0)])
    assert first.tests[-1].detector == "MMDTest"
    assert [t.pvalue for t in first.tests] == [t.pvalue for t in second.tests]


def test_sparse_and_wide_inputs():
    rng = np.random.default_rng(0)
    X = sparse.random(120, 400, density=0.05, format="csr", random_state=0)
    shifted = X.copy()
    shifted.data = shifted.data + 3
    report = diagnose(X[:60], rng.integers(0, 2, 60), shifted[60:], random_state=0, n_permutations=99)
    assert report.verdict.kind != "none"
    wide = rng.normal(size=(60, 300))
    assert (
        diagnose(wide[:30], rng.integers(0, 2, 30), wide[30:], random_state=0, n_permutations=99).verdict.kind == "none"
    )


def test_many_levels_and_rare_classes_do_not_break_it():
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame({"zip": rng.integers(0, 150, n).astype(str), "x": rng.normal(size=n)})
    y = np.r_[np.repeat(["a", "b"], 98), ["rare"] * 4]
    report = diagnose(frame[:200], y, frame[200:], np.tile(["a", "b"], 100), random_state=0, n_permutations=99)
    assert report.prior is not None
    assert str(report)


def test_a_rare_class_is_named_and_the_others_are_estimated():
    pair = datasets.make_label_shift(n_source=300, n_target=300, random_state=0)
    y = pair.y_source.copy()
    y[np.flatnonzero(y == 0)[:2]] = 2
    report = diagnose(pair.X_source, y, pair.X_target, random_state=0)
    assert "Too few source rows of 2 (2 rows): taken to be as frequent in the target as in the source." in report.notes
    assert report.prior.target[2] == report.prior.source[2] == pytest.approx(2 / 300)
    assert np.abs(report.prior.target[:2] - np.bincount(pair.y_target) / 300).max() < 0.08


@pytest.mark.slow
def test_groups_enter_every_part():
    """Patients with eight rows each and no shift: "none" with groups, an alarm nearly always without."""
    kinds, naive = [], []
    for seed in range(8):
        rng = np.random.default_rng([8, seed])
        patients = np.repeat(rng.normal(size=(60, 3)), 8, axis=0) + 0.1 * rng.normal(size=(480, 3))
        ids = np.repeat(np.arange(60), 8)
        y = rng.integers(0, 2, 480)
        halves = (patients[:240], y[:240], patients[240:], y[240:])
        kw = {"random_state": 0, "n_permutations": 199}
        kinds.append(diagnose(*halves, groups=ids[:240], groups_target=ids[240:], **kw).verdict.kind)
        with pytest.warns(ShiftWarning, match="Neighbouring rows"):
            naive.append(diagnose(*halves, **kw).verdict.kind)
    assert kinds.count("none") >= 5  # binomial(8, .95): fewer has probability .0004
    assert naive.count("none") <= 2


@pytest.mark.parametrize("alpha", [0, 1, -0.1])
def test_bad_alpha(alpha):
    X = np.random.default_rng(0).normal(size=(20, 1))
    with pytest.raises(InputError, match="alpha"):
        diagnose(X, None, X, alpha=alpha)


@pytest.mark.parametrize("n_jobs", [0, "x", 1.5])
def test_n_jobs_is_a_number_of_workers(n_jobs):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match=f"n_jobs={n_jobs!r}; accepted: a whole number other than 0"):
        diagnose(X, None, X, n_jobs=n_jobs)


def test_a_model_that_cannot_predict_is_refused_before_the_tests(monkeypatch):
    pair = datasets.make_no_shift(100, 100, n_features=3, random_state=0)
    monkeypatch.setattr("shift_detectors._diagnose.examine", None)
    fitted = LogisticRegression().fit(pair.X_source[:, :2], pair.y_source)
    for model, what in (
        (LogisticRegression(), "NotFittedError"),
        (fitted, "expecting 2 features"),
        (object(), "predict"),
    ):
        with pytest.raises(InputError, match=f"the estimator cannot predict X_source .*{what}"):
            run(pair, estimator=model)


def test_bad_min_effect_and_detectors():
    X = np.random.default_rng(0).normal(size=(20, 1))
    with pytest.raises(InputError, match="min_effect"):
        diagnose(X, None, X, min_effect={"ks": 0.1})
    with pytest.raises(InputError, match="detectors='MMDTest'"):
        diagnose(X, None, X, detectors="MMDTest")
    for few in (10, "a"):
        with pytest.raises(InputError, match=f"n_permutations={few!r}; accepted: a whole number of at least 99"):
            diagnose(X, None, X, n_permutations=few)
    with pytest.raises(InputError, match="positive weight"):
        diagnose(X, None, X, sample_weight=np.r_[np.ones(19), 0])
    with pytest.raises(InputError, match="instances"):
        diagnose(X, None, X, detectors=["MMD"])


def test_print_reads_like_an_answer():
    report = run(datasets.make_label_shift(400, 400, strength=1.5, random_state=0))
    text = str(report)
    assert text.splitlines()[0].startswith("Label shift")
    assert "p(y|x)" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.slow
def test_verdict_agrees_over_seeds():
    """On one table of moderate shift at least 19 of 20 seeds give the same verdict."""
    pair = datasets.make_covariate_shift(600, 600, n_features=5, strength=1.5, random_state=1)
    kinds = [
        diagnose(
            pair.X_source, pair.y_source, pair.X_target, pair.y_target, random_state=seed, n_permutations=199
        ).verdict.kind
        for seed in range(20)
    ]
    assert max(kinds.count(k) for k in set(kinds)) >= 19


def test_columns_with_a_value_or_two_and_tables_that_do_not_vary():
    rng = np.random.default_rng(0)
    y, gaps = rng.integers(0, 2, 300), np.full(300, np.nan)
    source = pd.DataFrame({"a": rng.normal(size=300), "b": np.r_[gaps[:299], 2.0], "c": [None] * 299 + ["x"]})
    target = pd.DataFrame({"a": rng.normal(size=300) + 1, "b": np.r_[gaps[:298], 2.0, 3.0], "c": [None] * 300})
    for labels in (y, None):  # which row has the value decides whether a fold sees it
        for seed in range(3):
            shuffled = source.sample(frac=1, random_state=seed)
            assert "p(x)" in diagnose(shuffled, labels, target, n_permutations=99, random_state=seed).shifts
    for values in (y, rng.normal(size=300)):
        constant = np.ones((300, 2))
        assert diagnose(constant, values, constant, n_permutations=99, random_state=0).verdict.kind == "none"


def test_the_task_is_that_of_the_model():
    rng = np.random.default_rng(0)
    means = 2 * rng.normal(size=(30, 4))
    y, y_target = rng.integers(0, 30, 400), rng.integers(0, 30, 200)
    X, X_target = (means[labels] + rng.normal(size=(len(labels), 4)) for labels in (y, y_target))
    with pytest.warns(ShiftWarning, match="0 to 29, taken as quantities.*task="):
        assert diagnose(X, y, X_target, n_permutations=99, random_state=0).task == "regression"
    for model, task in ((LogisticRegression(max_iter=500), "classification"), (LinearRegression(), "regression")):
        report = diagnose(X, y, X_target, estimator=model.fit(X, y), n_permutations=99, random_state=0)
        assert report.task == task
    few = diagnose(X, y % 5, X_target, estimator=LinearRegression().fit(X, y % 5), n_permutations=99, random_state=0)
    assert few.task == "regression"


def test_frequencies_are_those_of_the_labels_where_it_is_not_label_shift():
    rng = np.random.default_rng(0)

    def draw(share, move, n=1000):
        y = (rng.random(n) < share).astype(int)
        X = rng.normal(size=(n, 3)) + np.c_[1.5 * y + move, move * np.where(y == 1, -1, 0.5), np.zeros(n)]
        return X, y

    (X, y), (X_target, y_target) = draw(0.1, 0), draw(0.2, 1)
    known = np.where(rng.random(1000) < 0.2, y_target, np.nan)
    report = diagnose(X, y, X_target, known, random_state=0)
    seen = y_target[~np.isnan(known)]
    assert report.verdict.kind == "mixed" and report.prior.method == "observed labels"
    assert report.prior.target[1] == pytest.approx(seen.mean()) and report.prior.ci[1][1] < 0.35
    known[~np.isnan(known) & (rng.random(1000) < 0.3)] = 2
    report = diagnose(X, y, X_target, known, random_state=0)
    assert report.prior.classes == (0, 1, 2) and report.prior.target[2] > 0.2 and report.prior.source[2] == 0
    assert "Label more target rows of the class '2'" in " ".join(report.next_steps)


def test_a_change_that_averages_out_is_not_told_as_its_average():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    y = (X[:, 1] + 0.5 * rng.normal(size=500) > 0).astype(int)
    y_target = (X_target[:, 1] + X_target[:, 2] + 0.5 * rng.normal(size=500) > 0).astype(int)
    report = diagnose(X, y, X_target, y_target, random_state=0)
    effect = report.test("p(y|x)").effect
    assert report.verdict.kind == "concept" and f"itself changed ({effect})" in report.verdict.explanation
    assert effect.name == "root mean square change of P(y = k | x)" and effect.ci[0] > report.min_effect[effect.name]
    assert 0.1 < effect.value < np.sqrt(np.mean((expit(X_target @ [0, 4, 4]) - expit(4 * X_target[:, 1])) ** 2)) + 0.05


def test_no_feature_is_listed_where_p_x_does_not_differ():
    report = run(datasets.make_no_shift(300, 300, random_state=0))
    weak = replace(report, features=tuple(replace(f, pvalue=0.01) for f in report.features))
    assert report.shifts == frozenset() and "Features that changed" not in str(weak)


def test_a_measurement_that_moved_far_is_not_set_aside_as_a_leak():
    """y depends on it: without it p(y | the others) would seem to have changed."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(500, 3)), rng.normal(size=(400, 3)) + [6, 0, 0]
    y, y_target = ((rows[:, 0] + rows[:, 1] + rng.normal(size=len(rows)) > 0).astype(int) for rows in (X, X_target))
    for labels in (y_target, None):
        report = diagnose(X, y, X_target, labels, random_state=0, n_permutations=99)
        assert (report.verdict.kind, report.separators) == ("support", ())
    clock = np.r_[np.arange(500), np.arange(900, 1300)]  # y does not depend on it
    X_late, X_target_late = np.c_[X, clock[:500]], np.c_[X_target - [6, 0, 0], clock[500:]]
    report = diagnose(X_late, y, X_target_late, None, random_state=0, n_permutations=99)
    assert (report.verdict.kind, report.separators) == ("none", ("x3",))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_y_depends_on_and_is_set_aside_confirms_nothing(task):
    """A column that broke down (one value in the target) is part of what is seen of y given the others."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    y, y_target = (rows @ [1, 1, 0] + rng.normal(size=500) for rows in (X, X_target + [1, 0, 0]))
    if task == "classification":
        y, y_target = np.where(y > 0, "b", "a"), np.where(y_target > 0, "b", "a")
    X_target[:, 0] = -9
    report = diagnose(X, y, X_target, y_target, random_state=0, n_permutations=99)
    assert report.separators == ("x0",) and "p(y|x)" in report.shifts
    assert report.verdict.strength == "consistent" and "y depends on x0" in report.verdict.explanation
    text = " ".join(str(report).split())
    assert "with x0 set aside" in text.split(".")[0] and "With x0 set aside, weighting" in text


def test_an_auc_without_information_has_an_interval():
    """A classifier that says the same of all rows has an AUC of exactly 1/2; that is no knowledge of the domains."""
    domain = np.r_[np.zeros(400), np.ones(300)]
    effect = auc_effect(np.full(700, 0.4), domain)
    width = 1.96 * np.sqrt((1 / 400 + 1 / 300) / 12)
    assert effect.ci == pytest.approx((0.5 - width, 0.5 + width))
    assert auc_effect(domain, domain).ci == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("n_labels", [12, 60])
def test_labels_chosen_by_x_make_no_concept_shift(n_labels):
    """No shift; the labelled rows are those of the largest x0, so that their y differ from the source's."""
    kinds = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
        y, y_target = ((rng.random(300) < expit(2 * rows[:, 0])).astype(float) for rows in (X, X_target))
        y_target[np.argsort(-X_target[:, 0])[n_labels:]] = np.nan
        report = diagnose(X, y, X_target, y_target, random_state=seed, n_permutations=99)
        kinds.append(report.verdict.kind)
        assert any("do not enter the verdict" in note for note in report.notes)
        assert "p(y)" not in report.shifts and "p(y)" in report.verdict.untestable
    assert kinds.count("none") >= 5


def test_equal_group_numbers_on_both_sides_are_told():
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(100, 2)), np.repeat(np.arange(20), 5)
    told = "20 of 20 groups have rows on both sides"
    for other, shown in ((groups, True), (groups + 20, False)):
        report = diagnose(X, None, rng.normal(size=(100, 2)), groups=groups, groups_target=other, n_permutations=99)
        assert any(note.startswith(told) for note in report.notes) == shown


def test_a_small_change_of_p_y_given_x_is_told_as_small():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(8000, 1)), rng.normal(size=(8000, 1))
    y, y_target = ((rng.random(8000) < expit(rows[:, 0] + d)).astype(int) for rows, d in ((X, 0), (X_target, 0.12)))
    report = diagnose(X, y, X_target, y_target, random_state=0, n_permutations=99)
    assert "p(y|x)" in report.shifts
    assert any(note.startswith("p(y|x) differs significantly, but little") for note in report.notes)


def test_no_label_shift_without_a_change_of_the_estimated_frequencies():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, X_target = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + [1.5, 0]
        y = (rng.random(40) < expit(2 * X[:, 1])).astype(int)
        report = diagnose(X, y, X_target, random_state=seed, n_permutations=99)
        moved = (report.prior.ci[:, 0] > report.prior.source) | (report.prior.ci[:, 1] < report.prior.source)
        assert report.verdict.kind != "label" or moved.any()


@pytest.mark.parametrize("value", [0.0, 0.1])
@pytest.mark.parametrize("width", [3, 90])
def test_where_no_column_varies_nothing_is_claimed(value, width, recwarn):
    rows = sparse.csr_array(np.full((60, width), value))
    report = diagnose(rows, [0, 1] * 30, rows, random_state=0, n_permutations=99)
    assert all("copies" in str(warning.message) for warning in recwarn)
    assert (report.verdict.kind, report.verdict.strength) == ("none", "assumed")
    assert "No column that is compared varies" in report.verdict.explanation and "nan" not in str(report)
    assert "Look at how the rows are described" in report.next_steps[0]


def test_estimates_leave_open_what_the_source_does_not_cover():
    """Nobody over 65 took part: the model is wrong there, and whatever was found to be uncovered may be."""
    rng = np.random.default_rng(0)
    X = rng.uniform(20, 90, size=(3000, 1))
    y = ((X[:, 0] > 42) & (X[:, 0] < 65)).astype(int)
    young = np.flatnonzero(X[:, 0] < 65)[:700]
    target = np.arange(2000, 3000)
    model = LogisticRegression().fit(X[young], y[young])
    report = diagnose(X[young], y[young], X[target], estimator=model, random_state=0, n_permutations=99)
    assert report.verdict.kind == "covariate" and report.overlap.unsupported_share > 0.2
    low, high = report.impact.estimates[0].ci
    assert low <= model.score(X[target], y[target]) <= high
    for estimate in report.impact.estimates:
        assert estimate.ci[0] <= max(0.0, estimate.value - report.overlap.unsupported_share)
        assert "source covers the target" not in estimate.assumption
    assert "Label some of the" in " ".join(report.next_steps)


@pytest.mark.parametrize("values", ["continuous", "tied", "missing"])
def test_the_auc_of_a_column_is_that_of_scikit_learn(values):
    rng = np.random.default_rng(0)
    domain = (rng.random(300) < 0.3).astype(int)
    column = rng.normal(size=300) + domain
    if values == "tied":
        column = np.round(column)
    if values == "missing":
        column[rng.random(300) < 0.2] = -np.inf
    # scikit-learn takes no infinite values
    assert _auc(column, domain) == pytest.approx(roc_auc_score(domain, np.maximum(column, -1e9)), abs=1e-14)


@pytest.mark.parametrize(
    "recorded", [lambda y, rng: np.where(rng.random(len(y)) < 0.3, -999, y), lambda y, _: 1.8 * y + 32]
)
def test_other_numbers_for_the_same_labels_are_no_label_shift(recorded):
    """Numbers beyond the source's range were not counted, so that p(x) seemed to stay as label shift predicts."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = 2 * X[:, 0] + X[:, 1] + rng.normal(size=400)
    y_target = recorded(y[200:], rng)
    report = diagnose(X[:200], y[:200], X[200:], y_target, task="regression", n_permutations=99, random_state=0)
    assert report.verdict.kind == "concept"


def test_large_values_that_are_known_first_are_read_in_a_regression():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, 400, 3))
    y, y_target = (side[:, 0] + rng.normal(size=400) for side in (X, X_target))
    known = np.where(rng.random(400) < np.where(y_target > 0.5, 0.6, 0.05), y_target, np.nan)
    report = diagnose(X, y, X_target, known, n_permutations=99, random_state=0)
    assert report.labels_selected and not report.labels_by_y  # set aside are labels of classes alone
