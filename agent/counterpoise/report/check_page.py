"""The page of a check: what the linter found, as one self-contained HTML file.

Nothing is measured here. The page is made like that of a run: no network, no script, no time of day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from counterpoise.report import charts, pages

SEVERITIES = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "information": ("note", "notes"),
}

MANY_LABELS = 20
"""Labels beyond this number are folded away."""

MANY_GROUPS = 12
"""Words and clusters beyond this number are folded away."""


def render_check_page(report: Mapping[str, Any], *, title: str = "Training data") -> str:
    """The result of a check as one self-contained HTML page.

    Args:
        report: `BalanceReport.to_dict()`.
        title: what was checked, such as the name of the file.

    Raises:
        KeyError: a key is missing.
    """
    plain: dict[str, Any] = pages.clean_numbers(report)
    return pages.render_template(
        "check.html.j2",
        title=title,
        report=plain,
        headline=write_headline(plain),
        figures=list_key_figures(plain),
        label_names=[label["label"] for label in plain["labels"]],
        labels=list_labels(plain["labels"]),
        columns=list_columns(plain["columns"]),
        words=list_groups(plain["words"]),
        clusters=list_groups(plain["clusters"]),
        many_labels=MANY_LABELS,
        many_groups=MANY_GROUPS,
    )


def write_headline(report: Mapping[str, Any]) -> str:
    """One sentence: whether the check fails, and what is worth a look."""
    n_failing = sum(1 for finding in report["findings"] if finding["fails"])
    counts = _count_severities(report)
    found = " and ".join(
        _count_things(counts[name], *SEVERITIES[name]) for name in ("error", "warning") if counts[name]
    )
    if n_failing:
        return f"The check fails: {_count_things(n_failing, 'finding', 'findings')} above what is allowed"
    if report["fail_on"] is not None:
        return f"The check passes, with {found} to look at" if found else "The check passes"
    return f"{found[0].upper()}{found[1:]} to look at" if found else "Nothing here should worry you"


def list_key_figures(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures under the headline, as `view.list_key_figures` gives them."""
    counts = _count_severities(report)
    duplicates = report["duplicates"]
    smallest = min(report["labels"], key=lambda label: (label["count"], label["label"]), default=None)
    others = ", ".join(_count_things(counts[name], *SEVERITIES[name]) for name in ("warning", "information"))
    leaked = (
        f"of {pages.format_count(report['n_held_out'])} held-out rows"
        if report["n_held_out"]
        else "no held-out rows"
    )
    limit = (
        f"allowed: {pages.format_decimal(report['fail_on'], 2)}"
        if report["fail_on"] is not None
        else "0 none, 1 complete"
    )
    return [
        _make_figure(
            "Rows", report["n_rows"], f"{pages.format_count(report['n_independent'])} stand for themselves"
        ),
        _make_figure("Errors", counts["error"], others, tone="bad" if counts["error"] else "plain"),
        _make_figure(
            "Smallest label",
            smallest["count"] if smallest else None,
            f"{smallest['label']}, {pages.format_percent(smallest['ratio'])}" if smallest else pages.DASH,
        ),
        _make_figure("Strongest association", pages.format_decimal(report["worst_effect"], 2), limit),
        _make_figure("Leaked rows", duplicates["n_leaked_near"], leaked),
    ]


def list_labels(labels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The labels, the most common first, with bars of their counts and intervals of their shares."""
    scale = charts.Scale(0.0, max([label["count"] for label in labels], default=0) or 1.0)
    return [
        {
            "label": label,
            "range": f"{pages.format_percent(label['low'])} to {pages.format_percent(label['high'])}",
            "chart": charts.draw_bar(
                label["count"],
                scale,
                tone="after",
                title=f"{label['label']}: {pages.format_count(label['count'])} rows",
            ),
        }
        for label in sorted(labels, key=lambda label: (-label["count"], label["label"]))
    ]


def list_columns(columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns, the most strongly associated first, with charts of V and tables against the label."""
    scale = charts.Scale(0.0, 1.0, (0.0, 0.5, 1.0), charts.DOT_INSET)
    rows = []
    for column in sorted(
        columns, key=lambda column: (-(column["association"]["v"] or 0.0), column["column"])
    ):
        association, predictor = column["association"], column["predictor"]
        rows.append(
            {
                "column": column,
                "v": association["v"],
                "v_range": _format_range(association),
                "chart": _draw_effect(column["column"], association, association["v"], scale),
                "p_value": _format_p(association["adjusted_p"]),
                "accuracy": predictor["balanced_accuracy"],
                "chance": predictor["chance"],
                "table": [
                    [
                        {"count": count, "shade": _shade(odds)}
                        for count, odds in zip(counts, log_odds, strict=True)
                    ]
                    for counts, log_odds in zip(column["counts"], column["log_odds"], strict=True)
                ],
            }
        )
    return {"rows": rows, "axis": charts.draw_axis(scale, ["0", "0.5", "1"])}


def list_groups(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Words or clusters in their order, with a chart of the share that has the label and that of all rows."""
    scale = charts.Scale(0.0, 1.0, (0.0, 0.5, 1.0), charts.DOT_INSET)
    rows = [
        {
            "group": group,
            "name": " ".join(group["words"]),
            "chart": charts.draw_interval(
                group["precision"],
                group["low"],
                group["high"],
                scale,
                tone="bad" if group["is_shortcut"] else "plain",
                title=f"{' '.join(group['words'])}: {pages.format_percent(group['precision'])} are "
                f"{group['label']}, of all rows {pages.format_percent(group['base_ratio'])}",
                reference=group["base_ratio"],
            ),
        }
        for group in groups
    ]
    return {"rows": rows, "axis": charts.draw_axis(scale, ["0", "50%", "100%"])}


def _count_severities(report: Mapping[str, Any]) -> dict[str, int]:
    """Findings of each severity, those that a baseline accepts left out."""
    fresh = [finding["severity"] for finding in report["findings"] if not finding["is_known"]]
    return {severity: fresh.count(severity) for severity in SEVERITIES}


def _count_things(n: int, one: str, many: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{pages.format_count(n)} {one if n == 1 else many}"


def _make_figure(label: str, value: Any, *notes: str, tone: str = "plain") -> dict[str, Any]:
    """A key figure of one part."""
    text = value if isinstance(value, str) else pages.format_count(value)
    return {"label": label, "parts": [{"value": text, "tone": tone, "notes": list(notes)}]}


def _draw_effect(name: str, interval: Mapping[str, Any], value: float | None, scale: charts.Scale) -> Markup:
    """An effect size in 0..1 with its interval."""
    title = f"{name}: {pages.format_decimal(value, 2)} ({_format_range(interval)})"
    return charts.draw_interval(value, interval["low"], interval["high"], scale, tone="ours", title=title)


def _format_range(interval: Mapping[str, Any]) -> str:
    """`0.12 to 0.20`, or a dash where an end is missing."""
    if interval["low"] is None or interval["high"] is None:
        return pages.DASH
    return f"{pages.format_decimal(interval['low'], 2)} to {pages.format_decimal(interval['high'], 2)}"


def _format_p(value: float | None) -> str:
    """A p-value with three digits; smaller ones are only said to be so."""
    return "< 0.001" if value is not None and value < 0.001 else pages.format_decimal(value)


def _shade(log_odds: float | None) -> str:
    """The class of a cell that holds more (`over`) or fewer (`under`) rows than independence would give."""
    if log_odds is None or abs(log_odds) < 0.5:
        return ""
    strength = 1 if abs(log_odds) < 1 else 2 if abs(log_odds) < 2 else 3
    return f"{'over' if log_odds > 0 else 'under'}-{strength}"
