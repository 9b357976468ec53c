"""A model's own threshold is kept by the adapters that correct probabilities; any other rule is told, not dropped."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from da_toolkit import PriorCentered, PriorCorrection, SourceOnly, adapt
from da_toolkit._decision import scores_classes
from da_toolkit.selection import Averaged
from da_toolkit.transfer import OffsetBoosting, TransferStack
from shift_detectors._errors import ShiftWarning

ADAPTERS = (PriorCorrection, PriorCentered, TransferStack, OffsetBoosting)


def sample(n, share, seed):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 4)) + y[:, None] * [1, 0.8, 0, 0], y


X, y = sample(400, 0.3, 0)
X_TARGET, Y_TARGET = sample(400, 0.12, 1)
FEW = np.where(np.arange(400) < 60, Y_TARGET, np.nan)
THRESHOLD = FixedThresholdClassifier(LogisticRegression(), threshold=0.15)


class OwnRule(LogisticRegression):
    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] >= 0.15).astype(int)]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("where", ["plain", "pipeline", "frozen"])
def test_a_threshold_is_kept_on_the_corrected_probabilities(adapter, where):
    model = THRESHOLD if where == "plain" else make_pipeline(StandardScaler(), THRESHOLD)
    model = FrozenEstimator(model.fit(*sample(400, 0.3, 2))) if where == "frozen" else model
    fitted = adapter(model, random_state=0).fit(X, y, X_TARGET, FEW)
    assert np.array_equal(fitted.predict(X_TARGET), (fitted.predict_proba(X_TARGET)[:, 1] >= 0.15).astype(int))


def test_a_tuned_threshold_is_kept_with_its_positive_class():
    names = np.array(["no", "yes"])
    model = TunedThresholdClassifierCV(LogisticRegression(), cv=3)
    fitted = PriorCorrection(model, random_state=0).fit(X, names[y], X_TARGET)
    threshold = fitted.head_.best_threshold_
    assert fitted.changed_ and not 0.45 < threshold < 0.55
    assert np.array_equal(fitted.predict(X_TARGET) == "yes", fitted.predict_proba(X_TARGET)[:, 1] >= threshold)


def test_averages_keep_a_threshold():
    both = Averaged(PriorCorrection(THRESHOLD, random_state=0)).fit(X, y, X_TARGET)
    assert np.array_equal(both.predict(X_TARGET), (both.predict_proba(X_TARGET)[:, 1] >= 0.15).astype(int))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_another_rule_is_told(adapter):
    with pytest.warns(ShiftWarning, match=f"OwnRule answers other classes.*{adapter.__name__} corrects") as said:
        adapter(OwnRule(), random_state=0).fit(X, y, X_TARGET, FEW)
    assert len(said) == 1


def test_a_threshold_on_margins_is_told():
    with pytest.warns(ShiftWarning, match="A threshold on probabilities is kept"):
        PriorCentered(FixedThresholdClassifier(LinearSVC(), threshold=-0.5)).fit(X, y, X_TARGET, FEW)


def test_adapters_that_leave_the_answer_to_the_model_say_nothing():
    assert SourceOnly(OwnRule()).fit(X, y, X_TARGET).predict(X_TARGET).mean() > 0.3


def test_adapt_does_not_sell_a_dropped_rule_as_a_gain():
    result = adapt(OwnRule(), X, y, X_TARGET, candidates=["PriorCorrection"], guard=False, random_state=0)
    assert result.status == "unchanged"
    assert "OwnRule answers other classes" in result.candidates[1].reason


def test_adapt_says_what_becomes_of_class_weights():
    words = "class_weight='balanced'; PriorCorrection"
    for weight, said in (("balanced", True), (None, False)):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight=weight))
        result = adapt(model, X, y, X_TARGET, candidates=["PriorCorrection"], guard=False, random_state=0)
        assert result.adapter == "PriorCorrection" and (words in result.explanation) == said


def test_whether_scores_are_those_of_the_classes_is_seen_on_the_path_that_is_named():
    class Ties:
        """Moves source rows where nothing is known any more when they are taken for target rows."""

        classes_ = np.arange(3)

        def decision_function(self, X):
            return 0 * X

        def predict(self, X):
            return np.full(len(X), 2)

        def decision_function_source(self, X):
            return X

        def predict_source(self, X):
            return X.argmax(axis=1)

    X = np.eye(3).repeat(5, axis=0)
    assert scores_classes(Ties(), X, "_source") and not scores_classes(Ties(), X)
