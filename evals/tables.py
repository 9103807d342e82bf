"""Results as Markdown: `python -m evals show FILE.jsonl`. Tables in the README are made by it, never typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STUDENT_METRICS = (
    "macro_f1",
    "gap_closed_ratio",
    "gap_closed_ratio_beyond_usual_arms",
    "auroc",
    "auroc_gap_closed_ratio",
    "auroc_gap_closed_ratio_beyond_usual_arms",
)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Lines of a results file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def render_markdown(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A table for each data set and student: arms down, metrics across; other metrics as a list.

    Args:
        rows: results of `minority_text`.
    """
    for data in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == data]
        if "/" not in data:
            for row in mine:
                yield f"- {data}: {row['metric']} {write(row)}"
            yield ""
            continue
        yield f"**{data}**, {max(row['n'] for row in mine)} draws"
        yield ""
        yield "| arm | macro-F1 | gap closed | beyond the usual arms | AUROC | gap closed | beyond the usual arms |"
        yield "|---|---|---|---|---|---|---|"
        for arm in dict.fromkeys(row["arm"] for row in mine):
            found = {row["metric"]: row for row in mine if row["arm"] == arm}
            cells = [write(found[metric]) if metric in found else "" for metric in STUDENT_METRICS]
            yield f"| {arm.replace('_', ' ')} | {' | '.join(cells)} |"
        yield ""


def write(row: dict[str, Any]) -> str:
    """A value with its interval, rounded as far as the interval means anything."""
    digits = 2 if "ratio" in row["metric"] else 1 if row["unit"] == "tokens" else 3
    if row["low"] is None:
        return f"{row['value']:.{digits}f}"
    return f"{row['value']:.{digits}f} ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
