"""OTLabelPropagation: carry the source labels to the target rows by transport, and train the model there."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, refuse_frozen, split_model
from .._parameters import FINITE, check_counts, check_numbers
from ._labelling import Labelling, read_labelling
from ._plan import coordinates, draw, potentials

KNOWN = 10.0  # weight of a known target label in the cost
BLOCK = 1024  # target rows labelled at a time


class OTLabelPropagation(BaseAdapter):
    r"""Give each target row the labels of the source rows whose mass is transported to it.

    **Question.** The domains differ by a movement that nobody can name: which target rows correspond to which
    source rows, and what would a model learn from the target rows under the labels of their counterparts?

    **Formula.** With :math:`C_{ij} = \|x_i - z_j\|^2` over the sum of both domains' variances, source masses
    :math:`a` and a mass of :math:`1/m` for every target row,

    .. math:: \min_{\gamma \ge 0,\ \gamma^\top 1 = 1/m} \langle \gamma, C \rangle
              + \varepsilon\, \mathrm{KL}(\gamma \,|\, a b^\top) + \tau\, \mathrm{KL}(\gamma 1 \,|\, a),
              \qquad \hat y_j = m \sum_i \gamma_{ij} y_i,

    with class indicators for :math:`y_i` in classification. Plain transport (:math:`\tau = \infty`) must turn a
    surplus of one class into another; here source rows unlike any target row are passed over at a price. The model
    is fitted on the target rows under :math:`\hat y`: a row with a divided label counts for each class by its part.

    **Class frequencies.** :math:`a` carries the target's class frequencies where they alone explain the shift
    (``class_prior="auto"``, as in `FeatureAlignment`); several sources are weighted by similarity, as there.

    **No shift, no harm.** Propagated labels are noisier than given ones. Source rows therefore join the fit with the
    weight :math:`\rho`, target rows with :math:`1 - \rho`, where :math:`\rho` is chance / distance, at most 1: the
    energy distance that samples of this size have from each other by chance, over the one that remains when classes
    are counted anew. It goes to 0 as a shift becomes certain.

    **Known target labels** stay as they are, and source rows of other classes (with other values) hardly send there.

    **Many rows.** Above `max_rows` a side the plan is made on that many rows, drawn at random (of each class its
    share), and the remaining target rows are labelled by the formula, which extends to any z. Sparse rows: reduce
    them in the Pipeline.

    **Assumption.** Each target row looks most like the source rows that share its label, after the shift and up
    to a common movement.

    **Fails** when classes move past each other, for strong rotations, and in regression under covariate shift: which
    of moved rows and other rows is the case cannot be told without labels, and a large `relaxation` assumes the
    first (0.03 assumes the second).

    Parameters
    ----------
    estimator : classifier, regressor or Pipeline
        Fitted on target rows. Without `sample_weight` in its ``fit``, rows are resampled.
        A model of a quantile other than the median is refused: it would answer means.
    class_prior : "auto", None, array of shape (n_classes,), dict, Series or estimator
        Class frequencies of the target, as in `FeatureAlignment`.
    relaxation : float
        :math:`\tau` in units of the cost; ``float("inf")``: all source mass is sent.
    regularization : float
        :math:`\varepsilon` in units of the cost.
    at : str, optional
        Step of the Pipeline in front of which rows are compared; the last one by default.
    max_rows : int
        Largest number of rows a side in the plan.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    target_labels_ : ndarray of shape (n_target, n_classes) or (n_target,)
        The labels that the model was fitted on: parts of the sorted classes, or values.
    class_prior_ : ndarray of shape (n_classes,) or None
        Class frequencies that were assumed; None in regression.
    source_share_ : float
        :math:`\rho`, the weight of a source row in the fit.

    References
    ----------
    Solomon, Rustamov, Guibas, Butscher: Wasserstein propagation for semi-supervised learning. ICML 2014.
    Redko, Courty, Flamary, Tuia: Optimal transport for multi-source domain adaptation under target shift.
    AISTATS 2019.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = np.repeat([0, 1], 100), np.repeat([0, 1], [60, 140])
    >>> X, X_target = rng.normal(size=(200, 2)) + 4 * y[:, None], rng.normal(size=(200, 2)) + 4 * y_target[:, None]
    >>> X_target = X_target @ [[0.8, -0.6], [0.6, 0.8]] + [3, 0]
    >>> adapter = OTLabelPropagation(LogisticRegression(), random_state=0).fit(X, y, X_target)
    >>> LogisticRegression().fit(X, y).score(X_target, y_target), adapter.score(X_target, y_target)
    (0.91, 0.985)
    """

    class_prior_: Any

    _fits_means = True

    def __init__(
        self,
        estimator: Any,
        class_prior: Any = "auto",
        relaxation: float = 1.0,
        regularization: float = 0.1,
        at: str | None = None,
        max_rows: int = 3000,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.class_prior = class_prior
        self.relaxation = relaxation
        self.regularization = regularization
        self.at = at
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        refuse_frozen(self.estimator, type(self).__name__)
        self._check()
        rng = check_random_state(self.random_state)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        task = read_labelling(head, Z, Z_target, domains, self.class_prior, rng)
        self.class_prior_, self.source_share_ = task.class_prior, task.share
        labels = self._label(head, task, rng)
        self.target_labels_ = labels[:, 0] if task.classes is None else labels
        self.head_ = task.fit(head, labels, rng)

    def _label(self, head: Any, task: Labelling, rng: Any) -> np.ndarray:
        """Labels of all target rows, shape (n_target, k)."""
        return Transport(task, 1.0, self.relaxation, self.regularization, self.max_rows, rng).labels()

    def _check(self) -> None:
        check_numbers(self, {"relaxation": np.inf, "regularization": FINITE})
        check_counts(self, {"max_rows": 2})


# --- transport ---------------------------------------------------------------------------------------------


class Transport:
    """Plans from source to target rows under a cost of distance and of labels.

    Parameters
    ----------
    task : Labelling
    alpha : float
        Factor of the squared distances, after division by the sum of both variances.
    relaxation, regularization : float
    max_rows : int
    rng : RandomState
    """

    def __init__(
        self, task: Labelling, alpha: float, relaxation: float, regularization: float, max_rows: int, rng: Any
    ):
        self._task, self._eps, self._penalties = task, regularization, (relaxation, np.inf)
        even = np.full(len(task.X_target), 1 / len(task.X_target))
        frame = coordinates(task.X, task.X_target, task.mass, even, "auto")
        part = np.full(len(task.X), -1) if task.classes is None else task.values.argmax(axis=1)
        rows, self._mass = draw(task.mass, part, max_rows, rng)
        self._columns, self._mass_target = draw(even, np.where(task.known, 0, -1), max_rows, rng)
        self._source = (task.X[rows] - frame.origin_source) / frame.unit
        self._target = (task.X_target - frame.origin_target) / frame.unit
        # a common translation does not enter the scale
        self._factor = alpha / (self._source.var(axis=0).sum() + self._target.var(axis=0).sum() or 1.0)
        self._values = task.values[rows]
        self._g = np.zeros(len(self._columns))

    def labels(self, answers: np.ndarray | None = None) -> np.ndarray:
        """Labels that the best plan carries to all target rows, shape (n_target, k); known ones stay.

        Parameters
        ----------
        answers : ndarray of shape (n_target, k), optional
            A model's; a source row of other values is dearer by the squared difference.
        """
        task = self._task
        price = np.where(task.known, KNOWN, 0.0 if answers is None else 1.0)
        wanted = task.known_values if answers is None else np.where(task.known[:, None], task.known_values, answers)
        cost = self._cost(self._columns, wanted, price)
        f, self._g, converged = potentials(cost, self._mass, self._mass_target, self._eps, self._penalties, self._g)
        if not converged:
            warn(
                "The transport plan did not converge and is approximate. "
                f"Raise regularization (now {self._eps}) or relaxation."
            )
        out = np.empty(wanted.shape)
        for start in range(0, len(out), BLOCK):
            block = np.arange(start, min(start + BLOCK, len(out)))
            part = (f[:, None] - self._cost(block, wanted, price)) / self._eps
            part -= part.max(axis=0)
            part = np.exp(part) * self._mass[:, None]
            out[block] = part.T @ self._values / part.sum(axis=0)[:, None]
        return np.where(task.known[:, None], task.known_values, out)

    def _cost(self, columns: np.ndarray, wanted: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Between the drawn source rows and some target rows."""
        cost = euclidean_distances(self._source, self._target[columns], squared=True) * self._factor
        if price[columns].any():
            difference = euclidean_distances(self._values, wanted[columns], squared=True)
            cost += difference * (price[columns] / self._task.spread)
        return cost
