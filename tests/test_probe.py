"""One pass of a few rows: which layer is the last, what ends in probabilities, layers without a shape."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from torch import nn  # noqa: E402

from da_toolkit.deep import DANN, SHOT, TENT, DeepAdapter, SourceFree  # noqa: E402
from da_toolkit.deep._probe import find_head, find_layer, probe, try_module  # noqa: E402
from da_toolkit.transfer import ANIL, MAML, Embedding, FineTuning, PrototypicalNetwork  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 5)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
FEW = np.where(np.arange(80) < 20, Y, np.nan)
DOMAIN = np.arange(80) % 8


class HeadFirst(nn.Module):
    """Registers its head before its encoder."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.encoder = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())

    def forward(self, x):
        return self.head(self.encoder(x))


class Squeezed(nn.Module):
    """A convolution is the head; the linear layer in front of it is a gate of its channels."""

    def __init__(self):
        super().__init__()
        self.first, self.gate, self.head = nn.Conv1d(1, 3, 3), nn.Linear(3, 3), nn.Conv1d(3, 3, 3)

    def forward(self, x):
        z = self.first(x[:, None])
        return self.head(z * self.gate(z.mean(dim=2)).sigmoid()[:, :, None])[:, :, 0]


def changed(before, after):
    """Names of the submodules whose parameters differ."""
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    return {name.split(".")[0] for (name, p), q in pairs if not torch.equal(p, q)}


def adapted_by_shot(module, head=None):
    return SourceFree(module, SHOT(head=head), max_epochs=1, random_state=0, device="cpu").fit(X).module_


def head_tuned(module, head=None):
    tuned = FineTuning(module, head=head, head_epochs=1, epochs=1, random_state=0, device="cpu")
    return tuned.fit(None, Y, X, FEW).module_


def moved_by_anil(module, layer=None):
    anil = ANIL(module, layer, max_steps=1, random_state=0, device="cpu").fit(X, Y, X, FEW, source_domain=DOMAIN)
    return {name.split(".")[0] for name in anil.rates_}


def test_the_last_linear_layer_is_the_one_that_is_called_last():
    module = HeadFirst()
    assert changed(module, adapted_by_shot(module)) == {"encoder"}
    assert changed(module, head_tuned(module)) == {"head"}
    assert moved_by_anil(module) == {"head"}
    features = module.eval().encoder(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(Embedding(module).transform(X), features, atol=1e-6)
    adapter = DeepAdapter(module, lr=1e-9, max_epochs=1, random_state=0, device="cpu").fit(X, Y, X)
    features = adapter.module_.encoder(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(adapter.transform(X), features, atol=1e-6)


def test_a_head_that_is_no_linear_layer_has_to_be_named():
    module = Squeezed()
    with pytest.raises(InputError, match=r"Name it: SHOT\(head=\.\.\.\)"):
        adapted_by_shot(module)
    with pytest.raises(InputError, match=r"first, gate, head.*Name it: head=\.\.\."):
        head_tuned(module)
    with pytest.raises(InputError, match=r"Name it: layer=\.\.\."):
        moved_by_anil(module)
    assert changed(module, adapted_by_shot(module, "head")) == {"first", "gate"}
    assert changed(module, head_tuned(module, "head")) == {"head"}
    assert moved_by_anil(module, "head") == {"head"}


@pytest.mark.parametrize("end", [nn.Identity(), nn.LogSoftmax(dim=1), nn.Dropout()], ids=lambda end: type(end).__name__)
def test_what_follows_the_head_without_changing_it(end):
    module = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 3), end)
    assert find_head(module, None, torch.tensor(X), "head=...") == "2"


def test_a_probe_leaves_no_trace():
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)).train()
    module[2].eval()
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    probe(module, torch.tensor(X))
    find_layer(module, None, torch.tensor(X))
    assert [part.training for part in module] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and not any(part._forward_hooks for part in module)


class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))[:, 0]


BINARY = {
    "nn.Sigmoid": nn.Sequential(nn.Linear(5, 1), nn.Sigmoid()),
    "torch.sigmoid": Squashed(),
    "softmax": nn.Sequential(nn.Linear(5, 2), nn.Softmax(dim=1)),
}


@pytest.mark.parametrize("module", BINARY.values(), ids=BINARY)
def test_probabilities_are_no_logits(module):
    y, few = (Y > 0).astype(int), np.where(np.isnan(FEW), np.nan, FEW > 0)
    fits = [
        lambda: DeepAdapter(module, max_epochs=1, device="cpu").fit(X, y, X),
        lambda: FineTuning(module, device="cpu").fit(None, y, X, few),
        lambda: MAML(module, max_steps=1, device="cpu").fit(X, y, X, few, source_domain=DOMAIN),
        lambda: SourceFree(module, TENT(), device="cpu").fit(X),
    ]
    for fit in fits:
        with pytest.raises(InputError, match="the module gives probabilities"):
            fit()


def test_logits_between_zero_and_one_are_logits():
    module = nn.Linear(5, 1)
    nn.init.zeros_(module.weight)
    nn.init.constant_(module.bias, 0.3)
    for honest in (module, nn.Sequential(nn.Linear(5, 1), nn.Sigmoid(), nn.Linear(1, 1))):
        try_module(honest, torch.tensor(X), classifies=True)
    try_module(BINARY["nn.Sigmoid"], torch.tensor(X), classifies=False)  # a regression of shares


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_module_with_the_old_weight_norm_is_copied():
    module = nn.Sequential(nn.Linear(5, 4), nn.utils.weight_norm(nn.Linear(4, 3)))
    module(torch.tensor(X))  # leaves a product of its parameters that torch does not copy
    adapter = DeepAdapter(module, loss=DANN(), max_epochs=1, warm_start=True, random_state=0, device="cpu")
    adapter.fit(X, Y, X).fit(X, Y, X)
    for trained in (module, adapter):
        assert SourceFree(trained, SHOT(), max_epochs=1, device="cpu").fit(X).predict(X).shape == (80,)
        assert FineTuning(trained, head_epochs=1, epochs=1, device="cpu").fit(None, Y, X, FEW).predict(X).shape == (80,)


def lazy_net():
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))


@pytest.mark.parametrize("module", [lazy_net(), lazy_net], ids=["instance", "function"])
def test_lazy_layers_with_buffers(module):
    adapter = DeepAdapter(module, max_epochs=1, random_state=0, device="cpu").fit(X, Y, X)
    assert adapter.predict(X).shape == (80,)
    maml = MAML(module, max_steps=1, random_state=0, device="cpu").fit(X, Y, X, FEW, source_domain=DOMAIN)
    assert maml.predict(X).shape == (80,)
    assert PrototypicalNetwork(module, n_episodes=1, device="cpu").fit(X, Y).transform(X).shape == (80, 3)
    if isinstance(module, nn.Module):
        assert module[0].has_uninitialized_params()  # the caller's own stays as it was
