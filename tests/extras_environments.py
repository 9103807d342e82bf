"""Environments for the tests of `make test-extras`: what other people's libraries make of what is written here.

`python -m tests.extras_environments` builds each of `ENVIRONMENTS` once, in `.venv-extras/NAME`, and finds it again
afterwards; with names behind it, only those. They are apart from `.venv` because torch and FAISS bring an OpenMP each,
and because some of these libraries pin what ours must not.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / ".venv-extras"
TRANSFORMERS = "transformers==5.10.4"
"""FlagEmbedding 1.4.2 cannot be imported beside later ones."""

ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    # The CPU build of torch first: any other version drags CUDA in.
    "trainers": (("torch==2.13.0",), ("sentence-transformers==6.2.0", "FlagEmbedding==1.4.2", TRANSFORMERS)),
    # LangChain's tests bring plugins of pytest that the other tests are not meant to run with.
    "langchain": (
        ("-e", str(FOLDER.parent), "pandas", "scikit-learn"),
        ("langchain-tests==1.1.9", "langchain-openai==1.7.4", "nbclient==0.11.0", "ipykernel==7.4.0"),
    ),
    # What a user has who trains encoders; `-e` brings the extra `torch`, and pytest runs our own tests in it.
    "torch": (
        ("torch==2.13.0",),
        ("-e", f"{FOLDER.parent}[torch]", TRANSFORMERS, "pytest==9.2.0", "pytest-asyncio==1.5.0", "psutil"),
    ),
}
"""Name of an environment -> what pip installs, one call after the other. They share no packages with `.venv`."""


def find_python(name: str) -> Path:
    """The interpreter of an environment, whether it is there or not."""
    return FOLDER / name / "bin" / "python"


def build_environment(name: str) -> Path:
    """Build an environment where it is missing or of other versions; gives its interpreter."""
    recipe = hashlib.sha256(repr((sys.version_info[:2], ENVIRONMENTS[name])).encode()).hexdigest()
    stamp, python = FOLDER / name / ".counterpoise", find_python(name)
    if stamp.is_file() and stamp.read_text() == recipe and python.exists():
        return python
    print(f"Building {FOLDER / name}, once.", flush=True)
    venv.create(FOLDER / name, with_pip=True, clear=True)
    for packages in ENVIRONMENTS[name]:
        subprocess.run(
            [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq", *packages], check=True
        )
    stamp.write_text(recipe)
    return python


def require_environment(name: str) -> Path:
    """The interpreter for a test, or a skip that says how to build it; `make test-extras` never skips."""
    python = find_python(name)
    if not python.exists():
        if os.environ.get("COUNTERPOISE_REQUIRE_EXTRAS"):
            pytest.fail(f"no environment {python.parents[1]}")
        pytest.skip(f"no environment '{name}': make test-extras builds it")
    return python


def main() -> None:
    """Build the environments that are named, or all."""
    for name in sys.argv[1:] or ENVIRONMENTS:
        print(f"{name}: {build_environment(name)}")


if __name__ == "__main__":
    main()
