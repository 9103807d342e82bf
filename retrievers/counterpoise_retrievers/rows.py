"""Many vectors, in memory or in a file, looked at block by block.

A memory-mapped file counts as memory of the process once it has been looked at; here such a file is read in blocks
instead, so that a corpus larger than memory can be searched.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise_retrievers.arrays import Integers, Vectors

_ROWS_A_BLOCK = 2048
_PRODUCTS_AT_ONCE = 512


class RowSource(Protocol):
    """Vectors that can be looked at in blocks."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def iterate(self, block_size: int) -> Iterator[tuple[int, Vectors]]:
        """The rows in order: the first row's number and (at most block_size, dimension) float32.

        A block holds until the next one is asked for.
        """
        ...


class ArrayRows:
    """Rows of a matrix, whatever its type."""

    def __init__(self, matrix: NDArray[Any]) -> None:
        self._matrix = matrix

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._matrix)

    def iterate(self, block_size: int) -> Iterator[tuple[int, Vectors]]:
        """The rows in order."""
        for start in range(0, len(self), block_size):
            yield start, np.ascontiguousarray(self._matrix[start : start + block_size], dtype=np.float32)


class FileRows:
    """Rows of float32 in a file, one behind the other.

    Args:
        path: the file.
        n_rows: rows that are read.
        dimension: numbers in a row.
        offset: bytes before the first row.
    """

    def __init__(self, path: Path, n_rows: int, dimension: int, offset: int = 0) -> None:
        self._path = path
        self._n_rows = n_rows
        self._dimension = dimension
        self._offset = offset

    def __len__(self) -> int:
        """Number of rows."""
        return self._n_rows

    def iterate(self, block_size: int) -> Iterator[tuple[int, Vectors]]:
        """The rows in order; OSError where the file is shorter than it was."""
        buffer = np.empty((min(block_size, max(1, self._n_rows)), self._dimension), dtype=np.float32)
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for start in range(0, self._n_rows, block_size):
                block = buffer[: min(block_size, self._n_rows - start)]
                if file.readinto(block.data) != block.nbytes:
                    raise OSError(f"{self._path}: ends before row {start + len(block)}")
                yield start, block


def open_rows(vectors: ArrayLike, dimension: int) -> RowSource:
    """Look at vectors as rows without copying them.

    Raises:
        ValueError: no matrix of real numbers, or another number of columns.
    """
    matrix: NDArray[Any] = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub" or matrix.shape[1] != dimension:
        raise ValueError(
            f"passages: a matrix of numbers (n, {dimension}) is needed, found {matrix.dtype} {matrix.shape}"
        )
    if (
        isinstance(matrix, np.memmap)
        and isinstance(
            matrix.base, mmap.mmap
        )  # of a part of a mapped file numpy does not say where it begins
        and isinstance(matrix.filename, str | Path)
        and matrix.dtype == np.float32
        and matrix.flags.c_contiguous
    ):
        return FileRows(Path(matrix.filename), len(matrix), dimension, matrix.offset)
    return ArrayRows(matrix)


def find_longest(rows: RowSource) -> float:
    """The length of the longest row; ValueError where a row holds NaN or infinity."""
    longest = 0.0
    for start, block in rows.iterate(_ROWS_A_BLOCK):
        squares = np.einsum("nd,nd->n", block, block)
        if not np.isfinite(squares).all():
            row = start + int(np.flatnonzero(~np.isfinite(squares))[0])
            raise ValueError(f"passages: row {row} holds NaN or infinity, or is too long")
        longest = max(longest, float(squares.max(initial=0.0)))
    return float(np.sqrt(longest))


def multiply_rows(
    rows: RowSource, positions: Integers, queries: Vectors, owners: Integers
) -> NDArray[np.float64]:
    """Give the inner products of some rows with some queries, added up in float64.

    Args:
        rows: where the rows are.
        positions: (n,) which rows.
        queries: (q, dimension).
        owners: (n,) which query each row is multiplied with.
    """
    products = np.empty(len(positions), dtype=np.float64)
    order = np.argsort(positions, kind="stable")
    sorted_positions = positions[order]
    for start, block in rows.iterate(_ROWS_A_BLOCK):
        first, last = np.searchsorted(sorted_positions, (start, start + len(block)))
        for at in range(first, last, _PRODUCTS_AT_ONCE):
            some = order[at : min(at + _PRODUCTS_AT_ONCE, last)]
            left = block[positions[some] - start].astype(np.float64)
            products[some] = np.einsum("nd,nd->n", left, queries[owners[some]].astype(np.float64))
    return products
