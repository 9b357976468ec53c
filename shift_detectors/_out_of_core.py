"""`diagnose` on domains that do not fit into memory: two passes, then the usual diagnosis of what they found.

The first pass draws the row sample; a plan is made of it. The second pass counts every row. p(x), p(y), p(x|y) of
classes and the effects of single features come from the counts; what needs rows (domain classifier, p(y|x), p(x|y) of a
numeric y, overlap, impact) sees the row sample. When every row is in the sample there is no second pass: it is the
diagnosis in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import effective_n_jobs, parallel_config

from ._boundary import warn_of_dependence
from ._column_kinds import as_numbers, counts_rows, kind_of
from ._columns import ROW_NUMBER, as_tuple, read_rows, read_table
from ._dependence import serial_columns
from ._domain_summary import SAMPLE, DomainSummary, SummaryPlan
from ._domains import ACCEPTED, Domain, Frames, columns_of, is_large, open_domain
from ._errors import InputError, ShiftWarning
from ._row_sample import RowSample
from ._summary_test import SummaryEvidence
from ._warnings import ignored

COARSE_CELL = 0.01  # a larger share of rows between two edges is worth a note


class Rows(NamedTuple):
    """What `diagnose` goes on with: rows in memory, and what is known of all the others.

    Of two frames `numbers` says which of their rows these are.
    """

    X_source: Any
    y_source: Any
    X_target: Any
    y_target: Any
    groups: Any
    groups_target: Any
    exclude: Any = ()
    evidence: SummaryEvidence | None = None
    notes: tuple[str, ...] = ()
    numbers: tuple[np.ndarray, ...] = ()


def read_large(
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any,
    groups: Any,
    groups_target: Any,
    *,
    unsupported: dict[str, Any],
    task: str,
    exclude: Any,
    n_permutations: int,
    seed: int,
    n_jobs: int | None,
    step: Callable[[str], None],
) -> Rows:
    """Pass over both domains and come back with what fits into memory.

    Labels and groups are names of columns (arrays on a side that is in memory). A side may be a summary: its plan
    is then followed.
    """
    for name, value in unsupported.items():
        if value is not None:
            raise InputError(
                f"{name} was given with rows that are read in batches",
                "rows in memory for this option",
                "Draw a sample that fits into memory, or leave the option out.",
            )
    if (groups is None) != (groups_target is None):
        raise InputError("groups or groups_target was given without the other", "both or neither")
    if y_source is None and y_target is not None:
        raise InputError("y_target was given without y_source", "both, or y_source alone", "Pass y_source as well.")
    plan = next((X.plan for X in (X_source, X_target) if isinstance(X, DomainSummary)), None)
    if plan is None:
        taken = [*(columns_of(X_source) or ()), *(columns_of(X_target) or ())]
        names = _Names(_our_name(y_source, y_target, "y", taken), _our_name(groups, groups_target, "group", taken))
        size = SAMPLE
    else:
        names = _names_of(plan, y_source, groups, exclude)
        size, seed = plan.sample_size, plan.seed
    sides = (
        names.side(X_source, y_source, groups, "source", None),
        names.side(X_target, y_target, groups_target, "target", y_source),
    )
    with parallel_config(backend="threading"):  # what counts here are threads of this process, not workers of a cluster
        jobs = effective_n_jobs(1 if n_jobs is None else n_jobs)

    samples = []
    for side in sides:
        sample = side.sample if isinstance(side, DomainSummary) else side.draw(size, seed, names.label, step)
        if sample is None:
            raise InputError("a summary without a row sample", "summaries made with keep_rows=True", "Count again.")
        if not sample.n_seen.any():
            raise InputError(f"X_{('source', 'target')[len(samples)]} has no rows", "at least 10 rows a side")
        samples.append(sample)
    for side, y, group in zip(sides, (y_source, y_target), (groups, groups_target), strict=True):
        names.check(side, y, group)
    fixed, evidence, notes, numbers = plan is not None, None, (), ()
    if not fixed and not all(sample.complete for sample in samples):
        numbers = _row_numbers(sides, names)
        exclude = (*as_tuple(exclude), *numbers)
        if names.group is None:
            _warn_of_neighbours(sides, names.label, exclude)
    if any(sample.complete for sample in samples):
        # the smaller side limits what can be seen: exact tests on all of it and a sample of the other one
        for side, sample in zip(sides, samples, strict=True):
            if isinstance(side, Frames) and side.once:
                side.draw_on(sample)
        notes = _drawn_note(samples)
    else:
        step("planning")
        if plan is None:
            plan = _plan(samples[0].rows(), samples[1].rows(), names, task, exclude, seed)
        summaries = []
        for k, side in enumerate(sides):
            summary = side if isinstance(side, DomainSummary) else side.count(plan, jobs, step)
            summary.sample = samples[k] = samples[k] if summary.sample is None else summary.sample
            summaries.append(summary)
        once = any(isinstance(side, Domain) and side.once for side in sides)
        evidence = SummaryEvidence(summaries[0], summaries[1], n_permutations, seed)
        evidence.n_labelled = 0 if y_target is None else evidence.n_labelled
        notes = evidence.about() + (_coarse_cells(evidence) if once or fixed else ())
        fixed = fixed or once
    notes += tuple(f"Left out of the tests: {name!r}, because {ROW_NUMBER}." for name in numbers)
    frames = [sample.rows() for sample in samples]
    if fixed and plan is not None:  # the sample may have columns that the plan leaves out
        known = {column.name for column in plan.columns} | {names.label, names.group}
        exclude = tuple(name for name in frames[0].columns if name not in known)
    in_memory = columns_of(X_source) is not None and columns_of(X_target) is not None
    return names.apart(frames[0], frames[1], y_source, y_target)._replace(
        exclude=exclude,
        evidence=evidence,
        notes=notes,
        numbers=tuple(sample.keys().astype(np.intp) for sample in samples) if in_memory else (),
    )


class _Names(NamedTuple):
    """What the two special columns are called in the summaries."""

    label: str | None
    group: str | None

    def side(self, X: Any, y: Any, groups: Any, which: str, unused: Any) -> Domain | DomainSummary:
        """One side, its label and group columns called by our names; `unused` is a label that is not to be seen."""
        if isinstance(X, DomainSummary):
            return X
        argument, columns = f"X_{which}", columns_of(X)
        if not is_large(X) and columns is None:
            raise InputError(
                f"{argument} is a {type(X).__name__} while the other side is read in batches",
                ACCEPTED,
                "Pass a DataFrame, whose columns can be matched by name.",
            )
        renamed: dict[str, str] = {}
        for values, ours, what in ((y, self.label, f"y_{which}"), (groups, self.group, "groups")):
            if values is None or ours is None:
                continue
            if isinstance(values, str):
                renamed[values] = ours
            elif columns is not None:
                X = X.assign(**{ours: np.asarray(values, dtype=object) if isinstance(values, list) else values})
            else:
                raise InputError(
                    f"{what} is a {type(values).__name__} while {argument} is read in batches",
                    "the name of a column",
                    f"Store it as a column and pass its name, as in {what}='label'.",
                )
        dropped = (unused,) if isinstance(unused, str) and y is None else ()
        return open_domain(X, argument, renamed, dropped)

    def check(self, side: Domain | DomainSummary, y: Any, groups: Any) -> None:
        """Whether the named columns are there."""
        for given, ours in ((y, self.label), (groups, self.group)):
            if isinstance(side, Domain) and isinstance(given, str) and ours not in side.head.columns:
                shown = [str(name) for name in side.head.columns][:12]
                raise InputError(f"{side.argument} has no column {given!r}", ", ".join(map(repr, shown)) + ", ...")

    def apart(self, source: pd.DataFrame, target: pd.DataFrame, y_source: Any, y_target: Any) -> Rows:
        """The samples taken apart into rows, labels and groups."""
        special = [name for name in self if name is not None]
        found = []
        for frame, y in ((source, y_source), (target, y_target)):
            found += [
                frame.drop(columns=special, errors="ignore"),
                frame[self.label] if y is not None and self.label in frame.columns else None,
            ]
        groups = [None if self.group is None else frame[self.group] for frame in (source, target)]
        return Rows(found[0], found[1], found[2], found[3], groups[0], groups[1])


def _names_of(plan: SummaryPlan, y_source: Any, groups: Any, exclude: Any) -> _Names:
    """The names of a plan, which the caller's must agree with."""
    label = None if plan.label is None else plan.label.name
    for given, name, what in ((y_source, label, "y_source"), (groups, plan.groups, "groups")):
        if given is not None and name is None:
            raise InputError(f"{what} was given for a summary without", "a plan with this column", "Count again.")
        if isinstance(given, str) and given != name:
            raise InputError(f"{what} is {given!r}", f"{name!r}, as in the summary's plan")
    if as_tuple(exclude):
        raise InputError("exclude was given with a summary", "a plan made with exclude=", "Count again.")
    return _Names(label, plan.groups)


def _our_name(first: Any, second: Any, otherwise: str, taken: list[str]) -> str | None:
    """What a special column is called in the summaries: as the caller says, else by a name of no other column."""
    if first is None and second is None:
        return None
    name = f"__{otherwise}__"
    while name in taken:
        name = f"_{name}_"
    return next((given for given in (first, second) if isinstance(given, str)), name)


def _drawn_note(samples: list[RowSample]) -> tuple[str, ...]:
    shares = [
        f"{len(sample):,} of {sample.n_seen.sum():,} {side} rows"
        for side, sample in zip(("source", "target"), samples, strict=True)
        if not sample.complete
    ]
    if not shares:
        return ()
    return (f"{shares[0]}, drawn at random, were held against all rows of the other, smaller side",)


def _row_numbers(sides: Any, names: _Names) -> tuple[str, ...]:
    """Features that number the rows: seen where neighbours still stand beside each other."""
    heads = [side.head.drop(columns=[*filter(None, names)], errors="ignore") for side in sides]
    shared = [name for name in heads[0].columns if name in heads[1].columns]
    numbers = [name for name in shared if all(kind_of(head[name]) == "number" for head in heads)]
    return tuple(name for name in numbers if counts_rows(*(as_numbers(head[name]) for head in heads)))


def _plan(source, target, names: _Names, task, exclude, seed) -> SummaryPlan:
    with ignored(ShiftWarning):  # `diagnose` looks at the same rows, and warns
        return SummaryPlan.from_rows(
            source, target, label=names.label, groups=names.group, task=task, exclude=exclude, random_state=seed
        )


def _warn_of_neighbours(sides: Any, label: str | None, exclude: Any) -> None:
    """Look for serial dependence where neighbours still stand beside each other."""
    rows = [read_rows(side.head.drop(columns=label or [], errors="ignore"), side.argument) for side in sides]
    try:
        table, _ = read_table(rows[0], rows[1], exclude)
    except InputError:  # the first rows may lack what others have; the sample decides
        return
    warn_of_dependence(0.0, serial_columns(table, None if label is None else pd.factorize(sides[0].head[label])[0]))


def _coarse_cells(evidence: SummaryEvidence) -> tuple[str, ...]:
    """A note on columns whose edges were fixed on rows unlike the rest."""
    largest = evidence.widest_cells()
    coarse = sorted((name for name, share in largest.items() if share > COARSE_CELL), key=lambda name: -largest[name])
    if not coarse:
        return ()
    shown = ", ".join(f"{name!r} ({largest[name]:.0%})" for name in coarse[:3])
    return (
        f"the bin edges were fixed on rows unlike the rest: many rows lie between two edges of {shown}; files, a list "
        "or a dataset can be read twice and give better edges than an iterator or an old plan",
    )
