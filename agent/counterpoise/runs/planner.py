"""The planner: deficits, and what each action has cost so far, become the plan of one round.

A round spends one slice of the budget, then everything is counted again, because filling one cell moves others.
Adopting comes before writing: a real text costs no token and is truer. What writing costs a record is learned from
settled rounds only, so the plan does not depend on the order in which replies arrive.

A slice is shared out by need between labels and the cells that the user named (a label with a concept or with an
attribute value): a record is worth most where there are fewest. A record for a named cell is one of its label, too, so
named cells are planned first and a label is written for what they leave.

Beside the thin cells the plan writes some *contrast* records for the label that has most. A student that sees
synthetic texts under one label only learns the marks of the generator as a sign of that label; with contrast it
cannot. (A trial on eight draws of restaurant reviews pointed this way; no evaluation isolates it yet.)

Where a cell offers records to edit, the first requests of each kind of edit are a probe. If the filters keep a quarter
of its texts or more, the model can edit this data and cells are filled with edits first, as far as their sources go;
if not, with minority text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from counterpoise.actions.base import EDIT_ACTIONS, Costs, Offer
from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT, TOLERATED_RATIO
from counterpoise.core.plans import Cell, Deficit, Plan, PlanItem
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.runs.shares import share_families, share_out

CONTRAST_RATIO = 1 / 3
"""Contrast records for each record written for a thin cell."""

PLANNED_ROUNDS = 4
"""Without a limit of the user's the budget is cut as if there were so many rounds; each later one may take the rest."""

FIRST_ACCEPTANCE_RATIO = 0.95  # expected before anything was tried
UNPAID = "the budget does not reach for one more request"
PROBE_REQUESTS = 24
MOST_OF_BUDGET = 0.1  # of the round's tokens for one probe
ABLE_FROM = 0.25


def make_plan(
    deficits: Sequence[Deficit],
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
    *,
    round_number: int,
    n_rounds: int | None,
    remaining_tokens: int | None,
    exhausted: frozenset[tuple[str, Cell]] = frozenset(),
) -> Plan:
    """Plan one round.

    Adopting takes what a cell lacks, as far as the pool offers it. What is then missing is written: the round
    may spend twice its even share of the remaining budget, or all of it where that pays for no request; cells
    are served by need per expected token, the largest first (utility: the fall of the deficit).

    Args:
        deficits: cells that lack records.
        offers: what each of these cells, and each contrast cell, has to offer.
        costs: what actions have cost in cells so far, settled rounds only.
        round_number: this round, from 1.
        n_rounds: rounds the job allows, None without a limit.
        remaining_tokens: what is left of the budget; None without a limit.
        exhausted: actions that have stopped paying in a cell.

    Returns:
        The plan; empty when nothing is to be done or nothing can be paid.
    """
    items = _plan_adoptions(deficits, offers, exhausted, round_number)
    if items:
        # Adopted records move every count: they are settled before a token is spent.
        return Plan(round_number, tuple(items), "real records of the pool come before written ones")
    missing = {
        deficit.cell: deficit.need
        for deficit in deficits
        if deficit.need >= SMALLEST_USEFUL_COUNT and offers[deficit.cell].n_demonstrations
    }
    writable = [cell for cell in missing if ("minority_text", cell) not in exhausted]
    if not writable:
        return Plan(round_number, (), "no cell can be improved further")
    order = sorted(writable, key=lambda cell: (-_rate(cell, missing, offers, costs), cell))
    remaining = float("inf") if remaining_tokens is None else float(remaining_tokens)
    # Where its share pays for no request, what is left is spent now or never.
    for left in (_cut_slice(remaining, round_number, n_rounds), remaining):
        items = _fill(order, missing, offers, costs, exhausted, round_number, left)
        if items:
            break
    if not items:
        return Plan(round_number, (), _say_unpaid(remaining, writable, offers, costs))
    return Plan(round_number, tuple(items), "cells by what they lack for each expected token")


def _plan_adoptions(
    deficits: Sequence[Deficit],
    offers: Mapping[Cell, Offer],
    exhausted: frozenset[tuple[str, Cell]],
    round_number: int,
) -> list[PlanItem]:
    """Pool records for every cell; what named cells take is no longer missing in their label."""
    items: list[PlanItem] = []
    taken: dict[str, int] = {}
    for deficit in sorted(deficits, key=lambda deficit: not deficit.cell.is_named):
        already = 0 if deficit.cell.is_named else taken.get(deficit.cell.label, 0)
        count = min(deficit.need, offers[deficit.cell].n_adoptable) - already
        if count > 0 and ("adopt", deficit.cell) not in exhausted:
            items.append(PlanItem("adopt", deficit.cell, count, round_number, len(items)))
            taken[deficit.cell.label] = taken.get(deficit.cell.label, 0) + count
    return items


def _fill(
    order: Sequence[Cell],
    missing: Mapping[Cell, int],
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
    exhausted: frozenset[tuple[str, Cell]],
    round_number: int,
    left: float,
) -> list[PlanItem]:
    """Items that write, cell by cell in `order`, named cells first, as far as the tokens left go.

    Where they do not reach for all cells, each may take its share and at least one request, so that a budget for a
    tenth of what is lacking does not go to a single one.
    """
    named = [cell for cell in order if cell.is_named]
    labels = [cell for cell in order if not cell.is_named]

    def price(cell: Cell, need: float) -> float:
        return float(_price_requests(_want(cell, need, offers, costs)[1], cell, offers, costs))

    items: list[PlanItem] = []
    of_named = share_families(left, labels, named, missing, price, _compare_rates(named, labels, costs))
    for cells, limit in ((named, of_named), (labels, left)):
        needs = {cell: missing[cell] - _count_planned(items, cell) for cell in cells}
        needs = {cell: need for cell, need in needs.items() if need >= SMALLEST_USEFUL_COUNT}
        spent = _fill_family(
            needs,
            offers,
            costs,
            exhausted,
            round_number,
            min(limit, left),
            items,
            share_out(min(limit, left), needs, price),
        )
        left -= spent
    return items


def _compare_rates(
    named: Sequence[Cell], labels: Sequence[Cell], costs: Mapping[tuple[str, Cell], Costs]
) -> float | None:
    """Records that a token brings in named cells for each that it brings in labels; None where nothing was tried."""
    rates = []
    for cells in (named, labels):
        tried = [costs["minority_text", cell] for cell in cells if ("minority_text", cell) in costs]
        tokens = sum(known.tokens for known in tried)
        if not tokens:
            return None
        rates.append((sum(known.accepted for known in tried) + 1) / tokens)
    return rates[0] / rates[1]


def _fill_family(
    needs: Mapping[Cell, int],
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
    exhausted: frozenset[tuple[str, Cell]],
    round_number: int,
    left: float,
    items: list[PlanItem],
    shares: Mapping[Cell, float],
) -> float:
    """Add the items of some cells, in their order; the tokens that they reserve."""
    probed: set[str] = {item.action for item in items if item.action in EDIT_ACTIONS}
    before, saved = left, 0.0  # of the shares so far, for the cells to come
    for cell, missing in needs.items():
        edited, left = _edit(cell, missing, offers, costs, exhausted, round_number, len(items), left, probed)
        items += edited
        need = missing - sum(item.count for item in edited)
        if need >= SMALLEST_USEFUL_COUNT:
            limit = min(left, max(_price_requests(1, cell, offers, costs), shares[cell] + saved))
            written = _write(cell, need, offers, costs, round_number, len(items), limit)
            items += written
            spent = sum(item.reserved_tokens for item in written)
            left -= spent
            saved += shares[cell] - spent
    return before - left


def _count_planned(items: Sequence[PlanItem], cell: Cell) -> int:
    """How much nearer the items planned so far bring a label to the one that gets most beside it."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.cell.label] = counts.get(item.cell.label, 0) + item.count
    others = [count for label, count in counts.items() if label != cell.label]
    return counts.get(cell.label, 0) - max(others, default=0)


def _cut_slice(remaining: float, round_number: int, n_rounds: int | None) -> float:
    """Tokens of this round: two shares of what is left, so that the first round learns and the last tops up."""
    rounds_left = (PLANNED_ROUNDS if n_rounds is None else n_rounds) - round_number + 1
    return remaining if rounds_left <= 1 else remaining * min(1.0, 2.0 / (rounds_left + 1))


def _say_unpaid(
    remaining: float,
    cells: Sequence[Cell],
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
) -> str:
    """Why nothing can be written, with the figure a user would set the budget by."""
    cheapest = min(cells, key=lambda cell: _price_requests(1, cell, offers, costs))
    what = "one with its contrast" if _count_contrast(1, cheapest, offers, costs) else "one"
    return (
        f"{UNPAID}: "
        f"{remaining:,.0f} tokens are left, and {what} may take {_price_requests(1, cheapest, offers, costs):,}"
    )


def _price_requests(
    n_requests: int, cell: Cell, offers: Mapping[Cell, Offer], costs: Mapping[tuple[str, Cell], Costs]
) -> int:
    """Tokens that so many requests for a cell may take, with those for its contrast."""
    contrast = offers[cell].contrast
    price = n_requests * offers[cell].request_tokens
    return price + _count_contrast(n_requests, cell, offers, costs) * (
        offers[contrast].request_tokens if contrast else 0
    )


def _count_contrast(
    n_requests: int, cell: Cell, offers: Mapping[Cell, Offer], costs: Mapping[tuple[str, Cell], Costs]
) -> int:
    """Requests for contrast records beside so many for a cell, at most a third of them.

    A cell of which a round writes a handful has none until a whole request is owed: one request for each would be as
    many contrast records as others.
    """
    contrast = offers[cell].contrast
    if not contrast or not n_requests:
        return 0
    owed = _owe_contrast(n_requests, cell, contrast, costs)
    n_owed = owed / (COMPLETIONS_PER_REQUEST * _expect_ratio(contrast, costs))
    return max(0, min(int(n_owed), _round_up(n_requests * CONTRAST_RATIO)))


def _owe_contrast(
    n_requests: int, cell: Cell, contrast: Cell, costs: Mapping[tuple[str, Cell], Costs]
) -> float:
    """Contrast records that are due: in all a third as many as are kept for the cell, earlier rounds included."""
    kept, kept_beside = (costs.get(("minority_text", one), Costs()).accepted for one in (cell, contrast))
    expected = n_requests * COMPLETIONS_PER_REQUEST * _expect_ratio(cell, costs)
    return (kept + expected) * CONTRAST_RATIO - kept_beside


def _expect_ratio(cell: Cell, costs: Mapping[tuple[str, Cell], Costs]) -> float:
    """Share of the texts for a cell that are expected to be kept."""
    known = costs.get(("minority_text", cell), Costs())
    return known.acceptance_ratio if known.tried else FIRST_ACCEPTANCE_RATIO


def _want(
    cell: Cell,
    need: float,
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
) -> tuple[float, int, float]:
    """Records to write for a cell, the requests they take, and the share of their texts that is kept."""
    ratio = _expect_ratio(cell, costs)
    # The contrast records raise the label that has most, so the cell needs as many again.
    wanted = need * (1 + CONTRAST_RATIO / (1 - CONTRAST_RATIO)) if offers[cell].contrast else float(need)
    return wanted, _round_up(wanted / ratio / COMPLETIONS_PER_REQUEST), ratio


def _rate(
    cell: Cell,
    missing: Mapping[Cell, int],
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
) -> float:
    return missing[cell] / expect_tokens_per_accepted(cell, offers, costs)


def expect_tokens_per_accepted(
    cell: Cell, offers: Mapping[Cell, Offer], costs: Mapping[tuple[str, Cell], Costs]
) -> float:
    """Tokens that one more accepted record is expected to cost."""
    known = costs.get(("minority_text", cell), Costs())
    per_proposal = offers[cell].request_tokens / COMPLETIONS_PER_REQUEST
    if known.tried:
        per_proposal = known.tokens / known.tried
    return max(1.0, per_proposal / known.acceptance_ratio)


def _write(
    cell: Cell,
    need: int,
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
    round_number: int,
    index: int,
    left: float,
) -> list[PlanItem]:
    """The item for one cell and its contrast item, as far as the tokens left go."""
    contrast, price = offers[cell].contrast, offers[cell].request_tokens
    wanted, n_requests, ratio = _want(cell, need, offers, costs)
    while n_requests and (cost := _price_requests(n_requests, cell, offers, costs)) > left:
        n_requests = min(n_requests - 1, int(n_requests * left / cost))
    n_contrast = _count_contrast(n_requests, cell, offers, costs)
    if not n_requests:
        return []
    most = _allow(wanted)
    # Where the tokens do not reach for all that is wanted, the plan says what they do reach for, one record at least.
    wanted = max(1.0, min(wanted, n_requests * COMPLETIONS_PER_REQUEST * ratio))
    items = [
        PlanItem(
            "minority_text",
            cell,
            round(wanted),
            round_number,
            index,
            n_requests,
            n_requests * price,
            most=most,
        )
    ]
    if contrast and n_contrast:
        # What is written for the cell may be more than it takes, the contrast is not.
        due = min(_owe_contrast(n_requests, cell, contrast, costs), wanted * CONTRAST_RATIO)
        items.append(
            PlanItem(
                "minority_text",
                contrast,
                max(1, round(due)),
                round_number,
                index + 1,
                n_contrast,
                n_contrast * offers[contrast].request_tokens,
                most=_allow(due),
            )
        )
    return items


def find_unable(costs: Mapping[tuple[str, Cell], Costs]) -> frozenset[str]:
    """The kinds of edit that were tried on this data and of which the filters kept less than a quarter."""
    unable = set()
    for action in EDIT_ACTIONS:
        mine = [known for (other, _), known in costs.items() if other is action]
        n_tried, n_sent = sum(known.tried for known in mine), sum(known.requests for known in mine)
        if n_sent and sum(known.accepted for known in mine) < ABLE_FROM * max(1, n_tried):
            unable.add(action)
    return frozenset(unable)


def _edit(
    cell: Cell,
    need: int,
    offers: Mapping[Cell, Offer],
    costs: Mapping[tuple[str, Cell], Costs],
    exhausted: frozenset[tuple[str, Cell]],
    round_number: int,
    index: int,
    left: float,
    probed: set[str],
) -> tuple[list[PlanItem], float]:
    """Edits for one cell: of a kind that has proved able as many as are needed, of an untried one a probe.

    A probe counts for nothing in the plan: what it yields is seen in the next count.
    """
    unable = find_unable(costs)
    items: list[PlanItem] = []
    for action in EDIT_ACTIONS:
        offer = offers[cell].edits.get(action)
        if offer is None or action in unable or action in probed or (action, cell) in exhausted:
            continue
        known = costs.get((action, cell), Costs())
        mine = [other for (kind, _), other in costs.items() if kind is action]
        is_probe = not any(other.requests for other in mine)
        if is_probe:
            n_requests = int(min(PROBE_REQUESTS, offer.n_edits, MOST_OF_BUDGET * left / offer.request_tokens))
            if n_requests < PROBE_REQUESTS // 2:
                continue
            probed.add(action)
            count = 0
        else:
            ratio = (sum(other.accepted for other in mine) + 1) / (sum(other.tried for other in mine) + 2)
            wanted = need - sum(item.count for item in items)
            n_requests = int(min(_round_up(wanted / ratio), offer.n_edits, left / offer.request_tokens))
            count = min(wanted, round(n_requests * ratio))
            if count < 1:
                continue
        price = n_requests * offer.request_tokens
        items.append(
            PlanItem(action, cell, count, round_number, index + len(items), n_requests, price, known.requests)
        )
        left -= price
    return items, left


def _allow(wanted: float) -> int:
    """Records that may be kept where so many are wanted: what is beyond is too little to make another cell short."""
    return round(wanted) + max(SMALLEST_USEFUL_COUNT - 1, int(TOLERATED_RATIO * wanted))


def _round_up(value: float) -> int:
    return int(-(-value // 1))
