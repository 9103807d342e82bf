"""Which bytes of a CSV or JSON-lines file a patch replaces, and the file with these bytes replaced."""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import match_label, spell_value
from counterpoise.core.schema import TextClassification
from counterpoise.data.csv_files import read_layout
from counterpoise.data.packed_files import BLOCK_BYTES
from counterpoise.data.patches.labels import is_same_label, refuse_label
from counterpoise.data.patches.spans import (
    Buffer,
    RowSpan,
    decode_csv_field,
    decode_json_field,
    encode_csv_field,
    list_csv_rows,
    list_json_rows,
)
from counterpoise.data.patches.values import LabelChange, LabelOutcome
from counterpoise.data.sources import find_roles


@dataclass(frozen=True, slots=True)
class Splice:
    """Replace the bytes from `start` to `end`."""

    start: int
    end: int
    replacement: bytes


def plan_splices(
    buffer: Buffer,
    source: Path,
    unpacked: Path,
    kind: str,
    task: TextClassification,
    rows: Mapping[int, LabelChange],
    labels: Sequence[str],
) -> list[Splice]:
    """Which bytes to replace, in the file's order."""
    spellings: dict[str, bytes] = {}
    places: dict[int, RowSpan] = {}
    unreadable = DataError(
        "its rows cannot be told apart byte by byte",
        where=str(source),
        hint="save it anew, for example with pandas",
    )
    n_rows = 0
    delimiter = ""
    try:
        if kind == "csv":
            layout = read_layout(unpacked, str(source), find_roles(task))
            delimiter = layout.delimiter
            place = layout.names.index(task.label)
            spans = list_csv_rows(buffer, place, delimiter, layout.start, layout.header)
        else:
            spans = list_json_rows(buffer, task.label)
        for row, span in enumerate(spans):
            n_rows = row + 1
            if row >= len(labels):
                raise unreadable
            if labels[row] not in spellings:
                spellings[labels[row]] = bytes(buffer[span.field_start : span.field_end])
            if row in rows:
                places[row] = span
    except ValueError as error:
        raise unreadable from error
    if n_rows != len(labels):
        raise unreadable
    splices = []
    for row, span in sorted(places.items()):
        change = rows[row]
        spelled = bytes(buffer[span.field_start : span.field_end])
        said = (
            decode_csv_field(spelled) if kind == "csv" else spell_value(decode_json_field(spelled or b'""'))
        )
        if not is_same_label(said, change.before, task):
            raise unreadable
        if change.outcome is LabelOutcome.DROP:
            splices.append(Splice(span.start, span.end, b""))
            continue
        known = match_label(change.after, spellings)
        if known is not None:
            new = spellings[known]
        else:
            new = (
                encode_csv_field(change.after, delimiter)
                if kind == "csv"
                else _spell_json(change.after, json.loads(spelled), f"{source}: column '{task.label}'")
            )
        splices.append(Splice(span.field_start, span.field_end, new))
    return splices


def _spell_json(label: str, old: Any, where: str) -> bytes:
    """A label that the file does not have yet, of the type of the one that it replaces."""
    if isinstance(old, str):
        return json.dumps(label, ensure_ascii=False).encode()
    spelled = label.lower() if isinstance(old, bool) else label
    with contextlib.suppress(ValueError):
        value = json.loads(spelled)
        is_number = isinstance(value, int | float) and np.isfinite(value)
        if is_number and isinstance(value, bool) == isinstance(old, bool):
            return spelled.encode()
    raise refuse_label(label, "numbers" if not isinstance(old, bool) else "true or false", where)


def write_spliced(buffer: Buffer, splices: Sequence[Splice], path: Path) -> None:
    """Write the bytes of a file with the splices done, in their order."""
    position = 0
    with path.open("wb") as file:
        for splice in splices:
            _copy(buffer, position, splice.start, file)
            file.write(splice.replacement)
            position = splice.end
        _copy(buffer, position, len(buffer), file)


def _copy(buffer: Buffer, start: int, end: int, file: Any) -> None:
    for first in range(start, end, BLOCK_BYTES):
        file.write(buffer[first : min(end, first + BLOCK_BYTES)])


def reverse_splices(splices: Sequence[Splice], source: Path) -> list[Splice]:
    """The splices that turn the result back."""
    reverse = []
    shift = 0
    with source.open("rb") as file:
        for splice in splices:
            file.seek(splice.start)
            old = file.read(splice.end - splice.start)
            start = splice.start + shift
            reverse.append(Splice(start, start + len(splice.replacement), old))
            shift += len(splice.replacement) - len(old)
    return reverse


@contextlib.contextmanager
def map_file(path: Path) -> Iterator[Buffer]:
    """The bytes of a file, mapped into memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        yield buffer
