"""Replies: a server on 127.0.0.1 that answers with valid completions which are then broken in structured ways."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from counterpoise.actions.relabel.judges import Judge
from counterpoise.data.instances import Passage
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, Sampling, TokenBudget
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.retries import RetryPolicy
from tests.fuzz.common import DEEP, NUMBERS, STRINGS, Ended, Source, call, guard

THOUGHTS = (
    "<think>the user wants",
    "</think>",
    "<think>x</think>",
    "<|channel|>analysis",
    "```json\n",
    "\n```",
)


class HostileServer(ThreadingHTTPServer):
    """Answers each request from the source of the input that is under way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = Source(0)
        self.share = 1.0
        self.guard = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is none."""

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HostileServer

    def do_GET(self) -> None:
        with self.server.guard:
            self._send(
                *break_models(self.server.source) if self.path.endswith("/models") else (404, b"no", {})
            )

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        except ValueError:
            body = {}
        with self.server.guard:
            source = self.server.source
            reply = make_reply(source, body)
            if source.is_hit(self.server.share):
                self._send(*break_reply(source, reply))
            else:
                self._send(200, json.dumps(reply).encode(), {})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
            }.items():
                self.send_header(name, headers.pop(name, value))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@cache
def start_server() -> HostileServer:
    """The one server of this process."""
    server = HostileServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def make_text(source: Source, body: dict[str, Any]) -> str:
    """What a model may write: an instance of the schema, words, or either with something around it."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    text = "a warm soup and a slow waiter by the window"
    if schema is not None:
        text = json.dumps(make_instance(source, schema))
    if source.is_hit(0.3):
        text = source.choice(
            (*STRINGS, "[" * DEEP, '{"a":' * DEEP, "9" * 5000, "1e999", "NaN", "{", '{"text": "x"')
        )
    if source.is_hit(0.3):
        text = source.choice(THOUGHTS) + text + source.choice(("", *THOUGHTS))
    return text


def make_instance(source: Source, schema: Any) -> Any:
    """A value of a schema, whose parts are sometimes anything."""
    if not isinstance(schema, dict) or source.is_hit(0.1):
        return source.pick_value()
    if "enum" in schema:
        return source.choice(list(schema["enum"]))
    match schema.get("type"):
        case "object":
            return {name: make_instance(source, part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [make_instance(source, schema.get("items", {})) for _ in range(source.randrange(6))]
        case "integer" | "number":
            return source.choice((0, 1, 2, 3, *NUMBERS))
        case "boolean":
            return source.is_hit(0.5)
        case _:
            return source.pick_string()


def make_reply(source: Source, body: dict[str, Any]) -> dict[str, Any]:
    """A completion as servers give it."""
    choices = []
    for index in range(int(body.get("n", 1))):
        text = make_text(source, body)
        choice: dict[str, Any] = {"index": index, "finish_reason": source.choice(("stop", "length"))}
        if "messages" in body:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        if body.get("logprobs"):
            table = {token: -source.uniform(0, 9) for token in ("A", " B", "The", source.pick_string())}
            listed = [{"token": token, "logprob": value} for token, value in table.items()]
            choice["logprobs"] = (
                {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": listed}]}
                if "messages" in body
                else {"top_logprobs": [table]}
            )
        choices.append(choice)
    usage = {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage}


def change_somewhere(source: Source, value: Any) -> Any:
    """A copy of a JSON value with one part that is something else, gone, or there twice."""
    if isinstance(value, dict) and value and source.is_hit(0.85):
        name = source.choice(list(value))
        changed = dict(value)
        if source.is_hit(0.25):
            del changed[name]
        elif source.is_hit(0.15):
            changed[source.pick_string()] = source.pick_value()
        else:
            changed[name] = change_somewhere(source, value[name])
        return changed
    if isinstance(value, list) and value and source.is_hit(0.85):
        place = source.randrange(len(value))
        draw = source.random()
        if draw < 0.2:
            return value[:place] + value[place + 1 :]
        if draw < 0.3:
            return [*value, value[place]]
        return [*value[:place], change_somewhere(source, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and source.is_hit(0.2):
        return [{"type": "text", "text": value}]
    return source.pick_value()


def break_reply(source: Source, reply: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
        reply = change_somewhere(source, reply)
    content = json.dumps(reply).encode()
    match source.randrange(24):
        case 0:
            return 200, content[: source.randrange(len(content) + 1)], {}
        case 1:
            return 200, b"[" * DEEP, {}
        case 2:
            return 200, b"<html><body>\x1b[31mBad gateway\x00</body></html>", {"Content-Type": "text/html"}
        case 3:
            return 200, content, {"Content-Encoding": "gzip"}
        case 4:
            return 200, gzip.compress(content)[: source.randrange(20, 60)], {"Content-Encoding": "gzip"}
        case 5:
            error = {
                "message": source.pick_string(),
                "type": source.pick_value(),
                "code": source.pick_value(),
            }
            return (
                source.choice((200, 400, 401, 404, 413, 422, 429, 500, 503)),
                json.dumps({"error": error}).encode(),
                {},
            )
        case 6:
            return (
                source.choice((400, 429, 500)),
                json.dumps(source.pick_value()).encode(),
                {"Retry-After": source.choice(("0", "nan", "-1", "x", "1e400"))},
            )
        case 7:
            return 200, content.replace(b"28", b"1e400").replace(b"20", b"1" + b"0" * 400), {}
        case 8:
            return 200, content.decode().encode("utf-16"), {}
        case 9:
            return 200, b"", {}
        case 10:
            return 200, b"data: " + content + b"\n\ndata: [DONE]\n\n", {"Content-Type": "text/event-stream"}
        case 11:
            return (
                200,
                content,
                {"Content-Length": str(len(content) + 9), "Connection": "close"}
                if source.is_hit(0.1)
                else {},
            )
        case _:
            return 200, content, {}


def break_models(source: Source) -> tuple[int, bytes, dict[str, str]]:
    """The list of models; good in most cases, or nothing else would ever be asked."""
    listing: Any = {
        "object": "list",
        "data": [{"id": source.choice(("m", "m", "m", source.pick_string())), "meta": {"n_params": 7}}],
    }
    if source.is_hit(0.12):
        listing = change_somewhere(source, listing)
    content = json.dumps(listing).encode()
    return (200, b"[" * DEEP, {}) if source.is_hit(0.01) else (200, content, {})


SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": 3}},
    "required": ["text", "score"],
}


REQUESTS = (
    ChatRequest((Message("user", "write"),)),
    ChatRequest((Message("user", "write"),), n=3),
    ChatRequest(prompt="one, two,", sampling=Sampling(max_tokens=8, stop=("\n",))),
    ChatRequest((Message("user", "write"),), schema=SCHEMA),
    ChatRequest((Message("user", "write"),), schema=SCHEMA, n=2),
    ChatRequest((Message("user", "A or B"),), choices=("A", "B")),
    ChatRequest(prompt="A or B", choices=("A", "B")),
)

ASKED = 8
"""Requests of one session: opening one costs more than they do."""


def fuzz_replies(source: Source, folder: Path) -> Iterator[Ended]:
    """A session of requests, a probe and a judge, answered by a hostile server; then once more, from the store."""
    server = start_server()
    with server.guard:
        server.source = source
    asked = [source.choice(REQUESTS) for _ in range(ASKED)]
    for _ in range(2):
        yield from _hold_session(source, server.url, folder / "replies.sqlite", asked)


def _hold_session(source: Source, url: str, path: Path, asked: list[ChatRequest]) -> Iterator[Ended]:
    with asyncio.Runner() as runner, ReplyStore(path) as store:
        chat = ChatClient(
            OpenAIEngine(url, timeout_seconds=5),
            store,
            TokenBudget(50_000),
            retries=RetryPolicy(
                attempts=2, first_wait_seconds=0.001, longest_wait_seconds=0.002, absence_seconds=0.1
            ),
            run_id="run",
        )
        opened = guard(lambda: runner.run(chat.__aenter__()))
        yield opened
        if opened.code:
            return
        try:
            for number, request in enumerate(asked):
                yield guard(lambda: runner.run(chat.generate(replace(request, sample=number * 10))))  # noqa: B023
            yield guard(lambda: runner.run(find_capabilities(chat)))
            judge = Judge(source.choice(("first", "second")), chat)
            passages = [Passage(f"p{n}", f"passage {n}") for n in range(5)]
            questions = judge.make_questions(0, "q", "a query", passages[:1], passages[1:])
            yield guard(lambda: runner.run(judge.ask(questions)))
        finally:
            runner.run(chat.__aexit__(None, None, None))


def fuzz_runs(source: Source, folder: Path) -> Iterator[Ended]:
    """A whole command with a server whose every third reply is broken."""
    server = start_server()
    with server.guard:
        server.source = source
        server.share = source.choice((0.1, 0.3, 1.0))
    rows = [
        f"the {n} {'warm lovely' if n % 4 else 'dull cold'} soup number {n},{'good' if n % 4 else 'bad'}"
        for n in range(48)
    ]
    data = folder / "data.csv"
    data.write_text("text,label\n" + "\n".join(rows) + "\n")
    queries = [
        {"query": f"what is {n}", "positive": f"{n} is one", "negative": f"{n + 1} is two"} for n in range(6)
    ]
    triplets = folder / "triplets.jsonl"
    triplets.write_text("".join(json.dumps(row) + "\n" for row in queries))
    common = ("--budget", "4000", "--model", server.url)
    try:
        if source.is_hit(0.5):
            yield call(
                "relabel",
                triplets,
                *common,
                "--output",
                folder / "out.jsonl",
                "--cache-dir",
                folder / "cache",
            )
        else:
            columns = ("--text", "text", "--label", "label")
            yield call("run", data, *columns, *common, "--minutes", "0.2", "--output", folder / "run")
            if (folder / "run" / "job.yaml").exists():
                yield call("report", folder / "run")
    finally:
        with server.guard:
            server.share = 1.0
