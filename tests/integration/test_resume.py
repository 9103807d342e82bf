"""`kill -9` at random moments, then go on: the same data set, and nothing is asked twice that was stored."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.helpers import (
    ONE_WAY,
    HasUrl,
    enlarge_disk,
    find_keys,
    make_cache,
    make_job,
    make_reviews,
    mount_small_disk,
    read_stored_keys,
    write_reply,
    write_reviews,
)
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.slow, pytest.mark.processes]

CONCURRENCY = 4
N_KILLS = int(os.environ.get("COUNTERPOISE_KILLS", "20"))
N_ENGINE_KILLS = int(os.environ.get("COUNTERPOISE_ENGINE_KILLS", "5"))
"""The long form: COUNTERPOISE_KILLS=200 COUNTERPOISE_ENGINE_KILLS=50."""


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "counterpoise", *arguments, "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def start_or_resume(job_file: Path, directory: Path) -> subprocess.Popen[bytes]:
    """What a user does after a crash: resume, or run again where the crash came before there was a run."""
    if (directory / "job.yaml").is_file():
        return start("resume", str(directory))
    return start("run", str(job_file))


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=900)  # seconds of work, on a machine that may have much else to do
    assert process.returncode == 0, said.decode()


def has_arrived(server: LocalServer, n_bodies: int) -> bool:
    return len(server.bodies) >= n_bodies


def is_past(moment: float) -> bool:
    return time.monotonic() >= moment


def wait_for_quiet(server: LocalServer) -> None:
    """Until the server knows that its client is gone, requests under way in the kernel included."""
    time.sleep(0.05)
    deadline = time.monotonic() + 60
    while server.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_report(directory: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    return report


def without_paid(value: Any) -> Any:
    """A report without what was paid in the last process, the one thing that may differ."""
    if isinstance(value, dict):
        return {name: without_paid(item) for name, item in value.items() if name != "paid"}
    return [without_paid(item) for item in value] if isinstance(value, list) else value


def prepare_folder(folder: Path, server: HasUrl) -> Path:
    """Data, cache and job file of one chain of runs; the file's name is the same for all, as is the job."""
    folder.mkdir()
    write_reviews(folder / "reviews.csv", make_reviews(60, 12))
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(folder / "cache")
    job_file = folder / "job.yaml"
    job_file.write_text(make_job(folder, server, "run", **ONE_WAY).dump(), encoding="utf-8")
    return job_file


def test_a_run_that_is_killed_and_resumed_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    source = random.Random(20)
    with LocalServer(write_reply, latency_seconds=(0.005, 0.04)) as server:
        job_file = prepare_folder(tmp_path / "undisturbed", server)
        started = time.monotonic()
        finish(start("run", str(job_file)))
        duration = time.monotonic() - started
        expected = read_report(job_file.parent / "run")
        n_requests = server.n_requests
        assert server.n_repeated == 0
        assert expected["verdicts"]["accepted"] >= 50 and sum(expected["verdicts"]["rejected"].values())
        assert len(expected["rounds"]) > 1

        n_kills = n_repeated = n_chains = 0
        while n_kills < N_KILLS:
            n_chains += 1
            folder = tmp_path / f"chain {n_chains}"
            job_file = prepare_folder(folder, server)
            server.started.clear()
            for turn in range(min(N_KILLS - n_kills, 7)):
                begin = len(server.bodies)
                stored = read_stored_keys(folder / "cache")
                process = start_or_resume(job_file, folder / "run")
                n_left = n_requests - len(server.started)
                if turn % 2 == 0 and n_left > CONCURRENCY:
                    goal = begin + source.randint(1, n_left // 3)
                    is_time = partial(has_arrived, server, goal)
                else:
                    is_time = partial(is_past, time.monotonic() + source.uniform(0, 0.8 * duration))
                while process.poll() is None and not is_time():
                    time.sleep(0.001)
                process.kill()  # nothing happens where it has just ended
                _, said = process.communicate()
                if process.returncode == 0:
                    break
                assert process.returncode == -signal.SIGKILL, said.decode()
                wait_for_quiet(server)
                n_kills += 1
                asked = server.bodies[begin:]
                assert not [body for body in asked if stored.issuperset(find_keys(body))]
                durable = read_stored_keys(folder / "cache")
                lost = [body for body in asked if not durable.issuperset(find_keys(body))]
                assert len(lost) <= CONCURRENCY
                n_repeated += len(lost)
                if (folder / "run" / "FINISHED").is_file():
                    break
            begin = len(server.bodies)
            stored = read_stored_keys(folder / "cache")
            finish(start_or_resume(job_file, folder / "run"))
            assert not [body for body in server.bodies[begin:] if stored.issuperset(find_keys(body))]
            assert (folder / "run" / "FINISHED").is_file()
            report = read_report(folder / "run")
            assert report["settings"]["content_hash"] == expected["settings"]["content_hash"]
            assert without_paid(report) == without_paid(expected)
            assert len(server.started) == n_requests
            print(f"chain {n_chains}: {n_kills} kills so far, {n_repeated} requests repeated", flush=True)
        n_before = server.n_requests
        finish(start("resume", str(folder / "run")))
        finish(start("run", str(job_file)))
        assert server.n_requests == n_before
        assert without_paid(read_report(folder / "run")) == without_paid(expected)
    print(
        f"{n_kills} kills in {n_chains} chains, {n_repeated} requests repeated, {duration:.1f} s undisturbed"
    )


class ServerProcess:
    """A model server in a process of its own, at one port for all its lives; its log tells what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        self._port_file = folder / "port"
        self._port = "0"
        self.start()

    def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        arguments = ["--port-file", str(self._port_file), "--port", self._port, "--log", str(self.log)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", *arguments, "--latency", "0.05", "0.2"]
        )
        while not self._port_file.is_file():
            assert self.process.poll() is None
            time.sleep(0.01)
        self._port = self._port_file.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def list_asked(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.is_file() else []
        return [line.split()[1] for line in lines if line.startswith("started ") and len(line.split()) == 3]


def test_an_engine_that_is_killed_again_and_again_costs_only_what_was_in_flight(tmp_path: Path) -> None:
    source = random.Random(50)
    n_kills = n_chains = 0
    expected: dict[str, Any] = {}
    server = ServerProcess(tmp_path)
    try:
        while n_kills < N_ENGINE_KILLS:
            folder = tmp_path / f"chain {n_chains}"
            job_file = prepare_folder(folder, server)
            process = start_or_resume(job_file, folder / "run")
            begin = len(server.list_asked())
            n_killed = 0
            # The first chain is left alone.
            goal = begin + source.randint(1, 30) if n_chains else sys.maxsize
            while True:
                code = process.poll()
                if code == 3:  # it was down for too long: what a user does then
                    process.communicate()
                    process = start_or_resume(job_file, folder / "run")
                elif code is not None:
                    finish(process)
                    break
                elif len(server.list_asked()) >= goal and n_kills + n_killed < N_ENGINE_KILLS:
                    server.kill()
                    n_killed += 1
                    server.start()
                    goal = len(server.list_asked()) + source.randint(1, 30)
                time.sleep(0.005)
            asked = server.list_asked()[begin:]
            assert len(asked) - len(set(asked)) <= CONCURRENCY * n_killed
            report = read_report(folder / "run")
            expected = expected or report
            assert report["settings"]["content_hash"] == expected["settings"]["content_hash"]
            assert without_paid(report) == without_paid(expected)
            n_kills += n_killed
            n_chains += 1
            print(f"chain {n_chains}: {n_kills} kills of the engine so far", flush=True)
    finally:
        server.kill()
    print(f"{n_kills} kills of the engine in {n_chains} chains")


@pytest.mark.parametrize(("what", "size"), [("cache", "100k"), ("run", "64k"), ("run", "260k")])
def test_a_full_disk_is_exit_code_3_and_the_run_goes_on_once_there_is_space(
    what: str, size: str, tmp_path: Path
) -> None:
    """The reply store's disk, and the run directory's, early and late."""
    with LocalServer(write_reply) as server, mount_small_disk(tmp_path / "disk", size) as disk:
        job_file = prepare_folder(tmp_path / "job", server)
        text = job_file.read_text(encoding="utf-8")
        if what == "cache":
            make_cache(disk / "cache")
        job_file.write_text(text.replace(str(tmp_path / "job" / what), str(disk / what)), encoding="utf-8")
        directory = (disk if what == "run" else tmp_path / "job") / "run"
        process = start("run", str(job_file))
        _, said = process.communicate(timeout=900)
        assert process.returncode == 3, said.decode()
        assert b"disk is full" in said or b"No space left on device" in said
        assert said.count(b"\n") == 1
        assert not (directory / "FINISHED").exists()
        n_answered = server.answered.total()
        enlarge_disk(disk)
        finish(start_or_resume(job_file, directory))
        assert (directory / "FINISHED").is_file()
        assert read_report(directory)["verdicts"]["accepted"] >= 50
        if what == "run":
            assert server.n_repeated <= CONCURRENCY, "the replies lie on a disk with space"
        print(f"{what} of {size}: full after {n_answered} of {server.answered.total()} replies")
