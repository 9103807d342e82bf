"""How a delimited file is laid out: encoding, lines above the header, delimiter, header, and rows that say nothing.

Excel writes `sep=;` above the header, UTF-16 where "Unicode text" is chosen, delimiters behind the last column, and
rows of nothing but delimiters; programs write comments above the header, pandas and R an index without a name, and
files that were put together repeat the header. All of that is read; what was passed over is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from counterpoise.core.errors import DataError
from counterpoise.data.patches.spans import BYTE_ORDER_MARK, Buffer, decode_csv_field, find_row
from counterpoise.data.plain_columns import Roles, name_columns

DELIMITERS = ",;\t|"

_SEPARATOR_LINE = re.compile(rb'"?sep=([!-~\t ])"?[,;\t|]*\r?(?:\n|$)', re.IGNORECASE)
_HEAD_BYTES = 1 << 16
_LONGEST_HEADER = 1 << 17
_INDEX_ROWS = 3


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """Where the rows of a delimited file begin, and what their fields are.

    Args:
        names: of the columns, as they are called from now on.
        header: the same as the header spells them.
        delimiter: one character.
        start: bytes before the first row, after decompression and as UTF-8.
        notes: sentences on what was passed over or renamed.
    """

    names: tuple[str, ...]
    header: tuple[str, ...]
    delimiter: str
    start: int
    notes: tuple[str, ...] = field(default=(), compare=False)

    def says_nothing(self, values: tuple[str, ...]) -> bool:
        """Whether a row of fields is empty, or the header once more."""
        return len(self.header) > 1 and (not any(values) or values == self.header)


def find_layout(path: Path, where: str, roles: Roles, open_file: Callable[[Path], IO[bytes]]) -> CsvLayout:
    """The layout of a delimited file in UTF-8.

    Args:
        path: the file.
        where: how the user calls it, for errors.
        roles: columns that play a part.
        open_file: opens it, decompressed.

    Raises:
        DataError: it is empty or has no header line, or a column that plays a part stands twice.
    """
    size = _HEAD_BYTES
    while True:
        with open_file(path) as file:
            head = file.read(size)
        layout = _read_head(head, path, where, roles, is_whole=len(head) < size)
        if layout is not None:
            return layout
        size *= 4


def _read_head(head: bytes, path: Path, where: str, roles: Roles, *, is_whole: bool) -> CsvLayout | None:
    """The layout, None where `head` ends before it can be told."""
    position = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    notes: list[str] = []
    given = ""
    if match := _SEPARATOR_LINE.match(head, position):
        given = match[1].decode("ascii")
        position = match.end()
    position = _skip_blank(head, position)
    first, position = _choose_header(head, position, path, given, where, notes)
    if first >= len(head):
        if is_whole:
            raise DataError("is empty", where=where, hint="name a file with a header line and rows")
        return None
    line = head[first : _end_of_line(head, first)].decode("utf-8", "replace")
    delimiter = given or _choose_delimiter(line, path)
    spans, start = find_row(head, first, delimiter)
    if start - first > _LONGEST_HEADER:
        found = f"has no header line (field larger than field limit ({_LONGEST_HEADER:,} bytes))"
        raise DataError(found, where=where, hint="name the columns there")
    if start >= len(head) and not is_whole:
        return None
    header = [decode_csv_field(head[one:other]) for one, other in spans]
    header = _fit_header(header, head, start, delimiter, where, notes, is_whole=is_whole)
    names = name_columns(header, roles, where, notes)
    return CsvLayout(tuple(names), tuple(header), delimiter, start, tuple(notes))


def _choose_header(
    head: bytes, position: int, path: Path, given: str, where: str, notes: MutableSequence[str]
) -> tuple[int, int]:
    """Where the header begins: comments above it are passed over, unless one has its number of fields."""
    first = position
    while head[first : first + 1] == b"#":
        first = _skip_blank(head, _end_of_line(head, first))
    if first == position or first >= len(head):
        return position, position
    line = head[first : _end_of_line(head, first)].decode("utf-8", "replace")
    delimiter = given or _choose_delimiter(line, path)
    last = head[:first].rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")
    if delimiter in line and _cut_quotes(last).count(delimiter) == _cut_quotes(line).count(delimiter):
        return position, position  # `#id,text,label` is a header
    n_lines = head[position:first].count(b"\n")
    notes.append(f"{where}: {n_lines} comment lines above the header are passed over")
    return first, first


def _choose_delimiter(line: str, path: Path) -> str:
    """Whichever of comma, semicolon, tab and bar a line has most, outside of quotes."""
    plain = _cut_quotes(line)
    if ".tsv" in path.suffixes and "\t" in plain:
        return "\t"
    return max(DELIMITERS, key=plain.count)


def _cut_quotes(line: str) -> str:
    return re.sub('"[^"]*"?', "", line)


def _fit_header(
    header: list[str],
    head: bytes,
    start: int,
    delimiter: str,
    where: str,
    notes: MutableSequence[str],
    *,
    is_whole: bool,
) -> list[str]:
    """The header with names for what rows have more: empty fields at the end, or the nameless index that R writes."""
    rows: list[list[str]] = []
    position = _skip_blank(head, start)
    while position < len(head) and len(rows) < _INDEX_ROWS:
        spans, end = find_row(head, position, delimiter)
        if end >= len(head) and not is_whole:
            break
        rows.append([decode_csv_field(head[one:other]) for one, other in spans])
        position = _skip_blank(head, end)
    if not rows or len(rows[0]) <= len(header):
        return header
    if not any(rows[0][len(header) :]):
        return [*header, *[""] * (len(rows[0]) - len(header))]
    is_longer = all(len(row) == len(header) + 1 for row in rows)
    if is_longer and [row[0] for row in rows] in (
        [str(place + 1) for place in range(len(rows))],
        [str(place) for place in range(len(rows))],
    ):
        notes.append(
            f"{where}: the rows have one field more than the header: the first is taken for their number"
        )
        return ["", *header]
    return header


def _skip_blank(buffer: Buffer, position: int) -> int:
    while position < len(buffer) and buffer[position : position + 1] in (b"\r", b"\n"):
        position += 1
    return position


def _end_of_line(buffer: bytes, position: int) -> int:
    end = buffer.find(b"\n", position)
    if end < 0:
        end = buffer.find(b"\r", position)
    return len(buffer) if end < 0 else end + 1
