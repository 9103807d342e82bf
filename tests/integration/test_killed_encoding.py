"""A run that is killed while it encodes, and then run again, gives the same bytes and asks for no vector twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration.helpers import ONE_WAY, make_job, make_reviews, write_reply, write_reviews
from tests.made_up import WordEncoder
from tests.servers import LocalServer
from tests.test_encoder_sources import serve_embeddings

pytestmark = [pytest.mark.processes]


class SlowEncoder(WordEncoder):
    """Notes what it is asked and takes its time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.seconds = 0.0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        self.asked.extend(texts)
        return super().encode(texts)


def start(folder: Path) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "counterpoise", "run", str(folder / "job.yaml"), "--quiet"]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(folder: Path) -> dict[str, Any]:
    process = start(folder)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()
    report: dict[str, Any] = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    return report


def read_shards(folder: Path) -> dict[str, bytes]:
    shards = sorted((folder / "run" / "dataset").rglob("*.parquet"))
    return {path.name: path.read_bytes() for path in shards}


def test_a_run_that_is_killed_while_encoding_gives_the_same_bytes(tmp_path: Path) -> None:
    encoder = SlowEncoder()
    with LocalServer(write_reply) as model, serve_embeddings(encoder) as url:
        for name in ("undisturbed", "killed"):
            folder = tmp_path / name
            folder.mkdir()
            write_reviews(folder / "reviews.csv", make_reviews(200, 20))
            write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
            keys = {"encoder": {"url": url, "model": "words"}, "rounds": 1, "budget": 0}
            (folder / "job.yaml").write_text(
                make_job(folder, model, "run", **ONE_WAY, **keys).dump(), encoding="utf-8"
            )
        expected = finish(tmp_path / "undisturbed")
        n_asked = len(encoder.asked)

        encoder.asked.clear()
        encoder.seconds = 0.3
        process = start(tmp_path / "killed")
        deadline = time.monotonic() + 300
        while not list((tmp_path / "killed" / "cache").rglob("*.keys")) or len(encoder.asked) < 100:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        time.sleep(1)  # what the server was asked before it noticed
        assert not (tmp_path / "killed" / "run" / "FINISHED").exists()
        stored = sum(path.stat().st_size for path in (tmp_path / "killed" / "cache").rglob("*.keys")) // 16
        assert 0 < stored < n_asked

        encoder.asked.clear()
        encoder.seconds = 0.0
        report = finish(tmp_path / "killed")
        assert len(encoder.asked) <= n_asked - stored + 2
    assert report["settings"]["content_hash"] == expected["settings"]["content_hash"]
    shards = read_shards(tmp_path / "killed")
    assert shards and shards == read_shards(tmp_path / "undisturbed")
