"""Ctrl-C and SIGTERM, in processes of their own: said at once, nothing new begins, nobody and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from counterpoise.core.interrupts import run_alone
from counterpoise.core.records import Floats
from counterpoise.students import training as trainings
from tests.integration.helpers import make_cache, make_reviews, write_reviews

pytestmark = pytest.mark.processes

SLOW = 120.0
"""Seconds that a step of these tests takes unless it is stopped; nobody waits for it."""

LEAST_SECONDS = 30.0
"""A busy machine has so long for what takes two seconds on a quiet one."""


def train_slowly(parent: int, *given: Any) -> dict[str, Floats]:
    """Stands for a training that takes long."""
    with Path(os.environ["STARTED"]).open("a") as log:
        log.write("fit\n")
    time.sleep(SLOW)
    return trainings._predict_for(parent, *given)


START = """
from tests import test_interrupts
from counterpoise.cli import app as cli
from counterpoise.students import training as trainings
trainings.LONG_WORK, trainings.cpu_count = 0, lambda: 2
trainings._predict_for = test_interrupts.train_slowly
cli.main()
"""

HOLD_IN_C = """
import hashlib, sys
from counterpoise.cli.app import main
from counterpoise.cli.commands import check
def hold(*arguments, **keys):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
check._lint = hold
main()
"""


@contextmanager
def start(*arguments: object, script: str = "", **keys: Any) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own, as a terminal would start it; killed at the end, with all it started."""
    process = subprocess.Popen(
        [sys.executable, *(["-c", script] if script else ["-m", "counterpoise"]), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=keys.pop("cwd", None),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["", str(Path.cwd()), *sys.path]), **keys},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def stop(process: subprocess.Popen[str], how: signal.Signals) -> list[str]:
    """Signal the process and all it started, as a terminal does; gives what it said, once everybody has gone."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, how)
    _, said = process.communicate(timeout=LEAST_SECONDS)
    _, left = psutil.wait_procs(family, timeout=LEAST_SECONDS)
    assert not left
    return said.splitlines()


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write_reviews(tmp_path / "reviews.csv", make_reviews(40, 12))


@pytest.mark.assets
@pytest.mark.parametrize(("command", "how"), [("run", signal.SIGTERM), ("preview", signal.SIGINT)])
def test_no_training_begins_after_a_signal(
    command: str, how: signal.Signals, reviews: Path, tmp_path: Path
) -> None:
    make_cache(tmp_path / "cache")
    log, output = tmp_path / "started", tmp_path / "a run"
    more = ("--model", "http://127.0.0.1:9/v1", "--output", output)
    keys = {"STARTED": str(log), "COUNTERPOISE_CACHE": str(tmp_path / "cache")}
    with start(
        command, reviews, "--text", "review", "--label", "stars", *more, script=START, **keys
    ) as process:
        wait_for(lambda: log.is_file() and log.read_text().count("fit") == 2, process)
        said = stop(process, how)
    last = f"interrupted; resume with: counterpoise resume '{output}'" if command == "run" else "interrupted"
    assert (process.returncode, said) == (130, ["stopping", last])
    assert log.read_text().count("fit") == 2


def test_neither_a_long_computation_in_c_nor_a_reader_that_was_stopped_as_well_changes_anything(
    reviews: Path,
) -> None:
    with start("check", reviews, "--text", "review", "--label", "stars", script=HOLD_IN_C) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.stdout.close()
        process.stdout = None
        said = stop(process, signal.SIGINT)
    assert (process.returncode, said) == (130, ["stopping", "interrupted"])


def test_a_second_signal_ends_at_once(reviews: Path) -> None:
    with start(
        "check",
        reviews,
        "--text",
        "review",
        "--label",
        "stars",
        script=f"""
from counterpoise.core import interrupts
interrupts.GRACE_SECONDS = {SLOW}
{HOLD_IN_C}""",
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None and process.stderr.readline() == "stopping\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.wait(LEAST_SECONDS)
    assert process.returncode == 130


PYTHON = """
import asyncio, sys, threading, time
from counterpoise.api import run_alone

async def compute():
    print("begun", flush=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pass

async def wait():
    print("begun", flush=True)
    await asyncio.sleep(120)

async def in_a_notebook():
    run_alone(WORK)

begin = time.monotonic()
try:
    # (a notebook's loop leaves the signal alone)
    asyncio.new_event_loop().run_until_complete(in_a_notebook()) if NOTEBOOK else run_alone(WORK)
except KeyboardInterrupt:
    print("interrupted", threading.active_count(), flush=True)
"""


@pytest.mark.parametrize("work", ["compute", "wait"])
@pytest.mark.parametrize("is_notebook", [False, True])
def test_python_is_interrupted_at_once(work: str, is_notebook: bool) -> None:
    script = PYTHON.replace("WORK", work).replace("NOTEBOOK", str(is_notebook))
    with start(script=script) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=LEAST_SECONDS)
    assert (said, complained) == ("interrupted 1\n", "")


def test_an_event_loop_leaves_the_handler_as_it_was() -> None:
    async def work() -> int:
        return 3

    before = signal.getsignal(signal.SIGINT)
    assert run_alone(work) == 3
    assert signal.getsignal(signal.SIGINT) is before
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(run_alone(work)))
    thread.start()
    thread.join()
    assert found == [3]
