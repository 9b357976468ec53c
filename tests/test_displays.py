"""Displays: each part of a report, a result or an adapter draws itself, on new or given axes, and nothing else."""

from __future__ import annotations

import pickle
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit import (
    CORAL,
    TCA,
    ClassifierRatio,
    FeatureAlignment,
    ImportanceWeighting,
    LinearOT,
    OptimalTransport,
    PriorCentered,
    PriorCorrection,
    SourceOnly,
    Target,
)
from da_toolkit.report._balance import BalanceDisplay
from da_toolkit.report._embedding import MAX_ROWS, EmbeddingDisplay, embed
from da_toolkit.report._label_curve import LabelCurveDisplay
from da_toolkit.report._plot import BeforeAfterDisplay, CandidatesDisplay
from da_toolkit.report._reliability import ReliabilityDisplay
from da_toolkit.report._training import TrainingDisplay
from da_toolkit.report._transport import TransportPlanDisplay
from shift_detectors import InputError, _plot
from shift_detectors._html import WIDTH
from shift_detectors._plot import (
    DomainMapDisplay,
    EffectsDisplay,
    FeatureDisplay,
    OverlapDisplay,
    PriorDisplay,
    RegionsDisplay,
    WeightsDisplay,
)
from shift_detectors._plot_budget import LabelBudgetDisplay
from shift_detectors._plot_impact import ImpactDisplay, LossSplitDisplay
from shift_detectors._results import Effect, FeatureShift, FeatureSummary, Impact, PerformanceEstimate, PriorEstimate
from shift_detectors._style import style
from shift_detectors._text import budget_sentence

examples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_example_reports.py"))))
OF_REPORT = [
    DomainMapDisplay,
    EffectsDisplay,
    FeatureDisplay,
    ImpactDisplay,
    LabelBudgetDisplay,
    LossSplitDisplay,
    OverlapDisplay,
    PriorDisplay,
    RegionsDisplay,
    WeightsDisplay,
]
OF_RESULT = [CandidatesDisplay, BeforeAfterDisplay]


@pytest.fixture(scope="module")
def report():
    return examples.example_report("mixed")


def check_inside(display) -> None:
    """Nothing leaves the figure."""
    display.figure_.draw_without_rendering()
    box, (width, height) = display.figure_.get_tightbbox(), display.figure_.get_size_inches()
    assert box.x0 > -0.01 and box.y0 > -0.01 and box.x1 < width + 0.01 and box.y1 < height + 0.01, box


@pytest.mark.parametrize("kind", OF_REPORT)
def test_displays_of_a_report(kind, report):
    before = dict(matplotlib.rcParams)
    display = kind.from_report(report)
    assert display.ax_.figure is display.figure_
    assert display.ax_.has_data()
    assert display.ax_.get_title(loc="left") == display.title
    check_inside(display)
    ax = Figure().add_subplot()
    given = kind.from_report(report, ax=ax)
    assert given.ax_ is ax and given.figure_ is ax.figure
    assert ax.get_title(loc="left") == "" and not ax.figure.legends
    assert given.alt.endswith(".") and not re.search(r"\bnan\b", given.alt)
    assert display.plot() is display and display.figure_ is not given.figure_
    assert display._repr_png_().startswith(b"\x89PNG")
    assert type(pickle.loads(pickle.dumps(display))) is kind
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("kind", OF_RESULT)
def test_displays_of_a_result(kind, report):
    result = examples.example_result(report)
    display = kind.from_result(result)
    check_inside(display)
    ax = Figure().add_subplot()
    assert kind.from_result(result, ax=ax).ax_ is ax and ax.has_data()
    assert display.alt


def tick_labels(axis) -> list[str]:
    axis.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    shown = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for at, label in shown if low <= at <= high]


@pytest.mark.parametrize(
    ("size", "ticks"),
    [
        (1.0, ["0.5", "1.0", "1.5"]),
        (1e4, ["5k", "10k", "15k"]),
        (1e7, ["5M", "10M", "15M"]),
        (1e-6, ["5e−07", "1e−06", "1.5e−06"]),
    ],
)
def test_values_of_any_size_leave_no_common_exponent_at_the_axis(size, ticks, report):
    metric = "mean squared error"
    before = PerformanceEstimate("m", metric, 1.01 * size, (0.2 * size, 1.82 * size), "")
    candidate = examples.example_result(report).candidates[1]
    candidate = replace(candidate, gain=Effect("gain", 0.1 * size, (-0.1 * size, 0.3 * size)))
    impact = Impact(metric, before, before, (), *[Effect("part", 0.1 * size, (0.0, 0.2 * size))] * 2)
    displays = (
        BeforeAfterDisplay(before, before, "CORAL", metric).plot(),
        CandidatesDisplay((candidate,), metric).plot(),
        ImpactDisplay(impact).plot(),
        LossSplitDisplay(impact).plot(),
        TrainingDisplay([{"task_loss": size}, {"task_loss": 0.4 * size}]).plot(),
    )
    assert tick_labels(displays[0].ax_.xaxis) == ticks
    for display in displays:
        check_inside(display)
        for axis in (display.ax_.xaxis, display.ax_.yaxis):
            assert axis.get_offset_text().get_text() == ""
        assert pickle.loads(pickle.dumps(display)).alt == display.alt
        assert "3e-" not in "".join(tick_labels(display.ax_.xaxis))


def test_a_long_label_does_not_leave_the_picture_of_the_page(report):
    result = examples.example_result(report, metric="mean squared error")
    for kind in OF_RESULT:
        with style():
            figure = Figure(figsize=(WIDTH, 2), layout="constrained")
            kind.from_result(result, ax=figure.add_subplot())
            figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert box.x0 > -0.05 and box.x1 < WIDTH + 0.05


def test_the_whole_picture_is_made_of_displays(report):
    drawn = [ax for ax in report.plot().axes if ax.has_data()]
    titles = {ax.get_title(loc="left") for ax in drawn}
    shown = [EffectsDisplay, OverlapDisplay, PriorDisplay, ImpactDisplay, LossSplitDisplay, DomainMapDisplay]
    assert {kind.from_report(report).title for kind in shown} <= titles


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (PriorDisplay, {"prior": None}),
        (ImpactDisplay, {"impact": None}),
        (LossSplitDisplay, {"impact": None}),
        (DomainMapDisplay, {"domain_map": None}),
        (LabelBudgetDisplay, {"task": None}),
        (FeatureDisplay, {"summaries": ()}),
        (RegionsDisplay, {"regions": ()}),
    ],
)
def test_a_part_that_is_not_there_is_said_so(kind, missing, report):
    with pytest.raises(InputError, match="a report without"):
        kind.from_report(replace(report, **missing))


def test_loss_split_needs_target_labels():
    with pytest.raises(InputError, match="target labels"):
        LossSplitDisplay.from_report(examples.example_report("covariate"))


def test_a_feature_by_name(report):
    assert FeatureDisplay.from_report(report).title == report.features[0].feature
    assert FeatureDisplay.from_report(report, "visits").title == "visits"
    with pytest.raises(InputError, match="'visit'"):
        FeatureDisplay.from_report(report, "visit")


def test_loss_split_starts_at_the_source_and_ends_at_the_target(report):
    display = LossSplitDisplay.from_report(report)
    bars = display.ax_.patches
    assert bars[0].get_x() == pytest.approx(1 - report.impact.source.value)
    assert bars[1].get_x() == pytest.approx(bars[0].get_x() + report.impact.p_x_part.value)
    assert bars[0].get_width() == pytest.approx(report.impact.p_x_part.value)


def test_weights_of_a_report_have_its_effective_size(report):
    rng = np.random.default_rng(0)
    weights = rng.lognormal(size=500)
    display = WeightsDisplay(weights)
    share = weights.sum() ** 2 / (weights**2).sum() / 500
    assert f"{share:.0%}" in display.subtitle
    assert f"{report.overlap.effective_sample_size:,.0f}" in WeightsDisplay.from_report(report).subtitle
    for extreme in (np.ones(5), np.r_[np.zeros(5), 1.0], np.r_[np.full(99, 1e-9), 1.0]):
        check_inside(WeightsDisplay(extreme).plot())
    with pytest.raises(InputError, match="weights_"):
        WeightsDisplay.from_estimator(object())


def test_detectable_change_follows_its_formula(report):
    given = replace(report, task="regression", label_variance=0.4)
    for labels in (10, 20, 500):
        quantile = stats.t(labels - 1).ppf(1 - given.alpha / 16) + stats.norm.ppf(0.8)
        expected = quantile * np.sqrt(given.label_variance * (1 / labels + 1 / given.n_source))
        assert given.detectable_change(labels) == pytest.approx(expected)


def test_budget_and_detectable_change_are_inverse(report):
    for changes in ({}, {"label_variance": 0.01}, {"task": "regression", "label_variance": 0.4}):
        given = replace(report, **changes)
        for labels in (20, 150, 4000):
            effect = given.detectable_change(labels)
            assert given.label_budget(effect=effect).labels == pytest.approx(labels, abs=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.label_budget(power=2), "power=2; accepted: a number above 0.025 and below 1"),
        (lambda r: r.label_budget(power=0.01), "power=0.01"),
        (lambda r: r.label_budget(effect=0), "effect=0; accepted: a number above 0 and below 1"),
        (lambda r: r.label_budget(effect=-0.1), "effect=-0.1"),
        (lambda r: r.label_budget(effect=2), "effect=2"),
        (lambda r: r.label_budget(effect=float("nan")), "effect=nan"),
        (lambda r: r.detectable_change(0), "labels=0; accepted: a number of at least 10: fewer are not tested"),
        (lambda r: r.detectable_change(-4), "labels=-4"),
        (lambda r: r.detectable_change("x"), "labels='x'"),
        (lambda r: r.detectable_change(20, power=1), "power=1"),
        (lambda r: r.test("p(y | x)"), r"quantity='p\(y \| x\)'; accepted: one of 'p\(x\)', .*'p\(y\|x\)'"),
    ],
)
def test_questions_that_have_no_answer_are_refused(report, call, words):
    with pytest.raises(InputError, match=words):
        call(report)


def test_a_budget_may_be_for_more_than_one_standard_deviation(report):
    given = replace(report, task="regression", label_variance=0.4, alpha=0.9)
    assert given.label_budget(effect=2).labels == 10 and given.test("label-shift fit") is None


def test_the_budget_in_words_is_that_of_the_report(report):
    for task in ("classification", "regression"):
        given = replace(report, task=task, label_variance=0.173)
        for power in (0.5, 0.8, 0.95):
            said = f"by 0.1: .*{given.label_budget(power).labels:,} with power {power:.0%}"
            assert re.search(said, LabelBudgetDisplay.from_report(given).alt)


@pytest.mark.parametrize("feature", ["occupation", "household_type_of_the_main_respondent"])
def test_ordinary_names_of_categories_leave_room_for_what_stands_above_them(report, feature):
    bins = "Private-sector employee in construction", "Self-employed without employees", "Civil servant", "Retired"
    summary = FeatureSummary(feature, "categorical", bins, np.full(4, 0.25), np.array([0.6, 0.2, 0.1, 0.1]))
    change = f"more {bins[0]!r} (25% to 60%); unseen in the source: {bins[1]!r}"
    shift = FeatureShift(feature, 0.001, Effect("total variation", 0.35), change)
    check_inside(FeatureDisplay(summary, shift).plot())
    figure = replace(report, features=(shift,), summaries=(summary,)).plot()
    check_inside(SimpleNamespace(figure_=figure))


def test_a_feature_without_a_difference_is_said_to_have_none(report):
    quiet = replace(report.features[0], pvalue=0.02, direction="other shape")
    display = FeatureDisplay.from_report(replace(report, features=(quiet,), alpha=0.01))
    assert display.subtitle == "no difference found" and "no difference found, " in display.alt
    assert FeatureDisplay.from_report(replace(report, features=(quiet,), alpha=0.05)).subtitle == "other shape"


def test_few_source_rows_reveal_no_small_change(report):
    given = replace(report, n_source=100, task="regression", label_variance=0.4)
    assert given.label_budget(effect=0.1).labels is None
    assert given.label_budget(effect=0.5).labels > 10
    LabelBudgetDisplay.from_report(given)
    assert "with 100 source rows no number of them reveals .1" in budget_sentence(given).replace("0.1", ".1")
    assert "are not tested" in budget_sentence(replace(given, n_target=8))


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("short", [1, 30])
def test_a_budget_that_is_hardly_missed_does_not_contradict_itself(report, task, short):
    given = replace(report, task=task, n_source=5000, label_variance=0.25)
    given = replace(given, n_target=given.label_budget().labels - short)
    least, size = re.search(r"by ([\d.]+) .*; ([\d.]+) ", budget_sentence(given)).groups()
    assert float(least) > float(size)


@pytest.mark.parametrize(("n_target", "n_labelled"), [(15, 0), (60, 20), (312, 300), (6000, 200), (10**6, 0)])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("n_source", [20, 100, 100_000])
def test_budget_is_drawn_for_few_and_for_many_rows(report, n_source, n_target, n_labelled, task):
    sizes = {"n_source": n_source, "n_target": n_target, "n_labelled": n_labelled}
    display = LabelBudgetDisplay.from_report(replace(report, task=task, **sizes))
    check_inside(display)
    texts = {text.get_text(): text for text in display.ax_.texts if text.get_text()}
    assert f"{n_target:,} target rows" in texts
    axes = display.ax_.get_window_extent()
    for power, labels in display.labels.items():
        assert (f"{power:.0%}" in texts) == np.isfinite(labels).any()
    for text in texts.values():
        assert axes.contains(*text.get_window_extent().get_points().mean(0)), text


def test_prior_of_an_estimator():
    fitted = SimpleNamespace(
        classes_=np.array([0, 1]),
        prior_=np.array([0.2, 0.8]),
        source_prior_=np.array([0.5, 0.5]),
        confidence_interval_=np.array([[0.1, 0.3], [0.7, 0.9]]),
        prior=np.array([0.2, 0.8]),
    )
    display = PriorDisplay.from_estimator(fitted)
    assert display.title == "Class frequencies (given)"
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["0", "1"]
    with pytest.raises(InputError, match="prior_"):
        PriorDisplay.from_estimator(object())


@pytest.mark.parametrize(("n", "left_out"), [(13, "1 class that"), (20, "8 classes that")])
def test_many_classes_with_long_names_stay_apart(n, left_out):
    rng = np.random.default_rng(0)
    source, target = rng.dirichlet(np.ones(n), 2)
    names = tuple(f"department of something with a very long name, ward {k}" for k in range(n))
    prior = PriorEstimate(names, source, target, np.column_stack([target, target]), "MLLS")
    display = PriorDisplay(prior).plot()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert len(set(labels)) == len(labels) == _plot.MAX_CLASSES
    assert f"({left_out} changed less not drawn)" in display.ax_.get_xlabel()
    check_inside(display)


def test_names_that_differ_by_blanks_at_their_ends_look_different():
    prior = PriorEstimate(("No", "No ", "Yes"), np.full(3, 1 / 3), np.full(3, 1 / 3), np.full((3, 2), 1 / 3), "MLLS")
    summary = FeatureSummary("answer ", "categorical", ("No", "No "), np.full(2, 0.5), np.full(2, 0.5))
    drawn = [PriorDisplay(prior).plot(), FeatureDisplay(summary).plot()]
    names = [[label.get_text() for label in display.ax_.get_yticklabels()] for display in drawn]
    assert names == [["No", "'No '", "Yes"], ["No", "'No '"]]
    assert drawn[1].title == "'answer '"


def test_wrong_number_of_axes(report):
    with pytest.raises(InputError, match="2 axes"):
        EffectsDisplay(report).plot(Figure().subplots(1, 2))


def test_displays_load_matplotlib_when_they_draw():
    code = "import sys, shift_detectors._plot; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# --- adapters ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moved():
    """Rows of two classes; in the target all of them lie elsewhere, on another scale."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 100)
    X, X_target = rng.normal(size=(200, 3)) + 3 * y[:, None], rng.normal(size=(200, 3)) + 3 * y[:, None]
    return X, y, X_target * 1.5 + [6, 0, 0], y


def distance(plane) -> float:
    return float(np.linalg.norm(plane.source.mean(axis=0) - plane.target.mean(axis=0)))


@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_embedding_shows_the_movement_on_the_same_axes(moved, direction):
    X, y, X_target, _ = moved
    model = make_pipeline(StandardScaler(), LogisticRegression())
    adapter = FeatureAlignment(model, CORAL(), direction, class_prior=None).fit(X, y, X_target)
    found = embed(adapter, X, X_target, y)
    assert found.same_axes and found.weights is None
    assert distance(found.after) < 0.05 * distance(found.before)
    stays = "target" if direction == "source_to_target" else "source"
    np.testing.assert_allclose(getattr(found.before, stays), getattr(found.after, stays))
    display = EmbeddingDisplay.from_estimator(adapter, X, Target(X_target), y_source=y)
    assert len(display.ax_) == 2 and display.ax_[0].get_xlim() == display.ax_[1].get_xlim()
    assert {text.get_text() for text in display.ax_[0].texts} >= {"0", "1"}
    check_inside(display)


def test_embedding_of_a_new_space_has_axes_of_its_own(moved):
    X, y, X_target, _ = moved
    aligner = TCA(n_components=3).fit(X, X_target)
    found = embed(aligner, X, X_target)
    assert not found.same_axes and distance(found.after) < distance(found.before)


def test_embedding_of_weights_draws_them_as_areas(moved):
    X, y, X_target, _ = moved
    X_target = X_target[:, ::1] / 1.5 - [3, 0, 0]
    for adapter in (
        ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target),
        ClassifierRatio(random_state=0).fit(X, X_target),
    ):
        found = embed(adapter, X, X_target)
        weights = adapter.weights_ / adapter.weights_.mean()
        np.testing.assert_allclose(found.weights, weights)  # pyright: ignore
        before, after = EmbeddingDisplay(found).plot().ax_
        np.testing.assert_allclose(after.collections[0].get_sizes(), 11 * weights)
        with pytest.raises(InputError, match="not of these source rows"):
            embed(adapter, X[:50], X_target)


def test_embedding_of_frames_with_categories_and_missing_values(moved):
    X, y, X_target, _ = moved
    frames = [
        pd.DataFrame(rows, columns=[*"abc"]).assign(d=np.arange(200) % 3).astype({"d": "category"})
        for rows in (X, X_target)
    ]
    frames[0]["c"] = frames[0]["c"].round(1)
    kept = [frame.copy() for frame in frames]
    aligned = FeatureAlignment(make_pipeline("passthrough", Ridge()), LinearOT())
    found = embed(
        aligned.fit(frames[0].assign(d=1.0), y.astype(float), frames[1].assign(d=1.0)),
        *(f.assign(d=1.0) for f in frames),
    )
    assert found.same_axes and distance(found.after) < 0.1 * distance(found.before)
    frames[0].loc[3, "a"] = np.nan
    ratio = ClassifierRatio(random_state=0).fit(*frames)
    assert np.isfinite(embed(ratio, *frames).before.source).all()
    frames[0].loc[3, "a"] = kept[0].loc[3, "a"]
    for frame, old in zip(frames, kept, strict=True):
        pd.testing.assert_frame_equal(frame, old)


def test_embedding_draws_the_same_rows_again_and_not_more_than_it_says(moved):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(1500, 2)), rng.normal(size=(700, 2)) + 1
    aligner = CORAL().fit(X, X_target)
    first, second = (embed(aligner, X, X_target, random_state=1) for _ in range(2))
    assert first.before.source.shape == first.after.target.shape == (MAX_ROWS, 2)
    np.testing.assert_array_equal(first.after.source, second.after.source)


def test_embedding_of_sparse_rows(moved):
    X, y, X_target, _ = moved
    adapter = FeatureAlignment(LogisticRegression(), CORAL(), class_prior=None)
    sides = sparse.csr_matrix(X), sparse.csr_matrix(X_target)
    found = embed(adapter.fit(sides[0], y, sides[1]), *sides)
    assert np.isfinite(found.after.source).all()


def test_what_moves_nothing_has_no_embedding(moved):
    X, y, X_target, _ = moved
    for adapter in (SourceOnly(LogisticRegression()), PriorCorrection(LogisticRegression(), random_state=0)):
        with pytest.raises(InputError, match="moves no rows"):
            embed(adapter.fit(X, y, X_target), X, X_target)


def test_one_far_row_does_not_squeeze_the_embedding(moved):
    X, _, X_target, _ = moved
    X = np.vstack([X, [1e4, 0, 0]])
    display = EmbeddingDisplay.from_estimator(TCA().fit(X, X_target), X, X_target)
    check_inside(display)


def test_transport_plan(moved):
    X, y, X_target, _ = moved
    aligner = OptimalTransport("exact").fit(X, X_target)
    display = TransportPlanDisplay.from_estimator(aligner, X, X_target)
    check_inside(display)
    assert "100%" in display.alt  # as many rows on both sides: each goes to one
    (lines,) = (c for c in display.ax_.collections if type(c).__name__ == "LineCollection")
    partner = aligner.plan_.argmax(axis=1)
    for start, end in lines.get_segments():
        i = np.abs(display.source - start).sum(axis=1).argmin()
        np.testing.assert_allclose(display.target[partner[i]], end)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    for direction in ("source_to_target", "target_to_source"):
        adapter = FeatureAlignment(model, OptimalTransport(), direction, class_prior=None).fit(X, y, X_target[:150])
        assert TransportPlanDisplay.from_estimator(adapter, X, X_target[:150]).plan.shape == (200, 150)
    with pytest.raises(InputError, match="holds no plan"):
        TransportPlanDisplay.from_estimator(CORAL().fit(X, X_target), X, X_target)
    with pytest.raises(InputError, match="rows of fit"):
        TransportPlanDisplay.from_estimator(aligner, X[:10], X_target)


def test_reliability_by_hand():
    confidence, correct = np.r_[np.full(50, 0.6), np.full(50, 0.9)], np.r_[np.repeat([1, 0], 25), np.ones(50)] > 0
    display = ReliabilityDisplay({"source": confidence}, {"source": correct})
    assert display.errors["source"] == pytest.approx(0.1)
    x, y, interval, rows = display._bins("source")
    assert rows.sum() == 100 and np.all((interval[0] <= y) & (y <= interval[1] + 1e-9))
    check_inside(display.plot())


def test_reliability_takes_each_domains_path_and_leaves_unlabelled_rows_out(moved):
    X, y, X_target, y_target = moved
    adapter = FeatureAlignment(LogisticRegression(), LinearOT(), "target_to_source", class_prior=None).fit(
        X, y, X_target
    )
    labels = y_target.astype(object)
    labels[::4] = None
    display = ReliabilityDisplay.from_estimator(adapter, X, y, X_target, labels)
    assert len(display.confidence["target"]) == 150
    np.testing.assert_allclose(display.confidence["source"], adapter.predict_proba_source(X).max(axis=1))
    assert set(ReliabilityDisplay.from_estimator(adapter, X, y).confidence) == {"source"}
    with pytest.raises(InputError, match="predict_proba"):
        ReliabilityDisplay.from_estimator(Ridge().fit(X, y), X, y)
    with pytest.raises(InputError, match="y_target has 0 labels"):
        ReliabilityDisplay.from_estimator(adapter, X, y, X_target)


def test_label_curve_scores_rows_that_nobody_saw():
    seen, scored = [], []

    class Probe(SourceOnly):
        def fit(self, X, y, X_target=None, y_target=None, **kwargs):
            assert X_target is not None and y_target is not None
            seen.append((set(X_target[:, 0]), sum(label is not None for label in y_target)))
            return super().fit(X, y, X_target, y_target, **kwargs)

        def score(self, X, y, sample_weight=None):
            scored.append(set(X[:, 0]))
            return super().score(X, y)

    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 2)), rng.normal(size=(90, 2))
    y, y_target = X[:, 0] > 0, X_target[:, 0] > 0
    display = LabelCurveDisplay.from_estimator(
        {"probe": Probe(LogisticRegression()), "centred": PriorCentered(LogisticRegression())},
        *(X, y, X_target, y_target),
        sizes=(40, 10),
        n_draws=2,
    )
    assert display.scores["probe"].shape == (2, 2) and list(display.sizes) == [10, 40]
    assert [n for _, n in seen] == [10, 40, 10, 40]
    assert all(not rows & test for (rows, _), test in zip(seen, scored, strict=True))
    check_inside(display)
    with pytest.raises(InputError, match="sizes"):
        LabelCurveDisplay.from_estimator(SourceOnly(LogisticRegression()), X, y, X_target, y_target, sizes=(90,))


def test_balance_of_a_ratio_and_of_an_adapter(moved):
    X, y, X_target, _ = moved
    X_target = X_target / 1.5 - [3, 0, 0]
    adapter = ImportanceWeighting(LogisticRegression(), random_state=0).fit(X, y, X_target)
    display = BalanceDisplay.from_estimator(adapter, X, X_target)
    assert display.title == "Balance" and "of 200 source rows" in display.subtitle
    check_inside(display)
    with pytest.raises(InputError, match="weights_"):
        BalanceDisplay.from_estimator(LogisticRegression(), X, X_target)


@pytest.mark.parametrize("epochs", [1, 25])
def test_training_curves(epochs):
    history = [{"train_loss": 1.0, "task_loss": 1 / k, "alignment_loss": np.nan} for k in range(1, epochs + 1)]
    assert TrainingDisplay(history).panels == ("Task loss",)
    judged = {"target_score": -0.5, "target_entropy": 0.1, "source_accuracy": 0.9, "vetoed": False}
    history = [{**row, **judged, "alignment_loss": 0.5} for row in history]
    history[0]["vetoed"] = epochs > 1
    display = TrainingDisplay(history, "DANN").plot()
    assert display.panels == ("Task loss", "Alignment loss (DANN)", "Early stopping")
    check_inside(display)
    for ax, name in zip(display.ax_, ("task_loss", "alignment_loss"), strict=False):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [row[name] for row in history])
    with pytest.raises(InputError, match="history_"):
        TrainingDisplay.from_estimator(SourceOnly(Ridge()))


@pytest.mark.torch
def test_training_of_a_network(moved):
    from da_toolkit.deep import DANN, DeepAdapter

    X, y, X_target, _ = moved
    adapter = DeepAdapter(loss=DANN(), max_epochs=3, random_state=0).fit(X, y, X_target)
    assert TrainingDisplay.from_estimator(adapter).alt.startswith("Curves over 3 epochs: Task loss from")
    assert not embed(adapter, X, X_target).same_axes
