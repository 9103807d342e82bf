"""Rows that say the same: within the training rows, with different labels, across the split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.lint.columns import Columns, Hashes, TextColumn, read_facts
from counterpoise.balance.lint.report import Duplicates
from counterpoise.core.records import Integers
from counterpoise_retrievers.neighbours import group_near_duplicates

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Repeats:
    """What repeats, and where.

    Args:
        summary: the counts.
        groups: (n,) near-duplicate group of each training row.
        repeated: training rows that repeat an earlier text exactly.
        near: training rows of groups of near-duplicates that are not all the same text.
        conflicts: training rows whose text also occurs with another label.
        near_conflicts: training rows whose group has another label, and whose text has not.
        leaked: training rows that are held-out rows too.
        near_leaked: training rows with a near-duplicate, but no equal text, among the held-out rows.
    """

    summary: Duplicates
    groups: Integers
    repeated: Integers
    near: Integers
    conflicts: Integers
    near_conflicts: Integers
    leaked: Integers
    near_leaked: Integers


def find_repeats(
    columns: Columns,
    hashes: Hashes,
    is_empty: NDArray[np.bool_],
    held_out: TextColumn | None,
    threshold: float,
) -> Repeats:
    """Group the training rows, together with the held-out ones, and count what repeats.

    Args:
        columns: the training rows.
        hashes: (n,) hashes of their texts.
        is_empty: (n,) rows without text; they count as repeats of nothing.
        held_out: texts of the held-out rows.
        threshold: similarity of near-duplicates, 0..1.
    """
    n = len(hashes)
    texts = columns.texts.followed_by(held_out) if held_out is not None else columns.texts
    all_groups = group_near_duplicates(texts.arrays(), threshold)
    groups, filled = all_groups[:n], np.flatnonzero(~is_empty)
    _, exact = np.unique(hashes, return_inverse=True)
    is_repeated, is_near = _mark_repeats(exact, filled), _mark_mixed(groups, exact, filled)
    labelled = filled[columns.labels.codes[filled] >= 0]
    is_conflict = _mark_mixed(exact, columns.labels.codes, labelled)
    is_group_conflict = _mark_mixed(groups, columns.labels.codes, labelled)
    is_leaked = is_near_leaked = np.zeros(n, dtype=bool)
    n_leaked = n_near_leaked = 0
    if held_out is not None:
        facts = read_facts(held_out)
        held_groups, is_held = all_groups[n:], facts.words > 0
        is_leaked = np.isin(hashes, facts.hashes[is_held]) & ~is_empty
        is_near_leaked = np.isin(groups, held_groups[is_held]) & ~is_empty & ~is_leaked
        n_leaked = int((np.isin(facts.hashes, hashes[filled]) & is_held).sum())
        n_near_leaked = int(
            ((np.isin(held_groups, groups[filled]) | np.isin(facts.hashes, hashes[filled])) & is_held).sum()
        )
    summary = Duplicates(
        n_exact=int(is_repeated.sum()),
        n_near=len(filled) - len(np.unique(groups[filled])),
        n_exact_conflicts=len(np.unique(exact[is_conflict])),
        n_near_conflicts=len(np.unique(groups[is_group_conflict])),
        n_leaked_exact=n_leaked,
        n_leaked_near=n_near_leaked,
    )
    return Repeats(
        summary=summary,
        groups=groups,
        repeated=np.flatnonzero(is_repeated),
        near=np.flatnonzero(is_near),
        conflicts=np.flatnonzero(is_conflict),
        near_conflicts=np.flatnonzero(is_group_conflict & ~is_conflict),
        leaked=np.flatnonzero(is_leaked),
        near_leaked=np.flatnonzero(is_near_leaked),
    )


def choose_representatives(
    groups: Integers, hashes: Hashes, columns: Columns
) -> tuple[Integers, NDArray[np.uint64]]:
    """One labelled row of each group of near-duplicates, chosen by hash and not by position.

    The choice must not favour a label, or unequal group sizes would look like an association. So equal
    texts are numbered in an order that does not depend on the file, and the number is hashed together with
    the text.

    Args:
        groups: (n,) group numbers.
        hashes: (n,) hashes of the texts.
        columns: the rows.

    Returns:
        Positions of the chosen rows in the order of their keys, and the keys.
    """
    labels = columns.labels.codes
    rows = np.flatnonzero(labels >= 0)
    by_content: list[NDArray[Any]] = [labels[rows]]
    by_content += [coded.codes[rows] for coded in columns.attributes.values()]
    rows = rows[np.lexsort([*by_content, hashes[rows]])]
    keys = _mix(hashes[rows] + _number_repeats(hashes[rows]) * _ODD)
    by_group = np.lexsort((keys, groups[rows]))
    rows, keys = rows[by_group], keys[by_group]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = groups[rows][1:] != groups[rows][:-1]
    rows, keys = rows[is_first], keys[is_first]
    order = np.argsort(keys, kind="stable")
    return rows[order], keys[order]


def _mark_repeats(exact: Integers, rows: Integers) -> NDArray[np.bool_]:
    """Rows that repeat an earlier one."""
    marked = np.zeros(len(exact), dtype=bool)
    marked[rows] = True
    _, first = np.unique(exact[rows], return_index=True)
    marked[rows[first]] = False
    return marked


def _mark_mixed(groups: Integers, values: NDArray[Any], rows: Integers) -> NDArray[np.bool_]:
    """Rows of groups in which more than one value occurs."""
    marked = np.zeros(len(groups), dtype=bool)
    order = np.lexsort((values[rows], groups[rows]))
    by_group, by_value = groups[rows][order], values[rows][order]
    changes = (by_group[1:] == by_group[:-1]) & (by_value[1:] != by_value[:-1])
    marked[rows] = np.isin(groups[rows], by_group[1:][changes])
    return marked


def _number_repeats(ordered: Hashes) -> NDArray[np.uint64]:
    """0, 1, 2, ... within each run of equal values."""
    position = np.arange(len(ordered))
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else position
    lengths = np.diff(np.r_[starts, len(ordered)])
    return (position - np.repeat(starts, lengths)).astype(np.uint64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: neighbouring numbers become unrelated ones."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
