"""`python -m evals bench`: figures of a user's own server in one hashed file, in steps that go on where they ended."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from evals import bench, result_tables, suite
from evals.bench import Step, ask_name, run_one, run_steps
from evals.bench_file import FIELDS, BenchFile, BenchFileError, clean_name, read_bench
from evals.bench_rows import NOT_MEASURED, ROWS, UNNAMED, list_open_rows
from tests.servers import LocalServer

SECRET = "sk-abc"


def make_lines(value: float, rows: slice = slice(None)) -> str:
    """What evaluations would say of all rows, and things that are nobody's business."""
    lines = [
        {
            "eval": key[0],
            "data": key[1],
            "arm": row.arm if row.arm != "model" else "Made/Up-7B",
            "metric": key[2],
            "value": value,
            "low": value - 0.1,
            "high": value + 0.1,
            "n": 3,
            "unit": "ratio",
            "version": "0",
            "sentence": "the waiter was rude",
            "url": f"http://me:{SECRET}@host/v1",
        }
        for row in ROWS[rows]
        for key in row.keys
    ]
    return "\n".join(map(json.dumps, lines))


def test_the_file_has_figures_alone_and_a_hash_that_tells_a_change(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    file = BenchFile(path, "Made/Up-7B (server)")
    file.add("all-1", "all", make_lines(0.5))
    file.add("all-3", "all", make_lines(0.7))
    head, lines = read_bench(path)
    assert head["model"] == "Made/Up-7B" and {line["value"] for line in lines} == {0.7}
    assert {key for line in lines for key in line} <= set(FIELDS) and list_open_rows(lines) == []
    text = path.read_text(encoding="utf-8")
    assert "rude" not in text and SECRET not in text and "http" not in text
    assert BenchFile(path, "Made/Up-7B (server)").lines == lines
    with pytest.raises(BenchFileError, match="holds figures of Made/Up-7B, and the server has other"):
        BenchFile(path, "other")
    path.write_text(text.replace("0.7", "0.9", 1), encoding="utf-8")
    with pytest.raises(BenchFileError, match="its hash does not fit"):
        read_bench(path)


def test_every_row_named_a_7b_model_is_filled_from_the_file(tmp_path: Path) -> None:
    for source in suite.RESULTS.glob("*.jsonl"):
        (tmp_path / source.name).symlink_to(source)
    BenchFile(tmp_path / "bench.jsonl", "Made/Up-7B").add("all-1", "all", make_lines(0.123))
    for page in result_tables.TABLES:
        text = result_tables.fill_tables(page, page.read_text(encoding="utf-8"), tmp_path)
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert not any(NOT_MEASURED in line or UNNAMED in line for line in tables)
    assert sum("0.123" in line or "0.12 (" in line or "0.1 (" in line for line in tables) >= len(ROWS)
    assert (
        sum(NOT_MEASURED in line for line in result_tables.PAGE.read_text(encoding="utf-8").splitlines())
        == 12
    )


def test_it_stops_at_its_minutes_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    steps = (Step("judges", ("llm",), 1), Step("false_negatives", ("model",)), Step("judges", ("llm",), 10))
    now, ran = [0.0], list[str]()

    def run(step: Step, seconds: float | None) -> str | None:
        ran.append(step.name)
        now[0] += 40.0
        return None if seconds is not None and seconds < 40 else make_lines(len(ran), slice(0, 1))

    def begin(seconds: float) -> list[float]:
        ran.clear()
        file = BenchFile(tmp_path / "bench.jsonl", "m")
        assert run_steps(file, steps, now[0] + seconds, run, lambda: now[0]) == []
        return [line["value"] for line in file.lines]

    assert begin(50) and ran == ["judges-llm-1", "false_negatives-model-0"], "the second was cut off"
    assert begin(40) and ran == ["false_negatives-model-0"], (
        "the first is there; no time is left for the third"
    )
    values = begin(1000)
    assert ran == ["judges-llm-10"] and 1 in values
    assert begin(1000) == values and ran == []


def test_a_step_that_fails_is_told_and_the_others_run(tmp_path: Path) -> None:
    def run(step: Step, seconds: float | None) -> str | None:
        if step.seeds == 1:
            raise subprocess.CalledProcessError(2, step.name)
        return make_lines(1.0)

    file = BenchFile(tmp_path / "bench.jsonl", "Made/Up-7B")
    steps = (Step("judges", ("llm",), 1), Step("judges", ("llm",), 3))
    assert run_steps(file, steps, 1.0, run, lambda: 0.0) == ["judges-llm-1"]
    assert list_open_rows(file.lines) == []


@pytest.mark.processes
def test_a_step_runs_in_a_process_that_ends_with_its_time() -> None:
    assert run_one(Step("no_such_evaluation", ()), ["--data", "nowhere"], 0.001, quick=True) is None
    with pytest.raises(subprocess.CalledProcessError):
        run_one(Step("no_such_evaluation", ()), ["--data", "nowhere"], None, quick=True)


@pytest.mark.processes
async def test_a_model_is_called_what_its_server_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    with LocalServer(models=["/home/me/models/up-7b"]) as server:
        assert clean_name(await ask_name(server.url)) == "up-7b"


def test_an_address_with_a_password_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--model", f"http://me:{SECRET}@127.0.0.1:9/v1"]) == 2
    said = capsys.readouterr().err
    assert "the URL holds a password" in said and SECRET not in said
