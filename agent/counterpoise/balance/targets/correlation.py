"""`correlation`: how far to move a concept and the label apart, instead of all the way to equal counts.

The correlation of a label y with a concept z is P(y = 1 | z = 1) - P(y = 1 | z = 0). Counts and shares stand in the
order (y, z) = 11, 10, 01, 00. A chosen correlation is met with the fewest additions, or in the shape nearest to the
present one. With p = P'(z = 1) and a = P'(y = 1 | z = 1) every table of the wanted correlation c is
(p a, (1 - p)(a - c), p (1 - a), (1 - p)(1 - a + c)), so that no semidefinite relaxation is needed.

Paper: Roh, Lee, Whang, Suh (2023) "Improving Fair Training under Correlation Shifts".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize_scalar

from counterpoise.balance.counts import CellFamily, count_cells
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Floats, Integers, Records

Four: TypeAlias = "Sequence[float] | Floats | Integers"
"""Counts or shares in the order 11, 10, 01, 00."""

_GRID = 400


def measure_correlation(counts: Four) -> float:
    """P(y = 1 | z = 1) - P(y = 1 | z = 0), -1..1; 0 where no row has the concept, or each has it.

    >>> round(measure_correlation((250, 250, 50, 450)), 3)
    0.476
    """
    with_both, label_alone, concept_alone, neither = (float(count) for count in counts)
    if not with_both + concept_alone or not label_alone + neither:
        return 0.0
    return with_both / (with_both + concept_alone) - label_alone / (label_alone + neither)


def find_shape(counts: Four, correlation: float, most_shift: float = 0.1) -> Floats:
    """The shares with a wanted correlation that are nearest to the present ones.

    Args:
        counts: of the four cells, or their shares.
        correlation: wanted, -1..1.
        most_shift: twice the change of P(y = 1), and of P(z = 1), is at most this; where no table of this correlation
            is that near, the limit is left aside.

    Returns:
        (4,) shares that sum to 1.
    """
    now = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    has_concept, has_label = now[0] + now[2], now[0] + now[1]
    for room in (most_shift / 2, 1.0):
        rates = np.linspace(max(0.0, has_concept - room), min(1.0, has_concept + room), _GRID + 1)
        found = [
            _find_nearest(now, float(rate), correlation, has_label, room) for rate in [*rates, has_concept]
        ]
        distances = [np.inf if one is None else float(((one - now) ** 2).sum()) for one in found]
        place = int(np.argmin(distances))
        best = found[place]
        if best is None:
            continue
        around = float([*rates, has_concept][place])
        step = 2 * room / _GRID

        def measure(rate: float, limit: float = room) -> float:
            one = _find_nearest(now, rate, correlation, has_label, limit)
            return np.inf if one is None else float(((one - now) ** 2).sum())

        low, high = max(0.0, around - step), min(1.0, around + step)
        finer = minimize_scalar(measure, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
        refined = _find_nearest(now, float(finer.x), correlation, has_label, room)
        return best if refined is None or finer.fun >= distances[place] else refined
    raise ValueError(f"no shares have the correlation {correlation}")


def add_closest(counts: Four, correlation: float, most_shift: float = 0.1) -> Integers:
    """(4,) rows to add to each cell for the nearest shape; dear, because label and concept keep their shares.

    >>> int(add_closest((250, 250, 50, 450), 0.0).sum())
    970
    """
    shape, now = find_shape(counts, correlation, most_shift), np.asarray(counts, dtype=np.float64)
    total = float((now[shape > 0] / shape[shape > 0]).max())
    return np.maximum(0, np.ceil(total * shape - now - 1e-6)).astype(np.int64)


def add_fewest(counts: Four, correlation: float, prices: Four = (1.0, 1.0, 1.0, 1.0)) -> Integers:
    """(4,) rows to add to each cell, the cheapest that bring the correlation to within what is wanted.

    Too high a correlation falls by rows of 01 and 10, too low a one rises by rows of 11 and 00. For every number of
    rows of the one, that of the other follows.

    Args:
        counts: rows of the four cells.
        correlation: the largest that is wanted, as an absolute value, 0..1.
        prices: of a row of each cell, above 0.

    >>> add_fewest((250, 250, 50, 450), 0.0).tolist()
    [0, 78, 293, 0]
    """
    now = np.asarray(counts, dtype=np.float64)
    have = measure_correlation(now)
    added = np.zeros(4, np.int64)
    if abs(have) <= correlation or not now[0] + now[2] or not now[1] + now[3]:
        return added
    if have < 0:  # the same with the label's other side
        swapped = [2, 3, 0, 1]
        return add_fewest(now[swapped], correlation, np.asarray(prices)[swapped])[swapped]
    first, second = np.arange(_count_alone(now, correlation) + 1), np.zeros(0)
    rest = (now[1] + first) / (now[1] + first + now[3])  # P(y = 1 | z = 0)
    most = correlation + rest  # P(y = 1 | z = 1) at most
    with np.errstate(divide="ignore"):
        second = np.maximum(0.0, np.ceil(now[0] / most - now[0] - now[2] - 1e-9))
    costs = prices[1] * first + prices[2] * second
    place = int(np.argmin(costs))
    added[1], added[2] = int(first[place]), int(second[place])
    return added


def find_correlation_deficits(
    records: Records, correlation: float, families: Collection[CellFamily] = ("concept", "attribute")
) -> list[Deficit]:
    """What cells lack so that no label goes with a concept or an attribute value by more than is wanted.

    One table for each label against all others. Rows of 01 are those of the other labels that have the concept, in
    proportion to what each has; rows of 10 are rows of the label, which the concept should be absent from.

    Args:
        records: the data.
        correlation: the largest that is wanted, 0..1.
        families: which families of cells are looked at.

    Returns:
        Deficits with a need of at least 1, largest first. Where several tables speak of a cell, the largest want
        stands.
    """
    labels = count_cells(records, ["label"])
    wants: dict[Cell, float] = {}
    have: dict[Cell, int] = dict(labels)
    groups: dict[tuple[str, str, str], dict[Cell, int]] = {}
    for cell, count in count_cells(records, [one for one in families if one != "label"]).items():
        groups.setdefault((cell.concept, cell.attribute, cell.value), {})[cell] = count
        have[cell] = count
    for group in groups.values():
        n_with = sum(group.values())
        for cell, count in group.items():
            n_label = labels[Cell(cell.label)]
            others = sum(labels.values()) - n_label
            table = (count, n_label - count, n_with - count, others - (n_with - count))
            both, alone, concept_alone, neither = add_fewest(table, correlation).tolist()
            _raise(wants, have, cell, both)
            _raise(wants, have, Cell(cell.label), alone)
            rest = {one: labels[Cell(one.label)] for one in group if one != cell}
            for one, share in rest.items():
                _raise(wants, have, one, concept_alone * share / max(1, others))
                _raise(wants, have, Cell(one.label), neither * share / max(1, others))
    found = [Deficit(cell, have=float(have[cell]), want=want) for cell, want in wants.items()]
    return sorted((one for one in found if one.need), key=lambda one: (-one.need, one.cell))


def _raise(wants: dict[Cell, float], have: dict[Cell, int], cell: Cell, more: float) -> None:
    if more:
        wants[cell] = max(wants.get(cell, 0.0), have[cell] + more)


def _count_alone(now: Floats, correlation: float) -> int:
    """Rows of 10 that would do without any of 01; where they never do, as many rows as there are of all four."""
    least = now[0] / (now[0] + now[2]) - correlation  # P(y = 1 | z = 0) at least
    if least >= 1:
        return int(now.sum())
    return int(min(np.ceil((least * (now[1] + now[3]) - now[1]) / (1 - least)), 100 * now.sum()))


def _find_nearest(
    now: Floats, rate: float, correlation: float, has_label: float, room: float
) -> Floats | None:
    """The nearest shares with P(z = 1) = rate, in closed form: they are linear in a = P(y = 1 | z = 1)."""
    low, high = max(0.0, correlation), min(1.0, 1.0 + correlation)
    # P'(y = 1) = a - (1 - rate) c
    low = max(low, has_label - room + (1 - rate) * correlation)
    high = min(high, has_label + room + (1 - rate) * correlation)
    if low > high + 1e-12:
        return None
    slope = np.array([rate, 1 - rate, -rate, -(1 - rate)])
    start = np.array([0.0, -(1 - rate) * correlation, rate, (1 - rate) * (1 + correlation)])
    share = float(np.clip(slope @ (now - start) / (slope @ slope), low, high))
    return np.asarray(np.maximum(0.0, start + share * slope))
