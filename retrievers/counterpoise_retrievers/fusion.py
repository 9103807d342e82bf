"""Reciprocal rank fusion: one ranking out of several, by ranks alone.

Cormack, Clarke and Buettcher (2009): a passage's weight is the sum over rankings of 1 / (60 + rank). Scores of
encoders and of BM25 have no common scale; ranks do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise_retrievers.arrays import Integers


def fuse_rankings(
    rankings: Sequence[ArrayLike], k: int, *, constant: float = 60.0
) -> tuple[NDArray[np.float64], Integers]:
    """Fuse rankings of the same queries.

    Args:
        rankings: each (n, any) places, best first; -1 stands for nothing.
        k: places wanted for each query.
        constant: how little the first ranks stand out.

    Returns:
        Weights (n, k) and places (n, k), by falling weight, equal weights by rising place; weight 0 and place -1 where
        there are no more.

    Raises:
        ValueError: there is no ranking, they have different numbers of queries, or a number is out of range.
    """
    tables = [np.asarray(ranking, dtype=np.int64) for ranking in rankings]
    if not tables or any(table.ndim != 2 or len(table) != len(tables[0]) for table in tables):
        raise ValueError(
            f"rankings (n, any) of the same n are needed, found {[table.shape for table in tables]}"
        )
    if k < 1 or constant <= 0:
        raise ValueError(f"k and the constant must be positive, found {k} and {constant}")
    weights = np.zeros((len(tables[0]), k))
    places = np.full((len(tables[0]), k), -1, dtype=np.int64)
    for row in range(len(tables[0])):
        ranks = np.concatenate([np.arange(1, table.shape[1] + 1) for table in tables])
        found = np.concatenate([table[row] for table in tables])
        names, owners = np.unique(found[found >= 0], return_inverse=True)
        sums = np.bincount(owners, weights=1.0 / (constant + ranks[found >= 0]), minlength=len(names))
        best = np.lexsort((names, -np.round(sums, 12)))[:k]
        weights[row, : len(best)], places[row, : len(best)] = sums[best], names[best]
    return weights, places
