"""The margins that a target means for weights: shares of labels, and of labels with and without a concept or value.

A margin of a concept is a whole table, label by concept: raking over labels and concepts apart would leave their
association as it is. What a target leaves of the association, it leaves of the table: `equal`, a ratio and `enough`
make label and concept independent, `correlation c` and `tolerances` shrink the table towards that until the largest
figure is what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.balance.comparisons import list_comparisons
from counterpoise.balance.counts import MOST_VALUES, count_labels, cross_table, encode_values
from counterpoise.balance.targets.raking import Margin
from counterpoise.balance.targets.words import Target, WordedTarget, fix_target
from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats, Integers, Records, State


def list_margins(records: Records, target: Target = "equal") -> list[Margin]:
    """What weights of rows should meet.

    Args:
        records: rows with labels; a row whose concept is unknown, or whose attribute is missing, counts in no margin of
            it.
        target: of a job, or what it was fixed to.

    Returns:
        The labels first, then concepts and attributes. Levels are named as cells are.
    """
    labels, names = records.labels, records.label_names
    fixed = fix_target(target, records)
    shares = _find_label_shares(records, fixed)
    margins = [Margin("", labels, shares, names)]
    if records.concepts is not None:
        for place, concept in enumerate(records.concepts.names):
            states = records.concepts.states[:, place].astype(np.int64)
            codes = np.where(states == State.UNKNOWN, -1, (states == State.PRESENT).astype(np.int64))
            levels: tuple[str, ...] = (f"without {concept}", f"with {concept}")
            margins.append(_cross(labels, names, codes, levels, shares, fixed))
    for attribute, column in sorted(records.attributes.items()):
        codes, values = encode_values(column)
        known = [value for value in values if value]
        if 1 < len(known) <= MOST_VALUES:
            shift = int("" in values)
            levels = tuple(f"with {attribute}={value}" for value in known)
            margins.append(_cross(labels, names, codes - shift, levels, shares, fixed))
    return margins


def _find_label_shares(records: Records, target: Target) -> Floats:
    """(k,) wanted shares of the labels."""
    have = count_labels(records.labels, len(records.label_names)).astype(np.float64)
    if isinstance(target, WordedTarget):
        wants = [target.wants.get(Cell(name), n) for name, n in zip(records.label_names, have, strict=True)]
        return _scale(wants)
    ratios = "equal" if isinstance(target, str) else target
    (comparison,) = list_comparisons(records, ratios, ["label"])  # type: ignore[arg-type]
    counts = {Cell(name): float(n) for name, n in zip(records.label_names, have, strict=True)}
    found = comparison.find_wants(counts)
    wants = [found.get(cell, n) for cell, n in counts.items()]
    return _scale(wants)


def _scale(wants: Sequence[float]) -> Floats:
    counts = np.asarray(wants, dtype=np.float64)
    return np.asarray(counts / counts.sum())


def _cross(
    labels: Integers,
    names: tuple[str, ...],
    codes: Integers,
    levels: tuple[str, ...],
    shares: Floats,
    target: Target,
) -> Margin:
    """The margin of a table of labels by levels."""
    table = cross_table(labels, codes, len(names), len(levels)).astype(np.float64)
    now = table / max(1.0, table.sum())
    wanted = np.outer(shares, now.sum(axis=0))
    if isinstance(target, WordedTarget) and target.word != "enough":
        even = np.outer(now.sum(axis=1), now.sum(axis=0))
        wanted = even + min(1.0, _find_part(now, even, target)) * (now - even)
    joint = np.where(codes >= 0, labels * len(levels) + codes, -1)
    said = tuple(f"{name} {level}" for name in names for level in levels)
    return Margin("", joint, wanted.ravel(), said)


def _find_part(now: Floats, even: Floats, target: WordedTarget) -> float:
    """What part of the association may stay: all figures of a table shrink with it alike."""
    away = np.abs(now - even)
    if target.word == "correlation":
        rates = now.sum(axis=0)
        # P(label | level) - P(label | not level) is the distance from independence over P(level) P(not level).
        away = away / np.maximum(rates * (1 - rates), 1e-12)
        return float(target.limits[0] / max(away.max(), 1e-12))
    return float(target.limits[1] / max(away.max(), 1e-12))
