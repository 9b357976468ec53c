"""``da-toolkit monitor``: a folder in which batches arrive."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from shift_detectors._errors import InputError
from shift_detectors._file_names import CSV, PARQUET
from shift_detectors._whole_files import replacing

from ._input import check_outputs, read, require, trusted_model
from ._output import FOUND, OK, USAGE, in_shell_words, progress, say

COMPLAINTS = 3  # files of a folder that are named when they cannot be read


def monitor(options: argparse.Namespace) -> int:
    """Watch the batches that arrive in a folder."""
    from shift_detectors._monitor_step import to_json

    inputs = (options.reference, options.folder, options.estimator)
    check_outputs(inputs, options.json, options.state, options.plot)
    _check_picture(options.plot)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "the folder in which the batches arrive")
    watched = _open_monitor(options)
    for note in watched.notes:
        say(f"da-toolkit: {note}", options.quiet)
    complaints: list[str] = []
    while True:
        said, complaints = complaints, _read_batches(watched, folder, options)
        new = [complaint for complaint in complaints if complaint not in said]
        for complaint in new[:COMPLAINTS]:
            say(f"da-toolkit: error: {complaint}")
        if len(new) > COMPLAINTS:
            say(f"da-toolkit: error: and {len(new) - COMPLAINTS} more files that cannot be read")
        known = to_json({**watched.to_dict(), "unreadable": complaints}, None if options.json == "-" else options.json)
        if options.plot is not None:
            with replacing(options.plot) as file:
                watched.plot().figure.savefig(file, format=Path(options.plot).suffix[1:].lower())
        if options.watch is None or watched.alarm_batch is not None:
            break
        time.sleep(options.watch)
    if not watched.batch and not complaints:
        say(f"da-toolkit: {folder} holds no batch: nothing was compared")
    if options.json == "-":
        sys.stdout.write(f"{known}\n")
    elif not options.quiet:
        sys.stdout.write(f"{watched}\n")
    if watched.alarm_batch is not None:
        return FOUND
    return USAGE if complaints else OK


def _open_monitor(options: argparse.Namespace) -> Any:
    """The monitor of an earlier run, else a new one, saved at once."""
    from shift_detectors._monitor import ShiftMonitor

    if not Path(options.reference).is_file():
        raise InputError(f"{options.reference} does not exist", "the file of the reference")
    model = None if options.estimator is None else trusted_model(options.estimator, options.quiet)
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
    reference = read(options.reference, options)
    if options.label is not None:
        require(options.label, reference.columns, options.reference)
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
    complaints = []
    if progress(options):
        new = track(new, "Reading batches", console=Console(stderr=True), transient=True)
    for path in new:
        before = watched.alarm_batch
        try:
            table = read(path, options)
            labels = None if options.label is None else table.get(options.label)
            rows = table.drop(columns=[] if options.label is None else options.label, errors="ignore")
            watched.update(rows, labels, name=path.name)
        except InputError as error:
            said = in_shell_words(error)
            complaints.append(said if str(path) in said else f"{path} cannot be read as a batch: {said}")
            continue
        watched.save(options.state)
        if before is None and watched.alarm_batch is not None:
            say(f"da-toolkit: alarm raised by {path.name}", options.quiet)
    return complaints


def _check_picture(path: str | None) -> None:
    """Refuse a name that matplotlib could not write, before a batch is read."""
    if path is None:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    known = [f".{ending}" for ending in sorted(FigureCanvasBase.get_supported_filetypes())]
    if Path(path).suffix.lower() not in known:
        raise InputError(f"{path} names no picture", f"a name that ends in {', '.join(known)}", "Rename it.")
