"""Pictures and outputs of the pages, made by the library itself so that they show what it does now.

What is newer than every source file is kept: a second build computes nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from da_toolkit import datasets
from shift_detectors import diagnose
from shift_detectors._figure import legend_handles
from shift_detectors._plot import DomainMapDisplay, EffectsDisplay, PriorDisplay
from shift_detectors._style import style

ROOT = Path(__file__).resolve().parents[2]
# kind of verdict -> who makes such data, and how strongly they shift
KINDS: dict[str, tuple[Callable, float]] = {
    "none": (datasets.make_no_shift, 1.0),
    "covariate": (datasets.make_covariate_shift, 2.0),
    "label": (datasets.make_label_shift, 1.5),
    "conditional": (datasets.make_conditional_shift, 3.0),
    "concept": (datasets.make_concept_shift, 1.5),
    "mixed": (datasets.make_mixed_shift, 2.0),
    "support": (datasets.make_support_shift, 1.0),
}


def fences(page: Path, language: str = "python") -> list[str]:
    """Code blocks of a Markdown page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_tables(folder: Path) -> None:
    """``source.csv`` and ``target.csv`` of the quick start: the classes have other frequencies in the target."""
    pair = datasets.make_label_shift(n_source=400, n_target=400, n_features=5, random_state=0)
    source, target = (pd.DataFrame(X, columns=[*"abcde"]) for X in (pair.X_source, pair.X_target))
    source.assign(y=pair.y_source).to_csv(folder / "source.csv", index=False)
    target.to_csv(folder / "target.csv", index=False)


@contextlib.contextmanager
def working_directory(folder: str) -> Iterator[None]:
    """Somewhere else for a while (`contextlib.chdir` from Python 3.11 on)."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def draw_kind(kind: str, path: Path) -> None:
    """The rows, the classes and the tests of one kind of shift, side by side."""
    make, strength = KINDS[kind]
    pair = make(n_source=800, n_target=800, n_features=2, strength=strength, random_state=0)
    report = diagnose(pair.X_source, pair.y_source, pair.X_target, pair.y_target, random_state=0)
    if report.verdict.kind != kind:
        raise RuntimeError(f"the picture of {kind} shift would show {report.verdict.kind}: choose other data")
    with style():
        figure = Figure(figsize=(9.6, 2.8), layout="constrained", facecolor="white")
        axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
        for display, ax in zip((DomainMapDisplay, PriorDisplay, EffectsDisplay), axes, strict=True):
            display.from_report(report, ax=ax)
        for ax, title in zip(axes, ("Rows", "Class frequencies", "What differs, and how much"), strict=True):
            ax.set_title(title)
        figure.legend(handles=legend_handles(), loc="outside lower left", ncols=2, fontsize=8)
        figure.savefig(path, dpi=130)


def run_quickstart(page: Path, folder: Path) -> None:
    """Run the blocks of the quick start; what they print goes to ``quickstart-N.txt``, the report beside them."""
    names: dict = {}
    with tempfile.TemporaryDirectory() as scratch, working_directory(scratch):
        write_tables(Path())
        for number, block in enumerate(fences(page), start=1):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block, page.name, "exec"), names)
            (folder / f"quickstart-{number}.txt").write_text(printed.getvalue(), encoding="utf-8")
        (folder / "report.html").write_bytes(Path("report.html").read_bytes())


def make_all(pages: Path, folder: Path) -> None:
    """Every picture and output that is older than the library, this file or the quick start."""
    folder.mkdir(parents=True, exist_ok=True)
    quickstart = pages / "quickstart.md"
    library = [file for name in ("shift_detectors", "da_toolkit", "datasets") for file in (ROOT / name).rglob("*.py")]
    changed = max(file.stat().st_mtime for file in [*library, Path(__file__), quickstart])

    def stale(name: str) -> bool:
        return not (folder / name).exists() or (folder / name).stat().st_mtime < changed

    for kind in KINDS:
        if stale(f"{kind}.png"):
            draw_kind(kind, folder / f"{kind}.png")
    if stale("report.html"):
        run_quickstart(quickstart, folder)
