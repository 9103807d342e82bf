"""A real HTTP server with the face of an OpenAI-compatible model server, for tests.

Its replies depend on the request body and the index of the completion only, so that a run that was killed and
resumed can be compared with one that was not. It counts what it is asked, can answer late, in another order,
wrongly or not at all, and runs in a thread (`with LocalServer() as server: server.url`) or as a process of
its own (`python -m tests.servers --port-file PORT --log LOG`), which outlives the clients that tests kill.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import web

Body = dict[str, Any]
Reply = Callable[[Body, int], str]

WORDS = (
    *("soup", "waiter", "table", "music", "bread", "kind", "slow", "warm", "cold", "fresh", "loud", "quiet"),
    *("lovely", "dull", "salty", "sweet", "friendly", "rude", "cheap", "dear", "small", "large", "evening"),
    *("garden", "window", "wine", "fish", "lamb", "pasta", "cake", "coffee", "service", "price", "room"),
)


def hash_body(body: Body) -> str:
    """Sixteen hex digits that name a request body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def draw_seed(*parts: object) -> int:
    """A number that depends on the parts and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def make_instance(schema: Mapping[str, Any], source: random.Random) -> Any:
    """A value that a JSON schema allows."""
    if "enum" in schema:
        return source.choice(list(schema["enum"]))
    match schema.get("type"):
        case "object":
            return {name: make_instance(part, source) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [make_instance(schema.get("items", {"type": "string"}), source) for _ in range(2)]
        case "integer":
            low = int(schema.get("minimum", 0))
            return source.randint(low, int(schema.get("maximum", low + 100)))
        case "number":
            return round(source.uniform(schema.get("minimum", 0.0), schema.get("maximum", 1.0)), 3)
        case "boolean":
            return source.random() < 0.5
        case _:
            return " ".join(source.choices(WORDS, k=6))


def write_soup(body: Body, index: int) -> str:
    """The default reply: words, or an instance of the schema, drawn from the body and the index."""
    source = random.Random(draw_seed(hash_body(body), index))
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is not None:
        return json.dumps(make_instance(schema, source))
    return " ".join(source.choices(WORDS, k=min(12, body.get("max_tokens", 12))))


def draw_logprobs(body: Body) -> dict[str, float]:
    """The default first-token table: two letters, each with and without a space, and other words."""
    source = random.Random(draw_seed(hash_body(body), "letters"))
    return {token: -source.uniform(0.1, 6.0) for token in ("A", " A", "B", " B", "The", '"')}


class LocalServer:
    """An OpenAI-compatible server on 127.0.0.1 in a thread of this process.

    Args:
        reply: text of completion `index` for a body.
        logprobs: table token -> log-probability of the first token for a body.
        latency_seconds: each reply waits a time drawn evenly between these two (which shuffles replies).
        seed: for latencies and faults.
        faults: rates by kind; kinds are "hang", "truncate", "invalid", "disconnect", "status:NNN" and "schema" (a
            reply that breaks its schema). Whether an attempt fails depends on seed, body and number of the
            attempt, not on time.
        script: kinds that the first requests meet, in order of arrival ("" is a good reply).
        models: what /v1/models lists.
        api_key: key that requests must carry, "" for none.
        retry_after_seconds: sent with every fault status when positive.
        log: file that gets a line `started HASH NUMBER` and `answered HASH NUMBER` a request.
        metrics: gives the text of /metrics; None where there is none.
        port: where to listen; 0 for any free one.
    """

    def __init__(
        self,
        reply: Reply = write_soup,
        *,
        logprobs: Callable[[Body], Mapping[str, float]] = draw_logprobs,
        latency_seconds: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        faults: Mapping[str, float] | None = None,
        script: Sequence[str] = (),
        models: Sequence[str] = ("local-model",),
        api_key: str = "",
        retry_after_seconds: float = 0.0,
        log: Path | None = None,
        metrics: Callable[[], str] | None = None,
        port: int = 0,
    ) -> None:
        self.reply = reply
        self.metrics = metrics
        self.logprobs = logprobs
        self.latency_seconds = latency_seconds
        self.seed = seed
        self.faults = dict(faults or {})
        self.script = list(script)
        self.models = list(models)
        self.api_key = api_key
        self.retry_after_seconds = retry_after_seconds
        self.started: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.port = port
        self._log = log.open("a", encoding="utf-8", buffering=1) if log else None
        self._latencies = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Base address, with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def n_requests(self) -> int:
        """Completion requests that arrived, good or not."""
        return sum(self.started.values())

    @property
    def n_repeated(self) -> int:
        """Requests that arrived although an equal one had arrived before."""
        return sum(self.started.values()) - len(self.started)

    def hold(self) -> None:
        """From now on requests arrive but are not answered."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Answer what is held."""
        self._loop.call_soon_threadsafe(self._open.set)

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        if not self._ready.wait(60):
            raise RuntimeError("the local server did not start")
        return self

    def stop(self) -> None:
        """Serve no more, and cut what is under way; a second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(60)
        if self._log:
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.serve(port=self.port))
        finally:
            self._loop.close()

    async def serve(self, port_file: Path | None = None, port: int = 0) -> None:
        """Serve until stopped, at a port or any free one, which goes to `port_file` where one is given."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/metrics", self._write_metrics)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/completions", self._complete)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=2048, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        if port_file:
            scratch = port_file.with_suffix(".part")
            scratch.write_text(str(self.port))
            scratch.replace(port_file)
        self._ready.set()
        await self._stopped.wait()
        self._open.set()
        await runner.cleanup()

    async def _list_models(self, request: web.Request) -> web.Response:
        if self._is_refused(request):
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        return web.json_response(
            {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
        )

    async def _write_metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self.metrics()) if self.metrics else web.Response(status=404)

    def _is_refused(self, request: web.Request) -> bool:
        return bool(self.api_key) and request.headers.get("Authorization") != f"Bearer {self.api_key}"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if self._is_refused(request):
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        body = json.loads(await request.read())
        name = hash_body(body)
        number = self.started[name]
        self.started[name] += 1
        self.bodies.append(body)
        self._write("started", name, number)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            return await self._answer(request, body, name, number)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, body: Body, name: str, number: int) -> web.StreamResponse:
        if body.get("model") not in self.models:
            return web.json_response({"error": {"message": f"no model {body.get('model')}"}}, status=404)
        fault = self._choose_fault(name, number)
        low, high = self.latency_seconds
        if high:
            await asyncio.sleep(self._latencies.uniform(low, high))
        await self._open.wait()
        if fault.startswith("status:"):
            status = int(fault.removeprefix("status:"))
            headers = {"Retry-After": str(self.retry_after_seconds)} if self.retry_after_seconds else {}
            return web.json_response({"error": {"message": "as scripted"}}, status=status, headers=headers)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "disconnect":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        reply = (lambda body, index: '{"food": "may') if fault == "schema" else self.reply
        payload = json.dumps(self._compose(body, reply, is_chat="messages" in body)).encode()
        if fault == "invalid":
            return web.Response(body=b"<html>bad gateway</html>", content_type="text/html")
        if fault == "truncate":
            response = web.StreamResponse(headers={"Content-Length": str(len(payload))})
            await response.prepare(request)
            await response.write(payload[: len(payload) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        self.answered[name] += 1
        self._write("answered", name, number)
        return web.Response(body=payload, content_type="application/json")

    def _choose_fault(self, name: str, number: int) -> str:
        if self.script:
            return self.script.pop(0)
        draw = random.Random(draw_seed(self.seed, name, number)).random()
        for kind, rate in self.faults.items():
            if draw < rate:
                return kind
            draw -= rate
        return ""

    def _compose(self, body: Body, reply: Reply, *, is_chat: bool) -> Body:
        choices = []
        n_completion = 0
        for index in range(body.get("n", 1)):
            text = reply(body, index)
            n_tokens = max(1, len(text.split()))
            n_completion += n_tokens
            choice: Body = {"index": index, "finish_reason": "stop"}
            if n_tokens >= body.get("max_tokens", 1 << 30):
                choice["finish_reason"] = "length"
            if is_chat:
                choice["message"] = {"role": "assistant", "content": text}
            else:
                choice["text"] = text
            if body.get("logprobs"):
                table = dict(self.logprobs(body))
                choice["logprobs"] = (
                    {"content": [{"top_logprobs": [{"token": t, "logprob": p} for t, p in table.items()]}]}
                    if is_chat
                    else {"top_logprobs": [table]}
                )
            choices.append(choice)
        source = json.dumps(body["messages"]) if is_chat else body["prompt"]
        n_prompt = len(source.split()) + 1
        self.prompt_tokens += n_prompt
        self.completion_tokens += n_completion
        return {
            "object": "chat.completion" if is_chat else "text_completion",
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": n_prompt,
                "completion_tokens": n_completion,
                "total_tokens": n_prompt + n_completion,
            },
        }

    def _write(self, mark: str, name: str, number: int) -> None:
        if self._log:
            self._log.write(f"{mark} {name} {number}\n")


def main() -> None:
    """Serve from a process of its own until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, nargs=2, default=(0.0, 0.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=RATE")
    options = parser.parse_args()
    faults = {kind: float(rate) for kind, rate in (item.rsplit("=", 1) for item in options.fault)}
    server = LocalServer(
        latency_seconds=tuple(options.latency), seed=options.seed, faults=faults, log=options.log
    )
    asyncio.run(server.serve(options.port_file, options.port))


if __name__ == "__main__":
    main()
