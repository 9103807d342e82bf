"""The table that ships of what the simple ways gave on other data sets, made from the results of `evals simple_ways`.

python -m evals.evidence            # writes agent/counterpoise/students/evidence.csv
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import counterpoise.students
from counterpoise.students.evidence import FIELDS
from counterpoise.students.treatments import BASELINE, TREATMENTS
from evals.minority_text import N_RARE

TABLE = Path(counterpoise.students.__file__).with_name("evidence.csv")
RESULTS = Path(__file__).parent / "results" / "simple_ways.jsonl"


def make_table(lines: Iterable[Mapping[str, Any]]) -> str:
    """The table, sorted; parts with a pool take no part."""
    scores = {
        (str(line["data"]), str(line["arm"])): float(line["value"])
        for line in lines
        if line["metric"] == "macro_f1" and line["arm"] in TREATMENTS.defaults and "+pool" not in line["data"]
    }
    rows = []
    for (data, way), value in scores.items():
        part, _, student = data.partition("/")
        name, _, size = part.partition("@")
        gain = 100 * (value - scores[data, BASELINE.name])
        rows.append((name, student.partition(":")[0], int(size or N_RARE), way, f"{gain:.2f}"))
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([FIELDS, *sorted(rows)])
    return written.getvalue()


if __name__ == "__main__":
    TABLE.write_text(make_table(map(json.loads, RESULTS.open(encoding="utf-8"))), encoding="utf-8")
