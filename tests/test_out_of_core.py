"""diagnose on what does not fit into memory: the same verdict as in memory, and errors that name the file."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from shift_detectors import InputError, ShiftWarning, _domains, _out_of_core, diagnose
from shift_detectors._diagnose import _seed
from shift_detectors._domain_summary import DomainSummary, SummaryPlan
from shift_detectors._domains import Files, files_of, open_domain
from shift_detectors._row_sample import mixed

pytest.importorskip("pyarrow")
FAST = {"random_state": 0, "n_permutations": 99}


def table(n, seed=0, shift=0.0, concept=0.0):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    rows["a"] += shift
    rows["ward"] = rng.choice(["north", "south", "west"], n)
    rows.loc[rng.random(n) < 0.05, "c"] = np.nan
    rows["y"] = np.where(rows["a"] + concept * rows["b"] + rng.logistic(size=n) > 0, "ill", "well")
    return rows


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(_out_of_core, "SAMPLE", 1200)


def in_files(rows, folder, parts):
    folder.mkdir()
    for k, part in enumerate(np.array_split(np.arange(len(rows)), parts)):
        rows.iloc[part].to_parquet(folder / f"part-{k}.parquet", row_group_size=500)
    return folder


def batches(rows, size):
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def facts(report):
    tests = [(test.detector, test.pvalue, test.effect) for test in report.tests]
    return report.verdict, report.shifts, report.features, tests, report.n_source, report.n_target, report.n_labelled


# ------------------------------------------------------------------ the same answer


def test_what_fits_into_the_sample_is_diagnosed_as_in_memory(tmp_path):
    source, target = table(700), table(600, seed=1, shift=0.6)
    in_files(source, tmp_path / "source", 3)
    target.to_parquet(tmp_path / "target.parquet")
    expected = diagnose(source.drop(columns="y"), source["y"], target.drop(columns="y"), target["y"], **FAST)
    assert facts(diagnose(tmp_path / "source", "y", tmp_path / "target.parquet", "y", **FAST)) == facts(expected)
    assert facts(diagnose(batches(source, 90), "y", [target[:100], target[100:]], "y", **FAST)) == facts(expected)
    mixed = diagnose(source.drop(columns="y"), source["y"].to_numpy(), str(tmp_path / "*.parquet"), "y", **FAST)
    assert facts(mixed) == facts(expected)
    assert expected.verdict.kind == "covariate" and not any("counted" in note for note in expected.notes)


def test_files_batches_and_threads_do_not_matter(tmp_path, small_sample):
    from pyarrow import dataset

    source, target = table(6000), table(5000, seed=1, shift=0.4)
    reference = None
    for parts in (1, 9):
        folders = [in_files(rows, tmp_path / f"{k}-{parts}", parts) for k, rows in enumerate((source, target))]
        report = diagnose(folders[0], "y", folders[1], None, n_jobs=1 + parts % 2, **FAST)
        reference = reference or report
        assert facts(report) == facts(reference) and report.notes == reference.notes
    data = [dataset.dataset(sorted(folder.iterdir())) for folder in folders]
    assert facts(diagnose(data[0], "y", data[1], None, **FAST)) == facts(reference)
    frames = [list(batches(rows, 999)) for rows in (source, target)]
    assert facts(diagnose(frames[0], "y", frames[1], None, **FAST)) == facts(reference)

    assert (reference.n_source, reference.n_target, reference.n_labelled) == (6000, 5000, 0)
    assert reference.verdict.kind == "covariate" and reference.features[0].feature == "a"
    assert "1,200 and 1,200 of them" in reference.notes[0]
    assert (reference.tests[1].n_source, reference.tests[2].n_source) == (6000, 1200)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["covariate", "none", "concept"])
def test_verdict_agrees_with_the_one_in_memory(kind, small_sample):
    options = {"none": {}, "covariate": {"shift": 0.7}, "concept": {"concept": 2.5}}[kind]
    strict = FAST | {"alpha": 0.01, "n_permutations": 499}  # one draw each: at .05 one in twenty would fail
    source, target = table(2000), table(2000, seed=1, **options)
    large = diagnose(batches(source, 500), "y", batches(target, 500), "y", **strict)
    memory = diagnose(source.drop(columns="y"), source["y"], target.drop(columns="y"), target["y"], **strict)
    assert large.verdict.kind == memory.verdict.kind
    assert kind in ("none", large.verdict.kind)  # without a shift a false alarm may happen, to both alike
    assert large.test("p(y)").n_source == large.test("p(x|y)").n_source == 2000
    for test in ("p(x)", "p(y)", "p(x|y)"):
        assert large.test(test).rejects(0.01) == memory.test(test).rejects(0.01)
    effects = {f.feature: f.effect.value for f in memory.features}
    assert all(abs(f.effect.value - effects[f.feature]) < 0.01 for f in large.features)


def test_a_stored_summary_of_the_source_meets_new_targets(small_sample):
    source, new = table(5000), table(4000, seed=1, shift=0.4)
    plan = SummaryPlan.from_rows(source, source, label="y", sample_size=1200)
    stored = DomainSummary.from_bytes(DomainSummary(plan).update(source).to_bytes())
    against_rows = diagnose(stored, "y", [new], **FAST)
    assert against_rows.verdict.kind == "covariate" and against_rows.n_source == 5000
    both = diagnose(stored, "y", DomainSummary(plan).update(new.drop(columns="y")), **FAST)
    assert facts(both) == facts(against_rows)
    with pytest.raises(InputError, match="'z'; accepted: 'y'"):
        diagnose(stored, "z", [new])
    with pytest.raises(InputError, match="row sample"):
        diagnose(stored, "y", DomainSummary(plan, keep_rows=False).update(new))


def test_a_small_side_is_held_against_a_sample_of_the_large_one(small_sample):
    small, large = table(400), table(5000, seed=1, shift=0.6)
    by_list = diagnose([small], "y", list(batches(large, 700)), **FAST)
    assert facts(diagnose(small, "y", batches(large, 300), **FAST)) == facts(by_list)
    assert (by_list.n_source, by_list.n_target) == (400, 1200) and by_list.verdict.kind != "none"
    assert by_list.notes[0].startswith("1,200 of 5,000 target rows, drawn at random")


# ------------------------------------------------------------------ options


def test_groups_labels_and_models(small_sample):
    source, target = table(3000), table(3000, seed=1)
    source["site"], target["site"] = np.arange(3000) // 10, 1000 + np.arange(3000) // 10
    target.loc[100:, "y"] = None
    model = LogisticRegression().fit(source[["a", "b"]], source["y"])

    class OnTwo:
        classes_ = model.classes_

        def predict(self, X):
            return model.predict(X[["a", "b"]])

        def predict_proba(self, X):
            return model.predict_proba(X[["a", "b"]])

    frames = [[rows[:1000], rows[1000:]] for rows in (source, target.rename(columns={"y": "outcome", "site": "id"}))]
    report = diagnose(
        frames[0],
        "y",
        frames[1],
        "outcome",
        groups="site",
        groups_target="id",
        estimator=OnTwo(),
        exclude=["c"],
        **FAST,
    )
    assert report.verdict.kind == "none" and report.n_labelled == 100
    assert {f.feature for f in report.features} == {"a", "b", "ward"}
    assert abs(report.impact.source.value - model.score(source[["a", "b"]], source["y"])) < 0.05


@pytest.mark.parametrize("labelled", [False, True])
def test_class_frequencies_of_the_source_are_those_of_all_its_labels(labelled, small_sample):
    source, target = table(5000), table(5000, seed=1)
    source["y"] = np.where(np.arange(5000) % 70 == 0, "bad", "good")
    target["y"] = np.where(np.arange(5000) % 40 == 0, "bad", "good")
    labels = target["y"] if labelled else None
    report = diagnose([source], "y", target.drop(columns="y"), labels, **FAST)
    assert report.prior.classes == ("bad", "good")
    assert report.prior.source.tolist() == [72 / 5000, 4928 / 5000]
    assert "class frequencies of the target" in report.notes[0]


def test_a_class_beyond_the_row_sample_is_not_new(small_sample):
    source, target = table(3000), table(3000, seed=1)
    last = np.argmax(mixed(np.arange(3000), _seed(0)))  # no sample of less than all rows has this one
    for name, new in (("dead", False), ("well", True)):
        source.loc[last, "y"], target.loc[:300, "y"] = name, "dead"
        report = diagnose([source], "y", [target], "y", **FAST)
        said = ["classes that the source" in text for text in (report.verdict.explanation, *report.notes)]
        assert any(said) == new, name


def test_a_label_that_is_not_named_in_the_target_is_not_seen(small_sample):
    report = diagnose([table(2000)], "y", [table(2000, seed=1)], **FAST)
    assert report.n_labelled == 0 and "y" not in {f.feature for f in report.features}
    report = diagnose([table(2000).drop(columns="y")], None, [table(2000, seed=1).drop(columns="y")], **FAST)
    assert report.task is None and report.n_source == 2000


def test_a_column_that_tells_the_domains_apart(small_sample):
    source, target = table(3000), table(3000, seed=1)
    rows = [
        rows.assign(batch=np.random.default_rng(k).normal(10 * k, 1, 3000)) for k, rows in enumerate((source, target))
    ]
    report = diagnose([rows[0]], "y", [rows[1]], **FAST)
    assert report.separators == ("batch",) and report.verdict.kind == "none"
    assert report.verdict_with_separators.kind != "none"


def test_a_column_that_numbers_the_rows_is_left_out(small_sample):
    source, target = table(3000), table(2000, seed=1)
    report = diagnose([source.assign(id=range(3000))], "y", [target.assign(id=range(2000))], **FAST)
    assert "id" not in {f.feature for f in report.features} and report.verdict.kind == "none"
    assert any("'id', because it numbers the rows" in note for note in report.notes)


def test_infinite_values_say_where(small_sample):
    target = table(200_000, seed=1)
    target.loc[150_000, "b"] = np.inf
    with pytest.raises(InputError, match=r"X_target, rows 131,072 to 196,608: infinite values in 'b' \(1 of"):
        diagnose([table(3000)], "y", [target], n_jobs=2, **FAST)


def test_rows_that_depend_on_their_neighbours_are_noticed(small_sample):
    rng = np.random.default_rng(0)
    walk = [pd.DataFrame({"x": np.cumsum(rng.normal(size=4000)), "z": rng.normal(size=4000)}) for _ in range(2)]
    with pytest.warns(ShiftWarning, match="Neighbouring rows"):
        diagnose([walk[0]], None, [walk[1]], **FAST)


def test_an_iterator_that_begins_oddly_says_so(small_sample):
    source, target = (table(4000, seed=k).sort_values("a") for k in (0, 1))
    report = diagnose(iter([source[:2000], source[2000:]]), "y", iter([target[:2000], target[2000:]]), **FAST)
    assert any("edges were fixed" in note for note in report.notes)
    assert report.verdict.kind == "none"


def test_progress_goes_to_standard_error(small_sample, capsys):
    diagnose([table(2000)], "y", [table(2000, seed=1)], progress=True, **FAST)
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------ errors


def test_broken_files_are_named(tmp_path):
    folder = in_files(table(3000), tmp_path / "rows", 3)
    good = (folder / "part-1.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"part-1\.parquet cannot be read as Parquet.*cut off"):
        diagnose(folder, "y", folder)
    # the footer is whole, a page in the middle is not
    (folder / "part-1.parquet").write_bytes(good[:100] + bytes(len(good) // 2) + good[100 + len(good) // 2 :])
    with pytest.raises(InputError, match=r"part-1\.parquet cannot be read as Parquet"):
        diagnose(folder, "y", folder)


@pytest.mark.parametrize("read", ["files", "dataset", "batches"])
def test_the_index_of_a_frame_is_no_column_of_its_file(tmp_path, read):
    """pandas stores the row numbers of a filtered frame, which are not those of the other side."""
    from pyarrow import dataset, parquet

    sides = {"source": table(600), "target": table(300).drop(columns="y")}
    sides["source"] = sides["source"][np.arange(600) % 3 > 0]
    for name, rows in sides.items():
        rows.to_parquet(tmp_path / f"{name}.parquet")
    source, target = (tmp_path / f"{name}.parquet" for name in sides)
    assert "__index_level_0__" in parquet.read_schema(source).names
    if read == "dataset":
        source, target = dataset.dataset(source), dataset.dataset(target)
    if read == "batches":
        source, target = (iter(parquet.read_table(path).to_batches(100)) for path in (source, target))
    found = diagnose(source, "y", target, random_state=0, n_permutations=99)
    assert {feature.feature for feature in found.features} == set(sides["target"].columns)


def test_files_that_do_not_fit_together_are_named(tmp_path):
    from pyarrow import dataset

    folder = in_files(table(3000), tmp_path / "rows", 3)
    table(10).drop(columns="b").to_parquet(folder / "part-3.parquet")
    with pytest.raises(InputError, match=r"part-3\.parquet lacks 'b'"):
        diagnose(folder, "y", folder)
    with pytest.raises(InputError, match=r"part-3\.parquet lacks 'b'"):
        diagnose(dataset.dataset(folder), "y", folder)
    table(10).assign(b="text").to_parquet(folder / "part-3.parquet")
    with pytest.raises(InputError, match=r"column 'b' of .*part-3\.parquet holds text, that of .*numbers"):
        diagnose(folder, "y", folder)
    with pytest.raises(InputError, match="batch 1 of X_source lacks 'b'"):
        diagnose(iter([table(20), table(20).drop(columns="b")]), "y", [table(20)])


def test_folders_named_by_keys_and_natural_order(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        table(300, seed=year).to_parquet(tmp_path / f"year={year}" / "rows.parquet")
    report = diagnose(tmp_path, "y", tmp_path, **FAST)
    assert "year" in {f.feature for f in report.features} and report.n_source == 600

    for k in (2, 10, 1):
        table(20).to_parquet(tmp_path / f"part.{k}.parquet")
    assert [path.name for path in files_of(tmp_path / "part.*.parquet", "X")] == [
        f"part.{k}.parquet" for k in (1, 2, 10)
    ]


KINDS = pytest.mark.parametrize("kind", ["parquet", "csv"])


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, index=False)


def read(X, columns=None):
    """The rows of files, in one frame."""
    parts = open_domain(X, "X", {}).raw(columns)
    return pd.concat(part if isinstance(part, pd.DataFrame) else part.to_pandas() for part in parts)


@KINDS
def test_keys_are_those_below_what_is_passed(tmp_path, kind):
    lake, one = tmp_path / "run=7" / "lake", tmp_path / "run=8" / "lake"
    for year in (2022, 2023):
        write(lake / f"year={year}" / f"rows.{kind}", table(5))
    write(one / "year=2024" / f"rows.{kind}", table(5))
    for several in (lake, lake / "*" / f"*.{kind}", sorted(lake.rglob(f"*.{kind}"))):
        assert read(several)["year"].tolist() == [2022] * 5 + [2023] * 5
    assert list(read(one).columns) == [*table(5).columns, "year"]  # a single file is no other thing
    for without in (one / "year=2024", one / "year=2024" / f"rows.{kind}", one / "year=2024" / f"*.{kind}"):
        assert list(read(without).columns) == list(table(5).columns)


@KINDS
def test_keys_are_decoded(tmp_path, kind):
    missing = "__HIVE_DEFAULT_PARTITION__"
    for place, month in (("New%20York", "01"), ("New%20York", missing), (missing, "12")):
        write(tmp_path / f"place={place}" / f"month={month}" / f"rows.{kind}", table(1))
    whole = read(tmp_path)
    found = [[None if pd.isna(value) else value for value in row] for row in whole[["place", "month"]].to_numpy(object)]
    assert found == [["New York", 1], ["New York", None], [None, 12]]
    assert whole["month"].dtype.kind == "f"
    pd.testing.assert_series_equal(read(tmp_path, ["month"])["month"], whole["month"])  # nothing but keys


@KINDS
def test_a_column_of_the_file_is_no_key(tmp_path, kind):
    for year in (2023, 2024):
        write(tmp_path / f"year={year}" / f"rows.{kind}", table(2).assign(year=1))
    for columns in (None, ["year"]):
        assert read(tmp_path, columns)["year"].to_numpy().tolist() == [1] * 4


# ------------------------------------------------------------------ many rows in memory


@pytest.mark.usefixtures("small_sample")
def test_many_rows_in_memory_are_counted_like_files(tmp_path, monkeypatch):
    source, target = table(3000), table(2500, seed=1, shift=0.4)
    source.to_parquet(tmp_path / "source.parquet")
    target.to_parquet(tmp_path / "target.parquet")
    expected = facts(diagnose(tmp_path / "source.parquet", "y", tmp_path / "target.parquet", "y", **FAST))
    monkeypatch.setattr(_domains, "MANY", 5000)
    X, y, X_target = source.drop(columns="y"), source["y"], target.drop(columns="y")
    y_target = target["y"].set_axis(range(100, 2600))  # an index of its own must not rearrange it
    report = diagnose(X, y, X_target, y_target, **FAST)
    assert facts(report) == expected and any("were counted" in note for note in report.notes)
    assert "y" in source and list(X_target.columns) == ["a", "b", "c", "ward"]
    polars = pytest.importorskip("polars")
    frames = [polars.DataFrame({name: list(part[name]) for name in part.columns}) for part in (X, X_target)]
    assert facts(diagnose(frames[0], polars.Series(list(y)), frames[1], **FAST)) == facts(
        diagnose(X, list(y), X_target, **FAST)
    )
    monkeypatch.setattr(_domains, "MANY", 5500)
    assert not any("were counted" in note for note in diagnose(X, None, X_target, **FAST).notes)


@pytest.mark.usefixtures("small_sample")
def test_many_rows_of_an_array_and_the_model_fitted_on_it(monkeypatch):
    monkeypatch.setattr(_domains, "MANY", 1000)
    source, target = table(3000), table(2500, seed=1, concept=2.0)
    X, X_target = source[["a", "b"]].to_numpy(), target[["a", "b"]].to_numpy()
    model = LogisticRegression().fit(X, source["y"])
    y = source["y"].to_numpy(str).astype(bytes)
    report = diagnose(X, y, X_target, target["y"].to_numpy(), estimator=model, **FAST)
    assert report.verdict.kind == "concept" and report.n_source == 3000
    truth = model.score(X, source["y"]) - model.score(X_target, target["y"])
    assert truth > 0.05 and "p(y|x)" in str(report)
    assert report.overlap.effective_sample_size == pytest.approx(3000 * report.overlap.ess_fraction)


@pytest.mark.parametrize(
    "given",
    [
        {"sample_weight": np.ones(3000)},
        {"exclude": 0},
        {"representation": LogisticRegression},
        {"groups": np.arange(3000) % 200, "groups_target": np.arange(500) + 10_000},
    ],
)
def test_options_that_need_rows_keep_many_rows_in_memory(given, monkeypatch):
    monkeypatch.setattr(_domains, "MANY", 1000)
    rows = np.random.default_rng(0).normal(size=(3000, 2))
    if "representation" in given:
        from sklearn.preprocessing import StandardScaler

        given = {"representation": StandardScaler()}
    report = diagnose(rows, None, rows[:500] + 0.5, **given, **FAST)
    assert "p(x)" in report.shifts and not any("counted" in note or "drawn" in note for note in report.notes)


def test_many_rows_that_cannot_be_used_are_refused_as_few_are(monkeypatch):
    rows, y = np.random.default_rng(0).normal(size=(3000, 2)), np.arange(3000) % 2
    said = []
    for many in (10**6, 1000):
        monkeypatch.setattr(_domains, "MANY", many)
        for arguments in (
            (rows, y[:-1], rows),
            (rows, y, rows[:, :1]),
            (rows, np.c_[y, y], rows),
            (rows, y, rows * np.inf),
            (rows, np.where(np.arange(3000) == 5, np.nan, y), rows),
        ):
            with pytest.raises(InputError) as error:
                diagnose(*arguments, **FAST)
            said.append(str(error.value))
    assert said[:5] == said[5:]


def test_what_counting_cannot_do_is_done_or_refused_with_all_rows(monkeypatch):
    monkeypatch.setattr(_out_of_core, "SAMPLE", 500)
    rng = np.random.default_rng(0)
    rows, y = pd.DataFrame(rng.normal(size=(1500, 2)), columns=["a", "b"]), np.arange(1500) % 2
    late = pd.Series(rng.integers(0, 5, 1500), dtype=object)
    days = (pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, 1500), unit="D")).strftime("%Y-%m-%d")
    days, late[1498] = days.to_series(index=rows.index).astype(object), "unknown"  # a text that the sample has not
    days[1498], one = "unknown", np.arange(1500)
    cases = [
        ((rows.assign(z=late), y, rows.assign(z=late)), {}),
        ((rows.assign(z=days), y, rows.assign(z=days)), {}),
        ((rows.set_axis(["a", "a"], axis=1), y, rows), {}),
        ((rows[[]], y, rows[[]]), {}),
        ((rows, y, rows[:0]), {}),
        ((rows, y, rows), {"groups": one}),
        ((rows, y, rows), {"groups": one.astype(float), "groups_target": np.where(one == 9, np.nan, one)}),
        ((rows.assign(z=np.where(one == 1498, np.inf, 1.0)), y, rows.assign(z=1.0)), {}),
    ]
    said = []
    for arguments, given in cases:
        for many in (10**6, 1000):
            monkeypatch.setattr(_domains, "MANY", many)
            try:
                report = diagnose(*arguments, **given, **FAST)
                said.append((facts(report), report.notes))
            except InputError as error:
                said.append(str(error))
    assert said[::2] == said[1::2] and [isinstance(words, str) for words in said[::2]] == [False] * 2 + [True] * 6


def test_names_of_columns_that_are_odd_or_ours(monkeypatch):
    monkeypatch.setattr(_out_of_core, "SAMPLE", 500)
    monkeypatch.setattr(_domains, "MANY", 1000)
    source, target = (table(1500, seed=k)[["a", "b", "y"]] for k in (0, 1))
    y, target = source.pop("y"), target[["a", "b"]] + [0, 0.6]
    groups = {"groups": np.arange(1500), "groups_target": np.arange(1500)}  # they number the rows
    names = pd.MultiIndex.from_tuples([("__y__", 0), ("p", 1)])

    class First:
        classes_ = np.array(["ill", "well"])

        def predict(self, X):
            assert X.columns.equals(names)
            return np.where(X[("__y__", 0)] > 0, "ill", "well")

    for columns, model in ((["__y__", "__group__"], None), ([1, 0], None), (names, First())):
        X, X_target = source.set_axis(columns, axis=1), target.set_axis(columns, axis=1)
        report = diagnose(X, y, X_target, y, estimator=model, exclude=iter(()), **groups, **FAST)
        assert {f.feature for f in report.features} == {str(name) for name in columns}
        assert report.features[0].feature == str([*columns][1]) and "p(x)" in report.shifts
    assert any("counted" in note for note in report.notes) and report.impact is not None


def test_columns_of_arrow_dates_and_times_that_number_the_rows(small_sample, monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr(_domains, "MANY", 1000)
    days = pd.Series(pd.date_range("2020", periods=90).date).astype(pd.ArrowDtype(pa.date32()))
    rows = [table(2000, seed=k).assign(day=days.sample(2000, replace=True, random_state=k).array) for k in (0, 1)]
    rows = [part.assign(clock=pd.to_timedelta(np.arange(2000), unit="s")) for part in rows]
    report = diagnose(rows[0].drop(columns="y"), None, rows[1].drop(columns="y"), **FAST)
    assert "day" in {f.feature for f in report.features} and report.verdict.kind == "none"
    assert any("'clock', because it numbers the rows" in note for note in report.notes)


def test_what_is_no_number_further_down_says_where(small_sample):
    rows = table(3000).assign(z=np.where(np.arange(3000) == 2990, "x", "1"))
    with pytest.raises(InputError, match=r"rows 2,000 to 3,000: values in 'z' that are no numbers \(such as 'x'\)"):
        diagnose(iter([rows[:2000].assign(z=1), rows[2000:]]), "y", iter([table(3000).assign(z=1)]), **FAST)


# ------------------------------------------------------------------ CSV


@pytest.mark.usefixtures("small_sample")
def test_csv_files_are_read_in_pieces_like_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(_domains, "BATCH", 700)
    source, target = table(3000), table(2500, seed=1, shift=0.4)
    code = source["ward"].map({"north": "1", "south": "2", "west": "3"})
    source["code"], target["code"] = code.where(source.index < 2000, "w" + code), "w1"  # text only further down
    for k in range(2):
        (tmp_path / "source").mkdir(exist_ok=True)
        part = slice(1500 * k, 1500 * (k + 1))
        source[part].to_csv(tmp_path / "source" / f"part-{k}.csv.gz", index=False, sep=";", float_format="%.17g")
    target.to_csv(tmp_path / "target.csv", index=False, sep=";", float_format="%.17g")
    read = [
        diagnose(Files(tmp_path / "source", ";"), "y", Files(tmp_path / "target.csv", ";"), "y", **FAST),
        diagnose([source], "y", [target], "y", **FAST),
    ]
    assert facts(read[0]) == facts(read[1])
    target.to_csv(tmp_path / "comma.csv", index=False)
    assert "p(x)" in diagnose([source], "y", tmp_path / "comma.csv", **FAST).shifts


@pytest.mark.usefixtures("small_sample")
def test_booleans_beside_missing_values_and_parts_in_another_order(tmp_path, monkeypatch):
    monkeypatch.setattr(_domains, "BATCH", 500)
    source, target = (table(1600, seed=k).assign(flag=np.arange(1600) % 3 == 0) for k in (0, 1))
    source["y"], target["y"] = source["y"] == "ill", (target["y"] == "ill").astype(object).where(target.index < 700)
    source["flag"] = source["flag"].astype(object).where(source.index != 1200)
    (tmp_path / "[1]").mkdir()  # brackets would be a pattern
    source[:900].to_csv(tmp_path / "[1]" / "part-1.csv", index=False)
    source.loc[900:, ::-1].to_csv(tmp_path / "[1]" / "part-2.csv", index=False)
    target.to_csv(tmp_path / "[1].csv", index=False)
    read = diagnose(tmp_path / "[1]", "y", tmp_path / "[1].csv", "y", **FAST)
    assert facts(read) == facts(diagnose([source], "y", [target], "y", **FAST)) and read.n_labelled == 700


def test_broken_csv_names_the_file(tmp_path):
    table(300).to_csv(tmp_path / "whole.csv", index=False)
    lines = (tmp_path / "whole.csv").read_text().splitlines(keepends=True)
    (tmp_path / "long.csv").write_text("".join([*lines[:200], "1,2,3,4,5,6,7\n", *lines[200:]]))
    table(300).to_csv(tmp_path / "cut.csv.gz", index=False)
    (tmp_path / "cut.csv.gz").write_bytes((tmp_path / "cut.csv.gz").read_bytes()[:-200])
    (tmp_path / "empty.csv").write_text("")
    table(300).drop(columns="b").to_csv(tmp_path / "narrow.csv", index=False)
    table(300).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"empty.csv is empty"):
        diagnose(tmp_path / "whole.csv", "y", tmp_path / "empty.csv", **FAST)
    for name in ("long.csv", "cut.csv.gz"):
        with pytest.raises(InputError, match=f"{name} cannot be read as CSV"):
            diagnose(tmp_path / "whole.csv", "y", tmp_path / name, **FAST)
    with pytest.raises(InputError, match=r"narrow.csv lacks 'b'"):
        diagnose([tmp_path / "whole.csv", tmp_path / "narrow.csv"], "y", tmp_path / "whole.csv", **FAST)
    with pytest.raises(InputError, match="are of two kinds"):
        diagnose([tmp_path / "whole.csv", tmp_path / "rows.parquet"], "y", tmp_path / "whole.csv", **FAST)
    with pytest.raises(InputError, match='one column only, .*separator seems to be ","'):
        diagnose(Files(tmp_path / "whole.csv", ";"), "y", tmp_path / "whole.csv", **FAST)
    (tmp_path / "header.csv").write_text(lines[0])
    with pytest.raises(InputError, match="X_source has no rows"):
        diagnose(tmp_path / "header.csv", "y", tmp_path / "whole.csv", **FAST)
    with pytest.raises(InputError, match=r"none.csv does not exist"):
        diagnose([str(tmp_path / "none.csv")], "y", tmp_path / "whole.csv", **FAST)


# ------------------------------------------------------------------ what cannot be read


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("nowhere.parquet", "y", "nowhere.parquet does not exist"),
        ("*.nothing", "y", "no file matches"),
        ("setup.cfg", "y", "setup.cfg is of an unknown type; accepted: .*parquet.*csv"),
        (iter([1, 2]), "y", "batch 0 of X_source is a int"),
        (iter([table(30)]), np.zeros(30), "y_source is a ndarray while X_source is read in batches"),
    ],
)
def test_what_cannot_be_read(X, y, message, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(Path(__file__).parent.parent)
    with pytest.raises(InputError, match=message):
        diagnose(X, y, [table(30)])


def test_what_needs_rows_in_memory():
    with pytest.raises(InputError, match="sample_weight was given"):
        diagnose([table(30)], "y", [table(30)], sample_weight=np.ones(30))
    with pytest.raises(InputError, match="without the other"):
        diagnose([table(30)], "y", [table(30)], groups="ward")
    with pytest.raises(InputError, match="X_target is a ndarray"):
        diagnose([table(30)], "y", np.zeros((30, 4)))
    with pytest.raises(InputError, match="no column 'label'"):
        diagnose([table(30)], "label", [table(30)])


def test_threads_that_count_at_once_give_blas_its_threads_back(monkeypatch):
    step, threads = Barrier(2, timeout=10), [2]

    @contextmanager
    def limits(number, user_api):
        """As threadpoolctl: one limit for the process, and at the end the one that was found."""
        before, threads[0] = threads[0], number
        yield
        threads[0] = before

    def work(first):
        if not first:
            step.wait()
        with _domains._one_blas_thread():
            if first:
                assert threads == [1]
                step.wait()
            step.wait()  # both are inside, and the first to enter is the first to leave
            if not first:
                step.wait()
        if first:
            step.wait()

    monkeypatch.setattr(_domains, "threadpool_limits", limits)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [True, False]))
    assert threads == [2]
