"""Which cells are compared with one another, and in which ratio: what `equal` and a ratio mean for a joint plan.

A target that moves is told by a comparison: the labels among rows with food are to stand in a ratio to one another, how
many there are of them all is open, because what is added for another concept may have food too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from counterpoise.balance.counts import ALL_FAMILIES, CellFamily, count_cells, resolve_target
from counterpoise.core.plans import Cell
from counterpoise.core.records import Records


@dataclass(frozen=True, slots=True)
class ComparedCells:
    """Cells of one concept, one attribute value, or the labels alone.

    Args:
        ratios: cell -> its ratio to the others, above 0; 0 for one that is left as it is, which sets the scale like the
            others with a ratio of 1.
    """

    ratios: Mapping[Cell, float]

    def find_scale(self, have: Mapping[Cell, float]) -> float:
        """Rows for a ratio of 1, by the cell that has most for its ratio: records are only added."""
        return max(have.get(cell, 0.0) / (ratio or 1.0) for cell, ratio in self.ratios.items())

    def find_wants(self, have: Mapping[Cell, float]) -> dict[Cell, float]:
        """Rows that each cell is to have where nothing is added to the others; those left as they are without."""
        scale = self.find_scale(have)
        return {cell: scale * ratio for cell, ratio in self.ratios.items() if ratio}


def list_comparisons(
    records: Records,
    target: Literal["equal"] | Mapping[str, float] = "equal",
    families: Collection[CellFamily] = ALL_FAMILIES,
) -> list[ComparedCells]:
    """The comparisons of a data set: its labels, and these within every concept and attribute value.

    Args:
        records: the data.
        target: `equal`, or the ratio of labels to one another, as in `find_deficits`.
        families: which families of cells.

    Raises:
        JobError: see `resolve_target`.
    """
    ratios = resolve_target(records.label_names, target)
    groups: dict[tuple[str, str, str], dict[Cell, float]] = {}
    for cell in count_cells(records, families):
        mine = groups.setdefault((cell.concept, cell.attribute, cell.value), {})
        mine[cell] = ratios.get(cell.label, 0.0)
    return [ComparedCells(group) for _, group in sorted(groups.items())]
