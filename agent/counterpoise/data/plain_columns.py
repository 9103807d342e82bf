"""Columns that a table can hold: names that differ, values of one kind; what is of several kinds is kept as JSON text.

Of a column that plays no part only the spelling matters: texts stay as they are, anything else is written as JSON. A
column that plays a part (text, label, attribute, marks) is refused instead, where its values cannot be understood.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import quote, spell_value

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns play a part; with none named, all do.

    Args:
        text: columns of texts.
        label: label columns.
        spelled: other columns with one value a row: attributes and marks.
        values: columns of numbers, categories or truth values, which stay what they are.
    """

    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.text, *self.label, *self.spelled, *self.values)

    def plays_part(self, name: str) -> bool:
        """Whether a column does."""
        return not self.names or name in self.names


def name_columns(names: Sequence[str], roles: Roles, where: str, notes: MutableSequence[str]) -> list[str]:
    """Names that differ, without blanks around them; nameless columns are called as pandas does.

    Args:
        names: as the header has them.
        roles: columns that play a part; a twin of one of these cannot be told from it.
        where: the file, for errors and notes.
        notes: sentences on what was renamed are added.

    Raises:
        DataError: a column that plays a part stands twice.
    """
    found: list[str] = []
    renamed: list[str] = []
    for place, given in enumerate(names):
        name = given if given in roles.names else given.strip(" \t\u00a0\ufeff\u200b")
        name = name or f"Unnamed: {place}"
        if name in found and roles.plays_part(name):
            twin = f"column '{name}' stands twice in the header"
            raise DataError(twin, where=where, hint="rename one of them")
        number = 0
        free = name
        while free in found:
            number += 1
            free = f"{name}.{number}"
        found.append(free)
        if free != given and given.strip():
            renamed.append(f"{quote(given)} is called {quote(free)}")
    if renamed:
        more = f" and {len(renamed) - _MOST_NAMED} more" if len(renamed) > _MOST_NAMED else ""
        notes.append(f"{where}: the column {', '.join(renamed[:_MOST_NAMED])}{more}")
    return found


class ColumnMaker:
    """Makes columns out of values and tables, and keeps in mind which of them became text, and why.

    Args:
        roles: columns that play a part.
        where: the source, for errors and notes.
    """

    def __init__(self, roles: Roles, where: str) -> None:
        self.roles, self.where = roles, where
        self.reasons: dict[str, str] = {}

    def make_column(self, name: str, values: Sequence[Any], places: Sequence[str]) -> pa.Array:
        """Values of one column, None where a row has none.

        Args:
            name: of the column.
            values: n of them.
            places: what errors call their rows.

        Raises:
            DataError: the column plays a part, and its values cannot be understood.
        """
        try:
            name.encode()
            array = pa.array(values)
        except UnicodeEncodeError:
            self._refuse_half_characters(name, values, places)
            return pa.array([None if value is None else json.dumps(value, default=str) for value in values])
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            return self._spell(name, values, error)
        except RecursionError as error:
            raise DataError("is nested too deep", where=f"{self.where}: column '{name}'") from error
        return array if _is_plain(array.type) else self.convert(name, array)

    def make_table(self, table: pa.Table) -> pa.Table:
        """A table whose columns can be held: categories become what they stand for, rare types text."""
        for index, field in enumerate(table.schema):
            column = table.column(index)
            if pa.types.is_dictionary(field.type):
                column = column.cast(field.type.value_type)
            elif field.type == pa.string_view():
                column = column.cast(pa.large_string())
            elif field.name in self.roles.names and _is_binary(field.type):
                column = self._decode(field.name, column)
            if not _is_plain(column.type):
                column = self.convert(field.name, column)
            if column.type != field.type:
                table = table.set_column(index, pa.field(field.name, column.type), column)
        return table

    def unite(self, one: pa.Schema, other: pa.Schema) -> pa.Schema:
        """A schema that holds both; a column whose types do not go together becomes text.

        Raises:
            DataError: it is a column that plays a part.
        """
        fields = {field.name: field for field in one}
        for field in other:
            before = fields.get(field.name)
            fields[field.name] = field if before is None else self._unite(before, field)
        return pa.schema(list(fields.values()), one.metadata or other.metadata)

    def cast(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """A table as the schema has it."""
        columns = []
        for field in schema:
            if field.name not in table.column_names:
                columns.append(pa.nulls(len(table), field.type))
                continue
            column = table.column(field.name)
            if column.type != field.type:
                if pa.types.is_string(field.type) and not pa.types.is_null(column.type):
                    column = pa.array([_spell_json(value) for value in column.to_pylist()], pa.string())
                else:
                    part = pa.table({field.name: column})
                    empty = pa.schema([field]).empty_table()
                    column = pa.concat_tables([empty, part], promote_options="permissive").column(0)
            columns.append(column)
        return pa.table(columns, schema=schema)

    def list_notes(self) -> list[str]:
        """A sentence on the columns that are kept as text."""
        if not self.reasons:
            return []
        shown = [f"'{name}' ({reason})" for name, reason in list(self.reasons.items())[:_MOST_NAMED]]
        more = f" and {len(self.reasons) - _MOST_NAMED} more" if len(self.reasons) > _MOST_NAMED else ""
        return [f"{self.where}: columns that play no part are kept as JSON text: {', '.join(shown)}{more}"]

    def _unite(self, one: pa.Field, other: pa.Field) -> pa.Field:
        try:
            return pa.unify_schemas(
                [pa.schema([one]), pa.schema([other])], promote_options="permissive"
            ).field(0)
        except pa.ArrowException as error:
            found = f"holds {one.type} in some rows and {other.type} in others"
            self._note(one.name, found, error, is_nested=_is_nested(one.type) or _is_nested(other.type))
            return pa.field(one.name, pa.string())

    def _spell(self, name: str, values: Sequence[Any], error: Exception) -> pa.Array:
        kinds = {type(value) for value in values if value is not None}
        is_nested = bool(kinds & {list, dict, tuple, set, bytes, np.ndarray})
        listed = sorted(kind.__name__ for kind in kinds)
        reason = f"holds values of several kinds ({error})" if len(kinds) > 1 else f"cannot be held ({error})"
        self._note(name, reason, error, is_nested=is_nested, short=" and ".join(listed[:4]))
        spell = spell_value if name in self.roles.names else _spell_json
        return pa.array([None if value is None else spell(value) for value in values], pa.string())

    def _note(self, name: str, reason: str, error: Exception, *, is_nested: bool, short: str = "") -> None:
        """Keep in mind that a column becomes text, or refuse it where it plays a part."""
        is_value = name in (*self.roles.label, *self.roles.spelled) and not is_nested
        if is_value:
            return
        if self.roles.plays_part(name):
            hint = "write all its values in one way, as text or as numbers"
            raise DataError(reason, where=f"{self.where}: column '{name}'", hint=hint) from error
        self.reasons.setdefault(name, short or reason)

    def convert(self, name: str, column: Any) -> Any:
        """A column of a type that cannot be held, as text.

        Raises:
            DataError: it plays a part.
        """
        if self.roles.names and self.roles.plays_part(name):
            hint = "name a column with one value a row"
            raise DataError(
                f"holds {_name_type(column.type)} values", where=f"{self.where}: column '{name}'", hint=hint
            )
        self.reasons.setdefault(name, _name_type(column.type))
        return pa.array(
            [None if value is None else _spell_json(value) for value in column.to_pylist()], pa.string()
        )

    def _decode(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Bytes that are UTF-8, as some programs write text in Parquet."""
        try:
            return column.cast(pa.large_string())
        except pa.ArrowException as error:
            found = f"holds {column.type} values that are no UTF-8"
            hint = "name a column of texts"
            raise DataError(found, where=f"{self.where}: column '{name}'", hint=hint) from error

    def _refuse_half_characters(self, name: str, values: Sequence[Any], places: Iterable[str]) -> None:
        """Refuse a lone surrogate in a column that plays a part, or in a name."""
        if not self.roles.plays_part(name) and _is_unicode(name):
            self.reasons.setdefault(name, "half a character, a lone surrogate")
            return
        pairs = zip(places, values, strict=True)
        place = next((place for place, value in pairs if not _is_unicode(value)), "its name")
        found = f"half a character in {place} (a lone surrogate: a text cut within an emoji?)"
        raise DataError(found, where=f"{self.where}: column '{name}'", hint="drop or replace it")


def _spell_json(value: Any) -> str | None:
    """A text as it is, anything else as JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal | np.generic):
        return str(value)
    if isinstance(value, tuple | set | frozenset | np.ndarray):
        value = list(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_type(kind: pa.DataType) -> str:
    """`map`, `struct`, `month_day_nano_interval`: a type without what is inside it."""
    return str(kind).split("<")[0].removeprefix("extension") or "extension"


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind)) or _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


@cache
def _is_plain(kind: pa.DataType) -> bool:
    """Whether `datasets` and Parquet can both hold a type."""
    from datasets import Features

    if isinstance(kind, pa.BaseExtensionType):
        return False
    try:
        Features.from_arrow_schema(pa.schema([("value", kind)]))
    except (pa.ArrowException, ValueError, NotImplementedError, TypeError, KeyError):
        return False
    return is_writable(kind) and not any(
        pa.types.is_map(one) or pa.types.is_dictionary(one) for one in _list_types(kind)
    )


@cache
def is_writable(kind: pa.DataType) -> bool:
    """Whether Parquet can hold a type."""
    try:
        pq.ParquetWriter(io.BytesIO(), pa.schema([("value", kind)])).close()
    except (pa.ArrowException, NotImplementedError):
        return False
    return True


def _list_types(kind: pa.DataType) -> list[pa.DataType]:
    inner: Collection[pa.DataType] = [kind.field(place).type for place in range(kind.num_fields)]
    return [kind, *(one for part in inner for one in _list_types(part))]
