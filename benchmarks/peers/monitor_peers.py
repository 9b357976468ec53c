"""One harness for this library and its peers: read a stream in batches, say after each how much speaks for a change.

``python monitor_peers.py LIBRARY`` reads jobs as JSON lines from standard input, ``{"key": ..., "method": NAME,
"problem": [KIND, SEED], "cap": CPU SECONDS}``, and answers each with one JSON line: the job's key, the statistic
after every batch (larger: more speaks for a change), the batch of the method's own alarm or null, CPU seconds.
What fails is answered with its error. ``--list`` prints the methods there are.

Runs in the peer's own environment: nothing of da_toolkit is imported unless LIBRARY is "da_toolkit". The stream is
drawn anew from its seed by every library. All see the same columns: six features and the probability that a fixed
logistic model, trained on other rows, gives them.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import numpy as np
from alignment_peers import serve
from sklearn.linear_model import LogisticRegression

N_REFERENCE, N_BATCH, BATCHES, ONSET = 1000, 50, 100, 40  # the first changed batch is ONSET + 1
KINDS = ("none", "mean", "label", "gradual")
MEANS = np.array([1.2, 0.8, 0.4, 0.0, 0.0, 0.0])  # of the second class
MOVE = np.array([0.0, 0.4, 0.0, 0.4, 0.0, 0.0])
ERT = 500  # expected rows to a false alarm: sets the shape of the thresholds, whose height the bench calibrates


class Stream(NamedTuple):
    """Reference rows, and an array of batches."""

    reference: np.ndarray
    batches: np.ndarray
    model: LogisticRegression


def stream(kind: str, seed: int) -> Stream:
    """Two Gaussian classes, half of each; from batch ONSET + 1 on

    mean: two of six features move by .4; label: eight in ten rows are of the second class; gradual: three features
    move by .02 in every batch.
    """
    rng = np.random.default_rng([seed, *kind.encode()])

    def draw(n, prior=0.5, move=0.0):
        y = (rng.random(n) < prior).astype(int)
        return rng.normal(size=(n, 6)) + np.outer(y, MEANS) + move, y

    model = LogisticRegression().fit(*draw(1000))
    reference = draw(N_REFERENCE)[0]
    batches = []
    for t in range(BATCHES):
        since = max(0, t - ONSET + 1)
        prior = 0.8 if kind == "label" and since else 0.5
        move = MOVE * bool(since) if kind == "mean" else 0.0
        if kind == "gradual":
            move = 0.02 * since * np.array([1, 0, 1, 0, 1, 0])
        batches.append(draw(N_BATCH, prior, move)[0])
    return Stream(reference, np.array(batches), model)


def columns(problem: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Features and the model's probability, standardised by the reference: reference rows, all rows of the stream."""
    both = []
    for rows in (problem.reference, problem.batches.reshape(-1, problem.batches.shape[2])):
        both.append(np.column_stack([rows, problem.model.predict_proba(rows)[:, 1]]))
    centre, scale = both[0].mean(axis=0), both[0].std(axis=0)
    reference, rows = ((side - centre) / scale for side in both)
    return reference, rows


# --- a method is a function of a stream that gives the statistic per batch, and its own alarm ---------------


def da_toolkit_methods():
    from shift_detectors._monitor import ShiftMonitor

    def run(alpha):
        def watch(problem):
            monitor = ShiftMonitor(problem.reference, estimator=problem.model, alpha=alpha)
            steps = [monitor.update(batch) for batch in problem.batches]
            return [step.log_evidence for step in steps], steps[-1].alarm_batch

        return watch

    return {"ShiftMonitor": run(0.05)}


def alibi_detect_methods():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import torch
    from alibi_detect.cd import CVMDriftOnline, LSDDDriftOnline, MMDDriftOnline

    torch.set_num_threads(1)

    def multivariate(detector, window, n_bootstraps=1000):
        def watch(problem):
            reference, rows = (side.astype(np.float32) for side in columns(problem))
            found = detector(
                reference,
                ert=ERT,
                window_size=window,
                backend="pytorch",
                n_bootstraps=n_bootstraps,
                verbose=False,
                device="cpu",
            )
            excess = [(lambda d: d["test_stat"] - d["threshold"])(found.predict(row)["data"]) for row in rows]
            return per_batch(excess), None

        return watch

    def univariate(windows):
        def watch(problem):
            reference, rows = (side.astype(np.float32) for side in columns(problem))
            found = CVMDriftOnline(reference, ert=ERT, window_sizes=windows, n_bootstraps=5000, verbose=False)
            top = []
            for row in rows:
                answer = found.predict(row)["data"]
                ratio = answer["test_stat"] / answer["threshold"]
                top.append(np.nanmax(ratio) if np.isfinite(ratio).any() else 0.0)
            return per_batch(top), None

        return watch

    return {
        "MMDDriftOnline (window 50)": multivariate(MMDDriftOnline, 50),
        # every window drops some bootstraps, and the last one needs ERT of them
        "LSDDDriftOnline (window 50, 600 bootstraps)": multivariate(LSDDDriftOnline, 50, 600),
        "CVMDriftOnline (window 50)": univariate([50]),
    }


def river_methods():
    from river import drift

    def steps(build, grid):
        """Detectors of every column at every threshold of a grid: the strictest one that has spoken."""

        def watch(problem):
            reference, rows = columns(problem)
            found = [[build(level, j) for level in grid] for j in range(rows.shape[1])]
            for row in reference:
                for value, detectors in zip(row.tolist(), found, strict=True):
                    for detector in detectors:
                        detector.update(value)
            top, strictest = [], 0
            for row in rows:
                for value, detectors in zip(row.tolist(), found, strict=True):
                    for k, detector in enumerate(detectors):
                        detector.update(value)
                        if detector.drift_detected:
                            strictest = max(strictest, k + 1)
                top.append(float(strictest))
            return per_batch(top), None

        return watch

    def kswin(problem):
        reference, rows = columns(problem)
        found = [drift.KSWIN(alpha=1e-300, window_size=200, stat_size=50, seed=j) for j in range(rows.shape[1])]
        for row in reference[-200:]:
            for value, detector in zip(row.tolist(), found, strict=True):
                detector.update(value)
        top = []
        for row in rows:
            for value, detector in zip(row.tolist(), found, strict=True):
                detector.update(value)
            top.append(-np.log10(max(min(detector.p_value for detector in found), 1e-300)))
        return per_batch(top), None

    return {
        "ADWIN": steps(lambda delta, _: drift.ADWIN(delta=delta, clock=10), [10.0**-k for k in np.arange(1, 9, 0.5)]),
        "PageHinkley": steps(
            lambda level, _: drift.PageHinkley(threshold=level, delta=0.1, min_instances=30),
            [20, 25, 30, 35, 40, 45, 50, 55, 60, 70, 80, 100, 120, 150, 200],
        ),
        "KSWIN": kswin,
    }


def per_batch(values) -> list[float]:
    """The largest statistic within every batch."""
    return np.asarray(values, float).reshape(BATCHES, N_BATCH).max(axis=1).tolist()


LIBRARIES = {"da_toolkit": da_toolkit_methods, "alibi_detect": alibi_detect_methods, "river": river_methods}


def measure(method, job):
    problem = stream(*job["problem"])
    start = time.process_time()
    statistic, alarm = method(problem)
    return {
        "statistic": [float(f"{value:.6g}") for value in statistic],
        "alarm": alarm,
        "cpu": time.process_time() - start,
    }


if __name__ == "__main__":
    serve(LIBRARIES, measure, __doc__)
