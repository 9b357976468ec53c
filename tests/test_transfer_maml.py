"""MAML and ANIL: the inner loop and its derivative by hand, sinusoids, domains, the estimator contract."""

from __future__ import annotations

import copy
import pickle
from itertools import islice

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit._target import Target  # noqa: E402
from da_toolkit.deep import DeepAdapter  # noqa: E402
from da_toolkit.transfer._inner_loop import Episode, Learner  # noqa: E402
from da_toolkit.transfer._maml import ANIL, MAML  # noqa: E402
from da_toolkit.transfer._tasks import draw_rows  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def net(*widths, activation=nn.ReLU, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for i, o in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(i, o), activation()]
        return nn.Sequential(*layers[:-1])


def flips(seed=0, n_domains=20, rows=20, shift=True):
    """Two classes by the first of three columns; which end is which depends on the domain, unless nothing shifts."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n_domains * rows, 3)), rng.normal(size=(300, 3))
    domain = np.arange(len(X)) % n_domains
    sign = (rng.permutation(np.arange(n_domains) % 2) * 2 - 1)[domain] if shift else -1
    y, y_target = (sign * X[:, 0] > 0).astype(int), (X_target[:, 0] < 0).astype(int)
    few = np.where(np.arange(300) < 8, y_target, np.nan)
    return X, y, X_target, few, y_target, domain


def quick(cls=MAML, **options):
    return cls(**{"module": net(3, 16, 2), "max_steps": 5, "random_state": 0, "device": "cpu", **options})


def sines(seed, shots=5, query=10):
    """Finn et al. 2017, section 5.1: amplitude and phase differ between tasks."""
    rng = np.random.default_rng(seed)
    while True:
        amplitude, phase = rng.uniform(0.1, 5), rng.uniform(0, np.pi)
        x = rng.uniform(-5, 5, size=(shots + query, 1))
        y = amplitude * np.sin(x[:, 0] - phase)
        yield x[:shots], y[:shots], x[shots:], y[shots:]


# --- formulas -----------------------------------------------------------------------------------------------


def test_a_steep_task_is_left_in_steps_of_bounded_length():
    start = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}
    start["weight"].requires_grad_()
    learner = Learner(nn.Linear(2, 1), ["weight", "bias"], 1, first_order=False)
    for size, length in ((100.0, 8.0), (0.0, 0.0)):  # a gradient that is too long, and none
        x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([size])
        after = learner.adapt(start, {"weight": 0.1, "bias": 0.1}, x, y, torch.ones(1), steps=1)
        moved = torch.cat([(after[name] - start[name]).flatten() for name in start])
        assert moved.norm().item() == pytest.approx(0.1 * length)
        (slope,) = torch.autograd.grad(learner.loss(after, x, y, torch.ones(1)), start["weight"])
        assert slope.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_the_defaults_converge_on_a_regression_of_either_sign(seed):
    rng = np.random.default_rng(seed)
    X, domain = rng.normal(size=(400, 3)), np.arange(400) % 20
    sign, X_target = rng.choice([-1, 1], 20)[domain], rng.normal(size=(200, 3))
    y, y_target = sign * X[:, 0] + 0.1 * rng.normal(size=400), -X_target[:, 0]
    few = np.where(np.arange(200) < 6, y_target, np.nan)
    model = MAML(max_steps=250, random_state=0).fit(X, y, X_target, few, source_domain=domain)
    assert max(model.history_) < 2 and model.score(X_target, y_target) > 0.9


def test_an_inner_step_is_the_gradient_step_of_a_linear_model():
    rng = np.random.default_rng(0)
    X, y, weight, w, b = rng.normal(size=(6, 3)), rng.normal(size=6), rng.uniform(size=6), rng.normal(size=3), 0.3
    for _ in range(2):
        error = weight * (X @ w + b - y) / weight.sum()
        w, b = w - 0.1 * 2 * X.T @ error, b - 0.1 * 2 * error.sum()
    rng = np.random.default_rng(0)
    parts = [torch.tensor(part) for part in (rng.normal(size=(6, 3)), rng.normal(size=6), rng.uniform(size=6))]
    start = {"weight": torch.tensor(rng.normal(size=(1, 3))), "bias": torch.tensor([0.3], dtype=torch.float64)}
    learner = Learner(nn.Linear(3, 1).double(), ["weight", "bias"], 1, first_order=False)
    after = learner.adapt(start, {"weight": 0.1, "bias": 0.1}, *parts, steps=2)
    np.testing.assert_allclose(after["weight"][0], w)
    np.testing.assert_allclose(after["bias"][0], b)


def episode(seed, n_outputs):
    rng = np.random.default_rng(seed)
    y = (lambda n: rng.normal(size=n)) if n_outputs == 1 else (lambda n: rng.integers(n_outputs, size=n))
    return Episode(*(torch.tensor(p) for n in (4, 7) for p in (rng.normal(size=(n, 2)), y(n), rng.uniform(size=n))))


@pytest.mark.parametrize("layer", [None, "2"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_meta_gradient_is_the_numerical_derivative_through_the_inner_loop(n_outputs, layer):
    module = net(2, 4, n_outputs, activation=nn.Tanh).double()
    parameters = dict(module.named_parameters())
    moved = [name for name in parameters if layer is None or name.startswith(layer)]
    rates = {name: torch.full_like(parameters[name], 0.3, requires_grad=True) for name in moved}
    task = episode(0, n_outputs)
    learner = Learner(module, moved, n_outputs, first_order=False)
    learner.query_loss(parameters, rates, 3, task).backward()
    for tensor in [*parameters.values(), *rates.values()]:
        flat, numeric = tensor.detach().view(-1), []
        for i in range(len(flat)):
            ends = []
            for step in (1e-5, -2e-5):
                flat[i] += step
                ends.append(learner.query_loss(parameters, rates, 3, task).item())
            flat[i] += 1e-5
            numeric.append((ends[0] - ends[1]) / 2e-5)
        np.testing.assert_allclose(tensor.grad.view(-1), numeric, rtol=1e-5, atol=1e-9)


def test_first_order_is_the_gradient_at_the_adapted_parameters():
    module = net(2, 4, 3, activation=nn.Tanh).double()
    parameters, task = dict(module.named_parameters()), episode(1, 3)
    rates = dict.fromkeys(parameters, 0.3)
    Learner(module, list(parameters), 3, first_order=True).query_loss(parameters, rates, 2, task).backward()
    second = Learner(module, list(parameters), 3, first_order=False)
    after = {n: p.detach().requires_grad_() for n, p in second.adapt(parameters, rates, *task[:3], steps=2).items()}
    second.loss(after, *task[3:]).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter.grad, after[name].grad)


def test_tasks_in_one_batch_are_the_tasks_one_by_one():
    module = net(2, 4, 3).double()
    parameters, tasks = dict(module.named_parameters()), [episode(seed, 3) for seed in range(4)]
    rates = dict.fromkeys(parameters, 0.3)
    learner = Learner(module, list(parameters), 3, first_order=False)
    together = learner.query_losses(parameters, rates, 2, tasks)
    torch.testing.assert_close(together, torch.stack([learner.query_loss(parameters, rates, 2, t) for t in tasks]))
    unequal = [*tasks, Episode(*(part[:3] for part in tasks[0]))]
    torch.testing.assert_close(learner.query_losses(parameters, rates, 2, unequal)[:4], together)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_sinusoids_from_five_points_in_one_step(seed):
    """Far below a network trained on all tasks together and one from scratch, each at its best of many rates."""
    held_out = [[torch.tensor(p).float() for p in task] for task in islice(sines(100 + seed, 5, 100), 50)]
    maml = MAML(
        net(1, 40, 40, 1, seed=seed),
        inner_lr=0.01,
        inner_steps=1,
        meta_batch=25,
        meta_lr=3e-3,
        max_steps=300,
        task="regression",
        random_state=seed,
    ).fit_tasks(sines(seed))
    error = np.mean([np.mean((maml.adapt(x, y).predict(u) - v.numpy()) ** 2) for x, y, u, v in held_out])

    def best_of(module):
        learner, start = (
            Learner(module, list(dict(module.named_parameters())), 1, True),
            dict(module.named_parameters()),
        )
        errors = []
        with torch.no_grad():
            for rate in (1e-3, 3e-3, 1e-2, 3e-2):
                rates = dict.fromkeys(start, rate)
                errors.append(
                    np.mean([learner.query_loss(start, rates, 1, _episode(task)).item() for task in held_out])
                )
        return min(errors)

    joint = net(1, 40, 40, 1, seed=seed)
    optimizer, stream = torch.optim.Adam(joint.parameters(), 1e-3), sines(seed)
    for _ in range(300):
        tasks = list(islice(stream, 25))
        x, y = (torch.tensor(np.concatenate([t[i] for t in tasks] + [t[i + 2] for t in tasks])) for i in (0, 1))
        loss = nn.functional.mse_loss(joint(x.float())[:, 0], y.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error < best_of(joint) / 2 < best_of(net(1, 40, 40, 1, seed=seed + 50)) / 2


def _episode(task):
    x, y, u, v = task
    return Episode(x, y, torch.ones(len(x)), u, v, torch.ones(len(u)))


# --- domains ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [MAML, ANIL])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_concept_that_turns_between_domains_is_read_off_eight_labels(cls, seed):
    """Where a network trained on all domains and the target's labels follows whatever few rows of chance outweigh."""
    X, y, X_target, few, truth, domain = flips(seed)
    module = net(3, 16, 2, seed=seed)
    model = cls(module, max_steps=150, meta_lr=5e-3, random_state=seed)
    model.fit(X, y, X_target, few, source_domain=domain)
    pooled = DeepAdapter(module, random_state=seed).fit(X, y, X_target, few)
    score = model.score(X_target[8:], truth[8:])
    assert score > 0.9 and score > pooled.score(X_target[8:], truth[8:]) + 0.1
    assert np.mean(model.history_[-20:]) < 0.3 < np.mean(model.history_[:5])


@pytest.mark.parametrize("cls", [MAML, ANIL])
def test_no_harm_without_shift(cls):
    X, y, X_target, few, truth, domain = flips(shift=False)
    model = cls(net(3, 16, 2), max_steps=100, meta_lr=5e-3, random_state=0)
    model.fit(X, y, X_target, few, source_domain=domain)
    pooled = DeepAdapter(net(3, 16, 2), random_state=0).fit(X, y, X_target, few)
    assert model.score(X_target[8:], truth[8:]) > pooled.score(X_target[8:], truth[8:]) - 0.02
    assert np.mean(model.predict_source(X) == y) > 0.95


def test_regression_predicts_in_the_units_of_y():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(600, 3)), rng.normal(size=(300, 3))
    domain = np.arange(600) % 30
    slope = rng.normal(size=30)
    y, y_target = 1000 + 100 * slope[domain] * X[:, 0], 1000 - 150 * X_target[:, 0]
    few = np.where(np.arange(300) < 8, y_target, np.nan)
    model = MAML(net(3, 16, 1), max_steps=150, meta_lr=5e-3, random_state=0)
    model.fit(X, y, X_target, few, source_domain=domain)
    assert is_regressor(model) and not hasattr(model, "predict_proba")
    assert model.score(X_target[8:], y_target[8:]) > 0.8


def test_anil_moves_the_head_alone_and_frozen_parameters_stay():
    X, y, X_target, few, _, domain = flips()
    module = net(3, 16, 8, 2)
    module[0].requires_grad_(False)
    anil = quick(ANIL, module=module).fit(X, y, X_target, few, source_domain=domain)
    before, after, given = (m.state_dict() for m in (anil.meta_module_, anil.module_, module))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    learnt = [name for name in before if not torch.equal(before[name], given[name])]
    assert moved == list(anil.rates_) == ["4.weight", "4.bias"]
    assert learnt == ["2.weight", "2.bias", "4.weight", "4.bias"]
    middle = quick(MAML, module=module, layer="2").fit(X, y, X_target, few, source_domain=domain)
    assert list(middle.rates_) == ["2.weight", "2.bias"]


def test_groups_are_never_in_support_and_query():
    groups = np.repeat(np.arange(30), np.random.default_rng(0).integers(1, 6, size=30))
    parts = [np.flatnonzero(groups < 15), np.flatnonzero(groups >= 15)]
    draws = draw_rows(parts, groups, 6, 100, np.random.RandomState(0))
    for support, query, apart in islice(draws, 50):
        assert len(set(support)) == 6 and apart.any()
        assert not set(groups[support]) & set(groups[query[apart > 0]])
        assert set(groups[query[apart == 0]]) <= set(groups[support])


def test_rows_of_weight_zero_are_left_out_and_weights_count():
    X, y, X_target, few, _, domain = flips()
    weight = np.where(np.arange(len(X)) < 300, 1.0, 0.0)
    left_out = quick().fit(X, y, X_target, few, source_domain=domain, sample_weight=weight)
    absent = quick().fit(X[:300], y[:300], X_target, few, source_domain=domain[:300])
    np.testing.assert_allclose(left_out.predict_proba(X_target), absent.predict_proba(X_target), atol=1e-6)
    uneven = quick().fit(X, y, X_target, few, source_domain=domain, sample_weight=1.0 + (y == 1))
    even = quick().fit(X, y, X_target, few, source_domain=domain)
    assert not np.allclose(uneven.predict_proba(X_target), even.predict_proba(X_target))


# --- streams of tasks ---------------------------------------------------------------------------------------


def clusters(seed, way=3, shots=2, query=5):
    """N-way K-shot: classes are places in two of five dimensions, new ones in every task."""
    rng = np.random.default_rng(seed)
    while True:
        centers = np.zeros((way, 5))
        centers[:, :2] = rng.normal(size=(way, 2)) * 2
        names = rng.choice(1000, size=way, replace=False)
        rows = centers[:, None] + rng.normal(size=(way, shots + query, 5)) * ([0.3] * 2 + [2.0] * 3)
        support, rest = rows[:, :shots].reshape(-1, 5), rows[:, shots:].reshape(-1, 5)
        yield support, np.repeat(names, shots), rest, np.repeat(names, query)


@pytest.mark.parametrize("cls", [MAML, ANIL])
def test_episodes_with_classes_of_their_own(cls):
    model = cls(net(5, 32, 16, 3), inner_lr=0.3, max_steps=80, meta_lr=1e-2, random_state=0).fit_tasks(clusters(0))
    scores, nearest = [], []
    for x, y, u, v in islice(clusters(1), 30):
        adapted = model.adapt(x, y)
        scores.append(adapted.score(u, v))
        nearest.append(np.mean(y[((u[:, None] - x) ** 2).sum(axis=2).argmin(axis=1)] == v))
        assert adapted.predict_proba(u).shape == (len(u), 3)
    assert np.mean(scores) > np.mean(nearest) + 0.1
    words = np.array(["c", "a", "a", "c", "b", "b"])
    assert set(model.adapt(x, words).predict(u)) <= {"a", "b", "c"}
    two = model.adapt(x[:4], y[:4])
    assert two.predict_proba(u).shape == (len(u), 2) and set(two.predict(u)) <= set(y[:4])
    with pytest.raises(InputError, match="adapt"):
        model.predict(u)
    with pytest.raises(InputError, match="4 classes"):
        model.adapt(x[:4], [0, 1, 2, 3])


def test_lists_generators_and_default_networks():
    tasks = list(islice(clusters(0), 6))
    short = MAML(max_steps=3, meta_batch=4, random_state=0, device="cpu").fit_tasks(tasks)
    assert len(short.history_) == 3
    ended = MAML(net(5, 8, 3), max_steps=9, meta_batch=5, random_state=0).fit_tasks(iter(tasks))
    assert len(ended.history_) == 1  # the first task says what kind they are
    again = clone(short).fit_tasks(tuple(tasks))
    x, y, u, _ = tasks[0]
    np.testing.assert_array_equal(short.adapt(x, y).predict_proba(u), again.adapt(x, y).predict_proba(u))
    shared = [(x, np.repeat([0, 1, 2], 2), u, np.repeat([0, 1, 2], 5)) for x, _, u, _ in tasks]
    same = MAML(net(5, 8, 3), max_steps=3, random_state=0).fit_tasks(shared, classes=[0, 1, 2])
    assert same.adapt(x[:2], [1, 1]).predict_proba(u).shape == (15, 3)


# --- an estimator like others -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [MAML, ANIL])
def test_clone_pickle_and_same_seed(cls):
    X, y, X_target, few, _, domain = flips()
    module = net(3, 16, 2)
    before = copy.deepcopy(module.state_dict()), X.copy(), few.copy()
    seed, threads = torch.initial_seed(), torch.get_num_threads()
    state = torch.get_rng_state()
    model = quick(cls, module=module)
    first = clone(model).fit(X, y, X_target, few, source_domain=domain)
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, X_target, few, source_domain=domain)))
    np.testing.assert_array_equal(first.predict_proba(X_target), again.predict_proba(X_target))
    proba = first.predict_proba(X_target)
    np.testing.assert_array_equal(first.fit(X, y, X_target, few, source_domain=domain).predict_proba(X_target), proba)
    assert not np.array_equal(
        clone(model).set_params(random_state=1).fit(X, y, X_target, few, source_domain=domain).predict_proba(X_target),
        proba,
    )
    assert is_classifier(first.set_params(task="classification"))
    assert (torch.initial_seed(), torch.get_num_threads()) == (seed, threads) and torch.equal(
        torch.get_rng_state(), state
    )
    assert all(
        torch.equal(now, then) for now, then in zip(module.state_dict().values(), before[0].values(), strict=True)
    )
    np.testing.assert_array_equal(X, before[1])
    np.testing.assert_array_equal(few, before[2])


def test_frames_targets_and_words():
    X, y, X_target, few, _, domain = flips()
    names = np.array(["low", "high"])
    words = np.array([None if np.isnan(v) else names[int(v)] for v in few], object)
    frame, frame_target = (pd.DataFrame(rows, columns=list("abc")) for rows in (X, X_target))
    plain = quick().fit(X, y, X_target, few, source_domain=domain)
    model = quick().fit(frame, names[y], Target(frame_target, words), source_domain=pd.Series(domain).map(str))
    assert model.classes_.tolist() == ["high", "low"] and model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert set(model.predict(frame_target)) <= set(names) and plain.predict(X_target).shape == (300,)
    with pytest.raises(InputError, match="another order"):
        model.predict(frame_target[["b", "a", "c"]])


@pytest.mark.parametrize("extra", [nn.BatchNorm1d(16), nn.Dropout(0.5), nn.GroupNorm(2, 16)])
def test_modules_with_other_layers(extra):
    X, y, X_target, few, _, domain = flips()
    module = nn.Sequential(*net(3, 16, 2)[:2], extra, nn.Linear(16, 2))
    before = copy.deepcopy(module.state_dict())
    model = quick(module=module).fit(X, y, X_target, few, source_domain=domain)
    assert np.isfinite(model.predict_proba(X_target)).all()
    np.testing.assert_array_equal(model.predict_proba(X_target), model.predict_proba(X_target))
    assert all(torch.equal(now, then) for now, then in zip(module.state_dict().values(), before.values(), strict=True))


class Slow(nn.Module):
    """Has a branch that depends on the values, which cannot be batched over tasks."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        return self.last(x if x.sum() > 0 else 2 * x)


def test_modules_that_cannot_be_batched_are_run_task_by_task():
    X, y, X_target, few, _, domain = flips()
    assert quick(module=Slow).fit(X, y, X_target, few, source_domain=domain).predict(X_target).shape == (300,)


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({"y_target": None}, {}, "without target labels"),
        ({"X_target": None}, {}, "without X_target"),
        ({"source_domain": None}, {}, "at least two domains"),
        ({"source_domain": np.zeros(400)}, {}, "1 source domains"),
        ({"source_domain": np.arange(400)}, {}, "single row"),
        ({"source_domain": np.zeros(3)}, {}, "source_domain has shape"),
        ({"sample_weight": -np.ones(400)}, {}, "negative"),
        ({"sample_weight": ["heavy"] * 400}, {}, "sample_weight with values that are no numbers"),
        ({"groups": np.arange(400) % 20}, {}, "single row or group"),
        ({"y_target": np.full(300, 7.0)}, {}, "which y has not"),
        ({}, {"inner_steps": 0}, "inner_steps=0"),
        ({}, {"inner_lr": -1.0}, "inner_lr"),
        ({}, {"support": 0}, "support=0"),
        ({}, {"task": "ranking"}, "ranking"),
        ({}, {"layer": "7"}, "layer='7'"),
        ({}, {"layer": "1"}, "no trainable parameter"),
        ({}, {"module": net(3, 4, 5)}, "logits of 2 classes"),
        ({}, {"inner_lr": 1e30, "inner_steps": 9}, "query loss"),
    ],
)
def test_bad_calls_are_explained(change, options, message):
    X, y, X_target, few, _, domain = flips()
    call = {"X": X, "y": y, "X_target": X_target, "y_target": few, "source_domain": domain, **change}
    with pytest.raises(InputError, match=message):
        quick(**options).fit(**call)


def test_fit_and_fit_tasks_leave_nothing_to_each_other():
    X, y, X_target, few, _, domain = flips()
    model = quick().fit(X, y, X_target, few, source_domain=domain)
    fresh = model.predict_proba(X_target)
    model.fit_tasks([(X[:10], y[:10] + 5, X[10:20], np.repeat([5, 6], 5))])
    with pytest.raises(InputError, match="adapt"):
        model.predict_source(X)
    model.fit(X, y, X_target, few, source_domain=domain)
    np.testing.assert_array_equal(model.predict_proba(X_target), fresh)
    assert model.adapt(X[:4], y[:4]).predict_proba(X).shape == (400, 2)


def test_bad_tasks_are_explained():
    with pytest.raises(InputError, match="empty"):
        quick().fit_tasks([])
    with pytest.raises(InputError, match="3 parts"):
        quick().fit_tasks([(1, 2, 3)])
    x, y, u, v = next(clusters(0))
    with pytest.raises(InputError, match="the classes"):
        quick(module=net(5, 3)).fit_tasks([(x, y, u, v + 1)])
