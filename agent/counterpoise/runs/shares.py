"""How the tokens of a round are shared out among cells by what they lack.

What is shared out is tokens; `price(cell, need)` says how many it takes to write so many records for a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from counterpoise.core.plans import Cell

Price = Callable[[Cell, float], float]

UNTRIED_LABEL_SHARE = 0.5
"""Of a round that does not reach for everything, what labels may have at least before any named cell was written for.
An attribute with many values makes many cells, some of which no record belongs to."""

_ANY = 1e-6
"""So few records take one request."""


def share_families(
    left: float,
    labels: Sequence[Cell],
    named: Sequence[Cell],
    missing: Mapping[Cell, int],
    price: Price,
    rate: float | None = None,
) -> float:
    """Tokens that named cells may write for; what they leave of it, and the rest, is for the labels.

    Shares follow what a token brings nearer: need, times records a token. A record for a named cell of a label that is
    short fills both.

    Args:
        left: tokens of the round.
        labels: cells of a label alone.
        named: cells of a label with a concept or an attribute value.
        missing: records that each of them lacks.
        price: tokens for so many records of a cell.
        rate: records that a token brings in named cells for each that it brings in labels; None before it was tried.
    """
    if not labels or not named:
        return left
    filled = {cell: sum(missing[other] for other in named if other.label == cell.label) for cell in labels}
    rest = sum(price(cell, max(0, missing[cell] - filled[cell])) for cell in labels)
    wanted = sum(price(cell, missing[cell]) for cell in named)
    if wanted + rest <= left:
        return left
    n_labels = sum(missing[cell] for cell in labels)
    n_named = (sum(missing[cell] for cell in named) + sum(filled.values())) * (1.0 if rate is None else rate)
    share = n_labels / (n_labels + n_named)
    of_labels = left * (max(UNTRIED_LABEL_SHARE, share) if rate is None else share)
    of_labels = min(of_labels, sum(price(cell, missing[cell]) for cell in labels))
    of_named = min(wanted, left - of_labels)
    # Each family gets one request where both can be paid, and a label the only one.
    one_label, one_named = (min(price(cell, _ANY) for cell in cells) for cells in (labels, named))
    if left >= one_label + one_named:
        return min(max(of_named, one_named), left - one_label)
    return 0.0 if left >= one_label else left


def share_out(left: float, needs: Mapping[Cell, int], price: Price) -> dict[Cell, float]:
    """Tokens that each cell may write for: all there are where those pay for all cells, else in proportion to its need.

    What a cell does not want of its share is shared out among the others.

    Args:
        left: tokens for all of them.
        needs: records that each cell lacks.
        price: tokens for so many records of a cell.
    """
    wanted = {cell: price(cell, need) for cell, need in needs.items()}
    if sum(wanted.values()) <= left:
        return dict.fromkeys(needs, left)
    shares: dict[Cell, float] = {}
    open_cells = list(needs)
    while open_cells:
        rest, n_missing = left - sum(shares.values()), sum(needs[cell] for cell in open_cells)
        even = {cell: rest * needs[cell] / n_missing for cell in open_cells}
        content = {cell: wanted[cell] for cell in open_cells if wanted[cell] <= even[cell]}
        shares |= content or even
        open_cells = [cell for cell in open_cells if cell not in shares]
    return shares
