"""What a monitor says after a batch, as frozen dataclasses."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _text
from ._results import Effect, to_plain
from ._whole_files import write_text


@dataclass(frozen=True)
class Evidence:
    """How much speaks for a change of one thing that is watched.

    Attributes
    ----------
    name : str
        A feature, or "combination of features", "distance from the centre", "missing or new values",
        "output of the model", "label", "error of the model".
    quantity : str
        ``"p(x)"``, ``"p(y)"`` or, of a model's error, ``"p(x, y)"``.
    log_evidence : float
        Natural logarithm of the evidence; an alarm is raised at log(1 / alpha).
    alarm_batch : int or None
        The batch that raised it.
    effect : Effect or None
        Mean (or share) of the rows since the change, less that of all rows before: of numbers in standard deviations
        of the reference, where no value counts as further from the median than 10 robust ones. The change is taken to
        begin with the batch for which the rows speak most. 0 where no bet has gained 1 / alpha, as before a change and
        long after it passed; None for combinations.
    direction : str
        The same in words; of shares, before and since.

    Examples
    --------
    >>> found = Evidence("age", "p(x)", 4.2, 17, Effect("standardised difference", 0.41), "higher (+0.41 sd)")
    >>> f"{found.name} is {found.direction} since batch {found.alarm_batch}"
    'age is higher (+0.41 sd) since batch 17'
    """

    name: str
    quantity: str
    log_evidence: float
    alarm_batch: int | None
    effect: Effect | None
    direction: str = ""


@dataclass(frozen=True)
class MonitorStep:
    """What is known after a batch.

    Attributes
    ----------
    batch : int
        Batches so far; the first is 1.
    n_rows, n_labelled : int
        Rows so far, and how many of them had a label.
    alarm : bool
        Whether an alarm was raised, now or earlier: once raised, it stays.
    alarm_batch : int or None
        The batch that raised it.
    alarm_name : str or None
        The name that was given to that batch.
    log_evidence : float
        The largest present evidence (natural logarithm). It falls again when the change passes, or when the rows
        after it have become as many as those before.
    threshold : float
        log(1 / alpha).
    evidence : tuple of Evidence
        Of everything that is watched: first what raised an alarm, then by size.

    Examples
    --------
    >>> import numpy as np
    >>> from shift_detectors import ShiftMonitor
    >>> rng = np.random.default_rng(0)
    >>> step = ShiftMonitor(rng.normal(size=(500, 2))).update(rng.normal(size=(100, 2)) + [1, 0])
    >>> step.alarm, step.changed
    (True, ('x0',))
    """

    batch: int
    n_rows: int
    n_labelled: int
    alarm: bool
    alarm_batch: int | None
    alarm_name: str | None
    log_evidence: float
    threshold: float
    evidence: tuple[Evidence, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of what was found to have changed: features and joint evidence alike, at one error level."""
        return tuple(found.name for found in self.evidence if found.alarm_batch is not None)

    def __str__(self) -> str:
        seen = f"{self.batch:,} batch{'es' * (self.batch != 1)}, {self.n_rows:,} rows"
        now = f"evidence {_size(self.log_evidence)} (alarm at {_size(self.threshold)})"
        if not self.alarm:
            return f"No alarm after {seen}: {now}."
        name = "" if self.alarm_name is None else f" ({_text.clean(self.alarm_name)})"
        lines = [f"Alarm at batch {self.alarm_batch}{name} of {seen}; now {now}."]
        for found in self.evidence:
            if found.alarm_batch is not None:
                since = f", batch {found.alarm_batch}" if found.alarm_batch != self.alarm_batch else ""
                lines.append(f"  {_text.clean(found.name)}: {found.direction} [{found.quantity}{since}]")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, ready for JSON; `schema` changes when a key is renamed or removed."""
        return {"schema": "monitor-step/1", **to_plain(self)}

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON, also written to `path` when one is given."""
        return to_json(self.to_dict(), path)


def to_json(plain: dict[str, Any], path: str | Path | None = None) -> str:
    """A plain dict as JSON, also written to `path` when one is given."""
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    text = text.encode(errors="backslashreplace").decode()  # names of files may hold what UTF-8 cannot
    if path is not None:
        write_text(path, f"{text}\n")
    return text


def _size(log_evidence: float) -> str:
    """Evidence in words: ``"0.31"``, ``"20"``, ``"2e+15"``."""
    if log_evidence < 700:
        return _text.number(math.exp(log_evidence), 2)
    return f"1e+{log_evidence / math.log(10):.0f}"
