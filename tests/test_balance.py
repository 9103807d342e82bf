"""Counts, intervals and deficits."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.balance.counts import count_cells, encode_values, find_deficits
from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.errors import JobError
from counterpoise.core.plans import Cell
from counterpoise.core.records import UNLABELLED, ConceptColumns, Records, State


def make_records(labels: list[int], sources: list[str], states: list[int]) -> Records:
    n = len(labels)
    return Records(
        ids=np.asarray([f"r{row}" for row in range(n)], dtype=object),
        texts=np.asarray(["some text"] * n, dtype=object),
        labels=np.asarray(labels, dtype=np.int64),
        label_names=("negative", "positive"),
        attributes={"source": np.asarray(sources, dtype=object)},
        concepts=ConceptColumns(
            ("food",), np.asarray(states, dtype=np.int8).reshape(n, 1), np.full((n, 1), 0.5)
        ),
    )


@pytest.fixture
def records() -> Records:
    return make_records(
        labels=[0, 0, 1, 1, 1, 1, UNLABELLED],
        sources=["imdb", "", "imdb", "imdb", "yelp", "yelp", "yelp"],
        states=[State.PRESENT, State.UNKNOWN, State.PRESENT, State.PRESENT, State.PRESENT, State.ABSENT, 1],
    )


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(180, 200, 0.851, 0.934), (45, 50, 0.786, 0.957), (0, 100, 0.0, 0.037), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval_gives_the_published_examples(k: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=5e-4)


def test_wilson_interval_takes_arrays() -> None:
    low, high = wilson_interval(np.asarray([45, 0]), np.asarray([50, 0]))
    assert low == pytest.approx([0.786, 0.0], abs=5e-4) and high == pytest.approx([0.957, 1.0], abs=5e-4)


def test_count_cells_leaves_out_what_is_unknown_and_keeps_empty_cells(records: Records) -> None:
    assert count_cells(records) == {
        Cell("negative"): 2,
        Cell("positive"): 4,
        Cell("negative", concept="food"): 1,
        Cell("positive", concept="food"): 3,
        Cell("negative", attribute="source", value="imdb"): 1,
        Cell("positive", attribute="source", value="imdb"): 2,
        Cell("negative", attribute="source", value="yelp"): 0,
        Cell("positive", attribute="source", value="yelp"): 2,
    }


def test_need_is_what_the_largest_label_of_the_same_concept_or_value_has_more(records: Records) -> None:
    assert [(str(deficit.cell), deficit.need) for deficit in find_deficits(records)] == [
        ("negative", 2),
        ("negative with source=yelp", 2),
        ("negative with food", 2),
        ("negative with source=imdb", 1),
    ]


def test_ratios_are_between_the_labels_and_those_not_named_are_left_alone() -> None:
    records = make_records([0] * 2 + [1] * 10, ["a"] * 12, [0] * 12)
    assert [d.want for d in find_deficits(records, {"negative": 1.0, "positive": 6.0}, cells=["label"])] == [
        12.0
    ]
    (deficit,) = find_deficits(records, {"negative": 0.5}, cells=["label"])
    assert (deficit.have, deficit.want, deficit.need) == (2.0, 5.0, 3)
    assert find_deficits(records, {"positive": 1.0}) == []


@pytest.mark.parametrize("target", [{"neutral": 0.5}, {"negative": 0.0}, {"negative": -1.0}])
def test_a_target_that_makes_no_sense_is_an_error(records: Records, target: dict[str, float]) -> None:
    with pytest.raises(JobError, match="target"):
        find_deficits(records, target)


def test_an_attribute_with_a_value_on_every_row_makes_no_cells() -> None:
    records = make_records([0, 1] * 40, [f"user{row}" for row in range(80)], [0] * 80)
    assert not [cell for cell in count_cells(records) if cell.attribute]


def test_encode_values_sorts_and_keeps_rows() -> None:
    codes, values = encode_values(np.asarray(["b", "", "a", "b"], dtype=object))
    assert values == ("", "a", "b") and codes.tolist() == [2, 0, 1, 2]
