"""The contract of a task: what the data is, how it is read, and what the report of a run shows.

A task is a folder beside this file and one line in `registry.py`. The folder has its job (`JobBase` with keys of its
own), its reader and its preparation. What a run of the task does lies above, in `runs/`, and is registered in
`runs/registry.py` under the task's name. Nothing outside these places asks which task a job is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from counterpoise.report.run_page import RunPage
    from counterpoise.tasks.job import JobBase

Headings = Sequence[str]
TableRows = Sequence[Sequence[object]]


class Task(Protocol):
    """What the data of a run is.

    Which columns mean what is said by the schema of a job (`core.schema.RowSchema`), for tasks whose rows have a label:
    it makes a text of a row's content (`render`) and gives the set of its labels (`labels`).
    """

    @property
    def name(self) -> str:
        """What a job calls it under `task`."""
        ...

    @property
    def not_yet(self) -> str:
        """Why a run of it is not possible yet and what is, as a hint to the user; "" where it can be run."""
        ...

    @property
    def job(self) -> type[JobBase]:
        """The model of its jobs."""
        ...

    @property
    def page(self) -> RunPage:
        """What its runs show on their page."""
        ...

    def read(self, job: Any) -> Any:
        """The data of a job as it is, before anything is encoded or asked.

        Args:
            job: of the model that `job` gives.

        Raises:
            DataError: a file or column that cannot be used as the job says.
            ServiceError: the hub cannot be reached.
        """
        ...

    def tabulate(self, report: Mapping[str, Any]) -> tuple[Headings, TableRows]:
        """What a run counted, before and after, as a table for a notebook.

        Args:
            report: the plain values of a run's report, of an older version perhaps.

        Returns:
            The headings, and the rows; none where the report has no counts.
        """
        ...
