"""What the global options of the command line say, and where a command prints.

Commands print through the session, so that `--json` and `--quiet` hold for all of them. Nothing heavy is loaded at
import: `counterpoise --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from counterpoise.core.events import Listener

PIPED_WIDTH = 120
"""Columns where standard output is no terminal."""


@dataclass
class Session:
    """What the global options say, the run directory once it is known, and what an interrupted command has kept."""

    as_json: bool = False
    is_quiet: bool = False
    is_debug: bool = False
    directory: Path | None = None
    kept: str = ""

    def make_console(self) -> Console:
        """The console that results are printed on."""
        from counterpoise.report.screen import make_console

        is_piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        return make_console(sys.stdout, width=PIPED_WIDTH if is_piped else None)

    @contextmanager
    def open_screen(self, minutes: float | None = None) -> Iterator[Listener]:
        """The listener that shows a run; within the block it is told."""
        from counterpoise.core.events import listening
        from counterpoise.report.screen import open_screen

        opened = open_screen(sys.stdout, as_json=self.as_json, is_quiet=self.is_quiet, minutes=minutes)
        with opened as listener, listening(listener):
            yield listener

    def write_event(self, name: str, /, **data: Any) -> None:
        """One line of JSON."""
        from counterpoise.report.screen import write_json

        write_json(sys.stdout, name, data)
