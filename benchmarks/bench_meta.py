"""What do many tasks teach? MAML and ANIL on new alphabets, a learned optimiser, networks for several tasks.

``python benchmarks/bench_meta.py [--quick] [--minutes 100] [--only omniglot,optimiser,tasks] [--no-write]``

Cells are kept in benchmarks/_cache/meta_*.json; delete them after a change of the code. Real data are found as
`da_toolkit.datasets.fetch` finds them. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from itertools import islice

import numpy as np
import pandas as pd
import torch
from _cells import markdown, run_cell, write_section
from scipy.stats import t as student
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from da_toolkit import datasets
from da_toolkit.transfer._learned_optimizer import LearnedOptimizer, Problem
from da_toolkit.transfer._maml import ANIL, MAML
from da_toolkit.transfer._multi_task import SHARING, MultiTask
from shift_detectors._errors import InputError

HELD_OUT = ("Greek", "Korean")  # alphabets of which no method sees a character before the episode


def seeded_module(make, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


# --- Omniglot: 5-way 1-shot --------------------------------------------------------------------------------


@cache
def drawings():
    """Images of 14 x 14 in 0..1, the class of each (alphabet and character), its alphabet."""
    data = datasets.fetch("omniglot")
    images = np.asarray(data.X, float).reshape(-1, 1, 28, 28) / 255
    if images.mean() > 0.5:
        images = 1 - images  # ink is 1
    small = F.avg_pool2d(torch.tensor(images).float(), 2)
    characters = np.array([f"{a} {c}" for a, c in zip(data.domain, data.y, strict=True)])
    return small, pd.factorize(characters)[0], data.domain


def episodes(X, classes, rotate, seed, way=5, shots=1, queries=5):
    """N-way K-shot episodes; in training a turned character is another character, as in the literature."""
    rng = np.random.default_rng(seed)
    rows = {c: np.flatnonzero(classes == c) for c in np.unique(classes)}
    names = np.array(list(rows))
    while True:
        support, query = [], []
        for c in rng.choice(names, size=way, replace=False):
            drawn = rng.permutation(rows[c])[: shots + queries]
            turned = torch.rot90(X[drawn], int(rng.integers(4)) if rotate else 0, (2, 3))
            support.append(turned[:shots])
            query.append(turned[shots:])
        labels = np.arange(way)
        yield torch.cat(support), labels.repeat(shots), torch.cat(query), labels.repeat(queries)


def convolutions():
    def block(i):
        return [nn.Conv2d(i, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.ReLU()]

    return nn.Sequential(*block(1), *block(32), *block(32), nn.Flatten(), nn.Linear(128, 5))


def nearest_pixels(x, y, u):
    return y[torch.cdist(u.flatten(1), x.flatten(1)).argmin(dim=1).numpy()]


def omniglot(seed, steps):
    X, classes, alphabet = drawings()
    new = np.isin(alphabet, HELD_OUT)
    test = list(islice(episodes(X[new], classes[new], False, 1000 + seed), 200))
    row = {"nearest neighbour on pixels": np.mean([np.mean(nearest_pixels(x, y, u) == v) for x, y, u, v in test])}
    fresh = seeded_module(convolutions, seed)
    options = {"inner_lr": 0.1, "inner_steps": 3, "meta_lr": 2e-3, "meta_batch": 8, "random_state": seed}
    methods = {
        "MAML": MAML(fresh, max_steps=steps, **options),
        "MAML, first order": MAML(fresh, max_steps=steps, first_order=True, **options),
        "MAML, one fixed rate": MAML(fresh, max_steps=steps, learn_rates=False, **options),
        "ANIL": ANIL(fresh, max_steps=steps, **options),
        "no meta-training": MAML(fresh, max_steps=1, **{**options, "meta_lr": 1e-12}),
    }
    for name, method in methods.items():
        start = time.process_time()
        method.fit_tasks(episodes(X[~new], classes[~new], True, seed))
        row[f"{name}: CPU s"] = time.process_time() - start
        row[name] = np.mean([method.adapt(x, y).score(u, v) for x, y, u, v in test])
    return {k: float(v) for k, v in row.items()}


# --- the learned optimiser ---------------------------------------------------------------------------------


def quadratics(seed, d=10):
    """|W x - y|^2, Gaussian W, y and start (Andrychowicz et al. 2016, section 3.1)."""
    rng = np.random.default_rng(seed)
    while True:
        W, y, start = (torch.tensor(rng.normal(size=size)).float() for size in ((d, d), d, d))
        yield lambda x, W=W, y=y: (W @ x - y).square().sum(), start


def networks(X, y, classes, seed, hidden=8):
    """Tell two classes apart by a small network, from 20 rows of each."""
    rng, X = np.random.default_rng(seed), torch.tensor(X).float()
    while True:
        a, b = rng.choice(classes, size=2, replace=False)
        rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:20] for c in (a, b)])
        make = lambda d=X.shape[1]: nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, 2))  # noqa: E731
        x, truth = X[rows], torch.as_tensor(y[rows] == b).long()
        yield lambda f, x=x, t=truth: F.cross_entropy(f(x), t), seeded_module(make, int(rng.integers(2**31)))


def digit_networks(classes, seed):
    X, y = load_digits(return_X_y=True)
    return networks(X / 16, y, classes, seed)


@cache
def states_table():
    """Income of 12 states of the ACS: columns scaled, categories one-hot; rows are drawn by their state."""
    data = datasets.fetch("acs_income")
    X = data.X
    texts = X.select_dtypes(exclude="number").astype(str)
    numbers = X.select_dtypes("number").fillna(0.0)
    few = {c: texts[c].where(texts[c].isin(texts[c].value_counts().index[:12]), "other") for c in texts}
    table = pd.concat([numbers, *([pd.get_dummies(pd.DataFrame(few))] if few else [])], axis=1).to_numpy(float)
    scale = table.std(axis=0)
    table = (table - table.mean(axis=0))[:, scale > 0] / scale[scale > 0]
    return table, np.asarray(data.y), data.domain


def income_networks(states, seed, hidden=8):
    """Income above the line? A small network from 40 rows of one state."""
    X, y, state = states_table()
    rng, X = np.random.default_rng(seed), torch.tensor(X).float()
    while True:
        rows = rng.choice(np.flatnonzero(state == rng.choice(states)), size=40, replace=False)
        make = lambda d=X.shape[1]: nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, 2))  # noqa: E731
        x, truth = X[rows], torch.as_tensor(np.asarray(y[rows] == y.max())).long()
        yield lambda f, x=x, t=truth: F.cross_entropy(f(x), t), seeded_module(make, int(rng.integers(2**31)))


FAMILIES = {
    "10-d quadratics": lambda seed: (quadratics(seed), quadratics(10_000 + seed)),
    "digits, other digits": lambda seed: (
        digit_networks([0, 1, 2, 3, 4, 5], seed),
        digit_networks([6, 7, 8, 9], 10_000 + seed),
    ),
    "ACS income, other states": lambda seed: (
        income_networks(np.unique(states_table()[2])[:8], seed),
        income_networks(np.unique(states_table()[2])[8:], 10_000 + seed),
    ),
}
PLAIN = {
    "SGD": (torch.optim.SGD, np.geomspace(1e-3, 10, 25)),
    "SGD with momentum": (lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9), np.geomspace(1e-3, 10, 25)),
    "Adam": (torch.optim.Adam, np.geomspace(1e-3, 2, 25)),
}


def after(problem, make, rate, steps=20):
    theta = problem.start.clone().requires_grad_()
    optimizer = make([theta], lr=float(rate))
    for _ in range(steps):
        optimizer.zero_grad()
        problem(theta).backward()
        optimizer.step()
    return problem(theta).item()


def optimiser(family, seed, epochs):
    """Mean losses after 20 steps on held-out tasks; the rates of the others are tuned on these very tasks."""
    train, test = FAMILIES[family](seed)
    held_out = list(islice(test, 30))
    problems = [Problem(*task) for task in held_out]
    row = {"before": np.mean([p(p.start).item() for p in problems])}
    for name, (make, rates) in PLAIN.items():
        means = [np.mean([after(p, make, rate) for p in problems]) for rate in rates]
        row[name] = np.nanmin(means)
    start = time.process_time()
    learnt = LearnedOptimizer(horizon=20, max_epochs=epochs, random_state=seed).fit(train)
    row["CPU s"] = time.process_time() - start
    row["LearnedOptimizer"] = np.mean([learnt.minimise(*task, steps=20)[1][-1] for task in held_out])
    return {k: float(v) for k, v in row.items()}


# --- several tasks -----------------------------------------------------------------------------------------


def digit_attributes(seed):
    """Which digit, is it odd, is it 5 or more, has it a loop: 60 labels each, of different rows."""
    X, y = load_digits(return_X_y=True)
    columns = {"digit": y, "odd": y % 2, "5 or more": y >= 5, "loop": np.isin(y, [0, 6, 8, 9])}
    labels = pd.DataFrame({name: column.astype(int) for name, column in columns.items()})
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:240], order[240:]
    few = labels.iloc[train].astype(float)
    for t, name in enumerate(few):
        few.iloc[np.arange(240) % 4 != t, few.columns.get_loc(name)] = np.nan
    return X[train], few, None, [(name, X[test], labels[name].to_numpy()[test]) for name in labels]


def acs_states(seed):
    """Eight states with 60 rows each."""
    X, y, state = states_table()
    rng = np.random.default_rng(seed)
    names = np.unique(state)[:8]
    parts = [rng.permutation(np.flatnonzero(state == s))[:1060] for s in names]
    rows = np.concatenate([part[:60] for part in parts])
    return X[rows], y[rows], state[rows], [(s, X[p[60:]], y[p[60:]]) for s, p in zip(names, parts, strict=True)]


def hospitals(seed):
    """Four hospitals with 40 rows each, of two classes."""
    data = datasets.fetch("heart_disease")
    table = data.X.apply(pd.to_numeric, errors="coerce") if isinstance(data.X, pd.DataFrame) else pd.DataFrame(data.X)
    table = table.fillna(table.median()).fillna(0.0).to_numpy(float)
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(data.domain == h)) for h in data.domains]
    while any(len(set(data.y[part[:40]])) == 1 for part in parts):  # nearly all of Switzerland is ill
        parts = [rng.permutation(part) for part in parts]
    rows = np.concatenate([part[:40] for part in parts])
    tests = [(h, table[p[40:]], data.y[p[40:]]) for h, p in zip(data.domains, parts, strict=True)]
    return table[rows], data.y[rows], data.domain[rows], tests


def contrary(seed):
    """Two large tasks that need unrelated features beside two small ones: sharing should not help here."""
    rng = np.random.default_rng(seed)
    d, sizes = 10, np.array([600, 600, 40, 40])
    weights = np.linalg.qr(rng.normal(size=(d, d)))[0][:4]
    task = np.repeat(np.arange(4), sizes)

    def label(X, t):
        return (np.abs((X * weights[t]).sum(axis=1)) > 0.67).astype(int)

    X, X_new = rng.normal(size=(len(task), d)), rng.normal(size=(1000, d))
    return X, label(X, task), task, [(t, X_new, label(X_new, np.full(1000, t))) for t in range(4)]


PROBLEMS = {
    "attributes of digits, 60 labels": digit_attributes,
    "ACS, 8 states of 60 rows": acs_states,
    "heart, 4 hospitals of 40 rows": hospitals,
    "unrelated tasks, 300 and 40 rows": contrary,
}


def several(problem, seed, epochs):
    """Mean accuracy over the tasks; a network for each, one for all where that is possible, and every sharing."""
    X, y, domain, tests = PROBLEMS[problem](seed)
    options = {"hidden": (64, 32), "lr": 2e-3, "batch_size": 32, "random_state": seed}
    each: dict[str, list[float]] = {}
    alone = []
    for name, X_new, y_new in tests:
        rows = domain == name if domain is not None else y[name].notna().to_numpy()
        own = (y[name].to_numpy() if domain is None else y)[rows]
        single = MultiTask(max_epochs=epochs, task="classification", **options).fit(X[rows], own[:, None])
        alone.append(float(np.mean(single.predict(X_new, task=0) == y_new)))
    each["single tasks"] = alone
    if domain is not None:
        pooled = MultiTask(max_epochs=epochs, task="classification", **options).fit(X, np.asarray(y)[:, None])
        each["pooled"] = [float(np.mean(pooled.predict(X_new, task=0) == y_new)) for _, X_new, y_new in tests]
    variants = [(s, {"sharing": s}) for s in SHARING]
    variants.append(("hard, fine-tuned", {"sharing": "hard", "fine_tune_epochs": 20}))
    variants.append(("hard, uncertainty", {"sharing": "hard", "balance": "uncertainty"}))
    for name, more in variants:
        model = MultiTask(max_epochs=epochs, task="classification", **options, **more).fit(X, y, source_domain=domain)
        each[name] = [float(np.mean(model.predict(u, task=t) == v)) for t, u, v in tests]
    return each


# --- tables ------------------------------------------------------------------------------------------------


def mean_se(values):
    values = np.asarray(values, float)
    se = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f}" + ("" if np.isnan(se) else f" ± {se:.3f}")


def omniglot_table(rows):
    names = [k for k in rows[0] if not k.endswith("CPU s")]
    body = [
        [n, mean_se([r[n] for r in rows]), f"{np.mean([r.get(f'{n}: CPU s', 0.0) for r in rows]):.0f}"] for n in names
    ]
    return markdown(["5-way 1-shot, new alphabets", "accuracy", "CPU s of meta-training"], body)


def optimiser_table(cells):
    names = ["before", *PLAIN, "LearnedOptimizer", "CPU s"]
    body = []
    for family, rows in cells.items():
        means = [np.mean([row[n] for row in rows]) for n in names]
        wins = [sum(row["LearnedOptimizer"] < row[n] for row in rows) for n in PLAIN]
        body.append([family, *(f"{m:.3g}" for m in means), f"{', '.join(map(str, wins))} of {len(rows)}"])
    tuned = [f"{n}, tuned" for n in PLAIN]
    head = ["family", "loss before", *tuned, "LearnedOptimizer", "CPU s to learn", f"seeds below {', '.join(PLAIN)}"]
    return markdown(head, body)


def tasks_table(cells):
    names = list(dict.fromkeys(name for rows in cells.values() for row in rows for name in row))
    body = []
    for name in names:
        line = [name]
        for rows in cells.values():
            line.append(mean_se([np.mean(row[name]) for row in rows]) if name in rows[0] else "not possible")
        body.append(line)
    return markdown(["mean accuracy of the tasks", *cells], body)


def hurt(cells):
    """In words: which sharing lost to single tasks, by a paired one-sided t test over the draws at level .05."""
    lines = []
    for problem, rows in cells.items():
        if len(rows) < 3:
            lines.append(f"{problem}: too few draws to say")
            continue
        lost = []
        for name in rows[0]:
            gain = np.array([np.mean(row[name]) - np.mean(row["single tasks"]) for row in rows])
            if name != "single tasks":
                se = gain.std(ddof=1) / np.sqrt(len(gain))
                if gain.mean() + student.isf(0.05, len(gain) - 1) * se < 0:
                    lost.append(f"{name} ({100 * gain.mean():+.1f} points)")
        lines.append(f"{problem}: " + ("sharing hurt with " + ", ".join(lost) if lost else "sharing hurt nowhere"))
    return "; ".join(lines) + "."


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, 20 minutes at most")
    parser.add_argument("--minutes", type=float, default=100)
    parser.add_argument("--only", default="omniglot,optimiser,tasks")
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    deadline = time.time() + 60 * (min(args.minutes, 18) if args.quick else args.minutes)
    size = "quick" if args.quick else "full"
    steps, epochs, passes = (300, 150, 30) if args.quick else (3000, 300, 60)
    asked, parts = args.only.split(","), []

    def cell(name, function, repeats):
        """Cells of one repeat a turn; none where the data are absent."""
        try:
            key = "".join(c if c.isalnum() else "_" for c in name)
            return run_cell(f"meta_{size}_{key}", function, repeats, n_jobs=1, chunk=1, deadline=deadline)
        except InputError as error:
            note = f"{name}: not run ({error})."
            if note not in parts:
                parts.append(note)
            return []

    if "tasks" in asked:
        cells = {}
        for done in range(1, (3 if args.quick else 20) + 1):  # a deadline cuts all problems short alike
            cells |= {p: cell(p, lambda s, p=p: several(p, s, passes), done) for p in PROBLEMS}
        cells = {p: rows for p, rows in cells.items() if rows}
        parts += [
            f"Several tasks with few labels each: a network of 64 and 32 units, {passes} passes for all ways (mean ± "
            f"standard error over {min(map(len, cells.values()))} or more draws).",
            tasks_table(cells),
            f"When did sharing hurt (paired t test over the draws, one-sided, level .05)? {hurt(cells)}",
        ]
    if "optimiser" in asked:
        cells = {f: cell(f, lambda s, f=f: optimiser(f, s, epochs), 3) for f in FAMILIES}
        cells = {f: rows for f, rows in cells.items() if rows}
        parts += [
            "Mean training loss after 20 steps on 30 held-out tasks of each family; the rates of the others are tuned "
            f"(25 values) on the held-out tasks themselves; learnt from {epochs} batches of 16 tasks.",
            optimiser_table(cells),
        ]
    if "omniglot" in asked and (rows := cell("omniglot", lambda s: omniglot(s, steps), 3)):
        parts += [
            f"Omniglot: three convolutions on 14 x 14 pixels, {steps} meta-steps of 8 episodes; 200 episodes of the "
            f"alphabets {' and '.join(HELD_OUT)}, held out (mean over {len(rows)} runs).",
            omniglot_table(rows),
        ]
    body = "\n\n".join(parts)
    print(body, flush=True)
    if not args.no_write:
        write_section("Many tasks", "python benchmarks/bench_meta.py" + (" --quick" if args.quick else ""), body)


if __name__ == "__main__":
    main()
