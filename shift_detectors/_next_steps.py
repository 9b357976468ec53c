"""What to do about a verdict, in plain sentences."""

from __future__ import annotations

from ._report import ShiftReport
from ._table import UNLABELLED
from ._text import quoted, share, some
from ._verdict import UNREACHED, uncovered_share


def next_steps(report: ShiftReport, new_classes: tuple, blind: bool) -> tuple[str, ...]:
    """What to do, the first step first.

    Labels of `new_classes` are refused by adapters. `blind`: there are too few groups for some test.
    """
    kind, uncovered = report.verdict.kind, uncovered_share(report.verdict, report.overlap)
    steps = (_about_verdict(report, uncovered, blind),)
    if uncovered and kind != "support":
        where = f"the {share(uncovered)} of the target rows that lie where the source has (nearly) none"
        steps = (*steps, f"Label some of {where}, or leave these out: nothing is known of them.")
    if new_classes:
        steps = (_about_new_classes(new_classes), *(() if kind in ("mixed", "none") else steps))
    if report.separators:
        if kind == "none":
            without = f"Keep a model that does not read {some(report.separators)}"
            steps = (f"{without}; for one that does, adapt() tries an alignment.",)
        steps = (_about_separators(report), *steps)
    # where the source has no rows, labels do not tell either
    if "p(y|x)" in report.verdict.untestable and kind != "support" and report.task is not None:
        steps += (f"If a change of p(y|x) would matter, label {_labels_to_collect(report)}",)
    return steps


def _about_verdict(report: ShiftReport, uncovered: float, blind: bool) -> str:
    verdict, m = report.verdict, report.n_labelled
    if verdict.kind == "none" and blind:
        return "Compare more groups; if the question is about exactly these, leave groups out."
    if verdict.kind == "none" and verdict.strength == "assumed":
        return "Look at how the rows are described: what is compared tells none from another."
    collect = f"Use the {m} target labels, and more where they can be had:" if m else "Collect target labels and"
    do_not_weight = (
        "Do not weight. Align the features if a change of sensor or coding is plausible, otherwise label target rows."
    )
    weigh = "Try ImportanceWeighting; a flexible, well-fitted model may not need it (adapt() checks)."
    correct = (
        "Correct the class prior: PriorCorrection re-weights the model's class probabilities, without retraining."
        if report.task != "regression"
        else "Retrain with the source rows weighted by y (TargetShiftWeighting)"
        + (", or transfer with PriorCentered; adapt() compares them on the labels." if m else ".")
    )
    return {
        "none": "Keep the model as it is.",
        "covariate": do_not_weight if uncovered > UNREACHED else weigh,
        "label": correct,
        "conditional": "Align the features (FeatureAlignment with LinearOT or CORAL), or retrain on target labels.",
        "concept": f"{collect} transfer with PriorCentered, or retrain; nothing unlabelled will do.",
        "mixed": f"{collect} transfer with PriorCentered; check alignment as a second candidate.",
        "support": do_not_weight,
    }[verdict.kind]


def _about_new_classes(new: tuple) -> str:
    if new == UNLABELLED:
        return "If -1 marks unlabelled rows, make it missing (NaN). If it is a class, label more of it and retrain."
    of = f"the class {quoted(new[0])}" if len(new) == 1 else "the new classes"
    return (
        f"Label more target rows of {of} and retrain with them; to adapt to the others, set the labels of these rows "
        "to missing (None or NaN)."
    )


def _about_separators(report: ShiftReport) -> str:
    look = [
        f"Leave {some(lacking)} out of the model, or measure {'it' if len(lacking) == 1 else 'them'} in the {side}."
        for side, lacking in report.unmeasured.items()
    ]
    others = set(report.separators).difference(*report.unmeasured.values())
    if others:
        of = some(name for name in report.separators if name in others)
        look.append(f"Look at {of}: leave out identifiers, dates and leaks; see what happened to a measurement.")
    return " ".join(look)


def _labels_to_collect(report: ShiftReport) -> str:
    n = report.label_budget().labels
    if n is None and report.shared_noise is not None:
        return f"rows of further groups: more rows of these {report.shared_noise.n_groups} add little."
    if n is None or n > report.n_target:
        return f"all {report.n_target} target rows: only a small one would stay hidden."
    return f"about {n} target rows drawn at random."
