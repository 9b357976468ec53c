"""Shifts whose truth is known, for the benchmarks: numpy only, independent of the library that is judged.

``scenario(kind, n, seed)`` draws a labelled source, a target to adapt to and a fresh target to be scored on;
``covariate(kind, n, seed, d)`` does so with one and the same p(y|x), and gives the true density ratio;
``two_samples(kind, n, d, seed)`` draws what tests of p(x) are judged on, ``labelled_samples`` the same for p(y|x) and
p(x|y).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

SCENARIOS = ("moons", "affine", "digits_rotated", "digits_blurred", "label_two_classes")
SIMULATED = ("covariate", "target", "concept", "subspace")
IDENTITIES = ("moons", "affine", "digits")
COVARIATE = ("moved", "narrowed", "mixture", "regression")
N_TEST = 4000


class Problem(NamedTuple):
    """What an adapter sees (X_source, y_source, X_target), and what it is judged on."""

    X_source: np.ndarray
    y_source: np.ndarray
    X_target: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    head: str


def scenario(kind: str, n: int, seed: int, *, shifted: bool = True, n_test: int = N_TEST) -> Problem:
    """A conditional or a label shift; with ``shifted=False`` the target is a fresh draw of the source."""
    rng = np.random.default_rng([seed, n, *kind.encode()])
    if kind.startswith("digits"):
        return _digits(kind, n, rng, shifted)
    draw, head = {
        "moons": (_moons, "svc_moons"),
        "affine": (_affine, "logistic"),
        "label_two_classes": (_two, "logistic"),
    }[kind]
    draw = draw(rng)
    (Xs, ys), (Xt, _), (Xe, ye) = draw(n, False), draw(n, shifted), draw(n_test, shifted)
    return Problem(Xs, ys, Xt, Xe, ye, head)


def _moons(rng, degrees=30, noise=0.1):
    """Two half circles; the target is turned."""
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])

    def draw(n, shifted):
        y, t = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
        side = 1 - 2 * y
        x = np.column_stack([y + side * np.cos(t), 0.5 * y + side * np.sin(t)]) - [0.5, 0.25]
        x += rng.normal(0, noise, x.shape)
        return (x @ turn if shifted else x), y

    return draw


def _affine(rng, d=20):
    """Three Gaussian classes; the target is scaled column by column, slightly mixed and moved."""
    means = 0.9 * rng.normal(size=(3, d))
    mix = (np.eye(d) + 0.1 * rng.normal(size=(d, d))).T * rng.uniform(0.5, 2, d)
    move = rng.normal(size=d)

    def draw(n, shifted):
        y = rng.integers(0, 3, n)
        x = means[y] + rng.normal(size=(n, d))
        return (x @ mix + move if shifted else x), y

    return draw


def _two(rng, d=5, prior=0.9):
    """Two overlapping Gaussian classes, half of each in the source, nine to one in the target."""
    direction = 1.2 * np.r_[0.8, 0.4, np.zeros(d - 2)]

    def draw(n, shifted):
        y = (rng.random(n) < (prior if shifted else 0.5)).astype(int)
        return (2 * y[:, None] - 1) * direction + rng.normal(size=(n, d)), y

    return draw


def _digits(kind, n, rng, shifted):
    """Digits of 8 x 8 pixels; the target shows other digits, turned by 30 degrees or blurred and paler."""
    X, y = load_digits(return_X_y=True)
    order = rng.permutation(len(X))
    source, target, test = order[:750][:n], order[750:1500][:n], order[1500:]
    distort = {"digits_rotated": rotate, "digits_blurred": blur, "digits": lambda images: images}[kind]

    def image(rows, moved):
        images = X[rows].reshape(-1, 8, 8) / 16 + rng.normal(0, 0.02, (len(rows), 8, 8))
        return (distort(images) if moved else images).reshape(len(rows), 64)

    return Problem(image(source, False), y[source], image(target, shifted), image(test, shifted), y[test], "logistic")


def rotate(images: np.ndarray, degrees: float = 30) -> np.ndarray:
    """Turn about the centre, by linear interpolation, with black beyond the edges."""
    a, size = np.deg2rad(degrees), images.shape[1]
    r, c = np.indices((size, size)) - (size - 1) / 2
    r, c = np.cos(a) * r - np.sin(a) * c + (size - 1) / 2, np.sin(a) * r + np.cos(a) * c + (size - 1) / 2
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3)))
    i, j = np.floor(r).astype(int), np.floor(c).astype(int)
    u, v = r - i, c - j
    corner = lambda di, dj: padded[:, (i + di + 3).clip(0, size + 5), (j + dj + 3).clip(0, size + 5)]  # noqa: E731
    top = (1 - v) * corner(0, 0) + v * corner(0, 1)
    return (1 - u) * top + u * ((1 - v) * corner(1, 0) + v * corner(1, 1))


def blur(images: np.ndarray) -> np.ndarray:
    """Mean over 3 x 3 pixels, then contrast 0.7 and brightness 0.2."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    mean = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).mean(axis=(3, 4))
    return 0.7 * mean + 0.2


def simulated(kind: str, seed: int, n: int = 100) -> Problem:
    """The four simulated shifts of SKADA-Bench (8 n rows a side; for "subspace" 4 n), by an own generator.

    The distributions are those of skada 0.6.0's ``make_shifted_datasets`` with the benchmark's settings (noise .8,
    for covariate shift .6, for subspace .4; covariate shift towards (-.4, 3)); the test rows are a fresh draw of
    the target instead of a fifth of it.
    """
    rng = np.random.default_rng([seed, n, *kind.encode()])
    noise = {"covariate": 0.6, "subspace": 0.4}.get(kind, 0.8)
    source = (_stripes if kind == "subspace" else _disk_and_blobs)(n, rng)
    target, test = (_shifted(kind, n, rng) for _ in range(2))
    (Xs, ys), (Xt, _), (Xe, ye) = ((X + rng.normal(0, noise, X.shape), y) for X, y in (source, target, test))
    return Problem(Xs, ys, Xt, Xe, ye, "svc")


def _shifted(kind, n, rng):
    if kind == "covariate":  # rows near one place, from a hundred times as many
        X, y = _disk_and_blobs(100 * n, rng)
        weight = np.exp(-2 * ((X - [-0.4, 3]) ** 2).sum(axis=1))
        kept = rng.choice(len(X), 8 * n, replace=False, p=weight / weight.sum())
        return X[kept], y[kept]
    if kind == "target":  # nine tenths of class 0
        X, y = _disk_and_blobs(3 * n, rng)
        first = int(0.9 * 8 * n)
        picks = [rng.choice(np.flatnonzero(y == c), m, replace=False) for c, m in ((0, first), (1, 8 * n - first))]
        kept = np.concatenate(picks)
        return X[kept], y[kept]
    if kind == "concept":
        X, y = _disk_and_blobs(n, rng)
        return 0.7 * X + 1, y
    X, y = _stripes(n, rng)
    return -X, y


def _disk_and_blobs(n, rng):
    """Class 0 fills a sheared disk (4 n rows), class 1 is four Gaussian blobs along its edge (n rows each)."""
    angle, radius = rng.uniform(0, 2 * np.pi, 4 * n), np.sqrt(rng.random(4 * n))
    disk = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]) @ [[2, -0.5], [-0.5, 2]] + [2, 2]
    blobs = (
        ((-1.5, 3), [[0.15, 0], [0, 0.3]]),
        ((-0.5, 1), [[0.2, -0.1], [-0.1, 0.2]]),
        ((1, -0.4), [[0.17, -0.05], [-0.05, 0.17]]),
        ((3, -1), [[0.3, 0], [0, 0.15]]),
    )
    X = np.concatenate([disk, *(rng.normal(size=(n, 2)) @ spread + centre for centre, spread in blobs)])
    return X, np.repeat([0, 1], 4 * n)


def _stripes(n, rng):
    """Class 0 is one blob (2 n rows), class 1 two smaller ones; turned upside down they stay apart along x = -y."""
    blobs = ((2 * n, (-1, 1), 0.5), (n, (1.5, 0.5), 0.1), (n, (-0.5, -1.5), 0.2))
    X = np.concatenate([spread * rng.normal(size=(m, 2)) + centre for m, centre, spread in blobs])
    return X, np.repeat([0, 1], 2 * n)


# --- covariate shift with its true ratio ----------------------------------------------------------------------


class CovariateProblem(NamedTuple):
    """Domains that differ in p(x) alone, with the labels of the target and the true ratio of the source rows."""

    X_source: np.ndarray
    y_source: np.ndarray
    X_target: np.ndarray
    y_target: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    ratio: np.ndarray
    head: str


def covariate(kind: str, n: int, seed: int, d: int = 2, *, shifted: bool = True) -> CovariateProblem:
    """Only the first one or two of d standard normal columns change; no straight line fits p(y|x) everywhere.

    "moved": the first column from N(-.75, 1) to N(1, 1), which leaves the source a twentieth of its effective size.
    "narrowed": the first two from N(0, 1) to N(.3, .6^2).  "mixture": four clusters (sd .7) at (+-1.5, +-1.5), from a
    quarter each to .7, .1, .1, .1.  "regression": a sine in one column (d is 1), from N(-.5, 1) to N(1.2, .5^2).
    """
    rng = np.random.default_rng([seed, n, d, *kind.encode()])
    sides = _SIDES[kind]
    if kind == "regression":
        d = 1

    def draw(m, of_target):
        X = rng.normal(size=(m, d))
        weights, means, spread = sides[of_target and shifted]
        k = len(means[0])
        X[:, :k] = spread * X[:, :k] + np.asarray(means)[rng.choice(len(means), m, p=weights)]
        if kind == "regression":
            return X, np.sin(1.5 * X[:, 0]) + 0.15 * rng.normal(size=m)
        score = X[:, 1] - 0.25 * X[:, 0] ** 2 + 0.5 * np.sin(2 * X[:, 0])
        return X, (rng.random(m) < np.where(score > 0, 0.95, 0.05)).astype(int)

    (Xs, ys), (Xt, yt), (Xe, ye) = draw(n, False), draw(n, True), draw(N_TEST, True)
    ratio = _density(Xs, sides[shifted]) / _density(Xs, sides[False])
    return CovariateProblem(Xs, ys, Xt, yt, Xe, ye, ratio, "linear" if kind == "regression" else "logistic")


_CORNERS = ((1.5, 1.5), (-1.5, 1.5), (1.5, -1.5), (-1.5, -1.5))
_SIDES = {  # of source and target: weights, means and standard deviation of the clusters in the first columns
    "moved": (((1.0,), ((-0.75,),), 1.0), ((1.0,), ((1.0,),), 1.0)),
    "narrowed": (((1.0,), ((0.0, 0.0),), 1.0), ((1.0,), ((0.3, 0.3),), 0.6)),
    "mixture": (((0.25,) * 4, _CORNERS, 0.7), ((0.7, 0.1, 0.1, 0.1), _CORNERS, 0.7)),
    "regression": (((1.0,), ((-0.5,),), 1.0), ((1.0,), ((1.2,),), 0.5)),
}


def _density(X, side):
    weights, means, spread = side
    k = len(means[0])
    squared = ((X[:, None, :k] - np.asarray(means)) ** 2).sum(axis=2)
    return np.exp(-squared / (2 * spread**2)) @ np.asarray(weights) / spread**k


# --- two samples for tests ------------------------------------------------------------------------------------


class Samples(NamedTuple):
    """Both sides of a test, with labels where it needs them."""

    X_source: np.ndarray
    X_target: np.ndarray
    y_source: np.ndarray | None = None
    y_target: np.ndarray | None = None


CHANGES = ("none", "mean", "scale", "correlation", "subpopulation", "bimodal")


def two_samples(kind: str, n: int, d: int, seed: int) -> Samples:
    """Two samples of n rows and d standard normal columns; what changes in the target:

    "mean", "scale", "bimodal": every tenth column moves by .3, is multiplied by 1.3, or has two humps (at +-.9, with
    mean 0 and variance 1 as before).  "correlation": columns 1 and 2, 3 and 4, ... get correlation .5.
    "subpopulation": a twentieth of the rows moves by 4 along one direction.  "sparse": the first column alone moves by
    .24 (DetectShift, experiment 3).  "clusters": four clusters (sd 1) at (+-20, +-20), one of which gets sd 1.3
    (MMD-FUSE).
    """
    rng = np.random.default_rng([seed, n, d, *kind.encode()])
    X, Z = rng.normal(size=(2, n, d))
    few = slice(0, max(1, d // 10))
    if kind == "mean":
        Z[:, few] += 0.3
    elif kind == "scale":
        Z[:, few] *= 1.3
    elif kind == "bimodal":
        Z[:, few] = 0.9 * rng.choice([-1.0, 1.0], Z[:, few].shape) + np.sqrt(1 - 0.9**2) * Z[:, few]
    elif kind == "correlation":
        Z[:, 1::2] = 0.5 * Z[:, 0 : d - d % 2 : 2] + np.sqrt(0.75) * Z[:, 1::2]
    elif kind == "subpopulation":
        direction = np.random.default_rng(d).normal(size=d)
        Z[: round(0.05 * n)] += 4 * direction / np.linalg.norm(direction)
        rng.shuffle(Z)
    elif kind == "sparse":
        Z[:, 0] += 0.24
    elif kind == "clusters":
        for side, spread in ((X, 1.0), (Z, 1.3)):
            corner = rng.integers(0, 4, n)
            side[corner == 3] *= spread
            side[:, 0] += np.where(corner % 2, -20, 20)
            side[:, 1] += np.where(corner < 2, 20, -20)
    elif kind != "none":
        raise ValueError(kind)
    return Samples(X, Z)


def labelled_samples(kind: str, n: int, seed: int, *, shifted: bool = True) -> Samples:
    """Two labelled samples of n rows whose p(y|x) (or p(x|y)) changes, or with ``shifted=False`` does not.

    DetectShift, experiment 2: "y given x" (Y | x ~ N(x, 1), in the target N(x + .12, 1)) and "x given y" (x | y ~
    N((y, y, y), I) for a fair binary y, in the target all three columns higher by .08), the rest alike.

    Lee, Cha and Kim (2024), unbounded, d = 10, the source's x around (1, 1, -1, -1, 0, ...), the target's around 0:
    "S1" a linear mean with t-distributed noise of 2 degrees of freedom, moved by .5.  "S2" the sum of the columns with
    sd 10, without the last column and with an sd of about 3.6.  "S3" cos(sum + 2 e), of which the cosine becomes one
    of z, z^2, z^3, sin, tanh.
    """
    rng = np.random.default_rng([seed, n, *kind.encode()])
    if kind == "y given x":
        X, Z = rng.normal(size=(2, n, 1))
        y, z = (side[:, 0] + rng.normal(size=n) for side in (X, Z))
        return Samples(X, Z, y, z + 0.12 * shifted)
    if kind == "x given y":
        y, z = rng.integers(0, 2, (2, n))
        X, Z = (labels[:, None] + rng.normal(size=(n, 3)) for labels in (y, z))
        return Samples(X, Z + 0.08 * shifted, y, z)
    X, Z = rng.normal(size=(2, n, 10))
    X[:, :4] += [1, 1, -1, -1]
    if kind == "S1":
        y, z = (side[:, :4] @ [1, -1, -1, 1] + rng.standard_t(2, n) for side in (X, Z))
        return Samples(X, Z, y, z + 0.5 * shifted)
    if kind == "S2":
        y = X.sum(axis=1) + 10 * rng.normal(size=n)
        sd = np.sqrt(10 + 10 * np.exp(-np.linalg.norm(Z - 0.5 * np.eye(n, 10)) / 64))
        noise = rng.normal(size=n)
        return Samples(X, Z, y, Z[:, :9].sum(axis=1) + sd * noise if shifted else Z.sum(axis=1) + 10 * noise)
    if kind == "S3":
        y, z = (side.sum(axis=1) + 2 * rng.normal(size=n) for side in (X, Z))
        change = (lambda v: v, np.square, lambda v: v**3, np.sin, np.tanh)[rng.integers(5)]
        return Samples(X, Z, np.cos(y), change(z) if shifted else np.cos(z))
    raise ValueError(kind)
