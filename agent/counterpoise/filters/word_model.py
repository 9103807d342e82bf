"""How much the order of a text's words surprises someone who has read the user's rows.

Words of the rows in a random order are made of the same letters as rows are, so the letters do not tell (`char_model`).
Their order does: a row's words surprise less in the order in which they stand than in any other. A few hundred rows
have seen too few pairs of words for that, so what is counted are classes: a frequent word is its own class, a
rarer one is known by its ending (Brown, deSouza, Mercer, Della Pietra, Lai 1992, for n-grams of classes), capitals and
signs are seen. What the order gains over random orders of the same words is 0 in the mean for words that stand in none,
however rare the words are: so a text about something new gains as others do.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.letters import is_written_without_blanks
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.ngrams import NGrams, fit_ngrams

ORDER = 3
"""Words of the longest n-gram."""

FEWEST_WORDS = 3
"""Words whose order can be told: with fewer there is hardly another one."""

MOST_WORDS = 120
"""Words of a text that are read, from its beginning."""

N_ORDERS = 8
"""Random orders that a text's own is compared with."""

_FEWEST_COUNTED = 4
"""Times that a word or an ending stands in the rows to be a class of its own."""

_ENDINGS = (3, 2, 1)
"""Letters of an ending, the longest that is frequent enough counts."""

_N_UNSEEN = 2
_PART = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]+")


@dataclass(frozen=True, slots=True)
class WordModel:
    """N-grams of classes of words.

    Args:
        words: frequent words, in lower case.
        endings: frequent endings of the others.
        classes: class -> number, from 1.
        ngrams: of these numbers.
    """

    words: frozenset[str]
    endings: frozenset[str]
    classes: dict[str, int]
    ngrams: NGrams

    def measure_gain(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        """What the order of n texts gains over random orders of their words, in nats a word, and how many words.

        Returns:
            (n,) gains, and (n,) words that they are taken over; texts with fewer than `FEWEST_WORDS` have 0 of both.
        """
        words = [split_words(text) for text in texts]
        judged = [row for row, one in enumerate(words) if len(one) >= FEWEST_WORDS]
        gains, counts = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
        if not judged:
            return gains, counts
        orders = [order for row in judged for order in (words[row], *_shuffle(words[row]))]
        surprise, places = self.ngrams.measure(*self._encode(orders))
        totals = (surprise * places).reshape(len(judged), 1 + N_ORDERS)
        counts[judged] = [len(words[row]) for row in judged]
        gains[judged] = (totals[:, 1:].mean(axis=1) - totals[:, 0]) / counts[judged]
        return gains, counts

    def measure_known(self, texts: Sequence[str]) -> Floats:
        """(n,) share of the words of n texts that are frequent in the rows, 0 to 1; 0 of a text without words."""
        shares = np.zeros(len(texts))
        for row, text in enumerate(texts):
            parts = [part.casefold() for word in split_words(text) for part in _PART.findall(word)]
            shares[row] = sum(part in self.words for part in parts) / max(1, len(parts))
        return shares

    def _encode(self, orders: Sequence[Sequence[str]]) -> tuple[Integers, Integers]:
        return _encode(orders, self.words, self.endings, self.classes)


def fit_word_model(texts: Sequence[str]) -> WordModel:
    """Learn classes of words and their n-grams from texts."""
    orders = [split_words(text) for text in texts]
    counts = Counter(part.casefold() for order in orders for word in order for part in _PART.findall(word))
    words = frozenset(word for word, count in counts.items() if count >= _FEWEST_COUNTED)
    tails: Counter[str] = Counter()
    for word, count in counts.items():
        if word not in words:
            tails.update({word[-size:]: count for size in _ENDINGS if len(word) > size})
    endings = frozenset(ending for ending, count in tails.items() if count >= _FEWEST_COUNTED)
    names = sorted({name for order in orders for name in _name_classes(order, words, endings)})
    classes = {name: place for place, name in enumerate(names, 1)}
    codes, _ = _encode(orders, words, endings, classes)
    return WordModel(words, endings, classes, fit_ngrams(codes, len(classes) + 2, ORDER, _N_UNSEEN))


def split_words(text: str) -> list[str]:
    """The first words of a text as they are moved: with their signs; letter by letter in scripts without blanks.

    Example:
        >>> split_words("Well, the soup!")
        ['Well,', 'the', 'soup!']
    """
    words: list[str] = []
    for word in text.split():
        words += list(word) if is_written_without_blanks(word) else [word]
        if len(words) >= MOST_WORDS:
            break
    return words[:MOST_WORDS]


def shuffle_words(text: str) -> str:
    """A text whose words stand in a random order, the same at each call."""
    return " ".join(_shuffle(split_words(text))[0])


def _shuffle(words: Sequence[str]) -> list[list[str]]:
    source = random.Random(" ".join(words).encode("utf-8", "surrogatepass"))  # noqa: S311  (no secret)
    return [source.sample(words, len(words)) for _ in range(N_ORDERS)]


def _name_classes(order: Sequence[str], words: frozenset[str], endings: frozenset[str]) -> list[str]:
    """The classes of the parts of words in their order, and the end of the text."""
    names = []
    for word in order:
        for part in _PART.findall(word):
            name = _name_class(part.casefold(), words, endings)
            names.append(f"{name}^" if part[0].isupper() else name)
    return [*names, "\x03"]


def _name_class(part: str, words: frozenset[str], endings: frozenset[str]) -> str:
    if part in words:
        return part
    if any(sign.isdigit() for sign in part):
        return "\x010"
    if not part[0].isalnum():
        return f"\x01{part[0]}"
    for size in _ENDINGS:
        if len(part) > size and part[-size:] in endings:
            return f"\x02{part[-size:]}"
    return "\x01"


def _encode(
    orders: Sequence[Sequence[str]],
    words: frozenset[str],
    endings: frozenset[str],
    classes: dict[str, int],
) -> tuple[Integers, Integers]:
    """Numbers of the classes of all texts, each begun by a 0, and where the texts begin."""
    unseen = len(classes) + 1
    parts, starts, size = [], [], 0
    for order in orders:
        part = [0, *(classes.get(name, unseen) for name in _name_classes(order, words, endings))]
        parts.append(np.array(part, dtype=np.int64))
        starts.append(size)
        size += len(part)
    whole: NDArray[np.int64] = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return whole, np.array(starts, dtype=np.int64)
