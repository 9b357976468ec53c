"""Label shift: error of the class weights and of the prior, coverage of its interval, harm without a change.

``python benchmarks/bench_labels.py [--quick] [--sections grid,...] [--no-write]``

Every cell is a number of repeats kept in benchmarks/_cache/labels_*.json; delete them after a change of the code.
Peers (quapy, abstention) run on the same draws in the environment `quapy` (peers/README.md); without it their columns
say "not run". MNIST, USPS and the CIFAR-10 predictions are found as `da_toolkit.datasets.fetch` finds them. Writes
RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np
from _cells import CACHE, interpreter, markdown, run_cell, write_section
from peers.label_problems import DIGITS, SHIFTS, SIZES, grid_problem, label_problem, predictions
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from da_toolkit.label_shift._bbse import BBSE
from da_toolkit.label_shift._mlls import MLLS
from da_toolkit.label_shift._prior_correction import PriorCorrection
from da_toolkit.label_shift._rlls import RLLS
from shift_detectors._errors import InputError

PEERS = Path(__file__).parent / "peers" / "label_peers.py"
METHODS = {
    "MLLS": MLLS(),
    "MLLS, vector": MLLS("vector"),
    "EM, uncalibrated": MLLS(None),
    "BBSE": BBSE(),
    "BBSE, soft": BBSE(soft=True),
    "RLLS": RLLS(),
}


def quiet(method):
    """The method's answer without its warnings."""

    def call(*args):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return method(*args)

    return call


# --- (a) squared error of the class weights ------------------------------------------------------------------


@quiet
def grid_once(data, shift, seed):
    proba, y = predictions(data)
    source, target, true = grid_problem(proba, y, shift, seed)
    fits = {name: clone(m).fit(proba[source], y[source], proba[target]) for name, m in METHODS.items()}
    return {name: float(np.mean((fit.prior_ / fit.source_prior_ - true) ** 2)) for name, fit in fits.items()}


def grid(run, scale):
    """Median over the repeats, times 1000."""
    lines, names = [], [*METHODS]
    CACHE.mkdir(exist_ok=True)
    for data in ("digits", "mnist", "usps", "cifar10"):
        try:
            proba, y = predictions(data)
        except InputError as error:
            lines.append([data, f"skipped: {str(error).splitlines()[0]}"])
            continue
        file = CACHE / f"labels_{data}.npz"
        np.savez(file, proba=proba, y=y)
        for shift in SHIFTS:
            cell = f"grid_{data}_{shift}"
            done = run(cell, lambda seed, data=data, shift=shift: grid_once(data, shift, seed), 20 // scale)
            theirs = run.peers(cell, "grid", file, shift, len(done))
            names += [name for name in (theirs[0] if theirs else ()) if name not in names]
            every = [mine | other for mine, other in zip(done, theirs or [{}] * len(done), strict=True)]
            lines.append([data, f"{shift} ({len(done)})", *(median(every, name) for name in names)])
    return markdown(["data", "shift (repeats)", *names], [line + [""] * (len(names) + 2 - len(line)) for line in lines])


def median(every, name):
    values = [1000 * row[name] for row in every if name in row]
    return f"{np.median(values):.3g}" if values else "skipped"


# --- (b) coverage -------------------------------------------------------------------------------------------


def tilted(k):
    """Frequencies proportional to 1, ..., k."""
    return np.arange(1, k + 1) / (k * (k + 1) / 2)


def rare(k, share):
    """One class, the last, has this share."""
    return np.r_[np.full(k - 1, (1 - share) / (k - 1)), share]


# kind, source and target rows, source and target prior
COVERAGE = {
    "two Gaussians, 500 and 500": ("gauss", 500, 500, [0.5, 0.5], [0.9, 0.1]),
    "two Gaussians, 500 and 500, one class has 10": ("gauss", 500, 500, [0.98, 0.02], [0.7, 0.3]),
    "three Gaussians, 200 and 2000": ("gauss", 200, 2000, [1 / 3] * 3, [0.6, 0.3, 0.1]),
    "three Gaussians, 60 and 500": ("gauss", 60, 500, [1 / 3] * 3, [0.5, 0.3, 0.2]),
    "three Gaussians, 30 and 500": ("gauss", 30, 500, [1 / 3] * 3, [0.5, 0.3, 0.2]),
    "three Gaussians, 500 and 500, one class has 10": ("gauss", 500, 500, rare(3, 0.02), [0.5, 0.3, 0.2]),
    "digits, 500 and 500": ("digits", 500, 500, [0.1] * 10, tilted(10)),
    "digits, 100 and 1000": ("digits", 100, 1000, [0.1] * 10, tilted(10)),
    "digits, 1000 and 1000, one class has 10": ("digits", 1000, 1000, rare(10, 0.01), rare(10, 0.2)),
    "digits, 1000 and 5000": ("digits", 1000, 5000, [0.1] * 10, tilted(10)),
}


def sample(kind, rng, n, prior):
    """Probabilities of a fixed classifier, and labels, of independent rows; none of its training rows."""
    k = len(prior)
    y = rng.choice(k, n, p=prior)
    while (np.bincount(y, minlength=k) == 0).any():
        y = rng.choice(k, n, p=prior)
    if kind == "digits":
        proba, labels = predictions("digits")
        pools = [np.flatnonzero(labels == c) for c in range(k)]
        return proba[np.array([rng.choice(pools[c]) for c in y])], y
    # the true posterior of equal classes, too sure by 1 / .6 and biased
    angles = 2 * np.pi * np.arange(k) / k
    centres = (1.0 if k == 2 else 1.8) * np.c_[np.cos(angles), np.sin(angles)]
    x = centres[y] + rng.normal(size=(n, 2))
    logits = -((x[:, None] - centres) ** 2).sum(axis=2) / 1.2 + 0.4 * np.arange(k) / k
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    return proba / proba.sum(axis=1, keepdims=True), y


@quiet
def cover_once(cell, seed):
    """Whether the interval of every class covers: MLLS, BBSE."""
    kind, n, n_target, source, target = COVERAGE[cell]
    rng = np.random.default_rng([seed, n, n_target])
    proba, y = sample(kind, rng, n, source)
    proba_target, _ = sample(kind, rng, n_target, target)
    covered = []
    for method in (MLLS(), BBSE()):
        low, high = method.fit(proba, y, proba_target).confidence_interval_.T
        covered.append(((low <= target) & (target <= high)).tolist())
    return covered


def coverage(run, scale):
    lines = []
    for cell, (_, _, n_target, _, target) in COVERAGE.items():
        done = run(f"cover_{cell}", lambda seed, cell=cell: cover_once(cell, seed), 1000 // scale)
        shares = np.mean(done, axis=0)[:, np.asarray(target) * n_target >= 10] if done else []
        texts = [f"{s.min():.3f} to {s.max():.3f}, mean {s.mean():.3f}" for s in shares]
        lines.append([cell, str(len(done)), *(texts or ["skipped"] * 2)])
    return markdown(["source and target rows", "repeats", "MLLS", "BBSE"], lines)


# --- (c) L1 error of the prior ------------------------------------------------------------------------------


def cross_fitted(X, y, groups, X_target, seed):
    """Probabilities as `PriorCorrection` makes them: every row by a model that did not see it."""
    groups = np.arange(len(y)) if groups is None else groups
    part = np.random.default_rng(seed).permutation(len(X_target)) % 5
    proba, proba_target = np.zeros((len(y), y.max() + 1)), np.zeros((len(part), y.max() + 1))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(X, y, groups)
    for fold, (train, test) in enumerate(folds):
        model = LogisticRegression(max_iter=1000).fit(X[train], y[train])
        proba[test] = model.predict_proba(X[test])
        proba_target[part == fold] = model.predict_proba(X_target[part == fold])
    return proba, y, proba_target


@quiet
def error_once(kind, n, seed):
    X, y, groups, X_target, prior = label_problem(kind, n, seed)
    rows = cross_fitted(X, y, None, X_target, seed)
    fits = {name: clone(method).fit(*rows) for name, method in METHODS.items()}
    if groups is not None:
        fits["MLLS, groups=image"] = MLLS().fit(*cross_fitted(X, y, groups, X_target, seed))
    errors = {name: float(np.abs(fit.prior_ - prior).sum()) for name, fit in fits.items()}
    low, high = fits["MLLS"].confidence_interval_.T
    return errors | {"covered": float(np.mean((low <= prior) & (prior <= high)))}


def error(run, scale):
    cells = [(kind, n, repeats) for kind, sizes in SIZES.items() for n, repeats in sizes.items()]
    columns = []
    for kind, n, repeats in cells:
        cell = f"error_{kind}_{n}"
        mine = run(cell, lambda seed, kind=kind, n=n: error_once(kind, n, seed), max(3, repeats // scale))
        theirs = run.peers(cell, "error", kind, n, len(mine)) or [{}] * len(mine)
        columns.append([a | b for a, b in zip(mine, theirs, strict=True)])
    every = {name: None for column in columns for row in column for name in row if name != "covered"}
    ours = ["MLLS", "MLLS, groups=image", *list(METHODS)[1:]]
    names = [*ours, *(name for name in every if name not in ours)]
    body = [[name, *(mean_and_error(column, lambda row, n=name: row.get(n)) for column in columns)] for name in names]
    if "quapy EMQ" in every:
        body.append(["MLLS - quapy EMQ, paired", *(mean_and_error(c, lambda row: less(row, "MLLS")) for c in columns)])
        name = "MLLS, groups=image"
        body.append([f"{name} - quapy EMQ", *(mean_and_error(c, lambda row: less(row, name)) for c in columns)])
    body.append(["covered by MLLS", *(mean_and_error(c, lambda row: row["covered"]) for c in columns)])
    head = ["method", *(f"{k}, n = {n} ({len(c)})" for (k, n, _), c in zip(cells, columns, strict=True))]
    return markdown(head, body)


def less(row, name):
    return row[name] - row["quapy EMQ"] if name in row and "quapy EMQ" in row else None


def mean_and_error(rows, value):
    """Mean and its standard error."""
    values = [v for v in map(value, rows) if v is not None]
    if len(values) < 2:
        return ""
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1) / np.sqrt(len(values)):.3f})"


# --- (d) no change ------------------------------------------------------------------------------------------


@quiet
def harm_once(kind, n_target, seed):
    """Gain in accuracy in points, L1 distance of the estimated prior from the source's, with and without shrinkage."""
    rng = np.random.default_rng([seed, n_target])
    if kind == "two Gaussians":
        y = rng.integers(2, size=500 + n_target + 4000)
        X = rng.normal(size=(len(y), 5))
        X[:, :2] += (2 * y[:, None] - 1) * [0.96, 0.48]
    else:
        pick = rng.permutation(len(DIGITS[1]))
        X, y = DIGITS[0][pick], DIGITS[1][pick]
    a, b = 500, 500 + n_target
    model = PriorCorrection(LogisticRegression(max_iter=1000), random_state=seed).fit(X[:a], y[:a], X[a:b])
    plain = MLLS().fit(*cross_fitted(X[:a], y[:a], None, X[a:b], seed))
    after, before = (np.mean(p(X[b:]) == y[b:]) for p in (model.predict, model.predict_source))
    distances = [float(np.abs(m.prior_ - m.source_prior_).sum()) for m in (model, plain)]
    return {"gain": 100 * float(after - before), "moved": distances[0], "unshrunk": distances[1]}


def harm(run, scale):
    lines = []
    for kind in ("two Gaussians", "digits"):
        for n in (30, 100, 500):
            done = run(f"harm_{kind}_{n}", lambda s, kind=kind, n=n: harm_once(kind, n, s), 200 // scale)
            gains = np.array([row["gain"] for row in done])
            shares = [f"{np.mean(gains == 0):.2f}", f"{np.mean(gains < -1):.2f}"] if done else ["skipped"] * 2
            means = [mean_and_error(done, lambda row, f=field: row[f]) for field in ("gain", "moved", "unshrunk")]
            lines.append([kind, str(n), str(len(done)), means[0], *shares, *means[1:]])
    head = ["data", "target rows", "repeats", "gain in points (s.e.)", "exactly 0", "below -1 point"]
    return markdown([*head, "prior moved (L1)", "without shrinkage"], lines)


# --- the sections -------------------------------------------------------------------------------------------

SECTIONS = {
    "grid": (
        "Label shift: weights on the grid of Alexandari, Kundaje, Shrikumar",
        grid,
        "Squared error of the class weights, x 1000, median of the repeats. Half of the predictions is the held-out "
        "source, the target (4000 rows or twice as many as there are) is drawn from the other half; CIFAR-10: the "
        "authors' predictions, else a logistic model trained on a quarter of the images.",
    ),
    "coverage": (
        "Label shift: coverage of the 95 % intervals",
        coverage,
        "Smallest to largest share over the classes with ten expected target rows or more; the classifier is fixed. "
        "A share of .95 over 1000 repeats has a standard error of .007.",
    ),
    "error": (
        "Label shift: error of the prior",
        error,
        "L1 error, mean (s.e.), logistic regression, same draws for all. In *digits, redrawn* the source repeats 599 "
        "images with noise: cross-fitting sees near-copies of the held-out rows, so every calibration becomes too sure "
        "and its intervals too narrow (less so with `groups=`, but 599 images are not n independent rows). *digits, "
        "once* repeats none.",
    ),
    "harm": (
        "Label shift: nothing changed",
        harm,
        "`PriorCorrection` with its defaults, 500 source rows, against the model it wraps, on fresh rows.",
    ),
}


class Runner:
    """Repeats of this library and of its peers, all remembered."""

    def __init__(self, n_jobs, deadline):
        self.n_jobs, self.deadline = n_jobs, deadline
        self.python = interpreter("quapy")

    def __call__(self, name, function, repeats):
        return run_cell(f"labels_{name}", function, repeats, n_jobs=self.n_jobs, deadline=self.deadline)

    def peers(self, name, *job):
        """A list of answers, one per repeat; empty where the peers cannot be run."""
        path, repeats = CACHE / f"labels_peers_{name}.json", job[-1]
        done = json.loads(path.read_text()) if path.exists() else []
        if len(done) < repeats and self.python is not None:
            command = [str(self.python), str(PEERS), *map(str, job)]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode:
                print(f"peers, {name}: {answer.stderr.strip().splitlines()[-1]}", flush=True)
                return []
            done = json.loads(answer.stdout.splitlines()[-1])
            path.write_text(json.dumps(done))
        return done[:repeats] if len(done) >= repeats else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats, 8 minutes at most")
    parser.add_argument("--minutes", type=float, help="time at most (8 with --quick, else 60)")
    parser.add_argument("--sections", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    deadline = time.time() + 60 * (args.minutes or (8 if args.quick else 60))
    command = "python benchmarks/bench_labels.py" + (" --quick" if args.quick else "")
    run = Runner(args.n_jobs, deadline)
    if run.python is None:
        print("quapy and abstention: not run, their environment is absent (see benchmarks/peers/README.md)")
    for name in args.sections.split(",") if args.sections else SECTIONS:
        title, make, sentence = SECTIONS[name]
        body = f"{sentence}\n\n{make(run, 10 if args.quick else 1)}"
        print(f"\n## {title}\n\n{body}", flush=True)
        if not args.no_write:
            write_section(title, command, body)


if __name__ == "__main__":
    main()
