"""The evidence of other data sets: a run keeps what it was begun with, whatever ships later."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.core.errors import JobError
from counterpoise.runs.begun import keep_evidence
from counterpoise.runs.directory import RunDirectory
from counterpoise.students.evidence import NO_EVIDENCE, parse_evidence, read_shipped
from counterpoise.tasks.text.job import Job, job_from

TABLE = "data,student,rows,way,gain\na,words,15,tuned_offsets,2\n"


def make_job(**keys: str) -> Job:
    return job_from(data="reviews.csv", text="text", label="label", llm="embedded", **keys)


def test_a_run_keeps_the_table_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        first = keep_evidence(make_job(), directory)
        directory.write("run", {"rounds": None})
    assert first.hash == parse_evidence(read_shipped()).hash and first.n_sets > 6
    monkeypatch.setattr("counterpoise.runs.begun.read_shipped", lambda: TABLE)
    with RunDirectory(tmp_path / "run") as directory:
        assert keep_evidence(make_job(), directory) == first, "a later version ships another table"
    with RunDirectory(tmp_path / "new") as directory:
        assert keep_evidence(make_job(), directory).n_sets == 1


def test_a_run_of_a_version_without_evidence_goes_on_without(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "old") as directory:
        directory.write("run", {"rounds": 4})
        assert keep_evidence(make_job(), directory) == NO_EVIDENCE
        assert keep_evidence(make_job(), directory) == NO_EVIDENCE


def test_a_job_may_do_without_evidence_and_says_nothing_else(tmp_path: Path) -> None:
    job = make_job(evidence="none")
    assert job.open_evidence() == NO_EVIDENCE and job.fingerprint() != make_job().fingerprint()
    with RunDirectory(tmp_path / "run") as directory:
        assert keep_evidence(job, directory) == NO_EVIDENCE
    with pytest.raises(JobError, match="evidence"):
        make_job(evidence="mine")
