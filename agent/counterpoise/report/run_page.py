"""`report.html` and `report.json` of a run.

The page is one file: stylesheet and charts are inside, nothing is loaded, no script runs (its content
security policy forbids it). The same report gives the same bytes; there is no time of day in it. Its sections
in their order: headline with key figures, what to do, cells before and after, the held-out table, accepted
and rejected, scorers, spend, rounds, data, settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from counterpoise.core.files import write_whole
from counterpoise.report import pages
from counterpoise.report.view import build_view


def render_report(report: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML page.

    Args:
        report: the plain values of a `report.schema.Report`.

    Raises:
        KeyError: a key of the schema is missing.
    """
    return pages.render_template("report.html.j2", **build_view(pages.clean_numbers(report)))


def write_report(
    folder: Path, report: Mapping[str, Any], render: Callable[[Mapping[str, Any]], str] = render_report
) -> None:
    """Write `report.json` (canonical: sorted keys) and `report.html`; each appears whole or not at all.

    Args:
        folder: the run directory, which exists.
        report: plain values; by default those of a `report.schema.Report`.
        render: what makes a page of them.

    Raises:
        KeyError: a key that the page needs is missing; nothing is written.
        OSError: the folder cannot be written.
    """
    page = render(report)
    text = json.dumps(
        pages.clean_numbers(report), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
    )
    write_whole(folder / "report.json", text + "\n")
    write_whole(folder / "report.html", page)
