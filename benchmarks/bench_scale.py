"""Diagnosis of tables larger than memory: time, memory, the same answer.

``python benchmarks/bench_scale.py [--quick] [--sections growth,...] [--folder FOLDER] [--no-write]``

Every measurement is a process of its own, which says what it took: wall-clock seconds of the call of `diagnose`, CPU
seconds of the process, and the largest memory it ever held, interpreter and libraries included. Tables are generated as
Parquet files of a million rows in a temporary folder (4 GB for the full bench) and deleted afterwards. Writes
RESULTS.md.

- Growth: 20 columns, from 10^5 rows a side up to 20 million.
- Memory: the same rows in memory and in files; verdict, p-values and effects beside each other.
- Dask: two worker processes beside one process; once more with a worker killed.
- Wide: 100 columns, beside libraries whose users report hours (evidently issues 763 and 1526), where they are installed
  (peers/README.md), each stopped after its cap.
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
    from shift_detectors import diagnose

    source, target = (Path(path) for path in cell["sides"])
    options = {"random_state": 0, "n_jobs": 2}
    if cell["how"] == "files":
        found, seconds = timed(lambda: diagnose(source, "y", target, None, **options))
    elif cell["how"] == "memory":
        frames = [pd.read_parquet(path) for path in (source, target)]
        X = [frame.drop(columns="y") for frame in frames]
        found, seconds = timed(lambda: diagnose(X[0], frames[0]["y"], X[1], None, **options))
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
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


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


def run(how, sides, cap=None):
    """The record of a cell, or why there is none."""
    cell = json.dumps({"how": how, "sides": [str(path) for path in sides]})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--cell", cell]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=cap)
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {cap / 60:.0f} min"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return {"error": "out of memory" if done.returncode == -signal.SIGKILL else reason[:60]}
    return json.loads(done.stdout.strip().splitlines()[-1])


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
    for n in (50_000,) if quick else (100_000, 1_000_000):
        sides = write(folder, n, 20)
        records = {how: run(how, sides) for how in ("memory", "files")}
        clean(sides)
        for how, record in records.items():
            if "error" in record:
                body.append([f"{n:,}", how, record["error"], *[""] * 5])
                continue
            other = records["memory"].get("effects", {})
            gap = max((abs(v - other.get(name, v)) for name, v in record["effects"].items()), default=0.0)
            body.append(
                [
                    f"{n:,}",
                    how,
                    f"{record['seconds']:.0f}",
                    f"{record['mb']:.0f}",
                    record["verdict"],
                    f"{record['pvalues']['JointTest']:.3f}",
                    ", ".join(record["changed"]),
                    f"{gap:.5f}",
                ]
            )
    head = ["rows a side", "", "s", "peak MB", "verdict", "p of JointTest", "features that differ"]
    return markdown([*head, "largest gap of an effect to memory"], body)


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


def run_peer(python, peer, sides, cap):
    """A peer's own call on the same rows, read with pandas, in its environment."""
    script = Path(__file__).parent / "peers" / "scale_peers.py"
    command = [str(python), str(script), peer, *map(str, sides)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=cap)
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {cap / 60:.0f} min"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return {"error": "out of memory" if done.returncode == -signal.SIGKILL else reason[:60]}
    return json.loads(done.stdout.strip().splitlines()[-1])


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
        "The same rows, held as frames or read from files.",
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
        "evidently: DataDriftPreset; NannyML: univariate drift with its default methods; both with the rows in memory.",
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
