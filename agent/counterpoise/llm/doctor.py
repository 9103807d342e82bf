"""What a server can do and how fast, found by asking: never by its name or version.

Every answer comes from requests that a run would send in the same way. A server that ignores a field it does not
know looks like one that obeys, so what is asked for is something it would never do by itself. Findings are kept in
the cache; runs with the same model read them.

Speed is measured last but one, and last of all whether a server takes `seed`: there are servers whose engine ends
at it, so it is asked only of servers that are ours to start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import ServerError
from counterpoise.core.event_kinds import Examining
from counterpoise.core.events import tell_event
from counterpoise.core.redactions import keep_secret, keep_secrets_of, redact
from counterpoise.llm import ChatClient, ChatRequest, Completion, Engine, Message, Sampling
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.connect import make_engines, read_api_key
from counterpoise.llm.engines.managed import ManagedEngine
from counterpoise.llm.models import Models
from counterpoise.llm.reply_shapes import read_window
from counterpoise.llm.servers.embedded import Server
from counterpoise.llm.servers.load import ServerLoad
from counterpoise.llm.structured import parse_reply

SPEED_TOKENS = 64
"""Completion tokens of each request whose time is taken."""

N_ALONE = 3
PREFIX_WORDS = 300
"""Words of the prefix that two prompts share; caches keep whole blocks, of 16 tokens as a rule."""

ASK_SECONDS = 60.0
DYING_SECONDS = 10.0
N_SEEDED = 8

_SCHEMA = {
    "type": "object",
    "properties": {"stone": {"enum": ["quartz", "basalt"]}, "count": {"type": "integer"}},
    "required": ["stone", "count"],
    "additionalProperties": False,
}
_UNRELATED = (
    "Write one short sentence about the weather in spring.",
    "Greet a guest in a hotel.",
    "Name three colours of a rainbow, nothing else.",
)
"""What a server that ignores the schema would answer in prose."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one server was found to do; None means that it could not be told.

    Args:
        url: base address, "" for a server of ours.
        capabilities: what the planner reads.
        prefix_caching: a prompt whose beginning is known is cheaper.
        seed: it takes `seed` and then gives the same reply again.
        concurrency: requests at once that `tokens_per_second` was measured with.
        tokens_per_second_alone: completion tokens, one request at a time.
        tokens_per_second: completion tokens, `concurrency` requests at a time.
        refused: fields that it does not take, or takes no such value of; requests go without them.
        notes: reasons, by name of the capability.
    """

    url: str
    capabilities: Capabilities
    prefix_caching: bool | None = None
    seed: bool | None = None
    concurrency: int = 1
    tokens_per_second_alone: float = 0.0
    tokens_per_second: float = 0.0
    refused: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: one level, capabilities among the rest."""
        values = asdict(self)
        return {"url": values.pop("url"), **values.pop("capabilities"), **values}


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be examined.

    Args:
        engine: the way to it, not entered yet.
        slots: requests at once for the second measurement of speed.
        find_address: gives its base address and key, once the engine is entered.
        server: the server, where it is ours.
    """

    engine: Engine
    slots: int
    find_address: Callable[[], tuple[str, str]]
    server: Server | None = None


def make_patients(config: LlmConfig, *, cache_dir: Path | None, log_dir: Path | None = None) -> list[Target]:
    """The servers of a job, as `make_engines` gives them."""
    engines, slots = make_engines(config, cache_dir=cache_dir, log_dir=log_dir)
    api_key = read_api_key(config.api_key_env)
    return [_make_patient(engine, config.concurrency or slots, api_key) for engine in engines]


def _make_patient(engine: Engine, slots: int, api_key: str) -> Target:
    if isinstance(engine, ManagedEngine):
        return Target(engine, slots, engine.find_address, engine.server)
    return Target(engine, slots, lambda: (str(getattr(engine, "url", "")), api_key))


async def examine(patient: Target) -> Diagnosis:
    """Ask a server everything.

    Args:
        patient: the server.

    Raises:
        CounterpoiseError: it cannot be started or reached, or fails under questions that any server answers.
    """
    notes: dict[str, str] = {}
    async with AsyncExitStack() as opened:
        client = ChatClient(patient.engine, concurrency=max(1, patient.slots))
        chat = await opened.enter_async_context(client)
        url, api_key = patient.find_address()
        base = _Base(url, api_key)
        model = str(getattr(patient.engine, "model", ""))  # "" of a server of ours, which has one
        tell = _make_teller("" if patient.server else url)
        tell("what its model can do")
        models = Models(chat, await find_capabilities(chat))
        _explain_thinking(models.capabilities, notes)
        tell("structured replies, log-probabilities, several completions")
        capabilities = replace(
            models.capabilities,
            structured=bool(await _find_structured(patient.engine, models, notes)),
            logprobs=await _find_logprobs(patient.engine, models, notes),
            multiple=await _find_multiple(patient.engine, models, notes),
            context_tokens=await asyncio.to_thread(_find_context, base, model, notes),
        )
        models = replace(models, capabilities=capabilities)
        tell("prefix caching")
        caching = await _find_prefix_caching(models, patient.engine, notes)
        tell("speed")
        alone, together = await _measure_speed(models, patient.slots)
        seed = await _find_seed(patient, capabilities, base, notes)
    return Diagnosis(
        url="" if patient.server else url,
        capabilities=capabilities,
        prefix_caching=caching,
        seed=seed,
        concurrency=patient.slots,
        tokens_per_second_alone=alone,
        tokens_per_second=together,
        refused=tuple(_list_refusals(patient.engine)),
        notes=notes,
    )


def _make_teller(url: str) -> Callable[[str], None]:
    return lambda what: tell_event(Examining(url, what))


def _ask(capabilities: Capabilities, text: str, **settings: Any) -> ChatRequest:
    """A question in the way that the server knows."""
    if capabilities.chat:
        return ChatRequest((Message("user", text),), **settings)
    return ChatRequest(prompt=text, **settings)


def _list_refusals(engine: Engine) -> dict[str, str]:
    """What an engine has learned that its server does not take, with what the server said."""
    refusals: dict[str, str] = getattr(engine, "refusals", {})
    return refusals


def _explain_thinking(capabilities: Capabilities, notes: dict[str, str]) -> None:
    if capabilities.thinking_switch:
        notes["thinks"] = f"it is switched off by {capabilities.thinking_switch}"
    elif capabilities.looked_tokens:
        notes["thinks"] = f"not done after {capabilities.looked_tokens} tokens of a simple question"
    elif capabilities.thinks:
        notes["thinks"] = f"about {capabilities.thought_tokens} tokens before an answer"


async def _find_structured(engine: Engine, models: Models, notes: dict[str, str]) -> bool | None:
    """Whether a schema is enforced on questions whose answer it would never be."""
    if not models.capabilities.chat:
        notes["structured"] = "it has no chat"
        return None
    for question in _UNRELATED:
        request = ChatRequest(
            (Message("user", question),), sampling=Sampling(temperature=1.0, max_tokens=64), schema=_SCHEMA
        )
        try:
            (reply,) = await engine.generate(models.chat.manner.adapt(request))
        except ServerError as error:
            if error.retryable:
                raise
            notes["structured"] = f"it refuses a schema: {_cut(error.message)}"
            return False
        if "response_format" in (refused := _list_refusals(engine)):
            notes["structured"] = f"it refuses a schema: {_cut(refused['response_format'])}"
            return False
        _, problem = parse_reply(reply.text, _SCHEMA)
        # Blanks between two fields are JSON too, and a small model may go on with them to the end.
        is_begun = reply.finish_reason == "length" and reply.text.lstrip().startswith("{")
        if problem and not is_begun:
            notes["structured"] = f"asked for a schema it answers {_cut(reply.text)!r}"
            return False
    return True


async def _find_logprobs(engine: Engine, models: Models, notes: dict[str, str]) -> bool:
    request = _ask(models.capabilities, "Answer with one letter, A or B.", choices=("A", "B"))
    if not await _is_answered(models.chat, request, "logprobs", notes):
        return False
    if "logprobs" in (refused := _list_refusals(engine)):
        notes["logprobs"] = (
            _cut(refused["logprobs"]) or "it gives none: letters are read from what is written"
        )
        return False
    return True


async def _find_multiple(engine: Engine, models: Models, notes: dict[str, str]) -> bool:
    request = _ask(
        models.capabilities,
        "The soup was",
        n=3,
        sampling=Sampling(temperature=1.0, max_tokens=4),
        purpose="probe",
    )
    if not await _is_answered(models.chat, request, "multiple", notes):
        return False
    if not models.chat.manner.multiple:
        notes["multiple"] = (
            _cut(_list_refusals(engine).get("n", "")) or "it gives one where several are asked for"
        )
    return models.chat.manner.multiple


async def _is_answered(chat: ChatClient, request: ChatRequest, name: str, notes: dict[str, str]) -> bool:
    try:
        await chat.generate(request)
    except ServerError as error:
        if error.retryable and error.status:
            raise
        notes[name] = _cut(error.message)
        return False
    return True


def _find_context(base: _Base, model: str, notes: dict[str, str]) -> int:
    """Tokens of prompt and completion together, as the server says in its list of models or its properties."""
    try:
        entries = base.get("/models")["data"]
        (entry, *_) = [one for one in entries if model in ("", one["id"], *(one.get("aliases") or ()))]
        if length := read_window(entry):
            return length
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        notes["context_tokens"] = "its list of models cannot be read"
        return 0
    try:
        return int(base.get_root("/props")["default_generation_settings"]["n_ctx"])
    except (OSError, ValueError, KeyError, TypeError):
        notes["context_tokens"] = "it does not say"
        return 0


async def _find_prefix_caching(models: Models, engine: Engine, notes: dict[str, str]) -> bool | None:
    """Ask two questions with one long beginning that nobody has asked before, and see whether hits are counted."""
    before = await _read_load(engine)
    if before is None:
        notes["prefix_caching"] = "it has no /metrics that count hits"
        return None
    room = models.capabilities.context_tokens // 4 or PREFIX_WORDS
    prefix = " ".join(secrets.token_hex(1) for _ in range(min(PREFIX_WORDS, room)))
    for end in ("one", "two"):
        await models.chat.generate(
            _ask(models.capabilities, f"{prefix} {end}", sampling=Sampling(max_tokens=1))
        )
    for _ in range(20):
        after = await _read_load(engine)
        if after is not None and after.prefix_hits > before.prefix_hits:
            n_tokens = after.prefix_hits - before.prefix_hits
            notes["prefix_caching"] = f"{n_tokens:.0f} tokens of a repeated prefix came from its cache"
            return True
        await asyncio.sleep(0.1)  # counts are written now and then
    return False


async def _read_load(engine: Engine) -> ServerLoad | None:
    read_load: Any = getattr(engine, "read_load", None)
    load: ServerLoad | None = None
    with contextlib.suppress(ServerError):
        load = await read_load() if read_load else None
    return load


async def _measure_speed(models: Models, slots: int) -> tuple[float, float]:
    """Completion tokens a second: one request at a time, and `slots` at a time."""

    async def measure(first: int, count: int) -> tuple[int, float]:
        started = time.monotonic()
        requests = [
            _ask(
                models.capabilities,
                f"Story number {number}. Once upon a time, in a town by the sea, there lived",
                sampling=Sampling(temperature=1.0, max_tokens=SPEED_TOKENS),
            )
            for number in range(first, first + count)
        ]
        replies: list[list[Completion]] = await asyncio.gather(*map(models.chat.generate, requests))
        n_tokens = sum(reply[0].usage.completion_tokens for reply in replies)
        return n_tokens, time.monotonic() - started

    await measure(0, 1)  # the first one warms up what is compiled at use
    alone = [await measure(1 + number, 1) for number in range(N_ALONE)]
    n_tokens, seconds = await measure(1 + N_ALONE, slots)
    return sum(one[0] for one in alone) / sum(one[1] for one in alone), n_tokens / seconds


async def _find_seed(
    patient: Target, capabilities: Capabilities, base: _Base, notes: dict[str, str]
) -> bool | None:
    """Whether `seed` is taken; the last question, because it may be the server's last too."""
    if patient.server is None:
        notes["seed"] = "not asked: it ends some servers, and this one is not ours to start again"
        return None
    # Long prompts at once are worked on in pieces, and it is there that vLLM's engine ends on a CPU.
    n_words = min(1000, capabilities.context_tokens // 8 or PREFIX_WORDS)
    texts = [" ".join(f"{number * word}" for word in range(n_words)) for number in range(N_SEEDED)]
    texts += ["Tell me about the sea"] * 2
    model = await asyncio.to_thread(base.find_model)
    replies = await asyncio.gather(
        *(asyncio.to_thread(_ask_with_seed, base, model, text, capabilities.chat) for text in texts),
        return_exceptions=True,
    )
    if failures := [reply for reply in replies if isinstance(reply, BaseException)]:
        has_died = await asyncio.to_thread(_wait_for_end, patient.server)
        why = patient.server.explain_end() if has_died else _cut(str(failures[0]))
        notes["seed"] = f"it ends the server: {why}" if has_died else f"it refuses it: {why}"
        return False
    if replies[-1] != replies[-2]:
        notes["seed"] = "it takes it, and gives another reply the second time"
    return bool(replies[-1] == replies[-2])


def _ask_with_seed(base: _Base, model: str, text: str, is_chat: bool) -> str:
    """A reply to a request that carries a seed, which no run ever sends."""
    body: dict[str, Any] = {"model": model, "temperature": 1.0, "max_tokens": 16, "seed": 7}
    if is_chat:
        reply = base.post("/chat/completions", body | {"messages": [{"role": "user", "content": text}]})
        return str(reply["choices"][0]["message"].get("content"))
    return str(base.post("/completions", body | {"prompt": text})["choices"][0]["text"])


def _wait_for_end(server: Server) -> bool:
    """Whether a server ends within the time that dying takes."""
    deadline = time.monotonic() + DYING_SECONDS
    while server.is_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not server.is_alive()


class _Base:
    """A base address, asked directly where the client has no words for the question."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url.rstrip("/")
        keep_secret(api_key)
        keep_secrets_of(url)
        is_local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        # Proxies of the environment are for the world outside.
        proxies = [urllib.request.ProxyHandler({})] if is_local else []
        self._opener = urllib.request.build_opener(*proxies)
        self._headers = {"Authorization": f"Bearer {api_key or 'none'}", "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        """JSON below /v1."""
        return json.loads(self._open(self._url + path))

    def get_root(self, path: str) -> Any:
        """JSON beside /v1."""
        return json.loads(self._open(self._url.removesuffix("/v1") + path))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON, read JSON."""
        return json.loads(self._open(self._url + path, json.dumps(body).encode()))

    def find_model(self) -> str:
        """The first model of its list."""
        return str(self.get("/models")["data"][0]["id"])

    def _open(self, url: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(url, content, self._headers)  # noqa: S310  (an address of the user's)
        try:
            with self._opener.open(request, timeout=ASK_SECONDS) as response:
                return redact(response.read().decode("utf-8", "replace")).encode()
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(
                    f"HTTP {error.code}: {redact(error.read(300).decode('utf-8', 'replace'))}"
                ) from None


def _cut(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 120 else line[:119] + "…"
