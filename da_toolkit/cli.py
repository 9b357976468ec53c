"""The command line: ``da-toolkit diagnose | adapt | monitor | predict | list | datasets | demo``.

Exit codes, for pipelines that are gated by it:

==== =======================================================================
0    done; no shift named by ``--fail-on`` was found, no alarm was raised
1    ``diagnose --fail-on``: a named shift was found; ``monitor``: an alarm was raised
2    wrong usage or input: one line on standard error says what to do
3    anything unexpected, with its traceback
130  interrupted
==== =======================================================================

Results go to standard output, everything else to standard error. Progress and coloured tables are for a
terminal; into a file or pipe go plain text lines.
"""

from __future__ import annotations

import argparse
import difflib
import glob
import hashlib
import os
import re
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from shift_detectors._columns import IDENTIFIER
from shift_detectors._errors import InputError, MissingDependencyError
from shift_detectors._file_names import CSV, PARQUET
from shift_detectors._text import some
from shift_detectors._version import __version__
from shift_detectors._whole_files import replacing

from ._files import check_format, check_model_name, read_model, read_table, writable, write_model, write_table

OK, FOUND, USAGE, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 130

# the words of --fail-on, and the quantity that each one names, whatever the verdict
SHIFTS = {
    "covariate": "p(x)",
    "label": "p(y)",
    "conditional": "p(x|y)",
    "concept": "p(y|x)",
    "mixed": None,
    "support": None,
    "any": None,
}

NEED_LABELS = ("conditional", "concept", "mixed")  # never found without target labels

EXIT_CODES = """exit codes:
  0    done; no shift named by --fail-on was found, no alarm was raised
  1    diagnose --fail-on: a named shift was found; monitor: an alarm was raised
  2    wrong usage or input
  3    unexpected error
  130  interrupted"""

COMPLAINTS = 3  # files of a folder that are named when they cannot be read
LARGE = 500 * 2**20  # bytes of both files
PIECES = """Folders, patterns such as 'part-*.csv', and files of more than 500 MB together are read in pieces;
what fits into memory does not matter then."""

# names of the Python functions' arguments in messages, and what they are called here
SHELL_WORDS = {
    "pass y_source=None": "leave out --label",
    "pass representation=": "write columns of numbers into the files, or use Python with representation=",
    "exclude=": "--exclude",
    "decimal=','": "--decimal ','",
    "Convert it by pandas.to_numeric": "Convert it to numbers (of a CSV file: leave out --decimal ',')",
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

TRUST = "Loading a joblib file runs code from it: only use files that you trust; a .skops file runs none."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.
    """
    _open_closed_streams()
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a usage error
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        with _warnings_in_one_line(options.quiet):
            code = options.command(options)
        sys.stdout.flush()
        return code
    except (InputError, MissingDependencyError) as error:
        _say(f"da-toolkit: error: {_in_shell_words(' '.join(str(error).split()), options.command)}")
        return USAGE
    except KeyboardInterrupt:
        _say("da-toolkit: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader went away, as in `| head`; keep Python from flushing again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # no permission, a full disk
        _say(f"da-toolkit: error: {error.filename or 'a file'} cannot be read or written ({error.strerror or error})")
        return USAGE
    except Exception:
        traceback.print_exc()
        _say("da-toolkit: unexpected error, see above")
        return UNEXPECTED


# ------------------------------------------------------------------ commands


def diagnose(options: argparse.Namespace) -> int:
    """Which distributions differ between two tables."""
    _check_outputs((options.source, options.target, options.estimator), options.json, options.report)
    data, keywords = _name_pair(options) if _in_pieces(options.source, options.target) else _read_pair(options)
    estimator = None if options.estimator is None else _trusted_model(options.estimator, options.quiet)

    from shift_detectors import diagnose as diagnose_tables

    report = diagnose_tables(
        *data,
        estimator=estimator,
        task=options.task,
        alpha=options.alpha,
        exclude=options.exclude,
        random_state=options.random_state,
        progress=_progress(options),
        **keywords,
    )
    _show(report, options)
    for note in report.notes if options.fail_on else ():
        if IDENTIFIER in note:
            _say(f"da-toolkit: --fail-on: {note}")
    for unseen in _unseen(report, options.fail_on):
        _say(f"da-toolkit: --fail-on: {unseen}")
    hit = _gate(report, options.fail_on)
    if hit:
        _say(f"da-toolkit: --fail-on: found {hit}", options.quiet)
    return FOUND if hit else OK


def adapt(options: argparse.Namespace) -> int:
    """Adapt a model to the target, or leave it alone where that is better."""
    _check_outputs((options.source, options.target, options.model), options.json, options.report, options.out)
    check_model_name(options.out)
    for path in (options.source, options.target):
        if _is_many_files(path):
            raise InputError(
                f"{path} is a folder or a pattern",
                "one file for each side: adapt holds all rows in memory",
                "Only diagnose reads folders and patterns.",
            )
    (X_source, y_source, X_target, y_target), keywords = _read_pair(options)
    model = _trusted_model(options.model, options.quiet)
    read = list(getattr(model, "feature_names_in_", X_source.columns))
    unread = [str(name) for name in X_source.columns if name not in read]
    if unread and all(name in X.columns for X in (X_source, X_target) for name in read):
        _say(f"left out, as the model was fitted without them: {some(unread)}", options.quiet)
        X_source, X_target = X_source[read], X_target[read]
    data = (X_source, y_source, X_target, y_target)
    if options.frozen:
        from sklearn.frozen import FrozenEstimator

        model = FrozenEstimator(model)

    from da_toolkit import adapt as adapt_model

    try:
        result = adapt_model(
            model,
            *data,
            candidates=options.candidates or "auto",
            guard=not options.no_guard,
            scoring=options.scoring,
            random_state=options.random_state,
            progress=_progress(options),
            **keywords,
        )
    except (InputError, MissingDependencyError):
        raise
    except Exception:
        _require_fit(model, *data[:2])
        raise
    _show(result, options)
    write_model(result.estimator, options.out)
    _say(f"model written to {options.out}", options.quiet)
    return OK


def monitor(options: argparse.Namespace) -> int:
    """Watch the batches that arrive in a folder."""
    from shift_detectors._monitor_step import to_json

    inputs = (options.reference, options.folder, options.estimator)
    _check_outputs(inputs, options.json, options.state, options.plot)
    _check_picture(options.plot)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "the folder in which the batches arrive")
    watched = _monitor(options)
    for note in watched.notes:
        _say(f"da-toolkit: {note}", options.quiet)
    complaints: list[str] = []
    while True:
        said, complaints = complaints, _read_batches(watched, folder, options)
        new = [complaint for complaint in complaints if complaint not in said]
        for complaint in new[:COMPLAINTS]:
            _say(f"da-toolkit: error: {complaint}")
        if len(new) > COMPLAINTS:
            _say(f"da-toolkit: error: and {len(new) - COMPLAINTS} more files that cannot be read")
        known = to_json({**watched.to_dict(), "unreadable": complaints}, None if options.json == "-" else options.json)
        if options.plot is not None:
            with replacing(options.plot) as file:
                watched.plot().figure.savefig(file, format=Path(options.plot).suffix[1:].lower())
        if options.watch is None or watched.alarm_batch is not None:
            break
        time.sleep(options.watch)
    if not watched.batch and not complaints:
        _say(f"da-toolkit: {folder} holds no batch: nothing was compared")
    if options.json == "-":
        sys.stdout.write(f"{known}\n")
    elif not options.quiet:
        sys.stdout.write(f"{watched}\n")
    if watched.alarm_batch is not None:
        return FOUND
    return USAGE if complaints else OK


def predict(options: argparse.Namespace) -> int:
    """Predict the rows of a table with a saved model."""
    if options.out is not None:
        check_format(options.out)
        _check_outputs((options.model, options.table), None, options.out)
    table = _read(options.table, options)
    model = _trusted_model(options.model, options.quiet)
    for name in options.drop:
        _require(name, table.columns, options.table)
    X = table.drop(columns=options.drop)
    wanted = getattr(model, "feature_names_in_", None)
    if wanted is not None:
        lacking = [str(name) for name in wanted if name not in X.columns]
        if lacking:
            raise InputError(
                f"{options.table} lacks {', '.join(map(repr, lacking))}",
                "the columns the model was fitted on",
            )
        X = X[list(wanted)]
    if options.proba and not hasattr(model, "predict_proba"):
        raise InputError("the model has no probabilities", "a classifier with predict_proba", "Leave out --proba.")
    try:
        columns: dict[str, Any] = {"prediction": np.asarray(model.predict(X))}
        if options.proba:
            probabilities = np.asarray(model.predict_proba(X))
            columns |= {f"p({name})": p for name, p in zip(model.classes_, probabilities.T, strict=True)}
        predictions = pd.DataFrame(columns)
    except Exception as error:  # the user's model, the user's rows: the message belongs to them
        raise InputError(
            f"the model cannot predict these rows ({type(error).__name__}: {error})",
            "a table like the one it was fitted on",
            "Columns it does not know are left out with --drop.",
        ) from error
    if options.out is None:
        sys.stdout.write(predictions.to_csv(index=False))
    else:
        write_table(predictions, options.out)
        _say(f"{len(predictions)} predictions written to {options.out}", options.quiet)
    return OK


def list_methods(options: argparse.Namespace) -> int:
    """The adapters and the tests."""
    import shift_detectors
    from da_toolkit._registry import ADAPTERS
    from shift_detectors._base import BaseDetector

    adapters = [
        (row.name, row.slot or "", _words(row.addresses), _words(row.tasks), row.target_labels, row.extra or "")
        for row in ADAPTERS
    ]
    public = [getattr(shift_detectors, name) for name in sorted(shift_detectors.__all__)]
    tests = [
        (detector.__name__, detector.quantity, _words(sorted(detector.requires)), _first_line(detector))
        for detector in public
        if isinstance(detector, type) and issubclass(detector, BaseDetector) and detector is not BaseDetector
    ]
    if options.what != "tests":
        header = ("name", "passed as", "addresses", "tasks", "target labels", "extra")
        if sys.stdout.isatty():  # method objects below the adapter that takes them
            named = (("  " if slot else "") + name for name, slot, *_ in adapters)
            adapters = [(name, *rest) for name, (_, _, *rest) in zip(named, adapters, strict=True)]
            header = (header[0], *header[2:])
        _rows("Adapters", header, adapters)
    if options.what != "adapters":
        _rows("Tests", ("name", "quantity", "needs", "question"), tests)
    return OK


def datasets(options: argparse.Namespace) -> int:
    """Data sets to try things on: list them, or write one as source.csv and target.csv."""
    from da_toolkit import datasets as known

    scenes = {scene.name: scene for scene in known.list_scenes()}
    entries = {entry.name: entry for entry in known.list_datasets()}
    if options.name is None:
        home = known.get_data_home()
        here = {name: "here" if (home / entry.file).is_file() else "not here" for name, entry in entries.items()}
        _rows(
            f"Data sets (files are looked for in {home})",
            ("name", "shift", "file", "what"),
            [(name, scene.kind, "shipped", scene.story) for name, scene in scenes.items()]
            + [(name, entry.kind, here[name], entry.title) for name, entry in entries.items()],
        )
        return OK
    folder = Path(options.out or options.name)
    for path in (folder / "source.csv", folder / "target.csv"):
        if path.exists():
            raise InputError(f"{path} exists already", "a folder without it", "Name another one with --out.")
    chosen = (options.source, options.target)
    if options.name in entries:
        pair = known.fetch(options.name).pair(*(chosen if any(chosen) else entries[options.name].example_pair))
    elif options.name not in scenes:
        names = [*scenes, *entries]
        raise InputError(f"no data set {options.name!r}", f"one of {', '.join(names)}", _nearest(options.name, names))
    elif any(chosen):
        raise InputError(f"{options.name} has no domains to choose from", "no --source and no --target")
    else:
        pair = known.load_scene(options.name, random_state=0)
    if not isinstance(pair.X_source, (np.ndarray, pd.DataFrame)):
        raise InputError(
            f"{options.name} is sparse: {pair.X_source.shape[1]:,} columns", "a table", "Use fetch() in Python."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for side, X, y in (("source", pair.X_source, pair.y_source), ("target", pair.X_target, pair.y_target)):
        names = pair.feature_names or [f"x{j}" for j in range(X.shape[1])]
        write_table(pd.DataFrame(X, columns=list(names)).assign(label=y), folder / f"{side}.csv")
    rows = f"{pair.n_source} source and {pair.n_target} target rows"
    _say(f"{pair.name}: {rows} in {folder}, labels in column 'label'", options.quiet)
    return OK


def demo(options: argparse.Namespace) -> int:
    """Diagnose and adapt three real-data problems."""
    from da_toolkit import demo as scenes

    scenes.run(options.out)
    return OK


# ------------------------------------------------------------------ arguments


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (usage: {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="da-toolkit",
        description="Is there a shift between source and target, of which kind, and what to do about it?",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"da-toolkit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, epilog: str = EXIT_CODES) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=run.__doc__.rstrip("."),
            description=run.__doc__,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--quiet", action="store_true", help="print errors only, and what a gate cannot see")
        sub.set_defaults(command=run)
        return sub

    sub = command("diagnose", diagnose, f"{PIECES}\n\n{EXIT_CODES}")
    _pair_arguments(sub, "table (.csv, .tsv, .parquet), folder of tables or pattern, of")
    sub.add_argument("--estimator", metavar="MODEL", help=f"fitted model, to estimate what the shift costs it. {TRUST}")
    sub.add_argument("--task", choices=("auto", "classification", "regression"), default="auto")
    sub.add_argument("--alpha", type=_level, default=0.05, help="error level of the whole report (default 0.05)")
    sub.add_argument("--exclude", type=_words_of, default=[], metavar="COL,...", help="columns left out of the tests")
    sub.add_argument(
        "--fail-on",
        type=_shifts,
        default=[],
        metavar="KIND,...",
        help="exit with 1 when found: "
        + ", ".join(word if quantity is None else f"{word} ({quantity})" for word, quantity in SHIFTS.items())
        + " (a shift, or a column that tells the two apart alone); a quantity in whatever shift",
    )

    sub = command("adapt", adapt)
    _pair_arguments(sub, ".csv, .tsv or .parquet file of", label_required=True)
    sub.add_argument("--model", required=True, help=f"scikit-learn estimator saved with joblib or skops. {TRUST}")
    sub.add_argument("--out", required=True, metavar="FILE.joblib", help="where the model to use is written, by joblib")
    sub.add_argument("--candidates", type=_words_of, metavar="NAME,...", help="adapters to try (see: da-toolkit list)")
    sub.add_argument("--scoring", help="what a gain is, such as neg_log_loss (default: accuracy, a regressor's loss)")
    sub.add_argument("--no-guard", action="store_true", help="adapt even where no gain can be shown")
    sub.add_argument(
        "--frozen",
        action="store_true",
        help="the model is fitted and must stay so; SOURCE holds rows it has not seen",
    )

    sub = command("monitor", monitor)
    sub.add_argument("reference", metavar="REFERENCE", help=".csv, .tsv or .parquet file to compare with")
    sub.add_argument("folder", metavar="FOLDER", help="folder of .csv, .tsv or .parquet files, read in name order")
    sub.add_argument(
        "--state",
        required=True,
        metavar="FILE.npz",
        help="where the monitor is kept: written after every batch, continued from when it exists",
    )
    sub.add_argument("--label", metavar="COL", help="label column; in batches it may be absent or partly empty")
    sub.add_argument(
        "--estimator", metavar="MODEL", help=f"fitted model whose output and error are watched as well. {TRUST}"
    )
    sub.add_argument(
        "--alpha", type=_level, default=0.05, help="chance of a false alarm over the whole run (default 0.05)"
    )
    sub.add_argument(
        "--min-effect",
        type=_level,
        default=0.1,
        metavar="SD",
        help="smallest change worth an alarm, in standard deviations (default 0.1)",
    )
    sub.add_argument("--exclude", type=_words_of, default=[], metavar="COL,...", help="columns that are not watched")
    _csv_arguments(sub)
    sub.add_argument("--json", metavar="FILE.json", help="write what is known as JSON (- for standard output)")
    sub.add_argument("--plot", metavar="FILE.png", help="draw the evidence over time")
    often = sub.add_mutually_exclusive_group()
    often.add_argument("--once", action="store_true", help="read what is there and end (the default)")
    often.add_argument(
        "--watch", type=_seconds, metavar="SECONDS", help="look again so often, until an alarm is raised"
    )
    sub.add_argument("--random-state", type=_seed, default=0, metavar="SEED", help="seed (default 0)")

    sub = command("predict", predict)
    sub.add_argument("model", metavar="MODEL", help=f"model saved with joblib or skops. {TRUST}")
    sub.add_argument("table", metavar="TABLE", help=".csv, .tsv or .parquet file")
    sub.add_argument("--out", metavar="FILE", help=".csv, .tsv or .parquet file (default: CSV to standard output)")
    sub.add_argument("--proba", action="store_true", help="class probabilities as well")
    sub.add_argument("--drop", type=_words_of, default=[], metavar="COL,...", help="columns the model does not take")
    _csv_arguments(sub)

    sub = command("list", list_methods)
    sub.add_argument("what", nargs="?", choices=("adapters", "tests"), help="one of the two lists (default: both)")

    sub = command("datasets", datasets)
    sub.add_argument("name", nargs="?", metavar="NAME", help="the data set to write (default: list all)")
    sub.add_argument("--out", metavar="DIR", help="folder of source.csv and target.csv (default: NAME)")
    for side in ("source", "target"):
        sub.add_argument(f"--{side}", metavar="DOMAIN", help=f"name or pattern of the domains that are the {side}")

    sub = command("demo", demo)
    sub.add_argument("--out", default="da-toolkit-demo", metavar="DIR", help="folder of the HTML reports")
    return parser


def _pair_arguments(sub: argparse.ArgumentParser, files: str, label_required: bool = False) -> None:
    sub.add_argument("source", metavar="SOURCE", help=f"{files} the domain the model was trained on")
    sub.add_argument("target", metavar="TARGET", help=f"{files} the domain it must work on")
    sub.add_argument(
        "--label",
        metavar="COL",
        required=label_required,
        help="label column; in TARGET it may be absent or partly empty (unlabelled rows)",
    )
    sub.add_argument("--groups", metavar="COL", help="rows with equal values belong together (patient, site)")
    sub.add_argument("--weight", metavar="COL", help="sample weights; may be absent in TARGET")
    _csv_arguments(sub)
    sub.add_argument("--report", metavar="FILE.html", help="write a self-contained HTML report")
    sub.add_argument("--json", metavar="FILE.json", help="write everything as JSON (- for standard output)")
    sub.add_argument("--random-state", type=_seed, default=0, metavar="SEED", help="seed (default 0)")


def _csv_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--separator", type=_separator, default=",", help="between the columns of CSV files")
    sub.add_argument("--decimal", choices=(".", ","), default=".", help="decimal mark in CSV files")


def _words_of(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _shifts(text: str) -> list[str]:
    words = _words_of(text)
    unknown = [word for word in words if word not in SHIFTS]
    if unknown or not words:
        raise argparse.ArgumentTypeError(f"unknown shift {', '.join(unknown)!r}; accepted: {', '.join(SHIFTS)}")
    return words


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on, of type int")
    return value


def _separator(text: str) -> str:
    text = text.replace("\\t", "\t")  # as a shell passes '\t'
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, such as ';' or '\\t'")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


# ------------------------------------------------------------------ input


def _read(path: str | Path, options: argparse.Namespace) -> pd.DataFrame:
    return read_table(path, options.separator, options.decimal)


def _read_pair(options: argparse.Namespace) -> tuple[tuple, dict[str, Any]]:
    """(X_source, y_source, X_target, y_target) and the keyword arguments made of special columns."""
    source, target = (_read(path, options) for path in (options.source, options.target))
    special = [name for name in (options.label, options.groups, options.weight) if name is not None]
    for name in special:
        _require(name, source.columns, options.source)
    if options.groups is not None:
        _require(options.groups, target.columns, options.target)
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


def _in_pieces(*paths: str) -> bool:
    """Whether the rows are too many, or in too many files, to be read at once."""
    if all(Path(path).is_file() for path in paths):
        return sum(Path(path).stat().st_size for path in paths) > LARGE
    return any(map(_is_many_files, paths))


def _is_many_files(path: str) -> bool:
    """Whether it names a folder or a pattern."""
    return not Path(path).is_file() and (Path(path).is_dir() or glob.has_magic(path))


def _name_pair(options: argparse.Namespace) -> tuple[tuple, dict[str, Any]]:
    """The same as `_read_pair` with names of columns, for `diagnose` to read in pieces."""
    from shift_detectors._domains import Files, open_domain

    if options.weight is not None:
        raise InputError("--weight with rows that are read in pieces", "whole tables for weights", "Leave it out.")
    sides = [Files(path, options.separator, options.decimal) for path in (options.source, options.target)]
    has = [open_domain(side, name, {}).columns for side, name in zip(sides, ("SOURCE", "TARGET"), strict=True)]
    for name in (options.label, options.groups):
        if name is not None:
            _require(name, has[0], options.source)
    if options.groups is not None:
        _require(options.groups, has[1], options.target)
    labels = [options.label if options.label in columns else None for columns in has]
    data = (sides[0], labels[0], sides[1], labels[1])
    return data, {} if options.groups is None else {"groups": options.groups, "groups_target": options.groups}


def _monitor(options: argparse.Namespace) -> Any:
    """The monitor of an earlier run, else a new one, saved at once."""
    from shift_detectors._monitor import ShiftMonitor

    if not Path(options.reference).is_file():
        raise InputError(f"{options.reference} does not exist", "the file of the reference")
    model = None if options.estimator is None else _trusted_model(options.estimator, options.quiet)
    contents = [_content(path) for path in (options.reference, options.estimator) if path is not None]
    settings = [options.label, options.alpha, options.min_effect, options.exclude, options.random_state]
    origin = f"{' '.join(contents)} {settings}"
    if Path(options.state).exists():
        watched = ShiftMonitor.load(options.state, estimator=model)
        if watched.origin != origin:
            raise InputError(
                f"{options.state} was made from another reference, with another model or with other options",
                "the reference, the model and the options of the first run",
                "Name another --state to start anew.",
            )
        return watched
    reference = _read(options.reference, options)
    if options.label is not None:
        _require(options.label, reference.columns, options.reference)
    watched = ShiftMonitor(
        reference.drop(columns=[] if options.label is None else options.label),
        None if options.label is None else reference[options.label],
        estimator=model,
        alpha=options.alpha,
        min_effect=options.min_effect,
        exclude=options.exclude,
        random_state=options.random_state,
    )
    watched.origin = origin
    watched.save(options.state)
    return watched


def _content(path: str) -> str:
    """What stands for the content of a file."""
    content = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def _read_batches(watched: Any, folder: Path, options: argparse.Namespace) -> list[str]:
    """Read what is new in the folder, in name order; the state on disk is never more than one batch behind.

    What is wrong with the files that cannot be read is returned: they are tried again next time, and the others are
    watched meanwhile.
    """
    from rich.progress import track

    tables = (path for path in folder.iterdir() if path.name.lower().endswith(CSV + PARQUET) and path.is_file())
    new = sorted(path for path in tables if not (path.name.startswith(".") or watched.has_seen(path.name)))
    shown, complaints = Console(stderr=True), []
    for path in track(new, "Reading batches", console=shown, transient=True, disable=not _progress(options)):
        before = watched.alarm_batch
        try:
            table = _read(path, options)
            labels = None if options.label is None else table.get(options.label)
            rows = table.drop(columns=[] if options.label is None else options.label, errors="ignore")
            watched.update(rows, labels, name=path.name)
        except InputError as error:
            said = _in_shell_words(" ".join(str(error).split()), monitor)
            complaints.append(said if str(path) in said else f"{path} cannot be read as a batch: {said}")
            continue
        watched.save(options.state)
        if before is None and watched.alarm_batch is not None:
            _say(f"da-toolkit: alarm raised by {path.name}", options.quiet)
    return complaints


def _require(name: str, columns: Any, path: str) -> None:
    columns = [str(column) for column in columns]
    if name not in columns:
        shown = columns if len(columns) <= 12 else [*columns[:6], f"{len(columns) - 9} more", *columns[-3:]]
        raise InputError(f"{path} has no column {name!r}", ", ".join(shown), _nearest(name, columns))


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _require_fit(model: Any, X: pd.DataFrame, y: pd.Series) -> None:
    """An input error when the model cannot be fitted by itself either: missing values, texts, not fitted but frozen."""
    from sklearn.base import clone

    try:
        clone(model).fit(X, y).predict(X)
    except Exception as error:  # the user's model, the user's rows: the message belongs to them
        first = str(error).strip().splitlines()
        raise InputError(
            f"the model cannot be fitted to SOURCE ({type(error).__name__}: {first[0] if first else ''})",
            "a model that takes these columns as they are",
            "Put what prepares them (SimpleImputer, OneHotEncoder) in front of it, in a Pipeline.",
        ) from error


def _trusted_model(path: str, quiet: bool) -> Any:
    if not path.endswith(".skops"):
        _say(f"loading {path}: this runs code from the file, so only use files that you trust", quiet)
    return read_model(path)


def _check_outputs(inputs: Sequence[str | None], json: str | None, *others: str | None) -> None:
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


def _check_picture(path: str | None) -> None:
    """Refuse a name that matplotlib could not write, before a batch is read."""
    if path is None:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    known = [f".{ending}" for ending in sorted(FigureCanvasBase.get_supported_filetypes())]
    if Path(path).suffix.lower() not in known:
        raise InputError(f"{path} names no picture", f"a name that ends in {', '.join(known)}", "Rename it.")


def _files_of(path: str) -> list[Path]:
    """The files that an input names: itself, the tables in a folder, those that match a pattern."""
    if Path(path).is_dir():
        return [file for file in Path(path).rglob("*") if file.name.lower().endswith(CSV + PARQUET)]
    return [Path(path), *map(Path, glob.glob(path, recursive=True))]


# ------------------------------------------------------------------ output


def _show(result: Any, options: argparse.Namespace) -> None:
    """Text to standard output, HTML and JSON to their files; JSON instead of the text for ``--json -``."""
    if options.json == "-":
        sys.stdout.write(f"{result.to_json()}\n")
    elif not options.quiet:
        sys.stdout.write(f"{result}\n")
    if options.report is not None:
        result.to_html(options.report)
        _say(f"HTML report written to {options.report}", options.quiet)
    if options.json not in (None, "-"):
        result.to_json(options.json)
        _say(f"JSON written to {options.json}", options.quiet)


def _gate(report: Any, words: list[str]) -> str:
    """The found shift when one of `words` names it, else an empty string.

    Whatever the verdict is called, a word names its quantity, too: a gate for concept shift must not open because p(x)
    changed as well. "any" closes on a column that was set aside, too, as it may be a broken sensor, and on a class that
    only the target has.
    """
    kind = report.verdict.kind
    if kind == "none":
        return "; ".join(_beside(report)) if "any" in words else ""
    if not any(word in (kind, "any") or SHIFTS[word] in report.shifts for word in words):
        return ""
    return f"{kind} shift ({report.verdict.strength}): what differs is {', '.join(sorted(report.shifts))}"


def _unseen(report: Any, words: list[str]) -> list[str]:
    """What a gate that names `words` cannot see, in sentences: it may be open because of that."""
    verdict = report.verdict
    said = [] if "any" in words or not words else [f"only 'any' stops at {found}" for found in _beside(report)]
    labelled = report.test("p(y|x)") is not None
    unknown = {word for word, quantity in SHIFTS.items() if quantity in verdict.untestable}
    if "p(y|x)" in verdict.untestable:
        unknown |= {"mixed"} if labelled else set(NEED_LABELS)
    if "p(x)" in verdict.untestable:
        unknown |= {"support"} if labelled else set(words)
    blind = [word for word in words if word in unknown and SHIFTS[word] not in report.shifts]
    if blind:
        support = verdict.kind == "support"
        chosen = "the labelled rows were chosen by x" if report.labels_selected else "there are too few groups"
        why = "the target lies where the source has no rows" if support else chosen
        known = labelled or "p(x)" in verdict.untestable
        said.append(f"{_words(blind)} cannot be found {f'({why})' if known else 'without labels in TARGET'}")
    return said


def _beside(report: Any) -> list[str]:
    """What is known to differ, and no part of the verdict."""
    found = []
    if report.separators:
        alone = some(report.separators, 30)
        found.append(f"what tells SOURCE and TARGET apart alone: {alone} (--exclude identifiers and dates)")
    if report.verdict.kind == "none" and report.prior is not None and report.prior.new_classes:
        found.append(f"classes that only TARGET has: {some(map(repr, report.prior.new_classes), 30)}")
    return found


def _rows(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
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


def _words(values: Any) -> str:
    return values if isinstance(values, str) else ", ".join(str(value) for value in values)


def _first_line(what: Any) -> str:
    return (what.__doc__ or "").strip().splitlines()[0] if what.__doc__ else ""


def _in_shell_words(message: str, command: Any) -> str:
    """A message of the library with options in place of arguments; quoted names stay as they are."""
    for advice in NOT_FOR_ADAPT if command is adapt else ():
        message = message.replace(advice, "")
    pattern = "|".join(map(re.escape, SHELL_WORDS))
    return re.sub(rf"(?<!['\w])(?:{pattern})(?!['\w])", lambda found: SHELL_WORDS[found[0]], message)


def _say(message: str, quiet: bool = False) -> None:
    if not quiet:
        sys.stderr.write(message + "\n")


def _open_closed_streams() -> None:
    """Let what is written to a stream that the caller closed (``2>&-``) go nowhere: the exit code still tells."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def _progress(options: argparse.Namespace) -> bool:
    return sys.stderr.isatty() and not options.quiet


@contextmanager
def _warnings_in_one_line(quiet: bool) -> Iterator[None]:
    """Warnings without file names and code, each text once, also when an error follows."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        try:
            yield
        finally:
            for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
                _say(f"da-toolkit: warning: {text}", quiet)


if __name__ == "__main__":
    sys.exit(main())
