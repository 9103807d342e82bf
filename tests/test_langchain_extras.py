"""Tests that need LangChain's own packages or a notebook, run with pytest in an environment of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.extras_environments import require_environment

pytestmark = [pytest.mark.extras, pytest.mark.processes]
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "n_tests"),
    [("standard_langchain.py", 60), ("langchain_models.py", 3), ("notebook_results.py", 2)],
)
def test_in_an_environment_of_its_own(file: str, n_tests: int) -> None:
    python = require_environment("langchain")
    paths = os.pathsep.join(str(ROOT / name) for name in ("agent", "retrievers", ""))
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{file}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{n_tests} passed" in done.stdout, done.stdout[-500:]
