"""From the `llm` key of a job to a client that answers: start or find the server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import JobError
from counterpoise.core.event_kinds import Downloading
from counterpoise.core.events import tell_progress
from counterpoise.core.redactions import keep_secret
from counterpoise.llm.budget import TokenBudget
from counterpoise.llm.chat import ChatRequest, Engine
from counterpoise.llm.client import ChatClient
from counterpoise.llm.config import LlmConfig, ModelObject
from counterpoise.llm.engines.scripted import ScriptedChatClient
from counterpoise.llm.masking import Masker
from counterpoise.llm.model_objects import keeps_replies, make_engine
from counterpoise.llm.models import Models
from counterpoise.llm.reply_store import ReplyStore

_SERVER_CONCURRENCY = 64
_OBJECT_CONCURRENCY = 16
"""Of a model that is an object in Python, which may well be one behind a limit of requests."""

_MOST_CONCURRENCY = 1024
"""Of a server of which nothing is known, reached only while throughput grows or it says that it has no queue."""


@asynccontextmanager
async def open_models(
    config: LlmConfig,
    *,
    store: ReplyStore | None,
    budget: TokenBudget,
    cache_dir: Path | None,
    log_dir: Path | None = None,
    run_id: str = "",
    masker: Masker | None = None,
) -> AsyncIterator[Models]:
    """Open the way to a model; whatever is started is stopped at the end. What it can do is not asked yet.

    Args:
        config: the model.
        store: where replies are kept; None keeps none.
        budget: what may be spent.
        cache_dir: where the embedded model's weights are kept.
        log_dir: for `vllm`, folder that its log is kept in; None for `cache_dir`.
        run_id: of the run directory, see `ChatClient`.
        masker: masks personal data on the way to the model and back.

    Raises:
        JobError: a variable that is not set, an engine that is not installed, or a model that vLLM refuses.
        ServerError: no connection, a model the server does not have, or a server that does not start.
    """
    engines, slots = make_engines(config, cache_dir=cache_dir, log_dir=log_dir)
    is_kept = not isinstance(config, ModelObject) or keeps_replies(config.instance)
    most = _MOST_CONCURRENCY if config.engine == "server" else slots
    client = ChatClient(
        engines,
        store if is_kept else None,
        budget,
        concurrency=config.concurrency or slots,
        most_concurrency=config.concurrency or most,
        run_id=run_id,
        masker=masker,
    )
    async with client as chat:
        yield Models(chat, name_unknown(config))


def name_unknown(config: LlmConfig) -> Capabilities:
    """What is known of a model before it was asked: how a job names it, and the window of the embedded one."""
    window = 0
    if config.engine == "embedded":
        from counterpoise.llm.servers.embedded import SLOT_TOKENS

        window = SLOT_TOKENS
    return Capabilities(model=config.model or config.engine, context_tokens=window)


def open_silent(
    config: LlmConfig, *, budget: TokenBudget | None = None, masker: Masker | None = None
) -> Models:
    """A model that is asked nothing: requests are made and priced, and one that is sent is a fault.

    Args:
        config: of a job.
        budget: of it.
        masker: masks personal data in what would be sent.
    """
    chat = ChatClient(ScriptedChatClient(_refuse), budget=budget, masker=masker)
    return Models(chat, name_unknown(config))


def _refuse(request: ChatRequest, index: int) -> str:
    raise AssertionError("no model is asked here")


def make_engines(
    config: LlmConfig, *, cache_dir: Path | None, log_dir: Path | None = None
) -> tuple[list[Engine], int]:
    """The engines of a job, not entered yet, and the requests each of them takes at once.

    Args: as those of `open_models`.

    Raises:
        JobError: a variable that is not set, an engine that is not installed, or a model that vLLM refuses.
    """
    api_key = read_api_key(config.api_key_env)
    if config.engine == "embedded":
        from counterpoise.llm.engines.managed import ManagedEngine
        from counterpoise.llm.servers.embedded import N_SLOTS, EmbeddedServer

        progress = tell_progress(partial(Downloading, "smollm2-135m-instruct"))
        server = EmbeddedServer(cache_dir=cache_dir, progress=progress)
        return [ManagedEngine(server)], N_SLOTS
    if config.engine == "vllm":
        from counterpoise.llm.engines.managed import ManagedEngine
        from counterpoise.llm.servers.vllm import VllmServer, find_slots

        vllm = VllmServer(
            config.model,
            log=(log_dir or find_cache_dir(cache_dir)) / "vllm.log",
            python=config.python,
            tensor_parallel_size=config.tensor_parallel_size,
            arguments=config.args,
        )
        identity = f"{vllm.served_name} (vllm)"
        return [ManagedEngine(vllm, identity=identity)], find_slots(config.args)
    if isinstance(config, ModelObject):
        return [make_engine(config.instance)], _OBJECT_CONCURRENCY
    from counterpoise.llm.engines.openai import OpenAIEngine

    engines: list[Engine] = [
        OpenAIEngine(url, config.model, api_key=api_key, explores=True) for url in config.url
    ]
    return engines, _SERVER_CONCURRENCY


def read_api_key(variable: str) -> str:
    """The key that an environment variable holds, "" where no variable is named.

    Raises:
        JobError: it is not set.
    """
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise JobError(
            f"the environment variable {variable} is not set", where="llm: api_key_env", hint="set it"
        )
    keep_secret(key)
    return key
