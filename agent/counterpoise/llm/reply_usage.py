"""Tokens that a reply cost: as the server counts them where that can be true, else estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.llm.budget import TEMPLATE_TOKENS, TOKENS_PER_MESSAGE, estimate_prompt, estimate_tokens
from counterpoise.llm.chat import ChatRequest, Usage
from counterpoise.llm.reply_shapes import read_count

HIDDEN_PROMPT_TOKENS = 32_768
"""Tokens of instructions that a gateway may put before a prompt without showing them; what goes beyond is no count."""

MOST_HIDDEN_THOUGHTS = 131_072
"""Tokens of thoughts that a server may count without showing them."""


@dataclass(frozen=True, slots=True)
class CompletionParts:
    """What one completion says and what it thinks, beside each other."""

    text: str
    thoughts: str

    @property
    def whole(self) -> str:
        """All that was written."""
        return self.thoughts + self.text


def read_usage(
    usage: Any, request: ChatRequest, said: Sequence[CompletionParts]
) -> tuple[list[Usage], list[int]]:
    """Tokens of each completion, and those of its thoughts. What cannot be true is estimated instead.

    A text has no more tokens than bytes, and a server writes no more than it was allowed to, unless it shows what it
    wrote or says that it has thought in secret.
    """
    given = usage if isinstance(usage, Mapping) else {}
    details = given.get("completion_tokens_details") or given.get("output_tokens_details")
    hidden = read_count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else None
    hidden = None if hidden is None or hidden > MOST_HIDDEN_THOUGHTS else hidden
    n_prompt = read_count(given.get("prompt_tokens", given.get("input_tokens")))
    n_completion = read_count(given.get("completion_tokens", given.get("output_tokens")))
    wholes = [one.whole for one in said]
    n_shown = sum(_count_bytes(whole) for whole in wholes)
    prompt_bytes = _count_bytes(request.prompt) + sum(_count_bytes(turn.content) for turn in request.messages)
    marks = TEMPLATE_TOKENS + TOKENS_PER_MESSAGE * len(request.messages)
    if n_prompt is not None and n_prompt > prompt_bytes + marks + HIDDEN_PROMPT_TOKENS:
        n_prompt = None
    allowed = max(len(said) * request.most_tokens, n_shown) + (hidden or 0) + TEMPLATE_TOKENS
    if n_completion is not None and n_completion > allowed:
        n_completion = None
    estimates = estimate_usage(request, wholes)
    if not n_prompt and not n_completion:
        n_prompt, n_completion = estimates
    n_prompt = estimates[0] if n_prompt is None else n_prompt
    n_completion = estimates[1] if n_completion is None else n_completion
    n_completion = correct_count(n_completion, wholes, request.most_tokens)
    usages = split_usage(n_prompt, n_completion, wholes)
    return usages, [
        _count_thoughts(one, share, hidden, len(said)) for one, share in zip(said, usages, strict=True)
    ]


def estimate_usage(request: ChatRequest, texts: Sequence[str]) -> tuple[int, int]:
    """Tokens of prompt and completions where a server counts none, so that a budget holds all the same."""
    n_completion = min(estimate_tokens(texts), len(texts) * request.most_tokens)
    return estimate_prompt(request), n_completion


def correct_count(n_completion: int, texts: Sequence[str], max_tokens: int) -> int:
    """Completion tokens of all completions together.

    llama.cpp reports those of the first completion only. Text has fewer than seven bytes a token; where the report
    would need more, four bytes a token are counted instead, as in English text, and never more than were allowed.
    """
    n_bytes = sum(_count_bytes(text) for text in texts)
    if len(texts) == 1 or n_completion * 7 >= n_bytes:
        return n_completion
    return min(-(-n_bytes // 4), len(texts) * max_tokens)


def split_usage(n_prompt: int, n_completion: int, texts: Sequence[str]) -> list[Usage]:
    """Shares of a reply's tokens, summing to what was reported: equal for the prompt, else by length."""
    n = len(texts)
    if n == 1:
        return [Usage(n_prompt, n_completion)]
    weights = [len(text) + 1 for text in texts]
    total = sum(weights)
    shares = []
    seen = 0
    for index, weight in enumerate(weights):
        prompt = n_prompt * (index + 1) // n - n_prompt * index // n
        completion = n_completion * (seen + weight) // total - n_completion * seen // total
        seen += weight
        shares.append(Usage(prompt, completion))
    return shares


def _count_thoughts(said: CompletionParts, usage: Usage, hidden: int | None, n: int) -> int:
    """Tokens of a completion's thoughts: as counted, else their share of the text, at least one where there are any."""
    if hidden:
        return min(hidden // n or 1, max(1, usage.completion_tokens))
    if not said.thoughts.strip():
        return 0
    n_bytes = _count_bytes(said.thoughts)
    counted = round(n_bytes / max(1, _count_bytes(said.whole)) * usage.completion_tokens)
    # Where the server counts fewer than there can be, what it wrote says how long it thinks.
    return max(1, counted if counted * 7 >= n_bytes else n_bytes // 4)


def _count_bytes(text: str) -> int:
    """Bytes of a text in UTF-8; half of a pair of surrogates counts too."""
    return len(text.encode("utf-8", "surrogatepass"))
