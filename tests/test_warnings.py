"""Warnings are set aside in one thread, for a while, and the filters of the process stay what they were."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import da_toolkit
import shift_detectors
from da_toolkit._base import BaseAdapter
from da_toolkit._model import fit_weighted
from shift_detectors import ShiftWarning, diagnose
from shift_detectors._warnings import OURS, ignored, no_filters_left


def test_only_what_is_named_is_ignored():
    with pytest.warns(UserWarning) as seen, ignored(ShiftWarning, "no .*s"):
        warnings.warn("no news", ShiftWarning, stacklevel=1)
        warnings.warn("other news", ShiftWarning, stacklevel=1)
        warnings.warn("no news", UserWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["other news", "no news"]


def test_what_was_shown_once_is_recorded_again():
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for _ in range(2):
            with ignored() as texts:
                warnings.warn("no news", stacklevel=1)
            assert texts == ["no news"]
            with pytest.warns(UserWarning):
                warnings.warn("no news", stacklevel=1)


def test_inner_filters_end_before_outer_ones():
    with ignored() as texts:
        with ignored(RuntimeWarning):
            warnings.warn("within", RuntimeWarning, stacklevel=1)
        warnings.warn("behind", RuntimeWarning, stacklevel=1)
    assert texts == ["behind"]


def test_threads_that_overlap_leave_nothing_behind_and_ignore_their_own():
    before, step = list(warnings.filters), Barrier(2, timeout=10)

    def work(first):
        if not first:
            step.wait()
        with ignored() as texts:
            if first:
                step.wait()
            step.wait()  # both are inside, and the first to enter is the first to leave
            warnings.warn(f"{first}", stacklevel=1)
            if not first:
                step.wait()
        if first:
            step.wait()
        return texts

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [True, False])) == [["True"], ["False"]]
    assert warnings.filters == before


def test_other_filters_may_come_and_go_meanwhile():
    before = list(warnings.filters)
    caught = warnings.catch_warnings()
    with ignored():
        caught.__enter__()
        warnings.simplefilter("always")
    caught.__exit__(None, None, None)
    assert warnings.filters == before


@pytest.mark.filterwarnings("default")  # scikit-learn's trees catch warnings, too, not safely in threads
def test_diagnosing_in_threads_leaves_nothing_ignored():
    def ignoring():
        return {entry[2] for entry in warnings.filters if entry[0] == "ignore"}

    rng, before = np.random.default_rng(0), ignoring()
    X, y, X_target = rng.normal(size=(80, 2)), rng.integers(0, 2, 80), rng.normal(size=(80, 2)) + 1
    with ThreadPoolExecutor(4) as pool:
        kinds = set(pool.map(lambda seed: diagnose(X, y, X_target, random_state=0).verdict.kind, range(8)))
    assert len(kinds) == 1 and ignoring() == before


def test_copies_that_others_made_go_with_the_last_one():
    with no_filters_left():
        with ignored(UserWarning):
            warnings.filterwarnings("ignore", warnings.filters[0][1].pattern, UserWarning)  # as scikit-learn's threads
        assert any(getattr(entry[1], "pattern", "") for entry in warnings.filters if entry[2] is UserWarning)
    assert not any(OURS in str(getattr(entry[1], "pattern", "")) for entry in warnings.filters)


def test_nothing_else_changes_the_filters_of_the_process():
    files = [path for package in (shift_detectors, da_toolkit) for path in Path(package.__file__).parent.rglob("*.py")]
    users = [path.parts[-2:] for path in files if "warnings.catch_warnings(" in path.read_text(encoding="utf-8")]
    assert users == [("cli", "_output.py")]  # a program, not a library


class Twice(BaseAdapter):
    """Warns of the resampled rows in every fit of its model, of which the first is ignored."""

    def __init__(self, estimator):
        self.estimator = estimator

    def _fit(self, domains):
        self.front_ = None
        weight = np.ones(len(domains.y))
        with ignored(ShiftWarning):
            fit_weighted(self.estimator, domains.X, domains.y, weight)
        for _ in range(2):
            self.head_ = fit_weighted(self.estimator, domains.X, domains.y, weight)


def test_a_fit_says_it_once_and_points_at_the_line_of_the_user():
    X, y = np.repeat(np.random.default_rng(0).normal(size=(20, 4)), 10, axis=0), np.arange(200) % 2
    adapter = Twice(KNeighborsClassifier())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        adapter.fit(X, y, X)
        adapter.fit(X, y, X)
        diagnose(X, y, X, n_permutations=99)
    assert [warning.filename for warning in seen] == [__file__] * len(seen)
    assert [str(warning.message)[:20] for warning in seen][:2] == ["KNeighborsClassifier"] * 2 and len(seen) >= 3
