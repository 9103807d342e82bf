"""JSON Lines, plain or gzip, in and out one object at a time."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from counterpoise.errors import DataError


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; empty lines are passed over."""
    with open_to_read(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"is no JSON: {error}", where=f"{path}: line {number}") from None
            if not isinstance(row, dict):
                raise DataError("is no object", where=f"{path}: line {number}", hint="one JSON object a line")
            yield number, row


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write objects, one a line; the number of lines. The file is whole or not there; OSError where that fails."""
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


@contextmanager
def open_to_read(path: Path) -> Iterator[IO[str]]:
    """Open a UTF-8 file, plain or gzip; DataError where it is missing, damaged, or no UTF-8."""
    try:
        # The first two bytes tell: a download may have lost its ending.
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
        opened = gzip.open(path, "rb") if is_gzip else path.open("rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from error
    with opened, io.TextIOWrapper(opened, encoding="utf-8-sig", newline="\n") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise DataError("is not UTF-8", where=str(path), hint="save it as UTF-8") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError("is gzip cut short or damaged", where=str(path)) from error


@contextmanager
def open_to_write(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its name only when it is whole; the same content gives the same bytes, gzip too."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as raw:
            if path.suffix == ".gz":
                with (
                    gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
                    io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
                ):
                    yield file
            else:
                with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as file:
                    yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
