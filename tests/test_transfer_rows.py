from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.svm import LinearSVC

from da_toolkit._base import Target
from da_toolkit.transfer._rows_to_label import _inclusion, local_pivotal, rows_to_label
from shift_detectors._errors import InputError


def problem(seed=0, n_source=200, n_target=150):
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n_source, 3)), rng.normal(size=(n_target, 3)) + [1.0, 0.0, 0.0]
    return X, (X.sum(axis=1) > 0).astype(int), X_target


def test_the_draw_has_the_probabilities_it_states():
    """Frequencies over many draws."""
    rng = np.random.RandomState(0)
    Z = rng.normal(size=(30, 2))
    probability = _inclusion(rng.uniform(0.5, 1.5, size=30), 8)
    count = np.zeros(30)
    for _ in range(2000):
        drawn = local_pivotal(probability, Z, rng)
        assert len(drawn) == 8
        count[drawn] += 1
    error = np.sqrt(probability * (1 - probability) / 2000)
    assert (np.abs(count / 2000 - probability) < 4 * error).all()


def test_drawn_rows_lie_apart():
    rng = np.random.RandomState(1)
    Z = rng.normal(size=(200, 2))
    nearest = {"pivotal": [], "random": []}
    for _ in range(60):
        for name, drawn in (
            ("pivotal", local_pivotal(np.full(200, 0.1), Z, rng)),
            ("random", rng.choice(200, 20, replace=False)),
        ):
            nearest[name].append(np.min(pdist(Z[drawn])))
    assert np.mean(nearest["pivotal"]) > 1.5 * np.mean(nearest["random"])


def test_inclusion_probabilities_are_at_most_one():
    probability = _inclusion(np.array([10.0, 1.0, 1.0, 1.0]), 3)
    np.testing.assert_allclose(probability, [1, 2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(_inclusion(np.array([1.0, 3.0]), 2), 1)


@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC(), Ridge()], ids=lambda m: type(m).__name__)
def test_doubtful_rows_unlike_the_source_are_likelier(model):
    X, y, X_target = problem()
    model.fit(X, y)
    chosen = rows_to_label(model, X, X_target, 20, random_state=0)
    assert len(chosen.rows) == len(set(chosen.rows)) == 20
    assert chosen.size.sum() == pytest.approx(20)
    assert chosen.size.max() <= 3.001 * chosen.size.min()
    assert np.corrcoef(chosen.size, X_target[:, 0])[0, 1] > 0  # the target lies there, the source does not
    if not isinstance(model, Ridge):
        assert np.corrcoef(chosen.size, np.abs(model.decision_function(X_target)))[0, 1] < 0
    assert chosen.sample_weight.mean() == pytest.approx(1)
    np.testing.assert_array_equal(chosen.rows, rows_to_label(model, X, X_target, 20, random_state=0).rows)


def test_weighted_accuracy_is_that_of_the_target():
    """Mean of the weighted estimates over draws, within three standard errors."""
    X, y, X_target = problem(1)
    model = LogisticRegression().fit(X, y)
    right = model.predict(X_target) == (X_target[:, 1:].sum(axis=1) > 0)
    chosen = rows_to_label(model, X, X_target, 15, random_state=0)
    rng = np.random.RandomState(0)
    estimates = []
    for _ in range(400):
        drawn = local_pivotal(chosen.size, X_target, rng)
        estimates.append((right[drawn] / chosen.size[drawn]).sum() / len(right))
    assert abs(np.mean(estimates) - right.mean()) < 3 * np.std(estimates) / 20


def test_known_labels_and_frames():
    X, y, X_target = problem(2)
    model = LogisticRegression().fit(X, y)
    known = np.where(np.arange(150) < 100, 1.0, np.nan)
    chosen = rows_to_label(model, X, Target(X_target, known), 50, random_state=0)
    np.testing.assert_array_equal(chosen.rows, np.arange(100, 150))  # all that are left, each with certainty
    np.testing.assert_allclose(chosen.inclusion_probability, 1)
    frame, frame_target = (pd.DataFrame(rows, columns=list("abc")) for rows in (X, X_target))
    before = frame_target.copy()
    assert len(rows_to_label(LogisticRegression().fit(frame, y), frame, frame_target, 7, random_state=0).rows) == 7
    pd.testing.assert_frame_equal(frame_target, before)


def test_bad_calls_are_explained():
    X, y, X_target = problem(3)
    model = LogisticRegression().fit(X, y)
    sizes: list[Any] = [0, 151, 2.5]
    for n in sizes:
        with pytest.raises(InputError, match="n="):
            rows_to_label(model, X, X_target, n)
    with pytest.raises(InputError, match="y_target"):
        rows_to_label(model, X, X_target, 3, y_target=[1, None])

    class LabelsOnly(Perceptron):
        decision_function = property()

    with pytest.raises(InputError, match="labels only"):
        rows_to_label(LabelsOnly().fit(X, y), X, X_target, 3, random_state=0)
