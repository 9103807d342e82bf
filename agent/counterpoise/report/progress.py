"""Progress of a call from Python that may take minutes: a live table on a terminal, the same in a notebook.

A call that is given a listener shows nothing of its own. Else `progress=True` shows it, `progress=False` does not, and
without either it is shown where somebody looks: standard error is a terminal, or the code runs in a notebook, and in no
test. The variable `COUNTERPOISE_PROGRESS`, 0 or 1, decides for calls that say nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from counterpoise.core.errors import JobError
from counterpoise.core.events import Event, Listener, ignore, listening
from counterpoise.report.screen import RunState, open_screen, render_state

VARIABLE = "COUNTERPOISE_PROGRESS"
_NOTEBOOK_SECONDS = 0.5
_WIDTH = 100


@contextlib.contextmanager
def open_progress(listener: Listener | None, progress: bool | None) -> Iterator[None]:
    """The listener of a call; within the block it is told.

    Args:
        listener: the one it was given, or None.
        progress: whether to show progress where there is none; None where somebody looks.
    """
    with _choose_listener(listener, progress) as chosen, listening(chosen):
        yield


def _choose_listener(
    listener: Listener | None, progress: bool | None
) -> contextlib.AbstractContextManager[Listener]:
    if listener is not None:
        return contextlib.nullcontext(listener)
    if not _is_wanted(progress):
        return contextlib.nullcontext(ignore)
    return _show_in_notebook() if _is_notebook() else open_screen(sys.stderr)


def _is_wanted(progress: bool | None) -> bool:
    if progress is not None:
        return progress
    said = os.environ.get(VARIABLE, "")
    if said not in ("", "0", "1"):
        raise JobError(f"found '{said}'", where=VARIABLE, hint="write 0 or 1")
    if said:
        return said == "1"
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    return _is_notebook() or bool(sys.stderr is not None and sys.stderr.isatty())


def _is_notebook() -> bool:
    """Whether IPython runs with a kernel, and shows what it is given to a browser."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def _show_in_notebook() -> Iterator[Listener]:
    """A cell's output that is written over, and is taken away at the end."""
    from IPython.display import HTML, display

    state, lock = RunState(), threading.Lock()
    handle: Any = display(HTML(render_html(state)), display_id=True)
    next_time = 0.0

    def listen(event: Event) -> None:
        nonlocal next_time
        with lock:
            state.apply(event)
            now = time.monotonic()
            if now < next_time:
                return
            next_time = now + _NOTEBOOK_SECONDS
            handle.update(HTML(render_html(state)))

    try:
        yield listen
    finally:
        handle.update(HTML(""))


def render_html(state: RunState) -> str:
    """The live table as HTML; texts of the data stand in it as texts."""
    from rich.console import Console

    # In a notebook a console would show what it prints, beside this.
    plain: Any = {"markup": False, "emoji": False, "highlight": False, "force_jupyter": False}
    console = Console(file=io.StringIO(), record=True, width=_WIDTH, **plain)
    console.print(render_state(state))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
