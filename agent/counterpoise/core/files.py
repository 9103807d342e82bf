"""Files that are there whole or not at all: the one way in which a file that is kept is written."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from counterpoise.core.errors import JobError
from counterpoise_retrievers.scraps import scrap

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside a file, for the block to write to; what it wrote takes the place of the file behind the block.

    Where the block fails, the older file stays as it was.

    Raises:
        OSError: the file cannot be replaced.
    """
    # A name of its own: a file `NAME.part` may be the user's.
    with scrap(path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.partial")) as temporary:
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)  # who may read the older file may read this one, and nobody else
        temporary.replace(path)


def write_whole(path: Path, content: str | bytes, *, is_private: bool = False) -> None:
    """Write a file so that it is there whole or not at all, whenever the process dies.

    Args:
        path: where to.
        content: text is written as UTF-8, with a lone surrogate spelled out.
        is_private: a new file is for its owner alone.

    Raises:
        OSError: the folder cannot be written or the disk is full; an older file stays as it was.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    mode = 0o600 if is_private else 0o666
    with replacing(path) as temporary, open(os.open(temporary, _NEW, mode), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path, hint: str = "") -> Iterator[None]:
    """Turn an error of the system, met while a user's file is written, into one line.

    Raises:
        JobError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise JobError(f"cannot be written ({error.strerror})", where=str(path), hint=hint) from error
