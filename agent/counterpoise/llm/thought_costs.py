"""What the thoughts of a model cost, told to whoever has to pay for them."""

from __future__ import annotations

from counterpoise.core.capabilities import Capabilities
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.llm.probing import USUAL_ROOM

_ANSWER_TOKENS = 100
"""Of a prompt's share and an answer, roughly, beside thousands of thoughts."""


def explain_thoughts(found: Capabilities, limit: int | None) -> tuple[str, bool]:
    """What to tell a user of a model that thinks and cannot be kept from it, and whether nothing can be written so.

    Args:
        found: of the model.
        limit: tokens of the budget; None without.

    Returns:
        One line, "" where there is nothing to tell.
    """
    if not found.thinks or found.thinking_switch:
        return "", False
    remedy = (
        "switch its thinking off at the server (vLLM: --default-chat-template-kwargs '{\"enable_thinking\": false}'; "
        "llama.cpp: --reasoning-budget 0), take a model that does not think"
    )
    if found.looked_tokens:
        enough = format_thousands(100 * max(found.looked_tokens, USUAL_ROOM))
        return (
            f"the model was still thinking after {found.looked_tokens:,} tokens of a simple question: {remedy}, "
            f"or give it a budget from {enough} tokens",
            True,
        )
    each = found.thought_tokens + _ANSWER_TOKENS
    line = f"the model thinks for about {found.thought_tokens:,} tokens before each answer"
    if limit is None:
        return line, False
    is_too_much = COMPLETIONS_PER_REQUEST * (found.room_tokens + _ANSWER_TOKENS) > limit
    line += f", so {limit:,} tokens pay for about {limit // each:,} answers"
    enough = format_thousands(20 * COMPLETIONS_PER_REQUEST * each)
    return (
        f"{line}: {remedy}, or give it a budget from {enough} tokens" if limit // each < 100 else line,
        is_too_much,
    )


def format_thousands(tokens: int) -> str:
    """A number of tokens as a budget is written, rounded up.

    >>> format_thousands(360_001)
    '361k'
    """
    return f"{-(-tokens // 1000)}k"
