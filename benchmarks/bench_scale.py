"""Diagnosis of tables larger than memory: time, memory, the same answer.

``python benchmarks/bench_scale.py [--quick] [--sections growth,...] [--folder FOLDER] [--no-write]``

Every measurement is a process of its own, which says what it took: wall-clock seconds of the call of `diagnose`, CPU
seconds of the process, and the largest memory it ever held, interpreter and libraries included. Tables are generated as
Parquet files of a million rows in a temporary folder (4 GB for the full bench) and deleted afterwards. Writes
RESULTS.md.

- Growth: 20 columns, from 10^5 rows a side up to 20 million.
- Memory: the same rows in files, in frames, and with every row in every test, as `diagnose` does with few rows;
  verdict, p-values and effects beside each other.
- Dask: two worker processes beside one process; once more with a worker killed.
- Wide: 100 columns, beside libraries whose users report hours (evidently issues 763 and 1526), where they are installed
  (peers/README.md), each stopped at a cap of time and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _cells import interpreter, markdown, write_section

PART = 1_000_000  # rows of a file
GOAL_SECONDS, GOAL_MB = 300, 2048
PEERS = ("evidently", "nannyml")
CAP_MB = 18 * 1024  # of a process that holds all rows


# --- tables -------------------------------------------------------------------------------------------------


def rows(n, columns, seed, shifted):
    """Numbers of several kinds, categories, missing values, and a label; the target moves in x0 and in one product."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, columns - 2), dtype=np.float32)
    X[:, 1] = 0.3 * X[:, 0] + X[:, 1] if shifted else X[:, 1]
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(columns - 2)])
    logit = X[:, 0] + X[:, 2]
    table["x0"] += np.float32(0.3 * shifted)
    table["x3"] = np.exp(table["x3"])
    table.loc[rng.random(n) < 0.1, "x4"] = np.nan
    table["visits"] = rng.poisson(3, n).astype(np.int32)
    table["ward"] = pd.Categorical.from_codes(rng.integers(0, 12, n), [f"ward {k}" for k in range(12)])
    table["y"] = (logit + rng.logistic(size=n) > 0).astype(np.int8)
    return table


def write(folder, n, columns):
    """Files of both sides, unless they are there; the folders."""
    sides = []
    for side, shifted in (("source", False), ("target", True)):
        path = folder / f"{side}-{n}-{columns}"
        if not path.exists():
            path.mkdir(parents=True)
            for k, start in enumerate(range(0, n, PART)):
                part = rows(min(PART, n - start), columns, [n, columns, k, shifted], shifted)
                part.to_parquet(path / f"part-{k}.parquet", row_group_size=PART // 8, index=False)
        sides.append(path)
    return sides


# --- one measurement, in a process of its own -----------------------------------------------------------------


def measure(cell):
    """Run one cell; what it took and found."""
    from shift_detectors import _domains, diagnose

    source, target = (Path(path) for path in cell["sides"])
    options = {"random_state": 0, "n_jobs": 2}
    if cell["how"] == "files":
        found, seconds = timed(lambda: diagnose(source, "y", target, "y" if cell["labelled"] else None, **options))
    elif cell["how"] in ("frames", "every row"):
        if cell["how"] == "every row":
            _domains.MANY = 2**62
        X = [pd.read_parquet(path) for path in (source, target)]
        y = [frame.pop("y") for frame in X]
        found, seconds = timed(lambda: diagnose(X[0], y[0], X[1], y[1] if cell["labelled"] else None, **options))
    else:
        found, seconds = on_cluster(source, target, cell["how"] == "dask, one killed", options)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "mb": peak_mb(),
        "verdict": f"{found.verdict.kind}, {found.verdict.strength}",
        "pvalues": {test.detector: test.pvalue for test in found.tests},
        "effects": {shift.feature: shift.effect.value for shift in found.features},
        "changed": sorted(shift.feature for shift in found.features if shift.pvalue <= 0.05),
    }


def peak_mb():
    """Largest memory of this process; ru_maxrss would begin with that of the process it was forked from."""
    known = memory_mb("self", "VmHWM")
    return known or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def memory_mb(process, what):
    """A line of a process's status; 0 where there is none."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0.0)


def on_cluster(source, target, kill, options):
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    from shift_detectors import diagnose

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        if kill:
            threading.Timer(5.0, lambda: os.kill(cluster.workers[0].pid, signal.SIGKILL)).start()
        frames = [dd.read_parquet(path, split_row_groups=True) for path in (source, target)]
        return timed(lambda: diagnose(frames[0], "y", frames[1], None, **options))


def timed(function):
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def run(how, sides, cap=None, labelled=False):
    """The record of a cell, or why there is none."""
    cell = json.dumps({"how": how, "sides": [str(path) for path in sides], "labelled": labelled})
    return finished([sys.executable, __file__, "--cell", cell], cap)


def run_peer(python, peer, sides, cap):
    """A peer's own call on the same rows, read with pandas, in its environment."""
    return finished([str(python), str(Path(__file__).parent / "peers" / "scale_peers.py"), peer, *map(str, sides)], cap)


def finished(command, cap):
    """What a process prints in its last line, or why it did not: with a cap of seconds it has one of memory, too."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=out, stderr=errors)
        end, stopped = time.time() + (cap or float("inf")), ""
        while process.poll() is None:
            time.sleep(0.2)
            if time.time() > end:
                stopped = f"stopped after {cap / 60:.0f} min"
            elif cap and memory_mb(process.pid, "VmRSS") > CAP_MB:
                stopped = f"stopped at {CAP_MB // 1024} GB"
            if stopped:
                process.kill()
                process.wait()
        out.seek(0)
        errors.seek(0)
        if stopped or process.returncode == -signal.SIGKILL:
            return {"error": stopped or "out of memory"}
        if process.returncode:
            return {"error": (errors.read().strip().splitlines() or ["ended without a word"])[-1][:60]}
        return json.loads(out.read().strip().splitlines()[-1])


# --- sections -----------------------------------------------------------------------------------------------


def growth(folder, quick):
    sizes = (100_000, 300_000, 1_000_000, 2_000_000) if quick else (100_000, 1_000_000, 5_000_000, 20_000_000)
    body, records = [], {}
    for n in sizes:
        sides = write(folder, n, 20)
        records[n] = record = run("files", sides)
        stored = sum(path.stat().st_size for side in sides for path in side.iterdir()) / 2**20
        clean(sides)
        if "error" in record:
            body.append([f"{n:,}", f"{stored:.0f}", record["error"], "", "", "", ""])
            continue
        within = record["seconds"] <= GOAL_SECONDS and record["mb"] <= GOAL_MB
        body.append(
            [
                f"{n:,}",
                f"{stored:.0f}",
                f"{record['seconds']:.0f}",
                f"{record['cpu']:.0f}",
                f"{record['mb']:.0f}",
                record["verdict"],
                "yes" if within else "**no**",
            ]
        )
    known = {n: record["cpu"] for n, record in records.items() if "cpu" in record}
    text = ""
    if len(known) > 1:
        small, large = min(known), max(known)
        slope = (known[large] - known[small]) / (large - small) * 1e6
        text = f"\n\nEach further million rows a side costs {slope:.1f} CPU s; the rest is the diagnosis of the sample."
    head = [
        "rows a side",
        "MB of Parquet",
        "s",
        "CPU s",
        "peak MB",
        "verdict",
        f"within {GOAL_SECONDS} s and {GOAL_MB} MB",
    ]
    return markdown(head, body) + text


def memory(folder, quick):
    body = []
    # with labels on both sides four quantities are tested, and permutations of every row take twice the memory
    for n, labelled in ((60_000, True),) if quick else ((100_000, True), (1_000_000, False)):
        sides = write(folder, n, 20)
        records = {how: run(how, sides, 3600, labelled) for how in ("every row", "frames", "files")}
        clean(sides)
        for how, record in records.items():
            size = f"{n:,}, {'labelled' if labelled else 'target unlabelled'}"
            if "error" in record:
                body.append([size, how, record["error"], *[""] * 5])
                continue
            other = records["every row"].get("effects", {})
            gap = max((abs(v - other[name]) for name, v in record["effects"].items()), default=0.0) if other else None
            tests = [name for name in ("JointTest", "LabelTest", "StratifiedTest") if name in record["pvalues"]]
            body.append(
                [
                    size,
                    how,
                    f"{record['seconds']:.0f}",
                    f"{record['mb']:.0f}",
                    record["verdict"],
                    ", ".join(f"{name} {record['pvalues'][name]:.3f}" for name in tests),
                    ", ".join(record["changed"]),
                    "" if gap is None else f"{gap:.5f}",
                ]
            )
    head = ["rows a side", "", "s", "peak MB", "verdict", "p", "features that differ"]
    return markdown([*head, "largest gap of an effect to every row"], body)


def dask(folder, quick):
    n = 300_000 if quick else 2_000_000
    sides = write(folder, n, 20)
    records = {how: run(how, sides) for how in ("files", "dask", "dask, one killed")}
    clean(sides)
    body = []
    for how, record in records.items():
        if "error" in record:
            body.append([how, record["error"], "", ""])
            continue
        same = {k: record[k] for k in ("verdict", "pvalues", "effects")} == {
            k: records["files"].get(k) for k in ("verdict", "pvalues", "effects")
        }
        ratio = record["seconds"] / records["files"].get("seconds", np.nan)
        body.append([how, f"{record['seconds']:.0f}", f"{ratio:.2f}", "yes" if same else "**no**"])
    return markdown([f"{n:,} rows a side", "s", "times one process", "every number the same"], body)


def wide(folder, quick):
    n, cap = (100_000, 180) if quick else (3_000_000, 1200)
    sides = write(folder, n, 100)
    records = {"da_toolkit": run("files", sides, cap)}
    for peer in PEERS:
        python = interpreter(peer)
        records[peer] = {"error": "not installed"} if python is None else run_peer(python, peer, sides, cap)
    clean(sides)
    body = []
    for name, record in records.items():
        if "error" in record:
            body.append([name, record["error"], "", ""])
        else:
            body.append([name, f"{record['seconds']:.0f}", f"{record['mb']:.0f}", record["verdict"]])
    return markdown([f"{n:,} rows a side, 100 columns", "s", "peak MB", "says"], body)


def clean(sides):
    for path in sides:
        shutil.rmtree(path, ignore_errors=True)


# name: (title, function, sentence)
SECTIONS = {
    "growth": (
        "Scale: rows",
        growth,
        "One process, two threads, 20 columns; labels in the source only. Seconds of the whole `diagnose`; memory with "
        "interpreter and libraries.",
    ),
    "memory": (
        "Scale: the answer in memory",
        memory,
        "The same rows: each in every test and its permutations (what `diagnose` does up to 100 000 rows of both "
        "sides), or counted, from frames or from files.",
    ),
    "dask": (
        "Scale: Dask",
        dask,
        "A LocalCluster with two workers of one thread each; in the last line one is killed five seconds after the "
        "start. Time without starting the cluster.",
    ),
    "wide": (
        "Scale: 100 columns",
        wide,
        "evidently: DataDriftPreset; NannyML: univariate drift with its default methods; both with the rows in memory. "
        f"Each is stopped after 20 minutes (3 with --quick) or at {CAP_MB // 1024} GB.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 2 million rows, 15 minutes at most")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--folder", help="where the tables go (a temporary folder by default)")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(measure(json.loads(args.cell))))
        return
    command = "python benchmarks/bench_scale.py" + (" --quick" if args.quick else "")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name in args.sections.split(","):
            title, function, sentence = SECTIONS[name]
            load = os.getloadavg()[0]
            body = f"{sentence}\n\n{function(Path(folder), args.quick)}\n\nLoad of the machine before: {load:.1f}."
            print(f"\n## {title}\n\n{body}", flush=True)
            if not args.no_write:
                write_section(title, command, body)


if __name__ == "__main__":
    main()
