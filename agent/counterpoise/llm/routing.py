"""One engine each: its gate, whether it is there at all, and which of several takes the next request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from counterpoise.core.errors import EngineDiedError, ServerError
from counterpoise.llm.chat import ChatRequest, Engine
from counterpoise.llm.concurrency import Gate
from counterpoise.llm.servers.load import ServerLoad

OVERLOADED = (429, 503)
TIMED_OUT = (408, 504)

FIRST_REST_SECONDS = 0.25
LONGEST_REST_SECONDS = 15.0

LOAD_SECONDS = 1.0
"""Between two questions for a server's load."""


@dataclass(slots=True)
class Lane:
    """An engine, its gate, and how it has been.

    Args:
        engine: the engine.
        gate: its permits.
        n_assigned: requests that wait for a permit or have one.
        n_failed: failures in a row that say the server is not there.
        rests_until: no request goes there before, where another lane takes it.
        first_load: what the server said of its load at first.
        last_load: what it said last.
    """

    engine: Engine
    gate: Gate
    n_assigned: int = 0
    n_failed: int = 0
    rests_until: float = 0.0
    first_load: ServerLoad | None = None
    last_load: ServerLoad | None = None

    def note_failure(self, error: ServerError, sent_at: float) -> None:
        """Learn from a request that failed."""
        if isinstance(error, EngineDiedError):
            return  # whoever raised it starts the server again
        is_silent = error.status == 0 and error.is_timeout
        if error.is_unreached:
            self.n_failed += 1
            rest = FIRST_REST_SECONDS * 2 ** min(self.n_failed - 1, 10)
            self.rests_until = monotonic() + min(rest, LONGEST_REST_SECONDS)
        elif error.status in OVERLOADED or error.status in TIMED_OUT or is_silent:
            self.gate.note_refusal(sent_at, error.retry_after_seconds)

    def note_reply(self, request: ChatRequest, sent_at: float) -> None:
        """Learn from a request that was answered."""
        self.n_failed = 0
        self.rests_until = 0.0
        kind = (request.purpose, request.n, request.sampling.max_tokens)
        self.gate.note_reply(kind, monotonic() - sent_at)

    async def wait_until_ready(self) -> None:
        """Wait while the server is being started again, where it is ours.

        Raises:
            EngineDiedError: it was given up.
        """
        wait: Any = getattr(self.engine, "wait_until_ready", None)
        if wait is not None:
            await wait()

    async def watch_load(self) -> None:
        """Ask for the server's load again and again, until it turns out that it does not say."""
        read_load: Any = getattr(self.engine, "read_load", None)
        while read_load is not None:
            load: ServerLoad | None = None
            with contextlib.suppress(ServerError, RuntimeError):
                load = await read_load()
                if load is None:
                    return
            if load is not None:
                self.first_load = self.first_load or load
                self.last_load = load
                self.gate.note_load(load)
            await asyncio.sleep(LOAD_SECONDS)


@dataclass(slots=True)
class Lanes:
    """Lanes that serve one model and share the work."""

    lanes: list[Lane]
    _watchers: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def open(cls, engines: Sequence[Engine], start: int, most: int) -> Lanes:
        """A lane for each engine."""
        return cls([Lane(engine, Gate(start, most)) for engine in engines])

    @property
    def n_places(self) -> int:
        """Requests that may be under way at once."""
        return sum(lane.gate.limit for lane in self.lanes)

    def choose(self, avoid: Lane | None = None) -> Lane:
        """The lane with most room, among those that do not rest after a failure.

        Args:
            avoid: where this request has just failed; another lane comes first.
        """
        if len(self.lanes) == 1:
            return self.lanes[0]
        now = monotonic()
        awake = [lane for lane in self.lanes if lane.rests_until <= now and lane.n_failed == 0]
        # One that has rested is tried with a single request before others follow.
        awake += [
            lane for lane in self.lanes if lane.n_failed and lane.rests_until <= now and not lane.n_assigned
        ]
        others = [lane for lane in awake if lane is not avoid] or awake
        if others:
            return min(others, key=lambda lane: lane.n_assigned / lane.gate.limit)
        return min(self.lanes, key=lambda lane: (lane.rests_until, lane.n_assigned))

    def watch(self) -> None:
        """Begin to ask all servers for their load."""
        self._watchers = [asyncio.create_task(lane.watch_load()) for lane in self.lanes]

    async def stop_watching(self) -> None:
        """Ask no more."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers = []

    def prefix_hit_ratio(self) -> float | None:
        """Share of prompt tokens that the servers read from their prefix caches since the start; None if unknown."""
        tokens = hits = 0.0
        for lane in self.lanes:
            if lane.last_load is None or lane.first_load is None:
                continue
            ratio = lane.last_load.prefix_hit_ratio(lane.first_load)
            if ratio is not None:
                since = lane.first_load.prefix_tokens
                n = lane.last_load.prefix_tokens
                n = n - since if since <= n else n
                tokens += n
                hits += ratio * n
        return hits / tokens if tokens else None
