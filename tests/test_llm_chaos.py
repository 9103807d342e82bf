"""Servers that fail in every way at once: every request ends, nearly all are answered, none is sent too often."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from counterpoise.core.errors import ReplyError, ServerError
from counterpoise.core.events import Event, listening
from counterpoise.llm import (
    ChatClient,
    ChatRequest,
    Message,
    ReplyStore,
    RequestOutcome,
    TokenBudget,
    answer_most,
    name_failure,
)
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.retries import RetryPolicy
from tests.servers import LocalServer

pytestmark = pytest.mark.processes

SCHEMA = {
    "type": "object",
    "properties": {"food": {"enum": ["present", "absent"]}, "why": {"type": "string"}},
    "required": ["food", "why"],
}
ATTEMPTS = 6
FAULTS = {
    "hang": 0.01,
    "truncate": 0.03,
    "invalid": 0.03,
    "disconnect": 0.03,
    "schema": 0.03,
    "status:500": 0.03,
    "status:502": 0.02,
    "status:503": 0.01,
    "status:429": 0.01,
}


def ask(number: int) -> ChatRequest:
    return ChatRequest((Message("user", f"review {number}"),), schema=SCHEMA, purpose="label")


@pytest.mark.parametrize(
    ("n", "seed"), [(400, 1), pytest.param(5_000, 2, marks=pytest.mark.slow)], ids=["some", "many"]
)
async def test_a_fifth_of_all_replies_is_a_fault_and_every_request_still_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, seed: int
) -> None:
    """All at once: faults at their rates, a burst of 5xx, a wall clock that leaps, one server of two gone for good."""
    assert sum(FAULTS.values()) == pytest.approx(0.2)
    budget = TokenBudget()
    real = time.time
    leaps = itertools.cycle([0.0, -86_400.0, 3_600.0, -7_200.0])
    monkeypatch.setattr(time, "time", lambda: real() + next(leaps))
    settings: dict[str, Any] = {"faults": FAULTS, "latency_seconds": (0.0, 0.02)}
    leaving = LocalServer(seed=seed + 1, **settings)
    with (
        leaving,
        LocalServer(seed=seed, **settings) as server,
        ReplyStore(tmp_path / "replies.sqlite") as store,
    ):
        outcomes: list[RequestOutcome] = []
        async with ChatClient(
            [OpenAIEngine(one.url, timeout_seconds=4.0) for one in (server, leaving)],
            store,
            budget,
            concurrency=32,
            retries=RetryPolicy(attempts=ATTEMPTS, first_wait_seconds=0.02, longest_wait_seconds=0.2),
            run_id="chaos",
        ) as chat:
            async for outcome in answer_most(chat, [ask(number) for number in range(n)]):
                outcomes.append(outcome)
                if len(outcomes) == n // 4:
                    server.script.extend(["status:500", "status:502"] * 32)
                if len(outcomes) == n // 2:
                    await asyncio.to_thread(leaving.stop)
        n_sent = server.started + leaving.started
        n_counted = sum(one.prompt_tokens + one.completion_tokens for one in (server, leaving))
        assert sorted(outcome.index for outcome in outcomes) == list(range(n)), "each ends once"
        failed = [outcome for outcome in outcomes if outcome.error]
        assert all(isinstance(outcome.error, ServerError | ReplyError) for outcome in failed)
        assert all(name_failure(outcome.error) in ("no_reply", "unusable_reply") for outcome in failed)
        assert len(failed) <= 0.005 * n
        assert all(outcome.completions[0].parsed["why"] for outcome in outcomes if not outcome.error)
        assert not server.script and leaving.n_requests > 0.1 * n, "both served, and the burst came"
        assert max(n_sent.values()) <= ATTEMPTS
        assert 1.15 * n < n_sent.total() < 1.5 * n + 64, "the faults were there"
        assert budget.reserved == 0
        assert budget.paid == store.read_payments("chaos")["label"]
        assert budget.paid >= n_counted
    print(
        f"{n} requests, sent {n_sent.total()} times, {len(failed)} failed, at most {max(n_sent.values())} times each"
    )


async def test_one_of_several_servers_goes_in_the_middle_and_comes_not_back(tmp_path: Path) -> None:
    told: list[Event] = []
    with LocalServer(latency_seconds=(0.005, 0.01)) as left, listening(told.append):
        right = LocalServer(latency_seconds=(0.005, 0.01)).start()
        engines = [OpenAIEngine(left.url), OpenAIEngine(right.url)]
        async with ChatClient(
            engines,
            concurrency=8,
            retries=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05),
        ) as chat:
            n_done = 0
            async for outcome in chat.generate_many([ask(number) for number in range(400)]):
                assert outcome.error is None
                n_done += 1
                if n_done == 100:
                    await asyncio.to_thread(right.stop)
        assert n_done == 400
        assert right.n_requests < 200 < left.n_requests
        assert len(told) < 60, "the one that is gone is not tried again and again"


async def test_one_of_several_servers_is_not_there_at_the_start() -> None:
    told: list[Event] = []
    with LocalServer() as gone:
        address = gone.url
    with LocalServer() as server, listening(told.append):
        engines = [OpenAIEngine(address, connect_seconds=2), OpenAIEngine(server.url)]
        async with ChatClient(engines) as chat:
            assert (await chat.generate(ask(1)))[0].text
        assert [event.data["purpose"] for event in told] == ["connect"]
    with pytest.raises(ServerError, match="no connection"):
        await ChatClient([OpenAIEngine(address, connect_seconds=2)] * 2).__aenter__()


async def test_a_server_that_is_away_for_longer_than_all_attempts_loses_no_request() -> None:
    told: list[Event] = []
    first = LocalServer(latency_seconds=(0.002, 0.01)).start()
    n_done = 0
    with listening(told.append):
        async with ChatClient(
            OpenAIEngine(first.url),
            concurrency=8,
            retries=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.02),
        ) as chat:
            async for outcome in answer_most(chat, [ask(number) for number in range(300)]):
                assert outcome.error is None
                n_done += 1
                if n_done == 200:
                    await asyncio.to_thread(first.stop)
                    back = LocalServer(port=first.port)
                    asyncio.get_running_loop().call_later(1.0, back.start)
    back.stop()
    assert n_done == 300 and back.n_requests >= 92
    assert len(told) > 8 * ATTEMPTS, "they have looked for it more often than they may be sent"


async def test_a_server_that_does_not_come_back_ends_everything() -> None:
    """However many were answered before: the others have nothing to do with it."""
    n_done = 0
    with LocalServer() as server:
        async with ChatClient(
            OpenAIEngine(server.url),
            concurrency=4,
            retries=RetryPolicy(first_wait_seconds=0.01, absence_seconds=0.3),
        ) as chat:

            async def count() -> None:
                nonlocal n_done
                async for outcome in answer_most(chat, [ask(number) for number in range(100)]):
                    assert outcome.error is None
                    n_done += 1
                    if n_done == 80:
                        await asyncio.to_thread(server.stop)

            with pytest.raises(ServerError, match="no connection") as caught:
                await count()
    assert caught.value.is_unreached and n_done >= 80


async def test_the_wall_clock_may_go_back_and_forth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = time.time
    leaps = itertools.cycle([0.0, -86_400.0, 3_600.0, -7_200.0])
    with LocalServer(faults={"status:500": 0.1}) as server, ReplyStore(tmp_path / "replies.sqlite") as store:
        monkeypatch.setattr(time, "time", lambda: real() + next(leaps))
        async with ChatClient(
            OpenAIEngine(server.url),
            store,
            concurrency=16,
            retries=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05),
        ) as chat:
            outcomes = [
                outcome async for outcome in answer_most(chat, [ask(number) for number in range(200)])
            ]
        monkeypatch.undo()
        assert len(outcomes) == 200 and not [outcome for outcome in outcomes if outcome.error]
        assert len(store) == 200
