"""Each key is asked once: not where it is stored or under way, and one by one where a server gives no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from counterpoise.core.errors import ReplyError, ServerError
from counterpoise.llm.accounts import Accounts
from counterpoise.llm.budget import BudgetSpent
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.manners import Manner
from counterpoise.llm.quarantine import Quarantine
from counterpoise.llm.replies import check_completion
from counterpoise.llm.reply_store import unpack_reply
from counterpoise.llm.sending import Sender

Asked = asyncio.Future[Completion]


class _AbandonedError(Exception):
    """The caller that was asking was cancelled; one that waited for its reply has to ask itself."""


class Asker:
    """Answers requests out of the store, out of requests that are under way, or by sending them.

    Args:
        accounts: where replies are kept and counted.
        sender: sends what has to be asked.
        quarantine: refuses requests that have killed engines.

    Attributes:
        manner: how the model wants to be asked, as far as it is known.
    """

    def __init__(self, accounts: Accounts, sender: Sender, quarantine: Quarantine) -> None:
        self.manner = Manner()
        self._accounts = accounts
        self._budget = accounts.budget
        self._sender = sender
        self._quarantine = quarantine
        self._asked: dict[bytes, Asked] = {}

    async def gather(
        self, request: ChatRequest, keys: list[bytes], found: dict[bytes, bytes]
    ) -> list[Completion]:
        """Ask for what is neither stored nor being asked; wait for what others are asking."""
        if late := [key for key in keys if key not in found and self._accounts.is_counted(key)]:
            # Answered since the store was looked at, which is a whole batch ago where the caller was busy.
            found = found | self._accounts.find(late)
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
                found = self._accounts.find(keys)
                continue
            if found:
                self._accounts.replay(replace(request, n=len(found)), list(found), found)
            return [
                fresh[key] if key in fresh else check_completion(request, unpack_reply(found[key]))
                for key in keys
            ]

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
                self.gather(replace(request, n=1, sample=request.sample + place), [keys[place]], {})
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
        reserved = self._budget.reserve(self._budget.estimate(request))
        loop = asyncio.get_running_loop()
        futures: list[Asked] = [loop.create_future() for _ in keys]
        self._asked.update(zip(keys, futures, strict=True))
        try:
            completions = await self._sender.send(request, keys, reserved)
        except BaseException as error:
            self._budget.settle(reserved, [])
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


def _give_up(futures: Sequence[Asked], reason: Exception) -> None:
    for future in futures:
        future.set_exception(reason)
        future.exception()  # nobody may be waiting, and then it must not be reported as forgotten
