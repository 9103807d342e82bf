"""The tables of the command line: what a check found, what a preview expects, which assets are there.

Each function gives renderables for `rich`; nothing is printed here. Long tables are cut, worst rows first,
and say how much was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from counterpoise.balance.lint.report import BalanceReport, ColumnBalance, Finding, GroupRow, Severity
from counterpoise.core.assets import AssetStatus
from counterpoise.report.check_page import write_headline
from counterpoise.report.pages import cut_text, format_count, format_decimal, format_percent
from counterpoise.report.preview import MOST_SHOWN, Marked
from counterpoise.report.screen import clean_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from counterpoise.report.preview import TaskPreview
    from counterpoise.runs.teaching import TaughtTable

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFORMATION: "dim"}
_NAMES = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFORMATION: "note"}


def list_check_tables(report: BalanceReport) -> Iterator[RenderableType]:
    """A check as people read it on a screen; the last line says whether it fails."""
    labels = sorted(report.labels, key=lambda label: (label.count, label.label))
    yield _make_table(
        "Labels, the rarest first",
        ("label", ">rows", ">share", ">95% interval"),
        [
            (one.label, format_count(one.count), format_percent(one.ratio), _format_shares(one.low, one.high))
            for one in labels
        ],
    )
    columns = sorted(report.columns, key=lambda column: (-column.association.v, column.column))
    yield _make_table(
        "Columns against the label, the strongest first",
        ("column", "kind", ">V", ">95% interval", ">p, corrected", ">tells the label", ">chance"),
        [_describe_column(column) for column in columns],
    )
    for title, groups in (("Words", report.words), ("Clusters", report.clusters)):
        if groups:
            yield _make_table(
                f"{title} that go with a label beyond chance",
                (title.lower(), "label", ">rows", ">of them", ">of all", ">of the label", ">z"),
                [_describe_group(group) for group in groups],
            )
    if report.findings:
        failing = {finding.fingerprint for finding in report.failures}
        yield _make_table(
            "Findings, the worst first",
            ("", "finding", ""),
            [_describe_finding(finding, failing, report.known) for finding in report.findings],
        )
    for note in report.notes:
        yield Text(clean_text(note), style="dim")
    yield write_check_headline(report)


def write_check_headline(report: BalanceReport) -> Text:
    """One line: whether the check fails."""
    return Text(clean_text(write_headline(report.to_dict())), style="bold red" if report.failures else "bold")


def list_preview_tables(preview: TaskPreview) -> Iterator[RenderableType]:
    """A preview as people read it on a screen."""
    for part in preview.show():
        if isinstance(part, str):
            # Line by line: a prompt is read for its layout, which a single line would lose.
            lines = "\n".join(clean_text(line) for line in part.splitlines())
            yield Text(lines, style="bold" if isinstance(part, Marked) else "")
        else:
            rows = [[_mark_cell(cell) for cell in row] for row in part.rows]
            yield _make_table(part.title, part.columns, rows, part.most)


def make_asset_table(statuses: Sequence[AssetStatus]) -> Table:
    """The pinned assets and where they are."""
    return _make_table(
        "Pinned weights and demo data",
        ("name", ">size", "from", "licence", "here"),
        [
            (
                status.asset.name,
                f"{status.asset.size / 1e6:.1f} MB",
                status.asset.requirement,
                status.asset.licence,
                "yes" if status.is_present else "no",
            )
            for status in statuses
        ],
        most=None,
    )


def _make_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    most: int | None = MOST_SHOWN,
) -> Table:
    """A table of at most `most` rows; cells are plain text, whatever they hold; `>` sets a column right."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None)
    for name in columns:
        side: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.removeprefix(">"), justify=side, overflow="fold", header_style="dim")
    for row in rows[:most]:
        table.add_row(*(cell if isinstance(cell, Text) else Text(clean_text(cell)) for cell in row))
    if most is not None and len(rows) > most:
        table.add_row(Text(f"… and {len(rows) - most} more: --json", style="dim"))
    if not rows:
        table.add_row(Text("none", style="dim"))
    return table


_TAUGHT = {
    "ask": "ask the model, every time",
    "few_examples": "ask it beside examples",
    "teach": "the classifier that it taught",
    "simple_way": "the best way without a token",
}


def make_taught_table(taught: TaughtTable) -> Table:
    """The ways to answer the sealed rows beside each other."""
    table = Table(title="On the sealed rows")
    for heading in ("way", "right", "95%", "worst label", "ms a text", "tokens for 1,000 texts"):
        table.add_column(heading, justify="left" if heading in ("way", "worst label") else "right")
    for row in taught.rows:
        worst = f"{clean_text(row.worst_label)} {row.worst_accuracy:.1%}" if row.worst_label else "-"
        took = "-" if row.milliseconds != row.milliseconds else format_decimal(row.milliseconds, 1)
        table.add_row(
            _TAUGHT[row.way],
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            worst,
            took,
            format_count(round(row.tokens)),
        )
    return table


def _describe_column(column: ColumnBalance) -> tuple[str, ...]:
    found, predictor = column.association, column.predictor
    return (
        column.column,
        column.kind,
        format_decimal(found.v, 2),
        f"{format_decimal(found.low, 2)} to {format_decimal(found.high, 2)}",
        "< 0.001" if found.adjusted_p < 0.001 else format_decimal(found.adjusted_p),
        format_percent(predictor.balanced_accuracy),
        format_percent(predictor.chance),
    )


def _describe_group(group: GroupRow) -> tuple[str | Text, ...]:
    words = clean_text(" ".join(cut_text(word) for word in group.words))
    return (
        Text(words, style="yellow" if group.is_shortcut else ""),
        group.label,
        format_count(group.n),
        format_percent(group.precision),
        format_percent(group.base_ratio),
        format_percent(group.coverage),
        format_decimal(group.z, 1),
    )


def _describe_finding(finding: Finding, failing: set[str], known: frozenset[str]) -> tuple[str | Text, ...]:
    state = Text("known", style="dim") if finding.fingerprint in known else Text("")
    if finding.fingerprint in failing:
        state = Text("fails", style="bold red")
    severity = Text(_NAMES[finding.severity], style=_STYLES[finding.severity])
    return severity, finding.message, state


def _mark_cell(cell: str) -> str | Text:
    return Text(clean_text(cell), style="bold green") if isinstance(cell, Marked) else cell


def _format_shares(low: float, high: float) -> str:
    return f"{format_percent(low)} to {format_percent(high)}"
