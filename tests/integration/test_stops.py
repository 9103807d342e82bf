"""Runs that end early or in parts: time that is up, requests that fail, totals over several processes."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import counterpoise
from counterpoise.core.event_kinds import TokensUsed
from counterpoise.core.events import Event
from counterpoise.llm import TokenBudget
from tests.integration.helpers import (
    ONE_WAY,
    find_keys,
    make_cache,
    make_job,
    make_reviews,
    read_stored_keys,
    write_reviews,
)
from tests.servers import Body, LocalServer, write_soup

pytestmark = [pytest.mark.assets, pytest.mark.processes]


def prepare(folder: Path) -> None:
    write_reviews(folder / "reviews.csv", make_reviews(60, 12))
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(folder / "cache")


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def test_minutes_end_a_run_inside_a_round_and_what_is_under_way_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock leaps past the end when the second request for texts arrives."""
    prepare(tmp_path)
    n_written = 0

    def reply(body: Body, index: int) -> str:
        nonlocal n_written
        n_written += bool(body.get("n", 1) > 1 and not index)
        return write_soup(body, index)

    monkeypatch.setattr(
        "counterpoise.runs.run.TokenBudget",
        partial(TokenBudget, clock=lambda: 3600.0 if n_written >= 2 else 0.0),
    )
    with LocalServer(reply) as server:
        run = counterpoise.run(
            make_job(tmp_path, server, "run", budget={"tokens": 1_000_000, "minutes": 30}, **ONE_WAY)
        )
        report = read_report(tmp_path / "run")
        assert report["stopped"].startswith("the 30 minutes are spent: bad lacks ")
        assert report["ending"]["kind"] == "time" and "more `minutes`" in report["ending"]["advice"]
        assert 2 <= n_written <= 2 + 3, "what was under way, and nothing after it"
        assert sum(item["requests"] for item in report["rounds"][0]["items"]) > 6
        assert (tmp_path / "run" / "FINISHED").is_file() and run.dataset["train"]
        durable = read_stored_keys(tmp_path / "cache")
        assert all(durable.issuperset(find_keys(body)) for body in server.bodies), "nothing was thrown away"
        spend = report["spend"]
        assert spend["used"] == spend["paid"] == server.prompt_tokens + server.completion_tokens
        assert not report["verdicts"]["rejected"].get("no_reply")


class Stopped(Exception):  # noqa: N818
    """Raised by a listener."""


def stop_after_sixteen(event: Event) -> None:
    if isinstance(event, TokensUsed) and event.proposed >= 16:
        raise Stopped


def test_what_was_paid_is_counted_over_all_processes_and_the_journal_names_the_replies(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)
    with LocalServer() as server:
        job = make_job(tmp_path, server, "run", rounds=1, **ONE_WAY)
        with pytest.raises(Stopped):
            counterpoise.run(job, listener=stop_after_sixteen)
        before = server.n_requests
        counterpoise.run(job)
        assert server.n_requests > before > 5
        lost = server.n_repeated
        assert lost <= 4
        spend = read_report(tmp_path / "run")["spend"]
        assert spend["paid"] == spend["used"]
        counted = server.prompt_tokens + server.completion_tokens
        assert spend["paid"] == counted if not lost else counted - 4_000 <= spend["paid"] < counted
        n_requests = server.n_requests
        (tmp_path / "run" / "FINISHED").unlink()
        counterpoise.run(job)
        assert server.n_requests == n_requests, "everything was there"
        assert read_report(tmp_path / "run")["spend"]["paid"] == spend["paid"]
        with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as journal:
            used = dict(journal.execute("select key, purpose from replies_used"))
        assert set(used) == read_stored_keys(tmp_path / "cache")
        assert set(used.values()) >= {"generate", "audit"}


def test_a_clock_that_is_put_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaps during a run, and stands a week before the files of the first process when the second goes on."""
    hashes, real = [], time.time
    leaps = itertools.cycle([0.0, -86_400.0, 3_600.0, -7_200.0])
    for name in ("steady", "leaping"):
        folder = tmp_path / name
        folder.mkdir()
        prepare(folder)
        with LocalServer() as server, monkeypatch.context() as patch:
            job = make_job(folder, server, "run", rounds=1, **ONE_WAY)
            if name == "leaping":
                patch.setattr(time, "time", lambda: real() + next(leaps))
                with pytest.raises(Stopped):
                    counterpoise.run(job, listener=stop_after_sixteen)
                later = real() + 7 * 86_400.0
                for path in folder.rglob("*"):
                    if not path.is_symlink():
                        os.utime(path, (later, later))
            hashes.append(counterpoise.run(job).content_hash)
            assert (folder / "run" / "FINISHED").is_file()
    assert hashes[0] == hashes[1]


def test_a_request_that_fails_for_good_is_a_rejected_record_with_a_reason(tmp_path: Path) -> None:
    prepare(tmp_path)

    def is_picked(body: Body) -> bool:
        said = str(body.get("prompt") or body.get("messages"))
        return body.get("temperature") == 0.9 and crc32(said.encode()) % 5 == 0

    class Picky(LocalServer):
        def _choose_fault(self, name: str, number: int) -> str:
            return "status:422" if is_picked(self.bodies[-1]) else ""

    with Picky() as server:
        run = counterpoise.run(make_job(tmp_path, server, "run", **ONE_WAY))
        n_refused = len(
            {str(body.get("prompt") or body.get("messages")) for body in server.bodies if is_picked(body)}
        )
    refused = [row for row in run.rejected if row["reason"] == "refused"]
    assert n_refused and len(refused) == n_refused
    assert all(not row["text"] and row["parents"] and row["prompt"] for row in refused)
    assert read_report(tmp_path / "run")["verdicts"]["rejected"]["refused"] == n_refused
