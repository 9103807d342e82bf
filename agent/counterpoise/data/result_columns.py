"""The columns of a result: their types, and values as these hold them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Features, List, Value

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import number_key
from counterpoise.core.schema import TextClassification

ADDED_FEATURES = {
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

BATCH_ROWS = 10_000


def unite_features(train: Dataset, held_out: Dataset) -> Features:
    """The columns of the result: types are those of the training rows, unless these have no value at all."""
    features = {**train.features, **ADDED_FEATURES}
    for name, feature in held_out.features.items():
        if name not in train.column_names or pa.types.is_null(find_arrow_type(train.features[name])):
            features[name] = feature
    names = dict.fromkeys([*train.column_names, *held_out.column_names, *ADDED_FEATURES])
    return Features({name: features[name] for name in names})


def find_constants(table: Dataset, task: TextClassification) -> dict[str, Any]:
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


def convert_column(column: pa.ChunkedArray, feature: Any, target: Any, name: str, role: str) -> Any:
    """A column as another part of the result has it: the classes of two ClassLabels meet by name."""
    if feature == target:
        return column
    kind = find_arrow_type(target)
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    try:
        if isinstance(feature, ClassLabel) or isinstance(target, ClassLabel):
            names = column.to_pylist()
            if isinstance(feature, ClassLabel):
                names = [
                    feature.names[value] if value is not None and value >= 0 else None for value in names
                ]
            return [None if value is None else convert_value(str(value), target) for value in names]
        if is_text_type(column.type) and not is_text_type(kind):
            # What a CSV file has where a number is missing.
            column = pc.if_else(pc.equal(column, ""), None, column)
            if pa.types.is_integer(kind):
                values = [None if value is None else number_key(value) for value in column.to_pylist()]
                column = pa.chunked_array([pa.array(values, pa.string())])
        return column.cast(kind)
    except (pa.ArrowException, ValueError) as error:
        hint = f"write it as in the training rows: {getattr(target, 'dtype', target)}"
        raise DataError(f"does not fit ({error})", where=f"{role}: column '{name}'", hint=hint) from error


def convert_value(text: str, feature: Any) -> Any:
    """A label or attribute as its column stores it.

    Raises:
        ValueError, pyarrow.ArrowException: the column cannot hold it.
    """
    if text == "":
        return None
    if isinstance(feature, ClassLabel):
        return feature.str2int(text)
    return pa.scalar(text, pa.string()).cast(find_arrow_type(feature)).as_py()


def find_arrow_type(feature: Any) -> pa.DataType:
    """The Arrow type of a feature."""
    return Features({"value": feature}).arrow_schema.field("value").type


def is_text_type(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
