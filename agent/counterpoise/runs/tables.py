"""What is shown of a table: its columns, its labels, and the cells that lack rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from counterpoise.balance.counts import count_cells, find_deficits
from counterpoise.core.event_kinds import Read
from counterpoise.core.events import tell_event
from counterpoise.core.html_views import make_view
from counterpoise.core.plain import to_plain
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Objects, Records
from counterpoise.report.pages import format_count
from counterpoise.report.preview import ScreenTable, show_deficits
from counterpoise.report.schema import count_cell
from counterpoise.tasks.tables.job import TableJob
from counterpoise.tasks.tables.reading import read_table


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What a column of content holds.

    Args:
        column: its name.
        holds: `numbers`, `categories`, `both`, or `nothing`.
        values: how many different ones.
        missing: rows without a value.
    """

    column: str
    holds: str
    values: int
    missing: int


@dataclass(frozen=True, slots=True)
class TablePreview:
    """What was counted in a table.

    Args:
        rows: of the table.
        columns: its content.
        cells: rows of each cell: of each label, alone and with each value of an attribute.
        deficits: cells that have fewer rows than the label that has most.
        notes: what is odd about the table.
    """

    rows: int
    columns: Sequence[ColumnFacts]
    cells: Mapping[Cell, int]
    deficits: Sequence[Deficit]
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "rows": self.rows,
            "columns": [asdict(one) for one in self.columns],
            "cells": {str(cell): have for cell, have in self.cells.items()},
            "deficits": [to_plain(count_cell(one)) for one in self.deficits],
            "notes": list(self.notes),
        }

    def show(self) -> Iterator[ScreenTable | str]:
        """The same for people."""
        yield ScreenTable(
            f"Columns of {format_count(self.rows)} rows",
            ("column", "holds", ">different values", ">rows without"),
            [
                (one.column, one.holds, format_count(one.values), format_count(one.missing))
                for one in self.columns
            ],
        )
        yield ScreenTable(
            "Rows of each label, and of each label with a value of an attribute",
            ("cell", ">rows"),
            [(str(cell), format_count(have)) for cell, have in self.cells.items()],
        )
        yield show_deficits(self.deficits)
        yield from self.notes

    def _repr_html_(self) -> str:
        """What a notebook shows: the cells."""
        rows = [(str(cell), have) for cell, have in self.cells.items()]
        return make_view("Preview", [f"{self.rows:,} rows", *self.notes], ("cell", "rows"), rows)


@dataclass(frozen=True, slots=True)
class TablePreviewer:
    """See `procedures.Previewer`."""

    name: str = "tabular_classification"

    async def preview(self, job: TableJob) -> TablePreview:
        """Read and count."""
        notes: list[str] = []
        records = read_table(job, notes)
        return count_table(records, notes)


def count_table(records: Records, notes: Sequence[str] = ()) -> TablePreview:
    """Count the rows of a table that was read."""
    counts = np.bincount(records.labels, minlength=len(records.label_names))
    named = dict(zip(records.label_names, counts.tolist(), strict=True))
    tell_event(Read(rows=len(records), held_out=0, pool=0, labels=named))
    return TablePreview(
        rows=len(records),
        columns=[_describe_column(name, values) for name, values in records.columns.items()],
        cells=count_cells(records),
        deficits=find_deficits(records),
        notes=notes,
    )


def _describe_column(name: str, values: Objects) -> ColumnFacts:
    given = [value for value in values if value is not None]
    n_numbers = sum(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    holds = "both" if n_numbers else "categories" if given else "nothing"
    if given and n_numbers == len(given):
        holds = "numbers"
    return ColumnFacts(name, holds, len(set(given)), len(values) - len(given))
