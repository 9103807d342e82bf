"""The books of a run: which replies are kept, which are counted, and what was paid for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from counterpoise.llm.budget import TokenBudget
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.replies import check_completion
from counterpoise.llm.reply_store import MOST_TOKENS, Payment, ReplyStore, pack_reply, unpack_reply


class Accounts:
    """Counts each reply once a run, whether it was asked or read, and keeps what was asked.

    Args:
        store: where replies are kept; None keeps none.
        budget: what may be spent; it begins with what the run has paid before.
        run_id: the run that replies are paid for by, "" for none.
    """

    def __init__(self, store: ReplyStore | None, budget: TokenBudget, run_id: str) -> None:
        self.store = store
        self.budget = budget
        self._run_id = run_id
        self._counted: set[bytes] = set()
        self._used: list[tuple[bytes, str]] = []
        if store is not None and run_id:
            budget.begin(store.read_payments(run_id))

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of the replies that are stored."""
        return self.store.get_usable(keys) if self.store is not None else {}

    def is_counted(self, key: bytes) -> bool:
        """Whether a reply was asked or read before, by this client."""
        return key in self._counted

    def replay(self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]) -> list[Completion]:
        """Completions from the store: reserved and counted as if they were asked, but not as paid."""
        completions = [check_completion(request, unpack_reply(found[key])) for key in keys]
        if not self._counted.issuperset(keys):
            reserved = self.budget.reserve(self.budget.estimate(request), replay=True)
            self.settle(request, keys, completions, reserved, paid=False)
        return completions

    async def keep(
        self, request: ChatRequest, keys: list[bytes], completions: list[Completion]
    ) -> list[Completion]:
        """Make replies durable with what they cost; where another process stored one first, that one is taken."""
        if self.store is None:
            return completions
        packed = [pack_reply(completion) for completion in completions]
        payment = None
        if self._run_id:
            tokens = min(sum(completion.usage.total for completion in completions), MOST_TOKENS)
            payment = Payment(self._run_id, request.purpose, tokens)
        stored = await self.store.put(dict(zip(keys, packed, strict=True)), payment)
        kept = list(completions)
        for position, key in enumerate(keys):
            if stored[key] != packed[position]:
                # A later resume will read the one that was first, if it is whole.
                with contextlib.suppress(ValueError):
                    kept[position] = replace(unpack_reply(stored[key]), cached=False)
        return kept

    def settle(
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

    def lose(self, request: ChatRequest) -> None:
        """Count a request that failed, and may have been paid for all the same."""
        tokens = self.budget.estimate(request)
        self.budget.lose(tokens, request.purpose)
        if self.store is not None and self._run_id:
            self.store.note_payment(Payment(self._run_id, request.purpose, tokens))

    def take_used(self) -> list[tuple[bytes, str]]:
        """Key and purpose of every reply used since the last call, stored or asked."""
        used, self._used = self._used, []
        return used
