"""What a model answers: one value for every row, in one dimension or as a table of one column, and nothing else."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit import _registry, adapt
from da_toolkit.selection._averaged import Averaged
from da_toolkit.transfer import FeatureAugmentation
from da_toolkit.validation import CBPEScore, CircularScore, ImportanceWeightedScore, MixValScore, cross_validate
from da_toolkit.weighting import ImportanceWeighting
from shift_detectors import ShiftMonitor, diagnose
from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._performance import measure_impact

QUICK = {"TrAdaBoostR2": {"n_steps": 2, "n_rounds": 2, "n_folds": 2}, "TrAdaBoost": {"n_rounds": 3}}


class Classifier(LogisticRegression):
    """As CatBoost answers with three classes or more."""

    def predict(self, X):
        return super().predict(X)[:, None]


class Labeller(ClassifierMixin, BaseEstimator):
    """The same without probabilities."""

    def fit(self, X, y):
        self.model_ = Classifier().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)


class Regressor(PoissonRegressor):
    """As scikit-learn's regressors answer after a fit on a table of one column."""

    def predict(self, X):
        return super().predict(X)[:, None]


FLAT = {Classifier: LogisticRegression, Regressor: PoissonRegressor}


def problem(kind, n=200, labelled=30):
    """Three classes, or counts, that depend on three columns, and on the target somewhat otherwise."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + [0.7, 0, 0]

    def labels(X, a):
        if kind is Regressor:
            return rng.poisson(np.exp(1 + a + 0.5 * X[:, 0])).astype(float)
        return np.digitize(X[:, 0] + a + 0.7 * rng.normal(size=n), [-0.5, 0.8]).astype(float)

    y, y_target = labels(X, 0.0), labels(X_target, 0.5)
    return X, y, X_target, np.where(np.arange(n) < labelled, y_target, np.nan)


def ways():
    """Adapters of scikit-learn models, with the kinds of models that they take."""
    for row in _registry.ADAPTERS:
        adapter = _registry.find(row.holder)
        if {row.extra, adapter.extra} == {None} and "estimator" == next(
            iter(inspect.signature(adapter.load()).parameters)
        ):
            for kind, task in ((Classifier, "classification"), (Regressor, "regression")):
                if task in row.tasks:
                    yield pytest.param(row, kind, id=f"{row.name}-{kind.__name__}")


def made(row, model):
    adapter = _registry.find(row.holder).load()
    options = QUICK.get(row.name, {}) | ({} if row.slot is None else {row.slot.split(".")[1]: row.load()()})
    if "random_state" in inspect.signature(adapter).parameters:
        options = options | {"random_state": 0}
    return adapter(model, **options)


@pytest.mark.parametrize(("row", "kind"), list(ways()))
def test_an_adapter_takes_a_model_that_answers_in_a_column(row, kind):
    X, y, X_target, few = problem(kind)
    column, flat = (made(row, model()).fit(X, y, X_target, few) for model in (kind, FLAT[kind]))
    for method in ("predict", "predict_source"):
        answers = getattr(column, method)(X_target)
        assert answers.shape == (200,)
        np.testing.assert_array_equal(answers, getattr(flat, method)(X_target))


@pytest.mark.parametrize("labelled", [0, 60])
@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_adapt_and_diagnose_take_a_model_that_answers_in_a_column(kind, labelled):
    data = problem(kind, labelled=labelled)
    column, flat = (adapt(model(), *data, random_state=0) for model in (kind, FLAT[kind]))
    for name in ("status", "before", "after", "explanation"):
        assert getattr(column, name) == getattr(flat, name)
    np.testing.assert_array_equal(column.predict(data[2]), flat.predict(data[2]))
    column, flat = (
        diagnose(*data, estimator=model().fit(*data[:2]), random_state=0).impact for model in (kind, FLAT[kind])
    )
    assert column == flat


def test_models_that_are_frozen_averaged_or_without_probabilities_answer_in_a_column():
    X, y, X_target, few = problem(Regressor)
    pipeline = make_pipeline(StandardScaler(), Regressor())
    trained = LinearRegression().fit(X, y[:, None])  # scikit-learn's own answer in a column
    for model in (FrozenEstimator(trained), FrozenEstimator(Regressor().fit(X, y)), pipeline):
        result = adapt(model, X, y, X_target, few, random_state=0)
        assert result.predict(X_target).shape == (200,)
    both = Averaged(FeatureAugmentation(Regressor()), 0.5).fit(X, y, X_target, few)
    assert both.predict(X_target).shape == (200,)
    X, y, X_target, few = problem(Classifier)
    assert adapt(Labeller(), X, y, X_target, random_state=0).predict(X_target).shape == (200,)


@pytest.mark.parametrize("score", [CircularScore, MixValScore, CBPEScore, ImportanceWeightedScore])
def test_scores_take_a_model_that_answers_in_a_column(score):
    X, y, X_target, _ = problem(Classifier)
    column, flat = (
        cross_validate(model(), X, y, X_target, scoring=score(), random_state=0)["test_score"]
        for model in (Classifier, LogisticRegression)
    )
    np.testing.assert_array_equal(column, flat)
    options = {"random_state": 0} if "random_state" in inspect.signature(score).parameters else {}
    column, flat = (score(X_target, **options)(model().fit(X, y), X, y) for model in (Classifier, LogisticRegression))
    assert column == flat


@pytest.mark.parametrize("kind", [Labeller, Regressor])
def test_a_monitor_takes_a_model_that_answers_in_a_column(kind):
    X, y, X_target, _ = problem(kind)
    monitor = ShiftMonitor(X, y, estimator=kind().fit(X, y))
    assert monitor.update(X_target[:50], y[:50]).n_rows == 50


class Several(LinearRegression):
    """Answers as many rows and columns as it is told to."""

    def __init__(self, rows=0, columns=2):
        super().__init__()
        self.rows = rows
        self.columns = columns

    def predict(self, X):
        answers = super().predict(X)[: len(X) - self.rows]
        return np.repeat(answers[:, None], self.columns, axis=1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Several(), r"predict gave shape \(\d+, 2\) for \d+ rows; accepted: one answer.*one column of y"),
        (Several(1, 1), r"predict gave shape \(\d+, 1\) for \d+ rows; accepted: one answer.*every row"),
    ],
)
def test_several_outputs_and_missing_answers_are_refused(model, said):
    X, y, X_target, few = problem(Regressor)
    fitted = model.fit(X, y)
    for use in (
        lambda: diagnose(X, y, X_target, estimator=fitted, task="regression"),
        lambda: adapt(model, X, y, X_target, few, random_state=0),
        lambda: adapt(FrozenEstimator(fitted), X, y, X_target, random_state=0),
        lambda: FeatureAugmentation(model).fit(X, y, X_target, few).predict(X_target),
        lambda: ShiftMonitor(X, y, estimator=fitted, task="regression"),
        lambda: answers_of(fitted, X),
    ):
        with pytest.raises(InputError, match=said):
            use()


class Own:
    """A regressor of one's own that does not say that it is one, and answers no further than y goes."""

    def fit(self, X, y):
        self.model_ = LinearRegression().fit(X, y)
        self.range_ = y.min(), y.max()
        return self

    def predict(self, X):
        return np.clip(self.model_.predict(X), *self.range_)


def test_answers_that_are_no_classes_are_not_judged_as_such():
    """Whole numbers are read as classes unless the model or the caller says otherwise."""
    X, y, X_target, _ = problem(Classifier)
    for y_read in (y, y.astype(int), np.array(["low", "middle", "top"])[y.astype(int)]):
        for model, task in ((Own(), "auto"), (Own(), "classification"), (LinearRegression(), "classification")):
            fitted = model.fit(X, y)
            for function in (partial(measure_impact, fitted, X, y_read, X_target), None):
                with pytest.raises(InputError, match=r"predict gave .*read as the classes .*classes_.*if y is a quant"):
                    function() if function else diagnose(X, y_read, X_target, estimator=fitted, task=task)
    fitted = Own().fit(X, y)
    # quantities, by what is asked for or by y itself
    for y_read, task in ((y, "regression"), (y + 0.1 * X[:, 1], "auto")):
        impact = diagnose(X, y_read, X_target, estimator=fitted, task=task, random_state=0).impact
        assert impact.metric == "mean squared error"
        assert impact.source.value == pytest.approx(np.mean((fitted.predict(X) - y_read) ** 2))


def test_a_classifier_that_names_no_classes_is_judged_where_it_answers_those_of_y():
    class Rule:
        def predict(self, X):
            return np.digitize(X[:, 0], [-0.5, 0.8])

    X, y, X_target, _ = problem(Classifier)
    impact = diagnose(X, y, X_target, estimator=Rule(), random_state=0).impact
    assert impact.metric == "accuracy" and impact.source.value == np.mean(Rule().predict(X) == y)


def test_a_model_without_tags_is_monitored_as_a_regressor_and_adapted_by_nothing():
    X, y, X_target, few = problem(Classifier)
    assert ShiftMonitor(X, y, estimator=Own().fit(X, y), task="regression").update(X_target).n_rows == 200
    with pytest.raises(InputError, match="is a regressor and the task is classification"):
        ShiftMonitor(X, y, estimator=Own().fit(X, y))
    for use in (
        lambda: adapt(Own(), X, y, X_target),
        lambda: ImportanceWeighting(Own()).fit(X, y, X_target),
        lambda: cross_validate(Own(), X, y, X_target),
    ):
        with pytest.raises(InputError, match="Own does not say whether it is a classifier or a regressor"):
            use()


def test_a_model_fitted_on_several_columns_is_refused():
    X, y, X_target, _ = problem(Regressor)
    model = LinearRegression().fit(X, np.c_[y, y])
    with pytest.raises(InputError, match=r"LinearRegression.predict gave shape \(2, 2\)"):
        diagnose(X, y, X_target, estimator=model)
