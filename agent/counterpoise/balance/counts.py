"""Counts and deficits: pure functions on columns.

A cell is a label alone, a label with a concept, or a label with a value of an attribute. What a cell lacks is
measured against the label that has most of the same concept or value:
`need(c, l) = max over l of n(c, l) - n(c, l)`.

Paper: Zhou et al. (2024) "Explore Spurious Correlations at the Concept Level in Language Models for Text
Classification".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.errors import JobError
from counterpoise.core.label_spellings import match_label
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Integers, Objects, Records, State

CellFamily = Literal["label", "concept", "attribute"]

ALL_FAMILIES: tuple[CellFamily, ...] = ("label", "concept", "attribute")

ONE_VALUE = "has one value only"
"""Of a column, in every sentence that says so."""

MOST_VALUES = 50
"""An attribute with more distinct values than this is not categorical and makes no cells."""


def encode_values(column: Objects) -> tuple[Integers, tuple[str, ...]]:
    """A column of strings as whole numbers.

    Args:
        column: (n,) strings.

    Returns:
        (n,) positions in the values, and the distinct values in sorted order.
    """
    import pyarrow as pa

    encoded = pa.array(column, pa.large_string()).dictionary_encode()
    found = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(found)
    place = np.empty(len(found), dtype=np.int64)
    place[order] = np.arange(len(found))
    return place[encoded.indices.to_numpy(zero_copy_only=False)], tuple(found[order].tolist())


def count_labels(labels: NDArray[np.integer[Any]], n_labels: int) -> Integers:
    """Rows of each label, (n_labels,); negative codes (no label) are left out."""
    return np.bincount(labels[labels >= 0], minlength=n_labels).astype(np.int64)


def cross_table(
    labels: NDArray[np.integer[Any]], values: NDArray[np.integer[Any]], n_labels: int, n_values: int
) -> Integers:
    """Rows of each label (rows of the table) with each value (columns).

    Args:
        labels: (n,) codes; negative ones are left out.
        values: (n,) codes; negative ones (unknown) are left out.
        n_labels: rows of the table.
        n_values: columns of the table.

    Returns:
        (n_labels, n_values) counts.
    """
    known = (labels >= 0) & (values >= 0)
    flat = labels[known].astype(np.int64) * n_values + values[known]
    return np.bincount(flat, minlength=n_labels * n_values).reshape(n_labels, n_values).astype(np.int64)


def count_cells(records: Records, cells: Collection[CellFamily] = ALL_FAMILIES) -> dict[Cell, int]:
    """How many records stand in each cell, cells without any included.

    Args:
        records: rows without a label count nowhere; a concept counts where its state is present; a missing
            attribute value ("") is no value.
        cells: which families of cells: `label`, `concept`, `attribute` (at most `MOST_VALUES` values).

    Returns:
        Counts by cell, labels first, then concepts, then attributes.
    """
    return {cell: int(have) for column in _iterate_columns(records, cells) for cell, have in column}


def find_deficits(
    records: Records,
    target: Literal["equal"] | Mapping[str, float] = "equal",
    cells: Collection[CellFamily] = ALL_FAMILIES,
) -> list[Deficit]:
    """The cells that have fewer records than they should.

    Within each concept, within each attribute value, and over all rows, every label is measured against the
    label that has most.

    Args:
        records: the data.
        target: `equal`, or the ratio of the labels to one another (`{"negative": 1, "positive": 2}`). Labels that
            are not named count as 1 and are left as they are, so `{"negative": 0.5}` wants half as many of it as
            of the largest other label.
        cells: which families of cells.

    Returns:
        Deficits with a need of at least 1, largest need first, equal ones in the order of their cells.

    Raises:
        JobError: `target` names a label that the data does not have, or a ratio that is not above 0.
    """
    ratios = resolve_target(records.label_names, target)
    deficits = []
    for column in _iterate_columns(records, cells):
        # Records are only added, so the label that has most for its ratio sets the scale.
        scale = max(have / ratios.get(cell.label, 1.0) for cell, have in column)
        for cell, have in column:
            deficit = Deficit(cell, have=float(have), want=scale * ratios.get(cell.label, 0.0))
            if deficit.need > 0:
                deficits.append(deficit)
    return sorted(deficits, key=lambda deficit: (-deficit.need, deficit.cell))


def resolve_target(
    label_names: Collection[str], target: Literal["equal"] | Mapping[str, float]
) -> dict[str, float]:
    """The ratio of each label that is to be filled; labels to be left alone are not in it.

    Raises:
        JobError: a label that does not exist, or a ratio that is not above 0.
    """
    if target == "equal":
        return dict.fromkeys(label_names, 1.0)
    ratios: dict[str, float] = {}
    for name, ratio in target.items():
        label = match_label(name, label_names)
        if label is None:
            known = ", ".join(repr(one) for one in label_names)
            raise JobError(f"there is no label {name!r}", where="target", hint=f"the data has {known}")
        if not 0 < ratio < float("inf"):
            raise JobError(f"{name!r} has the ratio {ratio}", where="target", hint="write a number above 0")
        if label in ratios:
            raise JobError(f"{name!r} is named twice", where="target", hint="keep one of them")
        ratios[label] = ratio
    return ratios


def _iterate_columns(records: Records, cells: Collection[CellFamily]) -> Iterator[list[tuple[Cell, int]]]:
    """The cells that are compared with each other (one for each label) and their counts."""
    names, n_labels = records.label_names, len(records.label_names)
    if "label" in cells:
        counts = count_labels(records.labels, n_labels)
        yield [(Cell(name), int(have)) for name, have in zip(names, counts, strict=True)]
    if "concept" in cells and records.concepts is not None:
        for position, concept in enumerate(records.concepts.names):
            present = records.concepts.states[:, position] == State.PRESENT
            counts = count_labels(records.labels[present], n_labels)
            yield [(Cell(name, concept=concept), int(have)) for name, have in zip(names, counts, strict=True)]
    if "attribute" in cells:
        for attribute, column in sorted(records.attributes.items()):
            yield from _iterate_values(attribute, column, records.labels, names)


def _iterate_values(
    attribute: str, column: Objects, labels: Integers, names: tuple[str, ...]
) -> Iterator[list[tuple[Cell, int]]]:
    codes, values = encode_values(column)
    if len(values) - ("" in values) > MOST_VALUES:
        return
    table = cross_table(labels, codes, len(names), len(values))
    for position, value in enumerate(values):
        if value:
            yield [
                (Cell(name, attribute=attribute, value=value), int(table[row, position]))
                for row, name in enumerate(names)
            ]
