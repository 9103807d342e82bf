"""A FAISS index whose answers do not depend on what else is asked.

FAISS adds up products in an order that depends on the number of queries and on where a row lies, so that
scores differ in their last bits from call to call, and among equal scores any row may come first. Here FAISS
finds the candidates; their scores are computed anew in float64, and ties go to the row that was added first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise_retrievers.arrays import Integers, Vectors, check_vectors
from counterpoise_retrievers.scraps import scrap

_SPARE = 16
"""Candidates beyond k that are fetched at first."""

_MAX_CANDIDATES = 4096
"""Where ties reach further, all rows are looked at."""

_QUERIES_A_BLOCK = 4096
"""Queries that FAISS is asked at once."""

_NUMBERS_A_BLOCK = 2**23
"""Numbers gathered at once when scores are computed anew (64 MiB of float64)."""

_ROUNDING = 1e-5
"""FAISS's scores of vectors of length 1 lie this near to the true ones."""


class FaissIndex:
    """Rows that are searched by inner product; exact. For rows of length 1 that is the cosine.

    Args:
        dimension: numbers in a row.

    Raises:
        ValueError: the dimension is not positive.
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"dimension: a positive number is needed, found {dimension}")
        self.dimension = dimension
        self._index: Any = faiss.IndexFlatIP(dimension)
        self._longest = 0.0

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._index.ntotal)

    @property
    def vectors(self) -> Vectors:
        """The rows (n, dimension), a read-only view that holds until rows are added."""
        if len(self) == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        flat = faiss.rev_swig_ptr(self._index.get_xb(), len(self) * self.dimension)
        view: Vectors = flat.reshape(len(self), self.dimension)
        view.flags.writeable = False
        return view

    def add(self, vectors: ArrayLike) -> None:
        """Append rows.

        Args:
            vectors: (n, dimension) real numbers, finite; kept as float32.

        Raises:
            ValueError: they have another shape or hold NaN or infinity.
        """
        rows = check_vectors(vectors, self.dimension)
        self._index.add(rows)
        self._longest = max(self._longest, _find_longest(rows))

    def search(self, vectors: ArrayLike, k: int) -> tuple[Vectors, Integers]:
        """Find the rows with the largest inner products.

        Args:
            vectors: (n, dimension) queries.
            k: rows wanted for each.

        Returns:
            Scores (n, min(k, rows)) float32 and positions (n, min(k, rows)) int64, by falling score, equal
            scores by rising position. A query's answer does not depend on the other queries.

        Raises:
            ValueError: the queries have another shape or hold NaN or infinity, or k is below 1.
        """
        if k < 1:
            raise ValueError(f"k: a positive number is needed, found {k}")
        queries = check_vectors(vectors, self.dimension, what="queries")
        k = min(k, len(self))
        scores = np.empty((len(queries), k), dtype=np.float32)
        positions = np.empty((len(queries), k), dtype=np.int64)
        if k == 0:
            return scores, positions
        left = np.arange(len(queries))
        n_candidates = min(k + _SPARE, len(self))
        while len(left) and n_candidates <= max(_MAX_CANDIDATES, k + _SPARE):
            unsettled = []
            block_size = max(1, min(_QUERIES_A_BLOCK, _NUMBERS_A_BLOCK // n_candidates))
            for start in range(0, len(left), block_size):
                block = left[start : start + block_size]
                found = self._search_candidates(queries[block], k, n_candidates)
                scores[block], positions[block] = found[0], found[1]
                unsettled.append(block[~found[2]])
            # For what is left, ties (or nearly so) reach beyond the candidates.
            left = np.concatenate(unsettled)
            n_candidates *= 4
        for place in left:
            scores[place], positions[place] = self._search_all(queries[place], k)
        return scores, positions

    def save(self, path: Path) -> None:
        """Write the index to a file, whole or not at all; OSError where that fails."""
        with scrap(path.with_name(path.name + ".part")) as temporary:
            try:
                faiss.write_index(self._index, str(temporary))
            except RuntimeError as error:
                raise OSError(f"{path}: the index cannot be written: {error}") from error
            temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> FaissIndex:
        """Read an index that was saved.

        Raises:
            ValueError: there is no such file, or it holds no index of this kind.
        """
        try:
            read = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path}: no readable index: {error}") from error
        if type(read) is not faiss.IndexFlatIP:
            raise ValueError(f"{path}: an index of another kind: {type(read).__name__}")
        index = cls(read.d)
        index._index = read
        index._longest = _find_longest(index.vectors)
        return index

    def _search_candidates(
        self, queries: Vectors, k: int, n_candidates: int
    ) -> tuple[Vectors, Integers, NDArray[np.bool_]]:
        n_candidates = min(n_candidates, len(self))
        rough, candidates = self._index.search(queries, n_candidates)
        true = np.empty_like(rough)
        block_size = max(1, _NUMBERS_A_BLOCK // (n_candidates * self.dimension))
        for start in range(0, len(queries), block_size):
            block = slice(start, start + block_size)
            gathered = self.vectors[candidates[block]].astype(np.float64)
            true[block] = np.matmul(gathered, queries[block, :, None].astype(np.float64))[:, :, 0]
        order = np.lexsort((candidates, -true))[:, :k]
        best = np.take_along_axis(true, order, axis=1)
        # A row that is no candidate scores at most the last rough score and the rounding of FAISS.
        slack = _ROUNDING * self._longest * np.sqrt(np.einsum("nd,nd->n", queries, queries))
        is_settled = rough[:, -1] + slack < best[:, -1]
        return best, np.take_along_axis(candidates, order, axis=1), is_settled | (n_candidates == len(self))

    def _search_all(self, query: Vectors, k: int) -> tuple[Vectors, Integers]:
        scores = np.empty(len(self), dtype=np.float32)
        wide = query.astype(np.float64)
        block_size = max(1, _NUMBERS_A_BLOCK // self.dimension)
        for start in range(0, len(self), block_size):
            rows = self.vectors[start : start + block_size].astype(np.float64)
            scores[start : start + len(rows)] = rows @ wide
        positions = np.argsort(-scores, kind="stable")[:k]
        return scores[positions], positions


def _find_longest(rows: Vectors) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", rows, rows).max(initial=0.0)))
