"""Delimited files to tables: text first, then the columns that hold nothing but numbers become numbers."""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterator, MutableSequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from counterpoise.core.errors import DataError
from counterpoise.data.csv_layout import CsvLayout, find_layout
from counterpoise.data.packed_files import open_unpacked
from counterpoise.data.plain_columns import Roles
from counterpoise.data.spools import Spool, read_spooled

_MISSING = ["", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "<NA>", "None"]
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?$"
_COMMA_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(,[0-9]{1,17})?$"
_BLOCK_BYTES = 1 << 24
_WIDE_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# A type a column may become: its pattern, and whether a comma stands for the point.
_WHOLE, _POINT, _COMMA = "whole", "point", "comma"
_PATTERNS = {_WHOLE: _WHOLE_NUMBER, _POINT: _NUMBER, _COMMA: _COMMA_NUMBER}


def is_wide(path: Path) -> bool:
    """Whether a file begins with the mark of UTF-16, as Excel's "Unicode text" does."""
    with open_unpacked(path) as file:
        return file.read(2) in _WIDE_MARKS


def narrow(path: Path, target: Path, where: str) -> Path:
    """Write a UTF-16 file as UTF-8.

    Raises:
        DataError: it is cut short or damaged.
    """
    decoder = codecs.getincrementaldecoder("utf-16")()
    with open_unpacked(path) as source, target.open("wb") as file:
        while True:
            block = source.read(1 << 20)
            try:
                file.write(decoder.decode(block, final=not block).encode())
            except UnicodeError as error:
                raise DataError(
                    f"is broken as UTF-16 ({error})", where=where, hint="save it as UTF-8"
                ) from error
            if not block:
                return target


def widen(path: Path, target: Path, like: Path) -> Path:
    """Write a UTF-8 file as the UTF-16 that another file is in."""
    with open_unpacked(like) as file:
        mark = file.read(2)
    encoding = "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-16-le"
    encoder = codecs.getincrementalencoder(encoding)()
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as source, target.open("wb") as file:
        file.write(mark)
        while block := source.read(1 << 20):
            file.write(encoder.encode(decoder.decode(block)))
    return target


def _open_batches(
    file: IO[bytes], layout: CsvLayout, *, use_threads: bool = True
) -> pacsv.CSVStreamingReader:
    """The rows of a file that stands at its first one, block by block, all columns as text."""
    names = layout.names
    return pacsv.open_csv(
        file,
        read_options=pacsv.ReadOptions(
            block_size=_BLOCK_BYTES, column_names=list(names), use_threads=use_threads
        ),
        parse_options=pacsv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )


def _find_broken_row(path: Path, layout: CsvLayout, said: str) -> str:
    """What Arrow says of a broken file, with the number of the row, which it knows on a single thread only."""
    try:
        with open_unpacked(path) as file:
            _skip(file, layout.start)
            for _ in _open_batches(file, layout, use_threads=False):
                pass
    except pa.ArrowInvalid as error:
        return str(error)
    return said


def read_layout(path: Path, where: str, roles: Roles = Roles()) -> CsvLayout:  # noqa: B008  (it is frozen)
    """The layout of a delimited file in UTF-8; DataError as in `find_layout`."""
    return find_layout(path, where, roles, open_unpacked)


def read_csv(
    path: Path, where: str, spool: Spool, roles: Roles, notes: MutableSequence[str]
) -> Iterator[pa.Table]:
    """Spool a delimited file as text, then turn the columns that hold nothing but numbers into numbers.

    Args:
        path: the file.
        where: how the user calls it.
        spool: where it is put.
        roles: its columns of text stay text whatever they hold, labels and attributes are kept as spelled, whole
            numbers excepted.
        notes: sentences on what was passed over are added.

    Raises:
        DataError: it is empty, broken or wrongly encoded; names the line.
    """
    if is_wide(path):
        path = narrow(path, spool.new_file(".csv"), where)
    check_utf8(path, where)
    layout = read_layout(path, where, roles)
    notes.extend(layout.notes)
    names = layout.names
    columns = _NumberColumns(names, roles, has_commas=layout.delimiter in ";\t")
    n_silent = 0

    def drop_silent(table: pa.Table) -> pa.Table:
        nonlocal n_silent
        kept = _drop_silent(table, layout)
        n_silent += len(table) - len(kept)
        return kept

    try:
        with open_unpacked(path) as file:
            _skip(file, layout.start)
            batches = _open_batches(file, layout)
            tables = (pa.Table.from_batches([batch]) for batch in batches)
            files, _ = spool.write(columns.watch(drop_silent(table)) for table in tables)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        found = " ".join(_find_broken_row(path, layout, str(error)).split())[:160]
        raise DataError(f"is broken as CSV ({found})", where=where, hint="check the quotes there") from error
    if n_silent:
        one = f"{where}: 1 row that holds delimiters only, or the header again, is passed over"
        many = f"{where}: {n_silent:,} rows that hold delimiters only, or the header again, are passed over"
        notes.append(one if n_silent == 1 else many)
    dropped = columns.list_nameless(layout)
    if dropped:
        listed = "1 column" if len(dropped) == 1 else f"{len(dropped)} columns"
        notes.append(f"{where}: {listed} without a name and without values left out")
    for spooled in files:
        for table in read_spooled(spooled):
            yield columns.convert(table.drop_columns(dropped) if dropped else table)
        spooled.unlink()


def check_utf8(path: Path, where: str) -> None:
    """Read a text file through and refuse bytes that are not UTF-8, naming the first one's line.

    Raises:
        DataError: there are such, or zero bytes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with open_unpacked(path) as file:
        while True:
            block = file.read(1 << 20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                byte = error.object[error.start]
                raise DataError(
                    f"is not UTF-8: byte 0x{byte:02x} in line {line}",
                    where=where,
                    hint="save it as UTF-8 (it may be Latin-1, Windows-1252 or UTF-16); in Excel: CSV UTF-8",
                ) from error
            if not block:
                return
            if b"\0" in block:
                line += block[: block.index(b"\0")].count(b"\n")
                hint = "save it as UTF-8 text (it may be UTF-16 or a binary file)"
                raise DataError(f"holds a zero byte in line {line}", where=where, hint=hint)
            line += block.count(b"\n")


class _NumberColumns:
    """Which columns hold nothing but numbers, noted while the batches pass."""

    def __init__(self, names: tuple[str, ...], roles: Roles, *, has_commas: bool) -> None:
        kinds = (_WHOLE, _POINT, _COMMA) if has_commas else (_WHOLE, _POINT)
        # False stands for a kind that no value has shown yet.
        self._kinds = {name: dict.fromkeys(kinds, False) for name in names if name not in roles.text}
        self._roles = roles
        self._filled: set[str] = set()
        self._names = names

    def watch(self, table: pa.Table) -> pa.Table:
        """Strike out the kinds that a value does not fit."""
        missing = pa.array(_MISSING)
        for name in self._names:
            if name not in self._filled and pc.any(pc.not_equal(table.column(name), "")).as_py():
                self._filled.add(name)
        for name in list(self._kinds):
            values = table.column(name)
            # A word under a label may be a label: only an empty field is passed over there.
            words = pa.array([""]) if name in self._roles.label else missing
            values = values.filter(pc.invert(pc.is_in(values, value_set=words)))
            kinds = self._kinds[name]
            for kind in list(kinds) if len(values) else ():
                if pc.all(pc.match_substring_regex(values, _PATTERNS[kind])).as_py():
                    kinds[kind] = True
                else:
                    del kinds[kind]
            if name in (*self._roles.spelled, *self._roles.label):
                kinds.pop(_POINT, None)
                kinds.pop(_COMMA, None)
            if not kinds:
                del self._kinds[name]
        return table

    def list_nameless(self, layout: CsvLayout) -> list[str]:
        """Columns whose name and values are all empty."""
        pairs = zip(layout.header, layout.names, strict=True)
        return [
            name
            for given, name in pairs
            if not given.strip() and name not in self._filled and name not in self._roles.names
        ]

    def convert(self, table: pa.Table) -> pa.Table:
        """A batch with its numbers."""
        missing = pa.array(_MISSING)
        for name, kinds in self._kinds.items():
            kind = next((one for one in kinds if kinds[one]), "")
            if not kind or name not in table.column_names:
                continue
            values = table.column(name)
            values = pc.if_else(pc.is_in(values, value_set=missing), pa.scalar(None, pa.string()), values)
            if kind == _COMMA:
                values = pc.replace_substring(values, ",", ".")
            cast_to = pa.int64() if kind == _WHOLE else pa.float64()
            table = table.set_column(table.schema.get_field_index(name), name, values.cast(cast_to))
        return table


def _drop_silent(table: pa.Table, layout: CsvLayout) -> pa.Table:
    """The rows that say something: neither delimiters alone nor the header once more."""
    if len(layout.header) < 2 or not len(table):
        return table
    empty = repeated = None
    for name, given in zip(layout.names, layout.header, strict=True):
        column = table.column(name)
        is_empty, is_header = pc.equal(column, ""), pc.equal(column, given)
        empty = is_empty if empty is None else pc.and_(empty, is_empty)
        repeated = is_header if repeated is None else pc.and_(repeated, is_header)
        if not pc.any(empty).as_py() and not pc.any(repeated).as_py():
            return table
    return table.filter(pc.invert(pc.or_(empty, repeated)))


def _skip(file: IO[bytes], n_bytes: int) -> None:
    left = n_bytes
    while left:
        left -= len(file.read(min(left, 1 << 20)))


def copy_bytes(path: Path, target: Path) -> None:
    """Copy a file, decompressed."""
    with open_unpacked(path) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
