"""The report in words: what every way of showing it says, and the plain text of ``print(report)``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._report import ShiftReport
    from ._results import (
        ColumnShift,
        Effect,
        FeatureShift,
        Impact,
        PerformanceEstimate,
        PriorEstimate,
        Region,
        ShiftTestResult,
    )

WIDTH = 96
TEXT_FEATURES = 3
TEXT_NOTES = 3
LARGEST = 1e9  # from here on numbers are written with an exponent
SMALLEST = 1e-4  # and below this one
RARE = 1e-5  # least frequency of a class that is told from others

HEADLINES = {
    "none": "No shift found: source and target look alike",
    "covariate": "Covariate shift: the inputs are distributed differently, p(x)",
    "label": "Label shift: the labels are distributed differently, p(y)",
    "conditional": "Conditional shift: rows with the same label look different, p(x|y)",
    "concept": "Concept shift: the same inputs lead to other labels, p(y|x)",
    "mixed": "Mixed shift: more than one thing changed",
    "support": "Support shift: source and target hardly overlap",
}
STRENGTHS = {
    "confirmed": "shown by tests",
    "consistent": "not contradicted by a test that could have contradicted it",
    "assumed": "these data cannot test it",
}
QUANTITIES = {
    "p(x)": "the inputs",
    "p(y)": "the labels",
    "p(x|y)": "the inputs of rows with the same label",
    "p(y|x)": "the label of rows with the same inputs",
}
NO_EFFECT = {"domain AUC": 0.5}  # the value of an effect that says "equal", where it is not 0


def clean(text: object, width: int = 40) -> str:
    r"""One printable line of at most `width` characters from any name.

    Examples
    --------
    >>> clean("mean\nradius")
    'mean radius'
    >>> clean("a very long column name", 12), clean("No ")
    ('a very long…', "'No '")
    """
    line = _line(text)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def squeeze(text: object, width: int = 22) -> str:
    """A name of at most `width` characters that keeps its end: names are often told apart by it.

    Examples
    --------
    >>> squeeze("blood pressure, evening 2", 18), squeeze("No ")
    ('blood pre…vening 2', "'No '")
    """
    line = _line(text)
    return line if len(line) <= width else f"{line[: width // 2]}…{line[width // 2 + 1 - width :]}"


def quoted(name: object, width: int = 20) -> str:
    """A name in quotes, with the blanks at its ends: they may tell it from another one.

    Examples
    --------
    >>> quoted("No "), quoted(1), quoted("a very long class name", 12)
    ("'No '", "'1'", "'a very long…'")
    """
    text = str(name)
    return repr(text if len(text) <= width else text[: width - 1].rstrip() + "…")


def _line(text: object) -> str:
    """A name on one line, in quotes where it is told from another by blanks at its ends."""
    name = str(text)
    return printable(name if name == name.strip() else repr(name))


def printable(text: object) -> str:
    """The text on one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def number(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits, a dash when there is none.

    Examples
    --------
    >>> number(0.123456), number(12345.6), number(1e-9), number(float("nan"))
    ('0.123', '12,346', '1e-09', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    rounded = abs(float(f"{value:.{digits}g}"))
    return f"{value:,.0f}" if 10**digits <= rounded < LARGEST else f"{value:.{digits}g}"


def amounts(*values: float | None, sign: bool = False) -> list[str]:
    """Measured values that stand together, such as an estimate and the ends of its interval, in one format.

    Each to three significant digits; from 10 on, none with more decimals than the largest of them. Exponents stand
    only from 1e9 on, and where all are below 0.0001. With `sign`, what is above zero gets a plus.

    Examples
    --------
    >>> amounts(0.788, 0.72, 0.841), amounts(24.961, 9.8765, 40.1)
    (['0.788', '0.72', '0.841'], ['25.0', '9.9', '40.1'])
    >>> amounts(10123456, 1956228, 18.2e6), amounts(-504813, 29533, sign=True)
    (['10,100,000', '1,960,000', '18,200,000'], ['-505,000', '+29,500'])
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    short = [f"{value:.3g}" for value in known]
    largest = max((abs(float(text)) for text in short), default=0.0)
    if largest >= LARGEST:
        form = ".2e"
    elif largest < SMALLEST or (largest < 10 and not any("e" in text for text in short)):
        form = ".3g"
    else:
        decimals = max(0, 2 - math.floor(math.log10(largest)))
        form = f",.{min(decimals, max(len(text.partition('.')[2]) for text in short))}f"

    texts = iter(f"{float(text):{form}}" for text in short)
    said = ["–" if value is None or not math.isfinite(value) else next(texts) for value in values]
    return [_with_plus(text) if sign else text for text in map(_without_minus_of_zero, said)]


def _is_zero(text: str) -> bool:
    """Whether no digit of a written number is above 0."""
    return not set("123456789") & set(text.partition("e")[0])


def _without_minus_of_zero(text: str) -> str:
    return text.removeprefix("-") if _is_zero(text) else text


def _with_plus(text: str) -> str:
    return text if text.startswith("-") or _is_zero(text) else f"+{text}"


def measured(value: float | None, ci: tuple[float, float] | None = None, sign: bool = False) -> str:
    """A measured value with its interval, where there is one; with `sign`, a plus before a value above zero.

    Examples
    --------
    >>> measured(0.788, (0.72, 0.841)), measured(-504813, (-1039158, 29533))
    ('0.788 [0.72, 0.841]', '-505,000 [-1,040,000, 29,500]')
    """
    first, *ends = amounts(value, *(() if ci is None else ci))
    first = _with_plus(first) if sign else first
    return f"{first} [{', '.join(ends)}]" if ends else first


def pvalue(p: float) -> str:
    """A p-value as it is said, never as 0.

    Examples
    --------
    >>> pvalue(0.0002), pvalue(0.0312)
    ('p < 0.001', 'p = 0.031')
    """
    if not math.isfinite(p):
        return "no p-value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def share(value: float, least: float = 0.001) -> str:
    """A share in per cent, small ones to two digits, never rounded to nothing but called less than the `least`.

    Examples
    --------
    >>> share(0.214), share(0.034), share(0.0001), share(0.0)
    ('21%', '3.4%', '<0.1%', '0%')
    >>> share(0.00012, least=1e-5)
    '0.012%'
    """
    if not math.isfinite(value):
        return "–"
    if 0 < value < least / 2:
        return f"<{100 * least:g}%"
    return f"{100 * value:.2g}%" if value < 0.0995 else f"{100 * value:.0f}%"


def effect_text(effect: Effect | None) -> str:
    """An effect with its interval: ``"domain AUC 0.81 [0.77, 0.85]"``."""
    return "" if effect is None else f"{effect.name} {measured(effect.value, effect.ci)}"


def performance_text(estimate: PerformanceEstimate) -> str:
    """A performance with its interval: ``"accuracy 0.81 [0.77, 0.85]"``."""
    return f"{estimate.metric} {measured(estimate.value, estimate.ci)}"


def headline(report: ShiftReport) -> str:
    """The verdict in one line."""
    kind, new = report.verdict.kind, () if report.prior is None else report.prior.new_classes
    alone = some(report.separators) if report.separators else ""
    told = report.verdict.strength != "assumed"
    classes = (
        f"{'a class' if len(new) == 1 else 'classes'} that the source has not, {some(map(quoted, new))}" if new else ""
    )
    if kind == "none" and (classes or alone):
        aside = f", setting aside what tells source and target apart alone: {alone}" if alone else ""
        found = "No shift found" if told else "Whether there is a shift cannot be told"
        return f"{found}{f', but for {classes}' if classes else ''}{aside}"
    line = HEADLINES[kind] if told or kind != "none" else "Whether there is a shift cannot be told from these data"
    if kind == "mixed" and classes:
        line = f"Mixed shift: the target has {classes}"
    elif kind == "mixed" and report.shifts:
        line += f" ({and_join(sorted(report.shifts))})"
    return f"{line}, with {alone} set aside" if alone else line


def separator_sentence(report: ShiftReport) -> str:
    """Which columns were set aside, and what the verdict would be with them."""
    sentence = f"Left out of the verdict for telling source and target apart alone: {some(report.separators)}."
    sentence += "".join(f" Not measured in the {side}: {some(names)}." for side, names in report.unmeasured.items())
    whole = report.verdict_with_separators
    return sentence if whole is None else f"{sentence} With all columns: {HEADLINES[whole.kind].split(':')[0].lower()}."


def strength(report: ShiftReport) -> str:
    """How sure the verdict is, with what the word means."""
    return f"{report.verdict.strength} ({STRENGTHS[report.verdict.strength]})"


def size_line(report: ShiftReport) -> str:
    """What was compared."""
    labels = {0: "no target labels", report.n_target: "all target rows labelled"}.get(
        report.n_labelled, f"{report.n_labelled:,} target labels"
    )
    return (
        f"{report.n_source:,} source rows against {report.n_target:,} target rows, "
        f"{report.n_features:,} features, {labels}"
    )


def unknowns(report: ShiftReport) -> tuple[str, ...]:
    """What these data cannot say, one sentence each, and how many labels would."""
    sentences = []
    for quantity in report.verdict.untestable:
        what = f", {QUANTITIES[quantity]}," if quantity in QUANTITIES else ""
        sentence = f"Whether {quantity}{what} changed: it cannot be excluded."
        if quantity == "p(y|x)" and report.verdict.kind == "support":
            sentence += " Where the source has no rows, labels of the target do not tell either."
        elif quantity == "p(y|x)":
            sentence += f" {budget_sentence(report)}"
        sentences.append(sentence)
    return tuple(sentences)


def budget_sentence(report: ShiftReport) -> str:
    """How many target labels would settle whether p(y|x) changed, and what all of them would show if not that."""
    from ._results import MIN_LABELS  # which imports this module

    if report.task is None:
        return "Without labels of the source, labels of the target do not tell either."
    budget = report.label_budget()
    power = f"(power {share(budget.power)})"
    if report.n_target < MIN_LABELS:
        return f"Labels of {report.n_target} target rows would not tell: fewer than {MIN_LABELS} are not tested."
    if budget.labels is not None and budget.labels <= report.n_target:
        return (
            f"About {budget.labels:,} randomly chosen target rows with labels would reveal a change of p(y|x) by "
            f"{change_size(report, budget.effect)} {power}."
        )
    changes = report.detectable_change(report.n_target, budget.power), budget.effect
    if changes[0] == math.inf:
        return "No number of labels would tell: the rows of a group count as one, and there are too few groups."
    least, size = (change_size(report, value) for value in changes)
    if least == size:
        least, size = (change_size(report, value, 2) for value in changes)
    if budget.labels is None:
        groups = "" if report.shared_noise is None else f" and {report.shared_noise.n_groups:,} groups"
        more = f"with {report.n_source:,} source rows{groups} no number of them reveals {size}"
    else:
        more = f"{size} would take about {budget.labels:,}"
    return f"Labels of all {report.n_target:,} target rows would reveal a change of p(y|x) by {least} {power}; {more}."


def change_size(report: ShiftReport, effect: float, more: int = 0) -> str:
    """A change of p(y|x) in words: points of a class probability, or standard deviations of the label.

    `more` digits than usual tell changes apart that are nearly the same.
    """
    if report.task == "regression":
        return f"{number(effect, 2 + more)} standard deviations of the label"
    return f"{100 * effect:.{more}f} points of a class probability"


def outcome(report: ShiftReport, test: ShiftTestResult) -> str:
    """What a test says, in words that respect the correction and the smallest effect of interest."""
    if not math.isfinite(test.pvalue):
        return "not tested"
    if test.quantity in set_aside(report):
        return f"set aside: labels chosen by {'x or y' if report.labels_by_y else 'x'}"
    rejected = test.rejects(report.alpha)
    if test.quantity == "label-shift fit":
        return "label shift alone does not fit" if rejected else "label shift alone would fit"
    if rejected and test.quantity in report.shifts:
        return "differs"
    if not rejected:
        blind = test.quantity in report.verdict.untestable and report.verdict.kind != "support"
        return "cannot be told, too few groups" if blind else "no difference found"
    return "differs, but negligibly" if test.quantity in _significant(report) else "not after correction"


def _significant(report: ShiftReport) -> frozenset[str]:
    """Quantities that differ after correction, those among them that do so negligibly."""
    from ._verdict import rejected  # which imports this module

    p = {quantity: test.pvalue for quantity in QUANTITIES if (test := report.test(quantity)) is not None}
    if "p(y|x)" not in p:  # without target labels p(x) alone is tested
        return frozenset(quantity for quantity in p if p[quantity] <= report.alpha)
    return rejected(p | dict.fromkeys(set_aside(report), 1.0), report.alpha)


def set_aside(report: ShiftReport) -> tuple[str, ...]:
    """Quantities whose tests say nothing of the target, since its labelled rows were chosen by x, or by y."""
    if report.labels_by_y:
        return ("p(y)", "p(y|x)", "p(x|y)")
    return ("p(y)", "p(x|y)") if report.labels_selected else ()


def decisive_tests(report: ShiftReport) -> tuple[ShiftTestResult, ...]:
    """One test per quantity, the first that has an effect size, else the first."""
    chosen: dict[str, ShiftTestResult] = {}
    for test in report.tests:
        if test.quantity not in chosen or (chosen[test.quantity].effect is None and test.effect is not None):
            chosen[test.quantity] = test
    return tuple(chosen.values())


def unseen(report: ShiftReport) -> tuple[str, ...]:
    """Quantities that these data cannot show, but for those of which the line of a test says so."""
    told = () if report.verdict.kind == "support" else {test.quantity for test in report.tests}
    return tuple(quantity for quantity in report.verdict.untestable if quantity not in told)


def compared(report: ShiftReport) -> int:
    """How many features were compared one by one."""
    return report.n_features - len(report.separators)


def overlap_sentence(report: ShiftReport) -> str:
    """How well the source covers the target."""
    overlap = report.overlap
    weighting = f"With {some(report.separators)} set aside, weighting" if report.separators else "Weighting"
    beyond = share(overlap.unsupported_share) if overlap.unsupported_share else "none"
    return (
        f"{weighting} would leave {overlap.effective_sample_size:,.0f} effective rows of "
        f"{report.n_source:,} ({share(overlap.ess_fraction)}); {beyond} of the "
        f"target was found to lie where the source has (nearly) no rows."
    )


def prior_sentence(prior: PriorEstimate, most: int = 2) -> str:
    """New classes, and those whose frequency changed most: ``"'b' 20% -> 45% [41%, 49%]"``; of two the rarer one."""
    two = len(prior.classes) == 2
    rank = prior.source + prior.target if two else -abs(prior.target - prior.source)
    order = sorted(range(len(prior.classes)), key=lambda k: (prior.classes[k] not in prior.new_classes, rank[k]))

    def frequency(value: float) -> str:
        return share(value, RARE)

    shown = [
        f"{quoted(prior.classes[k])} {frequency(prior.source[k])} -> {frequency(prior.target[k])} "
        f"[{frequency(prior.ci[k][0])}, {frequency(prior.ci[k][1])}]"
        for k in order[: 1 if two else most]
    ]
    others = len(order) - len(shown)
    more = "" if two or not others else f" and {others:,} more class{'es' * (others > 1)}"
    condition = f", if {prior.assumption}" if prior.assumption else ""
    return f"Class frequencies ({prior.method}): {'; '.join(shown)}{more}{condition}."


def impact_sentences(impact: Impact) -> tuple[str, ...]:
    """What the shift does to the model."""
    sentences = [f"On the source: {performance_text(impact.source)}."]
    if impact.target is not None:
        sentences.append(f"On the labelled target rows: {performance_text(impact.target)}.")
    elif impact.estimates:
        first = impact.estimates[0]
        sentences.append(
            f"On the target, estimated by {first.method}: {performance_text(first)}, if {first.assumption}."
        )
    if impact.p_x_part is not None and impact.p_y_given_x_part is not None:
        sentences.append(split_sentence(impact.p_x_part, impact.p_y_given_x_part))
    return tuple(sentences)


def split_sentence(p_x_part: Effect, p_y_given_x_part: Effect) -> str:
    """Which part of the change of the loss is whose."""
    return f"Of the change in loss, {signed(p_x_part)} is due to p(x) and {signed(p_y_given_x_part)} to p(y|x)."


def signed(effect: Effect) -> str:
    """A difference with its sign and interval."""
    return measured(effect.value, effect.ci, sign=True)


def change(feature: FeatureShift, alpha: float) -> str:
    """How a feature differs, if it does at that level."""
    return feature.direction if feature.pvalue <= alpha else "no difference found"


def feature_line(feature: FeatureShift, alpha: float) -> str:
    """A feature's change: ``"higher in the target (+0.8 sd), KS distance 0.31, p < 0.001"``."""
    parts = [change(feature, alpha), effect_text(feature.effect), pvalue(feature.pvalue)]
    return ", ".join(part for part in parts if part)


def region_line(region: Region) -> str:
    """A part of the table and its frequencies: ``"age > 61 and ward is 'B': 4% -> 21% (5.2 [4.1, 6.6] times)"``."""
    return f"{and_join(region.rule)}: {share(region.source)} -> {share(region.target)} ({times(region.ratio)})"


def column_shifts_sentence(report: ShiftReport, most: int = 5) -> str:
    """Which sparse columns are behind the components: ``"'goal' 2% -> 14% (p = 0.002)"``; "" where none is listed."""
    if not report.column_shifts:
        return ""
    changed = moved_columns(report)
    if not changed:
        return "No single column is more or less frequent after correction for their number."
    shown = "; ".join(
        f"{quoted(c.column)} {share(c.source)} -> {share(c.target)} ({pvalue(c.pvalue)})" for c in changed[:most]
    )
    return f"Columns whose frequency changed most (share of rows in which they are not zero): {shown}."


def moved_columns(report: ShiftReport) -> tuple[ColumnShift, ...]:
    """Those of the sparse columns whose frequency differs after correction for their number."""
    return tuple(c for c in report.column_shifts if c.pvalue <= report.alpha)


def times(ratio: Effect) -> str:
    """A ratio with its interval."""
    ci = "" if ratio.ci is None else f" [{number(ratio.ci[0], 2)}, {number(ratio.ci[1], 2)}]"
    return f"{number(ratio.value, 2)}{ci} times"


def changed_features(report: ShiftReport) -> tuple[FeatureShift, ...]:
    """The features that differ after correction, most important first; none where p(x) does not differ."""
    return tuple(f for f in report.features if f.pvalue <= report.alpha and "p(x)" in report.shifts)


def and_join(words: Iterable[str]) -> str:
    """``"a, b and c"``."""
    *first, last = list(words)
    return f"{', '.join(first)} and {last}" if first else last


def some(names: Iterable[str], width: int = 24) -> str:
    """``"id and date"``, or ``"id, date, a, b and 3 more"``: the first four of names that may be many, and long."""
    shown = [clean(name, width) for name in names]
    return and_join(shown if len(shown) <= 4 else [*shown[:4], f"{len(shown) - 4} more"])


def report_to_text(report: ShiftReport) -> str:
    """The whole report in about thirty lines of plain text."""
    verdict = report.verdict
    lines = [f"{headline(report)}.", f"Strength: {strength(report)}. {size_line(report)}."]
    lines = [wrapped for line in lines for wrapped in paragraph(line)]
    lines += ["", *paragraph(verdict.explanation)]

    lines += ["", "What was found"]
    tests = decisive_tests(report)
    width = max((len(test.quantity) for test in tests), default=0)
    for test in tests:
        numbers = ", ".join(part for part in (effect_text(test.effect), pvalue(test.pvalue)) if part)
        lines.append(f"  {test.quantity:<{width}}  {outcome(report, test)}: {numbers}")
    lines += item(overlap_sentence(report))
    if report.prior is not None:
        lines += item(prior_sentence(report.prior))
    if report.impact is not None:
        for sentence in impact_sentences(report.impact):
            lines += item(sentence)
    if report.separators:
        lines += item(separator_sentence(report))

    if report.regions:
        lines += item(
            f"Where (found on one half of the rows, measured on the other): {region_line(report.regions[0])}."
        )

    changed = changed_features(report)
    if changed:
        lines += [
            "",
            f"Features that changed ({len(changed):,} of {compared(report):,}, most important first)",
        ]
        names = [squeeze(f.feature, 40) for f in changed[:TEXT_FEATURES]]
        width = max(map(len, names))
        for name, feature in zip(names, changed, strict=False):
            lines.append(f"  {name:<{width}}  {feature_line(feature, report.alpha)}")
        if len(changed) > TEXT_FEATURES:
            lines.append(f"  and {len(changed) - TEXT_FEATURES:,} more")

    if report.column_shifts:
        lines += item(column_shifts_sentence(report))

    if unknowns(report):
        lines += ["", "What these data cannot say"]
        for sentence in unknowns(report):
            lines += item(sentence)
    if report.next_steps:
        lines += ["", "What to do next"]
        for k, step in enumerate(report.next_steps[:3], 1):
            lines += item(step, f"  {k}. ")
    if report.notes:
        more = len(report.notes) - TEXT_NOTES
        lines += ["", "Notes" + (f" (the first {TEXT_NOTES}, {more:,} more in report.notes)" if more > 0 else "")]
        for note in report.notes[:TEXT_NOTES]:
            lines += item(clean(note, 2 * WIDTH - 10))
    return "\n".join(lines)


def paragraph(text: str) -> list[str]:
    """Wrapped lines of a paragraph."""
    return textwrap.wrap(printable(text), WIDTH, break_on_hyphens=False)


def item(text: str, bullet: str = "  ") -> list[str]:
    """Wrapped lines of a list item."""
    indent = " " * max(4, len(bullet))
    text = printable(text)
    return textwrap.wrap(text, WIDTH, initial_indent=bullet, subsequent_indent=indent, break_on_hyphens=False)
