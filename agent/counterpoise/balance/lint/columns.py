"""The columns of a table as the linter reads them: texts stay in Arrow, the rest are small integers.

A million Python strings weigh several times what the same column weighs in Arrow, so texts are handed out in
batches and never held together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counterpoise.balance.counts import MOST_VALUES
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.label_spellings import (
    describe_missing,
    find_missing,
    hint_missing,
    number_key,
    order_names,
    spell_value,
    unite_labels,
)
from counterpoise.core.languages import LANGUAGE, find_languages, tell_languages
from counterpoise.core.records import UNLABELLED, ConceptColumns, Integers, Records
from counterpoise.core.schema import LINE_END, TextClassification

BATCH_ROWS = 2_000
OTHER = "(other)"
MISSING = ""
_N_BINS = 10
_LINE_END = pa.scalar(LINE_END, pa.large_string())
"""Joins text columns in Arrow as `TextClassification.render` joins those of one row."""

Codes = NDArray[np.int32]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Texts in Arrow tables, read in batches; several columns are joined by line ends, nulls are empty.

    Args:
        tables: each has only the text columns, in the order in which they are joined.
    """

    tables: tuple[pa.Table, ...]

    def __len__(self) -> int:
        """Number of texts."""
        return sum(table.num_rows for table in self.tables)

    def arrays(self) -> Iterator[pa.Array]:
        """All texts in Arrow arrays of at most `BATCH_ROWS` strings, none of them null."""
        for table in self.tables:
            for batch in table.to_batches(max_chunksize=BATCH_ROWS):
                columns = [pc.fill_null(column.cast(pa.large_string()), "") for column in batch.columns]
                yield columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, _LINE_END)

    def batches(self) -> Iterator[list[str]]:
        """All texts in lists of at most `BATCH_ROWS`."""
        for array in self.arrays():
            yield array.to_pylist()

    def take(self, indices: Integers) -> TextColumn:
        """The texts at `indices`, in that order, still in Arrow; only what is taken is copied."""
        order = np.argsort(indices, kind="stable")
        wanted = indices[order]
        pieces, start = [], 0
        for table in self.tables:
            for batch in table.to_batches():
                stop = start + batch.num_rows
                first, last = np.searchsorted(wanted, (start, stop))
                if last > first:
                    piece = pa.Table.from_batches([batch]).take(pa.array(wanted[first:last] - start))
                    pieces.append(pa.table({name: _widen(piece.column(name)) for name in piece.column_names}))
                start = stop
        taken = pa.concat_tables(pieces)
        if not np.array_equal(order, np.arange(len(order))):
            taken = taken.take(pa.array(np.argsort(order, kind="stable")))
        return TextColumn((taken,))

    def followed_by(self, other: TextColumn) -> TextColumn:
        """These texts and then the others; nothing is copied."""
        return TextColumn(self.tables + other.tables)


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """A column as whole numbers: (n,) codes, negative where unknown, and the values they stand for."""

    codes: Codes
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """What the linter looks at.

    Args:
        texts: n texts.
        labels: the labels; code `UNLABELLED` where there is none.
        attributes: by column name; a missing value is the value "", rare values of a column with more than
            `MOST_VALUES` are `OTHER`.
        n_values: distinct values of each attribute before that.
        concepts: concept columns, where they have been labelled.
        spelled: by column name, the label's under its own, the rows of each value as it is spelled.
        missing: rows of each word that stands for a label that is not there; "" where nothing stands.
        label: name of the label column.
    """

    texts: TextColumn
    labels: CodedColumn
    attributes: dict[str, CodedColumn] = field(default_factory=dict)
    n_values: dict[str, int] = field(default_factory=dict)
    concepts: ConceptColumns | None = None
    spelled: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    label: str = "label"


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What one pass over the texts finds.

    Args:
        hashes: (n,) keyed 64-bit hash of each text with white space collapsed.
        characters: (n,) length in characters.
        words: (n,) length in words; 0 marks an empty text.
    """

    hashes: Hashes
    characters: Codes
    words: Codes


def read_columns(table: Any, task: TextClassification, concepts: ConceptColumns | None = None) -> Columns:
    """The columns of a table that the task names.

    Args:
        table: a `pyarrow.Table` or a `datasets.Dataset`; the text columns are not copied.
        task: which columns mean what.
        concepts: concept columns of the same rows.

    Raises:
        DataError: a column that is missing or holds no plain values, no rows, fewer than two labels, or
            nearly as many labels as rows.
        JobError: no text column, or one that is named twice.
    """
    label_names: tuple[str, ...] = ()
    if len(set(task.text)) != len(task.text) or not task.text:
        raise JobError(
            f"found {list(task.text)}", where="text", hint="name one text column or more, each once"
        )
    attributes_there = [name for name in task.attributes if name != LANGUAGE or name in table.column_names]
    for column in (*task.text, task.label, *attributes_there):
        if column not in table.column_names:
            known = ", ".join(table.column_names)
            raise DataError(f"there is no column {column!r}", hint=f"the columns are {known}")
    if not isinstance(table, pa.Table):
        label_names = tuple(getattr(table.features[task.label], "names", ()))
        wanted = list(dict.fromkeys((*task.text, task.label, *attributes_there)))
        table = table.select_columns(wanted).with_format("arrow")[:]
    if not table.num_rows:
        raise DataError("the table has no rows")
    for column in (*task.text, task.label, *attributes_there):
        _check_plain(table.column(column), column)
    # What reading the file left behind in Arrow's pool would otherwise be held until the end.
    pa.default_memory_pool().release_unused()
    labels, counts, missing = encode_labels(table.column(task.label), task, label_names)
    texts = TextColumn((table.select(list(task.text)),))
    attributes, n_values, spelled = {}, {}, {task.label: counts}
    for name in task.attributes:
        column = table.column(name) if name in attributes_there else _find_languages(texts)
        coded, spelled[name] = _unite_numbers(encode_column(column, missing=MISSING))
        n_values[name] = sum(1 for value in coded.values if value != MISSING)
        attributes[name] = limit_values(coded)
    return Columns(
        texts,
        labels,
        attributes,
        n_values,
        concepts,
        spelled,
        missing,
        task.label,
    )


def _find_languages(texts: TextColumn) -> pa.ChunkedArray:
    """The language of each text, as the column of an attribute."""
    all_texts = [text for batch in texts.batches() for text in batch]
    return pa.chunked_array(
        [pa.array(tell_languages(all_texts, find_languages(all_texts)), pa.large_string())]
    )


def read_texts(table: Any, task: TextClassification) -> TextColumn:
    """Only the text columns of a table, for held-out rows.

    Raises:
        DataError: a text column that is missing or holds no plain values.
    """
    for column in task.text:
        if column not in table.column_names:
            raise DataError(f"there is no column {column!r}", where="held_out")
    if not isinstance(table, pa.Table):
        table = table.select_columns(list(task.text)).with_format("arrow")[:]
    for column in task.text:
        _check_plain(table.column(column), column, where="held_out")
    return TextColumn((table.select(list(task.text)),))


def convert_records(records: Records) -> Columns:
    """Records as columns in Arrow.

    Raises:
        DataError: no rows, or fewer than two labels.
    """
    if not len(records):
        raise DataError("there are no rows")
    labels = CodedColumn(records.labels.astype(np.int32), records.label_names)
    _check_labels(labels, "label", {})
    attributes, n_values, spelled = {}, {}, {"label": _count_values(labels)}
    for name, column in records.attributes.items():
        coded = encode_column(pa.chunked_array([pa.array(column, pa.large_string())]), missing=MISSING)
        coded, spelled[name] = _unite_numbers(coded)
        n_values[name] = sum(1 for value in coded.values if value != MISSING)
        attributes[name] = limit_values(coded)
    missing = {"": int((labels.codes < 0).sum())} if (labels.codes < 0).any() else {}
    return Columns(convert_texts(records), labels, attributes, n_values, records.concepts, spelled, missing)


def convert_texts(records: Records) -> TextColumn:
    """The texts of records in Arrow."""
    return TextColumn((pa.table({"text": pa.array(records.texts, pa.large_string())}),))


def encode_labels(
    column: pa.ChunkedArray, task: TextClassification, label_names: tuple[str, ...]
) -> tuple[CodedColumn, dict[str, int], dict[str, int]]:
    """A label column as codes; labels that occur, in the order of their names, or of numbers.

    Args:
        column: strings, whole numbers or truth values; null, NaN and words such as `null` are no label.
        task: the name of the column, and what becomes of words and of spellings that look alike.
        label_names: names of the whole numbers, where the data set has them.

    Returns:
        The labels, the rows of each label as it is spelled, and the rows of each word that says there is none.

    Raises:
        DataError: fewer than two labels, or nearly as many labels as rows.
    """
    if label_names:
        codes = np.maximum(pc.fill_null(column, UNLABELLED).to_numpy().astype(np.int32), UNLABELLED)
        said = CodedColumn(codes, tuple(label_names))
    else:
        said = encode_column(column, missing=None)
    counts = _count_values(said)
    missing = {} if label_names else find_missing(counts, task.keep_labels)
    if n_empty := int((said.codes < 0).sum()):
        missing = {"": n_empty, **missing}
    counts = {text: rows for text, rows in counts.items() if rows and text not in missing}
    spellings = "keep" if task.label_spellings == "ask" else task.label_spellings
    united = {text: text for text in counts} if label_names else unite_labels(counts, spellings, task.label)
    names = order_names(set(united.values()))
    if label_names:
        names = tuple(name for name in label_names if name in counts)
    place = {name: position for position, name in enumerate(names)}
    lookup = [place[united[text]] if text in united else UNLABELLED for text in said.values]
    labels = CodedColumn(np.asarray([*lookup, UNLABELLED], dtype=np.int32)[said.codes], names)
    _check_labels(labels, task.label, missing)
    return labels, counts, missing


def _count_values(coded: CodedColumn) -> dict[str, int]:
    counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.values))
    return {text: int(rows) for text, rows in zip(coded.values, counts, strict=True)}


def _unite_numbers(coded: CodedColumn) -> tuple[CodedColumn, dict[str, int]]:
    """An attribute in which 1, 1.0 and "1" are one value, and the rows of each value as it is spelled."""
    counts = _count_values(coded)
    names = sorted({number_key(text) for text in coded.values})
    if len(names) == len(coded.values):
        return coded, counts
    place = {name: position for position, name in enumerate(names)}
    lookup = [place[number_key(text)] for text in coded.values]
    return CodedColumn(np.asarray([*lookup, -1], dtype=np.int32)[coded.codes], tuple(names)), counts


def encode_column(column: pa.ChunkedArray, missing: str | None) -> CodedColumn:
    """Any column of plain values as codes, values as text in sorted order.

    Args:
        column: null, NaN and "" are missing.
        missing: the value that stands for missing ones, or None to give them the code -1.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    if not column.num_chunks:
        return CodedColumn(np.empty(0, dtype=np.int32), ())
    found = [_spell(value, column.type.value_type) for value in column.chunk(0).dictionary.to_pylist()]
    names = sorted({value for value in found if value})
    if missing is not None and ("" in found or column.null_count):
        names = sorted({*names, missing})
    place = {value: position for position, value in enumerate(names)}
    nothing = place.get(missing, -1) if missing is not None else -1
    lookup = np.asarray([*(place.get(value, nothing) for value in found), nothing], dtype=np.int32)
    codes = [
        lookup[pc.fill_null(chunk.indices.cast(pa.int32()), len(found)).to_numpy(zero_copy_only=False)]
        for chunk in column.chunks
    ]
    return CodedColumn(np.concatenate(codes), tuple(names))


def _spell(value: Any, kind: pa.DataType) -> str:
    if value is not None and pa.types.is_floating(kind) and kind != pa.float64():
        value = float(str(np.float32(value)))  # 0.1 and not 0.10000000149011612
    return spell_value(value)


def limit_values(coded: CodedColumn, most: int = MOST_VALUES) -> CodedColumn:
    """At most `most` values: numbers fall into ten bins of equal size, of names the frequent ones stay."""
    if len(coded.values) <= most:
        return coded
    counts = np.bincount(coded.codes, minlength=len(coded.values))
    numbers = _parse_numbers(coded.values)
    if numbers is not None:
        return _bin_numbers(coded, numbers, counts)
    by_count = np.lexsort((np.arange(len(counts)), -counts))
    kept = sorted(coded.values[position] for position in by_count[: most - 1])
    place = {value: position for position, value in enumerate(kept)}
    lookup = np.asarray([place.get(value, len(kept)) for value in coded.values], dtype=np.int32)
    return CodedColumn(lookup[coded.codes], (*kept, OTHER))


def bin_lengths(lengths: Codes) -> CodedColumn:
    """Lengths in at most ten bins of about equal size, named by their range."""
    edges = np.unique(np.quantile(lengths, np.arange(1, _N_BINS) / _N_BINS, method="higher")).astype(np.int64)
    codes = np.searchsorted(edges, lengths, side="left").astype(np.int32)
    used = np.unique(codes)
    values = []
    for code in used:
        inside = lengths[codes == code]
        low, high = int(inside.min()), int(inside.max())
        values.append(str(low) if low == high else f"{low} to {high}")
    return CodedColumn(np.searchsorted(used, codes).astype(np.int32), tuple(values))


def read_facts(texts: TextColumn) -> TextFacts:
    """Hash and length of every text, in one pass."""
    n = len(texts)
    hashes = np.empty(n, dtype=np.uint64)
    characters, words = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    start = 0
    for batch in texts.batches():
        split = [text.split() for text in batch]
        digests = b"".join(_digest(" ".join(parts)) for parts in split)
        stop = start + len(batch)
        hashes[start:stop] = np.frombuffer(digests, dtype="<u8")
        characters[start:stop] = [len(text) for text in batch]
        words[start:stop] = [len(parts) for parts in split]
        start = stop
    return TextFacts(hashes, characters, words)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(
        text.encode(errors="surrogatepass"), digest_size=8, key=b"counterpoise.lint"
    ).digest()


def _widen(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings with 64-bit offsets, so that long texts can be put together beyond 2 GiB."""
    return column.cast(pa.large_string()) if pa.types.is_string(column.type) else column


def _check_labels(labels: CodedColumn, name: str, missing: Mapping[str, int]) -> None:
    used = np.unique(labels.codes[labels.codes >= 0])
    n_labelled = int((labels.codes >= 0).sum())
    if len(used) < 2:
        found = f"only {labels.values[used[0]]!r}" if len(used) else "no label at all"
        hint = "balance needs at least two labels"
        if words := describe_missing(missing, len(labels.codes)):
            hint += f"; {words}: {hint_missing(missing)}"
        raise DataError(f"column {name!r} has {found}", hint=hint)
    is_unique = len(used) == n_labelled and n_labelled > 2
    if is_unique or (len(used) > 100 and len(used) * 2 > n_labelled):
        raise DataError(
            f"column {name!r} has {len(used):,} values in {n_labelled:,} rows", hint="is it the label column?"
        )


def _check_plain(column: pa.ChunkedArray, name: str, where: str = "") -> None:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        found = f"column {name!r} holds {column.type} values"
        raise DataError(found, where=where, hint="text or numbers are needed")


def _parse_numbers(values: tuple[str, ...]) -> NDArray[np.float64] | None:
    try:
        return np.asarray([float(value) if value else np.nan for value in values])
    except ValueError:
        return None


def _bin_numbers(coded: CodedColumn, numbers: NDArray[np.float64], counts: NDArray[Any]) -> CodedColumn:
    """Ten bins of about equal size over the distinct numbers, so that no row is looked at."""
    is_number = ~np.isnan(numbers)
    order = np.flatnonzero(is_number)[np.argsort(numbers[is_number], kind="stable")]
    before = np.cumsum(counts[order]) - counts[order]
    bins = np.minimum(before * _N_BINS // max(int(counts[order].sum()), 1), _N_BINS - 1)
    lookup = np.empty(len(numbers), dtype=np.int32)
    values = []
    for position, one in enumerate(np.unique(bins)):
        members = order[bins == one]
        lookup[members] = position
        values.append(f"{numbers[members[0]]:.15g} to {numbers[members[-1]]:.15g}")
    if not is_number.all():
        lookup[~is_number] = len(values)
        values.append(MISSING)
    return CodedColumn(lookup[coded.codes], tuple(values))
