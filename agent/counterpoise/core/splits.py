"""Choices that survive growth: held-out rows, folds and samples by the rank of a keyed hash.

Nothing is chosen by position or by a random generator's state. A row's place is the rank of a hash of its
content, so one more row, or another order of the file, moves next to nothing. Near-duplicates (one value of
`Records.groups`) stay together; where `groups` is empty, equal texts do.

>>> [["a", "b", "c", "d"][position] for position in sample_by_rank(["a", "b", "c", "d"], 2, "pilot")]
['b', 'd']
>>> [["d", "c", "b", "a"][position] for position in sample_by_rank(["d", "c", "b", "a"], 2, "pilot")]
['b', 'd']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.errors import JobError
from counterpoise.core.records import UNLABELLED, Integers, Objects, Records

_LARGE_GROUP = 50


def keyed_hash(key: str, item: str) -> int:
    """An unsigned 64-bit hash of `item` that differs for every `key`: blake2b over key, NUL and item."""
    digest = blake2b(f"{key}\0{item}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def keyed_rank(ids: Sequence[str] | Objects, key: str) -> Integers:
    """Positions of `ids` in the order of their keyed hashes: (n,) integers.

    Which ids come first does not depend on the order in which they are given.
    """
    return np.argsort(_hash_all(ids, key), kind="stable").astype(np.int64)


def sample_by_rank(ids: Sequence[str] | Objects, k: int, key: str) -> Integers:
    """Positions of the `k` ids of lowest rank (all, where there are fewer), in rank order."""
    return keyed_rank(ids, key)[: max(k, 0)]


def choose_held_out(records: Records, share: float, key: str) -> NDArray[np.bool_]:
    """Choose whole near-duplicate groups to hold out, the same share of every label.

    Of the m groups of a label the `round(share * m)` with the lowest hashes are held out: at least one where
    the label has two groups or more, never all. A group of more than fifty rows that is more than `share` of the
    label's rows stays in training (a text that stands there three hundred times would take most rows with it);
    where all are so large the smallest is held out. A group's hash is the smallest hash of its texts, so copies
    do not move it; its label is the label of the member with that hash. Hence a row that is added, removed or
    copied changes the choice of at most one group besides its own; only where it changes the label of its
    group, one in each of the two labels. Groups without any label stay in training.

    Args:
        records: the rows; `groups` may be empty.
        share: wanted share of groups, between 0 and 1 (both excluded).
        key: another key gives another choice.

    Returns:
        (n,) mask, true where a row is held out.

    Raises:
        JobError: `share` is out of range.
    """
    if not 0 < share < 1:
        raise JobError(f"found {share}", where="held_out", hint="write a share between 0 and 1, such as 0.2")
    groups = _rank_groups(records, key)
    chosen = np.zeros(groups.n, dtype=bool)
    for members in groups.by_label.values():
        n_held_out = min(max(round(share * len(members)), 1), len(members) - 1)
        sizes = groups.sizes[members]
        fitting = members[sizes <= max(_LARGE_GROUP, share * sizes.sum())]
        if not len(fitting):
            fitting = members[np.argsort(sizes, kind="stable")]
            n_held_out = min(n_held_out, 1)
        chosen[fitting[:n_held_out]] = True
    return chosen[groups.of_row]


def assign_folds(records: Records, n_folds: int, key: str) -> Integers:
    """Assign whole near-duplicate groups to folds, every label spread over all of them.

    Folds by rank modulo `n_folds` would move every later row when one row comes in between, and folds by hash
    alone leave a label of a dozen rows out of some fold more often than not. So both: of a label's groups the
    `n_folds` with the lowest hashes take a fold each (the one their hash names, or the next free one), all
    others the fold their hash names. Every label with at least `n_folds` groups is in every fold, one with
    fewer never twice in one, and a new row moves another group only if it comes among these first ones: then
    at most `n_folds` of them, else none at all.

    Args:
        records: the rows; `groups` may be empty.
        n_folds: number of folds, 2 or more.
        key: another key gives other folds.

    Returns:
        (n,) integers in 0..n_folds-1.

    Raises:
        JobError: fewer than two folds.
    """
    if n_folds < 2:
        raise JobError(f"found {n_folds}", where="n_folds", hint="write 2 or more")
    groups = _rank_groups(records, key)
    folds = (groups.hashes % np.uint64(n_folds)).astype(np.int64)
    for members in groups.by_label.values():
        free = set(range(n_folds))
        for group in members[:n_folds]:
            fold = int(folds[group])
            while fold not in free:
                fold = (fold + 1) % n_folds
            free.remove(fold)
            folds[group] = fold
    return folds[groups.of_row]


@dataclass(frozen=True)
class _Groups:
    """Groups of rows: `of_row` (n,), their `hashes`, and for each label its groups in the order of hashes."""

    of_row: Integers
    hashes: NDArray[np.uint64]
    by_label: dict[int, Integers]

    @property
    def n(self) -> int:
        return len(self.hashes)

    @property
    def sizes(self) -> Integers:
        """Rows of each group."""
        return np.bincount(self.of_row, minlength=self.n).astype(np.int64)


def _rank_groups(records: Records, key: str) -> _Groups:
    """Number the groups of rows, give each its smallest text hash and the label of the row that has it."""
    names = records.groups if len(records.groups) else records.texts
    numbers: dict[str, int] = {}
    of_row = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(records))
    row_hashes = _hash_all(records.texts, key)
    hashes = np.full(len(numbers), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(hashes, of_row, row_hashes)
    labels = np.full(len(numbers), UNLABELLED, dtype=np.int64)
    labelled = np.flatnonzero(records.labels != UNLABELLED)
    # Written from the highest hash down, so that the lowest, and among copies the lowest label, is the last.
    order = labelled[np.lexsort((records.labels[labelled], row_hashes[labelled]))][::-1]
    labels[of_row[order]] = records.labels[order]
    by_label = {}
    for label in np.unique(labels[labels != UNLABELLED]):
        members = np.flatnonzero(labels == label)
        by_label[int(label)] = members[np.argsort(hashes[members], kind="stable")]
    return _Groups(of_row, hashes, by_label)


def _hash_all(items: Sequence[str] | Objects, key: str) -> NDArray[np.uint64]:
    return np.fromiter((keyed_hash(key, item) for item in items), np.uint64, len(items))
