"""The pipeline's order; nothing lost, nothing paid twice; over real HTTP and with a real file."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterpoise.core.errors import ReplyError, ServerError, StorageError
from counterpoise.core.events import Event, listening
from counterpoise.llm import (
    BudgetSpent,
    ChatClient,
    ChatRequest,
    Completion,
    Message,
    ReplyStore,
    Sampling,
    ScriptedChatClient,
    TokenBudget,
)
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.retries import RetryPolicy
from tests.servers import Body, LocalServer, write_soup

pytestmark = pytest.mark.processes

SCHEMA = {
    "type": "object",
    "properties": {"food": {"enum": ["present", "absent"]}, "why": {"type": "string"}},
    "required": ["food", "why"],
}


def ask(text: str, **options: object) -> ChatRequest:
    return ChatRequest((Message("user", text),), **options)  # type: ignore[arg-type]


def connect(
    server: LocalServer, store: ReplyStore | None = None, budget: TokenBudget | None = None, **options: object
) -> ChatClient:
    quick = RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05)
    settings: dict[str, object] = {"retries": quick, **options}
    return ChatClient(OpenAIEngine(server.url), store, budget, **settings)  # type: ignore[arg-type]


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "replies.sqlite"


async def test_a_stored_reply_is_used_but_not_paid_again_and_stops_a_run_at_the_same_place(
    store_path: Path,
) -> None:
    async def run(server: LocalServer, store: ReplyStore) -> tuple[list[str], TokenBudget]:
        budget = TokenBudget(700)
        texts = []
        async with connect(server, store, budget) as chat:
            for number in range(100):
                try:
                    texts.append((await chat.generate(ask(f"review {number}", purpose="label")))[0].text)
                except BudgetSpent:
                    break
        return texts, budget

    with LocalServer() as server, ReplyStore(store_path) as store:
        first, paid = await run(server, store)
        again, free = await run(server, store)
        assert 1 < len(first) < 100 and again == first
        assert server.n_requests == len(first)
        assert (free.used, free.paid) == (paid.used, 0)
        assert paid.used == paid.paid == server.prompt_tokens + server.completion_tokens
        assert free.by_purpose["label"].used == paid.used and free.by_purpose["label"].requests == len(first)


async def test_the_same_question_counts_once_a_run() -> None:
    budget = TokenBudget()
    with LocalServer() as server:
        async with connect(server, None, budget) as chat:
            await chat.generate(ask("the same", n=2))
            used = budget.used
            await chat.generate(ask("the same", n=2))
        assert server.n_requests == 2, "without a store it is asked again"
        assert budget.used == used and budget.reserved == 0


async def test_equal_requests_in_flight_are_asked_once(store_path: Path) -> None:
    with LocalServer(latency_seconds=(0.1, 0.1)) as server, ReplyStore(store_path) as store:
        async with connect(server, store) as chat:
            replies = await asyncio.gather(*(chat.generate(ask("one question", n=2)) for _ in range(20)))
        assert server.n_requests == 1
        assert len({tuple(completion.text for completion in reply) for reply in replies}) == 1


async def test_what_is_answered_while_the_caller_is_busy_is_not_asked_again(store_path: Path) -> None:
    with LocalServer() as server, ReplyStore(store_path) as store:
        async with connect(server, store) as chat:
            await chat.generate(ask("known"))
            asked = [ask("twice"), ask("known"), ask("twice")]
            async for outcome in chat.generate_many(asked):
                if outcome.completions[0].cached:
                    while len(store) < 2:  # the first of the equal requests is answered meanwhile
                        await asyncio.sleep(0.01)
                    await asyncio.sleep(0.1)
        assert server.n_requests == 2 and chat.budget.paid == server.prompt_tokens + server.completion_tokens


async def test_a_cancellation_that_becomes_another_attempt_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("counterpoise.llm.client.CANCEL_AGAIN_SECONDS", 0.05)
    n_swallowed = 0

    class Engine(OpenAIEngine):
        async def generate(self, request: ChatRequest) -> list[Completion]:
            nonlocal n_swallowed
            try:
                return await super().generate(request)
            except asyncio.CancelledError:
                n_swallowed += 1
                if n_swallowed > 3:
                    raise
                # As if a transport took it for a connection that broke.
                raise ServerError("the reply did not arrive", where=self.url, retryable=True) from None

    with LocalServer() as server:
        async with ChatClient(
            Engine(server.url), retries=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.01)
        ) as chat:
            server.hold()
            asking = asyncio.create_task(answer_all(chat, [ask(f"question {number}") for number in range(3)]))
            while server.n_requests < 3:
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asking, 30)
            server.release()
        assert n_swallowed > 3 and chat.budget.reserved == 0


async def answer_all(chat: ChatClient, requests: list[ChatRequest]) -> list[int]:
    return [outcome.index async for outcome in chat.generate_many(requests)]


async def test_one_who_waits_asks_himself_when_the_asker_is_cancelled() -> None:
    with LocalServer() as server:
        async with connect(server) as chat:
            server.hold()
            asker = asyncio.create_task(chat.generate(ask("one question")))
            waiter = asyncio.create_task(chat.generate(ask("one question")))
            while not server.n_requests:
                await asyncio.sleep(0.01)
            asker.cancel()
            server.release()
            assert (await waiter)[0].text
            assert asker.cancelled() or (await asyncio.gather(asker, return_exceptions=True))
        assert chat.budget.reserved == 0


async def test_more_completions_of_a_question_ask_only_for_the_missing_ones(store_path: Path) -> None:
    with LocalServer() as server, ReplyStore(store_path) as store:
        async with connect(server, store) as chat:
            two = await chat.generate(ask("write", n=2))
            five = await chat.generate(ask("write", n=5))
            again = await chat.generate(ask("write", n=5))
        assert [body.get("n", 1) for body in server.bodies] == [2, 3]
        assert [completion.text for completion in five[:2]] == [completion.text for completion in two]
        assert [completion.text for completion in again] == [completion.text for completion in five]
        assert sum(completion.usage.total for completion in five) == (
            server.prompt_tokens + server.completion_tokens
        )


async def test_what_the_server_counts_stays_within_the_budget_and_the_gate(store_path: Path) -> None:
    budget = TokenBudget(5_000)
    with LocalServer(latency_seconds=(0.0, 0.02)) as server, ReplyStore(store_path) as store:
        async with connect(server, store, budget, concurrency=8) as chat:
            requests = (ask(f"review {number}", sampling=Sampling(max_tokens=20)) for number in range(400))
            outcomes = [outcome async for outcome in chat.generate_many(requests)]
        failed = [outcome for outcome in outcomes if outcome.error]
        assert sorted(outcome.index for outcome in outcomes) == list(range(400))
        assert failed and all(isinstance(outcome.error, BudgetSpent) for outcome in failed)
        assert server.prompt_tokens + server.completion_tokens <= 5_000
        assert budget.used == server.prompt_tokens + server.completion_tokens and budget.reserved == 0
        assert server.peak_in_flight == 8


async def test_a_reply_that_breaks_its_schema_is_shown_to_the_model_once(store_path: Path) -> None:
    def reply(body: Body, index: int) -> str:
        corrected = len(body["messages"]) == 3
        if corrected and "good" in body["messages"][0]["content"]:
            return json.dumps({"food": "present", "why": "soup"})
        return json.dumps({"food": "maybe", "why": "soup"})

    with LocalServer(reply) as server, ReplyStore(store_path) as store:
        for replay in (False, True):
            async with connect(server, store) as chat:
                (mended,) = await chat.generate(ask("good", schema=SCHEMA))
                with pytest.raises(ReplyError, match="'food' must be one of"):
                    await chat.generate(ask("bad", schema=SCHEMA))
                assert mended.parsed == {"food": "present", "why": "soup"} and mended.cached is replay
                spent = server.prompt_tokens + server.completion_tokens
                assert (chat.budget.used, chat.budget.paid) == (spent, 0 if replay else spent)
        assert server.n_requests == 4
        shown = server.bodies[1]["messages"]
        assert shown[1]["content"] == json.dumps({"food": "maybe", "why": "soup"})
        assert "must be one of" in shown[2]["content"]


async def test_one_bad_completion_does_not_take_the_others_along() -> None:
    def reply(body: Body, index: int) -> str:
        return write_soup(body, index) if index and len(body["messages"]) == 1 else "no"

    with LocalServer(reply) as server:
        async with connect(server) as chat:
            bad, good = await chat.generate(ask("write", n=2, schema=SCHEMA))
        assert bad.problem.startswith("the reply is not JSON") and bad.parsed is None
        assert not good.problem and set(good.parsed) == {"food", "why"}
        assert server.n_requests == 2


@pytest.mark.parametrize(
    ("script", "n_sent", "status"),
    [
        (["status:500", "status:429", "truncate", "invalid", "disconnect", ""], 6, None),
        (["status:504", "status:502", ""], 3, None),
        (["status:503"] * 3, 3, 503),
        (["status:400", ""], 1, 400),
        (["status:422", ""], 1, 422),
    ],
)
async def test_only_what_may_help_is_tried_again(script: list[str], n_sent: int, status: int | None) -> None:
    told: list[Event] = []
    with LocalServer(script=script) as server, listening(told.append):
        async with connect(
            server,
            retries=RetryPolicy(3 if n_sent == 3 else 6, first_wait_seconds=0.01, longest_wait_seconds=0.05),
        ) as chat:
            if status is None:
                assert (await chat.generate(ask("a question")))[0].text
            else:
                with pytest.raises(ServerError) as caught:
                    await chat.generate(ask("a question"))
                assert caught.value.status == status
        assert server.n_requests == n_sent
        assert len(told) == n_sent - (status is None)
        lost = sum(script.count(fault) for fault in ("truncate", "invalid", "disconnect", "status:504"))
        estimate = chat.budget.estimate(ask("a question"))
        assert chat.budget.paid == chat.budget.used + lost * estimate and chat.budget.reserved == 0


@pytest.mark.parametrize(("text", "n_tokens"), [("😀" * 60, 180), ("4242" * 45, 180), ("日本" * 60, 180)])
def test_an_estimate_reaches_for_texts_that_are_no_words(text: str, n_tokens: int) -> None:
    """As many tokens as the embedded model's tokenizer makes of them."""
    assert TokenBudget().estimate(ask(text)) >= n_tokens + TokenBudget().estimate(ask(""))


async def test_a_lost_reply_is_asked_again_only_where_the_budget_reaches_for_both() -> None:
    request = ask("a question", sampling=Sampling(max_tokens=20))
    one = TokenBudget().estimate(request)
    for limit, n_sent in ((2 * one - 1, 1), (2 * one, 2), (20 * one, 6)):
        budget = TokenBudget(limit)
        with LocalServer(script=["truncate"] * 6) as server:
            async with connect(server, None, budget) as chat:
                with pytest.raises(ServerError if n_sent == 6 else BudgetSpent):
                    await chat.generate(request)
            assert server.n_requests == n_sent
        assert budget.paid == n_sent * one <= limit and budget.reserved == 0


async def test_a_server_that_asks_to_wait_is_left_alone_until_then() -> None:
    with LocalServer(script=["status:429"], retry_after_seconds=0.6) as server:
        async with connect(server, concurrency=2) as chat:
            slow = asyncio.create_task(chat.generate(ask("refused first")))
            while not server.n_requests:
                await asyncio.sleep(0.005)
            began = time.monotonic()
            while chat.n_places == 2:
                await asyncio.sleep(0.005)
            assert chat.n_places == 1, "half of what was under way"
            await asyncio.gather(slow, chat.generate(ask("meanwhile")))
            assert time.monotonic() - began >= 0.5
            assert server.n_requests == 3


async def test_waiting_before_another_attempt_holds_no_permit() -> None:
    with LocalServer(script=["status:500"]) as server:
        async with connect(
            server, concurrency=1, retries=RetryPolicy(first_wait_seconds=3600.0, longest_wait_seconds=3600.0)
        ) as chat:
            slow = asyncio.create_task(chat.generate(ask("fails first")))
            while not server.n_requests:
                await asyncio.sleep(0.005)
            outcomes = [o async for o in chat.generate_many(ask(str(number)) for number in range(20))]
            assert len(outcomes) == 20 and not slow.done()
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)


async def test_several_servers_share_the_work_and_must_serve_one_model() -> None:
    with (
        LocalServer(latency_seconds=(0.02, 0.02)) as left,
        LocalServer(latency_seconds=(0.02, 0.02)) as right,
    ):
        async with ChatClient([OpenAIEngine(left.url), OpenAIEngine(right.url)], concurrency=4) as chat:
            outcomes = [o async for o in chat.generate_many(ask(str(number)) for number in range(60))]
        assert all(outcome.error is None for outcome in outcomes)
        assert min(left.n_requests, right.n_requests) > 15
    with (
        LocalServer() as left,
        LocalServer(models=["another"]) as right,
        pytest.raises(ServerError, match="different models"),
    ):
        await ChatClient([OpenAIEngine(left.url), OpenAIEngine(right.url)]).__aenter__()


async def test_outcomes_stream_while_one_request_hangs(store_path: Path) -> None:
    with LocalServer(script=["hang"]) as server, ReplyStore(store_path) as store:
        async with connect(server, store, concurrency=4) as chat:
            stream = chat.generate_many(ask(str(number)) for number in range(50))
            seen = [(await anext(stream)).index for _ in range(49)]
            assert len(set(seen)) == 49
            await stream.aclose()
        assert len(store) == 49


async def test_a_stream_that_nobody_closed_ends_before_the_connection_does(store_path: Path) -> None:
    with LocalServer(script=["hang"]) as server, ReplyStore(store_path) as store:
        budget = TokenBudget()
        async with connect(server, store, budget, concurrency=4) as chat:
            stream = chat.generate_many(ask(str(number)) for number in range(5))
            for _ in range(4):
                await anext(stream)
        assert budget.used == budget.paid == server.prompt_tokens + server.completion_tokens
        assert budget.reserved == 0, "the request under way was called off, its reply is none that was lost"
        await stream.aclose()


async def test_any_object_with_generate_is_an_engine(store_path: Path) -> None:
    scripted = ScriptedChatClient(lambda request, index: f"{request.prompt} {index}")
    scored = ScriptedChatClient(lambda request, index: {"A": 1.0, "B": 3.0})
    with ReplyStore(store_path) as store:
        chat = ChatClient(scripted, store)
        replies = await chat.generate(ChatRequest(prompt="go on", n=2, sample=3))
        again = await chat.generate(ChatRequest(prompt="go on", n=2, sample=3))
        assert [completion.text for completion in replies] == ["go on 3", "go on 4"]
        assert scripted.n_calls == 1 and all(completion.cached for completion in again)
        (letter,) = await ChatClient(scored, store).generate(ask("A or B?", choices=("A", "B")))
        assert letter.logprobs == {"A": 0.25, "B": 0.75}


async def test_a_reply_is_given_out_and_its_permit_freed_only_when_it_is_stored(store_path: Path) -> None:
    with LocalServer() as server, ReplyStore(store_path) as store:
        other = sqlite3.connect(store_path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # another process is writing
        async with connect(server, store, concurrency=1) as chat:
            tasks = [asyncio.create_task(chat.generate(ask(f"question {number}"))) for number in range(2)]
            while not server.answered.total():
                await asyncio.sleep(0.01)
            done, _ = await asyncio.wait(tasks, timeout=0.3)
            assert not done and server.n_requests == 1
            other.execute("ROLLBACK")
            other.close()
            await asyncio.gather(*tasks)
        assert len(store) == server.n_requests == 2


async def test_a_failure_of_many_at_once_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    class FullDisk:
        name = "full"
        is_full = asyncio.Event()

        async def generate(self, request: ChatRequest) -> list[Completion]:
            await self.is_full.wait()
            raise StorageError("the disk is full")

    engine = FullDisk()
    asking = asyncio.create_task(answer_all(ChatClient(engine), [ask(str(number)) for number in range(8)]))
    await asyncio.sleep(0.05)
    engine.is_full.set()
    with pytest.raises(StorageError, match="disk is full"):
        await asking
    del asking
    gc.collect()
    assert not caplog.records, "asyncio tells of tasks whose errors nobody has looked at"


CLIENT = """
import asyncio, hashlib, sys
from pathlib import Path
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, Sampling, TokenBudget
from counterpoise.llm.engines.openai import OpenAIEngine

async def main(url, path, out):
    budget = TokenBudget()
    with ReplyStore(Path(path)) as store:
        async with ChatClient(OpenAIEngine(url), store, budget, concurrency=12) as chat:
            requests = [ChatRequest((Message("user", f"review {i}"),), n=1 + i % 3) for i in range(240)]
            texts = {}
            async for outcome in chat.generate_many(requests):
                texts[outcome.index] = [completion.text for completion in outcome.completions]
    said = repr([texts[index] for index in range(240)]) + f" {budget.used}"
    Path(out).write_text(hashlib.sha256(said.encode()).hexdigest())

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.processes
def test_kill_9_repeats_at_most_what_is_in_flight(tmp_path: Path) -> None:
    def start(server: LocalServer, name: str) -> subprocess.Popen[bytes]:
        arguments = [server.url, str(tmp_path / f"{name}.sqlite"), str(tmp_path / f"{name}.txt")]
        return subprocess.Popen([sys.executable, "-c", CLIENT, *arguments])

    with LocalServer(latency_seconds=(0.01, 0.06), seed=1) as server:
        assert start(server, "undisturbed").wait(300) == 0
        assert server.n_repeated == 0

    moments = random.Random(3)
    with LocalServer(latency_seconds=(0.01, 0.06), seed=2) as server:
        n_kills = 0
        while True:
            n_before, n_repeated = server.n_requests, server.n_repeated
            client = start(server, "killed")
            n_more = moments.randint(1, 60)
            while client.poll() is None and server.n_requests < n_before + n_more:
                time.sleep(0.002)
            if n_kills < 5 and client.poll() is None:
                client.send_signal(signal.SIGKILL)
                n_kills += 1
            code = client.wait(300)
            assert server.n_repeated - n_repeated <= 12
            if code == 0:
                break
        assert n_kills == 5
        assert len(server.started) == 240
    assert (tmp_path / "killed.txt").read_text() == (tmp_path / "undisturbed.txt").read_text()


SPENDER = """
import asyncio, sys
from pathlib import Path
from counterpoise.llm import BudgetSpent, ChatClient, ChatRequest, Message, ReplyStore, RetryPolicy, Sampling
from counterpoise.llm import TokenBudget
from counterpoise.llm.engines.openai import OpenAIEngine

async def main(url, path, limit):
    budget = TokenBudget(int(limit))
    with ReplyStore(Path(path)) as store:
        async with ChatClient(
            OpenAIEngine(url), store, budget, concurrency=12, run_id="run", retries=RetryPolicy(first_wait_seconds=0.02)
        ) as chat:
            requests = [
                ChatRequest((Message("user", f"review {i}"),), sampling=Sampling(max_tokens=20))
                for i in range(1_000)
            ]
            outcomes = [outcome async for outcome in chat.generate_many(requests)]
    assert budget.reserved == 0 and max(budget.used, budget.paid) <= budget.limit
    assert sum(isinstance(outcome.error, BudgetSpent) for outcome in outcomes) > 100

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.processes
@pytest.mark.parametrize("faults", [{}, {"truncate": 0.05, "invalid": 0.05}], ids=["no faults", "faults"])
def test_a_budget_holds_over_kills_by_the_count_of_the_server(
    tmp_path: Path, faults: dict[str, float]
) -> None:
    """Of what is in flight at a kill a run that goes on knows nothing; that may be paid for beyond the budget."""
    limit, n_kills, moments = 8_000, 0, random.Random(9)
    in_flight = 12 * TokenBudget().estimate(ask("review 999", sampling=Sampling(max_tokens=20)))
    with LocalServer(latency_seconds=(0.01, 0.06), faults=faults) as server:
        while True:
            goal = server.n_requests + moments.randint(10, 80)
            arguments = [server.url, str(tmp_path / "replies.sqlite"), str(limit)]
            spender = subprocess.Popen([sys.executable, "-c", SPENDER, *arguments])
            while n_kills < 4 and spender.poll() is None and server.n_requests < goal:
                time.sleep(0.002)
            if n_kills < 4 and spender.poll() is None:
                spender.kill()
                n_kills += 1
            if spender.wait(300) == 0:
                break
            assert spender.returncode == -signal.SIGKILL
        counted = server.prompt_tokens + server.completion_tokens
    assert n_kills == 4
    assert (0.5 if faults else 0.8) * limit < counted <= limit + n_kills * in_flight
    print(
        f"{counted} tokens by the server's count, a budget of {limit}, {n_kills} kills, {in_flight} in flight"
    )


async def test_when_the_time_is_up_nothing_new_is_sent_and_replays_still_count(store_path: Path) -> None:
    now = [0.0]
    with LocalServer() as server, ReplyStore(store_path) as store:
        budget = TokenBudget(clock=lambda: now[0])
        budget.end_after(60.0)
        async with connect(server, store, budget, concurrency=2) as chat:
            outcomes = []
            async for outcome in chat.generate_many(ask(f"review {number}") for number in range(50)):
                outcomes.append(outcome)
                if len(outcomes) == 10:
                    now[0] = 61.0
            answered = [outcome for outcome in outcomes if outcome.error is None]
            assert len(outcomes) == 50 and 10 <= len(answered) <= 14 and server.n_requests == len(answered)
            assert all(isinstance(o.error, BudgetSpent) for o in outcomes if o.error)
            assert budget.reserved == 0 and budget.used == server.prompt_tokens + server.completion_tokens
        late = TokenBudget(clock=lambda: now[0])
        late.end_after(0.0)
        async with connect(server, store, late) as chat:
            again = [o async for o in chat.generate_many(ask(f"review {number}") for number in range(50))]
        assert sum(outcome.error is None for outcome in again) == len(answered)
        assert server.n_requests == len(answered)


async def test_the_time_is_up_while_a_server_wants_to_be_left_alone() -> None:
    with LocalServer(script=["status:429"], retry_after_seconds=500.0) as server:
        budget = TokenBudget(clock=lambda: 10.0 * server.n_requests)
        budget.end_after(5.0)
        async with connect(server, None, budget, concurrency=2) as chat:
            with pytest.raises(BudgetSpent, match="time is up"):
                await asyncio.wait_for(chat.generate(ask("refused")), 60)
        assert server.n_requests == 1 and budget.reserved == 0
