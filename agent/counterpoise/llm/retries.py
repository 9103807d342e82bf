"""When a request that failed is sent again, and when it has failed for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_base

from counterpoise.core.errors import ServerError

LONGEST_ABSENCE_WAIT_SECONDS = 5.0
"""Between two looks for a server that is not there: it costs nothing, and it may be back any moment."""


LOADING_FACTOR = 10
"""A server that is there and loads its model is waited for so many times as long as one that is not there."""


class Endurance:
    """How much a request bears: so many attempts, and so many seconds without any server to take it.

    An attempt counts when it was sent. Where a server is away, for a restart say, every request would otherwise
    use its attempts up within seconds, and fail for a reason that says nothing of it.

    Args:
        attempts: how often it is sent at most.
        absence_seconds: how long a server that is not there is waited for.
    """

    def __init__(self, attempts: int, absence_seconds: float) -> None:
        self._n_left = attempts
        self._absence_seconds = absence_seconds
        self._absent_since: float | None = None

    def __call__(self, state: RetryCallState) -> bool:
        """Whether the request has failed for good."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServerError) and error.is_unreached:
            if self._absent_since is None:
                self._absent_since = monotonic()
            factor = LOADING_FACTOR if error.is_loading else 1
            return monotonic() - self._absent_since >= factor * self._absence_seconds
        self._absent_since = None
        self._n_left -= 1
        return self._n_left <= 0


def make_retrying(
    endurance: Endurance, backoff: wait_base, sleep: Callable[[float], Awaitable[None]]
) -> AsyncRetrying:
    """The attempts of one request.

    Args:
        endurance: when it has failed for good.
        backoff: waits between attempts.
        sleep: waits.
    """

    def choose_wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ServerError):
            return backoff(state)
        seconds = backoff(state)
        if error.is_unreached:
            seconds = min(seconds, LONGEST_ABSENCE_WAIT_SECONDS)
        return max(error.retry_after_seconds, seconds)

    return AsyncRetrying(
        retry=retry_if_exception(_is_retryable), stop=endurance, wait=choose_wait, sleep=sleep, reraise=True
    )


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ServerError) and error.retryable
