"""A command that is told to end leaves no temporary file or folder, wherever it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch, write_patch
from counterpoise.data.reading import load_table, make_ids
from counterpoise_retrievers.scraps import scrap, scrap_folder

pytestmark = pytest.mark.processes

TASK = TextClassification(("text",), "label")
N_ROWS = 40_000


@pytest.fixture(scope="module")
def big_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that takes long enough to be interrupted, with a patch of its first rows beside it."""
    folder = tmp_path_factory.mktemp("big")
    rows = "".join(f"text number {n} about soup,{'good' if n % 2 else 'bad'}\n" for n in range(N_ROWS))
    (folder / "data.csv").write_text("text,label\n" + rows)
    ids = make_ids(load_table(str(folder / "data.csv"), task=TASK))[:100]
    changes = [
        LabelChange(
            str(one), LabelOutcome.RELABEL, "good" if n % 2 else "bad", "bad" if n % 2 else "good", 0.9
        )
        for n, one in enumerate(ids)
    ]
    write_patch(folder / "patch.jsonl", Patch(TASK, "data.csv", N_ROWS, tuple(changes)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_apply_that_is_stopped_leaves_nothing(
    big_table: Path, tmp_path: Path, number: signal.Signals
) -> None:
    spool = tmp_path / "tmp"
    spool.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    command = [
        "apply",
        str(big_table / "patch.jsonl"),
        str(big_table / "data.csv"),
        "-o",
        str(out / "new.csv"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "counterpoise", *command],
        env={**os.environ, "TMPDIR": str(spool)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )
    deadline = time.monotonic() + 60
    while not list(out.iterdir()):
        assert time.monotonic() < deadline and process.poll() is None, "it was never seen at work"
        time.sleep(0.01)
    assert list(spool.iterdir()), "nothing lay there for the moment"
    process.send_signal(number)
    assert process.wait(20) == 130
    assert process.communicate()[1].splitlines()[-1].startswith("interrupted")
    assert not list(out.iterdir()) and not list(spool.iterdir())


def test_a_scrap_is_gone_unless_it_was_moved(tmp_path: Path) -> None:
    with scrap(tmp_path / "part") as part:
        part.write_text("whole")
        part.replace(tmp_path / "file")
    with contextlib.suppress(RuntimeError), scrap_folder(tmp_path, "." + "x" * 300) as folder:  # a long name
        assert (folder.stat().st_mode & 0o777) == 0o700
        (folder / "inner").mkdir()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
