"""FineTuning: the penalty, rates and order of its docstring; what is reused; gains, no harm, the estimator contract."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit._target import Target  # noqa: E402
from da_toolkit.deep import MLP, DeepAdapter, frozen_module  # noqa: E402
from da_toolkit.deep._trainer import Rows  # noqa: E402
from da_toolkit.transfer._fine_tuning import FineTuning  # noqa: E402
from da_toolkit.transfer._fine_tuning_training import Plan, prepare, rates_of, tune  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def problem(seed, change=0.0, n=400, m=None, regression=False):
    """Three classes by the largest of three directions, which the target turns by `change`."""
    rng = np.random.default_rng(seed)
    W = np.random.default_rng(0).normal(size=(2, 6, 3))
    X = rng.normal(size=(n, 6))
    scores = X @ (np.sqrt(1 - change**2) * W[0] + change * W[1])
    y = scores[:, 0] + 0.3 * rng.normal(size=n) if regression else scores.argmax(axis=1)
    few = y.astype(float)
    few[m:] = np.nan
    return X, y, few


@pytest.fixture(scope="module")
def source():
    X, y, _ = problem(1)
    return DeepAdapter(max_epochs=20, random_state=0, device="cpu").fit(X, y, X)


def quick(model, **options):
    defaults = {"head_epochs": 5, "max_epochs": 10, "random_state": 0, "device": "cpu"}
    return FineTuning(model, **{**defaults, **options})


def plan(**changes):
    net = {"n_outputs": 3, "head": "head", "head_epochs": 0, "max_epochs": 4, "batch_size": 100, "lr": 0.01}
    return Plan(**{**net, "rates": {}, "l2_sp": 0.0, "l2": 0.0, "new": frozenset(), **changes})


def rows(n=20, seed=2) -> Any:
    X, y, _ = problem(seed, n=n)
    return Rows(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y))


def moved(before, after):
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    return {name: float((p - q).detach().abs().max()) for (name, p), q in pairs}


# --- one run ------------------------------------------------------------------------------------------------


def test_the_head_learns_first_and_the_rates_are_each_layers_own():
    net = MLP(6, 3)
    head_only, _, losses = tune(net, rows(), plan(head_epochs=4), 4)
    assert len(losses) == 4 and losses[-1] < losses[0]
    for name, size in moved(net, head_only).items():
        assert (size > 0) == name.startswith("head.")
    slow = {"encoder.0.weight": 0.01, "encoder.0.bias": 0.0}
    everything, _, _ = tune(net, rows(), plan(rates=slow), 1)
    size = moved(net, everything)
    assert size["encoder.0.bias"] == 0 and size["encoder.0.weight"] == pytest.approx(1e-4, rel=0.05)
    assert size["encoder.2.weight"] == pytest.approx(0.01, rel=0.05)  # the first step of Adam is lr


def test_the_penalty_is_that_of_the_docstring():
    """Strong enough, the minimum is where its gradient cancels that of the loss: w - w0 = -grad / alpha."""
    net, data = nn.Sequential(nn.Linear(6, 3)), rows(60)
    zero: Any = nn.Sequential(nn.Linear(6, 3))
    with torch.no_grad():
        zero[0].weight.zero_(), zero[0].bias.zero_()
    for alpha, new, start in ((2.0, frozenset(), net), (3.0, frozenset({"0.weight", "0.bias"}), zero)):
        strengths = {"l2_sp": alpha, "l2": 0.0} if not new else {"l2_sp": 0.0, "l2": alpha}
        setting = plan(head="0", head_epochs=0, max_epochs=600, lr=0.003, new=new, **strengths)
        tuned, _, _ = tune(net, data, setting, 600)
        nn.functional.cross_entropy(tuned(data.inputs), data.y).backward()
        for p, q in zip(tuned.parameters(), start.parameters(), strict=True):
            assert p.grad is not None
            np.testing.assert_allclose((p - q).detach(), -p.grad / alpha, atol=0.004)


def test_classes_without_a_label_are_not_unlearnt():
    net: Any = MLP(6, 3)
    data: Any = rows(30)
    two = data.take(torch.nonzero(data.y < 2)[:, 0])
    tuned: Any = tune(net, two, plan(), 20)[0]
    assert moved(net, tuned)["head.bias"] > 0
    assert torch.equal(net.head.weight[2], tuned.head.weight[2]) and torch.equal(net.head.bias[2], tuned.head.bias[2])


def test_statistics_of_normalisation_layers_stay():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    tuned, outputs, _ = tune(net, rows(12), plan(head="3", batch_size=1), 4, rows(5, 3))
    for name, value in net.named_buffers():
        assert torch.equal(value, dict(tuned.named_buffers())[name])
    assert len(outputs) == 5 and moved(net, tuned)["1.weight"] > 0
    with torch.no_grad():
        torch.testing.assert_close(outputs[-1], tuned(rows(5, 3).inputs))


def test_what_is_frozen_stays_frozen(source):
    X, y, few = problem(4, 0.9, m=20)
    net = copy.deepcopy(source.module_)
    net.encoder.requires_grad_(False)
    tuned = quick(net, epochs=15).fit(X, y, X, few).module_
    assert {name for name, size in moved(net, tuned).items() if size > 0} == {"head.weight", "head.bias"}
    assert [p.requires_grad for p in tuned.parameters()] == [p.requires_grad for p in net.parameters()]
    net.requires_grad_(False)
    for options in ({}, {"head_epochs": 0}):
        with pytest.raises(InputError, match="a frozen"):
            quick(net, **options).fit(X, y, X, few)
    anew = quick(net, epochs=15, reuse="encoder").fit(X, y, X, few)  # a head made anew has to learn
    assert anew.score(X, y) > 0.5 and not anew.module_.encoder[0].weight.requires_grad


def test_rates_by_depth_and_by_name():
    net = MLP(6, 3)  # encoder.0, encoder.2, head
    by_depth = rates_of(net, 0.5)
    assert (by_depth["encoder.0.bias"], by_depth["encoder.2.weight"], by_depth["head.bias"]) == (0.25, 0.5, 1.0)
    named = rates_of(net, {"encoder": 0.1, "encoder.2": 0.0})
    assert (named["encoder.0.bias"], named["encoder.2.weight"], named["head.bias"]) == (0.1, 0.0, 1.0)
    with pytest.raises(InputError, match="layer_rates names 'decoder'"):
        rates_of(net, {"decoder": 1.0})


def test_what_reuse_leaves_out_is_made_anew():
    net = nn.Sequential()
    net.add_module("words", nn.EmbeddingBag(9, 4))
    net.add_module("hidden", nn.Linear(4, 4))
    net.add_module("head", nn.Linear(4, 3))
    for reuse in (["words"], ["words", "hidden.weight", "hidden.bias"]):
        fresh: Any = copy.deepcopy(net)
        new = prepare(fresh, reuse, "head", 5, False)
        kept = {"words.weight"} | ({"hidden.weight", "hidden.bias"} if len(reuse) > 1 else set())
        assert new == {name for name, _ in net.named_parameters()} - kept
        assert fresh.head.out_features == 5
        for name, value in net.named_parameters():
            same = name in kept
            assert name.startswith("head") or torch.equal(value, dict(fresh.named_parameters())[name]) == same
    with pytest.raises(InputError, match="reuse names 'word'"):
        prepare(net, "word", "head", 3, True)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.head = nn.Linear(4, 2)

    with pytest.raises(InputError, match="cannot be made anew"):
        prepare(Own(), "head", "head", 2, True)


# --- the choice of the epochs -------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [5, 12, pytest.param(40, marks=pytest.mark.slow)])
def test_no_harm_without_a_change(source, m):
    loss = []
    for seed in range(3):
        X_target, _, few = problem(10 + seed, m=m)
        X_new, y_new, _ = problem(20 + seed, n=1000)
        tuned = quick(source, head_epochs=15, max_epochs=25).fit(None, None, X_target[:m], few[:m])
        loss.append(source.score(X_new, y_new) - tuned.score(X_new, y_new))
    assert np.mean(loss) < 0.01


def test_a_gain_under_concept_shift(source):
    gains = []
    for seed in range(2):
        X_target, _, few = problem(30 + seed, 0.9, m=100)
        X_new, y_new, _ = problem(40 + seed, 0.9, n=1000)
        tuned = quick(source, head_epochs=15, max_epochs=25).fit(None, None, X_target[:100], few[:100])
        assert tuned.losses_.shape == (41,) and tuned.epochs_ > 0 and len(tuned.train_losses_) == tuned.epochs_
        gains.append(tuned.score(X_new, y_new) - source.score(X_new, y_new))
    assert min(gains) > 0.1


def test_regression_gains_and_keeps_the_units():
    X, y, _ = problem(3, regression=True)
    deep = DeepAdapter(max_epochs=20, random_state=0, device="cpu").fit(X, 100 * y + 1000, X)
    X_target, y_target, few = problem(4, 0.9, m=60, regression=True)
    X_new, y_new, _ = problem(5, 0.9, n=1000, regression=True)
    model = quick(deep, head_epochs=15, max_epochs=25)
    tuned = model.fit(X, 100 * y + 1000, X_target, 100 * few + 1000)
    assert is_regressor(model) and tuned.task_ == "regression" and not hasattr(tuned, "predict_proba")
    assert tuned.score(X_new, 100 * y_new + 1000) > deep.score(X_new, 100 * y_new + 1000) + 0.2
    np.testing.assert_allclose(tuned.predict_source(X), deep.predict(X), rtol=1e-5)
    same = FineTuning(deep, epochs=0).fit(None, None, X_target, 100 * few + 1000)
    np.testing.assert_allclose(same.predict(X_new), deep.predict(X_new), rtol=1e-5)


def test_one_label_changes_nothing_unless_parts_are_new(source):
    X_target, _, few = problem(6, m=1)
    tuned = quick(source).fit(None, None, X_target, few)
    assert tuned.epochs_ == 0 and not hasattr(tuned, "losses_")
    np.testing.assert_array_equal(tuned.predict(X_target), source.predict(X_target))
    assert quick(source, reuse="encoder").fit(None, None, X_target, few).epochs_ == 15


# --- models and labels --------------------------------------------------------------------------------------


def test_a_new_label_set_on_reused_layers(source):
    X_target, y_target, _ = problem(7, n=200)
    words = np.array(["north", "east", "south", "west"])[2 * (X_target[:, 0] > 0) + (X_target[:, 1] > 0)]
    few = words.astype(object)
    few[60:] = None
    with pytest.raises(InputError, match="name in reuse="):
        quick(source).fit(None, None, X_target, few)
    model = quick(source, reuse="encoder", max_epochs=25).fit(None, None, X_target, few)
    assert list(model.classes_) == sorted(set(words)) and model.epochs_ > 0
    assert model.predict_proba(X_target).shape == (200, 4)
    assert model.score(X_target[60:], words[60:]) > 0.6
    np.testing.assert_array_equal(model.predict_source(X_target), source.predict(X_target))


def test_modules_adapters_and_frozen_ones_agree(source):
    X, y, _ = problem(1)
    X_target, _, few = problem(8, 0.8, m=20)
    state = torch.random.get_rng_state()
    before = copy.deepcopy(source.module_.state_dict())
    answers = []
    for model, data in (
        (source, (X, y)),
        (source, (None, None)),
        (FrozenEstimator(source), (None, None)),
        (source.module_, (X, y)),
        (source.module_, (None, None)),
        (frozen_module(source.module_, [0, 1, 2]), (None, None)),
    ):
        tuned = quick(model, epochs=6).fit(*data, X_target, few)
        answers.append(tuned.predict_proba(X_target))
        np.testing.assert_array_equal(answers[0], answers[-1])
        np.testing.assert_array_equal(tuned.predict_source(X), source.predict_source(X))
        assert tuned.transform(X_target).shape == (400, 64)
    assert not np.allclose(answers[0], source.predict_proba(X_target))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in source.module_.state_dict().items())
    named = quick(source.module_, epochs=6, classes=["a", "b", "c"])
    letters = np.array(["a", "b", "c", None], dtype=object)[np.where(np.isnan(few), 3, few).astype(int)]
    np.testing.assert_array_equal(named.fit(None, None, X_target, letters).predict_proba(X_target), answers[0])
    assert set(named.predict(X_target)) <= {"a", "b", "c"}


@pytest.mark.parametrize("names", [["b", "a", "c"], ["c", "b", "a"], [2, 0, 1]])
def test_classes_of_the_outputs_are_named_in_any_order(source, names):
    X, _, _ = problem(1)
    X_target, y_target, few = problem(8, 0.8, m=20)
    names = np.array(names)
    labels = np.array([*names.tolist(), None], dtype=object)[np.where(np.isnan(few), 3, few).astype(int)]
    sorted_ = quick(source.module_, epochs=6).fit(None, None, X_target, few)
    named = quick(source.module_, epochs=6, classes=names).fit(None, None, X_target, labels)
    again = quick(named, epochs=0).fit(None, None, X_target, labels)
    frozen = quick(frozen_module(source.module_, names), epochs=6).fit(None, None, X_target, labels)
    for model in (named, frozen, again):
        assert model.classes_.tolist() == sorted(names.tolist()) and model.output_classes_.tolist() == names.tolist()
        np.testing.assert_array_equal(model.predict(X_target), names[sorted_.predict(X_target)])
        columns = np.argsort(names)
        np.testing.assert_array_equal(model.predict_proba(X_target), sorted_.predict_proba(X_target)[:, columns])
    np.testing.assert_array_equal(named.predict_source(X), names[sorted_.predict_source(X)])
    np.testing.assert_array_equal(named.predict_proba_source(X), sorted_.predict_proba_source(X)[:, columns])
    assert named.score(X_target, names[y_target]) == sorted_.score(X_target, y_target)


def test_a_refusal_names_the_argument_that_helps(source):
    X, y, _ = problem(1)
    X_target, _, few = problem(8, 0.8, m=20)
    words = np.where(np.isnan(few), None, "x")
    with pytest.raises(InputError, match="name them in classes="):
        quick(source.module_).fit(None, None, X_target, words)
    with pytest.raises(InputError, match='task="regression"'):
        quick(nn.Linear(6, 1)).fit(X, y, X_target, few)
    with pytest.raises(InputError, match="two or more different classes"):
        quick(source.module_, classes=["a", "b", "b"]).fit(None, None, X_target, words)


def test_an_adapter_that_is_not_fitted_is_trained_on_the_source():
    X, y, _ = problem(1)
    X_target, _, few = problem(9, 0.8, m=20)
    fresh = DeepAdapter(max_epochs=3, random_state=0, device="cpu")
    tuned = quick(fresh, epochs=5).fit(X, y, X_target, few)
    assert not hasattr(fresh, "module_")
    trained = clone(fresh).fit(X, y, X_target)
    np.testing.assert_array_equal(tuned.predict_source(X), trained.predict(X))
    again = quick(trained, epochs=5).fit(X, y, X_target, few)
    np.testing.assert_array_equal(tuned.predict_proba(X_target), again.predict_proba(X_target))
    assert clone(quick(trained)).model is trained and clone(quick(fresh)).model is not fresh


def test_regression_modules_and_single_logits():
    X_target, y_target, few = problem(11, m=20, regression=True)
    tuned = quick(nn.Linear(6, 1), epochs=15, lr=0.1).fit(None, None, X_target, few)
    assert tuned.task_ == "regression" and tuned.predict(X_target).shape == (400,)
    X, y, _ = problem(12)
    binary = quick(nn.Linear(6, 1), epochs=2).fit(
        X, (y > 0).astype(int), X_target, np.where(np.isnan(few), np.nan, 1.0)
    )
    assert binary.predict_proba(X_target).shape == (400, 2)


# --- the estimator contract ---------------------------------------------------------------------------------


def test_an_estimator_like_others(source):
    X, y, _ = problem(1)
    X_target, y_target, few = problem(13, 0.8, m=15)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    model = quick(source, layer_rates=0.8)
    first = clone(model).fit(X, y, X_target=Target(X_target, few))
    torch.manual_seed(7)
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict_proba(X_target), again.predict_proba(X_target))
    np.testing.assert_array_equal(first.losses_, again.losses_)
    np.testing.assert_array_equal(first.fit(X, y, X_target, few).predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert is_classifier(model) and first.n_features_in_ == 6 and list(first.classes_) == [0, 1, 2]
    frame = pd.DataFrame(X_target, columns=list("abcdef"))
    named = clone(model).fit(X, y, frame, few)
    np.testing.assert_array_equal(named.predict(frame), first.predict(X_target))
    with pytest.raises(InputError, match="another order"):
        named.predict(frame[list("bacdef")])


def test_bad_calls_are_explained(source):
    X, y, _ = problem(1)
    X_target, _, few = problem(14, m=10)
    cases: Any = (
        ({}, (X, y), "without X_target"),
        ({}, (X, y, X_target), "without target labels"),
        ({}, (X, y, X_target, few[:5]), "y_target has shape"),
        ({"epochs": 99}, (X, y, X_target, few), "epochs=99"),
        ({"lr": 0}, (X, y, X_target, few), "lr=0"),
        ({"batch_size": 0}, (X, y, X_target, few), "batch_size=0"),
        ({"layer_rates": {"head": -1}}, (X, y, X_target, few), "layer_rates"),
        ({"task": "ranking"}, (X, y, X_target, few), "task="),
        ({"head": "tail"}, (X, y, X_target, few), "layer='tail'"),
        ({"model": X}, (X, y, X_target, few), "model is a ndarray"),
        ({"model": DeepAdapter()}, (None, None, X_target, few), "not fitted"),
    )
    for options, data, message in cases:
        options = dict(options)
        with pytest.raises(InputError, match=message):
            quick(options.pop("model", source), **options).fit(*data)
