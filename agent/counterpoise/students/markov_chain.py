"""New texts of a rare label from a chain of words that other labels' texts widen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from counterpoise.core.records import Integers, Objects
from counterpoise.students.made_texts import MadeTexts, Make, find_words, thin_out

_END = ""
_MOST_STEPS = 10  # for each word wanted: a chain of words that only lead to the end goes on for ever
Steps = dict[str, dict[str, float]]
"""Word -> the words that follow it, with how much speaks for each; `_END` stands before the first word."""


class MarkovOversampling(MadeTexts):
    """Rare labels filled from a Markov chain of words (Avela and Ilmonen, 2026, Extrapolated Markov chain ...).

    Steps between words are counted in the label's own texts and, where they start from a word that these have, in the
    texts of other labels too, there discounted by the label's share of the texts: so words come in that the label's few
    rows lack. From such a word the chain goes on with any word of the label, by how common it is there.
    """

    name = "emco"
    meaning = "texts of rare labels made by a Markov chain of words that other labels widen (EMCO)"
    share = 0.5

    def learn(self, texts: Objects) -> Make:
        """Chains as long as the label's texts."""
        words = [find_words(str(text)) for text in texts]

        def make(members: Integers, n_wanted: int, generator: np.random.Generator) -> list[str]:
            others = thin_out(np.setdiff1d(np.arange(len(words)), members))
            own = [words[row] for row in thin_out(members) if words[row]]
            return make_chains(own, [words[row] for row in others], n_wanted, generator)

        return make


def make_chains(
    own: Sequence[Sequence[str]],
    others: Sequence[Sequence[str]],
    n_wanted: int,
    generator: np.random.Generator,
) -> list[str]:
    """Texts of a label.

    Args:
        own: words of its texts, 1 or more each.
        others: words of the texts of other labels.
        n_wanted: how many.
        generator: what is drawn from.

    Returns:
        The texts, each as long as one of `own`; empty ones where the label has no word.
    """
    if not own:
        return [""] * n_wanted
    common = Counter(word for words in own for word in words)
    steps = count_steps(own, others, common)
    tables = {word: (list(after), np.cumsum(list(after.values()))) for word, after in steps.items()}
    any_word = list(common), np.cumsum(list(common.values()))
    made = []
    for _ in range(n_wanted):
        length, last = len(own[int(generator.integers(len(own)))]), _END
        chain: list[str] = []
        for _ in range(_MOST_STEPS * length):
            names, sums = tables.get(last, any_word)
            last = names[
                min(int(np.searchsorted(sums, generator.random() * sums[-1], side="right")), len(names) - 1)
            ]
            chain += [last] if last != _END else []
            if len(chain) == length:
                break
        made.append(" ".join(chain))
    return made


def count_steps(own: Sequence[Sequence[str]], others: Sequence[Sequence[str]], known: Counter[str]) -> Steps:
    """What follows each word of a label; no word follows itself.

    Args:
        own: words of the label's texts.
        others: words of the texts of other labels.
        known: the words of `own`.

    >>> count_steps([["cold", "soup"]], [["cold", "beer"]], Counter(["cold", "soup"]))["cold"]
    {'soup': 1.0, 'beer': 0.5}
    """
    steps: Steps = {}
    discount = len(own) / (len(own) + len(others))
    for texts, weight in ((own, 1.0), (others, discount)):
        for words in texts:
            line = [_END, *words, _END] if texts is own else words
            for word, after in pairwise(line):
                if after != word and (texts is own or word in known):
                    found = steps.setdefault(word, {})
                    found[after] = found.get(after, 0.0) + weight
    return steps
