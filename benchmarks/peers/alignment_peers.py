"""One harness for this library and its peers: fit a method on a stored problem in a forked process, score it.

``python alignment_peers.py LIBRARY`` reads jobs as JSON lines from standard input, ``{"key": ..., "problem": PATH,
"method": NAME, "cap": CPU SECONDS, "rows": N}``, and answers each with one JSON line: the job's key, accuracy on
the test rows, wall and CPU seconds of fit and peak memory beyond what the process held before; with `rows` also the
CPU seconds for N new target rows. What fails is answered with its error. ``--list`` prints the methods there are.

Runs in the peer's own environment: nothing of da_toolkit is imported unless LIBRARY is "da_toolkit".
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

HEADS = {
    "1nn": KNeighborsClassifier(1),
    "1nn_cosine": KNeighborsClassifier(1, metric="cosine"),
    "logistic": LogisticRegression(max_iter=1000),
    "svc": SVC(),
    "svc_moons": SVC(gamma=2.0, C=10.0),
}
MEMORY_CAP = 12_000  # MB


# --- a method is a function of (head, X_source, y_source, X_target) that gives a prediction for target rows ---


def da_toolkit_methods():
    """Defaults of this library; what is not there yet is left out."""
    import ot  # noqa: F401  imported on demand: its import is no part of a fit, here as with the peers

    def aligned(name, module, **parameters):
        aligner = getattr(importlib.import_module(f"da_toolkit.alignment.{module}"), name)
        adapter = importlib.import_module("da_toolkit.alignment").FeatureAlignment
        return lambda head, X, y, Xt: seeded(adapter(head, seeded(aligner(**parameters)))).fit(X, y, Xt).predict

    def adapter(name, module, **parameters):
        wrapper = getattr(importlib.import_module(f"da_toolkit.alignment.{module}"), name)
        return lambda head, X, y, Xt: seeded(wrapper(head, **parameters)).fit(X, y, Xt).predict

    def seeded(method):
        return method.set_params(random_state=0) if "random_state" in method.get_params(deep=False) else method

    rows = [
        ("CORAL", aligned, "CORAL", "_coral", {}),
        ("LinearOT", aligned, "LinearOT", "_linear_ot", {}),
        *(
            (f"OptimalTransport {method}", aligned, "OptimalTransport", "_optimal_transport", {"method": method})
            for method in ("exact", "entropic", "class-regularised", "unbalanced", "partial")
        ),
        ("SubspaceAlignment", aligned, "SubspaceAlignment", "_subspace_alignment", {}),
        ("TCA", aligned, "TCA", "_tca", {}),
        ("GFK", aligned, "GFK", "_gfk", {}),
        ("JDA", aligned, "JDA", "_jda", {}),
        ("LocationScale", aligned, "LocationScale", "_location_scale", {}),
        ("JDOT", adapter, "JDOT", "_jdot", {}),
        ("OTLabelPropagation", adapter, "OTLabelPropagation", "_label_propagation", {}),
        ("SelfTraining", adapter, "SelfTraining", "_self_training", {}),
    ]
    found = {}
    for label, kind, name, module, parameters in rows:
        try:
            found[label] = kind(name, module, **parameters)
        except (ImportError, AttributeError):
            print(f"da_toolkit has no {label}", file=sys.stderr)
    return found


def skada_methods():
    import skada

    def run(build):
        def fit(head, X, y, Xt):
            model = build(head)
            domain = np.r_[np.ones(len(X), int), np.full(len(Xt), -2)]
            model.fit(np.r_[X, Xt], np.r_[y, np.full(len(Xt), -1)], sample_domain=domain)
            return lambda rows: model.predict(rows, sample_domain=np.full(len(rows), -2))

        return fit

    def weighted(head):
        return head.set_fit_request(sample_weight=True) if hasattr(head, "set_fit_request") else head

    methods = {
        "CORAL": skada.CORAL,
        "LinearOT": skada.LinearOTMapping,
        "LinearOT (reg=1e-6)": lambda head: skada.LinearOTMapping(head, reg=1e-6),
        "OptimalTransport exact": skada.OTMapping,
        "OptimalTransport entropic": skada.EntropicOTMapping,
        "OptimalTransport entropic (median, reg_e=.05)": lambda head: skada.EntropicOTMapping(
            head, norm="median", reg_e=0.05
        ),
        "OptimalTransport class-regularised": skada.ClassRegularizerOTMapping,
        "SubspaceAlignment": skada.SubspaceAlignment,
        "TCA": skada.TransferComponentAnalysis,
        "LocationScale": skada.MMDLSConSMapping,
        "JDOT": lambda head: skada.JDOTClassifier(base_estimator=weighted(head)),
        "OTLabelPropagation": skada.OTLabelProp,
        "SelfTraining": lambda head: skada.DASVMClassifier(weighted(head)),
    }
    return {name: run(build) for name, build in methods.items()}


def pot_methods():
    import ot

    def run(build):
        def fit(head, X, y, Xt):
            mover = build().fit(Xs=X, ys=y, Xt=Xt)
            return head.fit(mover.transform(Xs=X), y).predict

        return fit

    methods = {
        "LinearOT": ot.da.LinearTransport,
        "OptimalTransport exact": ot.da.EMDTransport,
        "OptimalTransport entropic": ot.da.SinkhornTransport,
        "OptimalTransport entropic (median, reg_e=.05)": lambda: ot.da.SinkhornTransport(norm="median", reg_e=0.05),
        "OptimalTransport class-regularised": ot.da.SinkhornLpl1Transport,
        "OptimalTransport unbalanced": ot.da.UnbalancedSinkhornTransport,
    }
    return {name: run(build) for name, build in methods.items()}


def adapt_methods():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from adapt.feature_based import CORAL, SA, TCA

    def run(method):
        def fit(head, X, y, Xt):
            return method(head, Xt=Xt, verbose=0, random_state=0).fit(X, y).predict

        return fit

    return {name: run(method) for name, method in (("CORAL", CORAL), ("SubspaceAlignment", SA), ("TCA", TCA))}


LIBRARIES = {
    "da_toolkit": da_toolkit_methods,
    "skada": skada_methods,
    "POT": pot_methods,
    "adapt": adapt_methods,
}


def source_only(head, X, y, Xt):
    """What every method has to beat."""
    return head.fit(X, y).predict


# --- one job in a process of its own ------------------------------------------------------------------------


def measure(method, job):
    with np.load(job["problem"]) as file:
        X, y, Xt, Xe, ye = (file[name] for name in ("X_source", "y_source", "X_target", "X_test", "y_test"))
        head = clone(HEADS[str(file["head"])])
    before = resident()
    wall, cpu = time.perf_counter(), time.process_time()
    predict = method(head, X, y, Xt)
    result = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    result["accuracy"] = float(np.mean(np.ravel(predict(Xe)) == ye))
    if job.get("rows"):
        new = Xe[np.arange(job["rows"]) % len(Xe)]
        cpu = time.process_time()
        predict(new)
        result["cpu_new_rows"] = time.process_time() - cpu
    return result


def resident(pid="self"):
    """MB in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def isolated(method, job, measure):
    """`measure` in a forked child that is ended at the caps of time and memory.

    CPU time is capped, so that a busy machine ends no job that an idle one would finish.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child():
        warnings.simplefilter("ignore")
        try:
            answer = measure(method, job)
        except Exception as error:  # whatever a library raises is its answer
            answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        sender.send(answer)

    process = context.Process(target=child)
    process.start()
    sender.close()
    answer = None
    try:
        while answer is None:
            if receiver.poll(0.05):
                answer = receiver.recv()
            elif cpu_seconds(process.pid) > job["cap"]:
                answer = {"error": f"> {job['cap']:.0f} s"}
            elif resident(process.pid) > MEMORY_CAP:
                answer = {"error": f"> {MEMORY_CAP} MB"}
    except (EOFError, FileNotFoundError, ProcessLookupError, IndexError):
        answer = {"error": "the process died"}
    if process.is_alive() and "error" in answer:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return answer


def serve(libraries, measure, description, always=()):
    """Answer the jobs on standard input by the methods of the library that the command line names, and `always`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("library", choices=libraries)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    methods = {**dict(always), **libraries[args.library]()}
    if args.list:
        print(json.dumps(list(methods)))
        return
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps({"key": job["key"], **isolated(methods[job["method"]], job, measure)}), flush=True)


if __name__ == "__main__":
    serve(LIBRARIES, measure, __doc__, {"source only": source_only})
