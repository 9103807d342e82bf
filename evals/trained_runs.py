"""Runs of training in processes of their own, each kept under its path, so that a stopped evaluation goes on.

torch and FAISS may each bring their own OpenMP; a process apart keeps them apart. A process has one core: models as
small as these gain little from a second one, and two processes gain a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from time import monotonic

MOST_PROCESSES = 2


def train_missing(worker: str, specs: Path, paths: Sequence[Path]) -> None:
    """Run a worker on a file of specifications and keep each line that it prints.

    Args:
        worker: module of `evals` that reads the file and prints a line for each specification, in order.
        specs: one JSON object a line.
        paths: where the line of each goes.

    Raises:
        RuntimeError: the worker failed; what it had printed is kept.
    """
    started = monotonic()
    lines = specs.read_text(encoding="utf-8").splitlines()
    # Where a caller allows one thread, others work beside.
    n_processes = 1 if os.environ.get("OMP_NUM_THREADS") == "1" else min(MOST_PROCESSES, os.cpu_count() or 1)
    done = count(1)

    def train(turn: int) -> int:
        part = specs.with_name(f"{turn}-{specs.name}")
        part.write_text("\n".join(lines[turn::n_processes]), encoding="utf-8")
        with subprocess.Popen(
            [sys.executable, "-m", f"evals.{worker}", str(part)],
            stdout=subprocess.PIPE,
            text=True,
            # Without the last two every update gives its memory back and pays for getting it again.
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MALLOC_TRIM_THRESHOLD_": "-1",
                "MALLOC_MMAP_MAX_": "0",
            },
            cwd=Path(__file__).parents[1],
        ) as process:
            assert process.stdout is not None
            for path, line in zip(paths[turn::n_processes], process.stdout, strict=False):
                if not line.endswith("\n"):
                    break  # the worker ended within it
                scratch = path.with_suffix(".part")
                scratch.write_text(line, encoding="utf-8")
                scratch.replace(path)
                said = f"{next(done)} of {len(paths)}, {monotonic() - started:.0f} s"
                print(f"{worker}: {said}", file=sys.stderr, flush=True)
        return process.returncode

    with ThreadPoolExecutor(n_processes) as pool:
        failed = [code for code in pool.map(train, range(n_processes)) if code]
    if failed:
        raise RuntimeError(f"training failed with exit code {failed[0]}")
