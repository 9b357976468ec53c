"""SubspaceAlignment: turn the principal subspace of the source into that of the target."""

from __future__ import annotations

import numpy as np

from ._base import BaseAligner
from ._subspace import beyond_noise, subspaces

AXIS = 2.5  # rows of the smaller domain for every axis: what too few axes leave out of a row is lost


class SubspaceAlignment(BaseAligner):
    r"""Describe the source rows by their own principal axes, and turn these towards the target's.

    **Question.** Both domains vary mainly within a few directions, but not the same ones: how do the source
    rows look along the directions of the target?

    **Formula.** With the leading principal axes :math:`P_s, P_t` of both domains as columns,
    :math:`M = P_s^\top P_t` minimises :math:`\|P_s M - P_t\|_F`, and

    .. math:: T_s(x) = \mu_t + (x - \mu_s) A_s, \quad A_s = (1 - \lambda) I + \lambda P_s M P_t^\top, \qquad
        T_t(x) = \mu_t + (x - \mu_t) A_t, \quad A_t = (1 - \lambda) I + \lambda P_t P_t^\top.

    The published coordinates are :math:`(x - \mu_s) P_s M` and :math:`(x - \mu_t) P_t`; the last factor
    :math:`P_t^\top` leaves all distances between them as they are, and expresses the result in the columns of the
    input. :math:`\lambda`, 0 to 1, is how much farther apart the subspaces lie than those of two samples of one domain
    would: without a shift of the subspaces the rows keep all they have, and only the means are aligned. Means, units,
    the number of axes and :math:`\lambda`: see ``da_toolkit/alignment/_subspace.py``.

    **Assumption.** The classes differ within the subspaces, and corresponding axes are near each other:
    :math:`M` shrinks what is orthogonal to every axis of the target.

    **Fails** under label shift (the means are aligned), when the classes are told apart by directions of
    little variance, and for changes of scale along an axis, which it does not see. Where there are three rows for
    every column, nearly all axes are kept, :math:`M` is nearly the identity in the space of all columns, and what
    is left is the translation: `LinearOT` does more there.

    Parameters
    ----------
    n_components : "auto" or int
        Number of axes. "auto": as many as hold 99 % of the variance of both domains, at most two for every
        five rows of the smaller.
    standardize : "auto" or bool
        Whether to measure columns in their pooled standard deviations; "auto" does when the largest of these
        exceeds ten times their lower quartile.

    Attributes
    ----------
    n_components_ : int
    axes_source_, axes_target_ : ndarray of shape (n_features, n_components_)
        Orthonormal, in standardised columns if these were standardised.
    beyond_noise_ : float
        The :math:`\lambda` of the formula.
    mean_source_, mean_target_ : ndarray of shape (n_features,)
        The centres; `mean_target_` is drawn towards `mean_source_`.

    References
    ----------
    Fernando, Habrard, Sebban, Tuytelaars: Unsupervised Visual Domain Adaptation Using Subspace Alignment.
    ICCV 2013.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X_source = (rng.normal(size=(500, 2)) * [5, 0.1]) @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    >>> X_target = rng.normal(size=(500, 2)) * [5, 0.1] + [20, 0]  # along a column instead of the diagonal
    >>> aligner = SubspaceAlignment(n_components=1).fit(X_source, X_target)
    >>> aligner.transform_source(X_source).std(axis=0).round(1)
    array([3.5, 0. ])
    """

    def __init__(self, n_components: str | int = "auto", standardize: str | bool = "auto"):
        self.n_components = n_components
        self.standardize = standardize

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        found = subspaces(X_source, X_target, source_mass, target_mass, self.n_components, self.standardize, AXIS)
        self.mean_source_, self.mean_target_ = found.mean_source, found.mean_target
        self.axes_source_, self.axes_target_ = found.axes_source, found.axes_target
        self.n_components_ = found.axes_source.shape[1]
        self.beyond_noise_ = beyond_noise(X_source, X_target, source_mass, target_mass, found)
        self._scale = found.scale

    def _transform_source(self, X: np.ndarray) -> np.ndarray:
        coordinates = ((X - self.mean_source_) / self._scale) @ self.axes_source_
        aligned = self._along_target(coordinates @ (self.axes_source_.T @ self.axes_target_))
        return self._blend(aligned, X - self.mean_source_ + self.mean_target_)

    def _transform_target(self, X: np.ndarray) -> np.ndarray:
        return self._blend(self._along_target(((X - self.mean_target_) / self._scale) @ self.axes_target_), X)

    def _blend(self, aligned: np.ndarray, moved: np.ndarray) -> np.ndarray:
        return self.beyond_noise_ * aligned + (1 - self.beyond_noise_) * moved

    def _along_target(self, coordinates: np.ndarray) -> np.ndarray:
        return self.mean_target_ + (coordinates @ self.axes_target_.T) * self._scale
