"""Which letter a model chose, and how sure it is: from log-probabilities of its first token, or from what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats
from counterpoise.llm.chat import ChatRequest
from counterpoise.llm.reply_shapes import list_choices, read_number
from counterpoise.llm.structured import read_letter, score_letters
from counterpoise.llm.thoughts import begins_thoughts

LOWEST_LOGPROB = -9999.0
"""What stands for minus infinity in replies that have no number for it."""

SURENESS = 0.9
"""What a written letter counts for where there are no log-probabilities."""


def choose_letter(
    text: str, request: ChatRequest, table: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Probabilities of a request's letters: from the table where it is about letters, else from the letter written.

    Args:
        text: the answer.
        request: with `choices`.
        table: token -> log-probability of the first token; None or empty where there is none.

    Returns:
        None where neither tells.
    """
    if table and not begins_thoughts(max(table, key=table.__getitem__)):
        return score_letters(table, request.choices)
    letter = read_letter(text, request.choices)
    if not letter:
        return None
    rest = (1.0 - SURENESS) / max(1, len(request.choices) - 1)
    return {choice: SURENESS if choice == letter else rest for choice in request.choices}


def are_written(probabilities: Floats) -> NDArray[np.bool_]:
    """(...,) where probabilities (..., k) are those of a letter that was written, not scored."""
    rest = (1.0 - SURENESS) / max(1, probabilities.shape[-1] - 1)
    ordered = np.sort(probabilities, axis=-1)
    return np.asarray(
        np.isclose(ordered[..., -1], SURENESS, rtol=0, atol=1e-12)
        & np.isclose(ordered[..., :-1], rest, rtol=0, atol=1e-12).all(axis=-1)
    )


def read_table(logprobs: Any) -> dict[str, float]:
    """Log-probabilities of the first token, from either form: a list of tokens, or a table a position."""
    if not isinstance(logprobs, Mapping):
        return {}
    entries: list[tuple[Any, Any]] = []
    content, tables = logprobs.get("content"), logprobs.get("top_logprobs")
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        listed = content[0].get("top_logprobs")
        rows = listed if isinstance(listed, list) else []
        entries = [(row.get("token"), row.get("logprob")) for row in rows if isinstance(row, Mapping)]
    elif isinstance(tables, list) and tables and isinstance(tables[0], Mapping):
        entries = list(tables[0].items())
    table: dict[str, float] = {}
    for token, logprob in entries:
        value = LOWEST_LOGPROB if logprob is None else read_number(logprob)
        if isinstance(token, str) and value is not None and value <= 1e-3:  # a probability is not above one
            table[token] = max(value, LOWEST_LOGPROB, table.get(token, LOWEST_LOGPROB))
    return table


def has_table(reply: Any) -> bool:
    """Whether a reply gives log-probabilities."""
    return any(read_table(choice.get("logprobs")) for choice in list_choices(reply))
