"""JDOT: transport rows together with their labels, and let the model and the plan answer to each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import FINITE, check_counts, check_numbers
from ._label_propagation import OTLabelPropagation, Transport
from ._labelling import Labelling

SETTLED = 0.002  # mean squared change of the labels, over that between two random rows, at which the loop ends


class JDOT(OTLabelPropagation):
    r"""Joint distribution optimal transport: find a model whose target predictions agree with transported labels.

    **Question.** Which model f makes the pairs (z, f(z)) of the target reachable from the pairs (x, y) of the source
    at the least cost?

    **Formula.** With C, :math:`\varepsilon`, :math:`\tau` and :math:`a` as in `OTLabelPropagation`, and :math:`s` the
    mean squared difference of two random labels,

    .. math:: \min_{f, \gamma} \sum_{ij} \gamma_{ij} [\alpha\, C_{ij} + \|y_i - f(z_j)\|^2 / s]
              + \varepsilon\, \mathrm{KL}(\gamma \,|\, a b^\top) + \tau\, \mathrm{KL}(\gamma 1 \,|\, a).

    In classification :math:`y_i` is the indicator of the class and f(z) the probabilities (of a model that has none:
    the softmax of its decision values; of two classes, of zero and the value), so that the loss is Brier's; the model
    is fitted by its own loss. Alternately the plan is solved for given f, and f is fitted to the labels that the plan
    carries to each z; the first plan knows distances only (with `alpha` 1 it is that of `OTLabelPropagation`). It ends
    when the labels settle, or after `max_iter` rounds.

    **Class frequencies, known target labels, many rows and the weight of source rows** are treated as in
    `OTLabelPropagation`.

    **Assumption.** The joint distribution moved by a transport of little effort, up to a common translation.

    **Fails** as `OTLabelPropagation` does; f follows a wrong first plan, and a small `alpha` makes it believe
    itself. In regression under covariate shift use a small `relaxation`, or `ImportanceWeighting`.

    Parameters
    ----------
    estimator : classifier, regressor or Pipeline
        Fitted on target rows. Without `sample_weight` in its ``fit``, rows are resampled.
        A model of a quantile other than the median is refused: it would answer means.
    alpha : float
        Weight of the distances against the loss, both in units of their means.
    max_iter : int
        Rounds.
    class_prior : "auto", None, array of shape (n_classes,), dict, Series or estimator
        Class frequencies of the target, as in `FeatureAlignment`.
    relaxation : float
        :math:`\tau` in units of the mean costs; ``float("inf")``: all source mass is sent.
    regularization : float
        :math:`\varepsilon` in units of the mean costs.
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
        Weight of a source row in the fit; the rest is that of a target row.
    n_iter_ : int
        Rounds used.

    References
    ----------
    Courty, Flamary, Habrard, Rakotomamonjy: Joint distribution optimal transportation for domain adaptation.
    NeurIPS 2017.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    >>> y, y_target = X.sum(axis=1), X_target.sum(axis=1)
    >>> X_target = X_target * [1.0, 2.0, 0.5] + [3, 0, 1]  # another instrument
    >>> adapter = JDOT(Ridge(), random_state=0).fit(X, y, X_target)
    >>> round(Ridge().fit(X, y).score(X_target, y_target), 1), round(adapter.score(X_target, y_target), 1)
    (-4.1, 0.7)
    """

    def __init__(
        self,
        estimator: Any,
        alpha: float = 1.0,
        max_iter: int = 10,
        class_prior: Any = "auto",
        relaxation: float = 1.0,
        regularization: float = 0.1,
        at: str | None = None,
        max_rows: int = 3000,
        random_state: Any = None,
    ):
        super().__init__(estimator, class_prior, relaxation, regularization, at, max_rows, random_state)
        self.alpha = alpha
        self.max_iter = max_iter

    def _label(self, head: Any, task: Labelling, rng: Any) -> np.ndarray:
        transport = Transport(task, self.alpha, self.relaxation, self.regularization, self.max_rows, rng)
        labels, self.n_iter_ = transport.labels(), 1
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            previous, labels = labels, transport.labels(task.answers(task.fit(head, labels, rng)))
            if ((labels - previous) ** 2).sum(axis=1).mean() <= SETTLED * task.spread:
                break
        return labels

    def _check(self) -> None:
        super()._check()
        check_numbers(self, {"alpha": FINITE})
        check_counts(self, {"max_iter": 1})
