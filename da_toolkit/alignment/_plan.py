"""Entropic transport plans between two samples: where distances are measured, and the potentials of the plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._base import column_units, varying

TOLERANCE = 1e-6  # part of the mass that may be in the wrong row
ITERATIONS = 5000
STABLE = 30.0  # logarithm of a scaling beyond which it is absorbed into the potentials
NO_MASS = 1e-9  # a plan of less mass transports nothing


class Coordinates(NamedTuple):
    """Where distances are measured: ``(x - origin) / unit``."""

    origin_source: np.ndarray  # (d,) the middle between the means
    origin_target: np.ndarray  # (d,) the same, but where a column is constant in both domains: it plays no part
    unit: np.ndarray  # (d,)

    @property
    def jump(self) -> np.ndarray:
        """From the value of such a column in the source to that in the target; 0 for all others."""
        return self.origin_target - self.origin_source


def coordinates(X_source, X_target, source_mass, target_mass, standardize: Any) -> Coordinates:
    """Coordinates for two domains whose masses sum to 1."""
    mean_s, mean_t = source_mass @ X_source, target_mass @ X_target
    variance = (source_mass @ (X_source - mean_s) ** 2 + target_mass @ (X_target - mean_t) ** 2) / 2
    varies = varying(variance, mean_s, mean_t)
    middle = (mean_s + mean_t) / 2
    return Coordinates(
        np.where(varies, middle, mean_s),
        np.where(varies, middle, mean_t),
        column_units(variance, varies, standardize),
    )


def potentials(cost, a, b, eps, penalties=(np.inf, np.inf), start=None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Dual potentials f, g of the plan a_i b_j exp((f_i + g_j - cost_ij) / eps), and whether they converged.

    Exact updates in logarithms alternate with runs of cheap ones, two matrix-vector products each, on the
    kernel they leave; a run ends when its scalings u, v grow too large for the kernel. The marginals are a and b, or
    differ from them at `penalties` times their KL divergence; `start` is a first g.
    """
    soft_a, soft_b = (1.0 if np.isinf(penalty) else penalty / (penalty + eps) for penalty in penalties)
    g = np.zeros(len(b)) if start is None else start
    f, done = np.zeros(len(a)), 0
    while done < ITERATIONS:
        f = -soft_a * eps * _log_sum(np.log(b) + (g - cost) / eps, axis=1)
        g = -soft_b * eps * _log_sum(np.log(a)[:, None] + (f[:, None] - cost) / eps, axis=0)
        kernel = plan_of(cost, a, b, f, g, eps)
        if not kernel.sum() > NO_MASS:  # relaxed marginals, and nothing is worth its transport: it only gets less
            return f, g, False
        log_u, log_v = np.zeros(len(a)), np.zeros(len(b))
        while done < ITERATIONS:
            done += 1
            with np.errstate(divide="ignore"):
                rows = kernel @ np.exp(log_v)
                new_u = -soft_a * np.log(rows / a) + (soft_a - 1) * f / eps
                if not np.abs(new_u).max() < STABLE:
                    break
                new_v = -soft_b * np.log((np.exp(new_u) @ kernel) / b) + (soft_b - 1) * g / eps
                if not np.abs(new_v).max() < STABLE:
                    break
            moved = np.abs(np.exp(new_u) - np.exp(log_u)) @ rows / (np.exp(log_u) @ rows)
            log_u, log_v = new_u, new_v
            if moved < TOLERANCE:
                return f + eps * log_u, g + eps * log_v, True
        f, g = f + eps * log_u, g + eps * log_v
    return f, g, False


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    """Logarithm of the sum of exponentials; overwrites `values`."""
    top = values.max(axis=axis, keepdims=True)
    values -= top
    np.exp(values, out=values)
    return np.log(values.sum(axis=axis)) + top.squeeze(axis)


def plan_of(cost, a, b, f, g, eps) -> np.ndarray:
    """The plan of two potentials."""
    mass = (f / eps + np.log(a))[:, None] - cost / eps
    mass += g / eps + np.log(b)
    return np.exp(mass, out=mass)


def draw(mass, classes, limit, rng) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` rows with mass, and their masses: labelled ones first, the others in proportion to mass."""
    rows = np.flatnonzero(mass)
    if len(rows) <= limit:
        return rows, mass[rows]
    labelled, others = rows[classes[rows] >= 0], rows[classes[rows] < 0]
    n_labelled = min(len(labelled), limit // 2) if len(others) else limit
    drawn, masses = [], []
    for part, size in ((labelled, n_labelled), (others, limit - n_labelled)):
        if len(part) > size:
            part = rng.permutation(part)
            part = part[np.argsort(classes[part], kind="stable")]  # every class gets its share
            picked, times = np.unique(at_mass(mass[part], size, rng.random()), return_counts=True)
            drawn.append(part[picked])
            masses.append(times * (mass[part].sum() / size))
        else:
            drawn.append(part)
            masses.append(mass[part])
    return np.concatenate(drawn), np.concatenate(masses)


def at_mass(mass: np.ndarray, size: int, offset: float) -> np.ndarray:
    """Rows found at `size` equal steps of cumulated mass: heavy ones more than once."""
    total = np.cumsum(mass)
    return np.minimum(np.searchsorted(total, (np.arange(size) + offset) * (total[-1] / size)), len(mass) - 1)
