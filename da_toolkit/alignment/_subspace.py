"""Centres, units and principal axes of two domains: what SubspaceAlignment, GFK, TCA and JDA compute on.

**Units.** Principal axes and distances are those of the columns' units. Columns in one unit are taken as they
are; where the largest standard deviation exceeds ten times the lower quartile, all are measured in their pooled
standard deviations. The quartile, because a few columns that hardly vary (the border pixels of an image) are no
sign of different units, and inflating them is harmful.

**Centres.** Each domain is centred on its own mean, so that a translated target is aligned; the difference of
the means is shrunk by the positive part of 1 - noise / signal (James and Stein, 1961), so that two samples of
one distribution are left nearly where they are.

**Number of axes.** As many as hold 99 % of the variance of both domains, but at most one for every five rows
of the smaller one: further axes of so small a sample are noise, and two samples disagree on them.

**Noise.** How far the subspaces of two samples lie apart without a shift is seen on halves of each domain: they are
compared with each other and, at the same size, with those of the other domain (`beyond_noise`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from shift_detectors._errors import InputError

from ._base import column_units, kept, shrunk_mean, varying

SHARE = 0.99  # part of the variance that is kept
ROWS_PER_AXIS = 5.0
RANK = 1e-10  # directions with less than this share of the largest variance are taken as constant


class Subspaces(NamedTuple):
    """Leading principal axes of both domains, in columns divided by `scale`."""

    mean_source: np.ndarray  # (d,)
    mean_target: np.ndarray  # (d,) drawn towards `mean_source`
    scale: np.ndarray  # (d,)
    axes_source: np.ndarray  # (d, k) orthonormal
    axes_target: np.ndarray  # (d, k)


def subspaces(
    X_source,
    X_target,
    source_mass,
    target_mass,
    n_components: Any,
    standardize: Any,
    rows_per_axis: float = ROWS_PER_AXIS,
) -> Subspaces:
    """The principal subspaces that `SubspaceAlignment` and `GFK` bring together; masses sum to 1."""
    mean_s, mean_t = source_mass @ X_source, target_mass @ X_target
    variance_s, variance_t = source_mass @ (X_source - mean_s) ** 2, target_mass @ (X_target - mean_t) ** 2
    variance = (variance_s + variance_t) / 2
    varies = varying(variance, mean_s, mean_t)
    scale = column_units(variance, varies, standardize)
    noise_s, noise_t = (source_mass**2).sum(), (target_mass**2).sum()  # 1 / n with equal masses

    axes_s, spread_s = principal_axes((X_source - mean_s) / scale * varies, source_mass)
    axes_t, spread_t = principal_axes((X_target - mean_t) / scale * varies, target_mass)
    estimable = min(axes_s.shape[1], axes_t.shape[1])
    if n_components == "auto":
        k = min(max(n_leading(spread_s), n_leading(spread_t)), n_axes(1 / max(noise_s, noise_t), rows_per_axis))
        k = min(max(k, 1), estimable)
    else:
        k = min(check_n_components(n_components), estimable)

    mean_t = shrunk_mean(mean_s, mean_t, variance_s, variance_t, noise_s, noise_t, varies)
    return Subspaces(mean_s, mean_t, scale, axes_s[:, :k], axes_t[:, :k])


def beyond_noise(X_source, X_target, source_mass, target_mass, found: Subspaces) -> float:
    """Share, 0 to 1, of the distance between the subspaces of both domains that samples of one would not show.

    With D(A, B) = k - |A' B|^2 the distance of two sets of k axes, it is the positive part of 1 - within / across:
    the mean D of two halves of one domain, and of halves of different domains, all of as many rows.
    """
    X_source, source_mass = X_source[source_mass > 0], source_mass[source_mass > 0]
    X_target, target_mass = X_target[target_mass > 0], target_mass[target_mass > 0]
    m, k = min(len(X_source), len(X_target)) // 2, found.axes_source.shape[1]
    if m < 2:
        return 0.0
    rng = np.random.RandomState(0)
    halves = []
    for X, mass in ((X_source, source_mass), (X_target, target_mass)):
        order = rng.permutation(len(X))
        for rows in (order[:m], order[m : 2 * m]):
            own = mass[rows] / mass[rows].sum()
            halves.append(principal_axes((X[rows] - own @ X[rows]) / found.scale, own)[0][:, :k])

    def distance(i: int, j: int) -> float:
        return k - float(((halves[i].T @ halves[j]) ** 2).sum())

    within = (distance(0, 1) + distance(2, 3)) / 2
    across = (distance(0, 2) + distance(0, 3) + distance(1, 2) + distance(1, 3)) / 4
    return kept(across, within)


def principal_axes(rows: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes of centred rows, shape (d, r), and the variances along them, (r,), largest first."""
    rows = rows * np.sqrt(mass)[:, None]
    if rows.shape[1] <= len(rows):
        variances, axes = np.linalg.eigh(rows.T @ rows)
        variances, axes = variances[::-1], axes[:, ::-1]
    else:  # more columns than rows: the same axes without a d x d matrix
        _, deviations, right = np.linalg.svd(rows, full_matrices=False)
        variances, axes = deviations**2, right.T
    keep = (variances > RANK * variances[:1]) & (variances > 0)
    return axes[:, keep], variances[keep]


def n_leading(variances: np.ndarray, share: float = SHARE) -> int:
    """How many of the variances, largest first, hold `share` of their sum."""
    before = np.cumsum(variances) - variances
    return int((before < share * variances.sum()).sum())


def n_axes(n: float, rows_per_axis: float) -> int:
    """How many axes `n` rows tell; as a sum over masses n may lie a rounding error below a whole number."""
    return int(n / rows_per_axis * (1 + 1e-9))


def check_n_components(n_components: Any) -> int:
    """`n_components` as an int, or an `InputError`."""
    if isinstance(n_components, (int, np.integer)) and not isinstance(n_components, bool) and n_components >= 1:
        return int(n_components)
    raise InputError(f"n_components={n_components!r}", '"auto" or a whole number of at least 1')
