"""Dask DataFrames: the summaries are made where the partitions are and merged as a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._domain_summary import DomainSummary, SummaryPlan
from ._domains import BATCH, HEAD, Domain
from ._row_sample import RowSample

BRANCHES = 8  # summaries that are merged at a time


class Partitions(Domain):
    """The partitions of a Dask DataFrame.

    Runs on the active `distributed` client, or on Dask's default scheduler. A task is a pure function of one
    partition, so that whatever is lost with a worker is computed again, with the same result.
    """

    def __init__(self, X: Any, argument: str, names: dict[str, str], dropped: tuple[str, ...] = ()):
        super().__init__(argument, names, dropped)
        # taken once: Dask may cut the same frame otherwise when fewer columns are asked for
        self._parts = X.to_delayed()
        self._first: list[int] = []

    def draw(self, size: int, seed: int, label: str | None, step: Callable[[str], None]) -> RowSample:
        """The row sample; first the rows of every partition are counted, which numbers them."""
        from dask.base import compute
        from dask.delayed import delayed

        step(f"reading {self.argument} where its {len(self._parts)} partitions are")
        lengths = compute(*map(delayed(len), self._parts))
        self._first, self.n_rows = np.cumsum((0, *lengths))[:-1].tolist(), sum(lengths)
        task = delayed(_drawn, pure=True)
        domain, numbered = self._bare(), zip(self._parts, self._first, strict=True)
        drawn = [task(part, first, domain, size, seed, label) for part, first in numbered]
        head = delayed(_head)(self._parts[int(np.argmax(lengths))], domain)
        sample, self.head = compute(_tree(drawn, delayed(_merged_samples)), head)
        return sample

    def count(self, plan: SummaryPlan, n_jobs: int, step: Callable[[str], None]) -> DomainSummary:
        """The summary of all rows."""
        from dask.base import compute
        from dask.delayed import delayed

        step(f"counting {self.argument} where its {len(self._parts)} partitions are")
        shared, task = delayed(plan), delayed(_counted, pure=True)
        parts = zip(self._parts, self._first, strict=True)
        counted = [task(part, first, self._bare(), shared) for part, first in parts]
        return compute(_tree(counted, delayed(_merged_summaries)))[0]

    def _bare(self) -> Domain:
        """What a task needs to know, without the frame."""
        return Domain(self.argument, self.names, self.dropped)


def _tree(nodes: list[Any], merge: Any) -> Any:
    while len(nodes) > 1:
        nodes = [merge(nodes[i : i + BRANCHES]) for i in range(0, len(nodes), BRANCHES)]
    return nodes[0]


def _head(part: Any, domain: Domain) -> Any:
    return domain._ours(part.head(HEAD)).reset_index(drop=True)


def _drawn(part: Any, first: int, domain: Domain, size: int, seed: int, label: str | None) -> RowSample:
    keys = np.arange(first, first + len(part), dtype=np.uint64)
    return RowSample(size, seed, label).update(domain._ours(part), keys)


def _counted(part: Any, first: int, domain: Domain, plan: SummaryPlan) -> DomainSummary:
    summary, part = DomainSummary(plan, keep_rows=False), domain._ours(part)
    for start in range(0, len(part), BATCH):
        batch = part.iloc[start : start + BATCH]
        summary.update(batch, np.arange(first + start, first + start + len(batch), dtype=np.uint64))
    return summary


def _merged_samples(samples: list[RowSample]) -> RowSample:
    whole = RowSample(samples[0].size, samples[0].seed, samples[0].label)
    for sample in samples:  # into a new one: a task must leave its inputs as they are
        whole.merge(sample)
    return whole


def _merged_summaries(summaries: list[DomainSummary]) -> DomainSummary:
    whole = DomainSummary(summaries[0].plan, keep_rows=False)
    for summary in summaries:
        whole.merge(summary)
    return whole
