"""What are m = 5 to 500 target labels worth? Learning curves of the few-label methods, and their regret.

``python benchmarks/bench_transfer.py [--quick] [--minutes 60] [--problems NAME,...] [--redo METHOD,...] [--no-write]``

A repeat draws rows anew, gives m random target labels to every method and scores it on other target rows. The regret
of a method is how far its mean score lies below the better of source-only and target-only, in points (100 times
accuracy or R2). Cells are kept in benchmarks/_cache/transfer_*.json; after a change of a method's code measure it anew
with --redo, after a change of a problem delete its cells. The methods of adapt run on the same arrays in their own
environment (peers/README.md), in as many repeats as --peer-repeats says; without it their rows say "not run". Real data
are found as `da_toolkit.datasets.fetch` finds them. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _cells import CACHE, interpreter, markdown, write_section
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from da_toolkit import datasets
from da_toolkit.transfer._feature_augmentation import FeatureAugmentation
from da_toolkit.transfer._offset_boosting import OffsetBoosting
from da_toolkit.transfer._prior_centered import PriorCentered
from da_toolkit.transfer._tradaboost import TrAdaBoost
from da_toolkit.transfer._tradaboost_r2 import TrAdaBoostR2
from da_toolkit.transfer._transfer_stack import TransferStack
from shift_detectors._errors import InputError

PEERS = Path(__file__).parent / "peers" / "transfer_peers.py"
LABELS = (5, 10, 20, 50, 100, 500)
SOURCE_ROWS, POOL, TEST = 600, 500, 1000
MODELS = {"classification": LogisticRegression(max_iter=1000), "regression": Ridge()}
DEFAULT = "TransferStack"


# --- problems: (X, y, X_target, y_target) of a seed -----------------------------------------------------------


def generated(make, task, **options):
    def draw(seed):
        pair = make(SOURCE_ROWS, POOL + TEST, task=task, random_state=seed, **options)
        return pair.X_source, pair.y_source, pair.X_target, pair.y_target

    return task, draw


def turned(task, change):
    """Linear effects of eight features; those of the target are turned by `change` (1: unrelated), the level moves."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        beta, other = 1.5 * rng.normal(size=(2, 8)) / np.sqrt(8)

        def side(rows, coef, level):
            X = rng.normal(size=(rows, 8))
            f = X @ coef + level
            if task == "regression":
                return X, f + rng.normal(size=rows)
            return X, (rng.random(rows) < 1 / (1 + np.exp(-2 * f))).astype(int)

        target = side(POOL + TEST, np.sqrt(1 - change**2) * beta + change * other, change * rng.normal())
        return *side(SOURCE_ROWS, beta, 0.0), *target

    return task, draw


def real(name, source, target):
    """Rows of two domains; categories one-hot, missing numbers the source's medians."""

    def draw(seed):
        data = datasets.fetch(name)
        pair = data.pair(source, target)
        X, X_target = pair.X_source, pair.X_target
        if isinstance(X, pd.DataFrame):
            both = pd.concat([X, X_target], ignore_index=True)
            texts = both.select_dtypes(exclude="number").astype(str)
            numbers = both.select_dtypes("number")
            numbers = numbers.fillna(numbers.iloc[: len(X)].median()).fillna(0.0)
            dummies = [pd.get_dummies(texts)] if texts.shape[1] else []
            both = pd.concat([numbers, *dummies], axis=1).to_numpy(float)
            X, X_target = both[: len(X)], both[len(X) :]
        rng = np.random.default_rng(seed)
        i, j = rng.permutation(len(X))[:SOURCE_ROWS], rng.permutation(len(X_target))[: POOL + TEST]
        return X[i], pair.y_source[i], X_target[j], pair.y_target[j]

    task = next(entry.task for entry in datasets.list_datasets() if entry.name == name)
    return task, draw


PROBLEMS = {
    "no shift": generated(datasets.make_no_shift, "classification"),
    "no shift, regression": generated(datasets.make_no_shift, "regression"),
    "concept": generated(datasets.make_concept_shift, "classification"),
    "concept, regression": generated(datasets.make_concept_shift, "regression"),
    "mixed, regression": generated(datasets.make_mixed_shift, "regression"),
    "turned": turned("classification", 1.0),
    "half turned": turned("classification", 0.5),
    "turned, regression": turned("regression", 1.0),
    "half turned, regression": turned("regression", 0.5),
    "bike 2011 -> 2012": real("bike_sharing", "2011_*", "2012_*"),
    "wine red -> white": real("wine_quality", "red", "white"),
    "gas 1 -> 2": real("gas_sensor", "batch1", "batch2"),
    "gas 1 -> 6": real("gas_sensor", "batch1", "batch6"),
    "ACS CA -> AL": real("acs_income", "CA", "AL"),
    "ACS CA -> MD": real("acs_income", "CA", "MD"),
    "heart Cleveland -> Hungary": real("heart_disease", "cleveland", "hungarian"),
    "heart Cleveland -> VA": real("heart_disease", "cleveland", "va"),
    "heart Cleveland -> Switzerland": real("heart_disease", "cleveland", "switzerland"),
}


# --- methods ------------------------------------------------------------------------------------------------


def source_only(model, X, y, X_target, few):
    return clone(model).fit(X, y)


def target_only(model, X, y, X_target, few):
    known = ~pd.isna(few)
    return clone(model).fit(X_target[known], few[known].astype(y.dtype))


def pooled(model, X, y, X_target, few):
    known = ~pd.isna(few)
    return clone(model).fit(np.vstack([X, X_target[known]]), np.concatenate([y, few[known].astype(y.dtype)]))


def adapter(make):
    return lambda model, *data: make(model).fit(*data)


METHODS = {
    "source only": source_only,
    "target only": target_only,
    "pooled": pooled,
    DEFAULT: adapter(lambda model: TransferStack(model, random_state=0)),
    "PriorCentered": adapter(lambda model: PriorCentered(model, random_state=0)),
    "OffsetBoosting": adapter(lambda model: OffsetBoosting(model, random_state=0)),
    "FeatureAugmentation": adapter(lambda model: FeatureAugmentation(model)),
    "TrAdaBoost": adapter(lambda model: TrAdaBoostR2(model, random_state=0) if is_ridge(model) else TrAdaBoost(model)),
}
PEER_METHODS = ("adapt TrAdaBoost", "adapt RegularTransfer")


def is_ridge(model):
    return isinstance(model, Ridge)


class Peer:
    """adapt in a process of its own; None for every score when it is not installed."""

    def __init__(self):
        python = interpreter("adapt")
        self.note = "" if python else "adapt: not run, its environment is absent (see benchmarks/peers/README.md)."
        self.process = python and subprocess.Popen(
            [str(python), str(PEERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
        )

    def scores(self, **arrays):
        if not self.process:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            assert self.process.stdin and self.process.stdout
            path = Path(folder) / "problem.npz"
            np.savez(path, **arrays)
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def close(self):
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()


def once(name, m, seed, methods, peer):
    """Scores of some methods in one repeat, and of the peer unless it is None; a string says why there is none."""
    task, draw = PROBLEMS[name]
    X, y, X_target, y_target = draw(seed)
    scale = X.std(axis=0)
    X, X_target = ((rows - X.mean(axis=0))[:, scale > 0] / scale[scale > 0] for rows in (X, X_target))
    pool = min(POOL, int(0.6 * len(y_target)))
    few = y_target[:pool].astype(object)
    few[m:] = None
    X_new, y_new = X_target[pool : pool + TEST], y_target[pool : pool + TEST]
    scores = {}
    for method in methods:
        fit, start = METHODS[method], time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if method == "target only" and task == "classification" and len(set(y_target[:m])) == 1:
                scores[method] = float(np.mean(y_new == y_target[0]))
            else:
                scores[method] = float(fit(MODELS[task], X, y, X_target[:pool], few).score(X_new, y_new))
        scores[f"{method}: CPU s"] = time.process_time() - start
    if peer is not None:
        few = {"X_few": X_target[:m], "y_few": y_target[:m]}
        scores |= peer.scores(X=X, y=y, **few, X_new=X_new, y_new=y_new, task=task)
    return scores


class Cell:
    """The repeats of one problem and m, one row of scores each, kept in a file; what a row lacks is added."""

    def __init__(self, name, m, redo):
        self.name, self.m = name, m
        self.path = CACHE / f"transfer_{''.join(c if c.isalnum() else '_' for c in name)}_{m}.json"
        kept = json.loads(self.path.read_text()) if self.path.exists() else []
        self.rows = [{key: value for key, value in row.items() if key.split(":")[0] not in redo} for row in kept]
        if self.rows != kept:
            self.store()

    def measure(self, seed, peer):
        while len(self.rows) <= seed:
            self.rows.append({})
        row = self.rows[seed]
        missing = [method for method in METHODS if method not in row]
        asked = peer if peer is not None and not set(PEER_METHODS) & set(row) else None
        if missing or asked is not None:
            row |= once(self.name, self.m, seed, missing, asked)
            self.store()

    def store(self):
        CACHE.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.rows))


# --- tables -------------------------------------------------------------------------------------------------


def mean(rows, method):
    """Mean score in points; NaN where there is none."""
    values = [100 * row[method] for row in rows if isinstance(row.get(method), float)]
    return np.mean(values) if values else np.nan


def regret(rows, method):
    """Of the repeats that have the method: how far it lies below the better of source-only and target-only."""
    rows = [row for row in rows if isinstance(row.get(method), float)]
    return max(mean(rows, "source only"), mean(rows, "target only")) - mean(rows, method)


def of_task(key, task):
    return PROBLEMS[key[0]][0] == task


def curves(cells, task):
    """Mean over the problems that have pools for the m; R2 below -100 points counts as -100."""
    body = []
    for method in [*METHODS, *PEER_METHODS]:
        line = [method]
        for m in LABELS:
            values = [max(mean(rows, method), -100.0) for k, rows in cells.items() if k[1] == m and of_task(k, task)]
            line.append("not run" if not np.isfinite(values).all() or not values else f"{np.mean(values):.1f}")
        body.append(line)
    return markdown(["method", *(f"m = {m}" for m in LABELS)], body)


def regrets(cells):
    body = []
    for method in [*METHODS, *PEER_METHODS]:
        line = [method]
        for m in LABELS:
            values = {key[0]: regret(rows, method) for key, rows in cells.items() if key[1] == m}
            values = {name: value for name, value in values.items() if np.isfinite(value)}
            if not values:
                line.append("not run")
                continue
            largest, worst = max((value, name) for name, value in values.items())
            line.append(f"{np.mean(list(values.values())):+.1f} ({largest:+.1f}, {worst})")
        body.append(line)
    return markdown(["method", *(f"m = {m}" for m in LABELS)], body)


def goals(cells):
    """The default against what it has to keep."""
    body = []
    for m in LABELS:
        keys = [key for key in cells if key[1] == m]
        if not keys:
            continue
        gap = [abs(mean(cells[k], "source only") - mean(cells[k], "target only")) for k in keys]
        lost, allowed = [regret(cells[k], DEFAULT) for k in keys], [g / 3 + 1 if m < 50 else 1.0 for g in gap]
        beyond = [f"{k[0]} {r:+.1f}" for k, r, a in zip(keys, lost, allowed, strict=True) if r > a]
        below = [k[0] for k in keys if below_the_worse(cells[k])]
        met = np.mean(lost) <= np.mean(allowed) and not below
        line = [
            str(m),
            str(len(keys)),
            f"{np.mean(lost):+.2f}",
            f"{np.mean(allowed):.2f}",
            "yes" if met else "**no**",
        ]
        body.append([*line, ", ".join(beyond) or "none", ", ".join(below) or "none"])
    head = ["m", "problems", "mean regret", "allowed", "met", "problems beyond what is allowed", "below the worse"]
    return markdown(head, body)


def below_the_worse(rows):
    """Whether the default lies significantly (one-sided, 5 %) below the worse of source-only and target-only."""
    values = np.array([[100 * row[k] for k in ("source only", "target only", DEFAULT)] for row in rows])
    worse = values[:, :2].mean(axis=0).argmin()
    gain = values[:, 2] - values[:, worse]
    if len(gain) < 3:
        return False  # too few repeats to say
    if gain.std() == 0:
        return bool(gain.mean() < 0)
    return bool(gain.mean() + student.isf(0.05, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)) < 0)


def seconds(cells):
    rows = [row for key, value in cells.items() for row in value]
    return ", ".join(f"{m} {np.median([row[f'{m}: CPU s'] for row in rows]):.2f}" for m in METHODS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two repeats, 20 minutes at most")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=115)
    parser.add_argument("--peer-repeats", type=int, default=10)
    parser.add_argument("--redo", default="", help="methods whose stored scores are forgotten, by their names")
    parser.add_argument("--problems", help="some problems, by their names in the tables")
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    repeats, minutes = (2, min(args.minutes, 19)) if args.quick else (args.repeats, args.minutes)
    command = f"python benchmarks/bench_transfer.py {'--quick' if args.quick else f'--repeats {repeats}'}"
    if args.peer_repeats < repeats:
        command += f" --peer-repeats {args.peer_repeats}"
    deadline, peer, cells, notes = time.time() + 60 * minutes, Peer(), {}, []
    names = args.problems.split(",") if args.problems else list(PROBLEMS)
    for name in list(names):
        try:
            size = int(0.6 * len(PROBLEMS[name][1](0)[3]))
        except InputError:
            names.remove(name)
            notes.append(f"{name}: not run, its data are absent.")
            continue
        cells |= {(name, m): Cell(name, m, args.redo.split(",")) for m in LABELS if m <= size}
    # one repeat of everything after the other, so that a deadline cuts all problems short alike
    for seed in range(repeats):
        for cell in cells.values():
            if time.time() < deadline:
                cell.measure(seed, peer if seed < args.peer_repeats else None)
        print(f"{seed + 1} of {repeats} repeats, {(deadline - time.time()) / 60:.1f} minutes left", flush=True)
    peer.close()
    # a row that a deadline has cut short does not count
    cells = {key: [row for row in cell.rows[:repeats] if set(METHODS) <= set(row)] for key, cell in cells.items()}
    cells = {key: rows for key, rows in cells.items() if rows}
    counts = [len(rows) for rows in cells.values()]
    peers = [sum(bool(set(PEER_METHODS) & set(row)) for row in rows) for rows in cells.values()]
    notes += [
        peer.note,
        f"Repeats: {min(counts)} to {max(counts)} per cell, of adapt {min(peers)} to {max(peers)} (its means and "
        "regrets are of these alone).",
    ]
    explanation = (
        f"Logistic regression or ridge on {SOURCE_ROWS} source rows, m random target labels, {TEST} other target rows "
        "(fewer where there are fewer). Below the worse is judged from three repeats on. "
    ) + " ".join(filter(None, notes))
    body = "\n\n".join(
        [
            explanation,
            f"`{DEFAULT}`, in points of accuracy or R2: mean regret to the better of source-only and target-only; "
            "allowed are a third of the gap between the two and a point below 50 labels, a point from 50 on; never "
            "significantly below the worse of the two.",
            goals(cells),
            "Mean regret of every method (worst problem).",
            regrets(cells),
            "Mean accuracy, classification.",
            curves(cells, "classification"),
            "Mean R2, regression (below -100 counted as -100; TrAdaBoost is the two-stage R2).",
            curves(cells, "regression"),
            f"Median CPU seconds of a fit and its score: {seconds(cells)}.",
        ]
    )
    print(body, flush=True)
    if not args.no_write:
        write_section("Few target labels", command, body)


if __name__ == "__main__":
    main()
