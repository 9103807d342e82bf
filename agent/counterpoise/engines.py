"""From the `llm` key of a job to a client that answers: start or find the server, and ask what the model can do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from counterpoise.assets import find_cache_dir, make_cache_folder
from counterpoise.errors import JobError, ServerError
from counterpoise.events import Event, Listener
from counterpoise.job import LlmConfig
from counterpoise.llm import ChatClient, ChatRequest, Engine, ReplyStore, Sampling, TokenBudget
from counterpoise.llm.model_objects import keeps_replies, make_engine
from counterpoise.prompting import load_prompt
from counterpoise.records import Capabilities
from counterpoise.redactions import keep_secret
from counterpoise.run_directory import RunDirectory
from counterpoise_retrievers.private_files import make_private_folder, touch_private_file

_PROBE_WORDS = ("table", "river", "seven", "orange")
_SERVER_CONCURRENCY = 64
_OBJECT_CONCURRENCY = 16
"""Of a model that is an object in Python, which may well be one behind a limit of requests."""

_MOST_CONCURRENCY = 1024
"""Of a server of which nothing is known, reached only while throughput grows or it says that it has no queue."""


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
    tensor_parallel_size: int | None = None,
    args: Sequence[str] = (),
    python: str = "",
    log_dir: Path | None = None,
    run_id: str = "",
    instance: Any = None,
) -> AsyncIterator[ChatClient]:
    """Open the client for a job's engine; whatever is started is stopped at the end.

    Args:
        engine: `embedded`, `server`, `vllm` or `object`.
        urls: base URLs, for `server`.
        model: model name, "" to ask the server.
        api_key_env: name of the environment variable that holds the key.
        concurrency: requests in flight at most for each server; None for the engine's own default.
        store: where replies are kept.
        budget: what may be spent.
        cache_dir: where the embedded model's weights are kept.
        listener: told of downloads, of servers that are started, and of attempts that failed.
        tensor_parallel_size: for `vllm`, GPUs that the model is spread over.
        args: for `vllm`, further options of `vllm serve`.
        python: for `vllm`, as `VllmServer` takes it.
        log_dir: for `vllm`, folder that its log is kept in; None for `cache_dir`.
        run_id: of the run directory, see `ChatClient`.
        instance: for `object`, the model.

    Raises:
        JobError: a variable that is not set, an engine that is not installed, or a model that vLLM refuses.
        ServerError: no connection, a model the server does not have, or a server that does not start.
    """
    api_key = read_api_key(api_key_env)
    engines, slots = open_engines(
        engine=engine,
        urls=urls,
        model=model,
        api_key=api_key,
        cache_dir=cache_dir,
        listener=listener,
        tensor_parallel_size=tensor_parallel_size,
        args=args,
        python=python,
        log_dir=log_dir,
        instance=instance,
    )
    client = ChatClient(
        engines,
        store if instance is None or keeps_replies(instance) else None,
        budget,
        concurrency=concurrency or slots,
        most_concurrency=concurrency or (_MOST_CONCURRENCY if engine == "server" else slots),
        run_id=run_id,
        listener=listener,
    )
    async with client as chat:
        yield chat


def open_model(llm: LlmConfig, **settings: Any) -> AbstractAsyncContextManager[ChatClient]:
    """Open the client for a model as a job names it.

    Args:
        llm: the model.
        **settings: the other arguments of `open_chat`: store, budget, cache_dir, listener, log_dir, run_id.
    """
    return open_chat(
        engine=llm.engine,
        urls=llm.url,
        model=llm.model,
        api_key_env=llm.api_key_env,
        concurrency=llm.concurrency,
        tensor_parallel_size=llm.tensor_parallel_size,
        args=llm.args,
        python=llm.python,
        instance=getattr(llm, "instance", None),
        **settings,
    )


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


def open_engines(
    *,
    engine: str,
    urls: Sequence[str],
    model: str,
    api_key: str,
    cache_dir: Path | None,
    listener: Listener,
    tensor_parallel_size: int | None = None,
    args: Sequence[str] = (),
    python: str = "",
    log_dir: Path | None = None,
    instance: Any = None,
) -> tuple[list[Engine], int]:
    """The engines of a job, not entered yet, and the requests each of them takes at once.

    Args: as those of `open_chat`, the key itself instead of its variable.
    """
    if engine == "embedded":
        from counterpoise.llm.managed_engine import ManagedEngine
        from counterpoise.llm.servers import N_SLOTS, EmbeddedServer

        progress = report_download(listener, "smollm2-135m-instruct")
        server = EmbeddedServer(cache_dir=cache_dir, progress=progress)
        return [ManagedEngine(server, listener=listener)], N_SLOTS
    if engine == "vllm":
        from counterpoise.llm.managed_engine import ManagedEngine
        from counterpoise.llm.vllm_server import VllmServer, find_slots

        vllm = VllmServer(
            model,
            log=(log_dir or find_cache_dir(cache_dir)) / "vllm.log",
            python=python,
            tensor_parallel_size=tensor_parallel_size,
            arguments=args,
            listener=lambda line: listener(Event("starting", {"message": line})),
        )
        identity = f"{vllm.served_name} (vllm)"
        return [ManagedEngine(vllm, identity=identity, listener=listener)], find_slots(args)
    if engine == "object":
        return [make_engine(instance)], _OBJECT_CONCURRENCY
    from counterpoise.llm.openai_engine import OpenAIEngine

    return [OpenAIEngine(url, model, api_key=api_key) for url in urls], _SERVER_CONCURRENCY


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


def keep_findings(model: str, findings: Mapping[str, Any], cache_dir: Path) -> Path:
    """Write what a diagnosis of a model has found into the cache, for `settle_capabilities`; gives the file."""
    path = _locate_findings(model, cache_dir)
    make_cache_folder(cache_dir)
    make_private_folder(path.parent)
    scratch = path.with_suffix(f".{os.getpid()}.part")
    touch_private_file(scratch)
    try:
        scratch.write_text(json.dumps(dict(findings), indent=1), encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def settle_capabilities(found: Capabilities, directory: RunDirectory, cache_dir: Path) -> Capabilities:
    """What a run goes by: what it found at its begin, with what a diagnosis had found beyond it by then.

    A later diagnosis changes nothing for a run that has begun: resumed, it has to end as it would have.
    """
    kept = directory.read("capabilities").get(found.model)
    if kept is not None:
        return Capabilities(**kept)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        known = json.loads(_locate_findings(found.model, cache_dir).read_text(encoding="utf-8"))
        found = replace(
            found,
            structured=bool(known["structured"]),
            logprobs=bool(known["logprobs"]),
            multiple=bool(known["multiple"]),
            context_tokens=int(known["context_tokens"]),
        )
    directory.write("capabilities", {found.model: asdict(found)})
    return found


def _locate_findings(model: str, cache_dir: Path) -> Path:
    return cache_dir / "doctor" / f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.json"


async def _answers(chat: ChatClient, request: ChatRequest) -> bool:
    try:
        return bool(await chat.generate(request))
    except ServerError as error:
        if error.retryable:
            raise
        return False
