"""The package as a whole: what imports load and change, what is public, documented and packed."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import da_toolkit.datasets
import pytest

import shift_detectors

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "shift_detectors",
    "da_toolkit",
    "da_toolkit.alignment",
    "da_toolkit.datasets",
    "da_toolkit.label_shift",
    "da_toolkit.selection",
    "da_toolkit.validation",
    "da_toolkit.weighting",
    *(pytest.param(name, marks=pytest.mark.torch) for name in ("da_toolkit.deep", "da_toolkit.transfer")),
)
DATASETS = sorted(f"da_toolkit.datasets.{module.name}" for module in pkgutil.iter_modules(da_toolkit.datasets.__path__))
# public things without a doctest, and why
NO_EXAMPLE = {
    "ColumnShift": "part of a report",
    "Region": "part of a report",
    "ShiftReport": "made by diagnose, whose example prints it",
    "Verdict": "part of a report",
    "ShiftTestResult": "returned by every test, whose examples read it",
    "FeatureShift": "part of a report",
    "Effect": "part of a report",
    "DomainMap": "part of a report",
    "FeatureSummary": "part of a report",
    "Impact": "part of a report",
    "LabelBudget": "part of a report",
    "Overlap": "part of a report",
    "PerformanceEstimate": "part of a report",
    "PriorEstimate": "part of a report",
    "Candidate": "a row of the result of adapt",
    "AdaptationResult": "made by adapt, whose example reads it",
    "Recommendation": "made by recommend, whose example reads it",
    "MissingDependencyError": "raised where an extra is missing",
    "ShiftWarning": "a category of warnings",
    "BaseAligner": "to be subclassed: each aligner has an example",
    "BaseRatio": "to be subclassed: each ratio has an example",
    "DomainBatch": "given to every loss, whose examples make it",
    "Scene": "given by list_scenes, whose example reads it",
    "AlignmentLoss": "to be subclassed: each loss has an example",
}


def python(code: str) -> dict:
    """What `code` prints as JSON, run by a fresh interpreter away from the checkout."""
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- imports -----------------------------------------------------------------------------------------------

LOADED = "import json, sys, time; t = time.perf_counter(); {}; t = time.perf_counter() - t; \
print(json.dumps([t, sorted({{name.split('.')[0] for name in sys.modules}})]))"


@pytest.mark.parametrize(
    "statement, absent",
    [
        ("import shift_detectors", {"torch", "matplotlib", "da_toolkit", "sklearn", "pandas", "scipy"}),
        ("import da_toolkit", {"torch", "matplotlib", "sklearn", "pandas", "scipy"}),
        ("from shift_detectors import *", {"torch", "matplotlib", "da_toolkit"}),
        ("from da_toolkit import *", {"torch", "skorch"}),
        ("import da_toolkit.datasets", {"torch", "matplotlib"}),
        ("import da_toolkit.cli", {"torch", "matplotlib", "sklearn"}),
    ],
)
def test_an_import_loads_no_more_than_it_must(statement, absent):
    _, loaded = python(LOADED.format(statement))
    assert not absent & set(loaded)


@pytest.mark.parametrize("package", ["shift_detectors", "da_toolkit"])
def test_an_import_takes_well_under_a_second(package):
    assert min(python(LOADED.format(f"import {package}"))[0] for _ in range(3)) < 0.3


@pytest.mark.torch
def test_imports_change_no_global_state():
    changed = python("""
import importlib, json, os, pkgutil, random, sys, warnings
import jinja2, matplotlib.pyplot, numpy as np, pandas, rich.console, scipy.optimize, sklearn
import skorch, torch

def state():
    return {
        "errstate": np.geterr(),
        "numpy seed": str(np.random.get_state()),
        "print options": str(np.get_printoptions()),
        "seed": str(random.getstate()),
        "warnings": str(warnings.filters),
        "sklearn": sklearn.get_config(),
        "rcParams": str(matplotlib.rcParams),
        "backend": dict.__getitem__(matplotlib.rcParams, "backend"),  # without choosing one
        "pandas": [pandas.get_option(name) for name in ("display.width", "mode.copy_on_write")],
        "environment": dict(os.environ),
        "torch": str([torch.initial_seed(), torch.get_num_threads(), torch.get_default_dtype()]),
        "excepthook": str(sys.excepthook),
    }

importlib.import_module("sklearn.utils.estimator_checks")  # sklearn's own late changes come first
before = state()
import da_toolkit, da_toolkit.datasets, shift_detectors
for package in (shift_detectors, da_toolkit, da_toolkit.datasets):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
        importlib.import_module(module.name)
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
""")
    assert changed == []


def imports(path: Path):
    """(root package, at the top level?) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        else:
            continue
        for name in names:
            yield name.split(".")[0], node in tree.body


def test_the_tests_never_import_the_adapters():
    guilty = [path.name for path in ROOT.glob("shift_detectors/**/*.py") if "da_toolkit" in dict(imports(path))]
    assert guilty == []


def test_torch_is_imported_at_the_top_of_deep_and_transfer_files_only():
    for folder in ("shift_detectors", "da_toolkit", "datasets"):
        for path in (ROOT / folder).glob("**/*.py"):
            if path.parent.name not in ("deep", "transfer"):
                assert ("torch", True) not in set(imports(path)), path


# --- public names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_resolves(package):
    module = importlib.import_module(package)
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", PACKAGES)
def test_star_import(package):
    names: dict = {}
    module = importlib.import_module(package)
    exec(f"from {package} import *", names)
    assert set(module.__all__) <= set(names)


@pytest.mark.parametrize("package", [shift_detectors, da_toolkit], ids=lambda module: module.__name__)
def test_the_lazy_table_and_the_public_list_agree(package):
    assert {*package._HOME, "__version__"} == set(package.__all__)


def public():
    seen = set()
    for package in PACKAGES:
        name = package if isinstance(package, str) else package.values[0]
        module = importlib.import_module(name)
        for attribute in module.__all__:
            thing = getattr(module, attribute)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and id(thing) not in seen:
                seen.add(id(thing))
                yield attribute, thing


@pytest.mark.torch
def test_every_public_class_and_function_has_an_example():
    without = {name for name, thing in public() if ">>> " not in (inspect.getdoc(thing) or "")}
    assert without - set(NO_EXAMPLE) == set()


@pytest.mark.torch
def test_the_list_of_exemptions_is_not_stale():
    having = {name for name, thing in public() if ">>> " in (thing.__doc__ or "")}
    assert set(NO_EXAMPLE) & having == set()


@pytest.mark.torch
def test_every_parameter_of_a_public_class_or_function_is_documented():
    lacking = {}
    for name, thing in public():
        if inspect.isclass(thing) and issubclass(thing, Exception) or not thing.__doc__:
            continue
        # a variant of a method has its constructor, and the documentation of that
        same = [c for c in thing.__mro__ if c.__init__ is thing.__init__] if inspect.isclass(thing) else [thing]
        documented = {
            word.strip(" *")
            for text in (inspect.getdoc(thing), *(item.__doc__ for item in same))
            for line in re.findall(r"^\s*([\w*, ]+?)(?: :|$)", text or "", re.MULTILINE)
            for word in line.split(",")
        }
        parameters = set(inspect.signature(thing).parameters) - {"args", "kwargs"}
        if parameters - documented:
            lacking[name] = sorted(parameters - documented)
    assert lacking == {}


@pytest.mark.parametrize("name", DATASETS)
def test_doctests_of_datasets_under_their_installed_name(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# --- packaging ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def folders() -> dict[str, Path]:
    """Package name -> folder, of every folder with Python files."""
    found = {"da_toolkit.datasets": ROOT / "datasets"}
    for top in ("shift_detectors", "da_toolkit"):
        for file in (ROOT / top).glob("**/*.py"):
            found[".".join(file.parent.relative_to(ROOT).parts)] = file.parent
    return found


def test_the_list_of_packages_matches_the_folders(config):
    assert set(config["options"]["packages"].split()) == set(folders())


def test_every_data_file_is_packed(config):
    packed = {
        file
        for name, patterns in config["options.package_data"].items()
        for pattern in re.split(r"[,\s]+", patterns.strip())
        for file in folders()[name].glob(pattern)
    }
    present = {
        file
        for folder in folders().values()
        for file in folder.glob("**/*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert present - packed == set()


def test_one_version_everywhere():
    assert da_toolkit.__version__ == shift_detectors.__version__ == importlib.metadata.version("da-toolkit")


def test_the_command_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="da-toolkit")
    assert callable(script.load())


def test_every_extra_that_an_error_names_exists(config):
    named = {
        extra
        for folder in folders().values()
        for file in folder.glob("*.py")
        for extra in re.findall(r"MissingDependencyError\([^()]*,\s*\"(\w+)\"\)", file.read_text("utf-8"))
    }
    assert named and named <= set(config["options.extras_require"])


def test_the_oldest_versions_tested_are_those_promised():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
    promised = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)", listed, re.MULTILINE))
    pins = re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE)
    for name, version in pins:
        assert f"{version}.".startswith(f"{promised[name]}."), name
    required = re.findall(r"^([\w-]+)>=", setup["options"]["install_requires"].strip(), re.MULTILINE)
    assert set(required) <= {name for name, _ in pins}
