"""Small random changes of the rows of rare labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.preprocessing import normalize

from counterpoise.core.records import Integers, Objects
from counterpoise.students.made_texts import MadeTexts, Make, find_words, thin_out

_CHANGED_RATIO = 0.1
_N_NEAR = 3
_LEAST_NEAR = 0.1


class EasyAugmentation(MadeTexts):
    """Rare labels filled with their texts, a tenth of the words changed (Wei and Zou, 2019, EDA).

    Words are swapped, left out, replaced or added. Theirs come from WordNet; here a word is replaced by one that stands
    between the same words in the user's own rows, so that any language will do.
    """

    name = "easy_augmentation"
    meaning = "texts of rare labels with some words swapped, left out, replaced or added"
    share = 0.75

    def learn(self, texts: Objects) -> Make:
        """The label's texts take turns as what is changed."""
        near = WordNeighbours([find_words(str(text)) for text in texts[thin_out(np.arange(len(texts)))]])

        def make(members: Integers, n_wanted: int, generator: np.random.Generator) -> list[str]:
            sources = [find_words(str(text)) for text in texts[members]]
            return [change(sources[n % len(sources)], near.find, generator) for n in range(n_wanted)]

        return make


def change(
    words: list[str], find_near: Callable[[str], Sequence[str]], generator: np.random.Generator
) -> str:
    """A text with a tenth of its words, at least one, swapped, left out, replaced or added: one of the four at random.

    Args:
        words: of the text; fewer than two stay as they are.
        find_near: gives words that may stand for a word.
        generator: what is drawn from.

    >>> change(["the", "soup", "was", "cold"], lambda word: [], np.random.default_rng(1))
    'the soup was'
    """
    if len(words) < 2:
        return " ".join(words)
    changed = list(words)
    n_changes = max(1, round(_CHANGED_RATIO * len(words)))
    kind = generator.integers(4)
    if kind == 1:
        kept = generator.permutation(len(words))[: max(1, len(words) - n_changes)]
        return " ".join(words[place] for place in sorted(kept))
    for _ in range(n_changes):
        place = int(generator.integers(len(changed)))
        if kind == 0:
            other = int(generator.integers(len(changed)))
            changed[place], changed[other] = changed[other], changed[place]
            continue
        near = find_near(changed[place])
        if near:
            word = near[int(generator.integers(len(near)))]
            if kind == 2:
                changed[place] = word
            else:
                changed.insert(int(generator.integers(len(changed) + 1)), word)
    return " ".join(changed)


class WordNeighbours:
    """Which words stand between the same words as another.

    Args:
        texts: their words.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._places = {
            word: place for place, word in enumerate(dict.fromkeys(w for words in texts for w in words))
        }
        self._words = list(self._places)
        self._contexts = self._count(texts)
        self._known: dict[str, list[str]] = {}

    def find(self, word: str) -> list[str]:
        """At most three words whose neighbours are most like those of `word`."""
        if word not in self._known:
            self._known[word] = self._find(self._places[word]) if word in self._places else []
        return self._known[word]

    def _find(self, place: int) -> list[str]:
        likeness = (self._contexts @ self._contexts[place].T).toarray().ravel()
        likeness[place] = 0.0
        nearest = np.argsort(-likeness, kind="stable")[:_N_NEAR]
        return [self._words[other] for other in nearest if likeness[other] > _LEAST_NEAR]

    def _count(self, texts: Sequence[Sequence[str]]) -> csr_matrix:
        """(n, 2n) of unit length: how often each word stands before and behind each of the n words, rare ones more."""
        n = len(self._words)
        if not n:
            return csr_matrix((0, 0))
        pairs = np.array(
            [(self._places[a], self._places[b]) for words in texts for a, b in pairwise(words)]
        ).reshape(-1, 2)
        rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
        columns = np.concatenate([pairs[:, 1], pairs[:, 0] + n])
        counts = csr_matrix(coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, 2 * n)))
        counts.data = np.log1p(counts.data)
        rarity = np.log(max(n, 2) / np.maximum(np.bincount(counts.indices, minlength=2 * n), 1))
        return csr_matrix(normalize(counts.multiply(rarity)))
