"""What the tests share: where the development data lies, the pinned weights, an empty cache a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.pop("COLUMNS", None)
"""Processes of pytest-xdist are told the width of its terminal; what is tested prints into no terminal."""

DATA = Path(os.environ.get("COUNTERPOISE_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds the development data sets, or a skip that says so."""
    if not DATA.is_dir():
        pytest.skip(f"development data sets absent: {DATA} (set COUNTERPOISE_DATA)")
    return DATA


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """A reply and embedding store of the test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder
