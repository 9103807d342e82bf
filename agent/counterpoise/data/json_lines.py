"""JSON Lines, plain or gzip, in and out one object at a time; a JSON list and Parquet are read the same way."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from counterpoise.core.errors import DataError
from counterpoise.core.files import replacing
from counterpoise.core.strict_yaml import suggest_files
from counterpoise.data.containers import name_container, refuse_container
from counterpoise.data.packed_files import open_unpacked

_PARQUET_ROWS = 10_000


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; empty lines are passed over.

    The items of a JSON list and the rows of a Parquet file are numbered from 1 instead.

    Raises:
        DataError: the file cannot be read, or a line is no object.
    """
    refuse_container(path, str(path), "Parquet")
    if name_container(path) == "Parquet":
        yield from _read_parquet_rows(path)
        return
    is_list = False
    with open_to_read(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("["):
                _refuse_list_of_texts(line, f"{path}: line 1")
                is_list = True
                break
            yield number, _parse_object(line, f"{path}: line {number}")
    if is_list:
        yield from _read_list(path)


def _parse_object(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"is no JSON: {error}", where=where) from None
    except RecursionError:
        raise DataError("is nested too deep", where=where) from None
    if not isinstance(row, dict):
        raise DataError("is no object", where=where, hint="one JSON object a line")
    return row


def _refuse_list_of_texts(line: str, where: str) -> None:
    """Refuse lines that are lists of texts, as some collections are published, for nothing says what is what."""
    with contextlib.suppress(ValueError, RecursionError):
        items = json.loads(line)
        if items and not any(isinstance(item, dict) for item in items):
            hint = "write an object a line, such as anchor, positive and negative"
            raise DataError("is a list", where=where, hint=hint)


def _read_list(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file that is one JSON list."""
    with open_to_read(path) as file:
        text = file.read()
    try:
        items = json.loads(text)
    except ValueError as error:
        raise DataError(f"is no JSON: {error}", where=str(path), hint="write one object a line") from None
    except RecursionError:
        raise DataError("is nested too deep", where=str(path)) from None
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise DataError("is no object", where=f"{path}: item {number}", hint="one JSON object a line")
        yield number, item


def _read_parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"is broken as Parquet ({error})", where=str(path)) from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write objects, one a line, or as Parquet where the name ends so; the number of lines.

    The file is whole or not there; OSError where that fails.
    """
    if path.suffix == ".parquet":
        return _write_parquet_rows(path, rows)
    n_rows = 0
    with open_to_write(path) as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False)
            try:
                file.write(line + "\n")
            except UnicodeEncodeError:  # a lone surrogate, which JSON can say and UTF-8 cannot
                file.write(json.dumps(row) + "\n")
            n_rows += 1
    return n_rows


def _write_parquet_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = [dict(row) for row in rows]
    names = list(dict.fromkeys(name for row in listed for name in row))
    try:
        table = pa.table({name: pa.array([row.get(name) for row in listed]) for name in names})
        with replacing(path) as part:
            pq.write_table(table, part)
    except (pa.ArrowException, OverflowError) as error:
        hint = "name an output that ends in .jsonl"
        raise DataError(f"cannot be said in Parquet ({error})", where=str(path), hint=hint) from error
    return len(listed)


@contextmanager
def open_to_read(path: Path) -> Iterator[IO[str]]:
    """Open a UTF-8 file, plain or gzip; DataError where it is missing, damaged, or no UTF-8."""
    try:
        opened = open_unpacked(path)
    except FileNotFoundError as error:
        raise DataError("no such file", where=str(path), hint=suggest_files(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from error
    with opened, io.TextIOWrapper(opened, encoding="utf-8-sig", newline="\n") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            line = _count_lines(path)
            byte = error.object[error.start]
            hint = "save it as UTF-8 (it may be Windows-1252, Latin-1 or UTF-16)"
            raise DataError(
                f"is not UTF-8: byte 0x{byte:02x} in line {line}", where=str(path), hint=hint
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError("is gzip cut short or damaged", where=str(path)) from error


@contextmanager
def open_to_write(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its name only when it is whole; the same content gives the same bytes, gzip too."""
    with replacing(path) as part, part.open("xb") as raw:
        if path.suffix == ".gz":
            with (
                gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
                io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
            ):
                yield file
        else:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
                yield file


def _count_lines(path: Path) -> int:
    """The first line that is not UTF-8."""
    number = 0
    with open_unpacked(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return number
