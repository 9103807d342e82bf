"""Data in: any source to a `datasets.Dataset`, and its rows to `Records`.

Sources: a hub id, a folder written by `save_to_disk`, a folder of Parquet shards, a CSV, TSV, JSON,
JSON-lines or Parquet file (or gzip of one), `asset:NAME`, and in Python a Dataset, a pandas frame, columns or
rows. What is wrong with a source, a column or a value is said in one line that names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from json import dumps
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import (
    Variants,
    describe_missing,
    find_missing,
    hint_missing,
    hint_spellings,
    match_label,
    number_key,
    order_names,
    quote,
    spell_value,
    unite_labels,
)
from counterpoise.core.records import UNLABELLED, Integers, Objects, Records
from counterpoise.core.schema import TextClassification
from counterpoise.core.splits import sample_by_rank
from counterpoise.core.strict_yaml import suggest
from counterpoise.data.sources import load_table

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "ADDED_COLUMNS",
    "SampleParts",
    "check_columns",
    "hash_rows",
    "list_warnings",
    "load_table",
    "make_ids",
    "read_labels",
    "read_marks",
    "read_pool",
    "read_records",
    "take_sample",
]

ADDED_COLUMNS = ("concepts", "split_role", "weight", "provenance")
"""Names of the columns that a result has besides the user's."""

_MARKS = frozenset({"1", "1.0", "true", "yes", "y", "x", "checked"})
_BATCH_ROWS = 10_000


def check_columns(table: Dataset, task: TextClassification, where: str, needed: Sequence[str] = ()) -> None:
    """Refuse a table that lacks a column or has one that a result needs for itself.

    Args:
        table: the table.
        task: which columns mean what.
        where: name of the source, for errors.
        needed: the columns that must be there; by default all that the task names.

    Raises:
        DataError: names the column and the nearest right one.
    """
    names = table.column_names
    for column in needed or task.columns:
        if column not in names:
            listed = "columns: " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            hint = suggest(column, names)
            raise DataError(
                "no such column",
                where=f"{where}: column '{column}'",
                hint=f"{hint} {listed}" if hint else listed,
            )
    for column in ADDED_COLUMNS:
        if column in names:
            raise DataError(
                "counterpoise writes a column of this name",
                where=f"{where}: column '{column}'",
                hint=f"rename it, for example to 'my_{column}'",
            )


def read_records(
    table: Dataset,
    task: TextClassification,
    label_names: tuple[str, ...] | None = None,
    *,
    source: str = "data",
) -> Records:
    """Read the rows of a table as records, in the table's order.

    An id is a hash of all columns of the row, whatever their order, and an occurrence number where rows are
    equal: other rows may come, go and move without changing it. Empty values do not count, so neither does a
    new column that is empty in the old rows. `groups` stay empty; texts may be empty (`list_warnings`).

    Args:
        table: the table.
        task: which columns mean what.
        label_names: the labels that may occur, for rows that belong to data already read; by default those
            found, in the order of a ClassLabel feature, of numbers, or of names.
        source: what errors call the table.

    Returns:
        n records.

    Raises:
        DataError: a column is missing, reserved or of the wrong kind; a text or label is missing; there is
            one label only, or nearly as many as rows; a label is not among `label_names`.
    """
    check_columns(table, task, source)
    said = _read_as_text(table, task.label, source)
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
    return _read_rest(table, task, labels, label_names, source)


def _name_labels(
    said: Objects, task: TextClassification, label_names: tuple[str, ...] | None, where: str
) -> Objects:
    """(n,) the label of each row, as the data spells it.

    Raises:
        DataError: a row has none, one is not among `label_names`, or spellings of one label may be one or several.
    """
    counts = Counter(said.tolist())
    missing = find_missing(counts, task.keep_labels)
    if missing:
        rows = np.flatnonzero(np.fromiter((value in missing for value in said), bool, len(said)))
        found = f"{_count(len(rows), 'row')} without a label ({_list_rows(rows)})"
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
    task: TextClassification,
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


def read_pool(
    table: Dataset, task: TextClassification, label_names: tuple[str, ...] = (), *, source: str = "pool"
) -> Records:
    """Read unlabelled rows: every label is `UNLABELLED`, a label column is ignored, attributes may be absent.

    Args:
        table: the table.
        task: which columns mean what.
        label_names: labels of the data the pool belongs to.
        source: what errors call the table.

    Raises:
        DataError: a text column is missing or holds no text, or a text is missing.
    """
    check_columns(table, task, source, needed=task.text)
    labels = np.full(len(table), UNLABELLED, dtype=np.int64)
    return _read_rest(table, task, labels, label_names, source)


def list_warnings(records: Records, source: str = "data") -> list[str]:
    """Sentences on what is odd about records that were read, but no error."""
    empty = np.flatnonzero(np.fromiter((not text.strip() for text in records.texts), bool, len(records)))
    return [f"{source}: {_count(len(empty), 'text')} empty ({_list_rows(empty)})"] if len(empty) else []


def hash_rows(table: Dataset) -> Iterator[bytes]:
    """Hash every row of a table: 10 bytes over its non-empty values and their columns' names.

    The order of the columns does not count, nor whether a whole number is stored as text, integer or float.
    """
    names = sorted(table.column_names)
    for batch in table.with_format("arrow").iter(_BATCH_ROWS):
        columns = []
        for name in names:
            prefix = encode_basestring(name) + ":"
            values = batch.column(name).to_pylist()
            columns.append([prefix + _spell(value) if not _is_empty(value) else "" for value in values])
        for row in zip(*columns, strict=True):
            yield blake2b(
                "\n".join(filter(None, row)).encode("utf-8", "surrogatepass"), digest_size=10
            ).digest()


@dataclass(frozen=True, slots=True)
class SampleParts:
    """Positions of the rows that `take_sample` chose, each part in the table's order."""

    data: Integers
    held_out: Integers
    pool: Integers


def take_sample(
    table: Dataset,
    records: Records,
    key: str,
    *,
    rows: Mapping[str, int] | None = None,
    where: Mapping[str, str] | None = None,
    max_characters: int | None = None,
    held_out: int | Mapping[str, int] = 0,
    pool: int = 0,
    source: str = "data",
) -> SampleParts:
    """Take parts out of one table: data whose labels may be made skew, held-out rows and a pool.

    Rows are taken by keyed hash of their ids, held-out rows first, then data, then the pool, so that one
    more row changes at most one choice a label and part. Where `records.groups` is filled, no group is in two
    parts; else no text is.

    Args:
        table: the table, in line with `records`.
        records: its records.
        key: another key takes other rows.
        rows: how many of each label become data; by default all that is not taken otherwise.
        where: column -> value: other rows are left out.
        max_characters: longer texts are left out.
        held_out: rows to hold out: so many in all, as labels come, or so many a label.
        pool: rows that become the pool, as labels come.
        source: what errors call the table.

    Raises:
        DataError: a column or label does not exist, or there are too few rows.
    """
    free = np.ones(len(records), dtype=bool)
    for column, value in (where or {}).items():
        free &= _unite(_read_as_text(table, column, source)) == number_key(value)
    if max_characters is not None:
        free &= np.fromiter((len(text) <= max_characters for text in records.texts), bool, len(records))
    groups = records.groups if len(records.groups) else records.texts

    def take(wanted: int | Mapping[str, int], part: str) -> Integers:
        """Take free rows by rank; afterwards neither they nor their like are free."""
        nonlocal free
        taken = []
        for label, count in wanted.items() if isinstance(wanted, Mapping) else [("", wanted)]:
            mask = free
            if label:
                label = match_label(label, records.label_names) or label
                if label not in records.label_names:
                    hint = suggest(
                        label, records.label_names, "labels: " + ", ".join(records.label_names[:20])
                    )
                    raise DataError(f"no row has the label '{label}'", where=f"{source}: {part}", hint=hint)
                mask = free & (records.labels == records.label_names.index(label))
            candidates = np.flatnonzero(mask)
            if len(candidates) < count:
                found = f"{count} rows {f'of {label!r} ' if label else ''}wanted, {len(candidates)} there"
                raise DataError(
                    found, where=f"{source}: {part}", hint="ask for fewer, or narrow the sample less"
                )
            taken.append(candidates[sample_by_rank(records.ids[candidates], count, f"{key}:{part}")])
        positions = np.sort(np.concatenate(taken)) if taken else np.empty(0, dtype=np.int64)
        gone = set(groups[positions])
        free &= np.fromiter((group not in gone for group in groups), bool, len(groups))
        return positions

    held_out_rows = take(held_out, "held_out") if held_out else np.empty(0, dtype=np.int64)
    data_rows = take(rows, "sample: rows") if rows is not None else None
    pool_rows = take(pool, "pool") if pool else np.empty(0, dtype=np.int64)
    return SampleParts(np.flatnonzero(free) if data_rows is None else data_rows, held_out_rows, pool_rows)


def _read_rest(
    table: Dataset, task: TextClassification, labels: Integers, label_names: tuple[str, ...], source: str
) -> Records:
    """Ids, texts and attributes of a table whose labels are known."""
    attributes = {
        name: _unite(_read_as_text(table, name, source))
        if name in table.column_names
        else np.full(len(table), "", dtype=object)
        for name in task.attributes
    }
    return Records(
        ids=make_ids(table),
        texts=_read_texts(table, task.text, source),
        labels=labels,
        label_names=label_names,
        attributes=attributes,
    )


def make_ids(table: Dataset) -> Objects:
    """Hex hashes of the rows; from the second of equal rows on, `-1`, `-2`, ... follow."""
    digests = np.fromiter(hash_rows(table), dtype="V10", count=len(table))
    ids = np.empty(len(table), dtype=object)
    for row, digest in enumerate(digests):
        ids[row] = digest.tobytes().hex()
    # Only rows that share 64 bits can be equal: the dictionary of occurrences stays small.
    heads = digests.view("u1").reshape(len(table), 10)[:, :8].copy().view(np.uint64).ravel()
    order = np.argsort(heads, kind="stable")
    same = np.flatnonzero(heads[order[1:]] == heads[order[:-1]])
    seen: Counter[str] = Counter()
    for row in np.unique(np.concatenate([order[same], order[same + 1]])):
        name = ids[row]
        if seen[name]:
            ids[row] = f"{name}-{seen[name]}"
        seen[name] += 1
    return ids


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _spell(value: Any) -> str:
    """One spelling of a value, whatever type its column has."""
    if value.__class__ is str:
        return encode_basestring(number_key(value))
    if isinstance(value, float | Decimal):
        value = spell_value(value)
    if isinstance(value, int | float):
        return f'"{value}"'
    if isinstance(value, bytes):
        return encode_basestring(value.hex())
    return dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _read_texts(table: Dataset, columns: tuple[str, ...], source: str) -> Objects:
    """The texts, several columns joined by a line end."""
    import pyarrow as pa

    parts = []
    for name in columns:
        kind = table.features.arrow_schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            hint = "name a column of texts" + _suggest_text_columns(table)
            raise DataError(f"holds {kind}, not text", where=f"{source}: column '{name}'", hint=hint)
        part = np.empty(len(table), dtype=object)
        start = 0
        for batch in _select(table, name).iter(_BATCH_ROWS):
            part[start : start + len(batch)] = batch.column(name).to_numpy()
            start += len(batch)
        if len(missing := np.flatnonzero(np.fromiter((text is None for text in part), bool, len(part)))):
            found = f"{_count(len(missing), 'row')} without a text ({_list_rows(missing)})"
            raise DataError(found, where=f"{source}: column '{name}'", hint="fill or drop them")
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    joined = np.empty(len(table), dtype=object)
    joined[:] = ["\n".join(row) for row in zip(*parts, strict=True)]
    return joined


def _suggest_text_columns(table: Dataset) -> str:
    names = [field.name for field in table.features.arrow_schema if "string" in str(field.type)]
    return f": {', '.join(names[:10])}" if names else ""


def _unite(values: Objects) -> Objects:
    """Attributes by value: 1, 1.0 and "1" are one, in the data and in a pool."""
    once: dict[str, str] = {}
    for row, value in enumerate(values):
        if value not in once:
            once[value] = number_key(value)
        values[row] = once[value]
    return values


def _select(table: Dataset, name: str) -> Dataset:
    return table.select_columns([name]).with_format("arrow")


def _read_values(table: Dataset, name: str, source: str) -> Iterator[Any]:
    """The values of one column, names for a ClassLabel (None for its -1)."""
    from datasets import ClassLabel

    feature = table.features[name]
    kind = table.features.arrow_schema.field(name).type
    short = {"float": np.float32, "halffloat": np.float16}.get(str(kind))
    for batch in _select(table, name).iter(_BATCH_ROWS):
        for value in batch.column(name).to_pylist():
            if isinstance(value, list | dict | bytes):
                hint = "name a column with one value a row"
                raise DataError(
                    f"holds a {type(value).__name__}", where=f"{source}: column '{name}'", hint=hint
                )
            if isinstance(feature, ClassLabel) and value is not None:
                yield feature.names[value] if value >= 0 else None
            elif short is not None and value is not None:
                yield float(str(short(value)))  # 0.1 and not 0.10000000149011612
            else:
                yield value


def _read_as_text(table: Dataset, name: str, source: str) -> Objects:
    """One column as text, "" where the value is missing."""
    if name not in table.column_names:
        hint = suggest(name, table.column_names, "columns: " + ", ".join(table.column_names[:20]))
        raise DataError("no such column", where=f"{source}: column '{name}'", hint=hint)
    values = np.empty(len(table), dtype=object)
    once: dict[str, str] = {}  # a million rows share a few strings
    for row, value in enumerate(_read_values(table, name, source)):
        text = spell_value(value)
        values[row] = once.setdefault(text, text)
    return values


def read_labels(table: Dataset, name: str, source: str, keep_labels: Sequence[str] = ()) -> Objects:
    """The labels as text, each as it is spelled, None where one is missing; see `label_spellings.find_missing`."""
    values = _read_as_text(table, name, source)
    missing = find_missing(Counter(values.tolist()), keep_labels)
    values[np.fromiter((value in missing for value in values), bool, len(values))] = None
    return values


def read_marks(table: Dataset, name: str, source: str) -> NDArray[np.bool_]:
    """(n,) which rows a column marks: those with a 1, `true`, `yes`, `y`, `x` or `checked`, in any case."""
    values = _read_as_text(table, name, source)
    return np.fromiter((value.strip().casefold() in _MARKS for value in values), np.bool_, len(values))


def _order_labels(feature: Any, found: Mapping[str, int]) -> tuple[str, ...]:
    """The labels that occur, in the order of the ClassLabel, of numbers, or of names."""
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        return tuple(name for name in feature.names if name in found)
    return order_names(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _list_rows(positions: Integers) -> str:
    """`rows 3, 8, 9, ...`, counted from 1, not counting a header."""
    listed = ", ".join(str(position + 1) for position in positions[:5].tolist())
    return f"row{'s' if len(positions) > 1 else ''} {listed}" + (", ..." if len(positions) > 5 else "")
