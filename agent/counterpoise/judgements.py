"""Judgements of relevance: query id, passage id and score a line, tab-separated or a CSV, plain or gzip."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from counterpoise.errors import DataError
from counterpoise.json_lines import open_to_read


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
    delimiter = "," if ".csv" in path.suffixes else "\t"
    with open_to_read(path) as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            for number, cells in enumerate(reader, start=1):
                where = f"{path}: line {number}"
                try:
                    query_id, passage_id, said = cells
                    score = float(said)
                except ValueError:
                    if number == 1 and len(cells) == 3:
                        continue
                    raise DataError("is no judgement", where=where, hint=hint) from None
                yield where, query_id, passage_id, score
        except csv.Error as error:
            raise DataError(
                f"cannot be read ({error})", where=f"{path}: line {reader.line_num}", hint=hint
            ) from error
