"""BalanceDisplay: do the weights make the source's columns look like the target's?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shift_detectors import _text as words
from shift_detectors._display import Display, name_rows
from shift_detectors._errors import InputError
from shift_detectors._style import FAINT, SOURCE, TARGET

from ..weighting._diagnosis import BALANCED, DRAWN, WeightDiagnosis, diagnose_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class BalanceDisplay(Display):
    """How far are the columns' means from the target's, without and with the weights?

    One row for each of the 20 columns that differ most: hollow without weights, filled with them, in pooled standard
    deviations. Inside the grey band (.1) a column counts as balanced. Necessary, not sufficient: see
    `diagnose_weights`.

    Parameters
    ----------
    diagnosis : WeightDiagnosis

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> from da_toolkit import RuLSIF
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + [0.5, 0]
    >>> ratio = RuLSIF(random_state=0).fit(X_source, X_target)
    >>> display = BalanceDisplay.from_estimator(ratio, X_source, X_target)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['x0', 'x1']
    """

    domains: ClassVar[bool] = False

    def __init__(self, diagnosis: WeightDiagnosis):
        self.diagnosis = diagnosis
        size, n = diagnosis.effective_sample_size, diagnosis.n_source
        self.subtitle = f"Effective sample size {size:.0f} of {n} source rows"

    @classmethod
    def from_estimator(cls, estimator: Any, X_source: Any, X_target: Any, *, ax: Any = None) -> BalanceDisplay:
        """Draw the balance under the `weights_` of a fitted ratio or `ImportanceWeighting`; the source rows of fit."""
        weights = getattr(estimator, "weights_", None)
        if weights is None:
            raise InputError(f"{type(estimator).__name__} has no weights_", "a fitted ratio or ImportanceWeighting")
        return cls(diagnose_weights(X_source, X_target, weights)).plot(ax)

    @property
    def title(self) -> str:  # type: ignore[override]
        n, drawn = len(self.diagnosis.features), min(len(self.diagnosis.features), DRAWN)
        return "Balance" if n == drawn else f"Balance, {drawn} of {n} columns"

    @property
    def size(self) -> tuple[float, float]:
        return 5.2, max(2.4, 1.2 + 0.24 * min(len(self.diagnosis.features), DRAWN))

    @property
    def alt(self) -> str:
        return self.diagnosis.summary

    def _draw(self, ax: Axes) -> None:
        ranked = self.diagnosis.ranked()
        rows = np.arange(len(ranked))
        before, after = (np.abs([row[k] for row in ranked]) for k in (1, 2))
        ax.axvspan(0, BALANCED, color=FAINT, alpha=0.18, lw=0)
        ax.axvline(0, color=TARGET, lw=1.6, zorder=0, label="target")
        ax.hlines(rows, before, after, color=FAINT, lw=1.2, zorder=1)
        ax.plot(before, rows, "o", ms=6, mfc="white", mec=SOURCE, mew=1.4, label="source")
        ax.plot(after, rows, "o", ms=6, mfc=SOURCE, mec=SOURCE, mew=1.4, label="source, weighted")
        name_rows(ax, [words.squeeze(name, 30) for name, *_ in ranked])
        ax.set_xlim(left=-0.012 * max(ax.get_xlim()[1], BALANCED))  # room for the dots at 0
        ax.set_xlabel("|difference of means to the target|, standard deviations\n(grey: balanced)")
        ax.legend(loc="lower right")
