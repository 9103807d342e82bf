"""Entering engines at the begin: each finds its model, and where one of several is away the others share the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from time import monotonic

from counterpoise.core.errors import ServerError
from counterpoise.llm.retries import LOADING_FACTOR, LONGEST_ABSENCE_WAIT_SECONDS
from counterpoise.llm.routing import Lane, Lanes


async def enter_engines(
    lanes: Lanes, opened: AsyncExitStack, absence_seconds: float, warn: Callable[[ServerError, str], None]
) -> None:
    """Enter the engines that are async context managers; lanes of those that are not there are left out.

    Args:
        lanes: the engines; the only one, and the last hope of several, has to be there.
        opened: leaves them again.
        absence_seconds: a server that loads its model is waited for `LOADING_FACTOR` times as long.
        warn: told why one is waited for or left out.

    Raises:
        ServerError: no engine can be reached, or the engines serve different models.
    """
    reached: list[Lane] = []
    for number, lane in enumerate(lanes.lanes):
        is_last_hope = not reached and number == len(lanes.lanes) - 1
        try:
            await _enter(lane, opened, absence_seconds, warn)
        except ServerError as error:
            if not error.retryable or is_last_hope:
                raise
            warn(error, "connect")
        else:
            reached.append(lane)
    lanes.lanes = reached
    names = sorted({lane.engine.name for lane in reached})
    if len(names) > 1:
        raise ServerError(f"the servers serve different models: {', '.join(names)}", hint="give one model")


async def _enter(
    lane: Lane, opened: AsyncExitStack, absence_seconds: float, warn: Callable[[ServerError, str], None]
) -> None:
    """Enter an engine; one that loads its model is asked again and again for a while."""
    if not isinstance(lane.engine, AbstractAsyncContextManager):
        return
    until = monotonic() + LOADING_FACTOR * absence_seconds
    for turn in count():
        try:
            await opened.enter_async_context(lane.engine)
        except ServerError as error:
            if not error.is_loading or monotonic() >= until:
                raise
            if not turn:
                warn(error, "connect")
            await asyncio.sleep(min(0.25 * 2 ** min(turn, 10), LONGEST_ABSENCE_WAIT_SECONDS))
        else:
            return
