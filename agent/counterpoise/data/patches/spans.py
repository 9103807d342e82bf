"""Where the rows of a CSV or JSON-lines file stand, byte by byte, so that one field can be changed and nothing else.

Rows are found as pyarrow finds them: blank lines are passed over, quoted fields may hold line ends, a quote inside an
unquoted field is a character like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from json.decoder import scanstring  # type: ignore[attr-defined]
from mmap import mmap
from typing import Any

Buffer = bytes | mmap
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class RowSpan:
    """One row in a file.

    Args:
        start, end: of the row with its line end.
        field_start, field_end: of the wanted field as it is spelled; equal where the row does not have it.
    """

    start: int
    end: int
    field_start: int
    field_end: int


def find_row(buffer: Buffer, position: int, delimiter: str) -> tuple[list[tuple[int, int]], int]:
    """Where the fields of one row stand, and where the next row begins.

    Args:
        buffer: the whole file, or its beginning, UTF-8.
        position: where the row begins.
        delimiter: one character.
    """
    field, mark = _make_pattern(delimiter), delimiter.encode()
    size = len(buffer)
    spans = []
    while True:
        match = field.match(buffer, position)
        assert match is not None  # noqa: S101  (the pattern matches the empty string)
        spans.append(match.span())
        position = match.end()
        if position < size and buffer[position : position + len(mark)] == mark:
            position += len(mark)
            continue
        break
    position += 2 if buffer[position : position + 2] == b"\r\n" else min(1, size - position)
    return spans, position


@cache
def _make_pattern(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter.encode())
    return re.compile(rb'"(?:[^"]|"")*"[^' + mark + rb"\r\n]*|[^" + mark + rb"\r\n]*")


def list_csv_rows(
    buffer: Buffer, place: int, delimiter: str, start: int, header: Sequence[str]
) -> Iterator[RowSpan]:
    """The rows of a CSV file, but those that say nothing: blank ones, delimiters alone, the header once more.

    Args:
        buffer: the whole file, UTF-8.
        place: of the wanted field in a row.
        delimiter: one character.
        start: where the rows begin.
        header: the fields of the header.

    Raises:
        ValueError: a row is too short.
    """
    position, size = start, len(buffer)
    repeated = tuple(header)
    while position < size:
        start = position
        spans, position = find_row(buffer, position, delimiter)
        if spans[0][0] == spans[-1][1]:
            continue  # a blank line
        if len(repeated) > 1:
            values = tuple(decode_csv_field(bytes(buffer[first:last])) for first, last in spans)
            if not any(values) or values == repeated:
                continue
        if place >= len(spans):
            raise ValueError(f"a row of {len(spans)} fields at byte {start}")
        yield RowSpan(start, position, *spans[place])


def decode_csv_field(spelled: bytes) -> str:
    """What a spelled field says."""
    text = spelled.decode("utf-8")
    if text.startswith('"'):
        body, _, rest = text[1:].rpartition('"')
        return body.replace('""', '"') + rest
    return text


def encode_csv_field(value: str, delimiter: str) -> bytes:
    """A field that says `value`, quoted where it must be."""
    if any(mark in value for mark in (delimiter, '"', "\n", "\r")):
        value = '"' + value.replace('"', '""') + '"'
    return value.encode("utf-8")


def list_json_rows(buffer: Buffer, key: str) -> Iterator[RowSpan]:
    """The rows of a JSON-lines file; the field is the value of the top-level `key`.

    Raises:
        ValueError: a line is no JSON object.
    """
    position = len(BYTE_ORDER_MARK) if buffer[:3] == BYTE_ORDER_MARK else 0
    size = len(buffer)
    while position < size:
        end = buffer.find(b"\n", position)
        end = size if end < 0 else end + 1
        line = bytes(buffer[position:end])
        if line.strip():
            first, last = _find_value(line, key)
            yield RowSpan(position, end, position + first, position + last)
        position = end


def _find_value(line: bytes, key: str) -> tuple[int, int]:
    """Byte offsets of the value of a top-level key, the last one where it stands twice; (0, 0) without it."""
    text = line.decode("utf-8")
    decoder = json.JSONDecoder()
    place = _skip(text, 0)
    if text[place : place + 1] != "{":
        raise ValueError("a line is no JSON object")
    place = _skip(text, place + 1)
    found: tuple[int, int] | None = None
    while text[place : place + 1] == '"':
        name, place = scanstring(text, place + 1, True)
        place = _skip(text, place)
        if text[place : place + 1] != ":":
            raise ValueError("a line is no JSON object")
        place = _skip(text, place + 1)
        _, end = decoder.raw_decode(text, place)
        if name == key:
            found = (place, end)
        place = _skip(text, end)
        if text[place : place + 1] == ",":
            place = _skip(text, place + 1)
    if found is None:
        return 0, 0
    return len(text[: found[0]].encode("utf-8")), len(text[: found[1]].encode("utf-8"))


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def decode_json_field(spelled: bytes) -> Any:
    """What a spelled value says."""
    return json.loads(spelled)
