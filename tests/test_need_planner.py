"""From made states to plans of runs that were begun before slices were."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from counterpoise.actions.base import Costs, Offer
from counterpoise.core.plans import Cell, Deficit, Plan
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.runs.market import Market
from counterpoise.runs.need_planner import plan_by_need
from tests.made_up import make_offers

A, B, C, MOST = Cell("a"), Cell("b"), Cell("c"), Cell("most")
OFFER = make_offers(600)


def lack(cell: Cell, need: int) -> Deficit:
    return Deficit(cell, have=10, want=10 + need)


def plan(
    deficits: list[Deficit],
    offers: Mapping[Cell, Mapping[str, Offer]] | None = None,
    costs: dict[tuple[str, Cell], Costs] | None = None,
    remaining: int | None = None,
    round_number: int = 1,
    exhausted: frozenset[tuple[str, Cell]] = frozenset(),
) -> Plan:
    return plan_by_need(
        deficits,
        offers or dict.fromkeys((A, B, C, MOST), OFFER),
        costs or {},
        round_number=round_number,
        n_rounds=4,
        remaining_tokens=remaining,
        exhausted=exhausted,
    )


def test_what_the_pool_offers_is_adopted_before_a_token_is_spent() -> None:
    offers = {A: make_offers(free=7), B: OFFER}
    made = plan([lack(A, 20), lack(B, 30)], offers)
    (item,) = made.items
    assert (item.action, item.cell, item.count, item.n_requests) == ("adopt", A, 7, 0)
    assert "pool" in made.reason
    assert plan([lack(A, 5)], offers).items[0].count == 5
    # When the pool of a cell is exhausted, the whole need is written.
    after = plan([lack(A, 20)], offers, exhausted=frozenset({("adopt", A)}))
    assert [(item.action, item.count) for item in after.items] == [("minority_text", 20)]


def test_a_cell_gets_the_requests_that_its_need_takes() -> None:
    (item,) = plan([lack(A, 57)]).items
    assert item.n_requests == 10 and item.reserved_tokens == 10 * 600 and item.count == 57
    assert item.n_requests * COMPLETIONS_PER_REQUEST * 0.95 >= 57
    tried = {("minority_text", A): Costs(tried=98, accepted=49, tokens=9800.0, requests=20)}
    (slower,) = plan([lack(A, 57)], costs=tried).items
    assert slower.n_requests == 19  # half is kept: 57 / 0.5 / 6


def test_cells_come_by_need_for_each_expected_token() -> None:
    def order(costs: dict[tuple[str, Cell], Costs]) -> list[str]:
        return [item.cell.label for item in plan([lack(A, 20), lack(B, 40), lack(C, 40)], costs=costs).items]

    assert order({}) == ["b", "c", "a"]
    spent = Costs(tried=98, accepted=9, tokens=9800.0, requests=20)  # a tenth kept at 100 tokens each
    assert Market({B: OFFER}, {("minority_text", B): spent}).expect_tokens_per_accepted(B) == pytest.approx(
        1000
    )
    assert order({("minority_text", B): spent}) == ["c", "a", "b"]
    # Another order of the deficits is the same plan.
    assert plan([lack(A, 20), lack(B, 40)]) == plan([lack(B, 40), lack(A, 20)])


def test_a_budget_that_does_not_reach_for_all_labels_is_shared_out_by_need() -> None:
    # Together 24 requests are wanted; those of 12 can be paid in the last round.
    made = plan([lack(A, 34), lack(B, 68), lack(C, 34)], remaining=12 * 600, round_number=4)
    assert [(item.cell, item.n_requests) for item in made.items] == [(B, 6), (A, 3), (C, 3)]
    # What a cell does not want of its share goes to the others; B is dear, so it wants more than its need says.
    offers = {A: OFFER, B: make_offers(6000), MOST: OFFER}
    made = plan([lack(A, 34), lack(B, 34)], offers, remaining=24_000, round_number=4)
    assert [(item.cell, item.n_requests) for item in made.items] == [(A, 6), (B, 3)]
    # Of a share that pays for no whole request the rest goes to the next cell, and nothing is left lying.
    made = plan([lack(A, 34), lack(B, 34), lack(C, 34)], remaining=4 * 600, round_number=4)
    assert [item.n_requests for item in made.items] == [1, 1, 2]


FOOD, NOISE, OLD = Cell("a", "food"), Cell("a", "noise"), Cell("b", attribute="topic", value="old")
NAMED = dict.fromkeys((A, B, FOOD, NOISE, OLD, MOST), OFFER)


def test_named_cells_are_written_for_beside_labels_by_need() -> None:
    made = plan([lack(A, 60), lack(FOOD, 40), lack(NOISE, 20)], NAMED, remaining=6 * 600, round_number=4)
    # Half of what does not reach is for the label, the rest for what was named, twice as much for food as for noise.
    assert [(item.cell, item.n_requests) for item in made.items] == [(FOOD, 2), (NOISE, 1), (A, 3)]
    # Once it is known, what a token brings counts: here as much for each, and food is of the label, too.
    tried = {("minority_text", cell): Costs(60, 60, 6000.0, 10) for cell in (A, FOOD)}
    made = plan([lack(A, 60), lack(FOOD, 60)], NAMED, tried, remaining=9 * 600, round_number=4)
    assert [(item.cell, item.n_requests) for item in made.items] == [(FOOD, 6), (A, 3)]
    tried["minority_text", FOOD] = Costs(60, 3, 6000.0, 10)
    made = plan([lack(A, 60), lack(FOOD, 60)], NAMED, tried, remaining=9 * 600, round_number=4)
    assert [(item.cell, item.n_requests) for item in made.items] == [(FOOD, 1), (A, 8)]
    # Labels that lack little beside fifty named cells keep half of a round while nothing is known of these.
    crowd = [Cell("b", attribute="topic", value=f"{place:03d}") for place in range(50)]
    offers = dict.fromkeys((A, *crowd), OFFER)
    made = plan(
        [lack(A, 300), *(lack(cell, 300) for cell in crowd)], offers, remaining=20 * 600, round_number=4
    )
    assert sum(item.n_requests for item in made.items if item.cell == A) == 10
    assert [item.n_requests for item in made.items if item.cell != A] == [1] * 10


def test_a_record_for_a_named_cell_is_one_of_its_label() -> None:
    made = plan([lack(A, 60), lack(FOOD, 40), lack(OLD, 20)], NAMED)
    assert [(item.cell, item.count) for item in made.items] == [(FOOD, 40), (OLD, 20), (A, 40)]
    assert [item.cell for item in plan([lack(A, 40), lack(FOOD, 40)], NAMED).items] == [FOOD]
    # Of the pool, too.
    offers = {A: make_offers(free=30), FOOD: make_offers(free=12)}
    made = plan([lack(A, 50), lack(FOOD, 10)], offers)
    assert [(item.action, item.cell, item.count) for item in made.items] == [
        ("adopt", FOOD, 10),
        ("adopt", A, 20),
    ]


@pytest.mark.parametrize(("left", "cells"), [(599, []), (600, [A]), (1200, [FOOD, A])])
def test_where_few_requests_are_paid_the_label_comes_first(left: int, cells: list[Cell]) -> None:
    made = plan([lack(A, 60), lack(FOOD, 40), lack(NOISE, 20)], NAMED, remaining=left, round_number=4)
    assert [item.cell for item in made.items] == cells


def test_contrast_follows_what_is_kept_and_no_item_keeps_more_than_its_cell_can_take() -> None:
    offers = {A: make_offers(contrast=MOST), MOST: OFFER}
    tried = {("minority_text", A): Costs(tried=98, accepted=19, tokens=9800.0, requests=20)}
    thin, most = plan([lack(A, 57)], offers, tried).items
    # A fifth is kept: many more requests for the cell, but hardly more contrast records than before.
    assert (thin.n_requests, most.n_requests) == (72, 6)
    assert (thin.most, most.most) == (86 + 4, 28 + 2)
    # A handful of records has no contrast until a request of it is owed.
    assert [item.cell for item in plan([lack(A, 3)], offers).items] == [A]
    owing = {("minority_text", A): Costs(tried=18, accepted=18, tokens=1800.0, requests=3)}
    assert [(item.cell, item.count) for item in plan([lack(A, 3)], offers, owing).items] == [
        (A, 4),
        (MOST, 2),
    ]
    paid = owing | {("minority_text", MOST): Costs(tried=6, accepted=6, tokens=600.0, requests=1)}
    assert [item.cell for item in plan([lack(A, 3)], offers, paid).items] == [A]
    overpaid = owing | {("minority_text", MOST): Costs(tried=90, accepted=60, tokens=9000.0, requests=15)}
    assert [item.cell for item in plan([lack(A, 3)], offers, overpaid).items] == [A]


def test_of_many_labels_as_many_get_a_request_as_can_be_paid() -> None:
    cells = [Cell(f"intent {place:03d}") for place in range(150)]
    made = plan(
        [lack(cell, 900) for cell in cells], dict.fromkeys(cells, OFFER), remaining=30 * 600, round_number=4
    )
    assert [(item.cell, item.n_requests) for item in made.items] == [(cell, 1) for cell in cells[:30]]


def test_contrast_records_are_planned_beside_their_cell() -> None:
    thin, most = plan([lack(A, 60)], {A: make_offers(contrast=MOST), MOST: OFFER}).items
    # The contrast records raise the largest label, so the cell needs as many again: 90 against 30.
    assert (thin.cell, thin.count, most.cell, most.count) == (A, 90, MOST, 30)
    assert thin.count - most.count == 60 and most.n_requests == thin.n_requests // 3
    assert (thin.index, most.index) == (0, 1) and thin.id != most.id
    both = plan(
        [lack(A, 30), lack(B, 60)],
        {A: make_offers(contrast=MOST), B: make_offers(contrast=MOST), MOST: OFFER},
    ).items
    assert [item.cell for item in both] == [B, MOST, A, MOST]
    assert [item.index for item in both] == [0, 1, 2, 3]


def test_a_round_takes_two_shares_of_what_is_left_and_the_last_one_all() -> None:
    def spend(round_number: int) -> int:
        made = plan([lack(A, 100_000)], remaining=120_000, round_number=round_number)
        return sum(item.reserved_tokens for item in made.items)

    assert [spend(number) for number in (1, 2, 3, 4)] == [48_000, 60_000, 79_800, 120_000]


def test_without_a_limit_of_rounds_the_first_are_cut_alike_and_later_ones_take_the_rest() -> None:
    def spend(round_number: int) -> int:
        made = plan_by_need(
            [lack(A, 100_000)],
            {A: OFFER},
            {},
            round_number=round_number,
            n_rounds=None,
            remaining_tokens=120_000,
        )
        return sum(item.reserved_tokens for item in made.items)

    assert [spend(number) for number in (1, 2, 3, 4, 5, 50)] == [48_000, 60_000, 79_800, *[120_000] * 3]


def test_a_round_whose_share_pays_for_nothing_takes_all_that_is_left() -> None:
    price = OFFER["minority_text"].request_tokens
    assert [item.n_requests for item in plan([lack(A, 20)], remaining=2 * price, round_number=1).items] == [2]
    assert plan([lack(A, 20)], remaining=price - 1, round_number=1).items == ()


def test_the_slice_pays_for_the_contrast_too() -> None:
    offers = {A: make_offers(100, contrast=MOST), MOST: make_offers(5_000)}
    items = plan([lack(A, 1000)], offers, remaining=30_000, round_number=4).items
    assert [item.cell for item in items] == [A, MOST]
    assert 25_000 < sum(item.reserved_tokens for item in items) <= 30_000


def test_an_exhausted_cell_and_one_without_demonstrations_are_left_alone() -> None:
    deficits = [lack(A, 20), lack(B, 20), lack(C, 20)]
    offers = {A: OFFER, B: make_offers(0), C: OFFER}
    made = plan(deficits, offers, exhausted=frozenset({("minority_text", A)}))
    assert [item.cell for item in made.items] == [C]


@pytest.mark.parametrize(
    ("need", "remaining", "reason"),
    [
        (20, 0, "the budget does not reach for one more request: 0 tokens are left, and one may take 600"),
        (
            20,
            599,
            "the budget does not reach for one more request: 599 tokens are left, and one may take 600",
        ),
        (2, None, "no cell can be improved further"),
    ],
)
def test_an_empty_plan_says_why(need: int, remaining: int | None, reason: str) -> None:
    made = plan([lack(A, need)], remaining=remaining, round_number=4)
    assert made.items == () and made.reason == reason
    assert plan([]).reason == "no cell can be improved further"


def test_a_budget_too_small_for_a_request_and_its_contrast_says_what_both_may_take() -> None:
    offers = {A: make_offers(contrast=MOST), B: make_offers(9_000), MOST: OFFER}
    owing = {("minority_text", A): Costs(tried=18, accepted=18, tokens=1800.0, requests=3)}
    made = plan([lack(A, 20), lack(B, 20)], offers, owing, remaining=1_100, round_number=4)
    assert made.items == ()
    assert made.reason.endswith(": 1,100 tokens are left, and one with its contrast may take 1,200")
    assert plan([lack(A, 20), lack(B, 20)], offers, owing, remaining=1_200, round_number=4).items


def test_acceptance_is_smoothed_so_that_one_failure_does_not_close_a_cell() -> None:
    assert Costs().acceptance_ratio == 0.5
    assert Costs().add(1, 0, 10.0, 1).acceptance_ratio == pytest.approx(1 / 3)
    assert Costs(8, 6, 80.0, 2).add(2, 2, 20.0, 1) == Costs(10, 8, 100.0, 3)


CELLS = st.sampled_from([A, B, C])


@example(  # one more request of which less than half a record is expected
    needs={B: 3},
    prices=dict.fromkeys((A, B, C, MOST), 1),
    adoptable={},
    contrasted=set(),
    tried={B: (10, 0, 0)},
    remaining=1,
    round_number=4,
)
@settings(deadline=None, max_examples=200)
@given(
    needs=st.dictionaries(CELLS, st.integers(0, 5000), max_size=3),
    prices=st.fixed_dictionaries({cell: st.integers(1, 5000) for cell in (A, B, C, MOST)}),
    adoptable=st.dictionaries(CELLS, st.integers(0, 50)),
    contrasted=st.sets(CELLS),
    tried=st.dictionaries(
        CELLS | st.just(MOST), st.tuples(st.integers(0, 300), st.integers(0, 100), st.integers(0, 10**6))
    ),
    remaining=st.integers(0, 10**6),
    round_number=st.integers(1, 4),
)
def test_no_plan_reserves_more_than_is_left(
    needs, prices, adoptable, contrasted, tried, remaining, round_number
) -> None:
    offers = {
        cell: make_offers(price, free=adoptable.get(cell, 0), contrast=MOST if cell in contrasted else None)
        for cell, price in prices.items()
    }
    costs = {
        ("minority_text", cell): Costs(n, n * kept // 100, float(tokens), 1)
        for cell, (n, kept, tokens) in tried.items()
    }
    deficits = [lack(cell, need) for cell, need in needs.items()]
    made = plan(deficits, offers, costs, remaining, round_number)
    share = {1: 2 / 5, 2: 1 / 2, 3: 2 / 3, 4: 1}[round_number]
    reserved = sum(item.reserved_tokens for item in made.items)
    assert reserved <= remaining
    assert reserved <= remaining * share or not plan(deficits, offers, costs, int(remaining * share), 4).items
    assert [item.index for item in made.items] == list(range(len(made.items)))
    assert made.items or made.reason
    for item in made.items:
        assert item.count > 0 and item.reserved_tokens == item.n_requests * prices[item.cell]
        assert (item.n_requests > 0) == (item.action == "minority_text")
        if item.action == "adopt":
            assert item.count <= min(adoptable[item.cell], needs[item.cell])
    assert len({item.action for item in made.items}) <= 1


def test_an_action_that_alone_could_fill_a_cell_is_probed_with_what_there_is() -> None:
    alone = {A: {"mine.own": Offer(700, most=400, is_probed=True)}}
    made = plan([lack(A, 60)], alone, remaining=11_000, round_number=4)
    assert [(item.action, item.n_requests, item.count) for item in made.items] == [("mine.own", 15, 0)]
    beside = {A: make_offers(600) | alone[A]}
    assert {item.action for item in plan([lack(A, 60)], beside, remaining=11_000, round_number=4).items} == {
        "minority_text"
    }
    poor = plan([lack(A, 60)], alone, remaining=600, round_number=4)
    assert not poor.items and poor.reason.endswith("600 tokens are left, and one may take 700")


def test_of_several_that_could_fill_a_cell_each_is_tried_and_then_the_cheapest_taken() -> None:
    both = {A: make_offers(600) | {"mine.own": Offer(300, per_request=2)}}
    first = plan([lack(A, 60)], both, remaining=100_000, round_number=4)
    assert [(item.action, item.n_requests) for item in first.items] == [
        ("mine.own", 24),
        ("minority_text", 11),
    ]
    tried = {
        ("minority_text", A): Costs(60, 54, 6_000.0, 10),
        ("mine.own", A): Costs(48, 46, 2_400.0, 24),
    }
    (item,) = plan([lack(A, 60)], both, tried, remaining=100_000, round_number=4).items
    assert item.action == "mine.own" and item.first_source == 24
