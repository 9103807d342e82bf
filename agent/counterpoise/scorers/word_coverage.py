"""Texts that together have the words that many texts have: what to read first of a heap that is alike in kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from counterpoise.core.records import Integers, Objects

_LEFT = 0.3  # of what a word is worth, once a chosen text has it


def order_by_coverage(texts: Objects, known: Sequence[str], n: int) -> Integers:
    """Put the texts first that cover most of the words of all, each time the one that adds most.

    A word is worth the log of how many of the texts have it, and little once a chosen text has it; words of one text
    alone, and of texts that are known already, are worth nothing. What a text adds is divided by the root of its
    length, or long texts would always win (greedy maximum coverage: Lin and Bilmes, 2011, A class of submodular
    functions for document summarization, scale costs likewise).

    Args:
        texts: (m,) of which to choose; of equals the earlier one comes first.
        known: texts whose words are known.
        n: how many are chosen.

    Returns:
        (m,) positions: those chosen, then all others in their order.

    >>> order_by_coverage(np.array(["a fine day", "free prize", "free prize now", "call now"]), [], 1).tolist()
    [2, 0, 1, 3]
    """
    words = CountVectorizer(binary=True)
    analyse = words.build_analyzer()
    if not any(analyse(text) for text in texts):
        return np.arange(len(texts))
    has = words.fit_transform(texts).tocsr()
    counts = np.asarray(has.sum(axis=0)).ravel()
    worth = np.log1p(counts) * (counts > 1)
    if len(known):
        worth[np.asarray(words.transform(known).sum(axis=0)).ravel() > 0] = 0.0
    scale = 1 / np.sqrt(np.asarray(has.sum(axis=1)).ravel() + 1)
    chosen: list[int] = []
    for _ in range(min(n, len(texts))):
        gains = has @ worth * scale
        gains[chosen] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        worth[has[best].indices] *= _LEFT
    return np.concatenate([np.array(chosen, dtype=np.int64), np.setdiff1d(np.arange(len(texts)), chosen)])
