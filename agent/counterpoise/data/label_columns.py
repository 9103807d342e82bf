"""The label column of a table as codes: what is no label, which spellings are one, and in which order they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import (
    Variants,
    describe_missing,
    find_missing,
    hint_missing,
    hint_spellings,
    match_label,
    order_names,
    quote,
    unite_labels,
)
from counterpoise.core.records import Integers, Objects
from counterpoise.core.schema import RowSchema
from counterpoise.core.strict_yaml import suggest
from counterpoise.data.column_values import count_noun, list_rows, read_as_text

if TYPE_CHECKING:
    from datasets import Dataset


def read_label_codes(
    table: Dataset, task: RowSchema, label_names: tuple[str, ...] | None, source: str
) -> tuple[Integers, tuple[str, ...]]:
    """The labels of a table as codes.

    Args:
        table: the table.
        task: names the column, and says what becomes of words and spellings that look alike.
        label_names: the labels that may occur; by default those found, in the order of a ClassLabel feature, of
            numbers, or of names.
        source: what errors call the table.

    Returns:
        (n,) positions in the names, and the names.

    Raises:
        DataError: a label is missing, there is one only, or nearly as many as rows, or one is not among `label_names`.
    """
    said = read_as_text(table, task.label, source)
    where = f"{source}: column '{task.label}'"
    named = _name_labels(said, task, label_names, where)
    counts = Counter(named.tolist())
    if label_names is None:
        label_names = _order_labels(table.features[task.label], counts)
    if len(counts) == 1:
        hint = "name a column with two labels or more"
        raise DataError(f"every row has the label '{next(iter(counts))}'", where=where, hint=hint)
    if len(counts) == len(table) > 2 or (len(counts) > 100 and len(counts) > len(table) / 2):
        hint = "name a column whose values repeat (this may be an id, a text or a measure)"
        raise DataError(f"{len(counts)} different labels in {len(table)} rows", where=where, hint=hint)
    index = {name: number for number, name in enumerate(label_names)}
    labels = np.fromiter((index[name] for name in named), np.int64, len(named))
    return labels, label_names


def _name_labels(said: Objects, task: RowSchema, label_names: tuple[str, ...] | None, where: str) -> Objects:
    """(n,) the label of each row, as the data spells it.

    Raises:
        DataError: a row has none, one is not among `label_names`, or spellings of one label may be one or several.
    """
    counts = Counter(said.tolist())
    missing = find_missing(counts, task.keep_labels)
    if missing:
        rows = np.flatnonzero(np.fromiter((value in missing for value in said), bool, len(said)))
        found = f"{count_noun(len(rows), 'row')} without a label ({list_rows(rows)})"
        hint = "drop them, or move them to a file of their own and name it under pool"
        if words := describe_missing(missing, len(said)):
            hint += f"; {words}: {hint_missing(missing)}"
        raise DataError(found, where=where, hint=hint)
    if label_names is None:
        names = unite_labels(counts, task.label_spellings, where)
    else:
        names = _match_labels(said, counts, task, label_names, where)
    labels = np.empty(len(said), dtype=object)
    labels[:] = [names[value] for value in said]
    return labels


def _match_labels(
    said: Objects,
    counts: Mapping[str, int],
    task: RowSchema,
    label_names: tuple[str, ...],
    where: str,
) -> dict[str, str]:
    """The labels of other rows as those of the data; DataError where one is none of them."""
    names = {}
    for value in sorted(counts):
        found = match_label(value, label_names, task.label_spellings)
        if found is None:
            like = match_label(value, label_names, "merge")
            hint = suggest(value, label_names, "labels: " + ", ".join(label_names[:20]))
            if like is not None:
                rows = Counter({like: 0, value: counts[value]})
                hint = (
                    f"it differs from {quote(like)} only in blanks, case or Unicode form; "
                    + hint_spellings(Variants(tuple(sorted(rows.items(), key=lambda one: one[1]))))
                )
            row = int(np.flatnonzero(said == value)[0])
            raise DataError(
                f"found {quote(value)} in row {row + 1}, a label that data does not have",
                where=where,
                hint=hint,
            )
        names[value] = found
    return names


def _order_labels(feature: Any, found: Mapping[str, int]) -> tuple[str, ...]:
    """The labels that occur, in the order of the ClassLabel, of numbers, or of names."""
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        return tuple(name for name in feature.names if name in found)
    return order_names(found)
