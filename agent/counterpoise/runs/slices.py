"""What can be bought next, and the buying: slices of cells and ways, the one with most help for its price first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush

from counterpoise.actions.base import Offer
from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT
from counterpoise.core.plans import Cell, Deficit
from counterpoise.runs.beliefs import Belief, believe
from counterpoise.runs.gains import Gains, ShareGains
from counterpoise.runs.market import CONTRAST_RATIO, Market, round_up
from counterpoise.runs.plan_limits import aim

SLICE_TOKENS = 4000
"""Tokens of a slice: enough to see what a way brings, and a small part of any budget worth planning."""

PILOT_SHARE = 0.1
"""Of a round's tokens, what the pilot of a way may take at most where another way can fill the cell."""

_EACH = 1 + CONTRAST_RATIO / (1 - CONTRAST_RATIO)
"""Records that are written for each that a cell lacks where contrast records raise the largest label beside it."""


def count_slice(offer: Offer) -> int:
    """Requests of a whole slice, 1 or more."""
    return max(1, SLICE_TOKENS // offer.request_tokens)


@dataclass(slots=True)
class Purchase:
    """What a round buys of one way for one cell.

    Args:
        cell: for which.
        way: which action, in whose hands.
        n_requests: requests.
        tokens: what these and those for contrast may take at most.
        records: records that the cell is expected to have more by them.
        value: what they are expected to help.
        basis: what this stands on.
        is_pilot: whether they are to show what the way can do; nothing is reckoned with.
    """

    cell: Cell
    way: str
    n_requests: int = 0
    tokens: int = 0
    records: float = 0.0
    value: float = 0.0
    basis: str = ""
    is_pilot: bool = False


@dataclass
class SliceBuyer:
    """The paid part of one round.

    Args:
        market: offers and what ways have cost.
        deficits: the cells that lack records and for which there is a way.
        open_gains: gives what records help, asked once; where the budget pays for all that is missing counts will do.
        key: of the run and round: other keys draw other beliefs.
        left: tokens of the round.
        budget: tokens of this round and all later ones.
    """

    market: Market
    deficits: Mapping[Cell, Deficit]
    open_gains: Callable[[], Gains]
    key: str
    left: float
    budget: float
    bought: dict[tuple[Cell, str], Purchase] = field(default_factory=dict)
    _given: dict[Cell, float] = field(default_factory=dict)
    _raised: float = 0.0
    missing: dict[Cell, int] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Count what cells lack, and what the named cells of a label do, as far as anything can be bought for them."""
        self.missing = {cell: aim(one) for cell, one in self.deficits.items()}
        for cell, need in self.missing.items():
            if cell.is_named and self._fillers[cell]:
                self._due[cell.label] = self._due.get(cell.label, 0.0) + need

    def buy(self, *, pilots_only: bool = False) -> list[Purchase]:
        """Pilots first, then slices, the one with most help for a token first, as far as tokens and needs go.

        Args:
            pilots_only: of a way that was tried nowhere one slice is bought and no more: another round follows.
        """
        whole = self.left
        for cell in sorted(self.missing):
            self._buy_pilots(cell, whole)
        heap = [(-self._rate(cell, way), cell, way) for cell in self.missing for way in self._fillers[cell]]
        heapify(heap)
        closed: set[Cell] = set()
        while heap:
            _, cell, way = heappop(heap)
            rate = self._rate(cell, way)
            if rate <= 0:
                continue
            if heap and rate < -heap[0][0]:
                # Something bought since has made it worth less.
                heappush(heap, (-rate, cell, way))
                continue
            is_pilot = pilots_only and way not in self.market.tried
            if is_pilot and any(name == way for _, name in self.bought):
                continue
            if pilots_only and self._is_trusted_no_more(cell, way):
                closed.add(cell)
            if cell in closed or not self._buy_slice(cell, way):
                continue
            heappush(heap, (-self._rate(cell, way), cell, way))
        return list(self.bought.values())

    @cached_property
    def _fillers(self) -> dict[Cell, list[str]]:
        """Cell -> the ways that may fill it: those tried, or where none was the first that works with any data."""
        return {cell: self._list_fillers(cell) for cell in self.missing}

    @cached_property
    def _open(self) -> dict[Cell, list[str]]:
        """Cell -> its ways at a price that can still be bought."""
        market = self.market
        return {
            cell: [
                way
                for way, offer in market.offers.get(cell, {}).items()
                if not offer.is_free and offer.requests_left and (way, cell) not in market.exhausted
            ]
            for cell in self.missing
        }

    @cached_property
    def _beliefs(self) -> dict[tuple[Cell, str], tuple[Belief, float]]:
        """What is believed of each way in each cell, and the share of proposals that was drawn from it."""
        market = self.market
        found = {
            (cell, way): believe(way, cell, market.offers[cell][way], market.costs)
            for cell, ways in self._open.items()
            for way in ways
        }
        return {
            (cell, way): (belief, belief.draw(self.key, f"{way}\0{cell.key}"))
            for (cell, way), belief in found.items()
        }

    def _list_fillers(self, cell: Cell) -> list[str]:
        offers, tried = self.market.offers[cell], self.market.tried
        known = [way for way in self._open[cell] if way in tried]
        steady = [way for way in self._open[cell] if not offers[way].is_probed]
        if any(way in known for way in steady):
            return known
        return [*known, *steady[:1]]

    def _buy_pilots(self, cell: Cell, whole: float) -> None:
        """A first slice of each way that was tried nowhere, where it is not what the cell is filled by."""
        for way in self._open[cell]:
            is_known = way in self.market.tried or any(name == way for _, name in self.bought)
            if is_known or way in self._fillers[cell]:
                continue
            offer = self.market.offers[cell][way]
            n_requests = min(count_slice(offer), offer.requests_left)
            most = PILOT_SHARE * whole if self._fillers[cell] else self.left
            if not offer.is_probed:
                # What works with any data brings records, so a pilot takes half of what is wanted at most.
                self._add(cell, way, min(int(n_requests), max(1, self._count_wanted(cell, way) // 2)), most)
                continue
            n_paid = int(min(n_requests, most / offer.request_tokens))
            # What cannot show half of what a pilot shows is not worth its tokens where another way is at hand.
            if n_paid < (max(1, n_requests // 2) if self._fillers[cell] else 1):
                continue
            tokens = n_paid * offer.request_tokens
            basis = self._beliefs[cell, way][0].basis
            self.bought[cell, way] = Purchase(cell, way, n_paid, tokens, basis=basis, is_pilot=True)
            self.left -= tokens

    def _rate(self, cell: Cell, way: str) -> float:
        """What the next slice is expected to help for each token that it is expected to take."""
        n_requests = self._size(cell, way)
        if not n_requests:
            return 0.0
        belief, share = self._beliefs[cell, way]
        offer = self.market.offers[cell][way]
        n_proposals = n_requests * offer.per_request
        records = min(n_proposals * share / self._ask_for_each(cell, way), self._lack(cell))
        rate = self._help(cell, records, belief.worth) / max(1.0, n_proposals * belief.tokens)
        # Nine digits: the last ones of measured figures differ between processors, and the plan must not.
        return float(f"{rate:.9g}")

    def _help(self, cell: Cell, records: float, worth: float) -> float:
        """What records help the cell, and the label that they are of."""
        helped = self.gains.gain(cell, self._count_given(cell), records, worth)
        label = Cell(cell.label)
        if cell.is_named and label in self.missing:
            helped += self.gains.gain(label, self._count_given(label), records, worth)
        return helped

    def _size(self, cell: Cell, way: str) -> int:
        """Requests of the next slice: what `SLICE_TOKENS`, an even share of the round, and what a cell lacks allow."""
        lack = self._lack(cell)
        if (lack < SMALLEST_USEFUL_COUNT and (cell, way) not in self.bought) or lack <= 0:
            return 0
        offer = self.market.offers[cell][way]
        known = self.bought.get((cell, way))
        n_before = known.n_requests if known else 0
        wanted = self._count_wanted(cell, way)
        fair = self._share / offer.request_tokens
        n_requests = min(SLICE_TOKENS / offer.request_tokens, fair, wanted, offer.requests_left - n_before)
        return int(max(1, n_requests)) if wanted > 0 and offer.requests_left > n_before else 0

    def _count_wanted(self, cell: Cell, way: str) -> int:
        """Requests that what a cell lacks is expected to take."""
        return round_up(self._lack(cell) * self._ask_for_each(cell, way) / self._expect_kept(cell, way))

    @cached_property
    def _share(self) -> float:
        return self.left / max(1, sum(bool(ways) for ways in self._fillers.values()))

    def _expect_kept(self, cell: Cell, way: str) -> float:
        """Records that one request is expected to bring."""
        return self.market.offers[cell][way].per_request * self.market.expect_ratio(way, cell)

    def _ask_for_each(self, cell: Cell, way: str) -> float:
        return _EACH if self.market.offers[cell][way].contrast else 1.0

    def _buy_slice(self, cell: Cell, way: str) -> bool:
        """Add the next slice, or as much of it as can be paid; whether that was anything."""
        return self._add(cell, way, self._size(cell, way), self.left)

    def _add(self, cell: Cell, way: str, n_more: int, most: float) -> bool:
        """Buy so many requests more, or as many of them as so many tokens pay; whether that was anything."""
        known = self.bought.setdefault(
            (cell, way), Purchase(cell, way, basis=self._beliefs[cell, way][0].basis)
        )
        while n_more > 0 and self._price_more(known, n_more) > most:
            n_more = min(n_more - 1, int(n_more * most / self._price_more(known, n_more)))
        if n_more <= 0:
            if not known.n_requests:
                del self.bought[cell, way]
            return False
        tokens = self._price_more(known, n_more)
        records = min(self._lack(cell), n_more * self._expect_kept(cell, way) / self._ask_for_each(cell, way))
        known.value += self._help(cell, records, self._beliefs[cell, way][0].worth)
        known.n_requests += n_more
        known.tokens += tokens
        known.records += records
        self._give(cell, records)
        self.left -= tokens
        return True

    def _is_trusted_no_more(self, cell: Cell, way: str) -> bool:
        """Whether a way with rivals has got as much as is known of it there: twice what was tried, a slice at first.

        The cell then waits for the next round: what is better than a way that is little known is not one that is worse.
        """
        known = self.bought.get((cell, way))
        if known is None or len(self._fillers[cell]) < 2:
            return False
        offer, tried = self.market.offers[cell][way], self.market.costs.get((way, cell))
        return known.n_requests >= max(count_slice(offer), 2 * tried.requests if tried else 0)

    def _price_more(self, known: Purchase, n_more: int) -> int:
        whole = self.market.price(known.n_requests + n_more, known.cell, known.way)
        return whole - known.tokens

    def _count_given(self, cell: Cell) -> float:
        """How much nearer to full what was bought so far brings a cell."""
        if cell.is_named:
            return self._given.get(cell, 0.0)
        # Labels are measured against the one that has most: what that one gets, they lack as well.
        return self._given.get(cell, 0.0) - self._raised

    def _lack(self, cell: Cell) -> float:
        """Records that a cell still lacks; of a label those that will not come with what its named cells lack."""
        lack = self.missing[cell] - self._count_given(cell)
        if not cell.is_named and self._is_enough:
            lack -= self._due.get(cell.label, 0.0)
        return max(0.0, lack)

    @cached_property
    def gains(self) -> Gains:
        """What records help."""
        return ShareGains(self.deficits) if self._is_enough else self.open_gains()

    @cached_property
    def _is_enough(self) -> bool:
        """Whether the budget is expected to pay for all that is missing."""
        return self._expect_cost <= self.budget

    @cached_property
    def _expect_cost(self) -> float:
        """Tokens that all that is missing is expected to cost: labels for what does not come with their named cells."""
        return sum(
            self._expect_price(cell)
            * max(0.0, need - (0.0 if cell.is_named else self._due.get(cell.label, 0.0)))
            for cell, need in self.missing.items()
        )

    def _expect_price(self, cell: Cell) -> float:
        """Tokens that a record of a cell is expected to cost at least."""
        beliefs = [self._beliefs[cell, way][0] for way in self._fillers[cell]]
        return min((one.tokens / one.acceptance for one in beliefs), default=0.0)

    def _give(self, cell: Cell, records: float) -> None:
        label = Cell(cell.label)
        for one in {cell, label}:
            self._given[one] = self._given.get(one, 0.0) + records
        if cell.is_named and cell.label in self._due:
            self._due[cell.label] = max(0.0, self._due[cell.label] - records)
        if label not in self.missing:
            self._raised = max(self._raised, self._given[label])
