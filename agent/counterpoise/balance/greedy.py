"""The joint plan without integer programming: rows are added where the hinge sum falls most for the price.

The hinge sum is what cells lack beyond their tolerance. A profile's fall is counted with what its rows do to the
targets of others: a cell that stands highest in its comparison raises what the rest should have. Where every profile
would raise the sum, the one that fills most is taken, to get over the hill; of all states on the way the one with the
least sum is the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats

Group = tuple[NDArray[np.int64], Floats]
"""Places of the cells of a comparison, and their ratios, 0 for those left as they are."""

_PATIENCE = 3
"""Steps without a new least sum, for each cell, after which the search ends."""


def add_greedily(
    membership: Floats,
    prices: Floats,
    have: Floats,
    groups: Sequence[Group],
    at_least: Mapping[int, float],
    room: Floats,
    tolerance: float,
) -> NDArray[np.int64]:
    """Rows of each profile.

    Args:
        membership: (c, p) 1 where a profile stands in a cell.
        prices: (p,) of a row, above 0.
        have: (c,) rows now.
        groups: cells that are compared.
        at_least: place of a cell -> rows that it should have whatever the others have.
        room: (p,) rows that there are at most.
        tolerance: share of its target that a cell may lack.

    Returns:
        (p,) rows, 0 or more.
    """
    counts, totals = np.zeros(len(prices), np.int64), have.astype(np.float64).copy()
    lacking, values = _measure(totals, groups, at_least, tolerance)
    best, least, since = counts.copy(), float(lacking.sum()), 0
    while least > 0 and since < _PATIENCE * len(have):
        is_open = counts < room
        falls = np.where(is_open, membership.T @ values, -np.inf) / prices
        chosen = int(falls.argmax())
        if falls[chosen] <= 0:
            filled = membership.T @ (lacking > 0)
            falls = np.where(is_open & (filled > 0), filled / prices, -np.inf)
            chosen = int(falls.argmax())
            if not np.isfinite(falls[chosen]):
                break
        step = _find_step(membership[:, chosen] > 0, totals, lacking, groups)
        step = int(max(1, min(step, room[chosen] - counts[chosen])))
        counts[chosen] += step
        totals += step * membership[:, chosen]
        lacking, values = _measure(totals, groups, at_least, tolerance)
        since += 1
        if lacking.sum() < least:
            best, least, since = counts.copy(), float(lacking.sum()), 0
    return best


def _measure(
    totals: Floats, groups: Sequence[Group], at_least: Mapping[int, float], tolerance: float
) -> tuple[Floats, Floats]:
    """(c,) what cells lack, and (c,) by how much the sum of it falls for a row more of each."""
    lacking, values = np.zeros(len(totals)), np.zeros(len(totals))
    for cells, ratios in groups:
        per_ratio = totals[cells] / np.where(ratios > 0, ratios, 1.0)
        scale = per_ratio.max()
        missing = np.where(ratios > 0, np.ceil((1 - tolerance) * ratios * scale - 1e-9) - totals[cells], 0.0)
        is_short = missing > 0
        lacking[cells] += np.maximum(0.0, missing)
        values[cells] += is_short
        is_top = per_ratio >= scale - 1e-9
        if is_top.sum():
            raised = (1 - tolerance) * float(ratios[is_short].sum())
            values[cells[is_top]] -= raised / np.where(ratios > 0, ratios, 1.0)[is_top]
    for place, want in at_least.items():
        missing = (1 - tolerance) * want - totals[place]
        lacking[place] += max(0.0, missing)
        values[place] += missing > 0
    return lacking, values


def _find_step(mine: NDArray[np.bool_], totals: Floats, lacking: Floats, groups: Sequence[Group]) -> int:
    """Rows that can be added before what the choice was made by changes: a cell is full, or becomes the highest."""
    steps = [lacking[mine & (lacking > 0)].min(initial=np.inf)]
    for cells, ratios in groups:
        inside = mine[cells]
        scaled = np.where(ratios > 0, ratios, 1.0)
        gaps = (totals[cells] / scaled).max() * scaled - totals[cells]
        steps.append(gaps[inside & (gaps > 0)].min(initial=np.inf))
    step = min(steps)
    return int(np.ceil(step)) if np.isfinite(step) else 1
