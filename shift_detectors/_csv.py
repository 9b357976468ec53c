"""CSV files whose rows fit their header: what does not, pandas shifts, fills or renames without a word."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO, cast

from ._errors import InputError
from ._file_names import other_separator

BROKEN = (OSError, EOFError, ValueError, csv.Error, zlib.error)  # EOFError: a cut-off gzip; ParserError: a ValueError
TOO_LONG = re.compile(r"Expected (?P<header>\d+) fields in line (?P<line>\d+), saw (?P<row>\d+)")  # so says pandas
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how such files begin


def header_of(path: Path, separator: str, remedy: str) -> list[str]:
    """Names of the columns, as pandas has them. The first row must fit them.

    Of a longer one pandas takes the first fields for an index, in all rows: each column would get the values of the
    next.
    """
    try:
        with _opened(path) as file:
            records = _records(file, separator)
            _, names = next(records, (0, None))
            line, row = next(records, (0, names))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "a CSV file") from None
    except BROKEN as error:
        raise broken(path, error) from error
    if names is None or row is None:
        raise InputError(f"{path} is empty", "a table with a header and rows")
    other = other_separator(names[0])
    if len(names) == 1 and other is not None:
        raise InputError(
            f"{path} has one column only, {names[0][:60]!r}",
            f"columns separated by {separator!r}",
            remedy.format(repr(other).replace("'", '"')),  # which every shell takes off
        )
    twice = dict.fromkeys(name for name in names if name and names.count(name) > 1)
    if twice:
        raise InputError(
            f"{path} has more than one column {', '.join(map(repr, twice))}",
            "a name of its own for each column",
            "Rename or remove all but one.",
        )
    if len(row) != len(names):
        raise broken(path, _misfit(line, len(row), len(names)))
    return [name or f"Unnamed: {k}" for k, name in enumerate(names)]


def check_lengths(path: Path, separator: str) -> None:
    """Refuse rows that do not fit the header: pandas fills short ones with missing values.

    To be called where the last column has any: without, no row is short.
    """
    with _opened(path) as file:
        records = _records(file, separator)
        _, names = next(records)
        for line, row in records:
            if len(row) != len(names):
                raise _misfit(line, len(row), len(names))


def broken(path: Path, error: Exception) -> InputError:
    """What to say of a file that cannot be read."""
    with open(path, "rb") as file:
        head = file.read(1024)
    encoding = "utf-16" if head.startswith(UTF_16) else "" if b"\0" in head else "cp1252"
    if encoding and isinstance(error, UnicodeDecodeError):
        return InputError(
            f"{path} is not in UTF-8",
            "text in UTF-8",
            'Save it as UTF-8 (Excel: as "CSV UTF-8"), or convert it in Python: from pathlib import Path; '
            f"Path({f'utf8-{path.name}'!r}).write_text(Path({str(path)!r}).read_text({encoding!r}), 'utf-8')",
        )
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    found = TOO_LONG.search(said)
    if found:
        said = str(_misfit(int(found["line"]), int(found["row"]), int(found["header"])))
    return InputError(
        f"{path} cannot be read as CSV ({said})",
        "whole files in UTF-8: a header, and rows of its length",
        "Write it again: no separator at the ends of lines, text with a separator in quotes."
        if "fields" in said
        else "",
    )


def _misfit(line: int, row: int, header: int) -> ValueError:
    return ValueError(f"line {line} has {row} fields, the header has {header}")


def _opened(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig"))
    return open(path, encoding="utf-8-sig")


def _records(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields; without the blank lines that pandas passes over, too."""
    number = 1
    for line in file:
        lines, fields = 1, line.rstrip("\n").split(separator)
        if '"' in line:  # a field may hold separators and ends of lines
            reader = csv.reader(chain([line], file), delimiter=separator)
            fields = next(reader)
            lines = reader.line_num
        if len(fields) > 1 or fields[0].strip():
            yield number, fields
        number += lines
