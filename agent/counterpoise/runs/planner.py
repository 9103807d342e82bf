"""The planner: what cells lack, and what ways have brought and cost so far, become the plan of one round.

A round spends one share of the budget, then everything is counted again, because filling one cell moves others.
What costs no token comes before what does: a real text is truer, too. Tokens buy *slices*: a cell, a way to fill it (an
action, in the hands of one writer) and a few requests (`slices`). The next slice is the one that is expected to help
most for its price: what records help the cell and its label (`gains`), times what is kept, times what a record is
worth, for each token. What is kept is drawn from what is believed of the way there (`beliefs`), so that ways that are
little known are tried again. What was settled counts only, so a plan does not depend on the order in which replies
arrive.

A record for a named cell (a label with a concept or with an attribute value) is one of its label, too, and helps both.
Beside what is written for a label that is short alone stand some *contrast* records for the label that has most: a
student that sees synthetic texts under one label only learns the marks of the writer as a sign of that label.

A way that was tried nowhere gets a first slice, its pilot. Where no other can fill the cells, the first round buys such
slices and no more, so that a writer that is no good costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from counterpoise.actions.base import Costs, Offer
from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT
from counterpoise.core.plans import Cell, Deficit, Plan, PlanItem, split_way
from counterpoise.runs.free_items import FREE_REASON, plan_free
from counterpoise.runs.gains import Gains, ShareGains
from counterpoise.runs.market import CONTRAST_RATIO, Market
from counterpoise.runs.plan_limits import allow, cut_share, say_unpaid
from counterpoise.runs.slices import Purchase, SliceBuyer


def make_plan(
    deficits: Sequence[Deficit],
    offers: Mapping[Cell, Mapping[str, Offer]],
    costs: Mapping[tuple[str, Cell], Costs],
    *,
    round_number: int,
    n_rounds: int | None,
    remaining_tokens: int | None,
    exhausted: frozenset[tuple[str, Cell]] = frozenset(),
    gains: Callable[[], Gains] | None = None,
    key: str = "",
) -> Plan:
    """Plan one round.

    What costs no token takes what a cell lacks, as far as it goes. What is then missing is bought in slices: the round
    may spend twice its even share of the remaining budget, or all of it where that pays for no request.

    Args:
        deficits: cells that lack records.
        offers: what ways can do for each of these cells, and for each contrast cell; see `core.plans.name_way`.
        costs: what ways have cost in cells so far, settled rounds only.
        round_number: this round, from 1.
        n_rounds: rounds the job allows, None without a limit.
        remaining_tokens: what is left of the budget; None without a limit.
        exhausted: ways that have stopped paying in a cell.
        gains: gives what records help, asked where the budget does not pay for all; None where only counts are known.
        key: of the run.

    Returns:
        The plan; empty when nothing is to be done or nothing can be paid.
    """
    deficits = sorted(deficits, key=lambda one: (-one.need, one.cell))
    market = Market(offers, costs, exhausted)
    fillers = {cell: market.list_fillers(cell) for cell in offers}
    free = plan_free(deficits, offers, exhausted, round_number)
    if free:
        # Real records move every count: they are settled before a token is spent.
        return Plan(round_number, tuple(free), FREE_REASON, fillers)
    lacking = {deficit.cell: deficit for deficit in deficits if deficit.need >= SMALLEST_USEFUL_COUNT}
    known = {cell: one for cell, one in lacking.items() if market.find_lead(cell)}
    if not known:
        return Plan(round_number, (), "no cell can be improved further", fillers)
    remaining = float("inf") if remaining_tokens is None else float(remaining_tokens)
    is_last = n_rounds is not None and round_number >= n_rounds
    # Where its share pays for no request, what is left is spent now or never.
    for left in (cut_share(remaining, round_number, n_rounds), remaining):
        this = SliceBuyer(
            market, known, gains or (lambda: ShareGains(known)), f"{key}:{round_number}", left, remaining
        )
        purchases = this.buy(pilots_only=not is_last)
        if purchases:
            break
    if not purchases:
        return Plan(round_number, (), say_unpaid(remaining, sorted(known), market), fillers)
    items = _list_items(purchases, market, this.missing, round_number)
    reason = f"slices by what they help for a token, told in {this.gains.unit}"
    return Plan(round_number, tuple(items), reason, fillers)


def _list_items(
    purchases: Sequence[Purchase], market: Market, missing: Mapping[Cell, int], number: int
) -> list[PlanItem]:
    """What was bought as items, each followed by that of its contrast."""
    items: list[PlanItem] = []

    def add(one: Purchase, cell: Cell, count: int, n_requests: int, most: int, basis: str = "") -> None:
        """An item for the cell of a purchase, or with a basis of its own for one beside it."""
        action, writer = split_way(one.way)
        items.append(
            PlanItem(
                action,
                cell,
                count,
                number,
                len(items),
                n_requests,
                n_requests * market.offers[cell][one.way].request_tokens,
                market.costs.get((one.way, cell), Costs()).requests,
                most,
                writer,
                0.0 if basis else one.value,
                basis or one.basis,
            )
        )

    # In an order that prices do not move: ids follow from it.
    for one in sorted(purchases, key=lambda one: (not one.cell.is_named, one.cell, one.way)):
        offer = market.offers[one.cell][one.way]
        if one.is_pilot:
            add(one, one.cell, 0, one.n_requests, 0)
            continue
        expected = one.n_requests * offer.per_request * market.expect_ratio(one.way, one.cell)
        wanted = max(1.0, min(market.want(one.cell, missing[one.cell], one.way)[0], expected))
        add(one, one.cell, round(wanted), one.n_requests, allow(wanted))
        n_contrast = market.count_contrast(one.n_requests, one.cell, one.way)
        if offer.contrast and n_contrast:
            # What is written for the cell may be more than it takes, the contrast is not.
            due = min(market.owe_contrast(one.n_requests, one.cell, one.way), wanted * CONTRAST_RATIO)
            add(one, offer.contrast, max(1, round(due)), n_contrast, allow(due), "contrast")
    return items
