"""What adapters and tests are for, what they assume and when they fail: read from the registry and the docstrings."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
from pathlib import Path

from public_names import public

import shift_detectors
from da_toolkit import _registry, cli
from shift_detectors._base import BaseDetector

FAMILIES = {
    "weighting": "da_toolkit.weighting",
    "label-shift": "da_toolkit.label_shift",
    "alignment": "da_toolkit.alignment",
    "deep": "da_toolkit.deep",
    "few-labels": "da_toolkit.transfer",
    "selection": "da_toolkit",
}
COMMANDS = ("", "diagnose", "adapt", "predict", "monitor", "list", "datasets", "demo")


def rows_of(family: str) -> list[_registry.Row]:
    """Registry rows of a family, in the order of the registry."""
    return [row for row in _registry.ADAPTERS if row.path.partition(":")[0] == FAMILIES[family]]


def assumption_and_failure(cls: type) -> tuple[str, str]:
    """What a docstring says it assumes, and what it says next: when that fails.

    Two forms are in use: paragraphs "**Assumption.** ..." and "**Fails** ...", or one that says "Assumes", in the text
    or in the notes.
    """
    text, *sections = re.split(r"\n+(\w+)\n-{3,}\n", inspect.getdoc(cls) or "")
    notes = dict(zip(sections[::2], sections[1::2], strict=True)).get("Notes", "")
    paragraphs = [" ".join(part.split()) for part in f"{text}\n\n{notes}".split("\n\n")]
    assumed = fails = ""
    for text in paragraphs:
        if text.startswith("**Assumption.**"):
            assumed = text.removeprefix("**Assumption.**").strip()
        elif text.startswith("**Fails**"):
            fails = "Fails " + text.removeprefix("**Fails**").strip()
        else:
            found = re.search(r"(?:^|(?<=[.?] ))(?:Assumes|Assumption:) ", text)
            if found and not assumed:
                sentences = re.split(r"(?<=[.;]) (?=[A-Z])", text[found.start() :], maxsplit=1)
                assumed = sentences[0][:1].upper() + sentences[0][1:]
                fails = sentences[1] if len(sentences) > 1 else ""
    fails = re.split(r"(?:^|(?<=\. ))(?:References?:|[^.]*\(\d{4}\))", fails)[0]  # papers are in the reference
    return assumed.removeprefix("Assumption: ").strip(), fails.strip()


def plain(text: str) -> str:
    """Text of a docstring elsewhere: what is no public name stays code, not a link."""
    known = public()
    return re.sub(r"(?<![`:])`([\w.]+)`(?!`)", lambda m: m[0] if m[1] in known else f"``{m[1]}``", text)


def adapters_page(family: str) -> str:
    """Table of the registry rows of a family, and under it what each one assumes, in reST."""
    rows = rows_of(family)
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 24 40 18 10 8", ""]
    lines += _row("method", "what it does", "made for", "target labels", "needs overlap")
    for row in rows:
        made_for = ", ".join(row.addresses) + ("" if row.tasks == _registry.BOTH else f"; {row.tasks[0]} only")
        overlap = "yes" if row.needs_overlap else "no"
        lines += _row(f":py:obj:`{row.name}`", row.summary, made_for, row.target_labels, overlap)
    lines += [""]
    if len(rows) > 1:
        lines += [".. rubric:: What each assumes, and when it fails", ""]
    for row in rows:
        assumed, fails = assumption_and_failure(row.load())
        if assumed:
            assumed = assumed if assumed.startswith("Assumes") else f"**Assumption.** {assumed}"
            lines += [f":py:obj:`{row.name}`", *(f"    {plain(text)}\n" for text in (assumed, fails) if text)]
    return "\n".join(lines)


def tests_page() -> str:
    """Table of the tests: which quantity, which labels, which question."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 24 14 18 44", ""]
    lines += _row("test", "compares", "labels needed", "question")
    for name in sorted(shift_detectors.__all__):
        test = getattr(shift_detectors, name)
        if inspect.isclass(test) and issubclass(test, BaseDetector):
            needs = {frozenset(): "none", frozenset({"y_source"}): "source"}.get(test.requires, "source and target")
            lines += _row(f":py:obj:`{name}`", test.quantity, needs, (inspect.getdoc(test) or "").splitlines()[0])
    return "\n".join(lines)


def help_of(command: str) -> str:
    """What ``da-toolkit COMMAND --help`` prints, 88 columns wide."""
    printed, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            cli.main([*command.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue()


def write_all(folder: Path) -> None:
    """Every generated part of a page."""
    from da_toolkit import validation

    folder.mkdir(parents=True, exist_ok=True)
    parts = {f"adapters-{family}.rst": adapters_page(family) for family in FAMILIES}
    parts |= {f"help-{command or 'da-toolkit'}.txt": help_of(command) for command in COMMANDS}
    parts["tests.rst"] = tests_page()
    parts["scorers.rst"] = (inspect.getdoc(validation) or "").partition("\n\n")[2]
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _row(*cells: str) -> list[str]:
    first, *others = cells
    return [f"   * - {first}", *(f"     - {cell}" for cell in others)]
