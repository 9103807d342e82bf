"""What a server says went wrong, under whatever status and in whatever shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.llm.reply_bodies import read_body
from counterpoise.llm.reply_shapes import DEEPEST, list_choices, read_count

LONGEST_SENTENCE = 400
"""Characters of a server's own words that are passed on."""

_TRANSIENT = (
    "overload",
    "rate limit",
    "rate_limit",
    "timed out",
    "timeout",
    "unavailable",
    "try again",
    "busy",
    "loading",
)
_SENTENCE_FIELDS = ("message", "error", "detail", "msg", "error_message", "errors", "error_description")


@dataclass(frozen=True, slots=True)
class ServedError:
    """What a server says went wrong.

    Args:
        said: in its own words, one line.
        status: the status it names, 0 where it names none.
        is_transient: asking again may help.
    """

    said: str
    status: int = 0
    is_transient: bool = False


def find_error(reply: Any) -> ServedError | None:
    """The error that a reply is, whatever its status; None where it holds completions."""
    if isinstance(reply, Mapping):
        for holder in (reply, *list_choices(reply)):
            if error := holder.get("error"):
                return _read_error(error)
        if list_choices(reply):
            return None
        for name in ("detail", "message", "msg", "errors", "error_message"):
            if reply.get(name) and not isinstance(reply.get("choices"), list):
                return _read_error(reply)
    return None


def quote_error(content: bytes) -> str:
    """The server's own sentence in the body of a refusal, one line."""
    try:
        reply = read_body(content)
    except ValueError:
        return _cut(content[: 4 * LONGEST_SENTENCE].decode("utf-8", "replace"))
    return _read_error(reply.get("error") or reply if isinstance(reply, Mapping) else reply).said


def _read_error(error: Any) -> ServedError:
    """The innermost sentence of an error object, the status it names, and whether asking again may help."""
    said, code = error, None
    for _ in range(DEEPEST):
        if not isinstance(said, Mapping):
            break
        code = next((said[name] for name in ("code", "status", "status_code") if said.get(name)), code)
        inside = next((said[name] for name in _SENTENCE_FIELDS if said.get(name)), None)
        if inside is None:
            said = said.get("type") or said.get("code") or json.dumps(said, ensure_ascii=False, default=str)
            break
        said = inside
    if isinstance(said, list):
        said = "; ".join(_read_detail(one) for one in said)
    said = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    status = read_count(code) or 0
    status = status if 400 <= status < 600 else 0
    words = f"{said} {code}".casefold()
    is_transient = (
        status in (408, 429) or status >= 500 or (not status and any(word in words for word in _TRANSIENT))
    )
    return ServedError(_cut(said), status, is_transient)


def _read_detail(detail: Any) -> str:
    """One entry of the list that FastAPI refuses with: the place, and what is wrong there."""
    if isinstance(detail, Mapping):
        place = detail.get("loc")
        where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
        said = str(detail.get("msg") or detail.get("message") or detail)
        return f"{where}: {said}" if where else said
    return str(detail)


def _cut(text: str) -> str:
    """A text as one line of at most `LONGEST_SENTENCE` characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SENTENCE else line[: LONGEST_SENTENCE - 1] + "…"
