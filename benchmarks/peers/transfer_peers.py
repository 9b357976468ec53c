"""Scores of adapt's few-label methods on stored problems; run by bench_transfer.py with the Python of its environment.

Reads paths of .npz files from standard input, one a line, and answers each with one JSON line: the score of every
method on the test rows (accuracy or R2), or its error. Defaults; the model is the one of the bench.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from adapt.instance_based import TrAdaBoost, TwoStageTrAdaBoostR2
from adapt.parameter_based import RegularTransferLC, RegularTransferLR
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score


def boosted(method, model):
    def predict(X, y, X_few, y_few, X_new):
        return method(model, Xt=X_few, yt=y_few, verbose=0, random_state=0).fit(X, y).predict(X_new)

    return predict


def regular(method, model):
    def predict(X, y, X_few, y_few, X_new):
        return method(model.fit(X, y), Xt=X_few, yt=y_few, verbose=0, random_state=0).fit().predict(X_new)

    return predict


METHODS = {
    "classification": {
        "adapt TrAdaBoost": boosted(TrAdaBoost, LogisticRegression(max_iter=1000)),
        "adapt RegularTransfer": regular(RegularTransferLC, LogisticRegression(max_iter=1000)),
    },
    "regression": {
        "adapt TrAdaBoost": boosted(TwoStageTrAdaBoostR2, Ridge()),
        "adapt RegularTransfer": regular(RegularTransferLR, Ridge()),
    },
}


def measure(path):
    with np.load(path) as file:
        *data, X_new, y_new = (file[name] for name in ("X", "y", "X_few", "y_few", "X_new", "y_new"))
        task = str(file["task"])
    scores = {}
    for name, predict in METHODS[task].items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # adapt prints
                answer = np.ravel(predict(*data, X_new))
            scores[name] = float((accuracy_score if task == "classification" else r2_score)(y_new, answer))
        except Exception as error:  # whatever a library raises is its answer
            scores[name] = f"{type(error).__name__}: {str(error)[:100]}"
    return scores


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        print(json.dumps(measure(line.strip())), flush=True)
