"""Power, cost and sense of the tests of shift, beside their peers on the same draws.

``python benchmarks/bench_detectors.py [--quick] [--sections power,...] [--libraries da_toolkit,...] [--no-write]``

Every (library, method, problem) is one cell: all libraries draw the same samples from their seed (scenarios.py) and are
measured by the same harness (peers/detector_peers.py). Finished cells are kept in benchmarks/_cache/detectors.jsonl
and detectors_*.json; delete them after a change of the code. Writes RESULTS.md.

- Power of the one decision on p(x) that `diagnose` makes, and of its parts, at level .05.
- Designs of the literature: MMD-FUSE's mixture, DetectShift's experiments 2 and 3, scenarios of Lee, Cha and Kim.
- Cost: seconds and memory as the rows grow.
- Real pairs, diagnosed with target labels, and random halves of one domain as controls (DA_TOOLKIT_DATA names the
  folder of the files).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

import numpy as np
from _cells import markdown, rate, run_cell, write_section
from _peers import PEERS, Records, find_libraries, in_threads
from scipy.stats import binomtest

sys.path.append(str(PEERS))
from scenarios import CHANGES  # noqa: E402

ENVIRONMENTS = {"da_toolkit": None, "scipy": None, "alibi_detect": "detectors", "hyppo": "detectors"}
ALPHA = 0.05
DECISION = "decision"
OURS = {
    DECISION: "the one decision",
    "JointTest": "JointTest alone",
    "DomainClassifierTest": "classifier alone",
}
P_X = ("FeatureTest", "EnergyTest", "MMDTest", "MomentTest")
PEER_TESTS = {
    "scipy": ("KS, Bonferroni", "Cramer-von Mises, Bonferroni"),
    "alibi_detect": ("MMDDrift", "LSDDDrift", "ClassifierDrift (forest)"),
    "hyppo": ("Energy",),
}

# power that is aimed at, by rows and columns
GOALS = {
    (500, 10): {"mean": 0.86, "scale": 0.92, "correlation": 0.98, "subpopulation": 0.85},
    (200, 10): {"mean": 0.38, "scale": 0.40, "correlation": 0.98, "subpopulation": 0.27},
}

# kind, rows, columns: test that is judged, power aimed at, what others reach
DESIGNS = {
    ("clusters", 1500, 2): ("MMDTest", 0.63, "MMD-FUSE .64, MMDAgg .67, median heuristic .05"),
    ("sparse", 1000, 100): ("FeatureTest", 0.85, "DetectShift .40"),
}
CONDITIONAL = {
    ("y given x", 1000, 1): (
        "ConditionalScoreTest",
        0.77,
        "optimum .77; DetectShift .83, one-sided, true model",
    ),
    ("x given y", 1000, 3): ("StratifiedTest", 0.70, "optimum .74; DetectShift .52"),
    ("S1", 500, 10): ("ConditionalScoreTest", None, "GCM .28, PCM .10, RCIT .63 (null .03, .05, .04)"),
    ("S2", 500, 10): ("ConditionalScoreTest", None, "GCM .56, PCM 1.0, RCIT 1.0 (null .50, .19, .39)"),
    ("S3", 500, 10): ("ConditionalScoreTest", None, "GCM .60, PCM .80, RCIT .82 (null .08, .04, .15)"),
}


# --- jobs: (library, method, problem), problem = (kind, rows, columns, seed) ----------------------------------------


def power_jobs(quick):
    for n, d in ((500, 10), (200, 10), (500, 100), (200, 100)):
        small = d == 10
        ours, peers = ((60, 30) if small else (24, 6)) if quick else ((500, 200) if small else (200, 100))
        for kind, seed in [(kind, seed) for kind in CHANGES for seed in range(ours)]:
            yield "da_toolkit", DECISION, (kind, n, d, seed)
            if seed < peers:
                yield from ((lib, test, (kind, n, d, seed)) for lib, tests in PEER_TESTS.items() for test in tests)


def design_jobs(quick):
    for (kind, n, d), seed in [(problem, seed) for problem in DESIGNS for seed in range(40 if quick else 200)]:
        yield from (("da_toolkit", test, (kind, n, d, seed)) for test in (DECISION, *P_X))
        if seed < (0 if quick else 40):
            yield from ((lib, test, (kind, n, d, seed)) for lib, tests in PEER_TESTS.items() for test in tests)
        elif seed < 40:
            yield from (("scipy", test, (kind, n, d, seed)) for test in PEER_TESTS["scipy"])


def conditional_jobs(quick):
    for (kind, n, d), (test, *_) in CONDITIONAL.items():
        hard = kind.startswith("S")
        for seed in range((16 if hard else 60) if quick else (200 if hard else 400)):
            yield "da_toolkit", test, (kind, n, d, seed)
            yield "da_toolkit", test, (f"{kind}, unchanged", n, d, seed)


COST_OURS = ("JointTest", "MMDTest", "EnergyTest", DECISION, "diagnose without labels")
COST_PEERS = (("alibi_detect", "MMDDrift"), ("alibi_detect", "LSDDDrift"), ("hyppo", "Energy"))


def cost_jobs(quick):
    for n, d in ((500, 10), (2000, 100), *((n, 50) for n in sizes(quick))):
        methods = [("da_toolkit", method) for method in COST_OURS] + list(COST_PEERS)
        yield from ((library, method, ("mean", n, d, 0)) for library, method in methods)


def sizes(quick):
    return (1000, 10_000, 100_000) if quick else (1000, 10_000, 100_000, 1_000_000)


# --- cells ----------------------------------------------------------------------------------------------------------


class Bench:
    """Fills missing cells through the harness, and reads them."""

    def __init__(self, args):
        self.args, self.deadline = args, time.time()
        self.results = Records("detectors.jsonl")
        wanted = {library: ENVIRONMENTS[library] for library in args.libraries.split(",")}
        self.commands, self.methods, self.notes = find_libraries("detector_peers.py", wanted)

    def run(self, jobs, deadline, n_jobs) -> int:
        """Measure what is missing; the number of cells that the deadline left out."""
        jobs = [job for job in jobs if job[1] in self.methods.get(job[0], ()) and key(*job) not in self.results]
        in_threads(jobs, self._measure, self.commands, n_jobs, deadline)
        return sum(key(*job) not in self.results for job in jobs)

    def _measure(self, processes, job):
        library, method, problem = job
        if self._hopeless(library, method, problem):
            return self.results.add({"key": key(*job), "error": "skipped: too slow or large with fewer rows"})
        asked = {"key": key(*job), "method": method, "problem": problem, "cap": self.args.cap}
        self.results.add(processes.ask(library, asked))

    def _hopeless(self, library, method, problem):
        """Whether a tenth of the rows already took more than a tenth of the cap."""
        kind, n, d, seed = problem
        before = self.results.get(key(library, method, (kind, n // 10, d, seed)), {})
        return "error" in before or before.get("cpu", 0) > self.args.cap / 5

    def pvalues(self, library, method, kind, n, d) -> dict[int, float]:
        """p-values by seed; of a part of the decision, its own."""
        part = method if library == "da_toolkit" and method in OURS else None
        found = {}
        for seed in range(1000):
            record = self.results.get(key(library, DECISION if part else method, (kind, n, d, seed)), {})
            if "p" in record:
                found[seed] = record["p"][part] if part else record["p"]
        return found

    def cpu(self, library, method, kind, n, d) -> float:
        """Median CPU seconds, NaN without a cell."""
        records = (self.results.get(key(library, method, (kind, n, d, seed)), {}) for seed in range(1000))
        seconds = [record["cpu"] for record in records if "cpu" in record]
        return float(np.median(seconds)) if seconds else float("nan")


def key(library, method, problem):
    return f"{library} | {method} | {' '.join(map(str, problem))}"


def share(pvalues):
    """Rate of rejection and the number of repeats."""
    if not pvalues:
        return "skipped"
    return f"{np.mean([p <= ALPHA for p in pvalues.values()]):.2f} ({len(pvalues)})"


def judged(pvalues, goal):
    """Whether a goal of power is reached; what the repeats leave open is said to be open."""
    if not pvalues:
        return "-"
    hits = sum(p <= ALPHA for p in pvalues.values())
    if hits / len(pvalues) >= goal:
        return "yes"
    return "open" if binomtest(hits, len(pvalues), goal, alternative="less").pvalue >= 0.05 else "**no**"


def best_peer(bench, problem, ours):
    """The peer with the highest rate on our draws, and by how much we are above it on those draws."""
    gaps = []
    for library, tests in PEER_TESTS.items():
        for test in tests:
            theirs = bench.pvalues(library, test, *problem)
            seeds = [seed for seed in theirs if seed in ours]
            if len(seeds) >= 5:
                pairs = np.array([[ours[s] <= ALPHA, theirs[s] <= ALPHA] for s in seeds], float)
                gaps.append((pairs[:, 1].mean(), test, pairs[:, 0] - pairs[:, 1]))
    if not gaps:
        return ["none was run", "", "-"]
    highest, test, gap = max(gaps, key=lambda g: g[0])
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    verdict = "yes" if gap.mean() >= -0.05 else "open" if gap.mean() + 2 * error >= -0.05 else "**no**"
    return [f"{test} {highest:.2f}", f"{gap.mean():+.2f} (s.e. {error:.2f})", verdict]


# --- sections -------------------------------------------------------------------------------------------------------


def power(bench, quick):
    few_columns_first = sorted(in_turns(power_jobs(quick)), key=lambda job: job[2][2] > 10)
    left = bench.run(few_columns_first, bench.deadline, bench.args.n_jobs)
    tables, goals = [], []
    for n, d in ((500, 10), (200, 10), (500, 100), (200, 100)):
        body = []
        rows = [("da_toolkit", name, text) for name, text in OURS.items()]
        rows += [(library, test, test) for library, tests in PEER_TESTS.items() for test in tests]
        for library, method, text in rows:
            line = [share(bench.pvalues(library, method, kind, n, d)) for kind in CHANGES]
            cpu = f"{bench.cpu(library, method, 'mean', n, d):.3f}"
            body.append([text, library, *line, "" if cpu == "nan" else cpu])
        tables.append(markdown([f"n = {n}, d = {d}: rate at .05 (repeats)", "", *CHANGES, "CPU s"], body))
        for kind in CHANGES[1:]:
            ours = bench.pvalues("da_toolkit", DECISION, kind, n, d)
            goal = GOALS.get((n, d), {}).get(kind)
            reached = [f"{goal:.2f}", judged(ours, goal)] if goal else ["", ""]
            hits = [p <= ALPHA for p in ours.values()]
            goals.append([f"{kind}, n = {n}, d = {d}", rate(hits), *reached, *best_peer(bench, (kind, n, d), ours)])
    head = ["the one decision", "rate [95 % interval]", "goal", "reached", "best peer", "gap on the same draws"]
    return "\n\n".join([*tables, markdown([*head, "at most .05 below"], goals)]), left


def designs(bench, quick):
    left = bench.run(in_turns(design_jobs(quick)), bench.deadline, bench.args.n_jobs)
    body = []
    for problem, (test, goal, others) in DESIGNS.items():
        kind, n, d = problem
        singles = {name: bench.pvalues("da_toolkit", name, *problem) for name in P_X}
        ours = bench.pvalues("da_toolkit", DECISION, *problem)
        top = max(singles, key=lambda name: np.mean([p <= ALPHA for p in singles[name].values()] or [0]))
        best = np.mean([p <= ALPHA for p in singles[top].values()]) if singles[top] else 0.0
        body.append(
            [
                f"{kind}, n = {n}, d = {d}",
                *(share(singles[name]) for name in P_X),
                f"{goal:.2f}: {test} {judged(singles[test], goal)}",
                share(ours),
                share(bench.pvalues("da_toolkit", "JointTest", *problem)),
                judged(ours, max(0.0, best - 0.05)),
                share(bench.pvalues("scipy", "KS, Bonferroni", *problem)),
                others,
            ]
        )
    head = ["", *P_X, "goal", OURS[DECISION], "JointTest", "within .05 of the best single test"]
    return markdown([*head, "KS, Bonferroni", "published"], body), left


def conditional(bench, quick):
    left = bench.run(in_turns(conditional_jobs(quick)), bench.deadline, bench.args.n_jobs)
    body = []
    for (kind, n, d), (test, goal, others) in CONDITIONAL.items():
        found = bench.pvalues("da_toolkit", test, kind, n, d)
        still = bench.pvalues("da_toolkit", test, f"{kind}, unchanged", n, d)
        reached = [f"{goal:.2f}", judged(found, goal)] if goal else ["", ""]
        both = [rate([p <= ALPHA for p in side.values()]) + f" ({len(side)})" for side in (still, found)]
        cpu = f"{bench.cpu('da_toolkit', test, kind, n, d):.2f}"
        body.append([f"{kind}, n = {n}", test, *both, *reached, others, cpu])
    head = ["", "test", "unchanged", "changed [95 % interval] (repeats)", "goal", "reached", "others", "CPU s"]
    return markdown(head, body), left


def cost(bench, quick):
    left = bench.run(cost_jobs(quick), bench.deadline, 1)
    columns = ((500, 10), (2000, 100), *((n, 50) for n in sizes(quick)))
    rows = [("da_toolkit", method) for method in COST_OURS] + list(COST_PEERS)
    body = []
    for library, method in rows:
        line = []
        for n, d in columns:
            record = bench.results.get(key(library, method, ("mean", n, d, 0)), {})
            if "cpu" in record:
                line.append(f"{record['cpu']:.3g} / {max(record['peak_mb'], 1):.0f}")
            else:
                line.append(record.get("error", "not run").split(":")[0])
        body.append([OURS.get(method, method) if method == DECISION else method, library, *line])
    return markdown(["CPU s / MB", "", *(f"n = {n:,}, d = {d}" for n, d in columns)], body), left


# --- real data ------------------------------------------------------------------------------------------------------


def blocks(frame, every):
    """Consecutive rows in one group each."""
    return np.arange(len(frame)) // every


# data set, source, target, groups, what is known, whether a diagnosis agrees with it
def has(*quantities):
    return lambda r: set(quantities) <= set(r["shifts"])


PAIRS = {
    "ACS income, CA -> MD": (
        "acs_income",
        "CA",
        "MD",
        None,
        "Incomes differ; the people little (5 points more earn wages or draw pensions): p(y), and a small p(x).",
        lambda r: "p(y)" in r["shifts"] and r["auc"] < 0.6,
    ),
    "ACS income, CA -> AL": (
        "acs_income",
        "CA",
        "AL",
        None,
        "Another population: p(x) moves, and incomes with it.",
        has("p(x)", "p(y)"),
    ),
    "bank marketing, 2008 -> 2009": (
        "bank_marketing",
        "2008",
        "2009",
        None,
        "Deposits triple (4.8 % to 17 %) and other clients are called: p(y) and p(x|y) both move.",
        has("p(y)", "p(x|y)"),
    ),
    "bank marketing, 2008 -> 2010": (
        "bank_marketing",
        "2008",
        "2010",
        None,
        "Deposits rise to 52 %, with other clients.",
        has("p(y)", "p(x|y)"),
    ),
    "bike sharing, 2011 -> 2012": (
        "bike_sharing",
        "2011_*",
        "2012_*",
        "days",
        "Demand grew at the same weather and hour: p(y|x) must be found.",
        has("p(y|x)"),
    ),
    "bike sharing, winter -> summer": (
        "bike_sharing",
        "*_season1",
        "*_season3",
        "days",
        "No winter day has a summer's temperature: no overlap.",
        lambda r: r["kind"] == "support" or bool(r["separators"]),
    ),
    "spam, SMS -> mail": (
        "sms_mail_spam",
        "sms",
        "mail",
        None,
        "Hardly a word in common: support.",
        lambda r: r["kind"] == "support" or bool(r["separators"]),
    ),
    "heart, Cleveland -> Hungary": (
        "heart_disease",
        "cleveland",
        "hungarian",
        None,
        "Measurements are missing in one hospital: columns that separate.",
        lambda r: r["kind"] == "support" or bool(r["separators"]),
    ),
    "heart, Cleveland -> Switzerland": (
        "heart_disease",
        "cleveland",
        "switzerland",
        None,
        "Cholesterol is 0 for all, 93 % are ill: columns that separate, and p(y).",
        lambda r: (r["kind"] == "support" or bool(r["separators"])) and "p(y)" in r["shifts"],
    ),
    "heart, Cleveland -> VA": (
        "heart_disease",
        "cleveland",
        "va",
        None,
        "Measurements are missing, 75 % are ill: columns that separate, and p(y).",
        lambda r: (r["kind"] == "support" or bool(r["separators"])) and "p(y)" in r["shifts"],
    ),
    "gas sensors, batch 1 -> 2": (
        "gas_sensor",
        "batch1",
        "batch2",
        None,
        "Sensors drift and gases come in other shares: p(x), p(y) and p(x|y).",
        has("p(x)", "p(y)", "p(x|y)"),
    ),
    "gas sensors, batch 1 -> 9": (
        "gas_sensor",
        "batch1",
        "batch9",
        None,
        "After three years no overlap is left.",
        lambda r: r["kind"] == "support" or bool(r["separators"]),
    ),
    "diabetes, referred -> emergency": (
        "diabetes130",
        "physician_referral",
        "emergency_room",
        "groups",
        "Other ways into the hospital: p(x) moves strongly, readmissions little (patients kept together).",
        has("p(x)"),
    ),
    "electricity, 1996 -> 1998": (
        "electricity",
        "block[0-2]",
        "block[7-9]",
        "halfdays",
        "Three columns are constant until 1997: they must be listed as separators.",
        lambda r: bool({"vicprice", "vicdemand", "transfer"} & set(r["separators"])) or r["kind"] == "support",
    ),
}

CONTROLS = {
    "ACS income, CA": ("acs_income", "CA", None),
    "bank marketing, 2008": ("bank_marketing", "2008", None),
    "bike sharing, 2011": ("bike_sharing", "2011_*", "days"),
    "gas sensors, batch 6": ("gas_sensor", "batch6", None),
    "diabetes, emergency": ("diabetes130", "emergency_room", "groups"),
    "wine, white": ("wine_quality", "white", None),
}


def groups_of(data, how):
    """Rows that belong together."""
    if how == "groups":
        return data.groups
    if how == "days":
        return np.unique(data.extra["dteday"], return_inverse=True)[1]
    if how == "halfdays":
        return np.arange(len(data.y)) // 24
    return None


def some(rows, groups, limit, rng):
    """At most `limit` rows, whole groups."""
    if groups is None:
        return rng.permutation(rows)[:limit]
    order = rng.permutation(np.unique(groups[rows]))
    rank = np.argsort(np.argsort(order))
    place = rank[np.searchsorted(np.sort(order), groups[rows])]
    return rows[np.argsort(place, kind="stable")][:limit]


def take(X, rows):
    return X.iloc[rows].reset_index(drop=True) if hasattr(X, "iloc") else X[rows]


def diagnosed(data, source, target, groups, seed):
    """What a diagnosis with target labels says, in plain values."""
    from shift_detectors import diagnose

    sides = {} if groups is None else {"groups": groups[source], "groups_target": groups[target]}
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copies and serial dependence: the data are what they are
        report = diagnose(
            take(data.X, source), data.y[source], take(data.X, target), data.y[target], random_state=seed, **sides
        )
    both = report.verdict_with_separators
    return {
        "kind": report.verdict.kind,
        "strength": report.verdict.strength,
        "shifts": sorted(report.shifts),
        "pvalues": {test.quantity: test.pvalue for test in reversed(report.tests)},
        "auc": report.overlap.domain_auc.value,
        "separators": list(report.separators),
        "with": None if both is None else both.kind,
        "rows": [len(source), len(target)],
        "seconds": time.perf_counter() - start,
    }


def real_once(seed, pair, limit):
    from da_toolkit import datasets

    name, *names, how = PAIRS[pair][:4]
    data = datasets.fetch(name)
    rng = np.random.default_rng(seed)
    groups = groups_of(data, how)
    sides = (some(data.rows(side), groups, limit, rng) for side in names)
    source, target = sides
    return diagnosed(data, source, target, groups, seed)


def half_once(seed, control, limit):
    from da_toolkit import datasets

    name, domain, how = CONTROLS[control]
    data = datasets.fetch(name)
    rng = np.random.default_rng(seed)
    groups = groups_of(data, how)
    rows = some(data.rows(domain), groups, 2 * limit, rng)
    unit = rng.permutation(len(rows)) if groups is None else rng.permutation(groups.max() + 1)[groups[rows]]
    first = unit <= np.median(unit)
    return diagnosed(data, rows[first], rows[~first], groups, seed)


def absent():
    """Why there are no real data, or None."""
    from da_toolkit import datasets

    try:
        datasets.fetch("heart_disease")
    except ValueError as error:
        return f"Not run: {str(error).splitlines()[0]}"
    return None


def real(bench, quick):
    if absent():
        return absent(), 0
    limit, body, left = 2000 if quick else 5000, [], 0
    for pair, (*_, known, agrees) in PAIRS.items():
        done = run_cell(
            f"detectors_real_{pair}_{limit}",
            lambda seed, p=pair: real_once(seed, p, limit),
            1,
            n_jobs=1,
            deadline=bench.deadline,
        )
        if not done:
            left += 1
            continue
        r = done[0]
        p = [f"{r['pvalues'][q]:.3f}" if q in r["pvalues"] else "-" for q in ("p(x)", "p(y)", "p(y|x)", "p(x|y)")]
        apart = ", ".join(r["separators"][:4]) + (" ..." if len(r["separators"]) > 4 else "")
        apart = f"{apart} (with them: {r['with']})" if apart else "-"
        verdict = f"{r['kind']}, {r['strength']}"
        rows = " / ".join(map(str, r["rows"]))
        body.append([pair, rows, verdict, *p, f"{r['auc']:.2f}", apart, known, "yes" if agrees(r) else "**no**"])
        print(body[-1], flush=True)
    head = ["", "rows", "verdict", "p of p(x)", "p(y)", "p(y|x)", "p(x|y)", "domain AUC", "separators"]
    return markdown([*head, "what is known", "agrees"], body), left


def halves(bench, quick):
    if absent():
        return absent(), 0
    limit, repeats, body, left = 500, 12 if quick else 100, [], 0
    for control in CONTROLS:
        done = run_cell(
            f"detectors_half_{control}_{limit}",
            lambda seed, c=control: half_once(seed, c, limit),
            repeats,
            n_jobs=bench.args.n_jobs,
            chunk=6,
            deadline=bench.deadline,
        )
        left += repeats - len(done)
        others = [r["kind"] for r in done if r["kind"] != "none"]
        text = ", ".join(f"{kind} {others.count(kind)}" for kind in sorted(set(others))) or "-"
        each = [rate([r["pvalues"].get(q, 1) <= ALPHA for r in done]) for q in ("p(x)", "p(y)", "p(y|x)", "p(x|y)")]
        body.append([control, rate([r["kind"] == "none" for r in done]), f"{len(done)}", text, *each])
        print(body[-1], flush=True)
    head = ["random halves", "verdict none", "repeats", "other verdicts"]
    return markdown([*head, "p(x) at .05", "p(y)", "p(y|x)", "p(x|y)"], body), left


def in_turns(jobs):
    """By seed, so that what time allows is of every kind."""
    return sorted(jobs, key=lambda job: job[2][-1])


# name: (title, function, sentence)
SECTIONS = {
    "power": (
        "Detectors: power",
        power,
        "The one decision on p(x) as `diagnose` makes it (no labels), at level .05, 499 permutations; peers with their "
        'defaults, 100 permutations. CPU s: median of one test on "mean", one thread.',
    ),
    "designs": (
        "Detectors: designs of the literature, p(x)",
        designs,
        "Rates at level .05 (repeats). clusters: MMD-FUSE's mixture of four; sparse: DetectShift's experiment 3.",
    ),
    "conditional": (
        "Detectors: designs of the literature, p(y|x) and p(x|y)",
        conditional,
        "Rates at level .05. DetectShift's experiment 2 at theta = .12 and gamma = .08; S1 to S3 of Lee, Cha and Kim, "
        "where p(x) differs; published rates of other tests, of S1 to S3 with their rates without a change.",
    ),
    "cost": (
        "Detectors: time and memory",
        cost,
        "One thread; memory beyond the samples. MMDTest and EnergyTest take up to 20,000 pooled rows, the portfolio's "
        "kernels 6000; 499 permutations, peers 100.",
    ),
    "real": (
        "Detectors: real pairs",
        real,
        "`diagnose` with target labels, on random rows of both domains. p(x) is the one decision. Without the "
        "separators, where there are some.",
    ),
    "halves": (
        "Detectors: random halves of one domain",
        halves,
        "Nothing differs; `diagnose` with target labels, 500 rows a half, family-wise level .05.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 20 minutes at most on an idle machine")
    parser.add_argument("--minutes", type=float, help="time at most (19 with --quick, else 115)")
    parser.add_argument("--cap", type=float, default=120, help="CPU seconds a test may take")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--libraries", default=",".join(ENVIRONMENTS))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    bench = Bench(args)
    end = time.time() + 60 * (args.minutes or (19 if args.quick else 115))
    names = args.sections.split(",")
    for k, name in enumerate(names):
        title, section, sentence = SECTIONS[name]
        # what remains is shared: no section takes the time of those behind it
        bench.deadline = time.time() + (end - time.time()) / (len(names) - k)
        body, left = section(bench, args.quick)
        load = f"Load of the machine: {os.getloadavg()[0]:.1f}."
        skipped = f"Not run for lack of time: {left} cells." if left else ""
        body = " ".join(filter(None, [sentence, *(f"{note}." for note in bench.notes), skipped, load])) + f"\n\n{body}"
        print(f"\n## {title}\n\n{body}", flush=True)
        if not args.no_write:
            write_section(title, "python benchmarks/bench_detectors.py" + (" --quick" if args.quick else ""), body)


if __name__ == "__main__":
    main()
