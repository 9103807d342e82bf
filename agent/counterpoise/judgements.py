"""Judgements of relevance: query id, passage id and score a line, tab-separated or a CSV, plain or gzip."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from counterpoise.errors import DataError
from counterpoise.json_lines import open_to_read

HINT = "a line has a query id, a passage id and a number"


def read_judgements(path: Path) -> Iterator[tuple[str, str, str, float]]:
    """Read them one at a time; a first line whose score is no number is a header.

    Yields:
        Where the line stands (for a message), query id, passage id, and the score, a finite number.

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
                    raise DataError("is no judgement", where=where, hint=HINT) from None
                if not math.isfinite(score):
                    raise DataError("is no judgement", where=where, hint=HINT)
                yield where, query_id, passage_id, score
        except csv.Error as error:
            raise DataError(
                f"cannot be read ({error})", where=f"{path}: line {reader.line_num}", hint=HINT
            ) from error
