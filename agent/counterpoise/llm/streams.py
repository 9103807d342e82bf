"""Many requests at once, given up where the server is evidently gone.

A single request that fails is a proposal that is not made; the others go on. But where more fail than are
answered the server is down, and a run must stop there and be resumed later, not end as if it were finished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from counterpoise.errors import ServerError
from counterpoise.llm.chat import ChatRequest
from counterpoise.llm.client import ChatClient, Outcome

FEWEST_FAILURES = 4


async def answer_most(chat: ChatClient, requests: Sequence[ChatRequest]) -> AsyncIterator[Outcome]:
    """Outcomes as they arrive, in any order, those that failed among them.

    Args:
        chat: the way to the model.
        requests: what to ask.

    Raises:
        ServerError: at least four requests (or all of them) failed for a reason that time may heal, and more than
            were answered.
        StorageError: the reply store cannot be written.
    """
    n_failed = n_answered = 0
    async with aclosing(chat.generate_many(requests)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome.error, ServerError) and outcome.error.retryable:
                n_failed += 1
                if n_failed > n_answered and n_failed >= min(FEWEST_FAILURES, len(requests)):
                    raise outcome.error
            elif outcome.error is None:
                n_answered += 1
            yield outcome
