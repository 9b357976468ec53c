"""Labels of a regression are numbers, of whatever type they are: for every adapter of the registry."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import PoissonRegressor

from da_toolkit import _registry, adapt
from da_toolkit._domains import read_domains
from da_toolkit.transfer import PriorCentered
from shift_detectors import diagnose
from shift_detectors._errors import InputError

QUICK = {"TrAdaBoostR2": {"n_steps": 2, "n_rounds": 2, "n_folds": 2}}
NETWORKS = {
    "DeepAdapter": {"task": "regression", "layer": "1", "max_epochs": 2, "device": "cpu"},
    "FineTuning": {"task": "regression", "max_epochs": 2, "head_epochs": 1, "device": "cpu"},
    "MAML": {"task": "regression", "max_steps": 2, "device": "cpu"},
    "ANIL": {"task": "regression", "max_steps": 2, "device": "cpu"},
    "MultiTask": {"task": "regression", "max_epochs": 2, "device": "cpu"},
    "FeatureExtraction": {"layer": "1", "estimator": PoissonRegressor()},
}
ROWS = [
    pytest.param(row, id=row.name, marks=[pytest.mark.torch] * (row.holder in NETWORKS))
    for row in _registry.ADAPTERS
    if "regression" in row.tasks
]


def made(row):
    """The adapter of a row around a small network, or around a model whose predictions are never negative."""
    options = {"random_state": 0} if row.slot is None else {"random_state": 0, row.slot.split(".")[1]: row.load()()}
    adapter = _registry.find(row.holder).load()
    if row.holder not in NETWORKS:
        return adapter(PoissonRegressor(), **QUICK.get(row.name, {}), **options)
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    return adapter(network, **NETWORKS[row.holder], **options)


def counts(n=200, labelled=20):
    """Counts that grow with the first of three columns, in the target faster; some of its labels."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, n, 3)).astype(np.float32)
    y, y_target = rng.poisson(np.exp(1 + 0.5 * X[:, 0])), rng.poisson(np.exp(1.7 + 0.5 * X_target[:, 0]))
    return X, y, X_target, np.where(np.arange(n) < labelled, y_target, np.nan)


def fitted(row, X, y, X_target, few):
    domains = {"source_domain": np.arange(len(X)) % 4} if row.name in ("MAML", "ANIL") else {}
    return made(row).fit(X, y, X_target, few, **domains)


@pytest.mark.parametrize("row", ROWS)
def test_whole_numbers_are_the_quantities_that_they_are_as_floats(row):
    X, y, X_target, few = counts()
    whole, floats = (fitted(row, X, labels, X_target, few).predict(X_target) for labels in (y, y.astype(float)))
    np.testing.assert_array_equal(whole, floats)


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].slot is None])
def test_an_infinite_target_label_is_refused(row):
    X, y, X_target, few = counts()
    few[3] = np.inf
    with pytest.raises(InputError, match="infinite"):
        fitted(row, X, y, X_target, few)


@pytest.mark.parametrize(
    ("infinite", "words"),
    [("y", "1 of the 200 labels in y are infinite"), ("few", "1 of the 20 labels in y_target are infinite")],
)
def test_infinite_labels_are_counted(infinite, words):
    X, y, X_target, few = counts()
    labels = {"y": y.astype(float), "few": few}
    labels[infinite][3] = np.inf
    for use in (PriorCentered(PoissonRegressor()).fit, partial(adapt, PoissonRegressor())):
        with pytest.raises(InputError, match=words):
            use(X, labels["y"], X_target, labels["few"])
    with pytest.raises(InputError, match="1 infinite values"):
        diagnose(X, labels["y"], X_target, labels["few"], task="regression")


def test_the_target_may_have_fractions_where_the_source_has_whole_numbers():
    X, y, X_target, few = counts()
    rates = few / 2
    whole, floats = (
        PriorCentered(PoissonRegressor(), random_state=0).fit(X, labels, X_target, rates) for labels in (y, y / 1.0)
    )
    np.testing.assert_array_equal(whole.predict(X_target), floats.predict(X_target))
    rows = slice(60)
    adapt(PoissonRegressor(), X[rows], y[rows], X_target[rows], rates[rows], candidates=["PriorCentered"])
    with pytest.raises(InputError, match="target labels such as '1.5'; accepted: labels of type int64"):
        read_domains(X, y % 2, X_target, np.where(few > 0, "1.5", None), classification=True)


def test_text_among_the_target_labels_of_a_regression_is_refused():
    X, y, X_target, few = counts()
    with pytest.raises(InputError, match="target labels such as 'many'; accepted: labels of type float64"):
        PriorCentered(PoissonRegressor()).fit(X, y, X_target, np.where(few > 0, "many", None))


@pytest.mark.parametrize("dtype", [bool, "Int64", np.uint8, np.float32, float])
def test_labels_of_a_regression_are_floats_and_those_of_classes_stay(dtype):
    X, y, X_target, few = counts()
    labels, known = pd.Series(y % 2).astype(dtype), np.where(few > 0, 1.0, np.nan)
    read, classes, unknown = (
        read_domains(X, labels, X_target, known, classification=kind) for kind in (False, True, None)
    )
    assert read.y.dtype == read.y_target.dtype == (np.float32 if dtype is np.float32 else float)
    for kept in (classes, unknown):
        assert kept.y.dtype == kept.y_target.dtype == (np.int64 if dtype == "Int64" else dtype)


@pytest.mark.parametrize("whole", [True, False])
def test_the_order_of_the_bytes_does_not_matter(whole):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(2, 100, 2))
    y_source, y_target = X_source[:, 0], X_target[:, 0] + 1
    if whole:
        y_source, y_target = (y_source > 0).astype(int), (y_target > 0).astype(int)

    def swapped(values):
        return values.astype(values.dtype.newbyteorder())

    def found(*data):
        report = diagnose(*data, random_state=0, n_permutations=99)
        return report.verdict, [(test.statistic, test.pvalue, test.effect) for test in report.tests]

    data = X_source, y_source, X_target, y_target
    assert found(*map(swapped, data)) == found(*data)
