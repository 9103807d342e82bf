"""Queries with passages that answer them and passages that are taken not to: the task as it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterpoise.report.retrieval_page import RETRIEVAL_PAGE
from counterpoise.tasks.retrieval.job import RetrievalJob

if TYPE_CHECKING:
    from counterpoise.data.instances import Instance
    from counterpoise.report.run_page import RunPage
    from counterpoise.tasks.base import Headings, TableRows


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """See `tasks.base.Task`."""

    name: str = "retrieval"
    not_yet: str = ""
    job: type[RetrievalJob] = RetrievalJob
    page: RunPage = RETRIEVAL_PAGE

    def read(self, job: RetrievalJob) -> list[Instance]:
        """The training instances."""
        from counterpoise.tasks.retrieval.steps import load_instances

        return load_instances(job)

    def tabulate(self, report: Mapping[str, Any]) -> tuple[Headings, TableRows]:
        """Queries by how many positives they have, before and after."""
        before, after = (
            report.get("balance", {}).get(side, {}).get("positives_per_query", {})
            for side in ("before", "after")
        )
        numbers = sorted({*before, *after}, key=int)
        rows = [(number, before.get(number, 0), after.get(number, 0)) for number in numbers]
        return ("positives of a query", "queries before", "queries after"), rows
