"""The run directory: one process at a time, nothing of the user's touched, a journal that survives, a marker last."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoise.core.errors import RunDirectoryError, StorageError
from counterpoise.runs.directory import RunDirectory
from tests.integration.helpers import enlarge_disk, mount_small_disk

pytestmark = pytest.mark.processes

HOLD = """
import sys, time
from pathlib import Path
from counterpoise.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])) as directory:
    directory.begin("data: reviews.csv", "job and data")
    for number in range(int(sys.argv[2])):
        directory.write("rounds", {f"{number:03d}": {"items": ["späte Suppe"] * 50}})
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "reviews"


def hold(folder: Path, n_rounds: int = 0) -> subprocess.Popen[str]:
    """A process that runs in a folder; returns when it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(n_rounds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_gone(folder: Path) -> None:
    process = hold(folder)
    try:
        with pytest.raises(RunDirectoryError, match="another process runs in this directory") as caught:
            RunDirectory(folder)
        assert caught.value.exit_code == 2
    finally:
        kill(process)
    with RunDirectory(folder) as directory:
        directory.begin("data: reviews.csv", "job and data")


def test_the_command_line_refuses_a_directory_in_use_before_it_reads_data(folder: Path) -> None:
    process = hold(folder)
    try:
        (folder / "job.yaml").write_text("data: none.csv\ntext: review\nlabel: stars\n", encoding="utf-8")
        second = subprocess.run(
            [sys.executable, "-m", "counterpoise", "resume", str(folder)], capture_output=True, text=True
        )
    finally:
        kill(process)
    assert second.returncode == 2
    assert second.stderr == (
        f"error: {folder}: another process runs in this directory; "
        "wait for it, or name another folder under output\n"
    )


def test_what_was_written_before_a_kill_can_be_read(folder: Path) -> None:
    kill(hold(folder, n_rounds=30))
    with RunDirectory(folder) as directory:
        rounds = directory.read("rounds")
        assert list(rounds) == [f"{number:03d}" for number in range(30)]
        assert rounds["029"] == {"items": ["späte Suppe"] * 50}
        directory.write("rounds", {"029": {"items": []}})
        assert directory.read("rounds")["029"] == {"items": []}
        assert directory.read("verdicts") == {}


def test_another_job_is_refused_and_the_run_stays(folder: Path) -> None:
    with RunDirectory(folder) as directory:
        directory.begin("seed: 1", "one")
        (folder / "report.json").write_text("{}", encoding="utf-8")
        directory.finish()
    with RunDirectory(folder) as directory:
        with pytest.raises(RunDirectoryError, match="another job or other data"):
            directory.begin("seed: 2", "two")
        assert directory.is_finished
    assert (folder / "job.yaml").read_text(encoding="utf-8") == "seed: 1"
    assert (folder / "report.json").is_file()


def test_a_folder_with_other_files_is_left_as_it_was(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"holds other files \(thesis.csv\)"):
        RunDirectory(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.csv"]
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        RunDirectory(folder / "thesis.csv")


KILL_AT_EVERY_LINE = """
import os, shutil, signal, sys
from pathlib import Path
from counterpoise.runs import directory as run_directory

def begin(folder, step):
    left = step
    def count(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != run_directory.__file__:
            return None
        if event == "line":
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return count
    sys.settrace(count)
    with run_directory.RunDirectory(folder) as directory:
        directory.begin("seed: 1", "one")

base = Path(sys.argv[1])
step = 0
while True:
    folder = base / f"{step:03d}"
    if (base / "finished").is_dir():
        shutil.copytree(base / "finished", folder)
    child = os.fork()
    if not child:
        begin(folder, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    step += 1
"""


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_kill_at_any_line_of_the_set_up_leaves_a_directory_that_can_be_used(
    tmp_path: Path, is_finished: bool
) -> None:
    if is_finished:
        with RunDirectory(tmp_path / "finished") as directory:
            directory.begin("seed: 1", "one")
            directory.finish()
        (tmp_path / "finished" / "dataset").mkdir()
        for name in ("dataset/train.parquet", "report.json", "report.html"):
            (tmp_path / "finished" / name).write_text("whole", encoding="utf-8")
    subprocess.run([sys.executable, "-c", KILL_AT_EVERY_LINE, str(tmp_path)], check=True)
    folders = sorted(path for path in tmp_path.iterdir() if path.name != "finished")
    assert len(folders) > 30
    for folder in folders:
        if (folder / "FINISHED").is_file():
            assert (folder / "dataset" / "train.parquet").read_text(encoding="utf-8") == "whole"
            assert (folder / "report.json").is_file() and (folder / "report.html").is_file()
        with RunDirectory(folder) as directory:
            directory.begin("seed: 1", "one")
        left = [path.name for path in folder.iterdir() if not path.name.startswith((".", "journal"))]
        assert sorted(left) == ["job.yaml", "lock"]
        assert (folder / "job.yaml").read_text(encoding="utf-8") == "seed: 1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    with mount_small_disk(tmp_path / "disk") as disk:
        yield disk


def fill_up(directory: RunDirectory) -> None:
    for number in range(1000):
        directory.write("verdicts", {str(number): "x" * 1000})


def test_a_full_disk_is_said_so_and_what_is_there_stays(small_disk: Path) -> None:
    with RunDirectory(small_disk / "run") as directory:
        directory.begin("seed: 1", "one")
        directory.write("rounds", {"001": {"items": []}})
        with pytest.raises(StorageError, match="then resume the run") as caught:
            fill_up(directory)
        assert caught.value.exit_code == 3
        with pytest.raises(StorageError, match="full"):
            directory.write("verdicts", {"one more": "x" * 100_000})
    filler = small_disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(b"x" * 300_000)
    with pytest.raises(StorageError, match="then resume the run"):  # noqa: SIM117
        with RunDirectory(small_disk / "run") as directory:
            directory.begin("seed: 1", "one")
    filler.unlink()
    enlarge_disk(small_disk)
    with RunDirectory(small_disk / "run") as directory:
        directory.begin("seed: 1", "one")
        assert directory.read("rounds") == {"001": {"items": []}}
        directory.finish()
        assert directory.is_finished
