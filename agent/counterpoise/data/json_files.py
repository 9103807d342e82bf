"""JSON and JSON lines to tables, in the shapes in which programs write them.

A list of objects; an object a line, whatever the file's ending; columns as lists; pandas' `columns`, `index`, `split`
and `table`; the rows under one key of an object, as interfaces of the web give them.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator, MutableSequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterpoise.core.errors import DataError
from counterpoise.data.csv_files import check_utf8
from counterpoise.data.packed_files import open_unpacked
from counterpoise.data.plain_columns import ColumnMaker

BATCH_ROWS = 10_000


def read_json_lines(
    path: Path, where: str, maker: ColumnMaker, notes: MutableSequence[str]
) -> Iterator[pa.Table]:
    """An object a line; a file that is one list after all is read as that.

    Raises:
        DataError: a line is no object; names it.
    """
    check_utf8(path, where)
    with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig", newline="\n") as file:
        first = next((line for line in file if line.strip()), "")
    if first.lstrip().startswith("[") and not _is_json(first):
        yield from read_json(path, where, maker, notes)
        return
    with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig", newline="\n") as file:
        rows = (
            (f"line {number}", _parse_json(line, f"{where}: line {number}"))
            for number, line in enumerate(file, 1)
            if line.strip()
        )
        yield from make_tables(rows, where, maker)


def read_json(path: Path, where: str, maker: ColumnMaker, notes: MutableSequence[str]) -> Iterator[pa.Table]:
    """A JSON file in one of the shapes that the head of this module lists.

    Raises:
        DataError: it is none of them.
    """
    check_utf8(path, where)
    with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig") as file:
        text = file.read()
    try:
        content = json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("{") and "Extra data" in str(error):
            yield from read_json_lines(path, where, maker, notes)
            return
        raise DataError(f"is not JSON ({error})", where=where) from error
    rows = _find_rows(content, maker, where, notes)
    if rows is None:
        hint = "write a list of objects, one a row, or JSON lines"
        raise DataError(f"holds a JSON {type(content).__name__}", where=where, hint=hint)
    yield from make_tables(((f"row {number}", row) for number, row in enumerate(rows, 1)), where, maker)


def make_tables(rows: Iterable[tuple[str, Any]], where: str, maker: ColumnMaker) -> Iterator[pa.Table]:
    """Rows in batches to tables; a key that a row lacks is null.

    Args:
        rows: what errors call a row, and the row.
        where: the source, for errors.
        maker: makes the columns.

    Raises:
        DataError: a row is no object, or a column that plays a part cannot be understood.
    """
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        names: dict[str, None] = {}
        for place, row in batch:
            if not isinstance(row, dict):
                hint = "write objects with a key for every column"
                raise DataError(f"found {row!r:.40}", where=f"{where}: {place}", hint=hint)
            names |= dict.fromkeys(row)
        places = [place for place, _ in batch]
        yield pa.table(
            {
                str(name): maker.make_column(str(name), [row.get(name) for _, row in batch], places)
                for name in names
            }
        )


def _find_rows(content: Any, maker: ColumnMaker, where: str, notes: MutableSequence[str]) -> list[Any] | None:
    """The rows of a document, None where it has none of the known shapes."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict) or not content:
        return None
    if {"columns", "data"} <= set(content) and all(isinstance(row, list) for row in content["data"] or [0]):
        names = [str(name) for name in content["columns"]]
        return [dict(zip(names, row, strict=False)) for row in content["data"]]
    values = list(content.values())
    is_table = all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1
    if is_table and (len(values) > 1 or not all(isinstance(item, dict) for item in values[0])):
        return [dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)]
    if all(isinstance(value, dict) for value in values):
        return _read_frames(content, maker)
    lists = [
        name
        for name, value in content.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    ]
    if len(lists) == 1:
        notes.append(f"{where}: the rows are those under '{lists[0]}'")
        return list(content[lists[0]])
    return None


def _read_frames(content: dict[str, dict[str, Any]], maker: ColumnMaker) -> list[Any]:
    """An object of objects: columns by row, as pandas writes a frame, or rows by index."""
    wanted = maker.roles.names
    inner = dict.fromkeys(name for value in content.values() for name in value)
    if wanted and set(wanted) <= set(content):
        is_columns = True
    elif wanted and set(wanted) <= set(inner):
        is_columns = False
    else:
        is_columns = all(name.isdigit() for name in inner) and not all(name.isdigit() for name in content)
    if is_columns:
        return [{name: column.get(index) for name, column in content.items()} for index in inner]
    return list(content.values())


def _parse_json(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", where=where, hint="write one object a line") from error
    except RecursionError as error:
        raise DataError("is nested too deep", where=where, hint="write plain values") from error


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list) and not isinstance((json.loads(text) or [0])[0], dict)
    except (ValueError, RecursionError):
        return False
