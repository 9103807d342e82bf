"""A model server that costs almost nothing to ask, in a process of its own, and counts what it is asked.

It has so many slots; requests beyond wait. Each reply takes a latency from a seeded stream, fixed or log-normal.
`GET /reset` starts a measurement (`?latency=fixed|lognormal&median=0.05`), `GET /counts` ends it: requests, tokens,
share of the slots' time that was used, share of the time in which it had any work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

N_SLOTS = 256
SIGMA = 1.0
MEDIAN_SECONDS = 0.05


class CountingServer(asyncio.Protocol):
    """One connection: HTTP/1.1 with keep-alive, read by hand, as aiohttp's server costs more than the client."""

    state: State

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in the buffer."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            lower = head.lower()
            at = lower.find(b"content-length:")
            size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + size:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
            if head.startswith(b"POST"):
                self.state.take(self, body)
            else:
                self.send(self.state.answer_question(head.split(b" ", 2)[1].decode()))

    def send(self, payload: bytes) -> None:
        """Send a reply."""
        if not self._transport.is_closing():
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(payload), payload)
            )


class State:
    """What all connections share."""

    def __init__(self) -> None:
        self.reset("fixed", MEDIAN_SECONDS)

    def reset(self, latency: str, median: float) -> None:
        """Begin to count."""
        self.latency, self.median = latency, median
        self.source = random.Random(1)
        self.n = self.n_tokens = self.n_running = self.peak = 0
        self.waiting: list[tuple[CountingServer, bytes]] = []
        self.used_seconds = self.busy_seconds = 0.0
        self.first: float | None = None
        self.changed = time.monotonic()

    def _note_time(self) -> None:
        now = time.monotonic()
        self.used_seconds += self.n_running * (now - self.changed)
        self.busy_seconds += (now - self.changed) if self.n_running else 0.0
        self.changed = now

    def take(self, connection: CountingServer, body: bytes) -> None:
        """A request arrived."""
        if self.first is None:
            self.first = self.changed = time.monotonic()
        if self.n_running >= N_SLOTS:
            self.waiting.append((connection, body))
            return
        self._note_time()
        self.n_running += 1
        self.peak = max(self.peak, self.n_running)
        seconds = self.median
        if self.latency == "lognormal":
            seconds *= self.source.lognormvariate(0.0, SIGMA)
        asyncio.get_running_loop().call_later(seconds, self._finish, connection, body)

    def _finish(self, connection: CountingServer, body: bytes) -> None:
        self._note_time()
        self.n_running -= 1
        self.n += 1
        self.n_tokens += 60
        connection.send(_REPLY)
        if self.waiting:
            self.take(*self.waiting.pop(0))

    def answer_question(self, path: str) -> bytes:
        """The list of models, counts, or the start of a measurement."""
        if path.startswith("/reset"):
            options = dict(item.split("=") for item in path.partition("?")[2].split("&") if item)
            self.reset(options.get("latency", "fixed"), float(options.get("median", MEDIAN_SECONDS)))
            return b"{}"
        if path.startswith("/counts"):
            self._note_time()
            seconds = max(self.changed - (self.first or self.changed), 1e-9)
            return json.dumps(
                {
                    "requests": self.n,
                    "tokens": self.n_tokens,
                    "peak": self.peak,
                    "slots_used_ratio": self.used_seconds / (seconds * N_SLOTS),
                    "busy_ratio": self.busy_seconds / seconds,
                }
            ).encode()
        return b'{"object": "list", "data": [{"id": "counting", "object": "model"}]}'


_REPLY = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "counting",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": '{"food": "present", "why": "the soup was praised"}',
                },
            }
        ],
        "usage": {"prompt_tokens": 45, "completion_tokens": 15, "total_tokens": 60},
    }
).encode()


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Start the server in a process of its own; gives its base address, with /v1."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evals.counting_server"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, question: str) -> dict[str, Any]:
    """Ask the server itself: `reset?...` or `counts`."""
    with urlopen(f"{url.removesuffix('/v1')}/{question}", timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


async def main() -> None:
    """Serve until killed."""
    state = State()
    loop = asyncio.get_running_loop()

    def accept() -> CountingServer:
        connection = CountingServer()
        connection.state = state
        return connection

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
