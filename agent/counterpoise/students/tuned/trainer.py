"""Trains an encoder in a child process; what was trained once is read back afterwards.

A training takes minutes, and a run that was killed goes on: what comes out is kept in the cache folder under a hash of
all that decides it: texts, labels, weights, files of the encoder, code and versions of what trains it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.errors import JobError, ServerError
from counterpoise.core.event_kinds import EncoderTuned
from counterpoise.core.events import tell_event
from counterpoise.core.files import write_whole
from counterpoise.core.processes import end_child
from counterpoise.students.tuned import worker
from counterpoise.students.tuned.weights import OpenedWeights
from counterpoise_retrievers.encoder_protocol import mend_text
from counterpoise_retrievers.private_files import make_private_folder
from counterpoise_retrievers.scraps import scrap_folder

FOLDER = "trainings"
"""In the cache folder."""

PACKAGES = ("torch", "transformers", "safetensors", "tokenizers")
INSTALL = "pip install counterpoise[torch]"


@dataclass(frozen=True, slots=True)
class TuningTask:
    """What is trained on what.

    Args:
        method: a key of `worker.HOW`.
        encoder: what is trained.
        texts: n texts to train on.
        labels: (n,) 0 to k - 1, each of them there.
        weights: (n,) more than 0.
    """

    method: str
    encoder: OpenedWeights
    texts: Sequence[str]
    labels: Sequence[int]
    weights: Sequence[float]

    def describe(self) -> dict[str, Any]:
        """All that the trained weights depend on but the encoder."""
        return {
            "method": self.method,
            "how": worker.HOW[self.method],
            "texts": [mend_text(str(text)) for text in self.texts],
            "labels": [int(label) for label in self.labels],
            "weights": [float(weight) for weight in self.weights],
        }

    @property
    def key(self) -> str:
        """A hash of all that the trained weights depend on."""
        told = {**self.describe(), "encoder": self.encoder.config, "sha256": self.encoder.sha256}
        return hashlib.sha256(json.dumps([told, _name_code()], sort_keys=True).encode()).hexdigest()


@cache
def _name_code() -> list[str]:
    """What trains: a hash of the code, and versions."""
    code = hashlib.sha256(Path(worker.__file__).read_bytes()).hexdigest()
    return [code, *(version(package) for package in PACKAGES)]


def find_missing() -> str | None:
    """The first package that training needs and that is not installed."""
    return next((package for package in PACKAGES if find_spec(package) is None), None)


def check_installed(student: str) -> None:
    """Refuse where what trains is not installed.

    Args:
        student: who needs it.

    Raises:
        JobError: says what to install.
    """
    missing = find_missing()
    if missing is not None:
        raise JobError(
            f"the student '{student}' needs {missing}, which is not installed",
            where="key 'students'",
            hint=f"`{INSTALL}` (without a GPU install the CPU build of torch first), or leave it out",
        )


def run_task(task: TuningTask, score: Sequence[str], cache_dir: Path) -> NDArray[np.float32]:
    """Train and score, or read back what came out the last time.

    Args:
        task: what is trained.
        score: m texts.
        cache_dir: where answers are kept.

    Returns:
        (m, k) logits or (n + m, d) vectors, see `worker`.

    Raises:
        JobError: the encoder cannot be trained.
        ServerError: the process that trains has ended; what was trained before is kept.
    """
    mended = [mend_text(str(text)) for text in score]
    name = hashlib.sha256(json.dumps([task.key, mended]).encode()).hexdigest()[:32]
    path = cache_dir / FOLDER / f"{name}.npy"
    if not path.is_file():
        make_private_folder(path.parent)
        with scrap_folder(path.parent, ".task-") as folder:
            _TRAINER.ask(folder, task, mended)
            write_whole(path, (folder / "answer.npy").read_bytes(), is_private=True)
    return np.asarray(np.load(BytesIO(path.read_bytes()), allow_pickle=False))


def time_task(task: TuningTask, n_scored: int, cache_dir: Path) -> float:
    """Seconds that a training is expected to take here, from a few timed batches.

    Args:
        task: what would be trained.
        n_scored: texts that would be scored, as long as those trained on.
        cache_dir: where the task is put down for a moment.

    Raises:
        JobError: the encoder cannot be trained.
        ServerError: the process that trains has ended.
    """
    make_private_folder(cache_dir / FOLDER)
    with scrap_folder(cache_dir / FOLDER, ".task-") as folder:
        found = _TRAINER.ask(folder, task, (), is_timed=True)
    return float(found["training"] + n_scored * found["text"])


class Trainer:
    """The child process, which is started when the first task comes and ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(
        self, folder: Path, task: TuningTask, score: Sequence[str], *, is_timed: bool = False
    ) -> Mapping[str, float]:
        """Have a task carried out, whose answer is then in a folder; gives what was measured."""
        encoder = task.encoder
        told = {
            **task.describe(),
            "encoder": {
                "config": encoder.config,
                "model": str(encoder.model),
                "tokenizer": str(encoder.tokenizer),
            },
            "training": task.key,
            "score": list(score),
            "is_timed": is_timed,
        }
        (folder / "task.json").write_text(json.dumps(told), encoding="utf-8")
        with self._lock:
            process = self._process if self._process and self._process.poll() is None else self._start()
            try:
                _write(process, str(folder))
                while (said := _read(process)) is not None and "done" in said:
                    tell_event(EncoderTuned(said["done"], said["total"], f"batches of {task.method}"))
            except BaseException:
                end_child(process)  # its answer would be taken for that to the next task
                raise
        if said is None:
            end_child(process)
            raise ServerError(
                f"the process that trains has ended (exit code {process.returncode})",
                where=f"student '{task.method}'",
                hint="run again: what was trained is kept; it takes about 1.5 GB of memory",
            )
        if "error" in said:
            raise JobError(
                f"the student '{task.method}' cannot be trained ({said['error']})", where="key 'students'"
            )
        found: Mapping[str, float] = said["found"]
        return found

    def _start(self) -> subprocess.Popen[str]:
        """One thread; without the settings of malloc every batch gives its memory back and pays for it again."""
        if self._process is not None:
            end_child(self._process)  # it has ended; its pipes are open
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "counterpoise.students.tuned.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MALLOC_TRIM_THRESHOLD_": "-1",
                "MALLOC_MMAP_MAX_": "0",
                "HF_HUB_OFFLINE": "1",
            },
        )
        _write(process, os.getpid())
        self._process = process
        finalize(self, end_child, process)
        return process


def _write(process: subprocess.Popen[str], told: object) -> None:
    if process.stdin is not None:
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
        except OSError:
            return  # it has ended, as is seen where its answer is read


def _read(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What the child says next; None where it has ended."""
    line = process.stdout.readline() if process.stdout is not None else ""
    return json.loads(line) if line.endswith("\n") else None


_TRAINER = Trainer()
