"""Two processes on one machine train one module together."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from torch import nn  # noqa: E402

from da_toolkit.deep import DANN, WDGRL, DeepAdapter, DeepCORAL  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch

LEARN = ("DANN", "WDGRL", "patient")
SEEDS = range(5)
CONNECT = {
    "torchrun": "torch.distributed.init_process_group('gloo')",
    "accelerate": "from accelerate import Accelerator; Accelerator(cpu=True)",
    "lightning": "from lightning_fabric import Fabric; Fabric(accelerator='cpu', devices=2).launch()",
}
WORKER = """
import pickle, sys, torch
torch.set_num_threads(1)
from tests.test_deep_distributed import LEARN, SEEDS, cases, problem, run
{connect}
assert torch.distributed.get_world_size() == 2
names, folder = sys.argv[1].split(","), sys.argv[2]
results = {{name: run(name, distributed=True, checkpoint=folder + "/" + name) for name in names}}
for name in filter(LEARN.__contains__, names):
    results |= {{(name, seed): run(name, distributed=True, random_state=seed) for seed in SEEDS}}
with open(f"{{folder}}/{{torch.distributed.get_rank()}}.pickle", "wb") as file:
    pickle.dump(results, file)
torch.distributed.destroy_process_group()
"""


def problem(n=400, n_target=300, seed=0):
    """Three classes by the largest of the first three of four columns; the target is scaled and moved."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 4)), rng.normal(size=(n_target, 4))
    return X, X[:, :3].argmax(axis=1), 1.5 * X_target + 0.6, X_target[:, :3].argmax(axis=1)


def net(normalised=True):
    """A small network, with what differs between processes (dropout) and looks across a batch."""
    between = [nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1)] if normalised else [nn.ReLU()]
    return nn.Sequential(nn.Linear(4, 16), *between, nn.Linear(16, 3))


def cases(name):
    """Options of the adapter by the name of the case; batches are those of one process."""
    return {
        "exact": {"module": lambda: net(False), "loss": None, "batch_size": 25, "max_epochs": 3},
        "DANN": {"module": net, "loss": DANN(), "max_epochs": 6, "random_state": None},
        "WDGRL": {"module": net, "loss": WDGRL(critic_steps=2), "batch_size": 33, "max_epochs": 4},
        "stopped": {
            "module": net,
            "loss": DeepCORAL(),
            "max_epochs": 8,
            "patience": 2,
            "target_prior": "estimate",
            "lr": 5e-3,
        },
        "patient": {"module": net, "loss": DeepCORAL(), "max_epochs": 20, "target_prior": "estimate", "patience": 4},
    }[name]


def run(name, **options):
    """Fit one case with some labelled target rows; what the process ends with."""
    X, y, X_target, truth = problem()
    y_target = np.where(np.arange(len(truth)) % 20 == 0, truth.astype(float), np.nan) if name == "WDGRL" else None
    adapter = DeepAdapter(**{"random_state": 0, "lr": 1e-2, "device": "cpu", **cases(name), **options})
    adapter.fit(X, y, X_target, y_target)
    state = [part.detach().numpy() for part in adapter.module_.state_dict().values()]
    if adapter.loss_ is not None:
        state += [part.detach().numpy() for part in adapter.loss_.parameters()]
    losses = [row.get(key, 0.0) for row in adapter.history_ for key in ("train_loss", "target_score")]
    return {"state": state, "losses": losses, "proba": adapter.predict_proba(X_target)}


def two_processes(engine, names, folder):
    """What each of two connected processes ends with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    shared |= {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    code = WORKER.format(connect=CONNECT[engine])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, ",".join(names), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    return two_processes("torchrun", ["exact", "DANN", "WDGRL", "stopped", "patient"], folder), folder


def test_two_processes_with_half_batches_do_what_one_does_with_whole_batches(together):
    (first, _), _ = together
    alone = run("exact", batch_size=50)
    np.testing.assert_allclose(first["exact"]["proba"], alone["proba"], atol=1e-5)
    np.testing.assert_allclose(first["exact"]["losses"], alone["losses"], rtol=1e-4)


@pytest.mark.parametrize("name", ["exact", "DANN", "WDGRL", "stopped", "patient"])
def test_both_processes_end_with_the_same_module_and_history(together, name):
    """Also with a seed of their own each, dropout, a critic that trains itself, and early stopping."""
    (first, second), _ = together
    assert first[name]["losses"] == second[name]["losses"]
    for a, b in zip(first[name]["state"], second[name]["state"], strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_two_processes_learn_is_as_good(together):
    """On average over seeds: one training of a few epochs differs from the next by more than the margin."""
    (first, _), _ = together
    truth = problem()[3]

    def accuracy(results):
        return np.mean([result["proba"].argmax(axis=1) == truth for result in results])

    for name in LEARN:
        batch_size = 2 * cases(name).get("batch_size", 64)
        alone = accuracy(run(name, batch_size=batch_size, random_state=seed) for seed in SEEDS)
        team = accuracy(first[name, seed] for seed in SEEDS)
        assert team > alone - 0.05, (name, team, alone)


@pytest.mark.slow
def test_a_team_writes_one_checkpoint_and_goes_on_from_it(together):
    (first, _), folder = together
    assert not list(folder.glob("*.partial"))
    again = two_processes("torchrun", ["WDGRL"], folder)
    for result in again:
        assert result["WDGRL"]["losses"] == first["WDGRL"]["losses"]
        np.testing.assert_array_equal(result["WDGRL"]["proba"], first["WDGRL"]["proba"])


@pytest.mark.slow
@pytest.mark.parametrize("engine, package", [("accelerate", "accelerate"), ("lightning", "lightning_fabric")])
def test_engines_connect_the_processes(together, tmp_path, engine, package):
    pytest.importorskip(package)
    (first, _), _ = together
    for result in two_processes(engine, ["exact"], tmp_path):
        np.testing.assert_array_equal(result["exact"]["proba"], first["exact"]["proba"])


def test_without_a_group_the_user_is_told():
    with pytest.raises(InputError, match="distributed=True in a process without a process group"):
        run("exact", distributed=True)
