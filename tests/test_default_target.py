"""Which target a job has that names none: it depends on how many labels there are, and on when its run was begun."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoise.runs.begun import keep_target
from counterpoise.runs.directory import RunDirectory
from counterpoise.tasks.text.default_target import MOST_EQUAL, choose_target
from counterpoise.tasks.text.job import Job, job_from


def make_job(**keys: Any) -> Job:
    return job_from(data="reviews.csv", text="text", label="label", llm="embedded", **keys)


def make_inputs(n_labels: int) -> Any:
    records = SimpleNamespace(label_names=tuple(f"label {place}" for place in range(n_labels)))
    return SimpleNamespace(train=SimpleNamespace(records=records), fingerprint="abc")


@pytest.mark.parametrize(
    ("n_labels", "target"), [(2, "equal"), (MOST_EQUAL, "equal"), (MOST_EQUAL + 1, "enough")]
)
def test_many_labels_want_enough_and_few_want_as_many(n_labels: int, target: str) -> None:
    job = make_job()
    assert choose_target(job, n_labels).target == target and job.target == "equal"


def test_what_a_job_names_stands() -> None:
    assert choose_target(make_job(target="equal"), 60).target == "equal"
    assert choose_target(make_job(target={"a": 2}), 60).target == {"a": 2}


def test_a_run_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    job, inputs = make_job(), make_inputs(60)
    with RunDirectory(tmp_path / "new") as directory:
        first = keep_target(job, inputs, directory)
        assert first.target == "enough"
        directory.write("run", {"fingerprint": f"{first.fingerprint()}-abc"})
        assert keep_target(job, inputs, directory).target == "enough", "the same job once more"
        assert keep_target(first, inputs, directory).target == "enough", "the job as the directory has it"
    with RunDirectory(tmp_path / "old") as directory:
        directory.write("run", {"fingerprint": f"{job.fingerprint()}-abc"})
        assert keep_target(job, inputs, directory).target == "equal", "an earlier version had begun it"
