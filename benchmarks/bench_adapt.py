"""The whole loop on the demo scenes and on a no-shift control.

``python benchmarks/bench_adapt.py [--quick] [--redraws 30] [--controls 200]`` redraws every scene, adapts without
target labels and compares the true target score before and after; the control counts how often the model is left
alone when nothing shifted. Writes RESULTS.md; cells are cached in benchmarks/_cache.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from _cells import rate, run_cell, write_section
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit import adapt, datasets


def scene_once(seed, name):
    """Status, adapter and true target scores of one redraw."""
    pair = datasets.load_scene(name, random_state=seed)
    model = Ridge() if pair.task == "regression" else LogisticRegression(max_iter=1000)
    model = make_pipeline(StandardScaler(), model)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = adapt(model, *pair.seen, random_state=seed)
    seconds = time.perf_counter() - start
    before = model.fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    after = result.estimator.score(pair.X_target, pair.y_target)
    return [result.report.verdict.kind, result.adapter, result.status, before, after, seconds]


def control_once(seed, task):
    """Whether the model is left alone without a shift."""
    pair = datasets.make_no_shift(task=task, random_state=seed)
    model = Ridge() if task == "regression" else LogisticRegression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = adapt(model, *pair.seen, random_state=seed)
    return [result.status == "unchanged", result.report.verdict.kind]


def counts(values):
    """Values with their frequencies, the most frequent first."""
    return ", ".join(f"{v} {values.count(v)}" for v in sorted(set(values), key=values.count, reverse=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redraws", type=int, default=30)
    parser.add_argument("--controls", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="8 redraws, 40 controls")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--n-jobs", type=int, default=2)
    args = parser.parse_args()
    redraws, controls = (8, 40) if args.quick else (args.redraws, args.controls)
    deadline = time.time() + 60 * (20 if args.quick else args.minutes)
    command = "python benchmarks/bench_adapt.py" + (" --quick" if args.quick else "")

    rows = [
        "| scene | verdict | adapter, status | before | after | true gain [90 %] | harmed > 1 point | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scene in datasets.list_scenes():
        done = run_cell(
            f"scene_{scene.name}",
            lambda seed, name=scene.name: scene_once(seed, name),
            redraws,
            n_jobs=args.n_jobs,
            chunk=10,
            deadline=deadline,
        )
        if not done:
            rows.append(f"| {scene.name} | skipped | | | | | | |")
            continue
        before, after = np.array([[d[3], d[4]] for d in done]).T
        gain = after - before
        half = student.isf(0.05, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        rows.append(
            f"| {scene.name} | {counts([d[0] for d in done])} | {counts([f'{d[1]} {d[2]}' for d in done])} "
            f"| {before.mean():.3f} | {after.mean():.3f} "
            f"| {gain.mean():+.4f} [{gain.mean() - half:+.4f}, {gain.mean() + half:+.4f}] "
            f"| {(gain < -0.01).sum()} of {len(gain)} | {np.median([d[5] for d in done]):.1f} |"
        )
        print(rows[-1], flush=True)
    control = ["| control | left alone [95 % interval] | repeats | verdicts |", "|---|---|---|---|"]
    for task in ("classification", "regression"):
        done = run_cell(
            f"control_{task}",
            lambda seed, task=task: control_once(seed, task),
            controls,
            n_jobs=args.n_jobs,
            deadline=deadline,
        )
        control.append(
            f"| no shift, {task} | {rate([d[0] for d in done])} | {len(done)} | {counts([d[1] for d in done])} |"
        )
        print(control[-1], flush=True)
    write_section(
        "The demo scenes, redrawn",
        command,
        "Accuracy (R2 for diabetes) of a scaled logistic or ridge model, target labels hidden from the choice.\n\n"
        + "\n".join(rows),
    )
    write_section("No-shift control", command, "n = 1000 per side, d = 10.\n\n" + "\n".join(control))


if __name__ == "__main__":
    main()
