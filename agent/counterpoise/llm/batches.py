"""Many requests at once, given up where the server is evidently gone.

A single request that fails is a proposal that is not made; the others go on. But where more fail than are
answered the server is down, and a run must stop there and be resumed later, not end as if it were finished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from counterpoise.core.errors import EngineDiedError, QuarantinedError, ReplyError, ServerError
from counterpoise.llm.budget import BudgetSpent, Spend
from counterpoise.llm.chat import ChatRequest
from counterpoise.llm.client import ChatClient, RequestOutcome

FEWEST_FAILURES = 4


async def answer_most(
    chat: ChatClient, requests: Sequence[ChatRequest], *, must_answer: bool = False
) -> AsyncIterator[RequestOutcome]:
    """Outcomes as they arrive, in any order, those that failed among them.

    Args:
        chat: the way to the model.
        requests: what to ask.
        must_answer: a server that refuses at least four of these requests (or all of them) and has answered none of
            their purpose ends everything, in its own words.

    Requests that begin alike are sent one after the other, so that a server reads their common beginning from its
    prefix cache.

    Raises:
        EngineDiedError: the server is ours and was given up.
        ServerError: there was no server for as long as the client waits for one; or at least four requests (or all
            of them) failed for a reason that time may heal, and more than were answered; or it refuses them.
        StorageError: the reply store cannot be written.
    """
    n_failed = n_answered = n_refused = 0
    order = sort_by_prefix(requests)
    async with aclosing(chat.generate_many(requests[place] for place in order)) as outcomes:
        async for answered in outcomes:
            outcome = RequestOutcome(
                order[answered.index], answered.request, answered.completions, answered.error
            )
            if isinstance(outcome.error, EngineDiedError) and not outcome.error.retryable:
                raise outcome.error
            if isinstance(outcome.error, ServerError) and outcome.error.is_unreached:
                raise outcome.error
            if isinstance(outcome.error, ServerError) and outcome.error.retryable:
                n_failed += 1
                if n_failed > n_answered and n_failed >= min(FEWEST_FAILURES, len(requests)):
                    raise outcome.error
            elif outcome.error is None:
                n_answered += 1
            elif isinstance(outcome.error, ServerError) and not isinstance(outcome.error, QuarantinedError):
                n_refused += 1
                is_first = (
                    must_answer and not chat.budget.by_purpose.get(outcome.request.purpose, Spend()).requests
                )
                if is_first and not n_answered and n_refused >= min(FEWEST_FAILURES, len(requests)):
                    raise outcome.error
            yield outcome


def sort_by_prefix(requests: Sequence[ChatRequest]) -> list[int]:
    """Places of the requests, so that those with a common beginning stand together; equal ones in their order."""
    return sorted(
        range(len(requests)),
        key=lambda place: (
            [message.content for message in requests[place].messages],
            requests[place].prompt,
        ),
    )


def name_failure(error: BudgetSpent | ServerError | ReplyError | None) -> str:
    """One word for why a request gave nothing, for the rejected record it becomes.

    Returns:
        `quarantined`: engines died under it. `refused`: the server will not answer it. `no_reply`: no attempt was
        answered. `unusable_reply`: the reply breaks its schema, after the repair too. "" for a request that was
        answered, or not sent because the budget or the time was spent.
    """
    if isinstance(error, QuarantinedError):
        return "quarantined"
    if isinstance(error, ServerError):
        return "no_reply" if error.retryable else "refused"
    return "unusable_reply" if isinstance(error, ReplyError) else ""
