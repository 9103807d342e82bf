"""What is believed of a way to fill a cell before its next slice is bought: how much is kept, and for how many tokens.

A way is an action, in the hands of one writer where a job names several. What is known of it in a cell counts as it
stands; what is known of it in other cells counts for a few tries (Beta, pooled over the cells of a way), so that a cell
where it does badly soon tells itself apart. A way that nobody has tried is believed to keep two of three.

Which way is bought is decided by draws from these beliefs (Thompson, 1933): one that is surely worse is hardly ever
drawn, one that is little known is tried again. The draws are keyed hashes of run, round, way and cell, so that a plan
depends on settled rounds alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from counterpoise.actions.base import Costs, Offer
from counterpoise.core.plans import Cell
from counterpoise.core.splits import keyed_hash

POOLED_TRIES = 6.0
"""Tries that what is known of a way in other cells counts for at most."""

UNTRIED = (2.0, 1.0)
"""Texts kept and refused that stand for a way of which nothing is known."""

UNKNOWN_WORTH = 0.1
"""Real rows that a record of a way stands for whose action says nothing of it; the prior of `minority_text`."""

Known = Mapping[tuple[str, Cell], Costs]


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one way in one cell.

    Args:
        kept, refused: of proposals, as parameters of a Beta distribution.
        tokens: of one proposal.
        worth: real rows that a record stands for.
        basis: what it stands on, in a few words.
    """

    kept: float
    refused: float
    tokens: float
    worth: float
    basis: str

    @property
    def acceptance(self) -> float:
        """Share of its proposals that is expected to be kept."""
        return self.kept / (self.kept + self.refused)

    def draw(self, key: str, name: str) -> float:
        """A share of proposals that may be kept, drawn from what is believed: the same for the same names."""
        generator = np.random.default_rng(keyed_hash(key, name))
        return float(max(1e-3, generator.beta(self.kept, self.refused)))


def believe(way: str, cell: Cell, offer: Offer, costs: Known) -> Belief:
    """What settled rounds say of a way in a cell.

    Args:
        way: an action, see `name_way`.
        cell: the cell.
        offer: what it offers there.
        costs: (way, cell) -> what it has cost, settled rounds only.
    """
    mine = costs.get((way, cell), Costs())
    others = [known for (name, place), known in costs.items() if name == way and place != cell]
    n_tried, n_kept = sum(one.tried for one in others), sum(one.accepted for one in others)
    kept, refused = UNTRIED
    if n_tried:
        share = (n_kept + kept) / (n_tried + kept + refused)
        weight = min(POOLED_TRIES, float(n_tried)) + kept + refused
        kept, refused = share * weight, (1 - share) * weight
    if mine.tried:
        basis = f"{mine.accepted:,} of {mine.tried:,} kept here"
    elif n_tried:
        basis = f"{n_kept:,} of {n_tried:,} kept in other cells"
    else:
        basis = "not tried on this data"
    return Belief(
        kept + mine.accepted,
        refused + mine.tried - mine.accepted,
        _expect_tokens(mine, others, offer),
        offer.worth or UNKNOWN_WORTH,
        basis,
    )


def _expect_tokens(mine: Costs, others: list[Costs], offer: Offer) -> float:
    """Tokens of one proposal: what they were here, elsewhere, or what the request is estimated at."""
    if mine.tried and mine.tokens:
        return max(1.0, mine.tokens / mine.tried)
    tried = sum(one.tried for one in others)
    if tried and (tokens := sum(one.tokens for one in others)):
        return max(1.0, tokens / tried)
    return max(1.0, offer.request_tokens / offer.per_request)
