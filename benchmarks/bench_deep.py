"""Deep adapters beside training on the source alone and beside the same-named methods of skada.

``python benchmarks/bench_deep.py [--quick] [--only accuracy] [--methods DANN,...] [--no-write]``

Accuracy on shifted digits, MNIST and USPS, Office-Caltech, and moons; then training rows per second beside skada and a
bare torch loop, and memory over the epochs. Every (library, problem, method, seed) is one cell: the problem is stored
once in benchmarks/_cache, all sides read the same arrays and are measured by the same harness (peers/deep_peers.py),
each in its own environment. Finished cells are kept in benchmarks/_cache/deep.jsonl; delete it after a change of the
code. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import hashlib
import time

import numpy as np
from _cells import CACHE, markdown, write_section
from _peers import Processes, Records, find_libraries
from scenarios import Problem, scenario

from da_toolkit import datasets
from shift_detectors._errors import InputError

STORE = CACHE / "deep_problems"
ENVIRONMENTS = {"da_toolkit": None, "bare loop": None, "skada": "skada"}
EPOCHS = 30
HARM = -0.01  # accuracy that a default may lose against the source on average, beyond chance


# --- problems -----------------------------------------------------------------------------------------------


def digits(kind):
    return lambda seed: scenario(kind, 750, seed)


def inverted(seed):
    """No method can know that black is white now; none should do worse than chance for it."""
    p = scenario("digits", 750, seed, shifted=False)
    return p._replace(X_target=p.X_target.max() - p.X_target, X_test=p.X_target.max() - p.X_test)


def images(source, target):
    def make(seed):
        data = datasets.fetch("mnist_usps")
        rng = np.random.default_rng(seed)
        i, j = (rng.permutation(data.rows(side)) for side in (source, target))
        half = len(j) // 2
        return Problem(data.X[i], data.y[i], data.X[j[:half]], data.X[j[half:]], data.y[j[half:]], "")

    return make


def office(source, target):
    """Histograms of 800 visual words as shares, standardised by the source; half of the target to be scored on."""

    def make(seed):
        data = datasets.fetch("office_caltech10")
        X = data.X / data.X.sum(axis=1, keepdims=True)
        rng = np.random.default_rng(seed)
        i, j = (rng.permutation(data.rows(side)) for side in (source, target))
        X = (X - X[i].mean(axis=0)) / np.maximum(X[i].std(axis=0), 1e-6)
        y, half = np.unique(data.y, return_inverse=True)[1], len(j) // 2
        return Problem(X[i], y[i], X[j[:half]], X[j[half:]], y[j[half:]], "")

    return make


def large(_seed):
    rng = np.random.default_rng(0)
    rows, y = rng.random((20_000, 64)), rng.integers(0, 10, 10_000)
    return Problem(rows[:10_000], y, rows[10_000:], rows[10_000:10_100], y[:100], "")


TASKS = {
    "digits rotated": digits("digits_rotated"),
    "digits blurred": digits("digits_blurred"),
    "digits inverted": inverted,
    "digits, no shift": lambda seed: scenario("digits", 750, seed, shifted=False),
    "MNIST -> USPS": images("mnist", "usps"),
    "USPS -> MNIST": images("usps", "mnist"),
    "Caltech -> Amazon": office("caltech", "amazon"),
    "Amazon -> Webcam": office("amazon", "webcam"),
    "moons": lambda seed: scenario("moons", 500, seed),
}
SHIFTED = [task for task in TASKS if task not in ("digits inverted", "digits, no shift")]


# --- measuring ----------------------------------------------------------------------------------------------


class Bench:
    """The libraries' processes and what they answered."""

    def __init__(self, methods, deadline):
        STORE.mkdir(parents=True, exist_ok=True)
        self.records, self.deadline, self.skipped = Records("deep.jsonl"), deadline, 0
        commands, every, self.notes = find_libraries("deep_peers.py", ENVIRONMENTS)
        wanted = {"source only", *(methods or ())}
        self.methods = {name: [m for m in known if not methods or m in wanted] for name, known in every.items()}
        self.processes = Processes(commands)

    def run(self, library, task, make, method, seed, epochs=EPOCHS):
        """The record of one cell, measured now unless it is known; None when there is no time left."""
        key = f"{library} | {task} | {method} | {seed} | {epochs}"
        if key in self.records:
            return self.records[key]
        if time.time() > self.deadline:
            self.skipped += 1
            return None
        path = STORE / f"{hashlib.sha256(f'{task} {seed}'.encode()).hexdigest()[:16]}.npz"
        if not path.exists():
            np.savez(path, **{k: v for k, v in make(seed)._asdict().items() if k != "head"})
        job = {"key": key, "problem": str(path), "method": method, "seed": seed, "epochs": epochs}
        self.records.add(self.processes.ask(library, job))
        return self.records[key]

    def close(self):
        """End the processes; the problems are made again from their seeds when they are needed again."""
        self.processes.close()
        for path in STORE.glob("*.npz"):
            path.unlink()


# --- tables -------------------------------------------------------------------------------------------------


def accuracy_table(bench, seeds):
    """Mean accuracy on the target per method and task; the mean gain over the shifted tasks; harm."""
    tasks = {}
    for task, make in TASKS.items():
        try:
            make(0)
            tasks[task] = make
        except InputError as error:
            bench.notes.append(f"{task}: skipped, {error}")
    values = {}
    for library in (name for name in ("da_toolkit", "skada") if name in bench.methods):
        for seed in range(seeds):  # a seed of everything before the next one
            for task, make in tasks.items():
                for method in bench.methods[library]:
                    record = bench.run(library, task, make, method, seed) or {}
                    if "accuracy" in record:
                        values.setdefault((library, method, task), {})[seed] = record["accuracy"]
    body = []
    order = list(dict.fromkeys(m for library in ("da_toolkit", "skada") for m in bench.methods.get(library, ())))
    for method in order:
        for library in ("da_toolkit", "skada"):
            if method not in bench.methods.get(library, ()):
                continue
            line, gains = [method, library], []
            for task in tasks:
                mine = values.get((library, method, task), {})
                base = values.get((library, "source only", task), {})
                both = mine.keys() & base.keys()
                line.append(f"{np.mean(list(mine.values())):.3f}" if mine else "")
                if task in SHIFTED and both:
                    gains += [mine[s] - base[s] for s in both]
            body.append([*line, "" if method == "source only" or not gains else verdict(np.array(gains))])
    for library in sorted({library for library, _, _ in values}):
        finished = [len(values.get((library, m, task), {})) for m in bench.methods[library] for task in tasks]
        bench.notes.append(f"Seeds of {library}: {min(finished)} of {seeds} complete")
    return markdown(["method", "library", *tasks, "mean gain, points"], body)


def verdict(gains):
    """Mean gain in points; harm when it is below -1 and its paired 90 % interval below 0."""
    mean, error = gains.mean(), gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return f"{100 * mean:+.1f}" + (" **harm**" if mean < HARM and mean + 1.645 * error < 0 else "")


def throughput_table(bench, repeats):
    """Source rows per second in training (each with a target row), and memory from the third epoch to the last."""
    rates, grown = {}, {}
    for repeat in range(repeats):  # alternating, so that a busy machine is busy for all
        for method in ("source only", "DANN", "DeepCORAL", "CDAN", "DAN", "MCC", "MDD", "DeepJDOT"):
            for library in bench.methods:
                if method in bench.methods[library]:
                    record = bench.run(library, "large", large, method, repeat, epochs=4) or {}
                    if record.get("epoch_seconds"):
                        rate = 10_000 / record["epoch_seconds"]
                        rates[library, method] = max(rate, rates.get((library, method), 0.0))
    small = TASKS["digits rotated"]
    for method in ("source only", "DANN", "DeepCORAL", "MCC"):
        if method in bench.methods["da_toolkit"]:
            record = bench.run("da_toolkit", "digits rotated", small, method, 0, epochs=200) or {}
            grown[method] = record.get("grown_mb")
    body = []
    for method in dict.fromkeys(m for _, m in rates):
        ours = rates.get(("da_toolkit", method))
        line = [method, f"{ours:,.0f}" if ours else ""]
        for library in ("bare loop", "skada"):
            other = rates.get((library, method))
            line += [f"{other:,.0f}" if other else "", f"{ours / other:.2f}" if ours and other else ""]
        body.append([*line, f"{grown[method]:.1f}" if grown.get(method) is not None else ""])
    head = ["method", "da_toolkit", "bare loop", "ours / bare", "skada", "ours / skada", "MB in 197 epochs"]
    return markdown(head, body)


SECTIONS = {
    "Deep adapters: accuracy": (
        lambda bench, quick: accuracy_table(bench, 1 if quick else 3),
        "Accuracy on target rows that were not trained on. d-128-64-k network, 30 epochs, Adam 1e-3, batches of 64, "
        "defaults of both libraries, same draws; the gain is over the same library's source-only, on the tasks with a "
        "shift that can be overcome.",
    ),
    "Deep adapters: throughput and memory": (
        lambda bench, quick: throughput_table(bench, 1 if quick else 3),
        "Source rows per second of training on one thread, 10,000 rows a side, batches of 64, the fastest epoch. The "
        "bare loop is written by hand (peers/deep_peers.py): as quick as torch's own Adam allows.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--only", choices=("accuracy", "throughput"), help="one of the two tables")
    parser.add_argument("--minutes", type=float, help="time at most (19 with --quick, else 115)")
    parser.add_argument("--methods", help="some methods, by their names in the tables")
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    command = "python benchmarks/bench_deep.py" + (" --quick" if args.quick else "")
    command += f" --only {args.only}" if args.only else ""
    minutes = args.minutes or (19 if args.quick else 115)
    bench = Bench(args.methods.split(",") if args.methods else None, time.time() + 60 * minutes)
    try:
        for title, (table, sentence) in reversed(SECTIONS.items()):
            if args.only and args.only not in title:
                continue
            body = table(bench, args.quick)
            left = [f"Not run for lack of time: {bench.skipped} measurements"] if bench.skipped else []
            body = " ".join([sentence, *(f"{note}." for note in [*left, *bench.notes])]) + "\n\n" + body
            print(f"\n## {title}\n\n{body}", flush=True)
            if not args.no_write:
                write_section(title, command, body)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
