"""SelfTraining: let the model label the target rows it is sure of, learn from them, and go on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, refuse_frozen, split_model
from .._parameters import check_counts
from ._labelling import Labelling, read_labelling

SETTLED = 0.002  # part of the rows whose label changes, at which the loop ends once all rows have one
EXTRA = 5  # most rounds after that


class SelfTraining(BaseAdapter):
    r"""Replace the source rows step by step by target rows under the labels that the model gives them itself.

    **Question.** The model is right about those target rows that it is sure of: what does it learn from these about
    the next ones?

    **Formula.** Of `n_rounds` rounds, round r labels the part :math:`s = r / R` of the target rows: for every class c
    the :math:`\lceil s\, m\, q_c \rceil` rows predicted as c with the highest probability (m rows, class frequencies
    q). A row may change its label, and lose it, from round to round. The next model is fitted on these rows with
    weight :math:`1 - \rho` and on all source rows with weight :math:`\max(1 - s, \rho)`. When all
    have had their turn, it goes on until labels settle, for five rounds at most.

    **Prior constraint.** Without q, a class that is predicted too often takes over. q are the source's class
    frequencies, or those of the target where they alone explain the shift (``class_prior="auto"``, as in
    `FeatureAlignment`); the source rows are weighted by them, too.

    **No shift, no harm.** Own labels teach nothing that was not known before. :math:`\rho` is the energy distance
    that samples of this size have from each other by chance, over the one that remains when classes are counted anew
    (at most 1): without a shift the source rows alone count.

    **Known target labels** stay as they are from the first round on.

    **Assumption.** Classes are separated by regions of few target rows, and the source model is right about the
    target rows farthest from its boundary.

    **Fails** when it is confidently wrong: its errors are confirmed. Classifiers only.

    Parameters
    ----------
    estimator : classifier or Pipeline
        Without `sample_weight` in its ``fit``, rows are resampled.
    n_rounds : int
        Rounds until all target rows have had their turn.
    class_prior : "auto", None, array of shape (n_classes,), dict, Series or estimator
        Class frequencies of the target, as in `FeatureAlignment`.
    at : str, optional
        Step of the Pipeline behind which the model is fitted anew; the last one by default.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    target_labels_ : ndarray of shape (n_target, n_classes)
        The labels that the model was fitted on, class indicators; rows of zeros had no label.
    class_prior_ : ndarray of shape (n_classes,)
        Class frequencies q.
    source_share_ : float
        :math:`\rho`.
    n_iter_ : int
        Rounds used.

    References
    ----------
    Bruzzone, Marconcini: Domain adaptation problems: a DASVM classification technique and a circular validation
    strategy. TPAMI 32(5), 2010.
    Zou, Yu, Kumar, Wang: Unsupervised domain adaptation for semantic segmentation via class-balanced self-training.
    ECCV 2018.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = np.repeat([0, 1], 100), np.repeat([0, 1], 100)
    >>> X, X_target = rng.normal(size=(200, 2)) + 6 * y[:, None], rng.normal(size=(200, 2)) + 6 * y_target[:, None]
    >>> X_target = X_target + [2.0, 2.0]
    >>> adapter = SelfTraining(LogisticRegression(), random_state=0).fit(X, y, X_target)
    >>> LogisticRegression().fit(X, y).score(X_target, y_target), adapter.score(X_target, y_target)
    (0.97, 1.0)
    """

    class_prior_: Any

    def __init__(
        self,
        estimator: Any,
        n_rounds: int = 10,
        class_prior: Any = "auto",
        at: str | None = None,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.n_rounds = n_rounds
        self.class_prior = class_prior
        self.at = at
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        self._check()
        rng = check_random_state(self.random_state)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        task = read_labelling(head, Z, Z_target, domains, self.class_prior, rng)
        self.class_prior_, self.source_share_ = task.class_prior, task.share
        labels = task.known_values
        model = task.fit(head, labels, rng, share=1.0)
        for n_iter in range(1, self.n_rounds + EXTRA + 1):
            part = min(1.0, n_iter / self.n_rounds)
            previous, labels = labels, surest(task, task.answers(model), part)
            if n_iter > self.n_rounds and (labels != previous).any(axis=1).mean() <= SETTLED:
                break
            model = task.fit(head, labels, rng, share=max(1 - part, task.share))
            self.n_iter_ = n_iter
        self.target_labels_, self.head_ = labels, model

    def _check(self) -> None:
        refuse_frozen(self.estimator, "SelfTraining")
        check_counts(self, {"n_rounds": 1})
        if not is_classifier(self.estimator):
            raise InputError(
                "SelfTraining was given a regressor", "a classifier", "For regression use JDOT or OTLabelPropagation."
            )


def surest(task: Labelling, proba: np.ndarray, part: float) -> np.ndarray:
    """Indicators of the known labels and of those of the surest target rows of each class, zero elsewhere.

    Parameters
    ----------
    task : Labelling
    proba : ndarray of shape (n_target, n_classes)
    part : float
        Of the rows that fall to each class by its frequency.
    """
    labels, answer = task.known_values.copy(), proba.argmax(axis=1)
    wanted = np.ceil(part * len(labels) * (task.mass @ task.values) - 1e-9).astype(int)
    for c, size in enumerate(wanted - task.known_values.sum(axis=0).astype(int)):
        rows = np.flatnonzero((answer == c) & ~task.known)
        labels[rows[np.argsort(-proba[rows, c], kind="stable")[: max(size, 0)]], c] = 1.0
    return labels
