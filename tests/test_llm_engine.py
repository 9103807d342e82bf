"""The engine over HTTP: what it sends, how it reads, and what each failure becomes."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counterpoise.core.errors import ServerError
from counterpoise.llm import ChatClient, ChatRequest, Message, Sampling, TokenBudget, Usage, answer_most
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.reply_usage import correct_count, split_usage
from counterpoise.llm.retries import RetryPolicy
from tests.servers import Body, LocalServer, Reply

pytestmark = pytest.mark.processes

QUESTION = (Message("system", "Be short."), Message("user", "Is there food?"))


async def test_the_body_says_what_was_asked_and_never_a_seed() -> None:
    with LocalServer(api_key="secret") as server:
        async with OpenAIEngine(server.url + "/", api_key="secret") as engine:
            assert engine.name == engine.model == "local-model"
            await engine.generate(ChatRequest(QUESTION))
            await engine.generate(
                ChatRequest(prompt="Reviews:\n", n=3, sampling=Sampling(0.9, 0.95, 40, ("\n",)))
            )
            await engine.generate(ChatRequest(QUESTION, choices=("A", "B")))
            await engine.generate(ChatRequest(prompt="A or B? Answer:", choices=("A", "B")))
            await engine.generate(ChatRequest(QUESTION, schema={"type": "object", "properties": {}}))
    plain = {"model": "local-model", "max_tokens": 128, "temperature": 0.0, "top_p": 1.0}
    chat = {**plain, "messages": [{"role": turn.role, "content": turn.content} for turn in QUESTION]}
    schema = {"name": "reply", "schema": {"type": "object", "properties": {}}, "strict": True}
    expected: list[dict[str, Any]] = [
        chat,
        {
            **plain,
            **{"prompt": "Reviews:\n", "n": 3, "stop": ["\n"]},
            **{"temperature": 0.9, "top_p": 0.95, "max_tokens": 40},
        },
        {**chat, "max_tokens": 1, "logprobs": True, "top_logprobs": 20},
        {**plain, "prompt": "A or B? Answer:", "max_tokens": 1, "logprobs": 20},
        {**chat, "response_format": {"type": "json_schema", "json_schema": schema}},
    ]
    assert server.bodies == expected


async def test_letters_come_as_probabilities_from_both_forms_of_the_table() -> None:
    table = {" A": -1.0, "A": -2.0, "B": -3.0, "The": -0.5}
    with LocalServer(logprobs=lambda body: table) as server:
        async with OpenAIEngine(server.url) as engine:
            (chat,) = await engine.generate(ChatRequest(QUESTION, choices=("A", "B")))
            (text,) = await engine.generate(ChatRequest(prompt="A or B?", choices=("A", "B")))
    assert chat.logprobs == text.logprobs
    assert chat.logprobs is not None and sum(chat.logprobs.values()) == pytest.approx(1)
    assert chat.logprobs["A"] == pytest.approx((exp(-1) + exp(-2)) / (exp(-1) + exp(-2) + exp(-3)))


class LaconicServer(LocalServer):
    """A local server that leaves a part of its replies out, or writes null there."""

    def __init__(
        self,
        part: str,
        *,
        writes_null: bool = False,
        reply: Reply = lambda body, index: "A b c d e f g h i j",
    ) -> None:
        super().__init__(reply)
        self._part = part
        self._writes_null = writes_null

    def _compose(self, body: Body, reply: Reply, *, is_chat: bool) -> Body:
        composed = super()._compose(body, reply, is_chat=is_chat)
        for holder in (composed, *composed["choices"]):
            if holder.pop(self._part, None) and self._writes_null:
                holder[self._part] = None
        return composed


def write_letter(body: Body, index: int) -> str:
    """An answer that begins with the letter only where it may be one token long."""
    return "B" if body["max_tokens"] == 1 else "I would say that the answer is **B**."


def hesitate(body: Body, index: int) -> str:
    return "I would say" if body["max_tokens"] == 1 else "I would say that the answer is **B**."


@pytest.mark.parametrize(
    "make_server",
    [
        lambda reply: LocalServer(reply, logprobs=lambda body: {}),
        lambda reply: LaconicServer("logprobs", reply=reply),
        lambda reply: LaconicServer("logprobs", writes_null=True, reply=reply),
        lambda reply: LocalServer(reply, logprobs=lambda body: {"<think>": -0.1, "A": -9.0, "B": -9.0}),
        lambda reply: LocalServer(reply, logprobs=lambda body: {"A": math.nan, "B": math.inf}),
    ],
    ids=["empty", "absent", "null", "of thoughts", "of no numbers"],
)
async def test_without_log_probabilities_the_letter_that_was_written_counts(
    make_server: Callable[[Reply], LocalServer],
) -> None:
    requests = [
        ChatRequest(QUESTION, choices=("A", "B")),
        *(ChatRequest(prompt=f"A or B? {number}", choices=("A", "B")) for number in range(5)),
    ]
    for reply, chosen in ((write_letter, True), (hesitate, True), (lambda body, index: "A b c d", False)):
        with make_server(reply) as server:
            async with ChatClient(
                OpenAIEngine(server.url), retries=RetryPolicy(first_wait_seconds=0.01), concurrency=1
            ) as chat:
                outcomes = [outcome async for outcome in answer_most(chat, requests)]
            assert len(requests) <= server.n_requests <= 2 * len(requests)
        completions = [outcome.completions[0] for outcome in outcomes]
        for completion in completions:
            assert completion.logprobs == (pytest.approx({"A": 0.1, "B": 0.9}) if chosen else None)
            assert ("none of the letters" in completion.problem) is not chosen


async def test_a_budget_holds_where_a_server_counts_no_tokens() -> None:
    requests = [
        ChatRequest(prompt=f"Review {number}:", sampling=Sampling(max_tokens=40)) for number in range(40)
    ]
    budget = TokenBudget(300)
    with LaconicServer("usage") as server:
        async with ChatClient(OpenAIEngine(server.url), None, budget, concurrency=2) as chat:
            outcomes = [outcome async for outcome in chat.generate_many(requests)]
    answered = [outcome.completions[0].usage for outcome in outcomes if outcome.error is None]
    assert 0 < len(answered) < len(requests)
    assert {usage.completion_tokens for usage in answered} == {8}, "19 bytes, 2.5 a token"
    assert sum(usage.total for usage in answered) == budget.used <= 300


def test_shares_of_a_reply_sum_to_what_was_reported() -> None:
    shares = split_usage(101, 50, ["a" * 30, "", "b" * 60])
    assert sum(share.prompt_tokens for share in shares) == 101
    assert sum(share.completion_tokens for share in shares) == 50
    assert shares[2].completion_tokens > shares[0].completion_tokens > shares[1].completion_tokens
    assert split_usage(7, 3, ["x"]) == [Usage(7, 3)]


async def test_a_server_that_cannot_be_used_is_one_clear_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with LocalServer(models=["small", "large"]) as server, LocalServer(api_key="secret") as locked:
        bare = server.url.removesuffix("/v1")
        for engine, words, retryable in [
            (OpenAIEngine(refused), ["no connection", "is the server running", refused], True),
            (OpenAIEngine(server.url, "huge"), ["'huge'", "large, small"], False),
            (OpenAIEngine(bare), ["404", "end in /v1"], False),
            (OpenAIEngine(locked.url, api_key="wrong"), ["401", "API key"], False),
        ]:
            with pytest.raises(ServerError) as caught:
                await engine.__aenter__()
            assert all(word in str(caught.value) for word in words), str(caught.value)
            assert caught.value.retryable is retryable and caught.value.exit_code == 3
            assert not caught.value.maybe_paid
    with pytest.raises(ValueError, match="not the address"):
        OpenAIEngine("localhost:8000")


@pytest.mark.parametrize(
    ("fault", "retryable", "maybe_paid", "status"),
    [
        ("status:500", True, False, 500),
        ("status:429", True, False, 429),
        ("status:400", False, False, 400),
        ("hang", True, True, 0),
        ("truncate", True, True, 0),
        ("invalid", True, True, 200),
        ("disconnect", True, True, 0),
    ],
)
async def test_each_fault_says_whether_to_ask_again_and_whether_it_may_have_cost(
    fault: str, retryable: bool, maybe_paid: bool, status: int
) -> None:
    with LocalServer(script=[fault], retry_after_seconds=7) as server:
        async with OpenAIEngine(server.url, timeout_seconds=0.3) as engine:
            with pytest.raises(ServerError) as caught:
                await engine.generate(ChatRequest(QUESTION))
            error = caught.value
            assert (error.retryable, error.maybe_paid, error.status) == (retryable, maybe_paid, status)
            assert error.retry_after_seconds == (7 if status >= 400 else 0)
            assert (await engine.generate(ChatRequest(QUESTION)))[0].text, "the next one succeeds"


async def test_the_users_openai_key_is_not_sent_to_a_server_that_did_not_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "private")
    with LocalServer(api_key="private") as server, pytest.raises(ServerError, match="401"):
        await OpenAIEngine(server.url).__aenter__()


async def test_the_local_server_also_runs_as_a_process_and_keeps_a_log(tmp_path: Path) -> None:
    port_file, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, "-m", "tests.servers", "--port-file", str(port_file), "--log", str(log)]
    process = subprocess.Popen([*command, "--fault", "status:500=0.5"], cwd=Path(__file__).parents[1])
    try:
        while not port_file.exists():
            assert process.poll() is None
            await asyncio.sleep(0.05)
        async with ChatClient(
            OpenAIEngine(f"http://127.0.0.1:{port_file.read_text()}/v1"),
            retries=RetryPolicy(attempts=20, first_wait_seconds=0.001),
        ) as chat:
            for number in range(10):
                await chat.generate(ChatRequest((Message("user", str(number)),)))
    finally:
        process.kill()
        process.wait(10)
    lines = [line.split() for line in log.read_text().splitlines()]
    answered = [name for mark, name, _ in lines if mark == "answered"]
    assert len(answered) == len(set(answered)) == 10
    assert len(lines) - 10 > 10, "some were answered with the fault first"


def test_completions_that_a_server_did_not_count_are_estimated() -> None:
    texts = ["the soup was cold and the waiter rude to all of us"] * 6
    assert correct_count(11, texts, 128) == -(
        -sum(len(text) for text in texts) // 4
    )  # llama.cpp: the first one only
    assert correct_count(66, texts, 128) == 66
    assert correct_count(11, texts[:1], 128) == 11
    assert correct_count(11, texts, 3) == 3 * len(texts)


async def test_a_server_whose_gateway_has_lost_it_for_a_moment_is_asked_for_its_load_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("counterpoise.llm.routing.LOAD_SECONDS", 0.01)
    n_asked = 0

    def write_metrics() -> str:
        nonlocal n_asked
        n_asked += 1
        if n_asked == 2:
            raise web.HTTPServiceUnavailable
        return f"vllm:prefix_cache_queries_total {100 * n_asked}\nvllm:prefix_cache_hits_total {50 * n_asked}"

    with LocalServer(metrics=write_metrics) as server:
        async with ChatClient(OpenAIEngine(server.url)) as chat, asyncio.timeout(20):
            while chat.prefix_hit_ratio is None:
                await asyncio.sleep(0.01)
            assert chat.prefix_hit_ratio == 0.5 and n_asked > 2
