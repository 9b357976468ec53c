"""One harness for this library and its peers: learn weights, fit a model with them, compare both with the truth.

``python weight_peers.py LIBRARY`` reads jobs as JSON lines from standard input, ``{"key": ..., "method": NAME,
"problem": [KIND, N, SEED, D, SHIFTED], "cap": CPU SECONDS}``, and answers each with one JSON line: the job's key,
score on the test rows (accuracy, or squared error in regression), rank correlation and normalised squared error of
the weights, effective share of the source, share of predictions that differ from the plain model's, wall and CPU
seconds, memory. What fails is answered with its error. ``--list`` prints the methods there are.

Runs in the peer's own environment: nothing of da_toolkit is imported unless LIBRARY is "da_toolkit". The problem is
drawn anew from its seed by every library (../scenarios.py).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
from alignment_peers import resident, serve
from scipy.stats import spearmanr
from sklearn.base import clone, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression

sys.path.append(str(Path(__file__).parents[1]))
from scenarios import covariate  # noqa: E402

HEADS = {"logistic": LogisticRegression(max_iter=1000), "linear": LinearRegression()}
GAMMAS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]


# --- a method is a function of (head, problem) that gives a prediction for rows and the weights of the source ---


def da_toolkit_methods():
    """Three fits that bound what weights can do, the default, and every ratio of this library."""
    from da_toolkit import weighting

    def plain(X, y, weights):
        def fit(head, p):
            X_, y_, w = (getattr(p, name) if name else None for name in (X, y, weights))
            return head.fit(X_, y_, sample_weight=w).predict, lambda: w

        return fit

    def weighted(ratio, exponent="auto"):
        def fit(head, p):
            model = weighting.ImportanceWeighting(head, ratio, exponent, random_state=0)
            model.fit(p.X_source, p.y_source, p.X_target)
            return model.predict, lambda: model.ratio_.weights_

        return fit

    ratios = {
        "ClassifierRatio (default)": None,
        "KMM": weighting.KMM(),
        "KLIEP": weighting.KLIEP(),
        "RuLSIF": weighting.RuLSIF(),
        "uLSIF": weighting.RuLSIF(alpha=0),
        "EntropyBalancing": weighting.EntropyBalancing(),
        "GaussianRatio": weighting.GaussianRatio(),
        "NearestNeighborRatio": weighting.NearestNeighborRatio(),
        "KernelDensityRatio": weighting.KernelDensityRatio(),
    }
    return {
        "source only": plain("X_source", "y_source", None),
        "true weights": plain("X_source", "y_source", "ratio"),
        "target-trained": plain("X_target", "y_target", None),
        **{name: weighted(ratio) for name, ratio in ratios.items()},
        "ClassifierRatio (exponent 1)": weighted(None, 1.0),
    }


def skada_methods():
    import skada

    def run(build, **options):
        def fit(head, p):
            model = build(head.set_fit_request(sample_weight=True), **options)
            domain = np.r_[np.ones(len(p.X_source), int), np.full(len(p.X_target), -2)]
            unknown = np.full(len(p.X_target), np.nan if is_regressor(head) else -1).astype(p.y_source.dtype)
            X = np.r_[p.X_source, p.X_target]
            model.fit(X, np.r_[p.y_source, unknown], sample_domain=domain)
            ratio = model.steps[0][1].base_estimator_
            return (
                lambda rows: model.predict(rows, sample_domain=np.full(len(rows), -2)),
                lambda: ratio.compute_weights(X, sample_domain=domain)[domain > 0],
            )

        return fit

    return {
        "KMM": run(skada.KMMReweight),
        "KLIEP": run(skada.KLIEPReweight, random_state=0),
        "KLIEP (gammas by CV)": run(skada.KLIEPReweight, gamma=GAMMAS, random_state=0),
        "GaussianRatio": run(skada.GaussianReweight),
        "ClassifierRatio": run(skada.DiscriminatorReweight),
        "KernelDensityRatio": run(skada.DensityReweight),
        "NearestNeighborRatio": run(skada.NearestNeighborReweight, laplace_smoothing=True),
    }


def adapt_methods():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from adapt import instance_based

    def run(name, **options):
        def fit(head, p):
            method = getattr(instance_based, name)
            model = method(head, Xt=p.X_target, verbose=0, random_state=0, **options).fit(p.X_source, p.y_source)
            return model.predict, lambda: model.weights_

        return fit

    grid = {"gamma": GAMMAS, "lambdas": [0.01, 0.1, 1.0]}
    return {
        "KMM": run("KMM"),
        "KLIEP": run("KLIEP"),
        "KLIEP (gammas by CV)": run("KLIEP", gamma=GAMMAS),
        "uLSIF": run("ULSIF"),
        "uLSIF (grid by CV)": run("ULSIF", **grid),
        "RuLSIF": run("RULSIF"),
        "RuLSIF (grid by CV)": run("RULSIF", **grid),
        "NearestNeighborRatio": run("NearestNeighborsWeighting"),
        "ClassifierRatio": run("IWC"),
    }


def densratio_methods():
    from densratio import densratio

    def run(method):
        def fit(head, p):
            ratio = densratio(p.X_target, p.X_source, method=method, verbose=False)
            weights = np.maximum(np.ravel(ratio.compute_density_ratio(p.X_source)), 0) + 1e-9
            return head.fit(p.X_source, p.y_source, sample_weight=weights / weights.mean()).predict, lambda: weights

        return fit

    return {name: run(name) for name in ("uLSIF", "RuLSIF", "KLIEP")}


LIBRARIES = {
    "da_toolkit": da_toolkit_methods,
    "skada": skada_methods,
    "adapt": adapt_methods,
    "densratio": densratio_methods,
}


# --- one job in a process of its own ------------------------------------------------------------------------


def measure(method, job):
    kind, n, seed, d, shifted = job["problem"]
    problem = covariate(kind, n, seed, d, shifted=shifted)
    head = HEADS[problem.head]
    before = resident()
    wall, cpu = time.perf_counter(), time.process_time()
    predict, weights = method(clone(head), problem)
    result = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    found = np.ravel(predict(problem.X_test))
    plain = clone(head).fit(problem.X_source, problem.y_source).predict(problem.X_test)
    if is_regressor(head):
        result["score"] = float(np.mean((found - problem.y_test) ** 2))
        result["changed"] = float(np.sqrt(np.mean((found - plain) ** 2) / np.var(plain)))
    else:
        result["score"] = float(np.mean(found == problem.y_test))
        result["changed"] = float(np.mean(found != plain))
    w = weights()
    if w is not None:
        w, truth = np.asarray(w, float) / np.mean(w), problem.ratio / problem.ratio.mean()
        result["ess"] = float(1 / np.mean(w**2))
        if shifted:
            result["rank"] = float(spearmanr(w, truth)[0])
            result["misfit"] = float(np.mean((w - truth) ** 2) / np.var(truth))
    return {name: value if np.isfinite(value) else None for name, value in result.items()}


if __name__ == "__main__":
    serve(LIBRARIES, measure, __doc__)
