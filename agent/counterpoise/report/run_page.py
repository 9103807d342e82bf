"""`report.html` and `report.json` of a run of any task.

The page is one file: stylesheet and charts are inside, nothing is loaded, no script runs (its content security policy
forbids it). The same report gives the same bytes; there is no time of day in it. Title, headline, key figures and
settings are the same for all tasks (`templates/run.html.j2`); what stands between them is the task's (`RunPage`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.core.files import write_whole
from counterpoise.report import pages
from counterpoise.report.view import flatten_settings


@dataclass(frozen=True, slots=True)
class RunPage:
    """What a task shows on the page of a run.

    Args:
        template: file name below `templates` of its sections; the file extends `run.html.j2`.
        sections: anchor and heading of each section, in their order.
        build: gives what the template asks for beside the report, key figures under `figures` among it; its argument
            is the report with numbers that are finite or None.
    """

    template: str
    sections: Sequence[tuple[str, str]]
    build: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def render(self, report: Mapping[str, Any]) -> str:
        """The report as one self-contained HTML page.

        Args:
            report: plain values, as `report.json` has them.

        Raises:
            KeyError: a key that the task's sections need is missing.
        """
        report = pages.clean_numbers(report)
        return pages.render_template(
            self.template,
            contents=[("summary", "Summary"), *self.sections, ("settings", "Settings")],
            report=report,
            settings=flatten_settings(report["settings"]),
            **self.build(report),
        )


PLAIN_PAGE = RunPage("run.html.j2", (), lambda report: {"figures": []})
"""The page of a task that adds nothing to what all runs show."""


def write_report(folder: Path, report: Mapping[str, Any], page: RunPage) -> None:
    """Write `report.json` (canonical: sorted keys) and `report.html`; each appears whole or not at all.

    Args:
        folder: the run directory, which exists.
        report: plain values.
        page: what the task shows of them.

    Raises:
        KeyError: a key that the page needs is missing; nothing is written.
        OSError: the folder cannot be written.
    """
    rendered = page.render(report)
    text = json.dumps(
        pages.clean_numbers(report), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
    )
    write_whole(folder / "report.json", text + "\n")
    write_whole(folder / "report.html", rendered)
