"""What a command reads: tables, their columns and a model, and whether its outputs can be written beside them."""

from __future__ import annotations

import argparse
import difflib
import glob
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shift_detectors._errors import InputError
from shift_detectors._file_names import CSV, PARQUET

from .._files import read_model, read_table, writable
from ._output import say

LARGE = 500 * 2**20  # bytes of both files


def read(path: str | Path, options: argparse.Namespace) -> pd.DataFrame:
    return read_table(path, options.separator, options.decimal)


def read_pair(options: argparse.Namespace) -> tuple[tuple, dict[str, Any]]:
    """(X_source, y_source, X_target, y_target) and the keyword arguments made of special columns."""
    source, target = (read(path, options) for path in (options.source, options.target))
    special = [name for name in (options.label, options.groups, options.weight) if name is not None]
    for name in special:
        require(name, source.columns, options.source)
    if options.groups is not None:
        require(options.groups, target.columns, options.target)
    missing = [name for name in source.columns if name not in target.columns]
    if options.label is None and len(missing) == 1 and missing[0] not in options.exclude:
        raise InputError(
            f"{options.target} has no column {missing[0]!r}",
            f"the columns of {options.source}, without the label",
            f"If it is the label, pass --label {shlex.quote(missing[0])}, else --exclude {shlex.quote(missing[0])}.",
        )

    def column(table: pd.DataFrame, name: str | None) -> pd.Series | None:
        return None if name is None else table.get(name)

    keywords = {
        "groups": column(source, options.groups),
        "groups_target": column(target, options.groups),
        "sample_weight": column(source, options.weight),
        "sample_weight_target": column(target, options.weight),
    }
    data = []
    for table in (source, target):
        data += [table.drop(columns=special, errors="ignore"), column(table, options.label)]
    return tuple(data), {name: value for name, value in keywords.items() if value is not None}


def in_pieces(*paths: str) -> bool:
    """Whether the rows are too many, or in too many files, to be read at once."""
    if all(Path(path).is_file() for path in paths):
        return sum(Path(path).stat().st_size for path in paths) > LARGE
    return any(map(is_many_files, paths))


def is_many_files(path: str) -> bool:
    """Whether it names a folder or a pattern."""
    return not Path(path).is_file() and (Path(path).is_dir() or glob.has_magic(path))


def name_pair(options: argparse.Namespace) -> tuple[tuple, dict[str, Any]]:
    """The same as `read_pair` with names of columns, for `diagnose` to read in pieces."""
    from shift_detectors._domains import Files, open_domain

    if options.weight is not None:
        raise InputError("--weight with rows that are read in pieces", "whole tables for weights", "Leave it out.")
    sides = [Files(path, options.separator, options.decimal) for path in (options.source, options.target)]
    has = [open_domain(side, name, {}).columns for side, name in zip(sides, ("SOURCE", "TARGET"), strict=True)]
    for name in (options.label, options.groups):
        if name is not None:
            require(name, has[0], options.source)
    if options.groups is not None:
        require(options.groups, has[1], options.target)
    labels = [options.label if options.label in columns else None for columns in has]
    data = (sides[0], labels[0], sides[1], labels[1])
    return data, {} if options.groups is None else {"groups": options.groups, "groups_target": options.groups}


def require(name: str, columns: Any, path: str) -> None:
    columns = [str(column) for column in columns]
    if name not in columns:
        shown = columns if len(columns) <= 12 else [*columns[:6], f"{len(columns) - 9} more", *columns[-3:]]
        raise InputError(f"{path} has no column {name!r}", ", ".join(shown), nearest(name, columns))


def nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else ""


def trusted_model(path: str, quiet: bool) -> Any:
    if not path.endswith(".skops"):
        say(f"loading {path}: this runs code from the file, so only use files that you trust", quiet)
    return read_model(path)


def check_outputs(inputs: Sequence[str | None], json: str | None, *others: str | None) -> None:
    """Whether each output can be written, to a file of its own; "-" is the standard output, for JSON alone."""
    paths = [path for path in others if path is not None]
    if "-" in paths:
        raise InputError("- is no file", "the name of a file to write", "Only --json takes - for the standard output.")
    if json not in (None, "-"):
        paths.append(json)
    places = [writable(path).resolve() for path in paths]
    read = {file.resolve() for path in inputs if path is not None for file in _files_of(path)}
    for path, place in zip(paths, places, strict=True):
        if place in read:
            raise InputError(f"{path} is both read and written", "a file of its own for each output", "Name another.")
        if places.count(place) > 1:
            raise InputError(f"{path} is named for two outputs", "a file of its own for each", "Rename one of them.")


def _files_of(path: str) -> list[Path]:
    """The files that an input names: itself, the tables in a folder, those that match a pattern."""
    if Path(path).is_dir():
        return [file for file in Path(path).rglob("*") if file.name.lower().endswith(CSV + PARQUET)]
    return [Path(path), *map(Path, glob.glob(path, recursive=True))]
