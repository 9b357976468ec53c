"""Answers of quapy and abstention, printed as JSON; run by bench_labels.py with the Python of their environment.

``python label_peers.py error KIND N REPEATS`` (L1 error of the prior) or ``grid FILE SHIFT REPEATS`` (squared error of
the class weights; FILE holds `proba` and `y`).
"""

from __future__ import annotations

import json
import sys
import warnings

import abstention.label_shift as abstention
import numpy as np
import quapy.method.aggregative as quapy
from abstention.calibration import TempScaling
from label_problems import grid_problem, label_problem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

QUANTIFIERS = {
    "quapy EMQ": lambda model: quapy.EMQ(model),
    "quapy EMQ, BCTS": lambda model: quapy.EMQ(model, calib="bcts"),
    "quapy BBSE": lambda model: quapy.BBSEhard(model),
    "quapy BBSE, soft": lambda model: quapy.BBSEsoft(model),
    "quapy KDEyML": lambda model: quapy.KDEyML(model),
}
# RLLS needs cvxpy. Given a calibrator, this release's EM iterates on uncalibrated target rows: it gets calibrated ones.
ADAPTERS = {
    "abstention EM": (abstention.EMImbalanceAdapter, False),
    "abstention EM, BCTS": (abstention.EMImbalanceAdapter, True),
    "abstention BBSE": (abstention.BBSEImbalanceAdapter, False),
}


def adapted(adapter, calibrated, proba, y, proba_target):
    """Class weights."""
    labels = np.eye(proba.shape[1])[y]
    if calibrated:
        scale = TempScaling(bias_positions="all")(proba, labels, posterior_supplied=True)
        proba, proba_target = scale(proba), scale(proba_target)
    answer = adapter()(valid_labels=labels, tofit_initial_posterior_probs=proba_target, valid_posterior_probs=proba)
    return np.ravel(answer.multipliers)


def error(kind, n, seed):
    """The adapters want held-out rows: two fifths of the source."""
    X, y, _, X_target, prior = label_problem(kind, int(n), seed)
    estimates = {}
    for name, method in QUANTIFIERS.items():
        if name == "quapy KDEyML" and len(y) > 2000:
            continue  # minutes
        fitted = method(LogisticRegression(max_iter=1000))
        fitted.fit(X, y)
        estimates[name] = np.ravel(fitted.predict(X_target))
    X, X_held, y, y_held = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    for name, (adapter, calibrated) in ADAPTERS.items():
        weights = adapted(adapter, calibrated, model.predict_proba(X_held), y_held, model.predict_proba(X_target))
        estimates[name] = weights * np.bincount(y_held)
    return {name: float(np.abs(q / q.sum() - prior).sum()) for name, q in estimates.items()}


def grid(file, shift, seed):
    with np.load(file) as arrays:
        proba, y = arrays["proba"], arrays["y"]
    source, target, true = grid_problem(proba, y, shift, seed)
    return {
        name: float(np.mean((adapted(adapter, calibrated, proba[source], y[source], proba[target]) - true) ** 2))
        for name, (adapter, calibrated) in ADAPTERS.items()
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, first, second, repeats = sys.argv[1:]
    once = {"error": error, "grid": grid}[what]
    print(json.dumps([once(first, second, seed) for seed in range(int(repeats))]))
