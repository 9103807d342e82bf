"""What a round may spend, what an item may keep, and what is said where nothing can be paid."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT, TOLERATED_RATIO
from counterpoise.core.plans import Cell, Deficit
from counterpoise.runs.market import Market

PLANNED_ROUNDS = 4
"""Without a limit of the user's the budget is cut as if there were so many rounds; each later one may take the rest."""

UNPAID = "the budget does not reach for one more request"


def cut_share(remaining: float, round_number: int, n_rounds: int | None) -> float:
    """Tokens of this round: two shares of what is left, so that the first round learns and the last tops up."""
    rounds_left = (PLANNED_ROUNDS if n_rounds is None else n_rounds) - round_number + 1
    return remaining if rounds_left <= 1 else remaining * min(1.0, 2.0 / (rounds_left + 1))


def aim(deficit: Deficit) -> int:
    """Records to plan for a cell: to the middle of what it may lack without being short.

    >>> from counterpoise.core.plans import Cell, Deficit
    >>> aim(Deficit(Cell("bad"), 10, 210)), aim(Deficit(Cell("bad"), 10, 14))
    (195, 3)
    """
    tolerated = max(SMALLEST_USEFUL_COUNT - 1, TOLERATED_RATIO * deficit.want)
    return max(min(deficit.need, SMALLEST_USEFUL_COUNT), deficit.need - int(tolerated / 2))


def say_unpaid(remaining: float, cells: Sequence[Cell], market: Market) -> str:
    """Why nothing can be written, with the figure a user would set the budget by."""
    cheapest = min(cells, key=lambda cell: market.price(1, cell))
    what = "one with its contrast" if market.count_contrast(1, cheapest) else "one"
    return f"{UNPAID}: {remaining:,.0f} tokens are left, and {what} may take {market.price(1, cheapest):,}"


def allow(wanted: float) -> int:
    """Records that may be kept where so many are wanted: what is beyond is too little to make another cell short."""
    return round(wanted) + max(SMALLEST_USEFUL_COUNT - 1, int(TOLERATED_RATIO * wanted))
