"""Which rows a prompt shows as examples: even over labels and, within each, over concepts; sure labels first.

A prompt whose examples are skewed skews the answers (Zhou et al., 2024, Explore spurious correlations at the concept
level in language models for text classification), so of each label half of the examples have a concept, as far as
there are such rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.core.records import Integers, Objects
from counterpoise.core.splits import keyed_rank
from counterpoise.runs.recipe.data import RecipeData

_LONGEST = 0.95
"""Quantile of the lengths of own rows from which a row is no example: one very long text would fill the window."""


def choose_examples(data: RecipeData, k: int, key: str) -> Integers:
    """Positions of k rows in the order in which they are shown.

    Only the user's own rows are taken. Chosen by keyed hash: one more row changes one example at most, as a rule.

    Args:
        data: the rows.
        k: how many, at least one for each label that has rows.
        key: another key draws others.
    """
    lengths = np.array([len(str(text)) for text in data.texts])
    own = data.original & (lengths <= np.quantile(lengths[data.original], _LONGEST))
    ids = name_rows(data)
    present = np.unique(data.labels[own])
    picked: list[int] = []
    for place, label in enumerate(present):
        n = k // len(present) + (place < k % len(present))
        picked += _choose_of_label(data, np.flatnonzero(own & (data.labels == label)), n, ids, key)
    return np.array(picked)[keyed_rank(ids[picked], f"{key}:order")]


def draw_even(data: RecipeData, n: int, without: Sequence[int] | Integers, key: str) -> Integers:
    """Positions of n own rows, as many of each label as there are, none of which is among others."""
    own = data.original.copy()
    own[np.asarray(without, dtype=np.int64)] = False
    ids, present = name_rows(data), np.unique(data.labels[own])
    picked: list[int] = []
    for label in present:
        members = np.flatnonzero(own & (data.labels == label))
        picked += members[keyed_rank(ids[members], key)][: n // len(present)].tolist()
    return np.array(sorted(picked), dtype=np.int64)


def name_rows(data: RecipeData) -> Objects:
    """(n,) ids of the rows, where they have none their texts."""
    if data.sources is None:
        return data.texts
    return np.array([str(one[0]) if len(one) else "" for one in data.sources], dtype=object)


def _choose_of_label(data: RecipeData, members: Integers, n: int, ids: Objects, key: str) -> list[int]:
    """Rows of one label: each time that which evens the concepts out best, of equals a sure one, then by hash."""
    order = members[keyed_rank(ids[members], key)]
    sure = np.zeros(len(order), np.bool_) if data.trusted is None else data.trusted[order]
    order = np.concatenate([order[sure], order[~sure]])
    n_sure, signs = int(sure.sum()), _read_signs(data, order)
    picked: list[int] = []
    balance = np.zeros(signs.shape[1])
    left = np.ones(len(order), np.bool_)
    while left.any() and len(picked) < n:
        among = left & (np.arange(len(order)) < n_sure) if left[:n_sure].any() else left
        places = np.flatnonzero(among)
        best = int(places[np.abs(balance + signs[places]).sum(axis=1).argmin()])
        picked.append(int(order[best]))
        balance += signs[best]
        left[best] = False
    return picked


def _read_signs(data: RecipeData, rows: Integers) -> Integers:
    """(n, concepts) 1 where a row has the concept, -1 where it has not, 0 where nobody knows."""
    if data.marks is None:
        return np.zeros((len(rows), 0), dtype=np.int64)
    states = data.marks.states[rows, : data.n_concepts].astype(np.int64)
    return np.where(states < 0, 0, 2 * states - 1)
