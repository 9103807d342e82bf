"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from counterpoise_retrievers.scraps import scrap


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whenever the process dies.

    Raises:
        OSError: the folder cannot be written or the disk is full; an older file stays as it was.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.partial")
    with scrap(temporary):
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)  # who may read the older file may read this one, and nobody else
        temporary.replace(path)
