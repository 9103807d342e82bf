"""Data files to memory-mapped tables: CSV, TSV, JSON lines, JSON, Parquet, and gzip of these.

A file is read once in batches and spooled as Arrow into a temporary folder (never beside the user's files),
from where it is mapped into memory; so a table may be larger than memory. Values stay what the user wrote: a
CSV column becomes numbers only where no spelling is lost (`007` and, in a label, `1.0` stay text).
"""

from __future__ import annotations

import atexit
import codecs
import csv
import gzip
import io
import itertools
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from datasets import Dataset

from counterpoise.errors import DataError, StorageError

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""File suffixes (a further `.gz` may follow) and their formats."""

BATCH_ROWS = 10_000

_MISSING = ["", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "<NA>", "None"]
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?$"
_CSV_BLOCK_BYTES = 1 << 24


def find_format(path: Path) -> str:
    """The format of a file by its suffix, "" where it is none of `FORMATS`."""
    suffixes = path.suffixes[:-1] if path.suffix.lower() == ".gz" else path.suffixes
    return FORMATS.get(suffixes[-1].lower(), "") if suffixes else ""


def read_files(
    paths: Sequence[Path],
    where: str,
    *,
    text_columns: Sequence[str] = (),
    spelled_columns: Sequence[str] = (),
    cache_dir: Path | None = None,
) -> Dataset:
    """Read files of one format as one memory-mapped table, in the given order.

    Args:
        paths: the files; more than one only of Parquet.
        where: how the user calls them, for errors.
        text_columns: CSV columns that stay text whatever they hold.
        spelled_columns: CSV columns whose values are kept as spelled, whole numbers excepted.
        cache_dir: the folder below which the spool lies until the process ends; by default the system's.

    Raises:
        DataError: an empty, broken or wrongly encoded file; names the line.
        StorageError: the disk of the spool is full.
    """
    try:
        spool = _Spool(cache_dir, where)
        kind = find_format(paths[0])
        if kind == "csv":
            return spool.read(_read_csv(paths[0], where, spool, text_columns, spelled_columns))
        if kind == "jsonl":
            return spool.read(_read_json_lines(paths[0], where))
        if kind == "json":
            return spool.read(_read_json(paths[0], where))
        return spool.read(itertools.chain.from_iterable(_read_parquet(path, where, spool) for path in paths))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"is broken as gzip ({error})", where=where, hint="compress it again") from error
    except PermissionError as error:
        raise DataError("may not be read", where=where, hint="check its permissions") from error
    except OSError as error:
        raise StorageError(f"cannot be read or copied ({error})", where=where) from error


def read_rows(rows: Iterable[dict[str, Any]], where: str) -> Dataset:
    """Turn dictionaries, one a row, into a memory-mapped table.

    Raises:
        DataError: a column holds values of kinds that do not go together.
    """
    return _Spool(None, where).read(_to_tables(((f"row {n}", row) for n, row in enumerate(rows, 1)), where))


class _Spool:
    """Writes tables to Arrow files that live until the process ends."""

    def __init__(self, base: Path | None, where: str) -> None:
        self._folder = _spool_folder(base)
        self._where = where

    def new_file(self, suffix: str) -> Path:
        """Path of an empty file of this process."""
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=suffix, delete=False) as file:
            return Path(file.name)

    def write(self, tables: Iterable[pa.Table]) -> tuple[list[Path], pa.Schema | None]:
        """Write tables to as many files as their schemas change; also the schema that holds them all."""
        files: list[Path] = []
        schema: pa.Schema | None = None
        united: pa.Schema | None = None
        writer: pa.ipc.RecordBatchStreamWriter | None = None
        try:
            for table in map(_simplify, tables):
                if not len(table):
                    continue
                if writer is None or not table.schema.equals(schema):
                    if writer is not None:
                        writer.close()
                    schema = table.schema
                    united = schema if united is None else self._unite(united, schema)
                    files.append(self.new_file(".arrow"))
                    writer = pa.ipc.new_stream(str(files[-1]), schema)
                writer.write_table(table.combine_chunks())
        finally:
            if writer is not None:
                writer.close()
        return files, united

    def read(self, tables: Iterable[pa.Table]) -> Dataset:
        """Write tables and map them into memory as one."""
        files, schema = self.write(tables)
        if schema is None:
            raise DataError("holds no rows", where=self._where, hint="name a file that holds rows")
        if len(files) > 1:
            parts = (table for file in files for table in read_spooled(file))
            empty = schema.empty_table()
            whole = (pa.concat_tables([empty, part], promote_options="permissive") for part in parts)
            merged, _ = self.write(table.replace_schema_metadata(schema.metadata) for table in whole)
            for file in files:
                file.unlink()
            files = merged
        try:
            return Dataset.from_file(str(files[0]))
        except (ValueError, NotImplementedError, pa.ArrowException) as error:
            raise DataError(f"holds a column that cannot be read ({error})", where=self._where) from error

    def _unite(self, one: pa.Schema, other: pa.Schema) -> pa.Schema:
        try:
            return pa.unify_schemas([one, other], promote_options="permissive")
        except pa.ArrowException as error:
            name = next(
                (
                    field.name
                    for field in other
                    if field.name in one.names and not _can_unite(one.field(field.name), field)
                ),
                "",
            )
            found = f"holds {one.field(name).type} in some rows and {other.field(name).type} in others"
            hint = "write all its values in one way"
            raise DataError(found, where=f"{self._where}: column '{name}'", hint=hint) from error


def read_spooled(file: Path) -> Iterator[pa.Table]:
    """The batches of a spooled file, mapped and not copied."""
    with pa.memory_map(str(file)) as mapped:
        for batch in pa.ipc.open_stream(mapped):
            yield pa.Table.from_batches([batch])


def _can_unite(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


@cache
def _spool_folder(base: Path | None) -> Path:
    """One temporary folder a process and base, removed when the process ends."""
    if base is not None:
        base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="counterpoise-tables-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _simplify(table: pa.Table) -> pa.Table:
    """Turn categories and string views into what they stand for; `datasets` knows neither."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(index).cast(field.type.value_type)
        elif field.type == pa.string_view():
            plain = table.column(index).cast(pa.large_string())
        else:
            continue
        table = table.set_column(index, pa.field(field.name, plain.type), plain)
    return table


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, decompressed where it is gzip whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")


def _check_utf8(path: Path, where: str) -> None:
    """Read a text file through and refuse bytes that are not UTF-8, naming the first one's line."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with open_bytes(path) as file:
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
                    hint="save it as UTF-8 (it may be Latin-1, Windows-1252 or UTF-16)",
                ) from error
            if not block:
                return
            if b"\0" in block:
                line += block[: block.index(b"\0")].count(b"\n")
                hint = "save it as UTF-8 text (it may be UTF-16 or a binary file)"
                raise DataError(f"holds a zero byte in line {line}", where=where, hint=hint)
            line += block.count(b"\n")


def _read_csv(
    path: Path, where: str, spool: _Spool, text_columns: Sequence[str], spelled_columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Spool a CSV file as text, then turn the columns that hold nothing but numbers into numbers."""
    _check_utf8(path, where)
    header, delimiter = read_header(path, where)
    options = {
        "read_options": pacsv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        "parse_options": pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    }
    types = {name: {pa.int64(): False, pa.float64(): False} for name in header if name not in text_columns}
    patterns = {pa.int64(): _WHOLE_NUMBER, pa.float64(): _NUMBER}

    def note_numbers(table: pa.Table) -> pa.Table:
        """Strike out the types that a value does not fit; True stands for a type that some value fits."""
        missing = pa.array(_MISSING)
        for name in list(types):
            values = table.column(name)
            values = values.filter(pc.invert(pc.is_in(values, value_set=missing)))
            for kind in list(types[name]) if len(values) else ():
                if pc.all(pc.match_substring_regex(values, patterns[kind])).as_py():
                    types[name][kind] = True
                else:
                    del types[name][kind]
            if name in spelled_columns:
                types[name].pop(pa.float64(), None)
            if not types[name]:
                del types[name]
        return table

    try:
        with open_bytes(path) as file:
            batches = pacsv.open_csv(file, **options)
            files, _ = spool.write(note_numbers(pa.Table.from_batches([batch])) for batch in batches)
    except pa.ArrowInvalid as error:
        found = " ".join(str(error).split())[:160]
        raise DataError(f"is broken as CSV ({found})", where=where, hint="check the quotes there") from error
    fitting = {name: [kind for kind, fits in kinds.items() if fits] for name, kinds in types.items()}
    numbers = {name: kinds[0] for name, kinds in fitting.items() if kinds}
    for spooled in files:
        for table in read_spooled(spooled):
            yield _convert_numbers(table, numbers)
        spooled.unlink()


def _convert_numbers(table: pa.Table, numbers: dict[str, pa.DataType]) -> pa.Table:
    missing = pa.array(_MISSING)
    for name, kind in numbers.items():
        values = table.column(name)
        values = pc.if_else(pc.is_in(values, value_set=missing), pa.scalar(None, pa.string()), values)
        table = table.set_column(table.schema.get_field_index(name), name, values.cast(kind))
    return table


def read_header(path: Path, where: str) -> tuple[list[str], str]:
    """Column names and delimiter: whichever of comma, semicolon and tab the first line has most, outside of quotes."""
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip()), "")
    if not first.strip():
        raise DataError("is empty", where=where, hint="name a file with a header line and rows")
    try:
        delimiter = "\t" if ".tsv" in path.suffixes else max(",;\t", key=re.sub('"[^"]*"?', "", first).count)
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
            header = next(row for row in csv.reader(file, delimiter=delimiter) if row)
    except csv.Error as error:
        raise DataError(
            f"has no header line ({error})", where=where, hint="name the columns there"
        ) from error
    _refuse_twins(header, where)
    return header, delimiter


def _refuse_twins(names: list[str], where: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        found = f"column '{twice[0]}' stands twice in the header"
        raise DataError(found, where=where, hint="rename one of them")


def _read_json_lines(path: Path, where: str) -> Iterator[pa.Table]:
    _check_utf8(path, where)
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="\n") as file:
        rows = (
            (f"line {number}", _parse_json(line, f"{where}: line {number}"))
            for number, line in enumerate(file, 1)
            if line.strip()
        )
        yield from _to_tables(rows, where)


def _read_json(path: Path, where: str) -> Iterator[pa.Table]:
    """A JSON file: a list of objects, an object of lists, or after all JSON lines."""
    _check_utf8(path, where)
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig") as file:
        text = file.read()
    try:
        content = json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("{") and "Extra data" in str(error):
            return _read_json_lines(path, where)
        raise DataError(f"is not JSON ({error})", where=where) from error
    if isinstance(content, dict) and content and all(isinstance(column, list) for column in content.values()):
        lengths = {len(column) for column in content.values()}
        if len(lengths) == 1:
            content = [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    if not isinstance(content, list):
        hint = "write a list of objects, one a row, or JSON lines"
        raise DataError(f"holds a JSON {type(content).__name__}", where=where, hint=hint)
    return _to_tables(((f"row {number}", row) for number, row in enumerate(content, 1)), where)


def _parse_json(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", where=where, hint="write one object a line") from error


def _to_tables(rows: Iterable[tuple[str, Any]], where: str) -> Iterator[pa.Table]:
    """Rows in batches to tables; a key that a row lacks is null."""
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        names: dict[str, None] = {}
        for place, row in batch:
            if not isinstance(row, dict):
                hint = "write objects with a key for every column"
                raise DataError(f"found {row!r:.40}", where=f"{where}: {place}", hint=hint)
            names |= dict.fromkeys(row)
        columns = {}
        for name in names:
            try:
                str(name).encode()
                columns[str(name)] = pa.array([row.get(name) for _, row in batch])
            except (pa.ArrowException, OverflowError) as error:
                hint = "write all its values in one way, as text or as numbers"
                found = f"holds values of several kinds ({error})"
                raise DataError(found, where=f"{where}: column '{name}'", hint=hint) from error
            except UnicodeEncodeError as error:
                place = next((place for place, row in batch if not _is_unicode(row.get(name))), "its name")
                found = f"half a character in {place} (a lone surrogate: a text cut within an emoji?)"
                raise DataError(
                    found, where=f"{where}: column '{name}'", hint="drop or replace it"
                ) from error
        yield pa.table(columns)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path, where: str, spool: _Spool) -> Iterator[pa.Table]:
    if path.suffix.lower() == ".gz":
        unpacked = spool.new_file(".parquet")
        with open_bytes(path) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
        path = unpacked
    try:
        with pq.ParquetFile(path) as file:
            _refuse_twins(file.schema_arrow.names, where)
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch], file.schema_arrow)
    except pa.ArrowException as error:
        name = where if len(where) > len(path.name) and path.name in where else f"{where}: {path.name}"
        raise DataError(f"is broken as Parquet ({error})", where=name) from error
