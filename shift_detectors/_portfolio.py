"""The portfolio: every permutation statistic on the same assignments, combined into one exact decision."""

from __future__ import annotations

import numpy as np

from ._distance_tests import (
    energy_and_gaussian_rows,
    kernel_subsample,
    mean_rows,
    moment_rows,
    second_moments,
    squared_bandwidths,
)
from ._feature_test import feature_logp
from ._permutation import difference, harmonic, smallest, tail_logp
from ._results import Effect, FeatureShift
from ._table import Table

# squared lengths of the Gaussian kernels, in medians of the pooled squared distance: 1/2, 1/4, 1/8, and smaller ones
# where many rows are closer together than that, each at most eight times the next
WIDEST, KERNELS, STEP = 0.5, 3, 8.0
# weights of the families: single features see most changes, products of two and means what is spread over several
# columns, distances see again what these see and are alone only with clusters
WEIGHTS = {"features": 3.0, "moments": 2.0, "means": 2.0, "distances": 1.0, "scores": 2.0}


def portfolio(
    table: Table,
    U: np.ndarray,
    rng: np.random.Generator,
    *,
    scores: np.ndarray | None = None,
    kernels: bool = True,
    two_samples: bool = True,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Combined statistic under every assignment.

    Parameters
    ----------
    table : Table
    U : ndarray of shape (n, B + 1)
        Signed assignments, see `_permutation.signed`.
    rng : Generator
        Subsampling and random products.
    scores : ndarray of shape (n, k), optional
        Extra columns on which means are compared, such as out-of-fold class scores: a change of p(y) shows
        there first.
    kernels : bool
        Whether to compute distances, the one part that is quadratic in n.
    two_samples : bool
        False when U is a signed measure of total zero that does not consist of two samples.

    Returns
    -------
    joint : ndarray of shape (B + 1,)
    per_feature : ndarray of shape (n_features, B + 1)
        Log tail probabilities.
    notes : tuple of str
    """
    per_feature = feature_logp(table, U, two_samples=two_samples)
    families = {"features": tail_logp(smallest(per_feature)[None, :])} if len(per_feature) else {}
    notes = ()
    Z = table.design
    if Z.shape[1]:
        families["means"] = tail_logp(mean_rows(Z, U))
        products, squares = second_moments(Z, rng)
        families["moments"] = _family(moment_rows(products, U, squares))
        if kernels:
            rows = kernel_subsample(table.n, rng)
            if rows is not None:
                notes = (f"distances computed on {len(rows)} of {table.n} rows, drawn at random",)
                Z, V = Z[rows], U[rows]
                V = difference(np.maximum(V, 0), np.maximum(-V, 0)) if two_samples else V - V.mean(axis=0)
            else:
                V = U
            bandwidths = squared_bandwidths(Z, rng, WIDEST, KERNELS, STEP)
            families["distances"] = _family(energy_and_gaussian_rows(Z, V, bandwidths))
    if scores is not None and scores.shape[1]:
        families["scores"] = tail_logp(mean_rows(scores, U))
    if not families:
        return np.zeros(U.shape[1]), per_feature, notes
    return combined(families), per_feature, notes


def combined(families: dict[str, np.ndarray]) -> np.ndarray:
    """One statistic (B + 1,) from rows of log tail probabilities (1, B + 1), by the sum of `WEIGHTS` / p."""
    return harmonic(np.vstack(list(families.values())), np.array([WEIGHTS[name] for name in families]))


def _family(rows: np.ndarray) -> np.ndarray:
    """Statistics of one kind, which see much of the same, as one row of log tail probabilities."""
    return tail_logp(smallest(tail_logp(rows))[None, :])


def largest_effect(features: tuple[FeatureShift, ...]) -> Effect | None:
    """The largest effect among the features."""
    return max((f.effect for f in features), key=lambda e: e.value, default=None)
