"""Choosing: the registry is complete, recommendations fit the diagnosis, and an adapter has to earn its place."""

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import (
    load_clinic,
    load_concept,
    load_digits_label,
    load_digits_scanner,
    load_scene,
    make_covariate_shift,
    make_label_shift,
    make_misspecified,
    make_no_shift,
    make_support_shift,
)
from scipy import sparse
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from da_toolkit import (
    CORAL,
    FeatureAlignment,
    ImportanceWeighting,
    LinearOT,
    PriorCorrection,
    RuLSIF,
    SourceOnly,
    _registry,
    adapt,
    recommend,
)
from da_toolkit._base import BaseAdapter
from da_toolkit._domains import Domains
from da_toolkit.alignment import BaseAligner
from da_toolkit.selection import _adapt, _explain
from da_toolkit.selection._crossfit import Answers, Trial
from da_toolkit.selection._evidence import Case, Evidence, Finding
from da_toolkit.selection._gain import on_labels, under_covariate, under_label_shift
from da_toolkit.selection._guard import _unless_one_is_left, best_known, by_labels, fallback, without_shift
from da_toolkit.selection._heuristics import _vetoes, domain_distance
from da_toolkit.weighting import BaseRatio
from shift_detectors import InputError, ShiftWarning, diagnose
from shift_detectors._performance import SELECTED
from shift_detectors._prior import estimate_prior
from shift_detectors._results import Effect, Overlap, Verdict


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


@pytest.fixture(scope="module")
def report_of():
    """A real report with the verdict, the overlap and the sizes that a test wants."""
    pair = make_no_shift(60, 60, random_state=0)
    plain = diagnose(*pair.seen, random_state=0)

    def make(kind, *, ess=0.5, auc=0.8, uncovered=0.0, **changes):
        overlap = Overlap(60 * ess, ess, Effect("domain AUC", auc, (auc, auc)), uncovered, 0.05)
        return replace(plain, verdict=Verdict(kind, "assumed", ""), overlap=overlap, **changes)

    return make


def names(advice):
    return [item.name for item in advice]


# ------------------------------------------------------------------ registry


def public_methods(package):
    """Adapters and method objects among the public names of a package."""
    module = importlib.import_module(package)
    kinds = [BaseAdapter, BaseRatio, BaseAligner]
    if package.endswith("deep"):
        kinds += [module.DeepAdapter, module.AlignmentLoss]
    bases = {BaseAdapter, BaseRatio, BaseAligner}
    if package.endswith("deep"):
        bases |= {module.AlignmentLoss, module.WeightedSum}  # a sum addresses what its terms do
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, item in found.items()
        if inspect.isclass(item) and issubclass(item, tuple(kinds)) and item not in bases
    }


@pytest.mark.parametrize(
    "package",
    [
        "da_toolkit",
        "da_toolkit.weighting",
        "da_toolkit.alignment",
        pytest.param("da_toolkit.transfer", marks=pytest.mark.torch),
        pytest.param("da_toolkit.deep", marks=pytest.mark.torch),
    ],
)
def test_every_adapter_and_method_has_a_row(package):
    assert public_methods(package) <= {row.name for row in _registry.ADAPTERS}


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.name, marks=[pytest.mark.torch] * (row.extra == "deep")) for row in _registry.ADAPTERS],
)
def test_rows_import_and_tell_the_truth(row):
    assert row.load().__name__ == row.name
    assert row.target_labels in ("unused", "optional", "required")
    if row.slot is not None:
        holder, slot = row.slot.split(".")
        assert slot in inspect.signature(_registry.find(holder).load()).parameters
    assert _registry.find(row.label) is row and _registry.find(row.name) is row


def test_registry_names_are_unique_and_unknown_ones_are_refused():
    assert len({row.name for row in _registry.ADAPTERS}) == len(_registry.ADAPTERS)
    with pytest.raises(InputError, match="no adapter is called 'DOG'; accepted: SourceOnly"):
        _registry.find("DOG")


def test_registry_and_selection_load_no_torch():
    code = (
        "import sys, da_toolkit._registry, da_toolkit.selection, da_toolkit.validation; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ------------------------------------------------------------------ recommend

ALIGNMENTS = ["FeatureAlignment(LinearOT)", "FeatureAlignment(CORAL)", "FeatureAlignment(TCA)"]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("none", {}, ["SourceOnly"]),
        ("covariate", {}, ["ImportanceWeighting", "FeatureAlignment(TCA)", "SourceOnly"]),
        ("covariate", {"ess": 0.01, "auc": 0.99}, [*ALIGNMENTS, "SourceOnly"]),
        (
            "covariate",
            {"n_labelled": 40},
            ["ImportanceWeighting", "FeatureAlignment(TCA)", "PriorCentered", "TransferStack", "SourceOnly"],
        ),
        ("label", {}, ["PriorCorrection", "SourceOnly"]),
        ("label", {"task": "regression"}, ["TargetShiftWeighting", "SourceOnly"]),
        ("support", {}, [*ALIGNMENTS, "SourceOnly"]),
        ("support", {"n_target": 12}, ["SourceOnly"]),
        ("conditional", {"n_labelled": 40}, ["PriorCentered", "TransferStack", *ALIGNMENTS, "SourceOnly"]),
        ("concept", {"n_labelled": 40}, ["PriorCentered", "TransferStack", "SourceOnly"]),
        ("concept", {}, ["SourceOnly"]),
        ("mixed", {"n_labelled": 40}, ["PriorCentered", "TransferStack", "SourceOnly"]),
    ],
)
def test_recommendations_fit_the_verdict(report_of, kind, options, expected):
    advice = recommend(report_of(kind, **options))
    assert names(advice) == expected
    assert all(item.reason for item in advice)
    assert all(item.assumption for item in advice if item.name != "SourceOnly")
    assert all(_registry.find(item.name) for item in advice)


def test_the_source_is_not_said_to_cover_what_it_does_not(report_of):
    """However little weighting costs: a stratum that the source lacks leaves the weights of the others alone."""
    whole, most, half = (recommend(report_of("covariate", ess=0.96, uncovered=u)) for u in (0.05, 0.2, 0.45))
    assert "the source covers the target" in whole[0].reason and "the source covers the target" in whole[0].assumption
    assert most[0].name == "ImportanceWeighting" and "covers 80% of the target" in most[0].reason
    assert "the source covers the target" not in most[0].assumption
    assert "ImportanceWeighting" not in names(half)


def men_only(share_of_women, n=300):
    """A trial of men alone: y bends with age, and falls with it for women, of whom the target has a share."""
    rng = np.random.default_rng(0)
    age = np.r_[rng.normal(0, 1, n), rng.normal(0.8, 1, n)]
    woman = np.r_[np.zeros(n), rng.random(n) < share_of_women]
    X = np.column_stack([age, rng.normal(size=2 * n), woman])
    y = np.where(woman, 1 - 3 * age, age**2) + rng.normal(0, 0.5, 2 * n)
    return X[:n], y[:n], X[n:]


@pytest.mark.slow
@pytest.mark.parametrize(("women", "status"), [(0.2, "plausible"), (0.5, "unchanged")])
def test_no_gain_is_verified_where_the_source_lacks_a_stratum(women, status):
    X, y, X_target = men_only(women)
    result = adapt(LinearRegression(), X, y, X_target, candidates=["ImportanceWeighting"], random_state=0)
    assert abs(result.report.overlap.unsupported_share - women) < 0.1 and result.report.verdict.kind == "covariate"
    assert result.status == status and "source covers the target" not in result.explanation + result.assumption
    if status == "plausible":
        assert "of the target rows the source has (nearly) none" in result.explanation
        assert result.settings["source_share"] == 0.5 and result.before.ci is None and result.after.ci is None


def test_recommendations_fit_the_model(report_of):
    assert names(recommend(report_of("label"), estimator=LinearSVC())) == ["PriorCorrection", "SourceOnly"]
    assert "CalibratedClassifierCV" in recommend(report_of("label"), estimator=LinearSVC())[0].reason
    assert "CalibratedClassifierCV" in recommend(report_of("label"), estimator=FrozenEstimator(LinearSVC()))[0].reason
    vote = VotingClassifier([("line", LogisticRegression())])  # gives labels alone
    assert names(recommend(report_of("label"), estimator=vote)) == ["SourceOnly"]
    assert 'voting="soft"' in recommend(report_of("label"), estimator=vote)[0].reason
    assert "PriorCorrection" in names(recommend(report_of("label"), estimator=clone(vote).set_params(voting="soft")))
    frozen = FrozenEstimator(LogisticRegression())
    advice = recommend(report_of("covariate"), estimator=frozen)
    assert names(advice) == ["SourceOnly"] and "frozen" in advice[0].reason
    assert "PriorCorrection" in names(recommend(report_of("label"), estimator=frozen))


def test_concept_without_labels_asks_for_labels(report_of):
    report = report_of("concept", n_source=2000)
    assert f"about {report.label_budget().labels} randomly chosen" in recommend(report)[0].reason
    assert "as many randomly chosen target rows as you can" in recommend(report_of("concept"))[0].reason


# ------------------------------------------------------------------ estimates of the gain


def test_gain_under_covariate_shift_covers_the_truth():
    """Two rules under a known ratio: the interval covers the true gain, whatever control is used."""
    covered, n, truth = 0, 400, 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, x_target = rng.normal(size=n), rng.normal(0.5, 1, n)
        p = 1 / (1 + np.exp(-2 * x))
        y = (rng.random(n) < p).astype(int)
        d = ((x > 0) == y).astype(float) - ((x > 0.8) == y)
        control = (2 / (1 + np.exp(-2 * x)) - 1) * ((x > 0) & (x <= 0.8))
        control_target = (2 / (1 + np.exp(-2 * x_target)) - 1) * ((x_target > 0) & (x_target <= 0.8))
        gain = under_covariate(d, np.exp(0.5 * x - 0.125), 0.5 * control, 0.5 * control_target, classes=True)
        if not truth:
            grid = rng.normal(0.5, 1, 400_000)
            truth = float(((2 / (1 + np.exp(-2 * grid)) - 1) * ((grid > 0) & (grid <= 0.8))).mean())
        low, high = gain.effect().ci
        covered += low <= truth <= high
    assert 0.91 <= covered / 200 <= 1.0


def test_gain_under_label_shift_covers_the_truth():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)

        def sample(n, share, rng=rng):
            y = (rng.random(n) < share).astype(int)
            return rng.normal(2.0 * y - 1, 1.0), y

        def proba(x):
            p = 1 / (1 + np.exp(-2 * x))
            return np.column_stack([1 - p, p])

        x, y = sample(400, 0.5)
        x_target, _ = sample(400, 0.85)
        prior = estimate_prior(proba(x), y, proba(x_target), [0, 1])
        d = ((x > -0.8) == y).astype(float) - ((x > 0) == y)
        right = [prior.correct(proba(rows)) for rows in (x, x_target)]
        m = [
            np.where((rows > -0.8) & (rows <= 0), p[:, 1] - p[:, 0], 0)
            for rows, p in zip((x, x_target), right, strict=True)
        ]
        gain = under_label_shift(d, y, prior, *m, classes=True)
        between = [norm.cdf(0 - c) - norm.cdf(-0.8 - c) for c in (-1, 1)]
        truth = 0.85 * between[1] - 0.15 * between[0]
        low, high = gain.effect().ci
        covered += low <= truth <= high
    assert covered / 200 >= 0.91


def test_the_error_of_a_gain_under_label_shift_counts_each_row_once():
    """The rows that say how frequent the classes are say what is gained, too: of log loss both err together."""

    def posterior(x, share):
        return (
            np.column_stack([1 - share, share])
            * norm.pdf(x[:, None], [-1, 1])
            / ((1 - share) * norm.pdf(x, -1) + share * norm.pdf(x, 1))[:, None]
        )

    def sample(n, share, rng):
        y = (rng.random(n) < share).astype(int)
        x = rng.normal(2.0 * y - 1, 1.0)
        return y, posterior(x, 0.5), np.log(posterior(x, 0.85) / posterior(x, 0.5))

    y, _, d = sample(1_000_000, 0.85, np.random.default_rng(1000))
    truth = d[np.arange(len(y)), y].mean()
    gains = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        (y, proba, d), (_, proba_target, d_target) = sample(400, 0.5, rng), sample(400, 0.85, rng)
        prior = estimate_prior(proba, y, proba_target, [0, 1])
        m = (prior.correct(proba) * d).sum(axis=1), (prior.correct(proba_target) * d_target).sum(axis=1)
        gains.append(under_label_shift(d[np.arange(len(y)), y], y, prior, *m, classes=False))
    error, se = np.array([g.value for g in gains]) - truth, np.array([g.se for g in gains])
    assert abs(error.mean()) < 0.01 and 0.9 < error.std() / se.mean() < 1.08
    assert np.mean([g.effect().ci[0] <= truth <= g.effect().ci[1] for g in gains]) > 0.92


def test_three_wins_to_nothing_prove_nothing():
    d = np.zeros(1000)
    d[:3] = 1
    assert on_labels(d, classes=True).lower(0.05) < 0
    d[:12] = 1
    assert on_labels(d, classes=True).lower(0.05) > 0


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    d, groups = np.repeat(rng.choice([-1, 0, 1], 50), 8).astype(float), np.repeat(np.arange(50), 8)
    alone, together = on_labels(d, classes=True), on_labels(d, classes=True, groups=groups)
    assert together.se > 2 * alone.se and together.value == alone.value and together.rows == 50


def test_labelled_target_rows_count_by_their_weight():
    rng = np.random.default_rng(0)
    d, weight = rng.choice([-1.0, 0, 1], 60), rng.integers(1, 4, 60).astype(float)
    plain, even, weighted = (on_labels(d, classes=True, weight=w) for w in (None, 3 * np.ones(60), weight))
    assert even.value == pytest.approx(plain.value) and even.se == pytest.approx(plain.se)
    assert weighted.value == pytest.approx(np.average(d, weights=weight)) and weighted.rows < plain.rows == 60
    pair = make_no_shift(100, 100, random_state=0)
    right = LogisticRegression().fit(pair.X_source, pair.y_source).predict(pair.X_target) == pair.y_target
    heavy = np.where(right, 1.0, 4.0)  # wrong rows stand for four each
    seen = pair.X_source, pair.y_source, pair.X_target, pair.y_target
    known = {"report": diagnose(*seen, random_state=0), "random_state": 0}
    before = [adapt(LogisticRegression(), *seen, sample_weight_target=w, **known).before for w in (None, heavy)]
    assert before[0].value - before[1].value > 0.05


def test_groups_of_the_target_widen_the_interval():
    """Where the target rows enter by what is expected of them."""
    rng = np.random.default_rng(0)
    n, groups = 400, np.repeat(np.arange(50), 8)
    y, expected = np.arange(n) % 2, rng.normal(size=50)[groups]
    prior = estimate_prior(np.eye(2)[y] * 0.8 + 0.1, y, np.eye(2)[y] * 0.8 + 0.1, [0, 1])
    for alone, together in (
        [
            under_covariate(np.zeros(n), np.ones(n), np.zeros(n), expected, classes=True, groups_target=g)
            for g in (None, groups)
        ],
        [
            under_label_shift(np.zeros(n), y, prior, np.zeros(n), expected, classes=True, groups_target=g)
            for g in (None, groups)
        ],
    ):
        assert together.se > 2 * alone.se and together.value == alone.value


@pytest.mark.parametrize("estimate", [lambda case: by_labels(case).before, without_shift, fallback])
def test_groups_widen_the_interval_of_the_performance(estimate, report_of):
    """All rows of a group are answered rightly or all are wrong."""
    rng = np.random.default_rng(0)
    n, groups = 400, np.repeat(np.arange(50), 8)
    y, right = rng.integers(2, size=n), rng.random(50)[groups] < 0.8
    sure = np.where(right, 0.9, 0.6)
    predicted = np.where(right, y, 1 - y)
    proba = np.where(predicted[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    answers = Answers(predicted, predicted, predicted, proba, proba, None)
    width = []
    for given, given_target in ((None, None), (groups, groups + 50)):
        domains = Domains(np.zeros((n, 1)), y, np.zeros((n, 1)), y, np.ones(n, bool), groups=given)
        trial = Trial("SourceOnly", None, answers)
        case = Case(report_of("none"), domains, trial, (), np.array([0, 1]), given_target, 0, None)
        width.append(np.diff(estimate(case).ci))
    assert width[1] > 2 * width[0]


def test_domain_distance_has_no_scale():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 4)), rng.normal(1, 1, size=(300, 4))
    assert domain_distance(a, rng.normal(size=(300, 4)), 0) < 0.01 < domain_distance(a, b, 0)
    assert domain_distance(1e3 * a, 1e3 * b, 0) == pytest.approx(domain_distance(a, b, 0))


# ------------------------------------------------------------------ adapt


def test_without_shift_nothing_is_tried():
    pair = make_no_shift(300, 300, random_state=0)
    result = adapt(LogisticRegression(), *pair.seen, random_state=0)
    assert (result.adapter, result.status, result.assumption) == ("SourceOnly", "unchanged", "")
    assert "nothing was tried" in result.explanation and [c.name for c in result.candidates] == ["SourceOnly"]
    expected = LogisticRegression().fit(pair.X_source, pair.y_source)
    np.testing.assert_array_equal(result.predict(pair.X_target), expected.predict(pair.X_target))
    assert type(result.estimator) is LogisticRegression
    assert result.before == result.after and result.before.ci[0] < 0.7 < result.before.ci[1] + 0.1
    assert result.settings["source_share"] == 1


def test_named_candidates_are_not_tried_without_shift():
    pair = make_no_shift(300, 300, random_state=0)
    result = adapt(LogisticRegression(), *pair.seen, candidates=["CORAL"], random_state=0)
    assert result.status == "unchanged"
    assert result.candidates[1].name == "FeatureAlignment(CORAL)" and "not tried" in result.candidates[1].reason


def test_label_shift_is_corrected_and_verified():
    pair = make_label_shift(strength=2.0, random_state=0)
    result = adapt(LogisticRegression(), *pair.seen, random_state=0)
    assert (result.adapter, result.status) == ("PriorCorrection", "verified")
    assert result.assumption.startswith("label shift")
    base = LogisticRegression().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    true = np.mean(result.predict(pair.X_target) == pair.y_target)
    assert true > base
    assert result.before.ci[0] < base < result.before.ci[1] and result.after.ci[0] < true < result.after.ci[1]
    chosen = next(c for c in result.candidates if c.decision == "chosen")
    assert chosen.gain.ci[0] < true - base < chosen.gain.ci[1]


def test_label_shift_that_fits_only_just_is_not_verified():
    pair = make_label_shift(strength=2.0, random_state=0)
    report = diagnose(*pair.seen, random_state=0)
    tests = tuple(replace(t, pvalue=0.08) if t.quantity == "label-shift fit" else t for t in report.tests)
    result = adapt(LogisticRegression(), *pair.seen, report=replace(report, tests=tests), random_state=0)
    assert (result.adapter, result.status) == ("PriorCorrection", "plausible")
    assert "fits the target only just" in result.explanation


@pytest.mark.slow
def test_a_misspecified_model_is_weighted_and_a_right_one_is_not():
    pair = make_misspecified(random_state=0)
    result = adapt(LogisticRegression(), *pair.seen, random_state=0)
    assert (result.adapter, result.status) == ("ImportanceWeighting", "verified")
    assert result.assumption.startswith("covariate shift")
    base = LogisticRegression().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    assert np.mean(result.predict(pair.X_target) == pair.y_target) > base + 0.05

    clinic = load_clinic(random_state=0)
    result = adapt(linear(), *clinic.seen, random_state=0)
    assert (result.adapter, result.status) == ("SourceOnly", "unchanged")
    assert "Weights would not help this model" in result.explanation
    assert result.candidates[1].decision == "dropped" and result.candidates[1].gain is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["contrast", "rotation"])
def test_another_scanner_is_aligned_as_plausible(kind):
    pair = load_digits_scanner(kind, random_state=0)
    result = adapt(linear(), *pair.seen, random_state=0)
    assert result.adapter.startswith("FeatureAlignment") and result.status == "plausible"
    base = linear().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    assert np.mean(result.predict(pair.X_target) == pair.y_target) > base
    assert all(c.gain is None or c.gain.ci is None for c in result.candidates)  # no interval where none is valid


@pytest.mark.slow
def test_a_model_of_decision_values_is_adapted_like_one_with_probabilities():
    """Nothing was ever done for it: its .70 stayed where .95 was to be had."""
    model = make_pipeline(StandardScaler(), LinearSVC())
    pair = load_digits_scanner(random_state=0)
    aligned = adapt(model, *pair.seen, random_state=0)
    assert aligned.adapter.startswith("FeatureAlignment") and aligned.status == "plausible"
    assert isinstance(aligned.estimator, FeatureAlignment)  # averages take probabilities of the model itself
    base = clone(model).fit(pair.X_source, pair.y_source)
    assert aligned.estimator.score(pair.X_target, pair.y_target) > base.score(pair.X_target, pair.y_target) + 0.1

    pair = make_label_shift(400, 400, random_state=1)
    vote = VotingClassifier([("line", LogisticRegression())])
    left = adapt(vote, *pair.seen, candidates=["PriorCorrection"], random_state=0)
    assert left.status == "unchanged" and "labels alone, which nothing can calibrate" in left.explanation
    corrected = adapt(model, *pair.seen, random_state=0)
    assert (corrected.adapter, corrected.status) == ("PriorCorrection", "verified")
    assert isinstance(corrected.estimator.estimator, CalibratedClassifierCV)
    base = clone(model).fit(pair.X_source, pair.y_source)
    assert corrected.estimator.score(pair.X_target, pair.y_target) > base.score(pair.X_target, pair.y_target)


def test_regression_under_covariate_shift():
    pair = make_misspecified(400, 400, n_features=3, task="regression", random_state=0)
    result = adapt(LinearRegression(), *pair.seen, random_state=0)
    assert (result.adapter, result.status) == ("ImportanceWeighting", "verified")
    assert result.metric == "mean squared error" and result.after.value < result.before.value
    base = LinearRegression().fit(pair.X_source, pair.y_source)
    errors = [np.mean((m.predict(pair.X_target) - pair.y_target) ** 2) for m in (base, result.estimator)]
    assert errors[1] < errors[0]


def test_a_few_target_labels_verify_a_correction():
    pair = load_concept(random_state=0)
    known = np.full(pair.n_target, np.nan)
    rows = np.random.default_rng(0).permutation(pair.n_target)[:60]
    known[rows] = pair.y_target[rows]
    model = make_pipeline(StandardScaler(), Ridge())
    result = adapt(model, *pair.seen, y_target=known, random_state=0)
    assert result.adapter in ("PriorCentered", "TransferStack") and result.status == "verified"
    assert "random sample" in result.assumption
    base = clone(model).fit(pair.X_source, pair.y_source)
    errors = [np.mean((m.predict(pair.X_target) - pair.y_target) ** 2) for m in (base, result.estimator)]
    assert errors[1] < errors[0]


def test_target_labels_do_not_silence_the_source_rows():
    """A hundred labels alone cannot show the gain that the source rows verify."""
    pair = make_covariate_shift(600, 700, random_state=0)
    known = np.where(np.arange(700) < 100, pair.y_target, np.nan)
    result = adapt(LogisticRegression(), *pair.seen, known, candidates=["TCA"], random_state=0)
    assert (result.adapter, result.status) == ("FeatureAlignment(TCA)", "verified")
    assert result.assumption.startswith("covariate shift") and "doubly robust" in result.candidates[1].method
    base = LogisticRegression().fit(pair.X_source, pair.y_source).score(pair.X_target[100:], pair.y_target[100:])
    assert np.mean(result.predict(pair.X_target[100:]) == pair.y_target[100:]) > base + 0.02


@pytest.mark.parametrize(
    ("kind", "options", "assumed", "with_many"),
    [
        ("covariate", {}, ("weights",), ("labels", "weights")),
        ("label", {}, ("prior",), ("labels", "prior")),
        ("label", {"task": "regression"}, ("outcome",), ("labels",)),
        ("support", {}, ("heuristics",), ("labels",)),
        ("concept", {}, (), ("labels",)),
    ],
)
def test_evidence_fits_the_verdict_and_the_number_of_labels(report_of, kind, options, assumed, with_many):
    ways = [_adapt._ways(report_of(kind, **options), n) for n in (9, 10, 100)]
    assert ways == [assumed, ("labels", *assumed), with_many]


def test_labels_chosen_by_x_verify_nothing():
    """They came in the order of time, during a campaign that ended: what they show is not so of the others."""
    rng, n = np.random.default_rng(0), 300
    time = rng.uniform(size=n)
    X, X_target = rng.normal(size=(n, 2)), np.column_stack([2.5 * time, np.zeros(n)]) + 0.6 * rng.normal(size=(n, 2))
    y = X.sum(axis=1) + rng.normal(size=n)
    y_target = X_target.sum(axis=1) + 1.5 * (time < 0.25) + rng.normal(size=n)
    known = np.where(time < 0.25, y_target, np.nan)
    result = adapt(LinearRegression(), X, y, X_target, known, candidates=["PriorCentered"], random_state=0)
    assert result.report.labels_selected and (result.adapter, result.status) == ("PriorCentered", "plausible")
    assert result.assumption == result.before.assumption == result.after.assumption == SELECTED
    assert "The labelled target rows differ from the others in x" in result.explanation
    assert "Estimated on the labelled target rows: mean squared error" in str(result)
    assert all(SELECTED == advice.assumption for advice in result.recommendations[:-1])


def test_labels_chosen_by_y_are_not_adapted_to():
    """Of a rare class all rows are known, as of fraud that was reported; p(x) moved a little."""
    rng = np.random.default_rng(0)
    y, y_target = ((rng.uniform(size=600) < p).astype(int) for p in (0.3, 0.1))
    X, X_target = (rng.normal(size=(600, 2)) + 1.5 * labels[:, None] for labels in (y, y_target))
    known = np.where(y_target == 1, 1.0, np.nan)
    result = adapt(LogisticRegression(), X, y, X_target, known, scoring="neg_log_loss", random_state=0)
    assert result.report.labels_by_y and result.adapter == "PriorCorrection"
    assert abs(result.estimator.predict_proba(X_target)[:, 1].mean() - y_target.mean()) < 0.05  # about 3 sd
    assert "target labels were not used" in result.explanation


def test_labels_chosen_by_x_leave_what_the_source_rows_verify():
    pair = make_covariate_shift(600, 700, random_state=0)
    known = np.where(pair.X_target[:, 0] > np.quantile(pair.X_target[:, 0], 0.8), pair.y_target, np.nan)
    result = adapt(LogisticRegression(), *pair.seen, known, candidates=["TCA"], random_state=0)
    assert result.report.labels_selected
    assert (result.adapter, result.status) == ("FeatureAlignment(TCA)", "verified")
    assert result.assumption.startswith("covariate shift") and "Estimated on the target" in str(result)


def test_candidates_are_judged_by_what_knows_them_best():
    def evidence(earned, value, half):
        gain = Effect("gain", value, (value - half, value + half))
        return Evidence("", "", None, {"CORAL": Finding(earned, "Above zero.", gain)})

    assumed = evidence("verified", 0.05, 0.04)
    unsure, sure, denying = (evidence("", value, half) for value, half in ((-0.1, 0.11), (0.02, 0.03), (-0.1, 0.08)))
    assert best_known(assumed, unsure, set()) == assumed.findings
    assert best_known(assumed, unsure, {"CORAL"}) == unsure.findings
    assert best_known(assumed, sure, set()) == sure.findings
    denied = best_known(assumed, denying, set())["CORAL"]
    assert (denied.earned, denied.gain) == ("", assumed.findings["CORAL"].gain)
    assert denied.reason == "Above zero. But on the labelled target rows it loses 0.1 (0.02 at least)."
    assert best_known(assumed, replace(sure, assumption=SELECTED), set()) == assumed.findings
    partly, shown = evidence("plausible", 0.05, 0.01), evidence("verified", 0.05, 0.04)
    assert best_known(partly, shown, set()) == shown.findings
    assert best_known(partly, unsure, set()) == partly.findings


@pytest.mark.parametrize(("measured", "earned"), [(0.02, "plausible"), (-0.02, "")])
def test_what_is_plausible_stays_so_beside_a_few_labels_unless_it_loses_on_them(monkeypatch, measured, earned):
    def evidence(earned, value):
        gain = Effect("gain", value, (value - 0.1, value + 0.1))
        return Evidence("", "", None, {"TargetShiftWeighting": Finding(earned, "Said.", gain)})

    monkeypatch.setattr(_adapt.guarding, "by_labels", lambda case: evidence("", measured))
    monkeypatch.setattr(_adapt, "_by_assumption", lambda *given: evidence("plausible", 0.1))
    for assumed in ("outcome", "heuristics"):
        found = _adapt._judge(None, ("labels", assumed)).findings["TargetShiftWeighting"]
        assert (found.earned, found.gain.value) == (earned, measured)


class Collapsed(FeatureAlignment):
    """Answers every target row with great confidence by the same class."""

    def _respond(self, method, X, domain):
        answer = super()._respond(method, X, domain)
        if domain == "source":
            return answer
        if method == "predict":
            return np.full(len(answer), self.classes_[0])
        return np.tile(np.eye(len(self.classes_))[0], (len(answer), 1))


def shifted(n=300, seed=0):
    """Two classes through another instrument: no overlap."""
    rng = np.random.default_rng(seed)
    y, y_target = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X, X_target = (rng.normal(size=(n, 3)) + 3 * labels[:, None] * [1, 0, 0] for labels in (y, y_target))
    return X, y, X_target * 0.5 + [8, 3, -5], y_target


def test_a_collapsed_adapter_is_vetoed():
    X, y, X_target, y_target = shifted()
    candidates = [Collapsed(LogisticRegression()), FeatureAlignment(LogisticRegression())]
    result = adapt(LogisticRegression(), X, y, X_target, candidates=candidates, random_state=0)
    rows = {c.name: c for c in result.candidates}
    assert "vanishes" in rows["Collapsed"].reason and rows["Collapsed"].decision == "dropped"
    assert (result.adapter, result.status) == ("FeatureAlignment", "plausible")
    assert np.mean(result.predict(X_target) == y_target) > 0.9


def small_covariate():
    """A covariate shift that a logistic regression is right under; small, to be quick."""
    return make_covariate_shift(200, 200, n_features=3, strength="strong", random_state=0)


def test_a_loss_on_the_source_counts_rows_by_their_weight():
    """A tenth of the rows, which an adapter gets wrong, stand for a third or for hardly anything."""
    y = np.arange(200) % 2
    wrong = np.where(np.arange(200) < 20, 1 - y, y)
    plain, adapted = (Answers(y, own, y, None, None, None) for own in (y, wrong))
    for weight, vetoed in ((5.0, True), (0.1, False)):
        weights = np.where(np.arange(200) < 20, weight, 1.0)
        unlabelled = (np.zeros((200, 1)), None, np.zeros(200, bool))
        domains = Domains(np.zeros((200, 1)), y, *unlabelled, sample_weight=weights)
        baseline = Trial("SourceOnly", None, plain)
        case = Case(None, domains, baseline, (), np.array([0, 1]), None, 0, None)
        assert any("on the source itself" in veto for veto in _vetoes(case, adapted, None)) == vetoed


def test_guard_can_be_switched_off():
    pair = small_covariate()
    assert adapt(LogisticRegression(), *pair.seen, random_state=0).adapter == "SourceOnly"
    result = adapt(LogisticRegression(), *pair.seen, guard=False, random_state=0)
    assert (result.adapter, result.status) == ("ImportanceWeighting", "unverified")
    assert isinstance(result.estimator, ImportanceWeighting) and "guard=False" in result.explanation


def test_weights_are_not_used_where_they_have_no_overlap():
    X, y, X_target, _ = shifted()
    result = adapt(LogisticRegression(), X, y, X_target, candidates=["ImportanceWeighting"], random_state=0)
    assert result.adapter == "SourceOnly"


def test_label_shift_that_would_leave_one_class_is_not_believed():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    X = rng.normal(size=(600, 2)) + 1.5 * y[:, None]
    X_target = rng.normal(size=(600, 2)) + 1.5  # all of class 1, or moved
    result = adapt(LogisticRegression(), X, y, X_target, random_state=0)
    assert (result.report.verdict.kind, result.adapter) == ("label", "SourceOnly")
    assert "the classes may have moved" in result.candidates[1].reason
    assert result.candidates[1].reason in result.explanation  # a gain that is sure is not left for being uncertain


def test_a_class_that_is_hardly_answered_any_more_leaves_the_correction_unsure():
    rng = np.random.default_rng(0)
    y, y_target = (rng.random(n) < p for n, p in ((1500, 0.45), (700, 0.1)))
    X, X_target = (rng.normal(size=(len(v), 2)) + 0.9 * v[:, None] for v in (y, y_target))
    result = adapt(LogisticRegression(), X, y, X_target, candidates=["PriorCorrection"], random_state=0)
    assert (result.report.verdict.kind, result.status) == ("label", "plausible")
    assert "hardly answers any more" in result.explanation and result.settings["source_share"] == 0.5
    labelled = np.where(np.arange(700) < 200, y_target.astype(float), np.nan)  # labels show the change themselves
    result = adapt(LogisticRegression(), X, y, X_target, labelled, candidates=["PriorCorrection"], random_state=0)
    assert (result.status, result.settings["source_share"]) == ("verified", 0.0)


@pytest.mark.parametrize(
    ("source", "target", "error", "believed"),
    [
        (0.5, 0.04, 0.03, False),
        (0.06, 0.002, 0.002, False),
        (0.5, 0.0, 0.0, False),
        (0.06, 0.03, 0.03, True),
        (0.03, 0.02, 0.02, True),
        (0.5, 0.1, 0.1, True),
        (0.23, 0.03, 0.014, True),  # rare, and surely there
    ],
)
def test_one_class_is_left_where_the_others_may_have_vanished(source, target, error, believed):
    prior = estimate_prior(np.eye(2), [0, 1], np.eye(2), [0, 1])
    covariance = error**2 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    source, target = np.array([1 - source, source]), np.array([1 - target, target])
    prior = replace(prior, prior=target, source_prior=source, covariance=covariance)
    assert (_unless_one_is_left(Finding("verified", ""), prior).earned == "verified") == believed


def rare_in_target(n_target, seed=3):
    """A class of a fifth of the source, to which rows of the others were dropped, and of 3 % of the target."""
    rng = np.random.default_rng(seed)
    y, y_target = (rng.random(1500) < 0.2).astype(int), (rng.random(n_target) < 0.03).astype(int)
    X, X_target = (rng.normal(size=(len(v), 4)) + 1.6 * v[:, None] * [1, 0.5, 0, 0] for v in (y, y_target))
    return X, y, X_target, y_target


@pytest.mark.parametrize("n_target", [300, 3000])
def test_a_class_that_became_rare_is_corrected_by_what_shows_it(n_target):
    X, y, X_target, y_target = rare_in_target(n_target)
    labels = np.where(np.arange(n_target) < 200, y_target, np.nan)
    given = [PriorCorrection(LogisticRegression(), prior={0: 0.97, 1: 0.03})]

    def corrects(known=None, candidates=("PriorCorrection",)):
        data, options = (X, y, X_target, known), {"scoring": "neg_log_loss", "random_state": 0}
        return adapt(LogisticRegression(), *data, candidates=candidates, **options).adapter == "PriorCorrection"

    assert corrects() == (n_target == 3000)
    assert corrects(candidates=given) and corrects(labels)


def one_column_apart(seed, change, matters=0):
    """Six columns, of which one matters most; in the target the first is `change` of itself, nothing else differs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1600, 6)) + [5, 0, 0, 0, 0, 0]
    effects = np.array([0.0, 1, -1, 0, 0, 0])
    effects[matters] += 2
    y = ((X - [5, 0, 0, 0, 0, 0]) @ effects + rng.logistic(size=1600) > 0).astype(int)
    X[800:, 0] = change(X[800:, 0])
    return X[:800], y[:800], X[800:], y[800:]


@pytest.mark.parametrize("change", [lambda x: 10 * x, lambda x: x + 8], ids=["unit", "offset"])
def test_a_sensor_that_moved_far_is_aligned(change):
    X, y, X_target, y_target = one_column_apart(0, change)
    result = adapt(linear(), X, y, X_target, random_state=0)
    assert result.report.verdict.kind == "support" and result.report.separators == ()
    assert result.adapter.startswith("FeatureAlignment") and result.status == "plausible"
    before, after = linear().fit(X, y).score(X_target, y_target), result.estimator.score(X_target, y_target)
    best = linear().fit(X_target, y_target).score(X_target, y_target)
    assert before < 0.6 and after > best - 0.05


@pytest.mark.parametrize("form", ["frame", "mixed", "sparse"])
@pytest.mark.parametrize("n_labelled", [0, 12])
def test_heuristics_judge_tables_of_every_form(form, n_labelled):
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 2, (2, 300))

    def table(y, moved):
        X = np.abs(rng.normal(size=(len(y), 4)) + 1.5 * y[:, None] * [1, 0, 1, 0] + moved)
        if form == "sparse":
            return sparse.csr_matrix(np.column_stack([X, rng.random((len(y), 60)) < 0.05]))
        frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
        return frame.assign(e=rng.choice(["u", "v"], len(y))) if form == "mixed" else frame

    source, target = table(y, 0), table(y_target, 6)
    model = LogisticRegression(max_iter=1000)
    if form == "mixed":
        model = make_pipeline(ColumnTransformer([("e", OneHotEncoder(), ["e"])], remainder="passthrough"), model)
    few = np.where(np.arange(300) < n_labelled, y_target, np.nan)
    result = adapt(
        model,
        source,
        y,
        target,
        y_target=few if n_labelled else None,
        candidates=["LinearOT", "FeatureAlignment(TCA)"],
        random_state=0,
    )
    assert result.status != "unchanged"
    assert {candidate.name for candidate in result.candidates} >= {"FeatureAlignment(TCA)"}
    assert (result.predict(target) == y_target).mean() > model.fit(source, y).score(target, y_target)


def test_labels_that_nothing_was_compared_on_are_told():
    pair = make_label_shift(200, 200, random_state=0)
    known = np.where(np.arange(200) < 7, pair.y_target, np.nan)
    result = adapt(LogisticRegression(), *pair.seen, known, random_state=0)
    assert "7 target labels are too few to compare models on; 10 or more" in result.explanation
    assert "not believable" not in result.explanation


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_an_accuracy_that_a_few_labels_deny_is_not_told(moved):
    """The classes changed places, which x does not show; then with a shift of x, under which nothing is gained."""
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(300, 4)), rng.normal(size=(300, 4)) + [0, moved, 0, 0]
    y, y_target = (
        (sign * rows[:, 0] + 0.3 * rng.normal(size=300) > 0).astype(int) for sign, rows in ((1, X), (-1, X_target))
    )
    few = np.where(np.arange(300) < 8, y_target, np.nan)
    result = adapt(LogisticRegression(), X, y, X_target, few, candidates=["CORAL"], random_state=0)
    right = (LogisticRegression().fit(X, y).predict(X_target) == y_target)[:8].mean()
    assert result.status == "unchanged" and result.before.value == pytest.approx(right, abs=0.13)
    assert result.before.ci[0] < (LogisticRegression().fit(X, y).score(X_target, y_target)) < result.before.ci[1]
    text = " ".join(str(result).split())
    assert "8 target labels are too few to compare models on" in text and "is not believable beside that" in text


def test_labels_that_are_too_few_are_told_beside_what_heuristics_make_plausible():
    X, y, X_target, y_target = shifted(150, seed=1)
    few = np.where(np.arange(150) < 10, y_target, np.nan)
    candidates = ["PriorCentered", "CORAL", "LinearOT"]
    result = adapt(linear(), X, y, X_target, few, candidates=candidates, random_state=0)
    assert (result.adapter, result.status) == ("FeatureAlignment(CORAL)", "plausible")
    for candidate in result.candidates:  # every number is one of the ten rows
        assert 10 * candidate.score == pytest.approx(round(10 * candidate.score))
        assert "labelled target rows" in candidate.method and "nothing can be said" not in candidate.reason
    assert all(c.gain.ci is not None for c in result.candidates[1:])
    assert result.candidates[2].gain.value == pytest.approx(result.after.value - result.before.value)
    assert result.before.ci[0] < linear().fit(X, y).score(X_target, y_target) < result.before.ci[1]
    budget = result.report.label_budget().labels
    assert "With so few target labels (10) its gain cannot be verified" in result.explanation
    assert f"Label {budget - 10} more randomly chosen target rows, {budget} in all" in result.explanation


def test_a_loss_by_confidence_alone_is_not_told_of_an_average():
    """Averaged probabilities are less sure than those of the adapter, whose confidence has risen."""
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    X, X_target = (rng.normal(size=(200, 4)) + 2 * labels[:, None] * [1, 1, 0, 0] for labels in (y, y_target))
    result = adapt(LogisticRegression(), X, y, 0.4 * X_target + [1, 1, 3, 0], candidates=["CORAL"], random_state=0)
    assert result.status == "plausible" and result.settings["source_share"] == 0.5
    assert "(thresholded confidence, information)" in result.explanation
    assert result.before is None and result.after is None and result.candidates[1].gain is None
    assert "the average is less sure" in result.explanation and "gains" not in result.explanation


@pytest.mark.parametrize(("gain", "words"), [(0.02, "gains +0.02"), (-0.007, "loses 0.007"), (0.0, "gains 0")])
def test_a_loss_is_not_called_a_gain(gain, words):
    assert _explain.gains(gain) == words


def test_what_the_verdict_sets_aside_is_aligned_when_the_model_reads_it():
    """It says nothing of y on the whole, only together with another column."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 4))
    y = (2 * X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.logistic(size=1600) > 0).astype(int)
    X[800:, 0] += 9
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    result = adapt(model, X[:800], y[:800], X[800:], random_state=0)
    assert result.report.verdict.kind == "none" and result.report.separators == ("x0",)
    assert result.adapter.startswith("FeatureAlignment") and result.status == "plausible"
    before = clone(model).fit(X[:800], y[:800]).score(X[800:], y[800:])
    assert result.estimator.score(X[800:], y[800:]) > before + 0.1
    assert "this model reads it" in result.explanation and "apart alone: x0" in str(result)


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_no_weights_bring_back_what_the_target_did_not_measure(moved):
    """The model reads the column: what cross-validation on the source says of it does not hold in the target."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(500, 4)), rng.normal(size=(500, 4)) + [0, 0, 0, moved]
    y, y_target = ((rows[:, 0] + rng.normal(size=500) > 0).astype(int) for rows in (X, X_target))
    X[rng.random(500) < 0.4, 0] = X_target[:, 0] = np.nan
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    result = adapt(model, X, y, X_target, random_state=0)
    assert result.report.unmeasured == {"target": ("x0",)} and result.adapter == "SourceOnly"
    assert "ImportanceWeighting" not in {c.name for c in result.candidates} and "his model reads" in result.explanation
    assert abs(result.before.value - clone(model).fit(X, y).score(X_target, y_target)) < 0.1


def test_a_column_that_the_verdict_sets_aside_does_not_concern_a_model_that_does_not_read_it():
    X, y, X_target, _ = one_column_apart(0, lambda x: x + 8, matters=1)
    blind = make_pipeline(ColumnTransformer([("rest", "passthrough", [1, 2, 3, 4, 5])]), LogisticRegression())
    result = adapt(blind, X, y, X_target, random_state=0)
    assert result.adapter == "SourceOnly" and "No shift was found outside x0" in result.explanation
    assert [c.name for c in result.candidates] == ["SourceOnly"]


def test_a_date_that_the_model_does_not_read_does_not_keep_it_from_weighting():
    pair = make_misspecified(n_source=800, n_target=800, random_state=0)
    X, X_target = (np.column_stack([rows, np.full(800, day)]) for rows, day in ((pair.X_source, 1), (pair.X_target, 2)))
    d = X.shape[1]
    rest = make_pipeline(ColumnTransformer([("rest", "passthrough", list(range(d - 1)))]), LogisticRegression())
    result = adapt(rest, X, pair.y_source, X_target, random_state=0)
    assert result.report.verdict_with_separators.kind == "support"
    assert result.adapter == "ImportanceWeighting" and result.status == "verified"
    assert result.estimator.score(X_target, pair.y_target) > rest.fit(X, pair.y_source).score(X_target, pair.y_target)


def test_a_model_that_reads_its_site_is_told_why_there_are_no_weights():
    pair = make_misspecified(n_source=800, n_target=800, random_state=0)
    X, X_target = (np.column_stack([rows, np.full(800, k)]) for rows, k in ((pair.X_source, 1.0), (pair.X_target, 2.0)))
    site = f"x{pair.X_source.shape[1]}"
    result = adapt(SVC(gamma=1.0), X, pair.y_source, X_target, random_state=0)  # judges by distances in all columns
    assert result.report.verdict.kind == "covariate" and result.report.separators == (site,)
    assert f"This model reads {site}" in result.explanation and "single value in the source" in result.explanation


def test_an_identifier_does_not_make_a_model_change():
    changes = []
    for seed in range(3):
        X, y, X_target, y_target = one_column_apart(seed, lambda x: x)
        X[:, 0], X_target[:, 0] = np.arange(800), np.arange(800, 1600)
        result = adapt(linear(), X, y, X_target, random_state=0)
        plain = linear().fit(X, y)
        changes.append(result.estimator.score(X_target, y_target) - plain.score(X_target, y_target))
    assert min(changes) > -0.01


def test_weights_are_no_evidence_where_a_column_separates_the_domains():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 4))
    X[:, 3] = np.r_[rng.uniform(0, 1, 400), rng.uniform(2, 3, 400)]  # the target's speeds were never driven
    X[400:, 0] += 0.7
    y = X[:, 0] ** 2 + np.sin(3 * X[:, 3]) + 0.1 * rng.normal(size=800)
    result = adapt(Ridge(), X[:400], y[:400], X[400:], random_state=0)
    assert result.report.separators == ("x3",) and result.report.verdict_with_separators.kind == "support"
    assert "ImportanceWeighting" not in {c.name for c in result.candidates} and result.status == "unchanged"


@pytest.mark.slow
def test_weighting_by_y_must_not_lose_too_much_under_covariate_shift():
    pair = load_scene("diabetes", random_state=0)
    n = len(pair.y_target) // 2
    result = adapt(Ridge(), pair.X_source, pair.y_source, pair.X_target[:n], random_state=0)
    row = {c.name: c for c in result.candidates}.get("TargetShiftWeighting")
    assert result.adapter == "SourceOnly" and (row is None or "if p(y|x) is what stayed" in row.reason)


def test_a_time_budget_drops_what_is_not_begun_and_says_so():
    pair = make_label_shift(random_state=0)
    result = adapt(linear(), *pair.seen, time_budget=1e-3, random_state=0)
    assert result.adapter == "SourceOnly" and result.status == "unchanged"
    assert "time budget" in result.candidates[1].reason and result.settings["time_budget"] == 1e-3
    assert adapt(linear(), *pair.seen, time_budget=600, random_state=0).adapter == "PriorCorrection"
    with pytest.raises(InputError, match="time_budget=0"):
        adapt(linear(), *pair.seen, time_budget=0)


def test_same_seed_same_answer_and_nothing_is_modified():
    pair = make_label_shift(400, 400, strength=2.0, random_state=0)
    model = linear()
    names = [f"x{j}" for j in range(10)]
    arguments = [pd.DataFrame(pair.X_source, columns=names), pair.y_source, pd.DataFrame(pair.X_target, columns=names)]
    copies, parameters = copy.deepcopy(arguments), repr(model.get_params())
    first, second = (adapt(model, *arguments, random_state=5) for _ in range(2))
    assert [(c.name, c.score, c.gain, c.reason) for c in first.candidates] == [
        (c.name, c.score, c.gain, c.reason) for c in second.candidates
    ]
    np.testing.assert_array_equal(first.predict(arguments[2]), second.predict(arguments[2]))
    pd.testing.assert_frame_equal(arguments[0], copies[0])
    np.testing.assert_array_equal(arguments[1], copies[1])
    pd.testing.assert_frame_equal(arguments[2], copies[2])
    assert repr(model.get_params()) == parameters and not hasattr(model[-1], "coef_")
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict(arguments[2]), first.predict(arguments[2]))
    assert first.to_json() and "PriorCorrection" in str(first)


def test_a_given_report_is_used():
    pair = make_label_shift(400, 400, random_state=2)
    report = diagnose(*pair.seen, random_state=0)
    assert adapt(LogisticRegression(), *pair.seen, report=report, random_state=0).report is report
    with pytest.raises(InputError, match="400 source and 400 target rows, beside 400 and 10"):
        adapt(LogisticRegression(), pair.X_source, pair.y_source, pair.X_target[:10], report=report)
    with pytest.raises(InputError, match="beside a model for regression"):
        adapt(Ridge(), *pair.seen, report=report)


def test_a_report_of_other_data_is_refused():
    pair = make_label_shift(300, 200, random_state=2)
    source, target = (pd.DataFrame(X, columns=["a", "b"]) for X in (pair.X_source[:, :2], pair.X_target[:, :2]))
    y, y_target = np.array(pair.y_source), pair.y_target
    report = diagnose(source, y, target, random_state=0)
    model = LogisticRegression()
    for data, words in [
        ((source, y, target, y_target), "a report on 0 labelled target rows, beside 200"),
        ((source, y, target + 1), "other target rows"),
        ((source, 1 - y, target), "other source rows or labels"),
        ((source.rename(columns={"b": "c"}), y, target.rename(columns={"b": "c"})), "columns of other names"),
    ]:
        with pytest.raises(InputError, match=words):
            adapt(model, *data, report=report)
    same = pickle.loads(pickle.dumps(report))
    for data in [
        (source.to_numpy(), y.astype(float), np.asfortranarray(target)),
        (source, y.tolist(), target[["b", "a"]], [None] * 200),
    ]:
        assert adapt(model, *data, report=same, random_state=0).report is same
    old = replace(report, data_digest=())  # as of a version without
    assert adapt(model, source, y, target + 1, report=old, random_state=0).report is old
    assert len(report.to_dict()["data_digest"]) == 3


def test_a_frozen_model_is_returned_as_it_is_or_corrected_unrefitted():
    pair = make_label_shift(1500, 600, strength=2.0, random_state=0)
    fitted = LogisticRegression().fit(pair.X_source[:700], pair.y_source[:700])
    coefficients = fitted.coef_.copy()
    frozen = FrozenEstimator(fitted)
    held_out = pair.X_source[700:], pair.y_source[700:]
    result = adapt(frozen, *held_out, pair.X_target, random_state=0)
    assert result.adapter == "PriorCorrection"
    np.testing.assert_array_equal(fitted.coef_, coefficients)

    same = make_no_shift(300, 300, random_state=0)
    frozen = FrozenEstimator(LogisticRegression().fit(*make_no_shift(300, 5, random_state=1).seen[:2]))
    result = adapt(frozen, *same.seen, random_state=0)
    assert result.status == "unchanged" and result.estimator is frozen

    X, y, X_target, y_target = shifted()
    frozen = FrozenEstimator(LogisticRegression().fit(*shifted(seed=1)[:2]))
    result = adapt(frozen, X, y, X_target, random_state=0)
    assert result.adapter in ("SourceOnly", "FeatureAlignment(LinearOT)", "FeatureAlignment(CORAL)")
    covariate = small_covariate()
    frozen = FrozenEstimator(LogisticRegression().fit(*covariate.seen[:2]))
    tried = adapt(frozen, *covariate.seen, candidates=["ImportanceWeighting"])
    assert "FrozenEstimator" in tried.candidates[1].reason


def test_a_candidate_that_cannot_be_fitted_says_why():
    pair = make_label_shift(400, 400, random_state=2)
    model = FrozenEstimator(LinearSVC().fit(pair.X_source, pair.y_source))
    result = adapt(model, *pair.seen, candidates=["PriorCorrection", "PriorCentered", "DANN"], random_state=0)
    reasons = {c.name: c.reason for c in result.candidates}
    assert "predict_proba" in reasons["PriorCorrection"]
    assert "needs target labels" in reasons["PriorCentered"] and "torch module" in reasons["DeepAdapter(DANN)"]
    assert result.status == "unchanged"


def test_an_error_inside_an_adapter_does_not_end_the_race_unless_the_adapter_was_named(monkeypatch):
    def broken(*arguments, **keywords):
        raise RuntimeError("a defect")

    monkeypatch.setattr(LinearOT, "_fit", broken)
    data = one_column_apart(0, lambda x: x + 8)[:3]
    with pytest.warns(ShiftWarning, match=r"FeatureAlignment\(LinearOT\): It could not be tried: RuntimeError: a def"):
        result = adapt(linear(), *data, random_state=0)
    reasons = {c.name: c.reason for c in result.candidates}
    assert "a defect" in reasons["FeatureAlignment(LinearOT)"] and result.adapter != "FeatureAlignment(LinearOT)"
    with pytest.raises(RuntimeError, match="a defect"):
        adapt(linear(), *data, candidates=["LinearOT"], random_state=0)


def test_categories_and_missing_values_pass_through():
    rng = np.random.default_rng(0)

    def sample(n, shift):
        y = rng.integers(0, 2, n)
        frame = pd.DataFrame({"a": rng.normal(size=n) + y + shift, "b": rng.normal(size=n)})
        frame["c"] = pd.Categorical(rng.choice(["u", "v"], n))
        frame.loc[rng.random(n) < 0.1, "b"] = np.nan
        return frame, np.where(y == 1, "yes", "no")

    X, y = sample(300, 0.0)
    X_target, _ = sample(300, 0.8)
    model = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype")
    result = adapt(model, X, y, X_target, random_state=0)
    assert set(result.predict(X_target)) <= {"yes", "no"}


def test_groups_and_weights_are_accepted():
    pair = small_covariate()
    groups = np.arange(200) // 2
    result = adapt(
        LogisticRegression(),
        *pair.seen,
        groups=groups,
        groups_target=1000 + groups,
        sample_weight=np.linspace(0.5, 1.5, 200),
        random_state=0,
    )
    assert result.status in ("unchanged", "verified")


def panel(seed: int):
    """Rows of 30 source and 10 target groups, each with a level of its own; labels of one target group."""
    rng = np.random.default_rng(seed)

    def side(n_groups: int, rows: int, start: float):
        groups = np.repeat(np.arange(n_groups), rows)
        X = rng.normal(size=(len(groups), 2)) + [start, 0]
        return X, X[:, 0] + 1.5 * rng.normal(size=n_groups)[groups] + 0.5 * rng.normal(size=len(groups)), groups

    (X, y, groups), (X_target, y_target, own) = side(30, 12, 0.0), side(10, 30, 0.8)
    return (X, y, X_target, np.where(own == 0, y_target, np.nan)), {"groups": groups, "groups_target": 100 + own}


def test_labels_of_one_group_judge_nothing():
    """They were taken for independent rows, and verified what lost in every other group."""
    seen, groups = panel(0)
    wanted = ["LinearOT", "TargetShiftWeighting", "PriorCentered"]
    result = adapt(Ridge(), *seen, candidates=wanted, random_state=0, **groups)
    assert result.status == "unchanged" and "All 30 target labels belong to one group" in result.explanation
    assert "cross-fitting on the labelled target rows" not in str(result)
    assert "of one group" in next(c.reason for c in result.candidates if c.name == "PriorCentered")
    alone = on_labels(np.ones(30), classes=False, groups=np.zeros(30))
    assert alone.lower(0.05) == -np.inf and alone.effect().ci is None


@pytest.mark.filterwarnings("ignore:groups_target has 1 group")
def test_a_target_of_one_group_is_judged_by_its_rows():
    """It is what is asked about, and no sample of others."""
    (X, y, X_target, _), groups = panel(0)
    labels = np.where(np.arange(300) < 100, X_target[:, 0] + 9.0, np.nan)
    one = groups | {"groups_target": np.full(300, 100)}
    result = adapt(Ridge(), X, y, X_target, labels, random_state=0, report=diagnose(X, y, X_target, labels), **one)
    assert result.status == "verified" and result.adapter == "PriorCentered"


class Untagged:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), "a")


class Unmarked(Untagged, BaseEstimator):
    pass


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LogisticRegression, "as an instance"),
        ("logistic", "scikit-learn estimator"),
        (Untagged(), "Untagged does not say whether it is a classifier.*inherit from ClassifierMixin"),
        (Unmarked(), "Unmarked does not say"),
        (make_pipeline(StandardScaler(), Unmarked()), "Pipeline does not say"),
        (SourceOnly(LogisticRegression()), "adapter in candidates"),
    ],
)
def test_what_is_no_model_is_refused(estimator, words):
    with pytest.raises(InputError, match=words):
        adapt(estimator, *make_no_shift(50, 50, random_state=0).seen)


def test_bad_candidates_are_refused_before_the_diagnosis(monkeypatch):
    monkeypatch.setattr("shift_detectors.diagnose", None)
    pair = make_no_shift(50, 50, random_state=0)
    with pytest.raises(InputError, match=r"no adapter is called 'Coral' \(did you mean 'CORAL'\?\); accepted: SourceO"):
        adapt(LogisticRegression(), *pair.seen, candidates=["Coral"])
    with pytest.raises(InputError, match="a method object such as CORAL"):
        adapt(LogisticRegression(), *pair.seen, candidates=[LogisticRegression()])
    with pytest.raises(InputError, match="candidates=3"):
        adapt(LogisticRegression(), *pair.seen, candidates=3)
    with pytest.raises(InputError, match="X_target is None"):
        adapt(LogisticRegression(), pair.X_source, pair.y_source, None)
    with pytest.raises(InputError, match="n_jobs=0"):
        adapt(LogisticRegression(), *pair.seen, n_jobs=0)


def test_a_method_object_is_put_into_its_adapter():
    pair = make_label_shift(random_state=0)
    result = adapt(LogisticRegression(), *pair.seen, candidates=[CORAL(shrinkage=0.2)], guard=False, random_state=0)
    assert result.adapter == "FeatureAlignment(CORAL)" and result.estimator.aligner.shrinkage == 0.2
    weighted = adapt(LogisticRegression(), *pair.seen, candidates=[RuLSIF()], random_state=0).candidates[1]
    assert weighted.name == "ImportanceWeighting(RuLSIF)"
    asked = adapt(LogisticRegression(), *pair.seen, candidates=["FeatureExtraction"], random_state=0).candidates[1]
    assert "built with module and layer" in asked.reason


@pytest.mark.torch
def test_a_raw_module_is_shown_the_line_to_write():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"DeepAdapter\(module, layer=\.\.\.\)"):
        adapt(torch.nn.Linear(10, 2), *make_no_shift(50, 50, random_state=0).seen)


@pytest.mark.torch
@pytest.mark.slow
def test_a_torch_model_races_with_its_losses():
    pytest.importorskip("torch")
    from da_toolkit.deep import DeepAdapter

    X, y, X_target, _ = shifted()
    model = DeepAdapter(max_epochs=4, random_state=0)
    result = adapt(model, X, y, X_target, random_state=0)
    assert [c.name for c in result.candidates] == ["SourceOnly", "DeepAdapter(DANN)", "DeepAdapter(DeepCORAL)"]
    assert all(c.score is not None for c in result.candidates)
    assert isinstance(result.estimator, DeepAdapter) and set(result.predict(X_target)) <= {0, 1}
    assert model.loss is None and not hasattr(model, "module_")


@pytest.mark.torch
def test_sums_of_losses_and_losses_of_the_user_race():
    pytest.importorskip("torch")
    from da_toolkit.deep import MCC, AlignmentLoss, DeepAdapter, DeepCORAL

    class Means(AlignmentLoss):
        def forward(self, source, target, progress):
            return (source.features.mean(dim=0) - target.features.mean(dim=0)).square().sum()

    X, y, X_target, _ = shifted()
    losses = [DeepCORAL() + MCC(), Means()]
    result = adapt(DeepAdapter(max_epochs=1), X, y, X_target, candidates=losses, random_state=0)
    rows = [(c.name, c.seconds > 0) for c in result.candidates[1:]]
    assert rows == [("DeepAdapter(WeightedSum)", True), ("DeepAdapter(Means)", True)]
    refused = adapt(linear(), X, y, X_target, candidates=losses[1:], random_state=0).candidates[1]
    assert "It needs a torch module" in refused.reason
    with pytest.raises(InputError, match="the candidate"):
        adapt(linear(), X, y, X_target, candidates=[Means], random_state=0)


@pytest.mark.torch
@pytest.mark.parametrize(("labelled", "moved"), [(60, 0.0), (5, 3.0)], ids=["by labels", "by heuristics"])
def test_a_torch_model_as_it_was_never_sees_target_labels(labelled, moved, monkeypatch):
    pytest.importorskip("torch")
    from da_toolkit.deep import DeepAdapter, DeepCORAL

    fits, fit = [], DeepAdapter.fit

    def logged(self, X, y, X_target=None, y_target=None, **options):
        fits.append((self.loss is None, y_target is None))
        return fit(self, X, y, X_target, y_target, **options)

    monkeypatch.setattr(DeepAdapter, "fit", logged)
    rng = np.random.default_rng(0)
    y, other = np.arange(200) % 2, np.arange(160) // 2 % 2
    X, X_target = rng.normal(size=(200, 4)) + y[:, None], rng.normal(size=(160, 4)) + other[:, None] + moved
    few = np.where(np.arange(160) < labelled, 1 - other, np.nan)
    model = DeepAdapter(task="classification", max_epochs=2, random_state=0)
    result = adapt(model, X, y, X_target, few, candidates=[DeepCORAL()], random_state=0)
    assert set(fits) == {(True, True), (False, False)}
    alone = fit(model, X, y, X_target)
    np.testing.assert_array_equal(result.estimator.predict_proba(X_target), alone.predict_proba(X_target))


@pytest.mark.torch
@pytest.mark.slow
def test_a_torch_model_is_fine_tuned_on_labels():
    pytest.importorskip("torch")
    from da_toolkit.deep import DeepAdapter

    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 4)), rng.normal(size=(400, 4))
    y, y_target = (X[:, 0] > 0).astype(int), (X_target[:, 0] + 2 * X_target[:, 1] > 0).astype(int)
    few = np.where(np.arange(400) < 120, y_target, np.nan)
    model = DeepAdapter(max_epochs=10, random_state=0)
    result = adapt(model, X, y, X_target, few, random_state=0)
    assert (result.adapter, result.status) == ("FineTuning", "verified")
    assert np.mean(result.predict(X_target[120:]) == y_target[120:]) > 0.85
    assert not hasattr(model, "module_")


@pytest.mark.slow
def test_digits_with_other_frequencies():
    gains = []
    for seed in range(4):
        pair = load_digits_label(random_state=seed)
        result = adapt(linear(), *pair.seen, random_state=seed)
        base = linear().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
        gains.append(np.mean(result.predict(pair.X_target) == pair.y_target) - base)
    assert np.mean(gains) > 0 and min(gains) > -0.02


def test_label_shift_in_regression_is_weighted_by_y():
    """Gain where the values have another distribution; never called verified, the weights are estimates."""
    before, after = [], []
    for seed in (0, 1, 2):
        pair = make_label_shift(600, 600, task="regression", random_state=seed)
        result = adapt(Ridge(), *pair.seen, random_state=seed)
        assert (result.adapter, result.status) in [
            ("TargetShiftWeighting", "plausible"),
            ("ImportanceWeighting", "verified"),
            ("SourceOnly", "unchanged"),
        ]
        before.append(Ridge().fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target))
        after.append(result.estimator.score(pair.X_target, pair.y_target))
    assert np.mean(after) > np.mean(before) + 0.03


def test_columns_are_matched_by_name():
    X, y, X_target = small_covariate().seen
    names = [f"c{j}" for j in range(X.shape[1])]
    source, target = pd.DataFrame(X, columns=names), pd.DataFrame(X_target, columns=names)
    plain = adapt(LogisticRegression(), source, y, target, candidates=["CORAL"], guard=False, random_state=0)
    turned = adapt(
        LogisticRegression(), source, y, target[names[::-1]], candidates=["CORAL"], guard=False, random_state=0
    )
    np.testing.assert_array_equal(plain.estimator.predict(target), turned.estimator.predict(target))
    with pytest.raises(InputError, match=r"another order.*Order them: X\[list\(model.feature_names_in_\)\]"):
        turned.estimator.predict(target[names[::-1]])


def test_labelled_rows_bound_the_model_as_it_is_wherever_they_lie():
    pair = make_support_shift(400, 400, random_state=0)
    known = np.where(np.arange(400) < 200, pair.y_target.astype(float), np.nan)
    result = adapt(LogisticRegression(), pair.X_source, pair.y_source, pair.X_target, known, random_state=0)
    low, high = result.before.ci
    assert result.report.verdict.kind == "support" and result.adapter != "SourceOnly" and high - low < 0.2


def test_answers_that_are_the_same_are_told_as_such():
    flat = ImportanceWeighting(LogisticRegression(), exponent=0.0)
    result = adapt(LogisticRegression(), *small_covariate().seen, candidates=[flat], random_state=0)
    assert result.adapter == "SourceOnly" and "gives the same answers" in result.explanation


TWO_CLASSES = np.array([0, 1] * 50)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_target": np.where(np.arange(100) < 9, 2, TWO_CLASSES)}, r"\[2\], which y has not.*retrain with these"),
        ({"y_target": np.where(np.arange(100) < 9, -1, TWO_CLASSES)}, r"\[-1\].*\(None or NaN\), not -1"),
        (
            dict.fromkeys(("X_source", "X_target"), ["some text"] * 100),
            "X is a list of texts;.*make_column_transformer",
        ),
        (dict.fromkeys(("X_source", "X_target"), [0.5] * 100), r"numpy.reshape\(X, \(-1, 1\)\)"),
        (dict.fromkeys(("X_source", "X_target"), np.zeros((100, 3, 2, 2))), r"X.reshape\(len\(X\), -1\)"),
        ({"estimator": make_pipeline(StandardScaler(), SourceOnly(SVC()))}, "SourceOnly around the Pipeline"),
    ],
)
def test_what_cannot_be_adapted_is_refused_before_the_diagnosis(monkeypatch, change, words):
    monkeypatch.setattr("shift_detectors.diagnose", None)
    X = np.random.default_rng(0).normal(size=(100, 2))
    data = {"estimator": linear(), "X_source": X, "y_source": TWO_CLASSES, "X_target": X, "y_target": None} | change
    with pytest.raises(InputError, match=words):
        adapt(**data)


@pytest.mark.torch
def test_a_torch_module_stands_alone_and_has_no_candidate_that_cannot_be():
    pytest.importorskip("torch")
    from da_toolkit.deep import DeepAdapter

    pair = make_covariate_shift(n_source=100, n_target=100, random_state=0)
    with pytest.raises(InputError, match=r"a DeepAdapter that stands alone.*StandardScaler"):
        adapt(make_pipeline(StandardScaler(), DeepAdapter()), *pair.seen)
    with pytest.raises(InputError, match="a DeepAdapter that stands alone"):
        ImportanceWeighting(make_pipeline(StandardScaler(), DeepAdapter())).fit(*pair.seen[:3])
    report = diagnose(*pair.seen, random_state=0)
    for kind, words in (("covariate", "sample_weight"), ("label", "FrozenEstimator")):
        given = replace(report, verdict=replace(report.verdict, kind=kind))
        (only,) = recommend(given, estimator=DeepAdapter())
        assert only.name == "SourceOnly" and words in only.reason


def test_a_generator_of_columns_to_leave_out_is_asked_once():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + [0.8, 0.0, 0.8]
    y = (X[:, 0] ** 2 + X[:, 1] > 1).astype(int)
    excluded = ([2], (j for j in [2]))
    gains = [
        adapt(LogisticRegression(), X, y, X_target, exclude=exclude, candidates=["ImportanceWeighting"], random_state=0)
        .candidates[1]
        .gain
        for exclude in excluded
    ]
    assert gains[0] == gains[1]
