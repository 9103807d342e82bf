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

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import match_label, number_key, spell_value
from counterpoise.core.records import UNLABELLED, Integers, Objects, Records
from counterpoise.core.schema import RowSchema, TextClassification
from counterpoise.core.splits import sample_by_rank
from counterpoise.core.strict_yaml import suggest
from counterpoise.data.column_values import (
    BATCH_ROWS,
    count_noun,
    list_rows,
    read_as_text,
    select_column,
    unite_numbers,
)
from counterpoise.data.label_columns import read_label_codes
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
    "read_attributes",
    "read_pool",
    "read_records",
    "render_rows",
    "take_sample",
]

ADDED_COLUMNS = ("concepts", "split_role", "weight", "provenance")
"""Names of the columns that a result has besides the user's."""


def check_columns(table: Dataset, task: RowSchema, where: str, needed: Sequence[str] = ()) -> None:
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
    labels, label_names = read_label_codes(table, task, label_names, source)
    return _read_rest(table, task, labels, label_names, source)


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
    return [f"{source}: {count_noun(len(empty), 'text')} empty ({list_rows(empty)})"] if len(empty) else []


def hash_rows(table: Dataset) -> Iterator[bytes]:
    """Hash every row of a table: 10 bytes over its non-empty values and their columns' names.

    The order of the columns does not count, nor whether a whole number is stored as text, integer or float.
    """
    names = sorted(table.column_names)
    for batch in table.with_format("arrow").iter(BATCH_ROWS):
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
        free &= unite_numbers(read_as_text(table, column, source)) == number_key(value)
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
    columns = {name: _read_texts(table, name, source) for name in task.text}
    if len(columns) == 1:
        (texts,) = columns.values()
    else:
        texts = render_rows(task, columns)
    return Records(
        ids=make_ids(table),
        texts=texts,
        labels=labels,
        label_names=label_names,
        attributes=read_attributes(table, task, source),
        columns=columns,
    )


def read_attributes(table: Dataset, task: RowSchema, source: str) -> dict[str, Objects]:
    """The attributes of a table by name, (n,) strings each; "" where a value, or the whole column, is missing."""
    return {
        name: unite_numbers(read_as_text(table, name, source))
        if name in table.column_names
        else np.full(len(table), "", dtype=object)
        for name in task.attributes
    }


def render_rows(task: RowSchema, columns: Mapping[str, Objects]) -> Objects:
    """(n,) the texts of rows whose content is given as columns of n values."""
    rows = zip(*columns.values(), strict=True)
    texts = [task.render(dict(zip(columns, row, strict=True))) for row in rows]
    rendered = np.empty(len(texts), dtype=object)
    rendered[:] = texts
    return rendered


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


def _read_texts(table: Dataset, name: str, source: str) -> Objects:
    """The texts of one column."""
    import pyarrow as pa

    kind = table.features.arrow_schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        hint = "name a column of texts" + _suggest_text_columns(table)
        raise DataError(f"holds {kind}, not text", where=f"{source}: column '{name}'", hint=hint)
    texts = np.empty(len(table), dtype=object)
    start = 0
    for batch in select_column(table, name).iter(BATCH_ROWS):
        texts[start : start + len(batch)] = batch.column(name).to_numpy()
        start += len(batch)
    if len(missing := np.flatnonzero(np.fromiter((text is None for text in texts), bool, len(texts)))):
        found = f"{count_noun(len(missing), 'row')} without a text ({list_rows(missing)})"
        raise DataError(found, where=f"{source}: column '{name}'", hint="fill or drop them")
    return texts


def _suggest_text_columns(table: Dataset) -> str:
    names = [field.name for field in table.features.arrow_schema if "string" in str(field.type)]
    return f": {', '.join(names[:10])}" if names else ""
