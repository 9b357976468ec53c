"""Domain pairs drawn from known densities, one function per kind of shift.

Two worlds serve all of them. In the *x-first* world x ~ N(0, I) and y is drawn from a non-linear p(y|x);
covariate, concept, mixed and support shift live there. In the *y-first* world y is drawn first and
x | y ~ N(mean(y), I); label and conditional shift live there.

At ``strength=1`` every shift is moderate: the likelihood-ratio test with the true densities has power of at
least .99 at 1000 rows per side. At ``strength=0`` source and target agree, but for `make_support_shift`: without
the empty slab its domains touch, and still have no row in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from da_toolkit._parameters import read_prior
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from ._pair import TASKS, DomainPair

MEAN_SHIFT = 0.5  # distance of the means of x under covariate shift of strength 1, in standard deviations
PRIOR_TILT = np.log(3) / 2  # standard deviation over the classes of log p_t/p_s under label shift of strength 1
CLASS_DISTANCE = 2.5  # distance between the means of neighbouring classes, in standard deviations
GAIN, OFFSET = 0.2, 0.3  # log gain and offset of the changed sensor at strength 1
NOISE = 0.5  # standard deviation of y given x in regression


def make_no_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """Two samples of the same distribution: x ~ N(0, I), the non-linear p(y|x) of `make_covariate_shift`.

    Parameters
    ----------
    n_source, n_target : int
        Rows of each side.
    n_features : int
        At least 1; the first five carry signal (6 are needed with `as_frame`).
    strength : float
        Without effect; all generators are called alike.
    task : {"classification", "regression"}
    as_frame : bool
        A pandas frame with numeric, skewed, categorical, boolean and missing values instead of an array. The
        stated truth stays exact.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        Of kind "none", with `true_weights` all 1.

    Examples
    --------
    >>> make_no_shift(n_source=100, n_target=50, random_state=0)
    DomainPair('no_shift', kind='none', task='classification', n_source=100, n_target=50, n_features=10)
    """
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    X_source, X_target = (
        rng.standard_normal((n_source, n_features)),
        rng.standard_normal((n_target, n_features)),
    )
    return _finish(
        X_source,
        _draw_y(_score(X_source), task, rng),
        X_target,
        _draw_y(_score(X_target), task, rng),
        as_frame=as_frame,
        rng=rng,
        kind="none",
        task=task,
        name="no_shift",
        description="Source and target are drawn from one distribution.",
        true_weights=np.ones(n_source),
    )


def make_covariate_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float | str = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    r"""p(x) differs, p(y|x) is the same non-linear function.

    Source x ~ N(0, I), target x ~ N(:math:`\delta u`, I) with u the unit vector along the first three
    features and :math:`\delta` = strength / 2, so that

    .. math:: w(x) = p_t(x) / p_s(x) = \exp(\delta u^T x - \delta^2 / 2), \qquad ESS / n = \exp(-\delta^2).

    Parameters
    ----------
    n_source, n_target, n_features, task, as_frame, random_state
        As in `make_no_shift`.
    strength : float or "strong"
        "strong" is the shift whose effective sample size is a fifth of the source (ESS/n = .2).

    Returns
    -------
    DomainPair
        Of kind "covariate", with `true_weights`.

    Examples
    --------
    >>> pair = make_covariate_shift(n_source=20_000, strength="strong", random_state=0)
    >>> round(pair.effective_sample_size / pair.n_source, 1)
    0.2
    """
    return _mean_shift(
        n_source,
        n_target,
        n_features,
        strength,
        task,
        as_frame,
        random_state,
        score=_score,
        name="covariate_shift",
        description="The mean of the first three features moves; p(y|x) is the same non-linear function.",
    )


def make_misspecified(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float | str = "strong",
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """Covariate shift where a linear model gains from importance weights.

    Densities and weights are those of `make_covariate_shift`. The truth is 2 u^T x times x_4 (x_2 with fewer
    than four features; u as there): the effect of a feature changes its sign where the source is densest, so
    that no linear model fits everywhere, but one fits well where the target lies.

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_covariate_shift`; at least 2 features.

    Returns
    -------
    DomainPair
        Of kind "covariate", with `true_weights`.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> pair = make_misspecified(random_state=0)
    >>> model = LinearRegression()
    >>> plain = model.fit(pair.X_source, pair.y_source).score(pair.X_target, pair.y_target)
    >>> weighted = model.fit(pair.X_source, pair.y_source, pair.true_weights).score(pair.X_target, pair.y_target)
    >>> bool(weighted > plain)
    True
    """
    if n_features < 2:
        raise InputError(f"n_features={n_features}", "at least 2", "The truth is a product of two features.")
    return _mean_shift(
        n_source,
        n_target,
        n_features,
        strength,
        task,
        as_frame,
        random_state,
        score=_crossing_score,
        name="misspecified",
        description="In the source the effect of a feature has either sign, in the target mostly one: "
        "no linear model fits the source, one fits the target; p(y|x) is the same.",
    )


def make_label_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    n_classes: int = 2,
    target_prior: Any = None,
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    r"""p(y) differs, p(x|y) is the same.

    Classification: source classes are equally likely; in the target their log probabilities fall linearly
    from the first class to the last, with standard deviation ``strength * log(3) / 2`` (at strength 1, two
    classes: 75 % and 25 %). The classes are Gaussian, so logistic regression is the right model. Regression:
    source y ~ N(0, 1), target y ~ N(strength / 2, 1).

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_no_shift`.
    n_classes : int
        From 2 to ``2 * n_features``; classification only.
    target_prior : array-like of shape (n_classes,), mapping or Series, optional
        Target class probabilities instead of those given by `strength`; classification only.

    Returns
    -------
    DomainPair
        Of kind "label", with `true_weights` = p_t(y) / p_s(y) and, in classification, `true_prior`.

    Examples
    --------
    >>> make_label_shift(target_prior=[0.8, 0.2], random_state=0).true_prior
    array([0.8, 0.2])
    """
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    if task == "regression":
        if target_prior is not None:
            raise InputError("target_prior with task='regression'", "strength", "Regression has no class prior.")
        prior, move = None, MEAN_SHIFT * strength
        y_source, y_target = rng.standard_normal(n_source), move + rng.standard_normal(n_target)
        weights = np.exp(move * y_source - move**2 / 2)
    else:
        if not 2 <= n_classes <= 2 * n_features:
            raise InputError(
                f"n_classes={n_classes} with {n_features} features",
                f"2 to {2 * n_features}",
                "Change n_classes or n_features.",
            )
        if target_prior is None:
            steps = np.linspace(1, -1, n_classes)
            tilt = np.exp(strength * PRIOR_TILT * steps / steps.std())
            prior = tilt / tilt.sum()
        else:
            prior = read_prior(target_prior, np.arange(n_classes), "target_prior")
        y_source, y_target = rng.randint(n_classes, size=n_source), rng.choice(n_classes, n_target, p=prior)
        weights = prior[y_source] * n_classes
    return _finish(
        _draw_x_given_y(y_source, n_features, n_classes, task, rng),
        y_source,
        _draw_x_given_y(y_target, n_features, n_classes, task, rng),
        y_target,
        as_frame=as_frame,
        rng=rng,
        kind="label" if np.ptp(weights) > 0 else "none",
        task=task,
        name="label_shift",
        description="The distribution of y differs; the distribution of x given y is the same.",
        true_weights=weights,
        true_prior=prior,
    )


def make_conditional_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """A changed sensor: p(x|y) moves by an affine map, p(y) is the same.

    Target rows are drawn like source rows, then their first five features become
    ``exp(0.2 * strength) * x + 0.3 * strength``. An affine alignment can undo it.

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_no_shift`.

    Returns
    -------
    DomainPair
        Of kind "conditional", with `true_prior` in classification.

    Examples
    --------
    >>> make_conditional_shift(n_source=100, n_target=50, random_state=0)
    DomainPair('conditional_shift', kind='conditional', task='classification', n_source=100, n_target=50, n_features=10)
    """
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    if task == "regression":
        y_source, y_target = rng.standard_normal(n_source), rng.standard_normal(n_target)
    else:
        y_source, y_target = rng.randint(2, size=n_source), rng.randint(2, size=n_target)
    X_source = _draw_x_given_y(y_source, n_features, 2, task, rng)
    X_target = _draw_x_given_y(y_target, n_features, 2, task, rng)
    X_target[:, :5] = np.exp(GAIN * strength) * X_target[:, :5] + OFFSET * strength
    return _finish(
        X_source,
        y_source,
        X_target,
        y_target,
        as_frame=as_frame,
        rng=rng,
        kind="conditional" if strength > 0 else "none",
        task=task,
        name="conditional_shift",
        description="The target's sensor has another gain and offset in five features; p(y) is the same.",
        true_prior=np.full(2, 0.5) if task == "classification" else None,
    )


def make_concept_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """p(x) is the same, p(y|x) differs in the region x_1 > 1/2 (31 % of the rows).

    Classification: in the region a label is flipped with probability ``1 - 2 ** -strength``. Regression:
    `strength` is added to y there.

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_no_shift`.

    Returns
    -------
    DomainPair
        Of kind "concept".

    Examples
    --------
    >>> make_concept_shift(n_source=100, n_target=50, task="regression", random_state=0)
    DomainPair('concept_shift', kind='concept', task='regression', n_source=100, n_target=50, n_features=10)
    """
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    X_source, X_target = (
        rng.standard_normal((n_source, n_features)),
        rng.standard_normal((n_target, n_features)),
    )
    return _finish(
        X_source,
        _draw_y(_score(X_source), task, rng),
        X_target,
        _change_concept(X_target, _draw_y(_score(X_target), task, rng), strength, task, rng),
        as_frame=as_frame,
        rng=rng,
        kind="concept" if strength > 0 else "none",
        task=task,
        name="concept_shift",
        description="Where the first feature is above 1/2, y differs in the target; p(x) is the same.",
    )


def make_mixed_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """p(x) and p(y|x) both differ: the moves of `make_covariate_shift` and `make_concept_shift` together.

    p(y) and p(x|y) then differ as well; no single factor explains the shift.

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_no_shift`.

    Returns
    -------
    DomainPair
        Of kind "mixed".

    Examples
    --------
    >>> make_mixed_shift(n_source=100, n_target=50, random_state=0)
    DomainPair('mixed_shift', kind='mixed', task='classification', n_source=100, n_target=50, n_features=10)
    """
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    X_source = rng.standard_normal((n_source, n_features))
    X_target = rng.standard_normal((n_target, n_features)) + MEAN_SHIFT * strength * _direction(n_features)
    return _finish(
        X_source,
        _draw_y(_score(X_source), task, rng),
        X_target,
        _change_concept(X_target, _draw_y(_score(X_target), task, rng), strength, task, rng),
        as_frame=as_frame,
        rng=rng,
        kind="mixed" if strength > 0 else "none",
        task=task,
        name="mixed_shift",
        description="The mean of three features moves, and where the first is above 1/2, y differs too.",
    )


def make_support_shift(
    n_source: int = 1000,
    n_target: int = 1000,
    *,
    n_features: int = 10,
    strength: float = 1.0,
    task: str = "classification",
    as_frame: bool = False,
    random_state: Any = None,
) -> DomainPair:
    """No overlap: source and target lie on two sides of an empty slab; p(y|x) is one function.

    Along the unit vector u of the first three features, u^T x is below -strength / 2 in the source and above
    strength / 2 in the target (half-normal beyond). With two or more features no single one separates the
    domains.

    Parameters
    ----------
    n_source, n_target, n_features, strength, task, as_frame, random_state
        As in `make_no_shift`. `strength` is the width of the slab: at 0 the two half spaces touch, which is a support
        shift, too. For no shift call `make_no_shift`.

    Returns
    -------
    DomainPair
        Of kind "support", at every strength. The density ratio does not exist.

    Examples
    --------
    >>> make_support_shift(n_source=100, n_target=50, random_state=0)
    DomainPair('support_shift', kind='support', task='classification', n_source=100, n_target=50, n_features=10)
    """
    _check(
        n_source,
        n_target,
        n_features,
        strength,
        task,
        as_frame,
        strengths="It is the width of the empty slab: at 0 the domains touch, a support shift, too.",
    )
    rng = check_random_state(random_state)
    u = _direction(n_features)

    def half_space(n, side):
        X = rng.standard_normal((n, n_features))
        along = X @ u
        return X + np.outer(side * (np.abs(along) + strength / 2) - along, u)

    X_source, X_target = half_space(n_source, -1), half_space(n_target, 1)
    return _finish(
        X_source,
        _draw_y(_score(X_source), task, rng),
        X_target,
        _draw_y(_score(X_target), task, rng),
        as_frame=as_frame,
        rng=rng,
        kind="support",
        task=task,
        name="support_shift",
        description="Source and target lie on two sides of an empty slab.",
    )


def _mean_shift(
    n_source, n_target, n_features, strength, task, as_frame, random_state, *, score, name, description
) -> DomainPair:
    """Gaussian x whose mean moves along `_direction`, y from `score` on both sides."""
    if strength == "strong":
        strength = np.sqrt(np.log(5)) / MEAN_SHIFT  # exp(-delta^2) = 1/5
    _check(n_source, n_target, n_features, strength, task, as_frame)
    rng = check_random_state(random_state)
    delta, u = MEAN_SHIFT * strength, _direction(n_features)
    X_source = rng.standard_normal((n_source, n_features))
    X_target = rng.standard_normal((n_target, n_features)) + delta * u
    return _finish(
        X_source,
        _draw_y(score(X_source), task, rng),
        X_target,
        _draw_y(score(X_target), task, rng),
        as_frame=as_frame,
        rng=rng,
        kind="covariate" if strength > 0 else "none",
        task=task,
        name=name,
        description=description,
        true_weights=np.exp(delta * X_source @ u - delta**2 / 2),
    )


def _direction(n_features: int) -> np.ndarray:
    """Unit vector along the first three features."""
    u = np.zeros(n_features)
    u[:3] = 1 / np.sqrt(min(n_features, 3))
    return u


def _score(X: np.ndarray) -> np.ndarray:
    """The non-linear truth of the x-first world: log odds of class 1, or the mean of y."""
    x = np.zeros((len(X), 5))
    x[:, : X.shape[1]] = X[:, :5]
    return 2 * np.sin(1.5 * x[:, 0]) + 1.5 * x[:, 1] * x[:, 2] + 1.5 * x[:, 3] + 0.5 * (x[:, 4] ** 2 - 1)


def _crossing_score(X: np.ndarray) -> np.ndarray:
    """A product of two features: the slope of one changes its sign with the other."""
    return 2 * (X @ _direction(X.shape[1])) * X[:, 3 if X.shape[1] > 3 else 1]


def _draw_y(score: np.ndarray, task: str, rng: np.random.RandomState) -> np.ndarray:
    if task == "regression":
        return score + NOISE * rng.standard_normal(len(score))
    return (rng.random_sample(len(score)) < expit(score)).astype(int)


def _change_concept(X: np.ndarray, y: np.ndarray, strength: float, task: str, rng: np.random.RandomState) -> np.ndarray:
    region = X[:, 0] > 0.5
    if task == "regression":
        return y + strength * region
    flipped = region & (rng.random_sample(len(y)) < 1 - 2.0**-strength)
    return np.where(flipped, 1 - y, y)


def _draw_x_given_y(
    y: np.ndarray, n_features: int, n_classes: int, task: str, rng: np.random.RandomState
) -> np.ndarray:
    """X | y ~ N(mean(y), I): the y-first world."""
    X = rng.standard_normal((len(y), n_features))
    if task == "regression":
        loading = np.zeros(n_features)
        loading[:5] = 0.7
        bent = np.arange(n_features) % 2 == 1
        return X + loading * np.where(bent, (y**2 - 1)[:, None], y[:, None])
    return X + _class_means(n_classes, n_features)[y]


def _class_means(n_classes: int, n_features: int) -> np.ndarray:
    """Means of the classes, shape (n_classes, n_features): corners of a cross-polytope, two per axis.

    The first axis is turned to the diagonal of the first five features, so that each carries some signal.
    """
    m = min(n_features, max(5, -(-n_classes // 2)))
    mirror = np.eye(m)[0] - np.full(m, m**-0.5)
    if mirror @ mirror > 0:
        axes = np.eye(m) - 2 * np.outer(mirror, mirror) / (mirror @ mirror)
    else:
        axes = np.eye(m)
    radius = CLASS_DISTANCE / (2 if n_classes == 2 else np.sqrt(2))
    means = np.zeros((n_classes, n_features))
    for k in range(n_classes):
        means[k, :m] = radius * (-1) ** k * axes[k // 2]
    return means


def _finish(X_source, y_source, X_target, y_target, *, as_frame, rng, **fields) -> DomainPair:
    if as_frame:
        X_source, X_target = _to_frame(X_source, rng), _to_frame(X_target, rng)
    names = tuple(f"x{j}" for j in range(1, X_source.shape[1] + 1))
    return DomainPair(X_source, y_source, X_target, y_target, feature_names=names, **fields)


def _to_frame(X: np.ndarray, rng: np.random.RandomState) -> pd.DataFrame:
    """Columns of many types that keep the stated truth.

    The features that move under covariate shift (the first three) are mapped one to one; only features that
    are independent of these lose information: x4 becomes a category, x5 loses 10 % of its values at random,
    x6 becomes a boolean. Hence p(y|x) and the density ratio of what is left to see are what they were.
    """
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(1, X.shape[1] + 1)])
    frame["x3"] = np.exp(X[:, 2])
    frame["x4"] = pd.cut(
        X[:, 3], [-np.inf, -0.7, 0, 0.7, np.inf], labels=["low", "medium", "high", "top"], ordered=False
    )
    frame["x5"] = np.where(rng.random_sample(len(X)) < 0.1, np.nan, X[:, 4])
    frame["x6"] = X[:, 5] > 0.5
    return frame


def _check(n_source, n_target, n_features, strength, task, as_frame, strengths="1 is moderate, 0 is no shift.") -> None:
    if task not in TASKS:
        raise InputError(f"task={task!r}", " or ".join(TASKS), "Choose one.")
    for name, value, least in (
        ("n_source", n_source, 1),
        ("n_target", n_target, 1),
        ("n_features", n_features, 1),
    ):
        if value < least:
            raise InputError(f"{name}={value}", f"at least {least}", f"Raise {name}.")
    if as_frame and n_features < 6:
        raise InputError(f"n_features={n_features} with as_frame=True", "at least 6", "Raise n_features.")
    if isinstance(strength, str) or not (np.isfinite(strength) and strength >= 0):
        raise InputError(f"strength={strength!r}", "a finite number >= 0", strengths)
