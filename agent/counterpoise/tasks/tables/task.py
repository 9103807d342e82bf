"""Rows of numbers and categories with one label each: the task as it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterpoise.report.run_page import PLAIN_PAGE
from counterpoise.tasks.tables.job import TableJob

if TYPE_CHECKING:
    from counterpoise.core.records import Records
    from counterpoise.report.run_page import RunPage
    from counterpoise.tasks.base import Headings, TableRows


@dataclass(frozen=True, slots=True)
class TableTask:
    """See `tasks.base.Task`."""

    name: str = "tabular_classification"
    not_yet: str = (
        "today a table is read and counted: `counterpoise preview JOB.yaml` shows its columns, its labels and which "
        "cells lack rows; nothing is trained on a table or added to it yet"
    )
    job: type[TableJob] = TableJob
    page: RunPage = PLAIN_PAGE

    def read(self, job: TableJob) -> Records:
        """The rows."""
        from counterpoise.tasks.tables.reading import read_table

        return read_table(job)

    def tabulate(self, report: Mapping[str, Any]) -> tuple[Headings, TableRows]:
        """Nothing: there are no runs yet."""
        return (), ()
