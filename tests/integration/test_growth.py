"""Data that grew or changed: only the questions of new rows are asked, and every row is in the result once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import counterpoise
from counterpoise.api import Run
from counterpoise.core.records import Floats, Records
from counterpoise.llm import ChatClient, ReplyStore
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.scorers.base import LLMScorer
from tests.integration.helpers import (
    ONE_WAY,
    Row,
    list_asked_texts,
    make_cache,
    make_job,
    make_reviews,
    write_reviews,
)
from tests.servers import LocalServer

pytestmark = pytest.mark.processes

ROWS = make_reviews(40, 10)
NEW = ("Wonderful, crisp duck by the fire, and a bill that made us smile.", "good")
NEWER = ("Awful, watery stew at a sticky table, and the waiter laughed at us.", "bad")
ANSWERS = ("Praise of a restaurant", "Complaints about a restaurant")


def change(rows: list[Row], place: int) -> list[Row]:
    text, label = rows[place]
    return [*rows[:place], (f"{text} Twice!", label), *rows[place + 1 :]]


CHANGES: dict[str, list[Row]] = {
    "appended": [*ROWS, NEW],
    "in front": [NEWER, *ROWS],
    "changed": change(ROWS, 7),
    "removed": [*ROWS[:7], *ROWS[8:]],
    "duplicated": [*ROWS, ROWS[7]],
    "reordered": ROWS[::-1],
}


def list_originals(run: Run) -> list[Row]:
    """The user's rows in the written data set, in its order."""
    train = run.dataset["train"]
    return [
        (str(row["review"]), str(row["stars"])) for row in train if row["provenance"]["kind"] == "original"
    ]


@pytest.mark.slow
@pytest.mark.assets
def test_a_run_on_changed_data_asks_about_changed_rows_only(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    with LocalServer() as server:

        def run_on(name: str, rows: list[Row]) -> tuple[Run, list[str]]:
            begin = len(server.bodies)
            write_reviews(tmp_path / "reviews.csv", rows)
            run = counterpoise.run(make_job(tmp_path, server, name, rounds=1, **ONE_WAY))
            return run, list_asked_texts(server.bodies[begin:])

        first, asked = run_on("first", ROWS)
        assert Counter(asked) == Counter(2 * [text for text, _ in ROWS])
        known = {text for text, _ in ROWS}
        for name, rows in CHANGES.items():
            n_before = server.n_requests
            run, asked = run_on(name, rows)
            assert Counter(asked) == Counter(2 * [text for text, _ in rows if text not in known]), name
            assert list_originals(run) == rows, name
            ids = [row["id"] for part in run.dataset.values() for row in part["provenance"]]
            assert len(ids) == len(set(ids)), name
            assert (run.content_hash == first.content_hash) is (name == "reordered"), name
            if name == "reordered":
                assert server.n_requests == n_before
    assert server.n_repeated == 0


def test_a_scorer_asks_about_the_one_row_that_changed(tmp_path: Path) -> None:
    rows = make_reviews(150, 50, seed=2)
    changed = change(rows, 120)

    def make_records(some: list[Row]) -> Records:
        texts = np.array([text for text, _ in some], dtype=object)
        return Records(texts, texts, np.zeros(len(some), dtype=np.int64), ("good", "bad"))

    async def score(server: LocalServer, some: list[Row]) -> Floats:
        with ReplyStore(tmp_path / "replies.sqlite") as store:
            async with ChatClient(OpenAIEngine(server.url), store, concurrency=16) as chat:
                return await LLMScorer(chat, "Which is it?", ANSWERS).score(make_records(some))

    with LocalServer(latency_seconds=(0.0, 0.01)) as server:
        first = asyncio.run(score(server, rows))
        assert server.n_requests == 400
        second = asyncio.run(score(server, changed[::-1]))[::-1]
        assert list_asked_texts(server.bodies[400:]) == [changed[120][0]] * 2
    assert np.allclose(first.sum(axis=1), 1)
    same = np.arange(200) != 120
    assert np.array_equal(first[same], second[same])
    assert not np.array_equal(first[~same], second[~same])
