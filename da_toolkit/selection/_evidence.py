"""What the guard looks at, and what it finds: the case, the evidence, one finding per candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shift_detectors._report import ShiftReport
from shift_detectors._results import Effect, PerformanceEstimate

from .._domains import Domains
from .._loss import AnyLoss, ProbabilityLoss
from ._crossfit import Answers, Trial


@dataclass(frozen=True)
class Finding:
    """What the evidence says about one candidate.

    Attributes
    ----------
    earned : str
        ``"verified"``, ``"plausible"``, or empty.
    reason : str
    gain : Effect or None
    after : PerformanceEstimate or None
        Estimated target performance of the adapted model.
    rank : float
        Larger is better among those that earned the same.
    unsure : float
        Standard error of `rank`: what lies within it of the best is as good.
    alone : bool
        Whether one heuristic score speaks for it, and no other.
    silent : bool
        Whether the evidence has nothing to say about it.
    """

    earned: str
    reason: str
    gain: Effect | None = None
    after: PerformanceEstimate | None = None
    rank: float = 0.0
    unsure: float = 0.0
    alone: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Evidence:
    """One way of judging, applied to all candidates.

    Attributes
    ----------
    method, assumption : str
    before : PerformanceEstimate or None
        Estimated target performance of the model as it is.
    findings : dict from name to Finding
    """

    method: str
    assumption: str
    before: PerformanceEstimate | None
    findings: dict[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Everything the judges look at."""

    report: ShiftReport
    domains: Domains
    baseline: Trial
    trials: tuple[Trial, ...]  # of the candidates, those that could be fitted
    classes: np.ndarray | None  # None in regression
    groups_target: np.ndarray | None
    seed: int
    loss: AnyLoss | None  # None: whether the class is right
    weight_target: np.ndarray | None = None  # counts where labelled target rows judge
    representation: Any = None  # with `exclude` how the diagnosis, and weights, see the rows
    exclude: Any = ()

    @property
    def n_judging(self) -> int:
        """Labelled target rows by which candidates can be compared."""
        return count_judging(self.domains, self.groups_target)

    @property
    def metric(self) -> str:
        """Of all scores."""
        return "accuracy" if self.loss is None else self.loss.name

    @property
    def counts(self) -> bool:
        """Whether values are 0 or 1."""
        return self.loss is None

    def as_target(self, trial: Trial) -> np.ndarray:
        """Value of the answer to every source row, given as if it were a target row; larger is better."""
        answers = answers_of(trial)
        return self._values(answers.on_source, answers.on_source_proba, self.domains.y)

    def as_source(self, trial: Trial) -> np.ndarray:
        """Value of the answer to every source row, given on the source's own path."""
        answers = answers_of(trial)
        return self._values(answers.own_source, answers.source_proba, self.domains.y)

    def labelled(self, trial: Trial, rows: np.ndarray) -> np.ndarray:
        """Value of the answer to some target rows with labels."""
        answers, proba = answers_of(trial), answers_of(trial).target_proba
        y = self.domains.y_target[rows]  # type: ignore[index]
        return self._values(answers.on_target[rows], None if proba is None else proba[rows], y)

    def _values(self, predicted: np.ndarray, proba: np.ndarray | None, y: np.ndarray) -> np.ndarray:
        """1 where a class is right, or minus the loss."""
        if isinstance(self.loss, ProbabilityLoss):
            return -self.loss(proba, np.searchsorted(self.classes, y))  # type: ignore[arg-type]
        return (predicted == y).astype(float) if self.loss is None else -self.loss(predicted, y)

    def expected(self, right: np.ndarray, predicted: np.ndarray, proba: np.ndarray | None) -> np.ndarray:
        """What the values would be on average if the classes had the probabilities `right`."""
        if isinstance(self.loss, ProbabilityLoss):
            return -(right * self.loss.of_every_class(proba)).sum(axis=1)  # type: ignore[arg-type]
        return right[np.arange(len(right)), np.searchsorted(self.classes, predicted)]  # type: ignore[arg-type]

    def positive(self, values: np.ndarray) -> np.ndarray:
        """Values as the performance estimators want them: accuracy, or the loss itself."""
        return values if self.counts else -values

    def unit(self, before: PerformanceEstimate | None) -> float:
        """Gains are large or small beside this: 1 of an accuracy, the loss of the model as it is otherwise."""
        return 1.0 if self.counts else max(0.0 if before is None else before.value, 1e-300)


def count_judging(domains: Domains, groups_target: np.ndarray | None) -> int:
    """Labelled target rows by which candidates can be compared: none where one group of several has them all."""
    labelled = domains.labelled
    alone = groups_target is not None and len(np.unique(groups_target[labelled])) < 2
    return 0 if alone else int(labelled.sum())


def answers_of(trial: Trial) -> Answers:
    """Its answers, which every trial that is judged has."""
    assert trial.answers is not None
    return trial.answers
