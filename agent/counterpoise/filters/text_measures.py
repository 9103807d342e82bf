"""What can be counted in a text of any script: letters, scripts, units, repetition.

Words are not counted by blanks alone: in scripts that are written without them each letter is a unit of its own.

    >>> split_units("Good soup, 好吃 2 times")
    ['good', 'soup', '好', '吃', '2', 'times']
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from counterpoise.core.letters import (
    MOST_LETTERS,
    WORD_WITH_DIGIT,
    is_written_without_blanks,
    list_letters,
    name_script,
    strip_marks,
)

WINDOW = 12
"""Units before another in which it counts as said again."""

PHRASE = 3
"""Units of a phrase."""

LOOP = 40
"""Signs of the longest loop that is looked for."""

_TAG = re.compile(r"#\w+")
_UNIT = re.compile(r"\w+(?:['’]\w+)*")
_SMOOTHING = 2.0


def share_scripts(text: str) -> dict[str, float]:
    """Script -> its share of the text's letters, summing to 1; empty where there are no letters."""
    counts = Counter(name_script(letter) for letter in list_letters(text))
    del counts[""]
    total = sum(counts.values())
    return {script: count / total for script, count in sorted(counts.items())}


def split_units(text: str) -> list[str]:
    """Words in lower case; where a script has no blanks, its letters one by one."""
    units: list[str] = []
    for match in _UNIT.finditer(text.casefold()):
        word = match[0]
        if not is_written_without_blanks(word):
            units.append(word)
            continue
        units += [letter for letter in word if letter.isalnum()]
    return units


def count_said(text: str) -> int:
    """Letters of the different words that a text has, without handles, links, tags and words with a digit in them."""
    return sum(
        len(unit) for unit in set(split_units(WORD_WITH_DIGIT.sub(" ", _TAG.sub(" ", strip_marks(text)))))
    )


def measure_loop(text: str) -> float:
    """Share of a text that its longest loop takes: a stretch that repeats itself every `LOOP` signs or sooner.

    Returns:
        0 to 1, held down in short texts. A stretch counts where it goes round more than twice.

    Example:
        >>> measure_loop("So: no, no, no, no, no, no, no") > 0.5 > measure_loop("The soup was cold, and the bread too")
        True
    """
    signs = np.array([ord(sign) for sign in text[:MOST_LETTERS]])
    longest = 0
    for period in range(1, min(LOOP, len(signs) // 3) + 1):
        breaks = np.flatnonzero(
            np.diff(np.concatenate([[0], signs[period:] == signs[:-period], [0]]).astype(np.int8))
        )
        if len(breaks):
            run = int((breaks[1::2] - breaks[::2]).max())
            if run >= 2 * period:
                longest = max(longest, run + period)
    return longest / (len(signs) + 4 * _SMOOTHING)


def measure_repetition(units: Sequence[str]) -> tuple[float, float]:
    """How much a text says again: words soon after themselves, and phrases anywhere.

    Args:
        units: of the text, in order.

    Returns:
        Share of units that stand among the `WINDOW` before them, and share of units inside a phrase of `PHRASE`
        units that was there before; 0 to 1, both held down in texts of a few words.
    """
    n_soon, last = 0, dict[str, int]()
    for place, unit in enumerate(units):
        if place - last.get(unit, -WINDOW - 1) <= WINDOW:
            n_soon += 1
        last[unit] = place
    covered, seen = [False] * len(units), set[tuple[str, ...]]()
    for place in range(len(units) - PHRASE + 1):
        phrase = tuple(units[place : place + PHRASE])
        if phrase in seen:
            covered[place : place + PHRASE] = [True] * PHRASE
        seen.add(phrase)
    size = len(units) + _SMOOTHING
    return n_soon / size, sum(covered) / size


_SYMBOLS = re.compile(r"[^\w\s\x00-\x7f]+(?:\s+[^\w\s\x00-\x7f]+)*")


def fold_symbols(text: str, sign: str = " ") -> str:
    """The text with each run of emoji and the like as one sign: that there are some says more than how many.

    Example:
        >>> fold_symbols("Good! 😂 😂😂 No")
        'Good!   No'
    """
    return _SYMBOLS.sub(sign, text)


_SENTENCE_END = re.compile(r"[.!?…؟۔።॥।]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[」』”）]*")


def cut_to_sentence(text: str) -> str:
    """A text up to the end of its last whole sentence; "" where it has none.

    Example:
        >>> cut_to_sentence("The soup was cold. The waiter cam"), cut_to_sentence("The soup was co")
        ('The soup was cold.', '')
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""
