"""The letters of a text that its language can be read from."""

from __future__ import annotations

import re

MOST_LETTERS = 2_000
"""Letters of a text that are looked at, from its beginning."""

_HANDLE_OR_LINK = re.compile(r"(?:https?://|www\.)\S+|[@][\w.:]+|&\w{2,8};|&#\d+;", re.IGNORECASE)
WORD_WITH_DIGIT = re.compile(r"\w*\d\w*")


def strip_marks(text: str) -> str:
    """The text without handles, links and character references."""
    return _HANDLE_OR_LINK.sub(" ", text[: 4 * MOST_LETTERS])


def list_letters(text: str) -> str:
    """Its letters in their order, without those of handles, links and words with a digit in them (codes, numbers)."""
    return "".join(sign for sign in WORD_WITH_DIGIT.sub(" ", strip_marks(text)) if sign.isalpha())[
        :MOST_LETTERS
    ]
