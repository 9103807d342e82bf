"""The letters of a text: those that its language can be read from, and the scripts they belong to."""

from __future__ import annotations

import re
import unicodedata

MOST_LETTERS = 2_000
"""Letters of a text that are looked at, from its beginning."""

_WITHOUT_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI")
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


def name_script(letter: str) -> str:
    """First word of the letter's Unicode name (LATIN, CYRILLIC, CJK, ...), "" for what is no letter."""
    if letter.isascii():
        return "LATIN" if letter.isalpha() else ""
    plain = unicodedata.normalize("NFKC", letter)[:1]
    if not plain.isalpha():
        return ""
    return "LATIN" if plain.isascii() else unicodedata.name(plain, "?").split(" ")[0].split("-")[0]


def is_written_without_blanks(word: str) -> bool:
    """Whether a word has letters of a script that puts no blanks between words."""
    return not word.isascii() and any(name_script(letter) in _WITHOUT_BLANKS for letter in word)
