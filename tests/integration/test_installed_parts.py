"""A package of a user's own is installed as pip installs it, and a run that names its parts uses each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.integration.helpers import make_reviews, write_reviews
from tests.servers import Body, LocalServer, draw_seed, hash_body

pytestmark = pytest.mark.processes

PARTS = Path(__file__).parents[1] / "parts_distribution"
NAMED = {
    "actions": ["adopt", "mine.own"],
    "filters": ["default", "mine.privacy"],
    "scorers": ["default", "mine.rule"],
    "students": ["default", "mine.forest"],
    "encoder": "mine.hashing",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(PARTS)]
    subprocess.run(command, check=True, cwd=folder)
    return folder


def reply(body: Body, index: int) -> str:
    """Another review of the label that is asked for, every fourth with an address in it."""
    seed = draw_seed(hash_body(body), index)
    is_praise = "Praise" in str(body.get("messages", ""))
    ((text, _),) = make_reviews(int(is_praise), int(not is_praise), seed=seed)
    return f"{text} Write to anna@example.org" if seed % 4 == 0 else text


def write_job(folder: Path, url: str, **keys: Any) -> Path:
    write_reviews(folder / "reviews.csv", make_reviews(48, 14))
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    job = {
        "data": "reviews.csv",
        "held_out": "test.csv",
        "text": "review",
        "label": "stars",
        "labels": {"good": "Praise of a restaurant", "bad": "Complaints about a restaurant"},
        "llm": {"engine": "server", "url": url, "concurrency": 4},
        "budget": 40_000,
        "rounds": 2,
        "cache_dir": "cache",
        "output": "run",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | keys), encoding="utf-8")
    return path


def run_cli(site: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the package on its path or without it."""
    path = [str(site)] if site else []
    known = os.environ | {"PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "counterpoise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=known, check=False)


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with LocalServer(reply) as server:
        done = run_cli(site, "run", str(write_job(folder, server.url, **NAMED)), "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "run"


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return read


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_the_action_has_written_records(run: Path, report: dict[str, Any]) -> None:
    kinds = {row["provenance"]["kind"] for row in read_rows(run / "dataset")}
    assert kinds == {"original", "mine.own"}
    assert {item["action"] for turn in report["rounds"] for item in turn["items"]} == {"mine.own"}
    assert report["spend"]["used"] <= 40_000


def test_the_filter_has_refused_for_its_reason(run: Path, report: dict[str, Any]) -> None:
    refused = [row for row in read_rows(run / "rejected") if row["reason"] == "personal_data"]
    assert refused and all("anna@example.org" in row["text"] for row in refused)
    assert report["verdicts"]["rejected"]["personal_data"] == len(refused)
    assert not any("@" in row["review"] for row in read_rows(run / "dataset"))


def test_the_scorer_is_audited_beside_the_others(report: dict[str, Any]) -> None:
    lines = {line["name"]: line for line in report["scorers"]}
    assert list(lines)[:3] == ["classifier", "similarity", "mine.rule"]
    assert lines["mine.rule"]["auc"] > 0.9 and lines["mine.rule"]["role"] in ("used", "reported")
    assert lines["mine.rule"]["question"].startswith("Which label has the text? Words of praise")


def test_the_student_and_the_encoder_stand_in_the_held_out_table(run: Path, report: dict[str, Any]) -> None:
    assert {row["student"] for row in report["held_out"]["rows"]} == {
        "vectors:mine.hashing",
        "words",
        "mine.forest",
    }
    stored = [path.name for path in (run.parent / "cache" / "vectors").glob("mine.hashing-1-256-*.vectors")]
    assert len(stored) == 1  # by name and identity, and with the dimension of the encoder


def test_the_job_is_written_down_with_the_names_and_is_resumed(site: Path, run: Path) -> None:
    job = yaml.safe_load((run / "job.yaml").read_text(encoding="utf-8"))
    assert job["actions"] == NAMED["actions"] and job["filters"][-1] == "mine.privacy"
    assert (job["encoder"], job["students"][-1], job["scorers"][-1]) == (
        "mine.hashing",
        "mine.forest",
        "mine.rule",
    )
    assert run_cli(site, "resume", str(run), "--json").returncode == 0


@pytest.mark.parametrize("key", NAMED)
def test_a_part_that_is_not_installed_is_one_line(key: str, tmp_path: Path) -> None:
    job = write_job(tmp_path, "http://127.0.0.1:9/v1", **{key: NAMED[key]})
    done = run_cli(None, "run", str(job))
    named = NAMED[key] if isinstance(NAMED[key], str) else NAMED[key][-1]
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"key '{key}'" in line and f"found '{named}'" in line and "entry point" in line
    assert not (tmp_path / "run").exists()
