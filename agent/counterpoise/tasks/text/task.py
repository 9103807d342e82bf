"""Texts with one label each: the task as it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterpoise.report.text_page import TEXT_PAGE
from counterpoise.tasks.text.job import Job

if TYPE_CHECKING:
    from counterpoise.report.run_page import RunPage
    from counterpoise.tasks.base import Headings, TableRows
    from counterpoise.tasks.text.reading import Parts


@dataclass(frozen=True, slots=True)
class TextTask:
    """See `tasks.base.Task`."""

    name: str = "text_classification"
    not_yet: str = ""
    job: type[Job] = Job
    page: RunPage = TEXT_PAGE

    def read(self, job: Job) -> Parts:
        """Training rows, held-out rows and pool."""
        from counterpoise.tasks.text.reading import read_parts

        return read_parts(job)

    def tabulate(self, report: Mapping[str, Any]) -> tuple[Headings, TableRows]:
        """The cells before and after."""
        balance = report["balance"]
        after = {row["cell"]: row for row in balance["after"]}
        rows = [
            (row["cell"], row["have"], after.get(row["cell"], row)["have"], row["want"])
            for row in balance["before"]
        ]
        return ("cell", "before", "after", "wanted"), rows
