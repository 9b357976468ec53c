"""False alarms over whole runs, and the delay of true ones, beside the online detectors of other libraries.

``python benchmarks/bench_monitor.py [--quick] [--libraries da_toolkit,...] [--no-write]``

Streams of 100 batches of 50 rows, six features and the probability that a fixed model gives, 1000 reference rows
(peers/monitor_peers.py). Every (method, stream) is one cell, kept in benchmarks/_cache/monitor.jsonl; delete it after
a change of the code. Writes RESULTS.md.

- False alarms: share of 1000 unchanged streams in which ShiftMonitor raises an alarm; .05 is promised.
- Delay: batches from the change to the alarm. The other detectors promise nothing about a whole run: their thresholds
  are set on unchanged streams so that one run in twenty has a false alarm, and ShiftMonitor is shown with its
  promise and with a threshold set in the same way.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np
from _cells import level_met, markdown, rate, write_section
from _peers import PEERS, Records, find_libraries, in_threads

sys.path.append(str(PEERS))
from monitor_peers import BATCHES, KINDS, N_BATCH, N_REFERENCE, ONSET  # noqa: E402

ENVIRONMENTS = {"da_toolkit": None, "alibi_detect": "monitor", "river": "monitor"}
ALPHA = 0.05
# what takes 10 to 60 s of CPU time per stream is for the full bench
SLOW = {"LSDDDriftOnline (window 50, 600 bootstraps)", "CVMDriftOnline (window 50)", "KSWIN"}
OURS = ("da_toolkit", "ShiftMonitor")


def n_streams(library: str, method: str, kind: str, quick: bool) -> int:
    """How many streams of a kind a method reads."""
    if library == "da_toolkit":
        return (200 if quick else 1000) if kind == "none" else (40 if quick else 200)
    if method in SLOW:
        return 0 if quick else 60 if kind == "none" else 20
    return (40 if quick else 100) if kind == "none" else (12 if quick else 40)


def turn(job) -> tuple[int, float]:
    """What comes first when time is short: our unchanged streams, then some of every kind and method, then the rest."""
    library, _, kind, seed = job
    if library == "da_toolkit" and kind == "none":
        return 0, seed
    enough = 20 if kind == "none" else 6 if library != "da_toolkit" else 40  # 20 runs set a threshold of one in 20
    return (1 if seed < enough else 2), seed / enough


def key(library, method, kind, seed):
    return f"{library} | {method} | {kind} {seed}"


class Bench:
    """Fills missing cells through the harness, and reads them."""

    def __init__(self, args):
        self.args = args
        self.results = Records("monitor.jsonl")
        wanted = {library: ENVIRONMENTS[library] for library in args.libraries.split(",")}
        self.commands, self.methods, self.notes = find_libraries("monitor_peers.py", wanted)

    def run(self, deadline) -> int:
        """Measure what is missing; the number of cells left out."""
        jobs = [
            (library, method, kind, seed)
            for library, methods in self.methods.items()
            for method in methods
            for kind in KINDS
            for seed in range(n_streams(library, method, kind, self.args.quick))
        ]
        missing = [job for job in sorted(jobs, key=turn) if key(*job) not in self.results]
        in_threads(missing, self._measure, self.commands, self.args.n_jobs, deadline)
        return sum(key(*job) not in self.results for job in jobs)

    def _measure(self, processes, job):
        library, method, kind, seed = job
        asked = {"key": key(*job), "method": method, "problem": [kind, seed], "cap": self.args.cap}
        self.results.add(processes.ask(library, asked))

    def records(self, library, method, kind):
        """What was measured without an error."""
        wanted = (key(library, method, kind, s) for s in range(n_streams(library, method, kind, self.args.quick)))
        return [self.results[k] for k in wanted if "statistic" in self.results.get(k, {})]

    def threshold(self, library, method) -> tuple[float, int]:
        """Statistic above which at most one unchanged run in twenty rises, and the number of runs."""
        tops = sorted((max(record["statistic"]) for record in self.records(library, method, "none")), reverse=True)
        return (tops[math.floor(ALPHA * len(tops))] if tops else math.nan), len(tops)


def false_alarms(bench) -> str:
    runs = bench.records(*OURS, "none")
    hits = [record["alarm"] is not None for record in runs]
    line = [f"{len(hits)}", rate(hits), "yes" if level_met(hits, ALPHA, 1) else "**no**"]
    return markdown(["unchanged streams", "share with an alarm [95 % CI]", "at most .05"], [line])


def delay(records, threshold) -> str:
    """Median delay with quartiles of the runs without a false alarm, and how many never got one."""
    found = []
    for record in records:
        above = np.flatnonzero(np.array(record["statistic"]) > threshold)
        if not len(above) or above[0] >= ONSET:
            found.append(above[0] - ONSET + 1 if len(above) else math.inf)
    if not found:
        return "skipped"
    low, middle, high = (np.quantile(found, q, method="inverted_cdf") for q in (0.25, 0.5, 0.75))
    missed = sum(map(math.isinf, found))
    low, middle, high = ("never" if math.isinf(value) else f"{value:.0f}" for value in (low, middle, high))
    return f"{middle} [{low}, {high}]" + (f" ({missed} of {len(found)} missed)" if missed else "")


def delays(bench) -> str:
    body = []
    for library, methods in bench.methods.items():
        for method in methods:
            threshold, n = bench.threshold(library, method)
            changed = [bench.records(library, method, kind) for kind in KINDS[1:]]
            seconds = [record["cpu"] for records in changed for record in records]
            cost = f"{1000 * np.median(seconds) / BATCHES:.1f}" if seconds else ""
            if (library, method) == OURS:
                own = math.log(1 / ALPHA) - 1e-9
                body.append([f"{method}, as promised", library, "", *(delay(r, own) for r in changed), cost])
            if not n:
                body.append([method, library, "not run", *[""] * len(changed), ""])
                continue
            body.append([method, library, f"{n}", *(delay(records, threshold) for records in changed), cost])
    head = ["median delay in batches [quartiles]", "", "runs that set the threshold", *KINDS[1:], "ms of CPU per batch"]
    return markdown(head, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer streams, 10 minutes at most on an idle machine")
    parser.add_argument("--minutes", type=float, help="time at most (10 with --quick, else 115)")
    parser.add_argument("--cap", type=float, default=300, help="CPU seconds a stream may take")
    parser.add_argument("--libraries", default=",".join(ENVIRONMENTS))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    bench = Bench(args)
    left = bench.run(time.time() + 60 * (args.minutes or (10 if args.quick else 115)))
    sentence = (
        f"{N_REFERENCE} reference rows, streams of {BATCHES} batches of {N_BATCH} rows, six features and the output of "
        f"a model; what changes does so after batch {ONSET}. Thresholds are set so that at most 5 % of whole unchanged "
        'runs have an alarm: by theory in "as promised", by these runs elsewhere. Runs with an earlier alarm do not '
        "count."
    )
    if left:
        sentence += f" Not run for lack of time: {left} cells."
    sentence = " ".join([sentence, *(f"{note}." for note in bench.notes)])
    body = f"{sentence}\n\n{false_alarms(bench)}\n\n{delays(bench)}"
    print(f"\n## Monitor: false alarms and delay\n\n{body}", flush=True)
    if not args.no_write:
        command = "python benchmarks/bench_monitor.py" + (" --quick" if args.quick else "")
        write_section("Monitor: false alarms and delay", command, body)


if __name__ == "__main__":
    main()
