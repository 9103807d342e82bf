"""`report.html` of a run that relabels a retrieval collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoise.report import pages


def render_retrieval_report(report: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML page."""
    contents = [
        ("audits", "Judges"),
        ("sources", "Sources"),
        ("balance", "Balance"),
        ("examples", "Examples"),
        ("settings", "Settings"),
    ]
    return pages.render_template("retrieval.html.j2", contents=contents, report=pages.clean_numbers(report))
