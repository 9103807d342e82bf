"""Splits: whole groups, every label, and next to nothing moves when a row comes or goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.core.errors import JobError
from counterpoise.core.records import UNLABELLED, Records
from counterpoise.core.splits import assign_folds, choose_held_out, keyed_hash, keyed_rank, sample_by_rank

# A group's label is a function of its name here: mixed groups have a test of their own.
ROWS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3)), min_size=2, max_size=60)


def make(rows: list[tuple[int, int]]) -> Records:
    """Rows of (group, variant); equal variants of a group are exact copies."""
    n = len(rows)
    return Records(
        ids=np.array([f"id{number}" for number in range(n)], dtype=object),
        texts=np.array([f"text {group} {variant}" for group, variant in rows], dtype=object),
        labels=np.array([group % 3 for group, _ in rows], dtype=np.int64),
        label_names=("a", "b", "c"),
        groups=np.array([f"g{group}" for group, _ in rows], dtype=object),
    )


def held_out_groups(rows: list[tuple[int, int]], share: float = 0.3) -> dict[int, bool]:
    mask = choose_held_out(make(rows), share, "key")
    chosen: dict[int, set[bool]] = {}
    for (group, _), flag in zip(rows, mask, strict=True):
        chosen.setdefault(group, set()).add(bool(flag))
    assert all(len(flags) == 1 for flags in chosen.values()), "a group was torn apart"
    return {group: flags.pop() for group, flags in chosen.items()}


def test_a_text_that_is_most_of_a_label_is_not_held_out():
    rows = [(0, 0)] * 300 + [(3 * group, 0) for group in range(1, 101)]
    for key in map(str, range(10)):
        mask = choose_held_out(make(rows), 0.2, key)
        assert not mask[:300].any()
        assert mask.sum() == 20
    only_large = make([(0, 0)] * 200 + [(3, 0)] * 100)
    assert choose_held_out(only_large, 0.2, "key").sum() == 100


@given(ROWS, st.tuples(st.integers(0, 25), st.integers(0, 3)), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_one_more_row_changes_at_most_one_other_group(rows, new, position):
    before = held_out_groups(rows)
    position = min(position, len(rows))
    after = held_out_groups([*rows[:position], new, *rows[position:]])
    changed = [group for group in before if group != new[0] and before[group] != after[group]]
    assert len(changed) <= 1


@given(ROWS, st.integers(0, 59), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_copies_and_order_change_nothing(rows, position, random):
    before = held_out_groups(rows)
    folds = dict(zip(rows, assign_folds(make(rows), 3, "key").tolist(), strict=True))
    more = [*rows, rows[position % len(rows)]]
    random.shuffle(more)
    assert held_out_groups(more) == before
    assert dict(zip(more, assign_folds(make(more), 3, "key").tolist(), strict=True)) == folds


@given(ROWS, st.sampled_from([0.01, 0.2, 0.5, 0.99]))
@settings(max_examples=100, deadline=None)
def test_rare_labels_are_on_both_sides(rows, share):
    chosen = held_out_groups(rows, share)
    for label in range(3):
        flags = [flag for group, flag in chosen.items() if group % 3 == label]
        if len(flags) >= 2:
            assert any(flags) and not all(flags)
            assert sum(flags) == min(max(round(share * len(flags)), 1), len(flags) - 1)
        else:
            assert not any(flags)


@given(ROWS, st.tuples(st.integers(0, 25), st.integers(0, 3)))
@settings(max_examples=100, deadline=None)
def test_folds_hold_every_label_and_stay(rows, new):
    n_folds = 4
    folds = assign_folds(make(rows), n_folds, "key")
    after = assign_folds(make([*rows, new]), n_folds, "key")[:-1]
    groups = np.array([group for group, _ in rows])
    for label in range(3):
        members = {
            group: set(folds[groups == group].tolist()) for group in set(groups[groups % 3 == label].tolist())
        }
        assert all(len(places) == 1 for places in members.values())
        used = set().union(*members.values()) if members else set()
        assert len(used) == min(n_folds, len(members))
    moved = {int(group) for group in groups[folds != after]} - {new[0]}
    assert len(moved) <= n_folds
    assert {group % 3 for group in moved} <= {new[0] % 3}


def test_large_labels_keep_their_folds_when_a_row_comes():
    rows = [(group, 0) for group in range(900)]
    before = assign_folds(make(rows), 5, "key")
    moved = [
        (assign_folds(make([*rows, (900 + new, 0)]), 5, "key")[:-1] != before).sum() for new in range(20)
    ]
    assert sorted(moved)[10] == 0
    assert np.bincount(before).min() > 140


def test_mixed_groups_stay_together_and_unlabelled_groups_stay_in_training():
    labels = np.array([0, 1, 0, 1, 0, 1, UNLABELLED, UNLABELLED], dtype=np.int64)
    groups = np.array(["x", "x", "y", "z", "v", "w", "p", "x"], dtype=object)
    texts = np.array([f"t{number}" for number in range(8)], dtype=object)
    records = Records(ids=texts, texts=texts, labels=labels, label_names=("a", "b"), groups=groups)
    for key in map(str, range(20)):
        mask = choose_held_out(records, 0.5, key)
        assert mask[0] == mask[1] == mask[7]
        assert not mask[6]


def test_equal_texts_stay_together_without_groups():
    texts = np.array(["same", "a", "b", "same", "c", "d"], dtype=object)
    labels = np.array([0, 0, 0, 1, 1, 1], dtype=np.int64)
    records = Records(ids=np.arange(6).astype(object), texts=texts, labels=labels, label_names=("a", "b"))
    masks = [choose_held_out(records, 0.4, key) for key in "abcdefgh"]
    assert all(mask[0] == mask[3] for mask in masks)
    assert {bool(mask[0]) for mask in masks} == {True, False}


def test_hash_rank_and_sample():
    assert keyed_hash("key", "item") == 0x80C1A20FE05A26F1  # printf 'key\0item' | b2sum -l 64
    ids = [f"id{number}" for number in range(50)]
    chosen = {ids[position] for position in sample_by_rank(ids, 10, "pilot")}
    assert {ids[::-1][position] for position in sample_by_rank(ids[::-1], 10, "pilot")} == chosen
    assert chosen != {ids[position] for position in sample_by_rank(ids, 10, "gold")}
    assert (
        len(chosen - {([*ids, "new"])[position] for position in sample_by_rank([*ids, "new"], 10, "pilot")})
        <= 1
    )
    assert sorted(keyed_rank(ids, "k").tolist()) == list(range(50))
    assert len(sample_by_rank(ids, 99, "k")) == 50


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_share_out_of_range(share):
    with pytest.raises(JobError, match="between 0 and 1"):
        choose_held_out(make([(0, 0), (3, 0)]), share, "key")
    with pytest.raises(JobError, match="2 or more"):
        assign_folds(make([(0, 0), (3, 0)]), 1, "key")
