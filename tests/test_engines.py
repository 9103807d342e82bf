"""From the `llm` key to a client, and what a model behind a real server turns out to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import JobError, ServerError
from counterpoise.llm import BudgetSpent, ReplyStore, TokenBudget
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.connect import open_models
from tests.servers import Body, LocalServer

pytestmark = pytest.mark.processes


class PartialServer(LocalServer):
    """A server that knows only some of the ways to be asked."""

    def __init__(self, *, knows: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.knows = knows

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if request.path.removeprefix("/v1/") not in self.knows:
            return web.json_response({"error": {"message": "unknown address"}}, status=404)
        return await super()._complete(request)


def obey(body: Body, index: int) -> str:
    """Does what it is told, with the quotes and full stops that models like."""
    if "messages" not in body:
        return " four, five"
    return f'"{body["messages"][-1]["content"].rsplit(" ", 1)[1].upper()}".'


def obey_mostly(body: Body, index: int) -> str:
    return "pardon?" if "table" in str(body.get("messages")) else obey(body, index)


def obey_half(body: Body, index: int) -> str:
    said = str(body.get("messages"))
    return "pardon?" if "table" in said or "river" in said else obey(body, index)


def chatter(body: Body, index: int) -> str:
    return f"The word {obey(body, index)} is a word" if "messages" in body else " and so on"


async def probe(
    server: LocalServer,
    folder: Path,
    *,
    budget: TokenBudget | None = None,
    model: str = "",
    api_key_env: str = "",
    url: str = "",
) -> Capabilities:
    with ReplyStore(folder / "replies.sqlite") as store:
        config = LlmConfig(engine="server", url=(url or server.url,), model=model, api_key_env=api_key_env)
        async with open_models(
            config, store=store, budget=budget or TokenBudget(), cache_dir=folder
        ) as models:
            return await find_capabilities(models.chat)


BOTH = ("chat/completions", "completions")


@pytest.mark.parametrize(
    ("reply", "knows", "chat", "continuation", "follows"),
    [
        (obey, BOTH, True, True, True),
        (obey_mostly, BOTH, True, True, True),
        (obey_half, BOTH, True, True, False),
        (chatter, BOTH, True, True, False),
        (obey, BOTH[:1], True, False, True),
        (chatter, BOTH[:1], True, False, False),
        (obey, BOTH[1:], False, True, False),
    ],
)
async def test_what_a_model_does_is_found_by_asking(
    reply: Any, knows: Sequence[str], chat: bool, continuation: bool, follows: bool, tmp_path: Path
) -> None:
    with PartialServer(reply=reply, knows=knows) as server:
        found = await probe(server, tmp_path)
    assert found.model.startswith("local-model")
    assert (found.chat, found.continuation, found.follows_instructions) == (chat, continuation, follows)


async def test_a_server_that_answers_nothing_is_named(tmp_path: Path) -> None:
    refusal = pytest.raises(ServerError, match="neither chats nor continuations")
    with PartialServer(knows=()) as server, refusal as caught:
        await probe(server, tmp_path)
    assert caught.value.exit_code == 3


async def test_what_was_found_is_stored_and_counted_under_its_purpose(tmp_path: Path) -> None:
    first, again = TokenBudget(), TokenBudget()
    with LocalServer(obey) as server:
        found = await probe(server, tmp_path, budget=first)
        asked = server.n_requests
        assert await probe(server, tmp_path, budget=again) == found
        assert server.n_requests == asked == 7
    assert set(first.by_purpose) == {"probe"} and again.used == first.used == first.paid and again.paid == 0


async def test_a_budget_too_small_for_a_question_stops_before_asking(tmp_path: Path) -> None:
    with LocalServer(obey) as server:
        with pytest.raises(BudgetSpent):
            await probe(server, tmp_path, budget=TokenBudget(3))
        assert server.n_requests == 0


async def test_the_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer(obey, api_key="secret-123") as server:
        monkeypatch.delenv("MY_KEY", raising=False)
        with pytest.raises(JobError, match="MY_KEY is not set") as caught:
            await probe(server, tmp_path, api_key_env="MY_KEY")
        assert caught.value.exit_code == 2 and server.n_requests == 0
        monkeypatch.setenv("MY_KEY", "wrong-456")
        with pytest.raises(ServerError, match="is the API key right") as refused:
            await probe(server, tmp_path, api_key_env="MY_KEY")
        assert "wrong-456" not in str(refused.value)
        monkeypatch.setenv("MY_KEY", "secret-123")
        assert (await probe(server, tmp_path, api_key_env="MY_KEY")).chat


async def test_a_server_that_is_not_there_and_a_model_it_does_not_have(tmp_path: Path) -> None:
    with LocalServer(obey, models=("small", "large")) as server:
        with pytest.raises(ServerError, match="no model 'huge'; it has: large, small") as caught:
            await probe(server, tmp_path, model="huge")
        assert not caught.value.retryable
        assert (await probe(server, tmp_path, model="large")).model.startswith("large")
        url = server.url
    with pytest.raises(ServerError, match="is the server running"):
        await probe(server, tmp_path, url=url)


async def test_an_engine_that_cannot_be_started_is_a_clear_line(tmp_path: Path) -> None:
    config = LlmConfig(engine="vllm", model="some/model")
    opened = open_models(config, store=None, budget=TokenBudget(), cache_dir=tmp_path)
    with pytest.raises(JobError, match="vllm"):
        await opened.__aenter__()
