"""However a run with a server of its own ends, no process is left: the agent, a supervisor, and a family as vLLM's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.helpers import make_cache, make_reviews, write_reviews
from tests.made_up_vllm import make_environment

pytestmark = [
    pytest.mark.assets,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="vLLM runs on Linux"),
    pytest.mark.processes,
]


def write_job(folder: Path, way: str) -> Path:
    write_reviews(folder / "reviews.csv", make_reviews(30, 8))
    write_reviews(folder / "test.csv", make_reviews(10, 10, seed=1))
    make_cache(folder / "cache")
    make_environment(folder / "environment")
    job = {
        "data": "reviews.csv",
        "held_out": "test.csv",
        "text": "review",
        "label": "stars",
        "llm": {
            "engine": "vllm",
            "model": "org/model",
            "python": str(folder / "environment"),
            "args": ["--made-up", way] if way else [],
        },
        "budget": 20_000,
        "rounds": 1,
        "cache_dir": "cache",
        "output": "run",
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(job), encoding="utf-8")  # JSON is YAML
    return path


def wait_until_asked(log: Path, agent: subprocess.Popen[bytes]) -> None:
    """Until the run itself has asked something, after the question that shows that the server is ready."""
    deadline = time.monotonic() + 300
    while not log.is_file() or log.read_text().count("asked") < 2:
        assert time.monotonic() < deadline and agent.poll() is None
        time.sleep(0.05)


def list_family(path: Path, agent: int) -> list[psutil.Process]:
    """Every process that was started for a run, those in sessions of their own too."""
    found = {process.pid: process for process in psutil.Process(agent).children(recursive=True)}
    for line in path.read_text().splitlines():
        for pid in json.loads(line):
            if psutil.pid_exists(pid):
                found.setdefault(pid, psutil.Process(pid))
    return list(found.values())


def list_running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those of a family that have not ended; a number that another process has now is none of them."""
    running = []
    for process in family:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
        except psutil.NoSuchProcess:
            continue
    return running


@pytest.mark.parametrize(
    ("way", "how", "code"),
    [
        ("", None, 0),
        ("refuse", None, 3),
        ("hang", signal.SIGINT, 130),
        ("hang", signal.SIGTERM, 130),
        ("hang", signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["success", "error", "interrupt", "terminate", "kill"],
)
def test_nothing_is_left_of_a_run(
    way: str, how: signal.Signals | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = tmp_path / "families"
    monkeypatch.setenv("MADE_UP_VLLM", str(families))
    agent = subprocess.Popen(
        [sys.executable, "-m", "counterpoise", "run", str(write_job(tmp_path, way)), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Tests that run in the background of a shell ignore it, and so would the agent.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    family: list[psutil.Process] = []
    try:
        wait_until_asked(tmp_path / "run" / "vllm.log", agent)
        family = list_family(families, agent.pid)
        # Supervisor, server, engine core and worker; without a signal the run goes on, and may be at its end.
        assert len(family) == 4 and (how is None or list_running(family) == family)
        if how is not None:
            agent.send_signal(how)
        _, said = agent.communicate(timeout=600)
        assert agent.returncode == code, said.decode()
        assert said.count(b"\n") == {3: 1, 130: 2}.get(code, 0), said.decode()
        deadline = time.monotonic() + 60
        while (left := list_running(family)) and how is not None:
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.05)
        assert not left
        assert (tmp_path / "run" / "FINISHED").is_file() == (code == 0)
    finally:
        agent.kill()
        agent.communicate()
        for process in list_running(family):
            os.kill(process.pid, signal.SIGKILL)
