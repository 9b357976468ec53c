"""The known truth of every domain pair is true."""

import pickle

import numpy as np
import pandas as pd
import pytest
from da_toolkit.datasets import _generators as world
from scipy import sparse
from scipy.special import expit
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

from da_toolkit import datasets as ds
from shift_detectors._errors import InputError

TASKS = ("classification", "regression")
GENERATORS = (
    ds.make_no_shift,
    ds.make_covariate_shift,
    ds.make_misspecified,
    ds.make_label_shift,
    ds.make_conditional_shift,
    ds.make_concept_shift,
    ds.make_mixed_shift,
    ds.make_support_shift,
)
WEIGHTED = GENERATORS[:4]
LOADERS = {
    "clinic": ds.load_clinic,
    "diabetes": ds.load_diabetes_covariate,
    "digits_label": ds.load_digits_label,
    "contrast": ds.load_digits_scanner,
    "concept": ds.load_concept,
}


def columns(X):
    """Every column as numbers: indicators of categories and of missing values beside the values."""
    if not isinstance(X, pd.DataFrame):
        return np.asarray(X, float)
    missing = X.isna().to_numpy()
    numbers = pd.get_dummies(X, dtype=float).astype(float).fillna(0.0)
    return np.column_stack([numbers, missing[:, missing.any(axis=0)]]).astype(float)


def moments(X, y, task):
    """Functions of (x, y) whose means describe the joint distribution, shape (n, many)."""
    Z = columns(X)
    Y = y[:, None] == np.unique(y) if task == "classification" else np.column_stack([y, y**2])
    return np.column_stack([Z, Z**2, *(Z * column[:, None] for column in Y.T), Y])


def same(a, b):
    return a.equals(b) if isinstance(a, pd.DataFrame) else np.array_equal(a, b)


def rows_of(X):
    return sorted(map(tuple, np.asarray(X).tolist()))


# ------------------------------------------------------------------------------------------- DomainPair


def test_pair_tells_what_it_is():
    pair = ds.make_covariate_shift(300, 200, random_state=0)
    assert "kind='covariate'" in repr(pair) and "n_target=200" in repr(pair)
    assert "effective sample size" in pair.summary() and pair.description in pair.summary()
    assert len(pair.seen) == 3 and not any(part is pair.y_target for part in pair.seen)
    copy = pickle.loads(pickle.dumps(pair))
    assert same(copy.X_target, pair.X_target) and copy.kind == pair.kind
    with pytest.raises(AttributeError):
        pair.kind = "label"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "drift"},
        {"task": "ranking"},
        {"y_source": np.zeros(3)},
        {"true_weights": np.ones(2)},
        {"true_prior": np.full(3, 1 / 3)},
    ],
)
def test_pair_rejects_what_does_not_fit(change):
    fields = dict(
        X_source=np.zeros((4, 2)),
        y_source=np.array([0, 1, 0, 1]),
        X_target=np.zeros((3, 2)),
        y_target=np.array([0, 1, 0]),
        kind="none",
        task="classification",
        name="",
        description="",
    )
    ds.DomainPair(**fields)
    with pytest.raises(InputError):
        ds.DomainPair(**{**fields, **change})


# ------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("make", GENERATORS)
def test_shapes_seed_and_redraw(make, task):
    pair = make(60, 50, n_features=7, task=task, random_state=3)
    assert pair.X_source.shape == (60, 7) and pair.X_target.shape == (50, 7)
    assert pair.task == task and len(pair.feature_names) == 7
    again, other = (make(60, 50, n_features=7, task=task, random_state=seed) for seed in (3, 4))
    for part in ("X_source", "y_source", "X_target", "y_target"):
        assert same(getattr(pair, part), getattr(again, part))
        assert not same(getattr(pair, part), getattr(other, part))
    assert set(np.unique(pair.y_source)) == {0, 1} or task == "regression"


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("make", WEIGHTED)
def test_true_weights_turn_the_source_into_the_target(make, task, as_frame):
    """E_s[w g(x, y)] = E_t[g(x, y)]: also what a frame leaves to see has the stated ratio."""
    pair = make(40_000, 40_000, strength=1.0, task=task, as_frame=as_frame, random_state=0)
    w = pair.true_weights
    assert (w > 0).all() and abs(w.mean() - 1) < 5 * w.std() / np.sqrt(len(w)) + 1e-12
    source, target = (moments(X, y, task) for X, y in [pair.seen[:2], (pair.X_target, pair.y_target)])
    weighted = w[:, None] * source
    error = np.sqrt(weighted.var(axis=0) / len(source) + target.var(axis=0) / len(target))
    z = (weighted.mean(axis=0) - target.mean(axis=0)) / error
    assert np.abs(z).max() < 5


def log_ratio(name, task, X, y, strength=1.0):
    """log p_t / p_s at the rows from the stated densities, for one generator at one strength."""
    delta, u = 0.5 * strength, world._direction(X.shape[1])
    if name in ("covariate", "mixed"):
        x_part = delta * X @ u - delta**2 / 2
    if name in ("concept", "mixed"):
        region, score = X[:, 0] > 0.5, world._score(X)
        if task == "regression":
            y_part = region * strength * (y - score - strength / 2) / world.NOISE**2
        else:
            p, flip = expit(score), 1 - 2.0**-strength
            p_target = np.where(region, (1 - flip) * p + flip * (1 - p), p)
            y_part = np.where(y == 1, np.log(p_target / p), np.log((1 - p_target) / (1 - p)))
    if name == "conditional":
        gain, offset = np.exp(0.2 * strength), 0.3 * strength
        if task == "regression":
            # where the noise-free mean lies is found by drawing zero noise
            mean = world._draw_x_given_y(y, X.shape[1], 2, task, _NoNoise())
        else:
            mean = world._class_means(2, X.shape[1])[y]
        seen, mean = X[:, :5], mean[:, :5]
        target = norm.logpdf((seen - offset) / gain, mean).sum(axis=1) - 5 * np.log(gain)
        return target - norm.logpdf(seen, mean).sum(axis=1)
    return {
        "covariate": lambda: x_part,
        "concept": lambda: y_part,
        "mixed": lambda: x_part + y_part,
    }[name]()


class _NoNoise:
    def standard_normal(self, shape):
        return np.zeros(shape)


def power(log_source, log_target, n=1000, alpha=0.05):
    """Power of the test that compares the mean log ratio of n rows per side with its null (normal limit)."""
    null_sd = np.sqrt(2 * log_source.var() / n)
    sd = np.sqrt((log_source.var() + log_target.var()) / n)
    return norm.sf((norm.isf(alpha) * null_sd - (log_target.mean() - log_source.mean())) / sd)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["covariate", "conditional", "concept", "mixed"])
def test_strength_one_is_moderate(name, task):
    pair = getattr(ds, f"make_{name}_shift")(50_000, 50_000, task=task, random_state=0)
    source = log_ratio(name, task, pair.X_source, pair.y_source)
    target = log_ratio(name, task, pair.X_target, pair.y_target)
    assert np.exp(source).mean() == pytest.approx(1, abs=0.1)  # it is a density ratio
    assert power(source, target) >= 0.99
    if name == "covariate":
        np.testing.assert_allclose(np.exp(source), pair.true_weights)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_label_shift_is_moderate_in_y_and_in_x_alone(n_classes):
    pair = ds.make_label_shift(50_000, 50_000, n_classes=n_classes, random_state=0)
    means, q = world._class_means(n_classes, 10), pair.true_prior

    def log_ratio_x(X):
        density = np.exp(X @ means.T - (means**2).sum(axis=1) / 2)
        return np.log(density @ q) - np.log(density.mean(axis=1))

    assert power(np.log(q)[pair.y_source], np.log(q)[pair.y_target]) >= 0.99
    assert power(log_ratio_x(pair.X_source), log_ratio_x(pair.X_target)) >= 0.99


def test_label_shift_in_regression_is_moderate():
    pair = ds.make_label_shift(50_000, 50_000, task="regression", random_state=0)
    assert power(0.5 * pair.y_source, 0.5 * pair.y_target) >= 0.99


def test_strong_covariate_shift_leaves_a_fifth_of_the_sample():
    # the sample mean of w^2 has heavy tails, so the ratio is checked through the target: E_t[w] = E_s[w^2]
    pair = ds.make_covariate_shift(1000, 400_000, strength="strong", random_state=0)
    delta = np.sqrt(np.log(5))
    w_target = np.exp(delta * pair.X_target @ world._direction(10) - delta**2 / 2)
    assert 1 / w_target.mean() == pytest.approx(0.2, rel=0.05)
    assert pair.effective_sample_size < 500


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_label_shift_moves_only_the_prior(n_classes):
    pair = ds.make_label_shift(40_000, 40_000, n_classes=n_classes, random_state=0)
    assert pair.true_prior.sum() == pytest.approx(1)
    assert pair.true_prior[0] > 1 / n_classes > pair.true_prior[-1]
    share = np.bincount(pair.y_target, minlength=n_classes) / pair.n_target
    np.testing.assert_allclose(share, pair.true_prior, atol=0.015)
    for k in range(n_classes):
        source, target = pair.X_source[pair.y_source == k], pair.X_target[pair.y_target == k]
        error = np.sqrt(1 / len(source) + 1 / len(target))
        assert np.abs(source.mean(axis=0) - target.mean(axis=0)).max() < 5 * error
    given = ds.make_label_shift(500, 20_000, n_classes=3, target_prior=[0.7, 0.1, 0.2], random_state=0)
    np.testing.assert_allclose(np.bincount(given.y_target) / 20_000, [0.7, 0.1, 0.2], atol=0.02)


@pytest.mark.parametrize("task", TASKS)
def test_conditional_shift_is_the_stated_affine_map(task):
    pair = ds.make_conditional_shift(40_000, 40_000, task=task, strength=1.0, random_state=0)
    back = pair.X_target.copy()
    back[:, :5] = (back[:, :5] - 0.3) / np.exp(0.2)
    source, target = moments(pair.X_source, pair.y_source, task), moments(back, pair.y_target, task)
    error = np.sqrt((source.var(axis=0) + target.var(axis=0)) / 40_000)
    assert (np.abs(source.mean(axis=0) - target.mean(axis=0)) < 5 * error).all()


@pytest.mark.parametrize("task", TASKS)
def test_concept_shift_changes_y_in_the_region_only(task):
    pair = ds.make_concept_shift(40_000, 40_000, task=task, random_state=0)

    def residual(X, y):
        score = world._score(X)
        return y - (score if task == "regression" else expit(score))

    for X, y, changed in [pair.seen[:2] + (False,), (pair.X_target, pair.y_target, True)]:
        r, region = residual(X, y), X[:, 0] > 0.5
        assert abs(r[~region].mean()) < 5 * r.std() / np.sqrt((~region).sum())
        moved = abs(r[region].mean()) > 0.1
        assert moved == changed
    assert np.abs(pair.X_source.mean(axis=0) - pair.X_target.mean(axis=0)).max() < 5 * np.sqrt(2 / 40_000)


@pytest.mark.parametrize("n_features", [2, 10])
def test_support_shift_has_a_gap_that_no_single_feature_shows(n_features):
    pair = ds.make_support_shift(2000, 2000, n_features=n_features, random_state=0)
    u = world._direction(n_features)
    assert (pair.X_source @ u).max() < -0.5 + 1e-9 and (pair.X_target @ u).min() > 0.5 - 1e-9
    for j in range(n_features):
        below = np.searchsorted(np.sort(pair.X_source[:, j]), pair.X_target[:, j])
        assert below.mean() / 2000 < 0.99
    assert pair.true_weights is None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("make", GENERATORS[:-1])
def test_strength_zero_is_no_shift(make, task):
    pair = make(20_000, 20_000, strength=0.0, task=task, random_state=0)
    assert pair.kind == "none"
    source, target = (moments(X, y, task) for X, y in [pair.seen[:2], (pair.X_target, pair.y_target)])
    error = np.sqrt((source.var(axis=0) + target.var(axis=0)) / 20_000)
    assert (np.abs(source.mean(axis=0) - target.mean(axis=0)) < 5 * error).all()


@pytest.mark.parametrize("make", GENERATORS)
def test_what_strength_zero_is_said_to_be_it_is(make):
    with pytest.raises(InputError) as error:
        make(strength=-1)
    assert ("0 is no shift" in str(error.value)) == (make(strength=0, random_state=0).kind == "none")


def test_support_shift_of_strength_zero_still_has_no_row_in_common():
    pair = ds.make_support_shift(2000, 2000, strength=0, random_state=0)
    u = world._direction(10)
    assert pair.kind == "support" and (pair.X_source @ u).max() < 0 < (pair.X_target @ u).min()


@pytest.mark.parametrize("make", GENERATORS)
def test_frames_have_columns_of_many_types(make):
    pair = make(200, 150, as_frame=True, random_state=0)
    for X in (pair.X_source, pair.X_target):
        assert tuple(X.columns) == pair.feature_names
        assert isinstance(X["x4"].dtype, pd.CategoricalDtype) and X["x6"].dtype == bool
        assert 0 < X["x5"].isna().mean() < 0.3 and X.drop(columns="x5").notna().all(axis=None)


@pytest.mark.parametrize("task, least", [("classification", 0.1), ("regression", 0.3)])
def test_weights_help_the_misspecified_model(task, least):
    model = LogisticRegression() if task == "classification" else LinearRegression()
    gains = []
    for seed in range(30):
        pair = ds.make_misspecified(task=task, random_state=seed)
        plain, weighted = (
            model.fit(pair.X_source, pair.y_source, sample_weight=w).score(pair.X_target, pair.y_target)
            for w in (None, pair.true_weights)
        )
        gains.append(weighted - plain)
    assert np.mean(gains) - 3 * np.std(gains, ddof=1) / np.sqrt(30) > least


@pytest.mark.parametrize(
    "call",
    [
        lambda: ds.make_no_shift(task="ranking"),
        lambda: ds.make_covariate_shift(strength=-1),
        lambda: ds.make_covariate_shift(strength="huge"),
        lambda: ds.make_concept_shift(strength="strong"),
        lambda: ds.make_mixed_shift(n_source=0),
        lambda: ds.make_support_shift(as_frame=True, n_features=4),
        lambda: ds.make_misspecified(n_features=1),
        lambda: ds.make_label_shift(n_classes=21),
        lambda: ds.make_label_shift(target_prior=[0.5, 0.6]),
        lambda: ds.make_label_shift(target_prior=[1.0]),
        lambda: ds.make_label_shift(task="regression", target_prior=[0.5, 0.5]),
    ],
)
def test_generators_reject(call):
    with pytest.raises(InputError):
        call()


# --------------------------------------------------------------------------------------------- inducers


def table(kind, n=300):
    rng = np.random.RandomState(0)
    X = pd.DataFrame(
        {
            "age": rng.standard_normal(n).round(1),
            "town": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "gap": np.where(rng.random_sample(n) < 0.2, np.nan, rng.standard_normal(n)),
            "row": np.arange(n),
        },
        index=np.arange(1000, 1000 + n),
    )
    y = pd.Series(rng.choice(["no", "yes"], n), index=X.index)
    return {
        "frame": (X, y),
        "array": (X[["age", "row"]].to_numpy(), y.to_numpy()),
        "sparse": (sparse.csr_matrix(X[["age", "row"]].to_numpy()), y.to_numpy()),
        "list": (X[["age", "row"]].to_numpy().tolist(), y.tolist()),
    }[kind]


INDUCERS = {
    "none": ds.induce_no_shift,
    "covariate": lambda X, y, **k: ds.induce_covariate_shift(X, y, 0, **k),
    "label": lambda X, y, **k: ds.induce_label_shift(X, y, target_prior=[0.2, 0.8], **k),
    "concept": lambda X, y, **k: ds.induce_concept_shift(X, y, 0, **k),
    "conditional": lambda X, y, **k: ds.induce_conditional_shift(X, y, _identity, **k),
}


def _identity(rows):
    return rows


@pytest.mark.parametrize("container", ["frame", "array", "sparse", "list"])
@pytest.mark.parametrize("kind", INDUCERS)
def test_rows_are_disjoint_and_unchanged(kind, container):
    X, y = table(container)
    X_before, y_before = pickle.loads(pickle.dumps((X, y)))
    pair = INDUCERS[kind](X, y, random_state=0)
    again = INDUCERS[kind](X, y, random_state=0)
    assert pair.kind == kind and pair.task == "classification"

    def dense(Z):
        return Z.toarray() if sparse.issparse(Z) else Z

    frame = isinstance(X, pd.DataFrame)
    chosen = []
    for Z, Z_again in [(pair.X_source, again.X_source), (pair.X_target, again.X_target)]:
        Z = dense(Z)
        assert same(Z, dense(Z_again))
        row = Z["row"].to_numpy() if frame else Z[:, -1].astype(int)
        chosen.append(row)
        original = X.iloc[row] if frame else np.asarray(dense(X))[row]
        pd.testing.assert_frame_equal(Z, original) if frame else np.testing.assert_array_equal(Z, original)
    assert not set(chosen[0]) & set(chosen[1])
    assert len(chosen[0]) + len(chosen[1]) == 300 or kind == "label"
    labels = np.asarray(y)
    assert (pair.y_source == labels[chosen[0]]).all()
    if kind != "concept":
        assert (pair.y_target == labels[chosen[1]]).all()
    assert same(dense(X), dense(X_before)) if container != "list" else X == X_before
    assert list(y) == list(y_before)
    # the pair is a copy: writing to it does not reach the caller
    pair.y_source[:] = "?"
    assert list(y) == list(y_before)


def test_polars_frames_stay_polars():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame({"a": np.arange(50.0), "b": ["u", "v"] * 25})
    pair = ds.induce_covariate_shift(X, np.arange(50) % 2, "b", strength=2, random_state=0)
    assert isinstance(pair.X_target, pl.DataFrame) and pair.feature_names == ("a", "b")
    assert (pair.X_target["b"] == "v").mean() > (pair.X_source["b"] == "v").mean()


@pytest.mark.parametrize("feature", ["age", "town", "gap", 0, "score"])
@pytest.mark.parametrize("fraction, strength", [(0.5, 1.0), (0.3, -1.5)])
def test_selection_weights_match_the_target(feature, fraction, strength):
    """Over many redraws of one table, the weighted source has the target's means and total."""
    X, y = table("frame")
    Z = np.column_stack([columns(X.drop(columns="row")), y == "yes"])
    position = X["row"].to_numpy()
    if feature == "score":
        feature = X["age"].to_numpy() ** 2
    gaps, totals, shares = [], [], []
    for seed in range(200):
        pair = ds.induce_covariate_shift(X, y, feature, strength=strength, target_fraction=fraction, random_state=seed)
        source, target = (position[part["row"]] for part in (pair.X_source, pair.X_target))
        # the pooled table is fixed: sum_s w Z / n_s and mean_t Z estimate the same mean
        expected_source, expected_target = 300 * (1 - fraction), 300 * fraction
        gaps.append(
            (pair.true_weights[:, None] * Z[source]).sum(axis=0) / expected_source
            - Z[target].sum(axis=0) / expected_target
        )
        totals.append(pair.true_weights.sum() / expected_source)
        shares.append(pair.n_target / 300)
    for sample, truth in [(np.array(gaps), 0), (np.array(totals), 1), (np.array(shares), fraction)]:
        error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
        assert (np.abs(sample.mean(axis=0) - truth) < 5 * error).all()


def test_selection_strength_sets_the_overlap():
    X = np.random.RandomState(0).standard_normal((20_000, 1))
    y = np.arange(20_000) % 2
    sizes = [
        ds.induce_covariate_shift(X, y, 0, strength=s, random_state=0).effective_sample_size / 10_000 for s in (0, 1, 2)
    ]
    assert sizes[0] == pytest.approx(1, abs=0.05) and sizes[0] > 2 * sizes[1] > 2 * sizes[2]
    assert ds.induce_covariate_shift(X, y, 0, strength=0, random_state=0).kind == "none"


def test_label_prior_is_met():
    X, y = load_digits(return_X_y=True)
    q = np.arange(1, 11) / 55
    counts = np.zeros(10)
    for seed in range(20):
        pair = ds.induce_label_shift(X, y, target_prior=q, random_state=seed)
        counts += np.bincount(pair.y_target, minlength=10)
        assert pair.true_weights.mean() == pytest.approx(1, abs=0.1)
    # the redraws share a table of 1797 rows, so the shares agree within a few points, not to sampling error
    np.testing.assert_allclose(counts / counts.sum(), q, atol=0.01)
    by_order = ds.induce_label_shift(X, y, target_prior=q, random_state=3)
    for named in (dict(enumerate(q)), pd.Series(q)[::-1]):
        by_name = ds.induce_label_shift(X, y, target_prior=named, random_state=3)
        assert same(by_name.X_target, by_order.X_target)
    drawn = ds.induce_label_shift(X, y, random_state=0).true_prior
    assert drawn.sum() == pytest.approx(1) and drawn.shape == (10,)


def test_label_shift_in_regression_matches_the_target():
    X, y = load_diabetes(return_X_y=True)
    gaps = []
    for seed in range(100):
        pair = ds.induce_label_shift(X, y, strength=1.0, random_state=seed)
        assert pair.task == "regression" and pair.y_target.mean() > pair.y_source.mean()
        gaps.append((pair.true_weights @ pair.y_source - pair.y_target.sum()) / 221)
    assert abs(np.mean(gaps)) < 5 * np.std(gaps) / 10


@pytest.mark.parametrize("task", TASKS)
def test_concept_changes_labels_in_the_region_only(task):
    if task == "regression":
        X, y = load_diabetes(return_X_y=True, as_frame=True)
    else:
        X, y = load_iris(return_X_y=True, as_frame=True)
    mask = (X.iloc[:, 2] > X.iloc[:, 2].median()).to_numpy()
    pair = ds.induce_concept_shift(X, y, mask, strength=1.0, random_state=0)
    old, inside = y[pair.X_target.index].to_numpy(), mask[pair.X_target.index]
    assert (pair.y_target[~inside] == old[~inside]).all()
    if task == "regression":
        np.testing.assert_allclose(pair.y_target[inside] - old[inside], y.std(ddof=0))
    else:
        moved = pair.y_target[inside] != old[inside]
        assert 0.2 < moved.mean() < 0.8
        assert (pair.y_target[inside][moved] == (old[inside][moved] + 1) % 3).all()
    half = ds.induce_concept_shift(X, y, mask, change=lambda labels: labels / 2, task=task, random_state=0)
    np.testing.assert_allclose(half.y_target[inside], old[inside] / 2)
    upper = ds.induce_concept_shift(X, y, X.columns[2], change=lambda labels: labels + 1000, random_state=0)
    assert 0.2 < (upper.y_target > 900).mean() < 0.4


def test_conditional_shift_transforms_a_copy():
    X, y = load_iris(return_X_y=True)
    before = X.copy()

    def in_place(rows):
        rows *= 2
        return rows

    pair = ds.induce_conditional_shift(X, y, in_place, random_state=0)
    assert same(X, before)
    assert rows_of(np.concatenate([pair.X_source, pair.X_target / 2])) == rows_of(X)


X_IRIS, Y_IRIS = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ds.induce_no_shift(X_IRIS, Y_IRIS[:-1]),
        lambda: ds.induce_no_shift(X_IRIS[:, 0], Y_IRIS),
        lambda: ds.induce_no_shift(X_IRIS, np.r_[np.nan, Y_IRIS[1:]]),
        lambda: ds.induce_no_shift(X_IRIS, Y_IRIS, target_fraction=1.0),
        lambda: ds.induce_no_shift(X_IRIS, Y_IRIS, task="ranking"),
        lambda: ds.induce_no_shift(X_IRIS[:1], Y_IRIS[:1]),
        lambda: ds.induce_covariate_shift(X_IRIS, Y_IRIS, "petal"),
        lambda: ds.induce_covariate_shift(X_IRIS, Y_IRIS, 4),
        lambda: ds.induce_covariate_shift(X_IRIS, Y_IRIS, np.zeros(3)),
        lambda: ds.induce_covariate_shift(X_IRIS, Y_IRIS, 0, strength=np.nan),
        lambda: ds.induce_label_shift(X_IRIS, Y_IRIS, target_prior=[0.5, 0.5]),
        lambda: ds.induce_label_shift(X_IRIS, Y_IRIS, target_prior={0: 0.5, 7: 0.5}),
        lambda: ds.induce_label_shift(X_IRIS, X_IRIS[:, 0], task="regression", target_prior=[1.0]),
        lambda: ds.induce_concept_shift(X_IRIS, Y_IRIS, np.zeros(150)),
        lambda: ds.induce_concept_shift(X_IRIS, Y_IRIS, 0, strength=-1),
        lambda: ds.induce_concept_shift(X_IRIS, Y_IRIS, 0, change=lambda labels: labels[:1]),
        lambda: ds.induce_conditional_shift(X_IRIS, Y_IRIS, lambda rows: rows[:, :2]),
        lambda: ds.load_digits_scanner("x-ray"),
        lambda: ds.load_digits_scanner(severity=-1),
        lambda: ds.load_concept(task="ranking"),
        lambda: ds.load_scene("nowhere"),
    ],
)
def test_inducers_and_loaders_reject(call):
    with pytest.raises(InputError):
        call()


# ------------------------------------------------------------------------------------ embedded, scenes


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_redraw(name):
    first, same_seed, other = (LOADERS[name](random_state=seed) for seed in (0, 0, 1))
    assert same(first.X_target, same_seed.X_target) and same(first.X_source, same_seed.X_source)
    assert not same(first.X_target, other.X_target)
    assert len(first.feature_names) == first.X_source.shape[1]


@pytest.mark.parametrize("load, column", [(ds.load_clinic, "mean radius"), (ds.load_diabetes_covariate, "bmi")])
def test_clinics_differ_in_one_known_selection(load, column):
    gaps, totals = [], []
    for seed in range(30):
        pair = load(random_state=seed)
        n = pair.n_source + pair.n_target
        assert not set(pair.X_source.index) & set(pair.X_target.index)
        assert pair.X_target[column].mean() > pair.X_source[column].mean()
        assert pair.X_source[column].max() > pair.X_target[column].quantile(0.5)  # they overlap
        w = pair.true_weights
        gaps.append(w @ pair.X_source[column] / (n / 2) - pair.X_target[column].sum() / (n / 2))
        totals.append(w.sum() / (n / 2))
    assert abs(np.mean(gaps)) < 5 * np.std(gaps, ddof=1) / np.sqrt(30)
    assert abs(np.mean(totals) - 1) < 5 * np.std(totals, ddof=1) / np.sqrt(30)
    table = load_breast_cancer() if load is ds.load_clinic else load_diabetes(scaled=False)
    assert pair.feature_names == tuple(table.feature_names)
    np.testing.assert_array_equal(pair.X_source, table.data[pair.X_source.index])
    np.testing.assert_array_equal(pair.y_target, table.target[pair.X_target.index])


def test_digits_label_prior_is_that_of_the_years():
    years = np.array([int(digit) for year in range(1880, 1890) for digit in str(year)])
    truth = np.bincount(years, minlength=10) / len(years)
    counts = np.zeros(10)
    images = set(rows_of(load_digits().data))
    for seed in range(30):
        pair = ds.load_digits_label(random_state=seed)
        np.testing.assert_allclose(pair.true_prior, truth)
        counts += np.bincount(pair.y_target, minlength=10)
        assert set(rows_of(pair.X_target)) <= images and set(rows_of(pair.X_source)) <= images
    np.testing.assert_allclose(counts / counts.sum(), truth, atol=0.02)


def test_contrast_is_the_same_images_in_paler_ink():
    images = load_digits().data
    pair = ds.load_digits_scanner("contrast", severity=1.0, random_state=0)
    assert rows_of(np.concatenate([pair.X_source, 2 * pair.X_target])) == rows_of(images)


@pytest.mark.parametrize("kind", ["contrast", "blur", "rotation"])
def test_scanners_change_nothing_but_the_image(kind):
    plain = ds.load_digits_scanner(kind, severity=0.0, random_state=0)
    seen = ds.load_digits_scanner(kind, severity=1.0, random_state=0)
    np.testing.assert_allclose(np.sort(np.r_[plain.y_source, plain.y_target]), np.sort(load_digits().target))
    assert same(plain.X_source, seen.X_source) and same(plain.y_target, seen.y_target)
    # at severity 0 the target is the untouched images, at 1 a linear map of them
    np.testing.assert_allclose(
        np.sort(np.concatenate([plain.X_source, plain.X_target]).sum(axis=1)),
        np.sort(load_digits().data.sum(axis=1)),
    )
    assert (plain.kind, seen.kind) == ("none", "conditional")
    design = plain.X_target
    fitted = design @ np.linalg.lstsq(design, seen.X_target, rcond=None)[0]
    np.testing.assert_allclose(fitted, seen.X_target, atol=1e-6)
    assert np.abs(seen.X_target - plain.X_target).mean() > 0.1


@pytest.mark.parametrize("task", TASKS)
def test_concept_scene_changes_a_known_region(task):
    table = load_diabetes(scaled=False) if task == "regression" else load_breast_cancer()
    column = "bp" if task == "regression" else "worst texture"
    pair = ds.load_concept(task=task, random_state=0)
    original = table.target[pair.X_target.index]
    changed = pair.y_target != original
    np.testing.assert_array_equal(pair.X_target, table.data[pair.X_target.index])
    np.testing.assert_array_equal(pair.y_source, table.target[pair.X_source.index])
    pooled = pd.concat([pair.X_source, pair.X_target])[column]
    assert pair.X_target.loc[changed, column].min() >= pooled.quantile(0.69)
    if task == "regression":
        np.testing.assert_allclose((pair.y_target - original)[changed], table.target.std())
    else:
        assert set(pair.y_target[changed] + original[changed]) == {1}


def test_scenes_are_what_they_say():
    names = [scene.name for scene in ds.list_scenes()]
    assert names == list(ds.SCENES) and {"clinic", "digits_label", "digits_scanner", "concept"} <= set(names)
    for scene in ds.list_scenes():
        pair = ds.load_scene(scene.name, random_state=0)
        assert pair.kind == scene.kind and scene.story.endswith(".")
        assert same(pair.X_target, ds.SCENES[scene.name].load(random_state=0).X_target)


def test_all_names_exist():
    assert all(hasattr(ds, name) for name in ds.__all__)
