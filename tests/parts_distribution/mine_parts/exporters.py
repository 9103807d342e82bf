"""An exporter: a query, a passage and 1 or 0 in a line, separated by tabs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from counterpoise.core.instances import Instance
from counterpoise.data.exporters.base import Exporter


class TabSeparated(Exporter):
    """Judged pairs for a spreadsheet."""

    name = "mine.tsv"

    def write(self, path: Path, instances: Iterable[Instance]) -> int:
        """Write the file; gives its lines."""
        rows = [
            (one.query, passage.full_text, judged)
            for one in instances
            for passages, judged in ((one.positives, 1), (one.negatives, 0))
            for passage in passages
        ]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(rows)
        return len(rows)
