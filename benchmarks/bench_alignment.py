"""Aligners and transport against published figures and against the same methods of other libraries.

``python benchmarks/bench_alignment.py [--quick] [--sections office,...] [--methods CORAL,...] [--no-write]``

Every (library, problem, method) is one cell: the problem is stored once in benchmarks/_cache, both sides read the
same arrays and are measured by the same harness (peers/alignment_peers.py). Finished cells are kept in
benchmarks/_cache/alignment.jsonl; delete it after a change of the code. The real data are found as
`da_toolkit.datasets.fetch` finds them; where they are absent their tables say so. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from _cells import CACHE, markdown, write_section
from _peers import Records, find_libraries, in_threads
from scenarios import IDENTITIES, SCENARIOS, SIMULATED, Problem, scenario, simulated
from sklearn.decomposition import TruncatedSVD
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler, normalize

from da_toolkit import datasets
from shift_detectors._errors import InputError

STORE = CACHE / "alignment_problems"
ENVIRONMENTS = {"da_toolkit": None, "skada": "skada", "POT": "skada", "adapt": "adapt"}
# Average over the 12 tasks, full source: table collected in jindongwang/transferlearning, data/benchmark.md
OFFICE = {"source only": 31.4, "TCA": 46.2, "GFK": 43.1, "JDA": 46.8, "CORAL": 48.8}
# MNIST -> USPS and back: Long et al. (2013)
DIGITS = {"source only": (65.94, 44.70), "GFK": (67.22, 46.45), "TCA": (56.28, 51.05), "JDA": (67.28, 59.65)}
# tasks of the published tables of single tasks, by their number
PUBLISHED_TASKS = {2: ("mnist -> usps", "usps -> mnist"), 4: SIMULATED}
# SKADA-Bench, simulated shifts, SVC, hyperparameters chosen with target labels
SKADA = {
    "source only": (0.881, 0.850, 0.662, 0.190),
    "CORAL": (0.742, 0.838, 0.815, 0.187),
    "LinearOT": (0.893, 0.810, 0.814, 0.190),
    "OptimalTransport entropic": (0.893, 0.612, 0.816, 0.474),
    "OptimalTransport class-regularised": (0.913, 0.594, 0.815, 0.152),
    "LocationScale": (0.881, 0.850, 0.814, 0.729),
    "SubspaceAlignment": (0.742, 0.812, 0.801, 0.134),
    "JDOT": (0.720, 0.574, 0.818, 0.132),
    "OTLabelPropagation": (0.904, 0.760, 0.814, 0.142),
    "SelfTraining": (0.890, 0.856, 0.640, 0.123),
}
# linear in the rows, or working on landmarks
LARGE = ("source only", "CORAL", "LinearOT", "SubspaceAlignment", "TCA", "GFK", "JDA", "LocationScale")


class Cell(NamedTuple):
    """One measurement: which table cell it belongs to, and how the arrays of its problem are made."""

    row: str  # the task
    name: str  # of the stored problem: task and repeat
    make: Callable[[], Problem]
    rows: int = 0  # new target rows to be timed, too


# --- problems -----------------------------------------------------------------------------------------------


def office(_quick):
    data = datasets.fetch("office_caltech10")
    X = normalize(per_domain(data, data.X / data.X.sum(axis=1, keepdims=True)))
    for source, target in itertools.permutations(data.domains, 2):
        yield transductive(data, X, source, target, "1nn_cosine")


def digits(_quick):
    data = datasets.fetch("mnist_usps")
    for source, target in itertools.permutations(data.domains, 2):
        yield transductive(data, normalize(data.X), source, target, "1nn")


def amazon(quick):
    data = datasets.fetch("amazon_reviews")
    X = per_domain(data, data.X)
    for source, target in some(itertools.permutations(data.domains, 2), 3 if quick else 12):
        yield transductive(data, X, source, target, "logistic", n=1000)


def newsgroups(quick):
    data = datasets.fetch("newsgroups")
    for source, target in some(newsgroup_tasks(), 3 if quick else 36):
        yield transductive(data, text, source, target, "logistic", n=1000)


def skada_real(quick):
    """A fifth of the target is kept for the test; SVC, and a logistic model for the mushrooms."""
    splits = 1 if quick else 3
    tasks = []
    for name, head, pairs in (
        ("mnist_usps", "svc", 2),
        ("mushrooms", "logistic", 2),
        ("newsgroups", "svc", 1 if quick else 6),
        ("amazon_reviews", "svc", 1 if quick else 6),
        ("office_caltech10", "svc", 2 if quick else 12),
    ):
        data = datasets.fetch(name)
        X = {"mnist_usps": lambda d: d.X, "mushrooms": one_hot, "newsgroups": lambda d: text}.get(
            name, lambda d: per_domain(d, d.X / d.X.sum(axis=1, keepdims=True))
        )(data)
        every = newsgroup_tasks() if name == "newsgroups" else itertools.permutations(data.domains, 2)
        tasks += [(name, data, X, pair, head) for pair in some(every, pairs)]
    for split, (name, data, X, (source, target), head) in itertools.product(range(splits), tasks):
        cell = transductive(data, X, source, target, head, n=1000)
        yield Cell(name, f"split{split}_{cell.name}", lambda make=cell.make, split=split: held_out(make(), split))


def simulated_shifts(quick):
    for seed, kind in itertools.product(range(2 if quick else 5), SIMULATED):
        yield Cell(kind, f"simulated_{kind}_{seed}", lambda kind=kind, seed=seed: simulated(kind, seed))


def scenarios(quick):
    for seed, kind in itertools.product(range(2 if quick else 5), SCENARIOS):
        yield Cell(kind, f"scenario_{kind}_{seed}", lambda kind=kind, seed=seed: scenario(kind, 500, seed))


def identity(quick):
    """No shift: fresh rows of the source's distribution, and the very same rows."""
    for seed, kind in itertools.product(range(3 if quick else 10), IDENTITIES):
        fresh = lambda kind=kind, seed=seed: scenario(kind, 500, seed, shifted=False)  # noqa: E731
        same = lambda make=fresh: (p := make())._replace(X_target=p.X_source)  # noqa: E731
        yield Cell(f"{kind}, fresh rows", f"fresh_{kind}_{seed}", fresh)
        yield Cell(f"{kind}, same rows", f"same_{kind}_{seed}", same)
    for name, domain in (("office_caltech10", "caltech"), ("amazon_reviews", "books"), ("mnist_usps", "mnist")):
        data = datasets.fetch(name)
        for seed in range(3 if quick else 10):
            make = lambda data=data, domain=domain, seed=seed: halves(data, domain, seed)  # noqa: E731
            yield Cell(f"{domain}, halves", f"halves_{domain}_{seed}", make)


def halves(data, domain, seed):
    """Two samples of one real domain, columns in units of their standard deviation; scored on all but the source."""
    rows = np.random.default_rng(seed).permutation(data.rows(domain))
    X, y = StandardScaler().fit_transform(data.X[rows]), data.y[rows]
    return Problem(X[:500], y[:500], X[500:1000], X[500:], y[500:], "logistic")


def cost(quick):
    for n in (500, 2000, 10_000) if quick else (500, 2000, 10_000, 50_000):
        yield Cell(f"n = {n}", f"cost_{n}", lambda n=n: scenario("affine", n, 0), rows=100_000)


def some(tasks: Iterable, n: int) -> list:
    """`n` of the tasks, spread evenly over their order."""
    tasks = list(tasks)
    return [tasks[i] for i in np.linspace(0, len(tasks) - 1, n).round().astype(int)]


def newsgroup_tasks():
    """Two groups of either class are the source, the other four the target."""
    for pair in itertools.product(itertools.combinations("1234", 2), repeat=2):
        source = [f"{c}_{i}" for c, numbers in zip(("comp", "rec"), pair, strict=True) for i in numbers]
        target = [
            f"{c}_{i}" for c, numbers in zip(("comp", "rec"), pair, strict=True) for i in "1234" if i not in numbers
        ]
        yield source, target


def transductive(data, X, source, target, head, n=None):
    """The whole target is both adapted to and scored on; at most `n` rows a side."""
    names = ["+".join([side] if isinstance(side, str) else side) for side in (source, target)]

    def make():
        i, j = (subsample(data.rows(side), data.y, n) for side in (source, target))
        rows = X(data.X[np.r_[i, j]]) if callable(X) else X[np.r_[i, j]]
        return Problem(rows[: len(i)], data.y[i], rows[len(i) :], rows[len(i) :], data.y[j], head)

    task = f"{names[0]} -> {names[1]}"
    return Cell(task, f"{data.name}_{head}_{task}", make)


def held_out(problem: Problem, split: int) -> Problem:
    """Four fifths of both domains, scored on the last fifth of the target."""
    stratified = {"test_size": 0.2, "random_state": split}
    Xs, _, ys, _ = train_test_split(problem.X_source, problem.y_source, stratify=problem.y_source, **stratified)
    Xt, Xe, _, ye = train_test_split(problem.X_target, problem.y_test, stratify=problem.y_test, **stratified)
    return problem._replace(X_source=Xs, y_source=ys, X_target=Xt, X_test=Xe, y_test=ye)


def subsample(rows, y, n):
    """At most `n` of the rows, classes in proportion."""
    return (
        rows
        if n is None or len(rows) <= n
        else train_test_split(rows, train_size=n, stratify=y[rows], random_state=0)[0]
    )


def per_domain(data, X):
    """Every column standardised within its domain, as is usual for these features."""
    X = X.copy()
    for name in data.domains:
        X[data.rows(name)] = StandardScaler().fit_transform(X[data.rows(name)])
    return X


def text(X):
    """100 components of the normalised rows of both domains: dense enough for every method."""
    return normalize(TruncatedSVD(100, random_state=0).fit_transform(normalize(X)))


def one_hot(data):
    return OneHotEncoder(sparse_output=False).fit_transform(data.X)


# --- cells --------------------------------------------------------------------------------------------------


class Bench:
    """Fills missing cells through the harness, one process per library, and remembers them all."""

    def __init__(self, args):
        self.args = args
        STORE.mkdir(parents=True, exist_ok=True)
        self.results = Records("alignment.jsonl")
        self.commands, self.methods, self.notes = find_libraries("alignment_peers.py", ENVIRONMENTS)
        if args.methods:
            wanted = set(args.methods.split(",")) | {"source only"}
            self.methods = {name: [m for m in known if m in wanted] for name, known in self.methods.items()}

    def run(self, cells: list[Cell], deadline: float, libraries, n_jobs: int, skip=lambda *job: False) -> int:
        """Measure what is missing; the number of measurements that the deadline left out.

        Libraries take turns problem by problem, so that a deadline cuts all of them short alike.
        """
        jobs = [
            (library, cell, method)
            for cell in cells
            for library in libraries
            for method in self.methods.get(library, ())
            if (method != "source only" or library == "da_toolkit")
            and not self._known(library, cell, method)
            and not skip(library, cell, method)
        ]
        in_threads(jobs, self._measure, self.commands, n_jobs, deadline)
        for cell in cells:
            store(cell).unlink(missing_ok=True)  # made again from its seed when it is needed again
        return sum(not self._known(*job) for job in jobs)

    def _known(self, library, cell, method):
        """Measured, or failed otherwise than by a smaller cap than today's."""
        record = self.results.get(key(library, cell, method))
        return record is not None and not (record.get("error", "").startswith("> ") and record["cap"] < self.args.cap)

    def _measure(self, processes, job):
        library, cell, method = job
        with self.results.lock:
            if not store(cell).exists():
                np.savez(store(cell), **cell.make()._asdict())
        asked = {"key": key(*job), "problem": str(store(cell)), "method": method, "rows": cell.rows}
        self.results.add(processes.ask(library, asked | {"cap": self.args.cap}) | {"cap": self.args.cap})

    def complete(self, cell, libraries):
        """Whether every method had its turn."""
        return all(
            self._known(library, cell, method)
            for library in libraries
            for method in self.methods.get(library, ())
            if method != "source only" or library == "da_toolkit"
        )

    def too_slow(self, library, cell, method):
        """At a quarter or a fifth of this size the method took so long that it would pass the cap."""
        sizes = [500, 2000, 10_000, 50_000]
        n = int(cell.row.split()[-1])
        if n == sizes[0]:
            return False
        smaller = sizes[sizes.index(n) - 1]
        before = self.results.get(f"{library} | {method} | cost_{smaller}", {"error": "skipped"})
        grown = before.get("cpu", np.inf) * (n / smaller) ** (1 if method in LARGE else 2)
        quadratic = n > 10_000 and method not in LARGE and library != "da_toolkit"  # 20 GB for one matrix
        return quadratic or "error" in before or grown > self.args.cap

    def values(self, library, method, cells, field="accuracy"):
        """The measured values of some cells; None for what failed or was not run."""
        return [self.results.get(key(library, cell, method), {}).get(field) for cell in cells]

    def failure(self, library, method, cells):
        """Why there is no value."""
        if method == "source only" and library != "da_toolkit":
            return ""  # the same model on the same rows
        if library not in self.methods:
            return "not run"
        errors = [self.results.get(key(library, cell, method), {}).get("error") for cell in cells]
        return next(
            (error.split(":")[0] for error in errors if error), "skipped" if method in self.methods[library] else ""
        )

    def rows(self):
        """Methods of this library first, then those only peers have."""
        return list(dict.fromkeys(m for library in self.methods for m in self.methods[library]))


def key(library, cell, method):
    return f"{library} | {method} | {cell.name}"


def store(cell):
    """Where the arrays of a cell are kept while they are needed."""
    return STORE / f"{hashlib.sha256(cell.name.encode()).hexdigest()[:16]}.npz"


# --- tables -------------------------------------------------------------------------------------------------


def mean_table(bench, cells, published=None, scale=100):
    """Mean accuracy per method: this library, its peers, the literature; (k of n) where some tasks failed."""
    libraries = list(ENVIRONMENTS)
    head = ["method", *libraries, *(["published"] if published else [])]
    body = []
    for method in bench.rows():
        line = [method]
        for library in libraries:
            line.append(mean(bench, library, method, cells, scale))
        if published:
            line.append(str(published.get(method, "")))
        body.append(line)
    return markdown(head, body)


def task_table(bench, cells, published=None, scale=100, libraries=("da_toolkit", "skada")):
    """Mean accuracy per method and kind of task, every library in its own row."""
    tasks = list(dict.fromkeys(cell.row for cell in cells))
    body = []
    for method in bench.rows():
        for library in libraries:
            if method not in bench.methods.get(library, ()) or (method == "source only" and library != "da_toolkit"):
                continue
            line = [method, library]
            for task in tasks:
                line.append(mean(bench, library, method, [c for c in cells if c.row == task], scale))
            body.append(line)
        if published and method in published:
            known = dict(zip(PUBLISHED_TASKS[len(published[method])], published[method], strict=True))
            body.append([method, "published", *(str(known[task]) for task in tasks)])
    return markdown(["method", "library", *tasks], body)


def mean(bench, library, method, cells, scale):
    values = [v for v in bench.values(library, method, cells) if v is not None]
    if not values:
        return bench.failure(library, method, cells)
    short = "" if len(values) == len(cells) else f" ({len(values)} of {len(cells)})"
    return f"{scale * np.mean(values):.{1 if scale == 100 else 3}f}{short}"


def cost_tables(bench, cells):
    """CPU seconds and memory of this library, and as ratios to each peer's."""
    body, new_rows = [], []
    for method in bench.rows():
        for cell in cells:
            record = bench.results.get(key("da_toolkit", cell, method), {})
            if method not in bench.methods["da_toolkit"] or not record:
                continue
            line = [method, cell.row.removeprefix("n = ")]
            if "error" in record:
                body.append([*line, record["error"], "", *[""] * 6])
                continue
            line += [f"{record['cpu']:.3g}", f"{record['peak_mb']:.0f}"]
            for library in list(ENVIRONMENTS)[1:]:
                peer = bench.results.get(key(library, cell, method), {})
                for field, floor in (("cpu", 0.001), ("peak_mb", 1)):
                    ratio = f"{max(record[field], floor) / max(peer[field], floor):.2g}" if field in peer else ""
                    line.append(ratio or bench.failure(library, method, [cell]))
            body.append(line)
        record = bench.results.get(key("da_toolkit", cells[1], method), {})
        peer = bench.results.get(key("skada", cells[1], method), {})
        seconds = [r.get("cpu_new_rows") for r in (record, peer)]
        if seconds[0] is not None:
            new_rows.append([method, *(f"{s:.3g}" if s is not None else "" for s in seconds)])
    head = ["method", "rows a side", "CPU s", "MB"]
    head += [f"{what} / {library}" for library in list(ENVIRONMENTS)[1:] for what in ("CPU", "MB")]
    return (
        markdown(head, body)
        + "\n\n"
        + markdown(["100,000 new target rows, fitted at n = 2000", "CPU s", "skada CPU s"], new_rows)
    )


def identity_table(bench, cells):
    """Accuracy beyond source-only without a shift."""
    tasks, body = list(dict.fromkeys(cell.row for cell in cells)), []
    for method in bench.methods["da_toolkit"][1:]:
        line, worst = [method], 0.0
        for task in tasks:
            of_task = [cell for cell in cells if cell.row == task]
            pairs = zip(*(bench.values("da_toolkit", m, of_task) for m in (method, "source only")), strict=True)
            gains = [100 * (a - b) for a, b in pairs if a is not None and b is not None]
            line.append(f"{np.mean(gains):+.2f}" if gains else bench.failure("da_toolkit", method, of_task))
            worst = min([worst, float(np.mean(gains))]) if gains else worst
        body.append([*line, "yes" if worst >= -1 else "**no**"])
    return markdown(["method", *tasks, "within 1 point"], body)


# name: (title, cells, table, share of the time, one sentence)
SECTIONS = {
    "office": (
        "Alignment: Office-Caltech10",
        office,
        lambda b, c: mean_table(b, c, OFFICE),
        3,
        "SURF, whole source, 1-NN, mean accuracy over 12 tasks; rows divided by their sum, columns standardised per "
        "domain, rows of unit length before and after the map, as in the code that came with TCA and JDA (without "
        "the last step source only has the published 31.4). The published CORAL used a linear SVM.",
    ),
    "digits": (
        "Alignment: MNIST and USPS",
        digits,
        lambda b, c: task_table(b, c, DIGITS, libraries=tuple(ENVIRONMENTS)),
        2,
        "1-NN on rows of unit length, accuracy.",
    ),
    "identity": (
        "Alignment: no shift",
        identity,
        identity_table,
        1,
        "Points of accuracy on 4000 fresh rows (297 digits) beyond source-only, n = 500 a side, defaults.",
    ),
    "scenarios": (
        "Alignment: known shifts",
        scenarios,
        lambda b, c: task_table(b, c, scale=1, libraries=tuple(ENVIRONMENTS)),
        2,
        "Accuracy on fresh target rows, n = 500 a side; SVC for the moons (turned by 30 degrees), else logistic.",
    ),
    "simulated": (
        "Alignment: simulated shifts of SKADA-Bench",
        simulated_shifts,
        lambda b, c: task_table(b, c, SKADA, scale=1),
        2,
        "SVC, same draws on both sides. Published: their draws, hyperparameters chosen with target labels.",
    ),
    "cost": (
        "Alignment: time and memory",
        cost,
        cost_tables,
        4,
        "Gaussian classes, d = 20, logistic. CPU seconds and memory of fit; the ratios are ours over theirs.",
    ),
    "skada": (
        "Alignment: real data of SKADA-Bench",
        skada_real,
        lambda b, c: task_table(b, c),
        2,
        "Mean accuracy on a held-out fifth of the target, at most 1000 rows a side, same splits for both, defaults.",
    ),
    "amazon": (
        "Alignment: Amazon reviews",
        amazon,
        lambda b, c: mean_table(b, c),
        1,
        "Logistic regression, columns standardised per domain, 1000 rows a side.",
    ),
    "newsgroups": (
        "Alignment: 20 Newsgroups, comp against rec",
        newsgroups,
        lambda b, c: mean_table(b, c),
        1,
        "Logistic regression on 100 components, 1000 rows a side.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tasks and repeats, 20 minutes at most")
    parser.add_argument("--minutes", type=float, help="time at most (20 with --quick, else 115)")
    parser.add_argument("--cap", type=float, help="CPU seconds a fit may take (20 with --quick, else 120)")
    parser.add_argument("--sections", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--methods", help="some methods, by their names in the tables")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    args.cap = args.cap or (20 if args.quick else 120)
    minutes = args.minutes or (19 if args.quick else 115)
    command = "python benchmarks/bench_alignment.py" + (" --quick" if args.quick else "")
    chosen = args.sections.split(",") if args.sections else list(SECTIONS)

    end, weight = time.time() + 60 * minutes, sum(SECTIONS[name][3] for name in chosen)
    bench = Bench(args)
    for note in bench.notes:
        print(note, flush=True)
    for name in chosen:
        title, make, table, share, sentence = SECTIONS[name]
        # what an early section leaves over, the later ones may use
        deadline = time.time() + (end - time.time()) * share / weight
        weight -= share
        try:
            cells = list(make(args.quick))
        except InputError as error:
            print(f"{title}: skipped, {error}", flush=True)
            continue
        libraries = ("da_toolkit",) if name == "identity" else tuple(ENVIRONMENTS)
        count = len(cells)
        if (
            name == "cost"
        ):  # one process, the sizes one after another: a method too slow for one is not tried at the next
            left = sum(bench.run([cell], deadline, libraries, 1, skip=bench.too_slow) for cell in cells)
        else:
            left = bench.run(cells, deadline, libraries, args.n_jobs)
        if left:
            sentence += f" Not run for lack of time: {left} measurements"
            # means are compared, so every one is taken over the same problems
            done = [cell for cell in cells if bench.complete(cell, libraries)]
            if done and name != "cost":
                cells = done
                sentence += f"; means over {len(cells)} of {count} problems"
            sentence += "."
        absent = [note for note in bench.notes if ": not run" in note]
        body = " ".join([sentence, *(f"{note}." for note in absent)]) + "\n\n" + table(bench, cells)
        print(f"\n## {title}\n\n{body}", flush=True)
        if not args.no_write:
            write_section(title, command, body)


if __name__ == "__main__":
    main()
