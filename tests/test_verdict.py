"""The reading of rejections as a verdict."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from shift_detectors._next_steps import next_steps
from shift_detectors._report import ShiftReport
from shift_detectors._results import VERDICT_KINDS, Effect, Overlap, ShiftTestResult, Verdict
from shift_detectors._verdict import (
    labelled_kind,
    labelled_verdict,
    no_overlap,
    rejected,
    uncovered_share,
    unlabelled_verdict,
)

QUANTITIES = ("p(x)", "p(y)", "p(y|x)", "p(x|y)")


def overlap(auc=0.6, ess=0.8, unsupported=0.0):
    return Overlap(ess * 1000, ess, Effect("domain AUC", auc), unsupported, 0.03)


def steps(verdict, unsupported=0.0, task="classification", n_labelled=0, new_classes=()):
    """What is to be done after a verdict on a thousand source rows and 400 target rows."""
    known = (overlap(unsupported=unsupported), None, None, (), task, 1000, 400, n_labelled, 5, 0.05, {})
    return next_steps(ShiftReport(verdict, frozenset(), (), (), *known), new_classes, False)


def pvalues(*values):
    return dict(zip(QUANTITIES, values, strict=True))


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ((), "none"),
        (("p(x)",), "covariate"),
        (("p(x)", "p(x|y)"), "covariate"),
        (("p(x)", "p(y)", "p(x|y)"), "covariate"),
        (("p(y)",), "label"),
        (("p(x)", "p(y)", "p(y|x)"), "label"),
        (("p(y|x)",), "concept"),
        (("p(x|y)",), "concept"),
        (("p(y)", "p(x|y)"), "concept"),
        (("p(y|x)", "p(x|y)"), "concept"),
        (("p(y)", "p(y|x)", "p(x|y)"), "concept"),
        (("p(y)", "p(y|x)"), "label"),
        (("p(x)", "p(y|x)", "p(x|y)"), "conditional"),
        (("p(x)", "p(y|x)"), "conditional"),
        (QUANTITIES, "mixed"),
    ],
)
def test_patterns(pattern, kind):
    p = {q: 0.001 if q in pattern else 0.5 for q in QUANTITIES}
    assert labelled_kind(frozenset(pattern), p, overlap()) == kind


def readings(pattern):
    """All that a pattern may be read as, whatever agrees how well among that which was not rejected."""
    agreements = itertools.product(*((0.001,) if q in pattern else (0.2, 0.8) for q in QUANTITIES))
    told = itertools.product(agreements, (False, True), (False, True))
    return {labelled_kind(frozenset(pattern), pvalues(*p), overlap(), *known) for p, *known in told}


def rows_of_the_docstring():
    for line in re.sub(r"\n {20,}", " ", labelled_kind.__doc__).splitlines():  # a reading may go on below
        if found := re.fullmatch(r"\s*" + r"(\\-|R|any)\s+" * 4 + "(.*)", line):
            *marks, reading = found.groups()
            kinds = set(re.findall(r"\w+", reading)) & set(VERDICT_KINDS)
            yield [{"R": True, "\\-": False}.get(mark) for mark in marks], kinds


def rows_of_the_documentation():
    page = (Path(__file__).resolve().parents[1] / "docs/which-shift.md").read_text(encoding="utf-8")
    for line in page.splitlines():
        *marks, reading = re.split(r"(?<!\\)\|", line.strip("|")) if line.startswith("| ") else [""]
        if len(marks) == 4 and marks[0] != " p(x) ":
            told = [{"same": False}.get(mark.strip(), True if "differs" in mark else None) for mark in marks]
            yield told, set(re.findall(r"\(#(\w+)\)", reading))


@pytest.mark.parametrize("rows", [rows_of_the_docstring, rows_of_the_documentation])
def test_the_table_has_one_row_for_each_pattern_and_says_what_it_is_read_as(rows):
    table = [row for row in rows() if row[1] != {"support"}]
    for told in itertools.product((False, True), repeat=4):
        (kinds,) = [kinds for marks, kinds in table if all(m in (None, t) for m, t in zip(marks, told, strict=True))]
        assert kinds == readings([q for q, differs in zip(QUANTITIES, told, strict=True) if differs]), told


def test_without_overlap_it_is_support_whatever_the_conditionals_say():
    p = pvalues(0.001, 0.5, 0.001, 0.001)
    assert labelled_kind(frozenset({"p(x)", "p(y|x)", "p(x|y)"}), p, overlap(auc=0.99)) == "support"
    assert no_overlap(overlap(ess=0.05, unsupported=0.5))
    assert not no_overlap(overlap(ess=0.05, unsupported=0.1))


def test_when_both_factorisations_fit_the_better_conditional_wins():
    shifts = frozenset({"p(x)", "p(y)"})
    assert labelled_kind(shifts, pvalues(0.001, 0.001, 0.1, 0.7), overlap()) == "label"
    assert labelled_kind(shifts, pvalues(0.001, 0.001, 0.7, 0.1), overlap()) == "covariate"


def test_few_labels_that_miss_a_change_of_p_y_do_not_hide_it_in_all_rows():
    shifts = frozenset({"p(x)"})
    for p, kind in ((pvalues(0.001, 0.3, 0.1, 0.7), "label"), (pvalues(0.001, 0.3, 0.7, 0.1), "covariate")):
        assert labelled_kind(shifts, p, overlap(), other_frequencies_explain=True) == kind
        assert labelled_kind(shifts, p, overlap()) == "covariate"


def test_concept_that_moves_p_y_is_not_called_label():
    shifts = frozenset({"p(y)", "p(y|x)"})
    assert labelled_kind(shifts, pvalues(0.8, 0.01, 0.001, 0.1), overlap(), False) == "concept"
    assert labelled_kind(shifts, pvalues(0.8, 0.01, 0.001, 0.1), overlap(), True) == "label"


def test_a_change_of_p_x_given_y_alone_goes_to_the_worse_agreeing_cause():
    shifts = frozenset({"p(x|y)"})
    assert labelled_kind(shifts, pvalues(0.06, 0.5, 0.9, 0.002), overlap()) == "covariate"
    assert labelled_kind(shifts, pvalues(0.9, 0.5, 0.06, 0.002), overlap()) == "concept"


def test_gatekeeper_and_step_down():
    assert rejected(pvalues(0.2, 0.3, 0.4, 0.5), 0.05) == frozenset()
    # after the gatekeeper the others are judged at alpha / 2 ...
    assert rejected(pvalues(0.001, 0.9, 0.04, 0.04), 0.05) == {"p(x)"}
    # evidence for one equality does not cancel evidence against another
    assert rejected(pvalues(0.5, 1.0, 0.001, 0.001), 0.05) == {"p(y|x)", "p(x|y)"}
    # ... and at alpha once p(y) is rejected, since one equality at most is left
    assert rejected(pvalues(0.001, 0.001, 0.04, 0.9), 0.05) == {"p(x)", "p(y)", "p(y|x)"}
    # ... and once p(x) and p(y|x) are, which leaves p(y) or p(x|y)
    assert rejected(pvalues(0.001, 0.04, 0.001, 0.04), 0.05) == set(QUANTITIES)


def test_family_wise_error_of_the_gatekeeper_under_the_global_null():
    rng = np.random.default_rng(0)
    hits = np.mean([bool(rejected(pvalues(*row), 0.05)) for row in rng.random((20_000, 4))])
    assert 0.04 < hits <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 20_000)


@pytest.mark.parametrize("equal", ["p(y)", "p(x|y)"])
def test_step_down_error_when_one_is_equal(equal):
    """The other of the two is rejected, or it nearly is, or it is not."""
    rng = np.random.default_rng(0)
    wrong = np.mean(
        [
            equal in rejected({**pvalues(1e-6, other, 1e-6, other), equal: p}, 0.05)
            for p, other in zip(rng.random(6000), [0.01, 0.04, 0.5] * 2000, strict=True)
        ]
    )
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 6000)


def test_step_down_error_when_p_x_and_p_y_are_equal():
    """Concept shift: p(x) and p(y) are true equalities, rejected together at most alpha of the time."""
    rng = np.random.default_rng(0)
    wrong = np.mean(
        [bool({"p(x)", "p(y)"} & rejected(pvalues(a, b, 1e-6, 1e-6), 0.05)) for a, b in rng.random((5000, 2))]
    )
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 5000)


def result(quantity, p, effect):
    return ShiftTestResult("T", quantity, 1.0, p, effect)


def test_strength_of_covariate_follows_the_interval_of_the_change():
    def verdict(ci):
        tests = {
            "p(x)": result("p(x)", 0.001, Effect("domain AUC", 0.7)),
            "p(y)": result("p(y)", 0.4, Effect("total variation", 0.02)),
            "p(y|x)": result("p(y|x)", 0.5, Effect("largest average change of P(y = k | x)", 0.01, ci)),
            "p(x|y)": result("p(x|y)", 0.001, Effect("KS distance", 0.3)),
        }
        return labelled_verdict(tests, frozenset({"p(x)", "p(x|y)"}), overlap(), 100)

    assert verdict((-0.03, 0.05)).strength == "confirmed"
    assert verdict((-0.2, 0.3)).strength == "consistent"


@pytest.mark.parametrize(("x", "follows"), [("differs", True), ("negligible", True), ("same", False)])
def test_a_change_of_p_x_that_was_not_shown_does_not_follow_from_label_shift(x, follows):
    tests = {q: result(q, 0.5 if q != "p(y)" and (q, x) != ("p(x)", "differs") else 0.001, None) for q in QUANTITIES}
    shifts = frozenset({"p(y)", "p(x)"} if x == "differs" else {"p(y)"})
    negligible = frozenset({"p(x)"} if x == "negligible" else ())
    verdict = labelled_verdict(tests, shifts, overlap(), 100, negligible=negligible)
    assert verdict.kind == "label"
    assert ("change of p(x) follows from it" in verdict.explanation) == follows
    assert ("No change of p(x) was shown" in verdict.explanation) != follows


@pytest.mark.parametrize("fit_p", [0.001, 0.6, None])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("auc", [0.6, 0.99])
def test_nothing_is_claimed_about_p_y_given_x_without_labels(fit_p, shifted, auc):
    fit = None if fit_p is None else result("label-shift fit", fit_p, None)
    verdict = unlabelled_verdict(shifted, fit, 0.001, overlap(auc=auc), 0.05)
    assert "p(y|x)" in verdict.untestable
    assert verdict.kind in ("none", "covariate", "label", "support")
    assert verdict.kind != "covariate" or verdict.strength == "assumed"
    assert "concept" not in verdict.explanation
    assert steps(verdict)


@pytest.mark.parametrize(
    ("kind", "unsupported", "uncovered"),
    [
        ("covariate", 0.09, 0.0),
        ("covariate", 0.11, 0.11),
        ("mixed", 0.4, 0.4),
        ("support", 0.02, 0.02),
        ("label", 0.4, 0.0),  # a class that was rare: high ratios, and rows all the same
        ("none", 0.4, 0.0),
    ],
)
def test_what_the_source_does_not_cover_counts_by_the_verdict(kind, unsupported, uncovered):
    verdict = Verdict(kind, "assumed", "")
    assert uncovered_share(verdict, overlap(unsupported=unsupported)) == uncovered


def test_next_steps_do_not_weight_towards_rows_that_the_source_does_not_have():
    verdict = Verdict("covariate", "assumed", "")
    plain, some, many = (" ".join(steps(verdict, share)) for share in (0.0, 0.2, 0.45))
    assert "ImportanceWeighting" in plain and "(nearly) none" not in plain
    assert (
        "ImportanceWeighting" in some and "20% of the target rows that lie where the source has (nearly) none" in some
    )
    assert "ImportanceWeighting" not in many and "Do not weight" in many and "45% of the target rows" in many


def test_what_is_negligible_is_not_said_to_agree():
    tests = {q: result(q, 0.001 if q == "p(x)" else 0.5, None) for q in QUANTITIES}
    with_labels = [
        labelled_verdict(tests, frozenset(), overlap(), 100, negligible=frozenset(n)) for n in ((), ("p(x)",))
    ]
    without = [unlabelled_verdict(False, None, 1.0, overlap(), 0.05, negligible=n) for n in (False, True)]
    for nothing, little in (with_labels, without):
        assert nothing.kind == little.kind == "none"
        assert "negligib" in little.explanation and "negligib" not in nothing.explanation


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ((), "none"),
        (("p(x)",), "covariate"),
        (("p(x)", "p(y)"), "mixed"),
        (("p(y|x)",), "mixed"),
        (QUANTITIES, "mixed"),
        (("p(x)", "p(y|x)"), "conditional"),
    ],
)
def test_verdict_and_next_step_name_a_new_class(pattern, kind):
    tests = {q: result(q, 0.001 if q in pattern else 0.5, None) for q in QUANTITIES}
    new = {"N": 0.06}
    verdict = labelled_verdict(tests, frozenset(pattern), overlap(), 120, new)
    assert verdict.kind == kind and "'N' (6% of its labels); no adapter can learn it." in verdict.explanation
    first, *others = steps(verdict, n_labelled=120, new_classes=tuple(new))
    assert first.startswith("Label more target rows of the class 'N' and retrain") and "missing" in first
    assert not any("PriorCentered" in step for step in others)
