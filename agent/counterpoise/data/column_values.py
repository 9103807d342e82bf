"""The values of one column of a table: as they are, as text, as labels, as marks; and how errors count rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import find_missing, number_key, spell_value
from counterpoise.core.records import Integers, Objects
from counterpoise.core.strict_yaml import suggest

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

BATCH_ROWS = 10_000
_MARKS = frozenset({"1", "1.0", "true", "yes", "y", "x", "checked"})


def select_column(table: Dataset, name: str) -> Dataset:
    """The table with one column, in Arrow."""
    return table.select_columns([name]).with_format("arrow")


def read_values(table: Dataset, name: str, source: str) -> Iterator[Any]:
    """The values of one column, names for a ClassLabel (None for its -1).

    Raises:
        DataError: it holds lists, mappings or bytes.
    """
    feature = table.features[name]
    for batch in select_column(table, name).iter(BATCH_ROWS):
        yield from convert_values(batch.column(name), feature, f"{source}: column '{name}'")


def convert_values(column: pa.ChunkedArray, feature: Any, where: str) -> Iterator[Any]:
    """The values of a part of a column, as `read_values` gives them.

    Args:
        column: the part.
        feature: what `datasets` knows of the column.
        where: what errors call it.

    Raises:
        DataError: it holds lists, mappings or bytes.
    """
    from datasets import ClassLabel

    short = {"float": np.float32, "halffloat": np.float16}.get(str(column.type))
    for value in column.to_pylist():
        if isinstance(value, list | dict | bytes):
            hint = "name a column with one value a row"
            raise DataError(f"holds a {type(value).__name__}", where=where, hint=hint)
        if isinstance(feature, ClassLabel) and value is not None:
            yield feature.names[value] if value >= 0 else None
        elif short is not None and value is not None:
            yield float(str(short(value)))  # 0.1 and not 0.10000000149011612
        else:
            yield value


def read_as_text(table: Dataset, name: str, source: str) -> Objects:
    """One column as text, "" where the value is missing."""
    if name not in table.column_names:
        hint = suggest(name, table.column_names, "columns: " + ", ".join(table.column_names[:20]))
        raise DataError("no such column", where=f"{source}: column '{name}'", hint=hint)
    values = np.empty(len(table), dtype=object)
    once: dict[str, str] = {}  # a million rows share a few strings
    for row, value in enumerate(read_values(table, name, source)):
        text = spell_value(value)
        values[row] = once.setdefault(text, text)
    return values


def unite_numbers(values: Objects) -> Objects:
    """Attributes by value: 1, 1.0 and "1" are one, in the data and in a pool."""
    once: dict[str, str] = {}
    for row, value in enumerate(values):
        if value not in once:
            once[value] = number_key(value)
        values[row] = once[value]
    return values


def read_labels(table: Dataset, name: str, source: str, keep_labels: Sequence[str] = ()) -> Objects:
    """The labels as text, each as it is spelled, None where one is missing; see `label_spellings.find_missing`."""
    values = read_as_text(table, name, source)
    missing = find_missing(Counter(values.tolist()), keep_labels)
    values[np.fromiter((value in missing for value in values), bool, len(values))] = None
    return values


def read_marks(table: Dataset, name: str, source: str) -> NDArray[np.bool_]:
    """(n,) which rows a column marks: those with a 1, `true`, `yes`, `y`, `x` or `checked`, in any case."""
    values = read_as_text(table, name, source)
    return np.fromiter((value.strip().casefold() in _MARKS for value in values), np.bool_, len(values))


def count_noun(number: int, noun: str) -> str:
    """`1 row`, `3 rows`."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def list_rows(positions: Integers) -> str:
    """`rows 3, 8, 9, ...`, counted from 1, not counting a header."""
    listed = ", ".join(str(position + 1) for position in positions[:5].tolist())
    return f"row{'s' if len(positions) > 1 else ''} {listed}" + (", ..." if len(positions) > 5 else "")
