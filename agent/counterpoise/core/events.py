"""What happened, for the live table and `--json`: one small value a step, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        name: a fixed word: `read`, `measured`, `model`, `audited`, `planned`, `progress`, `judged`, `round`,
            `finished`; of relabelling `gold_matched`, `judge_audited`, `projected`; `warning`; `starting` and `server`
            (a server of ours is being started, serves), `examining`, `prefix_cache`; `outlook` (a preview: what is
            short and what it costs); and how far something is that takes long: `encoding`, `training`, `judging`,
            `downloading`, `forecasting`.
        data: plain values (numbers, strings, lists, mappings), ready for JSON.
    """

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing."""


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=ignore)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener be told of all that happens in the block, and in tasks and calls that begin in it.

    A thread has a context of its own: what is to be heard of it is run in a copy of this one, as `asyncio.to_thread`
    does, or is given a function of `tell_progress`.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def current_listener() -> Listener:
    """Who is told at present; `ignore` outside of any `listening`."""
    return _LISTENER.get()


def tell_event(event: Event) -> None:
    """Tell the listener what happened."""
    _LISTENER.get()(event)


def tell_progress(event: str, /, **more: str) -> Callable[[int, int], None]:
    """A function that takes how many are done and how many there are, and tells who listens now, from any thread.

    >>> with listening(print):
    ...     tell_progress("encoding")(3, 4)
    Event(name='encoding', data={'done': 3, 'total': 4})
    """
    listener = current_listener()
    return lambda done, total: listener(Event(event, {"done": done, "total": total, **more}))


def report_download(name: str) -> Callable[[int, int], None]:
    """A progress callback that tells who listens now how much of an asset is there, from any thread."""
    listener = current_listener()
    return lambda done, total: listener(Event("downloading", {"name": name, "done": done, "total": total}))
