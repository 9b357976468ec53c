"""Multivariate statistics of p(x) as quadratic forms in the signed permutation matrix.

For weights u (+1/n_t on target rows, -1/n_s on source rows) and a kernel matrix K the squared distance of the
two samples is u' K u. With all assignments as columns of U it is the diagonal of U' K U: one matrix product
per kernel, in blocks of rows, so that memory grows with n and not with n^2.
"""

from __future__ import annotations

import numpy as np

from ._permutation import product, settled, squared_length

BLOCK = 256  # rows of a kernel matrix at a time; smaller blocks waste less on the diagonal
FAINT = np.float32(-60.0)  # least exponent of a kernel: less adds nothing but denormal numbers, which are slow
ROW_LIMIT = 6000  # pooled rows used by kernels in a portfolio; more are subsampled without looking at the domain


def kernel_subsample(n: int, rng: np.random.Generator, limit: int = ROW_LIMIT) -> np.ndarray | None:
    """Rows used by the kernel statistics: all (None), or a random `limit` of them."""
    return None if n <= limit else np.sort(rng.choice(n, limit, replace=False))


def squared_bandwidth(Z: np.ndarray, rng: np.random.Generator) -> float:
    """Median squared distance between pooled rows (of 500 random ones)."""
    return _median(_some_distances(Z, rng))


def squared_bandwidths(Z: np.ndarray, rng: np.random.Generator, widest: float, count: int, step: float) -> np.ndarray:
    """Squared lengths of `count` Gaussian kernels or more, from `widest` medians of the squared distance downwards.

    The smallest is 2^(1 - count) of the largest, or the 5 % quantile of the positive squared distances if that is less
    (clusters, few dimensions): a change within a small cluster shows at the scale of that cluster only. More kernels
    then come in between, so that each length is at most `step` times the next.
    """
    distances = _some_distances(Z, rng)
    median = _median(distances)
    apart = distances[distances > 1e-5 * median]  # rounding leaves equal rows a little apart
    top = widest * median
    bottom = min(top / 2 ** (count - 1), float(np.quantile(apart, 0.05)) if len(apart) else top)
    count = max(count, 1 + int(np.ceil(np.log(top / bottom) / np.log(step) - 1e-9)))
    return np.geomspace(top, bottom, count)


def _some_distances(Z, rng):
    rows = rng.choice(len(Z), min(len(Z), 500), replace=False)
    return _squared_distances(Z[rows], Z[rows])[np.triu_indices(len(rows), 1)]


def _median(distances):
    median = float(np.median(distances))
    # most rows equal: fall back to the mean, which is positive unless all are equal
    return median if median > 0 else float(distances.mean()) or 1.0


def energy_rows(Z: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Energy distance 2 E|S - T| - E|S - S'| - E|T - T'| of every assignment, shape (1, B + 1)."""
    return _quadratic_forms(Z, U, lambda d2: [-np.sqrt(d2)])


def gaussian_rows(Z: np.ndarray, U: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """Squared MMD for the kernels exp(-d^2 / s), s in `bandwidths` (squared lengths).

    Returns
    -------
    ndarray of shape (len(bandwidths), B + 1)
        Each row divided by the root of the mean squared kernel, which no permutation changes.
    """
    return _quadratic_forms(Z, U, lambda d2: _gaussians(d2, bandwidths), normalise=True)


def energy_and_gaussian_rows(Z: np.ndarray, U: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """`energy_rows` and `gaussian_rows` in one pass over the distances: the energy row comes first."""

    def kernels(d2):
        yield -np.sqrt(d2)
        yield from _gaussians(d2, bandwidths)

    return _quadratic_forms(Z, U, kernels, normalise=True)


def _gaussians(d2, bandwidths):
    for bandwidth in bandwidths:
        exponent = d2 * np.float32(-1 / bandwidth)
        np.maximum(exponent, FAINT, out=exponent)
        yield np.exp(exponent, out=exponent)


def _squared_distances(A, B):
    d2 = (A * A).sum(1)[:, None] + (B * B).sum(1)[None, :] - 2 * (A @ B.T)
    return np.maximum(d2, 0, out=d2)


def _quadratic_forms(Z, U, kernels, normalise=False):
    """Diagonal of U' K U for every kernel, from the blocks of K on and above its diagonal.

    The diagonal of K, which of narrow kernels is nearly all there is, counts by itself: no exchange changes what it
    adds, but rounding would.
    """
    Z = np.ascontiguousarray(Z, np.float32)
    diagonal = np.array([float(kernel[0, 0]) for kernel in kernels(np.zeros((1, 1), np.float32))])
    if not np.ptp(Z, axis=0).any():  # equal rows: the forms are zero, and rounding would rank them
        return np.zeros((len(diagonal), U.shape[1]))
    total, squares = np.zeros(()), np.zeros(())
    for start in range(0, len(Z), BLOCK):
        rows, values, norms = slice(start, start + BLOCK), [], []
        for kernel in kernels(_squared_distances(Z[rows], Z[start:])):
            np.fill_diagonal(kernel, 0)
            norms.append(2 * _sum_of_squares(kernel) - _sum_of_squares(kernel[:, : len(kernel)]))
            kernel[:, len(kernel) :] *= 2  # what is beyond the diagonal block, and its mirror image
            values.append(np.einsum("ib,ib->b", U[rows], kernel @ U[start:], dtype=np.float64))
        total = total + np.array(values)
        squares = squares + np.array(norms)
    size = squared_length(U)
    lengths = settled(np.einsum("ib,ib->b", U, U, dtype=np.float64)[None, :], size)
    forms = settled(total, size * np.sqrt(squares)[:, None] / len(Z)) + diagonal[:, None] * lengths
    if normalise:
        forms /= np.sqrt(squares / len(Z) ** 2 + diagonal**2 / len(Z))[:, None]
    return forms


def _sum_of_squares(A):
    return float(np.einsum("ij,ij->", A, A))


def mean_rows(Z: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Distance of means u' Z (C + r I)^-1 Z' u with C the pooled covariance, shape (1, B + 1).

    Hotelling's statistic with the ridge r = d / n times the mean variance: with many columns per row the plain
    inverse would drown the signal in the noise of small eigenvalues.
    """
    # a constant column (scores of a model that found nothing) would leave rounding errors, blown up by the whitening
    Z = Z[:, np.ptp(Z, axis=0) > 1e-6 * np.abs(Z).max(axis=0, initial=1e-300)]
    if not Z.shape[1]:
        return np.zeros((1, U.shape[1]))
    centred = (Z - Z.mean(axis=0)).astype(np.float64)
    if len(Z) < Z.shape[1]:  # the columns span no more than the rows do: those instead, turned to their own axes
        values, vectors = np.linalg.eigh(centred @ centred.T)
        centred = vectors * np.sqrt(np.maximum(values, 0))
    values, vectors = np.linalg.eigh(centred.T @ centred / len(Z))
    ridged = np.maximum(values, 0) + values.sum() / len(Z)
    whitened = (centred @ (vectors / np.sqrt(np.maximum(ridged, 1e-12)))).astype(np.float32)
    return settled((product(whitened, U) ** 2).sum(axis=0, keepdims=True), whitened.shape[1] * squared_length(U))


ALL_PAIRS = 20  # up to this many columns every pairwise product enters the second moments
RANDOM_PAIRS = 200


def moment_pairs(d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The two columns of every product: all pairs for up to `ALL_PAIRS` columns, `RANDOM_PAIRS` random ones above."""
    if d <= ALL_PAIRS:
        return np.triu_indices(d)
    a, b = rng.integers(0, d, (2, RANDOM_PAIRS))
    return np.r_[np.arange(d), a[a != b]], np.r_[np.arange(d), b[a != b]]


def second_moments(Z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centred, standardised squares and pairwise products (`moment_pairs`) of the columns, clipped at three deviations.

    Returns
    -------
    products : ndarray of shape (n, k)
    squares : ndarray of bool, shape (k,)
        Which of them are squares.
    """
    Z = np.clip(Z, -3, 3)
    a, b = moment_pairs(Z.shape[1], rng)
    Q = Z[:, a] * Z[:, b]
    Q -= Q.mean(axis=0)
    scale = Q.std(axis=0)
    keep = scale > 1e-6
    return (Q[:, keep] / scale[keep]).astype(np.float32), (a == b)[keep]


def moment_rows(Q: np.ndarray, U: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Largest difference of the squares, largest of the products, and summed squared difference, shape (3, B + 1).

    The d squares have a maximum of their own: among d (d - 1) / 2 products a change of one scale would drown.
    """
    gaps, size = product(Q, U), squared_length(U)
    largest = [np.abs(gaps[kind]).max(axis=0, initial=0) for kind in (squares, ~squares)]
    sizes = np.array([[np.sqrt(size)], [np.sqrt(size)], [len(gaps) * size]])
    return settled(np.vstack([*largest, (gaps**2).sum(axis=0)]), sizes)
