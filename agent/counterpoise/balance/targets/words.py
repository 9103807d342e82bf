"""The words of `target`: what a job may write beside `equal` and a ratio, and what a data set makes of it.

Some targets are settled by the rows that the user has and not by those that are added: `enough` would rise with every
record, and a concept would be as common as its last records. Such a target is fixed once, before the first round.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from counterpoise.balance.counts import ALL_FAMILIES, CellFamily, count_cells
from counterpoise.balance.profiles import count_profiles, list_possible, sum_cells
from counterpoise.balance.targets.correlation import find_correlation_deficits
from counterpoise.balance.targets.enough import find_enough_deficits
from counterpoise.balance.targets.tolerances import (
    ASSOCIATION_TOLERANCE,
    RATE_TOLERANCE,
    find_rates,
    plan_within_tolerances,
)
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Records

Word = Literal["enough", "correlation", "tolerances"]

WRITE_TARGET = (
    "write equal, enough, correlation 0.1, tolerances 0.02 0.01, or a positive ratio for every label"
)
"""What would be right, in every line that refuses a target."""


@dataclass(frozen=True, slots=True)
class WordedTarget:
    """A target that is no ratio.

    Args:
        word: what it is called.
        limits: of `correlation` the largest that is wanted, 0..1; of `tolerances` those of rates and associations.
        wants: of `enough`, once it is fixed, cell -> rows.
        rates: of `tolerances`, once it is fixed, concept or `attribute=value` -> share of rows.
    """

    word: Word
    limits: tuple[float, ...] = ()
    wants: Mapping[Cell, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)


Target: TypeAlias = "str | Mapping[str, float] | WordedTarget"
"""`equal` or other words, a ratio of labels, or words that were fixed for a data set."""


def read_words(words: str) -> WordedTarget | None:
    """What a target of words means; None for `equal`.

    Raises:
        ValueError: it means nothing; the message is one line that says what would be right.

    >>> read_words("correlation 0.18").limits
    (0.18,)
    """
    name, *given = words.split() or [""]
    if name == "equal" and not given:
        return None
    if name == "enough" and not given:
        return WordedTarget("enough")
    try:
        limits = tuple(float(one) for one in given)
    except ValueError:
        limits = (-1.0,)
    if all(0 <= one < 1 for one in limits):
        if name == "correlation" and len(limits) == 1:
            return WordedTarget("correlation", limits)
        if name == "tolerances" and len(limits) in (0, 2):
            return WordedTarget("tolerances", limits or (RATE_TOLERANCE, ASSOCIATION_TOLERANCE))
    raise ValueError(f"found {words!r:.60}; {WRITE_TARGET}")


def fix_target(target: Target, records: Records, known: Mapping[Cell, float] | None = None) -> Target:
    """A target as it stands for a data set; `equal`, ratios and correlations as they are.

    Args:
        target: of a job.
        records: the rows before any is added.
        known: counts that are better known than by counting.
    """
    words = read_words(target) if isinstance(target, str) else target
    if not isinstance(words, WordedTarget):
        return target
    if words.word == "enough" and not words.wants:
        have = count_cells(records) | dict(known or {})
        wants = {cell: float(count) for cell, count in have.items()}
        wants |= {one.cell: one.want for one in find_enough_deficits(records, known=known)}
        return WordedTarget("enough", wants=wants)
    if words.word == "tolerances" and not words.rates:
        return WordedTarget("tolerances", words.limits, rates=find_rates(count_profiles(records)))
    return words


def find_worded_deficits(
    records: Records,
    target: WordedTarget,
    families: Collection[CellFamily] = ALL_FAMILIES,
    known: Mapping[Cell, float] | None = None,
) -> list[Deficit]:
    """What cells lack of a target of words.

    Args:
        records: the data, added rows included.
        target: fixed by `fix_target`.
        families: which families of cells.
        known: counts that are better known than by counting.

    Returns:
        Deficits with a need of at least 1, largest need first, equal ones in the order of their cells.
    """
    if target.word == "enough":
        have = count_cells(records, families) | dict(known or {})
        found = [Deficit(cell, float(have[cell]), target.wants.get(cell, 0.0)) for cell in have]
    elif target.word == "correlation":
        found = find_correlation_deficits(records, target.limits[0], families)
    else:
        found = _find_tolerance_deficits(records, target, families)
    mine = [one for one in found if one.need and _find_family(one.cell) in families]
    return sorted(mine, key=lambda one: (-one.need, one.cell))


def _find_tolerance_deficits(
    records: Records, target: WordedTarget, families: Collection[CellFamily]
) -> list[Deficit]:
    """The cells of the fewest additions under which all is within the tolerances."""
    counts = count_profiles(records, families)
    possible = list_possible(counts, records.label_names)
    rate, association = target.limits
    plan = plan_within_tolerances(
        dict.fromkeys(possible, 1.0),
        counts,
        target.rates,
        rate_tolerance=rate,
        association_tolerance=association,
    )
    have, more = sum_cells(counts), sum_cells(plan.additions)
    return [
        Deficit(cell, float(have.get(cell, 0)), have.get(cell, 0.0) + count) for cell, count in more.items()
    ]


def _find_family(cell: Cell) -> CellFamily:
    if cell.concept:
        return "concept"
    return "attribute" if cell.attribute else "label"
