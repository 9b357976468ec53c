"""The demo: real-data problems are diagnosed, adapted and reported, ``python -m da_toolkit.demo``.

The true target labels are used only to print what really happened; neither the diagnosis nor the adaptation sees
them, except for the few that a scene says are known.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from da_toolkit.datasets import SCENES, DomainPair  # pyright: ignore[reportMissingImports]
from shift_detectors._errors import InputError
from shift_detectors._text import amounts, measured
from shift_detectors._warnings import ignored

from .selection import AdaptationResult, adapt

NAMES = ("clinic", "misspecified", "digits_label", "digits_scanner", "concept")
KNOWN_LABELS = {"concept": 60}  # target labels that a scene may use


@dataclass(frozen=True)
class Outcome:
    """One scene, played.

    Attributes
    ----------
    name : str
    result : AdaptationResult
    true_before, true_after : float
        Score on the true target labels, in ``result.metric``; of the model as it was and of the returned one.
    report : Path or None
        HTML page.
    seconds : float
    """

    name: str
    result: AdaptationResult
    true_before: float
    true_after: float
    report: Path | None
    seconds: float

    @property
    def true_gain(self) -> float:
        """What adapting was really worth; positive is better."""
        change = self.true_after - self.true_before
        return -change if self.result.metric == "mean squared error" else change


def run(
    out: str | Path = "demo-output", scenes: Sequence[str] = NAMES, redraws: int = 1, *, random_state: int = 0
) -> list[Outcome]:
    """Play the scenes, print what was found, and write one HTML report for each.

    Parameters
    ----------
    out : path
        Folder of the HTML reports; it is made when it does not exist.
    scenes : sequence of str
        Names of `da_toolkit.datasets.SCENES`.
    redraws : int
        How often each scene is drawn anew; with more than one a table of mean gains follows.
    random_state : int
        Seed of the first draw; the next one has the next number.

    Returns
    -------
    list of Outcome
    """
    unknown = [name for name in scenes if name not in SCENES]
    if unknown or not scenes:
        raise InputError(f"scenes {unknown or list(scenes)}", f"names among {', '.join(SCENES)}")
    if redraws < 1:
        raise InputError(f"redraws={redraws}", "at least 1")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
    outcomes = []
    for name in scenes:
        for draw in range(redraws):
            page = folder / f"{name}.html" if draw == 0 else None
            outcome = play(name, random_state=random_state + draw, page=page)
            outcomes.append(outcome)
            if draw == 0:
                _tell(console, outcome)
    _summary(console, outcomes, redraws)
    return outcomes


def play(name: str, *, random_state: int = 0, page: Path | None = None) -> Outcome:
    """Draw one scene, diagnose and adapt, and compare with the truth."""
    started = time.perf_counter()
    pair = SCENES[name].load(random_state=random_state)
    model = _model(pair)
    with ignored(UserWarning):  # the report says what they say
        result = adapt(model, *pair.seen, y_target=_known(name, pair, random_state), random_state=random_state)
    before = _score(model.fit(pair.X_source, pair.y_source), pair)
    after = before if result.adapter == "SourceOnly" else _score(result.estimator, pair)
    if page is not None:
        result.to_html(page)
    return Outcome(name, result, before, after, page, time.perf_counter() - started)


def _model(pair: DomainPair) -> Any:
    """What the people of the scene use: a linear model on standardised features."""
    if pair.task == "regression":
        return make_pipeline(StandardScaler(), Ridge())
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _known(name: str, pair: DomainPair, random_state: int) -> np.ndarray | None:
    """The few target labels that the scene may use, drawn at random; None elsewhere."""
    if name not in KNOWN_LABELS:
        return None
    rows = np.random.default_rng(random_state).permutation(pair.n_target)[: KNOWN_LABELS[name]]
    known = np.full(pair.n_target, None, object)
    known[rows] = pair.y_target[rows]
    return known


def _score(model: Any, pair: DomainPair) -> float:
    metric = accuracy_score if pair.task == "classification" else mean_squared_error
    return float(metric(pair.y_target, model.predict(pair.X_target)))


# --- telling -----------------------------------------------------------------------------------------------


def _tell(console: Console, outcome: Outcome) -> None:
    """Story, verdict, decision, and the estimated beside the true scores."""
    scene, result = SCENES[outcome.name], outcome.result
    verdict = result.report.verdict
    title = f"{outcome.name}: {scene.story}"
    if console.is_terminal:
        console.print(Panel(Text(title, style="bold"), border_style="cyan"))
    else:
        console.print(f"== {title}")
    lines = [("Verdict", f"{verdict.kind} shift ({verdict.strength})" if verdict.kind != "none" else "no shift")]
    if outcome.name in KNOWN_LABELS:
        lines.insert(0, ("Known", f"{result.report.n_labelled} of {result.report.n_target} target labels"))
    lines.append(("Adapter", f"{result.adapter} ({result.status})"))
    lines.append(("Why", result.explanation))
    lines.append(("Score", f"{result.metric} on the target"))
    for word, estimate, truth in (
        ("before", result.before, outcome.true_before),
        ("after", result.after, outcome.true_after),
    ):
        said = "not estimated" if estimate is None else measured(estimate.value, estimate.ci)
        lines.append((word, f"estimated {said}, true {measured(truth)}"))
    lines.append(("Report", str(outcome.report)))
    for word, text in lines:
        console.print(Text.assemble((f"{word:<8} ", "dim"), text))
    console.print()


def _summary(console: Console, outcomes: list[Outcome], redraws: int) -> None:
    """One line per scene: what was done, and what it was worth."""
    table = Table(title="True gain on the target (labels shown here only, never used)", title_justify="left")
    for column in ("scene", "verdict", "adapter", "status", "true gain", "seconds"):
        table.add_column(column, justify="right" if column in ("true gain", "seconds") else "left")
    rows = []
    for name in dict.fromkeys(o.name for o in outcomes):
        own = [o for o in outcomes if o.name == name]
        gains = np.array([o.true_gain for o in own])
        spread = f" ± {amounts(gains.std(ddof=1) / np.sqrt(len(gains)))[0]}" if redraws > 1 else ""
        rows.append(
            (
                name,
                _most([o.result.report.verdict.kind for o in own]),
                _most([o.result.adapter for o in own]),
                _most([o.result.status for o in own]),
                f"{amounts(gains.mean(), sign=True)[0]}{spread}",
                f"{np.mean([o.seconds for o in own]):.1f}",
            )
        )
    if console.is_terminal:
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        console.print("== True gain on the target (labels shown here only, never used)")
        for row in rows:
            console.print("  ".join(row))


def _most(words: list[str]) -> str:
    """The most frequent word, with its count when there are others."""
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    best = max(counts, key=lambda word: counts[word])
    return best if len(counts) == 1 else f"{best} {counts[best]}/{len(words)}"


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
