"""Profiles: what a row is to every cell at once, its label with all its concepts and attribute values.

A row that is added for one cell stands in others too. Counted by profile, what it does to all of them is known before
it is bought.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.balance.counts import ALL_FAMILIES, MOST_VALUES, CellFamily, encode_values
from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats, Records, State


@dataclass(frozen=True, slots=True, order=True)
class Profile:
    """A label with the concepts that are present and the values of attributes.

    Args:
        label: name of the label.
        concepts: names of the concepts that are present, sorted; the others are absent.
        attributes: (name, value) of the attributes that have one, sorted.
    """

    label: str
    concepts: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """For people: `negative with food, service, source=imdb`."""
        parts = [*self.concepts, *(f"{name}={value}" for name, value in self.attributes)]
        return f"{self.label} with {', '.join(parts)}" if parts else self.label

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that a row of this profile stands in, its label first."""
        return (
            Cell(self.label),
            *(Cell(self.label, concept=name) for name in self.concepts),
            *(Cell(self.label, attribute=name, value=value) for name, value in self.attributes),
        )


def count_profiles(records: Records, families: Collection[CellFamily] = ALL_FAMILIES) -> dict[Profile, int]:
    """How many rows have each profile, in the order of profiles.

    Args:
        records: rows without a label count nowhere; a concept whose state is unknown counts as absent, an attribute
            with more than `MOST_VALUES` values is left out.
        families: `concept` and `attribute` say what else than the label makes a profile.
    """
    columns, names = [records.labels], list(records.label_names)
    concepts: tuple[str, ...] = ()
    if "concept" in families and records.concepts is not None:
        concepts = records.concepts.names
        columns += list((records.concepts.states == State.PRESENT).astype(np.int64).T)
    values: dict[str, tuple[str, ...]] = {}
    if "attribute" in families:
        for name, column in sorted(records.attributes.items()):
            codes, found = encode_values(column)
            if len(found) - ("" in found) <= MOST_VALUES:
                values[name] = found
                columns.append(codes)
    table = np.stack(columns, axis=1)[records.labels >= 0]
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    profiles: dict[Profile, int] = {}
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        label, rest = kind[0], kind[1:]
        marks = tuple(sorted(name for name, has in zip(concepts, rest, strict=False) if has))
        given = zip(values.items(), rest[len(concepts) :], strict=True)
        pairs = tuple((name, found[code]) for (name, found), code in given if found[code])
        profiles[Profile(names[label], marks, pairs)] = count
    return dict(sorted(profiles.items()))


def list_possible(profiles: Iterable[Profile], labels: Iterable[str]) -> list[Profile]:
    """Every combination of concepts and attribute values that some row has, with every label, sorted."""
    kinds = {(profile.concepts, profile.attributes) for profile in profiles}
    return sorted(Profile(label, *kind) for label in set(labels) for kind in kinds)


def sum_cells(profiles: Mapping[Profile, int]) -> dict[Cell, int]:
    """Rows of each cell that has any."""
    counts: dict[Cell, int] = {}
    for profile, count in profiles.items():
        for cell in profile.cells:
            counts[cell] = counts.get(cell, 0) + count
    return counts


def make_membership(profiles: Sequence[Profile], cells: Sequence[Cell]) -> Floats:
    """(c, p) 1 where a row of a profile stands in a cell, else 0."""
    place = {cell: row for row, cell in enumerate(cells)}
    table = np.zeros((len(cells), len(profiles)))
    for column, profile in enumerate(profiles):
        for cell in profile.cells:
            if cell in place:
                table[place[cell], column] = 1
    return table
