"""Which policy chooses adapters best when the target's labels are hidden from the choice?

``python benchmarks/bench_selection.py [--quick] [--models logistic,ridge] [--draws 5] [--minutes 115]
[--only office,...] [--no-write]``

Every (shift, model, draw) is one cell: all fixed policies are fitted, the scores by which one could choose among them
are computed on a held-out fifth of the source, and `adapt` chooses by itself. Cells are kept, and go on where an
earlier run stopped: the policies in benchmarks/_cache/selection.jsonl (delete it after a change of an adapter or a
score), what `adapt` does in selection_adapt.jsonl (after a change of the diagnosis or the choice). Real data are found
as `da_toolkit.datasets.fetch` finds them. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
import warnings
from collections import defaultdict

import numpy as np
from _cells import CACHE, markdown, write_section
from joblib import Parallel, delayed
from scipy.stats import norm
from selection_problems import build, generated, models, real
from sklearn.base import clone, is_classifier
from sklearn.model_selection import train_test_split

from da_toolkit import ClassifierRatio, SourceOnly, adapt
from da_toolkit._registry import find
from da_toolkit.validation import CircularScore, DEVScore, EntropyScore, ImportanceWeightedScore
from shift_detectors._errors import InputError

FIXED_CELLS = CACHE / "selection.jsonl"
ADAPT_CELLS = CACHE / "selection_adapt.jsonl"
SOURCE_ONLY = "source only"
# fixed policies, by registry name; those that a task or a model cannot take count as source only
FIXED = (
    "ImportanceWeighting",
    "PriorCorrection",
    "FeatureAlignment(CORAL)",
    "FeatureAlignment(LinearOT)",
    "FeatureAlignment(OptimalTransport)",
    "FeatureAlignment(SubspaceAlignment)",
    "FeatureAlignment(LocationScale)",
    "FeatureAlignment(TCA)",
    "JDOT",
    "SelfTraining",
)
SLOW = ("FeatureAlignment(LocationScale)", "JDOT")  # left out with --quick: half of the time
USELESS = -1.0  # R2 of a model on the target below which points of R2 say nothing
FEW = 4  # shifts of a family that --quick takes (of generated ones all)
CHOOSERS = ("circular validation", "importance weighting", "DEV", "entropy")
OURS = "adapt"
CONTROLS = ("no shift", "concept only")
KINDS = ("logistic", "ridge", "boosting", "svm")
# the dozen real pairs that --draws draws several times
NAMED = (
    "mnist_usps mnist -> usps",
    "office_caltech10 amazon -> webcam",
    "amazon_reviews dvd -> books",
    "newsgroups comp_1+comp_2+rec_1+rec_2 -> comp_3+comp_4+rec_3+rec_4",
    "sms_mail_spam mail -> sms",
    "mushrooms enlarging -> tapering",
    "heart_disease cleveland -> hungarian",
    "acs_income CA -> MD",
    "bank_marketing 2008 -> 2009",
    "gas_sensor batch1 -> batch6",
    "bike_sharing 2011_* -> 2012_*",
    "california_housing *_coastal -> *_inland",
)


def run(shift, model_name, seed, names, fixed, chosen):
    """Two records of one cell, as plain dicts: the fixed policies and `adapt`; those that are known are kept."""
    sample = shift.make(seed)
    model = build(models(shift.task)[model_name], sample.X_source)
    about = {
        "key": key(shift, model_name, seed),
        "family": shift.family,
        "name": shift.name,
        "task": shift.task,
        "kind": shift.kind,
        "model": model_name,
        "n_target": int(sample.X_target.shape[0]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            base = _values(clone(model).fit(sample.X_source, sample.y_source), sample.X_test, sample.y_test)
            if fixed is None:
                policies = _fixed(model, sample, shift.task, seed, names)
                policies = {n: p | _compare(p.pop("values"), base, seed) for n, p in policies.items()}
                fixed = about | {"policies": policies}
            if chosen is None:
                ours = _ours(model, sample, seed)
                chosen = {"key": about["key"], "ours": ours | _compare(ours.pop("values"), base, seed)}
        except Exception as error:  # noqa: BLE001 - a cell that fails must not end the bench; it is counted
            failed = {"key": about["key"], "error": f"{type(error).__name__}: {error}"[:300]}
            return fixed or failed, chosen or failed
    return fixed, chosen


def _fixed(model, sample, task, seed, names):
    """Values per test row, and validation scores, of the fixed policies of these names."""
    X, y, X_target, X_test, y_test = sample
    stratify = y if task == "classification" and np.unique(y, return_counts=True)[1].min() > 1 else None
    train, held = train_test_split(np.arange(len(y)), test_size=0.2, stratify=stratify, random_state=seed)
    X_train, X_held = _rows(X, train), _rows(X, held)
    ratio = ClassifierRatio(random_state=seed).fit(X_train, X_target)  # once for all policies
    scorers = {
        "circular validation": CircularScore(X_target),
        "importance weighting": ImportanceWeightedScore(X_target, ratio),
        "DEV": DEVScore(X_target, seed),
        "entropy": EntropyScore(X_target),
    }
    policies = {}
    for name in (SOURCE_ONLY, *names):
        adapter = SourceOnly(clone(model)) if name == SOURCE_ONLY else _make(name, model, task, seed)
        start = time.perf_counter()
        try:
            if adapter is None:
                raise InputError("not for this task or model", "another")
            fitted = clone(adapter).fit(X, y, X_target)
            values = _values(fitted, X_test, y_test)
            seconds = time.perf_counter() - start
            partly = clone(adapter).fit(X_train, y[train], X_target)
            scores = {scorer: _score(s, partly, X_held, y[held]) for scorer, s in scorers.items()}
            policies[name] = {"values": values, "scores": scores, "seconds": seconds}
        except (InputError, ValueError, np.linalg.LinAlgError) as error:
            if name == SOURCE_ONLY:
                raise
            policies[name] = {"values": policies[SOURCE_ONLY]["values"], "refused": str(error)[:100]}
    return policies


def _score(scorer, fitted, X, y):
    try:
        return float(scorer(fitted, X, y))
    except (InputError, ValueError, np.linalg.LinAlgError):
        return None


def _ours(model, sample, seed):
    """What `adapt` does with the same rows."""
    X, y, X_target, X_test, y_test = sample
    start = time.perf_counter()
    result = adapt(clone(model), X, y, X_target, random_state=seed)
    seconds = time.perf_counter() - start
    estimate = result.after or result.before
    return {
        "values": _values(result.estimator, X_test, y_test),
        "adapter": result.adapter,
        "status": result.status,
        "verdict": result.report.verdict.kind,
        "estimate": None if estimate is None else [estimate.value, *(estimate.ci or (None, None))],
        "seconds": seconds,
        "candidates": [[c.name, c.decision, c.reason] for c in result.candidates],
    }


def _make(name, model, task, seed):
    """The adapter of a registry row around a clone of the model; None where it cannot be."""
    try:
        row = find(name)
    except InputError:
        return None  # not in this version
    if task not in row.tasks or row.target_labels == "required":
        return None
    if row.slot is None:
        adapter = row.load()(clone(model))
    else:
        outer, _, parameter = row.slot.partition(".")
        adapter = find(outer).load()(clone(model), **{parameter: row.load()()})
    if "random_state" in adapter.get_params(deep=False):
        adapter.set_params(random_state=seed)
    return adapter


def _values(model, X, y):
    """Correct (0/1) of every test row; in regression minus the squared error in units of the variance of y."""
    predicted = np.asarray(model.predict(X))
    if is_classifier(model):
        return (predicted == y).astype(float)
    return 1 - (predicted - y) ** 2 / np.var(y.astype(float))


def _compare(values, base, seed):
    """Gain over source-only in points, its standard error, and the gain on two halves of the test rows."""
    d = 100 * (values - base)
    first = np.random.default_rng(seed).permutation(len(d)) % 2 == 0
    return {
        "gain": float(d.mean()),
        "se": float(d.std() / np.sqrt(len(d))),
        "halves": [float(d[first].mean()), float(d[~first].mean())],
        "score": float(values.mean()),
    }


def _rows(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _read(path):
    """Records of a cache by key."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def key(shift, model, seed):
    """Name of a cell."""
    return f"{shift.name} | {model} | {seed}"


# --- tables ------------------------------------------------------------------------------------------------


def chosen_by(cell, scorer):
    """The policy with the best validation score (source only where nothing has one)."""
    scores = {n: p["scores"][scorer] for n, p in cell["policies"].items() if "scores" in p}
    scores = {n: s for n, s in scores.items() if s is not None and np.isfinite(s)}
    return max(scores, key=scores.get, default=SOURCE_ONLY)


def gains_of(cell):
    """Policy -> record with gain and standard error, for every policy that is compared."""
    found = {f"always {n}": p for n, p in cell["policies"].items() if n != SOURCE_ONLY}
    found |= {f"chosen by {s}": cell["policies"][chosen_by(cell, s)] for s in CHOOSERS}
    return found | {OURS: cell["ours"]}


def oracle(cell):
    """Gain on one half of the test rows of the policy that is best on the other, both ways."""
    halves = [p["halves"] for p in cell["policies"].values()]
    best = [max(halves, key=lambda h: h[0])[1], max(halves, key=lambda h: h[1])[0]]
    return float(np.mean(best))


def table(cells):
    """One row per policy: mean gain, harmed shifts, the worst one."""
    by_shift = _by_shift(cells)
    top = np.mean([np.mean([oracle(c) for c in group]) for group in by_shift.values()])
    body = [["oracle", f"{top:+.2f}", "", "", "", ""]]
    for policy in gains_of(cells[0]):
        means, harmed, raw, large = [], [], [], []
        for group in by_shift.values():
            records = [gains_of(cell)[policy] for cell in group]
            gain = np.mean([r["gain"] for r in records])
            se = _standard_error(records)
            means.append(gain)
            raw.append(gain < -1)
            harmed.append(gain < -1 and gain + norm.ppf(0.95) * se < 0)
            if group[0]["n_target"] >= 500:
                large.append(gain)
        mean, se = np.mean(means), np.std(means) / np.sqrt(len(means))
        body.append(
            [
                f"**{policy}**" if policy == OURS else policy,
                f"{mean:+.2f} ± {se:.2f}",
                f"{mean / top:.0%}" if top > 0 else "",
                f"{np.mean(harmed):.0%}",
                f"{np.mean(raw):.0%}",
                f"{min(large):+.1f}" if large else "",
            ]
        )
    head = ["policy", "mean gain", "of the oracle", "harmed", "below -1", "worst (n_target >= 500)"]
    return markdown(head, [body[0], *sorted(body[1:], key=lambda line: -float(line[1].split()[0]))])


def _standard_error(records):
    """Of the mean over draws: between draws where there are several, else that of the test rows."""
    within = np.sqrt(np.mean([r["se"] ** 2 for r in records]) / len(records))
    between = np.std([r["gain"] for r in records], ddof=1) / np.sqrt(len(records)) if len(records) > 2 else 0.0
    return max(within, between)


def _by_shift(cells):
    groups = defaultdict(list)
    for cell in cells:
        groups[cell["name"], cell["model"]].append(cell)
    return groups


def family_table(cells):
    """Our gain beside the oracle's and the best fixed policy's, per family of shifts."""
    families, body = defaultdict(list), []
    for cell in cells:
        families[cell["family"]].append(cell)
    for family, group in families.items():
        mean = lambda f, group=group: float(np.mean([f(c) for c in group]))  # noqa: E731
        names = [n for n in group[0]["policies"] if n != SOURCE_ONLY]
        fixed = {n: mean(lambda c, n=n: c["policies"][n]["gain"]) for n in names}
        best = max(fixed, key=fixed.__getitem__)
        chosen = [c["ours"]["adapter"] for c in group]
        often = sorted(set(chosen), key=chosen.count, reverse=True)[:3]
        body.append(
            [
                family,
                str(len(group)),
                f"{mean(lambda c: c['policies'][SOURCE_ONLY]['score']):.3f}",
                f"{mean(lambda c: c['ours']['gain']):+.2f}",
                f"{mean(oracle):+.2f}",
                f"{fixed[best]:+.2f} {best}",
                ", ".join(f"{name} {chosen.count(name)}" for name in often),
            ]
        )
    head = ["family", "cells", "source only", "adapt", "oracle", "best fixed policy here", "what adapt chose"]
    return markdown(head, body)


def shift_table(cells):
    """One row per shift and model."""
    body = []
    for (name, model), group in sorted(_by_shift(cells).items()):
        ours = [c["ours"] for c in group]
        names = [n for n in group[0]["policies"] if n != SOURCE_ONLY]
        fixed = {n: np.mean([c["policies"][n]["gain"] for c in group]) for n in names}
        best = max(fixed, key=fixed.__getitem__)
        did = sorted({f"{o['adapter']}, {o['status']}" for o in ours})
        body.append(
            [
                name,
                model,
                ", ".join(sorted({o["verdict"] for o in ours})),
                f"{np.mean([c['policies'][SOURCE_ONLY]['score'] for c in group]):.3f}",
                f"{np.mean([o['gain'] for o in ours]):+.1f} ± {_standard_error(ours):.1f}",
                "; ".join(did).replace("SourceOnly, unchanged", "left alone"),
                f"{fixed[best]:+.1f} {best}",
            ]
        )
    head = ["shift", "model", "verdict", "source only", "adapt", "what it did", "best fixed policy in hindsight"]
    return markdown(head, body)


def honesty_table(cells):
    """What the statuses are worth, and how good the estimated target scores are."""
    body = []
    for status in ("verified", "plausible", "unverified", "unchanged"):
        group = [c["ours"] for c in cells if c["ours"]["status"] == status]
        if group:
            gains = np.array([o["gain"] for o in group])
            body.append(
                [status, str(len(group)), f"{gains.mean():+.2f}", f"{np.mean(gains > 0):.0%}", f"{gains.min():+.1f}"]
            )
    first = markdown(["status", "cells", "mean true gain", "true gain > 0", "worst"], body)
    body = []
    classification = [c for c in cells if c["task"] == "classification" and c["ours"]["estimate"]]
    groups = defaultdict(list)
    for cell in classification:
        groups[cell["ours"]["verdict"], cell["kind"] == cell["ours"]["verdict"]].append(cell["ours"])
    for (verdict, made), group in sorted(groups.items()):
        error = [abs(o["estimate"][0] - o["score"]) for o in group]
        ranged = [o for o in group if o["estimate"][1] is not None]
        covered = [o["estimate"][1] <= o["score"] <= o["estimate"][2] for o in ranged]
        truth = "generated so" if made else "real, or generated otherwise"
        coverage = f"{np.mean(covered):.0%}" if covered else ""
        body.append([verdict, truth, str(len(group)), f"{np.mean(error):.3f}", coverage])
    head = ["verdict", "truth", "cells", "mean absolute error of the estimated accuracy", "95 % interval covers"]
    return first + "\n\n" + markdown(head, body)


def control_line(cells):
    """How often the model is left alone where it should be."""
    parts = []
    for family in CONTROLS:
        group = [c["ours"]["status"] == "unchanged" for c in cells if c["family"] == family]
        if group:
            parts.append(f"{family}: left alone in {sum(group)} of {len(group)}")
    return "; ".join(parts) + "."


# --- run ---------------------------------------------------------------------------------------------------


def _few_of_each(shifts):
    """Generated shifts, and a few real ones of each family, evenly spread over its list."""
    families = defaultdict(list)
    for shift in shifts:
        families[shift.family].append(shift)
    made = {shift.family for shift in generated()}
    for family, group in families.items():
        few = len(group) if family in made else min(FEW, len(group))
        yield from (group[i * len(group) // few] for i in range(few))


def plan(args, kinds):
    """Cells in the order in which they are measured: every shift once and the controls, or the named pairs again."""
    shifts = list(generated())
    try:
        shifts += list(real())
    except InputError as error:
        print(f"real data: skipped, {error}", flush=True)
    if args.draws:
        shifts = [s for s in shifts if s.name in NAMED]
    elif args.quick:
        shifts = list(_few_of_each(shifts))
    if args.only:
        shifts = [s for s in shifts if any(part in s.name or part in s.family for part in args.only.split(","))]
    again = range(1, 10 if args.quick else 50)
    controls = [s for s in shifts if s.family in CONTROLS]
    for model in kinds:
        for seed, shift in itertools.product(range(args.draws or 1), shifts):
            if model in models(shift.task):
                yield shift, model, seed
        for seed, shift in itertools.product(again, controls if model in ("logistic", "ridge") else []):
            if model in models(shift.task):
                yield shift, model, seed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three models, four pairs a family, 20 minutes at most")
    parser.add_argument("--models", help=f"comma-separated, of {', '.join(KINDS)}")
    parser.add_argument("--draws", type=int, help=f"so many draws, of {len(NAMED)} named pairs alone")
    parser.add_argument("--minutes", type=float, help="time at most (19 with --quick, else 115)")
    parser.add_argument("--only", help="parts of names of shifts or families, comma-separated")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    deadline = time.time() + 60 * (args.minutes or (19 if args.quick else 115))
    kinds = args.models.split(",") if args.models else KINDS[:3] if args.quick else KINDS
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--models: got {', '.join(sorted(unknown))}; give some of {', '.join(KINDS)}")
    CACHE.mkdir(exist_ok=True)
    fixed, chosen = _read(FIXED_CELLS), _read(ADAPT_CELLS)
    jobs = list(plan(args, kinds))
    names = [name for name in FIXED if not (args.quick and name in SLOW)]
    fixed = {k: r for k, r in fixed.items() if "error" in r or set(names) <= set(r["policies"])}
    missing = [job for job in jobs if key(*job) not in fixed or key(*job) not in chosen]
    missing = missing if time.time() < deadline else []
    known = [(fixed.get(key(*job)), chosen.get(key(*job))) for job in missing]
    found = Parallel(n_jobs=args.n_jobs, return_as="generator_unordered", pre_dispatch=args.n_jobs)(
        delayed(run)(*job, names, *records) for job, records in zip(missing, known, strict=True)
    )
    for done, pair in enumerate(found, 1):
        for record, cells, path in zip(pair, (fixed, chosen), (FIXED_CELLS, ADAPT_CELLS), strict=True):
            if record["key"] not in cells:
                cells[record["key"]] = record
                with path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        if done % 10 == 0:
            print(f"{done} of {len(missing)} cells", flush=True)
        if time.time() > deadline:
            break
    for record in fixed.values():
        record["policies"] = {n: p for n, p in record.get("policies", {}).items() if n in (SOURCE_ONLY, *names)}
    known = {name: fixed[name] | chosen[name] for name in fixed if name in chosen}
    records = [known[key(*job)] for job in jobs if key(*job) in known]
    failed = [record for record in records if "error" in record]
    cells = [record for record in records if "error" not in record]
    compared = [c for c in cells if c["family"] not in CONTROLS]
    seconds = [c["ours"]["seconds"] for c in cells]
    said = (
        f"{len(compared)} cells of {len({c['name'] for c in compared})} shifts, at most 600 rows a side, defaults; "
        f"{len(jobs) - len(records)} of {len(jobs)} cells not run for lack of time, {len(failed)} failed. Points of "
        "accuracy (regression: of R2) over source-only on other target rows; a shift and model is harmed when its gain "
        "is below -1 and the upper end of its paired 90 % interval below 0; the oracle chooses on one half of the test "
        f"rows and is scored on the other. `adapt` takes {np.median(seconds):.1f} s (median), {max(seconds):.0f} s "
        f"(most). Where the R2 of the model as it is lies below {USELESS:.0f}, a shift is in the last table alone. "
        f"Controls: {control_line(cells)}"
    )
    parts = [said]
    for task in ("classification", "regression"):
        of_task = [c for c in compared if c["task"] == task and c["policies"][SOURCE_ONLY]["score"] >= USELESS]
        if of_task:
            parts += [f"**{task.capitalize()}**, {len(_by_shift(of_task))} shifts and models", table(of_task)]
    parts += [family_table(cells), honesty_table(compared), shift_table(compared)]
    for record in failed[:10]:
        print(record["key"], record["error"])
    body = "\n\n".join(parts)
    print(body)
    if not args.no_write:
        title = "Choosing adapters" + (f": {', '.join(kinds)}" if args.models else "")
        title += f", {args.draws} draws" if args.draws else ""
        command = "python benchmarks/bench_selection.py" + " --quick" * args.quick
        command += f" --models {args.models}" if args.models else ""
        write_section(title, command + (f" --draws {args.draws}" if args.draws else ""), body)


if __name__ == "__main__":
    main()
