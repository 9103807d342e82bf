"""Read a table of numbers and categories; values stay what they are."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import spell_value
from counterpoise.core.records import Objects, Records
from counterpoise.core.schema import Value
from counterpoise.data.column_values import BATCH_ROWS, convert_values
from counterpoise.data.label_columns import read_label_codes
from counterpoise.data.reading import check_columns, make_ids, read_attributes, render_rows
from counterpoise.data.sources import load_table, name_source
from counterpoise.tasks.tables.job import TableJob
from counterpoise.tasks.tables.schema import TabularClassification

if TYPE_CHECKING:
    from datasets import Dataset


def read_table(job: TableJob, notes: MutableSequence[str] | None = None) -> Records:
    """The rows of a job's table.

    Args:
        job: names the table and its columns.
        notes: sentences on what was passed over, renamed or kept as text are added.

    Raises:
        DataError: a file or column that cannot be used as the job says.
        ServiceError: the hub cannot be reached.
    """
    schema = job.as_task()
    table = load_table(job.data, task=schema, notes=notes)
    return read_rows(table, schema.name_features(table.column_names), source=name_source(job.data))


def read_rows(table: Dataset, schema: TabularClassification, *, source: str = "data") -> Records:
    """The rows of a table as records, in the table's order.

    Content has a number, a text or a truth value for each feature, None where it is missing; the text of a row is what
    the schema renders of it.

    Args:
        table: the table.
        schema: which columns mean what, its features named.
        source: what errors call the table.

    Returns:
        n records.

    Raises:
        DataError: a column is missing, reserved or holds lists, or there is none but the label; a label is missing;
            there is one label only, or nearly as many as rows.
    """
    check_columns(table, schema, source)
    if not schema.features:
        hint = "name a table that says something of its rows beside their label"
        raise DataError("has no column but the label", where=source, hint=hint)
    labels, label_names = read_label_codes(table, schema, None, source)
    columns = _read_content(table, schema.features, source)
    return Records(
        ids=make_ids(table),
        texts=render_rows(schema, columns),
        labels=labels,
        label_names=label_names,
        attributes=read_attributes(table, schema, source),
        columns=columns,
    )


def _read_content(table: Dataset, names: Sequence[str], source: str) -> dict[str, Objects]:
    """The values of the features; all columns are read at once, for there may be thousands."""
    columns = {name: np.empty(len(table), dtype=object) for name in names}
    features = table.features
    start = 0
    for batch in table.select_columns(list(names)).with_format("arrow").iter(BATCH_ROWS):
        for name, values in columns.items():
            found = convert_values(batch.column(name), features[name], f"{source}: column '{name}'")
            values[start : start + len(batch)] = [_keep_value(value) for value in found]
        start += len(batch)
    return columns


def _keep_value(value: Any) -> Value:
    """A number, a truth value or a text as it is; None where nothing stands; days and the like as text."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, str | int | float) else spell_value(value)
