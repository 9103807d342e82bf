"""Documents by id beside an index of their vectors: replaced, deleted and found under a condition.

An index only grows. What is deleted or replaced leaves a row that no search gives back; a `FaissIndex` is made anew
without such rows once they are the most, a `StoredIndex` keeps them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from counterpoise_retrievers.arrays import Integers, Vectors
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.rows import multiply_rows, open_rows
from counterpoise_retrievers.stored_index import StoredIndex

Item = TypeVar("Item")

_DEPTH = 64
"""Rows that are looked at first; where too few of them are wanted, all documents are."""

_LEAST_DEAD = 1000
_ROWS_A_BLOCK = 8192


class DocumentIndex(Generic[Item]):
    """Documents of any kind by id, and their rows in an index.

    Args:
        index: where the vectors go, empty.

    Attributes:
        rows: id -> row.
        next_id: number from which automatic ids go on.
        lock: held by every method; hold it around several that belong together.

    Raises:
        ValueError: the index holds rows already.
    """

    def __init__(self, index: FaissIndex | StoredIndex) -> None:
        if len(index):
            raise ValueError(f"index: an empty one is needed, found {len(index)} rows without documents")
        self.index = index
        self.rows: dict[str, int] = {}
        self.next_id = 0
        self.lock = threading.RLock()
        self._items: list[Item | None] = []  # by row; None where there is none any more

    def name(self, names: Sequence[str | None]) -> list[str]:
        """Fill in names that are None with numbers that no document has or is given."""
        with self.lock:
            taken = {name for name in names if name is not None}
            filled = []
            for name in names:
                while name is None and (str(self.next_id) in taken or str(self.next_id) in self.rows):
                    self.next_id += 1
                filled.append(str(self.next_id) if name is None else name)
                self.next_id += name is None
            return filled

    def add(self, items: Mapping[str, Item], vectors: Vectors) -> None:
        """Add documents with their vectors (n, dimension), in their order; those of the same id are replaced.

        Raises:
            ValueError: the vectors have another shape or hold NaN or infinity.
        """
        with self.lock:
            first = len(self.index)
            self._items += [None] * (first - len(self._items))  # rows of an addition that failed
            self.index.add(vectors)
            self._forget(items)
            self._items += items.values()
            self.rows |= {name: row for row, name in enumerate(items, first)}
            self._compact()

    def delete(self, names: Iterable[str] | None) -> None:
        """Delete documents, all of them where names is None; names that are not there are passed over."""
        with self.lock:
            self._forget(list(self.rows) if names is None else names)
            self._compact()

    def get(self, row: int) -> Item:
        """The document of a row.

        Raises:
            KeyError: there is none.
        """
        item = self._items[row] if 0 <= row < len(self._items) else None
        if item is None:
            raise KeyError(row)
        return item

    def find(
        self, query: Vectors, k: int, keeps: Callable[[Item], object] | None = None
    ) -> list[tuple[int, float]]:
        """The nearest rows whose document is kept: k of them where there are k.

        Args:
            query: (1, dimension).
            k: rows wanted, at least 1.
            keeps: true for documents that may be found, asked once for each; None keeps all.

        Returns:
            Rows and inner products, by falling product, equal ones by rising row.

        Raises:
            ValueError: k is below 1, or the query has another shape.
        """
        if isinstance(k, bool) or k < 1:
            raise ValueError(f"k: a positive number is needed, found {k}")
        with self.lock:
            if not self.rows:
                return []
            verdicts: dict[int, bool] = {}

            def is_wanted(row: int) -> bool:
                if row not in verdicts:
                    item = self._items[row] if 0 <= row < len(self._items) else None
                    verdicts[row] = item is not None and (keeps is None or bool(keeps(item)))
                return verdicts[row]

            scores, rows = self.index.search(query, min(len(self.index), max(_DEPTH, 4 * k)))
            pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
            found = [(row, score) for row, score in pairs if is_wanted(row)][:k]
            if len(found) == min(k, len(self.rows)):
                return found
            wanted = np.array(sorted(filter(is_wanted, self.rows.values())), dtype=np.int64)
            return self._rank(query, wanted)[:k]

    def _rank(self, query: Vectors, rows: Integers) -> list[tuple[int, float]]:
        """Some rows by their inner product with a query, which is computed as `FaissIndex` does."""
        source = open_rows(self.index.vectors, self.index.dimension)
        owners = np.zeros(len(rows), dtype=np.int64)
        products = multiply_rows(source, rows, query, owners).astype(np.float32)
        order = np.argsort(-products, kind="stable")
        return list(zip(rows[order].tolist(), products[order].tolist(), strict=True))

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            row = self.rows.pop(name, None)
            if row is not None:
                self._items[row] = None

    def _compact(self) -> None:
        n_dead = len(self.index) - len(self.rows)
        if isinstance(self.index, StoredIndex) or n_dead < max(_LEAST_DEAD, len(self.rows)):
            return
        living = sorted((row, name) for name, row in self.rows.items())
        index = FaissIndex(self.index.dimension)
        for start in range(0, len(living), _ROWS_A_BLOCK):
            index.add(self.index.vectors[[row for row, _ in living[start : start + _ROWS_A_BLOCK]]])
        self.index, self._items = index, [self._items[row] for row, _ in living]
        self.rows = {name: row for row, (_, name) in enumerate(living)}
