"""From the `llm` key of a job to a client that answers: start or find the server, and ask what the model can do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from counterpoise.errors import JobError, ServerError
from counterpoise.events import Event, Listener
from counterpoise.llm import ChatClient, ChatRequest, Engine, ReplyStore, Sampling, TokenBudget
from counterpoise.prompting import load_prompt
from counterpoise.records import Capabilities

_PROBE_WORDS = ("table", "river", "seven", "orange")
_SERVER_CONCURRENCY = 64


@asynccontextmanager
async def open_chat(
    *,
    engine: str,
    urls: Sequence[str],
    model: str,
    api_key_env: str,
    concurrency: int | None,
    store: ReplyStore,
    budget: TokenBudget,
    cache_dir: Path | None,
    listener: Listener,
) -> AsyncIterator[ChatClient]:
    """Open the client for a job's engine; whatever is started is stopped at the end.

    Args:
        engine: `embedded`, `server` or `vllm`.
        urls: base URLs, for `server`.
        model: model name, "" to ask the server.
        api_key_env: name of the environment variable that holds the key.
        concurrency: requests in flight at most for each server; None for the engine's own default.
        store: where replies are kept.
        budget: what may be spent.
        cache_dir: where the embedded model's weights are kept.
        listener: told of downloads and of attempts that failed.

    Raises:
        JobError: a variable that is not set, or an engine that is not installed.
        ServerError: no connection, or a model the server does not have.
    """
    from counterpoise.llm.openai_engine import OpenAIEngine

    async with AsyncExitStack() as opened:
        api_key = ""
        if api_key_env:
            api_key = os.environ.get(api_key_env, "")
            if not api_key:
                raise JobError(
                    f"the environment variable {api_key_env} is not set",
                    where="llm: api_key_env",
                    hint="set it",
                )
        if engine == "vllm":
            raise JobError(
                "this version does not start vLLM itself",
                where="llm: engine",
                hint="start `vllm serve MODEL` and write `engine: server` with its url",
            )
        slots = _SERVER_CONCURRENCY
        if engine == "embedded":
            from counterpoise.llm.servers import N_SLOTS, EmbeddedServer

            server = EmbeddedServer(
                cache_dir=cache_dir, progress=report_download(listener, "smollm2-135m-instruct")
            )
            url, api_key = await asyncio.to_thread(server.start)
            opened.callback(server.stop)
            urls, slots = (url,), N_SLOTS
        engines: list[Engine] = [OpenAIEngine(url, model, api_key=api_key) for url in urls]
        chat = ChatClient(engines, store, budget, concurrency=concurrency or slots, listener=listener)
        yield await opened.enter_async_context(chat)


def report_download(listener: Listener, name: str) -> Callable[[int, int], None]:
    """A progress callback that tells the listener how much of an asset is there."""
    return lambda done, total: listener(Event("downloading", {"name": name, "done": done, "total": total}))


async def find_capabilities(chat: ChatClient) -> Capabilities:
    """Ask what the model can do: continue a text, follow a short instruction.

    Replies are stored, so a run that is resumed finds the same.

    Raises:
        BudgetSpent: the budget does not reach for a dozen short questions.
        ServerError: the server fails for another reason than not knowing a kind of request.
    """
    continues = await _answers(
        chat, ChatRequest(prompt="one, two, three,", sampling=Sampling(max_tokens=4), purpose="probe")
    )
    prompt = load_prompt("instruction_probe")
    n_right = 0
    chats = True
    for word in _PROBE_WORDS:
        try:
            completions = await chat.generate(replace(prompt.render(word=word), purpose="probe"))
        except ServerError as error:
            if error.retryable:
                raise
            chats = False
            break
        n_right += completions[0].text.strip().strip(".\"'") == word.upper()
    if not chats and not continues:
        raise ServerError(
            "it answers neither chats nor continuations",
            where=chat.name,
            hint="check the URL (it ends in /v1 as a rule) and the model",
        )
    return Capabilities(
        model=chat.name,
        chat=chats,
        continuation=continues,
        follows_instructions=chats and n_right >= len(_PROBE_WORDS) - 1,
    )


async def _answers(chat: ChatClient, request: ChatRequest) -> bool:
    try:
        return bool(await chat.generate(request))
    except ServerError as error:
        if error.retryable:
            raise
        return False
