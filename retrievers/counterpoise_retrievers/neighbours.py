"""Neighbours in vectors: near-duplicates, agreement of labels, and a choice that is near and diverse.

Near-duplicates of texts without vectors are found by `group_near_duplicates`, which is here as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise_retrievers.arrays import Integers, check_vectors, normalise_rows
from counterpoise_retrievers.near_duplicates import group_near_duplicates

__all__ = ["find_near_duplicates", "group_near_duplicates", "knn_agreement", "pick_diverse"]

_QUERIES_A_BLOCK = 1024
_ROUNDING = 1e-5


def find_near_duplicates(
    vectors: ArrayLike, threshold: float, against: ArrayLike | None = None
) -> tuple[Integers, NDArray[np.float64]]:
    """Find all pairs of rows whose cosine reaches a threshold.

    Args:
        vectors: (n, dimension), not zero.
        threshold: least cosine, above 0 and at most 1.
        against: (m, dimension) rows to compare with; the vectors themselves where it is None.

    Returns:
        Pairs (p, 2) int64, sorted: positions in `vectors` and in `against`, or in `vectors` twice, the
        smaller first; and their cosines (p,).

    Raises:
        ValueError: the threshold is out of range, or vectors cannot be used.
    """
    import faiss

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: a number above 0 and at most 1 is needed, found {threshold}")
    left = normalise_rows(check_vectors(vectors))
    right = left if against is None else normalise_rows(check_vectors(against, left.shape[1], what="against"))
    index: Any = faiss.IndexFlatIP(max(1, left.shape[1]))
    index.add(right)
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(left), _QUERIES_A_BLOCK):
        limits, _, positions = index.range_search(
            left[start : start + _QUERIES_A_BLOCK], threshold - _ROUNDING
        )
        queries = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        pairs = np.stack([queries, positions.astype(np.int64)], axis=1)
        found.append(pairs if against is not None else pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    # FAISS's last bits depend on where a row lies, and rows of length 1 are so to seven digits only.
    cosines = _multiply_rows(left, right, pairs)
    is_near = cosines >= threshold - 1e-6
    return pairs[is_near], cosines[is_near]


def knn_agreement(vectors: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.float64]:
    """Give for each row the share of its k nearest other rows that have its label.

    Args:
        vectors: (n, dimension), n at least 2, not zero; nearness is the cosine, ties go to the earlier row.
        labels: (n,) of any type that can be compared.
        k: neighbours, at least 1; all others where there are fewer.

    Returns:
        (n,) in 0..1.

    Raises:
        ValueError: fewer than two rows, k below 1, or another number of labels.
    """
    from counterpoise_retrievers.faiss_index import FaissIndex

    rows = normalise_rows(check_vectors(vectors))
    names = np.asarray(labels)
    if len(rows) < 2 or names.shape != (len(rows),) or k < 1:
        raise ValueError(f"{len(rows)} vectors, labels of shape {names.shape}, k = {k}: cannot be compared")
    k = min(k, len(rows) - 1)
    index = FaissIndex(rows.shape[1])
    index.add(rows)
    _, positions = index.search(rows, k + 1)
    is_other = positions != np.arange(len(rows))[:, None]
    # Among many equal rows a row need not be found itself; then the last one found is one too many.
    is_other[is_other.all(axis=1), -1] = False
    neighbours = positions[is_other].reshape(len(rows), k)
    agreement: NDArray[np.float64] = (names[neighbours] == names[:, None]).mean(axis=1)
    return agreement


def pick_diverse(relevance: ArrayLike, vectors: ArrayLike, k: int, trade_off: float = 0.7) -> Integers:
    """Pick rows that are relevant and unlike each other.

    Maximal marginal relevance (Carbonell and Goldstein 1998): each step takes the row with the largest
    `trade_off * relevance - (1 - trade_off) * nearest`, where `nearest` is its largest cosine to a row taken.

    Args:
        relevance: (n,) finite numbers, best on the scale of a cosine.
        vectors: (n, dimension), not zero.
        k: rows wanted, at least 0; all of them where there are fewer.
        trade_off: 1 looks at relevance only, 0 at diversity only.

    Returns:
        (min(k, n),) int64 positions in the order of choice; ties go to the smaller position.

    Raises:
        ValueError: shapes do not fit, a number is not finite, or `trade_off` lies outside 0..1.
    """
    rows = normalise_rows(check_vectors(vectors)).astype(np.float64)
    wanted = np.asarray(relevance, dtype=np.float64)
    if wanted.shape != (len(rows),) or not np.isfinite(wanted).all():
        raise ValueError(f"relevance: {len(rows)} finite numbers are needed, found shape {wanted.shape}")
    if k < 0 or not 0 <= trade_off <= 1:
        raise ValueError(f"k must not be negative and trade_off lies in 0..1, found {k} and {trade_off}")
    nearest = np.zeros(len(rows))
    is_left = np.ones(len(rows), dtype=np.bool_)
    picked: list[int] = []
    for step in range(min(k, len(rows))):
        # Rounded, so that rows that are equal but for the last bits tie.
        gain = np.round(trade_off * wanted - (1 - trade_off) * nearest, 9)
        choice = int(np.argmax(np.where(is_left, gain, -np.inf)))
        picked.append(choice)
        is_left[choice] = False
        similarity = rows @ rows[choice]
        nearest = similarity if step == 0 else np.maximum(nearest, similarity)
    return np.array(picked, dtype=np.int64)


def _multiply_rows(left: NDArray[Any], right: NDArray[Any], pairs: Integers) -> NDArray[np.float64]:
    """Give the inner product of each pair of rows: (p,), added up in float64."""
    products = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), _QUERIES_A_BLOCK):
        block = pairs[start : start + _QUERIES_A_BLOCK]
        first, second = left[block[:, 0]].astype(np.float64), right[block[:, 1]].astype(np.float64)
        products[start : start + len(block)] = np.einsum("pd,pd->p", first, second)
    return products
