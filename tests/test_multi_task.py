"""MultiTask: every way of sharing by its formula, what it gains, kinds of tasks, the estimator contract."""

from __future__ import annotations

import copy
import pickle
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from torch import nn  # noqa: E402

from da_toolkit._target import Target  # noqa: E402
from da_toolkit.transfer import _sharing  # noqa: E402
from da_toolkit.transfer._multi_task import SHARING, MultiTask, _shuffled  # noqa: E402
from shift_detectors._errors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def trunk():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh()).double()


def perturbed(module, seed=0):
    """Parameters moved, so that copies differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return module.double()


X3 = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)))


def quick(sharing="hard", **options):
    return MultiTask(**{"sharing": sharing, "hidden": (16, 8), "max_epochs": 3, "random_state": 0, **options})


def states(seed=0, n_domains=3, rows=60, m=20):
    """Domains whose labels follow the same nonlinear feature with other signs and levels."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n_domains * rows, 4)), rng.normal(size=(200, 4))
    domain = np.array(["a", "b", "c", "d", "e", "f"])[np.arange(len(X)) % n_domains]
    f, f_target = (np.tanh(2 * x[:, 0] * x[:, 1]) + 0.5 * x[:, 2] for x in (X, X_target))
    y = (f * np.where(domain == "a", -1, 1) > 0).astype(int)
    y_target = (f_target > 0.3).astype(int)
    return X, y, X_target, np.where(np.arange(200) < m, y_target, np.nan), y_target, domain


# --- ways of sharing ----------------------------------------------------------------------------------------


def test_hard_is_one_trunk():
    made = trunk()
    features, penalty = _sharing.HardSharing(lambda: made, 3)(X3)
    assert penalty == 0 and all(torch.equal(z, made(X3)) for z in features)


def test_soft_is_a_trunk_each_and_their_distance_from_the_mean():
    soft = perturbed(_sharing.SoftSharing(trunk, 3))
    features, penalty = soft(X3)
    flat = np.stack([nn.utils.parameters_to_vector(t.parameters()).detach().numpy() for t in soft.trunks])
    assert penalty.item() == pytest.approx(((flat - flat.mean(axis=0)) ** 2).sum())
    assert all(torch.equal(z, t(X3)) for z, t in zip(features, soft.trunks, strict=True))
    assert _sharing.SoftSharing(trunk, 3)(X3)[1] == 0


def test_cross_stitch_mixes_after_every_stage():
    stitched = perturbed(_sharing.CrossStitch(trunk, 2))
    features, _ = stitched(X3)
    h = [X3, X3]
    for stage in range(2):
        own = [torch.tanh(stitched.trunks[t][stage][0](h[t])) for t in range(2)]
        a = stitched.units[stage]
        h = [a[t, 0] * own[0] + a[t, 1] * own[1] for t in range(2)]
    torch.testing.assert_close(features, h)
    fresh = _sharing.CrossStitch(trunk, 3).units[0]
    torch.testing.assert_close(fresh.detach(), torch.full((3, 3), 0.05) + 0.85 * torch.eye(3))


def test_attention_adds_what_the_other_tasks_hold():
    attention = perturbed(_sharing.Attention(trunk, 3, 4))
    features, _ = attention(X3)
    with torch.no_grad():
        z = [t(X3).numpy() for t in attention.trunks]
        q, k, v = (p.numpy() for p in (attention.query, attention.key, attention.value))
    for t in range(3):
        others = [s for s in range(3) if s != t]
        scores = np.stack([((z[t] @ q[t]) * (z[s] @ k[s])).sum(axis=1) / 2 for s in others], axis=1)
        share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        expected = z[t] + sum(share[:, [i]] * (z[s] @ v) for i, s in enumerate(others))
        np.testing.assert_allclose(features[t].detach(), expected)
    fresh = _sharing.Attention(trunk, 3, 4).double()
    assert all(torch.equal(f, t(X3)) for f, t in zip(fresh(X3)[0], fresh.trunks, strict=True))


def test_hierarchical_taps_at_depths():
    made = trunk()
    features, _ = _sharing.HierarchicalSharing(lambda: made, [2, 1])(X3)
    assert torch.equal(features[0], made(X3)) and torch.equal(features[1], made[:2](X3))


def test_shared_private_and_the_overlap_of_its_features():
    both = perturbed(_sharing.SharedPrivate(trunk, trunk, 2))
    features, penalty = both(X3)
    expected = 0.0
    for t in range(2):
        s, p = (part(X3).detach().numpy() for part in (both.shared, both.private[t]))
        np.testing.assert_allclose(features[t].detach(), np.hstack([s, p]))
        s, p = ((a - a.mean(axis=0)) for a in (s, p))
        s, p = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (s, p))
        expected += ((s.T @ p / 6) ** 2).sum()
    assert penalty.item() == pytest.approx(expected)


def test_stages_begin_with_layers_that_learn():
    parts = _sharing.stages(nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 4)))
    assert [len(part) for part in parts] == [4, 1]
    with pytest.raises(InputError, match="no stages"):
        _sharing.stages(nn.Linear(2, 2))


# --- training -----------------------------------------------------------------------------------------------


def test_each_head_is_the_weighted_least_squares_of_its_own_labels():
    """With nothing to share: missing labels and rows of other tasks change nothing."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(80, 3)), 0.3 * rng.normal(size=(80, 2))
    y = np.column_stack([X @ [1, 2, 0], 5 - X @ [0, 1, 1]]) + noise
    y[rng.random((80, 2)) < 0.4] = np.nan
    weight = rng.uniform(0.2, 2.0, size=80)
    model = MultiTask(nn.Flatten(), max_epochs=300, batch_size=80, lr=0.05, weight_decay=0, random_state=0)
    model.fit(X, y, sample_weight=weight)
    for t in range(2):
        known = ~np.isnan(y[:, t])
        design, w = np.column_stack([X, np.ones(80)]), weight * known
        beta = np.linalg.solve(design.T @ (design * w[:, None]), design.T @ (w * np.nan_to_num(y[:, t])))
        np.testing.assert_allclose(model.predict(X, task=t), design @ beta, atol=0.02)
    np.testing.assert_allclose(model.predict(X)[:, 1], model.predict(X, task=1))


def test_balance_weighs_the_tasks():
    X, y, _, _, _, domain = states(rows=30)
    keep = (domain != "c") | (np.arange(len(X)) < 20)
    args, n = (X[keep], y[keep]), [np.sum(domain[keep] == d) for d in "abc"]
    rows = quick(balance="rows").fit(*args, source_domain=domain[keep])
    np.testing.assert_allclose(list(rows.task_weights_.values()), np.array(n) / np.mean(n), rtol=1e-6)
    equal = quick().fit(*args, source_domain=domain[keep])
    assert list(equal.task_weights_.values()) == [1.0, 1.0, 1.0]
    given = quick(balance={"a": 1.0, "b": 1.0, "c": 4.0}).fit(*args, source_domain=domain[keep])
    assert given.task_weights_ == pytest.approx({"a": 0.5, "b": 0.5, "c": 2.0})


def test_uncertainty_finds_the_noisy_task():
    """At the optimum s = log L: the weight of a task is one over its loss."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.column_stack([X[:, 0] + 0.1 * rng.normal(size=200), rng.normal(size=200)])
    model = MultiTask(nn.Flatten(), balance="uncertainty", max_epochs=400, batch_size=200, lr=0.02, random_state=0)
    weights = model.fit(X, y).task_weights_
    for t in range(2):
        assert weights[t] == pytest.approx(1 / model.history_[-1][t], rel=0.1)
    assert weights[0] > 20 * weights[1]


def test_every_batch_has_its_share_of_every_task():
    strata = np.repeat([0, 1, 2], [80, 40, 8])
    with torch.random.fork_rng():
        order = _shuffled(strata).numpy()
    assert sorted(order) == list(range(128))
    for batch in np.split(strata[order], 8):
        counts = np.bincount(batch, minlength=3)
        assert abs(counts - [10, 5, 1]).max() <= 1


SOME = [s if s in ("hard", "shared_private") else pytest.param(s, marks=pytest.mark.slow) for s in SHARING]
TASKS = 6
NETWORK = {"hidden": (32, 16), "batch_size": 32, "lr": 5e-3, "random_state": 0}


def signs(seed=0, rows=40):
    """Six tasks of few rows that follow the same product of two columns, up to sign and level."""
    rng = np.random.default_rng(seed)
    X, X_new = rng.normal(size=(TASKS * rows, 6)), rng.normal(size=(500, 6))
    domain, slope, level = np.arange(len(X)) % TASKS, rng.choice([-1, 1], size=TASKS), rng.normal(size=TASKS)

    def truth(rows, d):
        return slope[d] * (rows[:, 0] * rows[:, 1] + np.abs(rows[:, 2])) + level[d]

    return X, truth(X, domain) + 0.2 * rng.normal(size=len(X)), domain, X_new, truth


@lru_cache
def alone():
    """Mean R2 of a network for each task."""
    X, y, domain, X_new, truth = signs()
    scores = []
    for d in range(TASKS):
        model = MultiTask(max_epochs=100, **NETWORK).fit(X[domain == d], y[domain == d, None])
        scores.append(model.score(X_new, truth(X_new, np.full(500, d))[:, None]))
    return np.mean(scores)


@pytest.mark.parametrize("sharing", SOME)
def test_tasks_that_share_a_feature_gain(sharing):
    X, y, domain, X_new, truth = signs()
    model = MultiTask(sharing=sharing, max_epochs=40, **NETWORK).fit(X, y, source_domain=domain)
    together = np.mean([model.score(X_new, truth(X_new, np.full(500, d)), task=d) for d in range(TASKS)])
    assert together > alone() + 0.05


@pytest.mark.parametrize("sharing", SOME)
def test_no_harm_when_all_tasks_are_the_same(sharing):
    """Beside a network on each task's own rows."""
    rng = np.random.default_rng(0)
    X, X_new = rng.normal(size=(300, 4)), rng.normal(size=(1000, 4))
    y, y_new = ((rows[:, 0] + rows[:, 1] > 0).astype(int) for rows in (X, X_new))
    domain = np.arange(300) % 3
    model = MultiTask(sharing=sharing, max_epochs=30, **NETWORK).fit(X, y, source_domain=domain)
    gains = []
    for d in range(3):
        own = MultiTask(max_epochs=60, **NETWORK).fit(X[domain == d], y[domain == d, None])
        gains.append(model.score(X_new, y_new, task=d) - own.score(X_new, y_new[:, None]))
    assert np.mean(gains) > -0.01


def test_fine_tuning_changes_the_networks_one_by_one():
    X, y, X_target, few, _, domain = states()
    joint = quick().fit(X, y, X_target, few, source_domain=domain)
    tuned = quick(fine_tune_epochs=20).fit(X, y, X_target, few, source_domain=domain)
    assert len({id(m) for m in joint.modules_.values()}) == 1 and len({id(m) for m in tuned.modules_.values()}) == 4
    log_loss = []
    for model in (joint, tuned):
        proba = model.predict_proba(X[domain == "a"], task="a")
        log_loss.append(-np.log(proba[np.arange(60), y[domain == "a"]]).mean())
    assert log_loss[1] < log_loss[0]


# --- kinds of tasks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", SHARING)
def test_label_columns_of_several_kinds_with_missing_ones(sharing):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    y = pd.DataFrame(
        {"word": np.where(X["a"] > 0, "yes", "no"), "count": rng.integers(3, size=120), "value": 7.5 + 50 * X["b"]}
    ).astype({"word": object})
    y.iloc[::3, 0], y.iloc[1::3, 2] = None, np.nan
    model = quick(sharing).fit(X, y)
    assert model.tasks_ == ["word", "count", "value"]
    assert {k: v.tolist() for k, v in model.task_classes_.items()} == {"word": ["no", "yes"], "count": [0, 1, 2]}
    answer = model.predict(X)
    assert answer.shape == (120, 3) and set(answer[:, 0]) <= {"no", "yes"}
    np.testing.assert_array_equal(answer[:, 2].astype(float), model.predict(X, task="value"))
    assert model.predict_proba(X, task="count").shape == (120, 3) and np.isfinite(model.score(X, y))
    with pytest.raises(InputError, match="regression"):
        model.predict_proba(X, task="value")
    with pytest.raises(AttributeError, match="task_classes_"):
        model.classes_  # noqa: B018


@pytest.mark.parametrize("sharing", ["cross_stitch", "attention"])
def test_a_single_column_shares_with_nobody(sharing):
    X, y, *_ = states()
    alone = quick(sharing).fit(X, y[:, None])
    np.testing.assert_array_equal(alone.predict(X), quick().fit(X, y[:, None]).predict(X))


def test_label_columns_of_target_rows_are_more_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(2, size=(60, 2)).astype(float)
    y[40:50, 1] = np.nan
    whole = quick().fit(X, y)
    parts = quick().fit(X[:40], y[:40], X[40:], y[40:])
    np.testing.assert_array_equal(whole.predict(X), parts.predict(X))
    assert parts.tasks_ == [0, 1]


def test_domains_with_labels_of_different_sets_and_kinds():
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(90, 3)), np.repeat(["digits", "words", "numbers"], 30)
    y = np.concatenate(
        [rng.integers(4, size=30).astype(object), rng.choice(["u", "v"], size=30), rng.normal(size=30).astype(object)]
    )
    model = quick(depths={"digits": 1, "words": 2, "numbers": 2}, sharing="hierarchical").fit(
        X, y, source_domain=domain
    )
    assert {k: v.tolist() for k, v in model.task_classes_.items()} == {"digits": [0, 1, 2, 3], "words": ["u", "v"]}
    assert model.predict(X, task="numbers").dtype == float
    answers = model.predict_source(X, source_domain=domain)
    assert answers[35] in {"u", "v"}
    with pytest.raises(InputError, match="no task and no target"):
        model.predict(X)


def test_the_target_has_the_classes_of_a_source_that_knows_its_labels():
    X, y, X_target, _, truth, domain = states()
    one = np.where(np.arange(200) < 1, 1.0, np.nan)  # a single label, of one class
    model = quick().fit(X, y, X_target, one, source_domain=domain)
    assert model.tasks_ == ["a", "b", "c", "target"] and model.classes_.tolist() == [0, 1]
    assert is_classifier(model) and model.predict_proba(X_target).shape == (200, 2)
    assert model.predict(X_target).dtype == y.dtype and 0 <= model.score(X_target, truth) <= 1
    other = np.where(np.arange(200) < 40, np.array(["p", "q"] * 100, object), None)
    assert quick().fit(X, y, X_target, other, source_domain=domain).classes_.tolist() == ["p", "q"]


def test_a_regression_target_with_few_labels_is_told_by_its_sources():
    X, _, X_target, _, _, _ = states()
    value = 1000 + 10 * X[:, 0]
    few = np.where(np.arange(200) < 5, np.round(2000 + 10 * X_target[:, 0]), np.nan)
    model = quick(max_epochs=60).fit(X, value, X_target, few)
    assert model.tasks_ == ["source", "target"] and is_regressor(model)
    assert model.score(X_target, 2000 + 10 * X_target[:, 0]) > 0.3
    assert abs(model.predict_source(X).mean() - 1000) < 5


@pytest.mark.parametrize("sharing", ["hard", "shared_private"])
def test_a_few_target_labels_gain_from_the_sources(sharing):
    """The interaction is learnt from the other domains, the threshold from the target."""
    X, y, X_target, few, truth, domain = states(rows=300, m=30)
    model = quick(sharing, hidden=(48, 24), max_epochs=40, lr=3e-3).fit(X, y, X_target, few, source_domain=domain)
    alone = quick(hidden=(48, 24), max_epochs=200, lr=3e-3).fit(X_target[:30], truth[:30, None])
    assert model.score(X_target[30:], truth[30:]) > alone.score(X_target[30:], truth[30:, None]) + 0.05


# --- an estimator like others -------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", SHARING)
def test_clone_pickle_and_same_seed(sharing):
    X, y, X_target, few, _, domain = states()
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 8), nn.ReLU())
    before = copy.deepcopy(module.state_dict()), X.copy(), few.copy()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    model = quick(sharing, module=module, fine_tune_epochs=1)
    first = clone(model).fit(X, y, X_target, few, source_domain=domain)
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, Target(X_target, few), source_domain=domain)))
    proba = first.predict_proba(X_target)
    np.testing.assert_array_equal(again.predict_proba(X_target), proba)
    np.testing.assert_array_equal(first.fit(X, y, X_target, few, source_domain=domain).predict_proba(X_target), proba)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert all(
        torch.equal(now, then) for now, then in zip(module.state_dict().values(), before[0].values(), strict=True)
    )
    np.testing.assert_array_equal(X, before[1])
    np.testing.assert_array_equal(few, before[2])


def test_rows_of_weight_zero_are_left_out_of_the_loss():
    X, y, _, _, _, domain = states()
    weight = np.where(np.arange(len(X)) < 150, 1.0, 0.0)
    full = MultiTask(nn.Flatten(), max_epochs=200, batch_size=500, lr=0.1, weight_decay=0, random_state=0)
    a = clone(full).fit(X, y, source_domain=domain, sample_weight=weight)
    b = clone(full).fit(X[:150], y[:150], source_domain=domain[:150])
    np.testing.assert_allclose(a.predict_proba(X, task="a"), b.predict_proba(X, task="a"), atol=1e-3)


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({"y_target": None}, {}, "without target labels"),
        ({"X_target": None, "source_domain": None}, {}, "single task"),
        ({"source_domain": np.zeros(9)}, {}, "source_domain has shape"),
        ({"source_domain": np.array(["a", "b", "target"] * 60)}, {}, "called 'target'"),
        ({"source_domain": np.arange(180)}, {}, "task 0: y has one"),
        ({"y": np.full(180, np.nan)}, {}, "180 of the 180"),
        ({"y": np.ones(7)}, {}, "7 labels"),
        ({"y": {"a": np.ones(180)}}, {}, "labels in a dict.*DataFrame"),
        ({"y": np.ones((180, 2)), "y_target": np.ones((200, 2))}, {}, "several source domains"),
        ({"sample_weight": -np.ones(180)}, {}, "negative"),
        ({}, {"sharing": "half"}, "sharing='half'"),
        ({}, {"balance": "none"}, "balance='none'"),
        ({}, {"balance": {"a": 1.0}}, "Name every task"),
        ({}, {"sharing": "hierarchical", "depths": {"a": 9}}, "depths"),
        ({}, {"max_epochs": 0}, "max_epochs"),
        ({}, {"penalty": -1.0}, "penalty"),
        ({}, {"module": nn.Linear(7, 3)}, "fails on a batch"),
        ({}, {"module": nn.Linear(4, 3), "sharing": "cross_stitch"}, "no stages"),
        ({}, {"private": "resnet", "sharing": "shared_private"}, "module is of type str"),
        ({}, {"module": "resnet"}, "module is of type str"),
    ],
)
def test_bad_calls_are_explained(change, options, message):
    X, y, X_target, few, _, domain = states()
    call = {"X": X, "y": y, "X_target": X_target, "y_target": few, "source_domain": domain, **change}
    with pytest.raises(InputError, match=message):
        quick(**options).fit(**call)


def test_bad_questions_are_explained():
    X, y, X_target, few, _, domain = states()
    model = quick().fit(X, y, X_target, few, source_domain=domain)
    with pytest.raises(InputError, match="task='z'"):
        model.predict(X, task="z")
    with pytest.raises(InputError, match="4 columns"):
        model.predict(X[:, :2])
    with pytest.raises(InputError, match="without source_domain"):
        model.predict_source(X)


@pytest.mark.parametrize("domain", [[0.0, 1.0, np.nan], ["a", "b", None], ["a", "b", np.nan]])
def test_missing_source_domains_are_refused(domain):
    X, y = np.arange(24.0).reshape(12, 2), np.arange(12) % 2
    with pytest.raises(InputError, match="source_domain has 4 missing values"):
        MultiTask(max_epochs=1).fit(X, y, source_domain=domain * 4)


def test_a_domain_of_one_class_is_told_in_the_words_of_the_call():
    X, y = np.arange(24.0).reshape(12, 2), np.array([0, 1] * 4 + [1] * 4)
    with pytest.raises(InputError, match=r"task 'b': y has one class only \(1\).*Pass rows of another, too"):
        MultiTask(max_epochs=1).fit(X, y, source_domain=["a"] * 8 + ["b"] * 4)


def test_a_small_domain_has_the_kind_of_one_that_knows_its_labels():
    rng = np.random.default_rng(0)
    y = np.r_[np.arange(6).repeat(20), np.arange(6).repeat(2)]
    X, domain = rng.normal(size=(132, 3)), np.repeat(["large", "tiny"], [120, 12])
    model = MultiTask(max_epochs=1, random_state=0).fit(X, y, source_domain=domain)
    assert set(model.task_classes_) == {"large", "tiny"}
    assert set(model.predict_source(X, domain)) <= set(range(6))
