"""How many labels reveal a change of p(y|x): what rows count for that stand alone, or belong together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from shift_detectors import diagnose
from shift_detectors._label_noise import SharedNoise, noise_of_difference, shared_noise
from shift_detectors._text import budget_sentence
from shift_detectors._warnings import ignored

GROUPS = {
    "apart": (np.repeat(np.arange(6), [5, 10, 20, 5, 5, 15]), np.repeat(np.arange(10, 15), [30, 5, 5, 20, 10])),
    "both sides": (np.repeat(np.arange(8), 10), np.repeat(np.arange(4, 12), [5, 20, 5, 20, 10, 5, 5, 10])),
    "alone": (np.arange(60), np.arange(60, 130)),
}


def domains(rng, common, n_groups=30, size=20):
    """Rows of one law in groups, of which a part `common` of the noise of y is an effect of the group."""
    sides = []
    for first in (0, n_groups):
        groups = np.repeat(np.arange(first, first + n_groups), size)
        X, own = rng.normal(size=(len(groups), 2)), rng.normal(size=(n_groups, 1)).repeat(size)
        sides += [X, X[:, 0] + common**0.5 * own + (1 - common) ** 0.5 * rng.normal(size=len(groups)), groups]
    return sides


@pytest.mark.parametrize("case", GROUPS)
@pytest.mark.parametrize("common", [0.0, 0.3, 1.0])
def test_noise_of_a_difference_is_that_of_drawn_labels(case, common):
    """Its variance over 20 000 draws of the noise and of 25 labels: within five standard errors, sqrt(2 / 20 000)."""
    rng, draws, m = np.random.default_rng(0), 20_000, 25
    own, other = GROUPS[case]
    groups = np.r_[own, other]
    drawn = np.argsort(rng.random((draws, len(other))), axis=1)[:, :m] + len(own)
    y = (1 - common) ** 0.5 * rng.normal(size=(draws, len(groups)))
    y += common**0.5 * rng.normal(size=(draws, groups.max() + 1))[:, groups]
    difference = np.take_along_axis(y, drawn, axis=1).mean(axis=1) - y[:, : len(own)].mean(axis=1)
    shared = shared_noise(np.ones(len(own)), groups)
    noise, _ = noise_of_difference(m, len(own), SharedNoise(**{**vars(shared), "share": common}))
    assert difference.var() == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_what_rows_of_a_group_share_is_measured_on_the_source(common):
    """Of 300 groups of two the correlation of residuals is known to about 1 / sqrt(300) = .058."""
    X, y, groups, X_target, _, groups_target = domains(np.random.default_rng(0), common, 300, 2)
    shared = shared_noise(y - X[:, 0], np.r_[groups, groups_target])
    assert shared.share == pytest.approx(common, abs=0.2)
    assert (shared.source, shared.target, shared.across) == (1 / 599, 1 / 599, 0)
    assert noise_of_difference(100, 600, SharedNoise(0, 0, 0, 0, 1200)) == noise_of_difference(100, 600, None)


def test_no_number_of_labels_averages_out_what_few_groups_share():
    X, y, groups, X_target, y_target, groups_target = domains(np.random.default_rng(0), 0.5)
    kw: Any = {"n_permutations": 99, "random_state": 0}
    rows = diagnose(X, y, X_target, **kw)
    together = diagnose(X, y, X_target, groups=groups, groups_target=groups_target, **kw)
    assert 10 < (rows.label_budget(effect=0.3).labels or 0) < 600
    assert together.label_budget(effect=0.3).labels is None
    assert together.detectable_change(600) > 2 * rows.detectable_change(600)
    assert "with 600 source rows and 60 groups no number of them reveals 0.1" in budget_sentence(together)
    assert "label rows of further groups" in together.next_steps[-1]


def test_where_the_test_cannot_reject_no_number_of_labels_tells():
    X, y, groups, X_target, _, groups_target = domains(np.random.default_rng(0), 0.5, 3, 60)
    for own, other in ((groups, groups_target), (np.repeat(np.arange(20), 9), np.full(180, 20))):
        with ignored(UserWarning):  # of a single group
            report = diagnose(X, y, X_target, groups=own, groups_target=other, n_permutations=99, random_state=0)
        assert report.detectable_change(10**6) == math.inf and report.label_budget(effect=100).labels is None
        assert budget_sentence(report).startswith("No number of labels would tell")


def test_without_labels_of_the_source_no_number_of_labels_tells():
    rng = np.random.default_rng(0)
    report = diagnose(rng.normal(size=(80, 2)), None, rng.normal(size=(80, 2)), n_permutations=99, random_state=0)
    assert report.label_budget().labels is None and report.detectable_change(100) == math.inf
