"""What a language brings to the search for concepts: words that say nothing, words that join clauses, words at all.

Words that say nothing are those of bm25s (Snowball's lists and its own, 14 languages) and, for English, scikit-learn's.
A language without a list has its commonest words left out instead. Clauses end at the marks of every script; words that
join them are known for some languages, and elsewhere the marks alone divide a text.

    >>> list_stop_words(("nl",)) >= {"het", "een"}, list_stop_words(("ha",))
    (True, frozenset())
    >>> make_break(("de",)).split("Die Suppe war kalt, aber der Kellner war nett")
    ['Die Suppe war kalt', 'aber der Kellner war nett']
    >>> list_words("Het eten was koud"), list_words("服务很好")
    (['Het', 'eten', 'was', 'koud'], ['服务', '务很', '很好'])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from counterpoise.core.letters import is_written_without_blanks

ENGLISH = ("en",)

_LISTS = {
    "da": "DANISH",
    "de": "GERMAN",
    "es": "SPANISH",
    "fr": "FRENCH",
    "it": "ITALIAN",
    "ko": "KOREAN",
    "nb": "NORWEGIAN",
    "nl": "DUTCH",
    "nn": "NORWEGIAN",
    "no": "NORWEGIAN",
    "pt": "PORTUGUESE",
    "ru": "RUSSIAN",
    "sv": "SWEDISH",
    "tr": "TURKISH",
    "zh": "CHINESE",
}
"""ISO 639 code -> name of the list in bm25s."""

_JOINS = {
    "en": ("but", "and", "although", "though", "while", "however", "which"),
    "da": ("men", "og", "selvom", "mens"),
    "de": ("aber", "und", "obwohl", "während", "jedoch", "sondern"),
    "es": ("pero", "y", "aunque", "mientras"),
    "fr": ("mais", "et", "bien que", "cependant", "tandis que"),
    "it": ("ma", "e", "sebbene", "mentre", "però"),
    "nl": ("maar", "en", "hoewel", "terwijl", "echter"),
    "no": ("men", "og", "selv om", "mens"),
    "pl": ("ale", "i", "chociaż", "natomiast"),
    "pt": ("mas", "e", "embora", "enquanto"),
    "ru": ("но", "и", "хотя", "однако"),
    "sv": ("men", "och", "även om", "medan"),
    "tr": ("ama", "ve", "fakat", "ancak"),
}
"""The commonest words that join clauses."""

# Full stops that a blank follows (Latin, Arabic, Urdu, Devanagari, Armenian, Ethiopic), those of scripts without
# blanks, and the marks between clauses of both.
_MARKS = r"(?<=[.!?;。！？؟۔।॥։።])\s+|[。！？，；：]|[,;:、،፣]\s+"
_WORD = re.compile(r"(?u)\b[^\W\d_]{3,}\b")
_RUN = re.compile(r"[^\W\d_]+")
_COMMON_FROM = 0.1
"""Share of the clauses from which on a word of a language without a list says nothing."""


@lru_cache(maxsize=32)
def make_break(codes: Sequence[str]) -> re.Pattern[str]:
    """What divides texts of these languages into clauses."""
    words = dict.fromkeys(word for code in codes for word in _JOINS.get(code, ()))
    joins = rf"|\s+(?:{'|'.join(map(re.escape, words))})\s+" if words else ""
    return re.compile(_MARKS + joins, re.IGNORECASE)


def list_stop_words(codes: Sequence[str]) -> frozenset[str]:
    """Words of these languages that say nothing of a topic, in lower case; none of a language without a list."""
    found = set(ENGLISH_STOP_WORDS) if "en" in codes else set[str]()
    for code in codes:
        if code in _LISTS:
            words = getattr(import_module("bm25s.stopwords"), f"STOPWORDS_{_LISTS[code]}")
            found |= {str(word).casefold() for word in words}
    return frozenset(found)


def find_most_common(codes: Sequence[str]) -> float:
    """Share of the clauses above which a word is left out: 1 (none) where all these languages have a list."""
    return 1.0 if all(code == "en" or code in _LISTS for code in codes) else _COMMON_FROM


def list_words(text: str) -> list[str]:
    """Words of three letters or more; of scripts without blanks each two letters that stand together."""
    if text.isascii():
        return _WORD.findall(text)
    words: list[str] = []
    for run in _RUN.findall(text):
        if is_written_without_blanks(run):
            words += [run[place : place + 2] for place in range(len(run) - 1)] or [run]
        elif len(run) > 2:
            words.append(run)
    return words
