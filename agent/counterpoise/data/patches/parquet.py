"""A Parquet file with other labels: copied group by group, with its schema, metadata and compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.core.label_spellings import match_label
from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.labels import refuse_label
from counterpoise.data.patches.values import LabelChange, LabelOutcome
from counterpoise.data.plain_columns import name_columns
from counterpoise.data.sources import find_roles


def write_changed_parquet(
    source: Path,
    output: Path,
    rows: Mapping[int, LabelChange],
    labels: Sequence[str],
    task: TextClassification,
    where: str,
) -> None:
    """Copy a Parquet file group by group, with its schema, metadata and compression."""
    from datasets import Features

    first_rows: dict[str, int] = {}
    for row, label in enumerate(labels):
        first_rows.setdefault(label, row)
    with pq.ParquetFile(source) as file:
        names_read = name_columns(file.schema_arrow.names, find_roles(task), where, [])
        place = names_read.index(task.label)
        column = file.schema_arrow.names[place]
        spelled = _read_values(file, column, {first_rows[label] for label in first_rows})
        values = {label: spelled[row] for label, row in first_rows.items()}
        field = file.schema_arrow.field(place)
        names = getattr(
            Features.from_arrow_schema(pa.schema([field], file.schema_arrow.metadata))[column], "names", None
        )
        for change in rows.values():
            if change.outcome is LabelOutcome.RELABEL and change.after not in values:
                known = match_label(change.after, values)
                values[change.after] = (
                    values[known]
                    if known is not None
                    else _make_value(change.after, field.type, names, f"{where}: column '{column}'")
                )
        codec = "none"
        if file.num_row_groups and file.metadata.num_columns:
            codec = (
                str(file.metadata.row_group(0).column(0).compression).lower().replace("uncompressed", "none")
            )
        start = 0
        with pq.ParquetWriter(output, file.schema_arrow, compression=codec) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                mine = {
                    row - start: change for row, change in rows.items() if start <= row < start + len(table)
                }
                start += len(table)
                if mine:
                    table = _change_table(table, place, mine, values)
                writer.write_table(table, row_group_size=max(1, len(table)))


def _make_value(label: str, kind: pa.DataType, names: Sequence[str] | None, where: str) -> Any:
    """A label that the file does not have yet, as a value of its column."""
    if names is not None:
        if label not in names:
            raise refuse_label(label, f"one of {', '.join(names)}", where)
        return list(names).index(label)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        return pa.scalar(label).cast(plain).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise refuse_label(label, f"of the type {plain}", where) from error


def _read_values(file: pq.ParquetFile, column: str, wanted: set[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    start = 0
    for group in range(file.num_row_groups):
        values = file.read_row_group(group, columns=[column]).column(0)
        for row in wanted:
            if start <= row < start + len(values):
                found[row] = values[row - start].as_py()
        start += len(values)
    return found


def _change_table(
    table: pa.Table, place: int, rows: Mapping[int, LabelChange], values: Mapping[str, Any]
) -> pa.Table:
    spelled = table.column(place).to_pylist()
    kept = np.ones(len(table), dtype=np.bool_)
    for row, change in rows.items():
        if change.outcome is LabelOutcome.DROP:
            kept[row] = False
        else:
            spelled[row] = values[change.after]
    changed = table.set_column(
        place, table.schema.field(place), pa.array(spelled, table.schema.field(place).type)
    )
    return changed.filter(pa.array(kept))
