"""Rows of any supported type as a table like the reference's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ._column_kinds import by_frequency
from ._columns import Rows, read_rows, read_table
from ._errors import InputError
from ._representation import represent
from ._table import Table


class Reader:
    """Reads rows of any supported type into the columns of the reference.

    Parameters
    ----------
    schema : list of dict
        Per watched column its name, and for categories their values.
    named : bool
        False: columns are matched by position.
    left_out : list of str
        Columns that are not watched.
    """

    def __init__(self, schema: list[dict], named: bool, left_out: list[str]):
        self.schema, self.named, self.left_out = schema, named, left_out

    @classmethod
    def of(cls, rows: Rows, table: Table, frame: np.ndarray) -> tuple[Reader, Table]:
        """The reader of a reference, and the reference with the categories of its frame alone.

        A category that is first seen in another row of the reference is as new as one that is first seen in the
        stream: otherwise the two would not be exchangeable.
        """
        table = _with_categories_of(table, frame)
        if not table.names:
            raise InputError("X_reference has no column that can be watched", "numbers or categories")
        schema: list[dict] = [{"name": name} for name in table.numeric_names]
        for name, values in zip(table.categorical_names, table.categories, strict=True):
            schema.append({"name": name, "values": _plain(values)})
        order = {name: k for k, name in enumerate(rows.names)}
        schema.sort(key=lambda column: order[column["name"]])
        watched = {column["name"] for column in schema}
        return cls(schema, rows.named, [name for name in rows.names if name not in watched]), table

    def read(self, X: Any, representation: Any) -> Table:
        """The rows of a batch as a table like the reference's; unknown categories get the code after the last one."""
        rows = _rows(X, representation, "X_batch")
        if rows.data.shape[0] == 0:
            raise InputError("X_batch is empty", "at least one row", "Skip batches without rows.")
        exclude = [name for name in self.left_out if name in rows.names]
        table, _ = read_table(self._prototype(rows), rows, exclude, ("X_reference", "X_batch"))
        n = rows.data.shape[0]
        table = table.take(np.arange(table.n - n, table.n), 0)
        numeric, codes = [], []
        for column in self.schema:
            name = column["name"]
            among = table.categorical_names if "values" in column else table.numeric_names
            if name not in among:
                kinds = ("numbers", "categories") if "values" in column else ("categories", "numbers")
                raise InputError(
                    f"column {name!r} of X_batch holds {kinds[0]}",
                    f"{kinds[1]}, as in the reference",
                    "Convert it as the reference was converted.",
                )
            j = among.index(name)
            if "values" not in column:
                numeric.append(table.numeric[:, j])
                continue
            place = {value: k for k, value in enumerate(column["values"])}
            known = np.array([place.get(value, len(place)) for value in _plain(table.categories[j])] + [-1])
            codes.append(known[table.codes[:, j]])
        return Table(
            np.column_stack(numeric) if numeric else np.empty((n, 0)),
            np.column_stack(codes).astype(np.int32) if codes else np.empty((n, 0), np.int32),
            tuple(column["name"] for column in self.schema if "values" not in column),
            tuple(column["name"] for column in self.schema if "values" in column),
            tuple(np.array(column["values"], object) for column in self.schema if "values" in column),
            0,
        )

    def _prototype(self, batch: Rows) -> Rows:
        """Two rows with the types of the reference, beside which a batch is read and checked."""
        names = tuple(column["name"] for column in self.schema)
        if not self.named:
            names = tuple(sorted([*names, *self.left_out], key=lambda name: int(name[1:])))
        if not any("values" in column for column in self.schema) and isinstance(batch.data, np.ndarray):
            return Rows(np.zeros((2, len(names))), names, self.named)
        columns: dict[str, Any] = dict.fromkeys(names, np.zeros(2))
        for column in self.schema:
            if "values" in column:
                values = column["values"] or [""]  # none where the frame has no value
                boolean = all(isinstance(value, bool) for value in values)
                # beside a declared category, text is read as categories however many distinct ones it has
                columns[column["name"]] = [True, False] if boolean else pd.Categorical(values[:1] * 2)
        return Rows(pd.DataFrame(columns), names, self.named)


def read_reference(X: Any, exclude: Any, representation: Any) -> tuple[Rows, Table, list[str]]:
    """The rows of a reference as they are, as a table, and notes."""
    rows = _rows(X, representation, "X_reference")
    table, notes = read_table(rows, rows._replace(data=rows.data[:0]), exclude, ("X_reference", "X_reference"))
    if table.datetimes:
        names = ", ".join(map(repr, sorted(table.datetimes)))
        notes.append(f"Left out: {names}, because dates move on in every stream.")
        table = table.without(table.datetimes)
    return rows, table, notes


def _with_categories_of(table: Table, frame: np.ndarray) -> Table:
    """The table with the categories of some rows, and one code after them for all others."""
    codes, categories = np.empty_like(table.codes), []
    for j, values in enumerate(table.categories):
        ranked, ordered = by_frequency(table.codes[frame, j], values)
        known = len(np.unique(ranked[ranked >= 0]))
        place = np.full(len(values) + 1, known)
        place[-1] = -1  # serves the code -1, of missing values
        place[table.codes[frame, j]] = ranked
        codes[:, j] = place[table.codes[:, j]]
        categories.append(ordered[:known])
    return replace(table, codes=codes, categories=tuple(categories))


def _rows(X: Any, representation: Any, argument: str) -> Rows:
    if representation is not None:
        X = represent(representation, X, argument)
    rows = read_rows(X, argument)
    if hasattr(rows.data, "tocsr"):
        if len(rows.names) > 1000:
            raise InputError(
                f"{argument} is sparse with {len(rows.names)} columns",
                "at most 1000 sparse columns",
                "Pass representation= (a TruncatedSVD, unfitted, say).",
            )
        rows = Rows(np.asarray(rows.data.toarray(), float), rows.names, rows.named)
    return rows


def _plain(values: Any) -> list:
    """Category values as JSON keeps them: whatever is no text, number or boolean by its text."""
    plain = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [value if isinstance(value, (str, int, float, bool)) else str(value) for value in plain]
