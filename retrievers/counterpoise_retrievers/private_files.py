"""Files and folders that only their owner can read: they hold texts of the user's, or what was made of them.

Nobody's umask is trusted: a file has its mode from the moment it exists, and one that was made wider before is
tightened. What cannot be tightened, because it belongs to someone else, is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(path: Path) -> None:
    """Make a folder of mode 0700, or tighten one that is there; parents that are missing are made the same way.

    Raises:
        OSError: it cannot be made.
    """
    for parent in reversed([parent for parent in path.absolute().parents if not parent.exists()]):
        with contextlib.suppress(FileExistsError):
            parent.mkdir(FOLDER_MODE)
    path.mkdir(FOLDER_MODE, exist_ok=True)
    tighten(path)


def touch_private_file(path: Path) -> None:
    """Make an empty file of mode 0600, or tighten one that is there; its content stays.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), FILE_MODE))
    tighten(path)


def tighten(path: Path) -> None:
    """Take a file or folder of ours from everybody else; a link is not followed, another's is left alone."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        wanted = FOLDER_MODE if stat.S_ISDIR(found.st_mode) else FILE_MODE
        is_plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
        if is_plain and stat.S_IMODE(found.st_mode) & ~wanted:
            path.chmod(stat.S_IMODE(found.st_mode) & wanted)


def tighten_tree(folder: Path) -> None:
    """Tighten a folder and all that lies below it."""
    tighten(folder)
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            tighten(Path(base) / name)
