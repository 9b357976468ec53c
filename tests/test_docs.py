"""The documentation is true: its code runs, its tables come from the code, its words are those of the library.

Nothing here needs Sphinx: `make docs` builds the pages, with warnings as errors.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import matplotlib
import pytest
from sklearn.linear_model import LogisticRegression

import shift_detectors
from da_toolkit import cli
from da_toolkit._registry import ADAPTERS
from shift_detectors._results import STRENGTHS, VERDICT_KINDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("adapters/*.md")])


@pytest.fixture(scope="module")
def ext():
    """The modules of docs/_ext, which import each other by name, without leaving that folder on the path."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        names = ("public_names", "registry_pages", "pictures")  # not mathml, which needs Sphinx
        return SimpleNamespace(**{n: SimpleNamespace(**runpy.run_path(str(DOCS / "_ext" / f"{n}.py"))) for n in names})
    finally:
        sys.path.remove(str(DOCS / "_ext"))
        sys.modules.pop("public_names", None)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


# --- the code on the pages ---------------------------------------------------------------------------------


def code_pages() -> list:
    code = {page: "".join(blocks(page, "python")) for page in PAGES}
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.torch] * ("torch" in code[p])) for p in PAGES if code[p]]


@pytest.mark.parametrize("page", code_pages())
def test_python_blocks_run(page, ext, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    ext.pictures.write_tables(tmp_path)
    names: dict = {}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


def test_the_quick_start_is_that_of_the_readme():
    def lines(page):
        return [line for block in blocks(page, "python") for line in block.splitlines() if line]

    quickstart = lines(DOCS / "quickstart.md")
    assert quickstart == lines(ROOT / "README.md")[: len(quickstart)]
    assert len(blocks(DOCS / "quickstart.md", "python")) == 3


def test_the_command_lines_are_those_of_the_readme_and_run(ext, tmp_path, monkeypatch, capsys):
    (page,) = blocks(DOCS / "command-line.md", "bash")
    assert page in blocks(ROOT / "README.md", "bash")
    monkeypatch.chdir(tmp_path)
    ext.pictures.write_tables(tmp_path)
    joblib.dump(LogisticRegression(max_iter=1000), "model.joblib")
    line = next(line for line in page.splitlines() if "--fail-on" in line)
    assert cli.main(line.split()[1:]) == cli.OK, capsys.readouterr().err


def test_the_command_that_converts_to_utf8(tmp_path):
    program = re.search(r"`python -c \"(.*)\"`", (DOCS / "command-line.md").read_text(encoding="utf-8"))[1]
    (tmp_path / "old.csv").write_text("ward\nSüd €\n", encoding="cp1252")
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True)
    assert (tmp_path / "new.csv").read_text(encoding="utf-8") == "ward\nSüd €\n"


def test_what_is_to_be_typed_has_quotes_that_every_shell_takes():
    """The command prompt of Windows passes single quotes on."""
    packages = [
        path for folder in ("da_toolkit", "shift_detectors", "datasets") for path in (ROOT / folder).rglob("*.py")
    ]
    for path in [ROOT / "README.md", *PAGES, *packages]:
        typed = re.findall(r"(?:pip install|[` ]--[a-z]+)[^`\n\"]* '.*", path.read_text(encoding="utf-8"))
        assert not typed, f"{path.name}: {typed}"


# --- what is generated -------------------------------------------------------------------------------------


@pytest.mark.torch
def test_every_adapter_of_the_registry_is_on_one_page_with_its_assumption(ext):
    shown = [row.name for family in ext.registry_pages.FAMILIES for row in ext.registry_pages.rows_of(family)]
    assert sorted(shown) == sorted(row.name for row in ADAPTERS)
    silent = {row.name for row in ADAPTERS if not ext.registry_pages.assumption_and_failure(row.load())[0]}
    assert silent <= {"SourceOnly", "DeepAdapter", "DeepCORAL", "SourceFree"}


@pytest.mark.parametrize(
    "text, found",
    [
        (
            "What?\n\n**Assumption.** It is so,\nalways.\n\n**Fails** when it is not.",
            ("It is so, always.", "Fails when it is not."),
        ),
        ("What?\n\nAssumes overlap. Fails without.", ("Assumes overlap.", "Fails without.")),
        ("What? Assumes this; blind to that.", ("Assumes this; blind to that.", "")),
        ("What?\n\nNotes\n-----\nAssumes x. Slow. References: A (2000), B.", ("Assumes x.", "Slow.")),
        ("What?\n\nParameters\n----------\na : Assumes nothing here.", ("", "")),
    ],
)
def test_assumption_and_failure_are_read_from_a_docstring(ext, text, found):
    assert ext.registry_pages.assumption_and_failure(type("Method", (), {"__doc__": text})) == found


def test_the_table_of_tests_is_complete(ext):
    page = ext.registry_pages.tests_page()
    for name in shift_detectors.__all__:
        assert (f"`{name}`" in page) == name.endswith("Test")


@pytest.mark.parametrize("command", ["", "diagnose", "adapt", "monitor", "predict", "list", "datasets", "demo"])
def test_help_is_what_the_command_prints(ext, command):
    assert ext.registry_pages.help_of(command).startswith(f"usage: da-toolkit {command}".strip())
    assert f"help-{command or 'da-toolkit'}.txt" in (DOCS / "command-line.md").read_text(encoding="utf-8")


@pytest.mark.torch
def test_the_reference_lists_every_public_name_once(ext):
    listed = [
        path
        for package in ext.public_names.PAGES
        for paths in ext.public_names.names_of(package).values()
        for path in paths
    ]
    assert len(listed) == len(set(listed))
    for package in ("shift_detectors", "da_toolkit"):
        module = sys.modules[package]
        assert {f"{package}.{name}" for name in module.__all__ if name != "__version__"} <= set(listed)


def test_docstrings_become_valid_rest(ext):
    lines = [
        "Test |a - b| of weights_.",
        "",
        "    T = |a| * b,",
        "",
        "with `x_`.",
        "",
        "Examples",
        "--------",
        ">>> f_",
    ]
    ext.public_names.on_docstring(None, "class", "", None, None, lines)
    assert lines[:7] == [r"Test \|a - b| of weights\_.", "", "::", "", "    T = |a| * b,", "", "with `x_`."]
    assert lines[7:] == ["", "Examples", "--------", ">>> f_"]


@pytest.mark.parametrize(
    "tex, spelled",
    [
        (r"\tfrac12 \frac1m x \tfrac1{k^2}", r"\frac{1}{2} \frac{1}{m} x \frac{1}{k^2}"),
        (r"\frac{1}{m} \frac \pi 2", r"\frac{1}{m} \frac \pi 2"),
        (r"\Big[ \big) \Bigl(", r"\Bigl[ \bigl) \Bigl("),
        (
            r"\hat y_i + \bar p_i^\top + \hat\theta + \hat y",
            r"{\hat y {}}_i + {\bar p {}}_i^\top + \hat\theta + \hat y",
        ),
    ],
)
def test_formulas_are_spelled_out_for_docutils(tex, spelled):
    pytest.importorskip("sphinx")
    assert runpy.run_path(str(DOCS / "_ext" / "mathml.py"))["spelled_out"](tex) == spelled


# --- the words on the pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VERDICT_KINDS)
def test_every_verdict_has_a_section_and_a_picture(kind, ext):
    guide = (DOCS / "which-shift.md").read_text(encoding="utf-8")
    assert f"({kind})=\n### {kind}\n" in guide
    assert f"_generated/{kind}.png" in guide and kind in ext.pictures.KINDS


def test_every_strength_is_explained():
    guide = (DOCS / "which-shift.md").read_text(encoding="utf-8")
    assert all(f"| `{strength}` |" in guide for strength in STRENGTHS)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_one_word_per_idea(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\bdrift", text.replace("MMDDrift", "").replace("DataDriftPreset", ""), re.IGNORECASE)


def test_the_picture_of_a_shift_shows_that_shift(ext, tmp_path):
    ext.pictures.draw_kind("concept", tmp_path / "concept.png")
    assert (tmp_path / "concept.png").stat().st_size > 10_000


def test_the_citation_file_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {shift_detectors.__version__}\n" in citation
    assert json.loads(re.search(r"^title: (.*)$", citation, re.MULTILINE)[1]) in (ROOT / "README.md").read_text("utf-8")
