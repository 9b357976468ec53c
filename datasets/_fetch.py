"""Public benchmark data, found in a data home, checked by their sha256, cut into domains.

The files were converted from the originals named in `_catalogue` (only the format changed) and have no public home
of their own: put them into the data home, or name a mirror.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
from scipy import sparse

from shift_detectors._errors import InputError

from ._catalogue import CATALOGUE, Entry
from ._pair import DomainPair

CACHE = Path("~/.cache/da_toolkit")
TIMEOUT = 60  # seconds without an answer
ATTEMPTS = 3  # to finish a transfer that broke off
# the columns by which the authors of the student data match the students of the two subjects
STUDENT = "school sex age address famsize Pstatus Medu Fedu Mjob Fjob reason nursery internet".split()
INCOMES = ("wagp", "intp", "pap", "retp", "ssip", "ssp", "otherincp")


@dataclass(frozen=True, eq=False, repr=False)
class Domains:
    """Labelled rows of several domains.

    Attributes
    ----------
    entry : Entry
        Name, task, citation, licence and notes of the data set.
    X : ndarray, sparse matrix or DataFrame of shape (n_rows, n_features)
        As in the original: neither scaled nor imputed.
    y : ndarray of shape (n_rows,)
    domain : ndarray of str of shape (n_rows,)
        The domain of every row.
    groups : ndarray of int of shape (n_rows,) or None
        Rows that belong together (patients, students), where there are such.
    extra : DataFrame of n_rows rows
        Columns that are no features: outcomes, parts of the label, weights, what defines the domain.

    Examples
    --------
    >>> data = Domains(
    ...     CATALOGUE["bike_sharing"],
    ...     X=np.arange(8.0).reshape(4, 2),
    ...     y=np.array([3.0, 5.0, 4.0, 6.0]),
    ...     domain=np.array(["2011_season1", "2011_season2", "2012_season1", "2012_season2"]),
    ... )
    >>> data.domains
    ('2011_season1', '2011_season2', '2012_season1', '2012_season2')
    >>> data.pair("2011_*", "2012_*").X_target
    array([[4., 5.],
           [6., 7.]])
    """

    entry: Entry
    X: Any
    y: np.ndarray
    domain: np.ndarray
    groups: np.ndarray | None = None
    extra: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.entry.name

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of their first rows."""
        return tuple(dict.fromkeys(self.domain.tolist()))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of a frame; empty otherwise."""
        return tuple(map(str, self.X.columns)) if isinstance(self.X, pd.DataFrame) else ()

    def rows(self, domain: str | Sequence[str]) -> np.ndarray:
        """Indices of the rows of some domains.

        Parameters
        ----------
        domain : str or sequence of str
            Names or shell patterns: ``"math_*"``, ``["block0", "block1"]``.

        Returns
        -------
        ndarray of int
        """
        named: set[str] = set()
        for pattern in [domain] if isinstance(domain, str) else domain:
            found = {name for name in self.domains if fnmatchcase(name, str(pattern))}
            if not found:
                accepted = f"names or patterns of {', '.join(self.domains)}"
                raise InputError(f"domain {pattern!r} of {self.name}", accepted, "Choose among them.")
            named |= found
        return np.flatnonzero(np.isin(self.domain, sorted(named)))

    def pair(
        self, source: str | Sequence[str] | None, target: str | Sequence[str] | None, *, kind: str | None = None
    ) -> DomainPair:
        """The rows of some domains as source, of others as target.

        Parameters
        ----------
        source, target : str, sequence of str or None
            Names or shell patterns; None (one of the two) for all other domains.
        kind : str, optional
            What you know of the shift; by default the catalogue's, "mixed" where nothing is known.

        Returns
        -------
        DomainPair

        Examples
        --------
        >>> X, domain = np.arange(6).reshape(3, 2), np.array(["red", "red", "white"])
        >>> data = Domains(CATALOGUE["wine_quality"], X, np.array([5, 6, 7]), domain)
        >>> data.pair(None, "white")
        DomainPair('wine_quality: red -> white', kind='mixed', task='regression', n_source=2, n_target=1, n_features=2)
        """
        if source is None and target is None:
            raise InputError("neither source nor target", "at most one None", "Name a domain.")
        i, j = (np.empty(0, int) if side is None else self.rows(side) for side in (source, target))
        rest = np.setdiff1d(np.arange(len(self.y)), np.concatenate([i, j]))
        i, j = (rest if side is None else rows for side, rows in ((source, i), (target, j)))
        if np.intersect1d(i, j).size or not (i.size and j.size):
            got = f"source {source!r} and target {target!r} share domains, or one is empty"
            raise InputError(got, f"two different sets among {', '.join(self.domains)}", "Change one of them.")
        if pd.isna(self.y[i]).any():
            raise InputError(f"source {source!r} without labels", "labelled domains", "Use it as target.")
        frame = isinstance(self.X, pd.DataFrame)
        sides = [self.X.iloc[k].reset_index(drop=True) if frame else self.X[k] for k in (i, j)]
        names = [", ".join(dict.fromkeys(self.domain[k].tolist())) for k in (i, j)]
        return DomainPair(
            sides[0],
            self.y[i],
            sides[1],
            self.y[j],
            kind=kind or self.entry.kind,
            task=self.entry.task,
            name=f"{self.name}: {names[0]} -> {names[1]}",
            description=f"{self.entry.title} Real data: what shifts is not known by construction.",
            feature_names=self.feature_names,
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {(self.domain == name).sum()}" for name in self.domains)
        return f"Domains({self.name!r}, {self.entry.task}, n_features={self.X.shape[1]}, {counts})"


def list_datasets() -> tuple[Entry, ...]:
    """All data sets that `fetch` knows.

    Examples
    --------
    >>> [entry.name for entry in list_datasets() if entry.task == "regression"]
    ['bike_sharing', 'wine_quality', 'california_housing', 'airfoil', 'gasoline']
    """
    return tuple(CATALOGUE.values())


def get_data_home(data_home: str | os.PathLike | None = None) -> Path:
    """The folder in which `fetch` looks for files.

    Parameters
    ----------
    data_home : path, optional
        By default the environment variable DA_TOOLKIT_DATA, else ~/.cache/da_toolkit.

    Returns
    -------
    Path

    Examples
    --------
    >>> get_data_home("data")
    PosixPath('data')
    """
    return Path(data_home or os.environ.get("DA_TOOLKIT_DATA") or CACHE).expanduser()


def fetch(name: str, *, data_home: str | os.PathLike | None = None, mirror: str | None = None) -> Domains:
    """Load a public data set.

    Parameters
    ----------
    name : str
        One of `list_datasets`.
    data_home : path, optional
        Folder of the files, see `get_data_home`.
    mirror : str, optional
        Base URL from which a missing file is downloaded into the data home; by default the environment variable
        DA_TOOLKIT_DATA_URL. There is no public mirror.

    Returns
    -------
    Domains

    Raises
    ------
    InputError
        The file is nowhere, or it is not the file that was meant (another sha256).

    Examples
    --------
    >>> data = fetch("wine_quality", data_home="data")  # doctest: +SKIP
    >>> data.pair("white", "red")  # doctest: +SKIP
    """
    if name not in CATALOGUE:
        raise InputError(f"data set {name!r}", f"one of {', '.join(CATALOGUE)}", "See list_datasets().")
    entry = CATALOGUE[name]
    home = get_data_home(data_home)
    mirror = mirror or os.environ.get("DA_TOOLKIT_DATA_URL")
    return _READERS[entry.layout](entry, _find(entry, home, mirror))


class Fetcher(Protocol):
    """Signature of the ``fetch_*`` functions."""

    def __call__(self, *, data_home: str | os.PathLike | None = None, mirror: str | None = None) -> Domains:
        """Load one data set."""
        ...


def _fetcher(name: str) -> Fetcher:
    """``fetch`` of one data set, with its facts as documentation."""
    entry = CATALOGUE[name]

    def load(*, data_home: str | os.PathLike | None = None, mirror: str | None = None) -> Domains:
        return fetch(name, data_home=data_home, mirror=mirror)

    load.__name__ = load.__qualname__ = f"fetch_{name}"
    load.__doc__ = f"""{entry.title}

    {entry.notes}

    Parameters
    ----------
    data_home, mirror
        See `fetch`.

    Returns
    -------
    Domains

    Notes
    -----
    Task: {entry.task}. Licence: {entry.licence}. Original: {entry.origin}. File: {entry.file}.

    References
    ----------
    {entry.citation}

    Examples
    --------
    >>> data = fetch_{name}()  # doctest: +SKIP
    >>> data.pair({entry.example})  # doctest: +SKIP
    """
    return load


fetch_office_caltech10 = _fetcher("office_caltech10")
fetch_mnist_usps = _fetcher("mnist_usps")
fetch_amazon_reviews = _fetcher("amazon_reviews")
fetch_newsgroups = _fetcher("newsgroups")
fetch_imdb_genres = _fetcher("imdb_genres")
fetch_sms_mail_spam = _fetcher("sms_mail_spam")
fetch_gas_sensor = _fetcher("gas_sensor")
fetch_heart_disease = _fetcher("heart_disease")
fetch_mushrooms = _fetcher("mushrooms")
fetch_adult = _fetcher("adult")
fetch_acs_income = _fetcher("acs_income")
fetch_electricity = _fetcher("electricity")
fetch_bike_sharing = _fetcher("bike_sharing")
fetch_wine_quality = _fetcher("wine_quality")
fetch_california_housing = _fetcher("california_housing")
fetch_compas = _fetcher("compas")
fetch_diabetes130 = _fetcher("diabetes130")
fetch_bank_marketing = _fetcher("bank_marketing")
fetch_student_performance = _fetcher("student_performance")
fetch_airfoil = _fetcher("airfoil")
fetch_gasoline = _fetcher("gasoline")
fetch_cifar10_predictions = _fetcher("cifar10_predictions")
fetch_fewrel = _fetcher("fewrel")
fetch_omniglot = _fetcher("omniglot")


# --- the file -----------------------------------------------------------------------------------------------


def _find(entry: Entry, home: Path, mirror: str | None) -> Path:
    """The checked file of a data set, downloaded when it must be and can be."""
    path = home / entry.file
    if path.is_file():
        return _checked(path, entry)
    if not mirror:
        raise InputError(
            f"{entry.file} is not in {home}",
            f"the file of sha256 {entry.sha256} in data_home=, in the folder that DA_TOOLKIT_DATA names, in {CACHE}, "
            "or on a mirror (mirror= or DA_TOOLKIT_DATA_URL)",
            f"It is a conversion of: {entry.origin}. Licence: {entry.licence}.",
        )
    url = f"{mirror.rstrip('/')}/{entry.file}"
    scratch = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        # beside its place, so that the last step is one rename: nobody ever sees half a file
        with tempfile.NamedTemporaryFile(dir=home, prefix=entry.file, suffix=".part", delete=False) as file:
            scratch = Path(file.name)
            _download(url, file)
        _checked(scratch, entry, url).replace(path)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url}: {error}", f"a mirror that serves {entry.file}", "Check the address.") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)  # gone already when all went well
    return path


def _download(url: str, file: Any) -> None:
    """Write what is at `url` into an empty file; a transfer that breaks off goes on where it was."""
    for attempt in range(ATTEMPTS):
        start = file.tell()
        request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                if start and answer.status != 206:  # a mirror that cannot go on starts anew
                    start = file.seek(0)
                    file.truncate()
                length = answer.headers.get("Content-Length")
                while block := answer.read(1 << 16):
                    file.write(block)
            if length is None or file.tell() == start + int(length):
                return
            broken: Exception = ConnectionError(f"{file.tell() - start} bytes of {length} arrived")
        except HTTPError:
            raise
        except OSError as error:
            broken = error
        if attempt == ATTEMPTS - 1:
            raise broken


def _checked(path: Path, entry: Entry, whence: str | None = None) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry.sha256:
        got = f"{whence or path} has sha256 {found}"
        raise InputError(got, f"sha256 {entry.sha256}", f"It is not the {entry.file} meant: replace or delete it.")
    return path


# --- one reader per layout ----------------------------------------------------------------------------------


def _read_dense(entry: Entry, path: Path) -> Domains:
    """X_<domain>, y_<domain> and perhaps ppmv_<domain>."""
    with np.load(path) as file:
        names = [str(name) for name in file["domains"]]
        X, y = (np.concatenate([file[f"{part}_{name}"] for name in names]) for part in ("X", "y"))
        sizes = [len(file[f"y_{name}"]) for name in names]
        extra = pd.DataFrame(index=range(len(y)))
        if f"ppmv_{names[0]}" in file:
            extra["ppmv"] = np.concatenate([file[f"ppmv_{name}"] for name in names])
    return Domains(entry, X.astype(float), y.astype(int), np.repeat(names, sizes), extra=extra)


def _read_sparse(entry: Entry, path: Path) -> Domains:
    """One matrix in compressed rows, with the domain and the label of every row."""
    with np.load(path) as file:
        parts = tuple(file[f"X_all_{part}"] for part in ("data", "indices", "indptr"))
        X = sparse.csr_matrix(parts, shape=tuple(file["X_all_shape"]), dtype=float)
        y, domain = file["y"].astype(int), file["domain"].astype(str)
    return Domains(entry, X, y, domain, extra=pd.DataFrame(index=range(len(y))))


def _read_table(entry: Entry, path: Path) -> Domains:
    """A text file with one row per sample; empty cells are missing, and only those."""
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
    groups = None
    if entry.name == "diabetes130":
        groups = frame["patient_id"].to_numpy()
    elif entry.name == "student_performance":
        groups = frame.groupby(STUDENT).ngroup().to_numpy()
    X = frame.drop(columns=["domain", entry.label, *entry.extra])
    if entry.name == "acs_income":
        X = X.join((frame[list(INCOMES)] != 0).add_prefix("has_"))
    y = frame[entry.label].to_numpy(float if entry.task == "regression" else int)
    domain = frame["domain"].to_numpy().astype(str)
    return Domains(entry, X, y, domain, groups, frame[list(entry.extra)].copy())


def _read_probabilities(entry: Entry, path: Path) -> Domains:
    """Predicted probabilities and labels of a validation and a test set."""
    with np.load(path) as file:
        X, y = (np.concatenate([file[f"valid_{part}"], file[f"test_{part}"]]) for part in ("probs", "labels"))
        domain = np.repeat(["valid", "test"], [len(file["valid_labels"]), len(file["test_labels"])])
    return Domains(entry, X.astype(float), y.astype(int), domain, extra=pd.DataFrame(index=range(len(y))))


def _read_images(entry: Entry, path: Path) -> Domains:
    """Omniglot: a class is a character of an alphabet."""
    with np.load(path) as file:
        X, domain = file["X"].astype(float), file["alphabet"].astype(str)
        extra = pd.DataFrame({part: file[part].astype(int) for part in ("character", "drawer")})
    numbers = [extra.groupby([domain, extra[part]]).ngroup().to_numpy() for part in ("character", "drawer")]
    return Domains(entry, X.reshape(len(X), -1), numbers[0], domain, groups=numbers[1], extra=extra)


def _read_sentences(entry: Entry, path: Path) -> Domains:
    """FewRel: one record per line."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = pd.DataFrame([json.loads(line) for line in file])
    X = pd.DataFrame({"sentence": records["tokens"].str.join(" ")})
    extra = records[["tokens", "relation_name"]].copy()
    for side in ("head", "tail"):
        X[side] = records[side].str[0]
        extra[f"{side}_id"], extra[f"{side}_positions"] = records[side].str[1], records[side].str[2]
    return Domains(entry, X, records["relation"].to_numpy(object), records["domain"].to_numpy(str), extra=extra)


_READERS: dict[str, Callable[[Entry, Path], Domains]] = {
    "dense": _read_dense,
    "sparse": _read_sparse,
    "table": _read_table,
    "probabilities": _read_probabilities,
    "images": _read_images,
    "sentences": _read_sentences,
}
