"""Dask: the same answer as one process, whatever happens to the workers."""

import os
import signal
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import make_label_shift
from sklearn.linear_model import LogisticRegression

from da_toolkit import adapt
from da_toolkit.validation import cross_validate
from shift_detectors import EnergyTest, MMDTest, _out_of_core, diagnose

dataframe = pytest.importorskip("dask.dataframe", reason="needs the [dask] extra")
distributed = pytest.importorskip("distributed", reason="needs the [dask] extra")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("default")  # sockets and processes of a cluster end when they end
FAST = {"random_state": 0, "n_permutations": 99}


def table(n, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    rows["a"] += shift
    rows["ward"] = rng.choice(["north", "south", "west"], n)
    rows.loc[rng.random(n) < 0.05, "c"] = np.nan
    rows["y"] = np.where(rows["a"] + rng.logistic(size=n) > 0, "ill", "well")
    return rows


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    monkeypatch.setattr(_out_of_core, "SAMPLE", 1000)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folders = []
    for name, rows in (("source", table(6000)), ("target", table(5000, seed=1, shift=0.4))):
        folders.append(tmp_path_factory.mktemp(name))
        for k in range(6):
            rows.iloc[k * len(rows) // 6 : (k + 1) * len(rows) // 6].to_parquet(folders[-1] / f"part.{k}.parquet")
    return folders


@pytest.fixture(scope="module")
def alone(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_out_of_core, "SAMPLE", 1000)
        return diagnose(folders[0], "y", folders[1], None, **FAST)


def facts(report):
    tests = [(test.detector, test.pvalue, test.effect) for test in report.tests]
    return report.verdict, report.features, tests, report.n_source, report.n_target, report.notes


def test_partitions_give_the_answer_of_one_process(folders, alone):
    frames = [dataframe.read_parquet(folder) for folder in folders]
    assert facts(diagnose(frames[0], "y", frames[1], None, **FAST)) == facts(alone)
    assert alone.n_source == 6000 and alone.verdict.kind != "none"
    again = [frame.repartition(npartitions=5) for frame in frames]
    assert facts(diagnose(again[0], "y", again[1], None, **FAST)) == facts(alone)


def test_one_side_on_the_cluster_the_other_in_memory(folders, alone):
    source = pd.concat(pd.read_parquet(folders[0] / f"part.{k}.parquet") for k in range(6)).reset_index(drop=True)
    report = diagnose([source], "y", dataframe.read_parquet(folders[1]), None, **FAST)
    assert facts(report) == facts(alone)


def slowly(rows):
    time.sleep(0.2)
    return rows


def test_a_killed_worker_changes_nothing(folders, alone):
    frames = [dataframe.read_parquet(folder).map_partitions(slowly) for folder in folders]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            killed = []

            def kill():
                time.sleep(1.0)
                worker = cluster.workers[0]
                killed.append(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

            thread = threading.Thread(target=kill)
            thread.start()
            report = diagnose(frames[0], "y", frames[1], None, **FAST)
            thread.join()
            assert client.status == "running" and killed and cluster.workers[0].pid != killed[0]
    assert facts(report) == facts(alone)


@pytest.mark.slow
def test_candidates_folds_and_further_tests_run_on_the_workers():
    pair = make_label_shift(n_source=400, n_target=300, random_state=0)
    detectors = [MMDTest(99, random_state=0), EnergyTest(99, random_state=0)]

    def answers(n_jobs=None):
        result = adapt(LogisticRegression(), *pair.seen, random_state=0, n_jobs=n_jobs)
        candidates = [(row.name, row.score, row.gain, row.decision, row.reason) for row in result.candidates]
        report = diagnose(*pair.seen, random_state=0, n_permutations=99, detectors=detectors, n_jobs=n_jobs)
        score = cross_validate(LogisticRegression(), *pair.seen, random_state=0, n_jobs=n_jobs)["test_score"]
        predicted = result.estimator.predict_proba(pair.X_target).tolist()
        return result.status, result.before, result.after, candidates, predicted, facts(report), score.tolist()

    alone = answers()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client, joblib.parallel_config(backend="dask"):
            assert answers(n_jobs=2) == alone
            done = client.run(lambda dask_worker: dask_worker.state.executed_count)
            assert answers() == alone  # as many jobs as there are workers
    assert sum(done.values()) >= 10 and all(done.values())
