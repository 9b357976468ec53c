"""Public data: found, checked, downloaded whole or not at all, and cut into domains."""

import hashlib
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import _fetch
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from da_toolkit import datasets as ds
from shift_detectors._errors import InputError

TABLE = """domain,age,note,y
a,1,,5
a,2,NA,6
b_1,3,x,7
b_2,,x,8
"""

# features and rows per domain, as the sources of the data describe them
SHAPES = {
    "office_caltech10": (800, {"amazon": 958, "caltech": 1123, "dslr": 157, "webcam": 295}),
    "mnist_usps": (256, {"mnist": 2000, "usps": 1800}),
    "amazon_reviews": (400, {"books": 2000, "dvd": 1999, "elec": 1998, "kitchen": 1999}),
    "newsgroups": (20668, {"comp_1": 970, "comp_2": 963, "comp_3": 979, "comp_4": 958, "rec_1": 987, "rec_4": 997}),
    "imdb_genres": (4180, {"Action": 3402, "Family": 1249, "War": 3697}),
    "sms_mail_spam": (4272, {"sms": 5338, "mail": 4205}),
    "gas_sensor": (128, {"batch1": 445, "batch2": 1244, "batch5": 197, "batch6": 2300, "batch9": 470}),
    "heart_disease": (13, {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va": 200}),
    "mushrooms": (21, {"enlarging": 3516, "tapering": 4608}),
    "adult": (12, {"us_born": 29170, "foreign_born": 2808, "unknown": 583}),
    "acs_income": (10, {"CA": 27161, "MD": 4277, "AK": 508}),
    "electricity": (6, {"block0": 4532, "block9": 4531}),
    "bike_sharing": (10, {"2011_season1": 2068, "2012_season4": 2098}),
    "wine_quality": (11, {"red": 1599, "white": 4898}),
    "california_housing": (
        6,
        {"north_inland": 4180, "north_coastal": 4646, "south_inland": 2371, "south_coastal": 9443},
    ),
    "compas": (10, {"2013H1": 2856, "2013H2": 2255, "2014H1": 1414, "2014H2": 689}),
    "diabetes130": (45, {"emergency_room": 57494, "physician_referral": 29565, "clinic_referral": 1104}),
    "bank_marketing": (13, {"2008": 24397, "2009": 13236, "2010": 2371}),
    "student_performance": (29, {"math_GP": 349, "math_MS": 46, "portuguese_GP": 423, "portuguese_MS": 226}),
    "airfoil": (5, {"velocity_39.6": 480, "velocity_71.3": 465, "velocity_31.7": 281, "velocity_55.5": 277}),
    "gasoline": (3, {"AUSTRIA": 19, "U.S.A.": 19}),
    "cifar10_predictions": (10, {"valid": 10000, "test": 1000}),
    "fewrel": (3, {"wiki": 11200, "pubmed": 1000, "pubmed_unlabelled": 2500}),
    "omniglot": (784, {"Balinese": 480, "Early_Aramaic": 440, "Greek": 480, "Korean": 800, "Latin": 520}),
}
ROWS = {"newsgroups": 7838, "gas_sensor": 6697, "electricity": 45312, "bike_sharing": 17379, "airfoil": 1503}
ROWS |= {"acs_income": 100_000, "diabetes130": 101_766, "california_housing": 20640, "gasoline": 342}
SHARE = {"mushrooms": 3916 / 8124, "adult": 0.241, "diabetes130": 0.1116, "compas": 0.451, "electricity": 19237 / 45312}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A tiny data set of the catalogue, on a mirror."""
    content = TABLE.encode()
    entry = replace(
        ds.list_datasets()[7],
        name="tiny",
        file="tiny.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        task="regression",
        label="y",
        extra=("note",),
        origin="the attic",
    )
    monkeypatch.setitem(_fetch.CATALOGUE, "tiny", entry)
    monkeypatch.delenv("DA_TOOLKIT_DATA", raising=False)
    monkeypatch.delenv("DA_TOOLKIT_DATA_URL", raising=False)
    monkeypatch.setattr(_fetch, "CACHE", tmp_path / "cache")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "tiny.csv").write_bytes(content)
    return mirror / "tiny.csv"


def real(name):
    home = os.environ.get("DA_TOOLKIT_DATA")
    if not home:
        pytest.skip("DA_TOOLKIT_DATA names no folder: the public data sets are not part of the project")
    entry = _fetch.CATALOGUE[name]
    if not os.path.exists(os.path.join(home, entry.file)):
        pytest.skip(f"{entry.file} is not in DA_TOOLKIT_DATA={home}")
    return ds.fetch(name)


# --- finding the file ---------------------------------------------------------------------------------------


def test_every_entry_has_its_function_its_terms_and_a_test():
    names = [entry.name for entry in ds.list_datasets()]
    assert names == list(SHAPES)
    assert {f"fetch_{name}" for name in names} == {name for name in ds.__all__ if name.startswith("fetch_")}
    for entry in ds.list_datasets():
        load = getattr(ds, f"fetch_{entry.name}")
        assert load.__name__ == f"fetch_{entry.name}"
        for fact in (entry.citation, entry.licence, entry.origin, entry.notes):
            assert fact and fact in load.__doc__


def test_data_home_is_the_argument_then_the_environment_then_the_cache(file, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is not in"):
        ds.fetch("tiny")
    folders = [tmp_path / name for name in ("cache", "env", "argument")]
    for folder in folders:
        folder.mkdir()
        (folder / "tiny.csv").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"cache.tiny.csv has sha256"):
        ds.fetch("tiny")
    monkeypatch.setenv("DA_TOOLKIT_DATA", str(folders[1]))
    with pytest.raises(InputError, match=r"env.tiny.csv has sha256"):
        ds.fetch("tiny")
    (folders[2] / "tiny.csv").write_bytes(file.read_bytes())
    assert len(ds.fetch("tiny", data_home=folders[2]).y) == 4


def test_missing_file_says_which_where_and_from_whom(file, tmp_path):
    with pytest.raises(InputError) as error:
        ds.fetch("tiny", data_home=tmp_path)
    text = str(error.value)
    for fact in ("tiny.csv", _fetch.CATALOGUE["tiny"].sha256, str(tmp_path), "DA_TOOLKIT_DATA", "mirror", "the attic"):
        assert fact in text


def test_mirror_by_argument_and_by_environment(file, tmp_path, monkeypatch):
    home = tmp_path / "deep" / "home"
    ds.fetch("tiny", data_home=home, mirror=file.parent.as_uri() + "/")
    assert [path.name for path in home.iterdir()] == ["tiny.csv"]
    monkeypatch.setenv("DA_TOOLKIT_DATA_URL", file.parent.as_uri())
    assert len(ds.fetch("tiny", data_home=tmp_path / "other").y) == 4


@pytest.mark.parametrize("mirror", ["wrong content", "no file", "no address"])
def test_a_failed_download_leaves_nothing_behind(file, tmp_path, mirror):
    home, url = tmp_path / "home", file.parent.as_uri()
    if mirror == "wrong content":
        file.write_text("truncated")
    elif mirror == "no file":
        file.unlink()
    else:
        url = "not a url"
    with pytest.raises(InputError, match="sha256" if mirror == "wrong content" else "mirror"):
        ds.fetch("tiny", data_home=home, mirror=url)
    assert list(home.iterdir()) == []


class Mirror(ThreadingHTTPServer):
    """Serves one content; breaks the first transfers off, and says what it was asked for."""

    def __init__(self, content, breaks=0, resumes=True):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.breaks, self.resumes, self.asked = content, breaks, resumes, []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        mirror, start = self.server, 0
        mirror.asked.append(self.headers.get("Range"))
        if self.path != "/tiny.csv":
            self.send_error(404)
            return
        if self.headers.get("Range") and mirror.resumes:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        rest = mirror.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if mirror.breaks:
            mirror.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)
        self.close_connection = True

    def log_message(self, format, *args):
        pass


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_transfer_goes_on_where_it_was(file, tmp_path, resumes):
    content = file.read_bytes()
    with Mirror(content, breaks=2, resumes=resumes) as mirror:
        ds.fetch("tiny", data_home=tmp_path / "home", mirror=mirror.url)
    half = len(content) // 2
    again = half + (len(content) - half) // 2 if resumes else half
    assert mirror.asked == [None, f"bytes={half}-", f"bytes={again}-"]
    assert [path.read_bytes() for path in (tmp_path / "home").iterdir()] == [content]


@pytest.mark.parametrize(
    ("content", "breaks", "path", "message"),
    [
        (TABLE.encode(), 9, "", "bytes of .* arrived"),
        (b"another file", 0, "", "has sha256"),
        (TABLE.encode(), 0, "/nowhere", "404"),
    ],
    ids=["broken for good", "wrong checksum", "not found"],
)
def test_a_server_that_does_not_deliver(file, tmp_path, content, breaks, path, message):
    with Mirror(content, breaks) as mirror:
        with pytest.raises(InputError, match=message):
            ds.fetch("tiny", data_home=tmp_path / "home", mirror=mirror.url + path)
        assert len(mirror.asked) == (3 if breaks else 1) and list((tmp_path / "home").iterdir()) == []


def test_several_may_fetch_at_once(file, tmp_path):
    with Mirror(file.read_bytes()) as mirror, ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda _: ds.fetch("tiny", data_home=tmp_path / "home", mirror=mirror.url), range(16)))
    assert all(data.y.tolist() == [5, 6, 7, 8] for data in fetched)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["tiny.csv"]


def test_unknown_name():
    with pytest.raises(InputError, match="office_caltech10"):
        ds.fetch("office")


# --- domains ------------------------------------------------------------------------------------------------


def test_table_is_read_as_it_is(file):
    data = ds.fetch("tiny", data_home=file.parent)
    assert list(data.X.columns) == ["age"] == list(data.feature_names)
    assert data.X["age"].isna().tolist() == [False, False, False, True]
    assert data.extra["note"].tolist()[1] == "NA"  # only an empty cell is missing
    assert data.y.dtype == float and data.domains == ("a", "b_1", "b_2")


def test_pairs_by_name_pattern_and_rest(file):
    data = ds.fetch("tiny", data_home=file.parent)
    for target in ("b_*", ["b_1", "b_2"], None):
        pair = data.pair("a", target)
        assert pair.y_source.tolist() == [5, 6] and pair.y_target.tolist() == [7, 8]
        assert pair.X_target.index.tolist() == [0, 1] and pair.feature_names == ("age",)
        assert pair.name == "tiny: a -> b_1, b_2" and pair.kind == "mixed"
    assert data.pair(None, "a", kind="covariate").kind == "covariate"
    assert data.rows("b_2").tolist() == [3]
    assert "a 2, b_1 1, b_2 1" in repr(data)
    assert pickle.loads(pickle.dumps(data)).domains == data.domains


def test_bad_pairs(file):
    data = ds.fetch("tiny", data_home=file.parent)
    for source, target in [("a", "*"), ("a", "a"), (None, None), ("*", None)]:
        with pytest.raises(InputError):
            data.pair(source, target)
    with pytest.raises(InputError, match="a, b_1, b_2"):
        data.pair("a", "c")
    data.y[0] = np.nan
    with pytest.raises(InputError, match="without labels"):
        data.pair("a", "b_1")


# --- the real files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_real_file(name):
    data = real(name)
    features, counts = SHAPES[name]
    assert data.X.shape == (len(data.y), features) == (len(data.domain), features)
    assert len(data.y) == ROWS.get(name, len(data.y) if name == "newsgroups" else sum(counts.values()))
    assert {domain: len(data.rows(domain)) for domain in counts} == counts
    assert len(data.extra) == len(data.y)
    if isinstance(data.X, pd.DataFrame):
        assert not {"domain", "label", data.entry.label, *data.entry.extra} & set(data.X.columns)
    else:
        assert data.X.dtype == float and (sparse.issparse(data.X) or np.isfinite(data.X).all())
    if name in SHARE:
        assert np.mean(data.y) == pytest.approx(SHARE[name], abs=5e-4)
    assert repr(eval(f"data.pair({data.entry.example})")).startswith("DomainPair(")
    if data.entry.task == "classification" and name not in ("fewrel", "omniglot", "cifar10_predictions"):
        assert len(np.unique(data.y)) == {"office_caltech10": 10, "mnist_usps": 10, "gas_sensor": 6}.get(name, 2)


def nearest_neighbor(pair):
    return 100 * KNeighborsClassifier(1).fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)


def test_office_reproduces_the_published_nearest_neighbor():
    data = real("office_caltech10")
    X = data.X / data.X.sum(axis=1, keepdims=True)
    for name in data.domains:
        rows = data.rows(name)
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / np.maximum(X[rows].std(axis=0), 1e-12)
    assert nearest_neighbor(replace(data, X=X).pair("caltech", "amazon")) == pytest.approx(23.70, abs=0.005)


def test_digits_reproduce_the_published_nearest_neighbor():
    data = real("mnist_usps")
    data = replace(data, X=normalize(data.X))
    assert nearest_neighbor(data.pair("mnist", "usps")) == pytest.approx(65.94, abs=0.005)
    assert nearest_neighbor(data.pair("usps", "mnist")) == pytest.approx(44.70, abs=0.005)


def test_groups_tie_the_rows_of_a_patient_a_student_a_drawer():
    students = real("student_performance")
    subjects = (students.rows(f"{name}_*") for name in ("math", "portuguese"))
    counts = [np.bincount(students.groups[rows], minlength=662) for rows in subjects]
    assert counts[0] @ counts[1] == 382  # rows of the authors' merge
    assert len(np.unique(real("diabetes130").groups)) == 71518
    characters = real("omniglot")
    assert len(np.unique(characters.y)) == 136 and (np.bincount(characters.y) == 20).all()
    assert len(np.unique(characters.groups)) == 5 * 20


def test_label_shift_and_missing_labels_of_the_real_files():
    pair = real("cifar10_predictions").pair("valid", "test")
    assert pair.kind == "label" and np.mean(pair.X_target.argmax(axis=1) == pair.y_target) == pytest.approx(0.707)
    assert np.bincount(pair.y_target, minlength=10)[[0, 2, 3]].tolist() == [13, 19, 968]
    sentences = real("fewrel")
    assert pd.isna(sentences.pair("wiki", "pubmed_unlabelled").y_target).all()
    with pytest.raises(InputError, match="without labels"):
        sentences.pair("pubmed_unlabelled", "wiki")
    assert real("bike_sharing").y.sum() == 3_292_679
