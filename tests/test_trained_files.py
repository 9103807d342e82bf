"""Files that are written here are loaded, and trained on for a step, by the libraries they are for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from counterpoise.retrieval_io import write_instances
from tests.extras_environments import require_environment
from tests.test_relabel_retrieval import INSTANCES, N, relabel

pytestmark = pytest.mark.extras


def train(library: str, file: Path) -> dict[str, Any]:
    """One step; what it was trained on."""
    script = Path(__file__).parent / "train_one_step.py"
    done = subprocess.run(
        [str(require_environment("trainers")), str(script), library, str(file), str(file.parent / library)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] == 1 and found["loss"] > 0
    return found


def test_relabelled_tuples_train_with_sentence_transformers(tmp_path: Path) -> None:
    done = relabel()
    write_instances(tmp_path / "tuples.jsonl", done.after, "sentence_transformers")
    assert train("sentence_transformers", tmp_path / "tuples.jsonl")["rows"] == 3 * N
    assert len(INSTANCES) == N
