"""The cells of the sealed rows: which rows stand in which, and how many of them are no copies of one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

from counterpoise.balance.counts import MOST_VALUES
from counterpoise.core.records import Integers, Records, State

PRESENT, ABSENT = "present", "absent"

ALL_LABELS = -1
"""In the place of a label: rows of all of them."""


@dataclass(frozen=True, slots=True)
class SealedCell:
    """Sealed rows of a label, alone or with a concept or an attribute value.

    Args:
        kind: what it is named by beside the label; `all` are all rows.
        label: index of the label; `ALL_LABELS` for a whole group of an attribute.
        column: name of the concept or attribute, "" without.
        value: `present` or `absent`, or the attribute's value.
        rows: positions of its rows.
        n_apart: how many rows it is worth where those of a group of near-duplicates are answered alike (Kish, 1965).
    """

    kind: Literal["all", "label", "concept", "attribute"]
    label: int
    column: str
    value: str
    rows: Integers
    n_apart: float

    def describe(self, label_names: tuple[str, ...]) -> str:
        """For people: `negative`, `negative with food`, `negative without food`, `negative with source=imdb`."""
        if self.kind == "all":
            return "all rows"
        label = "all labels" if self.label == ALL_LABELS else label_names[self.label]
        if self.kind == "concept":
            return f"{label} {'with' if self.value == PRESENT else 'without'} {self.column}"
        return f"{label} with {self.column}={self.value}" if self.kind == "attribute" else label


def list_sealed_cells(records: Records, groups: Integers, train: Records) -> list[SealedCell]:
    """The cells of the sealed rows, whole groups of attributes and all rows among them; cells without rows included.

    Args:
        records: the sealed rows, with concepts where they were labelled; one that lacks a state or a value is in no
            such cell.
        groups: (n,) number of each row's group of near-duplicates.
        train: rows whose values of attributes make cells, too.
    """
    return [
        SealedCell(kind, label, column, value, rows, _count_apart(groups[rows]))
        for kind, column, value, mask in _list_margins(records, list_values(records, train))
        for label in _list_labels(kind, records)
        for rows in [np.flatnonzero(mask if label == ALL_LABELS else mask & (records.labels == label))]
    ]


def list_values(records: Records, train: Records) -> dict[str, list[str]]:
    """Attribute -> its values, in order; none where there are so many that they make no cells."""
    found = {
        name: sorted({*values.tolist(), *train.attributes[name].tolist()} - {""})
        for name, values in sorted(records.attributes.items())
    }
    return {name: values if len(values) <= MOST_VALUES else [] for name, values in found.items()}


def stack_members(cells: Sequence[SealedCell], n: int) -> csc_matrix:
    """(n, c) 1 where a row is in a cell."""
    rows = np.concatenate([cell.rows for cell in cells]) if cells else np.empty(0, np.int64)
    columns = np.repeat(np.arange(len(cells)), [len(cell.rows) for cell in cells])
    return csc_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, len(cells)))


def _list_margins(
    records: Records, values: Mapping[str, list[str]]
) -> Iterator[tuple[Literal["all", "label", "concept", "attribute"], str, str, NDArray[np.bool_]]]:
    """What labels are crossed with: kind, column, value, (n,) the rows that have it."""
    everything = np.ones(len(records), dtype=np.bool_)
    yield "all", "", "", everything
    yield "label", "", "", everything
    if records.concepts is not None:
        for column, name in enumerate(records.concepts.names):
            states = records.concepts.states[:, column]
            yield "concept", name, PRESENT, states == State.PRESENT
            yield "concept", name, ABSENT, states == State.ABSENT
    for name, mine in values.items():
        for value in mine:
            yield "attribute", name, value, records.attributes[name] == value


def _list_labels(kind: str, records: Records) -> list[int]:
    every = list(range(len(records.label_names)))
    return {"all": [ALL_LABELS], "attribute": [ALL_LABELS, *every]}.get(kind, every)


def _count_apart(groups: Integers) -> float:
    """Rows squared by the sum of the squared sizes of their groups."""
    _, sizes = np.unique(groups, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0
