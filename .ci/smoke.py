"""Does the installed wheel work by itself, with the core dependencies only? .ci/run runs a copy elsewhere."""

import importlib.util
import sys
import tempfile
from pathlib import Path

import da_toolkit.datasets
from sklearn.linear_model import LogisticRegression

import da_toolkit
import shift_detectors

home = Path(sys.prefix).resolve()
for package in (shift_detectors, da_toolkit, da_toolkit.datasets):
    assert home in Path(package.__file__).resolve().parents, f"imported from {package.__file__}"
assert importlib.util.find_spec("datasets") is None, "a top-level package named datasets was installed"

pair = da_toolkit.datasets.make_label_shift(n_source=300, n_target=300, random_state=0)
report = shift_detectors.diagnose(*pair.seen, random_state=0)
result = da_toolkit.adapt(LogisticRegression(), *pair.seen, report=report, random_state=0)
with tempfile.TemporaryDirectory() as folder:
    for name, shown in (("report", report), ("result", result)):
        page = shown.to_html(Path(folder) / f"{name}.html")
        assert page.lstrip().lower().startswith("<!doctype html"), f"{name}.to_html() is no page"

assert importlib.util.find_spec("torch") is None, "torch is no core dependency"
try:
    import da_toolkit.deep
except ImportError as error:
    assert "da-toolkit[deep]" in str(error), error
else:
    raise AssertionError("da_toolkit.deep was imported without torch")

sys.stdout.write(f"smoke test passed: {report.verdict.kind}, {result.adapter} ({result.status})\n")
