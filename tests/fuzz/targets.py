"""The targets by name, and how one is run: alone in its folder, with a clock that ends what hangs."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from tests.fuzz.common import Tally, Target, run_target
from tests.fuzz.jobs import fuzz_jobs
from tests.fuzz.patching import fuzz_patches
from tests.fuzz.readers import fuzz_readers
from tests.fuzz.replies import ASKED, fuzz_replies, fuzz_runs
from tests.fuzz.retrieval import fuzz_retrieval
from tests.fuzz.stores import fuzz_files, fuzz_rows

TARGETS: dict[str, Target] = {
    "jobs": fuzz_jobs,
    "readers": fuzz_readers,
    "replies": fuzz_replies,
    "rows": fuzz_rows,
    "files": fuzz_files,
    "retrieval": fuzz_retrieval,
    "patches": fuzz_patches,
    "runs": fuzz_runs,
}

SHARES = {"replies": ASKED, "runs": 100}
"""How many inputs of the others one of these stands for: it holds so many requests, or takes as long as they do."""


def fuzz(name: str, seed: int, numbers: range, folder: Path) -> Tally:
    """Run one target.

    Args:
        name: of `TARGETS`.
        seed: of all inputs.
        numbers: which inputs; each depends on seed, target and its number alone.
        folder: an empty one, for the files.
    """
    if len(numbers) > 1:
        numbers = range(numbers.start, numbers.start + -(-len(numbers) // SHARES.get(name, 1)))
    offline = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import huggingface_hub.constants

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run_target(name, TARGETS[name], seed, numbers, folder, 180 if name == "runs" else 60)
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before
        if offline is None:
            del os.environ["HF_HUB_OFFLINE"]
