"""The planner of runs that were begun before slices were: cells by what they lack for each expected token.

A round spends one slice of the budget, then everything is counted again, because filling one cell moves others.
What costs no token comes before what does: a real text is truer, too. What a record costs is learned from settled
rounds only, so the plan does not depend on the order in which replies arrive.

A slice is shared out by need between labels and the cells that the user named (a label with a concept or with an
attribute value): a record is worth most where there are fewest. A record for a named cell is one of its label, too, so
named cells are planned first and a label is filled for what they leave.

Beside what is written for thin cells stand some *contrast* records for the label that has most. A student that sees
synthetic texts under one label only learns the marks of the generator as a sign of that label; with contrast it
cannot. (A trial on eight draws of restaurant reviews pointed this way; no evaluation isolates it yet.)

Where an action has to be probed its first requests do that. If the filters keep a quarter of its texts or more, cells
are filled by it first, as far as its sources go; if not, by what needs no probe (`market`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from counterpoise.actions.base import Costs, Offer
from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT
from counterpoise.core.plans import Cell, Deficit, Plan, PlanItem
from counterpoise.runs.free_items import FREE_REASON, plan_free
from counterpoise.runs.market import CONTRAST_RATIO, Market, round_up
from counterpoise.runs.plan_limits import allow, cut_share, say_unpaid
from counterpoise.runs.shares import share_families, share_out

PROBE_REQUESTS = 24
MOST_OF_BUDGET = 0.1  # of the round's tokens for one probe


def plan_by_need(
    deficits: Sequence[Deficit],
    offers: Mapping[Cell, Mapping[str, Offer]],
    costs: Mapping[tuple[str, Cell], Costs],
    *,
    round_number: int,
    n_rounds: int | None,
    remaining_tokens: int | None,
    exhausted: frozenset[tuple[str, Cell]] = frozenset(),
) -> Plan:
    """Plan one round.

    What costs no token takes what a cell lacks, as far as it goes. What is then missing is written: the round
    may spend twice its even share of the remaining budget, or all of it where that pays for no request; cells
    are served by need per expected token, the largest first (utility: the fall of the deficit).

    Args:
        deficits: cells that lack records.
        offers: what actions can do for each of these cells, and for each contrast cell.
        costs: what actions have cost in cells so far, settled rounds only.
        round_number: this round, from 1.
        n_rounds: rounds the job allows, None without a limit.
        remaining_tokens: what is left of the budget; None without a limit.
        exhausted: actions that have stopped paying in a cell.

    Returns:
        The plan; empty when nothing is to be done or nothing can be paid.
    """
    market = Market(offers, costs, exhausted)
    fillers = {cell: market.list_fillers(cell) for cell in offers}
    items = plan_free(deficits, offers, exhausted, round_number)
    if items:
        # Real records move every count: they are settled before a token is spent.
        return Plan(round_number, tuple(items), FREE_REASON, fillers)
    missing = {
        deficit.cell: deficit.need
        for deficit in deficits
        if deficit.need >= SMALLEST_USEFUL_COUNT and market.find_lead(deficit.cell)
    }
    if not missing:
        return Plan(round_number, (), "no cell can be improved further", fillers)
    order = sorted(missing, key=lambda cell: (-missing[cell] / market.expect_tokens_per_accepted(cell), cell))
    remaining = float("inf") if remaining_tokens is None else float(remaining_tokens)
    # Where its share pays for no request, what is left is spent now or never.
    for left in (cut_share(remaining, round_number, n_rounds), remaining):
        items = _Round(market, round_number, left).fill(order, missing)
        if items:
            break
    if not items:
        return Plan(round_number, (), say_unpaid(remaining, order, market), fillers)
    return Plan(round_number, tuple(items), "cells by what they lack for each expected token", fillers)


class _Round:
    """The paid items of one round, and the tokens that are left for more.

    Args:
        market: offers and costs.
        number: of the round.
        left: tokens.
    """

    def __init__(self, market: Market, number: int, left: float) -> None:
        self.market = market
        self.number = number
        self.left = left
        self.items: list[PlanItem] = []

    def fill(self, order: Sequence[Cell], missing: Mapping[Cell, int]) -> list[PlanItem]:
        """Items that write, cell by cell in `order`, named cells first, as far as the tokens left go.

        Where they do not reach for all cells, each may take its share and at least one request, so that a budget for a
        tenth of what is lacking does not go to a single one.
        """
        named = [cell for cell in order if cell.is_named]
        labels = [cell for cell in order if not cell.is_named]
        rate = _compare_rates(named, labels, self.market)
        of_named = share_families(self.left, labels, named, missing, self._price, rate)
        for cells, limit in ((named, of_named), (labels, self.left)):
            needs = {cell: missing[cell] - count_planned(self.items, cell) for cell in cells}
            needs = {cell: need for cell, need in needs.items() if need >= SMALLEST_USEFUL_COUNT}
            self._fill_family(needs, min(limit, self.left))
        return self.items

    def _price(self, cell: Cell, need: float) -> float:
        return float(self.market.price(self.market.want(cell, need)[1], cell))

    def _fill_family(self, needs: Mapping[Cell, int], limit: float) -> None:
        """Add the items of some cells, in their order, for at most `limit` tokens."""
        market, whole, first = self.market, self.left, len(self.items)
        shares = share_out(limit, needs, self._price)
        probed = {
            item.action
            for item in self.items
            if market.offers[item.cell][item.action].is_probed or not item.count
        }
        saved = 0.0  # of the shares so far, for the cells to come
        self.left = limit
        for cell, missing in needs.items():
            need = missing - self._try_first(cell, missing, probed)
            if need >= SMALLEST_USEFUL_COUNT and market.find_filler(cell):
                n_before = len(self.items)
                self._write(cell, need, min(self.left, max(market.price(1, cell), shares[cell] + saved)))
                saved += shares[cell] - _sum_reserved(self.items[n_before:])
        self.left = whole - _sum_reserved(self.items[first:])

    def _add(self, item: PlanItem) -> None:
        self.items.append(item)
        self.left -= item.reserved_tokens

    def _try_first(self, cell: Cell, need: int, probed: set[str]) -> int:
        """Add what comes before a cell's filler; the records that are expected of it.

        Of an action that has proved able as many as are needed, of an untried one a probe. A probe counts for nothing
        in the plan: what it yields is seen in the next count.
        """
        given = 0
        for action in self.market.list_probed(cell):
            if action in probed:
                continue
            offer, total = self.market.offers[cell][action], self.market.sum_costs(action)
            if not total.requests:
                # Where nothing else could fill the cell, the probe is all that the tokens are for.
                others = self.market.find_filler(cell)
                affordable = (MOST_OF_BUDGET if others else 1.0) * self.left / offer.request_tokens
                n_requests = int(min(PROBE_REQUESTS, offer.requests_left, affordable))
                if n_requests < (PROBE_REQUESTS // 2 if others else 1):
                    continue
                probed.add(action)
                count = 0
            else:
                wanted = need - given
                each = offer.per_request * total.acceptance_ratio
                affordable = self.left / offer.request_tokens
                n_requests = int(min(round_up(wanted / each), offer.requests_left, affordable))
                count = min(wanted, round(n_requests * each))
                if count < 1:
                    continue
            drawn = self.market.costs.get((action, cell), Costs()).requests
            price = n_requests * offer.request_tokens
            self._add(PlanItem(action, cell, count, self.number, len(self.items), n_requests, price, drawn))
            given += count
        return given

    def _write(self, cell: Cell, need: int, limit: float) -> None:
        """Add the item of a cell's filler and its contrast item, as far as the tokens go."""
        market, filler = self.market, self.market.find_filler(cell)
        offer = market.offers[cell][filler]
        wanted, n_requests, ratio = market.want(cell, need)
        while n_requests and (cost := market.price(n_requests, cell)) > limit:
            n_requests = min(n_requests - 1, int(n_requests * limit / cost))
        n_contrast = market.count_contrast(n_requests, cell)
        if not n_requests:
            return
        most = allow(wanted)
        # Where the tokens do not reach for all that is wanted, the plan says what they reach for, one record at least.
        wanted = max(1.0, min(wanted, n_requests * offer.per_request * ratio))
        self._add_filling(filler, cell, round(wanted), n_requests, most)
        if offer.contrast and n_contrast:
            # What is written for the cell may be more than it takes, the contrast is not.
            due = min(market.owe_contrast(n_requests, cell), wanted * CONTRAST_RATIO)
            self._add_filling(filler, offer.contrast, max(1, round(due)), n_contrast, allow(due))

    def _add_filling(self, filler: str, cell: Cell, count: int, n_requests: int, most: int) -> None:
        price = n_requests * self.market.offers[cell][filler].request_tokens
        drawn = self.market.costs.get((filler, cell), Costs()).requests
        self._add(PlanItem(filler, cell, count, self.number, len(self.items), n_requests, price, drawn, most))


def _sum_reserved(items: Sequence[PlanItem]) -> int:
    return sum(item.reserved_tokens for item in items)


def _compare_rates(named: Sequence[Cell], labels: Sequence[Cell], market: Market) -> float | None:
    """Records that a token brings in named cells for each that it brings in labels; None where nothing was tried."""
    rates = []
    for cells in (named, labels):
        keys = [(market.find_lead(cell), cell) for cell in cells]
        tried = [market.costs[key] for key in keys if key in market.costs]
        tokens = sum(known.tokens for known in tried)
        if not tokens:
            return None
        rates.append((sum(known.accepted for known in tried) + 1) / tokens)
    return rates[0] / rates[1]


def count_planned(items: Sequence[PlanItem], cell: Cell) -> int:
    """How much nearer the items planned so far bring a label to the one that gets most beside it."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.cell.label] = counts.get(item.cell.label, 0) + item.count
    others = [count for label, count in counts.items() if label != cell.label]
    return counts.get(cell.label, 0) - max(others, default=0)
