"""From the held-out table by cell to what the page shows of it: for each student the arm that counts beside another.

That is Counterpoise's arm beside the best way without tokens where records were added, else that way beside rows as
they are. All other arms stand below in a line each; what does not fit is counted, and complete in `report.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.report import charts, pages
from counterpoise.report.arm_words import OURS

Plain = Mapping[str, Any]

SHOWN_CELLS, MOST_CELLS = 12, 60
"""Cells of a student that stand open, and that are on the page at all."""

MOST_IDS, MOST_FEW = 10, 20
"""Ids of changed rows, and cells with too few rows, that are named."""

_AS_THEY_ARE = "nothing"
_SCALE = charts.Scale(0.0, 1.0, (0.0, 0.5, 1.0), charts.DOT_INSET)


def build_cells(section: Plain | None, meanings: Plain) -> dict[str, Any] | None:
    """What the section asks for; None of a report that has no such table.

    Args:
        section: `held_out_cells` of the report.
        meanings: what students are, by name, under `students`.
    """
    if section is None:
        return None
    few = section["too_few"]
    return {
        "section": section,
        "axis": charts.draw_axis(_SCALE, [pages.format_percent(tick) for tick in _SCALE.ticks]),
        "students": [
            {
                "name": student,
                "meaning": pages.capitalise(meanings["students"].get(student, "")),
                **_show_student([arm for arm in section["arms"] if arm["student"] == student]),
            }
            for student in dict.fromkeys(arm["student"] for arm in section["arms"])
        ],
        "few": few[:MOST_FEW],
        "n_more_few": max(0, len(few) - MOST_FEW),
    }


def format_share(interval: Plain | None) -> dict[str, str]:
    """An accuracy in percent and its interval: `62%` and `54 to 70`; what is not all is not called 100%."""
    if interval is None or interval["mean"] is None:
        return {"value": pages.DASH, "range": ""}
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    digits = 1 if 99.5 <= mean < 99.95 else 0
    return {"value": f"{mean:.{digits}f}%", "range": f"{low:.0f} to {high:.0f}"}


def format_points(interval: Plain | None) -> dict[str, str]:
    """A difference in points, its interval, and its tone, which is plain where that touches zero."""
    if interval is None or interval["mean"] is None:
        return {"value": pages.DASH, "range": "", "tone": "plain"}
    low, high = interval["low"], interval["high"]
    ends = (pages.format_signed(100 * end, 1) for end in (low, high))
    tone = "up" if low > 0 else "down" if high < 0 else "plain"
    return {
        "value": pages.format_signed(100 * interval["mean"], 1),
        "range": " to ".join(ends),
        "tone": tone,
    }


def _show_student(arms: Sequence[Plain]) -> dict[str, Any]:
    """The arm that counts, the one it stands beside, its tables, and a line for each arm."""
    by_name = {arm["arm"]: arm for arm in arms}
    before = by_name[arms[0]["before"]]
    if OURS in by_name:
        shown, other, sign = by_name[OURS], before, 1
        changed = (shown["right_to_wrong"], shown["wrong_to_right"])
    else:
        shown, other, sign = before, by_name.get(_AS_THEY_ARE, before), -1
        # Differences are counted from the best way: from rows as they are, they are the same with the other sign.
        changed = (other["wrong_to_right"], other["right_to_wrong"])
    told = shown if sign == 1 else other

    def differ(item: Plain | None, key: str = "difference") -> dict[str, str]:
        return format_points(_turn(None if item is None else item[key], sign))

    others = {cell["cell"]: cell for cell in other["cells"]}
    differences = {cell["cell"]: cell for cell in told["cells"]}
    rows = [
        {
            "cell": cell,
            "accuracy": format_share(cell["accuracy"]),
            "before": format_share(others[cell["cell"]]["accuracy"]),
            "difference": _judge(differ(differences[cell["cell"]]), up="good"),
            "chart": _draw(cell, others[cell["cell"]]),
        }
        for cell in shown["cells"][:MOST_CELLS]
    ]
    return {
        "shown": shown["arm"],
        "other": other["arm"] if other is not shown else "",
        "worst": rows[0] if rows else None,
        "other_worst": next(
            ({"cell": cell, "accuracy": format_share(cell["accuracy"])} for cell in other["cells"]), None
        ),
        "worst_difference": _judge(differ(told, "worst_difference"), up="good"),
        "rows": rows[:SHOWN_CELLS],
        "rest": rows[SHOWN_CELLS:],
        "n_left": max(0, len(shown["cells"]) - MOST_CELLS),
        "concepts": [
            {
                "concept": one,
                "is_told": one["acc_at_c"] is not None,
                "size": format_points(one["bias_at_c"] or one["spread"]),
                "before": format_points(then["bias_at_c"] or then["spread"]),
                "difference": _judge(differ(change), up="bad"),
                "with": format_share(one["acc_at_c"]),
                "without": format_share(one["acc_at_noc"]),
                "worst": format_share(one["worst_group_accuracy"]),
            }
            for one, then, change in zip(shown["concepts"], other["concepts"], told["concepts"], strict=True)
        ],
        "gaps": [
            {
                "gap": one,
                "points": format_points(one["gap"]),
                "before": format_points(then["gap"]),
                "difference": _judge(differ(change), up="bad"),
            }
            for one, then, change in zip(shown["gaps"], other["gaps"], told["gaps"], strict=True)
        ],
        "changes": [
            {
                "rows": rows,
                "share": format_share(rows["ratio"]),
                "ids": rows["ids"][:MOST_IDS],
                "n_more": max(0, rows["count"] - MOST_IDS),
            }
            for rows in changed
        ],
        "arms": [_show_line(arm) for arm in arms],
    }


def _show_line(arm: Plain) -> dict[str, Any]:
    """An arm in a line: its accuracy, its worst cell, and the largest effect of a concept and gap of an attribute."""
    effects = [
        (abs(size["mean"]), one["concept"], size)
        for one in arm["concepts"]
        for size in [one["bias_at_c"] or one["spread"]]
        if size is not None
    ]
    gaps = [(one["gap"]["mean"], one["attribute"], one["gap"]) for one in arm["gaps"] if not one["label"]]
    return {
        "arm": arm,
        "accuracy": format_share(arm["accuracy"]),
        "worst": format_share(arm["cells"][0]["accuracy"]) if arm["cells"] else None,
        "effect": _find_largest(effects),
        "gap": _find_largest(gaps),
    }


def _find_largest(found: Sequence[tuple[float, str, Plain]]) -> dict[str, Any] | None:
    if not found:
        return None
    _, name, interval = max(found, key=lambda one: one[0])
    return {"name": name, **format_points(interval)}


def _turn(interval: Plain | None, sign: int) -> Plain | None:
    """The same difference the other way round, where the sign is -1."""
    if interval is None or interval["mean"] is None or sign == 1:
        return interval
    return {"mean": -interval["mean"], "low": -interval["high"], "high": -interval["low"]}


def _judge(points: dict[str, str], *, up: str) -> dict[str, str]:
    """A difference whose tone says whether it is `good` or `bad`."""
    tones = {"up": up, "down": "bad" if up == "good" else "good", "plain": "plain"}
    return {**points, "tone": tones[points["tone"]]}


def _draw(cell: Plain, other: Plain) -> Any:
    accuracy, then = cell["accuracy"], other["accuracy"]["mean"]
    said = format_share(accuracy)
    return charts.draw_interval(
        accuracy["mean"],
        accuracy["low"],
        accuracy["high"],
        _SCALE,
        tone="ours",
        title=f"{cell['cell']}: {said['value']} right ({said['range']})",
        reference=then,
    )
