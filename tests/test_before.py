"""What the version before the move of the house wrote is still read: a run, its replies, a patch, a baseline.

`tests/before` was written by the reference runs `instruction`, `label_errors` and `check` of the commit `before-house`;
its `retrieval` by a later version, in which a retrieval run still had an opening and an end of its own.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import counterpoise
from counterpoise.api import read_report
from counterpoise.cli import execute
from tests.integration.helpers import make_cache, write_reply
from tests.reference.runs import list_decisions
from tests.servers import LocalServer

pytestmark = pytest.mark.processes

BEFORE = Path(__file__).with_name("before")


def copy_run(folder: Path, url: str, before: Path = BEFORE) -> Path:
    """The run, with its inputs and its cache where they are now."""
    shutil.copytree(before, folder, dirs_exist_ok=True)
    shutil.copy(folder / "replies.sqlite", make_cache(folder / "cache") / "replies.sqlite")
    job = folder / "run" / "job.yaml"
    lines = re.sub(r"/kept/\w+", str(folder), job.read_text(encoding="utf-8"))
    job.write_text(
        "\n".join(f"  - {url}" if "http://" in line else line for line in lines.splitlines()) + "\n",
        encoding="utf-8",
    )
    return folder / "run"


@pytest.mark.assets
def test_a_run_is_gone_on_with_on_its_stored_replies(tmp_path: Path) -> None:
    expected = list_decisions(BEFORE / "run")
    with LocalServer(lambda body, index: write_reply(body, index, instructs=True)) as server:
        run = copy_run(tmp_path, server.url)
        resumed = counterpoise.resume(run, progress=False)
        assert server.n_requests == 0
    found = list_decisions(run)
    assert all(record in found["kept"] for record in expected["kept"])
    # Filters of today judge the stored replies: they hold less against a writer that the scorer cannot surely judge.
    passed = [record for record in expected["refused"] if record not in found["refused"]]
    assert {record[4] for record in passed} <= {"writer_misses_label"}
    assert len(found["kept"]) - len(expected["kept"]) == len(passed) < 5
    assert len(resumed.dataset["train"]) == len(found["kept"]) - len(resumed.dataset["held_out"])


def test_a_finished_run_is_read_and_its_report_written(tmp_path: Path) -> None:
    run = copy_run(tmp_path, "http://127.0.0.1:9/v1")
    (run / "FINISHED").touch()
    assert execute(["report", str(run), "--quiet"]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "counterfactual" not in page
    assert "minilm_lr" not in page and "vectors:minilm" in page, "students have their names of today"
    assert "Logistic regression on words" in page
    assert len(counterpoise.resume(run, progress=False).rejected) > 0


@pytest.mark.assets
def test_a_retrieval_run_is_read_and_gone_on_with(tmp_path: Path) -> None:
    before = json.loads((BEFORE / "retrieval" / "run" / "report.json").read_text(encoding="utf-8"))
    with LocalServer(lambda body, index: "none") as server:
        run = copy_run(tmp_path, server.url, BEFORE / "retrieval")
        assert "also on topic000" in read_report(run)[1]
        assert "queries before" in counterpoise.Run(run, before)._repr_html_()
        counterpoise.resume(run, progress=False)
        assert server.n_requests == 0
    after = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert [after[name] for name in ("summary", "stopped", "examples")] == [
        before[name] for name in ("summary", "stopped", "examples")
    ]


def test_a_patch_is_applied_and_taken_back(tmp_path: Path) -> None:
    for path in (BEFORE / "labels").iterdir():
        shutil.copy(path, tmp_path)
    old, new, undone = (tmp_path / name for name in ("reviews.csv", "new.csv", "undone.csv"))
    assert execute(["apply", str(tmp_path / "patch.jsonl"), str(old), "-o", str(new), "--quiet"]) == 0
    assert new.read_bytes() == (BEFORE / "labels" / "applied.csv").read_bytes()
    assert execute(["undo", str(tmp_path / "applied.csv"), "-o", str(undone), "--quiet"]) == 0
    assert undone.read_bytes() == old.read_bytes()


def test_a_baseline_accepts_what_it_accepted() -> None:
    arguments = ["check", str(BEFORE / "check" / "shortcut.csv"), "--text", "review", "--label", "stars"]
    arguments += ["--fail-on", "0.3", "--quiet"]
    assert execute(arguments) == 1
    assert execute([*arguments, "--baseline", str(BEFORE / "check" / "shortcut.yaml")]) == 0
