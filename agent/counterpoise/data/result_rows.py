"""The rows of a result as Arrow tables, in batches: the user's own, and the added ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features

from counterpoise.core.plans import Kind
from counterpoise.core.records import UNLABELLED, ConceptColumns, Floats, Provenance, Records, State
from counterpoise.core.schema import TextClassification, divide_text
from counterpoise.data.card import AddedRecord, RelabelledRecord
from counterpoise.data.result_columns import (
    ADDED_FEATURES,
    BATCH_ROWS,
    convert_column,
    convert_value,
    find_arrow_type,
    is_text_type,
)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of the user's: a table and its records, in line."""

    table: Dataset
    records: Records


def convert_part(
    part: Part,
    features: Features,
    task: TextClassification,
    role: str,
    relabelled: Mapping[str, RelabelledRecord],
    weights: Floats | None,
    answered: Collection[str] = (),
) -> Iterator[pa.Table]:
    """The user's rows in batches, with the columns of the result."""
    schema = features.arrow_schema
    blank = Provenance(id="").as_struct()
    by_hand = Provenance(id="", kind=Kind.ANSWERED).as_struct()
    start = 0
    for batch in part.table.with_format("arrow").iter(BATCH_ROWS):
        rows = range(start, start + len(batch))
        start = rows.stop
        ids = part.records.ids[rows.start : rows.stop].tolist()
        new = {row: relabelled[record] for row, record in enumerate(ids) if record in relabelled}
        columns = {
            name: convert_column(batch.column(name), part.table.features[name], features[name], name, role)
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
            else {
                **(by_hand if record in answered else blank),
                "id": record,
                "label_before": respelled.get(row),
            }
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
    kind = find_arrow_type(feature)
    known = part.records.labels[rows.start : rows.stop]
    names = [part.records.label_names[label] if label != UNLABELLED else None for label in known]
    respelled: dict[int, str] = {}
    if part.table.features[task.label] == feature:
        labels = column.to_pylist()
        if is_text_type(kind):
            respelled = {
                row: value
                for row, (value, name) in enumerate(zip(labels, names, strict=True))
                if name is not None and value != name
            }
        for row in respelled:
            labels[row] = names[row]
    else:
        labels = [None if name is None else convert_value(name, feature) for name in names]
    for row, record in new.items():
        labels[row] = convert_value(record.label, feature)
    return pa.array(labels, kind), respelled


def convert_added(
    added: Sequence[AddedRecord], features: Features, task: TextClassification, constants: Mapping[str, Any]
) -> Iterator[pa.Table]:
    """The added records in batches."""
    schema = features.arrow_schema
    user_columns = [name for name in features if name not in ADDED_FEATURES]
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
        return convert_value(record.label, feature)
    if name in record.columns:
        return record.columns[name]
    if name in task.text:
        return divide_text(record.text, task.text)[name]
    if name in record.attributes:
        try:
            return convert_value(record.attributes[name], feature)
        except (pa.ArrowException, ValueError):
            return None  # a pool may hold values that the column of the data cannot
    return constants.get(name)


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
