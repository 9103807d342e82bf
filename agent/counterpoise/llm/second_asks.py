"""What is asked once more: a reply that breaks its schema, and one that ended inside thoughts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from counterpoise.core.errors import ReplyError, ServerError
from counterpoise.llm.budget import BudgetSpent
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.manners import give_more_room, is_unfinished
from counterpoise.llm.structured import make_repair

AskOne = Callable[[ChatRequest], Awaitable[Completion]]
"""Asks for one completion that belongs to another request, stored and counted like any other."""


async def repair(
    request: ChatRequest, completions: list[Completion], ask: AskOne, model: str
) -> list[Completion]:
    """Ask once more for each completion that breaks the schema.

    A repair passes the same pipeline under a key of its own, so it is stored, counted and resumed like
    any other.
    """
    repaired = await asyncio.gather(
        *(
            _repair_one(request, request.sample + position, completion, ask)
            for position, completion in enumerate(completions)
        ),
        return_exceptions=True,
    )
    usable = [completion for completion in repaired if isinstance(completion, Completion)]
    for error in repaired:
        if isinstance(error, BaseException):
            raise error
    if all(completion.problem for completion in usable):
        raise ReplyError(usable[0].problem, where=model, hint=f"it was {usable[0].text[:200]!r}")
    return usable


async def _repair_one(request: ChatRequest, sample: int, completion: Completion, ask: AskOne) -> Completion:
    if not completion.problem:
        return completion
    second = await ask(make_repair(request, sample, completion.text, completion.problem))
    usage = completion.usage + second.usage
    return replace(second, usage=usage, cached=completion.cached and second.cached)


async def lengthen(request: ChatRequest, completions: list[Completion], ask: AskOne) -> list[Completion]:
    """Ask again, with more room, for each completion that ended inside thoughts."""
    return list(
        await asyncio.gather(
            *(
                _lengthen_one(request, request.sample + position, completion, ask)
                for position, completion in enumerate(completions)
            )
        )
    )


async def _lengthen_one(request: ChatRequest, sample: int, completion: Completion, ask: AskOne) -> Completion:
    for longer in give_more_room(request, sample):
        if not is_unfinished(completion, request):
            break
        try:
            second = await ask(longer)
        except (BudgetSpent, ServerError) as error:
            if isinstance(error, ServerError) and error.retryable:
                raise
            break  # it does not pay for more, or the server has no room for it
        usage = completion.usage + second.usage
        completion = replace(second, usage=usage, cached=completion.cached and second.cached)
    return completion
