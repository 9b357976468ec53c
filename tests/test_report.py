"""Showing: every report renders as text, page, JSON and figure; the summaries behind it are right."""

from __future__ import annotations

import html
import json
import pickle
import re
import runpy
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from shift_detectors import _plot, _text
from shift_detectors._results import (
    VERDICT_KINDS,
    Effect,
    FeatureShift,
    FeatureSummary,
    PerformanceEstimate,
    PriorEstimate,
    ShiftTestResult,
)
from shift_detectors._style import SOURCE, TARGET, style
from shift_detectors._summaries import MAX_BINS, MAX_CATEGORIES, domain_map, summarise
from shift_detectors._table import Table

examples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_example_reports.py"))))
HOSTILE = '<script>alert(\'x\')</script>" onload="evil()" $\\frac{1}$ </svg> & \x00\n'
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest and collects what a test asks for."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.links, self.attributes, self.text = [], [], [], [], [], []
        self.alts = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "svg":
            self.alts.append(dict(attrs).get("aria-label"))
        for name, value in attrs:
            self.attributes.append(name)
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def check_page(html: str) -> Page:
    page = Page(html)
    assert "script" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    references = [link[1:] for link in page.links if link.startswith("#")]
    references += re.findall(r"url\(#([^)]+)\)", html)
    assert set(references) <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import|https?://", html)
    return page


@pytest.mark.parametrize("kind", VERDICT_KINDS)
def test_every_kind_renders_everywhere(kind):
    report = examples.example_report(kind)
    text = str(report)
    assert text.startswith(_text.HEADLINES[kind])
    assert report.verdict.strength in text
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= _text.WIDTH
    assert "\x1b" not in text
    page = check_page(report.to_html())
    assert {"h1", "h2", "svg", "table", "th"} <= set(page.tags)
    words = " ".join(page.text)
    assert _text.HEADLINES[kind] in words
    assert all(step in words for step in report.next_steps)
    Page(report._repr_html_())
    assert len(report._repr_html_()) < 20_000
    plain = json.loads(report.to_json())
    assert plain["schema"] == "shift-report/1" and plain["verdict"]["kind"] == kind
    assert isinstance(report.plot(), Figure)


@pytest.mark.parametrize("kind", ["none", "covariate", "support"])
def test_without_target_labels_every_view_says_what_is_not_known(kind):
    report = examples.example_report(kind, summaries=())
    number = f"{report.label_budget().labels:,}"
    for view in (str(report), " ".join(Page(report.to_html()).text)):
        flat = " ".join(view.split())
        assert "cannot be excluded" in flat
        # more than there are target rows
        assert (f"10 points of a class probability would take about {number}" in flat) == (kind != "support")


@pytest.mark.parametrize("status", ["verified", "plausible", "unverified", "unchanged"])
def test_adaptation_result_renders_everywhere(status):
    result = examples.example_result(examples.example_report("covariate", summaries=()), status)
    text = str(result)
    words = " ".join(check_page(result.to_html()).text)
    for view in (text, words):
        assert status in view
        assert all(candidate.name in view for candidate in result.candidates)
        assert _text.HEADLINES["covariate"] in view
    assert words.index("Candidates") < words.index("Diagnosis")
    Page(result._repr_html_())
    assert isinstance(result.plot(), Figure)
    assert ("Keep the model" in text) == (status == "unchanged")


def test_the_page_shows_every_part_that_the_report_has():
    result = examples.example_result(examples.example_report("mixed"))
    page = check_page(result.to_html())
    words = " ".join(" ".join(page.text).split())
    for heading in (
        "What differs, and how much",
        "Features",
        "Where the shift lives",
        "Overlap and weights",
        "Class frequencies",
        "The model",
        "Rows of both samples",
        "How many labels would tell",
        "How this was computed",
        "Candidates",
        "Rows before and after",
        "How it was adapted",
    ):
        assert heading in words
    assert "random_state=0" in words and "scikit-learn" in words
    assert page.tags.count("figure") == 4 + 9
    assert all(alt and not re.search(r"\bnan\b", alt) for alt in page.alts) and len(page.alts) == page.tags.count("svg")


def test_result_without_estimates_or_candidates_renders():
    result = examples.example_result(status="unchanged", before=None, after=None, candidates=(), recommendations=())
    check_page(result.to_html())
    assert result.plot()._repr_png_()
    assert "Estimated" not in str(result)


def test_report_with_hardly_anything_renders():
    report = examples.example_report(
        "none",
        prior=None,
        impact=None,
        features=(),
        summaries=(),
        domain_map=None,
        tests=(),
        next_steps=(),
        notes=(),
        min_effect={},
        task=None,
    )
    check_page(report.to_html())
    assert isinstance(report.plot(), Figure)
    assert "No shift found" in str(report)


def test_numbers_that_are_not_finite_are_drawn_as_absent():
    nan = float("nan")
    report = examples.example_report("covariate")
    tests = (
        ShiftTestResult("broken", "p(x)", nan, nan, Effect("domain AUC", nan, (nan, nan))),
        ShiftTestResult("unbounded", "p(y)", 1.0, 0.5, Effect("total variation", 0.2, (nan, nan))),
    )
    prior = replace(report.prior, ci=np.full((2, 2), nan))
    report = replace(report, tests=tests, prior=prior, summaries=())
    assert "not tested" in str(report)
    assert not re.search(r"\bnan\b", str(report))  # but "malignant"
    check_page(report.to_html())
    assert isinstance(report.plot(), Figure)


def test_hostile_names_stay_text():
    summary = FeatureSummary(HOSTILE, "categorical", (HOSTILE, "b"), np.array([0.5, 0.5]), np.array([0.2, 0.8]))
    feature = FeatureShift(HOSTILE, 0.001, Effect("total variation", 0.3), f"more {HOSTILE!r}", 0.5, "categorical")
    prior = PriorEstimate(
        (HOSTILE, "b"), np.array([0.5, 0.5]), np.array([0.2, 0.8]), np.array([[0.1, 0.3], [0.7, 0.9]]), "MLLS"
    )
    report = examples.example_report(
        "covariate",
        features=(feature,),
        summaries=(summary,),
        prior=prior,
        separators=(HOSTILE,),
        notes=(HOSTILE,),
        next_steps=(HOSTILE,),
    )
    page = check_page(report.to_html())
    assert "alert('x')" in " ".join(page.text)
    check_page(report._repr_html_())
    assert "\x00" not in str(report) + report.to_html()
    report.plot()._repr_png_()
    candidate = examples.example_result().candidates[1]
    result = examples.example_result(report=report, candidates=(replace(candidate, name=HOSTILE),))
    check_page(result.to_html())
    check_page(result._repr_html_())


def test_names_beyond_the_font_and_beyond_unicode():
    table = Table(
        np.random.default_rng(0).normal(size=(60, 2)),
        np.empty((60, 0), np.int32),
        ("年齢", "bad\ud800"),
        (),
        (),
        30,
    )
    features = tuple(FeatureShift(n, 0.5, Effect("KS distance", 0.1), "") for n in table.names)
    report = examples.example_report("none", features=features, summaries=summarise(table, table.names))
    page = report.to_html()
    assert "年齢" in page
    page.encode("utf-8")


def test_pages_stay_small_and_quick():
    start = time.process_time()
    small = examples.example_report("mixed").to_html()
    assert len(small.encode()) < 1_000_000
    assert time.process_time() - start < 15
    report = examples.example_report("covariate", extra=1000)
    big = report.to_html()
    assert len(big.encode()) < 3_000_000
    assert Page(big).tags.count("article") == 12
    assert "x999" in big
    assert len(str(report).splitlines()) <= 40


def test_a_hundred_classes():
    rng = np.random.default_rng(0)
    source, target = rng.dirichlet(np.ones(100), 2)
    prior = PriorEstimate(
        tuple(f"class {k}" for k in range(100)),
        source,
        target,
        np.column_stack([target * 0.9, target * 1.1]),
        "MLLS",
        "p(x|y) is the same",
    )
    report = examples.example_report("label", prior=prior, summaries=())
    most = f"class {np.argmax(abs(target - source))}"
    text = " ".join(str(report).split())
    assert most in text
    assert "98 more classes" in text
    assert "88 classes that changed less" in " ".join(check_page(report.to_html()).text)


def test_regression_speaks_of_the_label_not_of_classes():
    report = examples.example_report("covariate", task="regression", notes=())
    text = " ".join(str(report).split())
    assert "standard deviations of the label" in text
    assert "class" not in text.replace(report.verdict.explanation, "")
    assert "Class frequencies" not in report.to_html()


def test_matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams)
    pyplot_before = "matplotlib.pyplot" in sys.modules
    report = examples.example_report("covariate", features=examples.example_report().features[:1])
    report.plot()
    report.to_html()
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_before


def test_threads_that_draw_at_once_leave_matplotlib_as_it_was():
    before, inside, left = dict(matplotlib.rcParams), Event(), Event()

    def second():
        with style():
            inside.set()
            left.wait(10)

    with ThreadPoolExecutor(1) as pool:
        with style():
            other = pool.submit(second)
            assert not inside.wait(0.2)
        left.set()
        other.result()
    assert inside.is_set() and dict(matplotlib.rcParams) == before


def test_page_and_figure_do_not_change_between_calls_and_survive_pickling():
    report = examples.example_report("covariate", features=examples.example_report().features[:1])
    assert report.to_html() == pickle.loads(pickle.dumps(report)).to_html()
    figure = report.plot()
    assert figure._repr_png_() == report.plot()._repr_png_()
    assert pickle.loads(pickle.dumps(figure)).get_size_inches().tolist() == figure.get_size_inches().tolist()


def test_html_file_is_what_was_returned(tmp_path):
    report = examples.example_report("label", summaries=())
    page = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_outcomes_respect_correction_and_smallest_effect():
    others = tuple(ShiftTestResult("t", quantity, 1.0, 0.5) for quantity in ("p(y)", "p(y|x)", "p(x|y)"))
    tiny = ShiftTestResult("t", "p(x)", 1.0, 0.001, Effect("domain AUC", 0.51))
    report = replace(examples.example_report("none"), tests=(tiny, *others))
    assert _text.outcome(report, tiny) == "differs, but negligibly"
    large = ShiftTestResult("t", "p(x)", 1.0, 0.04, Effect("domain AUC", 0.7))
    assert _text.outcome(replace(report, tests=(large, *others)), large) == "not after correction"
    found = replace(report, shifts=frozenset({"p(x)"}))
    assert _text.outcome(found, large) == "differs"
    assert _text.outcome(found, replace(large, pvalue=0.4)) == "no difference found"


def test_decisive_test_prefers_one_with_an_effect():
    report = examples.example_report("covariate")
    bare, effect = ShiftTestResult("a", "p(x)", 1.0, 0.01), report.tests[0]
    assert _text.decisive_tests(replace(report, tests=(bare, effect))) == (effect,)


def test_source_and_target_have_the_two_colours_that_everyone_can_tell_apart():
    assert (SOURCE, TARGET) == ("#0072B2", "#D55E00")
    page = examples.example_report("label").to_html().lower()
    assert f"--source: {SOURCE.lower()}" in page and "var(--source)" in page
    assert f"--target: {TARGET.lower()}" in page and "var(--target)" in page


# numbers


@pytest.mark.parametrize(
    ("value", "ci", "said"),
    [
        (0.788, (0.72, 0.84), "0.788 [0.72, 0.84]"),
        (-0.00226, (-0.0249, 0.0204), "-0.00226 [-0.0249, 0.0204]"),
        (0.99, (0.975, 1.0), "0.99 [0.975, 1]"),
        (24.96, (9.876, 40.12), "25.0 [9.9, 40.1]"),
        (12, (9, 13), "12 [9, 13]"),
        (999.7, None, "1,000"),
        (10123456, (1956228, 18.2e6), "10,100,000 [1,960,000, 18,200,000]"),
        (-504813, (-1039158, 29533), "-505,000 [-1,040,000, 29,500]"),
        (-504813, None, "-505,000"),
        (-1010, (-2078, 59.1), "-1,010 [-2,080, 59]"),
        (0.0123, (-2.5e-5, 0.0245), "0.0123 [0.0000, 0.0245]"),
        (1.2e-6, (9.8e-7, 1.5e-6), "1.2e-06 [9.8e-07, 1.5e-06]"),
        (2.5e9, (-3e7, 5.1e9), "2.50e+09 [-3.00e+07, 5.10e+09]"),
        (0.5, (float("nan"), float("inf")), "0.5 [–, –]"),
        (None, None, "–"),
    ],
)
def test_a_value_and_its_interval_have_one_format(value, ci, said):
    assert _text.measured(value, ci) == said
    if value is not None:
        assert str(Effect("gain", value, ci)) == f"gain {said}"
        assert _text.signed(Effect("gain", value, ci)) == (f"+{said}" if value > 0 else said)


def test_no_plus_before_zero_or_nothing():
    assert _text.amounts(0.0, float("nan"), 0.02, -0.02, sign=True) == ["0", "–", "+0.02", "-0.02"]


def test_numbers_are_not_written_with_exponents_below_a_billion():
    numbers = [_text.number(v) for v in (12345.6, 25.4, 2.5e7, -999.96)] + [_text.number(245.3, 2)]
    assert numbers == ["12,346", "25.4", "25,000,000", "-1,000", "245"]
    assert _text.times(Effect("times", 123.4, (31, 480))) == "123 [31, 480] times"


def test_large_values_of_a_result_have_one_format_everywhere():
    before = PerformanceEstimate("m", "mean squared error", 10123456.0, (1956228.0, 18.2e6), "")
    gain = Effect("gain", -504813.0, (-1039158.0, 29533.0))
    candidate = replace(examples.example_result().candidates[1], gain=gain, score=10123456.0)
    report = examples.example_report("covariate", task="regression", summaries=(), impact=None)
    result = examples.example_result(
        report, metric="mean squared error", before=before, after=before, candidates=(candidate,)
    )
    for view in (str(result), " ".join(Page(result.to_html()).text), " ".join(Page(result._repr_html_()).text)):
        assert "10,100,000 [1,960,000, 18,200,000]" in " ".join(view.split())
        assert "-505,000 [-1,040,000, 29,500]" in view
        assert not re.search(r"\de\+\d", view)


def test_text_says_on_which_rows_a_region_was_measured():
    report = examples.example_report("covariate", summaries=())
    said = "found on one half of the rows, measured on the other"
    assert said in " ".join(str(report).split())
    assert said.split(", ")[0].removeprefix("found ") in " ".join(Page(report.to_html()).text)


# summaries


def numeric_table(source, target, names=("x",), datetimes=frozenset()):
    rows = np.r_[source, target].astype(float)[:, None]
    return Table(rows, np.empty((len(rows), 0), np.int32), names, (), (), len(source), datetimes)


def test_numeric_shares_are_the_counts_on_common_edges():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=2000), rng.normal(1, 1, size=500)
    (summary,) = summarise(numeric_table(source, target), ["x"])
    edges = np.array(summary.bins)
    assert len(edges) - 1 == len(summary.source) <= MAX_BINS
    inside = np.clip(source, edges[0], edges[-1])
    np.testing.assert_allclose(summary.source, np.histogram(inside, edges)[0] / 2000)
    assert summary.source.sum() == pytest.approx(1)
    assert summary.target.sum() == pytest.approx(1)


def test_one_outlier_does_not_squeeze_the_picture_and_a_small_side_is_not_lost():
    rng = np.random.default_rng(0)
    (summary,) = summarise(numeric_table(np.r_[rng.normal(size=5000), 1e9], rng.normal(8, 1, 40)), ["x"])
    assert 8 < summary.bins[-1] < 12
    assert summary.bins[0] < -2


@pytest.mark.parametrize("top", [5, 29, 30, 400])
def test_whole_numbers_get_whole_bins(top):
    values = np.arange(top + 1)
    (summary,) = summarise(numeric_table(np.repeat(values, 30), np.repeat(values, 30)), ["x"])
    widths = np.diff(summary.bins)
    assert np.all(widths == widths[0])
    assert widths[0] == int(widths[0])
    assert len(widths) <= MAX_BINS
    assert set(np.mod(summary.bins, 1)) == {0.5}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ([np.nan] * 3, [np.nan] * 3),
        ([1.5] * 3, [1.5] * 3),
        ([np.nan] * 3, [1.0, 2.0, 3.5]),
        ([1e300, -1e300, 0.5], [0.5, 0.5, 0.5]),
    ],
)
def test_degenerate_columns_are_summarised_and_drawn(source, target):
    (summary,) = summarise(numeric_table(np.array(source), np.array(target)), ["x"])
    assert summary.missing_source == np.mean(np.isnan(source))
    assert np.all(np.diff(summary.bins) > 0)
    assert np.isfinite(np.r_[summary.source, summary.target]).all()
    assert _plot.FeatureDisplay(summary)._repr_png_()


def test_categories_top_twelve_and_the_rest_together():
    rng = np.random.default_rng(0)
    codes = np.r_[rng.integers(0, 40, 900), [-1] * 100, rng.integers(20, 40, 500)].astype(np.int32)[:, None]
    table = Table(np.empty((1500, 0)), codes, (), ("c",), (np.arange(40),), 1000)
    (summary,) = summarise(table, ["c"])
    assert len(summary.bins) == MAX_CATEGORIES + 1
    assert summary.bins[-1] == "other (28)"
    assert summary.source.sum() == pytest.approx(1)
    assert summary.target.sum() == pytest.approx(1)
    assert summary.missing_source == pytest.approx(0.1)
    first = int(summary.bins[0])
    assert summary.target[0] == pytest.approx(np.mean(codes[1000:] == first))


def test_summaries_follow_the_order_and_many_columns_are_quick():
    rng = np.random.default_rng(0)
    names = tuple(f"x{k}" for k in range(200))
    values = rng.normal(size=(4000, 200))
    kept = values.copy()
    table = Table(values, np.empty((4000, 0), np.int32), names, (), (), 2000)
    start = time.process_time()
    summaries = summarise(table, names[::-1])
    assert time.process_time() - start < 5
    assert [s.feature for s in summaries] == list(names[::-1])
    np.testing.assert_array_equal(values, kept)


def test_domain_map_shows_the_direction_of_a_large_shift():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 5))
    rows[2000:] += 3
    table = Table(rows, np.empty((3000, 0), np.int32), tuple("abcde"), (), (), 2000)
    y = np.arange(2000) % 3
    drawn = domain_map(table, y, 0)
    assert drawn.source.shape == drawn.target.shape == (600, 2)
    gap = drawn.target[:, 0].mean() - drawn.source[:, 0].mean()
    assert abs(gap) > 3 * drawn.source[:, 0].std()
    assert drawn.explained[0] > 0.5 > drawn.explained[1]
    assert drawn.y_source is not None
    assert set(drawn.y_source) == {0, 1, 2}
    again = domain_map(table, y, 0)
    np.testing.assert_array_equal(drawn.source, again.source)


def test_domain_map_of_one_column_and_of_none():
    one = domain_map(numeric_table(np.arange(5), np.arange(5) + 1.0))
    assert one.source.shape == (5, 2)
    assert np.all(one.source[:, 1] == 0)
    constant = domain_map(numeric_table(np.ones(4), np.ones(3)))
    assert constant.explained == (0.0, 0.0)
    assert constant.target.shape == (3, 2)


# in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
FRAME = """<!DOCTYPE html><title>?</title>
<iframe id="f" style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
<script>onload = () => {{
  const page = f.contentDocument.documentElement;
  document.title = page.scrollWidth - page.clientWidth;
}}</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("width", [400, 1200])
def test_no_page_is_wider_than_the_window_and_none_makes_the_browser_complain(width, tmp_path):
    long = "a_column_with_a_name_that_never_ends_" * 4
    features = tuple(replace(f, feature=long + f.feature) for f in examples.example_report().features)
    summaries = tuple(replace(s, feature=long + s.feature) for s in examples.example_report().summaries)
    report = examples.example_report("mixed", features=features, summaries=summaries, separators=(long,), notes=(long,))
    pages = {
        "report": report.to_html(),
        "result": examples.example_result(report).to_html(),
        "many": examples.example_report("covariate", extra=1000).to_html(),
    }
    for name, page in pages.items():
        (tmp_path / f"{name}.html").write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}",
            "--enable-logging=stderr",
        ]
        window = f"--window-size={width + 100},1000"
        path = (tmp_path / f"{name}.html").as_uri()
        done = subprocess.run(
            [CHROMIUM, *options, window, "--dump-dom", path], capture_output=True, text=True, timeout=60
        )
        assert "<title>0</title>" in done.stdout, name
        assert "CONSOLE" not in done.stderr, done.stderr


def test_results_are_compared_and_hashed_without_an_error():
    report, again = (examples.example_report() for _ in range(2))
    for name in ("overlap", "prior", "domain_map"):
        assert getattr(report, name) != getattr(again, name)
    assert report == report and report != again and len({report, again}) == 2
    assert report.verdict == again.verdict and hash(report.tests[0].effect) == hash(again.tests[0].effect)
    one, other = (examples.example_result(r) for r in (report, again))
    assert one == one and one != other and len({one, other}) == 2


def test_effects_print_plain_numbers():
    values = np.array([0.5, 0.25, 0.75])
    assert repr(Effect("gain", values[0], tuple(values[1:]))) == "Effect(name='gain', value=0.5, ci=(0.25, 0.75))"
    assert "np." not in repr(PerformanceEstimate("labels", "accuracy", values[0], tuple(values[1:]), ""))


def test_objects_are_short_at_the_prompt():
    report = examples.example_report("covariate")
    assert repr(report).startswith("ShiftReport('covariate', ") and len(repr(report)) < 200
    assert repr(report) in repr(examples.example_result(report)) and len(repr(examples.example_result(report))) < 300


@pytest.mark.parametrize(
    ("classes", "source", "target", "shown"),
    [
        ((0, 1), (0.9854, 0.0146), (0.9792, 0.0208), "'1' 1.5% -> 2.1% [1%, 4.2%]"),
        (("bad", "good"), (0.0146, 0.9854), (0.0208, 0.9792), "'bad' 1.5% -> 2.1% [1%, 4.2%]"),
        ((0, 1), (0.99984, 0.00016), (0.99966, 0.00034), "'1' 0.016% -> 0.034% [0.017%, 0.068%]"),
        ((0, 1), (0.6, 0.4), (0.1, 0.9), "'0' 60% -> 10% [5%, 20%]"),
        ((0, 1), (1.0, 0.0), (0.1, 0.9), "'1' 0% -> 90% [45%, 180%]"),
        (("a", "b", "c"), (0.01, 0.5, 0.49), (0.02, 0.7, 0.28), "'c' 49% -> 28% [14%, 56%]"),
        (("No", "No ", "Yes"), (0.5, 0.2, 0.3), (0.2, 0.4, 0.4), "'No' 50% -> 20% [10%, 40%]; 'No ' 20% -> 40%"),
    ],
)
def test_class_frequencies_name_the_rarer_class_of_two(classes, source, target, shown):
    """Both changed by as much, and a rate of 1.5 % that rises by 40 % is not to read 99 % -> 98 %."""
    target = np.array(target)
    prior = PriorEstimate(classes, np.array(source), target, np.column_stack([target / 2, 2 * target]), "MLLS")
    assert shown in _text.prior_sentence(prior)


@pytest.mark.parametrize(
    ("unsupported", "words"), [(0.0, "none of the target was found"), (0.2, "20% of the target was")]
)
def test_rows_beyond_the_source_are_those_that_were_found(unsupported, words):
    """A combination of columns that the source lacks may go unseen: none found is not none there."""
    example = examples.example_report()
    report = replace(example, overlap=replace(example.overlap, unsupported_share=unsupported))
    assert f"{words} " in " ".join(str(report).split())
