"""How the tokens of a round are shared out among cells by what they lack.

What is shared out is tokens; `price(cell, need)` says how many it takes to write so many records for a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from counterpoise.records import Cell

Price = Callable[[Cell, float], float]

LABEL_SHARE = 0.5
"""Of a round that does not reach for everything, what labels may have at least. An attribute with many values makes
many cells, some of which no record belongs to; all of them together must not take everything."""


def share_families(
    left: float, labels: Sequence[Cell], named: Sequence[Cell], missing: Mapping[Cell, int], price: Price
) -> float:
    """Tokens that named cells may write for; what they leave of it, and the rest, is for the labels.

    A record for a named cell is one of its label, so what it fills is not missing there.

    Args:
        left: tokens of the round.
        labels: cells of a label alone.
        named: cells of a label with a concept or an attribute value.
        missing: records that each of them lacks.
        price: tokens for so many records of a cell.
    """
    if not labels or not named:
        return left
    filled = {cell: sum(missing[other] for other in named if other.label == cell.label) for cell in labels}
    rest = sum(price(cell, max(0, missing[cell] - filled[cell])) for cell in labels)
    wanted = sum(price(cell, missing[cell]) for cell in named)
    if wanted + rest <= left:
        return left
    n_labels, n_named = sum(missing[cell] for cell in labels), sum(missing[cell] for cell in named)
    of_labels = left * max(LABEL_SHARE, n_labels / (n_labels + n_named))
    of_labels = min(of_labels, sum(price(cell, missing[cell]) for cell in labels))
    share = min(wanted, left - of_labels)
    # Each family gets one request where both can be paid, and a label the only one.
    one_label, one_named = (min(price(cell, 1) for cell in cells) for cells in (labels, named))
    if left >= one_label + one_named:
        return min(max(share, one_named), left - one_label)
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
