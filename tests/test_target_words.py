"""The words of `target`: read, fixed once, and what cells lack of them."""

from __future__ import annotations

import pytest

from counterpoise.balance.deficits import find_all_deficits, list_short_cells, settle_target
from counterpoise.balance.profiles import Profile
from counterpoise.balance.targets.words import WordedTarget, read_words
from counterpoise.core.plans import Cell
from tests.test_joint_plan import BAD, GOOD, make_records

SKEWED = {
    Profile(GOOD, ("food",)): 250,
    Profile(GOOD): 250,
    Profile(BAD, ("food",)): 50,
    Profile(BAD): 450,
}


def test_words_are_read_with_their_limits() -> None:
    assert read_words("equal") is None
    assert read_words("enough") == WordedTarget("enough")
    assert read_words(" correlation  0.18 ") == WordedTarget("correlation", (0.18,))
    assert read_words("tolerances") == WordedTarget("tolerances", (0.02, 0.01))
    assert read_words("tolerances 0.05 0.02") == WordedTarget("tolerances", (0.05, 0.02))


@pytest.mark.parametrize(
    "words",
    ["", "equal 1", "enough 5", "correlation", "correlation 1", "correlation x", "tolerances 0.1", "much"],
)
def test_other_words_are_refused_in_a_line_that_says_what_would_be_right(words: str) -> None:
    with pytest.raises(ValueError, match=r"^found .*; write equal, enough, correlation 0\.1, tolerances"):
        read_words(words)


def test_enough_is_settled_by_the_own_rows_and_does_not_rise_with_added_ones() -> None:
    own = make_records({Profile(GOOD): 150, Profile(BAD): 15})
    target = settle_target("enough", own, {})
    (first,) = find_all_deficits(own, {}, target, ["label"])
    assert first.cell == Cell(BAD)
    assert 40 < first.want < 80
    filled = make_records({Profile(GOOD): 150, Profile(BAD): round(first.want)})
    assert find_all_deficits(filled, {}, target, ["label"]) == []
    assert find_all_deficits(filled, {}, "enough", ["label"]) != [], "anew it would go on"
    assert find_all_deficits(own, {}, "enough") == find_all_deficits(own, {}, target)


def test_a_correlation_and_tolerances_ask_for_less_than_equal() -> None:
    records = make_records(SKEWED)
    asked = {
        target: sum(one.need for one in list_short_cells(records, {}, target))
        for target in ("equal", "correlation 0.18", "correlation 0.9", "tolerances 0.02 0.05")
    }
    assert asked["equal"] == 200
    assert asked["correlation 0.18"] == 166
    assert asked["correlation 0.9"] == 0
    assert asked["tolerances 0.02 0.05"] > 0
    assert settle_target("equal", records, {}) == "equal"
    assert settle_target({BAD: 1.0}, records, {}) == {BAD: 1.0}


def test_tolerances_keep_the_rates_that_the_own_rows_have() -> None:
    target = settle_target("tolerances", make_records(SKEWED), {})
    assert isinstance(target, WordedTarget)
    assert target.rates == {"food": pytest.approx(0.3)}
    found = find_all_deficits(make_records(SKEWED), {}, target)
    assert {one.cell for one in found} >= {Cell(BAD, concept="food"), Cell(BAD)}
    assert all(
        not one.cell.is_named for one in find_all_deficits(make_records(SKEWED), {}, target, ["label"])
    )
    even = make_records({**SKEWED, Profile(BAD, ("food",)): 250, Profile(BAD): 250})
    assert find_all_deficits(even, {}, "tolerances") == []
