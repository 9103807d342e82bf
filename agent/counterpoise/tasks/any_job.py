"""A job file of any task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.core.strict_yaml import read_mapping
from counterpoise.tasks.retrieval.job import RetrievalJob, load_retrieval_job
from counterpoise.tasks.text.job import Job, load_job


def load_any_job(path: str | Path, **overrides: Any) -> Job | RetrievalJob:
    """Read a job file of the task that it names; as `counterpoise.tasks.text.job.load_job` does.

    Raises:
        JobError: a mistake in the file, in one line.
    """
    is_retrieval = read_mapping(Path(path)).get("task") == "retrieval"
    return load_retrieval_job(path, **overrides) if is_retrieval else load_job(path, **overrides)
