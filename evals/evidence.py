"""The table that ships of what the simple ways gave on other data sets, made from the results of two evaluations.

    python -m evals.evidence            # writes agent/counterpoise/students/evidence.csv

Ways that look at a pool are taken from `evals pool_ways`, where all ways had one; the others from `evals simple_ways`.
"""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import counterpoise.students
from counterpoise.students.evidence import FIELDS
from counterpoise.students.treatments import BASELINE, TREATMENTS
from evals.minority_text import N_RARE

TABLE = Path(counterpoise.students.__file__).with_name("evidence.csv")
RESULTS = Path(__file__).parent / "results"


def make_table() -> str:
    """The table, sorted."""
    rows = []
    for name, uses_pool in (("simple_ways", False), ("pool_ways", True)):
        scores = _read_scores(RESULTS / f"{name}.jsonl")
        for (data, way), value in scores.items():
            if TREATMENTS.find(way).uses_pool == uses_pool:
                part, _, student = data.partition("/")
                label, _, size = part.partition("@")
                gain = f"{100 * (value - scores[data, BASELINE.name]):.2f}"
                rows.append((label, student.partition(":")[0], int(size or N_RARE), way, gain))
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([FIELDS, *sorted(rows)])
    return written.getvalue()


def _read_scores(path: Path) -> dict[tuple[str, str], float]:
    """Data set and student, default way -> macro-F1."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {
        (line["data"], line["arm"]): float(line["value"])
        for line in lines
        if line["metric"] == "macro_f1" and line["arm"] in TREATMENTS.defaults and "/" in line["data"]
    }


if __name__ == "__main__":
    TABLE.write_text(make_table(), encoding="utf-8")
