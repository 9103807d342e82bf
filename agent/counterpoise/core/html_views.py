"""Results as a notebook shows them: a heading, sentences and a table, in which every text is a text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

MOST_ROWS = 12
_MOST_CHARACTERS = 120
_CELL = "text-align:left;vertical-align:top"


def make_view(
    heading: str,
    sentences: Sequence[object] = (),
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
) -> str:
    """HTML for `_repr_html_`.

    Args:
        heading: what it is.
        sentences: a line each; empty ones are left out.
        columns: headings of the table.
        rows: its rows; beyond `MOST_ROWS` they are counted.

    >>> make_view("<b>", ["1 < 2"])
    '<div><strong>&lt;b&gt;</strong><br>1 &lt; 2</div>'
    """
    lines = [f"<strong>{_write(heading)}</strong>", *(escape(str(line)) for line in sentences if str(line))]
    if not rows:
        return f"<div>{'<br>'.join(lines)}</div>"
    head = "".join(f'<th style="{_CELL}">{_write(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_write(value)}</td>' for value in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = f"<br>… and {len(rows) - MOST_ROWS:,} more" if len(rows) > MOST_ROWS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{'<br>'.join(lines)}{table}{more}</div>"


def _write(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    cut = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
    return escape(" ".join(cut.split()))
