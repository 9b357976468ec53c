"""Level of every test and accuracy of the verdict, on data whose shift is known.

``python benchmarks/bench_verdict.py [--quick] [--repeats 200] [--minutes 110]`` prints the tables and writes
them into RESULTS.md; ``--level ConditionalScoreTest`` or ``--level sites`` prints the levels whose name has it.
Cells are cached in benchmarks/_cache; delete it to start afresh.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _cells import level_met, rate, run_cell, write_section

from da_toolkit import datasets
from shift_detectors import (
    ConditionalScoreTest,
    DomainClassifierTest,
    EnergyTest,
    FeatureTest,
    JointTest,
    LabelShiftFitTest,
    LabelTest,
    MMDTest,
    MomentTest,
    StratifiedTest,
    diagnose,
)

N = 1000


def round_features(X):
    """Ties everywhere: features rounded to multiples of one half."""
    return np.round(X * 2) / 2


def no_shift(seed, task="classification", **kw):
    return datasets.make_no_shift(N, N, task=task, random_state=seed, **kw)


def strong_covariate(seed, task="classification", **kw):
    return datasets.make_covariate_shift(N, N, strength="strong", task=task, random_state=seed, **kw)


def label_shift(seed, task="classification", **kw):
    return datasets.make_label_shift(N, N, task=task, random_state=seed, **kw)


def rare_class(seed):
    """One row in a hundred is of the second class; of the 300 target rows three are expected to be, or one, or none."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(2 * N, 4)), rng.normal(size=(300, 4))
    y, y_target = ((rng.random(len(rows)) < 0.01).astype(int) for rows in (X, X_target))
    return datasets.DomainPair(X, y, X_target, y_target, "none", "classification", "rare_class", "")


def labelled(rng, X, X_target):
    """The two samples, with classes that depend on their last column."""
    y, y_target = ((rows[:, -1] + rng.normal(size=len(rows)) > 0).astype(int) for rows in (X, X_target))
    return datasets.DomainPair(X, y, X_target, y_target, "none", "classification", "no_shift", "")


def heavy_tails(seed):
    """Columns from a t distribution with 1.5 degrees of freedom: no variance."""
    rng = np.random.default_rng(seed)
    return labelled(rng, *rng.standard_t(1.5, (2, N, 10)))


def many_columns(seed):
    rng = np.random.default_rng(seed)
    return labelled(rng, *rng.normal(size=(2, 200, 400)))


def ten_to_one(seed):
    rng = np.random.default_rng(seed)
    return labelled(rng, rng.normal(size=(N, 10)), rng.normal(size=(N // 10, 10)))


def sites(seed):
    """30 sites on either side, each with a mean of its own."""
    rng = np.random.default_rng(seed)
    sides, groups = [], {}
    for k, name in enumerate(("groups", "groups_target")):
        site = np.repeat(np.arange(30), rng.integers(10, 40, 30))
        sides.append(rng.normal(size=(30, 5))[site] + rng.normal(size=(len(site), 5)))
        groups[name] = 100 * k + site
    return labelled(rng, *sides), groups


def stations(seed):
    """30 stations, each with rows on both sides and three columns that are constant in it."""
    rng = np.random.default_rng(seed)
    place = np.column_stack([rng.gamma(2, 1, 30), rng.normal(size=30), rng.integers(0, 3, 30)])
    sides, groups = [], {}
    for mean, name in ((24, "groups"), (18, "groups_target")):
        station = np.repeat(np.arange(30), rng.poisson(mean, 30) + 1)
        sides.append(np.column_stack([place[station], place[station, :2] + rng.normal(size=(len(station), 2))]))
        groups[name] = station
    return labelled(rng, *sides), groups


# detector, null that it must hold, data, bound of the level (asymptotic conditional tests: .065)
X_TESTS = {t.__name__: t for t in (FeatureTest, EnergyTest, MMDTest, MomentTest, JointTest, DomainClassifierTest)}
LEVEL = {}
for name, test in X_TESTS.items():
    LEVEL[f"{name}, no shift"] = (test, no_shift, {}, False, 0.05)
    LEVEL[f"{name}, no shift, ties"] = (test, no_shift, {}, True, 0.05)
    LEVEL[f"{name}, no shift, mixed frame"] = (test, no_shift, {"as_frame": True}, False, 0.05)
    for null, data in (
        ("heavy tails", heavy_tails),
        ("400 columns", many_columns),
        ("10 to 1", ten_to_one),
        ("sites", sites),
        ("stations on both sides", stations),
    ):
        LEVEL[f"{name}, {null}"] = (test, data, {}, False, 0.05)
for name, test in (("LabelTest", LabelTest), ("StratifiedTest", StratifiedTest)):
    for null, data in (("sites", sites), ("stations on both sides", stations)):
        LEVEL[f"{name}, {null}"] = (test, data, {}, False, 0.065)
for task in ("classification", "regression"):
    kw = {"task": task}
    LEVEL[f"LabelTest, no shift, {task}"] = (LabelTest, no_shift, kw, False, 0.05)
    LEVEL[f"LabelTest, no shift, ties, {task}"] = (LabelTest, no_shift, kw, True, 0.05)
    exact = 0.05 if task == "classification" else 0.065
    LEVEL[f"StratifiedTest, no shift, {task}"] = (StratifiedTest, no_shift, kw, False, exact)
    LEVEL[f"StratifiedTest, label shift, {task}"] = (StratifiedTest, label_shift, kw, False, exact)
    LEVEL[f"ConditionalScoreTest, no shift, {task}"] = (ConditionalScoreTest, no_shift, kw, False, 0.065)
    LEVEL[f"ConditionalScoreTest, no shift, ties, {task}"] = (ConditionalScoreTest, no_shift, kw, True, 0.065)
    LEVEL[f"ConditionalScoreTest, strong p(x) shift, {task}"] = (
        ConditionalScoreTest,
        strong_covariate,
        kw,
        False,
        0.065,
    )
    LEVEL[f"LabelShiftFitTest, no shift, {task}"] = (LabelShiftFitTest, no_shift, kw, False, 0.065)
    LEVEL[f"LabelShiftFitTest, label shift, {task}"] = (LabelShiftFitTest, label_shift, kw, False, 0.065)
LEVEL["ConditionalScoreTest, strong p(x) shift, mixed frame"] = (
    ConditionalScoreTest,
    strong_covariate,
    {"as_frame": True},
    False,
    0.065,
)
LEVEL["ConditionalScoreTest, no shift, rare class"] = (ConditionalScoreTest, rare_class, {}, False, 0.065)


def level_once(seed, detector, data, kw, ties):
    """p-value of one repeat."""
    drawn = data(seed, **kw)
    pair, groups = drawn if isinstance(drawn, tuple) else (drawn, {})
    # rounding both sides alike keeps "p(x) equal"; y was drawn before, so p(y|x) stays equal without a shift
    change = round_features if ties else (lambda X: X)
    labels = {"y_source": pair.y_source, "y_target": pair.y_target} if detector.requires else {}
    if detector.requires == {"y_source"}:
        labels.pop("y_target")
    X, X_target = change(pair.X_source), change(pair.X_target)
    return detector(random_state=seed).test(X, X_target, **labels, **groups).pvalue


KINDS = {
    "none": datasets.make_no_shift,
    "covariate": datasets.make_covariate_shift,
    "label": datasets.make_label_shift,
    "concept": datasets.make_concept_shift,
    "conditional": datasets.make_conditional_shift,
    "mixed": datasets.make_mixed_shift,
    "support": datasets.make_support_shift,
}
LABELLED = ("none", "covariate", "label", "concept")
UNLABELLED = ("none", "covariate", "label")
OTHERS = ("conditional", "mixed", "support")  # a third of the repeats


def verdict_once(seed, kind, task, labelled):
    pair = KINDS[kind](N, N, task=task, random_state=seed)
    start = time.perf_counter()
    report = diagnose(
        pair.X_source, pair.y_source, pair.X_target, pair.y_target if labelled else None, random_state=seed
    )
    return [report.verdict.kind, time.perf_counter() - start]


def level_table(repeats, n_jobs, deadline, only=""):
    rows = ["| test, null | rate at .05 [95 % interval] | repeats | held to | met |", "|---|---|---|---|---|"]
    for name, (detector, data, kw, ties, bound) in LEVEL.items():
        if only not in name:
            continue
        p = run_cell(
            f"level {name}".replace(" ", "_").replace(",", ""),
            lambda seed, d=detector, g=data, k=kw, t=ties: level_once(seed, d, g, k, t),
            repeats,
            n_jobs=n_jobs,
            deadline=deadline,
        )
        hits = [value <= 0.05 for value in p]
        met = "-" if not hits else "yes" if level_met(hits, bound, len(LEVEL)) else "**no**"
        rows.append(f"| {name} | {rate(hits)} | {len(hits)} | {bound} | {met} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def verdict_rows(kinds, task, labelled, repeats, n_jobs, deadline):
    rows = []
    for kind in kinds:
        done = run_cell(
            f"verdict_{kind}_{task}_{'labelled' if labelled else 'unlabelled'}",
            lambda seed, k=kind: verdict_once(seed, k, task, labelled),
            repeats,
            n_jobs=n_jobs,
            deadline=deadline,
        )
        found = [d[0] for d in done]
        others = {k: found.count(k) for k in sorted(set(found)) if k != kind}
        text = ", ".join(f"{k} {c}" for k, c in others.items()) or "-"
        seconds = np.median([d[1] for d in done]) if done else float("nan")
        rows.append(f"| {kind}, {task} | {rate([k == kind for k in found])} | {len(found)} | {text} | {seconds:.1f} |")
        print("labelled  " if labelled else "unlabelled", rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="40 repeats, 20 minutes at most")
    parser.add_argument("--level", metavar="NAME", help="the levels whose name has this alone; print only")
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    repeats = 40 if args.quick else args.repeats
    deadline = time.time() + 60 * (20 if args.quick else args.minutes)
    command = "python benchmarks/bench_verdict.py" + (" --quick" if args.quick else f" --repeats {args.repeats}")
    options = {"n_jobs": args.n_jobs, "deadline": deadline}
    if args.level:
        level_table(repeats, **options, only=args.level)
        return
    # the cells that matter most come first, in case the time runs out
    known, unknown = [], []
    unknown += verdict_rows(UNLABELLED, "classification", False, repeats, **options)
    known += verdict_rows(LABELLED, "classification", True, repeats, **options)
    levels = level_table(repeats, args.n_jobs, deadline)
    known += verdict_rows(LABELLED, "regression", True, repeats, **options)
    unknown += verdict_rows(UNLABELLED, "regression", False, repeats, **options)
    for task in ("classification", "regression"):
        known += verdict_rows(OTHERS, task, True, repeats // 3, **options)
        unknown += verdict_rows(("support",), task, False, repeats // 3, **options)
    if not args.no_write:
        note = f"n = {N} per side, d = 10, moderate strength (strength 1 of the generators)."
        head = "| truth, task | right [95 % interval] | repeats | other verdicts | seconds |\n|---|---|---|---|---|\n"
        write_section("Verdict with target labels", command, f"{note}\n\n{head}" + "\n".join(known))
        write_section("Verdict without target labels", command, f"{note}\n\n{head}" + "\n".join(unknown))
        write_section("Level of every test", command, f"{note}\n\n{levels}")


if __name__ == "__main__":
    main()
