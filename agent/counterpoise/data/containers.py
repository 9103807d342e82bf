"""What a file is by its first bytes, where it is no text: one clear line instead of a codec's complaint."""

from __future__ import annotations

import zipfile
from pathlib import Path

from counterpoise.core.boundaries import refuse_strange_file
from counterpoise.core.errors import DataError

_KINDS = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"ARROW1": "an Arrow file",
    b"SQLite f": "an SQLite database",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04\x95": "a pickle",
    b"\x80\x05\x95": "a pickle",
}
_WORKBOOK = "save the sheet as CSV UTF-8 (in Excel under Save As) and name that file"
_HINTS = {
    "an Excel workbook": _WORKBOOK,
    "an old Excel workbook": _WORKBOOK,
    "an OpenDocument sheet": _WORKBOOK,
    "a zip archive": "unpack it and name the file inside",
    "a pickle": "write it as Parquet or CSV where it was made; a pickle can run programs and is never opened",
}


def name_container(path: Path) -> str:
    """`Parquet`, `an Excel workbook`, `bzip2`, ...; "" for text and gzip."""
    refuse_strange_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return ""  # opening it to read says it in better words
    kind = next((name for mark, name in _KINDS.items() if head.startswith(mark)), "")
    return _look_into(path) if kind == "a zip archive" else kind


def refuse_container(path: Path, where: str, kind: str = "") -> None:
    """Refuse a file that is no text.

    Args:
        path: the file.
        where: how the user calls it.
        kind: what it may be.

    Raises:
        DataError: it is another container.
    """
    found = name_container(path)
    if found and found != kind:
        hint = _HINTS.get(found, "unpack it, or save it as CSV, JSON lines or Parquet")
        raise DataError(f"is {found}, whatever its name", where=where, hint=hint)


def _look_into(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return "a zip archive"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook"
    return "an OpenDocument sheet" if "content.xml" in names else "a zip archive"
