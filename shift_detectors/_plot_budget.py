"""Picture of the label budget: how many labels would reveal a change of p(y|x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _text as words
from ._display import Display, as_number, as_points, need
from ._style import FAINT, INK, TARGET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._report import ShiftReport

POWERS = (0.5, 0.8, 0.95)
NAMED_CHANGE = 0.1  # of p(y|x): the one that a report names


class LabelBudgetDisplay(Display):
    """How many labelled target rows would reveal a change of p(y|x) of which size?

    One curve for each power, the probability of seeing the change. Where the target has no more rows the ground is
    grey.

    Parameters
    ----------
    effects : ndarray of shape (k,)
        Changes of p(y|x): of a class probability, or in standard deviations of y.
    labels : dict of float to ndarray of shape (k,)
        By power: rows with labels that would reveal them; infinite where no number does.
    n_target, n_labelled : int
        Rows of the target, and how many of them have a label.
    task : str

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> effects = np.array([0.05, 0.1, 0.2])
    >>> LabelBudgetDisplay(effects, {0.8: 2 / effects**2}, 500, 0, "classification").plot().ax_.get_xlabel()
    'labelled target rows'
    """

    title = "Labels that would show a change of p(y|x)"
    domains: ClassVar[bool] = False

    def __init__(self, effects: np.ndarray, labels: dict[float, np.ndarray], n_target: int, n_labelled: int, task: str):
        self.effects = effects
        self.labels = labels
        self.n_target = n_target
        self.n_labelled = n_labelled
        self.task = task

    @classmethod
    def from_report(cls, report: ShiftReport, *, ax: Any = None) -> LabelBudgetDisplay:
        """Draw the label budget of a report."""
        return cls._of(report).plot(ax)

    @classmethod
    def _of(cls, report: ShiftReport) -> LabelBudgetDisplay:
        """The display of a report, not drawn yet."""
        task = need(report, "task", "Pass y_source to diagnose.")
        effects = np.union1d(np.geomspace(0.02, 0.4, 60), NAMED_CHANGE)
        labels = {p: np.array([report.label_budget(p, e).labels or np.inf for e in effects]) for p in POWERS}
        return cls(effects, labels, report.n_target, report.n_labelled, task)

    @property
    def alt(self) -> str:
        k = np.abs(self.effects - NAMED_CHANGE).argmin()
        found = [
            f"{f'{labels[k]:,.0f}' if np.isfinite(labels[k]) else 'no number'} with power {words.share(power)}"
            for power, labels in self.labels.items()
        ]
        return (
            f"Labelled target rows that would reveal a change of p(y|x) by {self.effects[k]:.2g}: {', '.join(found)}."
        )

    def _draw(self, ax: Axes) -> None:
        # every curve is seen from the largest effect down to a third of the way, or as far as a number suffices
        third = len(self.effects) // 3
        ends = [labels[max(third, int(np.isfinite(labels).argmax()))] for labels in self.labels.values()]
        few = min(self.n_labelled or self.n_target, self.n_target, *(labels[-1] for labels in self.labels.values()))
        many = max(self.n_target, *(end for end in ends if np.isfinite(end)), 1)
        ax.set_xlim(max(few * 0.8, 0.8), many * (1.3 if many > self.n_target else 2))
        for k, (power, labels) in enumerate(self.labels.items()):
            main = power == 0.8
            ax.plot(labels, self.effects, color=INK if main else FAINT, lw=1.8 if main else 1.2)
            away = np.abs(self.effects - (0.33, 0.3, 0.27)[k % 3] / 0.4 * self.effects[-1])
            at = int(np.where(labels <= many, away, np.inf).argmin())
            if labels[at] > many:
                continue
            ax.text(
                labels[at], self.effects[at], words.share(power), ha="center", va="center", fontsize=8,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
            )  # fmt: skip
        if not any(np.isfinite(labels).any() for labels in self.labels.values()):
            ax.text(
                0.5, 0.5, "no number of labels shows these:\ntoo few source rows, or groups", ha="center", va="center",
                fontsize=8, transform=ax.transAxes,
            )  # fmt: skip
        ax.set_ylim(0, self.effects[-1] * 1.05)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(as_number)
        ax.set_xticks([], minor=True)
        left, right = ax.get_xlim()
        ax.axvspan(self.n_target, right, color=FAINT, alpha=0.25, lw=0)
        ax.axvline(self.n_target, color=FAINT, lw=1)
        # the words stand where no curve is: above them where they are low, else below
        seen = max(np.interp(self.n_target, labels[::-1], self.effects[::-1]) for labels in self.labels.values())
        room = np.log(right / self.n_target) > 0.35 * np.log(right / left)
        self._mark(ax, self.n_target, "target rows", seen < 0.6 * self.effects[-1], bool(room))
        if 0 < self.n_labelled < self.n_target:
            ax.axvline(self.n_labelled, color=TARGET, lw=1.6)
            self._mark(ax, self.n_labelled, "labelled", False, self.n_labelled**2 < left * self.n_target, line=1)
        if self.task == "classification":
            ax.yaxis.set_major_formatter(as_points)
            ax.set_ylabel("change, in points")
        else:
            ax.set_ylabel("change, in sd of y")
        ax.set_xlabel("labelled target rows")

    def _mark(self, ax: Axes, rows: int, name: str, top: bool, after: bool, line: int = 0) -> None:
        at, offset = (rows, float(top)), (3 if after else -3, -3 if top else 3 + 12 * line)
        ax.annotate(
            f"{rows:,} {name}", at, offset, ("data", "axes fraction"), "offset points", fontsize=8,
            ha="left" if after else "right", va="top" if top else "bottom",
        )  # fmt: skip
