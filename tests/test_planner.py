"""From made states to plans: slices of cells and ways, the one that helps most for its price first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.actions.base import Costs, Offer
from counterpoise.core.plans import Cell, Deficit, Plan
from counterpoise.runs.gains import ShareGains
from counterpoise.runs.planner import make_plan
from counterpoise.runs.slices import SLICE_TOKENS
from tests.made_up import make_offers

A, B, C, MOST = Cell("a"), Cell("b"), Cell("c"), Cell("most")
FOOD, NOISE, OLD = Cell("a", "food"), Cell("a", "noise"), Cell("b", attribute="topic", value="old")
OFFER = make_offers(600)
SLICE = SLICE_TOKENS // 600
KNOWN = {("minority_text", Cell("z")): Costs(600, 570, 60_000.0, 100)}
"""The writer was tried elsewhere, and nearly all was kept."""


def lack(cell: Cell, need: int, have: int = 10) -> Deficit:
    return Deficit(cell, have=have, want=have + need)


def plan(
    deficits: list[Deficit],
    offers: Mapping[Cell, Mapping[str, Offer]] | None = None,
    costs: dict[tuple[str, Cell], Costs] | None = None,
    remaining: int | None = None,
    round_number: int = 2,
    n_rounds: int | None = 4,
    exhausted: frozenset[tuple[str, Cell]] = frozenset(),
    key: str = "",
) -> Plan:
    return make_plan(
        deficits,
        offers or dict.fromkeys((A, B, C, FOOD, NOISE, OLD, MOST), OFFER),
        KNOWN if costs is None else costs,
        round_number=round_number,
        n_rounds=n_rounds,
        remaining_tokens=remaining,
        exhausted=exhausted,
        key=key,
    )


def count(made: Plan) -> dict[Cell, int]:
    """Requests of each cell."""
    found: Counter[Cell] = Counter()
    for item in made.items:
        found[item.cell] += item.n_requests
    return found


def test_what_the_pool_offers_is_adopted_before_a_token_is_spent() -> None:
    offers = {A: make_offers(free=7), B: OFFER}
    made = plan([lack(A, 20), lack(B, 30)], offers)
    assert [(item.action, item.cell, item.count, item.n_requests) for item in made.items] == [
        ("adopt", A, 7, 0)
    ]
    assert "pool" in made.reason
    after = plan([lack(A, 20)], offers, exhausted=frozenset({("adopt", A)}))
    assert [item.action for item in after.items] == ["minority_text"]


def test_a_cell_is_filled_to_the_middle_of_what_it_may_lack() -> None:
    (item,) = plan([lack(A, 200)]).items
    # Of 210 it may lack a twentieth: 195 are aimed at, of which 0.95 in six are expected to be kept.
    assert item.n_requests == 35 and item.reserved_tokens == 35 * 600
    assert 195 <= item.count <= item.most < 210


def test_a_way_that_nobody_has_tried_gets_one_slice_at_first() -> None:
    made = plan([lack(A, 400), lack(B, 400)], costs={}, round_number=1)
    assert [item.n_requests for item in made.items] == [SLICE] and "not tried" in made.items[0].basis
    # Where no round follows there is nothing to learn for.
    assert sum(count(plan([lack(A, 400)], costs={}, round_number=4)).values()) > 60


def test_the_emptiest_cell_comes_first_and_none_is_forgotten() -> None:
    made = plan([lack(A, 300, have=3), lack(B, 300, have=90)], remaining=20 * 600, round_number=4)
    found = count(made)
    assert made.items[0].cell == A and found[A] > found[B] and sum(found.values()) == 20
    made = plan([lack(A, 300, have=3), lack(B, 300, have=90)], remaining=60 * 600, round_number=4)
    assert count(made)[B] > 20
    assert made.items[0].value > made.items[1].value > 0


def test_what_is_dear_waits_and_what_is_kept_counts() -> None:
    offers = {A: make_offers(6000), B: OFFER, MOST: OFFER}
    costs = {
        ("minority_text", A): Costs(60, 57, 60_000.0, 10),
        ("minority_text", B): Costs(60, 57, 6000.0, 10),
    }
    made = plan([lack(A, 50), lack(B, 50)], offers, costs, remaining=9000, round_number=4)
    assert made.items[0].cell == B
    tried = {
        ("minority_text", A): Costs(600, 30, 60_000.0, 100),
        ("minority_text", B): KNOWN["minority_text", Cell("z")],
    }
    made = plan([lack(A, 300), lack(B, 300)], costs=tried, remaining=20 * 600, round_number=4)
    assert count(made)[B] > count(made)[A]


def test_of_two_ways_the_better_is_bought_once_it_is_known() -> None:
    both = {A: {"minority_text/plain": OFFER["minority_text"], "minority_text/angry": OFFER["minority_text"]}}
    first = plan([lack(A, 600)], both, costs={}, round_number=1, remaining=200_000)
    assert {(item.writer, item.n_requests) for item in first.items} == {("plain", SLICE), ("angry", SLICE)}
    assert {item.action for item in first.items} == {"minority_text"}
    known = {
        ("minority_text/plain", A): Costs(36, 4, 3600.0, 6),
        ("minority_text/angry", A): Costs(36, 33, 3600.0, 6),
    }
    for number in range(20):
        (item,) = plan([lack(A, 100)], both, known, key=str(number)).items
        assert (
            item.writer == "angry"
            and item.way == "minority_text/angry"
            and "33 of 36 kept here" in item.basis
        )
    # Of one that is hardly known a round buys twice what was tried: nothing is staked on thirty-six texts.
    (item,) = plan([lack(A, 2000)], both, known).items
    assert item.n_requests == 2 * 6


def test_a_record_for_a_named_cell_is_one_of_its_label() -> None:
    made = plan([lack(A, 60), lack(FOOD, 40), lack(OLD, 20)])
    found = {item.cell: item.count for item in made.items}
    # `b` gets twenty as well and has most, so what `a` lacks is twenty more than the rest.
    assert 36 <= found[FOOD] <= 44 and 17 <= found[OLD] <= 24 and 34 <= found[A] <= 44
    assert [item.cell for item in plan([lack(A, 40), lack(FOOD, 40)]).items] == [FOOD]


def test_where_the_budget_is_short_a_record_that_helps_two_cells_is_bought_first() -> None:
    made = plan([lack(A, 300), lack(FOOD, 300)], remaining=6 * 600, round_number=4)
    assert made.items[0].cell == FOOD
    # Where hardly anything is kept for it the label is.
    tried = {
        ("minority_text", FOOD): Costs(60, 0, 6000.0, 10),
        ("minority_text", A): Costs(60, 58, 6000.0, 10),
    }
    made = plan([lack(A, 300), lack(FOOD, 300)], costs=tried, remaining=6 * 600, round_number=4)
    assert count(made)[A] > count(made).get(FOOD, 0)


def test_of_many_labels_as_many_get_a_request_as_can_be_paid() -> None:
    cells = [Cell(f"intent {place:03d}") for place in range(150)]
    made = plan(
        [lack(cell, 900) for cell in cells], dict.fromkeys(cells, OFFER), remaining=30 * 600, round_number=4
    )
    assert sorted(count(made).values()) == [1] * 30


def test_contrast_records_are_planned_beside_their_cell() -> None:
    thin, most = plan([lack(A, 60)], {A: make_offers(contrast=MOST), MOST: OFFER}).items
    assert (thin.cell, most.cell, most.basis) == (A, MOST, "contrast")
    assert 54 <= thin.count - most.count <= 62 and most.n_requests == thin.n_requests // 3
    # A fifth is kept: many more requests for the cell, but hardly more contrast records than before.
    tried = {("minority_text", A): Costs(tried=98, accepted=19, tokens=9800.0, requests=20)}
    thin, most = plan([lack(A, 57)], {A: make_offers(contrast=MOST), MOST: OFFER}, tried).items
    assert thin.n_requests > 60 and most.n_requests <= 7
    # A handful of records has no contrast until a request of it is owed.
    assert [item.cell for item in plan([lack(A, 3)], {A: make_offers(contrast=MOST), MOST: OFFER}).items] == [
        A
    ]


def test_an_edit_is_seen_to_work_before_records_are_made_of_it() -> None:
    offer = make_offers(600, concept_injection=(200, 400))
    probe, *written = plan([lack(FOOD, 60)], {FOOD: offer}, remaining=100_000).items
    assert (probe.action, probe.count, probe.value) == ("concept_injection", 0, 0.0)
    assert probe.n_requests == SLICE_TOKENS // 200 and {item.action for item in written} == {"minority_text"}
    good = KNOWN | {("concept_injection", FOOD): Costs(24, 22, 1200.0, 24)}
    (item,) = plan([lack(FOOD, 30)], {FOOD: offer}, good).items
    assert item.action == "concept_injection" and item.first_source == 24
    poor = KNOWN | {("concept_injection", FOOD): Costs(24, 1, 4000.0, 24)}
    assert {item.action for item in plan([lack(FOOD, 30)], {FOOD: offer}, poor).items} == {"minority_text"}
    alone = plan([lack(A, 60)], {A: {"mine.own": Offer(700, most=400, is_probed=True)}}, {}, remaining=11_000)
    assert [(item.action, item.count) for item in alone.items] == [("mine.own", 0)]


def test_a_round_takes_two_shares_of_what_is_left_and_the_last_one_all() -> None:
    def spend(round_number: int, n_rounds: int | None = 4) -> int:
        made = plan([lack(A, 100_000)], remaining=120_000, round_number=round_number, n_rounds=n_rounds)
        return sum(item.reserved_tokens for item in made.items)

    assert [spend(number) for number in (1, 2, 3, 4)] == [48_000, 60_000, 79_800, 120_000]
    assert [spend(number, None) for number in (1, 2, 3, 4, 5, 50)] == [48_000, 60_000, 79_800, *[120_000] * 3]


def test_an_exhausted_way_and_a_cell_without_demonstrations_are_left_alone() -> None:
    offers = {A: OFFER, B: make_offers(0), C: OFFER}
    made = plan([lack(A, 20), lack(B, 20), lack(C, 20)], offers, exhausted=frozenset({("minority_text", A)}))
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


CELLS = st.sampled_from([A, B, C, FOOD, NOISE, OLD])


@settings(deadline=None, max_examples=200)
@given(
    needs=st.dictionaries(CELLS, st.integers(0, 5000), max_size=5),
    prices=st.fixed_dictionaries({cell: st.integers(1, 5000) for cell in (A, B, C, FOOD, NOISE, OLD, MOST)}),
    adoptable=st.dictionaries(CELLS, st.integers(0, 50)),
    contrasted=st.sets(CELLS),
    tried=st.dictionaries(
        CELLS | st.just(MOST), st.tuples(st.integers(0, 300), st.integers(0, 100), st.integers(0, 10**6))
    ),
    has_edits=st.booleans(),
    remaining=st.integers(0, 10**6),
    round_number=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_no_plan_reserves_more_than_is_left_and_none_depends_on_an_order(
    needs, prices, adoptable, contrasted, tried, has_edits, remaining, round_number, order
) -> None:
    edits = {"concept_injection": (300, 90)} if has_edits else {}
    offers = {
        cell: make_offers(
            price, free=adoptable.get(cell, 0), contrast=MOST if cell in contrasted else None, **edits
        )
        for cell, price in prices.items()
    }
    costs = {
        ("minority_text", cell): Costs(n, n * kept // 100, float(tokens), 1)
        for cell, (n, kept, tokens) in tried.items()
    }
    deficits = [lack(cell, need) for cell, need in needs.items()]
    made = plan(deficits, offers, costs, remaining, round_number)
    assert sum(item.reserved_tokens for item in made.items) <= remaining
    assert [item.index for item in made.items] == list(range(len(made.items)))
    assert made.items or made.reason
    for item in made.items:
        assert item.count >= 0 and item.n_requests >= 0 and item.value >= 0
        assert item.reserved_tokens == item.n_requests * offers[item.cell][item.action].request_tokens
        if item.action == "adopt":
            assert 0 < item.count <= min(adoptable[item.cell], needs[item.cell])
    order.shuffle(deficits)
    again = dict(order.sample(sorted(costs.items(), key=str), len(costs)))
    assert plan(deficits, dict(reversed(offers.items())), again, remaining, round_number) == made


def test_a_cell_that_lacks_nothing_gains_nothing() -> None:
    gains = ShareGains({A: lack(A, 30)})
    assert gains.gain(B, 0, 10) == 0 == gains.gain(A, 30, 10)
    first, second, last = (gains.gain(A, given, 10) for given in (0, 10, 20))
    assert first > second > last > 0
    assert gains.gain(A, 0, 30) == pytest.approx(first + second + last)
