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
from typing import Any, Protocol

from counterpoise.core.assets import find_cache_dir, make_cache_folder
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import JobError, ServerError
from counterpoise.core.events import Event, Listener
from counterpoise.core.files import write_whole
from counterpoise.core.redactions import keep_secret
from counterpoise.llm import (
    BudgetSpent,
    ChatClient,
    ChatRequest,
    Engine,
    ReplyStore,
    Sampling,
    ThoughtsUnpaid,
    TokenBudget,
)
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST, Thoughts
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.manners import Manner
from counterpoise.llm.model_objects import keeps_replies, make_engine
from counterpoise.llm.probing import (
    COUNTING,
    USUAL_ROOM,
    WRITING,
    Meeting,
    can_pay,
    find_manner,
    meet,
    read_notes,
    write_notes,
)
from counterpoise.llm.prompts import load_prompt
from counterpoise.llm.reply_store import make_keys
from counterpoise_retrievers.private_files import make_private_folder

_PROBE_WORDS = ("table", "river", "seven", "orange")
_ANSWER_TOKENS = 100
"""Of a prompt's share and an answer, roughly, beside thousands of thoughts."""

_SERVER_CONCURRENCY = 64
_OBJECT_CONCURRENCY = 16
"""Of a model that is an object in Python, which may well be one behind a limit of requests."""

_MOST_CONCURRENCY = 1024
"""Of a server of which nothing is known, reached only while throughput grows or it says that it has no queue."""


class Notes(Protocol):
    """What a run keeps of itself, such as a run directory."""

    def read(self, kind: str) -> dict[str, Any]:
        """Entries of one kind, empty where nothing was."""

    def write(self, kind: str, entries: Mapping[str, Any]) -> None:
        """Keep entries of one kind."""


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
        from counterpoise.llm.engines.managed import ManagedEngine
        from counterpoise.llm.servers.embedded import N_SLOTS, EmbeddedServer

        progress = report_download(listener, "smollm2-135m-instruct")
        server = EmbeddedServer(cache_dir=cache_dir, progress=progress)
        return [ManagedEngine(server, listener=listener)], N_SLOTS
    if engine == "vllm":
        from counterpoise.llm.engines.managed import ManagedEngine
        from counterpoise.llm.servers.vllm import VllmServer, find_slots

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
    from counterpoise.llm.engines.openai import OpenAIEngine

    return [OpenAIEngine(url, model, api_key=api_key, explores=True) for url in urls], _SERVER_CONCURRENCY


def report_download(listener: Listener, name: str) -> Callable[[int, int], None]:
    """A progress callback that tells the listener how much of an asset is there."""
    return lambda done, total: listener(Event("downloading", {"name": name, "done": done, "total": total}))


async def find_capabilities(chat: ChatClient) -> Capabilities:
    """Ask what the model can do: continue a text, follow a short instruction, answer without thinking first.

    Replies are stored, so a run that is resumed finds the same; from now on the client asks in the manner that was
    found. Where what is stored would leave a run without a way, it may be that the server was set right since: it is
    asked anew.

    Raises:
        BudgetSpent: the budget does not reach for a dozen short questions.
        ServerError: the server fails for another reason than not knowing a kind of request, or answers nothing; the
            message ends in its own words.
    """
    turn, multiple = read_notes(chat)
    before = chat.budget.paid
    try:
        found = await _find_capabilities(chat, turn, multiple)
        is_stale = chat.budget.paid == before and explain_thoughts(found, chat.budget.limit)[1]
    except ServerError as error:
        if error.retryable or chat.budget.paid != before or not _is_stored(chat, turn):
            raise
        is_stale = True
    if is_stale:
        turn += 1
        found = await _find_capabilities(chat, turn, multiple)
    await write_notes(chat, turn, found.multiple)
    return found


async def _find_capabilities(chat: ChatClient, turn: int, multiple: bool) -> Capabilities:
    chat.manner = Manner()
    refusals: list[str] = []
    probe = ChatRequest(
        prompt="one, two, three,", sampling=Sampling(max_tokens=4), purpose="probe", sample=turn
    )
    continues = await _answers(chat, probe, refusals)
    n_asked = n_right = n_empty = 0
    meeting: Meeting | None = None
    for word in _PROBE_WORDS:
        if meeting is not None and not _is_worth_its_price(chat, meeting):
            break
        try:
            if meeting is None:
                meeting = await find_manner(chat, *_make_question(word, turn))
                completion = meeting.completion
            else:
                (completion,) = await chat.generate(_make_question(word, turn)[0])
        except ServerError as error:
            if error.retryable:
                raise
            refusals.append(error.said or error.message)
            break
        n_asked += 1
        n_right += _is_word(completion.text, word)
        n_empty += not completion.text.strip()
    follows = 0 < n_asked - (n_asked == len(_PROBE_WORDS)) <= n_right
    if (meeting is None or n_empty == n_asked) and not continues and not (meeting and meeting.looked_tokens):
        said = f": {refusals[-1]}" if refusals else ""
        raise ServerError(
            "all its replies are empty" if meeting else f"it answers neither chats nor continuations{said}",
            where=chat.name,
            hint="set that right at the server, or give another model or address"
            if refusals
            else "check the URL (it ends in /v1 as a rule) and the model",
        )
    if meeting is not None and (follows or not continues) and _is_worth_its_price(chat, meeting):
        meeting = await _write_once(chat, meeting, turn)
    chat.manner = replace(chat.manner, multiple=chat.manner.multiple and multiple)
    thoughts = chat.manner.thoughts or Thoughts()
    return Capabilities(
        model=chat.name,
        chat=meeting is not None,
        continuation=continues,
        follows_instructions=meeting is not None and follows,
        multiple=chat.manner.multiple,
        thinks=meeting is not None and meeting.thinks,
        thinking_switch=thoughts.switch,
        thought_tokens=meeting.thought_tokens if meeting else 0,
        looked_tokens=meeting.looked_tokens if meeting else 0,
        room_tokens=thoughts.tokens,
    )


def _is_worth_its_price(chat: ChatClient, meeting: Meeting) -> bool:
    """Whether to ask one question more: not where thoughts have no end, or would take what is there to write with."""
    return not meeting.looked_tokens and can_pay(chat, meeting.thought_tokens)


async def _write_once(chat: ChatClient, meeting: Meeting, turn: int) -> Meeting:
    """Ask for a text, as a run will: some models think only then, or longer; and see whether `n` is done."""
    with contextlib.suppress(BudgetSpent):
        if meeting.manner.thoughts is not None:
            await chat.generate(replace(COUNTING, sample=turn * COUNTING.n), as_it_is=True)
        writing = replace(WRITING, sample=turn * WRITING.n)
        meeting = await meet(chat, writing, lambda text: bool(text.strip()), known=meeting)
        chat.manner = replace(meeting.manner, multiple=chat.manner.multiple)
    return meeting


def _is_stored(chat: ChatClient, turn: int) -> bool:
    """Whether the first question was answered out of the store."""
    keys = make_keys(chat.name, _make_question(_PROBE_WORDS[0], turn)[0])
    return chat.store is not None and bool(chat.store.get_many(keys))


async def learn_manner(chat: ChatClient) -> None:
    """Find out whether a model thinks, for work that asks it short questions only; where it has no chat, that shows."""
    turn, multiple = read_notes(chat)
    with contextlib.suppress(BudgetSpent):
        try:
            await find_manner(chat, *_make_question(_PROBE_WORDS[0], turn))
        except ServerError as error:
            if error.retryable:
                raise
    chat.manner = replace(chat.manner, multiple=multiple)


def explain_thoughts(found: Capabilities, limit: int | None) -> tuple[str, bool]:
    """What to tell a user of a model that thinks and cannot be kept from it, and whether nothing can be written so.

    Args:
        found: of the model.
        limit: tokens of the budget; None without.

    Returns:
        One line, "" where there is nothing to tell.
    """
    if not found.thinks or found.thinking_switch:
        return "", False
    remedy = (
        "switch its thinking off at the server (vLLM: --default-chat-template-kwargs '{\"enable_thinking\": false}'; "
        "llama.cpp: --reasoning-budget 0), take a model that does not think"
    )
    if found.looked_tokens:
        enough = format_thousands(100 * max(found.looked_tokens, USUAL_ROOM))
        return (
            f"the model was still thinking after {found.looked_tokens:,} tokens of a simple question: {remedy}, "
            f"or give it a budget from {enough} tokens",
            True,
        )
    each = found.thought_tokens + _ANSWER_TOKENS
    line = f"the model thinks for about {found.thought_tokens:,} tokens before each answer"
    if limit is None:
        return line, False
    is_too_much = COMPLETIONS_PER_REQUEST * (found.room_tokens + _ANSWER_TOKENS) > limit
    line += f", so {limit:,} tokens pay for about {limit // each:,} answers"
    enough = format_thousands(20 * COMPLETIONS_PER_REQUEST * each)
    return (
        f"{line}: {remedy}, or give it a budget from {enough} tokens" if limit // each < 100 else line,
        is_too_much,
    )


def format_thousands(tokens: int) -> str:
    """A number of tokens as a budget is written, rounded up.

    >>> format_thousands(360_001)
    '361k'
    """
    return f"{-(-tokens // 1000)}k"


def apply_capabilities(chat: ChatClient, found: Capabilities) -> None:
    """Let the client ask in the manner that was found, perhaps in an earlier process."""
    thoughts = Thoughts(found.thinking_switch, found.room_tokens) if found.thinks else None
    chat.manner = Manner(multiple=found.multiple, thoughts=thoughts)


def _make_question(word: str, turn: int) -> tuple[ChatRequest, Callable[[str], bool]]:
    request = replace(load_prompt("instruction_probe").render(word=word), purpose="probe", sample=turn)
    return request, lambda text: word.upper() in text


def _is_word(text: str, word: str) -> bool:
    return text.strip().strip(".\"'*`“”") == word.upper()


async def learn_capabilities(
    chat: ChatClient, notes: Notes, cache_dir: Path, listener: Listener
) -> Capabilities:
    """What the run goes by, found now or when it began; the client asks in that manner, and the user is told.

    Raises:
        BudgetSpent: the budget does not reach for the questions.
        ThoughtsUnpaid: it does not reach for what the model thinks before each answer.
        ServerError: as `find_capabilities`.
    """
    found = settle_capabilities(await find_capabilities(chat), notes, cache_dir)
    apply_capabilities(chat, found)
    listener(Event("model", {"name": found.model, "follows_instructions": found.follows_instructions}))
    line, is_too_much = explain_thoughts(found, chat.budget.limit)
    if is_too_much:
        raise ThoughtsUnpaid(line)
    if line:
        listener(Event("warning", {"message": line, "retryable": False, "purpose": "probe"}))
    return found


def keep_findings(model: str, findings: Mapping[str, Any], cache_dir: Path) -> Path:
    """Write what a diagnosis of a model has found into the cache, for `settle_capabilities`; gives the file."""
    path = _locate_findings(model, cache_dir)
    make_cache_folder(cache_dir)
    make_private_folder(path.parent)
    write_whole(path, json.dumps(dict(findings), indent=1), is_private=True)
    return path


def settle_capabilities(found: Capabilities, notes: Notes, cache_dir: Path) -> Capabilities:
    """What a run goes by: what it found at its begin, with what a diagnosis had found beyond it by then.

    A later diagnosis changes nothing for a run that has begun: resumed, it has to end as it would have.
    """
    kept = notes.read("capabilities").get(found.model)
    if kept is not None:
        return Capabilities(**kept)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        known = json.loads(_locate_findings(found.model, cache_dir).read_text(encoding="utf-8"))
        found = replace(
            found,
            structured=bool(known["structured"]),
            logprobs=bool(known["logprobs"]),
            multiple=found.multiple and bool(known["multiple"]),
            context_tokens=int(known["context_tokens"]),
        )
    notes.write("capabilities", {found.model: asdict(found)})
    return found


def _locate_findings(model: str, cache_dir: Path) -> Path:
    return cache_dir / "doctor" / f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.json"


async def _answers(chat: ChatClient, request: ChatRequest, refusals: list[str]) -> bool:
    try:
        return bool(await chat.generate(request))
    except ServerError as error:
        if error.retryable:
            raise
        refusals.append(error.said or error.message)
        return False
