"""Where errors of others become ours: what a damaged file does to a parser, and what a machine refuses.

`reading` stands around everything that reads a file of the user's or of an earlier run: whatever its bytes do to the
library that parses them, the user gets one line that names the file. `explain` is the last resort of the command line,
for what a machine says of its own accord (a full disk, no memory). What neither of them knows is a fault of ours, and
has an exit code of its own.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from counterpoise.core.errors import CounterpoiseError, DataError, ServiceError, StorageError, UserError

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.ESTALE})
_MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_DAMAGE = (ValueError, EOFError, OverflowError, csv.Error, zlib.error, zipfile.BadZipFile, sqlite3.Error)
_LONGEST_REASON = 160


@contextlib.contextmanager
def reading(where: str, what: str = "", hint: str = "") -> Iterator[None]:
    """Turn whatever a damaged file does to its parser into one line; errors of ours pass.

    Args:
        where: the file, with line or column where that is known.
        what: what it should have been, as in `is no receipt of counterpoise apply`; by default the parser's words.
        hint: what would be right.

    Raises:
        DataError: the file cannot be read or is damaged.
        ServiceError: the machine has no memory or disk left for it.
    """
    try:
        yield
    except CounterpoiseError:
        raise
    except Exception as error:
        found = explain_reading(error, where, what, hint)
        if found is None:
            raise
        raise found from error


def refuse_strange_file(path: Path, error: type[UserError] = DataError) -> None:
    """Refuse what is there and no file: a folder, a pipe, a device without end, a loop of links.

    Raises:
        DataError: or `error`; it is there and no file. A missing one passes: callers have better words.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise error("is a link to nothing", where=str(path), hint="name a file") from None
        return
    except (OSError, ValueError) as failure:
        raise error(f"cannot be read ({_say(failure)})", where=_show(path), hint="name a file") from failure
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise error(f"is {kind}", where=str(path), hint="name a file")


def _show(path: Path) -> str:
    return str(path).replace("\0", "\\0")


def explain_reading(error: Exception, where: str, what: str = "", hint: str = "") -> CounterpoiseError | None:
    """What an error says that came up while a file was read; None where it says nothing of the file."""
    if isinstance(error, MemoryError):
        return ServiceError("is too large for the memory of this machine", where=where, hint=hint)
    if isinstance(error, RecursionError):
        return DataError("is nested too deep", where=where, hint=hint or "write plain values")
    if isinstance(error, OSError) and error.errno:
        if error.errno in _DISK | _MACHINE:
            return StorageError(f"cannot be read or copied ({_say(error)})", where=where)
        return DataError(f"cannot be read ({_say(error)})", where=where, hint=hint)
    if isinstance(error, (*_DAMAGE, OSError)) or type(error).__module__.partition(".")[0] == "pyarrow":
        return DataError(what or f"is damaged ({_say(error)})", where=where, hint=hint)
    return None


def explain(error: BaseException) -> CounterpoiseError | None:
    """What the machine says in an error that nobody else has explained; None where it is a fault of ours."""
    if isinstance(error, CounterpoiseError):
        return error
    if isinstance(error, MemoryError):
        return ServiceError(
            "this machine has no memory left for that", hint="use fewer rows, or a larger machine"
        )
    if isinstance(error, sqlite3.Error):
        return StorageError(f"a file of SQLite cannot be used ({_say(error)})")
    if not isinstance(error, OSError) or not error.errno:
        return None
    where = " ".join(
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)
    )
    if error.errno in _DISK:
        return StorageError(
            f"the disk refuses ({_say(error)})", where=where, hint="free some space, then go on"
        )
    if error.errno in _MACHINE:
        return ServiceError(f"the machine refuses ({_say(error)})", where=where)
    if isinstance(error, ConnectionError | TimeoutError):
        return ServiceError(f"a connection failed ({_say(error)})", where=where)
    return UserError(
        f"cannot be used ({_say(error)})", where=where, hint="check that path and its permissions"
    )


def _say(error: Exception) -> str:
    said = (error.strerror or "") if isinstance(error, OSError) else ""
    return " ".join((said or str(error) or type(error).__name__).split())[:_LONGEST_REASON]
