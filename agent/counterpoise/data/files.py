"""Data files to memory-mapped tables: CSV, TSV, JSON lines, JSON, Parquet, and gzip of these.

A file is read once in batches and spooled as Arrow into a temporary folder (never beside the user's files),
from where it is mapped into memory; so a table may be larger than memory. Values stay what the user wrote: a
CSV column becomes numbers only where no spelling is lost (`007` and, in a label, `1.0` stay text).
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from counterpoise.core.boundaries import reading
from counterpoise.core.errors import DataError
from counterpoise.data.containers import refuse_container
from counterpoise.data.csv_files import copy_bytes, read_csv
from counterpoise.data.json_files import BATCH_ROWS, make_tables, read_json, read_json_lines
from counterpoise.data.plain_columns import ColumnMaker, Roles, name_columns
from counterpoise.data.spools import Spool

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""File suffixes (a further `.gz` may follow) and their formats."""


def find_format(path: Path) -> str:
    """The format of a file by its suffix, "" where it is none of `FORMATS`."""
    suffixes = path.suffixes[:-1] if path.suffix.lower() == ".gz" else path.suffixes
    return FORMATS.get(suffixes[-1].lower(), "") if suffixes else ""


def read_files(
    paths: Sequence[Path],
    where: str,
    *,
    roles: Roles = Roles(),  # noqa: B008  (it is frozen)
    cache_dir: Path | None = None,
    notes: MutableSequence[str] | None = None,
) -> Dataset:
    """Read files of one format as one memory-mapped table, in the given order.

    Args:
        paths: the files; more than one only of Parquet.
        where: how the user calls them, for errors.
        roles: which columns play a part; what is odd about the others never stops the work.
        cache_dir: the folder below which the spool lies until the process ends; by default the system's.
        notes: sentences on what was passed over, renamed or kept as text are added.

    Raises:
        DataError: an empty, broken or wrongly encoded file; names the line.
        StorageError: the disk of the spool is full.
    """
    told: list[str] = []
    with reading(where):
        try:
            maker = ColumnMaker(roles, where)
            spool = Spool(cache_dir, where, maker)
            kind = find_format(paths[0])
            for path in paths:
                refuse_container(path, where, "Parquet" if kind == "parquet" else "")
            if kind == "csv":
                tables = read_csv(paths[0], where, spool, roles, told)
            elif kind == "jsonl":
                tables = read_json_lines(paths[0], where, maker, told)
            elif kind == "json":
                tables = read_json(paths[0], where, maker, told)
            else:
                tables = itertools.chain.from_iterable(
                    _read_parquet(path, where, spool, roles, told) for path in paths
                )
            table = spool.read(tables)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"is broken as gzip ({error})", where=where, hint="compress it again") from error
        except PermissionError as error:
            raise DataError("may not be read", where=where, hint="check its permissions") from error
    if notes is not None:
        notes.extend(dict.fromkeys([*told, *maker.list_notes()]))
    return table


def read_rows(
    rows: Iterable[dict[str, Any]],
    where: str,
    *,
    roles: Roles = Roles(),  # noqa: B008  (it is frozen)
    notes: MutableSequence[str] | None = None,
) -> Dataset:
    """Turn dictionaries, one a row, into a memory-mapped table.

    Args:
        rows: the rows.
        where: what errors call them.
        roles: which columns play a part.
        notes: sentences on columns that are kept as text are added.

    Raises:
        DataError: a column that plays a part holds values of kinds that do not go together.
    """
    maker = ColumnMaker(roles, where)
    named = ((f"row {number}", row) for number, row in enumerate(rows, 1))
    table = Spool(None, where, maker).read(make_tables(named, where, maker))
    if notes is not None:
        notes.extend(maker.list_notes())
    return table


def _read_parquet(
    path: Path, where: str, spool: Spool, roles: Roles, notes: MutableSequence[str]
) -> Iterator[pa.Table]:
    if path.suffix.lower() == ".gz":
        unpacked = spool.new_file(".parquet")
        copy_bytes(path, unpacked)
        path = unpacked
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = name_columns(schema.names, roles, where, notes)
            for batch in file.iter_batches(BATCH_ROWS):
                table = pa.Table.from_batches([batch], schema)
                yield table if names == schema.names else table.rename_columns(names)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        name = where if len(where) > len(path.name) and path.name in where else f"{where}: {path.name}"
        raise DataError(f"is broken as Parquet ({error})", where=name) from error
