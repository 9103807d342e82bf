"""The tasks that ship, and the one way from the name of a task to its jobs.

What else is installed is found by its entry point in the group `counterpoise.tasks` (see `core.registry`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.core.errors import JobError
from counterpoise.core.registry import Registry
from counterpoise.core.strict_yaml import read_mapping
from counterpoise.tasks.base import Task
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.retrieval.task import RetrievalTask
from counterpoise.tasks.tables.task import TableTask
from counterpoise.tasks.text.task import TextTask

DEFAULT_TASK = "text_classification"
"""The task of jobs and reports that name none."""

TASKS: Registry[Task] = Registry("tasks", needs=("not_yet", "job", "page", "read", "tabulate"))
TASKS.register(TextTask())
TASKS.register(RetrievalTask())
TASKS.register(TableTask())


def find_task(keys: Mapping[str, Any], where: str = "job") -> Task:
    """The task of a job's keys, or of a report.

    Args:
        keys: the keys; `task` names it.
        where: what errors call them.

    Raises:
        JobError: it is no task.
    """
    name = keys.get("task", DEFAULT_TASK)
    try:
        return TASKS.find(name if isinstance(name, str) else repr(name))
    except JobError as error:
        error.where = f"{where}: key 'task'"
        raise


def load_job(path: str | Path, **overrides: Any) -> JobBase:
    """Read a job file of any task; its key `task` names it, and is `text_classification` where it is left out.

    Args:
        path: the YAML file; relative paths in it are relative to it.
        **overrides: keys that replace the file's; their paths are relative to the working directory.

    Raises:
        JobError: a mistake in the file, in one line.
    """
    return find_task(read_mapping(Path(path)), str(path)).job.load(path, **overrides)
