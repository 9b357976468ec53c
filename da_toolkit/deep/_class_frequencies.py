r"""How far class frequencies are to be believed that a network's answers on the target suggest.

Answers tell class frequencies where p(x|y) is the same in both domains. Where it is not, and an alignment is there for
such cases, they follow the movement of the rows as well. So they are asked of calibrated answers, and go as far from
the source's as other class frequencies are seen to explain how the domains differ: with the energy distance E of
`da_toolkit.alignment` between the target and a mixture q of the source's classes, in the features before any training
by an alignment, and :math:`E_m` the same after the target's mean was moved onto the mixture's,

.. math:: 1 - \min_q E_m(q) / E_m(p), \quad \text{or} \quad 1 - \min_q E(q) / E(p)

where that is more and q does at least as well as the movement, :math:`\min_q E(q) \le E_m(p)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor

from ..alignment._mass import FEW, MIN_ROWS, NOISE, Parts, measure_parts
from ..label_shift import MLLS
from ._trainer import Objective, PairedBatches, Rows, predict_logits, predict_rows, to_numpy

SAMPLE = 2000  # rows of each domain whose features are looked at
ROUNDS = 5  # of moving the target and asking for the nearest mixture


class ClassPrior(Callback):
    """Before each epoch, estimate the target's class frequencies and give the source's the same in the alignment.

    The estimate maximises the likelihood of the target rows under the network's calibrated class probabilities
    (`MLLS`), goes from the source's frequencies as far as other ones are seen to explain how the domains differ
    (`explained_share`, of the features before the training), and moves half of the way from epoch to epoch. In the
    first half of the training it is mixed with the source's frequencies, because the network knows little yet. No class
    falls below a tenth of its share in the source; those without a source row are left out.
    """

    def __init__(self, batches: PairedBatches, n_classes: int, known: Tensor | None = None):
        self.batches = batches
        y: Any = batches.source.y
        weight = None if batches.source.weight is None else batches.source.weight.float()
        counts = torch.bincount(y, weight, minlength=n_classes)
        self.source_prior = counts / counts.sum()
        self.known = known

    def on_epoch_begin(self, net, **kwargs):
        """Estimate and set the weights of the classes."""
        objective = net.module_
        before = objective.class_weight
        prior = self.source_prior if before is None else before * self.source_prior
        if self.known is None:
            share = objective.label_shift
            if share is None:
                share = objective.label_shift = prior.new_tensor(self._explained(objective))
            trust = min(1.0, 2 * self.batches.step / self.batches.n_steps)
            new = trust * self._estimate(objective, share) + (1 - trust) * self.source_prior
            prior = (prior + new) / 2
        else:
            prior = self.known
        present = self.source_prior > 0
        prior = torch.where(present, torch.maximum(prior, self.source_prior / 10), 0.0)
        objective.class_weight = torch.where(present, prior / prior.sum() / self.source_prior, 0.0).to(prior)

    def _explained(self, objective: Objective) -> float:
        """How much of the difference of the domains is one of class frequencies."""
        source, target = self.batches.source, self.batches.target
        assert source.y is not None and target is not None
        y = to_numpy(source.y)
        rows = sample_of_classes(y)
        parts = (source, rows, "source"), (target, sample_of_classes(np.zeros(len(target.inputs))), "target")
        Z, Z_target = (
            to_numpy(predict_rows(objective, some.take(_on(some, chosen)), domain, objective.layer).features.double())
            for some, chosen, domain in parts
        )
        mass = np.ones(len(y)) if source.weight is None else to_numpy(source.weight.double())
        return explained_share(Z, y[rows], Z_target, mass[rows])

    def _estimate(self, objective: Objective, share: Tensor) -> Tensor:
        """The class frequencies of the target; labelled rows say themselves what they are."""
        source, target = self.batches.source, self.batches.target
        assert source.y is not None and target is not None
        present = self.source_prior > 0
        proba, proba_target = (
            to_numpy(predict_logits(objective, rows, domain).double()[:, present].softmax(dim=1))
            for rows, domain in ((source, "source"), (target, "target"))
        )
        code = present.cumsum(dim=0) - 1
        y_target = np.full(len(proba_target), np.nan)
        start = self.source_prior
        if target.labelled is not None and target.y is not None:
            known = target.labelled & present[target.y]
            y_target[to_numpy(known)] = to_numpy(code[target.y[known]])
            counts = torch.bincount(target.y[known], minlength=len(start))
            start = (counts + (~known).sum() * start) / len(known)
        weight = None if source.weight is None else to_numpy(source.weight.double())
        shares = estimated_shares(proba, to_numpy(code[source.y]), proba_target, y_target, weight)
        found = torch.zeros_like(start)
        found[present] = torch.as_tensor(shares).to(start)
        return start + share * (found - start)


def _on(rows: Rows, chosen: np.ndarray) -> Tensor:
    return torch.as_tensor(chosen, device=rows.inputs.device)


def sample_of_classes(y: np.ndarray) -> np.ndarray:
    """Numbers of at most about `SAMPLE` rows, a few of every class among them."""
    order = np.random.RandomState(0).permutation(len(y))
    return np.unique(np.concatenate([order[:SAMPLE], *(order[y[order] == k][:FEW] for k in np.unique(y))]))


def explained_share(Z: np.ndarray, y: np.ndarray, Z_target: np.ndarray, mass: np.ndarray) -> float:
    """Share of the distance between the domains that other class frequencies explain, from 0 to 1.

    0 where a class, or the target, has too few rows to tell.

    Parameters
    ----------
    Z, Z_target : ndarray of shape (n_rows, d)
    y : ndarray of int, shape (n_source,)
    mass : ndarray of shape (n_source,)
    """
    code = np.unique(y, return_inverse=True)[1]
    if min(np.bincount(code).min(), len(Z_target)) < MIN_ROWS:
        return 0.0
    p = np.bincount(code, mass) / mass.sum()
    centres = np.stack([np.average(Z[code == k], axis=0, weights=mass[code == k]) for k in range(len(p))])

    def measure(moved_to: np.ndarray | None = None) -> Parts:
        moved = Z_target if moved_to is None else Z_target + (moved_to @ centres - Z_target.mean(axis=0))
        return measure_parts(Z, code, moved, mass, np.random.RandomState(0))

    def share(left: float, parts: Parts) -> float:
        gap = parts.energy(p)
        return float(np.clip(1 - left / gap, 0, 1)) if gap > NOISE * parts.noise(p) else 0.0

    still, moved = measure(), measure(p)
    q = still.nearest()
    left, left_moved = still.energy(q), moved.energy(p)
    alone = share(left, still) if left <= left_moved else 0.0
    for _ in range(ROUNDS):
        parts = measure(q)
        left_moved = min(left_moved, parts.energy(q))
        q = parts.nearest()
    return max(alone, share(left_moved, moved))


def estimated_shares(
    proba: np.ndarray, y: np.ndarray, proba_target: np.ndarray, y_target: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Class frequencies of the target by the answers of a network to both domains (`MLLS`, shrunk).

    Parameters
    ----------
    proba, proba_target : ndarray of shape (n_rows, n_classes)
    y : ndarray of int, shape (n_source,)
    y_target : ndarray of float, shape (n_target,)
        NaN where unknown.
    weight : ndarray of shape (n_source,) or None
    """
    classes = np.arange(proba.shape[1])
    fit = MLLS(shrink=True).fit(proba, y, proba_target, y_target=y_target, classes=classes, weight_source=weight)
    return fit.prior_
