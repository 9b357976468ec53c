"""Tables and models on disk, with errors that say what to do."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pandas as pd

from shift_detectors._csv import BROKEN, broken, check_lengths, header_of
from shift_detectors._errors import InputError, MissingDependencyError
from shift_detectors._file_names import CSV, PARQUET
from shift_detectors._whole_files import replacing

MODEL = (".joblib", ".pkl", ".pickle")  # endings of models that joblib writes
HARMLESS = ("numpy.dtype",)  # that skops does not trust by itself; encoders hold them


def read_table(path: str | Path, separator: str = ",", decimal: str = ".") -> pd.DataFrame:
    """Read a CSV (in UTF-8, also gzipped) or Parquet file into a frame; .txt is CSV where a separator is given.

    Parameters
    ----------
    path : str or Path
    separator : str
        Between the columns of a CSV file.
    decimal : str
        The decimal mark in its numbers.
    """
    path = _existing(path)
    kind = "csv" if path.suffix.lower() == ".txt" and separator != "," else _format(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", "a table with a header and rows")
    table = _read_csv(path, separator, decimal) if kind == "csv" else _read_parquet(path)
    if table.empty:
        raise InputError(f"{path} has no rows", "a table with a header and rows")
    return table


def _read_csv(path: Path, separator: str, decimal: str) -> pd.DataFrame:
    header_of(path, separator, "Pass --separator {}.")
    try:
        table = pd.read_csv(path, sep=separator, decimal=decimal, low_memory=False)
        if table.iloc[:, -1].isna().any():
            check_lengths(path, separator)
    except BROKEN as error:
        raise broken(path, error) from error
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except Exception as error:  # pyarrow raises many types for a broken file
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read as Parquet ({first})", "a whole Parquet file") from error


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as CSV or Parquet, whichever the name of the file says."""
    path = writable(path)
    with replacing(path) as file:
        if _format(path) == "csv":
            packed = "gzip" if path.suffix.lower() == ".gz" else None
            separator = "\t" if ".tsv" in path.name.lower() else ","
            table.to_csv(file, index=False, sep=separator, compression=packed)
        else:
            table.to_parquet(file, engine="pyarrow", index=False)


def check_format(path: str | Path) -> None:
    """Refuse a name that `write_table` could not write, before any work is done."""
    _format(writable(path))


def check_model_name(path: str | Path) -> None:
    """Refuse a name that does not say joblib or pickle for a file that joblib will write."""
    suffix = Path(path).suffix
    if suffix not in MODEL:
        got = "says skops, which cannot hold an adapted model" if suffix == ".skops" else "names no model"
        raise InputError(f"{path} {got}", f"a name that ends in {', '.join(MODEL)}", "Rename it.")


def read_model(path: str | Path) -> Any:
    """Load a model saved with joblib, or with skops (a name that ends in .skops).

    A joblib file runs code when it is loaded: only for files one trusts. A skops file runs none; types that skops
    does not know to be harmless are refused.
    """
    path = _existing(path)
    try:
        model = _read_skops(path) if path.suffix == ".skops" else _read_joblib(path)
    except (InputError, MissingDependencyError):
        raise
    except Exception as error:  # unpickling runs arbitrary code and fails in arbitrary ways
        raise InputError(
            f"{path} cannot be loaded as a model ({type(error).__name__}: {error})",
            "a file written by joblib.dump, or by skops.io.dump with a name in .skops",
            "Load it with the packages and versions it was saved with.",
        ) from error
    if not hasattr(model, "predict"):
        raise InputError(f"{path} holds a {type(model).__name__} without predict", "a scikit-learn estimator")
    return model


def _read_joblib(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _read_skops(path: Path) -> Any:
    if importlib.util.find_spec("skops") is None:
        raise MissingDependencyError("skops", "skops")
    from skops import io

    found = io.get_untrusted_types(file=path)
    unknown = [name for name in found if name not in HARMLESS]
    if unknown:
        raise InputError(
            f"{path} holds types that may run code: {', '.join(unknown)}",
            "a model of types that skops trusts",
            "If you trust the file, save the model with joblib.",
        )
    return io.load(path, trusted=found)


def write_model(model: Any, path: str | Path) -> None:
    """Save a model with joblib."""
    import joblib

    with replacing(writable(path)) as file:
        joblib.dump(model, file)


def writable(path: str | Path) -> Path:
    """The path, after a check that a file can be written there."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder", "the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist", "a file in an existing folder", "Create it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written", "a file and folder that may be written", "Check permissions.")
    return path


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist", "an existing file", "Check the name and the current folder.")
    if not path.is_file():
        got = "a folder, not a file" if path.is_dir() else "no regular file"
        raise InputError(f"{path} is {got}", "the name of one file")
    return path


def _format(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(CSV):
        return "csv"
    if name.endswith(PARQUET):
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingDependencyError("pyarrow", "parquet")
        return "parquet"
    raise InputError(f"{path} is of an unknown type", f"a name that ends in {', '.join(CSV + PARQUET)}")
