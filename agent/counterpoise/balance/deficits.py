"""Which cells lack records, by plain or corrected counts, and which lack enough to act."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from counterpoise.balance.corrected_counts import CorrectedCount, find_corrected_deficits
from counterpoise.balance.counts import ALL_FAMILIES, CellFamily, count_cells, find_deficits
from counterpoise.balance.targets.words import Target, WordedTarget, find_worded_deficits, fix_target
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Records

SMALLEST_USEFUL_COUNT = 3
TOLERATED_RATIO = 0.05
"""What a cell may lack, or have beyond its target, without anything being done about it."""

MOST_NAMED = 60
"""Named cells that one round plans for, those that lack most: a label with fifty values makes fifty."""


def find_all_deficits(
    records: Records,
    corrected: Mapping[Cell, CorrectedCount],
    target: Target,
    families: Collection[CellFamily] = ALL_FAMILIES,
) -> list[Deficit]:
    """Deficits of the cells, largest need first.

    Args:
        records: what is counted.
        corrected: counts of the concept cells with known answers; these cells are in deficit only where that is sure.
        target: of the job, or what `settle_target` made of it.
        families: which families of cells.
    """
    if isinstance(target, str) and target != "equal":
        target = settle_target(target, records, corrected)
    if isinstance(target, WordedTarget):
        return find_worded_deficits(records, target, families, _correct(records, corrected))
    ratios: Literal["equal"] | Mapping[str, float] = "equal" if isinstance(target, str) else target
    plain = find_deficits(records, ratios, families)
    if not corrected or "concept" not in families:
        return plain
    sure = find_corrected_deficits(records, corrected, ratios)
    kept = [deficit for deficit in plain if deficit.cell not in corrected]
    return sorted([*kept, *sure], key=lambda deficit: (-deficit.need, deficit.cell))


def settle_target(target: Target, records: Records, corrected: Mapping[Cell, CorrectedCount]) -> Target:
    """A job's target as it stands before a record is added; see `words.fix_target`."""
    return fix_target(target, records, _correct(records, corrected))


def _correct(records: Records, corrected: Mapping[Cell, CorrectedCount]) -> dict[Cell, float]:
    """Counts of the concept cells with known answers; rows added since count in full."""
    if not corrected:
        return {}
    raw = count_cells(records, ["concept"])
    return {cell: one.value + raw[cell] - one.raw for cell, one in corrected.items() if cell in raw}


def is_short(deficit: Deficit) -> bool:
    """Whether a cell lacks enough to do something about it: three records, and a twentieth of what it should have."""
    return deficit.need >= max(SMALLEST_USEFUL_COUNT, TOLERATED_RATIO * deficit.want)


def list_short_cells(
    records: Records,
    corrected: Mapping[Cell, CorrectedCount],
    target: Target,
    families: Collection[CellFamily] = ALL_FAMILIES,
) -> list[Deficit]:
    """All cells that lack enough to act, largest need first; arguments as in `find_all_deficits`."""
    return [one for one in find_all_deficits(records, corrected, target, families) if is_short(one)]


def choose_cells(short: Sequence[Deficit], vain: Collection[Cell]) -> list[Deficit]:
    """The short cells that a round plans for: all labels, and the `MOST_NAMED` named cells that lack most.

    Args:
        short: largest need first.
        vain: cells for which writing no longer pays.
    """
    useful = [deficit for deficit in short if deficit.cell not in vain]
    named = [deficit for deficit in useful if deficit.cell.is_named]
    left_out = {deficit.cell for deficit in named[MOST_NAMED:]}
    return [deficit for deficit in useful if deficit.cell not in left_out]
