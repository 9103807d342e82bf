"""The one way to a model: cache, budget, gate, retry, parse and check, settle, cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType
from typing import Self

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from counterpoise.errors import ReplyError, ServerError
from counterpoise.events import Event, Listener, ignore
from counterpoise.llm.budget import BudgetSpent, TokenBudget
from counterpoise.llm.cache import ReplyStore, make_keys, pack_reply, unpack_reply
from counterpoise.llm.chat import ChatRequest, Completion, Engine, Usage
from counterpoise.llm.structured import make_repair, parse_reply

Asked = asyncio.Future[Completion]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request of `ChatClient.generate_many` ended.

    Args:
        index: place of the request among those handed in, from 0.
        request: the request.
        completions: `request.n` completions, none where it failed.
        error: why it failed: `BudgetSpent`, `ServerError` after the last attempt, or `ReplyError`.
    """

    index: int
    request: ChatRequest
    completions: Sequence[Completion] = ()
    error: BudgetSpent | ServerError | ReplyError | None = None


@dataclass(slots=True)
class _Lane:
    """One engine and the permits for it."""

    engine: Engine
    permits: asyncio.Semaphore
    n_in_use: int = 0


class _AbandonedError(Exception):
    """The caller that was asking was cancelled; one that waited for its reply has to ask itself."""


class ChatClient:
    """Asks models, so that nothing is lost and nothing is paid twice.

    A reply is given to the caller, and its permit freed, only after it is durable in the store: `kill -9`
    loses at most what is in flight. Equal requests that are in flight at the same time are asked once.
    Waiting before another attempt holds no permit.

    Args:
        engines: an engine, or several that serve the same model and share the work.
        store: where replies are kept; None keeps none.
        budget: what may be spent; None for no limit.
        concurrency: requests in flight at most, for each engine.
        attempts: how often a request is sent at most.
        first_wait_seconds: scale of the wait before the second attempt; it doubles with each further one.
        longest_wait_seconds: no wait is longer, unless a server asks for it.
        listener: told of attempts that failed (event `warning`).

    Example:
        >>> import asyncio
        >>> from counterpoise.llm import ChatClient, ChatRequest, Message, ScriptedChatClient
        >>> chat = ChatClient(ScriptedChatClient(lambda request, index: "four"))
        >>> reply = asyncio.run(chat.generate(ChatRequest((Message("user", "2 + 2?"),))))
        >>> reply[0].text
        'four'
    """

    def __init__(
        self,
        engines: Engine | Sequence[Engine],
        store: ReplyStore | None = None,
        budget: TokenBudget | None = None,
        *,
        concurrency: int = 64,
        attempts: int = 6,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 30.0,
        listener: Listener = ignore,
    ) -> None:
        if concurrency < 1 or attempts < 1:
            raise ValueError(f"concurrency={concurrency}, attempts={attempts}: both count from 1")
        self.budget = budget or TokenBudget()
        self.concurrency = concurrency
        group = list(engines) if isinstance(engines, Sequence) else [engines]
        if not group:
            raise ValueError("no engine")
        self._lanes = [_Lane(engine, asyncio.Semaphore(concurrency)) for engine in group]
        self._store = store
        self._listener = listener
        self._asked: dict[bytes, Asked] = {}
        self._counted: set[bytes] = set()
        self._opened = AsyncExitStack()
        self._attempts = attempts
        self._backoff = wait_random_exponential(multiplier=first_wait_seconds, max=longest_wait_seconds)

    async def __aenter__(self) -> Self:
        """Enter the engines that are async context managers; they find their model now.

        Raises:
            ServerError: an engine cannot be reached, or the engines serve different models.
        """
        await self._opened.__aenter__()
        try:
            for lane in self._lanes:
                if isinstance(lane.engine, AbstractAsyncContextManager):
                    await self._opened.enter_async_context(lane.engine)
            self._check_names()
        except BaseException:
            await self._opened.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the engines."""
        await self._opened.__aexit__(kind, error, trace)

    def _check_names(self) -> None:
        names = sorted({lane.engine.name for lane in self._lanes})
        if len(names) > 1:
            raise ServerError(
                f"the servers serve different models: {', '.join(names)}", hint="give one model"
            )

    @property
    def name(self) -> str:
        """Identity of the model, as the server reports it."""
        return self._lanes[0].engine.name

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """The `n` completions of a request, in order.

        Raises:
            BudgetSpent: its estimate does not fit into the budget any more.
            ServerError: no attempt succeeded, or the server refuses.
            ReplyError: none of the completions keeps to the schema after one repair each. Where some do, the
                others say why not in `problem`.
            StorageError: the reply store cannot be written.
        """
        keys = make_keys(self.name, request)
        found = self._store.get_many(keys) if self._store is not None else {}
        return await self._answer(request, keys, found)

    async def generate_many(self, requests: Iterable[ChatRequest]) -> AsyncGenerator[Outcome, None]:
        """Outcomes as they arrive, in any order, with as many requests under way as there are permits.

        Requests are drawn from the iterable as places become free, and looked up in the store in batches. A
        request that fails ends as an `Outcome` with its error; the others go on. `StorageError` ends
        everything.
        """
        size = self.concurrency * len(self._lanes)
        numbered = enumerate(requests)
        running: set[asyncio.Task[Outcome]] = set()
        try:
            while chunk := list(islice(numbered, max(size - len(running), size // 4, 1))):
                for outcome in self._replay_or_start(chunk, running):
                    yield outcome
                await asyncio.sleep(0)  # a long replay must not starve the rest of the program
                while len(running) >= size:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _replay_or_start(
        self, chunk: list[tuple[int, ChatRequest]], running: set[asyncio.Task[Outcome]]
    ) -> Iterator[Outcome]:
        """Outcomes of the requests whose replies are stored; tasks for the others."""
        keys = [make_keys(self.name, request) for _, request in chunk]
        found = (
            self._store.get_many([key for group in keys for key in group]) if self._store is not None else {}
        )
        for (index, request), group in zip(chunk, keys, strict=True):
            if all(key in found for key in group):
                try:
                    completions = self._replay(request, group, found)
                except BudgetSpent as spent:
                    yield Outcome(index, request, error=spent)
                    continue
                if not any(completion.problem for completion in completions):
                    yield Outcome(index, request, completions)
                    continue
            own = {key: found[key] for key in group if key in found}
            running.add(asyncio.create_task(self._conclude(index, request, group, own)))

    async def _conclude(
        self, index: int, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]
    ) -> Outcome:
        try:
            return Outcome(index, request, await self._answer(request, keys, found))
        except (BudgetSpent, ServerError, ReplyError) as error:
            return Outcome(index, request, error=error)

    async def _answer(
        self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]
    ) -> list[Completion]:
        if all(key in found for key in keys):
            completions = self._replay(request, keys, found)
        else:
            completions = await self._gather(request, keys, found)
        if any(completion.problem for completion in completions):
            return await self._repair(request, completions)
        return completions

    def _replay(self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]) -> list[Completion]:
        """Completions from the store: reserved and counted as if they were asked, but not as paid."""
        completions = [_check(request, unpack_reply(found[key])) for key in keys]
        if not self._counted.issuperset(keys):
            reserved = self.budget.reserve(self.budget.estimate(request))
            self._settle(request, keys, completions, reserved, paid=False)
        return completions

    async def _gather(
        self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]
    ) -> list[Completion]:
        """Ask for what is neither stored nor being asked; wait for what others are asking."""
        while True:
            waiting = {key: self._asked[key] for key in keys if key not in found and key in self._asked}
            missing = [key for key in keys if key not in found and key not in waiting]
            fresh: dict[bytes, Completion] = {}
            if missing:
                part = request
                if len(missing) < request.n:
                    part = replace(request, n=len(missing), sample=request.sample + keys.index(missing[0]))
                fresh = dict(zip(missing, await self._own(part, missing), strict=True))
            try:
                for key, asked in waiting.items():
                    fresh[key] = await asyncio.shield(asked)
            except _AbandonedError:
                found = self._store.get_many(keys) if self._store is not None else {}
                continue
            if found:
                self._replay(replace(request, n=len(found)), list(found), found)
            return [fresh[key] if key in fresh else _check(request, unpack_reply(found[key])) for key in keys]

    async def _own(self, request: ChatRequest, keys: list[bytes]) -> list[Completion]:
        """Ask, and let others wait for the same keys meanwhile."""
        reserved = self.budget.reserve(self.budget.estimate(request))
        loop = asyncio.get_running_loop()
        futures: list[Asked] = [loop.create_future() for _ in keys]
        self._asked.update(zip(keys, futures, strict=True))
        try:
            completions = await self._ask(request, keys, reserved)
        except BaseException as error:
            self.budget.settle(reserved, [])
            reason = error if isinstance(error, Exception) else _AbandonedError()
            for future in futures:
                future.set_exception(reason)
                future.exception()  # nobody may be waiting, and then it must not be reported as forgotten
            raise
        else:
            for future, completion in zip(futures, completions, strict=True):
                future.set_result(completion)
            return completions
        finally:
            for key in keys:
                del self._asked[key]

    async def _ask(self, request: ChatRequest, keys: list[bytes], reserved: int) -> list[Completion]:
        """Send a request until it succeeds or `attempts` are spent; each permit is held until durable."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_retryable),
            stop=stop_after_attempt(self._attempts),
            wait=self._choose_wait,
            reraise=True,
        ):
            with attempt:
                lane = min(self._lanes, key=lambda lane: lane.n_in_use)
                lane.n_in_use += 1
                try:
                    async with lane.permits:
                        return await self._send(lane.engine, request, keys, reserved)
                except ServerError as error:
                    self._count_failure(request, error)
                    raise
                finally:
                    lane.n_in_use -= 1
        raise AssertionError("tenacity ends with a result or an exception")

    async def _send(
        self, engine: Engine, request: ChatRequest, keys: list[bytes], reserved: int
    ) -> list[Completion]:
        completions = await engine.generate(request)
        if len(completions) != request.n:
            raise ServerError(
                f"{len(completions)} completions instead of {request.n}", where=engine.name, maybe_paid=True
            )
        if self._store is not None:
            packed = [pack_reply(completion) for completion in completions]
            stored = await self._store.put(dict(zip(keys, packed, strict=True)))
            for position, key in enumerate(keys):
                if stored[key] != packed[position]:
                    # Another process stored this reply first; a later resume will read that one.
                    completions[position] = replace(unpack_reply(stored[key]), cached=False)
        checked = [_check(request, completion) for completion in completions]
        self._settle(request, keys, checked, reserved, paid=True)
        return checked

    async def _repair(self, request: ChatRequest, completions: list[Completion]) -> list[Completion]:
        """Ask once more for each completion that breaks the schema.

        A repair passes the same pipeline under a key of its own, so it is stored, counted and resumed like
        any other.
        """
        repaired = await asyncio.gather(
            *(
                self._repair_one(request, request.sample + position, completion)
                for position, completion in enumerate(completions)
            ),
            return_exceptions=True,
        )
        usable = [completion for completion in repaired if isinstance(completion, Completion)]
        for error in repaired:
            if isinstance(error, BaseException):
                raise error
        if all(completion.problem for completion in usable):
            raise ReplyError(usable[0].problem, where=self.name, hint=f"it was {usable[0].text[:200]!r}")
        return usable

    async def _repair_one(self, request: ChatRequest, sample: int, completion: Completion) -> Completion:
        if not completion.problem:
            return completion
        repair = make_repair(request, sample, completion.text, completion.problem)
        keys = make_keys(self.name, repair)
        found = self._store.get_many(keys) if self._store is not None else {}
        if found:
            second = self._replay(repair, keys, found)[0]
        else:
            second = (await self._gather(repair, keys, found))[0]
        usage = Usage(
            completion.usage.prompt_tokens + second.usage.prompt_tokens,
            completion.usage.completion_tokens + second.usage.completion_tokens,
        )
        return replace(second, usage=usage, cached=completion.cached and second.cached)

    def _settle(
        self,
        request: ChatRequest,
        keys: list[bytes],
        completions: list[Completion],
        reserved: int,
        *,
        paid: bool,
    ) -> None:
        """Count each key once a run, whether it was asked or read."""
        usages = []
        for key, completion in zip(keys, completions, strict=True):
            if key not in self._counted:
                self._counted.add(key)
                usages.append(completion.usage)
        self.budget.settle(reserved, usages, request.purpose, paid=paid)

    def _count_failure(self, request: ChatRequest, error: ServerError) -> None:
        if error.maybe_paid:
            self.budget.lose(self.budget.estimate(request), request.purpose)
        self._listener(
            Event(
                "warning", {"message": str(error), "retryable": error.retryable, "purpose": request.purpose}
            )
        )

    def _choose_wait(self, state: RetryCallState) -> float:
        """Exponential back-off with full jitter, and never less than the server asked for."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_seconds if isinstance(error, ServerError) else 0.0
        return max(asked, self._backoff(state))


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ServerError) and error.retryable


def _check(request: ChatRequest, completion: Completion) -> Completion:
    """The completion with its parsed value or its problem."""
    if request.schema is None:
        return completion
    parsed, problem = parse_reply(completion.text, request.schema)
    if problem and completion.finish_reason == "length":
        problem += f" (cut off after {completion.usage.completion_tokens} tokens)"
    return replace(completion, parsed=parsed, problem=problem)
