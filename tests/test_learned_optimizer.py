"""LearnedOptimizer: its steps by hand, what it beats on its own family, the estimator contract."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from da_toolkit.transfer._learned_optimizer import (  # noqa: E402
    LearnedOptimizer,
    Problem,
    StepNetwork,
    _problem,
    scaled_logarithm,
)
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def quadratics(seed, d=10):
    """Andrychowicz et al. 2016, section 3.1: |W x - y|^2 with Gaussian W, y and start."""
    rng = np.random.default_rng(seed)
    while True:
        W, y, start = (torch.tensor(rng.normal(size=size)).float() for size in ((d, d), d, d))
        yield lambda x, W=W, y=y: (W @ x - y).square().sum(), start


def quick(**options):
    return LearnedOptimizer(**{"horizon": 6, "unroll": 3, "max_epochs": 3, "random_state": 0, **options})


def tuned(make, tasks, rates, steps=20):
    """Mean loss after some steps at the best of many rates."""
    means = []
    for rate in rates:
        ends = []
        for loss, start in tasks:
            problem = Problem(loss, start)
            theta = problem.start.clone().requires_grad_()
            optimizer = make([theta], lr=rate)
            for _ in range(steps):
                optimizer.zero_grad()
                problem(theta).backward()
                optimizer.step()
            ends.append(problem(theta).item())
        means.append(np.mean(ends))
    return np.nanmin(means)


# --- formulas -----------------------------------------------------------------------------------------------


def test_gradients_are_given_as_logarithm_and_sign():
    g = [1.0, -math.exp(-3), math.exp(-10), 0.5 * math.exp(-10), -0.1 * math.exp(-10), 0.0]
    expected = [[0, 1], [-0.3, -1], [-1, 1], [-1, 0.5], [-1, -0.1], [-1, 0]]
    given = scaled_logarithm(torch.tensor(g, dtype=torch.float64))
    np.testing.assert_allclose(given, expected, atol=1e-12)


def test_every_coordinate_has_the_same_network_and_its_own_memory():
    optimizer = quick().fit(list(islice(quadratics(0, 3), 40)))
    c = torch.tensor([2.0, -1.0, 0.5])
    together, losses = optimizer.minimise(lambda x: (c * x).sum() + 100, torch.zeros(3), 5)
    apart = [optimizer.minimise(lambda x, a=a: a * x[0] + 100, torch.zeros(1), 5)[0] for a in c]
    torch.testing.assert_close(together, torch.cat(apart))
    assert losses[0] == 100 and losses[-1] == pytest.approx(100 + (c * together).sum().item(), rel=1e-6)


def test_one_step_by_hand():
    optimizer = quick().fit(list(islice(quadratics(0, 3), 40)))
    network = optimizer.network_
    x, _ = optimizer.minimise(lambda x: (x**2).sum(), torch.tensor([3.0, 0.0]), 1)
    zero = torch.zeros(2, network.first.hidden_size)
    h, _ = network.first(scaled_logarithm(torch.tensor([6.0, 0.0])), (zero, zero))
    h, _ = network.second(h, (zero, zero))
    torch.testing.assert_close(x, torch.tensor([3.0, 0.0]) + 0.1 * network.output(h)[:, 0])


def test_the_gradient_of_an_unroll_takes_slopes_for_constants():
    """Against the derivative written out for two steps, with the slopes held fixed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = StepNetwork(4, 0.1)
    task = next(quadratics(0, 3))
    learnt = copy.deepcopy(network)
    quick(horizon=2, unroll=2)._learn(learnt, torch.optim.SGD(learnt.parameters(), lr=1.0), [task])
    problem, state = _problem(task), network.start(3)
    theta, slopes = problem.start, []
    for _ in range(2):
        slopes.append(torch.autograd.grad(problem(t := theta.detach().requires_grad_()), t)[0])
        step, state = network(slopes[-1], state)
        theta = theta + step
    theta, state, losses = problem.start, network.start(3), [problem(problem.start)]
    for slope in slopes:
        step, state = network(slope, state)
        theta = theta + step
        losses.append(problem(theta))
    torch.stack(losses).mean().log().backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for before, after in zip(network.parameters(), learnt.parameters(), strict=True):
        torch.testing.assert_close(after, before - before.grad, rtol=1e-4, atol=1e-6)


# --- what it is worth ---------------------------------------------------------------------------------------


def test_it_beats_tuned_descent_on_small_quadratics():
    held_out = list(islice(quadratics(99, 4), 40))
    optimizer = LearnedOptimizer(horizon=20, max_epochs=80, meta_batch=8, random_state=0).fit(quadratics(0, 4))
    ends = [optimizer.minimise(*task, steps=20)[1][-1] for task in held_out]
    assert np.mean(ends) < tuned(torch.optim.SGD, held_out, np.geomspace(1e-3, 0.2, 10))
    assert np.mean(ends) < tuned(torch.optim.Adam, held_out, np.geomspace(1e-2, 1, 10))
    assert optimizer.validation_[-1] < optimizer.validation_[0] / 2


@pytest.mark.slow
def test_it_beats_tuned_descent_on_the_quadratics_of_the_paper():
    """Of one seed; bench_meta.py has more."""
    held_out = list(islice(quadratics(99), 40))
    optimizer = LearnedOptimizer(random_state=0).fit(quadratics(0))
    ends = [optimizer.minimise(*task, steps=20)[1][-1] for task in held_out]
    assert np.mean(ends) < tuned(torch.optim.SGD, held_out, np.geomspace(1e-3, 0.1, 15))
    assert np.mean(ends) < tuned(torch.optim.Adam, held_out, np.geomspace(1e-2, 2, 15))


def digits(classes, seed):
    """Which of two digits? A small network from ten rows of each; other rows to judge by."""
    X, y = load_digits(return_X_y=True)
    X, rng = torch.tensor(X / 16).float(), np.random.default_rng(seed)
    while True:
        a, b = rng.choice(classes, size=2, replace=False)
        rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:30] for c in (a, b)])
        few = np.concatenate([rows[:10], rows[30:40]])
        rest = np.setdiff1d(rows, few)
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**31)))
            net = nn.Sequential(nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 2))
        x, truth = X[few], torch.as_tensor(y[few] == b).long()
        loss = lambda f, x=x, truth=truth: F.cross_entropy(f(x), truth)  # noqa: E731
        yield (loss, net), (X[rest], y[rest] == b)


@pytest.mark.slow
def test_a_module_is_trained_on_few_labels_of_digits_never_seen():
    optimizer = LearnedOptimizer(horizon=20, max_epochs=40, meta_batch=8, validation=8, random_state=0)
    optimizer.fit(task for task, _ in digits([0, 1, 2, 3, 4, 5], 0))
    held_out = list(islice(digits([6, 7, 8, 9], 1), 10))
    ends, scores = [], []
    for task, (X, truth) in held_out:
        before = copy.deepcopy(task[1].state_dict())
        net, losses = optimizer.minimise(*task, steps=20)
        assert all(torch.equal(p, before[name]) for name, p in task[1].state_dict().items())
        assert losses[-1] == pytest.approx(task[0](net).item(), rel=1e-4)
        ends.append(losses[-1])
        scores.append(np.mean(net(X).argmax(dim=1).numpy() == truth))
    assert np.mean(ends) < 0.1 and np.mean(scores) > 0.85  # log 2 is where they start


class Recorded:
    """Tasks that can be passed through again, and which of them were asked for a loss."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.seen = set()

    def __iter__(self):
        def asked(number, loss):
            return lambda x: (self.seen.add(number), loss(x))[1]

        return ((asked(number, loss), start) for number, (loss, start) in enumerate(self.tasks))


@pytest.mark.parametrize("form", [lambda tasks: tasks, list, iter])
def test_tasks_held_out_are_never_trained_on(monkeypatch, form):
    recorded = Recorded(list(islice(quadratics(0, 3), 10)))
    monkeypatch.setattr(LearnedOptimizer, "_judge", lambda *_: 1.0)
    quick(validation=4, meta_batch=3, max_epochs=5).fit(form(recorded))
    assert recorded.seen == set(range(4, 10))


# --- an estimator like others -------------------------------------------------------------------------------


def test_clone_pickle_and_same_seed():
    tasks = list(islice(quadratics(0, 3), 40))
    state, threads, starts = torch.get_rng_state(), torch.get_num_threads(), [start.clone() for _, start in tasks]
    first = quick().fit(tasks)
    again = pickle.loads(pickle.dumps(clone(first).fit(tasks)))
    other = clone(first).set_params(random_state=1).fit(tasks)
    expected = first.minimise(*tasks[0], steps=4)[1]
    np.testing.assert_array_equal(again.minimise(*tasks[0], steps=4)[1], expected)
    np.testing.assert_array_equal(first.fit(tasks).minimise(*tasks[0], steps=4)[1], expected)
    assert not np.array_equal(other.minimise(*tasks[0], steps=4)[1], expected)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert all(torch.equal(now, then) for (_, now), then in zip(tasks, starts, strict=True))


@pytest.mark.parametrize("form", ["tensor", "list", "dict", "module"])
def test_parameters_come_back_as_they_were_given(form):
    optimizer = quick().fit(list(islice(quadratics(0, 3), 40)))
    a, b = torch.ones(2, 3, dtype=torch.float64), torch.ones(4)
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    given, loss = {
        "tensor": (a, lambda p: p.square().sum()),
        "list": ([a, b], lambda p: p[0].square().sum() + p[1].square().sum()),
        "dict": ({"a": a, "b": b}, lambda p: p["a"].square().sum() + p["b"].square().sum()),
        "module": (module, lambda net: net(torch.ones(1, 3)).square().sum() + 1),
    }[form]
    after, losses = optimizer.minimise(loss, given, 3)
    assert losses.shape == (4,) and np.isfinite(losses).all() and type(after) is type(given)
    if form == "module":
        assert torch.equal(after.bias, module.bias) and not torch.equal(after.weight, module.weight)
    if form == "tensor":
        assert after.shape == a.shape and after.dtype == a.dtype and not after.requires_grad
    assert torch.equal(a, torch.ones_like(a))


@pytest.mark.parametrize(
    "options, tasks, message",
    [
        ({"horizon": 0}, quadratics(0), "horizon=0"),
        ({"lr": -1.0}, quadratics(0), "lr=-1.0"),
        ({}, [], "no more than 0 tasks"),
        ({}, list(islice(quadratics(0), 16)), "no more than 16 tasks"),
        ({}, [1, 2] * 40, "no pair"),
        ({}, [(lambda x: -x.square().sum(), torch.ones(2))] * 40, "loss above zero"),
        ({}, [(lambda x: x, torch.ones(2))] * 40, "no scalar"),
        ({}, [(lambda x: x.sum(), [1, 2])] * 40, "tensors of floats"),
    ],
)
def test_bad_calls_are_explained(options, tasks, message):
    with pytest.raises(InputError, match=message):
        quick(**options).fit(tasks)


def test_bad_steps_are_explained():
    optimizer = quick().fit(list(islice(quadratics(0, 3), 40)))
    with pytest.raises(InputError, match="steps=0"):
        optimizer.minimise(*next(quadratics(0, 3)), steps=0)
