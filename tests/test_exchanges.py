"""Where groups leave no test a chance, no verdict rests on its silence."""

from __future__ import annotations

from html import unescape

import numpy as np
import pytest

from shift_detectors import diagnose
from shift_detectors._exchanges import least_by_exchange, least_by_signs
from shift_detectors._permutation import permuted_domains, random_signs

DESIGNS = {
    "2 and 2": ([0, 0, 1, 2, 3, 3], [0, 0, 0, 1, 1, 1]),
    "1 and 5": ([0, 0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 1, 1, 1]),
    "one of both": ([0, 0, 0, 1, 2], [0, 1, 1, 0, 1]),
    "both of both": ([0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 0]),
}


def sides(n_source, n_target, rows=20, moved=0.0, seed=0):
    """Independent rows in so many groups a side; y is x and noise."""
    rng = np.random.default_rng(seed)
    X, X_target = (rng.normal(size=(n * rows, 2)) + shift for n, shift in ((n_source, 0), (n_target, moved)))
    y, y_target = (rows[:, 0] + rng.normal(size=len(rows)) for rows in (X, X_target))
    return X, y, X_target, y_target, np.repeat(np.arange(n_source), rows), np.repeat(np.arange(n_target), rows)


@pytest.mark.parametrize("design", DESIGNS)
def test_assignments_are_counted(design):
    """As many as 2000 random permutations find; of signs those that differ by more than all signs at once."""
    groups, domain = map(np.array, DESIGNS[design])
    members = permuted_domains(domain, 2000, np.random.default_rng(0), groups)
    assert 1 / least_by_exchange(domain, groups) == pytest.approx(len(np.unique(members, axis=1).T))
    signs = random_signs(len(groups), 2000, np.random.default_rng(0), groups)
    assert 1 / least_by_signs(groups) == len(np.unique(signs * signs[:1], axis=1).T)


@pytest.mark.parametrize("labels", ["none", "source", "all"])
def test_where_no_test_can_reject_nothing_is_said_to_be_alike(labels):
    X, y, X_target, y_target, groups, groups_target = sides(2, 2, moved=3)
    y, y_target = (None if labels == "none" else y), (y_target if labels == "all" else None)
    kw = {"groups": groups, "groups_target": groups_target + 2, "random_state": 0, "n_permutations": 99}
    report = diagnose(X, y, X_target, y_target, **kw)
    assert (report.verdict.kind, report.verdict.strength) == ("none", "assumed")
    assert "p(x)" in report.verdict.untestable and (labels != "all" or len(report.verdict.untestable) == 4)
    text = " ".join(str(report).split())
    assert text.startswith("Whether there is a shift cannot be told from these data.")
    assert "look alike" not in text and "cannot be told, too few groups" in text
    assert report.next_steps[0].startswith("Compare more groups")
    found = unescape(report.to_html().split("<h2>What differs")[1].split("</section>")[0])
    assert found.count("<li><b>p(x)</b>") == 1 and "cannot be told, too few groups" in found


@pytest.mark.parametrize("labelled", [False, True])
def test_enough_groups_do_not_change_the_verdict(labelled):
    X, y, X_target, y_target, groups, groups_target = sides(8, 8)
    kw = {"groups": groups, "groups_target": groups_target + 8, "random_state": 0, "n_permutations": 99}
    report = diagnose(X, y, X_target, y_target if labelled else None, **kw)
    assert (report.verdict.kind, report.verdict.strength) == ("none", "consistent")
    assert report.verdict.untestable == (() if labelled else ("p(y|x)",))


def test_what_is_taken_as_equal_has_to_be_tested():
    """Rows of four groups change sides, so that p(x) is tested; of p(y|x) four signs tell nothing."""
    X, y, X_target, y_target, groups, groups_target = sides(4, 4, rows=60, moved=1)
    kw = {"groups": groups, "groups_target": groups_target, "random_state": 0, "n_permutations": 99}
    verdict = diagnose(X, y, X_target, y_target, **kw).verdict
    assert (verdict.kind, verdict.strength) == ("covariate", "assumed") and verdict.untestable == ("p(y|x)",)
    assert "no test of p(y|x) could have found a difference" in verdict.explanation
