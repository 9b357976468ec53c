"""TrainingDisplay: how the losses of a network went, epoch by epoch."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from shift_detectors import _text as words
from shift_detectors._display import Display, short_ticks
from shift_detectors._errors import InputError
from shift_detectors._style import FAINT, INK, OTHERS, SOURCE, TARGET

CHANCE = {"DANN": np.log(2)}  # alignment loss at which the adversary guesses


class TrainingDisplay(Display):
    """Did the training converge, and did the alignment do anything? The losses of a `DeepAdapter` over its epochs.

    The task loss (on the source) should fall and stay low. The alignment loss falls where a distance is minimised;
    where an adversary is to be fooled (`DANN`) it should end near log 2, the dotted line, where the adversary guesses:
    far below it, the domains can still be told apart. With early stopping a third panel shows what it judged by.

    Parameters
    ----------
    history : list of dict
        `DeepAdapter.history_`.
    loss : str
        Name of the alignment loss.

    Attributes
    ----------
    ax_ : Axes, or array of one per panel
    figure_ : Figure

    Examples
    --------
    >>> history = [{"task_loss": 0.7 / k, "alignment_loss": 0.6} for k in range(1, 6)]
    >>> [ax.get_title(loc="left") for ax in TrainingDisplay(history, "DANN").plot().ax_]
    ['Task loss', 'Alignment loss (DANN)']
    """

    title = "Training"
    domains: ClassVar[bool] = False

    def __init__(self, history: list[dict], loss: str = ""):
        if not history:
            raise InputError("an empty history", "one entry for each epoch", "Fit the adapter first.")
        self.history = history
        self.loss = loss
        names = {"task_loss": "Task loss"}
        if np.isfinite(self._values("alignment_loss")).any():
            names["alignment_loss"] = f"Alignment loss ({loss})" if loss else "Alignment loss"
        if "target_score" in history[0]:
            names["target_score"] = "Early stopping"
        self.curves = tuple(names)
        self.panels = tuple(names.values())  # type: ignore[misc]

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> TrainingDisplay:
        """Draw the history of a fitted `DeepAdapter`."""
        history = getattr(estimator, "history_", None)
        if history is None:
            raise InputError(f"{type(estimator).__name__} has no history_", "a fitted DeepAdapter")
        loss = getattr(estimator, "loss_", None)
        return cls(history, "" if loss is None else type(loss).__name__).plot(ax)

    @property
    def size(self) -> tuple[float, float]:
        return 3.6, 2.4

    @property
    def alt(self) -> str:
        found = [
            f"{panel} from {words.number(self._values(name)[0])} to {words.number(self._values(name)[-1])}"
            for name, panel in zip(self.curves, self.panels, strict=True)
        ]
        return f"Curves over {len(self.history)} epochs: {'; '.join(found)}."

    def _values(self, name: str) -> np.ndarray:
        return np.array([epoch.get(name, np.nan) for epoch in self.history], float)

    def _draw(self, *axes: Any) -> None:
        epochs = np.arange(1, len(self.history) + 1)
        marker = "o" if len(epochs) == 1 else None
        for ax, name in zip(axes, self.curves, strict=True):
            if name == "target_score":
                self._draw_judgement(ax, epochs)
            else:
                color = SOURCE if name == "task_loss" else INK
                ax.plot(epochs, self._values(name), color=color, lw=1.6, marker=marker)
                ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
                if name == "alignment_loss" and self.loss in CHANCE:
                    ax.axhline(CHANCE[self.loss], color=FAINT, lw=1.2, ls=":")
                    ax.set_ylim(top=max(ax.get_ylim()[1], 1.12 * CHANCE[self.loss]))
            ax.locator_params(axis="x", nbins=5, integer=True)
            ax.locator_params(axis="y", nbins=5)
            short_ticks(ax.yaxis)
            ax.set_xlabel("epoch")

    def _draw_judgement(self, ax: Any, epochs: np.ndarray) -> None:
        score, accuracy = self._values("target_score"), self._values("source_accuracy")
        vetoed = self._values("vetoed") > 0
        ax.plot(epochs, score, color=TARGET, lw=1.6, label="score of the target")
        ax.plot(epochs, accuracy, color=SOURCE, lw=1.6, label="accuracy on held-out source")
        ax.plot(epochs[vetoed], score[vetoed], "x", color=OTHERS[1], ms=5, label="not kept: collapsed")
        if not vetoed.all():
            kept = int(np.nanargmax(np.where(vetoed, -np.inf, score)))
            ax.plot(epochs[kept], score[kept], "o", ms=6, mfc="white", mec=TARGET, mew=1.4, label="kept")
        ax.legend(loc="best", fontsize=7.5)
