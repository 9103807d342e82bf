"""A sample of the fuzz; the whole of it is `python -m tests.fuzz --seed 1 --n 2000` (see CONTRIBUTING)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, fuzz

pytestmark = pytest.mark.processes

SAMPLE = {"jobs": 30, "readers": 60, "replies": 64, "rows": 8, "files": 40, "retrieval": 80, "patches": 16}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_hostile_input_is_one_clear_line_or_passed_as_data(name: str, tmp_path: Path) -> None:
    assert set(SAMPLE) == set(TARGETS) - {"runs"}
    tally = fuzz(name, 1, range(SAMPLE[name]), tmp_path)
    assert not tally.findings, tally.findings[0]
    assert sum(tally.codes.values()) >= SAMPLE[name] and tally.codes.get(0, 0) > 0
