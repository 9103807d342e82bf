"""Runs of training in a process of their own, each kept under its path, so that a stopped evaluation goes on.

torch and FAISS may each bring their own OpenMP; a process apart keeps them apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic


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
    # Without this every update gives its memory back and pays for getting it again.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_MMAP_MAX_": "0"}
    command = [sys.executable, "-m", f"evals.{worker}", str(specs)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as process:
        assert process.stdout is not None
        for place, (path, line) in enumerate(zip(paths, process.stdout, strict=False), start=1):
            path.write_text(line, encoding="utf-8")
            said = f"{monotonic() - started:.0f} s"
            print(f"{worker}: {place} of {len(paths)}, {said}", file=sys.stderr, flush=True)
    if process.returncode:
        raise RuntimeError(f"training failed with exit code {process.returncode}")
