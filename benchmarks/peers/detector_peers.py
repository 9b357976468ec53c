"""One harness for this library and its peers: test two samples, give the p-value and what it took.

``python detector_peers.py LIBRARY`` reads jobs as JSON lines from standard input, ``{"key": ..., "method": NAME,
"problem": [KIND, N, D, SEED], "cap": CPU SECONDS}``, and answers each with one JSON line: the job's key, the p-value
(or several by name), wall and CPU seconds, MB beyond what the process held before. What fails is answered with its
error. ``--list`` prints the methods there are. A KIND that is one of `LABELLED` comes with labels, ", unchanged"
behind it means the same without the change (../scenarios.py).

Runs in the peer's own environment: nothing of da_toolkit is imported unless LIBRARY is "da_toolkit". The samples are
drawn anew from their seed by every library.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
from alignment_peers import resident, serve

sys.path.append(str(Path(__file__).parents[1]))
from scenarios import Samples, labelled_samples, two_samples  # noqa: E402

LABELLED = ("y given x", "x given y", "S1", "S2", "S3")
PERMUTATIONS = 100  # of the peers: the default of alibi-detect


def draw(kind: str, n: int, d: int, seed: int) -> Samples:
    """The samples of a problem."""
    name, _, unchanged = kind.partition(", ")
    if name in LABELLED:
        return labelled_samples(name, n, seed, shifted=not unchanged)
    return two_samples(kind, n, d, seed)


# --- a method is a function of (samples, seed) that gives a p-value, or several by name -----------------------------


def da_toolkit_methods():
    import shift_detectors as sd
    from shift_detectors._boundary import read_problem
    from shift_detectors._domain_classifier import FOLDS, prequential_scores, rank_sum
    from shift_detectors._examine import JOINT_SHARE
    from shift_detectors._learners import Inputs, make_folds

    def decision(s, seed):
        """As `diagnose` decides on p(x), which has the propensities at hand."""
        problem = read_problem(s.X_source, None, s.X_target)
        joint = sd.JointTest(random_state=seed).run(problem).pvalue
        rng, domain = np.random.default_rng(seed), problem.table.domain.astype(int)
        fold = make_folds(domain, FOLDS, int(rng.integers(2**31)))
        scores = prequential_scores(Inputs.of(problem.table), domain, fold)
        classifier = rank_sum(scores, domain, fold, None, None, rng)[1]
        both = min(1.0, joint / JOINT_SHARE, classifier / (1 - JOINT_SHARE))
        return {"decision": both, "JointTest": joint, "DomainClassifierTest": classifier}

    def single(detector):
        def run(s, seed):
            labels = {"y_source": s.y_source, "y_target": s.y_target} if detector.requires else {}
            return detector(random_state=seed).test(s.X_source, s.X_target, **labels).pvalue

        return run

    def whole(s, seed):
        report = sd.diagnose(s.X_source, None, s.X_target, random_state=seed)
        return report.tests[0].pvalue

    detectors = (
        sd.JointTest,
        sd.FeatureTest,
        sd.EnergyTest,
        sd.MMDTest,
        sd.MomentTest,
        sd.DomainClassifierTest,
        sd.ConditionalScoreTest,
        sd.StratifiedTest,
    )
    return {
        "decision": decision,
        **{detector.__name__: single(detector) for detector in detectors},
        "diagnose without labels": whole,
    }


def scipy_methods():
    from scipy.stats import cramervonmises_2samp, ks_2samp

    def smallest(test):
        def run(s, _):
            pairs = zip(s.X_source.T, s.X_target.T, strict=True)
            return min(1.0, s.X_source.shape[1] * min(test(a, b).pvalue for a, b in pairs))

        return run

    return {
        "KS, Bonferroni": smallest(ks_2samp),
        "Cramer-von Mises, Bonferroni": smallest(lambda a, b: cramervonmises_2samp(a, b, method="asymptotic")),
    }


def alibi_detect_methods():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import torch
    from alibi_detect.cd import ClassifierDrift, LSDDDrift, MMDDrift
    from sklearn.ensemble import RandomForestClassifier

    torch.set_num_threads(1)

    def run(build):
        def test(s, seed):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002  the only way in
            X, Z = s.X_source.astype(np.float32), s.X_target.astype(np.float32)
            return float(np.min(build(X, seed).predict(Z)["data"]["p_val"]))

        return test

    kernel = {"backend": "pytorch", "n_permutations": PERMUTATIONS, "device": "cpu"}
    return {
        "MMDDrift": run(lambda X, _: MMDDrift(X, **kernel)),
        "LSDDDrift": run(lambda X, _: LSDDDrift(X, **kernel)),
        "ClassifierDrift (forest)": run(
            lambda X, seed: ClassifierDrift(
                X, RandomForestClassifier(100, random_state=seed), backend="sklearn", use_oob=True
            )
        ),
    }


def hyppo_methods():
    from hyppo.ksample import Energy

    def energy(s, _):
        return float(Energy().test(s.X_source, s.X_target, reps=PERMUTATIONS, auto=True)[1])

    energy(two_samples("none", 30, 2, 0), 0)  # numba compiles here, before the forks
    return {"Energy": energy}


LIBRARIES = {
    "da_toolkit": da_toolkit_methods,
    "scipy": scipy_methods,
    "alibi_detect": alibi_detect_methods,
    "hyppo": hyppo_methods,
}


# --- one job in a process of its own --------------------------------------------------------------------------------


def measure(method, job):
    samples = draw(*job["problem"])
    before = resident()
    wall, cpu = time.perf_counter(), time.process_time()
    p = method(samples, job["problem"][-1])
    return {
        "p": p,
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
    }


if __name__ == "__main__":
    serve(LIBRARIES, measure, __doc__)
