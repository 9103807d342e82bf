"""Files that may be gzip, whatever their name, opened without the danger of one that unpacks without end."""

from __future__ import annotations

import gzip
import io
import shutil
from pathlib import Path
from typing import IO, cast

from counterpoise.core.boundaries import refuse_strange_file
from counterpoise.core.errors import DataError

MOST_RATIO = 150
"""Bytes out of one byte of gzip; tables of text have 3 to 20, and only what says nothing has more."""

BLOCK_BYTES = 1 << 20
"""Read and written at a time."""

ALWAYS_BYTES = 128 << 20
"""So much may come out of any file, whatever the ratio."""


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does: a download may have lost its ending."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file, unpacked where it is gzip.

    Raises:
        DataError: it is no file; on reading: more comes out of it than out of any table.
        OSError: it cannot be read.
    """
    refuse_strange_file(path)
    if not is_gzip(path):
        return path.open("rb")
    limit = max(ALWAYS_BYTES, MOST_RATIO * path.stat().st_size)
    return cast(IO[bytes], io.BufferedReader(_Bounded(path, limit), 1 << 16))


class _Bounded(io.RawIOBase):
    """The unpacked bytes of a gzip file, up to a limit."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._n_read = 0
        self._file = gzip.open(path, "rb")  # noqa: SIM115  (closed with this object)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Unpack into a buffer; 0 at the end."""
        n = self._file.readinto(buffer)
        self._n_read += n
        if self._n_read > self._limit:
            raise DataError(
                f"unpacks to more than {self._limit >> 20} MiB, {MOST_RATIO} times its size or more",
                where=str(self._path),
                hint="no table does; unpack it yourself if it is meant to be read",
            )
        return n

    def close(self) -> None:
        """Close both."""
        self._file.close()
        super().close()


def unpack_file(source: Path, target: Path) -> Path:
    """The file itself, or where it is gzip what it holds, written to `target`."""
    if not is_gzip(source):
        return source
    with open_unpacked(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain, BLOCK_BYTES)
    return target


def pack_file(plain: Path, target: Path) -> Path:
    """Pack a file as gzip; equal input gives equal bytes."""
    with (
        plain.open("rb") as old,
        target.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as new,
    ):
        shutil.copyfileobj(old, new, BLOCK_BYTES)
    return target
