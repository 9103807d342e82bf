"""What happened, for the live table and `--json`: one small value a step, handed to a listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        name: a fixed word: `read`, `encoded`, `audited`, `measured`, `planned`, `proposed`, `judged`, `round`,
            `spent`, `finished`, `warning`, `starting` and `server` (a server of ours is being started, serves),
            `examining`, `prefix_cache`, and how far something is that takes long: `encoding`, `training`, `judging`,
            `downloading`, `forecasting`; `outlook` (a preview: what is short and what it costs, before all that).
        data: plain values (numbers, strings, lists, mappings), ready for JSON.
    """

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


def tell_progress(listener: Listener, event: str, /, **more: str) -> Callable[[int, int], None]:
    """A function that takes how many are done and how many there are, and tells the listener.

    >>> tell_progress(print, "encoding")(3, 4)
    Event(name='encoding', data={'done': 3, 'total': 4})
    """
    return lambda done, total: listener(Event(event, {"done": done, "total": total, **more}))


def ignore(event: Event) -> None:
    """A listener that does nothing."""


def report_download(listener: Listener, name: str) -> Callable[[int, int], None]:
    """A progress callback that tells the listener how much of an asset is there."""
    return lambda done, total: listener(Event("downloading", {"name": name, "done": done, "total": total}))
