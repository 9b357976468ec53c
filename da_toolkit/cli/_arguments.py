"""The arguments of every command, and what they are turned into."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from shift_detectors._version import __version__

from ._adapt import adapt, predict
from ._diagnose import SHIFTS, diagnose
from ._lists import datasets, demo, list_methods
from ._monitor import monitor
from ._output import EXIT_CODES, USAGE

PIECES = """Folders, patterns such as "part-*.csv", and files of more than 500 MB together are read in pieces;
what fits into memory does not matter then."""

TRUST = "Loading a joblib file runs code from it: only use files that you trust; a .skops file runs none."


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (usage: {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
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


def _number(convert: Callable[[str], float], accepts: Callable[[float], bool], what: str) -> Callable[[str], float]:
    """The type of an argument that is a number: what it accepts, in code and in words."""

    def read(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


_level = _number(float, lambda value: 0 < value < 1, "a number between 0 and 1")
_seed = _number(int, lambda value: value >= 0, "a whole number from 0 on, of type int")
_seconds = _number(float, lambda value: 0 < value < float("inf"), "a positive number of seconds")


def _separator(text: str) -> str:
    text = text.replace("\\t", "\t")  # as a shell passes "\t"
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not one character, such as ";" or "\\t"')
    return text
