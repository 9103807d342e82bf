"""The contract of what a run of a task does, and of its preview.

A procedure prepares the data of a job, spends the tokens and makes the report. What all runs share (the directory, the
reply store, the budget, the files of the report) is done once, in `runs.run`; `runs.registry` has what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from counterpoise.llm import ReplyStore, TokenBudget
from counterpoise.report.preview import TaskPreview
from counterpoise.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A job with the data that it works on.

    Args:
        job: as it is run.
        inputs: what the task's preparation gives.
        fingerprint: hash of the data.
    """

    job: Any
    inputs: Any
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RunResources:
    """What a run may use.

    Args:
        directory: the run directory, locked; begun once the job is prepared.
        cache_dir: where replies and vectors are kept.
        store: of replies, open.
        budget: of the job.
    """

    directory: RunDirectory
    cache_dir: Path
    store: ReplyStore
    budget: TokenBudget


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run; its data set lies in the directory already.

    Args:
        report: as plain values; the task's page takes them.
        n_accepted: records that were accepted, or passages that were relabelled.
        ending: why the run ended and what would go on, as plain values, where the task tells it.
    """

    report: dict[str, Any]
    n_accepted: int
    ending: dict[str, Any] | None = None


class Previewer(Protocol):
    """What can be said of a job of one task before a token is spent."""

    @property
    def name(self) -> str:
        """Of the task."""
        ...

    async def preview(self, job: Any) -> TaskPreview:
        """What a run would do first; asks no model and writes nothing but caches.

        Raises:
            UserError: a mistake in the job or the data.
        """
        ...


class Procedure(Previewer, Protocol):
    """What a run of one task does."""

    async def prepare(self, job: Any, resources: RunResources) -> PreparedRun:
        """Read the data of a job and make it ready; what the job leaves to a model is asked here.

        Args:
            job: of the task.
            resources: with a directory that is not begun yet; it may hold the same run of an earlier version.

        Raises:
            UserError: a mistake in the job or the data.
            ServiceError: a server that cannot be asked.
        """
        ...

    async def carry_out(self, prepared: PreparedRun, resources: RunResources) -> RunResult:
        """Spend the tokens, write the data set into the directory, and make the report."""
        ...
