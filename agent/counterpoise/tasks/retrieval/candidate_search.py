"""What a query finds in a corpus by meaning and by words, both rankings fused.

Vectors prefer the short, the early and the literal (see `encoder_audit`); words have other preferences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats
from counterpoise_retrievers.arrays import Integers, Vectors
from counterpoise_retrievers.hard_negatives import NO_LIMITS, ScoreLimits, mine_hard_negatives

WAYS = ("dense", "bm25", "fused")


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Queries and the passages that are searched.

    Args:
        queries: q texts.
        query_vectors: (q, dimension).
        texts: p texts.
        passage_vectors: (p, dimension).
        known: for each query the places of passages that answer it; they are no candidates.
    """

    queries: Sequence[str]
    query_vectors: Vectors
    texts: Sequence[str]
    passage_vectors: Vectors
    known: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How candidates are found.

    Args:
        n_candidates: wanted for each query.
        way: one of `WAYS`.
        least_depth: candidates of each way that are fused, at least.
        range_min: ranks by meaning below this are skipped.
        range_max: ranks by meaning from this on are not looked at; None as in `mine_hard_negatives`.
        limits: how high the cosine of a candidate may be, whichever way found it.
        has_gaps: what is found by words keeps its rank among all passages, those that answer the query included;
            else ranks count candidates alone.
    """

    n_candidates: int
    way: str = "fused"
    least_depth: int = 0
    range_min: int = 0
    range_max: int | None = None
    limits: ScoreLimits = NO_LIMITS
    has_gaps: bool = False


def find_candidates(space: SearchSpace, settings: SearchSettings) -> Integers:
    """(q, n_candidates) places of passages, best first; -1 where there are no more.

    Raises:
        ValueError: a number of the settings is out of range.
    """
    from counterpoise_retrievers.fusion import fuse_rankings

    n_candidates = settings.n_candidates
    depth = n_candidates if settings.way == "dense" else max(settings.least_depth, n_candidates)
    dense = mine_hard_negatives(
        space.query_vectors,
        space.passage_vectors,
        space.known,
        n_negatives=depth,
        range_min=settings.range_min,
        range_max=settings.range_max,
        limits=settings.limits,
    )
    if settings.way == "dense":
        return dense.indices
    highest = settings.limits.find_highest(dense.positive_scores.astype(np.float64))
    by_words = _search_words(space, settings, depth, highest)
    if settings.way == "bm25":
        return by_words[:, :n_candidates]
    return fuse_rankings([dense.indices, by_words], n_candidates)[1]


def _search_words(space: SearchSpace, settings: SearchSettings, depth: int, highest: Floats) -> Integers:
    """(q, any) places by BM25, best first, of passages whose cosine is not above the query's highest."""
    from counterpoise_retrievers.bm25 import BM25Index

    n_known = max(map(len, space.known), default=0)
    n_read = n_known + (depth if settings.limits.is_open else 2 * depth)
    _, words = BM25Index(space.texts).search(space.queries, n_read)
    if settings.has_gaps:
        for row, known in zip(words, space.known, strict=True):
            row[np.isin(row, known)] = -1
        return words
    by_words = np.full((len(space.queries), depth), -1, dtype=np.int64)
    for row, known in enumerate(space.known):
        found = words[row][(words[row] >= 0) & ~np.isin(words[row], known)]
        scores = space.passage_vectors[found].astype(np.float64) @ space.query_vectors[row].astype(np.float64)
        kept = found[scores <= highest[row]][:depth]
        by_words[row, : len(kept)] = kept
    return by_words
