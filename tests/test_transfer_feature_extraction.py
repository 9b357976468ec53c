"""FeatureExtraction and Embedding: the right numbers of the right layer, passed once, with nothing changed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from da_toolkit._target import Target
from da_toolkit.alignment import CORAL, FeatureAlignment
from da_toolkit.transfer._embedding import Embedding
from da_toolkit.transfer._feature_extraction import FeatureExtraction
from da_toolkit.transfer._prior_centered import PriorCentered
from da_toolkit.transfer._transfer_stack import TransferStack
from shift_detectors._errors import InputError

WORDS = {"good": [1.0, 0.2], "fine": [0.9, 0.1], "bad": [-1.0, 0.1], "poor": [-0.8, 0.3]}


def rings(n, seed, turn=0.0, m=None):
    """Inside or outside of a ring: no linear function of the two columns, but one of a hidden layer's."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    y = (np.hypot(*X.T) + turn * X[:, 0] > 1.2).astype(int)
    few = y.astype(object)
    few[m:] = None
    return X, y, few


def network(torch, seed=0):
    """Random features in front of a linear layer; a batch normalisation and a dropout that must stay asleep."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nn = torch.nn
        net = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.BatchNorm1d(40), nn.Dropout(0.5), nn.Linear(40, 2))
        with torch.no_grad():
            net[2].running_mean.uniform_(-1, 1)
            net[2].running_var.uniform_(0.5, 2)
    return net.train()


def counting(torch, net):
    """The number of rows that pass `net`, from now on."""
    passed = []
    net.register_forward_pre_hook(lambda _module, inputs: passed.append(len(inputs[0])))
    return passed


def test_training_the_module_further_leaves_the_fitted_model_alone(torch):
    net, (X, y, _) = network(torch), rings(60, 0)
    model = FeatureExtraction(net, "2", LogisticRegression(), random_state=0).fit(X, y, X)
    before = model.predict_proba(X)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(-2)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.module is net and not np.allclose(model.fit(X, y, X).predict_proba(X), before)


# --- the features -------------------------------------------------------------------------------------------


def test_features_are_the_layers_own_numbers_and_the_module_stays_as_it_was(torch):
    net = network(torch)
    before = copy.deepcopy(net.state_dict())
    X = rings(50, 0)[0]
    x = torch.as_tensor(X, dtype=torch.float32)
    with torch.no_grad():
        hidden = copy.deepcopy(net).eval()[:3](x).numpy()
        logits = copy.deepcopy(net).eval()(x).numpy()
    for batch_size in (1, 7, 50, 1000):
        for layer, expected in (("2", hidden), (None, hidden), ("", logits), ("4", logits)):
            features = Embedding(net, layer, batch_size).transform(X)
            np.testing.assert_allclose(features, expected, atol=1e-5)
    assert all(part.training for part in net.modules()) and not any(p.grad is not None for p in net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_images_tensors_data_sets_and_token_numbers(torch):
    nn = torch.nn
    X = np.random.default_rng(0).normal(size=(20, 1, 6, 6))
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    features = Embedding(net, "0").transform(X)
    assert features.shape == (20, 48)
    tensor = torch.as_tensor(X)
    np.testing.assert_allclose(Embedding(net, "0").transform(tensor), features)
    np.testing.assert_allclose(Embedding(net, "0").transform(torch.utils.data.TensorDataset(tensor)), features)
    words = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2))
    tokens = torch.as_tensor([[1, 2], [3, 3]])
    np.testing.assert_allclose(Embedding(words, "0").transform(tokens), words[0](tokens).detach().numpy(), atol=1e-6)


def test_a_table_of_vectors_and_a_fitted_transformer():
    keys = np.array([["good", "bad"], ["fine", "fine"]])
    expected = [[1.0, 0.2, -1.0, 0.1], [0.9, 0.1, 0.9, 0.1]]
    frame = pd.DataFrame.from_dict(WORDS, orient="index")
    for table in (WORDS, frame):
        np.testing.assert_array_equal(Embedding(table).transform(keys), expected)
        np.testing.assert_array_equal(Embedding(table).transform(pd.DataFrame(keys)), expected)
    with pytest.raises(InputError, match="1 keys that the table lacks, such as dull"):
        Embedding(WORDS).transform(np.array(["dull", "good"]))
    X = rings(40, 1)[0]
    pca = PCA(1).fit(X)
    np.testing.assert_array_equal(clone(Embedding(pca)).transform(X), pca.transform(X))
    with pytest.raises(InputError, match=r"pipeline\[:-1\]"):
        Embedding(LogisticRegression()).transform(X)


# --- the memory ---------------------------------------------------------------------------------------------


def test_a_search_passes_every_row_once(torch):
    net, (X, y, _), (X_target, _, few) = network(torch), rings(120, 2), rings(80, 3, m=12)
    passed = counting(torch, net)
    model = FeatureExtraction(net, "2", LogisticRegression(max_iter=1000), random_state=0)
    search = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, cv=3).fit(X, y, X_target=Target(X_target))
    assert sum(passed) == len(X) + len(X_target)
    assert search.best_estimator_.module is net
    clone(model).fit(X[::-1], y[::-1], X_target, few).predict(X_target)
    assert sum(passed) == len(X) + len(X_target)
    search.predict(X_target + 1)
    assert sum(passed) == len(X) + 2 * len(X_target)


def test_nothing_stale_is_remembered(torch):
    """Not after a change of the parameters, of a buffer, or of the layer."""
    net, X = network(torch), rings(10, 4)[0]
    embedding = Embedding(net, "2")

    def features():
        answer = embedding.transform(X)
        np.testing.assert_allclose(answer, Embedding(net, "2", cache_mb=0).transform(X), atol=1e-5)
        return answer

    first = features()
    with torch.no_grad():
        net[0].weight.mul_(2.0)
    second = features()
    net[2].running_mean.add_(1.0)
    third = features()
    assert not np.allclose(first, second) and not np.allclose(second, third)
    assert embedding.set_params(layer="0").transform(X).min() < 0 <= embedding.set_params(layer="1").transform(X).min()


def test_the_memory_is_bounded_and_stays_out_of_pickles(torch):
    net, X = network(torch), rings(400, 5)[0]
    passed = counting(torch, net)
    small = Embedding(net, "2", batch_size=50, cache_mb=0.03)  # about 120 rows of 40 numbers
    np.testing.assert_allclose(small.transform(X), Embedding(net, "2", cache_mb=0).transform(X), atol=1e-5)
    assert sum(vector.nbytes for vector in small._memory.values()) <= 0.03 * 2**20
    passed.clear()
    small.transform(X[-50:])
    assert sum(passed) == 0
    small.transform(X[:50])
    assert sum(passed) == 50
    net._forward_pre_hooks.clear()
    assert not hasattr(pickle.loads(pickle.dumps(small)), "_memory")


# --- the adapter --------------------------------------------------------------------------------------------


def test_without_target_labels_it_is_the_model_on_the_features(torch):
    net, (X, y, _), (X_target, y_target, _) = network(torch), rings(300, 6), rings(300, 7)
    model = make_pipeline(StandardScaler(), SVC(kernel="linear"))
    fitted = FeatureExtraction(net, "2", model).fit(X, y, X_target)
    features = Embedding(net, "2").transform
    plain = clone(model).fit(features(X), y)
    np.testing.assert_array_equal(fitted.predict(X_target), plain.predict(features(X_target)))
    np.testing.assert_array_equal(fitted.predict_source(X), plain.predict(features(X)))
    np.testing.assert_allclose(fitted.decision_function(X_target), plain.decision_function(features(X_target)))
    assert not hasattr(fitted, "predict_proba")
    assert fitted.score(X_target, y_target) > 0.85 > 0.75 > LogisticRegression().fit(X, y).score(X_target, y_target)


def test_target_labels_enter_by_the_stack_or_by_the_adapter_that_was_asked_for(torch):
    net, (X, y, _), (X_target, _, few) = network(torch), rings(200, 8), rings(200, 9, turn=1.5, m=40)
    features = Embedding(net, "2").transform
    logistic = LogisticRegression(max_iter=1000)
    data = features(X), y, features(X_target), few
    for asked, same in (
        (logistic, TransferStack(logistic, random_state=0)),
        (PriorCentered(logistic, random_state=0), None),
    ):
        same = clone(asked if same is None else same).fit(*data)
        fitted = FeatureExtraction(net, "2", asked, random_state=0).fit(X, y, X_target, few)
        np.testing.assert_allclose(fitted.predict_proba(X_target), same.predict_proba(data[2]))
        np.testing.assert_allclose(fitted.predict_proba_source(X), same.predict_proba_source(data[0]))
    aligned = FeatureExtraction(net, "2", FeatureAlignment(logistic, CORAL())).fit(X, y, X_target)
    assert aligned.predict(X_target).shape == (200,)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_few_labels_bring_a_gain_under_shift_and_little_harm_without(torch, seed):
    net, (X, y, _) = network(torch), rings(400, 10 + seed)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for turn, low in ((0.0, -0.02), (2.0, 0.05)):
        X_target, _, few = rings(300, 20 + seed, turn, m=40)
        X_new, y_new, _ = rings(2000, 30 + seed, turn)
        source = FeatureExtraction(net, "2", logistic).fit(X, y, X_target).score(X_new, y_new)
        fitted = FeatureExtraction(net, "2", logistic, random_state=0).fit(X, y, X_target, few)
        assert fitted.score(X_new, y_new) - source > low


def test_regression_of_a_fitted_deep_adapter_by_its_two_paths(torch):
    from da_toolkit.deep import DeepAdapter, DeepCORAL

    rng = np.random.default_rng(12)
    X, X_target = rng.normal(size=(120, 2)), rng.normal(size=(80, 2)) + 2
    y = X[:, 0] + 0.1 * rng.normal(size=120)
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    deep = DeepAdapter(net, loss=DeepCORAL(), max_epochs=3, random_state=0, device="cpu").fit(X, y, X_target)
    model = FeatureExtraction(deep, None, Ridge()).fit(X, y, X_target)
    ridge = Ridge().fit(deep.transform_source(X), y)
    np.testing.assert_allclose(model.predict(X_target), ridge.predict(deep.transform(X_target)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.predict_source(X), ridge.predict(deep.transform_source(X)), rtol=1e-3, atol=1e-3)
    assert is_regressor(model) and clone(model).module is deep


def test_a_frozen_module_and_a_data_set(torch):
    pytest.importorskip("skorch")
    from da_toolkit.deep import frozen_module

    net, (X, y, _), (X_target, *_) = network(torch), rings(60, 13), rings(50, 14)
    plain = FeatureExtraction(net, "2", LogisticRegression()).fit(X, y, X_target)
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    frozen = FeatureExtraction(frozen_module(net, [0, 1]), "2", LogisticRegression()).fit(data, y, X_target)
    np.testing.assert_allclose(frozen.predict_proba(X_target), plain.predict_proba(X_target), atol=1e-6)


def test_an_estimator_like_others(torch):
    net, (X, y, _), (X_target, _, few) = network(torch), rings(100, 15), rings(80, 16, 1.0, m=20)
    before = X.copy(), y.copy(), X_target.copy(), few.copy()
    model = FeatureExtraction(net, "2", PriorCentered(LogisticRegression(), random_state=0))
    first = clone(model).fit(X, y, X_target=Target(X_target, few))
    again = pickle.loads(pickle.dumps(clone(model).fit(X, y, X_target, few)))
    np.testing.assert_array_equal(first.predict_proba(X_target), again.predict_proba(X_target))
    np.testing.assert_array_equal(first.fit(X, y, X_target, few).predict(X_target), again.predict(X_target))
    for now, then in zip((X, y, X_target, few), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert is_classifier(model) and list(first.classes_) == [0, 1] and first.n_features_in_ == 2
    frame, frame_target = pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X_target, columns=["a", "b"])
    named = clone(model).fit(frame, y, frame_target, few)
    np.testing.assert_array_equal(named.predict(frame_target), first.predict(X_target))
    with pytest.raises(InputError, match="another order"):
        named.predict(frame_target[["b", "a"]])


def test_bad_calls_are_explained(torch):
    net, (X, y, _), (X_target, *_) = network(torch), rings(50, 17), rings(40, 18)
    with pytest.raises(InputError, match="without X_target"):
        FeatureExtraction(net, "2", LogisticRegression()).fit(X, y)
    with pytest.raises(InputError, match="X_target has 3 columns"):
        FeatureExtraction(net, "2", LogisticRegression()).fit(X, y, np.zeros((5, 3)))
    with pytest.raises(InputError, match="layer='9'"):
        FeatureExtraction(net, "9", LogisticRegression()).fit(X, y, X_target)
    with pytest.raises(InputError, match="layer, estimator"):
        FeatureExtraction(net, LogisticRegression(), "2").fit(X, y, X_target)
    with pytest.raises(InputError, match="X has rows of shape"):
        FeatureExtraction(net, "2", LogisticRegression()).fit(X, y, X_target).predict(np.zeros((5, 2, 2)))
