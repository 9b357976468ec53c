"""The nuisance models of the tests: what they are shown of many columns."""

import numpy as np
import pandas as pd

from shift_detectors._boundary import read_problem
from shift_detectors._domain_classifier import prequential_scores
from shift_detectors._learners import (
    TREE_COLUMNS,
    Inputs,
    _usable,
    crossfit_learners,
    crossfit_probabilities,
    domain_folds,
    make_folds,
    most_correlated,
)


def many_columns():
    """Of 300 columns one speaks of the class by its values, one by its squares, one by its gaps."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 300)), rng.integers(0, 3, 400)
    X[:, 7] += y == 1
    X[:, 50] *= 1 + (y == 2)
    X[(y == 0) & (rng.random(400) < 0.5), 120] = np.nan
    return X, y, rng.choice(list("abc"), 400)


def test_of_many_columns_trees_see_those_that_speak_of_what_they_predict():
    X, y, site = many_columns()
    assert set(most_correlated(X, np.eye(3)[y], 3)) == {7, 50, 120}
    frame = pd.DataFrame(X, columns=[f"v{k}" for k in range(300)]).assign(site=site)
    inputs = Inputs.of(read_problem(frame[:200], y[:200], frame[200:]).table)
    train, rows = np.arange(300), np.arange(300, 400)
    seen, new, categorical = _usable(inputs, train, rows, np.eye(3)[y[train]])
    assert seen.shape == (300, TREE_COLUMNS + 1) and new.shape == (100, TREE_COLUMNS + 1)
    assert categorical.tolist() == [False] * TREE_COLUMNS + [True]
    few = Inputs(inputs.linear, inputs.trees[:, :TREE_COLUMNS], None)
    assert _usable(few, train, rows, np.eye(3)[y[train]])[0].shape == (300, TREE_COLUMNS)


def test_a_row_is_held_out_together_with_its_twin_on_the_other_side():
    rows = np.random.default_rng(0).normal(size=(90, 4))
    table = read_problem(rows[:40], None, rows).table
    fold = domain_folds(table, 5, 0)
    np.testing.assert_array_equal(fold[:40], fold[40:80])
    assert (np.bincount(fold[:40]) == 8).all()
    apart = read_problem(rows[:40], None, rows[40:]).table
    np.testing.assert_array_equal(domain_folds(apart, 5, 0), make_folds(apart.domain, 5, 0))


def test_the_class_is_predicted_out_of_many_columns():
    X, y, _ = many_columns()
    inputs = Inputs.of(read_problem(X[:200], y[:200], X[200:]).table)
    proba = crossfit_probabilities(inputs, y, np.arange(400) % 5, 3)
    assert (proba.argmax(axis=1) == y).mean() > 0.45


def test_the_last_fold_is_predicted_by_the_same_models_whether_all_others_precede_it_or_it_is_held_out():
    X, _, _ = many_columns()
    table = read_problem(X[:150, :10], None, X[150:, :10]).table
    inputs, domain, fold = Inputs.of(table), table.domain.astype(int), domain_folds(table, 5, 0)
    weight = np.random.default_rng(0).uniform(0.5, 2, 400)
    for w in (None, weight):
        learners = crossfit_learners(inputs, domain, fold, 2, weight=w)
        fitted = prequential_scores(inputs, domain, fold, w)
        np.testing.assert_allclose(prequential_scores(inputs, domain, fold, w, learners), fitted, rtol=1e-12)
