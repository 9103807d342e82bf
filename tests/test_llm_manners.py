"""A client asks as its model needs it: what came is kept, what was refused is left out, thoughts get room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counterpoise.core.errors import ServerError
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, Sampling, TokenBudget
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.chat import Thoughts
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.retries import RetryPolicy
from counterpoise.llm.transport import LARGEST_REPLY
from tests.server_modes import MODES, Mode, ModeServer, shape_field
from tests.servers import Body, LocalServer

pytestmark = pytest.mark.processes

WRITE = ChatRequest(
    (Message("system", "You write."), Message("user", "Complaints about a restaurant. Records:")),
    sampling=Sampling(0.9, 0.95, 60, ("\n",)),
    n=6,
    purpose="generate",
)
SCHEMA = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}


class Refusing(LocalServer):
    """A local server that says no to some bodies, and counts how often."""

    def __init__(self, refuses: Callable[[Body], str], *, status: int = 400, **settings: Any) -> None:
        super().__init__(lambda body, index: "It was cold", **settings)
        self._refuses = refuses
        self._status = status
        self.n_refused = 0

    async def _answer(self, request: web.Request, body: Body, name: str, number: int) -> web.StreamResponse:
        if said := self._refuses(body):
            self.n_refused += 1
            return web.json_response({"error": {"message": said}}, status=self._status)
        return await super()._answer(request, body, name, number)


async def test_one_completion_where_six_were_asked_is_kept_and_paid_once(tmp_path: Path) -> None:
    with ModeServer("ollama") as server, ReplyStore(tmp_path / "replies.sqlite") as store:
        budget = TokenBudget(100_000)
        async with ChatClient(OpenAIEngine(server.url), store, budget) as chat:
            before = chat.estimate(WRITE)
            first = await chat.generate(WRITE)
            assert server.n_requests == 6 and len({completion.text for completion in first}) == 6
            assert budget.used == budget.paid == server.prompt_tokens + server.completion_tokens
            assert chat.estimate(WRITE) > before, "a plan reckons with six prompts from now on"
            await chat.generate(ChatRequest(WRITE.messages, sampling=WRITE.sampling, n=2, sample=6))
            assert server.n_requests == 8 and all("n" not in body for body in server.bodies[1:])
        async with ChatClient(OpenAIEngine(server.url), store) as chat:
            again = await chat.generate(WRITE)
        assert [one.text for one in again] == [one.text for one in first] and server.n_requests == 8


@pytest.mark.parametrize(
    "words",
    ["'n' must be 1", "Only one completion choice is allowed", "Invalid n value (currently only n = 1 is supported)",
     "litellm.UnsupportedParamsError: parameters: ['n']", "it cannot be done"],
)  # fmt: skip
async def test_a_refusal_that_comes_with_several_completions_is_met_once(words: str) -> None:
    with Refusing(lambda body: words if body.get("n", 1) > 1 else "") as server:
        async with ChatClient(
            OpenAIEngine(server.url, explores=True), retries=RetryPolicy(attempts=3)
        ) as chat:
            assert len(await chat.generate(WRITE)) == 6
            assert len(await chat.generate(ChatRequest(WRITE.messages, n=4))) == 4
        assert server.n_refused == 1 and server.n_requests == 11


async def test_an_assertion_that_fails_with_several_completions_is_met_once() -> None:
    refuse = lambda body: "AssertionError: n must be 1" if body.get("n", 1) > 1 else ""  # noqa: E731
    with Refusing(refuse, status=500) as server:
        async with ChatClient(OpenAIEngine(server.url), retries=RetryPolicy(attempts=1)) as chat:
            assert len(await chat.generate(WRITE)) == 6
        assert server.n_refused == 1


@pytest.mark.parametrize(
    ("field", "words", "status", "instead"),
    [
        ("max_tokens", "Unsupported: 'max_tokens'. Use 'max_completion_tokens'", 400, "max_completion_tokens"),
        ("temperature", "'temperature' does not support 0.9 with this model", 400, ""),
        ("top_p", "body.top_p: Extra inputs are not permitted", 422, ""),
        ("stop", "Unsupported parameter: 'stop' is not supported with this model.", 400, ""),
        ("response_format", "This response_format type is unavailable now", 400, ""),
        ("response_format", "unexpected keyword argument 'response_format'", 500, ""),
        ("logprobs", "You are not allowed to request logprobs from this model.", 403, ""),
        ("stop", "Bad Request", 400, ""),
        ("temperature", "", 400, ""),
        ("response_format", "no", 422, ""),
    ],
)  # fmt: skip
async def test_a_field_that_is_refused_is_left_out_from_then_on(
    field: str, words: str, status: int, instead: str
) -> None:
    requests = [
        ChatRequest(WRITE.messages, sampling=WRITE.sampling),
        ChatRequest(WRITE.messages, schema=SCHEMA),
        ChatRequest(WRITE.messages, choices=("A", "B")),
    ]

    def refuse(body: Body) -> str:
        return (words or " ") if field in body else ""

    n_refused: list[int] = []
    with Refusing(refuse, status=status) as server:
        server.reply = lambda body, index: '{"sure": true}'
        async with ChatClient(
            OpenAIEngine(server.url, explores=True), retries=RetryPolicy(attempts=1)
        ) as chat:
            for _ in range(2):
                replies = [(await chat.generate(request))[0] for request in requests]
                n_refused.append(server.n_refused)
        assert 1 <= n_refused[0] == n_refused[1] <= 12, "it is refused until it is known, and never again"
        sent = [body for body in server.bodies if field not in body]
        assert replies[1].parsed == {"sure": True}
        assert not instead or all(instead in body for body in sent)
        if field == "response_format":
            assert any('"sure"' in body["messages"][-1]["content"] for body in sent), (
                "the schema is in the prompt"
            )


async def test_a_refusal_that_is_about_the_text_is_passed_on_in_the_servers_words() -> None:
    said = "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens"
    with Refusing(lambda body: said) as server:
        async with ChatClient(OpenAIEngine(server.url, explores=True)) as chat:
            with pytest.raises(ServerError, match="maximum context length") as caught:
                await chat.generate(WRITE)
        assert server.n_requests == 1 and str(caught.value).endswith(said) and chat.budget.paid == 0


async def test_a_model_without_a_place_for_system_messages_reads_them_first() -> None:
    with ModeServer("tabbyapi") as server:
        async with ChatClient(OpenAIEngine(server.url)) as chat:
            await chat.generate(WRITE)
        turns = server.bodies[-1]["messages"]
    assert [turn["role"] for turn in turns] == ["user"] and turns[0]["content"].startswith(
        "You write.\n\nComplaints"
    )


@pytest.mark.parametrize("switched", [True, False])
async def test_a_model_that_thinks_is_met_before_it_is_asked_in_earnest(
    switched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ollama-thinking" if switched else "llama.cpp-r1"
    with ModeServer(name) as server, ReplyStore(tmp_path / "replies.sqlite") as store:
        async with ChatClient(OpenAIEngine(server.url), store, TokenBudget(20_000)) as chat:
            found = await find_capabilities(chat)
            assert found.thinks and found.follows_instructions and not found.multiple
            assert (found.thinking_switch, found.thought_tokens) == (
                ("reasoning_effort", 0) if switched else ("", 19)
            )
            paid = chat.budget.paid
            asked = server.n_requests
            (reply, *_) = await chat.generate(WRITE)
            assert reply.text.endswith(".") and "Okay" not in reply.text and "stop" not in server.bodies[-1]
            assert paid < 1000 and server.n_requests == asked + 6
        async with ChatClient(OpenAIEngine(server.url), store, TokenBudget(20_000)) as chat:
            assert await find_capabilities(chat) == found
            assert chat.budget.paid == 0 and chat.budget.used == paid and not chat.manner.multiple


async def test_thoughts_that_nobody_had_expected_get_more_room() -> None:
    mode = Mode("thinks now and then", thoughts=" ".join(["hm"] * 300), shape=shape_field("reasoning"))
    MODES["now-and-then"] = mode
    try:
        with ModeServer("now-and-then") as server:
            async with ChatClient(OpenAIEngine(server.url)) as chat:
                replies = await chat.generate(WRITE)
            limits = [body["max_tokens"] for body in server.bodies]
    finally:
        del MODES["now-and-then"]
    assert limits[0] == 60 and set(limits[1:]) == {1084} and len(limits) == 7
    assert all(reply.text.endswith(".") and reply.thought_tokens > 250 for reply in replies)
    assert sum(reply.usage.total for reply in replies) == server.prompt_tokens + server.completion_tokens


async def test_stop_marks_are_looked_for_behind_the_thoughts() -> None:
    text = "<think>first\nsecond</think>\n\nThe soup was cold\nand more"
    with LocalServer(lambda body, index: text) as server:
        async with ChatClient(OpenAIEngine(server.url)) as chat:
            (reply,) = await chat.generate(
                ChatRequest(WRITE.messages, sampling=WRITE.sampling, thoughts=Thoughts("", 40))
            )
        assert "stop" not in server.bodies[0] and server.bodies[0]["max_tokens"] == 100
    assert reply.text == "The soup was cold" and reply.finish_reason == "stop"


async def test_thoughts_in_a_store_of_earlier_days_are_taken_off(tmp_path: Path) -> None:
    from counterpoise.llm.chat import Completion
    from counterpoise.llm.reply_store import make_keys, pack_reply

    ask = ChatRequest(WRITE.messages)
    with LocalServer() as server, ReplyStore(tmp_path / "replies.sqlite") as store:
        async with ChatClient(OpenAIEngine(server.url), store) as chat:
            (key,) = make_keys(chat.name, ask)
            await store.put({key: pack_reply(Completion("I see.\n</think>\nThe soup was cold"))})
            (reply,) = await chat.generate(ask)
        assert reply.text == "The soup was cold" and server.n_requests == 0


async def test_a_server_that_loads_its_model_is_waited_for_and_costs_no_attempt() -> None:
    with ModeServer("slow-to-load") as server:
        async with ChatClient(
            OpenAIEngine(server.url), retries=RetryPolicy(attempts=1, absence_seconds=20)
        ) as chat:
            assert await chat.generate(ChatRequest(WRITE.messages))


class Endless(LocalServer):
    """A local server whose replies go on and on."""

    async def _answer(self, request: web.Request, body: Body, name: str, number: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begin = json.dumps({"choices": [{"message": {"content": ""}}]})[:-4]
        await response.write(begin.encode())
        while True:
            await response.write(b"and on " * 40_000)


async def test_a_reply_without_end_is_cut_and_not_asked_for_again() -> None:
    with Endless() as server:
        async with ChatClient(OpenAIEngine(server.url)) as chat:
            with pytest.raises(ServerError, match=f"not ended after {LARGEST_REPLY >> 20} MiB"):
                await chat.generate(ChatRequest(WRITE.messages))
        assert server.n_requests == 1


async def test_an_error_under_status_200_is_the_servers_own_sentence_and_costs_nothing() -> None:
    with ModeServer("errors-under-200") as server:
        async with ChatClient(
            OpenAIEngine(server.url, explores=True), retries=RetryPolicy(attempts=6)
        ) as chat:
            with pytest.raises(ServerError, match=r"insufficient credits for model m$"):
                await chat.generate(WRITE)
        assert server.n_requests == 1 and chat.budget.paid == 0
