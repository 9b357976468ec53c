"""From p-values and effects to a verdict in plain words.

With target labels four equalities are tested: p(x), p(y), p(y|x), p(x|y). They are logically linked: if p(x)
and p(y|x) both agree, so does everything; likewise p(y) and p(x|y). So once *something* differs, at most two
of the four can still be equal, and only as {p(x), p(y)} or {p(y), p(y|x)} (provided that x says something about
y): after a gatekeeper (the smallest p-value against alpha/4) the single tests are judged at alpha/2, and the others at
alpha once p(y), or p(x) and p(y|x), differ: only one can be left then (Shaffer 1986). The pattern of rejections is then
read as the sparsest explanation over p(x) p(y|x) and p(y) p(x|y).

Without target labels p(x) is tested, then whether changed class frequencies alone explain it
(`LabelShiftFitTest`). Nothing is ever claimed about p(y|x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ._results import Overlap, ShiftTestResult, Verdict
from ._text import and_join, pvalue, quoted, share, some

NO_OVERLAP_AUC = 0.97
UNCOVERED = 0.1  # share of target rows without source rows from which on nothing is said as if these were covered
UNREACHED = 0.3  # the same from which on weighting the source does not reach the target
EQUIVALENCE = 0.1  # change of a class probability (or of the mean, in sd) that counts as none, for "confirmed"


def rejected(p: dict[str, float], alpha: float) -> frozenset[str]:
    """Quantities that differ, family-wise error at most alpha, from p-values of all four."""
    if min(p.values()) > alpha / len(p):
        return frozenset()
    out = {q for q, value in p.items() if value <= alpha / 2}
    if "p(y)" in out or {"p(x)", "p(y|x)"} <= out:  # one equality at most is left: neither pair is
        out |= {q for q, value in p.items() if value <= alpha}
    return frozenset(out)


def no_overlap(overlap: Overlap) -> bool:
    """Whether weighting the source cannot reach the target."""
    return overlap.domain_auc.value > NO_OVERLAP_AUC or (
        overlap.ess_fraction < 0.1 and overlap.unsupported_share > UNREACHED
    )


def uncovered_share(verdict: Verdict, overlap: Overlap) -> float:
    """Share of the target rows of which the source says nothing; 0 where it is small.

    A ratio p_t(x) / p_s(x) beyond 19 counts a row as uncovered. Where the source does cover the target, few are: 5 % on
    average under a strong covariate shift (a mean that moved by 1.27 standard deviations, of which weighting leaves a
    fifth of the rows), and 12 % at 1.5. Where label shift explains the inputs none is, however large the ratio of a
    class that was rare.
    """
    uncovered = overlap.unsupported_share
    if verdict.kind == "support":
        return uncovered
    return 0.0 if verdict.kind in ("none", "label") or uncovered <= UNCOVERED else uncovered


def labelled_kind(
    shifts: frozenset[str],
    p: dict[str, float],
    overlap: Overlap,
    p_x_as_label_shift_predicts: bool = True,
    other_frequencies_explain: bool = False,
) -> str:
    r"""Sparsest explanation of a pattern of rejections.

    ===== ===== ======= ======= =====================================================================
    p(x)  p(y)  p(y|x)  p(x|y)  reading (R rejected, - not, any)
    ===== ===== ======= ======= =====================================================================
    \-    \-    \-      \-      none
    R     any   any     any     support, when the domains hardly overlap: p(y|x) cannot be compared there; otherwise
    R     any   \-      \-      label, if p(y) moved, by its test or in the rows without label, and p(x|y) agrees at
                              least as well as p(y|x); otherwise covariate
    R     any   \-      R       covariate
    R     \-    R       any     conditional
    R     R     R       \-      label: p(y|x) changes with the class frequencies
    R     R     R       R       mixed
    \-    \-    \-      R       whichever of p(x) and p(y|x) agrees worse: covariate or concept
    \-    \-    R       any     concept
    \-    R     any     \-      label, if p(x) moved as the change of p(y) predicts, otherwise concept
    \-    R     any     R       concept
    ===== ===== ======= ======= =====================================================================
    """
    x, y, y_x, x_y = (q in shifts for q in ("p(x)", "p(y)", "p(y|x)", "p(x|y)"))
    if not shifts:
        return "none"
    if x and no_overlap(overlap):
        return "support"
    if x and not (y_x or x_y):
        moved = y or other_frequencies_explain
        return "label" if moved and p["p(x|y)"] >= p["p(y|x)"] else "covariate"
    if y and not x_y:
        return "label" if x or p_x_as_label_shift_predicts else "concept"
    if not x:
        return "concept" if y_x or y or p["p(y|x)"] <= p["p(x)"] else "covariate"
    if not y_x:
        return "covariate"
    return "mixed" if y else "conditional"


def labelled_verdict(
    tests: dict[str, ShiftTestResult],
    shifts: frozenset[str],
    overlap: Overlap,
    n_labelled: int,
    new_classes: Mapping[Any, float] | None = None,
    p_x_as_label_shift_predicts: bool = True,
    other_frequencies_explain: bool = False,
    selected: bool = False,
    negligible: frozenset[str] = frozenset(),
    blind: tuple[str, ...] = (),
) -> Verdict:
    """Verdict when target labels are known.

    `new_classes` are those that the source does not have, with their shares of the target labels: where the labels
    differ they make it "mixed", since p(y) and, where they occur, p(y|x) differ for them alone.
    `p_x_as_label_shift_predicts` is from `predicts_p_x`, `other_frequencies_explain` from `explains`, of all rows where
    some have no label. Where the labelled rows are `selected` by x, p(y) and p(x|y) are not known of the target. What
    is `negligible` differs significantly, by less than counts. Of what is `blind` no test can reject, from
    `out_of_reach`.
    """
    p = {quantity: test.pvalue for quantity, test in tests.items()}
    kind = labelled_kind(shifts, p, overlap, p_x_as_label_shift_predicts, other_frequencies_explain)
    new = new_classes or {}
    if (selected and kind == "conditional") or (new and kind in ("label", "concept")):  # statements on p(y)
        kind = "mixed"
    strength, text = READINGS[kind](Labelled(tests, shifts, overlap, n_labelled, new, selected, negligible))
    if new and kind != "mixed":
        text += f" {new_classes_sentence(new)}"
        text += " Too few of its rows are labelled for these tests to show it." if kind == "none" else ""
    taken_as_equal = set(blind) & {"none": {*tests}, "covariate": {"p(y|x)"}, "label": {"p(x|y)"}}.get(kind, set())
    if taken_as_equal:
        strength, text = "assumed", f"{'' if kind == 'none' else f'{text} '}{blind_sentence(sorted(taken_as_equal))}"
    unknown = [*(["p(y|x)"] if kind == "support" else []), *(["p(y)", "p(x|y)"] if selected else []), *blind]
    return Verdict(kind, strength, text, tuple(dict.fromkeys(unknown)))


class Labelled(NamedTuple):
    """What a verdict says when target labels are known, as in `labelled_verdict`."""

    tests: dict[str, ShiftTestResult]
    shifts: frozenset[str]
    overlap: Overlap
    n_labelled: int
    new_classes: Mapping[Any, float]
    selected: bool
    negligible: frozenset[str]

    def change(self) -> str:
        """The change of y at equal x, to end a sentence with; empty where it was not measured."""
        effect = self.tests["p(y|x)"].effect
        if effect is None:
            return ""
        unclear = "p(y|x)" in self.shifts and effect.ci is not None and effect.ci[0] <= 0 <= effect.ci[1]
        return f"{', though not clearly on average' if unclear else ''} ({effect})"


def _none(found: Labelled) -> tuple[str, str]:
    tested = "p(x) and p(y|x)" if found.selected else "p(x), p(y), p(x|y) and p(y|x)"
    but = f", but for negligible differences of {and_join(sorted(found.negligible))}" if found.negligible else ""
    return "consistent", (
        f"Source and target agree in everything that was tested: {tested}, with {found.n_labelled} "
        f"target labels{but}. Smaller differences than these data can show remain possible."
    )


def _covariate(found: Labelled) -> tuple[str, str]:
    effect = found.tests["p(y|x)"].effect
    bounded = effect is not None and effect.ci is not None and max(map(abs, effect.ci)) <= EQUIVALENCE
    same = "at equal x the outcome y behaves the same" if bounded else "no change of y at equal x was shown"
    return "confirmed" if bounded else "consistent", (
        f"The inputs x are distributed differently, but {same}: covariate shift{found.change()}."
    )


def _label(found: Labelled) -> tuple[str, str]:
    if "p(x)" in found.shifts and "p(y)" not in found.shifts:
        return "consistent", (
            f"Other frequencies of y explain the inputs of all target rows. The {found.n_labelled} target labels, too "
            "few to show that change themselves, show none at equal y or at equal x: label shift is the simplest "
            "explanation, not the only one."
        )
    within = found.tests["p(x|y)"].effect
    bounded = within is not None and (within.value if within.ci is None else within.ci[1]) <= EQUIVALENCE
    of_x = (
        "The change of p(x) follows from it."
        if "p(x)" in found.shifts | found.negligible
        else "No change of p(x) was shown, which agrees with what that of p(y) predicts."
    )
    return "confirmed" if bounded else "consistent", (
        f"The frequencies of y changed, but rows with the same y look the same in both domains: label shift. {of_x}"
    )


def _concept(found: Labelled) -> tuple[str, str]:
    shown = "p(y|x)" in found.shifts
    itself = (
        f"p(y|x) itself changed{found.change()}"
        if shown
        else "the labels differ and the inputs do not, which leaves p(y|x), though its own test does not show it "
        f"{found.change().strip()}"
    )
    return "confirmed" if shown else "consistent", (
        f"The same x now goes with another y: {itself}. Weighting or aligning x cannot repair that; target labels can."
    )


def _conditional(found: Labelled) -> tuple[str, str]:
    return "confirmed", (
        "The classes occur as often as before, but the rows of a class look different (p(x|y) changed), as after "
        "a change of sensor or coding."
    )


def _support(found: Labelled) -> tuple[str, str]:
    known = (
        f": among these few rows it did{found.change()}; elsewhere it cannot be said."
        if "p(y|x)" in found.shifts
        else ", so it cannot be said here, labels or not."
    )
    return "confirmed", (
        f"The target lies where the source has (nearly) no rows ({found.overlap.domain_auc}). Whether p(y|x) changed "
        f"can only be seen where both domains have data{known}"
    )


def _mixed(found: Labelled) -> tuple[str, str]:
    if found.new_classes:
        return "confirmed", (
            f"{new_classes_sentence(found.new_classes)} This alone changes p(y), and p(y|x) where such rows lie; what "
            "else changed shows without them."
        )
    if found.selected:
        return "confirmed", (
            f"The inputs x are distributed differently, and at equal x y changed, too{found.change()}. Whether p(y) "
            "did cannot be said: the labelled target rows were chosen by x."
        )
    return "confirmed", (
        "Both factorisations changed: p(x), p(y), p(x|y) and p(y|x) all differ, so no single simple shift "
        f"explains it{found.change()}."
    )


# strength and explanation of what `labelled_kind` reads
READINGS: dict[str, Callable[[Labelled], tuple[str, str]]] = {
    "none": _none,
    "covariate": _covariate,
    "label": _label,
    "concept": _concept,
    "conditional": _conditional,
    "support": _support,
    "mixed": _mixed,
}


def blind_sentence(quantities: Sequence[str]) -> str:
    """Why these data cannot tell whether some quantities changed.

    Examples
    --------
    >>> blind_sentence(["p(x)"])[:91]
    'The rows of a group count as one, and there are too few groups: whatever the data, no test '
    """
    return (
        "The rows of a group count as one, and there are too few groups: whatever the data, no test of "
        f"{and_join(quantities)} could have found a difference."
    )


def new_classes_sentence(new: Mapping[Any, float]) -> str:
    """Which classes only the target has, and how frequent they are among its labels.

    Examples
    --------
    >>> new_classes_sentence({"N": 0.058})
    "The target has a class that the source does not have, 'N' (5.8% of its labels); no adapter can learn it."
    >>> new_classes_sentence({2: 0.33})[54:]
    "'2' (33% of its labels); no adapter can learn it."
    """
    named = some((f"{quoted(name)} ({share(part)} of its labels)" for name, part in new.items()), 60)
    what, it = ("a class", "it") if len(new) == 1 else ("classes", "them")
    return f"The target has {what} that the source does not have, {named}; no adapter can learn {it}."


def explains(fit: ShiftTestResult | None, change_pvalue: float, alpha: float) -> bool:
    """Whether changed frequencies of y explain p(x): they changed, and the fit is not rejected."""
    return fit is not None and fit.pvalue > alpha and change_pvalue <= alpha


def unlabelled_verdict(
    shifted: bool,
    fit: ShiftTestResult | None,
    change_pvalue: float,
    overlap: Overlap,
    alpha: float,
    prior_moved: bool = True,
    task: str | None = "classification",
    negligible: bool = False,
    varies: bool = True,
    blind: bool = False,
) -> Verdict:
    """Verdict without target labels.

    `prior_moved`: the estimated class frequencies, too, show the change. `negligible`: p(x) that is not `shifted`
    differs all the same, by less than counts. `varies`: a column does, over the rows of both sides. `blind`: no
    test of p(x) can reject.
    """
    untestable = ("p(y|x)", "p(x|y)", "p(y)") if fit is None else ("p(y|x)",)
    auc = overlap.domain_auc
    if not (shifted or negligible or varies):
        text = (
            "No column that is compared varies: all rows of source and target are alike in them, so that no difference "
            "can show. Whether y still depends on x as before cannot be said without target labels."
        )
        return Verdict("none", "assumed", text, untestable)
    if blind and not (shifted or negligible):
        text = (
            f"{blind_sentence(['p(x)'])} Whether y still depends on x as before cannot be said without target labels."
        )
        return Verdict("none", "assumed", text, ("p(x)", *untestable))
    if not shifted:
        differ = "differ significantly, but negligibly" if negligible else "cannot be told apart"
        text = (
            f"The inputs of source and target {differ} ({auc}). Whether y still depends on x as before "
            "cannot be said without target labels."
        )
        return Verdict("none", "consistent", text, untestable)
    if no_overlap(overlap):
        text = (
            f"The target lies where the source has (nearly) no rows: {auc}, {overlap.unsupported_share:.0%} of the "
            "target rows without a source neighbour. Weighting the source cannot reach it; the change may be a "
            "transformation of x (align it) or new territory (get labels)."
        )
        return Verdict("support", "confirmed", text, untestable)
    if fit is not None and explains(fit, change_pvalue, alpha) and prior_moved:
        mixture = "source weighted by y" if task == "regression" else "mixture of the source's classes"
        text = (
            f"The inputs differ ({auc}), and changed frequencies of y alone explain it: the target fits a {mixture} "
            f"({pvalue(fit.pvalue)}). Label shift is the simplest explanation, not the only one."
        )
        return Verdict("label", "consistent", text, untestable)
    reason = (
        ""
        if fit is None
        else f"Changed frequencies of y alone do not explain it ({pvalue(fit.pvalue)}). "
        if fit.pvalue <= alpha
        else "No change of the frequencies of y was found that would explain it. "
    )
    text = (
        f"The inputs differ ({auc}). {reason}That is covariate shift if y still depends on x as before, which cannot "
        "be tested without target labels; a change of p(y|x) on top of it cannot be excluded."
    )
    return Verdict("covariate", "assumed", text, untestable)
