"""When a request that failed is sent again, and when it has failed for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from counterpoise.core.errors import ServerError

LONGEST_ABSENCE_WAIT_SECONDS = 5.0
"""Between two looks for a server that is not there: it costs nothing, and it may be back any moment."""

LOADING_FACTOR = 10
"""A server that is there and loads its model is waited for so many times as long as one that is not there."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent, and how long is waited.

    Args:
        attempts: how often it is sent at most, from 1.
        first_wait_seconds: scale of the wait before the second attempt; it doubles with each further one.
        longest_wait_seconds: no wait is longer, unless a server asks for it.
        absence_seconds: how long a server that is not there, being started again perhaps, is waited for. Looking
            for it counts as no attempt.
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    absence_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse to send nothing."""
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}: they count from 1")


class AttemptLimits:
    """How much a request bears: so many attempts, and so many seconds without any server to take it.

    An attempt counts when it was sent. Where a server is away, for a restart say, every request would otherwise
    use its attempts up within seconds, and fail for a reason that says nothing of it.

    Args:
        policy: so many, and so long.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._n_left = policy.attempts
        self._absence_seconds = policy.absence_seconds
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


def make_retrying(policy: RetryPolicy, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """The attempts of one request.

    Args:
        policy: how often, and how long is waited between them.
        sleep: waits.
    """
    backoff = wait_random_exponential(multiplier=policy.first_wait_seconds, max=policy.longest_wait_seconds)

    def choose_wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ServerError):
            return backoff(state)
        seconds = backoff(state)
        if error.is_unreached:
            seconds = min(seconds, LONGEST_ABSENCE_WAIT_SECONDS)
        return max(error.retry_after_seconds, seconds)

    return AsyncRetrying(
        retry=retry_if_exception(_is_retryable),
        stop=AttemptLimits(policy),
        wait=choose_wait,
        sleep=sleep,
        reraise=True,
    )


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ServerError) and error.retryable
