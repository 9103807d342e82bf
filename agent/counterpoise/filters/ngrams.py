"""N-grams of anything that can be numbered (signs, words, classes of words), counted and smoothed.

Smoothing after Witten and Bell (1991), The Zero-Frequency Problem: what a context leaves to shorter contexts follows
how many kinds of things came after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats, Integers


@dataclass(frozen=True, slots=True)
class NGrams:
    """Counts of n-grams: for each order the sorted keys, their counts, and their contexts' totals and kinds.

    Args:
        width: numbers there are: 0 for the beginning, known ones from 1, the last one for what is unknown.
        n_unseen: things that share what is left for one that was never seen.
        keys: for each order (k,) sorted keys: rank of the n-gram without its last number, times width, plus the last.
        chances: for each order (k,) Witten-Bell's share of the n-gram's own count.
        rests: for each order (c,) what a context (an n-gram one shorter, by rank) leaves to shorter contexts.
    """

    width: int
    n_unseen: int
    keys: tuple[Integers, ...]
    chances: tuple[Floats, ...]
    rests: tuple[Floats, ...]

    def measure(self, codes: Integers, starts: Integers) -> tuple[Floats, Integers]:
        """Mean surprise a place of n sequences in nats, and how many places that is taken over (0 places: 0 nats).

        Args:
            codes: (m,) all sequences one after the other, each begun by a 0.
            starts: (n,) where they begin.
        """
        if not len(codes):
            return np.zeros(len(starts)), np.zeros(len(starts), dtype=np.int64)
        # From the shortest context to the longest: what a context has not seen is left to the shorter one.
        chance = np.full(len(codes), 1.0 / (self.width + self.n_unseen))
        context = np.zeros(len(codes), dtype=np.int64)
        for keys, own, rest in zip(self.keys, self.chances, self.rests, strict=True):
            known = context >= 0
            wanted = np.where(known, context * self.width + codes, -1)
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found = known & (keys[place] == wanted)
            chance = np.where(known, np.where(found, own[place], 0.0) + rest[context] * chance, chance)
            rank = np.where(found, place, -1)
            context = np.concatenate([[-1], rank[:-1]])
        ends = np.append(starts[1:], len(codes))
        places = ends - starts - 1  # without the mark that begins a sequence
        surprise = -np.log(np.maximum(chance, 1e-300))
        surprise[starts] = 0.0
        sums = np.add.reduceat(surprise, starts)
        return sums / np.maximum(places, 1), np.asarray(places, dtype=np.int64)


def fit_ngrams(codes: Integers, width: int, order: int, n_unseen: int) -> NGrams:
    """Learn n-grams of 1 to `order` places.

    Args:
        codes: (m,) all sequences one after the other, each begun by a 0.
        width: numbers there are, see `NGrams`.
        order: places of the longest.
        n_unseen: see `NGrams`.
    """
    keys, chances, rests = [], [], []
    context, n_contexts = np.zeros(len(codes), dtype=np.int64), 1
    for _ in range(order):
        known = context >= 0
        found, ranks, counts = np.unique(
            context[known] * width + codes[known], return_inverse=True, return_counts=True
        )
        owner = found // width
        totals = np.bincount(owner, weights=counts, minlength=n_contexts)
        kinds = np.bincount(owner, minlength=n_contexts)
        keys.append(found)
        chances.append(counts / (totals + kinds)[owner])
        rests.append(np.where(totals > 0, kinds / np.maximum(totals + kinds, 1), 1.0))
        rank = np.full(len(codes), -1, dtype=np.int64)
        rank[known] = ranks
        context, n_contexts = np.concatenate([[-1], rank[:-1]]), len(found)
    return NGrams(width, n_unseen, tuple(keys), tuple(chances), tuple(rests))
