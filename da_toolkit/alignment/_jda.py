"""JDA: components whose means agree between the domains, as a whole and class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from .._model import fit_weighted
from .._parameters import check_counts
from ._components import ComponentAligner, mean_difference
from ._pseudo_labels import balanced, check_labels, choose_labeller, indicators, memberships


class JDA(ComponentAligner):
    r"""Joint distribution adaptation: `TCA` that also brings each class of the target to its class of the source.

    **Question.** In which features do the domains agree class by class, when the classes of the target rows
    have to be guessed from the same features?

    **Formula.** As `TCA`, with one more difference of means for every class,

    .. math:: L = I + \frac{1}{\mu s^2} \Bigl(\frac{d d^\top}{\nu} + \sum_c p_c \frac{d_c d_c^\top}{\nu_c}\Bigr),
              \qquad C v = \lambda L v, \qquad V^\top L V = I,

    where :math:`d_c` is the difference of the means of class c, and :math:`\nu, \nu_c` are the sums of the squared
    masses behind them (:math:`1/n_s + 1/n_t` with equal ones), so that scarce classes count for less. Target rows
    belong to a class with the probability that the model, fitted in the present components, gives them (labels
    that are known count as such), scaled so that the classes have the frequencies :math:`p` of the source under
    `source_weight`: without that, a class that attracts a few rows too many grows from round to round. Components
    and labels are computed in turn, from the components of `TCA` on, until the labels stay the same.

    **Assumption.** Most of the pseudo-labels are right from the start, and p(y | z) agrees in the end.

    **Fails** when the first pseudo-labels are mostly wrong: wrong classes are then drawn together, and later
    rounds confirm it. What `TCA` gains safely JDA can lose. In far more columns than rows the default cuts the axes on
    which y depends where others vary more (`FeatureAlignment` warns): set `n_components`.

    Parameters
    ----------
    n_components : "auto" or int
        "auto": as many as hold 99 % of the variance that is left, at most one for every five rows of the
        smaller domain, or for every ten rows where shuffled columns have as large ones; and the columns as they
        are where the domains cannot be told apart.
    kernel : {"rbf", "linear"}
    mu : float
        What is left of a squared difference of means, as a multiple of what sampling alone would show.
    max_iter : int
        Rounds at most.
    bandwidth : "auto" or float
        h of the Gaussian kernel :math:`\exp(-\|x - z\|^2 / h^2)`; "auto": the median distance of pooled rows.
    whiten : bool
        Give all components unit variance, as in the paper.
    n_landmarks : int
        Rows that carry the Gaussian kernel (Nystroem), drawn at random from the pooled ones; with at least as
        many as there are, the kernel is exact.
    standardize : "auto" or bool
        Whether to measure columns in their pooled standard deviations; "auto" does when the largest of these
        exceeds ten times their lower quartile.
    random_state : int, Generator, RandomState or None
        Choice of the landmarks, and of rows when the model takes no `sample_weight`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    pseudo_labels_ : ndarray of shape (n_target,)
        Last guess of the class of every target row.
    n_components_, n_iter_ : int
    variance_ : ndarray of shape (n_components_,)
        The :math:`\lambda`, largest first; or those of the columns.
    told_apart_ : bool
        False where the rows of both domains lie as near to each other as two samples of one distribution do (their
        energy distance is within two standard deviations of 0), all count the same, and `n_components` is "auto":
        the columns are left.

    Notes
    -----
    `fit` guesses with a clone of its argument `estimator`, if that is an unfitted classifier, and with the
    nearest neighbour otherwise.

    References
    ----------
    Long, Wang, Ding, Sun, Yu: Transfer Feature Learning with Joint Distribution Adaptation. ICCV 2013.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = rng.integers(2, size=(2, 300))
    >>> centres = np.array([[0, 0], [4, 0]])
    >>> X_source = centres[y] + rng.normal(size=(300, 2))
    >>> X_target = centres[y_target] + rng.normal(size=(300, 2)) + np.array([[0, 5], [0, 8]])[y_target]
    >>> aligner = JDA(random_state=0).fit(X_source, X_target, y_source=y)
    >>> float((aligner.pseudo_labels_ == y_target).mean().round(2))
    0.97
    """

    class_wise = True

    def __init__(
        self,
        n_components: str | int = "auto",
        kernel: str = "rbf",
        mu: float = 1.0,
        max_iter: int = 10,
        bandwidth: str | float = "auto",
        whiten: bool = False,
        n_landmarks: int = 500,
        standardize: str | bool = "auto",
        random_state: Any = None,
    ):
        super().__init__(
            n_components=n_components,
            kernel=kernel,
            mu=mu,
            bandwidth=bandwidth,
            whiten=whiten,
            n_landmarks=n_landmarks,
            standardize=standardize,
            random_state=random_state,
        )
        self.max_iter = max_iter

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        check_counts(self, {"max_iter": 1})
        check_labels(y_source, "JDA")
        rng = self._generator()
        phi_source, phi_target = self._features(X_source, X_target, source_mass, target_mass, rng)
        self.classes_, codes = np.unique(y_source, return_inverse=True)
        member = np.eye(len(self.classes_))[codes]
        known = indicators(y_target, self.classes_, len(phi_target))
        labeller = choose_labeller(estimator, KNeighborsClassifier(n_neighbors=1))
        weight = None if np.ptp(source_mass) == 0 else source_mass * len(source_mass)

        self._solve(mean_difference(phi_source, phi_target, source_mass, target_mass)[:, None])
        labels = np.full(len(phi_target), -1)
        for n_iter in range(1, self.max_iter + 1):
            self.n_iter_ = n_iter
            model = fit_weighted(labeller, self._components(phi_source), y_source, weight, rng)
            guess = memberships(model, self._components(phi_target), self.classes_)
            guess = np.where(known.any(axis=1, keepdims=True), known, guess)
            guess = balanced(guess, source_mass @ member, target_mass)
            before, labels = labels, guess.argmax(axis=1)
            if (labels == before).all():
                break
            self._solve(joint_differences(phi_source, phi_target, member, guess, source_mass, target_mass))
        self.pseudo_labels_ = self.classes_[labels]


def joint_differences(phi_source, phi_target, member, guess, source_mass, target_mass) -> np.ndarray:
    """Columns d / sqrt(nu) and sqrt(p_c / nu_c) d_c, shape (n_features, 1 + n_classes at most).

    `member` and `guess` hold the class probabilities of source and target rows.
    """
    p, q = source_mass @ member, target_mass @ guess
    columns = [mean_difference(phi_source, phi_target, source_mass, target_mass)]
    for c in np.flatnonzero((p > 0) & (q > 0)):
        in_source, in_target = source_mass * member[:, c] / p[c], target_mass * guess[:, c] / q[c]
        columns.append(np.sqrt(p[c]) * mean_difference(phi_source, phi_target, in_source, in_target))
    return np.stack(columns, axis=1)
