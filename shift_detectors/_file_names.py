"""How the names of tables on disk end, and what separates the columns of those that are text."""

from __future__ import annotations

PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def other_separator(header: str) -> str | None:
    """The mark that seems to separate the columns of what was read as a single one."""
    return next((mark for mark in (";", "\t", "|", ",") if mark in header), None)
