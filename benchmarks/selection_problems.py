"""The testbed of the selection bench: generated shifts of every kind, and real pairs where they are to be had.

Every `Shift` makes, for a seed, at most 600 labelled source rows, 600 target rows without labels and up to 2000 other
labelled target rows to score on. Target labels are for scoring alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scenarios import SCENARIOS, SIMULATED, scenario, simulated
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, normalize
from sklearn.svm import SVC, SVR

from da_toolkit import datasets

ROWS = 600
TEST_ROWS = 2000


class Sample(NamedTuple):
    """One draw: labelled source rows, target rows without labels, and labelled ones to score on."""

    X_source: Any
    y_source: np.ndarray
    X_target: Any
    X_test: Any
    y_test: np.ndarray


class Shift(NamedTuple):
    """One shift of the testbed; `family` is what is averaged over first, `kind` "" where it is not known."""

    name: str
    family: str
    task: str
    kind: str
    make: Callable[[int], Sample]


def generated():
    """Shifts that are there without any data: own generators and the simulated ones of SKADA-Bench."""
    for kind in SIMULATED:
        yield Shift(f"simulated {kind}", "SKADA-Bench simulated", "classification", kind, _simulated(kind))
    for kind in SCENARIOS:
        yield Shift(kind, "scenarios", "classification", "", _scenario(kind))
    makers = {
        "none": datasets.make_no_shift,
        "covariate": datasets.make_covariate_shift,
        "misspecified": datasets.make_misspecified,
        "label": datasets.make_label_shift,
        "conditional": datasets.make_conditional_shift,
        "concept": datasets.make_concept_shift,
        "mixed": datasets.make_mixed_shift,
        "support": datasets.make_support_shift,
    }
    for task, (kind, maker) in itertools.product(("classification", "regression"), makers.items()):
        kind_of = "covariate" if kind == "misspecified" else kind
        family = {"none": "no shift", "concept": "concept only"}.get(kind, f"generated, {task}")
        yield Shift(f"generated {kind}, {task}", family, task, kind_of, _generated(maker, task))
    for scene in datasets.list_scenes():
        pair = datasets.load_scene(scene.name, random_state=0)
        yield Shift(f"scene {scene.name}", "demo scenes", pair.task, pair.kind, _scene(scene.name))


def real():
    """Pairs of public data sets; raises InputError from the first one that cannot be had."""
    everyone = itertools.permutations
    yield from _pairs("amazon_reviews", everyone(["books", "dvd", "elec", "kitchen"], 2))
    newsgroups = [(("comp_1", "comp_2", "rec_1", "rec_2"), ("comp_3", "comp_4", "rec_3", "rec_4"))]
    newsgroups += [(("comp_1", "comp_3", "rec_2", "rec_4"), ("comp_2", "comp_4", "rec_1", "rec_3"))]
    newsgroups += [pair[::-1] for pair in newsgroups]
    yield from _pairs("newsgroups", newsgroups, text=True)
    yield from _pairs("imdb_genres", everyone(["Action", "Family", "War"], 2), text=True)
    yield from _pairs("sms_mail_spam", everyone(["sms", "mail"], 2), text=True)
    yield from _pairs("mushrooms", everyone(["enlarging", "tapering"], 2))
    hospitals = ["cleveland", "hungarian", "switzerland", "va"]
    yield from _pairs("heart_disease", [p for p in everyone(hospitals, 2) if p[0] != "switzerland"])
    yield from _pairs("acs_income", [("CA", state) for state in ("AL", "MD", "FL", "AK")])
    yield from _pairs("bank_marketing", [("2008", "2009"), ("2008", "2010"), ("2009", "2010")])
    batches = [("batch1", f"batch{b}") for b in (2, 3, 4, 5, 6, 8, 9)] + [("batch2", "batch3"), ("batch6", "batch8")]
    yield from _pairs("gas_sensor", batches)
    yield from _pairs("adult", [("us_born", "foreign_born")])
    yield from _pairs("student_performance", [("math_*", "portuguese_*"), ("*_GP", "*_MS")])
    yield from _pairs("compas", [("2013*", "2014*")])
    yield from _subgroups("compas", "race", ["Hispanic", "African-American", "Caucasian"])
    yield from _subgroups("compas", "sex", ["Female"])
    yield from _pairs("electricity", [([f"block{i}" for i in range(5)], [f"block{i}" for i in range(5, 10)])])
    yield from _pairs("diabetes130", [("physician_referral", "emergency_room")])
    yield from _pairs("bike_sharing", [("2011_*", "2012_*"), ("*_season1", "*_season3")])
    yield from _pairs("california_housing", [("south_*", "north_*"), ("*_coastal", "*_inland")])
    low, high = ["velocity_31.7", "velocity_39.6"], ["velocity_55.5", "velocity_71.3"]
    yield from _pairs("airfoil", [(low, high)])
    yield from _pairs("wine_quality", [("white", "red"), ("red", "white")])
    yield from _pairs("gasoline", [(None, ["U.S.A.", "CANADA"]), (None, ["TURKEY", "GREECE"])])
    # the slow ones last: hundreds of columns, ten classes
    yield from _pairs("mnist_usps", everyone(["mnist", "usps"], 2))
    yield from _pairs("office_caltech10", everyone(["amazon", "caltech", "dslr", "webcam"], 2), prepare=_share)


def models(task: str):
    """Unfitted base models by name; they take arrays and frames with categories and missing values."""
    if task == "classification":
        heads = {
            "logistic": LogisticRegression(max_iter=2000),
            "svm": SVC(),
            "boosting": HistGradientBoostingClassifier(max_iter=60, random_state=0),
        }
    else:
        heads = {
            "ridge": RidgeCV(np.logspace(-2, 4, 13)),
            "svm": SVR(C=10),
            "boosting": HistGradientBoostingRegressor(max_iter=60, random_state=0),
        }
    return heads


def build(head: Any, X: Any) -> Any:
    """The head behind an encoder of the columns."""
    if not isinstance(X, pd.DataFrame):
        return make_pipeline(StandardScaler(), head)
    numbers = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=5)
    select = make_column_selector
    encoder = make_column_transformer(
        (numbers, select(dtype_include="number")), (categories, select(dtype_exclude="number"))
    )
    return make_pipeline(encoder, head)


# --- draws -------------------------------------------------------------------------------------------------


def _simulated(kind):
    def make(seed):
        p = simulated(kind, seed)
        return Sample(*_some(p.X_source, p.y_source, seed), _some(p.X_target, None, seed)[0], p.X_test, p.y_test)

    return make


def _scenario(kind):
    def make(seed):
        p = scenario(kind, ROWS, seed, n_test=TEST_ROWS)
        return Sample(p.X_source, p.y_source, p.X_target, p.X_test, p.y_test)

    return make


def _generated(maker, task):
    def make(seed):
        pair = maker(ROWS, ROWS + TEST_ROWS, task=task, random_state=seed)
        return _halve(pair, ROWS)

    return make


def _scene(name):
    def make(seed):
        pair = datasets.load_scene(name, random_state=seed)
        return _halve(pair, len(pair.y_target) // 2)

    return make


def _halve(pair, n):
    """A pair with the target's rows after the first n kept for scoring."""
    X = pair.X_target
    first, rest = (X.iloc[:n], X.iloc[n:]) if isinstance(X, pd.DataFrame) else (X[:n], X[n:])
    return Sample(pair.X_source, pair.y_source, first, rest, pair.y_target[n:])


def _subgroups(name, column, values):
    """Rows with one value of a column as target, all others as source; no model sees the column."""
    data = datasets.fetch(name)
    by_value = replace(data, X=data.X.drop(columns=column), domain=data.X[column].to_numpy(str))
    yield from _pairs(name, [(None, value) for value in values], data=by_value, family=f"{name} by {column}")


def _pairs(name, tasks, *, text=False, prepare=None, data=None, family=None):
    data = datasets.fetch(name) if data is None else data
    for source, target in tasks:
        label = " -> ".join("rest" if s is None else s if isinstance(s, str) else "+".join(s) for s in (source, target))
        yield Shift(
            f"{name} {label}",
            family or name,
            data.entry.task,
            "",
            lambda seed, task=(source, target): _draw(data, *task, seed, text, prepare),
        )


def _draw(data, source, target, seed, text, prepare):
    rng = np.random.default_rng(seed)
    j = rng.permutation(data.rows(target))
    i = np.setdiff1d(np.arange(len(data.y)), j) if source is None else data.rows(source)
    i = rng.permutation(i)[:ROWS]
    n = min(ROWS, len(j) // 2)
    j, test = j[:n], j[n : n + TEST_ROWS]
    if text:  # the usual view of texts: components of the normalised rows that are at hand
        seen = normalize(data.X[np.r_[i, j]])
        components = TruncatedSVD(100, random_state=0).fit(seen)
        sides = [normalize(components.transform(normalize(data.X[rows]))) for rows in (i, j, test)]
    elif isinstance(data.X, pd.DataFrame):
        sides = [data.X.iloc[rows].reset_index(drop=True) for rows in (i, j, test)]
    else:
        sides = [(prepare or np.asarray)(data.X[rows]) for rows in (i, j, test)]
    return Sample(sides[0], data.y[i], sides[1], sides[2], data.y[test])


def _share(X):
    """Visual-word counts as shares of their row."""
    return X / X.sum(axis=1, keepdims=True)


def _some(X, y, seed):
    rows = np.random.default_rng(seed).permutation(len(X))[:ROWS]
    return X[rows], None if y is None else y[rows]
