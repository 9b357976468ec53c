r"""Which epoch to keep, judged without target labels and with a veto against collapsed networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from shift_detectors._warnings import ignored, warn

from ..weighting import ClassifierRatio

SOURCE_DROP = 0.05  # accuracy or R2 that the source may lose against the best epoch
CLASSES_KEPT = 0.5  # effective number of predicted classes, as a share of the expected number
LEAST_JUDGES = 5  # rows of each domain that it takes to weight the held-out rows of a regression
SPREAD_KEPT = 0.25  # standard deviation of the predictions on the target, as a share of that on the source


class Judgement(NamedTuple):
    """What is known of an epoch without target labels; `record` goes to the history."""

    score: float
    on_source: float
    collapsed: bool
    record: dict[str, float]


def judge_classes(proba: np.ndarray, prior: np.ndarray, accuracy: float) -> Judgement:
    """By the predictions on the target, the expected class shares, and the accuracy on held-out source rows."""
    entropy = float(-np.sum(_entr(proba, proba), axis=1).mean())
    record = {"target_entropy": entropy, "source_accuracy": accuracy}
    return Judgement(unsupervised_score(proba, prior), accuracy, collapsed(proba, prior), record)


def judge_values(
    features: np.ndarray, values: np.ndarray, y: np.ndarray, on_target: np.ndarray, target_values: np.ndarray
) -> Judgement:
    """By features, predictions and truth of held-out source rows, and features and predictions on the target."""
    loss, spread = (values - y) ** 2, target_values.std() / max(values.std(), 1e-12)
    r2 = float(1 - loss.mean() / max(y.var(), 1e-12))
    record = {"target_spread": float(spread), "source_r2": r2}
    return Judgement(-weighted_risk(loss, features, on_target), r2, bool(spread < SPREAD_KEPT), record)


def weighted_risk(loss: np.ndarray, features: np.ndarray, on_target: np.ndarray) -> float:
    r"""Loss on held-out source rows, weighted to look like the target in the network's own features.

    .. math:: \hat R = \sum_i w(z_i)\, \ell_i \Big/ \sum_i w(z_i)

    with the density ratio :math:`w` of the features, by a cross-fitted logistic regression. Lies between the
    smallest and the largest loss. Where all target rows fall on one spot it is the loss at that spot, which a
    collapsed network can make small: hence the veto on the spread of the predictions.
    """
    ratio = ClassifierRatio(make_pipeline(StandardScaler(), LogisticRegression()), cv=LEAST_JUDGES, random_state=0)
    with ignored():  # little overlap before the features are aligned is no news
        ratio.fit(features.astype(float), on_target.astype(float))
    return float(np.average(loss, weights=ratio.weights_))


def unsupervised_score(proba: np.ndarray, prior: np.ndarray) -> float:
    r"""How certain are the predictions, and how far are their class shares from the expected ones?

    .. math:: S = -\frac1n \sum_i H(p_i) - \mathrm{KL}(\bar p \,\|\, q)

    with the predictions :math:`p_i` of the target rows, their mean :math:`\bar p` and the expected class
    shares :math:`q`. Zero at best. For uniform :math:`q` it is the mutual information between row and
    class, less a constant; entropy alone is best for a network that puts every row into one class.
    """
    mean = proba.mean(axis=0)
    divergence = np.sum(_entr(mean, mean) - _entr(mean, prior))
    return float(np.sum(_entr(proba, proba), axis=1).mean() - divergence)


def collapsed(proba: np.ndarray, prior: np.ndarray) -> bool:
    """Whether the predictions use fewer than half of the expected classes, as effective numbers exp(H)."""
    return bool(effective_classes(proba.mean(axis=0)) < CLASSES_KEPT * effective_classes(prior))


def effective_classes(shares: np.ndarray) -> float:
    """Number of equally frequent classes with the same entropy."""
    return float(np.exp(-np.sum(_entr(shares, shares))))


def _entr(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``p log q``, zero where p is zero."""
    return p * np.log(np.maximum(q, 1e-12))


@dataclass
class Epoch:
    """A judged epoch; `state` only as long as it may come to be the best."""

    score: float
    on_source: float
    vetoed: bool
    state: dict[str, Any] | None


class BestEpoch(Callback):
    """Keep the state of the best epoch; give up after `patience` epochs without a better one.

    An epoch is vetoed, whatever its score, when its predictions collapsed, or when held-out source rows are
    predicted markedly worse than in another epoch that did not collapse, also a later one: the score was bought by
    forgetting the task, or before it was learnt.

    Parameters
    ----------
    judge : callable
        Without arguments: the `Judgement` of the present state.
    patience : int
    """

    def __init__(self, judge: Callable[[], Judgement], patience: int):
        self.judge = judge
        self.patience = patience
        self.epochs: list[Epoch] = []

    def on_epoch_end(self, net, **kwargs):
        """Score the epoch, and judge those before it again by what the source has come to."""
        score, on_source, collapsed, record = self.judge()
        self.epochs.append(Epoch(score, on_source, collapsed, copy.deepcopy(net.module_.state_dict())))
        for name, value in {"target_score": score, **record}.items():
            net.history.record(name, value)
        least = max((epoch.on_source for epoch in self.epochs if not epoch.vetoed), default=-np.inf) - SOURCE_DROP
        for epoch, row in zip(self.epochs, net.history, strict=True):
            epoch.vetoed |= epoch.on_source < least
            row["vetoed"] = epoch.vetoed
        hope = -np.inf  # the best score of the epochs that were at least as good on the source
        for epoch in sorted(self.epochs, key=lambda epoch: (-epoch.on_source, -epoch.score)):
            if epoch.vetoed or epoch.score <= hope:
                epoch.state = None
            else:
                hope = epoch.score

    @property
    def best(self) -> int | None:
        """Which epoch is the best so far, counted from 0; None where all were vetoed."""
        sound = [number for number, epoch in enumerate(self.epochs) if not epoch.vetoed]
        return max(sound, key=lambda n: (self.epochs[n].score, self.epochs[n].on_source), default=None)

    def exhausted(self) -> bool:
        """Whether `patience` epochs went by since the best one."""
        return self.best is not None and len(self.epochs) - 1 - self.best >= self.patience

    def on_train_end(self, net, **kwargs):
        """Go back to the best epoch."""
        if self.best is None:
            warn(
                "early stopping vetoed every epoch: the predictions on the target collapsed, or the source was "
                "forgotten. The last epoch is kept; do not trust it."
            )
        else:
            net.module_.load_state_dict(self.epochs[self.best].state)
