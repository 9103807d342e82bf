"""The sending of one request: a lane with a permit, attempts until it is answered, the reply durable before its use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic

from counterpoise.core.errors import EngineDiedError, ServerError
from counterpoise.core.event_kinds import Warned
from counterpoise.core.events import tell_event
from counterpoise.llm.accounts import Accounts
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.quarantine import Quarantine
from counterpoise.llm.replies import check_completion
from counterpoise.llm.retries import RetryPolicy, make_retrying
from counterpoise.llm.routing import Lane, Lanes


class Sender:
    """Sends requests over lanes. Waiting before another attempt holds no permit.

    Args:
        lanes: the engines, each behind its gate.
        accounts: where replies are kept and counted.
        quarantine: which requests are suspected of killing engines.
        retries: how often a request is sent, and how long is waited.
    """

    def __init__(
        self,
        lanes: Lanes,
        accounts: Accounts,
        quarantine: Quarantine,
        retries: RetryPolicy,
    ) -> None:
        self.n_resting = 0
        self.wakers: set[asyncio.Event] = set()
        self._lanes = lanes
        self._accounts = accounts
        self._budget = accounts.budget
        self._quarantine = quarantine
        self._retries = retries
        self._told: set[str] = set()

    async def send(self, request: ChatRequest, keys: list[bytes], reserved: int) -> list[Completion]:
        """Send a request until it succeeds or has failed for good; each permit is held until durable."""
        failed: Lane | None = None
        async for attempt in make_retrying(self._retries, self._rest):
            with attempt:
                if failed is not None:
                    self._budget.check_room()
                failed = lane = self._lanes.choose(failed)
                lane.n_assigned += 1
                try:
                    await self._wait_in_time(lane.gate.enter(alone=self._quarantine.is_suspect(keys)))
                    try:
                        return await self._try_once(lane, request, keys, reserved)
                    finally:
                        lane.gate.leave()
                finally:
                    lane.n_assigned -= 1
        raise AssertionError("tenacity ends with a result or an exception")

    async def _wait_in_time(self, waiting: Awaitable[None]) -> None:
        """Wait for what comes before a request is sent, but not longer than there is time.

        Raises:
            BudgetSpent: the time is up first.
        """
        try:
            async with asyncio.timeout(self._budget.seconds_left):
                await waiting
        except TimeoutError:
            self._budget.check_time()
            raise

    async def _try_once(
        self, lane: Lane, request: ChatRequest, keys: list[bytes], reserved: int
    ) -> list[Completion]:
        """Send a request that has its permit, and let its lane learn from what comes of it."""
        sent_at = monotonic()
        try:
            await self._wait_in_time(lane.wait_until_ready())
            self._budget.check_time()
            sent_at = monotonic()
            return await self._send_once(lane, request, keys, reserved)
        except ServerError as error:
            lane.note_failure(error, sent_at)
            self._count_failure(request, error)
            if isinstance(error, EngineDiedError) and error.retryable:
                await self._quarantine.note_death(keys, error.message)
            raise

    async def _send_once(
        self, lane: Lane, request: ChatRequest, keys: list[bytes], reserved: int
    ) -> list[Completion]:
        sent_at = monotonic()
        completions = (await lane.engine.generate(request))[: request.n]
        if not completions:
            raise ServerError(
                f"0 completions instead of {request.n}", where=lane.engine.name, maybe_paid=True
            )
        keys = keys[: len(completions)]
        lane.note_reply(request, sent_at)
        completions = await self._accounts.keep(request, keys, completions)
        checked = [check_completion(request, completion) for completion in completions]
        self._accounts.settle(request, keys, checked, reserved, paid=True)
        return checked

    async def _rest(self, seconds: float) -> None:
        """Wait before another attempt."""
        self.n_resting += 1
        for waker in self.wakers:
            waker.set()  # its place is free
        left = self._budget.seconds_left
        try:
            await asyncio.sleep(seconds if left is None else min(seconds, left))
        finally:
            self.n_resting -= 1

    def _count_failure(self, request: ChatRequest, error: ServerError) -> None:
        if error.maybe_paid:
            self._accounts.lose(request)
        self.warn(error, request.purpose)

    def warn(self, error: ServerError, purpose: str) -> None:
        """Tell the listener of an attempt that failed."""
        if not error.retryable and (purpose == "probe" or str(error) in self._told):
            return  # a probe is there to be refused; what repeats is told once
        self._told.add(str(error))
        tell_event(Warned(str(error), error.retryable, purpose))
