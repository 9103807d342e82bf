"""What actions offer for cells and what they have cost so far: the prices that a plan is made by.

A cell is filled by one action a round, its *filler*: of those that need no probe the one that has cost least for each
record kept. An action that has not been tried anywhere is given a probe first where another can fill the cell. Beside
what a filler writes stand some *contrast* records for the label that has most, where its records bear a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from counterpoise.actions.base import FIRST_ACCEPTANCE_RATIO, Costs, Offer
from counterpoise.core.plans import Cell

CONTRAST_RATIO = 1 / 3
"""Contrast records for each record written for a thin cell."""

ABLE_FROM = 0.25
"""Share of the proposals of a probed action that the filters have to keep."""


@dataclass(frozen=True)
class Market:
    """Offers, and what is known of the actions that make them.

    Args:
        offers: for each cell, name of an action -> its offer, in the order of preference.
        costs: what actions have cost in cells so far, settled rounds only.
        exhausted: actions that have stopped paying in a cell.
    """

    offers: Mapping[Cell, Mapping[str, Offer]]
    costs: Mapping[tuple[str, Cell], Costs]
    exhausted: frozenset[tuple[str, Cell]] = frozenset()

    def list_fillers(self, cell: Cell) -> tuple[str, ...]:
        """The actions that could fill a cell at a price, exhausted or not; probed ones only where there is no other."""
        paid = {name: offer for name, offer in self.offers.get(cell, {}).items() if not offer.is_free}
        steady = tuple(name for name, offer in paid.items() if not offer.is_probed)
        return steady or tuple(paid)

    def find_filler(self, cell: Cell) -> str:
        """The action that fills a cell; "" where none does."""
        if cell not in self._fillers:
            self._fillers[cell] = self._choose_filler(cell)
        return self._fillers[cell]

    def find_lead(self, cell: Cell) -> str:
        """The action that a cell is priced by: its filler, or the first of those that are probed; "" without any."""
        return self.find_filler(cell) or next(iter(self.list_probed(cell)), "")

    def list_probed(self, cell: Cell) -> list[str]:
        """The actions that come before the filler of a cell: able ones, and as a probe those not tried anywhere."""
        filler = self.find_filler(cell)
        return [
            name
            for name, offer in self.offers.get(cell, {}).items()
            if not offer.is_free
            and offer.requests_left
            and name != filler
            and name not in self.unable
            and (name, cell) not in self.exhausted
            and (offer.is_probed or name not in self.tried)
        ]

    @cached_property
    def tried(self) -> frozenset[str]:
        """The actions that have sent a request, in whichever cell."""
        return frozenset(name for (name, _), known in self.costs.items() if known.requests)

    @cached_property
    def unable(self) -> frozenset[str]:
        """The probed actions that were tried on this data and of which the filters kept less than a quarter."""
        probed = {
            name for offers in self.offers.values() for name, offer in offers.items() if offer.is_probed
        }
        return find_unable(self.costs, probed)

    @cached_property
    def _fillers(self) -> dict[Cell, str]:
        return {}

    def _choose_filler(self, cell: Cell) -> str:
        useful = [
            name
            for name, offer in self.offers.get(cell, {}).items()
            if not offer.is_free
            and not offer.is_probed
            and offer.requests_left
            and (name, cell) not in self.exhausted
        ]
        tried = [name for name in useful if name in self.tried]
        if tried:
            return min(tried, key=lambda name: self._expect_price(name, cell))
        return useful[0] if useful else ""

    def sum_costs(self, action: str) -> Costs:
        """What an action has cost in all cells together."""
        mine = [known for (name, _), known in self.costs.items() if name == action]
        return Costs(
            sum(known.tried for known in mine),
            sum(known.accepted for known in mine),
            sum(known.tokens for known in mine),
            sum(known.requests for known in mine),
        )

    def price(self, n_requests: int, cell: Cell, way: str = "") -> int:
        """Tokens that so many requests of a way (a cell's lead without one) may take, with those for its contrast."""
        lead = way or self.find_lead(cell)
        offer = self.offers[cell][lead]
        price = n_requests * offer.request_tokens
        if offer.contrast is None:
            return price
        beside = self.offers[offer.contrast][lead]
        return price + self.count_contrast(n_requests, cell, lead) * beside.request_tokens

    def count_contrast(self, n_requests: int, cell: Cell, way: str = "") -> int:
        """Requests for contrast records beside so many for a cell, at most a third of them.

        A cell of which a round writes a handful has none until a whole request is owed: one request for each would be
        as many contrast records as others.
        """
        lead = way or self.find_lead(cell)
        offer = self.offers[cell][lead]
        if not offer.contrast or not n_requests:
            return 0
        n_owed = self.owe_contrast(n_requests, cell, lead) / (
            offer.per_request * self.expect_ratio(lead, offer.contrast)
        )
        return max(0, min(int(n_owed), round_up(n_requests * CONTRAST_RATIO)))

    def owe_contrast(self, n_requests: int, cell: Cell, way: str = "") -> float:
        """Contrast records that are due: in all a third as many as are kept for the cell, earlier rounds included."""
        lead = way or self.find_lead(cell)
        offer = self.offers[cell][lead]
        assert offer.contrast is not None  # noqa: S101 (asked by the callers)
        kept, kept_beside = (self.costs.get((lead, one), Costs()).accepted for one in (cell, offer.contrast))
        expected = n_requests * offer.per_request * self.expect_ratio(lead, cell)
        return (kept + expected) * CONTRAST_RATIO - kept_beside

    def expect_ratio(self, action: str, cell: Cell) -> float:
        """Share of an action's proposals for a cell that are expected to be kept."""
        known = self.costs.get((action, cell), Costs())
        return known.acceptance_ratio if known.tried else FIRST_ACCEPTANCE_RATIO

    def want(self, cell: Cell, need: float, way: str = "") -> tuple[float, int, float]:
        """Records to write for a cell, the requests they take, and the share of their texts that is kept."""
        lead = way or self.find_lead(cell)
        offer, ratio = self.offers[cell][lead], self.expect_ratio(lead, cell)
        # The contrast records raise the label that has most, so the cell needs as many again.
        wanted = need * (1 + CONTRAST_RATIO / (1 - CONTRAST_RATIO)) if offer.contrast else float(need)
        n_requests = min(round_up(wanted / ratio / offer.per_request), offer.requests_left)
        return wanted, int(n_requests), ratio

    def expect_tokens_per_accepted(self, cell: Cell) -> float:
        """Tokens that one more accepted record of a cell's lead is expected to cost."""
        return self._expect_price(self.find_lead(cell), cell)

    def _expect_price(self, action: str, cell: Cell) -> float:
        known, offer = self.costs.get((action, cell), Costs()), self.offers[cell][action]
        per_proposal = known.tokens / known.tried if known.tried else offer.request_tokens / offer.per_request
        return max(1.0, per_proposal / known.acceptance_ratio)


def find_unable(costs: Mapping[tuple[str, Cell], Costs], probed: Iterable[str]) -> frozenset[str]:
    """Of some actions those that were tried on this data and of which the filters kept less than a quarter."""
    unable = set()
    for action in probed:
        mine = [known for (name, _), known in costs.items() if name == action]
        n_tried, n_sent = sum(known.tried for known in mine), sum(known.requests for known in mine)
        if n_sent and sum(known.accepted for known in mine) < ABLE_FROM * max(1, n_tried):
            unable.add(action)
    return frozenset(unable)


def round_up(value: float) -> int:
    """The smallest whole number that is not below a value."""
    return int(-(-value // 1))
