"""README and CONTRIBUTING work: their Python blocks and command lines run, what they name exists."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import joblib
import matplotlib
import pandas as pd
import pytest
from da_toolkit.datasets import make_label_shift
from sklearn.linear_model import LogisticRegression

from da_toolkit import cli
from shift_detectors._results import STRENGTHS, VERDICT_KINDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the README speaks of, in the working directory."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    pair = make_label_shift(n_source=400, n_target=400, n_features=5, random_state=0)
    source, target = (pd.DataFrame(X, columns=[*"abcde"]) for X in (pair.X_source, pair.X_target))
    source.assign(y=pair.y_source).to_csv("source.csv", index=False)
    target.to_csv("target.csv", index=False)
    joblib.dump(LogisticRegression(max_iter=1000), "model.joblib")
    (tmp_path / "batches").mkdir()
    target.to_csv("batches/monday.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("deep", [False, pytest.param(True, marks=pytest.mark.torch)])
def test_python_blocks_run(files, capsys, deep):
    names: dict = {}
    shown = [block for block in blocks("python") if deep or "torch" not in block]
    assert len(shown) >= 3 + deep
    for block in shown:
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["y_predicted"]) == 400
    assert "p(x)" in capsys.readouterr().out
    assert (files / "report.html").stat().st_size > 10_000


def test_command_lines_run(files, capsys):
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("da-toolkit ")]
    assert len(lines) >= 4
    for line in lines:
        assert cli.main(shlex.split(line, comments=True)[1:]) in (cli.OK, cli.FOUND), capsys.readouterr().err
    for name in ("shift.html", "shift.json", "adapted.joblib", "predictions.csv"):
        assert (files / name).stat().st_size > 0


@pytest.mark.parametrize("block", blocks("python", CONTRIBUTING), ids=lambda block: block.splitlines()[0])
def test_annotated_method_files_run(block, monkeypatch):
    *package, name = re.match(r"# (\S+)\.py\n", block)[1].split("/")
    module = ModuleType(f"{'.'.join(package)}.{name}")
    module.__package__ = ".".join(package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block, "CONTRIBUTING.md", "exec"), module.__dict__)
    results = doctest.testmod(module)
    assert results.attempted and not results.failed


def test_every_verdict_and_strength_is_explained():
    for word in (*VERDICT_KINDS, *STRENGTHS):
        assert f"`{word}`" in README


def test_exit_codes_are_those_of_the_command_line():
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
    codes = (cli.OK, cli.FOUND, cli.USAGE, cli.UNEXPECTED, cli.INTERRUPTED)
    assert set(table) == {str(code) for code in codes}


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        word
        for file in ROOT.glob("**/*.md")
        if not any(part.startswith(".") for part in file.relative_to(ROOT).parts)
        for word in re.findall(r"(?:`|^)make ([a-z-]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "notebooks/README.md"])
def test_links_to_files_lead_somewhere(name):
    page = ROOT / name
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
