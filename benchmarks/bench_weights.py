"""Density ratios against the known one, and models trained with them beside the same methods of other libraries.

``python benchmarks/bench_weights.py [--quick] [--sections weights,...] [--libraries da_toolkit,...] [--no-write]``

Every (library, problem, method) is one cell: all libraries draw the same problem from its seed (scenarios.covariate)
and are measured by the same harness (peers/weight_peers.py). Finished cells are kept in benchmarks/_cache/
weights.jsonl; delete it after a change of the code. Writes RESULTS.md.

- Weights: median rank correlation with the true ratio, and median squared error in units of its variance (0 is
  perfect, 1 is what equal weights reach).
- Models: accuracy, or squared error in regression, on 4000 fresh target rows.
- Time and memory of the whole fit, d = 20.
- No shift: effective share of the source and predictions that change.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _cells import markdown, write_section
from _peers import Records, find_libraries, in_threads

ENVIRONMENTS = {"da_toolkit": None, "skada": "skada", "adapt": "adapt", "densratio": "densratio"}
DEFAULT = "ClassifierRatio (default)"
BOUNDS = ("source only", "true weights", "target-trained")
SLOW = {("densratio", "uLSIF"), ("densratio", "RuLSIF")}  # 20 s at n = 2000: timed there, but not repeated
SIZES = (1000, 2000, 10_000, 100_000)


# --- problems: (kind, rows a side, seed, columns, shifted) ----------------------------------------------------


def weights(quick):
    for kind, d in [(kind, d) for kind in ("moved", "narrowed", "mixture") for d in (2, 10, 20)]:
        for n, seeds in ((500, 3), (2000, 2)) if quick else ((500, 20), (2000, 10)):
            yield from ((kind, n, seed, d, True) for seed in range(seeds))


def models(quick):
    for kind, d in (("moved", 2), ("moved", 10), ("moved", 20), ("regression", 1)):
        for n, seeds in ((500, 5), (2000, 5)) if quick else ((500, 20), (2000, 20)):
            yield from ((kind, n, seed, d, True) for seed in range(seeds))


def cost(_quick):
    yield from (("moved", n, 0, 20, True) for n in SIZES)


def unshifted(quick):
    for d, seed in [(d, seed) for d in (2, 10, 20) for seed in range(3 if quick else 20)]:
        yield ("moved", 500, seed, d, False)


# --- cells --------------------------------------------------------------------------------------------------


class Bench:
    """Fills missing cells through the harness, one process per library, and remembers them all."""

    def __init__(self, args):
        self.args = args
        self.results = Records("weights.jsonl")
        wanted = {library: ENVIRONMENTS[library] for library in args.libraries.split(",")}
        self.commands, self.methods, self.notes = find_libraries("weight_peers.py", wanted)

    def run(self, problems, deadline, skip, n_jobs) -> int:
        """Measure what is missing, problem by problem; the number of cells that the deadline left out."""
        jobs = [
            (library, method, problem)
            for problem in problems
            for library, methods in self.methods.items()
            for method in methods
            if key(library, method, problem) not in self.results and not skip(library, method, problem)
        ]
        in_threads(jobs, self._measure, self.commands, n_jobs, deadline)
        return sum(key(*job) not in self.results for job in jobs)

    def _measure(self, processes, job):
        library, method, problem = job
        asked = {"key": key(*job), "method": method, "problem": problem, "cap": self.args.cap}
        self.results.add(processes.ask(library, asked))

    def values(self, library, method, problems, field):
        """The measured values of some problems, NaN where there is none."""
        found = (self.results.get(key(library, method, p), {}).get(field) for p in problems)
        return np.array([np.nan if value is None else value for value in found], float)

    def failure(self, library, method, problem):
        """Why there is no value."""
        record = self.results.get(key(library, method, problem), {})
        return record["error"].split(":")[0] if "error" in record else "skipped"

    def rows(self):
        """Every method: this library's bounds, default and ratios, then the peers'."""
        return [(library, method) for library, methods in self.methods.items() for method in methods]


def key(library, method, problem):
    return f"{library} | {method} | {' '.join(map(str, problem))}"


# --- tables -------------------------------------------------------------------------------------------------


def groups(problems):
    """Problems that differ in the seed alone, by (kind, n, d)."""
    found = {}
    for problem in problems:
        kind, n, _, d, _ = problem
        found.setdefault((kind, n, d), []).append(problem)
    return found


def measured(bench, problems):
    """The groups of which time allowed the default on every draw."""
    known = lambda group: np.isfinite(bench.values("da_toolkit", DEFAULT, group, "misfit")).all()  # noqa: E731
    return {name: group for name, group in groups(problems).items() if known(group)}


def weight_tables(bench, problems):
    tables = []
    for n in dict.fromkeys(problem[1] for problem in problems):
        cells = {(kind, d): group for (kind, size, d), group in measured(bench, problems).items() if size == n}
        body = []
        for library, method in bench.rows():
            if method in BOUNDS:
                continue
            line = [method, library]
            for group in cells.values():
                pair = [np.median(bench.values(library, method, group, field)) for field in ("rank", "misfit")]
                line.append(
                    bench.failure(library, method, group[0]) if np.isnan(pair[1]) else "{:.2f} / {:.2f}".format(*pair)
                )
            body.append(line)
        if not cells:
            continue
        head = [f"n = {n}: rank correlation / error", "", *(f"{kind}, d = {d}" for kind, d in cells)]
        tables.append(markdown(head, body))
    return "\n\n".join(tables)


def model_table(bench, problems):
    cells = measured(bench, problems)
    body = []
    for library, method in bench.rows():
        line = [method, library]
        for group in cells.values():
            scores = bench.values(library, method, group, "score")
            line.append(bench.failure(library, method, group[0]) if np.isnan(scores).any() else f"{scores.mean():.3f}")
        body.append(line)
    head = ["", "", *(f"{'MSE' if kind == 'regression' else 'accuracy'}, d = {d}, n = {n}" for kind, n, d in cells)]
    return markdown(head, body) + "\n\n" + gap_table(bench, cells)


def gap_table(bench, cells):
    """The default against the best peer of every column, and against the true weights, on the same draws."""
    body = []
    for (kind, n, d), group in cells.items():
        sign = -1 if kind == "regression" else 1
        ours, true = (sign * bench.values("da_toolkit", m, group, "score") for m in (DEFAULT, "true weights"))
        peers = {row: sign * bench.values(*row, group, "score") for row in bench.rows() if row[0] != "da_toolkit"}
        peers = {row: scores for row, scores in peers.items() if not np.isnan(scores).any()}
        line = [f"{kind}, d = {d}, n = {n}"]
        if peers:
            best = max(peers, key=lambda row: peers[row].mean())
            gap, error = paired(ours - peers[best])
            line += [f"{best[0]} {best[1]}", f"{gap:+.3f} (s.e. {error:.3f})", "yes" if gap >= -2 * error else "**no**"]
        else:
            line += ["none was run", "", ""]
        gap, error = paired(ours - true)
        body.append([*line, f"{gap:+.3f} (s.e. {error:.3f})"])
    head = ["the default beyond ... (points of MSE: smaller is better, sign turned)", "best peer", "gap"]
    return markdown([*head, "at or above, up to two s.e.", "gap to true weights"], body)


def paired(differences):
    """Mean and its standard error."""
    return differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))


def cost_table(bench, problems):
    body = []
    for library, method in bench.rows():
        line = [method, library]
        for problem in problems:
            record = bench.results.get(key(library, method, problem), {})
            if "cpu" in record:
                line.append(f"{record['cpu']:.3g} / {max(record['peak_mb'], 1):.0f} / {record['score']:.3f}")
            else:
                line.append(bench.failure(library, method, problem))
        body.append(line)
    return markdown(["CPU s / MB / accuracy", "", *(f"n = {problem[1]:,}" for problem in problems)], body)


def unshifted_table(bench, problems):
    cells, body = groups(problems), []
    for method in bench.methods["da_toolkit"]:
        if method in BOUNDS:
            continue
        line, smallest = [method], 1.0
        for group in cells.values():
            share, changed = (bench.values("da_toolkit", method, group, field) for field in ("ess", "changed"))
            line.append(f"{share.mean():.3f} ({share.min():.2f}) / {100 * changed.mean():.2f} %")
            smallest = min(smallest, share.mean())
        body.append([*line, "yes" if smallest >= 0.9 else "**no**"])
    head = ["", *(f"d = {d}" for _, _, d in cells), "mean share at least .9"]
    return markdown(head, body)


# name: (title, problems, table, sentence)
SECTIONS = {
    "models": (
        "Weights: models trained with them",
        models,
        model_table,
        "Mean over draws on 4000 fresh target rows; logistic regression where no straight line fits, linear regression "
        "of a sine. Ours through `ImportanceWeighting` with its default exponent, peers through their own wrappers; "
        "defaults, or the grid that is named.",
    ),
    "weights": (
        "Weights: the known ratio",
        weights,
        weight_tables,
        "Medians over draws. Error in units of the true ratio's variance: 0 is perfect, 1 is what equal weights reach.",
    ),
    "unshifted": (
        "Weights: no shift",
        unshifted,
        unshifted_table,
        "n = 500 a side. Mean (smallest) effective share of the source under the ratio's weights / predictions that "
        "differ from the plain model's.",
    ),
    "cost": (
        "Weights: time and memory",
        cost,
        cost_table,
        'Whole fit of one draw of "moved" with d = 20, logistic regression, one thread; memory beyond what the '
        "process held before.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 15 minutes at most on an idle machine")
    parser.add_argument("--minutes", type=float, help="time at most (19 with --quick, else 115)")
    parser.add_argument("--cap", type=float, help="CPU seconds a fit may take (60 with --quick, else 120)")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--libraries", default=",".join(ENVIRONMENTS))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    args.cap = args.cap or (60 if args.quick else 120)
    deadline = time.time() + 60 * (args.minutes or (19 if args.quick else 115))
    bench = Bench(args)

    def skip(library, method, problem):
        _, n, _, _, shifted = problem
        if not shifted:
            return library != "da_toolkit" or method in BOUNDS
        if n > 2000 and n in SIZES:  # what took a tenth of the cap at a fifth or tenth of the rows would pass it
            before = ("moved", {10_000: 2000, 100_000: 10_000}[n], *problem[2:])
            record = bench.results.get(key(library, method, before), {"error": ""})
            return "error" in record or record["cpu"] > args.cap / 10 or record["peak_mb"] > 1000
        return n > 500 and (library, method) in SLOW and problem not in set(cost(args.quick))

    for name in args.sections.split(","):
        title, make, table, sentence = SECTIONS[name]
        problems = list(make(args.quick))
        if name == "cost":  # one process, one size after another: what is too slow for one is not tried at the next
            left = sum(bench.run([problem], deadline, skip, 1) for problem in problems)
        else:
            left = bench.run(problems, deadline, skip, args.n_jobs)
        if left:
            sentence += f" Not run for lack of time: {left} cells."
        body = " ".join([sentence, *(f"{note}." for note in bench.notes)]) + "\n\n" + table(bench, problems)
        print(f"\n## {title}\n\n{body}", flush=True)
        if not args.no_write:
            write_section(title, "python benchmarks/bench_weights.py" + (" --quick" if args.quick else ""), body)


if __name__ == "__main__":
    main()
