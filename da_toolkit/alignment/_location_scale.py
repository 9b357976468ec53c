"""LocationScale: move and stretch every class of the source by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._model import fit_weighted
from .._parameters import check_counts
from ._base import BaseAligner, kept, varying
from ._pseudo_labels import balanced, check_labels, choose_labeller, indicators, memberships

FOLDS = 3
MORE = 5.0  # rows of the classes' mean variance that are counted to every class: none varies by nothing


class LocationScale(BaseAligner):
    r"""Move and stretch the columns of every class so that the target's classes lie where the source's do.

    **Question.** The classes moved, not all in the same way: where would each class of the source lie, had it been
    measured like the target's?

    **Formula.** For a row of class y,

    .. math:: T(x, y) = a_y \circ x + b_y,

    with a scale and a location for every class and column. First all classes get those that give the source the
    target's mean and standard deviations. Then, in turn, a model fitted on the moved source guesses the classes of
    the target rows and, out of fold, of the source rows; mean and standard deviation of every guessed class of the
    source are moved to those of the target, until the guesses stay the same. The same guesses on both sides err in
    the same way, so that overlapping classes are no reason to move anything. Every class is counted five more rows with
    the mean variance of the classes in the domain. Both steps are shrunk by the positive part of 1 - noise / signal
    (James and Stein, 1961); a standard deviation is the noisier the heavier the tails of its column are. Units do not
    matter. The odds of the guesses are scaled towards the class frequencies of the source under `source_weight`.
    `FeatureAlignment` fits its model on training rows under the map of their own class. To `transform_source` the class
    of a row is unknown: it takes the mean of the classes' maps, by their shares among the training rows at that very
    place, and where there are none by the probabilities that a model of the unmoved source gives.

    **Assumption.** Every class changed its location and scale only, and most of the first guesses are right.

    **Fails** when the first guesses are mostly wrong, and when classes turned: columns are treated one by one.

    Parameters
    ----------
    max_iter : int
        Rounds at most.
    random_state : int, Generator, RandomState or None
        Of the folds, which depend on the order of the rows, and of rows when the model takes no `sample_weight`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    scale_, location_ : ndarray of shape (n_classes, n_features)
        a and b.
    pseudo_labels_ : ndarray of shape (n_target,)
        Last guess of the class of every target row.
    n_iter_ : int

    Notes
    -----
    `fit` guesses with clones of its argument `estimator`, if that is an unfitted classifier, and with a logistic
    regression otherwise. The paper finds a and b without guesses, by gradient descent on the maximum mean discrepancy
    between the moved source and the target.

    References
    ----------
    Zhang, Schoelkopf, Muandet, Wang: Domain Adaptation under Target and Conditional Shift. ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = rng.integers(2, size=(2, 500))
    >>> X_source, X_target = (rng.normal(size=(500, 2)) + 8 * labels[:, None] for labels in (y, y_target))
    >>> X_target += np.array([[0, 3], [3, 0]])[y_target]  # one class moved up, the other to the right
    >>> aligner = LocationScale(random_state=0).fit(X_source, X_target, y_source=y)
    >>> (aligner.transform_source(X_source) - X_source)[y == 0].mean(axis=0).round(1)
    array([-0.1,  2.9])
    """

    class_wise = True

    def __init__(self, max_iter: int = 10, random_state: Any = None):
        self.max_iter = max_iter
        self.random_state = random_state

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        check_counts(self, {"max_iter": 1})
        check_labels(y_source, "LocationScale")
        rng = check_random_state(self.random_state)
        self.classes_, codes = np.unique(y_source, return_inverse=True)
        member = np.eye(len(self.classes_))[codes]
        prior = source_mass @ member
        known = indicators(y_target, self.classes_, len(X_target))
        default = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        labeller = choose_labeller(estimator, default)
        weight = None if np.ptp(source_mass) == 0 else source_mass * len(source_mass)

        everything = np.ones((len(X_source), 1)), np.ones((len(X_target), 1))
        together = step(X_source, X_target, *everything, source_mass, target_mass)
        self.scale_, self.location_ = (np.repeat(part, len(prior), axis=0) for part in together)
        base = together[0] * X_source + together[1]
        folds = split(X_source, codes, self.classes_, rng)
        part = rng.permutation(len(X_target)) % len(folds)
        guess = np.zeros((len(X_target), len(prior)))
        for n_iter in range(1, self.max_iter + 1):
            self.n_iter_ = n_iter
            moved = self.scale_[codes] * X_source + self.location_[codes]
            before, seen, guess = guess, np.zeros_like(member), np.zeros_like(guess)
            for fold, (train, test) in enumerate(folds):
                own = None if weight is None else weight[train]
                model = fit_weighted(labeller, moved[train], y_source[train], own, rng)
                seen[test] = memberships(model, moved[test], self.classes_)
                if (part == fold).any():
                    guess[part == fold] = memberships(model, X_target[part == fold], self.classes_)
            guess = np.where(known.any(axis=1, keepdims=True), known, guess)
            balance = balanced(seen, prior, source_mass), balanced(guess, prior, target_mass)
            seen, guess = (np.eye(len(prior))[proba.argmax(axis=1)] for proba in balance)
            if (guess == before).all():
                break
            scale, location = step(base, X_target, seen, guess, source_mass, target_mass)
            self.scale_, self.location_ = scale * together[0], scale * together[1] + location
        self.pseudo_labels_ = self.classes_[guess.argmax(axis=1)]
        self._codes, self._member_at = codes, memberships_at(X_source, member * source_mass[:, None])
        self._model = fit_weighted(labeller, X_source, y_source, weight, rng)

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        member = memberships(self._model, X, self.classes_)
        for i, row in enumerate(_keys(X)):
            member[i] = self._member_at.get(row, member[i])
        return (member @ self.scale_) * X + member @ self.location_

    def _transform_fitted(self, X: np.ndarray) -> np.ndarray:
        return self.scale_[self._codes] * X + self.location_[self._codes]


def memberships_at(X: np.ndarray, mass: np.ndarray) -> dict[bytes, np.ndarray]:
    """Shares of the classes in `mass`, shape (n_rows, n_classes), at each place where there is any."""
    places, where = np.unique(X, axis=0, return_inverse=True)
    total = np.zeros((len(places), mass.shape[1]))
    np.add.at(total, where.ravel(), mass)
    return {key: at / at.sum() for key, at in zip(_keys(places), total, strict=True) if at.any()}


def split(X: np.ndarray, codes: np.ndarray, classes: np.ndarray, rng: Any) -> list:
    """(train, test) of the folds."""
    counts = np.bincount(codes)
    if counts.min() < 2:
        raise InputError(
            f"class {classes[counts.argmin()].item()!r} has a single source row",
            "two rows or more of every class",
            "Merge rare classes.",
        )
    folds = StratifiedKFold(int(min(FOLDS, counts.min())), shuffle=True, random_state=rng.randint(2**31 - 1))
    return list(folds.split(X, codes))


def step(X, X_target, seen, guess, mass, target_mass) -> tuple[np.ndarray, np.ndarray]:
    """Scale and location, shape (n_classes, n_features), that take the classes of `X` to those of `X_target`."""
    mean_s, variance_s, noise_s = _moments(X, seen, mass)
    mean_t, variance_t, noise_t = _moments(X_target, guess, target_mass)
    unit_s, unit_t = mass @ seen @ variance_s, target_mass @ guess @ variance_t
    heavy_s, heavy_t = _kurtosis(X, seen, mass, mean_s, unit_s), _kurtosis(X_target, guess, target_mass, mean_t, unit_t)
    variance_s += MORE * np.minimum(noise_s, 1.0)[:, None] * unit_s
    variance_t += MORE * np.minimum(noise_t, 1.0)[:, None] * unit_t
    # what is constant in a domain has no scale; what is so in both is moved for certain
    both, either = (unit_s > 0) & (unit_t > 0), (unit_s > 0) | (unit_t > 0)
    stretch, move = np.zeros_like(variance_s), mean_t - mean_s
    stretch[:, both] = np.log(variance_t[:, both] / variance_s[:, both]) / 2
    distance = move[:, either] ** 2 / ((variance_s + variance_t)[:, either] / 2)
    for c in range(len(move)):
        # in units of its variance a mean varies by 1 / n, a log standard deviation by (kurtosis - 1) / 4 of that
        varies = (noise_s[c] * (heavy_s[both] - 1) + noise_t[c] * (heavy_t[both] - 1)) / 4
        stretch[c] *= kept((stretch[c, both] ** 2 / varies).sum(), both.sum())
        move[c, either] *= kept(distance[c].sum(), (noise_s[c] + noise_t[c]) * either.sum())
    scale = np.exp(stretch)
    return scale, mean_s + move - scale * mean_s


def _moments(X: np.ndarray, member: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and variance of the columns in every class, and the sum of the squared masses behind them."""
    weight = member * mass[:, None]
    total = weight.sum(axis=0)
    weight = weight / np.where(total > 0, total, 1.0)
    centre = X.mean(axis=0)
    mean = weight.T @ (X - centre)
    variance = weight.T @ (X - centre) ** 2 - mean**2
    variance[~varying(variance, centre)] = 0.0
    return mean + centre, variance, np.where(total > 0, (weight**2).sum(axis=0), np.inf)


def _kurtosis(X, member, mass, mean, unit) -> np.ndarray:
    """Of every column within the classes, 3 for a normal one; `unit` is its variance there.

    At least 1.5: of two values that are equally frequent (1) the standard deviation hardly varies, but does.
    """
    fourth = mass @ (X - member @ mean) ** 4
    return np.maximum(fourth / np.where(unit > 0, unit, 1.0) ** 2, 1.5)


def _keys(X: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in X + 0.0]  # + 0.0: there is one zero only
