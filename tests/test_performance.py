"""Performance estimates without labels against simulated truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from scipy.special import expit
from scipy.stats import t as student
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.metrics import mean_pinball_loss

from shift_detectors._errors import InputError
from shift_detectors._influence import degrees_of, variance_of, weighted_mean
from shift_detectors._models import reads_columns
from shift_detectors._performance import (
    atc,
    average_confidence,
    beyond_support,
    doc,
    doubly_robust,
    importance_weighted,
    label_shift_risk,
    loss_interval,
    measure_impact,
    observed_performance,
    split_loss_change,
)
from shift_detectors._prior import estimate_prior

MU = 0.8  # mean of x in the target; 0 in the source
REPEATS = 300


class Rule:
    """A fixed classifier: 1 where x > 0, with P(1 | x) = expit(2x)."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        p = expit(2 * X[:, 0])
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return (X[:, 0] > 0).astype(int)


def covariate(seed, n=500):
    """p(y|x) = expit(2x) on both sides; x ~ N(0, 1) and N(MU, 1)."""
    rng = np.random.default_rng([seed, n])
    x, x_target = rng.normal(size=n), rng.normal(MU, 1, n)
    y, y_target = (
        (rng.random(n) < expit(2 * x)).astype(int),
        (rng.random(n) < expit(2 * x_target)).astype(int),
    )
    weights = np.exp(MU * x - MU**2 / 2)
    return x[:, None], y, x_target[:, None], y_target, weights


def true_accuracy(mean):
    x = np.random.default_rng(0).normal(mean, 1, 1_000_000)
    return expit(2 * np.abs(x)).mean()


TRUTH = true_accuracy(MU)


def coverage(estimate, truth, repeats=REPEATS):
    """Share of repeats whose interval holds the truth, and the mean estimate."""
    results = [estimate(seed) for seed in range(repeats)]
    inside = [e.ci[0] <= truth <= e.ci[1] for e in results]
    return np.mean(inside), np.mean([e.value for e in results])


def check(estimate, truth, bias=0.01, lowest=0.95):
    covered, mean = coverage(estimate, truth)
    assert mean == pytest.approx(truth, abs=bias)
    assert covered > lowest - 3.5 * np.sqrt(0.05 * 0.95 / REPEATS)
    return covered


def test_importance_weighting_covers_the_target_accuracy():
    def estimate(seed):
        X, y, _, _, w = covariate(seed)
        return importance_weighted((Rule().predict(X) == y).astype(float), w)

    check(estimate, TRUTH)
    assert abs(true_accuracy(0) - TRUTH) > 0.02  # the source accuracy is something else


def test_doubly_robust_needs_one_of_two():
    def estimate(seed, good_weights, good_fit):
        X, y, X_target, _, w = covariate(seed)
        correct = (Rule().predict(X) == y).astype(float)
        fit = [expit(2 * np.abs(Z[:, 0])) if good_fit else np.full(len(Z), 0.7) for Z in (X, X_target)]
        return doubly_robust(correct, w if good_weights else np.ones_like(w), *fit)

    check(lambda seed: estimate(seed, True, False), TRUTH)
    check(lambda seed: estimate(seed, False, True), TRUTH)
    check(lambda seed: estimate(seed, True, True), TRUTH)
    width = [np.diff(estimate(0, True, fit).ci)[0] for fit in (True, False)]
    assert width[0] < width[1]


@pytest.mark.parametrize(
    ("values", "fitted_source", "fitted_target", "metric", "value"),
    [
        ([1, 1, 1, 1], 0.5, 0.9, "accuracy", 1),
        ([0, 1, 0, 0], 0.9, 0.1, "accuracy", 0),
        ([0.1, 0.2, 0.1, 0.2], 1.0, 0.5, "mean squared error", 0),
    ],
)
def test_doubly_robust_stays_in_range(values, fitted_source, fitted_target, metric, value):
    """A correction of more than the regression expects on the target."""
    found = doubly_robust(values, np.ones(4), np.full(4, fitted_source), np.full(50, fitted_target), metric)
    low, high = found.ci
    assert found.value == value and 0 <= low <= value <= high and low < high
    assert metric != "accuracy" or high <= 1


def test_squared_error_under_covariate_shift():
    def estimate(seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=1000)
        loss = (x + 0.5 * rng.normal(size=1000)) ** 2  # model predicts 0, y = x + noise
        return importance_weighted(loss, np.exp(0.5 * x - 0.125), "mean squared error")

    covered, mean = coverage(estimate, 1 + 0.25 + 0.25)
    assert mean == pytest.approx(1.5, abs=0.03) and covered > 0.89  # heavy-tailed losses


@pytest.mark.parametrize(
    "interval",
    [
        lambda loss: importance_weighted(loss, np.ones(6), "mean squared error"),
        lambda loss: split_loss_change(np.full(6, 9.0), loss, np.full(6, 0.5), np.full(6, 0.5), 0.5)[1],
    ],
)
def test_few_losses_leave_the_interval_wide(interval):
    """Whose spread is estimated from them, too."""
    truth = {"loss change due to p(y|x)": 1.0}
    inside = []
    for seed in range(1000):
        found = interval(10 + np.random.default_rng(seed).normal(size=6))
        inside.append(found.ci[0] <= truth.get(getattr(found, "name", ""), 10.0) <= found.ci[1])
    assert 0.91 < np.mean(inside) < 0.97  # with the normal quantile .87


@pytest.mark.parametrize(("rows", "least"), [(10, 0.88), (30, 0.91), (150, 0.93)])
def test_intervals_of_skewed_losses_miss_on_both_sides(rows, least):
    """Squared errors of normal noise; symmetric intervals cover .84 and .90 of 10 and 30 rows, ending below."""
    values = np.random.default_rng(0).normal(size=(3000, rows)) ** 2
    low, high = np.array([observed_performance(v, "mean squared error", "observed").ci for v in values]).T
    assert np.mean((low <= 1) & (1 <= high)) > least and np.mean(low > 1) > 0.01 and (low > 0).all()


def test_the_interval_of_a_loss_is_continuous_down_to_zero():
    assert loss_interval(0.0, 0.1, np.inf) == pytest.approx((0, np.e * 0.196), abs=1e-3)
    near, other = (loss_interval(value, 0.1, np.inf) for value in (0.19599, 0.19601))
    assert near == pytest.approx(other, abs=1e-4)
    assert loss_interval(1.0, np.inf, 1) is None


@pytest.mark.parametrize("metric", ["accuracy", "mean squared error"])
def test_one_group_says_nothing_of_the_error(metric):
    """Also one row, of a loss; a few groups vary less around their own mean than around the true one."""
    values = np.repeat([1.0, 0, 1, 1], 10)
    one = observed_performance(values, metric, "observed", "", None, np.zeros(40))
    assert one.value == 0.75 and one.ci == ((0.0, 1.0) if metric == "accuracy" else None)
    assert (observed_performance(values[:1], metric, "observed").ci is None) == (metric != "accuracy")


@pytest.mark.parametrize("n_groups", [2, 3, 10])
def test_few_groups_cover(n_groups):
    groups = np.repeat(np.arange(n_groups), 20)
    rng, inside = np.random.default_rng(0), []
    for _ in range(4000):
        values, part = weighted_mean(rng.normal(size=n_groups)[groups] + rng.normal(size=len(groups)), None, groups)
        half = student.isf(0.025, degrees_of(part)) * variance_of(part) ** 0.5
        inside.append(abs(values) <= half)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)  # without the correction .90 to .94


def test_label_shift_risk_covers_with_an_estimated_prior():
    def parts(seed, n=400):
        rng = np.random.default_rng([seed, 1])

        def draw(m, p):
            y = (rng.random(m) < p).astype(int)
            return (2 * y - 1 + rng.normal(size=m))[:, None], y

        X, y = draw(n, 0.5)
        return X, y, draw(n, 0.85)[0]

    class Skewed(Rule):
        def predict(self, X):
            return (X[:, 0] > 0.7).astype(int)  # class 1 is often missed: the prior matters

    from scipy.stats import norm

    truth = 0.85 * norm.sf(-0.3) + 0.15 * norm.cdf(1.7)

    def estimate(seed):
        X, y, X_target = parts(seed)
        rule = Skewed()
        prior = estimate_prior(rule.predict_proba(X), y, rule.predict_proba(X_target), [0, 1])
        return label_shift_risk((rule.predict(X) == y).astype(float), y, prior)

    check(estimate, truth)


def test_confidence_estimates_cover_when_the_confidence_is_right():
    def parts(seed):
        X, y, X_target, _, _ = covariate(seed)
        rule = Rule()
        return (
            rule.predict_proba(X).max(axis=1),
            (rule.predict(X) == y).astype(float),
            rule.predict_proba(X_target).max(axis=1),
        )

    def confidence(seed):
        source, correct, target = parts(seed)
        return average_confidence(target, source, correct)

    def difference(seed):
        source, correct, target = parts(seed)
        return doc(source, correct, target)

    check(confidence, TRUTH)
    check(difference, TRUTH)


@pytest.mark.parametrize("shifted", [False, True], ids=["no shift", "weighted"])
def test_average_confidence_covers_when_the_confidence_is_wrong(shifted):
    """The class probabilities of `Rule`, but rows far from the boundary are none the surer."""
    weights = (lambda x: np.exp(MU * x - MU**2 / 2)) if shifted else np.ones_like
    right = lambda x: expit(4 * np.sign(x) * np.sin(2 * x))  # noqa: E731
    mean = MU if shifted else 0.0

    def estimate(seed):
        rng = np.random.default_rng(seed)
        x, x_target = rng.normal(size=800), rng.normal(mean, 1, 800)
        correct = (rng.random(800) < right(x)).astype(float)
        return average_confidence(expit(2 * np.abs(x_target)), expit(2 * np.abs(x)), correct, weights(x))

    check(estimate, right(np.random.default_rng(0).normal(mean, 1, 1_000_000)).mean())


def test_atc_is_exact_without_a_shift_and_moves_the_right_way():
    def parts(seed, shifted):
        X, y, X_target, _, _ = covariate(seed)
        X_other = covariate(seed + 10_000)[0]
        rule = Rule()
        score = [rule.predict_proba(Z).max(axis=1) for Z in (X, X_target if shifted else X_other)]
        return atc(score[0], (rule.predict(X) == y).astype(float), score[1])

    check(lambda seed: parts(seed, False), true_accuracy(0))
    _, mean = coverage(lambda seed: parts(seed, True), TRUTH, 50)
    assert mean > true_accuracy(0) + 0.5 * (TRUTH - true_accuracy(0))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_atc_is_right_without_a_shift_where_scores_are_tied(levels):
    """A model of few leaves: the share of errors lies within the rows of one score."""

    def estimate(seed):
        rng = np.random.default_rng(seed)
        source, target = (0.5 + (rng.integers(levels, size=500) + 0.5) / (2 * levels) for _ in range(2))
        return atc(source, (rng.random(500) < source).astype(float), target)

    check(estimate, 0.75)


def test_atc_of_the_source_itself_is_its_accuracy():
    rng = np.random.default_rng(0)
    score, correct = rng.integers(3, size=50) / 3, rng.integers(2, size=50)
    assert atc(score, correct, score).value == pytest.approx(correct.mean())
    assert [atc(score, np.full(50, right), score).value for right in (0, 1)] == [0, 1]


def impact_of(X, y, X_target, y_target, prior, **rows):
    """Impact on `Rule` of a shift with known odds."""
    odds = np.exp(X[:, 0] / 4)
    propensity = expit(np.r_[X[:, 0], X_target[:, 0]] / 4)
    return measure_impact(Rule(), X, y, X_target, y_target, None, odds, prior, propensity=propensity, **rows)


def parts_of(impact):
    return [impact.source, impact.target, *impact.estimates, impact.p_x_part, impact.p_y_given_x_part]


def test_a_row_of_weight_two_counts_as_two_rows_that_belong_together():
    """In every estimate, its interval included."""
    rng = np.random.default_rng(0)
    n = 300
    x, target = rng.normal(size=(n, 1)), rng.normal(0.5, 1, (n, 1))
    y, y_target = ((rng.random(n) < expit(2 * rows[:, 0])).astype(int) for rows in (x, target))
    weight, weight_target = np.tile([1, 2], n // 2), np.tile([2, 1], n // 2)
    once, again = np.arange(n), np.repeat(np.arange(n), weight)
    again_target = np.repeat(np.arange(n), weight_target)
    prior = estimate_prior(Rule().predict_proba(x), y, Rule().predict_proba(target), [0, 1])
    weighted = impact_of(
        x,
        y,
        target,
        y_target,
        prior,
        sample_weight=weight,
        sample_weight_target=weight_target,
        groups=once,
        groups_target=n + once,
    )
    repeated = impact_of(
        x[again],
        y[again],
        target[again_target],
        y_target[again_target],
        prior,
        groups=again,
        groups_target=n + again_target,
    )
    for one, other in zip(parts_of(weighted), parts_of(repeated), strict=True):
        assert one.value == pytest.approx(other.value, abs=0.002), one
        assert one.ci == pytest.approx(other.ci, abs=0.006), one
    assert weighted.source.value == pytest.approx(np.average(Rule().predict(x) == y, weights=weight))


def test_intervals_cover_where_the_rows_of_a_group_resemble_each_other():
    """20 groups of 20 rows a side, in each of which the model is right as often as it happens: .75 on average."""
    repeats, inside = 200, []
    groups = np.repeat(np.arange(20), 20)

    def draw(rng):
        x, right = rng.normal(size=(400, 1)), rng.random(400) < rng.beta(3, 1, 20)[groups]
        return x, np.where(right, x[:, 0] > 0, x[:, 0] <= 0).astype(int)

    prior = estimate_prior(np.full((400, 2), 0.5), np.arange(400) % 2, np.full((9, 2), 0.5), [0, 1])
    prior = replace(prior, prior=np.full(2, 0.5), covariance=np.zeros((2, 2)))
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        rest = {"propensity": np.full(800, 0.5), "groups": groups, "groups_target": 100 + groups}
        impact = measure_impact(Rule(), *draw(rng), *draw(rng), None, np.ones(400), prior, **rest)
        shares = [impact.source, impact.target, *impact.estimates]
        low, high = np.array([e.ci for e in [*shares, impact.p_y_given_x_part]]).T
        truth = np.r_[np.full(len(shares), 0.75), 0]
        inside.append((low <= truth) & (truth <= high))
    covered = np.mean(inside, axis=0)
    assert (covered > 0.95 - 3.5 * np.sqrt(0.05 * 0.95 / repeats)).all(), covered


def test_groups_on_both_sides_are_one_group():
    """The same rows before and after: what they have in common is no change, and no error of it."""
    rng = np.random.default_rng(0)
    loss, groups = rng.random(200), np.arange(200)
    half = np.full(200, 0.5)
    same, others = (
        split_loss_change(loss, loss + 0.1, half, half, 0.5, groups=groups, groups_target=groups + shift)[1]
        for shift in (0, 200)
    )
    assert same.value == others.value == pytest.approx(0.1)
    assert same.ci == pytest.approx((0.1, 0.1)) and np.diff(others.ci) > 0.1


def test_impact_of_a_source_that_oversamples_the_difficult_rows():
    """Half of the source rows are difficult, a tenth of the target: the weights say so, and nothing shifted."""
    rng = np.random.default_rng(0)

    def draw(n, share):
        difficult = rng.random(n) < share
        x = rng.normal(size=(n, 1))
        right = rng.random(n) < np.where(difficult, 0.55, 0.95)
        return x, np.where(right, x[:, 0] > 0, x[:, 0] <= 0).astype(int), difficult

    X, y, difficult = draw(4000, 0.5)
    X_target, y_target, _ = draw(4000, 0.1)
    weight = np.where(difficult, 0.2, 1.8)
    rule = Rule()
    prior = estimate_prior(rule.predict_proba(X), y, rule.predict_proba(X_target), [0, 1], weight_source=weight)
    rest = {"propensity": np.full(8000, 0.5), "sample_weight": weight}
    impact = measure_impact(rule, X, y, X_target, y_target, None, np.ones(4000), prior, **rest)
    for estimate in parts_of(impact)[:-2]:
        assert estimate.value == pytest.approx(0.91, abs=0.02), estimate
    for part in (impact.p_x_part, impact.p_y_given_x_part):
        assert part.value == pytest.approx(0, abs=0.02)


def test_intervals_stay_in_range_and_keep_a_width():
    for estimate in (
        importance_weighted(np.ones(50), np.ones(50)),
        atc(np.linspace(0.5, 1, 50), np.ones(50), np.linspace(0.5, 1, 50)),
    ):
        assert estimate.value == 1 and estimate.ci[1] == 1 and 0.8 < estimate.ci[0] < 0.99


def test_weights_of_one_give_the_source_accuracy():
    correct = np.array([1, 0, 1, 1])
    assert importance_weighted(correct, np.full(4, 3.0)).value == 0.75
    assert atc([0.6, 0.7, 0.8, 0.9], correct, [0.6, 0.7, 0.8, 0.9]).value == 0.75


def loss_split(seed, concept, n=600):
    """0/1 loss of `Rule`; the target flips `concept` of the labels more."""
    X, y, X_target, y_target, _ = covariate(seed, n)
    rng = np.random.default_rng([seed, 5])
    y_target = np.where(rng.random(n) < concept, 1 - y_target, y_target)
    propensity = [expit(MU * Z[:, 0] - MU**2 / 2) for Z in (X, X_target)]
    loss = [(Rule().predict(Z) != labels).astype(float) for Z, labels in ((X, y), (X_target, y_target))]
    return loss, propensity


@pytest.mark.parametrize("concept", [0.0, 0.3])
def test_loss_split_covers_both_parts(concept):
    x = np.random.default_rng(0).normal(size=1_000_000)
    error = expit(-2 * np.abs(x))
    flipped = error + concept * (1 - 2 * error)
    pi = expit(MU * x - MU**2 / 2)
    shared = np.average(flipped - error, weights=pi)
    truth_y = shared
    x_t = x + MU
    error_t = expit(-2 * np.abs(x_t))
    total = (error_t + concept * (1 - 2 * error_t)).mean() - error.mean()
    truth = total - truth_y, truth_y
    inside = np.zeros(2)
    for seed in range(REPEATS):
        loss, propensity = loss_split(seed, concept)
        parts = split_loss_change(*loss, *propensity, 0.5)
        assert parts[0].value + parts[1].value == pytest.approx(loss[1].mean() - loss[0].mean())
        inside += [p.ci[0] <= t <= p.ci[1] for p, t in zip(parts, truth, strict=True)]
    assert (inside / REPEATS > 0.95 - 3.5 * np.sqrt(0.05 * 0.95 / REPEATS)).all()
    assert (inside / REPEATS < 0.99).all()


def test_a_loss_split_without_a_change_of_p_x_has_no_rounding_noise():
    rng = np.random.default_rng(0)
    loss = rng.random(3000), rng.random(2000) + 0.1
    # weights of all rows are alike but for their last bit
    p_x, p_y_given_x = split_loss_change(*loss, np.full(3000, 0.4), np.full(2000, 0.4), 0.4)
    assert (p_x.value, p_x.ci) == (0.0, (0.0, 0.0))
    assert p_y_given_x.value == pytest.approx(0.1, abs=0.03) and p_y_given_x.ci[0] > 0


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("covariate", "importance weighting"),
        ("label", "label-shift risk"),
        ("mixed", "average confidence"),
        ("none", "average confidence"),
    ],
)
def test_impact_puts_the_fitting_estimate_first(kind, first):
    X, y, X_target, y_target, weights = covariate(0, 1000)
    model = LogisticRegression().fit(*covariate(1, 1000)[:2])
    prior = estimate_prior(model.predict_proba(X), y, model.predict_proba(X_target), [0, 1])
    propensity = expit(MU * np.r_[X[:, 0], X_target[:, 0]] - MU**2 / 2)
    labelled = np.arange(1000) < 400
    impact = measure_impact(
        model,
        X,
        y,
        X_target,
        y_target,
        labelled,
        weights,
        prior,
        verdict_kind=kind,
        propensity=propensity,
    )
    assert impact.estimates[0].method == first and len(impact.estimates) == 5
    assert impact.target.value == np.mean(model.predict(X_target)[:400] == y_target[:400])
    assert impact.source.ci[0] < impact.source.value < impact.source.ci[1]
    change = (1 - impact.target.value) - (1 - impact.source.value)
    assert impact.p_x_part.value + impact.p_y_given_x_part.value == pytest.approx(change)
    low, high = impact.p_y_given_x_part.ci
    assert low < 0 < high  # nothing is claimed about p(y|x) where nothing changed
    for estimate in impact.estimates:
        assert estimate.value == pytest.approx(TRUTH, abs=0.08)


def test_impact_without_labels_or_probabilities():
    X, y, X_target, _, weights = covariate(0)
    plain = measure_impact(Rule(), X, y, X_target)
    assert plain.target is None and plain.p_x_part is None and len(plain.estimates) == 3

    class Silent:
        def predict(self, X):
            return Rule().predict(X)

    impact = measure_impact(Silent(), X, y, X_target, weights=weights)
    assert [e.method for e in impact.estimates] == ["importance weighting"]
    assert any("predict_proba" in note for note in impact.notes)


def test_impact_of_a_regression():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(500, 1)), rng.normal(0.5, 1, (500, 1))
    y, y_target = X[:, 0] + rng.normal(size=500), X_target[:, 0] + 1 + rng.normal(size=500)
    model = LinearRegression().fit(X, y)
    propensity = expit(0.5 * np.r_[X[:, 0], X_target[:, 0]] - 0.125)
    impact = measure_impact(
        model, X, y, X_target, y_target, task="regression", propensity=propensity, verdict_kind="concept"
    )
    assert impact.metric == "mean squared error"
    assert impact.p_y_given_x_part.ci[0] > 0.5  # the mean of y moved by one at every x
    assert abs(impact.p_x_part.value) < 0.3
    assert impact.estimates == ()


@pytest.mark.parametrize("quantile, metric", [(0.9, "mean pinball loss at 0.9"), (0.5, "mean absolute error")])
def test_impact_on_a_quantile_is_that_on_its_own_loss(quantile, metric):
    """Squared differences say nothing of a quantile: a high one is to lie above most values of y."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2, 400, 1))
    y, y_target = X[:, 0] + rng.normal(size=400), X_target[:, 0] - 1 + rng.normal(size=400)
    model = QuantileRegressor(quantile=quantile, alpha=0).fit(X, y)
    impact = measure_impact(
        model, X, y, X_target, y_target, weights=np.ones(400), propensity=np.full(800, 0.5), task="regression"
    )
    loss = mean_pinball_loss(y_target, model.predict(X_target), alpha=quantile)
    assert impact.target.value == pytest.approx(loss if quantile != 0.5 else 2 * loss)
    assert {impact.metric, impact.source.metric, impact.estimates[0].metric} == {metric}
    assert impact.p_y_given_x_part.value == pytest.approx(impact.target.value - impact.source.value)


def test_beyond_the_support_the_interval_leaves_everything_open():
    estimate = importance_weighted(np.repeat([1.0, 0.0], [900, 100]), np.ones(1000))
    low, high = beyond_support(estimate, 0.3, 1000).ci
    assert high == 1.0 and estimate.ci[0] - 0.34 < low < estimate.ci[0] - 0.3  # the share is an estimate, too
    assert beyond_support(estimate, 0.0, 1000) is estimate and beyond_support(estimate, 1.0, 1000).ci == (0.0, 1.0)
    error = importance_weighted(np.ones(9) * 4.0, np.ones(9), "mean squared error")
    assert beyond_support(error, 0.3, 1000).ci is None and beyond_support(error, 0.3, 1000).value == 4.0
    assert "30% of the target rows" in beyond_support(error, 0.3, 1000).assumption
    assert "the source covers the target" not in beyond_support(error, 0.3, 1000).assumption


@pytest.mark.parametrize("beyond", [0.0, 1.0])
def test_interval_holds_the_accuracy_whatever_happens_beyond_the_support(beyond):
    """Two fifths of the target lie at x = 8, where the model is always wrong (0) or always right (1)."""
    inside = []
    for seed in range(100):
        X, y, X_target, _, _ = covariate(seed)
        X_target[:200] = 8.0
        impact = measure_impact(Rule(), X, y, X_target, verdict_kind="support")
        low, high = beyond_support(impact.estimates[0], 0.4, 1000).ci
        inside.append(low <= 0.4 * beyond + 0.6 * TRUTH <= high)
    assert np.mean(inside) >= 0.95


@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist, pd.DataFrame, "polars"])
def test_what_a_model_reads(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    if kind == "polars":
        polars = pytest.importorskip("polars")
        kind = lambda X: polars.DataFrame(X, schema=["x0", "x1", "x2"])  # noqa: E731
    source, target = kind(X), kind(X + 9)
    if isinstance(source, pd.DataFrame):
        source.columns = target.columns = ["x0", "x1", "x2"]

    class Second:
        def predict(self, X):
            return np.asarray(X)[:, 1] > 0

    before = np.array(target)
    reads, share = reads_columns(Second(), source, target, ["x0", "x1"])
    assert reads and share == pytest.approx(np.mean(X[:, 1] <= 0), abs=0.2)  # above 0 in all rows of the target
    assert reads_columns(Second(), source, target, ["x0", "x2"]) == (False, 0.0)
    assert np.array_equal(np.array(target), before)


@pytest.mark.parametrize("rows", [["a", "b"], np.zeros((2, 3, 3)), csr_array(np.eye(2))])
def test_what_has_no_columns_to_exchange_counts_as_read(rows):
    assert reads_columns(Rule(), rows, rows, ["component 1"]) == (True, 1.0)


def test_bad_input():
    with pytest.raises(InputError, match="missing values"):
        importance_weighted([1.0, np.nan], [1, 1])
    with pytest.raises(InputError, match="overlap"):
        split_loss_change([1.0, 0.0], [1.0], [0.0, 0.0], [1.0], 0.5)
    with pytest.raises(InputError, match="task"):
        measure_impact(Rule(), np.zeros((2, 1)), [0, 1], np.zeros((2, 1)), task="ranking")
