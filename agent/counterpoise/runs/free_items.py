"""What costs no token, for every cell: planned before anything is bought."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from counterpoise.actions.base import Offer
from counterpoise.core.plans import Cell, Deficit, PlanItem

FREE_REASON = "real records of the pool come before written ones"


def plan_free(
    deficits: Sequence[Deficit],
    offers: Mapping[Cell, Mapping[str, Offer]],
    exhausted: Collection[tuple[str, Cell]],
    round_number: int,
) -> list[PlanItem]:
    """Items that cost no token; what named cells take is no longer missing in their label.

    Args:
        deficits: cells that lack records.
        offers: what actions can do for each of these cells.
        exhausted: actions that have stopped paying in a cell.
        round_number: this round, from 1.
    """
    items: list[PlanItem] = []
    taken: dict[tuple[str, str], int] = {}
    for deficit in sorted(deficits, key=lambda deficit: not deficit.cell.is_named):
        cell, given = deficit.cell, 0
        for name, offer in offers[cell].items():
            if not offer.is_free or (name, cell) in exhausted:
                continue
            already = 0 if cell.is_named else taken.get((name, cell.label), 0)
            reached = deficit.need - given if offer.most is None else min(deficit.need - given, offer.most)
            given += reached
            if reached > already:
                items.append(PlanItem(name, cell, reached - already, round_number, len(items)))
                taken[name, cell.label] = taken.get((name, cell.label), 0) + reached - already
    return items
