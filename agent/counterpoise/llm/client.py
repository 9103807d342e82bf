"""The one way to a model: cache, budget, gate, retry, parse and check, settle, cache."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType
from typing import Self

from counterpoise.core.errors import ReplyError, ServerError
from counterpoise.llm.accounts import Accounts
from counterpoise.llm.asking import Asker
from counterpoise.llm.budget import BudgetSpent, TokenBudget
from counterpoise.llm.chat import ChatRequest, Completion, Engine
from counterpoise.llm.entering import enter_engines
from counterpoise.llm.manners import Manner, is_unfinished
from counterpoise.llm.masking import Masker
from counterpoise.llm.quarantine import Quarantine
from counterpoise.llm.reply_store import ReplyStore, make_keys
from counterpoise.llm.retries import RetryPolicy
from counterpoise.llm.routing import Lanes
from counterpoise.llm.second_asks import lengthen, repair
from counterpoise.llm.sending import Sender

CANCEL_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RequestOutcome:
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
        retries: how often a request is sent, and how long is waited; None for the default.
        run_id: the run that replies are paid for by; what it has paid before and which requests it has quarantined
            is read from the store. "" for none.
        masker: masks what is shown to the model and what it says; the store keeps what it said.

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
        retries: RetryPolicy | None = None,
        run_id: str = "",
        masker: Masker | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: it counts from 1")
        group = list(engines) if isinstance(engines, Sequence) else [engines]
        if not group:
            raise ValueError("no engine")
        self.budget = budget or TokenBudget()
        self.concurrency = concurrency
        self.is_met = False
        self._lanes = Lanes.open(group, concurrency, most_concurrency or concurrency)
        self._retries = retries or RetryPolicy()
        self._accounts = Accounts(store, self.budget, run_id)
        quarantine = Quarantine(store, run_id)
        self._sender = Sender(self._lanes, self._accounts, quarantine, self._retries)
        self._asker = Asker(self._accounts, self._sender, quarantine)
        self.masker = masker
        self._opened = AsyncExitStack()
        self._running: set[asyncio.Task[RequestOutcome]] = set()

    async def __aenter__(self) -> Self:
        """Enter the engines that are async context managers; they find their model now.

        Where one of several cannot be reached the others share the work.

        Raises:
            ServerError: no engine can be reached, or the engines serve different models.
        """
        await self._opened.__aenter__()
        try:
            await enter_engines(self._lanes, self._opened, self._retries.absence_seconds, self._sender.warn)
        except BaseException:
            await self._opened.aclose()
            raise
        self._lanes.watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the requests under way, then leave the engines.

        Whoever stops reading outcomes may leave a generator that is closed late; by then a request under way would fail
        for want of a connection, and count as a reply that was paid for and lost.
        """
        await _end_all(self._running)
        await self._lanes.stop_watching()
        await self._opened.__aexit__(kind, error, trace)

    @property
    def store(self) -> ReplyStore | None:
        """Where replies are kept."""
        return self._accounts.store

    @property
    def manner(self) -> Manner:
        """How the model wants to be asked, as far as it is known."""
        return self._asker.manner

    @manner.setter
    def manner(self, manner: Manner) -> None:
        self._asker.manner = manner

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
        return self._accounts.take_used()

    @property
    def name(self) -> str:
        """Identity of the model, as the server reports it."""
        return self._lanes.lanes[0].engine.name

    @property
    def context_tokens(self) -> int:
        """Prompt and completion together, the least that an engine says; 0 where none does."""
        windows = [int(getattr(lane.engine, "context_tokens", 0)) for lane in self._lanes.lanes]
        return min((one for one in windows if one > 0), default=0)

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
        request = self.mask(request)
        request = request if as_it_is else self.manner.adapt(request)
        keys = make_keys(self.name, request)
        found = self._accounts.find(keys)
        return self._mask_replies(await self._answer(request, keys, found, may_lengthen=not as_it_is))

    def mask(self, request: ChatRequest) -> ChatRequest:
        """The request as it is sent: without personal data, where these are masked."""
        return self.masker.mask_request(request) if self.masker else request

    def _mask_replies(self, completions: list[Completion]) -> list[Completion]:
        return [self.masker.mask_completion(one) for one in completions] if self.masker else completions

    async def generate_many(self, requests: Iterable[ChatRequest]) -> AsyncGenerator[RequestOutcome, None]:
        """Outcomes as they arrive, in any order, with as many requests under way as there are permits.

        Requests are drawn from the iterable as places become free, and looked up in the store in batches. A
        request that fails ends as an `RequestOutcome` with its error; the others go on. `StorageError` ends
        everything.
        """
        numbered = enumerate(requests)
        running: set[asyncio.Task[RequestOutcome]] = set()
        finished: deque[asyncio.Task[RequestOutcome]] = deque()
        is_finished = asyncio.Event()

        def note_end(task: asyncio.Task[RequestOutcome]) -> None:
            running.discard(task)
            self._running.discard(task)
            finished.append(task)
            is_finished.set()

        is_drawn = False
        self._sender.wakers.add(is_finished)
        try:
            while not is_drawn or running or finished:
                size = self._lanes.n_places
                # Requests that wait before another attempt hold no place, or a burst of faults would starve servers.
                n_busy = len(running) - min(self._sender.n_resting, 3 * size)
                if not is_drawn and n_busy < size:
                    chunk = list(islice(numbered, max(size - n_busy, size // 4, 1)))
                    is_drawn = not chunk
                    for item in self._replay_or_start(chunk):
                        if isinstance(item, RequestOutcome):
                            yield item
                        else:
                            running.add(item)
                            self._running.add(item)
                            item.add_done_callback(note_end)
                    await asyncio.sleep(0)  # a long replay must not starve the rest of the program
                elif not finished:
                    is_finished.clear()
                    await is_finished.wait()
                while finished:
                    yield finished.popleft().result()
        finally:
            self._sender.wakers.discard(is_finished)
            for task in finished:
                if not task.cancelled():
                    task.exception()  # looked at, or it is reported as forgotten
            await _end_all(running)

    def _replay_or_start(
        self, chunk: list[tuple[int, ChatRequest]]
    ) -> Iterator[RequestOutcome | asyncio.Task[RequestOutcome]]:
        """Outcomes of the requests whose replies are stored; tasks for the others."""
        adapted = [self.manner.adapt(self.mask(request)) for _, request in chunk]
        keys = [make_keys(self.name, request) for request in adapted]
        found = self._accounts.find([key for group in keys for key in group])
        for (index, given), request, group in zip(chunk, adapted, keys, strict=True):
            if all(key in found for key in group):
                try:
                    completions = self._accounts.replay(request, group, found)
                except BudgetSpent as spent:
                    yield RequestOutcome(index, given, error=spent)
                    continue
                if not any(one.problem or is_unfinished(one, request) for one in completions):
                    yield RequestOutcome(index, given, self._mask_replies(completions))
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
    ) -> RequestOutcome:
        try:
            completions = await self._answer(request, keys, found)
            return RequestOutcome(index, given, self._mask_replies(completions))
        except (BudgetSpent, ServerError, ReplyError) as error:
            return RequestOutcome(index, given, error=error)

    async def _answer(
        self,
        request: ChatRequest,
        keys: list[bytes],
        found: dict[bytes, bytes],
        *,
        may_lengthen: bool = True,
    ) -> list[Completion]:
        if all(key in found for key in keys):
            completions = self._accounts.replay(request, keys, found)
        else:
            completions = await self._asker.gather(request, keys, found)
        if may_lengthen and any(is_unfinished(completion, request) for completion in completions):
            completions = await lengthen(request, completions, self._ask_once)
        is_strict = request.schema is not None and not request.keeps_parts
        if is_strict and any(completion.problem for completion in completions):
            return await repair(request, completions, self._ask_once, self.name)
        return completions

    async def _ask_once(self, request: ChatRequest) -> Completion:
        """One completion that belongs to another request, stored and counted like any other."""
        keys = make_keys(self.name, request)
        found = self._accounts.find(keys)
        if found:
            return self._accounts.replay(request, keys, found)[0]
        return (await self._asker.gather(request, keys, found))[0]


async def _end_all(tasks: set[asyncio.Task[RequestOutcome]]) -> None:
    """Cancel tasks until they have ended: one that turns a cancellation into another attempt is cancelled again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, or it is reported as forgotten
