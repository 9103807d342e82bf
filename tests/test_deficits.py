"""Which cells lack records, which of them enough to act, and which a round plans for."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.balance.corrected_counts import CorrectedCount
from counterpoise.balance.deficits import (
    MOST_NAMED,
    choose_cells,
    find_all_deficits,
    is_short,
    list_short_cells,
)
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import ConceptColumns, Records, State
from tests.made_up import make_records

BAD, FOOD = Cell("bad"), Cell("bad", concept="food")


def make_reviews(n_bad: int = 40, n_good: int = 60) -> Records:
    """`food` is present in half of the good reviews and a tenth of the bad ones, `web` in all good and 20 bad ones."""
    labels = [0] * n_bad + [1] * n_good
    rows = range(n_bad + n_good)
    food = [row % 10 == 0 if label == 0 else row % 2 == 0 for row, label in zip(rows, labels, strict=True)]
    states = np.where(food, State.PRESENT, State.ABSENT).astype(np.int8)[:, None]
    source = ["web" if label or row < 20 else "print" for row, label in zip(rows, labels, strict=True)]
    return make_records(
        [f"review {row}" for row in rows],
        labels,
        attributes={"source": source},
        concepts=ConceptColumns(("food",), states, states.astype(np.float64)),
    )


@pytest.mark.parametrize(
    ("have", "want", "short"),
    [(0, 2, False), (0, 3, True), (57, 60, True), (97, 100, False), (95, 100, True), (200, 100, False)],
)
def test_a_cell_is_short_from_three_records_and_a_twentieth_on(have: float, want: float, short: bool) -> None:
    assert is_short(Deficit(BAD, have, want)) is short


def test_short_cells_are_listed_by_need_and_small_wants_are_not_among_them() -> None:
    records = make_reviews()
    short = list_short_cells(records, {}, "equal")
    assert [(str(one.cell), one.have, one.need) for one in short] == [
        ("bad with source=web", 20, 40),
        ("bad with food", 4, 26),
        ("bad", 40, 20),
        ("good with source=print", 0, 20),
    ]
    assert [str(one.cell) for one in list_short_cells(records, {}, "equal", ["label"])] == ["bad"]
    assert list_short_cells(make_reviews(58), {}, "equal", ["label"]) == []
    assert len(find_all_deficits(make_reviews(58), {}, "equal", ["label"])) == 1


def correct_food(
    bad: tuple[float, float, float], good: tuple[float, float, float]
) -> dict[Cell, CorrectedCount]:
    """Corrected counts of food, which was counted 4 times with bad and 30 times with good: value, low, high."""
    return {
        Cell(label, concept="food"): CorrectedCount(Cell(label, concept="food"), raw, *found, "rates", 50)
        for label, raw, found in (("bad", 4, bad), ("good", 30, good))
    }


def test_corrected_counts_replace_plain_ones_where_answers_are_known() -> None:
    records = make_reviews()
    found = find_all_deficits(records, correct_food((9, 7, 11), (30, 28, 32)), "equal")
    needs = [(one.cell, one.need) for one in found]
    assert needs[1:3] == [(FOOD, 21), (BAD, 20)]  # in order among the plain ones
    assert found[1].have == 9  # and not 4
    # Where the interval leaves room for no deficit there is none, and the plain one does not come back.
    unsure = find_all_deficits(records, correct_food((9, 2, 40), (30, 12, 50)), "equal")
    assert [one.cell for one in unsure] == [one.cell for one in found if one.cell != FOOD]
    # They are about concepts only.
    same = correct_food((30, 28, 32), (30, 28, 32))
    assert find_all_deficits(records, same, "equal", ["label"]) == find_all_deficits(
        records, {}, "equal", ["label"]
    )


def test_a_round_plans_for_all_labels_and_the_named_cells_that_lack_most() -> None:
    named = [
        Deficit(Cell("bad", attribute="shop", value=f"s{place:03d}"), 0, 200 - place) for place in range(80)
    ]
    labels = [Deficit(BAD, 0, 9), Deficit(Cell("good"), 0, 5)]
    chosen = choose_cells([*named, *labels], set())
    assert chosen == [*named[:MOST_NAMED], *labels] and MOST_NAMED == 60
    # Cells in which writing is in vain make room for others.
    vain = {named[0].cell, BAD}
    assert choose_cells([*named, *labels], vain) == [*named[1 : MOST_NAMED + 1], labels[1]]
