"""The alignment losses of da_toolkit.deep: formulas on hand cases, optimum on equal domains, gradients, composition."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from scipy.spatial.distance import cdist  # noqa: E402
from scipy.special import expit, log_softmax, softmax  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit.deep import (  # noqa: E402
    AFN,
    CDAN,
    DAN,
    DANN,
    DSN,
    JAN,
    MCC,
    MDD,
    MLP,
    WDGRL,
    DeepAdapter,
    DeepCORAL,
    DeepJDOT,
    DomainBatch,
    WeightedSum,
)
from da_toolkit.deep._critic import Critic, value_and_slope  # noqa: E402
from da_toolkit.deep._deep_jdot import coupling, label_cost  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch
LOSSES = [
    DANN(),
    CDAN(),
    DeepCORAL(),
    DAN(),
    JAN(),
    MCC(),
    MDD(),
    WDGRL(),
    AFN(),
    DeepJDOT(),
    DSN(),
    DeepCORAL() + MCC(),
]
CLASSES_ONLY = (CDAN, JAN, MCC, MDD)


def batches(n=6, m=5, d=3, k=4, seed=0, shift=1.0, **options):
    """A pair of batches of features, logits and labels, double precision, with gradient."""
    rng = np.random.default_rng(seed)

    def make(rows, step):
        z = torch.tensor(rng.normal(size=(rows, d)) + step, requires_grad=True)
        logits = torch.tensor(rng.normal(size=(rows, k)), requires_grad=True)
        return DomainBatch(z, z, logits, torch.tensor(rng.integers(0, k, rows)), **options)

    return make(n, 0.0), make(m, shift)


def array(tensor):
    return tensor.detach().numpy()


def units(*features):
    """Features of two domains, centred together and scaled to a mean square of one."""
    both = np.concatenate([array(z) for z in features])
    both = both - both.mean(axis=0)
    both = both / np.sqrt((both**2).mean())
    return np.split(both, [len(features[0])])


def test_mcc_equals_its_formula():
    source, target = batches()
    p = softmax(array(target.logits) / 2.5, axis=1)
    w = 1 + np.exp((p * np.log(p)).sum(axis=1))
    C = (p * (w / w.mean())[:, None]).T @ p
    C = C / C.sum(axis=1, keepdims=True)
    expected = (C.sum() - np.trace(C)) / len(C)
    assert MCC(2.5)(source, target, 0.3).item() == pytest.approx(expected)


def test_mcc_prefers_certain_predictions_of_several_classes():
    z, eye = torch.zeros(4, 1), torch.eye(4)
    value = lambda logits: MCC(2.5)(DomainBatch(z, z, logits), DomainBatch(z, z, logits), 0.0).item()  # noqa: E731
    assert value(100 * eye) == pytest.approx(0, abs=1e-6)
    assert value(0 * eye) == pytest.approx(0.75)
    assert value(eye) < value(0.1 * eye)


def test_cdan_equals_dann_on_the_outer_product_with_entropy_weights():
    source, target = batches()
    discriminator = nn.Linear(12, 1).double()
    parts, shares = [], []
    for batch, z in zip((source, target), units(source.features, target.features), strict=True):
        p = softmax(array(batch.logits), axis=1)
        parts.append((p[:, :, None] * z[:, None, :]).reshape(len(p), -1))
        w = 1 + np.exp((p * np.log(p)).sum(axis=1))
        shares.append(w / w.sum())
    weight, bias = array(discriminator.weight)[0], discriminator.bias.item()
    on_source, on_target = (part @ weight + bias for part in parts)
    expected = 0.5 * (shares[0] @ np.logaddexp(0, on_source) + shares[1] @ np.logaddexp(0, -on_target))
    expected += 2.0 * 3 * weight @ weight  # three features
    assert CDAN(discriminator, gradient_penalty=2.0)(source, target, 0.7).item() == pytest.approx(expected)


def test_cdan_without_entropy_weights_and_with_equal_probabilities_sees_the_features_alone():
    source, target = batches()
    for batch in (source, target):
        batch.logits = torch.zeros_like(batch.logits)
    tied = nn.Linear(12, 1).double()
    with torch.no_grad():
        tied.weight[:] = tied.weight[:, :3].repeat(1, 4)
    plain = nn.Linear(3, 1).double()
    with torch.no_grad():
        plain.weight[:], plain.bias[:] = tied.weight[:, :3], tied.bias  # four times a quarter
    one = CDAN(tied, entropy_weight=False, gradient_penalty=0)(source, target, 1.0)
    assert one.item() == pytest.approx(DANN(plain, gradient_penalty=0)(source, target, 1.0).item())


def test_cdan_projects_large_products_so_that_inner_products_agree():
    torch.manual_seed(0)
    z, logits = torch.randn(6, 500), torch.randn(6, 20)
    loss = CDAN()
    loss.initialize(DomainBatch(z, z, logits), DomainBatch(z, z, logits))
    seen = loss.represent(DomainBatch(z, z, logits), z)
    assert seen.shape == (6, 1024)
    p = torch.softmax(logits, dim=1)
    exact = (p @ p.T) * (z @ z.T)
    assert torch.corrcoef(torch.stack([(seen @ seen.T).flatten(), exact.flatten()]))[0, 1] > 0.95


def test_the_critic_knows_its_slope_and_the_gradient_of_its_square():
    """Against automatic differentiation, twice."""
    torch.manual_seed(0)
    critic, z = Critic(3, (8, 5)).double(), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    value, slope = value_and_slope(critic, z)
    same, expected = value_and_slope(lambda rows: critic(rows), z)
    torch.testing.assert_close(value, same)
    torch.testing.assert_close(slope, expected)
    weights = [layer.weight for layer in critic.layers]
    twice = (torch.autograd.grad(s.square().sum(), weights, retain_graph=True) for s in (slope, expected))
    for got, wanted in zip(*twice, strict=True):
        torch.testing.assert_close(got, wanted)
    assert torch.autograd.grad(slope.sum(), z, allow_unused=True) == (None,)


def test_dan_and_jan_equal_their_formulas():
    source, target = batches(weight=None)
    zs, zt = array(source.features), array(target.features)
    z = np.r_[zs, zt]
    D = cdist(z, z, "sqeuclidean")
    unit = D.sum() / (len(z) * (len(z) - 1))
    K = np.mean([np.exp(-D / (c * unit)) for c in (0.25, 0.5, 1, 2, 4)], axis=0)
    sign = np.r_[np.full(len(zs), 1 / len(zs)), np.full(len(zt), -1 / len(zt))]
    assert DAN()(source, target, 0.5).item() == pytest.approx(sign @ K @ sign)
    p = softmax(np.r_[array(source.logits), array(target.logits)], axis=1)
    P = cdist(p, p, "sqeuclidean")
    joint = K * np.exp(-P / (2 * (1 - 1 / p.shape[1])))
    assert JAN()(source, target, 0.5).item() == pytest.approx(sign @ joint @ sign)


def test_afn_moves_target_rows_from_their_mean_up_to_the_radius_of_the_source():
    source, target = batches(n=20, m=20, shift=3.0)
    loss = AFN(step=0.2)(source, target, 0.5)
    loss.backward()
    zs, zt = (array(b.features) - array(b.features).mean(axis=0) for b in (source, target))
    norm, radius = np.linalg.norm(zt, axis=1), np.linalg.norm(zs, axis=1).mean()
    asked = np.clip((radius - norm) / radius, 0, 0.2)
    assert 0 < (asked > 0).sum() < len(asked)
    assert loss.item() == pytest.approx((asked**2).mean())
    outwards = -2 * (asked / norm / radius / len(zt))[:, None] * zt
    np.testing.assert_allclose(array(target.features.grad), outwards - outwards.mean(axis=0), atol=1e-8)
    assert source.features.grad is None
    wide = DomainBatch(target.inputs, 10 * target.features, target.logits)
    assert AFN()(source, wide, 0.5).item() == 0


def test_mdd_equals_its_formula_and_has_the_stated_optimum():
    source, target = batches()
    adversary = nn.Linear(3, 4).double()
    zs, zt = (torch.tensor(z) for z in units(source.features, target.features))
    odds = []
    for z, b in ((zs, source), (zt, target)):
        predicted = array(b.logits).argmax(axis=1)
        odds.append(array(adversary(z))[np.arange(len(z)), predicted])
    agrees, disagrees = -np.log(expit(odds[0])).mean(), -np.log(1 - expit(odds[1])).mean()
    expected = (4 * agrees + disagrees) / 5
    assert MDD(4.0, adversary, gradient_penalty=0)(source, target, 1.0).item() == pytest.approx(expected)
    # on equal domains gamma / (1 + gamma) is the best constant
    values = []
    for sigma in (0.79, 0.8, 0.81):
        adversary = nn.Linear(3, 4).double()
        nn.init.zeros_(adversary.weight)
        nn.init.constant_(adversary.bias, math.log(sigma / (1 - sigma)))
        values.append(MDD(4.0, adversary, gradient_penalty=0)(source, source, 1.0).item())
    assert values[1] == pytest.approx(math.log(5) - 0.8 * math.log(4))
    assert values[1] < min(values[0], values[2])


def test_mdd_is_the_same_with_the_default_adversary_and_with_one_of_the_user():
    """The default knows its slope; the slope of another network is found by automatic differentiation."""
    source, target = batches(n=20, m=20)
    default = MDD().double()
    default.initialize(source, target)
    first, last = default.adversary_.layers
    own = MDD(adversary=nn.Sequential(first, nn.ReLU(), last))
    gradients = []
    for loss in (default, own):
        loss.zero_grad()
        value = loss(source, target, 0.5)
        value.backward()
        gradients.append([value.item(), first.weight.grad.clone(), last.weight.grad.clone()])
    assert gradients[0][0] == pytest.approx(gradients[1][0])
    for a, b in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("make", [DANN, CDAN, MDD])
def test_the_penalty_does_not_depend_on_how_often_the_features_are_repeated(make):
    """Every feature four times, each with a quarter of its weight: the same function, the same penalty."""
    source, target = batches(n=20, m=20)
    values = []
    one = make().double()
    one.initialize(source, target)
    weights = next(one.parameters())  # of the first layer of the discriminator, on (classes times) the features
    for times in (1, 4):
        many = copy.deepcopy(one)
        wide = weights.reshape(len(weights), -1, 3).repeat(1, 1, times) / times
        next(iter(many.children())).layers[0].weight = nn.Parameter(wide.flatten(1))
        batch = [replace(b, features=b.features.repeat(1, times)) for b in (source, target)]
        values.append(many(*batch, 0.5).item())
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize("loss", [DANN(gradient_penalty=0.0), MDD(gradient_penalty=0.0)])
def test_adversaries_descend_and_features_ascend(loss):
    source, target = batches(n=20, m=20)
    loss.double()
    loss.initialize(source, target)
    value = loss(source, target, 1.0)
    value.backward()
    with torch.no_grad():
        for p in loss.parameters():
            p -= 1e-3 * p.grad
        after_adversary = loss(source, target, 1.0).item()
        for p in loss.parameters():
            p += 1e-3 * p.grad
        for batch in (source, target):
            batch.features -= 1e-2 * batch.features.grad  # what an optimizer would do
        after_features = loss(source, target, 1.0).item()
    assert after_adversary < value.item() < after_features


def test_wdgrl_finds_the_wasserstein_distance_of_two_shifted_samples():
    """Distance 3 in units of the common standard deviation; the critic trains itself and alone."""
    torch.manual_seed(0)
    z = torch.randn(200, 1, dtype=torch.float64)
    source, target = DomainBatch(z, z.clone().requires_grad_(True), z), DomainBatch(z, z + 3, z)
    loss = WDGRL(critic_steps=400, critic_lr=1e-2).double()
    value = loss(source, target, 0.5)
    value.backward()
    unit = torch.cat([z, z + 3]).std(correction=0).item()
    assert value.item() == pytest.approx(3 / unit, rel=0.15)
    assert source.features.grad.abs().sum() > 0
    assert all(p.grad is None for p in loss.parameters())
    assert all(p.requires_grad for p in loss.parameters())


def test_deep_jdot_equals_its_formula_with_the_cheapest_coupling():
    source, target = batches(n=4, m=4)
    zs, zt = units(source.features, target.features)
    cost = 2 * cdist(zs, zt, "sqeuclidean") / 3 - 3 * log_softmax(array(target.logits), axis=1)[:, array(source.y)].T
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    expected = cost[rows, columns].mean()
    assert DeepJDOT(alpha=2.0, beta=3.0)(source, target, 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_dsn_equals_its_formula():
    source, target = batches()
    private, decoder = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    loss = DSN(DAN(), private=private, decoder=decoder, reconstruction=0.7, difference=0.4)
    expected = DAN()(source, target, 0.5).item()
    for batch in (source, target):
        z, x = array(batch.features), array(batch.inputs)
        h = array(private(batch.inputs))
        rows = [(v - v.mean(axis=0)) / np.linalg.norm(v - v.mean(axis=0), axis=1, keepdims=True) for v in (z, h)]
        e = (z + h) @ array(decoder.weight).T + array(decoder.bias) - x
        expected += 0.4 * ((rows[0].T @ rows[1] / len(z)) ** 2).sum()
        expected += 0.7 * ((e**2).sum(axis=1) / 3 - e.sum(axis=1) ** 2 / 9).mean()
    assert loss(source, target, 0.5).item() == pytest.approx(expected)
    assert len(list(loss.private_.parameters())) == 4  # one encoder per domain
    with pytest.raises(InputError, match="private encoder gives shape"):
        DSN(DAN(), private=nn.Linear(3, 2).double(), decoder=decoder)(source, target, 0.5)
    tokens = DomainBatch(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InputError, match="whole numbers"):
        DSN()(tokens, tokens, 0.5)


def test_zero_on_equal_batches():
    source, _ = batches()
    same = DomainBatch(source.inputs, source.features, source.logits, source.y)
    for loss in (DAN(), JAN(), DeepCORAL(), WDGRL(critic_steps=0).double()):
        assert loss(source, same, 0.5).item() == pytest.approx(0, abs=1e-12)
    sure = DomainBatch(source.inputs, source.features, 50 * torch.eye(4)[source.y].double(), source.y)
    assert DeepJDOT()(sure, sure, 0.5).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "loss", [DANN(), CDAN(), MDD(), WDGRL(critic_steps=0), DeepJDOT(beta=0.0)], ids=lambda loss: type(loss).__name__
)
def test_nothing_is_gained_by_shrinking_the_features(loss):
    """No gradient along the features themselves: the way into a collapse is closed."""
    source, target = batches(n=20, m=20)
    loss = clone(loss).double()
    loss.initialize(source, target)
    loss(source, target, 1.0).backward()
    along = sum((batch.features * batch.features.grad).sum() for batch in (source, target)).item()
    size = sum((batch.features * batch.features.grad).abs().sum() for batch in (source, target)).item()
    assert size > 0
    assert abs(along) < 1e-9 * size


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_are_finite_and_extremes_are_survived(loss):
    for scale in (0.0, 1.0, 1e4):
        source, target = batches()
        for batch in (source, target):
            batch.features = scale * batch.inputs
            batch.logits = (scale * batch.logits).detach().requires_grad_(True)
        own = clone(loss).double()
        value = own(source, target, 0.5)
        assert value.isfinite()
        value.backward()
        for batch in (source, target):
            for part in (batch.inputs, batch.logits):
                assert part.grad is None or part.grad.isfinite().all()


@pytest.mark.parametrize("loss", [DAN(), JAN()], ids=lambda loss: type(loss).__name__)
def test_kernel_losses_neither_pull_along_the_scale_nor_lose_digits_far_from_zero(loss):
    source, target = batches(weight=None)
    z = torch.cat([source.features, target.features]).detach().requires_grad_(True)
    n = len(source.features)

    def value(rows):
        source.features, target.features = rows[:n], rows[n:]
        source.logits, target.logits = source.logits.to(rows), target.logits.to(rows)
        return loss(source, target, 0.5)

    (slope,) = torch.autograd.grad(value(z), z)
    centred = z - z.mean(dim=0)
    assert abs((slope * centred).sum().item()) < 1e-9 < slope.abs().max().item()
    near, far = (value((z.detach() + shift).float()).item() for shift in (0.0, 3e3))
    assert far == pytest.approx(near, rel=0.05)


def test_jan_begins_as_dan_while_predictions_are_alike():
    source, target = batches(weight=None)
    for batch in (source, target):
        batch.logits = 1e-4 * batch.logits
    assert JAN()(source, target, 0.0).item() == pytest.approx(DAN()(source, target, 0.0).item(), rel=1e-3)


def test_row_weights_enter():
    weight = torch.tensor([2.0, 2, 2, 0, 0, 0], dtype=torch.float64)
    source, target = batches()
    source.weight = weight
    plan = coupling(label_cost(source, target), source, target)
    np.testing.assert_allclose(plan.sum(dim=1), weight / 6)
    few = DomainBatch(source.inputs[:3], source.features[:3], source.logits[:3], source.y[:3])
    assert AFN()(source, target, 0.5).item() == pytest.approx(AFN()(few, target, 0.5).item())
    source, target = batches(n=4, m=4)
    source.weight = torch.tensor([2.0, 2, 0, 0], dtype=torch.float64)
    sign = np.r_[0.5, 0.5, 0, 0, np.full(4, -0.25)]
    K = array(DAN().kernel(torch.cat([source.features, target.features])))
    assert DAN()(source, target, 0.5).item() == pytest.approx(sign @ K @ sign)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_clone_pickle_and_training(loss):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) + 0.5
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
    assert repr(clone(loss)) == repr(loss)
    adapter = DeepAdapter(loss=loss, max_epochs=2, batch_size=20, random_state=0, device="cpu")
    proba = adapter.fit(X, y, X_target).predict_proba(X_target)
    again = pickle.loads(pickle.dumps(clone(adapter).fit(X, y, X_target)))
    np.testing.assert_array_equal(again.predict_proba(X_target), proba)
    plain = DeepAdapter(max_epochs=2, batch_size=20, random_state=0, device="cpu").fit(X, y, X_target)
    assert not np.array_equal(plain.predict_proba(X_target), proba)  # the loss reaches the module


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_regression_works_or_is_refused(loss):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    y = X @ [1.0, 2.0, 0.5]
    adapter = DeepAdapter(loss=loss, max_epochs=1, random_state=0, device="cpu", task="regression")
    if isinstance(loss, (*CLASSES_ONLY, WeightedSum)):
        works = ", ".join(type(loss).__name__ for loss in LOSSES if not isinstance(loss, (*CLASSES_ONLY, WeightedSum)))
        with pytest.raises(InputError, match=rf"use {works} for a regression"):
            adapter.fit(X, y, X_target)
    else:
        assert adapter.fit(X, y, X_target).predict(X_target).shape == (40,)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [AFN(), MDD()], ids=lambda loss: type(loss).__name__)
def test_gain_where_the_target_lost_contrast_and_no_harm_where_it_did_not(loss):
    """Digits with grey ink on grey paper, three seeds."""
    X, y = load_digits(return_X_y=True)
    gains = {0.45: [], 1.0: []}
    for seed in range(3):
        source, target = np.array_split(np.random.default_rng(seed).permutation(len(X)), 2)
        for contrast, gain in gains.items():
            X_target = contrast * X[target] / 16 + (1 - contrast) * 0.45
            plain, adapted = (
                DeepAdapter(lambda: MLP(64, 10), "encoder", own, random_state=seed, device="cpu")
                .fit(X[source] / 16, y[source], X_target)
                .score(X_target, y[target])
                for own in (None, loss)
            )
            gain.append(adapted - plain)
    assert np.mean(gains[0.45]) > 0.1
    assert np.mean(gains[1.0]) > -0.01


def test_losses_compose_by_addition():
    total = 2 * DeepCORAL() + MCC() + 0.5 * DAN()
    assert [type(part).__name__ for part in total.losses] == ["DeepCORAL", "MCC", "DAN"]
    assert total.weights == (200.0, 1.0, 1.5)
    source, target = batches()
    parts = [DeepCORAL(), MCC(), DAN()]
    expected = sum(w * part(source, target, 0.5).item() for w, part in zip((200, 1, 1.5), parts, strict=True))
    assert total(source, target, 0.5).item() == pytest.approx(expected)
    assert clone(total).weights == total.weights
    total = sum([DeepCORAL(), MCC() * 0.5])
    assert [type(part).__name__ for part in total.losses] == ["DeepCORAL", "MCC"] and total.weights == (100.0, 0.5)
    for wrong in (lambda: DeepCORAL() + 1, lambda: 1 + DeepCORAL(), lambda: MCC() * "2"):
        with pytest.raises(TypeError):
            wrong()
