"""Checks of vectors that every part of this package relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float32]
Integers = NDArray[np.int64]


def check_vectors(vectors: ArrayLike, dimension: int | None = None, *, what: str = "vectors") -> Vectors:
    """Give `vectors` as a C-contiguous float32 matrix.

    Args:
        vectors: anything that numpy reads as a matrix of numbers (n, dimension).
        dimension: columns that are expected; any number where it is None.
        what: the name that errors use.

    Returns:
        (n, dimension) float32; the same memory where it already has that form.

    Raises:
        ValueError: it is no matrix of real numbers, has another number of columns, or holds NaN or infinity.
    """
    matrix = np.asarray(vectors)
    if matrix.ndim != 2:
        raise ValueError(f"{what}: a matrix (n, dimension) is needed, found shape {matrix.shape}")
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"{what}: real numbers are needed, found {matrix.dtype}")
    if dimension is not None and matrix.shape[1] != dimension:
        raise ValueError(f"{what}: {dimension} columns are needed, found {matrix.shape[1]}")
    converted: Vectors = np.ascontiguousarray(matrix, dtype=np.float32)
    if not np.isfinite(converted).all():
        row = int(np.flatnonzero(~np.isfinite(converted).all(axis=1))[0])
        raise ValueError(f"{what}: row {row} holds NaN or infinity")
    return converted


def normalise_rows(vectors: NDArray[Any], *, what: str = "vectors") -> Vectors:
    """Scale each row to length 1.

    Args:
        vectors: (n, dimension) real numbers; sums are taken in float64.
        what: the name that errors use.

    Returns:
        (n, dimension) float32.

    Raises:
        ValueError: a row is zero, NaN or infinite, so that it has no direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    if len(lengths) and not (np.isfinite(lengths).all() and lengths.min() > 0):
        row = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
        raise ValueError(f"{what}: row {row} is zero or not finite and has no direction")
    scaled: Vectors = (wide / lengths[:, None]).astype(np.float32)
    return scaled
