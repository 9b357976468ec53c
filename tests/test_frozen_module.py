"""Class frequencies corrected on trained networks, which stay as they are."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [deep] extra is not installed")
pytest.importorskip("skorch", reason="the [deep] extra is not installed")

from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from da_toolkit import PriorCorrection  # noqa: E402
from da_toolkit.deep import DeepAdapter, frozen_module  # noqa: E402
from shift_detectors import InputError  # noqa: E402

pytestmark = pytest.mark.torch


def two_classes(seed, n, p):
    rng = np.random.default_rng([seed, n])
    y = (rng.random(n) < p).astype(int)
    x = rng.normal(size=(n, 5))
    x[:, :2] += (2 * y[:, None] - 1) * [0.96, 0.48]
    return x, y


def test_trained_torch_module_is_corrected():
    X, y = two_classes(0, 1000, 0.5)
    X_target, y_target = two_classes(1, 1000, 0.9)
    logistic = LogisticRegression().fit(*two_classes(2, 1000, 0.5))
    module = torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.Dropout(0.5))
    with torch.no_grad():
        module[0].weight.copy_(torch.as_tensor(np.vstack([-logistic.coef_, logistic.coef_]) / 2))
        module[0].bias.copy_(torch.as_tensor(np.r_[-logistic.intercept_, logistic.intercept_] / 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frozen = frozen_module(module.train(), ["no", "yes"])
    labels, labels_target = np.array(["no", "yes"])[y], np.array(["no", "yes"])[y_target]
    assert frozen.predict_proba(X) == pytest.approx(logistic.predict_proba(X), abs=1e-5)
    model = PriorCorrection(frozen, random_state=0).fit(X, labels, X_target)
    same = PriorCorrection(FrozenEstimator(logistic), random_state=0).fit(X, y, X_target)
    assert model.prior_ == pytest.approx(same.prior_, abs=1e-4)
    assert model.score(X_target, labels_target) > np.mean(model.predict_source(X_target) == labels_target) + 0.04
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items()) and module.training
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(InputError, match="nn.Module"):
        frozen_module(logistic, [0, 1])
    with pytest.raises(InputError, match="two or more different classes"):
        frozen_module(module, [1, 1])
    with pytest.raises(InputError, match="logits of 3 classes"):
        frozen_module(module, [0, 1, 2]).predict(X)
    with pytest.raises(InputError, match="softmax"):
        frozen_module(torch.nn.Sequential(module, torch.nn.Softmax(dim=1)), [0, 1]).predict(X)


def test_tokens_data_sets_and_single_logits_are_taken():
    tokens = torch.randint(0, 20, (9, 7), generator=torch.manual_seed(0))
    text = torch.nn.Sequential(torch.nn.Embedding(20, 4), torch.nn.Flatten(), torch.nn.Linear(28, 2))
    both, single = frozen_module(text, ["no", "yes"]), torch.nn.Linear(28, 1)
    expected = text(tokens).softmax(dim=1).detach().numpy()
    for rows in (tokens, torch.utils.data.TensorDataset(tokens, tokens[:, 0])):
        assert both.predict_proba(rows) == pytest.approx(expected, abs=1e-6)
    with torch.no_grad():
        single.weight.copy_(text[2].weight[1:] - text[2].weight[:1])
        single.bias.copy_(text[2].bias[1:] - text[2].bias[:1])
    one = frozen_module(torch.nn.Sequential(*text[:2], single), ["no", "yes"])
    assert one.predict_proba(tokens) == pytest.approx(expected, abs=1e-6)


class Two(torch.nn.Sequential):
    """Logits, and something beside them."""

    def forward(self, x):
        """Both."""
        return super().forward(x), x


def test_a_module_that_gives_two_outputs_is_refused_in_words():
    with pytest.raises(InputError, match="the module returns tuple"):
        frozen_module(Two(torch.nn.Linear(5, 2)), [0, 1]).predict(np.zeros((4, 5)))


def test_trained_deep_adapter_is_corrected():
    X, y = two_classes(0, 1000, 0.5)
    X_held, y_held = two_classes(3, 500, 0.5)
    X_target, y_target = two_classes(1, 1000, 0.9)
    deep = DeepAdapter(max_epochs=10, random_state=0).fit(X, y, X_target)
    model = PriorCorrection(FrozenEstimator(deep), random_state=0).fit(X_held, y_held, X_target)
    assert model.head_.estimator is deep
    assert model.score(X_target, y_target) > deep.score(X_target, y_target) + 0.03


def test_classes_are_named_in_any_order():
    X, y = two_classes(0, 400, 0.5)
    X_target, _ = two_classes(1, 400, 0.9)
    module = torch.nn.Linear(5, 2)
    other = torch.nn.Linear(5, 2)
    with torch.no_grad():
        other.weight.copy_(module.weight.flip(0))
        other.bias.copy_(module.bias.flip(0))
    models = frozen_module(module, ["no", "yes"]), frozen_module(other, ["yes", "no"])
    labels = np.array(["no", "yes"])[y]
    for model in models:
        assert model.classes_.tolist() == ["no", "yes"]
        assert model.predict_proba(X) == pytest.approx(models[0].predict_proba(X), abs=1e-6)
        assert np.array_equal(model.predict(X), models[0].predict(X))
    first, second = (PriorCorrection(m, random_state=0).fit(X, labels, X_target).prior_ for m in models)
    assert first == pytest.approx(second, abs=1e-4)
