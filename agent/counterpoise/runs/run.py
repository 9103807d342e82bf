"""A run of any task, from its directory to its report; what is done in between is the task's procedure.

A run is a function of its job, its data and the stored replies, so it may be killed at any moment and run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import JobError
from counterpoise.core.event_kinds import Finished
from counterpoise.core.events import tell_event
from counterpoise.core.plain import to_plain
from counterpoise.llm import ReplyStore, TokenBudget
from counterpoise.report.preview import TaskPreview
from counterpoise.report.run_page import write_report
from counterpoise.runs.directory import RunDirectory
from counterpoise.runs.procedures import RunResources
from counterpoise.runs.registry import PREVIEWERS, PROCEDURES
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.registry import TASKS


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended: its directory and its report."""

    directory: Path
    report: dict[str, Any]


async def run_job(job: JobBase) -> FinishedRun:
    """Run a job of any task from the first row to the report.

    Args:
        job: what to do.

    Raises:
        UserError: a mistake in the job or the data; nothing was written over.
        ServiceError: a server, a download or a disk failed; the run can be resumed.
    """
    task = TASKS.find(job.task)
    if task.not_yet:
        raise JobError(f"'{job.task}' cannot be run yet", where="key 'task'", hint=task.not_yet)
    procedure = PROCEDURES.find(job.task)
    with RunDirectory(Path(job.output)) as directory:
        cache_dir = find_cache_dir(job.cache_dir)
        budget = TokenBudget(job.budget.tokens)
        with ReplyStore(cache_dir / "replies.sqlite") as store:
            resources = RunResources(directory, cache_dir, store, budget)
            prepared = await procedure.prepare(job, resources)
            job = prepared.job
            directory.begin(job.dump(), f"{job.fingerprint()}-{prepared.fingerprint}")
            result = await procedure.carry_out(prepared, resources)
        write_report(directory.path, result.report, task.page)
        directory.write("spend", {name: to_plain(spend) for name, spend in budget.by_purpose.items()})
        directory.finish()
        tell_event(
            Finished(
                directory=str(directory.path),
                report=str(directory.path / "report.html"),
                accepted=result.n_accepted,
                stopped=result.report["stopped"],
                ending=result.ending,
            )
        )
        return FinishedRun(directory.path, result.report)


async def preview_job(job: JobBase) -> TaskPreview:
    """What a run of a job of any task would do first.

    Raises:
        UserError: a mistake in the job or the data.
    """
    return await PREVIEWERS.find(job.task).preview(job)
