"""A request that kills engines is found, innocents are cleared, and a resume does not begin anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from counterpoise.core.errors import EngineDiedError, QuarantinedError, ServerError
from counterpoise.llm import (
    ChatClient,
    ChatRequest,
    Completion,
    Message,
    ReplyStore,
    answer_most,
    name_failure,
)
from counterpoise.llm.retries import RetryPolicy

POISON = "poison"


def ask(text: str) -> ChatRequest:
    return ChatRequest((Message("user", text),))


class FragileEngine:
    """Dies of a poisonous request, with everything that is under way, and is there again at once."""

    name = "fragile"

    def __init__(self, *, is_given_up: bool = False) -> None:
        self.n_deaths = 0
        self.sent: list[str] = []
        self.company: dict[str, list[int]] = {}
        self._is_given_up = is_given_up
        self._under_way: set[asyncio.Future[None]] = set()

    async def generate(self, request: ChatRequest) -> list[Completion]:
        text = request.messages[0].content
        self.sent.append(text)
        death = asyncio.get_running_loop().create_future()
        self._under_way.add(death)
        self.company.setdefault(text, []).append(len(self._under_way))
        try:
            if text.startswith(POISON):
                await asyncio.sleep(0.01)
                self.n_deaths += 1
                for other in self._under_way:
                    if not other.done():
                        other.set_result(None)
            done, _ = await asyncio.wait([death], timeout=0.02)
            if done:
                raise EngineDiedError("exit code -9", retryable=not self._is_given_up, maybe_paid=True)
            return [Completion(f"said {text}")]
        finally:
            self._under_way.discard(death)


def connect(engine: FragileEngine, store: ReplyStore, run_id: str = "run") -> ChatClient:
    return ChatClient(
        engine,
        store,
        concurrency=8,
        retries=RetryPolicy(first_wait_seconds=0.001, longest_wait_seconds=0.002),
        run_id=run_id,
    )


async def test_poison_is_quarantined_after_two_deaths_and_all_others_are_answered(tmp_path: Path) -> None:
    texts = [f"{POISON} {number}" if number in (3, 30) else f"review {number}" for number in range(60)]
    engine = FragileEngine()
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        chat = connect(engine, store)
        outcomes = [outcome async for outcome in answer_most(chat, [ask(text) for text in texts])]
        assert sorted(outcome.index for outcome in outcomes) == list(range(60))
        failed = {texts[outcome.index]: outcome.error for outcome in outcomes if outcome.error}
        assert sorted(failed) == [f"{POISON} 3", f"{POISON} 30"]
        assert all(isinstance(error, QuarantinedError) for error in failed.values())
        assert {name_failure(error) for error in failed.values()} == {"quarantined"}
        assert engine.n_deaths == 4
        assert max(engine.sent.count(text) for text in texts) == 2
        again = [text for text in texts if engine.sent.count(text) == 2]
        assert all(engine.company[text][1] == 1 for text in again), "the second time it is alone"
        n_sent = len(engine.sent)

        with pytest.raises(QuarantinedError, match="2 engines died"):
            await chat.generate(ask(f"{POISON} 3"))
        with pytest.raises(QuarantinedError, match="2 engines died"):
            await connect(engine, store).generate(ask(f"{POISON} 3"))
        assert len(engine.sent) == n_sent, "neither this process nor a resumed one sends it again"
        with pytest.raises(QuarantinedError):
            await connect(engine, store, "another run").generate(ask(f"{POISON} 3"))
        assert len(engine.sent) == n_sent + 2, "another run gives it another chance"


async def test_a_suspect_of_a_killed_process_is_sent_alone_at_once(tmp_path: Path) -> None:
    engine = FragileEngine()
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        chat = connect(engine, store)
        asking = asyncio.create_task(chat.generate(ask(f"{POISON} 1")))
        while not store.read_deaths("run"):
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        requests = [ask(f"review {number}") for number in range(20)]
        requests.insert(10, ask(f"{POISON} 1"))
        engine.company.clear()
        outcomes = [o async for o in answer_most(connect(engine, store), requests)]
        assert [outcome.index for outcome in outcomes if outcome.error] == [10]
        assert engine.company[f"{POISON} 1"] == [1]


async def test_an_engine_that_was_given_up_ends_everything(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        chat = connect(FragileEngine(is_given_up=True), store)
        with pytest.raises(EngineDiedError):
            async for _ in answer_most(chat, [ask(f"review {n}") for n in range(99)] + [ask(POISON)]):
                pass
        assert not store.read_deaths("run")


def test_the_words_for_failures() -> None:
    assert name_failure(ServerError("no", retryable=True)) == "no_reply"
    assert name_failure(ServerError("no")) == "refused"
    assert name_failure(None) == ""
