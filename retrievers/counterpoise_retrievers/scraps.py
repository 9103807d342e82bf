"""Temporary files and folders that are gone when the process is, also when it is told to end at once.

A process that is cut off runs no `finally` and nothing that was left for its exit. What is noted here goes all the
same: whoever cuts it off calls `remove_scraps` first.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_scraps: dict[Path, None] = {}


def note_scrap(path: Path) -> Path:
    """Have a file or folder removed at the end of this process, whatever that is like."""
    if not _scraps:
        atexit.register(remove_scraps)
    _scraps[path] = None
    return path


def drop_scrap(path: Path) -> None:
    """Remove a file or folder, where it is there, and forget it."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    _scraps.pop(path, None)


def remove_scraps() -> None:
    """Remove all that is noted."""
    for path in list(_scraps):
        drop_scrap(path)


@contextlib.contextmanager
def scrap(path: Path) -> Iterator[Path]:
    """A file or folder that is gone behind the block, unless it was moved into its place."""
    note_scrap(path)
    try:
        yield path
    finally:
        drop_scrap(path)


@contextlib.contextmanager
def scrap_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new empty folder, its owner's alone, that is gone behind the block.

    Raises:
        OSError: it cannot be made.
    """
    # A long name of the user's, with what is put around it, may be longer than a name can be. It is noted before it is
    # there: a signal may come at any moment.
    with scrap(parent / f"{prefix[:80]}{secrets.token_hex(6)}") as folder:
        folder.mkdir(0o700)
        yield folder
