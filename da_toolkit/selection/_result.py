"""What `adapt` returns: the model to use, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shift_detectors._models import answers_of
from shift_detectors._report import ShiftReport
from shift_detectors._results import Effect, PerformanceEstimate, to_plain
from shift_detectors._whole_files import write_text


@dataclass(frozen=True)
class Recommendation:
    """One adapter worth trying.

    Attributes
    ----------
    name : str
        Registry name, ``"SourceOnly"`` when the advice is to leave the model alone.
    reason : str
        Why it fits the report.
    assumption : str
        What must hold for it to help.
    """

    name: str
    reason: str
    assumption: str = ""


@dataclass(frozen=True)
class Candidate:
    """One row of the candidates' table.

    Attributes
    ----------
    name : str
    score : float or None
        Estimated target score of the adapted model, in `AdaptationResult.metric`.
    gain : Effect or None
        Estimated gain over the source-only model with its interval; positive is better.
    seconds : float
    decision : str
        ``"chosen"``, ``"baseline"`` (source-only, not chosen) or ``"dropped"``.
    reason : str
        Why it was taken or dropped, in plain words.
    method : str
        How score and gain were estimated.
    """

    name: str
    score: float | None
    gain: Effect | None
    seconds: float
    decision: str
    reason: str
    method: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class AdaptationResult:
    """The model to use on the target, what was tried, and how sure we are.

    Attributes
    ----------
    estimator : estimator
        Fitted; the adapted model, its average with the original one (`Averaged`), or the original one.
    adapter : str
        Name of the adapter, ``"SourceOnly"`` when the model was left alone.
    status : str
        ``"verified"`` (the gain was shown, under `assumption`), ``"plausible"`` (heuristic scores speak
        for it, nothing contradicts; or it was shown on labelled rows that differ from the others), ``"unverified"``
        (used on request, no evidence) or ``"unchanged"``.
    assumption : str
        Under which the status holds.
    explanation : str
        Plain sentences.
    metric : str
        ``"accuracy"``, or by `scoring` ``"log loss"`` or ``"Brier score"``; of a regressor the mean of its loss:
        ``"mean squared error"``, of quantile models ``"mean pinball loss at 0.9"``, of those that minimise absolute
        errors ``"mean absolute error"``, or by `scoring` ``"mean Poisson deviance"`` or ``"mean gamma deviance"``.
    before, after : PerformanceEstimate or None
        Estimated target performance of the source-only model and of the returned one; of the labelled rows alone, as
        their `assumption` says, where these differ from the others in x.
    candidates : tuple of Candidate
    recommendations : tuple of Recommendation
    report : ShiftReport
    seconds : float
    settings : dict
        What `adapt` was asked for and did: guard, scoring, random_state, folds, level, time_budget; and
        ``source_share``, how much the model as it is counts in the answers of the returned one.
    embedding : MapPair or None
        Some rows of both domains in front of the adapter and behind it, for `EmbeddingDisplay.from_result`; None when
        it neither moves nor weighs them.
    """

    estimator: Any
    adapter: str
    status: str
    assumption: str
    explanation: str
    metric: str
    before: PerformanceEstimate | None
    after: PerformanceEstimate | None
    candidates: tuple[Candidate, ...]
    recommendations: tuple[Recommendation, ...]
    report: ShiftReport
    seconds: float = 0.0
    settings: dict = field(default_factory=dict, repr=False)
    embedding: Any = field(default=None, repr=False)

    def predict(self, X):
        """Predict target rows with the returned model."""
        return answers_of(self.estimator, X)

    def predict_proba(self, X):
        """Class probabilities of target rows, when the model has them."""
        return self.estimator.predict_proba(X)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict of everything but the model (named by its repr).

        `schema` changes when a key is renamed or removed.
        """
        plain: dict[str, Any] = {"schema": "adaptation-result/1"} | {
            name: to_plain(getattr(self, name))
            for name in self.__dataclass_fields__
            if name not in ("estimator", "report", "embedding")
        }
        plain["estimator"] = repr(self.estimator)
        plain["report"] = self.report.to_dict()
        return plain

    def to_json(self, path: str | Path | None = None, indent: int | None = 2) -> str:
        """JSON text; also written to `path` when given."""
        text = json.dumps(self.to_dict(), indent=indent)
        if path is not None:
            write_text(path, text)
        return text

    def to_html(self, path: str | Path | None = None) -> str:
        """One self-contained HTML page with the diagnosis and the candidates; also written to `path`."""
        from da_toolkit.report._html import result_to_html

        html = result_to_html(self)
        if path is not None:
            write_text(path, html)
        return html

    def plot(self):
        """Draw gains, before and after, and the diagnosis' evidence; returns the matplotlib figure."""
        from da_toolkit.report._plot import plot_result

        return plot_result(self)

    def __repr__(self) -> str:
        return (
            f"AdaptationResult({self.adapter!r}, {self.status!r}, {len(self.candidates)} candidates, {self.report!r})"
        )

    def __str__(self) -> str:
        from da_toolkit.report._text import result_to_text

        return result_to_text(self)

    def _repr_html_(self) -> str:
        from da_toolkit.report._html import result_to_snippet

        return result_to_snippet(self)
