"""The suite of evaluations: what is there is not run again, what failed leaves nothing, the page is made of lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.core.errors import ServerError
from evals import common, result_tables, suite
from evals.__main__ import EVALS, main
from evals.memory import read_memory
from evals.vllm_on_cpu import KEY

pytestmark = pytest.mark.processes


def write_line(folder: Path, name: str, **fields: object) -> None:
    line = {
        "eval": name,
        "data": "check",
        "arm": "counterpoise",
        "low": None,
        "high": None,
        "n": 1,
        "unit": "s",
    }
    (folder / f"{name}.jsonl").write_text(json.dumps({**line, **fields}) + "\n", encoding="utf-8")


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    write_line(tmp_path, "startup", metric="seconds", value=1.5)
    before = (tmp_path / "startup.jsonl").read_bytes()
    assert suite.run_all(["startup"], [], tmp_path) == 0
    assert (tmp_path / "startup.jsonl").read_bytes() == before


def test_those_that_measure_speed_come_last_and_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def run(command: list[str], **keys: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append((command[3], keys["env"].get("OMP_NUM_THREADS")))
        return subprocess.CompletedProcess(command, 2 if command[3] == "judges" else 0)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("evals.suite.subprocess.run", run)
    names = ["startup", "forecast", "judges", "minority_text", "surfaced"]
    assert suite.run_all(names, [], tmp_path, 2) == 1
    beside = {name: threads for name, threads in asked if threads}
    assert set(beside) == {"judges", "minority_text", "surfaced"}
    assert asked[-2:] == [("forecast", None), ("startup", None)]
    assert sorted(path.stem for path in tmp_path.glob("*.jsonl")) == sorted(set(names) - {"judges"})
    took = (tmp_path / "seconds.txt").read_text(encoding="utf-8")
    assert "judges: failed with exit code 2 in 0 s" in took
    assert took.count("done in") == 4


def test_one_server_is_for_all_but_those_about_the_embedded_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    def run(command: list[str], **keys: Any) -> subprocess.CompletedProcess[bytes]:
        asked[command[3]] = command[command.index("--engine") + 1]
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("evals.suite.subprocess.run", run)
    suite.run_all(["judges", "minority_text", "throughput"], [], tmp_path, 2, lambda: "http://127.0.0.1:9/v1")
    assert asked == {
        "judges": "embedded",
        "minority_text": "http://127.0.0.1:9/v1",
        "throughput": "http://127.0.0.1:9/v1",
    }


def test_a_server_is_started_only_for_those_that_ask_it_and_its_failure_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: list[str], **keys: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 0)

    def fail() -> str:
        raise ServerError("it does not start")

    monkeypatch.setattr("evals.suite.subprocess.run", run)
    assert suite.run_all(["startup", "label_noise"], [], tmp_path, 2, fail) == 0
    assert suite.run_all(["peers", "judges"], [], tmp_path, 2, fail) == 1
    assert "peers: it does not start\n" in capsys.readouterr().err
    assert sorted(path.stem for path in tmp_path.glob("*.jsonl")) == ["judges", "label_noise", "startup"]


def test_the_key_of_a_server_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with common.open_engine("http://127.0.0.1:9/v1") as llm:
        assert llm == {"engine": "server", "url": "http://127.0.0.1:9/v1"}
    monkeypatch.setenv(KEY, "secret")
    with common.open_engine("http://127.0.0.1:9/v1") as llm:
        assert llm["api_key_env"] == KEY


def test_an_evaluation_without_its_data_leaves_no_results(tmp_path: Path) -> None:
    n_failed = suite.run_all(
        ["minority_text"],
        ["--data", str(tmp_path / "none")],
        tmp_path,
        find_engine=lambda: "http://127.0.0.1:9",
    )
    assert n_failed == 1
    assert not (tmp_path / "minority_text.jsonl").exists()


def test_an_evaluation_whose_server_ended_runs_once_more(tmp_path: Path) -> None:
    urls = iter(["http://127.0.0.1:9", "http://127.0.0.1:10", "http://127.0.0.1:10", "http://127.0.0.1:10"])
    options = ["--data", str(tmp_path / "none")]
    assert suite.run_all(["minority_text"], options, tmp_path, find_engine=lambda: next(urls)) == 1
    assert (tmp_path / "seconds.txt").read_text().count("minority_text: failed") == 2


def test_an_extra_that_is_absent_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    assert main(["mining", "--quick"]) == 2
    said = capsys.readouterr().err
    assert said == "error: absent: sentence_transformers, torch; the extra has it: pip install -e '.[eval]'\n"


def test_the_page_holds_figures_notes_and_gaps(tmp_path: Path) -> None:
    write_line(tmp_path, "startup", metric="seconds", value=0.0925, low=0.08, high=0.11)
    (tmp_path / "startup.md").write_text("What was tried: lazy imports.\n", encoding="utf-8")
    page = "\n".join(suite.render_page({"startup": "seconds", "scaling": "memory"}, tmp_path))
    assert "- check, counterpoise: seconds 0.092 (0.080 to 0.110) s" in page or "0.093 (0.080" in page
    assert page.index("lazy imports") < page.index("0.09")
    assert page.endswith("Not measured yet.\n")


def test_what_is_not_a_number_leaves_its_cell_empty(tmp_path: Path) -> None:
    write_line(tmp_path, "startup", metric="seconds", value=None)
    assert "- check, counterpoise: seconds  s" in "\n".join(
        suite.render_page({"startup": "seconds"}, tmp_path)
    )


def test_the_committed_page_is_up_to_date() -> None:
    assert (
        suite.PAGE.read_text(encoding="utf-8")
        == "\n".join(suite.render_page(EVALS, suite.RESULTS)).rstrip() + "\n"
    )


@pytest.mark.parametrize("page", result_tables.TABLES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_lines(page: Path) -> None:
    if not page.is_file():
        pytest.skip("the pages are not beside the tests (wheel test)")
    text = page.read_text(encoding="utf-8")
    assert text == result_tables.fill_tables(page, text, suite.RESULTS)
    changed = text.replace("| words |", "| wards |")
    assert changed != text == result_tables.fill_tables(page, changed, suite.RESULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_a_process_is_not_that_of_its_parent() -> None:
    held = np.ones(40_000_000)
    code = "from evals.memory import read_memory; print(read_memory('VmHWM'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 0 < int(done.stdout) < held.nbytes / 2 < read_memory("VmHWM")
