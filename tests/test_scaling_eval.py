"""The evaluation of large data: made sizes, and what counts as a section that is missing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from evals.large_data import LargeData, share_out
from evals.large_runs import Measured, list_sections, make_writer, write_job
from evals.scaling import describe

DATA = LargeData(
    {"text": ["one, two", "three"], "label": ["a", "b"]},
    {"text": ["four"], "label": ["a"]},
    {"text": ["five", "six"], "label": ["a", "b"]},
    {"attributes": []},
    2,
)


@pytest.mark.parametrize(
    ("n_rows", "n_labels", "fewest", "most"), [(40_000, 60, 12, 6_000), (500, 4, 12, 300)]
)
def test_labels_fall_from_the_most_to_the_fewest_rows(
    n_rows: int, n_labels: int, fewest: int, most: int
) -> None:
    sizes = share_out(n_rows, n_labels, fewest, most)
    assert sum(sizes) == n_rows and len(sizes) == n_labels
    assert sizes == sorted(sizes, reverse=True) and (sizes[0], sizes[-1]) == (most, fewest)


@pytest.mark.assets
def test_a_job_reads_what_was_made(tmp_path: Path) -> None:
    job = write_job(tmp_path, DATA, "http://127.0.0.1:9/v1", 100)
    with Path(job["data"]).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["text", "label"], ["one, two", "a"], ["three", "b"]]
    assert job["attributes"] == [] and job["budget"] == 100
    assert (Path(job["cache_dir"]) / "vectors").is_symlink()
    writer = make_writer(DATA)
    assert writer.write("prompt", 0) in ("five", "six") and writer.write("prompt", 0) == writer.write(
        "prompt", 0
    )


def test_what_is_empty_at_size_is_missing() -> None:
    small, large = (
        Measured(1.0, 1.0, 0.1, tuple(list_sections(found)), ())
        for found in (
            {"forecasts": [1], "data": {"rows": 2, "notes": []}, "plan": [3]},
            {"forecasts": [], "data": {"rows": 9, "notes": ["x"]}, "plan": [3]},
        )
    )
    assert small.sections == ("forecasts", "data.rows", "plan")
    lines = {line.metric: line for line in describe("made", "preview", DATA, large, small)}
    assert (lines["rows"].value, lines["missing"].value) == (2.0, 1.0)
    assert lines["missing"].extra["missing"] == ["forecasts"]
