"""What the page of a run on texts shows, in its order."""

from __future__ import annotations

from counterpoise.report.run_page import RunPage
from counterpoise.report.view import build_view

TEXT_PAGE = RunPage(
    "report.html.j2",
    (
        ("advice", "What to do"),
        ("cells", "Cells before and after"),
        ("held-out", "Does it help?"),
        ("by-cell", "Where is it right?"),
        ("verdicts", "Accepted and rejected"),
        ("scorers", "Scorers"),
        ("spend", "Spend"),
        ("rounds", "Rounds"),
        ("data", "Data"),
    ),
    build_view,
)
