"""`mode: weights`: the user's rows are weighed instead of added to. No model is asked, nothing is written.

Weights meet the shares that the target means for labels, and for labels with and without every concept and value, as
far as the smallest and largest weight allow (`balance.margins`, `balance.targets.raking`). What they cannot do is told:
an empty cell stays empty, and the rows tell as much as fewer rows of equal weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import is_short
from counterpoise.balance.margins import list_margins
from counterpoise.balance.targets.raking import Margin, Raked, rake
from counterpoise.balance.targets.words import Target
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Floats, Records
from counterpoise.runs.endings import Stop

WEIGHED = Stop("weights", "the rows were weighed and nothing was added")

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class WeighedRows:
    """The weights of a run's training rows.

    Args:
        raked: the weights, mean 1, and what they miss.
        short: cells whose weight lacks as much as makes a cell short; their `have` is the sum of weights.
    """

    raked: Raked
    short: tuple[Deficit, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report."""
        raked, n = self.raked, len(self.raked.weights)
        notes = [
            f"the {n:,} rows are weighed and nothing is added: weights of {raked.weights.min():.2f} to "
            f"{raked.weights.max():.2f}, which tell as much as {raked.effective_size:,.0f} rows of equal weight"
        ]
        if raked.missed:
            ordered = sorted(raked.missed.items(), key=lambda one: (-abs(one[1][0] - one[1][1]), one[0]))
            said = [f"{name} has {have:.1%} and should have {want:.1%}" for name, (have, want) in ordered]
            notes.append(f"out of balance by weight stays: {_join(said)}")
        if raked.empty:
            notes.append(f"no weight fills what has no row: {_join(list(raked.empty))}")
        return tuple(notes)


def weigh_own_rows(records: Records, target: Target) -> WeighedRows:
    """Weigh rows for a target.

    Args:
        records: n training rows.
        target: as of a job.
    """
    margins = list_margins(records, target)
    raked = rake(margins, len(records))
    return WeighedRows(raked, tuple(_list_short(records, margins, raked.weights)))


def _list_short(records: Records, margins: list[Margin], weights: Floats) -> list[Deficit]:
    """The cells whose weight is too little, largest need first."""
    cells = {str(cell): cell for cell in count_cells(records)}
    found = []
    for margin in margins:
        known = margin.levels >= 0
        total = float(weights[known].sum())
        for level, name in enumerate(margin.level_names):
            cell: Cell | None = cells.get(name)
            if cell is not None:
                have = float(weights[margin.levels == level].sum())
                found.append(Deficit(cell, have, total * float(margin.shares[level])))
    return sorted((one for one in found if is_short(one)), key=lambda one: (-one.need, one.cell))


def _join(said: list[str]) -> str:
    more = len(said) - _MOST_NAMED
    return ", ".join(said[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
