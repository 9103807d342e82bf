"""The shapes that replies come in: where the choices are, what a content says and what it thinks, what is a number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

THOUGHT_FIELDS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "reasoning_details",
    "thinking_blocks",
)
_THOUGHT_PARTS = (
    "thinking",
    "reasoning",
    "redacted_thinking",
    "reasoning_text",
    "reasoning.text",
    "reasoning.summary",
)

DEEPEST = 8
"""Contents and errors are looked for inside one another so many times."""


def list_choices(reply: Any) -> list[Mapping[str, Any]]:
    """The choices of a reply, by index; a lone message counts as one."""
    if isinstance(reply, list) and reply and isinstance(reply[0], Mapping) and "generated_text" in reply[0]:
        return [reply[0]]
    if not isinstance(reply, Mapping):
        return []
    choices = reply.get("choices")
    if isinstance(choices, Mapping):
        choices = [choices]
    if isinstance(choices, list):
        listed = [choice for choice in choices if isinstance(choice, Mapping)]
        return sorted(listed, key=lambda choice: read_count(choice.get("index")) or 0)
    message = reply.get("message")
    return [reply] if isinstance(message, Mapping) and "content" in message else []


def join_content(content: Any, depth: int = 0) -> tuple[str, str]:
    """Text and thoughts of a content: a text, a list of parts, a part, or nothing."""
    if isinstance(content, str):
        return content, ""
    if content is None or depth > DEEPEST:
        return "", ""
    if isinstance(content, list):
        parts = [join_content(part, depth + 1) for part in content]
        return "".join(text for text, _ in parts), "".join(thoughts for _, thoughts in parts)
    if isinstance(content, Mapping):
        names = ("text", "content", "thinking", "reasoning", "summary", "value")
        inside = next((content[name] for name in names if content.get(name) is not None), None)
        if inside is None:
            is_part = "type" in content or not content
            return ("", "") if is_part else (json.dumps(content, ensure_ascii=False), "")
        if str(content.get("type", "")) in _THOUGHT_PARTS:
            return "", "".join(join_content(inside, depth + 1))
        known = {*names, "type", "annotations", "index", "id", "signature", "format"}
        if set(content) <= known:
            return join_content(inside, depth + 1)
        return json.dumps(content, ensure_ascii=False), ""
    return json.dumps(content), ""


def read_number(value: Any) -> float | None:
    """A finite number, perhaps written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_count(value: Any) -> int | None:
    """A whole number from 0; None for anything else."""
    number = read_number(value)
    return int(number) if number is not None and 0 <= number < 2**53 else None


def read_window(entry: Mapping[str, Any]) -> int:
    """Tokens of prompt and completion together, as an entry of a list of models says; 0 where it does not."""
    return read_count(entry.get("max_model_len")) or read_count(entry.get("context_length")) or 0
