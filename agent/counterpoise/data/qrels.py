"""Judgements of relevance: query id, passage id and score a line; as BEIR, MTEB and TREC write them.

Tab-separated, comma-separated or with blanks between, in three columns or in TREC's four (the second is not used), with
a header or without one; or JSON Lines; or Parquet; plain or gzip. Empty lines are passed over.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from counterpoise.core.errors import DataError
from counterpoise.data.json_lines import open_to_read, read_rows

_QUERY_NAMES = ("query-id", "query_id", "qid", "query")
_PASSAGE_NAMES = ("corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "passage_id", "pid", "corpus")
_SCORE_NAMES = ("score", "relevance", "rel", "label", "judgement", "judgment")


def read_judgements(path: Path, hint: str) -> Iterator[tuple[str, str, str, float]]:
    """Read them one at a time; a first line whose score is no number is a header.

    Args:
        path: the file.
        hint: what a line should be, for messages.

    Yields:
        Where the line stands (for a message), query id, passage id, and the score, which may be infinite or NaN.

    Raises:
        DataError: the file cannot be read, or a line is no judgement.
    """
    if {".jsonl", ".ndjson", ".parquet"} & set(path.suffixes):
        yield from _read_objects(path, hint)
        return
    places: tuple[int, ...] = (0, 1, 2)
    is_first = True
    with open_to_read(path) as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}: line {number}"
            if not line.strip():
                continue
            cells = _cut(line.rstrip("\r\n"), path, where, hint)
            if is_first:
                is_first = False
                places = (0, 2, 3) if len(cells) == 4 else (0, 1, 2)
                if (named := _find_places(cells)) is not None:
                    places = named
                    continue
                if len(cells) in (3, 4) and not _is_number(cells[places[2]]):
                    continue  # a header in words of its own
            # Five columns and more are a run, whose last number is a rank or a score of a system.
            fits = max(places) < len(cells) <= max(4, max(places) + 1)
            if not fits or not _is_number(cells[places[2]]):
                raise DataError("is no judgement", where=where, hint=hint)
            yield where, cells[places[0]], cells[places[1]], float(cells[places[2]])


def _cut(line: str, path: Path, where: str, hint: str) -> list[str]:
    by_blanks = line.split()
    is_comma = ".csv" in path.suffixes or ("," in line and len(by_blanks) not in (3, 4))
    delimiter = "\t" if "\t" in line else "," if is_comma else ""
    if not delimiter:
        return by_blanks
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"cannot be read ({error})", where=where, hint=hint) from error


def _find_places(cells: list[str]) -> tuple[int, ...] | None:
    """Where a header names the three columns, None where it does not."""
    names = [cell.strip().lower() for cell in cells]
    places = []
    for known in (_QUERY_NAMES, _PASSAGE_NAMES, _SCORE_NAMES):
        place = next((names.index(name) for name in known if name in names), None)
        if place is None:
            return None
        places.append(place)
    return tuple(places)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_objects(path: Path, hint: str) -> Iterator[tuple[str, str, str, float]]:
    for number, row in read_rows(path):
        where = f"{path}: line {number}"
        places = _find_places(list(row))
        values = [_spell(value) for value in row.values()]
        if places is None or not all(values[place] for place in places) or not _is_number(values[places[2]]):
            raise DataError("is no judgement", where=where, hint=hint)
        yield where, values[places[0]], values[places[1]], float(values[places[2]])


def _spell(value: object) -> str:
    """An id or a score as text, "" where it is none."""
    if value is None or isinstance(value, bool | list | dict):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
