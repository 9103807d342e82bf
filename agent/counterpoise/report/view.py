"""From a report to what its page shows: key figures, rows in their order, charts.

Nothing is measured here; every figure is one of the report's. Mappings are put into an order of their own
(largest first, then by name), so that a report read back from JSON gives the same page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from counterpoise.report import charts, pages
from counterpoise.report.arm_words import ARM_WORDS
from counterpoise.report.cell_view import build_cells
from counterpoise.report.schema_values import ArmKind
from counterpoise.report.slice_view import build_slices

Plain = Mapping[str, Any]
"""A part of the report as its file has it, see `report.schema`."""

METRICS = {"macro_f1": "Macro-F1", "auroc": "AUROC"}

KINDS: dict[ArmKind, str] = {
    "zero_token": "Ways that cost no token",
    "ours": "Counterpoise",
    "reference": "For comparison",
}

MANY_CELLS = 40
"""Cells beyond this number are folded away."""


def build_view(report: Plain) -> dict[str, Any]:
    """Everything the template `report.html.j2` asks for beside the report.

    Args:
        report: with finite numbers or None only, see `pages.clean_numbers`.
    """
    meanings = find_meanings(report)
    return {
        "figures": list_key_figures(report),
        "cells": list_cells(report["balance"]),
        "students": list_students(report["held_out"], report["validation"], meanings),
        "by_cell": build_cells(report.get("held_out_cells"), meanings),
        "validation": list_validation(report["validation"], meanings),
        "reasons": list_reasons(report["verdicts"]),
        "scorers": list_scorers(report["scorers"]),
        "purposes": list_purposes(report["spend"]),
        "slices": build_slices(report["rounds"]),
        "labels": _draw_counts(report["data"]["labels"].items(), tone="plain"),
    }


def list_key_figures(report: Plain) -> list[dict[str, Any]]:
    """The figures under the headline: a label, and for each of its parts a value, its tone and notes."""
    verdicts, balance, spend = report["verdicts"], report["balance"], report["spend"]
    proposed = verdicts["accepted"] + sum(verdicts["rejected"].values())
    short_before = sum(1 for cell in balance["before"] if cell["need"])
    short_after = sum(1 for cell in balance["after"] if cell["need"])
    scores = [balance["score_before"], balance["score_after"]]
    figures = [
        make_figure(
            "Records added",
            pages.format_count(verdicts["accepted"]),
            f"of {pages.format_count(proposed)} proposed",
        ),
        make_figure(
            "Cells short",
            f"{pages.format_count(short_before)} → {pages.format_count(short_after)}",
            *(
                [f"imbalance {' → '.join(pages.format_decimal(score, 2) for score in scores)}"]
                if any(score is not None for score in scores)
                else []
            ),
        ),
    ]
    figures += _list_recommended(report.get("recommendation"))
    notes = [f"of {pages.format_count(spend['limit'])}" if spend["limit"] is not None else "no limit"]
    if spend["tokens_per_accepted"] is not None:
        notes.append(f"{pages.format_count(spend['tokens_per_accepted'])} a record")
    figures.append(make_figure("Tokens used", pages.format_count(spend["used"]), *notes))
    return figures


def _list_recommended(advised: Plain | None) -> list[dict[str, Any]]:
    """What is advised, in both metrics: the gain where it rests on added records, else the score."""
    figures = []
    for metric, name in METRICS.items() if advised is not None else ():
        key = f"{metric}_difference" if _get(advised, "uses_added") else metric
        interval: Plain = _get(advised, key)
        gains = key != metric
        value = pages.format_signed(interval["mean"]) if gains else pages.format_decimal(interval["mean"])
        way = pages.format_name(str(_get(advised, "way")).removesuffix("_prior"))
        part = {
            "value": value,
            "tone": judge_difference(interval) if gains else "plain",
            "notes": [_format_range(interval, signed=gains), f"{way}, {_get(advised, 'student')}"],
        }
        label = f"{name} over the best way without tokens" if gains else f"{name} of what to do"
        figures.append({"label": label, "parts": [part]})
    return figures


def list_cells(balance: Plain) -> dict[str, Any]:
    """The cells, those that lacked most first, on one scale; `rest` holds those beyond `MANY_CELLS`."""
    after = {cell["cell"]: cell for cell in balance["after"]}
    scale = charts.build_scale(
        [cell[side] for cell in (*balance["before"], *balance["after"]) for side in ("have", "want")],
        include=(0.0,),
    )
    ordered = sorted(balance["before"], key=lambda cell: (-(cell["need"] or 0), cell["cell"]))
    rows = [_draw_cell(cell, after.get(cell["cell"]), scale) for cell in ordered]
    axis = charts.draw_axis(scale, [pages.format_count(tick) for tick in scale.ticks])
    return {"rows": rows[:MANY_CELLS], "rest": rows[MANY_CELLS:], "axis": axis}


def find_meanings(report: Plain) -> Plain:
    """What students and arms are, in a few words, by name; of a report that does not say it what ships."""
    said = report.get("meanings")
    if said is None:
        from counterpoise.students.registry import describe_shipped

        said = describe_shipped()
    return {"students": said["students"], "arms": {**said["treatments"], **ARM_WORDS}}


def list_students(held_out: Plain | None, validation: Plain | None, meanings: Plain) -> list[dict[str, Any]]:
    """For each student its arms in groups, each metric with a chart of the differences."""
    if held_out is None:
        return []
    best = validation["best_zero_token"] if validation else {}
    students = []
    for student in dict.fromkeys(row["student"] for row in held_out["rows"]):
        rows = [row for row in held_out["rows"] if row["student"] == student]
        scales = {metric: _scale_differences(rows, metric) for metric in METRICS}
        groups = [
            {
                "title": title,
                "kind": kind,
                "rows": [
                    {
                        "arm": row["arm"],
                        "meaning": meanings["arms"].get(row["arm"], ""),
                        "is_best": best.get(student) == row["arm"],
                        "metrics": [_draw_metric(row, metric, scales[metric]) for metric in METRICS],
                    }
                    for row in rows
                    if row["kind"] == kind
                ],
            }
            for kind, title in KINDS.items()
        ]
        students.append(
            {
                "name": student,
                "meaning": pages.capitalise(meanings["students"].get(student, "")),
                "best": best.get(student, ""),
                "axes": [_draw_difference_axis(scales[metric]) for metric in METRICS],
                "groups": [group for group in groups if group["rows"]],
            }
        )
    return students


def list_validation(validation: Plain | None, meanings: Plain) -> dict[str, Any] | None:
    """The arms on inner validation as one table: a row for each arm, two columns for each student."""
    if validation is None or not validation["rows"]:
        return None
    students = list(dict.fromkeys(row["student"] for row in validation["rows"]))
    by_place = {(row["arm"], row["student"]): row for row in validation["rows"]}
    rows = [
        {
            "arm": arm,
            "meaning": meanings["arms"].get(arm, ""),
            "cells": [
                {
                    "student": student,
                    "macro_f1": _get(by_place.get((arm, student)), "macro_f1"),
                    "auroc": _get(by_place.get((arm, student)), "auroc"),
                    "is_best": validation["best_zero_token"].get(student) == arm,
                }
                for student in students
            ],
        }
        for arm in dict.fromkeys(row["arm"] for row in validation["rows"])
    ]
    return {
        "students": students,
        "rows": rows,
        "metric": METRICS.get(validation["metric"], validation["metric"]),
    }


def list_reasons(verdicts: Plain) -> list[dict[str, Any]]:
    """Accepted first, then the reasons of rejection, the most frequent first."""
    if not verdicts["accepted"] and not verdicts["rejected"]:
        return []
    rows = _draw_counts(
        [("accepted", verdicts["accepted"])], tone="after", others=verdicts["rejected"].values()
    )
    return rows + _draw_counts(verdicts["rejected"].items(), tone="before", others=[verdicts["accepted"]])


def list_scorers(scorers: Sequence[Plain]) -> dict[str, Any]:
    """The scorers with charts of accuracy and AUC, both on an axis that holds 0.5 to 1."""
    ends = [scorer[end] for scorer in scorers for end in ("low", "auc_low")]
    low = min(0.5, charts.build_scale(ends, include=(0.5, 1.0)).low)
    scale = charts.Scale(low, 1.0, tuple(sorted({low, 0.5, 1.0})), charts.DOT_INSET)
    rows = []
    for scorer in scorers:
        tone = "ours" if scorer["role"] == "used" else "plain"
        accuracy: Plain = {"mean": scorer["accuracy"], "low": scorer["low"], "high": scorer["high"]}
        auc: Plain = {"mean": scorer["auc"], "low": scorer["auc_low"], "high": scorer["auc_high"]}
        rows.append(
            {
                "scorer": scorer,
                "measures": [
                    _draw_measure(
                        f"{scorer['name']}, {label}", interval, scale, tone=tone, reference=reference
                    )
                    # Chance is 0.5 for AUC whatever the labels; for accuracy it depends on their shares.
                    for label, interval, reference in (("AUC", auc, 0.5), ("accuracy", accuracy, None))
                ],
            }
        )
    axis = charts.draw_axis(scale, [pages.format_decimal(tick, 1) for tick in scale.ticks])
    return {"rows": rows, "axis": axis}


def list_purposes(spend: Plain) -> list[dict[str, Any]]:
    """What tokens were spent on, the dearest first, with a bar."""
    scale = charts.Scale(
        0.0, max([item["used"] for item in spend["by_purpose"].values()], default=0.0) or 1.0
    )
    ordered = sorted(spend["by_purpose"].items(), key=lambda pair: (-pair[1]["used"], pair[0]))
    return [
        {
            "name": name,
            "spend": item,
            "chart": charts.draw_bar(
                item["used"], scale, tone="after", title=f"{name}: {pages.format_count(item['used'])} tokens"
            ),
        }
        for name, item in ordered
    ]


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as lines of dotted key and JSON value, sorted by key."""
    lines: list[tuple[str, str]] = []
    for key in sorted(settings):
        value = settings[key]
        if isinstance(value, Mapping) and value:
            lines += flatten_settings(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
            lines.append((f"{prefix}{key}", text))
    return lines


def judge_difference(difference: Plain | None) -> str:
    """`good` or `bad` where the interval excludes zero, else `plain`."""
    low, high = _get(difference, "low"), _get(difference, "high")
    if low is not None and low > 0:
        return "good"
    return "bad" if high is not None and high < 0 else "plain"


def make_figure(label: str, value: str, *notes: str) -> dict[str, Any]:
    """A key figure of one part."""
    return {"label": label, "parts": [{"value": value, "tone": "plain", "notes": list(notes)}]}


def _draw_cell(before: Plain, after: Plain | None, scale: charts.Scale) -> dict[str, Any]:
    """One cell before and after, with its chart."""
    have_after, want_after = _get(after, "have"), _get(after, "want")
    want = want_after if want_after is not None else before["want"]
    title = (
        f"{before['cell']}: {pages.format_count(before['have'])} before, "
        f"{pages.format_count(have_after)} after, target {pages.format_count(want)}"
    )
    return {
        "name": before["cell"],
        "before": before["have"],
        "after": have_after,
        "want": want,
        "need": _get(after, "need"),
        "chart": charts.draw_before_after(before["have"], have_after, want, scale, title=title),
    }


def _draw_metric(row: Plain, metric: str, scale: charts.Scale) -> dict[str, Any]:
    """One metric of one arm: score, difference, and the difference's chart."""
    score: Plain = _get(row, metric)
    difference: Plain | None = _get(row, f"{metric}_difference")
    tone = judge_difference(difference)
    mean = _get(difference, "mean")
    title = f"{row['arm']}, {METRICS[metric]}: {pages.format_signed(mean)} ({_format_range(difference)})"
    return {
        "name": METRICS[metric],
        "score": score["mean"],
        "score_range": _format_range(score, signed=False),
        "difference": mean,
        "difference_range": _format_range(difference),
        "tone": tone,
        "chart": charts.draw_interval(
            mean,
            _get(difference, "low"),
            _get(difference, "high"),
            scale,
            tone="ours" if row["kind"] == "ours" and tone == "plain" else tone,
            title=title,
            reference=0.0,
        ),
    }


def _draw_measure(
    title: str, interval: Plain, scale: charts.Scale, *, tone: str, reference: float | None
) -> dict[str, Any]:
    """One measure of a scorer: value, range and chart."""
    value, span = pages.format_decimal(interval["mean"], 2), _format_range(interval, signed=False, digits=2)
    return {
        "value": interval["mean"],
        "range": span,
        "chart": charts.draw_interval(
            interval["mean"],
            interval["low"],
            interval["high"],
            scale,
            tone=tone,
            title=f"{title}: {value} ({span})",
            reference=reference,
        ),
    }


def _draw_counts(
    counts: Iterable[tuple[str, int]], *, tone: str, others: Iterable[int] = ()
) -> list[dict[str, Any]]:
    """Counts with bars, the largest first; `others` only widen the scale."""
    ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    scale = charts.Scale(0.0, max([*(count for _, count in ordered), *others], default=0) or 1.0)
    return [
        {
            "name": name,
            "count": count,
            "chart": charts.draw_bar(count, scale, tone=tone, title=f"{name}: {pages.format_count(count)}"),
        }
        for name, count in ordered
    ]


def _scale_differences(rows: Sequence[Plain], metric: str) -> charts.Scale:
    """One axis for a student's arms; ours and the references are always on it."""
    ends: dict[bool, list[float | None]] = {True: [], False: []}
    for row in rows:
        difference = _get(row, f"{metric}_difference")
        ends[row["kind"] != "zero_token"] += [_get(difference, end) for end in ("mean", "low", "high")]
    return charts.build_difference_scale(ends[True], ends[False])


def _draw_difference_axis(scale: charts.Scale) -> Markup:
    """An axis that names its ends and zero; further labels would collide on a narrow page."""
    ends = (scale.ticks[0], scale.ticks[-1])
    gap = min(-scale.low, scale.high) / (scale.high - scale.low)
    digits = 2 if scale.high - scale.low >= 0.1 else 3
    labels = [
        pages.format_signed(tick, digits) if tick in ends or (tick == 0 and gap >= 0.3) else ""
        for tick in scale.ticks
    ]
    return charts.draw_axis(scale, labels)


def _format_range(interval: Plain | None, *, signed: bool = True, digits: int = 3) -> str:
    """`+0.006 to +0.028`, or a dash where an end is missing."""
    low, high = _get(interval, "low"), _get(interval, "high")
    if low is None or high is None:
        return pages.DASH
    write = pages.format_signed if signed else pages.format_decimal
    return f"{write(low, digits)} to {write(high, digits)}"


def _get(mapping: Mapping[str, Any] | None, key: str) -> Any:
    """The value at a key, None where there is no mapping."""
    return None if mapping is None else mapping[key]
