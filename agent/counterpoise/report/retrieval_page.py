"""What the page of a run over retrieval instances shows: judges, sources, balance, examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoise.report.pages import format_count
from counterpoise.report.run_page import RunPage
from counterpoise.report.view import make_figure


def build_retrieval_view(report: Mapping[str, Any]) -> dict[str, Any]:
    """The key figures of a relabelling; the sections take all else from the report."""
    summary = report["summary"]
    outcomes = summary.get("outcomes", {})
    return {
        "figures": [
            make_figure("Negatives relabelled", format_count(outcomes.get("relabel"))),
            make_figure("Dropped", format_count(outcomes.get("drop"))),
            make_figure("Tokens used", format_count(summary["tokens"])),
        ]
    }


RETRIEVAL_PAGE = RunPage(
    "retrieval.html.j2",
    (("audits", "Judges"), ("sources", "Sources"), ("balance", "Balance"), ("examples", "Examples")),
    build_retrieval_view,
)
