"""Easy data augmentation: small random changes of the rows one has, an arm that costs no token.

Wei and Zou (2019), EDA: Easy data augmentation techniques for boosting performance on text classification tasks.
Their synonym replacement and their insertion of synonyms need WordNet, which is not here: words that are inserted are
the text's own, and nothing is replaced. The share of words that change is theirs, 0.1. Texts are made for every label
until it has as many rows as the largest.

>>> augment("the soup was cold", np.random.default_rng(1))
'the soup was'
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHANGED_RATIO = 0.1


def augment(text: str, generator: np.random.Generator, ratio: float = CHANGED_RATIO) -> str:
    """One changed text: words swapped, deleted, or own words inserted, one of the three at random.

    Args:
        text: any text; one of fewer than two words stays as it is.
        generator: what is drawn from.
        ratio: share of the words that change, 0 to 1; one at least.
    """
    words = text.split()
    if len(words) < 2:
        return text
    n_changes = max(1, round(ratio * len(words)))
    kind = generator.integers(3)
    if kind == 0:
        for _ in range(n_changes):
            first, second = generator.choice(len(words), 2, replace=False)
            words[first], words[second] = words[second], words[first]
    elif kind == 1:
        kept = generator.permutation(len(words))[: max(1, len(words) - n_changes)]
        words = [words[place] for place in sorted(kept)]
    else:
        for _ in range(n_changes):
            words.insert(int(generator.integers(len(words) + 1)), words[generator.integers(len(words))])
    return " ".join(words)


def fill_labels(rows: Sequence[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Changed texts that give every label as many rows as the largest has.

    Args:
        rows: texts with labels.
        seed: of the draw.

    Returns:
        The new rows alone; the rows of a label take turns as their source.
    """
    members: dict[str, list[str]] = {}
    for text, label in rows:
        members.setdefault(label, []).append(text)
    most = max(len(texts) for texts in members.values())
    made = []
    for place, label in enumerate(sorted(members)):
        generator = np.random.default_rng([seed, place])
        texts = members[label]
        made += [(augment(texts[n % len(texts)], generator), label) for n in range(most - len(texts))]
    return made
