r"""Which epoch to keep, judged without target labels and with a veto against collapsed networks."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from shift_detectors._errors import ShiftWarning

SOURCE_DROP = 0.05  # accuracy that the source may lose against the best epoch
CLASSES_KEPT = 0.5  # effective number of predicted classes, as a share of the expected number


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


class BestEpoch(Callback):
    """Keep the state of the best epoch; give up after `patience` epochs without a better one.

    An epoch is vetoed, whatever its score, when its predictions collapsed, or when held-out source rows are
    predicted markedly worse than in the best epoch: certainty on the target was bought by forgetting the task.

    Parameters
    ----------
    evaluate : callable
        Without arguments: predictions of the target rows, expected class shares, accuracy on held-out source
        rows.
    patience : int
    """

    def __init__(self, evaluate: Any, patience: int):
        self.evaluate = evaluate
        self.patience = patience
        self.best: dict[str, Any] = {"score": -np.inf, "epoch": 0, "source": 0.0, "state": None}

    def on_epoch_end(self, net, **kwargs):
        """Score the epoch and keep it if it is the best."""
        proba, prior, accuracy = self.evaluate()
        best, score = self.best, unsupervised_score(proba, prior)
        best["source"] = max(best["source"], accuracy)
        vetoed = collapsed(proba, prior) or accuracy < best["source"] - SOURCE_DROP
        net.history.record("target_score", score)
        net.history.record("target_entropy", float(-np.sum(_entr(proba, proba), axis=1).mean()))
        net.history.record("source_accuracy", accuracy)
        net.history.record("vetoed", vetoed)
        if not vetoed and score > best["score"]:
            best.update(score=score, epoch=len(net.history), state=copy.deepcopy(net.module_.state_dict()))

    def exhausted(self, n_epochs: int) -> bool:
        """Whether `patience` epochs went by since the best one."""
        return self.best["state"] is not None and n_epochs - self.best["epoch"] >= self.patience

    def on_train_end(self, net, **kwargs):
        """Go back to the best epoch."""
        if self.best["state"] is None:
            warnings.warn(
                "early stopping vetoed every epoch: the predictions on the target collapsed into too few classes, "
                "or the source was forgotten. The last epoch is kept; do not trust it.",
                ShiftWarning,
                stacklevel=2,
            )
        else:
            net.module_.load_state_dict(self.best["state"])
