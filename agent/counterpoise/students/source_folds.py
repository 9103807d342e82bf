"""Folds of own rows that keep those together that records were made from: what is left out takes little else along.

A record that was made from five rows must not help to judge any of them. Were these spread over five folds, no fold
would have a record left, and nothing would be learned of what records are worth. So rows that were shown together, and
equal texts, share a fold where that leaves a label two folds or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.rows import Rows

N_FOLDS = 5
LARGEST_PART = 0.6
"""Share of a label's rows above which rows that were shown together do not stay together: the rest is too few to learn
from. A third of fifteen rows for each of three folds lies well below, all of them in one above."""


def assign_own_folds(rows: Rows, groups: Objects | None = None) -> Integers:
    """Divide the user's own rows into at most five folds, every label spread over all of them.

    Args:
        rows: n rows; `sources` say what was made from what.
        groups: (n,) name of the near-duplicates that each own row belongs to; None where equal texts are.

    Returns:
        (n,) folds from 0; -1 for added rows.
    """
    folds, own = np.full(len(rows), -1), np.flatnonzero(rows.original)
    names = (rows.texts if groups is None else groups)[own]
    if rows.sources is None:
        folds[own] = divide_rows(names, rows.labels[own])
    else:
        ids = [name for one in rows.sources[own] for name in one]
        folds[own] = divide_rows(names, rows.labels[own], ids, rows.sources[~rows.original])
    return folds


def divide_rows(
    names: Objects, labels: Integers, ids: Sequence[str] = (), sources: Iterable[Sequence[str]] = ()
) -> Integers:
    """(n,) folds of own rows.

    Args:
        names: (n,) what rows that have to stay together share: their text, or the name of their near-duplicates.
        labels: (n,) label indices.
        ids: (n,) their ids; empty where nothing was made of them.
        sources: of each added row the ids of the rows that it was made from.
    """
    numbers = np.unique(names.astype(str), return_inverse=True)[1]
    place_of = {name: place for place, name in enumerate(ids)}
    shown = [
        sorted(place_of[name] for name in made if name in place_of)
        for made in dict.fromkeys(frozenset(made) for made in sources)
    ]
    return _divide(labels, numbers, _link(numbers, shown))


def mark_made(rows: Rows, folds: Integers) -> Floats:
    """(n, n_folds) where 1 marks that a row was made from rows of that fold; see `validation.score_arms`.

    Args:
        rows: n rows.
        folds: (n,) what `assign_own_folds` gave.
    """
    marks = np.zeros((len(rows), int(folds.max()) + 1))
    if rows.sources is None:
        return marks
    fold_of = {name: folds[row] for row in np.flatnonzero(rows.original) for name in rows.sources[row]}
    for row in np.flatnonzero(~rows.original):
        marks[row, [fold_of[name] for name in rows.sources[row] if name in fold_of]] = 1
    return marks


def _link(names: Integers, shown: Sequence[Sequence[int]]) -> Integers:
    """(n,) number of the part of each row: rows of one name, and rows that were shown together, are in one."""
    n_names = int(names.max()) + 1 if len(names) else 0
    pairs = [(names[set_[0]], names[place]) for set_ in shown for place in set_[1:]]
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n_names, n_names))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)[names]


def _divide(labels: Integers, names: Integers, linked: Integers) -> Integers:
    """Folds of rows: parts of a label, the largest first, go where it has fewest rows."""
    folds = np.full(len(labels), -1)
    for label in sorted(np.unique(labels), key=lambda one: (labels == one).sum()):
        members = np.flatnonzero(labels == label)
        parts, sizes = np.unique(linked[members], return_counts=True)
        is_linked = len(parts) < len(np.unique(names[members])) and sizes.max() <= LARGEST_PART * len(members)
        if not is_linked:
            folds[members] = np.unique(names[members], return_inverse=True)[1] % N_FOLDS
            continue
        taken = np.bincount(folds[members][folds[members] >= 0], minlength=N_FOLDS)
        for part in parts[np.lexsort((parts, -sizes))]:
            mine = members[linked[members] == part]
            known = folds[linked == part]
            fold = int(known.max()) if (known >= 0).any() else int(taken.argmin())
            folds[linked == part] = fold
            taken[fold] += len(mine)
    return folds
