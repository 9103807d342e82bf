"""What a model behind a server was found to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model behind a server was found to do, by asking, never by its name.

    Args:
        model: its name, as the server reports it.
        chat: it has a chat template (`/v1/chat/completions` answers).
        continuation: it continues plain text (`/v1/completions` answers).
        follows_instructions: it does what a short instruction says (measured on a few probes).
        structured: JSON schemas are really enforced.
        logprobs: it returns token log-probabilities.
        multiple: one request may ask for several completions.
        lists: it writes several texts in one JSON reply (measured on three short ones).
        context_tokens: prompt and completion together, 0 where unknown.
        thinks: it thinks before it answers.
        thinking_switch: the way that switches its thinking off, "" where there is none.
        thought_tokens: tokens that thoughts take before an answer, where they cannot be switched off.
        looked_tokens: it was still thinking when so many tokens were used up, 0 where it ended.
        room_tokens: room that its thoughts are given in every request.
    """

    model: str
    chat: bool = True
    continuation: bool = True
    follows_instructions: bool = False
    structured: bool = False
    logprobs: bool = False
    multiple: bool = True
    context_tokens: int = 0
    thinks: bool = False
    thinking_switch: str = ""
    thought_tokens: int = 0
    looked_tokens: int = 0
    room_tokens: int = 0
    lists: bool = False
