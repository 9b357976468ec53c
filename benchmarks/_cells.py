"""Repeats in cells: parallel over two processes, resumable, one JSON file per cell."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from joblib import Parallel, delayed
from scipy.stats import binomtest

CACHE = Path(__file__).parent / "_cache"
LAST = "What fell short"  # the section of RESULTS.md that is written by hand


def run_cell(name: str, function, repeats: int, *, n_jobs: int = 2, chunk: int = 20, deadline: float | None = None):
    """Results of ``function(seed)`` for seed = 0..repeats-1, continuing where an earlier run stopped.

    Returns fewer results when `deadline` (time.time()) passes; the table then shows the smaller number.
    """
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"{name}.json"
    done = json.loads(path.read_text()) if path.exists() else []
    while len(done) < repeats and (deadline is None or time.time() < deadline):
        seeds = range(len(done), min(len(done) + chunk, repeats))
        done += Parallel(n_jobs=n_jobs)(delayed(function)(seed) for seed in seeds)
        path.write_text(json.dumps(done))
    return done[:repeats]


def interpreter(environment: str) -> Path | None:
    """Python of a peer's environment, or None where it is not installed (see peers/README.md)."""
    home = os.environ.get("DA_TOOLKIT_PEERS")
    folder = Path(home) / environment if home else Path(__file__).parent / f".venv-{environment}"
    python = folder / "bin" / "python"
    return python if python.exists() else None


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def rate(hits: list[bool]) -> str:
    """Share with its 95 % Clopper-Pearson interval."""
    if not hits:
        return "skipped"
    ci = binomtest(sum(hits), len(hits)).proportion_ci(method="exact")
    return f"{sum(hits) / len(hits):.3f} [{ci.low:.3f}, {ci.high:.3f}]"


def level_met(hits: list[bool], bound: float, cells: int) -> bool:
    """No one-sided binomial test of "rate <= bound" has p below .05 / cells."""
    return not hits or binomtest(sum(hits), len(hits), bound, alternative="greater").pvalue >= 0.05 / cells


def write_section(title: str, command: str, body: str) -> None:
    """Replace the section `title` of RESULTS.md where it stands; a new one goes before the last, "What fell short"."""
    path = Path(__file__).parent / "RESULTS.md"
    text = path.read_text() if path.exists() else "# Benchmark results\n"
    head, *sections = text.split("\n## ")
    written = f"{title}\n\n`{command}`, {time.strftime('%Y-%m-%d')}\n\n{body.strip()}\n"
    titles = [section.partition("\n")[0] for section in sections]
    if title in titles:
        sections[titles.index(title)] = written
    else:
        sections.insert(titles.index(LAST) if LAST in titles else len(titles), written)
    path.write_text(head.rstrip() + "\n\n## " + "\n## ".join(s.rstrip() + "\n" for s in sections))
