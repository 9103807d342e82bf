"""Servers that fail in every way at once: every request ends, nearly all are answered, none is sent too often."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from counterpoise.errors import ReplyError, ServerError
from counterpoise.events import Event
from counterpoise.llm import (
    ChatClient,
    ChatRequest,
    Message,
    ReplyStore,
    TokenBudget,
    answer_most,
    name_failure,
)
from counterpoise.llm.openai_engine import OpenAIEngine
from tests.servers import LocalServer

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
    tmp_path: Path, n: int, seed: int
) -> None:
    assert sum(FAULTS.values()) == pytest.approx(0.2)
    budget = TokenBudget()
    with (
        LocalServer(faults=FAULTS, seed=seed, latency_seconds=(0.0, 0.02)) as server,
        ReplyStore(tmp_path / "replies.sqlite") as store,
    ):
        async with ChatClient(
            OpenAIEngine(server.url, timeout_seconds=4.0),
            store,
            budget,
            concurrency=64,
            attempts=ATTEMPTS,
            first_wait_seconds=0.02,
            longest_wait_seconds=0.2,
            run_id="chaos",
        ) as chat:
            outcomes = [outcome async for outcome in answer_most(chat, [ask(number) for number in range(n)])]
        n_sent = server.started.total()
        assert sorted(outcome.index for outcome in outcomes) == list(range(n)), "each ends once"
        failed = [outcome for outcome in outcomes if outcome.error]
        assert all(isinstance(outcome.error, ServerError | ReplyError) for outcome in failed)
        assert all(name_failure(outcome.error) in ("no_reply", "unusable_reply") for outcome in failed)
        assert len(failed) <= 0.005 * n
        assert all(outcome.completions[0].parsed["why"] for outcome in outcomes if not outcome.error)
        assert max(server.started.values()) <= ATTEMPTS
        assert 1.15 * n < n_sent < 1.5 * n, "the faults were there"
        assert budget.reserved == 0
        assert budget.paid == store.read_payments("chaos")["label"]
        assert budget.paid >= server.prompt_tokens + server.completion_tokens
    print(
        f"{n} requests, sent {n_sent} times, {len(failed)} failed, at most {max(server.started.values())} times each"
    )


async def test_one_of_several_servers_goes_in_the_middle_and_comes_not_back(tmp_path: Path) -> None:
    told: list[Event] = []
    with LocalServer(latency_seconds=(0.005, 0.01)) as left:
        right = LocalServer(latency_seconds=(0.005, 0.01))
        right.__enter__()
        engines = [OpenAIEngine(left.url), OpenAIEngine(right.url)]
        async with ChatClient(
            engines, concurrency=8, first_wait_seconds=0.01, longest_wait_seconds=0.05, listener=told.append
        ) as chat:
            n_done = 0
            async for outcome in chat.generate_many([ask(number) for number in range(400)]):
                assert outcome.error is None
                n_done += 1
                if n_done == 100:
                    await asyncio.to_thread(right.__exit__)
        assert n_done == 400
        assert right.n_requests < 200 < left.n_requests
        assert len(told) < 60, "the one that is gone is not tried again and again"


async def test_one_of_several_servers_is_not_there_at_the_start() -> None:
    told: list[Event] = []
    with LocalServer() as gone:
        address = gone.url
    with LocalServer() as server:
        engines = [OpenAIEngine(address, connect_seconds=2), OpenAIEngine(server.url)]
        async with ChatClient(engines, listener=told.append) as chat:
            assert (await chat.generate(ask(1)))[0].text
        assert [event.data["purpose"] for event in told] == ["connect"]
    with pytest.raises(ServerError, match="no connection"):
        await ChatClient([OpenAIEngine(address, connect_seconds=2)] * 2).__aenter__()


async def test_the_wall_clock_may_go_back_and_forth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = time.time
    leaps = iter([0.0, -86_400.0, 3_600.0, -7_200.0] * 1_000_000)
    with LocalServer(faults={"status:500": 0.1}) as server, ReplyStore(tmp_path / "replies.sqlite") as store:
        monkeypatch.setattr(time, "time", lambda: real() + next(leaps))
        async with ChatClient(
            OpenAIEngine(server.url),
            store,
            concurrency=16,
            first_wait_seconds=0.01,
            longest_wait_seconds=0.05,
        ) as chat:
            outcomes = [
                outcome async for outcome in answer_most(chat, [ask(number) for number in range(200)])
            ]
        monkeypatch.undo()
        assert len(outcomes) == 200 and not [outcome for outcome in outcomes if outcome.error]
        assert len(store) == 200
