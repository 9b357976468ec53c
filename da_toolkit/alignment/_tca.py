"""TCA: transfer components, which vary much and have the same mean in both domains."""

from __future__ import annotations

from sklearn.base import is_regressor

from ._components import ComponentAligner, mean_difference


class TCA(ComponentAligner):
    r"""Damp the features in which the domains differ in mean, and keep the principal components of the rest.

    **Question.** In which features of the rows, linear or curved, do the two domains look alike, while the rows
    themselves still differ?

    **Formula.** For the feature map :math:`\phi` of a kernel, the maximum mean discrepancy is the distance of two
    means, :math:`\|d\|`, :math:`d = E_s \phi - E_t \phi`. With the pooled covariance C of the features,
    :math:`s^2 = \operatorname{tr} C` and equal masses, the components are the leading solutions of

    .. math:: C v = \lambda L v, \qquad L = I + \frac{d d^\top}{\mu\, s^2 (1/n_s + 1/n_t)}, \qquad V^\top L V = I,

    and both domains are mapped by :math:`z = V^\top (\phi(x) - \bar\phi)`, whose variances are the :math:`\lambda`.
    All of them together leave a squared discrepancy below :math:`\mu s^2 (1/n_s + 1/n_t)`; :math:`\mu = 1` is
    what two samples of one distribution show. How this relates to the published form, and why plain versions of it
    collapse: see ``da_toolkit/alignment/_components.py``.

    **Assumption.** What distinguishes the domains is not what distinguishes the classes: p(y | z) agrees.

    **Fails** under label shift, when the mean difference lies along that of the classes; when classes move
    differently (`JDA`); and, with the linear kernel, for everything but translations. Components are no columns of
    the input: models that split single columns (trees) lose by the change of axes. In far more columns than rows
    the default cuts the axes on which y depends where others vary more (`FeatureAlignment` warns): set `n_components`.

    Parameters
    ----------
    n_components : "auto" or int
        "auto": as many as hold 99 % of the variance that is left, at most one for every five rows of the
        smaller domain, or for every ten rows where shuffled columns have as large ones; and the columns as they
        are where the domains cannot be told apart.
    kernel : {"rbf", "linear"}
        With "rbf" a linear model becomes a curved one.
    mu : float
        What is left of the squared discrepancy, as a multiple of what sampling alone would show.
    bandwidth : "auto" or float
        h of the Gaussian kernel :math:`\exp(-\|x - z\|^2 / h^2)`; "auto": the median distance of pooled rows.
    whiten : bool
        Give all components unit variance, as in the paper. Then `n_components` decides: the late ones are noise.
    n_landmarks : int
        Rows that carry the Gaussian kernel (Nystroem), drawn at random from the pooled ones; with at least as
        many as there are, the kernel is exact. Cost: n * n_landmarks^2 + n_landmarks^3.
    standardize : "auto" or bool
        Whether to measure columns in their pooled standard deviations; "auto" does when the largest of these
        exceeds ten times their lower quartile.
    random_state : int, Generator, RandomState or None
        Choice of the landmarks.

    Attributes
    ----------
    n_components_ : int
        For a regressor without those that vary in the target alone, of which the source can teach it nothing.
    variance_ : ndarray of shape (n_components_,)
        The :math:`\lambda`, largest first; or those of the columns.
    told_apart_ : bool
        False where the rows of both domains lie as near to each other as two samples of one distribution do (their
        energy distance is within two standard deviations of 0), all count the same, and `n_components` is "auto":
        the columns are left.

    References
    ----------
    Pan, Tsang, Kwok, Yang: Domain Adaptation via Transfer Component Analysis. IEEE Transactions on Neural
    Networks 22(2), 2011.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + [9, 0, 0]
    >>> aligner = TCA(kernel="linear").fit(X_source, X_target)
    >>> aligner.variance_.round(1)  # the column that tells the domains apart is gone
    array([1. , 0.9, 0. ])
    >>> float(np.abs(aligner.transform_source(X_source).mean(axis=0)).max().round(1))
    0.2
    """

    def _fit(self, X_source, X_target, y_source, y_target, source_mass, target_mass, estimator) -> None:
        phi_source, phi_target = self._features(X_source, X_target, source_mass, target_mass, self._generator())
        difference = mean_difference(phi_source, phi_target, source_mass, target_mass)[:, None]
        regressor = estimator is not None and is_regressor(estimator)
        self._solve(difference, (X_source, phi_source, source_mass) if regressor else None)
