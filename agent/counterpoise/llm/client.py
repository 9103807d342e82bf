"""The one way to a model: cache, budget, gate, retry, parse and check, settle, cache."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from itertools import count, islice
from time import monotonic
from types import TracebackType
from typing import Self

from tenacity.wait import wait_random_exponential

from counterpoise.core.errors import EngineDiedError, ReplyError, ServerError
from counterpoise.core.events import Event, Listener, ignore
from counterpoise.llm.budget import BudgetSpent, TokenBudget
from counterpoise.llm.chat import ChatRequest, Completion, Engine
from counterpoise.llm.manners import Manner, give_more_room, is_unfinished
from counterpoise.llm.quarantine import Quarantine
from counterpoise.llm.replies import read_text
from counterpoise.llm.reply_store import MOST_TOKENS, Payment, ReplyStore, make_keys, pack_reply, unpack_reply
from counterpoise.llm.retries import LOADING_FACTOR, LONGEST_ABSENCE_WAIT_SECONDS, Endurance, make_retrying
from counterpoise.llm.routing import Lane, Lanes
from counterpoise.llm.structured import make_repair, parse_reply

Asked = asyncio.Future[Completion]
CANCEL_AGAIN_SECONDS = 1.0


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


class _AbandonedError(Exception):
    """The caller that was asking was cancelled; one that waited for its reply has to ask itself."""


class ChatClient:
    """Asks models, so that nothing is lost and nothing is paid twice.

    A reply is given to the caller, and its permit freed, only after it is durable in the store: `kill -9`
    loses at most what is in flight. Equal requests that are in flight at the same time are asked once.
    Waiting before another attempt holds no permit. Each engine has a gate of its own, which follows what its server
    can take (`counterpoise.llm.concurrency`); an engine that is gone is left alone while others answer. A request that
    was under way at the deaths of two engines is not sent again (`counterpoise.llm.quarantine`).

    Args:
        engines: an engine, or several that serve the same model and share the work.
        store: where replies are kept; None keeps none.
        budget: what may be spent; None for no limit.
        concurrency: requests in flight, for each engine, at first; the gate takes it back where that is too much.
        most_concurrency: requests in flight at most, for each engine; None for no more than at first.
        attempts: how often a request is sent at most.
        first_wait_seconds: scale of the wait before the second attempt; it doubles with each further one.
        longest_wait_seconds: no wait is longer, unless a server asks for it.
        absence_seconds: how long a server that is not there, being started again perhaps, is waited for. Looking
            for it counts as no attempt.
        run_id: the run that replies are paid for by; what it has paid before and which requests it has quarantined
            is read from the store. "" for none.
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
        most_concurrency: int | None = None,
        attempts: int = 6,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float = 30.0,
        absence_seconds: float = 60.0,
        run_id: str = "",
        listener: Listener = ignore,
    ) -> None:
        if concurrency < 1 or attempts < 1:
            raise ValueError(f"concurrency={concurrency}, attempts={attempts}: both count from 1")
        self.budget = budget or TokenBudget()
        self.concurrency = concurrency
        group = list(engines) if isinstance(engines, Sequence) else [engines]
        if not group:
            raise ValueError("no engine")
        self._lanes = Lanes.open(group, concurrency, most_concurrency or concurrency)
        self._store = store
        self._run_id = run_id
        self._quarantine = Quarantine(store, run_id)
        if store is not None and run_id:
            self.budget.begin(store.read_payments(run_id))
        self._listener = listener
        self.manner = Manner()
        self.is_met = False
        self._told: set[str] = set()
        self._asked: dict[bytes, Asked] = {}
        self._counted: set[bytes] = set()
        self._used: list[tuple[bytes, str]] = []
        self._n_resting = 0
        self._wakers: set[asyncio.Event] = set()
        self._n_missing = 0
        self._opened = AsyncExitStack()
        self._attempts = attempts
        self._absence_seconds = absence_seconds
        self._backoff = wait_random_exponential(multiplier=first_wait_seconds, max=longest_wait_seconds)

    async def __aenter__(self) -> Self:
        """Enter the engines that are async context managers; they find their model now.

        Where one of several cannot be reached the others share the work.

        Raises:
            ServerError: no engine can be reached, or the engines serve different models.
        """
        await self._opened.__aenter__()
        try:
            reached = [lane for lane in self._lanes.lanes if await self._reach(lane, len(self._lanes.lanes))]
            self._lanes.lanes = reached
            self._check_names()
        except BaseException:
            await self._opened.aclose()
            raise
        self._lanes.watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the engines."""
        await self._lanes.stop_watching()
        await self._opened.__aexit__(kind, error, trace)

    async def _reach(self, lane: Lane, n_lanes: int) -> bool:
        """Enter an engine; whether it is there. The only one, and the last hope of several, has to be."""
        if not isinstance(lane.engine, AbstractAsyncContextManager):
            return True
        until = monotonic() + LOADING_FACTOR * self._absence_seconds
        for turn in count():
            try:
                await self._opened.enter_async_context(lane.engine)
            except ServerError as error:
                if error.is_loading and monotonic() < until:
                    if not turn:
                        self._warn(error, "connect")
                    await asyncio.sleep(min(0.25 * 2 ** min(turn, 10), LONGEST_ABSENCE_WAIT_SECONDS))
                    continue
                self._n_missing += 1
                if not error.retryable or self._n_missing == n_lanes:
                    raise
                self._warn(error, "connect")
                return False
            break
        return True

    def _check_names(self) -> None:
        names = sorted({lane.engine.name for lane in self._lanes.lanes})
        if len(names) > 1:
            raise ServerError(
                f"the servers serve different models: {', '.join(names)}", hint="give one model"
            )

    @property
    def store(self) -> ReplyStore | None:
        """Where replies are kept."""
        return self._store

    @property
    def n_places(self) -> int:
        """Requests that may be under way at once, as the gates have it now."""
        return self._lanes.n_places

    @property
    def prefix_hit_ratio(self) -> float | None:
        """Share of prompt tokens that servers have read from their prefix caches; None where none says so."""
        return self._lanes.prefix_hit_ratio()

    def take_used(self) -> list[tuple[bytes, str]]:
        """Key and purpose of every reply used since the last call, stored or asked."""
        used, self._used = self._used, []
        return used

    @property
    def name(self) -> str:
        """Identity of the model, as the server reports it."""
        return self._lanes.lanes[0].engine.name

    def estimate(self, request: ChatRequest) -> int:
        """Tokens that a request may cost at most, asked in the manner that the model was found to need."""
        adapted = self.manner.adapt(request)
        if request.n > 1 and not self.manner.multiple:
            return request.n * self.budget.estimate(replace(adapted, n=1))
        return self.budget.estimate(adapted)

    async def generate(self, request: ChatRequest, *, as_it_is: bool = False) -> list[Completion]:
        """The `n` completions of a request, in order.

        Where a server gives fewer completions than it was asked for, those are kept and the others asked one by one;
        one that cannot be had then says why in `problem`. A model that was still thinking when its tokens were used up
        is asked again with more room.

        Args:
            request: what to ask.
            as_it_is: ask just this, whatever is known of the model, and never again with more room.

        Raises:
            BudgetSpent: its estimate does not fit into the budget any more.
            ServerError: no attempt succeeded, the server refuses, or there was none for `absence_seconds`.
            ReplyError: none of the completions keeps to the schema after one repair each. Where some do, the
                others say why not in `problem`.
            StorageError: the reply store cannot be written.
        """
        request = request if as_it_is else self.manner.adapt(request)
        keys = make_keys(self.name, request)
        found = self._store.get_usable(keys) if self._store is not None else {}
        return await self._answer(request, keys, found, may_lengthen=not as_it_is)

    async def generate_many(self, requests: Iterable[ChatRequest]) -> AsyncGenerator[Outcome, None]:
        """Outcomes as they arrive, in any order, with as many requests under way as there are permits.

        Requests are drawn from the iterable as places become free, and looked up in the store in batches. A
        request that fails ends as an `Outcome` with its error; the others go on. `StorageError` ends
        everything.
        """
        numbered = enumerate(requests)
        running: set[asyncio.Task[Outcome]] = set()
        finished: deque[asyncio.Task[Outcome]] = deque()
        is_finished = asyncio.Event()

        def note_end(task: asyncio.Task[Outcome]) -> None:
            running.discard(task)
            finished.append(task)
            is_finished.set()

        is_drawn = False
        self._wakers.add(is_finished)
        try:
            while not is_drawn or running or finished:
                size = self._lanes.n_places
                # Requests that wait before another attempt hold no place, or a burst of faults would starve servers.
                n_busy = len(running) - min(self._n_resting, 3 * size)
                if not is_drawn and n_busy < size:
                    chunk = list(islice(numbered, max(size - n_busy, size // 4, 1)))
                    is_drawn = not chunk
                    for item in self._replay_or_start(chunk):
                        if isinstance(item, Outcome):
                            yield item
                        else:
                            running.add(item)
                            item.add_done_callback(note_end)
                    await asyncio.sleep(0)  # a long replay must not starve the rest of the program
                elif not finished:
                    is_finished.clear()
                    await is_finished.wait()
                while finished:
                    yield finished.popleft().result()
        finally:
            self._wakers.discard(is_finished)
            for task in finished:
                if not task.cancelled():
                    task.exception()  # looked at, or it is reported as forgotten
            await _end_all(running)

    def _replay_or_start(
        self, chunk: list[tuple[int, ChatRequest]]
    ) -> Iterator[Outcome | asyncio.Task[Outcome]]:
        """Outcomes of the requests whose replies are stored; tasks for the others."""
        adapted = [self.manner.adapt(request) for _, request in chunk]
        keys = [make_keys(self.name, request) for request in adapted]
        found = (
            self._store.get_usable([key for group in keys for key in group])
            if self._store is not None
            else {}
        )
        for (index, given), request, group in zip(chunk, adapted, keys, strict=True):
            if all(key in found for key in group):
                try:
                    completions = self._replay(request, group, found)
                except BudgetSpent as spent:
                    yield Outcome(index, given, error=spent)
                    continue
                if not any(one.problem or is_unfinished(one, request) for one in completions):
                    yield Outcome(index, given, completions)
                    continue
            own = {key: found[key] for key in group if key in found}
            yield asyncio.create_task(self._conclude(index, given, request, group, own))

    async def _conclude(
        self,
        index: int,
        given: ChatRequest,
        request: ChatRequest,
        keys: list[bytes],
        found: dict[bytes, bytes],
    ) -> Outcome:
        try:
            return Outcome(index, given, await self._answer(request, keys, found))
        except (BudgetSpent, ServerError, ReplyError) as error:
            return Outcome(index, given, error=error)

    async def _answer(
        self,
        request: ChatRequest,
        keys: list[bytes],
        found: dict[bytes, bytes],
        *,
        may_lengthen: bool = True,
    ) -> list[Completion]:
        if all(key in found for key in keys):
            completions = self._replay(request, keys, found)
        else:
            completions = await self._gather(request, keys, found)
        if may_lengthen and any(is_unfinished(completion, request) for completion in completions):
            completions = await self._lengthen(request, completions)
        if request.schema is not None and any(completion.problem for completion in completions):
            return await self._repair(request, completions)
        return completions

    def _replay(self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]) -> list[Completion]:
        """Completions from the store: reserved and counted as if they were asked, but not as paid."""
        completions = [_check(request, unpack_reply(found[key])) for key in keys]
        if not self._counted.issuperset(keys):
            reserved = self.budget.reserve(self.budget.estimate(request), replay=True)
            self._settle(request, keys, completions, reserved, paid=False)
        return completions

    async def _gather(
        self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]
    ) -> list[Completion]:
        """Ask for what is neither stored nor being asked; wait for what others are asking."""
        if late := [key for key in keys if key not in found and key in self._counted]:
            # Answered since the store was looked at, which is a whole batch ago where the caller was busy.
            found = found | (self._store.get_usable(late) if self._store is not None else {})
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
                found = self._store.get_usable(keys) if self._store is not None else {}
                continue
            if found:
                self._replay(replace(request, n=len(found)), list(found), found)
            return [fresh[key] if key in fresh else _check(request, unpack_reply(found[key])) for key in keys]

    async def _own(self, request: ChatRequest, keys: list[bytes]) -> list[Completion]:
        """Ask for all keys: in one request where the server is known to answer that whole, else one by one."""
        if request.n == 1 or self.manner.multiple:
            completions = await self._own_together(request, keys)
            if len(completions) == request.n:
                return completions
            self.manner = replace(self.manner, multiple=False)
        else:
            completions = []
        first = len(completions)
        others = await asyncio.gather(
            *(
                self._gather(replace(request, n=1, sample=request.sample + place), [keys[place]], {})
                for place in range(first, request.n)
            ),
            return_exceptions=True,
        )
        errors = [one for one in others if isinstance(one, BaseException)]
        for error in errors:
            # What was answered is kept, unless nothing was, or all has to end.
            if len(errors) == request.n or not isinstance(error, BudgetSpent | ServerError | ReplyError):
                raise error
        for one in others:
            completions += [Completion("", problem=str(one))] if isinstance(one, BaseException) else one
        return completions

    async def _own_together(self, request: ChatRequest, keys: list[bytes]) -> list[Completion]:
        """Ask in one request, and let others wait for the same keys meanwhile; the server may give fewer."""
        self._quarantine.refuse(keys)
        reserved = self.budget.reserve(self.budget.estimate(request))
        loop = asyncio.get_running_loop()
        futures: list[Asked] = [loop.create_future() for _ in keys]
        self._asked.update(zip(keys, futures, strict=True))
        try:
            completions = await self._ask(request, keys, reserved)
        except BaseException as error:
            self.budget.settle(reserved, [])
            _give_up(futures, error if isinstance(error, Exception) else _AbandonedError())
            raise
        else:
            for future, completion in zip(futures, completions, strict=False):
                future.set_result(completion)
            _give_up(futures[len(completions) :], _AbandonedError())
            return completions
        finally:
            for key in keys:
                del self._asked[key]

    async def _ask(self, request: ChatRequest, keys: list[bytes], reserved: int) -> list[Completion]:
        """Send a request until it succeeds or has failed for good; each permit is held until durable."""
        failed: Lane | None = None
        endurance = Endurance(self._attempts, self._absence_seconds)
        async for attempt in make_retrying(endurance, self._backoff, self._rest):
            with attempt:
                if failed is not None:
                    self.budget.check_room()
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
            async with asyncio.timeout(self.budget.seconds_left):
                await waiting
        except TimeoutError:
            self.budget.check_time()
            raise

    async def _try_once(
        self, lane: Lane, request: ChatRequest, keys: list[bytes], reserved: int
    ) -> list[Completion]:
        """Send a request that has its permit, and let its lane learn from what comes of it."""
        sent_at = monotonic()
        try:
            await self._wait_in_time(lane.wait_until_ready())
            self.budget.check_time()
            sent_at = monotonic()
            return await self._send(lane, request, keys, reserved)
        except ServerError as error:
            lane.note_failure(error, sent_at)
            self._count_failure(request, error)
            if isinstance(error, EngineDiedError) and error.retryable:
                await self._quarantine.note_death(keys, error.message)
            raise

    async def _rest(self, seconds: float) -> None:
        """Wait before another attempt."""
        self._n_resting += 1
        for waker in self._wakers:
            waker.set()  # its place is free
        left = self.budget.seconds_left
        try:
            await asyncio.sleep(seconds if left is None else min(seconds, left))
        finally:
            self._n_resting -= 1

    async def _send(
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
        if self._store is not None:
            packed = [pack_reply(completion) for completion in completions]
            payment = None
            if self._run_id:
                tokens = min(sum(completion.usage.total for completion in completions), MOST_TOKENS)
                payment = Payment(self._run_id, request.purpose, tokens)
            stored = await self._store.put(dict(zip(keys, packed, strict=True)), payment)
            for position, key in enumerate(keys):
                if stored[key] != packed[position]:
                    # Another process stored this reply first; a later resume will read that one, if it is whole.
                    with contextlib.suppress(ValueError):
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
        second = await self._ask_once(make_repair(request, sample, completion.text, completion.problem))
        usage = completion.usage + second.usage
        return replace(second, usage=usage, cached=completion.cached and second.cached)

    async def _ask_once(self, request: ChatRequest) -> Completion:
        """One completion that belongs to another request, stored and counted like any other."""
        keys = make_keys(self.name, request)
        found = self._store.get_usable(keys) if self._store is not None else {}
        if found:
            return self._replay(request, keys, found)[0]
        return (await self._gather(request, keys, found))[0]

    async def _lengthen(self, request: ChatRequest, completions: list[Completion]) -> list[Completion]:
        """Ask again, with more room, for each completion that ended inside thoughts."""
        return list(
            await asyncio.gather(
                *(
                    self._lengthen_one(request, request.sample + position, completion)
                    for position, completion in enumerate(completions)
                )
            )
        )

    async def _lengthen_one(self, request: ChatRequest, sample: int, completion: Completion) -> Completion:
        for longer in give_more_room(request, sample):
            if not is_unfinished(completion, request):
                break
            try:
                second = await self._ask_once(longer)
            except (BudgetSpent, ServerError) as error:
                if isinstance(error, ServerError) and error.retryable:
                    raise
                break  # it does not pay for more, or the server has no room for it
            usage = completion.usage + second.usage
            completion = replace(second, usage=usage, cached=completion.cached and second.cached)
        return completion

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
                self._used.append((key, request.purpose))
                usages.append(completion.usage)
        self.budget.settle(reserved, usages, request.purpose, paid=paid)

    def _count_failure(self, request: ChatRequest, error: ServerError) -> None:
        if error.maybe_paid:
            tokens = self.budget.estimate(request)
            self.budget.lose(tokens, request.purpose)
            if self._store is not None and self._run_id:
                self._store.note_payment(Payment(self._run_id, request.purpose, tokens))
        self._warn(error, request.purpose)

    def _warn(self, error: ServerError, purpose: str) -> None:
        if not error.retryable and (purpose == "probe" or str(error) in self._told):
            return  # a probe is there to be refused; what repeats is told once
        self._told.add(str(error))
        self._listener(
            Event("warning", {"message": str(error), "retryable": error.retryable, "purpose": purpose})
        )


def _check(request: ChatRequest, completion: Completion) -> Completion:
    """The completion without thoughts, with its parsed value or its problem.

    Thoughts are taken off whoever made the completion: an engine of the user's, or a store of earlier days.
    """
    answer, thoughts, reason = read_text(
        completion.text, request, is_cut=completion.finish_reason == "length"
    )
    if answer != completion.text:
        share = 1 - len(answer) / max(1, len(completion.text))
        tokens = max(1, round(share * completion.usage.completion_tokens)) if thoughts else 0
        completion = replace(
            completion, text=answer, finish_reason=reason, thought_tokens=completion.thought_tokens or tokens
        )
    if request.choices and completion.logprobs is None:
        return replace(completion, problem=f"it chose {answer[:40]!r}, which is none of the letters")
    if request.schema is None:
        return completion
    parsed, problem = parse_reply(completion.text, request.schema)
    if problem and completion.finish_reason == "length":
        problem += f" (cut off after {completion.usage.completion_tokens} tokens)"
    return replace(completion, parsed=parsed, problem=problem)


def _give_up(futures: Sequence[Asked], reason: Exception) -> None:
    for future in futures:
        future.set_exception(reason)
        future.exception()  # nobody may be waiting, and then it must not be reported as forgotten


async def _end_all(tasks: set[asyncio.Task[Outcome]]) -> None:
    """Cancel tasks until they have ended: one that turns a cancellation into another attempt is cancelled again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, or it is reported as forgotten
