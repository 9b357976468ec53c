"""The command line: arguments reach the library, files are read and written, errors are one line."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import types
import warnings
from dataclasses import dataclass, field

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from da_toolkit import cli
from da_toolkit._files import read_model, read_table
from da_toolkit.cli._output import keep_streams_open
from shift_detectors._base import BaseDetector
from shift_detectors._errors import ShiftWarning


@dataclass
class Verdict:
    kind: str = "covariate"
    strength: str = "assumed"
    untestable: tuple = ()


@dataclass
class Answer:
    """Stands for a ShiftReport and an AdaptationResult."""

    verdict: Verdict = field(default_factory=Verdict)
    shifts: frozenset = frozenset({"p(x)"})
    separators: tuple = ()
    notes: tuple = ()
    estimator: object = None
    prior: object = None
    tested: tuple = ("p(x)",)
    labels_selected: bool = False
    labels_by_y: bool = False

    def __str__(self):
        return "the answer in words"

    def test(self, quantity):
        return quantity if quantity in self.tested else None

    def to_html(self, path):
        path = str(path)
        with open(path, "w") as file:
            file.write("<html>")

    def to_json(self, path=None):
        if path is not None:
            with open(path, "w") as file:
                file.write("{}")
        return "{}"


class Call:
    """A stand-in that remembers how it was called."""

    def __init__(self, answer):
        self.answer, self.arguments, self.keywords = answer, None, None

    def __call__(self, *arguments, **keywords):
        self.arguments, self.keywords = arguments, keywords
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def diagnose(monkeypatch):
    import shift_detectors

    call = Call(Answer())
    monkeypatch.setitem(vars(shift_detectors), "diagnose", call)
    return call


@pytest.fixture
def adapt(monkeypatch):
    import da_toolkit

    call = Call(Answer(estimator=LogisticRegression(C=7)))
    monkeypatch.setitem(vars(da_toolkit), "adapt", call)
    return call


def table(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 80, n),
            "ward": rng.choice(["a", "b"], n),
            "site": np.arange(n) // 3,
            "w": 1.0 + rng.random(n),
            "ill": rng.integers(0, 2, n),
        }
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Source and target as CSV, in the current folder."""
    monkeypatch.chdir(tmp_path)
    table().to_csv("source.csv", index=False)
    target = table(20, 1)
    target["ill"] = target["ill"].where(target.index < 5)
    target.to_csv("target.csv", index=False)
    joblib.dump(LogisticRegression().fit(table()[["age", "w"]], table()["ill"]), "model.joblib")
    return tmp_path


def run(capsys, command):
    """Exit code, standard output, standard error."""
    code = cli.main(command.split())
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, command, *words):
    """Exit code 2 and one line, below warnings, that has every word."""
    code, out, err = run(capsys, command)
    assert code == 2 and not out and "Traceback" not in err and "usage: da-toolkit [" not in err
    last = err.strip().splitlines()[-1]
    assert "error: " in last
    for word in words:
        assert word in last
    return err


# ------------------------------------------------------------------ diagnose


def test_diagnose_passes_tables_labels_and_options(files, capsys, diagnose):
    code, out, err = run(
        capsys,
        "diagnose source.csv target.csv --label ill --groups site --weight w --exclude age,ward --alpha .01 "
        "--task classification --random-state 3 --report r.html --json r.json",
    )
    assert code == 0 and out == "the answer in words\n"
    X_source, y_source, X_target, y_target = diagnose.arguments
    assert list(X_source) == list(X_target) == ["age", "ward"]
    pd.testing.assert_frame_equal(X_source, table()[["age", "ward"]])
    pd.testing.assert_series_equal(y_source, table()["ill"])
    assert y_target.notna().sum() == 5
    keywords = diagnose.keywords
    pd.testing.assert_series_equal(keywords["groups"], table()["site"])
    assert len(keywords["groups_target"]) == len(keywords["sample_weight_target"]) == 20
    np.testing.assert_allclose(keywords["sample_weight"], table()["w"])
    assert keywords["exclude"] == ["age", "ward"] and keywords["alpha"] == 0.01
    assert keywords["task"] == "classification" and keywords["random_state"] == 3
    assert keywords["progress"] is False and keywords["estimator"] is None
    assert (files / "r.html").read_text() == "<html>" and (files / "r.json").read_text() == "{}"
    assert "r.html" in err and "r.json" in err


def test_labels_may_be_absent(files, capsys, diagnose):
    table(20, 1).drop(columns=["ill", "w"]).to_csv("target.csv", index=False)
    assert run(capsys, "diagnose source.csv target.csv --label ill --weight w")[0] == 0
    assert diagnose.arguments[3] is None and "sample_weight_target" not in diagnose.keywords
    table().drop(columns=["ill", "w"]).to_csv("source.csv", index=False)
    assert run(capsys, "diagnose source.csv target.csv")[0] == 0
    assert diagnose.arguments[1] is None and diagnose.arguments[3] is None


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".pq", ".CSV"])
def test_other_formats_are_equal_to_csv(files, capsys, diagnose, suffix):
    name = f"source{suffix}"
    if suffix in (".parquet", ".pq"):
        pytest.importorskip("pyarrow")
        table().to_parquet(name, engine="pyarrow")
    else:
        table().to_csv(name, index=False, compression="gzip" if suffix == ".csv.gz" else None)
    assert run(capsys, f"diagnose {name} target.csv --label ill")[0] == 0
    pd.testing.assert_frame_equal(diagnose.arguments[0], table().drop(columns="ill"))


def test_separator(files, capsys, diagnose):
    for name in ("source", "target"):
        table().to_csv(f"{name}.csv", index=False, sep=";")
    fails(capsys, "diagnose source.csv target.csv --label ill", "one column only", '--separator ";"')
    assert run(capsys, "diagnose source.csv target.csv --label ill --separator ;")[0] == 0


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".txt"])
def test_tabs(files, capsys, diagnose, suffix):
    table().to_csv(f"source{suffix}", index=False, sep="\t")
    pd.read_csv("target.csv").to_csv("target.tsv", index=False, sep="\t")
    assert run(capsys, rf"diagnose source{suffix} target.tsv --label ill --separator \t")[0] == 0
    pd.testing.assert_frame_equal(diagnose.arguments[0], table().drop(columns="ill"))
    assert run(capsys, rf"predict model.joblib source{suffix} --separator \t --out p.tsv --proba")[0] == 0
    assert pd.read_csv("p.tsv", sep="\t").shape == (30, 3)


def test_decimal(files, capsys, diagnose):
    rng = np.random.default_rng(0)
    (files / "days").mkdir()
    for path in ("source.csv", "target.csv", "days/1.csv", "days/2.csv"):
        X = pd.DataFrame({"a": rng.normal(size=70), "b": rng.normal(size=70)})
        X.to_csv(path, index=False, sep=";", decimal=",")
    command = "diagnose source.csv target.csv --separator ;"
    assert run(capsys, f"{command} --decimal ,")[0] == 0
    assert [data.dtypes.tolist() for data in diagnose.arguments[::2]] == [[float, float]] * 2
    assert run(capsys, "diagnose source.csv days --separator ; --decimal ,")[0] == 0
    assert diagnose.arguments[0].decimal == ","
    rows = pd.read_csv("source.csv", sep=";", decimal=",")
    joblib.dump(LinearRegression().fit(rows[["a"]], rows["b"]), "line.joblib")
    assert run(capsys, "predict line.joblib source.csv --separator ; --decimal , --drop b --quiet")[0] == 0
    assert run(capsys, "monitor source.csv days --state s.npz --separator ; --decimal ,")[0] == 0


def test_a_decimal_comma_is_advised(files, capsys):
    rng = np.random.default_rng(0)
    (files / "days").mkdir()
    for path in ("source.csv", "days/1.csv", "days/2.csv"):
        pd.DataFrame({"a": rng.normal(size=70), "b": 1}).to_csv(path, index=False, sep=";", decimal=",")
    for target in ("source.csv", "days"):
        fails(capsys, f"diagnose source.csv {target} --separator ;", "'a' is text", '--decimal ",", or name it in --ex')
        assert run(capsys, f"diagnose source.csv {target} --separator ; --decimal ,")[0] == 0


def test_thousands_that_a_decimal_comma_cannot_read_are_told(files, capsys):
    amounts = [f"{x // 1000}.{x % 1000:03d},5" for x in range(1000, 90_000, 1000)]
    pd.DataFrame({"a": amounts, "b": 1}).to_csv("amounts.csv", index=False, sep=";")
    command = "diagnose amounts.csv amounts.csv --separator ; --decimal ,"
    fails(capsys, command, "'a' is text", 'Write it without separators of thousands and read it with --decimal ","')


@pytest.mark.parametrize(
    ("kind", "shifts", "fail_on", "code"),
    [
        ("covariate", {"p(x)"}, "covariate", 1),
        ("covariate", {"p(x)"}, "label,covariate", 1),
        ("covariate", {"p(x)"}, "label", 0),
        ("covariate", {"p(x)"}, "any", 1),
        ("none", set(), "any", 0),
        ("none", {"p(x)"}, "covariate,any", 0),
        ("support", {"p(x)"}, "support", 1),
        ("support", {"p(x)"}, "covariate", 1),
        ("support", {"p(x)"}, "concept", 0),
        ("support", {"p(x)", "p(y|x)"}, "concept", 1),
        ("conditional", {"p(x)", "p(x|y)", "p(y|x)"}, "concept", 1),
        ("conditional", {"p(x)", "p(x|y)", "p(y|x)"}, "label,mixed", 0),
        ("concept", {"p(y)"}, "concept", 1),
        ("mixed", {"p(x)", "p(y|x)"}, "concept", 1),
        ("mixed", {"p(x)", "p(y|x)"}, "label", 0),
        ("mixed", {"p(x)", "p(y|x)"}, "mixed", 1),
        ("mixed", {"p(x)", "p(y|x)"}, "support", 0),
    ],
)
def test_fail_on_is_the_exit_code(files, capsys, diagnose, kind, shifts, fail_on, code):
    diagnose.answer = Answer(Verdict(kind), frozenset(shifts))
    got, _, err = run(capsys, f"diagnose source.csv target.csv --label ill --fail-on {fail_on}")
    assert got == code and ("--fail-on: found" in err) == bool(code)
    assert run(capsys, "diagnose source.csv target.csv --label ill")[0] == 0


def test_fail_on_any_stops_at_a_column_that_tells_the_two_apart_alone(files, capsys):
    """A dead sensor is set aside like an identifier; a gate must not open because of it."""
    target = pd.read_csv("target.csv").assign(w=-999.0)
    target.to_csv("dead.csv", index=False)
    code, _, err = run(capsys, "diagnose source.csv dead.csv --label ill --exclude site --fail-on any")
    assert code == 1 and "apart alone: w (--exclude" in err
    assert run(capsys, "diagnose source.csv dead.csv --label ill --exclude site,w --fail-on any")[0] == 0
    code, out, err = run(capsys, "diagnose source.csv dead.csv --label ill --exclude site --fail-on covariate --quiet")
    assert code == 0 and not out and "only 'any' stops at what tells SOURCE and TARGET apart alone: w" in err


def test_quiet_prints_nothing(files, capsys, diagnose):
    command = "diagnose source.csv target.csv --label ill --fail-on any --report r.html --estimator model.joblib"
    assert run(capsys, f"{command} --quiet") == (1, "", "")


def test_json_to_standard_output(folder, capsys):
    for command in ("diagnose reference.csv reference.csv", "monitor reference.csv in --state s.npz --exclude ill"):
        assert isinstance(json.loads(run(capsys, f"{command} --json -")[1]), dict)
    assert not (folder / "-").exists()


def test_the_estimator_is_loaded_with_a_word_of_caution(files, capsys, diagnose):
    code, _, err = run(capsys, "diagnose source.csv target.csv --label ill --estimator model.joblib")
    assert code == 0 and "only use files that you trust" in err
    assert isinstance(diagnose.keywords["estimator"], LogisticRegression)


def test_folders_patterns_and_large_files_are_left_to_the_library_to_read(files, capsys, diagnose, monkeypatch):
    (files / "days").mkdir()
    for k in range(2):
        table(20, k).drop(columns="ill").to_csv(files / "days" / f"{k}.csv", index=False)
    code, *_ = run(capsys, "diagnose source.csv days --label ill --groups site")
    source, label, target, label_target = diagnose.arguments
    assert code == 0 and (source.path, target.path) == ("source.csv", "days")
    assert (label, label_target) == ("ill", None)
    assert diagnose.keywords["groups"] == diagnose.keywords["groups_target"] == "site"
    run(capsys, "diagnose sour*.csv target.csv --label ill --separator ,")
    assert diagnose.arguments[0].path == "sour*.csv" and diagnose.arguments[3] == "ill"
    run(capsys, "diagnose source.csv target.csv")
    assert isinstance(diagnose.arguments[0], pd.DataFrame)
    monkeypatch.setattr(cli._input, "LARGE", 1000)
    run(capsys, "diagnose source.csv target.csv")
    assert diagnose.arguments[0].path == "source.csv" and diagnose.keywords["task"] == "auto"
    fails(capsys, "diagnose source.csv days --label il", "no column 'il'", "Did you mean 'ill'")
    fails(capsys, "diagnose source.csv days --weight w", "--weight")
    fails(capsys, "diagnose source.csv no*.csv", "TARGET: no file matches")
    (files / "empty").mkdir()
    fails(capsys, "diagnose empty days", "SOURCE: the folder empty holds no")


def test_a_folder_is_diagnosed_for_real(files, capsys):
    (files / "days").mkdir()
    for k in range(3):
        table(60, k).assign(age=90).to_csv(files / "days" / f"{k}.csv", index=False)
    code, out, _ = run(capsys, "diagnose source.csv days --label ill --exclude site,w --fail-on any")
    assert code == 1 and "180 target rows" in out


def test_warnings_are_one_line_each(files, capsys, monkeypatch):
    import shift_detectors

    def diagnose(*_, **__):
        for _ in range(2):
            warnings.warn("rows are\ncopies", ShiftWarning, stacklevel=2)
        warnings.warn("old name", DeprecationWarning, stacklevel=2)
        return Answer()

    monkeypatch.setitem(vars(shift_detectors), "diagnose", diagnose)
    _, _, err = run(capsys, "diagnose source.csv target.csv --label ill")
    assert err == "da-toolkit: warning: rows are copies\n"


# ------------------------------------------------------------------ adapt, predict, list, demo


def test_adapt_writes_the_model_it_was_given_back(files, capsys, adapt):
    code, out, err = run(
        capsys,
        "adapt source.csv target.csv --label ill --model model.joblib --out new.joblib --candidates A,B "
        "--report r.html",
    )
    assert code == 0 and out == "the answer in words\n" and "model written to new.joblib" in err
    assert joblib.load("new.joblib").C == 7
    assert isinstance(adapt.arguments[0], LogisticRegression) and len(adapt.arguments) == 5
    assert adapt.keywords == {
        "candidates": ["A", "B"],
        "guard": True,
        "scoring": None,
        "random_state": 0,
        "progress": False,
    }


@pytest.mark.parametrize(("rest", "columns"), [("", ["age", "w"]), (" --weight w", ["age", "ward", "site"])])
def test_adapt_reads_the_columns_of_the_model(files, capsys, adapt, rest, columns):
    command = f"adapt source.csv target.csv --label ill --model model.joblib --out new.joblib{rest}"
    assert ("without them: ward and site" in run(capsys, command)[2]) == (not rest)
    assert [list(X) for X in adapt.arguments[1:4:2]] == [columns, columns]


def test_adapt_options(files, capsys, adapt):
    command = "adapt source.csv target.csv --label ill --model model.joblib --out new.joblib --no-guard --frozen"
    assert run(capsys, f"{command} --scoring neg_log_loss")[0] == 0
    assert isinstance(adapt.arguments[0], FrozenEstimator)
    assert adapt.keywords["guard"] is False and adapt.keywords["candidates"] == "auto"
    assert adapt.keywords["scoring"] == "neg_log_loss"


def test_predict(files, capsys):
    model = joblib.load("model.joblib")
    code, out, err = run(capsys, "predict model.joblib target.csv --quiet")
    assert code == 0 and not err
    expected = model.predict(table(20, 1)[["age", "w"]])
    assert out.split() == ["prediction", *map(str, expected)]
    assert run(capsys, "predict model.joblib target.csv --out p.csv.gz --proba")[0] == 0
    with gzip.open("p.csv.gz", "rt") as file:
        got = pd.read_csv(file)
    assert list(got) == ["prediction", "p(0)", "p(1)"]
    np.testing.assert_allclose(got["p(1)"], model.predict_proba(table(20, 1)[["age", "w"]])[:, 1])


def test_predict_with_a_model_that_knows_no_names(files, capsys):
    joblib.dump(LinearRegression().fit(table()[["age", "w"]].to_numpy(), table()["ill"]), "plain.joblib")
    fails(capsys, "predict plain.joblib target.csv", "cannot predict these rows", "--drop")
    table()[["age", "w", "ill"]].to_csv("rows.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinearRegression, "predict", lambda self, X: X.to_numpy() @ self.coef_)
        assert run(capsys, "predict plain.joblib rows.csv --drop ill")[0] == 0
    fails(capsys, "predict plain.joblib rows.csv --proba", "no probabilities")
    fails(capsys, "predict plain.joblib rows.csv --drop sick", "no column 'sick'")


def test_list(capsys, monkeypatch):
    import shift_detectors

    class Seen(BaseDetector):
        """Is it seen?"""

        quantity = "p(x)"
        requires = frozenset({"y_source"})

    row = types.SimpleNamespace(
        name="Aligner",
        addresses=("covariate", "label"),
        tasks=("regression",),
        target_labels="unused",
        extra=None,
        slot="Wrapper.aligner",
    )
    registry = types.ModuleType("da_toolkit._registry")
    registry.ADAPTERS = (row,)
    monkeypatch.setitem(sys.modules, "da_toolkit._registry", registry)
    monkeypatch.setitem(vars(shift_detectors), "Seen", Seen)
    monkeypatch.setitem(vars(shift_detectors), "__all__", ["Seen"])
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "Aligner\tWrapper.aligner\tcovariate, label\tregression\tunused\t\n" in out
    assert "Seen\tp(x)\ty_source\tIs it seen?\n" in out
    assert "Aligner" not in run(capsys, "list tests")[1] and "Seen" not in run(capsys, "list adapters")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "Adapters" in run(capsys, "list")[1]


def test_datasets_are_listed_and_written(files, capsys, monkeypatch):
    monkeypatch.setenv("DA_TOOLKIT_DATA", str(files))
    code, out, _ = run(capsys, "datasets")
    assert code == 0 and "clinic\tcovariate\tshipped\t" in out and "heart_disease\tmixed\tnot here\t" in out
    code, out, err = run(capsys, "datasets clinic")
    assert code == 0 and not out and "282 source and 287 target rows in clinic" in err
    written = pd.read_csv("clinic/source.csv")
    assert len(written) == 282 and set(written["label"]) == {0, 1}
    fails(capsys, "datasets clinc", "Did you mean 'clinic'?")
    fails(capsys, "datasets clinic --out .", "source.csv exists already")
    fails(capsys, "datasets clinic --out new --source a", "no domains to choose from")
    fails(capsys, "datasets heart_disease", "heart_disease_hospitals.csv.gz is not in")


def test_datasets_of_real_domains(files, capsys, monkeypatch):
    import da_toolkit.datasets as known

    def fetch(name):
        X = np.arange(12.0).reshape(6, 2)
        domain = np.array(["red", "red", "white", "white", "rose", "rose"])
        X = sparse.csr_matrix(X) if name == "newsgroups" else X
        return known.Domains({e.name: e for e in known.list_datasets()}[name], X, np.arange(6), domain)

    monkeypatch.setattr(known, "fetch", fetch)
    assert run(capsys, "datasets wine_quality --out a")[0] == 0
    assert pd.read_csv("a/source.csv")["label"].tolist() == [2, 3] and list(pd.read_csv("a/target.csv")["x1"]) == [1, 3]
    assert run(capsys, "datasets wine_quality --target ro* --out b")[0] == 0
    assert pd.read_csv("b/source.csv")["label"].tolist() == [0, 1, 2, 3]
    fails(capsys, "datasets newsgroups --source red", "sparse")
    assert not (files / "newsgroups").exists()


def test_demo(capsys, monkeypatch, tmp_path):
    import da_toolkit

    call = Call(None)
    module = types.ModuleType("da_toolkit.demo")
    module.run = call
    monkeypatch.setitem(sys.modules, "da_toolkit.demo", module)
    monkeypatch.setitem(vars(da_toolkit), "demo", module)
    assert run(capsys, f"demo --out {tmp_path}")[0] == 0
    assert call.arguments == (str(tmp_path),)


# ------------------------------------------------------------------ monitor


@pytest.fixture
def folder(files):
    """A reference of 300 rows, and a folder with twelve batches of which the last four are older people."""
    table(300, 5).drop(columns="site").to_csv("reference.csv", index=False)
    (files / "in").mkdir()
    for k in range(12):
        batch = table(40, 10 + k).drop(columns="site")
        batch["age"] += 40 * (k >= 8)
        batch.drop(columns=["ill"] if k % 2 else []).to_csv(f"in/{k:02}.csv", index=False)
    return files


def test_monitor_reads_a_folder_and_goes_on_where_it_was(folder, capsys):
    from shift_detectors._monitor import ShiftMonitor

    late = folder / "in" / "late"
    late.mkdir()
    for name in ("08.csv", "09.csv", "10.csv", "11.csv"):
        (folder / "in" / name).rename(late / name)
    (folder / "in" / "readme.txt").write_text("no batch")
    command = "monitor reference.csv in --state s.npz --label ill --json m.json --plot m.png"
    code, out, err = run(capsys, command)
    assert code == 0 and out.startswith("No alarm after 8 batches, 320 rows") and not err
    assert (folder / "m.png").read_bytes()[:4] == b"\x89PNG"
    assert ShiftMonitor.load("s.npz").n_labelled == 160
    for path in sorted(late.iterdir()):
        path.rename(folder / "in" / path.name)
    code, out, err = run(capsys, command)
    assert code == 1 and "of 12 batches" in out and "age: higher" in out
    name = err.split()[-1]
    assert err.startswith("da-toolkit: alarm raised by ") and name in ("08.csv", "09.csv", "10.csv")
    assert f'"alarm_name": "{name}"' in (folder / "m.json").read_text()
    before = (folder / "s.npz").read_bytes()
    code, again, err = run(capsys, command)  # nothing new: the verdict stays
    assert code == 1 and again == out and not err and (folder / "s.npz").read_bytes() == before
    assert run(capsys, f"{command} --quiet") == (1, "", "")


def test_monitor_in_one_run_and_in_two_is_the_same(folder, capsys):
    from shift_detectors._monitor import ShiftMonitor

    run(capsys, "monitor reference.csv in --state one.npz")
    (folder / "part").mkdir()
    for k in range(12):
        (folder / "in" / f"{k:02}.csv").rename(folder / "part" / f"{k:02}.csv")
        if k in (4, 11):
            run(capsys, "monitor reference.csv part --state two.npz")
    assert ShiftMonitor.load("one.npz").step == ShiftMonitor.load("two.npz").step


def test_monitor_watches_until_the_alarm(folder, capsys, monkeypatch):
    hidden = {k: (folder / "in" / f"{k:02}.csv").rename(folder / f"{k:02}.csv") for k in range(4, 12)}
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        k = min(hidden)
        hidden.pop(k).rename(folder / "in" / f"{k:02}.csv")

    monkeypatch.setattr(cli._monitor.time, "sleep", sleep)
    assert run(capsys, "monitor reference.csv in --state s.npz --watch 7 --exclude ill")[0] == 1
    assert set(waits) == {7.0} and 5 <= len(waits) < 8


def test_monitor_goes_on_beside_a_file_that_cannot_be_read(folder, capsys):
    (folder / "in" / "02.csv").write_text('age,w\n1,2\nx,"')
    code, out, err = run(capsys, "monitor reference.csv in --state s.npz --exclude ill")
    assert code == 1 and "in/02.csv cannot be read as CSV" in err and "alarm raised by" in err
    for k in range(3, 12):
        (folder / "in" / f"{k:02}.csv").unlink()
    code, out, err = run(capsys, "monitor reference.csv in --state t.npz --exclude ill")
    assert code == 2 and "2 batches" in out and err.count("\n") == 1
    table(30, 5).drop(columns="site").to_csv(folder / "in" / "02.csv", index=False)  # repaired
    assert run(capsys, "monitor reference.csv in --state t.npz --exclude ill")[0] == 0


def test_monitor_with_a_model(folder, capsys):
    model = LogisticRegression().fit(table(200, 6)[["age", "w"]], table(200, 6)["ill"])
    joblib.dump(model, "ill.joblib")
    command = "monitor reference.csv in --state s.npz --label ill --exclude ward --estimator"
    fails(capsys, f"{command} ill.joblib", "the estimator cannot predict")
    for path in [folder / "reference.csv", *(folder / "in").iterdir()]:
        pd.read_csv(path).drop(columns="ward").to_csv(path, index=False)
    command = "monitor reference.csv in --state s.npz --label ill --estimator"
    code, out, err = run(capsys, f"{command} ill.joblib")
    assert code == 1 and "only use files that you trust" in err
    said = fails(capsys, "monitor reference.csv in --state s.npz --label ill", "saved with --estimator", "Pass --est")
    assert "estimator=" not in said
    joblib.dump(model.set_params(C=2.0), "other.joblib")
    fails(capsys, f"{command} other.joblib", "with another model", "--state")
    assert run(capsys, f"{command} ill.joblib")[0] == 1


def test_monitor_tells_what_it_does_not_watch(folder, capsys):
    for path in [folder / "reference.csv", *(folder / "in").iterdir()]:
        rows = pd.read_csv(path)
        rows.assign(id=[f"{path.stem} {k}" for k in range(len(rows))]).to_csv(path, index=False)
    (folder / "in" / "99.csv").write_text("w\n1\n")
    for _ in range(2):  # when it is made, and when it goes on
        err = run(capsys, "monitor reference.csv in --state s.npz --exclude ill --json m.json")[2]
        assert "Left out of the tests: 'id'" in err and "the batch lacks 'age'" in err
        known = json.loads((folder / "m.json").read_text())
        assert "'id'" in known["notes"][0] and "99.csv" in known["unreadable"][0] and known["alarm"]


def test_monitor_input_errors(folder, capsys):
    fails(capsys, "monitor nowhere.csv in --state s.npz", "nowhere.csv does not exist")
    fails(capsys, "monitor reference.csv nowhere --state s.npz", "nowhere is not a folder")
    fails(capsys, "monitor reference.csv in --state no/s.npz", "the folder no does not exist")
    fails(capsys, "monitor reference.csv in", "--state")
    fails(capsys, "monitor reference.csv in --state s.npz --label il", "Did you mean 'ill'?")
    fails(capsys, "monitor reference.csv in --state s.npz --watch 0", "'0' is not a positive number of seconds")
    fails(capsys, "monitor reference.csv in --state s.npz --watch 1 --once", "not allowed")
    fails(capsys, "monitor source.csv in --state s.npz", "REFERENCE has 30 rows", "at least 60 rows")
    (folder / "s.npz").write_bytes(b"PK\x03\x04 cut off")
    fails(capsys, "monitor reference.csv in --state s.npz", "s.npz is damaged", "delete it")
    (folder / "s.npz").unlink()
    pd.read_csv("in/05.csv").drop(columns="age").to_csv("in/05.csv", index=False)
    code, _, err = run(capsys, "monitor reference.csv in --state s.npz --exclude ill")
    assert code == 1 and "05.csv cannot be read as a batch" in err and "lacks 'age'" in err
    from shift_detectors._monitor import ShiftMonitor

    assert ShiftMonitor.load("s.npz").batch == 11  # all the others
    fails(capsys, "monitor reference.csv in --state s.npz --exclude ill --alpha .1", "with other options", "--state")
    fails(capsys, "monitor source.csv in --state s.npz --exclude ill", "another reference")


# ------------------------------------------------------------------ wrong usage and input


def test_usage_errors(files, capsys):
    fails(capsys, "", "COMMAND")
    fails(capsys, "guess", "guess")
    fails(capsys, "diagnose source.csv", "TARGET")
    fails(capsys, "diagnose source.csv target.csv --label ill --fail-on drift", "drift", "covariate, label")
    fails(capsys, "diagnose source.csv target.csv --label ill --alpha 5", "'5' is not a number between 0 and 1")
    fails(capsys, "diagnose source.csv target.csv --label ill --alpha small", "between 0 and 1")
    fails(capsys, "diagnose source.csv target.csv --random-state x", "int")
    fails(capsys, "diagnose source.csv target.csv --random-state -1", "'-1' is not a whole number from 0 on")
    fails(capsys, "diagnose source.csv target.csv --separator ::", "'::' is not one character")
    fails(capsys, "adapt source.csv target.csv --label ill --out new.joblib", "--model")
    fails(capsys, "adapt source.csv target.csv --model model.joblib --out new.joblib", "--label")


def test_a_gate_that_cannot_close_says_so(files, capsys, diagnose):
    diagnose.answer = Answer(Verdict(untestable=("p(y|x)",)))
    rest = "diagnose source.csv target.csv --label ill --fail-on"
    blind = run(capsys, f"{rest} concept,mixed,label --quiet")[2]  # a gate that cannot close is never passed in silence
    assert "concept, mixed cannot be found without labels in TARGET" in blind
    assert "without labels" not in run(capsys, f"{rest} label,support,any")[2]
    diagnose.answer = Answer(Verdict("support", untestable=("p(y|x)",)), tested=("p(x)", "p(y|x)"))
    blind = run(capsys, f"{rest} concept,mixed,label,conditional --quiet")[2]
    assert "concept, mixed cannot be found (the target lies where the source has no rows)" in blind
    diagnose.answer.shifts = frozenset({"p(x)", "p(y|x)"})
    assert run(capsys, f"{rest} concept --quiet") == (1, "", "")
    diagnose.answer = Answer(Verdict(untestable=("p(x)", "p(y|x)")), frozenset())
    blind = run(capsys, f"{rest} covariate,any --quiet")[2]
    assert "covariate, any cannot be found (there are too few groups)" in blind
    diagnose.answer = Answer(Verdict(untestable=("p(y)", "p(x|y)")), tested=("p(x)", "p(y|x)"), labels_selected=True)
    blind = run(capsys, f"{rest} concept,label,conditional --quiet")[2]
    assert "label, conditional cannot be found (the labelled rows were chosen by x)" in blind
    by_y = {"labels_selected": True, "labels_by_y": True}
    diagnose.answer = Answer(Verdict(untestable=("p(y|x)",)), tested=("p(x)", "p(y|x)"), **by_y)
    blind = run(capsys, f"{rest} concept,label,conditional --quiet")[2]
    assert "concept, conditional cannot be found (the labelled rows were chosen by x or y)" in blind


def test_monitor_says_before_reading_what_it_could_not_draw_and_when_nothing_came(files, capsys):
    table(100).to_csv("reference.csv", index=False)
    (files / "in").mkdir()
    command = "monitor reference.csv in --state s.npz"
    fails(capsys, f"{command} --plot m.foo", "m.foo names no picture", ".png")
    assert not (files / "s.npz").exists()
    code, _, err = run(capsys, f"{command} --quiet")
    assert code == 0 and err == "da-toolkit: in holds no batch: nothing was compared\n"
    table(20)[["age"]].to_csv("in/1.csv", index=False)
    code, _, err = run(capsys, f"{command} --json m.json --quiet")
    (said,) = json.loads((files / "m.json").read_text())["unreadable"]
    assert code == 2 and said in err and "the batch lacks" in said and "--exclude" in said and "X_batch" not in said


def test_a_decimal_comma_that_the_file_has_not_is_told(files, capsys):
    rng = np.random.default_rng(0)
    pd.DataFrame({"a": rng.normal(size=100), "b": 1}).to_csv("points.csv", sep=";", index=False)
    fails(capsys, "diagnose points.csv points.csv --separator ; --decimal ,", "'a' is text", 'leave out --decimal ","')


def test_a_class_that_only_the_target_has_stops_any_and_is_told_to_the_others(files, capsys):
    target = pd.read_csv("target.csv")
    target.loc[:1, "ill"] = 2
    target.to_csv("target.csv", index=False)
    rest = "diagnose source.csv target.csv --label ill --exclude site --fail-on"
    code, out, err = run(capsys, f"{rest} any")
    assert code == 1 and "No shift found, but for a class that the source has not, '2'" in out
    assert "found classes that only TARGET has: '2'" in err
    assert run(capsys, f"{rest} label --quiet") == (
        0,
        "",
        "da-toolkit: --fail-on: only 'any' stops at classes that only TARGET has: '2'\n",
    )


def test_a_gate_says_which_columns_it_does_not_see(files, capsys):
    for side in ("source", "target"):
        table(40).assign(text=[f"{side} {k}" for k in range(40)]).to_csv(f"{side}.csv", index=False)
    rest = "diagnose source.csv target.csv --label ill --exclude site --quiet"
    assert "--fail-on: Left out of the tests: 'text', because nearly" in run(capsys, f"{rest} --fail-on any")[2]
    assert run(capsys, rest)[2] == ""


def test_help_and_version(capsys):
    code, out, _ = run(capsys, "diagnose --help")
    assert code == 0 and "exit codes:" in out and "trust" in out
    assert run(capsys, "--version")[1].startswith("da-toolkit ")


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a shell does")
@pytest.mark.parametrize("command, code", [("list 1>&-", 0), ("list --what 2>&-", 2), ("predict a b 1>&- 2>&-", 2)])
def test_a_closed_stream_leaves_the_exit_code(command, code):
    assert subprocess.run(f"{sys.executable} -m da_toolkit {command}", shell=True).returncode == code


def test_files_that_cannot_be_used(files, capsys, diagnose):
    fails(capsys, "diagnose nowhere.csv target.csv", "nowhere.csv does not exist")
    fails(capsys, "predict model.joblib .", "not a file")
    (files / "empty.csv").write_text("")
    fails(capsys, "diagnose empty.csv target.csv", "empty.csv is empty")
    (files / "header.csv").write_text("age,ward\n")
    fails(capsys, "diagnose source.csv header.csv", "header.csv has no rows")
    (files / "table.xlsx").write_text("x")
    fails(capsys, "diagnose table.xlsx target.csv", "unknown type", ".csv, .csv.gz, .tsv, .tsv.gz, .parquet")
    fails(capsys, f"diagnose {os.devnull} target.csv", "is no regular file")
    (files / "binary.csv").write_bytes(bytes(range(256)))
    fails(capsys, "diagnose binary.csv target.csv", "binary.csv cannot be read as CSV")
    (files / "ragged.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    fails(
        capsys,
        "diagnose ragged.csv target.csv",
        "ragged.csv cannot be read as CSV (line 3 has 4 fields, the header has 2)",
    )
    (files / "fake.csv.gz").write_text("a,b\n1,2\n")
    fails(capsys, "diagnose fake.csv.gz target.csv", "cannot be read as CSV")
    pytest.importorskip("pyarrow")
    (files / "fake.parquet").write_text("a,b\n1,2\n")
    fails(capsys, "diagnose fake.parquet target.csv", "cannot be read as Parquet")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_told_with_what_converts_them(files, capsys, encoding):
    (files / "Daten von '24").mkdir()
    old = "Daten von '24/old.csv"
    table().assign(ward="Süd").to_csv(old, index=False, encoding=encoding)
    for command in (["diagnose", old, "target.csv"], ["predict", "model.joblib", old]):
        code = cli.main(command)
        told = capsys.readouterr().err
        assert code == 2 and "old.csv is not in UTF-8" in told and '"CSV UTF-8"' in told
    fails(capsys, "diagnose D*/ol*.csv target.csv", "UTF-8")
    exec(re.search("in Python: (.*)", told)[1])
    pd.testing.assert_frame_equal(pd.read_csv("utf8-old.csv"), table().assign(ward="Süd"))


MISFITS = {  # what pandas reads without a word: shifted by a column, filled with missing values, renamed
    "separators at the ends": (
        "{0},a,b\n{1},3,4,\n{1},5,6,\n",
        "line 2 has 4 fields, the header has 3",
        "no separator at",
    ),
    "a longer first row": ("{0},a,b\n\n{1},3,4,5\n{1},5,6\n", "line 3 has 4 fields, the header has 3"),
    "a longer row": ("{0},a,b\n{1},3,4\n{1},5,6,\n", "line 3 has 4 fields, the header has 3"),
    "shorter rows": ("{0},a,b\n{1},3\n{1},5\n", "line 2 has 2 fields, the header has 3"),
    "a cut last row": ('{0},a,b\n{1},"3,\n",4\n{1},5', "line 4 has 2 fields, the header has 3"),
    "a name twice": ("{0},a,a\n{1},5,6\n", "more than one column 'a'", "Rename"),
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize(("text", "words"), [(text, words) for text, *words in MISFITS.values()], ids=MISFITS)
def test_rows_that_do_not_fit_the_header_are_refused(files, capsys, text, words, suffix):
    opened = gzip.open if suffix == ".csv.gz" else open
    table(100).to_csv("reference.csv", index=False)
    (files / "days").mkdir()
    for path in (f"odd{suffix}", f"days/1{suffix}"):
        with opened(path, "wt") as file:
            file.write(text.format("n", 7))
    for command in (
        f"diagnose source.csv odd{suffix}",
        "diagnose source.csv days",
        f"predict model.joblib odd{suffix}",
    ):
        fails(capsys, command, suffix, *words)
    code, _, err = run(capsys, "monitor reference.csv days --state s.npz")
    assert code == 2 and all(word in err for word in words)


def test_fields_may_be_empty_or_hold_separators_and_lines(files, capsys):
    (files / "odd.csv").write_text(
        '\ufeffage,"w\n",ill\r\n\r\n30,"a,""b""",\r\n\r\n40,"c\n,d",1\r\n50,,', encoding="utf-8"
    )
    got = read_table("odd.csv")
    assert got.columns.tolist() == ["age", "w\n", "ill"] and got["age"].tolist() == [30, 40, 50]
    assert got.isna().sum().tolist() == [0, 1, 2]


def test_parquet_without_pyarrow_names_the_extra(files, capsys, monkeypatch):
    (files / "source.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(read_table.__globals__["importlib"].util, "find_spec", lambda name: None)
    fails(capsys, "diagnose source.parquet target.csv", "da-toolkit[parquet]")


def test_columns_that_are_not_there(files, capsys, diagnose):
    fails(
        capsys,
        "diagnose source.csv target.csv --label il",
        "no column 'il'",
        "age, ward",
        "Did you mean 'ill'?",
    )
    fails(capsys, "diagnose source.csv target.csv --groups sites", "source.csv has no column 'sites'")
    table(20).drop(columns="site").to_csv("target.csv", index=False)
    fails(capsys, "diagnose source.csv target.csv --groups site", "target.csv has no column 'site'")
    fails(capsys, "predict model.joblib ragged.csv", "does not exist")
    table(20).drop(columns="ill").to_csv("target.csv", index=False)
    fails(capsys, "diagnose source.csv target.csv", "no column 'ill'", "pass --label ill, else --exclude ill")
    table(20).assign(**{f"x{j}": 0 for j in range(20)}).to_csv("wide.csv", index=False)
    fails(capsys, "diagnose wide.csv target.csv --label y", "age, ", " more, x17, x18, x19")
    table().drop(columns="age").to_csv("rows.csv", index=False)
    fails(capsys, "predict model.joblib rows.csv", "rows.csv lacks 'age'")


def test_a_table_of_texts(files, capsys):
    for side in ("these", "those"):
        rows = {"text": [f"{side} words {k}" for k in range(40)], "ill": [0, 1] * 20}
        pd.DataFrame(rows).to_csv(f"{side}.csv", index=False)
    advice = "columns of numbers into the files, or use Python with representation="
    fails(capsys, "diagnose these.csv those.csv --label ill", "no column can be tested", advice)


def test_models_that_cannot_be_used(files, capsys, adapt):
    rest = "source.csv target.csv --label ill --out new.joblib --model"
    fails(capsys, f"adapt {rest} none.joblib", "none.joblib does not exist")
    (files / "broken.joblib").write_text("not a pickle")
    fails(capsys, f"adapt {rest} broken.joblib", "broken.joblib cannot be loaded", "joblib.dump")
    joblib.dump({"weights": 1}, "dict.joblib")
    fails(capsys, f"adapt {rest} dict.joblib", "holds a dict without predict")
    rest = "source.csv target.csv --label ill --model model.joblib --out"
    fails(capsys, f"adapt {rest} new.skops", "new.skops says skops", "ends in .joblib")


def test_adapt_reads_one_file_a_side(files, capsys, adapt):
    (files / "parts").mkdir()
    rest = "target.csv --label ill --model model.joblib --out new.joblib"
    fails(capsys, f"adapt parts {rest}", "parts is a folder or a pattern", "Only diagnose")
    fails(capsys, f"adapt part-*.csv {rest}", "part-*.csv is a folder or a pattern")
    assert adapt.arguments is None


def test_adapt_blames_a_model_that_cannot_be_fitted(files, capsys):
    frame = table(60).assign(ward=1.0)
    frame.loc[:5, "w"] = np.nan
    frame.to_csv("source.csv", index=False)
    frame.assign(age=frame["age"] + 2).drop(columns="ill").to_csv("target.csv", index=False)
    rest = "source.csv target.csv --label ill --groups site --model model.joblib --out new.joblib --quiet"
    fails(capsys, f"adapt {rest}", "cannot be fitted to SOURCE (ValueError: Input X contains NaN", "Pipeline")


def test_advice_of_another_command_is_left_out(files, capsys, adapt):
    from shift_detectors._errors import InputError

    adapt.answer = InputError("X_target lacks 'age'", "the same columns", "Drop it, or name it in exclude=.")
    rest = "source.csv target.csv --label ill --model model.joblib --out new.joblib"
    assert fails(capsys, f"adapt {rest}", "TARGET lacks 'age'").endswith("Drop it.\n")


@pytest.mark.parametrize("model", [LogisticRegression(), LogisticRegression().fit([[0], [1]], [0, 1])])
def test_a_model_that_cannot_predict_the_source(files, capsys, model):
    joblib.dump(model, "other.joblib")
    fails(
        capsys,
        "diagnose source.csv target.csv --label ill --groups site --weight w --exclude ward --estimator other.joblib",
        "cannot predict SOURCE",
    )


def test_models_of_skops_run_no_code(files, capsys, monkeypatch):
    io = pytest.importorskip("skops.io")
    model = LogisticRegression().fit(table()[["age", "w"]], table()["ill"])
    io.dump(model, "model.skops")
    code, out, err = run(capsys, "predict model.skops source.csv --drop ward,site,ill")
    assert code == 0 and "runs code" not in err and out.startswith("prediction\n")
    words = make_pipeline(OneHotEncoder(dtype=np.dtype("float32")), LogisticRegression()).fit([["a"], ["b"]], [0, 1])
    io.dump(words, "words.skops")
    assert read_model("words.skops").predict([["b"]]).tolist() == [1]
    io.dump(FunctionTransformer(fails), "own.skops")
    fails(capsys, "predict own.skops source.csv", "own.skops holds types that may run code", "test_cli.fails")
    (files / "broken.skops").write_text("no archive")
    fails(capsys, "predict broken.skops source.csv", "broken.skops cannot be loaded")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(capsys, "predict model.skops source.csv", "da-toolkit[skops]")


def test_outputs_are_checked_before_the_work(files, capsys, diagnose, adapt):
    fails(capsys, "diagnose source.csv target.csv --report no/r.html", "the folder no does not exist")
    fails(capsys, "adapt source.csv target.csv --label ill --model model.joblib --out .", "is a folder")
    fails(capsys, "predict model.joblib target.csv --out p.txt", "unknown type")
    fails(capsys, "diagnose source.csv target.csv --report r.html --json ./r.html", "r.html is named for two outputs")
    fails(capsys, "adapt source.csv target.csv --label ill --model model.joblib --out a.csv", "a.csv names no model")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("diagnose source.csv target.csv --label ill --json ./source.csv", "./source.csv"),
        ("diagnose source.csv target.csv --label ill --report target.csv", "target.csv"),
        ("diagnose source.csv target.csv --estimator model.joblib --json model.joblib", "model.joblib"),
        ("diagnose folder target.csv --json folder/part-0.csv", "folder/part-0.csv"),
        ("diagnose folder/part-*.csv target.csv --json folder/part-1.csv", "folder/part-1.csv"),
        ("adapt source.csv target.csv --label ill --model model.joblib --out model.joblib", "model.joblib"),
        ("adapt source.csv target.csv --label ill --model model.joblib --out m.pkl --json target.csv", "target.csv"),
        ("monitor source.csv folder --state source.csv", "source.csv"),
        ("monitor source.csv folder --state state.npz --plot folder/part-0.csv", "folder/part-0.csv"),
        ("predict model.joblib source.csv --drop ward,site,ill --out source.csv", "source.csv"),
    ],
)
def test_what_is_read_is_not_overwritten(files, capsys, diagnose, adapt, arguments, output):
    (files / "folder").mkdir()
    for k in range(2):
        table().to_csv(files / f"folder/part-{k}.csv", index=False)
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    fails(capsys, arguments, f"{output} is both read and written")
    assert before == {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    fails(capsys, "diagnose source.csv target.csv --report -", "- is no file", "Only --json takes -")
    assert diagnose.arguments is None and adapt.arguments is None


def test_errors_of_the_library_keep_their_code(files, capsys, diagnose):
    from shift_detectors._errors import InputError, MissingDependencyError

    diagnose.answer = InputError("X_target lacks 'age'", "the same columns", "Drop it.")
    fails(
        capsys,
        "diagnose source.csv target.csv --label ill",
        "TARGET lacks 'age'; accepted: the same columns. Drop it.",
    )
    diagnose.answer = InputError("y_source has one class only", "two in 'X_source'", "Else pass y_source=None.")
    fails(
        capsys,
        "diagnose source.csv target.csv --label ill",
        "the label column of SOURCE has one class only; accepted: two in 'X_source'. Else leave out --label.",
    )
    diagnose.answer = PermissionError(13, "Permission denied", "r.html")
    fails(capsys, "diagnose source.csv target.csv --label ill", "r.html cannot be read or written (Permission denied)")
    diagnose.answer = MissingDependencyError("torch", "deep")
    fails(capsys, "diagnose source.csv target.csv --label ill", "da-toolkit[deep]")
    diagnose.answer = KeyboardInterrupt()
    assert run(capsys, "diagnose source.csv target.csv --label ill")[0] == 130
    diagnose.answer = ZeroDivisionError("by zero")
    code, _, err = run(capsys, "diagnose source.csv target.csv --label ill")
    assert code == 3 and "ZeroDivisionError: by zero" in err and "unexpected" in err


def test_as_a_process(files):
    command = [sys.executable, "-m", "da_toolkit.cli", "diagnose", "nowhere.csv", "target.csv"]
    got = subprocess.run(command, capture_output=True, text=True)
    assert got.returncode == 2 and got.stdout == "" and got.stderr.count("\n") == 1


def test_the_package_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "da_toolkit", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("da-toolkit ")


def test_characters_that_a_stream_does_not_have_do_not_end_the_command(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    keep_streams_open()
    sys.stdout.write("Where: age \u2264 35")
    sys.stdout.flush()
    assert written.getvalue() == b"Where: age ? 35"
