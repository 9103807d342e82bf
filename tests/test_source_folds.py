"""Own rows that were shown together share a fold, so that leaving one out takes little else along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoise.students.rows import Rows
from counterpoise.students.source_folds import N_FOLDS, assign_own_folds, mark_made
from tests.made_up import as_objects, join_rows
from tests.test_measures import make_side


def make_added(shown: Sequence[tuple[int, ...]]) -> Rows:
    """Fifteen bad and forty good own rows, and an added row for each set of own rows that was shown."""
    own, added = make_side(15, 40, 3), make_side(len(shown), 0, 4)
    sources = np.empty(55 + len(shown), dtype=object)
    sources[:] = [
        *((f"own {row}",) for row in range(55)),
        *(tuple(f"own {row}" for row in one) for one in shown),
    ]
    return replace(join_rows(own, replace(added, original=np.zeros(len(shown), np.bool_))), sources=sources)


def test_rows_that_were_shown_together_share_a_fold() -> None:
    groups = [(0, 3, 6, 9, 12), (1, 4, 7, 10, 13), (2, 5, 8, 11, 14)]
    rows = make_added([groups[turn % 3] for turn in range(12)])
    bad = rows.labels[0]
    folds = assign_own_folds(rows)
    assert (folds[55:] == -1).all()
    assert [len({int(folds[row]) for row in group}) for group in groups] == [1, 1, 1]
    assert len(set(folds[:15])) == 3, "a fold for each group"
    assert set(folds[:55][rows.labels[:55] != bad]) == set(range(N_FOLDS)), "other labels in all folds"
    marks = mark_made(rows, folds)
    assert (marks[:55] == 0).all() and (marks[55:].sum(axis=1) == 1).all()
    kept = [int((marks[55:, fold] == 0).sum()) for fold in set(folds[:15])]
    assert kept == [8, 8, 8], "two thirds of the added rows are left where a group is left out"


def test_rows_that_were_shown_with_all_others_are_divided_by_their_texts() -> None:
    rows = make_added([tuple(range(start, start + 5)) for start in range(11)])
    alone = replace(rows, sources=None)
    assert (assign_own_folds(rows) == assign_own_folds(alone)).all()
    assert len(set(assign_own_folds(rows)[:15])) == N_FOLDS
    assert (mark_made(alone, assign_own_folds(alone)) == 0).all()


def test_equal_texts_and_near_duplicates_share_a_fold_whatever_was_made_of_them() -> None:
    rows = make_added([(0, 1), (2, 3)])
    rows = replace(
        rows, texts=as_objects([rows.texts[0] if row == 5 else text for row, text in enumerate(rows.texts)])
    )
    folds = assign_own_folds(rows)
    assert folds[0] == folds[1] == folds[5] and folds[2] == folds[3]
    names = as_objects([f"group {row // 2}" for row in range(len(rows))])
    of_pairs = assign_own_folds(rows, names)
    assert all(of_pairs[row] == of_pairs[row + 1] for row in range(0, 14, 2))
