"""``da-toolkit list``, ``datasets`` and ``demo``: what there is to try."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from shift_detectors._errors import InputError

from .._files import write_table
from ._input import nearest
from ._output import OK, print_table, say


def list_methods(options: argparse.Namespace) -> int:
    """The adapters and the tests."""
    import shift_detectors
    from da_toolkit._registry import ADAPTERS
    from shift_detectors._base import BaseDetector

    adapters = [
        (row.name, row.slot or "", ", ".join(row.addresses), ", ".join(row.tasks), row.target_labels, row.extra or "")
        for row in ADAPTERS
    ]
    public = [getattr(shift_detectors, name) for name in sorted(shift_detectors.__all__)]
    tests = [
        (test.__name__, test.quantity, ", ".join(sorted(test.requires)), str(test.__doc__).strip().splitlines()[0])
        for test in public
        if isinstance(test, type) and issubclass(test, BaseDetector) and test is not BaseDetector
    ]
    if options.what != "tests":
        header = ("name", "passed as", "addresses", "tasks", "target labels", "extra")
        if sys.stdout.isatty():  # method objects below the adapter that takes them
            named = (("  " if slot else "") + name for name, slot, *_ in adapters)
            adapters = [(name, *rest) for name, (_, _, *rest) in zip(named, adapters, strict=True)]
            header = (header[0], *header[2:])
        print_table("Adapters", header, adapters)
    if options.what != "adapters":
        print_table("Tests", ("name", "quantity", "needs", "question"), tests)
    return OK


def datasets(options: argparse.Namespace) -> int:
    """Data sets to try things on: list them, or write one as source.csv and target.csv."""
    from da_toolkit import datasets as known

    scenes = {scene.name: scene for scene in known.list_scenes()}
    entries = {entry.name: entry for entry in known.list_datasets()}
    if options.name is None:
        home = known.get_data_home()
        here = {name: "here" if (home / entry.file).is_file() else "not here" for name, entry in entries.items()}
        print_table(
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
        raise InputError(f"no data set {options.name!r}", f"one of {', '.join(names)}", nearest(options.name, names))
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
    say(f"{pair.name}: {rows} in {folder}, labels in column 'label'", options.quiet)
    return OK


def demo(options: argparse.Namespace) -> int:
    """Diagnose and adapt three real-data problems."""
    from da_toolkit import demo as scenes

    scenes.run(options.out)
    return OK
