"""Label shift problems that this package and its peers solve on the same draws."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

DIGITS = (load_digits().data / 16, load_digits().target)
# rows a side: repeats
SIZES = {
    "two classes": {500: 50, 2000: 30, 10000: 10},
    "digits, redrawn": {500: 40, 2000: 20, 10000: 5},
    "digits, once": {800: 40},
}
SHIFTS = ("dirichlet .1", "dirichlet 1", "dirichlet 10", "tweak .9", "tweak .01")


def label_problem(kind: str, n: int, seed: int):
    """X, y, groups (image of each source row or None), X_target and the true target prior.

    - "two classes": Gaussian in five dimensions, equally frequent in the source, 9 of 10 in the target;
    - "digits, redrawn": source classes equally frequent, target prior Dirichlet(.5). Both sides are drawn with
      replacement from a third of the images each and get noise: the source holds near-copies;
    - "digits, once": no image twice in the source; the target as before, from the other images.
    """
    if kind == "two classes":
        rng = np.random.default_rng([seed, n, 3])
        (X, y), (X_target, _) = (_gaussians(rng, n, share) for share in (0.5, 0.9))
        return X, y, None, X_target, np.array([0.1, 0.9])
    rng = np.random.default_rng([seed, n, 4])
    order = rng.permutation(len(DIGITS[1]))
    own, others, *_ = np.array_split(order, 3) if kind == "digits, redrawn" else np.split(order, [n])
    prior = rng.dirichlet(np.full(10, 0.5))
    if kind == "digits, redrawn":
        X, y, groups = _images(rng, own, n, np.full(10, 0.1))
    else:
        X, y, groups = DIGITS[0][own] + 0.25 * rng.standard_normal((n, 64)), DIGITS[1][own], None
    return X, y, groups, _images(rng, others, n, prior)[0], prior


def _gaussians(rng, n, share):
    y = (rng.random(n) < share).astype(int)
    X = rng.standard_normal((n, 5))
    X[:, :2] += 1.2 * (2 * y[:, None] - 1) * np.array([0.8, 0.4])
    return X, y


def _images(rng, own, n, prior):
    y = rng.choice(10, n, p=prior)
    pools = [own[DIGITS[1][own] == k] for k in range(10)]
    pick = np.array([rng.choice(pools[k]) for k in y])
    return DIGITS[0][pick] + 0.25 * rng.standard_normal((n, 64)), y, pick


@lru_cache
def predictions(data: str):
    """Probabilities and labels of rows that no model was trained on; not for the peers' environment."""
    from da_toolkit import datasets

    if data == "cifar10":
        found = datasets.fetch("cifar10_predictions")
        rows = found.rows("valid")
        proba = np.asarray(found.X[rows], float)
        return proba / proba.sum(axis=1, keepdims=True), np.asarray(found.y[rows], int)
    X, y = DIGITS
    if data != "digits":
        found = datasets.fetch("mnist_usps")
        X, y = np.asarray(found.X[found.rows(data)], float), np.asarray(found.y[found.rows(data)])
        y = np.unique(y, return_inverse=True)[1]
    train = np.random.default_rng(0).permutation(len(y)) < len(y) // 4
    model = LogisticRegression(max_iter=1000).fit(X[train], y[train])
    return model.predict_proba(X[~train]), y[~train]


def grid_problem(proba: np.ndarray, y: np.ndarray, shift: str, seed: int):
    """Rows of the source and of the target, and the true class weights.

    Half of the predictions is the held-out source, from the other half the target is drawn.
    """
    rng = np.random.default_rng([seed, len(y)])
    source, pool = np.array_split(rng.permutation(len(y)), 2)
    k = proba.shape[1]
    kind, value = shift.split()
    if kind == "dirichlet":
        prior = rng.dirichlet(np.full(k, float(value)))
    else:
        prior = np.full(k, (1 - float(value)) / (k - 1))
        prior[rng.integers(k)] = float(value)
    counts = rng.multinomial(min(4000, 2 * len(y)), prior)
    target = np.concatenate([rng.choice(pool[y[pool] == c], m) for c, m in enumerate(counts)])
    return source, target, counts / counts.sum() / (np.bincount(y[source], minlength=k) / len(source))
