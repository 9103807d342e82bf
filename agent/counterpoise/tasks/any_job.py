"""A job file of any task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.core.strict_yaml import read_mapping
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.text.job import Job


def load_any_job(path: str | Path, **overrides: Any) -> Job | RetrievalJob:
    """Read a job file of the task that it names; see `JobBase.load`.

    Raises:
        JobError: a mistake in the file, in one line.
    """
    is_retrieval = read_mapping(Path(path)).get("task") == "retrieval"
    return RetrievalJob.load(path, **overrides) if is_retrieval else Job.load(path, **overrides)
