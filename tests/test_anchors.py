"""Which rows of a pool are asked about: rare ones, none twice, the same whatever else the pool holds."""

from __future__ import annotations

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import UNLABELLED, Records
from counterpoise.core.splits import assign_folds
from counterpoise.scorers.anchors import choose_pool_rows, find_thin_labels
from counterpoise.scorers.gold import RowsToAsk
from tests.made_up import ENCODER, make_records, write_sentences

TEXTS, LABELS = write_sentences(12, 88, 3)
POOL, TRUTH = write_sentences(20, 380, 4)


def encode(texts: list[str], labels: list[int]) -> EncodedRecords:
    ids = [f"{text} {texts[:place].count(text)}" for place, text in enumerate(texts)]
    return EncodedRecords(make_records(texts, labels, ids=ids), ENCODER.encode(texts))


def choose(texts: list[str], n: int = 20, key: str = "seed 0") -> RowsToAsk:
    train = encode(TEXTS, LABELS)
    pool = encode(texts, [UNLABELLED] * len(texts))
    return choose_pool_rows(train, assign_folds(train.records, 5, key), pool, n, key)


def test_the_half_by_anchors_has_more_rows_of_the_rare_label_than_the_random_half() -> None:
    rare = int(np.argmin(np.bincount(LABELS)))
    asked = choose(POOL)
    is_rare = np.array(TRUTH)[asked.rows] == rare
    assert asked.is_audit.sum() == 10 and len(set(asked.rows.tolist())) == 20
    assert is_rare[~asked.is_audit].sum() >= 5 > 2 >= is_rare[asked.is_audit].sum()


def test_no_text_is_asked_about_twice_or_known_already() -> None:
    asked = choose([*TEXTS, "", *POOL, *POOL], n=60)
    texts = [[*TEXTS, "", *POOL, *POOL][row] for row in asked.rows]
    assert len(set(texts)) == 60 and not {*texts} & {*TEXTS, ""}


def test_most_rows_stay_chosen_as_the_pool_grows_and_its_order_does_not_count() -> None:
    def name(texts: list[str]) -> tuple[set[str], set[str]]:
        asked = choose(texts)
        chosen = [texts[row] for row in asked.rows]
        return {text for text, audit in zip(chosen, asked.is_audit, strict=True) if audit}, {*chosen}

    random, every = name(POOL)
    assert name(POOL[::-1]) == (random, every)
    random_later, every_later = name([*POOL, "One more row about the waiter and the soup"])
    assert len(random & random_later) >= 9 and len(every & every_later) >= 15


def test_a_small_pool_is_asked_about_whole_and_an_empty_one_not_at_all() -> None:
    assert len(choose(POOL[:5]).rows) == 5
    assert len(choose([]).rows) == 0 and len(choose(TEXTS).rows) == 0


def test_labels_without_rows_and_even_labels() -> None:
    assert find_thin_labels(np.array([0] * 9 + [2] * 2), 3).tolist() == [2]
    assert find_thin_labels(np.array([0, 0, 1, 1]), 2).tolist() == [0, 1]


def test_many_thin_labels_take_turns() -> None:
    texts = [f"{noun} number {number}" for noun in ("soup", "wine", "cake", "fish") for number in range(12)]
    labels = [place // 12 for place in range(48)]
    kept = [row for row in range(48) if labels[row] == 0 or row % 12 < 4]
    known = Records(
        np.array([f"id {row}" for row in kept], dtype=object),
        np.array([texts[row] for row in kept], dtype=object),
        np.array([labels[row] for row in kept]),
        ("a", "b", "c", "d"),
    )
    train = EncodedRecords(known, ENCODER.encode([texts[row] for row in kept]))
    rest = [row for row in range(48) if row not in kept]
    pool = encode([texts[row] for row in rest], [UNLABELLED] * len(rest))
    asked = choose_pool_rows(train, assign_folds(known, 3, "key"), pool, 12, "key")
    found = np.array(labels)[np.array(rest)[asked.rows[~asked.is_audit]]]
    assert {1, 2, 3} <= set(found.tolist())
