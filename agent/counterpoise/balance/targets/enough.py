"""`enough`: a cell is full when its next records are worth less than their price.

With a measured curve of the error, a + b n^(-p), that is a number of rows in closed form. Without one, errors are taken
to fall with the root of the rows, as those of classifiers about do (Hestness et al., 2017, find exponents of up to
0.5), alike in all cells that are compared: a cell is full when its next record brings less than a record of them all
has brought on the way to where they stand. So 60 labels of 12 to 6,000 rows are filled to some 500 and not to 6,000.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from counterpoise.balance.comparisons import list_comparisons
from counterpoise.balance.counts import ALL_FAMILIES, CellFamily, count_cells
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Floats, Records

ROOT_POWER = 0.5


def count_enough(
    scale: float,
    power: float,
    *,
    price: float,
    worth: float = 1.0,
    value: float = 1.0,
    slice_size: float = 1.0,
) -> float:
    """How many records a cell with a known curve should have.

    The next slice of m records takes about b p n^(-p - 1) x worth x m off the error; the cell is full where that, times
    the value of an error, is less than the price of the slice.

    Args:
        scale: b of its curve a + b n^(-p), 0 or more.
        power: p, above 0.
        price: of a slice, in any unit, above 0.
        worth: real rows that one of its records stands for, 0 or more.
        value: what an error of 1 is worth, in the unit of `price`; the weight of the cell is part of it.
        slice_size: m, above 0.

    Returns:
        Rows, 0 or more, not rounded.

    >>> round(count_enough(1.0, 0.5, price=3_000, worth=0.5, value=1e6, slice_size=20), 1)
    140.6
    """
    return float((scale * power * worth * value * slice_size / price) ** (1 / (1 + power)))


def find_enough(counts: Sequence[int] | Floats, power: float = ROOT_POWER, worth: float = 1.0) -> float:
    """How many records cells should have of which only the counts are known.

    With errors b n^(-p), the same b in each, a record of the data has brought p / N of the summed error; the
    next one in a cell of n rows brings worth x b p n^(-p - 1). Equal where n = (worth x N / sum n_i^(-p))^(1/(1 + p)).

    Args:
        counts: rows of the cells that are compared; those without any count as one row.
        power: p, above 0.
        worth: real rows that one of the records stands for.

    Returns:
        Rows, between the least and the largest of the counts where worth is 1: cells that are even lack nothing.

    >>> round(find_enough([15, 150]))
    62
    """
    rows = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    if not np.any(counts):
        return 0.0
    return float((worth * rows.sum() / (rows**-power).sum()) ** (1 / (1 + power)))


def find_enough_deficits(
    records: Records,
    families: Collection[CellFamily] = ALL_FAMILIES,
    known: Mapping[Cell, float] | None = None,
) -> list[Deficit]:
    """What cells lack of enough, by counts alone.

    Args:
        records: the data.
        families: which families of cells.
        known: counts that are better known than by counting, such as corrected ones.

    Returns:
        Deficits with a need of at least 1, largest need first, equal ones in the order of their cells.
    """
    have = {cell: float(count) for cell, count in count_cells(records, families).items()} | dict(known or {})
    found = []
    for comparison in list_comparisons(records, "equal", families):
        cells = list(comparison.ratios)
        enough = find_enough(np.array([have[cell] for cell in cells]))
        found += [Deficit(cell, have=have[cell], want=enough) for cell in cells]
    return sorted((one for one in found if one.need), key=lambda one: (-one.need, one.cell))
