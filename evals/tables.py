"""Results as Markdown: `python -m evals show FILE.jsonl`. Tables in `docs/` are made by it, never typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoise.students.old_names import read_old_names
from evals.common import MissingDataError

STUDENT_METRICS = (
    "macro_f1",
    "gap_closed_ratio",
    "gap_closed_ratio_beyond_usual_arms",
    "auroc",
    "auroc_gap_closed_ratio",
    "auroc_gap_closed_ratio_beyond_usual_arms",
)

HEADINGS = {
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "gap_closed_ratio": "gap closed",
    "gap_closed_ratio_beyond_usual_arms": "beyond the usual arms",
    "auroc_gap_closed_ratio": "AUROC gap closed",
    "auroc_gap_closed_ratio_beyond_usual_arms": "AUROC gap beyond the usual arms",
}


def read_results(path: Path) -> list[dict[str, Any]]:
    """Lines of a results file; of an earlier version with the names of today."""
    text = read_old_names(path.read_text(encoding="utf-8"))
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def find_results(folder: Path, name: str) -> list[dict[str, Any]]:
    """Lines of another evaluation.

    Raises:
        MissingDataError: the folder has none of it.
    """
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise MissingDataError(f"lines absent: {path}; run {name} with --json into it")
    return read_results(path)


def render_markdown(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A table for each data set: arms down, metrics across; a single arm with a single figure is a line.

    Args:
        rows: lines of results.
    """
    for data in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == data]
        metrics = list(dict.fromkeys(row["metric"] for row in mine))
        if metrics and set(metrics) & set(STUDENT_METRICS):
            metrics = [metric for metric in STUDENT_METRICS if metric in metrics]
        arms = list(dict.fromkeys(row["arm"] for row in mine))
        if len(arms) == 1 and len(metrics) <= 4:
            for row in mine:
                yield f"- {data}, {_say(row['arm'])}: {_say(row['metric'])} {write(row)}{_name_unit(row)}"
            yield ""
            continue
        yield f"**{data}**, n = {max(row['n'] for row in mine)}"
        yield ""
        yield f"| arm | {' | '.join(HEADINGS.get(metric, _say(metric)) for metric in metrics)} |"
        yield "|---" * (len(metrics) + 1) + "|"
        for arm in arms:
            found = {row["metric"]: row for row in mine if row["arm"] == arm}
            cells = [write(found[metric]) if metric in found else "" for metric in metrics]
            yield f"| {_say(arm)} | {' | '.join(cells)} |"
        yield ""


def _say(name: str) -> str:
    return name.replace("_", " ")


def _name_unit(row: dict[str, Any]) -> str:
    return "" if row["unit"] in ("ratio", "") else f" {row['unit']}"


def write(row: Mapping[str, Any], digits: int | None = None, factor: float = 1, sign: str = "") -> str:
    """A value with its interval, rounded as far as the interval means anything; nothing where it is not a number.

    Args:
        row: a line of results.
        digits: places after the point; None goes by metric and unit.
        factor: what the figures are multiplied by: 100 makes points of a ratio.
        sign: `+` writes the sign of positive figures, too.
    """
    if digits is None:
        digits = 2 if "ratio" in row["metric"] else 1 if row["unit"] == "tokens" else 3
    value, low, high = (
        "" if row[key] is None else f"{factor * row[key]:{sign}.{digits}f}"
        for key in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})" if value and low else value
