"""ShiftMonitor: no false alarms over whole runs, short delays, a state that survives crashes."""

import copy
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import expit
from scipy.stats import bernoulli, binom, kstest
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline

from shift_detectors import InputError, ShiftWarning
from shift_detectors._monitor import HISTORY, ShiftMonitor
from shift_detectors._monitor_bets import Bank, one_sided, remaining, scores, starting, two_sided
from shift_detectors._monitor_frequency import gains, log_price


def mixed(rng, n, *, age=0.0, ward=(0.5, 0.3, 0.2), gaps=0.1):
    """Numbers, a count, categories, booleans, missing values, dates."""
    income = rng.lognormal(10, 1, n)
    return pd.DataFrame(
        {
            "age": rng.normal(50 + 15 * age, 15, n),
            "income": np.where(rng.random(n) < gaps, np.nan, income),
            "visits": rng.poisson(2, n),
            "ward": rng.choice(["a", "b", "c"], n, p=ward),
            "insured": rng.random(n) < 0.8,
            "day": pd.date_range("2024-01-01", periods=n),
        }
    )


def classes(rng, n, prior=0.5, d=4, flip=False):
    """Two Gaussian classes."""
    y = (rng.random(n) < prior).astype(int)
    X = rng.normal(size=(n, d)) + np.outer(y, [1.5, 0.8, 0, 0][:d])
    return X, (1 - y if flip else y)


def first_alarm(monitor, batches):
    """The batch that raised the alarm, counted from the first of these; None without."""
    start = monitor.batch
    for batch in batches:
        step = monitor.update(*batch) if isinstance(batch, tuple) else monitor.update(batch)
        if step.alarm:
            return step.alarm_batch - start, step
    return None, monitor.step


# ------------------------------------------------------------------ bets and ranks


def test_every_bet_is_fair():
    rng = np.random.default_rng(0)
    bank = Bank(3, 9, two_sided(0.1))
    frame = np.column_stack([rng.integers(0, 8, 200), rng.integers(0, 2, 200), rng.choice([0, 1, 8], 200)])
    bank.place(frame, frame, np.array([True, False, True]))
    p = bank.probability[:, :, None]
    np.testing.assert_allclose((p * np.exp(bank._pays)).sum(axis=1), 1)
    np.testing.assert_allclose(bank.probability.sum(axis=1), 1)
    assert bank.first[0, 0] < -1 and bank.first[0, 7] > 1 and bank.first[2, 8] == 0
    assert sum(starting(s) for s in range(1, 1000)) + remaining(999) == pytest.approx(1)


def test_scores_of_many_bins_are_normal_scores():
    p = np.full((1, 201), 1 / 200)
    p[0, -1] = 0
    first, second = scores(p, np.array([True]))
    from scipy.stats import norm

    expected = norm.ppf((np.arange(200) + 0.5) / 200)
    np.testing.assert_allclose(first[0, 5:195], expected[5:195], atol=0.02)
    np.testing.assert_allclose(second[0, 20:180], ((expected**2 - 1) / np.sqrt(2))[20:180], atol=0.03)


def naive_wealth(bank, pool, batches, rng):
    """The docstring's formula, row by row and start by start, for one view."""
    seen, payoffs = list(pool), []
    for batch in batches:
        tie = rng.random((len(batch), 1))[:, 0]
        factor = np.ones(len(bank.bets[0]))
        for value, t in zip(batch, tie, strict=True):
            u = (sum(v < value for v in seen) + t * (1 + sum(v == value for v in seen))) / (1 + len(seen))
            cell = int(np.searchsorted(np.cumsum(bank.probability[0])[:-1], u, side="right"))
            factor *= np.exp(bank._pays[0, cell])
            seen.append(value)
        payoffs.append(factor)
    wealth = sum(starting(s + 1) * np.prod(payoffs[s:], axis=0) for s in range(len(batches)))
    return wealth.mean() + remaining(len(batches))


def test_wealth_is_the_formula():
    rng = np.random.default_rng(1)
    frame, pool = rng.integers(0, 8, 60), rng.integers(0, 8, 50)
    bank = Bank(1, 9, two_sided(0.1))
    bank.place(frame[:, None], pool[:, None], np.array([True]))
    batches = [rng.integers(2, 8, m) for m in (1, 7, 70)]  # one of them longer than a chunk of rows
    expected = naive_wealth(bank, pool, [b for b in batches if len(b) < 64], np.random.default_rng(5))
    generator = np.random.default_rng(5)
    for block, batch in enumerate(batches[:2], 1):
        bank.update(batch[:, None], starting(block), generator)
    assert bank.log_evidence(remaining(2))[0] == pytest.approx(np.log(expected), rel=1e-10)
    whole, halves = copy.deepcopy(bank), copy.deepcopy(bank)
    whole.update(batches[2][:, None], 0.1, np.random.default_rng(6))
    generator = np.random.default_rng(6)  # the same ties: rows are ranked one after the other, however cut
    halves.update(batches[2][:64, None], 0.1, generator)
    halves.update(batches[2][64:, None], 0.0, generator)
    np.testing.assert_allclose(whole.log_wealth, halves.log_wealth)
    np.testing.assert_array_equal(whole.counts, halves.counts)


def test_wealth_keeps_its_mean_however_small_the_reference():
    rng = np.random.default_rng(2)
    n = 4000  # independent views, all with a pool of eight rows of few values
    bank = Bank(n, 9, (np.array([0.3, -0.3]), np.zeros(2)))
    frame = rng.integers(0, 4, (30, n))
    bank.place(frame, rng.integers(0, 4, (8, n)), np.ones(n, bool))
    for stake in (1.0, 0, 0, 0):
        bank.update(rng.integers(0, 4, (5, n)), stake, rng)
    wealth = np.exp(bank.log_wealth).mean(axis=1)
    assert abs(wealth.mean() - 1) < 4 * wealth.std() / np.sqrt(n)
    assert (wealth >= 4).mean() <= 0.25


def test_evidence_of_a_frequency_is_the_formula():
    """Row by row and start by start: Q up to the change, a bet since, over the likelihood of the best frequency."""
    rng = np.random.default_rng(0)
    draws = [rng.random(n) < p for n, p in ((100, 0.1), (150, 0.05), (40, 0.1), (1, 0.5), (70, 0.4))]
    frame, pool, *batches = draws
    bank = Bank(1, 9, two_sided(0.1))
    bank.place(frame[:, None].astype(int), pool[:, None].astype(int), np.array([False]))
    for block, batch in enumerate(batches, 1):
        bank.update(np.append(batch, 8)[:, None].astype(int), starting(block), rng)  # a missing row says nothing

    def expected(seen):
        return (frame.sum() + sum(seen) + 0.5) / (len(frame) + len(seen) + 1)

    wealth = []
    for amount in sum(bank.bets):
        for start in range(1, len(batches) + 2):
            seen, log = list(pool), sum(bernoulli.logpmf(x, expected(pool[:k])) for k, x in enumerate(pool))
            for block, batch in enumerate(batches, 1):
                m = expected(seen)
                ratio = (1 + abs(amount) / np.sqrt(m * (1 - m))) ** np.sign(amount)
                for x in batch:
                    log += bernoulli.logpmf(x, m * ratio / (1 - m + m * ratio) if block >= start else expected(seen))
                    seen.append(x)
            prior = starting(start) if start <= len(batches) else remaining(len(batches))
            wealth.append(prior * np.exp(log - bernoulli.logpmf(seen, np.mean(seen)).sum()))
    assert np.exp(bank.log_evidence(remaining(len(batches))))[0] == pytest.approx(sum(wealth) / len(bank.bets[0]))


@pytest.mark.parametrize("p", [0.001, 0.03, 0.4, 0.9])
def test_evidence_of_a_frequency_has_no_more_than_its_stake_whatever_the_frequency_is(p):
    n, m = 30, 20
    before, new = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(m + 1)))
    pool, batch = np.column_stack([n - before, before]), np.column_stack([m - new, new])
    frame = np.tile([9.5, 1.5], (len(pool), 1))
    wealth = np.exp(gains(sum(two_sided(0.1)), frame, pool, batch) + log_price(frame, pool + batch)[:, None])
    assert (binom.pmf(before, n, p) * binom.pmf(new, m, p) @ wealth).max() <= 1


@pytest.mark.parametrize("n_reference", [60, 1000])
def test_level_of_frequencies_over_whole_runs(n_reference):
    n, alpha = 600, 0.2
    rng = np.random.default_rng(0)
    p = np.repeat([0.002, 0.01, 0.03, 0.3], n // 4)
    frame, pool, *batches = (rng.random((k, n)) < p for k in (n_reference // 3, 2 * n_reference // 3, *[40] * 25))
    bank, highest = Bank(n, 9, two_sided(0.1)), np.zeros(n)
    bank.place(frame.astype(int), pool.astype(int), np.zeros(n, bool))
    for block, batch in enumerate(batches, 1):
        bank.update(batch.astype(int), starting(block), rng)
        highest = np.maximum(highest, bank.log_evidence(remaining(block)))
    assert (highest >= np.log(1 / alpha)).mean() <= alpha


# ------------------------------------------------------------------ level over the whole run


def null_rate(draw, runs, batches, n_reference, alpha):
    """How many of the runs raise an alarm although nothing changes."""
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng([seed, 9])
        reference = draw(rng, n_reference)
        monitor = ShiftMonitor(*reference, alpha=alpha, random_state=seed)
        alarms += first_alarm(monitor, (draw(rng, int(rng.integers(1, 12))) for _ in range(batches)))[0] is not None
    return alarms


def test_level_over_whole_runs_of_mixed_columns():
    def draw(rng, n):
        X = mixed(rng, n)
        return X, (X["age"].to_numpy() + rng.normal(0, 10, n) > 50).astype(int)

    assert null_rate(draw, 12, 25, 60, alpha=0.3) <= binom.ppf(0.999, 12, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["heavy tails", "few values", "collinear"])
def test_level_with_a_small_reference_and_a_long_stream(kind):
    def draw(rng, n):
        if kind == "heavy tails":
            return (rng.standard_t(1, size=(n, 3)),)
        if kind == "few values":
            return (rng.integers(0, 3, (n, 3)).astype(float),)
        X = rng.normal(size=(n, 3))
        return (np.column_stack([X, X @ [1, 1, 0], X @ [1, -1, 1e-6]]),)

    assert null_rate(draw, 40, 100, 60, alpha=0.3) <= binom.ppf(0.999, 40, 0.3)


@pytest.mark.parametrize(
    "values", [lambda rng, n: rng.zipf(1.5, n), lambda rng, n: rng.integers(0, 300, n)], ids=["Zipf", "300 values"]
)
def test_level_with_rare_values(values):
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng([seed, 11])

        def draw(n, rng=rng):
            return pd.DataFrame({"a": [f"v{k}" for k in values(rng, n)]})

        monitor = ShiftMonitor(draw(600), alpha=0.3, random_state=seed)
        alarms += first_alarm(monitor, (draw(200) for _ in range(8)))[0] is not None
    assert alarms <= binom.ppf(0.999, 12, 0.3)


def test_identifiers_are_left_out_and_values_that_the_frame_lacks_are_new(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=120), "id": [f"{k:08x}" for k in rng.integers(0, 2**32, 120)]})
    assert "'id', because nearly every value is distinct" in ShiftMonitor(X).notes[0]
    assert not ShiftMonitor(X[["a"]].assign(rare=[*["x"] * 110, *"0123456789"])).notes
    monitor = ShiftMonitor(X[["a"]].assign(seldom=[None] * 119 + ["x"]), random_state=1)  # no value in the frame
    monitor.save(tmp_path / "m.npz")
    batch = X[["a"]].assign(seldom="x")[:20]
    assert ShiftMonitor.load(tmp_path / "m.npz").update(batch) == monitor.update(batch)


def test_last_bits_of_computed_numbers_are_no_evidence():
    """Combinations of 0/1 columns have few values, which have to be the same in a batch as in the reference."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        monitor = ShiftMonitor((rng.random((3000, 1)) < 0.3).astype(float), random_state=seed)
        for _ in range(10):
            assert monitor.update((rng.random((500, 1)) < 0.3).astype(float)).log_evidence < np.log(1e4)


def test_sorted_batches_are_no_evidence():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(300, 2)))
    batches = (np.sort(rng.normal(size=(60, 2)), axis=0) for _ in range(20))
    # the rows of a batch may come in any order, the columns of this one are tied together: one of them at a time
    for batch in batches:
        step = monitor.update(np.column_stack([batch[:, 0], rng.normal(size=60)]))
    assert not step.alarm


@pytest.mark.filterwarnings("ignore:Neighbouring rows:shift_detectors.ShiftWarning")
@pytest.mark.parametrize(
    ("batch", "taken_off", "alarms"),
    [(10, None, 10), (365, None, 0), (10, "waves", 0), (10, "earlier means", 0), (10, "own means", 10)],
)
def test_a_season_is_no_change_in_whole_cycles_or_taken_off(batch, taken_off, alarms):
    day = np.arange(365)
    curve = 10 * np.sin(2 * np.pi * day / 365)
    waves = np.column_stack([np.ones(365), np.sin(2 * np.pi * day / 365), np.cos(2 * np.pi * day / 365)])
    found = []
    for seed in range(10):
        earlier, reference, stream = curve + 3 * np.random.default_rng(seed).normal(size=(3, 4, 365))
        season = {
            None: np.zeros(365),
            "waves": waves @ np.linalg.lstsq(waves, reference.mean(axis=0), rcond=None)[0],
            "earlier means": earlier.mean(axis=0),
            "own means": reference.mean(axis=0),
        }[taken_off]
        monitor = ShiftMonitor((reference - season).reshape(-1, 1))
        rows = (stream - season).reshape(-1, 1)
        found.append(first_alarm(monitor, (rows[k : k + batch] for k in range(0, len(rows), batch)))[0] is not None)
    assert abs(sum(found) - alarms) <= binom.ppf(0.999, 10, 0.05)


def test_ranks_are_uniform_after_hundreds_of_batches_against_sixty_rows():
    rng = np.random.default_rng(3)
    monitor = ShiftMonitor(rng.normal(size=(60, 1)))
    pays = []
    original = Bank.update

    def spy(self, bins, stake, generator):
        before = self.log_wealth.copy()
        original(self, bins, stake, generator)
        if self is monitor._bank:
            pays.append((self.log_wealth - np.logaddexp(before, np.log(np.maximum(stake, 1e-300))))[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bank, "update", spy)
        for _ in range(300):
            monitor.update(rng.normal(size=(1, 1)))
    gains = np.exp(np.array(pays))
    assert np.all(np.abs(gains.mean(axis=0) - 1) < 4 * gains.std(axis=0) / np.sqrt(len(gains)))


# ------------------------------------------------------------------ delay


def numbers(change):
    """Reference of 600 rows, ten batches without a change, and batches of 50 rows with one."""
    rng = np.random.default_rng(7)
    monitor = ShiftMonitor(rng.normal(size=(600, 5)))
    for _ in range(10):
        assert not monitor.update(rng.normal(size=(50, 5))).alarm
    return first_alarm(monitor, (change(rng.normal(size=(50, 5)), k) for k in range(40)))


@pytest.mark.parametrize(
    ("change", "longest", "named"),
    [
        (lambda X, k: X + [0, 0.8, 0, 0, 0], 3, "x1"),
        (lambda X, k: X + 0.4, 4, "combination of features"),
        (lambda X, k: X * [1, 1, 2.0, 1, 1], 4, "x2"),
        (
            lambda X, k: np.column_stack([X[:, 0], 0.8 * X[:, 0] + 0.6 * X[:, 1], X[:, 2:]]),
            6,
            "combination of features",
        ),
        (lambda X, k: X + [0, 0, 0, 0.04 * k, 0], 22, "x3"),
        (lambda X, k: np.where([True, False, False, False, False], np.nan, X) if k else X, 4, "missing or new values"),
    ],
    ids=["mean", "many means", "scale", "correlation", "gradual", "missing"],
)
def test_numeric_changes_are_found(change, longest, named):
    delay, step = numbers(change)
    assert delay is not None and delay <= longest
    assert named in step.changed


def test_a_hundred_features():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(600, 100)))
    for _ in range(3):
        assert not monitor.update(rng.normal(size=(100, 100))).alarm
    delay, step = first_alarm(monitor, (rng.normal(size=(100, 100)) + 0.8 * (np.arange(100) == 42) for _ in range(4)))
    assert delay is not None and step.changed[0] == "x42"


def test_mixed_columns_are_named_with_what_changed():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(mixed(rng, 600), exclude=["visits"])
    assert any("'day'" in note for note in monitor.notes)
    assert not first_alarm(monitor, (mixed(rng, 50) for _ in range(10)))[0]
    changed = {"ward": (0.2, 0.3, 0.5), "gaps": 0.5}
    delay, _ = first_alarm(monitor, (mixed(rng, 50, **changed) for _ in range(10)))
    assert delay is not None and delay <= 5
    for _ in range(6):
        step = monitor.update(mixed(rng, 50, **changed))
    found = {evidence.name: evidence for evidence in step.evidence}
    assert {"ward", "income"} <= set(step.changed) and not {"age", "insured", "visits"} & set(step.changed)
    assert found["ward"].direction.startswith(("more 'c'", "less 'a'"))
    assert found["income"].direction.startswith("more missing")
    assert found["ward"].effect.name == "difference of shares"


@pytest.mark.parametrize("value", [0.0, 2e-6])
def test_a_column_that_was_constant_is_found(value):
    rng = np.random.default_rng(0)
    reference = np.column_stack([rng.normal(size=200), np.full(200, 1e-6)])
    monitor = ShiftMonitor(reference)
    monitor.update(reference[:20])
    step = monitor.update(np.column_stack([rng.normal(size=20), np.full(20, value)]))
    (found,) = (evidence for evidence in step.evidence if evidence.name == "x1")
    assert "x1" in step.changed and found.direction.startswith("higher" if value else "lower")


def test_a_new_category_is_found():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(mixed(rng, 600)[["ward", "age"]])
    batches = (mixed(rng, 50)[["ward", "age"]].replace({"ward": {"a": "z"}}) for _ in range(5))
    delay, step = first_alarm(monitor, batches)
    assert delay <= 3 and {"ward", "missing or new values"} & set(step.changed)


@pytest.mark.parametrize("recoded", [{1: 5}, {1: 0.5}, {0: 7, 1: 9}, {2: 2.5}], ids=str)
def test_new_values_of_few_numbers_are_found(recoded):
    """Ranks alone do not tell 5 from 1, where 1 is the largest."""
    rng = np.random.default_rng(0)
    values = [0, 1] if 1 in recoded else [1, 2, 3]

    def rows(n):
        return pd.DataFrame({"flag": rng.choice(values, n), "age": rng.normal(size=n), "visits": rng.poisson(3, n)})

    monitor = ShiftMonitor(rows(600))
    assert first_alarm(monitor, (rows(50) for _ in range(10)))[0] is None
    delay, step = first_alarm(monitor, (rows(50).replace({"flag": recoded}) for _ in range(5)))
    assert delay is not None and delay <= 3
    for found in step.evidence:  # a share is one
        assert found.effect is None or found.effect.name != "difference of shares" or abs(found.effect.value) <= 1


@pytest.mark.slow
def test_new_values_of_few_numbers_are_no_false_alarm():
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        frames = [
            pd.DataFrame({"a": rng.poisson(2, n), "b": rng.choice([1, 2, 30], n, p=[0.5, 0.48, 0.02])})
            for n in (100, *[30] * 8)
        ]
        monitor = ShiftMonitor(frames[0], random_state=seed)
        alarms += first_alarm(monitor, frames[1:])[0] is not None
    assert alarms <= binom.ppf(0.999, 100, 0.05)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_numbers_that_went_missing_are_named(share):
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(mixed(rng, 600, gaps=0.0).drop(columns="day"))
    for _ in range(4):
        step = monitor.update(mixed(rng, 100, gaps=share).drop(columns="day"))
    found = {evidence.name: evidence for evidence in step.evidence}["income"]
    assert found.alarm_batch is not None and found.direction.startswith("more missing (0% -> ")
    assert found.effect.name == "difference of shares" and abs(found.effect.value - share) < 0.1


@pytest.mark.parametrize(("before", "after"), [(0.01, 0.03), (0.005, 0.02), (0.99, 0.97)])
def test_a_rare_value_that_becomes_frequent_is_found(before, after):
    found = []
    for seed in range(6):
        rng = np.random.default_rng([seed, 5])

        def draw(n, p, rng=rng):
            flag, seldom, y = (rng.random((3, n)) < p).astype(int)
            return pd.DataFrame({"flag": flag, "seldom": np.where(seldom, "x", "z"), "a": rng.normal(size=n)}), y

        monitor = ShiftMonitor(*draw(6000, before), random_state=seed)
        for _ in range(6):
            step = monitor.update(*draw(1000, after))
        found += step.changed
    assert min(found.count(name) for name in ("flag", "seldom", "label")) >= 5


def test_label_shift_without_labels_shows_in_the_output_of_a_linear_model():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(*classes(rng, 800))
    delay, step = first_alarm(monitor, (classes(rng, 50, 0.85)[0] for _ in range(15)))
    assert delay is not None and delay <= 8


def test_label_shift_with_few_labels():
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], 800)
    monitor = ShiftMonitor(rng.normal(size=(800, 2)), y)

    def batch(p):
        labels = rng.choice(["a", "b", "c"], 50, p=p).astype(object)
        labels[rng.random(50) < 0.5] = None
        return rng.normal(size=(50, 2)), labels

    assert first_alarm(monitor, (batch([1 / 3] * 3) for _ in range(10)))[0] is None
    delay, step = first_alarm(monitor, (batch([0.7, 0.2, 0.1]) for _ in range(10)))
    assert delay <= 5 and step.changed == ("label",)
    assert step.evidence[0].quantity == "p(y)" and "'" in step.evidence[0].direction


@pytest.mark.parametrize("own", [True, False])
def test_concept_shift_shows_in_the_error_of_the_model(own):
    rng = np.random.default_rng(0)
    model = None if own else LogisticRegression().fit(*classes(rng, 500))
    monitor = ShiftMonitor(*classes(rng, 800), estimator=model)
    assert first_alarm(monitor, (classes(rng, 50) for _ in range(8)))[0] is None

    def turned():
        X, y = classes(rng, 50)
        return X, np.where(rng.random(50) < 0.4, 1 - y, y)

    delay, step = first_alarm(monitor, (turned() for _ in range(10)))
    assert delay <= 5 and step.changed[0] == "error of the model" and step.evidence[0].quantity == "p(x, y)"


def test_a_model_of_a_rare_class_that_lost_all_skill_is_seen():
    """The frequency of the class stays, so that the errors of all rows together hardly move."""
    rng = np.random.default_rng(0)

    def sample(n, slope, intercept):
        X = rng.normal(size=(n, 4))
        return X, (rng.random(n) < expit(intercept + slope * (X[:, 0] + 0.8 * X[:, 1]))).astype(int)

    model = LogisticRegression().fit(*sample(4000, 1, -3))
    monitor = ShiftMonitor(*sample(3000, 1, -3), estimator=model)
    assert first_alarm(monitor, (sample(200, 1, -3) for _ in range(4)))[0] is None
    delay, step = first_alarm(monitor, (sample(200, 0, -2.45) for _ in range(26)))
    assert delay is not None and step.changed == ("error of the model",)
    assert "higher" in step.evidence[0].direction and "among rows of '1'" in step.evidence[0].direction


def test_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 3))
    y = X @ [1, 2, 0] + rng.normal(size=900)
    monitor = ShiftMonitor(X[300:], y[300:], estimator=LinearRegression().fit(X[:300], y[:300]))

    def batch(slope):
        rows = rng.normal(size=(50, 3))
        return rows, rows @ [1, slope, 0] + rng.normal(size=50)

    assert first_alarm(monitor, (batch(2) for _ in range(8)))[0] is None
    for _ in range(6):
        step = monitor.update(*batch(0.5))
    assert step.alarm_batch > 8 and "error of the model" in step.changed  # the label spreads less, too


def test_single_rows():
    rng = np.random.default_rng(1)
    monitor = ShiftMonitor(rng.normal(size=(400, 2)))
    for _ in range(150):
        step = monitor.update(rng.normal(size=(1, 2)))
    assert not step.alarm and step.n_rows == 150
    delay, step = first_alarm(monitor, (rng.normal(size=(1, 2)) + [1.5, 0] for _ in range(100)))
    assert 0 < delay <= 40 and "x0" in step.evidence[0].name + step.evidence[0].direction


def test_what_is_smaller_than_half_the_least_effect_is_not_called():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(20_000, 1)), min_effect=0.2)
    for _ in range(30):
        step = monitor.update(rng.normal(size=(1000, 1)) + 0.08)
    assert not step.alarm
    monitor = ShiftMonitor(rng.normal(size=(20_000, 1)), min_effect=0.05)
    assert first_alarm(monitor, (rng.normal(size=(1000, 1)) + 0.08 for _ in range(30)))[0] is not None


@pytest.mark.parametrize("p", [0.02, 0.3])
def test_a_frequency_counts_in_standard_deviations(p):
    rng = np.random.default_rng(0)
    moved = p + 0.06 * np.sqrt(p * (1 - p))
    monitors = [ShiftMonitor((rng.random((40_000, 1)) < p).astype(float), min_effect=least) for least in (0.2, 0.05)]
    for _ in range(14):
        batch = (rng.random((2000, 1)) < moved).astype(float)
        steps = [monitor.update(batch) for monitor in monitors]
    assert [step.alarm for step in steps] == [False, True]


def test_the_verdict_stays_while_the_evidence_falls():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(300, 1)))
    _, step = first_alarm(monitor, (rng.normal(size=(50, 1)) + 1 for _ in range(5)))
    raised = step.alarm_batch
    for _ in range(60):
        step = monitor.update(rng.normal(size=(50, 1)))
    assert step.alarm and step.alarm_batch == raised and step.changed == ("x0",)
    assert step.log_evidence < max(monitor._history[:, 1:].max(axis=1))


def told(monitor, name):
    """The evidence of this name, which has raised an alarm."""
    (found,) = (evidence for evidence in monitor.step.evidence if evidence.name == name)
    assert found.alarm_batch is not None
    return found


@pytest.mark.parametrize("seed", range(4))
def test_an_alarm_tells_the_change_since_it_began(tmp_path, seed):
    rng = np.random.default_rng(seed)

    def draw(n, share=0.5, move=0.0):
        ill = np.where(rng.random(n) < share, "a", "b")
        return pd.DataFrame({"ill": ill, "x": rng.normal(move, 1, n), "z": rng.normal(size=n)})

    # standard errors: 0.15 sd and 0.016 after one batch of 50 and 950 rows before, smaller after more
    share, moved = (ShiftMonitor(draw(600), random_state=seed) for _ in range(2))
    for _ in range(7):
        assert not share.update(draw(50)).alarm and not moved.update(draw(50)).alarm
    for batches in range(1, 21):
        share.update(draw(50, share=1.0))
        moved.update(draw(50, move=2.0))
        found = told(share, "ill")
        before, after = found.direction.split("(")[1].rstrip(")").split(" -> ")
        more = found.direction.startswith("more")
        assert abs(float(after.rstrip("%")) - (100 if more else 0)) < 3 and abs(float(before.rstrip("%")) - 50) < 7
        assert abs(abs(found.effect.value) - 0.5) < 0.07
        assert abs(told(moved, "x").effect.value - 2) < (0.5 if batches < 5 else 0.3)
    moved.save(tmp_path / "m.npz")
    assert ShiftMonitor.load(tmp_path / "m.npz").step == moved.step


@pytest.mark.parametrize("move", [1.0, 5.0])
def test_the_change_is_told_for_labels_and_heavy_tails(move):
    rng = np.random.default_rng(0)

    def draw(n, move=0.0, prior=0.3):
        wild = np.where(rng.random(n) < 0.01, 1e9, 0)
        X = np.column_stack([rng.normal(size=n) + wild + move, rng.normal(size=n)])
        return X, np.where(rng.random(n) < prior, "ill", "well")

    monitor = ShiftMonitor(*draw(800))
    for _ in range(6):
        assert not monitor.update(*draw(60)).alarm
    for _ in range(6):
        monitor.update(*draw(60, move, 0.9))
    # a hundredth of the values counts as 10: they make the standard deviation 1.4
    assert abs(told(monitor, "x0").effect.value - move / 1.4) < 0.15 * move + 0.1
    assert abs(abs(told(monitor, "label").effect.value) - 0.6) < 0.1


def test_a_change_that_passed_is_not_told_any_longer():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(600, 2)))
    for k in range(60):
        monitor.update(rng.normal(size=(50, 2)) + [1.0 * (10 <= k < 15), 0])
        if k == 14:
            assert abs(told(monitor, "x0").effect.value - 1) < 0.25
    assert abs(told(monitor, "x0").effect.value) < 0.3


def test_an_unchanged_stream_tells_no_change():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(600, 4)))
    clear = 0
    for _ in range(30):
        step = monitor.update(rng.normal(size=(50, 4)))
        clear += sum(e.effect is not None and e.effect.value != 0 for e in step.evidence)
    assert not step.alarm and clear < 0.2 * 30 * 5


# ------------------------------------------------------------------ state


def test_same_seed_same_evidence_and_nothing_of_the_caller_changes():
    rng = np.random.default_rng(0)
    reference, batch = mixed(rng, 200), mixed(rng, 30)
    kept = reference.copy(), batch.copy()
    steps = [ShiftMonitor(reference, random_state=4).update(batch) for _ in range(2)]
    assert steps[0] == steps[1] != ShiftMonitor(reference, random_state=5).update(batch)
    pd.testing.assert_frame_equal(reference, kept[0])
    pd.testing.assert_frame_equal(batch, kept[1])


@pytest.mark.parametrize("labels", [None, "class", "number"])
def test_a_restored_monitor_goes_on_bit_for_bit(tmp_path, labels):
    rng = np.random.default_rng(0)

    def draw(n):
        X = mixed(rng, n)
        return X, {None: None, "class": rng.choice(["u", "v"], n), "number": X["age"] + rng.normal(size=n)}[labels]

    one = ShiftMonitor(*draw(200))
    one.origin = "here"
    for k in range(9):
        one.update(*draw(20), name=f"batch {k}")
    one.save(tmp_path / "m.npz")
    two = ShiftMonitor.load(tmp_path / "m.npz")
    assert two.step == one.step and repr(two) == repr(one) and two.notes == one.notes and two.origin == "here"
    assert two.has_seen("batch 3") and not two.has_seen("batch 9")
    for _ in range(12):
        batch = draw(17)
        assert one.update(*batch) == two.update(*batch)
    one.save(tmp_path / "one.npz")
    two.save(tmp_path / "two.npz")
    with np.load(tmp_path / "one.npz") as a, np.load(tmp_path / "two.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def test_memory_does_not_grow(tmp_path):
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(100, 2)))
    sizes = []
    for k in range(2 * HISTORY + 150):
        monitor.update(rng.normal(size=(1, 2)))
        if k in (HISTORY + 20, 2 * HISTORY + 30):
            monitor.save(tmp_path / "m.npz")
            sizes.append((tmp_path / "m.npz").stat().st_size)
    assert len(monitor._history) <= HISTORY and monitor._every == 4
    assert sizes[1] <= sizes[0] + 200


CRASH = """
import sys
import numpy as np
from shift_detectors._monitor import ShiftMonitor

path = sys.argv[1]
rng = np.random.default_rng(0)
monitor = ShiftMonitor(rng.normal(size=(200, 3)))
monitor.save(path)
print("ready", flush=True)
for k in range(100_000):
    monitor.update(np.random.default_rng(k).normal(size=(20, 3)), name=str(k))
    monitor.save(path)
"""


def test_a_killed_process_loses_at_most_the_batch_in_flight(tmp_path):
    path = tmp_path / "state.npz"
    process = subprocess.Popen([sys.executable, "-c", CRASH, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    restored = []
    for _ in range(3):  # running: whatever stands on disk at any moment can be read
        time.sleep(0.15)
        restored.append(ShiftMonitor.load(path).batch)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    monitor = ShiftMonitor.load(path)
    assert restored == sorted(restored) and monitor.batch >= restored[-1]
    assert monitor.batch == 0 or monitor.has_seen(str(monitor.batch - 1))
    assert not monitor.has_seen(str(monitor.batch))
    whole = ShiftMonitor(np.random.default_rng(0).normal(size=(200, 3)))
    for k in range(monitor.batch + 2):
        batch = np.random.default_rng(k).normal(size=(20, 3))
        step = whole.update(batch)
        if k >= monitor.batch:
            assert monitor.update(batch, name=str(k)) == step


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(100, 2)))
    monitor.save(tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()
    monitor.update(rng.normal(size=(5, 2)))

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        monitor.save(tmp_path / "m.npz")
    assert (tmp_path / "m.npz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_names_of_batches_that_are_not_in_utf_8(tmp_path):
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(100, 2)))
    name = "week-\udcff.csv"  # as Python has names that the system wrote in another encoding
    step = monitor.update(rng.normal(size=(200, 2)) + 3, name=name)
    monitor.save(tmp_path / "m.npz")
    assert ShiftMonitor.load(tmp_path / "m.npz").has_seen(name)
    assert json.loads(step.to_json(tmp_path / "m.json"))["alarm_name"] == name
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["alarm_name"] == name
    str(step).encode()


def test_files_that_are_no_monitor(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "m.npz"
    with pytest.raises(InputError, match="does not exist"):
        ShiftMonitor.load(path)
    ShiftMonitor(rng.normal(size=(100, 2))).save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 100]) + whole[middle + 100 :]
    for content in (b"", b"hello", whole[:middle], damaged):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"m.npz is damaged or no monitor.*delete it and start"):
            ShiftMonitor.load(path)
    np.savez(path, x=np.ones(3))
    with pytest.raises(InputError, match="no monitor"):
        ShiftMonitor.load(path)
    for version in (3, 5, 99):
        np.savez(path, meta=np.frombuffer(json.dumps({"format": version}).encode(), np.uint8))
        with pytest.raises(InputError, match=f"format {version}.*or start a new monitor from the reference"):
            ShiftMonitor.load(path)


def test_a_state_with_other_content(tmp_path):
    path = tmp_path / "m.npz"
    ShiftMonitor(np.random.default_rng(0).normal(size=(100, 2))).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta").tobytes())

    def refused(meta, arrays):
        np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
        with pytest.raises(InputError, match=r"m.npz is damaged or no monitor.*delete it and start"):
            ShiftMonitor.load(path)

    refused([meta], arrays)
    for name in ("has", "reader", "counters", "alarm"):
        refused({key: value for key, value in meta.items() if key != name}, arrays)
    for name in ("views", "counters", "alarm"):
        refused(meta | {name: ["other"]}, arrays)
    for name in ("names", "bank.counts", "geometry.frame"):
        refused(meta, {key: value for key, value in arrays.items() if key != name})


def test_a_model_is_given_again(tmp_path):
    rng = np.random.default_rng(0)
    model = LogisticRegression().fit(*classes(rng, 200))
    monitor = ShiftMonitor(*classes(rng, 200), estimator=model)
    monitor.update(classes(rng, 20)[0])
    monitor.save(tmp_path / "m.npz")
    with pytest.raises(InputError, match="saved with estimator="):
        ShiftMonitor.load(tmp_path / "m.npz")
    batch = classes(rng, 20)
    assert ShiftMonitor.load(tmp_path / "m.npz", estimator=model).update(*batch) == monitor.update(*batch)


# ------------------------------------------------------------------ input and output


def test_types_of_rows_agree():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    steps = []
    for kind in (np.asarray, pd.DataFrame, sp.csr_array, lambda rows: rows.tolist()):
        monitor = ShiftMonitor(kind(X[:100]))
        steps.append(monitor.update(kind(X[100:])).log_evidence)
    assert len(set(steps)) == 1
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    monitor = ShiftMonitor(frame[:100])
    assert monitor.update(frame.loc[100:, ["c", "a", "b"]]).log_evidence == steps[0]


def test_a_column_that_comes_as_another_type():
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(mixed(rng, 100))
    batch = mixed(rng, 10)
    step = copy.deepcopy(monitor).update(batch)
    same = batch.assign(ward=batch["ward"].astype("category"), visits=batch["visits"].astype(object))
    assert copy.deepcopy(monitor).update(same.drop(columns="day")) == step
    empty = copy.deepcopy(monitor).update(batch.assign(income=np.nan, ward=None))
    assert np.isfinite(empty.log_evidence)
    for column, values in (("age", "old"), ("ward", 1.5), ("insured", 0.5)):
        with pytest.raises(InputError, match=column):
            monitor.update(batch.assign(**{column: values}))
    assert monitor.batch == 0 and monitor.update(batch) == step  # what failed has left no trace


def test_wrong_input():
    rng = np.random.default_rng(0)
    X, y = classes(rng, 100)
    monitor = ShiftMonitor(X, y)
    frame = ShiftMonitor(mixed(rng, 100))
    cases = [
        (lambda: ShiftMonitor(X[:50]), "X_reference has 50 rows; accepted: at least 60"),
        (lambda: ShiftMonitor(X, y[:50]), "y_reference has 50 labels"),
        (lambda: ShiftMonitor(X, alpha=0), "alpha is 0"),
        (lambda: ShiftMonitor(X, min_effect=-1), "min_effect is -1"),
        (lambda: ShiftMonitor(X, random_state=None), "random_state is None"),
        (lambda: ShiftMonitor(X, estimator=object()), "without predict"),
        (
            lambda: ShiftMonitor(X, y, estimator=LogisticRegression().fit(X, y), task="regression"),
            "is a classifier and the task",
        ),
        (
            lambda: ShiftMonitor(X, y + 0.5, estimator=LogisticRegression().fit(X, y)),
            "y_reference holds numbers with a fraction with task='classification'",
        ),
        (lambda: ShiftMonitor(X, estimator=LogisticRegression()), "cannot predict these rows"),
        (lambda: ShiftMonitor(mixed(rng, 100)[["day"]]), "no column that can be watched"),
        (lambda: monitor.update(X[:0]), "X_batch is empty"),
        (lambda: monitor.update(X[:5, :3]), "X_batch has 3 columns, X_reference has 4"),
        (lambda: monitor.update(X[0]), "one-dimensional"),
        (lambda: monitor.update(np.full((3, 4), np.inf)), "infinite values"),
        (lambda: monitor.update(X[:5], y[:4]), "y_batch has 4 labels"),
        (lambda: monitor.update(X[:5], list("abcde")), "y_batch holds text while y_reference holds whole"),
        (lambda: frame.update(mixed(rng, 5), np.ones(5)), "the reference has no labels"),
        (lambda: frame.update(mixed(rng, 5).drop(columns="age")), "X_batch lacks 'age'"),
        (lambda: frame.update(mixed(rng, 5).assign(more=1)), "has 'more' that X_reference has not"),
        (lambda: monitor.save("/no/such/folder/m.npz"), "the folder /no/such/folder does not exist"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    assert monitor.batch == frame.batch == 0


def test_the_task_is_that_of_the_model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = rng.poisson(2, 200)
    monitor = ShiftMonitor(X, y, estimator=PoissonRegressor().fit(X, y))
    assert monitor.update(X[:50], y[:50] + 0.5).n_labelled == 50
    with pytest.raises(InputError, match="y_batch holds fractions"):
        ShiftMonitor(X, y).update(X[:50], y[:50] + 0.5)


def test_a_reference_of_dependent_rows_gets_a_warning():
    walk = np.random.default_rng(0).normal(size=(300, 1)).cumsum(axis=0)
    with pytest.warns(ShiftWarning, match="independent rows"):
        ShiftMonitor(walk)


def test_words_and_json(tmp_path):
    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(300, 2)))
    assert str(monitor) == "No alarm after 0 batches, 0 rows: evidence 0.18 (alarm at 20)."
    assert repr(monitor) == "<ShiftMonitor: 2 features, 0 batches, no alarm>"
    for k in range(4):
        monitor.update(rng.normal(size=(50, 2)) + [1.2, 0], name=f"day {k}")
    assert str(monitor).startswith("Alarm at batch 1 (day 0) of 4 batches, 200 rows; now evidence")
    assert "\n  x0: higher (+" in str(monitor) and "[p(x)]" in str(monitor)
    assert repr(monitor) == "<ShiftMonitor: 2 features, 4 batches, alarm at batch 1>"
    monitor.to_json(tmp_path / "m.json")
    answer = json.loads((tmp_path / "m.json").read_text())
    assert answer == monitor.to_dict() and answer["alarm"] is True and answer["evidence"][0]["name"] == "x0"


def test_plot():
    import matplotlib
    from matplotlib.figure import Figure

    rng = np.random.default_rng(0)
    monitor = ShiftMonitor(rng.normal(size=(300, 8)))
    settings = dict(matplotlib.rcParams)
    assert monitor.plot().get_ylabel() == "evidence"  # before the first batch
    for _ in range(6):
        monitor.update(rng.normal(size=(50, 8)) + 2 * (np.arange(8) == 3))
    ax = Figure().add_subplot()
    assert monitor.plot(ax, top=3) is ax
    texts = [text.get_text() for text in ax.texts]
    assert "x3" in texts and any(text.startswith("alarm at batch") for text in texts)
    ax.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == settings


def test_uniform_ranks_pass_a_kolmogorov_test():
    rng = np.random.default_rng(4)
    bank = Bank(1, 9, one_sided())
    bank.place(rng.integers(0, 8, (50, 1)), rng.integers(0, 3, (20, 1)), np.array([True]))
    ranks, values = [], rng.integers(0, 3, 400)
    for value in values:
        counts = bank.counts[0].copy()
        u = (counts[:value].sum() + rng.random() * (1 + counts[value])) / (1 + counts.sum())
        ranks.append(u)
        bank.update(np.array([[value]]), 0.0, rng)
    assert kstest(ranks, "uniform").pvalue > 1e-3
    assert bank.counts.sum() == 420


# ------------------------------------------------------------------ representation


def sparse_rows(n, seed, shift=0.0):
    """Counts of words that come in topics."""
    rng = np.random.default_rng(seed)
    topic = rng.random((n, 4)) < 0.3 + shift
    return sp.csr_matrix(rng.poisson(0.05 + 0.4 * np.repeat(topic, 60, axis=1)).astype(float))


def test_an_unfitted_representation_is_fitted_on_rows_that_the_stream_is_not_ranked_among(tmp_path):
    alarms = 0
    for seed in range(6):
        svd = TruncatedSVD(30)
        monitor = ShiftMonitor(sparse_rows(240, [0, seed]), representation=svd, random_state=seed)
        alarms += any(monitor.update(sparse_rows(60, [1, seed, k])).alarm for k in range(8))
        assert not hasattr(svd, "components_")
    assert alarms <= 2  # of six at .05 each, more have a chance of .002
    rows, (frame, pool, _) = sparse_rows(240, [0, 5]), monitor._apart(240)
    expected = TruncatedSVD(30, random_state=0).fit(rows[frame])
    np.testing.assert_allclose(monitor.representation.components_, expected.components_)
    assert len(pool) == 160 and not set(pool) & set(frame)

    monitor.save(tmp_path / "m.npz")
    with pytest.raises(InputError, match=r"not fitted.*the attribute `representation`"):
        ShiftMonitor.load(tmp_path / "m.npz", representation=TruncatedSVD(30))
    loaded = ShiftMonitor.load(tmp_path / "m.npz", representation=monitor.representation)
    moved = sparse_rows(300, 2, 0.3)
    assert loaded.update(moved).to_dict() == monitor.update(moved).to_dict() and monitor.step.alarm


def test_texts_with_an_unfitted_pipeline():
    texts = [" ".join(f"w{k}" for k in row.indices) for row in sparse_rows(200, 0)]
    pipeline = make_pipeline(TfidfVectorizer(), TruncatedSVD(4))
    monitor = ShiftMonitor(texts, representation=pipeline)
    assert not monitor.update(texts[:50]).alarm and "vocabulary_" not in vars(pipeline[0])
    with pytest.raises(InputError, match="X_reference is None"):
        ShiftMonitor(None, representation=pipeline)


def test_a_representation_that_was_fitted_on_the_reference_is_told():
    rows = np.random.default_rng(0).normal(size=(90, 3))
    with pytest.warns(ShiftWarning, match="fitted on the rows of X_reference.*Pass it unfitted"):
        ShiftMonitor(rows, representation=PCA(2).fit(rows))
