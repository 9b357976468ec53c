import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from da_toolkit import _base, adapt
from da_toolkit._base import BaseAdapter
from da_toolkit._domains import read_domains
from da_toolkit._model import fit_front, fit_weighted, is_frozen, join_model, refuse_frozen, split_model
from da_toolkit._numeric_columns import NumericColumns
from da_toolkit._parameters import read_prior
from da_toolkit._rows import in_form_of
from da_toolkit._source_only import SourceOnly
from da_toolkit._target import Target
from da_toolkit.alignment import CORAL, FeatureAlignment
from da_toolkit.label_shift import BBSE, MLLS, PriorCorrection
from da_toolkit.transfer import OffsetBoosting, PriorCentered, TransferStack
from da_toolkit.validation import ImportanceWeightedScore
from da_toolkit.weighting import KMM, ClassifierRatio, ImportanceWeighting, RuLSIF
from shift_detectors._errors import InputError, ShiftWarning


class Shifted(BaseAdapter):
    """Moves target rows by a constant in front of the head: the least that takes two paths."""

    def __init__(self, estimator, offset=0.0, at=None):
        self.estimator = estimator
        self.offset = offset
        self.at = at

    def _fit(self, domains):
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, _ = fit_front(front, domains)
        self.head_ = fit_weighted(head, Z, domains.y, domains.sample_weight)
        self.domains_ = domains

    def _map(self, Z, domain):
        return Z - self.offset if domain == "target" else Z


@pytest.mark.parametrize(
    "prior",
    [[0.1, 0.9], {"yes": 0.9, "no": 0.1}, pd.Series({"yes": 0.9, "no": 0.1}), pd.Series([0.1, 0.9], ["no", "yes"])],
    ids=["array", "dict", "Series", "sorted Series"],
)
def test_a_given_prior_belongs_to_the_classes_that_it_names(prior):
    np.testing.assert_allclose(read_prior(prior, np.array(["no", "yes"]), "prior"), [0.1, 0.9])


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (
            {"yes": 1.0},
            r"class_prior with frequencies of the classes \['yes'\].*\['no', 'yes'\].*lacks has the frequency 0",
        ),
        (pd.Series([0.1, 0.9]), r"class_prior with frequencies of the classes \[0, 1\]"),
        (pd.Series({"yes": 90, "no": 10}), "sum to 1"),
        ([0.5, 0.6], "sum to 1"),
        ([-0.5, 1.5], "frequencies >= 0"),
        ([np.nan, 1.0], "frequencies >= 0"),
        ([1.0], r"class_prior of shape \(1,\)"),
    ],
)
def test_a_given_prior_that_cannot_be_one_is_explained(prior, message):
    with pytest.raises(InputError, match=message):
        read_prior(prior, np.array(["no", "yes"]), "class_prior")


def data(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, (X[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(int), rng.normal(size=(n, 3)) + 1


def test_domains_take_their_own_paths():
    X, y, Xt = data()
    plain = LogisticRegression().fit(X, y)
    adapter = Shifted(LogisticRegression(), offset=1.0).fit(X, y, Xt)
    np.testing.assert_array_equal(adapter.predict(Xt), plain.predict(Xt - 1))
    np.testing.assert_array_equal(adapter.predict_source(X), plain.predict(X))
    np.testing.assert_allclose(adapter.predict_proba(Xt), plain.predict_proba(Xt - 1))
    np.testing.assert_allclose(adapter.predict_proba_source(X), plain.predict_proba(X))
    np.testing.assert_allclose(adapter.decision_function(Xt), plain.decision_function(Xt - 1))
    assert adapter.score(Xt, y) == plain.score(Xt - 1, y)


def test_sklearn_contract():
    X, y, Xt = data()
    adapter = Shifted(make_pipeline(StandardScaler(), LogisticRegression()))
    assert is_classifier(adapter) and is_regressor(Shifted(LinearRegression()))
    assert adapter.get_params()["estimator__logisticregression__C"] == 1.0
    assert not hasattr(adapter, "classes_")
    fitted = clone(adapter).fit(X, y, Xt)
    assert fitted.classes_.tolist() == [0, 1] and fitted.n_features_in_ == 3
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(Xt), fitted.predict(Xt))
    assert not hasattr(fitted, "feature_names_in_")


def test_a_pickle_of_another_version_is_told(monkeypatch):
    X, y, Xt = data()
    fitted = Shifted(LogisticRegression()).fit(X, y, Xt)
    now = pickle.dumps(fitted)
    monkeypatch.setattr(_base, "__version__", "99.0")
    other = pickle.dumps(fitted)
    with pytest.warns(
        ShiftWarning, match=r"Shifted was saved by da-toolkit \d+\.\d+\.\d+ and is loaded by 99\.0"
    ) as seen:
        again = pickle.loads(now)
    assert seen[0].filename == __file__
    assert vars(again).keys() == vars(fitted).keys() == vars(pickle.loads(other)).keys()


def test_methods_follow_the_wrapped_model():
    X, y, Xt = data()
    assert not hasattr(Shifted(RidgeClassifier()), "predict_proba")
    assert not hasattr(Shifted(RidgeClassifier()).fit(X, y, Xt), "predict_proba")
    assert hasattr(Shifted(RidgeClassifier()), "decision_function")
    assert hasattr(Shifted(KNeighborsClassifier()), "predict_proba")
    with pytest.raises(AttributeError):
        _ = Shifted(LinearRegression()).fit(X, X[:, 0], Xt).classes_


@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "sparse"])
def test_grid_search_passes_the_target_whole(kind):
    X, y, Xt = data()
    if kind == "pandas":
        X, Xt = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(Xt, columns=list("abc"))
    elif kind == "polars":
        polars = pytest.importorskip("polars")
        X, Xt = polars.DataFrame(X, schema=list("abc")), polars.DataFrame(Xt, schema=list("abc"))
    elif kind == "sparse":
        X, Xt = sparse.csr_array(X), sparse.csr_array(Xt)
    rows = []

    class Counting(Shifted):
        def _fit(self, domains):
            rows.append((domains.X.shape[0], domains.X_target.shape[0]))
            super()._fit(domains)

    model = Counting(LogisticRegression())
    search = GridSearchCV(model, {"estimator__C": [0.1, 1]}, cv=3, error_score="raise")
    search.fit(X, y, X_target=Target(Xt))
    assert rows == [(80, 120)] * 6 + [(120, 120)]
    assert search.predict(Xt).shape == (120,)


def test_adapters_nest():
    X, y, Xt = data()
    nested = SourceOnly(SourceOnly(LogisticRegression()))
    with pytest.raises(InputError, match="X_target"):  # the inner one is told, not left silently unadapted
        nested.fit(X, y, Xt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_target": None}, "without X_target"),
        ({"X_target": np.ones((4, 2))}, "2 columns; accepted: the 3 columns"),
        ({"X_target": np.ones((0, 3))}, "0 rows"),
        ({"X_target": np.ones(3)}, r"shape \(3,\)"),
        ({"X": np.ones((0, 3)), "y": []}, "0 rows"),
        ({"y": None}, "without y"),
        ({"y": [0, 1]}, r"y has shape \(2,\)"),
        ({"y": np.zeros((120, 2))}, r"y has shape \(120, 2\); accepted: .*Several outputs are adapted one at a time"),
        ({"y": [[0, 1]] * 120}, r"y has shape \(120, 2\); .*one at a time"),
        ({"y_target": np.zeros((120, 3))}, r"y_target has shape \(120, 3\); .*one at a time"),
        ({"groups": np.zeros((120, 2))}, r"groups has shape \(120, 2\); .*Pass one column"),
        ({"y": [0.0, np.nan] * 60}, "60 of the 120 values of y are missing"),
        ({"y": [1] * 120}, "single class"),
        ({"y_target": [0] * 4}, r"y_target has shape \(4,\)"),
        ({"y_target": [0, 1, 2] * 40}, r"classes \[2\]"),
        ({"y_target": [0.5, 1] * 60}, "type int64"),
        ({"y_target": ["a", "b"] * 60}, "type int64"),
        ({"sample_weight": [-1] * 120}, "sample_weight"),
        ({"sample_weight": [1, 2]}, r"sample_weight has shape \(2,\)"),
        ({"groups": [1, 2]}, r"groups has shape \(2,\)"),
        ({"source_domain": [1, 2]}, r"source_domain has shape \(2,\)"),
    ],
)
def test_bad_input(change, message):
    X, y, Xt = data()
    arguments = {"X": X, "y": y, "X_target": Xt} | change
    with pytest.raises(InputError, match=message):
        Shifted(LogisticRegression()).fit(**arguments)


class Untagged(BaseEstimator):
    """A classifier of one's own that forgot ClassifierMixin."""

    def fit(self, X, y):
        raise AssertionError("fitted before it was asked what it is")

    predict = fit


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array(["a", "b"]), np.array([0.5, 1.5])])
@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline, FrozenEstimator])
def test_a_model_says_whether_it_is_a_classifier(wrap, labels):
    X, y, Xt = data()
    with pytest.raises(InputError, match="does not say whether it is a classifier.*ClassifierMixin"):
        Shifted(wrap(Untagged())).fit(X, labels[y], Xt)


def test_labels_that_are_no_numbers_need_a_classifier():
    X, y, Xt = data()
    with pytest.raises(InputError, match="LinearRegression is no classifier, and y has values such as '[ab]'"):
        Shifted(make_pipeline(StandardScaler(), LinearRegression())).fit(X, np.array(["a", "b"])[y], Xt)


@pytest.mark.parametrize(
    ("adapter", "option", "wrong", "right"),
    [
        (ImportanceWeighting, "ratio", ["rulsif", RuLSIF, CORAL(), MLLS()], KMM()),
        (FeatureAlignment, "aligner", ["CORAL", CORAL, KMM(), MLLS()], CORAL()),
        (FeatureAlignment, "class_prior", [MLLS, KMM(), CORAL()], MLLS()),
        (PriorCorrection, "prior", ["MLLS", MLLS, KMM(), CORAL()], BBSE()),
    ],
)
def test_a_method_is_an_object_of_its_kind(adapter, option, wrong, right):
    X, y, Xt = data()
    for method in wrong:
        with pytest.raises(InputError, match=rf"{option}=.*; accepted: .* such as \w+\(\).* Pass one\."):
            adapter(LogisticRegression(), **{option: method}).fit(X, y, Xt)
    adapter(LogisticRegression(), **{option: right}).fit(X, y, Xt)


@pytest.mark.parametrize("ratio", ["rulsif", RuLSIF, CORAL()])
def test_a_score_takes_a_ratio_object(ratio):
    X, y, Xt = data()
    model = LogisticRegression().fit(X, y)
    with pytest.raises(InputError, match=r"ratio=.*RuLSIF\(\), or None"):
        ImportanceWeightedScore(Xt, ratio=ratio)(model, X, y)


@pytest.mark.parametrize("use", [SourceOnly(LogisticRegression()).fit, partial(adapt, LogisticRegression())])
def test_names_of_columns_are_all_text_or_none_of_them(use):
    rng = np.random.default_rng(0)
    X, X_target = (pd.DataFrame(rng.normal(size=(20, 3)), columns=[1.5, "a", 0]) for _ in range(2))
    with pytest.raises(InputError, match="such as 1.5; accepted: names that are all text. Make them text"):
        use(X, np.arange(20) % 2, X_target)
    assert ClassifierRatio(random_state=0).fit(X, X_target) is not None  # no model of the user's
    numbers = X.set_axis([1.5, 2, 0], axis=1), X_target.set_axis([1.5, 2, 0], axis=1)
    assert use(numbers[0], np.arange(20) % 2, numbers[1]).predict(numbers[1]).shape == (20,)


@pytest.mark.parametrize("use", [SourceOnly(LogisticRegression()).fit, partial(adapt, LogisticRegression())])
@pytest.mark.filterwarnings("ignore:Only X:shift_detectors.ShiftWarning")
def test_columns_have_names_of_their_own(use):
    X, y, Xt = data()
    named = [pd.DataFrame(rows, columns=["a", "b", "a"]) for rows in (X, Xt)]
    with pytest.raises(InputError, match="has several columns called .*'a'.*; accepted: distinct names. Rename them"):
        use(named[0], y, named[1])
    with pytest.raises(InputError, match=r"X lacks the columns \['c'\]"):
        SourceOnly(LogisticRegression()).fit(pd.DataFrame(X, columns=list("abc")), y, Xt).predict(named[1])


def test_columns_by_name():
    X, y, Xt = data()
    frame, target = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(Xt, columns=list("abc"))
    with pytest.raises(InputError, match=r"another order.*X_target\[list\(X.columns\)\]"):
        Shifted(LogisticRegression()).fit(frame, y, target[["b", "a", "c"]])
    with pytest.raises(InputError, match="lacks the columns"):
        Shifted(LogisticRegression()).fit(frame, y, target.rename(columns={"a": "z"}))
    adapter = Shifted(LogisticRegression()).fit(frame, y, target)
    assert adapter.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"another order.*X\[list\(model.feature_names_in_\)\]"):
        adapter.predict(target[["b", "a", "c"]])
    for rows, message in [
        (target[["a", "c"]], r"X lacks the columns \['b'\]; accepted: the 3 columns"),
        (target.assign(d=0), r"X has the columns \['d'\]; accepted"),
        (target.rename(columns={"a": "z"}), r"X lacks the columns \['a'\] and has the columns \['z'\]; accepted"),
    ]:
        with pytest.raises(InputError, match=message):
            adapter.predict(rows)
    with pytest.raises(InputError, match="2 columns"):
        adapter.predict(Xt[:, :2])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_partly_labelled_targets(missing):
    X, y, Xt = data()
    domains = Shifted(LogisticRegression()).fit(X, y, Xt, [1, missing] * 60).domains_
    assert domains.labelled.sum() == 60 and domains.y_target.dtype == y.dtype
    assert (domains.y_target[domains.labelled] == 1).all()
    strings = np.where(y == 1, "yes", "no")
    domains = Shifted(LogisticRegression()).fit(X, strings, Xt, pd.Series(["yes", missing] * 60)).domains_
    assert set(domains.y_target[domains.labelled]) == {"yes"}
    domains = Shifted(LogisticRegression()).fit(X, y, Xt, [missing] * 120).domains_
    assert domains.y_target is None and not domains.labelled.any()
    domains = Shifted(LogisticRegression()).fit(X, y, Target(Xt, ["1", missing] * 60)).domains_
    assert domains.y_target[0] == 1


def test_score_uses_the_labelled_rows():
    X, y, Xt = data()
    adapter = Shifted(LogisticRegression()).fit(X, y, Xt)
    half = y.astype(object).copy()
    half[::2] = None
    assert adapter.score(X, half) == adapter.score(X[1::2], y[1::2])
    with pytest.raises(InputError, match="no label"):
        adapter.score(X, [None] * 120)
    regressor = Shifted(LinearRegression()).fit(X, X[:, 0], Xt)
    assert regressor.score(X, np.where(np.arange(120) < 60, X[:, 0], np.nan)) == pytest.approx(1)


def test_split_and_join():
    pipe = make_pipeline(StandardScaler(), SelectKBest(k=2), LogisticRegression())
    front, head = split_model(pipe)
    assert list(front.named_steps) == ["standardscaler", "selectkbest"] and head is pipe[-1]
    front, head = split_model(pipe, at="selectkbest")
    assert len(front) == 1 and len(head) == 2
    assert split_model(pipe, at="input") == (None, pipe)
    assert split_model(pipe[-1]) == (None, pipe[-1])
    with pytest.raises(InputError, match="at='nowhere'"):
        split_model(pipe, at="nowhere")
    X, y, Xt = data()
    pipe.fit(X, y)
    for model in (pipe, FrozenEstimator(pipe)):
        for at in (None, "selectkbest", "input"):
            front, head = split_model(model, at)
            assert is_frozen(head) == is_frozen(model)
            joined = join_model(front, head)
            np.testing.assert_array_equal(joined.predict(Xt), pipe.predict(Xt))


def test_frozen():
    X, y, Xt = data()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert is_frozen(FrozenEstimator(model)) and not is_frozen(model)
    assert is_frozen(make_pipeline(StandardScaler(), FrozenEstimator(model[-1])))
    with pytest.raises(InputError, match="FrozenEstimator"):
        refuse_frozen(FrozenEstimator(model), "Method")
    before = model[-1].coef_.copy()
    frozen = FrozenEstimator(model)
    adapter = SourceOnly(frozen).fit(X[:50], 1 - y[:50], Xt)
    assert adapter.estimator_ is frozen and adapter.estimator_.estimator is model
    np.testing.assert_array_equal(model[-1].coef_, before)
    two_paths = Shifted(frozen, offset=1.0).fit(X[:50], 1 - y[:50], Xt)
    np.testing.assert_array_equal(two_paths.front_.transform(X), model[0].transform(X))


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1.0]}, cv=2),
    ],
)
def test_weights_reach_the_last_step(model):
    X, y, _ = data()
    weight = np.where(np.arange(120) % 2, 1e-9, 1.0)
    weighted = fit_weighted(model, X, y, weight)
    scaler = None if isinstance(model, LogisticRegression) else StandardScaler().fit(X)
    Z = X if scaler is None else scaler.transform(X)
    expected = LogisticRegression().fit(Z[::2], y[::2]).predict_proba(Z)
    np.testing.assert_allclose(weighted.predict_proba(X), expected, atol=1e-3)


def test_resampling_where_weights_are_not_taken():
    X, y, _ = data()
    weight = np.where(X[:, 1] > 0, 3.0, 1.0)
    with pytest.warns(ShiftWarning, match="KNeighborsClassifier.fit takes no sample_weight"):
        model = fit_weighted(KNeighborsClassifier(1), X, y, weight, random_state=0)
    counts = pd.DataFrame(model._fit_X).groupby([0, 1, 2]).size()
    assert counts.sum() == 120
    expected = 120 * weight / weight.sum()
    drawn = np.array([counts.get(tuple(row), 0) for row in X])
    assert np.all((drawn >= np.floor(expected)) & (drawn <= np.ceil(expected)))
    with pytest.warns(ShiftWarning):
        same = fit_weighted(KNeighborsClassifier(1), X, y, np.full(120, 0.7), random_state=0)
    np.testing.assert_array_equal(same._fit_X, X)


@pytest.mark.parametrize("model", [make_pipeline(StandardScaler(), LogisticRegression()), KNeighborsClassifier(5)])
def test_weights_reach_the_model_that_is_calibrated(model):
    """Where it takes none as it stands in there, the rows are drawn by weight; they decide what it learns."""
    rng = np.random.default_rng(0)
    X, site = rng.normal(size=(400, 2)), np.repeat([False, True], 200)
    y = np.where(site, X[:, 0] > 0, X[:, 0] < 0).astype(int)
    with pytest.warns(ShiftWarning, match="CalibratedClassifierCV.fit takes no sample_weight for the model in it"):
        fitted = fit_weighted(CalibratedClassifierCV(model), X, y, np.where(site, 1.0, 1e-3), random_state=0)
    inner = fitted.calibrated_classifiers_[0].estimator
    assert np.mean(inner.predict(X[site]) == y[site]) > 0.9


def test_weights_of_a_calibration_are_passed_where_they_arrive():
    X, y, _ = data()
    weight = np.where(np.arange(120) % 2, 1e-9, 1.0)
    fitted = fit_weighted(CalibratedClassifierCV(LogisticRegression(), ensemble=False), X, y, weight)
    expected = LogisticRegression().fit(X[::2], y[::2]).coef_
    np.testing.assert_allclose(fitted.calibrated_classifiers_[0].estimator.coef_, expected, atol=1e-3)


def test_resampling_keeps_every_class():
    X, y, _ = data()
    y[:3] = 2
    with pytest.warns(ShiftWarning):
        model = fit_weighted(KNeighborsClassifier(1), X, y, np.where(y == 2, 1e-6, 1.0), random_state=0)
    assert model.classes_.tolist() == [0, 1, 2]


def test_caller_data_is_not_modified():
    X, y, Xt = data()
    frame, target = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(Xt, columns=list("abc"))
    y_target = pd.Series([1, None] * 60, dtype="Int64")
    copies = frame.copy(), y.copy(), target.copy(), y_target.copy()
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    adapter = Shifted(estimator).fit(frame, y, target, y_target)
    adapter.predict(target)
    pd.testing.assert_frame_equal(frame, copies[0])
    np.testing.assert_array_equal(y, copies[1])
    pd.testing.assert_frame_equal(target, copies[2])
    pd.testing.assert_series_equal(y_target, copies[3])
    assert not hasattr(estimator[-1], "coef_")


def test_numeric_columns():
    nullable = pd.array([1, None], "Int64")
    frame = pd.DataFrame({"a": [1, 2], "b": ["u", "v"], "c": [True, False], "d": nullable})
    part = NumericColumns(frame)
    assert part.names == ["a", "d"]
    values = part.extract(frame)
    assert values.dtype == float and np.isnan(values[1, 1])
    out = part.replace(frame, values * 2)
    assert out.columns.tolist() == list("abcd") and out["a"].tolist() == [2, 4]
    assert frame["a"].tolist() == [1, 2] and out["c"].dtype == bool
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"a": [1, 2], "b": ["u", "v"]})
    out = NumericColumns(table).replace(table, np.array([[0.5], [1.5]]))
    assert isinstance(out, polars.DataFrame) and out["a"].to_list() == [0.5, 1.5]
    assert table["a"].to_list() == [1, 2]
    with pytest.raises(InputError, match="sparse"):
        NumericColumns(sparse.csr_array(np.eye(2)))
    with pytest.raises(InputError, match="no numeric column"):
        NumericColumns(frame[["b"]])


def test_source_only_is_the_model_itself():
    X, y, Xt = data()
    adapter = SourceOnly(LogisticRegression()).fit(X, y, Xt)
    np.testing.assert_array_equal(adapter.head_.coef_, LogisticRegression().fit(X, y).coef_)
    other = SourceOnly(LogisticRegression()).fit(X, y, Xt + 100)
    np.testing.assert_array_equal(other.head_.coef_, adapter.head_.coef_)
    weight = np.linspace(0.1, 2, 120)
    weighted = SourceOnly(LogisticRegression()).fit(X, y, Xt, sample_weight=weight)
    np.testing.assert_array_equal(weighted.head_.coef_, LogisticRegression().fit(X, y, weight).coef_)


@pytest.mark.parametrize(
    "rows, said",
    [
        (np.zeros((5, 1, 8, 8)), "5 rows of shape (1, 8, 8)"),
        ([[1.0, 2.0]], "1 rows, 2 columns"),
        (sparse.csr_array(np.eye(3)), "3 rows, 3 columns"),
        (object(), "object"),
    ],
)
def test_target_says_what_it_holds(rows, said):
    assert repr(Target(rows)) == f"Target({said}, no labels)"
    assert repr(Target(rows, [0])) == f"Target({said}, labels)"


def test_target_has_no_length():
    target = Target(np.zeros((3, 2)), [1, None, 0])
    assert not hasattr(target, "__len__") and not hasattr(target, "shape")
    with pytest.raises(InputError, match="both in Target"):
        read_domains(np.ones((4, 2)), [0, 1, 0, 1], target, [1, 0, 1], classification=True)


KINDS = {
    "array": lambda X: X,
    "pandas": lambda X: pd.DataFrame(X, columns=list("abc")),
    "numbered": pd.DataFrame,
    "polars": lambda X: pytest.importorskip("polars").DataFrame(X, schema=list("abc")),
    "sparse": sparse.csr_array,
}


@pytest.mark.filterwarnings("ignore:Only X:shift_detectors.ShiftWarning")
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize(
    "adapter",
    [
        FeatureAlignment(LogisticRegression(), CORAL(), random_state=0),
        ImportanceWeighting(LogisticRegression(), RuLSIF(), random_state=0),
        OffsetBoosting(LogisticRegression(), max_iter=3, random_state=0),
    ],
    ids=lambda adapter: type(adapter).__name__,
)
def test_domains_may_be_tables_of_different_kinds(adapter, source, target):
    if {source, target} in ({"pandas", "numbered"}, {"polars", "numbered"}):
        return  # two frames, whose names differ
    X, y, Xt = data()
    few = np.where(np.arange(120) < 30, y, np.nan)
    S, T = KINDS[source], KINDS[target]
    expected = clone(adapter).fit(S(X), y, S(Xt), few).predict_proba(S(Xt))
    model = clone(adapter).fit(S(X), y, T(Xt), few)
    np.testing.assert_allclose(model.predict_proba(T(Xt)), expected)
    np.testing.assert_allclose(model.predict_proba(S(Xt)), expected)


@pytest.mark.parametrize("fitted, asked", [("pandas", "polars"), ("polars", "pandas")])
def test_a_model_sees_the_kind_of_frame_that_it_was_fitted_on(fitted, asked):
    pl = pytest.importorskip("polars")
    moment = pd.to_datetime(["2026-11-23", None])
    table = {
        "number": [1.0, np.nan],
        "text": ["x", None],
        "category": pd.Categorical(["u", None]),
        "day": moment,
        "moment": moment.tz_localize("UTC"),
        "span": pd.to_timedelta([1, None], unit="D"),
        "truth": [True, False],
        "count": pd.array([1, None], dtype="Int64"),
    }
    form = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
    ours = pd.DataFrame(table, index=[5, 7])
    theirs = in_form_of(form["polars"]({"a": [0]}), ours, "X", "X of fit")
    assert theirs.columns == list(table) and theirs["moment"][0] == ours["moment"].iloc[0]
    assert [theirs[name][1] for name in ("text", "category", "day", "moment", "span")] == [None] * 5
    back = in_form_of(ours, theirs, "X", "X of fit")
    assert back["category"].tolist() == ["u", None] and back["moment"].iloc[0] == ours["moment"].iloc[0]

    X, y, Xt = data()
    names = ["a", "b", "c"]
    frames = {"pandas": pd.DataFrame(X, columns=names), "polars": pl.DataFrame(X, schema=names)}
    seen = []
    look = FunctionTransformer(lambda X: (seen.append(type(X)), np.asarray(X))[1])
    model = SourceOnly(make_pipeline(look, LogisticRegression())).fit(frames[fitted], y, frames[asked])
    model.predict(frames[asked])
    assert set(seen) == {form[fitted]} and len(seen) > 1


def test_columns_that_go_by_position_are_told():
    X, y, Xt = data()
    named = pd.DataFrame(X, columns=list("abc"))
    with pytest.warns(ShiftWarning, match="Only X has names of columns: these were matched by position"):
        SourceOnly(LogisticRegression()).fit(named, y, Xt)
    with pytest.warns(ShiftWarning, match="Only X_target has names"):
        model = SourceOnly(LogisticRegression()).fit(X, y, named)
    with pytest.warns(ShiftWarning, match="Only X has names"):
        model.predict(named)
    with pytest.warns(ShiftWarning, match="Only X of fit has names"):
        SourceOnly(LogisticRegression()).fit(named, y, named).predict(X)


@pytest.mark.parametrize("kind", [lambda X: X, pd.DataFrame], ids=["array", "frame"])
def test_text_beside_numbers_is_refused(kind):
    X, y, _ = data()
    rows = kind(np.full((120, 3), "u", dtype=object))
    with pytest.raises(InputError, match="X_target has values that are not numbers .*numbers, as in X"):
        SourceOnly(LogisticRegression()).fit(sparse.csr_array(X), y, rows)


@pytest.mark.filterwarnings("ignore:Only X:shift_detectors.ShiftWarning")
def test_adapt_takes_an_array_beside_a_frame():
    X, y, Xt = data()
    few = np.where(np.arange(120) < 60, Xt[:, 1] > 1, np.nan)
    named, options = pd.DataFrame(X, columns=list("abc")), {"candidates": ["PriorCentered"], "random_state": 0}
    frames = adapt(LogisticRegression(), named, y, pd.DataFrame(Xt, columns=list("abc")), few, **options)
    mixed = adapt(LogisticRegression(), named, y, Xt, few, **options)
    assert (mixed.adapter, mixed.status) == (frames.adapter, frames.status) == ("PriorCentered", "verified")
    np.testing.assert_allclose(mixed.estimator.predict(Xt), frames.estimator.predict(Xt))


@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline], ids=["bare", "Pipeline"])
@pytest.mark.parametrize("way", [PriorCorrection, OffsetBoosting], ids=lambda way: way.__name__)
def test_a_stack_needs_no_final_estimator(way, wrap):
    X, y, Xt = data()
    few = np.where(np.arange(120) < 30, y, np.nan)
    lines = [("line", LogisticRegression())]
    default, named = (wrap(StackingClassifier(lines, end)) for end in (None, LogisticRegression()))
    models = [way(stack, random_state=0) for stack in (default, named)]
    assert hasattr(models[0], "predict_proba")
    answers = [model.fit(X, y, Xt, few).predict_proba(Xt) for model in models]
    np.testing.assert_array_equal(*answers)
    assert not hasattr(default, "predict")  # the caller's is as it was


def test_adapt_takes_a_stack_without_final_estimator():
    X, y, Xt = data()
    stack = StackingClassifier([("line", LogisticRegression())])
    assert adapt(stack, X, y, Xt - 1, scoring="neg_log_loss", random_state=0).adapter == "SourceOnly"
    assert stack.final_estimator is None


@pytest.mark.parametrize("way", [PriorCentered, OffsetBoosting, TransferStack], ids=lambda way: way.__name__)
def test_cross_fitted_weights_need_no_routing(way):
    X, y, Xt = data()
    few, weight = np.where(np.arange(120) < 12, y, np.nan), 1 + X[:, 0] ** 2
    model = way(LogisticRegression(), random_state=0)
    expected = clone(model).fit(X, y, Xt, few, sample_weight=weight).predict_proba(Xt)
    with config_context(enable_metadata_routing=True):
        np.testing.assert_array_equal(model.fit(X, y, Xt, few, sample_weight=weight).predict_proba(Xt), expected)


@pytest.mark.parametrize("kind", [lambda X: X, pd.DataFrame, sparse.csr_array], ids=["array", "frame", "sparse"])
def test_complex_numbers_are_refused(kind):
    X, y, Xt = data()
    with pytest.raises(InputError, match="X_target holds complex numbers; accepted: real numbers. Pass real and imag"):
        SourceOnly(LogisticRegression()).fit(X, y, kind(Xt + 1j))
    with pytest.raises(InputError, match="X holds complex numbers"):
        SourceOnly(LogisticRegression()).fit(X, y, Xt).predict(kind(Xt + 1j))


def test_rows_still_to_be_computed_are_refused():
    X, y, _ = data()
    lazy = pytest.importorskip("polars").LazyFrame(X)
    with pytest.raises(InputError, match=r"X_target is a polars LazyFrame.* Pass X_target.collect\(\)"):
        SourceOnly(LogisticRegression()).fit(X, y, lazy)


def test_masked_values_are_missing():
    X, y, Xt = data()
    masked = np.ma.masked_array(Xt, mask=Xt > 2)
    model = SourceOnly(HistGradientBoostingClassifier(max_iter=3)).fit(X, y, masked)
    np.testing.assert_array_equal(model.predict_proba(masked), model.predict_proba(np.where(Xt > 2, np.nan, Xt)))


@pytest.mark.parametrize("name", ["groups", "source_domain"])
@pytest.mark.parametrize("ids", [[1.0, 1.0, np.nan], ["a", "a", None], ["a", "a", np.nan]])
def test_missing_identifiers_are_refused(name, ids):
    X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    with pytest.raises(InputError, match=f"{name} has 2 missing values.*an identifier of its own"):
        SourceOnly(LogisticRegression()).fit(X, y, X, **{name: ids * 2})


def test_weights_that_are_no_numbers_are_refused():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="sample_weight with values that are no numbers"):
        SourceOnly(LogisticRegression()).fit(X, y, X, sample_weight=["1 ha", "2", "3", "4"])
