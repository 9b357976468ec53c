"""The notebooks run from top to bottom, offline; what they find, and the kinds of their outputs, are as stored.

``python tests/test_notebooks.py [01 05 ...]`` runs notebooks and stores their outputs anew.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDS_TORCH = {"05_dann_on_my_module"}
MAX_BYTES = 300_000
ABSOLUTE_PATH = r"(?<![\w.<:/])/(?:home|Users|tmp|work|root|usr|opt|var|private)/|\b[A-Z]:\\\\"
PUBLIC = {"da_toolkit", "da_toolkit.datasets", "da_toolkit.deep", "da_toolkit.transfer", "da_toolkit.validation"}
PUBLIC |= {"shift_detectors"}


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs; files that it writes go into a folder that vanishes."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        config = Config()
        if sys.platform != "win32":  # sockets that are files: kernels that start at once cannot take each other's ports
            config.KernelManager = Config(transport="ipc", ip=f"{folder}/kernel")
        options = {"timeout": 300, "kernel_name": "python3", "record_timing": False}
        NotebookClient(notebook, resources=resources, config=config, **options).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of this interpreter
    return notebook


def store(path: Path) -> None:
    nbformat.write(execute(path), path)


def code_cells(notebook: nbformat.NotebookNode) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell) -> list[str]:
    """All that a cell shows in words, pictures left out."""
    found = []
    for output in cell.outputs:
        found.append(output.get("text", ""))
        found += [data for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return found


def shapes(cell) -> list:
    """Of what kind each output of a cell is."""
    return [(output.output_type, output.get("name"), sorted(output.get("data", {}))) for output in cell.outputs]


def verdicts(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What the cells tagged "verdict" say: words that must not depend on the machine."""
    return [texts(cell) for cell in code_cells(notebook) if "verdict" in cell.metadata.get("tags", [])]


def test_all_seven_are_here():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{k:02d}" for k in range(1, 8)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MAX_BYTES
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    assert "image/png" in cells[-1].outputs[-1]["data"], "the story ends in a picture"
    assert any(verdicts(notebook)), "a cell tagged 'verdict' says what was found"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
        for text in texts(cell):
            assert not re.search(r"Warning\b|Traceback", text), text
            assert not re.search(ABSOLUTE_PATH, text), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_public_names_only(path):
    """A reader can do all this: no private name is imported or used."""
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("da_toolkit", "shift_detectors")):
                assert node.module in PUBLIC
            if isinstance(node, ast.Attribute):
                assert not re.match(r"_(?!_)", node.attr), node.attr


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[pytest.mark.torch] * (p.stem in NEEDS_TORCH)) for p in NOTEBOOKS]
)
def test_runs_and_says_the_same(path):
    stored, fresh = nbformat.read(path, as_version=4), execute(path)
    again = f"python tests/test_notebooks.py {path.name[:2]} stores the outputs anew"
    assert verdicts(fresh) == verdicts(stored), again
    assert [shapes(cell) for cell in code_cells(fresh)] == [shapes(cell) for cell in code_cells(stored)], again


if __name__ == "__main__":
    for path in NOTEBOOKS:
        if len(sys.argv) == 1 or path.name[:2] in sys.argv[1:]:
            store(path)
