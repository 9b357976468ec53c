"""Many sparse columns, such as words: what their components are called, and which of them are behind a change."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import binom
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline

from shift_detectors import diagnose
from shift_detectors._boundary import read_problem
from shift_detectors._permutation import permuted_domains
from shift_detectors._sparse_columns import RARE, SparseColumns, column_shifts, empty_rows

N = 120
TOPICS = {"sport": ["goal", "team", "match"], "music": ["song", "band", "album"]}


def texts(n, sport=0.5, seed=0):
    """Words of one topic, many of them, among a hundred words of none."""
    rng = np.random.default_rng(seed)
    topics = np.where(rng.random(n) < sport, "sport", "music")
    return [
        " ".join([*rng.choice(TOPICS[topic], 8), *(f"word{k:02}" for k in rng.integers(0, 99, 6))]) for topic in topics
    ]


@pytest.fixture(scope="module")
def vectoriser():
    return CountVectorizer().fit(texts(900, seed=9))


def columns_of(rows):
    return SparseColumns(sp.csr_array(rows), tuple(f"x{j}" for j in range(rows.shape[1])))


def shifts_of(rows, n_source, n_permutations=99, seed=0, weight=None):
    domain = np.arange(rows.shape[0]) >= n_source
    members = permuted_domains(domain, n_permutations, np.random.default_rng(seed))
    return column_shifts(columns_of(rows), members, weight)


def test_components_are_named_by_their_words(vectoriser):
    table = read_problem(texts(N), None, texts(N, seed=1), representation=vectoriser).table
    assert len(table.names) == 50 and all(name.startswith(f"component {k}") for k, name in enumerate(table.names, 1))
    between = table.names[1].split("(")[1].rstrip(")").split(", ")  # the first one is what all texts have
    signs = {word.lstrip("−"): word.startswith("−") for word in between}
    assert set(signs) <= {*TOPICS["sport"], *TOPICS["music"]}
    for words in TOPICS.values():
        assert len({signs[word] for word in words if word in signs}) <= 1
    unnamed = read_problem(vectoriser.transform(texts(N)), None, vectoriser.transform(texts(N, seed=1))).table
    words = vectoriser.get_feature_names_out()
    assert [words[int(name.lstrip("−x"))] for name in unnamed.names[1].split("(")[1][:-1].split(", ")] == list(signs)


def test_components_of_the_callers_own_pipeline(vectoriser):
    pipeline = make_pipeline(vectoriser, TruncatedSVD(3, random_state=0)).fit(texts(N))
    names = read_problem(texts(N), None, texts(N, seed=1), representation=pipeline).table.names
    assert names[1].startswith("truncatedsvd1 (") and {*TOPICS["sport"], *TOPICS["music"]} & {
        word.lstrip("−") for word in names[1].split("(")[1][:-1].split(", ")
    }


def test_a_report_names_the_words_behind_a_shift(vectoriser):
    y = [text.split()[0] in TOPICS["sport"] for text in texts(N)]
    options = {"representation": vectoriser, "random_state": 0, "n_permutations": 99}
    report = diagnose(texts(N), y, texts(N, 0.1, seed=1), **options)
    found = {c.column: c for c in report.column_shifts if c.pvalue <= 0.05}
    assert set(found) == {*TOPICS["sport"], *TOPICS["music"]} and "p(x)" in report.shifts
    sport = vectoriser.transform(texts(N))[:, vectoriser.vocabulary_["goal"]]
    assert found["goal"].source == pytest.approx((sport.toarray() > 0).mean()) and found["goal"].target < 0.2
    page = replace(report, features=report.features[:1]).to_html()
    assert all("goal" in told for told in (str(report), page, report.to_json()))
    assert json.loads(report.to_json())["column_shifts"][0]["pvalue"] == report.column_shifts[0].pvalue
    assert "Columns whose frequency changed most" in str(report) and "Columns behind the components" in page
    assert any("one by one" in note for note in report.notes)
    unchanged = tuple(replace(c, pvalue=0.4) for c in report.column_shifts)
    page = replace(report, features=report.features[:1], column_shifts=unchanged).to_html()
    assert "No single column is more or less frequent" in page and "Table of columns" not in page


def test_without_a_shift_no_word_is_named(vectoriser):
    options = {"representation": vectoriser, "random_state": 0, "n_permutations": 99}
    report = diagnose(texts(N), None, texts(N, seed=1), **options)
    assert report.column_shifts == () and "Columns" not in str(report)


def test_the_adjusted_level_is_exact():
    draws, alpha, B = 300, 0.1, 19
    rng, hits = np.random.default_rng(0), 0
    for k in range(draws):
        rows = sp.csr_array(rng.random((90, 40)) < rng.uniform(0.05, 0.9, 40))
        hits += shifts_of(rows, 50, B, k)[0][0].pvalue <= alpha
    assert binom.ppf(1e-4, draws, alpha) <= hits <= binom.ppf(1 - 1e-4, draws, alpha)


def test_which_columns_are_compared():
    rows = np.zeros((60, 5))
    rows[:RARE, 0] = 1  # in enough rows
    rows[: RARE - 1, 1] = 1
    rows[RARE:, 2] = -2.0  # zero in enough rows
    rows[RARE - 1 :, 3] = 1
    shifts, note = shifts_of(rows, 30)
    assert {c.column for c in shifts} == {"x0", "x2"} and "Of the 5 sparse columns the 2 that" in note
    assert {c.column: c.source for c in shifts} == pytest.approx({"x0": 1 / 3, "x2": 2 / 3})
    assert {c.column: c.target for c in shifts} == {"x0": 0, "x2": 1}
    assert shifts_of(rows[:, 3:], 30)[0] == ()


def test_shares_are_weighted():
    rows = (np.arange(60) % 2)[:, None].astype(float)
    weight = np.where(np.arange(60) < 30, np.where(rows[:, 0] > 0, 1.5, 0.5), 1.0)
    (shift,), _ = shifts_of(rows, 30, weight=weight)
    assert (shift.source, shift.target) == pytest.approx((0.75, 0.5))


def test_empty_rows_are_told(vectoriser):
    target = ["" if k % 4 == 0 else text for k, text in enumerate(texts(N, seed=1))]
    notes = read_problem(texts(N), None, target, representation=vectoriser).notes
    assert any("(such as empty texts): 0% of the source, 25% of the target" in note for note in notes)
    assert empty_rows(sp.csr_array(np.eye(20)), 10) == []
