"""The first screen of a preview: what is short and what it costs, before anything takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

import counterpoise
from counterpoise.core.event_kinds import Encoding, Outlook
from counterpoise.core.events import Event
from counterpoise.report.screen import PlainLines, describe_event
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reviews


class Nowhere:
    url = "http://127.0.0.1:9/v1"  # whoever asks it fails


@pytest.mark.assets
def test_a_preview_says_first_what_is_short_and_what_it_costs(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(60, 12))
    write_reviews(tmp_path / "test.csv", make_reviews(10, 10, seed=1))
    make_cache(tmp_path / "cache")
    events: list[Event] = []
    found = counterpoise.preview(make_job(tmp_path, Nowhere(), "run"), listener=events.append)
    names = [event.name for event in events]
    assert names[:3] == ["read", "outlook", "encoding"] and names.count("outlook") == 1
    assert names.index("outlook") < names.index("measured")
    first = events[1]
    assert isinstance(first, Outlook)
    assert first.deficits == [{"cell": "bad", "have": 12, "want": 60, "need": 48}]
    assert (first.labels, first.short_labels, first.records) == (2, 1, 48)
    assert [str(one.cell) for one in found.deficits] == ["bad"]
    # (which rows are shown is chosen by vectors later)
    assert first.tokens == pytest.approx(found.estimated_tokens, rel=0.2)
    assert "forecasting" in names
    line = describe_event(first)
    assert line.startswith("1 of 2 labels lack 48 records (bad lacks 48); to write all of them costs about ")
    assert line.endswith("tokens at most, within the budget of 1,000,000")


def test_what_takes_long_says_how_long_it_takes(tmp_path: Path) -> None:
    path, now = tmp_path / "said", [100.0]
    with path.open("w") as file:
        lines = PlainLines(file, lambda: now[0])
        for done in (0, 100, 200, 1000):
            lines(Encoding(done, 1000))
            now[0] += 11.0
        lines(Encoding(10, 90))
    assert path.read_text().splitlines() == [
        "encoded 0 of 1,000 texts",
        "encoded 100 of 1,000 texts, about 1:39 left",
        "encoded 200 of 1,000 texts, about 1:28 left",
        "encoded 1,000 of 1,000 texts",
        "encoded 10 of 90 texts",
    ]
