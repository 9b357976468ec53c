"""What the caller sees of a command: the exit code, text, tables and messages."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

OK, FOUND, USAGE, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """exit codes:
  0    done; no shift named by --fail-on was found, no alarm was raised
  1    diagnose --fail-on: a named shift was found; monitor: an alarm was raised
  2    wrong usage or input
  3    unexpected error
  130  interrupted"""

# names of the Python functions' arguments in messages, and what they are called here
SHELL_WORDS = {
    "pass y_source=None": "leave out --label",
    "pass representation=": "write columns of numbers into the files, or use Python with representation=",
    "exclude=": "--exclude",
    "decimal=','": '--decimal ","',
    "Convert it by pandas.to_numeric": 'Convert it to numbers (of a CSV file: leave out --decimal ",")',
    "X_source": "SOURCE",
    "X_target": "TARGET",
    "X_reference": "REFERENCE",
    "X_batch": "the batch",
    "estimator=": "--estimator",
    "y_source": "the label column of SOURCE",
    "y_target": "the label column of TARGET",
    "y_reference": "the label column of REFERENCE",
    "y_batch": "the label column of the batch",
}

# advice in messages for which `adapt` has no option
NOT_FOR_ADAPT = (", or name it in exclude=", " Without labels to compare, pass y_source=None.")


def show(result: Any, options: argparse.Namespace) -> None:
    """Text to standard output, HTML and JSON to their files; JSON instead of the text for ``--json -``."""
    if options.json == "-":
        sys.stdout.write(f"{result.to_json()}\n")
    elif not options.quiet:
        sys.stdout.write(f"{result}\n")
    if options.report is not None:
        result.to_html(options.report)
        say(f"HTML report written to {options.report}", options.quiet)
    if options.json not in (None, "-"):
        result.to_json(options.json)
        say(f"JSON written to {options.json}", options.quiet)


def print_table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join("\t".join(row) for row in (header, *rows)) + "\n")
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column, name in enumerate(header):
        table.add_column(name, overflow="fold", no_wrap=column == 0)
    for row in rows:
        table.add_row(*(value.replace("classification, regression", "both") for value in row))
    Console().print(table)


def in_shell_words(error: Exception, adapts: bool = False) -> str:
    """A message of the library in one line, with options in place of arguments; quoted names stay as they are."""
    message = " ".join(str(error).split())
    for advice in NOT_FOR_ADAPT if adapts else ():
        message = message.replace(advice, "")
    pattern = "|".join(map(re.escape, SHELL_WORDS))
    return re.sub(rf"(?<!['\w])(?:{pattern})(?!['\w])", lambda found: SHELL_WORDS[found[0]], message)


def say(message: str, quiet: bool = False) -> None:
    if not quiet:
        sys.stderr.write(message + "\n")


def keep_streams_open() -> None:
    """Let no stream end the command: its exit code tells, whatever becomes of the text.

    What is written to a closed stream (``2>&-``) goes nowhere; characters that the encoding does not have, such as "≤"
    in the code page to which Windows redirects, become "?".
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="replace")


def progress(options: argparse.Namespace) -> bool:
    return sys.stderr.isatty() and not options.quiet


@contextmanager
def warnings_in_one_line(quiet: bool) -> Iterator[None]:
    """Warnings without file names and code, each text once, also when an error follows."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        try:
            yield
        finally:
            for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
                say(f"da-toolkit: warning: {text}", quiet)
