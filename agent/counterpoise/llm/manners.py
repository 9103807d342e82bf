"""How a model wants to be asked, as far as was found out: one completion at a time, with room for thoughts, or neither.

A manner is settled before a run asks its first question of its own, and is kept with the run. What is learned later
changes the price of a request, never what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from counterpoise.llm.chat import ChatRequest, Completion, Thoughts

FIRST_ROOM = 1_024
"""Tokens for thoughts that nobody had expected."""

GROWTH = 4
N_GROWTHS = 2


@dataclass(frozen=True, slots=True)
class Manner:
    """What every request to a model has to respect.

    Args:
        multiple: one request may ask for several completions.
        thoughts: what its chats need where it thinks; None where it does not.
    """

    multiple: bool = True
    thoughts: Thoughts | None = None

    def adapt(self, request: ChatRequest) -> ChatRequest:
        """The request as this model needs it. A text to be continued is not answered and so not thought about."""
        if self.thoughts is None or request.thoughts is not None or not request.messages:
            return request
        return replace(request, thoughts=self.thoughts)


def is_unfinished(completion: Completion, request: ChatRequest) -> bool:
    """Whether a chat ended before its answer began: inside thoughts, shown or not, or by a stop mark in them."""
    # Blanks are what a small model goes on with; a model that thinks has written nothing yet.
    if completion.text or not request.messages or completion.logprobs is not None:
        return False
    if completion.finish_reason == "length":
        return True
    return completion.thought_tokens > 0 and bool(request.sampling.stop) and request.thoughts is None


def give_more_room(request: ChatRequest, sample: int) -> Iterator[ChatRequest]:
    """The same question, one completion, with more and more room for thoughts."""
    given = request.thoughts or Thoughts()
    tokens = given.tokens
    for _ in range(N_GROWTHS):
        tokens = max(FIRST_ROOM, GROWTH * tokens)
        yield replace(request, n=1, sample=sample, thoughts=Thoughts(given.switch, tokens))
