"""The input boundary: what is accepted, what it becomes, and every error with its message."""

import copy
import datetime
import decimal
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.utils import get_tags

from da_toolkit import ImportanceWeighting
from shift_detectors._boundary import read_problem
from shift_detectors._copies import compared_target, half_of_copies, twins
from shift_detectors._errors import InputError, ShiftWarning

N, M = 60, 40


def normal(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def frame(n, seed=0):
    """One column of every kind, some values missing."""
    rng = np.random.default_rng(seed)
    hole = np.arange(n) % 7 == 3
    return pd.DataFrame(
        {
            "real": rng.normal(size=n),
            "whole": rng.integers(0, 9, n),
            "nullable": pd.array(np.where(hole, None, rng.integers(0, 9, n)), dtype="Int64"),
            "nullable real": pd.array(np.where(hole, np.nan, rng.normal(size=n)), dtype="Float64"),
            "flag": rng.random(n) < 0.5,
            "nullable flag": pd.array(np.where(hole, None, rng.random(n) < 0.5), dtype="boolean"),
            "text": np.where(hole, None, rng.choice(["red", "green"], n)).astype(object),
            "string": pd.array(np.where(hole, None, rng.choice(["u", "v"], n)), dtype="string"),
            "kind": pd.Categorical(rng.choice(["a", "b"], n), categories=["a", "b", "never"]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), "D"),
            "zoned": pd.Timestamp("2024-01-01", tz="Europe/Berlin") + pd.to_timedelta(rng.integers(0, 90, n), "D"),
            "wait": pd.to_timedelta(np.where(hole, np.nan, rng.integers(1, 90, n)), "s"),
        }
    )


def problem(X_source=None, y_source=None, X_target=None, y_target=None, **options):
    X_source = normal(N) if X_source is None else X_source
    X_target = normal(M, seed=1) if X_target is None else X_target
    return read_problem(X_source, y_source, X_target, y_target, **options)


def refuses(*words, **arguments):
    """The call raises an InputError whose message has every word and a remedy or accepted part."""
    with pytest.raises(InputError) as caught:
        problem(**arguments)
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


CLASSES = np.arange(N) % 2
TARGET_CLASSES = np.arange(M) % 2


# ------------------------------------------------------------------ what comes in


def test_arrays_become_one_float_matrix():
    X, T = normal(N).astype(np.float32), np.arange(3 * M).reshape(M, 3)
    table = problem(X, None, T).table
    assert table.numeric_names == ("x0", "x1", "x2") and table.n_source == N and table.n_target == M
    np.testing.assert_array_equal(table.numeric[:N], X)
    np.testing.assert_array_equal(table.numeric[N:], T)
    assert table.numeric.dtype == float and table.codes.shape == (N + M, 0)


@pytest.mark.parametrize("form", [list, lambda X: [list(map(float, row)) for row in X], lambda X: X.astype(object)])
def test_lists_and_object_arrays_of_numbers_equal_the_array(form):
    np.testing.assert_array_equal(
        problem(form(normal(N)), None, form(normal(M))).table.numeric,
        problem(normal(N), None, normal(M)).table.numeric,
    )


def test_a_list_of_rows_keeps_numbers_beside_text():
    rows = [[float(i) ** 2, "ab"[i % 2], None if i % 5 else 1.0] for i in range(N)]
    table = problem(rows, None, rows[:M]).table
    assert table.numeric_names == ("x0", "x2") and table.categorical_names == ("x1",)
    assert np.isnan(table.numeric[1, 1]) and table.numeric[3, 0] == 9


def test_masked_values_are_missing():
    masked = np.ma.masked_less(normal(N), -1)
    table = problem(masked, None, normal(M)).table
    np.testing.assert_array_equal(np.isnan(table.numeric[:N]), masked.mask)


def test_every_kind_of_pandas_column():
    source, target = frame(N), frame(M, 1)
    table = problem(source, None, target).table
    numeric = ("real", "whole", "nullable", "nullable real", "day", "zoned", "wait")
    assert table.numeric_names == numeric
    assert table.categorical_names == ("flag", "nullable flag", "text", "string", "kind")
    assert table.datetimes == {"day", "zoned"}
    column = dict(zip(numeric, table.numeric.T, strict=True))
    assert column["day"][0] == source["day"][0].timestamp()
    assert column["zoned"][0] == source["zoned"][0].timestamp()
    assert column["wait"][0] == source["wait"][0].total_seconds()
    for name in numeric:
        np.testing.assert_array_equal(np.isnan(column[name][:N]), source[name].isna())
        np.testing.assert_array_equal(np.isnan(column[name][N:]), target[name].isna())
    for j, name in enumerate(table.categorical_names):
        both = pd.concat([source[name].astype(object), target[name].astype(object)]).to_numpy()
        decoded = np.where(table.codes[:, j] < 0, None, table.categories[j][table.codes[:, j]])
        assert all(a == b or (a is None and pd.isna(b)) for a, b in zip(decoded, both, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "Float32", "Int8", "int16", "UInt32", "uint8", "Sparse[float]"])
def test_number_dtypes_of_pandas(dtype):
    values = np.random.default_rng(0).integers(0, 50, N)
    X = pd.DataFrame({"a": pd.array(values, dtype=dtype)})
    np.testing.assert_array_equal(problem(X, None, X).table.numeric[:N, 0], values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([decimal.Decimal("1.5"), None], [1.5, np.nan]),
        ([datetime.timedelta(seconds=3), None], [3, np.nan]),
        ([datetime.date(1970, 1, 2), None], [86400, np.nan]),
        ([datetime.datetime(1970, 1, 1, 1), pd.NaT], [3600, np.nan]),
        ([datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc), None], [0, np.nan]),
        ([2, pd.NA], [2, np.nan]),
    ],
)
def test_python_objects_become_numbers(values, expected):
    X = pd.DataFrame({"a": pd.Series(values * 10, dtype=object)})
    table = problem(X, None, X).table
    np.testing.assert_array_equal(table.numeric[:2, 0], expected)


def test_arrow_backed_columns():
    pa = pytest.importorskip("pyarrow")
    values = {
        "date": ([datetime.date(1970, 1, 2), None], pa.date32()),
        "zoned": (
            [datetime.datetime(1970, 1, 2, tzinfo=datetime.timezone.utc), None],
            pa.timestamp("us", "UTC"),
        ),
        "decimal": ([decimal.Decimal("1.5"), None], pa.decimal128(5, 2)),
        "number": ([7, None], pa.int8()),
        "text": (["a", None], pa.string()),
        "flag": ([True, None], pa.bool_()),
    }
    X = pd.DataFrame({name: pd.array(v * 10, dtype=pd.ArrowDtype(t)) for name, (v, t) in values.items()})
    table = problem(X, None, X).table
    assert table.names == ("date", "zoned", "decimal", "number", "text", "flag")
    np.testing.assert_array_equal(table.numeric[:2], [[86400, 86400, 1.5, 7], [np.nan] * 4])
    np.testing.assert_array_equal(table.codes[:2], [[0, 0], [-1, -1]])


def test_periods_and_intervals():
    X = pd.DataFrame(
        {
            "month": pd.period_range("1970-01", periods=N, freq="M")[np.random.default_rng(0).permutation(N)],
            "bin": pd.cut(normal(N)[:, 0], [-9, 0, 9]),
            "range": pd.arrays.IntervalArray.from_breaks(np.arange(N + 1) // 9 * 1.0),
        }
    )
    table = problem(X, None, X).table
    assert table.datetimes == {"month"} and table.categorical_names == ("bin", "range")


def test_polars_equals_pandas():
    source, target = frame(N).drop(columns="zoned"), frame(M, 1).drop(columns="zoned")

    def to_polars(data):
        columns = {name: data[name].astype(object).where(data[name].notna(), None).tolist() for name in data}
        spans = {name: values.to_numpy() for name, values in data.select_dtypes("timedelta").items()}
        return pl.DataFrame(columns | spans, strict=False).with_columns(pl.col("kind").cast(pl.Categorical))

    expected = problem(source, None, target).table
    got = problem(to_polars(source), None, to_polars(target)).table
    mixed = problem(source, None, to_polars(target)).table
    for table in (got, mixed):
        assert table.names == expected.names and table.datetimes == expected.datetimes
        np.testing.assert_array_equal(table.numeric, expected.numeric)
        np.testing.assert_array_equal(table.codes, expected.codes)


def test_polars_special_types():
    X = pl.DataFrame(
        {
            "zoned": pl.Series([datetime.datetime(1970, 1, 1, 1), None] * 10).dt.replace_time_zone("Europe/Berlin"),
            "enum": pl.Series(["a", "b"] * 10, dtype=pl.Enum(["a", "b"])),
            "decimal": pl.Series([decimal.Decimal("1.5"), None] * 10),
            "nothing": pl.Series([None] * 20),
            "lists": pl.Series([[1, 2], [3]] * 10),
        }
    )
    got = problem(X, pl.Series(["u", "v"] * 10), X, pl.Series([None, "v"] * 10))
    assert got.table.names == ("zoned", "decimal", "enum")
    np.testing.assert_array_equal(got.table.numeric[:2], [[0, 1.5], [np.nan, np.nan]])
    assert got.n_labelled == 10 and got.classes.tolist() == ["u", "v"]
    refuses("LazyFrame", "collect", X_source=X.lazy(), X_target=X)
    refuses("Series", "to_frame", X_source=X["enum"], X_target=X)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_matrix, sp.coo_array, sp.lil_array])
def test_sparse(form):
    X, T = (sp.random(n, 300, density=0.1, random_state=seed) for seed, n in enumerate((N, M)))
    wide = problem(form(X), None, form(T))
    assert wide.table.numeric.shape == (N + M, 50) and wide.table.names[0].startswith("component 1 (x")
    assert "reduced to 50 components" in wide.notes[0]
    narrow = problem(form(X.tocsc()[:, :50]), None, form(T.tocsc()[:, :50]))
    np.testing.assert_array_equal(narrow.table.numeric[:N], X.toarray()[:, :50])
    fewer = problem(form(X), None, form(T), exclude=list(range(250)))
    assert fewer.table.names == tuple(f"x{j}" for j in range(250, 300))


def test_what_rows_have_nothing_of_is_zero():
    S = sp.lil_array(sp.random(N, 200, density=0.1, random_state=0))
    S[:, 100:] = 0
    T = sp.lil_array((M, 200))
    T[:, 150:] = 1.0  # the first component, of which the source has nothing
    table = problem(S.tocsr(), None, T.tocsr()).table
    assert not table.numeric[:N, 0].any() and np.ptp(table.numeric[N:, 0]) == 0 < table.numeric[N, 0]


def test_sparse_components_do_not_depend_on_the_side():
    X = sp.csr_array(sp.random(N + M, 90, density=0.2, random_state=0))
    a = problem(X[:N], None, X[N:]).table.numeric
    b = problem(X[:M], None, X[M:]).table.numeric
    np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------ shapes and counts


@pytest.mark.parametrize("X", [np.arange(N), list(range(N)), pd.Series(range(N)), ["text"] * N, np.array(["t"] * N)])
def test_one_dimension(X):
    message = refuses("X_source is one-dimensional", "accepted", X_source=X)
    assert "reshape" in message or "to_frame" in message


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame])
def test_labels_in_the_third_place(form):
    X, y = form(normal(N)), np.arange(N) % 2
    refuses("Swap the second and the third argument", X_source=X, y_source=X, X_target=y)
    with pytest.raises(InputError, match="Swap the second and the third"):
        ImportanceWeighting(LogisticRegression()).fit(X, X, y)


def test_things_that_are_no_table():
    refuses("X_source is a dict", "pandas.DataFrame", X_source={"a": [1] * N})
    refuses("X_source is a generator", X_source=(i for i in range(N)))
    refuses("X_source is empty", X_source=[])
    refuses("y_source is a str", "a list or a series", y_source="ill")


def test_shapes():
    refuses("3 dimensions", "representation=", X_source=np.zeros((N, 4, 4)))
    refuses("complex", X_source=normal(N) * 1j)
    refuses("structured array", "pandas.DataFrame", X_source=np.zeros(N, dtype=[("a", float), ("b", int)]))
    refuses("different lengths", X_source=[[1, 2], [3]] * 20)
    refuses("X_target has no columns", X_target=np.zeros((M, 0)))
    refuses("X_target has no columns", X_target=pd.DataFrame(index=range(M)))
    refuses("X_target has 2 columns, X_source has 3", "same preprocessing", X_target=normal(M, 2))
    refuses("X_target is empty", "at least 10 rows", X_target=normal(0))
    refuses("X_source has 9 rows", "at least 10 rows", X_source=normal(9))
    with pytest.raises(InputError, match="X_target is None"):
        read_problem(normal(N), None, None)


def test_infinite_values_are_named_and_counted():
    X = normal(N)
    X[:2, 1] = np.inf
    T = normal(M)
    T[0, 2] = -np.inf
    refuses("'x1' (2 in X_source, 0 in X_target)", "'x2' (0 in X_source, 1 in X_target)", X_source=X, X_target=T)
    F = frame(N)
    F.loc[0, "real"] = np.inf
    refuses("'real' (1 in X_source", "NaN", X_source=F, X_target=frame(M))
    S = sp.csr_array(sp.random(N, 90, density=0.1, random_state=0))
    S.data[0] = np.nan
    refuses("X_source has 1 missing or infinite values in 90 sparse columns", X_source=S, X_target=S)


# ------------------------------------------------------------------ matching and kinds of columns


@pytest.mark.parametrize("width", [4, 90])
@pytest.mark.parametrize("dense", [lambda X: X, pd.DataFrame], ids=["array", "frame"])
def test_dense_rows_beside_sparse_ones(width, dense):
    X, T = normal(N, width), normal(M, width, seed=1)
    both = problem(sp.csr_array(X), None, sp.csr_array(T)).table
    for source, target in ((sp.csr_array(X), dense(T)), (dense(X), sp.csc_matrix(T))):
        np.testing.assert_allclose(problem(source, None, target).table.numeric, both.numeric)
    refuses("X_target has columns that are not of a numeric type", X_source=sp.csr_array(X[:, :2]), X_target=words(M))


def words(n):
    return pd.DataFrame({"a": np.arange(n) % 3, "b": ["u", "v"] * (n // 2)})


def test_columns_are_matched_by_name():
    source = frame(N)
    target = frame(M, 1)
    got = problem(source, None, target[target.columns[::-1]])
    np.testing.assert_array_equal(got.table.numeric, problem(source, None, target).table.numeric)
    assert "matched by name" in got.notes[0]


def test_missing_and_extra_columns():
    target = frame(M).drop(columns="real").assign(other=1)
    refuses("X_target lacks 'real'", "X_target has 'other'", "exclude=", X_source=frame(N), X_target=target)
    table = problem(frame(N), None, target, exclude=["real", "other"]).table
    assert "real" not in table.names and "other" not in table.names


def test_repeated_names():
    X = pd.DataFrame(normal(N), columns=["a", "a", "b"])
    refuses("several columns called 'a'", X_source=X, X_target=X)


def test_frame_beside_array_is_matched_by_position():
    X = pd.DataFrame(normal(N), columns=["a", "b", "c"])
    got = problem(X, None, normal(M))
    assert got.table.names == ("a", "b", "c") and "matched by position" in got.notes[0]
    got = problem(normal(N), None, X)
    assert got.table.names == ("a", "b", "c") and got.notes[0].startswith("X_source")


def test_exclude():
    assert problem(exclude=[0, -1]).table.names == ("x1",)
    assert problem(exclude="x1").table.names == ("x0", "x2")
    assert problem(exclude=None).table.names == ("x0", "x1", "x2")
    refuses(
        "unknown column 'reel'",
        "Did you mean 'real'?",
        X_source=frame(N),
        X_target=frame(M),
        exclude=["reel"],
    )
    refuses("column 7", "0 to 2", exclude=[7])
    refuses("no column is left", exclude=[0, 1, 2])


def pair(a, b):
    return {
        "X_source": pd.DataFrame({"col": pd.Series(a * 10), "z": normal(10 * len(a))[:, 0]}),
        "X_target": pd.DataFrame({"col": pd.Series(b * 10), "z": normal(10 * len(b))[:, 0]}),
    }


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1.5, 2.5], ["u", "v"], ("column 'col' is number in X_source", "text in X_target", "'u'")),
        (["u", "v"], [True, False], ("column 'col'", "boolean")),
        ([pd.Timestamp(0), pd.Timestamp(1)], [1, 2], ("column 'col' is datetime",)),
        ([pd.Timestamp(0), pd.Timestamp(1)], ["soon", "late"], ("column 'col' is datetime", "'soon'")),
        ([pd.Timestamp(0), pd.Timestamp(1)], [pd.Timestamp(0, tz="UTC")] * 2, ("time zone", "tz_localize")),
    ],
)
def test_kinds_that_disagree(a, b, words):
    refuses(*words, **pair(a, b))
    refuses("'col'", X_source=pair(a, b)["X_target"], X_target=pair(a, b)["X_source"])


@pytest.mark.parametrize(
    ("a", "b", "kind", "word"),
    [
        ([1.5, 2.0], ["1.5", None], "numeric", "numbers as text"),
        ([True, False], [0, 1], "numeric", "boolean on one side"),
        (["2024-01-01", "2024-01-02 10:00"], ["2023-01-01", None], "datetime", "dates as text"),
        ([pd.Timestamp(0), pd.Timestamp(1)], ["2024-01-01", None], "datetime", "dates as text"),
        (["01067", "01069"], ["10115", None], "categorical", ""),
        ([None, None], [1.0, 2.0], "numeric", ""),
        (["a", "b"], [None, None], "categorical", ""),
        ([1, "a"], ["a", 1], "categorical", ""),
    ],
)
def test_kinds_that_can_be_reconciled(a, b, kind, word):
    got = problem(**{"X_source": pair(a, b)["X_source"], "X_target": pair(a, b)["X_target"]})
    table = got.table
    assert ("col" in table.categorical_names) == (kind == "categorical")
    assert ("col" in table.datetimes) == (kind == "datetime")
    assert any(word in note for note in got.notes) == bool(word)


def test_text_beside_numbers_shows_what_is_no_number():
    refuses("text in X_target (such as 'ERR')", **pair([1.5, 2.5], ["2.84", "ERR"]))


def test_categories_declared_on_one_side_meet_numbers():
    data = pair([1, 2], [2, 3])
    data["X_source"]["col"] = data["X_source"]["col"].astype("category")
    assert problem(**data).table.categories[0].tolist() == [2, 1, 3]


def test_categories_of_either_side_are_kept_most_frequent_first():
    source = pd.DataFrame({"c": ["rare"] + ["b"] * 30 + ["a"] * 29})
    target = pd.DataFrame({"c": ["new"] * 15})
    table = problem(source, None, target).table
    assert table.categories[0].tolist() == ["b", "a", "new", "rare"]
    assert table.codes[0, 0] == 3 and table.codes[-1, 0] == 2


def arrow_dictionary(values, categories):
    pa = pytest.importorskip("pyarrow")
    codes = pa.array([None if value is None else categories.index(value) for value in values], pa.int8())
    return pd.DataFrame({"c": pd.arrays.ArrowExtensionArray(pa.DictionaryArray.from_arrays(codes, categories))})


@pytest.mark.parametrize("levels", [["a", "b", "c", "never"], ["never", "c", "b", "a"], ["b", "c", "a"]])
@pytest.mark.parametrize(
    "declared",
    [
        lambda values, levels: pd.DataFrame({"c": pd.Categorical(values, categories=levels)}),
        lambda values, levels: pd.DataFrame({"c": pd.Categorical(values, categories=levels, ordered=True)}),
        lambda values, levels: pl.DataFrame({"c": pl.Series(values, dtype=pl.Enum(levels))}),
        lambda values, levels: pl.DataFrame({"c": pl.Series(levels + values, dtype=pl.Categorical)[len(levels) :]}),
        arrow_dictionary,
    ],
    ids=["pandas", "pandas ordered", "polars Enum", "polars Categorical", "arrow"],
)
def test_the_order_in_which_categories_are_declared_changes_nothing(declared, levels):
    source, target = ["a"] * 30 + ["b"] * 20 + ["c"] * 10, ["a"] * 20 + [None] + ["b"] * 19
    text = problem(pd.DataFrame({"c": source}), None, pd.DataFrame({"c": target})).table
    table = problem(declared(source, ["a", "b", "c", "never"]), None, declared(target, levels)).table
    assert table.categories[0].tolist() == text.categories[0].tolist()
    np.testing.assert_array_equal(table.codes, text.codes)


def test_identifiers_texts_row_numbers_and_nested_values_are_left_out_with_a_note():
    def table(n, seed):
        return pd.DataFrame(
            {
                "id": [f"{seed}-{i}" for i in range(n)],
                "row": np.arange(n) + 100 * seed,
                "lists": [[i] for i in range(n)],
                "void": np.nan,
                "constant": 1.0,
                "z": normal(n, seed=seed)[:, 0],
            }
        )

    got = problem(table(N, 0), None, table(M, 1))
    assert got.table.names == ("constant", "z")
    notes = " ".join(got.notes)
    assert "'id', because nearly every value is distinct" in notes and "'row', because it numbers the rows" in notes
    assert "'void', because all values are missing" in notes and "'lists', because its values are of a type" in notes
    refuses(
        "no column can be tested",
        "representation=",
        X_source=table(N, 0)[["id"]],
        X_target=table(M, 1)[["id"]],
    )


def numbers_as_text(kind, rng, n):
    """Columns of text that hold numbers, and such that hold codes."""
    real, whole = rng.normal(100, 50, n), rng.integers(0, 80, n)
    made = {
        "a word": ["ERR", *(f"{x:.2f}" for x in real[1:])],
        "a bound": ["<0.1", *(f"{x:.2f}" for x in real[1:])],
        "a word among whole numbers": ["n.a.", "?", *map(str, whole[2:])],
        "beside numbers": ["ERR", *real[1:]],
        "decimals": [f"{x:.2f}" for x in real],
        "decimal comma": [f"{x:.3f}".replace(".", ",") for x in real],
        "word and comma": ["ERR", *(f"{x:.1f}".replace(".", ",") for x in real[1:])],
        "thousands": [f"{x:,}" for x in rng.integers(10**3, 10**8, n)],
        "thousands with a decimal comma": [
            f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in 1e5 * rng.random(n)
        ],
        "blanks with a decimal comma": [
            f"{x:,.2f}".translate(str.maketrans(",.", "\xa0,")) for x in 1e5 * rng.random(n)
        ],
        "a word and all that": [
            "ERR",
            *(f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in 1e5 * rng.random(n - 1)),
        ],
        "zip code": [f"{x:05d}" for x in rng.integers(0, 10**5, n)],
        "zip code and a word": ["none", *(f"{x:05d}" for x in rng.integers(0, 80, n - 1))],
        "number of a person": [str(x) for x in rng.integers(0, 10**9, n)],
        "diagnosis": ["V57", "?", *map(str, whole[2:])],
        "few": ["other", *map(str, rng.integers(0, 9, n - 1))],
        "hexadecimal": [f"{x:08x}" for x in rng.integers(0, 2**32, n)],
        "declared": pd.Categorical(["ERR", *(f"{x:.2f}" for x in real[1:])]),
    }
    return made[kind]


def of_text(kind):
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"b": rng.normal(size=n), "a": numbers_as_text(kind, rng, n)}) for n in (300, 200)]
    return {"X_source": frames[0], "X_target": frames[1]}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a word", "distinct values are numbers, 'ERR' is not"),
        ("a bound", "Mark '<0.1' as missing, or name it in exclude="),
        ("a word among whole numbers", "'n.a.' and 1 more are not"),
        ("beside numbers", "'ERR' is not"),
        ("decimals", "pandas.to_numeric"),
        ("decimal comma", "Read it with decimal=','"),
        ("word and comma", "Mark 'ERR' as missing and read it with decimal=','"),
        ("thousands", "Write it without separators of thousands, or name"),
        ("thousands with a decimal comma", "Write it without separators of thousands and read it with decimal=','"),
        ("blanks with a decimal comma", "Write it without separators of thousands and read it with decimal=','"),
        ("a word and all that", "Mark 'ERR' as missing, write it without separators of thousands and read it with"),
    ],
)
def test_broken_columns_of_numbers_are_refused(kind, words):
    refuses("column 'a' is text", words, "categorical type", **of_text(kind))


@pytest.mark.parametrize(
    ("kind", "watched"),
    [("zip code", False), ("number of a person", False), ("hexadecimal", False)]
    + [(kind, True) for kind in ("zip code and a word", "diagnosis", "few", "declared")],
)
def test_codes_stay_categories_or_identifiers(kind, watched):
    got = problem(**of_text(kind))
    assert ("a" in got.table.names) == watched and ("identifier" in " ".join(got.notes)) != watched


def test_a_list_behind_a_thousand_texts_is_found():
    texts = pd.Series(["a", "b"] * 600, dtype=object)
    source = pd.DataFrame({"c": texts, "z": normal(1200)[:, 0]})
    target = source.copy()
    target.at[1100, "c"] = ["a"]
    got = problem(source, None, target)
    assert got.table.names == ("z",) and "'c', because its values are of a type" in got.notes[0]


def test_missing_columns_of_arrays():
    X = normal(N)
    X[:, 1] = np.nan
    T = normal(M)
    assert problem(X, None, T).table.names == ("x0", "x1", "x2")
    T[:, 1] = np.nan
    got = problem(X, None, T)
    assert got.table.names == ("x0", "x2") and "'x1', because all values are missing" in got.notes[0]
    refuses(
        "no column can be tested",
        "all values are missing",
        X_source=np.full((N, 2), np.nan),
        X_target=np.full((M, 2), np.nan),
    )


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a", "b"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        (pd.Categorical(["a", "b"] * 30), "classification"),
        (pd.Series(["a", "b"] * 30, dtype="string"), "classification"),
        (np.arange(N) % 20, "classification"),
        (np.arange(N) % 21, "regression"),
        (np.arange(N) % 2.0, "classification"),
        (np.arange(N) / 7, "regression"),
        (pd.array(np.arange(N) % 2, dtype="Int64"), "classification"),
        (np.random.default_rng(0).poisson(40, N), "regression"),
    ],
)
def test_task_is_inferred(y, task):
    assert problem(y_source=y).task == task
    assert problem().task is None and problem().n_labelled == 0


def test_task_can_be_said():
    assert problem(y_source=np.arange(N) % 3, task="regression").y_source.dtype == float
    assert problem(y_source=np.arange(N) % 25, task="classification").classes.tolist() == list(range(25))
    refuses("task is 'both'", "'auto'", y_source=CLASSES, task="both")
    refuses("task is 'both'", "'auto'", task="both")
    refuses("text with task='regression'", y_source=["a", "b"] * 30, task="regression")
    refuses("fraction with task='classification'", y_source=np.arange(N) / 7, task="classification")


def test_numbers_that_became_text_are_told():
    numbers = [f"{value:.2f}" for value in np.random.default_rng(0).normal(size=N)]
    for y, words in (
        (["n/a", *numbers[1:]], "distinct values are numbers, 'n/a' is not. Mark 'n/a' as missing"),
        (numbers, "are numbers, such as .* Convert it by pandas.to_numeric, or pass task='classification'"),
    ):
        with pytest.warns(ShiftWarning, match=f"y_source is text, taken as classes; .*{words}"):
            assert problem(y_source=y).task == "classification"
        problem(y_source=y, task="classification")  # whoever says so is not told
    problem(y_source=[str(code) for code in range(1, 61)])  # whole numbers may be codes


@pytest.mark.parametrize("form", [lambda y: y[:, None], lambda y: pd.DataFrame({"y": y})])
def test_labels_may_be_a_table_with_one_column(form):
    words = np.array(["a", "b"])[CLASSES]
    for y in (CLASSES, words, pd.array(CLASSES, "Int64").to_numpy()):
        np.testing.assert_array_equal(problem(y_source=form(y)).y_source, problem(y_source=y).y_source)


def test_labels_that_cannot_be_used():
    y = CLASSES.astype(float)
    y[:3] = np.nan
    refuses("y_source has 3 missing labels of 60", "unlabelled", y_source=y)
    refuses("y_source has 59 labels", "60, one per row of X_source", y_source=CLASSES[:59])
    refuses("y_target has 39 labels", "40", y_source=CLASSES, y_target=TARGET_CLASSES[:39])
    refuses("y_source has shape (60, 2)", "one at a time", y_source=np.c_[CLASSES, CLASSES])
    refuses("y_source has shape", "one label per row", y_source=[[c] for c in CLASSES])
    refuses("y_source has shape (60, 2)", "one at a time", y_source=[[c, c] for c in CLASSES])
    refuses("y_source has shape (60, 2)", y_source=pd.DataFrame({"y": CLASSES, "z": CLASSES}))
    refuses("y_source is a dict", "Pass an array", y_source={"y": CLASSES})
    refuses("one class only (1)", y_source=np.ones(N, int))
    refuses("one value only", y_source=np.full(N, 1.5))
    refuses("infinite", y_source=np.r_[np.inf, np.arange(N - 1)])
    refuses("several types", y_source=["a", 1] * 30)
    refuses("y_source holds", y_source=pd.date_range("2024", periods=N))
    refuses("without y_source", y_target=TARGET_CLASSES)


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_missing_target_labels_are_unlabelled(hole):
    y = [hole if i % 3 else i % 2 for i in range(M)]
    got = problem(y_source=CLASSES, y_target=y)
    np.testing.assert_array_equal(got.labelled, np.arange(M) % 3 == 0)
    assert got.y_target.dtype == got.y_source.dtype == CLASSES.dtype
    np.testing.assert_array_equal(got.y_target[got.labelled], np.arange(0, M, 3) % 2)
    part = got.labelled_part()
    assert part.table.n_target == part.n_labelled == 14 and part.y.dtype == CLASSES.dtype


def test_minus_one_is_a_class():
    got = problem(y_source=np.where(CLASSES, 1, -1), y_target=np.where(TARGET_CLASSES, 1, -1))
    assert got.classes.tolist() == [-1, 1] and got.n_labelled == M


def test_all_target_labels_missing_means_none():
    got = problem(y_source=CLASSES, y_target=[None] * M)
    assert got.y_target is None and got.n_labelled == 0


@pytest.mark.parametrize(
    ("source", "target", "dtype"),
    [
        (CLASSES, TARGET_CLASSES * 1.0, "i"),
        (CLASSES, TARGET_CLASSES == 1, "i"),
        (CLASSES * 1.0, TARGET_CLASSES, "f"),
        (CLASSES == 1, TARGET_CLASSES, "b"),
        (CLASSES == 1, [None, True] * 20, "b"),
        (CLASSES / 3 + np.arange(N), TARGET_CLASSES, "f"),
        (CLASSES.astype(np.uint8), np.where(TARGET_CLASSES, 300.0, 0), "i"),
        (CLASSES.astype(np.uint8), np.where(TARGET_CLASSES, -1, 0), "i"),
        (np.where(CLASSES, "b", "a"), pd.Series(["a", "a long one"] * 20), "U"),
    ],
)
def test_target_labels_take_the_dtype_of_the_source(source, target, dtype):
    got = problem(y_source=source, y_target=target)
    assert got.y_source.dtype.kind.replace("u", "i") == got.y_target.dtype.kind == dtype
    assert got.y.shape == (N + M,) or not got.labelled.all()
    values = pd.Series(target).dropna().tolist()
    assert got.y_target[got.labelled].tolist() == values


def test_target_labels_of_another_type():
    refuses("y_target holds text while y_source holds whole numbers", y_source=CLASSES, y_target=["a", "b"] * 20)
    refuses(
        "y_target holds whole numbers while y_source holds text",
        y_source=["a", "b"] * 30,
        y_target=TARGET_CLASSES,
    )
    refuses("y_target holds fractions", y_source=CLASSES, y_target=TARGET_CLASSES / 3)
    refuses("beyond 2**53", y_source=CLASSES, y_target=TARGET_CLASSES * 1e30)
    refuses("0 and 1", y_source=CLASSES == 1, y_target=TARGET_CLASSES + 1)


def test_new_classes_are_reported():
    got = problem(y_source=["a", "b"] * 30, y_target=["b", "crimson"] * 20)
    assert got.new_classes == ("crimson",) and "'crimson'" in got.notes[-1]
    assert problem(y_source=CLASSES, y_target=TARGET_CLASSES + 1).new_classes == (2,)
    assert problem(y_source=CLASSES, y_target=[1] * M).new_classes == ()


# ------------------------------------------------------------------ groups, weights, sources


def test_groups_are_pooled():
    groups = problem(groups=["p", "q"] * 30, groups_target=["q", "r"] * 20).groups
    assert groups.shape == (N + M,) and len(set(groups)) == 3
    assert groups[1] == groups[N] and groups[N + 1] not in groups[:N]


def test_a_side_of_few_groups_is_told():
    """Its rows count as so few observations."""
    few = problem(groups=np.arange(N) // 2, groups_target=N + np.arange(M) // 20)
    assert sum("groups_target has 2 groups" in note for note in few.notes) == 1
    with pytest.warns(ShiftWarning, match="groups_target has 1 group: .* about exactly it, leave groups out"):
        one = problem(groups=np.arange(N) // 2, groups_target=np.full(M, N))
    assert one.sampled_groups()[0] is not None and one.sampled_groups()[1] is None
    assert not problem(groups=np.arange(N) // 2, groups_target=N + np.arange(M) // 2).notes


def test_groups_that_cannot_be_used():
    refuses("groups was given without groups_target", "occurs nowhere else", groups=np.arange(N))
    refuses("groups_target was given without groups", groups_target=np.arange(M))
    refuses("groups has shape (3,)", groups=[1, 2, 3], groups_target=np.arange(M))
    refuses(
        "groups_target has 1 missing",
        groups=np.arange(N) * 1.0,
        groups_target=np.r_[np.nan, np.arange(M - 1)],
    )
    refuses("same type", groups=np.arange(N), groups_target=[str(i) for i in range(M)])
    one = {"y_source": CLASSES, "groups": [0] * N, "groups_target": 1 + np.arange(M)}
    refuses("groups has 1 group in all", "Leave groups and groups_target out", **one)


def test_weights_have_mean_one_on_each_side():
    w = np.arange(1, N + 1) * 3.0
    weight = problem(sample_weight=w).weight
    np.testing.assert_allclose(weight[:N], w / w.mean())
    np.testing.assert_array_equal(weight[N:], 1)
    assert problem(sample_weight_target=np.full(M, 7)).weight.tolist() == [1.0] * (N + M)
    assert problem().weight is None


@pytest.mark.parametrize(
    ("weight", "word"),
    [
        (np.ones(N - 1), "shape (59,)"),
        (np.ones((N, 1)), "shape (60, 1)"),
        (np.r_[np.nan, np.ones(N - 1)], "1 missing or infinite"),
        (np.r_[-1, np.ones(N - 1)], "1 negative"),
        (np.zeros(N), "zero in 60 of 60 rows"),
        (["heavy"] * N, "not numeric"),
    ],
)
def test_weights_that_cannot_be_used(weight, word):
    refuses("sample_weight ", word, "accepted", sample_weight=weight)


def test_source_domain():
    assert problem(source_domain=["s1", "s2"] * 30).source_domain.tolist() == ["s1", "s2"] * 30
    refuses("source_domain has shape (2,)", "(60,)", source_domain=[1, 2])


# ------------------------------------------------------------------ representation


def test_transformer_as_representation():
    X, T = normal(N), normal(M)
    pca = make_pipeline(StandardScaler(copy=False), PCA(2)).fit(normal(N, seed=2))
    before = X.copy()
    got = problem(X, None, T, representation=pca)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(got.table.numeric[:N], pca.transform(X.copy()))
    assert "representation" in got.notes[0]


def test_texts_as_representation():
    texts = [f"alpha {'beta' if i % 2 else 'gamma delta'}" for i in range(N)]
    vectoriser = TfidfVectorizer().fit(texts[1:])
    got = problem(texts, None, texts[:M], representation=vectoriser).table
    assert got.numeric.shape == (N + M, 4) and got.names == ("alpha", "beta", "delta", "gamma")
    plain = problem(texts, None, texts[:M], representation=lambda rows: vectoriser.transform(rows).toarray().tolist())
    np.testing.assert_array_equal(plain.table.numeric, got.numeric)
    assert plain.table.names == ("x0", "x1", "x2", "x3")


WORDS = np.random.default_rng(0).choice([f"w{k}" for k in range(50)], (N + M, 8))
TEXTS = [" ".join(words) for words in WORDS]


@pytest.mark.parametrize("kind", ["array", "sparse", "pandas", "polars", "list", "array of texts", "series", "mixed"])
def test_an_unfitted_transformer_is_fitted_on_both_sides_together(kind):
    rows, columns = normal(N + M), list("abc")
    texts = kind in ("list", "array of texts", "series", "mixed")
    rows = TEXTS if texts else rows
    as_kind = {
        "array": np.asarray,
        "sparse": sp.csr_matrix,
        "pandas": lambda part: pd.DataFrame(part, columns=columns, index=[7] * len(part)),
        "polars": lambda part: pl.DataFrame(part, schema=columns),
        "list": list,
        "array of texts": lambda part: np.array(part, object),
        "series": pd.Series,
        "mixed": lambda part: list(part) if len(part) == N else pd.Series(part),
    }[kind]
    if texts:
        unfitted = make_pipeline(TfidfVectorizer(min_df=2), TruncatedSVD(5), Normalizer())
        expected = make_pipeline(TfidfVectorizer(min_df=2), TruncatedSVD(5, random_state=0), Normalizer()).fit(rows)
    else:
        unfitted = PCA(2)
        expected = PCA(2).fit(rows)
    source, target = as_kind(rows[:N]), as_kind(rows[N:])
    before = copy.deepcopy(source)
    got = problem(source, None, target, representation=unfitted)
    np.testing.assert_allclose(got.table.numeric, expected.transform(rows), atol=1e-12)
    assert "fitted on the rows of both sides together" in got.notes[0]
    assert not hasattr(unfitted[-2] if texts else unfitted, "components_")
    swapped = problem(target, None, source, representation=unfitted).table.numeric
    np.testing.assert_allclose(np.abs(swapped), np.abs(np.r_[got.table.numeric[N:], got.table.numeric[:N]]), atol=1e-8)
    same = source.toarray() == before.toarray() if kind == "sparse" else np.asarray(source) == np.asarray(before)
    assert same.all()


def test_what_needs_no_fit_is_not_said_to_be_fitted():
    representations = [HashingVectorizer(n_features=8), make_pipeline(FunctionTransformer(hashed), Normalizer())]
    if get_tags(representations[0]).requires_fit:
        del representations[0]  # so says the scikit-learn that is installed
    for representation in representations:
        assert "fitted" not in problem(TEXTS[:N], None, TEXTS[N:], representation=representation).notes[0]


def hashed(texts):
    return HashingVectorizer(n_features=8).transform(texts)


def test_a_transformer_that_is_not_of_scikit_learn_is_taken_as_it_is():
    class Centred:
        def fit(self, X):
            self.centre = X.mean(axis=0)
            return self

        def transform(self, X):
            return X - self.centre

    got = problem(representation=Centred().fit(np.ones((5, 3))))
    np.testing.assert_array_equal(got.table.numeric[:N], normal(N) - 1)


@pytest.mark.parametrize("side", ["X_source", "X_target"])
def test_a_transformer_that_was_fitted_on_one_side_is_told(side):
    own = slice(0, N) if side == "X_source" else slice(N, None)
    rows = normal(N + M).astype(np.float32) + 3
    for made, X in (
        (PCA(2), rows),
        (make_pipeline(StandardScaler(), PCA(2)), pd.DataFrame(rows)),
        (TfidfVectorizer(smooth_idf=False, sublinear_tf=True), TEXTS),
        (make_pipeline(TfidfVectorizer(min_df=2), TruncatedSVD(5)), TEXTS),
    ):
        with pytest.warns(ShiftWarning, match=f"fitted on the rows of {side}.*Pass it unfitted"):
            problem(X[:N], None, X[N:], representation=made.fit(X[own]))


def test_other_fitted_transformers_are_taken_as_they_are():
    rows = normal(N + M)
    for made, X in ((PCA(2).fit(rows), rows), (PCA(2).fit(normal(N, seed=5)), rows)):
        assert problem(X[:N], None, X[N:], representation=made).notes == (
            "The tests see the rows through the given representation.",
        )
    problem(rows[:N], None, rows[N:], representation=StandardScaler().fit(rows[:N]))  # moves both sides alike
    problem(TEXTS[:N], None, TEXTS[N:], representation=TfidfVectorizer().fit(TEXTS))
    problem(TEXTS[:N], None, TEXTS[N:], representation=TfidfVectorizer(use_idf=False).fit(TEXTS[1:N]))


def test_representations_that_cannot_be_used():
    refuses("cannot be fitted on the rows of X_source and X_target", "pass it fitted", representation=SelectKBest())
    refuses("cannot be fitted", X_target=pd.DataFrame(normal(M), columns=list("abc")), representation=PCA(2))
    with pytest.raises(InputError, match="X_target is None"):
        read_problem(normal(N), None, None, representation=PCA(2))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(normal(N), CLASSES)
    refuses("without transform", "pipeline[:-1]", representation=model)
    refuses("without transform", representation=PCA)
    refuses("representation returned shape ()", representation=np.mean)
    refuses("representation returned 59 rows for the 60 of X_source", representation=lambda rows: rows[:-1])


def test_a_vectoriser_that_is_given_a_frame():
    texts = pd.DataFrame({"text": ["alpha beta", "gamma delta"] * (N // 2)})
    vectoriser = TfidfVectorizer().fit(texts["text"])
    refuses(
        "representation returned 1 rows for the 60 of X_source",
        "X_source['text']",
        "ColumnTransformer",
        X_source=texts,
        X_target=texts,
        representation=vectoriser,
    )


@pytest.mark.parametrize(
    "container", [list, lambda x: np.array(x, object), lambda x: pd.Series(x, dtype=object), pl.Series]
)
def test_missing_texts(container):
    texts = ["alpha beta", "gamma delta"] * (N // 2)
    gaps = [None if k in (3, 17) else text for k, text in enumerate(texts)]
    vectoriser = TfidfVectorizer().fit(texts)
    both = {"X_source": container(texts), "X_target": container(gaps)}
    refuses("X_target has no text in rows 3 and 17, counted from 0", "'' where", **both, representation=vectoriser)
    filled = make_pipeline(FunctionTransformer(lambda rows: [row or "" for row in rows]), vectoriser)
    assert problem(**both, representation=filled).table.n == 2 * N  # it knows what to do with them
    with pytest.raises(AttributeError):  # no texts: the message is that of the vectoriser
        problem(X_source=[1, 2, None], X_target=texts, representation=vectoriser)


@pytest.mark.parametrize("container", [list, lambda x: np.array(x), pd.Series, pl.Series])
def test_texts_without_a_representation(container):
    texts = container(["alpha", "beta"] * (N // 2))
    refuses("one-dimensional", "For texts pass representation=", "X_source", X_source=texts, X_target=texts)


@pytest.mark.torch
def test_layer_as_representation():
    torch = pytest.importorskip("torch")
    torch_state = torch.random.get_rng_state()
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(8, 5), torch.nn.Dropout(0.5), torch.nn.Linear(5, 2)
    )
    module.train()
    module[2].eval()
    images = normal(2 * N, 8).reshape(2 * N, 2, 4)
    before = copy.deepcopy(module.state_dict())
    got = problem(images[:N], None, images[N:], representation=(module, "1")).table.numeric
    expected = module[1](torch.as_tensor(images, dtype=torch.float32).flatten(1)).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)
    dropped = [problem(images[:N], None, images[N:], representation=(module, "3")).table.numeric for _ in range(2)]
    np.testing.assert_array_equal(*dropped)
    assert module.training and module[1].training and not module[2].training
    assert not module[1]._forward_hooks and all(p.grad is None for p in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    refuses("no layer 'fc'", "'1'", X_source=images[:N], X_target=images[N:], representation=(module, "fc"))
    refuses("something else", representation=(1, 2))
    torch.random.set_rng_state(torch_state)


@pytest.mark.torch
def test_a_layer_is_read_before_the_next_one_overwrites_it():
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(8, 5), torch.nn.ReLU(inplace=True), torch.nn.Linear(5, 2)]
    rows = normal(2 * N, 8)
    got = problem(rows[:N], None, rows[N:], representation=(torch.nn.Sequential(*layers), "0")).table.numeric
    np.testing.assert_allclose(got, layers[0](torch.as_tensor(rows).float()).detach().numpy(), atol=1e-6)


@pytest.mark.torch
def test_data_sets_and_ragged_rows_are_no_rows_of_a_layer():
    torch = pytest.importorskip("torch")
    view = {"representation": (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 2)), "1")}
    rows = torch.as_tensor(normal(N, 8))
    for parts in ((rows,), (rows, torch.arange(N))):
        dataset = torch.utils.data.TensorDataset(*parts)
        refuses("X_source is a TensorDataset", "torch.stack", X_source=dataset, X_target=rows, **view)
        loader = torch.utils.data.DataLoader(dataset)
        refuses("X_target is a DataLoader", "torch.stack", X_source=rows, X_target=loader, **view)
    refuses("X_source has rows of different shapes", X_source=[np.ones(8), np.ones(9)], X_target=rows, **view)


@pytest.mark.torch
def test_images_of_bytes_and_tokens_as_representation():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten())
    images = np.random.default_rng(0).integers(0, 256, (N + M, 3, 6, 6)).astype(np.uint8)
    bytes_, floats = (
        problem(part[:N], None, part[N:], representation=(net, "1")).table.numeric
        for part in (images, images.astype(np.float32))
    )
    np.testing.assert_array_equal(bytes_, floats)
    channels_last = {"X_source": images[:N].transpose(0, 2, 3, 1), "X_target": images[N:].transpose(0, 2, 3, 1)}
    refuses("fails on a batch of shape (60, 6, 6, 3)", "channels", representation=(net, "1"), **channels_last)
    refuses("without transform", "(torch module, layer name)", representation=net, **channels_last)
    table = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten())
    tokens = np.random.default_rng(0).integers(0, 9, (N + M, 5))
    assert problem(tokens[:N], None, tokens[N:], representation=(table, "1")).table.numeric.shape == (N + M, 20)


# ------------------------------------------------------------------ dependent rows


def test_copies_are_warned_of_unless_groups_are_given():
    X = normal(N)[np.arange(N) // 2]
    with pytest.warns(ShiftWarning, match="60% of the rows are copies.*groups="):
        read_problem(X, None, normal(M, seed=1))
    read_problem(X, None, normal(M, seed=1), groups=np.arange(N) // 2, groups_target=N + np.arange(M))


def test_rows_on_both_sides_are_noted():
    X = normal(N)
    assert "100% of the target rows stand in the source" in problem(X, None, X[:M]).notes[0]


def test_a_source_that_is_a_part_of_the_target_is_compared_with_the_other_rows():
    rows, ids = normal(N + M), np.arange(N + M)
    part = problem(rows[:N], None, np.r_[rows[N:], rows[:N]])
    assert f"the other {M} target rows" in part.notes[-1] and part.table.n_target == N + M
    assert compared_target(part).tolist() == list(range(M))
    few = problem(rows[:N], None, rows[: N + 5])  # too few others
    half = problem(rows[:N], None, rows[N // 2 :])
    groups = problem(rows[:N], None, rows, groups=ids[:N], groups_target=ids)
    weights = problem(rows[:N], None, rows, sample_weight=np.ones(N))
    for given in (few, half, groups, weights):
        assert len(compared_target(given)) == given.table.n_target
        assert not any("part of the target" in note for note in given.notes)


def test_of_equal_rows_every_second_is_left_out_of_a_fit():
    rows = np.random.default_rng(0).integers(0, 2, (40, 5)) * 1.0
    by_number = rows @ 2 ** np.arange(5)
    expected = [k for k in range(40) if (by_number[:k] == by_number[k]).sum() % 2 == 0]
    shuffled = sp.coo_matrix((np.r_[rows[rows > 0], 0], [np.r_[x, 0] for x in rows.nonzero()]), rows.shape)
    texts = ["".join("ab"[int(v)] for v in row) for row in rows]
    frame = pd.DataFrame(rows).assign(kind=pd.Categorical(texts))
    forms = [
        rows,
        rows.reshape(40, 5, 1),
        rows.astype(int),
        sp.csc_matrix(rows),
        shuffled,
        texts,
        pd.Series(texts, [0] * 40),
    ]
    for form in [*forms, np.array(texts, object), frame, pl.from_pandas(frame), pl.Series(texts)]:
        assert half_of_copies(form).tolist() == expected
    assert len(half_of_copies([[1], [1]])) == 2  # not hashable


@pytest.mark.parametrize("representation", [None, TfidfVectorizer(min_df=2), TruncatedSVD(9)])
def test_components_are_those_of_the_distinct_rows_where_the_sides_overlap(representation):
    distinct = TEXTS[: N + M] if isinstance(representation, TfidfVectorizer) else sp.csr_matrix(normal(N + M, 60))
    overlapping = problem(distinct[:N], None, distinct, representation=representation).table.numeric
    apart = problem(distinct[:N], None, distinct[N:], representation=representation).table.numeric
    np.testing.assert_allclose(overlapping[N:], apart, atol=1e-10)
    np.testing.assert_array_equal(overlapping[:N], overlapping[N : 2 * N])


def test_twins_are_rows_of_both_sides_that_chance_does_not_explain():
    X = normal(N + M)
    source, target = twins(problem(X[:N], None, X[10:][::-1]).table)
    assert sorted(source) == list(range(10, N)) and (source + target == N + (N + M - 1)).all()
    rng = np.random.default_rng(1)
    assert not len(twins(problem(X[:N], None, X[N:]).table)[0])
    for levels in (3, 10, 40):  # the fewer rows there are of each kind, the more stand once on each side
        discrete = rng.integers(0, levels, (300, 2)) * 1.0
        assert not len(twins(problem(discrete[:150], None, discrete[150:]).table)[0])


def discrete_cases():
    rng = np.random.default_rng(5)
    n = 400
    return {
        "counts": rng.poisson(3, (n, 2)),
        "standardised ages": (rng.integers(18, 90, (n, 1)) - 50) / 13.7,
        "rounded": np.round(rng.normal(36, 1, (n, 1)), 1),
        "single precision": ((rng.integers(0, 90, (n, 1)) - 50) / 13.7).astype(np.float32),
        "log counts": np.log1p(rng.poisson(20, (n, 1))),
        "rain": np.where(rng.random((n, 1)) < 0.6, 0, rng.exponential(size=(n, 1))),
        "one-hot": np.eye(5)[rng.integers(0, 5, n)],
    }


@pytest.mark.parametrize("name", discrete_cases())
def test_natural_ties_are_not_warned_of(name):
    X = discrete_cases()[name]
    assert problem(X[:200], None, X[200:]).notes == ()


def test_serial_dependence_is_warned_of():
    rng = np.random.default_rng(0)
    walk = np.zeros((300, 2))
    for i in range(1, 300):
        walk[i] = 0.8 * walk[i - 1] + rng.normal(size=2)
    with pytest.warns(ShiftWarning, match="lag-1 autocorrelation of 'x"):
        read_problem(walk, None, normal(M, 2))
    frame = pd.DataFrame(walk, columns=["a", "b"]).assign(time=pd.date_range("2024", periods=300))
    with pytest.warns(ShiftWarning, match="'a'"):
        read_problem(frame, None, frame)


def test_independent_rows_raise_no_false_alarm():
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = (12, 40, 150, 600)[seed % 4]
        X = np.column_stack([rng.normal(size=n), rng.standard_cauchy(n), rng.exponential(size=n), rng.poisson(2, n)])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_problem(X, None, X[::-1] + 1)
        alarms += bool(caught)
    assert alarms == 0


def test_sorted_tables_raise_no_alarm():
    X = normal(N)
    y = (X[:, 0] > 0).astype(int)
    T = normal(M, seed=1)
    problem(X[X[:, 1].argsort()], None, T[T[:, 1].argsort()])
    separated = X + 5 * y[:, None]
    order = y.argsort(kind="stable")
    problem(separated[order], y[order], T)


# ------------------------------------------------------------------ invariants


def test_nothing_of_the_callers_is_modified():
    source, target = frame(N), frame(M, 1)[frame(M).columns[::-1]]
    y = pd.Series(CLASSES * 1.0)
    y_target = pd.Series([None, 1.0] * 20)
    weight, groups, groups_target = np.arange(N) + 1.0, np.arange(N), np.arange(M)
    arguments = (source, y, target, y_target, weight, groups, groups_target)
    before = copy.deepcopy(arguments)
    read_problem(
        source,
        y,
        target,
        y_target,
        sample_weight=weight,
        groups=groups,
        groups_target=groups_target,
        exclude=["real"],
    )
    for old, new in zip(before, arguments, strict=True):
        if isinstance(old, pd.DataFrame):
            pd.testing.assert_frame_equal(old, new)
        elif isinstance(old, pd.Series):
            pd.testing.assert_series_equal(old, new)
        else:
            np.testing.assert_array_equal(old, new)


def test_the_table_is_a_copy():
    X = normal(N)
    got = problem(X)
    got.table.numeric[0] = 99
    assert X[0, 0] != 99


@pytest.mark.parametrize("seed", range(10))
def test_encoding_does_not_look_at_the_side(seed):
    """Splitting the same rows elsewhere gives the same columns: nothing depends on the domain."""
    data = frame(N + M, seed)
    cut = 20 + 7 * seed
    a = problem(data[:N], None, data[N:]).table
    b = problem(data[:cut], None, data[cut:]).table
    assert a.names == b.names
    np.testing.assert_array_equal(a.numeric, b.numeric)
    np.testing.assert_array_equal(a.codes, b.codes)
    assert [c.tolist() for c in a.categories] == [c.tolist() for c in b.categories]
    np.testing.assert_array_equal(a.design, b.design)


@pytest.mark.parametrize("seed", range(5))
def test_row_order_permutes_the_rows_and_nothing_else(seed):
    source, target = frame(N, seed), frame(M, seed + 1)
    order = np.random.default_rng(seed).permutation(N)
    a = problem(source, None, target).table
    b = problem(source.iloc[order], None, target).table
    np.testing.assert_array_equal(a.numeric[:N][order], b.numeric[:N])
    np.testing.assert_array_equal(a.codes[:N][order], b.codes[:N])


def test_numeric_frames_in_another_order():
    X = pd.DataFrame(normal(N), columns=["a", "b", "c"])
    got = problem(X, None, X[["c", "a", "b"]].iloc[:M] + 1, exclude=["b"])
    assert got.table.names == ("a", "c")
    np.testing.assert_array_equal(got.table.numeric[N:], X[["a", "c"]].iloc[:M] + 1)


def test_row_numbers_of_a_numeric_frame_are_left_out_but_not_of_an_array():
    X = pd.DataFrame({"Unnamed: 0": np.arange(N), "a": normal(N)[:, 0]})
    got = problem(X, None, X.iloc[20:])
    assert got.table.names == ("a",) and "'Unnamed: 0', because it numbers the rows" in got.notes[0]
    assert problem(X.to_numpy(), None, X.iloc[20:].to_numpy()).table.names == ("x0", "x1")


def test_an_infinite_column_is_refused_without_warnings():
    column = pd.DataFrame({"a": [np.inf] * 20, "b": list("xy") * 10})
    with pytest.raises(InputError, match="infinite values in 'a'"):
        read_problem(column, None, column)


@pytest.mark.parametrize(
    "form, told", [("%d.%m.%Y", True), ("%m/%d/%Y %H:%M", True), ("%Y/%m/%d", True), ("%y.%m", False)]
)
def test_dates_in_another_form_are_named(form, told):
    """Which number is the day cannot be known; as categories the dates of every later table are new."""
    dates = pd.Series(pd.date_range("2024-01-01", periods=60).repeat(2).strftime(form))
    frame = pd.DataFrame({"day": dates, "x": np.random.default_rng(0).normal(size=120)})
    notes = " ".join(read_problem(frame[:70], None, frame[70:]).notes)
    assert ("'day' holds dates as text" in notes and "pandas.to_datetime" in notes) == told
