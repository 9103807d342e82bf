"""Hard negatives: for each query the nearest passages that are not known to answer it.

limits = ScoreLimits(relative_margin=0.05)
mined = mine_hard_negatives(query_vectors, passage_vectors, positives, n_negatives=30, limits=limits)
mined.indices[0]  # rows of passages, nearest first, -1 where there are no more

A passage that scores almost as high as a known positive is more likely an answer that nobody wrote down than a
negative; the positive-aware margins leave such passages out (Moreira et al. 2024, NV-Retriever: at most 95% of the
positive's score). The search is exact: rough products of whole numbers (see `rough_products`) rule out nearly all
passages of a block, the others are multiplied out, and only what can still be among the best is kept, so memory grows
with queries times negatives, never with queries times passages.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from counterpoise_retrievers.arrays import Integers, Vectors, check_vectors
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.rough_products import RoughProducts
from counterpoise_retrievers.rows import RowSource, find_longest, multiply_rows, open_rows

Floats = NDArray[np.float64]

_PASSAGES_A_BLOCK = 2048
_PRODUCTS_AT_ONCE = 1024
_SPARE = 8
"""Candidates beyond those wanted that are kept, so that rounding cannot push a wanted one out."""

_ROUNDING = 1e-5
"""Products of float32 vectors of length 1 lie this near to the true ones."""

_FEWEST_QUERIES = 256
"""Queries of a thread below which rounding the passages costs more than it saves."""

_MOST_HITS = 0.03
"""Share of the products of a block above which multiplying all of them out at once is faster."""


@dataclass(frozen=True, slots=True)
class ScoreLimits:
    """How high a negative may score; None for no such limit.

    Args:
        absolute_margin: at most the lowest positive's score minus this, 0 or more.
        relative_margin: at most the lowest positive's score minus this share of its size, 0 or more; 0.05 is the 95%
            band.
        max_score: at most this.
    """

    absolute_margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is limited."""
        return self.absolute_margin is None and self.relative_margin is None and self.max_score is None

    def find_highest(self, lowest: Floats) -> Floats:
        """The largest scores that negatives may have, infinite where nothing says.

        Args:
            lowest: (queries,) the lowest score of a query's positives, NaN where it has none.
        """
        highest = np.full(len(lowest), np.inf if self.max_score is None else self.max_score)
        if self.absolute_margin is not None:
            highest = np.fmin(highest, lowest - self.absolute_margin)
        if self.relative_margin is not None:
            # A share of the size, so that the band lies below a negative score as well.
            highest = np.fmin(highest, lowest - np.abs(lowest) * self.relative_margin)
        return highest


NO_LIMITS = ScoreLimits()


@dataclass(frozen=True)
class MinedNegatives:
    """What mining found.

    Args:
        indices: (queries, n_negatives) int64 rows of passages, nearest first; -1 where there are no more.
        scores: (queries, n_negatives) float32 inner products; -inf where there are no more.
        positive_scores: (queries,) float32, the lowest score of a query's positives; NaN where it has none.
    """

    indices: Integers
    scores: Vectors
    positive_scores: Vectors


def mine_hard_negatives(
    query_vectors: ArrayLike,
    passages: ArrayLike | FaissIndex,
    positives: Sequence[Sequence[int]],
    *,
    n_negatives: int,
    range_min: int = 0,
    range_max: int | None = None,
    limits: ScoreLimits = NO_LIMITS,
    block_queries: int = 512,
) -> MinedNegatives:
    """Find the hardest passages for each query that are not its positives; exact and deterministic.

    Ranks count the passages that are not positives, from 0, before margins apply. Among equal scores the earlier row
    comes first. The answer for a query depends on no other query and on no block size.

    Args:
        query_vectors: (q, dimension), rows of length 1 as a rule.
        passages: (p, dimension) vectors, a `numpy.memmap` of them (read in blocks, never held), or a `FaissIndex`.
        positives: for each query the rows of the passages that answer it; may be empty.
        n_negatives: how many are wanted for each query.
        range_min: ranks below this are skipped.
        range_max: ranks from this on are not looked at; None means `range_min + n_negatives`, and ten times
            `n_negatives` where a limit may leave some out.
        limits: how high a negative may score.
        block_queries: queries that a thread looks at at once, at most.

    Raises:
        ValueError: shapes do not fit, a positive is no row of the passages, or a number is out of range.
    """
    queries = check_vectors(query_vectors, what="queries")
    rows = open_rows(passages.vectors if isinstance(passages, FaissIndex) else passages, queries.shape[1])
    known = _check_positives(positives, len(queries), len(rows))
    if range_max is None:
        range_max = range_min + n_negatives * (1 if limits.is_open else 10)
    if n_negatives < 1 or range_min < 0 or range_max <= range_min or block_queries < 1:
        raise ValueError(
            f"n_negatives {n_negatives}, ranks {range_min} to {range_max}, block_queries {block_queries}: out of range"
        )
    if min(limits.absolute_margin or 0, limits.relative_margin or 0) < 0:
        raise ValueError(
            f"margins must not be negative, found {limits.absolute_margin} and {limits.relative_margin}"
        )
    longest = find_longest(rows)
    lowest = _find_lowest_positive(queries, rows, known)
    highest = limits.find_highest(lowest)
    lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
    slacks = _ROUNDING * longest * lengths
    n_kept = min(range_max, range_min + n_negatives)
    indices = np.full((len(queries), n_negatives), -1, dtype=np.int64)
    scores = np.full((len(queries), n_negatives), -np.inf, dtype=np.float32)
    n_threads = os.cpu_count() or 1
    parts = _cut(len(queries), n_threads)

    def search(part: slice) -> tuple[Integers, Vectors]:
        tile = _Tile(queries[part], highest[part], slacks[part], known.select(part), n_kept, block_queries)
        for first, block in rows.iterate(_PASSAGES_A_BLOCK):
            tile.scan(block, first)
        return tile.settle(rows, range_min, range_max, n_negatives)

    # Each thread multiplies blocks of its own and waits for no other, so picking the best runs in parallel as well.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        for part, found in zip(parts, pool.map(search, parts), strict=True):
            indices[part], scores[part] = found
    return MinedNegatives(indices, scores, lowest.astype(np.float32))


@dataclass(frozen=True)
class _Pairs:
    """Known positives, sorted by passage."""

    queries: Integers
    passages: Integers

    def select(self, part: slice) -> _Pairs:
        """Those of some queries, counted from the first of them."""
        is_in = (self.queries >= part.start) & (self.queries < part.stop)
        return _Pairs(self.queries[is_in] - part.start, self.passages[is_in])


class _Tile:
    """Some queries and the best passages found for them so far."""

    def __init__(
        self, queries: Vectors, limits: Floats, slacks: Floats, known: _Pairs, n_kept: int, block_queries: int
    ) -> None:
        self._queries = queries
        self._limits = limits
        self._slacks = slacks
        self._known = known
        self._n_kept = n_kept
        self._cuts = [
            slice(start, min(start + block_queries, len(queries)))
            for start in range(0, len(queries), block_queries)
        ]
        shape = (len(queries), n_kept + _SPARE)
        self._scores = np.full(shape, -np.inf, dtype=np.float32)
        self._positions = np.full(shape, -1, dtype=np.int64)
        self._floors = np.full(len(queries), -np.inf, dtype=np.float32)
        self._ceilings = (limits + slacks).astype(np.float32)
        self._n_above = np.zeros(len(queries), dtype=np.int64)
        self._rough = RoughProducts(queries) if len(queries) >= _FEWEST_QUERIES else None
        self._n_exact, self._n_waits = 1, 1

    def scan(self, passages: Vectors, start: int) -> None:
        """Take in a block of passages that begins at row `start`."""
        first, last = np.searchsorted(self._known.passages, (start, start + len(passages)))
        known = _Pairs(self._known.queries[first:last], self._known.passages[first:last] - start)
        rough = self._rough if self._n_exact == 0 else None
        slack = np.empty(0, dtype=np.float32) if rough is None else rough.load(passages)
        self._n_exact = max(0, self._n_exact - 1)
        n_hits = 0
        for cut in self._cuts:
            if rough is not None:
                queries, columns, scores = self._find_roughly(
                    rough, cut, passages, known.select(cut), slack[cut]
                )
                n_hits += len(scores)
            else:
                queries, columns, scores = self._find(cut, passages, known.select(cut), is_first=start == 0)
            is_hit = scores > self._floors[queries]
            if is_hit.any():
                self._merge(queries[is_hit], columns[is_hit] + start, scores[is_hit])
        if n_hits > _MOST_HITS * len(self._queries) * len(passages):
            # Rounding rules too little out here, or not yet: multiply some blocks out, each time more.
            self._n_exact, self._n_waits = self._n_waits, 2 * self._n_waits

    def _find(
        self, cut: slice, passages: Vectors, known: _Pairs, *, is_first: bool
    ) -> tuple[Integers, Integers, Vectors]:
        """Queries, columns and scores above the floors, all products multiplied out."""
        scores = self._queries[cut] @ passages.T
        scores[known.queries, known.passages] = -np.inf
        width = self._scores.shape[1]
        if is_first and len(passages) > width:
            # A first floor out of the first scores, so that not every score of the first block is a candidate.
            capped = np.where(scores > self._ceilings[cut, None], np.float32(-np.inf), scores)
            capped.partition(capped.shape[1] - width, axis=1)
            self._floors[cut] = np.nextafter(capped[:, capped.shape[1] - width], np.float32(-np.inf))
        hits = np.flatnonzero(scores > self._floors[cut, None])
        queries, columns = np.divmod(hits, len(passages))
        return queries + cut.start, columns, scores.ravel()[hits]

    def _find_roughly(
        self, rough: RoughProducts, cut: slice, passages: Vectors, known: _Pairs, slack: Vectors
    ) -> tuple[Integers, Integers, Vectors]:
        """The same and some more: only what rough products cannot rule out is multiplied out."""
        products = rough.multiply(cut)
        products[known.queries, known.passages] = -np.inf
        lowest = (self._floors[cut] - slack) / rough.get_steps(cut)
        hits = np.flatnonzero(products > np.nextafter(lowest, np.float32(-np.inf))[:, None])
        queries, columns = np.divmod(hits, len(passages))
        queries += cut.start
        scores = np.empty(len(hits), dtype=np.float32)
        for at in range(0, len(hits), _PRODUCTS_AT_ONCE):
            some = slice(at, at + _PRODUCTS_AT_ONCE)
            np.einsum("nd,nd->n", self._queries[queries[some]], passages[columns[some]], out=scores[some])
        return queries, columns, scores

    def settle(
        self, rows: RowSource, range_min: int, range_max: int, n_negatives: int
    ) -> tuple[Integers, Vectors]:
        """Order what was kept by exact scores and cut the window of ranks out of it."""
        scores = np.full(self._scores.shape, -np.inf)
        queries, columns = np.nonzero(self._positions >= 0)
        positions = self._positions[queries, columns]
        scores[queries, columns] = multiply_rows(rows, positions, self._queries, queries)
        is_above = scores > self._limits[:, None]
        is_full = self._positions[:, -1] >= 0
        n_above = self._n_above + is_above.sum(axis=1)
        scores[is_above] = -np.inf
        order = np.lexsort((np.where(self._positions < 0, np.iinfo(np.int64).max, self._positions), -scores))
        scores = np.take_along_axis(scores, order, axis=1)
        positions = np.take_along_axis(self._positions, order, axis=1)
        # What was pushed out scores at most the floor, but for rounding.
        last = scores[:, self._n_kept - 1]
        is_open = is_full & ~(last > self._floors + 2 * self._slacks)
        for query in np.flatnonzero(is_open).tolist():
            scores[query], positions[query], n_above[query] = self._search_all(rows, query)
        positions = np.where(np.isneginf(scores), -1, positions)
        ranks = n_above[:, None] + np.arange(scores.shape[1])
        is_wanted = (ranks >= range_min) & (ranks < range_max) & (positions >= 0)
        is_wanted &= np.cumsum(is_wanted, axis=1) <= n_negatives
        places = np.cumsum(is_wanted, axis=1) - 1
        indices = np.full((len(scores), n_negatives), -1, dtype=np.int64)
        best = np.full((len(scores), n_negatives), -np.inf, dtype=np.float32)
        chosen = np.nonzero(is_wanted)
        indices[chosen[0], places[chosen]] = positions[chosen]
        best[chosen[0], places[chosen]] = scores[chosen]
        return indices, best

    def _merge(self, queries: Integers, positions: Integers, scores: Vectors) -> None:
        """Put hits, sorted by query, among the best; count those above the ceiling."""
        is_above = scores > self._ceilings[queries]
        if is_above.any():
            self._n_above += np.bincount(queries[is_above], minlength=len(self._floors))
            queries, positions, scores = queries[~is_above], positions[~is_above], scores[~is_above]
        counts = np.bincount(queries, minlength=len(self._floors))
        touched = np.flatnonzero(counts)
        if not len(touched):
            return
        row_of = np.cumsum(counts > 0) - 1
        offsets = np.arange(len(queries)) - (np.cumsum(counts) - counts)[queries]
        width = self._scores.shape[1]
        joint = np.full((len(touched), width + counts.max()), -np.inf, dtype=np.float32)
        where = np.full(joint.shape, -1, dtype=np.int64)
        joint[:, :width], where[:, :width] = self._scores[touched], self._positions[touched]
        joint[row_of[queries], width + offsets] = scores
        where[row_of[queries], width + offsets] = positions
        best = np.argpartition(-joint, width - 1, axis=1)[:, :width]
        kept = np.take_along_axis(joint, best, axis=1)
        self._scores[touched], self._positions[touched] = kept, np.take_along_axis(where, best, axis=1)
        self._floors[touched] = kept[:, width - 1]

    def _search_all(self, rows: RowSource, query: int) -> tuple[Floats, Integers, int]:
        """Score every passage exactly for one query whose ties reach beyond what was kept."""
        every = np.arange(len(rows))
        scores = multiply_rows(rows, every, self._queries, np.full(len(rows), query))
        scores[self._known.passages[self._known.queries == query]] = -np.inf
        n_above = int((scores > self._limits[query]).sum())
        scores[scores > self._limits[query]] = -np.inf
        best = np.argsort(-scores, kind="stable")[: self._scores.shape[1]]
        width = self._scores.shape[1] - len(best)
        return (
            np.pad(scores[best], (0, width), constant_values=-np.inf),
            np.pad(best.astype(np.int64), (0, width), constant_values=-1),
            n_above,
        )


def _cut(n_queries: int, n_threads: int) -> list[slice]:
    """Parts of equal size, one for each thread."""
    bounds = [n_queries * place // n_threads for place in range(n_threads + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds) if stop > start]


def _check_positives(positives: Sequence[Sequence[int]], n_queries: int, n_passages: int) -> _Pairs:
    if len(positives) != n_queries:
        raise ValueError(f"positives: {n_queries} lists are needed, found {len(positives)}")
    queries = np.repeat(np.arange(n_queries), [len(each) for each in positives])
    passages = np.fromiter((int(row) for each in positives for row in each), np.int64, len(queries))
    if len(passages) and not (passages.min() >= 0 and passages.max() < n_passages):
        raise ValueError(
            f"positives: rows 0 to {n_passages - 1} are there, found {passages.min()} to {passages.max()}"
        )
    order = np.argsort(passages, kind="stable")
    return _Pairs(queries[order], passages[order])


def _find_lowest_positive(queries: Vectors, rows: RowSource, known: _Pairs) -> Floats:
    """The lowest score of each query's positives, NaN where it has none."""
    lowest = np.full(len(queries), np.inf)
    np.minimum.at(lowest, known.queries, multiply_rows(rows, known.passages, queries, known.queries))
    return np.where(np.isinf(lowest), np.nan, lowest)
