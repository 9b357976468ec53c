"""DeepAdapter, DANN and DeepCORAL: formulas on hand cases, the estimator contract, what adapting brings."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn import config_context  # noqa: E402
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from skorch.callbacks import EarlyStopping  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit import PriorCorrection, adapt  # noqa: E402
from da_toolkit._target import Target  # noqa: E402
from da_toolkit.deep import DANN, MLP, SHOT, AdaBN, DeepAdapter, DeepCORAL, DomainBatch, SourceFree  # noqa: E402
from da_toolkit.validation import CircularScore  # noqa: E402
from shift_detectors._errors import InputError, ShiftWarning  # noqa: E402

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """The benchmark's network: 64-128-64-10."""

    def __init__(self, d=64, k=10):
        super().__init__()
        self.feat = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.head = nn.Linear(64, k)

    def forward(self, x):
        return self.head(self.feat(x))


def small_net(d=4, k=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, k))


def problem(n=150, n_target=120, shift=0.5, seed=0):
    """Three classes by the largest of the first three of four columns."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 4)), rng.normal(size=(n_target, 4)) + shift
    return X, X[:, :3].argmax(axis=1), X_target, X_target[:, :3].argmax(axis=1)


def quick(**options):
    return DeepAdapter(**{"module": small_net(), "max_epochs": 3, "random_state": 0, "device": "cpu", **options})


def test_adapt_trains_many_and_keeps_no_checkpoint(tmp_path):
    X, y, X_target, _ = problem(shift=1.0)
    model = quick(checkpoint=tmp_path / "one.pt", task="classification")
    adapt(model, X, y, X_target, candidates=["DANN"], random_state=0)
    assert not list(tmp_path.iterdir()) and model.checkpoint is not None


def test_prior_correction_says_how_to_take_a_network():
    with pytest.raises(InputError, match="DeepAdapter, which adapts itself.*FrozenEstimator"):
        PriorCorrection(quick()).fit(*problem()[:3])


def batch(features, **more):
    z = torch.as_tensor(features, dtype=torch.float64)
    return DomainBatch(z, z, z, **more)


# --- losses -------------------------------------------------------------------------------------------------


def linear_discriminator(weight, bias=0.0):
    d = nn.Linear(len(weight), 1).double()
    with torch.no_grad():
        d.weight[:] = torch.tensor(weight)
        d.bias[:] = bias
    return d


def units(*domains):
    """Features of two domains, centred together and scaled to a mean square of one."""
    both = np.concatenate(domains) - np.concatenate(domains).mean(axis=0)
    return np.split(both / np.sqrt((both**2).mean()), [len(domains[0])])


def test_dann_equals_its_formula_on_a_hand_case():
    zs, zt = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]), np.array([[2.0, 2.0], [4.0, 1.0]])
    w, b, gamma = np.array([0.5, -0.25]), 0.1, 3.0
    us, ut = units(zs, zt)
    d = lambda z: z @ w + b  # noqa: E731
    expected = (
        0.5 * (np.log1p(np.exp(d(us))).mean() + np.log1p(np.exp(-d(ut))).mean()) + gamma * 2 * w @ w
    )  # two features
    loss = DANN(linear_discriminator(w, b), gradient_penalty=gamma)
    assert loss(batch(zs), batch(zt), 0.3).item() == pytest.approx(expected)


def test_dann_weights_the_source_rows():
    zs, zt = np.array([[1.0], [-2.0]]), np.array([[0.5]])
    loss = DANN(linear_discriminator([1.0]), gradient_penalty=0)
    (a, b), (c,) = (z.ravel() for z in units(zs, zt))
    expected = 0.5 * ((3 * np.log1p(np.exp(a)) + np.log1p(np.exp(b))) / 4 + np.log1p(np.exp(-c)))
    weighted = batch(zs, weight=torch.tensor([1.5, 0.5], dtype=torch.float64))
    assert loss(weighted, batch(zt), 1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
def test_dann_reverses_the_gradient_of_the_features_by_its_schedule(progress):
    """Features get -lambda(p) dL/dz of the first part alone, whatever the penalty."""
    rng = np.random.default_rng(0)
    zs, zt = (torch.tensor(rng.normal(size=(6, 3)), requires_grad=True) for _ in range(2))
    d = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    DANN(d, gradient_penalty=2.0)(DomainBatch(zs, zs, zs), DomainBatch(zt, zt, zt), progress).backward()
    ps, pt = (z.detach().clone().requires_grad_(True) for z in (zs, zt))
    both = torch.cat([ps, pt]) - torch.cat([ps, pt]).mean(dim=0)
    logit = d(both / both.square().mean().sqrt())
    loss = 0.5 * (nn.functional.softplus(logit[:6]).mean() + nn.functional.softplus(-logit[6:]).mean())
    plain = torch.autograd.grad(loss, [ps, pt])
    strength = 2 / (1 + math.exp(-10 * progress)) - 1
    for got, expected in zip((zs.grad, zt.grad), plain, strict=True):
        torch.testing.assert_close(got, -strength * expected)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in d.parameters())


def test_dann_is_log_2_when_the_discriminator_cannot_tell():
    d = linear_discriminator([0.0, 0.0])
    z = np.random.default_rng(0).normal(size=(5, 2))
    assert DANN(d)(batch(z), batch(z + 3), 1.0).item() == pytest.approx(math.log(2))


def test_dann_does_not_depend_on_the_scale_of_the_features():
    d = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    rng = np.random.default_rng(0)
    zs, zt = rng.normal(size=(7, 2)), rng.normal(size=(7, 2)) + 1
    one, thousand = (DANN(d)(batch(k * zs), batch(k * zt), 0.5).item() for k in (1, 1000))
    assert one == pytest.approx(thousand)


def test_dann_of_constant_features_is_finite():
    z = torch.zeros(4, 3, requires_grad=True)
    loss = DANN()(DomainBatch(z, z, z), DomainBatch(z, z, z), 1.0)
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


def test_deep_coral_equals_its_formula_on_a_hand_case():
    rng = np.random.default_rng(0)
    zs, zt = rng.normal(size=(8, 3)), rng.normal(size=(5, 3)) * 2
    expected = np.sum((np.cov(zs.T) - np.cov(zt.T)) ** 2) / (4 * 3**2)
    assert DeepCORAL()(batch(zs), batch(zt), 0.0).item() == pytest.approx(expected)


def test_deep_coral_counts_a_row_of_weight_two_like_two_rows_up_to_the_divisor():
    zs = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
    w = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    twice = np.cov(zs[[0, 0, 1, 2]].T, ddof=0) / (1 - (0.5**2 + 2 * 0.25**2))
    zt = np.zeros((3, 2))
    expected = np.sum(twice**2) / 16
    assert DeepCORAL()(batch(zs, weight=w), batch(zt), 0.0).item() == pytest.approx(expected)


def test_deep_coral_is_zero_on_equal_batches_and_blind_to_the_mean():
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = DeepCORAL()(DomainBatch(z, z, z), DomainBatch(z, z + 7.0, z), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("loss", [DANN(gradient_penalty=2.0), DeepCORAL()])
def test_losses_clone_and_pickle(loss):
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    value = loss(DomainBatch(z, z, z), DomainBatch(z, 2 * z, z), 0.5)
    assert clone(loss).get_params() == loss.get_params()
    assert not list(clone(DANN()).parameters())  # what was learnt is not cloned
    again = pickle.loads(pickle.dumps(loss))
    torch.testing.assert_close(again(DomainBatch(z, z, z), DomainBatch(z, 2 * z, z), 0.5), value)


# --- the estimator contract ---------------------------------------------------------------------------------


def test_a_fit_seeds_its_own_device_alone(monkeypatch):
    """`torch.manual_seed` would seed every CUDA device of the process, also for a fit on the CPU."""
    from da_toolkit.transfer import FineTuning, PrototypicalNetwork

    X, y, X_target, y_target = problem(60, 60)
    few = np.where(np.arange(60) < 8, y_target, np.nan)
    trained = quick()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("other devices were seeded"))
    trained.fit(X, y, X_target)
    SourceFree(trained, SHOT(), max_epochs=1, random_state=0, device="cpu").fit(X_target)
    FineTuning(trained, epochs=1, random_state=0, device="cpu").fit(None, None, X_target, few)
    PrototypicalNetwork(n_way=2, n_shot=1, n_query=2, n_episodes=2, random_state=0, device="cpu").fit(X, y)


@pytest.mark.parametrize("loss", [None, DANN(), DeepCORAL()])
def test_module_loss_data_and_global_seed_are_left_alone(loss):
    X, y, X_target, _ = problem()
    X, X_target = X.astype(np.float32), X_target.astype(np.float32)
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    before = copy.deepcopy((module.state_dict(), X, y, X_target))
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    adapter = quick(module=module, loss=loss).fit(X, y, X_target)
    adapter.predict(X_target), adapter.predict_source(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[0][name])
    assert module.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in adapter.module_.modules())
    for now, then in zip((X, y, X_target), before[1:], strict=True):
        np.testing.assert_array_equal(now, then)
    assert loss is None or not list(loss.parameters())


@pytest.mark.parametrize("module", [small_net(), Net, None], ids=["instance", "class", "default"])
def test_same_seed_same_predictions_whatever_the_global_seed(module):
    X, y, X_target, _ = problem()
    if module is Net:
        module = lambda: Net(4, 3)  # noqa: E731
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        results.append(quick(module=module, loss=DANN()).fit(X, y, X_target).predict_proba(X_target))
    np.testing.assert_array_equal(*results)
    other = quick(module=module, loss=DANN(), random_state=1).fit(X, y, X_target).predict_proba(X_target)
    assert not np.array_equal(results[0], other)


def test_clone_pickle_and_nested_parameters():
    X, y, X_target, _ = problem()
    adapter = quick(loss=DANN()).fit(X, y, X_target)
    for copied in (pickle.loads(pickle.dumps(adapter)), copy.deepcopy(adapter)):
        np.testing.assert_array_equal(copied.predict_proba(X_target), adapter.predict_proba(X_target))
        shared = zip(copied.module_.parameters(), copied.source_module_.parameters(), strict=True)
        assert all(a is b for a, b in shared)
    fresh = clone(adapter).set_params(loss__gradient_penalty=1.5)
    assert fresh.loss.gradient_penalty == 1.5 and adapter.loss.gradient_penalty == 0.08
    assert not hasattr(fresh, "module_")
    np.testing.assert_array_equal(
        clone(adapter).fit(X, y, X_target).predict_proba(X_target), adapter.predict_proba(X_target)
    )


def test_clones_of_a_module_that_keeps_products_of_its_weights():
    """As torch's weight_norm does, whose modules torch itself cannot copy once they were called."""
    X, y, X_target, _ = problem()
    with pytest.warns(FutureWarning):
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 3))
    module(torch.as_tensor(X).float())
    model = quick(module=module, loss=DeepCORAL(), task="classification")
    fitted = clone(model).fit(X, y, X_target)
    for again in (clone(fitted), copy.deepcopy(fitted)):
        assert again.module is not module
        np.testing.assert_array_equal(again.fit(X, y, X_target).predict(X_target), fitted.predict(X_target))
    GridSearchCV(model, {"lr": [1e-3, 1e-2]}, cv=2).fit(X, y, X_target=Target(X_target))


def test_clones_keep_what_the_user_routes():
    with config_context(enable_metadata_routing=True):
        for model in (quick(), SourceFree(small_net(), AdaBN())):
            copied = clone(model.set_fit_request(y_target=True))
            assert copied.get_metadata_routing().fit.requests["y_target"] is True


def test_grid_search_with_a_target_holder_of_the_same_length():
    X, y, X_target, _ = problem(n=120, n_target=120)
    search = GridSearchCV(quick(loss=DANN()), {"loss__gradient_penalty": [1.0, 5.0], "weight": [0.1]}, cv=2)
    search.fit(X, y, X_target=Target(X_target))
    assert search.best_estimator_.predict(X_target).shape == (120,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scores = cross_val_score(quick(), X, y, params={"X_target": Target(X_target)}, cv=2)
    assert np.isfinite(scores).all()


def test_last_step_of_a_pipeline_with_a_transformed_target():
    import sklearn
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    X, y, X_target, _ = problem()
    with sklearn.config_context(enable_metadata_routing=True):
        steps = [("scale", StandardScaler()), ("net", quick(loss=DANN()).set_fit_request(X_target=True))]
        pipe = Pipeline(steps, transform_input=["X_target"]).fit(1000 * X, y, X_target=1000 * X_target)
        scale = StandardScaler().fit(1000 * X)
        alone = quick(loss=DANN()).fit(scale.transform(1000 * X), y, scale.transform(1000 * X_target))
        np.testing.assert_allclose(
            pipe.predict_proba(1000 * X_target), alone.predict_proba(scale.transform(1000 * X_target))
        )


def test_frames_tensors_lists_and_float64_agree():
    X, y, X_target, _ = problem()
    expected = quick(loss=DeepCORAL()).fit(X, y, X_target).predict_proba(X_target)
    pl = pytest.importorskip("polars")
    names = ["a", "b", "c", "d"]
    for make in (
        lambda a: pd.DataFrame(a, columns=names).convert_dtypes(),
        lambda a: pl.DataFrame(a, schema=names),
        torch.tensor,
        lambda a: a.tolist(),
        lambda a: np.asfortranarray(a.astype(np.float32)),
    ):
        adapter = quick(loss=DeepCORAL()).fit(make(X), y, make(X_target))
        np.testing.assert_allclose(adapter.predict_proba(make(X_target)), expected, atol=1e-5)
    frame = quick().fit(pd.DataFrame(X, columns=names), y, pd.DataFrame(X_target, columns=names))
    assert frame.feature_names_in_.tolist() == names and frame.n_features_in_ == 4
    double = quick(module=small_net().double()).fit(X, y, X_target)
    assert double.predict_proba(X_target).dtype == np.float64


@pytest.mark.parametrize(
    "wrap", [lambda y: y[:, None], lambda y: pd.DataFrame({"y": y}), lambda y: y[:, None].tolist()]
)
def test_labels_in_a_single_column(wrap):
    X, y, X_target, truth = problem()
    plain, column = (quick(loss=DANN()).fit(X, f(y), X_target, f(truth)) for f in (lambda y: y, wrap))
    np.testing.assert_array_equal(column.predict_proba(X_target), plain.predict_proba(X_target))


def test_labels_of_any_type_and_one_logit_for_two_classes():
    X, y, X_target, truth = problem(n=300)
    words = np.array(["ant", "bee", "cat"])
    adapter = quick(max_epochs=60).fit(X, words[y], X_target)
    assert is_classifier(adapter) and adapter.classes_.tolist() == words.tolist()
    assert adapter.score(X_target, words[truth]) > 0.85
    proba = adapter.predict_proba(X_target)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(adapter.predict(X_target), words[proba.argmax(axis=1)])
    two = quick(module=nn.Linear(4, 1), lr=0.05, max_epochs=20).fit(X, X[:, 0] > 0, X_target)
    assert two.classes_.tolist() == [False, True] and two.predict_proba(X_target).shape == (len(X_target), 2)
    assert two.score(X_target, X_target[:, 0] > 0) > 0.95


@pytest.mark.parametrize("loss", [None, DANN(), DeepCORAL()])
def test_regression_in_the_units_of_y(loss):
    X, _, X_target, _ = problem(n=300)
    f = lambda X: 1e4 + 300 * (X[:, 0] - X[:, 1])  # noqa: E731
    adapter = DeepAdapter(loss=loss, max_epochs=40, random_state=0, device="cpu").fit(X, f(X), X_target)
    assert is_regressor(adapter) and not hasattr(adapter, "predict_proba")
    assert adapter.score(X_target, f(X_target)) > 0.8


def test_scale_y_off_keeps_the_outputs_of_a_trained_module():
    X, _, X_target, _ = problem()
    trained = nn.Linear(4, 1)
    with torch.no_grad():
        trained.weight[:], trained.bias[:] = torch.tensor([[300.0, 0, 0, 0]]), 1e4
    y = 1e4 + 300 * X[:, 0]
    adapter = quick(module=trained, scale_y=False, max_epochs=1).fit(X, y, X_target)
    assert np.abs(adapter.predict(X) - y).max() < 1


def test_sample_weight_zero_leaves_rows_out_and_weights_count():
    X, y, X_target, _ = problem()
    w = np.r_[np.ones(100), np.zeros(50)]
    for loss in (None, DANN(), DeepCORAL()):
        weighted = quick(loss=loss).fit(X, y, X_target, sample_weight=w).predict_proba(X_target)
        cut = quick(loss=loss).fit(X[:100], y[:100], X_target).predict_proba(X_target)
        np.testing.assert_allclose(weighted, cut, atol=1e-5)
    heavy = quick(max_epochs=30).fit(X, y, X_target, sample_weight=np.where(y == 0, 50.0, 1.0))
    plain = quick(max_epochs=30).fit(X, y, X_target)
    assert heavy.predict_proba(X_target)[:, 0].mean() > plain.predict_proba(X_target)[:, 0].mean() + 0.1


def test_a_network_learns_from_rows_that_lack_some_of_its_classes():
    """The outputs keep their meaning; the target may have labels of the class without source rows."""
    X, y, X_target, truth = problem(n=300)
    words = np.array(["ant", "bee", "cat"])
    seen = y != 1
    options = {"classes": words.tolist(), "max_epochs": 60, "loss": DeepCORAL()}
    for prior in (None, "estimate", (0.3, 0.4, 0.3)):
        adapter = quick(**options, target_prior=prior).fit(X[seen], words[y[seen]], X_target)
        assert adapter.classes_.tolist() == words.tolist()
        assert set(adapter.predict(X_target)) == {"ant", "cat"}
        share = getattr(adapter, "target_prior_", np.array([0.5, 0.0, 0.5]))
        assert share[1] == 0 and share.sum() == pytest.approx(1)
    labelled = quick(**options).fit(X[seen], words[y[seen]], X_target, words[truth])
    assert labelled.score(X_target, words[truth]) > 0.7
    coded = quick(classes=[0, 1, 2]).fit(X[seen][:5], y[seen][:5], X_target)  # too few rows to guess the task by
    assert is_classifier(coded) and is_classifier(quick(classes=[0, 1, 2])) and not is_classifier(quick())


def test_circular_validation_of_a_network_that_answers_some_of_its_classes():
    """The way back learns the classes that were answered; the others are wrong on the source."""
    X, y, X_target, truth = problem(n=300, n_target=300)
    X_target = X_target[truth != 1] + [0, -4, 0, 0]
    model = quick(max_epochs=40, lr=1e-2).fit(X, y, X_target)
    assert np.unique(model.predict(X_target)).tolist() == [0, 2]
    score = CircularScore(X_target)(model, X, y)
    assert (y != 1).mean() - 0.15 < score <= (y != 1).mean()


@pytest.mark.parametrize("loss", [None, DANN()])
def test_known_target_labels_join_the_training(loss):
    """Classes are swapped in the target: only its labels can tell."""
    X, y, X_target, truth = problem(shift=6.0)
    flipped = (truth + 1) % 3
    y_target = np.where(np.arange(len(truth)) % 2 == 0, flipped, np.nan)
    with_labels = quick(loss=loss, max_epochs=80, lr=1e-2).fit(X, y, X_target, y_target)
    without = quick(loss=loss, max_epochs=80, lr=1e-2).fit(X, y, X_target)
    hidden = np.isnan(y_target)
    assert with_labels.score(X_target[hidden], flipped[hidden]) > 0.6
    assert without.score(X_target[hidden], flipped[hidden]) < 0.4
    holder = quick(loss=loss, max_epochs=80, lr=1e-2).fit(X, y, Target(X_target, y_target))
    np.testing.assert_array_equal(holder.predict(X_target), with_labels.predict(X_target))
    none = quick(loss=loss).fit(X, y, X_target, [None] * len(X_target)).predict_proba(X_target)
    np.testing.assert_array_equal(none, quick(loss=loss).fit(X, y, X_target).predict_proba(X_target))


@pytest.mark.parametrize("n_target, labelled", [(10, 10), (400, 200)])
def test_a_labelled_target_row_counts_as_one_source_row(n_target, labelled):
    X, y = np.zeros((40, 1)), np.arange(40) % 4 == 0  # a bias alone can learn: the frequency of a class
    few = np.where(np.arange(n_target) < labelled, 1.0, np.nan)
    module = nn.Sequential(nn.Linear(1, 2))
    adapter = DeepAdapter(module, max_epochs=150, batch_size=40, optimizer="sgd", lr=0.1, random_state=0)
    proba = adapter.fit(X, y.astype(int), np.zeros((n_target, 1)), few).predict_proba(X)
    assert proba[0, 1] == pytest.approx((10 + labelled) / (40 + labelled), abs=0.03)


def test_columns_that_single_precision_rounds_away_are_told():
    X, y, _, _ = problem()
    for rows in (X + 1e4, np.round(10 * X) + 2.0**23):  # not much; whole numbers, which are exact
        DeepAdapter(max_epochs=1).fit(rows, y, rows)
    table = pd.DataFrame(X.astype(float), columns=list("abcd")).assign(b=lambda t: t["b"] + 1.7e9)
    with pytest.warns(ShiftWarning, match="the columns b vary so little"):
        DeepAdapter(max_epochs=1).fit(table, y, table)


@pytest.mark.filterwarnings("ignore:DeepCORAL teaches the module nothing")  # the two paths differ all the same
def test_batch_normalisation_keeps_the_statistics_of_the_two_domains_apart():
    X, y, X_target, _ = problem(shift=10.0)
    module = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))
    adapter = quick(module=module, loss=DeepCORAL(), max_epochs=60).fit(X, y, X_target)
    np.testing.assert_allclose(adapter.module_[0].running_mean, X_target.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(adapter.source_module_[0].running_mean, X.mean(axis=0), atol=0.3)
    assert np.abs(adapter.transform(X_target).mean(axis=0)).max() < 0.3
    assert np.abs(adapter.transform_source(X).mean(axis=0)).max() < 0.3
    alone = quick(module=module, loss=None).fit(X, y, X_target)
    np.testing.assert_array_equal(alone.predict_source(X_target), alone.predict(X_target))


@pytest.mark.parametrize("n, n_target, batch_size", [(129, 7, 64), (65, 300, 64), (20, 1, 64), (21, 30, 2)])
@pytest.mark.parametrize("loss", [DANN(), DeepCORAL()])
def test_odd_sizes_give_no_batch_of_a_single_row(n, n_target, batch_size, loss):
    X, y, X_target, _ = problem(n, n_target)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    adapter = quick(module=module, loss=loss, batch_size=batch_size).fit(X, y, X_target)
    assert np.isfinite(adapter.predict_proba(X_target)).all()
    assert len(adapter.history_) == 3 and np.isfinite([row["alignment_loss"] for row in adapter.history_]).all()


def test_warm_start_goes_on_where_the_last_fit_ended():
    X, y, X_target, _ = problem()
    adapter = quick(warm_start=True, max_epochs=20).fit(X, y, X_target)
    end = adapter.history_[-1]["task_loss"]
    assert adapter.set_params(max_epochs=1).fit(X, y, X_target).history_[0]["task_loss"] < end * 1.05
    assert adapter.set_params(warm_start=False).fit(X, y, X_target).history_[0]["task_loss"] > end * 1.1
    adapter.set_params(warm_start=True)
    with pytest.raises(InputError, match="other classes"):
        adapter.fit(X, y + 1, X_target)


def test_skorch_callbacks_run_on_copies_and_stop_the_training():
    from skorch.callbacks import EarlyStopping, GradientNormClipping

    X, y, X_target, _ = problem()
    callbacks = [
        GradientNormClipping(1.0),
        EarlyStopping("train_loss", patience=2, threshold=10.0, load_best=False),
    ]
    adapter = quick(callbacks=callbacks, max_epochs=50, progress=True).fit(X, y, X_target)
    assert len(adapter.history_) < 10
    assert callbacks[1].misses_ == 0


def test_an_interruption_in_the_middle_of_an_epoch_is_passed_on():
    class Interrupted(nn.Linear):
        def forward(self, x):
            if self.training:
                raise KeyboardInterrupt
            return super().forward(x)

    X, y, X_target, _ = problem()
    with pytest.raises(KeyboardInterrupt):
        quick(module=Interrupted(4, 3)).fit(X, y, X_target)


# --- layers -------------------------------------------------------------------------------------------------


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(4 * 16, 10)

    def forward(self, x):
        return self.head(self.encoder(x))


class TokenNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)).mean(dim=1))


@pytest.mark.parametrize(
    "layer, width", [("encoder.3", 64), ("encoder.0", 256), ("encoder", 64), ("head", 10), (None, 64)]
)
def test_any_layer_of_a_convolutional_net(layer, width):
    images, y = load_digits(return_X_y=True)
    images = images[:200].reshape(-1, 1, 8, 8) / 16
    adapter = quick(module=ConvNet, layer=layer, loss=DANN(), max_epochs=1)
    adapter.fit(images, y[:200], 1 - images[:90])
    assert adapter.transform(images).shape == (200, width)
    assert adapter.predict(images).shape == (200,)


@pytest.mark.parametrize("layer", ["encoder.layers.1", "encoder.layers.0.linear1", "embedding", None])
def test_any_layer_of_a_transformer_on_tokens(layer):
    rng = np.random.default_rng(0)
    tokens, target = (torch.tensor(rng.integers(low, low + 10, size=(100, 6))) for low in (0, 10))
    y = (tokens.numpy() % 10 > 4).mean(axis=1) > 0.5
    adapter = quick(module=TokenNet, layer=layer, loss=DANN(), max_epochs=2).fit(tokens, y, target)
    assert len(adapter.predict(target)) == 100
    assert adapter.transform(target).shape == (
        100,
        {"encoder.layers.0.linear1": 6 * 16, None: 8}.get(layer, 48),
    )


class PaddedNet(TokenNet):
    """Passes torch the mask of what is padded, whereupon it packs rows of different lengths in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens), src_key_padding_mask=tokens == 0)[:, 0])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("loss", [None, DANN()], ids=["None", "DANN"])
def test_a_transformer_that_is_told_what_is_padded(loss):
    tokens = torch.randint(1, 20, (60, 7), generator=torch.Generator().manual_seed(0))
    tokens[:, 5:] = 0
    adapter = quick(module=PaddedNet, loss=loss, max_epochs=1).fit(tokens, tokens[:, 0] % 2, tokens)
    assert adapter.predict(tokens).shape == (60,) and adapter.transform(tokens).shape == (60, 8)


# --- errors -------------------------------------------------------------------------------------------------


def wrong(**changes):
    X, y, X_target, _ = problem()
    return {"X": X, "y": y, "X_target": X_target, **changes}


def with_nan(n):
    X = problem(n_target=n)[2]
    X[3, 1] = np.nan
    return X


@pytest.mark.parametrize(
    "options, data, message",
    [
        (
            {"layer": "encoder.9", "loss": DANN()},
            {},
            r"encoder\.9.*accepted: the name of a submodule: 0, 1, 2",
        ),
        ({"module": nn.Flatten(), "loss": DANN()}, {}, "without a linear layer"),
        ({"module": LogisticRegression()}, {}, "module is of type LogisticRegression"),
        ({"module": lambda: 3}, {}, r"module\(\) returned int"),
        ({"module": small_net(5)}, {}, r"fails on a batch of shape \(64, 4\).*4 and 5|fails.*64x4 and 5x16"),
        ({"module": small_net(4, 2)}, {}, r"outputs of shape \(64, 2\).*logits of 3 classes. Change its last"),
        ({"module": small_net(4, 60)}, {"y": np.arange(150) % 60}, 'values of a regression.*task="classification"'),
        ({"module": small_net(4, 4)}, {}, r"outputs of shape \(64, 4\).*Does y lack a class"),
        ({"classes": [0, 1]}, {}, r"y has the classes \[2\], which are not among classes=\[0, 1\]"),
        ({"classes": [0, 2, 1]}, {}, r"classes=\[0, 2, 1\].*sorted order, \[0, 1, 2\]"),
        ({"classes": [0, 1, 2], "task": "regression"}, {}, "classes with task='regression'"),
        ({"module": nn.Sequential(small_net(), nn.Softmax(dim=1))}, {}, "probabilities.*softmax"),
        ({"module": nn.LSTM(4, 3)}, {}, "returns tuple"),
        ({"loss": "dann"}, {}, "loss='dann'"),
        ({"loss": nn.CrossEntropyLoss()}, {}, "compares outputs with labels.*task loss"),
        ({"module": small_net().requires_grad_(False)}, {}, "without a parameter that may learn"),
        ({"module": nn.Linear(4, 3, device="meta")}, {}, "meta device"),
        (
            {"module": small_net(4, 1), "patience": 2},
            {"y": problem()[0][:, 0], "X_target": np.ones((4, 4))},
            "15 held-out",
        ),
        ({"callbacks": [EarlyStopping()]}, {}, "'valid_loss' was not found in history;.*train_loss.*patience"),
        ({"optimizer": "adma"}, {}, "adma.*adam, adamw, sgd"),
        ({"batch_size": 1}, {}, "batch_size=1"),
        ({"max_epochs": 0}, {}, "max_epochs=0"),
        ({"device": "gpu"}, {}, "device='gpu' cannot be used"),
        ({"device": "cuda:99"}, {}, "device='cuda:99' cannot be used"),
        ({"weight": -1.0, "loss": DANN()}, {}, "weight=-1"),
        ({"lr": 1e30, "optimizer": "sgd"}, {}, "training loss is .*Scale the columns"),
        ({}, {"X_target": None}, "without X_target"),
        ({}, {"X_target": np.zeros((5, 3))}, "X_target has 3 columns.*the 4 columns of X"),
        ({}, {"X_target": with_nan(20)}, "X_target has missing or infinite values in 1 of 20 rows"),
        ({}, {"X": with_nan(150)}, "X has missing or infinite values in 1 of 150 rows"),
        ({}, {"X": np.zeros(150)}, r"X has shape \(150,\)"),
        ({}, {"X_target": pd.DataFrame({c: ["u"] for c in "abcd"})}, "X_target has columns.*text"),
        ({}, {"X": np.full((150, 4), "u")}, "X has columns or values of type text"),
        ({}, {"y": np.zeros(150, int)}, r"^y has one class only \(0\).*Pass rows of another"),
        ({}, {"y": np.zeros(149, int)}, "^y has 149 labels.*per row of X"),
        ({}, {"y": np.r_[np.nan, np.ones(149)]}, "^y has 1 missing"),
        ({}, {"y_target": np.full(120, "u")}, "y_target holds text while y holds whole numbers"),
        ({}, {"y_target": [7] * 120}, r"classes \[7\], which y has not"),
        ({}, {"sample_weight": -np.ones(150)}, "sample_weight"),
        ({}, {"X_target": Target(np.zeros((2, 4)), [0, 1]), "y_target": [0, 1]}, "both in Target"),
    ],
)
def test_bad_input_is_explained(options, data, message):
    with pytest.raises(InputError, match=message):
        quick(**options).fit(**wrong(**data))


def test_sparse_images_of_other_shape_and_renamed_columns_are_refused():
    from scipy import sparse

    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match="X is a tuple of 2 arrays"):
        DeepAdapter().fit((np.zeros((4, 2)), np.zeros((4, 2))), [0, 1, 0, 1], np.zeros((4, 2)))
    with pytest.raises(InputError, match="X is sparse"):
        quick().fit(sparse.csr_array(X), y, X_target)
    with pytest.raises(InputError, match=r"rows of shape \(2, 2\).*shape \(1, 4\)"):
        quick().fit(X.reshape(-1, 1, 4), y, X_target.reshape(-1, 2, 2))
    frames = pd.DataFrame(X, columns=list("abcd")), pd.DataFrame(X_target, columns=list("abce"))
    with pytest.raises(InputError, match="lacks the columns"):
        quick().fit(frames[0], y, frames[1])
    fitted = quick().fit(frames[0], y, frames[0])
    with pytest.raises(InputError, match="another order"):
        fitted.predict(frames[0][list("dcba")])
    with pytest.raises(InputError, match="3 columns"):
        fitted.predict(X[:, :3])


# --- what adapting does -------------------------------------------------------------------------------------


def digits_pair(how, seed):
    """Two disjoint sets of digits, the second rotated by 30 degrees or blurred, and a third to score on."""
    from scipy import ndimage

    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    images = X.reshape(-1, 8, 8) / 16 + 0.02 * rng.standard_normal((len(X), 8, 8))
    if how == "rotated":
        moved = ndimage.rotate(images, 30, axes=(1, 2), reshape=False, order=1)
    else:
        moved = 0.7 * ndimage.uniform_filter(images, size=(1, 3, 3), mode="nearest") + 0.2
    a, b, c = order[:750], order[750:1500], order[1500:]
    images, moved = images.reshape(-1, 64), moved.reshape(-1, 64)
    return images[a], y[a], moved[b], moved[c], y[c]


def accuracy(how, loss, **options):
    """Target accuracy over three seeds of data and training."""
    scores = []
    for seed in range(3):
        X, y, X_target, X_test, y_test = digits_pair(how, seed)
        adapter = DeepAdapter(Net, "feat", loss, random_state=seed, device="cpu", **options)
        scores.append(adapter.fit(X, y, X_target).score(X_test, y_test))
    return float(np.mean(scores))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [DANN(), DeepCORAL()], ids=["DANN", "DeepCORAL"])
@pytest.mark.parametrize("how", ["rotated", "blurred"])
def test_adapting_digits_beats_training_on_the_source(how, loss):
    assert accuracy(how, loss) > accuracy(how, None) + 0.1


@pytest.mark.slow
def test_dann_is_really_adversarial():
    """The features of the two domains become harder to tell apart, more so with a larger weight."""
    X, y, X_target, X_test, _ = digits_pair("rotated", 0)
    domain = np.r_[np.zeros(len(X)), np.ones(len(X_target))]

    def separable(weight):
        adapter = DeepAdapter(Net, "feat", DANN(), weight=weight, random_state=0, device="cpu")
        adapter.fit(X, y, X_target)
        Z = np.r_[adapter.transform_source(X), adapter.transform(X_target)]
        judge = LogisticRegression(C=1e-3, max_iter=2000)
        return cross_val_score(judge, Z / Z.std(), domain, cv=3).mean(), adapter

    (none, _), (little, small), (full, adapter) = separable(0.0), separable(0.03), separable(1.0)
    assert full < little < none
    assert full < none - 0.15
    losses = np.array([row["alignment_loss"] for row in adapter.history_])
    assert np.ptp(losses) > 0.02 and np.isfinite(losses).all()
    assert not np.array_equal(small.predict_proba(X_test), adapter.predict_proba(X_test))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [DANN(), DeepCORAL()], ids=["DANN", "DeepCORAL"])
def test_without_shift_nothing_is_lost(loss):
    scores = {}
    for name, chosen in (("source", None), ("adapted", loss)):
        values = []
        for seed in range(3):
            X, y, _, _, _ = digits_pair("rotated", seed)
            adapter = DeepAdapter(Net, "feat", chosen, random_state=seed, device="cpu")
            adapter.fit(X[:400], y[:400], X[400:])
            values.append(adapter.score(X[400:], y[400:]))
        scores[name] = np.mean(values)
    assert scores["adapted"] > scores["source"] - 0.02


def test_default_network_standardises_by_the_source():
    X, y, X_target, truth = problem(n=300)
    scaled = np.array([1.0, 1e3, 1e-3, 1e6])
    adapter = DeepAdapter(loss=DANN(), random_state=0, device="cpu").fit(X * scaled, y, X_target * scaled)
    assert isinstance(adapter.module_, MLP)
    np.testing.assert_allclose(adapter.module_.scale, (X * scaled).std(axis=0), rtol=1e-5)
    assert adapter.score(X_target * scaled, truth) > 0.8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu_and_pickles_to_it():
    X, y, X_target, _ = problem(n=300)
    state = torch.cuda.get_rng_state()
    on_gpu, on_cpu = (quick(loss=DeepCORAL(), max_epochs=20, device=d).fit(X, y, X_target) for d in ("cuda", "cpu"))
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert next(on_gpu.module_.parameters()).is_cuda
    np.testing.assert_allclose(on_gpu.predict_proba(X_target), on_cpu.predict_proba(X_target), atol=1e-3)
    moved = pickle.loads(pickle.dumps(on_gpu))
    assert not next(moved.module_.parameters()).is_cuda
    np.testing.assert_allclose(moved.predict_proba(X_target), on_gpu.predict_proba(X_target), atol=1e-4)
