"""How DeepAdapter trains: early stopping, schedules, checkpoints, precision, data sets, class frequencies."""

from __future__ import annotations

import copy
import functools
import math
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.model_selection import cross_val_score  # noqa: E402
from skorch.callbacks import Callback, EarlyStopping  # noqa: E402
from skorch.history import History  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from da_toolkit import adapt  # noqa: E402
from da_toolkit._target import Target  # noqa: E402
from da_toolkit.deep import (  # noqa: E402
    CDAN,
    DAN,
    DANN,
    DSN,
    JAN,
    MCC,
    MDD,
    SHOT,
    TENT,
    WDGRL,
    AdaBN,
    AlignmentLoss,
    DeepAdapter,
    DeepCORAL,
    SourceFree,
    frozen_module,
)
from da_toolkit.deep._class_frequencies import explained_share  # noqa: E402
from da_toolkit.deep._description import describe  # noqa: E402
from da_toolkit.deep._early_stopping import (  # noqa: E402
    BestEpoch,
    Judgement,
    collapsed,
    effective_classes,
    judge_values,
    unsupervised_score,
    weighted_risk,
)
from da_toolkit.deep._rows import read_source  # noqa: E402
from da_toolkit.deep._trainer import Layer, PairedBatches, finite, rows_are_independent  # noqa: E402
from da_toolkit.transfer import Embedding, FineTuning  # noqa: E402
from shift_detectors._errors import InputError, ShiftWarning  # noqa: E402

pytestmark = pytest.mark.torch


def problem(n=300, n_target=240, shift=0.5, seed=0):
    """Three classes by the largest of the first three of four columns."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 4)), rng.normal(size=(n_target, 4)) + shift
    return X, X[:, :3].argmax(axis=1), X_target, X_target[:, :3].argmax(axis=1)


def quick(loss=None, **options):
    return DeepAdapter(loss=loss, **{"max_epochs": 4, "random_state": 0, "device": "cpu", **options})


# --- early stopping -----------------------------------------------------------------------------------------


class Collapse(AlignmentLoss):
    """In the second half of the training, certainty at any price: every target row into the first class."""

    def forward(self, source, target, progress):
        """Cross entropy of the target rows with the first class."""
        first = torch.zeros(len(target.logits), dtype=torch.long, device=target.logits.device)
        return (50.0 if progress > 0.5 else 0.0) * F.cross_entropy(target.logits, first)


def test_score_equals_its_formula_and_is_zero_at_best():
    proba = np.array([[0.7, 0.3], [0.2, 0.8]])
    mean, prior = proba.mean(axis=0), np.array([0.4, 0.6])
    expected = (proba * np.log(proba)).sum(axis=1).mean() - (mean * np.log(mean / prior)).sum()
    assert unsupervised_score(proba, prior) == pytest.approx(expected)
    assert unsupervised_score(np.eye(2), np.array([0.5, 0.5])) == pytest.approx(0)
    assert effective_classes(np.full(4, 0.25)) == pytest.approx(4)


def test_score_and_veto_refuse_what_entropy_would_take():
    uniform = np.full(4, 0.25)
    one_class = np.tile([1.0, 0, 0, 0], (40, 1))
    uncertain = 0.6 * np.eye(4)[np.arange(40) % 4] + 0.1
    assert unsupervised_score(one_class, uniform) < unsupervised_score(uncertain, uniform)
    assert collapsed(one_class, uniform) and not collapsed(uncertain, uniform)
    assert not collapsed(one_class, np.array([0.97, 0.01, 0.01, 0.01]))  # such a target was announced


def test_early_stopping_keeps_a_sound_epoch_where_plain_entropy_would_keep_a_collapsed_one():
    X, y, X_target, truth = problem(n=600)
    adapter = quick(Collapse(), max_epochs=30, patience=30).fit(X, y, X_target)
    entropy = [row["target_entropy"] for row in adapter.history_]
    by_entropy = int(np.argmin(entropy))
    assert by_entropy >= 15 and adapter.history_[by_entropy]["vetoed"]
    assert not any(row["vetoed"] for row in adapter.history_[5:15])
    assert adapter.score(X_target, truth) > 0.75
    last = quick(Collapse(), max_epochs=30).fit(X, y, X_target)
    assert last.score(X_target, truth) < 0.5
    stopped = quick(Collapse(), max_epochs=30, patience=3).fit(X, y, X_target)
    assert len(stopped.history_) < 25


class Flatten(AlignmentLoss):
    """In the second half of the training, all target rows get the same value."""

    def forward(self, source, target, progress):
        """Variance of the predictions on the target."""
        return (100.0 if progress > 0.5 else 0.0) * target.logits.square().mean()


def regression(n=500, move=0.5, seed=0):
    """A smooth function of two of three columns, with noise; the target is moved."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + move
    mean = lambda X: 10 + 5 * np.sin(X[:, 0]) + 3 * X[:, 1]  # noqa: E731
    return X, mean(X) + rng.normal(size=n), X_target, mean(X_target)


def test_weighted_risk_estimates_the_loss_on_the_target():
    rng = np.random.default_rng(0)
    z, there = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)) + 0.7
    loss = lambda z: (z[:, 0] + 1) ** 2  # noqa: E731
    assert weighted_risk(loss(z), z, there) == pytest.approx(loss(there).mean(), rel=0.08)
    same = rng.normal(size=(2000, 1))
    assert weighted_risk(loss(z), z, same) == pytest.approx(loss(z).mean(), rel=0.05)


def test_judgement_of_values_equals_its_formulas():
    y, values, there = np.array([0.0, 2.0, 4.0, 6.0] * 5), np.array([1.0, 2.0, 4.0, 5.0] * 5), np.full(20, 3.0)
    judgement = judge_values(values[:, None], values, y, values[:, None], there)
    assert judgement.on_source == judgement.record["source_r2"] == pytest.approx(1 - 0.5 / 5)
    assert judgement.record["target_spread"] == 0 and judgement.collapsed
    assert judgement.score == pytest.approx(-0.5, abs=1e-3)  # equal features: weights of one
    assert not judge_values(values[:, None], values, y, values[:, None], values).collapsed


def test_early_stopping_of_a_regression_does_not_keep_a_flat_network():
    X, y, X_target, truth = regression()
    adapter = quick(Flatten(), max_epochs=24, patience=24, lr=5e-3).fit(X, y, X_target)
    assert all(row["vetoed"] for row in adapter.history_[16:])
    assert not any(row["vetoed"] for row in adapter.history_[6:12])
    assert adapter.score(X_target, truth) > 0.8
    last = quick(Flatten(), max_epochs=24, lr=5e-3).fit(X, y, X_target)
    assert last.score(X_target, truth) < 0.5
    assert set(adapter.history_[0]) >= {"target_score", "target_spread", "source_r2", "vetoed"}


def test_early_stopping_of_a_regression_keeps_the_epoch_with_the_best_score():
    X, y, X_target, truth = regression()
    for loss in (None, DANN()):
        adapter = quick(loss, max_epochs=30, patience=4, lr=5e-3).fit(X, y, X_target)
        best = max(row["target_score"] for row in adapter.history_ if not row["vetoed"])
        assert len(adapter.history_) < 30
        assert best in [row["target_score"] for row in adapter.history_[-5:]]
        assert adapter.score(X_target, truth) > 0.8
        again = quick(loss, max_epochs=30, patience=4, lr=5e-3).fit(X, y, X_target)
        np.testing.assert_array_equal(again.predict(X_target), adapter.predict(X_target))


def test_early_stopping_judges_the_epochs_before_again_by_what_the_source_has_come_to():
    """(score, accuracy on the source, collapsed) of five epochs; the first has the best score, and is untrained."""
    epochs = [(-0.1, 0.3, False), (-0.4, 0.80, False), (-0.5, 0.84, False), (-0.2, 0.95, True), (-0.6, 0.88, False)]
    judgements = iter([Judgement(*epoch, record={"source_accuracy": epoch[1]}) for epoch in epochs])
    module, best = nn.Linear(1, 1), BestEpoch(lambda: next(judgements), patience=2)
    net = SimpleNamespace(history=History(), module_=module)
    kept = []
    for number in range(5):
        nn.init.constant_(module.weight, number)
        net.history.new_epoch()
        best.on_epoch_end(net)
        kept.append(best.best)
    assert kept == [0, 1, 1, 1, 2]  # collapsed epochs are no measure
    assert best.exhausted()
    assert [row["vetoed"] for row in net.history] == [True, True, False, True, False]
    best.on_train_end(net)
    assert module.weight.item() == 2


def test_early_stopping_warns_when_every_epoch_is_vetoed():
    class Always(Collapse):
        def forward(self, source, target, progress):
            return super().forward(source, target, 1.0)

    X, y, X_target, _ = problem()
    with pytest.warns(ShiftWarning, match="vetoed every epoch"):
        quick(Always(), patience=2, lr=1e-2).fit(X, y, X_target)


def test_early_stopping_does_not_look_at_target_labels_and_holds_groups_out_together(monkeypatch):
    X, y, X_target, truth = problem()
    seen = []
    original = PairedBatches.__init__
    monkeypatch.setattr(PairedBatches, "__init__", lambda self, *args: (seen.append(args), original(self, *args))[1])
    groups = np.arange(len(X)) // 10
    quick(DANN(), patience=2, validation_fraction=0.3).fit(X, y, X_target, groups=groups)
    trained = seen[-1][0].inputs.numpy()
    inside = np.isin(X[:, 0].astype(np.float32), trained[:, 0])
    assert 0.6 < inside.mean() < 0.8
    assert all(len(set(inside[groups == g])) == 1 for g in np.unique(groups))
    with pytest.raises(InputError, match="groups has shape"):
        quick(patience=2).fit(X, y, X_target, groups=groups[1:])
    with pytest.raises(InputError, match="groups has 1 missing values"):
        quick(patience=2).fit(X, y, X_target, groups=np.r_[np.nan, groups[1:]])


def test_rows_of_weight_zero_do_not_judge():
    X, y, X_target, _ = problem()
    few, module = np.arange(len(X)) % 10 == 0, nn.Linear(4, 3)
    weighted, alone = (quick(patience=2, module=module, task="classification") for _ in range(2))
    weighted.fit(X, y, X_target, sample_weight=few.astype(float))
    alone.fit(X[few], y[few], X_target)
    np.testing.assert_array_equal(weighted.predict_proba(X_target), alone.predict_proba(X_target))
    for options, groups in (({}, 0 * y), ({"validation_fraction": 0.9}, np.arange(len(X)) % 2)):
        with pytest.raises(InputError, match="patience with . groups of the source"):
            quick(patience=2, **options).fit(X, y, X_target, groups=groups)


# --- schedules, clipping, precision -------------------------------------------------------------------------


class Watch(Callback):
    """Learning rates and gradient norms of all steps."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        """Start a new list."""
        Watch.seen = []

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Record."""
        norm = torch.stack([p.grad.norm() for p in net.module_.parameters() if p.grad is not None]).norm()
        Watch.seen.append((batch[2], net.optimizer_.param_groups[0]["lr"], norm.item()))


def test_learning_rate_weight_and_clipping_follow_their_formulas():
    X, y, X_target, _ = problem()
    weights = []

    def ramp(progress):
        weights.append(progress)
        return 2 * progress

    options = {"weight": ramp, "lr_schedule": "annealed", "max_grad_norm": 0.05, "callbacks": [("watch", Watch())]}
    adapter = quick(DeepCORAL(), lr=0.01, **options).fit(X, y, X_target)
    steps = np.array(Watch.seen)
    assert len(steps) == 4 * 5
    np.testing.assert_allclose(steps[:, 1], 0.01 / (1 + 10 * steps[:, 0]) ** 0.75)
    assert steps[:, 2].max() <= 0.05 + 1e-6 and steps[:, 2].max() > 0.04
    np.testing.assert_allclose(weights, steps[:, 0])
    assert adapter.history_[0]["train_loss"] < adapter.history_[0]["task_loss"] + 2 * 0.2 * 10


def test_mixed_precision_agrees_roughly_and_predicts_in_full_precision():
    X, y, X_target, truth = problem(n=600)
    for loss in (DANN(), DAN()):
        full, mixed = (
            quick(loss, max_epochs=15, mixed_precision=flag).fit(X, y, X_target).predict_proba(X_target)
            for flag in (False, True)
        )
        assert mixed.dtype == np.float32
        assert np.abs(full - mixed).mean() < 0.03
        assert not np.array_equal(full, mixed)
        assert (mixed.argmax(axis=1) == truth).mean() > 0.8


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_mixed_precision_leaves_modules_of_other_types_as_they_are(dtype):
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
    X, y, X_target, _ = problem()
    mixed, plain = (
        quick(DANN(), module=module, mixed_precision=flag).fit(X, y, X_target).predict(X_target)
        for flag in (True, False)
    )
    np.testing.assert_array_equal(mixed, plain)


class Centring(nn.Module):
    """A layer of the user's own that looks across the batch."""

    def forward(self, x):
        """Rows about their mean."""
        return x - x.mean(dim=0)


class Counting(nn.Linear):
    """A layer that keeps a statistic."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        """Count the rows."""
        self.seen += len(x)
        return super().forward(x)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (nn.Dropout(0.5), True),
        (nn.LayerNorm(8), True),
        (nn.BatchNorm1d(8), False),
        (Centring(), False),
        (Counting(8, 8), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_domains_share_a_pass_only_where_that_makes_no_difference(layer, expected):
    module = nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    X, _, X_target, _ = problem(40, 30)
    domains = torch.tensor(X).float(), torch.tensor(X_target).float()
    assert rows_are_independent(module, *domains) is expected
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for size in (1e-5, 0.0):  # of a head that hides what is before it
        nn.init.constant_(module[2].weight, size)
        nn.init.zeros_(module[2].bias)
        assert rows_are_independent(module, *domains, Layer("2", output=False)) is expected


def test_one_pass_and_two_passes_train_alike(monkeypatch):
    X, y, X_target, _ = problem()
    one = quick(DANN()).fit(X, y, X_target).predict_proba(X_target)
    monkeypatch.setattr("da_toolkit.deep._adapter.rows_are_independent", lambda *args: False)
    two = quick(DANN()).fit(X, y, X_target).predict_proba(X_target)
    np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("extra", [{}, {"patience": 2}], ids=["plain", "early stopping"])
def test_bfloat16_modules_train_and_predict(extra):
    X, y, X_target, truth = problem(n=600)
    module = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)).bfloat16()
    adapter = quick(DeepCORAL(), module=module, max_epochs=10, lr=1e-2, **extra).fit(X, y, X_target)
    assert adapter.score(X_target, truth) > 0.8
    assert adapter.predict_proba_source(X).dtype == adapter.transform(X_target).dtype == np.float32
    adapted = SourceFree(adapter, SHOT(), max_epochs=1, random_state=0).fit(X_target)
    assert adapted.score(X_target, truth) > 0.8
    for cache in (0.0, 10.0):
        features = Embedding(adapter, cache_mb=cache).transform(X_target)
        np.testing.assert_allclose(features, adapter.transform(X_target), rtol=0.02, atol=0.02)
    values = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1)).bfloat16()
    assert quick(module=values, **extra).fit(X, X[:, 0], X_target).predict(X_target).shape == (240,)


def test_the_kind_of_numbers_is_told_where_the_module_fails_on_it():
    tokens = torch.randint(0, 20, (60, 7), generator=torch.manual_seed(0))
    y, table = (tokens[:, 0] % 2).numpy(), tokens.numpy()
    text = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(28, 2))
    model = quick(module=text, task="classification").fit(tokens, y, tokens)
    for fails in (
        lambda: quick(module=text).fit(table, y, table),
        lambda: model.predict(table),
        lambda: adapt(model, table, y, table + 1, candidates=[DANN()], random_state=0),
    ):
        with pytest.raises(InputError, match=r"torch.float32.*begin with x.long\(\)"):
            fails()
    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match="torch.uint8"):
        quick(DANN(), module=nn.Sequential(nn.Linear(4, 3))).fit(X, y, torch.as_tensor(X_target).to(torch.uint8))


class Note(Callback):
    """Records what the epoch's score was."""

    def on_epoch_end(self, net, **kwargs):
        """Read and record."""
        net.history.record("noted", net.history[-1, "target_score"])


def test_callbacks_see_the_scores_of_early_stopping_and_record_their_own():
    X, y, X_target, _ = problem()
    stop = EarlyStopping("target_score", patience=1, threshold=9, threshold_mode="abs", lower_is_better=False)
    history = quick(DANN(), patience=9, max_epochs=9, callbacks=[Note(), stop]).fit(X, y, X_target).history_
    assert len(history) == 2 and all(row["noted"] == row["target_score"] for row in history)
    plain = quick(DANN()).fit(X, y, X_target).history_[0]
    assert list(plain) == ["train_loss", "task_loss", "alignment_loss", "seconds"]


class Rates(Callback):
    """Records the learning rates."""

    def on_epoch_end(self, net, **kwargs):
        """Of all groups."""
        net.history.record("rates", [group["lr"] for group in net.optimizer_.param_groups])


@pytest.mark.parametrize("schedule", ["constant", "annealed"])
def test_an_optimizer_of_the_user_gets_parameters_and_its_groups_keep_their_rates(schedule):
    def slower(parameters, lr):
        wide, rest = ([p for p in parameters if (p.ndim > 1) == which] for which in (True, False))
        return torch.optim.SGD([{"params": wide, "lr": lr / 10}, {"params": rest}], lr=lr)

    X, y, X_target, _ = problem()
    adapter = quick(DANN(), optimizer=slower, lr_schedule=schedule, callbacks=[Rates()]).fit(X, y, X_target)
    slow, fast = adapter.history_[-1]["rates"]
    assert slow == pytest.approx(fast / 10) and (fast == 1e-3) == (schedule == "constant")


# --- checkpoints --------------------------------------------------------------------------------------------


class Interrupt(Callback):
    """Stands for a machine that goes down in the third epoch."""

    def on_epoch_begin(self, net, **kwargs):
        """Fail."""
        if len(net.history) == 3:
            raise RuntimeError("gone")


@pytest.mark.parametrize("loss", [CDAN(), WDGRL(critic_steps=2)], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("extra", [{}, {"patience": 3, "target_prior": "estimate"}], ids=["plain", "early stopping"])
def test_a_resumed_training_ends_as_if_never_interrupted(tmp_path, loss, extra):
    X, y, X_target, _ = problem()
    module = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    options = {"module": module, "max_epochs": 6, **extra}
    straight = quick(loss, **options).fit(X, y, X_target)
    file = tmp_path / "training.pt"
    with pytest.raises(RuntimeError, match="gone"):
        quick(loss, checkpoint=file, callbacks=[("stop", Interrupt())], **options).fit(X, y, X_target)
    resumed = quick(loss, checkpoint=file, **options).fit(X, y, X_target)
    assert len(resumed.history_) == len(straight.history_)
    np.testing.assert_array_equal(resumed.predict_proba(X_target), straight.predict_proba(X_target))
    np.testing.assert_array_equal(resumed.predict_source(X), straight.predict_source(X))
    again = quick(loss, checkpoint=file, **options).fit(X, y, X_target)  # nothing left to do
    np.testing.assert_array_equal(again.predict_proba(X_target), straight.predict_proba(X_target))
    with pytest.raises(InputError, match="another training: lr"):
        quick(loss, checkpoint=file, lr=0.5, **options).fit(X, y, X_target)
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


@pytest.mark.parametrize("seed", [lambda: None, np.random.default_rng], ids=["None", "Generator"])
def test_a_resumed_training_holds_out_the_rows_that_were_held_out(tmp_path, monkeypatch, seed):
    X, y, X_target, _ = problem()
    held_out, drawn = [], DeepAdapter._held_out
    monkeypatch.setattr(DeepAdapter, "_held_out", lambda *given: held_out.append(drawn(*given)) or held_out[-1])
    options = {"patience": 3, "checkpoint": tmp_path / "training.pt"}
    with pytest.raises(RuntimeError, match="gone"):
        quick(callbacks=[("stop", Interrupt())], random_state=seed(), **options).fit(X, y, X_target)
    quick(random_state=seed(), **options).fit(X, y, X_target)
    np.testing.assert_array_equal(*held_out)


def test_a_checkpoint_of_other_data_or_another_module_is_refused(tmp_path):
    X, y, X_target, _ = problem()
    module, file = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), tmp_path / "training.pt"
    quick(DANN(), module=module, checkpoint=file, patience=3).fit(X, y, X_target)
    for rows, labels, others in ((-X, y, X_target), (X, y[::-1].copy(), X_target), (X, y, -X_target)):
        with pytest.raises(InputError, match="another training: data differ"):
            quick(DANN(), module=module, checkpoint=file, patience=3).fit(rows, labels, others)
    other = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(InputError, match="another training: module differ"):
        quick(DANN(), module=other, checkpoint=file, patience=3).fit(X, y, X_target)
    anew = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))  # as a script builds it after an interruption
    first, again = (quick(DANN(), module=m, checkpoint=file, patience=3).fit(X, y, X_target) for m in (module, anew))
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    lazy = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3))
    quick(module=lazy, checkpoint=tmp_path / "lazy.pt").fit(X, y, X_target)
    with pytest.raises(InputError, match="another training: data"):  # folds: each would be a look at the others
        cross_val_score(
            quick(module=module, checkpoint=tmp_path / "folds.pt"),
            X,
            y,
            params={"X_target": Target(X_target)},
            error_score="raise",
        )


def test_what_is_no_checkpoint_is_refused_and_kept(tmp_path):
    X, y, X_target, _ = problem()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pt").write_text("hello world")
    (tmp_path / "empty.pt").touch()
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "weights.pt")
    torch.save(nn.Linear(4, 3), tmp_path / "module.pt")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}
    for name in ("folder", "missing/ours.pt"):
        with pytest.raises(InputError, match="a file, in a folder that is there"):
            quick(checkpoint=tmp_path / name).fit(X, y, X_target)
    for path in before:
        with pytest.raises(InputError, match="is no checkpoint of DeepAdapter.*fine-tuned"):
            quick(checkpoint=path).fit(X, y, X_target)
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*.pt")}


def test_a_warm_start_trains_on_and_replaces_the_checkpoint_of_the_fit_before(tmp_path):
    X, y, X_target, _ = problem()
    file = tmp_path / "training.pt"
    plain, kept = quick(DANN(), warm_start=True), quick(DANN(), warm_start=True, checkpoint=file)
    first, second, third = (plain.fit(X, y, X_target).predict_proba(X_target) for _ in range(3))
    assert not np.array_equal(first, second)
    for expected in (first, second):
        np.testing.assert_array_equal(kept.fit(X, y, X_target).predict_proba(X_target), expected)
    with pytest.raises(RuntimeError, match="gone"):
        kept.set_params(callbacks=[("stop", Interrupt())]).fit(X, y, X_target)
    kept.set_params(callbacks=None).fit(X, y, X_target)  # the rest of the third
    np.testing.assert_array_equal(kept.predict_proba(X_target), third)
    with pytest.raises(InputError, match="another training: warm_start differ"):  # it is not the first fit's
        quick(DANN(), warm_start=True, checkpoint=file).fit(X, y, X_target)
    with pytest.raises(InputError, match="another training: data, warm_start differ"):
        kept.fit(-X, y, X_target)


SCRIPT = """
import functools, os, sys
import numpy as np, torch
from skorch.callbacks import Callback
from da_toolkit.deep import DANN, DeepAdapter

class Killed(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            os._exit(9)

def slope(factor):
    return lambda p: factor * p

rng = np.random.default_rng(0)
X, X_target = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
adapter = DeepAdapter(
    loss=DANN(),
    weight=slope(2.0),
    optimizer=functools.partial(lambda p, lr, momentum: torch.optim.SGD(p, lr, momentum=momentum), momentum=0.9),
    random_state=np.random.RandomState(0),
    max_epochs=4,
    device="cpu",
    checkpoint=sys.argv[1],
    callbacks=[("killed", Killed())] if sys.argv[2] == "stop" else None,
)
print(adapter.fit(X, X[:, 0] > 0, X_target).predict_proba(X_target).tolist())
"""


def test_a_new_process_goes_on_where_a_killed_one_stopped(tmp_path):
    def run(file, how):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / file), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("training.pt", "stop").returncode == 9
    resumed, straight = run("training.pt", "go on"), run("other.pt", "go on")
    assert resumed.returncode == straight.returncode == 0, resumed.stderr
    assert resumed.stdout == straight.stdout


class Ramp:
    """A weight that remembers its slope."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, progress):
        return self.slope * progress


def recursive(depth):
    def descend(n):
        return n if n <= depth else descend(n - 1)

    return descend


@pytest.mark.parametrize(
    "make",
    [
        lambda k: lambda p: k * p,
        lambda k: lambda p, factor=k: factor * p,
        lambda k: eval(f"lambda p: {k} * p"),
        lambda k: eval(f"lambda p: [{k} * q for q in (p,)][0]"),
        lambda k: eval(f"lambda p: p in {{'a', 'b', {k}}}"),
        lambda k: Ramp(k),
        lambda k: Ramp(k).__call__,
        lambda k: functools.partial(lambda a, p: a * p, k),
        lambda k: DANN(discriminator=Ramp(k)),
        lambda k: {"a": [Ramp(k)]},
        recursive,
        np.random.RandomState,
    ],
)
def test_what_a_parameter_says_is_not_where_it_lies(make):
    one, same, other = make(2), make(2), make(3)
    assert describe(one) == describe(same) != describe(other)
    assert " at 0x" not in describe(one)


@pytest.mark.parametrize("layer", ["0", "1", None])
def test_what_a_later_layer_overwrites_is_seen_as_the_layer_gave_it(layer):
    X, y, X_target, _ = problem()
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    proba = []
    for inplace in (False, True):
        module = copy.deepcopy(plain)
        module[1].inplace = inplace
        proba.append(quick(DeepCORAL(), module=module, layer=layer).fit(X, y, X_target).predict_proba(X_target))
    np.testing.assert_array_equal(*proba)


class OnePerRow(AlignmentLoss):
    def forward(self, source, target, progress):
        return target.features.square().mean(dim=1)


class Detached(AlignmentLoss):
    def forward(self, source, target, progress):
        return target.features.square().mean().item()


class OneElement(AlignmentLoss):
    def __init__(self, shape=(1,)):
        super().__init__()
        self.shape = shape

    def forward(self, source, target, progress):
        return target.features.square().mean().reshape(self.shape)


def test_a_loss_of_one_element_is_a_number():
    X, y, X_target, _ = problem()
    one, number, both = (
        quick(loss, weight=1.0).fit(X, y, X_target).history_[-1]["alignment_loss"]
        for loss in (OneElement(), OneElement(()), OneElement() + OneElement(()))
    )
    assert one == number < both


@pytest.mark.parametrize("loss, message", [(OnePerRow(), "of shape"), (Detached(), "of type float.*Keep it a tensor")])
def test_a_loss_that_is_no_number_says_so(loss, message):
    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match=f"{type(loss).__name__} gives a loss {message}"):
        quick(loss).fit(X, y, X_target)


@pytest.mark.parametrize("loss, taught", [(DANN(), False), (WDGRL(), False), (MCC(), True), (JAN(), True)], ids=str)
def test_an_alignment_that_cannot_change_the_module_is_told(loss, taught):
    frozen = nn.Sequential(nn.Linear(4, 8), nn.ReLU()).requires_grad_(False)
    with warnings.catch_warnings(record=True) as heard, torch.no_grad():  # the caller's mode does not matter
        warnings.simplefilter("always")
        for module in (
            nn.Sequential(frozen, nn.Linear(8, 3)),
            nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
        ):
            quick(loss, module=module, max_epochs=1).fit(*problem()[:3])
    expected = [] if taught else [f"{type(loss).__name__} teaches the module nothing"]
    assert [str(warning.message)[: len(text)] for warning, text in zip(heard, expected, strict=True)] == expected


# --- data sets ----------------------------------------------------------------------------------------------


class Images(Dataset):
    """Rows that are made when they are asked for."""

    def __init__(self, X, y=None):
        self.X, self.y, self.read = X, y, 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.read += 1
        row = torch.tensor(self.X[i])
        return row if self.y is None else (row, int(self.y[i]))


@pytest.mark.parametrize("extra", [{}, {"patience": 4}], ids=["plain", "early stopping"])
def test_data_sets_and_loaders_train_as_arrays_do(extra):
    X, y, X_target, _ = problem()
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    torch.nn.init.constant_(module[0].bias, 0.1)
    fit = lambda *data: quick(DANN(), module=module, **extra).fit(*data)  # noqa: E731
    expected = fit(X, y, X_target).predict_proba(X_target)
    tensors = TensorDataset(torch.tensor(X), torch.tensor(y))
    for source, target in (
        (Images(X, y), Images(X_target)),
        (tensors, TensorDataset(torch.tensor(X_target))),
        (
            DataLoader(tensors, batch_size=7),
            DataLoader(Images(X_target, np.zeros(len(X_target)))),
        ),
    ):
        adapter = fit(source, None, target)
        np.testing.assert_allclose(adapter.predict_proba(target), expected, atol=1e-6)
    np.testing.assert_allclose(fit(Images(X), y, X_target).predict_proba(X_target), expected, atol=1e-6)


def test_a_training_that_ends_in_nan_names_the_likely_cause():
    X, y, X_target, _ = problem()
    holes = X.copy()
    holes[3, 1] = np.nan
    with pytest.raises(InputError, match="data set are not checked: look for missing"):
        quick(module=nn.Linear(4, 3)).fit(Images(holes, y), None, X_target)
    half = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).half()
    with pytest.raises(InputError, match="Half precision.*mixed_precision=True"):
        quick(DANN(), module=half).fit(1e5 * X, y, X_target)


def test_predictions_that_are_no_numbers_are_refused():
    X, y, X_target, _ = problem()
    holes = X_target.copy()
    holes[3, 1] = np.nan
    module = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    adapter = quick(module=module).fit(X, y, X_target)
    tuned = FineTuning(module, head_epochs=1, epochs=1, device="cpu").fit(None, y, X_target, y[: len(X_target)])
    for refused, rows in (
        (adapter.predict, "1 of 240 rows"),
        (adapter.transform, "1 of 240 rows"),
        (tuned.predict, "1 of 240 rows"),
        (lambda holes: quick(module=module, patience=2).fit(X, y, holes), "1 of 240 rows"),
        (lambda holes: adapter.predict(1e39 * X_target), "240 of 240 rows"),
        (lambda holes: frozen_module(module, range(3)).predict(1e39 * X_target), "240 of 240 rows"),
        (SourceFree(module, SHOT(), device="cpu").fit, "1 of 240 rows"),
        (SourceFree(module, AdaBN(), device="cpu").fit, "240 of 240 rows"),
    ):
        with pytest.raises(InputError, match=f"no finite output for {rows}.*missing"):
            refused(Images(holes))
    for method in (SHOT(), TENT(threshold=1.1)):
        with pytest.raises(InputError, match="Half precision"):
            SourceFree(copy.deepcopy(module).half(), method, lr=1.0, device="cpu").fit(X_target)


def test_minus_infinity_may_rule_out_a_class():
    assert finite(torch.tensor([[-torch.inf, 1.0], [0.0, -torch.inf]])).shape == (2, 2)
    for bad in (torch.inf, torch.nan):
        with pytest.raises(InputError, match="1 of 2 rows"):
            finite(torch.tensor([[-torch.inf, 1.0], [0.0, bad]]))


def test_data_sets_that_cannot_be_used_are_refused():
    class Endless(IterableDataset):
        def __iter__(self):
            yield from ()

    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match="iterable data set"):
        quick().fit(Endless(), y, X_target)
    with pytest.raises(InputError, match="data set without labels"):
        quick().fit(Images(X), None, X_target)
    with pytest.raises(InputError, match="module=None"):
        quick().fit(Images(X, y), None, X_target)
    with pytest.raises(InputError, match="several sources"):
        quick().fit(X, y, X_target, source_domain=np.arange(len(X)) % 2)
    quick(max_epochs=1).fit(X, y, X_target, source_domain=np.zeros(len(X)))


class Recoded(Images):
    """Has `targets`, as those of torchvision do, but gives other labels."""

    def __init__(self, X, y, target_transform=None, recode=0):
        super().__init__(X, y)
        self.targets, self.target_transform, self.recode = list(y), target_transform, recode

    def __getitem__(self, i):
        row, label = super().__getitem__(i)
        label = label + self.recode
        return row, label if self.target_transform is None else self.target_transform(label)


def test_labels_of_a_data_set_are_what_it_gives():
    X, y, *_ = problem()
    few, indexed = Subset(Recoded(X, y, lambda label: -label), range(5, 25)), Recoded(X, y)
    indexed.targets = pd.Series(y, index=np.arange(len(y)) + 500)  # as of rows that were drawn from more
    for rows, expected in (
        (Recoded(X, y), y),
        (indexed, y),
        (Recoded(X, y, recode=3), y + 3),
        (Recoded(X, y, lambda label: 7 * (label == 1)), 7 * (y == 1)),
        (few, -y[5:25]),
    ):
        np.testing.assert_array_equal(read_source(rows, None)[1], expected)
    plain = Recoded(X, y)
    read_source(plain, None)
    assert plain.read < 20  # not all rows for their labels


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": SubsetRandomSampler(range(100))},
        {"sampler": RandomSampler(range(300), replacement=True)},
        {"sampler": RandomSampler(range(300), num_samples=100)},
        {"batch_sampler": BatchSampler(SubsetRandomSampler(range(100)), 10, False)},
        {"collate_fn": lambda elements: torch.utils.data.default_collate(elements[:1])},
    ],
)
def test_loaders_that_give_something_else_than_their_data_set_are_refused(options):
    X, y, X_target, _ = problem()
    rows = TensorDataset(torch.tensor(X), torch.tensor(y))
    with pytest.raises(InputError, match=r"X is a DataLoader with a sampler.*torch\.utils\.data\.Subset"):
        quick().fit(DataLoader(rows, **options), None, X_target)
    for harmless in ({"shuffle": True, "drop_last": True}, {"batch_size": None}):
        assert len(read_source(DataLoader(rows, **harmless), None)[0]) == len(X)


# --- class frequencies --------------------------------------------------------------------------------------


def label_shift(seed, shares=(0.8, 0.1, 0.1), move=1.0, n=600):
    """Three Gaussian classes in the plane; the target has other class frequencies and is moved."""
    rng = np.random.default_rng(seed)
    centres = 2.5 * np.array([[math.cos(a), math.sin(a)] for a in (0.0, 2.1, 4.2)])
    y, truth = rng.integers(0, 3, n), rng.choice(3, n, p=shares)
    draw = lambda labels: centres[labels] + 0.7 * rng.normal(size=(n, 2))  # noqa: E731
    return draw(y), y, draw(truth) + move * np.array([0.6, 0.8]), truth


@pytest.mark.parametrize("loss", [DANN(), DAN(), WDGRL(critic_steps=2)], ids=lambda loss: type(loss).__name__)
def test_estimated_class_frequencies_repair_alignment_under_label_shift(loss):
    X, y, X_target, truth = label_shift(0)
    plain, estimated, known = (
        quick(loss, max_epochs=15, target_prior=prior).fit(X, y, X_target)
        for prior in (None, "estimate", (0.8, 0.1, 0.1))
    )
    assert known.score(X_target, truth) > 0.98
    assert estimated.score(X_target, truth) > max(0.98, plain.score(X_target, truth) - 0.005)
    share = np.bincount(truth) / len(truth)  # held back as the features move otherwise than the rows
    assert np.abs(estimated.target_prior_ - share).sum() < 0.25 * np.abs(np.bincount(y) / len(y) - share).sum()


def test_estimated_class_frequencies_do_no_harm_without_label_shift():
    X, y, X_target, truth = label_shift(0, shares=(1 / 3, 1 / 3, 1 / 3))
    plain, estimated = (
        quick(DANN(), max_epochs=15, target_prior=prior).fit(X, y, X_target) for prior in (None, "estimate")
    )
    assert np.abs(estimated.target_prior_ - 1 / 3).sum() < 0.1
    assert estimated.score(X_target, truth) > plain.score(X_target, truth) - 0.01


def test_estimated_class_frequencies_follow_no_other_shift():
    """Every target class lies nearest to one source class: the answers alone say that it has most of the rows."""
    X, y, X_target, truth = label_shift(0, shares=(1 / 3, 1 / 3, 1 / 3), move=2.0)
    plain, estimated = (
        quick(DAN(), max_epochs=15, target_prior=prior).fit(X, y, X_target) for prior in (None, "estimate")
    )
    assert np.abs(estimated.target_prior_ - 1 / 3).sum() < 0.1
    assert estimated.score(X_target, truth) > plain.score(X_target, truth) - 0.01


def test_how_far_class_frequencies_explain_the_distance_between_the_domains():
    shares, equal = (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3)

    def explained(shares, move, turn=False):
        X, y, X_target, _ = label_shift(0, shares, move)
        X_target = X_target @ np.array([[0.0, 1.0], [-1.0, 0.0]]) if turn else X_target
        return explained_share(X, y, X_target, np.ones(len(y)))

    assert explained(shares, 0.0) > 0.95 and explained(shares, 1.0) > 0.95
    assert explained(equal, 0.0) == explained(equal, 1.0) == 0.0  # nothing left to explain
    assert explained(equal, 0.0, turn=True) < 0.2
    X, y, X_target, _ = label_shift(0)
    assert explained_share(X[y < 2], y[y < 2], X_target[:3], np.ones((y < 2).sum())) == 0.0


def test_known_target_labels_enter_the_estimated_frequencies():
    X, y, X_target, truth = label_shift(0)
    adapter = quick(DAN(), max_epochs=15, target_prior="estimate").fit(X, y, X_target, truth)
    np.testing.assert_allclose(adapter.target_prior_, np.bincount(truth) / len(truth), atol=0.01)


@pytest.mark.parametrize("prior", ["estimate", (0.8, 0.1, 0.1)], ids=["estimated", "known"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_class_frequencies_of_modules_of_any_floating_type(prior, dtype, weighted):
    X, y, X_target, _ = problem()
    weight = np.linspace(0.5, 1.5, len(X)) if weighted else None
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    plain, typed = (
        quick(DAN(), module=module.to(kind), target_prior=prior).fit(X, y, X_target, sample_weight=weight)
        for kind in (torch.float32, dtype)
    )
    np.testing.assert_allclose(typed.target_prior_, plain.target_prior_, atol=0.05)


def test_a_class_frequency_of_zero_becomes_a_tenth_of_that_of_the_source():
    X, y, X_target, _ = problem()
    share = np.bincount(y) / len(y)
    expected = np.array([0.6, 0.4, share[2] / 10]) / (1 + share[2] / 10)
    for prior in ([0.6, 0.4, 0], {2: 0, 1: 0.4, 0: 0.6}, pd.Series({2: 0, 1: 0.4, 0: 0.6})):
        adapter = quick(DAN(), target_prior=prior, max_epochs=1).fit(X, y, X_target)
        np.testing.assert_allclose(adapter.target_prior_, expected, rtol=1e-5)


@pytest.mark.parametrize("prior", ["estimate", (0.8, 0.1, 0.1)], ids=["estimated", "known"])
def test_class_frequencies_need_source_rows_of_every_class(prior):
    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match=r"no source row to train on of the classes \[2\]"):
        quick(DANN(), target_prior=prior).fit(X, y, X_target, sample_weight=(y != 2).astype(float))


@pytest.mark.parametrize("loss", [DANN(), None], ids=["DANN", "None"])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr_schedule": "cosine"}, "lr_schedule='cosine'"),
        ({"target_prior": "guess"}, "target_prior='guess'"),
        ({"target_prior": [0.5, 0.5]}, r"target_prior of shape \(2,\)"),
        ({"patience": 0}, "patience=0"),
        ({"patience": 2, "validation_fraction": 1.5}, "validation_fraction=1.5"),
        ({"max_grad_norm": -1.0}, "max_grad_norm=-1"),
        ({"max_grad_norm": "a"}, "max_grad_norm='a'"),
        ({"max_grad_norm": math.nan}, "max_grad_norm=nan"),
        ({"lr": "1e-3"}, "lr='1e-3'"),
        ({"lr": 0.0}, "lr=0.0.*above 0"),
        ({"weight": "a"}, "weight='a'"),
        ({"weight": math.nan}, "weight=nan"),
    ],
)
def test_bad_options_are_explained(options, message, loss):
    X, y, X_target, _ = problem()
    with pytest.raises(InputError, match=message):
        quick(loss, **options).fit(X, y, X_target)


@pytest.mark.parametrize(
    "loss, message",
    [
        (MCC(temperature=0), "temperature=0.*above 0"),
        (DeepCORAL() + CDAN(gradient_penalty=-5), "gradient_penalty=-5.*at least 0"),
        (DSN(DANN(gradient_penalty=-5)), "gradient_penalty=-5"),
        (MDD(gradient_penalty="1"), "gradient_penalty='1'"),
        (WDGRL(gradient_penalty=math.nan), "gradient_penalty=nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bad_options_of_losses_are_explained(loss, message):
    with pytest.raises(InputError, match=message):
        quick(loss).fit(*problem()[:3])
