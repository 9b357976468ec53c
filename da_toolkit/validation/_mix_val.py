"""MixVal: between two target rows the model should answer as it does at the nearer one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier

from shift_detectors._errors import InputError
from shift_detectors._models import answers_of
from shift_detectors._random import check_random_state

from .._numeric_columns import NumericColumns
from ._base import TargetScore

KINDS = ("both", "intra", "inter")


class MixValScore(TargetScore):
    r"""Share of mixed target rows that the model answers as the row they are nearer to.

    Rows are mixed in pairs, :math:`\lambda x_i + (1 - \lambda) x_j` with :math:`\lambda` just above one half, and
    the prediction for the mixture is compared with that for :math:`x_i`. Pairs with the same prediction probe
    whether a class is one region (``"intra"``), pairs with different ones where the boundary lies (``"inter"``);
    ``"both"`` is the mean of the two shares.

    Assumes that classes are convex enough for the way between two rows of a class to stay in it, and that the
    boundary lies half-way. Fails for models that answer everything alike: they have no pairs with different
    predictions, and score 0 in that part.

    Parameters
    ----------
    X_target : array, DataFrame (numeric columns are mixed, the others kept), sparse matrix or Target
    kind : {"both", "intra", "inter"}
    mix : float in (0.5, 1), default 0.55
        :math:`\lambda`.
    random_state : int, Generator, RandomState or None
        Of the pairs.

    References
    ----------
    Hu, Liang, Liew, Xue, Bai, Wang: Mixed samples as probes for unsupervised model selection in domain
    adaptation (NeurIPS 2023).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, y = np.r_[rng.normal(-3, 1, (100, 2)), rng.normal(3, 1, (100, 2))], np.repeat([0, 1], 100)
    >>> right, wrong = LogisticRegression().fit(X, y), LogisticRegression().fit(X + 2, y)
    >>> score = MixValScore(X, random_state=0)
    >>> bool(score(right, X, y) > score(wrong, X, y))
    True
    """

    def __init__(self, X_target: Any = None, kind: str = "both", mix: float = 0.55, random_state: Any = None):
        super().__init__(X_target)
        self.kind = kind
        self.mix = mix
        self.random_state = random_state

    def _score(self, estimator, X, y, X_target) -> float:
        if self.kind not in KINDS:
            raise InputError(f"kind={self.kind!r}", f"one of {KINDS}")
        if not 0.5 < self.mix < 1:
            raise InputError(f"mix={self.mix!r}", "a number between 0.5 and 1")
        if not is_classifier(estimator):
            raise InputError(f"MixValScore was given {type(estimator).__name__}, which is no classifier", "classes")
        predicted = answers_of(estimator, X_target)
        partner = check_random_state(self.random_state).permutation(len(predicted))
        right = answers_of(estimator, _mixed(X_target, partner, self.mix)) == predicted
        alike = predicted == predicted[partner]
        shares = {
            "intra": right[alike].mean() if alike.any() else 0.0,
            "inter": right[~alike].mean() if not alike.all() else 0.0,
        }
        return float(np.mean(list(shares.values())) if self.kind == "both" else shares[self.kind])


def _mixed(X: Any, partner: np.ndarray, share: float) -> Any:
    """Rows of X, each moved towards its partner; of a frame the numeric columns."""
    if sparse.issparse(X):
        X = sparse.csr_matrix(X)
        return share * X + (1 - share) * X[partner]
    columns = NumericColumns(X)
    numbers = columns.extract(X)
    mixed = share * numbers + (1 - share) * numbers[partner]
    return columns.replace(X, mixed)
