"""How many requests one server has at once: additive increase, multiplicative decrease.

Servers differ in how they say that it is too much. Hosted ones refuse (429, 503, Retry-After). vLLM never refuses:
it queues, and says how long its queue is under `/metrics`. Any other is judged by its replies: where latency grows
and throughput falls with it, there is too much under way. So the limit is

- halved by a refusal or a reply that never came, once for all requests that were under way then, and nothing is sent
  before the time the server asked for;
- taken back by a tenth while the server's own queue is long, and by a quarter where throughput collapses;
- raised step by step while replies come, up to where it began, and further (where the user set no number) only while
  the server has no queue or throughput still rises.

After: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance" (1989).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic

from counterpoise.llm.servers.load import ServerLoad

N_STEPS = 16
"""Additive steps from nothing to where the limit began."""

SPARE_QUEUE_RATIO = 0.25
"""A server's queue may be so long, as a share of what it works on: it never waits for us."""

FULL_MEMORY_RATIO = 0.95
"""Above this share of its key-value memory a server with a queue begins to throw work away."""

FEWEST_REPLIES = 32
"""Replies from which a throughput is taken, at least."""


@dataclass(slots=True)
class _Window:
    """Replies of one kind since a moment, and the best throughput seen of that kind."""

    began: float
    n: int = 0
    log_seconds: float = 0.0
    best_rate: float = 0.0
    best_seconds: float = math.inf
    n_bad: int = 0


class Gate:
    """Permits for one server.

    Waiting requests are let through in the order in which they came. One that asks to be alone goes before all
    others, waits until nothing is under way, and keeps the gate closed until it leaves.

    Args:
        start: permits at first.
        most: permits at most; above `start` only where that pays.
        clock: seconds that never go back.
    """

    def __init__(self, start: int, most: int | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.limit = start
        self.n_in_use = 0
        self._start = start
        self._most = max(start, most or start)
        self._step = max(1, start // N_STEPS)
        self._clock = clock
        self._queue: deque[asyncio.Future[None]] = deque()
        self._loners: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self._paused_until = 0.0
        self._cut_at = -math.inf
        self._n_good = 0
        self._windows: dict[Hashable, _Window] = {}
        self._last_growth: tuple[float, float] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the limit is what holds requests back."""
        return self.n_in_use >= self.limit

    @property
    def n_waiting(self) -> int:
        """Requests that wait to be let through."""
        return len(self._queue) + len(self._loners)

    async def enter(self, *, alone: bool = False) -> None:
        """Wait for a permit; `leave` gives it back.

        Args:
            alone: nothing else may be under way at this server.
        """
        if not self._is_closed and not self._loners and not self._is_paused():
            if alone and not self.n_in_use:
                self._is_closed = True
                self.n_in_use = 1
                return
            if not alone and self.n_in_use < self.limit and not self._queue:
                self.n_in_use += 1
                return
        turn = asyncio.get_running_loop().create_future()
        (self._loners if alone else self._queue).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            else:
                turn.cancel()
                self._let_through()
            raise

    def leave(self) -> None:
        """Give a permit back."""
        self.n_in_use -= 1
        self._is_closed = False
        if self._queue or self._loners:
            self._let_through()

    def note_reply(self, kind: Hashable, seconds: float) -> None:
        """A reply came.

        Args:
            kind: replies of one kind are compared; others may take a thousand times as long.
            seconds: from sending to the reply.
        """
        self._n_good += 1
        if self.limit < self._start and self._n_good >= self.limit:
            self._set_limit(min(self._start, self.limit + self._step))
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(self._clock())
        window.n += 1
        window.log_seconds += math.log(max(seconds, 1e-6))
        if window.n >= FEWEST_REPLIES and window.n >= self.limit:
            self._close_window(window)

    def note_refusal(self, sent_at: float, wait_seconds: float = 0.0) -> None:
        """The server refused a request, or let it wait in vain.

        Args:
            sent_at: when it was sent, by the clock.
            wait_seconds: how long the server asked to be left alone.
        """
        now = self._clock()
        if wait_seconds:
            self._paused_until = max(self._paused_until, now + wait_seconds)
            asyncio.get_running_loop().call_later(wait_seconds, self._let_through)
        if sent_at >= self._cut_at:  # those sent before knew nothing of the cut
            self._cut_at = now
            self._set_limit(max(1, min(self.limit, self.n_in_use) // 2))

    def note_load(self, load: ServerLoad) -> None:
        """The server said how much it has to do."""
        spare = max(4.0, SPARE_QUEUE_RATIO * load.n_running)
        is_full = load.memory_ratio > FULL_MEMORY_RATIO and load.n_waiting > 0
        if load.n_waiting > spare or is_full:
            self._set_limit(max(self._step, 1, self.limit * 9 // 10))
        elif not load.n_waiting and load.memory_ratio < FULL_MEMORY_RATIO and self.is_busy:
            self._set_limit(min(self._most, self.limit + self._step))

    def _close_window(self, window: _Window) -> None:
        """Compare a throughput with the best of its kind."""
        now = self._clock()
        rate = window.n / max(now - window.began, 1e-6)
        seconds = math.exp(window.log_seconds / window.n)
        if rate < 0.5 * window.best_rate and seconds > 2 * window.best_seconds and self.is_busy:
            window.n_bad += 1
            if window.n_bad >= 2:
                window.n_bad = 0
                self._set_limit(max(1, self._start // N_STEPS, self.limit * 3 // 4))
        else:
            window.n_bad = 0
            self._try_more(rate)
        # What was best fades, so that a server that has become slower is not held to its past for ever.
        window.best_rate = max(rate, 0.95 * window.best_rate)
        window.best_seconds = min(seconds, 1.05 * window.best_seconds)
        window.began, window.n, window.log_seconds = now, 0, 0.0

    def _try_more(self, rate: float) -> None:
        """Above where it began, go up only while throughput does."""
        if self.limit < self._start or not self.is_busy or self._most == self._start:
            return
        if self._last_growth is None or rate > 1.03 * self._last_growth[1]:
            self._last_growth = (self.limit, rate)
            self._set_limit(min(self._most, self.limit + self._step))

    def _set_limit(self, limit: int) -> None:
        self.limit = limit
        self._n_good = 0
        self._let_through()

    def _is_paused(self) -> bool:
        return self._paused_until > 0 and self._clock() < self._paused_until

    def _let_through(self) -> None:
        if self._is_closed or self._is_paused():
            return
        while self._loners:
            if self._loners[0].done():
                self._loners.popleft()
                continue
            if not self.n_in_use:
                self._is_closed = True
                self.n_in_use = 1
                self._loners.popleft().set_result(None)
            return
        while self._queue and self.n_in_use < self.limit:
            turn = self._queue.popleft()
            if not turn.done():
                self.n_in_use += 1
                turn.set_result(None)
