"""SHOT, TENT and AdaBN: a trained module adapted to target rows alone."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from scipy.special import softmax  # noqa: E402
from sklearn.base import clone, is_classifier  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit._target import Target  # noqa: E402
from da_toolkit.deep import SHOT, TENT, AdaBN, DeepAdapter, DomainBatch, SourceFree  # noqa: E402
from shift_detectors._errors import InputError, ShiftWarning  # noqa: E402

pytestmark = pytest.mark.torch
METHODS = [SHOT(), TENT(), AdaBN()]
CENTRES = 1.3 * np.random.default_rng(9).normal(size=(4, 10))


def draw(n, seed, scale=1.0, move=0.0, shares=(0.25, 0.25, 0.25, 0.25)):
    """Four Gaussian classes in ten dimensions, whose columns may be scaled and moved."""
    rng = np.random.default_rng(seed)
    y = rng.choice(4, n, p=shares)
    return (CENTRES[y] + rng.normal(size=(n, 10))) * scale + move, y


def plain_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))


@pytest.fixture(scope="module")
def trained():
    """Source model with batch normalisation, its target and what it should say there."""
    X, y = draw(600, 0)
    rng = np.random.default_rng(1)
    scale, move = rng.uniform(0.3, 3.0, 10), 8 * rng.normal(size=10)
    X_target, truth = draw(500, 2, scale, move)
    module = lambda: nn.Sequential(  # noqa: E731
        nn.BatchNorm1d(10), nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4)
    )
    words = np.array(["ant", "bee", "cat", "dog"])
    source = DeepAdapter(module, max_epochs=10, random_state=0, device="cpu").fit(X, words[y], X)
    return source, X, words[y], X_target, words[truth], (scale, move)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_gain_on_moved_and_scaled_columns(trained, method):
    source, _, _, X_target, truth, _ = trained
    before = (source.predict(X_target) == truth).mean()
    adapted = SourceFree(source, method, random_state=0).fit(X_target)
    assert before < 0.85
    assert adapted.score(X_target, truth) > max(before + 0.1, 0.85)
    assert is_classifier(adapted) and adapted.classes_.tolist() == ["ant", "bee", "cat", "dog"]
    np.testing.assert_allclose(adapted.predict_proba(X_target).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_no_harm_without_a_shift(trained, method):
    source, _, _, _, _, _ = trained
    X, y = draw(500, 5)
    truth = source.classes_[y]
    adapted = SourceFree(source, method, random_state=0).fit(X)
    assert adapted.score(X, truth) > (source.predict(X) == truth).mean() - 0.01


def test_adabn_takes_the_statistics_of_the_target_and_nothing_else(trained):
    source, _, _, X_target, _, _ = trained
    adapted = SourceFree(source, AdaBN(), random_state=0).fit(X_target)
    first = adapted.module_[0]
    np.testing.assert_allclose(first.running_mean, X_target.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(first.running_var, X_target.var(axis=0), rtol=0.05)
    for (name, now), (_, then) in zip(
        adapted.module_.named_parameters(), source.module_.named_parameters(), strict=True
    ):
        assert torch.equal(now, then), name
    twice = SourceFree(adapted.module_, AdaBN(), random_state=0).fit(X_target)
    np.testing.assert_allclose(twice.predict_proba(X_target), adapted.predict_proba(X_target), atol=1e-5)


@pytest.mark.parametrize("batch_size, tolerance", [(4, 0.1), (64, 0.01)])
def test_adabn_pools_the_moments_of_batches_of_any_size(batch_size, tolerance):
    X, _ = draw(1501, 0, 3.0, 2.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 12), nn.BatchNorm1d(12), nn.Linear(12, 4))
    first, linear, second, _ = SourceFree(module, AdaBN(), batch_size=batch_size, random_state=0).fit(X).module_
    rows = torch.tensor(X).float()
    torch.testing.assert_close(first.running_mean, rows.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.running_var, rows.var(dim=0), rtol=1e-4, atol=1e-4)
    ratio = second.running_var / linear(first(rows)).var(dim=0)
    assert abs(ratio.mean().item() - 1) < tolerance


def test_tent_learns_scales_and_offsets_alone(trained):
    source, _, _, X_target, _, _ = trained
    adapted = SourceFree(source, TENT(), random_state=0).fit(X_target)
    changed = {
        name
        for (name, now), (_, then) in zip(
            adapted.module_.named_parameters(), source.module_.named_parameters(), strict=True
        )
        if not torch.equal(now, then)
    }
    assert changed == {"0.weight", "0.bias", "2.weight", "2.bias"}
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    p = softmax(logits.numpy(), axis=1)
    H = -(p * np.log(p)).sum(axis=1)
    expected = np.where(H < 0.8 * np.log(3), H, 0).mean()
    got = TENT(threshold=0.8).loss(DomainBatch(logits, logits, logits), torch.arange(5)).item()
    assert 0 < got == pytest.approx(expected, rel=1e-5)


def test_shot_freezes_the_head_and_equals_its_formula(trained):
    source, _, _, X_target, _, _ = trained
    adapted = SourceFree(source, SHOT(), random_state=0, max_epochs=2).fit(X_target)
    assert torch.equal(adapted.module_[5].weight, source.module_[5].weight)
    assert not torch.equal(adapted.module_[1].weight, source.module_[1].weight)
    method, prior = SHOT(beta=0.4), np.array([0.2, 0.3, 0.5])
    method.prior_, method.pseudo_labels_ = torch.tensor(prior), torch.tensor([2, 0, 1])
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]], dtype=torch.float64)
    p = softmax(logits.numpy(), axis=1)
    mean = p.mean(axis=0)
    expected = -(p * np.log(p)).sum(axis=1).mean() + (mean * np.log(mean / prior)).sum()
    expected -= 0.4 * (np.log(p[0, 1]) + np.log(p[1, 2])) / 2
    got = method.loss(DomainBatch(logits, logits, logits), torch.tensor([2, 0])).item()
    assert got == pytest.approx(expected)


def test_shot_with_the_right_class_frequencies_survives_label_shift():
    """Without batch normalisation, which label shift misleads whatever SHOT does."""
    shares = (0.7, 0.1, 0.1, 0.1)
    (X, y), (X_target, truth) = draw(600, 0), draw(500, 3, 1.0, 0.4, shares)
    source = DeepAdapter(plain_net(), max_epochs=10, random_state=0, device="cpu").fit(X, y, X)
    told, named, not_told = (
        SourceFree(source, SHOT(), target_prior=prior, random_state=0).fit(X_target).score(X_target, truth)
        for prior in (shares, pd.Series(shares)[::-1], None)
    )
    assert told > source.score(X_target, truth) + 0.05 and told > not_told and named == told


def test_gradients_are_finite_for_certain_predictions():
    for method in (SHOT(), TENT()):
        logits = torch.tensor([[1e4, 0.0, 0.0], [0.0, 0.0, 1e4]], requires_grad=True)
        method.prior_, method.pseudo_labels_ = torch.full((3,), 1 / 3), torch.tensor([1, 2])
        method.loss(DomainBatch(logits, logits, logits), torch.arange(2)).backward()
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_contract(trained, method):
    source, _, _, X_target, _, _ = trained
    module = copy.deepcopy(source.module_)
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    free = SourceFree(module, method, classes=source.classes_, random_state=0, max_epochs=1)
    proba = free.fit(X_target).predict_proba(X_target)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    again = pickle.loads(pickle.dumps(clone(free).fit(Target(X_target))))
    np.testing.assert_array_equal(again.predict_proba(X_target), proba)
    via = SourceFree(source, method, random_state=0, max_epochs=1).fit(X_target)
    np.testing.assert_array_equal(via.predict_proba(X_target), proba)


def test_classes_are_named_in_any_order(trained):
    source, _, _, X_target, _, _ = trained
    names = np.array(["d", "a", "c", "b"])
    prior = [0.4, 0.3, 0.2, 0.1]
    sorted_ = SourceFree(source.module_, SHOT(), target_prior=prior, random_state=0, max_epochs=1).fit(X_target)
    for given in (prior, dict(zip(names.tolist(), prior, strict=True))):
        free = SourceFree(source.module_, SHOT(), target_prior=given, classes=names, random_state=0, max_epochs=1)
        free.fit(X_target)
        assert free.classes_.tolist() == sorted(names) and free.output_classes_.tolist() == names.tolist()
        np.testing.assert_array_equal(free.predict(X_target), names[sorted_.predict(X_target)])
        np.testing.assert_array_equal(
            free.predict_proba(X_target), sorted_.predict_proba(X_target)[:, np.argsort(names)]
        )


def test_a_collapse_is_reported():
    class OneClass(SHOT):
        def loss(self, batch, rows):
            """Every row into the first class."""
            return -batch.logits.log_softmax(dim=1)[:, 0].mean()

    X_target, _ = draw(300, 0)
    with pytest.warns(ShiftWarning, match="collapsed"):
        SourceFree(plain_net(), OneClass(), lr=1e-2, random_state=0).fit(X_target)


@pytest.mark.parametrize("method, passes", [(SHOT(), 2), (TENT(), 0), (AdaBN(), 0)], ids=["SHOT", "TENT", "AdaBN"])
def test_features_of_all_rows_are_kept_for_the_method_that_looks_at_them(trained, monkeypatch, method, passes):
    layers, run = [], SourceFree._run
    monkeypatch.setattr(SourceFree, "_run", lambda self, rows, layer: (layers.append(layer), run(self, rows, layer))[1])
    SourceFree(trained[0], method, max_epochs=2, random_state=0).fit(trained[3])
    assert [layer is not None for layer in layers] == [True] * passes + [False]


def test_a_training_that_changes_nothing_is_reported(trained):
    source, X, *_ = trained
    uncertain = copy.deepcopy(source.module_)
    uncertain[-1].weight.data *= 0.01
    with pytest.warns(ShiftWarning, match="TENT changed no parameter.*threshold"):
        SourceFree(uncertain, TENT(), max_epochs=2, random_state=0).fit(X)
    SourceFree(uncertain, TENT(threshold=1.1), max_epochs=2, random_state=0).fit(X)


def test_bad_input_is_explained(trained):
    source, X, _, X_target, truth, _ = trained
    plain = plain_net()
    regression = DeepAdapter(max_epochs=1, device="cpu").fit(X, X[:, 0], X)
    for free, data, message in (
        (SourceFree(plain, AdaBN()), (X_target,), "without batch normalisation"),
        (SourceFree(plain, TENT()), (X_target,), "without a normalisation layer"),
        (SourceFree(source, "shot"), (X_target,), "method='shot'"),
        (SourceFree(3, SHOT()), (X_target,), "module is of type int"),
        (SourceFree(regression, SHOT()), (X_target,), "for regression"),
        (SourceFree(source, SHOT()), (X_target, truth), "y_target with labels"),
        (SourceFree(source, SHOT()), (X_target[:, :3],), "3 columns"),
        (SourceFree(source, SHOT()), (X_target[:1],), "one row"),
        (SourceFree(plain, SHOT(), classes=[0, 1]), (X_target,), "2 classes for 4 logits"),
        (SourceFree(plain, SHOT(), target_prior=[1, 2]), (X_target,), "target_prior of shape"),
        (SourceFree(nn.Flatten(0), SHOT()), (X_target,), "does not give logits"),
        (SourceFree(nn.Linear(10, 1), SHOT()), (X_target,), r"single logit.*classes=\[0, 1\]"),
        (SourceFree(plain, SHOT()), (X_target[:, :3],), r"fails on a batch of shape \(2, 3\)"),
        (SourceFree(plain, SHOT(), batch_size=1), (X_target,), "batch_size=1"),
        (SourceFree(plain, SHOT(), max_epochs=0), (X_target,), "max_epochs=0"),
        (SourceFree(plain, SHOT(), lr=-1.0), (X_target,), "lr=-1"),
        (SourceFree(plain, SHOT(), device="cuda:99"), (X_target,), "device='cuda:99' cannot be used"),
    ):
        with pytest.raises(InputError, match=message):
            free.fit(*data)
    for missing in (np.nan, None, pd.NA):
        fitted = SourceFree(source, AdaBN()).fit(X_target, [missing] * len(X_target))
    with pytest.raises(InputError, match="3 columns"):
        fitted.predict(X_target[:, :3])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_a_single_logit_decides_between_two_classes(method):
    (X, y), (X_target, _) = draw(300, 0), draw(200, 1)
    one = nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))
    source = DeepAdapter(one, max_epochs=20, lr=0.01, random_state=0, device="cpu").fit(X, y > 1, X_target)
    named = SourceFree(source.module_, method, classes=[False, True], random_state=0).fit(X_target)
    adapted = SourceFree(source, method, random_state=0).fit(X_target)
    assert adapted.predict_proba(X_target).shape == (200, 2) and adapted.classes_.tolist() == [False, True]
    np.testing.assert_array_equal(named.predict(X_target), adapted.predict(X_target))


@pytest.mark.filterwarnings("ignore:TENT changed no parameter")  # the module was never trained
def test_frozen_parameters_stay_frozen():
    X, _ = draw(200, 0)
    module = nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    module[1].requires_grad_(False)
    for method in METHODS:
        adapted = SourceFree(module, method, random_state=0).fit(X).module_
        assert torch.equal(adapted[1].weight, module[1].weight) and not adapted[1].weight.requires_grad
        assert adapted[0].weight.requires_grad
    module.requires_grad_(False)
    for method in (SHOT(), TENT()):
        with pytest.raises(InputError, match="parameters are frozen"):
            SourceFree(module, method, random_state=0).fit(X)
    adapted = SourceFree(module, AdaBN(), random_state=0).fit(X).module_
    assert not any(parameter.requires_grad for parameter in adapted.parameters())


def test_a_clone_keeps_the_trained_adapter(trained):
    source, _, _, X_target, _, _ = trained
    model = SourceFree(source, SHOT(), max_epochs=2, random_state=0)
    copied = clone(model)
    assert copied.method is not model.method
    np.testing.assert_array_equal(copied.fit(X_target).predict(X_target), model.fit(X_target).predict(X_target))
