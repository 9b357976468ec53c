"""GFK: compare rows along all subspaces between that of the source and that of the target."""

from __future__ import annotations

import numpy as np

from ._base import BaseAligner
from ._mass import told_apart
from ._subspace import subspaces

PARALLEL = 1e-8  # sine below which two principal directions are one


class GFK(BaseAligner):
    r"""Geodesic flow kernel, as a linear map that any model can follow.

    **Question.** The principal subspace turned from the source's to the target's: which features look alike from
    every subspace on the way?

    **Formula.** The shortest path :math:`\Phi(t)`, :math:`0 \le t \le 1`, leads from the source's principal axes
    :math:`\Phi(0)` to the target's. Projections on all of its points are compared by

    .. math:: x^\top G z = \int_0^1 (\Phi(t)^\top x)^\top (\Phi(t)^\top z)\, dt.

    With the principal vectors :math:`a_i` of the source, the angles :math:`\theta_i` and the directions
    :math:`q_i \perp a_i` in which the path sets out, :math:`\Phi(t)` has the columns
    :math:`a_i \cos t\theta_i + q_i \sin t\theta_i`, and G is the sum of one 2 x 2 matrix in the plane
    :math:`(a_i, q_i)` for every angle,

    .. math:: \frac12 \begin{pmatrix} 1 + \frac{\sin 2\theta}{2\theta} & \frac{1 - \cos 2\theta}{2\theta} \\
              \frac{1 - \cos 2\theta}{2\theta} & 1 - \frac{\sin 2\theta}{2\theta} \end{pmatrix}.

    Both domains are centred on their means and multiplied by :math:`G^{1/2}`, whose inner products are those of
    the kernel; the centre of the target is added. Means, units and the number of axes: see
    ``da_toolkit/alignment/_subspace.py``.

    **Assumption.** The classes differ within the subspaces, by what both of them show.

    **Fails** under label shift (the means are aligned), when the classes are told apart by directions of
    little variance (of which the default leaves out most in far more columns than rows; `FeatureAlignment` warns where
    the source shows it), and for changes of scale along an axis. With as many axes as columns G is the identity, and
    what is left is the translation.

    Parameters
    ----------
    n_components : "auto" or int
        Number of axes. "auto": as many as hold 99 % of the variance of both domains, at most one for every
        five rows of the smaller; and all columns where the domains cannot be told apart. (The subspace
        disagreement measure of the paper stops at the first right angle between a domain and the pooled rows,
        which in a few columns leaves one axis, and loses accuracy where nothing has shifted.)
    standardize : "auto" or bool
        Whether to measure columns in their pooled standard deviations; "auto" does when the largest of these
        exceeds ten times their lower quartile.

    Attributes
    ----------
    n_components_ : int
    angles_ : ndarray of shape (n_components_,)
        Principal angles between the subspaces, in radians, smallest first.
    mean_source_, mean_target_ : ndarray of shape (n_features,)
        The centres; `mean_target_` is drawn towards `mean_source_`.
    told_apart_ : bool
        False where the rows of both domains lie as near to each other as two samples of one distribution do (their
        energy distance is within two standard deviations of 0), all count the same, and `n_components` is "auto":
        nothing is moved.

    References
    ----------
    Gong, Shi, Sha, Grauman: Geodesic Flow Kernel for Unsupervised Domain Adaptation. CVPR 2012.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X_source = rng.normal(size=(500, 3)) * [5, 3, 0.1]
    >>> X_target = rng.normal(size=(500, 3)) * [5, 0.1, 3]  # turned by a right angle
    >>> GFK(n_components=2).fit(X_source, X_target).angles_.round(1)
    array([0. , 1.6])
    """

    def __init__(self, n_components: str | int = "auto", standardize: str | bool = "auto"):
        self.n_components = n_components
        self.standardize = standardize

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        self.told_apart_ = self.n_components != "auto" or told_apart(X_source, X_target, source_mass, target_mass)
        if not self.told_apart_:
            self.mean_source_ = self.mean_target_ = source_mass @ X_source
            self.n_components_, self.angles_ = X_source.shape[1], np.zeros(X_source.shape[1])
            return
        found = subspaces(X_source, X_target, source_mass, target_mass, self.n_components, self.standardize)
        self.mean_source_, self.mean_target_ = found.mean_source, found.mean_target
        self.n_components_ = found.axes_source.shape[1]
        self._scale = found.scale
        self._left, self._right, self.angles_ = kernel_root(found.axes_source, found.axes_target)

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        return self._mapped(X, self.mean_source_)

    def _transform_target(self, X: np.ndarray) -> np.ndarray:
        return self._mapped(X, self.mean_target_)

    def _mapped(self, X: np.ndarray, mean: np.ndarray) -> np.ndarray:
        if not self.told_apart_:
            return X
        centred = (X - mean) / self._scale
        return self.mean_target_ + ((centred @ self._left) @ self._right) * self._scale


def kernel_root(axes_source: np.ndarray, axes_target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors L, R of the symmetric root of G = (L R)^2, shapes (d, 2k) and (2k, d), and the angles, (k,)."""
    left, cosine, right = np.linalg.svd(axes_source.T @ axes_target, full_matrices=False)
    start = axes_source @ left
    ahead = axes_target @ right.T - start * cosine  # orthogonal to the source, of length sin(theta)
    sine = np.linalg.norm(ahead, axis=0)
    turns = sine > PARALLEL
    theta = np.where(turns, np.arctan2(sine, cosine), 0.0)  # accurate for small angles, as arccos is not
    ahead = np.where(turns, ahead / np.where(turns, sine, 1.0), 0.0)

    same = np.sinc(2 * theta / np.pi)  # sin(2 theta) / (2 theta)
    cross = np.sin(theta) * np.sinc(theta / np.pi)  # (1 - cos(2 theta)) / (2 theta)
    blocks = np.moveaxis(np.array([[1 + same, cross], [cross, 1 - same]]) / 2, -1, 0)
    values, vectors = np.linalg.eigh(blocks)
    root = (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.transpose(0, 2, 1)
    right_root = np.hstack(
        [start * root[:, 0, 0] + ahead * root[:, 1, 0], start * root[:, 0, 1] + ahead * root[:, 1, 1]]
    )
    return np.hstack([start, ahead]), right_root.T, theta
