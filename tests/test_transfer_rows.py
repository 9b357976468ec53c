from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.svm import SVC, LinearSVC

from da_toolkit._target import Target
from da_toolkit.transfer._rows_to_label import _inclusion, _one_of_each, local_pivotal, rows_to_label
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


def test_of_every_group_one_row_is_drawn_at_most():
    code, share, rng = np.array([1, 0, 1, 1]), np.array([1.0, 1, 2, 1]), np.random.RandomState(0)
    count = np.bincount(np.concatenate([_one_of_each(code, share, rng) for _ in range(2000)]), minlength=4)
    np.testing.assert_allclose(count / 2000, [0.25, 1, 0.5, 0.25], atol=0.04)
    X, y, X_target = problem(4, n_target=24)
    model, groups = LogisticRegression().fit(X, y), np.repeat(np.arange(6), [1, 1, 2, 4, 4, 12]).astype(str)
    drawn = rows_to_label(model, X, X_target, 4, groups_target=groups, random_state=0)
    assert len(drawn.rows) == len(set(groups[drawn.rows])) == 4 and drawn.size.sum() == pytest.approx(4)
    assert drawn.size[12:].sum() == pytest.approx(1) and "5" in groups[drawn.rows]  # half of all rows, certain
    known = np.where(np.arange(24) == 23, 1.0, np.nan)  # a label of the largest group
    again = rows_to_label(model, X, X_target, 5, y_target=known, groups_target=groups, random_state=0)
    assert set(groups[again.rows]) == set("01234")
    with pytest.raises(InputError, match="from 1 to 5, the unlabelled target groups"):
        rows_to_label(model, X, X_target, 6, y_target=known, groups_target=groups)


def test_every_target_row_has_a_weight():
    X, y, X_target = problem(5)
    drawn = rows_to_label(LogisticRegression().fit(X, y), X, X_target, 20, random_state=0)
    weight = drawn.sample_weight_target
    np.testing.assert_array_equal(weight[drawn.rows], drawn.sample_weight)
    assert (np.delete(weight, drawn.rows) == 1).all() and weight.shape == (150,)


def test_bad_calls_are_explained():
    X, y, X_target = problem(3)
    model = LogisticRegression().fit(X, y)
    sizes: list[Any] = [0, 151, 2.5]
    for n in sizes:
        with pytest.raises(InputError, match="n="):
            rows_to_label(model, X, X_target, n)
    with pytest.raises(InputError, match="y_target"):
        rows_to_label(model, X, X_target, 3, y_target=[1, None])
    with pytest.raises(InputError, match="groups_target"):
        rows_to_label(model, X, X_target, 3, groups_target=[1, 2])
    for missing in (None, np.nan):
        with pytest.raises(InputError, match="groups_target has 1 missing values; accepted: an identifier"):
            rows_to_label(model, X, X_target, 3, groups_target=[missing, *range(149)])

    class LabelsOnly(Perceptron):
        decision_function = property()

    with pytest.raises(InputError, match="labels only"):
        rows_to_label(LabelsOnly().fit(X, y), X, X_target, 3, random_state=0)
    pairs = SVC(decision_function_shape="ovo").fit(X, np.arange(len(X)) % 3)
    with pytest.raises(InputError, match="ovr"):
        rows_to_label(pairs, X, X_target, 3, random_state=0)
