"""From the bytes of a reply to its JSON: a plain one, or a stream of events that is put together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from counterpoise.llm.reply_shapes import THOUGHT_FIELDS, join_content, list_choices, read_count


def read_body(content: bytes) -> Any:
    """The JSON of a reply, or of the stream of events that it is, put together.

    Raises:
        ValueError: it is neither, or a stream that broke off.
    """
    begin = content.lstrip()[:16]
    if begin.startswith((b"data:", b"event:", b"id:", b":")):
        return _join_events(_list_events(content))
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError:
        lines = content.split(b"\n")
        if begin.startswith(b"{") and sum(line.strip().startswith(b"{") for line in lines) > 1:
            return _join_events(json.loads(line) for line in lines if line.strip())
        raise


def _list_events(content: bytes) -> Iterator[Any]:
    for line in content.splitlines():
        field, _, value = line.partition(b":")
        value = value.strip()
        if field.strip() == b"data" and value:
            yield None if value == b"[DONE]" else json.loads(value)


def _join_events(events: Iterator[Any]) -> dict[str, Any]:
    """One reply from the pieces of a stream.

    Raises:
        ValueError: it broke off.
    """
    choices: dict[int, dict[str, Any]] = {}
    reply: dict[str, Any] = {}
    is_whole = False
    for event in events:
        if event is None:
            is_whole = True
            continue
        if not isinstance(event, Mapping):
            continue
        reply |= {name: event[name] for name in ("error", "usage", "model") if event.get(name)}
        for piece in list_choices(event):
            index = read_count(piece.get("index")) or 0
            choice = choices.setdefault(index, {"index": index, "message": {"content": ""}})
            delta = piece.get("delta") or piece.get("message") or {"content": piece.get("text")}
            if isinstance(delta, Mapping):
                _add_piece(choice["message"], delta)
            if isinstance(logprobs := piece.get("logprobs"), Mapping) and "logprobs" not in choice:
                choice["logprobs"] = logprobs  # those of the first token, which alone are looked at
            if reason := piece.get("finish_reason") or piece.get("done_reason"):
                choice["finish_reason"] = reason
                is_whole = True
    if "error" not in reply and not is_whole:
        raise ValueError("its stream broke off")
    return {**reply, "choices": [choices[index] for index in sorted(choices)]}


def _add_piece(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    text, thoughts = join_content(delta.get("content"))
    message["content"] += text
    for name in THOUGHT_FIELDS:
        if delta.get(name):
            thoughts += "".join(join_content(delta[name]))
            break
    if thoughts:
        message["reasoning_content"] = message.get("reasoning_content", "") + thoughts
