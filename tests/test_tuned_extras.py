"""Students that train an encoder, in an environment that has torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.extras_environments import require_environment

pytestmark = [pytest.mark.extras, pytest.mark.processes]
ROOT = Path(__file__).parents[1]


def test_in_an_environment_of_its_own() -> None:
    python = require_environment("torch")
    paths = os.pathsep.join(str(ROOT / name) for name in ("agent", "retrievers", ""))
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tuned_student_runs.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
