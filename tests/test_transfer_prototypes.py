"""Prototypes, episodes and prototypical networks: formulas by hand, gains, no harm, the estimator contract."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit._target import Target
from da_toolkit.alignment import CORAL
from da_toolkit.transfer._embedding import Embedding
from da_toolkit.transfer._episodes import make_episodes
from da_toolkit.transfer._prototypes import STRENGTHS, Prototypes, _left_out
from shift_detectors._errors import InputError


def clouds(seed, n=300, k=4, d=6, move=0.0, each=0.0, m=None, means_seed=0):
    """Gaussian classes, moved together by `move` and each for itself by `each`; m labels."""
    means = 1.5 * np.random.default_rng(means_seed).normal(size=(k, d))
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    X = (means + move * rng.normal(size=d) + each * rng.normal(size=(k, d)))[y] + rng.normal(size=(n, d))
    few = y.astype(float)
    few[m:] = np.nan
    return X, y, few


# --- episodes -----------------------------------------------------------------------------------------------


def test_episodes_are_disjoint_and_of_the_sizes_asked_for():
    rng = np.random.default_rng(0)
    y = rng.choice(list("abcdefg"), size=200)
    y = y.astype(object)
    y[:20] = None  # no label, never drawn
    episodes = list(make_episodes(y, 4, 2, 3, 50, random_state=0))
    assert len(episodes) == 50 and len({tuple(e.classes) for e in episodes}) > 30
    for support, query, classes in episodes:
        assert len(set(support) | set(query)) == 4 * 5
        assert list(y[support]) == list(np.repeat(classes, 2)) and list(y[query]) == list(np.repeat(classes, 3))
    again = list(make_episodes(y, 4, 2, 3, 50, random_state=0))
    assert all(np.array_equal(a.support, b.support) for a, b in zip(episodes, again, strict=True))
    counts = np.bincount(np.concatenate([e.support for e in episodes]), minlength=200)
    assert counts[:20].sum() == 0 and (counts[20:] > 0).mean() > 0.8


def test_episodes_within_and_across_domains():
    rng = np.random.default_rng(1)
    y, domain = rng.integers(6, size=400), rng.choice(["u", "v", "w"], size=400)
    for across in (False, True):
        seen = set()
        for e in make_episodes(y, 3, 2, 2, 40, domain=domain, across=across, random_state=0):
            support, query = set(domain[e.support]), set(domain[e.query])
            assert len(support) == len(query) == 1 and (support != query) is across
            assert list(y[e.support]) == list(np.repeat(e.classes, 2))
            seen |= support
        assert seen == {"u", "v", "w"}


def test_episodes_that_cannot_be_drawn_are_refused_at_once():
    y = np.repeat([0, 1, 2], 5)
    cases: Any = (
        ({"n_way": 4}, "no domain with 4 classes"),
        ({"n_way": 3, "n_query": 5}, "no domain with 3 classes"),
        ({"n_way": 1}, "n_way=1"),
        ({"n_way": 2, "across": True}, "single domain"),
        ({"n_way": 2, "domain": [0, 1]}, "one value per row"),
    )
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            make_episodes(y, **options)


# --- formulas -----------------------------------------------------------------------------------------------


def test_without_target_labels_it_is_the_nearest_class_mean():
    (X, y, _), (X_target, *_) = clouds(0), clouds(1)
    model = Prototypes().fit(X, y, X_target)
    centroid = NearestCentroid().fit(X, y)
    np.testing.assert_allclose(model.prototypes_, centroid.centroids_)
    np.testing.assert_array_equal(model.predict(X_target), centroid.predict(X_target))
    weight = np.where(np.arange(300) < 200, 2.0, 0.0)
    half = Prototypes().fit(X, y, X_target, sample_weight=weight)
    np.testing.assert_allclose(half.prototypes_, NearestCentroid().fit(X[:200], y[:200]).centroids_)


def test_prototypes_follow_their_formula():
    (X, y, _), (X_target, y_target, few) = clouds(2), clouds(3, move=1.0, each=0.5, m=12)
    p = np.array([X[y == k].mean(axis=0) for k in range(4)])
    Z, labels = X_target[:12], y_target[:12]
    for s in (0.0, 2.5):
        b = sum(z - p[k] for z, k in zip(Z, labels, strict=True)) / (12 + s)
        expected = p + b
        for k in set(labels):
            rows = Z[labels == k]
            expected[k] += (rows - p[k] - b).sum(axis=0) / (len(rows) + s)
        np.testing.assert_allclose(Prototypes(strength=s).fit(X, y, X_target, few).prototypes_, expected)
    own = Prototypes(strength=0).fit(X, y, X_target, few)
    np.testing.assert_allclose(own.prototypes_[labels[0]], Z[labels == labels[0]].mean(axis=0))
    np.testing.assert_allclose(Prototypes(strength=np.inf).fit(X, y, X_target, few).prototypes_, p)


def test_leave_one_out_leaves_one_out():
    rng = np.random.default_rng(4)
    residual, group = rng.normal(size=(9, 3)), np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    for s in (0.0, 1.0, np.inf):
        for t in (0.5, 4.0, np.inf):
            fast = _left_out(residual, group, 4, s, t)
            for i in range(9):
                rest = np.arange(9) != i
                b = residual[rest].sum(axis=0) / (8 + s)
                same = rest & (group == group[i])
                u = (residual[same] - b).sum(axis=0) / (same.sum() + t)
                np.testing.assert_allclose(fast[i], b + u, atol=1e-12)


def test_metrics():
    (X, y, _), (X_target, *_) = clouds(5), clouds(6)
    direction = Prototypes(metric="cosine").fit(X, y, X_target)
    np.testing.assert_array_equal(direction.predict(X_target), direction.predict(100 * X_target))
    np.testing.assert_allclose(np.linalg.norm(direction.prototypes_, axis=1), 1)
    turn = np.diag([1, 1, 1, 1, 50.0, 0.02]) @ np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    white = [Prototypes(metric="mahalanobis").fit(A, y, B) for A, B in ((X, X_target), (X @ turn, X_target @ turn))]
    scores = [m.predict(B) for m, B in zip(white, (X_target, X_target @ turn), strict=True)]
    assert np.mean(scores[0] == scores[1]) > 0.95  # but for the shrinkage, blind to linear maps
    # of directions without any spread none is invented
    assert np.isfinite(
        Prototypes(metric="mahalanobis").fit(X[:, [0, 1, 1]], y, X_target[:, [0, 1, 1]]).prototypes_
    ).all()


# --- what it brings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "mahalanobis"])
@pytest.mark.parametrize("m", [2, 5, 20, 100])
def test_no_harm_without_shift(metric, m):
    loss = []
    for seed in range(8):
        (X, y, _), (X_target, _, few) = clouds(10 + seed), clouds(30 + seed, m=m)
        X_new, y_new, _ = clouds(50 + seed, n=1000)
        source = Prototypes(metric=metric).fit(X, y, X_target)
        loss.append(source.score(X_new, y_new) - Prototypes(metric=metric).fit(X, y, X_target, few).score(X_new, y_new))
    assert np.mean(loss) < 0.01


@pytest.mark.parametrize(("m", "low"), [(5, 0.0), (20, 0.05), (100, 0.1)])
def test_digits_turned_by_a_few_labels(m, low):
    """The prototypes of turned digits; of 5 labels at least no harm, a gain from more."""
    from scipy.ndimage import rotate

    images, y = load_digits(return_X_y=True)
    turned = np.array([rotate(i, 20, reshape=False, order=1) for i in images.reshape(-1, 8, 8)]).reshape(-1, 64)
    gains = []
    for seed in range(5):
        a, b, c = np.split(np.random.default_rng(seed).permutation(len(y)), [700, 1200])
        few = np.where(np.arange(500) < m, y[b], np.nan)
        source = Prototypes().fit(images[a], y[a], turned[b])
        gains.append(Prototypes().fit(images[a], y[a], turned[b], few).score(turned[c], y[c]))
        gains[-1] -= source.score(turned[c], y[c])
    assert np.mean(gains) > low


def test_classes_without_a_label_move_along():
    X, y, _ = clouds(7)
    X_target, y_target, _ = clouds(8)
    X_target = X_target + 4.0
    few = np.where((np.arange(300) < 20) & (y_target < 2), y_target, np.nan)
    model = Prototypes().fit(X, y, X_target, few)
    rest = y_target >= 2
    assert model.score(X_target[rest], y_target[rest]) > 0.9
    assert model.strength_[0] < np.inf and model.strength_[0] in STRENGTHS


def test_probabilities_are_calibrated_by_held_out_rows():
    """Better than the constant ones of the source's shares, and than half or twice the temperature."""
    (X, y, _), (X_target, _, few) = clouds(9), clouds(10, m=40)
    X_new, y_new, _ = clouds(11, n=3000)
    for scale in (1.0, 1000.0):
        model = Prototypes().fit(scale * X, y, scale * X_target, few)
        proba = model.predict_proba(scale * X_new)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(scale * X_new))
        fitted = log_loss(y_new, proba)
        for factor in (0.5, 2.0):
            other = copy.copy(model)
            other.temperature_ = factor * model.temperature_
            assert fitted < log_loss(y_new, other.predict_proba(scale * X_new))


def test_an_aligner_between_features_and_prototypes():
    (X, y, _), (X_target, y_target, _) = clouds(12), clouds(13)
    turn = np.eye(6) + 0.8 * np.random.default_rng(1).normal(size=(6, 6))
    plain, aligned = (Prototypes(aligner=a).fit(X, y, X_target @ turn + 3) for a in (None, CORAL()))
    assert aligned.score(X_target @ turn + 3, y_target) > plain.score(X_target @ turn + 3, y_target) + 0.1
    assert np.mean(aligned.predict_source(X) == y) > 0.8


# --- new classes --------------------------------------------------------------------------------------------


def test_a_new_task_has_its_own_classes():
    X, y, _ = clouds(14)
    X_target, y_target, _ = clouds(15, k=3, means_seed=9)
    names = np.array(["x", "y", "z"])[y_target]
    words = np.array([f"source {k}" for k in y])
    few = names.astype(object)
    few[30:] = None
    model = Prototypes(random_state=0).fit(X, words, X_target, few)
    assert list(model.classes_) == ["x", "y", "z"] and list(model.source_classes_) == sorted(set(words))
    np.testing.assert_allclose(model.prototypes_[0], X_target[:30][names[:30] == "x"].mean(axis=0))
    assert model.score(X_target[30:], names[30:]) > 0.8
    assert log_loss(names[30:], model.predict_proba(X_target[30:])) < np.log(3) / 2

    before = model.prototypes_.copy()
    again = Prototypes(random_state=0).fit(X, words, X_target).new_task(X_target[:30], names[:30])
    np.testing.assert_allclose(again.predict_proba(X_target), model.predict_proba(X_target))
    other = model.new_task(X_target[:30], np.where(names[:30] == "x", "x", "other"))
    assert list(other.classes_) == ["other", "x"] and np.array_equal(model.prototypes_, before)
    np.testing.assert_array_equal(other.predict_source(X), model.predict_source(X))


def test_a_new_class_beside_the_old_ones():
    X, y, _ = clouds(16, k=4)
    X_target, y_target, few = clouds(17, k=5, m=60)
    model = Prototypes().fit(X, y, X_target, few)
    assert list(model.classes_) == [0, 1, 2, 3, 4] and list(model.source_classes_) == [0, 1, 2, 3]
    np.testing.assert_allclose(model.prototypes_[4], X_target[:60][y_target[:60] == 4].mean(axis=0))
    assert np.isfinite(model.predict_proba(X_target)).all()


@pytest.mark.parametrize("strength", ["auto", 0.0, 3.0, float("inf")])
def test_a_single_new_class_is_no_task_of_its_own(strength):
    X, y, _ = clouds(16, k=4)
    X_target, y_target, _ = clouds(17, k=5)
    new = np.flatnonzero(y_target == 4)[:2]
    few = np.full(len(X_target), np.nan)
    few[new] = 4
    model = Prototypes(strength=strength).fit(X, y, X_target, few)
    without = Prototypes().fit(X, y, X_target)
    assert list(model.classes_) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(model.prototypes_, np.vstack([without.prototypes_, X_target[new].mean(axis=0)]))
    assert model.temperature_ == without.temperature_
    assert model.score(X_target, y_target) > without.score(X_target, y_target)


# --- the estimator contract ---------------------------------------------------------------------------------


def test_an_estimator_like_others():
    (X, y, _), (X_target, y_target, few) = clouds(18), clouds(19, move=1.0, m=20)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    model = Prototypes(make_pipeline(StandardScaler(), PCA(4, random_state=0)), "mahalanobis", CORAL(), random_state=0)
    first = clone(model).fit(X, y, X_target=Target(X_target, few))
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict_proba(X_target), again.predict_proba(X_target))
    np.testing.assert_array_equal(first.fit(X, y, X_target, few).predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert is_classifier(model) and first.n_features_in_ == 6
    search = GridSearchCV(Prototypes(), {"metric": ["euclidean", "cosine"]}, cv=2)
    assert search.fit(X, y, X_target=Target(X_target, few)).predict(X_target).shape == (300,)
    frame, frame_target = pd.DataFrame(X), pd.DataFrame(X_target)
    few_series = pd.Series(few).astype("Int64")
    np.testing.assert_array_equal(
        clone(model).fit(frame, pd.Series(y), frame_target, few_series).predict(frame_target), again.predict(X_target)
    )
    columns = clone(model).fit(X, pd.DataFrame({"y": y}), X_target, few[:, None])
    np.testing.assert_array_equal(columns.predict(X_target), again.predict(X_target))
    frozen = FrozenEstimator(PCA(2, random_state=0).fit(X))
    kept: Any = Prototypes(frozen).fit(X_target, y_target, X).embedding_
    np.testing.assert_allclose(kept.transform(X), frozen.transform(X))


def test_columns_of_frames_go_by_name():
    (X, y, _), (X_target, y_target, few) = clouds(0), clouds(1, m=20)
    names = list("abcdef")
    frame, frame_target = pd.DataFrame(X, columns=names), pd.DataFrame(X_target, columns=names)
    model = Prototypes().fit(frame, y, frame_target, few)
    assert list(model.feature_names_in_) == names
    assert model.score(frame_target, y_target) == Prototypes().fit(X, y, X_target, few).score(X_target, y_target)
    turned = frame_target[names[::-1]]
    for call in (model.predict, model.predict_source, lambda T: Prototypes().fit(frame, y, T, few)):
        with pytest.raises(InputError, match="another order"):
            call(turned)
    with pytest.raises(InputError, match="lacks the columns"):
        Prototypes().fit(frame, y, frame_target.set_axis(list("uvwxyz"), axis=1), few)
    assert not hasattr(model.fit(X.tolist(), y, X_target.tolist(), few), "feature_names_in_")


def test_words_of_a_table():
    words = {"good": [1.0, 0.2], "fine": [0.9, 0.1], "bad": [-1.0, 0.1], "poor": [-0.8, 0.3]}
    X = np.array([["good"], ["bad"], ["good"], ["bad"]])
    model = Prototypes(Embedding(words), "cosine").fit(X, ["+", "-", "+", "-"], np.array([["fine"], ["poor"]]))
    assert model.predict(np.array([["poor"], ["fine"]])).tolist() == ["-", "+"]


def test_bad_calls_are_explained():
    (X, y, _), (X_target, *_) = clouds(20), clouds(21)
    cases: Any = (
        ({}, (X, y), "without X_target"),
        ({"metric": "manhattan"}, (X, y, X_target), "metric="),
        ({"strength": -1}, (X, y, X_target), "strength="),
        ({"embedding": {"a": [1.0]}}, (X, y, X_target), "Embedding"),
        ({}, (X, np.zeros(300), X_target), "single class"),
        ({}, (X, y[:9], X_target), "9 labels for 300 rows"),
        ({}, (X, y, X_target[:, :3]), "the 6 columns of X"),
        ({}, (X, y, X_target, [0.0]), "y_target has shape"),
        ({}, (np.where(X > 2, np.nan, X), y, X_target), "missing values"),
    )
    for options, data, message in cases:
        with pytest.raises(InputError, match=message):
            Prototypes(**options).fit(*data)
    with pytest.raises(InputError, match="the 6 columns of fit"):
        Prototypes().fit(X, y, X_target).predict(X[:, :2])
    with pytest.raises(InputError, match="single class"):
        Prototypes().fit(X, y, X_target).new_task(X[:3], [1, 1, 1])


# --- prototypical networks ----------------------------------------------------------------------------------


def many_classes(seed, n_classes=40, per_class=20):
    """Classes differ in 4 of 20 columns; the others vary more and mean nothing."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), per_class)
    X = 3 * rng.normal(size=(len(y), 20))
    X[:, :4] = 2 * rng.normal(size=(n_classes, 4))[y] + 0.5 * rng.normal(size=(len(y), 4))
    return X, y


def episode_accuracy(Z, y, n_shot=1):
    right = []
    for support, query, classes in make_episodes(y, 5, n_shot, 5, 100, random_state=0):
        centers = Z[support].reshape(5, n_shot, -1).mean(axis=1)
        nearest = np.square(Z[query][:, None] - centers).sum(axis=2).argmin(axis=1)
        right.append(np.mean(classes[nearest] == y[query]))
    return np.mean(right)


def test_episode_loss_by_hand(torch):
    from da_toolkit.transfer._episode_training import EpisodeLoss

    rows = np.random.default_rng(22).normal(size=(2 * 3 + 2 * 4, 5))
    centers = np.array([rows[:3].mean(axis=0), rows[3:6].mean(axis=0)])
    distance = ((rows[6:, None] - centers) ** 2).sum(axis=2)
    truth = np.repeat([0, 1], 4)
    expected = np.mean(distance[np.arange(8), truth] + np.log(np.exp(-distance).sum(axis=1)))
    value, nothing = EpisodeLoss(torch.nn.Identity(), 2, 3)(torch.as_tensor(rows))
    assert value.item() == pytest.approx(expected) and nothing is None


def test_a_prototypical_network_serves_classes_it_has_not_seen(torch):
    from da_toolkit.transfer._prototypical_network import PrototypicalNetwork

    (X, y), (X_new, y_new) = many_classes(0), many_classes(1)
    state = torch.random.get_rng_state()
    linear = torch.nn.Linear(20, 8)
    before = copy.deepcopy(linear.state_dict())
    torch.random.set_rng_state(state)
    net = PrototypicalNetwork(linear, n_episodes=300, lr=0.01, random_state=0, device="cpu")
    first = clone(net).fit(X, y)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in linear.state_dict().items())
    assert len(first.history_) == 3 and first.history_[-1]["train_loss"] < first.history_[0]["train_loss"]
    plain, trained = episode_accuracy(X_new, y_new), episode_accuracy(first.transform(X_new), y_new)
    assert trained > plain + 0.2
    again = pickle.loads(pickle.dumps(clone(net).fit(X, y)))
    np.testing.assert_array_equal(again.transform(X_new), first.transform(X_new))

    few = np.where(np.arange(len(y_new)) % 20 < 3, y_new + 100.0, np.nan)
    rest = np.isnan(few)
    scores = [Prototypes(e).fit(X, y, X_new, few).score(X_new[rest], y_new[rest] + 100) for e in (None, net)]
    assert scores[1] > scores[0] + 0.2


def test_a_prototypical_network_takes_the_columns_of_fit(torch):
    from da_toolkit.transfer._prototypical_network import PrototypicalNetwork

    X, y, _ = clouds(0)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    net = PrototypicalNetwork(n_way=2, n_query=2, n_episodes=2, random_state=0).fit(frame, y)
    np.testing.assert_array_equal(net.transform(frame), net.transform(X))
    with pytest.raises(InputError, match="another order"):
        net.transform(frame[list("fedcba")])
    with pytest.raises(InputError, match="module is of type LogisticRegression"):
        PrototypicalNetwork(LogisticRegression()).fit(X, y)
    with pytest.warns(match="0, 1, .* vary so little beside their size"):
        PrototypicalNetwork(n_way=2, n_query=2, n_episodes=2).fit(X + 1e9, y)


def test_a_default_network_images_and_bad_calls(torch):
    from da_toolkit.transfer._prototypical_network import PrototypicalNetwork

    X, y = many_classes(2, 6, 20)
    tiny = {"n_episodes": 3, "n_query": 5, "random_state": 0, "device": "cpu"}
    assert PrototypicalNetwork(**tiny).fit(X, y).transform(X[:2]).shape == (2, 64)
    where = np.arange(len(y)) % 2
    across = PrototypicalNetwork(across=True, **tiny)
    model = Prototypes(across).fit(X, y, X, source_domain=where)
    fitted: Any = model.embedding_
    np.testing.assert_array_equal(fitted.transform(X), clone(across).fit(X, y, where).transform(X))
    nn = torch.nn
    conv = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    images = X.reshape(-1, 1, 5, 4)
    net = PrototypicalNetwork(conv, **tiny).fit(images, y)
    assert net.transform(images[:3]).shape == (3, 48) and not net.module_.training
    with pytest.raises(InputError, match="rows of shape"):
        net.transform(X)
    for options, data, message in (
        ({"lr": 0}, (X, y), "lr=0"),
        ({"n_shot": 30}, (X, y), "no domain with 5 classes"),
        ({}, (X, y[:5]), "y has shape"),
        ({}, (images, y), "default network"),
        ({"module": lambda: 3}, (X, y), "module\\(\\) returned"),
    ):
        with pytest.raises(InputError, match=message):
            PrototypicalNetwork(**{**tiny, **options}).fit(*data)


def test_probabilities_agree_with_predictions_on_either_path():
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(3, size=(2, 200))
    means = 2 * rng.normal(size=(3, 4))
    X, X_target = means[y] + rng.normal(size=(200, 4)), means[y_target] + 1 + rng.normal(size=(200, 4))
    model = Prototypes().fit(X, y, X_target, np.where(np.arange(200) < 9, y_target, np.nan))
    for name, rows in (("predict", X_target), ("predict_source", X)):
        proba = getattr(model, name.replace("predict", "predict_proba"))(rows)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert (model.classes_[proba.argmax(axis=1)] == getattr(model, name)(rows)).all()
