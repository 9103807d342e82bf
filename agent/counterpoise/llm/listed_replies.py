r"""Several texts in one JSON reply: asking for them, and reading what is whole of a reply.

An entry that is no text, or that the end of the tokens has cut, loses itself only:

    >>> read_listed('{"records": ["Cold soup.", 7, "Rude wai')
    [Entry(text='Cold soup.', fault=''), Entry(text='', fault='no_text'), Entry(text='Rude wai', fault='cut_off')]
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.llm.chat import ChatRequest

NO_TEXT = "no_text"
"""An entry of another type than text, or without a letter."""

CUT_OFF = "cut_off"
"""The tokens ended within an entry."""

SIGNS = 10
"""Tokens that the signs around one entry take at most."""

_FIELD = "records"
_OPENING = re.compile(rf'"{_FIELD}"\s*:\s*\[')
_GAP = re.compile(r"[\s,]*")
_decode = json.JSONDecoder(strict=False).raw_decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list.

    Args:
        text: what it says; of a cut one the beginning.
        fault: why it is no record, "" where it is one.
    """

    text: str
    fault: str = ""


def make_list_schema(n: int) -> Mapping[str, Any]:
    """The schema of a reply with `n` texts."""
    return {
        "type": "object",
        "properties": {_FIELD: {"type": "array", "items": {"type": "string"}, "minItems": n, "maxItems": n}},
        "required": [_FIELD],
        "additionalProperties": False,
    }


def ask_for_list(request: ChatRequest, n: int) -> ChatRequest:
    """A request for one entry as a request for `n`, with room for all of them."""
    room = n * (request.sampling.max_tokens + SIGNS) + SIGNS
    sampling = replace(request.sampling, max_tokens=room, stop=())
    return replace(request, schema=make_list_schema(n), keeps_parts=True, sampling=sampling)


def read_listed(reply: str) -> list[Entry]:
    """The entries of a reply, in their order; none where it holds no list.

    Models without enforced schemas write sentences and fences around it: the last list with a text in it counts.
    """
    found: list[Entry] = []
    for opening in _OPENING.finditer(reply):
        entries = _read_entries(reply, opening.end())
        if any(not entry.fault for entry in entries) or not found:
            found = entries
    return found


def _read_entries(reply: str, place: int) -> list[Entry]:
    entries: list[Entry] = []
    while True:
        gap = _GAP.match(reply, place)
        place = gap.end() if gap else place
        if place >= len(reply) or reply[place] == "]":
            return entries
        try:
            value, place = _decode(reply, place)
        except (ValueError, RecursionError):
            if reply[place] == '"':
                entries.append(Entry(_read_cut(reply[place:]), CUT_OFF))
            return entries
        is_text = isinstance(value, str) and any(letter.isalnum() for letter in value)
        entries.append(Entry(value) if is_text else Entry("", NO_TEXT))


def _read_cut(opened: str) -> str:
    """What a text says whose closing quotation mark never came; an escape at its end may be cut too."""
    for end in range(len(opened), max(0, len(opened) - 8), -1):
        try:
            return str(_decode(f'{opened[:end]}"')[0])
        except ValueError:
            continue
    return ""
