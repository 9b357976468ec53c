"""RLLS: BBSE with a penalty on the change, for few rows or classes that are hard to tell apart."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from shift_detectors._errors import InputError

from .._parameters import is_number
from ._bbse import BBSE

CONFIDENCE = 0.05  # the penalty bounds the error of C with probability 1 - CONFIDENCE


class RLLS(BBSE):
    r"""Estimate the class prior of the target by regularised learning under label shift.

    **Question.** As for `BBSE`, but how large is the change that the rows can support?

    **Formula.** With C and mu of `BBSE`, the source's own prediction frequencies nu = C 1 and w = 1 + theta,

    .. math:: \hat\theta = \arg\min_{\theta \ge -1,\, p^\top \theta = 0}
              \| C \theta - (\mu - \nu) \|_2 + \Delta \| \theta \|_2, \qquad
              \Delta = \alpha \cdot 3 \left( \frac{2 \log(2K/\delta)}{3n} + \sqrt{\frac{2 \log(2K/\delta)}{n}}
              \right),

    n the number of source rows, K of classes, delta = .05. Not squared norms: a change that is smaller than the
    error of C does not move the prior at all. (The paper has no constraint p' theta = 0, which keeps the sum of
    the frequencies; its bound is loose by far, hence alpha = .01; its w = 1 + gamma theta has gamma = 1 here.)

    The interval and the p-value are those of `BBSE`: they hold for what was not shrunk.

    **Assumption.** p(x|y) is the same in source and target, and no new class.

    **Fails** as `BBSE` does, but with a bias towards the source prior in place of a large variance.

    Parameters
    ----------
    soft : bool
        Average probabilities instead of counting the most probable classes.
    alpha : float
        Factor of the penalty; 0 is least squares under the constraints.

    Attributes
    ----------
    prior_, source_prior_, weights_, confidence_interval_, covariance_, pvalue_, singular_value_, classes_
        As in `BBSE`.
    penalty_ : float
        Delta.

    References
    ----------
    Azizzadenesheli, Liu, Yang, Anandkumar (ICLR 2019), Regularized learning for domain adaptation under label
    shifts.

    Examples
    --------
    >>> proba = np.tile([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], (50, 1))
    >>> proba_source, y_source = np.vstack([proba, proba[:, ::-1]]), np.repeat([0, 1], 200)
    >>> proba_target = np.repeat([[0.9, 0.1], [0.1, 0.9]], [60, 40], axis=0)
    >>> RLLS().fit(proba_source, y_source, proba_target).prior_.round(2)
    array([0.7, 0.3])
    >>> RLLS(alpha=1).fit(proba_source, y_source, proba_target).prior_.round(2)
    array([0.5, 0.5])
    """

    def __init__(self, soft: bool = False, alpha: float = 0.01):
        super().__init__(soft)
        self.alpha = alpha

    def _shrink(self, q: np.ndarray, given: np.ndarray, mu: np.ndarray, p: np.ndarray, n: int) -> np.ndarray:
        if not (is_number(self.alpha) and 0 <= self.alpha < np.inf):
            raise InputError(f"alpha={self.alpha!r}", "a finite number >= 0", "0.01 is the default.")
        k = len(p)
        bound = 2 * np.log(2 * k / CONFIDENCE) / n
        self.penalty_ = self.alpha * 3 * (bound / 3 + np.sqrt(bound))
        joint = given * p
        return p * (1 + _penalised(joint, mu - given @ p, p, self.penalty_))


def _penalised(C: np.ndarray, b: np.ndarray, p: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise |C theta - b| + penalty |theta| over theta >= -1 with p'theta = 0, by reweighted least squares.

    At the minimum it equals |C theta - b|^2 + lambda |theta|^2 with lambda = penalty |C theta - b| / |theta|.
    """
    k = len(p)
    tangent = np.eye(k) - np.outer(p, p) / (p @ p)
    size = np.linalg.norm(b)
    if size == 0 or np.linalg.norm(tangent @ C.T @ b) <= penalty * size:
        return np.zeros(k)  # the condition for a minimum at zero
    theta, ridge = np.zeros(k), 1e-12
    for _ in range(500):
        root = np.sqrt(ridge)
        system = np.vstack([C, root * np.eye(k), 1e4 * p])
        new = nnls(system, np.r_[b + C.sum(axis=1), np.full(k, root), 1e4 * p.sum()])[0] - 1
        moved = np.abs(new - theta).max()
        theta = new
        ridge = max(penalty * np.linalg.norm(C @ theta - b) / max(np.linalg.norm(theta), 1e-12), 1e-12)
        if moved < 1e-10:
            break
    return theta
