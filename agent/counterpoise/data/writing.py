"""Data out: the result as Parquet shards with a data card, rejected proposals, and a hash of content.

`dataset/` holds `train-*.parquet`, `held_out-*.parquet` and `README.md`, whose head tells `load_dataset` what
is what. The user's columns are written as they were read but for the label of a relabelled row; four columns
are added. Original rows keep their order, added rows follow in the order of their ids. Everything streams in
batches, and equal input gives equal bytes.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from counterpoise.core.errors import DataError, RunDirectoryError, StorageError
from counterpoise.core.label_spellings import number_key
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import UNLABELLED, ConceptColumns, Floats, Provenance, Records, State
from counterpoise.core.schema import TextClassification
from counterpoise.data.card import AddedRecord, CardFacts, ConceptValue, RelabelledRecord, render_card
from counterpoise.data.reading import hash_rows, load_table
from counterpoise_retrievers.scraps import drop_scrap, note_scrap, scrap

__all__ = [
    "AddedRecord",
    "CardFacts",
    "ConceptValue",
    "Part",
    "RejectedProposal",
    "RelabelledRecord",
    "check_parts",
    "content_hash",
    "load_rejected",
    "load_result",
    "write_rejected",
    "write_result",
]

BATCH_ROWS = 10_000
ROWS_PER_SHARD = 500_000

_ADDED_FEATURES = {
    "concepts": List(
        {
            "name": Value("string"),
            "state": Value("string"),
            "probability": Value("float64"),
            "scorer": Value("string"),
        }
    ),
    "split_role": Value("string"),
    "weight": Value("float64"),
    "provenance": {
        "id": Value("string"),
        "kind": Value("string"),
        "parents": List(Value("string")),
        "round": Value("int32"),
        "cell": Value("string"),
        "model": Value("string"),
        "prompt": Value("string"),
        "label_before": Value("string"),
        "scores": Value("string"),
    },
}
_REJECTED_FIELDS = ("id", "text", "label", "reason", "cell", "action", "kind", "round", "parents", "model")


@dataclass(frozen=True, slots=True)
class RejectedProposal:
    """A proposal that was not kept, and why."""

    proposal: Proposal
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of the user's: a table and its records, in line."""

    table: Dataset
    records: Records


def write_result(
    folder: Path,
    *,
    task: TextClassification,
    train: Part,
    held_out: Part,
    added: Iterable[AddedRecord] = (),
    relabelled: Mapping[str, RelabelledRecord] | None = None,
    weights: Floats | None = None,
    card: CardFacts,
) -> None:
    """Write the result into a folder, whole or not at all.

    A column that an added record has no value for is null, or, where all original rows share one value, that
    value; an attribute of the pool that the column cannot hold is null. Columns that only the held-out rows have
    are null in the others.

    Args:
        folder: where to; an earlier result there is replaced.
        task: which columns mean what.
        train: the original rows to train on; labels as they were read.
        held_out: the sealed rows.
        added: the records to add, in any order.
        relabelled: id -> new label and provenance.
        weights: (n,) weights of the original rows; by default 1.
        card: what the data card says.

    Raises:
        DataError: a held-out column does not fit the column of that name in the training rows.
        RunDirectoryError: the folder holds other files or may not be written.
        StorageError: the disk is full.
    """
    relabelled = relabelled or {}
    ordered = sorted(added, key=lambda record: record.provenance.id)
    features = _unite_features(train.table, held_out.table)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        note_scrap(partial)
        _clear(folder, partial)
        originals = _convert_part(train, features, task, "train", relabelled, weights)
        constants = _find_constants(train.table, task) if ordered else {}
        additions = _convert_added(ordered, features, task, constants)
        _write_shards(
            partial, "train", _chain(originals, additions), len(train.records) + len(ordered), features
        )
        sealed = _convert_part(held_out, features, task, "held_out", {}, None)
        _write_shards(partial, "held_out", sealed, len(held_out.records), features)
        name = f"counterpoise-{_hash_shards(partial)}"
        text = render_card(card, train.records, held_out.records, ordered, relabelled, name)
        (partial / "README.md").write_text(text, encoding="utf-8", newline="\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise _explain_os_error(error, folder) from error
    finally:
        drop_scrap(partial)


def check_parts(
    train: Dataset, held_out: Dataset, source: str, held_out_source: str, label: str = ""
) -> None:
    """Refuse tables that `write_result` could not write, before anything is paid for.

    Args:
        train: the table of the training rows.
        held_out: the table of the held-out rows.
        source: what errors call the one.
        held_out_source: and the other.
        label: the label column, whose values were read by value, whatever their type.

    Raises:
        DataError: a held-out column that does not fit, or a column that Parquet cannot hold.
    """
    features = _unite_features(train, held_out)
    for name, feature in features.items():
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([(name, _find_type(feature))])).close()
        except pa.ArrowException as error:
            where = source if name in train.column_names else held_out_source
            found = f"Parquet cannot hold it ({error})"
            raise DataError(found, where=f"{where}: column '{name}'", hint="drop this column") from error
    names = [
        name for name in held_out.column_names if name != label and held_out.features[name] != features[name]
    ]
    for batch in held_out.select_columns(names).with_format("arrow").iter(BATCH_ROWS) if names else ():
        for name in names:
            _convert_column(
                batch.column(name), held_out.features[name], features[name], name, held_out_source
            )


def load_result(folder: Path, cache_dir: Path | None = None) -> DatasetDict:
    """A written result, mapped into memory: `train` and, where there are such rows, `held_out`."""
    files = {name: sorted(folder.glob(f"{name}-*.parquet")) for name in ("train", "held_out")}
    filled = [
        name for name, shards in files.items() if sum(pq.read_metadata(shard).num_rows for shard in shards)
    ]
    return DatasetDict({name: load_table(f"{folder}:{name}", cache_dir=cache_dir) for name in filled})


def content_hash(dataset: Dataset | DatasetDict) -> str:
    """A hash of all rows and column types, whatever their order: 64 hex digits."""
    if isinstance(dataset, DatasetDict):
        parts = [f"{name}={content_hash(dataset[name])}" for name in sorted(dataset)]
        return sha256("\n".join(parts).encode()).hexdigest()
    whole = sha256(repr(sorted((name, repr(kind)) for name, kind in dataset.features.items())).encode())
    for row in sorted(hash_rows(dataset)):
        whole.update(row)
    return whole.hexdigest()


def write_rejected(folder: Path, rows: Iterable[RejectedProposal]) -> int:
    """Write rejected proposals in the order of their ids to `rejected-00000-of-00001.parquet`.

    Args:
        folder: where to; made where it is missing.
        rows: the proposals and verdicts.

    Returns:
        How many there were.

    Raises:
        RunDirectoryError: the folder may not be written.
        StorageError: the disk is full.
    """
    ordered = sorted(rows, key=lambda row: row.proposal.id)
    columns = [_describe_rejected(row.proposal, row.verdict) for row in ordered]
    text = pa.string()
    kinds: dict[str, pa.DataType] = {"round": pa.int32(), "parents": pa.list_(text), "tokens": pa.float64()}
    names = (*_REJECTED_FIELDS, "prompt", "attributes", "source_id", "tokens", "scores")
    schema = pa.schema([(name, kinds.get(name, text)) for name in names])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "rejected-00000-of-00001.parquet"
        partial = target.with_name(f".{target.name}.partial")
        with scrap(partial):
            pq.write_table(pa.Table.from_pylist(columns, schema), partial, row_group_size=BATCH_ROWS)
            partial.replace(target)
    except OSError as error:
        raise _explain_os_error(error, folder) from error
    return len(ordered)


def load_rejected(folder: Path) -> Dataset:
    """The rejected proposals of a run, as `write_rejected` wrote them."""
    return Dataset(pq.read_table(folder / "rejected-00000-of-00001.parquet"))  # from_parquet refuses no rows


def _describe_rejected(proposal: Proposal, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "text": proposal.text,
        "label": proposal.label,
        "reason": verdict.reason,
        "cell": str(proposal.item.cell),
        "action": str(proposal.item.action),
        "kind": str(proposal.kind),
        "round": proposal.item.round,
        "parents": list(proposal.parents),
        "model": proposal.model,
        "prompt": proposal.prompt,
        "attributes": json.dumps(dict(sorted(proposal.attributes.items())), ensure_ascii=False),
        "source_id": proposal.source_id,
        "tokens": proposal.tokens,
        "scores": Provenance(id="", scores=verdict.scores).as_struct()["scores"],
    }


def _clear(folder: Path, partial: Path) -> None:
    """Make an empty partial folder; refuse to replace a folder that is not an earlier result."""
    if folder.exists():
        others = [e.name for e in folder.iterdir() if e.suffix != ".parquet" and e.name != "README.md"]
        if others:
            hint = "name another output"
            raise RunDirectoryError(
                f"holds {sorted(others)[0]}, which is not ours", where=str(folder), hint=hint
            )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)


def _explain_os_error(error: OSError, folder: Path) -> RunDirectoryError | StorageError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunDirectoryError("may not be written", where=str(folder), hint="name another output")
    return StorageError(f"cannot be written ({os.strerror(error.errno or errno.EIO)})", where=str(folder))


def _unite_features(train: Dataset, held_out: Dataset) -> Features:
    """The columns of the result: types are those of the training rows, unless these have no value at all."""
    features = {**train.features, **_ADDED_FEATURES}
    for name, feature in held_out.features.items():
        if name not in train.column_names or pa.types.is_null(_find_type(train.features[name])):
            features[name] = feature
    names = dict.fromkeys([*train.column_names, *held_out.column_names, *_ADDED_FEATURES])
    return Features({name: features[name] for name in names})


def _chain(*parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for part in parts:
        yield from part


def _write_shards(
    folder: Path, split: str, tables: Iterator[pa.Table], n_rows: int, features: Features
) -> None:
    """Write tables as shards of `ROWS_PER_SHARD` rows; one, be it empty, at least."""
    n_shards = max(1, -(-n_rows // ROWS_PER_SHARD))
    schema = features.arrow_schema
    left: pa.Table = schema.empty_table()
    for shard in range(n_shards):
        room = ROWS_PER_SHARD
        with pq.ParquetWriter(folder / f"{split}-{shard:05d}-of-{n_shards:05d}.parquet", schema) as writer:
            while room:
                table = left if len(left) else next(tables, None)
                if table is None:
                    break
                writer.write_table(table.slice(0, room))
                left = table.slice(room)
                room -= min(room, len(table))


def _hash_shards(folder: Path) -> str:
    """A hash of names and bytes of a result's shards, 16 hex digits."""
    whole = sha256()
    for shard in sorted(folder.glob("*.parquet")):
        with shard.open("rb") as file:
            whole.update(f"{shard.name} {file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _convert_part(
    part: Part,
    features: Features,
    task: TextClassification,
    role: str,
    relabelled: Mapping[str, RelabelledRecord],
    weights: Floats | None,
) -> Iterator[pa.Table]:
    """The user's rows in batches, with the columns of the result."""
    schema = features.arrow_schema
    blank = Provenance(id="").as_struct()
    start = 0
    for batch in part.table.with_format("arrow").iter(BATCH_ROWS):
        rows = range(start, start + len(batch))
        start = rows.stop
        ids = part.records.ids[rows.start : rows.stop].tolist()
        new = {row: relabelled[record] for row, record in enumerate(ids) if record in relabelled}
        columns = {
            name: _convert_column(batch.column(name), part.table.features[name], features[name], name, role)
            for name in part.table.column_names
            if name != task.label
        }
        columns[task.label], respelled = _convert_labels(
            batch.column(task.label), part, rows, features[task.label], task, new
        )
        columns["concepts"] = _list_concepts(part.records.concepts, rows)
        columns["split_role"] = [role] * len(rows)
        columns["weight"] = [1.0] * len(rows) if weights is None else weights[rows.start : rows.stop]
        columns["provenance"] = [
            new[row].provenance.as_struct()
            if row in new
            else {**blank, "id": record, "label_before": respelled.get(row)}
            for row, record in enumerate(ids)
        ]
        yield _assemble(columns, schema, len(rows))


def _convert_labels(
    column: pa.ChunkedArray,
    part: Part,
    rows: range,
    feature: Any,
    task: TextClassification,
    new: Mapping[int, RelabelledRecord],
) -> tuple[pa.Array, dict[int, str]]:
    """The labels of a batch, one spelling each, and what stood where a spelling was changed."""
    kind = _find_type(feature)
    known = part.records.labels[rows.start : rows.stop]
    names = [part.records.label_names[label] if label != UNLABELLED else None for label in known]
    respelled: dict[int, str] = {}
    if part.table.features[task.label] == feature:
        labels = column.to_pylist()
        if _is_text(kind):
            respelled = {
                row: value
                for row, (value, name) in enumerate(zip(labels, names, strict=True))
                if name is not None and value != name
            }
        for row in respelled:
            labels[row] = names[row]
    else:
        labels = [None if name is None else _to_value(name, feature) for name in names]
    for row, record in new.items():
        labels[row] = _to_value(record.label, feature)
    return pa.array(labels, kind), respelled


def _convert_added(
    added: Sequence[AddedRecord], features: Features, task: TextClassification, constants: Mapping[str, Any]
) -> Iterator[pa.Table]:
    """The added records in batches."""
    schema = features.arrow_schema
    user_columns = [name for name in features if name not in _ADDED_FEATURES]
    for start in range(0, len(added), BATCH_ROWS):
        batch = added[start : start + BATCH_ROWS]
        columns: dict[str, Any] = {
            name: [_find_value(record, name, features[name], task, constants) for record in batch]
            for name in user_columns
        }
        columns["concepts"] = [
            [
                {
                    "name": concept.name,
                    "state": concept.state.name.lower(),
                    "probability": concept.probability,
                    "scorer": concept.scorer,
                }
                for concept in record.concepts
                if concept.state != State.ABSENT
            ]
            for record in batch
        ]
        columns["split_role"] = ["train"] * len(batch)
        columns["weight"] = [record.weight for record in batch]
        columns["provenance"] = [record.provenance.as_struct() for record in batch]
        yield _assemble(columns, schema, len(batch))


def _assemble(columns: Mapping[str, Any], schema: pa.Schema, n_rows: int) -> pa.Table:
    """A table of `schema`; columns that are not given are null."""
    arrays = []
    for item in schema:
        values = columns.get(item.name)
        if values is None:
            arrays.append(pa.nulls(n_rows, item.type))
        elif isinstance(values, pa.ChunkedArray | pa.Array):
            arrays.append(values)
        else:
            arrays.append(pa.array(values, item.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _find_value(
    record: AddedRecord, name: str, feature: Any, task: TextClassification, constants: Mapping[str, Any]
) -> Any:
    """The value of one of the user's columns in an added record."""
    if name == task.label:
        return _to_value(record.label, feature)
    if name in record.columns:
        return record.columns[name]
    if name in task.text:
        # The last column takes the rest, so that no line of the text is lost.
        parts = record.text.split("\n", len(task.text) - 1)
        index = task.text.index(name)
        return parts[index] if index < len(parts) else ""
    if name in record.attributes:
        try:
            return _to_value(record.attributes[name], feature)
        except (pa.ArrowException, ValueError):
            return None  # a pool may hold values that the column of the data cannot
    return constants.get(name)


def _find_constants(table: Dataset, task: TextClassification) -> dict[str, Any]:
    """The columns in which all rows share one value, with that value."""
    wanted = [name for name in table.column_names if name not in (*task.text, task.label)]
    constants: dict[str, Any] = {}
    for number, batch in enumerate(table.with_format("arrow").iter(BATCH_ROWS)):
        if number == 0:
            constants = {name: batch.column(name)[0] for name in wanted if batch.column(name)[0].is_valid}
        for name in list(constants):
            kind = constants[name].type
            same = (
                not pa.types.is_nested(kind)
                and pc.all(pc.fill_null(pc.equal(batch.column(name), constants[name]), False)).as_py()
            )
            if not same:
                del constants[name]
        if not constants:
            break
    return {name: value.as_py() for name, value in constants.items()}


def _convert_column(column: pa.ChunkedArray, feature: Any, target: Any, name: str, role: str) -> Any:
    """A column as another part of the result has it: the classes of two ClassLabels meet by name."""
    if feature == target:
        return column
    kind = _find_type(target)
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    try:
        if isinstance(feature, ClassLabel) or isinstance(target, ClassLabel):
            names = column.to_pylist()
            if isinstance(feature, ClassLabel):
                names = [
                    feature.names[value] if value is not None and value >= 0 else None for value in names
                ]
            return [None if value is None else _to_value(str(value), target) for value in names]
        if _is_text(column.type) and not _is_text(kind):
            # What a CSV file has where a number is missing.
            column = pc.if_else(pc.equal(column, ""), None, column)
            if pa.types.is_integer(kind):
                values = [None if value is None else number_key(value) for value in column.to_pylist()]
                column = pa.chunked_array([pa.array(values, pa.string())])
        return column.cast(kind)
    except (pa.ArrowException, ValueError) as error:
        hint = f"write it as in the training rows: {getattr(target, 'dtype', target)}"
        raise DataError(f"does not fit ({error})", where=f"{role}: column '{name}'", hint=hint) from error


def _to_value(text: str, feature: Any) -> Any:
    """A label or attribute as its column stores it.

    Raises:
        ValueError, pyarrow.ArrowException: the column cannot hold it.
    """
    if text == "":
        return None
    if isinstance(feature, ClassLabel):
        return feature.str2int(text)
    return pa.scalar(text, pa.string()).cast(_find_type(feature)).as_py()


def _find_type(feature: Any) -> pa.DataType:
    return Features({"value": feature}).arrow_schema.field("value").type


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _list_concepts(concepts: ConceptColumns | None, rows: range) -> list[list[dict[str, Any]]]:
    """The concepts of a batch that are present or unknown."""
    listed: list[list[dict[str, Any]]] = [[] for _ in rows]
    if concepts is None:
        return listed
    states = concepts.states[rows.start : rows.stop]
    for row, index in zip(*np.nonzero(states != State.ABSENT), strict=True):
        listed[row].append(
            {
                "name": concepts.names[index],
                "state": State(int(states[row, index])).name.lower(),
                "probability": float(concepts.probabilities[rows.start + row, index]),
                "scorer": concepts.scorer,
            }
        )
    return listed
