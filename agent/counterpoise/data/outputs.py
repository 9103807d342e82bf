"""The one rule for files that a command writes: no input is written over, and nothing that exists without being asked.

A file is told by where it really lies and by its inode, so other spellings of a path, symbolic links and hard links do
not get around the rule. Files that are written beside the one that was named obey it too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from counterpoise.core.errors import JobError, RunDirectoryError, StorageError

OVERWRITE = "give --overwrite"
"""How a command is told that files may be replaced."""


def check_outputs(
    outputs: Mapping[str, Path | None],
    inputs: Iterable[str | Path | None] = (),
    *,
    may_replace: bool = False,
    permission: str = OVERWRITE,
) -> None:
    """Refuse outputs that would cost a user something.

    Args:
        outputs: what each is called (an option) -> path; None where there is none.
        inputs: files and folders that are read; names that are neither are passed over.
        may_replace: whether an output may replace a file that exists and is no input.
        permission: what errors call that.

    Raises:
        JobError: an output is an input, or another output, or no plain file; or it exists and may not be replaced; or
            its folder does not exist.
    """
    read = dict(_list_inputs(inputs))
    seen: dict[str, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        where = f"{name} {path}"
        real = os.path.realpath(path)
        if real in seen:
            raise JobError(f"is what {seen[real]} writes", where=where, hint="name another file")
        seen[real] = name
        if real in read or _find_inode(path) in read.values():
            hint = "name another one; yours stays as it is"
            raise JobError("is a file that is read", where=where, hint=hint)
        if not os.path.lexists(path):
            if not path.absolute().parent.is_dir():
                raise JobError("its folder is not there", where=where, hint="make it first")
            continue
        if path.is_dir():
            raise JobError("is a folder", where=where, hint="name a file in it")
        if path.exists() and not path.is_file():
            raise JobError("is a device or a pipe", where=where, hint="name a file")
        if not may_replace:
            found = "is there already, and nothing is written over"
            raise JobError(found, where=where, hint=f"name another file, or {permission}")


def _list_inputs(inputs: Iterable[str | Path | None]) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """The real path and the inode of each file that is read, those in folders too."""
    for given in inputs:
        if not given or "\0" in str(given):
            continue
        path = Path(given)
        if path.is_dir():
            for folder, _, names in os.walk(path):
                for name in names:
                    inside = Path(folder) / name
                    yield os.path.realpath(inside), _find_inode(inside)
        elif path.exists():
            yield os.path.realpath(path), _find_inode(path)


def _find_inode(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file, following links; None where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def explain_unwritable(error: OSError, folder: Path) -> RunDirectoryError | StorageError:
    """What an error of the system means to who wanted a result written into a folder."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunDirectoryError("may not be written", where=str(folder), hint="name another output")
    return StorageError(f"cannot be written ({os.strerror(error.errno or errno.EIO)})", where=str(folder))
