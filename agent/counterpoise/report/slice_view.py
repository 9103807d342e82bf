"""Where the tokens of the rounds went: for each way and cell what was spent, what was expected of it and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.report import charts, pages

MOST_SLICES = 12
"""Lines that are shown; those that took fewer tokens are summed up."""


def build_slices(rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of what cost tokens, the dearest first, with a bar of the tokens and one of records expected and kept.

    Args:
        rounds: as the report's file has them; those of older versions say less.
    """
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for turn in rounds:
        for item in turn["items"]:
            if not item["requests"]:
                continue
            name = pages.format_name(item["action"])
            if item.get("writer"):
                name = f"{name} by {item['writer']}"
            line = lines.setdefault((name, item["cell"]), dict.fromkeys(("expected", "kept", "tokens"), 0.0))
            line["expected"] += item["count"]
            line["kept"] += item["accepted"]
            line["tokens"] += item["tokens"]
            line["basis"] = item.get("basis", "")
    ordered = sorted(lines.items(), key=lambda pair: (-pair[1]["tokens"], pair[0]))
    shown = [{"way": way, "cell": cell, **line} for (way, cell), line in ordered[:MOST_SLICES]]
    rest = [line for _, line in ordered[MOST_SLICES:]]
    if rest:
        sums = {name: sum(line[name] for line in rest) for name in ("expected", "kept", "tokens")}
        shown.append({"way": f"{len(rest):,} more", "cell": "", "basis": "", **sums})
    tokens = charts.Scale(0.0, max([line["tokens"] for line in shown], default=0.0) or 1.0)
    records = charts.Scale(
        0.0, max([line[name] for line in shown for name in ("expected", "kept")], default=0.0) or 1.0
    )
    for line in shown:
        whom = f"{line['way']}, {line['cell']}" if line["cell"] else line["way"]
        line["spent"] = charts.draw_bar(
            line["tokens"], tokens, tone="after", title=f"{whom}: {pages.format_count(line['tokens'])} tokens"
        )
        said = f"{whom}: {pages.format_count(line['expected'])} expected, {pages.format_count(line['kept'])} kept"
        line["brought"] = charts.draw_before_after(line["expected"], line["kept"], None, records, title=said)
    return shown
