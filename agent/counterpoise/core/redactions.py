"""Keys that this process has used, so that no message, log, report or journal repeats one.

A server may tell back what it was sent: in an error, in the name of its model, in a completion. Whoever sends a key
keeps it here, and whatever a server says passes `redact` before it goes anywhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

REDACTED = "[key]"
SHORTEST = 6
"""Characters of a key that is looked for."""

NO_KEYS = frozenset(
    {"api-key", "api_key", "apikey", "lm-studio", "lmstudio", "no-key", "not-needed", "ollama"}
)
"""What users write where a client wants some key and the server wants none."""

_spellings: dict[str, bool] = {}
"""A spelling of a key -> whether it is nothing but letters, and so may be a word of any text."""


def keep_secret(key: str) -> None:
    """From now on, say `[key]` instead of this key, however it is spelled: plain, in a URL, in JSON, in base 64."""
    if len(key) < SHORTEST or key.lower() in NO_KEYS:
        return
    packed = base64.b64encode(key.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    spellings = (
        key,
        quote(key, safe="", errors="replace"),
        quote_plus(key, errors="replace"),
        json.dumps(key)[1:-1],
    )
    known = {**dict.fromkeys((*spellings, packed), key.isalpha()), **_spellings}
    _spellings.clear()
    # The longest first: one spelling may hold another.
    _spellings.update(sorted(known.items(), key=lambda item: -len(item[0])))


def keep_secrets_of(url: str) -> None:
    """Keep a password, and the values of `?api_key=...` and the like, of an address."""
    parts = urlsplit(url)
    keep_secret(parts.password or "")
    for name, value in parse_qsl(parts.query):
        if any(word in name.lower() for word in ("key", "token", "secret", "password", "signature")):
            keep_secret(value)


def redact(text: str) -> str:
    """The text without any key that `keep_secret` was told."""
    for spelling in _spellings:
        if spelling in text:
            text = text.replace(spelling, REDACTED)
    return text


def redact_values(value: Any) -> Any:
    """A copy of plain JSON values without any key; a key of letters alone, which may be a word, is left in a text."""
    if isinstance(value, str):
        for spelling, is_word in _spellings.items():
            if not is_word and spelling in value:
                value = value.replace(spelling, REDACTED)
        return value
    if not _spellings:
        return value
    if isinstance(value, Mapping):
        return {redact_values(str(name)): redact_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redact_values(item) for item in value]
    return value
