"""By what answers are judged: classes by being right, probabilities by a proper loss, numbers by `loss_of`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from shift_detectors._errors import InputError
from shift_detectors._model_loss import Loss, loss_of

from ._unfitted import ask_for_probabilities, will_have

FLOOR = 1e-4


@dataclass(frozen=True)
class ProbabilityLoss:
    """A proper loss of class probabilities: least in expectation where they are right.

    Attributes
    ----------
    name : {"log loss", "Brier score"}
        ``-log p`` of the true class, a probability below `FLOOR` counting as that (one sure mistake would outweigh all
        other rows); or half of the squared distance to the indicator of the true class, which for two classes is
        (p - y)^2.
    """

    name: str

    def of_every_class(self, proba: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_classes), if that class were the true one."""
        if self.name == "log loss":
            return -np.log(np.maximum(proba, FLOOR))
        return ((proba**2).sum(axis=1, keepdims=True) + 1) / 2 - proba

    def __call__(self, proba: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows,), for the true classes by their column."""
        return self.of_every_class(proba)[np.arange(len(codes)), codes]


@dataclass(frozen=True)
class Deviance:
    """Twice the log likelihood that an answer lacks, of counts or of positive quantities; answers have to be positive.

    A quantity ten times as large may be missed by ten times as much: large ones do not outweigh all others.

    Attributes
    ----------
    name : {"mean Poisson deviance", "mean gamma deviance"}
        ``2 (y log(y / f) - y + f)`` for y >= 0, or ``2 (log(f / y) + y / f - 1)`` for y > 0.
    """

    name: str

    def __call__(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of every row."""
        if self.name == "mean Poisson deviance":
            return 2 * (xlogy(y, y / predicted) - y + predicted)
        return 2 * (np.log(predicted / y) + y / predicted - 1)

    def check(self, y: np.ndarray) -> None:
        """Raise when it is not defined for some labels."""
        counts = self.name == "mean Poisson deviance"
        wrong = int((y < 0).sum() if counts else (y <= 0).sum())
        if wrong:
            raise InputError(
                f"{wrong} labels {'below' if counts else 'not above'} zero, of which there is no {self.name}",
                f"labels {'of zero or more' if counts else 'above zero'}",
                'Pass scoring="neg_mean_squared_error" or "neg_mean_absolute_error".',
            )


AnyLoss = Loss | ProbabilityLoss | Deviance

SCORINGS: dict[str, dict[str, AnyLoss | None]] = {  # by task; None: the share of right classes
    "classification": {
        "accuracy": None,
        "neg_log_loss": ProbabilityLoss("log loss"),
        "neg_brier_score": ProbabilityLoss("Brier score"),
    },
    "regression": {
        "neg_mean_squared_error": Loss(),
        "neg_mean_absolute_error": Loss(0.5),
        "neg_mean_poisson_deviance": Deviance("mean Poisson deviance"),
        "neg_mean_gamma_deviance": Deviance("mean gamma deviance"),
    },
}


def judged_by(scoring: str | None, estimator: Any, task: str) -> AnyLoss | None:
    """The loss that a scoring names; by default that of a regressor itself, and None, accuracy, of a classifier."""
    if scoring is None:
        return loss_of(estimator) if task == "regression" else None
    known = SCORINGS[task]
    if not isinstance(scoring, str) or scoring not in known:
        hint = (
            "A score of all rows at once (balanced accuracy, F1, kappa, a ranking such as roc_auc) has no value of a "
            "single row; neg_log_loss counts what these say of rare classes and ranks, and calibration too."
        )
        raise InputError(
            f"scoring={scoring!r}",
            f"None or one of {', '.join(known)} in {task}",
            hint
            if task == "classification"
            else "None takes the squared error, as R2 and its root do, or the quantile loss that the model minimises.",
        )
    if isinstance(known[scoring], ProbabilityLoss) and not will_have(estimator, "predict_proba"):
        raise InputError(
            f"scoring={scoring!r} for a {type(estimator).__name__}, which has no predict_proba",
            "a classifier that gives probabilities",
            f"{ask_for_probabilities(estimator)}, or leave scoring out.",
        )
    return known[scoring]


def refuse_quantile(estimator: Any, adapter: str) -> None:
    """Raise when an adapter that fits means is given a model of another quantile than the median.

    The mean of skewed values lies off their median by a little, and a correction is worth that; in place of a high
    quantile it is exceeded by about half of the rows.
    """
    level = loss_of(estimator).quantile
    if level not in (None, 0.5):
        raise InputError(
            f"{adapter} was given a model of the {level:g} quantile",
            "a model of the mean or the median",
            f"{adapter} fits means and would answer one for the quantile. What fits the model itself keeps it: "
            "FeatureAugmentation with target labels, ImportanceWeighting, TargetShiftWeighting or FeatureAlignment.",
        )
